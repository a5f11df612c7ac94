//! `/v1/admin/introspect` (`spec/cloud/admin.md` § 3): the one admin operation that keys of bots may
//! call.

use duologue_model::Error as Refusal;
use serde::Deserialize;

use crate::{
    call::{self, Call},
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[route!(Token POST "/v1/admin/introspect" introspect introspect)];

async fn introspect(call: Call) -> Answer {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        bot_id: String,
    }
    let body: Body = call.json()?;
    call::name("botId", &body.bot_id, 36)?;
    // Dispatch gives every operation but public ones a token; this is for the compiler's peace.
    let token = call.token.clone().ok_or_else(|| Refusal::forbidden("a token is needed"))?;
    let introspection = call.app.store.introspect(token.principal, body.bot_id).await?;
    call::ok(&introspection)
}
