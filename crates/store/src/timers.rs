//! What becomes due: scheduled messages and events, events that recur, expired states, timeouts, and rows that are
//! kept only for a while.
//!
//! Due rows are found by their index, claimed and settled in the same transaction, so each fires
//! once, whichever process and however often it restarts.

use duologue_model::Timestamp;

use crate::{
    Result, Store, actions, audit, events, hosted, idempotency, issues, logs, messages, params, recurring, states,
    tasks,
    tx::{Script, Tx},
    v12, webhooks, workflows,
};

/// Rows settled in one transaction, so that others wait no longer than some milliseconds.
const BATCH: i64 = 250;
/// How long a conversation's feed is kept for listeners to resume: a day.
const FEED_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// How much was settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Scheduled messages said.
    pub messages: usize,
    /// Scheduled events made pending.
    pub events: usize,
    /// States expired.
    pub states: usize,
    /// Workflows timed out.
    pub workflows: usize,
    /// Tasks timed out.
    pub tasks: usize,
    /// Ticks of recurring events.
    pub ticks: usize,
}

impl Settled {
    /// All together.
    pub fn total(self) -> usize {
        self.messages + self.events + self.states + self.workflows + self.tasks + self.ticks
    }

    fn is_full(self) -> bool {
        [self.messages, self.events, self.states, self.workflows, self.tasks, self.ticks]
            .iter()
            .any(|count| *count as i64 >= BATCH)
    }
}

struct Settle;

impl Script for Settle {
    type Out = Settled;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Settled> {
        Ok(Settled {
            messages: messages::release_due(tx, BATCH).await?,
            events: events::release_due(tx, BATCH).await?,
            states: states::expire_due(tx, BATCH).await?,
            workflows: workflows::time_out_due(tx, BATCH).await?,
            tasks: tasks::time_out_due(tx, BATCH).await?,
            ticks: recurring::tick_due(tx, BATCH).await?,
        })
    }
}

struct Next;

impl Script for Next {
    type Out = Option<Timestamp>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<Timestamp>> {
        let mut next: Option<Timestamp> = None;
        for sql in [
            "SELECT MIN(due_at) FROM scheduled_messages",
            "SELECT MIN(due_at) FROM events WHERE due_at IS NOT NULL",
            "SELECT MIN(expires_at) FROM states WHERE expires_at IS NOT NULL",
            "SELECT MIN(timeout_at) FROM workflows WHERE completed_at IS NULL AND status <> 'paused'",
            "SELECT MIN(timeout_at) FROM tasks WHERE ended = 0",
            "SELECT MIN(due_at) FROM recurring_events",
        ] {
            if let Some(mut row) = tx.query_opt(sql, &[]).await?
                && let Some(at) = row.opt_at()?
            {
                next = Some(next.map_or(at, |earlier| earlier.min(at)));
            }
        }
        Ok(next)
    }
}

struct Tidy;

impl Script for Tidy {
    /// How many rows, and whether somebody lost rights.
    type Out = (u64, bool);
    async fn run(&self, tx: &mut Tx<'_>) -> Result<(u64, bool)> {
        let now = tx.now().millis();
        let mut gone = tx
            .execute(
                "DELETE FROM idempotency WHERE scope IN (SELECT scope FROM idempotency WHERE created_at <= ?1 LIMIT 1000)",
                params![now - idempotency::KEEP_MILLIS],
            )
            .await?;
        gone += tx
            .execute(
                "DELETE FROM feed WHERE (conversation_id, at) IN (SELECT conversation_id, at FROM feed WHERE at <= ?1 LIMIT 1000)",
                params![now - FEED_MILLIS],
            )
            .await?;
        gone += tx
            .execute(
                "DELETE FROM past_positions WHERE (bot_id, kind, pos, id, until) IN \
                 (SELECT p.bot_id, p.kind, p.pos, p.id, p.until FROM past_positions p WHERE p.until <= ?1 \
                  OR NOT EXISTS (SELECT 1 FROM bots b WHERE b.id = p.bot_id AND b.scan_until > ?2) LIMIT 1000)",
                params![now - FEED_MILLIS, now],
            )
            .await?;
        gone += actions::tidy(tx).await?;
        gone += v12::kvs::tidy(tx).await?;
        recurring::correct(tx).await?;
        gone += webhooks::history::tidy(tx).await?;
        gone += logs::tidy(tx).await?;
        gone += issues::tidy(tx).await?;
        gone += audit::tidy(tx).await?;
        let tokens = hosted::tidy(tx).await?;
        Ok((gone + tokens, tokens > 0))
    }
}

impl Store {
    /// Settles what is due, a batch at a time; answers how much, and whether more may be due.
    pub async fn settle_due(&self) -> Result<(Settled, bool)> {
        let settled = self.write(Settle).await?;
        Ok((settled, settled.is_full()))
    }

    /// When something is due next.
    pub async fn next_due(&self) -> Result<Option<Timestamp>> {
        self.read(&Next).await
    }

    /// Removes rows that were kept long enough; answers how many, a bounded number at a time.
    pub async fn tidy(&self) -> Result<u64> {
        let (gone, rights) = self.write(Tidy).await?;
        if rights {
            self.forget_rights();
        }
        Ok(gone)
    }
}
