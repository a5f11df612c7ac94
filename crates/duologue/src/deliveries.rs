//! `duologue deliveries`: what waits for a bot, what was done and what was given up, of a running server.

use std::io::Write;

use duologue_client::{Client, List, Method, Timestamp, TryStreamExt};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::export::{Error, server::Server};

/// What to do.
#[derive(clap::Subcommand)]
pub enum Command {
    /// List deliveries to a bot and its integrations, newest first.
    List(ListArgs),
    /// Show a delivery with its attempts.
    Show(ShowArgs),
    /// Make a delivery again, whatever became of it, or all that were given up since some time.
    ///
    /// Examples:
    ///
    ///   duologue deliveries replay evt_…
    ///
    ///   duologue deliveries replay --since 2h
    #[command(verbatim_doc_comment)]
    Replay(ReplayArgs),
    /// List what was given up.
    Dead(DeadArgs),
}

/// Which deliveries.
#[derive(clap::Args)]
pub struct ListArgs {
    /// Only those that are pending, processed, ignored or failed.
    #[arg(long, value_name = "STATUS", value_parser = ["pending", "processed", "ignored", "failed"])]
    status: Option<String>,
    #[command(flatten)]
    shape: Shape,
}

/// How many, and how they look.
#[derive(clap::Args)]
pub struct Shape {
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

/// Which delivery.
#[derive(clap::Args)]
pub struct ShowArgs {
    /// Of the event, or of the message for an integration.
    #[arg(value_name = "ID")]
    id: String,
    /// As JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

/// What to deliver again.
#[derive(clap::Args)]
pub struct ReplayArgs {
    /// Of the event, or of the message for an integration.
    #[arg(value_name = "ID", required_unless_present = "since", conflicts_with = "since")]
    id: Option<String>,
    /// All that were given up since then: an instant such as 2026-01-31T12:00:00Z, or a time until now
    /// such as 90m, 2h or 3d.
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    #[command(flatten)]
    server: Server,
}

/// How they look.
#[derive(clap::Args)]
pub struct DeadArgs {
    #[command(flatten)]
    shape: Shape,
}

/// A delivery, as far as a line of a list shows it; with the rest as it came.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Delivery {
    id: String,
    integration: Option<String>,
    kind: String,
    status: String,
    attempts: i64,
    created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(flatten)]
    rest: serde_json::Map<String, Value>,
}

/// Runs the command.
pub async fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::List(args) => list(&args.shape, args.status.as_deref()).await,
        Command::Dead(args) => list(&args.shape, Some("failed")).await,
        Command::Show(args) => show(args).await,
        Command::Replay(args) => replay(args).await,
    }
}

/// The client, and the bot that it is about.
fn target(server: &Server) -> Result<(Client, String), Error> {
    let missing = || Error::Usage("which bot? Give --bot-id (BP_BOT_ID)".to_owned());
    let bot = server.bot_id().ok_or_else(missing)?.to_owned();
    Ok((server.client()?, bot))
}

async fn list(shape: &Shape, status: Option<&str>) -> Result<(), Error> {
    let (client, bot) = target(&shape.server)?;
    let size = u32::try_from(shape.limit.clamp(1, 100)).unwrap_or(100);
    let mut list: List<Delivery> =
        client.list(&["v1", "admin", "bots", &bot, "deliveries"], "deliveries").page_size(size);
    if let Some(status) = status {
        list = list.query("status", status);
    }
    let mut items = list.items();
    let mut left = shape.limit;
    while left > 0
        && let Some(delivery) = items.try_next().await?
    {
        left -= 1;
        let line = if shape.json { json_line(&delivery) } else { line(&delivery) };
        if !put(&line) {
            break;
        }
    }
    Ok(())
}

fn json_line(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn line(delivery: &Delivery) -> String {
    let to = delivery.integration.as_deref().unwrap_or("bot");
    let Delivery { id, kind, status, attempts, created_at, .. } = delivery;
    let reason = delivery.reason.as_deref().map(|reason| format!("  {}", one_line(reason))).unwrap_or_default();
    let tries = if *attempts == 1 { "attempt" } else { "attempts" };
    format!("{created_at}  {status:<9}  {id}  {kind} to {to}, {attempts} {tries}{reason}")
}

/// A text without what would break a line.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Prints a line; false when nobody reads any more.
fn put(line: &str) -> bool {
    writeln!(std::io::stdout().lock(), "{line}").is_ok()
}

async fn show(args: ShowArgs) -> Result<(), Error> {
    #[derive(Deserialize, Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Attempt {
        attempt: i64,
        at: Timestamp,
        duration_ms: i64,
        status: Option<i64>,
        outcome: String,
        response: String,
    }
    #[derive(Deserialize, Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Inspected {
        #[serde(flatten)]
        delivery: Delivery,
        attempt_list: Vec<Attempt>,
    }
    let (client, bot) = target(&args.server)?;
    let path = ["v1", "admin", "bots", &bot, "deliveries", &args.id];
    let found: Inspected = client.request(Method::GET, &path).field("delivery").await?;
    if args.json {
        put(&json_line(&found));
        return Ok(());
    }
    put(&line(&found.delivery));
    if let Some(next) = found.delivery.rest.get("nextAttemptAt").and_then(Value::as_str) {
        put(&format!("  next attempt at {next}"));
    }
    for attempt in found.attempt_list {
        let status = attempt.status.map_or("no answer".to_owned(), |status| status.to_string());
        let Attempt { attempt, at, duration_ms, outcome, response, .. } = attempt;
        put(&format!("  {at}  attempt {attempt}: {outcome}, {status} after {duration_ms} ms  {}", one_line(&response)));
    }
    Ok(())
}

async fn replay(args: ReplayArgs) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct Replayed {
        replayed: usize,
    }
    let (client, bot) = target(&args.server)?;
    let base = ["v1", "admin", "bots", &bot, "deliveries"];
    match (&args.id, &args.since) {
        (Some(id), _) => {
            let path = [&base[..], &[id, "replay"]].concat();
            let delivery: Delivery = client.request(Method::POST, &path).json(&json!({})).field("delivery").await?;
            put(&line(&delivery));
        }
        (None, since) => {
            let since = instant(since.as_deref().unwrap_or_default())?;
            let path = [&base[..], &["replay"]].concat();
            let done: Replayed = client.request(Method::POST, &path).json(&json!({ "since": since })).send().await?;
            put(&format!("{} delivered again", done.replayed));
        }
    }
    Ok(())
}

/// An instant, or a time until now.
fn instant(text: &str) -> Result<Timestamp, Error> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let usage = || Error::Usage(format!("--since \"{text}\": give an instant, or a time such as 90m, 2h or 3d"));
    let unit = text.chars().last().ok_or_else(usage)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return Err(usage()),
    };
    let count: i64 = text[..text.len() - 1].parse().map_err(|_| usage())?;
    let now = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    Ok(Timestamp::from_millis(now.saturating_sub(count.saturating_mul(seconds * 1000))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_instants_or_count_back_from_now() {
        assert_eq!(instant("2026-01-31T12:00:00Z").unwrap().to_string(), "2026-01-31T12:00:00.000Z");
        let (hour, minutes) = (instant("1h").unwrap(), instant("60m").unwrap());
        assert!((hour.millis() - minutes.millis()).abs() < 1000);
        for text in ["", "yesterday", "5x", "h"] {
            assert!(instant(text).is_err(), "{text}");
        }
    }
}
