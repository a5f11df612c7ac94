//! The two routes on which users talk to bots (`spec/v12/converse-api.md` § 2 to 6).

use std::sync::Arc;

use axum::body::Body;
use duologue_bots::{Answered, Input, LiveBot, Refusal};
use duologue_dialog::Value;
use duologue_outbound::Request;
use duologue_v12::{
    Answer, ApiError,
    auth::external::{FetchKeys, Fetching},
    converse::{self, Include},
    json::{Json, Object},
};
use http::{Method, Response};

use super::{Call, Outcome, Refused, admit, answer, auth, bot, decoded, query};

/// The header that carries the token of external authentication.
const EXTERNAL_AUTH: &str = "x-bp-externalauth";

/// `POST …/converse/{userId}`: only the bot's messages.
pub(super) async fn public(call: &Call, bot_id: &str, user: &str) -> Outcome {
    let (bot_id, user) = (decoded(bot_id)?, user_id(user)?);
    let bot = bot(call, &bot_id).await?;
    admit(call, &bot, &user, true)?;
    let credentials = credentials(call).await?;
    converse::check_public(&call.body)?;
    Include::check_public(&query::include(&call.query)?)?;
    talk(call, bot, user, credentials, Include::default()).await
}

/// `POST …/converse/{userId}/secured`: what is asked for of the turn, too.
pub(super) async fn secured(call: &Call, bot_id: &str, user: &str) -> Outcome {
    let (bot_id, user) = (decoded(bot_id)?, user_id(user)?);
    let bot = bot(call, &bot_id).await?;
    auth::collaborator(&call.app.store, &call.installed.config.tokens, &call.headers).await?;
    admit(call, &bot, &user, false)?;
    let credentials = credentials(call).await?;
    let include = Include::parse(&query::include(&call.query)?);
    talk(call, bot, user, credentials, include).await
}

/// Any text, as PostgreSQL can keep it.
pub(super) fn user_id(raw: &str) -> Result<String, Refused> {
    let user = decoded(raw)?;
    if user.contains('\0') {
        return Err(ApiError::bad_request("A user id can't contain a NUL character").into());
    }
    Ok(user)
}

async fn credentials(call: &Call) -> Result<Value, ApiError> {
    let now = call.app.store.now().millis() / 1000;
    let claims = call.installed.external.credentials(call.header(EXTERNAL_AUTH), now, &KeySets(call)).await?;
    Ok(claims.map_or(Value::Undefined, |claims| value(&Json::Object(claims))))
}

/// Fetches key sets as bots fetch: within bounds, and only where that is allowed.
struct KeySets<'c>(&'c Call);

impl FetchKeys for KeySets<'_> {
    fn fetch<'a>(&'a self, uri: &'a str) -> Fetching<'a> {
        Box::pin(async move {
            let request = Request::new(Method::GET, uri);
            let answer = self.0.bots.outbound().send(request).await.map_err(|error| error.to_string())?;
            match answer.status.is_success() {
                true => Ok(answer.body),
                false => Err(format!("the key set's server answered {}", answer.status)),
            }
        })
    }
}

async fn talk(call: &Call, bot: Arc<LiveBot>, user: String, credentials: Value, include: Include) -> Outcome {
    let input = converse::Input::new(call.body.clone(), bot.settings.max_message_length)?;
    let input = Input {
        user,
        payload: value(&Json::Object(input.payload)),
        included_contexts: value(&input.included_contexts),
        credentials,
    };
    let answered = call.bots.converse(bot, input).await.map_err(refused)?;
    let body = Answer::json(200, written(&answered, include));
    Ok::<Response<Body>, Refused>(answer::whole(body, answer::accepts_gzip(&call.headers)))
}

fn refused(refusal: Refusal) -> Refused {
    match refusal {
        Refusal::TimedOut => ApiError::timed_out().into(),
        Refusal::Busy => Refused::Throttled(1),
        Refusal::Parallel => ApiError::parallel().into(),
        Refusal::Failed => ApiError::plain(500, "Error", "The server failed to process this request.").into(),
    }
}

/// The answer, members in the original's order.
fn written(answered: &Answered, include: Include) -> String {
    let Answered { late, outcome } = answered;
    let replies = late.iter().chain(outcome.replies.iter().map(|reply| &reply.payload));
    let replies: Vec<String> = replies.map(Value::to_json).collect();
    let mut body = format!("{{\"responses\":[{}]", replies.join(","));
    let mut member = |wanted: bool, name: &str, value: &Value| {
        if wanted && !value.is_undefined() {
            body.push_str(&format!(",\"{name}\":{}", value.to_json()));
        }
    };
    member(include.nlu, "nlu", outcome.nlu());
    member(include.suggestions, "suggestions", outcome.suggestions());
    member(include.credentials, "credentials", outcome.credentials());
    member(include.state, "state", outcome.state());
    if include.decision {
        member(true, "decision", &outcome.decision());
    }
    body.push('}');
    body
}

/// The engine's form of a value.
fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => Value::Number(*number),
        Json::String(text) => text.as_str().into(),
        Json::Array(items) => Value::Array(items.iter().map(value).collect()),
        Json::Object(members) => object(members),
    }
}

fn object(members: &Object) -> Value {
    let members = members.iter().map(|(name, member)| (name.as_str().into(), value(member)));
    Value::Object(members.collect())
}
