//! What a user hears of a bot without asking: the bot's messages of a conversation, after a position.
//!
//! A position is the instant of a message. Instants increase strictly in a conversation
//! ([`crate::messages`]), so whoever knows the position of the last message that reached him misses
//! nothing, whoever said the next one: a turn, another conversation's turn, or a client of the Cloud API.
//!
//! What was handed over to a listener isn't late any more ([`super::turns`]).

use std::{borrow::Cow, collections::HashMap};

use duologue_model::{
    Identity, Json, Timestamp,
    id::{BotId, ConversationId},
};

use super::turns;
use crate::{
    Result, Store, params,
    tx::{Script, Tx},
};

/// Where a listener begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The conversation.
    pub conversation: ConversationId,
    /// Up to here everything was handed over.
    pub delivered_at: Timestamp,
}

/// A message of the bot.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// Its position.
    pub at: Timestamp,
    /// Its type.
    pub kind: String,
    /// JSON object.
    pub payload: Json,
}

/// What is new in a conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct News {
    /// Messages, oldest first.
    pub heard: Vec<Heard>,
    /// Up to here everything was handed over before.
    pub delivered_at: Timestamp,
}

struct Find {
    bot: BotId,
    user: String,
}

impl Script for Find {
    type Out = Option<Place>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<Place>> {
        let sql = "SELECT conversation_id, delivered_at FROM v12_conversations WHERE bot_id = ?1 AND user_id = ?2";
        let row = tx.query_opt(sql, params![&self.bot, &self.user]).await?;
        row.map(|mut row| Ok(Place { conversation: row.id()?, delivered_at: row.at()? })).transpose()
    }
}

struct Open(Find);

impl Script for Open {
    type Out = Place;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Place> {
        let place = turns::enter(tx, &Identity::bot(self.0.bot.clone()), &self.0.user).await?;
        Ok(Place { conversation: place.conversation, delivered_at: place.delivered_at })
    }
}

struct After {
    conversation: ConversationId,
    after: Timestamp,
    most: i64,
}

impl Script for After {
    type Out = Option<News>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<News>> {
        let sql = "SELECT delivered_at FROM v12_conversations WHERE conversation_id = ?1";
        let Some(mut row) = tx.query_opt(sql, params![&self.conversation]).await? else { return Ok(None) };
        let delivered_at = row.at()?;
        // SQLite prepares a statement anew whose limit is bound.
        let sql = format!(
            "SELECT created_at, type, payload FROM messages WHERE conversation_id = ?1 AND created_at > ?2 \
             AND direction = 'outgoing' ORDER BY created_at, id LIMIT {}",
            self.most
        );
        let rows = tx.query(&sql, params![&self.conversation, self.after]).await?;
        let heard =
            rows.into_iter().map(|mut row| Ok(Heard { at: row.at()?, kind: row.text()?, payload: row.json()? }));
        Ok(Some(News { heard: heard.collect::<Result<_>>()?, delivered_at }))
    }
}

struct HandOver {
    conversation: ConversationId,
    until: Timestamp,
}

impl Script for HandOver {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        // A position that the conversation hasn't reached is somebody's invention.
        let sql = "UPDATE v12_conversations SET delivered_at = ?2 WHERE conversation_id = ?1 AND delivered_at < ?2 \
                   AND EXISTS (SELECT 1 FROM conversations c WHERE c.id = ?1 AND c.last_at >= ?2)";
        tx.execute(sql, params![&self.conversation, self.until]).await?;
        Ok(())
    }
}

/// Notes how far a conversation's messages have reached the user by webhooks: up to the last one before the
/// first that has not.
pub(crate) async fn handed_over(tx: &mut Tx<'_>, conversation: &str) -> Result<()> {
    let sql = "UPDATE v12_conversations SET delivered_at = COALESCE((\
               SELECT MAX(w.position) FROM webhook_messages w WHERE w.conversation_id = ?1 AND w.status = 'delivered' \
               AND w.position > v12_conversations.delivered_at AND NOT EXISTS (\
               SELECT 1 FROM messages m WHERE m.conversation_id = ?1 AND m.created_at > v12_conversations.delivered_at \
               AND m.created_at < w.position AND m.direction = 'outgoing' AND NOT EXISTS (\
               SELECT 1 FROM webhook_messages x WHERE x.conversation_id = ?1 AND x.position = m.created_at AND x.status = 'delivered'))), \
               delivered_at) WHERE conversation_id = ?1";
    tx.execute(sql, params![conversation]).await?;
    Ok(())
}

/// A message as it stands in `responses`: its payload, with the type.
pub fn response(kind: &str, payload: &Json) -> String {
    let text = payload.text().trim();
    let members: Option<HashMap<Cow<'_, str>, serde::de::IgnoredAny>> = serde_json::from_str(text).ok();
    match (members, text.strip_prefix('{')) {
        (Some(members), Some(rest)) if !members.contains_key("type") => {
            let kind = serde_json::Value::from(kind);
            let comma = if members.is_empty() { "" } else { "," };
            format!("{{\"type\":{kind}{comma}{}", rest.trim_start())
        }
        _ => text.to_owned(),
    }
}

impl Store {
    /// The conversation of a bot and a user who listens; made if there is none, so that he can be
    /// addressed before he says anything.
    pub async fn open_v12_conversation(&self, bot: &BotId, user: &str) -> Result<Place> {
        let find = Find { bot: bot.clone(), user: user.to_owned() };
        match self.read(&find).await? {
            Some(place) => Ok(place),
            None => self.write(Open(find)).await,
        }
    }

    /// The bot's messages after a position, oldest first and `most` of them; `None` if the conversation
    /// was deleted.
    pub async fn v12_news(&self, conversation: &ConversationId, after: Timestamp, most: i64) -> Result<Option<News>> {
        self.read(&After { conversation: conversation.clone(), after, most }).await
    }

    /// Notes that everything up to a position was handed over, so that the next answer doesn't bring it. A
    /// position that isn't reached yet is ignored.
    pub async fn hand_over_v12(&self, conversation: &ConversationId, until: Timestamp) -> Result<()> {
        self.write(HandOver { conversation: conversation.clone(), until }).await
    }
}
