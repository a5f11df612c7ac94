//! What must be delivered: written with what it is about, deleted with how it ended.
//!
//! A row of the outbox is a promise to call somebody: the bot (an event), or an integration as installed
//! in it (a message to carry outside, or a change). It is written in the transaction of what it is about,
//! so one never exists without the other. Whatever isn't delivered to anybody has no row: events of a
//! bot that can't be called are ignored from the start ([`hears`]).
//!
//! * [`read`] the rows that wait, and what is sent for each. Whom it is sent to is in [`crate::callees`].
//! * [`settle`] how deliveries ended, and what follows from it.
//! * [`leases`] who of several processes delivers for a bot.
//! * [`list`] deliveries for people, and doing them again.
//!
//! Called by the crate `delivery`, which does the calls; scripts of the runtime data write the rows.

pub mod leases;
pub mod list;
pub mod read;
pub mod settle;

use std::collections::HashMap;

use duologue_model::{Conversation, Identity, Json, Message, Timestamp, id::BotId};
use serde::{Deserialize, Serialize};

use crate::{
    Result,
    callees::{self, BotCode, INSTANCE_COLUMNS},
    params,
    sql::{Param, padded},
    tx::Tx,
};

/// Writes a row that is due at once: id, bot, target, kind, lane, instant.
pub(crate) const INSERT: &str =
    "INSERT INTO outbox (id, bot_id, target, kind, lane, at, attempts, due_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?6)";

/// The event that a message makes.
pub const MESSAGE_CREATED: &str = "message_created";

/// What is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An event that is its message: the row's id is the message's, with the other prefix.
    Announced,
    /// An event of the table of events.
    Event,
    /// An event about a workflow: what becomes of the workflow depends on how it ends.
    Workflow,
    /// An event of a schedule.
    Recurring,
    /// A message, to the integration of its conversation. The row's id is the message's.
    Message,
    /// A changed message, to an integration that wants to know.
    MessageUpdated,
    /// A changed conversation, to an integration that wants to know.
    ConversationUpdated,
}

impl Kind {
    const ALL: [Kind; 7] = [
        Kind::Announced,
        Kind::Event,
        Kind::Workflow,
        Kind::Recurring,
        Kind::Message,
        Kind::MessageUpdated,
        Kind::ConversationUpdated,
    ];

    /// Its stored word.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Announced => "announced",
            Kind::Event => "event",
            Kind::Workflow => "workflow",
            Kind::Recurring => "recurring",
            Kind::Message => "message",
            Kind::MessageUpdated => "message_updated",
            Kind::ConversationUpdated => "conversation_updated",
        }
    }

    /// The kind of a stored word.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether it is an event, for the bot.
    pub fn is_event(self) -> bool {
        matches!(self, Kind::Announced | Kind::Event | Kind::Workflow | Kind::Recurring)
    }
}

/// Whether a bot with this `hears` gets events of this type. Messages, and what the platform itself
/// announces, need no subscription.
pub fn hears(hears: Option<&str>, kind: &str) -> bool {
    match hears {
        None => false,
        Some("*") => true,
        Some(_) if is_told_all(kind) => true,
        Some(list) => serde_json::from_str::<Vec<String>>(list).is_ok_and(|list| list.iter().any(|own| own == kind)),
    }
}

/// Events that need no subscription.
fn is_told_all(kind: &str) -> bool {
    matches!(kind, MESSAGE_CREATED | "state_expired" | "workflow_update")
}

/// The same of a bot as it is when it is called.
pub fn wants(bot: &BotCode, kind: &str) -> bool {
    let subscribed = || bot.subscriptions.as_ref().is_none_or(|wanted| wanted.contains_key(kind));
    !bot.blocked && (is_told_all(kind) || subscribed())
}

/// What each of these bots hears.
pub(crate) async fn heard(tx: &mut Tx<'_>, bots: &[String]) -> Result<HashMap<String, Option<String>>> {
    let mut found = HashMap::new();
    for chunk in bots.chunks(256) {
        let (names, params) = padded(chunk, 0);
        for mut row in tx.query(&format!("SELECT id, hears FROM bots WHERE id IN ({names})"), &params).await? {
            found.insert(row.text()?, row.opt_text()?);
        }
    }
    Ok(found)
}

/// Whether this bot gets events of this type.
pub(crate) async fn is_heard(tx: &mut Tx<'_>, bot: &BotId, kind: &str) -> Result<bool> {
    let row = tx.query_opt("SELECT hears FROM bots WHERE id = ?1", params![bot]).await?;
    Ok(match row {
        Some(mut row) => hears(row.opt_text()?.as_deref(), kind),
        None => false,
    })
}

