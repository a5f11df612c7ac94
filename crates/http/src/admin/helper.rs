//! `/v1/admin/helper` (`spec/cloud/admin.md` § 9).

use duologue_model::{Error as Refusal, admin::Role};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::actor;
use crate::{
    call::{self, Call},
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[route!(Admin POST "/v1/admin/helper/vrl" runVrl run_vrl)];

/// Most bytes of a script.
const MOST_SCRIPT: usize = 64 * 1024;

async fn run_vrl(call: Call) -> Answer {
    #[derive(Deserialize)]
    struct Body {
        data: Value,
        script: String,
    }
    #[derive(Serialize)]
    struct Ran {
        data: Value,
        result: Value,
    }
    let actor = actor(&call)?;
    let body: Body = call.json()?;
    call::text("script", &body.script, MOST_SCRIPT)?;
    if !body.data.is_object() {
        return Err(Refusal::invalid_payload("data must be an object").into());
    }
    call.app.store.enter_workspace(actor, Role::Viewer).await?;
    let (result, data) = call.app.calls.run_script(&body.script, body.data).await?;
    if !data.is_object() {
        return Err(Refusal::new(duologue_model::ErrorKind::Runtime, "the script left no object behind").into());
    }
    call::ok(&Ran { data, result })
}
