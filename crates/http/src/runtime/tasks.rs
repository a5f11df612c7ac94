//! `/v1/chat/tasks` (`spec/cloud/runtime.md` § 13): for older clients.

use duologue_model::{Json, Task, TaskStatus, Timestamp, tags::TagPatch};
use duologue_store::tasks::{Create, Delete, List, Update};
use serde::{Deserialize, Serialize};

use crate::{
    call::{self, Call},
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[
    route!(Runtime POST "/v1/chat/tasks" createTask create),
    route!(Runtime GET "/v1/chat/tasks" listTasks list),
    route!(Runtime GET "/v1/chat/tasks/{id}" getTask get),
    route!(Runtime PUT "/v1/chat/tasks/{id}" updateTask update),
    route!(Runtime DELETE "/v1/chat/tasks/{id}" deleteTask delete),
];

#[derive(Serialize)]
struct One {
    task: Task,
}

async fn create(call: Call) -> Answer {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        #[serde(default)]
        title: String,
        #[serde(default)]
        description: String,
        r#type: String,
        data: Option<Json>,
        parent_task_id: Option<String>,
        conversation_id: String,
        user_id: Option<String>,
        timeout_at: Option<Timestamp>,
        #[serde(default)]
        tags: TagPatch,
    }
    let body: Body = call.json()?;
    call::name("type", &body.r#type, 200)?;
    call::text("title", &body.title, 2000)?;
    call::text("description", &body.description, 20_000)?;
    call::tag_values(&body.tags)?;
    let data = body.data.unwrap_or_default();
    call.payload("data", &data)?;
    let script = Create {
        who: call.who()?.clone(),
        title: body.title,
        description: body.description,
        kind: body.r#type,
        data,
        parent: body.parent_task_id,
        conversation: body.conversation_id,
        user: body.user_id,
        timeout_at: body.timeout_at,
        tags: body.tags,
    };
    call.write(201, script, |task| One { task }).await
}

async fn get(call: Call) -> Answer {
    let task = call.app.store.get_task(call.who()?.clone(), call.param(0)).await?;
    call::ok(&One { task })
}

async fn update(call: Call) -> Answer {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        title: Option<String>,
        description: Option<String>,
        data: Option<Json>,
        timeout_at: Option<Timestamp>,
        status: Option<TaskStatus>,
        #[serde(default)]
        tags: TagPatch,
    }
    let body: Body = call.json()?;
    call::text("title", body.title.as_deref().unwrap_or_default(), 2000)?;
    call::text("description", body.description.as_deref().unwrap_or_default(), 20_000)?;
    call::tag_values(&body.tags)?;
    if let Some(data) = &body.data {
        call.payload("data", data)?;
    }
    let script = Update {
        who: call.who()?.clone(),
        id: call.param(0),
        title: body.title,
        description: body.description,
        data: body.data,
        timeout_at: body.timeout_at,
        status: body.status,
        tags: body.tags,
    };
    call.write(200, script, |task| One { task }).await
}

async fn delete(call: Call) -> Answer {
    call.app.store.write(Delete { who: call.who()?.clone(), id: call.param(0) }).await?;
    call::empty()
}

async fn list(call: Call) -> Answer {
    let query = &call.query;
    let words = "pending, in_progress, failed, completed, blocked, paused, timeout, cancelled";
    let list = List {
        who: call.who()?.clone(),
        tags: call.tag_filters()?,
        conversation: query.text("conversationId"),
        user: query.text("userId"),
        parent: query.text("parentTaskId"),
        statuses: query.words("status", TaskStatus::from_name, words)?,
        kind: query.text("type"),
        page: call.page()?,
    };
    let page = call.app.store.list_tasks(list).await?;
    call.list("tasks", &page)
}
