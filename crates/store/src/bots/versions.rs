//! Versions of a bot: its definition, code, configuration and what is installed in it, as they once
//! were (`spec/cloud/admin.md` § 5.3). Runtime data and secrets are no part of it.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use duologue_model::{Error as Refusal, ErrorKind, Json, Timestamp, admin::Role, id::Kind};
use serde::{Deserialize, Serialize};

use super::{Change, Definition, Stored, instances, named, plugins, require};
use crate::{
    Error, Result, Store, crypto, params,
    tx::{Script, Tx},
    workspaces::Actor,
};

/// Most versions of a bot.
pub const MAX_VERSIONS: i64 = 50;
/// How long a link to a version is good.
const LINK_MILLIS: i64 = 60 * 60 * 1000;

/// A version in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Version {
    /// Its id.
    pub id: String,
    /// For people.
    pub name: String,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

enum BotVersion {}

impl Kind for BotVersion {
    const PREFIX: &'static str = "botver";
}

/// An installed integration as it once was.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Integration {
    integration_id: String,
    enabled: bool,
    #[serde(default)]
    configuration_type: Option<String>,
    configuration: Json,
    #[serde(default)]
    disabled_channels: Vec<String>,
}

/// An installed plugin as it once was.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Plugin {
    id: String,
    enabled: bool,
    #[serde(flatten)]
    settings: plugins::Settings,
}

/// All of a version: what `getBotJson` answers and `publishFromBotJson` takes.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Snapshot {
    definition: Definition,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(default)]
    integrations: BTreeMap<String, Integration>,
    #[serde(default)]
    plugins: BTreeMap<String, Plugin>,
}

impl Snapshot {
    async fn take(tx: &mut Tx<'_>, bot: &Stored) -> Result<Self> {
        let row = tx.query_opt("SELECT code FROM bot_code WHERE bot_id = ?1", params![&bot.id]).await?;
        let code = row.map(|mut row| row.text()).transpose()?;
        let installed = instances::list(tx, bot.id.as_str()).await?.into_iter().map(|instance| {
            let settings = instance.settings;
            let integration = Integration {
                integration_id: instance.integration.id,
                enabled: instance.enabled,
                configuration_type: settings.configuration_type,
                configuration: settings.configuration,
                disabled_channels: settings.disabled_channels,
            };
            (instance.alias, integration)
        });
        let plugins = plugins::list(tx, bot.id.as_str()).await?.into_iter().map(|one| {
            (one.alias, Plugin { id: one.plugin.head().id.clone(), enabled: one.enabled, settings: one.settings })
        });
        Ok(Snapshot {
            definition: Definition { authentication: None, ..bot.definition.clone() },
            code,
            integrations: installed.collect(),
            plugins: plugins.collect(),
        })
    }

    /// The change that makes the bot what it was. Code that was uploaded since stays if there was none.
    async fn change(self, tx: &mut Tx<'_>, bot: &Stored) -> Result<Change> {
        let mut change = Change { by_alias: true, code: self.code, ..Change::default() };
        for one in plugins::list(tx, bot.id.as_str()).await? {
            change.plugins.insert(one.alias, None);
        }
        for (alias, was) in self.plugins {
            let plugin = plugins::Change {
                id: was.id,
                enabled: Some(was.enabled),
                configuration: Some(was.settings.configuration),
                interfaces: Some(was.settings.interfaces),
                integrations: Some(was.settings.integrations),
            };
            change.plugins.insert(alias, Some(plugin));
        }
        for one in instances::list(tx, bot.id.as_str()).await? {
            change.integrations.insert(one.alias, None);
        }
        for (alias, was) in self.integrations {
            let instance = instances::Change {
                enabled: Some(was.enabled),
                integration_id: Some(was.integration_id),
                configuration_type: Some(was.configuration_type),
                configuration: Some(was.configuration),
                disabled_channels: Some(was.disabled_channels),
            };
            change.integrations.insert(alias, Some(instance));
        }
        change.whole = Some(Box::new(self.definition));
        Ok(change)
    }
}

struct Create {
    actor: Actor,
    bot: String,
    name: String,
    description: Option<String>,
}

impl Script for Create {
    type Out = Version;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Version> {
        let inside = self.actor.enter(tx, Role::Developer).await?;
        let bot = named(tx, &inside, &self.bot, true).await?;
        let row = tx.query_opt("SELECT COUNT(*) FROM bot_versions WHERE bot_id = ?1", params![&bot.id]).await?;
        if row.map_or(Ok(0), |mut row| row.int())? >= MAX_VERSIONS {
            let text = format!("a bot has at most {MAX_VERSIONS} versions");
            return Err(Refusal::new(ErrorKind::LimitExceeded, text).into());
        }
        let snapshot = Snapshot::take(tx, &bot).await?;
        let now = tx.now();
        let id = tx.ids().id::<BotVersion>(now).to_string();
        tx.execute(
            "INSERT INTO bot_versions (id, bot_id, name, description, body, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![&id, &bot.id, &self.name, self.description.as_ref(), &Json::of(&snapshot), now],
        )
        .await?;
        Ok(Version { id, name: self.name.clone(), description: self.description.clone() })
    }
}

struct List {
    actor: Actor,
    bot: String,
}

impl Script for List {
    type Out = Vec<Version>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Version>> {
        let inside = self.actor.enter(tx, Role::Viewer).await?;
        require(tx, &inside, &self.bot).await?;
        let sql = "SELECT id, name, description FROM bot_versions WHERE bot_id = ?1 ORDER BY created_at DESC, id DESC";
        let rows = tx.query(sql, params![&self.bot]).await?;
        rows.into_iter()
            .map(|mut row| Ok(Version { id: row.text()?, name: row.text()?, description: row.opt_text()? }))
            .collect()
    }
}

