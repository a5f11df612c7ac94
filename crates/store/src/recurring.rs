//! Events that recur (`spec/cloud/bridge-protocol.md` § 3.4).
//!
//! A bot's definition says what recurs and when; a row each says when it is due next. The timers make an
//! ordinary event at each tick and move the row on, in one transaction: so a tick happens once, whatever
//! restarts and however many processes share the database. Ticks that were missed are skipped, but for
//! the latest. A clock that was set back a little repeats nothing; after one that was wrong by more than
//! a day, what was put off too far is due again at its next tick.

use std::collections::BTreeMap;

use duologue_model::{Cron, Event, EventStatus, Identity, Json, Timestamp, id::BotId};

use crate::{
    Result, Store,
    bots::Definition,
    events,
    outbox::{
        self, Kind,
        settle::{Done, Outcome, shown_reason},
    },
    params,
    tx::{Script, Tx},
};

/// How much further than its next tick an event may be put off before the clock is held to have been
/// wrong: a day, in milliseconds.
const PUT_OFF: i64 = 24 * 60 * 60 * 1000;

/// Brings a bot's rows in line with its definition. What didn't change keeps its next tick and its
/// failures.
pub(crate) async fn sync(tx: &mut Tx<'_>, bot: &BotId, definition: &Definition) -> Result<()> {
    let sql = "SELECT name, cron, type, payload FROM recurring_events WHERE bot_id = ?1";
    let mut old: BTreeMap<String, (String, String, Json)> = BTreeMap::new();
    for mut row in tx.query(sql, params![bot]).await? {
        old.insert(row.text()?, (row.text()?, row.text()?, row.json()?));
    }
    for (name, recurring) in &definition.recurring_events {
        let now = (recurring.schedule.cron.clone(), recurring.r#type.clone(), recurring.payload.clone());
        if old.remove(name).is_some_and(|before| before == now) {
            continue;
        }
        let Some(due) = next(&now.0, tx.now()) else { continue };
        tx.execute(
            "INSERT INTO recurring_events (bot_id, name, cron, type, payload, due_at, event_id, failed_attempts, last_failure_reason) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, NULL, 0, NULL) ON CONFLICT (bot_id, name) DO UPDATE SET cron = excluded.cron, \
             type = excluded.type, payload = excluded.payload, due_at = excluded.due_at, event_id = NULL, failed_attempts = 0, \
             last_failure_reason = NULL",
            params![bot, name, &now.0, &now.1, &now.2, due],
        )
        .await?;
        tx.touches().due(due);
    }
    for name in old.keys() {
        tx.execute("DELETE FROM recurring_events WHERE bot_id = ?1 AND name = ?2", params![bot, name]).await?;
    }
    Ok(())
}

/// The next tick; `None` for schedules that were stored before they were checked and are none.
fn next(cron: &str, after: Timestamp) -> Option<Timestamp> {
    cron.parse::<Cron>().ok()?.next(after)
}

/// Puts the failures of a bot's recurring events into its definition, as the API shows them.
pub(crate) async fn overlay(tx: &mut Tx<'_>, bot: &BotId, definition: &mut Definition) -> Result<()> {
    if definition.recurring_events.is_empty() {
        return Ok(());
    }
    let sql = "SELECT name, failed_attempts, last_failure_reason FROM recurring_events WHERE bot_id = ?1";
    for mut row in tx.query(sql, params![bot]).await? {
        if let Some(recurring) = definition.recurring_events.get_mut(&row.text()?) {
            recurring.failed_attempts = row.int()?;
            recurring.last_failure_reason = row.opt_text()?;
        }
    }
    Ok(())
}

/// Makes the events whose tick has come; answers how many ticks.
pub(crate) async fn tick_due(tx: &mut Tx<'_>, limit: i64) -> Result<usize> {
    let now = tx.now();
    let sql = format!(
        "SELECT r.bot_id, r.name, r.cron, r.type, r.payload FROM recurring_events r \
         WHERE r.due_at <= ?1 ORDER BY r.due_at LIMIT {limit} {{for_update}}"
    );
    let rows = tx.query(&sql, params![now]).await?;
    let count = rows.len();
    for mut row in rows {
        let (bot, name): (BotId, String) = (row.id()?, row.text()?);
        let (cron, kind, payload) = (row.text()?, row.text()?, row.json()?);
        let due = next(&cron, now).unwrap_or(Timestamp::MAX);
        // A bot that can't be called would collect nothing but ignored events.
        let event = match outbox::is_heard(tx, &bot, outbox::MESSAGE_CREATED).await? {
            true => Some(tick(tx, &bot, kind, payload).await?),
            false => None,
        };
        let sql = "UPDATE recurring_events SET due_at = ?3, event_id = COALESCE(?4, event_id) WHERE bot_id = ?1 AND name = ?2";
        tx.execute(sql, params![&bot, &name, due, event.as_ref().map(|event| event.id.as_str())]).await?;
    }
    Ok(count)
}

async fn tick(tx: &mut Tx<'_>, bot: &BotId, kind: String, payload: Json) -> Result<Event> {
    let event = Event {
        id: tx.ids().id(tx.now()),
        created_at: tx.now(),
        kind,
        payload,
        conversation_id: None,
        user_id: None,
        message_id: None,
        status: EventStatus::Pending,
        failure_reason: None,
    };
    events::insert(tx, &Identity::bot(bot.clone()), event, None, None, Kind::Recurring).await
}

/// Counts failures, and forgets them after a success.
pub(crate) async fn settle(tx: &mut Tx<'_>, bot: &BotId, done: &[Done]) -> Result<()> {
    for done in done.iter().filter(|done| done.row.kind == Kind::Recurring) {
        let id = &done.row.id;
        match &done.outcome {
            Outcome::Processed => {
                let sql = "UPDATE recurring_events SET failed_attempts = 0, last_failure_reason = NULL \
                           WHERE bot_id = ?1 AND event_id = ?2";
                tx.execute(sql, params![bot, id]).await?;
            }
            Outcome::Failed(reason) | Outcome::Retry(_, reason) => {
                let reason = shown_reason(reason);
                let sql = "UPDATE recurring_events SET failed_attempts = failed_attempts + 1, last_failure_reason = ?3 \
                           WHERE bot_id = ?1 AND event_id = ?2";
                tx.execute(sql, params![bot, id, &reason]).await?;
            }
            Outcome::Ignored(_) | Outcome::Wait(_) | Outcome::Moot => {}
        }
    }
    Ok(())
}

/// Looks after events that were put off too far by a clock that was wrong.
pub(crate) async fn correct(tx: &mut Tx<'_>) -> Result<()> {
    let now = tx.now();
    let sql = "SELECT r.bot_id, r.name, r.cron, r.due_at FROM recurring_events r WHERE r.due_at > ?1 {for_update}";
    for mut row in tx.query(sql, params![now.plus_millis(PUT_OFF)]).await? {
        let (bot, name, cron, due_at): (BotId, _, _, _) = (row.id()?, row.text()?, row.text()?, row.at()?);
        if let Some(due) = next(&cron, now).filter(|due| due.plus_millis(PUT_OFF) < due_at) {
            let sql = "UPDATE recurring_events SET due_at = ?3 WHERE bot_id = ?1 AND name = ?2";
            tx.execute(sql, params![&bot, &name, due]).await?;
            tx.touches().due(due);
        }
    }
    Ok(())
}

/// Gives rows to what was defined before there were any; once a database.
struct Adopt;

impl Script for Adopt {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        const KEY: &str = "recurring_events_adopted";
        if tx.query_opt("SELECT value FROM settings WHERE key = ?1", params![KEY]).await?.is_some() {
            return Ok(());
        }
        tx.execute("INSERT INTO settings (key, value) VALUES (?1, 'yes') ON CONFLICT DO NOTHING", params![KEY]).await?;
        for mut row in tx.query("SELECT id, body FROM bots", &[]).await? {
            let (bot, body): (BotId, String) = (row.id()?, row.text()?);
            if let Ok(definition) = serde_json::from_str::<Definition>(&body) {
                sync(tx, &bot, &definition).await?;
            }
        }
        Ok(())
    }
}

impl Store {
    /// Lets what recurred before an upgrade recur again.
    pub async fn adopt_recurring_events(&self) -> Result<()> {
        self.write(Adopt).await
    }
}
