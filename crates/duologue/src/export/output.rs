//! Where an export goes: standard output, one file, or a file a conversation.
//!
//! A conversation is written as a whole or not at all: what was begun of one that fails is taken
//! back (except on standard output, where nothing can be).

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use duologue_model::{Conversation, Message, id::BotId};
use duologue_transcript::{Format, Template, Transcript};

use super::{
    Error,
    source::Entry,
    state::{Done, sync_folder_of},
};

/// How much is collected before it is written.
const BUFFER: usize = 256 << 10;
/// Files that are written before they are all made durable.
const UNSYNCED: usize = 128;

/// What the document looks like.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    /// A built-in format, or the user's own.
    pub kind: Kind,
    /// The bot, whose messages are named so.
    pub bot: Option<BotId>,
    /// Heading, where the format has one.
    pub title: Option<String>,
}

/// See [`Look`].
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    BuiltIn(Format),
    Own(Box<Template>),
}

impl Look {
    /// A document, begun. `written` conversations of it were written by an earlier run.
    fn document(&self, written: u64, out: &mut Vec<u8>) -> Result<Transcript, Error> {
        let options = duologue_transcript::Options {
            bot: self.bot.clone(),
            title: self.title.clone(),
            ..duologue_transcript::Options::default()
        };
        let mut document = match &self.kind {
            Kind::BuiltIn(format) => Transcript::new(*format, options),
            Kind::Own(template) => Transcript::templated(Template::clone(template), options),
        };
        let mut unseen = Vec::new();
        document.begin(&mut unseen)?;
        if written == 0 {
            out.append(&mut unseen);
        }
        // A template counts the conversations; the others only tell the first from the rest.
        let unseen_conversations = if matches!(self.kind, Kind::Own(_)) { written } else { written.min(1) };
        for _ in 0..unseen_conversations {
            document.conversation(&nothing(), &[], &mut unseen)?;
            // A template may well fail on an empty conversation; here that doesn't matter.
            let _ = document.end_conversation(&mut unseen);
            unseen.clear();
        }
        Ok(document)
    }

    /// What ends a document after `written` conversations.
    fn closing(&self, written: u64) -> Result<Vec<u8>, Error> {
        let mut closing = Vec::new();
        match self.kind {
            Kind::BuiltIn(_) => self.document(written, &mut closing)?.finish(&mut closing)?,
            Kind::Own(_) => {}
        }
        Ok(closing)
    }
}

/// A conversation without anything.
fn nothing() -> Conversation {
    let at = duologue_model::Timestamp::from_millis(0);
    Conversation {
        id: "".into(),
        current_task_id: None,
        current_workflow_id: None,
        created_at: at,
        updated_at: at,
        channel: String::new(),
        integration: String::new(),
        tags: duologue_model::Tags::default(),
        message_count: 0,
        properties: None,
    }
}

/// An export's output.
pub(crate) enum Output {
    Stdout(Stream<io::Stdout>),
    File(Stream<File>),
    Folder(Box<Folder>),
}

impl Output {
    /// One document on standard output.
    pub fn stdout(look: Look) -> Result<Self, Error> {
        Stream::new(look, io::stdout(), "standard output".to_owned(), 0, 0).map(Output::Stdout)
    }

    /// One document in the file at `path`, from where `done` ends. What is after that is dropped.
    pub fn file(look: Look, path: &Path, done: &Done) -> Result<Self, Error> {
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(path)
            .map_err(Error::file("can't write", path))?;
        let length = file.metadata().map_err(Error::file("can't read", path))?.len();
        if length < done.bytes {
            return Err(Error::Usage(format!(
                "{} has {length} bytes, the export had {} already: it was changed meanwhile. Begin anew with --force",
                path.display(),
                done.bytes
            )));
        }
        file.set_len(done.bytes)
            .and_then(|()| file.seek(SeekFrom::Start(done.bytes)))
            .map_err(Error::file("can't write", path))?;
        Stream::new(look, file, path.display().to_string(), done.conversations, done.bytes).map(Output::File)
    }

