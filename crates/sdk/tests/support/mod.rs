//! What the tests share: a bot that listens, requests as a platform sends them, a server to talk back to.

#![allow(dead_code)]

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use duologue_sdk::{Bot, Client};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::oneshot,
};

/// A request that the stub got.
#[derive(Clone, Debug)]
pub struct Got {
    pub line: String,
    pub headers: HeaderMap,
    pub body: Value,
}

/// A stand-in for the server's API: keeps what it is asked, answers what it is told to.
#[derive(Clone)]
pub struct Api {
    pub url: String,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Api {
    /// `answer`: status and body for method and path, and the request's body.
    pub async fn start(answer: impl Fn(&str, &Value) -> (u16, Value) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = Api { url: format!("http://{}", listener.local_addr().unwrap()), got: Arc::default() };
        let (kept, answer) = (api.got.clone(), Arc::new(answer));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (kept, answer) = (kept.clone(), answer.clone());
                let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
                    let (kept, answer) = (kept.clone(), answer.clone());
                    async move {
                        let line = format!("{} {}", request.method(), request.uri());
                        let headers = request.headers().clone();
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                        let (status, answer) = answer(&line, &body);
                        kept.lock().unwrap().push(Got { line, headers, body });
                        let response = Response::builder().status(status).header("content-type", "application/json");
                        Ok::<_, Infallible>(response.body(Full::new(Bytes::from(answer.to_string()))).unwrap())
                    }
                });
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(async move { http.serve_connection(TokioIo::new(stream), service).await });
            }
        });
        api
    }

    /// Answers messages and states with themselves, workflows with what they became.
    pub async fn usual() -> Self {
        Self::start(|line, body| {
            let at = "2026-01-01T00:00:00.000Z";
            match line {
                "POST /v1/chat/messages" => {
                    let message = json!({
                        "id": "msg_1", "createdAt": at, "updatedAt": at, "direction": "outgoing", "type": body["type"],
                        "payload": body["payload"], "userId": body["userId"], "conversationId": body["conversationId"],
                        "tags": body["tags"],
                    });
                    (201, json!({ "message": message }))
                }
                line if line.starts_with("PUT /v1/chat/workflows/") => {
                    let mut workflow = workflow("pending");
                    workflow["status"] = body["status"].clone();
                    (200, json!({ "workflow": workflow }))
                }
                "POST /v1/chat/actions" => (200, json!({ "output": body["input"], "meta": { "cached": false } })),
                line if line.contains("/v1/chat/states/") => {
                    let envelope = json!({
                        "id": "err_1", "code": 404, "type": "ResourceNotFound", "message": "No State found",
                    });
                    (404, envelope)
                }
                _ => (500, json!({})),
            }
        })
        .await
    }

    pub fn client(&self) -> Client {
        let client = Client::builder().api_url(&self.url).token("bp_bak_test");
        client.retry(duologue_sdk::client::RetryPolicy::none()).build().unwrap()
    }

    /// What was asked, in order.
    pub fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    /// What was asked of this method and path.
    pub fn bodies(&self, line: &str) -> Vec<Value> {
        self.got().into_iter().filter(|got| got.line == line).map(|got| got.body).collect()
    }
}

/// A bot that listens.
pub struct Running {
    pub address: String,
    stop: Option<oneshot::Sender<()>>,
    pub served: tokio::task::JoinHandle<()>,
}

impl Running {
    pub async fn start(bot: Bot) -> Self {
        // With room for all that tests send at once.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let listener = socket.listen(1024).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stop, stopped) = oneshot::channel::<()>();
        let service = bot.service().unwrap();
        let served = tokio::spawn(service.listen(listener, async move {
            let _ = stopped.await;
        }));
        Running { address, stop: Some(stop), served }
    }

    /// One that another process serves.
    pub fn at(address: &str) -> Self {
        Running { address: address.to_owned(), stop: None, served: tokio::spawn(async {}) }
    }

