//! `/v1/chat/events` (`spec/cloud/runtime.md` § 7).

use duologue_model::{
    Error as Refusal, Event, EventStatus, Json,
    id::{ConversationId, Id, MessageId, UserId, WorkflowId},
};
use duologue_store::events::{Cancel, Create, Links, List};
use serde::{Deserialize, Serialize};

use crate::{
    call::{self, Call, ScheduleBody},
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[
    route!(Runtime POST "/v1/chat/events" createEvent create),
    route!(Runtime GET "/v1/chat/events" listEvents list),
    route!(Runtime DELETE "/v1/chat/events/scheduled/{id}" cancelScheduledEvent cancel),
    route!(Runtime GET "/v1/chat/events/{id}" getEvent get),
];

#[derive(Serialize)]
struct One {
    event: Event,
}

async fn create(call: Call) -> Answer {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        r#type: String,
        payload: Json,
        schedule: Option<ScheduleBody>,
        conversation_id: Option<ConversationId>,
        user_id: Option<UserId>,
        workflow_id: Option<WorkflowId>,
        message_id: Option<MessageId>,
    }
    let body: Body = call.json()?;
    call::name("type", &body.r#type, 200)?;
    call.payload("payload", &body.payload)?;
    let links = Links {
        conversation: body.conversation_id.map(|id| checked("conversationId", id)).transpose()?,
        user: body.user_id.map(|id| call.check_user("userId", &id).map(|()| id.as_str().to_owned())).transpose()?,
        message: body.message_id.map(|id| checked("messageId", id)).transpose()?,
        workflow: body.workflow_id.map(|id| checked("workflowId", id)).transpose()?,
    };
    let script = Create {
        who: call.who()?.clone(),
        kind: body.r#type,
        payload: body.payload,
        schedule: body.schedule.as_ref().map(ScheduleBody::parse).transpose()?,
        links,
    };
    call.write(201, script, |event| One { event }).await
}

/// The id as text, if its length is an id's.
fn checked<K>(field: &str, id: Id<K>) -> Result<String, Refusal> {
    id.check(field)?;
    Ok(id.as_str().to_owned())
}

async fn get(call: Call) -> Answer {
    let event = call.app.store.get_event(call.who()?.clone(), call.param(0)).await?;
    call::ok(&One { event })
}

async fn cancel(call: Call) -> Answer {
    call.app.store.write(Cancel { who: call.who()?.clone(), id: call.param(0) }).await?;
    call::empty()
}

async fn list(call: Call) -> Answer {
    let query = &call.query;
    let words = "scheduled, pending, processed, ignored, failed, canceled";
    let list = List {
        who: call.who()?.clone(),
        kind: query.text("type"),
        status: query.word("status", EventStatus::from_name, words)?,
        links: Links {
            conversation: query.text("conversationId"),
            user: query.text("userId"),
            message: query.text("messageId"),
            workflow: query.text("workflowId"),
        },
        page: call.page()?,
    };
    let page = call.app.store.list_events(list).await?;
    call.list("events", &page)
}
