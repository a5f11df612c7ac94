//! What an integration is made of, and a change to it (`spec/cloud/admin.md` § 6).

use std::collections::BTreeMap;

use duologue_model::{Error as Refusal, ErrorKind, Json, id::Generator};
use serde::{Deserialize, Serialize};

use crate::{
    Result,
    bots::parts::{
        self, Action, ActionChange, Event, EventChange, MAX_SECRETS, MAX_TAGS, Map, Schema, Tag, Tags, TagsChange,
        each, limit, merge,
    },
    vault::{Sealed, Vault},
};

/// Most events an integration declares.
pub const MAX_EVENTS: usize = 20;
/// Most channels of an integration.
pub const MAX_CHANNELS: usize = 10;
/// Most message types of a channel.
pub const MAX_MESSAGE_TYPES: usize = 20;
/// Most bytes of an icon, and of a readme, in base64.
pub const MAX_ASSET: usize = 1024 * 1024;
/// Most characters of a script.
const MAX_SCRIPT: usize = 2000;

/// Which workspaces may use an integration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    /// Every one, and all see it listed.
    Public,
    /// Its own.
    #[default]
    Private,
    /// Every one that knows its name or id.
    Unlisted,
}

impl Visibility {
    /// The word on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Visibility::Public => "public",
            Visibility::Private => "private",
            Visibility::Unlisted => "unlisted",
        }
    }

    /// From the word.
    pub fn from_name(name: &str) -> Option<Self> {
        [Visibility::Public, Visibility::Private, Visibility::Unlisted]
            .into_iter()
            .find(|visibility| visibility.name() == name)
    }
}

/// What a review of an integration came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerificationStatus {
    /// Nobody asked for one.
    #[default]
    Unapproved,
    /// It is going on.
    Pending,
    /// Fine.
    Approved,
    /// Not fine.
    Rejected,
}

impl VerificationStatus {
    /// From the word.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "unapproved" => VerificationStatus::Unapproved,
            "pending" => VerificationStatus::Pending,
            "approved" => VerificationStatus::Approved,
            "rejected" => VerificationStatus::Rejected,
            _ => return None,
        })
    }
}

/// Whether new installations are welcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LifecycleStatus {
    /// They are.
    #[default]
    Published,
    /// They aren't.
    Deprecated,
}

/// How an instance learns what it is, outside.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Identifier {
    /// When there is none in a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback_handler_script: Option<String>,
    /// Finds it in a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extract_script: Option<String>,
}

/// How a configuration gets its identifier.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigurationIdentifier {
    /// Makes the address where a person connects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_template_script: Option<String>,
    /// Whether there must be one.
    pub required: bool,
}

/// A way to configure the integration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Configuration {
    /// At most 64 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// At most 256 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How it gets its identifier.
    pub identifier: ConfigurationIdentifier,
    /// What its values must look like.
    pub schema: Json,
}

/// Whether bots may have something made, and with which tags.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Creation {
    /// They may.
    pub enabled: bool,
    /// Names of tags they must give.
    pub required_tags: Vec<String>,
}

/// Tags and creation of conversations or users.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Creatable {
    /// By name.
    pub tags: Map<Tag>,
    /// Whether bots may have them made.
    pub creation: Creation,
}

/// A channel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Channel {
    /// At most 64 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// At most 256 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Schemas of payloads by message type.
    pub messages: Map<Schema>,
    /// Its conversations.
    pub conversation: Creatable,
    /// Tags of its messages.
    pub message: Tags,
}

/// What an integration's state is kept for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StateScope {
    /// A conversation.
    Conversation,
    /// A user.
    User,
    /// The instance.
    Integration,
}

/// A declared state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// What it is kept for.
    pub r#type: StateScope,
    /// Of its payload.
    pub schema: Json,
}

/// A kind of thing the integration knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Entity {
    /// At most 64 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// At most 256 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it looks like.
    pub schema: Json,
}

