//! Workflows and tasks (`spec/cloud/runtime.md` §§ 12–13).

use serde::{Deserialize, Serialize};

use crate::{
    Json, Tags, Timestamp,
    id::{TaskId, WorkflowId},
};

/// Defines an enum of wire words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[allow(missing_docs)]
        pub enum $name { $(#[serde(rename = $word)] $variant),* }
        impl $name {
            /// The word on the wire.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }
            /// From the word.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($word => Some($name::$variant),)* _ => None }
            }
        }
    };
}

words! {
    /// Where a workflow is in its life. The first four are active, the others finished.
    WorkflowStatus {
        Pending "pending", InProgress "in_progress", Listening "listening", Paused "paused",
        Completed "completed", Failed "failed", Timedout "timedout", Cancelled "cancelled",
    }
}

words! {
    /// Where a task is in its life.
    TaskStatus {
        Pending "pending", InProgress "in_progress", Failed "failed", Completed "completed",
        Blocked "blocked", Paused "paused", Timeout "timeout", Cancelled "cancelled",
    }
}

impl WorkflowStatus {
    /// Whether the workflow still runs or waits.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Pending | Self::InProgress | Self::Listening | Self::Paused)
    }
}

/// A workflow as the Cloud API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workflow {
    /// Its id.
    pub id: WorkflowId,
    /// Any name; definitions are not needed.
    pub name: String,
    /// Where it is in its life.
    pub status: WorkflowStatus,
    /// Free JSON object.
    pub input: Json,
    /// Free JSON object.
    pub output: Json,
    /// The workflow that started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_workflow_id: Option<String>,
    /// The conversation it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<String>,
    /// The user it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it finished, however.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
    /// When it times out.
    pub timeout_at: Timestamp,
    /// Always the bot's.
    #[serde(default)]
    pub tags: Tags,
}

/// A task as the Cloud API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// For people.
    pub title: String,
    /// For people.
    pub description: String,
    /// Any name.
    #[serde(rename = "type")]
    pub kind: String,
    /// Free JSON object.
    pub data: Json,
    /// Where it is in its life.
    pub status: TaskStatus,
    /// The task it is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_task_id: Option<String>,
    /// The conversation it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<String>,
    /// The user it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// When it times out.
    pub timeout_at: Timestamp,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
    /// Always the bot's.
    #[serde(default)]
    pub tags: Tags,
}
