//! A host in memory and a driver of conversations, for tests of this crate and of those above it.
//!
//! Nothing here is used in production.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::pin,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use crate::{
    Bot, Incoming, KvsWrite, Memory, Outcome, Turn, Value,
    host::{ErrorClass, Host, HttpFailure, HttpRequest, HttpResponse, KvsScope, Mail, ScriptCall, ScriptOutcome, Sdk},
    turn::FollowUps,
};

/// Scripts of a test, written in Rust.
pub trait Scripts: Sync {
    /// Does what the script would do; `None` if the test has no such script.
    fn run<S: Sdk>(&self, call: ScriptCall<'_>, sdk: &mut S) -> impl Future<Output = Option<ScriptOutcome>> + Send;
}

/// No scripts at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoScripts;

impl Scripts for NoScripts {
    async fn run<S: Sdk>(&self, _: ScriptCall<'_>, _: &mut S) -> Option<ScriptOutcome> {
        None
    }
}

/// What a test's network answers.
pub type Network = fn(&HttpRequest) -> Result<HttpResponse, HttpFailure>;

/// A host in memory: a clock that moves a millisecond a look, chance from a seed, stores in maps.
#[derive(Debug)]
pub struct MemoryHost<S = NoScripts> {
    scripts: S,
    network: Network,
    clock: AtomicI64,
    chance: AtomicU64,
    ids: AtomicU64,
    kvs: Mutex<BTreeMap<(KvsScope, String), Value>>,
    mails: Mutex<Vec<Mail>>,
    requests: Mutex<Vec<HttpRequest>>,
    slept: AtomicU64,
}

impl Default for MemoryHost {
    fn default() -> Self {
        MemoryHost::new(NoScripts)
    }
}

fn nobody(_: &HttpRequest) -> Result<HttpResponse, HttpFailure> {
    Err(HttpFailure { code: "ECONNREFUSED".to_owned(), message: "nobody listens".to_owned() })
}

impl<S: Scripts> MemoryHost<S> {
    /// A host with these scripts and a network where nobody listens.
    pub fn new(scripts: S) -> Self {
        MemoryHost {
            scripts,
            network: nobody,
            clock: AtomicI64::new(1_700_000_000_000),
            chance: AtomicU64::new(1),
            ids: AtomicU64::new(1_000_000),
            kvs: Mutex::default(),
            mails: Mutex::default(),
            requests: Mutex::default(),
            slept: AtomicU64::new(0),
        }
    }

    /// The same with a network.
    #[must_use]
    pub fn with_network(mut self, network: Network) -> Self {
        self.network = network;
        self
    }

    /// Lets time pass.
    pub fn pass(&self, millis: i64) {
        self.clock.fetch_add(millis, Ordering::Relaxed);
    }

    /// Does the writes of a turn.
    pub fn apply(&self, follow_ups: &FollowUps) {
        let mut kvs = self.kvs.lock().unwrap_or_else(PoisonError::into_inner);
        for write in &follow_ups.kvs {
            match write {
                KvsWrite::Set { scope, key, value, .. } => {
                    kvs.insert((scope.clone(), key.clone()), value.clone());
                }
                KvsWrite::Delete { scope, key } => {
                    kvs.remove(&(scope.clone(), key.clone()));
                }
                KvsWrite::DeletePrefix { scope, prefix } => {
                    kvs.retain(|(owner, key), _| owner != scope || !key.starts_with(prefix));
                }
            }
        }
    }

    /// A stored value.
    pub fn stored(&self, scope: &KvsScope, key: &str) -> Option<Value> {
        self.kvs.lock().unwrap_or_else(PoisonError::into_inner).get(&(scope.clone(), key.to_owned())).cloned()
    }

    /// The mails sent so far.
    pub fn mails(&self) -> Vec<Mail> {
        self.mails.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The requests sent so far.
    pub fn requests(&self) -> Vec<HttpRequest> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many milliseconds turns have waited.
    pub fn slept(&self) -> u64 {
        self.slept.load(Ordering::Relaxed)
    }
}

impl<S: Scripts> Host for MemoryHost<S> {
    async fn script<K: Sdk>(&self, call: ScriptCall<'_>, sdk: &mut K) -> ScriptOutcome {
        self.scripts.run(call, sdk).await.unwrap_or_else(|| {
            let message = format!("the test has no script for {:?} {}", call.kind, call.name);
            ScriptOutcome::failed(ErrorClass::Syntax, message)
        })
    }

