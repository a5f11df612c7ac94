//! Why a v12 bot said what it said: the route, `duologue trace` and `duologue replay`, against a server.

#![allow(clippy::unwrap_used)] // Helpers of tests, too, fail by panicking.

mod support;

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use duologue_v12::auth::token::TokenSettings;
use serde_json::{Value, json};
use support::{Prepared, Server, duologue};

const SECRET: &str = "a secret for signatures";
/// In the flow, in a request's header.
const API_KEY: &str = "k-0123456789";

/// A data folder with a bot that has a script of each kind, and asks somebody who can't be reached.
fn installation(folder: &Path) {
    let call = json!({
        "method": "get", "url": "http://127.0.0.1:9/?q=1", "headers": {"Authorization": format!("Bearer {API_KEY}")},
        "memory": "temp", "variable": "response", "randomId": "r",
    });
    let node = |name: &str, enter: Value, receive: Value, next: Value| json!({"id": name, "name": name, "onEnter": enter, "onReceive": receive, "next": next});
    let to = |condition: &str, node: &str| json!({"condition": condition, "node": node});
    let main = json!({
        "version": "0.0.1", "startNode": "entry", "catchAll": {},
        "nodes": [
            node("entry", json!(["greet {}", format!("basic-skills/call_api {call}")]), Value::Null, json!([to("true", "ask")])),
            node("ask", json!(["say #!builtin_text-ask"]), json!([]), json!([
                to("['yes', 'y'].includes(event.preview)", "yes"), to("true", "no"),
            ])),
            node("yes", json!(["say #!builtin_text-yes"]), Value::Null, json!([to("true", "END")])),
            node("no", json!(["say #!builtin_text-no"]), Value::Null, json!([to("true", "ask")])),
        ],
    });
    let element = |id: &str, text: &str| json!({"id": format!("builtin_text-{id}"), "formData": {"text$en": text}});
    let texts =
        json!(
            [element("ask", "{{temp.greeting}}! More?"), element("yes", "As you like"), element("no", "Never mind"),]
        );
    let bot = json!({"id": "shop", "name": "Shop", "version": "1.0.0", "defaultLanguage": "en", "languages": ["en"]});
    let files = [
        ("global/botpress.config.json", json!({"appSecret": SECRET}).to_string()),
        ("bots/shop/bot.config.json", bot.to_string()),
        ("bots/shop/flows/main.flow.json", main.to_string()),
        ("bots/shop/content-elements/builtin_text.json", texts.to_string()),
        // Neither the instant nor the number is the same again.
        (
            "bots/shop/actions/greet.js",
            "temp.greeting = 'Hello ' + event.target\ntemp.at = Date.now()\ntemp.lot = Math.random()\n".to_owned(),
        ),
    ];
    for (path, text) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn serve(prepared: Prepared, folder: &Path) -> Server {
    prepared.with(&["--v12-data", folder.to_str().unwrap()]).serve()
}

/// Status and body.
fn request(server: &Server, head: &str, body: &str) -> (u16, Value) {
    let address = server.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let text = format!(
        "{head}\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
}

fn say(server: &Server, text: &str) -> Vec<String> {
    let body = json!({"type": "text", "text": text}).to_string();
    let (status, answer) = request(server, "POST /api/v1/bots/shop/converse/ada HTTP/1.1", &body);
    assert_eq!(status, 200, "{answer}");
    let texts = answer["responses"].as_array().unwrap().iter().filter_map(|reply| reply["text"].as_str());
    texts.map(str::to_owned).collect()
}

fn token() -> String {
    let settings = TokenSettings {
        secret: SECRET.to_owned(),
        duration: Duration::from_secs(60),
        allow_refresh: true,
        cookie: false,
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    settings.issue_to_self(now.try_into().unwrap()).unwrap().jwt
}

/// The route `…/turns`.
fn turns(server: &Server, query: &str) -> (u16, Value) {
    let head = format!("GET /api/v1/bots/shop/converse/ada/turns{query} HTTP/1.1\r\nauthorization: Bearer {}", token());
    request(server, &head, "")
}

fn change(folder: &Path, file: &str, from: &str, to: &str) {
    let path = folder.join("bots/shop").join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

/// A conversation of three turns.
fn converse(server: &Server) {
    assert_eq!(say(server, "hi"), ["Hello ada! More?"]);
    assert_eq!(say(server, "nope"), ["Never mind", "Hello ada! More?"]);
    assert_eq!(say(server, "y"), ["As you like"]);
}

#[test]
fn turns_tell_why_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    installation(folder.path());
    let server = serve(Server::prepare(None, &[]), folder.path());
    converse(&server);

    let (status, _) = request(&server, "GET /api/v1/bots/shop/converse/ada/turns HTTP/1.1", "");
    assert_eq!(status, 401);
    for query in ["?limit=0", "?limit=51", "?before=x"] {
        assert_eq!(turns(&server, query).0, 400, "{query}");
    }
    let (status, page) = turns(&server, "?limit=2");
    assert_eq!((status, page["turns"].as_array().unwrap().len(), &page["nextBefore"]), (200, 2, &json!(2)));
    let (_, rest) = turns(&server, "?before=2");
    assert_eq!((rest["turns"].as_array().unwrap().len(), rest.get("nextBefore")), (1, None));

    let first = &rest["turns"][0];
    assert_eq!(first["input"]["payload"]["text"], "hi");
    let step = |wanted: &str| {
        let steps = first["steps"].as_array().unwrap().iter();
        steps.filter(|step| step["step"] == wanted).cloned().collect::<Vec<_>>()
    };
    let nodes: Vec<_> = step("node").iter().map(|step| step["node"].as_str().unwrap().to_owned()).collect();
    assert_eq!(nodes, ["entry", "ask"]);
    assert_eq!(step("condition")[0]["value"], true);
    let actions = step("action");
    assert_eq!((actions[0]["name"].as_str(), actions[0]["error"].is_null()), (Some("greet"), true));
    assert!(actions.iter().all(|action| action["millis"].is_u64()));
    assert_eq!(first["requests"][0]["url"], "http://127.0.0.1:9/?q=1");
    assert!(first["requests"][0]["error"].is_string());
    assert_eq!(first["replies"][0]["text"], "Hello ada! More?");
    let changes = first["changes"].as_array().unwrap();
    assert!(changes.iter().any(|change| change["path"] == "temp.greeting" && change["after"] == "Hello ada"));
    assert!(!rest.to_string().contains(API_KEY), "{rest}");

    // Beside the running server.
    let data = server.data.to_str().unwrap();
    let trace = |args: &[&str]| duologue("trace").args(&["--data", data]).args(args).run();
    let shown = trace(&["--bot", "shop", "--user", "ada"]).success().stdout;
    for line in [
        "Turn 1 · ",
        "  user  hi\n",
        "  → main.flow.json / entry\n",
        "    action greet {",
        " ms ✓\n",
        "  bot   Hello ada! More?\n",
    ] {
        assert!(shown.contains(line), "{line}\n{shown}");
    }
    assert!(shown.contains("    ✗ ['yes', 'y'].includes(event.preview) → yes\n"), "{shown}");
    assert!(!shown.contains(API_KEY), "{shown}");
    let json = trace(&["--bot", "shop", "--user", "ada", "--last", "2", "--json"]).success().stdout;
    let lines: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().rev().collect::<Vec<_>>(), page["turns"].as_array().unwrap().iter().collect::<Vec<_>>());
    assert!(trace(&["--bot", "shop", "--user", "eve"]).failure(1).stderr.contains("eve"));
    assert!(trace(&["--conversation", "gone"]).failure(1).stderr.contains("gone"));
}

#[test]
fn turns_are_done_again_with_a_changed_bot() {
    let folder = tempfile::tempdir().unwrap();
    installation(folder.path());
    let server = serve(Server::prepare(None, &[]), folder.path());
    converse(&server);
    let conversation = {
        let database = rusqlite::Connection::open(server.data.join("duologue.db")).unwrap();
        let sql = "SELECT conversation_id FROM v12_conversations";
        database.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap()
    };

    let changed = tempfile::tempdir().unwrap();
    installation(changed.path());
    let data = server.data.to_str().unwrap();
    let bot = changed.path().join("bots/shop");
    let replay =
        |args: &[&str]| duologue("replay").args(&["--data", data, "--bot", bot.to_str().unwrap()]).args(args).run();
    // What scripts made of time and chance is as recorded.
    let same = replay(&["--conversation", &conversation]).success().stdout;
    assert_eq!(same, "3 turns, no differences\n");
    assert_eq!(replay(&["--user", "ada"]).success().stdout, same);
    let whole = changed.path().to_str().unwrap();
    let of_folder =
        duologue("replay").args(&["--data", data, "--bot", whole, "--user", "ada", "--bot-id", "shop"]).run();
    assert_eq!(of_folder.success().stdout, same);

    // A text.
    change(changed.path(), "content-elements/builtin_text.json", "As you like", "Here it is");
    let text = replay(&["--conversation", &conversation]).failure(1).stdout;
    assert!(text.contains("Turn 3 · ") && !text.contains("Turn 2"), "{text}");
    assert!(text.contains("  reply 1\n    - As you like\n    + Here it is\n"), "{text}");
    assert!(text.ends_with("1 of 3 turns differ\n"), "{text}");
    assert_eq!(replay(&["--user", "ada", "--last", "1"]).failure(1).stdout.lines().last(), Some("1 of 1 turns differ"));
    change(changed.path(), "content-elements/builtin_text.json", "Here it is", "As you like");

    // A condition leads elsewhere.
    change(changed.path(), "flows/main.flow.json", "['yes', 'y']", "['yes', 'nope']");
    let nodes = replay(&["--conversation", &conversation]).failure(1).stdout;
    let went = "  nodes\n    - main.flow.json / ask → main.flow.json / no → main.flow.json / ask\n    + main.flow.json / ask → main.flow.json / yes\n";
    assert!(nodes.contains(went), "{nodes}");
    assert!(!nodes.contains(API_KEY), "{nodes}");
    change(changed.path(), "flows/main.flow.json", "['yes', 'nope']", "['yes', 'y']");

    // A script does something else.
    change(changed.path(), "actions/greet.js", "'Hello '", "'Good day, '");
    let script = replay(&["--conversation", &conversation]).failure(1).stdout;
    assert!(script.contains("  memory temp.greeting\n    - \"Hello ada\"\n    + \"Good day, ada\"\n"), "{script}");
    assert!(script.contains("    + Good day, ada! More?\n"), "{script}");
    // The second turn says it again, out of the memory of the first.
    let (_, second) = script.split_once("Turn 2 · ").unwrap();
    assert!(second.contains("  reply 2\n    - Hello ada! More?\n    + Good day, ada! More?\n"), "{script}");
    let each = replay(&["--conversation", &conversation, "--each"]).failure(1).stdout;
    assert!(each.contains("Turn 1 · ") && !each.contains("Turn 2"), "{each}");

    let gone = duologue("replay").args(&["--data", data, "--bot", "gone", "--user", "ada", "--bot-id", "shop"]).run();
    gone.failure(2);
    replay(&["--user", "eve"]).failure(2);
}
