//! Plugins: parts of bots that bots share (`spec/cloud/admin.md` § 7).
//!
//! Their code isn't run here: the CLI fetches it and bundles it into bots. Their definitions become
//! part of a bot's, see `bots/plugins.rs`. Schemas in them may refer to entities of interfaces that
//! the plugin depends on; [`resolve`] puts in their place what an integration means by them
//! (`spec/cloud/cli-protocol.md` § 4).

use std::collections::BTreeMap;

use duologue_model::{
    Error as Refusal, Json, Timestamp,
    admin::Role,
    id::{Generator, Kind},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Label, Product, Revision, Stored, Which, interfaces, note_interfaces, usable};
use crate::{
    Result, Store,
    bots::{
        definition::State,
        parts::{self, Action, ActionChange, Event, EventChange, MAX_TAGS, Map, Tags, TagsChange, each, limit, merge},
    },
    integrations::{self},
    params,
    tx::{Script, Tx},
    workspaces::Actor,
};

/// What references to entities of interfaces begin with.
const REFERENCE: &str = "interface:";

/// A plugin's configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Configuration {
    /// At most 64 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// At most 256 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What its values must look like.
    pub schema: Json,
}

/// What a plugin needs, resolved.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Dependency {
    /// Of the version.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// What a plugin needs, by the names it uses for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dependencies {
    /// Interfaces that integrations of the bot must implement.
    pub interfaces: Map<Dependency>,
    /// Integrations that the bot must have.
    pub integrations: Map<Dependency>,
}

/// What a plugin is made of. All members are always present, as the API shows them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Definition {
    /// For people; the name if none was given.
    pub title: String,
    /// For people; may be empty.
    pub description: String,
    /// Set for each bot.
    pub configuration: Configuration,
    /// By name.
    pub states: Map<State>,
    /// By name.
    pub events: Map<Event>,
    /// By name.
    pub actions: Map<Action>,
    /// What it needs.
    pub dependencies: Dependencies,
    /// Tags of users.
    pub user: Tags,
    /// Tags of conversations.
    pub conversation: Tags,
    /// Tags of messages.
    pub message: Tags,
    /// Texts by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: Map<String>,
}

enum PluginVersion {}

impl Kind for PluginVersion {
    const PREFIX: &'static str = "plugver";
}

impl Product for Definition {
    const TABLE: &'static str = "plugins";
    const NOUN: &'static str = "plugin";
    const PLURAL: &'static str = "plugins";
    const USES: &'static str = "SELECT COUNT(*) FROM bot_plugins WHERE plugin_id = ?1";
    const PARTS: &'static [&'static str] =
        &["DELETE FROM plugin_code WHERE plugin_id = ?1", "DELETE FROM interface_uses WHERE user_id = ?1"];
    const IS_OFFERED: bool = true;
    type Change = Change;

    fn new_id(ids: &Generator, now: Timestamp) -> String {
        ids.id::<PluginVersion>(now).to_string()
    }

    fn title(&self) -> &str {
        &self.title
    }

    fn title_mut(&mut self) -> &mut String {
        &mut self.title
    }

    fn description(&self) -> &str {
        &self.description
    }

    fn names(&self) -> Vec<String> {
        let of = |at: &'static str, keys: Vec<&String>| -> Vec<String> {
            keys.into_iter().map(|key| format!("{at}.{key}")).collect()
        };
        [
            of("states", self.states.keys().collect()),
            of("events", self.events.keys().collect()),
            of("actions", self.actions.keys().collect()),
        ]
        .concat()
    }

    fn in_use(uses: i64) -> String {
        format!("the plugin is still installed {uses} times; remove it from those bots first")
    }
}

/// A plugin version.
pub type Plugin = Stored<Definition>;

/// Where a plugin's code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// In a bot.
    Node,
    /// In a page.
    Browser,
}

impl Platform {
    /// The word on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Platform::Node => "node",
            Platform::Browser => "browser",
        }
    }

    /// From the word.
    pub fn from_name(name: &str) -> Option<Self> {
        [Platform::Node, Platform::Browser].into_iter().find(|platform| platform.name() == name)
    }
}

/// A plugin's code; what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Code {
    node: Option<String>,
    browser: Option<String>,
}

