//! Deliveries to a bot of the official SDK: its bundle hosted by the server, and the very same bundle called
//! directly by a load generator, in turn.
//!
//! Bare, the bundle's handler stands in a plain Node server (`bare.cjs`) and gets, again and again, the
//! events that the server once sent to a URL, with their headers. It answers over the API of the same server
//! as the hosted one, which stores its replies just as durably: what the load generator replaces is the way
//! of a message to the bot and of the reply to a listener. Bare replies are in conversations of the bot's own,
//! of which nobody is told.

use std::{
    collections::HashMap,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    sync::Notify,
};

use crate::{
    Args, Error,
    load::{self, Client, Figures, request},
    scenarios::{authorization, borrowed, called, text},
    stage::{Headers, Stage, admin, said, serve},
    table,
};

const SCRIPT: &str = include_str!("bare.cjs");
/// How long whatever is waited for may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The ratio that is to be reached.
const GOAL: f64 = 0.7;

/// Hosted and bare in turn.
pub(crate) async fn hosted(args: &Args, bundle: &Path) -> Result<(), Error> {
    table::title("delivery: message in, hosted bot of the official SDK, reply stored and heard by the integration");
    let code = std::fs::read_to_string(bundle).map_err(|e| Error::Io("read the bundle", e))?;
    let stage = Stage::start(args).await?;
    let mut client = Client::connect(&stage.server.address).await?;
    let events = recorded(&stage, &mut client, args.connections).await?;
    let install = serde_json::json!({ "url": null, "code": code }).to_string();
    update(&stage, &mut client, &install).await?;
    let bare = Bare::start(&stage, bundle).await?;
    for connections in [1, args.connections] {
        let (mut by_server, mut by_load) = (Vec::new(), Vec::new());
        for _ in 0..args.runs.max(1) {
            by_load.push(load::run(&bare.address, connections, args.seconds, events.clone()).await?);
            by_server.push(stage.round_trips(connections, args.seconds).await?.1);
        }
        compare(connections, &load::median(by_server), &load::median(by_load));
    }
    println!();
    stage.server.stop().await;
    Ok(())
}

fn compare(connections: usize, by_server: &Figures, by_load: &Figures) {
    table::side(&format!("{connections} at once: the bundle called directly"), by_load);
    table::side(&format!("{connections} at once: hosted, until it is heard"), by_server);
    let ratio = by_server.per_second / by_load.per_second;
    match connections {
        1 => table::figure("one conversation: share of the direct rate", &format!("{ratio:.2}")),
        _ => table::goal("share of the direct rate", ratio, GOAL, true),
    }
}

async fn update(stage: &Stage, client: &mut Client, body: &str) -> Result<(), Error> {
    let path = format!("/v1/admin/bots/{}", stage.access.bot);
    called(client, "PUT", &path, &admin(&stage.access), body).await.map(drop)
}

/// Events by their conversations: headers and bodies as they arrived.
#[derive(Default)]
struct Recorder {
    events: Mutex<HashMap<String, (Headers, String)>>,
    grown: Notify,
}

async fn record(State(recorder): State<Arc<Recorder>>, headers: HeaderMap, body: Bytes) -> &'static str {
    let event: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    // Written anew for the load.
    let is_own = |name: &str| !matches!(name, "host" | "content-length" | "content-type");
    let headers: Headers = headers
        .iter()
        .filter(|(name, _)| is_own(name.as_str()))
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
        .collect();
    if let (Some(conversation), Ok(body)) = (event["event"]["conversationId"].as_str(), std::str::from_utf8(&body)) {
        let mut events = recorder.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.insert(conversation.to_owned(), (headers, body.to_owned()));
        recorder.grown.notify_one();
    }
    "{}"
}

/// What the bot gets for a message in each of so many conversations: made to be about conversations of its own.
async fn recorded(stage: &Stage, client: &mut Client, conversations: usize) -> Result<load::Requests, Error> {
    let recorder = Arc::new(Recorder::default());
    let url = serve(Router::new().fallback(record).with_state(recorder.clone())).await?;
    update(stage, client, &serde_json::json!({ "url": url }).to_string()).await?;
    let headers = stage.headers(&stage.access.bot);
    for _ in 0..conversations {
        let (conversation, user) = stage.place(client, &headers).await?;
        client.call(&said(&conversation, &user, &headers)).await?;
    }
    let complete = async {
        loop {
            let events = recorder.events.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if events.len() >= conversations {
                return events;
            }
            recorder.grown.notified().await;
        }
    };
    let late = |_| Error::Unexpected("the server doesn't deliver events".into());
    let events = tokio::time::timeout(PATIENCE, complete).await.map_err(late)?;
    let bot = [authorization(&stage.access), ("x-bot-id".into(), stage.access.bot.clone())];
    let mut requests = load::Requests::new();
    for (conversation, (headers, body)) in events {
        let made = called(client, "POST", "/v1/chat/conversations", &bot, r#"{"channel":"test","tags":{}}"#).await?;
        let body = body.replace(&conversation, &text(&made["conversation"]["id"]));
        requests.push(vec![request("POST", "/", &borrowed(&headers), &body)]);
    }
    Ok(requests)
}

/// The bundle in a Node process of its own; ended when dropped.
struct Bare {
    address: String,
    _process: Child,
}

impl Bare {
    async fn start(stage: &Stage, bundle: &Path) -> Result<Bare, Error> {
        let bundle = std::path::absolute(bundle).map_err(|e| Error::Io("find the bundle", e))?;
        let mut process = Command::new("node")
            .args(["-e", SCRIPT])
            .arg(bundle)
            .env("BP_API_URL", format!("http://{}", stage.server.address))
            .env("BP_TOKEN", &stage.access.token)
            .env("BP_BOT_ID", &stage.access.bot)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| Error::Io("start node", e))?;
        let output = process.stdout.take().map(BufReader::new);
        let mut output = output.ok_or_else(|| Error::Unexpected("node has no output".into()))?;
        let mut port = String::new();
        let read = tokio::time::timeout(PATIENCE, output.read_line(&mut port)).await;
        read.map_err(|_| Error::Unexpected("the bundle doesn't start".into()))?
            .map_err(|e| Error::Io("start node", e))?;
        // Whatever the bundle says has to go somewhere.
        tokio::spawn(async move { tokio::io::copy(&mut output, &mut tokio::io::sink()).await });
        Ok(Bare { address: format!("127.0.0.1:{}", port.trim()), _process: process })
    }
}
