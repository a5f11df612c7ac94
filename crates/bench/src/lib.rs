//! The measurements of Duologue, and the bare baselines they are compared with.
//!
//! `duologue bench` starts servers as processes of their own on fresh folders, loads them over
//! loopback, and prints ratios: absolute figures say more about the machine than about the server.
//! The baselines ([`bare`]) are what the same stack does with nothing around it: an axum endpoint
//! over the same engine, one table, group commit, no authentication, no event, no outbox.
//!
//! This is the one place beside the store that speaks SQL: baselines must not share its code.

pub mod bare;
mod child;
mod converse;
mod delivery;
mod engine;
mod hosted;
mod load;
mod scenarios;
mod stage;
mod table;

use std::path::PathBuf;

use clap::ValueEnum;

/// The hidden command under which this program runs scripts of bots.
pub const SCRIPT_WORKER: &str = "script-worker";

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// createMessage with authentication, event and outbox, against a bare insert.
    Messages,
    /// getOrCreateUser, getState and setState, against bare reads and upserts.
    Points,
    /// Pages at depth 1,000,000 against the first page, complete under writes.
    Pages,
    /// Export of 1,000,000 messages to jsonl: speed and memory.
    Export,
    /// Start-up time and idle memory.
    Start,
    /// Turns of a v12 bot over the Converse API, against createMessage.
    Converse,
    /// Round trips through a bot, beside failing bots, and of very many expiring states.
    Delivery,
    /// The v12 engine by itself: conditions, loading, scripts, the memory of 1,000 bots.
    Engine,
    /// createMessage on PostgreSQL, against a bare insert over the same number of connections.
    Postgres,
}

/// Options of `duologue bench`.
#[derive(clap::Args)]
pub struct Args {
    /// What to measure; everything that can run here if nothing is said.
    #[arg(value_name = "SCENARIO")]
    scenarios: Vec<Scenario>,
    /// Client connections.
    #[arg(long, default_value_t = 64, value_name = "N")]
    connections: usize,
    /// Seconds of each measured run.
    #[arg(long, default_value_t = 8, value_name = "SECONDS")]
    seconds: u64,
    /// Runs of each side, alternating; medians are printed.
    #[arg(long, default_value_t = 3, value_name = "N")]
    runs: usize,
    /// Rows in the scenarios that need many.
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    rows: usize,
    /// PostgreSQL for its scenario: a URL of a database that may be filled.
    #[arg(long, env = "DUOLOGUE_BENCH_DATABASE", value_name = "URL", hide_env_values = true)]
    database: Option<String>,
    /// The bundle of a bot of the official SDK that answers each message with one, for deliveries:
    /// `cargo xtask bundle FILE` builds it.
    #[arg(long, value_name = "FILE")]
    hosted: Option<PathBuf>,
    /// Where throw-away data goes; a folder on the disk that matters.
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
}

/// Why a measurement could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A process, a socket or a file.
    #[error("{0}: {1}")]
    Io(&'static str, std::io::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] duologue_store::Error),
    /// An answer that wasn't expected, or none.
    #[error("{0}")]
    Unexpected(String),
}

/// Runs the scenarios and prints a table each.
pub async fn run(args: Args) -> Result<(), Error> {
    let chosen: Vec<Scenario> =
        if args.scenarios.is_empty() { scenarios::ALL.to_vec() } else { args.scenarios.clone() };
    for scenario in chosen {
        match scenario {
            Scenario::Converse => converse::converse(&args).await?,
            Scenario::Delivery => delivery::delivery(&args).await?,
            Scenario::Engine => engine::engine(&args).await?,
            Scenario::Start => scenarios::start(&args).await?,
            Scenario::Messages => scenarios::messages(&args).await?,
            Scenario::Points => scenarios::points(&args).await?,
            Scenario::Pages => scenarios::pages(&args).await?,
            Scenario::Export => scenarios::export(&args).await?,
            Scenario::Postgres => match &args.database {
                Some(url) => scenarios::postgres(&args, url).await?,
                None => println!("postgres: skipped; give a database with --database\n"),
            },
        }
    }
    Ok(())
}
