//! Integrations whose code is a small HTTP server in this process: every operation that the server asks
//! it for while somebody waits, what it hears, and what becomes of its answers.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use support::Server;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// What the code was asked.
#[derive(Clone, Debug)]
struct Asked {
    operation: String,
    headers: HeaderMap,
    body: Value,
    bytes: Bytes,
}

impl Asked {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The signature that it comes with, and the one by these secrets.
    fn signatures(&self, secrets: &[&str]) -> (&str, String) {
        let signature = self.header("x-bp-signature");
        let (at, _) = signature.strip_prefix("t=").unwrap().split_once(',').unwrap();
        let mut expected = format!("t={at}");
        for secret in secrets {
            let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
            let mac = mac.chain_update(format!("{at}.")).chain_update(&self.bytes).finalize().into_bytes();
            expected.push_str(",v1=");
            expected.extend(mac.iter().map(|byte| format!("{byte:02x}")));
        }
        (signature, expected)
    }

    fn configuration(&self) -> Value {
        serde_json::from_slice(&STANDARD.decode(self.header("x-bp-configuration")).unwrap()).unwrap()
    }
}

/// What it answers.
struct Reply {
    status: u16,
    headers: Vec<(&'static str, &'static str)>,
    body: Vec<u8>,
}

fn says(body: Value) -> Reply {
    Reply { status: 200, headers: Vec::new(), body: body.to_string().into_bytes() }
}

fn fails(message: &str) -> Reply {
    let body = json!({"id": "x", "code": 400, "type": "Runtime", "message": message});
    Reply { status: 400, ..says(body) }
}

type Behaviour = Box<dyn Fn(Asked) -> Pin<Box<dyn Future<Output = Reply> + Send>> + Send + Sync>;

/// The code of a bot or an integration.
#[derive(Clone)]
struct Code {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    behaviour: Arc<Mutex<Arc<Behaviour>>>,
}

impl Code {
    async fn serve() -> Code {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let code = Code {
            url: format!("http://{}/some/path", listener.local_addr().unwrap()),
            asked: Arc::default(),
            behaviour: Arc::new(Mutex::new(Arc::new(Box::new(|_| Box::pin(async { says(json!({})) }))))),
        };
        let this = code.clone();
        let app = axum::Router::new()
            .fallback(move |headers: HeaderMap, body: Bytes| this.clone().answer(headers, body))
            .layer(axum::extract::DefaultBodyLimit::disable());
        tokio::spawn(async move { axum::serve(listener, app).await });
        code
    }

    async fn answer(self, headers: HeaderMap, body: Bytes) -> Response {
        let operation = headers["x-bp-operation"].to_str().unwrap().to_owned();
        let asked = Asked { operation, headers, body: serde_json::from_slice(&body).unwrap(), bytes: body };
        self.asked.lock().unwrap().push(asked.clone());
        let behaviour = self.behaviour.lock().unwrap().clone();
        let reply = behaviour(asked).await;
        let mut response = (StatusCode::from_u16(reply.status).unwrap(), reply.body).into_response();
        response.headers_mut().remove("content-type");
        for (name, value) in reply.headers {
            response.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        response
    }

    fn behaves<F: Future<Output = Reply> + Send + 'static>(
        &self,
        behaviour: impl Fn(Asked) -> F + Send + Sync + 'static,
    ) {
        *self.behaviour.lock().unwrap() = Arc::new(Box::new(move |asked| Box::pin(behaviour(asked))));
    }

    /// What it was asked since the last time.
    fn heard(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    fn operations(&self) -> Vec<String> {
        self.heard().into_iter().map(|asked| asked.operation).collect()
    }
}

/// An HTTP answer.
#[derive(Debug)]
struct Got {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    #[track_caller]
    fn ok(self) -> Value {
        let body = self.json();
        assert!(self.status < 300, "{} {body}", self.status);
        body
    }

    #[track_caller]
    fn refused(self, kind: &str) -> String {
        let body = self.json();
        assert_eq!(body["type"], kind, "{} {body}", self.status);
        body["message"].as_str().unwrap().to_owned()
    }
}

/// Sends bytes and reads the answer to its end.
async fn send(server: &Server, head: &str, body: &[u8]) -> Got {
    let address = server.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (line, rest) = head.split_once('\n').unwrap_or((head, ""));
    let mut request = format!("{line} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for header in rest.lines() {
        request.push_str(header);
        request.push_str("\r\n");
    }
    request.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines
        .map(|line| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned())).unwrap())
        .collect();
    Got { status, headers, body: answer[end + 4..].to_vec() }
}

/// The server, and an integration installed in its bot.
struct Bed {
    server: Server,
    code: Code,
    integration: String,
}

/// Who calls the API.
#[derive(Clone, Copy)]
enum As {
    Owner,
    Bot,
    Integration,
}

impl Bed {
    async fn new(definition: Value) -> Bed {
        Self::on(None, definition).await
    }

    /// An integration `tester` of this definition whose code is served here, not installed yet.
    async fn on(database: Option<&str>, definition: Value) -> Bed {
        let server = Server::prepare(database, &[]).with(&["--webhook-url", "http://hooks.test"]).serve();
        let code = Code::serve().await;
        let mut new = json!({"name": "tester", "version": "1.0.0", "url": code.url});
        new.as_object_mut().unwrap().extend(definition.as_object().unwrap().clone());
        let mut bed = Bed { server, code, integration: String::new() };
        let made = bed.call(As::Owner, "POST /v1/admin/integrations", new).await.ok();
        bed.integration = made["integration"]["id"].as_str().unwrap().to_owned();
        bed
    }

    async fn call(&self, who: As, line: &str, body: Value) -> Got {
        let mut head = format!("{line}\nauthorization: Bearer {}\ncontent-type: application/json\n", self.server.token);
        match who {
            As::Owner => {
                head.push_str(&format!("x-workspace-id: {}\nx-multiple-integrations: true\n", self.server.workspace));
            }
            As::Bot => head.push_str(&format!("x-bot-id: {}\n", self.server.bot)),
            As::Integration => head.push_str(&format!(
                "x-bot-id: {}\nx-integration-id: {}\nx-integration-alias: mine\n",
                self.server.bot, self.integration
            )),
        }
        send(&self.server, &head, body.to_string().as_bytes()).await
    }

    async fn update(&self, change: Value) -> Value {
        let got = self.call(As::Owner, &format!("PUT /v1/admin/bots/{}", self.server.bot), change).await;
        got.ok()["bot"].take()
    }

    /// Installs the integration under the alias `mine`, or changes that.
    async fn install(&self, change: Value) -> Value {
        let mut entry = json!({"integrationId": self.integration, "enabled": true});
        entry.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        self.update(json!({"integrations": {"mine": entry}})).await["integrations"]["mine"].take()
    }

