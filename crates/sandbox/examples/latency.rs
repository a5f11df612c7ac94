//! How long runs take: `cargo run --release -p duologue-sandbox --example latency`.
//!
//! Prints median and 99th percentile of the whole way of a run, from the task through a worker and
//! back, one run at a time, and the rate with several runs at one time.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use duologue_sandbox::{Calls, Config, Files, Kind, Pool, Run, worker_main};
use serde_json::{Map, Value, json};

struct Null;

impl Calls for Null {
    async fn call(&mut self, _: &str, _: Vec<Value>) -> Result<Value, String> {
        Ok(Value::Null)
    }
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("script-worker") {
        return worker_main();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.to_string()),
    };
    match runtime.block_on(measure()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &str) -> ExitCode {
    eprintln!("{error}");
    ExitCode::FAILURE
}

async fn measure() -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let began = Instant::now();
    let pool =
        Pool::new(Config::new([program.as_os_str(), "script-worker".as_ref()])).map_err(|error| error.to_string())?;
    println!("{:<52} {:>12.1?}", "first worker ready", began.elapsed());
    let pool = Arc::new(pool);
    let modules = "const _ = require('lodash'); const moment = require('moment'); temp.x = _.sum([1, 2]) + moment.utc('2026-01-01').year()";
    let calls =
        "const run = async () => { for (let i = 0; i < 5; i++) await bp.kvs.forBot('b').get('k') }; return run()";
    let cases = [
        ("condition, pure", Kind::Condition, "event.preview === 'Hello' && temp.n === 1"),
        ("condition with a call", Kind::Condition, "event.preview.toLowerCase() === 'hello'"),
        ("action, plain", Kind::Action, "temp.x = args.value"),
        ("action, async, with bp and one call", Kind::Action, "return bp.events.replyToEvent(event, [{ text: 'a' }])"),
        ("action with five calls", Kind::Action, calls),
        ("action with lodash and moment", Kind::Action, modules),
    ];
    for (name, kind, source) in cases {
        one_by_one(&pool, name, &kind, source).await?;
        many(&pool, &kind, source).await?;
    }
    Ok(())
}

async fn one_by_one(pool: &Pool, name: &str, kind: &Kind, source: &str) -> Result<(), String> {
    let mut times = Vec::new();
    for round in 0..2200 {
        let run = run(kind, source);
        let began = Instant::now();
        pool.run(run, &mut Null).await.map_err(|error| error.to_string())?;
        if round >= 200 {
            times.push(began.elapsed());
        }
    }
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    print!("{name:<40} p50 {:>9.1?}  p99 {:>9.1?}", at(0.5), at(0.99));
    Ok(())
}

async fn many(pool: &Arc<Pool>, kind: &Kind, source: &'static str) -> Result<(), String> {
    let end = Instant::now() + Duration::from_secs(2);
    let began = Instant::now();
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let (pool, kind) = (pool.clone(), kind.clone());
            tokio::spawn(async move {
                let mut count = 0;
                while Instant::now() < end {
                    pool.run(run(&kind, source), &mut Null).await.map_err(|error| error.to_string())?;
                    count += 1;
                }
                Ok::<u32, String>(count)
            })
        })
        .collect();
    let mut count = 0;
    for task in tasks {
        count += task.await.map_err(|error| error.to_string())??;
    }
    println!("  {:>8.0} runs/s at 16", f64::from(count) / began.elapsed().as_secs_f64());
    Ok(())
}

fn run(kind: &Kind, source: &str) -> Run {
    let mut run = Run::new(kind.clone(), "bot", "actions/bench.js", source);
    run.files = Files::none();
    let mut variables = Map::new();
    variables.insert("event".to_owned(), event());
    variables.insert("args".to_owned(), json!({"value": "given"}));
    run.variables = variables;
    run
}

fn event() -> Value {
    let messages: Vec<_> = (0..5).map(|n| json!({"eventId": n.to_string(), "incomingPreview": "a text of usual length", "replyConfidence": 1, "replyPreview": "#!builtin_text-abcdef"})).collect();
    json!({
        "id": "1", "type": "text", "channel": "api", "direction": "incoming", "target": "ada", "botId": "bot",
        "createdOn": "2026-01-02T03:04:05.678Z", "preview": "Hello", "payload": {"type": "text", "text": "Hello"},
        "flags": {}, "suggestions": [], "nlu": {"intent": {"name": "none", "confidence": 1}, "entities": [], "language": "en", "slots": {}},
        "state": {"user": {"name": "Ada", "language": "en"}, "session": {"lastMessages": messages, "workflows": {}, "slots": {}},
                  "temp": {"n": 1}, "bot": {}, "workflow": {}, "context": {"currentNode": "entry", "currentFlow": "main.flow.json"}}
    })
}
