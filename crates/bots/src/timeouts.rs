//! Ends the waiting of dialogs whose user stays away (`spec/v12/flows.md` § 9). The instants are in the
//! store, so they hold over restarts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use duologue_model::Timestamp;
use tokio::sync::{Notify, watch};

use crate::{Core, lanes};

/// How long to wait at most before looking again: another process may have died with its timers.
const LONGEST: Duration = Duration::from_secs(30);
/// How long to wait for the turns of what was due, or after an error.
const SOON: Duration = Duration::from_secs(1);
/// How many conversations are seen to at once.
const BATCH: usize = 500;

/// When the timer looks next.
pub(crate) struct Alarm {
    next: AtomicI64,
    sooner: Notify,
}

impl Default for Alarm {
    fn default() -> Self {
        Alarm { next: AtomicI64::new(i64::MAX), sooner: Notify::new() }
    }
}

impl Alarm {
    /// Notes that a dialog, as it is stored now, waits until then.
    pub(crate) fn at_latest(&self, end: Timestamp) {
        if end.millis() < self.next.load(Ordering::Acquire) {
            self.sooner.notify_one();
        }
    }
}

pub(crate) async fn timeouts(core: &Arc<Core>, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        // Until it is known when to look next, everything is sooner.
        core.alarm.next.store(i64::MAX, Ordering::Release);
        let wait = round(core).await.unwrap_or_else(|error| {
            tracing::error!(%error, "timeouts of conversations can't be read; trying again");
            SOON
        });
        let next = core.store.now().plus_millis(wait.as_millis() as i64);
        core.alarm.next.store(next.millis(), Ordering::Release);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = core.alarm.sooner.notified() => {}
            _ = stop.changed() => {}
        }
    }
}

/// Sees to what is due and says how long to wait then.
async fn round(core: &Arc<Core>) -> duologue_store::Result<Duration> {
    let looked = core.store.look_at_v12_timeouts(BATCH).await?;
    let installed = core.installed();
    let wait = match looked.again {
        _ if !looked.due.is_empty() => SOON,
        Some(at) => Duration::from_millis((at.millis() - core.store.now().millis()).max(1) as u64).min(LONGEST),
        None => LONGEST,
    };
    for due in looked.due {
        match installed.bot(due.bot.as_str()) {
            Some(bot) => lanes::post_timeout(core, &due.user, bot),
            None => core.store.drop_v12_timeout(due).await?,
        }
    }
    Ok(wait)
}
