//! The sandbox as the server uses it: a pool over real worker processes.

#![allow(clippy::unwrap_used)]

mod conditions;
mod escapes;
mod modules;
mod packages;
mod pool;
mod scripts;
mod sdk;

use std::sync::Arc;
use std::time::Duration;

use duologue_sandbox::{Calls, Config, Done, Files, Kind, NoCalls, Pool, Run, ScriptError};
use serde_json::{Map, Value, json};

pub fn config(workers: usize) -> Config {
    let mut config = Config::new([env!("CARGO_BIN_EXE_script-worker")]);
    config.workers = workers;
    config.max_workers = workers * 4;
    config.per_owner = workers * 4;
    config.time_zone = Some("UTC".to_owned());
    config.patience = Duration::from_secs(60);
    config
}

pub fn pool() -> Pool {
    Pool::new(config(1)).unwrap()
}

pub fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("not an object: {other}"),
    }
}

/// An event with some state.
pub fn event() -> Value {
    json!({
        "id": "1", "type": "text", "channel": "api", "direction": "incoming", "target": "ada", "botId": "bot",
        "createdOn": "2026-01-02T03:04:05.678Z", "preview": "Hello", "payload": {"type": "text", "text": "Hello"},
        "flags": {}, "suggestions": [], "nlu": {"intent": {"name": "none"}},
        "state": {"user": {"name": "Ada"}, "session": {"lastMessages": []}, "temp": {"n": 1}, "bot": {}, "workflow": {}, "context": {}}
    })
}

pub fn action(source: &str) -> Run {
    let mut run = Run::new(Kind::Action, "bot", "actions/test.js", source);
    run.variables = object(json!({"event": event(), "args": {"value": "given"}}));
    run
}

pub async fn done(pool: &Pool, run: Run) -> Done {
    pool.run(run, &mut NoCalls).await.unwrap()
}

pub async fn failed(pool: &Pool, run: Run) -> ScriptError {
    pool.run(run, &mut NoCalls).await.unwrap_err()
}

/// What the body of an action returns.
pub async fn returns(pool: &Pool, source: &str) -> Value {
    match pool.run(action(source), &mut NoCalls).await {
        Ok(done) => done.result,
        Err(error) => panic!("{source}\n{error}\n{}", error.stack.as_deref().unwrap_or_default()),
    }
}

pub fn files(list: &[(&str, &str)]) -> Arc<Files> {
    Files::new(list.iter().copied())
}

/// Records calls and answers them with a function.
pub struct Host<F> {
    pub calls: Vec<(String, Vec<Value>)>,
    pub answer: F,
}

impl<F: FnMut(&str, &[Value]) -> Result<Value, String> + Send> Calls for Host<F> {
    async fn call(&mut self, method: &str, args: Vec<Value>) -> Result<Value, String> {
        let answer = (self.answer)(method, &args);
        self.calls.push((method.to_owned(), args));
        answer
    }
}

pub fn host<F: FnMut(&str, &[Value]) -> Result<Value, String> + Send>(answer: F) -> Host<F> {
    Host { calls: Vec::new(), answer }
}
