//! Conversations (`spec/cloud/runtime.md` § 4).

use serde::{Deserialize, Serialize};

use crate::{Json, Tags, Timestamp, id::ConversationId};

/// A conversation as the Cloud API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Conversation {
    /// Its id.
    pub id: ConversationId,
    /// The task it is about, if one was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_task_id: Option<String>,
    /// The latest active workflow in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_workflow_id: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed; a new message counts.
    pub updated_at: Timestamp,
    /// The channel of its integration.
    pub channel: String,
    /// Alias of the integration instance it belongs to; empty for the bot's own.
    pub integration: String,
    /// In the caller's view.
    #[serde(default)]
    pub tags: Tags,
    /// Stored messages. Servers older than client 1.45 leave it out.
    #[serde(default)]
    pub message_count: i64,
    /// Free JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<Json>,
}
