//! What goes into a run and what comes out.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Files;

/// What kind of text a run executes; decides what is in scope and what the result means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// An expression with `event, user, session, temp, bot, workflow` in scope; its result is a
    /// boolean by truthiness (flows.md 6). No `bp`, no host calls.
    Condition,
    /// The body of a function (actions-skills.md 1.1).
    Action,
    /// The body of a function (flows.md 13.1).
    Hook,
    /// A CommonJS module (content.md 6). With a function's name, the result is what that exported
    /// function returns for `args`; without, it is the exported data, functions left out.
    Module {
        /// The exported function to call, e.g. `renderElement`.
        function: Option<String>,
        /// Its arguments.
        args: Vec<Value>,
    },
}

/// One script to run.
#[derive(Clone, Debug)]
pub struct Run {
    /// What the source is.
    pub kind: Kind,
    /// On whose behalf: usually the bot's id. Runs of different owners share the pool fairly, and
    /// conditions of different owners share nothing.
    pub owner: Arc<str>,
    /// Path of the source among `files`, e.g. `actions/orders/lookup.js`: named in errors, and where
    /// relative `require`s start.
    pub name: String,
    /// The text.
    pub source: Arc<str>,
    /// What `require` finds.
    pub files: Arc<Files>,
    /// Variables in scope, by name: `event` (with `state`), `args`, `suggestions`, `sessionId`, `botId`…
    /// `user, session, temp, bot, workflow` need not be given: they are the members of `event.state`.
    pub variables: Map<String, Value>,
    /// Names of the flags that are set on `event` (`SKIP_DIALOG_ENGINE`…).
    pub flags: Vec<String>,
    /// The script's `process`: `HOST, PORT, EXTERNAL_URL, PROXY, ROOT_PATH, env`. Filtered by the
    /// caller; nothing of the real environment reaches a script otherwise.
    pub process: Value,
    /// Budget.
    pub limits: Limits,
}

impl Run {
    /// A run without files, flags or `process`, with the default limits of its kind.
    pub fn new(kind: Kind, owner: impl Into<Arc<str>>, name: impl Into<String>, source: impl Into<Arc<str>>) -> Self {
        let limits = Limits::of(&kind);
        Self {
            kind,
            owner: owner.into(),
            name: name.into(),
            source: source.into(),
            files: Files::none(),
            variables: Map::new(),
            flags: Vec::new(),
            process: Value::Object(Map::new()),
            limits,
        }
    }
}

/// The budget of one run. Each limit ends the run with an error that says so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Processor time. Waiting for a host call, for a timer or for a processor doesn't count.
    pub compute: Duration,
    /// Time from start to end, waiting included.
    pub total: Duration,
    /// Bytes of the script's heap.
    pub memory: usize,
    /// Bytes of stack.
    pub stack: usize,
    /// Host calls in all.
    pub calls: u32,
    /// Host calls at one time; more are refused to the script.
    pub pending_calls: u32,
    /// Bytes of JSON that one host call may carry, and the result with the variables at the end.
    pub output: usize,
    /// Bytes of log kept; what is beyond is counted only.
    pub log: usize,
}

impl Limits {
    /// The defaults: 250 ms for a condition, 2 s of computing within 60 s for anything else, 64 MiB.
    pub fn of(kind: &Kind) -> Self {
        let (compute, total) = match kind {
            Kind::Condition => (Duration::from_millis(250), Duration::from_secs(5)),
            Kind::Action | Kind::Hook | Kind::Module { .. } => (Duration::from_secs(2), Duration::from_secs(60)),
        };
        Self {
            compute,
            total,
            memory: 64 << 20,
            stack: 1 << 20,
            calls: 1000,
            pending_calls: 64,
            output: 4 << 20,
            log: 64 << 10,
        }
    }
}

