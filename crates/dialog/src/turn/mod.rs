//! A turn: one event of one user, from the memory before it to the memory after it.
//!
//! [`Turn::message`] runs the whole pipeline of an incoming event (`flows.md` § 13), [`Turn::timeout`] what
//! the original's janitor did with a conversation whose time is up (§ 9). Both are plain functions of event,
//! bot and memory; what they need of the world they ask of the [`Host`], one call at a time. Nothing is
//! written in a turn: the [`Outcome`] says what to store, and the caller stores it in one transaction.
//!
//! Deliberate differences to the original, none of which a client could rely on:
//! * Engine errors (§ 7b) go to the error flow like action errors. Where they can't, the conversation is reset.
//! * `#` without a jump point ends the conversation instead of blocking it.
//! * A position that doesn't exist in the bot any more, in a bot without an error flow, is given up.
//! * Values that a template inserts aren't rendered again ([`crate::template`]).
//! * A predicted QnA entry that is missing, and a redirect that leads nowhere, are ignored; the original's
//!   request timed out.
//! * Call API succeeds below status 400 (the published contract), not only for 200 to 299, and its headers see
//!   the bot's memory like its body.
//! * The choice skill takes numbers for answers ([`crate::Settings::number_answers`]).
//! * `builtin/resetGlobalVariable` deletes keys of its own bot only.
//! * Steps of a turn are bounded; a bot that goes round in ways which the loop guard doesn't see is cut.

mod api;
mod choice;
mod decide;
mod dialog;
mod hooks;
mod native;
mod outgoing;
mod say;
mod sdk;
mod slots;
mod timeout;
mod understand;

use std::{collections::BTreeMap, sync::LazyLock};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{
    bot::{Bot, Hook},
    host::{Host, HttpFailure, HttpRequest, HttpResponse, KvsScope, Mail, ScriptCall, ScriptKind, ScriptOutcome},
    memory::{self, Memory},
    trace::{Effect, FailureKind, Input, Ran, Step, Trace},
    value::{Object, Text, Value},
};

/// A message of a user, as a dialect took it in (`converse-api.md` § 3.5).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incoming {
    /// The user's id.
    pub target: String,
    /// The request's body without `includedContexts`.
    pub payload: Value,
    /// Contexts for the NLU; undefined means `["global"]`.
    #[serde(default, skip_serializing_if = "Value::is_undefined")]
    pub included_contexts: Value,
    /// Claims of the external token; undefined if there is none.
    #[serde(default, skip_serializing_if = "Value::is_undefined")]
    pub credentials: Value,
}

impl Incoming {
    /// A plain text.
    pub fn text(target: &str, text: &str) -> Incoming {
        Incoming::payload(target, Object::new().with("type", "text").with("text", text).into())
    }

    /// Any payload.
    pub fn payload(target: &str, payload: Value) -> Incoming {
        Incoming {
            target: target.to_owned(),
            payload,
            included_contexts: Value::Undefined,
            credentials: Value::Undefined,
        }
    }
}

/// What came of a turn.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What the bot says, in order.
    pub replies: Vec<Reply>,
    /// The event as it ended, with state, suggestions and decision.
    pub event: Value,
    /// What else is to be done, in the transaction that stores the memory.
    pub follow_ups: FollowUps,
    /// The trace.
    pub trace: Trace,
}

impl Outcome {
    /// The memory to be stored. Equal to the one given where the turn isn't to be remembered.
    pub fn memory(&self) -> &Memory {
        &self.trace.after
    }

    /// `include=state`: also what isn't to be remembered.
    pub fn state(&self) -> &Value {
        self.event.get("state")
    }

    /// `include=nlu`.
    pub fn nlu(&self) -> &Value {
        self.event.get("nlu")
    }

    /// `include=suggestions`.
    pub fn suggestions(&self) -> &Value {
        self.event.get("suggestions")
    }

    /// `include=decision`; `{}` if nothing was decided.
    pub fn decision(&self) -> Value {
        match self.event.get("decision") {
            Value::Undefined => Value::object(),
            decision => decision.clone(),
        }
    }

    /// `include=credentials`; undefined without an external token.
    pub fn credentials(&self) -> &Value {
        self.event.get("credentials")
    }

    /// Whether the conversation has a position, so that it can time out.
    pub fn is_open(&self) -> bool {
        self.memory().context.as_object().is_some_and(|context| !context.is_empty())
    }
}

