//! Reading from a server, over its API.
//!
//! A Duologue gives a conversation as one stream, oldest message first. Other servers give pages,
//! newest first; their messages go through a [`Spool`]. A few conversations are opened ahead, so
//! that the way to the server and back is not waited for each time.

use std::time::Duration;

use duologue_client::{ByteStream, Client, StreamExt, TransportError, TryStreamExt};
use duologue_model::{
    Conversation, Message, Timestamp,
    id::{ConversationId, MessageId},
};
use duologue_transcript::jsonl::{Reader, Reason, Record};
use futures_util::stream::BoxStream;

use super::{
    Error,
    filter::{Filters, Position},
    listing::{self, PAGE},
    source::{Entry, Source},
    spool::Spool,
};

/// How often a broken stream is taken up again without anything new from it.
const REOPEN: u32 = 6;

/// Conversations of a server.
pub(crate) struct Api {
    way: Way,
    /// How many conversations are open at once.
    parallel: usize,
    listed: Option<BoxStream<'static, Result<Conversation, Error>>>,
    opened: Option<BoxStream<'static, Opened>>,
    current: Option<Messages>,
}

/// A conversation and the way to its messages; `None` if it is gone.
type Opened = Result<Option<(Entry, Messages)>, Error>;

/// How a conversation is read.
#[derive(Clone)]
struct Way {
    client: Client,
    streams: bool,
}

/// How a server is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// It is a Duologue.
    pub duologue: bool,
    /// How many conversations are open at once.
    pub parallel: usize,
    /// Read the whole list of conversations first.
    pub collect: bool,
}

enum Messages {
    Spooled(Spool),
    Streamed(Box<Streamed>),
}

impl Api {
    /// The conversations that match `filters` and come after `after`.
    pub fn new(client: Client, filters: &Filters, after: Option<Position>, manner: Manner) -> Self {
        Api {
            listed: Some(listing::conversations(&client, filters, after, manner.collect)),
            opened: None,
            current: None,
            parallel: manner.parallel.max(1),
            way: Way { client, streams: manner.duologue },
        }
    }
}

