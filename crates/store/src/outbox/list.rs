//! Deliveries for people: what waits, what was done, what was given up; and doing it again. Our own
//! operations, beside the dialect's.

use std::collections::BTreeMap;

use duologue_model::{Error as Refusal, Timestamp, admin::Role, id::BotId};
use serde::Serialize;

use super::Kind;
use crate::{
    Result, Store, bots,
    page::{Page, PageRequest, Query},
    params,
    sql::Row,
    tx::{Script, Tx},
    workspaces::Actor,
};

/// Where a delivery is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Waits for its first or next attempt.
    Pending,
    /// Was answered.
    Processed,
    /// Nobody could be called.
    Ignored,
    /// Was given up: a dead letter.
    Failed,
}

impl Status {
    /// From the word.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "pending" => Status::Pending,
            "processed" => Status::Processed,
            "ignored" => Status::Ignored,
            "failed" => Status::Failed,
            _ => return None,
        })
    }
}

/// A delivery as our API shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// Of the event, or of the message for an integration.
    pub id: String,
    /// The alias of the integration; `null` for the bot.
    pub integration: Option<String>,
    /// What is delivered.
    pub kind: &'static str,
    /// The conversation whose order it keeps, or its own id.
    pub lane: String,
    /// Where it is in its life.
    pub status: Status,
    /// How often it was tried.
    pub attempts: i64,
    /// When what it is about happened.
    pub created_at: Timestamp,
    /// When it is tried next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<Timestamp>,
    /// Why it was given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was given up, or answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

/// One call that was made.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Counted from 1; from 1 again after a replay.
    pub attempt: i64,
    /// When it began.
    pub at: Timestamp,
    /// How long it took.
    pub duration_ms: i64,
    /// Of the answer; `null` if there was none.
    pub status: Option<i64>,
    /// `processed`, `ignored`, `retry` or `failed`.
    pub outcome: String,
    /// The beginning of the answer, or why there was none.
    pub response: String,
}

/// A delivery with its attempts, oldest first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspected {
    /// As in the list.
    #[serde(flatten)]
    pub delivery: Delivery,
    /// What was tried, as long as it is kept.
    #[serde(rename = "attemptList")]
    pub tried: Vec<Attempt>,
}

const WAITING: &str = "SELECT o.at, o.id, o.target, o.kind, o.lane, o.at, o.attempts, o.due_at, NULL, NULL, 'pending' FROM outbox o WHERE o.bot_id = ";
const DEAD: &str = "SELECT d.at, d.id, d.target, d.kind, d.lane, d.at, d.attempts, NULL, d.reason, d.failed_at, 'failed' FROM dead_letters d WHERE d.bot_id = ";
const ENDED: &str = "SELECT a.created_at, a.id, a.target, a.kind, a.lane, a.created_at, a.attempt, NULL, NULL, a.at, a.outcome FROM delivery_attempts a WHERE a.bot_id = ";

/// Reads what follows the position in [`WAITING`] and the others.
fn delivery(id: String, row: &mut Row) -> Result<Delivery> {
    let (target, kind, lane) = (row.text()?, row.word(Kind::from_name)?, row.text()?);
    let (created_at, attempts) = (row.at()?, row.int()?);
    let (next_attempt_at, reason, ended_at) = (row.opt_at()?, row.opt_text()?, row.opt_at()?);
    Ok(Delivery {
        id,
        integration: (!target.is_empty()).then_some(target),
        kind: kind.name(),
        lane,
        attempts,
        created_at,
        next_attempt_at,
        reason,
        ended_at,
        status: row.word(Status::from_name)?,
    })
}

/// listDeliveries, newest first.
#[derive(Clone, Debug)]
pub struct List {
    /// Who asks, about which workspace.
    pub actor: Actor,
    /// The bot.
    pub bot: String,
    /// Only these.
    pub status: Option<Status>,
    /// Which page.
    pub page: PageRequest,
}

