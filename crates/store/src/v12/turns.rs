//! What a conversation with a v12 bot remembers, and the transaction that ends a turn.
//!
//! A turn reads its memory once ([`Store::recall`]) and writes everything that came of it once
//! ([`Commit`]): the user's message, the bot's, the memory, and what follows. A turn that read a memory
//! which has changed since is refused, so that of two that ran at once (on two servers) one runs again.
//!
//! Messages that nobody was there to take stay in the conversation after `delivered_at`; the next turn
//! that has a caller hands them over, whoever said them and whenever.

use std::collections::BTreeMap;

use duologue_model::{
    Conversation, Direction, Identity, Json, Message, Tags, Timestamp, User,
    id::{BotId, ConversationId, MessageId, UserId},
};

use super::{
    CHANNEL, USER_TAG,
    kvs::{self, UserWrite},
};
use crate::{
    Result, Store, conversations, messages,
    outbox::{self, Kind},
    params, participants,
    sql::{Param, Row},
    tx::{Script, Tx},
    users,
    webhooks::{self, Hooks},
};

/// How many turns of a conversation are kept.
pub(super) const KEPT_TURNS: i64 = 50;
/// How many messages are written together with all else; a statement has an end.
const AT_ONCE: usize = 8;

const REMEMBER: &str = "UPDATE v12_conversations SET context = ?3, temp = ?4, session = ?5, timeouts = ?6, context_expires_at = ?7, \
     session_expires_at = ?8, delivered_at = ?9, turns = ?10 WHERE bot_id = ?1 AND user_id = ?2";
/// Where the timer would look too late.
const REMEMBER_AND_LOOK: &str = "UPDATE v12_conversations SET context = ?3, temp = ?4, session = ?5, timeouts = ?6, \
     context_expires_at = ?7, session_expires_at = ?8, delivered_at = ?9, turns = ?10, look_at = ?7 \
     WHERE bot_id = ?1 AND user_id = ?2";
const KEEP_TRACE: &str = "INSERT INTO v12_turns (conversation_id, slot, turn, at, trace) VALUES (?1, ?2, ?3, ?4, ?5) \
     ON CONFLICT (conversation_id, slot) DO UPDATE SET turn = excluded.turn, at = excluded.at, trace = excluded.trace";
/// What stood in the slot of a turn without a trace is too old.
const DROP_TRACE: &str = "DELETE FROM v12_turns WHERE conversation_id = ?1 AND slot = ?2";

/// The longest value of a tag; a user's id that is longer isn't one.
const LONGEST_TAG: usize = duologue_model::tags::MAX_VALUE;

/// What a conversation remembers. All JSON objects.
#[derive(Clone, Debug, PartialEq)]
pub struct Remembered {
    /// The user's attributes, shared by all bots; `None` if nothing is known.
    pub user: Option<Json>,
    /// The bot's variables (key `global` of its store), if any were ever stored.
    pub bot: Option<Json>,
    /// Whether those variables expire.
    pub bot_expires: bool,
    /// The session; `None` if there is none, or it has expired.
    pub session: Option<Json>,
    /// The position in the dialog.
    pub context: Json,
    /// Variables of the conversation.
    pub temp: Json,
    /// Timeouts since the last message.
    pub timeouts: i64,
    /// When the dialog's wait for the user ends, if it waits.
    pub context_expires_at: Option<Timestamp>,
    /// How many turns there were: to be given back in [`Commit::turns_before`].
    pub turns: i64,
}

fn empty() -> Json {
    Json::trusted("{}".to_owned())
}

struct Recall {
    bot: BotId,
    user: String,
    now: Timestamp,
}

impl Script for Recall {
    type Out = Remembered;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Remembered> {
        let row = tx
            .query_opt(
                "SELECT u.attributes, k.value, c.session, c.context, c.temp, c.timeouts, c.context_expires_at, \
                 c.session_expires_at, c.turns, k.expires_at FROM (SELECT 1 AS one) o \
                 LEFT JOIN v12_conversations c ON c.bot_id = ?1 AND c.user_id = ?2 \
                 LEFT JOIN v12_users u ON u.channel = 'api' AND u.user_id = ?2 \
                 LEFT JOIN v12_kvs k ON k.bot_id = ?1 AND k.key = 'global' AND (k.expires_at IS NULL OR k.expires_at > ?3)",
                params![&self.bot, &self.user, self.now],
            )
            .await?;
        row.map_or_else(|| Ok(nothing()), |mut row| remembered(&mut row, self.now))
    }
}

