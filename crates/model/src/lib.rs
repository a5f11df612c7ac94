//! The nouns of Duologue and their rules.
//!
//! Everything the dialects talk about lives here as plain data: ids, timestamps, tags,
//! conversations, messages, users, states, events, workflows, bots, workspaces, pages and the
//! one error every dialect's refusal is made of. The wire shapes (`serde`) are those of the
//! Cloud API (`spec/cloud/*.openapi.json`); the server renders them and the client reads them.
//!
//! Called by every other crate. Does no I/O, starts no thread, reads no clock: time and
//! randomness are passed in, except [`id::Generator::system`], which seeds itself once.

pub mod admin;
pub mod conversation;
pub mod cron;
pub mod error;
pub mod event;
pub mod id;
pub mod identity;
pub mod json;
pub mod message;
pub mod page;
pub mod state;
pub mod tags;
pub mod timestamp;
pub mod user;
pub mod workflow;

pub use conversation::Conversation;
pub use cron::Cron;
pub use error::{Error, ErrorKind};
pub use event::{Event, EventStatus};
pub use identity::{Identity, View};
pub use json::Json;
pub use message::{Direction, Message, Origin};
pub use page::{Meta, PageSize};
pub use state::{State, StateType};
pub use tags::Tags;
pub use timestamp::Timestamp;
pub use user::User;
pub use workflow::{Task, TaskStatus, Workflow, WorkflowStatus};
