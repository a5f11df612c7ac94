//! The running binary: what it does with clients that are slow or ask for too much, and what it
//! writes to its log.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs::File,
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_duologue");

/// A server with a fresh data folder, its log in a file. Ends with the test.
struct Server {
    address: String,
    bot: String,
    token: String,
    extra: Vec<String>,
    folder: tempfile::TempDir,
    child: Child,
}

fn serve(folder: &tempfile::TempDir, address: &str, extra: &[String]) -> Child {
    let log = File::options().create(true).append(true).open(folder.path().join("log")).unwrap();
    let mut command = Command::new(BINARY);
    command.args(["serve", "--listen", address, "--data"]).arg(folder.path().join("data")).args(extra);
    command.stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

impl Server {
    fn start(extra: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let init = Command::new(BINARY).args(["init", "--json", "--data"]).arg(&data).output().unwrap();
        let made: Value = serde_json::from_slice(&init.stdout).unwrap();
        let address = support::free_address();
        let extra: Vec<String> = extra.iter().map(|word| (*word).to_owned()).collect();
        let child = serve(&folder, &address, &extra);
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        let server = Server { address, bot: text("botId"), token: text("token"), extra, folder, child };
        server.wait();
        server
    }

    /// Stops it, does something, and starts it again.
    fn restart(&mut self, meanwhile: impl FnOnce(&mut Server)) {
        self.stop();
        meanwhile(self);
        self.child = serve(&self.folder, &self.address, &self.extra);
        self.wait();
    }

    fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn wait(&self) {
        let started = Instant::now();
        while TcpStream::connect(&self.address).is_err() || !self.get("/ready").starts_with("HTTP/1.1 200") {
            assert!(started.elapsed() < Duration::from_secs(30), "not ready: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap()
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Sends text and answers all that comes back until the server closes the connection.
    fn raw(&self, text: &str) -> String {
        let mut stream = self.connect();
        // A server that refuses in the middle closes its side.
        let _ = stream.write_all(text.as_bytes());
        answer(&mut stream)
    }

    fn head(&self, method: &str, path: &str) -> String {
        format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {}\r\nx-bot-id: {}\r\n",
            self.token, self.bot
        )
    }

    fn get(&self, path: &str) -> String {
        self.raw(&format!("{}\r\n", self.head("GET", path)))
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = body.to_string();
        let head = self.head(method, path);
        let text =
            self.raw(&format!("{head}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
        serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap_or_else(|e| panic!("{e} in {text}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// `duologue token` on a data folder: whether it went well, and what it printed.
fn token(server: &Server, address: &str) -> (bool, String) {
    let output = Command::new(BINARY).args(["token", address, "--data"]).arg(server.data()).output().unwrap();
    let text = if output.status.success() { output.stdout } else { output.stderr };
    (output.status.success(), String::from_utf8(text).unwrap().trim().to_owned())
}

/// Everything until the end of a connection, however it ends.
fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The error type of an answer.
fn kind(answer: &str) -> String {
    let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    body["type"].as_str().unwrap().to_owned()
}

#[test]
fn long_lines_and_headers_are_refused_in_the_dialect_up_to_a_wall() {
    let server = Server::start(&[]);
    let padded = |length: usize| server.get(&format!("/v1/chat/users?x={}", "a".repeat(length)));
    assert!(padded(16_000).starts_with("HTTP/1.1 200"));
    assert_eq!(kind(&padded(20_000)), "InvalidPayload");
    let head = server.head("GET", "/v1/chat/users");
    let header = |length: usize| server.raw(&format!("{head}x-padding: {}\r\n\r\n", "a".repeat(length)));
    assert!(header(30_000).starts_with("HTTP/1.1 200"));
    assert_eq!(kind(&header(40_000)), "InvalidPayload");
    assert!(!header(200_000).contains(" 200 "), "more than the wall lets through");
    let many: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
    assert!(server.raw(&format!("{head}{many}\r\n")).starts_with("HTTP/1.1 431"));
    assert!(server.get("/health").starts_with("HTTP/1.1 200"));
}

#[test]
fn clients_that_are_slow_to_send_are_given_up() {
    let server = Server::start(&["--header-timeout", "2", "--body-timeout", "2"]);
    let started = Instant::now();
    let mut idle = server.connect();
    let mut headers = server.connect();
    headers.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\nx-slow: ").unwrap();
    let mut body = server.connect();
    let head = server.head("POST", "/v1/chat/users");
    body.write_all(format!("{head}content-type: application/json\r\ncontent-length: 100\r\n\r\n{{").as_bytes())
        .unwrap();
    let dripping = headers.try_clone().unwrap();
    let drip = std::thread::spawn(move || {
        let mut dripping = dripping;
        while dripping.write_all(b"a").is_ok() && started.elapsed() < Duration::from_secs(45) {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    assert_eq!(kind(&answer(&mut body)), "InvalidPayload");
    assert!(!answer(&mut headers).contains(" 200 "));
    assert_eq!(answer(&mut idle), "");
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    drip.join().unwrap();
    assert!(server.get("/health").starts_with("HTTP/1.1 200"));
}

#[test]
fn clients_that_take_nothing_are_given_up() {
    let server = Server::start(&["--body-timeout", "1", "--connections", "1"]);
    let mut stream = server.connect();
    let started = Instant::now();
    for _ in 0..400 {
        // It may be given up before it has asked for all.
        if stream.write_all(b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n").is_err() {
            break;
        }
    }
    // There is room for another one only when the first is gone.
    assert!(server.get("/health").starts_with("HTTP/1.1 200"));
    assert!(started.elapsed() > Duration::from_millis(500), "nothing held the place");
    let taken = answer(&mut stream).matches("HTTP/1.1 200").count();
    assert!(taken < 400, "{taken}");
}

/// As those of many clients of the official SDK are, which open one for each call.
#[test]
fn silent_connections_give_their_place() {
    let server = Server::start(&["--connections", "4"]);
    let mut silent: Vec<_> = (0..4).map(|_| server.connect()).collect();
    let asks = |stream: &mut TcpStream| {
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
        std::thread::sleep(Duration::from_millis(2));
    };
    silent.iter_mut().for_each(asks);
    let started = Instant::now();
    assert!(server.get("/health").starts_with("HTTP/1.1 200"));
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    // The one that was silent longest, and nobody else.
    assert!(!answer(&mut silent[0]).contains("408"));
    let mut rest = [0; 1024];
    silent[3].set_nonblocking(true).unwrap();
    while silent[3].read(&mut rest).is_ok_and(|read| read > 0) {}
    silent[3].set_nonblocking(false).unwrap();
    asks(&mut silent[3]);
}

#[test]
fn the_operator_hands_out_tokens() {
    let mut server = Server::start(&[]);
    let member = json!({ "email": "ada@example.org", "role": "developer" });
    assert_eq!(server.send("POST", "/v1/admin/workspace-members", &member)["role"], "developer");
    let (made, text) = token(&server, "ada@example.org");
    assert!(!made && text.contains("another Duologue uses"), "{text}");
    server.restart(|server| {
        let (made, text) = token(server, "nobody@example.org");
        assert!(!made && text.contains("nobody@example.org"), "{text}");
        let (made, text) = token(server, "ada@example.org");
        assert!(made && text.starts_with("bp_pat_"), "{text}");
        server.token = text;
    });
    assert!(server.get("/v1/admin/account/me").contains("ada@example.org"));
    assert!(server.get("/v1/chat/users").starts_with("HTTP/1.1 200"));
}

#[test]
fn no_secret_and_no_payload_is_logged() {
    const MARK: &str = "kingfisher";
    let server = Server::start(&["--log", "trace", "--log-format", "json"]);
    let marked = |what: &str| format!("{MARK}-{what}");
    let key = server.send("POST", "/v1/admin/bots/baks", &json!({ "botId": server.bot, "note": marked("note") }));
    let key = key["value"].as_str().unwrap().to_owned();
    let tags = json!({ "topic": marked("tag") });
    let made = server.send("POST", "/v1/chat/conversations", &json!({ "channel": "c", "tags": tags }));
    let conversation = made["conversation"]["id"].as_str().unwrap();
    let user = server.send("POST", "/v1/chat/users", &json!({ "tags": tags, "name": marked("name") }));
    let message = json!({
        "conversationId": conversation, "userId": user["user"]["id"], "type": "text",
        "payload": { "text": marked("text") }, "tags": {},
    });
    assert!(server.send("POST", "/v1/chat/messages", &message)["message"]["id"].is_string());
    let state = format!("/v1/chat/states/bot/{}/memory", server.bot);
    server.send("POST", &state, &json!({ "payload": { "secret": marked("state") } }));
    server.send("POST", "/v1/chat/events", &json!({ "type": "t", "payload": { "a": marked("event") } }));
    let secrets = json!({ "name": "drawn", "version": "1.0.0", "secrets": { "API_KEY": marked("secret") } });
    assert!(server.send("POST", "/v1/admin/integrations", &secrets)["integration"]["id"].is_string());
    // Refusals, too, some of which quote what was wrong to the one who sent it.
    server.send(
        "POST",
        "/v1/chat/messages",
        &json!({ "conversationId": 7, "type": marked("type"), "tags": marked("shape") }),
    );
    server.send(
        "POST",
        "/v1/chat/conversations",
        &json!({ "channel": "c", "tags": { "a": marked("long").repeat(200) } }),
    );
    server.get(&format!("/v1/chat/users?tags.topic={}", marked("filter")));
    server.get(&format!("/v1/chat/users?nextToken={}", marked("page")));
    server.get(&format!("/v1/nothing/{}", marked("path")));
    server.get(&format!("/v1/chat/conversations/{conversation}/transcript?format=html"));
    let wrong = format!(
        "GET /v1/chat/users HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {}\r\n\r\n",
        marked("token")
    );
    assert_eq!(kind(&server.raw(&wrong)), "Unauthorized");
    let log = server.log();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["operation"] == "createMessage"), "the log has nothing to look at: {log}");
    for secret in [&server.token, &key, MARK] {
        let found = log.lines().find(|line| line.contains(secret));
        assert_eq!(found, None, "{secret} is in the log");
    }
}

#[test]
fn a_change_whose_caller_leaves_is_carried_out_whole() {
    let server = Server::start(&[]);
    let with = |token: &str, line: &str| {
        format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\r\n")
    };
    let mut gone = 0;
    for number in 0..40 {
        let pat = server.send("POST", "/v1/admin/account/pats", &json!({ "note": format!("{number}") }))["pat"].take();
        let (id, value) = (pat["id"].as_str().unwrap(), pat["value"].as_str().unwrap());
        let mine = with(value, "GET /v1/admin/account/me");
        assert!(server.raw(&mine).starts_with("HTTP/1.1 200"), "{mine}");
        let mut stream = server.connect();
        stream.write_all(with(&server.token, &format!("DELETE /v1/admin/account/pats/{id}")).as_bytes()).unwrap();
        // It leaves at another moment each time.
        std::thread::sleep(Duration::from_micros(40 * number * number));
        drop(stream);
        // Once it is deleted, nobody remembers it either.
        let started = Instant::now();
        while server.get("/v1/admin/account/pats").contains(id) {
            if started.elapsed() > Duration::from_millis(100) {
                // The server saw that nobody was there before it began.
                break;
            }
        }
        if !server.get("/v1/admin/account/pats").contains(id) {
            gone += 1;
            let left = format!("it left after {} µs", 40 * number * number);
            let started = Instant::now();
            while !server.raw(&mine).starts_with("HTTP/1.1 401") {
                assert!(started.elapsed() < Duration::from_secs(5), "{left}");
            }
        }
    }
    assert!(gone > 0);
    // Nobody is being served any more but who asks this.
    let started = Instant::now();
    while !server.get("/metrics").contains("\nduologue_requests_in_flight 1\n") {
        assert!(started.elapsed() < Duration::from_secs(20), "{}", server.get("/metrics"));
        std::thread::sleep(Duration::from_millis(20));
    }
}
