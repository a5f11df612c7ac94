//! What the tests need beyond Rust, and how it gets here.

use std::{
    fs,
    io::IsTerminal,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::process::{self, Failure, cargo, quiet, say};

/// Whether cargo-nextest runs the tests. Installed if missing; without it the tests run one crate
/// after the other.
pub fn nextest() -> Result<bool, Failure> {
    let there = || cargo().args(["nextest", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if there().is_ok_and(|status| status.success()) {
        return Ok(true);
    }
    say("installing cargo-nextest");
    let installed = process::status(cargo().args(["install", "--locked", "cargo-nextest"]))?.success();
    if !installed {
        eprintln!("xtask: cargo-nextest could not be installed; cargo test runs the tests instead");
    }
    Ok(installed)
}

/// Makes sure of Node.js and of the packages that the lock file names.
pub fn node_packages(directory: &Path) -> Result<(), Failure> {
    const HOW: &str = "the interop tests need Node.js 20 or later with npm: https://nodejs.org/en/download";
    let version = quiet(Command::new("node").arg("--version")).map_err(|_| HOW)?;
    let major = version.trim().trim_start_matches('v').split('.').next().and_then(|n| n.parse::<u32>().ok());
    if major.is_none_or(|major| major < 20) {
        return Err(format!("{HOW}; this one is {}", version.trim()).into());
    }
    let lock = fs::read(directory.join("package-lock.json"))?;
    let stamp = directory.join("node_modules/.installed-from");
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    say("installing the npm packages of the interop tests");
    let status = process::status(Command::new("npm").arg("ci").current_dir(directory))
        .map_err(|error| if error.is::<process::Interrupted>() { error } else { HOW.into() })?;
    if !status.success() {
        return Err("npm ci failed in tests/interop".into());
    }
    fs::write(stamp, lock)?;
    Ok(())
}

/// The directory of PostgreSQL's server programs, the newest version's. Installed if missing.
pub fn postgres_programs() -> Result<PathBuf, Failure> {
    if let Some(found) = find_postgres() {
        return Ok(found);
    }
    say("installing PostgreSQL from the system's packages");
    install_postgres()?;
    find_postgres().ok_or_else(|| "PostgreSQL was installed, but its programs are not where they should be".into())
}

fn find_postgres() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, bin)| has_server(bin))
        .collect();
    found.sort();
    let packaged = found.pop().map(|(_, bin)| bin);
    packaged.or_else(|| {
        let text = quiet(Command::new("pg_config").arg("--bindir")).ok()?;
        Some(PathBuf::from(text.trim())).filter(|bin| has_server(bin))
    })
}

fn has_server(bin: &Path) -> bool {
    bin.join("postgres").is_file() && bin.join("initdb").is_file()
}

fn install_postgres() -> Result<(), Failure> {
    const HOW: &str = "the tests need the programs of a PostgreSQL server (initdb, postgres) and could not install \
                       them: install your system's package, e.g. `apt-get install postgresql`, or leave these tests out \
                       with --no-postgres";
    let root = is_root();
    let apt = |arguments: &[&str]| -> Result<bool, Failure> {
        let mut command = Command::new(if root { "apt-get" } else { "sudo" });
        if !root {
            // Without a terminal nobody could type the password.
            if !std::io::stdin().is_terminal() {
                command.arg("--non-interactive");
            }
            command.args(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        }
        command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments);
        match process::status(&mut command) {
            Ok(status) => Ok(status.success()),
            Err(error) if error.is::<process::Interrupted>() => Err(error),
            Err(_) => Err(HOW.into()),
        }
    };
    let install = ["install", "--yes", "--no-install-recommends", "postgresql"];
    // The package lists may be missing or old.
    if apt(&install)? || (apt(&["update"])? && apt(&install)?) { Ok(()) } else { Err(HOW.into()) }
}

/// Whether this process is root's.
pub fn is_root() -> bool {
    quiet(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}