/// What the integration calls a part of an interface.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Named {
    /// Its own name for it.
    pub name: String,
}

/// An interface that the integration implements.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Interface {
    /// Of the interface version.
    pub id: String,
    /// Of the interface.
    pub name: String,
    /// Of the interface.
    pub version: String,
    /// By the interface's name for them.
    pub entities: Map<Named>,
    /// By the interface's name for them.
    pub actions: Map<Named>,
    /// By the interface's name for them.
    pub events: Map<Named>,
    /// By the interface's name for them.
    pub channels: Map<Named>,
}

/// A change to [`Interface`], or a new one.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct InterfaceChange {
    /// Of the interface version.
    pub(crate) id: String,
    #[serde(default)]
    entities: Map<Option<Named>>,
    #[serde(default)]
    actions: Map<Option<Named>>,
    #[serde(default)]
    events: Map<Option<Named>>,
    #[serde(default)]
    channels: Map<Option<Named>>,
}

impl InterfaceChange {
    /// The entry that replaces `old`, for the interface of this name and version.
    pub(crate) fn over(&self, old: Option<&Interface>, name: &str, version: &str) -> Interface {
        let mut new = old.filter(|old| old.id == self.id).cloned().unwrap_or_default();
        new.id.clone_from(&self.id);
        name.clone_into(&mut new.name);
        version.clone_into(&mut new.version);
        for (change, kept) in [
            (&self.entities, &mut new.entities),
            (&self.actions, &mut new.actions),
            (&self.events, &mut new.events),
            (&self.channels, &mut new.channels),
        ] {
            merge(kept, change, |_, own| own.clone());
        }
        new
    }

    fn check(&self, at: &str) -> Result<(), Refusal> {
        for map in [&self.entities, &self.actions, &self.events, &self.channels] {
            for (part, own) in map {
                parts::at_most(&format!("{at}.{part}.name"), own.as_ref().map_or("", |own| &own.name), 200)?;
            }
        }
        Ok(())
    }
}

/// What an integration is made of. All members are always present, as the API shows them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Definition {
    /// For people; the name if none was given.
    pub title: String,
    /// For people; may be empty.
    pub description: String,
    /// What a review came to.
    pub verification_status: VerificationStatus,
    /// Whether new installations are welcome.
    pub lifecycle_status: LifecycleStatus,
    /// By name.
    pub channels: Map<Channel>,
    /// How instances learn what they are.
    pub identifier: Identifier,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_execution_time: Option<i64>,
    /// By the integration's own name for it.
    pub interfaces: Map<Interface>,
    /// The default one.
    pub configuration: Configuration,
    /// Others, by name.
    pub configurations: Map<Configuration>,
    /// By name.
    pub states: Map<State>,
    /// By name.
    pub events: Map<Event>,
    /// By name.
    pub actions: Map<Action>,
    /// Its users.
    pub user: Creatable,
    /// By name.
    pub entities: Map<Entity>,
    /// Texts by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: Map<String>,
}

/// What is stored of an integration in one piece: what the API shows, and what it doesn't.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Body {
    pub(crate) definition: Definition,
    /// What its code can be asked for beyond the usual.
    pub(crate) extra_operations: Map<ExtraOperation>,
    /// What it was made with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sdk_version: Option<String>,
    /// SVG in base64; the same for all versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) icon: Option<String>,
    /// Markdown in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) readme: Option<String>,
}

/// Something an integration's code can be asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExtraOperation {
    /// Whether it can.
    pub enabled: bool,
}

/// A change to [`Configuration`]; absent members stay.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ConfigurationChange {
    title: Option<String>,
    description: Option<String>,
    schema: Option<Json>,
    identifier: ConfigurationIdentifierChange,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ConfigurationIdentifierChange {
    #[serde(deserialize_with = "parts::nullable")]
    link_template_script: Option<Option<String>>,
    required: Option<bool>,
}

