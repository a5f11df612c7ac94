//! Messages (`spec/cloud/runtime.md` § 5).
//!
//! * `append` the way every new message takes; `schedule` messages that are said later; `past` those that were said
//!   elsewhere; `list` lists of them.

mod append;
mod list;
mod past;
mod schedule;

pub(crate) use append::{INSERT, WRITTEN_COLUMNS, Written, write_many};
use duologue_model::{
    Conversation, Direction, Error as Refusal, ErrorKind, Identity, Json, Message, Origin, User,
    id::{ConversationId, UserId},
    tags::TagPatch,
};
pub use list::List;
pub(crate) use past::record;
pub use past::{Import, Imported};
pub(crate) use schedule::release_due;

use crate::{
    Error, Result, Store, conversations,
    events::Schedule,
    outbox,
    page::Query,
    params, participants,
    sql::{Row, padded},
    tag_index::{self, Discriminator},
    tx::{Script, Tx},
    users, webhooks,
};

pub(crate) const COLUMNS: &str =
    "e.id, e.conversation_id, e.type, e.payload, e.direction, e.user_id, e.origin, e.tags, e.created_at, e.updated_at";

/// Reads [`COLUMNS`]; tags stay under stored keys.
pub(crate) fn stored(row: &mut Row) -> Result<Message> {
    Ok(Message {
        id: row.id()?,
        conversation_id: row.id()?,
        kind: row.text()?,
        payload: row.json()?,
        direction: Direction::from_name(&row.text()?),
        user_id: row.id()?,
        origin: row.opt_text()?.map(|_| Origin::Synthetic),
        tags: row.tags()?,
        created_at: row.at()?,
        updated_at: row.at()?,
    })
}

fn seen_by(mut message: Message, who: &Identity) -> Message {
    if !who.is_bot() {
        message.tags = message.tags.seen_by(&who.view);
    }
    message
}

/// What a new message is made of.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// Where.
    pub conversation: ConversationId,
    /// By whom.
    pub user: UserId,
    /// `text`, `image`, …
    pub kind: String,
    /// JSON object.
    pub payload: Json,
    /// In the caller's view.
    pub tags: TagPatch,
    /// Recorded only.
    pub origin: Option<Origin>,
    /// Later.
    pub schedule: Option<Schedule>,
}

async fn create(tx: &mut Tx<'_>, who: &Identity, new: &NewMessage) -> Result<Message> {
    match new.schedule.map(|schedule| schedule.due(tx.now())) {
        Some(due) if due > tx.now() => schedule::schedule(tx, who, new, due).await,
        _ => append::append(tx, who, new).await,
    }
}

/// createMessage.
#[derive(Clone, Debug)]
pub struct Create {
    /// The caller.
    pub who: Identity,
    /// What to create.
    pub new: NewMessage,
}

impl Script for Create {
    type Out = Message;

    fn lane(&self) -> Option<&str> {
        Some(self.new.conversation.as_str())
    }

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Message> {
        create(tx, &self.who, &self.new).await
    }
}

/// getOrCreateMessage. Answers whether it was created.
#[derive(Clone, Debug)]
pub struct GetOrCreate {
    /// The caller.
    pub who: Identity,
    /// What to create.
    pub new: NewMessage,
    /// Which tags count; all if empty.
    pub by: Vec<String>,
}

/// A message with these tags, if there is one; an error if all of them are elsewhere.
async fn find_match(tx: &mut Tx<'_>, who: &Identity, new: &NewMessage, by: &Discriminator) -> Result<Option<Message>> {
    let visible = |query: &mut Query| visible(query, who);
    let rows = by.matches(tx, who, "messages", "m", COLUMNS, visible, 100).await?;
    let mut elsewhere = false;
    for mut row in rows {
        let message = stored(&mut row)?;
        if message.conversation_id == new.conversation {
            return Ok(Some(seen_by(message, who)));
        }
        elsewhere = true;
    }
    if elsewhere {
        return Err(Refusal::new(
            ErrorKind::AlreadyExists,
            "A message with these tags already exists for a different conversation",
        )
        .into());
    }
    Ok(None)
}

/// Only messages of the caller's conversations.
fn visible(query: &mut Query, who: &Identity) {
    query.and("e.bot_id =", &who.bot);
    if !who.is_bot() {
        let owner = query.bind(who.view.owner());
        query.text.push_str(&format!(
            " AND EXISTS (SELECT 1 FROM conversations o WHERE o.id = e.conversation_id AND o.owner = {owner})"
        ));
    }
}

