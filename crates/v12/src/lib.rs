//! What a Botpress v12 server left, and the rules of its API, as plain values and functions.
//!
//! Two halves:
//!
//! * **Reading an installation.** [`source`] brings files from a folder or an archive, within bounds;
//!   [`installation`] recognises what they are, and gives each bot its files and its [`bot::Settings`],
//!   with a [`report`] on every file. [`config`], [`workspaces`] and [`database`] read the formats.
//! * **Speaking as the original did.** [`body`] and [`json`] parse requests, [`converse`] checks them,
//!   [`answer`] words refusals, [`restrict`] says who may call, [`auth`] decides who is who.
//!
//! Called by whatever runs bots and whatever serves HTTP. Nothing here listens, fetches, runs a bot
//! or writes a file; the only reads are those of [`source::Source::open`] and [`database`]. What flows
//! and content mean is the dialog engine's business: here they are bytes.

pub mod answer;
pub mod auth;
pub mod body;
pub mod bot;
pub mod config;
pub mod converse;
pub mod database;
mod form;
pub mod installation;
pub mod json;
mod migrate;
pub mod report;
pub mod restrict;
pub mod source;
pub mod units;
pub mod workspaces;

pub use answer::{Answer, ApiError};

/// Why something can't be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system has no randomness or memory for a hash.
    #[error("cannot hash: {0}")]
    Hash(String),
    /// A file or folder can't be read.
    #[error("cannot read {}: {failed}", path.display())]
    Read {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        failed: std::io::Error,
    },
    /// It holds neither one bot nor a server's data.
    #[error("this is no bot and no data folder of Botpress v12: {0}")]
    NotAnInstallation(String),
    /// An archive is of an unknown kind, or broken.
    #[error("the archive can't be read: {0}")]
    Archive(String),
    /// A path in an archive leads out of it.
    #[error("the archive is refused: the path \"{0}\" leads out of it")]
    UnsafePath(String),
    /// The original's database can't be read.
    #[error("the database can't be read: {0}")]
    Database(#[from] rusqlite::Error),
    /// More than the limits allow.
    #[error("too large: {0}")]
    TooLarge(String),
}
