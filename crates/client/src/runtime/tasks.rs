//! Tasks, which newer servers no longer have (`spec/cloud/runtime.md` § 13).

use duologue_model::{
    Task, TaskStatus, Timestamp,
    id::{ConversationId, TaskId, UserId, kind},
    tags::TagPatch,
};
use http::Method;

use crate::{
    Client, Error, List,
    body::{AsId, body, id, tags},
    filters,
};

const PATH: &[&str] = &["v1", "chat", "tasks"];

body! {
    /// Body of [`Client::create_task`].
    CreateTask {
        always {
            #[serde(rename = "type")]
            kind: String,
            conversation_id: ConversationId,
            tags: TagPatch,
        }
        optional {
            /// For people.
            title: String,
            /// For people.
            description: String,
            /// The task it is part of.
            parent_task_id: TaskId,
            /// The user it is about.
            user_id: UserId,
            /// When it times out; in 24 hours by default.
            timeout_at: Timestamp,
        }
        optional_json {
            /// Any JSON object.
            data,
        }
    }
}

body! {
    /// Body of [`Client::update_task`]. What isn't set stays as it is.
    UpdateTask {
        always {
            #[serde(skip_serializing_if = "TagPatch::is_empty")]
            tags: TagPatch,
        }
        optional {
            /// For people.
            title: String,
            /// For people.
            description: String,
            /// When it times out.
            timeout_at: Timestamp,
            /// Where it is now.
            status: TaskStatus,
        }
        optional_json {
            /// Any JSON object; replaces the previous one.
            data,
        }
    }
}

tags!(CreateTask);
tags!(removable: UpdateTask);

impl CreateTask {
    /// A task of this type about a conversation.
    pub fn new(kind: impl Into<String>, conversation: impl AsId<kind::Conversation>) -> Self {
        Self::of(kind.into(), id(conversation), TagPatch::new())
    }
}

impl UpdateTask {
    /// Changes nothing yet.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self::of(TagPatch::new())
    }
}

impl Client {
    /// Creates a task.
    pub async fn create_task(&self, body: CreateTask) -> Result<Task, Error> {
        self.request(Method::POST, PATH).json(&body).field("task").await
    }

    /// One task.
    pub async fn get_task(&self, id: impl AsId<kind::Task>) -> Result<Task, Error> {
        self.request(Method::GET, &["v1", "chat", "tasks", id.as_id()]).field("task").await
    }

    /// The bot's tasks, newest first.
    pub fn list_tasks(&self) -> List<Task, filters::Tasks> {
        self.list(PATH, "tasks")
    }

    /// Changes a task.
    pub async fn update_task(&self, id: impl AsId<kind::Task>, body: UpdateTask) -> Result<Task, Error> {
        self.request(Method::PUT, &["v1", "chat", "tasks", id.as_id()]).json(&body).field("task").await
    }

    /// Removes a task.
    pub async fn delete_task(&self, id: impl AsId<kind::Task>) -> Result<(), Error> {
        self.request(Method::DELETE, &["v1", "chat", "tasks", id.as_id()]).done().await
    }
}

impl List<Task, filters::Tasks> {
    /// Only those of this type.
    pub fn kind(self, kind: &str) -> Self {
        self.query("type", kind)
    }

    /// Only those with this status. Several: with any of them.
    pub fn status(self, status: TaskStatus) -> Self {
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

    /// Only those that are part of this task.
    pub fn parent(self, id: impl AsId<kind::Task>) -> Self {
        self.query("parentTaskId", id.as_id())
    }
}
