//! A request on its way to its handler: who calls, with what; and the few ways to answer.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use duologue_model::{Error as Refusal, Identity, Json, Meta, Timestamp, id::UserId, tags::TagPatch};
use duologue_store::{
    access::{Caller, Principal, Token},
    crypto,
    events::Schedule,
    idempotency::{Keyed, Rendered, RequestKey},
    page::{Cursor, Page, PageRequest},
    tx::Script,
};
use http::{HeaderMap, Method, Response};
use serde::{Deserialize, Serialize};

use crate::{App, body, envelope, query::Query, route::Answer};

/// A request whose caller is known.
pub(crate) struct Call {
    pub(crate) app: Arc<App>,
    pub(crate) method: Method,
    /// The path as it was sent.
    pub(crate) path: String,
    /// Parameters of the path, decoded, in their order.
    pub(crate) params: Vec<String>,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Runtime operations have one.
    pub(crate) caller: Option<Arc<Caller>>,
    /// All but public operations have one.
    pub(crate) token: Option<Token>,
}

impl Call {
    /// Who calls the runtime API.
    pub(crate) fn who(&self) -> Result<&Identity, Refusal> {
        // Dispatch gives every runtime operation a caller; this is for the compiler's peace.
        let missing = || Refusal::invalid_payload("the header x-bot-id is missing");
        self.caller.as_ref().map(|caller| &caller.identity).ok_or_else(missing)
    }

    /// Refuses an id of the wrong length for a user in body field `field`. The bot's own is one whatever its
    /// length: bots that were made for v12 keep theirs.
    pub(crate) fn check_user(&self, field: &str, id: &UserId) -> Result<(), Refusal> {
        if id.as_str() == self.who()?.bot.as_str() { Ok(()) } else { id.check(field) }
    }

    /// The account behind a personal access token; other tokens may not use the admin API.
    pub(crate) fn account(&self) -> Result<&str, Refusal> {
        match self.token.as_ref().map(|token| &token.principal) {
            Some(Principal::Account(id)) => Ok(id),
            _ => Err(Refusal::forbidden(
                "the admin API needs a personal access token; keys of bots and integrations can't use it",
            )),
        }
    }

    /// A header's text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The path parameter with this position.
    pub(crate) fn param(&self, position: usize) -> String {
        self.params.get(position).cloned().unwrap_or_default()
    }

    /// The body.
    pub(crate) fn json<'c, T: Deserialize<'c>>(&'c self) -> Result<T, Refusal> {
        body::parse(&self.body, self.app.limits.json_depth)
    }

    /// Runs a script and answers with what it made. With an `Idempotency-Key` the answer of the
    /// first such POST is given again.
    pub(crate) async fn write<S, T, R>(&self, status: u16, script: S, render: R) -> Answer
    where
        S: Script,
        T: Serialize,
        R: Fn(S::Out) -> T + Send + Sync + 'static,
    {
        let store = &self.app.store;
        match self.request_key()? {
            None => Ok(envelope::json(status, &render(store.write(script).await?))),
            Some(key) => {
                let render =
                    move |out| Rendered { status, body: serde_json::to_string(&render(out)).unwrap_or_default() };
                let kept = store.write(Keyed { script, render, key }).await?;
                Ok(envelope::raw_json(kept.status, kept.body))
            }
        }
    }

    /// Whether the answer must be kept.
    pub(crate) fn is_keyed(&self) -> bool {
        self.method == Method::POST && self.headers.contains_key("idempotency-key")
    }

    pub(crate) fn request_key(&self) -> Result<Option<RequestKey>, Refusal> {
        if !self.is_keyed() {
            return Ok(None);
        }
        let key = self.header("idempotency-key").unwrap_or_default();
        if key.is_empty() || key.len() > 255 {
            return Err(Refusal::invalid_payload("the header Idempotency-Key must have 1 to 255 ASCII characters"));
        }
        let token = self.token.as_ref().map_or("", |token| token.id.as_str());
        let identity =
            self.caller.as_ref().map(|caller| format!("{}/{}", caller.identity.bot, caller.identity.view.owner()));
        let scope = format!("{token}\n{}\n{}\n{key}", identity.unwrap_or_default(), self.path);
        Ok(Some(RequestKey { scope: crypto::sha256_hex(scope.as_bytes()), body_hash: crypto::sha256_hex(&self.body) }))
    }

    /// Which page is asked for.
    pub(crate) fn page(&self) -> Result<PageRequest, Refusal> {
        let after = match self.query.get("nextToken") {
            Some(token) => Some(self.app.store.cursor(token, &self.binding())?),
            None => None,
        };
        Ok(PageRequest { size: self.query.page_size()?, after })
    }

    /// A page's `meta`.
    pub(crate) fn meta(&self, next: Option<&Cursor>) -> Meta {
        Meta { next_token: next.map(|cursor| self.app.store.next_token(cursor, &self.binding())) }
    }

