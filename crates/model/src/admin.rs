//! Accounts, tokens, workspaces, members, bots and integrations (`spec/cloud/admin.md`).
//!
//! Definitions inside bots and integrations (states, events, actions, channels, …) are kept as the
//! JSON they were deployed with, normalised on writing; what the server itself looks at is typed.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// An account: a person who owns tokens and is a member of workspaces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// UUID.
    pub id: String,
    /// Unique on the server.
    pub email: String,
    /// Always true here: no mail is sent.
    pub email_verified: bool,
    /// When it was created.
    pub created_at: Timestamp,
    /// Up to 100 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// A URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile_picture: Option<String>,
}

/// What a member of a workspace may do, from least to most
/// (`spec/cloud/auth-and-identity.md` § 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads the workspace and its usage, not the data.
    Billing,
    /// Reads.
    Viewer,
    /// Writes bots, integrations and runtime data.
    Developer,
    /// Also deletes and transfers bots and manages members below manager.
    Manager,
    /// Also manages keys of others and workspace settings.
    Administrator,
    /// Also deletes the workspace.
    Owner,
}

impl Role {
    /// The word on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Role::Billing => "billing",
            Role::Viewer => "viewer",
            Role::Developer => "developer",
            Role::Manager => "manager",
            Role::Administrator => "administrator",
            Role::Owner => "owner",
        }
    }

    /// From the word.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "billing" => Role::Billing,
            "viewer" => Role::Viewer,
            "developer" => Role::Developer,
            "manager" => Role::Manager,
            "administrator" => Role::Administrator,
            "owner" => Role::Owner,
            _ => return None,
        })
    }
}

/// A personal access token, bot key or integration key, without its value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Key {
    /// Its id.
    pub id: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// What it is for.
    #[serde(default)]
    pub note: String,
    /// The secret: present only in the answer that creates it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// A workspace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workspace {
    /// UUID.
    pub id: String,
    /// For people.
    pub name: String,
    /// Account that owns it.
    pub owner_id: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Its bots, counted.
    pub bot_count: i64,
    /// Always `v4`.
    pub billing_version: String,
    /// Always `enterprise`.
    pub plan: String,
    /// Always false.
    pub blocked: bool,
    /// Always 0.
    pub spending_limit: f64,
    /// For people.
    #[serde(default)]
    pub about: String,
    /// A URL.
    #[serde(default)]
    pub profile_picture: String,
    /// For people.
    #[serde(default)]
    pub contact_email: String,
    /// A URL.
    #[serde(default)]
    pub website: String,
    /// URLs, at most five.
    #[serde(default)]
    pub social_accounts: Vec<String>,
    /// Whether strangers may see it.
    #[serde(default)]
    pub is_public: bool,
    /// Unique on the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
    /// Always `null`.
    #[serde(default)]
    pub active_trial_id: Option<String>,
}

/// A member of a workspace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// UUID of the membership.
    pub id: String,
    /// UUID of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Of the account.
    pub email: String,
    /// When it became a member.
    pub created_at: Timestamp,
    /// What it may do.
    pub role: Role,
    /// Of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile_picture: Option<String>,
    /// Of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
}