    async fn instance(&self) -> Value {
        let got = self.call(As::Owner, &format!("GET /v1/admin/bots/{}", self.server.bot), json!({})).await;
        got.ok()["bot"]["integrations"]["mine"].take()
    }

    async fn eventually_status(&self, status: &str) -> Value {
        let started = Instant::now();
        loop {
            let instance = self.instance().await;
            if instance["status"] == status {
                return instance;
            }
            assert!(started.elapsed() < Duration::from_secs(30), "waited in vain for {status}: {instance}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn act(&self, who: As, name: &str, input: Value) -> Got {
        self.call(who, "POST /v1/chat/actions", json!({"type": name, "input": input})).await
    }
}

fn path_of(webhook_url: &Value) -> String {
    webhook_url.as_str().unwrap().strip_prefix("http://hooks.test").unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn installing_tells_the_code_and_says_how_that_went() {
    let schema = json!({"type": "object", "properties": {"key": {"type": "string"}}});
    let named = json!({"oauth": {"schema": {"type": "object"}}});
    let bed = Bed::new(json!({"configuration": {"schema": schema}, "configurations": named})).await;
    let instance = bed.install(json!({"configuration": {"key": "ü"}})).await;
    assert_eq!((&instance["status"], &instance["statusReason"]), (&json!("registered"), &Value::Null));
    let webhook = instance["webhookId"].as_str().unwrap();
    assert_eq!(instance["webhookUrl"], format!("http://hooks.test/{webhook}"));
    let heard = bed.code.heard();
    assert_eq!(heard.len(), 1);
    let asked = &heard[0];
    for (name, value) in [
        ("x-bp-operation", "register"),
        ("x-bp-type", "register"),
        ("x-bot-id", &bed.server.bot),
        ("x-bot-user-id", &bed.server.bot),
        ("x-integration-id", &bed.integration),
        ("x-integration-alias", "mine"),
        ("x-webhook-id", webhook),
        ("content-type", "application/json"),
    ] {
        assert_eq!(asked.header(name), value, "{name}");
    }
    assert!(!asked.headers.contains_key("x-bp-configuration-type"));
    assert_eq!(asked.configuration(), json!({"key": "ü"}));
    assert_eq!(asked.body, json!({"webhookUrl": instance["webhookUrl"]}));

    // What doesn't change isn't told again.
    bed.install(json!({"configuration": {"key": "ü"}})).await;
    bed.update(json!({"name": "renamed"})).await;
    assert_eq!(bed.code.operations(), Vec::<String>::new());

    // What changes is taken back as it was, and told as it is.
    bed.install(json!({"configuration": {}, "configurationType": "oauth"})).await;
    let heard = bed.code.heard();
    assert_eq!(heard.iter().map(|asked| asked.operation.as_str()).collect::<Vec<_>>(), ["unregister", "register"]);
    assert_eq!(heard[0].configuration(), json!({"key": "ü"}));
    assert_eq!((heard[1].configuration(), heard[1].header("x-bp-configuration-type")), (json!({}), "oauth"));

    // A failure is said, and doesn't undo anything; the next change tries again.
    bed.code.behaves(|_| async { fails("the token is wrong") });
    let instance = bed.install(json!({"configuration": {"a": 1}})).await;
    assert_eq!(instance["status"], "registration_failed");
    assert_eq!(instance["statusReason"], "the token is wrong");
    assert_eq!(instance["configuration"], json!({"a": 1}));
    // The bot's log has it, too, after what the code said to being told goodbye.
    let logs = format!("GET /v1/admin/bots/{}/logs?timeStart=2020-01-01T00:00:00.000Z", bed.server.bot);
    let started = Instant::now();
    loop {
        let page = bed.call(As::Owner, &logs, json!({})).await.ok();
        if page["logs"][1]["message"] == "The integration mine did not register: the token is wrong" {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{page}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bed.code.heard();
    bed.code.behaves(|_| async { says(json!({})) });
    assert_eq!(bed.install(json!({})).await["status"], "registered");
    assert_eq!(bed.code.operations(), ["register"]);

    assert_eq!(bed.install(json!({"enabled": false})).await["status"], "unregistered");
    assert_eq!(bed.code.operations(), ["unregister"]);
    assert_eq!(bed.install(json!({})).await["status"], "registered");
    assert_eq!(bed.code.operations(), ["register"]);
    bed.code.behaves(|_| async { fails("no") });
    let instance = bed.install(json!({"enabled": false})).await;
    assert_eq!((&instance["status"], &instance["statusReason"]), (&json!("unregistration_failed"), &json!("no")));
    bed.install(json!({})).await;
    bed.code.behaves(|_| async { says(json!({})) });
    bed.install(json!({})).await;
    bed.code.heard();
    let gone = bed.update(json!({"integrations": {"mine": null}})).await;
    assert_eq!(gone["integrations"], json!({}));
    assert_eq!(bed.code.operations(), ["unregister"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn integrations_are_called_with_a_signature() {
    let bed = Bed::new(json!({})).await;
    let new = json!({"name": "signer", "version": "1.0.0", "url": bed.code.url, "actions": actions()});
    let made = bed.call(As::Owner, "POST /v1/admin/integrations", new).await.ok()["integration"].take();
    let (id, old) = (made["id"].as_str().unwrap(), made["signingSecret"].as_str().unwrap());
    bed.update(json!({"integrations": {"mine": {"integrationId": id, "enabled": true}}})).await;
    let webhook = path_of(&bed.instance().await["webhookUrl"]);
    bed.code.behaves(|_| async { says(json!({"output": {"text": "Hi"}})) });
    let operations = async || {
        bed.act(As::Bot, "mine:greet", json!({"name": "Ada"})).await.ok();
        send(&bed.server, &format!("POST {webhook}"), b"hello").await;
        bed.code.heard()
    };
    let heard = operations().await;
    let named: Vec<&str> = heard.iter().map(|asked| asked.operation.as_str()).collect();
    assert_eq!(named, ["register", "action_triggered", "webhook_received"]);
    for asked in heard {
        let (signature, expected) = asked.signatures(&[old]);
        assert_eq!(signature, expected, "{}", asked.operation);
    }

    let rotate = format!("POST /v1/admin/integrations/{id}/signing-secrets/rotate");
    let rotated = bed.call(As::Owner, &rotate, json!({})).await.ok();
    let new = rotated["newSigningSecret"].as_str().unwrap();
    for asked in operations().await {
        let (signature, expected) = asked.signatures(&[new, old]);
        assert_eq!(signature, expected, "{}", asked.operation);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_developers_integration_is_told_when_its_code_is_there_and_when_it_is_gone() {
    let bed = Bed::new(json!({})).await;
    let new = json!({"name": "dev-one", "version": "0.1.0", "dev": true, "url": format!("http://{}", support::free_address())});
    let made = bed.call(As::Owner, "POST /v1/admin/integrations", new).await.ok();
    let id = made["integration"]["id"].as_str().unwrap();
    let bot = bed.call(As::Owner, "POST /v1/admin/bots", json!({"dev": true})).await.ok()["bot"]["id"].take();
    let bot = format!("/v1/admin/bots/{}", bot.as_str().unwrap());
    let install = json!({"integrations": {"mine": {"integrationId": id, "enabled": true, "configuration": {"a": 1}}}});
    let updated = bed.call(As::Owner, &format!("PUT {bot}"), install).await.ok();
    let instance = &updated["bot"]["integrations"]["mine"];
    assert_eq!(instance["status"], "registration_pending", "with bp dev, its code is being started: {instance}");
    assert!(instance["statusReason"].is_string(), "{instance}");

    // It answers like a tunnel without code at first.
    let attempts = Arc::new(Mutex::new(0));
    bed.code.behaves(move |_| {
        let mut attempts = attempts.lock().unwrap();
        *attempts += 1;
        let status = [404, 500, 502].get(*attempts - 1).copied();
        async move { status.map_or_else(|| says(json!({})), |status| Reply { status, ..says(json!("nobody")) }) }
    });
    bed.call(As::Owner, &format!("PUT /v1/admin/integrations/{id}"), json!({"url": bed.code.url})).await.ok();
    let settled = async || {
        let started = Instant::now();
        loop {
            let instance =
                bed.call(As::Owner, &format!("GET {bot}"), json!({})).await.ok()["bot"]["integrations"]["mine"].take();
            if instance["status"] != "registration_pending" {
                return instance;
            }
            assert!(started.elapsed() < Duration::from_secs(30), "{instance}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let registered = settled().await;
    assert_eq!((&registered["status"], &registered["statusReason"]), (&json!("registered"), &Value::Null));
    assert_eq!(bed.code.operations(), ["register"; 4]);

    // What the code itself says is final, also of one that was just deployed.
    let deploy = async || {
        bed.call(As::Owner, &format!("PUT /v1/admin/integrations/{id}"), json!({"url": bed.code.url})).await.ok()
    };
    bed.code.behaves(|_| async { Reply { status: 500, ..says(json!({"error": "thrown"})) } });
    deploy().await;
    let failed = settled().await;
    assert_eq!((&failed["status"], &failed["statusReason"]), (&json!("registration_failed"), &json!("thrown")));
    bed.code.behaves(|_| async { says(json!({})) });
    deploy().await;
    assert_eq!(settled().await["status"], "registered");
    bed.code.heard();

    // Deleted, it is forced out of bots; nobody waits for its code, which hears of it all the same.
    bed.code.behaves(|_| async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        says(json!({}))
    });
    let started = Instant::now();
    bed.call(As::Owner, &format!("DELETE /v1/admin/integrations/{id}"), json!({})).await.ok();
    assert!(started.elapsed() < Duration::from_secs(15));
    let got = bed.call(As::Owner, &format!("GET {bot}"), json!({})).await.ok();
    assert_eq!(got["bot"]["integrations"], json!({}));
    let code = bed.code.clone();
    tokio::task::spawn_blocking(move || support::eventually(|| !code.asked.lock().unwrap().is_empty())).await.unwrap();
    let heard = bed.code.heard().pop().unwrap();
    assert_eq!((heard.operation.as_str(), heard.header("x-integration-alias")), ("unregister", "mine"));
    assert_eq!((heard.header("x-integration-id"), heard.configuration()), (id, json!({"a": 1})));
    let webhook = registered["webhookUrl"].as_str().unwrap();
    assert_eq!(heard.body, json!({"webhookUrl": webhook}));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_removed_hears_of_it_but_nothing_waits_for_it_for_long() {
    let bed = Bed::new(json!({"maxExecutionTime": 60})).await;
    // It was deployed anew and hasn't been told of it again yet: it is registered all the same.
    bed.install(json!({})).await;
    bed.code.behaves(|asked| async move {
        if asked.operation == "register" {
            return Reply { status: 503, ..says(json!({})) };
        }
        tokio::time::sleep(Duration::from_secs(30)).await;
        says(json!({}))
    });
    let sql = "UPDATE instances SET status = 'registration_pending', register_at = 9999999999999";
    assert_eq!(bed.server.execute(sql).await, 1);
    bed.code.heard();
    let started = Instant::now();
    let gone = bed.update(json!({"integrations": {"mine": null}})).await;
    assert_eq!(gone["integrations"], json!({}));
    assert!((9..20).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    assert_eq!(bed.code.operations(), ["unregister"]);
    let logs = format!("GET /v1/admin/bots/{}/logs?timeStart=2020-01-01T00:00:00.000Z", bed.server.bot);
    let started = Instant::now();
    loop {
        let page = bed.call(As::Owner, &logs, json!({})).await.ok();
        let message = page["logs"].as_array().and_then(|lines| lines.last()).map(|line| line["message"].clone());
        if message == Some(json!("The integration mine did not unregister: It did not answer within 10 s")) {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{page}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn code_that_is_slow_or_broken_is_waited_for_a_while() {
    let bed = Bed::new(json!({"maxExecutionTime": 1})).await;
    bed.code.behaves(|_| async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        says(json!({}))
    });
    let started = Instant::now();
    let instance = bed.install(json!({})).await;
    assert_eq!(instance["status"], "registration_failed");
    assert!(instance["statusReason"].as_str().unwrap().contains("did not answer within 1 s"), "{instance}");
    assert!(started.elapsed() < Duration::from_secs(10));
    bed.code.heard();

    // What may pass is tried once more.
    bed.code.behaves(|_| async { Reply { status: 503, ..says(json!({"error": "busy"})) } });
    assert_eq!(bed.install(json!({})).await["statusReason"], "busy");
    assert_eq!(bed.code.operations(), ["register", "register"]);

    // Nobody there.
    let nowhere = support::free_address();
    let path = format!("PUT /v1/admin/integrations/{}", bed.integration);
    bed.call(As::Owner, &path, json!({"url": format!("http://{nowhere}")})).await.ok();
    assert_eq!(bed.install(json!({})).await["status"], "registration_failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn code_works_while_it_is_told() {
    let bed = Arc::new(Bed::new(json!({})).await);
    let weak = Arc::downgrade(&bed);
    bed.code.behaves(move |asked| {
        let bed = weak.upgrade();
        async move {
            let Some(bed) = bed.filter(|_| asked.operation == "register") else { return says(json!({})) };
            let configured = bed
                .call(As::Integration, "POST /v1/chat/integrations/configure", json!({"identifier": "team-1"}))
                .await;
            assert_eq!(configured.ok(), json!({}));
            let state = format!("POST /v1/chat/states/integration/{}/token", bed.integration);
            bed.call(As::Integration, &state, json!({"payload": {"value": "t"}})).await.ok();
            says(json!({}))
        }
    });
    let started = Instant::now();
    let instance = bed.install(json!({})).await;
    assert_eq!((&instance["status"], &instance["identifier"]), (&json!("registered"), &json!("team-1")));
    assert!(started.elapsed() < Duration::from_secs(10));

    let words = ["never", ""];
    for word in words {
        let body = json!({"scheduleRegisterCall": word});
        bed.call(As::Integration, "POST /v1/chat/integrations/configure", body).await.refused("InvalidPayload");
    }
    bed.call(As::Bot, "POST /v1/chat/integrations/configure", json!({"identifier": "x"})).await.refused("Forbidden");
    for identifier in [json!(""), json!(null)] {
        let body = json!({"identifier": "again"});
        bed.call(As::Integration, "POST /v1/chat/integrations/configure", body).await.ok();
        assert_eq!(bed.instance().await["identifier"], "again");
        let body = json!({"identifier": identifier, "scheduleRegisterCall": "daily"});
        bed.call(As::Integration, "POST /v1/chat/integrations/configure", body).await.ok();
        assert_eq!(bed.instance().await.get("identifier"), None);
    }
    assert_eq!(bed.instance().await["status"], "registered");
    // A day later it is told again.
    bed.code.heard();
    let moved = bed.server.execute("UPDATE instances SET register_at = 1 WHERE register_at IS NOT NULL").await;
    assert_eq!(moved, 1);
    bed.call(As::Integration, "POST /v1/chat/integrations/configure", json!({"identifier": "wake"})).await.ok();
    let body = json!({"code": "exports.default = {}"});
    bed.call(As::Owner, &format!("PUT /v1/admin/integrations/{}", bed.integration), body).await.ok();
    let code = bed.code.clone();
    tokio::task::spawn_blocking(move || support::eventually(|| !code.asked.lock().unwrap().is_empty())).await.unwrap();
    assert_eq!(bed.code.operations()[0], "register");
    bed.eventually_status("registered").await;
    let next = bed.server.number("SELECT COALESCE(MIN(register_at), 0) FROM instances").await;
    assert!(next > 1_000_000, "it is told again a day later: {next}");
}

async fn changes_of_a_bot_wait_for_each_other(database: Option<&str>) {
    let bed = Arc::new(Bed::on(database, json!({})).await);
    let second = database.map(|_| bed.server.another());
    let running = Arc::new(Mutex::new((0, 0)));
    let counted = running.clone();
    bed.code.behaves(move |_| {
        let counted = counted.clone();
        async move {
            {
                let mut counted = counted.lock().unwrap();
                counted.0 += 1;
                counted.1 = counted.1.max(counted.0);
            }
            tokio::time::sleep(Duration::from_millis(150)).await;
            counted.lock().unwrap().0 -= 1;
            says(json!({}))
        }
    });
    let path = format!("PUT /v1/admin/bots/{}", bed.server.bot);
    let change = |n: usize| {
        let entry = json!({"integrationId": bed.integration, "enabled": true, "configuration": {"n": n}});
        json!({"integrations": {"mine": entry}}).to_string()
    };
    let head = format!(
        "{path}\nauthorization: Bearer {}\ncontent-type: application/json\nx-workspace-id: {}\nx-multiple-integrations: true\n",
        bed.server.token, bed.server.workspace
    );
    let all = (0..6).map(|n| {
        let server = if n % 2 == 1 { second.as_ref().unwrap_or(&bed.server) } else { &bed.server };
        let (head, body) = (head.clone(), change(n));
        async move { send(server, &head, body.as_bytes()).await.ok() }
    });
    for updated in futures_util::future::join_all(all).await {
        assert_eq!(updated["bot"]["integrations"]["mine"]["status"], "registered");
    }
    assert_eq!(running.lock().unwrap().1, 1, "two changes told code at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_a_bot_wait_for_each_other_on_sqlite() {
    changes_of_a_bot_wait_for_each_other(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_a_bot_wait_for_each_other_on_postgres() {
    if let Some(database) = support::postgres().await {
        changes_of_a_bot_wait_for_each_other(Some(&database)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_interrupted_is_told_after_a_restart() {
    let mut bed = Bed::new(json!({})).await;
    bed.code.behaves(|_| async {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        says(json!({}))
    });
    let entry = json!({"integrationId": bed.integration, "enabled": true});
    let body = json!({"integrations": {"mine": entry}}).to_string();
    let head = format!(
        "PUT /v1/admin/bots/{}\nauthorization: Bearer {}\ncontent-type: application/json\nx-workspace-id: {}\nx-multiple-integrations: true\ncontent-length: {}\n",
        bed.server.bot,
        bed.server.token,
        bed.server.workspace,
        body.len()
    );
    let address = bed.server.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (line, rest) = head.split_once('\n').unwrap();
    let request = format!("{line} HTTP/1.1\r\nhost: x\r\n{}\r\n{body}", rest.replace('\n', "\r\n"));
    stream.write_all(request.as_bytes()).await.unwrap();
    let code = bed.code.clone();
    tokio::task::spawn_blocking(move || support::eventually(|| !code.asked.lock().unwrap().is_empty())).await.unwrap();
    bed.code.behaves(|_| async { says(json!({})) });
    assert_eq!(bed.instance().await["status"], "registration_pending");
    bed.server.restart();
    bed.eventually_status("registered").await;
    assert_eq!(bed.code.operations(), ["register", "register"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_pass_through() {
    let bed = Bed::new(json!({})).await;
    let webhook = path_of(&bed.install(json!({})).await["webhookUrl"]);
    bed.code.heard();
    bed.code.behaves(|_| async {
        let headers = vec![
            ("content-type", "text/weird; charset=x"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("access-control-allow-origin", "https://a.test"),
        ];
        Reply { status: 418, headers, body: b"\x00\xff\r\nbytes".to_vec() }
    });
    let head = format!(
        "PATCH {webhook}/a%20b//c/?x=%2F&y&&z=1+2\nX-Sig: one\nx-sig: two\ncontent-type: text/plain\nTE: trailers\n"
    );
    let got = send(&bed.server, &head, "tëxt\u{0}\r\n".as_bytes()).await;
    assert_eq!((got.status, got.body.as_slice()), (418, b"\x00\xff\r\nbytes".as_slice()));
    assert_eq!(got.all("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(got.all("content-type"), ["text/weird; charset=x"]);
    assert_eq!(got.all("access-control-allow-origin"), ["https://a.test"]);
    for absent in ["x-hop", "x-content-type-options", "x-request-id", "cache-control"] {
        assert_eq!(got.all(absent), [""; 0], "{absent}");
    }
    let asked = bed.code.heard().pop().unwrap();
    assert_eq!(asked.operation, "webhook_received");
    let req = &asked.body["req"];
    assert_eq!(req["method"], "PATCH");
    assert_eq!(req["path"], "/a%20b//c/");
    assert_eq!(req["query"], "x=%2F&y&&z=1+2");
    assert_eq!(req["body"], "tëxt\u{0}\r\n");
    assert_eq!(req["headers"]["x-sig"], "one, two");
    assert_eq!(req["headers"]["host"], bed.server.url.strip_prefix("http://").unwrap());
    assert_eq!((&req["headers"]["te"], &req["headers"]["connection"]), (&Value::Null, &Value::Null));

    // Nothing more than is there; what isn't text becomes some.
    bed.code.behaves(|_| async { Reply { status: 200, headers: Vec::new(), body: b"{}".to_vec() } });
    let got = send(&bed.server, &format!("GET {webhook}\n"), b"").await;
    assert_eq!((got.status, got.json()), (200, json!({})));
    let req = bed.code.heard().pop().unwrap().body["req"].take();
    assert_eq!((&req["path"], &req["query"], req.get("body")), (&json!("/"), &json!(""), None));
    send(&bed.server, &format!("POST {webhook}/\n"), b"\xff\xfe").await;
    let req = bed.code.heard().pop().unwrap().body["req"].take();
    assert_eq!((&req["path"], &req["body"]), (&json!("/"), &json!("\u{fffd}\u{fffd}")));

    // A preflight is the integration's affair, and an answer without a body is one.
    bed.code
        .behaves(|_| async { Reply { status: 204, headers: vec![("access-control-max-age", "5")], body: Vec::new() } });
    let head = format!("OPTIONS {webhook}/x\norigin: https://a.test\naccess-control-request-method: POST\n");
    let got = send(&bed.server, &head, b"").await;
    assert_eq!((got.status, got.body.len(), got.all("access-control-max-age")), (204, 0, vec!["5"]));
    assert_eq!(got.all("access-control-allow-origin"), [""; 0]);
    assert_eq!(bed.code.heard().pop().unwrap().body["req"]["method"], "OPTIONS");

    // A large body arrives whole.
    bed.code.behaves(|asked| async move { says(json!({"length": asked.body["req"]["body"].as_str().unwrap().len()})) });
    let large = vec![b'x'; 3 << 20];
    assert_eq!(send(&bed.server, &format!("POST {webhook}\n"), &large).await.json()["length"], 3 << 20);

    // Its own errors pass, too.
    bed.code.behaves(|_| async { fails("bad signature") });
    let got = send(&bed.server, &format!("POST {webhook}\n"), b"{}").await;
    assert_eq!((got.status, got.json()["message"].as_str()), (400, Some("bad signature")));
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_that_nobody_answers() {
    let bed = Bed::new(json!({"maxExecutionTime": 1})).await;
    let unknown = "/01234567-89ab-cdef-0123-456789abcdef";
    let got = send(&bed.server, &format!("POST {unknown}/x\n"), b"{}").await;
    assert_eq!(got.status, 404);
    got.refused("ResourceNotFound");
    let got = send(&bed.server, "GET /no-webhook\n", b"").await;
    assert_eq!(got.status, 405);
    let instance = bed.install(json!({})).await;
    let webhook = path_of(&instance["webhookUrl"]);
    bed.code.behaves(|_| async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        says(json!({}))
    });
    let got = send(&bed.server, &format!("POST {webhook}\n"), b"{}").await;
    assert_eq!(got.status, 504);
    got.refused("OperationTimeout");
    bed.code.behaves(|_| async { says(json!({})) });
    bed.install(json!({"enabled": false})).await;
    let got = send(&bed.server, &format!("POST {webhook}\n"), b"{}").await;
    assert_eq!(got.status, 404);
    bed.install(json!({})).await;
    let url = format!("http://{}", support::free_address());
    let path = format!("PUT /v1/admin/integrations/{}", bed.integration);
    bed.call(As::Owner, &path, json!({ "url": url })).await.ok();
    let got = send(&bed.server, &format!("POST {webhook}\n"), b"{}").await;
    assert_eq!(got.status, 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn connecting_gives_an_instance_its_identifier() {
    let bed = Bed::new(json!({"configuration": {"schema": {}, "identifier": {"required": true}}})).await;
    let instance = bed.install(json!({})).await;
    assert_eq!(instance["status"], "registration_pending");
    assert_eq!(bed.code.operations(), Vec::<String>::new());
    let state = instance["webhookId"].as_str().unwrap().to_owned();

    // A page of its own, a redirect of its own, and an end that the server shows.
    bed.code.behaves(|_| async {
        Reply { status: 200, headers: vec![("x-bp-disable-interstitial", "true")], body: b"<wizard>".to_vec() }
    });
    let got = send(&bed.server, &format!("GET /oauth/wizard/start?state={state}&a=b\n"), b"").await;
    assert_eq!((got.status, got.body.as_slice()), (200, b"<wizard>".as_slice()));
    assert_eq!(got.all("x-bp-disable-interstitial"), [""; 0]);
    let req = bed.code.heard().pop().unwrap().body["req"].take();
    assert_eq!((&req["path"], &req["query"]), (&json!("/oauth/wizard/start"), &json!(format!("state={state}&a=b"))));
    bed.code
        .behaves(|_| async { Reply { status: 302, headers: vec![("location", "https://a.test/")], body: Vec::new() } });
    let got = send(&bed.server, &format!("GET /oauth?state={state}\n"), b"").await;
    assert_eq!((got.status, got.all("location")), (302, vec!["https://a.test/"]));
    bed.code.behaves(|_| async { Reply { status: 403, headers: Vec::new(), body: b"secret".to_vec() } });
    let got = send(&bed.server, &format!("GET /oauth?state={state}\n"), b"").await;
    let page = String::from_utf8(got.body).unwrap();
    assert!(got.status == 403 && page.contains("Not connected") && !page.contains("secret"), "{page}");
    assert_eq!(bed.instance().await["status"], "registration_pending");
    bed.code.heard();

    bed.code.behaves(|_| async {
        Reply { status: 200, headers: vec![("x-bp-integration-identifier", "team-7")], body: b"raw".to_vec() }
    });
    let head = "POST /oauth/callback\ncontent-type: application/x-www-form-urlencoded\n";
    let got = send(&bed.server, head, format!("code=1&state={state}").as_bytes()).await;
    let page = String::from_utf8(got.body).unwrap();
    assert!(got.status == 200 && page.contains("Connected") && !page.contains("raw"), "{page}");
    let instance = bed.eventually_status("registered").await;
    assert_eq!(instance["identifier"], "team-7");
    assert_eq!(bed.code.operations(), ["webhook_received", "register"]);

    // An identifier belongs to one instance; whoever says it last has it.
    let bot = bed.call(As::Owner, "POST /v1/admin/bots", json!({"name": "other"})).await.ok()["bot"]["id"].take();
    let path = format!("PUT /v1/admin/bots/{}", bot.as_str().unwrap());
    let entry = json!({"integrationId": bed.integration, "enabled": true});
    let other = bed.call(As::Owner, &path, json!({"integrations": {"theirs": entry}})).await.ok();
    let state = other["bot"]["integrations"]["theirs"]["webhookId"].as_str().unwrap();
    send(&bed.server, &format!("GET /oauth?state={state}\n"), b"").await;
    assert_eq!(bed.instance().await.get("identifier"), None);

    let got = send(&bed.server, "GET /oauth/interstitial?success=true\n", b"").await;
    assert!(got.status == 200 && String::from_utf8(got.body).unwrap().contains("Connected"));
    let got = send(&bed.server, "GET /oauth/interstitial?success=false&errorMessage=%3Cscript%3E\n", b"").await;
    let page = String::from_utf8(got.body).unwrap();
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script>"), "{page}");
    assert_eq!(send(&bed.server, "GET /oauth?state=unknown\n", b"").await.status, 404);
    assert_eq!(send(&bed.server, "GET /oauth\n", b"").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_webhook_finds_its_instance() {
    let extract = r#"
        body = parse_json!(.body)
        signature = encode_base16(hmac(.body, string!(.secrets.KEY)))
        assert!(.headers."x-sig" == signature, message: "signed by somebody else")
        to_string!(body.team.id)
    "#;
    let fallback = r#"{ "status": 202, "headers": {"x-by": "script"}, "body": encode_json({"path": .path}) }"#;
    let identifier = json!({"extractScript": extract, "fallbackHandlerScript": fallback});
    let bed = Bed::new(json!({"name": "acme/tester", "identifier": identifier, "secrets": {"KEY": "k"}})).await;
    let post = |path: &str, body: &str| {
        // printf '{"team":{"id":"T1"}}' | openssl dgst -sha256 -hmac k
        let signature = "cf79a18c53aed714a10a25374a80dfcbb11e19aad0f5ad0441ddeac5225ec5f4";
        let (head, body) = (format!("POST {path}\nx-sig: {signature}\n"), body.to_owned());
        let server = &bed.server;
        async move { send(server, &head, body.as_bytes()).await }
    };
    let body = r#"{"team":{"id":"T1"}}"#;
    assert_eq!(post("/integration/global/acme/tester", body).await.status, 404);
    bed.install(json!({})).await;
    bed.code.heard();
    let got = post("/integration/global/acme/tester/a/b?c=d", body).await;
    assert_eq!((got.status, got.all("x-by"), got.json()), (202, vec!["script"], json!({"path": "/a/b"})));
    bed.call(As::Integration, "POST /v1/chat/integrations/configure", json!({"identifier": "T1"})).await.ok();
    bed.code.behaves(|_| async { Reply { status: 201, ..says(json!({"here": true})) } });
    for path in ["/integration/global/acme/tester/a/b?c=d", "/integration/global/acme%2Ftester/a/b?c=d"] {
        let got = post(path, body).await;
        assert_eq!((got.status, got.json()), (201, json!({"here": true})), "{path}");
        let req = bed.code.heard().pop().unwrap().body["req"].take();
        assert_eq!((&req["path"], &req["query"], &req["body"]), (&json!("/a/b"), &json!("c=d"), &json!(body)));
    }
    // Another's signature finds nobody.
    assert_eq!(post("/integration/global/acme/tester", r#"{"team": {"id": "T1"}}"#).await.status, 202);
    assert_eq!(post("/integration/global/unknown/x", body).await.status, 404);
    assert_eq!(bed.code.operations(), Vec::<String>::new());

    let run =
        |script: &str| bed.call(As::Owner, "POST /v1/admin/helper/vrl", json!({"data": {"a": "b"}, "script": script}));
    let ran = run(".c = 1\n.a").await.ok();
    assert_eq!(ran, json!({"data": {"a": "b", "c": 1}, "result": "b"}));
    assert!(run("nonsense(").await.refused("Runtime").contains("line 1"));
    run("abort").await.refused("Runtime");
}

fn actions() -> Value {
    let input = json!({"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]});
    json!({"greet": {"input": {"schema": input}, "output": {"schema": {"type": "object"}}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn bots_have_integrations_act() {
    let bed = Bed::new(json!({"actions": actions(), "maxExecutionTime": 1})).await;
    bed.install(json!({})).await;
    bed.code.heard();
    bed.code.behaves(|asked| async move {
        let text = format!("Hello, {}", asked.body["input"]["name"].as_str().unwrap());
        says(json!({"output": {"text": text}, "meta": {"cost": 0.25}}))
    });
    let done = bed.act(As::Bot, "mine:greet", json!({"name": "Ada"})).await.ok();
    assert_eq!(done, json!({"output": {"text": "Hello, Ada"}, "meta": {"cached": false}}));
    let asked = bed.code.heard().pop().unwrap();
    assert_eq!((asked.operation.as_str(), asked.header("x-bp-type")), ("action_triggered", "action_triggered"));
    assert_eq!(asked.body, json!({"type": "greet", "input": {"name": "Ada"}}));
    // Its own, by either name.
    for name in ["greet", "mine:greet", "tester:greet"] {
        let done = bed.act(As::Integration, name, json!({"name": "Bob"})).await.ok();
        assert_eq!(done["output"]["text"], "Hello, Bob");
    }
    bed.code.heard();

    bed.act(As::Bot, "mine:greet", json!({"name": 5})).await.refused("InvalidDataFormat");
    bed.act(As::Bot, "mine:greet", json!([])).await.refused("InvalidPayload");
    bed.act(As::Bot, "mine:other", json!({})).await.refused("ResourceNotFound");
    bed.act(As::Bot, "theirs:greet", json!({})).await.refused("ResourceNotFound");
    bed.act(As::Bot, "greet", json!({})).await.refused("ResourceNotFound");
    bed.act(As::Integration, "theirs:greet", json!({})).await.refused("ResourceNotFound");
    assert_eq!(bed.code.operations(), Vec::<String>::new());

    bed.code.behaves(|_| async { fails("Ada isn't here") });
    assert_eq!(bed.act(As::Bot, "mine:greet", json!({"name": "Ada"})).await.refused("Runtime"), "Ada isn't here");
    bed.code.behaves(|_| async { Reply { status: 500, ..fails("Ada isn't here either") } });
    let message = bed.act(As::Bot, "mine:greet", json!({"name": "Ada"})).await.refused("Runtime");
    assert_eq!(message, "Ada isn't here either");
    bed.code.behaves(|_| async { says(json!({"output": "text"})) });
    bed.act(As::Bot, "mine:greet", json!({"name": "Ada"})).await.refused("Runtime");
    bed.code.behaves(|_| async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        says(json!({}))
    });
    let got = bed.act(As::Bot, "mine:greet", json!({"name": "Ada"})).await;
    assert_eq!(got.status, 504);
    got.refused("OperationTimeout");

    let path = format!("GET /v1/admin/bots/{}/action-runs?integrationName=mine&pageSize=3", bed.server.bot);
    let page = bed.call(As::Owner, &path, json!({})).await.ok();
    let shown: Vec<&Value> = page["data"].as_array().unwrap().iter().map(|run| &run["status"]).collect();
    assert_eq!(shown, ["FAILURE", "FAILURE", "FAILURE"]);
    assert_eq!(page["data"][2]["errorMessage"], "Ada isn't here either");
    let next = page["meta"]["nextToken"].as_str().unwrap();
    let rest = bed.call(As::Owner, &format!("{path}&nextToken={next}"), json!({})).await.ok();
    let oldest = &rest["data"].as_array().unwrap()[1..];
    assert_eq!(oldest.len(), 2, "{rest}");
    assert_eq!(oldest[1]["status"], "SUCCESS");
    bed.call(As::Owner, &path.replace("integrationName=mine", "x=y"), json!({})).await.refused("InvalidPayload");

    bed.code.behaves(|_| async { says(json!({})) });
    bed.install(json!({"enabled": false})).await;
    bed.act(As::Bot, "mine:greet", json!({"name": "Ada"})).await.refused("Runtime");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_breaks_its_schema_is_answered_and_logged() {
    let output = json!({"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]});
    let actions = json!({"greet": {"input": {"schema": {"type": "object"}}, "output": {"schema": output}}});
    let bed = Bed::new(json!({"actions": actions})).await;
    bed.install(json!({})).await;
    // The action has happened: its caller gets what came of it.
    bed.code.behaves(|_| async { says(json!({"output": {"text": 5}})) });
    let done = bed.act(As::Bot, "mine:greet", json!({})).await.ok();
    assert_eq!(done["output"], json!({"text": 5}));
    let logs = format!("GET /v1/admin/bots/{}/logs?timeStart=2020-01-01T00:00:00.000Z&level=warn", bed.server.bot);
    let started = Instant::now();
    let line = loop {
        let mut page = bed.call(As::Owner, &logs, json!({})).await.ok();
        if page["logs"][0].is_object() {
            break page["logs"][0]["message"].take();
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{page}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let begin = r#"The output of the action "greet" is not what it declares: "#;
    assert!(line.as_str().unwrap().starts_with(begin), "{line}");

    // What can't be an output at all is the dialect's error, for actions of the bot itself, too.
    let code = Code::serve().await;
    bed.update(json!({"url": code.url, "actions": {"own": {"input": {"schema": {}}, "output": {"schema": {}}}}})).await;
    for rubbish in [json!([]), json!({"output": []}), json!({"output": "text"}), json!({"output": null}), json!(7)] {
        for (code, name) in [(&bed.code, "mine:greet"), (&code, "own")] {
            let body = rubbish.clone();
            code.behaves(move |_| {
                let body = body.clone();
                async move { says(body) }
            });
            let message = bed.act(As::Bot, name, json!({})).await.refused("Runtime");
            assert!(message.contains("answered something"), "{rubbish}: {message}");
        }
    }
    let path = format!("GET /v1/admin/bots/{}/action-runs?integrationName=mine", bed.server.bot);
    let page = bed.call(As::Owner, &path, json!({})).await.ok();
    let runs: Vec<&str> = page["data"].as_array().unwrap().iter().map(|run| run["status"].as_str().unwrap()).collect();
    assert_eq!(runs, ["FAILURE", "FAILURE", "FAILURE", "FAILURE", "FAILURE", "SUCCESS"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_is_ended_without_its_caller() {
    let bed = Bed::new(json!({"actions": actions()})).await;
    bed.install(json!({})).await;
    bed.code.heard();
    bed.code.behaves(|_| async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        says(json!({"output": {}}))
    });
    // Who calls leaves when the code has begun.
    let begun = async {
        while bed.code.asked.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = bed.act(As::Bot, "mine:greet", json!({"name": "Ada"})) => panic!("it was answered before it had begun"),
        () = begun => {}
    }
    let path = format!("GET /v1/admin/bots/{}/action-runs?integrationName=mine", bed.server.bot);
    let started = Instant::now();
    loop {
        let page = bed.call(As::Owner, &path, json!({})).await.ok();
        if page["data"][0]["status"] == "SUCCESS" {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{page}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bots_act_themselves_and_are_told_of_their_deployment() {
    let bed = Bed::new(json!({})).await;
    let code = Code::serve().await;
    let configuration = json!({"data": {"a": 1}, "schema": {}});
    let change = json!({"url": code.url, "actions": actions(), "configuration": configuration});
    bed.update(change).await;
    let waiting = code.clone();
    tokio::task::spawn_blocking(move || support::eventually(|| !waiting.asked.lock().unwrap().is_empty()))
        .await
        .unwrap();
    let asked = code.heard().pop().unwrap();
    assert_eq!((asked.operation.as_str(), asked.header("x-bp-type")), ("register", "register"));
    assert_eq!(asked.body["bot"]["id"], bed.server.bot);
    assert_eq!(asked.configuration(), json!({"payload": r#"{"a":1}"#}));

    code.behaves(|asked| async move { says(json!({"output": {"type": asked.body["type"]}})) });
    let done = bed.act(As::Bot, "greet", json!({"name": "Ada"})).await.ok();
    assert_eq!(done["output"]["type"], "greet");
    let done = bed.act(As::Bot, "hitl#start", json!({})).await.ok();
    assert_eq!(done["output"]["type"], "hitl#start");
    bed.act(As::Bot, "greet", json!({})).await.refused("InvalidDataFormat");
    code.heard();

    bed.install(json!({})).await;
    bed.call(As::Owner, &format!("DELETE /v1/admin/bots/{}", bed.server.bot), json!({})).await.ok();
    let (bot, integration) = (code.clone(), bed.code.clone());
    let both = move || {
        let told = |code: &Code| code.asked.lock().unwrap().iter().any(|asked| asked.operation == "unregister");
        told(&bot) && told(&integration)
    };
    tokio::task::spawn_blocking(move || support::eventually(both)).await.unwrap();
}

fn creatable() -> Value {
    let creation = json!({"enabled": true, "requiredTags": ["id"]});
    let tags = json!({"id": {}, "phone": {}});
    json!({
        "user": {"tags": tags, "creation": creation},
        "channels": {
            "dm": {"messages": {}, "conversation": {"tags": tags, "creation": creation}},
            "closed": {"messages": {}},
        },
    })
}

async fn bots_have_integrations_make_things(database: Option<&str>) {
    let bed = Arc::new(Bed::on(database, creatable()).await);
    bed.install(json!({})).await;
    bed.code.heard();
    let weak = Arc::downgrade(&bed);
    bed.code.behaves(move |asked| {
        let bed = weak.upgrade().unwrap();
        async move {
            if asked.operation == "create_user" {
                let body = json!({"tags": asked.body["tags"], "discriminateByTags": ["id"]});
                let got = bed.call(As::Integration, "POST /v1/chat/users/get-or-create", body).await.ok();
                return says(json!({"user": {"id": got["user"]["id"]}}));
            }
            let body = json!({"channel": asked.body["channel"], "tags": asked.body["tags"]});
            let got = bed.call(As::Integration, "POST /v1/chat/conversations", body).await.ok();
            // As an HTTP answer with the text of its body.
            says(json!({"status": 200, "body": json!({"conversation": {"id": got["conversation"]["id"]}}).to_string()}))
        }
    });
    let body = json!({"integrationName": "mine", "name": "Ada", "tags": {"mine:id": "u1", "phone": "5", "vip": "yes"}});
    let user = bed.call(As::Bot, "POST /v1/chat/users", body.clone()).await;
    assert_eq!(user.status, 201);
    let user = user.ok()["user"].take();
    assert_eq!(user["tags"], json!({"mine:id": "u1", "mine:phone": "5", "vip": "yes"}));
    assert_eq!(user["name"], "Ada");
    let asked = bed.code.heard().pop().unwrap();
    assert_eq!((asked.operation.as_str(), &asked.body), ("create_user", &json!({"tags": {"id": "u1", "phone": "5"}})));
    let path = format!("GET /v1/chat/users/{}", user["id"].as_str().unwrap());
    let theirs = bed.call(As::Integration, &path, json!({})).await.ok();
    assert_eq!(theirs["user"]["tags"], json!({"id": "u1", "phone": "5"}));

    // What is there isn't asked for again.
    let found = bed.call(As::Bot, "POST /v1/chat/users/get-or-create", body).await.ok();
    assert_eq!((&found["user"]["id"], &found["meta"]["created"]), (&user["id"], &json!(false)));
    assert_eq!(bed.code.operations(), Vec::<String>::new());
    let body = json!({"integrationName": "mine", "tags": {"id": "u2"}});
    let made = bed.call(As::Bot, "POST /v1/chat/users/get-or-create", body).await.ok();
    assert_eq!(made["meta"]["created"], true);

    let body = json!({"integrationName": "mine", "channel": "dm", "tags": {"tester:id": "c1", "topic": "t"}});
    let got = bed.call(As::Bot, "POST /v1/chat/conversations", body.clone()).await;
    assert_eq!(got.status, 201);
    let conversation = got.ok()["conversation"].take();
    assert_eq!((&conversation["integration"], &conversation["channel"]), (&json!("mine"), &json!("dm")));
    assert_eq!(conversation["tags"], json!({"mine:id": "c1", "topic": "t"}));
    let asked = bed.code.heard().pop().unwrap();
    assert_eq!(asked.operation, "create_conversation");
    assert_eq!(asked.body, json!({"channel": "dm", "tags": {"id": "c1"}}));
    let found = bed.call(As::Bot, "POST /v1/chat/conversations/get-or-create", body.clone()).await.ok();
    assert_eq!((&found["conversation"]["id"], &found["meta"]["created"]), (&conversation["id"], &json!(false)));

    for (body, kind) in [
        (json!({"integrationName": "mine", "channel": "dm", "tags": {"topic": "t"}}), "InvalidPayload"),
        (json!({"integrationName": "mine", "channel": "closed", "tags": {"id": "1"}}), "InvalidPayload"),
        (json!({"integrationName": "mine", "channel": "none", "tags": {"id": "1"}}), "InvalidPayload"),
        (json!({"integrationName": "theirs", "channel": "dm", "tags": {"id": "1"}}), "ReferenceNotFound"),
    ] {
        bed.call(As::Bot, "POST /v1/chat/conversations", body).await.refused(kind);
    }
    assert_eq!(bed.code.operations(), Vec::<String>::new());

    // Answers that are of no use.
    let new = |id: &str| json!({"integrationName": "mine", "tags": {"id": id}});
    bed.code.behaves(|_| async { fails("no such number") });
    assert_eq!(bed.call(As::Bot, "POST /v1/chat/users", new("x")).await.refused("Runtime"), "no such number");
    let bot = bed.server.bot.clone();
    bed.code.behaves(move |_| {
        let bot = bot.clone();
        async move { says(json!({"user": {"id": bot}})) }
    });
    bed.call(As::Bot, "POST /v1/chat/users", new("x")).await.refused("Runtime");
    bed.code.behaves(|_| async { says(json!({})) });
    bed.call(As::Bot, "POST /v1/chat/users", new("x")).await.refused("Runtime");
}

#[tokio::test(flavor = "multi_thread")]
async fn bots_have_integrations_make_things_on_sqlite() {
    bots_have_integrations_make_things(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bots_have_integrations_make_things_on_postgres() {
    if let Some(database) = support::postgres().await {
        bots_have_integrations_make_things(Some(&database)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_may_forbid_private_addresses() {
    let server = Server::prepare(None, &[]).with(&["--bot-urls", "public"]).serve();
    let code = Code::serve().await;
    let mut bed = Bed { server, code, integration: String::new() };
    let new = json!({"name": "tester", "version": "1.0.0", "url": bed.code.url});
    let made = bed.call(As::Owner, "POST /v1/admin/integrations", new).await.ok();
    bed.integration = made["integration"]["id"].as_str().unwrap().to_owned();
    let instance = bed.install(json!({})).await;
    assert_eq!(instance["status"], "registration_failed");
    assert_eq!(bed.code.operations(), Vec::<String>::new());
}
