//! Configuration: flags, then environment variables, then a TOML file, then defaults.
//!
//! Every setting is described once, in [`Flags`]: its flag, its variable (`DUOLOGUE_…`), its key in
//! the file (the flag's name with underscores) and its help.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use duologue_http::Limits;
use duologue_outbound::AllowList;
use duologue_store::Location;
use serde::{Deserialize, Serialize};

/// How deep the parser of bodies goes itself.
const MAX_JSON_DEPTH: usize = 127;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Pretty,
    /// One JSON object a line.
    Json,
}

/// On or off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// On.
    #[default]
    On,
    /// Off.
    Off,
}

/// Where the code of bots and integrations may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BotUrls {
    /// Anywhere, in private networks too.
    #[default]
    Any,
    /// On the public Internet, and where `--allow-outbound` says.
    Public,
}

/// What can be set.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Flags {
    /// TOML file with settings; flags and environment variables win over it.
    #[arg(long, env = "DUOLOGUE_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    config: Option<PathBuf>,

    /// Folder of the embedded database. [default: ./duologue-data]
    #[arg(long, env = "DUOLOGUE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,

    /// PostgreSQL to use instead: postgres://user:password@host/database.
    #[arg(long, env = "DUOLOGUE_DATABASE", value_name = "URL", hide_env_values = true)]
    database: Option<String>,

    /// Most connections to PostgreSQL at once. [default: 20]
    #[arg(long, env = "DUOLOGUE_DATABASE_CONNECTIONS", value_name = "N")]
    database_connections: Option<usize>,

    /// Address to listen on. [default: 127.0.0.1:3000]
    #[arg(long, env = "DUOLOGUE_LISTEN", value_name = "ADDR")]
    listen: Option<SocketAddr>,

    /// Origin under which others reach this server, without a path. [default: http://<listen>]
    #[arg(long, env = "DUOLOGUE_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,

    /// Address for tunnels of `bp dev` to code on developers' machines. There are none without it.
    #[arg(long, env = "DUOLOGUE_TUNNEL_LISTEN", value_name = "ADDR")]
    tunnel_listen: Option<SocketAddr>,

    /// What to log: error, warn, info, debug, trace, or a filter such as duologue_store=debug.
    /// [default: info]
    #[arg(long, env = "DUOLOGUE_LOG", value_name = "LEVEL")]
    log: Option<String>,

    /// How log lines look. [default: pretty]
    #[arg(long, env = "DUOLOGUE_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<LogFormat>,

    /// Requests a second that each token may make; 0 is no limit. [default: 0]
    #[arg(long, env = "DUOLOGUE_RATE_LIMIT", value_name = "N")]
    rate_limit: Option<u32>,

    /// Most bytes in the body of a runtime request. [default: 8388608]
    #[arg(long, env = "DUOLOGUE_BODY_LIMIT", value_name = "BYTES")]
    body_limit: Option<usize>,

    /// Most bytes in the body of an admin request, which carries code. [default: 104857600]
    #[arg(long, env = "DUOLOGUE_ADMIN_BODY_LIMIT", value_name = "BYTES")]
    admin_body_limit: Option<usize>,

    /// Most bytes in the payload of a message, event or state. [default: 131072]
    #[arg(long, env = "DUOLOGUE_PAYLOAD_LIMIT", value_name = "BYTES")]
    payload_limit: Option<usize>,

    /// How deep objects and arrays in a body may nest. [default: 64]
    #[arg(long, env = "DUOLOGUE_JSON_DEPTH", value_name = "N")]
    json_depth: Option<usize>,

    /// Seconds a client may take to send a request's line and headers, and may leave a connection
    /// idle. [default: 60]
    #[arg(long, env = "DUOLOGUE_HEADER_TIMEOUT", value_name = "SECONDS")]
    header_timeout: Option<u64>,

    /// Seconds a client may take to send a request's body, and to take the next piece of an
    /// answer. [default: 30]
    #[arg(long, env = "DUOLOGUE_BODY_TIMEOUT", value_name = "SECONDS")]
    body_timeout: Option<u64>,

    /// Most connections of clients at once. [default: 10000]
    #[arg(long, env = "DUOLOGUE_CONNECTIONS", value_name = "N")]
    connections: Option<usize>,

    /// Most listeners to the messages of v12 bots at once. [default: 10000]
    #[arg(long, env = "DUOLOGUE_LISTENERS", value_name = "N")]
    listeners: Option<usize>,

    /// Most listeners to one user's conversation with a v12 bot. [default: 16]
    #[arg(long, env = "DUOLOGUE_LISTENERS_PER_USER", value_name = "N")]
    listeners_per_user: Option<usize>,

    /// Seconds to finish running requests after SIGTERM. [default: 10]
    #[arg(long, env = "DUOLOGUE_SHUTDOWN_TIMEOUT", value_name = "SECONDS")]
    shutdown_timeout: Option<u64>,

    /// Data folder of Botpress v12 whose bots are served too.
    #[arg(long, env = "DUOLOGUE_V12_DATA", value_name = "DIR")]
    v12_data: Option<PathBuf>,

    /// What requests of bots and webhooks may reach besides the public Internet: hosts, addresses and
    /// networks, separated by commas, such as crm.internal:8080, 10.0.0.0/8.
    #[arg(long, env = "DUOLOGUE_ALLOW_OUTBOUND", value_name = "LIST")]
    allow_outbound: Option<String>,

    /// Where the code of bots and integrations may be called: any, or public for the public Internet
    /// and what --allow-outbound opens. [default: any]
    #[arg(long, env = "DUOLOGUE_BOT_URLS", value_name = "WHERE")]
    bot_urls: Option<BotUrls>,

    /// Origin under which the outside world reaches the webhooks of integrations, without a path.
    /// [default: the public URL]
    #[arg(long, env = "DUOLOGUE_WEBHOOK_URL", value_name = "URL")]
    webhook_url: Option<String>,

    /// Most bytes in the body of a webhook. [default: 104857600]
    #[arg(long, env = "DUOLOGUE_WEBHOOK_BODY_LIMIT", value_name = "BYTES")]
    webhook_body_limit: Option<usize>,

    /// Node.js that runs uploaded code of bots and integrations: a path, or a name to look for in PATH;
    /// `off` runs none. [default: node]
    #[arg(long, env = "DUOLOGUE_NODE", value_name = "PATH")]
    node: Option<PathBuf>,

    /// Most processes of uploaded code at once. [default: 32]
    #[arg(long, env = "DUOLOGUE_HOSTED_PROCESSES", value_name = "N")]
    hosted_processes: Option<usize>,

    /// MiB of JavaScript objects that a process of uploaded code may have. [default: 256]
    #[arg(long, env = "DUOLOGUE_HOSTED_MEMORY", value_name = "MIB")]
    hosted_memory: Option<u64>,

    /// Seconds that a process of uploaded code runs on when nobody calls it. [default: 300]
    #[arg(long, env = "DUOLOGUE_HOSTED_IDLE", value_name = "SECONDS")]
    hosted_idle: Option<u64>,

    /// Whether uploaded code is kept from the files of this machine, and from processes and threads of
    /// its own. Takes Node 20 or later. [default: true]
    #[arg(long, env = "DUOLOGUE_HOSTED_CONFINED", value_name = "BOOL")]
    hosted_confined: Option<bool>,

    /// Whether events and messages are delivered to bots and integrations, and webhooks sent. While off they
    /// are kept. [default: on]
    #[arg(long, env = "DUOLOGUE_DELIVERIES", value_name = "SWITCH")]
    deliveries: Option<Switch>,

    /// Most calls at once to one bot, and to one integration in it. [default: 64]
    #[arg(long, env = "DUOLOGUE_DELIVERIES_IN_FLIGHT", value_name = "N")]
    deliveries_in_flight: Option<usize>,

    /// Days for which attempts at deliveries are kept. [default: 7]
    #[arg(long, env = "DUOLOGUE_DELIVERY_RETENTION", value_name = "DAYS")]
    delivery_retention: Option<u32>,

    /// The owner's token on the first start, instead of a random one.
    #[arg(long, env = "DUOLOGUE_INITIAL_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    initial_token: Option<String>,

    /// What secrets of bots and integrations are encrypted with, at least 32 characters; a key that
    /// the database keeps, if none is given. The same for all servers on one database.
    #[arg(long, env = "DUOLOGUE_SECRET_KEY", value_name = "KEY", hide_env_values = true)]
    secret_key: Option<String>,
}

