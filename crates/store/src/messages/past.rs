//! Messages of the past: what was said elsewhere is imported, keeps its instant, and is delivered to nobody.

use duologue_model::{Identity, Message, Tags, Timestamp, id::ConversationId};

use super::{
    NewMessage,
    append::{direction, enter},
    find_match, seen_by,
};
use crate::{
    Result, params,
    tag_index::{self, Discriminator},
    tx::{Script, Tx},
};

/// One message of an import.
#[derive(Clone, Debug)]
pub struct Imported {
    /// As for createMessage; never delivered.
    pub new: NewMessage,
    /// When it was said.
    pub created_at: Timestamp,
    /// Which tags count; always created if empty.
    pub by: Vec<String>,
}

/// importMessages: up to 100, each a get-or-create with its own instant, none delivered.
#[derive(Clone, Debug)]
pub struct Import {
    /// The caller.
    pub who: Identity,
    /// In the order of the answer.
    pub messages: Vec<Imported>,
}

impl Script for Import {
    type Out = Vec<Message>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Message>> {
        let mut done = Vec::with_capacity(self.messages.len());
        // Messages of one instant stay in the order in which they were sent.
        for item in &self.messages {
            done.push(self.one(tx, item).await?);
        }
        Ok(done)
    }
}

impl Import {
    async fn one(&self, tx: &mut Tx<'_>, item: &Imported) -> Result<Message> {
        let by = Discriminator { tags: item.new.tags.clone(), by: item.by.clone() };
        if !item.by.is_empty() && by.compares() {
            by.lock(tx, &self.who, "m", "").await?;
            if let Some(found) = find_match(tx, &self.who, &item.new, &by).await? {
                return Ok(found);
            }
        }
        let place = enter(tx, &self.who, &item.new.conversation, &item.new.user).await?;
        let message = Message {
            id: tx.ids().id(item.created_at),
            created_at: item.created_at,
            updated_at: item.created_at,
            kind: item.new.kind.clone(),
            payload: item.new.payload.clone(),
            direction: direction(&self.who, &item.new.user, true),
            user_id: item.new.user.clone(),
            conversation_id: item.new.conversation.clone(),
            tags: Tags::create(&item.new.tags, &self.who.view)?,
            origin: None,
        };
        record(tx, &self.who, &place.id, place.seq, &message).await?;
        Ok(seen_by(message, &self.who))
    }
}

/// Writes a message of the past: it keeps its instant, is counted, and wakes nobody.
pub(crate) async fn record(
    tx: &mut Tx<'_>,
    who: &Identity,
    conversation: &ConversationId,
    seq: i64,
    message: &Message,
) -> Result<bool> {
    let tags = message.tags.text();
    let written = tx
        .execute(
            "INSERT INTO messages (conversation_id, created_at, id, bot_id, seq, type, payload, direction, user_id, origin, tags, updated_at, announced) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, 0) ON CONFLICT DO NOTHING",
            params![
                conversation, message.created_at, &message.id, &who.bot, seq, &message.kind, &message.payload,
                message.direction.name(), &message.user_id, message.origin.map(|_| "synthetic"), &tags, message.updated_at
            ],
        )
        .await?;
    if written == 0 {
        return Ok(false);
    }
    tx.execute(
        "UPDATE conversations SET last_seq = last_seq + 1, message_count = message_count + 1, \
         last_at = CASE WHEN last_at < ?2 THEN ?2 ELSE last_at END WHERE id = ?1",
        params![conversation, message.created_at],
    )
    .await?;
    tag_index::update(tx, &who.bot, "m", message.id.as_str(), message.created_at, &Tags::default(), &message.tags)
        .await?;
    Ok(true)
}
