//! Webhooks: URLs that operators subscribe to what happens in a bot.
//!
//! What happens writes a row for each subscription that wants it, with the body as it will be sent, in
//! the transaction of what it is about ([`Rows`]). Rows wait for days if need be and have no order, so they
//! have a table of their own beside the outbox.
//!
//! * [`manage`] the subscriptions and their secrets.
//! * [`queue`] which rows are due, who sends them, and what came of it.
//! * [`history`] what was sent, for people, and sending it again.
//!
//! Whether a bot has subscriptions at all is asked for every message, so it is answered by a table of its
//! own, `webhook_bots`, which `messages` and `v12` read together with the conversation. Sending is the
//! business of the crate `delivery`.

pub mod history;
pub mod manage;
pub mod queue;

use std::collections::HashMap;

use duologue_model::{
    Conversation, Direction, Identity, Json, Message, Timestamp, User,
    id::{BotId, Id, Kind},
};
use serde::Serialize;

use crate::{Result, params, sql::Param, tx::Tx};

/// A message of either direction was stored.
pub const MESSAGE_CREATED: &str = "message_created";
/// A conversation was made.
pub const CONVERSATION_CREATED: &str = "conversation_created";
/// A user was made.
pub const USER_CREATED: &str = "user_created";
/// A bot of v12 said something outside an answer.
pub const CONVERSE_MESSAGE: &str = "converse_message";
/// Somebody wants to see whether it works; goes to a subscription whatever it wants.
pub const TEST: &str = "test";
/// Wants everything.
const ALL: &str = "*";

/// A subscription.
pub enum Webhook {}

impl Kind for Webhook {
    const PREFIX: &'static str = "hook";
}

/// What is sent to it: `webhook-id`.
pub enum Sent {}

impl Kind for Sent {
    const PREFIX: &'static str = "hookmsg";
}

/// The enabled subscriptions of a bot, and what each wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hooks(Vec<(String, Vec<String>)>);

impl Hooks {
    /// Reads what `webhook_bots` has; nothing for a bot without a row.
    pub(crate) fn parse(text: Option<&str>) -> Self {
        Hooks(text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default())
    }

    /// Whether nobody wants anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn wanting<'h>(&'h self, kind: &'h str) -> impl Iterator<Item = &'h str> {
        let wants = move |types: &Vec<String>| types.iter().any(|wanted| wanted == ALL || wanted == kind);
        self.0.iter().filter(move |(_, types)| wants(types)).map(|(id, _)| id.as_str())
    }
}

/// What a bot's subscriptions want.
pub(crate) async fn hooks(tx: &mut Tx<'_>, bot: &BotId) -> Result<Hooks> {
    let row = tx.query_opt("SELECT hooks FROM webhook_bots WHERE bot_id = ?1", params![bot]).await?;
    Ok(Hooks::parse(row.map(|mut row| row.text()).transpose()?.as_deref()))
}

/// The same for many bots; those without subscriptions are missing.
pub(crate) async fn hooks_of(tx: &mut Tx<'_>, bots: &[&str]) -> Result<HashMap<String, Hooks>> {
    let mut wanted = bots.to_vec();
    wanted.sort_unstable();
    wanted.dedup();
    let mut found = HashMap::new();
    for chunk in wanted.chunks(200) {
        let names: Vec<String> = (1..=chunk.len()).map(|n| format!("?{n}")).collect();
        let sql = format!("SELECT bot_id, hooks FROM webhook_bots WHERE bot_id IN ({})", names.join(", "));
        let params: Vec<Param<'_>> = chunk.iter().map(|bot| Param::from(*bot)).collect();
        for mut row in tx.query(&sql, &params).await? {
            found.insert(row.text()?, Hooks::parse(Some(&row.text()?)));
        }
    }
    Ok(found)
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Happening<'h> {
    pub(crate) bot: &'h str,
    /// The type.
    pub(crate) kind: &'h str,
    pub(crate) at: Timestamp,
    /// The conversation that it belongs to: with it the rows go.
    pub(crate) conversation: Option<&'h str>,
    /// The message that it is about, or outside of conversations the user: with it the rows go.
    pub(crate) subject: Option<&'h str>,
    /// The instant of the message that is handed over by it.
    pub(crate) position: Option<Timestamp>,
}