/// A version's content, of a bot that the actor may see.
struct Content {
    actor: Actor,
    bot: String,
    /// The bot as it is, if no version is named.
    version: Option<String>,
}

impl Script for Content {
    type Out = Json;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Json> {
        let inside = self.actor.enter(tx, Role::Viewer).await?;
        let bot = named(tx, &inside, &self.bot, false).await?;
        match &self.version {
            Some(version) => content(tx, bot.id.as_str(), version).await,
            None => Ok(Json::of(&Snapshot::take(tx, &bot).await?)),
        }
    }
}

async fn content(tx: &mut Tx<'_>, bot: &str, version: &str) -> Result<Json> {
    let row =
        tx.query_opt("SELECT body FROM bot_versions WHERE id = ?1 AND bot_id = ?2", params![version, bot]).await?;
    row.ok_or_else(|| Refusal::not_found("bot version", version))?.json()
}

/// The change that makes a bot what a version or a document says.
struct Deploy {
    actor: Actor,
    bot: String,
    what: Source,
}

enum Source {
    Version(String),
    Inline(Json),
}

impl Script for Deploy {
    type Out = Change;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Change> {
        let inside = self.actor.enter(tx, Role::Developer).await?;
        let bot = named(tx, &inside, &self.bot, false).await?;
        let snapshot: Snapshot = match &self.what {
            Source::Version(version) => {
                let body = content(tx, bot.id.as_str(), version).await?;
                serde_json::from_str(body.text()).map_err(|e| Error::Corrupt(format!("bot version {version}: {e}")))?
            }
            Source::Inline(json) => checked(json)?,
        };
        snapshot.change(tx, &bot).await
    }
}

/// A snapshot that came from outside: as good as one that was deployed.
fn checked(json: &Json) -> Result<Snapshot, Refusal> {
    let refuse =
        |e: serde_json::Error| Refusal::invalid_payload(format!("botJson is not what getBotJson answers: {e}"));
    let snapshot: Snapshot = serde_json::from_str(json.text()).map_err(refuse)?;
    let mut text = serde_json::to_value(&snapshot.definition).map_err(refuse)?;
    if let (Some(members), Some(code)) = (text.as_object_mut(), &snapshot.code) {
        members.insert("code".to_owned(), code.as_str().into());
    }
    let same: Change = serde_json::from_value(text).map_err(refuse)?;
    same.check()?;
    same.apply(&mut Definition::default())?;
    Ok(snapshot)
}

struct Linked(String);

impl Script for Linked {
    type Out = Json;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Json> {
        let row = tx.query_opt("SELECT body FROM bot_versions WHERE id = ?1", params![&self.0]).await?;
        row.ok_or_else(|| Refusal::not_found("bot version", &self.0))?.json()
    }
}

impl Store {
    /// createBotVersion.
    pub async fn create_bot_version(
        &self,
        actor: Actor,
        bot: String,
        name: String,
        description: Option<String>,
    ) -> Result<Version> {
        self.write(Create { actor, bot, name, description }).await
    }

    /// listBotVersions, newest first.
    pub async fn list_bot_versions(&self, actor: Actor, bot: String) -> Result<Vec<Version>> {
        self.read(&List { actor, bot }).await
    }

    /// getBotVersion: the last two segments of an address that anybody who knows it may read for an hour.
    pub async fn link_bot_version(&self, actor: Actor, bot: String, version: String) -> Result<String> {
        self.read(&Content { actor, bot, version: Some(version.clone()) }).await?;
        let until = self.now().plus_millis(LINK_MILLIS).millis();
        let seal = crypto::seal(&self.key, &[b"bot version", version.as_bytes(), &until.to_be_bytes()]);
        Ok(format!("{version}/{until}.{}", URL_SAFE_NO_PAD.encode(&seal[..16])))
    }

    /// What an address of [`Store::link_bot_version`] leads to.
    pub async fn linked_bot_version(&self, version: String, ticket: &str) -> Result<Json> {
        let missing = || Refusal::not_found("bot version", &version);
        let (until, seal) = ticket.split_once('.').ok_or_else(missing)?;
        let until: i64 = until.parse().map_err(|_| missing())?;
        let seal = URL_SAFE_NO_PAD.decode(seal).map_err(|_| missing())?;
        let is_ours = seal.len() == 16
            && crypto::verify(&self.key, &[b"bot version", version.as_bytes(), &until.to_be_bytes()], &seal);
        if !is_ours || Timestamp::from_millis(until) < self.now() {
            return Err(missing().into());
        }
        self.read(&Linked(version)).await
    }

    /// deployBotVersion: the change that makes the bot what it was then.
    pub async fn bot_version_change(&self, actor: Actor, bot: String, version: String) -> Result<Change> {
        self.read(&Deploy { actor, bot, what: Source::Version(version) }).await
    }

    /// getBotJson: what a version made now would hold.
    pub async fn bot_json(&self, actor: Actor, bot: String) -> Result<Json> {
        self.read(&Content { actor, bot, version: None }).await
    }

    /// publishFromBotJson: the change that makes the bot what [`Store::bot_json`] of some bot answered.
    pub async fn bot_json_change(&self, actor: Actor, bot: String, json: Json) -> Result<Change> {
        self.read(&Deploy { actor, bot, what: Source::Inline(json) }).await
    }
}
