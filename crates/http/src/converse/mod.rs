//! The Converse dialect: `/api/v1/**`, as Botpress v12 spoke it (`spec/v12/converse-api.md`).
//!
//! [`serve`] takes every request through the dialect's own steps: body, origin, rate, bot; then the
//! route's own checks, and the bot's rules about who may call (`restrict`).
//!
//! * `message` has the routes on which users talk, `events` that on which they listen;
//! * `accounts` is for logging in, `rights` for what roles allow, `bots` says which bots there are;
//! * `turns` shows why a bot said what it said, `media` has its files.
//!
//! Texts, bodies and rules of the dialect are in the crate `v12`; turns are run by the crate `bots`. Here
//! requests are taken apart and answers put together.

mod accounts;
mod answer;
pub(crate) mod auth;
mod bots;
mod events;
mod media;
mod message;
mod query;
mod restrict;
mod rights;
mod throttle;
mod turns;

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{body::Body, extract::Request};
use bytes::Bytes;
use duologue_bots::{Bots, Installed, LiveBot};
use duologue_v12::{Answer, ApiError, body, json::Json};
pub use events::Listeners;
use http::{HeaderMap, HeaderValue, Method, Response, header};
pub use throttle::Throttle;

use crate::{App, Peer};

/// A request of the dialect whose body has been read.
pub(crate) struct Call {
    pub(crate) app: Arc<App>,
    pub(crate) bots: Bots,
    /// What is served, for the whole of this request.
    pub(crate) installed: Arc<Installed>,
    pub(crate) method: Method,
    /// The path as it was sent.
    pub(crate) path: String,
    /// The query as it was sent.
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    /// Where it comes from, if that is known.
    pub(crate) address: Option<IpAddr>,
    pub(crate) body: Json,
}

impl Call {
    /// A header's text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// What a route answers: any response, or an error in the envelope.
pub(crate) type Outcome = Result<Response<Body>, Refused>;

/// Why a route doesn't answer with what was asked for.
pub(crate) enum Refused {
    /// In the dialect's envelope.
    Error(ApiError),
    /// As a text or a page.
    Plain(Answer),
    /// 429, to be tried again after so many seconds.
    Throttled(u64),
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Refused::Error(error)
    }
}

impl From<Answer> for Refused {
    fn from(answer: Answer) -> Self {
        Refused::Plain(answer)
    }
}

impl From<restrict::Restricted> for Refused {
    fn from(restricted: restrict::Restricted) -> Self {
        match restricted {
            restrict::Restricted::Closed(answer) => Refused::Plain(answer),
            restrict::Restricted::NoKey(error) => Refused::Error(error),
            restrict::Restricted::Throttled(seconds) => Refused::Throttled(seconds),
        }
    }
}

/// Whether a path is one of this dialect's, below the external URL's path.
pub(crate) fn is_ours(app: &App, path: &str) -> bool {
    let Some(bots) = &app.bots else { return false };
    let segments = below(&bots.installed(), path).unwrap_or_default();
    let is = |at: usize, names: &[&str]| {
        segments.get(at).is_some_and(|segment| names.iter().any(|name| segment.eq_ignore_ascii_case(name)))
    };
    is(0, &["api"]) && is(1, &["v1", "v2"]) || segments.len() == 1 && is(0, &["status", "version"])
}

/// The path's segments below the external URL's path, as they were sent; empty ones don't count.
fn below<'p>(installed: &Installed, path: &'p str) -> Option<Vec<&'p str>> {
    let rest = path.strip_prefix(installed.base_path())?;
    Some(rest.split('/').filter(|segment| !segment.is_empty()).collect())
}

/// Serves a request of the dialect.
pub(crate) async fn serve(app: Arc<App>, request: Request) -> Response<Body> {
    let started = Instant::now();
    let Some(bots) = app.bots.clone() else { return Response::new(Body::empty()) };
    let installed = bots.installed();
    let (parts, body) = request.into_parts();
    let accepts_gzip = answer::accepts_gzip(&parts.headers);
    let origin = parts.headers.get(header::ORIGIN).cloned();
    let peer = parts.extensions.get::<Peer>().copied();
    let head = parts.method == Method::HEAD;
    let rules = asked_bot(&installed, parts.uri.path()).map(|bot| bot.settings.rules.clone());
    if parts.method == Method::OPTIONS {
        let mut response = answer::preflight(&installed.config.http, &parts.headers, origin.as_ref(), started);
        if let Some(rules) = &rules {
            restrict::limit_origins(rules, origin.as_ref(), response.headers_mut());
        }
        return response;
    }
    let parsed = match crate::bounds::check(&parts.uri, &parts.headers) {
        Ok(()) => read(&app, &installed, &parts.headers, body).await,
        Err(refusal) => Err(ApiError::plain(431, "Error", refusal.message)),
    };
    let may_be_read = parsed.is_ok();
    let counted = match &parsed {
        Ok(_) => app.throttle.count(installed.config.http.rate_limit, peer, &parts.headers),
        Err(_) => Ok(()),
    };
    let outcome = match (parsed, counted) {
        (Err(error), _) => Err(error.into()),
        (Ok(_), Err(seconds)) => Err(Refused::Throttled(seconds)),
        (Ok(body), Ok(())) => {
            let call = Call {
                app: app.clone(),
                bots,
                installed: installed.clone(),
                method: parts.method,
                path: parts.uri.path().to_owned(),
                query: parts.uri.query().unwrap_or_default().to_owned(),
                address: app.throttle.address(peer, &parts.headers),
                headers: parts.headers,
                body,
            };
            route(call).await
        }
    };
    let mut response = match outcome {
        Ok(response) => response,
        Err(Refused::Error(error)) => answer::whole(error.answer(), accepts_gzip),
        Err(Refused::Plain(plain)) => answer::whole(plain, accepts_gzip),
        Err(Refused::Throttled(seconds)) => {
            let mut response = answer::whole(Answer::too_many_requests(), accepts_gzip);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            response
        }
    };
    answer::dress(&installed.config.http, response.headers_mut(), started);
    if may_be_read {
        answer::allow(&installed.config.http, origin.as_ref(), response.headers_mut());
        if let Some(rules) = &rules {
            restrict::limit_origins(rules, origin.as_ref(), response.headers_mut());
        }
    }
    if head {
        *response.body_mut() = Body::empty();
    }
    response
}

