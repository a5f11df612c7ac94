//! What was sent to a subscription and what came of it, for people; and sending it again.

use duologue_model::{Error as Refusal, Json, Timestamp, admin::Role};
use serde::Serialize;

use super::manage::{self, Path};
use crate::{
    Result, Store,
    page::{Page, PageRequest, Query},
    params,
    sql::Row,
    tx::{Script, Tx},
};

/// How long what was sent is kept: 14 days, in milliseconds.
pub const KEEP_MILLIS: i64 = 14 * 24 * 60 * 60 * 1000;
/// How much later than its time something still waits for a subscription to be enabled again, when it is
/// as old as that: 2 days, in milliseconds.
const STALE_MILLIS: i64 = 2 * 24 * 60 * 60 * 1000;
/// Rows that one transaction sends again.
const BATCH: i64 = 500;

/// Where something is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// To be sent, or to be sent again.
    Waiting,
    /// Taken.
    Delivered,
    /// Given up.
    Failed,
    /// Not sent: the user of the Converse API had it otherwise already.
    Superseded,
}

impl Status {
    /// The word on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Status::Waiting => "waiting",
            Status::Delivered => "delivered",
            Status::Failed => "failed",
            Status::Superseded => "superseded",
        }
    }

    /// From the word.
    pub fn from_name(name: &str) -> Option<Self> {
        [Status::Waiting, Status::Delivered, Status::Failed, Status::Superseded]
            .into_iter()
            .find(|status| status.name() == name)
    }
}

/// What was or is to be sent.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// `webhook-id`.
    pub id: String,
    /// Its type.
    pub r#type: String,
    /// Where it is on its way.
    pub status: Status,
    /// How often it was sent.
    pub attempts: i64,
    /// When it is sent next, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<Timestamp>,
    /// The conversation that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<String>,
    /// When it happened.
    pub created_at: Timestamp,
    /// What is sent; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Json>,
}

const COLUMNS: &str = "m.id, m.type, m.status, m.attempts, m.due_at, m.conversation_id, m.created_at";

/// Reads [`COLUMNS`].
fn stored(row: &mut Row) -> Result<Message> {
    Ok(Message {
        id: row.text()?,
        r#type: row.text()?,
        status: row.word(Status::from_name)?,
        attempts: row.int()?,
        next_attempt_at: row.opt_at()?,
        conversation_id: row.opt_text()?,
        created_at: row.at()?,
        payload: None,
    })
}

/// One request.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// What was sent.
    pub message_id: String,
    /// Its number, from 1.
    pub attempt: i64,
    /// When it began.
    pub at: Timestamp,
    /// How long it took, in milliseconds.
    pub duration_ms: i64,
    /// The status of the answer, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<i64>,
    /// Why it counts as failed, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The beginning of the answer's body.
    pub response: String,
}

const ATTEMPT_COLUMNS: &str = "a.message_id, a.attempt, a.at, a.duration_ms, a.status, a.error, a.response";

/// Reads [`ATTEMPT_COLUMNS`].
fn attempt(row: &mut Row) -> Result<Attempt> {
    Ok(Attempt {
        message_id: row.text()?,
        attempt: row.int()?,
        at: row.at()?,
        duration_ms: row.int()?,
        status: row.opt_int()?,
        error: row.opt_text()?,
        response: row.text()?,
    })
}

struct Messages {
    path: Path,
    status: Option<Status>,
    page: PageRequest,
}

impl Script for Messages {
    type Out = Page<Message>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Page<Message>> {
        manage::named(tx, &self.path, Role::Viewer).await?;
        let mut query =
            Query::new(&format!("SELECT m.created_at, m.id, {COLUMNS} FROM webhook_messages m WHERE 1 = 1"));
        query.and("m.subscription_id =", &self.path.id);
        if let Some(status) = self.status {
            query.and("m.status =", status.name());
        }
        query.after(self.page.after.as_ref(), "m.created_at", "m.id", false);
        query.order("m.created_at", "m.id", false, self.page.size.get() + 1);
        crate::page::page(query.run(tx).await?, self.page.size, stored)
    }
}

struct Get {
    path: Path,
    id: String,
}

impl Script for Get {
    type Out = (Message, Vec<Attempt>);
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Out> {
        manage::named(tx, &self.path, Role::Viewer).await?;
        let sql =
            format!("SELECT {COLUMNS}, m.body FROM webhook_messages m WHERE m.id = ?1 AND m.subscription_id = ?2");
        let row = tx.query_opt(&sql, params![&self.id, &self.path.id]).await?;
        let mut row = row.ok_or_else(|| missing(&self.id))?;
        let message = Message { payload: None, ..stored(&mut row)? };
        let message = Message { payload: Some(row.json()?), ..message };
        let sql = format!(
            "SELECT {ATTEMPT_COLUMNS} FROM webhook_attempts a WHERE a.message_id = ?1 ORDER BY a.at, a.attempt"
        );
        let rows = tx.query(&sql, params![&self.id]).await?;
        let attempts = rows.into_iter().map(|mut row| attempt(&mut row)).collect::<Result<_>>()?;
        Ok((message, attempts))
    }
}

fn missing(id: &str) -> Refusal {
    Refusal::not_found("webhook message", id)
}

struct Attempts {
    path: Path,
    page: PageRequest,
}

