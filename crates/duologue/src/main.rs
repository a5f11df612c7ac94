//! The binary: command line, configuration, and the composition of all rooms below.

mod accept;
mod backup;
mod bot;
mod calls;
mod config;
mod deliveries;
mod error;
mod export;
mod hosting;
mod import;
mod init;
mod logs;
mod metrics;
mod replay;
mod serve;
mod token;
mod trace;
mod unstuck;
mod webhooks;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A self-hosted conversation server that existing clients and bots run on unmodified.
///
/// Without a command it serves: `duologue` is `duologue serve`. The first start creates a data
/// folder, a workspace, an owner's token and a bot, and prints how to try them.
#[derive(Parser)]
#[command(name = "duologue", version, max_term_width = 100, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: config::Flags,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API (the default).
    Serve(config::Flags),
    /// Prepare a data folder or database without serving it, for scripts.
    Init(init::Args),
    /// Make a personal access token for an account: of a new member, or when one was lost.
    Token(token::Args),
    /// Print the effective configuration, secrets redacted.
    Config(config::Flags),
    /// Write conversations to files: transcripts to read, tables, or a lossless copy.
    Export(export::Args),
    /// Put a lossless export (jsonl) into a server.
    Import(import::Args),
    /// Bots made for Botpress v12.
    #[command(subcommand)]
    Bot(bot::Command),
    Logs(logs::Args),
    Webhooks(webhooks::Args),
    Trace(trace::Args),
    Replay(replay::Args),
    /// What waits for a bot and its integrations, what was done, and what was given up.
    #[command(subcommand)]
    Deliveries(deliveries::Command),
    /// Copy the embedded database of a running server, consistently.
    Backup(backup::BackupArgs),
    /// Check an embedded database, or a backup of one.
    Verify(backup::VerifyArgs),
    /// Measure this server on this machine, against bare baselines in the same run.
    Bench(duologue_bench::Args),
    /// The baselines of `bench`.
    #[command(hide = true)]
    BenchBare(duologue_bench::bare::Args),
    /// Becomes a process of uploaded code.
    #[command(hide = true, name = CODE_LAUNCHER)]
    CodeLauncher {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<std::ffi::OsString>,
    },
    /// Runs scripts of bots, spoken to over its pipes.
    #[command(hide = true, name = SCRIPT_WORKER)]
    ScriptWorker,
}

/// The hidden command that this binary starts itself with to run uploaded code.
const CODE_LAUNCHER: &str = "code-launcher";

/// The hidden command that this binary starts itself with to run scripts.
const SCRIPT_WORKER: &str = duologue_bench::SCRIPT_WORKER;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // A worker locks itself in before it has any thread.
    if let Some(Command::ScriptWorker) = cli.command {
        return duologue_sandbox::worker_main();
    }
    if let Some(Command::CodeLauncher { command }) = cli.command {
        return duologue_hosted::launcher_main(command.into_iter());
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("can't start: {error}")),
    };
    runtime.block_on(async {
        match cli.command {
            None => finish(serve::run(cli.serve).await),
            Some(Command::Serve(flags)) => finish(serve::run(flags).await),
            Some(Command::Init(args)) => finish(init::run(args).await),
            Some(Command::Token(args)) => finish(token::run(args).await),
            Some(Command::Config(flags)) => finish(config::print(flags)),
            Some(Command::Export(args)) => finish_transfer(export::run(args).await),
            Some(Command::Logs(args)) => finish_transfer(logs::run(args).await),
            Some(Command::Import(args)) => finish_transfer(import::run(args).await),
            Some(Command::Bot(command)) => finish(bot::run(command)),
            Some(Command::ScriptWorker | Command::CodeLauncher { .. }) => ExitCode::FAILURE,
            Some(Command::Webhooks(args)) => finish(webhooks::run(args).await),
            Some(Command::Trace(args)) => match trace::run(args).await {
                Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
                result => finish(result),
            },
            Some(Command::Replay(args)) => finish_replay(replay::run(args).await),
            Some(Command::Deliveries(command)) => finish(deliveries::run(command).await),
            Some(Command::Backup(args)) => finish(backup::backup(args)),
            Some(Command::Verify(args)) => finish(backup::verify(args)),
            // Dropped, it ends its servers and removes their folders.
            Some(Command::Bench(args)) => match export::stop::Stop::listen().or(duologue_bench::run(args)).await {
                Some(result) => finish(result),
                None => fail("stopped before the end"),
            },
            Some(Command::BenchBare(args)) => finish(duologue_bench::bare::run(args).await),
        }
    })
}

fn finish<E: std::fmt::Display>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

/// An export or import tells apart why it ended: mistakes in the options, Ctrl-C, and the rest.
fn finish_transfer(result: Result<(), export::Error>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("duologue: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// Differences aren't a failure to look for them.
fn finish_replay(result: Result<bool, trace::Error>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("duologue: {error}");
            ExitCode::from(2)
        }
    }
}

fn fail(message: &str) -> ExitCode {
    eprintln!("duologue: {message}");
    ExitCode::FAILURE
}
