//! Runs the binary, a server of it, and a proxy that misbehaves on demand.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use duologue_client::{Client, RetryPolicy};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_duologue");

/// A server with a fresh data folder. Ends with the test.
pub struct Server {
    pub url: String,
    pub bot: String,
    pub token: String,
    pub data: PathBuf,
    _folder: tempfile::TempDir,
    child: Child,
}

impl Server {
    pub fn start() -> Self {
        Self::init(&[])
    }

    pub fn start_with_bot(bot: &str) -> Self {
        Self::init(&["--bot-id", bot])
    }

    fn init(extra: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let init = duologue("init").args(&["--json", "--data", data.to_str().unwrap()]).args(extra).run().success();
        let made: Value = serde_json::from_str(&init.stdout).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let child = Command::new(BINARY)
            .args(["serve", "--listen", &address, "--log", "warn", "--data"])
            .arg(&data)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        let server = Server {
            url: format!("http://{address}"),
            bot: text("botId"),
            token: text("token"),
            data,
            _folder: folder,
            child,
        };
        eventually(|| is_ready(&address));
        server
    }

    pub fn client(&self) -> Client {
        Client::builder()
            .api_url(&self.url)
            .token(&self.token)
            .bot_id(self.bot.as_str())
            .retry(RetryPolicy::none())
            .build()
            .unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_ready(address: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let _ = stream.write_all(b"GET /ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer.starts_with("HTTP/1.1 200")
}

/// Waits until something is so.
pub fn eventually(mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(30), "waited in vain");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A command of the binary.
pub struct Invocation {
    command: Command,
    stdin: Option<Vec<u8>>,
}

pub fn duologue(name: &str) -> Invocation {
    let mut command = Command::new(BINARY);
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

/// An export with so many conversations of so many messages each.
pub fn sample(bot: &str, conversations: usize, messages: usize) -> String {
    let mut text = format!("{{\"duologue\":\"export\",\"version\":1,\"botId\":\"{bot}\"}}\n");
    let mut line = |value: Value| {
        text.push_str(&value.to_string());
        text.push('\n');
    };
    for c in 0..conversations {
        let at = |n: usize| {
            format!("2026-01-{:02}T{:02}:{:02}:{:02}.{:03}Z", c % 28 + 1, c % 24, n / 60 % 60, n % 60, c % 1000)
        };
        let (conversation, user) = (format!("conv_{c:026}"), format!("user_{c:026}"));
        line(json!({
            "conversation": {
                "id": conversation, "createdAt": at(0), "updatedAt": at(messages), "channel": "web", "integration": "",
                "tags": {"c": c.to_string()}, "messageCount": messages,
            },
            "users": [{"id": user, "createdAt": at(0), "updatedAt": at(0), "tags": {}, "name": format!("User {c}")}],
        }));
        for m in 0..messages {
            let incoming = m % 2 == 0;
            line(json!({
                "message": {
                    "id": format!("msg_{:026}", c * messages + m), "createdAt": at(m), "updatedAt": at(m), "type": "text",
                    "payload": {"text": format!("Message {m} of conversation {c}, and some more words")},
                    "direction": if incoming { "incoming" } else { "outgoing" },
                    "userId": if incoming { user.as_str() } else { bot }, "conversationId": conversation, "tags": {},
                }
            }));
        }
    }
    text
}

/// Something between client and server.
#[derive(Clone, Default)]
pub struct Proxy {
    /// Every so many requests, answers 429 instead.
    pub refuse_every: usize,
    /// Lets lists have their own order.
    pub unsorted: bool,
    /// Breaks every second long transcript off after so many bytes.
    pub cut: usize,
    /// Before each request.
    pub delay: Duration,
}

/// A proxy at work, until the test ends.
pub struct Running {
    address: String,
    plain: String,
    refused: Arc<AtomicUsize>,
}

impl Running {
    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// Here it hides what only a Duologue has.
    pub fn plain(&self) -> String {
        self.plain.clone()
    }

    /// How many requests were refused or broken off.
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Proxy {
    pub fn start(self, server: &Server) -> Running {
        let refused = Arc::new(AtomicUsize::new(0));
        let listen = |plain: bool| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = format!("http://{}", listener.local_addr().unwrap());
            let (proxy, upstream) = (self.clone(), server.url.trim_start_matches("http://").to_owned());
            let (refused, count) = (refused.clone(), Arc::new(AtomicUsize::new(0)));
            std::thread::spawn(move || {
                for client in listener.incoming().flatten() {
                    let (proxy, upstream, refused, count) =
                        (proxy.clone(), upstream.clone(), refused.clone(), count.clone());
                    std::thread::spawn(move || proxy.serve(client, &upstream, plain, &count, &refused));
                }
            });
            address
        };
        Running { address: listen(false), plain: listen(true), refused }
    }

    /// One request a connection.
    fn serve(
        &self,
        client: TcpStream,
        upstream: &str,
        plain: bool,
        count: &AtomicUsize,
        refused: &AtomicUsize,
    ) -> Option<()> {
        let mut lines = BufReader::new(client.try_clone().ok()?);
        let mut request = String::new();
        lines.read_line(&mut request).ok()?;
        let mut head = String::new();
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line).ok()? <= 2 {
                break;
            }
            if !line.to_ascii_lowercase().starts_with("connection:") {
                head.push_str(&line);
            }
        }
        std::thread::sleep(self.delay);
        let number = count.fetch_add(1, Ordering::Relaxed) + 1;
        let mut client = client;
        if plain && (request.starts_with("GET /health") || request.contains("/transcript")) {
            return answer(&mut client, "404 Not Found", "", "<html>what?</html>");
        }
        if self.refuse_every > 0 && number.is_multiple_of(self.refuse_every) {
            refused.fetch_add(1, Ordering::Relaxed);
            let body = r#"{"id":"err_1","code":429,"type":"RateLimited","message":"slow down"}"#;
            return answer(
                &mut client,
                "429 Too Many Requests",
                "ratelimit-remaining: 0\r\nratelimit-reset: 0.05\r\n",
                body,
            );
        }
        if self.unsorted {
            request = request.replace("sortField=createdAt", "a=b").replace("sortDirection=asc", "c=d");
        }
        let mut server = TcpStream::connect(upstream).ok()?;
        server.write_all(format!("{request}{head}connection: close\r\n\r\n").as_bytes()).ok()?;
        if self.cut > 0 && request.contains("/transcript") && number.is_multiple_of(2) {
            let mut begin = vec![0; self.cut];
            let mut length = 0;
            while length < begin.len() {
                match server.read(&mut begin[length..]).ok()? {
                    0 => break,
                    n => length += n,
                }
            }
            client.write_all(&begin[..length]).ok()?;
            if length == begin.len() {
                refused.fetch_add(1, Ordering::Relaxed);
                let _ = client.shutdown(Shutdown::Both);
            }
            return Some(());
        }
        std::io::copy(&mut server, &mut client).ok()?;
        client.shutdown(Shutdown::Write).ok()
    }
}

fn answer(client: &mut TcpStream, status: &str, headers: &str, body: &str) -> Option<()> {
    let text =
        format!("HTTP/1.1 {status}\r\n{headers}connection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    client.write_all(text.as_bytes()).ok()
}