fn nothing() -> Remembered {
    Remembered {
        user: None,
        bot: None,
        bot_expires: false,
        session: None,
        context: empty(),
        temp: empty(),
        timeouts: 0,
        context_expires_at: None,
        turns: 0,
    }
}

fn remembered(row: &mut Row, now: Timestamp) -> Result<Remembered> {
    let (user, bot) = (row.opt_json()?, row.opt_json()?);
    let (session, context, temp) = (row.opt_json()?, row.opt_json()?, row.opt_json()?);
    let (timeouts, context_expires_at) = (row.opt_int()?, row.opt_at()?);
    let (session_expires_at, turns) = (row.opt_at()?, row.opt_int()?.unwrap_or(0));
    let bot_expires = row.opt_at()?.is_some();
    // With the session everything else of the conversation is gone.
    if session.is_none() || session_expires_at.is_some_and(|at| at <= now) {
        return Ok(Remembered { user, bot, bot_expires, turns, ..nothing() });
    }
    Ok(Remembered {
        user,
        bot,
        bot_expires,
        session,
        context: context.unwrap_or_else(empty),
        temp: temp.unwrap_or_else(empty),
        timeouts: timeouts.unwrap_or(0),
        context_expires_at,
        turns,
    })
}

/// A message as it is to be stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// Its type.
    pub kind: String,
    /// JSON object.
    pub payload: Json,
}

/// What a conversation is to remember.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory {
    /// The user's attributes, if they changed.
    pub user: Option<Json>,
    /// The session.
    pub session: Json,
    /// The position in the dialog.
    pub context: Json,
    /// Variables of the conversation.
    pub temp: Json,
    /// Timeouts since the last message.
    pub timeouts: i64,
    /// Milliseconds for which the dialog waits for the user; `None` if it doesn't wait.
    pub context_expires_in: Option<u64>,
    /// Milliseconds for which the session is kept.
    pub session_expires_in: u64,
}

/// A message for somebody else than the user of the turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Elsewhere {
    /// Which user of the Converse API.
    pub user: String,
    /// What.
    pub said: Said,
}

/// The end of a turn: everything that came of it.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The bot.
    pub bot: BotId,
    /// The user's id in the Converse API.
    pub user: String,
    /// [`Remembered::turns`] of the memory that the turn began with.
    pub turns_before: i64,
    /// The user's message; `None` for a timeout.
    pub incoming: Option<Said>,
    /// The id of the event that this turn answers, if its message is stored already.
    pub answers: Option<String>,
    /// The bot's messages, in order.
    pub replies: Vec<Said>,
    /// Whether somebody waits for the messages: these, and those that nobody was there to take.
    pub delivered: bool,
    /// What to remember.
    pub memory: Memory,
    /// Changes of key-value stores, in order.
    pub kvs: Vec<kvs::Write>,
    /// Changes of users' attributes, in order; before the turn's own of its user.
    pub users: Vec<UserWrite>,
    /// Users whose sessions with this bot end; before the turn's own is stored.
    pub deleted_sessions: Vec<String>,
    /// Messages for others.
    pub elsewhere: Vec<Elsewhere>,
    /// What happened, if it is to be kept.
    pub trace: Option<Json>,
}

/// How a turn ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Committed {
    /// It is stored. With it come the messages that nobody was there to take before, oldest first.
    Done(Vec<Said>),
    /// The memory has changed since it was read; nothing was stored.
    Stale,
    /// The event is answered already, or gone; nothing was stored.
    Answered,
}

/// A conversation with its lock held.
pub(super) struct Place {
    pub(super) conversation: ConversationId,
    /// The alias of the integration whose conversation it is; empty for the bot's own.
    owner: String,
    chat_user: UserId,
    pub(super) delivered_at: Timestamp,
    turns: i64,
    seq: i64,
    last_at: Timestamp,
    updated_at: Timestamp,
    scan_until: i64,
    hooks: Hooks,
    /// When the timer looks at it.
    look_at: Option<Timestamp>,
}

