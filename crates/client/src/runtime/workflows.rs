//! Workflows (`spec/cloud/runtime.md` § 12).

use duologue_model::{
    Timestamp, Workflow, WorkflowStatus,
    id::{ConversationId, EventId, UserId, WorkflowId, kind},
    tags::TagPatch,
};
use http::Method;
use serde::Serialize;

use super::GetOrCreate;
use crate::{
    Client, Error, List,
    body::{AsId, body, tags},
    filters,
};

const PATH: &[&str] = &["v1", "chat", "workflows"];

/// The two halves of a workflow's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StatusGroup {
    /// Runs or waits.
    Active,
    /// Is over.
    Finished,
}

body! {
    /// Body of [`Client::create_workflow`].
    CreateWorkflow {
        always {
            name: String,
            status: WorkflowStatus,
            tags: TagPatch,
        }
        optional {
            /// The workflow that starts it.
            parent_workflow_id: WorkflowId,
            /// The conversation it is about.
            conversation_id: ConversationId,
            /// The user it is about.
            user_id: UserId,
            /// When it times out; five minutes from now by default.
            timeout_at: Timestamp,
            /// The event being handled; needed for [`WorkflowStatus::InProgress`].
            event_id: EventId,
        }
        optional_json {
            /// Any JSON object.
            input,
        }
    }
}

body! {
    /// Body of [`Client::get_or_create_workflow`].
    GetOrCreateWorkflow {
        always {
            name: String,
            status: WorkflowStatus,
            tags: TagPatch,
            discriminate_by_tags: Vec<String>,
        }
        optional {
            /// Compares with workflows in this half of their life only.
            discriminate_by_status_group: StatusGroup,
            /// The workflow that starts it.
            parent_workflow_id: WorkflowId,
            /// The conversation it is about.
            conversation_id: ConversationId,
            /// The user it is about.
            user_id: UserId,
            /// When it times out; five minutes from now by default.
            timeout_at: Timestamp,
            /// The event being handled; needed for [`WorkflowStatus::InProgress`].
            event_id: EventId,
        }
        optional_json {
            /// Any JSON object.
            input,
        }
    }
}

body! {
    /// Body of [`Client::update_workflow`]. What isn't set stays as it is.
    UpdateWorkflow {
        always {
            #[serde(skip_serializing_if = "TagPatch::is_empty")]
            tags: TagPatch,
        }
        optional {
            /// Where it is now.
            status: WorkflowStatus,
            /// Why it failed.
            failure_reason: String,
            /// When it times out.
            timeout_at: Timestamp,
            /// The user it is about.
            user_id: UserId,
            /// The event being handled; needed for [`WorkflowStatus::InProgress`].
            event_id: EventId,
        }
        optional_json {
            /// What it resulted in; kept with [`WorkflowStatus::Completed`].
            output,
        }
    }
}

tags!(CreateWorkflow);
tags!(discriminating: GetOrCreateWorkflow);
tags!(removable: UpdateWorkflow);

impl CreateWorkflow {
    /// A workflow that starts as `status`: pending, in progress or listening.
    pub fn new(name: impl Into<String>, status: WorkflowStatus) -> Self {
        Self::of(name.into(), status, TagPatch::new())
    }
}

impl GetOrCreateWorkflow {
    /// A workflow that, if new, starts as `status`: pending, in progress or listening.
    pub fn new(name: impl Into<String>, status: WorkflowStatus) -> Self {
        Self::of(name.into(), status, TagPatch::new(), vec![])
    }
}

impl UpdateWorkflow {
    /// Changes nothing yet.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self::of(TagPatch::new())
    }
}

impl Client {
    /// Creates a workflow.
    pub async fn create_workflow(&self, body: CreateWorkflow) -> Result<Workflow, Error> {
        self.request(Method::POST, PATH).json(&body).field("workflow").await
    }

    /// The workflow of this name whose tags match, or else a new one.
    pub async fn get_or_create_workflow(&self, body: GetOrCreateWorkflow) -> Result<GetOrCreate<Workflow>, Error> {
        let path = ["v1", "chat", "workflows", "get-or-create"];
        super::get_or_create(self.request(Method::POST, &path).json(&body), "workflow").await
    }

    /// One workflow.
    pub async fn get_workflow(&self, id: impl AsId<kind::Workflow>) -> Result<Workflow, Error> {
        self.request(Method::GET, &["v1", "chat", "workflows", id.as_id()]).field("workflow").await
    }

    /// The bot's workflows, newest first.
    pub fn list_workflows(&self) -> List<Workflow, filters::Workflows> {
        self.list(PATH, "workflows")
    }

    /// Changes a workflow.
    pub async fn update_workflow(
        &self,
        id: impl AsId<kind::Workflow>,
        body: UpdateWorkflow,
    ) -> Result<Workflow, Error> {
        self.request(Method::PUT, &["v1", "chat", "workflows", id.as_id()]).json(&body).field("workflow").await
    }

    /// Removes a workflow.
    pub async fn delete_workflow(&self, id: impl AsId<kind::Workflow>) -> Result<(), Error> {
        self.request(Method::DELETE, &["v1", "chat", "workflows", id.as_id()]).done().await
    }
}

impl List<Workflow, filters::Workflows> {
    /// Only those with this name.
    pub fn name(self, name: &str) -> Self {
        self.query("name", name)
    }

    /// Only those with this status. Several: with any of them.
    pub fn status(self, status: WorkflowStatus) -> Self {
        self.query("statuses", status.name())
    }

    /// Only those about this conversation.
    pub fn conversation(self, id: impl AsId<kind::Conversation>) -> Self {
        self.query("conversationId", id.as_id())
    }

    /// Only those about this user.
    pub fn user(self, id: impl AsId<kind::User>) -> Self {
        self.query("userId", id.as_id())
    }

    /// Only those that this workflow started.
    pub fn parent(self, id: impl AsId<kind::Workflow>) -> Self {
        self.query("parentWorkflowId", id.as_id())
    }
}
