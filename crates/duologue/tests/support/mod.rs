//! What the tests of the binary share: a server of it, its other commands, a database to run on.

// Each test file uses a part of it.
#![allow(dead_code)]

pub mod proxy;

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use duologue_client::{Client, RetryPolicy};
use duologue_model::id::{Generator, IntegrationId};
use serde_json::{Value, json};

/// A server of its own on a fresh data folder or database. Ends with the test.
pub struct Server {
    pub url: String,
    pub workspace: String,
    pub bot: String,
    pub token: String,
    pub data: PathBuf,
    database: Option<String>,
    options: Vec<String>,
    // Shared by the servers on one database.
    folder: Arc<tempfile::TempDir>,
    child: Child,
}

impl Server {
    pub fn start() -> Self {
        Self::prepare(None, &[]).serve()
    }

    pub fn start_with_bot(bot: &str) -> Self {
        Self::prepare(None, &["--bot-id", bot]).serve()
    }

    /// On an empty database of PostgreSQL, or on SQLite.
    pub fn start_on(database: Option<&str>) -> Self {
        Self::prepare(database, &[]).serve()
    }

    /// What `duologue init` makes, for a server to start on.
    pub fn prepare(database: Option<&str>, extra: &[&str]) -> Prepared {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let place = place(&data, database);
        let init = duologue("init").args(&["--json"]).args(&strs(&place)).args(extra).run().success();
        let made: Value = serde_json::from_str(&init.stdout).unwrap();
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        Prepared {
            workspace: text("workspaceId"),
            bot: text("botId"),
            token: text("token"),
            data,
            database: database.map(str::to_owned),
            options: Vec::new(),
            folder: Arc::new(folder),
        }
    }

    /// One more process on the same database.
    pub fn another(&self) -> Self {
        let prepared = Prepared {
            workspace: self.workspace.clone(),
            bot: self.bot.clone(),
            token: self.token.clone(),
            data: self.data.clone(),
            database: self.database.clone(),
            options: self.options.clone(),
            folder: self.folder.clone(),
        };
        prepared.serve()
    }

    /// One more process on the same database, with other options.
    pub fn another_with(&self, options: &[&str]) -> Self {
        let prepared = Prepared {
            workspace: self.workspace.clone(),
            bot: self.bot.clone(),
            token: self.token.clone(),
            data: self.data.clone(),
            database: self.database.clone(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            folder: self.folder.clone(),
        };
        prepared.serve()
    }

    /// Ends the process at once, as a power cut would: SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Ends the process as a service manager does, and waits for it.
    pub fn stop(&mut self) {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        eventually(|| self.child.try_wait().unwrap().is_some());
    }

    /// Starts it again on the same data, at another address.
    pub fn restart(&mut self) {
        self.kill();
        *self = self.another();
    }

    /// Looks into the database: the number that a query answers.
    pub async fn number(&self, sql: &str) -> i64 {
        match &self.database {
            None => self.sqlite().query_row(sql, [], |row| row.get(0)).unwrap(),
            Some(url) => postgres_client(url).await.query_one(sql, &[]).await.unwrap().get(0),
        }
    }

    /// Writes to the database, past the server; answers how many rows.
    pub async fn execute(&self, sql: &str) -> u64 {
        match &self.database {
            None => self.sqlite().execute(sql, []).unwrap() as u64,
            Some(url) => postgres_client(url).await.execute(sql, &[]).await.unwrap(),
        }
    }

    fn sqlite(&self) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open(self.data.join("duologue.db")).unwrap();
        connection.busy_timeout(Duration::from_secs(60)).unwrap();
        connection
    }

