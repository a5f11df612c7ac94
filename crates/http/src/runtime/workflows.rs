//! `/v1/chat/workflows` (`spec/cloud/runtime.md` § 12).

use duologue_model::{Error as Refusal, Json, Timestamp, Workflow, WorkflowStatus, tags::TagPatch};
use duologue_store::workflows::{Create, Delete, GetOrCreate, List, NewWorkflow, Update};
use serde::{Deserialize, Serialize};

use super::conversations::Created;
use crate::{
    call::{self, Call},
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[
    route!(Runtime POST "/v1/chat/workflows" createWorkflow create),
    route!(Runtime GET "/v1/chat/workflows" listWorkflows list),
    route!(Runtime POST "/v1/chat/workflows/get-or-create" getOrCreateWorkflow get_or_create),
    route!(Runtime GET "/v1/chat/workflows/{id}" getWorkflow get),
    route!(Runtime PUT "/v1/chat/workflows/{id}" updateWorkflow update),
    route!(Runtime DELETE "/v1/chat/workflows/{id}" deleteWorkflow delete),
];

#[derive(Serialize)]
struct One {
    workflow: Workflow,
}

#[derive(Serialize)]
struct Found {
    workflow: Workflow,
    meta: Created,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    name: String,
    input: Option<Json>,
    parent_workflow_id: Option<String>,
    conversation_id: Option<String>,
    user_id: Option<String>,
    timeout_at: Option<Timestamp>,
    #[serde(default)]
    tags: TagPatch,
    status: WorkflowStatus,
    event_id: Option<String>,
    #[serde(default)]
    discriminate_by_tags: Vec<String>,
    discriminate_by_status_group: Option<String>,
}

impl Body {
    fn checked(self, call: &Call) -> Result<(NewWorkflow, Vec<String>, Option<bool>), Refusal> {
        call::name("name", &self.name, 200)?;
        call::tag_values(&self.tags)?;
        if !matches!(self.status, WorkflowStatus::Pending | WorkflowStatus::InProgress | WorkflowStatus::Listening) {
            return Err(Refusal::invalid_payload("a workflow begins with status pending, in_progress or listening"));
        }
        let input = self.input.unwrap_or_default();
        call.payload("input", &input)?;
        let active = match self.discriminate_by_status_group.as_deref() {
            None => None,
            Some("active") => Some(true),
            Some("finished") => Some(false),
            Some(_) => return Err(Refusal::invalid_payload("discriminateByStatusGroup must be active or finished")),
        };
        let new = NewWorkflow {
            name: self.name,
            status: self.status,
            input,
            parent: self.parent_workflow_id,
            conversation: self.conversation_id,
            user: self.user_id,
            timeout_at: self.timeout_at,
            tags: self.tags,
            event: self.event_id,
        };
        Ok((new, self.discriminate_by_tags, active))
    }
}

async fn create(call: Call) -> Answer {
    let (new, ..) = call.json::<Body>()?.checked(&call)?;
    call.write(201, Create { who: call.who()?.clone(), new }, |workflow| One { workflow }).await
}

async fn get_or_create(call: Call) -> Answer {
    let (new, by, active) = call.json::<Body>()?.checked(&call)?;
    let script = GetOrCreate { who: call.who()?.clone(), new, by, active };
    call.write(200, script, |(workflow, created)| Found { workflow, meta: Created { created } }).await
}

async fn get(call: Call) -> Answer {
    let workflow = call.app.store.get_workflow(call.who()?.clone(), call.param(0)).await?;
    call::ok(&One { workflow })
}

async fn update(call: Call) -> Answer {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        output: Option<Json>,
        timeout_at: Option<Timestamp>,
        status: Option<WorkflowStatus>,
        failure_reason: Option<String>,
        #[serde(default)]
        tags: TagPatch,
        user_id: Option<String>,
        event_id: Option<String>,
    }
    let body: Body = call.json()?;
    call::tag_values(&body.tags)?;
    call::text("failureReason", body.failure_reason.as_deref().unwrap_or_default(), 2000)?;
    if let Some(output) = &body.output {
        call.payload("output", output)?;
    }
    let script = Update {
        who: call.who()?.clone(),
        id: call.param(0),
        status: body.status,
        output: body.output,
        timeout_at: body.timeout_at,
        failure_reason: body.failure_reason,
        tags: body.tags,
        user: body.user_id,
        event: body.event_id,
    };
    call.write(200, script, |workflow| One { workflow }).await
}

async fn delete(call: Call) -> Answer {
    call.app.store.write(Delete { who: call.who()?.clone(), id: call.param(0) }).await?;
    call::empty()
}

async fn list(call: Call) -> Answer {
    let query = &call.query;
    let words = "pending, in_progress, listening, paused, completed, failed, timedout, cancelled";
    let list = List {
        who: call.who()?.clone(),
        tags: call.tag_filters()?,
        conversation: query.text("conversationId"),
        user: query.text("userId"),
        parent: query.text("parentWorkflowId"),
        statuses: query.words("statuses", WorkflowStatus::from_name, words)?,
        name: query.text("name"),
        page: call.page()?,
    };
    let page = call.app.store.list_workflows(list).await?;
    call.list("workflows", &page)
}
