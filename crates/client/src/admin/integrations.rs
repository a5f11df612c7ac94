//! Integrations and their keys (`spec/cloud/admin.md` § 6).

use duologue_model::{
    Timestamp,
    admin::Key,
    id::{IntegrationId, kind},
};
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{LogLine, NewSecret, Whole};
use crate::{Client, Error, List, body::AsId, filters};

const INTEGRATIONS: &[&str] = &["v1", "admin", "integrations"];
const KEYS: &[&str] = &["v1", "admin", "integrations", "iaks"];

/// A version of an integration with its definitions; in lists, a summary of it.
pub type Integration = Whole<IntegrationFields>;

/// What is stable of an [`Integration`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct IntegrationFields {
    /// Of this version.
    pub id: IntegrationId,
    /// All versions have it; may begin with the workspace's handle and `/`.
    pub name: String,
    /// Semantic version.
    pub version: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// For people.
    #[serde(default)]
    pub title: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// Whether every workspace may find it.
    #[serde(default)]
    pub public: bool,
    /// Whether it is a developer's.
    #[serde(default)]
    pub dev: bool,
}

/// Who may use an integration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Every workspace.
    Public,
    /// Its own workspace.
    Private,
}

impl Client {
    /// The integrations of the client's workspace, all versions.
    pub fn list_integrations(&self) -> List<Integration, filters::Integrations> {
        self.list(INTEGRATIONS, "integrations")
    }

    /// One version of an integration.
    pub async fn get_integration(&self, id: impl AsId<kind::Integration>) -> Result<Integration, Error> {
        self.request(Method::GET, &["v1", "admin", "integrations", id.as_id()]).field("integration").await
    }

    /// The integration of this name: an exact version, `latest`, or a range.
    pub async fn get_integration_by_name(&self, name: &str, version: &str) -> Result<Integration, Error> {
        self.request(Method::GET, &["v1", "admin", "integrations", name, version]).field("integration").await
    }

    /// Creates a version of an integration from a JSON object with `name`, `version` and
    /// definitions (`spec/cloud/admin.openapi.json`, `createIntegration`).
    pub async fn create_integration(&self, definition: impl Serialize + Send) -> Result<Integration, Error> {
        self.request(Method::POST, INTEGRATIONS).json(&definition).field("integration").await
    }

    /// Whether [`Client::create_integration`] would succeed.
    pub async fn validate_integration_creation(&self, definition: impl Serialize + Send) -> Result<(), Error> {
        self.request(Method::POST, &["v1", "admin", "integrations", "validate"]).json(&definition).done().await
    }

    /// Changes a version of an integration.
    pub async fn update_integration(
        &self,
        id: impl AsId<kind::Integration>,
        change: impl Serialize + Send,
    ) -> Result<Integration, Error> {
        let path = ["v1", "admin", "integrations", id.as_id()];
        self.request(Method::PUT, &path).json(&change).field("integration").await
    }

    /// Whether [`Client::update_integration`] would succeed.
    pub async fn validate_integration_update(
        &self,
        id: impl AsId<kind::Integration>,
        change: impl Serialize + Send,
    ) -> Result<(), Error> {
        let path = ["v1", "admin", "integrations", id.as_id(), "validate"];
        self.request(Method::PUT, &path).json(&change).done().await
    }

    /// Removes a version of an integration that no bot has installed.
    pub async fn delete_integration(&self, id: impl AsId<kind::Integration>) -> Result<(), Error> {
        self.request(Method::DELETE, &["v1", "admin", "integrations", id.as_id()]).done().await
    }

    /// Replaces an integration's signing secret; returns the new one.
    pub async fn rotate_integration_signing_secrets(&self, id: impl AsId<kind::Integration>) -> Result<String, Error> {
        let path = ["v1", "admin", "integrations", id.as_id(), "signing-secrets", "rotate"];
        let answer: NewSecret = self.request(Method::POST, &path).send().await?;
        Ok(answer.new_signing_secret)
    }

    /// An integration's log from this instant on, oldest first.
    pub fn get_integration_logs(
        &self,
        id: impl AsId<kind::Integration>,
        from: Timestamp,
    ) -> List<LogLine, filters::Logs> {
        self.list(&["v1", "admin", "integrations", id.as_id(), "logs"], "logs").query("timeStart", from)
    }

    /// Integrations that every workspace may use.
    pub fn list_public_integrations(&self) -> List<Integration, filters::Integrations> {
        self.list(&["v1", "admin", "hub", "integrations"], "integrations")
    }

    /// One version of an integration that every workspace may use.
    pub async fn get_public_integration_by_id(&self, id: impl AsId<kind::Integration>) -> Result<Integration, Error> {
        self.request(Method::GET, &["v1", "admin", "hub", "integrations", id.as_id()]).field("integration").await
    }

    /// The integration of this name that every workspace may use: an exact version, `latest`, or a
    /// range.
    pub async fn get_public_integration(&self, name: &str, version: &str) -> Result<Integration, Error> {
        self.request(Method::GET, &["v1", "admin", "hub", "integrations", name, version]).field("integration").await
    }

    /// An integration's keys, without their values.
    pub async fn list_integration_api_keys(&self, id: impl AsId<kind::Integration>) -> Result<Vec<Key>, Error> {
        self.request(Method::GET, KEYS).query("integrationId", id.as_id()).field("iaks").await
    }

    /// Creates a key for an integration. [`Key::value`] is shown this once.
    pub async fn create_integration_api_key(&self, id: impl AsId<kind::Integration>, note: &str) -> Result<Key, Error> {
        self.request(Method::POST, KEYS).json(&json!({ "integrationId": id.as_id(), "note": note })).send().await
    }

    /// Takes an integration's key back, at once.
    pub async fn delete_integration_api_key(&self, id: &str) -> Result<(), Error> {
        self.request(Method::DELETE, &["v1", "admin", "integrations", "iaks", id]).done().await
    }
}

impl List<Integration, filters::Integrations> {
    /// Only those of exactly this name.
    pub fn name(self, name: &str) -> Self {
        self.query("name", name)
    }

    /// Only this version, or `latest`.
    pub fn version(self, version: &str) -> Self {
        self.query("version", version)
    }

    /// Only those whose name, title, description, actions or interfaces contain this text.
    pub fn search(self, text: &str) -> Self {
        self.query("search", text)
    }

    /// Only those installed in this bot.
    pub fn installed_by(self, bot: impl AsId<kind::Bot>) -> Self {
        self.query("installedByBotId", bot.as_id())
    }

    /// Only those that these may use.
    pub fn visibility(self, visibility: Visibility) -> Self {
        let word = match visibility {
            Visibility::Public => "public",
            Visibility::Private => "private",
        };
        self.query("visibility", word)
    }

    /// Only developers' (true), or only the others (false).
    pub fn dev(self, dev: bool) -> Self {
        self.query("dev", dev)
    }
}
