//! Why uploaded code can't be hosted or doesn't run.

use std::time::Duration;

use duologue_bridge::NotHosted;

/// When to try again what may succeed at any moment.
const SOON: Duration = Duration::from_secs(1);

/// Why code doesn't run, or nothing can be hosted.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// No usable Node.
    #[error("{0}")]
    NoNode(String),
    /// There is no such code.
    #[error("{0} has no code. Deploy it, or give it a URL.")]
    NoCode(String),
    /// It can't be read.
    #[error("its code could not be read: {0}")]
    Source(String),
    /// It failed a short while ago.
    #[error("its process failed and is started again in {seconds} s at the earliest. {reason}")]
    Waiting {
        /// Until then.
        seconds: u64,
        /// What was wrong.
        reason: String,
    },
    /// It didn't start.
    #[error("its process did not start: {0}")]
    Start(String),
    /// As many processes as allowed are at work.
    #[error("{0} processes of hosted code are at work already, as many as may run")]
    Full(usize),
    /// The server is being stopped.
    #[error("the server is stopping")]
    Stopping,
    /// The folder for bundles.
    #[error("the folder {0} for hosted code can't be used: {1}")]
    Folder(std::path::PathBuf, String),
}

impl From<Error> for NotHosted {
    fn from(error: Error) -> Self {
        let reason = error.to_string();
        match error {
            Error::NoNode(_) | Error::NoCode(_) => NotHosted::Never(reason),
            Error::Waiting { seconds, .. } => NotHosted::NotNow { reason, after: Duration::from_secs(seconds) },
            _ => NotHosted::NotNow { reason, after: SOON },
        }
    }
}
