//! The way every message takes.
//!
//! Under the conversation's lock [`append`] takes the next instant of the conversation's clock and the next sequence
//! number, writes the message, the event or delivery that follows from it, and moves the conversation. One transaction.

use duologue_model::{
    Conversation, Direction, Error as Refusal, Identity, Json, Message, Tags, Timestamp,
    id::{BotId, ConversationId, EventId, MessageId, UserId},
};

use super::{NewMessage, seen_by};
use crate::{
    Error, Result, conversations,
    outbox::{self, Kind},
    page::moved,
    params, participants,
    sql::Param,
    tag_index,
    tx::Tx,
    users,
    webhooks::{self, Hooks},
};

/// A conversation, locked for its next entry.
pub(super) struct Place {
    pub(super) id: ConversationId,
    owner: String,
    pub(super) seq: i64,
    pub(super) at: Timestamp,
    updated_at: Timestamp,
    scan_until: i64,
    /// Which events the bot hears of.
    hears: Option<String>,
    hooks: Hooks,
    /// The user of the Converse API whose conversation it is, where webhooks may want to know.
    converse_user: Option<String>,
}

/// Locks the conversation and checks that the user may speak there; lets somebody new in.
pub(super) async fn enter(
    tx: &mut Tx<'_>,
    who: &Identity,
    conversation: &ConversationId,
    user: &UserId,
) -> Result<Place> {
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
pub(super) fn direction(who: &Identity, user: &UserId, recorded: bool) -> Direction {
    let from_bot = if recorded { user.as_str() == who.bot.as_str() } else { who.is_bot() };
    if from_bot { Direction::Outgoing } else { Direction::Incoming }
}

/// Writes the next message of a conversation, with what follows from it.
pub(super) async fn append(tx: &mut Tx<'_>, who: &Identity, new: &NewMessage) -> Result<Message> {
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

pub(super) async fn write(
    tx: &mut Tx<'_>,
    who: &Identity,
    place: &Place,
    message: &Message,
    own_instant: bool,
) -> Result<()> {
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
