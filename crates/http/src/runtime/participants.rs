//! `/v1/chat/conversations/{id}/participants` (`spec/cloud/runtime.md` § 4, Participants).

use duologue_model::{User, id::UserId};
use duologue_store::participants::{Add, Remove};
use serde::{Deserialize, Serialize};

use crate::{
    call::{self, Call},
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[
    route!(Runtime GET "/v1/chat/conversations/{id}/participants" listParticipants list),
    route!(Runtime POST "/v1/chat/conversations/{id}/participants" addParticipant add),
    route!(Runtime GET "/v1/chat/conversations/{id}/participants/{userId}" getParticipant get),
    route!(Runtime DELETE "/v1/chat/conversations/{id}/participants/{userId}" removeParticipant remove),
];

#[derive(Serialize)]
struct One {
    participant: User,
}

async fn list(call: Call) -> Answer {
    let page = call.app.store.list_participants(call.who()?.clone(), call.param(0), call.page()?).await?;
    call.list("participants", &page)
}

async fn add(call: Call) -> Answer {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        user_id: UserId,
    }
    let body: Body = call.json()?;
    call.check_user("userId", &body.user_id)?;
    let script = Add { who: call.who()?.clone(), conversation: call.param(0), user: body.user_id.as_str().to_owned() };
    call.write(200, script, |participant| One { participant }).await
}

async fn get(call: Call) -> Answer {
    let participant = call.app.store.get_participant(call.who()?.clone(), call.param(0), call.param(1)).await?;
    call::ok(&One { participant })
}

async fn remove(call: Call) -> Answer {
    let script = Remove { who: call.who()?.clone(), conversation: call.param(0), user: call.param(1) };
    call.app.store.write(script).await?;
    call::empty()
}
