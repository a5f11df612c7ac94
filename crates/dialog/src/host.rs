//! The outside world of a turn: everything that isn't a function of event, bot and memory.
//!
//! Whoever runs turns implements [`Host`] over the script sandbox, the outbound client, the store and the
//! clock. A turn awaits one call at a time. Given the same answers it does the same.

use std::future::Future;

use serde::{Deserialize, Serialize};

use crate::{
    bot::Hook,
    value::{Object, Value},
};

/// The outside world of a turn.
///
/// Implementations may write the methods as `async fn`.
pub trait Host: Sync {
    /// Runs a script. Its `bp` is `sdk`: every call of a function of `bp` goes to [`Sdk::call`] under the
    /// function's path without `bp.`, with the arguments that the script gave.
    ///
    /// Variables of a script besides `bp`, by [`ScriptKind`]: conditions get `event`, `user`, `session`,
    /// `temp`, `bot`, `workflow`; actions these and `args`; hooks `event`, and before an election
    /// `sessionId` and `suggestions`; content renderers one argument `data`; patterns nothing.
    /// `user` and so on are the members of `event.state` themselves, or fresh objects if unset.
    /// `event.flags` is an object; `event.setFlag(bp.IO.WellKnownFlags.X, on)` sets its member `X`.
    ///
    /// What a script changed before it threw is part of its outcome, too.
    fn script<S: Sdk>(&self, call: ScriptCall<'_>, sdk: &mut S) -> impl Future<Output = ScriptOutcome> + Send;

    /// Sends an HTTP request and reads the answer.
    ///
    /// # Errors
    /// If there is no answer: connection, name, policy, time.
    fn http(&self, request: HttpRequest) -> impl Future<Output = Result<HttpResponse, HttpFailure>> + Send;

    /// Sends an e-mail.
    ///
    /// # Errors
    /// Why it couldn't be handed over.
    fn mail(&self, mail: Mail) -> impl Future<Output = Result<(), String>> + Send;

    /// Reads a key of a key-value store as it is stored; `None` if absent or expired. Writes of the turn
    /// itself are [`crate::KvsWrite`]s of its outcome and needn't be visible here.
    ///
    /// # Errors
    /// If it can't be read.
    fn kvs_get(&self, scope: &KvsScope, key: &str) -> impl Future<Output = Result<Option<Value>, String>> + Send;

    /// Any other call of `bp`: files, users, bots, configuration, signatures; also `users.get` (channel,
    /// user id: attributes), `media.store` (URL: local URL) and `actions.token` (a token for a remote
    /// action server).
    ///
    /// # Errors
    /// If the call isn't supported or fails; the script sees an exception.
    fn sdk(&self, method: &str, args: &[Value]) -> impl Future<Output = Result<Value, String>> + Send;

    /// Predicts intents and slots of a text (`qna-nlu.md` § 5): members to merge into `event.nlu`. `None`
    /// where nothing is trained.
    ///
    /// # Errors
    /// If the prediction fails; the turn goes on with `errored: true`.
    fn predict(&self, request: &Value) -> impl Future<Output = Result<Option<Value>, String>> + Send;

    /// Waits.
    fn sleep(&self, millis: u64) -> impl Future<Output = ()> + Send;

    /// The time, in milliseconds since the Unix epoch.
    fn now(&self) -> i64;

    /// A number from 0 up to but not including 1.
    fn random(&self) -> f64;

    /// An id for an event: digits.
    fn event_id(&self) -> String;
}

/// What a script can call: the engine's side of `bp`.
pub trait Sdk: Send {
    /// Calls the function at `method`, e.g. `events.replyToEvent`. Functions of stores name whose they are
    /// first: `bp.kvs.forBot(id).get(key)` is `kvs.forBot.get` with `[id, key]`.
    ///
    /// # Errors
    /// What the script is to see as an exception.
    fn call(&mut self, method: &str, args: Vec<Value>) -> impl Future<Output = Result<Value, String>> + Send;
}

/// A script without `bp`.
#[derive(Debug)]
pub struct NoSdk;

impl Sdk for NoSdk {
    async fn call(&mut self, method: &str, _: Vec<Value>) -> Result<Value, String> {
        Err(format!("bp.{method} isn't available here"))
    }
}

/// A script to be run.
#[derive(Clone, Copy, Debug)]
pub struct ScriptCall<'a> {
    /// What it is, and so how its text is run and which variables it has.
    pub kind: ScriptKind,
    /// An action's, hook's or content type's name; a condition's text.
    pub name: &'a str,
    /// Path of its file in the bot's or the global folder, for `require`; empty for conditions.
    pub path: &'a str,
    /// Whether that is the global folder.
    pub global: bool,
    /// The text.
    pub source: &'a str,
    /// The bot's id.
    pub bot: &'a str,
    /// The event with its state.
    pub event: &'a Value,
    /// Variables besides those of the event: `args`, `sessionId`, `suggestions`, `data`.
    pub variables: &'a Object,
}

