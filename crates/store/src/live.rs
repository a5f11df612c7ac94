//! What a commit wakes: listeners of a conversation, the delivery loop, the timers.
//!
//! Wakes carry positions only. Whoever is woken reads the tables, so a lost wake loses nothing but
//! time.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use duologue_model::{
    Timestamp,
    id::{BotId, ConversationId},
};
use tokio::sync::{Notify, broadcast};

/// What a transaction will wake once it is durable.
#[derive(Debug, Default)]
pub struct Touches {
    pub(crate) conversations: Vec<(ConversationId, Timestamp)>,
    pub(crate) outbox: Vec<BotId>,
    pub(crate) due: Option<Timestamp>,
    pub(crate) registrations: bool,
    pub(crate) webhooks: BTreeSet<String>,
    pub(crate) erased: bool,
}

impl Touches {
    /// A conversation, or all of a bot, is gone.
    pub fn erased(&mut self) {
        self.erased = true;
    }

    /// The conversation's clock moved to `at`.
    pub fn conversation(&mut self, id: &ConversationId, at: Timestamp) {
        self.conversations.push((id.clone(), at));
    }

    /// Something waits for delivery to this bot, or to one of its integrations.
    pub fn outbox(&mut self, bot: &BotId) {
        if !self.outbox.contains(bot) {
            self.outbox.push(bot.clone());
        }
    }

    /// Something waits to be sent to this webhook.
    pub fn webhook(&mut self, id: &str) {
        if !self.webhooks.contains(id) {
            self.webhooks.insert(id.to_owned());
        }
    }

    /// Something is due at `at`.
    pub fn due(&mut self, at: Timestamp) {
        self.due = Some(self.due.map_or(at, |earlier| earlier.min(at)));
    }

    /// The code of an instance is to be told of it.
    pub fn registrations(&mut self) {
        self.registrations = true;
    }

    pub(crate) fn merge(&mut self, other: Touches) {
        self.conversations.extend(other.conversations);
        for bot in &other.outbox {
            self.outbox(bot);
        }
        self.registrations |= other.registrations;
        if let Some(at) = other.due {
            self.due(at);
        }
        self.webhooks.extend(other.webhooks);
        self.erased |= other.erased;
    }
}

/// The wakes of one process.
#[derive(Debug)]
pub struct Live {
    feed: broadcast::Sender<Arc<[(ConversationId, Timestamp)]>>,
    /// Bots for which something waits for delivery.
    pub outbox: Wakes,
    /// Woken when something became due sooner than known.
    pub timers: Notify,
    /// Woken when lines were added to logs.
    pub logs: Notify,
    /// Woken when the code of an instance is to be told of it.
    pub registrations: Notify,
    next_due: std::sync::atomic::AtomicI64,
    erasures: std::sync::atomic::AtomicU64,
    /// Webhooks to which something waits to be sent.
    pub webhooks: Webhooks,
}

impl Default for Live {
    fn default() -> Self {
        Live {
            feed: broadcast::channel(1024).0,
            outbox: Wakes::default(),
            timers: Notify::new(),
            logs: Notify::new(),
            registrations: Notify::new(),
            next_due: std::sync::atomic::AtomicI64::new(i64::MAX),
            erasures: std::sync::atomic::AtomicU64::new(0),
            webhooks: Webhooks::default(),
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

    /// How often this process erased a conversation, or all of a bot. Whoever asks after an erasure was
    /// answered gets another number than before it began.
    pub fn erasures(&self) -> u64 {
        self.erasures.load(std::sync::atomic::Ordering::Acquire)
    }

    pub(crate) fn publish(&self, touches: Touches) {
        if touches.erased {
            self.erasures.fetch_add(1, std::sync::atomic::Ordering::AcqRel);
        }
        if !touches.conversations.is_empty() && self.feed.receiver_count() > 0 {
            // An error means that the last listener has just left.
            let _ = self.feed.send(touches.conversations.into());
        }
        self.outbox.wake(touches.outbox, false);
        if touches.registrations {
            self.registrations.notify_one();
        }
        if touches.due.is_some_and(|at| at.millis() < self.next_due.load(std::sync::atomic::Ordering::Acquire)) {
            self.timers.notify_one();
        }
        self.webhooks.wake(touches.webhooks);
    }
}

/// Webhooks to look at, for the one who looks: no more than there are subscriptions.
#[derive(Debug, Default)]
pub struct Webhooks {
    woken: Mutex<BTreeSet<String>>,
    notify: Notify,
}

impl Webhooks {
    fn wake(&self, ids: BTreeSet<String>) {
        if !ids.is_empty() {
            self.woken.lock().unwrap_or_else(PoisonError::into_inner).extend(ids);
            self.notify.notify_one();
        }
    }

    /// Those woken since the last call.
    pub fn take(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.woken.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until some are woken.
    pub async fn woken(&self) {
        self.notify.notified().await;
    }
}

/// Bots to look at, for the one who looks. Without one nothing is kept.
#[derive(Debug, Default)]
pub struct Wakes {
    bots: Mutex<Option<HashMap<BotId, bool>>>,
    notify: Notify,
}

impl Wakes {
    /// Begins to keep wakes for [`Wakes::next`].
    pub fn open(&self) {
        self.bots.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default();
    }

    /// Wakes for these bots. `heard`: another process says so.
    pub(crate) fn wake(&self, woken: Vec<BotId>, heard: bool) {
        if woken.is_empty() {
            return;
        }
        if let Some(bots) = &mut *self.bots.lock().unwrap_or_else(PoisonError::into_inner) {
            for bot in woken {
                let of_others = bots.entry(bot).or_insert(heard);
                *of_others &= heard;
            }
        }
        self.notify.notify_one();
    }

    /// The bots woken since the last call; waits for some. Whether only other processes did is said
    /// with each.
    pub async fn next(&self) -> Vec<(BotId, bool)> {
        loop {
            let woken = match &mut *self.bots.lock().unwrap_or_else(PoisonError::into_inner) {
                Some(bots) => bots.drain().collect::<Vec<_>>(),
                None => Vec::new(),
            };
            if !woken.is_empty() {
                return woken;
            }
            self.notify.notified().await;
        }
    }
}
