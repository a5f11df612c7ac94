//! What an answer means (§ 5).

use std::time::Duration;

use bytes::Bytes;
use duologue_outbound::{Error, Response};
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, de::DeserializeOwned};

use crate::NotHosted;

/// The longest pause that a callee may ask for with `Retry-After`.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// Most characters of a callee's message that are passed on.
const LONGEST_MESSAGE: usize = 1000;

/// An HTTP answer of a callee.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers. Don't rely on its content type: an empty object comes without one (§ 1).
    pub headers: HeaderMap,
    /// Its body, decoded.
    pub body: Bytes,
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Answer { status: response.status, headers: response.headers, body: response.body }
    }
}

impl Answer {
    /// The body, a JSON object; an empty body is the empty object.
    ///
    /// # Errors
    /// [`Failure::Rubbish`] if it is something else.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let rubbish = |reason: &str| Failure::Rubbish {
            status: self.status.as_u16(),
            reason: format!("It answered something unexpected: {reason}"),
        };
        let body = if self.body.is_empty() { b"{}" } else { &self.body[..] };
        // Serde would read a list as the members of an object in their order.
        if body.trim_ascii_start().starts_with(b"[") {
            return Err(rubbish("a list"));
        }
        serde_json::from_slice(body).map_err(|error| rubbish(&error.to_string()))
    }
}

/// Why a call didn't succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The callee's own error, of whatever status: to be shown as it is, as `Runtime` 400. Final.
    #[error("{message}")]
    Runtime {
        /// The HTTP status.
        status: u16,
        /// What the callee says.
        message: String,
    },
    /// Another status below 500, or a redirect. Final.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What the callee says, or that it said nothing.
        message: String,
    },
    /// 500 and above without an error of the callee's own, or 429. May pass.
    #[error("{message}")]
    Unavailable {
        /// The HTTP status.
        status: u16,
        /// What the callee says, or that it said nothing.
        message: String,
        /// How long to wait at least, if it says so.
        retry_after: Option<Duration>,
    },
    /// The code runs here, but not right now, so nothing has happened. May pass.
    #[error("{reason}")]
    NotRunning {
        /// What is the matter.
        reason: String,
        /// How long to wait until it may run.
        after: Duration,
    },
    /// No connection could be made, so nothing has happened. May pass.
    #[error("{0}")]
    Unreachable(String),
    /// The connection broke before the answer was complete: nobody knows what happened. May pass.
    #[error("{0}")]
    Broken(String),
    /// No answer in time.
    #[error("It did not answer within {} s", .0.as_secs_f64())]
    Timeout(Duration),
    /// It succeeded, but with something that can't be understood. Final.
    #[error("{reason}")]
    Rubbish {
        /// The HTTP status.
        status: u16,
        /// What is wrong with it.
        reason: String,
    },
    /// It can't be called as things are; the text says why. Final.
    #[error("{0}")]
    NotCallable(String),
}

impl Failure {
    /// Whether the same call may succeed later. A timeout may not: it is final for events, too (§ 5).
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Failure::Unavailable { .. } | Failure::NotRunning { .. } | Failure::Unreachable(_) | Failure::Broken(_)
        )
    }

    /// Whether it may well be that no code was there to be called: nobody answered, or only something in
    /// between, like the tunnel of a developer, which doesn't speak as code does.
    pub fn is_from_nobody(&self) -> bool {
        match self {
            Failure::NotRunning { .. } | Failure::Unreachable(_) | Failure::Broken(_) => true,
            Failure::Unavailable { status, message, .. } | Failure::Refused { status, message } => {
                matches!(status, 404 | 500..=504) && *message == said_nothing(*status)
            }
            _ => false,
        }
    }

    /// The HTTP status, if there was an answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Failure::Runtime { status, .. }
            | Failure::Refused { status, .. }
            | Failure::Unavailable { status, .. }
            | Failure::Rubbish { status, .. } => Some(*status),
            Failure::NotRunning { .. }
            | Failure::Unreachable(_)
            | Failure::Broken(_)
            | Failure::Timeout(_)
            | Failure::NotCallable(_) => None,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Timeout(after) => Failure::Timeout(after),
            Error::Settings(_) | Error::InvalidUrl(_) | Error::Protocol(_) | Error::Denied(_) => {
                Failure::NotCallable(text)
            }
            Error::NotFound(_)
            | Error::ResolverFailed(_)
            | Error::Refused(_)
            | Error::Unreachable(_)
            | Error::ConnectTimeout(_)
            | Error::Tls { .. }
            | Error::Proxy(_) => Failure::Unreachable(text),
            _ => Failure::Broken(text),
        }
    }
}

impl From<NotHosted> for Failure {
    fn from(error: NotHosted) -> Self {
        match error {
            NotHosted::Never(text) => Failure::NotCallable(text),
            NotHosted::NotNow { reason, after } => Failure::NotRunning { reason, after },
        }
    }
}

