//! How far the code of instances knows of them, and what the outside world calls them
//! (`spec/cloud/bridge-protocol.md` §§ 4.1, 6; `runtime.md` § 11).
//!
//! Whoever is about to tell an instance's code of it has a while for that, [`GIVEN_UP_MILLIS`]. What is
//! still pending then, because its process ended, is due and claimed by the next one that looks.

use std::collections::BTreeMap;

use duologue_model::{Error as Refusal, Identity, Json, Timestamp, View, id::BotId};

use semver::Version;
use serde::Deserialize;

use crate::{
    Error, Result, Store,
    bots::instances::Status,
    callees::{self, INSTANCE_COLUMNS, InstanceCode},
    integrations::definition::Identifier,
    params,
    tx::{Script, Tx},
};

/// How long telling an instance's code of it may take, retries included.
pub const GIVEN_UP_MILLIS: i64 = 15 * 60 * 1000;

/// How many versions of an integration are looked at for their scripts.
const MOST_VERSIONS: usize = 10;

/// Most characters of a reason that are kept.
const LONGEST_REASON: usize = 2000;

/// How often an instance's code wants to be told of it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// 1 hour.
    Hourly,
    /// 24 hours.
    Daily,
    /// 7 days.
    Weekly,
    /// 14 days.
    BiWeekly,
    /// 30 days.
    Monthly,
    /// 60 days.
    BiMonthly,
    /// 91 days.
    Quarterly,
    /// 365 days.
    Yearly,
}

impl Period {
    const ALL: [(Period, &'static str, i64); 8] = [
        (Period::Hourly, "hourly", 1),
        (Period::Daily, "daily", 24),
        (Period::Weekly, "weekly", 7 * 24),
        (Period::BiWeekly, "bi-weekly", 14 * 24),
        (Period::Monthly, "monthly", 30 * 24),
        (Period::BiMonthly, "bi-monthly", 60 * 24),
        (Period::Quarterly, "quarterly", 91 * 24),
        (Period::Yearly, "yearly", 365 * 24),
    ];

    /// From the word on the wire.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known, _)| *known == name).map(|(period, ..)| period)
    }

    fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(period, ..)| *period == self).map_or("", |(_, name, _)| name)
    }

    fn after(self, at: Timestamp) -> Timestamp {
        let hours = Self::ALL.into_iter().find(|(period, ..)| *period == self).map_or(1, |(.., hours)| hours);
        at.plus_millis(hours * 60 * 60 * 1000)
    }
}

/// How telling an instance's code of it went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Which instance.
    pub alias: String,
    /// The state of the instance that the code was told of: what has changed since is told again.
    pub updated_at: Option<Timestamp>,
    /// What is so now.
    pub status: Status,
    /// Why, if it failed.
    pub reason: Option<String>,
    /// When to tell it again, of one that is pending still.
    pub again: Option<Timestamp>,
}

/// Records outcomes.
struct Record {
    bot: BotId,
    outcomes: Vec<Outcome>,
}

impl Script for Record {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        for outcome in &self.outcomes {
            let sql = "SELECT enabled, updated_at, register_every FROM instances WHERE bot_id = ?1 AND alias = ?2 {for_update}";
            let Some(mut row) = tx.query_opt(sql, params![&self.bot, &outcome.alias]).await? else { continue };
            let (enabled, updated_at, every) = (row.bool()?, row.at()?, row.opt_text()?);
            let registers = !matches!(outcome.status, Status::Unregistered | Status::UnregistrationFailed);
            if enabled != registers || outcome.updated_at.is_some_and(|told| told != updated_at) {
                continue;
            }
            let every = every.as_deref().and_then(Period::from_name).filter(|_| registers);
            let reason: Option<String> =
                outcome.reason.as_ref().map(|reason| reason.chars().take(LONGEST_REASON).collect());
            tx.execute(
                "UPDATE instances SET status = ?3, status_reason = ?4, register_at = ?5 WHERE bot_id = ?1 AND alias = ?2",
                params![
                    &self.bot, &outcome.alias, outcome.status.name(), reason,
                    outcome.again.or_else(|| every.map(|every| every.after(tx.now())))
                ],
            )
            .await?;
            if outcome.again.is_some() {
                tx.touches().registrations();
            }
        }
        Ok(())
    }
}

