//! What can go wrong: [`Failure`] is what handlers return, [`Error`] what everything else does.
//!
//! A failure becomes the HTTP answer of the operation (`spec/cloud/bridge-protocol.md` § 5), so it
//! decides what the caller is told and whether the platform tries again.

use std::{fmt, io};

use duologue_client::{ApiError, ErrorKind};
use duologue_model::error::causes;
use serde_json::Value;

/// What a handler returns.
pub type Result<T = (), E = Failure> = std::result::Result<T, E>;

/// Why something outside of handlers failed, or why a context couldn't do something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A call to the server failed.
    #[error(transparent)]
    Client(#[from] duologue_client::Error),
    /// The address can't be listened on, or a file can't be read or written.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// What is handled has no such thing, e.g. an event without a conversation.
    #[error("{0}")]
    Absent(String),
    /// JSON that isn't what the Rust type says.
    #[error("{what} isn't as expected: {source}")]
    Shape {
        /// Which JSON.
        what: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A hook let it go no further.
    #[error("a hook stopped {0}")]
    Stopped(&'static str),
    /// The program was called with something it doesn't understand, or lacks a setting.
    #[error("{0}")]
    Usage(String),
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Error::Io { what: what.into(), source }
    }

    pub(crate) fn shape(what: impl Into<String>) -> impl FnOnce(serde_json::Error) -> Self {
        move |source| Error::Shape { what: what.into(), source }
    }
}

/// Why a handler failed.
///
/// Any error becomes one with `?`. What the platform, and through it the caller of an action, is told:
///
/// * [`Failure::new`]: the text, as a `Runtime` error. Final.
/// * a refusal of the server that `?` passed on: that refusal. Final.
/// * [`Failure::temporary`]: that the bot is busy. The platform tries again.
/// * any other error: only that something went wrong; the log says what. Final.
///
/// ```
/// # use duologue_sdk::{Failure, Result};
/// fn seats(text: &str) -> Result<u32> {
///     let seats = text.parse()?;
///     if seats > 8 {
///         return Err(Failure::new("We have no table for so many."));
///     }
///     Ok(seats)
/// }
/// assert_eq!(seats("9").unwrap_err().to_string(), "We have no table for so many.");
/// assert!(seats("x").is_err());
/// ```
pub struct Failure {
    cause: Cause,
}

enum Cause {
    Told { message: String, metadata: Option<Value> },
    Temporary(String),
    Other(Box<dyn std::error::Error + Send + Sync>),
}

/// What callers are told of errors that aren't meant for them.
const UNTOLD: &str = "The bot failed. Its log says why.";

impl Failure {
    /// One whose text callers are told.
    pub fn new(message: impl Into<String>) -> Self {
        Failure { cause: Cause::Told { message: message.into(), metadata: None } }
    }

    /// One that may pass: the platform delivers an event again, as often as it does.
    pub fn temporary(message: impl Into<String>) -> Self {
        Failure { cause: Cause::Temporary(message.into()) }
    }

    /// One that only the log tells. For errors that `?` doesn't take, such as boxed ones.
    pub fn untold(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Failure { cause: Cause::Other(cause.into()) }
    }

    /// The same with details for callers, if it has a text for them.
    pub fn with_metadata(mut self, details: Value) -> Self {
        if let Cause::Told { metadata, .. } = &mut self.cause {
            *metadata = Some(details);
        }
        self
    }

    /// The server's refusal, if that is what it is.
    pub fn api(&self) -> Option<&ApiError> {
        let Cause::Other(cause) = &self.cause else { return None };
        let client = match cause.downcast_ref::<Error>() {
            Some(Error::Client(client)) => Some(client),
            _ => cause.downcast_ref::<duologue_client::Error>(),
        };
        match client {
            Some(duologue_client::Error::Api(refusal)) => Some(refusal),
            _ => cause.downcast_ref::<ApiError>(),
        }
    }

    /// What the platform is answered.
    pub(crate) fn told(&self) -> Told<'_> {
        match (&self.cause, self.api()) {
            (Cause::Told { message, metadata }, _) => {
                Told { status: 400, kind: ErrorKind::Runtime, message, metadata: metadata.as_ref() }
            }
            (Cause::Temporary(message), _) => Told { status: 503, kind: ErrorKind::Internal, message, metadata: None },
            // The platform's own trouble is no error of the bot, nor the bot's caller's fault.
            (Cause::Other(_), Some(refusal)) if refusal.kind.code() < 500 => Told {
                status: refusal.kind.code(),
                kind: refusal.kind,
                message: &refusal.message,
                metadata: refusal.metadata.as_deref(),
            },
            (Cause::Other(_), _) => Told { status: 500, kind: ErrorKind::Runtime, message: UNTOLD, metadata: None },
        }
    }
}

/// A failure as the platform is told it.
pub(crate) struct Told<'f> {
    pub status: u16,
    pub kind: ErrorKind,
    pub message: &'f str,
    pub metadata: Option<&'f Value>,
}

impl fmt::Display for Failure {
    /// All of it, causes included: for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Told { message, .. } | Cause::Temporary(message) => f.write_str(message),
            Cause::Other(cause) => f.write_str(&causes(cause.as_ref())),
        }
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// Not an `Error` itself, so that any error can become one.
impl<E: std::error::Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure { cause: Cause::Other(Box::new(error)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(kind: ErrorKind) -> ApiError {
        let (name, message) = (kind.name().to_owned(), "No State found".to_owned());
        ApiError { kind, name, id: "err_1".into(), message, metadata: None, status: kind.code() }
    }

    fn told(failure: impl Into<Failure>) -> (u16, &'static str, String) {
        let failure = failure.into();
        let told = failure.told();
        (told.status, told.kind.name(), told.message.to_owned())
    }

    #[test]
    fn callers_are_told_what_is_meant_for_them_and_nothing_else() {
        assert_eq!(told(Failure::new("No seats")), (400, "Runtime", "No seats".into()));
        assert_eq!(told(Failure::temporary("busy")), (503, "Internal", "busy".into()));
        let refused = duologue_client::Error::from(refusal(ErrorKind::ResourceNotFound));
        assert_eq!(told(refused), (404, "ResourceNotFound", "No State found".into()));
        let within = Error::Client(refusal(ErrorKind::ResourceNotFound).into());
        assert_eq!(told(within).0, 404);
        assert_eq!(told(io::Error::other("password is hunter2")), (500, "Runtime", UNTOLD.into()));
        let trouble = duologue_client::Error::from(refusal(ErrorKind::Internal));
        assert_eq!(told(trouble), (500, "Runtime", UNTOLD.into()));
    }

    #[test]
    fn logs_tell_all_causes_once() {
        let error = Error::Io { what: "reading prices".into(), source: io::Error::other("no such file") };
        assert_eq!(Failure::from(error).to_string(), "reading prices: no such file");
        assert_eq!(Failure::untold("just text").to_string(), "just text");
    }
}
