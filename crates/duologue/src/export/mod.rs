//! `duologue export`: lists conversations and writes their messages.
//!
//! Called by the command line. Reads through a [`source::Source`] (a server's API, or a data folder
//! directly), writes through an [`output::Output`], and notes in a [`state::StateFile`] how far it
//! came, so that an interrupted export goes on without a hole or a repeat. Never changes what it
//! reads. Memory stays flat however much there is: see `listing` and `spool` for what goes to
//! temporary files.

mod api;
mod embedded;
mod error;
pub(crate) mod filter;
mod listing;
mod output;
pub(crate) mod progress;
pub(crate) mod server;
mod source;
mod spool;
mod state;
pub(crate) mod stop;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use duologue_client::Client;
use duologue_model::{Identity, id::BotId};
use duologue_store::Store;
use duologue_transcript::{Format, Template};

use api::{Api, Manner};
use embedded::Embedded;
pub use error::Error;
use filter::{Filters, Position};
use output::{Kind, Look, Output};
use progress::{Progress, counted};
use server::Server;
use source::Source;
use state::{Done, Options, StateFile};
use stop::Stop;

/// How often an export to a file is made durable and noted.
const CHECKPOINT: Duration = Duration::from_secs(1);

/// Write conversations with their messages to a file, many files or standard output.
///
/// Reads from a Duologue, from any Cloud-compatible server, or straight from a data folder, also
/// while a server works with it. Conversations come oldest first, each with its messages, oldest
/// first.
///
/// Examples:
///
///   Everything, as one file that `duologue import` reads:
///     duologue export --out all.jsonl
///
///   One web page a conversation, of those on a channel in January:
///     duologue export --format html --out-dir pages --channel webchat --since 2026-01-01 --until 2026-01-31
///
///   A thousand conversations at a time; the same line goes on where the last run ended:
///     duologue export --out all.csv --limit 1000 --resume
///
///   Out of another server:
///     BP_TOKEN=… duologue export --api-url https://api.example.com --bot-id … --out all.jsonl
///
///   From a data folder, without a server:
///     duologue export --data /var/lib/duologue --out all.jsonl
#[derive(Clone, Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Write one file. `-` is standard output, which is also what is used when neither this nor
    /// --out-dir is given. Beside the file, FILE.state notes how far the export came; it is taken
    /// away at the end.
    #[arg(short, long, value_name = "FILE", conflicts_with = "out_dir")]
    out: Option<PathBuf>,

    /// Write one file a conversation into this folder, named by the day it began and its id.
    #[arg(long, value_name = "DIR")]
    out_dir: Option<PathBuf>,

    /// How it looks: text, markdown, html, csv, json or jsonl. By default what the ending of --out
    /// says, else jsonl, the only one that can be imported again.
    #[arg(short, long, value_name = "FORMAT", value_parser = format)]
    format: Option<Format>,

    /// Use your own format: a minijinja template, rendered once for each conversation. The ending of
    /// its name (.html, .json, .md.j2, …) decides what is escaped.
    #[arg(long, value_name = "FILE", conflicts_with = "format")]
    template: Option<PathBuf>,

    /// A heading, where the format has one.
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,

    /// End after so many conversations. With --resume, a later run goes on there.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,

    /// Go on where an earlier run with the same options ended; begin if there was none.
    #[arg(long, conflicts_with = "force")]
    resume: bool,

    /// Begin anew, whatever is there.
    #[arg(long)]
    force: bool,

    /// Only count what would be written.
    #[arg(long)]
    dry_run: bool,

    /// Show no progress and no closing line.
    #[arg(short, long)]
    quiet: bool,

    /// Read this data folder instead of a server.
    #[arg(long, value_name = "DIR", help_heading = "Server")]
    data: Option<PathBuf>,

    /// How many conversations are fetched at once.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32), help_heading = "Server")]
    parallel: u8,

    /// Read the whole list of conversations before the first is written, and sort it here: for
    /// servers whose list has no reliable order.
    #[arg(long, help_heading = "Server")]
    collect: bool,

    #[command(flatten)]
    server: Server,

    #[command(flatten)]
    filters: Filters,
}