/// Reads and parses the body, whatever is asked for.
async fn read(app: &App, installed: &Installed, headers: &HeaderMap, body: Body) -> Result<Json, ApiError> {
    let limit = usize::try_from(installed.config.http.body_limit).unwrap_or(usize::MAX);
    let time = Duration::from_secs(app.limits.body_seconds);
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let raw = match crate::body::read(body, limit, time).await {
        Ok(raw) => raw,
        Err(refusal) if refusal.kind == duologue_model::ErrorKind::PayloadTooLarge => {
            return Err(ApiError::plain(413, "entity.too.large", "request entity too large"));
        }
        Err(_) => return Err(ApiError::plain(400, "request.aborted", "request aborted")),
    };
    let (kind, encoding) = (text(header::CONTENT_TYPE), text(header::CONTENT_ENCODING));
    if raw.is_empty() {
        body::parse(None, None, &Bytes::new(), limit)
    } else {
        body::parse(kind, encoding, &raw, limit)
    }
}

/// Finds what is asked for. Literal segments are compared without regard to case.
async fn route(call: Call) -> Outcome {
    let path = call.path.clone();
    let segments = below(&call.installed, &path).unwrap_or_default();
    let lower: Vec<String> = segments.iter().map(|segment| segment.to_ascii_lowercase()).collect();
    let literals: Vec<&str> = lower.iter().map(String::as_str).collect();
    match (&call.method, &literals[..]) {
        (&Method::POST, ["api", "v1", "bots", _, "converse", _]) => {
            message::public(&call, segments[3], segments[5]).await
        }
        (&Method::POST, ["api", "v1", "bots", _, "converse", _, "secured"]) => {
            message::secured(&call, segments[3], segments[5]).await
        }
        (&Method::GET, ["api", "v1", "bots", _, "converse", _, "events"]) => {
            events::serve(&call, segments[3], segments[5]).await
        }
        (&Method::GET | &Method::HEAD, ["api", "v1", "bots", _, "converse", _, "turns"]) => {
            turns::list(&call, segments[3], segments[5]).await
        }
        (&Method::GET | &Method::HEAD, ["api", "v1", "bots", _, "media", _]) => {
            media::serve(&call, segments[3], segments[5]).await
        }
        (&Method::GET | &Method::HEAD, ["api", "v1", "bots", _]) => bots::show(&call, segments[3]).await,
        (&Method::GET | &Method::HEAD, ["api", "v1" | "v2", "admin", "workspace", "bots"]) => bots::list(&call).await,
        _ => match accounts::Route::find(&call.method, &segments) {
            Some(route) => account(&call, &route).await,
            None => Err(Answer::cannot(call.method.as_str(), &path).into()),
        },
    }
}

async fn account(call: &Call, route: &accounts::Route) -> Outcome {
    let reply = accounts::serve(&call.app.store, &call.installed.config, route, &call.headers, &call.body).await?;
    let mut response = answer::whole(reply.answer, answer::accepts_gzip(&call.headers));
    if let Some(cookie) = reply.cookie.and_then(|cookie| HeaderValue::from_str(&cookie).ok()) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Decodes a parameter of the path.
fn decoded(raw: &str) -> Result<String, ApiError> {
    // As JavaScript has it: every `%` must begin a sequence.
    let bytes = raw.as_bytes();
    let is_broken = |at: usize| {
        bytes[at] == b'%' && !bytes.get(at + 1..at + 3).is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit))
    };
    if (0..bytes.len()).any(is_broken) {
        return Err(ApiError::undecodable(raw));
    }
    let text = percent_encoding::percent_decode_str(raw).decode_utf8();
    text.map(std::borrow::Cow::into_owned).map_err(|_| ApiError::undecodable(raw))
}

/// The bot whose Converse routes a path is one of.
fn asked_bot(installed: &Installed, path: &str) -> Option<Arc<LiveBot>> {
    let segments = below(installed, path)?;
    let is = |at: usize, literal: &str| segments.get(at).is_some_and(|segment| segment.eq_ignore_ascii_case(literal));
    let id = segments.get(3).filter(|_| is(2, "bots") && is(4, "converse"))?;
    installed.bot(&decoded(id).ok()?)
}

/// Applies the bot's rules about who may call; a key is needed on public routes only.
fn admit(call: &Call, bot: &LiveBot, user: &str, is_public: bool) -> Result<(), Refused> {
    let asked =
        restrict::Asked { bot: &bot.id, user, address: call.address, headers: &call.headers, needs_key: is_public };
    restrict::check(&bot.settings.rules, &call.app.throttle.buckets, &asked, Instant::now())?;
    if is_public {
        bot.settings.check_public_route(&bot.id)?;
    }
    Ok(())
}

/// The bot that a path names, if it is served to this caller.
async fn bot(call: &Call, id: &str) -> Result<Arc<LiveBot>, Refused> {
    let bot = call.installed.bot(id).ok_or_else(ApiError::invalid_bot)?;
    bot.settings.check_enabled()?;
    if bot.settings.private {
        auth::collaborator(&call.app.store, &call.installed.config.tokens, &call.headers).await?;
    }
    Ok(bot)
}
