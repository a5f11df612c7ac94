//! Every morning at eight (UTC), and whenever somebody asks, says how many conversations there were.
//! Say "subscribe" in a conversation to get the report there.
//!
//! ```sh
//! cargo run -p duologue-sdk --example daily_report -- dev
//! ```

use std::process::ExitCode;

use duologue_sdk::{
    Bot, BotAction, BotEvent, BotState, Context, Definition, Incoming, JsonSchema, Result, Scope,
    client::{TryStreamExt, id::ConversationId},
};
use serde::{Deserialize, Serialize};

/// It is time for a report.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReportDue {
    /// Over how many hours.
    pub hours: u32,
}

impl BotEvent for ReportDue {
    const TYPE: &str = "reportDue";
    const TITLE: Option<&str> = Some("Report due");
}

/// Where reports go.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Subscribers {
    /// Conversations by id.
    pub conversations: Vec<String>,
}

impl BotState for Subscribers {
    const NAME: &str = "subscribers";
    const SCOPE: Scope = Scope::Bot;
}

/// What was counted.
#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Conversations that changed.
    pub conversations: u32,
    /// Messages in them.
    pub messages: i64,
}

/// Counts on demand.
pub struct MakeReport;

impl BotAction for MakeReport {
    const NAME: &str = "makeReport";
    const TITLE: Option<&str> = Some("Make a report");
    type Input = ReportDue;
    type Output = Report;
}

async fn count(ctx: &Context, hours: u32) -> Result<Report> {
    let since = duologue_sdk::now().plus_millis(-i64::from(hours) * 3_600_000);
    let mut report = Report { conversations: 0, messages: 0 };
    let latest = duologue_sdk::client::Sort::UpdatedDescending;
    let mut conversations = ctx.client().list_conversations().sort(latest).page_size(100).items();
    while let Some(conversation) = conversations.try_next().await? {
        if conversation.updated_at < since {
            break;
        }
        report.conversations += 1;
        report.messages += conversation.message_count;
    }
    Ok(report)
}

async fn report(ctx: Context, due: ReportDue) -> Result {
    let Report { conversations, messages } = count(&ctx, due.hours).await?;
    let subscribers = ctx.state::<Subscribers>().get().await?.unwrap_or_default();
    for id in subscribers.conversations {
        let text = format!("The last {} hours: {conversations} conversations, {messages} messages.", due.hours);
        ctx.say_in(&ConversationId::from(id), text).await?;
    }
    Ok(())
}

async fn answer(ctx: Context, message: Incoming) -> Result {
    let said = message.text().unwrap_or_default();
    let mut subscribers = ctx.state::<Subscribers>().get_or_set(&Subscribers::default()).await?;
    let here = message.conversation_id.to_string();
    let subscribed = subscribers.conversations.contains(&here);
    let reply = match said.trim().to_lowercase().as_str() {
        "subscribe" if !subscribed => {
            subscribers.conversations.push(here);
            ctx.state::<Subscribers>().set(&subscribers).await?;
            "You will have a report here every morning."
        }
        "unsubscribe" if subscribed => {
            subscribers.conversations.retain(|id| *id != here);
            ctx.state::<Subscribers>().set(&subscribers).await?;
            "No more reports here."
        }
        "now" => {
            ctx.emit(&ReportDue { hours: 24 }).await?;
            "A report is on its way."
        }
        _ => "Say subscribe, unsubscribe or now.",
    };
    ctx.say(reply).await?;
    Ok(())
}

/// The bot.
pub fn bot() -> Bot {
    let definition = Definition::new()
        .description("Reports every morning")
        .state::<Subscribers>()
        .event::<ReportDue>()
        .recurring("everyMorning", "0 8 * * *", &ReportDue { hours: 24 })
        .action::<MakeReport>();
    Bot::new(definition)
        .on_message("text", answer)
        .on_event(report)
        .on_action::<MakeReport>(|ctx, due| async move { count(&ctx, due.hours).await })
}

#[tokio::main]
async fn main() -> ExitCode {
    duologue_sdk::run(bot()).await
}