    async fn http(&self, request: HttpRequest) -> Result<HttpResponse, HttpFailure> {
        let answer = (self.network)(&request);
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        answer
    }

    async fn mail(&self, mail: Mail) -> Result<(), String> {
        if mail.to.is_empty() {
            return Err("nobody to send it to".to_owned());
        }
        self.mails.lock().unwrap_or_else(PoisonError::into_inner).push(mail);
        Ok(())
    }

    async fn kvs_get(&self, scope: &KvsScope, key: &str) -> Result<Option<Value>, String> {
        Ok(self.stored(scope, key))
    }

    async fn sdk(&self, method: &str, args: &[Value]) -> Result<Value, String> {
        match method {
            "users.get" => Ok(Value::object()),
            "actions.token" => Ok("token".into()),
            "media.store" => Ok(format!("/api/v1/bots/{}/media/stored", args[0].as_str().unwrap_or("?")).into()),
            other => Err(format!("bp.{other} isn't supported")),
        }
    }

    async fn predict(&self, _: &Value) -> Result<Option<Value>, String> {
        Ok(None)
    }

    async fn sleep(&self, millis: u64) {
        self.slept.fetch_add(millis, Ordering::Relaxed);
    }

    fn now(&self) -> i64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    fn random(&self) -> f64 {
        let mut x = self.chance.load(Ordering::Relaxed);
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.chance.store(x, Ordering::Relaxed);
        (x >> 11) as f64 / (1u64 << 53) as f64
    }

    fn event_id(&self) -> String {
        self.ids.fetch_add(1, Ordering::Relaxed).to_string()
    }
}

/// One user's conversation with a bot, memory and all.
#[derive(Debug)]
pub struct Conversation<'a, S = NoScripts> {
    /// The bot.
    pub bot: &'a Bot,
    /// The host.
    pub host: &'a MemoryHost<S>,
    /// The user's id.
    pub user: String,
    /// The memory after the last turn.
    pub memory: Memory,
}

impl<'a, S: Scripts> Conversation<'a, S> {
    /// A new user.
    pub fn new(bot: &'a Bot, host: &'a MemoryHost<S>, user: &str) -> Self {
        Conversation { bot, host, user: user.to_owned(), memory: Memory::default() }
    }

    /// Sends a text.
    pub fn say(&mut self, text: &str) -> Outcome {
        self.send(Incoming::text(&self.user, text))
    }

    /// Sends a message.
    pub fn send(&mut self, incoming: Incoming) -> Outcome {
        let outcome = block_on(Turn::message(self.bot, self.host, self.restored(), incoming));
        self.remember(outcome)
    }

    /// Lets the conversation time out.
    pub fn time_out(&mut self) -> Outcome {
        let outcome = block_on(Turn::timeout(self.bot, self.host, self.restored(), &self.user));
        self.remember(outcome)
    }

    /// The memory as a store would give it back, with the bot's variables.
    fn restored(&self) -> Memory {
        let scope = KvsScope::Bot(self.bot.id.to_string());
        let text = serde_json::to_string(&self.memory).unwrap_or_default();
        let mut memory: Memory = serde_json::from_str(&text).unwrap_or_default();
        memory.bot = self.host.stored(&scope, "global").unwrap_or_default();
        memory
    }

    fn remember(&mut self, outcome: Outcome) -> Outcome {
        self.host.apply(&outcome.follow_ups);
        self.memory = outcome.memory().clone();
        outcome
    }
}

/// The texts of an outcome's replies; other payloads as JSON.
pub fn texts(outcome: &Outcome) -> Vec<String> {
    let text = |payload: &Value| payload.str("text").map_or_else(|| payload.to_json(), str::to_owned);
    outcome.replies.iter().map(|reply| text(&reply.payload)).collect()
}

/// Runs a future that never waits for anything.
///
/// # Panics
/// If it does wait.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a test's host has to answer at once"),
    }
}
