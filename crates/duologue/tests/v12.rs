//! What surrounds the turns of v12 bots: who may ask what, e-mail, parallel messages, the import's report.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use support::{Server, duologue};

// ---- a data folder

struct Folder(tempfile::TempDir);

impl Folder {
    /// A folder of the bot `shop`, which repeats what it is told; `with` are members of its configuration.
    fn new(with: Value) -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        let mut config = json!({
            "id": "shop", "name": "The shop", "version": "12.31.10", "defaultLanguage": "en", "languages": ["en"],
        });
        config.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
        folder.json("bots/shop/bot.config.json", config);
        folder.json(
            "global/botpress.config.json",
            json!({"version": "12.31.10", "appSecret": "a secret of the tests",
                "superAdmins": [{"email": "root@example.com", "strategy": "default"}]}),
        );
        let role = |id: &str, rules: Value| json!({"id": id, "name": id, "rules": rules});
        let roles = json!([
            role("dev", json!([{"res": "*", "op": "+r+w"}])),
            role("writer", json!([{"res": "bot.content", "op": "+r+w"}])),
        ]);
        folder.json(
            "global/workspaces.json",
            json!([{"id": "default", "name": "Default", "bots": ["shop"], "roles": roles}]),
        );
        folder.elements(&[("echo", "You said {{event.preview}}")]);
        folder.flow(json!([
            {"id": "entry", "name": "entry", "onEnter": ["say #!builtin_text-echo"], "next": [{"condition": "true", "node": "END"}]},
        ]));
        folder
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn json(&self, path: &str, content: Value) {
        self.write(path, &content.to_string());
    }

    fn elements(&self, texts: &[(&str, &str)]) {
        let elements: Vec<Value> = texts
            .iter()
            .map(|(id, text)| json!({"id": format!("builtin_text-{id}"), "formData": {"text$en": text}}))
            .collect();
        self.json("bots/shop/content-elements/builtin_text.json", json!(elements));
    }

    fn flow(&self, nodes: Value) {
        let start = nodes[0]["name"].clone();
        let flow = json!({"version": "0.0.1", "catchAll": {}, "startNode": start, "nodes": nodes});
        self.json("bots/shop/flows/main.flow.json", flow);
    }

    fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    fn serve(&self, options: &[&str]) -> Server {
        Server::prepare(None, &[]).with(&["--v12-data", self.path()]).with(options).serve()
    }
}

// ---- requests

/// Status, head in lower case, body.
fn request(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String, String) {
    let address = server.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), head.to_lowercase(), body.to_owned())
}

