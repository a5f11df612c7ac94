//! Calls of the code of bots and integrations that somebody waits for, and everything they need of
//! the store (`spec/cloud/bridge-protocol.md`).
//!
//! * `callees` who is called; `locks` who is changing a bot.
//! * `registration` tells code that it was deployed or installed, and that it goes away.
//! * `actions` has bots and integrations act; `creation` has integrations make users and conversations.
//! * `webhooks` passes requests of the outside world to integrations; `scripts` finds which, where they
//!   share one.
//!
//! Called by `http`. What nobody waits for (events, messages) is called by `delivery`, which uses
//! [`callees`] too. Nothing here serves HTTP or writes SQL, and no transaction is open during a call.
//!
//! What was begun is ended and recorded, whether its caller is still there or not: each operation runs
//! in a task of its own, and there is a bound on how many do.

mod actions;
pub mod callees;
mod creation;
mod locks;
mod registration;
mod scripts;
mod webhooks;

use std::{future::Future, sync::Arc};

use bytes::Bytes;
pub use creation::{ByIntegration, Wanted};
pub use duologue_bridge::Answer;
use duologue_bridge::{Bridge, Call, Callee, Failure, Operation};
use duologue_model::{Error as Refusal, ErrorKind};
use duologue_store::Store;
pub use duologue_store::actions::Made;
use locks::Locks;
use tokio::sync::Semaphore;
use webhooks::Gates;
pub use webhooks::{Incoming, Oauth, own_headers};

/// Most operations at once; others wait for their turn.
const MOST_AT_ONCE: usize = 1024;

/// Most large bodies of webhooks that are held at once; others wait for their turn.
const MOST_LARGE: usize = 4;

/// Why an operation wasn't done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was refused, or the code failed; says why in the dialect's terms.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store.
    #[error(transparent)]
    Store(#[from] duologue_store::Error),
}

/// The result of an operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Calls the code of bots and integrations. Clones share everything.
#[derive(Clone)]
pub struct Calls {
    store: Arc<Store>,
    bridge: Bridge,
    webhook_url: Arc<str>,
    locks: Arc<Locks>,
    gates: Arc<Gates>,
    places: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

impl Calls {
    /// Over this store, through this bridge. `webhook_url` is the origin under which the outside world
    /// reaches webhooks, without a trailing slash.
    pub fn new(store: Arc<Store>, bridge: Bridge, webhook_url: &str) -> Self {
        Calls {
            store,
            bridge,
            webhook_url: webhook_url.into(),
            locks: Arc::default(),
            gates: Arc::default(),
            places: Arc::new(Semaphore::new(MOST_AT_ONCE)),
            large: Arc::new(Semaphore::new(MOST_LARGE)),
        }
    }

    /// The origin under which the outside world reaches webhooks, without a trailing slash.
    pub fn webhook_url(&self) -> &str {
        &self.webhook_url
    }

    /// What calls are made through.
    pub fn bridge(&self) -> &Bridge {
        &self.bridge
    }

    /// Runs an operation to its end, even if whoever waits for it goes away.
    async fn to_the_end<T: Send + 'static>(
        &self,
        operation: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        // The semaphore is never closed.
        let place = self.places.clone().acquire_owned().await;
        let task = tokio::spawn(async move {
            let result = operation.await;
            drop(place);
            result
        });
        let failed = |error| {
            tracing::error!(%error, "an operation ended without a result");
            Refusal::new(ErrorKind::Internal, "The server could not complete the request. Its log says why.")
        };
        task.await.map_err(failed)?
    }

    /// Calls; once more if no connection could be made, so that nothing has happened.
    async fn ask(&self, callee: &Callee, operation: Operation, body: impl Into<Bytes>) -> Result<Answer, Failure> {
        let call = Call::new(operation, body);
        match self.bridge.call(callee, &call).await {
            Err(Failure::Unreachable(_)) => self.bridge.call(callee, &call).await,
            result => result,
        }
    }
}

/// What a failure is to whoever waits (§ 5).
fn refusal(failure: &Failure) -> Refusal {
    let kind = match failure {
        Failure::Timeout(_) => ErrorKind::OperationTimeout,
        _ => ErrorKind::Runtime,
    };
    Refusal::new(kind, failure.to_string())
}

/// The refusal of somebody who can't be called because of what is stored for them.
fn invalid(error: &duologue_bridge::Invalid) -> Refusal {
    Refusal::new(ErrorKind::Runtime, error.to_string())
}
