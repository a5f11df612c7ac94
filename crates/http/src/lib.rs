//! The dialects over HTTP. Thin: a handler parses, calls one operation of the store, renders.
//!
//! # How a request is served
//!
//! [`dispatch`] takes it through the same steps whatever it asks for, in the order in which the
//! dialect's errors take precedence (`spec/cloud/errors.md` § 2): route, media type, token,
//! identity headers, rights, rate, size, shape. Then the route's handler gets a [`Call`].
//!
//! Below `/api/v1` another dialect is spoken, with steps and errors of its own: `converse`. Requests of
//! the outside world to integrations are passed on by `webhooks`.
//!
//! # How to add an operation
//!
//! Add a function and a line in `ROUTES` of the file named after its URL
//! (`/v1/chat/conversations` is `runtime/conversations.rs`), and its description in `spec/`. It is
//! then authenticated, limited, counted and described like all others.
//!
//! This crate holds no rule of the domain and no SQL.

#[macro_use]
mod route;
mod admin;
mod body;
mod bounds;
mod call;
mod converse;
mod cors;
mod dispatch;
mod envelope;
mod metrics;
mod openapi;
mod query;
mod rate;
mod runtime;
mod secure;
mod system;
mod webhooks;

use std::{net::SocketAddr, sync::Arc};

pub use converse::{Listeners, Throttle};
use duologue_bots::Bots;
use duologue_calls::Calls;
use duologue_outbound::Client;
use duologue_store::Store;
pub use metrics::{Family, Metrics};
pub use rate::RateLimit;

/// Bounds on what requests may ask for. All are configurable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in the body of a request of the runtime API.
    pub body_bytes: usize,
    /// Bytes in the body of a request of the admin API, which carries code.
    pub admin_body_bytes: usize,
    /// Bytes in the payload of a message, an event or a state.
    pub payload_bytes: usize,
    /// Bytes in the body of a request to a webhook.
    pub webhook_body_bytes: usize,
    /// How deep objects and arrays in a body may nest.
    pub json_depth: usize,
    /// Seconds a client may take to send a body.
    pub body_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            body_bytes: 8 * 1024 * 1024,
            admin_body_bytes: 100 * 1024 * 1024,
            payload_bytes: 128 * 1024,
            webhook_body_bytes: 100 * 1024 * 1024,
            json_depth: 64,
            body_seconds: 30,
        }
    }
}

/// What the server is made of, shared by all requests.
pub struct App {
    /// The data.
    pub store: Arc<Store>,
    /// Bounds on requests.
    pub limits: Limits,
    /// Requests a token may make; none if off.
    pub rate: RateLimit,
    /// Counters.
    pub metrics: Metrics,
    /// Origin under which the outside reaches this server, without a trailing slash.
    pub public_url: String,
    /// Calls of the code of bots and integrations.
    pub calls: Calls,
    /// The v12 bots, if any are served.
    pub bots: Option<Bots>,
    /// What one address may ask of them.
    pub throttle: Throttle,
    /// Those who listen to them.
    pub listeners: Listeners,
    /// What webhooks are sent with: knows which URLs may be reached.
    pub webhooks: Client,
}

/// Where a connection comes from, as an extension of its requests.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// The routes of all dialects over one store.
pub fn router(app: Arc<App>) -> axum::Router {
    dispatch::router(app)
}
