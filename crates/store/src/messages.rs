//! Messages (`spec/cloud/runtime.md` § 5): the way every message takes.
//!
//! [`append`] is the heart: under the conversation's lock it takes the next instant of the
//! conversation's clock and the next sequence number, writes the message, the event or delivery
//! that follows from it, and moves the conversation. One transaction.

use duologue_model::{
    Conversation, Direction, Error as Refusal, ErrorKind, Identity, Json, Message, Origin, Tags, Timestamp, User,
    id::{BotId, ConversationId, EventId, MessageId, Series, UserId},
    tags::TagPatch,
};

use crate::{
    Error, Result, Store, conversations,
    events::Schedule,
    outbox::{self, Kind},
    page::{Page, PageRequest, Query, Range, moved},
    params, participants,
    sql::{Param, Row, padded},
    tag_index::{self, Discriminator},
    tx::{Script, Tx},
    users,
    webhooks::{self, Hooks},
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

/// A conversation, locked for its next entry.
struct Place {
    id: ConversationId,
    owner: String,
    seq: i64,
    at: Timestamp,
    updated_at: Timestamp,
    scan_until: i64,
    /// Which events the bot hears of.
    hears: Option<String>,
    hooks: Hooks,
    /// The user of the Converse API whose conversation it is, where webhooks may want to know.
    converse_user: Option<String>,
}

/// Locks the conversation and checks that the user may speak there; lets somebody new in.
async fn enter(tx: &mut Tx<'_>, who: &Identity, conversation: &ConversationId, user: &UserId) -> Result<Place> {
    let row = tx
        .query_opt(
            "SELECT c.owner, c.last_seq, c.last_at, c.created_at, c.updated_at, \
             (SELECT b.scan_until FROM bots b WHERE b.id = c.bot_id), \
             (SELECT p.active FROM participants p WHERE p.conversation_id = c.id AND p.user_id = ?3), \
             (SELECT b.hears FROM bots b WHERE b.id = c.bot_id), \
             (SELECT w.hooks FROM webhook_bots w WHERE w.bot_id = c.bot_id), \
             (SELECT v.user_id FROM webhook_bots w CROSS JOIN v12_conversations v \
             WHERE w.bot_id = c.bot_id AND v.conversation_id = c.id) \
             FROM conversations c WHERE c.id = ?1 AND c.bot_id = ?2 {for_update}",
            params![conversation, &who.bot, user],
        )
        .await?;
    let missing = || Error::Refused(Refusal::reference_not_found("conversation", conversation.as_str()));
    let mut row = row.ok_or_else(missing)?;
    let (owner, seq, last_at) = (row.text()?, row.int()?, row.at()?);
    let (created_at, updated_at) = (row.at()?, row.at()?);
    let (scan_until, active, hears) = (row.opt_int()?.unwrap_or(0), row.opt_int()?, row.opt_text()?);
    let (hooks, converse_user) = (Hooks::parse(row.opt_text()?.as_deref()), row.opt_text()?);
    if !who.is_bot() && owner != who.view.owner() {
        return Err(missing());
    }
    let place = Place {
        id: conversation.clone(),
        at: tx.now().max(last_at.plus_millis(1)),
        owner,
        seq: seq + 1,
        updated_at,
        scan_until,
        hears,
        hooks,
        converse_user,
    };
    if active != Some(1) {
        let user = users::referenced(tx, who, user.as_str()).await?;
        participants::acceptable(who, &place.owner, &user)?;
        let conversation = minimal(conversation, created_at);
        participants::enter(tx, who, &conversation, &user.user, true).await?;
    }
    Ok(place)
}

/// As much of a conversation as taking part in it needs.
fn minimal(id: &ConversationId, created_at: Timestamp) -> Conversation {
    Conversation {
        id: id.clone(),
        current_task_id: None,
        current_workflow_id: None,
        created_at,
        updated_at: created_at,
        channel: String::new(),
        integration: String::new(),
        tags: Tags::default(),
        message_count: 0,
        properties: None,
    }
}

/// Which way a message of this caller goes (`auth-and-identity.md` § 5.6).
fn direction(who: &Identity, user: &UserId, recorded: bool) -> Direction {
    let from_bot = if recorded { user.as_str() == who.bot.as_str() } else { who.is_bot() };
    if from_bot { Direction::Outgoing } else { Direction::Incoming }
}

/// Writes the next message of a conversation, with what follows from it.
async fn append(tx: &mut Tx<'_>, who: &Identity, new: &NewMessage) -> Result<Message> {
    let place = enter(tx, who, &new.conversation, &new.user).await?;
    let message = Message {
        id: tx.ids().id(place.at),
        created_at: place.at,
        updated_at: place.at,
        kind: new.kind.clone(),
        payload: new.payload.clone(),
        direction: direction(who, &new.user, new.origin.is_some()),
        user_id: new.user.clone(),
        conversation_id: new.conversation.clone(),
        tags: Tags::create(&new.tags, &who.view)?,
        origin: new.origin,
    };
    write(tx, who, &place, &message, true).await?;
    Ok(seen_by(message, who))
}

/// The statements after a message and its conversation: what has to be done because of it.
enum Consequence {
    /// The bot hears of it; the message is its own event under this id.
    Announce(EventId),
    /// The bot hears of it through an event of its own: the message's id is from another instant.
    Event(EventId),
    /// The bot would hear of it if it could be called: the event is ignored.
    Unheard,
    /// The same, under an id of its own.
    UnheardEvent(EventId),
    /// The integration says it.
    Deliver,
    /// Nothing: recorded only, or nobody else's conversation.
    None,
}

impl Consequence {
    fn of(tx: &Tx<'_>, place: &Place, message: &Message, own_instant: bool) -> Self {
        match (message.direction, message.origin) {
            (Direction::Incoming, None) => {
                let heard = outbox::hears(place.hears.as_deref(), outbox::MESSAGE_CREATED);
                match message.id.event().filter(|_| own_instant) {
                    Some(id) if heard => Consequence::Announce(id),
                    Some(_) => Consequence::Unheard,
                    None if heard => Consequence::Event(tx.ids().id(place.at)),
                    None => Consequence::UnheardEvent(tx.ids().id(place.at)),
                }
            }
            (Direction::Outgoing, None) if !place.owner.is_empty() => Consequence::Deliver,
            _ => Consequence::None,
        }
    }
}

async fn write(tx: &mut Tx<'_>, who: &Identity, place: &Place, message: &Message, own_instant: bool) -> Result<()> {
    let consequence = Consequence::of(tx, place, message, own_instant);
    let announced: i64 = match consequence {
        Consequence::Announce(_) => 1,
        Consequence::Unheard => 2,
        _ => 0,
    };
    let tags = message.tags.text();
    let origin = message.origin.map(|_| "synthetic");
    let updated_at = place.at.max(place.updated_at.plus_millis(1));
    let insert = params![
        &message.conversation_id,
        message.created_at,
        &message.id,
        &who.bot,
        place.seq,
        &message.kind,
        &message.payload,
        message.direction.name(),
        &message.user_id,
        origin,
        &tags,
        message.updated_at,
        announced
    ];
    let touch = params![&place.id, place.at, updated_at];
    let order = params![&who.bot, place.updated_at, &place.id, updated_at];
    const TOUCH: &str = "UPDATE conversations SET last_seq = last_seq + 1, message_count = message_count + 1, last_at = ?2, updated_at = ?3 WHERE id = ?1";
    const EVENT: &str = "INSERT INTO events (bot_id, id, owner, type, payload, status, failure_reason, conversation_id, user_id, message_id, workflow_id, due_at, created_at) \
                         VALUES (?1, ?2, ?3, 'message_created', NULL, ?8, NULL, ?4, ?5, ?6, NULL, NULL, ?7)";
    let event = |id, status: &'static str| {
        let (bot, owner) = (Param::from(&who.bot), Param::from(who.view.owner()));
        let (user, message) = (Param::from(&message.user_id), Param::from(&message.id));
        [bot, Param::from(id), owner, Param::from(&place.id), user, message, place.at.into(), status.into()]
    };
    let mut told = webhooks::Rows::default();
    told.message(tx, &place.hooks, &who.bot, message, place.converse_user.as_deref());
    let told = told.statement();
    let mut statements = vec![(INSERT, insert), (TOUCH, touch), (conversations::MOVE, order)];
    statements.extend(told.as_ref().map(|(sql, params)| (sql.as_str(), *params)));
    match &consequence {
        Consequence::Announce(event) => {
            let outbox = params![event, &who.bot, "", Kind::Announced.name(), &place.id, place.at];
            statements.push((outbox::INSERT, outbox));
            tx.execute_all(&statements).await?;
            tx.touches().outbox(&who.bot);
        }
        Consequence::Event(id) => {
            let outbox = params![id, &who.bot, "", Kind::Event.name(), &place.id, place.at];
            let event = event(id, "pending");
            statements.extend([(EVENT, &event[..]), (outbox::INSERT, outbox)]);
            tx.execute_all(&statements).await?;
            tx.touches().outbox(&who.bot);
        }
        Consequence::Deliver => {
            let outbox = params![&message.id, &who.bot, &place.owner, Kind::Message.name(), &place.id, place.at];
            statements.push((outbox::INSERT, outbox));
            tx.execute_all(&statements).await?;
            tx.touches().outbox(&who.bot);
        }
        Consequence::UnheardEvent(id) => {
            let event = event(id, "ignored");
            statements.push((EVENT, &event));
            tx.execute_all(&statements).await?;
        }
        Consequence::Unheard | Consequence::None => tx.execute_all(&statements).await?,
    }
    if !message.tags.is_empty() {
        tag_index::update(tx, &who.bot, "m", message.id.as_str(), message.created_at, &Tags::default(), &message.tags)
            .await?;
    }
    moved(tx, &who.bot, "c", place.id.as_str(), place.updated_at.millis(), updated_at.millis(), place.scan_until)
        .await?;
    tx.touches().conversation(&place.id, place.at);
    Ok(())
}