/// What is the same in all events: the names of their members and the order of these.
static EVENT: LazyLock<Object> = LazyLock::new(|| {
    // With room for what is added to them.
    Object::with_capacity(16)
        .with("id", Value::Undefined)
        .with("type", Value::Undefined)
        .with("channel", "api")
        .with("direction", Value::Undefined)
        .with("target", Value::Undefined)
        .with("botId", Value::Undefined)
        .with("createdOn", Value::Undefined)
        .with("payload", Value::Undefined)
        .with("preview", Value::Undefined)
        .with("state", Value::Undefined)
        .with("nlu", Value::Undefined)
        .with("suggestions", Value::Array(Vec::new()))
        .with("flags", Object::new())
});

/// The same of their states.
static STATE: LazyLock<Object> = LazyLock::new(|| {
    let names = ["user", "context", "session", "temp", "bot"].into_iter();
    let state = Object::new().with("__stacktrace", Value::Array(Vec::new()));
    names.fold(state, |state, name| state.with(name, Value::Undefined))
});

/// A message of the bot.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reply {
    /// What the client gets.
    pub payload: Value,
    /// The outgoing event's type.
    pub kind: String,
    /// The event that it answers.
    pub incoming_event: String,
}

/// What is to be done after a turn besides storing its memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FollowUps {
    /// Writes to key-value stores, in order.
    pub kvs: Vec<KvsWrite>,
    /// Writes to attributes of users, in order; before the turn's own memory of its user.
    pub users: Vec<UserWrite>,
    /// Sessions to delete, by id; before the turn's own is stored.
    pub deleted_sessions: Vec<String>,
    /// Events for others than the user of the turn, as a script built them.
    pub events: Vec<Value>,
    /// Feedback on earlier events: (event id, 1 or -1).
    pub feedback: Vec<(String, i8)>,
    /// Milliseconds after which the position expires, counted from the commit.
    pub context_expires_in: u64,
    /// Milliseconds after which the session expires.
    pub session_expires_in: u64,
}

/// A write to a key-value store.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum KvsWrite {
    /// Stores a value; it expires after so many milliseconds, or never.
    Set { scope: KvsScope, key: String, value: Value, expires_in: Option<u64> },
    /// Deletes a key.
    Delete { scope: KvsScope, key: String },
    /// Deletes all keys that start so, literally.
    DeletePrefix { scope: KvsScope, prefix: String },
}

/// A write to a user's attributes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UserWrite {
    /// The channel.
    pub channel: String,
    /// The user's id.
    pub user: String,
    /// The attributes.
    pub attributes: Value,
    /// Whether they replace the old ones rather than being merged at the top.
    pub replace: bool,
}

/// Turns of bots.
#[derive(Debug)]
pub struct Turn;

impl Turn {
    /// Processes a message. Never fails: what goes wrong goes to the error flow and into the trace.
    pub async fn message<H: Host>(bot: &Bot, host: &H, memory: Memory, incoming: Incoming) -> Outcome {
        let mut run = Run::new(bot, host, memory, &incoming.target);
        run.event = run.incoming_event(&incoming);
        let saved = run.pipeline().await;
        run.finish(saved, Input::Message(Box::new(incoming)), 0)
    }

    /// Times out a waiting conversation of a user. Replies belong before those of the user's next request
    /// (`converse-api.md` § 5.3).
    pub async fn timeout<H: Host>(bot: &Bot, host: &H, memory: Memory, target: &str) -> Outcome {
        let timeouts = memory.timeouts.saturating_add(1);
        let mut run = Run::new(bot, host, memory, target);
        run.event = run.timeout_event();
        run.time_out(timeouts).await;
        run.finish(Saved::All, Input::Timeout(target.to_owned()), timeouts)
    }

    /// Runs the hooks of a bot that aren't a part of turns. They have no event and no memory: what they leave
    /// are writes to key-value stores, and what went wrong.
    pub async fn hook<H: Host>(bot: &Bot, host: &H, hook: Hook) -> (Vec<KvsWrite>, Vec<Step>) {
        let mut run = Run::new(bot, host, Memory::default(), "");
        let id = bot.id.clone();
        let variables = match hook {
            Hook::AfterServerStart => Object::new(),
            _ => Object::new().with("botId", id),
        };
        run.hooks_with(hook, |_| variables.clone()).await;
        if !run.replies.is_empty() || run.follow_ups.events.len() + run.follow_ups.users.len() > 0 {
            run.ignore("a hook that has no event writes to key-value stores only");
        }
        (run.follow_ups.kvs, run.steps)
    }

    /// Does a recorded turn again, with any bot: the same input on the same memory.
    pub async fn again<H: Host>(bot: &Bot, host: &H, trace: &Trace) -> Outcome {
        match &trace.input {
            Input::Message(incoming) => Turn::message(bot, host, trace.before.clone(), (**incoming).clone()).await,
            Input::Timeout(target) => Turn::timeout(bot, host, trace.before.clone(), target).await,
        }
    }
}

