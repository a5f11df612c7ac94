//! Whom deliveries go to: what calling a bot or an integration takes.

use duologue_model::{Json, Timestamp, id::BotId};

use crate::{
    Error, Result, Store,
    bots::{Definition, instances::Settings},
    integrations::definition::Body,
    params,
    tx::{Script, Tx},
};

/// A bot as somebody who can be called.
#[derive(Clone, Debug)]
pub struct BotCallee {
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Which events it hears: see [`super::hears`].
    pub hears: Option<String>,
    /// Where its code is called.
    pub url: Option<String>,
    /// Whether code was uploaded.
    pub has_code: bool,
    /// Whether it is made of flows.
    pub flow: bool,
    /// Values of its configuration, an object.
    pub configuration: Json,
    /// Seconds that a call may take.
    pub max_execution_time: Option<i64>,
}

/// An integration, as installed in a bot, as somebody who can be called.
#[derive(Clone, Debug)]
pub struct InstanceCallee {
    /// When instance and integration last changed.
    pub updated_at: (Timestamp, Timestamp),
    /// Whether it works.
    pub enabled: bool,
    /// Of the instance.
    pub webhook_id: String,
    /// What is set for the instance.
    pub settings: Settings,
    /// The integration version.
    pub integration_id: String,
    /// Its name.
    pub name: String,
    /// Where its code is called.
    pub url: Option<String>,
    /// Whether code was uploaded.
    pub has_code: bool,
    /// Seconds that a call may take.
    pub max_execution_time: Option<i64>,
}

struct FindBot(BotId);

impl Script for FindBot {
    type Out = Option<BotCallee>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<BotCallee>> {
        let sql = "SELECT b.updated_at, b.hears, b.url, (SELECT COUNT(*) FROM bot_code c WHERE c.bot_id = b.id), b.flow, b.body \
                   FROM bots b WHERE b.id = ?1";
        let Some(mut row) = tx.query_opt(sql, params![&self.0]).await? else { return Ok(None) };
        let (updated_at, hears, url) = (row.at()?, row.opt_text()?, row.opt_text()?);
        let (has_code, flow) = (row.bool()?, row.bool()?);
        let definition: Definition =
            serde_json::from_str(&row.text()?).map_err(|e| Error::Corrupt(format!("bot {}: {e}", self.0)))?;
        Ok(Some(BotCallee {
            updated_at,
            hears,
            url,
            has_code,
            flow,
            configuration: definition.configuration.data,
            max_execution_time: definition.max_execution_time,
        }))
    }
}

struct FindInstance {
    bot: BotId,
    alias: String,
}

impl Script for FindInstance {
    type Out = Option<InstanceCallee>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<InstanceCallee>> {
        let sql = "SELECT i.updated_at, g.updated_at, i.enabled, i.webhook_id, i.body, g.id, g.name, g.url, \
                   CASE WHEN g.code IS NULL THEN 0 ELSE 1 END, g.body FROM instances i CROSS JOIN integrations g \
                   WHERE g.id = i.integration_id AND i.bot_id = ?1 AND i.alias = ?2";
        let Some(mut row) = tx.query_opt(sql, params![&self.bot, &self.alias]).await? else { return Ok(None) };
        let damaged = |e: serde_json::Error| Error::Corrupt(format!("instance {} of {}: {e}", self.alias, self.bot));
        let updated_at = (row.at()?, row.at()?);
        let (enabled, webhook_id) = (row.bool()?, row.text()?);
        let settings = serde_json::from_str(&row.text()?).map_err(damaged)?;
        let (integration_id, name, url, has_code) = (row.text()?, row.text()?, row.opt_text()?, row.bool()?);
        let body: Body = serde_json::from_str(&row.text()?).map_err(damaged)?;
        let max_execution_time = body.definition.max_execution_time;
        Ok(Some(InstanceCallee {
            updated_at,
            enabled,
            webhook_id,
            settings,
            integration_id,
            name,
            url,
            has_code,
            max_execution_time,
        }))
    }
}

/// Whether the integration under this alias works and has switched this extra operation on.
pub(super) async fn wants(tx: &mut Tx<'_>, bot: &BotId, alias: &str, operation: &str) -> Result<bool> {
    let sql = "SELECT g.body FROM instances i CROSS JOIN integrations g \
               WHERE g.id = i.integration_id AND i.bot_id = ?1 AND i.alias = ?2 AND i.enabled = 1";
    let Some(mut row) = tx.query_opt(sql, params![bot, alias]).await? else { return Ok(false) };
    let body: Body =
        serde_json::from_str(&row.text()?).map_err(|e| Error::Corrupt(format!("integration {alias} of {bot}: {e}")))?;
    Ok(body.extra_operations.get(operation).is_some_and(|operation| operation.enabled))
}

impl Store {
    /// A bot to be called; `None` if there is no such bot.
    pub async fn bot_callee(&self, bot: &BotId) -> Result<Option<BotCallee>> {
        self.read(&FindBot(bot.clone())).await
    }

    /// An integration to be called, as installed in a bot under an alias.
    pub async fn instance_callee(&self, bot: &BotId, alias: &str) -> Result<Option<InstanceCallee>> {
        self.read(&FindInstance { bot: bot.clone(), alias: alias.to_owned() }).await
    }
}
