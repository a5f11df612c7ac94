//! The one refusal of the domain, with the types of the Cloud dialect (`spec/cloud/errors.md` § 2).
//!
//! Every layer below `http` refuses with [`Error`]; `http` alone turns it into an envelope.

use std::fmt;

use serde_json::Value;

/// Defines the error types once: variant, wire name, status code.
macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $code:literal),* $(,)?) => {
        /// The error types of the Cloud dialect. The wire name is the variant's name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind { $($(#[$doc])* $variant),* }

        impl ErrorKind {
            /// All types, in the order of the specification.
            pub const ALL: &[ErrorKind] = &[$(ErrorKind::$variant),*];

            /// The name on the wire, which selects the official client's error class.
            pub const fn name(self) -> &'static str {
                match self { $(ErrorKind::$variant => stringify!($variant)),* }
            }

            /// The numeric code, equal to the HTTP status.
            pub const fn code(self) -> u16 {
                match self { $(ErrorKind::$variant => $code),* }
            }

            /// The type with this wire name.
            pub fn from_name(name: &str) -> Option<ErrorKind> {
                match name { $(stringify!($variant) => Some(ErrorKind::$variant),)* _ => None }
            }
        }
    };
}

kinds! {
    /// Reserved for clients: an answer that could not be understood.
    Unknown = 500,
    /// A failure of the server itself.
    Internal = 500,
    /// No usable token.
    Unauthorized = 401,
    /// A valid token that may not do this.
    Forbidden = 403,
    /// The request, or one payload in it, is larger than allowed.
    PayloadTooLarge = 413,
    /// Body, query, path or header fails validation.
    InvalidPayload = 400,
    /// A body that is not JSON.
    UnsupportedMediaType = 415,
    /// No route for this method and path.
    MethodNotFound = 405,
    /// The entity named in the path does not exist or is not visible to the caller.
    ResourceNotFound = 404,
    /// A schema in a definition is not usable JSON Schema.
    InvalidJsonSchema = 400,
    /// Data does not satisfy a declared schema.
    InvalidDataFormat = 400,
    /// A malformed definition key.
    InvalidIdentifier = 400,
    /// The operation would break a relation.
    RelationConflict = 409,
    /// The entity is still referenced.
    ReferenceConstraint = 409,
    /// A concurrent operation holds the entity.
    ResourceLockedConflict = 409,
    /// The entity existed and is permanently gone.
    ResourceGone = 410,
    /// An id in a body or filter points to nothing.
    ReferenceNotFound = 400,
    /// A filter, sort or token is invalid.
    InvalidQuery = 400,
    /// Code of a bot or integration failed, or is not there to be called.
    Runtime = 400,
    /// A unique name is taken.
    AlreadyExists = 409,
    /// A rate limit is exceeded.
    RateLimited = 429,
    /// Never sent by this server.
    PaymentRequired = 402,
    /// A configured quota is reached.
    QuotaExceeded = 403,
    /// A hard limit is reached.
    LimitExceeded = 413,
    /// A public definition would change incompatibly.
    BreakingChanges = 400,
    /// Bot or integration code did not answer in time.
    OperationTimeout = 504,
}

/// A refusal: its type, a sentence for a human that says what to do, optional details.
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    /// The dialect's type.
    pub kind: ErrorKind,
    /// For humans.
    pub message: String,
    /// Free-form details, e.g. which field is wrong.
    pub metadata: Option<Box<Value>>,
}

impl Error {
    /// A refusal of `kind` that says `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), metadata: None }
    }

    /// The same refusal with details.
    pub fn with_metadata(mut self, metadata: Value) -> Self {
        self.metadata = Some(Box::new(metadata));
        self
    }

    /// `InvalidPayload`: the request is malformed.
    pub fn invalid_payload(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::InvalidPayload, message)
    }

    /// `ResourceNotFound`: the `what` named in the path isn't there for this caller.
    pub fn not_found(what: &str, id: &str) -> Self {
        Error::new(ErrorKind::ResourceNotFound, format!("No {what} found with id \"{id}\""))
    }

    /// `ReferenceNotFound`: a `what` named in the body isn't there for this caller.
    pub fn reference_not_found(what: &str, id: &str) -> Self {
        Error::new(ErrorKind::ReferenceNotFound, format!("The {what} \"{id}\" given in the request does not exist"))
    }

    /// `InvalidQuery`: a filter, sort or token is invalid.
    pub fn invalid_query(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::InvalidQuery, message)
    }

    /// `Forbidden`.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Forbidden, message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.name(), self.message)
    }
}

impl std::error::Error for Error {}

/// What an error says, and what the errors that caused it add to that, in one line.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Caused(&'static str, Option<Box<Caused>>);

    impl fmt::Display for Caused {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl std::error::Error for Caused {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            self.1.as_ref().map(|cause| cause.as_ref() as _)
        }
    }

    #[test]
    fn causes_are_told_once() {
        let caused = |said, cause| Caused(said, Some(Box::new(cause)));
        assert_eq!(causes(&Caused("no", None)), "no");
        let refused = caused("can't connect", caused("tcp error", Caused("connection refused", None)));
        assert_eq!(causes(&refused), "can't connect: tcp error: connection refused");
        let repeated = caused("can't connect: refused", caused("refused", Caused("port 1", None)));
        assert_eq!(causes(&repeated), "can't connect: refused: port 1");
    }

    #[test]
    fn names_round_trip_and_are_unique() {
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::from_name(kind.name()), Some(*kind));
        }
        assert_eq!(ErrorKind::ALL.len(), 26);
        assert_eq!(ErrorKind::from_name("Teapot"), None);
    }
}