/// An instance whose code is to be told of it now.
#[derive(Clone, Debug)]
pub struct Due {
    /// Its code.
    pub code: InstanceCode,
    /// The state of it that the code will be told of.
    pub updated_at: Timestamp,
}

/// Claims what is due: nobody else does before [`GIVEN_UP_MILLIS`] are over.
struct Claim(usize);

impl Script for Claim {
    type Out = Vec<Due>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Due>> {
        tx.lock("registrations").await?;
        let sql = format!(
            "SELECT i.updated_at, {INSTANCE_COLUMNS} FROM instances i CROSS JOIN integrations g \
             WHERE g.id = i.integration_id AND i.enabled = 1 AND i.register_at <= ?1 ORDER BY i.register_at LIMIT {}",
            self.0
        );
        let mut claimed = Vec::new();
        for mut row in tx.query(&sql, params![tx.now()]).await? {
            let due = Due { updated_at: row.at()?, code: callees::instance(&mut row)? };
            tx.execute(
                "UPDATE instances SET register_at = ?3 WHERE bot_id = ?1 AND alias = ?2",
                params![&due.code.bot, &due.code.alias, tx.now().plus_millis(GIVEN_UP_MILLIS)],
            )
            .await?;
            claimed.push(due);
        }
        Ok(claimed)
    }
}

/// What a process that has ended was telling somebody is due at once.
struct Resume;

impl Script for Resume {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        tx.execute(
            "UPDATE instances SET register_at = ?1 WHERE status = ?2 AND enabled = 1 AND register_at IS NOT NULL",
            params![tx.now(), Status::RegistrationPending.name()],
        )
        .await?;
        Ok(())
    }
}

struct NextDue;

impl Script for NextDue {
    type Out = Option<Timestamp>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<Timestamp>> {
        let sql = "SELECT MIN(register_at) FROM instances WHERE register_at IS NOT NULL AND enabled = 1";
        tx.query_opt(sql, &[]).await?.map_or(Ok(None), |mut row| row.opt_at())
    }
}

/// The code of an integration version has changed: all its working instances are told of to it again.
pub(crate) async fn redeployed(tx: &mut Tx<'_>, integration: &str) -> Result<()> {
    let told = tx
        .execute(
            "UPDATE instances SET status = ?2, status_reason = NULL, register_at = ?3 \
             WHERE integration_id = ?1 AND enabled = 1 AND (status <> ?2 OR register_at IS NOT NULL)",
            params![integration, Status::RegistrationPending.name(), tx.now()],
        )
        .await?;
    if told > 0 {
        tx.touches().registrations();
    }
    Ok(())
}

/// configureIntegration, about the calling instance. Absent members stay.
#[derive(Clone, Debug)]
pub struct Configure {
    /// The calling integration.
    pub who: Identity,
    /// What the outside world calls the instance; `Some(None)` for nothing any more.
    pub identifier: Option<Option<String>>,
    /// How often its code wants to be told of it.
    pub period: Option<Period>,
    /// Kept, without effect.
    pub sandbox_identifiers: Option<Option<Json>>,
}

impl Script for Configure {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let View::Integration { alias, .. } = &self.who.view else {
            return Err(Refusal::forbidden("only an integration configures itself").into());
        };
        if let Some(identifier) = &self.identifier {
            identify(tx, &self.who.bot, alias, identifier.as_deref()).await?;
        }
        if let Some(period) = self.period {
            tx.execute(
                "UPDATE instances SET register_every = ?3, register_at = ?4 WHERE bot_id = ?1 AND alias = ?2",
                params![&self.who.bot, &**alias, period.name(), period.after(tx.now())],
            )
            .await?;
            tx.touches().registrations();
        }
        if let Some(given) = &self.sandbox_identifiers {
            tx.execute(
                "UPDATE instances SET sandbox_identifiers = ?3 WHERE bot_id = ?1 AND alias = ?2",
                params![&self.who.bot, &**alias, given.as_ref()],
            )
            .await?;
        }
        Ok(())
    }
}

