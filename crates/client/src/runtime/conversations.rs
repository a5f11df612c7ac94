//! Conversations and their participants (`spec/cloud/runtime.md` § 4).

use duologue_model::{
    Conversation, User,
    id::{UserId, kind},
    tags::TagPatch,
};
use http::Method;

use super::GetOrCreate;
use crate::{
    Client, Error, List,
    body::{AsId, body, id, tags},
    filters,
    transport::ByteStream,
};

const PATH: &[&str] = &["v1", "chat", "conversations"];

body! {
    /// Body of [`Client::create_conversation`].
    CreateConversation {
        always {
            channel: String,
            tags: TagPatch,
        }
        optional {
            /// For bots: lets this integration (its alias) create the conversation, and own it.
            integration_name: String,
        }
        optional_json {
            /// Any JSON object.
            properties,
        }
    }
}

body! {
    /// Body of [`Client::get_or_create_conversation`].
    GetOrCreateConversation {
        always {
            channel: String,
            tags: TagPatch,
            discriminate_by_tags: Vec<String>,
        }
        optional {
            /// For bots: lets this integration (its alias) create the conversation, and own it.
            integration_name: String,
        }
        optional_json {
            /// Any JSON object; given to a new conversation only.
            properties,
        }
    }
}

body! {
    /// Body of [`Client::update_conversation`]. What isn't set stays as it is.
    UpdateConversation {
        always {
            #[serde(skip_serializing_if = "TagPatch::is_empty")]
            tags: TagPatch,
        }
        optional {
            /// The task the conversation is about; empty for none.
            current_task_id: String,
        }
        optional_json {
            /// Any JSON object; replaces the previous one.
            properties,
        }
    }
}

tags!(CreateConversation);
tags!(discriminating: GetOrCreateConversation);
tags!(removable: UpdateConversation);

impl CreateConversation {
    /// A conversation in this channel.
    pub fn new(channel: impl Into<String>) -> Self {
        Self::of(channel.into(), TagPatch::new())
    }
}

impl GetOrCreateConversation {
    /// A conversation in this channel.
    pub fn new(channel: impl Into<String>) -> Self {
        Self::of(channel.into(), TagPatch::new(), vec![])
    }
}

impl UpdateConversation {
    /// Changes nothing yet.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self::of(TagPatch::new())
    }
}

impl Client {
    /// Creates a conversation.
    pub async fn create_conversation(&self, body: CreateConversation) -> Result<Conversation, Error> {
        self.request(Method::POST, PATH).json(&body).field("conversation").await
    }

    /// The conversation of the same owner and channel whose tags match, or else a new one. Atomic:
    /// concurrent equal calls make one.
    ///
    /// ```no_run
    /// # async fn example(client: duologue_client::Client) -> Result<(), duologue_client::Error> {
    /// use duologue_client::GetOrCreateConversation;
    ///
    /// let thread = GetOrCreateConversation::new("thread").tag("id", "T1").tag("title", "Hi").discriminate_by(["id"]);
    /// let found = client.get_or_create_conversation(thread).await?;
    /// println!("{} is new: {:?}", found.item.id, found.created);
    /// # Ok(()) }
    /// ```
    pub async fn get_or_create_conversation(
        &self,
        body: GetOrCreateConversation,
    ) -> Result<GetOrCreate<Conversation>, Error> {
        let path = ["v1", "chat", "conversations", "get-or-create"];
        super::get_or_create(self.request(Method::POST, &path).json(&body), "conversation").await
    }

    /// One conversation.
    pub async fn get_conversation(&self, id: impl AsId<kind::Conversation>) -> Result<Conversation, Error> {
        self.request(Method::GET, &["v1", "chat", "conversations", id.as_id()]).field("conversation").await
    }

    /// The conversations visible to the caller, newest first unless sorted.
    pub fn list_conversations(&self) -> List<Conversation, filters::Conversations> {
        self.list(PATH, "conversations")
    }

    /// Changes a conversation.
    pub async fn update_conversation(
        &self,
        id: impl AsId<kind::Conversation>,
        body: UpdateConversation,
    ) -> Result<Conversation, Error> {
        let path = ["v1", "chat", "conversations", id.as_id()];
        self.request(Method::PUT, &path).json(&body).field("conversation").await
    }

    /// Removes a conversation with its messages and states.
    pub async fn delete_conversation(&self, id: impl AsId<kind::Conversation>) -> Result<(), Error> {
        self.request(Method::DELETE, &["v1", "chat", "conversations", id.as_id()]).done().await
    }

    /// The users who take part in a conversation.
    pub fn list_participants(&self, id: impl AsId<kind::Conversation>) -> List<User> {
        self.list(&["v1", "chat", "conversations", id.as_id(), "participants"], "participants")
    }

    /// Makes a user take part in a conversation; no change if it already does.
    pub async fn add_participant(
        &self,
        conversation: impl AsId<kind::Conversation>,
        user: impl AsId<kind::User>,
    ) -> Result<User, Error> {
        #[derive(serde::Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Body {
            user_id: UserId,
        }
        let path = ["v1", "chat", "conversations", conversation.as_id(), "participants"];
        self.request(Method::POST, &path).json(&Body { user_id: id(user) }).field("participant").await
    }

    /// A user, if it takes part in the conversation.
    pub async fn get_participant(
        &self,
        conversation: impl AsId<kind::Conversation>,
        user: impl AsId<kind::User>,
    ) -> Result<User, Error> {
        let path = ["v1", "chat", "conversations", conversation.as_id(), "participants", user.as_id()];
        self.request(Method::GET, &path).field("participant").await
    }

    /// Ends a user's part in a conversation.
    pub async fn remove_participant(
        &self,
        conversation: impl AsId<kind::Conversation>,
        user: impl AsId<kind::User>,
    ) -> Result<(), Error> {
        let path = ["v1", "chat", "conversations", conversation.as_id(), "participants", user.as_id()];
        self.request(Method::DELETE, &path).done().await
    }

    /// A whole conversation as a document, as it is being written. Formats: those of the server,
    /// e.g. `text`, `markdown`, `html`, `csv`, `jsonl`. Duologue's own operation.
    ///
    /// ```no_run
    /// # async fn example(client: duologue_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use duologue_client::TryStreamExt;
    /// use std::io::Write;
    ///
    /// let mut file = std::fs::File::create("transcript.md")?;
    /// let mut pieces = client.transcript("conv_01J00000000000000000000000", "markdown").await?;
    /// while let Some(piece) = pieces.try_next().await? {
    ///     file.write_all(&piece)?;
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn transcript(&self, id: impl AsId<kind::Conversation>, format: &str) -> Result<ByteStream, Error> {
        let path = ["v1", "chat", "conversations", id.as_id(), "transcript"];
        self.request(Method::GET, &path).query("format", format).stream().await
    }
}

impl List<Conversation, filters::Conversations> {
    /// Only those of this channel.
    pub fn channel(self, channel: &str) -> Self {
        self.query("channel", channel)
    }

    /// Only those of the integration instance with this alias.
    pub fn integration(self, alias: &str) -> Self {
        self.query("integrationName", alias)
    }

    /// Only those in which this user takes part. Several: in which all of them do.
    pub fn participant(self, user: impl AsId<kind::User>) -> Self {
        self.query("participantIds", user.as_id())
    }

    /// Only those with at least so many messages.
    pub fn min_message_count(self, count: u64) -> Self {
        self.query("minMessageCount", count)
    }

    /// Only those with at most so many messages.
    pub fn max_message_count(self, count: u64) -> Self {
        self.query("maxMessageCount", count)
    }
}
