//! Requests to stop: Ctrl-C, or the signal a service manager sends.

use tokio::sync::watch;

/// Knows whether somebody asked to stop. From the first request on the process no longer ends by
/// itself; whoever holds this must.
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Listens from now on.
    pub fn listen() -> Self {
        let (sender, receiver) = watch::channel(false);
        let requested = duologue_door::stop_requested();
        tokio::spawn(async move {
            requested.await;
            // Nobody may be left to hear it.
            let _ = sender.send(true);
        });
        Stop(receiver)
    }

    /// Whether it was requested.
    pub fn requested(&self) -> bool {
        *self.0.borrow()
    }

    /// The result of `work`, or `None` if a request comes first.
    pub async fn or<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            true = async { self.0.wait_for(|stop| *stop).await.is_ok() } => None,
            done = work => Some(done),
        }
    }
}
