//! The Rust client for the Cloud API: Duologue's, and that of any server that speaks the dialect.
//!
//! A [`Client`] has one function for each operation, named as the operation is
//! (`createMessage` is [`Client::create_message`]). Operations with many optional arguments take a
//! request such as [`CreateMessage`]; lists return a [`List`], which gives pages or items as a
//! stream. What has no function here can be called through [`Client::request`].
//!
//! ```no_run
//! use duologue_client::{Client, CreateMessage, TryStreamExt};
//! use serde_json::json;
//!
//! # async fn example() -> Result<(), duologue_client::Error> {
//! // BP_API_URL, BP_TOKEN, BP_BOT_ID, BP_INTEGRATION_ID, BP_WORKSPACE_ID
//! let client = Client::from_env()?;
//!
//! let mut conversations = client.list_conversations().channel("webchat").items();
//! while let Some(conversation) = conversations.try_next().await? {
//!     let message = CreateMessage::new(&conversation.id, "user_01J00000000000000000000000", "text", json!({"text": "Hello"}));
//!     client.create_message(message.tag("campaign", "spring")).await?;
//! }
//! # Ok(()) }
//! ```
//!
//! # Errors
//!
//! Every function returns [`Error`]. A refusal of the server carries the dialect's type:
//!
//! ```no_run
//! # use duologue_client::{Client, Error, ErrorKind, State, StateType};
//! # async fn example(client: Client) -> Result<(), Error> {
//! match client.get_state(StateType::User, "user_01J00000000000000000000000", "profile").await {
//!     Ok(state) => println!("{}", state.payload.text()),
//!     Err(e) if e.is_not_found() => println!("nothing kept yet"),
//!     Err(Error::Api(refusal)) if refusal.kind == ErrorKind::Forbidden => println!("{}", refusal.message),
//!     Err(e) => return Err(e),
//! }
//! # Ok(()) }
//! ```
//!
//! # Retries and rate limits
//!
//! Failed requests are repeated as [`RetryPolicy`] says: three times by default, POSTs only when
//! that can't apply them twice. With [`Builder::idempotency`], or
//! [`Client::with_idempotency_key`], POSTs are as repeatable as the rest on servers that honour the
//! `Idempotency-Key` header. When an answer says that nothing remains of the rate limit, all clones
//! of the client wait for its reset before they send again.
//!
//! # Where things are
//!
//! `request` builds calls and reads answers, `transport` sends them, `retry` decides about
//! repetitions; `runtime` and `admin` hold the operations, one file a noun. The crate needs a Tokio
//! runtime with I/O and time enabled. It never logs and never shows a token.

#![warn(missing_docs)]

mod body;
mod client;
mod error;
mod list;
mod request;
mod retry;
mod transport;

pub mod admin;
pub mod runtime;

pub use admin::*;
pub use client::{Builder, Client};
pub use duologue_model::{
    Conversation, Direction, ErrorKind, Event, EventStatus, Json, Message, Origin, State, StateType, Tags, Task,
    TaskStatus, Timestamp, User, Workflow, WorkflowStatus,
    admin::{Account, Key, Member, Role, Workspace},
    id,
};
pub use error::{ApiError, Error, TransportError};
pub use futures_util::{Stream, StreamExt, TryStreamExt};
pub use http::Method;
pub use list::{List, Page, Sort, filters};
pub use request::Request;
pub use retry::RetryPolicy;
pub use runtime::*;
pub use transport::ByteStream;

/// What an operation returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;
