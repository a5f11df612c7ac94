//! What every format implements. One file a format; `transcript.rs` drives them.

use duologue_model::{Conversation, Message, User};

use crate::{
    Error,
    cast::{Author, Cast},
};

/// A message on its way into a document.
pub(crate) struct Line<'a> {
    pub message: &'a Message,
    pub author: Author<'a>,
    /// The index of the picked option, when the message is a choice.
    pub picked: Option<usize>,
}

/// A format. Calls come in the order `begin`, any number of (`conversation`, any number of
/// `message`, `end_conversation`), `finish`.
pub(crate) trait Renderer: Send {
    /// Whether the format shows picked options, so that choices wait for their answers.
    fn shows_picks(&self) -> bool {
        true
    }

    fn begin(&mut self, _out: &mut Vec<u8>) {}

    /// `users` come in a fixed order: by creation, then by id.
    fn conversation(
        &mut self,
        conversation: &Conversation,
        users: &[&User],
        cast: &Cast,
        first: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Error>;

    fn message(&mut self, line: &Line<'_>, out: &mut Vec<u8>) -> Result<(), Error>;

    fn end_conversation(&mut self, _out: &mut Vec<u8>) -> Result<(), Error> {
        Ok(())
    }

    fn finish(&mut self, _out: &mut Vec<u8>) {}
}

/// Appends text.
pub(crate) trait Put {
    fn put(&mut self, text: &str);
}

impl Put for Vec<u8> {
    fn put(&mut self, text: &str) {
        self.extend_from_slice(text.as_bytes());
    }
}
