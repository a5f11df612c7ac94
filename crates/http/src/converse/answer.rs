//! Answers of the dialect: headers, origins, compression (`spec/v12/converse-api.md` § 7).

use std::{io::Write, time::Instant};

use axum::body::Body;
use duologue_v12::{
    Answer,
    config::{Http, Origins},
};
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

/// Bodies from this size on are compressed, in bytes.
const COMPRESSED: usize = 1024;
static RESPONSE_TIME: HeaderName = HeaderName::from_static("x-response-time");

/// Whether a client takes compressed answers.
pub(super) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT_ENCODING).into_iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        name.trim().eq_ignore_ascii_case("gzip") && weight.replace(' ', "") != "q=0"
    })
}

/// A complete answer with the headers that depend on its body.
pub(super) fn whole(answer: Answer, gzip: bool) -> Response<Body> {
    let is_page = answer.status == 404 && !answer.content_type.starts_with("application/json");
    let etag = (!is_page).then(|| Answer::etag(answer.body.as_bytes()));
    let compressed = if gzip && answer.body.len() >= COMPRESSED { compress(answer.body.as_bytes()) } else { None };
    let is_compressed = compressed.is_some();
    let mut response = Response::new(Body::from(compressed.unwrap_or_else(|| answer.body.into_bytes())));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    if is_compressed {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if is_page {
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
    }
    if let Some(etag) = etag.and_then(|etag| HeaderValue::from_str(&etag).ok()) {
        headers.insert(header::ETAG, etag);
    }
    response
}

fn compress(body: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 3), Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

/// Headers of every answer.
pub(super) fn dress(settings: &Http, headers: &mut HeaderMap, started: Instant) {
    for (name, value) in &settings.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_str()), HeaderValue::from_str(value)) {
            headers.insert(name, value);
        }
    }
    if let Ok(took) = HeaderValue::from_str(&format!("{}ms", started.elapsed().as_millis())) {
        headers.insert(RESPONSE_TIME.clone(), took);
    }
    headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
}

/// Lets pages of allowed origins read the answer.
pub(super) fn allow(settings: &Http, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
    let Some(cors) = &settings.cors else { return };
    let allowed = match &cors.origins {
        Origins::Any => Some(HeaderValue::from_static("*")),
        Origins::Mirrored => origin.cloned(),
        Origins::Fixed(origin) => HeaderValue::from_str(origin).ok(),
        Origins::List(origins) => {
            origin.filter(|given| origins.iter().any(|origin| origin.as_bytes() == given.as_bytes())).cloned()
        }
    };
    if cors.origins != Origins::Any {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    if let Some(allowed) = allowed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    }
    if cors.credentials {
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
}

/// Answers a preflight, on any path.
pub(super) fn preflight(
    settings: &Http,
    asked: &HeaderMap,
    origin: Option<&HeaderValue>,
    started: Instant,
) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    if settings.cors.is_some() {
        allow(settings, origin, headers);
        headers
            .insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET,HEAD,PUT,PATCH,POST,DELETE"));
        headers.append(header::VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
        if let Some(names) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
        }
    }
    dress(settings, headers, started);
    response
}
