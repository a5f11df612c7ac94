//! Recorded conversations of the original, replayed on the engine itself.
//!
//! The recordings lie outside this repository: in the folder that `DUOLOGUE_GOLDEN` names, else in
//! `../shared/golden` beside the workspace. Where they are missing, the tests say so and pass.
//! What belongs to HTTP (status, login, `include`) is tested with the server.

#![allow(clippy::unwrap_used)] // Helpers of tests, too, fail by panicking.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use duologue_dialog::{
    Bot, Files, Globals, Incoming, Object, Outcome, Sdk, Settings, Value,
    host::{ErrorClass, HttpFailure, HttpRequest, HttpResponse, ScriptCall, ScriptKind, ScriptOutcome},
    testing::{Conversation, MemoryHost, Scripts},
};

fn golden() -> Option<PathBuf> {
    let folder = std::env::var_os("DUOLOGUE_GOLDEN")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/golden"), PathBuf::from);
    let folder = if folder.exists() {
        folder
    } else {
        // A checkout one level deeper than usual.
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/golden")
    };
    if folder.exists() {
        return Some(folder);
    }
    println!("passed over: there are no recordings at {}", folder.display());
    None
}

fn files(folder: &Path) -> Files {
    fn collect(folder: &Path, below: &str, files: &mut Files) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = format!("{below}{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                collect(&entry.path(), &format!("{name}/"), files);
            } else {
                files.insert(name, std::fs::read(entry.path()).unwrap().into());
            }
        }
    }
    let mut found = Files::new();
    collect(folder, "", &mut found);
    found
}

fn globals(golden: &Path, adjust: impl FnOnce(&mut Settings)) -> Arc<Globals> {
    let (globals, _) = Globals::load(&files(&golden.join("data/global")), |settings| {
        settings.external_url = "http://127.0.0.1:3901".into();
        adjust(settings);
    });
    globals
}

fn bot(golden: &Path, name: &str, globals: &Arc<Globals>) -> Bot {
    Bot::load(name, &files(&golden.join("data/bots").join(name)), globals).0
}

/// The recorded bots' scripts in Rust.
struct GoldenScripts;

fn suggestion(confidence: f64, text: &str) -> Object {
    let payload = Object::new().with("type", "text").with("text", text).with("typing", true);
    Object::new()
        .with("confidence", confidence)
        .with("payloads", vec![Value::from(payload)])
        .with("source", "golden")
        .with("sourceDetails", text)
}

fn intent(name: &str, confidence: f64) -> Value {
    Object::new().with("name", name).with("confidence", confidence).with("context", "global").into()
}

