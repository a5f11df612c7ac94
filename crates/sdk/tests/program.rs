//! A bot as a program: the example `echo`, which is built together with the tests.

#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use support::{Api, BOT, configuration, headers, message};

fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().parent().unwrap().join("examples/echo");
    assert!(program.exists(), "the example is missing: cargo build -p duologue-sdk --examples");
    program
}

fn echo() -> Command {
    clean(Command::new(program()))
}

fn clean(mut command: Command) -> Command {
    for name in ["BP_API_URL", "BP_TOKEN", "BP_BOT_ID", "BP_WORKSPACE_ID", "BP_SIGNING_SECRET", "RUST_LOG"] {
        command.env_remove(name);
    }
    command
}

fn text(output: &Output) -> (Option<i32>, String, String) {
    let read = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), read(&output.stdout), read(&output.stderr))
}

#[test]
fn it_says_what_it_can_and_what_it_lacks() {
    let (code, out, _) = text(&echo().output().unwrap());
    assert!(code == Some(0) && out.contains("deploy [URL]"), "{out}");
    let (code, out, _) = text(&echo().arg("definition").output().unwrap());
    let definition: Value = serde_json::from_str(&out).unwrap();
    assert!(code == Some(0) && definition["description"] == "Says what it hears", "{out}");
    let (code, _, err) = text(&echo().arg("sing").output().unwrap());
    assert!(code == Some(1) && err.contains("\"sing\" isn't understood"), "{err}");
    for word in ["serve", "deploy", "dev"] {
        let (code, _, err) = text(&echo().arg(word).output().unwrap());
        assert!(code == Some(1) && err.contains("BP_API_URL"), "{word}: {err}");
    }
    let (code, _, err) = text(&echo().arg("deploy").env("BP_API_URL", "http://127.0.0.1:1").output().unwrap());
    assert!(code == Some(1) && err.contains("BP_BOT_ID"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_until_it_is_told_to_stop() {
    let api = Api::usual().await;
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut child = echo()
        .args(["serve", &address])
        .env("BP_API_URL", &api.url)
        .env("BP_TOKEN", "bp_bak_test")
        .env("BP_LOG_FORMAT", "json")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let listens: Value = serde_json::from_str(&log.next().unwrap().unwrap()).unwrap();
    assert_eq!(listens["fields"]["address"], address);

    let bot = support::Running::at(&address);
    let body = json!({"event": message("text", json!({"text": "Hullo"}))}).to_string();
    let configuration = configuration("{}");
    let headers = headers("event_received", "message_created", &configuration);
    bot.send("POST", "/", &headers, body.as_bytes()).await.done();
    let said = api.bodies("POST /v1/chat/messages");
    assert_eq!((said.len(), &said[0]["payload"]["text"], &said[0]["userId"]), (1, &json!("Hullo"), &json!(BOT)));

    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// A server that knows one dev bot.
async fn admin_api() -> Api {
    let bot = Arc::new(Mutex::new(Value::Null));
    Api::start(move |line, body| {
        let mut bot = bot.lock().unwrap();
        match line {
            "POST /v1/admin/bots" => {
                let at = "2026-01-01T00:00:00.000Z";
                *bot = json!({"id": "devbot_1", "name": "x", "dev": body["dev"], "createdAt": at, "updatedAt": at});
            }
            "GET /v1/admin/bots/devbot_1" => {}
            "PUT /v1/admin/bots/devbot_1" => {
                for (name, value) in body.as_object().unwrap() {
                    bot[name] = value.clone();
                }
            }
            _ => return (500, json!({})),
        }
        (200, json!({"bot": *bot}))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dev_loop_shows_what_arrives_and_takes_on_what_is_built() {
    let api = admin_api().await;
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("echo");
    fs::copy(program(), &copy).unwrap();
    let mut command = clean(Command::new(&copy));
    command.arg("dev").env("BP_API_URL", &api.url).env("BP_TOKEN", "bp_pat_test").stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut line = |text: &str| {
        let lines = log.by_ref().map(Result::unwrap);
        let found = lines.into_iter().find(|line| line.contains(text));
        found.unwrap_or_else(|| panic!("it never said {text}"))
    };
    line("deployed: description");
    let served = line("devbot_1 is served at http://127.0.0.1:");
    let address = served.split("http://").nth(1).unwrap().split(';').next().unwrap().to_owned();
    assert_eq!(api.bodies("PUT /v1/admin/bots/devbot_1")[0]["url"], format!("http://{address}"));

    let bot = support::Running::at(&address);
    let answer = bot.event(&message("text", json!({"text": "Hullo"}))).await;
    assert_eq!(answer.status, 500, "this server takes no messages");
    let shown = line("message_created text Hullo");
    assert!(shown.contains("→ 500") && shown.contains("Runtime"), "{shown}");

    // As Cargo leaves it: another file in the same place.
    let next = folder.path().join("next");
    fs::copy(program(), &next).unwrap();
    fs::rename(&next, &copy).unwrap();
    line("built anew: starting again");
    line("nothing to deploy");
    assert!(line("is served at").contains("devbot_1"));
    bot.call("ping", "ping", &json!({})).await.done();
    assert_eq!(api.bodies("POST /v1/admin/bots").len(), 1);
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
