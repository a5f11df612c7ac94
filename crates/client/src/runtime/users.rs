//! Users: the people and bots that take part in conversations (`spec/cloud/runtime.md` § 6).

use duologue_model::{User, id::kind, tags::TagPatch};
use http::Method;

use super::GetOrCreate;
use crate::{
    Client, Error, List,
    body::{AsId, Nullable, body, tags},
    filters,
};

const PATH: &[&str] = &["v1", "chat", "users"];

body! {
    /// Body of [`Client::create_user`].
    CreateUser {
        always {
            tags: TagPatch,
        }
        optional {
            /// At most 200 characters.
            name: String,
            /// A URL of at most 40,000 characters; may be a `data:` URL.
            picture_url: String,
            /// For bots: lets this integration (its alias) create the user, and own it.
            integration_name: String,
        }
        optional_json {
            /// Any JSON object.
            properties,
            /// Texts by name.
            attributes,
        }
    }
}

body! {
    /// Body of [`Client::get_or_create_user`]. All but the tags is given to a new user only.
    GetOrCreateUser {
        always {
            tags: TagPatch,
            discriminate_by_tags: Vec<String>,
        }
        optional {
            /// At most 200 characters.
            name: String,
            /// A URL of at most 40,000 characters; may be a `data:` URL.
            picture_url: String,
            /// For bots: lets this integration (its alias) create the user, and own it.
            integration_name: String,
        }
        optional_json {
            /// Any JSON object.
            properties,
            /// Texts by name.
            attributes,
        }
    }
}

body! {
    /// Body of [`Client::update_user`]. What isn't set stays as it is.
    UpdateUser {
        always {
            #[serde(skip_serializing_if = "TagPatch::is_empty")]
            tags: TagPatch,
        }
        optional {
            /// At most 200 characters; `None` clears it.
            name: Nullable<String>,
            /// A URL of at most 40,000 characters; `None` clears it.
            picture_url: Nullable<String>,
        }
        optional_json {
            /// Any JSON object; replaces the previous one.
            properties,
            /// Texts by name, merged as tags are: `null` takes one away.
            attributes,
        }
    }
}

tags!(CreateUser);
tags!(discriminating: GetOrCreateUser);
tags!(removable: UpdateUser);

impl CreateUser {
    /// A user without a name.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self::of(TagPatch::new())
    }
}

impl GetOrCreateUser {
    /// A user without a name.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self::of(TagPatch::new(), vec![])
    }
}

impl UpdateUser {
    /// Changes nothing yet.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self::of(TagPatch::new())
    }
}

impl Client {
    /// Creates a user.
    pub async fn create_user(&self, body: CreateUser) -> Result<User, Error> {
        self.request(Method::POST, PATH).json(&body).field("user").await
    }

    /// The user of the same owner whose tags match, or else a new one.
    pub async fn get_or_create_user(&self, body: GetOrCreateUser) -> Result<GetOrCreate<User>, Error> {
        let path = ["v1", "chat", "users", "get-or-create"];
        super::get_or_create(self.request(Method::POST, &path).json(&body), "user").await
    }

    /// One user. A bot's own has the bot's id.
    pub async fn get_user(&self, id: impl AsId<kind::User>) -> Result<User, Error> {
        self.request(Method::GET, &["v1", "chat", "users", id.as_id()]).field("user").await
    }

    /// The users visible to the caller, newest first unless sorted.
    pub fn list_users(&self) -> List<User, filters::Users> {
        self.list(PATH, "users")
    }

    /// Changes a user.
    ///
    /// ```no_run
    /// # async fn example(client: duologue_client::Client) -> Result<(), duologue_client::Error> {
    /// use duologue_client::UpdateUser;
    ///
    /// let change = UpdateUser::new().name("Ada").picture_url(None).tag("tier", "gold").remove_tag("trial");
    /// client.update_user("user_01J00000000000000000000000", change).await?;
    /// # Ok(()) }
    /// ```
    pub async fn update_user(&self, id: impl AsId<kind::User>, body: UpdateUser) -> Result<User, Error> {
        self.request(Method::PUT, &["v1", "chat", "users", id.as_id()]).json(&body).field("user").await
    }

    /// Removes a user with its states and participations. Its messages stay.
    pub async fn delete_user(&self, id: impl AsId<kind::User>) -> Result<(), Error> {
        self.request(Method::DELETE, &["v1", "chat", "users", id.as_id()]).done().await
    }
}

impl List<User, filters::Users> {
    /// Only those who took part in this conversation.
    pub fn conversation(self, id: impl AsId<kind::Conversation>) -> Self {
        self.query("conversationId", id.as_id())
    }

    /// Makes `after` and `before` look at the time of the last change instead of creation.
    pub fn range_by_update(self) -> Self {
        self.query("rangeField", "updatedAt")
    }
}
