//! `/v1/chat/states` (`spec/cloud/runtime.md` § 8).

use duologue_model::{Error as Refusal, Json, State, StateType};
use duologue_store::states::{Delete, Expiry, GetOrSet, Key, MAX_EXPIRY, Patch, Set, SetExpiry};
use serde::{Deserialize, Serialize};

use crate::{
    body::nullable,
    call::{self, Call},
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[
    route!(Runtime GET "/v1/chat/states" listStates list),
    route!(Runtime GET "/v1/chat/states/{type}/{id}/{name}" getState get),
    route!(Runtime POST "/v1/chat/states/{type}/{id}/{name}" setState set),
    route!(Runtime PATCH "/v1/chat/states/{type}/{id}/{name}" patchState patch),
    route!(Runtime DELETE "/v1/chat/states/{type}/{id}/{name}" deleteState delete),
    route!(Runtime POST "/v1/chat/states/{type}/{id}/{name}/expiry" setStateExpiry set_expiry),
    route!(Runtime POST "/v1/chat/states/{type}/{id}/{name}/get-or-set" getOrSetState get_or_set),
];

#[derive(Serialize)]
struct One {
    state: State,
}

#[derive(Serialize)]
struct Cached {
    cached: bool,
}

#[derive(Serialize)]
struct Found {
    state: State,
    meta: Cached,
}

fn found(state: State) -> Found {
    Found { state, meta: Cached { cached: false } }
}

const WORDS: &str = "conversation, user, bot, integration, task, workflow";

fn key(call: &Call) -> Result<Key, Refusal> {
    let word = call.param(0);
    let kind = StateType::from_name(&word).ok_or_else(|| {
        Refusal::invalid_payload(format!("the type of a state must be one of {WORDS}, not \"{word}\""))
    })?;
    let name = call.param(2);
    call::name("the name of a state", &name, 200)?;
    Ok(Key { who: call.who()?.clone(), kind, scope: call.param(1), name })
}

/// `expiry` of a body: absent, `null`, or milliseconds.
fn expiry(given: Option<Option<f64>>) -> Result<Expiry, Refusal> {
    match given {
        None => Ok(Expiry::Keep),
        Some(None) => Ok(Expiry::Never),
        Some(Some(millis)) if (1.0..=MAX_EXPIRY as f64).contains(&millis) => Ok(Expiry::After(millis as i64)),
        Some(Some(_)) => {
            Err(Refusal::invalid_payload(format!("expiry must be null, or 1 to {MAX_EXPIRY} milliseconds")))
        }
    }
}

#[derive(Deserialize)]
struct Body {
    payload: Option<Json>,
    #[serde(default, deserialize_with = "nullable")]
    expiry: Option<Option<f64>>,
}

async fn get(call: Call) -> Answer {
    call::ok(&found(call.app.store.get_state(key(&call)?).await?))
}

async fn set(call: Call) -> Answer {
    // `null` deletes; leaving the payload out is a mistake.
    #[derive(Deserialize)]
    struct Body {
        #[serde(deserialize_with = "nullable")]
        payload: Option<Option<Json>>,
        #[serde(default, deserialize_with = "nullable")]
        expiry: Option<Option<f64>>,
    }
    let (key, body) = (key(&call)?, call.json::<Body>()?);
    let payload = body.payload.flatten();
    let mut default_expiry = None;
    if let Some(payload) = &payload {
        call.payload("payload", payload)?;
        let defined = call.app.store.defined(&key).await?;
        defined.check(payload)?;
        default_expiry = defined.expiry;
    }
    let script = Set { key, payload, expiry: expiry(body.expiry)?, default_expiry };
    call.write(200, script, |state| One { state }).await
}

async fn get_or_set(call: Call) -> Answer {
    let (key, body) = (key(&call)?, call.json::<Body>()?);
    let payload =
        body.payload.ok_or_else(|| Refusal::invalid_payload("the body is invalid: missing field `payload`"))?;
    call.payload("payload", &payload)?;
    let defined = call.app.store.defined(&key).await?;
    defined.check(&payload)?;
    let script = GetOrSet { key, payload, expiry: expiry(body.expiry)?, default_expiry: defined.expiry };
    call.write(200, script, found).await
}

async fn patch(call: Call) -> Answer {
    #[derive(Deserialize)]
    struct Body {
        payload: serde_json::Map<String, serde_json::Value>,
        #[serde(default, deserialize_with = "nullable")]
        expiry: Option<Option<f64>>,
    }
    let (key, body) = (key(&call)?, call.json::<Body>()?);
    let defined = call.app.store.defined(&key).await?;
    let script = Patch {
        key,
        payload: body.payload,
        expiry: expiry(body.expiry)?,
        limit: call.app.limits.payload_bytes,
        check: defined.for_later(),
    };
    call.write(200, script, |state| One { state }).await
}

async fn set_expiry(call: Call) -> Answer {
    let (key, body) = (key(&call)?, call.json::<Body>()?);
    let millis = match expiry(body.expiry)? {
        Expiry::Keep => return Err(Refusal::invalid_payload("the body is invalid: missing field `expiry`").into()),
        Expiry::Never => None,
        Expiry::After(millis) => Some(millis),
    };
    call.write(200, SetExpiry { key, expiry: millis }, |state| One { state }).await
}

async fn delete(call: Call) -> Answer {
    call.app.store.write(Delete { key: key(&call)? }).await?;
    call::empty()
}

async fn list(call: Call) -> Answer {
    let query = &call.query;
    let missing = |name: &str| Refusal::invalid_payload(format!("the query parameter {name} is missing"));
    let kind = query.word("type", StateType::from_name, WORDS)?.ok_or_else(|| missing("type"))?;
    let scope = query.text("id").ok_or_else(|| missing("id"))?;
    let key = Key { who: call.who()?.clone(), kind, scope, name: String::new() };
    let page = call.app.store.list_states(key, query.text("name"), call.page()?).await?;
    call.list("states", &page)
}