impl Script for List {
    type Out = Page<Delivery>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Page<Delivery>> {
        let inside = self.actor.enter(tx, Role::Viewer).await?;
        bots::require(tx, &inside, &self.bot).await?;
        // Of one delivery what it is now counts: a replayed one waits again.
        let mut found: BTreeMap<String, Delivery> = BTreeMap::new();
        let ended = |status| matches!(status, None | Some(Status::Processed | Status::Ignored));
        if ended(self.status) {
            let outcomes = match self.status {
                Some(Status::Processed) => " AND a.outcome = 'processed'",
                Some(_) => " AND a.outcome = 'ignored'",
                None => " AND a.outcome IN ('processed', 'ignored')",
            };
            self.read(tx, ENDED, "a", outcomes, &mut found).await?;
        }
        if matches!(self.status, None | Some(Status::Failed)) {
            self.read(tx, DEAD, "d", "", &mut found).await?;
        }
        if matches!(self.status, None | Some(Status::Pending)) {
            self.read(tx, WAITING, "o", "", &mut found).await?;
        }
        let size = self.page.size.get();
        let mut items: Vec<Delivery> = found.into_values().rev().collect();
        let more = items.len() > size;
        items.truncate(size);
        let next = items.last().filter(|_| more).map(|last| crate::page::Cursor {
            pos: last.created_at.millis(),
            id: last.id.clone(),
            snapshot: None,
        });
        Ok(Page { items, next })
    }
}

impl List {
    /// The page's rows of one table, and one more.
    async fn read(
        &self,
        tx: &mut Tx<'_>,
        from: &str,
        table: &str,
        more: &str,
        found: &mut BTreeMap<String, Delivery>,
    ) -> Result<()> {
        let mut query = Query::new(from);
        let bot = query.bind(self.bot.as_str());
        query.text.push_str(&bot);
        query.text.push_str(more);
        if let Some(cursor) = &self.page.after {
            query.and(&format!("{table}.id <"), &cursor.id);
        }
        query.text.push_str(&format!(" ORDER BY {table}.id DESC LIMIT {}", self.page.size.get() + 1));
        for mut row in query.run(tx).await? {
            let (_, id) = (row.at()?, row.text()?);
            found.insert(id.clone(), delivery(id, &mut row)?);
        }
        Ok(())
    }
}

/// One delivery, as it is now.
async fn find(tx: &mut Tx<'_>, bot: &str, id: &str) -> Result<Option<Delivery>> {
    for (from, table, order) in
        [(WAITING, "o", ""), (DEAD, "d", ""), (ENDED, "a", " AND a.outcome <> 'retry' ORDER BY a.at DESC LIMIT 1")]
    {
        let sql = format!("{from}?1 AND {table}.id = ?2{order}");
        if let Some(mut row) = tx.query_opt(&sql, params![bot, id]).await? {
            let (_, id) = (row.at()?, row.text()?);
            return delivery(id, &mut row).map(Some);
        }
    }
    Ok(None)
}

struct Inspect {
    actor: Actor,
    bot: String,
    id: String,
}

impl Script for Inspect {
    type Out = Inspected;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Inspected> {
        let inside = self.actor.enter(tx, Role::Viewer).await?;
        bots::require(tx, &inside, &self.bot).await?;
        let delivery = find(tx, &self.bot, &self.id).await?;
        let delivery = delivery.ok_or_else(|| Refusal::not_found("delivery", &self.id))?;
        let sql = "SELECT attempt, at, duration_ms, status, outcome, response FROM delivery_attempts \
                   WHERE bot_id = ?1 AND id = ?2 ORDER BY at, attempt";
        let rows = tx.query(sql, params![&self.bot, &self.id]).await?;
        let tried = rows.into_iter().map(|mut row| {
            Ok(Attempt {
                attempt: row.int()?,
                at: row.at()?,
                duration_ms: row.int()?,
                status: row.opt_int()?,
                outcome: row.text()?,
                response: row.text()?,
            })
        });
        Ok(Inspected { delivery, tried: tried.collect::<Result<_>>()? })
    }
}