impl Scripts for GoldenScripts {
    async fn run<S: Sdk>(&self, call: ScriptCall<'_>, sdk: &mut S) -> Option<ScriptOutcome> {
        let text = call.event.str("preview").unwrap_or_default().to_owned();
        let mut event = call.event.clone();
        Some(match (call.kind, call.name) {
            (ScriptKind::Condition, "this is not js") => {
                ScriptOutcome::failed(ErrorClass::Syntax, "unexpected identifier")
            }
            (ScriptKind::Action, "thrower") => ScriptOutcome::failed(ErrorClass::Other, "thrown by action"),
            (ScriptKind::Action, "custom") => {
                let custom = Object::new()
                    .with("value", call.variables.get("args").unwrap().get("value").clone())
                    .with("preview", event.get("preview").clone())
                    .with("hasBp", "object")
                    .with("target", event.get("target").clone());
                let payloads = Value::parse(
                    r#"[{"type":"custom","module":"golden","component":"X","foo":1},
                        {"type":"typing","value":true},{"text":"no type given"}]"#,
                );
                event.make_object().object_mut("state").object_mut("temp").set("custom", custom);
                sdk.call("events.replyToEvent", vec![event.clone(), payloads.unwrap()]).await.unwrap();
                let args = Object::new().with("text", "rendered in action").with("typing", true);
                let rendered = vec!["builtin_text".into(), args.into(), event.clone()];
                let elements = sdk.call("cms.renderElement", rendered).await.unwrap();
                sdk.call("events.replyToEvent", vec![event.clone(), elements]).await.unwrap();
                ScriptOutcome::changed(event)
            }
            (ScriptKind::Hook(_), "suggest") if call.path.contains("before_incoming") => {
                let members = event.as_object_mut().unwrap();
                match text.as_str() {
                    "suggest" => {
                        let list = [(0.9, "suggestion A"), (0.6, "suggestion B"), (0.2, "suggestion C")];
                        let list = list.map(|(confidence, text)| Value::from(suggestion(confidence, text)));
                        members.set("suggestions", list.to_vec());
                    }
                    "setnlu" => members.object_mut("nlu").set("intent", intent("travel", 0.87)),
                    text if text.starts_with("qna") => {
                        let asked = format!("__qna__{}", text.get(4..).unwrap_or_default());
                        members
                            .object_mut("nlu")
                            .set("intents", vec![intent(&asked, 0.8), intent("__qna__hours", 0.6)]);
                    }
                    "skip" => members.object_mut("flags").set("SKIP_DIALOG_ENGINE", true),
                    _ => return Some(ScriptOutcome::value(Value::Undefined)),
                }
                ScriptOutcome::changed(event)
            }
            (ScriptKind::Hook(_), "suggest") => {
                let mut suggestions = call.variables.get("suggestions").unwrap().clone();
                if text != "hook-elect" {
                    return Some(ScriptOutcome::value(Value::Undefined));
                }
                if let Value::Array(list) = &mut suggestions {
                    let decision = Object::new().with("status", "elected").with("reason", "forced by hook");
                    list.push(suggestion(0.9, "elected by hook").with("decision", decision).into());
                }
                ScriptOutcome { suggestions: Some(suggestions), ..ScriptOutcome::value(Value::Undefined) }
            }
            _ => return None,
        })
    }
}

