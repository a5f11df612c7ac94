//! Messages (`spec/cloud/runtime.md` § 5).

use duologue_model::{
    Conversation, Json, Message, Origin, Timestamp, User,
    id::{ConversationId, UserId, kind},
    tags::TagPatch,
};
use http::Method;
use serde::{Deserialize, Serialize};

use super::{GetOrCreate, GetOrCreateConversation, GetOrCreateUser, Schedule};
use crate::{
    Client, Error, List,
    body::{AsId, body, id, tags},
    filters,
};

const PATH: &[&str] = &["v1", "chat", "messages"];

/// Body of [`Client::create_message`]. Its members are open, so that it can be looked at and changed
/// on its way.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[must_use]
pub struct CreateMessage {
    /// Where it is said.
    pub conversation_id: ConversationId,
    /// Its author.
    pub user_id: UserId,
    /// `text`, `image`, `choice`, … or an integration's own.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the type says; a JSON object.
    pub payload: Json,
    /// In the caller's view.
    pub tags: TagPatch,
    /// When it is delivered, if not now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// [`Origin::Synthetic`] records it without delivering it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

body! {
    /// Body of [`Client::get_or_create_message`].
    GetOrCreateMessage {
        always {
            conversation_id: ConversationId,
            user_id: UserId,
            #[serde(rename = "type")]
            kind: String,
            payload: Json,
            tags: TagPatch,
            discriminate_by_tags: Vec<String>,
        }
        optional {
            /// Delivers it later.
            schedule: Schedule,
            /// [`Origin::Synthetic`] records it without delivering it.
            origin: Origin,
        }
    }
}

body! {
    /// Body of [`Client::update_message`]. What isn't set stays as it is.
    UpdateMessage {
        always {
            #[serde(skip_serializing_if = "TagPatch::is_empty")]
            tags: TagPatch,
        }
        optional_json {
            /// Replaces the whole payload.
            payload,
        }
    }
}

body! {
    /// One message of [`Client::import_messages`]. Found again by its tags when
    /// [`ImportMessage::discriminate_by`] names some, and always created otherwise.
    ImportMessage {
        always {
            conversation_id: ConversationId,
            user_id: UserId,
            #[serde(rename = "type")]
            kind: String,
            payload: Json,
            created_at: Timestamp,
            tags: TagPatch,
            discriminate_by_tags: Vec<String>,
        }
    }
}

body! {
    /// The message in [`InitializeIncomingMessage`].
    IncomingMessage {
        always {
            #[serde(rename = "type")]
            kind: String,
            payload: Json,
            tags: TagPatch,
            discriminate_by_tags: Vec<String>,
        }
        optional {
            /// [`Origin::Synthetic`] records it without delivering it.
            origin: Origin,
        }
    }
}

tags!(CreateMessage);
tags!(discriminating: GetOrCreateMessage ImportMessage IncomingMessage);
tags!(removable: UpdateMessage);

impl CreateMessage {
    /// A message of `kind` (`text`, `image`, …) by `user` in `conversation`. A bot's own user has
    /// the bot's id.
    pub fn new(
        conversation: impl AsId<kind::Conversation>,
        user: impl AsId<kind::User>,
        kind: impl Into<String>,
        payload: impl Serialize,
    ) -> Self {
        CreateMessage {
            conversation_id: id(conversation),
            user_id: id(user),
            kind: kind.into(),
            payload: Json::of(&payload),
            tags: TagPatch::new(),
            schedule: None,
            origin: None,
        }
    }

    /// Delivers it later.
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = Some(schedule);
        self
    }

    /// [`Origin::Synthetic`] records it without delivering it.
    pub fn origin(mut self, origin: Origin) -> Self {
        self.origin = Some(origin);
        self
    }
}

impl GetOrCreateMessage {
    /// A message of `kind` by `user` in `conversation`.
    pub fn new(
        conversation: impl AsId<kind::Conversation>,
        user: impl AsId<kind::User>,
        kind: impl Into<String>,
        payload: impl Serialize,
    ) -> Self {
        Self::of(id(conversation), id(user), kind.into(), Json::of(&payload), TagPatch::new(), vec![])
    }
}

impl UpdateMessage {
    /// Changes nothing yet.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self::of(TagPatch::new())
    }
}

impl ImportMessage {
    /// A message of `kind` by `user` in `conversation`, created at `at`.
    pub fn new(
        conversation: impl AsId<kind::Conversation>,
        user: impl AsId<kind::User>,
        kind: impl Into<String>,
        payload: impl Serialize,
        at: Timestamp,
    ) -> Self {
        Self::of(id(conversation), id(user), kind.into(), Json::of(&payload), at, TagPatch::new(), vec![])
    }
}

impl IncomingMessage {
    /// A message of `kind`.
    pub fn new(kind: impl Into<String>, payload: impl Serialize) -> Self {
        Self::of(kind.into(), Json::of(&payload), TagPatch::new(), vec![])
    }
}

