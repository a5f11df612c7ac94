//! JSON Lines: the lossless interchange form, written by an export and read by an import.
//!
//! ```text
//! {"duologue":"export","version":1,"botId":"…"}
//! {"conversation":{…},"users":[{…},…]}
//! {"message":{…}}
//! {"message":{…}}
//! {"conversation":{…},"users":[]}
//! ```
//!
//! A header, then each conversation followed by its messages, oldest first. Users are the
//! conversation's participants by creation, then id. Entities have the shape the API shows
//! (`spec/cloud/runtime.md` §§ 4–6); payloads keep their text byte by byte, except that line breaks
//! between tokens are dropped, as a record is a line. Reading a file and writing what was read gives
//! the same bytes.

use duologue_model::{
    Conversation, Message, User,
    id::{BotId, ConversationId},
};
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    cast::Cast,
    render::{Line, Put, Renderer},
};

/// The version of the form that is written, and the only one read.
pub const VERSION: u64 = 1;

/// What a line after the header holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A conversation begins.
    Conversation {
        /// The conversation.
        conversation: Conversation,
        /// Its participants.
        users: Vec<User>,
    },
    /// The next message of the conversation that began last.
    Message(Message),
}

/// Appends the header line. It names the bot, so that an import can put another in its place.
pub fn write_header(bot: Option<&BotId>, out: &mut Vec<u8>) {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Header<'a> {
        duologue: &'static str,
        version: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        bot_id: Option<&'a BotId>,
    }
    // Neither texts nor a Vec refuse to be written.
    let _ = serde_json::to_writer(&mut *out, &Header { duologue: "export", version: VERSION, bot_id: bot });
    out.put("\n");
}

/// Appends a conversation's line. Puts the users in order.
pub fn write_conversation(conversation: &Conversation, users: &[User], out: &mut Vec<u8>) -> Result<(), Error> {
    write_ordered(conversation, &in_order(users), out)
}

/// Appends a message's line.
pub fn write_message(message: &Message, out: &mut Vec<u8>) -> Result<(), Error> {
    let start = out.len();
    out.put("{\"message\":");
    serde_json::to_writer(&mut *out, message)?;
    end_line(start, out);
    Ok(())
}

/// Appends a record's line.
pub fn write(record: &Record, out: &mut Vec<u8>) -> Result<(), Error> {
    match record {
        Record::Conversation { conversation, users } => write_conversation(conversation, users, out),
        Record::Message(message) => write_message(message, out),
    }
}

/// The users by creation, then id.
pub(crate) fn in_order(users: &[User]) -> Vec<&User> {
    let mut users: Vec<&User> = users.iter().collect();
    users.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
    users
}

fn write_ordered(conversation: &Conversation, users: &[&User], out: &mut Vec<u8>) -> Result<(), Error> {
    #[derive(Serialize)]
    struct Entry<'a> {
        conversation: &'a Conversation,
        users: &'a [&'a User],
    }
    let start = out.len();
    serde_json::to_writer(&mut *out, &Entry { conversation, users })?;
    // Its last brace comes back with the line's end.
    out.pop();
    end_line(start, out);
    Ok(())
}

/// Closes the object that began at `start`, makes it one line, ends the line.
fn end_line(start: usize, out: &mut Vec<u8>) {
    // JSON strings hold no raw line breaks, so any there are separate tokens and mean nothing.
    if out[start..].contains(&b'\n') || out[start..].contains(&b'\r') {
        let mut kept = start;
        for at in start..out.len() {
            if !matches!(out[at], b'\n' | b'\r') {
                out[kept] = out[at];
                kept += 1;
            }
        }
        out.truncate(kept);
    }
    out.put("}\n");
}

/// The `jsonl` format.
pub(crate) struct JsonLines {
    pub bot: Option<BotId>,
}

impl Renderer for JsonLines {
    fn shows_picks(&self) -> bool {
        false
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        write_header(self.bot.as_ref(), out);
    }

    fn conversation(
        &mut self,
        conversation: &Conversation,
        users: &[&User],
        _: &Cast,
        _: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        write_ordered(conversation, users, out)
    }

    fn message(&mut self, line: &Line<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        write_message(line.message, out)
    }
}

