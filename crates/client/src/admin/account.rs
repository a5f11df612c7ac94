//! The account that a personal access token belongs to, its tokens and preferences
//! (`spec/cloud/admin.md` § 3).

use duologue_model::{
    Json,
    admin::{Account, Key},
    id::kind,
};
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    Client, Error,
    body::{AsId, body},
};

const ME: &[&str] = &["v1", "admin", "account", "me"];
const PATS: &[&str] = &["v1", "admin", "account", "pats"];

body! {
    /// Body of [`Client::update_account`]. What isn't set stays as it is.
    UpdateAccount {
        always {}
        optional {
            /// At most 100 characters.
            display_name: String,
            /// A URL.
            profile_picture: String,
        }
    }
}

impl UpdateAccount {
    /// Changes nothing yet.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self::of()
    }
}

/// Who the caller is to a bot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Introspection {
    /// The bot's workspace.
    pub workspace_id: String,
    /// The bot.
    pub bot_id: String,
    /// The account, or the bot itself when its key was used.
    pub user_id: String,
}

impl Client {
    /// The account the token belongs to.
    pub async fn get_account(&self) -> Result<Account, Error> {
        self.request(Method::GET, ME).field("account").await
    }

    /// Changes the account.
    pub async fn update_account(&self, body: UpdateAccount) -> Result<Account, Error> {
        self.request(Method::PUT, ME).json(&body).field("account").await
    }

    /// Removes the account.
    pub async fn delete_account(&self) -> Result<(), Error> {
        self.request(Method::POST, ME).done().await
    }

    /// The account's personal access tokens, without their values.
    pub async fn list_personal_access_tokens(&self) -> Result<Vec<Key>, Error> {
        self.request(Method::GET, PATS).field("pats").await
    }

    /// Creates a personal access token. [`Key::value`] is shown this once.
    pub async fn create_personal_access_token(&self, note: &str) -> Result<Key, Error> {
        self.request(Method::POST, PATS).json(&json!({ "note": note })).field("pat").await
    }

    /// Takes a personal access token back, at once.
    pub async fn delete_personal_access_token(&self, id: &str) -> Result<(), Error> {
        self.request(Method::DELETE, &["v1", "admin", "account", "pats", id]).done().await
    }

    /// What the account keeps under `key`; `null` if nothing.
    pub async fn get_account_preference(&self, key: &str) -> Result<Json, Error> {
        preference(self.request(Method::GET, &["v1", "admin", "account", "preferences", key])).await
    }

    /// Keeps any JSON value for the account under `key`.
    pub async fn set_account_preference(&self, key: &str, value: impl Serialize + Send) -> Result<(), Error> {
        let path = ["v1", "admin", "account", "preferences", key];
        self.request(Method::POST, &path).json(&Preference { value: Some(Json::of(&value)) }).done().await
    }

    /// Who the caller is to a bot; refused if the token may not use it.
    pub async fn introspect(&self, bot: impl AsId<kind::Bot>) -> Result<Introspection, Error> {
        self.request(Method::POST, &["v1", "admin", "introspect"]).json(&json!({ "botId": bot.as_id() })).send().await
    }
}

/// A kept value, as it travels both ways.
#[derive(Serialize, Deserialize)]
pub(super) struct Preference {
    pub value: Option<Json>,
}

/// Reads `{value?}`.
pub(super) async fn preference(request: crate::Request) -> Result<Json, Error> {
    let preference: Preference = request.send().await?;
    Ok(preference.value.unwrap_or_else(|| Json::of(&())))
}