fn say(server: &Server, user: &str, text: &str) -> (u16, Value) {
    let body = json!({"type": "text", "text": text}).to_string();
    let (status, _, body) = request(server, "POST", &format!("/api/v1/bots/shop/converse/{user}"), &[], &body);
    (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
}

#[track_caller]
fn texts((status, answer): (u16, Value)) -> Vec<String> {
    assert_eq!(status, 200, "{answer}");
    answer["responses"].as_array().unwrap().iter().map(|reply| reply["text"].as_str().unwrap().to_owned()).collect()
}

/// A token in the form of the header.
fn log_in(server: &Server, email: &str, extra: Value) -> String {
    let mut body = json!({"email": email, "password": "secret-pass"});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    let (status, _, body) = request(server, "POST", "/api/v1/auth/login/basic/default", &[], &body.to_string());
    assert_eq!(status, 200, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    format!("Bearer {}", answer["payload"]["jwt"].as_str().unwrap())
}

fn get(server: &Server, path: &str, token: &str, headers: &[(&str, &str)]) -> (u16, Value) {
    let all: Vec<_> = [("authorization", token)].into_iter().chain(headers.iter().copied()).collect();
    let (status, _, body) = request(server, "GET", path, &all, "");
    (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
}

// ---- roles

/// The original's database with these members of workspaces: (e-mail, workspace, role). All have the password
/// `secret-pass`.
fn accounts(folder: &Path, members: &[(&str, &str, &str)]) {
    let path = folder.join("storage/core.sqlite");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let database = rusqlite::Connection::open(path).unwrap();
    database
        .execute_batch(
            "CREATE TABLE strategy_default (id INTEGER, email TEXT, password TEXT, salt TEXT, strategy TEXT,
                 attributes TEXT, tokenVersion INTEGER, created_at TEXT, updated_at TEXT);
             CREATE TABLE workspace_users (email TEXT, strategy TEXT, workspace TEXT, role TEXT);",
        )
        .unwrap();
    // The hash of `auth-config.md` § 4.
    let hash = "c2415da0cd2767ca3e5f29b64f24548b846a87c0d7dcc62cf0e2bf15915978ee\
                7dd3bda5d69c1482556fd5b7aa656325ad5c0b88c329d805cae5c989d8c534d1";
    for (email, workspace, role) in members {
        let account = "INSERT INTO strategy_default (email, password, salt, strategy, attributes, tokenVersion) \
                       VALUES (?1, ?2, '0123456789abcdef', 'default', '{}', 1)";
        database.execute(account, [email, hash]).unwrap();
        let member = "INSERT INTO workspace_users VALUES (?1, 'default', ?2, ?3)";
        database.execute(member, [email, workspace, role]).unwrap();
    }
}

#[test]
fn roles_say_who_may_read_what() {
    let folder = Folder::new(json!({}));
    let members = [
        ("root@example.com", "none", "none"),
        ("Dev@example.com", "default", "dev"),
        ("writer@example.com", "default", "writer"),
        ("other@example.com", "elsewhere", "dev"),
    ];
    accounts(folder.0.path(), &members.map(|(email, workspace, role)| (email, workspace, role)));
    // v12 stores addresses in lower case in one table, as typed in the other.
    let database = rusqlite::Connection::open(folder.0.path().join("storage/core.sqlite")).unwrap();
    database.execute("UPDATE strategy_default SET email = lower(email)", []).unwrap();
    let server = folder.serve(&[]);
    let [root, dev, writer, other] =
        ["root", "dev", "writer", "other"].map(|who| log_in(&server, &format!("{who}@example.com"), json!({})));

    let bot = "/api/v1/bots/shop";
    for token in [&root, &dev] {
        let (status, answer) = get(&server, bot, token, &[]);
        assert_eq!((status, answer["id"].as_str()), (200, Some("shop")), "{answer}");
    }
    let (status, answer) = get(&server, bot, &writer, &[]);
    let reason = r#"Forbidden: user does not have sufficient permissions to "read" on resource "bot.information""#;
    assert_eq!((status, answer["message"].as_str()), (403, Some(reason)));
    let (status, answer) = get(&server, bot, &other, &[]);
    let reason = r#"Forbidden: User "other@example.com" doesn't have access to workspace "default""#;
    assert_eq!(
        (status, answer["errorCode"].as_str(), answer["message"].as_str()),
        (403, Some("BP_0043"), Some(reason))
    );
    assert_eq!(get(&server, bot, "Bearer nothing", &[]).0, 401);
    assert_eq!(get(&server, "/api/v1/bots/none", &root, &[]).0, 404);

    let bots = "/api/v1/admin/workspace/bots";
    let (status, answer) = get(&server, bots, &dev, &[("x-bp-workspace", "default")]);
    assert_eq!((status, answer["payload"]["bots"][0]["id"].as_str()), (200, Some("shop")), "{answer}");
    let (status, answer) = get(&server, bots, &other, &[("x-bp-workspace", "default")]);
    assert_eq!((status, answer["message"].as_str()), (403, Some("Forbidden: No permission to view bots")));
    assert_eq!(get(&server, bots, &root, &[]).1["errorCode"], "BP_0006");

    // On the debug route any collaborator's token is good, as it was.
    let body = r#"{"text":"hi"}"#;
    let secured = "/api/v1/bots/shop/converse/u/secured";
    assert_eq!(request(&server, "POST", secured, &[("authorization", &other)], body).0, 200);
}

#[test]
fn a_private_bot_wants_a_token_everywhere_but_for_media() {
    let folder = Folder::new(json!({"private": true}));
    folder.write("bots/shop/media/logo.png", "no picture");
    accounts(folder.0.path(), &[("dev@example.com", "default", "dev")]);
    let server = folder.serve(&[]);
    let token = log_in(&server, "dev@example.com", json!({}));
    let chat = log_in(&server, "dev@example.com", json!({"channel": "api", "target": "u"}));
    let talk = "/api/v1/bots/shop/converse/u";
    for (method, path) in [
        ("POST", talk),
        ("POST", "/api/v1/bots/shop/converse/u/secured"),
        ("GET", "/api/v1/bots/shop/converse/u/events?wait=0"),
        ("GET", "/api/v1/bots/shop/converse/u/turns"),
        ("GET", "/api/v1/bots/shop"),
    ] {
        let body = if method == "POST" { r#"{"text":"hi"}"# } else { "" };
        let (status, _, answer) = request(&server, method, path, &[], body);
        assert!(status == 401 && answer.contains("Authorization header is missing"), "{path}: {status} {answer}");
        assert_eq!(request(&server, method, path, &[("authorization", &chat)], body).0, 401, "{path}: a chat user");
        assert_eq!(request(&server, method, path, &[("authorization", &token)], body).0, 200, "{path}");
    }
    assert_eq!(request(&server, "GET", "/api/v1/bots/shop/media/logo.png", &[], "").2, "no picture");
}

#[test]
fn a_chat_user_says_which_session_is_his() {
    let folder = Folder::new(json!({}));
    let script = "const run = async () => { temp.who = await bp.kvs.global().get('api::ada') }\nreturn run()";
    folder.write("bots/shop/actions/who.js", script);
    folder.elements(&[("who", "{{temp.who.email}}")]);
    folder.flow(json!([{"id": "entry", "name": "entry", "onEnter": ["who {}", "say #!builtin_text-who"], "next": []}]));
    accounts(folder.0.path(), &[("dev@example.com", "default", "dev")]);
    let server = folder.serve(&[]);
    let token = log_in(&server, "dev@example.com", json!({}));
    let authenticate = |signature: &str, headers: &[(&str, &str)]| {
        let body = json!({"botId": "shop", "sessionId": "shop::api::ada", "signature": signature}).to_string();
        request(&server, "POST", "/api/v1/auth/me/chatAuth", headers, &body).0
    };
    // HMAC-SHA256 of {"botId":"shop","sessionId":"shop::api::ada"} with the secret.
    let signature = "0df919257a7e8675354fff9fad8b9d8dc106c1ea2fbb0f0014c86db14c00396f";
    let own: &[_] = &[("authorization", token.as_str())];
    assert_eq!(authenticate(signature, &[]), 401);
    assert_eq!(authenticate(&signature.replace('a', "b"), own), 400);
    assert_eq!(texts(say(&server, "ada", "hi")), [""]);
    assert_eq!(authenticate(signature, own), 200);
    assert_eq!(texts(say(&server, "ada", "hi")), ["dev@example.com"]);
}

// ---- restrictions

#[test]
fn traces_obey_switch_and_throttle() {
    let folder = Folder::new(json!({"converse": {"throttle": {"perUser": {"limit": 2, "window": "1h"}}}}));
    accounts(folder.0.path(), &[("dev@example.com", "default", "dev")]);
    let server = folder.serve(&[]);
    let token = log_in(&server, "dev@example.com", json!({}));
    let turns = |server: &Server, token: &str| {
        request(server, "GET", "/api/v1/bots/shop/converse/ada/turns", &[("authorization", token)], "")
    };
    texts(say(&server, "ada", "hi"));
    let (status, _, body) = turns(&server, &token);
    assert!(status == 200 && body.contains("You said hi"), "{body}");
    let (status, head, _) = turns(&server, &token);
    assert!(status == 429 && head.contains("retry-after: "), "{status} {head}");

    let closed = Folder::new(json!({"converse": {"enabled": false}}));
    accounts(closed.0.path(), &[("dev@example.com", "default", "dev")]);
    let server = closed.serve(&[]);
    let token = log_in(&server, "dev@example.com", json!({}));
    let (status, _, body) = turns(&server, &token);
    assert_eq!((status, body.as_str()), (403, "Converse API is disabled for shop"));
}

#[test]
fn parallel_messages_are_refused_where_that_is_wanted() {
    let folder = Folder::new(json!({"converse": {"parallelRequests": "refuse"}}));
    folder.flow(json!([{"id": "entry", "name": "entry", "next": [{"condition": "true", "node": "END"}],
        "onEnter": ["builtin/wait {\"delay\":\"1500\"}", "say #!builtin_text-echo"]}]));
    let server = folder.serve(&[]);
    // Each speaks again as soon as it is answered, until one spoke while the other was being answered.
    let refused = std::sync::OnceLock::new();
    std::thread::scope(|scope| {
        let speak = |text: &str| {
            while refused.get().is_none() {
                match say(&server, "ada", text) {
                    (409, answer) => drop(refused.set(answer)),
                    answered => assert_eq!(texts(answered), [format!("You said {text}")]),
                }
            }
        };
        let both = ["one", "two"].map(|text| scope.spawn(move || speak(text)));
        assert_eq!(texts(say(&server, "bob", "three")), ["You said three"], "others may speak meanwhile");
        for speaking in both {
            speaking.join().unwrap();
        }
        assert_eq!(texts(say(&server, "ada", "four")), ["You said four"], "at once after the answer");
    });
    let refused = refused.get().unwrap();
    assert_eq!((refused["statusCode"].as_u64(), refused["type"].as_str()), (Some(409), Some("ConflictError")));
}

#[test]
fn the_servers_own_limit_says_when_to_come_back() {
    let folder = Folder::new(json!({}));
    let config = json!({"version": "12.31.10", "appSecret": "a secret of the tests",
        "httpServer": {"rateLimit": {"enabled": true, "limitWindow": "1h", "limit": 2}}});
    folder.json("global/botpress.config.json", config);
    let server = folder.serve(&[]);
    for _ in 0..2 {
        texts(say(&server, "ada", "hi"));
    }
    let talk = "/api/v1/bots/shop/converse/bob";
    let (status, head, body) = request(&server, "POST", talk, &[], r#"{"text":"hi"}"#);
    assert_eq!((status, body.as_str()), (429, "Too many requests, please slow down."));
    let seconds = head.split("retry-after: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
    assert!((3590..=3600).contains(&seconds.parse::<u64>().unwrap()), "{head}");
}

#[test]
fn there_is_room_for_so_many_listeners() {
    let folder = Folder::new(json!({}));
    let server = folder.serve(&["--listeners", "2", "--listeners-per-user", "1"]);
    let poll = |user: &str, wait: u32| {
        request(&server, "GET", &format!("/api/v1/bots/shop/converse/{user}/events?wait={wait}"), &[], "").0
    };
    // Eve takes a place herself while she looks whether there is one.
    let insist = |user: &str| std::iter::repeat_with(|| poll(user, 60)).find(|status| *status != 429);
    std::thread::scope(|scope| {
        let polls = ["ada", "bob"].map(|user| scope.spawn(move || insist(user)));
        let started = std::time::Instant::now();
        while poll("eve", 0) != 429 {
            assert!(started.elapsed() < Duration::from_secs(30), "nobody waits");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(poll("ada", 0), 429);
        // What they hear ends their wait.
        for user in ["ada", "bob"] {
            texts(say(&server, user, "hi"));
        }
        assert!(polls.into_iter().all(|poll| poll.join().unwrap() == Some(200)));
    });
    assert_eq!(poll("eve", 0), 200);
}

#[test]
fn a_silent_turn_waits_for_late_messages_as_long_as_the_bot_says() {
    let folder = Folder::new(json!({"converse": {"bufferDelayMs": 60_000}}));
    let silent =
        json!([{"condition": "event.preview === 'hush'", "node": "END"}, {"condition": "true", "node": "say"}]);
    folder.flow(json!([
        {"id": "entry", "name": "entry", "onEnter": [], "next": silent},
        {"id": "say", "name": "say", "onEnter": ["say #!builtin_text-echo"], "next": []},
    ]));
    let server = folder.serve(&[]);
    let started = std::time::Instant::now();
    assert_eq!(texts(say(&server, "ada", "hi")), ["You said hi"]);
    assert!(started.elapsed() < Duration::from_secs(30), "who has an answer doesn't wait");
    let authorization = format!("Bearer {}", server.token);
    let headers = [("authorization", authorization.as_str()), ("x-bot-id", "shop")];
    let (_, _, body) = request(&server, "GET", "/v1/chat/conversations", &headers, "");
    let listed: Value = serde_json::from_str(&body).unwrap();
    let news = json!({"conversationId": listed["conversations"][0]["id"], "userId": "shop", "type": "text",
        "payload": {"text": "A moment later"}, "tags": {}});
    std::thread::scope(|scope| {
        let hushed = scope.spawn(|| texts(say(&server, "ada", "hush")));
        std::thread::sleep(Duration::from_millis(700));
        assert_eq!(request(&server, "POST", "/v1/chat/messages", &headers, &news.to_string()).0, 201);
        assert_eq!(hushed.join().unwrap(), ["A moment later"]);
    });
    assert!(started.elapsed() < Duration::from_secs(60), "no longer than needed");
}

// ---- e-mail

/// A server that takes every e-mail; what it was told.
fn smtp() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = told.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            stream.write_all(b"220 ready\r\n").unwrap();
            let mut in_data = false;
            while let Some(Ok(line)) = lines.next() {
                let answer = match line.as_str() {
                    "." => "250 taken\r\n",
                    "DATA" => "354 go on\r\n",
                    "QUIT" => break,
                    _ if in_data => "",
                    _ => "250 fine\r\n",
                };
                in_data = (in_data || line == "DATA") && line != ".";
                log.lock().unwrap().push(line);
                stream.write_all(answer.as_bytes()).unwrap();
            }
        }
    });
    (url, told)
}

/// A bot that sends an e-mail and says how that went.
fn mailing() -> Folder {
    let folder = Folder::new(json!({}));
    let mail = duologue_dialog::skills::SendEmail {
        from_address: "shop@example.org".into(),
        to_address: "{{event.target}}@example.org".into(),
        subject_element: "builtin_text-subject".into(),
        content_element: "builtin_text-body".into(),
        ..Default::default()
    };
    let skill = duologue_dialog::skills::send_email("mail", &mail).leading_to(&["sent", "failed"]);
    let mut start: Value = serde_json::from_str(&skill.node.to_json()).unwrap();
    start["name"] = json!("mail");
    folder.elements(&[
        ("subject", "Your order"),
        ("body", "It is {{event.preview}}"),
        ("sent", "Sent"),
        ("failed", "Not sent"),
    ]);
    folder.flow(json!([
        start,
        {"id": "sent", "name": "sent", "onEnter": ["say #!builtin_text-sent"], "next": []},
        {"id": "failed", "name": "failed", "onEnter": ["say #!builtin_text-failed"], "next": []},
    ]));
    folder.write(&format!("bots/shop/flows/{}", skill.flow_name), &skill.flow.to_json());
    folder
}

#[test]
fn a_bot_sends_mail_through_the_operators_server() {
    let (url, told) = smtp();
    let folder = mailing();
    folder.json("global/config/basic-skills.json", json!({"transportConnectionString": url}));
    let server = folder.serve(&[]);
    assert_eq!(texts(say(&server, "ada", "ready")), ["Sent"]);
    let told = told.lock().unwrap().clone();
    for line in ["MAIL FROM:<shop@example.org>", "RCPT TO:<ada@example.org>", "Subject: Your order", "It is ready"] {
        assert!(told.iter().any(|told| told == line), "{line} in {told:#?}");
    }
}

#[test]
fn a_bot_without_a_server_for_mail_fails_softly() {
    let folder = mailing();
    let server = folder.serve(&[]);
    assert_eq!(texts(say(&server, "ada", "ready")), ["Not sent"]);
    // A server of the bot's own may not be where requests of bots may not go.
    let (url, told) = smtp();
    folder.json("bots/shop/config/basic-skills.json", json!({"transportConnectionString": url}));
    let server = folder.serve(&[]);
    assert_eq!(texts(say(&server, "ada", "ready")), ["Not sent"]);
    assert!(told.lock().unwrap().is_empty());
    let server = folder.serve(&["--allow-outbound", "127.0.0.1"]);
    assert_eq!(texts(say(&server, "ada", "ready")), ["Sent"]);
}

// ---- the log

#[test]
fn the_log_says_where_a_flow_is_broken_and_the_last_good_one_goes_on() {
    let folder = Folder::new(json!({}));
    let (mut server, log) = Server::prepare(None, &[]).with(&["--v12-data", folder.path()]).serve_logging();
    assert_eq!(texts(say(&server, "ada", "hi")), ["You said hi"]);
    folder.write("bots/shop/flows/main.flow.json", "{\n  \"version\": \"0.0.1\",\n  \"nodes\": [}\n");
    let has = |text: &str| fs::read_to_string(&log).unwrap().lines().any(|line| line.contains(text));
    support::eventually(|| has("the last version that was good keeps being served"));
    assert!(has("flows/main.flow.json:3:13: not JSON"), "{}", fs::read_to_string(&log).unwrap());
    assert_eq!(texts(say(&server, "ada", "hi")), ["You said hi"]);
    server.kill();
}

#[test]
fn the_log_says_what_goes_wrong_in_scripts() {
    let folder = Folder::new(json!({}));
    folder.write("bots/shop/actions/loud.js", "console.log('hello from', event.target); bp.logger.warn('careful')");
    folder.write("bots/shop/actions/careless.js", "const run = async () => { throw new Error('forgotten') }\nrun()");
    folder.write("bots/shop/actions/pack.js", "require('sharp')");
    folder.write("bots/shop/hooks/after_event_processed/broken.js", "nothing.there()");
    folder
        .flow(json!([{"id": "entry", "name": "entry", "onEnter": ["loud {}", "careless {}", "pack {}"], "next": []}]));
    let prepared = Server::prepare(None, &[]).with(&["--v12-data", folder.path()]);
    let (mut server, log) = prepared.serve_logging();
    say(&server, "ada", "hi");
    server.kill();
    let log = fs::read_to_string(log).unwrap();
    for line in [
        "hello from ada",
        "careful",
        "a promise was rejected, and nothing handles that: Error: forgotten",
        "the package 'sharp' is not there: put it, as pure JavaScript, into the bot's libraries/node_modules/sharp",
        "nothing is not defined",
    ] {
        assert!(log.lines().any(|found| found.contains(line) && found.contains("shop")), "{line} in\n{log}");
    }
}

// ---- hooks

#[test]
fn metadata_and_contexts_reach_hooks() {
    let folder = Folder::new(json!({}));
    let look = "event.state.temp.seen = `${event.payload.metadata && event.payload.metadata.page} ${event.nlu.includedContexts}`";
    folder.write("bots/shop/hooks/before_incoming_middleware/look.js", look);
    folder.elements(&[("echo", "{{temp.seen}}")]);
    let server = folder.serve(&[]);
    let ask = |body: Value| {
        let (status, _, answer) = request(&server, "POST", "/api/v1/bots/shop/converse/ada", &[], &body.to_string());
        texts((status, serde_json::from_str(&answer).unwrap()))
    };
    let all = json!({"text": "hi", "metadata": {"page": "cart"}, "includedContexts": ["orders", "help"]});
    assert_eq!(ask(all), ["cart orders,help"]);
    assert_eq!(ask(json!({"text": "hi"})), ["undefined global"]);
}

// ---- hooks that aren't a part of turns

#[test]
fn hooks_run_when_bots_come_and_go() {
    let folder = Folder::new(json!({}));
    let note = |name: &str| {
        format!(
            "const run = async () => {{ const kvs = bp.kvs.global(); \
             await kvs.set('log', (await kvs.get('log') || '') + '{name} ' + (typeof botId === 'string' ? botId : '') + ';') }}\n\
             return run()"
        )
    };
    folder.write("global/hooks/after_server_start/a.js", &note("start"));
    folder.write("global/hooks/after_bot_mount/a.js", &note("mount"));
    folder.write("bots/shop/hooks/after_bot_mount/b.js", &note("own"));
    folder.write("bots/shop/hooks/after_server_start/b.js", &note("never"));
    folder.write("bots/shop/hooks/after_bot_unmount/c.js", &note("unmount"));
    let read = "const run = async () => { temp.log = await bp.kvs.global().get('log') }\nreturn run()";
    folder.write("bots/shop/actions/read.js", read);
    folder.elements(&[("log", "{{temp.log}}")]);
    folder
        .flow(json!([{"id": "entry", "name": "entry", "onEnter": ["read {}", "say #!builtin_text-log"], "next": []}]));
    let server = folder.serve(&[]);
    let started = "start ;mount shop;own shop;";
    support::eventually(|| texts(say(&server, "ada", "hi")) == [started]);
    folder.elements(&[("log", "now {{temp.log}}")]);
    let again = format!("now {started}unmount shop;mount shop;own shop;");
    support::eventually(|| texts(say(&server, "ada", "hi")) == [again.as_str()]);
}

// ---- import

#[test]
fn an_import_says_what_will_not_work() {
    let source = Folder::new(json!({}));
    source.flow(json!([
        {"id": "entry", "name": "entry", "onEnter": ["say #!builtin_text-none", "missing/action {}"],
         "next": [{"condition": "true", "node": "nowhere"}, {"condition": "true", "node": "gone.flow.json"}]},
    ]));
    source.write("bots/shop/flows/broken.flow.json", "{\n  \"version\": 1,\n");
    source.write(
        "bots/shop/actions/pack.js",
        "const axios = require('axios'), sharp = require('sharp')\nbp.database('x')",
    );
    source.write("bots/shop/libraries/own.js", "");
    source.write("bots/shop/actions/fine.js", "require('own'); require('lodash/get')");
    let target = tempfile::tempdir().unwrap();
    let path = source.0.path().join("bots/shop");
    let arguments = ["import", path.to_str().unwrap(), "--v12-data", target.path().to_str().unwrap()];
    let done = duologue("bot").args(&arguments).run().success();
    for line in [
        "broken bots/shop/flows/broken.flow.json: ",
        "check  bots/shop/flows/main.flow.json: the content element builtin_text-none is missing",
        "check  bots/shop/flows/main.flow.json: the action missing/action is missing",
        "check  bots/shop/flows/main.flow.json: a transition leads to the missing node nowhere",
        "check  bots/shop/flows/main.flow.json: a transition leads to the missing flow gone.flow.json",
        "check  bots/shop/actions/pack.js: bp.database isn't supported",
        "check  bots/shop/actions/pack.js: requires sharp, which isn't there",
        "6 things to check",
    ] {
        assert!(done.stdout.contains(line), "{line} in\n{}", done.stdout);
    }
    for word in ["axios, which", "check  bots/shop/actions/fine.js"] {
        assert!(!done.stdout.contains(word), "{word} in\n{}", done.stdout);
    }
}
