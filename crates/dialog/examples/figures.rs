//! Prints how fast the engine is: `cargo run --release -p duologue-dialog --example figures`.

use std::{hint::black_box, time::Instant};

use duologue_dialog::{
    Bot, Files, Globals, Incoming, Memory, Object, Turn, Value,
    condition::{Condition, Variables},
    testing::{MemoryHost, block_on},
};

fn main() {
    conditions();
    loading();
    turns();
    memory();
}

fn conditions() {
    let event = Value::parse(
        r#"{"preview":"Hello there","payload":{"text":"ping"},"nlu":{"intent":{"name":"travel"}},"type":"text","state":{}}"#,
    )
    .unwrap_or_default();
    let temp =
        Value::parse(r#"{"response":{"status":200},"valid":"true","skill-choice-ret-x":"red"}"#).unwrap_or_default();
    let none = Value::object();
    let variables = Variables { event: &event, user: &none, session: &none, temp: &temp, bot: &none };
    for text in [
        "event.nlu.intent.name === 'travel'",
        "temp.response.status === 200",
        "temp['skill-choice-ret-x'] == \"red\"",
        "session.slots['x'] && (temp.valid === undefined || temp.valid == \"true\")",
        "event.preview.toLowerCase() === 'hello there'",
        "/^h\\w+ there$/i.test(event.preview)",
    ] {
        let Condition::Native(condition) = Condition::compile(text) else {
            println!("{text}: not native");
            continue;
        };
        let rounds = 200_000;
        let started = Instant::now();
        for _ in 0..rounds {
            black_box(black_box(&condition).evaluate(black_box(variables)));
        }
        println!("{:>8.0} ns  {text}", started.elapsed().as_nanos() as f64 / f64::from(rounds));
    }
}

/// A bot of so many flows of ten nodes.
fn files(flows: usize) -> Files {
    let mut files = Files::new();
    files.insert("bot.config.json".into(), r#"{"defaultLanguage":"en"}"#.into());
    let mut elements = Vec::new();
    for flow in 0..flows {
        let name = if flow == 0 { "main".to_owned() } else { format!("f{flow}") };
        let nodes: Vec<Value> = (0..10)
            .map(|node| {
                let id = format!("builtin_text-{flow}-{node}");
                let form = Object::new()
                    .with("text$en", format!("Hello {{{{user.name}}}} from {flow}, {node}"))
                    .with("typing$en", true);
                elements.push(Value::from(Object::new().with("id", id.as_str()).with("formData", form)));
                let next = format!(
                    r#"[{{"condition":"event.nlu.intent.name === 'i{flow}-{node}'","node":"n0"}},
                        {{"condition":"true","node":"n{}"}}]"#,
                    (node + 1) % 10
                );
                Object::new()
                    .with("id", format!("{flow:04}{node:02}"))
                    .with("name", format!("n{node}"))
                    .with("onEnter", vec![format!("say #!{id}")])
                    .with("onReceive", Value::Array(Vec::new()))
                    .with("next", Value::parse(&next).unwrap_or_default())
                    .into()
            })
            .collect();
        let file = Object::new().with("version", "0.0.1").with("startNode", "n0").with("nodes", nodes);
        files.insert(format!("flows/{name}.flow.json"), Value::from(file).to_json().into());
    }
    files.insert("content-elements/builtin_text.json".into(), Value::Array(elements).to_json().into());
    files
}

fn loading() {
    let globals = Globals::load(&Files::new(), |_| {}).0;
    let files = files(200);
    let started = Instant::now();
    let (bot, report) = Bot::load("big", &files, &globals);
    println!(
        "{:>8.1} ms  a bot of {} flows ({} warnings)",
        started.elapsed().as_secs_f64() * 1e3,
        bot.flows().len(),
        report.warnings.len()
    );
}

fn turns() {
    let globals = Globals::load(&Files::new(), |_| {}).0;
    let bot = Bot::load("b", &files(3), &globals).0;
    let host = MemoryHost::default();
    let mut memory = Memory::default();
    let rounds = 20_000;
    let started = Instant::now();
    for _ in 0..rounds {
        memory = block_on(Turn::message(&bot, &host, memory, Incoming::text("u", "hello"))).trace.after;
    }
    println!("{:>8.2} µs  a turn with one reply", started.elapsed().as_micros() as f64 / f64::from(rounds));
}

/// Resident memory in MiB, where the system tells.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    status.split(' ').nth(1).and_then(|pages| pages.parse::<f64>().ok()).unwrap_or(0.0) * 4096.0 / f64::from(1 << 20)
}

fn memory() {
    let globals = Globals::load(&Files::new(), |_| {}).0;
    let files = files(40);
    let before = resident();
    let bots: Vec<Bot> = (0..1000).map(|at| Bot::load(&format!("b{at}"), &files, &globals).0).collect();
    println!("{:>8.0} MiB for {} bots of 40 flows, 400 elements", resident() - before, bots.len());
}
