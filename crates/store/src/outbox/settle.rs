//! How deliveries ended, and what follows from it: one transaction for as many as there are.
//!
//! A row is settled only if it is still there with as many attempts as before the call, so that
//! settling twice, or by somebody who has lost the bot's lease, changes nothing.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use duologue_model::{
    Timestamp,
    id::{BotId, EventId},
};

use super::{
    Kind, leases,
    read::{Waiting, WorkflowUpdate, identity},
};
use crate::{
    Result, Store, params, recurring,
    sql::{Param, padded},
    tx::{Script, Tx},
    workflows,
};

/// Most bytes of an answer that are kept.
pub const KEPT_RESPONSE: usize = 1024;
/// Most characters of a reason.
const LONGEST_REASON: usize = 2000;

/// How one delivery ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Whoever was called answered that all is well.
    Processed,
    /// Nobody was called: why.
    Ignored(String),
    /// It is tried again after so many milliseconds: why.
    Retry(i64, String),
    /// Nobody could be called yet; it is looked at again after so many milliseconds. That is no attempt.
    Wait(i64),
    /// It is given up: why.
    Failed(String),
    /// There is nothing to deliver any more.
    Moot,
}

impl Outcome {
    fn name(&self) -> &'static str {
        match self {
            Outcome::Processed => "processed",
            Outcome::Ignored(_) => "ignored",
            Outcome::Retry(..) => "retry",
            Outcome::Wait(_) => "wait",
            Outcome::Failed(_) => "failed",
            Outcome::Moot => "moot",
        }
    }
}

/// A delivery that was tried.
#[derive(Clone, Debug)]
pub struct Done {
    /// As it was read.
    pub row: Waiting,
    /// When the call began.
    pub began_at: Timestamp,
    /// How long it took, in milliseconds.
    pub duration_ms: i64,
    /// Of the answer, if there was one.
    pub status: Option<u16>,
    /// What was answered, or why nothing was.
    pub response: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The workflow whose fate depends on it.
    pub workflow: Option<WorkflowUpdate>,
}

/// Settles deliveries of one bot.
#[derive(Clone, Debug)]
pub struct Settle {
    /// The bot.
    pub bot: BotId,
    /// Who holds its lease, where there are leases.
    pub owner: Option<String>,
    /// What is settled. Shared with whoever has to know what was tried.
    pub done: Arc<[Done]>,
}

/// What became of [`Settle`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// All rows that were still there are settled. How each ended in the end, in the order of
    /// [`Settle::done`]: what becomes of a workflow may leave nothing to try again, and what was no longer
    /// there is moot.
    Done(Vec<Outcome>),
    /// The lease belongs to somebody else; nothing was changed.
    NotOurs,
}

impl Script for Settle {
    type Out = Settled;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Settled> {
        if let Some(owner) = &self.owner
            && !leases::is_held(tx, &self.bot, owner).await?
        {
            return Ok(Settled::NotOurs);
        }
        let present = self.present(tx).await?;
        let is_ours = |done: &Done| present.contains(&(done.row.id.as_str(), done.row.attempts));
        let mut done = Vec::with_capacity(self.done.len());
        for one in self.done.iter().filter(|one| is_ours(one)) {
            match one.outcome {
                Outcome::Wait(after) => self.put_off(tx, one, after, 0).await?,
                _ => done.push(one.clone()),
            }
        }
        workflows::settle(tx, &identity(&self.bot), &mut done).await?;
        self.forget(tx, &done).await?;
        self.note_attempts(tx, &done).await?;
        self.mark_events(tx, &done).await?;
        recurring::settle(tx, &self.bot, &done).await?;
        for done in &done {
            match &done.outcome {
                Outcome::Retry(after, _) => self.put_off(tx, done, *after, 1).await?,
                Outcome::Failed(reason) => self.bury(tx, done, reason).await?,
                _ => {}
            }
        }
        self.remove(tx, &done).await?;
        // In the same order, without those that weren't there or only wait.
        let mut settled = done.into_iter().peekable();
        let outcome = |one: &Done| match one.outcome {
            Outcome::Wait(_) if is_ours(one) => one.outcome.clone(),
            _ => settled.next_if(|done| done.row.id == one.row.id).map_or(Outcome::Moot, |done| done.outcome),
        };
        Ok(Settled::Done(self.done.iter().map(outcome).collect()))
    }
}

