//! Taking connections, so many at once, until the server stops. Called by `serve` only.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use duologue_door as door;
use duologue_http::{Listeners, Peer};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};

use crate::{config::Config, unstuck::Unstuck};

/// Most bytes in the line and headers of a request: a wall behind the bounds of the dialects, at
/// which a connection is broken off.
const HEADER_BYTES: usize = 64 * 1024;

/// Takes connections until told to stop, then lets running requests finish. When there is no place for another,
/// those that have been silent give theirs: clients leave connections open that they never use again.
pub(crate) async fn accept(
    listener: TcpListener,
    router: axum::Router,
    config: &Config,
    listeners: &Listeners,
    mut close: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(config.connections));
    let (wishes, _) = watch::channel(Wish::None);
    let [header_time, body_time, patience] =
        [config.header_timeout, config.body_timeout, config.shutdown_timeout].map(Duration::from_secs);
    // An error means that whoever would tell is gone.
    let mut signal = std::pin::pin!(async move {
        let _ = close.wait_for(|close| *close).await;
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(header_time).max_buf_size(HEADER_BYTES);
    loop {
        let place = tokio::select! {
            place = place(&room, &wishes) => place,
            () = &mut signal => break,
        };
        // The semaphore is never closed.
        let Ok(place) = place else { break };
        let (stream, peer) = tokio::select! {
            connection = door::accept(&listener) => connection,
            () = &mut signal => break,
        };
        let stream = TokioIo::new(Unstuck::new(stream, body_time));
        let service = TowerToHyperService::new(router.clone());
        let silence = Arc::new(Silence::default());
        let heard = silence.clone();
        let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            let (answer, heard) = (hyper::service::Service::call(&service, request), heard.clone());
            async move {
                heard.end();
                let answer = answer.await;
                heard.begin();
                answer
            }
        });
        let connection = http.serve_connection(stream, service);
        let mut wishes = wishes.subscribe();
        tokio::spawn(async move {
            let mut connection = std::pin::pin!(connection);
            loop {
                tokio::select! {
                    // Clients that go away in the middle are their own affair.
                    _ = connection.as_mut() => break,
                    Ok(()) = wishes.changed() => {
                        let wish = *wishes.borrow_and_update();
                        if silence.grants(wish) {
                            // After the answer that is being sent, if one is.
                            connection.as_mut().graceful_shutdown();
                        }
                    }
                }
            }
            drop(place);
        });
    }
    drop(listener);
    // They would never finish.
    listeners.close();
    tracing::info!("stopping: finishing running requests");
    wishes.send_replace(Wish::All);
    let all = room.acquire_many(u32::try_from(config.connections).unwrap_or(u32::MAX));
    if tokio::time::timeout(patience, all).await.is_err() {
        tracing::warn!(seconds = patience.as_secs(), "some requests did not finish in time");
    }
}

/// Which connections are to end.
#[derive(Clone, Copy, Debug)]
enum Wish {
    None,
    /// Those without a request for so long.
    Silent(Duration),
    /// All.
    All,
}

/// A place for a connection. If there is none, connections that have been silent are asked to go, first the most
/// silent ones.
async fn place(
    room: &Arc<Semaphore>,
    wishes: &watch::Sender<Wish>,
) -> Result<OwnedSemaphorePermit, tokio::sync::AcquireError> {
    if let Ok(place) = room.clone().try_acquire_owned() {
        return Ok(place);
    }
    let mut silent = SILENT;
    loop {
        wishes.send_replace(Wish::Silent(silent));
        let place = room.clone().acquire_owned();
        if let Ok(place) = tokio::time::timeout(ASKED_EVERY, place).await {
            return place;
        }
        silent = (silent / 2).max(STILL_SILENT);
    }
}

/// How long connections have been silent that are asked to go first.
const SILENT: Duration = Duration::from_secs(16);
/// How long those have been at least that are asked last.
const STILL_SILENT: Duration = Duration::from_secs(1);
/// How long to wait between.
const ASKED_EVERY: Duration = Duration::from_millis(100);

/// Since when a connection has no request: milliseconds of a clock of its own.
struct Silence {
    opened: Instant,
    since: AtomicU64,
}

impl Default for Silence {
    fn default() -> Self {
        Silence { opened: Instant::now(), since: AtomicU64::new(0) }
    }
}

impl Silence {
    /// There is none.
    const NONE: u64 = u64::MAX;

    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(Self::NONE - 1)
    }

    fn begin(&self) {
        self.since.store(self.now(), Ordering::Relaxed);
    }

    fn end(&self) {
        self.since.store(Self::NONE, Ordering::Relaxed);
    }

    fn grants(&self, wish: Wish) -> bool {
        match (wish, self.since.load(Ordering::Relaxed)) {
            (Wish::All, _) => true,
            (Wish::None, _) | (_, Self::NONE) => false,
            (Wish::Silent(long), since) => u128::from(self.now().saturating_sub(since)) >= long.as_millis(),
        }
    }
}
