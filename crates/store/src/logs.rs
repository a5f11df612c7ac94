//! Logs of bots and integrations (`spec/cloud/admin.md` § 5.4): what their code wrote, and what the platform
//! says about them.
//!
//! Whoever has a line calls [`Store::log`], which never waits. [`Store::keep_logs`] writes what has gathered,
//! many lines in one transaction, and the reports of problems that come with them. Lines are kept for [`KEEP`], and of each owner the latest [`KEEP_LINES`].

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use duologue_model::{Error as Refusal, Timestamp, admin::Role};
use serde::Serialize;
use tokio::sync::{mpsc, watch};

use crate::{
    Result, Store, bots,
    issues::{self, Report},
    page::{Page, PageRequest, Query},
    params,
    sql::{Param, Row},
    tx::{Script, Tx},
    workspaces::Actor,
};

/// How long lines are kept.
pub const KEEP: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How many lines of one owner are kept, roughly.
pub const KEEP_LINES: u64 = 50_000;
/// Bytes of a message; the rest is cut off.
const LONGEST: usize = 16 * 1024;
/// Lines that may wait to be written; further ones are lost, and counted.
const WAITING: usize = 8192;
/// Lines written in one transaction.
const BATCH: usize = 500;
/// How long lines gather.
const GATHER: Duration = Duration::from_millis(100);
/// After so many lines of one owner the oldest are removed if there are too many.
const TRIM_EVERY: u64 = 5000;

/// How serious a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// For developers.
    Debug,
    /// Ordinary.
    Info,
    /// Unusual.
    Warn,
    /// Wrong.
    Error,
}

impl Level {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        }
    }

    /// The level of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Level::Debug, Level::Info, Level::Warn, Level::Error].into_iter().find(|level| level.name() == name)
    }
}

/// Whose log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// A bot's.
    Bot(String),
    /// An integration version's.
    Integration(String),
}

impl Owner {
    /// The id.
    pub fn id(&self) -> &str {
        let (Owner::Bot(id) | Owner::Integration(id)) = self;
        id
    }
}

/// A line to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewLine {
    /// Whose log it goes to.
    pub owner: Owner,
    /// How serious it is.
    pub level: Level,
    /// The text.
    pub message: String,
    /// The user it is about.
    pub user_id: Option<String>,
    /// The conversation it is about.
    pub conversation_id: Option<String>,
    /// The workflow it is about.
    pub workflow_id: Option<String>,
    /// The integration version that says it. The line is kept only if that is installed in the bot.
    pub installed: Option<String>,
    /// The problem of the bot that it reports.
    pub report: Option<Box<Report>>,
}

impl NewLine {
    /// A line of the platform.
    pub fn new(owner: Owner, level: Level, message: impl Into<String>) -> Self {
        NewLine {
            owner,
            level,
            message: message.into(),
            user_id: None,
            conversation_id: None,
            workflow_id: None,
            installed: None,
            report: None,
        }
    }
}

/// A line that was kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// When it was written.
    pub timestamp: Timestamp,
    /// How serious it is.
    pub level: Level,
    /// The text.
    pub message: String,
    /// The workflow it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow_id: Option<String>,
    /// The user it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The conversation it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<String>,
    /// Its place in the order, with its instant.
    #[serde(skip)]
    pub id: String,
}

/// Lines on their way to the database.
pub(crate) struct Sink {
    lines: mpsc::Sender<NewLine>,
    kept: Mutex<Option<mpsc::Receiver<NewLine>>>,
    lost: AtomicU64,
}

impl Default for Sink {
    fn default() -> Self {
        let (lines, kept) = mpsc::channel(WAITING);
        Sink { lines, kept: Mutex::new(Some(kept)), lost: AtomicU64::new(0) }
    }
}