impl Code {
    fn given(&self) -> impl Iterator<Item = (Platform, &String)> {
        [(Platform::Node, self.node.as_ref()), (Platform::Browser, self.browser.as_ref())]
            .into_iter()
            .filter_map(|(platform, code)| Some((platform, code?)))
    }
}

/// A dependency as it is asked for: an id wins, else the best version of a name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct WantedDependency {
    id: Option<String>,
    name: Option<String>,
    version: Option<String>,
}

/// A change to [`Dependencies`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct DependenciesChange {
    interfaces: Map<Option<WantedDependency>>,
    integrations: Map<Option<WantedDependency>>,
}

/// A change to a plugin, or what a new one is made of. Absent members stay; in maps, entries are
/// replaced one by one and `null` removes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Change {
    /// Name, version, visibility and files.
    #[serde(flatten)]
    pub label: Label,
    title: Option<String>,
    description: Option<String>,
    #[serde(deserialize_with = "parts::nullable")]
    configuration: Option<Option<Configuration>>,
    states: Map<Option<State>>,
    events: Map<Option<EventChange>>,
    actions: Map<Option<ActionChange>>,
    dependencies: DependenciesChange,
    user: TagsChange,
    conversation: TagsChange,
    message: TagsChange,
    attributes: Map<Option<String>>,
    code: Code,
}

impl Revision<Definition> for Change {
    fn label(&self) -> &Label {
        &self.label
    }

    fn check(&self, is_new: bool) -> Result<(), Refusal> {
        self.label.check()?;
        if is_new && (self.code.node.is_none() || self.code.browser.is_none()) {
            return Err(Refusal::invalid_payload("code needs node and browser"));
        }
        if self.title.as_ref().is_some_and(String::is_empty) {
            return Err(Refusal::invalid_payload("title must not be empty"));
        }
        parts::described("plugin", self.title.as_ref(), self.description.as_ref())?;
        if let Some(Some(configuration)) = &self.configuration {
            parts::described("configuration", configuration.title.as_ref(), configuration.description.as_ref())?;
            parts::schema("configuration.schema", &configuration.schema)?;
        }
        each("states", &self.states, |at, state| parts::schema(&format!("{at}.schema"), &state.schema))?;
        each("events", &self.events, |at, event| event.check(at))?;
        each("actions", &self.actions, |at, action| action.check(at))?;
        self.user.check("user.tags")?;
        self.conversation.check("conversation.tags")?;
        self.message.check("message.tags")?;
        parts::attributes("plugin", &self.attributes)?;
        self.code.given().try_for_each(|(_, code)| parts::code(code))
    }

    async fn apply(&self, tx: &mut Tx<'_>, workspace: &str, d: &mut Definition) -> Result<()> {
        for (given, kept) in [(&self.title, &mut d.title), (&self.description, &mut d.description)] {
            if let Some(given) = given {
                kept.clone_from(given);
            }
        }
        if let Some(configuration) = &self.configuration {
            d.configuration = configuration.clone().unwrap_or_default();
        }
        merge(&mut d.states, &self.states, |_, state| state.clone());
        merge(&mut d.events, &self.events, |old, event| event.over(old));
        merge(&mut d.actions, &self.actions, |old, action| action.over(old));
        merge(&mut d.attributes, &self.attributes, |_, text| text.clone());
        self.user.apply(&mut d.user);
        self.conversation.apply(&mut d.conversation);
        self.message.apply(&mut d.message);
        for (what, tags) in [("user", &d.user), ("conversation", &d.conversation), ("message", &d.message)] {
            limit(&format!("tags declared for a {what}"), tags.tags.len(), MAX_TAGS)?;
        }
        self.depend(tx, workspace, &mut d.dependencies).await
    }

    async fn written(&self, tx: &mut Tx<'_>, plugin: &Plugin) -> Result<()> {
        for (platform, code) in self.code.given() {
            tx.execute(
                "INSERT INTO plugin_code (plugin_id, platform, code) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (plugin_id, platform) DO UPDATE SET code = excluded.code",
                params![&plugin.head.id, platform.name(), code],
            )
            .await?;
        }
        let interfaces = plugin.definition().dependencies.interfaces.values().map(|needed| needed.id.clone());
        note_interfaces(tx, &plugin.head.id, interfaces).await
    }
}

