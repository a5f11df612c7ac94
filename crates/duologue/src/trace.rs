//! `duologue trace`: what the turns of a conversation with a v12 bot did, and why.

use std::{io::Write, path::PathBuf};

use duologue_bots::trace;
use duologue_model::id::{BotId, ConversationId};
use duologue_store::{
    Store,
    v12::traces::{Latest, Turn},
};

use crate::config::{self, Flags};

/// Show the turns of a conversation with a v12 bot.
///
/// Of each turn: what was said, nodes passed, conditions with their value, actions with their duration,
/// requests, replies, and what changed in the memory. Secrets are left out. The latest 50 turns of each
/// conversation are kept.
///
/// Examples:
///
///   duologue trace --bot support --user ada
///
///   duologue trace --conversation conv_… --last 1 --json
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The bot's id.
    #[arg(long, value_name = "ID", requires = "user", required_unless_present = "conversation")]
    bot: Option<String>,
    /// The user's id, as in the path of the Converse API.
    #[arg(long, value_name = "ID", requires = "bot")]
    user: Option<String>,
    /// The conversation's id, instead of bot and user.
    #[arg(long, value_name = "ID", conflicts_with_all = ["bot", "user"])]
    conversation: Option<String>,
    /// How many turns, the latest.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=50))]
    last: u32,
    /// One JSON object a line, as `GET …/turns` has them.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Where turns are kept.
#[derive(clap::Args)]
pub struct Place {
    /// Folder of the embedded database; its server may go on running. [default: ./duologue-data]
    #[arg(long, env = "DUOLOGUE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// PostgreSQL instead.
    #[arg(long, env = "DUOLOGUE_DATABASE", value_name = "URL", hide_env_values = true)]
    database: Option<String>,
}

/// Why turns can't be shown or done again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] duologue_store::Error),
    /// The bot.
    #[error(transparent)]
    Bots(#[from] duologue_bots::Error),
    /// A trace.
    #[error(transparent)]
    Trace(#[from] trace::Unreadable),
    /// There is nothing yet.
    #[error("there is no database at {0}; is --data right?")]
    Missing(PathBuf),
    /// What is asked for isn't there.
    #[error("{0}")]
    Nothing(String),
    /// Standard output.
    #[error("can't write: {0}")]
    Write(#[from] std::io::Error),
}

impl Error {
    /// Whether whoever reads the output has enough of it.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Error::Write(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
    }
}

/// Runs the command.
pub async fn run(args: Args) -> Result<(), Error> {
    let store = args.place.open().await?;
    let (bot, user) = match (args.conversation, args.bot, args.user) {
        (Some(conversation), _, _) => whose(&store, &conversation).await?,
        (None, bot, user) => (BotId::new(bot.unwrap_or_default()), user.unwrap_or_default()),
    };
    let turns = latest(&store, bot, user, args.last).await?;
    let mut out = std::io::stdout().lock();
    for (n, turn) in turns.iter().enumerate() {
        let shown = trace::show(turn)?;
        match args.json {
            true => writeln!(out, "{}", serde_json::to_string(&shown).map_err(std::io::Error::from)?)?,
            false => write!(out, "{}{shown}", if n == 0 { "" } else { "\n" })?,
        }
    }
    store.close();
    Ok(())
}

impl Place {
    /// Opens the database for reading; an embedded one also beside its server.
    pub async fn open(self) -> Result<Store, Error> {
        let config = Flags::of_location(self.data, self.database).resolve()?;
        let path = config::database_file(&config.data);
        match config.database {
            Some(_) => Ok(Store::open(&config.location()).await?),
            None if path.exists() => Ok(Store::open_reader(&path)?),
            None => Err(Error::Missing(path)),
        }
    }
}

/// The bot and the user of a conversation.
pub async fn whose(store: &Store, conversation: &str) -> Result<(BotId, String), Error> {
    let found = store.v12_user_of(ConversationId::new(conversation)).await?;
    found.ok_or_else(|| Error::Nothing(format!("there is no conversation {conversation} with a v12 bot")))
}

/// The latest turns, oldest first.
pub async fn latest(store: &Store, bot: BotId, user: String, last: u32) -> Result<Vec<Turn>, Error> {
    let nothing = Error::Nothing(format!("no turns of {user} with the bot {bot} are kept; are the ids right?"));
    let mut turns = store.latest_v12_turns(Latest { bot, user, before: None, limit: last }).await?;
    turns.reverse();
    if turns.is_empty() { Err(nothing) } else { Ok(turns) }
}