/// A body as it is sent.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'b, D> {
    r#type: &'b str,
    timestamp: Timestamp,
    bot_id: &'b str,
    data: D,
}

const HEAD: &str = "INSERT INTO webhook_messages (id, subscription_id, bot_id, type, body, conversation_id, subject, position, created_at, due_at)";
const COLUMNS: usize = 10;

/// Rows to be written.
#[derive(Debug, Default)]
pub(crate) struct Rows(Vec<Param<'static>>);

impl Rows {
    /// Adds a row for each subscription that wants it. `data` is asked for only if there is one.
    pub(crate) fn add<D: Serialize>(
        &mut self,
        tx: &mut Tx<'_>,
        hooks: &Hooks,
        what: Happening<'_>,
        data: impl FnOnce() -> D,
    ) {
        let mut data = Some(data);
        let mut body = String::new();
        for subscription in hooks.wanting(what.kind) {
            if let Some(data) = data.take() {
                let whole = Body { r#type: what.kind, timestamp: what.at, bot_id: what.bot, data: data() };
                body = Json::of(&whole).text().to_owned();
            }
            self.row(tx, subscription, what, &body);
        }
    }

    fn row(&mut self, tx: &mut Tx<'_>, subscription: &str, what: Happening<'_>, body: &str) -> Id<Sent> {
        let (id, now): (Id<Sent>, _) = (tx.ids().id(tx.now()), tx.now());
        let text = |text: &str| Param::owned(text.to_owned());
        self.0.extend([
            text(id.as_str()),
            text(subscription),
            text(what.bot),
            text(what.kind),
            text(body),
            what.conversation.map(text).unwrap_or(Param::Null),
            what.subject.map(text).unwrap_or(Param::Null),
            what.position.into(),
            now.into(),
            now.into(),
        ]);
        tx.touches().webhook(subscription);
        id
    }

    /// The statement that writes them, to be run together with others; `None` if there are none.
    pub(crate) fn statement(&self) -> Option<(String, &[Param<'static>])> {
        if self.0.is_empty() {
            return None;
        }
        let row = |row: usize| {
            let names: Vec<String> = (1..=COLUMNS).map(|column| format!("?{}", row * COLUMNS + column)).collect();
            format!("({})", names.join(", "))
        };
        let rows: Vec<String> = (0..self.0.len() / COLUMNS).map(row).collect();
        Some((format!("{HEAD} VALUES {}", rows.join(", ")), &self.0))
    }

    /// Writes them.
    pub(crate) async fn write(self, tx: &mut Tx<'_>) -> Result<()> {
        tx.insert_many(HEAD, COLUMNS, &self.0, "").await
    }
}

/// A conversation was made; its tags are under stored keys.
pub(crate) async fn conversation_created(tx: &mut Tx<'_>, who: &Identity, conversation: &Conversation) -> Result<()> {
    #[derive(Serialize)]
    struct Data<'d> {
        conversation: &'d Conversation,
    }
    let what = Happening {
        bot: who.bot.as_str(),
        kind: CONVERSATION_CREATED,
        at: conversation.created_at,
        conversation: Some(conversation.id.as_str()),
        subject: None,
        position: None,
    };
    happened(tx, what, || Data { conversation }).await
}

/// A user was made; its tags are under stored keys.
pub(crate) async fn user_created(tx: &mut Tx<'_>, who: &Identity, user: &User) -> Result<()> {
    #[derive(Serialize)]
    struct Data<'d> {
        user: &'d User,
    }
    let what = Happening {
        bot: who.bot.as_str(),
        kind: USER_CREATED,
        at: user.created_at,
        conversation: None,
        subject: Some(user.id.as_str()),
        position: None,
    };
    happened(tx, what, || Data { user }).await
}

async fn happened<D: Serialize>(tx: &mut Tx<'_>, what: Happening<'_>, data: impl FnOnce() -> D) -> Result<()> {
    let hooks = hooks(tx, &BotId::new(what.bot)).await?;
    let mut rows = Rows::default();
    rows.add(tx, &hooks, what, data);
    rows.write(tx).await
}

/// An event, as it is shown to webhooks: without what becomes of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OfEvent<'d> {
    pub(crate) id: &'d str,
    pub(crate) created_at: Timestamp,
    pub(crate) r#type: &'d str,
    pub(crate) payload: &'d Json,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) conversation_id: Option<&'d str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user_id: Option<&'d str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message_id: Option<&'d str>,
}

