//! What is due, who sends it, and what came of it.
//!
//! A process claims rows by moving their `due_at` on by a lease: if it dies, they are due again when the
//! lease lapses. An end is noted only by who still holds the lease, so of two that sent the same one
//! counts. Nothing orders rows, but that what is claimed together for one user stands in order.

use std::{collections::HashMap, sync::Arc};

use duologue_model::{Json, Timestamp, id::BotId};

use super::manage;
use crate::{
    Result, Store, params,
    sql::Param,
    tx::{Script, Tx},
};

/// Where a subscription's requests go, and what signs them.
pub struct Destination {
    /// The subscription.
    pub id: String,
    /// Its bot.
    pub bot: BotId,
    /// Its URL.
    pub url: String,
    /// The keys that sign, the newest first.
    pub keys: Vec<Vec<u8>>,
    /// Whether it has answered nothing but errors of late.
    pub is_failing: bool,
}

impl std::fmt::Debug for Destination {
    /// Without what may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Destination").field("id", &self.id).field("bot", &self.bot).finish_non_exhaustive()
    }
}

/// Something to be sent now, by whom claimed it.
#[derive(Debug)]
pub struct Claimed {
    /// `webhook-id`.
    pub id: String,
    /// Where to.
    pub destination: Arc<Destination>,
    /// Its type.
    pub kind: String,
    /// What is sent.
    pub body: Json,
    /// How often it was sent before.
    pub attempts: i64,
    /// The same since the last replay.
    pub tries: i64,
    /// Until when it is the claimant's.
    pub lease: Timestamp,
    /// The conversation whose user it is for. What is for the same one stands in order.
    pub conversation: Option<String>,
}

/// What came of a claim, for one subscription.
#[derive(Debug)]
pub struct Portion {
    /// The subscription.
    pub subscription: String,
    /// Rows to send.
    pub claimed: Vec<Claimed>,
    /// When there is something to look at again; `None` if nothing waits.
    pub next: Option<Timestamp>,
}

/// A row as it is in a transaction.
struct Row {
    id: String,
    kind: String,
    body: Json,
    attempts: i64,
    tries: i64,
    /// The conversation and the message that is handed over, unless it was asked for again.
    place: Option<(String, Timestamp)>,
    created_at: Timestamp,
}

impl Row {
    /// What orders rows: when it happened, and in one transaction the order of a conversation.
    fn order(&self) -> (Timestamp, Option<Timestamp>, &str) {
        (self.created_at, self.place.as_ref().map(|(_, position)| *position), &self.id)
    }
}

struct Taken {
    subscription: String,
    bot: BotId,
    url: String,
    secrets: Vec<Json>,
    is_failing: bool,
    rows: Vec<Row>,
    lease: Timestamp,
    next: Option<Timestamp>,
}

/// Claims rows of these subscriptions, at most so many of each.
struct Claim {
    wanted: Vec<(String, usize)>,
    lease: i64,
}

impl Claim {
    async fn portion(&self, tx: &mut Tx<'_>, id: &str, most: usize) -> Result<Option<Taken>> {
        let sql = "SELECT bot_id, url, secret, previous_secret, previous_until, failing_since FROM webhook_subscriptions \
                   WHERE id = ?1 AND enabled = 1";
        let Some(mut row) = tx.query_opt(sql, params![id]).await? else { return Ok(None) };
        let (bot, url, secret) = (row.id()?, row.text()?, row.json()?);
        let (previous, until, failing) = (row.opt_json()?, row.opt_at()?, row.opt_at()?);
        let previous = previous.filter(|_| until.is_some_and(|until| until > tx.now()));
        let rows = self.rows(tx, id, most).await?;
        let sql = "SELECT MIN(due_at) FROM webhook_messages WHERE subscription_id = ?1 AND due_at IS NOT NULL";
        let next = tx.query_opt(sql, params![id]).await?.map_or(Ok(None), |mut row| row.opt_at())?;
        Ok(Some(Taken {
            subscription: id.to_owned(),
            bot,
            url,
            secrets: [Some(secret), previous].into_iter().flatten().collect(),
            is_failing: failing.is_some(),
            rows,
            lease: tx.now().plus_millis(self.lease),
            next,
        }))
    }

    async fn rows(&self, tx: &mut Tx<'_>, id: &str, most: usize) -> Result<Vec<Row>> {
        let now = tx.now();
        // The condition on `due_at` stands twice: another process may have claimed what was selected.
        let sql = format!(
            "UPDATE webhook_messages SET claimed = 1, due_at = ?3 WHERE due_at <= ?2 AND id IN \
             (SELECT id FROM webhook_messages WHERE subscription_id = ?1 AND due_at <= ?2 ORDER BY due_at, id LIMIT {most} {{for_update}}) \
             RETURNING id, type, body, attempts, tries, replays, conversation_id, position, created_at"
        );
        let found = tx.query(&sql, params![id, now, now.plus_millis(self.lease)]).await?;
        let mut rows = Vec::with_capacity(found.len());
        for mut row in found {
            let (id, kind, body) = (row.text()?, row.text()?, row.json()?);
            let (attempts, tries, replays) = (row.int()?, row.int()?, row.int()?);
            let (conversation, position) = (row.opt_text()?, row.opt_at()?);
            let place = conversation.zip(position).filter(|_| replays == 0);
            rows.push(Row { id, kind, body, attempts, tries, place, created_at: row.at()? });
        }
        superseded(tx, &mut rows).await?;
        rows.sort_by(|a, b| a.order().cmp(&b.order()));
        Ok(rows)
    }
}