impl Script for GetOrCreate {
    type Out = (Message, bool);
    async fn run(&self, tx: &mut Tx<'_>) -> Result<(Message, bool)> {
        let by = Discriminator { tags: self.new.tags.clone(), by: self.by.clone() };
        if by.compares() {
            by.lock(tx, &self.who, "m", "").await?;
            if let Some(message) = find_match(tx, &self.who, &self.new, &by).await? {
                return Ok((message, false));
            }
        }
        Ok((create(tx, &self.who, &self.new).await?, true))
    }
}

/// The message, if the caller may see it; scheduled ones too.
async fn find(tx: &mut Tx<'_>, who: &Identity, id: &str) -> Result<Option<(Message, bool)>> {
    let mut query = Query::new(&format!("SELECT {COLUMNS} FROM messages e WHERE 1 = 1"));
    query.and("e.id =", id);
    visible(&mut query, who);
    if let Some(mut row) = query.run(tx).await?.into_iter().next() {
        return Ok(Some((stored(&mut row)?, false)));
    }
    let mut query = Query::new(
        "SELECT e.id, e.conversation_id, e.type, e.payload, e.direction, e.user_id, e.origin, e.tags, e.due_at, e.due_at FROM scheduled_messages e WHERE 1 = 1",
    );
    query.and("e.id =", id);
    visible(&mut query, who);
    let row = query.run(tx).await?.into_iter().next();
    row.map(|mut row| Ok((stored(&mut row)?, true))).transpose()
}

async fn named(tx: &mut Tx<'_>, who: &Identity, id: &str) -> Result<(Message, bool)> {
    find(tx, who, id).await?.ok_or_else(|| Error::Refused(Refusal::not_found("message", id)))
}

struct Get {
    who: Identity,
    id: String,
}

impl Script for Get {
    type Out = Message;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Message> {
        Ok(seen_by(named(tx, &self.who, &self.id).await?.0, &self.who))
    }
}

/// updateMessage: tags merge, the payload is replaced as a whole, the type stays.
#[derive(Clone, Debug)]
pub struct Update {
    /// The caller.
    pub who: Identity,
    /// Which message.
    pub id: String,
    /// Merged.
    pub tags: TagPatch,
    /// Replaced.
    pub payload: Option<Json>,
}

impl Script for Update {
    type Out = Message;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Message> {
        let (found, _) = named(tx, &self.who, &self.id).await?;
        conversations::named(tx, &self.who, found.conversation_id.as_str(), true).await?;
        // Again, now that nobody else changes it.
        let (before, scheduled) = named(tx, &self.who, &self.id).await?;
        let mut after = before.clone();
        after.tags.merge(&self.tags, &self.who.view)?;
        if let Some(payload) = &self.payload {
            after.payload = payload.clone();
        }
        if after == before {
            return Ok(seen_by(after, &self.who));
        }
        let tags = after.tags.text();
        if scheduled {
            tx.execute(
                "UPDATE scheduled_messages SET tags = ?2, payload = ?3 WHERE id = ?1",
                params![&self.id, &tags, &after.payload],
            )
            .await?;
        } else {
            after.updated_at = conversations::feed(tx, &after.conversation_id, "message_updated", &self.id).await?;
            tx.execute(
                "UPDATE messages SET tags = ?4, payload = ?5, updated_at = ?6 WHERE conversation_id = ?1 AND created_at = ?2 AND id = ?3",
                params![&after.conversation_id, after.created_at, &self.id, &tags, &after.payload, after.updated_at],
            )
            .await?;
        }
        tag_index::update(tx, &self.who.bot, "m", &self.id, after.created_at, &before.tags, &after.tags).await?;
        if !scheduled {
            outbox::message_updated(tx, &self.who, &before, &after).await?;
        }
        Ok(seen_by(after, &self.who))
    }
}

/// deleteMessage.
#[derive(Clone, Debug)]
pub struct Delete {
    /// The caller.
    pub who: Identity,
    /// Which message.
    pub id: String,
}

