//! The embedded engine: one writer thread that groups waiting transactions into one durable
//! commit, readers on the calling thread, checkpoints on a thread of their own.
//!
//! A transaction that fails doesn't undo its neighbours: nearly all fail before they have written
//! anything, so a group runs without savepoints at first; when one fails later than that, the group
//! is rolled back and run again with a savepoint for each. Callers hear of success only after the
//! commit is synced to disk.
//!
//! The write-ahead log is copied into the database by the checkpoint thread. Under constant load
//! such a copy never catches up entirely, so the log can't start over; when it grows past a bound
//! the writer itself copies the short rest between two groups.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
        mpsc as std_mpsc,
    },
    thread::JoinHandle,
    time::Duration,
};

use duologue_model::{Timestamp, id::Generator};
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{mpsc, oneshot};

use crate::{
    Error, Result,
    live::{Live, Touches},
    migrate,
    sql::Dialect,
    tx::{Inner, Script, Tx, run_ready, settled},
};

/// Most transactions in one durable commit.
const GROUP: usize = 256;
/// Transactions that may wait before callers are made to wait for room.
const QUEUE: usize = 4096;
/// Pages in the log at which the checkpoint thread starts (4 KiB each).
const CHECKPOINT_PAGES: i32 = 8_000;
/// Pages in the log at which the writer makes it start over.
const RESTART_PAGES: i32 = 24_000;

/// An open database file.
pub(crate) struct Engine {
    path: PathBuf,
    queue: Mutex<Option<mpsc::Sender<Box<dyn Job>>>>,
    sender: mpsc::WeakSender<Box<dyn Job>>,
    readers: Mutex<Vec<Connection>>,
    clock: Arc<Clock>,
    ids: Arc<Generator>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Never goes back, whatever the system's clock does.
pub(crate) struct Clock(AtomicI64);

impl Clock {
    fn now(&self) -> Timestamp {
        let wall = system_millis();
        Timestamp::from_millis(self.0.fetch_max(wall, Ordering::AcqRel).max(wall))
    }

    /// The present instant; every later reading is greater.
    fn barrier(&self) -> Timestamp {
        let now = self.now();
        self.0.fetch_max(now.millis() + 1, Ordering::AcqRel);
        now
    }
}

/// The system's clock in milliseconds since the epoch.
pub(crate) fn system_millis() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

thread_local! {
    /// Pages in the log after this thread's latest commit.
    static LOG_PAGES: Cell<i32> = const { Cell::new(0) };
}

/// Work for the writer's thread.
trait Job: Send {
    /// Runs, perhaps for the second time; says whether to keep what it did.
    fn run(&mut self, conn: &mut Connection, clock: &Clock, ids: &Generator) -> bool;
    /// What the commit must wake, once.
    fn touches(&mut self) -> Touches;
    /// Answers the caller: with its own result, or with why the commit failed.
    fn finish(self: Box<Self>, failure: Option<String>);
}

struct ScriptJob<S: Script> {
    script: S,
    result: Option<Result<S::Out>>,
    touches: Touches,
    reply: oneshot::Sender<Result<S::Out>>,
}

impl<S: Script> Job for ScriptJob<S> {
    fn run(&mut self, conn: &mut Connection, clock: &Clock, ids: &Generator) -> bool {
        let mut tx = Tx::new(Inner::Sqlite(conn), clock.now(), ids);
        let result = catch_unwind(AssertUnwindSafe(|| run_ready(self.script.run(&mut tx))))
            .unwrap_or_else(|_| Err(Error::Database("a transaction script panicked; nothing was changed".into())));
        let keep = result.is_ok();
        if keep {
            self.touches = std::mem::take(&mut tx.touches);
        }
        self.result = Some(result);
        keep
    }

    fn touches(&mut self) -> Touches {
        std::mem::take(&mut self.touches)
    }

    fn finish(self: Box<Self>, failure: Option<String>) {
        // An error means that the caller has gone; its effect stands.
        let _ = self.reply.send(settled(self.result, failure));
    }
}

impl Engine {
    /// Opens the file, creating and migrating it as needed, and starts its threads.
    pub(crate) fn open(path: &Path, live: Arc<Live>, ids: Arc<Generator>) -> Result<Self> {
        let mut conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        migrate_file(&mut conn, path)?;
        conn.pragma_update(None, "cache_size", -16_000)?;
        conn.wal_hook(Some(|_: &mut rusqlite::hooks::Wal, pages| {
            LOG_PAGES.set(pages);
            Ok(())
        }))?;
        let clock = Arc::new(Clock(AtomicI64::new(0)));
        let (sender, queue) = mpsc::channel(QUEUE);
        let checkpoints = Checkpoints::default();
        let (nudge, nudged) = std_mpsc::sync_channel(1);
        let checkpointer = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new()
                .name(name.into())
                .spawn(work)
                .map_err(|e| Error::Setup(format!("can't start a thread: {e}")))
        };
        let writer = Writer {
            conn,
            queue,
            clock: clock.clone(),
            ids: ids.clone(),
            live,
            nudge,
            checkpoints: checkpoints.clone(),
        };
        let threads = vec![
            spawn("store-writer", Box::new(move || writer.run()))?,
            spawn("store-checkpoint", Box::new(move || checkpoints.run(&checkpointer, &nudged)))?,
        ];
        let weak = sender.downgrade();
        Ok(Engine {
            path: path.to_owned(),
            queue: Mutex::new(Some(sender)),
            sender: weak,
            readers: Mutex::new(Vec::new()),
            clock,
            ids,
            threads: Mutex::new(threads),
        })
    }

