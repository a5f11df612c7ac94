//! The trace of a turn: what it did and what the world answered, enough to see why and to do it again.

use serde::{Deserialize, Serialize};

use crate::{
    bot::Hook,
    host::{HttpFailure, HttpRequest, HttpResponse, KvsScope, Mail, ScriptError, ScriptKind, ScriptOutcome},
    memory::{Change, Memory},
    turn::Incoming,
    value::Value,
};

/// Everything about one turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// The bot's id.
    pub bot: String,
    /// What set the turn off.
    pub input: Input,
    /// The memory it began with.
    pub before: Memory,
    /// How the memory it ended with differs.
    pub changes: Vec<Change>,
    /// What happened, in order.
    pub steps: Vec<Step>,
    /// What the world answered, in order; [`crate::Replay`] answers the same again.
    pub effects: Vec<Effect>,
    /// The payloads that were sent.
    pub replies: Vec<Value>,
}

/// What set a turn off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// A message.
    Message(Incoming),
    /// A conversation's time was up; the user's id.
    Timeout(String),
}

/// One thing that happened in a turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Step {
    /// A node began, or went on after waiting.
    Node { flow: String, node: String, resumed: bool },
    /// A condition was evaluated.
    Condition { text: String, target: String, value: bool },
    /// Content was rendered.
    Say { content: String, payloads: usize },
    /// An action ran, for so many milliseconds.
    Action { name: String, args: Value, millis: i64, error: Option<String> },
    /// A hook ran, for so many milliseconds.
    Hook { hook: Hook, name: String, millis: i64, error: Option<String> },
    /// A transition or a script moved on.
    Jump { target: String },
    /// A skill's sub-flow was entered.
    Skill { flow: String },
    /// Between suggestions and flows, this was chosen.
    Decision { source: String, details: String, reason: String },
    /// The conversation waits for the user.
    Wait,
    /// The conversation ended.
    End,
    /// A loop was cut; the conversation was reset.
    Loop,
    /// Something failed.
    Error { kind: FailureKind, message: String, flow: String, node: String },
    /// A script logged something.
    Log { level: String, text: String },
}

/// Kinds of failures (`flows.md` § 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// An action threw or doesn't exist.
    Action,
    /// A jump led nowhere.
    Jump,
    /// Content, a template, arguments or a condition was wrong. The original left the conversation stuck
    /// on it; here it goes to the error flow like the others, and where there is none the conversation
    /// is reset.
    Engine,
    /// The position in the memory doesn't exist in the bot.
    Lost,
    /// Something smaller that doesn't change the turn's course.
    Ignored,
}

/// What the world answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Effect {
    Now { millis: i64 },
    Random { value: f64 },
    EventId { id: String },
    Script { kind: ScriptKind, name: String, calls: Vec<(String, Vec<Value>)>, result: Result<ScriptOutcome, ScriptError> },
    Http { request: HttpRequest, result: Result<HttpResponse, HttpFailure> },
    Mail { mail: Mail, result: Result<(), String> },
    KvsGet { scope: KvsScope, key: String, result: Result<Option<Value>, String> },
    Sdk { method: String, args: Vec<Value>, result: Result<Value, String> },
    Predict { result: Result<Option<Value>, String> },
}
