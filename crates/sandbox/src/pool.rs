//! The pool: slots, the queue before them, and the task's side of a run.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::error::Class;
use crate::link::{Event, Link};
use crate::process::{Process, Recipe};
use crate::queue::{Bounds, Grow, Job, Queue};
use crate::slot;
use crate::wire::{Answer, Call};
use crate::{Calls, Done, PoolError, Run, ScriptError};

/// How many workers, and what they may use.
#[derive(Clone, Debug)]
pub struct Config {
    /// Program and arguments that end in [`crate::worker_main`].
    pub command: Vec<OsString>,
    /// Workers that are kept warm, and runs that compute at one time. Usually the number of cores.
    pub workers: usize,
    /// Workers at most. Those beyond `workers` are started while others wait for host calls.
    pub max_workers: usize,
    /// Workers that one owner may hold at one time.
    pub per_owner: usize,
    /// Runs that may wait for a worker; more are refused as [`Class::Busy`].
    pub queue: usize,
    /// How long a run may wait for a worker before it is refused.
    pub patience: Duration,
    /// How much longer than a run's own limit the parent waits before it kills the worker.
    pub grace: Duration,
    /// How long a worker beyond `workers` stays without work.
    pub idle: Duration,
    /// Address space of a worker in bytes; a script's own limit is [`crate::Limits::memory`].
    pub address_space: u64,
    /// Owners whose conditions a worker remembers.
    pub contexts: usize,
    /// The scripts' time zone, as in `TZ`; the system's if none.
    pub time_zone: Option<String>,
}

impl Config {
    /// Defaults for a command: a warm worker for each core, eight times as many at most.
    pub fn new(command: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        let workers = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            command: command.into_iter().map(Into::into).collect(),
            workers,
            max_workers: (workers * 8).min(64),
            per_owner: (workers * 4).min(32),
            queue: 4096,
            patience: Duration::from_secs(10),
            grace: Duration::from_millis(250),
            idle: Duration::from_secs(30),
            address_space: 1 << 30,
            contexts: 32,
            time_zone: None,
        }
    }
}

/// Numbers of a pool at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Runs that wait for a worker.
    pub queued: usize,
    /// Workers.
    pub workers: usize,
    /// Runs that compute now.
    pub computing: usize,
    /// Runs that were asked for since the start.
    pub runs: u64,
}

/// Runs scripts in worker processes. Cheap to share behind an `Arc`; ends its workers when dropped.
pub struct Pool {
    shared: Arc<Shared>,
    runs: AtomicU64,
}

/// What slots and the pool share.
pub struct Shared {
    pub queue: Queue,
    pub recipe: Recipe,
    pub grace: Duration,
    pub patience: Duration,
}

impl Pool {
    /// Starts the warm workers; the first is waited for, so a wrong command is noticed here.
    pub fn new(config: Config) -> Result<Self, PoolError> {
        if config.command.is_empty() {
            return Err(PoolError::Config("the command is empty"));
        }
        if config.workers == 0 || config.per_owner == 0 {
            return Err(PoolError::Config("there must be at least one worker"));
        }
        let bounds = Bounds {
            workers: config.workers,
            max_workers: config.max_workers.max(config.workers),
            per_owner: config.per_owner,
            queue: config.queue,
            idle: config.idle,
        };
        let recipe = Recipe {
            command: config.command,
            time_zone: config.time_zone,
            address_space: config.address_space,
            contexts: config.contexts,
        };
        let shared = Shared { queue: Queue::new(bounds), recipe, grace: config.grace, patience: config.patience };
        let shared = Arc::new(shared);
        shared.first_slots(config.workers)?;
        Ok(Self { shared, runs: AtomicU64::new(0) })
    }

