//! `duologue import`: puts an export into a Duologue.
//!
//! Called by the command line. Reads the export line by line, sends it in requests of bounded size,
//! and waits for each to be durable before the next. What the server has already, it skips; so an
//! import that was interrupted is simply run again. Ids and instants stay as they were.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use duologue_client::{Client, IMPORT_BATCH, ImportRecord, Imported};
use duologue_model::id::{BotId, UserId};
use duologue_transcript::jsonl::{Reader, Record};
use serde::Deserialize;

use crate::export::{
    Error,
    progress::{Progress, counted},
    server::Server,
    stop::Stop,
};

/// What a request's records may come to, in bytes: the API takes 1 MB.
const BATCH_BYTES: usize = 850_000;
/// The longest line that is read. The server takes nothing near it.
const LONGEST_LINE: usize = 256 << 20;

/// Put an export (a .jsonl file) into a Duologue.
///
/// Conversations, users and messages keep their ids and instants. What the server has already stays
/// as it is: an import that was interrupted is simply run again. Nothing is delivered to anybody.
///
/// The bot's own messages become those of the bot that --bot-id names.
///
/// Examples:
///
///   duologue import all.jsonl --api-url http://127.0.0.1:3000 --bot-id …
///
///   Out of one server and into another, without a file between them:
///     duologue export … | duologue import - --api-url http://127.0.0.1:3000 --bot-id …
#[derive(Clone, Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The export. `-` is standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Only read and check the export, and count what is in it.
    #[arg(long)]
    dry_run: bool,

    /// The bot's id in the export, for exports whose first line doesn't say it.
    #[arg(long, value_name = "ID")]
    source_bot_id: Option<String>,

    /// Show no progress and no closing line.
    #[arg(short, long)]
    quiet: bool,

    #[command(flatten)]
    server: Server,
}

/// Runs the command. Progress goes to standard error.
///
/// Errors: any [`Error`]; its [`exit_code`](Error::exit_code) is for the process.
pub async fn run(args: Args) -> Result<(), Error> {
    let mut stop = Stop::listen();
    let mut lines = Lines::open(&args.file)?;
    let client = if args.dry_run { None } else { Some(target(&args.server).await?) };
    let mut progress = Progress::new("imported", args.quiet, lines.length);
    let rename = Rename::new(args.source_bot_id.clone().or(lines.bot()?), args.server.bot_id());
    let mut batch = Batch::default();
    let mut imported = Imported::default();
    loop {
        if stop.requested() {
            progress.clear();
            return Err(stopped(&progress));
        }
        let record = lines.next()?;
        let ended = record.is_none();
        for record in record.into_iter().flat_map(|record| pieces(rename.apply(record))) {
            if batch.is_full_for(record.bytes) {
                send(&client, &mut batch, &lines, &mut stop, &mut imported, &mut progress).await?;
            }
            batch.add(record, lines.line());
        }
        if ended {
            break;
        }
    }
    send(&client, &mut batch, &lines, &mut stop, &mut imported, &mut progress).await?;
    lines.reader.finish().map_err(|source| Error::Line { file: lines.name.clone(), source })?;
    match client {
        None => progress.say(&format!("{}: {}", lines.name, counted(progress.conversations, progress.messages))),
        Some(_) => progress.say(&format!(
            "imported {} from {}: {} new, {} there already",
            progress.summary(),
            lines.name,
            imported.created,
            imported.skipped
        )),
    }
    Ok(())
}

/// A client for a server that has the operation.
async fn target(server: &Server) -> Result<Client, Error> {
    if !server.is_duologue().await? {
        return Err(Error::Usage(
            "--api-url (BP_API_URL) isn't the address of a Duologue: only a Duologue can import an export".to_owned(),
        ));
    }
    if server.bot_id().is_none() {
        return Err(Error::Usage("into which bot? Give --bot-id (BP_BOT_ID)".to_owned()));
    }
    server.client()
}

fn stopped(progress: &Progress) -> Error {
    Error::Interrupted(format!(
        "Stopped after {}. Run the same command again: what is in stays.",
        counted(progress.conversations, progress.messages)
    ))
}

