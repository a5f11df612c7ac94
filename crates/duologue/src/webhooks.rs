//! `duologue webhooks`: URLs that are told what happens in a bot, over the API of a running server.

use std::{
    io::Write,
    time::{Duration, SystemTime},
};

use duologue_client::{Client, Method};
use duologue_model::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::export::{self, server::Server};

/// How long `test` waits for the first attempt.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(200);

/// URLs that are told what happens in a bot.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    server: Server,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// Subscribe a URL; prints its secret, which isn't shown again.
    Create {
        /// Where requests go.
        #[arg(value_name = "URL")]
        url: String,
        /// Types of events: message_created, conversation_created, user_created, state_expired,
        /// converse_message, workflow_update, types of your own and of integrations, or * for all.
        #[arg(long, value_name = "TYPE", value_delimiter = ',', required = true)]
        events: Vec<String>,
        /// What it is for.
        #[arg(long, value_name = "TEXT", default_value = "")]
        description: String,
    },
    /// The webhooks of the bot.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Send to it again after it was disabled.
    Enable {
        /// Which webhook.
        id: String,
    },
    /// Send nothing to it for now; what happens meanwhile is not kept for it.
    Disable {
        /// Which webhook.
        id: String,
    },
    /// Remove a webhook, with all that is still to be sent.
    Delete {
        /// Which webhook.
        id: String,
    },
    /// Give it a new secret, and print it; the old one signs, too, for a day.
    Rotate {
        /// Which webhook.
        id: String,
    },
    /// Send an event of the type test, and say what the receiver answered.
    Test {
        /// Which webhook.
        id: String,
    },
    /// The latest requests and what was answered.
    Attempts {
        /// Which webhook.
        id: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Send again: one message, or all that failed since an instant.
    Replay {
        /// Which webhook.
        id: String,
        /// Which message: its `webhook-id`.
        #[arg(required_unless_present = "since")]
        message: Option<String>,
        /// An instant such as 2026-01-31T12:00:00.000Z, or how long ago, such as 90m, 12h or 3d.
        #[arg(long, value_name = "TIME", conflicts_with = "message", value_parser = instant)]
        since: Option<Timestamp>,
        /// With --since: also what was delivered.
        #[arg(long, requires = "since")]
        all: bool,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Webhook {
    id: String,
    url: String,
    events: Vec<String>,
    enabled: bool,
    disabled_reason: Option<String>,
    failing_since: Option<String>,
    previous_secret_until: Option<String>,
    secret: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attempt {
    message_id: String,
    attempt: i64,
    at: String,
    duration_ms: i64,
    status: Option<i64>,
    error: Option<String>,
    response: String,
}

/// Why it didn't work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The options, or the server's address.
    #[error(transparent)]
    Options(#[from] export::Error),
    /// The server can't be reached, refused, or answered strangely.
    #[error(transparent)]
    Api(#[from] duologue_client::Error),
    /// The server's answer isn't what its operations answer.
    #[error("the server's answer isn't understood: {0}")]
    Answer(#[from] serde_json::Error),
    /// The webhook wasn't taken.
    #[error("{0}")]
    Failed(String),
}

/// Runs the command.
///
/// Errors: any [`Error`].
pub async fn run(args: Args) -> Result<(), Error> {
    let Some(bot) = args.server.bot_id().map(str::to_owned) else {
        return Err(export::Error::Usage("of which bot? Give --bot-id (BP_BOT_ID)".to_owned()).into());
    };
    let api = Api { client: args.server.client()?, bot };
    match args.command {
        Command::Create { url, events, description } => api.create(&url, &events, &description).await,
        Command::List { json } => api.list(json).await,
        Command::Enable { id } => api.enable(&id, true).await,
        Command::Disable { id } => api.enable(&id, false).await,
        Command::Delete { id } => api.delete(&id).await,
        Command::Rotate { id } => api.rotate(&id).await,
        Command::Test { id } => api.test(&id).await,
        Command::Attempts { id, json } => api.attempts(&id, json).await,
        Command::Replay { id, message: Some(message), .. } => api.replay_one(&id, &message).await,
        Command::Replay { id, since, all, .. } => api.replay(&id, since.unwrap_or_default(), all).await,
    }
}

struct Api {
    client: Client,
    bot: String,
}

impl Api {
    fn request(&self, method: Method, rest: &[&str]) -> duologue_client::Request {
        let path = [&["v1", "admin", "bots", &self.bot, "webhooks"], rest].concat();
        self.client.request(method, &path)
    }

    /// All items of a list.
    async fn all<T: DeserializeOwned>(&self, rest: &[&str], name: &str, most: usize) -> Result<Vec<T>, Error> {
        let (mut items, mut token): (Vec<T>, Option<String>) = (Vec::new(), None);
        loop {
            let mut request = self.request(Method::GET, rest);
            if let Some(token) = &token {
                request = request.query("nextToken", token);
            }
            let mut page: Value = request.send().await?;
            let found = serde_json::from_value::<Vec<T>>(page[name].take());
            items.extend(
                found.map_err(|error| Error::Failed(format!("the server's answer isn't understood: {error}")))?,
            );
            token = page["meta"]["nextToken"].as_str().map(str::to_owned);
            if token.is_none() || items.len() >= most {
                items.truncate(most);
                return Ok(items);
            }
        }
    }

    async fn create(&self, url: &str, events: &[String], description: &str) -> Result<(), Error> {
        let body = json!({ "url": url, "events": events, "description": description });
        let made: Webhook = self.request(Method::POST, &[]).json(&body).field("webhook").await?;
        say(&made.id);
        print_secret(&made);
        Ok(())
    }

    async fn list(&self, json: bool) -> Result<(), Error> {
        if json {
            print_json(&self.all(&[], "webhooks", usize::MAX).await?);
            return Ok(());
        }
        for webhook in self.all::<Webhook>(&[], "webhooks", usize::MAX).await? {
            say(&format!("{}  {}  {}", webhook.id, webhook.url, webhook.events.join(",")));
            match (&webhook.disabled_reason, &webhook.failing_since) {
                (Some(reason), _) => say(&format!("  disabled: {reason}")),
                (None, _) if !webhook.enabled => say("  disabled"),
                (None, Some(since)) => say(&format!("  failing since {since}")),
                (None, None) => {}
            }
        }
        Ok(())
    }

    async fn enable(&self, id: &str, enabled: bool) -> Result<(), Error> {
        Ok(self.request(Method::PUT, &[id]).json(&json!({ "enabled": enabled })).done().await?)
    }

    async fn delete(&self, id: &str) -> Result<(), Error> {
        Ok(self.request(Method::DELETE, &[id]).done().await?)
    }

    async fn rotate(&self, id: &str) -> Result<(), Error> {
        let changed: Webhook = self.request(Method::POST, &[id, "rotate-secret"]).field("webhook").await?;
        print_secret(&changed);
        if let Some(until) = changed.previous_secret_until {
            say(&format!("the old secret signs, too, until {until}"));
        }
        Ok(())
    }

    async fn test(&self, id: &str) -> Result<(), Error> {
        let message: String = self.request(Method::POST, &[id, "test"]).field("messageId").await?;
        let until = SystemTime::now() + PATIENCE;
        loop {
            let attempts: Vec<Attempt> =
                self.request(Method::GET, &[id, "messages", &message]).field("attempts").await?;
            if let Some(attempt) = attempts.into_iter().next() {
                say(&line(&attempt));
                return match attempt.error {
                    None => Ok(()),
                    Some(error) => Err(Error::Failed(format!("the webhook failed: {error}"))),
                };
            }
            if SystemTime::now() > until {
                return Err(Error::Failed(format!("{message} wasn't sent within {} seconds", PATIENCE.as_secs())));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn attempts(&self, id: &str, json: bool) -> Result<(), Error> {
        const MOST: usize = 100;
        if json {
            print_json(&self.all(&[id, "attempts"], "attempts", MOST).await?);
            return Ok(());
        }
        for attempt in self.all::<Attempt>(&[id, "attempts"], "attempts", MOST).await? {
            say(&line(&attempt));
        }
        Ok(())
    }

    async fn replay_one(&self, id: &str, message: &str) -> Result<(), Error> {
        Ok(self.request(Method::POST, &[id, "messages", message, "replay"]).done().await?)
    }

    async fn replay(&self, id: &str, since: Timestamp, all: bool) -> Result<(), Error> {
        let body = json!({ "since": since, "all": all });
        let count: u64 = self.request(Method::POST, &[id, "replay"]).json(&body).field("replayed").await?;
        say(&format!("{count} sent again"));
        Ok(())
    }
}

/// Whoever reads the output may have enough of it.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn print_secret(webhook: &Webhook) {
    if let Some(secret) = &webhook.secret {
        say(secret);
    }
}

fn print_json(items: &[Value]) {
    items.iter().for_each(|item| say(&item.to_string()));
}

fn line(attempt: &Attempt) -> String {
    let status = attempt.status.map_or("---".to_owned(), |status| status.to_string());
    let Attempt { at, message_id, attempt: number, duration_ms, error, response, .. } = attempt;
    let said = error.as_deref().unwrap_or("");
    let answer: String = response.chars().take(80).map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("{at}  {status}  {duration_ms} ms  {message_id} #{number}  {said}  {answer}").trim_end().to_owned()
}

/// Reads an instant, or how long ago it was.
fn instant(text: &str) -> Result<Timestamp, String> {
    let unit = |last: char| match last {
        's' => Some(1_000),
        'm' => Some(60_000),
        'h' => Some(3_600_000),
        'd' => Some(24 * 3_600_000_i64),
        _ => None,
    };
    let ago = text.char_indices().next_back().and_then(|(at, last)| {
        let count: i64 = text[..at].parse().ok()?;
        count.checked_mul(unit(last)?)
    });
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    match ago {
        Some(ago) if ago >= 0 => Ok(Timestamp::from_millis(now.saturating_sub(ago).max(0))),
        _ => text.parse().map_err(|_| "an instant such as 2026-01-31T12:00:00.000Z, or 90m, 12h, 3d".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_given_or_said_as_how_long_ago() {
        assert_eq!(instant("2026-01-31T12:00:00.000Z").unwrap().to_string(), "2026-01-31T12:00:00.000Z");
        let now = instant("0s").unwrap().millis();
        assert!((now - instant("90m").unwrap().millis() - 90 * 60_000).abs() < 5_000);
        assert!((now - instant("3d").unwrap().millis() - 3 * 24 * 3_600_000).abs() < 5_000);
        for bad in ["", "h", "-3h", "3w", "yesterday", "é"] {
            assert!(instant(bad).is_err(), "{bad}");
        }
    }
}
