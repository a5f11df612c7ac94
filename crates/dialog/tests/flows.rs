//! Turns of small bots written for the purpose: what no recording shows.

#![allow(clippy::unwrap_used)] // Helpers of tests, too, fail by panicking.

use std::sync::Arc;

use duologue_dialog::{
    Bot, Files, Globals, Incoming, KvsWrite, Memory, Object, Replay, Report, Sdk, Turn, Value,
    host::{ErrorClass, HttpFailure, HttpRequest, HttpResponse, KvsScope, ScriptCall, ScriptKind, ScriptOutcome},
    skills::{self, Skill},
    testing::{Conversation, MemoryHost, NoScripts, Scripts, block_on, texts},
    trace::{FailureKind, Step},
};

/// A flow's file from its nodes; the first is the start.
fn flow(nodes: &[Value]) -> Value {
    Object::new()
        .with("version", "0.0.1")
        .with("startNode", nodes[0].get("name").clone())
        .with("nodes", nodes.to_vec())
        .into()
}

fn node(name: &str, on_enter: &[&str], on_receive: Option<&[&str]>, next: &[(&str, &str)]) -> Value {
    let next = next.iter().map(|(condition, to)| Object::new().with("condition", *condition).with("node", *to).into());
    Object::new()
        .with("id", format!("id-{name}"))
        .with("name", name)
        .with("onEnter", on_enter.to_vec())
        .with("onReceive", on_receive.map_or(Value::Null, |list| list.to_vec().into()))
        .with("next", Value::Array(next.collect()))
        .into()
}

/// `say` of an inline text.
fn say(text: &str) -> String {
    format!("say #builtin_text {}", Value::from(Object::new().with("text", text)))
}

struct Builder {
    files: Files,
    globals: Files,
}

impl Builder {
    fn new() -> Builder {
        let mut files = Files::new();
        files.insert("bot.config.json".into(), r#"{"id":"b","defaultLanguage":"en","languages":["en","fr"]}"#.into());
        Builder { files, globals: Files::new() }
    }

    fn file(mut self, path: &str, content: impl ToString) -> Builder {
        self.files.insert(path.to_owned(), content.to_string().into());
        self
    }

    fn flow(self, name: &str, nodes: &[Value]) -> Builder {
        let content = flow(nodes);
        self.file(&format!("flows/{name}.flow.json"), content)
    }

    fn skill(self, skill: &Skill) -> Builder {
        self.file(&format!("flows/{}", skill.flow_name), &skill.flow)
    }

    fn global(mut self, path: &str, content: impl ToString) -> Builder {
        self.globals.insert(path.to_owned(), content.to_string().into());
        self
    }

    fn globals(&self) -> Arc<Globals> {
        Globals::load(&self.globals, |_| {}).0
    }

    fn load(&self) -> (Bot, Report) {
        Bot::load("b", &self.files, &self.globals())
    }

    fn bot(&self) -> Bot {
        let (bot, report) = self.load();
        assert_eq!(report.skipped, []);
        bot
    }
}

fn error_flow(builder: Builder) -> Builder {
    builder.flow("error", &[node("entry", &[&say("oops")], None, &[])])
}

fn failures(outcome: &duologue_dialog::Outcome) -> Vec<FailureKind> {
    let kind = |step: &Step| match step {
        Step::Error { kind, .. } => Some(*kind),
        _ => None,
    };
    outcome.trace.steps.iter().filter_map(kind).collect()
}

#[test]
fn the_worked_example() {
    let main = Value::parse(
        r##"{"version":"0.0.1","startNode":"entry",
        "catchAll":{"onReceive":["builtin/appendContext {\"contexts\":\"help\",\"ttl\":\"2\"}"],
                    "next":[{"condition":"event.nlu.intent.name === 'cancel'","node":"bye"}]},
        "nodes":[
         {"id":"7f3a","name":"entry","type":"standard","onEnter":["say #builtin_text {\"text\":\"where?\"}"],"onReceive":null,
          "next":[{"condition":"true","node":"ask"}]},
         {"id":"51c0","name":"ask","onEnter":[],
          "onReceive":["builtin/setVariable {\"type\":\"temp\",\"name\":\"city\",\"value\":\"{{event.preview}}\"}"],
          "next":[{"condition":"temp.city === 'Oslo'","node":"norway.flow.json"},{"condition":"true","node":"END"}]},
         {"id":"bye0","name":"bye","next":[]}]}"##,
    );
    let norway = [node("n1", &[], Some(&[]), &[("true", "#")])];
    let bot = Builder::new().file("flows/main.flow.json", main.unwrap()).flow("norway", &norway).bot();
    let host = MemoryHost::default();
    let mut user = Conversation::new(&bot, &host, "u");
    assert_eq!(texts(&user.say("hi")), ["where?"]);
    assert_eq!(
        user.memory.context.to_json(),
        r#"{"currentNode":"ask","currentFlow":"main.flow.json","queue":{"instructions":[{"type":"on-receive","fn":"builtin/appendContext {\"contexts\":\"help\",\"ttl\":\"2\"}"},{"type":"on-receive","fn":"builtin/setVariable {\"type\":\"temp\",\"name\":\"city\",\"value\":\"{{event.preview}}\"}"},{"type":"transition","fn":"event.nlu.intent.name === 'cancel'","node":"bye"},{"type":"transition","fn":"temp.city === 'Oslo'","node":"norway.flow.json"},{"type":"transition","fn":"true","node":"END"}]},"previousNode":"entry"}"#
    );
    let there = r##"{"currentFlow":"norway.flow.json","currentNode":"n1","previousFlow":"main.flow.json","previousNode":"ask","jumpPoints":[{"flow":"main.flow.json","node":"ask"}],"queue":{"instructions":[{"type":"transition","fn":"true","node":"#"}]}}"##;
    user.say("Oslo");
    assert_eq!(user.memory.context.to_json(), there);
    // The caller's transitions are tried again, and the one that led away still holds.
    user.say("x");
    assert_eq!(user.memory.context.to_json(), there);
}

