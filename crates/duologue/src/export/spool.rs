//! A conversation's messages on their way from "newest first" to "oldest first".
//!
//! Pages are kept as they come, in memory first and in a temporary file without a name when they
//! outgrow it, and are given back from the last to the first.

use std::io::{Read, Seek, SeekFrom, Write};

use duologue_model::Message;
use duologue_transcript::jsonl;
use serde::Deserialize;
use tempfile::SpooledTempFile;

use super::Error;

/// What a conversation may take in memory, in bytes; about 2,000 messages.
const MEMORY: usize = 1 << 20;

/// Pages of messages, written down newest first.
pub(crate) struct Spool {
    file: SpooledTempFile,
    /// The length of each page in bytes.
    pages: Vec<usize>,
    end: u64,
}

impl Spool {
    /// An empty spool.
    pub fn new() -> Self {
        Spool { file: SpooledTempFile::new(MEMORY), pages: Vec::new(), end: 0 }
    }

    /// Adds a page that holds messages older than all before. Its own order doesn't matter.
    pub fn push(&mut self, mut page: Vec<Message>) -> Result<(), Error> {
        page.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        let mut text = Vec::new();
        page.iter().try_for_each(|message| jsonl::write_message(message, &mut text))?;
        self.file.write_all(&text).map_err(Error::io("can't write a temporary file"))?;
        self.pages.push(text.len());
        self.end += text.len() as u64;
        Ok(())
    }

    /// Takes the oldest page, oldest message first; empty when there is none left.
    pub fn pop(&mut self) -> Result<Vec<Message>, Error> {
        #[derive(Deserialize)]
        struct Line {
            message: Message,
        }
        let Some(length) = self.pages.pop() else { return Ok(Vec::new()) };
        self.end -= length as u64;
        let mut text = vec![0; length];
        self.file
            .seek(SeekFrom::Start(self.end))
            .and_then(|_| self.file.read_exact(&mut text))
            .map_err(Error::io("can't read a temporary file"))?;
        text.split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice::<Line>(line).map(|line| line.message))
            .collect::<Result<_, _>>()
            .map_err(|e| Error::Transcript(e.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(n: usize, text: &str) -> Message {
        let at = duologue_model::Timestamp::from_millis(n as i64);
        serde_json::from_value(serde_json::json!({
            "id": format!("msg_{n:06}"), "createdAt": at, "updatedAt": at, "type": "text", "payload": {"text": text},
            "direction": "incoming", "userId": "user_1", "conversationId": "conv_1", "tags": {},
        }))
        .unwrap()
    }

    #[test]
    fn pages_come_back_oldest_first_from_memory_and_from_the_disk() {
        for text in ["short".to_owned(), "x".repeat(10_000)] {
            let all: Vec<Message> = (0..250).map(|n| message(n, &text)).collect();
            let mut spool = Spool::new();
            for page in all.rchunks(100) {
                spool.push(page.iter().rev().cloned().collect()).unwrap();
            }
            let mut back = Vec::new();
            loop {
                let page = spool.pop().unwrap();
                if page.is_empty() {
                    break;
                }
                back.extend(page);
            }
            assert!(back == all);
        }
    }
}
