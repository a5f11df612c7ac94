//! States: named JSON kept for a bot, conversation, user, integration, task or workflow, which may
//! expire (`spec/cloud/runtime.md` § 8).

use serde::{Deserialize, Serialize};

use crate::{
    Json, Timestamp,
    id::{BotId, StateId},
};

/// What a state is kept for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StateType {
    /// A conversation.
    Conversation,
    /// A user.
    User,
    /// The bot.
    Bot,
    /// A task.
    Task,
    /// An integration instance.
    Integration,
    /// A workflow.
    Workflow,
}

impl StateType {
    /// The word on the wire.
    pub fn name(self) -> &'static str {
        match self {
            StateType::Conversation => "conversation",
            StateType::User => "user",
            StateType::Bot => "bot",
            StateType::Task => "task",
            StateType::Integration => "integration",
            StateType::Workflow => "workflow",
        }
    }

    /// From the word.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "conversation" => StateType::Conversation,
            "user" => StateType::User,
            "bot" => StateType::Bot,
            "task" => StateType::Task,
            "integration" => StateType::Integration,
            "workflow" => StateType::Workflow,
            _ => return None,
        })
    }
}

/// A state as the Cloud API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Its id.
    pub id: StateId,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last written.
    pub updated_at: Timestamp,
    /// The bot it belongs to.
    pub bot_id: BotId,
    /// Filled for type `conversation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<String>,
    /// Filled for type `user`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Its name.
    pub name: String,
    /// What it is kept for.
    #[serde(rename = "type")]
    pub kind: StateType,
    /// What is kept.
    pub payload: Json,
    /// Idle time after which it expires, in milliseconds (1 to 2,592,000,000).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry: Option<i64>,
    /// When it expires if it isn't touched before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}