impl Place {
    /// Whether the timer sees in time to a wait that ends then.
    fn is_looked_at_by(&self, end: Option<Timestamp>) -> bool {
        end.is_none_or(|end| self.look_at.is_some_and(|look| look <= end))
    }
}

impl Script for Commit {
    type Out = Committed;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Committed> {
        let who = Identity::bot(self.bot.clone());
        let mut place = enter(tx, &who, &self.user).await?;
        if place.turns != self.turns_before {
            return Ok(Committed::Stale);
        }
        if let Some(event) = &self.answers
            && !answer(tx, &self.bot, event).await?
        {
            return Ok(Committed::Answered);
        }
        let late = match self.delivered && place.last_at > place.delivered_at {
            true => late(tx, &place).await?,
            false => Vec::new(),
        };
        for user in &self.deleted_sessions {
            forget(tx, &self.bot, user).await?;
        }
        let incoming = self.incoming.iter().map(|said| (true, said));
        let said = incoming.chain(self.replies.iter().map(|said| (false, said)));
        let said = Next::new(tx, &mut place, said, (!self.delivered).then_some(self.user.as_str()));
        self.remember(tx, &who, &place, said).await?;
        self.follow_up(tx, &who).await?;
        Ok(Committed::Done(late))
    }
}

/// Notes that an event is answered, on its delivery; false if it was before.
async fn answer(tx: &mut Tx<'_>, bot: &BotId, event: &str) -> Result<bool> {
    let sql = "UPDATE outbox SET body = 'answered' WHERE bot_id = ?1 AND id = ?2 AND body IS NULL";
    Ok(tx.execute(sql, params![bot, event]).await? > 0)
}

