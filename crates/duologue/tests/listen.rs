//! What a v12 bot says without being asked reaches those who listen; and who may not call is refused.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    time::Duration,
};

use duologue_client::{Client, CreateMessage, Method, StreamExt};
use serde_json::{Value, json};
use support::Server;

/// A server of the bot `shop`, which repeats what it is told; `converse` is the block of its configuration.
fn serve(converse: Value) -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, content: Value| {
        let path: &Path = &folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content.to_string()).unwrap();
    };
    write("global/botpress.config.json", json!({"version": "12.31.10", "appSecret": "a secret of the tests"}));
    write("global/workspaces.json", json!([{"id": "default", "name": "Default", "bots": ["shop"]}]));
    let config = json!({
        "id": "shop", "name": "The shop", "version": "12.31.10", "defaultLanguage": "en", "languages": ["en"],
        "converse": converse,
    });
    write("bots/shop/bot.config.json", config);
    let echo =
        json!({"id": "builtin_text-echo", "formData": {"text$en": "You said {{event.preview}}", "typing$en": false}});
    write("bots/shop/content-elements/builtin_text.json", json!([echo]));
    let node = json!({
        "id": "entry", "name": "entry", "onEnter": ["say #!builtin_text-echo"], "onReceive": null,
        "next": [{"condition": "true", "node": "END"}],
    });
    let flow = json!({"version": "0.0.1", "catchAll": {}, "startNode": "entry", "nodes": [node]});
    write("bots/shop/flows/main.flow.json", flow);
    let options = ["--v12-data", folder.path().to_str().unwrap(), "--allow-outbound", "127.0.0.1"];
    let server = Server::prepare(None, &[]).with(&options).serve();
    (server, folder)
}

fn send(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> BufReader<TcpStream> {
    let address = server.url.strip_prefix("http://").unwrap();
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/api/v1/bots/shop/converse/{path}") };
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
    BufReader::new(stream)
}

/// Status, head in lower case, body.
fn request(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String, String) {
    let mut answer = String::new();
    send(server, method, path, headers, body).read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), head.to_lowercase(), body.to_owned())
}

fn say(server: &Server, headers: &[(&str, &str)], text: &str) -> (u16, String, String) {
    request(server, "POST", "ada", headers, &json!({ "type": "text", "text": text }).to_string())
}

/// Somebody who listens by server-sent events.
struct Ear(BufReader<TcpStream>);

impl Ear {
    fn open(server: &Server, headers: &[(&str, &str)]) -> Ear {
        let mut ear = Ear(send(server, "GET", "ada/events", headers, ""));
        assert!(ear.line("").contains("HTTP/1.1 200"));
        ear.line("retry: ");
        ear.line("id: ");
        ear
    }

