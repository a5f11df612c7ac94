//! Workspaces and their members (`spec/cloud/admin.md` § 4).

use duologue_model::{
    Json,
    admin::{Member, Role, Workspace},
};
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::account::{Preference, preference};
use crate::{Client, Error, List, body::body, filters};

const WORKSPACES: &[&str] = &["v1", "admin", "workspaces"];
const MEMBERS: &[&str] = &["v1", "admin", "workspace-members"];

body! {
    /// Body of [`Client::update_workspace`]. What isn't set stays as it is.
    UpdateWorkspace {
        always {}
        optional {
            /// 1 to 64 characters.
            name: String,
            /// Unique on the server: 1 to 64 of `a`–`z`, digits, `-` and `_`.
            handle: String,
            /// For people.
            about: String,
            /// A URL.
            profile_picture: String,
            /// For people.
            contact_email: String,
            /// A URL.
            website: String,
            /// URLs, at most five.
            social_accounts: Vec<String>,
            /// Whether strangers may see it.
            is_public: bool,
        }
    }
}

impl UpdateWorkspace {
    /// Changes nothing yet.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self::of()
    }
}

/// Whether a handle can be taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct HandleAvailability {
    /// It can.
    pub available: bool,
    /// Similar ones that can.
    #[serde(default)]
    pub suggestions: Vec<String>,
    /// The workspace that has it, if it is one of the caller's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_by: Option<String>,
}

impl Client {
    /// The workspaces of which the account is a member.
    pub fn list_workspaces(&self) -> List<Workspace, filters::Workspaces> {
        self.list(WORKSPACES, "workspaces")
    }

    /// Creates a workspace, owned by the account.
    pub async fn create_workspace(&self, name: &str) -> Result<Workspace, Error> {
        self.request(Method::POST, WORKSPACES).json(&json!({ "name": name })).send().await
    }

    /// One workspace.
    pub async fn get_workspace(&self, id: &str) -> Result<Workspace, Error> {
        self.request(Method::GET, &["v1", "admin", "workspaces", id]).send().await
    }

    /// Changes a workspace.
    pub async fn update_workspace(&self, id: &str, body: UpdateWorkspace) -> Result<Workspace, Error> {
        self.request(Method::PUT, &["v1", "admin", "workspaces", id]).json(&body).send().await
    }

    /// Removes a workspace without bots.
    pub async fn delete_workspace(&self, id: &str) -> Result<(), Error> {
        self.request(Method::DELETE, &["v1", "admin", "workspaces", id]).done().await
    }

    /// Whether a handle can be taken.
    pub async fn check_handle_availability(&self, handle: &str) -> Result<HandleAvailability, Error> {
        let path = ["v1", "admin", "workspaces", "handle-availability"];
        self.request(Method::PUT, &path).json(&json!({ "handle": handle })).send().await
    }

    /// What the workspace keeps under `key`; `null` if nothing.
    pub async fn get_workspace_preference(&self, key: &str) -> Result<Json, Error> {
        preference(self.request(Method::GET, &["v1", "admin", "workspaces", "preferences", key])).await
    }

    /// Keeps any JSON value for the workspace under `key`.
    pub async fn set_workspace_preference(&self, key: &str, value: impl Serialize + Send) -> Result<(), Error> {
        let path = ["v1", "admin", "workspaces", "preferences", key];
        self.request(Method::POST, &path).json(&Preference { value: Some(Json::of(&value)) }).done().await
    }

    /// The members of the client's workspace.
    pub fn list_workspace_members(&self) -> List<Member> {
        self.list(MEMBERS, "members")
    }

    /// The membership of the account itself.
    pub async fn get_workspace_member(&self) -> Result<Member, Error> {
        self.request(Method::GET, &["v1", "admin", "workspace-members", "me"]).send().await
    }

    /// Makes a person a member of the client's workspace.
    pub async fn create_workspace_member(&self, email: &str, role: Role) -> Result<Member, Error> {
        self.request(Method::POST, MEMBERS).json(&json!({ "email": email, "role": role })).send().await
    }

    /// Changes what a member may do. `id` is the membership's.
    pub async fn update_workspace_member(&self, id: &str, role: Role) -> Result<Member, Error> {
        let path = ["v1", "admin", "workspace-members", id];
        self.request(Method::PUT, &path).json(&json!({ "role": role })).send().await
    }

    /// Ends a membership. `id` is the membership's.
    pub async fn delete_workspace_member(&self, id: &str) -> Result<(), Error> {
        self.request(Method::DELETE, &["v1", "admin", "workspace-members", id]).done().await
    }
}

impl List<Workspace, filters::Workspaces> {
    /// Only the one with this handle.
    pub fn handle(self, handle: &str) -> Self {
        self.query("handle", handle)
    }
}
