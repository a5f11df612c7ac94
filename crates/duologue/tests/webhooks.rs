//! Webhooks of the real binary: signed, sent again after a power cut, shared by processes, refused where
//! they must not go. Signatures are checked by an implementation of the test's own.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use duologue_client::{Client, CreateConversation, CreateMessage, CreateUser, Method};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use support::{Server, duologue, eventually};

/// A request as it came.
#[derive(Clone, Debug)]
struct Got {
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Got {
    fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn kind(&self) -> String {
        self.json()["type"].as_str().unwrap().to_owned()
    }

    /// How many of its signatures this secret made, over exactly what came.
    fn signed_by(&self, secret: &str) -> usize {
        let seconds: u64 = self.headers["webhook-timestamp"].parse().unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert!(now.abs_diff(seconds) < 300, "{seconds} isn't now");
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        let signed = [self.id().as_bytes(), b".", seconds.to_string().as_bytes(), b".", &self.body].concat();
        mac.update(&signed);
        let wanted = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        self.headers["webhook-signature"].split(' ').filter(|signature| *signature == wanted).count()
    }
}

/// Takes requests and answers them with a status that the test may change.
struct Receiver {
    address: String,
    got: Arc<Mutex<Vec<Got>>>,
    status: Arc<Mutex<u16>>,
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let receiver = Receiver {
            address: listener.local_addr().unwrap().to_string(),
            got: Arc::default(),
            status: Arc::new(Mutex::new(200)),
        };
        let (got, status) = (receiver.got.clone(), receiver.status.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (got, status) = (got.clone(), status.clone());
                std::thread::spawn(move || while take(stream.as_ref().unwrap(), &got, &status).is_some() {});
            }
        });
        receiver
    }

    fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    fn answer(&self, status: u16) {
        *self.status.lock().unwrap() = status;
    }

    fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    #[track_caller]
    fn wait(&self, count: usize) -> Vec<Got> {
        eventually(|| self.got().len() >= count);
        self.got()
    }
}

/// Reads one request off a connection and answers it.
fn take(mut stream: &TcpStream, got: &Mutex<Vec<Got>>, status: &Mutex<u16>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    (reader.read_line(&mut line).ok()? > 0).then_some(())?;
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    reader.read_exact(&mut body).ok()?;
    got.lock().unwrap().push(Got { headers, body });
    let status = *status.lock().unwrap();
    write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\nok").ok()
}

const ALLOW: [&str; 2] = ["--allow-outbound", "127.0.0.1"];

fn start(database: Option<&str>) -> Server {
    Server::prepare(database, &[]).with(&ALLOW).serve()
}

async fn call(server: &Server, method: Method, rest: &[&str], body: Value) -> Result<Value, duologue_client::Error> {
    let path = [&["v1", "admin", "bots", &server.bot, "webhooks"], rest].concat();
    let request = server.client().request(method.clone(), &path);
    let request = if method == Method::GET || method == Method::DELETE { request } else { request.json(&body) };
    request.send().await
}

/// Subscribes; answers the webhook's id and its secret.
async fn subscribe(server: &Server, url: &str, events: &[&str]) -> (String, String) {
    let made = call(server, Method::POST, &[], json!({ "url": url, "events": events })).await.unwrap();
    let text = |name: &str| made["webhook"][name].as_str().unwrap().to_owned();
    (text("id"), text("secret"))
}

async fn messages(server: &Server, id: &str) -> Vec<Value> {
    call(server, Method::GET, &[id, "messages"], json!({})).await.unwrap()["messages"].as_array().unwrap().clone()
}

