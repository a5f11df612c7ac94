//! `docs/export.md` holds what it says: every command and sample in it is run, as it stands there.

#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod support;

/// The samples in Rust, compiled here as they stand in the guide.
#[path = "../../../docs/examples/export.rs"]
#[allow(dead_code)]
mod sample;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use duologue_client::{Client, CreateConversation, CreateMessage, CreateUser, ImportRecord};
use duologue_transcript::Format;
use serde_json::json;
use support::{Server, duologue, proxy::Proxy};

const SALES: &str = "conv_01JG00000000000000000000S1";
const SUPPORT: &str = "conv_01JG00000000000000000000S2";
const ADA: &str = "user_01JG00000000000000000000A1";

/// What a command of the guide (a part of it is enough) writes: into which file, how often it holds
/// which text. `-` is the output.
#[rustfmt::skip]
const WRITES: &[(&str, &str, &str, usize)] = &[
    ("--data ./duologue-data", "all.jsonl", "{\"conversation\":{", 3),
    ("export --out all.jsonl", "all.jsonl", "{\"conversation\":{", 3),
    ("export --dry-run", "-", "3 conversations, 5 messages", 1),
    ("--out sales.jsonl", "sales.jsonl", "{\"conversation\":{", 1),
    ("--out sales.jsonl", "sales.jsonl", SALES, 3),
    ("--out ada.md", "ada.md", "Which one?", 1),
    ("--out web.csv", "web.csv", "Hello from the web", 2),
    ("--out web.csv", "web.csv", "Which one?", 0),
    ("--out january.jsonl", "january.jsonl", "{\"conversation\":{", 1),
    ("--out two.txt", "two.txt", "Which one?", 1),
    ("--out two.txt", "two.txt", "It broke", 1),
    ("--out two.txt", "two.txt", "Hello from the web", 0),
    ("--out all.csv\n", "all.csv", "conversationId,messageId,createdAt,direction,author,type,text,payload,tags\r\n", 1),
    ("--out all.csv\n", "all.csv", "\"'=1+1\",", 1),
    ("--out all.csv --limit", "all.csv", "It broke", 2),
    ("--out questions.md", "questions.md", "## 1. sales, 2026-01-15", 1),
    ("--out questions.md", "questions.md", "- Ada: Red", 1),
    ("--out cloud.jsonl", "cloud.jsonl", "{\"conversation\":{", 3),
    ("import cloud.jsonl", "-", "0 new, 8 there already", 1),
    ("--data ./new", "-", "8 new, 0 there already", 1),
    ("import -", "-", "8 new, 0 there already", 1),
    ("curl -H", "-", "Which one?", 1),
];

/// The guide's blocks of code: language and text.
fn blocks() -> Vec<(String, String)> {
    let guide = fs::read_to_string(docs().join("export.md")).unwrap();
    let mut blocks = Vec::new();
    let mut lines = guide.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push((language.to_owned(), text.join("\n") + "\n"));
        }
    }
    blocks
}

fn in_language(language: &str) -> Vec<String> {
    let found: Vec<String> = blocks().into_iter().filter(|(of, _)| of == language).map(|(_, text)| text).collect();
    assert!(!found.is_empty(), "the guide has no sample in {language}");
    found
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").canonicalize().unwrap()
}

/// A server with the conversations that the guide's filters are about.
async fn scene() -> Server {
    let server = Server::start();
    let client = server.client();
    let at = |day: &str, second: usize| format!("2026-{day}T10:00:{second:02}.000Z");
    let conversation = |id: &str, day: &str, tags| {
        let user =
            json!({"id": ADA, "createdAt": at("01-01", 0), "updatedAt": at("01-01", 0), "tags": {}, "name": "Ada"});
        json!({
            "conversation": {
                "id": id, "createdAt": at(day, 0), "updatedAt": at(day, 9), "channel": "mail", "integration": "",
                "tags": tags, "messageCount": 2,
            },
            "users": [user],
        })
    };
    let message = |n: usize, conversation: &str, day: &str, user: &str, kind: &str, payload| {
        json!({"message": {
            "id": format!("msg_01JG0000000000000000000M{n:02}"), "createdAt": at(day, n), "updatedAt": at(day, n),
            "type": kind, "payload": payload, "direction": if user == ADA { "incoming" } else { "outgoing" },
            "userId": user, "conversationId": conversation, "tags": {},
        }})
    };
    let choice =
        json!({"text": "Which one?", "options": [{"label": "Red", "value": "r"}, {"label": "Blue", "value": "b"}]});
    let records = [
        conversation(SALES, "01-15", json!({"topic": "sales", "region": "eu"})),
        message(1, SALES, "01-15", &server.bot, "choice", choice),
        message(2, SALES, "01-15", ADA, "text", json!({"text": "Red"})),
        conversation(SUPPORT, "02-15", json!({"topic": "support"})),
        message(3, SUPPORT, "02-15", ADA, "text", json!({"text": "It broke"})),
        message(4, SUPPORT, "02-15", &server.bot, "text", json!({"text": "=1+1"})),
    ];
    let records: Vec<ImportRecord> =
        records.iter().map(|record| serde_json::from_str(&record.to_string()).unwrap()).collect();
    client.import_records(&records).await.unwrap();

    let webchat = client.with_integration(server.install_integration("webchat").await, None).unwrap();
    let visitor = webchat.create_user(CreateUser::new()).await.unwrap();
    let talk = webchat.create_conversation(CreateConversation::new("channel")).await.unwrap();
    let hello = CreateMessage::new(&talk.id, &visitor.id, "text", json!({"text": "Hello from the web"}));
    webchat.create_message(hello).await.unwrap();
    server
}

