//! What can go wrong in a call, and how an answer that isn't 2xx is read
//! (`spec/cloud/errors.md` § 1).
//!
//! The class of a refusal is chosen by the envelope's `type` alone. An answer without a usable
//! envelope (a proxy's HTML page, an empty body) becomes [`ErrorKind::Unknown`] with a message that
//! says what came instead; nothing here panics on a strange body.

use std::time::Duration;

use duologue_model::ErrorKind;
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::Value;

/// How many characters of a body that isn't an envelope are shown.
const EXCERPT: usize = 300;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server answered, and refused.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// No answer came, or not all of it.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The server answered 2xx with something that doesn't have the expected shape. The request was
    /// applied.
    #[error("{request}: the answer could not be understood: {reason}")]
    Decode {
        /// Method and path.
        request: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The client's settings, or the arguments of a call, can't make a request. Nothing was sent.
    #[error("{0}")]
    Config(String),
}

/// A refusal of the server.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{name}: {message}{}", self.id_suffix())]
pub struct ApiError {
    /// The dialect's type; [`ErrorKind::Unknown`] for types this crate doesn't know and for answers
    /// without a usable envelope.
    pub kind: ErrorKind,
    /// The type as the server wrote it; `Unknown` when it wrote none.
    pub name: String,
    /// Names this occurrence in the server's log. Empty when the answer had none.
    pub id: String,
    /// For humans.
    pub message: String,
    /// Free-form details.
    pub metadata: Option<Box<Value>>,
    /// The HTTP status.
    pub status: u16,
}

/// How the way to the server failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// No connection could be made: nothing was sent.
    #[error("cannot connect to {origin}: {reason}")]
    Connect {
        /// Scheme, host and port.
        origin: String,
        /// The chain of causes.
        reason: String,
    },
    /// The answer was not complete in time. The server may have applied the request.
    #[error("no complete answer within {} s", .0.as_secs_f64())]
    Timeout(Duration),
    /// The connection broke. The server may have applied the request.
    #[error("the connection broke: {0}")]
    Interrupted(String),
}

impl Error {
    /// The dialect's type, when the server refused.
    pub fn kind(&self) -> Option<ErrorKind> {
        match self {
            Error::Api(refusal) => Some(refusal.kind),
            _ => None,
        }
    }

    /// The HTTP status, when the server refused.
    pub fn status(&self) -> Option<u16> {
        match self {
            Error::Api(refusal) => Some(refusal.status),
            _ => None,
        }
    }

    /// `ResourceNotFound`: what the path names doesn't exist, or isn't visible to this caller.
    pub fn is_not_found(&self) -> bool {
        self.kind() == Some(ErrorKind::ResourceNotFound)
    }

    /// `Unauthorized`: no token, or one that isn't valid (any more).
    pub fn is_unauthorized(&self) -> bool {
        self.kind() == Some(ErrorKind::Unauthorized)
    }

    /// `Forbidden`: a valid token that may not do this.
    pub fn is_forbidden(&self) -> bool {
        self.kind() == Some(ErrorKind::Forbidden)
    }

    /// `AlreadyExists`: a unique name is taken.
    pub fn is_already_exists(&self) -> bool {
        self.kind() == Some(ErrorKind::AlreadyExists)
    }

    /// `RateLimited`, or status 429 from something in front of the server.
    pub fn is_rate_limited(&self) -> bool {
        self.kind() == Some(ErrorKind::RateLimited) || self.status() == Some(429)
    }

    /// No complete answer in time.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Error::Transport(TransportError::Timeout(_)))
    }

    /// Whether the request may have been applied although this call failed.
    pub fn may_have_been_applied(&self) -> bool {
        match self {
            Error::Api(refusal) => refusal.status >= 500,
            Error::Transport(TransportError::Connect { .. }) | Error::Config(_) => false,
            Error::Transport(_) | Error::Decode { .. } => true,
        }
    }

    pub(crate) fn config(message: impl Into<String>) -> Self {
        Error::Config(message.into())
    }
}

/// The members of an envelope that make it usable.
#[derive(Deserialize)]
struct Envelope {
    id: String,
    #[serde(rename = "type")]
    name: String,
    message: String,
    #[serde(default)]
    metadata: Option<Box<Value>>,
}

impl ApiError {
    /// Reads the answer to a refused request.
    pub(crate) fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        match serde_json::from_slice::<Envelope>(body) {
            Ok(envelope) => ApiError {
                kind: ErrorKind::from_name(&envelope.name).unwrap_or(ErrorKind::Unknown),
                name: envelope.name,
                id: envelope.id,
                message: envelope.message,
                metadata: envelope.metadata,
                status: status.as_u16(),
            },
            Err(_) => ApiError {
                kind: ErrorKind::Unknown,
                name: ErrorKind::Unknown.name().to_owned(),
                id: String::new(),
                message: describe(status, headers, body),
                metadata: None,
                status: status.as_u16(),
            },
        }
    }

    fn id_suffix(&self) -> String {
        if self.id.is_empty() { String::new() } else { format!(" ({})", self.id) }
    }
}

/// Says what came instead of an envelope.
fn describe(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> String {
    let place = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
    if let (true, Some(place)) = (status.is_redirection(), place) {
        return format!("the server answered {status} and points to {place}: use the address it points to");
    }
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    if text.is_empty() {
        return format!("the server answered {status} without a body");
    }
    format!("the server answered {status}: {}", excerpt(text))
}

/// The beginning of `text`.
pub(crate) fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str) -> ApiError {
        ApiError::read(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn an_envelope_keeps_all_it_says() {
        let error = read(
            404,
            r#"{"id":"err_20250102030405x00FFA01B","code":404,"type":"ResourceNotFound","message":"No State found","metadata":{"a":[1]}}"#,
        );
        assert_eq!(error.kind, ErrorKind::ResourceNotFound);
        assert_eq!(error.metadata.as_deref(), Some(&serde_json::json!({"a": [1]})));
        assert_eq!(error.to_string(), "ResourceNotFound: No State found (err_20250102030405x00FFA01B)");
        assert!(Error::from(error).is_not_found());
    }

    #[test]
    fn the_type_decides_not_the_status() {
        let error = Error::from(read(502, r#"{"id":"e","code":404,"type":"ResourceNotFound","message":"m"}"#));
        assert!(error.is_not_found());
        assert_eq!(error.status(), Some(502));
    }

    #[test]
    fn an_unknown_type_is_unknown_and_still_named() {
        let error = read(418, r#"{"id":"e","code":418,"type":"Teapot","message":"short and stout"}"#);
        assert_eq!((error.kind, error.name.as_str()), (ErrorKind::Unknown, "Teapot"));
        assert_eq!(error.to_string(), "Teapot: short and stout (e)");
    }

    #[test]
    fn bodies_without_an_envelope_are_described() {
        assert_eq!(read(502, "").message, "the server answered 502 Bad Gateway without a body");
        assert_eq!(read(502, " <html>oops</html>\n").message, "the server answered 502 Bad Gateway: <html>oops</html>");
        // A body with a part of the envelope is no envelope.
        assert_eq!(read(400, r#"{"type":"Runtime","message":1}"#).kind, ErrorKind::Unknown);
        let long = "é".repeat(1000);
        assert_eq!(read(500, &long).message.matches('é').count(), EXCERPT);
        let mut headers = HeaderMap::new();
        headers.insert("location", "https://new.example/".parse().unwrap());
        let moved = ApiError::read(StatusCode::MOVED_PERMANENTLY, &headers, b"");
        assert!(moved.message.contains("https://new.example/"), "{}", moved.message);
    }
}
