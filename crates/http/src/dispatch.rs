//! The steps that every request takes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::{FromRequestParts, RawPathParams, Request},
    routing::{MethodFilter, on},
};
use duologue_model::{Error as Refusal, ErrorKind};
use duologue_store::{
    Store,
    access::{Caller, Headers, Token},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, header, request::Parts};
use tracing::Instrument;

use crate::{
    App, body, bounds,
    call::Call,
    converse, cors,
    envelope::Failure,
    query::Query,
    rate::Standing,
    route::{self, Access, Answer, Route},
    secure, webhooks,
};

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The router of all operations. What isn't one of them is answered in the dialect's envelope.
pub(crate) fn router(app: Arc<App>) -> Router {
    let mut router = Router::new();
    for (index, route) in route::all().enumerate() {
        let app = app.clone();
        let filter = MethodFilter::try_from(route.method.clone()).unwrap_or(MethodFilter::GET);
        router =
            router.route(route.path, on(filter, move |request: Request| serve(app.clone(), index, route, request)));
    }
    let fallback = move |request: Request| unknown(app.clone(), request);
    router.method_not_allowed_fallback(fallback.clone()).fallback(fallback)
}

async fn unknown(app: Arc<App>, request: Request) -> Response<Body> {
    let request_id = request_id(request.headers(), &app.store);
    if converse::is_ours(&app, request.uri().path()) {
        let mut response = converse::serve(app, request).await;
        secure::harden(response.headers_mut());
        response.headers_mut().insert(REQUEST_ID.clone(), request_id);
        return response;
    }
    if webhooks::is_ours(request.uri().path()) {
        return webhooks::serve(&app, request).await;
    }
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = if request.method() == Method::OPTIONS && request.uri().path().starts_with("/v1/") {
        let mut response = Response::new(Body::empty());
        cors::preflight(request.headers(), response.headers_mut());
        response
    } else {
        let refusal = bounds::check(request.uri(), request.headers()).err();
        let refusal = refusal.unwrap_or_else(|| no_operation(request.method(), request.uri().path()));
        Failure(refusal).render(app.store.ids(), app.store.now())
    };
    secure::harden(response.headers_mut());
    if let Some(origin) = origin {
        cors::allow(&origin, response.headers_mut());
    }
    response.headers_mut().insert(REQUEST_ID.clone(), request_id);
    response
}

/// The refusal for what isn't served.
pub(crate) fn no_operation(method: &Method, path: &str) -> Refusal {
    Refusal::new(ErrorKind::MethodNotFound, format!("There is no operation {method} {path}"))
}

async fn serve(app: Arc<App>, index: usize, route: &'static Route, request: Request) -> Response<Body> {
    let started = Instant::now();
    let request_id = request_id(request.headers(), &app.store);
    let origin = request.headers().get(header::ORIGIN).cloned();
    let under_way = UnderWay::begin(&app.metrics.in_flight);
    let mut standing = None;
    let steps = steps(&app, route, request, &mut standing);
    let answer = if tracing::enabled!(tracing::Level::INFO) {
        steps
            .instrument(tracing::info_span!("request", id = %request_id.to_str().unwrap_or(""), operation = route.id))
            .await
    } else {
        steps.await
    };
    let mut response = match answer {
        Ok(response) => response,
        Err(failure) => failure.render(app.store.ids(), app.store.now()),
    };
    if let Some(standing) = standing {
        standing.write(response.headers_mut());
    }
    secure::harden(response.headers_mut());
    if let Some(origin) = origin {
        cors::allow(&origin, response.headers_mut());
    }
    drop(under_way);
    app.metrics.served(index, response.status().as_u16(), started.elapsed());
    tracing::debug!(
        operation = route.id,
        id = request_id.to_str().unwrap_or(""),
        status = response.status().as_u16(),
        micros = started.elapsed().as_micros() as u64,
        "served"
    );
    response.headers_mut().insert(REQUEST_ID.clone(), request_id);
    response
}

/// Counts a request as long as it is served, also if its caller leaves.
struct UnderWay<'c>(&'c AtomicU64);