impl Commit {
    /// Writes messages, memory and trace, all at once.
    async fn remember(&self, tx: &mut Tx<'_>, who: &Identity, place: &Place, said: Next<'_>) -> Result<()> {
        let memory = &self.memory;
        let context_expires_at = memory.context_expires_in.map(|millis| kvs::later(tx.now(), millis));
        let session_expires_at = kvs::later(tx.now(), memory.session_expires_in);
        let delivered_at = if self.delivered { place.last_at } else { place.delivered_at };
        let turn = place.turns + 1;
        let remember = if place.is_looked_at_by(context_expires_at) { REMEMBER } else { REMEMBER_AND_LOOK };
        let memory = params![
            &self.bot,
            &self.user,
            &memory.context,
            &memory.temp,
            &memory.session,
            memory.timeouts,
            context_expires_at,
            session_expires_at,
            delivered_at,
            turn
        ];
        let (slot, now) = (turn % KEPT_TURNS, tx.now());
        let trace: (&str, &[Param<'_>]) = match &self.trace {
            Some(trace) => (KEEP_TRACE, params![&place.conversation, slot, turn, now, trace]),
            None => (DROP_TRACE, params![&place.conversation, slot]),
        };
        said.write(tx, who, place, &[(remember, memory), trace]).await
    }

    async fn follow_up(&self, tx: &mut Tx<'_>, who: &Identity) -> Result<()> {
        for write in &self.users {
            kvs::write_user(tx, write).await?;
        }
        if let Some(attributes) = &self.memory.user {
            kvs::put_user(tx, CHANNEL, &self.user, attributes).await?;
        }
        for write in &self.kvs {
            kvs::apply(tx, write).await?;
        }
        for elsewhere in &self.elsewhere {
            let mut place = enter(tx, who, &elsewhere.user).await?;
            let said =
                Next::new(tx, &mut place, std::iter::once((false, &elsewhere.said)), Some(elsewhere.user.as_str()));
            said.write(tx, who, &place, &[]).await?;
        }
        Ok(())
    }
}

/// The conversation of a bot and a user, locked; made if there is none.
pub(super) async fn enter(tx: &mut Tx<'_>, who: &Identity, user: &str) -> Result<Place> {
    if let Some(place) = find(tx, who, user).await? {
        return Ok(place);
    }
    tx.lock(&format!("v12 conversation {} {user}", who.bot)).await?;
    if let Some(place) = find(tx, who, user).await? {
        return Ok(place);
    }
    make(tx, who, user).await
}

async fn find(tx: &mut Tx<'_>, who: &Identity, user: &str) -> Result<Option<Place>> {
    let row = tx
        .query_opt(
            "SELECT v.conversation_id, c.owner, v.chat_user_id, v.delivered_at, v.turns, c.last_seq, c.last_at, c.updated_at, \
             (SELECT b.scan_until FROM bots b WHERE b.id = v.bot_id), \
             (SELECT w.hooks FROM webhook_bots w WHERE w.bot_id = v.bot_id), v.look_at \
             FROM v12_conversations v JOIN conversations c ON c.id = v.conversation_id \
             WHERE v.bot_id = ?1 AND v.user_id = ?2 {for_update}",
            params![&who.bot, user],
        )
        .await?;
    row.map(|mut row| {
        Ok(Place {
            conversation: row.id()?,
            owner: row.text()?,
            chat_user: row.id()?,
            delivered_at: row.at()?,
            turns: row.int()?,
            seq: row.int()?,
            last_at: row.at()?,
            updated_at: row.at()?,
            scan_until: row.opt_int()?.unwrap_or(0),
            hooks: Hooks::parse(row.opt_text()?.as_deref()),
            look_at: row.opt_at()?,
        })
    })
    .transpose()
}

/// A new conversation with its user.
async fn make(tx: &mut Tx<'_>, who: &Identity, user: &str) -> Result<Place> {
    let now = tx.now();
    let tags = match user.chars().count() <= LONGEST_TAG {
        true => Tags(BTreeMap::from([(USER_TAG.to_owned(), user.to_owned())])),
        false => Tags::default(),
    };
    let chat_user = User {
        id: tx.ids().id(now),
        created_at: now,
        updated_at: now,
        tags: tags.clone(),
        name: None,
        picture_url: None,
        properties: None,
        attributes: None,
    };
    users::put(tx, who, "", &chat_user).await?;
    webhooks::user_created(tx, who, &chat_user).await?;
    let conversation = Conversation {
        id: tx.ids().id(now),
        current_task_id: None,
        current_workflow_id: None,
        created_at: now,
        updated_at: now,
        channel: CHANNEL.to_owned(),
        integration: String::new(),
        tags,
        message_count: 0,
        properties: None,
    };
    conversations::put(tx, who, &conversation).await?;
    webhooks::conversation_created(tx, who, &conversation).await?;
    participants::enter(tx, who, &conversation, &chat_user, true).await?;
    let own = users::find(tx, who, who.bot.as_str(), false).await?;
    if let Some(own) = own {
        participants::enter(tx, who, &conversation, &own.user, true).await?;
    }
    tx.execute(
        "INSERT INTO v12_conversations (bot_id, user_id, conversation_id, chat_user_id, context, temp, session, timeouts, \
         context_expires_at, session_expires_at, delivered_at, turns) \
         VALUES (?1, ?2, ?3, ?4, '{}', '{}', NULL, 0, NULL, NULL, 0, 0)",
        params![&who.bot, user, &conversation.id, &chat_user.id],
    )
    .await?;
    Ok(Place {
        conversation: conversation.id,
        owner: String::new(),
        chat_user: chat_user.id,
        delivered_at: Timestamp::default(),
        turns: 0,
        seq: 0,
        last_at: Timestamp::default(),
        updated_at: now,
        scan_until: crate::bots::scan_until(tx, &who.bot).await?,
        hooks: webhooks::hooks(tx, &who.bot).await?,
        look_at: None,
    })
}

/// Lets a conversation of the Cloud API be one of a v12 bot: it gets a memory, under its own id as the
/// user's unless it has one. Answers under which.
struct Adopt {
    bot: BotId,
    conversation: ConversationId,
    user: UserId,
}

impl Script for Adopt {
    type Out = String;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<String> {
        let known = "SELECT user_id FROM v12_conversations WHERE conversation_id = ?1";
        if let Some(mut row) = tx.query_opt(known, params![&self.conversation]).await? {
            return row.text();
        }
        tx.execute(
            "INSERT INTO v12_conversations (bot_id, user_id, conversation_id, chat_user_id, context, temp, session, timeouts, \
             context_expires_at, session_expires_at, delivered_at, turns) \
             VALUES (?1, ?2, ?2, ?3, '{}', '{}', NULL, 0, NULL, NULL, 0, 0) ON CONFLICT DO NOTHING",
            params![&self.bot, &self.conversation, &self.user],
        )
        .await?;
        Ok(self.conversation.as_str().to_owned())
    }
}

/// Messages of the bot that nobody was there to take, and no webhook took. More than anybody waits for: beyond the limit they
/// are only in the conversation.
async fn late(tx: &mut Tx<'_>, place: &Place) -> Result<Vec<Said>> {
    let rows = tx
        .query(
            "SELECT type, payload FROM messages WHERE conversation_id = ?1 AND created_at > ?2 \
             AND direction = 'outgoing' AND NOT EXISTS (SELECT 1 FROM webhook_messages w \
             WHERE w.conversation_id = ?1 AND w.position = messages.created_at AND w.status = 'delivered') \
             ORDER BY created_at, id LIMIT 10000",
            params![&place.conversation, place.delivered_at],
        )
        .await?;
    rows.into_iter().map(|mut row| Ok(Said { kind: row.text()?, payload: row.json()? })).collect()
}

/// The next messages of a conversation, each at its place. Those of the user have been seen to by the bot;
/// those of the bot go to the integration whose conversation it is, if it is one's.
struct Next<'s> {
    said: Vec<Placed<'s>>,
    /// The conversation's place in the order of last change before them.
    before: Timestamp,
    /// The user, if nobody waits for them.
    outside: Option<&'s str>,
}

