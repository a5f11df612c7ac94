//! Interfaces: what integrations implement and plugins rely on (`spec/cloud/admin.md` § 7).

use std::collections::BTreeMap;

use duologue_model::{Error as Refusal, Timestamp, id::Generator};
use serde::{Deserialize, Serialize};

use super::{Label, Product, Revision, Stored};
use crate::{
    Result,
    bots::parts::{self, Action, ActionChange, Event, EventChange, Map, Schema, each, merge},
    integrations::{Entity, Visibility},
    tx::Tx,
};

/// A channel that integrations must have.
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
}

/// How the parts of an implementation are named.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NameTemplate {
    /// At most 2000 characters.
    pub script: String,
    /// What it is written in.
    pub language: String,
}

/// What an interface is made of. All members are always present, as the API shows them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Definition {
    /// For people; the name if none was given.
    pub title: String,
    /// For people; may be empty.
    pub description: String,
    /// By name.
    pub entities: Map<Entity>,
    /// By name.
    pub events: Map<Event>,
    /// By name.
    pub actions: Map<Action>,
    /// By name.
    pub channels: Map<Channel>,
    /// How the parts of an implementation are named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_template: Option<NameTemplate>,
    /// Texts by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: Map<String>,
}

impl Product for Definition {
    const TABLE: &'static str = "interfaces";
    const NOUN: &'static str = "interface";
    const PLURAL: &'static str = "interfaces";
    const USES: &'static str = "SELECT COUNT(*) FROM interface_uses WHERE interface_id = ?1";
    const PARTS: &'static [&'static str] = &[];
    const IS_OFFERED: bool = false;
    type Change = Change;

    /// The CLI takes anything but a UUID for a name (`spec/cloud/cli-protocol.md` § 7).
    fn new_id(ids: &Generator, _: Timestamp) -> String {
        ids.uuid()
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
            of("entities", self.entities.keys().collect()),
            of("events", self.events.keys().collect()),
            of("actions", self.actions.keys().collect()),
            of("channels", self.channels.keys().collect()),
        ]
        .concat()
    }

    fn in_use(uses: i64) -> String {
        format!("{uses} integrations and plugins still use this interface; delete those first")
    }
}

/// An interface version.
pub type Interface = Stored<Definition>;

/// A change to [`Channel`]; absent members stay.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ChannelChange {
    title: Option<String>,
    description: Option<String>,
    messages: Map<Option<Schema>>,
}

impl ChannelChange {
    fn over(&self, old: Option<&Channel>) -> Channel {
        let mut new = old.cloned().unwrap_or_default();
        if self.title.is_some() {
            new.title.clone_from(&self.title);
        }
        if self.description.is_some() {
            new.description.clone_from(&self.description);
        }
        merge(&mut new.messages, &self.messages, |_, schema| schema.clone());
        new
    }

    fn check(&self, at: &str) -> Result<(), Refusal> {
        parts::described(at, self.title.as_ref(), self.description.as_ref())?;
        each(&format!("{at}.messages"), &self.messages, |at, message| {
            parts::schema(&format!("{at}.schema"), &message.schema)
        })
    }
}

/// A change to an interface, or what a new one is made of. Absent members stay; in maps, entries are
/// changed one by one and `null` removes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Change {
    /// Name, version, visibility and files.
    #[serde(flatten)]
    pub label: Label,
    title: Option<String>,
    description: Option<String>,
    entities: Map<Option<Entity>>,
    events: Map<Option<EventChange>>,
    actions: Map<Option<ActionChange>>,
    channels: Map<Option<ChannelChange>>,
    #[serde(deserialize_with = "parts::nullable")]
    name_template: Option<Option<NameTemplate>>,
    attributes: Map<Option<String>>,
}

impl Revision<Definition> for Change {
    fn label(&self) -> &Label {
        &self.label
    }

    fn check(&self, _: bool) -> Result<(), Refusal> {
        self.label.check()?;
        if self.label.visibility == Some(Visibility::Unlisted) {
            return Err(Refusal::invalid_payload("interfaces are public or private"));
        }
        if self.title.as_ref().is_some_and(String::is_empty) {
            return Err(Refusal::invalid_payload("title must not be empty"));
        }
        parts::described("interface", self.title.as_ref(), self.description.as_ref())?;
        each("entities", &self.entities, |at, entity| {
            parts::described(at, entity.title.as_ref(), entity.description.as_ref())?;
            parts::schema(&format!("{at}.schema"), &entity.schema)
        })?;
        each("events", &self.events, |at, event| event.check(at))?;
        each("actions", &self.actions, |at, action| action.check(at))?;
        each("channels", &self.channels, |at, channel| channel.check(at))?;
        if let Some(Some(template)) = &self.name_template {
            parts::at_most("nameTemplate.script", &template.script, 2000)?;
            parts::at_most("nameTemplate.language", &template.language, 200)?;
        }
        parts::attributes("interface", &self.attributes)
    }

    async fn apply(&self, _: &mut Tx<'_>, _: &str, d: &mut Definition) -> Result<()> {
        for (given, kept) in [(&self.title, &mut d.title), (&self.description, &mut d.description)] {
            if let Some(given) = given {
                kept.clone_from(given);
            }
        }
        merge(&mut d.entities, &self.entities, |_, entity| entity.clone());
        merge(&mut d.events, &self.events, |old, event| event.over(old));
        merge(&mut d.actions, &self.actions, |old, action| action.over(old));
        merge(&mut d.channels, &self.channels, |old, channel| channel.over(old));
        merge(&mut d.attributes, &self.attributes, |_, text| text.clone());
        if let Some(template) = &self.name_template {
            d.name_template.clone_from(template);
        }
        Ok(())
    }

    async fn written(&self, _: &mut Tx<'_>, _: &Interface) -> Result<()> {
        Ok(())
    }
}
