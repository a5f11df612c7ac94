//! A bot as a program: the example `echo`, which is built together with the tests.

#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};
use support::{Api, BOT, configuration, headers, message};

fn echo() -> Command {
    let test = std::env::current_exe().unwrap();
    let program: PathBuf = test.parent().unwrap().parent().unwrap().join("examples/echo");
    assert!(program.exists(), "the example is missing: cargo build -p duologue-sdk --examples");
    let mut command = Command::new(program);
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