/// Delivers one again, under the same id, whatever became of it.
struct Replay {
    actor: Actor,
    bot: String,
    id: String,
}

impl Script for Replay {
    type Out = Delivery;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Delivery> {
        let inside = self.actor.enter(tx, Role::Developer).await?;
        bots::require(tx, &inside, &self.bot).await?;
        let missing = || Refusal::not_found("delivery", &self.id);
        let waits = find(tx, &self.bot, &self.id).await?.is_some_and(|found| found.status == Status::Pending);
        if !waits && !revive(tx, &self.bot, &self.id).await? {
            again(tx, &self.bot, &self.id).await?;
        }
        Ok(find(tx, &self.bot, &self.id).await?.ok_or_else(missing)?)
    }
}

/// Puts a dead letter back where it was; false if there is none.
async fn revive(tx: &mut Tx<'_>, bot: &str, id: &str) -> Result<bool> {
    let revived = tx
        .execute(
            "INSERT INTO outbox (bot_id, id, target, kind, lane, at, attempts, due_at, body) \
             SELECT bot_id, id, target, kind, lane, at, 0, ?3, body FROM dead_letters WHERE bot_id = ?1 AND id = ?2 \
             ON CONFLICT DO NOTHING",
            params![bot, id, tx.now()],
        )
        .await?;
    if revived == 0 {
        return Ok(false);
    }
    tx.execute("DELETE FROM dead_letters WHERE bot_id = ?1 AND id = ?2", params![bot, id]).await?;
    reopen(tx, bot, id).await?;
    Ok(true)
}

/// The event of a delivery is pending again.
async fn reopen(tx: &mut Tx<'_>, bot: &str, id: &str) -> Result<()> {
    // The failure of an event that is its message was a row in its stead.
    tx.execute(
        "DELETE FROM events WHERE bot_id = ?1 AND id = ?2 AND EXISTS \
         (SELECT 1 FROM outbox o WHERE o.bot_id = events.bot_id AND o.id = events.id AND o.kind = 'announced')",
        params![bot, id],
    )
    .await?;
    let sql = "UPDATE events SET status = 'pending', failure_reason = NULL WHERE bot_id = ?1 AND id = ?2";
    tx.execute(sql, params![bot, id]).await?;
    tx.touches().outbox(&BotId::new(bot));
    Ok(())
}

/// Delivers anew what was answered, or ignored: the event or message is still there.
async fn again(tx: &mut Tx<'_>, bot: &str, id: &str) -> Result<()> {
    let now = tx.now();
    let announced = duologue_model::id::EventId::new(id).message();
    let from_event = tx
        .execute(
            "INSERT INTO outbox (bot_id, id, target, kind, lane, at, attempts, due_at) \
             SELECT e.bot_id, e.id, '', CASE WHEN e.type = 'workflow_update' THEN 'workflow' ELSE 'event' END, \
             COALESCE(e.conversation_id, e.id), e.created_at, 0, ?3 FROM events e \
             WHERE e.bot_id = ?1 AND e.id = ?2 AND e.status IN ('processed', 'ignored', 'failed') ON CONFLICT DO NOTHING",
            params![bot, id, now],
        )
        .await?;
    if from_event > 0 {
        return reopen(tx, bot, id).await;
    }
    let from_message = tx
        .execute(
            "INSERT INTO outbox (bot_id, id, target, kind, lane, at, attempts, due_at) \
             SELECT m.bot_id, ?2, '', 'announced', m.conversation_id, m.created_at, 0, ?4 FROM messages m \
             WHERE m.bot_id = ?1 AND m.id = ?3 AND m.announced > 0 ON CONFLICT DO NOTHING",
            params![bot, id, announced.as_ref(), now],
        )
        .await?;
    if from_message > 0 {
        let sql = "UPDATE messages SET announced = 1 WHERE id = ?1 AND announced = 2";
        tx.execute(sql, params![announced.as_ref()]).await?;
        return reopen(tx, bot, id).await;
    }
    tx.execute(
        "INSERT INTO outbox (bot_id, id, target, kind, lane, at, attempts, due_at) \
         SELECT m.bot_id, m.id, c.owner, 'message', m.conversation_id, m.created_at, 0, ?3 FROM messages m \
         JOIN conversations c ON c.id = m.conversation_id \
         WHERE m.bot_id = ?1 AND m.id = ?2 AND m.direction = 'outgoing' AND m.origin IS NULL AND c.owner <> '' \
         ON CONFLICT DO NOTHING",
        params![bot, id, now],
    )
    .await?;
    tx.touches().outbox(&BotId::new(bot));
    Ok(())
}

