//! `duologue bot`: bots made for Botpress v12.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use duologue_v12::report::Verdict;

/// What can be done with them.
#[derive(Subcommand)]
pub enum Command {
    /// Put bots into a data folder that `duologue serve --v12-data` serves.
    ///
    /// Takes a bot's folder, a whole data folder, or an exported archive of either (.tgz, .zip), and
    /// prints what was taken, what wasn't, and why, and what of the bots won't work as it is written:
    /// missing flows, nodes, elements, actions and packages.
    Import(ImportArgs),
}

/// What to import, and where to.
#[derive(Args)]
pub struct ImportArgs {
    /// The folder or archive.
    path: PathBuf,
    /// The data folder to put the bots into. Made if it isn't there.
    #[arg(long, env = "DUOLOGUE_V12_DATA", value_name = "DIR")]
    v12_data: PathBuf,
    /// Another id for the bot, if there is one only.
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Replace bots that are in the data folder already.
    #[arg(long)]
    replace: bool,
    /// Print every file, not only those that weren't taken.
    #[arg(long)]
    all: bool,
}

/// Runs it.
pub fn run(command: Command) -> Result<(), duologue_bots::Error> {
    let Command::Import(args) = command;
    let imported = duologue_bots::import(&args.path, &args.v12_data, args.id.as_deref(), args.replace)?;
    for entry in &imported.report.entries {
        if args.all || entry.verdict != Verdict::Taken || !entry.reason.is_empty() {
            println!("{entry}");
        }
    }
    for path in &imported.kept {
        println!("kept   global/{path}: the folder has another version of it");
    }
    for finding in &imported.findings {
        println!("check  {}: {}", finding.place, finding.message);
    }
    let count = |verdict| imported.report.count(verdict);
    println!(
        "{} files taken, {} kept unused, {} left, {} broken, {} things to check",
        count(Verdict::Taken),
        count(Verdict::Kept),
        count(Verdict::Left),
        count(Verdict::Broken),
        imported.findings.len()
    );
    if imported.database {
        println!("accounts, users and conversations of the old server are taken over when it is served next");
    }
    for id in &imported.bots {
        println!("imported {id} to {}", args.v12_data.display());
    }
    if imported.present.is_empty() {
        return Ok(());
    }
    let ids = imported.present.join(", ");
    Err(duologue_bots::Error::Invalid(format!(
        "there already: {ids}. Use --replace to replace, or --id for another id."
    )))
}