    /// A document a conversation in the folder at `path`, named with `extension`.
    pub fn folder(look: Look, path: &Path, extension: &str) -> Result<Self, Error> {
        fs::create_dir_all(path).map_err(Error::file("can't make the folder", path))?;
        Ok(Output::Folder(Box::new(Folder {
            look,
            path: path.to_owned(),
            extension: extension.to_owned(),
            open: None,
            unsynced: Vec::new(),
        })))
    }

    /// Begins a conversation.
    pub fn begin(&mut self, entry: &Entry) -> Result<(), Error> {
        match self {
            Output::Stdout(stream) => stream.begin(entry),
            Output::File(stream) => stream.begin(entry),
            Output::Folder(folder) => folder.begin(entry),
        }
    }

    /// Adds its next messages.
    pub fn messages(&mut self, messages: &[Message]) -> Result<(), Error> {
        match self {
            Output::Stdout(stream) => stream.messages(messages),
            Output::File(stream) => stream.messages(messages),
            Output::Folder(folder) => folder.open.as_mut().map_or(Ok(()), |open| open.stream.messages(messages)),
        }
    }

    /// Ends it. The answer is where it ended: the output's length in bytes.
    pub fn end(&mut self) -> Result<u64, Error> {
        match self {
            Output::Stdout(stream) => stream.end(),
            Output::File(stream) => stream.end(),
            Output::Folder(folder) => folder.end().map(|()| 0),
        }
    }

    /// Makes what was written durable.
    pub fn sync(&mut self) -> Result<(), Error> {
        match self {
            Output::Stdout(stream) => stream.flush(),
            Output::File(stream) => {
                stream.flush()?;
                let (file, name) = (&stream.out, &stream.name);
                file.sync_data().map_err(Error::file("can't write", Path::new(name)))
            }
            Output::Folder(folder) => folder.sync(),
        }
    }

    /// Ends the output after its last conversation, durably.
    pub fn finish(mut self) -> Result<(), Error> {
        match &mut self {
            Output::Stdout(stream) => stream.finish()?,
            Output::File(stream) => stream.finish()?,
            Output::Folder(_) => {}
        }
        self.sync()
    }

    /// Takes back what was written after `done` and leaves a document that is complete in itself,
    /// durably; a later run can go on at `done`.
    pub fn suspend(mut self, done: &Done) -> Result<(), Error> {
        match &mut self {
            // What went out can't be taken back. It ends where it is, unless between conversations.
            Output::Stdout(stream) if stream.open => stream.flush(),
            Output::Stdout(stream) => stream.finish(),
            Output::File(stream) => {
                stream.roll_back(done.bytes)?;
                if done.conversations > 0 {
                    stream.buffer = stream.look.closing(done.conversations)?;
                }
                stream.flush()
            }
            Output::Folder(folder) => folder.abandon(),
        }?;
        self.sync()
    }
}

/// One document that is written from its beginning to its end.
pub(crate) struct Stream<W> {
    look: Look,
    document: Option<Transcript>,
    buffer: Vec<u8>,
    out: W,
    name: String,
    /// Bytes before the buffer.
    written: u64,
    open: bool,
}

impl<W: Write> Stream<W> {
    fn new(look: Look, out: W, name: String, conversations: u64, written: u64) -> Result<Self, Error> {
        let mut buffer = Vec::with_capacity(BUFFER * 5 / 4);
        let document = Some(look.document(conversations, &mut buffer)?);
        Ok(Stream { look, document, buffer, out, name, written, open: false })
    }

    fn begin(&mut self, entry: &Entry) -> Result<(), Error> {
        self.open = true;
        match &mut self.document {
            Some(document) => Ok(document.conversation(&entry.conversation, &entry.users, &mut self.buffer)?),
            None => Ok(()),
        }
    }