/// A change to [`Creatable`]; absent members stay.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct CreatableChange {
    creation: Option<Creation>,
    tags: Map<Option<Tag>>,
}

/// A change to [`Channel`]; absent members stay.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ChannelChange {
    title: Option<String>,
    description: Option<String>,
    messages: Map<Option<Schema>>,
    conversation: CreatableChange,
    message: TagsChange,
}

/// A change to [`Identifier`]; `null` removes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IdentifierChange {
    #[serde(deserialize_with = "parts::nullable")]
    fallback_handler_script: Option<Option<String>>,
    #[serde(deserialize_with = "parts::nullable")]
    extract_script: Option<Option<String>>,
}

/// A change to an integration, or what a new one is made of. Absent members stay; in maps, entries
/// are changed one by one and `null` removes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Change {
    /// Of a new one: lower-case letters, digits, `-`, `_`, after an optional `handle/`. Never changes.
    pub name: Option<String>,
    /// Of a new one: semantic version. Never changes.
    pub version: Option<String>,
    /// Whether a new one is a developer's. Never changes.
    pub dev: Option<bool>,
    /// 1 to 64 characters.
    pub title: Option<String>,
    /// At most 256 characters.
    pub description: Option<String>,
    /// Where its code is called; `null` removes.
    #[serde(deserialize_with = "parts::nullable")]
    pub url: Option<Option<String>>,
    /// Its code.
    pub code: Option<String>,
    /// SVG in base64, for all versions of this name.
    pub icon: Option<String>,
    /// Markdown in base64.
    pub readme: Option<String>,
    /// The same as `visibility` public or private, for older clients.
    pub public: Option<bool>,
    /// Which workspaces may use it.
    pub visibility: Option<Visibility>,
    /// The default one.
    pub configuration: ConfigurationChange,
    /// Others, by name.
    pub configurations: Map<Option<ConfigurationChange>>,
    /// By name.
    pub channels: Map<Option<ChannelChange>>,
    /// By name.
    pub states: Map<Option<State>>,
    /// By name.
    pub events: Map<Option<EventChange>>,
    /// By name.
    pub actions: Map<Option<ActionChange>>,
    /// Its users.
    pub user: CreatableChange,
    /// By name.
    pub entities: Map<Option<Entity>>,
    /// Texts by name.
    pub attributes: Map<Option<String>>,
    /// How instances learn what they are.
    pub identifier: IdentifierChange,
    /// What it implements.
    pub interfaces: Map<Option<InterfaceChange>>,
    /// What its code can be asked for beyond the usual.
    pub extra_operations: Map<Option<ExtraOperation>>,
    /// At most 200 characters.
    pub sdk_version: Option<String>,
    /// Values by name; never shown.
    pub secrets: Map<Option<String>>,
    /// The same, encrypted: what is stored.
    #[serde(skip)]
    pub(crate) sealed: Map<Option<Sealed>>,
    /// Seconds.
    #[serde(deserialize_with = "parts::whole")]
    pub max_execution_time: Option<i64>,
}

fn set<T: Clone>(given: &Option<T>, field: &mut T) {
    if let Some(given) = given {
        field.clone_from(given);
    }
}

fn set_option<T: Clone>(given: &Option<T>, field: &mut Option<T>) {
    if given.is_some() {
        field.clone_from(given);
    }
}

fn script(at: &str, given: Option<&Option<String>>) -> Result<(), Refusal> {
    parts::at_most(at, given.and_then(|script| script.as_deref()).unwrap_or_default(), MAX_SCRIPT)
}

impl ConfigurationChange {
    fn over(&self, old: Option<&Configuration>) -> Configuration {
        let mut new = old.cloned().unwrap_or_default();
        set_option(&self.title, &mut new.title);
        set_option(&self.description, &mut new.description);
        set(&self.schema, &mut new.schema);
        set(&self.identifier.link_template_script, &mut new.identifier.link_template_script);
        set(&self.identifier.required, &mut new.identifier.required);
        new
    }

