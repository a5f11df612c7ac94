//! Runs uploaded code of bots and integrations in managed Node processes
//! (`spec/cloud/bridge-protocol.md` § 7).
//!
//! [`Hosted`] implements the bridge's [`Hosting`]: whoever calls hosted code gets a lease of a running
//! process, which is started if there is none. There is one process for each bot and one for each
//! integration version. `slot` knows which process takes the calls of which code, and how often it has
//! failed; `process` starts one and watches it to its end; `launcher` is what the operating system is asked
//! for on the way; `runner.cjs` is what Node runs; `output` and `line` turn what it writes into log lines.
//!
//! Called by the bridge. Reads no database: code, environment and logs go through a [`Source`]. Never runs
//! code in the server's own process, and hands none of the server's environment to it.

mod error;
mod folder;
mod launcher;
mod line;
mod node;
mod output;
mod process;
mod slot;
mod source;
mod spawner;

use std::{
    collections::HashMap,
    ffi::OsString,
    future::Future,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use duologue_bridge::{Code, Ended, Hosting, Lease, NotHosted};
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

pub use error::Error;
pub use launcher::launcher_main;
pub use source::{Issue, Level, Line, Program, Source};

use folder::Folder;
use node::Finder;
use process::Process;
use slot::Slot;
use spawner::Spawner;

/// What a process knows its server by.
const KEY: HeaderName = HeaderName::from_static("x-duologue-key");
/// How long a call waits for one of the places of running processes.
const PLACE_PATIENCE: Duration = Duration::from_secs(10);

/// How code is hosted.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Node: a path, or a name to look for in `PATH`.
    pub node: PathBuf,
    /// The folder for bundles; made if it is missing.
    pub folder: PathBuf,
    /// The command that ends in [`launcher_main`].
    pub launcher: Vec<OsString>,
    /// How many processes may take calls at one time, at least 1.
    pub processes: usize,
    /// MiB of JavaScript objects that a process may have.
    pub memory: u64,
    /// How long a process runs on when nobody calls it.
    pub idle: Duration,
    /// How long a process may take until it listens.
    pub start_timeout: Duration,
    /// Whether Node keeps bundles from files outside their folder, and from processes and threads of their
    /// own.
    pub confined: bool,
}

/// Hosts code. Clones are the same.
#[derive(Clone)]
pub struct Hosted(Arc<Inner>);

struct Inner {
    settings: Settings,
    source: Arc<dyn Source>,
    node: Finder,
    folder: Folder,
    spawner: Spawner,
    places: Arc<Semaphore>,
    /// How many calls wait for a place.
    waiting: AtomicUsize,
    slots: Mutex<HashMap<Code, Arc<Slot>>>,
    stopping: AtomicBool,
    /// Turns true when processes have to end at once.
    halt: watch::Sender<bool>,
    /// Processes that haven't ended.
    running: AtomicUsize,
    started: AtomicU64,
    failed: AtomicU64,
    ended: Notify,
}

impl Hosted {
    /// Starts nothing yet but a thread; called within a runtime.
    ///
    /// # Errors
    /// [`Error::Folder`] if the folder can't be used.
    pub fn new(settings: Settings, source: Arc<dyn Source>) -> Result<Self, Error> {
        let folder = Folder::create(&settings.folder)?;
        let spawner = Spawner::start().map_err(|error| Error::Start(error.to_string()))?;
        Ok(Hosted(Arc::new(Inner {
            source,
            node: Finder::new(settings.node.clone()),
            folder,
            spawner,
            places: Arc::new(Semaphore::new(settings.processes.max(1))),
            waiting: AtomicUsize::new(0),
            slots: Mutex::default(),
            stopping: AtomicBool::new(false),
            halt: watch::channel(false).0,
            running: AtomicUsize::new(0),
            started: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            ended: Notify::new(),
            settings,
        })))
    }

    /// How many processes there are.
    pub fn running(&self) -> usize {
        self.0.running.load(Ordering::Acquire)
    }

    /// How many processes came to listen since this was made, each restart included.
    pub fn started(&self) -> u64 {
        self.0.started.load(Ordering::Relaxed)
    }