impl Change {
    /// Finds what is depended on.
    async fn depend(&self, tx: &mut Tx<'_>, workspace: &str, to: &mut Dependencies) -> Result<()> {
        for (alias, wanted) in &self.dependencies.interfaces {
            let Some(wanted) = wanted else {
                to.interfaces.remove(alias);
                continue;
            };
            let (name, version) = wanted.names();
            let id = wanted.id.as_deref();
            let found: Option<interfaces::Interface> = usable(tx, workspace, id, name, version).await?;
            let found = found.ok_or_else(|| wanted.missing("interface"))?;
            to.interfaces.insert(alias.clone(), of(found.head.id, found.head.name, found.head.version));
        }
        for (alias, wanted) in &self.dependencies.integrations {
            let Some(wanted) = wanted else {
                to.integrations.remove(alias);
                continue;
            };
            let (name, version) = wanted.names();
            let found = integrations::usable(tx, workspace, wanted.id.as_deref(), name, version).await?;
            let found = found.ok_or_else(|| wanted.missing("integration"))?;
            to.integrations.insert(alias.clone(), of(found.id, found.name, found.version));
        }
        Ok(())
    }
}

fn of(id: String, name: String, version: String) -> Dependency {
    Dependency { id, name, version }
}

impl WantedDependency {
    fn names(&self) -> (&str, &str) {
        (self.name.as_deref().unwrap_or_default(), self.version.as_deref().unwrap_or("latest"))
    }

    fn missing(&self, noun: &str) -> Refusal {
        let (name, version) = self.names();
        Refusal::reference_not_found(noun, self.id.as_deref().unwrap_or(&format!("{name}@{version}")))
    }
}

impl Definition {
    /// Whether a schema refers to an entity of an interface.
    pub(crate) fn refers(&self) -> bool {
        self.schemas().any(|schema| schema.text().contains(REFERENCE))
    }

    fn schemas(&self) -> impl Iterator<Item = &Json> {
        let states = self.states.values().map(|state| &state.schema);
        let events = self.events.values().map(|event| &event.schema);
        let actions = self.actions.values().flat_map(|action| [&action.input.schema, &action.output.schema]);
        states.chain(events).chain(actions).chain([&self.configuration.schema])
    }

    /// Puts schemas in the place of references; `meaning` knows what (interface alias, entity) means.
    pub(crate) fn resolve(&mut self, meaning: &BTreeMap<(String, String), Json>) {
        let states = self.states.values_mut().map(|state| &mut state.schema);
        let events = self.events.values_mut().map(|event| &mut event.schema);
        let actions =
            self.actions.values_mut().flat_map(|action| [&mut action.input.schema, &mut action.output.schema]);
        for schema in states.chain(events).chain(actions).chain([&mut self.configuration.schema]) {
            if schema.text().contains(REFERENCE) {
                let mut value = schema.value();
                resolve(&mut value, meaning);
                *schema = Json::of(&value);
            }
        }
    }
}

/// Puts schemas in the place of references, however deep. What can't be resolved stays.
fn resolve(value: &mut Value, meaning: &BTreeMap<(String, String), Json>) {
    match value {
        Value::Object(members) => {
            let target = members.get("$ref").and_then(Value::as_str).and_then(|target| {
                let (alias, entity) = target.strip_prefix(REFERENCE)?.split_once("/entities/")?;
                meaning.get(&(alias.to_owned(), entity.to_owned()))
            });
            if let Some(Value::Object(schema)) = target.map(Json::value) {
                members.shift_remove("$ref");
                let beside = std::mem::replace(members, schema);
                for (key, value) in beside {
                    members.entry(key).or_insert(value);
                }
                return;
            }
            members.values_mut().for_each(|value| resolve(value, meaning));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| resolve(item, meaning)),
        _ => {}
    }
}

/// What an integration means by an interface's entities. `key` names the interface among those that
/// the integration implements; else it is found by its id.
pub(crate) fn entities(
    integration: &integrations::Definition,
    interface: &str,
    key: Option<&str>,
) -> Vec<(String, Json)> {
    let by_key = key.and_then(|key| integration.interfaces.get(key));
    let implemented = by_key.or_else(|| integration.interfaces.values().find(|entry| entry.id == interface));
    let Some(implemented) = implemented else { return Vec::new() };
    let schema = |(entity, own): (&String, &integrations::Named)| {
        Some((entity.clone(), integration.entities.get(&own.name)?.schema.clone()))
    };
    implemented.entities.iter().filter_map(schema).collect()
}

