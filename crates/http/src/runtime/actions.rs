//! `/v1/chat/actions` (`spec/cloud/runtime.md` § 10).

use duologue_model::{Error as Refusal, Json};
use serde::{Deserialize, Serialize};

use crate::{
    call::{self, Call},
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[route!(Runtime POST "/v1/chat/actions" callAction call_action)];

#[derive(Serialize)]
struct Done {
    output: Json,
    meta: Cached,
}

/// Answers aren't kept to be given again.
#[derive(Serialize)]
struct Cached {
    cached: bool,
}

async fn call_action(call: Call) -> Answer {
    #[derive(Deserialize)]
    struct Body {
        r#type: String,
        input: Json,
    }
    let body: Body = call.json()?;
    call::name("type", &body.r#type, 200)?;
    call.payload("input", &body.input)?;
    if !body.input.is_object() {
        return Err(Refusal::invalid_payload("input must be an object").into());
    }
    let output = call.app.calls.act(call.who()?.clone(), body.r#type, body.input).await?;
    call::ok(&Done { output, meta: Cached { cached: false } })
}