/// An empty Duologue with the same bot and token.
fn second(server: &Server) -> Server {
    Server::prepare(None, &["--bot-id", &server.bot, "--initial-token", &server.token]).serve()
}

/// Puts this server's names in the place of the guide's.
fn filled_in(block: &str, server: &Server) -> String {
    let block = block
        .replace("http://127.0.0.1:3000", &server.url)
        .replace("bp_pat_…", &server.token)
        .replace("BP_BOT_ID=…", &format!("BP_BOT_ID={}", server.bot))
        .replace("BP_WORKSPACE_ID=…", &format!("BP_WORKSPACE_ID={}", server.workspace))
        .replace("user_01J…", ADA)
        .replacen("conv_01J…", SALES, 1)
        .replace("conv_01J…", SUPPORT);
    assert!(!block.contains('…'), "this can't be run as it stands:\n{block}");
    block
}

/// A folder for a block, with what the blocks before it have left: the data folder, the template, an
/// export to import.
fn folder(block: &str, server: &Server, export: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(&server.data, folder.path().join("duologue-data")).unwrap();
    fs::write(folder.path().join("questions.md.j2"), &in_language("jinja")[0]).unwrap();
    for name in ["all.jsonl", "cloud.jsonl"] {
        if block.contains(&format!("import {name}")) {
            fs::write(folder.path().join(name), export).unwrap();
        }
    }
    folder
}

fn in_environment(command: &mut Command, server: &Server) -> Output {
    let path = std::env::var("PATH").unwrap();
    let binaries = support::binary();
    command
        .env("PATH", format!("{}:{path}", binaries.parent().unwrap().display()))
        .env("BP_API_URL", &server.url)
        .env("BP_TOKEN", &server.token)
        .env("BP_BOT_ID", &server.bot)
        .env_remove("BP_WORKSPACE_ID")
        .env_remove("BP_INTEGRATION_ID")
        .output()
        .unwrap()
}

#[track_caller]
fn output(output: &Output, block: &str) -> String {
    let all = [output.stdout.as_slice(), &output.stderr].concat();
    let all = String::from_utf8(all).unwrap();
    assert!(output.status.success(), "{block}\n{all}");
    all
}

