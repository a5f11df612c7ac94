//! `duologue token`: a way in for an account, handed out by whoever runs the server. Members that
//! were added by their address have none, and tokens get lost.

use std::path::PathBuf;

use duologue_store::Store;

use crate::config::{self, Flags};

/// For whom.
#[derive(clap::Args)]
pub struct Args {
    /// E-mail address of the account.
    #[arg(value_name = "ADDRESS", default_value = "owner@localhost")]
    email: String,
    /// Folder of the embedded database; its server must be stopped. [default: ./duologue-data]
    #[arg(long, env = "DUOLOGUE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// PostgreSQL instead; its servers may go on running.
    #[arg(long, env = "DUOLOGUE_DATABASE", value_name = "URL", hide_env_values = true)]
    database: Option<String>,
    /// What the token is for; shown in lists.
    #[arg(long, value_name = "TEXT", default_value = "handed out by the operator")]
    note: String,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] duologue_store::Error),
    /// There is nothing yet.
    #[error("there is no database at {0}; is --data right?")]
    Missing(PathBuf),
}

/// Makes a token and prints it, alone on its line.
pub async fn run(args: Args) -> Result<(), Error> {
    let config = Flags::of_location(args.data, args.database).resolve()?;
    if config.database.is_none() && !config::database_file(&config.data).exists() {
        return Err(Error::Missing(config::database_file(&config.data)));
    }
    let store = Store::open(&config.location()).await?;
    let token = store.hand_out_pat(args.email, args.note).await;
    store.close();
    println!("{}", token?.value.unwrap_or_default());
    Ok(())
}
