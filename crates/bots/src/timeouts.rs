//! Ends the waiting of dialogs whose user stays away (`spec/v12/flows.md` § 9). The instants are in the
//! store, so they hold over restarts.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::{Core, lanes};

/// How often is looked.
const EVERY: Duration = Duration::from_secs(1);
/// How many conversations are seen to at once.
const BATCH: i64 = 500;

pub(crate) async fn timeouts(core: &Arc<Core>, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        if let Err(error) = round(core).await {
            tracing::error!(%error, "timeouts of conversations can't be read; trying again");
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = stop.changed() => {}
        }
    }
}

async fn round(core: &Arc<Core>) -> duologue_store::Result<()> {
    let due = core.store.due_v12_timeouts(BATCH).await?;
    let installed = core.installed();
    for due in due {
        match installed.bot(due.bot.as_str()) {
            Some(bot) => lanes::post_timeout(core, &due.user, bot),
            None => core.store.drop_v12_timeout(due).await?,
        }
    }
    Ok(())
}
