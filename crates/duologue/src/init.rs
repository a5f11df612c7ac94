//! `duologue init`: a data folder, ready to serve, for scripts.

use std::path::PathBuf;

use duologue_store::{
    Store,
    setup::{Made, Plan},
};
use serde::Serialize;

use crate::config::{self, Flags};

/// What to prepare.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of the embedded database. [default: ./duologue-data]
    #[arg(long, env = "DUOLOGUE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// PostgreSQL to prepare instead: postgres://user:password@host/database.
    #[arg(long, env = "DUOLOGUE_DATABASE", value_name = "URL", hide_env_values = true)]
    database: Option<String>,
    /// E-mail address of the owner's account.
    #[arg(long, default_value = "owner@localhost", value_name = "ADDRESS")]
    email: String,
    /// Handle of the workspace: lower-case letters, digits, - and _.
    #[arg(long, default_value = "default", value_name = "HANDLE")]
    workspace: String,
    /// Id of the bot, instead of a new one: to put an export back under the same id.
    #[arg(long, value_name = "ID")]
    bot_id: Option<String>,
    /// Print {workspaceId, workspaceHandle, botId, token} as JSON.
    #[arg(long)]
    json: bool,
    /// The owner's token, instead of a random one.
    #[arg(long, env = "DUOLOGUE_INITIAL_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    initial_token: Option<String>,
}

/// Why nothing was prepared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] duologue_store::Error),
    /// There is data already.
    #[error(
        "this database is in use already: its owner, workspace and token exist. Choose an empty --data folder or database."
    )]
    Exists,
}

/// The plan of a first start.
pub fn plan(token: Option<String>) -> Plan {
    Plan {
        email: "owner@localhost".into(),
        workspace: "Default".into(),
        handle: "default".into(),
        bot: "demo".into(),
        bot_id: None,
        token,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Printed<'m> {
    workspace_id: &'m str,
    workspace_handle: &'m str,
    bot_id: &'m str,
    token: &'m str,
}

/// Prepares the data folder and prints what was made.
pub async fn run(args: Args) -> Result<(), Error> {
    let config = Flags::of_location(args.data, args.database).resolve()?;
    let store = Store::open(&config.location()).await?;
    let made = store
        .first_start(Plan {
            email: args.email,
            handle: args.workspace,
            bot_id: args.bot_id,
            ..plan(args.initial_token)
        })
        .await?
        .ok_or(Error::Exists)?;
    store.close();
    let printed = describe(&made);
    if args.json {
        println!("{}", serde_json::to_string(&printed).unwrap_or_default());
    } else {
        println!("workspace  {} ({})", printed.workspace_id, printed.workspace_handle);
        println!("bot        {}", printed.bot_id);
        println!("token      {}  (shown only now)", printed.token);
    }
    Ok(())
}

fn describe(made: &Made) -> Printed<'_> {
    Printed {
        workspace_id: &made.workspace.id,
        workspace_handle: made.workspace.handle.as_deref().unwrap_or_default(),
        bot_id: made.bot.as_str(),
        token: made.token.value.as_deref().unwrap_or_default(),
    }
}