/// The beginning of what somebody else answered, without NUL, which PostgreSQL doesn't store.
fn shortened(text: &str, bytes: usize) -> String {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].replace('\0', "\u{FFFD}")
}

/// The same of a reason, counted in characters.
pub(crate) fn shown_reason(reason: &str) -> String {
    reason.chars().take(LONGEST_REASON).map(|c| if c == '\0' { '\u{FFFD}' } else { c }).collect()
}

impl Settle {
    /// The rows that are still there, with their attempts.
    async fn present(&self, tx: &mut Tx<'_>) -> Result<HashSet<(&str, i64)>> {
        let by_id: HashMap<&str, &Done> = self.done.iter().map(|done| (done.row.id.as_str(), done)).collect();
        let ids: Vec<String> = by_id.keys().map(|id| (*id).to_owned()).collect();
        let mut present = HashSet::new();
        for chunk in ids.chunks(256) {
            let (names, mut params) = padded(chunk, 1);
            params.insert(0, (&self.bot).into());
            let sql = format!("SELECT id, attempts FROM outbox WHERE bot_id = ?1 AND id IN ({names}) {{for_update}}");
            for mut row in tx.query(&sql, &params).await? {
                if let Some((id, _)) = by_id.get_key_value(row.text()?.as_str()) {
                    present.insert((*id, row.int()?));
                }
            }
        }
        Ok(present)
    }

    /// Nothing is left of what became moot but, if it is an event, that it was ignored.
    async fn forget(&self, tx: &mut Tx<'_>, done: &[Done]) -> Result<()> {
        let moot = done.iter().filter(|done| matches!(done.outcome, Outcome::Moot | Outcome::Ignored(_)));
        let (announced, others): (Vec<&Done>, Vec<&Done>) =
            moot.filter(|done| done.row.kind.is_event()).partition(|done| done.row.kind == Kind::Announced);
        for done in announced {
            let message = EventId::new(done.row.id.as_str()).message();
            let sql = "UPDATE messages SET announced = 2 WHERE id = ?1 AND announced = 1";
            tx.execute(sql, params![message.as_ref()]).await?;
        }
        self.mark(tx, &ids(&others), "ignored").await
    }

    async fn note_attempts(&self, tx: &mut Tx<'_>, done: &[Done]) -> Result<()> {
        let made: Vec<&Done> = done.iter().filter(|done| done.outcome != Outcome::Moot).collect();
        if made.is_empty() {
            return Ok(());
        }
        let mut params: Vec<Param<'_>> = Vec::with_capacity(made.len() * 12);
        for done in made {
            let row = &done.row;
            params.extend([
                (&self.bot).into(),
                (&row.id).into(),
                done.began_at.into(),
                (row.attempts + 1).into(),
                (&row.target).into(),
                row.kind.name().into(),
                (&row.lane).into(),
                row.at.into(),
                done.duration_ms.into(),
                done.status.map(i64::from).into(),
                done.outcome.name().into(),
                shortened(&done.response, KEPT_RESPONSE).into(),
            ]);
        }
        let head = "INSERT INTO delivery_attempts (bot_id, id, at, attempt, target, kind, lane, created_at, duration_ms, \
                    status, outcome, response)";
        tx.insert_many(head, 12, &params, "ON CONFLICT DO NOTHING").await
    }