/// Takes out what reached the user otherwise in the meantime, and ends it.
async fn superseded(tx: &mut Tx<'_>, rows: &mut Vec<Row>) -> Result<()> {
    let mut conversations: Vec<&str> =
        rows.iter().filter_map(|row| row.place.as_ref()).map(|(id, _)| id.as_str()).collect();
    conversations.sort_unstable();
    conversations.dedup();
    if conversations.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = (1..=conversations.len()).map(|n| format!("?{n}")).collect();
    let sql = format!(
        "SELECT conversation_id, delivered_at FROM v12_conversations WHERE conversation_id IN ({})",
        names.join(", ")
    );
    let params: Vec<Param<'_>> = conversations.iter().map(|id| Param::from(*id)).collect();
    let mut delivered: HashMap<String, Timestamp> = HashMap::new();
    for mut row in tx.query(&sql, &params).await? {
        delivered.insert(row.text()?, row.at()?);
    }
    let has_it = |row: &Row| {
        let (conversation, position) = row.place.as_ref()?;
        delivered.get(conversation).filter(|until| *until >= position).map(|_| row.id.clone())
    };
    let had: Vec<String> = rows.iter().filter_map(has_it).collect();
    for id in &had {
        let sql = "UPDATE webhook_messages SET status = 'superseded', due_at = NULL, claimed = 0 WHERE id = ?1";
        tx.execute(sql, params![id]).await?;
    }
    rows.retain(|row| !had.contains(&row.id));
    Ok(())
}

impl Script for Claim {
    type Out = Vec<Taken>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Taken>> {
        let mut taken = Vec::with_capacity(self.wanted.len());
        for (id, most) in &self.wanted {
            taken.extend(self.portion(tx, id, *most).await?);
        }
        Ok(taken)
    }
}

/// When each enabled subscription has something due next.
struct Look;

impl Script for Look {
    type Out = Vec<(String, Timestamp)>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Out> {
        let sql = "SELECT s.id, (SELECT MIN(m.due_at) FROM webhook_messages m WHERE m.subscription_id = s.id AND m.due_at IS NOT NULL) \
                   FROM webhook_subscriptions s WHERE s.enabled = 1";
        let mut found = Vec::new();
        for mut row in tx.query(sql, &[]).await? {
            let (id, at) = (row.text()?, row.opt_at()?);
            found.extend(at.map(|at| (id, at)));
        }
        Ok(found)
    }
}

/// Makes due what a process that is gone had claimed.
struct Free;

impl Script for Free {
    type Out = u64;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<u64> {
        tx.execute("UPDATE webhook_messages SET claimed = 0, due_at = ?1 WHERE claimed = 1", params![tx.now()]).await
    }
}

/// What a request came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// When it began.
    pub at: Timestamp,
    /// How long it took, in milliseconds.
    pub duration: i64,
    /// The status of the answer; `None` if there was none.
    pub status: Option<u16>,
    /// Why it counts as failed.
    pub error: Option<String>,
    /// The beginning of the answer's body.
    pub response: String,
}

/// What follows from an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was taken.
    Delivered,
    /// Once more, after so many milliseconds.
    Retry(i64),
    /// It failed for good.
    Failed,
    /// It failed for good, and so will everything else: the subscription is disabled.
    Gone,
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// When it is to be tried again.
    pub next: Option<Timestamp>,
    /// Why its subscription is disabled now, if it was this that disabled it.
    pub disabled: Option<String>,
}

/// Notes how an attempt ended.
struct Settle {
    id: String,
    subscription: String,
    lease: Timestamp,
    number: i64,
    tries: i64,
    attempt: Attempt,
    verdict: Verdict,
    /// After so many milliseconds of nothing but failures a subscription is disabled.
    patience: i64,
}