#[test]
fn loops_are_cut_at_the_third_visit() {
    let nodes = [node("a", &[&say("a")], None, &[("true", "b")]), node("b", &[&say("b")], None, &[("true", "a")])];
    let bot = error_flow(Builder::new()).flow("main", &nodes).bot();
    let host = MemoryHost::default();
    let mut user = Conversation::new(&bot, &host, "u");
    let outcome = user.say("hi");
    assert_eq!(texts(&outcome), ["a", "b", "a", "b", "a"]);
    assert!(!outcome.is_open());
    assert_eq!(texts(&user.say("again")).len(), 5);
}

#[test]
fn a_skill_that_calls_itself_ends() {
    let inner =
        Value::parse(r#"{"id":"s","type":"skill-call","name":"in","flow":"skills/x.flow.json","next":[]}"#).unwrap();
    let bot = Builder::new().flow("main", std::slice::from_ref(&inner)).flow("skills/x", &[inner]).bot();
    let host = MemoryHost::default();
    let outcome = Conversation::new(&bot, &host, "u").say("hi");
    assert!(!outcome.is_open());
}

#[test]
fn a_return_without_a_caller_ends_the_conversation() {
    let nodes = [node("a", &[&say("a")], Some(&[]), &[("true", "#")])];
    let bot = Builder::new().flow("main", &nodes).bot();
    let host = MemoryHost::default();
    let mut user = Conversation::new(&bot, &host, "u");
    user.say("hi");
    let outcome = user.say("there");
    assert!(texts(&outcome).is_empty() && !outcome.is_open());
    assert_eq!(texts(&user.say("again")), ["a"]);
}

#[test]
fn engine_errors_without_an_error_flow_reset() {
    for broken in ["say #!missing-1", "say #builtin_text {", "say #builtin_text {\"text\":\"{{#a}}\"}", "custom {x}"] {
        let nodes = [
            node("a", &[&say("hello")], Some(&[]), &[("true", "b")]),
            node("b", &[&say("before"), broken, &say("after")], None, &[]),
        ];
        let bot = Builder::new().flow("main", &nodes).bot();
        let host = MemoryHost::default();
        let mut user = Conversation::new(&bot, &host, "u");
        user.say("hi");
        let outcome = user.say("go");
        assert_eq!(texts(&outcome), ["before"], "{broken}");
        assert_eq!(failures(&outcome)[0], FailureKind::Engine);
        assert!(!outcome.is_open());
        assert_eq!(texts(&user.say("hi")), ["hello"]);
    }
}

#[test]
fn an_error_in_the_error_flow_ends_it() {
    let bot = Builder::new()
        .flow("main", &[node("a", &["say #!missing-1"], None, &[])])
        .flow("error", &[node("entry", &[&say("oops"), "say #!missing-2"], None, &[])])
        .bot();
    let host = MemoryHost::default();
    let outcome = Conversation::new(&bot, &host, "u").say("hi");
    assert_eq!(texts(&outcome), ["oops"]);
    assert!(!outcome.is_open());
}

#[test]
fn a_position_that_is_gone_goes_to_the_error_flow_or_is_given_up() {
    let main = [node("a", &[&say("hello")], Some(&[]), &[])];
    let lost = Memory {
        context: Value::parse(r#"{"currentFlow":"old.flow.json","currentNode":"x"}"#).unwrap(),
        ..Memory::default()
    };
    let host = MemoryHost::default();
    let with = error_flow(Builder::new()).flow("main", &main).bot();
    let outcome = block_on(Turn::message(&with, &host, lost.clone(), Incoming::text("u", "hi")));
    assert_eq!((texts(&outcome), failures(&outcome)), (vec!["oops".to_owned()], vec![FailureKind::Lost]));
    let without = Builder::new().flow("main", &main).bot();
    let outcome = block_on(Turn::message(&without, &host, lost, Incoming::text("u", "hi")));
    assert!(texts(&outcome).is_empty() && !outcome.is_open());
}

#[test]
fn catch_all_comes_before_the_nodes_own_transitions() {
    let mut main = flow(&[
        node("a", &[&say("a")], Some(&[]), &[("true", "b")]),
        node("b", &[&say("b")], Some(&[]), &[("true", "a")]),
        node("help", &[&say("help")], None, &[("true", "##")]),
    ]);
    let next = Value::parse(r#"[{"condition":"event.preview === 'help'","node":"help"}]"#).unwrap();
    main.make_object().set("catchAll", Object::new().with("next", next));
    let bot = Builder::new().file("flows/main.flow.json", main).bot();
    let host = MemoryHost::default();
    let mut user = Conversation::new(&bot, &host, "u");
    assert_eq!(texts(&user.say("x")), ["a"]);
    assert_eq!(texts(&user.say("x")), ["b"]);
    // Nobody called: the conversation ends after the help.
    assert_eq!(texts(&user.say("help")), ["help"]);
    assert_eq!(texts(&user.say("x")), ["a"]);
}

#[test]
fn last_node_is_the_one_before() {
    let bot = Builder::new()
        .flow(
            "main",
            &[
                node("a", &[], None, &[("true", "b")]),
                node("b", &[], None, &[("lastNode=x", "x"), ("lastNode=a", "c"), ("true", "x")]),
                node("c", &[&say("c")], None, &[]),
                node("x", &[&say("x")], None, &[]),
            ],
        )
        .bot();
    let host = MemoryHost::default();
    assert_eq!(texts(&Conversation::new(&bot, &host, "u").say("hi")), ["c"]);
}

#[test]
fn conversation_end_may_keep_the_conversation_open() {
    let bot = Builder::new()
        .flow("main", &[node("a", &[&say("a")], None, &[])])
        .flow("conversation_end", &[node("e", &[&say("end")], None, &[("true", "rate.flow.json")])])
        .flow("rate", &[node("r", &[&say("rate us")], Some(&[]), &[("true", "END")])])
        .bot();
    let host = MemoryHost::default();
    let mut user = Conversation::new(&bot, &host, "u");
    let outcome = user.say("hi");
    assert_eq!(texts(&outcome), ["a", "end", "rate us"]);
    assert!(outcome.is_open());
    assert_eq!(texts(&user.say("5")), ["end", "rate us"]);
}

#[test]
fn a_wait_in_conversation_end_is_wiped() {
    let bot = Builder::new()
        .flow("main", &[node("a", &[&say("a")], None, &[])])
        .flow("conversation_end", &[node("e", &[&say("end")], Some(&[]), &[("true", "")])])
        .bot();
    let host = MemoryHost::default();
    let mut user = Conversation::new(&bot, &host, "u");
    assert!(!user.say("hi").is_open());
    assert_eq!(texts(&user.say("hi")), ["a", "end"]);
}

#[test]
fn timeouts_go_to_the_node_then_the_flow() {
    let own = Builder::new()
        .flow(
            "main",
            &[
                node("a", &[&say("a")], Some(&[]), &[]),
                node("timeout", &[&say("still there?")], Some(&[]), &[("true", "a")]),
            ],
        )
        .flow("timeout", &[node("t", &[&say("late")], None, &[])])
        .bot();
    let host = MemoryHost::default();
    let mut user = Conversation::new(&own, &host, "u");
    user.say("hi");
    for _ in 0..5 {
        let outcome = user.time_out();
        assert_eq!(texts(&outcome), ["still there?"]);
        assert!(outcome.is_open());
    }
    // Enough of it.
    let outcome = user.time_out();
    assert!(texts(&outcome).is_empty() && !outcome.is_open());
    user.say("hi");
    assert_eq!(user.memory.timeouts, 0);
}

#[test]
fn choices_are_picked_by_number_word_and_part() {
    let element = r#"[{"id":"builtin_single-choice-q","formData":{"text$en":"Which?",
        "choices$en":[{"title":"Yes","value":"yes"},{"title":"No","value":"no"}]}}]"#;
    let data = skills::Choice {
        random_id: "r1".into(),
        content_id: "builtin_single-choice-q".into(),
        invalid_content_id: "builtin_text-sorry".into(),
        keywords: vec![
            ("yes".into(), vec!["yes".into(), "of course".into()]),
            ("no".into(), vec!["no".into(), "Nope".into()]),
        ],
        max_retries: 1,
        ..Default::default()
    };
    let skill = skills::choice("q", &data).leading_to(&["yes", "no", "failed"]);
    let bot = Builder::new()
        .skill(&skill)
        .flow(
            "main",
            &[
                skill.node.clone(),
                node("yes", &[&say("picked yes")], None, &[]),
                node("no", &[&say("picked no")], None, &[]),
                node("failed", &[&say("gave up")], None, &[]),
            ],
        )
        .file("content-elements/builtin_single-choice.json", element)
        .file("content-elements/builtin_text.json", r#"[{"id":"builtin_text-sorry","formData":{"text$en":"Sorry?"}}]"#)
        .bot();
    let host = MemoryHost::default();
    for (answer, said) in
        [("1", "picked yes"), ("#2", "picked no"), ("2)", "picked no"), ("NOPE", "picked no"), ("I know", "picked no")]
    {
        let mut user = Conversation::new(&bot, &host, "u");
        assert_eq!(texts(&user.say("hi")), ["Which?"]);
        assert_eq!(texts(&user.say(answer)), [said], "{answer}");
    }
    let mut user = Conversation::new(&bot, &host, "u");
    user.say("hi");
    assert_eq!(texts(&user.say("3")), ["Sorry?"]);
    assert_eq!(texts(&user.say("perhaps")), ["gave up"]);
}

fn api(request: &HttpRequest) -> Result<HttpResponse, HttpFailure> {
    let status = request.url.rsplit('/').next().and_then(|part| part.parse().ok()).unwrap_or(200);
    Ok(HttpResponse { status, body: r#"{"ok":true}"#.into() })
}

#[test]
fn call_api_succeeds_below_400_and_renders_headers_over_the_bots_memory() {
    let data = |url: &str| skills::CallApi {
        random_id: "x".into(),
        method: "post".into(),
        url: url.into(),
        headers: Value::parse(r#"{"X-Bot":"{{bot.key}}","X-User":"{{{event.target}}}"}"#).unwrap(),
        body: Some("{\"a\":\"{{event.preview}}\"}".into()),
        memory: "session".into(),
        variable: "answer".into(),
    };
    for (status, said) in [(200, "ok"), (304, "ok"), (400, "failed"), (500, "failed")] {
        let skill = skills::call_api("c", &data(&format!("http://x/{status}"))).leading_to(&["ok", "failed"]);
        let nodes =
            [skill.node.clone(), node("ok", &[&say("ok")], None, &[]), node("failed", &[&say("failed")], None, &[])];
        let bot = Builder::new().skill(&skill).flow("main", &nodes).bot();
        let host = MemoryHost::default().with_network(api);
        let mut user = Conversation::new(&bot, &host, "u");
        let write = KvsWrite::Set {
            scope: KvsScope::Bot("b".into()),
            key: "global".into(),
            value: Object::new().with("key", "k/1").into(),
            expires_in: None,
        };
        host.apply(&duologue_dialog::FollowUps { kvs: vec![write], ..Default::default() });
        assert_eq!(texts(&user.say("{{user.secret}}")), [said], "{status}");
        let request = &host.requests()[0];
        assert_eq!(request.body.as_deref(), Some("{\"a\":\"{{user.secret}}\"}"));
        let header = |name: &str| request.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str());
        assert_eq!((header("X-Bot"), header("X-User")), (Some("k&#x2F;1"), Some("u")));
        assert_eq!(header("Content-Type"), Some("application/x-www-form-urlencoded"));
        let stored = user.memory.session.get("answer").to_json();
        assert!(stored.contains(&format!("\"status\":{status}")), "{stored}");
    }
}

#[test]
fn mails_are_sent_or_return_to_the_caller() {
    let elements = r#"[{"id":"builtin_text-s","formData":{"text$en":"Text: Hello {{event.target}}"}},
                       {"id":"builtin_text-c","formData":{"text$en":"Body"}}]"#;
    for (to, said) in [("a@example.com", "sent"), ("", "failed")] {
        let data = skills::SendEmail {
            from_address: "bot@example.com".into(),
            to_address: to.into(),
            subject_element: "builtin_text-s".into(),
            content_element: "builtin_text-c".into(),
            ..Default::default()
        };
        let skill = skills::send_email("m", &data).leading_to(&["sent", "failed"]);
        let nodes = [
            skill.node.clone(),
            node("sent", &[&say("sent")], None, &[]),
            node("failed", &[&say("failed")], None, &[]),
        ];
        let bot = Builder::new()
            .skill(&skill)
            .flow("main", &nodes)
            .file("content-elements/builtin_text.json", elements)
            .bot();
        let host = MemoryHost::default();
        assert_eq!(texts(&Conversation::new(&bot, &host, "u").say("hi")), [said]);
        if let [mail] = &host.mails()[..] {
            assert_eq!((mail.subject.as_str(), mail.text.as_str()), ("Hello u", "Body"));
        }
    }
}

#[test]
fn an_error_flow_that_is_missing_gives_way_to_the_usual_one() {
    let nodes = [node(
        "a",
        &[
            "builtin/setVariable {\"type\":\"temp\",\"name\":\"onErrorFlowTo\",\"value\":\"gone.flow.json\"}",
            "missing/action {}",
        ],
        None,
        &[],
    )];
    let bot = Builder::new().flow("main", &nodes).flow("error", &[node("entry", &[&say("sorry")], None, &[])]).bot();
    let host = MemoryHost::default();
    let mut user = Conversation::new(&bot, &host, "u");
    assert_eq!(texts(&user.say("hi")), ["sorry"]);
    assert_eq!(user.memory.context, Value::object(), "the conversation isn't stuck");
}

#[test]
fn slots_are_filled_from_entities_or_the_whole_text() {
    let data = skills::Slot {
        retry_attempts: 1,
        content_element: "builtin_text-ask".into(),
        not_found_element: "builtin_text-again".into(),
        turn_expiry: -1,
        intent: "order".into(),
        slot_name: "size".into(),
        entities: vec!["size".into()],
        ..Default::default()
    };
    let skill = skills::slot("s", &data).leading_to(&["got", "none", "had"]);
    let builder = Builder::new()
        .skill(&skill)
        .flow(
            "main",
            &[
                skill.node.clone(),
                node("got", &[&say("got {{session.slots.size.value}}")], Some(&[]), &[("true", "Slot-s")]),
                node("none", &[&say("none")], None, &[]),
                node("had", &[&say("had {{session.slots.size.value}}")], None, &[]),
            ],
        )
        .file("intents/order.json", r#"{"name":"order","contexts":["global","food"],"utterances":{}}"#)
        .file(
            "entities/size.json",
            r#"{"name":"size","type":"list","fuzzy":0.8,"occurrences":[{"name":"large","synonyms":["big"]}]}"#,
        )
        .file(
            "content-elements/builtin_text.json",
            r#"[{"id":"builtin_text-ask","formData":{"text$en":"Size?"}},
                {"id":"builtin_text-again","formData":{"text$en":"Which size?"}}]"#,
        );
    let bot = builder.bot();
    let host = MemoryHost::default();
    let mut user = Conversation::new(&bot, &host, "u");
    assert_eq!(texts(&user.say("hi")), ["Size?"]);
    assert_eq!(user.memory.session.get("nluContexts").as_array().unwrap().len(), 2);
    assert_eq!(texts(&user.say("no idea")), ["Which size?"]);
    assert_eq!(texts(&user.say("a big one")), ["got large"]);
    assert_eq!(texts(&user.say("again")), ["had large"]);
}

#[test]
fn variables_and_their_stores() {
    let set = |memory: &str, value: &str| {
        format!("builtin/setVariable {{\"type\":\"{memory}\",\"name\":\"v\",\"value\":{value}}}")
    };
    let nodes = [node(
        "a",
        &[
            &set("temp", "5"),
            &set("session", "\"{{event.preview}}\""),
            &set("user", "\"x\""),
            &set("user", "\"null\""),
            &set("bot", "\"shared\""),
            "builtin/setGlobalVariable {\"name\":\"g\",\"value\":\"1\",\"expiry\":\"1h\",\"output\":\"out\"}",
            "builtin/incrementNumberOfConversations {\"output\":\"n\"}",
            "builtin/getGlobalVariable {\"name\":\"g\",\"output\":\"got\"}",
            &say("{{temp.v}}|{{session.v}}|{{user.v}}|{{bot.v}}|{{temp.out}}|{{temp.n}}|{{temp.got}}"),
        ],
        None,
        &[],
    )];
    let bot = Builder::new().flow("main", &nodes).bot();
    let host = MemoryHost::default();
    let mut user = Conversation::new(&bot, &host, "u");
    assert_eq!(texts(&user.say("{{bot.v}}")), ["5|{{bot.v}}|||1|0|1"]);
    // Expired, and written by the last turn.
    host.pass(3_600_001);
    assert_eq!(texts(&user.say("b")), ["5|b||shared|1|1|1"]);
    let unknown = Builder::new().flow("main", &[node("a", &[&set("nowhere", "1")], None, &[])]).bot();
    assert_eq!(failures(&Conversation::new(&unknown, &host, "u").say("x"))[0], FailureKind::Action);
}

#[test]
fn languages_fall_back_by_property() {
    let elements = r#"[{"id":"builtin_text-a","formData":{"text$en":"Hello","text$fr":"Bonjour","typing$en":true,
        "markdown$fr":false,"markdown$en":true,"variations$de":["x"]}}]"#;
    let nodes = [node(
        "a",
        &[
            "say #!builtin_text-a",
            "builtin/switchLanguage {\"lang\":\"FR\"}",
            "say #!builtin_text-a {\"typing\":false}",
        ],
        None,
        &[],
    )];
    let bot = Builder::new().flow("main", &nodes).file("content-elements/builtin_text.json", elements).bot();
    let host = MemoryHost::default();
    let outcome = Conversation::new(&bot, &host, "u").say("x");
    let payloads: Vec<_> = outcome.replies.iter().map(|reply| reply.payload.to_json()).collect();
    assert_eq!(
        payloads,
        [
            r#"{"type":"text","workflow":{},"text":"Hello","markdown":true,"typing":true}"#,
            r#"{"type":"text","typing":true,"workflow":{},"text":"Bonjour","markdown":true}"#,
        ]
    );
}

