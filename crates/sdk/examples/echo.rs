//! Says what it hears.
//!
//! ```sh
//! cargo run -p duologue-sdk --example echo -- dev
//! ```

use std::process::ExitCode;

use duologue_sdk::{Bot, Definition};

/// The bot.
pub fn bot() -> Bot {
    Bot::new(Definition::new().description("Says what it hears"))
        .on_message("text", |ctx, message| async move {
            ctx.say(message.text().unwrap_or_default()).await?;
            Ok(())
        })
        .on_any_message(|ctx, message| async move {
            if message.kind != "text" {
                ctx.say(format!("I can't repeat what is of type {}.", message.kind)).await?;
            }
            Ok(())
        })
}

#[tokio::main]
async fn main() -> ExitCode {
    duologue_sdk::run(bot()).await
}
