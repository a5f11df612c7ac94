//! Turns of a v12 bot over the Converse API, against createMessage in the same run.
//!
//! The bot waits at one node and answers each text with one: what the original was measured with.

use std::{fs, path::Path, time::Duration};

use serde_json::json;

use crate::{
    Args, Error,
    child::{self, Server},
    load::{self, Figures, Requests, request},
    scenarios::{Speaking, scratch},
    table,
};

/// Its name in the data folder.
const BOT: &str = "bench";

/// One caller, then all connections with a user each, then createMessage.
pub(crate) async fn converse(args: &Args) -> Result<(), Error> {
    table::title(&format!(
        "converse: a turn with one reply, durable before the answer, {} connections",
        args.connections
    ));
    let (data, v12) = (scratch(args)?, scratch(args)?);
    write_bot(v12.path()).map_err(|e| Error::Io("write the bot", e))?;
    child::init(data.path(), None).await?;
    let server = Server::duologue_with(data.path(), None, &["--v12-data", &v12.path().display().to_string()]).await?;
    let alone = load::run(&server.address, 1, args.seconds, turns(1)).await?;
    let messages = Speaking::start(args, None).await?;
    let (mut turned, mut created) = (Vec::new(), Vec::new());
    for _ in 0..args.runs {
        created.push(load::run(&messages.server.address, args.connections, args.seconds, messages.messages()).await?);
        turned.push(load::run(&server.address, args.connections, args.seconds, turns(args.connections)).await?);
    }
    report(&alone, &load::median(turned), &load::median(created));
    messages.server.stop().await;
    server.stop().await;
    Ok(())
}

fn report(alone: &Figures, all: &Figures, created: &Figures) {
    table::side("converse: one caller", alone);
    table::goal("converse: one caller, p50 (ms)", millis(alone.p50), 2.0, false);
    table::side("converse: all connections", all);
    table::side("createMessage: all connections", created);
    table::goal("converse: turns a second", all.per_second, 5_000.0, true);
    table::goal("converse: p99 (ms)", millis(all.p99), 50.0, false);
    table::goal("converse: share of createMessage's rate", all.per_second / created.per_second, 0.5, true);
    println!();
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// A user a connection, each saying the same.
fn turns(connections: usize) -> Requests {
    let body = r#"{"type":"text","text":"ping"}"#;
    (0..connections)
        .map(|n| vec![request("POST", &format!("/api/v1/bots/{BOT}/converse/caller-{n}"), &[], body)])
        .collect()
}

/// A data folder with the bot in it.
fn write_bot(folder: &Path) -> std::io::Result<()> {
    let write = |path: &str, value: serde_json::Value| {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        fs::write(path, value.to_string())
    };
    write_installation(folder, &[BOT.to_owned()])?;
    let bot = |path: &str| format!("bots/{BOT}/{path}");
    write(
        &bot("bot.config.json"),
        json!({"id": BOT, "name": BOT, "version": "12.31.10", "disabled": false, "private": false,
            "defaultLanguage": "en", "languages": ["en"], "imports": {"contentTypes": ["builtin_text"]}}),
    )?;
    write(
        &bot("content-elements/builtin_text.json"),
        json!([{"id": "builtin_text-answer", "formData": {"text$en": "You said {{event.preview}}.", "typing$en": true}}]),
    )?;
    write(&bot("flows/main.ui.json"), json!({"nodes": [], "links": []}))?;
    write(
        &bot("flows/main.flow.json"),
        json!({"version": "0.0.1", "startNode": "start", "catchAll": {}, "nodes": [
            node("start", json!(null), &[], "wait"),
            node("wait", json!([]), &[], "answer"),
            node("answer", json!(null), &["say #!builtin_text-answer"], "wait"),
        ]}),
    )
}

/// What the bots of a data folder share.
pub(crate) fn write_installation(folder: &Path, bots: &[String]) -> std::io::Result<()> {
    let global = folder.join("global");
    fs::create_dir_all(&global)?;
    let config = json!({"appSecret": "of the bench, and of nothing else", "dialog": {}});
    fs::write(global.join("botpress.config.json"), config.to_string())?;
    let workspaces = json!([{"id": "default", "name": "Default", "bots": bots}]);
    fs::write(global.join("workspaces.json"), workspaces.to_string())
}

fn node(name: &str, on_receive: serde_json::Value, on_enter: &[&str], next: &str) -> serde_json::Value {
    json!({"id": format!("node-{name}"), "name": name, "onEnter": on_enter, "onReceive": on_receive,
        "next": [{"condition": "true", "node": next}]})
}
