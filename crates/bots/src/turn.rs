//! One turn: memory is read once, the engine runs, and one transaction writes everything.

use std::{sync::Arc, time::Duration};

use duologue_dialog::{
    Hook, Incoming, KvsWrite, Memory, Object, Outcome, Turn, Value, host::KvsScope, memory::initial_session,
    trace::Step, turn::Reply,
};
use duologue_model::{Json, Timestamp, id::BotId};
use duologue_store::v12::{
    kvs,
    turns::{Commit, Committed, Elsewhere, Memory as StoredMemory, Remembered, Said},
};
use serde::Serialize;

use crate::{
    Answered, Core, LiveBot,
    host::TurnHost,
    lanes::{self, Progress, Ticket},
    recent::{Kept, written},
};

/// How often a turn is done again because its memory changed meanwhile.
const ATTEMPTS: usize = 5;
/// Bytes of the largest trace that is kept.
const LARGEST_TRACE: usize = 512 * 1024;
/// Under what name scripts write to the log, for `--log`.
const SCRIPTS: &str = "duologue_scripts";
/// The type of messages whose payload says none.
const TEXT: &str = "text";

/// A user's message.
#[derive(Clone, Debug)]
pub struct Input {
    /// The user's id.
    pub user: String,
    /// The event's payload.
    pub payload: Value,
    /// Contexts for the NLU.
    pub included_contexts: Value,
    /// Claims of the external token; undefined if there is none.
    pub credentials: Value,
}

impl Input {
    pub(crate) fn into_incoming(self) -> Incoming {
        Incoming {
            target: self.user,
            payload: self.payload,
            included_contexts: self.included_contexts,
            credentials: self.credentials,
        }
    }
}

/// Why a message has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The turn takes too long; it goes on.
    #[error("the turn takes too long")]
    TimedOut,
    /// Too many messages of this user wait.
    #[error("too many messages wait")]
    Busy,
    /// Another message of this user is being answered, and the bot wants them one at a time.
    #[error("another message of this user is being answered")]
    Parallel,
    /// The store failed; the log says how.
    #[error("the server failed")]
    Failed,
}

