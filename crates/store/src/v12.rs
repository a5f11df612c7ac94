//! Bots that were made for Botpress v12.
//!
//! Their conversations, users and messages are rows like those of all bots; what only they have is
//! here: [`accounts`] of those who log in.
//!
//! Called by the crate that runs these bots and by the Converse dialect. What memories and traces mean
//! is the dialog engine's business: here they are JSON.

pub mod accounts;
