//! Plugins installed in a bot, and what they add to its definition (`spec/cloud/cli-protocol.md` § 4).
//!
//! What a plugin brings along is never stored with the bot: it is computed whenever the bot is read,
//! under names that begin with the plugin's alias and `#`.

use std::collections::{BTreeMap, HashMap};

use duologue_model::{Error as Refusal, Json, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    Definition, Instance, Stored,
    instances::check_alias,
    parts::{self, Map, limit},
};
use crate::{
    Error, Result, catalog,
    catalog::plugins::{Plugin, entities},
    integrations::{self, LifecycleStatus, Visibility},
    params,
    tx::Tx,
};

/// Most plugins installed in one bot.
pub const MAX_PLUGINS: usize = 30;

/// The integration that stands behind an interface which a plugin depends on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Backing {
    /// The integration version.
    pub integration_id: String,
    /// Under which it is installed.
    pub integration_alias: String,
    /// What the integration calls the interface; found by the interface's id if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub integration_interface_alias: Option<String>,
    /// The interface version; only in interfaces.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub interface_id: String,
}

/// What is set for an installed plugin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Its values.
    pub configuration: Json,
    /// By the plugin's name for the interface.
    pub interfaces: Map<Backing>,
    /// By the plugin's name for the integration.
    pub integrations: Map<Backing>,
}

/// A plugin to install, or a change to an installed one. Absent members stay.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Change {
    /// Of the plugin version.
    pub id: String,
    /// Whether it works; yes if nothing is said.
    pub enabled: Option<bool>,
    /// Replaced as a whole.
    pub configuration: Option<Json>,
    /// Replaced as a whole.
    pub interfaces: Option<Map<Backing>>,
    /// Replaced as a whole.
    pub integrations: Option<Map<Backing>>,
}

impl Change {
    pub(crate) fn check(&self, alias: &str) -> Result<(), Refusal> {
        check_alias(alias)?;
        if self.id.is_empty() {
            return Err(Refusal::invalid_payload(format!("plugins.{alias}.id is missing")));
        }
        match &self.configuration {
            Some(configuration) => parts::configuration(&format!("plugins.{alias}.configuration"), configuration),
            None => Ok(()),
        }
    }
}

/// An installed plugin.
#[derive(Clone, Debug)]
pub struct Installed {
    /// Unique among the bot's plugins.
    pub alias: String,
    /// Whether it works.
    pub enabled: bool,
    /// What is set for it.
    pub settings: Settings,
    /// When it was installed.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// What is installed.
    pub plugin: Plugin,
}

/// The plugins of a bot, by alias; their schemas as they were declared.
pub(crate) async fn list(tx: &mut Tx<'_>, bot: &str) -> Result<Vec<Installed>> {
    let sql = "SELECT alias, plugin_id, enabled, body, created_at, updated_at FROM bot_plugins WHERE bot_id = ?1 ORDER BY alias";
    let mut installed = Vec::new();
    let mut read: HashMap<String, Plugin> = HashMap::new();
    for mut row in tx.query(sql, params![bot]).await? {
        let (alias, id, enabled, body) = (row.text()?, row.text()?, row.bool()?, row.text()?);
        let (created_at, updated_at) = (row.at()?, row.at()?);
        let settings =
            serde_json::from_str(&body).map_err(|e| Error::Corrupt(format!("plugin {alias} of {bot}: {e}")))?;
        let plugin = match read.get(&id) {
            Some(plugin) => plugin.clone(),
            None => {
                let found: Option<Plugin> = catalog::find(tx, &id, false).await?;
                let found = found.ok_or_else(|| Error::Corrupt(format!("plugin {alias} of {bot}: {id} is gone")))?;
                read.entry(id).or_insert(found).clone()
            }
        };
        installed.push(Installed { alias, enabled, settings, created_at, updated_at, plugin });
    }
    Ok(installed)
}

/// Applies a change. The caller has locked the bot.
pub(crate) async fn apply(tx: &mut Tx<'_>, bot: &Stored, change: &Map<Option<Change>>) -> Result<()> {
    if change.is_empty() {
        return Ok(());
    }
    let mut installed = list(tx, bot.id.as_str()).await?;
    for (alias, change) in change {
        let old = installed.iter().position(|plugin| plugin.alias == *alias).map(|at| installed.remove(at));
        match change {
            None => {
                tx.execute("DELETE FROM bot_plugins WHERE bot_id = ?1 AND alias = ?2", params![&bot.id, alias]).await?;
            }
            Some(change) => installed.push(put(tx, bot, alias, old, change).await?),
        }
    }
    limit("plugins installed in a bot", installed.len(), MAX_PLUGINS)?;
    Ok(())
}