/// Scripts that move about, each a line of a test.
struct Movers;

impl Scripts for Movers {
    async fn run<S: Sdk>(&self, call: ScriptCall<'_>, sdk: &mut S) -> Option<ScriptOutcome> {
        let mut event = call.event.clone();
        let preview = event.str("preview").unwrap_or_default().to_owned();
        let temp = event.make_object().object_mut("state").object_mut("temp");
        match (call.kind, call.name) {
            (ScriptKind::Action, "jump") => {
                let args = vec!["s".into(), Value::Null, "other".into(), "deep".into()];
                return Some(match sdk.call("dialog.jumpTo", args).await {
                    Ok(value) => ScriptOutcome::value(value),
                    Err(message) => ScriptOutcome::failed(ErrorClass::Other, message),
                });
            }
            (ScriptKind::Hook(_), "early") if preview == "jump" => {
                let args = vec!["s".into(), Value::Null, "other.flow.json".into()];
                sdk.call("dialog.jumpTo", args).await.unwrap();
            }
            (ScriptKind::Hook(_), "early") => {}
            (ScriptKind::Hook(_), "thrower") => {
                return Some(ScriptOutcome::failed(ErrorClass::Other, "no"));
            }
            (ScriptKind::Hook(_), "shout") => {
                let payload = event.make_object().object_mut("payload");
                let text = payload.get("text").and_then(Value::as_str).unwrap_or_default().to_uppercase();
                payload.set("text", text);
            }
            (ScriptKind::Condition, "temp.list.some(x => x > 1)") => {
                temp.set("asked", true);
                return Some(ScriptOutcome { event: Some(event), ..ScriptOutcome::value(true) });
            }
            (ScriptKind::Content, "my_type") => {
                let data = call.variables.get("data").unwrap();
                let typing = Object::new().with("type", "typing").with("value", true);
                let shown = Object::new().with("type", "mine").with("title", data.get("title").clone());
                let value = Value::Array(vec![typing.into(), shown.into()]);
                return Some(ScriptOutcome::value(value));
            }
            (ScriptKind::Action, "thrower") => {
                temp.set("onErrorFlowTo", "other.flow.json#deep");
                let outcome = ScriptOutcome::failed(ErrorClass::Other, "after a change");
                return Some(ScriptOutcome { event: Some(event), ..outcome });
            }
            (ScriptKind::Action, "store") => {
                let get = |key: &str| vec!["b".into(), key.into()];
                sdk.call("kvs.forBot.set", vec!["b".into(), "k".into(), 1.0.into(), "a.b".into()]).await.unwrap();
                temp.set("read", sdk.call("kvs.forBot.get", get("k")).await.unwrap());
                sdk.call("kvs.forBot.delete", get("k")).await.unwrap();
                temp.set("gone", sdk.call("kvs.forBot.exists", get("k")).await.unwrap());
                sdk.call(
                    "users.updateAttributes",
                    vec!["api".into(), "u".into(), Object::new().with("age", 3.0).into()],
                )
                .await
                .unwrap();
                let rendered = sdk
                    .call(
                        "cms.renderTemplate",
                        vec!["{{x}} {{event.preview}}".into(), Object::new().with("x", 1.0).into()],
                    )
                    .await;
                temp.set("rendered", rendered.unwrap());
                sdk.call("logger.info", vec!["done".into()]).await.unwrap();
                assert!(sdk.call("database", Vec::new()).await.is_err());
            }
            _ => return None,
        }
        Some(ScriptOutcome::changed(event))
    }
}

