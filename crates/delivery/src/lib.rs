//! What happens by itself.
//!
//! * [`timers`] settles what becomes due: scheduled messages and events, events that recur, expired
//!   states, timeouts.
//! * [`deliver`] reads the outbox and calls bots and integrations. `dispatch` wakes an `actor` for each
//!   bot for which something waits, and holds the bots' leases where several processes share a database.
//!   An actor keeps its bot's order: what waits in one lane (a conversation, mostly) goes out one by one,
//!   lanes side by side, a bounded number at a time (`window`). `runner` makes the calls, whatever kind of
//!   bot it is; `outcome` says what an answer means for the delivery.
//! * [`webhooks`] sends what happened to the URLs that operators subscribed.
//! * [`Counters`] is what operators see of it.
//!
//! Nothing is pushed to an actor: it reads what waits, calls, and settles, so a restart loses nothing and
//! repeats what wasn't settled.
//!
//! Called by the binary. Never serves a request, never holds a lock or a transaction while it waits.

mod actor;
mod counters;
mod dispatch;
mod outcome;
mod runner;
mod timers;
pub mod webhooks;
mod window;

use std::{sync::Arc, time::Duration};

pub use counters::Counters;
use duologue_bots::Bots;
use duologue_bridge::Bridge;
use duologue_store::Store;
pub use timers::timers;
use tokio::sync::watch;

/// Calls of one bot, or of one integration in it, at once unless the operator says otherwise.
pub const IN_FLIGHT: usize = 64;

/// How long attempts are kept unless the operator says otherwise.
pub const KEEP_ATTEMPTS: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What deliveries need.
pub struct Deliveries {
    /// What waits.
    pub store: Arc<Store>,
    /// How bots and integrations are called.
    pub bridge: Bridge,
    /// The bots that are made of flows, if any are served.
    pub bots: Option<Bots>,
    /// Most calls at once to one bot, and to one integration in it.
    pub in_flight: usize,
    /// What is delivered is counted here.
    pub counters: Arc<Counters>,
    /// How long calls under way may go on after the stop.
    pub patience: Duration,
}

/// Delivers until `stop` turns true.
pub async fn deliver(deliveries: Deliveries, stop: watch::Receiver<bool>) {
    dispatch::run(Arc::new(deliveries), stop).await;
}