    /// Events that ended well.
    async fn mark_events(&self, tx: &mut Tx<'_>, done: &[Done]) -> Result<()> {
        let ended = done.iter().filter(|done| done.outcome == Outcome::Processed);
        let rows: Vec<&Done> =
            ended.filter(|done| done.row.kind.is_event() && done.row.kind != Kind::Announced).collect();
        self.mark(tx, &ids(&rows), "processed").await
    }

    async fn mark(&self, tx: &mut Tx<'_>, ids: &[String], status: &str) -> Result<()> {
        for chunk in ids.chunks(256) {
            let (names, mut params) = padded(chunk, 2);
            params.splice(0..0, [Param::from(&self.bot), status.into()]);
            let sql =
                format!("UPDATE events SET status = ?2 WHERE bot_id = ?1 AND status = 'pending' AND id IN ({names})");
            tx.execute(&sql, &params).await?;
        }
        Ok(())
    }

    async fn put_off(&self, tx: &mut Tx<'_>, done: &Done, after: i64, attempts: i64) -> Result<()> {
        let sql = "UPDATE outbox SET attempts = ?3, due_at = ?4 WHERE bot_id = ?1 AND id = ?2";
        let due_at = tx.now().plus_millis(after.max(1));
        tx.execute(sql, params![&self.bot, &done.row.id, done.row.attempts + attempts, due_at]).await?;
        Ok(())
    }

    /// What was given up is kept as a dead letter; its event has failed.
    async fn bury(&self, tx: &mut Tx<'_>, done: &Done, reason: &str) -> Result<()> {
        let reason = shown_reason(reason);
        let row = &done.row;
        tx.execute(
            "INSERT INTO dead_letters (bot_id, id, target, kind, lane, at, attempts, body, reason, failed_at) \
             SELECT o.bot_id, o.id, o.target, o.kind, o.lane, o.at, ?3, o.body, ?4, ?5 FROM outbox o \
             WHERE o.bot_id = ?1 AND o.id = ?2 ON CONFLICT DO NOTHING",
            params![&self.bot, &row.id, row.attempts + 1, &reason, tx.now()],
        )
        .await?;
        if row.kind == Kind::Announced {
            let message = EventId::new(row.id.as_str()).message();
            tx.execute(
                "INSERT INTO events (bot_id, id, owner, type, payload, status, failure_reason, conversation_id, user_id, \
                 message_id, workflow_id, due_at, created_at) \
                 SELECT m.bot_id, ?2, c.owner, 'message_created', NULL, 'failed', ?3, m.conversation_id, m.user_id, m.id, \
                 NULL, NULL, m.created_at FROM messages m JOIN conversations c ON c.id = m.conversation_id \
                 WHERE m.id = ?1 ON CONFLICT DO NOTHING",
                params![message.as_ref(), &row.id, &reason],
            )
            .await?;
        } else if row.kind.is_event() {
            let sql = "UPDATE events SET status = 'failed', failure_reason = ?3 WHERE bot_id = ?1 AND id = ?2";
            tx.execute(sql, params![&self.bot, &row.id, &reason]).await?;
        }
        Ok(())
    }

    /// Takes what ended out of the outbox.
    async fn remove(&self, tx: &mut Tx<'_>, done: &[Done]) -> Result<()> {
        let ended: Vec<&Done> = done.iter().filter(|done| !matches!(done.outcome, Outcome::Retry(..))).collect();
        for chunk in ids(&ended).chunks(256) {
            let (names, mut params) = padded(chunk, 1);
            params.insert(0, (&self.bot).into());
            let sql = format!("DELETE FROM outbox WHERE bot_id = ?1 AND id IN ({names})");
            tx.execute(&sql, &params).await?;
        }
        Ok(())
    }
}

fn ids(done: &[&Done]) -> Vec<String> {
    done.iter().map(|done| done.row.id.clone()).collect()
}

impl Store {
    /// Settles deliveries that ended.
    pub async fn settle_deliveries(&self, settle: Settle) -> Result<Settled> {
        self.write(settle).await
    }
}