fn movers() -> Builder {
    Builder::new()
        .flow("main", &[node("a", &[&say("a"), "jump", &say("never")], Some(&[]), &[("true", "a")])])
        .flow(
            "other",
            &[node("start", &[&say("start")], None, &[("true", "deep")]), node("deep", &[&say("deep")], None, &[])],
        )
        .file("actions/jump.js", "bp.dialog.jumpTo(...)")
}

#[test]
fn actions_and_hooks_jump() {
    let bot = movers().file("hooks/before_incoming_middleware/early.js", "").bot();
    let host = MemoryHost::new(Movers);
    assert_eq!(texts(&Conversation::new(&bot, &host, "u").say("hi")), ["a", "deep"]);
    assert_eq!(texts(&Conversation::new(&bot, &host, "u").say("jump")), ["start", "deep"]);
}

#[test]
fn scripts_that_jump_in_circles_are_cut() {
    let bot = movers().flow("other", &[node("deep", &[&say("x"), "jump"], None, &[])]).bot();
    let host = MemoryHost::new(Movers);
    let outcome = Conversation::new(&bot, &host, "u").say("hi");
    assert!(outcome.replies.len() < 30 && !outcome.is_open());
}

#[test]
fn what_a_script_changed_before_it_threw_counts() {
    let bot = movers()
        .flow("main", &[node("a", &["thrower"], None, &[])])
        .file("actions/thrower.js", "temp.onErrorFlowTo = ...; throw ...")
        .bot();
    let host = MemoryHost::new(Movers);
    assert_eq!(texts(&Conversation::new(&bot, &host, "u").say("hi")), ["deep"]);
}

