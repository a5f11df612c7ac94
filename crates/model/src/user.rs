//! Users: the people and bots that take part in conversations (`spec/cloud/runtime.md` § 6).

use serde::{Deserialize, Serialize};

use crate::{Json, Tags, Timestamp, id::UserId};

/// A user as the Cloud API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// In the caller's view.
    #[serde(default)]
    pub tags: Tags,
    /// Up to 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Up to 40,000 characters: data URLs happen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture_url: Option<String>,
    /// Free JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<Json>,
    /// Texts by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Json>,
}