/// Writes a message, given [`WRITTEN_COLUMNS`].
pub(crate) const INSERT: &str = "INSERT INTO messages (conversation_id, created_at, id, bot_id, seq, type, payload, direction, user_id, origin, tags, updated_at, announced) \
                                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
/// How many columns a message has.
pub(crate) const WRITTEN_COLUMNS: usize = 13;

/// A message of a conversation whose bot runs here: nothing has to be delivered because of it.
pub(crate) struct Written<'a> {
    pub(crate) conversation: &'a ConversationId,
    pub(crate) bot: &'a BotId,
    pub(crate) id: &'a MessageId,
    pub(crate) at: Timestamp,
    pub(crate) seq: i64,
    pub(crate) kind: &'a str,
    pub(crate) payload: &'a Json,
    pub(crate) incoming: bool,
    pub(crate) user: &'a str,
}

impl<'a> Written<'a> {
    /// Its columns. An incoming message is its own event, and without a row in the outbox a processed one.
    pub(crate) fn columns(self) -> [Param<'a>; WRITTEN_COLUMNS] {
        let direction = if self.incoming { Direction::Incoming } else { Direction::Outgoing };
        [
            self.conversation.into(),
            self.at.into(),
            self.id.into(),
            self.bot.into(),
            self.seq.into(),
            self.kind.into(),
            self.payload.into(),
            direction.name().into(),
            self.user.into(),
            Param::Null,
            "{}".into(),
            self.at.into(),
            self.incoming.into(),
        ]
    }
}

