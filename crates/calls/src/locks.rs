//! One change of a bot at a time, while code is called for it: `updateBot` and whatever else tells code
//! of instances (`spec/cloud/admin.md` § 5.2).
//!
//! Within the process a mutex a bot. Where processes share a database, a row that its holder renews too:
//! the lock of a process that ends is free after [`LEASE`].

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use duologue_model::{Error as Refusal, ErrorKind, id::BotId};
use duologue_store::Store;
use tokio::{
    sync::{Mutex as AsyncMutex, OwnedMutexGuard},
    task::JoinHandle,
    time::Instant,
};

use crate::{Calls, Result};

/// How long somebody waits for a lock.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long another process's lock outlives it.
const LEASE: Duration = Duration::from_secs(30);
/// How often a lock is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// The first and the longest pause between looks at another process's lock.
const LOOKS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// The locks of this process.
#[derive(Default)]
pub(crate) struct Locks(Mutex<HashMap<BotId, Weak<AsyncMutex<()>>>>);

impl Locks {
    fn of(&self, bot: &BotId) -> Arc<AsyncMutex<()>> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = locks.get(bot).and_then(Weak::upgrade) {
            return lock;
        }
        // As good a moment as any to forget those that nobody holds.
        locks.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(AsyncMutex::new(()));
        locks.insert(bot.clone(), Arc::downgrade(&lock));
        lock
    }
}

/// A lock that is held until this is dropped.
pub(crate) struct Held {
    _guard: OwnedMutexGuard<()>,
    _row: Option<Row>,
}

/// A lock's row, renewed until this is dropped.
struct Row {
    store: Arc<Store>,
    bot: BotId,
    holder: String,
    renewal: JoinHandle<()>,
}

impl Drop for Row {
    fn drop(&mut self) {
        self.renewal.abort();
        let (store, bot, holder) = (self.store.clone(), self.bot.clone(), std::mem::take(&mut self.holder));
        tokio::spawn(async move {
            if let Err(error) = store.unlock_bot(bot, holder).await {
                tracing::warn!(%error, "the lock of a bot could not be given back; it ends by itself");
            }
        });
    }
}

fn locked() -> Refusal {
    let text = "Another change of this bot is going on. Try again when it has ended.";
    Refusal::new(ErrorKind::ResourceLockedConflict, text)
}

impl Calls {
    /// Waits for the lock of a bot, a minute at most.
    pub(crate) async fn lock(&self, bot: &BotId) -> Result<Held> {
        let deadline = Instant::now() + PATIENCE;
        let guard = tokio::time::timeout_at(deadline, self.locks.of(bot).lock_owned()).await.map_err(|_| locked())?;
        let row = if self.store.is_shared() { Some(self.lock_row(bot, deadline).await?) } else { None };
        Ok(Held { _guard: guard, _row: row })
    }

    async fn lock_row(&self, bot: &BotId, deadline: Instant) -> Result<Row> {
        let holder = self.store.ids().uuid();
        let lease = LEASE.as_millis() as i64;
        let mut pause = LOOKS.0;
        while !self.store.try_lock_bot(bot.clone(), holder.clone(), lease).await? {
            if Instant::now() + pause > deadline {
                return Err(locked().into());
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOKS.1);
        }
        let (store, renewed, mine) = (self.store.clone(), bot.clone(), holder.clone());
        let renewal = tokio::spawn(async move {
            loop {
                tokio::time::sleep(RENEW_EVERY).await;
                if let Err(error) = store.try_lock_bot(renewed.clone(), mine.clone(), lease).await {
                    tracing::warn!(%error, "the lock of a bot could not be renewed");
                }
            }
        });
        Ok(Row { store: self.store.clone(), bot: bot.clone(), holder, renewal })
    }
}