    fn messages(&mut self, messages: &[Message]) -> Result<(), Error> {
        let Some(document) = &mut self.document else { return Ok(()) };
        for message in messages {
            document.message(message, &mut self.buffer)?;
            if self.buffer.len() >= BUFFER {
                write(&mut self.out, &mut self.buffer, &mut self.written, &self.name)?;
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<u64, Error> {
        if let Some(document) = &mut self.document {
            document.end_conversation(&mut self.buffer)?;
        }
        self.open = false;
        let length = self.written + self.buffer.len() as u64;
        if self.buffer.len() >= BUFFER {
            write(&mut self.out, &mut self.buffer, &mut self.written, &self.name)?;
        }
        Ok(length)
    }

    fn finish(&mut self) -> Result<(), Error> {
        if let Some(document) = self.document.take() {
            document.finish(&mut self.buffer)?;
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), Error> {
        write(&mut self.out, &mut self.buffer, &mut self.written, &self.name)?;
        self.out.flush().map_err(Error::file("can't write", Path::new(&self.name)))
    }
}

impl Stream<File> {
    /// Drops what comes after the first `length` bytes.
    fn roll_back(&mut self, length: u64) -> Result<(), Error> {
        let kept = usize::try_from(length.saturating_sub(self.written)).unwrap_or(usize::MAX);
        self.buffer.truncate(kept);
        self.flush()?;
        self.written = length;
        self.out
            .set_len(length)
            .and_then(|()| self.out.seek(SeekFrom::Start(length)))
            .map(drop)
            .map_err(Error::file("can't write", Path::new(&self.name)))
    }
}

fn write(out: &mut impl Write, buffer: &mut Vec<u8>, written: &mut u64, name: &str) -> Result<(), Error> {
    out.write_all(buffer).map_err(Error::file("can't write", Path::new(name)))?;
    *written += buffer.len() as u64;
    buffer.clear();
    Ok(())
}

/// A file a conversation. Each is written under another name first.
pub(crate) struct Folder {
    look: Look,
    path: PathBuf,
    extension: String,
    open: Option<OpenFile>,
    /// Files that may not be on the disk yet.
    unsynced: Vec<(File, PathBuf)>,
}

struct OpenFile {
    stream: Stream<File>,
    part: PathBuf,
    path: PathBuf,
}

impl Folder {
    fn begin(&mut self, entry: &Entry) -> Result<(), Error> {
        let name = file_name(&entry.conversation, &self.extension);
        let part = self.path.join(format!(".{name}.part"));
        let file = File::create(&part).map_err(Error::file("can't write", &part))?;
        let mut stream = Stream::new(self.look.clone(), file, part.display().to_string(), 0, 0)?;
        stream.begin(entry)?;
        self.open = Some(OpenFile { stream, part, path: self.path.join(name) });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Error> {
        let Some(OpenFile { mut stream, part, path }) = self.open.take() else { return Ok(()) };
        stream.finish()?;
        fs::rename(&part, &path).map_err(Error::file("can't write", &path))?;
        self.unsynced.push((stream.out, path));
        if self.unsynced.len() >= UNSYNCED { self.sync() } else { Ok(()) }
    }

    fn abandon(&mut self) -> Result<(), Error> {
        match self.open.take() {
            Some(open) => fs::remove_file(&open.part).map_err(Error::file("can't remove", &open.part)),
            None => Ok(()),
        }
    }

    fn sync(&mut self) -> Result<(), Error> {
        for (file, path) in self.unsynced.drain(..) {
            file.sync_all().map_err(Error::file("can't write", &path))?;
        }
        sync_folder_of(&self.path.join("x")).map_err(Error::file("can't write", &self.path))
    }
}

/// `2026-01-31-conv_….md`.
fn file_name(conversation: &Conversation, extension: &str) -> String {
    let created = conversation.created_at.to_string();
    let day = created.get(..10).unwrap_or_default();
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
    let id: String = conversation.id.as_str().chars().map(safe).take(100).collect();
    format!("{day}-{id}.{extension}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(kind: Kind) -> Look {
        Look { kind, bot: Some("bot_1".into()), title: Some("Title".into()) }
    }

    fn entry(n: u32) -> Entry {
        Entry { conversation: Conversation { id: format!("conv_{n}").as_str().into(), ..nothing() }, users: vec![] }
    }

    fn message(n: u32) -> Message {
        serde_json::from_value(serde_json::json!({
            "id": format!("msg_{n}"), "createdAt": "2026-01-31", "updatedAt": "2026-01-31", "type": "text",
            "payload": {"text": format!("number {n}")}, "direction": "incoming", "userId": "user_1",
            "conversationId": "conv_1", "tags": {},
        }))
        .unwrap()
    }

    fn write(output: &mut Output, n: u32, done: &mut Done) {
        output.begin(&entry(n)).unwrap();
        output.messages(&[message(n), message(n + 100)]).unwrap();
        done.bytes = output.end().unwrap();
        done.conversations += 1;
    }

    #[test]
    fn a_document_that_was_suspended_anywhere_ends_up_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let own =
            Template::compile("a.txt", "{{ index }}: {{ messages[0].text.missing }}{{ messages|length }}\n").unwrap();
        let kinds = Format::ALL.into_iter().map(Kind::BuiltIn).chain([Kind::Own(Box::new(own))]);
        for kind in kinds {
            let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
            let mut done = Done::default();
            let mut output = Output::file(look(kind.clone()), &whole, &Done::default()).unwrap();
            (0..4).for_each(|n| write(&mut output, n, &mut done));
            output.finish().unwrap();

            let mut done = Done::default();
            for n in 0..4 {
                let mut output = Output::file(look(kind.clone()), &parts, &done).unwrap();
                if n > 0 {
                    write(&mut output, n, &mut done);
                }
                // Something that isn't to stay.
                output.begin(&entry(9)).unwrap();
                output.messages(&[message(9)]).unwrap();
                if n == 0 {
                    output.suspend(&done).unwrap();
                    assert_eq!(fs::read(&parts).unwrap(), b"");
                    let mut output = Output::file(look(kind.clone()), &parts, &done).unwrap();
                    write(&mut output, 0, &mut done);
                    output.suspend(&done).unwrap();
                } else {
                    output.suspend(&done).unwrap();
                }
            }
            Output::file(look(kind.clone()), &parts, &done).unwrap().finish().unwrap();
            let (whole, parts) = (fs::read_to_string(&whole).unwrap(), fs::read_to_string(&parts).unwrap());
            assert_eq!(parts, whole, "{kind:?}");
            assert!(whole.len() > 10);
            fs::remove_file(folder.path().join("whole")).unwrap();
            fs::remove_file(folder.path().join("parts")).unwrap();
        }
    }

    #[test]
    fn a_suspended_json_document_is_complete_in_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        let mut done = Done::default();
        let mut output = Output::file(look(Kind::BuiltIn(Format::Json)), &path, &done).unwrap();
        write(&mut output, 1, &mut done);
        output.begin(&entry(2)).unwrap();
        output.suspend(&done).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(value["conversations"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn a_file_that_shrank_is_not_continued() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        fs::write(&path, "short").unwrap();
        let done = Done { bytes: 10, conversations: 1, ..Done::default() };
        let refused = Output::file(look(Kind::BuiltIn(Format::JsonLines)), &path, &done);
        assert!(matches!(refused, Err(Error::Usage(_))));
        assert_eq!(fs::read(&path).unwrap(), b"short");
    }

    #[test]
    fn a_folder_holds_whole_files_only() {
        let folder = tempfile::tempdir().unwrap();
        let mut output = Output::folder(look(Kind::BuiltIn(Format::Csv)), folder.path(), "csv").unwrap();
        write(&mut output, 1, &mut Done::default());
        output.begin(&entry(2)).unwrap();
        output.suspend(&Done::default()).unwrap();
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["1970-01-01-conv_1.csv"]);
    }

    #[test]
    fn names_of_files_hold_no_path() {
        let odd = Conversation { id: "../a/b:c".into(), ..nothing() };
        assert_eq!(file_name(&odd, "md"), "1970-01-01-___a_b_c.md");
    }

    #[test]
    fn the_header_names_the_bot() {
        let mut out = Vec::new();
        look(Kind::BuiltIn(Format::JsonLines)).document(0, &mut out).unwrap();
        assert_eq!(out, b"{\"duologue\":\"export\",\"version\":1,\"botId\":\"bot_1\"}\n");
        let mut reader = duologue_transcript::jsonl::Reader::new();
        assert_eq!(reader.line(&out).unwrap(), None);
        reader.finish().unwrap();
    }
}