    /// Opens a file that another process may be writing, for reading only: writes answer
    /// [`Error::Closed`].
    pub(crate) fn open_reader(path: &Path, ids: Arc<Generator>) -> Result<Self> {
        if !path.exists() {
            return Err(Error::Setup(format!("there is no database at {}; is --data right?", path.display())));
        }
        let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
        migrate::check(version)?;
        if version < migrate::VERSION {
            return Err(Error::Setup(
                "the database is of an older release; start this release's server on it once".into(),
            ));
        }
        Ok(Engine {
            path: path.to_owned(),
            queue: Mutex::new(None),
            sender: mpsc::channel(1).0.downgrade(),
            readers: Mutex::new(Vec::new()),
            clock: Arc::new(Clock(AtomicI64::new(0))),
            ids,
            threads: Mutex::new(Vec::new()),
        })
    }

    /// Runs a script in the next group; answers after the group is durable.
    pub(crate) async fn write<S: Script>(&self, script: S) -> Result<S::Out> {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(ScriptJob { script, result: None, touches: Touches::default(), reply });
        let sender = self.sender.upgrade().ok_or(Error::Closed)?;
        sender.send(job).await.map_err(|_| Error::Closed)?;
        drop(sender);
        answer.await.unwrap_or(Err(Error::Closed))
    }

    /// Runs a reading script on this thread, on one snapshot.
    pub(crate) fn read<S: Script>(&self, script: &S) -> Result<S::Out> {
        let pooled = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut conn = match pooled {
            Some(conn) => conn,
            None => self.new_reader()?,
        };
        let now = self.clock.now();
        conn.prepare_cached("BEGIN")?.execute([])?;
        let result = run_ready(script.run(&mut Tx::new(Inner::Sqlite(&mut conn), now, &self.ids)));
        conn.prepare_cached("COMMIT")?.execute([])?;
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < 8 {
            readers.push(conn);
        }
        result
    }

    fn new_reader(&self) -> Result<Connection> {
        let conn = connect(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        conn.pragma_update(None, "query_only", true)?;
        Ok(conn)
    }

    /// An instant that every transaction so far precedes or equals, and every later one exceeds.
    pub(crate) async fn barrier(&self) -> Result<Timestamp> {
        struct Barrier(Arc<Clock>);
        impl Script for Barrier {
            type Out = Timestamp;
            async fn run(&self, _: &mut Tx<'_>) -> Result<Timestamp> {
                Ok(self.0.barrier())
            }
        }
        self.write(Barrier(self.clock.clone())).await
    }

    /// The present instant.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Lets what waits finish, checkpoints, and ends the threads.
    pub(crate) fn close(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        for thread in self.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // A thread that panicked has nothing left to wait for.
            let _ = thread.join();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.close();
    }
}

/// Opens a connection with this engine's settings.
pub(crate) fn connect(path: &Path, flags: OpenFlags) -> Result<Connection> {
    let conn = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(|e| Error::Setup(format!("can't open the database {}: {e}", path.display())))?;
    conn.busy_timeout(Duration::from_secs(5))?;
    // Otherwise SQLite prepares many a cached statement anew for each set of parameters.
    conn.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    conn.set_prepared_statement_cache_capacity(256);
    Ok(conn)
}

fn migrate_file(conn: &mut Connection, path: &Path) -> Result<()> {
    let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    migrate::check(version)?;
    if version == migrate::VERSION {
        return Ok(());
    }
    if version > 0 {
        let copy = path.with_extension(format!("before-v{}.db", migrate::VERSION));
        if copy.exists() {
            std::fs::remove_file(&copy).map_err(|e| Error::Setup(format!("can't replace {}: {e}", copy.display())))?;
        }
        conn.execute("VACUUM INTO ?1", [copy.to_string_lossy()])?;
        tracing::info!(copy = %copy.display(), "copied the database before migrating it");
    }
    let tx = conn.transaction()?;
    for (name, sql) in &migrate::MIGRATIONS[version as usize..] {
        tracing::debug!(migration = name, "migrating");
        tx.execute_batch(&Dialect::Sqlite.migration(sql))?;
    }
    tx.pragma_update(None, "user_version", migrate::VERSION)?;
    tx.commit()?;
    Ok(())
}

struct Writer {
    conn: Connection,
    queue: mpsc::Receiver<Box<dyn Job>>,
    clock: Arc<Clock>,
    ids: Arc<Generator>,
    live: Arc<Live>,
    nudge: std_mpsc::SyncSender<()>,
    checkpoints: Checkpoints,
}

impl Writer {
    fn run(mut self) {
        let mut group = Vec::with_capacity(GROUP);
        while let Some(first) = self.queue.blocking_recv() {
            let outcome = self.group(first, &mut group);
            let failure = outcome.err().map(|e| e.to_string());
            if let Some(reason) = &failure {
                tracing::error!(reason, "a group of transactions could not be committed");
            }
            let mut touches = Touches::default();
            for mut job in group.drain(..) {
                if failure.is_none() {
                    touches.merge(job.touches());
                }
                job.finish(failure.clone());
            }
            self.live.publish(touches);
            self.checkpoint();
        }
        let _ = self.conn.pragma_query(None, "wal_checkpoint(TRUNCATE)", |_| Ok(()));
    }