/// What is in force.
#[derive(Clone, Debug, Serialize)]
pub struct Config {
    /// Folder of the embedded database.
    pub data: PathBuf,
    /// PostgreSQL, if it is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// Connections to it.
    pub database_connections: usize,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Origin for others.
    pub public_url: String,
    /// Where tunnels are served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel_listen: Option<SocketAddr>,
    /// What to log.
    pub log: String,
    /// How.
    pub log_format: LogFormat,
    /// Requests a second and token.
    pub rate_limit: u32,
    /// Bytes.
    pub body_limit: usize,
    /// Bytes.
    pub admin_body_limit: usize,
    /// Bytes.
    pub payload_limit: usize,
    /// Levels.
    pub json_depth: usize,
    /// Seconds.
    pub header_timeout: u64,
    /// Seconds.
    pub body_timeout: u64,
    /// Clients' connections.
    pub connections: usize,
    /// Listeners to v12 bots.
    pub listeners: usize,
    /// Listeners to one conversation of a v12 bot.
    pub listeners_per_user: usize,
    /// Seconds.
    pub shutdown_timeout: u64,
    /// The v12 bots, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub v12_data: Option<PathBuf>,
    /// What requests of bots may reach.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub allow_outbound: String,
    /// Where code may be called.
    pub bot_urls: BotUrls,
    /// Origin of webhooks.
    pub webhook_url: String,
    /// Bytes.
    pub webhook_body_limit: usize,
    /// Node.
    pub node: PathBuf,
    /// Processes of uploaded code.
    pub hosted_processes: usize,
    /// MiB.
    pub hosted_memory: u64,
    /// Seconds.
    pub hosted_idle: u64,
    /// Whether it is kept from files, processes and threads.
    pub hosted_confined: bool,