struct Placed<'s> {
    id: MessageId,
    at: Timestamp,
    seq: i64,
    from_user: bool,
    said: &'s Said,
}

impl<'s> Next<'s> {
    /// Gives each message (whether the user said it, what) its place. `outside`: the user, if nobody waits
    /// for them.
    fn new(
        tx: &Tx<'_>,
        place: &mut Place,
        said: impl Iterator<Item = (bool, &'s Said)>,
        outside: Option<&'s str>,
    ) -> Next<'s> {
        let before = place.updated_at;
        let placed = said.map(|(from_user, said)| {
            place.last_at = tx.now().max(place.last_at.plus_millis(1));
            place.seq += 1;
            Placed { id: tx.ids().id(place.last_at), at: place.last_at, seq: place.seq, from_user, said }
        });
        let said: Vec<_> = placed.collect();
        if !said.is_empty() {
            place.updated_at = place.last_at.max(before.plus_millis(1));
        }
        Next { said, before, outside }
    }

    /// What webhooks are told of them.
    fn told(&self, tx: &mut Tx<'_>, who: &Identity, place: &Place) -> webhooks::Rows {
        let mut told = webhooks::Rows::default();
        if place.hooks.is_empty() {
            return told;
        }
        for placed in &self.said {
            let (direction, user_id) = match placed.from_user {
                true => (Direction::Incoming, place.chat_user.clone()),
                false => (Direction::Outgoing, who.bot.as_user()),
            };
            let message = Message {
                id: placed.id.clone(),
                created_at: placed.at,
                updated_at: placed.at,
                kind: placed.said.kind.clone(),
                payload: placed.said.payload.clone(),
                direction,
                user_id,
                conversation_id: place.conversation.clone(),
                tags: Tags::default(),
                origin: None,
            };
            told.message(tx, &place.hooks, &who.bot, &message, self.outside);
        }
        told
    }

    fn rows(&'s self, who: &'s Identity, place: &'s Place) -> Vec<[Param<'s>; messages::WRITTEN_COLUMNS]> {
        let row = |placed: &'s Placed<'s>| {
            let Placed { id, at, seq, from_user, said } = placed;
            messages::Written {
                conversation: &place.conversation,
                bot: &who.bot,
                id,
                at: *at,
                seq: *seq,
                kind: &said.kind,
                payload: &said.payload,
                incoming: *from_user,
                user: if *from_user { place.chat_user.as_str() } else { who.bot.as_str() },
            }
            .columns()
        };
        self.said.iter().map(row).collect()
    }