#[test]
fn turns_can_move_between_threads() {
    fn sendable(_: &impl Send) {}
    let bot = movers().bot();
    let host = MemoryHost::new(Movers);
    sendable(&Turn::message(&bot, &host, Memory::default(), Incoming::text("u", "hi")));
    sendable(&Turn::timeout(&bot, &host, Memory::default(), "u"));
    fn shareable<T: Send + Sync>() {}
    shareable::<Bot>();
}

#[test]
fn hooks_change_and_fail_without_harm() {
    let bot = Builder::new()
        .flow("main", &[node("a", &[&say("hello")], None, &[])])
        .file("hooks/before_outgoing_middleware/shout.js", "")
        .global("hooks/after_incoming_middleware/thrower.js", "")
        .bot();
    let host = MemoryHost::new(Movers);
    let outcome = Conversation::new(&bot, &host, "u").say("hi");
    assert_eq!(texts(&outcome), ["HELLO"]);
    assert!(outcome.trace.steps.iter().any(|step| matches!(step, Step::Hook { error: Some(_), .. })));
}

#[test]
fn conditions_ask_the_engine_and_may_change_memory() {
    let nodes = [
        node("a", &[], None, &[("temp.list.some(x => x > 1)", "b"), ("true", "c")]),
        node("b", &[&say("b {{temp.asked}}")], None, &[]),
        node("c", &[&say("c")], None, &[]),
    ];
    let bot = Builder::new().flow("main", &nodes).bot();
    let host = MemoryHost::new(Movers);
    assert_eq!(texts(&Conversation::new(&bot, &host, "u").say("hi")), ["b true"]);
}