    pub fn stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    /// Sends a request with exactly these headers.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = self.begin(method, path, headers, body).await;
        let mut answer = Vec::new();
        tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        Answer::read(&answer)
    }

    /// The same without reading the answer.
    pub async fn begin(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: bot\r\nconnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        stream.write_all(head.as_bytes()).await.unwrap();
        // A bot that refuses may not read all of it.
        let _ = stream.write_all(body).await;
        stream
    }

    /// An operation as a platform asks for it.
    pub async fn call(&self, operation: &str, kind: &str, body: &Value) -> Answer {
        let configuration = configuration("{}");
        let headers = headers(operation, kind, &configuration);
        self.send("POST", "/any/path", &headers, body.to_string().as_bytes()).await
    }

    /// An event.
    pub async fn event(&self, event: &Value) -> Answer {
        self.call("event_received", event["type"].as_str().unwrap(), &json!({ "event": event })).await
    }

    /// An action.
    pub async fn action(&self, name: &str, input: Value) -> Answer {
        self.call("action_triggered", "action_triggered", &json!({ "type": name, "input": input })).await
    }
}

pub const BOT: &str = "bot_01J00000000000000000000000";

pub fn headers<'h>(operation: &'h str, kind: &'h str, configuration: &'h str) -> [(&'h str, &'h str); 5] {
    [
        ("content-type", "application/json"),
        ("x-bot-id", BOT),
        ("x-bp-operation", operation),
        ("x-bp-type", kind),
        ("x-bp-configuration", configuration),
    ]
}

/// As the header has it.
pub fn configuration(data: &str) -> String {
    STANDARD.encode(json!({ "payload": data }).to_string())
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    fn read(bytes: &[u8]) -> Self {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// Success without anything to say.
    #[track_caller]
    pub fn done(&self) {
        assert_eq!((self.status, self.body.as_str()), (200, "{}"), "{self:?}");
        assert!(!self.head.contains("content-type"), "{self:?}");
    }

    /// The error envelope: its status, type and message.
    #[track_caller]
    pub fn refused(&self) -> (u16, String, String) {
        let envelope = self.json();
        assert!(self.head.contains("content-type: application/json"), "{self:?}");
        let id = envelope["id"].as_str().unwrap();
        assert!(id.starts_with("err_") && id.len() == 27, "{id}");
        let text = |name: &str| envelope[name].as_str().unwrap().to_owned();
        assert!(envelope["code"].is_u64());
        (self.status, text("type"), text("message"))
    }
}

const AT: &str = "2026-01-01T00:00:00.000Z";

/// A `message_created` event.
pub fn message(kind: &str, payload: Value) -> Value {
    let (conversation, user) = ("conv_01J00000000000000000000000", "user_01J00000000000000000000000");
    let message = json!({
        "id": "msg_01J00000000000000000000000", "createdAt": AT, "updatedAt": AT, "type": kind, "payload": payload,
        "direction": "incoming", "userId": user, "conversationId": conversation, "tags": {"slack:ts": "1"},
    });
    let user = json!({"id": user, "createdAt": AT, "updatedAt": AT, "tags": {}, "name": "Ada"});
    let conversation = json!({
        "id": conversation, "createdAt": AT, "updatedAt": AT, "channel": "thread", "integration": "slack", "tags": {},
    });
    let mut event = event("message_created", json!({"message": message, "user": user, "conversation": conversation}));
    event["messageId"] = message["id"].clone();
    event
}

/// Any event.
pub fn event(kind: &str, payload: Value) -> Value {
    json!({
        "id": "evt_01J00000000000000000000000", "type": kind, "createdAt": AT, "status": "pending", "failureReason": null,
        "payload": payload, "conversationId": "conv_01J00000000000000000000000",
        "userId": "user_01J00000000000000000000000",
    })
}

/// A workflow `sum` of 1 and 2.
pub fn workflow(status: &str) -> Value {
    json!({
        "id": "wrkflow_1", "name": "sum", "status": status, "input": {"a": 1, "b": 2}, "output": {}, "createdAt": AT,
        "updatedAt": AT, "timeoutAt": AT, "tags": {}, "conversationId": "conv_01J00000000000000000000000",
    })
}