impl ScriptCall<'_> {
    /// Tells apart what is run and on what: text, event and variables. The same in every version and on
    /// every machine. What the script requires isn't part of it.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Fingerprint(0xcbf2_9ce4_8422_2325);
        hash.text(self.source);
        hash.value(self.event);
        hash.object(self.variables);
        hash.0
    }
}

/// FNV-1a over values as they are written.
struct Fingerprint(u64);

impl Fingerprint {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    }

    fn text(&mut self, text: &str) {
        self.bytes(&(text.len() as u64).to_le_bytes());
        self.bytes(text.as_bytes());
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Undefined | Value::Null => self.bytes(b"n"),
            Value::Bool(value) => self.bytes(if *value { b"t" } else { b"f" }),
            // Not a number and infinities are written as null; there is one zero.
            Value::Number(number) if !number.is_finite() => self.bytes(b"n"),
            Value::Number(number) => {
                self.bytes(b"d");
                self.bytes(&(number + 0.0).to_bits().to_le_bytes());
            }
            Value::String(text) => {
                self.bytes(b"s");
                self.text(text);
            }
            Value::Array(items) => {
                self.bytes(b"[");
                items.iter().for_each(|item| self.value(item));
                self.bytes(b"]");
            }
            Value::Object(object) => self.object(object),
        }
    }

    fn object(&mut self, object: &Object) {
        self.bytes(b"{");
        for (name, value) in object.iter().filter(|(_, value)| !value.is_undefined()) {
            self.text(name);
            self.value(value);
        }
        self.bytes(b"}");
    }
}

/// What a script is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScriptKind {
    /// An expression; its value counts.
    Condition,
    /// The body of a function; awaited, its value is ignored.
    Action,
    /// The body of a function; awaited, its value is ignored.
    Hook(Hook),
    /// A CommonJS module; `renderElement(data, "api")` is called and its value counts.
    Content,
    /// An expression; its value is a list of `[start, end]` in UTF-16 units.
    Pattern,
}

/// What a script left behind.
#[derive(Clone, Debug, PartialEq)]
pub struct ScriptOutcome {
    /// Its value, or what it threw, or what stopped it.
    pub result: Result<Value, ScriptError>,
    /// The event as the script left it, also if it threw; `None` if unchanged.
    pub event: Option<Value>,
    /// The variable `suggestions` as the script left it, if it had one and changed it.
    pub suggestions: Option<Value>,
}

impl ScriptOutcome {
    /// A value, and nothing changed.
    pub fn value(value: impl Into<Value>) -> ScriptOutcome {
        ScriptOutcome { result: Ok(value.into()), event: None, suggestions: None }
    }

    /// No value, and the event changed.
    pub fn changed(event: Value) -> ScriptOutcome {
        ScriptOutcome { event: Some(event), ..ScriptOutcome::value(Value::Undefined) }
    }

    /// An exception, and nothing changed.
    pub fn failed(class: ErrorClass, message: impl Into<String>) -> ScriptOutcome {
        let error = ScriptError { class, message: message.into() };
        ScriptOutcome { result: Err(error), event: None, suggestions: None }
    }
}

/// What a script threw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{class:?}: {message}")]
pub struct ScriptError {
    /// Its class.
    pub class: ErrorClass,
    /// Its text.
    pub message: String,
}

/// Classes of errors that the engine tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// `TypeError`.
    Type,
    /// `ReferenceError`.
    Reference,
    /// `SyntaxError`.
    Syntax,
    /// It used up its time or memory.
    Limit,
    /// Anything else.
    Other,
}

/// A request of a bot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpRequest {
    /// Upper case.
    pub method: String,
    /// As the bot wrote it; not checked.
    pub url: String,
    /// Names as the bot wrote them.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Option<String>,
    /// The caller's own limit in milliseconds.
    pub timeout: Option<u64>,
    /// How many redirects are followed.
    pub redirects: u32,
}

/// An answer, whatever its status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpResponse {
    /// The status.
    pub status: u16,
    /// The body as text.
    pub body: String,
}

/// No answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct HttpFailure {
    /// As Node names it: `ECONNREFUSED`, `ENOTFOUND`, `ECONNABORTED`; empty if there is no such name.
    pub code: String,
    /// For the trace.
    pub message: String,
}

/// An e-mail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Mail {
    pub from: String,
    pub to: String,
    pub cc: String,
    pub bcc: String,
    pub subject: String,
    pub text: String,
}

/// Whose key-value store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KvsScope {
    /// A bot's.
    Bot(String),
    /// The server's.
    Global,
}