#[test]
fn custom_content_types_render_by_script() {
    let source = "module.exports = { id: 'my_type', renderElement: (data, channel) => [] }";
    let bot = Builder::new()
        .global("content-types/mine.js", source)
        .flow("main", &[node("a", &["say #!my_type-1"], None, &[])])
        .file("content-elements/my_type.json", r#"[{"id":"my_type-1","formData":{"title$en":"T {{event.preview}}"}}]"#)
        .bot();
    let host = MemoryHost::new(Movers);
    let outcome = Conversation::new(&bot, &host, "u").say("hi");
    assert_eq!(texts(&outcome), [r#"{"type":"typing","value":true}"#, r#"{"type":"mine","title":"T hi"}"#]);
}

#[test]
fn scripts_reach_stores_users_and_templates() {
    let nodes = [node("a", &["store", &say("{{temp.read.a.b}} {{temp.gone}} {{temp.rendered}}")], Some(&[]), &[])];
    let bot = Builder::new().flow("main", &nodes).file("actions/store.js", "").bot();
    let host = MemoryHost::new(Movers);
    let mut user = Conversation::new(&bot, &host, "u");
    let outcome = user.say("hi");
    assert_eq!(texts(&outcome), ["1 false 1 "]);
    assert_eq!(user.memory.user.to_json(), r#"{"age":3}"#);
    assert_eq!(outcome.follow_ups.kvs.len(), 2);
    assert_eq!(host.stored(&KvsScope::Bot("b".into()), "k"), None);
}

#[test]
fn remote_actions_replace_the_memories() {
    fn server(request: &HttpRequest) -> Result<HttpResponse, HttpFailure> {
        assert_eq!((request.url.as_str(), request.timeout), ("http://actions/action/run", Some(5_000)));
        let body = Value::parse(request.body.as_deref().unwrap()).unwrap();
        assert_eq!((body.str("actionName"), body.get("actionArgs").str("x")), (Some("do"), Some("hi")));
        let body = r#"{"event":{"state":{"temp":{"t":1},"user":{"u":2},"session":{"s":3}}}}"#;
        Ok(HttpResponse { status: 200, body: body.into() })
    }
    let bot = Builder::new()
        .global("botpress.config.json", r#"{"actionServers":{"remotes":[{"id":"far","baseUrl":"http://actions/"}]}}"#)
        .flow(
            "main",
            &[node(
                "a",
                &[
                    "far:do {\"x\":\"{{event.preview}}\"}",
                    "gone:do {}",
                    &say("{{temp.t}}{{user.u}}{{session.s}}{{temp.responseStatusCode}}"),
                ],
                None,
                &[],
            )],
        )
        .bot();
    let host = MemoryHost::default().with_network(server);
    assert_eq!(texts(&Conversation::new(&bot, &host, "u").say("hi")), ["123200"]);
}

#[test]
fn old_shapes_are_understood() {
    let bot = Builder::new()
        .file("bot.config.json", r#"{"version":"12.1.0","defaultLanguage":"en"}"#)
        .flow("main", &[node("a", &["say #!builtin_text-a", "nowhere"], None, &[])])
        .file("content-elements/builtin_text.json", r#"[{"id":"builtin_text-a","formData":{"text$en":"*a*"}}]"#)
        .file(
            "qna/q.json",
            r#"{"id":"q","data":{"action":"text","category":"old","enabled":true,"answer":{"en":"one"}}}"#,
        )
        .bot();
    let host = MemoryHost::default();
    let outcome = Conversation::new(&bot, &host, "u").say("hi");
    assert!(outcome.replies[0].payload.get("markdown").truthy());
    // The error flow that the bot didn't have.
    assert_eq!(outcome.replies.len(), 2);
    let qna = bot.qna("q").unwrap();
    assert_eq!((&*qna.contexts[0], qna.answers[0].1.len()), ("old", 1));
}

#[test]
fn broken_files_are_reported_and_skipped() {
    let (bot, report) = Builder::new()
        .flow(
            "main",
            &[node(
                "a",
                &["say #!gone-1", "missing {}", "x:y"],
                None,
                &[("true", "nowhere"), ("state.x", "gone.flow.json")],
            )],
        )
        .file("flows/broken.flow.json", "{\n  \"version\": 1,,")
        .file("flows/other.flow.json", r#"{"version":"0.1","startNode":"x","nodes":[]}"#)
        .file(
            "content-elements/builtin_text.json",
            r#"[{"id":"a"},{"id":"b","formData":{"text$en":"{{#x}} {{a[0]}}"}}]"#,
        )
        .file("actions/a.js", "const _ = require('lodash'); bp.database('x')")
        .load();
    assert!(bot.find_flow("MAIN").is_some() && bot.find_flow("other").is_none());
    let broken = report.skipped.iter().find(|finding| finding.file == "flows/broken.flow.json").unwrap();
    assert_eq!(broken.position.map(|position| position.line), Some(2));
    assert_eq!(report.skipped.len(), 3);
    let warned = |text: &str| report.warnings.iter().any(|finding| finding.message.contains(text));
    for text in [
        "gone-1",
        "action missing",
        "server x",
        "node nowhere",
        "gone.flow.json",
        "unclosed section",
        "state doesn't exist",
        "bp.database",
    ] {
        assert!(warned(text), "{text}: {:?}", report.warnings);
    }
    assert_eq!(report.requires, [("actions/a.js".to_owned(), "lodash".to_owned())]);
}

#[test]
fn a_replay_shows_what_a_changed_bot_does() {
    let build = |text: &str| {
        Builder::new()
            .flow(
                "main",
                &[node(
                    "a",
                    &[&say(text), "builtin/incrementNumberOfConversations {\"output\":\"n\"}"],
                    Some(&[]),
                    &[],
                )],
            )
            .bot()
    };
    let host = MemoryHost::default();
    let outcome = Conversation::new(&build("before"), &host, "u").say("hi");
    let replay = |bot: &Bot| block_on(Turn::again(bot, &Replay::new(&outcome.trace.effects), &outcome.trace));
    assert_eq!(replay(&build("before")).trace, outcome.trace);
    assert_eq!(texts(&replay(&build("after"))), ["after"]);
}

#[test]
fn discarded_types_change_nothing() {
    let bot = Builder::new().flow("main", &[node("a", &[&say("a")], Some(&[]), &[])]).bot();
    let host = MemoryHost::new(NoScripts);
    let mut user = Conversation::new(&bot, &host, "u");
    for kind in ["visit", "typing", "session_reset", "session_reference"] {
        let outcome = user.send(Incoming::payload("u", Object::new().with("type", kind).into()));
        assert!(outcome.replies.is_empty());
        assert_eq!(outcome.decision().to_json(), "{}");
        assert_eq!(user.memory, Memory::default());
    }
}