    fn check(&self, at: &str) -> Result<(), Refusal> {
        parts::described(at, self.title.as_ref(), self.description.as_ref())?;
        script(&format!("{at}.identifier.linkTemplateScript"), self.identifier.link_template_script.as_ref())?;
        self.schema.as_ref().map_or(Ok(()), |schema| parts::schema(&format!("{at}.schema"), schema))
    }
}

impl CreatableChange {
    fn apply(&self, to: &mut Creatable) {
        set(&self.creation, &mut to.creation);
        merge(&mut to.tags, &self.tags, |_, tag| tag.clone());
    }

    fn check(&self, at: &str) -> Result<(), Refusal> {
        each(&format!("{at}.tags"), &self.tags, |at, tag| {
            parts::described(at, tag.title.as_ref(), tag.description.as_ref())
        })
    }
}

impl ChannelChange {
    fn over(&self, old: Option<&Channel>) -> Channel {
        let mut new = old.cloned().unwrap_or_default();
        set_option(&self.title, &mut new.title);
        set_option(&self.description, &mut new.description);
        merge(&mut new.messages, &self.messages, |_, schema| schema.clone());
        self.conversation.apply(&mut new.conversation);
        self.message.apply(&mut new.message);
        new
    }

    fn check(&self, at: &str) -> Result<(), Refusal> {
        parts::described(at, self.title.as_ref(), self.description.as_ref())?;
        each(&format!("{at}.messages"), &self.messages, |at, message| {
            parts::schema(&format!("{at}.schema"), &message.schema)
        })?;
        self.conversation.check(&format!("{at}.conversation"))?;
        self.message.check(&format!("{at}.message.tags"))
    }
}

impl Change {
    /// Refuses what could never be stored. Looks at nothing but the change.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        if self.title.as_ref().is_some_and(String::is_empty) {
            return Err(Refusal::invalid_payload("title must not be empty"));
        }
        parts::described("integration", self.title.as_ref(), self.description.as_ref())?;
        parts::at_most("url", self.url.as_ref().and_then(Option::as_deref).unwrap_or_default(), 2000)?;
        parts::at_most("sdkVersion", self.sdk_version.as_deref().unwrap_or_default(), 200)?;
        if let Some(code) = &self.code {
            parts::code(code)?;
        }
        for (what, asset) in [("icon", &self.icon), ("readme", &self.readme)] {
            limit(&format!("bytes of the {what}"), asset.as_ref().map_or(0, String::len), MAX_ASSET)?;
        }
        self.configuration.check("configuration")?;
        each("configurations", &self.configurations, |at, configuration| configuration.check(at))?;
        each("channels", &self.channels, |at, channel| channel.check(at))?;
        each("states", &self.states, |at, state| parts::schema(&format!("{at}.schema"), &state.schema))?;
        each("events", &self.events, |at, event| event.check(at))?;
        each("actions", &self.actions, |at, action| action.check(at))?;
        each("entities", &self.entities, |at, entity| {
            parts::described(at, entity.title.as_ref(), entity.description.as_ref())?;
            parts::schema(&format!("{at}.schema"), &entity.schema)
        })?;
        self.user.check("user")?;
        parts::attributes("integration", &self.attributes)?;
        script("identifier.extractScript", self.identifier.extract_script.as_ref())?;
        script("identifier.fallbackHandlerScript", self.identifier.fallback_handler_script.as_ref())?;
        for (key, interface) in &self.interfaces {
            parts::at_most("a key of interfaces", key, 200)?;
            interface.as_ref().map_or(Ok(()), |interface| interface.check(&format!("interfaces.{key}")))?;
        }
        parts::secrets(&self.secrets)
    }

    /// The visibility that is asked for, in either spelling.
    pub(crate) fn wanted_visibility(&self) -> Option<Visibility> {
        let by_flag = self.public.map(|public| if public { Visibility::Public } else { Visibility::Private });
        self.visibility.or(by_flag)
    }

    /// Applies what is kept in one piece, and checks the result.
    pub(crate) fn apply(&self, to: &mut Body) -> Result<(), Refusal> {
        let d = &mut to.definition;
        set(&self.title, &mut d.title);
        set(&self.description, &mut d.description);
        d.configuration = self.configuration.over(Some(&d.configuration));
        merge(&mut d.configurations, &self.configurations, |old, configuration| configuration.over(old));
        merge(&mut d.channels, &self.channels, |old, channel| channel.over(old));
        merge(&mut d.states, &self.states, |_, state| state.clone());
        merge(&mut d.events, &self.events, |old, event| event.over(old));
        merge(&mut d.actions, &self.actions, |old, action| action.over(old));
        merge(&mut d.entities, &self.entities, |_, entity| entity.clone());
        merge(&mut d.attributes, &self.attributes, |_, text| text.clone());
        self.user.apply(&mut d.user);
        set(&self.identifier.extract_script, &mut d.identifier.extract_script);
        set(&self.identifier.fallback_handler_script, &mut d.identifier.fallback_handler_script);
        set_option(&self.max_execution_time, &mut d.max_execution_time);
        merge(&mut to.extra_operations, &self.extra_operations, |_, operation| operation.clone());
        set_option(&self.sdk_version, &mut to.sdk_version);
        set_option(&self.icon, &mut to.icon);
        set_option(&self.readme, &mut to.readme);
        to.definition.check_counts()
    }

    /// Encrypts its secrets; they are in clear no longer.
    pub(crate) fn seal(mut self, vault: &Vault, ids: &Generator) -> Result<Self> {
        self.sealed = vault.seal_change(ids, &std::mem::take(&mut self.secrets))?;
        Ok(self)
    }

    /// Applies the change of secrets.
    pub(crate) fn apply_secrets(&self, secrets: &mut Map<Sealed>) -> Result<(), Refusal> {
        merge(secrets, &self.sealed, |_, value| value.clone());
        limit("secrets of an integration", secrets.len(), MAX_SECRETS)
    }
}

