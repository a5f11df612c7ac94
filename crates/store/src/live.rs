//! What a commit wakes: listeners of a conversation, the delivery loop, the timers.
//!
//! Wakes carry positions only. Whoever is woken reads the tables, so a lost wake loses nothing but
//! time.

use std::sync::Arc;

use duologue_model::{Timestamp, id::ConversationId};
use tokio::sync::{Notify, broadcast};

/// What a transaction will wake once it is durable.
#[derive(Debug, Default)]
pub struct Touches {
    pub(crate) conversations: Vec<(ConversationId, Timestamp)>,
    pub(crate) outbox: bool,
    pub(crate) due: Option<Timestamp>,
}

impl Touches {
    /// The conversation's clock moved to `at`.
    pub fn conversation(&mut self, id: &ConversationId, at: Timestamp) {
        self.conversations.push((id.clone(), at));
    }

    /// Something waits for delivery.
    pub fn outbox(&mut self) {
        self.outbox = true;
    }

    /// Something is due at `at`.
    pub fn due(&mut self, at: Timestamp) {
        self.due = Some(self.due.map_or(at, |earlier| earlier.min(at)));
    }

    pub(crate) fn merge(&mut self, other: Touches) {
        self.conversations.extend(other.conversations);
        self.outbox |= other.outbox;
        if let Some(at) = other.due {
            self.due(at);
        }
    }
}

/// The wakes of one process.
#[derive(Debug)]
pub struct Live {
    feed: broadcast::Sender<Arc<[(ConversationId, Timestamp)]>>,
    /// Woken when something waits for delivery.
    pub outbox: Notify,
    /// Woken when something became due sooner than known.
    pub timers: Notify,
    next_due: std::sync::atomic::AtomicI64,
}

impl Default for Live {
    fn default() -> Self {
        Live {
            feed: broadcast::channel(1024).0,
            outbox: Notify::new(),
            timers: Notify::new(),
            next_due: std::sync::atomic::AtomicI64::new(i64::MAX),
        }
    }
}

impl Live {
    /// Positions of conversations as they move. A listener that falls behind is told so and
    /// re-reads.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<[(ConversationId, Timestamp)]>> {
        self.feed.subscribe()
    }

    /// Tells until when the timers sleep, so that only what is due sooner wakes them.
    pub fn sleeping_until(&self, at: Timestamp) {
        self.next_due.store(at.millis(), std::sync::atomic::Ordering::Release);
    }

    pub(crate) fn publish(&self, touches: Touches) {
        if !touches.conversations.is_empty() && self.feed.receiver_count() > 0 {
            // An error means that the last listener has just left.
            let _ = self.feed.send(touches.conversations.into());
        }
        if touches.outbox {
            self.outbox.notify_one();
        }
        if touches.due.is_some_and(|at| at.millis() < self.next_due.load(std::sync::atomic::Ordering::Acquire)) {
            self.timers.notify_one();
        }
    }
}
