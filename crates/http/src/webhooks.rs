//! Webhooks: what the outside world sends to integrations (`spec/cloud/bridge-protocol.md` § 6).
//!
//! They are served on the origin of the API, at paths that none of its operations has, in every method
//! and without a token. What an integration answers is passed through as it is.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{body::Body, extract::Request};
use bytes::Bytes;
use duologue_calls::{Incoming, Oauth, own_headers};
use duologue_model::{Error as Refusal, ErrorKind};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, request::Parts};
use percent_encoding::percent_decode_str;

use crate::{App, body, bounds, envelope::Failure, query::Query, secure};

/// Bodies of more bytes than this have few places.
const LARGE: usize = 1 << 20;

/// What a path means.
#[derive(Debug, PartialEq, Eq)]
enum Way<'p> {
    /// `/{webhookId}…`: an instance, and the rest of the path.
    Instance(String, &'p str),
    /// `/oauth…`.
    Oauth,
    /// `/oauth/interstitial`: the page that ends a connection.
    Interstitial,
    /// `/integration/global/…`: the rest of the path, which begins with the name.
    Global(&'p str),
}

fn way(path: &str) -> Option<Way<'_>> {
    if let Some(rest) = path.strip_prefix("/integration/global/").filter(|rest| !rest.is_empty()) {
        return Some(Way::Global(rest));
    }
    let rest = path.strip_prefix('/')?;
    let end = rest.find('/').unwrap_or(rest.len());
    match &rest[..end] {
        "oauth" if rest == "oauth/interstitial" => Some(Way::Interstitial),
        "oauth" => Some(Way::Oauth),
        id if is_uuid(id) => Some(Way::Instance(id.to_ascii_lowercase(), &rest[end..])),
        _ => None,
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Whether a path belongs to webhooks.
pub(crate) fn is_ours(path: &str) -> bool {
    way(path).is_some()
}

/// Serves a request at such a path.
pub(crate) async fn serve(app: &Arc<App>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    match steps(app, &parts, body).await {
        Ok(response) => response,
        Err(Failure(refusal)) => {
            // There is no such kind in the dialect; the sender learns that it may try again.
            let unreachable = refusal.kind == ErrorKind::Runtime;
            let mut response = Failure(refusal).render(app.store.ids(), app.store.now());
            if unreachable {
                *response.status_mut() = StatusCode::BAD_GATEWAY;
            }
            secure::harden(response.headers_mut());
            response
        }
    }
}

async fn steps(app: &Arc<App>, parts: &Parts, body: Body) -> Result<Response<Body>, Failure> {
    bounds::check(&parts.uri, &parts.headers)?;
    let path = parts.uri.path();
    let missing = || crate::dispatch::no_operation(&parts.method, path);
    match way(path).ok_or_else(missing)? {
        Way::Interstitial if matches!(parts.method, Method::GET | Method::HEAD) => Ok(interstitial(parts)),
        Way::Interstitial => Err(missing().into()),
        Way::Instance(id, rest) => {
            app.calls.check_webhook(&id).await?;
            let incoming = incoming(app, parts, body, rest).await?;
            Ok(passed(app.calls.webhook(&id, incoming).await?))
        }
        Way::Oauth => oauth(app, parts, body).await,
        Way::Global(rest) => {
            let (name, rest) = global(app, rest).await?;
            let incoming = incoming(app, parts, body, rest).await?;
            Ok(passed(app.calls.global(&name, incoming).await?))
        }
    }
}

/// The name of the integration, and the rest of the path. A name with a handle has its slash as it is or
/// percent-encoded.
async fn global<'p>(app: &Arc<App>, path: &'p str) -> Result<(String, &'p str), Failure> {
    let mut ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
    let mut first = None;
    for end in [ends.next(), ends.next()].into_iter().flatten() {
        let name = percent_decode_str(&path[..end]).decode_utf8_lossy().into_owned();
        if app.calls.has_global(&name).await? {
            return Ok((name, &path[end..]));
        }
        first.get_or_insert(name);
    }
    Err(Refusal::not_found("integration", &first.unwrap_or_default()).into())
}

async fn oauth(app: &Arc<App>, parts: &Parts, body: Body) -> Result<Response<Body>, Failure> {
    let mut state = Query::parse(parts.uri.query().unwrap_or_default())?.text("state");
    let incoming = incoming(app, parts, body, parts.uri.path()).await?;
    if state.is_none() && is_form(&parts.headers) {
        state = Query::parse(incoming.body.as_deref().unwrap_or_default())?.text("state");
    }
    let state = state.ok_or_else(|| Refusal::not_found("webhook", ""))?.to_ascii_lowercase();
    match app.calls.oauth(&state, incoming).await? {
        Oauth::Answer(answer) => Ok(passed(answer)),
        Oauth::Page { status } => {
            Ok(page(status, (status.as_u16() >= 400).then(|| "The integration could not be connected.".to_owned())))
        }
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    given.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// The request as the integration gets it.
async fn incoming(app: &Arc<App>, parts: &Parts, body: Body, path: &str) -> Result<Incoming, Failure> {
    let body = read(app, &parts.headers, body).await?;
    Ok(Incoming {
        method: parts.method.as_str().to_ascii_uppercase(),
        path: if path.is_empty() { "/".to_owned() } else { path.to_owned() },
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: text_headers(&parts.headers),
        body: (!body.is_empty()).then(|| String::from_utf8_lossy(&body).into_owned()),
    })
}

async fn read(app: &Arc<App>, headers: &HeaderMap, body: Body) -> Result<Bytes, Failure> {
    let limit = app.limits.webhook_body_bytes;
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let is_chunked = headers.contains_key(header::TRANSFER_ENCODING);
    if announced.is_some_and(|length| length > limit) {
        return Err(body::refuse(body, limit).await.into());
    }
    // One whose length isn't known may be large.
    let _place = match announced {
        Some(length) if length <= LARGE => None,
        None if !is_chunked => None,
        _ => Some(app.calls.place_for_large().await),
    };
    Ok(body::read(body, limit, Duration::from_secs(app.limits.body_seconds)).await?)
}

/// Names in lower case; values of repeated ones joined.
fn text_headers(headers: &HeaderMap) -> BTreeMap<String, String> {
    let length = headers.get(header::CONTENT_LENGTH).cloned();
    let mut kept = headers.clone();
    own_headers(&mut kept);
    if let Some(length) = length {
        kept.insert(header::CONTENT_LENGTH, length);
    }
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in &kept {
        let value = String::from_utf8_lossy(value.as_bytes());
        texts
            .entry(name.as_str().to_owned())
            .and_modify(|text| {
                text.push_str(", ");
                text.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    texts
}

/// An answer as it came.
fn passed(answer: duologue_calls::Answer) -> Response<Body> {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response
}

/// `?success=true|false[&errorMessage=…]`.
fn interstitial(parts: &Parts) -> Response<Body> {
    let query = Query::parse(parts.uri.query().unwrap_or_default()).unwrap_or_default();
    if query.get("success") == Some("true") {
        return page(StatusCode::OK, None);
    }
    let message = query.text("errorMessage").unwrap_or_else(|| "The integration could not be connected.".to_owned());
    page(StatusCode::OK, Some(message))
}

/// What a person sees who has connected an integration.
fn page(status: StatusCode, failure: Option<String>) -> Response<Body> {
    let (title, text) = match &failure {
        None => ("Connected", "The integration is connected. You can close this window.".to_owned()),
        Some(message) => ("Not connected", escaped(message)),
    };
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title><style>body{{font:16px/1.5 system-ui,sans-serif;margin:20vh auto;max-width:32rem;padding:0 1rem;text-align:center}}</style>\
         </head><body><h1>{title}</h1><p>{text}</p></body></html>"
    );
    let mut response = Response::new(Body::from(html));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(
        HeaderName::from_static("content-security-policy"),
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    );
    secure::harden(headers);
    response
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars().take(1000) {
        match char {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            char => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01234567-89ab-cdef-0123-456789abcdef";

    #[test]
    fn paths_lead_to_one_place_each() {
        let instance = |rest| Some(Way::Instance(ID.to_owned(), rest));
        assert_eq!(way(&format!("/{ID}")), instance(""));
        assert_eq!(way(&format!("/{ID}/")), instance("/"));
        assert_eq!(way(&format!("/{}/a%2Fb//c", ID.to_uppercase())), instance("/a%2Fb//c"));
        assert_eq!(way("/oauth"), Some(Way::Oauth));
        assert_eq!(way("/oauth/wizard/start"), Some(Way::Oauth));
        assert_eq!(way("/oauth/interstitial"), Some(Way::Interstitial));
        assert_eq!(way("/integration/global/acme%2Fcrm/x"), Some(Way::Global("acme%2Fcrm/x")));
        for other in ["/", "/health", "/v1/chat/conversations", "/oauths", "/integration/global/", "/0123456789"] {
            assert_eq!(way(other), None, "{other}");
        }
    }

    #[test]
    fn headers_become_texts() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("x-a", "1"), ("x-a", "2"), ("te", "trailers"), ("host", "h"), ("content-length", "3")] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers.insert("x-b", HeaderValue::from_bytes(b"\xff").unwrap());
        let texts = text_headers(&headers);
        let pairs: Vec<(&str, &str)> = texts.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("content-length", "3"), ("host", "h"), ("x-a", "1, 2"), ("x-b", "\u{fffd}")]);
    }

    #[test]
    fn messages_are_shown_as_text() {
        assert_eq!(escaped("<b a=\"1\">&'"), "&lt;b a=&quot;1&quot;&gt;&amp;&#39;");
    }
}