    /// Whether there are deliveries.
    pub deliveries: Switch,
    /// Calls at once.
    pub deliveries_in_flight: usize,
    /// Days.
    pub delivery_retention: u32,
    /// The first token, if it is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_token: Option<String>,
    /// What secrets are encrypted with, if it isn't the database's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key: Option<String>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file can't be read.
    #[error("can't read the configuration {0}: {1}")]
    Read(PathBuf, std::io::Error),
    /// The file doesn't say what it should.
    #[error("the configuration {0} is not valid: {1}")]
    Parse(PathBuf, Box<toml::de::Error>),
    /// A setting makes no sense.
    #[error("{0}")]
    Invalid(String),
}

impl Flags {
    /// Flags for commands that take only where the data is.
    pub fn of_location(data: Option<PathBuf>, database: Option<String>) -> Self {
        Flags { data, database, ..Flags::default() }
    }

    /// Resolves all layers.
    pub fn resolve(self) -> Result<Config, Error> {
        let file = match &self.config {
            Some(path) => read(path)?,
            None => Flags::default(),
        };
        macro_rules! pick {
            ($name:ident) => {
                self.$name.clone().or(file.$name.clone())
            };
            ($name:ident, $default:expr) => {
                pick!($name).unwrap_or_else(|| $default)
            };
        }
        let limits = Limits::default();
        let listen = pick!(listen, SocketAddr::from(([127, 0, 0, 1], 3000)));
        let public_url = pick!(public_url, format!("http://{listen}")).trim_end_matches('/').to_owned();
        let config = Config {
            data: pick!(data, PathBuf::from("duologue-data")),
            database: pick!(database).filter(|url| !url.is_empty()),
            database_connections: pick!(database_connections, 20),
            listen,
            tunnel_listen: pick!(tunnel_listen),
            webhook_url: pick!(webhook_url, public_url.clone()).trim_end_matches('/').to_owned(),
            public_url,
            log: pick!(log, "info".into()),
            log_format: pick!(log_format, LogFormat::default()),
            rate_limit: pick!(rate_limit, 0),
            body_limit: pick!(body_limit, limits.body_bytes),
            admin_body_limit: pick!(admin_body_limit, limits.admin_body_bytes),
            payload_limit: pick!(payload_limit, limits.payload_bytes),
            json_depth: pick!(json_depth, limits.json_depth),
            header_timeout: pick!(header_timeout, 60),
            body_timeout: pick!(body_timeout, limits.body_seconds),
            connections: pick!(connections, 10_000),
            listeners: pick!(listeners, 10_000),
            listeners_per_user: pick!(listeners_per_user, 16),
            shutdown_timeout: pick!(shutdown_timeout, 10),
            v12_data: pick!(v12_data).filter(|folder| !folder.as_os_str().is_empty()),
            allow_outbound: pick!(allow_outbound, String::new()),
            bot_urls: pick!(bot_urls, BotUrls::default()),
            webhook_body_limit: pick!(webhook_body_limit, limits.webhook_body_bytes),
            node: pick!(node, "node".into()),
            hosted_processes: pick!(hosted_processes, 32),
            hosted_memory: pick!(hosted_memory, 256),
            hosted_idle: pick!(hosted_idle, 300),
            hosted_confined: pick!(hosted_confined, true),

            deliveries: pick!(deliveries, Switch::default()),
            deliveries_in_flight: pick!(deliveries_in_flight, duologue_delivery::IN_FLIGHT),
            delivery_retention: pick!(delivery_retention, 7),
            initial_token: pick!(initial_token),
            secret_key: pick!(secret_key).filter(|key| !key.is_empty()),
        };
        config.check()?;
        Ok(config)
    }
}