impl Script for Settle {
    type Out = Settled;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Settled> {
        let (status, next) = match self.verdict {
            Verdict::Delivered => ("delivered", None),
            Verdict::Retry(wait) => ("waiting", Some(tx.now().plus_millis(wait))),
            Verdict::Failed | Verdict::Gone => ("failed", None),
        };
        let held = tx
            .query_opt(
                "UPDATE webhook_messages SET status = ?3, due_at = ?4, claimed = 0, attempts = ?5, tries = ?6 \
                 WHERE id = ?1 AND claimed = 1 AND due_at = ?2 RETURNING conversation_id, position",
                params![&self.id, self.lease, status, next, self.number, self.tries],
            )
            .await?;
        // Deleted, or another's by now.
        let Some(mut row) = held else { return Ok(Settled::default()) };
        let (conversation, position) = (row.opt_text()?, row.opt_at()?);
        let attempt = &self.attempt;
        tx.execute(
            "INSERT INTO webhook_attempts (message_id, attempt, at, subscription_id, duration_ms, status, error, response) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
            params![
                &self.id, self.number, attempt.at, &self.subscription, attempt.duration, attempt.status.map(i64::from),
                attempt.error.as_ref(), &attempt.response
            ],
        )
        .await?;
        if self.verdict == Verdict::Delivered {
            let sql =
                "UPDATE webhook_subscriptions SET failing_since = NULL WHERE id = ?1 AND failing_since IS NOT NULL";
            tx.execute(sql, params![&self.subscription]).await?;
            if let (Some(conversation), Some(_)) = (conversation, position) {
                crate::v12::listen::handed_over(tx, &conversation).await?;
            }
            return Ok(Settled::default());
        }
        let disabled = self.failed(tx).await?;
        Ok(Settled { next: next.filter(|_| disabled.is_none()), disabled })
    }
}

impl Settle {
    /// Notes that the subscription fails, and disables it if it has failed long enough.
    async fn failed(&self, tx: &mut Tx<'_>) -> Result<Option<String>> {
        let sql = "SELECT failing_since FROM webhook_subscriptions WHERE id = ?1 AND enabled = 1";
        let Some(mut row) = tx.query_opt(sql, params![&self.subscription]).await? else { return Ok(None) };
        let since = row.opt_at()?;
        let reason = match since {
            _ if self.verdict == Verdict::Gone => "the receiver answered 410 Gone".to_owned(),
            Some(since) if tx.now().millis() - since.millis() >= self.patience => {
                format!("nothing but failures since {since}")
            }
            Some(_) => return Ok(None),
            None => {
                let sql = "UPDATE webhook_subscriptions SET failing_since = ?2 WHERE id = ?1 AND failing_since IS NULL";
                tx.execute(sql, params![&self.subscription, self.attempt.at]).await?;
                return Ok(None);
            }
        };
        manage::disable(tx, &self.subscription, &reason).await?;
        Ok(Some(reason))
    }
}

impl Store {
    /// Claims what is due for these subscriptions, at most so many rows of each, for `lease` milliseconds.
    /// Subscriptions that are gone or disabled are missing in the answer.
    pub async fn claim_webhooks(&self, wanted: Vec<(String, usize)>, lease: i64) -> Result<Vec<Portion>> {
        let taken = self.write(Claim { wanted, lease }).await?;
        let opened = |taken: Taken| {
            let mut keys = Vec::with_capacity(taken.secrets.len());
            for sealed in &taken.secrets {
                keys.push(self.open_webhook_secret(&taken.subscription, sealed)?);
            }
            Ok((taken, keys))
        };
        let mut portions = Vec::with_capacity(taken.len());
        for portion in taken.into_iter().map(opened) {
            let (taken, keys) = match portion {
                Ok(portion) => portion,
                // What can't be signed stays claimed until its lease lapses; the others go on.
                Err(crate::Error::Setup(reason) | crate::Error::Corrupt(reason)) => {
                    tracing::error!(reason, "a webhook can't be signed");
                    continue;
                }
                Err(error) => return Err(error),
            };
            let Taken { subscription, bot, url, is_failing, rows, lease, next, .. } = taken;
            let destination = Arc::new(Destination { id: subscription.clone(), bot, url, keys, is_failing });
            let claimed = rows.into_iter().map(|row| Claimed {
                id: row.id,
                destination: destination.clone(),
                kind: row.kind,
                body: row.body,
                attempts: row.attempts,
                tries: row.tries,
                lease,
                conversation: row.place.map(|(conversation, _)| conversation),
            });
            portions.push(Portion { subscription, claimed: claimed.collect(), next });
        }
        Ok(portions)
    }

    /// When each enabled subscription has something due next; those with nothing are missing.
    pub async fn webhooks_due(&self) -> Result<Vec<(String, Timestamp)>> {
        self.read(&Look).await
    }

    /// Makes due at once what an earlier process of this database was sending when it ended. Does nothing
    /// where several share it: there its leases lapse.
    pub async fn free_webhooks(&self) -> Result<u64> {
        if self.is_shared() { Ok(0) } else { self.write(Free).await }
    }

    /// Notes how an attempt ended. `patience`: after so many milliseconds of nothing but failures the
    /// subscription is disabled.
    pub async fn settle_webhook(
        &self,
        claimed: &Claimed,
        attempt: Attempt,
        verdict: Verdict,
        patience: i64,
    ) -> Result<Settled> {
        self.write(Settle {
            id: claimed.id.clone(),
            subscription: claimed.destination.id.clone(),
            lease: claimed.lease,
            number: claimed.attempts + 1,
            tries: claimed.tries + 1,
            attempt,
            verdict,
            patience,
        })
        .await
    }
}
