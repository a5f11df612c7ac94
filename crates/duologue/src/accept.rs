//! Taking connections, so many at once, until the server stops. Called by `serve` only.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
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
use slab::Slab;
use tokio::{
    net::TcpListener,
    sync::{AcquireError, Notify, OwnedSemaphorePermit, Semaphore, watch},
};

use crate::{config::Config, unstuck::Unstuck};

/// Most bytes in the line and headers of a request: a wall behind the bounds of the dialects, at
/// which a connection is broken off.
const HEADER_BYTES: usize = 64 * 1024;

/// Takes connections until told to stop, then lets running requests finish. When there is hardly a place left, the
/// connections that have been silent longest are closed: clients leave connections open that they never use again.
pub(crate) async fn accept(
    listener: TcpListener,
    router: axum::Router,
    config: &Config,
    listeners: &Listeners,
    mut close: watch::Receiver<bool>,
) {
    let guests = Arc::new(Guests::new(config.connections));
    let [header_time, body_time, patience] =
        [config.header_timeout, config.body_timeout, config.shutdown_timeout].map(Duration::from_secs);
    // An error means that whoever would tell is gone.
    let mut signal = std::pin::pin!(async move {
        let _ = close.wait_for(|close| *close).await;
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(header_time).max_buf_size(HEADER_BYTES);
    let mut asked = Instant::now();
    loop {
        let place = tokio::select! {
            place = guests.place(&mut asked) => place,
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
        let stay = guests.come(place);
        let guest = stay.guest.clone();
        let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            let (answer, guest) = (hyper::service::Service::call(&service, request), guest.clone());
            async move {
                guest.speaks();
                let answer = answer.await;
                guest.falls_silent();
                answer
            }
        });
        let connection = http.serve_connection(stream, service);
        tokio::spawn(async move {
            let mut connection = std::pin::pin!(connection);
            loop {
                tokio::select! {
                    // Clients that go away in the middle are their own affair.
                    _ = connection.as_mut() => break,
                    // After the answer that is being sent, if one is.
                    () = stay.guest.asked_to_go.notified() => connection.as_mut().graceful_shutdown(),
                }
            }
            drop(stay);
        });
    }
    drop(listener);
    // They would never finish.
    listeners.close();
    tracing::info!("stopping: finishing running requests");
    guests.present().iter().for_each(|(_, guest)| guest.asked_to_go.notify_one());
    let all = guests.room.acquire_many(u32::try_from(config.connections).unwrap_or(u32::MAX));
    if tokio::time::timeout(patience, all).await.is_err() {
        tracing::warn!(seconds = patience.as_secs(), "some requests did not finish in time");
    }
}

/// How long a connection has been silent at least before its place may be given away.
const SILENT: Duration = Duration::from_secs(1);
/// How long those that were asked to go have for it before others are asked.
const ASKED_AGAIN: Duration = Duration::from_millis(10);

/// All connections, and places for more. Requests don't touch this: whoever has been silent longest is looked
/// for when places run short, and then many are asked to go at once.
struct Guests {
    room: Arc<Semaphore>,
    /// So many places are kept free, if silent connections allow it; so many are asked to go at once.
    reserve: usize,
    present: Mutex<Slab<Arc<Guest>>>,
}

impl Guests {
    fn new(places: usize) -> Guests {
        Guests {
            room: Arc::new(Semaphore::new(places)),
            reserve: (places / 16).max(1),
            present: Mutex::new(Slab::new()),
        }
    }

    /// A place for a connection: there is one soon as long as connections are silent. `asked` is when they were
    /// asked to go.
    async fn place(&self, asked: &mut Instant) -> Result<OwnedSemaphorePermit, AcquireError> {
        loop {
            if self.room.available_permits() < self.reserve && asked.elapsed() >= ASKED_AGAIN {
                self.ask();
                *asked = Instant::now();
            }
            let place = self.room.clone().acquire_owned();
            if let Ok(place) = tokio::time::timeout(ASKED_AGAIN, place).await {
                return place;
            }
        }
    }

    fn present(&self) -> MutexGuard<'_, Slab<Arc<Guest>>> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks those to go that have been silent longest.
    fn ask(&self) {
        let present = self.present();
        let silence = |(key, guest): (usize, &Arc<Guest>)| Some((guest.silence()?, key));
        let mut silent: Vec<_> = present.iter().filter_map(silence).filter(|(silence, _)| *silence >= SILENT).collect();
        if silent.len() > self.reserve {
            silent.select_nth_unstable_by_key(self.reserve, |(silence, _)| std::cmp::Reverse(*silence));
            silent.truncate(self.reserve);
        }
        for guest in silent.iter().filter_map(|(_, key)| present.get(*key)) {
            // Who was asked isn't asked again.
            guest.speaks();
            guest.asked_to_go.notify_one();
        }
    }

    fn come(self: &Arc<Self>, place: OwnedSemaphorePermit) -> Stay {
        let guest =
            Arc::new(Guest { came: Instant::now(), silent_since: AtomicU64::new(0), asked_to_go: Notify::new() });
        let key = self.present().insert(guest.clone());
        Stay { guests: self.clone(), guest, key, _place: place }
    }
}

/// A connection among the others, until this is dropped.
struct Stay {
    guests: Arc<Guests>,
    guest: Arc<Guest>,
    key: usize,
    _place: OwnedSemaphorePermit,
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.guests.present().remove(self.key);
    }
}

/// A connection.
struct Guest {
    came: Instant,
    /// Milliseconds since it came, or [`SPEAKING`] while there is a request.
    silent_since: AtomicU64,
    asked_to_go: Notify,
}

/// It isn't silent.
const SPEAKING: u64 = u64::MAX;

impl Guest {
    fn speaks(&self) {
        self.silent_since.store(SPEAKING, Ordering::Relaxed);
    }

    fn falls_silent(&self) {
        let here = u64::try_from(self.came.elapsed().as_millis()).unwrap_or(SPEAKING - 1);
        self.silent_since.store(here, Ordering::Relaxed);
    }

    fn silence(&self) -> Option<Duration> {
        let since = Some(self.silent_since.load(Ordering::Relaxed)).filter(|since| *since != SPEAKING)?;
        Some(self.came.elapsed().saturating_sub(Duration::from_millis(since)))
    }
}
