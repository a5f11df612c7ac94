//! What the host of uploaded code needs: the code, its version, and a token for every process
//! (`spec/cloud/bridge-protocol.md` § 7).
//!
//! A process's token is a key of its bot or integration version that no list shows. It ends with the
//! process; should the server be killed, it ends when the server's hold on it lapses, or, on the embedded
//! engine, with the next start.

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use duologue_model::id::BotId;
use serde::Deserialize;

use crate::{
    Error, Result, Store,
    account::{self, Subject},
    crypto, params,
    tx::{Script, Tx},
};

/// How long tokens live unless their holder says that it still runs.
pub const HOLD: Duration = Duration::from_secs(60 * 60);

/// Whose code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A bot's.
    Bot(String),
    /// An integration version's.
    Integration(String),
}

/// Code and what belongs to it.
#[derive(Clone)]
pub struct Program {
    /// Of the code and its secrets.
    pub version: String,
    /// A CommonJS module.
    pub code: String,
    /// Values by name.
    pub secrets: BTreeMap<String, String>,
    /// Whose it is.
    pub workspace_id: String,
    /// Seconds that a call may take, if it says so.
    pub max_execution_time: Option<i64>,
    /// Whether it is to run on when nobody calls it.
    pub always_alive: bool,
    /// The id of the new process's token.
    pub token_id: String,
    /// The token.
    pub token: String,
}

/// What the definition says about running.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Manner {
    max_execution_time: Option<i64>,
    always_alive: bool,
}

struct Found {
    version: String,
    workspace_id: String,
    body: String,
}

impl Target {
    /// A digest of all that a process gets but the code itself, which is megabytes; `None` if there is none.
    async fn version(&self, tx: &mut Tx<'_>) -> Result<Option<String>> {
        let (sql, id) = match self {
            Target::Bot(id) => (
                "SELECT b.deployed_at, b.workspace_id || b.secrets FROM bots b WHERE b.id = ?1 AND EXISTS (SELECT 1 FROM bot_code c WHERE c.bot_id = b.id)",
                id,
            ),
            Target::Integration(id) => {
                ("SELECT updated_at, secrets FROM integrations WHERE id = ?1 AND code IS NOT NULL", id)
            }
        };
        let Some(mut row) = tx.query_opt(sql, params![id]).await? else { return Ok(None) };
        let (at, secrets) = (row.opt_at()?, row.text()?);
        let at = at.map_or(0, |at| at.millis());
        Ok(Some(format!("{at}-{}", &crypto::sha256_hex(secrets.as_bytes())[..16])))
    }

    async fn found(&self, tx: &mut Tx<'_>) -> Result<Option<Found>> {
        let Some(version) = self.version(tx).await? else { return Ok(None) };
        let (sql, id) = match self {
            Target::Bot(id) => ("SELECT workspace_id, body FROM bots WHERE id = ?1", id),
            Target::Integration(id) => ("SELECT workspace_id, body FROM integrations WHERE id = ?1", id),
        };
        let Some(mut row) = tx.query_opt(sql, params![id]).await? else { return Ok(None) };
        Ok(Some(Found { version, workspace_id: row.text()?, body: row.text()? }))
    }

    async fn code(&self, tx: &mut Tx<'_>) -> Result<Option<String>> {
        let (sql, id) = match self {
            Target::Bot(id) => ("SELECT code FROM bot_code WHERE bot_id = ?1", id),
            Target::Integration(id) => ("SELECT code FROM integrations WHERE id = ?1", id),
        };
        tx.query_opt(sql, params![id]).await?.map_or(Ok(None), |mut row| row.opt_text())
    }

    fn manner(&self, body: &str) -> Result<Manner> {
        // An integration's definition is wrapped together with its icon and readme.
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Wrapped {
            definition: Manner,
        }
        let damaged = |e: serde_json::Error| Error::Corrupt(format!("{self:?}: {e}"));
        match self {
            Target::Bot(_) => serde_json::from_str(body).map_err(damaged),
            Target::Integration(_) => {
                serde_json::from_str(body).map(|Wrapped { definition }| definition).map_err(damaged)
            }
        }
    }
}

struct Version(Target);

impl Script for Version {
    type Out = Option<String>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<String>> {
        self.0.version(tx).await
    }
}