/// Events happened, whether their bots hear of them or not: each with its bot, under stored names.
pub(crate) async fn events_happened(tx: &mut Tx<'_>, events: &[(&str, OfEvent<'_>)]) -> Result<()> {
    #[derive(Serialize)]
    struct Data<'d> {
        event: &'d OfEvent<'d>,
    }
    if events.is_empty() {
        return Ok(());
    }
    let bots: Vec<&str> = events.iter().map(|(bot, _)| *bot).collect();
    let hooks = hooks_of(tx, &bots).await?;
    let (mut rows, now) = (Rows::default(), tx.now());
    for (bot, event) in events {
        let Some(hooks) = hooks.get(*bot) else { continue };
        let what = Happening {
            bot,
            kind: event.r#type,
            at: now,
            conversation: event.conversation_id,
            subject: event.message_id.or(event.user_id.filter(|_| event.conversation_id.is_none())),
            position: None,
        };
        rows.add(tx, hooks, what, || Data { event });
    }
    rows.write(tx).await
}

impl Rows {
    /// Adds that a message was stored; its tags are under stored keys. `user`: who of the Converse API hears
    /// it outside an answer, if it is the bot's.
    pub(crate) fn message(
        &mut self,
        tx: &mut Tx<'_>,
        hooks: &Hooks,
        bot: &BotId,
        message: &Message,
        user: Option<&str>,
    ) {
        #[derive(Serialize)]
        struct Data<'d> {
            message: &'d Message,
        }
        if hooks.is_empty() {
            return;
        }
        let what = Happening {
            bot: bot.as_str(),
            kind: MESSAGE_CREATED,
            at: message.created_at,
            conversation: Some(message.conversation_id.as_str()),
            subject: Some(message.id.as_str()),
            position: None,
        };
        self.add(tx, hooks, what, || Data { message });
        // Conversations of the Cloud API that a v12 bot leads have no user of the Converse API.
        let is_spoken =
            |user: &&str| message.direction == Direction::Outgoing && *user != message.conversation_id.as_str();
        if let Some(user) = user.filter(is_spoken) {
            self.spoken(tx, hooks, what, message, user);
        }
    }

    /// Adds what a bot of v12 says outside an answer: what `GET …/converse/{userId}/events` has, and whose
    /// it is.
    fn spoken(&mut self, tx: &mut Tx<'_>, hooks: &Hooks, what: Happening<'_>, message: &Message, user: &str) {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Data<'d> {
            bot_id: &'d str,
            user_id: &'d str,
            id: String,
            event: &'static str,
            data: Json,
        }
        let what = Happening { kind: CONVERSE_MESSAGE, position: Some(message.created_at), ..what };
        self.add(tx, hooks, what, || Data {
            bot_id: what.bot,
            user_id: user,
            id: message.created_at.millis().to_string(),
            event: "message",
            data: Json::trusted(crate::v12::listen::response(&message.kind, &message.payload)),
        });
    }
}

/// What goes with a conversation that is deleted.
pub(crate) async fn forget_conversation(tx: &mut Tx<'_>, id: &str) -> Result<()> {
    forget(tx, "conversation_id", id).await
}

/// What goes with a message or a user that is deleted.
pub(crate) async fn forget_subject(tx: &mut Tx<'_>, id: &str) -> Result<()> {
    forget(tx, "subject", id).await
}

async fn forget(tx: &mut Tx<'_>, column: &str, id: &str) -> Result<()> {
    let attempts = format!(
        "DELETE FROM webhook_attempts WHERE message_id IN (SELECT id FROM webhook_messages WHERE {column} = ?1)"
    );
    tx.execute(&attempts, params![id]).await?;
    tx.execute(&format!("DELETE FROM webhook_messages WHERE {column} = ?1"), params![id]).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_gets_what_it_wants() {
        let hooks = Hooks::parse(Some(r#"[["a",["message_created"]],["b",["*"]],["c",["slack:joined"]]]"#));
        assert_eq!(hooks.wanting(MESSAGE_CREATED).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(hooks.wanting("slack:joined").collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(Hooks::parse(None).wanting(MESSAGE_CREATED).count(), 0);
    }
}