/// Sends what was collected. A request that is under way is waited for.
async fn send(
    client: &Option<Client>,
    batch: &mut Batch,
    lines: &Lines,
    stop: &mut Stop,
    imported: &mut Imported,
    progress: &mut Progress,
) -> Result<(), Error> {
    let Batch { records, first, last, conversations, messages, .. } = std::mem::take(batch);
    if let Some(client) = client
        && !records.is_empty()
    {
        let Some(answer) = stop.or(client.import_records(&records)).await else { return Err(stopped(progress)) };
        let answer = answer.map_err(|source| match source {
            source @ duologue_client::Error::Api(_) => {
                Error::Refused { file: lines.name.clone(), first, last, source: Box::new(source) }
            }
            other => other.into(),
        })?;
        imported.created += answer.created;
        imported.skipped += answer.skipped;
    }
    progress.conversations += conversations;
    progress.messages += messages;
    progress.tick(lines.bytes);
    Ok(())
}

/// A record for a request.
struct Piece {
    record: ImportRecord,
    bytes: usize,
    /// It repeats the conversation before it, with more users.
    continued: bool,
}

/// A request in the making, and the lines it is from.
#[derive(Default)]
struct Batch {
    records: Vec<ImportRecord>,
    bytes: usize,
    conversations: u64,
    messages: u64,
    first: u64,
    last: u64,
}

impl Batch {
    fn is_full_for(&self, more: usize) -> bool {
        !self.records.is_empty() && (self.records.len() >= IMPORT_BATCH || self.bytes + more > BATCH_BYTES)
    }

    fn add(&mut self, piece: Piece, line: u64) {
        if self.records.is_empty() {
            self.first = line;
        }
        self.last = line;
        self.bytes += piece.bytes;
        match piece.record {
            ImportRecord::Conversation { .. } => self.conversations += u64::from(!piece.continued),
            ImportRecord::Message { .. } => self.messages += 1,
        }
        self.records.push(piece.record);
    }
}

/// A record as requests take it: a conversation with very many users is sent as several records,
/// each with some of them.
fn pieces(record: Record) -> Vec<Piece> {
    match record {
        Record::Message(message) => {
            let record = ImportRecord::Message { message };
            vec![Piece { bytes: size(&record), record, continued: false }]
        }
        Record::Conversation { conversation, users } => {
            let mut groups = vec![Vec::new()];
            let mut bytes = 0;
            for user in users {
                let more = size(&user);
                if bytes > 0 && bytes + more > BATCH_BYTES / 2 {
                    groups.push(Vec::new());
                    bytes = 0;
                }
                bytes += more;
                if let Some(group) = groups.last_mut() {
                    group.push(user);
                }
            }
            let piece = |(at, users)| {
                let record = ImportRecord::Conversation { conversation: conversation.clone(), users };
                Piece { bytes: size(&record), record, continued: at > 0 }
            };
            groups.into_iter().enumerate().map(piece).collect()
        }
    }
}