    /// Writes them, moves the conversation, and runs `more`, which touches neither.
    async fn write(self, tx: &mut Tx<'_>, who: &Identity, place: &Place, more: &[(&str, &[Param<'_>])]) -> Result<()> {
        if self.said.is_empty() {
            return tx.execute_all(more).await;
        }
        let rows = self.rows(who, place);
        let count = rows.len() as i64;
        let (few, many) = rows.split_at(rows.len().min(AT_ONCE));
        let mut statements: Vec<(&str, &[Param<'_>])> = few.iter().map(|row| (messages::INSERT, &row[..])).collect();
        let touched = params![&place.conversation, place.seq, count, place.last_at, place.updated_at];
        statements.push((
            "UPDATE conversations SET last_seq = ?2, message_count = message_count + ?3, last_at = ?4, updated_at = ?5 \
             WHERE id = ?1",
            touched,
        ));
        let moved = params![&who.bot, self.before, &place.conversation, place.updated_at];
        statements.push((conversations::MOVE, moved));
        statements.extend(more);
        tx.execute_all(&statements).await?;
        messages::write_many(tx, many).await?;
        self.told(tx, who, place).write(tx).await?;
        let (from, to) = (self.before.millis(), place.updated_at.millis());
        crate::page::moved(tx, &who.bot, "c", place.conversation.as_str(), from, to, place.scan_until).await?;
        if !place.owner.is_empty() {
            self.send_outside(tx, who, place).await?;
        }
        tx.touches().conversation(&place.conversation, place.last_at);
        Ok(())
    }

    /// What the bot says in a conversation of an integration goes to the integration.
    async fn send_outside(&self, tx: &mut Tx<'_>, who: &Identity, place: &Place) -> Result<()> {
        for said in self.said.iter().filter(|said| !said.from_user) {
            let (kind, lane) = (Kind::Message.name(), &place.conversation);
            tx.execute(outbox::INSERT, params![&said.id, &who.bot, &place.owner, kind, lane, said.at]).await?;
            tx.touches().outbox(&who.bot);
        }
        Ok(())
    }
}

/// Ends a session.
async fn forget(tx: &mut Tx<'_>, bot: &BotId, user: &str) -> Result<()> {
    tx.execute(
        "UPDATE v12_conversations SET session = NULL, context = '{}', temp = '{}', timeouts = 0, context_expires_at = NULL, \
         turns = turns + 1 WHERE bot_id = ?1 AND user_id = ?2",
        params![bot, user],
    )
    .await?;
    Ok(())
}

/// Takes the messages that nobody was there to take.
struct TakeLate {
    bot: BotId,
    user: String,
}

impl Script for TakeLate {
    type Out = Vec<Said>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Said>> {
        let who = Identity::bot(self.bot.clone());
        let Some(place) = find(tx, &who, &self.user).await? else { return Ok(Vec::new()) };
        let late = late(tx, &place).await?;
        if place.last_at > place.delivered_at {
            let sql = "UPDATE v12_conversations SET delivered_at = ?3 WHERE bot_id = ?1 AND user_id = ?2";
            tx.execute(sql, params![&self.bot, &self.user, place.last_at]).await?;
        }
        Ok(late)
    }
}

impl Store {
    /// What the conversation of a bot and a user remembers.
    pub async fn recall(&self, bot: &BotId, user: &str) -> Result<Remembered> {
        self.read(&Recall { bot: bot.clone(), user: user.to_owned(), now: self.now() }).await
    }

    /// The user under whose id a conversation of the Cloud API has its memory with a v12 bot.
    pub async fn adopt_v12_conversation(
        &self,
        bot: &BotId,
        conversation: ConversationId,
        user: UserId,
    ) -> Result<String> {
        self.write(Adopt { bot: bot.clone(), conversation, user }).await
    }

    /// Hands over the messages that nobody was there to take, oldest first.
    pub async fn take_late(&self, bot: &BotId, user: &str) -> Result<Vec<Said>> {
        self.write(TakeLate { bot: bot.clone(), user: user.to_owned() }).await
    }
}