/// Gives an instance its identifier, and takes it from whichever instance of the same integration had
/// it.
async fn identify(tx: &mut Tx<'_>, bot: &BotId, alias: &str, identifier: Option<&str>) -> Result<()> {
    tx.lock("identifiers").await?;
    if let Some(identifier) = identifier {
        tx.execute(
            "UPDATE instances SET identifier = NULL WHERE identifier = ?3 AND NOT (bot_id = ?1 AND alias = ?2) \
             AND integration_id IN (SELECT other.id FROM instances i CROSS JOIN integrations g CROSS JOIN integrations other \
             WHERE g.id = i.integration_id AND other.name = g.name AND other.workspace_id = g.workspace_id \
             AND i.bot_id = ?1 AND i.alias = ?2)",
            params![bot, alias, identifier],
        )
        .await?;
    }
    let sql = "UPDATE instances SET identifier = ?3 WHERE bot_id = ?1 AND alias = ?2";
    tx.execute(sql, params![bot, alias, identifier]).await?;
    Ok(())
}

/// An instance learned its identifier where its user connected. Answers whether its code is to be told
/// of it: it was waiting for that.
struct Connected {
    bot: BotId,
    alias: String,
    identifier: Option<String>,
}

impl Script for Connected {
    type Out = bool;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool> {
        if let Some(identifier) = &self.identifier {
            identify(tx, &self.bot, &self.alias, Some(identifier)).await?;
        }
        let waited = tx
            .execute(
                "UPDATE instances SET register_at = ?3 WHERE bot_id = ?1 AND alias = ?2 AND enabled = 1 \
                 AND status = ?4 AND register_at IS NULL AND identifier IS NOT NULL",
                params![&self.bot, &self.alias, tx.now(), Status::RegistrationPending.name()],
            )
            .await?;
        if waited > 0 {
            tx.touches().registrations();
        }
        Ok(waited > 0)
    }
}

/// The scripts of an integration version with which instances are found (§ 6.3).
#[derive(Clone, Default, PartialEq)]
pub struct Scripts {
    /// Finds the identifier in a request.
    pub extract: Option<String>,
    /// Answers a request if there is none, or nobody has it.
    pub fallback: Option<String>,
    /// What both may see: secrets by name.
    pub secrets: BTreeMap<String, String>,
}

/// The versions of an integration that are installed somewhere, latest first.
struct FindScripts(String);

impl Script for FindScripts {
    type Out = Vec<(String, String)>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<(String, String)>> {
        let sql = "SELECT g.version, g.body, g.secrets FROM integrations g WHERE g.name = ?1 AND EXISTS \
                   (SELECT 1 FROM instances i WHERE i.integration_id = g.id AND i.enabled = 1)";
        let mut found = Vec::new();
        for mut row in tx.query(sql, params![&self.0]).await? {
            let version = Version::parse(&row.text()?).ok();
            found.push((version, row.text()?, row.text()?));
        }
        found.sort_by(|a, b| b.0.cmp(&a.0));
        Ok(found.into_iter().take(MOST_VERSIONS).map(|(_, body, secrets)| (body, secrets)).collect())
    }
}

/// The instance of an integration that has this identifier.
struct FindIdentified {
    name: String,
    identifier: String,
}

impl Script for FindIdentified {
    type Out = Option<InstanceCode>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<InstanceCode>> {
        let sql = format!(
            "SELECT {INSTANCE_COLUMNS} FROM instances i CROSS JOIN integrations g WHERE g.id = i.integration_id \
             AND i.identifier = ?1 AND g.name = ?2 AND i.enabled = 1 ORDER BY i.created_at LIMIT 1"
        );
        let row = tx.query_opt(&sql, params![&self.identifier, &self.name]).await?;
        row.map(|mut row| callees::instance(&mut row)).transpose()
    }
}

/// Takes the lock of a bot, unless another process has it.
struct TryLock {
    bot: BotId,
    holder: String,
    millis: i64,
}

