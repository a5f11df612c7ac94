//! What an export reads from.

use duologue_model::{Conversation, Message, User};

use super::Error;

/// A conversation that was opened for reading.
#[derive(Debug)]
pub(crate) struct Entry {
    pub conversation: Conversation,
    /// Its participants, in any order.
    pub users: Vec<User>,
}

/// Gives conversations in the order of [`Position`](super::filter::Position), each followed by its
/// messages, oldest first.
pub(crate) trait Source {
    /// The next conversation that is still there; `None` after the last. Messages of the one before
    /// that weren't taken are skipped.
    async fn next(&mut self) -> Result<Option<Entry>, Error>;

    /// The next messages of that conversation; none after the last.
    async fn messages(&mut self) -> Result<Vec<Message>, Error>;

    /// The next conversation without opening it. A source is read either with this or with
    /// [`Source::next`].
    async fn peek(&mut self) -> Result<Option<Conversation>, Error>;
}