/// Where a message comes from.
#[derive(Clone, Copy)]
pub(crate) enum Origin<'t> {
    /// A caller who waits for the answer.
    Caller(&'t Ticket),
    /// Nobody waits.
    Nobody,
    /// It is stored already; this is the id of its event, which the turn answers.
    Stored(&'t str),
}

/// Runs the turn of a message. One that answers an event is run once, however often it is delivered.
pub(crate) async fn message(
    core: &Arc<Core>,
    bot: &Arc<LiveBot>,
    progress: &Progress,
    incoming: Incoming,
    origin: Origin<'_>,
) -> Result<Answered, Refusal> {
    for attempt in 0..ATTEMPTS {
        let (erasures, now) = (core.store.live().erasures(), core.store.now());
        let (known, ticket) = core.recent.begin(&bot.id, &incoming.target, erasures, now);
        let (memory, turns_before, is_lasting) = match known {
            // One that proved wrong isn't tried again.
            Some(known) if attempt == 0 => (known.memory, known.turns, true),
            _ => {
                let recalled = core.store.recall(&bot.store_id, &incoming.target).await;
                let remembered = recalled.map_err(|e| failed(bot, &e))?;
                let (turns, is_lasting) = (remembered.turns, !remembered.bot_expires);
                (memory(remembered), turns, is_lasting)
            }
        };
        let host = TurnHost { core, bot, progress };
        let outcome = Turn::message(&bot.engine, &host, memory, incoming.clone()).await;
        let spoken = || said(outcome.event.str("type").unwrap_or(TEXT), outcome.event.get("payload"));
        let (incoming_said, delivered, answers) = match origin {
            Origin::Caller(ticket) => (Some(spoken()), ticket.claim(), None),
            Origin::Nobody => (Some(spoken()), false, None),
            Origin::Stored(event) => (None, true, Some(event.to_owned())),
        };
        let commit = Commit {
            incoming: incoming_said,
            delivered,
            answers,
            ..commit(bot, &incoming.target, turns_before, &outcome)
        };
        let (waits, changes) = (commit.memory.context_expires_in, Changes::of(&commit));
        match core.store.write(commit).await.map_err(|e| failed(bot, &e))? {
            Committed::Done(late) => {
                set_alarm(core, waits);
                changes.tell(core);
                let left = is_lasting.then(|| kept(&outcome, turns_before, &changes, now));
                core.recent.keep(&bot.id, &incoming.target, ticket, left, changes.own_user);
                report(&bot.id, &outcome.trace.steps);
                post_incoming(core, bot, &incoming.target, &outcome);
                let late = late.into_iter().map(|said| late_payload(&said)).collect();
                return Ok(Answered { late, outcome });
            }
            Committed::Stale => tracing::debug!(bot = bot.id, "the memory changed during a turn; doing it again"),
            Committed::Answered => return Ok(Answered { late: Vec::new(), outcome }),
        }
    }
    tracing::error!(bot = bot.id, "the memory changed during every attempt at a turn");
    Err(Refusal::Failed)
}

/// Times out a dialog that has waited long enough.
pub(crate) async fn timeout(core: &Arc<Core>, bot: &Arc<LiveBot>, progress: &Progress, user: &str) {
    let remembered = match core.store.recall(&bot.store_id, user).await {
        Ok(remembered) => remembered,
        Err(error) => {
            failed(bot, &error);
            return;
        }
    };
    if remembered.context_expires_at.is_none_or(|at| at > core.store.now()) {
        // Nothing is remembered any more, or it isn't time yet.
        if remembered.session.is_none() {
            let due = duologue_store::v12::timeouts::Due { bot: bot.store_id.clone(), user: user.to_owned() };
            if let Err(error) = core.store.drop_v12_timeout(due).await {
                failed(bot, &error);
            }
        }
        return;
    }
    let turns_before = remembered.turns;
    let host = TurnHost { core, bot, progress };
    let outcome = Turn::timeout(&bot.engine, &host, memory(remembered), user).await;
    // Stale: somebody else saw to it.
    let commit = commit(bot, user, turns_before, &outcome);
    let (waits, changes) = (commit.memory.context_expires_in, Changes::of(&commit));
    match core.store.write(commit).await {
        Ok(Committed::Done(_)) => {
            set_alarm(core, waits);
            changes.tell(core);
            core.recent.keep(&bot.id, user, None, None, changes.own_user);
            report(&bot.id, &outcome.trace.steps);
            post_incoming(core, bot, user, &outcome);
        }
        Ok(Committed::Stale | Committed::Answered) => {}
        Err(error) => {
            failed(bot, &error);
        }
    }
}

/// What a turn changed beside its own conversation.
struct Changes {
    own_user: bool,
    users: Vec<String>,
    values: Vec<String>,
    size: usize,
}

impl Changes {
    fn of(commit: &Commit) -> Changes {
        let StoredMemory { user, session, context, temp, .. } = &commit.memory;
        let users = commit.users.iter().map(|write| write.user.clone());
        let sizes = [user.as_ref(), Some(session), Some(context), Some(temp)];
        Changes {
            own_user: user.is_some(),
            users: users.chain(commit.deleted_sessions.iter().cloned()).collect(),
            values: commit.kvs.iter().filter_map(|write| write.bot.clone()).collect(),
            size: sizes.into_iter().flatten().map(|part| part.text().len()).sum(),
        }
    }

    fn tell(&self, core: &Core) {
        self.users.iter().for_each(|user| core.recent.user_changed(user));
        self.values.iter().for_each(|bot| core.recent.values_changed(bot));
    }
}

/// What a turn left, as it is read again.
fn kept(outcome: &Outcome, turns_before: i64, changes: &Changes, began: Timestamp) -> Kept {
    let memory = outcome.memory();
    let object = |value: &Value| if value.as_object().is_some() { written(value) } else { Value::object() };
    Kept {
        turns: turns_before + 1,
        memory: Memory {
            user: object(&memory.user),
            session: object(&memory.session),
            context: object(&memory.context),
            temp: object(&memory.temp),
            bot: memory.bot.clone(),
            timeouts: memory.timeouts,
        },
        session_ends: began.plus_millis(i64::try_from(outcome.follow_ups.session_expires_in).unwrap_or(i64::MAX)),
        size: changes.size,
    }
}

/// The timer has to look when a dialog has waited long enough.
fn set_alarm(core: &Core, waits: Option<u64>) {
    if let Some(millis) = waits {
        core.alarm.at_latest(core.store.now().plus_millis(i64::try_from(millis).unwrap_or(i64::MAX)));
    }
}

/// Waits until somebody says something to the user, `longest` at most.
pub(crate) async fn wait_for_late(core: &Arc<Core>, bot: &BotId, user: &str, longest: Duration) -> Vec<Value> {
    let mut feed = core.store.live().subscribe();
    let deadline = tokio::time::Instant::now() + longest;
    loop {
        match core.store.take_late(bot, user).await {
            Ok(late) if !late.is_empty() => return late.iter().map(late_payload).collect(),
            Ok(_) => {}
            Err(error) => {
                tracing::error!(%error, "late messages can't be read");
                return Vec::new();
            }
        }
        if tokio::time::timeout_at(deadline, feed.recv()).await.is_err() {
            return Vec::new();
        }
    }
}

pub(crate) fn failed(bot: &LiveBot, error: &duologue_store::Error) -> Refusal {
    tracing::error!(bot = bot.id, %error, "a turn failed");
    Refusal::Failed
}

/// Tells the operator what went wrong in a turn, and what scripts wrote to the log.
fn report(bot: &str, steps: &[Step]) {
    for step in steps {
        match step {
            Step::Error { message, flow, node, .. } => tracing::warn!(bot, %flow, %node, "{message}"),
            Step::Hook { hook, name, error: Some(error), .. } => {
                tracing::warn!(bot, "hook {}/{name}: {error}", hook.name());
            }
            Step::Loop => tracing::warn!(bot, "a conversation went in circles and was reset"),
            Step::Log { level, text } => match level.as_str() {
                "error" => tracing::error!(target: SCRIPTS, bot, "{text}"),
                "warn" => tracing::warn!(target: SCRIPTS, bot, "{text}"),
                "debug" => tracing::debug!(target: SCRIPTS, bot, "{text}"),
                _ => tracing::info!(target: SCRIPTS, bot, "{text}"),
            },
            _ => {}
        }
    }
}

/// Runs those hooks of a bot that aren't a part of turns.
pub(crate) async fn hook(core: &Arc<Core>, bot: &Arc<LiveBot>, hook: Hook) {
    if bot.engine.hooks(hook).is_empty() {
        return;
    }
    let progress = Progress::default();
    let (writes, steps) = Turn::hook(&bot.engine, &TurnHost { core, bot, progress: &progress }, hook).await;
    report(&bot.id, &steps);
    if !writes.is_empty() {
        let writes: Vec<_> = writes.iter().map(kvs_write).collect();
        let bots: Vec<_> = writes.iter().filter_map(|write| write.bot.clone()).collect();
        if let Err(error) = core.store.write_v12_values(writes).await {
            failed(bot, &error);
        }
        bots.iter().for_each(|bot| core.recent.values_changed(bot));
    }
}

// ---- memory

fn value(json: &Json) -> Value {
    Value::parse(json.text()).unwrap_or_default()
}

fn json(value: &impl Serialize) -> Json {
    Json::of(value)
}

/// JSON that is surely an object.
fn object(value: &Value) -> Json {
    match value {
        Value::Object(_) => json(value),
        _ => json(&Object::new()),
    }
}

fn memory(remembered: Remembered) -> Memory {
    Memory {
        user: remembered.user.as_ref().map_or_else(Value::object, value),
        session: remembered.session.as_ref().map_or_else(initial_session, value),
        context: value(&remembered.context),
        temp: value(&remembered.temp),
        bot: remembered.bot.as_ref().map_or(Value::Undefined, value),
        timeouts: u32::try_from(remembered.timeouts).unwrap_or(u32::MAX),
    }
}

// ---- what is written

/// The end of a turn for which nobody waits and that began without a message.
fn commit(bot: &LiveBot, user: &str, turns_before: i64, outcome: &Outcome) -> Commit {
    let (memory, follow_ups) = (outcome.memory(), &outcome.follow_ups);
    let trace = json(&outcome.trace);
    Commit {
        bot: bot.store_id.clone(),
        user: user.to_owned(),
        turns_before,
        incoming: None,
        answers: None,
        replies: outcome.replies.iter().map(|Reply { payload, kind, .. }| said(kind, payload)).collect(),
        delivered: false,
        memory: StoredMemory {
            user: (memory.user != outcome.trace.before.user).then(|| object(&memory.user)),
            session: object(&memory.session),
            context: object(&memory.context),
            temp: object(&memory.temp),
            timeouts: i64::from(memory.timeouts),
            context_expires_in: outcome.is_open().then_some(follow_ups.context_expires_in),
            session_expires_in: follow_ups.session_expires_in,
        },
        kvs: follow_ups.kvs.iter().map(kvs_write).collect(),
        users: follow_ups
            .users
            .iter()
            .map(|write| kvs::UserWrite {
                channel: write.channel.clone(),
                user: write.user.clone(),
                attributes: object(&write.attributes),
                replace: write.replace,
            })
            .collect(),
        deleted_sessions: follow_ups.deleted_sessions.iter().filter_map(|id| session_user(bot, id)).collect(),
        elsewhere: follow_ups.events.iter().filter_map(|event| elsewhere(bot, event)).collect(),
        trace: (trace.text().len() <= LARGEST_TRACE).then_some(trace),
    }
}

fn said(kind: &str, payload: &Value) -> Said {
    let payload = match payload {
        Value::Object(_) => json(payload),
        // Payloads of stored messages are objects.
        other => json(&Object::new().with("value", other.clone())),
    };
    Said { kind: if kind.is_empty() { TEXT.to_owned() } else { kind.to_owned() }, payload }
}

/// A stored message as a response. What others than the bot said has its type beside the payload.
fn late_payload(said: &Said) -> Value {
    let payload = value(&said.payload);
    match &payload {
        Value::Object(members) if !members.has("type") => {
            let mut typed = Object::new().with("type", said.kind.as_str());
            members.iter().for_each(|(name, value)| typed.set(name.clone(), value.clone()));
            typed.into()
        }
        _ => payload,
    }
}

fn kvs_write(write: &KvsWrite) -> kvs::Write {
    let bot = |scope: &KvsScope| match scope {
        KvsScope::Bot(id) => Some(id.clone()),
        KvsScope::Global => None,
    };
    match write {
        KvsWrite::Set { scope, key, value, expires_in } => kvs::Write {
            bot: bot(scope),
            change: kvs::Change::Set { key: key.clone(), value: json(value), expires_in: *expires_in },
        },
        KvsWrite::Delete { scope, key } => kvs::Write { bot: bot(scope), change: kvs::Change::Delete(key.clone()) },
        KvsWrite::DeletePrefix { scope, prefix } => {
            kvs::Write { bot: bot(scope), change: kvs::Change::DeletePrefix(prefix.clone()) }
        }
    }
}

/// The user of a session of this bot: `bot::api::user`.
fn session_user(bot: &LiveBot, id: &str) -> Option<String> {
    id.strip_prefix(bot.id.as_str())?.strip_prefix("::api::").map(str::to_owned)
}

/// An outgoing event for another user of this bot.
fn elsewhere(bot: &LiveBot, event: &Value) -> Option<Elsewhere> {
    let user = api_target(bot, event)?;
    if event.str("direction") != Some("outgoing") {
        return None;
    }
    let payload = event.get("payload");
    let kind = event.str("type").or_else(|| payload.str("type")).unwrap_or(TEXT);
    Some(Elsewhere { user: user.to_owned(), said: said(kind, payload) })
}

fn api_target<'a>(bot: &LiveBot, event: &'a Value) -> Option<&'a str> {
    let here =
        event.str("channel").is_none_or(|channel| channel == "api") && event.str("botId").is_none_or(|id| id == bot.id);
    let target = event.str("target").filter(|target| here && !target.is_empty());
    if target.is_none() {
        tracing::warn!(bot = bot.id, "a script sent an event to another bot or channel; it is dropped");
    }
    target
}

/// Lets the turns run of incoming events that a script sent.
fn post_incoming(core: &Arc<Core>, bot: &Arc<LiveBot>, user: &str, outcome: &Outcome) {
    for event in &outcome.follow_ups.events {
        if event.str("direction") != Some("incoming") {
            continue;
        }
        let Some(target) = api_target(bot, event) else { continue };
        let incoming = Incoming::payload(target, event.get("payload").clone());
        if target == user || !lanes::post(core, target, bot.clone(), incoming) {
            tracing::warn!(bot = bot.id, "an incoming event that a script sent is dropped");
        }
    }
}