impl Script for TryLock {
    type Out = bool;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool> {
        let taken = tx
            .execute(
                "INSERT INTO bot_locks (bot_id, holder, until) VALUES (?1, ?2, ?3) ON CONFLICT (bot_id) DO UPDATE \
                 SET holder = excluded.holder, until = excluded.until WHERE bot_locks.until < ?4 OR bot_locks.holder = ?2",
                params![&self.bot, &self.holder, tx.now().plus_millis(self.millis), tx.now()],
            )
            .await?;
        Ok(taken > 0)
    }
}

struct Unlock {
    bot: BotId,
    holder: String,
}

impl Script for Unlock {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let sql = "DELETE FROM bot_locks WHERE bot_id = ?1 AND holder = ?2";
        tx.execute(sql, params![&self.bot, &self.holder]).await?;
        Ok(())
    }
}

impl Store {
    /// Records how telling code of instances went. What has changed since, or is gone, is left alone.
    pub async fn record_registrations(&self, bot: BotId, outcomes: Vec<Outcome>) -> Result<()> {
        self.write(Record { bot, outcomes }).await
    }

    /// At most `most` instances whose code is to be told of them now. They are the caller's for
    /// [`GIVEN_UP_MILLIS`].
    pub async fn claim_registrations(&self, most: usize) -> Result<Vec<Due>> {
        self.write(Claim(most)).await
    }

    /// For a process that has just started and shares its database with nobody: what its predecessor was
    /// telling somebody is due at once.
    pub async fn resume_registrations(&self) -> Result<()> {
        self.write(Resume).await
    }

    /// When the next instance is due.
    pub async fn next_registration(&self) -> Result<Option<Timestamp>> {
        self.read(&NextDue).await
    }

    /// A user has connected an instance, which may have learned its identifier by that. Answers whether
    /// its code is told of it now.
    pub async fn connected(&self, bot: BotId, alias: String, identifier: Option<String>) -> Result<bool> {
        self.write(Connected { bot, alias, identifier }).await
    }

    /// The scripts of the installed versions of an integration, latest first; nothing if none is
    /// installed.
    pub async fn identifier_scripts(&self, name: &str) -> Result<Vec<Scripts>> {
        #[derive(Deserialize)]
        struct Body {
            definition: Declared,
        }
        #[derive(Deserialize)]
        struct Declared {
            #[serde(default)]
            identifier: Identifier,
        }
        let damaged = |error: serde_json::Error| Error::Corrupt(format!("integration {name}: {error}"));
        let mut all: Vec<Scripts> = Vec::new();
        for (body, secrets) in self.read(&FindScripts(name.to_owned())).await? {
            let body: Body = serde_json::from_str(&body).map_err(damaged)?;
            let Identifier { fallback_handler_script, extract_script } = body.definition.identifier;
            let sealed = serde_json::from_str(&secrets).map_err(damaged)?;
            let secrets = self.vault.open_all(&sealed)?;
            let scripts = Scripts { extract: extract_script, fallback: fallback_handler_script, secrets };
            if !all.contains(&scripts) {
                all.push(scripts);
            }
        }
        Ok(all)
    }

    /// The working instance of an integration, of any version, that has this identifier.
    pub async fn identified(&self, name: &str, identifier: &str) -> Result<Option<InstanceCode>> {
        self.read(&FindIdentified { name: name.to_owned(), identifier: identifier.to_owned() }).await
    }

    /// Takes, or keeps, the lock of a bot for so many milliseconds. Answers whether that succeeded.
    pub async fn try_lock_bot(&self, bot: BotId, holder: String, millis: i64) -> Result<bool> {
        self.write(TryLock { bot, holder, millis }).await
    }

    /// Gives the lock of a bot back.
    pub async fn unlock_bot(&self, bot: BotId, holder: String) -> Result<()> {
        self.write(Unlock { bot, holder }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_have_the_names_of_the_dialect() {
        for name in ["hourly", "daily", "weekly", "bi-weekly", "monthly", "bi-monthly", "quarterly", "yearly"] {
            assert_eq!(Period::from_name(name).unwrap().name(), name);
        }
        assert_eq!(Period::from_name("never"), None);
        let start = Timestamp::from_millis(0);
        assert_eq!(Period::BiWeekly.after(start).millis(), 14 * 24 * 3_600_000);
    }
}