impl Stored<Definition> {
    /// The same with `meaning` in the place of references.
    pub(crate) fn resolved(mut self, meaning: &BTreeMap<(String, String), Json>) -> Self {
        self.body.definition.resolve(meaning);
        self
    }
}

struct GetCode {
    plugin: String,
    platform: Platform,
}

impl Script for GetCode {
    type Out = String;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<String> {
        let sql = "SELECT code FROM plugin_code WHERE plugin_id = ?1 AND platform = ?2";
        let row = tx.query_opt(sql, params![&self.plugin, self.platform.name()]).await?;
        let missing = || Refusal::not_found(&format!("{} code of plugin", self.platform.name()), &self.plugin);
        row.ok_or_else(missing)?.text()
    }
}

/// What the interfaces of a plugin mean, when these integrations stand behind them.
struct Meaning {
    workspace: Option<Actor>,
    plugin: Plugin,
    integrations: Vec<(String, String)>,
}

impl Script for Meaning {
    type Out = BTreeMap<(String, String), Json>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Out> {
        let workspace = match &self.workspace {
            Some(actor) => actor.enter(tx, Role::Viewer).await?.workspace,
            None => String::new(),
        };
        let mut meaning = BTreeMap::new();
        for (alias, integration) in &self.integrations {
            let Some(needed) = self.plugin.definition().dependencies.interfaces.get(alias) else {
                let text = format!("the plugin depends on no interface under the name \"{alias}\"");
                return Err(Refusal::invalid_payload(text).into());
            };
            let found = integrations::find_version(tx, integration).await?;
            let found = found.filter(|found| found.is_usable_by(&workspace));
            let found = found.ok_or_else(|| Refusal::reference_not_found("integration", integration))?;
            for (entity, schema) in entities(&found.definition, &needed.id, None) {
                meaning.insert((alias.clone(), entity), schema);
            }
        }
        Ok(meaning)
    }
}

impl Store {
    /// getPluginCode and getPublicPluginCode.
    pub async fn plugin_code(&self, actor: Option<Actor>, id: String, platform: Platform) -> Result<String> {
        let plugin: Plugin = self.get_product(actor, Which::Id(id)).await?;
        self.read(&GetCode { plugin: plugin.head.id, platform }).await
    }

    /// getDereferencedPlugin and getDereferencedPublicPluginById: with entities of these integrations,
    /// given by the plugin's names for the interfaces, in the place of references.
    pub async fn dereferenced_plugin(
        &self,
        actor: Option<Actor>,
        id: String,
        integrations: Vec<(String, String)>,
    ) -> Result<Plugin> {
        let plugin: Plugin = self.get_product(actor.clone(), Which::Id(id)).await?;
        let meaning = self.read(&Meaning { workspace: actor, plugin: plugin.clone(), integrations }).await?;
        Ok(plugin.resolved(&meaning))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_resolved_wherever_they_are() {
        let schema = Json::parse(r#"{"type":"object","properties":{"name":{"type":"string"}}}"#.into()).unwrap();
        let meaning = BTreeMap::from([(("store".to_owned(), "item".to_owned()), schema)]);
        let mut value = serde_json::json!({
            "properties": {
                "one": { "$ref": "interface:store/entities/item", "title": "One" },
                "many": { "type": "array", "items": { "$ref": "interface:store/entities/item" } },
                "any": { "anyOf": [{ "$ref": "interface:other/entities/item" }, { "type": "null" }] },
            }
        });
        resolve(&mut value, &meaning);
        let item = serde_json::json!({ "type": "object", "properties": { "name": { "type": "string" } } });
        assert_eq!(value["properties"]["many"]["items"], item);
        assert_eq!(value["properties"]["one"]["properties"], item["properties"]);
        assert_eq!(value["properties"]["one"]["title"], "One");
        assert_eq!(value["properties"]["any"]["anyOf"][0]["$ref"], "interface:other/entities/item", "nobody knows it");
    }
}
