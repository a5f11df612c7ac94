//! Events (`spec/cloud/runtime.md` § 7).

use duologue_model::{
    Event, EventStatus, Json,
    id::{ConversationId, MessageId, UserId, WorkflowId, kind},
};
use http::Method;
use serde::Serialize;

use super::Schedule;
use crate::{
    Client, Error, List,
    body::{AsId, body},
    filters,
};

const PATH: &[&str] = &["v1", "chat", "events"];

body! {
    /// Body of [`Client::create_event`].
    CreateEvent {
        always {
            #[serde(rename = "type")]
            kind: String,
            payload: Json,
        }
        optional {
            /// Delivers it later.
            schedule: Schedule,
            /// The conversation it is about.
            conversation_id: ConversationId,
            /// The user it is about.
            user_id: UserId,
            /// The workflow it is about.
            workflow_id: WorkflowId,
            /// The message it is about.
            message_id: MessageId,
        }
    }
}

impl CreateEvent {
    /// An event of this type with any JSON object.
    pub fn new(kind: impl Into<String>, payload: impl Serialize) -> Self {
        Self::of(kind.into(), Json::of(&payload))
    }
}

impl Client {
    /// Creates an event for the bot, now or later.
    pub async fn create_event(&self, body: CreateEvent) -> Result<Event, Error> {
        self.request(Method::POST, PATH).json(&body).field("event").await
    }

    /// One event.
    pub async fn get_event(&self, id: impl AsId<kind::Event>) -> Result<Event, Error> {
        self.request(Method::GET, &["v1", "chat", "events", id.as_id()]).field("event").await
    }

    /// The events visible to the caller, newest first.
    pub fn list_events(&self) -> List<Event, filters::Events> {
        self.list(PATH, "events")
    }

    /// Stops an event whose time hasn't come.
    pub async fn cancel_scheduled_event(&self, id: impl AsId<kind::Event>) -> Result<(), Error> {
        self.request(Method::DELETE, &["v1", "chat", "events", "scheduled", id.as_id()]).done().await
    }
}

impl List<Event, filters::Events> {
    /// Only those of this type.
    pub fn kind(self, kind: &str) -> Self {
        self.query("type", kind)
    }

    /// Only those with this status.
    pub fn status(self, status: EventStatus) -> Self {
        self.query("status", status.name())
    }

    /// Only those about this conversation.
    pub fn conversation(self, id: impl AsId<kind::Conversation>) -> Self {
        self.query("conversationId", id.as_id())
    }

    /// Only those about this user.
    pub fn user(self, id: impl AsId<kind::User>) -> Self {
        self.query("userId", id.as_id())
    }

    /// Only those about this message.
    pub fn message(self, id: impl AsId<kind::Message>) -> Self {
        self.query("messageId", id.as_id())
    }

    /// Only those about this workflow.
    pub fn workflow(self, id: impl AsId<kind::Workflow>) -> Self {
        self.query("workflowId", id.as_id())
    }
}
