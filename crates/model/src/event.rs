//! Events (`spec/cloud/runtime.md` § 7).

use serde::{Deserialize, Serialize};

use crate::{Json, Timestamp, id::EventId};

/// Where an event is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventStatus {
    /// Waits for its time.
    Scheduled,
    /// Waits for the bot.
    Pending,
    /// The bot answered.
    Processed,
    /// The bot is not there, or not subscribed.
    Ignored,
    /// The bot answered with an error, or not at all.
    Failed,
    /// Was scheduled and then cancelled.
    Canceled,
}

impl EventStatus {
    /// The word on the wire.
    pub fn name(self) -> &'static str {
        match self {
            EventStatus::Scheduled => "scheduled",
            EventStatus::Pending => "pending",
            EventStatus::Processed => "processed",
            EventStatus::Ignored => "ignored",
            EventStatus::Failed => "failed",
            EventStatus::Canceled => "canceled",
        }
    }

    /// From the word.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "scheduled" => EventStatus::Scheduled,
            "pending" => EventStatus::Pending,
            "processed" => EventStatus::Processed,
            "ignored" => EventStatus::Ignored,
            "failed" => EventStatus::Failed,
            "canceled" => EventStatus::Canceled,
            _ => return None,
        })
    }
}

/// An event as the Cloud API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// When it was created (not when it is due).
    pub created_at: Timestamp,
    /// Name in the caller's view.
    #[serde(rename = "type")]
    pub kind: String,
    /// Free JSON object.
    pub payload: Json,
    /// The conversation it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<String>,
    /// The user it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The message it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// Where it is in its life.
    pub status: EventStatus,
    /// Why it failed; `null` normally, always present.
    #[serde(default)]
    pub failure_reason: Option<String>,
}