impl Definition {
    fn check_counts(&self) -> Result<(), Refusal> {
        limit("events of an integration", self.events.len(), MAX_EVENTS)?;
        limit("channels of an integration", self.channels.len(), MAX_CHANNELS)?;
        limit("tags declared for a user", self.user.tags.len(), MAX_TAGS)?;
        for (name, channel) in &self.channels {
            limit(&format!("message types of the channel \"{name}\""), channel.messages.len(), MAX_MESSAGE_TYPES)?;
            limit(
                &format!("tags declared for conversations of \"{name}\""),
                channel.conversation.tags.len(),
                MAX_TAGS,
            )?;
            limit(&format!("tags declared for messages of \"{name}\""), channel.message.tags.len(), MAX_TAGS)?;
        }
        Ok(())
    }

    /// All declared names that bots may rely on.
    fn names(&self) -> Vec<String> {
        fn add<T>(names: &mut Vec<String>, at: &str, map: &Map<T>) {
            names.extend(map.keys().map(|key| format!("{at}.{key}")));
        }
        let mut names = Vec::new();
        add(&mut names, "actions", &self.actions);
        add(&mut names, "events", &self.events);
        add(&mut names, "states", &self.states);
        add(&mut names, "entities", &self.entities);
        add(&mut names, "configurations", &self.configurations);
        add(&mut names, "user.tags", &self.user.tags);
        add(&mut names, "channels", &self.channels);
        for (key, channel) in &self.channels {
            add(&mut names, &format!("channels.{key}.messages"), &channel.messages);
            add(&mut names, &format!("channels.{key}.conversation.tags"), &channel.conversation.tags);
            add(&mut names, &format!("channels.{key}.message.tags"), &channel.message.tags);
        }
        names
    }