/// A row of [`insert_many`].
pub(crate) struct New<'a> {
    pub(crate) id: &'a str,
    pub(crate) bot: &'a str,
    pub(crate) kind: Kind,
    pub(crate) lane: &'a str,
}

/// Writes events' rows that are due now.
pub(crate) async fn insert_many(tx: &mut Tx<'_>, rows: &[New<'_>]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let now = tx.now();
    let mut params: Vec<Param<'_>> = Vec::with_capacity(rows.len() * 8);
    for row in rows {
        let (id, bot, lane) = (row.id.into(), row.bot.into(), row.lane.into());
        params.extend([id, bot, "".into(), row.kind.name().into(), lane, now.into(), 0i64.into(), now.into()]);
    }
    let head = "INSERT INTO outbox (id, bot_id, target, kind, lane, at, attempts, due_at)";
    tx.insert_many(head, 8, &params, "").await?;
    for row in rows {
        tx.touches().outbox(&BotId::new(row.bot));
    }
    Ok(())
}

/// What a changed thing was and is, in the bot's view.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Changed<T> {
    pub(crate) previous: T,
    pub(crate) current: T,
}

/// A message was changed: an integration that wants to know is told if the bot did it
/// (`bridge-protocol.md` § 4.5).
pub(crate) async fn message_updated(tx: &mut Tx<'_>, who: &Identity, before: &Message, after: &Message) -> Result<()> {
    if !who.is_bot() {
        return Ok(());
    }
    let row = tx.query_opt("SELECT owner FROM conversations WHERE id = ?1", params![&after.conversation_id]).await?;
    let owner = row.map_or(Ok(String::new()), |mut row| row.text())?;
    let body = || Json::of(&Changed { previous: before, current: after });
    changed(tx, who, &owner, Kind::MessageUpdated, after.conversation_id.as_str(), after.updated_at, body).await
}

/// The same for a conversation (§ 4.6).
pub(crate) async fn conversation_updated(
    tx: &mut Tx<'_>,
    who: &Identity,
    before: &Conversation,
    after: &Conversation,
) -> Result<()> {
    if !who.is_bot() {
        return Ok(());
    }
    let body = || Json::of(&Changed { previous: before, current: after });
    let (owner, kind) = (&after.integration, Kind::ConversationUpdated);
    changed(tx, who, owner, kind, after.id.as_str(), after.updated_at, body).await
}

/// Whether the integration under this alias works and has switched this extra operation on.
async fn is_extra(tx: &mut Tx<'_>, bot: &BotId, alias: &str, operation: &str) -> Result<bool> {
    let sql = format!(
        "SELECT {INSTANCE_COLUMNS} FROM instances i CROSS JOIN integrations g \
         WHERE g.id = i.integration_id AND i.bot_id = ?1 AND i.alias = ?2"
    );
    let Some(mut row) = tx.query_opt(&sql, params![bot, alias]).await? else { return Ok(false) };
    let instance = callees::instance(&mut row)?;
    Ok(instance.enabled && instance.has_extra(operation))
}

async fn changed(
    tx: &mut Tx<'_>,
    who: &Identity,
    owner: &str,
    kind: Kind,
    lane: &str,
    at: Timestamp,
    body: impl Fn() -> Json,
) -> Result<()> {
    if owner.is_empty() || !is_extra(tx, &who.bot, owner, kind.name()).await? {
        return Ok(());
    }
    // Ids of messages sort by their instants, so the row has its place among those of messages.
    let id = tx.ids().id::<duologue_model::id::kind::Message>(at);
    tx.execute(
        "INSERT INTO outbox (id, bot_id, target, kind, lane, at, attempts, due_at, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?6, ?7)",
        params![&id, &who.bot, owner, kind.name(), lane, at, &body()],
    )
    .await?;
    tx.touches().outbox(&who.bot);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bot_hears_what_it_subscribed_to_and_what_everybody_hears() {
        assert!(!hears(None, MESSAGE_CREATED));
        assert!(hears(Some("*"), "anything"));
        let some = Some(r#"["slack:joined"]"#);
        assert!(hears(some, "slack:joined") && hears(some, MESSAGE_CREATED) && hears(some, "state_expired"));
        assert!(!hears(some, "slack:left"));
        assert!(!hears(Some("[]"), "own"));
    }

    #[test]
    fn kinds_are_read_as_they_are_written() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
        }
    }
}
