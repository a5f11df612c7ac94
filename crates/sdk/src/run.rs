//! A bot as a program: `serve`, `deploy`, `dev`, `definition`.

use std::{io::IsTerminal, process::ExitCode};

use duologue_client::Client;
use tracing_subscriber::EnvFilter;

use crate::{Bot, Deployment, Dev, Error, deploy, dev};

const HELP: &str = "\
A bot. Give it one of:

  serve [ADDRESS]   answers the server's requests; at 0.0.0.0:8072 if no address is given
  deploy [URL]      gives the server the bot's definition, and the URL that leads to `serve`
  dev [URL]         serves a dev bot of your own and shows what arrives; built anew, it starts anew
  definition        prints what `deploy` would send, without integrations

It reads BP_API_URL and BP_TOKEN, and where they are needed BP_BOT_ID and BP_WORKSPACE_ID.
With BP_SIGNING_SECRET, `serve` refuses requests that aren't signed with it, and `deploy` asks for
signatures. RUST_LOG says what is logged (info), BP_LOG_FORMAT=json how.
";

/// Makes a program of a bot, told by the command line and the environment what to do: serve it, deploy
/// it, or run it as a dev bot. Without arguments it prints what there is. Failures go to the standard
/// error, and are the exit code 1.
///
/// ```no_run
/// # use duologue_sdk::{Bot, Definition};
/// #[tokio::main]
/// async fn main() -> std::process::ExitCode {
///     duologue_sdk::run(Bot::new(Definition::new())).await
/// }
/// ```
pub async fn run(bot: Bot) -> ExitCode {
    match perform(bot).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn perform(bot: Bot) -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if matches!(words.first(), Some(&("serve" | "dev"))) {
        log();
    }
    let secret = std::env::var("BP_SIGNING_SECRET").ok().filter(|secret| !secret.is_empty());
    let signed = secret.is_some();
    let bot = match secret {
        Some(secret) => bot.signing_secret(secret),
        None => bot,
    };
    match words.as_slice() {
        ["serve"] => bot.serve("0.0.0.0:8072").await,
        ["serve", address] => bot.serve(address).await,
        ["deploy"] => deploy_bot(&bot, deployment(signed)).await,
        ["deploy", url] => deploy_bot(&bot, deployment(signed).url(*url)).await,
        ["dev"] => dev(bot, &Client::from_env()?, Dev::new().deployment(deployment(signed))).await,
        ["dev", url] => dev(bot, &Client::from_env()?, Dev::new().deployment(deployment(signed)).url(*url)).await,
        ["definition"] => {
            println!("{}", bot.definition().json().text());
            Ok(())
        }
        [] | ["help" | "-h" | "--help"] => {
            print!("{HELP}");
            Ok(())
        }
        [other, ..] => Err(Error::Usage(format!("\"{}\" isn't understood\n\n{HELP}", other.escape_debug()))),
    }
}

fn deployment(signed: bool) -> Deployment {
    if signed { Deployment::new().signed() } else { Deployment::new() }
}

async fn deploy_bot(bot: &Bot, deployment: Deployment) -> Result<(), Error> {
    let admin = Client::from_env()?;
    let id = admin.bot_id().ok_or_else(|| Error::Usage("BP_BOT_ID must name the bot to deploy".into()))?.to_owned();
    let deployed = deploy(&admin, id.as_str(), bot.definition(), deployment).await?;
    for failed in &deployed.failed {
        eprintln!("warning: the integration {} can't be registered: {}", failed.alias, failed.reason);
    }
    println!("{} is deployed", deployed.bot.id);
    Ok(())
}

/// Logs to the standard error, unless the program has seen to logging itself.
fn log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let json = std::env::var("BP_LOG_FORMAT").is_ok_and(|format| format == "json");
    // Fails when there is one already.
    let _ =
        if json { builder.json().try_init() } else { builder.with_ansi(std::io::stderr().is_terminal()).try_init() };
}
