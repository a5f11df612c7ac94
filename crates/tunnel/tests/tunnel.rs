//! Tunnels over real sockets.

#![allow(clippy::unwrap_used)]

use std::{net::SocketAddr, time::Duration};

use duologue_tunnel::Limits;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest},
};

const ID: &str = "15af585b-0926-4b49-8bc6-fc7689a7f5b2";

struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

async fn start(limits: Limits) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(duologue_tunnel::serve(listener, limits, stopped));
    Server { address, stop, task }
}

type Client = WebSocketStream<TcpStream>;

impl Server {
    async fn open(&self, id: &str) -> Client {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("ws://{}/{id}", self.address).into_client_request().unwrap();
        client_async(request, stream).await.unwrap().0
    }

    /// Status and body of a request.
    async fn ask(&self, request: String) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer)
    }

    async fn get(&self, path: &str) -> (u16, String) {
        self.ask(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await
    }
}

/// The next frame.
async fn frame(client: &mut Client) -> Value {
    loop {
        match client.next().await.unwrap().unwrap() {
            Message::Text(text) => return serde_json::from_str(text.as_str()).unwrap(),
            _ => continue,
        }
    }
}

/// The code with which the other side closes.
async fn close_code(client: &mut Client) -> u16 {
    loop {
        match client.next().await {
            Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
            Some(Ok(_)) => continue,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_goes_through_and_its_answer_comes_back() {
    let server = start(Limits::default()).await;
    let mut client = server.open(ID).await;
    client.send(Message::text(r#"{"type":"hello"}"#)).await.unwrap();
    let code = tokio::spawn(async move {
        let asked = frame(&mut client).await;
        let answer = json!({
            "type": "response", "requestId": asked["id"], "status": 418,
            "headers": { "X-Answer": "yes", "transfer-encoding": "chunked", "content-length": "9999" },
            "body": "short and ✓",
        });
        client.send(Message::text(answer.to_string())).await.unwrap();
        asked
    });
    let body = r#"{"text":"hi"}"#;
    let request = format!(
        "POST /{ID}/a/b?x=1&y=%20 HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-bot-id: bot\r\nx-twice: 1\r\nx-twice: 2\r\n\
         accept-encoding: gzip\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let (status, answer) = server.ask(request).await;
    let asked = code.await.unwrap();
    assert_eq!((&asked["type"], &asked["method"], &asked["path"]), (&json!("request"), &json!("POST"), &json!("/a/b")));
    assert_eq!((&asked["query"], &asked["body"]), (&json!("x=1&y=%20"), &json!(body)));
    assert_eq!(asked["headers"], json!({ "x-bot-id": "bot", "x-twice": "1, 2" }));
    assert_eq!(status, 418);
    assert!(answer.contains("x-answer: yes") && answer.ends_with("short and ✓"), "{answer}");
    assert!(answer.contains("content-length: 13") && !answer.contains("chunked"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_are_refused_as_the_protocol_says() {
    let server = start(Limits { tunnels: 1, ..Limits::default() }).await;
    assert_eq!(close_code(&mut server.open("guessable").await).await, 4000);
    let mut first = server.open(ID).await;
    first.send(Message::text(r#"{"type":"hello"}"#)).await.unwrap();
    assert_eq!(close_code(&mut server.open(ID).await).await, 4001);
    assert_eq!(close_code(&mut server.open("another-id-that-is-long").await).await, 4002);
    first.close(None).await.unwrap();
    while first.next().await.is_some() {}
    let mut again = server.open(ID).await;
    again.send(Message::text(r#"{"type":"hello"}"#)).await.unwrap();
    assert_eq!(server.get("/nobody-has-this-id-here").await.0, 503);
    assert_eq!(server.get("/").await.0, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_hears_that_the_tunnel_is_gone() {
    let server = start(Limits { answer: Duration::from_millis(200), ..Limits::default() }).await;
    let mut client = server.open(ID).await;
    assert_eq!(server.get(&format!("/{ID}")).await.0, 504);
    assert_eq!(frame(&mut client).await["path"], "/");
    let server = start(Limits { requests: 1, ..Limits::default() }).await;
    let mut client = server.open(ID).await;
    let path = format!("/{ID}");
    let (asked, ()) = tokio::join!(server.get(&path), async {
        frame(&mut client).await;
        assert_eq!(server.get(&path).await.0, 503, "one at a time here");
        drop(client);
    });
    assert_eq!(asked.0, 502);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_silence_and_web_pages_are_shown_out() {
    let server = start(Limits { silence: Duration::from_millis(200), ..Limits::default() }).await;
    assert_eq!(close_code(&mut server.open(ID).await).await, 1008, "silent");
    let server = start(Limits { bytes: 1000, ..Limits::default() }).await;
    let mut client = server.open(ID).await;
    client.send(Message::text("[]")).await.unwrap();
    assert_eq!(close_code(&mut client).await, 1008);
    let origin = format!("GET /{ID} HTTP/1.1\r\nhost: x\r\norigin: https://x\r\nconnection: close\r\n\r\n");
    assert_eq!(server.ask(origin).await.0, 403);
    let _client = server.open(ID).await;
    let large = format!(
        "POST /{ID} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 1001\r\n\r\n{}",
        "x".repeat(1001)
    );
    assert_eq!(server.ask(large).await.0, 413);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_closes_the_tunnels() {
    let server = start(Limits::default()).await;
    let mut client = server.open(ID).await;
    server.stop.send(true).unwrap();
    assert_eq!(close_code(&mut client).await, 1001);
    server.task.await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}
