//! Answers: the one error envelope (`spec/cloud/errors.md` § 1) and JSON.

use axum::body::Body;
use duologue_model::{Error as Refusal, ErrorKind, Timestamp, id::Generator};
use duologue_store::Error as StoreError;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

/// An answer that isn't the success it could have been.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) Refusal);

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Failure(refusal)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(refusal) => Failure(refusal),
            other => {
                tracing::error!(error = %other, "the store failed");
                internal()
            }
        }
    }
}

impl From<tokio::task::JoinError> for Failure {
    fn from(error: tokio::task::JoinError) -> Self {
        tracing::error!(%error, "an operation ended without an answer");
        internal()
    }
}

fn internal() -> Failure {
    Failure(Refusal::new(ErrorKind::Internal, "The server could not complete the request. Its log says why."))
}

impl From<duologue_calls::Error> for Failure {
    fn from(error: duologue_calls::Error) -> Self {
        match error {
            duologue_calls::Error::Refused(refusal) => Failure(refusal),
            duologue_calls::Error::Store(error) => error.into(),
        }
    }
}

#[derive(Serialize)]
struct Envelope<'e> {
    id: &'e str,
    code: u16,
    r#type: &'e str,
    message: &'e str,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'e serde_json::Value>,
}

impl Failure {
    /// The envelope. The same id goes into the log.
    pub(crate) fn render(&self, ids: &Generator, now: Timestamp) -> Response<Body> {
        let refusal = &self.0;
        let id = error_id(ids, now);
        if refusal.kind.code() >= 500 {
            tracing::error!(
                error_id = id,
                kind = refusal.kind.name(),
                message = refusal.message,
                "answered with an error"
            );
        } else {
            tracing::debug!(error_id = id, kind = refusal.kind.name(), "refused");
        }
        let envelope = Envelope {
            id: &id,
            code: refusal.kind.code(),
            r#type: refusal.kind.name(),
            message: &refusal.message,
            metadata: refusal.metadata.as_deref(),
        };
        let mut response = json(refusal.kind.code(), &envelope);
        if matches!(refusal.kind, ErrorKind::RateLimited) {
            response.headers_mut().entry(header::RETRY_AFTER).or_insert(HeaderValue::from_static("1"));
        }
        response
    }
}

/// `err_`, 14 digits of UTC, `x`, 8 upper-case hexadecimal digits.
fn error_id(ids: &Generator, now: Timestamp) -> String {
    let digits: String = now.to_string().chars().filter(char::is_ascii_digit).take(14).collect();
    let tail = u32::from_be_bytes(ids.bytes::<4>());
    format!("err_{digits}x{tail:08X}")
}

/// A JSON answer.
pub(crate) fn json(status: u16, value: &impl Serialize) -> Response<Body> {
    // Values of this server's own types always have a JSON form.
    raw_json(status, serde_json::to_vec(value).unwrap_or_default())
}

/// An answer that is JSON already.
pub(crate) fn raw_json(status: u16, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_ids_have_the_dialects_form() {
        let id = error_id(&Generator::seeded(7), Timestamp::from_millis(1_735_787_045_000));
        assert_eq!(&id[..19], "err_20250102030405x");
        assert_eq!(id.len(), 27);
        assert!(id[19..].chars().all(|c| c.is_ascii_digit() || c.is_ascii_uppercase()));
    }
}
