//! Messages (`spec/cloud/runtime.md` § 5).

use serde::{Deserialize, Serialize};

use crate::{
    Json, Tags, Timestamp,
    id::{ConversationId, MessageId, UserId},
};

/// Which way a message went: `incoming` to the bot, `outgoing` from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the user to the bot.
    Incoming,
    /// From the bot to the user.
    Outgoing,
}

impl Direction {
    /// The word on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Direction::Incoming => "incoming",
            Direction::Outgoing => "outgoing",
        }
    }

    /// From the word.
    pub fn from_name(name: &str) -> Self {
        if name == "outgoing" { Direction::Outgoing } else { Direction::Incoming }
    }
}

/// Where a message came from, when not from an ordinary exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Recorded only; never delivered.
    Synthetic,
}

/// A message as the Cloud API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// When it was created. Strictly increasing within a conversation, imported messages aside.
    pub created_at: Timestamp,
    /// When its tags or payload last changed.
    pub updated_at: Timestamp,
    /// `text`, `image`, `choice`, … or an integration's own.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the type says; free JSON object.
    pub payload: Json,
    /// Which way it went.
    pub direction: Direction,
    /// Its author.
    pub user_id: UserId,
    /// Where it was said.
    pub conversation_id: ConversationId,
    /// In the caller's view.
    #[serde(default)]
    pub tags: Tags,
    /// Present for recorded-only messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}