    /// One durable commit of all that waits, or none of it.
    fn group(&mut self, first: Box<dyn Job>, done: &mut Vec<Box<dyn Job>>) -> Result<()> {
        let result = self.all(first, done);
        if result.is_err() && !self.conn.is_autocommit() {
            // What fails here would fail the next group's BEGIN, which is reported.
            let _ = self.conn.execute_batch("ROLLBACK");
        }
        result
    }

    fn all(&mut self, first: Box<dyn Job>, done: &mut Vec<Box<dyn Job>>) -> Result<()> {
        let begun = self.conn.prepare_cached("BEGIN IMMEDIATE").and_then(|mut begin| begin.execute([]));
        let mut clean = true;
        let mut next = Some(first);
        while let Some(mut job) = next {
            // After a failure the rest only joins the group; all of it runs below.
            clean = clean && begun.is_ok() && !self.conn.is_autocommit() && self.bare(&mut job);
            done.push(job);
            next = if done.len() < GROUP { self.queue.try_recv().ok() } else { None };
        }
        begun?;
        if self.conn.is_autocommit() {
            return Err(Error::Database("the database ended the transaction by itself; is the disk full?".into()));
        }
        if !clean {
            self.conn.execute_batch("ROLLBACK; BEGIN IMMEDIATE")?;
            for job in done.iter_mut() {
                self.protected(job)?;
            }
        }
        self.conn.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }

    /// Runs a job without a savepoint; false if it failed after it had changed something.
    fn bare(&mut self, job: &mut Box<dyn Job>) -> bool {
        let before = self.conn.total_changes();
        job.run(&mut self.conn, &self.clock, &self.ids) || self.conn.total_changes() == before
    }

    fn protected(&mut self, job: &mut Box<dyn Job>) -> Result<()> {
        self.conn.prepare_cached("SAVEPOINT one")?.execute([])?;
        if !job.run(&mut self.conn, &self.clock, &self.ids) {
            self.conn.prepare_cached("ROLLBACK TO one")?.execute([])?;
        }
        self.conn.prepare_cached("RELEASE one")?.execute([])?;
        Ok(())
    }

    /// Keeps the log short without making commits wait for more than its tail.
    fn checkpoint(&self) {
        let pages = LOG_PAGES.get();
        if pages >= RESTART_PAGES && !self.checkpoints.running.load(Ordering::Acquire) {
            let _ = self.conn.busy_timeout(Duration::from_millis(20));
            // Readers that hold an old snapshot make this fail; the next group tries again.
            let restarted = self.conn.query_row("PRAGMA wal_checkpoint(RESTART)", [], |row| row.get::<_, i64>(0));
            let _ = self.conn.busy_timeout(Duration::from_secs(5));
            if matches!(restarted, Ok(0)) {
                LOG_PAGES.set(0);
            }
        } else if pages >= CHECKPOINT_PAGES {
            // Full means that the thread has been told already.
            let _ = self.nudge.try_send(());
        }
    }
}

/// Copies the log into the database beside the writer.
#[derive(Clone, Default)]
struct Checkpoints {
    running: Arc<AtomicBool>,
}

impl Checkpoints {
    fn run(&self, conn: &Connection, nudged: &std_mpsc::Receiver<()>) {
        while nudged.recv().is_ok() {
            self.running.store(true, Ordering::Release);
            if let Err(error) = conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get::<_, i64>(0)) {
                tracing::warn!(%error, "checkpoint failed; the next one tries again");
            }
            self.running.store(false, Ordering::Release);
            // The same pages would be copied again and again.
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
