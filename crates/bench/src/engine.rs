//! The v12 engine without a server around it: conditions, loading, turns, scripts; and a server with many
//! bots, for its memory.

use std::{
    fs,
    hint::black_box,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use duologue_dialog::{
    Bot, Files, Globals, Incoming, Memory, Turn, Value,
    condition::{Condition, Variables},
    testing::{MemoryHost, block_on},
};
use duologue_sandbox::{Calls, Config, Kind, Pool, Run};
use serde_json::json;

use crate::{
    Args, Error, SCRIPT_WORKER,
    child::{self, Server},
    converse::write_installation,
    scenarios::scratch,
    table,
};

/// Bots of the server whose memory is measured.
const BOTS: usize = 1_000;
/// Flows of each of them, of ten nodes and ten texts each.
const FLOWS: usize = 40;
/// Flows of the bot whose loading is measured.
const MANY_FLOWS: usize = 200;

const CONDITIONS: &[&str] = &[
    "event.nlu.intent.name === 'travel'",
    "temp.response.status === 200",
    "temp['skill-choice-ret-x'] == \"red\"",
    "session.slots['x'] && (temp.valid === undefined || temp.valid == \"true\")",
    "event.preview.toLowerCase() === 'hello there'",
    "/^h\\w+ there$/i.test(event.preview)",
];

/// Runs all of it.
pub(crate) async fn engine(args: &Args) -> Result<(), Error> {
    table::title("engine: the v12 engine by itself, one thread");
    conditions()?;
    loading(args);
    turns();
    println!();
    scripts(args).await?;
    bots(args).await
}

// ---- conditions

fn conditions() -> Result<(), Error> {
    const ROUNDS: u32 = 200_000;
    let parsed = |text: &str| Value::parse(text).map_err(|error| Error::Unexpected(error.to_string()));
    let event = parsed(
        r#"{"preview":"Hello there","payload":{"text":"ping"},"nlu":{"intent":{"name":"travel"}},"type":"text","state":{}}"#,
    )?;
    let temp = parsed(r#"{"response":{"status":200},"valid":"true","skill-choice-ret-x":"red"}"#)?;
    let none = Value::object();
    let variables = Variables { event: &event, user: &none, session: &none, temp: &temp, bot: &none };
    let mut slowest = Duration::ZERO;
    for text in CONDITIONS {
        let Condition::Native(condition) = Condition::compile(text) else {
            return Err(Error::Unexpected(format!("{text} isn't compiled natively")));
        };
        let started = Instant::now();
        for _ in 0..ROUNDS {
            black_box(black_box(&condition).evaluate(black_box(variables)));
        }
        slowest = slowest.max(started.elapsed() / ROUNDS);
    }
    let name = format!("slowest of {} plain conditions (µs)", CONDITIONS.len());
    table::goal(&name, slowest.as_secs_f64() * 1e6, 2.0, false);
    Ok(())
}

// ---- bots

/// A bot's files: so many flows, of ten nodes and ten texts with a template each.
fn files(flows: usize) -> Vec<(String, String)> {
    let mut elements = Vec::new();
    let mut files = vec![("bot.config.json".to_owned(), json!({"defaultLanguage": "en"}).to_string())];
    for flow in 0..flows {
        let name = if flow == 0 { "main".to_owned() } else { format!("f{flow}") };
        let nodes = (0..10).map(|node| {
            let id = format!("builtin_text-{flow}-{node}");
            let text = format!("Hello {{{{user.name}}}} from {flow}, {node}");
            elements.push(json!({"id": &id, "formData": {"text$en": text, "typing$en": true}}));
            json!({"id": format!("{flow:04}{node:02}"), "name": format!("n{node}"), "onEnter": [format!("say #!{id}")],
            "onReceive": [], "next": [
                {"condition": format!("event.nlu.intent.name === 'i{flow}-{node}'"), "node": "n0"},
                {"condition": "true", "node": format!("n{}", (node + 1) % 10)},
            ]})
        });
        let nodes: Vec<_> = nodes.collect();
        let file = json!({"version": "0.0.1", "startNode": "n0", "nodes": nodes});
        files.push((format!("flows/{name}.flow.json"), file.to_string()));
    }
    files.push(("content-elements/builtin_text.json".to_owned(), json!(elements).to_string()));
    files
}

fn in_memory(flows: usize) -> Files {
    files(flows).into_iter().map(|(path, text)| (path, text.into())).collect()
}

fn loading(args: &Args) {
    let globals = Globals::load(&Files::new(), |_| {}).0;
    let files = in_memory(MANY_FLOWS);
    let times = (0..args.runs.max(1)).map(|_| {
        let started = Instant::now();
        black_box(Bot::load("big", &files, &globals));
        started.elapsed()
    });
    let mut times: Vec<_> = times.collect();
    times.sort();
    let name = format!("loading a bot of {MANY_FLOWS} flows, median (ms)");
    table::goal(&name, times[times.len() / 2].as_secs_f64() * 1e3, 300.0, false);
}

fn turns() {
    const ROUNDS: u32 = 20_000;
    let globals = Globals::load(&Files::new(), |_| {}).0;
    let bot = Bot::load("b", &in_memory(3), &globals).0;
    let host = MemoryHost::default();
    let mut memory = Memory::default();
    let started = Instant::now();
    for _ in 0..ROUNDS {
        memory = block_on(Turn::message(&bot, &host, memory, Incoming::text("u", "hello"))).trace.after;
    }
    table::figure("a turn with one reply", &format!("{:.1} µs", (started.elapsed() / ROUNDS).as_secs_f64() * 1e6));
}

/// Resident memory of a server with many bots.
async fn bots(args: &Args) -> Result<(), Error> {
    table::title(&format!("engine: a server with {BOTS} bots of {FLOWS} flows, {} nodes each", FLOWS * 10));
    let (data, v12) = (scratch(args)?, scratch(args)?);
    write_bots(v12.path()).map_err(|e| Error::Io("write the bots", e))?;
    child::init(data.path(), None).await?;
    let server = Server::duologue_with(data.path(), None, &["--v12-data", &v12.path().display().to_string()]).await?;
    table::figure("until /ready answers", &format!("{:.1} s", server.started_in.as_secs_f64()));
    table::goal("resident memory (GB)", server.resident() as f64 / 1e9, 1.5, false);
    println!();
    server.stop().await;
    Ok(())
}

fn write_bots(folder: &Path) -> std::io::Result<()> {
    let names: Vec<String> = (0..BOTS).map(|at| format!("bot-{at}")).collect();
    write_installation(folder, &names)?;
    let files = files(FLOWS);
    for name in &names {
        for (path, text) in &files {
            let path = folder.join("bots").join(name).join(path);
            fs::create_dir_all(path.parent().unwrap_or(folder))?;
            fs::write(path, text)?;
        }
    }
    Ok(())
}

// ---- scripts

/// A host that answers every call at once.
struct Nothing;

impl Calls for Nothing {
    async fn call(&mut self, _: &str, _: Vec<serde_json::Value>) -> Result<serde_json::Value, String> {
        Ok(serde_json::Value::Null)
    }
}

const MODULES: &str = "const _ = require('lodash'); const moment = require('moment'); \
                       temp.x = _.sum([1, 2]) + moment.utc('2026-01-01').year()";
const CALLS: &str =
    "const run = async () => { for (let i = 0; i < 5; i++) await bp.kvs.forBot('b').get('k') }; return run()";

/// Scripts in a worker: the whole way from the task and back, and how many a second.
async fn scripts(args: &Args) -> Result<(), Error> {
    table::title("engine: scripts in worker processes, one at a time, and 16 at a time");
    let program = std::env::current_exe().map_err(|e| Error::Io("find this program", e))?;
    let began = Instant::now();
    let pool = Pool::new(Config::new([program.as_os_str(), SCRIPT_WORKER.as_ref()]));
    let pool = Arc::new(pool.map_err(|error| Error::Unexpected(error.to_string()))?);
    table::figure("until workers are ready", &table::millis(began.elapsed()));
    for (name, kind, source) in [
        ("condition", Kind::Condition, "event.preview === 'Hello' && temp.n === 1"),
        ("action", Kind::Action, "temp.x = args.value"),
        ("action with a call of bp", Kind::Action, "return bp.events.replyToEvent(event, [{ text: 'a' }])"),
        ("action with five calls of bp", Kind::Action, CALLS),
        ("action with lodash and moment", Kind::Action, MODULES),
    ] {
        let (p50, p99) = one_by_one(&pool, &kind, source).await?;
        let per_second = many(&pool, &kind, source, Duration::from_secs(args.seconds.min(2))).await?;
        table::side(name, &crate::load::Figures { per_second, p50, p99 });
    }
    println!();
    Ok(())
}

async fn one_by_one(pool: &Pool, kind: &Kind, source: &str) -> Result<(Duration, Duration), Error> {
    const WARM: usize = 200;
    let mut times = Vec::new();
    for round in 0..WARM + 2_000 {
        let run = script(kind, source);
        let began = Instant::now();
        pool.run(run, &mut Nothing).await.map_err(|error| Error::Unexpected(error.to_string()))?;
        if round >= WARM {
            times.push(began.elapsed());
        }
    }
    times.sort();
    Ok((times[times.len() / 2], times[times.len() * 99 / 100]))
}

async fn many(pool: &Arc<Pool>, kind: &Kind, source: &'static str, time: Duration) -> Result<f64, Error> {
    let began = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (pool, kind) = (pool.clone(), kind.clone());
        running.spawn(async move {
            let mut count = 0_u32;
            while began.elapsed() < time {
                pool.run(script(&kind, source), &mut Nothing).await.map_err(|e| Error::Unexpected(e.to_string()))?;
                count += 1;
            }
            Ok::<u32, Error>(count)
        });
    }
    let mut count = 0;
    while let Some(done) = running.join_next().await {
        count += done.map_err(|error| Error::Unexpected(error.to_string()))??;
    }
    Ok(f64::from(count) / began.elapsed().as_secs_f64())
}

fn script(kind: &Kind, source: &str) -> Run {
    let mut run = Run::new(kind.clone(), "bot", "actions/bench.js", source);
    run.variables.insert("event".to_owned(), event());
    run.variables.insert("args".to_owned(), json!({"value": "given"}));
    run
}

/// An event of usual size.
fn event() -> serde_json::Value {
    let message = |n: i32| {
        json!({"eventId": n.to_string(), "incomingPreview": "a text of usual length", "replyConfidence": 1,
            "replyPreview": "#!builtin_text-abcdef"})
    };
    let messages: Vec<_> = (0..5).map(message).collect();
    json!({
        "id": "1", "type": "text", "channel": "api", "direction": "incoming", "target": "ada", "botId": "bot",
        "createdOn": "2026-01-02T03:04:05.678Z", "preview": "Hello", "payload": {"type": "text", "text": "Hello"},
        "flags": {}, "suggestions": [],
        "nlu": {"intent": {"name": "none", "confidence": 1}, "entities": [], "language": "en", "slots": {}},
        "state": {
            "user": {"name": "Ada", "language": "en"},
            "session": {"lastMessages": messages, "workflows": {}, "slots": {}},
            "temp": {"n": 1}, "bot": {}, "workflow": {},
            "context": {"currentNode": "entry", "currentFlow": "main.flow.json"},
        },
    })
}