    /// Runs a script; its host calls are answered by `calls` on the caller's task. Dropping the future
    /// ends the script.
    pub async fn run(&self, run: Run, calls: &mut impl Calls) -> Result<Done, ScriptError> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        let (sender, events) = unbounded_channel();
        let link = Arc::new(Link::default());
        let job = Job { run, link: link.clone(), events: sender, queued: Instant::now() };
        match self.shared.queue.push(job) {
            Some(Grow(true)) => self.shared.start_slot(None),
            Some(Grow(false)) => {}
            None => return Err(ScriptError::new(Class::Busy, "too many scripts wait for a worker")),
        }
        let mut guard = Guard { link: &link, over: false };
        let outcome = follow(&link, events, calls).await;
        guard.over = true;
        outcome
    }

    /// Numbers for metrics.
    pub fn stats(&self) -> Stats {
        let numbers = self.shared.queue.numbers();
        Stats {
            queued: numbers.queued,
            workers: numbers.slots,
            computing: numbers.computing,
            runs: self.runs.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for job in self.shared.queue.close() {
            job.tell(Event::Over(Err(ScriptError::boxed(Class::Busy, "the server is stopping"))));
        }
    }
}

impl Shared {
    /// Starts the warm slots. The first start is done on the first slot's own thread, and its result awaited.
    fn first_slots(self: &Arc<Self>, count: usize) -> Result<(), PoolError> {
        let (sender, receiver) = std::sync::mpsc::channel();
        let shared = self.clone();
        self.thread(move || match Process::start(&shared.recipe) {
            Ok(process) => {
                let missing = process.missing.clone();
                let _ = sender.send(Ok(missing));
                slot::live(&shared, Some(process));
            }
            Err(error) => {
                let _ = sender.send(Err(error));
            }
        });
        let started = receiver.recv().unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into()));
        let missing = started.map_err(|source| PoolError::Start { command: self.recipe.shown(), source })?;
        if !missing.is_empty() {
            tracing::warn!(?missing, "script workers run without some of their protections");
        }
        (1..count).for_each(|_| self.start_slot(None));
        Ok(())
    }

    /// Starts a slot that the queue has counted already.
    fn start_slot(self: &Arc<Self>, first: Option<Process>) {
        let shared = self.clone();
        self.thread(move || slot::live(&shared, first));
    }

    /// A slot's run waits or computes; starts one more slot if that lets another run begin.
    pub fn computing(self: &Arc<Self>, computing: bool) {
        if let Grow(true) = self.queue.computing(computing) {
            self.start_slot(None);
        }
    }

    fn thread(&self, body: impl FnOnce() + Send + 'static) {
        if let Err(error) = std::thread::Builder::new().name("script-slot".into()).spawn(body) {
            tracing::error!(%error, "can't start a thread for scripts");
        }
    }
}

impl Recipe {
    fn shown(&self) -> String {
        self.command.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }
}

/// Cancels a run whose future is dropped.
struct Guard<'a> {
    link: &'a Link,
    over: bool,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.link.cancel();
        }
    }
}

/// Answers a run's calls one by one until it is over.
async fn follow(
    link: &Link,
    mut events: UnboundedReceiver<Event>,
    calls: &mut impl Calls,
) -> Result<Done, ScriptError> {
    let mut waiting = VecDeque::new();
    loop {
        let Some(call) = waiting.pop_front() else {
            match events.recv().await {
                Some(Event::Call(call)) => waiting.push_back(call),
                Some(Event::Over(outcome)) => return outcome.map_err(|error| *error),
                None => return Err(ScriptError::new(Class::Killed, "the script's worker is gone")),
            }
            continue;
        };
        let Call { id, method, args } = call;
        let mut answer = std::pin::pin!(calls.call(&method, args));
        let result = loop {
            tokio::select! {
                result = &mut answer => break result,
                event = events.recv() => match event {
                    Some(Event::Call(call)) => waiting.push_back(call),
                    Some(Event::Over(outcome)) => return outcome.map_err(|error| *error),
                    None => return Err(ScriptError::new(Class::Killed, "the script's worker is gone")),
                },
            }
        };
        link.answer(Answer { id, result });
    }
}