fn read(path: &Path) -> Result<Flags, Error> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::Read(path.to_owned(), e))?;
    toml::from_str(&text).map_err(|e| Error::Parse(path.to_owned(), Box::new(e)))
}

impl Config {
    fn check(&self) -> Result<(), Error> {
        let invalid = |text: &str| Err(Error::Invalid(text.into()));
        if let Some(url) = &self.database
            && !url.starts_with("postgres://")
            && !url.starts_with("postgresql://")
        {
            return invalid("--database must be a URL such as postgres://user:password@host/database");
        }
        if !self.public_url.starts_with("http://") && !self.public_url.starts_with("https://") {
            return invalid("--public-url must begin with http:// or https://");
        }
        if !is_origin(&self.webhook_url) {
            return invalid("--webhook-url must be an origin such as https://webhook.example.org, without a path");
        }
        if self.database_connections == 0 || self.connections == 0 {
            return invalid("--database-connections and --connections must be at least 1");
        }
        if !(1..=MAX_JSON_DEPTH).contains(&self.json_depth) {
            return Err(Error::Invalid(format!("--json-depth must be 1 to {MAX_JSON_DEPTH}")));
        }
        if self.header_timeout == 0 || self.body_timeout == 0 {
            return invalid("--header-timeout and --body-timeout must be at least 1 second");
        }
        if let Some(file) = self.v12_data.as_ref().filter(|path| path.is_file()) {
            let file = file.display();
            return Err(Error::Invalid(format!(
                "--v12-data: {file} is no folder. An archive is put into one with: \
                 duologue bot import {file} --v12-data DIR"
            )));
        }
        if let Some(folder) = self.v12_data.as_ref().filter(|folder| !folder.is_dir()) {
            return Err(Error::Invalid(format!("--v12-data: there is no folder {}", folder.display())));
        }
        if self.hosted_processes == 0 || self.hosted_memory < 32 || self.hosted_idle == 0 {
            return invalid("--hosted-processes and --hosted-idle must be at least 1, --hosted-memory at least 32");
        }
        if self.deliveries_in_flight == 0 {
            return invalid("--deliveries-in-flight must be at least 1");
        }
        self.allow_list()?;
        if self.initial_token.as_ref().is_some_and(|token| token.len() < 20) {
            return invalid("--initial-token must have at least 20 characters");
        }
        if self.secret_key.as_ref().is_some_and(|key| key.len() < 32) {
            return invalid("--secret-key must have at least 32 characters");
        }
        Ok(())
    }

    /// What requests of bots may reach besides the public Internet.
    pub fn allow_list(&self) -> Result<AllowList, Error> {
        self.allow_outbound.parse().map_err(|error| Error::Invalid(format!("--allow-outbound: {error}")))
    }

    /// What calls to the code of bots and integrations may reach.
    pub fn reachable_bots(&self) -> Result<AllowList, Error> {
        match self.bot_urls {
            BotUrls::Any => "*".parse().map_err(|error| Error::Invalid(format!("--bot-urls: {error}"))),
            BotUrls::Public => self.allow_list(),
        }
    }

    /// Where the data is.
    pub fn location(&self) -> Location {
        match &self.database {
            Some(url) => Location::Postgres { url: url.clone(), connections: self.database_connections },
            None => Location::Sqlite(database_file(&self.data)),
        }
    }

    /// Bounds on requests.
    pub fn limits(&self) -> Limits {
        Limits {
            body_bytes: self.body_limit,
            admin_body_bytes: self.admin_body_limit,
            payload_bytes: self.payload_limit,
            webhook_body_bytes: self.webhook_body_limit,
            json_depth: self.json_depth,
            body_seconds: self.body_timeout,
        }
    }

    fn redacted(mut self) -> Self {
        self.database = self.database.as_deref().map(redact_url);
        self.initial_token = self.initial_token.map(|_| "***".into());
        self.secret_key = self.secret_key.map(|_| "***".into());
        self
    }
}

/// Whether a URL has no path: integrations make addresses relative to the origin of their webhooks.
fn is_origin(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(['/', '?', '#']))
}

