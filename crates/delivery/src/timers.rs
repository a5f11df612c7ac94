//! The timers: they settle what becomes due, when it is due, and remove rows that were kept long enough.

use std::{sync::Arc, time::Duration};

use duologue_store::Store;
use tokio::sync::watch;

/// The longest sleep: another process on the same database may have scheduled something sooner.
const LONGEST: Duration = Duration::from_secs(5);
/// The pause after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// How often rows that were kept long enough are removed.
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// Settles what is due, when it is due, until `stop` turns true.
///
/// `keep_attempts`: how long attempts of deliveries are kept.
pub async fn timers(store: Arc<Store>, keep_attempts: Duration, mut stop: watch::Receiver<bool>) {
    if let Err(error) = store.adopt_recurring_events().await {
        tracing::error!(%error, "recurring events of before can't be taken over");
    }
    let mut tidied = tokio::time::Instant::now();
    while !*stop.borrow() {
        let pause = match round(&store).await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::error!(%error, "the timers failed; trying again");
                AFTER_FAILURE
            }
        };
        if tidied.elapsed() >= TIDY_EVERY {
            tidied = tokio::time::Instant::now();
            if let Err(error) = tidy(&store, keep_attempts).await {
                tracing::error!(%error, "old rows could not be removed; trying again later");
            }
        }
        if pause.is_zero() {
            // Let requests have their turn between two batches.
            tokio::task::yield_now().await;
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = store.live().timers.notified() => {}
            _ = stop.changed() => {}
        }
    }
}

async fn tidy(store: &Store, keep_attempts: Duration) -> duologue_store::Result<()> {
    store.tidy().await?;
    let millis = i64::try_from(keep_attempts.as_millis()).unwrap_or(i64::MAX);
    // A bounded number at a time, until a minute's worth is gone.
    for _ in 0..50 {
        if store.tidy_deliveries(millis).await? == 0 {
            break;
        }
    }
    Ok(())
}

/// Settles a batch; answers how long to sleep.
async fn round(store: &Store) -> duologue_store::Result<Duration> {
    // From here to the end of this round everything that becomes due wakes the next one.
    store.live().sleeping_until(duologue_model::Timestamp::MAX);
    let due = match store.next_due().await? {
        Some(due) if due <= store.now() => {
            let (settled, more) = store.settle_due().await?;
            if settled.total() > 0 {
                tracing::debug!(?settled, "settled what was due");
            }
            // Nothing settled although something is due: another process holds it.
            return Ok(if more || settled.total() > 0 { Duration::ZERO } else { Duration::from_millis(20) });
        }
        due => due,
    };
    let longest = store.now().plus_millis(LONGEST.as_millis() as i64);
    let wake = due.map_or(longest, |due| due.min(longest));
    store.live().sleeping_until(wake);
    Ok(Duration::from_millis(u64::try_from(wake.millis() - store.now().millis()).unwrap_or(0).max(1)))
}