/// Why a line can't be read. Every message names the line, counted from 1.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ReadError {
    /// The line, counted from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What can be wrong with a line.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// The first line is something else.
    #[error(r#"a Duologue export begins with the line {{"duologue":"export","version":1}}"#)]
    NoHeader,
    /// Written by a newer version.
    #[error("this export has version {0}, this program reads version {VERSION}: use a newer program")]
    Version(u64),
    /// A second header: exports were joined.
    #[error("a second header; import joined exports one by one")]
    SecondHeader,
    /// Neither a conversation nor a message.
    #[error(r#"expected either "conversation" with "users" or "message""#)]
    Neither,
    /// A message before any conversation.
    #[error("message {0} comes before any conversation")]
    Orphan(String),
    /// A message among another conversation's.
    #[error("message {message} belongs to conversation {its}, but stands among the messages of {current}")]
    Misplaced {
        /// The message.
        message: String,
        /// The conversation it names.
        its: String,
        /// The conversation that began last.
        current: String,
    },
    /// The line ends too early, as after a broken download.
    #[error("the line ends in the middle of a record; was the file cut off?")]
    CutOff,
    /// Not JSON, or an entity that lacks something.
    #[error("column {column}: {message}")]
    Malformed {
        /// Counted in bytes from 1.
        column: usize,
        /// What the parser says.
        message: String,
    },
}

/// Reads an export line by line. The caller does the I/O:
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use duologue_transcript::jsonl::{Reader, Record};
/// let export = "{\"duologue\":\"export\",\"version\":1}\n";
/// let mut reader = Reader::new();
/// for line in export.split('\n') {
///     match reader.line(line.as_bytes())? {
///         Some(Record::Conversation { conversation, users }) => { /* keep them */ }
///         Some(Record::Message(message)) => { /* keep it */ }
///         None => {} // the header, or a blank line
///     }
/// }
/// reader.finish()?;
/// # Ok(()) }
/// ```
#[derive(Debug, Default)]
pub struct Reader {
    line: u64,
    header_seen: bool,
    current: Option<ConversationId>,
}

/// Any line. A struct of options, not an untagged enum, so that payloads keep their text and errors
/// say what is wrong.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnyLine {
    duologue: Option<String>,
    version: Option<u64>,
    conversation: Option<Conversation>,
    users: Option<Vec<User>>,
    message: Option<Message>,
}

impl Reader {
    /// A reader before the first line.
    pub fn new() -> Self {
        Reader::default()
    }

    /// How many lines were read.
    pub fn lines(&self) -> u64 {
        self.line
    }

    /// Reads the next line, with or without its line end. `None` for the header and for blank
    /// lines. After an error the reader may go on with the next line.
    pub fn line(&mut self, line: &[u8]) -> Result<Option<Record>, ReadError> {
        self.line += 1;
        let line = if self.line == 1 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
        let line = line.trim_ascii();
        if line.is_empty() {
            return Ok(None);
        }
        self.parse(line).map_err(|reason| ReadError { line: self.line, reason })
    }

    /// Checks that there was a header: an empty file is no export.
    pub fn finish(&self) -> Result<(), ReadError> {
        if self.header_seen { Ok(()) } else { Err(ReadError { line: self.line.max(1), reason: Reason::NoHeader }) }
    }

    fn parse(&mut self, line: &[u8]) -> Result<Option<Record>, Reason> {
        if !self.header_seen {
            return self.header(line).map(|()| None);
        }
        let any: AnyLine = serde_json::from_slice(line).map_err(Reason::from)?;
        match any {
            AnyLine { duologue: Some(_), .. } => Err(Reason::SecondHeader),
            AnyLine { conversation: Some(conversation), users: Some(users), message: None, version: None, .. } => {
                self.current = Some(conversation.id.clone());
                Ok(Some(Record::Conversation { conversation, users }))
            }
            AnyLine { message: Some(message), conversation: None, users: None, version: None, .. } => {
                self.check_place(&message)?;
                Ok(Some(Record::Message(message)))
            }
            _ => Err(Reason::Neither),
        }
    }

    /// The header may say more than this version knows, so that a newer one can say so.
    fn header(&mut self, line: &[u8]) -> Result<(), Reason> {
        #[derive(Deserialize)]
        struct Header {
            duologue: String,
            version: u64,
        }
        let header: Header = serde_json::from_slice(line).map_err(|_| Reason::NoHeader)?;
        if header.duologue != "export" {
            return Err(Reason::NoHeader);
        }
        if header.version != VERSION {
            return Err(Reason::Version(header.version));
        }
        self.header_seen = true;
        Ok(())
    }

    fn check_place(&self, message: &Message) -> Result<(), Reason> {
        match &self.current {
            None => Err(Reason::Orphan(message.id.to_string())),
            Some(current) if *current != message.conversation_id => Err(Reason::Misplaced {
                message: message.id.to_string(),
                its: message.conversation_id.to_string(),
                current: current.to_string(),
            }),
            Some(_) => Ok(()),
        }
    }
}

impl From<serde_json::Error> for Reason {
    fn from(error: serde_json::Error) -> Self {
        if error.is_eof() {
            return Reason::CutOff;
        }
        // The parser counts lines within the line; its column is all that helps.
        let text = error.to_string();
        let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
        Reason::Malformed { column: error.column(), message: message.to_owned() }
    }
}
