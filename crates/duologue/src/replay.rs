//! `duologue replay`: recorded turns, done again with a changed bot.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use duologue_bots::replay::Rehearsal;
use duologue_model::id::BotId;
use duologue_outbound::AllowList;

use crate::{
    config::Flags,
    serve::bot_options,
    trace::{Error, Place, latest, whose},
};

/// Do recorded turns again with a changed v12 bot, and print the differences.
///
/// Each turn begins with the memory that it began with then, and the world answers what it answered then:
/// nothing is sent and nothing is written. Scripts that changed, or that are given something else, run again.
/// Ends with exit code 1 if replies, nodes passed or memories differ, and with 2 if it can't be done.
///
/// Examples:
///
///   duologue replay --conversation conv_… --bot new/bots/support
///
///   duologue replay --user ada --bot-id support --bot support-2.tgz
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The changed bot: its folder, a data folder, or an archive of either.
    #[arg(long, value_name = "DIR")]
    bot: PathBuf,
    /// The conversation's id.
    #[arg(long, value_name = "ID", required_unless_present = "user", conflicts_with = "user")]
    conversation: Option<String>,
    /// The user's id, as in the path of the Converse API, instead of the conversation's.
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// The bot's id, with --user. [default: the name of the bot's folder]
    #[arg(long, value_name = "ID", conflicts_with = "conversation")]
    bot_id: Option<String>,
    /// How many turns, the latest.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=50))]
    last: u32,
    /// Data folder of Botpress v12 with what bots share, if the bot's folder doesn't lie in one.
    #[arg(long, env = "DUOLOGUE_V12_DATA", value_name = "DIR")]
    v12_data: Option<PathBuf>,
    /// Origin under which the server was reached: what URLs of media began with.
    #[arg(long, env = "DUOLOGUE_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,
    #[command(flatten)]
    place: Place,
}

/// Runs the command; whether there are no differences.
pub async fn run(args: Args) -> Result<bool, Error> {
    // Flows that can't be read are reported like the server does.
    let _ = tracing_subscriber::fmt().with_max_level(tracing::Level::ERROR).with_writer(std::io::stderr).try_init();
    let store = args.place.open().await?;
    let (bot, user) = match (&args.conversation, args.user) {
        (Some(conversation), _) => whose(&store, conversation).await?,
        (None, user) => (BotId::new(args.bot_id.unwrap_or_else(|| name(&args.bot))), user.unwrap_or_default()),
    };
    let turns = latest(&store, bot.clone(), user, args.last).await?;
    store.close();
    let public_url = match args.public_url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => Flags::default().resolve()?.public_url,
    };
    // Nothing is sent, so nothing has to be reached.
    let options = bot_options(args.v12_data.unwrap_or_default(), public_url, AllowList::default())?;
    let rehearsal = Rehearsal::load(&args.bot, bot.as_str(), &options).await?;
    let mut out = std::io::stdout().lock();
    let mut changed = 0;
    for turn in &turns {
        let replayed = rehearsal.replay(turn).await?;
        if !replayed.differences.is_empty() {
            changed += 1;
            writeln!(out, "Turn {} · {}", turn.turn, turn.at)?;
        }
        for difference in &replayed.differences {
            write!(out, "{difference}")?;
        }
    }
    match changed {
        0 => writeln!(out, "{} turns, no differences", turns.len())?,
        changed => writeln!(out, "{changed} of {} turns differ", turns.len())?,
    }
    Ok(changed == 0)
}

/// The name of a folder, wherever it is told from.
fn name(folder: &Path) -> String {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    whole.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