/// How much of a turn's state is remembered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Saved {
    Nothing,
    UserAndSession,
    All,
}

/// Why something couldn't be done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failure {
    kind: FailureKind,
    message: String,
}

impl Failure {
    fn action(message: impl Into<String>) -> Failure {
        Failure { kind: FailureKind::Action, message: message.into() }
    }

    fn jump(message: impl Into<String>) -> Failure {
        Failure { kind: FailureKind::Jump, message: message.into() }
    }

    fn engine(message: impl Into<String>) -> Failure {
        Failure { kind: FailureKind::Engine, message: message.into() }
    }
}

/// How many instructions and conditions a turn may take; a visit to a node counts as [`VISIT`] of them. A
/// conversation that needs more is a loop.
const MAX_STEPS: u32 = 50_000;
/// What a visit to a node costs.
pub(crate) const VISIT: u32 = 50;
/// How many messages a turn may send.
const MAX_REPLIES: usize = 500;

/// A turn under way.
pub(crate) struct Run<'t, H> {
    pub(crate) bot: &'t Bot,
    pub(crate) host: &'t H,
    pub(crate) target: String,
    pub(crate) event: Value,
    pub(crate) before: Memory,
    pub(crate) replies: Vec<Reply>,
    /// Payloads that a script queued; sent when it has ended.
    pub(crate) queued: Vec<Value>,
    /// Where a script jumped to; done when it has ended.
    pub(crate) jumped: Option<(Text, Text)>,
    pub(crate) follow_ups: FollowUps,
    /// The user's own attributes, if a script wrote them past the state.
    pub(crate) own_user: Option<Value>,
    /// Keys written in this turn, as the turn itself sees them.
    pub(crate) written: BTreeMap<(KvsScope, String), Option<Value>>,
    pub(crate) steps: Vec<Step>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) steps_left: u32,
    /// While conversation_end runs: how many jump points there were.
    pub(crate) ending: Option<usize>,
    /// Whether the current node has just been returned to.
    pub(crate) returned: bool,
}

impl<'t, H: Host> Run<'t, H> {
    fn new(bot: &'t Bot, host: &'t H, memory: Memory, target: &str) -> Self {
        Run {
            bot,
            host,
            target: target.to_owned(),
            event: Value::Undefined,
            before: memory,
            replies: Vec::new(),
            queued: Vec::new(),
            jumped: None,
            follow_ups: FollowUps {
                context_expires_in: bot.config.context_timeout,
                session_expires_in: bot.config.session_timeout,
                ..FollowUps::default()
            },
            own_user: None,
            written: BTreeMap::new(),
            steps: Vec::new(),
            effects: Vec::new(),
            steps_left: MAX_STEPS,
            ending: None,
            returned: false,
        }
    }

    // ---- the event

    fn incoming_event(&mut self, incoming: &Incoming) -> Value {
        let mut payload = incoming.payload.clone();
        let members = payload.make_object();
        if !members.get("type").is_some_and(Value::truthy) {
            members.set("type", "text");
        }
        let kind = payload.get("type").clone();
        let preview = ["__preview", "preview", "text"].iter().map(|name| payload.get(name)).find(|text| text.truthy());
        let preview = preview.cloned().unwrap_or_default();
        let contexts = match &incoming.included_contexts {
            contexts if contexts.truthy() => contexts.clone(),
            _ => vec!["global"].into(),
        };
        let mut event = self.new_event(kind, "incoming");
        event.set("payload", payload);
        event.set("preview", preview);
        event.set("nlu", crate::nlu::unknown(contexts));
        event.set("credentials", incoming.credentials.clone());
        event.into()
    }

    /// An event with the state of the memory (`flows.md` § 12).
    fn new_event(&mut self, kind: Value, direction: &str) -> Object {
        let id = self.event_id();
        let created = iso_date(self.now());
        let or_empty = |value: &Value| if value.as_object().is_some() { value.clone() } else { Value::object() };
        let session = if self.before.session.as_object().is_some_and(|session| !session.is_empty()) {
            self.before.session.clone()
        } else {
            memory::initial_session()
        };
        let mut state = STATE.clone();
        state.set("user", or_empty(&self.before.user));
        state.set("context", or_empty(&self.before.context));
        state.set("session", session);
        state.set("temp", or_empty(&self.before.temp));
        state.set("bot", self.before.bot.clone());
        let mut event = EVENT.clone();
        event.set("id", id);
        event.set("type", kind);
        event.set("direction", direction);
        event.set("target", self.target.as_str());
        event.set("botId", &self.bot.id);
        event.set("createdOn", created);
        event.set("state", state);
        event
    }