/// Success, or what kind of failure this answer is.
pub(crate) fn interpret(answer: Answer) -> Result<Answer, Failure> {
    if answer.status.is_success() {
        return Ok(answer);
    }
    let status = answer.status.as_u16();
    let said = Said::read(&answer.body);
    if let Some(message) = said.runtime {
        return Err(Failure::Runtime { status, message });
    }
    let message = said.message.unwrap_or_else(|| said_nothing(status));
    if status >= 500 || status == 429 {
        let retry_after = retry_after(&answer.headers);
        return Err(Failure::Unavailable { status, message, retry_after });
    }
    Err(Failure::Refused { status, message })
}

fn said_nothing(status: u16) -> String {
    format!("It answered with status {status}")
}

/// What the body of a failure says.
struct Said {
    /// The message of a `Runtime` error.
    runtime: Option<String>,
    /// Any other text.
    message: Option<String>,
}

impl Said {
    fn read(body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Body {
            #[serde(default)]
            r#type: serde_json::Value,
            #[serde(default)]
            message: serde_json::Value,
            #[serde(default)]
            error: serde_json::Value,
        }
        let Ok(body) = serde_json::from_slice::<Body>(body) else {
            return Said { runtime: None, message: None };
        };
        match (body.r#type.as_str(), body.message.as_str()) {
            (Some("Runtime"), Some(message)) => Said { runtime: Some(short(message)), message: None },
            (_, Some(message)) => Said { runtime: None, message: Some(short(message)) },
            (_, None) => Said { runtime: None, message: body.error.as_str().map(short) },
        }
    }
}

fn short(text: &str) -> String {
    text.chars().take(LONGEST_MESSAGE).collect()
}

/// Seconds only: the form with a date isn't used by what speaks this protocol.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer { status, headers: HeaderMap::new(), body: Bytes::copy_from_slice(body.as_bytes()) }
    }

    #[test]
    fn a_runtime_error_is_the_callees_own_whatever_the_status() {
        for status in [400, 500, 503] {
            let failure =
                interpret(answer(status, r#"{"id":"x","code":400,"type":"Runtime","message":"no"}"#)).unwrap_err();
            assert_eq!(failure, Failure::Runtime { status, message: "no".to_owned() });
            assert!(!failure.is_transient());
        }
    }

    #[test]
    fn other_failures_are_final_below_500_and_may_pass_above() {
        let failure = interpret(answer(500, r#"{"error":"Missing x-bot-id header"}"#)).unwrap_err();
        assert!(failure.is_transient());
        assert_eq!(failure.to_string(), "Missing x-bot-id header");
        assert!(interpret(answer(429, "")).unwrap_err().is_transient());
        assert!(interpret(answer(502, "<html>")).unwrap_err().is_transient());
        let failure = interpret(answer(404, "not here")).unwrap_err();
        assert!(!failure.is_transient());
        assert_eq!(failure.to_string(), "It answered with status 404");
        assert!(!interpret(answer(302, "")).unwrap_err().is_transient());
        let failure = interpret(answer(400, r#"{"type":"InvalidPayload","message":"no such action"}"#)).unwrap_err();
        assert_eq!(failure, Failure::Refused { status: 400, message: "no such action".to_owned() });
    }

    #[test]
    fn what_stands_in_between_does_not_speak_as_code_does() {
        let nobody = |status, body| interpret(answer(status, body)).unwrap_err().is_from_nobody();
        assert!(nobody(500, "An error occurred while handling request: connect ECONNREFUSED"));
        assert!(nobody(503, "no tunnel is open at this path\n") && nobody(404, "not here\n") && nobody(502, ""));
        assert!(!nobody(500, r#"{"error":"it broke"}"#) && !nobody(500, r#"{"type":"Runtime","message":"no"}"#));
        assert!(!nobody(400, "no") && !nobody(404, r#"{"message":"no such thing"}"#));
        assert!(Failure::Unreachable(String::new()).is_from_nobody());
        assert!(!Failure::Timeout(Duration::from_secs(1)).is_from_nobody());
    }

    #[test]
    fn a_pause_that_is_asked_for_is_bounded() {
        let mut answer = answer(429, "");
        answer.headers.insert(header::RETRY_AFTER, http::HeaderValue::from_static("99999999"));
        match interpret(answer).unwrap_err() {
            Failure::Unavailable { retry_after, .. } => assert_eq!(retry_after, Some(LONGEST_RETRY_AFTER)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_empty_answer_is_the_empty_object() {
        let empty: serde_json::Value = answer(200, "").json().unwrap();
        assert_eq!(empty, serde_json::json!({}));
        for rubbish in ["nonsense", " []", "[{}]"] {
            assert!(
                matches!(answer(200, rubbish).json::<serde_json::Value>(), Err(Failure::Rubbish { .. })),
                "{rubbish}"
            );
        }
    }
}