fn exported(server: &Server, format: &str) -> String {
    duologue("export").server(server).args(&["--quiet", "--format", format]).run().success().stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_does_what_it_says() {
    let server = scene().await;
    let export = exported(&server, "jsonl");
    let cloud = Proxy::default().start(&server);
    let mut written = vec![false; WRITES.len()];
    for block in in_language("sh") {
        // The other server is started by the block itself, or was started by one before it.
        let other = (block.contains(":3001") && !block.contains("serve")).then(|| second(&server));
        let free = support::free_address();
        let address = other.as_ref().map_or(free.as_str(), |other| other.url.trim_start_matches("http://"));
        let block = block.replace("127.0.0.1:3001", address).replace("https://api.example.com", &cloud.plain());
        let block = filled_in(&block, &server);
        let folder = folder(&block, &server, &export);
        let script = format!("set -euo pipefail\ntrap 'kill $(jobs -p) 2>&- || true' EXIT\n{block}");
        let mut bash = Command::new("bash");
        let output = output(&in_environment(bash.args(["-c", &script]).current_dir(folder.path()), &server), &block);
        for ((part, file, text, times), written) in WRITES.iter().zip(&mut written) {
            if block.contains(part) {
                let document = match *file {
                    "-" => output.clone(),
                    name => fs::read_to_string(folder.path().join(name)).unwrap(),
                };
                assert_eq!(document.matches(text).count(), *times, "{text:?} in {file} after\n{block}\n{document}");
                *written = true;
            }
        }
        if block.contains("--out-dir pages") {
            let pages: Vec<_> = fs::read_dir(folder.path().join("pages")).unwrap().collect();
            let name = pages[0].as_ref().unwrap().file_name().into_string().unwrap();
            assert!(pages.len() == 1 && name[10..].starts_with("-conv_") && name.ends_with(".html"), "{name}");
        }
        if block.contains("gzip") {
            let unzipped = Command::new("gzip").args(["-dc"]).arg(folder.path().join("all.jsonl.gz")).output().unwrap();
            assert_eq!(String::from_utf8(unzipped.stdout).unwrap(), export);
        }
    }
    for (write, written) in WRITES.iter().zip(written) {
        assert!(written, "the guide has no command with {:?} any more", write.0);
    }
    // The form of JSON Lines, as the guide shows it: each line up to what it leaves out.
    let form = in_language("text").pop().unwrap();
    for (shown, line) in form.lines().zip(export.lines()) {
        let start = shown.split_once('…').unwrap().0;
        assert!(line.starts_with(start), "{line}");
    }
}

/// Needs the npm packages of the interop tests, which `cargo xtask test` installs; without them it
/// fails there, and a plain `cargo test` says that it was skipped.
#[tokio::test(flavor = "multi_thread")]
async fn every_sample_in_javascript_runs() {
    let package = docs().join("../tests/interop/node_modules/client-1.45");
    if !package.exists() {
        let advice = "the official client is missing: run `npm ci` in tests/interop (Node.js 20 or later)";
        assert!(!support::is_complete_run(), "{advice}");
        eprintln!("skipped: {advice}");
        return;
    }
    let server = scene().await;
    let work = tempfile::tempdir().unwrap();
    fs::create_dir_all(work.path().join("node_modules/@botpress")).unwrap();
    let client = work.path().join("node_modules/@botpress/client");
    std::os::unix::fs::symlink(package.canonicalize().unwrap(), client).unwrap();
    let run = |arguments: &[&str], block: &str| {
        let mut node = Command::new("node");
        output(&in_environment(node.args(arguments).current_dir(work.path()), &server), block)
    };

    // The program writes what the command does.
    fs::copy(docs().join("examples/export.mjs"), work.path().join("export.mjs")).unwrap();
    let export = exported(&server, "jsonl");
    assert_eq!(run(&["export.mjs"], ""), export);
    let sales = duologue("export").server(&server).args(&["--quiet", "--tag", "topic=sales"]).run().success().stdout;
    assert_eq!(run(&["export.mjs", "topic=sales"], ""), sales);

    // Each sample goes on from the first, which makes the client.
    let blocks = in_language("js");
    let said: Vec<String> = blocks[1..]
        .iter()
        .map(|block| {
            let program = filled_in(&format!("{}\n{block}", blocks[0]), &server);
            fs::write(work.path().join("sample.mjs"), program).unwrap();
            run(&["sample.mjs"], block)
        })
        .collect();
    let found = |text: &str| said.iter().filter(|said| said.contains(text)).count();
    assert_eq!(found(&format!("{SALES} 2")), 1, "{said:?}");
    assert_eq!(found("1 in all"), 1, "{said:?}");
    assert_eq!(found(&format!("{SALES}\n{SUPPORT}\n")), 1, "{said:?}");
    assert_eq!(found("Which one?"), 1, "{said:?}");
    let messages = server.client().list_messages().conversation(SALES).all().await.unwrap();
    assert_eq!(messages.len(), 3);
    assert!(messages[2].payload.text().contains("Said long ago"));
}

#[test]
fn every_sample_in_rust_is_in_the_example() {
    let example = fs::read_to_string(docs().join("examples/export.rs")).unwrap();
    for block in in_language("rust") {
        assert!(example.contains(&block), "docs/examples/export.rs has no such part:\n{block}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sample_in_rust_runs() {
    let server = scene().await;
    let client: Client = server.client();
    let work = tempfile::tempdir().unwrap();
    sample::list(&client).await.unwrap();
    let chosen = sample::choose(&client, ADA).await.unwrap();
    assert_eq!(chosen.iter().map(|conversation| conversation.id.as_str()).collect::<Vec<_>>(), [SALES]);
    for format in Format::ALL {
        let mut document = Vec::new();
        sample::export(&client, format, &mut document).await.unwrap();
        assert_eq!(String::from_utf8(document).unwrap(), exported(&server, format.name()));
    }
    for n in 0..100 {
        client.create_conversation(CreateConversation::new("more").tag("n", n.to_string())).await.unwrap();
    }
    let note = work.path().join("next");
    let (first, second_page) =
        (sample::next_page(&client, &note).await.unwrap(), sample::next_page(&client, &note).await.unwrap());
    assert_eq!((first.len(), second_page.len()), (100, 3));
    assert_eq!(first[0].id.as_str(), SALES);
    assert_eq!(sample::next_page(&client, &note).await.unwrap(), second_page);

    let export = exported(&server, "jsonl");
    let other = second(&server);
    let imported = sample::import(&other.client(), &export).await.unwrap();
    assert_eq!((imported.created, imported.skipped), (108, 0));
    assert_eq!(exported(&other, "jsonl"), export);

    let mut document = Vec::new();
    sample::transcript(&client, SALES, &mut document).await.unwrap();
    assert!(String::from_utf8(document).unwrap().contains("Which one?"));
}
