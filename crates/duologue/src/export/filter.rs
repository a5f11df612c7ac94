//! Which conversations are exported, and in which order.

use std::str::FromStr;

use duologue_model::{Conversation, Timestamp, id::ConversationId};
use serde::{Deserialize, Serialize};

/// Options that choose conversations. Those that are given must all hold.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Which conversations")]
pub struct Filters {
    /// With this tag, e.g. `topic=sales` or `slack:thread=T1`; `KEY=` for those without it. Several:
    /// with all of them.
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = tag)]
    pub(crate) tags: Vec<(String, String)>,

    /// In which this user takes part. Several: in which all of them do.
    #[arg(long = "user", value_name = "ID")]
    pub(crate) users: Vec<String>,

    /// Of the integration installed under this alias.
    #[arg(long, value_name = "ALIAS")]
    pub(crate) integration: Option<String>,

    /// On this channel.
    #[arg(long, value_name = "NAME")]
    pub(crate) channel: Option<String>,

    /// Begun at this instant or later: 2026-01-31, or 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "DATE", value_parser = since)]
    pub(crate) since: Option<Timestamp>,

    /// Begun at this instant or earlier; a date without a time includes that day (UTC).
    #[arg(long, value_name = "DATE", value_parser = until)]
    pub(crate) until: Option<Timestamp>,

    /// Only this conversation. Several: all of these. Goes without the other filters.
    #[arg(
        long = "conversation",
        value_name = "ID",
        conflicts_with_all = ["tags", "users", "integration", "channel", "since", "until"]
    )]
    pub(crate) conversations: Vec<String>,
}

impl Filters {
    /// Whether a conversation was begun in the time asked for: some servers overlook such filters.
    pub(crate) fn in_time(&self, conversation: &Conversation) -> bool {
        self.since.is_none_or(|since| conversation.created_at >= since)
            && self.until.is_none_or(|until| conversation.created_at <= until)
    }

    /// The filters as names and values, for comparing two runs.
    pub(crate) fn describe(&self) -> Vec<(&'static str, String)> {
        let instant = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
        vec![
            ("tag", self.tags.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ")),
            ("user", self.users.join(", ")),
            ("integration", self.integration.clone().unwrap_or_default()),
            ("channel", self.channel.clone().unwrap_or_default()),
            ("since", instant(self.since)),
            ("until", instant(self.until)),
            ("conversation", self.conversations.join(", ")),
        ]
    }
}

/// Where a conversation stands in an export: oldest first, then by id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Position {
    /// When it was created.
    pub created_at: Timestamp,
    /// Its id.
    pub id: ConversationId,
}

impl Position {
    /// Of this conversation.
    pub fn of(conversation: &Conversation) -> Self {
        Position { created_at: conversation.created_at, id: conversation.id.clone() }
    }
}

fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE, e.g. topic=sales".to_owned()),
    }
}

fn since(text: &str) -> Result<Timestamp, String> {
    Timestamp::from_str(text).map_err(|e| e.to_string())
}

fn until(text: &str) -> Result<Timestamp, String> {
    let at = since(text)?;
    let is_day = text.len() == "2026-01-31".len();
    Ok(if is_day { at.plus_millis(24 * 60 * 60 * 1000 - 1) } else { at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_date_includes_its_day() {
        assert_eq!(since("2026-01-31").unwrap().to_string(), "2026-01-31T00:00:00.000Z");
        assert_eq!(until("2026-01-31").unwrap().to_string(), "2026-01-31T23:59:59.999Z");
        assert_eq!(until("2026-01-31T12:00:00+01:00").unwrap().to_string(), "2026-01-31T11:00:00.000Z");
        assert!(since("yesterday").is_err());
    }

    #[test]
    fn tags_are_split_at_the_first_equals_sign() {
        assert_eq!(tag("a:b=c=d"), Ok(("a:b".to_owned(), "c=d".to_owned())));
        assert_eq!(tag("a="), Ok(("a".to_owned(), String::new())));
        assert!(tag("a").is_err() && tag("=b").is_err());
    }
}
