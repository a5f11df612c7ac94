//! Isolated JavaScript for what people write into v12 bots: conditions, actions, hooks and custom
//! content types (`spec/v12`: actions-skills.md 1–3, flows.md 6 and 13.1, content.md 6).
//!
//! ```text
//! Pool::run ──► queue (fair by owner, bounded) ──► slot: a thread and its worker process
//!     ▲                                                 │  frames over stdin and stdout
//!     └── host calls (`bp.*`, HTTP), answered here ◄────┘
//! ```
//!
//! * [`Pool`] is what the server holds. It starts workers by executing a command that ends in
//!   [`worker_main`]: the server's own binary with a hidden subcommand.
//! * A worker has no network, files, environment or rights; it only computes. Whatever a script
//!   wants of the outside is a host call that [`Calls`] answers in the parent.
//! * A script that overruns is stopped by QuickJS' interrupt; one that never reaches the interrupt
//!   is killed with its process, and the next run gets a new one.
//! * Every run of an action, hook or content type has an engine of its own, so nothing survives into the next.
//!   Conditions share a frozen context for each owner.
//!
//! What this crate never does: open a connection, read a bot's files, or know the dialog engine. The virtual
//! files of `require` come with the [`Run`].

mod error;
mod files;
mod link;
mod pool;
mod process;
mod queue;
mod run;
mod slot;
mod wire;
mod worker;

pub use error::{Class, PoolError, ScriptError};
pub use files::{Files, Resolved};
pub use pool::{Config, Pool, Stats};
pub use run::{Calls, Done, Kind, Level, Limits, Log, NoCalls, Run};
pub use worker::{provides, worker_main};