/// Runs the command. Progress goes to standard error.
///
/// Errors: any [`Error`]; its [`exit_code`](Error::exit_code) is for the process.
pub async fn run(args: Args) -> Result<(), Error> {
    let kind = kind(&args)?;
    let target = Target::of(&args);
    // Before anything is written, so that a mistake leaves nothing behind.
    let origin = Origin::open(&args).await?;
    let bot = args.server.bot_id().map(BotId::from);
    let state = target.state(options(&args, &kind, bot.as_ref())?);
    let done = match &state {
        Some(state) if !args.dry_run => match begin(&args, &target, state)? {
            Some(done) => done,
            None => return Ok(()),
        },
        _ => Done::default(),
    };
    let look = Look { kind, bot, title: args.title.clone() };
    let after = done.after.clone();
    match origin {
        Origin::Folder(store, bot) => {
            let source = Embedded::new(*store, bot, &args.filters, after).await?;
            write(args, source, target, state, look, done).await
        }
        Origin::Server(client, manner) => {
            let source = Api::new(client, &args.filters, after, manner);
            write(args, source, target, state, look, done).await
        }
    }
}

/// What is read from.
enum Origin {
    Folder(Box<Store>, BotId),
    Server(Client, Manner),
}

impl Origin {
    /// Opens the data folder, or asks the server what it is.
    async fn open(args: &Args) -> Result<Self, Error> {
        if let Some(folder) = &args.data {
            let (store, bot) = open(folder, args.server.bot_id().map(BotId::from)).await?;
            return Ok(Origin::Folder(Box::new(store), bot));
        }
        let client = args.server.client()?;
        let manner = Manner {
            duologue: args.server.is_duologue().await?,
            parallel: usize::from(args.parallel),
            collect: args.collect,
        };
        Ok(Origin::Server(client, manner))
    }
}

fn format(name: &str) -> Result<Format, String> {
    Format::from_name(name).ok_or_else(|| {
        let names: Vec<&str> = Format::ALL.into_iter().map(Format::name).collect();
        format!("expected one of {}", names.join(", "))
    })
}

fn kind(args: &Args) -> Result<Kind, Error> {
    if let Some(path) = &args.template {
        let source = fs::read_to_string(path).map_err(Error::file("can't read the template", path))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // The engine drops a template's last line break. What it makes of the next conversation would
        // go on in the same line, so there is one more to drop.
        let source = if source.ends_with('\n') { source + "\n" } else { source };
        return Ok(Kind::Own(Box::new(Template::compile(&name, &source)?)));
    }
    let ending = args.out.as_deref().and_then(Path::extension).and_then(|ending| ending.to_str());
    let format = args.format.or_else(|| ending.and_then(Format::from_name));
    Ok(Kind::BuiltIn(format.unwrap_or(Format::JsonLines)))
}

/// Where it goes.
enum Target {
    Stdout,
    File(PathBuf),
    Folder(PathBuf, String),
}

impl Target {
    fn of(args: &Args) -> Self {
        match (&args.out, &args.out_dir) {
            (_, Some(folder)) => Target::Folder(folder.clone(), extension(args)),
            (Some(file), None) if file.as_os_str() != "-" => Target::File(file.clone()),
            _ => Target::Stdout,
        }
    }

    fn path(&self) -> Option<&Path> {
        match self {
            Target::Stdout => None,
            Target::File(path) | Target::Folder(path, _) => Some(path),
        }
    }

    fn state(&self, options: Options) -> Option<StateFile> {
        self.path().map(|path| StateFile::beside(path, options))
    }

    fn is_there(&self) -> bool {
        match self {
            Target::Stdout => false,
            Target::File(path) => path.exists(),
            Target::Folder(path, _) => fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()),
        }
    }

    fn output(&self, look: Look, done: &Done) -> Result<Output, Error> {
        match self {
            Target::Stdout => Output::stdout(look),
            Target::File(path) => Output::file(look, path, done),
            Target::Folder(path, extension) => Output::folder(look, path, extension),
        }
    }
}

/// The ending of the files in a folder: the format's, or what the template's name ends with before
/// `.j2` and the like.
fn extension(args: &Args) -> String {
    let Some(template) = &args.template else {
        return args.format.unwrap_or(Format::JsonLines).extension().to_owned();
    };
    let mut name = PathBuf::from(template.file_name().unwrap_or_default());
    if name.extension().is_some_and(|ending| ["j2", "jinja", "jinja2", "tmpl"].iter().any(|own| ending == *own)) {
        name.set_extension("");
    }
    name.extension().and_then(|ending| ending.to_str()).unwrap_or("txt").to_owned()
}

