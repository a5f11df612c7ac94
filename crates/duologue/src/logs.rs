//! `duologue logs`: what a bot's code wrote, and what the platform says about it.

use std::{
    io::{self, IsTerminal, Write},
    time::SystemTime,
};

use duologue_client::{List, LogLine, filters};
use duologue_model::{Json, Timestamp};

use crate::export::{Error, server::Server, stop::Stop};

/// How long a request for more lines waits on the server, in seconds.
const WAIT: u32 = 25;

/// Show the log of a bot, and follow it.
///
/// Lines of code that this server runs, and of the platform: crashes, deliveries that were given up.
/// Lines are kept for seven days.
///
/// Examples:
///
///   duologue logs bot_… --follow
///
///   duologue logs bot_… --since 1d --level error --contains timeout
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The bot's id. [default: that of BP_BOT_ID]
    #[arg(value_name = "BOT")]
    bot: Option<String>,
    /// An integration version's log instead.
    #[arg(long, value_name = "ID", conflicts_with = "bot")]
    integration: Option<String>,
    /// Go on with lines as they come.
    #[arg(short, long)]
    follow: bool,
    /// How far back: 90s, 15m, 12h or 7d, or an instant such as 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "WHEN", default_value = "1h")]
    since: String,
    /// Only lines of exactly this level.
    #[arg(long, value_name = "LEVEL", value_parser = ["debug", "info", "warn", "error"])]
    level: Option<String>,
    /// Only lines about this conversation.
    #[arg(long, value_name = "ID")]
    conversation: Option<String>,
    /// Only lines about this user.
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Only lines with this in their text.
    #[arg(long, value_name = "TEXT")]
    contains: Option<String>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

/// Prints the lines.
pub async fn run(args: Args) -> Result<(), Error> {
    let list = args.list()?;
    let mut stop = Stop::listen();
    let mut token = None;
    loop {
        let request = token.iter().fold(list.clone(), |list, token: &String| list.next_token(token));
        let Some(page) = stop.or(request.send()).await else { return Ok(()) };
        let page = page?;
        match print(&page.items, args.json) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            result => result.map_err(|source| Error::Io { what: "standard output".to_owned(), source })?,
        }
        token = page.next_token;
        if token.is_none() && args.follow {
            return Err(Error::Usage("this server's logs can't be followed; leave --follow out".to_owned()));
        }
        if token.is_none() {
            return Ok(());
        }
    }
}

impl Args {
    fn list(&self) -> Result<List<LogLine, filters::Logs>, Error> {
        let client = self.server.client()?;
        let from = since(&self.since, now()).ok_or_else(|| {
            Error::Usage(format!(
                "--since {}: give 90s, 15m, 12h, 7d, or an instant such as 2026-01-31T12:00:00Z",
                self.since
            ))
        })?;
        let bot = self.bot.as_deref().or(self.server.bot_id());
        let mut list = match (&self.integration, bot) {
            (Some(integration), _) => client.get_integration_logs(integration.as_str(), from),
            (None, Some(bot)) => client.get_bot_logs(bot, from),
            (None, None) => return Err(Error::Usage("which bot? Give its id, or set BP_BOT_ID".to_owned())),
        };
        let filters = [
            ("level", &self.level),
            ("conversationId", &self.conversation),
            ("userId", &self.user),
            ("messageContains", &self.contains),
        ];
        for (name, value) in filters {
            if let Some(value) = value {
                list = list.query(name, value);
            }
        }
        Ok(if self.follow { list.query("wait", WAIT) } else { list })
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// So long before `now`, or an instant.
fn since(text: &str, now: Timestamp) -> Option<Timestamp> {
    let unit = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return text.parse().ok(),
    };
    let count: i64 = text[..text.len() - 1].parse().ok().filter(|count| *count >= 0)?;
    Some(now.plus_millis(count.saturating_mul(unit * 1000).saturating_neg()))
}

fn print(lines: &[LogLine], json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let colored = out.is_terminal();
    for line in lines {
        if json {
            writeln!(out, "{}", Json::of(line).text())?;
            continue;
        }
        let (on, off) = match line.level.as_str() {
            "error" if colored => ("\x1b[31m", "\x1b[0m"),
            "warn" if colored => ("\x1b[33m", "\x1b[0m"),
            "debug" if colored => ("\x1b[2m", "\x1b[0m"),
            _ => ("", ""),
        };
        writeln!(out, "{} {on}{:5}{off} {}", line.timestamp, line.level.to_uppercase(), shown(&line.message))?;
    }
    out.flush()
}

/// A message for a terminal: further lines are set in, and nothing in it controls the terminal.
fn shown(message: &str) -> String {
    let mut text = String::with_capacity(message.len());
    for character in message.chars() {
        match character {
            '\n' => text.push_str("\n    "),
            '\t' => text.push('\t'),
            control if control.is_control() => text.push('\u{fffd}'),
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_instants_are_understood() {
        let now: Timestamp = "2026-01-31T12:00:00.000Z".parse().unwrap();
        let at = |text| since(text, now).map(|at| at.to_string());
        assert_eq!(at("90s").as_deref(), Some("2026-01-31T11:58:30.000Z"));
        assert_eq!(at("7d").as_deref(), Some("2026-01-24T12:00:00.000Z"));
        assert_eq!(at("2026-01-30T00:00:00Z").as_deref(), Some("2026-01-30T00:00:00.000Z"));
        assert_eq!(at("soon"), None);
        assert_eq!(at("-1h"), None);
        assert_eq!(at(""), None);
    }

    #[test]
    fn a_line_can_not_control_the_terminal() {
        assert_eq!(shown("a\x1b[2Jb\r\nc\td"), "a\u{fffd}[2Jb\u{fffd}\n    c\td");
    }
}