    fn event_text(&self, name: &str) -> String {
        self.event.str(name).unwrap_or_default().to_owned()
    }

    // ---- the state

    /// The memory `name` of the event's state.
    pub(crate) fn state(&self, name: &str) -> &Value {
        self.event.get("state").get(name)
    }

    /// The memory `name` of the event's state, made an object if a script left anything else there.
    pub(crate) fn state_mut(&mut self, name: &str) -> &mut Object {
        self.event.make_object().object_mut("state").object_mut(name)
    }

    pub(crate) fn context(&mut self) -> &mut Object {
        self.state_mut("context")
    }

    fn set_state(&mut self, name: &str, value: Value) {
        self.event.make_object().object_mut("state").set(name, value);
    }

    /// Forgets position and variables of the conversation.
    pub(crate) fn clear_conversation(&mut self) {
        self.set_state("context", Value::object());
        self.set_state("temp", Value::object());
    }

    pub(crate) fn has_flag(&self, flag: &str) -> bool {
        self.event.get("flags").get(flag).truthy()
    }

    fn finish(mut self, saved: Saved, input: Input, timeouts: u32) -> Outcome {
        self.cut_last_messages();
        let kept = |name: &str, before: &Value, kept: bool| match kept {
            true => self.state(name).clone(),
            false => before.clone(),
        };
        let (before, own, all) = (&self.before, saved != Saved::Nothing, saved == Saved::All);
        let mut after = Memory {
            user: kept("user", &before.user, own),
            session: kept("session", &before.session, own),
            context: kept("context", &before.context, all),
            temp: kept("temp", &before.temp, all),
            bot: before.bot.clone(),
            timeouts,
        };
        if own {
            after.user = after.user.without_nulls();
        }
        // Written past the state; the state wins if the turn changed it, as it is stored last.
        if let Some(user) = self.own_user.take().filter(|_| after.user == self.before.user) {
            after.user = user.without_nulls();
        }
        let trace = Trace {
            bot: self.bot.id.to_string(),
            input,
            before: self.before,
            after,
            steps: self.steps,
            effects: self.effects,
            replies: self.replies.iter().map(|reply| reply.payload.clone()).collect(),
        };
        Outcome { replies: self.replies, event: self.event, follow_ups: self.follow_ups, trace }
    }

    /// Keeps the last five messages (`flows.md` § 10.2).
    fn cut_last_messages(&mut self) {
        if let Some(Value::Array(messages)) = self.state_mut("session").get_mut("lastMessages") {
            let extra = messages.len().saturating_sub(5);
            messages.drain(..extra);
        }
    }

    pub(crate) fn remember_message(&mut self, entry: Object) {
        let session = self.state_mut("session");
        if !matches!(session.get("lastMessages"), Some(Value::Array(_))) {
            session.set("lastMessages", Value::Array(Vec::new()));
        }
        if let Some(Value::Array(messages)) = session.get_mut("lastMessages") {
            messages.push(entry.into());
        }
    }

    // ---- the trace

    pub(crate) fn step(&mut self, step: Step) {
        self.steps.push(step);
    }

    pub(crate) fn record(&mut self, failure: &Failure) {
        self.error(failure.kind, &failure.message);
    }

    pub(crate) fn error(&mut self, kind: FailureKind, message: &str) {
        let place = |name: &str| self.state("context").str(name).unwrap_or_default().to_owned();
        let (flow, node) = (place("currentFlow"), place("currentNode"));
        self.step(Step::Error { kind, message: message.to_owned(), flow, node });
    }

    /// Counts steps; false when the turn has had enough of them.
    pub(crate) fn may_go_on(&mut self, steps: u32) -> bool {
        self.steps_left = self.steps_left.saturating_sub(steps);
        self.steps_left > 0
    }

    // ---- the world, recorded

    pub(crate) fn now(&mut self) -> i64 {
        let millis = self.host.now();
        self.effects.push(Effect::Now { millis });
        millis
    }

    pub(crate) fn random(&mut self) -> f64 {
        let value = self.host.random();
        self.effects.push(Effect::Random { value });
        value
    }

    pub(crate) fn event_id(&mut self) -> String {
        let id = self.host.event_id();
        self.effects.push(Effect::EventId { id: id.clone() });
        id
    }

    pub(crate) async fn http(&mut self, request: HttpRequest) -> Result<HttpResponse, HttpFailure> {
        let result = self.host.http(request.clone()).await;
        self.effects.push(Effect::Http { request, result: result.clone() });
        result
    }

