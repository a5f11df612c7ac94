//! A change to an integration, or what a new one is made of (`spec/cloud/admin.md` § 6).

use duologue_model::{Error as Refusal, Json, id::Generator};
use serde::Deserialize;

use super::definition::{
    Body, Channel, Configuration, Creatable, Creation, Entity, ExtraOperation, Interface, MAX_ASSET, MAX_SCRIPT, Named,
    State, Visibility,
};
use crate::{
    Result,
    bots::parts::{self, ActionChange, EventChange, MAX_SECRETS, Map, Schema, Tag, TagsChange, each, limit, merge},
    vault::{Sealed, Vault},
};

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

/// A change to [`Creatable`]; absent members stay.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct CreatableChange {
    creation: Option<Creation>,
    tags: Map<Option<Tag>>,
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

/// A change to [`Identifier`]; `null` removes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IdentifierChange {
    #[serde(deserialize_with = "parts::nullable")]
    fallback_handler_script: Option<Option<String>>,
    #[serde(deserialize_with = "parts::nullable")]
    extract_script: Option<Option<String>>,
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

#[cfg(test)]
mod tests {
    use duologue_model::ErrorKind;

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
