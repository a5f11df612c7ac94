//! What can go wrong in an export or import. Every message says what to do.

use std::{io, path::Path};

use duologue_client::TransportError;
use duologue_transcript::jsonl::ReadError;

/// Why an export or import ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The options can't be used together, or with what is there.
    #[error("{0}")]
    Usage(String),
    /// Ctrl-C, or another request to stop. What was written stands; the text says how to go on.
    #[error("{0}")]
    Interrupted(String),
    /// Another failure, after which what was written stands; the text says how to go on.
    #[error("{cause}\n{advice}")]
    Continuable {
        /// What happened.
        cause: Box<Error>,
        /// How to go on.
        advice: String,
    },
    /// The server can't be reached, refused, or answered strangely.
    #[error("{0}{hint}", hint = hint(.0))]
    Api(Box<duologue_client::Error>),
    /// The server's list of conversations isn't in the order that was asked for.
    #[error(
        "the server's list of conversations is out of order at {0}; \
         run again with --collect, which reads the whole list first and sorts it here"
    )]
    Order(String),
    /// The data folder can't be read.
    #[error("{0}")]
    Store(#[from] duologue_store::Error),
    /// The document can't be written.
    #[error(transparent)]
    Transcript(#[from] duologue_transcript::Error),
    /// A line of an export can't be read.
    #[error("{file}: {source}")]
    Line {
        /// The file's name.
        file: String,
        /// Which line, and why.
        source: ReadError,
    },
    /// The server refused records of an import.
    #[error("{file}, lines {first} to {last}: {source}{hint}", hint = hint(.source))]
    Refused {
        /// The file's name.
        file: String,
        /// The first line of the request, counted from 1.
        first: u64,
        /// Its last line.
        last: u64,
        /// What the server said.
        source: Box<duologue_client::Error>,
    },
    /// A file can't be read or written.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, with the file's name.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl From<duologue_client::Error> for Error {
    fn from(error: duologue_client::Error) -> Self {
        Error::Api(Box::new(error))
    }
}

impl Error {
    /// The status that the process should end with: 130 when it was interrupted (as shells report
    /// Ctrl-C), 2 for options that can't be used, 1 for the rest.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Interrupted(_) => 130,
            Error::Usage(_) => 2,
            // An address or a name that can't make a request.
            Error::Api(error) if matches!(**error, duologue_client::Error::Config(_)) => 2,
            Error::Continuable { cause, .. } => cause.exit_code(),
            _ => 1,
        }
    }

    /// A failure of the file at `path`; `doing` is what was tried, e.g. `can't write`.
    pub(crate) fn file(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let what = format!("{doing} {}", path.display());
        move |source| Error::Io { what, source }
    }

    /// A failure of a stream without a name.
    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Error::Io { what: what.to_owned(), source }
    }

    /// Whether the reader of our output has gone, as `head` does: no reason to complain.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Error::Io { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// What to do about a refusal, on a line of its own.
fn hint(error: &duologue_client::Error) -> &'static str {
    match error {
        duologue_client::Error::Transport(TransportError::Connect { .. }) => {
            "\nIs the server running, and is --api-url (BP_API_URL) its address?"
        }
        duologue_client::Error::Transport(_) => "\nThe connection is unsteady: try again.",
        duologue_client::Error::Decode { .. } => "\nIs --api-url (BP_API_URL) the address of a Cloud-compatible API?",
        duologue_client::Error::Api(refusal) => match refusal.status {
            401 => "\nThe token isn't accepted: give --token or set BP_TOKEN to a valid one.",
            403 => "\nThis token may not do that: is --bot-id (BP_BOT_ID) one of its bots?",
            404 | 405 => "\nIs --api-url (BP_API_URL) right, and --bot-id (BP_BOT_ID) a bot of that server?",
            429 => "\nThe server's rate limit is used up: go on later, or with --parallel 1.",
            _ => "",
        },
        _ => "",
    }
}
