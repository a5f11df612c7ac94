//! Who runs uploaded code, as far as the bridge has to know.

use std::time::Duration;

use futures_util::future::BoxFuture;
use http::HeaderMap;

use crate::Code;

/// Runs uploaded code in processes of its own and says where it listens.
pub trait Hosting: Send + Sync {
    /// Makes sure that the code runs, and says where, for one call. May wait for a process to start, a
    /// bounded time.
    fn lease<'a>(&'a self, code: &'a Code) -> BoxFuture<'a, Result<Box<dyn Lease>, NotHosted>>;
}

/// A running process, held for one call. Dropping it without [`Lease::end`] means that the caller gave
/// up.
pub trait Lease: Send + Sync {
    /// The URL to call, on loopback.
    fn url(&self) -> &str;

    /// Headers that prove to the process that it is this server that calls.
    fn headers(&self) -> HeaderMap;

    /// The call is over.
    fn end(self: Box<Self>, how: Ended);
}

/// How a call to hosted code ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With an answer, of whatever status.
    Answered,
    /// Without one in time: the process may hang.
    TimedOut,
    /// The connection broke or could not be made: the process may be gone.
    Broke,
}

/// Why code doesn't run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotHosted {
    /// It never will, as things are: no Node is installed, there is no such code. The text says what
    /// to do.
    #[error("{0}")]
    Never(String),
    /// Not now: it crashed and waits to be started again, too much runs already.
    #[error("{reason}")]
    NotNow {
        /// What is the matter.
        reason: String,
        /// How long to wait until it may run.
        after: Duration,
    },
}

/// Hosts nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHosting;

impl Hosting for NoHosting {
    fn lease<'a>(&'a self, _: &'a Code) -> BoxFuture<'a, Result<Box<dyn Lease>, NotHosted>> {
        let text = "This server does not run uploaded code; give a URL where it runs.".to_owned();
        Box::pin(async move { Err(NotHosted::Never(text)) })
    }
}