impl Store {
    /// Adds a line to a log, soon. Never waits: should lines come faster than the database takes them,
    /// some are lost, and their number is in the server's own log.
    pub fn log(&self, mut line: NewLine) {
        bound(&mut line.message);
        if let Some(report) = &mut line.report {
            report.bound();
        }
        if self.sink.lines.try_send(line).is_err() {
            self.sink.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes the lines that [`Store::log`] takes, until `stop` turns true; then what is left. To be run
    /// once.
    pub async fn keep_logs(&self, mut stop: watch::Receiver<bool>) {
        let taken = self.sink.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut lines) = taken else { return };
        let mut stamp = Stamp::new(self);
        let mut counts: HashMap<String, u64> = HashMap::new();
        let mut stopping = false;
        while !stopping {
            let mut batch = Vec::new();
            tokio::select! {
                first = lines.recv() => batch.extend(first.map(|line| stamp.put(self, line))),
                _ = stop.wait_for(|stop| *stop) => stopping = true,
            }
            let until = tokio::time::Instant::now() + if stopping { Duration::ZERO } else { GATHER };
            while batch.len() < BATCH {
                match tokio::time::timeout_at(until, lines.recv()).await {
                    Ok(Some(line)) => batch.push(stamp.put(self, line)),
                    _ => break,
                }
            }
            stopping &= batch.len() < BATCH;
            self.append(batch, &mut counts).await;
        }
    }

    async fn append(&self, batch: Vec<Stamped>, counts: &mut HashMap<String, u64>) {
        let lost = self.sink.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(lost, "lines of bots' logs were lost: they came faster than they can be stored");
        }
        if batch.is_empty() {
            return;
        }
        let mut trim = Vec::new();
        for line in &batch {
            let count = counts.entry(line.line.owner.id().to_owned()).or_default();
            *count += 1;
            if count.is_multiple_of(TRIM_EVERY) {
                trim.push(line.line.owner.id().to_owned());
            }
        }
        if counts.len() > 10_000 {
            counts.clear();
        }
        match self.write(Append { lines: batch, trim }).await {
            Ok(()) => self.live().logs.notify_waiters(),
            Err(error) => tracing::error!(%error, "lines of bots' logs could not be stored"),
        }
    }

    /// getBotLogs, getIntegrationLogs.
    pub async fn list_logs(&self, list: &List) -> Result<Page<Line>> {
        self.read(list).await
    }
}

/// Cuts a message to its bound. The databases take no NUL.
fn bound(message: &mut String) {
    if message.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
        let more = message.len() - end;
        message.truncate(end);
        message.push_str(&format!("… ({more} bytes more)"));
    }
    if message.contains('\0') {
        *message = message.replace('\0', "\u{fffd}");
    }
}

/// A line in its place.
struct Stamped {
    at: i64,
    id: String,
    line: NewLine,
}

/// Gives lines their place: instants never go back, so that nobody who follows a log misses one.
struct Stamp {
    last: i64,
    number: u64,
    process: String,
}

impl Stamp {
    fn new(store: &Store) -> Self {
        Stamp { last: 0, number: 0, process: crate::crypto::hex(&store.ids().bytes::<4>()) }
    }

    fn put(&mut self, store: &Store, line: NewLine) -> Stamped {
        self.last = self.last.max(store.now().millis());
        self.number += 1;
        Stamped { at: self.last, id: format!("{:012x}-{}", self.number, self.process), line }
    }
}

struct Append {
    lines: Vec<Stamped>,
    /// Owners who may have too many.
    trim: Vec<String>,
}

impl Script for Append {
    type Out = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let installed = self.installed(tx).await?;
        let mut params: Vec<Param<'_>> = Vec::with_capacity(self.lines.len() * 8);
        let mut reports = Vec::new();
        for Stamped { at, id, line } in &self.lines {
            if let Some(integration) = &line.installed
                && !installed.contains(&(line.owner.id().to_owned(), integration.clone()))
            {
                continue;
            }
            if let (Owner::Bot(bot), Some(report)) = (&line.owner, &line.report) {
                reports.push(issues::Placed { bot, at: *at, report });
            }
            params.extend([
                Param::from(line.owner.id()),
                Param::from(*at),
                Param::from(id),
                Param::from(line.level.name()),
                Param::from(&line.message),
                Param::from(line.user_id.as_ref()),
                Param::from(line.conversation_id.as_ref()),
                Param::from(line.workflow_id.as_ref()),
            ]);
        }
        let head = "INSERT INTO logs (owner, at, id, level, message, user_id, conversation_id, workflow_id)";
        tx.insert_many(head, 8, &params, "").await?;
        issues::record(tx, reports).await?;
        for owner in &self.trim {
            let sql = format!(
                "DELETE FROM logs WHERE owner = ?1 AND at < (SELECT at FROM logs WHERE owner = ?1 ORDER BY at DESC LIMIT 1 OFFSET {KEEP_LINES})"
            );
            tx.execute(&sql, params![owner]).await?;
        }
        Ok(())
    }
}

impl Append {
    /// Which of the integrations that write into bots' logs are installed there.
    async fn installed(&self, tx: &mut Tx<'_>) -> Result<BTreeSet<(String, String)>> {
        let wanted: BTreeSet<(&str, &str)> = self
            .lines
            .iter()
            .filter_map(|Stamped { line, .. }| Some((line.owner.id(), line.installed.as_deref()?)))
            .collect();
        let mut found = BTreeSet::new();
        for chunk in wanted.into_iter().collect::<Vec<_>>().chunks(100) {
            let mut query = Query::new("SELECT bot_id, integration_id FROM instances WHERE 1 = 0");
            for (bot, integration) in chunk {
                let (bot, integration) = (query.bind(*bot), query.bind(*integration));
                query.text.push_str(&format!(" OR (bot_id = {bot} AND integration_id = {integration})"));
            }
            for mut row in query.run(tx).await? {
                found.insert((row.text()?, row.text()?));
            }
        }
        Ok(found)
    }
}

