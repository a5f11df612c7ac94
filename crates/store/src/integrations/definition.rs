//! What an integration is made of (`spec/cloud/admin.md` § 6).

use std::collections::BTreeMap;

use duologue_model::{Error as Refusal, Json};
use serde::{Deserialize, Serialize};

use crate::{
    Result,
    bots::parts::{self, Action, Event, MAX_TAGS, Map, Schema, Tag, Tags, limit},
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
pub(super) const MAX_SCRIPT: usize = 2000;

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

impl Definition {
    pub(super) fn check_counts(&self) -> Result<(), Refusal> {
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
        parts::refuse_to_break(&self.names(), &after.names(), "integration")
    }
}
