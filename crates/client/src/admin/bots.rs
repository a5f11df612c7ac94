//! Bots and their keys (`spec/cloud/admin.md` § 5).

use duologue_model::{
    Tags, Timestamp,
    admin::Key,
    id::{BotId, kind},
};
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{LogLine, NewSecret, Whole};
use crate::{Client, Error, List, body::AsId, filters};

const BOTS: &[&str] = &["v1", "admin", "bots"];
const KEYS: &[&str] = &["v1", "admin", "bots", "baks"];

/// A bot with its definitions.
pub type Bot = Whole<BotFields>;

/// What is stable of a [`Bot`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct BotFields {
    /// Its id.
    pub id: BotId,
    /// For people.
    pub name: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When its code or URL last changed.
    #[serde(default)]
    pub deployed_at: Option<Timestamp>,
    /// Where its code is called, if it runs elsewhere.
    #[serde(default)]
    pub url: Option<String>,
    /// Whether it is a developer's.
    #[serde(default)]
    pub dev: bool,
    /// Of the bot itself.
    #[serde(default)]
    pub tags: Tags,
}

/// A bot in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct BotSummary {
    /// Its id.
    pub id: BotId,
    /// For people.
    pub name: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When its code or URL last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployed_at: Option<Timestamp>,
    /// Of the bot itself.
    #[serde(default)]
    pub tags: Tags,
}

impl Client {
    /// The production bots of the client's workspace; its dev bots with [`List::dev`].
    pub fn list_bots(&self) -> List<BotSummary, filters::Bots> {
        self.list(BOTS, "bots")
    }

    /// One bot.
    pub async fn get_bot(&self, id: impl AsId<kind::Bot>) -> Result<Bot, Error> {
        self.request(Method::GET, &["v1", "admin", "bots", id.as_id()]).field("bot").await
    }

    /// Creates a bot from any JSON object; all its members are optional
    /// (`spec/cloud/admin.openapi.json`, `createBot`).
    ///
    /// ```no_run
    /// # async fn example(client: duologue_client::Client) -> Result<(), duologue_client::Error> {
    /// use serde_json::json;
    ///
    /// let bot = client.create_bot(json!({"name": "Concierge"})).await?;
    /// let key = client.create_bot_api_key(&bot.id, "continuous integration").await?;
    /// println!("{} {}", bot.id, key.value.unwrap_or_default());
    /// # Ok(()) }
    /// ```
    pub async fn create_bot(&self, definition: impl Serialize + Send) -> Result<Bot, Error> {
        self.request(Method::POST, BOTS).json(&definition).field("bot").await
    }

    /// Changes a bot: members given replace, `null` removes, the others stay
    /// (`spec/cloud/admin.md` § 5.2).
    pub async fn update_bot(&self, id: impl AsId<kind::Bot>, change: impl Serialize + Send) -> Result<Bot, Error> {
        self.request(Method::PUT, &["v1", "admin", "bots", id.as_id()]).json(&change).field("bot").await
    }

    /// Removes a bot with all its data.
    pub async fn delete_bot(&self, id: impl AsId<kind::Bot>) -> Result<(), Error> {
        self.request(Method::DELETE, &["v1", "admin", "bots", id.as_id()]).done().await
    }

    /// Moves a bot to another workspace.
    pub async fn transfer_bot(&self, id: impl AsId<kind::Bot>, workspace: &str) -> Result<(), Error> {
        let path = ["v1", "admin", "bots", id.as_id(), "transfer"];
        self.request(Method::POST, &path).json(&json!({ "targetWorkspaceId": workspace })).done().await
    }

    /// Replaces a bot's signing secret; returns the new one. The old one stays valid for 24 hours.
    pub async fn rotate_bot_signing_secrets(&self, id: impl AsId<kind::Bot>) -> Result<String, Error> {
        let path = ["v1", "admin", "bots", id.as_id(), "signing-secrets", "rotate"];
        let answer: NewSecret = self.request(Method::POST, &path).send().await?;
        Ok(answer.new_signing_secret)
    }

    /// A bot's log from this instant on, oldest first.
    pub fn get_bot_logs(&self, id: impl AsId<kind::Bot>, from: Timestamp) -> List<LogLine, filters::Logs> {
        self.list(&["v1", "admin", "bots", id.as_id(), "logs"], "logs").query("timeStart", from)
    }

    /// A bot's keys, without their values.
    pub async fn list_bot_api_keys(&self, bot: impl AsId<kind::Bot>) -> Result<Vec<Key>, Error> {
        self.request(Method::GET, KEYS).query("botId", bot.as_id()).field("baks").await
    }

    /// Creates a key for a bot. [`Key::value`] is shown this once.
    pub async fn create_bot_api_key(&self, bot: impl AsId<kind::Bot>, note: &str) -> Result<Key, Error> {
        self.request(Method::POST, KEYS).json(&json!({ "botId": bot.as_id(), "note": note })).send().await
    }

    /// Takes a bot's key back, at once.
    pub async fn delete_bot_api_key(&self, id: &str) -> Result<(), Error> {
        self.request(Method::DELETE, &["v1", "admin", "bots", "baks", id]).done().await
    }
}

impl List<BotSummary, filters::Bots> {
    /// Developers' bots instead of production ones.
    pub fn dev(self) -> Self {
        self.query("dev", true)
    }

    /// Only those with this integration installed. Several: with any of them.
    pub fn integration(self, name: &str) -> Self {
        self.query("integrationNames", name)
    }

    /// Only those with this plugin installed. Several: with any of them.
    pub fn plugin(self, name: &str) -> Self {
        self.query("pluginNames", name)
    }
}