/// Writes messages. The caller moves the conversation.
pub(crate) async fn write_many(tx: &mut Tx<'_>, rows: &[[Param<'_>; WRITTEN_COLUMNS]]) -> Result<()> {
    let (head, _) = INSERT.split_once(" VALUES").unwrap_or((INSERT, ""));
    tx.insert_many(head, WRITTEN_COLUMNS, rows.as_flattened(), "").await
}

/// Keeps a message until its time. Its id exists at once; lists show it when it is due.
async fn schedule(tx: &mut Tx<'_>, who: &Identity, new: &NewMessage, due: Timestamp) -> Result<Message> {
    let conversation = conversations::referenced(tx, who, new.conversation.as_str()).await?;
    let user = users::referenced(tx, who, new.user.as_str()).await?;
    participants::acceptable(who, &conversation.integration, &user)?;
    let message = Message {
        id: tx.ids().id(due),
        created_at: due,
        updated_at: due,
        kind: new.kind.clone(),
        payload: new.payload.clone(),
        direction: direction(who, &new.user, new.origin.is_some()),
        user_id: new.user.clone(),
        conversation_id: new.conversation.clone(),
        tags: Tags::create(&new.tags, &who.view)?,
        origin: new.origin,
    };
    let tags = message.tags.text();
    tx.execute(
        "INSERT INTO scheduled_messages (id, due_at, bot_id, conversation_id, user_id, owner, type, payload, direction, origin, tags) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            &message.id, due, &who.bot, &message.conversation_id, &message.user_id, who.view.owner(), &message.kind,
            &message.payload, message.direction.name(), message.origin.map(|_| "synthetic"), &tags
        ],
    )
    .await?;
    tag_index::update(tx, &who.bot, "m", message.id.as_str(), message.created_at, &Tags::default(), &message.tags)
        .await?;
    tx.touches().due(due);
    Ok(seen_by(message, who))
}