/// Delivers again what was given up since an instant, a bounded number at a time.
struct ReplaySince {
    actor: Actor,
    bot: String,
    since: Timestamp,
}

/// How many dead letters one transaction revives.
const REVIVED: i64 = 500;

impl Script for ReplaySince {
    type Out = usize;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<usize> {
        let inside = self.actor.enter(tx, Role::Developer).await?;
        bots::require(tx, &inside, &self.bot).await?;
        let sql =
            format!("SELECT id FROM dead_letters WHERE bot_id = ?1 AND failed_at >= ?2 ORDER BY id LIMIT {REVIVED}");
        let mut revived = 0;
        for mut row in tx.query(&sql, params![&self.bot, self.since]).await? {
            revived += usize::from(revive(tx, &self.bot, &row.text()?).await?);
        }
        Ok(revived)
    }
}

/// Removes attempts older than `keep_millis`, and dead letters that nobody looked after for
/// [`DEAD_MILLIS`].
struct Tidy {
    keep_millis: i64,
}

/// How long dead letters are kept: 90 days, in milliseconds.
pub const DEAD_MILLIS: i64 = 90 * 24 * 60 * 60 * 1000;

impl Script for Tidy {
    type Out = u64;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<u64> {
        let now = tx.now().millis();
        let attempts = tx
            .execute(
                "DELETE FROM delivery_attempts WHERE (bot_id, id, at, attempt) IN \
                 (SELECT bot_id, id, at, attempt FROM delivery_attempts WHERE at <= ?1 LIMIT 2000)",
                params![now - self.keep_millis],
            )
            .await?;
        let dead = tx
            .execute(
                "DELETE FROM dead_letters WHERE (bot_id, id) IN \
                 (SELECT bot_id, id FROM dead_letters WHERE failed_at <= ?1 LIMIT 1000)",
                params![now - DEAD_MILLIS],
            )
            .await?;
        Ok(attempts + dead)
    }
}

impl Store {
    /// listDeliveries: newest first.
    pub async fn list_deliveries(&self, list: List) -> Result<Page<Delivery>> {
        self.read(&list).await
    }

    /// getDelivery: with its attempts.
    pub async fn inspect_delivery(&self, actor: Actor, bot: String, id: String) -> Result<Inspected> {
        self.read(&Inspect { actor, bot, id }).await
    }

    /// replayDelivery: whatever became of it, it is delivered again.
    pub async fn replay_delivery(&self, actor: Actor, bot: String, id: String) -> Result<Delivery> {
        self.write(Replay { actor, bot, id }).await
    }

    /// replayDeliveries: what was given up since an instant is delivered again. Answers how many.
    pub async fn replay_deliveries(&self, actor: Actor, bot: String, since: Timestamp) -> Result<usize> {
        let mut total = 0;
        loop {
            let script = ReplaySince { actor: actor.clone(), bot: bot.clone(), since };
            let revived = self.write(script).await?;
            total += revived;
            if revived < REVIVED as usize {
                return Ok(total);
            }
        }
    }

    /// Removes attempts and dead letters that were kept long enough, a bounded number at a time.
    pub async fn tidy_deliveries(&self, keep_millis: i64) -> Result<u64> {
        self.write(Tidy { keep_millis }).await
    }
}