impl Script for Attempts {
    type Out = Page<Attempt>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Page<Attempt>> {
        manage::named(tx, &self.path, Role::Viewer).await?;
        let mut query =
            Query::new(&format!("SELECT a.at, a.message_id, {ATTEMPT_COLUMNS} FROM webhook_attempts a WHERE 1 = 1"));
        query.and("a.subscription_id =", &self.path.id);
        query.after(self.page.after.as_ref(), "a.at", "a.message_id", false);
        query.order("a.at", "a.message_id", false, self.page.size.get() + 1);
        crate::page::page(query.run(tx).await?, self.page.size, attempt)
    }
}

/// What makes a row wait from the start of the schedule. One that is being sent now is left alone.
const AGAIN: &str =
    "UPDATE webhook_messages SET status = 'waiting', due_at = ?2, tries = 0, replays = replays + 1 WHERE claimed = 0";

struct ReplayOne {
    path: Path,
    id: String,
}

impl Script for ReplayOne {
    type Out = Message;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Message> {
        manage::named(tx, &self.path, Role::Developer).await?;
        let sql = format!("{AGAIN} AND id = ?1 AND subscription_id = ?3");
        tx.execute(&sql, params![&self.id, tx.now(), &self.path.id]).await?;
        let sql = format!("SELECT {COLUMNS} FROM webhook_messages m WHERE m.id = ?1 AND m.subscription_id = ?2");
        let row = tx.query_opt(&sql, params![&self.id, &self.path.id]).await?;
        let message = stored(&mut row.ok_or_else(|| missing(&self.id))?)?;
        tx.touches().webhook(&self.path.id);
        Ok(message)
    }
}

/// A batch of what was made since an instant, after a position; answers how many, and the last.
struct ReplayBatch {
    path: Path,
    since: Timestamp,
    all: bool,
    after: Option<(Timestamp, String)>,
}

impl Script for ReplayBatch {
    type Out = (u64, Option<(Timestamp, String)>);
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Out> {
        manage::named(tx, &self.path, Role::Developer).await?;
        let mut query =
            Query::new("SELECT m.created_at, m.id FROM webhook_messages m WHERE m.claimed = 0 AND m.due_at IS NULL");
        query.and("m.subscription_id =", &self.path.id);
        query.and("m.created_at >=", self.since);
        if !self.all {
            query.and("m.status =", Status::Failed.name());
        }
        if let Some((at, id)) = &self.after {
            let (at, id) = (query.bind(*at), query.bind(id));
            query.text.push_str(&format!(" AND (m.created_at, m.id) > ({at}, {id})"));
        }
        query.order("m.created_at", "m.id", true, BATCH as usize);
        let (mut last, mut count) = (None, 0);
        for mut row in query.run(tx).await? {
            let (at, id) = (row.at()?, row.text()?);
            count += tx.execute(&format!("{AGAIN} AND id = ?1"), params![&id, tx.now()]).await?;
            last = Some((at, id));
        }
        tx.touches().webhook(&self.path.id);
        Ok((count, last))
    }
}

/// Removes what was kept long enough; answers how many rows, a bounded number at a time.
pub(crate) async fn tidy(tx: &mut Tx<'_>) -> Result<u64> {
    let now = tx.now().millis();
    let rows = tx
        .query(
            "SELECT id FROM webhook_messages WHERE created_at <= ?1 AND (due_at IS NULL OR due_at <= ?2) ORDER BY created_at LIMIT 500",
            params![now - KEEP_MILLIS, now - STALE_MILLIS],
        )
        .await?;
    let mut gone = 0;
    for mut row in rows {
        let id = row.text()?;
        gone += tx.execute("DELETE FROM webhook_attempts WHERE message_id = ?1", params![&id]).await?;
        gone += tx.execute("DELETE FROM webhook_messages WHERE id = ?1", params![&id]).await?;
    }
    Ok(gone)
}

impl Store {
    /// What was and is to be sent to a subscription, newest first.
    pub async fn list_webhook_messages(
        &self,
        path: Path,
        status: Option<Status>,
        page: PageRequest,
    ) -> Result<Page<Message>> {
        self.read(&Messages { path, status, page }).await
    }

    /// One of them, with what is sent and every attempt, oldest first.
    pub async fn get_webhook_message(&self, path: Path, id: String) -> Result<(Message, Vec<Attempt>)> {
        self.read(&Get { path, id }).await
    }

    /// The attempts to reach a subscription, newest first.
    pub async fn list_webhook_attempts(&self, path: Path, page: PageRequest) -> Result<Page<Attempt>> {
        self.read(&Attempts { path, page }).await
    }

    /// Sends something again, under the same id and from the start of the schedule.
    pub async fn replay_webhook_message(&self, path: Path, id: String) -> Result<Message> {
        self.write(ReplayOne { path, id }).await
    }

    /// Sends again what was made since an instant and failed, or, with `all`, everything that isn't waiting
    /// anyway; answers how many.
    pub async fn replay_webhook(&self, path: Path, since: Timestamp, all: bool) -> Result<u64> {
        let (mut total, mut after) = (0, None);
        loop {
            let batch = ReplayBatch { path: path.clone(), since, all, after };
            let (count, last) = self.write(batch).await?;
            total += count;
            match last {
                None => return Ok(total),
                last => after = last,
            }
        }
    }
}
