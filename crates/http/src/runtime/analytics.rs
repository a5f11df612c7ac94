//! `/v1/chat/analytics` and `/v1/chat/observations` (`spec/cloud/runtime.md` § 14).

use duologue_model::{Error as Refusal, Json};
use duologue_store::analytics::Track;
use serde::Deserialize;

use crate::{
    call::{self, Call},
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[
    route!(Runtime POST "/v1/chat/analytics" trackAnalytics track),
    route!(Runtime POST "/v1/chat/observations" captureObservation observe),
];

async fn track(call: Call) -> Answer {
    #[derive(Deserialize)]
    struct Body {
        name: String,
        count: f64,
    }
    let body: Body = call.json()?;
    call::name("name", &body.name, 200)?;
    if body.count < 1.0 || body.count.fract() != 0.0 || body.count > 1e15 {
        return Err(Refusal::invalid_payload("count must be a whole number, 1 or more").into());
    }
    let script = Track { who: call.who()?.clone(), name: body.name, count: body.count as i64 };
    call.write(200, script, |()| serde_json::json!({})).await
}

/// Observations are checked and dropped, as the specification allows: nothing here reads them.
async fn observe(call: Call) -> Answer {
    #[derive(Deserialize)]
    struct Body {
        name: String,
        data: Json,
    }
    let body: Body = call.json()?;
    call::text("name", &body.name, 200)?;
    call.payload("data", &body.data)?;
    call::empty()
}
