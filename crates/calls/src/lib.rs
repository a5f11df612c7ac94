//! Calls of the code of bots and integrations that somebody waits for, and everything they need of
//! the store (`spec/cloud/bridge-protocol.md`).
//!
//! * `callees` who is called.
//!
//! Called by `http`. What nobody waits for (events, messages) is called by `delivery`, which uses
//! [`callees`] too. Nothing here serves HTTP or writes SQL, and no transaction is open during a call.

pub mod callees;

use std::sync::Arc;

use duologue_bridge::Bridge;
use duologue_store::Store;

/// Calls the code of bots and integrations. Clones share everything.
#[derive(Clone)]
pub struct Calls {
    store: Arc<Store>,
    bridge: Bridge,
    webhook_url: Arc<str>,
}

impl Calls {
    /// Over this store, through this bridge. `webhook_url` is the origin under which the outside world
    /// reaches webhooks, without a trailing slash.
    pub fn new(store: Arc<Store>, bridge: Bridge, webhook_url: &str) -> Self {
        Calls { store, bridge, webhook_url: webhook_url.into() }
    }

    /// The origin under which the outside world reaches webhooks, without a trailing slash.
    pub fn webhook_url(&self) -> &str {
        &self.webhook_url
    }

    /// What calls are made through.
    pub fn bridge(&self) -> &Bridge {
        &self.bridge
    }

    /// What is called is kept here.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }
}
