//! `/v1/chat/initialize-incoming-message` (`spec/cloud/runtime.md` § 5).

use duologue_model::{
    Conversation, Error as Refusal, Json, Message, Origin, User,
    id::{ConversationId, UserId},
    tags::TagPatch,
};
use duologue_store::{
    conversations,
    messages::{Initialize, NewMessage},
    users,
};
use serde::{Deserialize, Serialize};

use super::{conversations as conversation_bodies, messages::for_integrations, users as user_bodies};
use crate::{
    call::{self, Call},
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] =
    &[route!(Runtime POST "/v1/chat/initialize-incoming-message" initializeIncomingMessage initialize)];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    user_id: Option<String>,
    user: Option<user_bodies::Body>,
    conversation_id: Option<String>,
    conversation: Option<conversation_bodies::Body>,
    message: Option<MessageBody>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageBody {
    payload: Json,
    r#type: String,
    tags: TagPatch,
    origin: Option<Origin>,
    #[serde(default)]
    discriminate_by_tags: Vec<String>,
}

#[derive(Serialize)]
struct Initialized {
    user: User,
    conversation: Conversation,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Message>,
}

fn exactly_one(names: &str) -> Refusal {
    Refusal::invalid_payload(format!("give exactly one of {names}"))
}

async fn initialize(call: Call) -> Answer {
    for_integrations(&call)?;
    let body: Body = call.json()?;
    let who = call.who()?.clone();
    let user = match (body.user_id, body.user) {
        (Some(id), None) => Ok(id),
        (None, Some(user)) => {
            let (new, by) = user.checked()?;
            Err(users::GetOrCreate { who: who.clone(), new, by })
        }
        _ => return Err(exactly_one("userId and user").into()),
    };
    let conversation = match (body.conversation_id, body.conversation) {
        (Some(id), None) => Ok(id),
        (None, Some(conversation)) => {
            let (new, by) = conversation.checked()?;
            Err(conversations::GetOrCreate { who: who.clone(), new, by })
        }
        _ => return Err(exactly_one("conversationId and conversation").into()),
    };
    let message = match body.message {
        Some(message) => {
            call::name("message.type", &message.r#type, 200)?;
            call::tag_values(&message.tags)?;
            call.payload("message.payload", &message.payload)?;
            let new = NewMessage {
                // Filled in once they are known.
                conversation: ConversationId::new(""),
                user: UserId::new(""),
                kind: message.r#type,
                payload: message.payload,
                tags: message.tags,
                origin: message.origin,
                schedule: None,
            };
            Some((new, message.discriminate_by_tags))
        }
        None => None,
    };
    let script = Initialize { who, user, conversation, message };
    call.write(200, script, |(user, conversation, message)| Initialized { user, conversation, message }).await
}
