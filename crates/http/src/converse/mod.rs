//! The Converse dialect: `/api/v1/**`, as Botpress v12 spoke it (`spec/v12/converse-api.md`).
//!
//! Texts, bodies and rules of the dialect are in the crate `v12`; turns are run by the crate `bots`.
//! Here requests are taken apart and answers put together.

pub(crate) mod auth;
mod events;
mod restrict;
