//! The dev loop: a dev bot of one's own on the server, served from here, kept up to date.
//!
//! The dev bot's id is remembered in a file beside the executable, which is in Cargo's target folder.
//! When the executable is built anew, the process lets what it handles finish and becomes the new one,
//! which deploys its definition if that has changed.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use duologue_client::Client;
use duologue_model::id::BotId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    Bot, Deployment, Error,
    deploy::{apply, changes, patch},
    serve::bind,
    service::Seen,
};

/// The first port tried.
const PORT: u16 = 8075;
/// How many ports are tried.
const PORTS: u16 = 25;
/// How often the executable is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How the dev loop runs.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Dev {
    port: Option<u16>,
    url: Option<String>,
    deployment: Deployment,
    cache: Option<PathBuf>,
}

impl Dev {
    /// On port 8075 or the next free one, reached by the server on this machine.
    pub fn new() -> Self {
        Self::default()
    }

    /// On this port.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Where the server reaches it, if not at `http://127.0.0.1` and the port.
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    /// Deploys in this way; its URL is replaced.
    pub fn deployment(mut self, deployment: Deployment) -> Self {
        self.deployment = deployment;
        self
    }

    /// Remembers the dev bot's id in this file.
    pub fn cache(mut self, file: impl Into<PathBuf>) -> Self {
        self.cache = Some(file.into());
        self
    }
}

