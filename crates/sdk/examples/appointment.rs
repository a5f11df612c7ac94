//! Makes appointments in a conversation. Half an appointment is kept for ten minutes; then the bot says
//! that it has forgotten it. How many somebody has made is kept for good.
//!
//! ```sh
//! cargo run -p duologue-sdk --example appointment -- dev
//! ```

use std::{process::ExitCode, time::Duration};

use duologue_sdk::{
    Bot, BotState, Content, Context, Definition, Expired, Incoming, JsonSchema, Result, Scope,
    client::UpdateConversation,
};
use serde::{Deserialize, Serialize};

/// What is known of an appointment that is being made.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Appointment {
    /// As the user said it.
    pub day: Option<String>,
    /// As the user said it.
    pub time: Option<String>,
}

impl BotState for Appointment {
    const NAME: &str = "appointment";
    const SCOPE: Scope = Scope::Conversation;
    const EXPIRY: Option<Duration> = Some(Duration::from_secs(600));
}

/// What is known of a user.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Guest {
    /// Appointments made so far.
    pub appointments: u32,
}

impl BotState for Guest {
    const NAME: &str = "guest";
    const SCOPE: Scope = Scope::User;
}

async fn answer(ctx: Context, message: Incoming) -> Result {
    let said = message.text().unwrap_or_default();
    let state = || ctx.state::<Appointment>();
    match state().get().await? {
        None => {
            state().set(&Appointment::default()).await?;
            ctx.say("Let's make an appointment. On which day?").await?;
        }
        Some(Appointment { day: None, .. }) => {
            state().set(&Appointment { day: Some(said), time: None }).await?;
            ctx.say(Content::choice("When?", [("In the morning", "morning"), ("In the afternoon", "afternoon")]))
                .await?;
        }
        Some(Appointment { day: Some(day), .. }) => {
            state().delete().await?;
            let mut guest = ctx.state::<Guest>().get_or_set(&Guest::default()).await?;
            guest.appointments += 1;
            ctx.state::<Guest>().set(&guest).await?;
            let change = UpdateConversation::new().tag("appointment", format!("{day}, {said}"));
            ctx.client().update_conversation(&message.conversation_id, change).await?;
            ctx.say(format!("{day}, {said}: it's a date. Your appointments so far: {}.", guest.appointments)).await?;
        }
    }
    Ok(())
}

async fn forget(ctx: Context, expired: Expired<Appointment>) -> Result {
    let what = expired.value.day.map_or_else(|| "an appointment".to_owned(), |day| format!("one on {day}"));
    ctx.say(format!("We had begun to make {what}; I have let it go. Say hello to begin again.")).await?;
    Ok(())
}

/// The bot.
pub fn bot() -> Bot {
    let definition = Definition::new()
        .description("Makes appointments")
        .state::<Appointment>()
        .state::<Guest>()
        .conversation_tag("appointment", "The latest appointment made in it");
    // Choices come back as text.
    Bot::new(definition).on_message("text", answer).on_state_expired(forget)
}

#[tokio::main]
async fn main() -> ExitCode {
    duologue_sdk::run(bot()).await
}