/// getBotLogs, getIntegrationLogs: oldest first.
#[derive(Clone, Debug)]
pub struct List {
    /// Who asks, about which workspace.
    pub actor: Actor,
    /// Whose log.
    pub owner: Owner,
    /// Not before.
    pub from: Timestamp,
    /// Not after.
    pub to: Option<Timestamp>,
    /// Of exactly this level.
    pub level: Option<Level>,
    /// About this user.
    pub user_id: Option<String>,
    /// About this conversation.
    pub conversation_id: Option<String>,
    /// About this workflow.
    pub workflow_id: Option<String>,
    /// With this in the text; of ASCII letters the case doesn't matter.
    pub contains: Option<String>,
    /// Which page.
    pub page: PageRequest,
}

impl Script for List {
    type Out = Page<Line>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Page<Line>> {
        let inside = self.actor.enter(tx, Role::Viewer).await?;
        let id = self.owner.id();
        match self.owner {
            Owner::Bot(_) => bots::require(tx, &inside, id).await?,
            Owner::Integration(_) => {
                let sql = "SELECT id FROM integrations WHERE id = ?1 AND workspace_id = ?2";
                let found = tx.query_opt(sql, params![id, &inside.workspace]).await?;
                found.ok_or_else(|| Refusal::not_found("integration", id))?;
            }
        }
        let mut query = Query::new(
            "SELECT e.at, e.id, e.level, e.message, e.user_id, e.conversation_id, e.workflow_id FROM logs e WHERE 1 = 1",
        );
        query.and("e.owner =", id);
        query.and("e.at >=", self.from);
        if let Some(to) = self.to {
            query.and("e.at <=", to);
        }
        if let Some(level) = self.level {
            query.and("e.level =", level.name());
        }
        let links = [
            ("e.user_id =", &self.user_id),
            ("e.conversation_id =", &self.conversation_id),
            ("e.workflow_id =", &self.workflow_id),
        ];
        for (column, wanted) in links {
            if let Some(wanted) = wanted {
                query.and(column, wanted);
            }
        }
        if let Some(text) = &self.contains {
            let pattern = format!("%{}%", escaped(&text.to_ascii_lowercase()));
            let pattern = query.bind(pattern);
            query.text.push_str(&format!(" AND LOWER(e.message) LIKE {pattern} ESCAPE '\\'"));
        }
        query.after(self.page.after.as_ref(), "e.at", "e.id", true);
        query.order("e.at", "e.id", true, self.page.size.get() + 1);
        let rows = query.run(tx).await?;
        read(rows, self.page.size.get())
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

/// The page; its cursor is made of the last line.
fn read(mut rows: Vec<Row>, size: usize) -> Result<Page<Line>> {
    let more = rows.len() > size;
    rows.truncate(size);
    let items = rows.iter_mut().map(line).collect::<Result<Vec<_>>>()?;
    let next = items.last().filter(|_| more).map(Line::cursor);
    Ok(Page { items, next })
}

fn line(row: &mut Row) -> Result<Line> {
    Ok(Line {
        timestamp: row.at()?,
        id: row.text()?,
        level: row.word(Level::from_name)?,
        message: row.text()?,
        user_id: row.opt_text()?,
        conversation_id: row.opt_text()?,
        workflow_id: row.opt_text()?,
    })
}

impl Line {
    /// Where a page that comes after it begins.
    pub fn cursor(&self) -> crate::page::Cursor {
        crate::page::Cursor { pos: self.timestamp.millis(), id: self.id.clone(), snapshot: None }
    }
}

/// Removes what was kept long enough, a bounded number at a time.
pub(crate) async fn tidy(tx: &mut Tx<'_>) -> Result<u64> {
    let until = tx.now().millis() - KEEP.as_millis() as i64;
    let sql = "DELETE FROM logs WHERE (owner, at, id) IN (SELECT owner, at, id FROM logs WHERE at <= ?1 LIMIT 1000)";
    tx.execute(sql, params![until]).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_bounded_at_a_character() {
        let mut message = "ä".repeat(LONGEST);
        bound(&mut message);
        assert!(message.starts_with("ää") && message.ends_with("ä… (16384 bytes more)"));
        let mut message = "a\0b".to_owned();
        bound(&mut message);
        assert_eq!(message, "a\u{fffd}b");
    }
}