/// Waits until so many messages of a webhook are in this status.
async fn until(server: &Server, id: &str, status: &str, count: usize) {
    for _ in 0..600 {
        if messages(server, id).await.iter().filter(|message| message["status"] == status).count() == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{:?}", messages(server, id).await);
}

async fn user(client: &Client) -> String {
    client.create_user(CreateUser::new()).await.unwrap().id.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_sent_signed_also_by_the_secret_before_on_sqlite() {
    signed_and_rotated(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_sent_signed_also_by_the_secret_before_on_postgres() {
    if let Some(database) = support::postgres().await {
        signed_and_rotated(Some(&database)).await;
    }
}

async fn signed_and_rotated(database: Option<&str>) {
    let server = start(database);
    let (receiver, client) = (Receiver::start(), server.client());
    let (id, secret) = subscribe(&server, &receiver.url(), &["message_created", "conversation_created"]).await;
    let conversation = client.create_conversation(CreateConversation::new("test")).await.unwrap();
    let text = |text: &str| CreateMessage::new(&conversation.id, &server.bot, "text", json!({ "text": text }));
    client.create_message(text("hello ✓")).await.unwrap();
    let got = receiver.wait(2);
    let kinds: Vec<String> = got.iter().map(Got::kind).collect();
    assert!(kinds.contains(&"conversation_created".to_owned()) && kinds.contains(&"message_created".to_owned()));
    for got in &got {
        assert_eq!((got.signed_by(&secret), got.headers["webhook-signature"].split(' ').count()), (1, 1));
        assert_eq!(got.headers["content-type"], "application/json");
    }
    let said = got.iter().find(|got| got.kind() == "message_created").unwrap().json();
    assert_eq!(said["data"]["message"]["payload"]["text"], "hello ✓");
    assert_eq!(said["botId"], server.bot.as_str());
    // The secret is stored encrypted only.
    let plain =
        format!("SELECT CAST(COUNT(*) AS BIGINT) FROM webhook_subscriptions WHERE secret LIKE '%{}%'", &secret[6..]);
    assert_eq!(server.number(&plain).await, 0);

    let rotated = call(&server, Method::POST, &[&id, "rotate-secret"], json!({})).await.unwrap();
    let newer = rotated["webhook"]["secret"].as_str().unwrap();
    client.create_message(text("again")).await.unwrap();
    let latest = receiver.wait(3)[2].clone();
    assert_eq!((latest.signed_by(newer), latest.signed_by(&secret)), (1, 1));
    // A day later only the new one signs.
    server.execute("UPDATE webhook_subscriptions SET previous_until = 1").await;
    client.create_message(text("later")).await.unwrap();
    let latest = receiver.wait(4)[3].clone();
    assert_eq!((latest.signed_by(newer), latest.signed_by(&secret)), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_loses_nothing_on_sqlite() {
    power_cut(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_loses_nothing_on_postgres() {
    if let Some(database) = support::postgres().await {
        power_cut(Some(&database)).await;
    }
}

/// Nobody takes what is sent until the server was killed and started again.
async fn power_cut(database: Option<&str>) {
    let mut server = start(database);
    let place = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", place.local_addr().unwrap());
    let (id, secret) = subscribe(&server, &url, &["user_created"]).await;
    let user = user(&server.client()).await;
    // It is under way: connected, and never answered.
    let (mut stream, _) = place.accept().unwrap();
    let mut begun = [0; 4096];
    assert!(stream.read(&mut begun).unwrap() > 0);
    let before = messages(&server, &id).await;
    server.kill();
    drop(stream);
    let taking = std::thread::spawn(move || {
        let (got, status) = (Mutex::new(Vec::new()), Mutex::new(200));
        let (stream, _) = place.accept().unwrap();
        take(&stream, &got, &status).unwrap();
        got.into_inner().unwrap().remove(0)
    });
    server.restart();
    let got = taking.join().unwrap();
    assert_eq!((got.id(), got.signed_by(&secret)), (before[0]["id"].as_str().unwrap(), 1));
    assert_eq!(got.json()["data"]["user"]["id"], user);
    until(&server, &id, "delivered", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_deliveries_are_off_nothing_is_sent_and_all_is_kept_on_sqlite() {
    paused(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_deliveries_are_off_nothing_is_sent_and_all_is_kept_on_postgres() {
    if let Some(database) = support::postgres().await {
        paused(Some(&database)).await;
    }
}

async fn paused(database: Option<&str>) {
    let mut server = Server::prepare(database, &[]).with(&ALLOW).with(&["--deliveries", "off"]).serve();
    let receiver = Receiver::start();
    let (id, _) = subscribe(&server, &receiver.url(), &["user_created"]).await;
    user(&server.client()).await;
    user(&server.client()).await;
    // Sent, it would have arrived many times over.
    tokio::time::sleep(Duration::from_millis(500)).await;
    until(&server, &id, "waiting", 2).await;
    assert!(messages(&server, &id).await.iter().all(|message| message["attempts"] == 0) && receiver.got().is_empty());
    server.kill();
    let server = server.another_with(&ALLOW);
    until(&server, &id, "delivered", 2).await;
    assert_eq!(receiver.got().len(), 2);
    eventually(|| server.metric("duologue_webhook_attempts_total{outcome=\"delivered\"}") == Some(2));
    eventually(|| server.metric("duologue_webhooks_in_flight") == Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_send_each_message_once() {
    let Some(database) = support::postgres().await else { return };
    let server = start(Some(&database));
    let other = server.another();
    let receiver = Receiver::start();
    let (id, _) = subscribe(&server, &receiver.url(), &["user_created"]).await;
    let (a, b) = (server.client(), other.client());
    for _ in 0..100 {
        tokio::join!(user(&a), user(&b));
    }
    let sql = format!(
        "SELECT CAST(COUNT(*) AS BIGINT) FROM webhook_messages WHERE status = 'delivered' AND subscription_id = '{id}'"
    );
    for _ in 0..600 {
        if server.number(&sql).await == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut ids: Vec<String> = receiver.got().iter().map(|got| got.id().to_owned()).collect();
    assert_eq!(ids.len(), 200);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 200, "each once");
    // One that is killed leaves its share to the other.
    receiver.answer(503);
    user(&b).await;
    receiver.wait(201);
    receiver.answer(200);
    drop(other);
    let again = receiver.wait(202);
    assert_eq!(again[200].id(), again[201].id());
}

#[tokio::test(flavor = "multi_thread")]
async fn private_urls_are_refused_unless_the_operator_allows_them() {
    let server = Server::start();
    for url in [
        "http://127.0.0.1:1/",
        "http://[::1]/",
        "http://169.254.169.254/latest",
        "https://localhost/",
        "http://0x7f.1/",
    ] {
        let refused = call(&server, Method::POST, &[], json!({ "url": url, "events": ["*"] })).await.unwrap_err();
        let text = refused.to_string();
        assert!(text.contains("not on the public Internet") && text.contains("--allow-outbound"), "{url}: {text}");
    }
    for url in ["ftp://example.com/", "example.com", "", "https://me:secret@example.com/", "http://"] {
        let refused = call(&server, Method::POST, &[], json!({ "url": url, "events": ["*"] })).await.unwrap_err();
        assert!(refused.to_string().contains("url"), "{url}: {refused}");
    }
    for events in [json!([]), json!([""]), json!("*")] {
        let body = json!({ "url": "https://8.8.8.8/", "events": events });
        assert!(call(&server, Method::POST, &[], body).await.is_err(), "{events}");
    }
    let (id, _) = subscribe(&server, "https://8.8.8.8/hook", &["*"]).await;
    let moved = call(&server, Method::PUT, &[&id], json!({ "url": "http://10.0.0.1/" })).await.unwrap_err();
    assert!(moved.to_string().contains("not on the public Internet"), "{moved}");
    // What led elsewhere when it was made isn't reached when it is used.
    server.execute("UPDATE webhook_subscriptions SET url = 'http://127.0.0.1:9/'").await;
    call(&server, Method::POST, &[&id, "test"], json!({})).await.unwrap();
    let mut attempts = Value::Null;
    for _ in 0..200 {
        attempts = call(&server, Method::GET, &[&id, "attempts"], json!({})).await.unwrap()["attempts"].take();
        if attempts[0].is_object() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(attempts[0]["error"].as_str().unwrap().contains("not allowed"), "{attempts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_subscribes_tests_and_replays() {
    let server = start(None);
    let receiver = Receiver::start();
    let command = |args: &[&str]| duologue("webhooks").server(&server).args(args).run();
    let made = command(&["create", &receiver.url(), "--events", "user_created,message_created"]).success().stdout;
    let (id, secret) = made.trim().split_once('\n').unwrap();
    assert!(id.starts_with("hook_") && secret.starts_with("whsec_"), "{made}");
    let listed = command(&["list"]).success().stdout;
    assert!(
        listed.contains(id) && listed.contains("user_created,message_created") && !listed.contains(secret),
        "{listed}"
    );
    let tested = command(&["test", id]).success().stdout;
    assert!(tested.contains("  200  "), "{tested}");
    assert_eq!(receiver.got()[0].signed_by(secret), 1);
    // What fails for good can be sent again: one, or all since then.
    receiver.answer(410);
    user(&server.client()).await;
    until(&server, id, "failed", 1).await;
    assert!(command(&["list"]).success().stdout.contains("410 Gone"));
    let tested = command(&["test", id]).failure(1).stderr;
    assert!(tested.contains("disabled"), "{tested}");
    receiver.answer(200);
    command(&["enable", id]).success();
    let replayed = command(&["replay", id, "--since", "1h"]).success().stdout;
    assert_eq!(replayed.trim(), "1 sent again");
    until(&server, id, "delivered", 2).await;
    let got = receiver.wait(3);
    assert_eq!(got[1].id(), got[2].id());
    command(&["replay", id, got[2].id()]).success();
    assert_eq!(receiver.wait(4)[3].id(), got[2].id());
    let attempts = command(&["attempts", id, "--json"]).success().stdout;
    assert!(attempts.lines().filter(|line| line.contains(got[2].id())).count() >= 2, "{attempts}");
    let rotated = command(&["rotate", id]).success().stdout;
    assert!(rotated.starts_with("whsec_") && !rotated.contains(secret), "{rotated}");
    command(&["disable", id]).success();
    user(&server.client()).await;
    command(&["delete", id]).success();
    assert_eq!(command(&["list"]).success().stdout, "");
    assert_eq!(receiver.got().len(), 4);
}
