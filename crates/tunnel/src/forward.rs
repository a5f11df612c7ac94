//! A request to a tunnel's URL, through the tunnel and back.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::{
    PATIENCE,
    frame::{Answered, Asked},
    refusal,
    registry::{Blocked, Registry},
};

/// What concerns one connection only, or what the other side makes anew. Nothing is compressed on
/// its way, because bodies travel as text.
const OWN: [&str; 11] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Asks the code behind the tunnel and answers what it answers.
pub(crate) async fn through(
    registry: &Registry,
    id: &str,
    path: &str,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let Some(tunnel) = registry.find(id) else {
        // It may be there again soon: what is delivered through it waits.
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "no tunnel is open at this path");
    };
    let mut ticket = match tunnel.ticket(registry.limits.requests) {
        Ok(ticket) => ticket,
        Err(_) => return refusal(StatusCode::SERVICE_UNAVAILABLE, "too many requests are under way in this tunnel"),
    };
    let (parts, body) = request.into_parts();
    let body = match timeout(PATIENCE, Limited::new(body, registry.limits.bytes).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            return refusal(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large for a tunnel");
        }
        _ => return refusal(StatusCode::BAD_REQUEST, "the body did not arrive"),
    };
    let Ok(body) = std::str::from_utf8(&body) else {
        return refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "tunnels carry text only; this body isn't UTF-8");
    };
    let asked = Asked {
        r#type: "request",
        id: &ticket.id.clone(),
        method: parts.method.as_str(),
        path,
        query: parts.uri.query(),
        headers: carried(&parts.headers),
        body: (!body.is_empty()).then_some(body),
    };
    let Ok(frame) = serde_json::to_string(&asked) else {
        return refusal(StatusCode::BAD_REQUEST, "the request can't be put into a frame");
    };
    match timeout(registry.limits.answer, ticket.ask(frame)).await {
        Ok(Ok(answered)) => response(answered),
        Ok(Err(Blocked::Closed | Blocked::Full)) => {
            refusal(StatusCode::BAD_GATEWAY, "the tunnel was closed before an answer came")
        }
        Err(_) => refusal(StatusCode::GATEWAY_TIMEOUT, "no answer came through the tunnel"),
    }
}

/// The headers that travel; several of one name as one.
fn carried(headers: &HeaderMap) -> BTreeMap<&str, String> {
    let mut carried: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in headers {
        let Ok(value) = value.to_str() else { continue };
        if OWN.contains(&name.as_str()) {
            continue;
        }
        let text = carried.entry(name.as_str()).or_default();
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(value);
    }
    carried
}

fn response(answered: Answered) -> Response<Full<Bytes>> {
    let Ok(status) = StatusCode::from_u16(answered.status) else {
        return refusal(StatusCode::BAD_GATEWAY, "an answer with an impossible status came through the tunnel");
    };
    if status.is_informational() {
        return refusal(StatusCode::BAD_GATEWAY, "an answer that is none came through the tunnel");
    }
    let mut response = Response::new(Full::new(Bytes::from(answered.body.unwrap_or_default())));
    *response.status_mut() = status;
    for (name, values) in answered.headers.unwrap_or_default() {
        let Ok(name) = HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes()) else { continue };
        if OWN.contains(&name.as_str()) {
            continue;
        }
        for value in values.values() {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().append(&name, value);
            }
        }
    }
    response
}