    /// The next line that begins so.
    fn line(&mut self, beginning: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the stream has ended before \"{beginning}\"");
            if let Some(rest) = line.strip_prefix(beginning) {
                return rest.trim_end().to_owned();
            }
        }
    }

    /// The next event's id and text.
    fn event(&mut self) -> (String, String) {
        let id = self.line("id: ");
        assert_eq!(self.line("event: "), "message");
        let data: Value = serde_json::from_str(&self.line("data: ")).unwrap();
        (id, data["text"].as_str().unwrap().to_owned())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_through_the_cloud_api_is_heard() {
    let (server, _folder) = serve(json!({}));
    let client = Client::builder().api_url(&server.url).token(&server.token).bot_id("shop").build().unwrap();
    // He listens before he says anything, and is there to be addressed.
    let mut ear = Ear::open(&server, &[]);
    let found: Vec<_> = client.list_conversations().channel("api").items().map(Result::unwrap).collect().await;
    let [conversation] = &found[..] else { panic!("{found:?}") };
    assert_eq!(conversation.tags.0["userId"], "ada");
    let tell = async |text: &str| {
        let message = json!({
            "conversationId": conversation.id, "userId": "shop", "type": "text", "payload": {"text": text}, "tags": {},
        });
        let authorization = format!("Bearer {}", server.token);
        let headers = [("authorization", authorization.as_str()), ("x-bot-id", "shop")];
        let (status, _, body) = request(&server, "POST", "/v1/chat/messages", &headers, &message.to_string());
        assert_eq!(status, 201, "{body}");
    };
    tell("Your parcel is here").await;
    let (first, text) = ear.event();
    assert_eq!(text, "Your parcel is here");
    let (status, _, body) = say(&server, &[], "thanks");
    assert_eq!(
        (status, body.as_str()),
        (200, r#"{"responses":[{"type":"text","workflow":{},"text":"You said thanks"}]}"#)
    );
    assert_eq!(ear.event().1, "You said thanks");
    drop(ear);

    tell("Still here").await;
    let mut ear = Ear::open(&server, &[("last-event-id", &first)]);
    assert_eq!((ear.event().1, ear.event().1), ("You said thanks".to_owned(), "Still here".to_owned()));
    drop(ear);

    let poll = |query: &str| request(&server, "GET", &format!("ada/events?{query}"), &[], "").2;
    let polled: Value = serde_json::from_str(&poll(&format!("after={first}&wait=1"))).unwrap();
    assert_eq!(polled["responses"].as_array().unwrap().len(), 2, "{polled}");
    let after = polled["after"].as_str().unwrap();
    let ((), heard) =
        tokio::join!(tell("Hurry"), async { tokio::task::block_in_place(|| poll(&format!("after={after}&wait=20"))) });
    assert!(heard.contains(r#"{"type":"text","text":"Hurry"}"#), "{heard}");

    // Nobody listens: it comes with the next answer.
    tell("Last call").await;
    let (_, _, body) = say(&server, &[], "ok");
    assert!(body.starts_with(r#"{"responses":[{"type":"text","text":"Last call"},"#), "{body}");
}

#[test]
fn who_may_not_call_is_refused() {
    let (server, _folder) = serve(json!({
        "apiKeys": ["a key"], "allowedOrigins": ["https://shop.example"],
        "throttle": {"perUser": {"limit": 3, "window": "1h"}},
    }));
    let (status, _, body) = say(&server, &[], "hi");
    assert_eq!((status, body.contains("Unauthorized: An API key is needed")), (401, true), "{body}");
    assert_eq!(request(&server, "GET", "ada/events?wait=0", &[], "").0, 401);
    let key = ("x-api-key", "a key");
    let (status, head, _) = say(&server, &[key, ("origin", "https://shop.example")], "hi");
    assert_eq!(status, 200);
    assert!(head.contains("access-control-allow-origin: https://shop.example"), "{head}");
    let (status, head, _) = say(&server, &[key, ("origin", "https://elsewhere.example")], "hi");
    assert!(status == 403 && !head.contains("access-control-allow-origin"), "{head}");
    let (_, head, _) = request(&server, "OPTIONS", "ada", &[("origin", "https://elsewhere.example")], "");
    assert!(!head.contains("access-control-allow-origin"), "{head}");

    assert_eq!(say(&server, &[("authorization", "Bearer a key")], "hi").0, 200);
    assert_eq!(request(&server, "GET", "ada/events?wait=0", &[key], "").0, 200);
    let (status, head, body) = say(&server, &[key], "hi");
    assert_eq!((status, body.as_str()), (429, "Too many requests, please slow down."));
    assert!(head.contains("retry-after: 1"), "{head}");
}

#[test]
fn a_bot_that_is_switched_off_answers_nobody() {
    let (server, _folder) = serve(json!({"enabled": false}));
    for (method, path) in [("POST", "ada"), ("GET", "ada/events")] {
        let (status, _, body) = request(&server, method, path, &[], r#"{"text":"hi"}"#);
        assert_eq!((status, body.as_str()), (403, "Converse API is disabled for shop"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_takes_what_is_said_outside_answers() {
    let (server, _folder) = serve(json!({}));
    let client = Client::builder().api_url(&server.url).token(&server.token).bot_id("shop").build().unwrap();
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", receiver.local_addr().unwrap());
    let webhook = json!({"url": url, "events": ["converse_message"]});
    let create = client.request(Method::POST, &["v1", "admin", "bots", "shop", "webhooks"]).json(&webhook);
    create.done().await.unwrap();
    say(&server, &[], "hello");
    let found: Vec<_> = client.list_conversations().channel("api").items().map(Result::unwrap).collect().await;
    let text = json!({"text": "Your parcel is here"});
    let message = CreateMessage::new(&found[0].id, "shop", "text", text);
    let message = client.create_message(message).await.unwrap();

    // The answer to "hello" didn't come: this is the first.
    let (stream, _) = receiver.accept().unwrap();
    let mut reader = BufReader::new(&stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0);
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    let told: Value = serde_json::from_slice(&body).unwrap();
    let heard = json!({
        "botId": "shop", "userId": "ada", "id": message.created_at.millis().to_string(), "event": "message",
        "data": {"type": "text", "text": "Your parcel is here"},
    });
    assert_eq!((&told["type"], &told["data"]), (&json!("converse_message"), &heard));

    // Once it is taken, the next answer doesn't bring it.
    (&stream).write_all(b"HTTP/1.1 204 Taken\r\n\r\n").unwrap();
    let sql = "SELECT COUNT(*) FROM webhook_messages WHERE status = 'delivered'";
    while server.number(sql).await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (_, _, body) = say(&server, &[], "thanks");
    assert!(!body.contains("parcel") && body.contains("You said thanks"), "{body}");
}