/// Who wrote, where, and what: body of [`Client::initialize_incoming_message`].
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[must_use]
pub struct InitializeIncomingMessage {
    #[serde(flatten)]
    user: Author,
    #[serde(flatten)]
    conversation: Place,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<IncomingMessage>,
}

#[derive(Clone, Debug, Serialize)]
enum Author {
    #[serde(rename = "userId")]
    Known(UserId),
    #[serde(rename = "user")]
    Found(GetOrCreateUser),
}

#[derive(Clone, Debug, Serialize)]
enum Place {
    #[serde(rename = "conversationId")]
    Known(ConversationId),
    #[serde(rename = "conversation")]
    Found(GetOrCreateConversation),
}

impl InitializeIncomingMessage {
    /// Finds or creates both the user and the conversation.
    pub fn new(user: GetOrCreateUser, conversation: GetOrCreateConversation) -> Self {
        InitializeIncomingMessage { user: Author::Found(user), conversation: Place::Found(conversation), message: None }
    }

    /// Takes a known user.
    pub fn user_id(mut self, user: impl AsId<kind::User>) -> Self {
        self.user = Author::Known(id(user));
        self
    }

    /// Takes a known conversation.
    pub fn conversation_id(mut self, conversation: impl AsId<kind::Conversation>) -> Self {
        self.conversation = Place::Known(id(conversation));
        self
    }

    /// Finds or creates this message, too.
    pub fn message(mut self, message: IncomingMessage) -> Self {
        self.message = Some(message);
        self
    }
}

/// What [`Client::initialize_incoming_message`] found or made.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Initialized {
    /// Who wrote.
    pub user: User,
    /// Where.
    pub conversation: Conversation,
    /// What; absent when no message was asked for.
    #[serde(default)]
    pub message: Option<Message>,
}

impl Client {
    /// Creates a message and has it delivered: to the bot if an integration calls, to the
    /// conversation's integration if the bot does. Doesn't wait for the delivery.
    ///
    /// ```no_run
    /// # async fn example(client: duologue_client::Client) -> Result<(), duologue_client::Error> {
    /// use duologue_client::{CreateMessage, Schedule};
    /// use serde_json::json;
    ///
    /// let reminder = CreateMessage::new(
    ///     "conv_01J00000000000000000000000",
    ///     "user_01J00000000000000000000000",
    ///     "text",
    ///     json!({"text": "Still there?"}),
    /// );
    /// let message = client.create_message(reminder.schedule(Schedule::Delay(600_000))).await?;
    /// println!("{}", message.id);
    /// # Ok(()) }
    /// ```
    pub async fn create_message(&self, body: CreateMessage) -> Result<Message, Error> {
        self.request(Method::POST, PATH).json(&body).field("message").await
    }

    /// The message whose tags match, or else a new one. A message that was found is not delivered
    /// again.
    pub async fn get_or_create_message(&self, body: GetOrCreateMessage) -> Result<GetOrCreate<Message>, Error> {
        let path = ["v1", "chat", "messages", "get-or-create"];
        super::get_or_create(self.request(Method::POST, &path).json(&body), "message").await
    }

    /// One message.
    pub async fn get_message(&self, id: impl AsId<kind::Message>) -> Result<Message, Error> {
        self.request(Method::GET, &["v1", "chat", "messages", id.as_id()]).field("message").await
    }

    /// The messages visible to the caller, newest first.
    pub fn list_messages(&self) -> List<Message, filters::Messages> {
        self.list(PATH, "messages")
    }

    /// Changes a message's tags or payload.
    pub async fn update_message(&self, id: impl AsId<kind::Message>, body: UpdateMessage) -> Result<Message, Error> {
        self.request(Method::PUT, &["v1", "chat", "messages", id.as_id()]).json(&body).field("message").await
    }

    /// Removes a message. Nobody is told.
    pub async fn delete_message(&self, id: impl AsId<kind::Message>) -> Result<(), Error> {
        self.request(Method::DELETE, &["v1", "chat", "messages", id.as_id()]).done().await
    }

    /// Adds up to 100 past messages; none is delivered. They come back in the order given.
    pub async fn import_messages(&self, messages: &[ImportMessage]) -> Result<Vec<Message>, Error> {
        #[derive(Serialize)]
        struct Body<'a> {
            messages: &'a [ImportMessage],
        }
        let path = ["v1", "chat", "messages", "import-messages"];
        self.request(Method::POST, &path).json(&Body { messages }).field("messages").await
    }

    /// For integrations: finds or creates the user, the conversation and the message of something
    /// that came in, all or nothing.
    pub async fn initialize_incoming_message(&self, body: InitializeIncomingMessage) -> Result<Initialized, Error> {
        self.request(Method::POST, &["v1", "chat", "initialize-incoming-message"]).json(&body).send().await
    }
}

impl List<Message, filters::Messages> {
    /// Only those of this conversation.
    pub fn conversation(self, id: impl AsId<kind::Conversation>) -> Self {
        self.query("conversationId", id.as_id())
    }
}