async fn create(tx: &mut Tx<'_>, who: &Identity, new: &NewMessage) -> Result<Message> {
    match new.schedule.map(|schedule| schedule.due(tx.now())) {
        Some(due) if due > tx.now() => schedule(tx, who, new, due).await,
        _ => append(tx, who, new).await,
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

/// listMessages: newest first, or oldest first for transcripts.
#[derive(Clone, Debug)]
pub struct List {
    /// The caller.
    pub who: Identity,
    /// Only of this conversation.
    pub conversation: Option<String>,
    /// Stored keys and values; an empty value means absent.
    pub tags: Vec<(String, String)>,
    /// Bounds on creation.
    pub range: Range,
    /// Oldest first.
    pub ascending: bool,
    /// Which page.
    pub page: PageRequest,
}

impl Script for List {
    type Out = Page<Message>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Page<Message>> {
        // A conversation's own index drives, or else a tag's, or else the bot's.
        let driving =
            if self.conversation.is_none() { self.tags.iter().position(|(_, value)| !value.is_empty()) } else { None };
        let (pos, id) = if driving.is_some() { ("d.created_at", "d.entity_id") } else { ("e.created_at", "e.id") };
        let from = if driving.is_some() {
            "entity_tags d CROSS JOIN messages e WHERE e.id = d.entity_id"
        } else {
            "messages e WHERE 1 = 1"
        };
        let mut query = Query::new(&format!("SELECT {pos}, {id}, {COLUMNS} FROM {from}"));
        if let Some(conversation) = &self.conversation {
            // Seen as a whole or not at all: the rows themselves need no further check.
            if conversations::find(tx, &self.who, conversation, false).await?.is_none() {
                return Ok(Page { items: Vec::new(), next: None });
            }
            query.and("e.conversation_id =", conversation);
        } else {
            visible(&mut query, &self.who);
        }
        for (index, (key, value)) in self.tags.iter().enumerate() {
            if driving == Some(index) {
                query.and("d.bot_id =", &self.who.bot);
                query.and("d.kind =", "m");
                query.and("d.key =", key);
                query.and("d.value =", value);
            } else {
                query.tagged("m", self.who.bot.as_str(), key, value);
            }
        }
        self.range.apply(&mut query, pos);
        query.after(self.page.after.as_ref(), pos, id, self.ascending);
        query.order(pos, id, self.ascending, self.page.size.get() + 1);
        let rows = query.run(tx).await?;
        crate::page::page(rows, self.page.size, |row| Ok(seen_by(stored(row)?, &self.who)))
    }
}

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
        let mut ids = tx.ids().series();
        for item in &self.messages {
            done.push(self.one(tx, item, &mut ids).await?);
        }
        Ok(done)
    }
}