struct Take {
    target: Target,
    holder: String,
}

impl Script for Take {
    type Out = Option<Program>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<Program>> {
        let Some(found) = self.target.found(tx).await? else { return Ok(None) };
        let Some(code) = self.target.code(tx).await? else { return Ok(None) };
        let manner = self.target.manner(&found.body)?;
        let subject = match &self.target {
            Target::Bot(id) => Subject::HostedBot(id),
            Target::Integration(id) => Subject::HostedIntegration(id),
        };
        let key = account::insert_token(tx, subject, "hosted code", None).await?;
        let until = tx.now().plus_millis(HOLD.as_millis() as i64);
        tx.execute(
            "INSERT INTO hosted_tokens (token_id, holder, until) VALUES (?1, ?2, ?3)",
            params![&key.id, &self.holder, until],
        )
        .await?;
        Ok(Some(Program {
            version: found.version,
            code,
            secrets: BTreeMap::new(),
            workspace_id: found.workspace_id,
            max_execution_time: manner.max_execution_time,
            always_alive: manner.always_alive,
            token_id: key.id,
            token: key.value.unwrap_or_default(),
        }))
    }
}

/// Ends tokens that a condition on `hosted_tokens` selects.
struct End {
    condition: &'static str,
    value: Option<String>,
}

impl Script for End {
    type Out = u64;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<u64> {
        let params: &[_] = match &self.value {
            Some(value) => params![value],
            None => &[],
        };
        end(tx, self.condition, params).await
    }
}

async fn end(tx: &mut Tx<'_>, condition: &str, params: &[crate::sql::Param<'_>]) -> Result<u64> {
    let sql = format!("DELETE FROM tokens WHERE id IN (SELECT token_id FROM hosted_tokens WHERE {condition})");
    let gone = tx.execute(&sql, params).await?;
    tx.execute(&format!("DELETE FROM hosted_tokens WHERE {condition}"), params).await?;
    Ok(gone)
}

struct Renew(String);

impl Script for Renew {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let until = tx.now().plus_millis(HOLD.as_millis() as i64);
        tx.execute("UPDATE hosted_tokens SET until = ?2 WHERE holder = ?1", params![&self.0, until]).await?;
        Ok(())
    }
}

impl Store {
    /// Another number whenever somebody's rights, code or definitions may have changed through this store.
    pub fn rights_generation(&self) -> u64 {
        self.access.generation().load(Ordering::Acquire)
    }

    /// Which version of the code is deployed; `None` if there is no code.
    pub async fn hosted_version(&self, target: Target) -> Result<Option<String>> {
        self.read(&Version(target)).await
    }

    /// The code with a token for a new process; `None` if there is no code. `holder` names this server, and
    /// has to call [`Store::renew_hosted_tokens`] more often than every [`HOLD`].
    pub async fn hosted_program(&self, target: Target, holder: String) -> Result<Option<Program>> {
        let Some(mut program) = self.write(Take { target: target.clone(), holder }).await? else { return Ok(None) };
        // Should they have changed since, so has the version, and the program is taken once more.
        program.secrets = match &target {
            Target::Bot(id) => self.bot_secrets(&BotId::new(id.as_str())).await?,
            Target::Integration(id) => self.integration_secrets(id).await?,
        };
        Ok(Some(program))
    }

    /// A process is no more: neither is its token.
    pub async fn end_hosted_token(&self, token_id: String) -> Result<()> {
        self.write_rights(End { condition: "token_id = ?1", value: Some(token_id) }).await.map(|_| ())
    }

    /// This server still runs, and so do its processes.
    pub async fn renew_hosted_tokens(&self, holder: String) -> Result<()> {
        self.write(Renew(holder)).await
    }

    /// Ends the tokens of this holder, or all; answers how many. The embedded engine has one server: what
    /// is there when that starts was left by one that was killed.
    pub async fn end_hosted_tokens(&self, holder: Option<String>) -> Result<u64> {
        let condition = if holder.is_some() { "holder = ?1" } else { "1 = 1" };
        self.write_rights(End { condition, value: holder }).await
    }
}

/// Ends tokens whose holder is gone.
pub(crate) async fn tidy(tx: &mut Tx<'_>) -> Result<u64> {
    let now = tx.now();
    end(tx, "until <= ?1", params![now]).await
}
