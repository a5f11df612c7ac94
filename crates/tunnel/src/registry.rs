//! The open tunnels, and the requests that wait in them.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::{mpsc, oneshot};

use crate::{Limits, frame::Answered};

/// Frames that may wait to be written to one tunnel.
const QUEUE: usize = 64;

/// The open tunnels by id.
pub(crate) struct Registry {
    pub(crate) limits: Limits,
    open: Mutex<HashMap<String, Arc<Tunnel>>>,
}

/// One open tunnel.
pub(crate) struct Tunnel {
    outgoing: mpsc::Sender<String>,
    waiting: Mutex<HashMap<String, oneshot::Sender<Answered>>>,
    next: AtomicU64,
}

/// An open tunnel from inside. It is closed when this is dropped: what waits in it hears that nothing
/// will come.
pub(crate) struct Place {
    pub(crate) registry: Arc<Registry>,
    id: String,
    pub(crate) tunnel: Arc<Tunnel>,
    /// What is to be written to it.
    pub(crate) frames: mpsc::Receiver<String>,
}

impl Drop for Place {
    fn drop(&mut self) {
        locked(&self.registry.open).remove(&self.id);
        // In this order: who comes to wait after the rest were sent away finds nobody to send to.
        self.frames.close();
        locked(&self.tunnel.waiting).clear();
    }
}

/// Why a tunnel can't be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Somebody has this id.
    InUse,
    /// There are as many tunnels as there may be.
    Full,
}

/// Why a request can't go through a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blocked {
    /// It has as many under way as it may.
    Full,
    /// It is being closed.
    Closed,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registry {
    pub(crate) fn new(limits: Limits) -> Self {
        Registry { limits, open: Mutex::default() }
    }

    /// Opens a tunnel.
    pub(crate) fn enter(self: &Arc<Self>, id: &str) -> Result<Place, Taken> {
        let mut open = locked(&self.open);
        if open.contains_key(id) {
            return Err(Taken::InUse);
        }
        if open.len() >= self.limits.tunnels {
            return Err(Taken::Full);
        }
        let (outgoing, frames) = mpsc::channel(QUEUE);
        let tunnel = Arc::new(Tunnel { outgoing, waiting: Mutex::default(), next: AtomicU64::new(1) });
        open.insert(id.to_owned(), tunnel.clone());
        Ok(Place { registry: self.clone(), id: id.to_owned(), tunnel, frames })
    }

    /// The tunnel with this id.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<Tunnel>> {
        locked(&self.open).get(id).cloned()
    }
}

impl Tunnel {
    /// A place for a request; given back when it is dropped.
    pub(crate) fn ticket(self: &Arc<Self>, most: usize) -> Result<Ticket, Blocked> {
        let id = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        let (sender, answer) = oneshot::channel();
        let mut waiting = locked(&self.waiting);
        if waiting.len() >= most {
            return Err(Blocked::Full);
        }
        waiting.insert(id.clone(), sender);
        drop(waiting);
        Ok(Ticket { tunnel: self.clone(), id, answer })
    }

    /// Hands an answer to who waits for it. Late ones have nobody.
    pub(crate) fn settle(&self, answered: Answered) {
        if let Some(sender) = locked(&self.waiting).remove(&answered.request_id) {
            // Who waited has just given up.
            let _ = sender.send(answered);
        }
    }
}

/// A request under way.
pub(crate) struct Ticket {
    tunnel: Arc<Tunnel>,
    /// What its frame is called.
    pub(crate) id: String,
    answer: oneshot::Receiver<Answered>,
}

impl Ticket {
    /// Sends the frame and waits for the answer.
    pub(crate) async fn ask(&mut self, frame: String) -> Result<Answered, Blocked> {
        self.tunnel.outgoing.send(frame).await.map_err(|_| Blocked::Closed)?;
        (&mut self.answer).await.map_err(|_| Blocked::Closed)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        locked(&self.tunnel.waiting).remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_places_are_bounded_and_given_back() {
        let registry = Arc::new(Registry::new(Limits { tunnels: 2, requests: 1, ..Limits::default() }));
        let first = registry.enter("a").ok().unwrap();
        assert_eq!(registry.enter("a").err(), Some(Taken::InUse));
        let second = registry.enter("b").ok().unwrap();
        assert_eq!(registry.enter("c").err(), Some(Taken::Full));
        drop(second);
        assert!(registry.find("b").is_none());
        assert!(registry.enter("c").is_ok());
        let ticket = first.tunnel.ticket(1).ok().unwrap();
        assert_eq!(first.tunnel.ticket(1).err(), Some(Blocked::Full));
        drop(ticket);
        assert!(first.tunnel.ticket(1).is_ok());
    }
}
