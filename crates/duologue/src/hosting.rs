//! Uploaded code: the host of it, over this server's store.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use duologue_bridge::{Code, Hosting, NoHosting};
use duologue_hosted::{Hosted, Issue, Level, Line, Program, Settings, Source};
use duologue_store::{
    Store,
    access::SHARED_TTL,
    hosted::{HOLD, Target},
    issues::{Category, Datum, Report},
    logs::{self, NewLine, Owner},
};
use futures_util::future::BoxFuture;
use tokio::{sync::watch, task::JoinHandle};

use crate::{config::Config, error::Error};

/// How long a process may take until it listens: loading a bundle of some megabytes on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long calls under way are waited for when the server stops.
const PATIENCE: Duration = Duration::from_secs(10);

/// The host, unless code isn't to be hosted, and what has to run beside it.
pub struct Host {
    running: Option<Running>,
}

struct Running {
    hosted: Hosted,
    store: Arc<Store>,
    /// This server, among others on the database.
    holder: String,
    tokens: JoinHandle<()>,
}

impl Host {
    /// Hosts code as it is configured. `address` is where this server listens.
    pub async fn open(
        config: &Config,
        store: &Arc<Store>,
        address: SocketAddr,
        webhook_url: &str,
        stopped: watch::Receiver<bool>,
    ) -> Result<Self, Error> {
        if config.node.as_os_str() == "off" {
            return Ok(Host { running: None });
        }
        if !store.is_shared() {
            // The only server on this database starts now, so none of its processes runs.
            store.end_hosted_tokens(None).await?;
        }
        let holder = store.ids().uuid();
        let source = Shelf {
            store: store.clone(),
            holder: holder.clone(),
            api_url: local_url(address),
            webhook_url: webhook_url.to_owned(),
        };
        let tokens = tokio::spawn(hold_tokens(store.clone(), holder.clone(), stopped));
        let binary = std::env::current_exe().map_err(|error| duologue_hosted::Error::Start(error.to_string()))?;
        let settings = Settings {
            node: config.node.clone(),
            folder: config.data.join("hosted"),
            launcher: vec![binary.into(), crate::CODE_LAUNCHER.into()],
            processes: config.hosted_processes,
            memory: config.hosted_memory,
            idle: Duration::from_secs(config.hosted_idle),
            start_timeout: START_TIMEOUT,
            confined: config.hosted_confined,
        };
        let hosted = Hosted::new(settings, Arc::new(source))?;
        Ok(Host { running: Some(Running { hosted, store: store.clone(), holder, tokens }) })
    }

    /// What hosts, unless code isn't hosted.
    pub fn hosted(&self) -> Option<Hosted> {
        self.running.as_ref().map(|running| running.hosted.clone())
    }

    /// For the bridge.
    pub fn hosting(&self) -> Arc<dyn Hosting> {
        match &self.running {
            Some(running) => Arc::new(running.hosted.clone()),
            None => Arc::new(NoHosting),
        }
    }

    /// Ends all processes. Nothing calls them any more.
    pub async fn close(self) {
        let Some(running) = self.running else { return };
        running.hosted.stop(PATIENCE).await;
        // It ends by itself; an error means that it already has.
        let _ = running.tokens.await;
        if let Err(error) = running.store.end_hosted_tokens(Some(running.holder)).await {
            tracing::warn!(%error, "the tokens of hosted code could not be removed; they end by themselves");
        }
    }
}

/// Where code that runs on this machine reaches the server.
fn local_url(mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    format!("http://{address}")
}

/// Says again and again that this server still runs, and its processes with it.
async fn hold_tokens(store: Arc<Store>, holder: String, mut stopped: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(HOLD / 6) => {}
            _ = stopped.wait_for(|stop| *stop) => return,
        }
        if let Err(error) = store.renew_hosted_tokens(holder.clone()).await {
            tracing::warn!(%error, "the tokens of hosted code could not be renewed; trying again");
        }
    }
}

/// The store, as the host sees it.
struct Shelf {
    store: Arc<Store>,
    /// This server, among others on the database.
    holder: String,
    api_url: String,
    webhook_url: String,
}

impl Source for Shelf {
    fn generation(&self) -> u64 {
        self.store.rights_generation()
    }

    fn believed_for(&self) -> Option<Duration> {
        self.store.is_shared().then_some(SHARED_TTL)
    }

    fn version<'a>(&'a self, code: &'a Code) -> BoxFuture<'a, Result<Option<String>, String>> {
        Box::pin(async { self.store.hosted_version(target(code)).await.map_err(|error| error.to_string()) })
    }

