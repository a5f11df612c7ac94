//! The official npm clients against a server: `tests/interop`.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    process::{self, Failure, recorded},
    scratch,
    server::Server,
    tally::Tally,
    tools,
};

/// All suites together; each has a limit of its own in `run.mjs`.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// Where the suites and their packages are.
pub fn directory() -> PathBuf {
    scratch::root().join("tests/interop")
}

/// Builds the bot of the measurements with the official command line, into `file`.
pub fn bundle(file: &Path) -> Result<bool, Failure> {
    let directory = directory();
    tools::node_packages(&directory)?;
    let mut command = Command::new("node");
    command.args(["bundle.mjs", "code/echo"]).arg(std::path::absolute(file)?).current_dir(&directory);
    Ok(process::status(&mut command)?.success())
}

/// Runs the suites against a fresh server on the given engine.
pub fn run(binary: &Path, database: Option<&str>, filter: Option<&str>) -> Result<Tally, Failure> {
    let directory = directory();
    tools::node_packages(&directory)?;
    let mut server = Server::start(binary, database)?;
    let mut command = Command::new("node");
    command
        .arg("run.mjs")
        .current_dir(&directory)
        .env("DUOLOGUE_URL", &server.url)
        .env("DUOLOGUE_TOKEN", &server.token)
        .env("DUOLOGUE_BOT_ID", &server.bot_id)
        .env("DUOLOGUE_WORKSPACE_ID", &server.workspace_id)
        .env("DUOLOGUE_TUNNEL_URL", &server.tunnel_url);
    if let Some(filter) = filter {
        command.args(["--filter", filter]);
    }
    let ran = recorded(&mut command, LIMIT)?;
    if let Some(log) = server.post_mortem() {
        eprintln!("xtask: the server ended during the tests; the end of its log:\n{log}");
    }
    Ok(Tally::of(&ran.output, ran.succeeded()))
}
