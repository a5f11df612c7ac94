//! A v12 bot, served by the binary: turns, scripts, calls of APIs, order, restarts, changes on disk.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use duologue_client::{Client, CreateMessage, StreamExt, id::UserId};
use duologue_dialog::skills::{CallApi, call_api};
use serde_json::{Value, json};
use support::{Server, duologue, eventually, until};

/// An answer of the dialect.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{}: {}", self.status, self.body))
    }

    /// The texts of the responses.
    #[track_caller]
    fn texts(&self) -> Vec<String> {
        let json = self.json();
        let responses = json["responses"].as_array().unwrap_or_else(|| panic!("{json}"));
        responses.iter().map(|response| response["text"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

fn request(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let address = server.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    Answer { status: head[9..12].parse().unwrap(), head: head.to_lowercase(), body: body.to_owned() }
}

const JSON: (&str, &str) = ("content-type", "application/json");

fn say_to(server: &Server, bot: &str, user: &str, text: &str) -> Answer {
    let body = json!({ "type": "text", "text": text }).to_string();
    request(server, "POST", &format!("/api/v1/bots/{bot}/converse/{user}"), &[JSON], &body)
}

#[track_caller]
fn says(server: &Server, user: &str, text: &str) -> Vec<String> {
    let answer = say_to(server, "shop", user, text);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.texts()
}

// ---- the bot

/// An action that counts in all memories, asks the network, and answers by itself.
const COUNT: &str = r#"
const axios = require('axios')
const { twice } = require('./helper')
const run = async () => {
  session.count = (session.count || 0) + 1
  user.total = twice(session.count)
  await bp.kvs.forBot(event.botId).set('last', { text: event.preview })
  const { data } = await axios.get(args.url + '/stock', { headers: { 'x-shop': event.botId } })
  await bp.events.replyToEvent(event, [{ type: 'text', z: 1, text: `${session.count} of ${data.stock}`, a: 2 }])
}
return run()
"#;

fn text(id: &str, text: &str) -> Value {
    json!({ "id": format!("builtin_text-{id}"), "formData": { "text$en": text, "typing$en": false } })
}

fn node(name: &str, enter: &[&str], receive: Option<&[&str]>, next: &[(&str, &str)]) -> Value {
    let next: Vec<Value> = next.iter().map(|(condition, node)| json!({"condition": condition, "node": node})).collect();
    json!({ "id": name, "name": name, "onEnter": enter, "onReceive": receive, "next": next })
}

fn flow(start: &str, nodes: Vec<Value>) -> Value {
    json!({ "version": "0.0.1", "catchAll": {}, "startNode": start, "nodes": nodes })
}

fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// A data folder with the bot `shop`, which asks `stub`.
fn installation(folder: &Path, stub: &str) {
    let config = json!({
        "version": "12.31.10", "appSecret": "a secret of the tests",
        "superAdmins": [{"email": "ada@example.org", "strategy": "default"}],
    });
    write(&folder.join("global/botpress.config.json"), &config.to_string());
    write(
        &folder.join("global/workspaces.json"),
        &json!([{"id": "default", "name": "Default", "bots": ["shop"]}]).to_string(),
    );
    let bot = folder.join("bots/shop");
    let config = json!({
        "id": "shop", "name": "The shop", "version": "12.31.10", "defaultLanguage": "en", "languages": ["en"],
        "dialog": {"timeoutInterval": "1h", "sessionTimeoutInterval": "1h"},
    });
    write(&bot.join("bot.config.json"), &config.to_string());
    let elements = json!([
        text("hello", "Hello {{event.target}}"),
        text("echo", "You said {{event.preview}}"),
        text("price", "It costs {{temp.answer.body.price}}"),
        text("noprice", "No price: {{temp.answer.status}}"),
        text("gone", "Are you still there?"),
        text("error", "Something broke"),
    ]);
    write(&bot.join("content-elements/builtin_text.json"), &elements.to_string());
    let action = format!(r#"count {{"url":"{stub}"}}"#);
    let call = CallApi {
        random_id: "x".into(),
        method: "get".into(),
        url: format!("{stub}/price?of={{{{event.preview}}}}"),
        memory: "temp".into(),
        variable: "answer".into(),
        ..CallApi::default()
    };
    let skill = call_api("price", &call).leading_to(&["price", "noprice"]);
    let mut caller: Value = serde_json::from_str(&skill.node.to_json()).unwrap();
    caller["name"] = json!("ask");
    let nodes = vec![
        node("entry", &["say #!builtin_text-hello"], None, &[("true", "wait")]),
        node(
            "wait",
            &[],
            Some(&[]),
            &[
                ("event.preview === 'count'", "count"),
                ("event.preview.startsWith('price')", "ask"),
                ("event.preview === 'stay'", "stay"),
                ("event.preview === 'break'", "break"),
                ("true", "echo"),
            ],
        ),
        node("echo", &["say #!builtin_text-echo"], None, &[("true", "wait")]),
        node("count", &[&action], None, &[("true", "wait")]),
        caller,
        node("price", &["say #!builtin_text-price"], None, &[("true", "wait")]),
        node("noprice", &["say #!builtin_text-noprice"], None, &[("true", "wait")]),
        node("break", &["missing/action {}"], None, &[("true", "wait")]),
        node("stay", &[], Some(&[]), &[("true", "echo")]),
    ];
    write(&bot.join("flows/main.flow.json"), &flow("entry", nodes).to_string());
    write(&bot.join("flows").join(&skill.flow_name), &skill.flow.to_json());
    let timeout = vec![node("late", &["say #!builtin_text-gone"], None, &[("true", "END")])];
    write(&bot.join("flows/timeout.flow.json"), &flow("late", timeout).to_string());
    let error = vec![node("sorry", &["say #!builtin_text-error"], None, &[("true", "END")])];
    write(&bot.join("flows/error.flow.json"), &flow("sorry", error).to_string());
    write(&bot.join("actions/count.js"), COUNT);
    write(&bot.join("actions/helper.js"), "exports.twice = number => 2 * number");
    write(&bot.join("media/logo.png"), "no picture");
}

/// A slow action and a slow hook, in a bot whose callers don't wait long.
fn slow_installation(folder: &Path) {
    installation(folder, "http://127.0.0.1:9");
    let bot = folder.join("bots/shop");
    let config = json!({
        "id": "shop", "name": "The shop", "version": "12.31.10", "defaultLanguage": "en", "languages": ["en"],
        "converse": {"timeout": "2s"},
    });
    write(&bot.join("bot.config.json"), &config.to_string());
    let pause = "await new Promise(resolve => setTimeout(resolve, 4000))";
    let action = format!(
        "const run = async () => {{\n{pause}\nawait bp.events.replyToEvent(event, [{{ text: 'slowly' }}])\n}}\nreturn run()"
    );
    write(&bot.join("actions/count.js"), &action);
    let hook = format!("const run = async () => {{ {pause} }}\nif (event.preview === 'hook') return run()");
    write(&bot.join("hooks/after_incoming_middleware/slow.js"), &hook);
}

/// A service for the bot: `/stock`, and prices of what is asked for.
fn stub() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            // A server that was killed asks for nothing.
            let Some(Ok(line)) = lines.next() else { continue };
            let headers: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            let (status, body) = match line.split(' ').nth(1).unwrap() {
                "/stock" if headers.iter().any(|line| line == "x-shop: shop") => ("200 OK", r#"{"stock":7}"#),
                "/price?of=price%20tea" | "/price?of=price tea" => ("200 OK", r#"{"price":"3 coins"}"#),
                _ => ("404 Not Found", "{}"),
            };
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    url
}

/// A server of the bot that may ask the stub.
fn serve(database: Option<&str>) -> (Server, tempfile::TempDir) {
    serve_waiting(database, "1h")
}

/// The same with a bot whose dialogs wait so long for their user.
fn serve_waiting(database: Option<&str>, interval: &str) -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    installation(folder.path(), &stub());
    let config = folder.path().join("bots/shop/bot.config.json");
    let changed = fs::read_to_string(&config)
        .unwrap()
        .replace(r#""timeoutInterval":"1h""#, &format!(r#""timeoutInterval":"{interval}""#));
    fs::write(config, changed).unwrap();
    let data = folder.path().to_str().unwrap();
    let server = Server::prepare(database, &[]).with(&["--v12-data", data, "--allow-outbound", "127.0.0.1"]).serve();
    (server, folder)
}

// ---- what it does

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_lives_on_sqlite() {
    a_bot_lives(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_lives_on_postgres() {
    if let Some(database) = support::postgres().await {
        a_bot_lives(Some(&database)).await;
    }
}

async fn a_bot_lives(database: Option<&str>) {
    let (mut server, _folder) = serve(database);
    assert_eq!(says(&server, "ada", "hi"), ["Hello ada"]);
    assert_eq!(says(&server, "ada", "tea"), ["You said tea"]);
    // Scripts keep memories, require each other, ask the network, and choose the order of members.
    let counted = say_to(&server, "shop", "ada", "count");
    assert_eq!(counted.body, r#"{"responses":[{"type":"text","z":1,"text":"1 of 7","a":2}]}"#);
    assert_eq!(says(&server, "ada", "count"), ["2 of 7"]);
    assert_eq!(says(&server, "ada", "price tea"), ["It costs 3 coins"]);
    assert_eq!(says(&server, "ada", "price gold"), ["No price: 404"]);
    assert_eq!(says(&server, "ada", "break"), ["Something broke"]);

    // Nothing is lost when the power fails.
    assert_eq!(says(&server, "bob", "hi"), ["Hello bob"]);
    assert_eq!(says(&server, "bob", "count"), ["1 of 7"]);
    server.restart();
    assert_eq!(says(&server, "bob", "count"), ["2 of 7"]);

    // The bot's conversations are listed like all others.
    let client = Client::builder().api_url(&server.url).token(&server.token).bot_id("shop").build().unwrap();
    let conversations: Vec<_> = client.list_conversations().channel("api").items().map(Result::unwrap).collect().await;
    let bobs = conversations.into_iter().find(|found| found.tags.0["userId"] == "bob").unwrap();
    let messages = client.list_messages().conversation(&bobs.id).items();
    let messages: Vec<String> = messages.map(|message| message.unwrap().payload.text().to_owned()).collect().await;
    assert_eq!(messages.len() as i64, bobs.message_count);
    assert!(messages.iter().any(|payload| payload == r#"{"type":"text","z":1,"text":"2 of 7","a":2}"#), "{messages:?}");

    // What a program writes into one, as the bot, comes with the next answer.
    let told = CreateMessage::new(&bobs.id, UserId::new("shop"), "text", json!({ "text": "Your tea is ready" }));
    client.create_message(told).await.unwrap();
    let answers = [says(&server, "bob", "thanks"), says(&server, "bob", "bye")];
    let told = answers.map(|said| said.iter().filter(|text| *text == "Your tea is ready").count());
    assert_eq!(told, [1, 0]);

    // What is deleted isn't remembered, not even by a server that has just used it.
    client.delete_conversation(&bobs.id).await.unwrap();
    assert_eq!(says(&server, "bob", "hi"), ["Hello bob"]);
    assert_eq!(says(&server, "bob", "count"), ["1 of 7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dialog_whose_user_stays_away_ends_on_sqlite() {
    a_dialog_ends(None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dialog_whose_user_stays_away_ends_on_postgres() {
    if let Some(database) = support::postgres().await {
        a_dialog_ends(Some(&database));
    }
}

fn a_dialog_ends(database: Option<&str>) {
    let (mut server, _folder) = serve_waiting(database, "1s");
    assert_eq!(says(&server, "eve", "hi"), ["Hello eve"]);
    // Its time passes while nobody serves it.
    server.kill();
    std::thread::sleep(Duration::from_millis(1200));
    server.restart();
    let started = Instant::now();
    loop {
        std::thread::sleep(Duration::from_millis(2500));
        let heard = says(&server, "eve", "again");
        if heard == ["Are you still there?", "Hello eve"] {
            break;
        }
        // She came before it was noticed. Her time begins anew.
        assert_eq!(heard, ["You said again"]);
        assert!(started.elapsed() < Duration::from_secs(60), "it never ends");
    }
}

#[test]
fn parallel_messages_of_a_user_have_turns_of_their_own() {
    let (server, _folder) = serve(None);
    says(&server, "ada", "hi");
    says(&server, "ada", "count");
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..20)
            .map(|n| {
                let server = &server;
                scope.spawn(move || (n, says(server, "ada", &format!("message {n}"))))
            })
            .collect();
        for call in calls {
            let (n, texts) = call.join().unwrap();
            assert_eq!(texts, [format!("You said message {n}")]);
        }
        let counts: Vec<_> = (0..10).map(|_| scope.spawn(|| says(&server, "ada", "count").join(""))).collect();
        let mut counts: Vec<String> = counts.into_iter().map(|call| call.join().unwrap()).collect();
        counts.sort_by_key(|text| text.split(' ').next().unwrap().parse::<u32>().unwrap());
        let expected: Vec<String> = (2..12).map(|n| format!("{n} of 7")).collect();
        assert_eq!(counts, expected);
    });
}

#[test]
fn the_network_is_closed_unless_opened() {
    let folder = tempfile::tempdir().unwrap();
    installation(folder.path(), &stub());
    let server = Server::prepare(None, &[]).with(&["--v12-data", folder.path().to_str().unwrap()]).serve();
    says(&server, "ada", "hi");
    assert_eq!(says(&server, "ada", "price tea"), ["No price: EACCES"]);
    assert_eq!(says(&server, "ada", "count"), ["Something broke"]);
}

#[test]
fn requests_are_checked_and_answered_as_ever() {
    let (server, _folder) = serve(None);
    let route = "/api/v1/bots/shop/converse/u";
    let post = |path: &str, headers: &[(&str, &str)], body: &str| request(&server, "POST", path, headers, body);
    let message = |answer: &Answer| answer.json()["message"].as_str().unwrap().to_owned();

    let answer = post("/API/V1/bots/shop//Converse/u%20%2F1/", &[JSON], r#"{"text":"hi"}"#);
    assert_eq!(answer.texts(), ["Hello u &#x2F;1"]);
    for header in [
        "x-powered-by: botpress",
        "etag: w/\"",
        "vary: accept-encoding",
        "access-control-allow-origin: *",
        "x-response-time: ",
    ] {
        assert!(answer.head.contains(header), "{header} in {}", answer.head);
    }
    let broken = post("/api/v1/bots/nobody/converse/u", &[JSON], "{");
    assert_eq!((broken.status, message(&broken).as_str()), (400, "Unexpected end of JSON input"));
    let unknown = post("/api/v1/bots/nobody/converse/u/secured", &[JSON], "{}");
    assert_eq!((unknown.status, message(&unknown).as_str()), (404, "Not Found: Invalid Bot ID"));
    let nameless = post(&format!("{route}/secured"), &[JSON], r#"{"text":"hi"}"#);
    assert_eq!((nameless.status, message(&nameless).as_str()), (401, "Unauthorized: Authorization header is missing"));
    let invalid = post(route, &[JSON], r#"{"text":"hi","more":1}"#);
    assert_eq!((invalid.status, message(&invalid).as_str()), (400, r#"Invalid payload: "more" is not allowed"#));
    let closed = post(&format!("{route}?include=nlu"), &[JSON], r#"{"text":"hi"}"#);
    assert_eq!(
        (closed.status, closed.body.as_str()),
        (403, "Unauthenticated converse API can only return \"responses\"")
    );
    let undecodable = post("/api/v1/bots/shop/converse/%zz", &[JSON], r#"{"text":"hi"}"#);
    assert_eq!((undecodable.status, message(&undecodable).as_str()), (400, "Failed to decode param '%zz'"));
    let page = request(&server, "GET", route, &[], "");
    assert!(page.status == 404 && page.body.contains("Cannot GET /api/v1/bots/shop/converse/u"), "{}", page.body);
    let preflight = request(&server, "OPTIONS", route, &[("access-control-request-headers", "x-a")], "");
    assert!(preflight.status == 204 && preflight.head.contains("access-control-allow-headers: x-a"));
    let media = request(&server, "GET", "/api/v1/bots/shop/media/logo.png", &[], "");
    assert!(media.body == "no picture" && media.head.contains("content-type: image/png"));
    for path in ["..%2Fbot.config.json", "%2Fetc%2Fpasswd", "missing.png", ".."] {
        let refused = request(&server, "GET", &format!("/api/v1/bots/shop/media/{path}"), &[], "");
        assert_eq!(refused.status, 404, "{path}");
    }
    // The other dialect keeps its own errors.
    assert_eq!(request(&server, "GET", "/v1/chat/nothing", &[], "").json()["type"], "MethodNotFound");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_late_comes_with_the_next_answer() {
    let folder = tempfile::tempdir().unwrap();
    slow_installation(folder.path());
    let mut server = Server::prepare(None, &[]).with(&["--v12-data", folder.path().to_str().unwrap()]).serve();
    says(&server, "ada", "hi");
    // While an instruction runs the time doesn't count.
    assert_eq!(says(&server, "ada", "count"), ["slowly"]);
    // In a hook it does. The turn goes on.
    let gone = say_to(&server, "shop", "ada", "hook");
    assert_eq!((gone.status, gone.json()["message"].as_str()), (400, Some("Request timed out.")));
    let said = "SELECT COUNT(*) FROM messages WHERE payload LIKE '%You said hook%'";
    until(async || server.number(said).await > 0).await;
    server.restart();
    assert_eq!(says(&server, "ada", "tea"), ["You said hook", "You said tea"]);
    // So does what somebody says for the bot through the other API.
    let client = Client::builder().api_url(&server.url).token(&server.token).bot_id("shop").build().unwrap();
    let conversation = client.list_conversations().items().next().await.unwrap().unwrap();
    let news = CreateMessage::new(&conversation.id, "shop", "text", json!({"text": "News!"}));
    client.create_message(news).await.unwrap();
    let answer = say_to(&server, "shop", "ada", "tea");
    assert_eq!(answer.texts(), ["News!", "You said tea"]);
    assert_eq!(answer.json()["responses"][0], json!({"type": "text", "text": "News!"}));
    assert_eq!(says(&server, "ada", "tea"), ["You said tea"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_loses_no_answered_turn_on_sqlite() {
    power_cuts(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_loses_no_answered_turn_on_postgres() {
    if let Some(database) = support::postgres().await {
        power_cuts(Some(&database)).await;
    }
}

/// Kills the server in the middle of turns: what was answered counts once, what wasn't at most once.
async fn power_cuts(database: Option<&str>) {
    let (mut server, _folder) = serve(database);
    let users = ["a1", "a2", "a3", "a4"];
    for user in users {
        says(&server, user, "hi");
    }
    let mut answered = [0_u64; 4];
    let mut asked = [0_u64; 4];
    for round in 0..3_u64 {
        let address = server.url.strip_prefix("http://").unwrap().to_owned();
        let heard = users.map(|_| Arc::new(AtomicBool::new(false)));
        let callers: Vec<_> = users
            .iter()
            .zip(&heard)
            .map(|(user, heard)| {
                let (address, user, heard) = (address.clone(), (*user).to_owned(), heard.clone());
                std::thread::spawn(move || count_until_it_breaks(&address, &user, &heard))
            })
            .collect();
        eventually(|| heard.iter().all(|heard| heard.load(Ordering::Relaxed)));
        std::thread::sleep(Duration::from_millis(200 + 170 * round));
        server.kill();
        for (at, caller) in callers.into_iter().enumerate() {
            let (last, sent) = caller.join().unwrap();
            answered[at] = last.unwrap_or(answered[at]);
            asked[at] += sent;
        }
        server.restart();
    }
    for (at, user) in users.into_iter().enumerate() {
        let text = says(&server, user, "count").join("");
        let count: u64 = text.split(' ').next().unwrap().parse().unwrap();
        assert!(
            answered[at] > 0 && count > answered[at] && count <= asked[at] + 1,
            "{user}: {text} {answered:?} {asked:?}"
        );
        let counted = format!(
            "SELECT COUNT(*) FROM messages m JOIN v12_conversations v ON v.conversation_id = m.conversation_id \
             WHERE v.user_id = '{user}' AND m.direction = 'incoming' AND m.payload LIKE '%\"count\"%'"
        );
        assert_eq!(server.number(&counted).await as u64, count, "messages and memory are written together");
    }
}

/// Counts until the connection breaks: the last count that was answered, and how often was asked. `heard` tells
/// that there was an answer.
fn count_until_it_breaks(address: &str, user: &str, heard: &AtomicBool) -> (Option<u64>, u64) {
    let (mut last, mut asked) = (None, 0);
    let body = r#"{"type":"text","text":"count"}"#;
    loop {
        let Ok(mut stream) = TcpStream::connect(address) else { return (last, asked) };
        let head = format!(
            "POST /api/v1/bots/shop/converse/{user} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        asked += 1;
        let mut answer = String::new();
        let read = stream.write_all(head.as_bytes()).and_then(|()| stream.read_to_string(&mut answer));
        let Some(text) = answer.split(r#""text":""#).nth(1).filter(|_| read.is_ok()) else { return (last, asked) };
        last = text.split(' ').next().unwrap().parse().ok().or(last);
        heard.store(true, Ordering::Relaxed);
    }
}

#[test]
fn changes_on_disk_are_taken_and_broken_ones_are_not() {
    let (server, folder) = serve(None);
    assert_eq!(says(&server, "ada", "hi"), ["Hello ada"]);
    let elements = folder.path().join("bots/shop/content-elements/builtin_text.json");
    let changed = fs::read_to_string(&elements).unwrap().replace("You said", "I heard");
    fs::write(&elements, changed).unwrap();
    eventually(|| says(&server, "ada", "tea") == ["I heard tea"]);

    let main = folder.path().join("bots/shop/flows/main.flow.json");
    let good = fs::read_to_string(&main).unwrap();
    fs::write(&main, &good[..good.len() / 2]).unwrap();
    fs::write(&elements, fs::read_to_string(&elements).unwrap().replace("I heard", "They say")).unwrap();
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(says(&server, "bob", "hi"), ["Hello bob"]);
    assert_eq!(says(&server, "bob", "tea"), ["I heard tea"]);
    fs::write(&main, good).unwrap();
    eventually(|| says(&server, "bob", "tea") == ["They say tea"]);
}

#[test]
fn bots_are_imported_with_a_report() {
    let source = tempfile::tempdir().unwrap();
    installation(source.path(), "http://127.0.0.1:9");
    let target = tempfile::tempdir().unwrap();
    let data = target.path().to_str().unwrap();
    let bot = source.path().join("bots/shop");
    write(&bot.join("flows/broken.flow.json"), "{");
    let path = bot.to_str().unwrap();
    let done = duologue("bot").args(&["import", path, "--v12-data", data]).run().success();
    assert!(done.stdout.contains("broken bots/shop/flows/broken.flow.json"), "{}", done.stdout);
    assert!(done.stdout.contains("imported shop"), "{}", done.stdout);
    let twice = duologue("bot").args(&["import", path, "--v12-data", data]).run().failure(1);
    assert!(twice.stderr.contains("there already: shop"), "{}", twice.stderr);
    duologue("bot").args(&["import", path, "--v12-data", data, "--id", "shop-two"]).run().success();

    let server = Server::prepare(None, &[]).with(&["--v12-data", data]).serve();
    assert_eq!(says(&server, "ada", "hi"), ["Hello ada"]);
    assert_eq!(say_to(&server, "shop-two", "ada", "hi").texts(), ["Hello ada"]);
}
