//! Bots in Rust, for Duologue and for any server that speaks the Cloud dialect.
//!
//! A [`Definition`] says what a bot is made of: states, events, actions, tags, integrations. A [`Bot`]
//! says what it does: handlers for messages, events, expired states, workflows and actions, and hooks
//! around them. [`run`] makes a program of it, with `serve`, `deploy` and `dev`.
//!
//! ```no_run
//! use duologue_sdk::{Bot, Definition};
//!
//! #[tokio::main]
//! async fn main() -> std::process::ExitCode {
//!     let bot = Bot::new(Definition::new()).on_message("text", |ctx, message| async move {
//!         ctx.say(format!("You said: {}", message.text().unwrap_or_default())).await?;
//!         Ok(())
//!     });
//!     duologue_sdk::run(bot).await
//! }
//! ```
//!
//! `docs/sdk-rust.md` goes through it step by step, beside the same in TypeScript.
//!
//! # Where things are
//!
//! `definition`, `kinds` and `schema` are what a bot is made of; `bot` and `handler` how handlers are
//! added; `context`, `state`, `workflow` and `content` what handlers work with. `request`, `signature` and
//! `service` are the bridge protocol (`spec/cloud/bridge-protocol.md`) from the side of who is called;
//! `serve` is HTTP. `deploy`, `dev` and `run` are for the developer.
//!
//! The crate needs a Tokio runtime with I/O and time. It keeps nothing: what must last is in states.
//! It never logs what users say, and no tokens; the dev loop alone shows messages.

#![warn(missing_docs)]

mod bot;
mod content;
mod context;
mod definition;
mod deploy;
mod dev;
mod error;
mod handler;
mod kinds;
mod request;
mod run;
mod schema;
mod serve;
mod service;
mod signature;
mod state;
mod workflow;

pub use bot::{ActionAnswer, ActionCall, Bot};
pub use content::Content;
pub use context::{BotClient, Context, Incoming, now};
pub use definition::{Definition, Dependency};
pub use deploy::{Deployed, Deployment, RegistrationFailed, deploy};
pub use dev::{Dev, dev};
pub use duologue_client as client;
pub use duologue_client::{Client, Json};
pub use error::{Error, Failure, Result};
pub use handler::Handler;
pub use kinds::{BotAction, BotEvent, BotState, BotWorkflow, Scope};
pub use run::run;
pub use schema::schema_of;
pub use schemars::{self, JsonSchema};
pub use service::Service;
pub use state::{Expired, StateOf};
pub use workflow::Run;