/// What a run that ended well leaves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Done {
    /// A condition: `true` or `false`. Else the resolved value, `null` for undefined.
    pub result: Value,
    /// Whether the result came through a promise.
    pub promise: bool,
    /// The variables as the script left them, `event` among them; `args` and plain texts aren't repeated.
    /// `None` when nothing changed. Members set to `undefined` are gone, dates are ISO texts.
    pub variables: Option<Map<String, Value>>,
    /// Names of the flags that are set on `event` now.
    pub flags: Vec<String>,
    /// What `console`, `printObject` and `bp.logger` wrote.
    pub logs: Vec<Log>,
}

impl Done {
    /// The event as the script left it, if it changed anything.
    pub fn event(&self) -> Option<&Value> {
        self.variables.as_ref().and_then(|all| all.get("event"))
    }
}

/// A line that a script logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// How grave.
    pub level: Level,
    /// The text.
    pub text: String,
}

/// Levels of `console` and `bp.logger`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// `console.debug`, `bp.logger.debug`.
    Debug,
    /// `console.log`, `console.info`, `printObject`, `bp.logger.info`.
    Info,
    /// `console.warn`, `bp.logger.warn`.
    Warn,
    /// `console.error`, `bp.logger.error`.
    Error,
}

/// Answers the host calls of one run.
///
/// Calls of one run come one after the other, in the order the script made them, so a run is
/// deterministic given the answers. An `Err` becomes an `Error` in the script with that message.
///
/// | method | arguments | answer |
/// |---|---|---|
/// | `events.replyToEvent` | address of the event (`botId, channel, target, threadId, id, messageId`), payloads, incoming event's id or null | ignored |
/// | `events.sendEvent` | event | ignored |
/// | `cms.renderElement` | content id, arguments, event | array of payloads |
/// | `cms.getContentElement` | bot id, id, language or null | element or null |
/// | `cms.renderTemplate` | value, context | rendered value |
/// | `kvs.get` `kvs.exists` | bot id or null for global, key, path or null | value (null is undefined), boolean |
/// | `kvs.set` | scope, key, value, path or null, expiry or null | ignored |
/// | `kvs.delete` `kvs.getStorageWithExpiry` `kvs.removeStorageKeysStartingWith` | scope, key | as named |
/// | `kvs.setStorageWithExpiry` | scope, key, value, expiry or null | ignored |
/// | `users.getOrCreateUser` | channel, user id, bot id or null | `{result, created}` |
/// | `users.getAttributes` `users.setAttributes` `users.updateAttributes` | channel, user id, attributes | attributes, ignored |
/// | `dialog.createId` | address of the event | session id |
/// | `dialog.jumpTo` | session id, event, flow, node or null | members to put into `event.state` (`context`, `__stacktrace`) |
/// | `dialog.deleteSession` | session id, bot id | ignored |
/// | `dialog.processEvent` | session id, event | members to put into `event` |
/// | `http.getAxiosConfigForBot` | bot id, options | axios configuration |
/// | `http.request` | `{method, url, headers, data?, base64?, timeout?, maxRedirects?, maxContentLength?, binary?}`; `data` is text, or base64 if so marked; `binary` asks for base64 | `{status, statusText, headers, data, base64?}` or `{error: {code, message}}` |
/// | `ghost.readFileAsString` `ghost.readFileAsBuffer` `ghost.fileExists` `ghost.deleteFile` | bot id or null for global, folder, file | text, base64, boolean, ignored |
/// | `ghost.upsertFile` | scope, folder, file, text or `{base64}` | ignored |
/// | `ghost.directoryListing` | scope, folder, pattern | paths |
/// | `bots.getBotById` `bots.getBots` | bot id | configuration |
/// | `config.getModuleConfigForBot` `config.getModuleConfig` `config.getBotpressConfig` | module, bot id | configuration |
/// | `security.getMessageSignature` | text | HMAC-SHA256, hex |
pub trait Calls: Send {
    /// Answers one call.
    fn call(&mut self, method: &str, args: Vec<Value>) -> impl Future<Output = Result<Value, String>> + Send;
}

/// Refuses every call: for conditions, and for what needs no host.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCalls;

impl Calls for NoCalls {
    async fn call(&mut self, method: &str, _: Vec<Value>) -> Result<Value, String> {
        Err(format!("{method} can't be called from here"))
    }
}
