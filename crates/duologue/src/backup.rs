//! `duologue backup` and `duologue verify`: copies of the embedded database, and whether one is
//! whole.

use std::path::PathBuf;

use duologue_store::maintenance;
use indicatif::{ProgressBar, ProgressStyle};

use crate::config::{self, Flags, database_file};

/// What to copy, and where to.
#[derive(clap::Args)]
pub struct BackupArgs {
    /// Folder of the embedded database; its server may go on running. [default: ./duologue-data]
    #[arg(long, env = "DUOLOGUE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// The copy: a single file that must not exist yet.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// What to check.
#[derive(clap::Args)]
pub struct VerifyArgs {
    /// A backup, a database file, or a data folder.
    #[arg(value_name = "PATH", default_value = "duologue-data")]
    path: PathBuf,
}

/// Why there is no backup, or no good one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] duologue_store::Error),
    /// PostgreSQL has its own tools.
    #[error("{0}")]
    Damaged(String),
}

/// Copies.
pub fn backup(args: BackupArgs) -> Result<(), Error> {
    let config = Flags::of_location(args.data, None).resolve()?;
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} pages {eta}") {
        bar.set_style(style);
    }
    let result = maintenance::backup(&database_file(&config.data), &args.file, |progress| {
        bar.set_length(u64::try_from(progress.total).unwrap_or(0));
        bar.set_position(u64::try_from(progress.done).unwrap_or(0));
    });
    bar.finish_and_clear();
    result?;
    let size = std::fs::metadata(&args.file).map_or(0, |meta| meta.len());
    println!(
        "{} ({:.1} MiB). Check it with: duologue verify {}",
        args.file.display(),
        size as f64 / 1048576.0,
        args.file.display()
    );
    Ok(())
}

/// Checks.
pub fn verify(args: VerifyArgs) -> Result<(), Error> {
    let path = if args.path.is_dir() { database_file(&args.path) } else { args.path };
    let report = maintenance::verify(&path)?;
    println!("schema version {}", report.version);
    for (table, rows) in report.tables.iter().filter(|(_, rows)| *rows > 0) {
        println!("{rows:>12} {table}");
    }
    if report.problems.is_empty() {
        println!("{} is whole", path.display());
        return Ok(());
    }
    for problem in &report.problems {
        eprintln!("problem: {problem}");
    }
    Err(Error::Damaged(format!("{} is damaged; restore a backup that verifies", path.display())))
}
