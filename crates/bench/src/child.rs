//! Servers as processes of their own.

use std::{
    net::TcpListener,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
};

use crate::Error;

/// A running server; killed when dropped.
pub(crate) struct Server {
    pub(crate) address: String,
    child: Child,
    /// From the start of the process to its first answer.
    pub(crate) started_in: Duration,
}

/// What `duologue init` has printed.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub(crate) bot: String,
    pub(crate) token: String,
    pub(crate) workspace: String,
}

fn own_binary() -> Result<std::path::PathBuf, Error> {
    std::env::current_exe().map_err(|e| Error::Io("find this program", e))
}

fn free_address() -> Result<String, Error> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|e| Error::Io("find a free port", e))?;
    Ok(listener.local_addr().map_err(|e| Error::Io("find a free port", e))?.to_string())
}

/// Prepares a data folder or database.
pub(crate) async fn init(data: &Path, database: Option<&str>) -> Result<Access, Error> {
    let mut command = Command::new(own_binary()?);
    command.args(["init", "--json", "--data"]).arg(data);
    if let Some(url) = database {
        command.args(["--database", url]);
    }
    let output = command.output().await.map_err(|e| Error::Io("run init", e))?;
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout)
        .map_err(|_| Error::Unexpected(format!("init failed: {}", String::from_utf8_lossy(&output.stderr))))?;
    let text = |key: &str| printed[key].as_str().unwrap_or_default().to_owned();
    Ok(Access { bot: text("botId"), token: text("token"), workspace: text("workspaceId") })
}

impl Server {
    /// Starts Duologue.
    pub(crate) async fn duologue(data: &Path, database: Option<(&str, usize)>) -> Result<Server, Error> {
        Server::duologue_with(data, database, &[]).await
    }

    /// Starts Duologue with more options.
    pub(crate) async fn duologue_with(
        data: &Path,
        database: Option<(&str, usize)>,
        more: &[&str],
    ) -> Result<Server, Error> {
        // Bots that fail are meant to.
        const LOG: &str = "warn,duologue_delivery=error";
        let mut args: Vec<String> = ["serve", "--log", LOG, "--data"].map(String::from).into();
        args.push(data.display().to_string());
        if let Some((url, connections)) = database {
            args.extend(["--database".into(), url.into(), "--database-connections".into(), connections.to_string()]);
        }
        args.extend(more.iter().map(|option| (*option).to_owned()));
        Server::start(args, "/ready").await
    }

    /// Starts a baseline.
    pub(crate) async fn bare(args: &[&str]) -> Result<Server, Error> {
        let mut all = vec!["bench-bare".to_owned()];
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        Server::start(all, "/read/none").await
    }

    async fn start(mut args: Vec<String>, probe: &str) -> Result<Server, Error> {
        let address = free_address()?;
        args.extend(["--listen".into(), address.clone()]);
        let began = Instant::now();
        let child = Command::new(own_binary()?)
            .args(&args)
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| Error::Io("start a server", e))?;
        let mut server = Server { address, child, started_in: Duration::ZERO };
        while began.elapsed() < Duration::from_secs(30) {
            if server.answers(probe).await {
                server.started_in = began.elapsed();
                return Ok(server);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Err(Error::Unexpected(format!("the server {args:?} did not start")))
    }

    async fn answers(&self, probe: &str) -> bool {
        let Ok(mut stream) = TcpStream::connect(&self.address).await else { return false };
        let request = format!("GET {probe} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        if stream.write_all(request.as_bytes()).await.is_err() {
            return false;
        }
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.is_ok() && answer.starts_with(b"HTTP/1.1 ")
    }

    /// Resident memory in bytes.
    pub(crate) fn resident(&self) -> u64 {
        status(self.child.id(), "VmRSS:")
    }

    /// Ends it.
    pub(crate) async fn stop(mut self) {
        // It may have ended by itself.
        let _ = self.child.kill().await;
    }
}

/// A line of a process's status, in bytes.
pub(crate) fn status(process: Option<u32>, line: &str) -> u64 {
    let Some(process) = process else { return 0 };
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let kilobytes =
        text.lines().find_map(|l| l.strip_prefix(line)?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// Runs this program to its end; answers how long it took and its greatest resident memory.
pub(crate) async fn run_to_end(args: &[String]) -> Result<(Duration, u64), Error> {
    let began = Instant::now();
    let mut child = Command::new(own_binary()?)
        .args(args)
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| Error::Io("start a command", e))?;
    let mut peak = 0;
    loop {
        peak = peak.max(status(child.id(), "VmHWM:"));
        match child.try_wait().map_err(|e| Error::Io("wait for a command", e))? {
            Some(ended) if ended.success() => return Ok((began.elapsed(), peak)),
            Some(ended) => return Err(Error::Unexpected(format!("{args:?} ended with {ended}"))),
            None => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}