/// The options that every run of one export shares.
fn options(args: &Args, kind: &Kind, bot: Option<&BotId>) -> Result<Options, Error> {
    let template = match &args.template {
        Some(path) => {
            let source = fs::read(path).map_err(Error::file("can't read the template", path))?;
            format!("{} ({:016x})", path.display(), fingerprint(&source))
        }
        None => String::new(),
    };
    let from = match &args.data {
        Some(folder) => folder.display().to_string(),
        None => args.server.client()?.api_url().to_owned(),
    };
    let own = [
        ("format", if let Kind::BuiltIn(format) = kind { format.name().to_owned() } else { String::new() }),
        ("template", template),
        ("title", args.title.clone().unwrap_or_default()),
        ("source", from),
        ("bot-id", bot.map(ToString::to_string).unwrap_or_default()),
        ("integration-id", args.server.integration_id().unwrap_or_default().to_owned()),
    ];
    Ok(own.into_iter().chain(args.filters.describe()).map(|(name, value)| (name.to_owned(), value)).collect())
}

/// FNV-1a: tells a changed template from an unchanged one.
fn fingerprint(text: &[u8]) -> u64 {
    text.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Where to begin; `None` when there is nothing to do.
fn begin(args: &Args, target: &Target, state: &StateFile) -> Result<Option<Done>, Error> {
    let name = target.path().unwrap_or(Path::new("-")).display();
    if args.force {
        state.save(&Done::default())?;
        return Ok(Some(Done::default()));
    }
    match (state.exists(), target.is_there(), args.resume) {
        (true, _, true) => state.load().map(Some),
        (true, _, false) => Err(Error::Usage(format!(
            "{} says that an export to {name} isn't finished. Go on with --resume, or begin anew with --force",
            state.path().display()
        ))),
        (false, true, true) => {
            if !args.quiet {
                eprintln!("{name} is finished: there is nothing to resume. To begin anew, use --force");
            }
            Ok(None)
        }
        (false, true, false) => {
            Err(Error::Usage(format!("{name} is there already. Choose another name, or replace it with --force")))
        }
        (false, false, _) => {
            // Noted before the file exists: from then on it is known to be unfinished.
            state.save(&Done::default())?;
            Ok(Some(Done::default()))
        }
    }
}

/// Writes what the source gives, or counts it.
async fn write(
    args: Args,
    mut source: impl Source,
    target: Target,
    state: Option<StateFile>,
    look: Look,
    done: Done,
) -> Result<(), Error> {
    let mut stop = Stop::listen();
    if args.dry_run {
        return count(&args, source, &mut stop).await;
    }
    let mut job = Job {
        progress: Progress::new("exported", args.quiet, None),
        output: target.output(look, &done)?,
        state,
        done,
        left: args.limit,
        noted: Instant::now(),
    };
    let outcome = job.run(&mut source, &mut stop).await;
    job.close(outcome, &target)
}

/// An export under way.
struct Job {
    output: Output,
    state: Option<StateFile>,
    done: Done,
    /// How many conversations this run may still write.
    left: Option<u64>,
    noted: Instant,
    progress: Progress,
}

/// How a run ended.
enum End {
    Finished,
    Limit,
    Stopped,
}

impl Job {
    async fn run(&mut self, source: &mut impl Source, stop: &mut Stop) -> Result<End, Error> {
        loop {
            if self.left == Some(0) {
                return Ok(End::Limit);
            }
            let Some(entry) = stop.or(source.next()).await else { return Ok(End::Stopped) };
            let Some(entry) = entry? else { return Ok(End::Finished) };
            self.output.begin(&entry)?;
            let mut messages = 0;
            loop {
                let Some(next) = stop.or(source.messages()).await else { return Ok(End::Stopped) };
                let next = next?;
                if next.is_empty() {
                    break;
                }
                self.output.messages(&next)?;
                messages += next.len() as u64;
                self.progress.messages += next.len() as u64;
                self.progress.tick(0);
                // Reading a data folder never waits, but others may have something to do.
                tokio::task::yield_now().await;
            }
            self.done.bytes = self.output.end()?;
            self.done.after = Some(Position::of(&entry.conversation));
            self.done.conversations += 1;
            self.done.messages += messages;
            self.progress.conversations += 1;
            self.progress.tick(0);
            self.left = self.left.map(|left| left - 1);
            if self.noted.elapsed() >= CHECKPOINT {
                self.note()?;
            }
        }
    }

    /// Makes durable what was written, and notes it.
    fn note(&mut self) -> Result<(), Error> {
        if let Some(state) = &self.state {
            self.output.sync()?;
            state.save(&self.done)?;
        }
        self.noted = Instant::now();
        Ok(())
    }

    fn close(self, outcome: Result<End, Error>, target: &Target) -> Result<(), Error> {
        let Job { output, state, done, progress, .. } = self;
        let name = target.path().map_or_else(|| "standard output".to_owned(), |path| path.display().to_string());
        let summary = progress.summary();
        let cause = match outcome {
            Ok(End::Finished) => {
                output.finish()?;
                state.as_ref().map_or(Ok(()), StateFile::remove)?;
                progress.say(&format!("exported {summary} to {name}{}", in_all(&done, &progress)));
                return Ok(());
            }
            Err(error) if error.is_broken_pipe() => {
                progress.clear();
                return Ok(());
            }
            Ok(End::Limit) => None,
            Ok(End::Stopped) => Some(None),
            Err(error) => Some(Some(error)),
        };
        progress.clear();
        output.suspend(&done)?;
        state.as_ref().map_or(Ok(()), |state| state.save(&done))?;
        let advice = match &state {
            Some(_) => format!(
                "{name} holds {} so far; the same command with --resume goes on.",
                counted(done.conversations, done.messages)
            ),
            None => "Only an export to a file (--out, --out-dir) can be resumed.".to_owned(),
        };
        match cause {
            None => {
                let more = if state.is_some() { "; there may be more: go on with --resume" } else { "" };
                progress.say(&format!("exported {summary} to {name}{}{more}", in_all(&done, &progress)));
                Ok(())
            }
            Some(None) => Err(Error::Interrupted(format!("Stopped. {advice}"))),
            Some(Some(cause)) => Err(Error::Continuable { cause: Box::new(cause), advice }),
        }
    }
}

/// What all runs together wrote, if this wasn't the first.
fn in_all(done: &Done, progress: &Progress) -> String {
    if done.conversations == progress.conversations {
        return String::new();
    }
    format!(", in all {}", counted(done.conversations, done.messages))
}

async fn count(args: &Args, mut source: impl Source, stop: &mut Stop) -> Result<(), Error> {
    let mut progress = Progress::new("counted", args.quiet, None);
    let limit = args.limit.unwrap_or(u64::MAX);
    while progress.conversations < limit {
        let Some(next) = stop.or(source.peek()).await else {
            progress.clear();
            return Err(Error::Interrupted("Stopped.".to_owned()));
        };
        let Some(conversation) = next? else { break };
        progress.conversations += 1;
        progress.messages += u64::try_from(conversation.message_count).unwrap_or(0);
        progress.tick(0);
        tokio::task::yield_now().await;
    }
    progress.clear();
    let unknown = progress.messages == 0 && progress.conversations > 0;
    match unknown {
        true => println!("{} conversations; the server doesn't say how many messages", progress.conversations),
        false => println!("{}", counted(progress.conversations, progress.messages)),
    }
    Ok(())
}

/// Opens a data folder for reading, and checks that it has the bot.
async fn open(folder: &Path, bot: Option<BotId>) -> Result<(Store, BotId), Error> {
    let bot = bot.ok_or_else(|| Error::Usage("which bot? Give --bot-id (BP_BOT_ID)".to_owned()))?;
    let path = crate::config::database_file(folder);
    if !path.exists() {
        return Err(Error::Usage(format!("this isn't the data folder of a Duologue: there is no {}", path.display())));
    }
    let store = Store::open_reader(&path)?;
    match store.get_user(Identity::bot(bot.clone()), bot.to_string()).await {
        Ok(_) => Ok((store, bot)),
        Err(error) if error.refused().is_some() => {
            Err(Error::Usage(format!("{} has no bot {bot}: is --bot-id (BP_BOT_ID) right?", folder.display())))
        }
        Err(error) => Err(error.into()),
    }
}
