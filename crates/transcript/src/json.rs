//! The `json` format: one document with everything the API shows,
//! `{"conversations":[{"conversation":…,"users":[…],"messages":[…]}]}`, one message a line.

use duologue_model::{Conversation, User};

use crate::{
    Error,
    cast::Cast,
    render::{Line, Put, Renderer},
};

#[derive(Default)]
pub(crate) struct JsonDocument {
    messages: u64,
}

impl Renderer for JsonDocument {
    fn shows_picks(&self) -> bool {
        false
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        out.put("{\"conversations\":[");
    }

    fn conversation(
        &mut self,
        conversation: &Conversation,
        users: &[&User],
        _: &Cast,
        first: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        self.messages = 0;
        out.put(if first { "\n{\"conversation\":" } else { ",\n{\"conversation\":" });
        serde_json::to_writer(&mut *out, conversation)?;
        out.put(",\"users\":");
        serde_json::to_writer(&mut *out, users)?;
        out.put(",\"messages\":[");
        Ok(())
    }

    fn message(&mut self, line: &Line<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        out.put(if self.messages == 0 { "\n" } else { ",\n" });
        self.messages += 1;
        Ok(serde_json::to_writer(&mut *out, line.message)?)
    }

    fn end_conversation(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        out.put(if self.messages == 0 { "]}" } else { "\n]}" });
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        out.put("\n]}\n");
    }
}
