//! The v12 dialog engine as pure code.
//!
//! A [`Bot`] is loaded once from the files of its folder. A [`Turn`] takes an event and a [`Memory`] and gives
//! replies, the memory to store, follow-ups and a [`Trace`]. Effects go through a [`Host`]; given the same
//! answers of the host, a turn does the same, which is how [`Replay`] does a recorded turn again.
//!
//! This crate does no I/O, starts no thread and reads no clock. It knows nothing of servers or of the script
//! engine; the crate that serves bots implements [`Host`] over them. The behaviour is that of `spec/v12`;
//! deliberate differences are listed in [`turn`] and [`template`].

pub mod actions;
pub mod bot;
pub mod condition;
pub mod duration;
pub mod host;
pub mod js;
pub mod memory;
pub mod nlu;
pub mod replay;
pub mod scan;
pub mod skills;
pub mod template;
pub mod testing;
pub mod trace;
pub mod turn;
pub mod value;

pub use bot::{
    Bot, Files, Hook,
    globals::{Globals, Settings},
    report::{Finding, Report},
};
pub use host::{Host, Sdk};
pub use memory::{Change, Memory, diff};
pub use replay::Replay;
pub use trace::Trace;
pub use turn::{FollowUps, Incoming, KvsWrite, Outcome, Reply, Turn, UserWrite};
pub use value::{Object, Text, Value};