/// The service that the recorded bots call.
fn network(request: &HttpRequest) -> Result<HttpResponse, HttpFailure> {
    let path = request.url.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
    if request.url.starts_with("http://127.0.0.1:1/") {
        return Err(HttpFailure { code: "ECONNREFUSED".to_owned(), message: String::new() });
    }
    let answer = |status, body: &str| Ok(HttpResponse { status, body: body.to_owned() });
    match path.split('?').next().unwrap_or_default() {
        // A client follows the redirect.
        "ok" | "redirect" => answer(200, r#"{"hello":"world","n":42,"list":[{"a":1},{"a":2}]}"#),
        "created" => answer(201, r#"{"id":7}"#),
        "text" => answer(200, "plain text body"),
        "empty" => answer(204, ""),
        "fail" => answer(500, r#"{"error":"boom"}"#),
        "notfound" => answer(404, r#"{"error":"nope"}"#),
        "badjson" => answer(200, "{not json"),
        "slow" => answer(200, r#"{"slow":true}"#),
        "echo" => {
            let mut headers = Object::new();
            for (name, value) in &request.headers {
                headers.set(name.to_lowercase(), value.as_str());
            }
            if let Some(body) = &request.body {
                headers.set("content-length", body.len().to_string());
            }
            let echo = Object::new()
                .with("method", request.method.as_str())
                .with("path", format!("/{path}"))
                .with("headers", headers)
                .with("body", request.body.as_deref().unwrap_or_default());
            answer(200, &Value::from(echo).to_json())
        }
        _ => Err(HttpFailure { code: "ECONNREFUSED".to_owned(), message: request.url.clone() }),
    }
}

/// Members whose values differ from run to run.
fn without_volatile(value: &Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.iter().map(without_volatile).collect()),
        Value::Object(object) => {
            let volatile = ["eventId", "replyDate", "timestamp"];
            let members = object.iter().filter(|(_, value)| !value.is_undefined());
            members
                .map(|(name, value)| {
                    let value = if volatile.contains(&&**name) { "*".into() } else { without_volatile(value) };
                    (name.clone(), value)
                })
                .collect::<Object>()
                .into()
        }
        other => other.clone(),
    }
}

fn recording(golden: &Path, name: &str) -> Vec<Value> {
    let folder = std::fs::read_dir(golden.join("recordings")).unwrap();
    let file = folder.flatten().find(|entry| entry.file_name().to_string_lossy().starts_with(name)).unwrap();
    let text = std::fs::read_to_string(file.path()).unwrap();
    Value::parse(&text).unwrap().get("steps").as_array().unwrap().to_vec()
}

struct Asked {
    bot: String,
    user: String,
    include: String,
    incoming: Incoming,
}

fn asked(step: &Value) -> Option<Asked> {
    let path = step.at(&["request"]).str("path")?;
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let parts: Vec<&str> = path.split('/').collect();
    let ["", "api", "v1", "bots", bot, "converse", user, ..] = parts[..] else { return None };
    let mut body = Value::parse(step.at(&["request"]).str("body")?).ok()?;
    let contexts = body.as_object_mut()?.remove("includedContexts").unwrap_or_default();
    let mut incoming = Incoming::payload(user, body);
    incoming.included_contexts = contexts;
    let include = query.strip_prefix("include=").unwrap_or_default().to_owned();
    Some(Asked { bot: bot.to_owned(), user: user.to_owned(), include, incoming })
}

/// Replays a recording on the engine. `expected` may replace what a step has to answer, by its number.
fn replay(name: &str, adjust: impl FnOnce(&mut Settings), stored: &[(&str, &str)], differs: &[(usize, &str)]) {
    let Some(golden) = golden() else { return };
    let globals = globals(&golden, adjust);
    let host = MemoryHost::new(GoldenScripts).with_network(network);
    for (bot, variables) in stored {
        let scope = duologue_dialog::host::KvsScope::Bot((*bot).to_owned());
        let mut follow_ups = duologue_dialog::FollowUps::default();
        let value = Value::parse(variables).unwrap();
        let write = duologue_dialog::KvsWrite::Set { scope, key: "global".to_owned(), value, expires_in: None };
        follow_ups.kvs.push(write);
        host.apply(&follow_ups);
    }
    let mut bots: BTreeMap<String, Bot> = BTreeMap::new();
    let mut memories = BTreeMap::new();
    for (at, step) in recording(&golden, name).iter().enumerate() {
        let Some(asked) = asked(step) else { continue };
        if *step.at(&["response", "status"]) != Value::Number(200.0) {
            continue;
        }
        let bot = &*bots.entry(asked.bot.clone()).or_insert_with(|| bot(&golden, &asked.bot, &globals));
        let mut conversation = Conversation::new(bot, &host, &asked.user);
        if let Some(memory) = memories.remove(&(asked.bot.clone(), asked.user.clone())) {
            conversation.memory = memory;
        }
        let outcome = conversation.send(asked.incoming.clone());
        memories.insert((asked.bot.clone(), asked.user.clone()), conversation.memory);
        check_replay(bot, &outcome);
        let expected = match differs.iter().find(|(step, _)| *step == at) {
            Some((_, expected)) => Value::parse(expected).unwrap(),
            None => step.at(&["response", "json"]).clone(),
        };
        let body = body_of(&outcome, &asked.include);
        let expected_members = expected.as_object().unwrap();
        for (member, expected) in expected_members.iter() {
            let actual = without_volatile(body.get(member)).to_json();
            let expected = without_volatile(expected).to_json();
            assert_eq!(actual, expected, "{name}, step {at} ({}): {member}", asked.incoming.payload);
        }
    }
}

fn body_of(outcome: &Outcome, include: &str) -> Value {
    let mut body = Object::new();
    body.set("responses", Value::Array(outcome.replies.iter().map(|reply| reply.payload.clone()).collect()));
    for name in include.to_lowercase().split(',') {
        match name {
            "nlu" => body.set("nlu", outcome.nlu().clone()),
            "suggestions" => body.set("suggestions", outcome.suggestions().clone()),
            "state" => body.set("state", outcome.state().clone()),
            "decision" => body.set("decision", outcome.decision()),
            _ => {}
        }
    }
    body.into()
}

/// The turn, done again from its trace, is the same.
fn check_replay(bot: &Bot, outcome: &Outcome) {
    let text = serde_json::to_string(&outcome.trace).unwrap();
    let trace: duologue_dialog::Trace = serde_json::from_str(&text).unwrap();
    let host = duologue_dialog::Replay::new(&trace.effects);
    let again = duologue_dialog::testing::block_on(duologue_dialog::Turn::again(bot, &host, &trace));
    assert_eq!(serde_json::to_string(&again.trace).unwrap(), text);
    assert!(host.is_used_up());
}

const STORED: &[(&str, &str)] = &[("golden", r#"{"b":"botval"}"#)];

#[test]
fn first_contact() {
    replay("01", |_| {}, &[], &[]);
}

#[test]
fn multi_turn_form() {
    replay("02", |_| {}, &[], &[]);
}

#[test]
fn choice_skill() {
    // As recorded, numbers aren't understood; that they are by default is tested with the skills.
    replay("03", |settings| settings.number_answers = false, &[], &[]);
}

#[test]
fn call_api_success() {
    replay("05", |_| {}, &[], &[]);
}

#[test]
fn call_api_failure() {
    replay("06", |_| {}, &[], &[]);
}

#[test]
fn content_types() {
    replay("08", |_| {}, &[], &[]);
}

#[test]
fn text_variants() {
    replay("09", |_| {}, &[], &[]);
}

#[test]
fn templating() {
    // Text of the user isn't evaluated: it comes back as it was written, escaped where tags escape.
    let said = |text: &str, raw: &str| {
        format!(
            r#"{{"responses":[{{"type":"text","workflow":{{}},"text":"esc={text} raw={raw} prev={text} user= sess= temp= bot= missing=[] ch=api tgt=tpl no-nick","typing":true}}]}}"#
        )
    };
    let target = said("tpl {{event.target}}", "tpl {{event.target}}");
    let bot_id = said("tpl {{{event.botId}}} {{nothing}}", "tpl {{{event.botId}}} {{nothing}}");
    replay("10", |_| {}, &[], &[(2, &target), (3, &bot_id)]);
}

#[test]
fn slot_skill() {
    replay("13", |_| {}, STORED, &[]);
}

#[test]
fn error_flow() {
    replay("14", |_| {}, STORED, &[]);
}

#[test]
fn endings() {
    replay("17", |_| {}, STORED, &[]);
}

#[test]
fn include() {
    replay("18", |_| {}, STORED, &[]);
}

#[test]
fn bodies() {
    replay("22", |_| {}, STORED, &[]);
}

#[test]
fn bot_states() {
    replay("24", |_| {}, STORED, &[]);
}

#[test]
fn user_ids() {
    replay("25", |_| {}, STORED, &[]);
}

#[test]
fn magic_words() {
    replay("27", |_| {}, STORED, &[]);
}

#[test]
fn nlu_contexts() {
    replay("35", |_| {}, STORED, &[]);
}

#[test]
fn qna() {
    replay("36", |_| {}, STORED, &[]);
}

/// Errors on which the original stayed stuck go to the error flow, and the conversation begins anew.
#[test]
fn engine_errors_do_not_stick() {
    let Some(golden) = golden() else { return };
    let globals = globals(&golden, |_| {});
    let bot = bot(&golden, "golden", &globals);
    let host = MemoryHost::new(GoldenScripts);
    let mut seen = 0;
    for step in recording(&golden, "15") {
        let Some(asked) = asked(&step) else { continue };
        let kind = asked.user.strip_prefix("stuck-").unwrap();
        if asked.incoming.payload.str("text") != Some(kind) || kind == "typeerr" {
            continue;
        }
        let mut conversation = Conversation::new(&bot, &host, &asked.user);
        conversation.say("hi");
        let outcome = conversation.say(kind);
        // What was said before the error is as recorded.
        let said = duologue_dialog::testing::texts(&outcome);
        let recorded = step.at(&["response", "json", "responses"]).as_array().unwrap();
        let recorded: Vec<_> = recorded.iter().map(|payload| payload.str("text").unwrap()).collect();
        assert_eq!(said[..recorded.len()], recorded, "{kind}");
        assert_eq!(said[recorded.len()..], ["Oops, an error flow answer.", "conversation_end flow ran"], "{kind}");
        assert_eq!(outcome.state().get("context").to_json(), "{}");
        assert_eq!(duologue_dialog::testing::texts(&conversation.say("ping")), ["Welcome to golden bot."]);
        check_replay(&bot, &outcome);
        seen += 1;
    }
    assert_eq!(seen, 6);
}

#[test]
fn session_timeouts() {
    let Some(golden) = golden() else { return };
    let globals = globals(&golden, |_| {});
    for name in ["golden-timeout", "golden-timeout-noflow"] {
        let bot = bot(&golden, name, &globals);
        let host = MemoryHost::new(GoldenScripts);
        let mut conversation = Conversation::new(&bot, &host, "to");
        for step in recording(&golden, "29") {
            let Some(asked) = asked(&step).filter(|asked| asked.bot == name) else { continue };
            let text = asked.incoming.payload.str("text").unwrap();
            let mut said = Vec::new();
            if text.starts_with("after") {
                let outcome = conversation.time_out();
                assert!(!outcome.is_open());
                check_replay(&bot, &outcome);
                said.extend(outcome.replies);
            }
            // Sessions expire in the store. After 12.5 s it depends on when the timeout renewed them: between
            // 12 and 13 s.
            if text.contains("25 s") || (text.contains("12.5 s") && name == "golden-timeout") {
                conversation.memory.session = Value::object();
            }
            let outcome = conversation.say(text);
            said.extend(outcome.replies.iter().cloned());
            let said = Value::Array(said.into_iter().map(|reply| reply.payload).collect());
            assert_eq!(said.to_json(), step.at(&["response", "json", "responses"]).to_json(), "{name}: {text}");
            let expected = without_volatile(step.at(&["response", "json", "state"]));
            assert_eq!(without_volatile(outcome.state()).to_json(), expected.to_json(), "{name}: {text}");
        }
        assert_eq!(bot.config.context_timeout, 3_000);
    }
}

/// Entities of lists and patterns are those that the original's NLU found.
#[test]
fn entities() {
    let Some(golden) = golden() else { return };
    let (globals, _) = Globals::load(&files(&golden.join("nlu/data/global")), |_| {});
    let bot = Bot::load("golden-nlu", &files(&golden.join("nlu/data/bots/golden-nlu")), &globals).0;
    let host = MemoryHost::new(GoldenScripts);
    let mut found = 0;
    for name in ["nlu-01-intents.json", "nlu-02-qna.json", "nlu-03-events-without-text.json"] {
        let text = std::fs::read_to_string(golden.join("nlu/recordings").join(name)).unwrap();
        for step in Value::parse(&text).unwrap().get("steps").as_array().unwrap() {
            let Some(asked) = asked(step) else { continue };
            let expected = step.at(&["response", "json", "nlu", "entities"]).as_array().unwrap_or_default();
            let sort = |entities: &[Value]| {
                let mut texts: Vec<String> = entities.iter().map(Value::to_json).collect();
                texts.retain(|text| text.contains("\"custom."));
                texts.sort();
                texts
            };
            let outcome = Conversation::new(&bot, &host, "u").send(asked.incoming.clone());
            let actual = outcome.nlu().get("entities").as_array().unwrap().to_vec();
            assert_eq!(sort(&actual), sort(expected), "{name}: {}", asked.incoming.payload);
            found += expected.len();
        }
    }
    assert!(found > 0);
}