    fn program<'a>(&'a self, code: &'a Code) -> BoxFuture<'a, Result<Option<Program>, String>> {
        Box::pin(async {
            let found = self.store.hosted_program(target(code), self.holder.clone()).await;
            let found = found.map_err(|error| error.to_string())?;
            Ok(found.map(|found| Program {
                environment: self.environment(code, &found),
                version: found.version,
                bundle: found.code,
                token_id: found.token_id,
                timeout: seconds(found.max_execution_time),
                always_alive: found.always_alive,
            }))
        })
    }

    fn ended(&self, _: &Code, token_id: String) {
        let store = self.store.clone();
        tokio::spawn(async move {
            if let Err(error) = store.end_hosted_token(token_id).await {
                tracing::warn!(%error, "the token of a process that has ended could not be removed; it ends by itself");
            }
        });
    }

    fn log(&self, code: &Code, line: Line) {
        for line in lines(code, line) {
            self.store.log(line);
        }
    }
}

impl Shelf {
    /// All that code finds in its environment (`spec/cloud/bridge-protocol.md` § 7).
    fn environment(&self, code: &Code, found: &duologue_store::hosted::Program) -> Vec<(String, String)> {
        let id = match code {
            Code::Bot(id) => ("BP_BOT_ID", id.as_str()),
            Code::Integration(id) => ("BP_INTEGRATION_ID", id.as_str()),
        };
        let fixed = [
            ("BP_API_URL", self.api_url.as_str()),
            ("BP_TOKEN", found.token.as_str()),
            ("BP_WEBHOOK_URL", self.webhook_url.as_str()),
            ("BP_LOG_FORMAT", "json"),
            ("BP_WORKSPACE_ID", found.workspace_id.as_str()),
            id,
        ];
        let fixed = fixed.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        fixed.chain(secrets(&found.secrets)).collect()
    }
}

fn secrets(secrets: &BTreeMap<String, String>) -> impl Iterator<Item = (String, String)> {
    // What the system can't put into an environment is left out.
    let fits = |text: &str| !text.contains('\0');
    secrets
        .iter()
        .filter(move |(name, value)| fits(name) && !name.contains('=') && fits(value))
        .map(|(name, value)| (format!("SECRET_{name}"), value.clone()))
}

fn seconds(given: Option<i64>) -> Duration {
    let given = given.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
    given.map_or(duologue_bridge::TIMEOUT, Duration::from_secs)
}

fn target(code: &Code) -> Target {
    match code {
        Code::Bot(id) => Target::Bot(id.clone()),
        Code::Integration(id) => Target::Integration(id.clone()),
    }
}

/// Into whose logs a line goes: what an integration says may be for its owner, for the bot's, or both.
fn lines(code: &Code, line: Line) -> Vec<NewLine> {
    let kept = |owner: Owner, installed: Option<String>| NewLine {
        owner,
        level: level(line.level),
        message: line.message.clone(),
        user_id: line.user_id.clone(),
        conversation_id: line.conversation_id.clone(),
        workflow_id: line.workflow_id.clone(),
        installed,
        report: None,
    };
    let report = line.issue.as_deref().map(|issue| Box::new(report(issue)));
    match code {
        Code::Bot(id) => vec![NewLine { report, ..kept(Owner::Bot(id.clone()), None) }],
        Code::Integration(id) => {
            let own = line.for_integration.then(|| kept(Owner::Integration(id.clone()), None));
            let bot = line.bot_id.clone().filter(|_| line.for_bot);
            let bots = bot.map(|bot| NewLine { report, ..kept(Owner::Bot(bot), Some(id.clone())) });
            own.into_iter().chain(bots).collect()
        }
    }
}

fn report(issue: &Issue) -> Report {
    let datum = |(name, (raw, pretty)): (&String, &(String, Option<String>))| {
        (name.clone(), Datum { raw: raw.clone(), pretty: pretty.clone() })
    };
    Report {
        code: issue.code.clone(),
        category: Category::from_name(&issue.category).unwrap_or_default(),
        title: issue.title.clone(),
        description: issue.description.clone(),
        data: issue.data.iter().map(datum).collect(),
        group_by: issue.group_by.iter().cloned().collect(),
    }
}

fn level(level: Level) -> logs::Level {
    match level {
        Level::Debug => logs::Level::Debug,
        Level::Info => logs::Level::Info,
        Level::Warn => logs::Level::Warn,
        Level::Error => logs::Level::Error,
    }
}
