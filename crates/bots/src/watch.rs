//! Notices changes of the data folder and swaps what is served.
//!
//! Times and sizes of files are compared every second; nothing is read until something differs, and
//! nothing is swapped while a file is still being written, as far as can be seen.

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

use crate::{Core, Error, Installed, install};

/// How often is looked.
const EVERY: Duration = Duration::from_secs(1);
/// How much longer than looking the pause after it is at least: a folder of very many bots takes its time.
const SHARE: u32 = 20;
/// Folders in which changes don't matter.
const PASSED_OVER: &[&str] = &["media", "models", "storage", "node_modules", "logs", "cache"];

/// One file: a hash of its path, when it was written, and its size.
type Mark = (u64, SystemTime, u64);

pub(crate) async fn watch(core: &Arc<Core>, mut stop: watch::Receiver<bool>) {
    let mut known = marks(core).await;
    let mut seen = known.clone();
    let mut pause = EVERY;
    while !*stop.borrow() {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop.changed() => return,
        }
        let started = Instant::now();
        let now = marks(core).await;
        pause = EVERY.max(started.elapsed() * SHARE);
        let is_quiet = now == seen;
        seen = now;
        if !is_quiet || seen == known {
            continue;
        }
        known.clone_from(&seen);
        match reload(core).await {
            Ok(()) => tracing::info!("the bots were read again"),
            Err(error) => tracing::error!(%error, "the bots can't be read; what was good keeps being served"),
        }
    }
}

async fn reload(core: &Arc<Core>) -> Result<(), Error> {
    let (found, _) = install::read(&core.options).await?;
    if found.report.broken().any(|entry| entry.bot.is_none() && entry.path == "botpress.config.json") {
        return Err(Error::Invalid("global/botpress.config.json is broken".to_owned()));
    }
    let secret = core.store.v12_secret().await?;
    let before = core.installed();
    let options = core.options.clone();
    let built = tokio::task::spawn_blocking(move || Installed::build(found, &options, &secret, Some(&before)));
    let built = built.await.map_err(|failed| Error::Invalid(format!("the bots can't be checked: {failed}")))?;
    let before = core.installed();
    core.swap(built);
    core.mount().await?;
    core.changed(&before).await;
    Ok(())
}

async fn marks(core: &Arc<Core>) -> Vec<Mark> {
    let folder = core.options.folder.clone();
    let marks = tokio::task::spawn_blocking(move || {
        let mut marks = Vec::new();
        walk(&folder, 0, &mut marks);
        marks.sort_unstable();
        marks
    });
    marks.await.unwrap_or_default()
}

/// How deep folders are looked into; the reader's own bounds are elsewhere.
const DEEPEST: usize = 16;

fn walk(folder: &Path, depth: usize, marks: &mut Vec<Mark>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        let name = entry.file_name();
        if kind.is_dir() {
            if depth < DEEPEST && !PASSED_OVER.iter().any(|passed| name == *passed) {
                walk(&entry.path(), depth + 1, marks);
            }
        } else if let Ok(data) = entry.metadata() {
            use std::hash::{DefaultHasher, Hash, Hasher};
            let mut hasher = DefaultHasher::new();
            entry.path().hash(&mut hasher);
            marks.push((hasher.finish(), data.modified().unwrap_or(SystemTime::UNIX_EPOCH), data.len()));
        }
    }
}