/// The embedded database in a data folder.
pub fn database_file(data: &Path) -> PathBuf {
    data.join("duologue.db")
}

/// A URL without its password, also where the password is a parameter.
fn redact_url(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (address, parameters) =
        rest.split_once('?').map_or((rest, None), |(address, parameters)| (address, Some(parameters)));
    let address = match address.rsplit_once('@') {
        Some((user, host)) if user.contains(':') => {
            format!("{}:***@{host}", user.split(':').next().unwrap_or_default())
        }
        _ => address.to_owned(),
    };
    let parameters = parameters.map(|parameters| {
        let shown: Vec<String> = parameters
            .split('&')
            .map(|pair| match pair.split_once('=') {
                Some((key, _)) if key.eq_ignore_ascii_case("password") => format!("{key}=***"),
                _ => pair.to_owned(),
            })
            .collect();
        format!("?{}", shown.join("&"))
    });
    format!("{scheme}://{address}{}", parameters.unwrap_or_default())
}

/// `duologue config`.
pub fn print(flags: Flags) -> Result<(), Error> {
    let config = flags.resolve()?.redacted();
    let text = toml::to_string(&config).map_err(|e| Error::Invalid(e.to_string()))?;
    print!("{text}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_gives_way_to_flags() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "listen = \"127.0.0.1:4000\"\nrate_limit = 7\n").unwrap();
        let flags = Flags { config: Some(file.path().into()), rate_limit: Some(9), ..Flags::default() };
        let config = flags.resolve().unwrap();
        assert_eq!(config.listen.port(), 4000);
        assert_eq!(config.rate_limit, 9);
        assert_eq!(config.public_url, "http://127.0.0.1:4000");
    }

    #[test]
    fn mistakes_in_the_file_are_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "lisen = \"127.0.0.1:4000\"\n").unwrap();
        let error = Flags { config: Some(file.path().into()), ..Flags::default() }.resolve().unwrap_err().to_string();
        assert!(error.contains("lisen"), "{error}");
    }

    #[test]
    fn webhooks_have_a_bare_origin() {
        for good in ["https://webhook.example.org", "http://127.0.0.1:3000"] {
            assert!(is_origin(good), "{good}");
        }
        for bad in ["webhook.example.org", "https://", "https://example.org/hooks", "https://example.org?a=b"] {
            assert!(!is_origin(bad), "{bad}");
        }
    }

    #[test]
    fn times_of_nothing_make_no_sense() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for line in ["header_timeout = 0", "body_timeout = 0", "json_depth = 0", "json_depth = 128", "connections = 0"]
        {
            std::fs::write(file.path(), line).unwrap();
            let flags = Flags { config: Some(file.path().into()), ..Flags::default() };
            assert!(flags.resolve().is_err(), "{line}");
        }
    }

    /// The guide has a row for every setting, with its three names and its default.
    #[test]
    fn every_setting_is_in_the_guide() {
        use clap::Args;
        let guide = include_str!("../../../docs/configuration.md");
        let defaults = toml::Table::try_from(Flags::default().resolve().unwrap()).unwrap();
        let command = Flags::augment_args(clap::Command::new("duologue"));
        for setting in command.get_arguments() {
            let key = setting.get_id().as_str();
            let option = setting.get_long().unwrap();
            let variable = setting.get_env().unwrap().to_str().unwrap();
            let names = format!("| `--{option}` | `{variable}` |");
            let row = guide.lines().find(|row| row.contains(&names)).unwrap_or_else(|| panic!("{key} has no row"));
            if key == "config" {
                continue;
            }
            assert!(row.starts_with(&format!("| `{key}` |")), "{row}");
            let default = match defaults.get(key) {
                _ if key == "public_url" => "`http://<listen>`".to_owned(),
                _ if key == "webhook_url" => "the public URL".to_owned(),
                Some(toml::Value::String(text)) => format!("`{text}`"),
                Some(value) => format!("`{value}`"),
                None => continue,
            };
            assert!(row.contains(&format!("{names} {default} |")), "{row} should have the default {default}");
        }
        let described = guide.lines().filter(|row| row.contains("| `--")).count();
        assert_eq!(described, command.get_arguments().count(), "a row is about no setting");
    }

    #[test]
    fn secrets_are_redacted() {
        assert_eq!(
            redact_url("postgres://u:p@ss@h/d?sslmode=off&password=x"),
            "postgres://u:***@h/d?sslmode=off&password=***"
        );
        assert_eq!(redact_url("postgres://h/d"), "postgres://h/d");
    }
}