impl Script for Delete {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let (found, _) = named(tx, &self.who, &self.id).await?;
        let conversation = found.conversation_id;
        conversations::named(tx, &self.who, conversation.as_str(), true).await?;
        let (message, scheduled) = named(tx, &self.who, &self.id).await?;
        if scheduled {
            tx.execute("DELETE FROM scheduled_messages WHERE id = ?1", params![&self.id]).await?;
        } else {
            tx.execute_all(&[
                (
                    "DELETE FROM outbox WHERE bot_id = ?1 AND id IN (?2, ?3)",
                    params![&self.who.bot, &self.id, message.id.event().as_ref()],
                ),
                (
                    "DELETE FROM outbox WHERE bot_id = ?1 AND id IN (SELECT id FROM events WHERE message_id = ?2)",
                    params![&self.who.bot, &self.id],
                ),
                (
                    "DELETE FROM dead_letters WHERE bot_id = ?1 AND id IN (?2, ?3)",
                    params![&self.who.bot, &self.id, message.id.event().as_ref()],
                ),
                (
                    "DELETE FROM delivery_attempts WHERE bot_id = ?1 AND id IN (?2, ?3)",
                    params![&self.who.bot, &self.id, message.id.event().as_ref()],
                ),
                ("DELETE FROM events WHERE message_id = ?1", params![&self.id]),
                (
                    "DELETE FROM messages WHERE conversation_id = ?1 AND created_at = ?2 AND id = ?3",
                    params![&conversation, message.created_at, &self.id],
                ),
                ("UPDATE conversations SET message_count = message_count - 1 WHERE id = ?1", params![&conversation]),
            ])
            .await?;
            conversations::feed(tx, &conversation, "message_deleted", &self.id).await?;
            webhooks::forget_subject(tx, &self.id).await?;
        }
        tag_index::forget(tx, &self.id).await
    }
}

/// initializeIncomingMessage: finds or makes the user, the conversation and the message; all or
/// nothing.
#[derive(Clone, Debug)]
pub struct Initialize {
    /// The caller, an integration.
    pub who: Identity,
    /// An existing user, or one to find or make.
    pub user: Result<String, users::GetOrCreate>,
    /// An existing conversation, or one to find or make.
    pub conversation: Result<String, conversations::GetOrCreate>,
    /// The message, if there is one: its ids of user and conversation are filled in here.
    pub message: Option<(NewMessage, Vec<String>)>,
}

impl Script for Initialize {
    type Out = (User, Conversation, Option<Message>);

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Out> {
        let who = &self.who;
        let user = match &self.user {
            Ok(id) => users::referenced(tx, who, id).await?.seen_by(who),
            Err(wanted) => wanted.run(tx).await?.0,
        };
        let conversation = match &self.conversation {
            Ok(id) => conversations::seen_by(conversations::referenced(tx, who, id).await?, who),
            Err(wanted) => wanted.run(tx).await?.0,
        };
        participants::enter(tx, who, &conversation, &user, true).await?;
        let Some((new, by)) = &self.message else { return Ok((user, conversation, None)) };
        let new = NewMessage { user: user.id.clone(), conversation: conversation.id.clone(), ..new.clone() };
        let (message, _) = GetOrCreate { who: who.clone(), new, by: by.clone() }.run(tx).await?;
        let conversation = conversations::named(tx, who, conversation.id.as_str(), false).await?;
        Ok((user, conversations::seen_by(conversation, who), Some(message)))
    }
}

impl Store {
    /// getMessage.
    pub async fn get_message(&self, who: Identity, id: String) -> Result<Message> {
        self.read(&Get { who, id }).await
    }
}

/// The messages with these ids, for rendering the events that are about them.
pub(crate) async fn by_ids(tx: &mut Tx<'_>, ids: &[String]) -> Result<Vec<Message>> {
    let mut found = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(256) {
        let (names, params) = padded(chunk, 0);
        let sql = format!("SELECT {COLUMNS} FROM messages e WHERE e.id IN ({names})");
        for mut row in tx.query(&sql, &params).await? {
            found.push(stored(&mut row)?);
        }
    }
    Ok(found)
}

/// Refuses a message that doesn't exist or isn't the caller's, as a reference in a body.
pub(crate) async fn referenced(tx: &mut Tx<'_>, who: &Identity, id: &str) -> Result<()> {
    find(tx, who, id).await?.ok_or_else(|| Error::Refused(Refusal::reference_not_found("message", id)))?;
    Ok(())
}