impl Source for Api {
    async fn next(&mut self) -> Result<Option<Entry>, Error> {
        self.current = None;
        if let Some(listed) = self.listed.take() {
            let way = self.way.clone();
            let open = move |listed: Result<Conversation, Error>| {
                let way = way.clone();
                async move { way.open(listed?).await }
            };
            self.opened = Some(listed.map(open).buffered(self.parallel).boxed());
        }
        let Some(opened) = &mut self.opened else { return Ok(None) };
        while let Some(found) = opened.try_next().await? {
            // A conversation may have been deleted since it was listed.
            if let Some((entry, messages)) = found {
                self.current = Some(messages);
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    async fn messages(&mut self) -> Result<Vec<Message>, Error> {
        match &mut self.current {
            Some(Messages::Spooled(spool)) => spool.pop(),
            Some(Messages::Streamed(streamed)) => streamed.messages().await,
            None => Ok(Vec::new()),
        }
    }

    async fn peek(&mut self) -> Result<Option<Conversation>, Error> {
        match &mut self.listed {
            Some(listed) => listed.try_next().await,
            None => Ok(None),
        }
    }
}

impl Way {
    async fn open(&self, conversation: Conversation) -> Opened {
        let opened = match self.streams {
            true => self.stream(conversation).await,
            false => self.pages(conversation).await,
        };
        match opened {
            Ok(opened) => Ok(Some(opened)),
            Err(Error::Api(error)) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn stream(&self, conversation: Conversation) -> Result<(Entry, Messages), Error> {
        let mut streamed = Box::new(Streamed::new(self.client.clone(), conversation.id));
        let entry = streamed.entry().await?;
        Ok((entry, Messages::Streamed(streamed)))
    }

    async fn pages(&self, conversation: Conversation) -> Result<(Entry, Messages), Error> {
        let users = self.client.list_participants(&conversation.id).page_size(PAGE).all().await?;
        let mut pages = self.client.list_messages().conversation(&conversation.id).page_size(PAGE).pages();
        let mut spool = Spool::new();
        // Where pages are counted from the newest message, a new one shifts them: the last of a page
        // comes again as the first of the next.
        let mut before: Vec<MessageId> = Vec::new();
        while let Some(mut page) = pages.try_next().await? {
            let ids = page.items.iter().map(|message| message.id.clone()).collect();
            page.items.retain(|message| !before.contains(&message.id));
            before = ids;
            spool.push(page.items)?;
        }
        Ok((Entry { conversation, users }, Messages::Spooled(spool)))
    }
}

/// A conversation that arrives as a stream of records. A stream that breaks is opened again, and
/// what was taken from it already is skipped.
struct Streamed {
    client: Client,
    id: ConversationId,
    lines: Option<Lines>,
    last: Option<(Timestamp, MessageId)>,
    failures: u32,
}

impl Streamed {
    fn new(client: Client, id: ConversationId) -> Self {
        Streamed { client, id, lines: None, last: None, failures: 0 }
    }

    /// The conversation itself, which is the first record.
    async fn entry(&mut self) -> Result<Entry, Error> {
        loop {
            let records = self.records().await?;
            match records.into_iter().next() {
                Some(Record::Conversation { conversation, users }) => return Ok(Entry { conversation, users }),
                Some(Record::Message(_)) => {}
                None => return Err(strange("the transcript is empty")),
            }
        }
    }

    /// The next messages; none at the end.
    async fn messages(&mut self) -> Result<Vec<Message>, Error> {
        loop {
            let records = self.records().await?;
            if records.is_empty() {
                return Ok(Vec::new());
            }
            let is_new = |message: &Message| {
                self.last.as_ref().is_none_or(|(at, id)| (*at, id) < (message.created_at, &message.id))
            };
            let messages: Vec<Message> = records
                .into_iter()
                .filter_map(|record| match record {
                    Record::Message(message) if is_new(&message) => Some(message),
                    _ => None,
                })
                .collect();
            if let Some(last) = messages.last() {
                self.last = Some((last.created_at, last.id.clone()));
                self.failures = 0;
                return Ok(messages);
            }
        }
    }

    /// The next records, from a new stream if need be; none at the end.
    async fn records(&mut self) -> Result<Vec<Record>, Error> {
        loop {
            let failure = match self.attempt().await {
                Ok(records) => return Ok(records),
                Err(failure) => failure,
            };
            self.lines = None;
            self.failures += 1;
            if self.failures > REOPEN || !may_pass(&failure) {
                return Err(failure);
            }
            tokio::time::sleep(Duration::from_millis(250 << self.failures)).await;
        }
    }

    async fn attempt(&mut self) -> Result<Vec<Record>, Error> {
        let lines = match &mut self.lines {
            Some(lines) => lines,
            None => {
                // Opening repeats by itself what is worth repeating.
                let bytes = self.client.transcript(&self.id, "jsonl").await?;
                self.lines.insert(Lines { bytes, reader: Reader::new(), rest: Vec::new(), first: None })
            }
        };
        lines.next(&self.id).await
    }
}

/// Cuts a stream of bytes into records.
struct Lines {
    bytes: ByteStream,
    reader: Reader,
    /// The beginning of a line whose end hasn't come.
    rest: Vec<u8>,
    /// Messages that came with the conversation's own record.
    first: Option<Vec<Record>>,
}

impl Lines {
    /// The records that came next; none at the end. The conversation's comes alone.
    async fn next(&mut self, id: &ConversationId) -> Result<Vec<Record>, Error> {
        if let Some(records) = self.first.take() {
            return Ok(records);
        }
        loop {
            let (mut records, ended) = match self.bytes.try_next().await? {
                Some(piece) => (self.cut(&piece, id)?, false),
                None => (self.end(id)?, true),
            };
            if matches!(records.first(), Some(Record::Conversation { .. })) && records.len() > 1 {
                self.first = Some(records.split_off(1));
            }
            if ended || !records.is_empty() {
                return Ok(records);
            }
        }
    }

    fn cut(&mut self, piece: &[u8], id: &ConversationId) -> Result<Vec<Record>, Error> {
        let mut records = Vec::new();
        let mut piece = piece;
        while let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
            let (line, after) = piece.split_at(end + 1);
            let record = if self.rest.is_empty() {
                self.reader.line(line)
            } else {
                self.rest.extend_from_slice(line);
                self.reader.line(&std::mem::take(&mut self.rest))
            };
            records.extend(record.map_err(|e| unreadable(id, e))?);
            piece = after;
        }
        self.rest.extend_from_slice(piece);
        Ok(records)
    }

    fn end(&mut self, id: &ConversationId) -> Result<Vec<Record>, Error> {
        let record = self.reader.line(&std::mem::take(&mut self.rest));
        let records = record.map_err(|e| unreadable(id, e))?.into_iter().collect();
        self.reader.finish().map_err(|e| unreadable(id, e))?;
        Ok(records)
    }
}

fn unreadable(id: &ConversationId, source: duologue_transcript::jsonl::ReadError) -> Error {
    Error::Line { file: format!("the transcript of {id}"), source }
}

fn strange(what: &str) -> Error {
    duologue_client::Error::from(TransportError::Interrupted(what.to_owned())).into()
}

/// Whether trying again may help.
fn may_pass(failure: &Error) -> bool {
    match failure {
        Error::Api(error) => matches!(**error, duologue_client::Error::Transport(_)),
        Error::Line { source, .. } => matches!(source.reason, Reason::CutOff | Reason::NoHeader),
        _ => false,
    }
}
