//! The admin API, `/v1/admin/*`: accounts, workspaces, bots and integrations
//! (`spec/cloud/admin.md`).
//!
//! Operations need a personal access token and, account and workspace operations aside,
//! [`crate::Builder::workspace_id`]. Operations of the API that have no function here (interfaces,
//! plugins, usage, …) can be called through [`crate::Client::request`].

mod account;
mod bots;
mod integrations;
mod workspaces;

use std::ops::Deref;

use duologue_model::{Json, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{List, filters};

pub use account::{Introspection, UpdateAccount};
pub use bots::{Bot, BotFields, BotSummary};
pub use integrations::{Integration, IntegrationFields, Visibility};
pub use workspaces::{HandleAvailability, UpdateWorkspace};

/// A large definition: what is stable of it is typed (reached through `Deref`), and the whole is
/// kept beside it as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Whole<T> {
    fields: T,
    json: Json,
}

impl<T> Whole<T> {
    /// The whole definition.
    pub fn json(&self) -> &Json {
        &self.json
    }
}

impl<T> Deref for Whole<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.fields
    }
}

impl<'de, T: de::DeserializeOwned> Deserialize<'de> for Whole<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Json::deserialize(deserializer)?;
        let fields = serde_json::from_str(json.text()).map_err(de::Error::custom)?;
        Ok(Whole { fields, json })
    }
}

impl<T> Serialize for Whole<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json.serialize(serializer)
    }
}

/// One line of a bot's or an integration's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct LogLine {
    /// When it was written.
    pub timestamp: Timestamp,
    /// `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// The text.
    pub message: String,
    /// The workflow it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_id: Option<String>,
    /// The user it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The conversation it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<String>,
}

impl List<LogLine, filters::Logs> {
    /// Only those until this instant; now by default.
    pub fn until(self, at: Timestamp) -> Self {
        self.query("timeEnd", at)
    }

    /// Only those of this level.
    pub fn level(self, level: &str) -> Self {
        self.query("level", level)
    }

    /// Only those about this conversation.
    pub fn conversation(self, id: &str) -> Self {
        self.query("conversationId", id)
    }

    /// Only those about this user.
    pub fn user(self, id: &str) -> Self {
        self.query("userId", id)
    }

    /// Only those that contain this text.
    pub fn containing(self, text: &str) -> Self {
        self.query("messageContains", text)
    }
}

/// The answer of the operations that replace a signing secret.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewSecret {
    new_signing_secret: String,
}