    pub(crate) async fn mail(&mut self, mail: Mail) -> Result<(), String> {
        let result = self.host.mail(mail.clone()).await;
        self.effects.push(Effect::Mail { mail, result: result.clone() });
        result
    }

    pub(crate) async fn host_sdk(&mut self, method: &str, args: Vec<Value>) -> Result<Value, String> {
        let result = self.host.sdk(method, &args).await;
        self.effects.push(Effect::Sdk { method: method.to_owned(), args, result: result.clone() });
        result
    }

    /// Reads a key, as this turn has left it.
    pub(crate) async fn kvs_get(&mut self, scope: &KvsScope, key: &str) -> Result<Option<Value>, String> {
        if let Some(value) = self.written.get(&(scope.clone(), key.to_owned())) {
            return Ok(value.clone());
        }
        let result = self.host.kvs_get(scope, key).await;
        self.effects.push(Effect::KvsGet { scope: scope.clone(), key: key.to_owned(), result: result.clone() });
        result
    }

    pub(crate) fn kvs_set(&mut self, scope: &KvsScope, key: &str, value: Value, expires_in: Option<u64>) {
        self.written.insert((scope.clone(), key.to_owned()), Some(value.clone()));
        let write = KvsWrite::Set { scope: scope.clone(), key: key.to_owned(), value, expires_in };
        self.follow_ups.kvs.push(write);
    }

    pub(crate) fn kvs_delete(&mut self, scope: &KvsScope, key: &str) {
        self.written.insert((scope.clone(), key.to_owned()), None);
        self.follow_ups.kvs.push(KvsWrite::Delete { scope: scope.clone(), key: key.to_owned() });
    }

    pub(crate) fn kvs_delete_prefix(&mut self, scope: &KvsScope, prefix: &str) {
        for ((owner, key), value) in &mut self.written {
            if owner == scope && key.starts_with(prefix) {
                *value = None;
            }
        }
        self.follow_ups.kvs.push(KvsWrite::DeletePrefix { scope: scope.clone(), prefix: prefix.to_owned() });
    }

    /// Runs a script that has `bp`, takes over the event it leaves, and then does what it asked for: jumps
    /// and messages.
    pub(crate) async fn script(&mut self, call: Script<'_>, variables: &Object) -> ScriptOutcome {
        // The place of this effect, before those of its calls.
        let place = self.effects.len();
        self.effects.push(Effect::Random { value: 0.0 });
        let event = std::mem::take(&mut self.event);
        let (host, bot) = (self.host, self.bot);
        let full = ScriptCall {
            kind: call.kind,
            name: call.name,
            path: call.path,
            global: call.global,
            source: call.source,
            bot: &bot.id,
            event: &event,
            variables,
        };
        let given = full.fingerprint();
        let mut bridge = sdk::Bridge { run: self, event: &event, calls: Vec::new() };
        let mut outcome = host.script(full, &mut bridge).await;
        let calls = bridge.calls;
        let ran = Ran::of(&outcome, &event);
        self.effects[place] = Effect::Script { kind: call.kind, name: call.name.to_owned(), given, calls, ran };
        self.event = match outcome.event.take() {
            Some(changed @ Value::Object(_)) => changed,
            _ => event,
        };
        // An outgoing event has no state to jump in.
        if call.kind != ScriptKind::Hook(Hook::BeforeOutgoingMiddleware) {
            self.do_jump();
        }
        outcome
    }

    /// Jumps where a script asked to.
    pub(crate) fn do_jump(&mut self) {
        if let Some((flow, node)) = self.jumped.take() {
            self.jump_from_code(&flow, &node);
        }
    }
}

/// A script and how it is run.
#[derive(Clone, Copy)]
pub(crate) struct Script<'a> {
    pub(crate) kind: ScriptKind,
    pub(crate) name: &'a str,
    pub(crate) path: &'a str,
    pub(crate) global: bool,
    pub(crate) source: &'a str,
}

impl<'a> Script<'a> {
    pub(crate) fn of(kind: ScriptKind, script: &'a crate::bot::Script) -> Script<'a> {
        Script { kind, name: &script.name, path: &script.path, global: script.global, source: &script.source }
    }
}

/// An instant as ISO 8601 with milliseconds, as scripts write dates.
pub(crate) fn iso_date(millis: i64) -> String {
    let nanos = i128::from(millis) * 1_000_000;
    let date = OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = date.to_calendar_date();
    let (hour, minute, second, milli) = date.to_hms_milli();
    format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z", u8::from(month))
}