    /// A number of `/metrics`, by its name with its labels.
    pub fn metric(&self, name: &str) -> Option<u64> {
        let address = self.url.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    pub fn client(&self) -> Client {
        self.client_with(RetryPolicy::none())
    }

    /// Makes an integration with the channel `channel`, installed in the bot. Answers its id.
    pub async fn install_integration(&self, name: &str) -> IntegrationId {
        let admin = self.client().with_workspace(&self.workspace).unwrap();
        let integration = json!({
            "name": name, "version": "1.0.0", "title": "Test", "description": "Made by a test",
            "channels": {"channel": {"messages": {"text": {"schema": {}}}}},
        });
        let id = admin.create_integration(integration).await.unwrap().id.clone();
        let install = json!({"integrations": {name: {"integrationId": id, "enabled": true}}});
        admin.update_bot(self.bot.as_str(), install).await.unwrap();
        id
    }

    pub fn client_with(&self, retry: RetryPolicy) -> Client {
        Client::builder().api_url(&self.url).token(&self.token).bot_id(self.bot.as_str()).retry(retry).build().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A data folder or database that was set up and isn't served yet.
pub struct Prepared {
    pub workspace: String,
    pub bot: String,
    pub token: String,
    pub data: PathBuf,
    database: Option<String>,
    options: Vec<String>,
    folder: Arc<tempfile::TempDir>,
}

impl Prepared {
    /// Options of `serve`, now and at every restart.
    pub fn with(mut self, options: &[&str]) -> Self {
        self.options.extend(options.iter().map(|option| (*option).to_owned()));
        self
    }

    pub fn serve(self) -> Server {
        self.serve_with("warn", Stdio::inherit())
    }

    /// The same with a log of level `info` in the file that is answered.
    pub fn serve_logging(self) -> (Server, PathBuf) {
        let log = self.folder.path().join("log");
        let file = std::fs::File::create(&log).unwrap();
        (self.serve_with("info", file.into()), log)
    }

    fn serve_with(self, level: &str, log: Stdio) -> Server {
        let address = free_address();
        let child = Command::new(binary())
            .args(["serve", "--listen", &address, "--log", level])
            .args(place(&self.data, self.database.as_deref()))
            .args(&self.options)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let Prepared { workspace, bot, token, data, database, options, folder } = self;
        let url = format!("http://{address}");
        let mut server = Server { url, workspace, bot, token, data, database, options, folder, child };
        eventually(|| {
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none(), "the server ended before it was ready: {ended:?}");
            is_ready(&address)
        });
        server
    }
}

fn place(data: &Path, database: Option<&str>) -> Vec<String> {
    let mut place = vec!["--data".to_owned(), data.to_str().unwrap().to_owned()];
    if let Some(url) = database {
        place.extend(["--database".to_owned(), url.to_owned()]);
    }
    place
}

fn strs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// An empty database on the PostgreSQL server that `DUOLOGUE_TEST_POSTGRES` names (a URL of a user who
/// may create databases); `None` without the variable.
pub async fn postgres() -> Option<String> {
    let Ok(base) = std::env::var("DUOLOGUE_TEST_POSTGRES") else {
        eprintln!("skipped: DUOLOGUE_TEST_POSTGRES is not set");
        return None;
    };
    let name = format!("t_{}", Generator::system().uuid().replace('-', ""));
    postgres_client(&base).await.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
    let (server, database) = base.rsplit_once('/').unwrap();
    let parameters = database.find('?').map_or("", |at| &database[at..]);
    Some(format!("{server}/{name}{parameters}"))
}

async fn postgres_client(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Whether `cargo xtask test` runs this, which installs whatever tests need. It names the binary to test.
pub fn is_complete_run() -> bool {
    std::env::var_os("DUOLOGUE_BIN").is_some()
}

/// An address that nobody listens on, and nobody else comes to listen on: its port is below those that
/// the system gives away, and each process of these tests looks for its ports in another place.
pub fn free_address() -> String {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    loop {
        let port = 10_000 + (std::process::id() * 61 + TAKEN.fetch_add(1, Ordering::Relaxed)) % 22_000;
        let address = format!("127.0.0.1:{port}");
        if TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
}

/// The binary under test.
pub fn binary() -> PathBuf {
    std::env::var_os("DUOLOGUE_BIN").map_or_else(|| env!("CARGO_BIN_EXE_duologue").into(), PathBuf::from)
}

fn is_ready(address: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let _ = stream.write_all(b"GET /ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer.starts_with("HTTP/1.1 200")
}

/// Waits until something is so.
#[track_caller]
pub fn eventually(mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(60), "waited in vain");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The same of what is asked asynchronously.
pub async fn until(is_so: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < Duration::from_secs(60), "waited in vain");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A command of the binary.
pub struct Invocation {
    command: Command,
    stdin: Option<Vec<u8>>,
}

pub fn duologue(name: &str) -> Invocation {
    let mut command = Command::new(binary());
    command.arg(name).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for variable in ["BP_API_URL", "BP_TOKEN", "BP_BOT_ID", "BP_WORKSPACE_ID", "BP_INTEGRATION_ID"] {
        command.env_remove(variable);
    }
    Invocation { command, stdin: None }
}

impl Invocation {
    /// Against this server, told by variables as users of the official client do.
    pub fn server(self, server: &Server) -> Self {
        self.at(server, &server.url)
    }

    /// The same at another address.
    pub fn at(mut self, server: &Server, url: &str) -> Self {
        self.command.env("BP_API_URL", url).env("BP_TOKEN", &server.token).env("BP_BOT_ID", &server.bot);
        self
    }

    pub fn args(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        self
    }

    pub fn stdin(mut self, text: &[u8]) -> Self {
        self.command.stdin(Stdio::piped());
        self.stdin = Some(text.to_vec());
        self
    }

    pub fn spawn(mut self) -> Child {
        self.command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Starts it, to be read while it runs.
    pub fn piped(mut self, stdout: Stdio) -> Child {
        self.command.stdout(stdout).stderr(Stdio::inherit()).spawn().unwrap()
    }

    pub fn run(mut self) -> Run {
        let mut child = self.command.spawn().unwrap();
        if let Some(text) = self.stdin {
            let mut stdin = child.stdin.take().unwrap();
            std::thread::spawn(move || stdin.write_all(&text));
        }
        let output = child.wait_with_output().unwrap();
        Run {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// How a command ended.
pub struct Run {
    code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    #[track_caller]
    pub fn success(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    #[track_caller]
    pub fn failure(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        self
    }
}

/// What Ctrl-C does.
pub fn interrupt(child: &Child) {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
}