/// Bytes of the JSON form, counted without making it.
fn size(value: &impl serde::Serialize) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0 += text.len();
            Ok(text.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // What has no JSON form was never read.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

/// Puts one bot in another's place.
struct Rename(Option<(UserId, UserId)>);

impl Rename {
    fn new(from: Option<String>, to: Option<&str>) -> Self {
        Rename(
            from.zip(to)
                .filter(|(from, to)| from != to)
                .map(|(from, to)| (BotId::from(from).as_user(), BotId::from(to).as_user())),
        )
    }

    fn apply(&self, mut record: Record) -> Record {
        let Some((from, to)) = &self.0 else { return record };
        match &mut record {
            Record::Message(message) if message.user_id == *from => message.user_id = to.clone(),
            Record::Conversation { users, .. } => {
                users.iter_mut().filter(|user| user.id == *from).for_each(|user| user.id = to.clone());
            }
            Record::Message(_) => {}
        }
        record
    }
}

/// An export, line by line.
struct Lines {
    input: Box<dyn BufRead>,
    name: String,
    reader: Reader,
    /// Of the file in bytes, if it is one.
    length: Option<u64>,
    /// Read so far.
    bytes: u64,
    /// The line that was read ahead to look at.
    ahead: Option<Vec<u8>>,
    buffer: Vec<u8>,
}

impl Lines {
    fn open(path: &Path) -> Result<Self, Error> {
        let (input, length): (Box<dyn BufRead>, _) = if path.as_os_str() == "-" {
            (Box::new(io::stdin().lock()), None)
        } else {
            let file = File::open(path).map_err(Error::file("can't read", path))?;
            let length = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len());
            (Box::new(BufReader::with_capacity(256 << 10, file)), length)
        };
        let name = if path.as_os_str() == "-" { "standard input".to_owned() } else { path.display().to_string() };
        Ok(Lines { input, name, reader: Reader::new(), length, bytes: 0, ahead: None, buffer: Vec::new() })
    }

    /// The number of the line read last, from 1.
    fn line(&self) -> u64 {
        self.reader.lines()
    }

    /// The bot that the header names.
    fn bot(&mut self) -> Result<Option<String>, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Header {
            bot_id: Option<String>,
        }
        if !self.read()? {
            return Ok(None);
        }
        let line = self.buffer.clone();
        let text = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line);
        let bot = serde_json::from_slice::<Header>(text).ok().and_then(|header| header.bot_id);
        self.ahead = Some(line);
        Ok(bot)
    }

    /// The next record; `None` at the end.
    fn next(&mut self) -> Result<Option<Record>, Error> {
        loop {
            let found = match self.ahead.take() {
                Some(line) => self.reader.line(&line),
                None if self.read()? => self.reader.line(&self.buffer),
                None => return Ok(None),
            };
            if let Some(record) = found.map_err(|source| Error::Line { file: self.name.clone(), source })? {
                return Ok(Some(record));
            }
        }
    }

    /// Reads a line into the buffer; says whether there was one.
    fn read(&mut self) -> Result<bool, Error> {
        self.buffer.clear();
        let limit = LONGEST_LINE as u64 + 1;
        let read = io::Read::take(&mut self.input, limit)
            .read_until(b'\n', &mut self.buffer)
            .map_err(Error::file("can't read", Path::new(&self.name)))?;
        if read > LONGEST_LINE {
            return Err(Error::Usage(format!("{}: line {} is too long for an export", self.name, self.line() + 1)));
        }
        self.bytes += read as u64;
        Ok(read > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation(users: usize, picture: usize) -> Record {
        let at = "2026-01-31T00:00:00.000Z";
        let users: Vec<_> = (0..users)
            .map(|n| {
                serde_json::json!({"id": format!("user_{n}"), "createdAt": at, "updatedAt": at, "tags": {}, "pictureUrl": "x".repeat(picture)})
            })
            .collect();
        let mut reader = Reader::new();
        reader.line(br#"{"duologue":"export","version":1}"#).unwrap();
        let line = serde_json::json!({"conversation": {"id": "conv_1", "createdAt": at, "updatedAt": at, "channel": "c", "integration": "", "tags": {}}, "users": users});
        reader.line(line.to_string().as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn a_conversation_with_many_users_is_sent_in_pieces_that_fit() {
        let all = pieces(conversation(100, 40_000));
        assert!(all.len() > 5);
        assert!(all.iter().all(|piece| piece.bytes < BATCH_BYTES));
        assert_eq!(all.iter().filter(|piece| !piece.continued).count(), 1);
        let users: usize = all
            .iter()
            .map(|piece| match &piece.record {
                ImportRecord::Conversation { users, .. } => users.len(),
                ImportRecord::Message { .. } => 0,
            })
            .sum();
        assert_eq!(users, 100);
        assert_eq!(pieces(conversation(0, 0)).len(), 1);
    }

    #[test]
    fn only_the_bot_is_renamed() {
        let rename = Rename::new(Some("user_1".to_owned()), Some("bot_2"));
        let Record::Conversation { users, .. } = rename.apply(conversation(3, 0)) else { panic!() };
        let ids: Vec<&str> = users.iter().map(|user| user.id.as_str()).collect();
        assert_eq!(ids, ["user_0", "bot_2", "user_2"]);
        assert!(Rename::new(Some("bot_1".to_owned()), Some("bot_1")).0.is_none());
        assert!(Rename::new(None, Some("bot_1")).0.is_none());
    }

    #[test]
    fn the_header_is_looked_at_and_still_checked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        std::fs::write(&path, "\u{feff}{\"duologue\":\"export\",\"version\":1,\"botId\":\"bot_1\"}\nnonsense\n")
            .unwrap();
        let mut lines = Lines::open(&path).unwrap();
        assert_eq!(lines.bot().unwrap().as_deref(), Some("bot_1"));
        let error = lines.next().unwrap_err().to_string();
        assert!(error.contains("a.jsonl: line 2"), "{error}");

        std::fs::write(&path, "{\"version\":7}\n").unwrap();
        let mut lines = Lines::open(&path).unwrap();
        assert_eq!(lines.bot().unwrap(), None);
        assert!(lines.next().is_err());
    }
}
