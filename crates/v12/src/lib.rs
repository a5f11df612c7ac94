//! A Botpress v12 installation, and the rules of its API, as plain values and functions.

pub mod answer;
pub mod auth;
pub mod body;
pub mod converse;
mod form;
pub mod json;

pub use answer::{Answer, ApiError};

/// Why something can't be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system has no randomness or memory for a hash.
    #[error("cannot hash: {0}")]
    Hash(String),
}
