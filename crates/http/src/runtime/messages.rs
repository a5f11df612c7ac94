//! `/v1/chat/messages` (`spec/cloud/runtime.md` § 5).

use duologue_model::{
    Error as Refusal, ErrorKind, Json, Message, Origin, Timestamp,
    id::{ConversationId, UserId},
    tags::TagPatch,
};
use duologue_store::messages::{Create, Delete, GetOrCreate, Import, Imported, List, NewMessage, Update};
use serde::{Deserialize, Serialize};

use super::conversations::{Created, range};
use crate::{
    call::{self, Call, ScheduleBody},
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[
    route!(Runtime POST "/v1/chat/messages" createMessage create),
    route!(Runtime GET "/v1/chat/messages" listMessages list),
    route!(Runtime POST "/v1/chat/messages/get-or-create" getOrCreateMessage get_or_create),
    route!(Runtime POST "/v1/chat/messages/import-messages" importMessages import),
    route!(Runtime GET "/v1/chat/messages/{id}" getMessage get),
    route!(Runtime PUT "/v1/chat/messages/{id}" updateMessage update),
    route!(Runtime DELETE "/v1/chat/messages/{id}" deleteMessage delete),
];

#[derive(Serialize)]
struct One {
    message: Message,
}

#[derive(Serialize)]
struct Found {
    message: Message,
    meta: Created,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    payload: Option<Json>,
    user_id: UserId,
    conversation_id: ConversationId,
    r#type: String,
    tags: TagPatch,
    schedule: Option<ScheduleBody>,
    origin: Option<Origin>,
    #[serde(default)]
    discriminate_by_tags: Vec<String>,
    created_at: Option<Timestamp>,
}

impl Body {
    fn checked(self, call: &Call, payload_needed: bool) -> Result<(NewMessage, Vec<String>), Refusal> {
        call.check_user("userId", &self.user_id)?;
        self.conversation_id.check("conversationId")?;
        call::name("type", &self.r#type, 200)?;
        call::tag_values(&self.tags)?;
        if payload_needed && self.payload.is_none() {
            return Err(Refusal::invalid_payload("the body is invalid: missing field `payload`"));
        }
        let payload = self.payload.unwrap_or_default();
        call.payload("payload", &payload)?;
        let new = NewMessage {
            conversation: self.conversation_id,
            user: self.user_id,
            kind: self.r#type,
            payload,
            tags: self.tags,
            origin: self.origin,
            schedule: self.schedule.as_ref().map(ScheduleBody::parse).transpose()?,
        };
        Ok((new, self.discriminate_by_tags))
    }
}

async fn create(call: Call) -> Answer {
    let (new, _) = call.json::<Body>()?.checked(&call, true)?;
    call.write(201, Create { who: call.who()?.clone(), new }, |message| One { message }).await
}

async fn get_or_create(call: Call) -> Answer {
    let (new, by) = call.json::<Body>()?.checked(&call, false)?;
    let script = GetOrCreate { who: call.who()?.clone(), new, by };
    call.write(200, script, |(message, created)| Found { message, meta: Created { created } }).await
}

async fn import(call: Call) -> Answer {
    #[derive(Deserialize)]
    struct Messages {
        messages: Vec<Body>,
    }
    #[derive(Serialize)]
    struct Imports {
        messages: Vec<Message>,
    }
    let body: Messages = call.json()?;
    if body.messages.len() > 100 {
        return Err(Refusal::invalid_payload("at most 100 messages are imported in a request").into());
    }
    let mut messages = Vec::with_capacity(body.messages.len());
    for (index, mut item) in body.messages.into_iter().enumerate() {
        let missing =
            || Refusal::invalid_payload(format!("the body is invalid at messages[{index}]: missing field `createdAt`"));
        let created_at = item.created_at.take().ok_or_else(missing)?;
        let (new, by) = item.checked(&call, true)?;
        messages.push(Imported { new, created_at, by });
    }
    call.write(200, Import { who: call.who()?.clone(), messages }, |messages| Imports { messages }).await
}

async fn get(call: Call) -> Answer {
    let message = call.app.store.get_message(call.who()?.clone(), call.param(0)).await?;
    call::ok(&One { message })
}

async fn update(call: Call) -> Answer {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        tags: TagPatch,
        payload: Option<Json>,
    }
    let body: Body = call.json()?;
    call::tag_values(&body.tags)?;
    if let Some(payload) = &body.payload {
        call.payload("payload", payload)?;
    }
    let script = Update { who: call.who()?.clone(), id: call.param(0), tags: body.tags, payload: body.payload };
    call.write(200, script, |message| One { message }).await
}

async fn delete(call: Call) -> Answer {
    call.app.store.write(Delete { who: call.who()?.clone(), id: call.param(0) }).await?;
    call::empty()
}

async fn list(call: Call) -> Answer {
    let list = List {
        who: call.who()?.clone(),
        conversation: call.query.text("conversationId"),
        tags: call.tag_filters()?,
        range: range(&call.query)?,
        ascending: false,
        page: call.page()?,
    };
    let page = call.app.store.list_messages(list).await?;
    call.list("messages", &page)
}

/// The refusal of a caller who isn't an integration.
pub(crate) fn for_integrations(call: &Call) -> Result<(), Refusal> {
    if call.who()?.is_bot() {
        let text = "this operation is for integrations: send x-integration-id of one that is installed in the bot";
        return Err(Refusal::new(ErrorKind::Forbidden, text));
    }
    Ok(())
}
