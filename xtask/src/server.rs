//! A throw-away Duologue server.

use std::{
    fs::File,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    process::{Background, Failure, quiet},
    scratch::{self, Scratch},
};

/// A running server with what `duologue init` printed. Stopped and removed when dropped.
#[derive(Debug)]
pub struct Server {
    // Dropped in this order: first the server, then its files.
    process: Background,
    files: Scratch,
    /// Base URL.
    pub url: String,
    /// The owner's personal access token.
    pub token: String,
    /// The first bot.
    pub bot_id: String,
    /// The first workspace.
    pub workspace_id: String,
    /// Where tunnels of developers are opened.
    pub tunnel_url: String,
}

impl Server {
    /// Sets one up from nothing, on SQLite or in the empty PostgreSQL database `database`.
    pub fn start(binary: &Path, database: Option<&str>) -> Result<Self, Failure> {
        let files = Scratch::new("server")?;
        let data = files.path().join("data");
        let on_database: Vec<&str> = database.map(|url| vec!["--database", url]).unwrap_or_default();
        let printed = quiet(Command::new(binary).args(["init", "--json", "--data"]).arg(&data).args(&on_database))?;
        let field = |name: &str| {
            text_field(&printed, name).ok_or_else(|| format!("`duologue init --json` printed no {name}: {printed}"))
        };
        let (token, bot_id, workspace_id) = (field("token")?, field("botId")?, field("workspaceId")?);

        let port = scratch::free_port()?;
        let address = format!("127.0.0.1:{port}");
        let tunnels = format!("127.0.0.1:{}", scratch::free_port()?);
        let log = File::create(log_of(&files))?;
        let mut command = Command::new(binary);
        command
            .args(["serve", "--listen", &address, "--tunnel-listen", &tunnels, "--data"])
            .arg(&data)
            .args(&on_database);
        command.arg("--v12-data").arg(crate::interop::directory().join("v12-data"));
        // Suites receive webhooks on this machine.
        command.args(["--allow-outbound", "127.0.0.1"]);
        command.stdout(log.try_clone()?).stderr(log);
        let mut process = Background::start("the server", "TERM", &mut command)?;
        process
            .await_ready(Duration::from_secs(60), || is_ready(&address))
            .map_err(|error| format!("{error}\n{}", scratch::tail(&log_of(&files))))?;
        Ok(Server {
            process,
            files,
            url: format!("http://{address}"),
            token,
            bot_id,
            workspace_id,
            tunnel_url: format!("http://{tunnels}"),
        })
    }

    /// The end of its log, if it isn't running any more.
    pub fn post_mortem(&mut self) -> Option<String> {
        if self.process.runs() { None } else { Some(scratch::tail(&log_of(&self.files))) }
    }
}

fn log_of(files: &Scratch) -> PathBuf {
    files.path().join("log")
}

/// Whether `GET /ready` answers 200.
pub fn is_ready(address: &str) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        write!(stream, "GET /ready HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// The value of a text field in flat JSON whose texts need no escapes.
fn text_field(json: &str, name: &str) -> Option<String> {
    let (_, rest) = json.split_once(&format!("\"{name}\""))?;
    let (_, value) = rest.split_once(':')?;
    let (value, _) = value.trim_start().strip_prefix('"')?.split_once('"')?;
    Some(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_flat_json() {
        let json = "{\n  \"workspaceId\": \"w-1\",\"botId\":\"bot_2\", \"n\": 3}";
        assert_eq!(text_field(json, "workspaceId").as_deref(), Some("w-1"));
        assert_eq!(text_field(json, "botId").as_deref(), Some("bot_2"));
        assert_eq!(text_field(json, "n"), None);
        assert_eq!(text_field(json, "token"), None);
    }
}