impl Import {
    async fn one(&self, tx: &mut Tx<'_>, item: &Imported, ids: &mut Series) -> Result<Message> {
        let by = Discriminator { tags: item.new.tags.clone(), by: item.by.clone() };
        if !item.by.is_empty() && by.compares() {
            by.lock(tx, &self.who, "m", "").await?;
            if let Some(found) = find_match(tx, &self.who, &item.new, &by).await? {
                return Ok(found);
            }
        }
        let place = enter(tx, &self.who, &item.new.conversation, &item.new.user).await?;
        let message = Message {
            id: ids.id(item.created_at),
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

/// Says the scheduled messages whose time has come; answers how many.
pub(crate) async fn release_due(tx: &mut Tx<'_>, limit: i64) -> Result<usize> {
    let sql = format!(
        "DELETE FROM scheduled_messages WHERE id IN (SELECT id FROM scheduled_messages WHERE due_at <= ?1 ORDER BY due_at, id LIMIT {limit}) \
         RETURNING id, due_at, bot_id, conversation_id, user_id, owner, type, payload, direction, origin, tags"
    );
    let rows = tx.query(&sql, params![tx.now()]).await?;
    let mut due = Vec::with_capacity(rows.len());
    for mut row in rows {
        let id: MessageId = row.id()?;
        due.push((row.at()?, id, row));
    }
    due.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    let count = due.len();
    for (scheduled_at, id, mut row) in due {
        let bot = row.id()?;
        let who = Identity::bot(bot);
        let (conversation, user): (ConversationId, UserId) = (row.id()?, row.id()?);
        let (_owner, kind, payload, direction) = (row.text()?, row.text()?, row.json()?, row.text()?);
        let (origin, tags) = (row.opt_text()?.map(|_| Origin::Synthetic), row.tags()?);
        // Whoever was to speak may have been deleted meanwhile: then there is nothing to say.
        let place = match enter(tx, &who, &conversation, &user).await {
            Ok(place) => place,
            Err(Error::Refused(_)) => continue,
            Err(error) => return Err(error),
        };
        tag_index::update(tx, &who.bot, "m", id.as_str(), scheduled_at, &tags, &Tags::default()).await?;
        let message = Message {
            id,
            created_at: place.at,
            updated_at: place.at,
            kind,
            payload,
            direction: Direction::from_name(&direction),
            user_id: user,
            conversation_id: conversation,
            tags,
            origin,
        };
        write(tx, &who, &place, &message, false).await?;
    }
    Ok(count)
}

impl Store {
    /// getMessage.
    pub async fn get_message(&self, who: Identity, id: String) -> Result<Message> {
        self.read(&Get { who, id }).await
    }

    /// listMessages.
    pub async fn list_messages(&self, list: List) -> Result<Page<Message>> {
        self.read(&list).await
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

/// Messages of a conversation, oldest first, for transcripts and exports: larger pages than the
/// dialect's.
struct Export {
    who: Identity,
    conversation: ConversationId,
    after: Option<(Timestamp, MessageId)>,
    limit: usize,
}

impl Script for Export {
    type Out = Vec<Message>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Message>> {
        let mut query = Query::new(&format!("SELECT {COLUMNS} FROM messages e WHERE 1 = 1"));
        query.and("e.conversation_id =", &self.conversation);
        if let Some((at, id)) = &self.after {
            let (at, id) = (query.bind(*at), query.bind(id));
            query.text.push_str(&format!(" AND (e.created_at, e.id) > ({at}, {id})"));
        }
        query.order("e.created_at", "e.id", true, self.limit);
        let rows = query.run(tx).await?;
        rows.into_iter().map(|mut row| Ok(seen_by(stored(&mut row)?, &self.who))).collect()
    }
}

impl Store {
    /// At most `limit` messages of a conversation that the caller has been shown to see, oldest
    /// first, after a position.
    pub async fn export_messages(
        &self,
        who: Identity,
        conversation: ConversationId,
        after: Option<(Timestamp, MessageId)>,
        limit: usize,
    ) -> Result<Vec<Message>> {
        self.read(&Export { who, conversation, after, limit }).await
    }
}