async fn put(tx: &mut Tx<'_>, bot: &Stored, alias: &str, old: Option<Installed>, change: &Change) -> Result<Installed> {
    let is_kept = old.as_ref().is_some_and(|old| old.plugin.head().id == change.id);
    let found: Option<Plugin> = catalog::find(tx, &change.id, false).await?;
    let found = found.filter(|found| is_kept || found.head().is_usable_by(&bot.workspace_id));
    let plugin = found.ok_or_else(|| Refusal::reference_not_found("plugin", &change.id))?;
    let now = tx.now();
    let (created_at, was_enabled, mut settings) = match old {
        Some(old) => (old.created_at, old.enabled, old.settings),
        None => (now, true, Settings::default()),
    };
    if let Some(configuration) = &change.configuration {
        settings.configuration = configuration.clone();
    }
    if let Some(interfaces) = &change.interfaces {
        settings.interfaces = interfaces.clone();
    }
    if let Some(integrations) = &change.integrations {
        settings.integrations = integrations.clone();
    }
    let needed = &plugin.definition().dependencies.interfaces;
    for (name, backing) in &mut settings.interfaces {
        let Some(interface) = needed.get(name) else {
            let text =
                format!("plugins.{alias}.interfaces: the plugin depends on no interface under the name \"{name}\"");
            return Err(Refusal::invalid_payload(text).into());
        };
        backing.interface_id.clone_from(&interface.id);
    }
    for backing in settings.interfaces.values_mut().chain(settings.integrations.values_mut()) {
        complete(tx, bot, backing).await?;
    }
    let enabled = change.enabled.unwrap_or(was_enabled);
    if enabled {
        let schema = &plugin.definition().configuration.schema;
        parts::configured(&format!("plugins.{alias}.configuration"), schema, &settings.configuration)?;
    }
    tx.execute(
        "INSERT INTO bot_plugins (bot_id, alias, plugin_id, enabled, body, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
         ON CONFLICT (bot_id, alias) DO UPDATE SET plugin_id = excluded.plugin_id, enabled = excluded.enabled, body = excluded.body, \
         updated_at = excluded.updated_at",
        params![&bot.id, alias, &change.id, enabled, &Json::of(&settings), created_at, now],
    )
    .await?;
    Ok(Installed { alias: alias.to_owned(), enabled, settings, created_at, updated_at: now, plugin })
}

/// Checks that the integration exists; its name is its alias if none is given.
async fn complete(tx: &mut Tx<'_>, bot: &Stored, backing: &mut Backing) -> Result<()> {
    let found = integrations::find_version(tx, &backing.integration_id).await?;
    let found = found.filter(|found| found.is_usable_by(&bot.workspace_id));
    let found = found.ok_or_else(|| Refusal::reference_not_found("integration", &backing.integration_id))?;
    if backing.integration_alias.is_empty() {
        backing.integration_alias = found.head.name;
    }
    Ok(())
}

/// Puts schemas of the bot's integrations in the place of references in its plugins.
pub(crate) async fn resolve(tx: &mut Tx<'_>, plugins: &mut [Installed], instances: &[Instance]) -> Result<()> {
    let mut known: HashMap<String, Option<integrations::Definition>> = HashMap::new();
    for installed in plugins.iter_mut().filter(|installed| installed.plugin.definition().refers()) {
        let mut meaning = BTreeMap::new();
        for (name, backing) in &installed.settings.interfaces {
            let instance = instances.iter().find(|instance| instance.alias == backing.integration_alias);
            let id = instance.map_or(&backing.integration_id, |instance| &instance.integration.id);
            if !known.contains_key(id) {
                let found = integrations::find_version(tx, id).await?;
                known.insert(id.clone(), found.map(|found| found.definition));
            }
            let Some(Some(integration)) = known.get(id) else { continue };
            let key = backing.integration_interface_alias.as_deref();
            for (entity, schema) in entities(integration, &backing.interface_id, key) {
                meaning.insert((name.clone(), entity), schema);
            }
        }
        installed.plugin = installed.plugin.clone().resolved(&meaning);
    }
    Ok(())
}

/// What a bot is made of together with what its working plugins bring along.
pub(crate) fn merged(own: &Definition, plugins: &[Installed]) -> Definition {
    fn add<T: Clone>(alias: &str, from: &Map<T>, to: &mut Map<T>) {
        to.extend(from.iter().map(|(name, part)| (format!("{alias}#{name}"), part.clone())));
    }
    let mut all = own.clone();
    for Installed { alias, plugin, .. } in plugins.iter().filter(|plugin| plugin.enabled) {
        let theirs = plugin.definition();
        add(alias, &theirs.actions, &mut all.actions);
        add(alias, &theirs.events, &mut all.events);
        add(alias, &theirs.states, &mut all.states);
        add(alias, &theirs.user.tags, &mut all.user.tags);
        add(alias, &theirs.conversation.tags, &mut all.conversation.tags);
        add(alias, &theirs.message.tags, &mut all.message.tags);
    }
    all
}

/// An installed plugin as the API shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View<'a> {
    enabled: bool,
    name: &'a str,
    version: &'a str,
    configuration: &'a Json,
    interfaces: &'a Map<Backing>,
    integrations: &'a Map<Backing>,
    id: &'a str,
    created_at: Timestamp,
    updated_at: Timestamp,
    title: &'a str,
    description: &'a str,
    icon_url: String,
    readme_url: String,
    public: bool,
    visibility: Visibility,
    lifecycle_status: LifecycleStatus,
}

impl Installed {
    pub(crate) fn view(&self, public_url: &str) -> View<'_> {
        let (head, definition) = (self.plugin.head(), self.plugin.definition());
        let (icon_url, readme_url) = self.plugin.asset_urls(public_url);
        View {
            enabled: self.enabled,
            name: &head.name,
            version: &head.version,
            configuration: &self.settings.configuration,
            interfaces: &self.settings.interfaces,
            integrations: &self.settings.integrations,
            id: &head.id,
            created_at: self.created_at,
            updated_at: self.updated_at,
            title: &definition.title,
            description: &definition.description,
            icon_url,
            readme_url,
            public: head.visibility == Visibility::Public,
            visibility: head.visibility,
            lifecycle_status: LifecycleStatus::default(),
        }
    }
}
