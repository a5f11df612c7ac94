//! A throw-away PostgreSQL cluster with a server's usual settings.
//!
//! PostgreSQL refuses to run as root, so root runs it as the user `postgres`, or else `nobody`. Nothing is switched
//! off that makes it durable: the fault tests rely on it. Texts sort by the rules of a language,
//! as on most installations, so that SQL that relies on byte order is caught.

use std::{
    fs::{self, File},
    io,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    process::{Background, Failure, quiet, say},
    scratch::{self, Scratch},
    tools,
};

const USER: &str = "duologue";
const PASSWORD: &str = "throw-away";

/// A running cluster. Stopped and removed when dropped.
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order: first the server, then its files.
    _server: Background,
    _files: Scratch,
    programs: PathBuf,
    port: u16,
}

impl Cluster {
    /// Creates and starts one. Installs PostgreSQL if need be.
    pub fn start() -> Result<Self, Failure> {
        let programs = tools::postgres_programs()?;
        say("starting a throw-away PostgreSQL cluster");
        let owner = if tools::is_root() { Some(Owner::find()?) } else { None };
        let files = Scratch::new("postgres")?;
        create(&programs, files.path(), owner.as_ref())?;
        // Another process may take the port before the server does.
        let mut last = None;
        for _ in 0..3 {
            match serve(&programs, files.path(), owner.as_ref()) {
                Ok((server, port)) => return Ok(Cluster { _server: server, _files: files, programs, port }),
                Err(error) if error.is::<crate::process::Interrupted>() => return Err(error),
                Err(error) => last = Some(error),
            }
        }
        let log = scratch::tail(&files.path().join("log"));
        Err(format!("{}\n{log}", last.map(|error| error.to_string()).unwrap_or_default()).into())
    }

    /// The URL of one of its databases; `postgres` exists from the start.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// Creates a database.
    pub fn create_database(&self, name: &str) -> Result<(), Failure> {
        let mut command = Command::new(self.programs.join("createdb"));
        command.env("PGPASSWORD", PASSWORD).args(["-h", "127.0.0.1", "-U", USER, "-p", &self.port.to_string(), name]);
        quiet(&mut command).map(drop)
    }
}

/// Whose processes and files these are, when we are root.
#[derive(Debug)]
struct Owner {
    user: u32,
    group: u32,
}

impl Owner {
    fn find() -> Result<Self, Failure> {
        let id =
            |flag, name| -> Result<u32, Failure> { Ok(quiet(Command::new("id").args([flag, name]))?.trim().parse()?) };
        let of = |name| Ok(Owner { user: id("-u", name)?, group: id("-g", name)? });
        of("postgres").or_else(|_: Failure| of("nobody")).map_err(|_: Failure| {
            "PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody`: create one".into()
        })
    }

    fn give(&self, path: &Path) -> io::Result<()> {
        chown(path, Some(self.user), Some(self.group))
    }
}

/// One of PostgreSQL's programs, run as the cluster's owner.
fn program(programs: &Path, name: &str, directory: &Path, owner: Option<&Owner>) -> Command {
    let mut command = Command::new(programs.join(name));
    command.current_dir(directory).env("LC_ALL", "C.UTF-8");
    if let Some(owner) = owner {
        command.uid(owner.user).gid(owner.group);
    }
    command
}

fn create(programs: &Path, directory: &Path, owner: Option<&Owner>) -> Result<(), Failure> {
    let password = directory.join("password");
    fs::write(&password, PASSWORD)?;
    if let Some(owner) = owner {
        owner.give(directory)?;
        owner.give(&password)?;
    }
    let initdb = |locale: &[&str]| {
        let mut command = program(programs, "initdb", directory, owner);
        command
            .args(["-D", "data", "-U", USER, "--auth=scram-sha-256", "--pwfile=password", "--encoding=UTF8"])
            .args(locale);
        quiet(&mut command)
    };
    // Version 14 and builds without ICU know no provider.
    initdb(&["--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US"])
        .or_else(|_| initdb(&["--locale=C.UTF-8"]))
        .or_else(|_| initdb(&["--no-locale"]))
        .map(drop)
}

fn serve(programs: &Path, directory: &Path, owner: Option<&Owner>) -> Result<(Background, u16), Failure> {
    let port = scratch::free_port()?;
    let log = File::create(directory.join("log"))?;
    let mut command = program(programs, "postgres", directory, owner);
    command.args(["-D", "data", "-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
    command.arg("-c").arg(format!("unix_socket_directories={}", directory.display()));
    command.args(["-c", "max_connections=600"]).stdout(log.try_clone()?).stderr(log);
    // SIGQUIT is PostgreSQL's "immediate shutdown": nobody needs what a checkpoint would take long to write.
    let mut server = Background::start("PostgreSQL", "QUIT", &mut command)?;
    server.await_ready(Duration::from_secs(60), || accepts(programs, port))?;
    Ok((server, port))
}

fn accepts(programs: &Path, port: u16) -> bool {
    Command::new(programs.join("pg_isready"))
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-q"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Needs PostgreSQL's programs; without them there is nothing to test here.
    #[test]
    fn a_cluster_starts_takes_a_database_and_leaves_nothing_behind() {
        if !Path::new("/usr/lib/postgresql").exists() {
            return;
        }
        let cluster = Cluster::start().unwrap();
        cluster.create_database("another").unwrap();
        assert!(cluster.create_database("another").is_err(), "it exists now");
        let (files, port) = (cluster._files.path().to_owned(), cluster.port);
        drop(cluster);
        assert!(!files.exists());
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    }
}