    /// How many starts failed, and how many processes ended by themselves or had to be ended, since this was
    /// made.
    pub fn failed(&self) -> u64 {
        self.0.failed.load(Ordering::Relaxed)
    }

    /// Starts no more processes and ends those that run: politely, and when `patience` is over, not.
    pub async fn stop(&self, patience: Duration) {
        let inner = &self.0;
        inner.stopping.store(true, Ordering::Release);
        for slot in inner.all() {
            slot.retire();
        }
        if tokio::time::timeout(patience, inner.all_ended()).await.is_err() {
            inner.halt.send_replace(true);
            inner.all_ended().await;
        }
    }
}

impl Inner {
    fn slot(&self, code: &Code) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        match slots.get(code) {
            Some(slot) => slot.clone(),
            None => slots.entry(code.clone()).or_insert_with(|| Arc::new(Slot::new(code.clone()))).clone(),
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn all(&self) -> Vec<Arc<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// A place for a process. If all are taken, one that nobody calls makes room.
    async fn place(&self) -> Result<OwnedSemaphorePermit, Error> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Ok(place);
        }
        let _waiting = Waiting::new(&self.waiting);
        self.make_room();
        match tokio::time::timeout(PLACE_PATIENCE, self.places.clone().acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(Error::Full(self.settings.processes)),
        }
    }

    /// Ends the process that has been idle for longest, if one is.
    fn make_room(&self) {
        let idle = self.all().into_iter().filter_map(|slot| slot.process());
        let mut idle: Vec<_> = idle.filter_map(|process| Some((process.idle_since()?, process))).collect();
        idle.sort_unstable_by_key(|(since, _)| *since);
        for (_, process) in idle {
            if process.retire_idle(Duration::ZERO) {
                return;
            }
        }
    }

    fn name(&self, code: &Code) -> String {
        match code {
            Code::Bot(id) => format!("The bot {id}"),
            Code::Integration(id) => format!("The integration version {id}"),
        }
    }

    /// Runs the watch of a process.
    fn track(self: &Arc<Self>, watch: impl Future<Output = ()> + Send + 'static) {
        struct Running(Arc<Inner>);
        impl Drop for Running {
            fn drop(&mut self) {
                self.0.running.fetch_sub(1, Ordering::AcqRel);
                self.0.ended.notify_waiters();
            }
        }
        self.running.fetch_add(1, Ordering::AcqRel);
        self.started.fetch_add(1, Ordering::Relaxed);
        let running = Running(self.clone());
        tokio::spawn(async move {
            watch.await;
            drop(running);
        });
    }

    async fn all_ended(&self) {
        loop {
            let ended = self.ended.notified();
            if self.running.load(Ordering::Acquire) == 0 {
                return;
            }
            ended.await;
        }
    }
}

impl Hosting for Hosted {
    fn lease<'a>(&'a self, code: &'a Code) -> BoxFuture<'a, Result<Box<dyn Lease>, NotHosted>> {
        Box::pin(async move {
            let inner = &self.0;
            let process = inner.slot(code).enter(inner).await?;
            Ok(Box::new(Held { inner: inner.clone(), process }) as Box<dyn Lease>)
        })
    }
}

/// A call to a process.
struct Held {
    inner: Arc<Inner>,
    process: Arc<Process>,
}

impl Lease for Held {
    fn url(&self) -> &str {
        self.process.url()
    }

    fn headers(&self) -> HeaderMap {
        HeaderMap::from_iter([(KEY, self.process.key())])
    }

    fn end(self: Box<Self>, how: Ended) {
        match how {
            Ended::Answered => {}
            Ended::TimedOut => self.process.timed_out(),
            Ended::Broke => self.process.doubt(),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.process.leave(self.inner.waiting.load(Ordering::Acquire) > 0);
    }
}

/// Counts somebody who waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Waiting(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// So many random bytes as hexadecimal digits.
fn random_hex<const BYTES: usize>() -> std::io::Result<String> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A random number in 0..1, for what needn't be a secret.
fn random_unit() -> f64 {
    getrandom::u32().map_or(0.5, |number| f64::from(number) / (f64::from(u32::MAX) + 1.0))
}