impl<'c> UnderWay<'c> {
    fn begin(count: &'c AtomicU64) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        UnderWay(count)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The caller's own id of the request if it is short and plain, or a new one.
fn request_id(headers: &HeaderMap, store: &Store) -> HeaderValue {
    if let Some(given) = headers.get(&REQUEST_ID)
        && (1..=64).contains(&given.len())
        && given.as_bytes().iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
    {
        return given.clone();
    }
    let id = u64::from_be_bytes(store.ids().bytes::<8>());
    HeaderValue::from_str(&format!("{id:016x}")).unwrap_or(HeaderValue::from_static("none"))
}

async fn steps(app: &Arc<App>, route: &'static Route, request: Request, standing: &mut Option<Standing>) -> Answer {
    let (mut parts, body) = request.into_parts();
    bounds::check(&parts.uri, &parts.headers)?;
    if route.access != Access::Public {
        media_type(&parts)?;
    }
    let (caller, token) = authenticate(&app.store, route, &parts.headers).await?;
    if let Some(token) = &token {
        *standing = app.rate.take(&token.id, Instant::now());
        if standing.is_some_and(|standing| !standing.allowed) {
            app.metrics.rate_limited.fetch_add(1, Ordering::Relaxed);
            let text = "This token has made too many requests. Try again after the seconds in Retry-After.";
            return Err(Refusal::new(ErrorKind::RateLimited, text).into());
        }
    }
    let has_body = matches!(parts.method, Method::POST | Method::PUT | Method::PATCH);
    let body = if has_body { read_body(app, route, &parts, body).await? } else { bytes::Bytes::new() };
    let query = Query::parse(parts.uri.query().unwrap_or_default())?;
    let params = params(&mut parts).await?;
    let call = Call {
        app: app.clone(),
        method: parts.method,
        path: parts.uri.path().to_owned(),
        params,
        query,
        headers: parts.headers,
        body,
        caller,
        token,
    };
    let answer = (route.handler)(call);
    if route.access != Access::Admin || route.method == Method::GET {
        return answer.await;
    }
    // What changes rights or definitions is carried out to its end, also if its caller leaves: after its
    // transaction it has to forget what was remembered of them.
    tokio::spawn(answer.in_current_span()).await?
}

fn media_type(parts: &Parts) -> Result<(), Refusal> {
    let is_empty = parts.headers.get(header::CONTENT_LENGTH).is_none_or(|length| length == "0")
        && !parts.headers.contains_key(header::TRANSFER_ENCODING);
    if is_empty || !matches!(parts.method, Method::POST | Method::PUT | Method::PATCH) {
        return Ok(());
    }
    let given = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let text = format!("the body must be application/json, this one is \"{essence}\"");
    Err(Refusal::new(ErrorKind::UnsupportedMediaType, text))
}

fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    let missing = || {
        let text = "A token is needed. Send it as \"Authorization: Bearer <token>\".";
        Refusal::new(ErrorKind::Unauthorized, text)
    };
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).ok_or_else(missing)?;
    let (scheme, token) = value.split_once(' ').ok_or_else(missing)?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
        return Err(missing());
    }
    Ok(token.trim())
}

type Authenticated = (Option<Arc<Caller>>, Option<Token>);

async fn authenticate(store: &Store, route: &Route, headers: &HeaderMap) -> Result<Authenticated, Failure> {
    match route.access {
        Access::Public => Ok((None, None)),
        Access::Token | Access::Admin => {
            let token = store.token(bearer(headers)?).await?;
            Ok((None, Some(token)))
        }
        Access::Runtime => {
            let header =
                |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).filter(|value| !value.is_empty());
            let wanted = Headers {
                bot: header("x-bot-id"),
                integration: header("x-integration-id"),
                alias: header("x-integration-alias"),
            };
            let caller = store.caller(bearer(headers)?, wanted).await?;
            if route.method != Method::GET
                && let Err(refusal) = &caller.writes
            {
                return Err(refusal.clone().into());
            }
            let token = caller.token.clone();
            Ok((Some(caller), Some(token)))
        }
    }
}

async fn read_body(app: &App, route: &Route, parts: &Parts, body: Body) -> Result<bytes::Bytes, Refusal> {
    let limit = if route.path.starts_with("/v1/admin/") { app.limits.admin_body_bytes } else { app.limits.body_bytes };
    let announced =
        parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(body::refuse(body, limit).await);
    }
    body::read(body, limit, Duration::from_secs(app.limits.body_seconds)).await
}

async fn params(parts: &mut Parts) -> Result<Vec<String>, Refusal> {
    let raw = RawPathParams::from_request_parts(parts, &()).await;
    let raw = raw.map_err(|_| Refusal::invalid_payload("the path is not percent-encoded UTF-8 text"))?;
    let params: Vec<String> = raw.iter().map(|(_, value)| value.to_owned()).collect();
    if params.iter().any(|value| value.contains('\0')) {
        return Err(Refusal::invalid_payload("the path contains a NUL character"));
    }
    Ok(params)
}