/// Serves the bot as a dev bot until Ctrl-C; prints what arrives. `admin` is a client with a personal
/// access token; the bot uses its token unless it has a client of its own.
///
/// # Errors
///
/// When no port is free, the server refuses the definition, or an integration can't be registered.
pub async fn dev(bot: Bot, admin: &Client, options: Dev) -> Result<(), Error> {
    let executable = std::env::current_exe().ok().map(Executable::running);
    let listener = listen(options.port).await?;
    let port = listener.local_addr().map_err(Error::io("looking at the port"))?.port();
    let url = options.url.clone().unwrap_or_else(|| format!("http://127.0.0.1:{port}"));
    let bot = if bot.client.is_some() { bot } else { bot.client(admin.clone()) };
    let definition = bot.definition().clone();
    let service = bot.watched_service(Some(Box::new(|seen| eprintln!("{}", line(seen)))))?;
    // It listens before it is registered: the server may call at once.
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(service.listen(listener, async move {
        let _ = stopped.await;
    }));
    let mut cache = Cache::read(options.cache.clone().or_else(|| executable.as_ref().map(Executable::cache)), admin);
    let deployed = register(admin, &mut cache, &definition, options.deployment.clone().url(&url)).await;
    let ended = match deployed {
        Ok(id) => {
            let stop_requested = duologue_door::stop_requested();
            eprintln!("{id} is served at {url}; Ctrl-C ends it");
            let built = async {
                match &executable {
                    Some(executable) => executable.rebuilt().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop_requested => Ok(None),
                () = built => Ok(executable),
            }
        }
        Err(error) => Err(error),
    };
    let _ = stop.send(());
    let _ = serving.await;
    match ended? {
        Some(executable) => {
            eprintln!("built anew: starting again");
            executable.become_anew()
        }
        None => Ok(()),
    }
}

async fn listen(port: Option<u16>) -> Result<TcpListener, Error> {
    if let Some(port) = port {
        return bind(&format!("127.0.0.1:{port}")).await;
    }
    let mut last = None;
    for port in PORT..PORT + PORTS {
        match bind(&format!("127.0.0.1:{port}")).await {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| Error::Usage("no port was tried".into())))
}

/// Makes or finds the dev bot, and deploys what has changed.
async fn register(
    admin: &Client,
    cache: &mut Cache,
    definition: &crate::Definition,
    deployment: Deployment,
) -> Result<BotId, Error> {
    let found = match cache.bot() {
        Some(id) => match admin.get_bot(&id).await {
            Ok(bot) if bot.dev => Some(bot),
            Ok(_) => None,
            Err(error) if error.is_not_found() || error.is_forbidden() => None,
            Err(error) => return Err(error.into()),
        },
        None => None,
    };
    let bot = match found {
        Some(bot) => bot,
        None => {
            let bot = admin.create_bot(json!({ "dev": true })).await?;
            cache.remember(&bot.id)?;
            bot
        }
    };
    let current = bot.json().value();
    let patch = patch(admin, &current, definition, &deployment).await?;
    let changed = changes(&patch, &current);
    if changed.is_empty() {
        eprintln!("nothing to deploy: the server has this definition");
        return Ok(bot.id.clone());
    }
    let deployed = apply(admin, &bot.id, &patch).await?;
    eprintln!("deployed: {}", changed.join(", "));
    if let Some(failed) = deployed.failed.first() {
        return Err(Error::Usage(format!("the integration {} can't be registered: {}", failed.alias, failed.reason)));
    }
    Ok(bot.id.clone())
}

/// Which dev bot belongs to which server and workspace.
struct Cache {
    file: Option<PathBuf>,
    key: String,
    bots: BTreeMap<String, Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    bot_id: BotId,
}

impl Cache {
    /// A file that can't be read is as good as none.
    fn read(file: Option<PathBuf>, admin: &Client) -> Self {
        let text = file.as_deref().and_then(|file| fs::read(file).ok()).unwrap_or_default();
        let key = format!("{} {}", admin.api_url(), admin.workspace_id().unwrap_or_default());
        Cache { file, key: key.trim_end().to_owned(), bots: serde_json::from_slice(&text).unwrap_or_default() }
    }

    fn bot(&self) -> Option<BotId> {
        self.bots.get(&self.key).map(|entry| entry.bot_id.clone())
    }

    fn remember(&mut self, id: &BotId) -> Result<(), Error> {
        self.bots.insert(self.key.clone(), Entry { bot_id: id.clone() });
        let Some(file) = &self.file else { return Ok(()) };
        let text = serde_json::to_string_pretty(&self.bots).unwrap_or_default();
        fs::write(file, text).map_err(Error::io(format!("writing {}", file.display())))
    }
}

/// The file that this process runs, as it was at the start.
struct Executable {
    file: PathBuf,
    first: Option<Mark>,
}

/// By what a file is told from the one that takes its place.
type Mark = (SystemTime, u64);

fn mark(file: &Path) -> Option<Mark> {
    let data = fs::metadata(file).ok()?;
    Some((data.modified().ok()?, data.len()))
}

impl Executable {
    fn running(file: PathBuf) -> Self {
        Executable { first: mark(&file), file }
    }

    /// Where its dev bots are remembered.
    fn cache(&self) -> PathBuf {
        self.file.with_extension("dev.json")
    }

    /// Resolves once the file was replaced and hasn't changed since the look before.
    async fn rebuilt(&self) {
        let mut seen = self.first;
        loop {
            tokio::time::sleep(LOOK).await;
            let now = mark(&self.file);
            if now.is_some() && now != self.first && now == seen {
                return;
            }
            seen = now;
        }
    }

    /// Runs the file in the place of this process, with the same arguments.
    fn become_anew(&self) -> Result<(), Error> {
        let mut command = std::process::Command::new(&self.file);
        command.args(std::env::args_os().skip(1));
        let what = format!("starting {}", self.file.display());
        #[cfg(unix)]
        {
            use std::os::unix::process::CommandExt;
            Err(Error::io(what)(command.exec()))
        }
        #[cfg(not(unix))]
        {
            let status = command.status().map_err(Error::io(what))?;
            if status.success() { Ok(()) } else { Err(Error::Usage(format!("it ended with {status}"))) }
        }
    }
}

/// Most characters shown of what was said.
const SHOWN: usize = 100;

/// What is printed of a request.
fn line(seen: &Seen<'_>) -> String {
    let body: Value = serde_json::from_slice(seen.body).unwrap_or_default();
    let what = if seen.operation == "event_received" { seen.kind } else { seen.operation };
    let about = match what {
        "message_created" => {
            let message = &body["event"]["payload"]["message"];
            let text =
                message["payload"]["text"].as_str().map_or_else(|| message["payload"].to_string(), str::to_owned);
            format!("{} {text}", message["type"].as_str().unwrap_or_default())
        }
        "state_expired" => body["event"]["payload"]["state"]["name"].as_str().unwrap_or_default().to_owned(),
        "workflow_update" => {
            let payload = &body["event"]["payload"];
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            format!("{} {}", text(&payload["type"]), text(&payload["workflow"]["name"]))
        }
        "action_triggered" => format!("{} {}", body["type"].as_str().unwrap_or_default(), body["input"]),
        _ if seen.operation == "event_received" => body["event"]["payload"].to_string(),
        _ => String::new(),
    };
    let about: String = about.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN).collect();
    let outcome = if seen.status.is_success() {
        String::new()
    } else {
        format!(" → {} {}", seen.status.as_u16(), String::from_utf8_lossy(seen.answer))
    };
    format!("{} {what} {about} ({} ms){outcome}", crate::now(), seen.took.as_millis())
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn what_arrives_is_a_line_each() {
        let body = json!({"event": {"payload": {"message": {"type": "text", "payload": {"text": "a\u{1b}b\nc"}}}}});
        let body = body.to_string();
        let seen = Seen {
            operation: "event_received",
            kind: "message_created",
            body: body.as_bytes(),
            took: Duration::from_millis(3),
            status: StatusCode::BAD_REQUEST,
            answer: br#"{"type":"Runtime"}"#,
        };
        let line = line(&seen);
        assert!(line.ends_with(r#"message_created text a b c (3 ms) → 400 {"type":"Runtime"}"#), "{line}");
    }

    #[test]
    fn a_dev_bot_is_remembered_for_its_server() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bot.dev.json");
        let client = |url: &str| Client::builder().api_url(url).build().unwrap();
        let read = |url: &str| Cache::read(Some(file.clone()), &client(url));
        read("http://one").remember(&BotId::from("devbot_1")).unwrap();
        read("http://two").remember(&BotId::from("devbot_2")).unwrap();
        assert_eq!(read("http://one").bot(), Some(BotId::from("devbot_1")));
        assert_eq!(read("http://two").bot(), Some(BotId::from("devbot_2")));
        assert_eq!(read("http://three").bot(), None);
        fs::write(&file, "rubbish").unwrap();
        assert_eq!(read("http://one").bot(), None);
    }

    #[tokio::test]
    async fn a_replaced_executable_is_noticed_once_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bot");
        fs::write(&file, "old").unwrap();
        let executable = Executable::running(file.clone());
        // Before anybody waits for it: what is built while a bot is deployed counts, too.
        fs::write(&file, "newer").unwrap();
        tokio::time::timeout(Duration::from_secs(60), executable.rebuilt()).await.unwrap();
    }
}
