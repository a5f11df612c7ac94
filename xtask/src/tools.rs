//! What the tests need beyond Rust, and how it gets here.

use std::{
    fs,
    io::IsTerminal,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::process::{self, Failure, cargo, quiet, say};

/// Whether cargo-nextest is there. Without it the tests run one crate after the other; building it
/// would take longer than they do.
pub fn has_nextest() -> bool {
    let mut ask = cargo();
    ask.args(["nextest", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    ask.status().is_ok_and(|status| status.success())
}

/// Makes sure of Node.js and of the packages that the lock file names.
pub fn node_packages(directory: &Path) -> Result<(), Failure> {
    const HOW: &str = "the interop tests need Node.js 20.11 or later with npm: https://nodejs.org/en/download";
    if !has("node") || !has("npm") {
        say("installing Node.js from the system's packages");
        apt_install(&["nodejs", "npm"], HOW)?;
    }
    let version = quiet(Command::new("node").arg("--version")).map_err(|_| HOW)?;
    if !is_recent_node(&version) {
        return Err(format!("{HOW}; this one is {}", version.trim()).into());
    }
    let lock = fs::read(directory.join("package-lock.json"))?;
    let stamp = directory.join("node_modules/.installed-from");
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    say("installing the npm packages of the interop tests");
    // The registry is the one in npm's own configuration.
    if !process::status(Command::new("npm").arg("ci").current_dir(directory))?.success() {
        return Err("npm ci failed in tests/interop".into());
    }
    fs::write(stamp, lock)?;
    Ok(())
}

fn is_recent_node(version: &str) -> bool {
    let mut numbers = version.trim().trim_start_matches('v').split('.').map(|n| n.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (20, 11)
}

/// Makes sure of curl, which the README and the server's banner speak of.
pub fn curl() -> Result<(), Failure> {
    if has("curl") {
        return Ok(());
    }
    say("installing curl from the system's packages");
    apt_install(&["curl"], "the README's commands need curl: install your system's package")
}

/// Whether there is a program of that name that can tell its version.
fn has(program: &str) -> bool {
    quiet(Command::new(program).arg("--version")).is_ok()
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
    apt_install(&["postgresql"], HOW)
}

/// Installs packages with apt, as root or through sudo. `how` is what people are told to do instead.
fn apt_install(packages: &[&str], how: &str) -> Result<(), Failure> {
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
            Err(_) => Err(how.into()),
        }
    };
    let install = [&["install", "--yes", "--no-install-recommends"], packages].concat();
    // The package lists may be missing or old.
    if apt(&install)? || (apt(&["update"])? && apt(&install)?) { Ok(()) } else { Err(how.into()) }
}

/// Whether this process is root's.
pub fn is_root() -> bool {
    quiet(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_node() {
        for (version, recent) in
            [("v20.11.0\n", true), ("v22.3.1", true), ("v20.9.0", false), ("v18.20.4", false), ("", false)]
        {
            assert_eq!(is_recent_node(version), recent, "{version}");
        }
    }
}