    /// Answers with a page.
    pub(crate) fn list<T: Serialize>(&self, name: &'static str, page: &Page<T>) -> Answer {
        let items = Json::of(&page.items);
        let meta = Json::of(&self.meta(page.next.as_ref()));
        let mut text = String::with_capacity(items.text().len() + meta.text().len() + name.len() + 16);
        text.push_str("{\"");
        text.push_str(name);
        text.push_str("\":");
        text.push_str(items.text());
        text.push_str(",\"meta\":");
        text.push_str(meta.text());
        text.push('}');
        Ok(envelope::raw_json(200, text))
    }

    /// What page tokens of this list are bound to.
    fn binding(&self) -> Vec<u8> {
        let mut binding = self.query.fingerprint();
        let mut add = |text: &str| {
            binding.extend((text.len() as u32).to_be_bytes());
            binding.extend(text.as_bytes());
        };
        add(&self.path);
        match &self.caller {
            Some(caller) => {
                add(caller.identity.bot.as_str());
                add(caller.identity.view.owner());
            }
            None => {
                add(self.header("x-workspace-id").unwrap_or_default());
                if let Some(Principal::Account(id)) = self.token.as_ref().map(|token| &token.principal) {
                    add(id);
                }
            }
        }
        binding
    }

    /// Tag filters of the query: stored keys and values.
    pub(crate) fn tag_filters(&self) -> Result<Vec<(String, String)>, Refusal> {
        let view = &self.who()?.view;
        Ok(self.query.object("tags").into_iter().map(|(key, value)| (view.stored_key(&key), value)).collect())
    }

    /// Refuses a payload that isn't an object, or is too large.
    pub(crate) fn payload(&self, field: &str, payload: &Json) -> Result<(), Refusal> {
        if !payload.is_object() {
            return Err(Refusal::invalid_payload(format!("{field} must be an object")));
        }
        let (length, limit) = (payload.text().len(), self.app.limits.payload_bytes);
        if length > limit {
            return Err(duologue_store::states::too_large(limit, length));
        }
        Ok(())
    }
}

/// `{}`.
pub(crate) fn empty() -> Answer {
    Ok(envelope::raw_json(200, "{}"))
}

/// An answer of 200 with this value.
pub(crate) fn ok(value: &impl Serialize) -> Answer {
    Ok(envelope::json(200, value))
}

/// An answer of another kind than JSON.
pub(crate) fn plain(media_type: &'static str, body: impl Into<Body>) -> Answer {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(media_type));
    Ok(response)
}

/// Refuses a text that is too long or holds a NUL.
pub(crate) fn text(field: &str, value: &str, most: usize) -> Result<(), Refusal> {
    if value.contains('\0') {
        return Err(Refusal::invalid_payload(format!("{field} contains a NUL character")));
    }
    // Bytes bound characters from above: most texts need no counting.
    if value.len() > most && value.chars().count() > most {
        return Err(Refusal::invalid_payload(format!("{field} has more than {most} characters")));
    }
    Ok(())
}

/// Refuses a text that is empty, too long or holds a NUL.
pub(crate) fn name(field: &str, value: &str, most: usize) -> Result<(), Refusal> {
    if value.is_empty() {
        return Err(Refusal::invalid_payload(format!("{field} must not be empty")));
    }
    text(field, value, most)
}

/// Refuses a free object that isn't one.
pub(crate) fn object(field: &str, value: Option<&Json>) -> Result<(), Refusal> {
    match value {
        Some(value) if !value.is_object() => Err(Refusal::invalid_payload(format!("{field} must be an object"))),
        _ => Ok(()),
    }
}

/// Refuses values of tags that the dialect's clients are not allowed either: checked again, with
/// owners, where they are stored.
pub(crate) fn tag_values(tags: &TagPatch) -> Result<(), Refusal> {
    tags.iter().try_for_each(|(key, value)| {
        text(&format!("tags.{key}"), value.as_deref().unwrap_or(""), duologue_model::tags::MAX_VALUE)
    })
}

/// `schedule` of a body: exactly one of an instant and a delay in milliseconds.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ScheduleBody {
    date_time: Option<String>,
    delay: Option<f64>,
}

impl ScheduleBody {
    pub(crate) fn parse(&self) -> Result<Schedule, Refusal> {
        match (&self.date_time, self.delay) {
            (Some(at), None) => {
                if !(24..=28).contains(&at.len()) {
                    return Err(Refusal::invalid_payload(
                        "schedule.dateTime must have 24 to 28 characters, such as 2026-01-31T12:00:00.000Z",
                    ));
                }
                let at: Timestamp =
                    at.parse().map_err(|e| Refusal::invalid_payload(format!("schedule.dateTime: {e}")))?;
                Ok(Schedule::At(at))
            }
            (None, Some(delay)) if delay.is_finite() && delay >= 0.0 => Ok(Schedule::Delay(delay as i64)),
            (None, Some(_)) => {
                Err(Refusal::invalid_payload("schedule.delay must be a number of milliseconds, 0 or more"))
            }
            _ => Err(Refusal::invalid_payload("schedule must have exactly one of dateTime and delay")),
        }
    }
}