    /// Refuses to become `after` if that takes away what bots may rely on.
    pub(crate) fn refuse_to_break(&self, after: &Definition) -> Result<(), Refusal> {
        let kept = after.names();
        let gone: Vec<String> = self.names().into_iter().filter(|name| !kept.contains(name)).collect();
        if gone.is_empty() {
            return Ok(());
        }
        let text = format!(
            "bots have this integration installed and may rely on what this would remove: {}. Release a new version instead",
            gone.join(", ")
        );
        Err(Refusal::new(ErrorKind::BreakingChanges, text).with_metadata(serde_json::json!({ "removed": gone })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(text: &str) -> Change {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_isnt_said_is_filled_in() {
        let mut body = Body::default();
        let given = change(r#"{"channels":{"dm":{"messages":{"text":{"schema":{}}}}},"configurations":{"oauth":{}}}"#);
        given.check().unwrap();
        given.apply(&mut body).unwrap();
        let shown: serde_json::Value = serde_json::from_str(&serde_json::to_string(&body.definition).unwrap()).unwrap();
        assert_eq!(
            shown["channels"]["dm"],
            serde_json::json!({
                "messages": {"text": {"schema": {}}},
                "conversation": {"tags": {}, "creation": {"enabled": false, "requiredTags": []}},
                "message": {"tags": {}},
            })
        );
        assert_eq!(
            shown["configurations"]["oauth"],
            serde_json::json!({"identifier": {"required": false}, "schema": {}})
        );
        for member in ["identifier", "configuration", "states", "events", "actions", "entities", "user", "interfaces"] {
            assert!(shown[member].is_object(), "{member}");
        }
    }

    #[test]
    fn changes_reach_every_level() {
        let mut body = Body::default();
        change(
            r#"{"identifier":{"extractScript":"a"},"configuration":{"identifier":{"linkTemplateScript":"b","required":true}},
                "channels":{"dm":{"messages":{"text":{"schema":{}},"image":{"schema":{}}},"message":{"tags":{"id":{},"ts":{}}}}}}"#,
        )
        .apply(&mut body)
        .unwrap();
        change(
            r#"{"identifier":{"extractScript":null},"configuration":{"identifier":{"linkTemplateScript":null}},
                "channels":{"dm":{"messages":{"image":null},"message":{"tags":{"ts":null}}}}}"#,
        )
        .apply(&mut body)
        .unwrap();
        let d = &body.definition;
        assert_eq!(d.identifier.extract_script, None);
        assert_eq!(
            (d.configuration.identifier.link_template_script.as_ref(), d.configuration.identifier.required),
            (None, true)
        );
        assert_eq!(d.channels["dm"].messages.keys().collect::<Vec<_>>(), ["text"]);
        assert_eq!(d.channels["dm"].message.tags.keys().collect::<Vec<_>>(), ["id"]);
    }

    #[test]
    fn removals_break_and_additions_dont() {
        let mut body = Body::default();
        change(r#"{"actions":{"find":{"input":{"schema":{}},"output":{"schema":{}}}}}"#).apply(&mut body).unwrap();
        let before = body.definition.clone();
        change(r#"{"events":{"found":{"schema":{}}}}"#).apply(&mut body).unwrap();
        assert!(before.refuse_to_break(&body.definition).is_ok());
        change(r#"{"actions":{"find":null}}"#).apply(&mut body).unwrap();
        let refusal = before.refuse_to_break(&body.definition).unwrap_err();
        assert_eq!(refusal.kind, ErrorKind::BreakingChanges);
        assert!(refusal.message.contains("actions.find"));
    }

    #[test]
    fn older_clients_say_public() {
        assert_eq!(change(r#"{"public":true}"#).wanted_visibility(), Some(Visibility::Public));
        assert_eq!(
            change(r#"{"public":true,"visibility":"unlisted"}"#).wanted_visibility(),
            Some(Visibility::Unlisted)
        );
        assert_eq!(change("{}").wanted_visibility(), None);
    }
}
