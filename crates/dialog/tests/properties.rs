//! What holds for every bot, every message and every template.

#![allow(clippy::unwrap_used)] // Helpers of tests, too, fail by panicking.

use proptest::prelude::*;

use duologue_dialog::{
    Bot, Files, Globals, Incoming, Memory, Object, Outcome, Replay, Turn, Value,
    replay::Refuse,
    template::{Scope, Template},
    testing::{Conversation, MemoryHost, block_on},
};

const NODES: [&str; 4] = ["a", "b", "c", "d"];

fn target() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(&NODES[..]).prop_map(str::to_owned),
        2 => prop::sample::select(vec!["main.flow.json", "sub.flow.json", "sub.flow.json#b", "gone.flow.json", "sub.flow.json#z"])
            .prop_map(str::to_owned),
        2 => prop::sample::select(vec!["#", "##", "#a", "##b", "#gone", "END", "", "gone", "###", "#END"]).prop_map(str::to_owned),
    ]
}

fn condition() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "true",
        "true",
        "false",
        "event.preview === 'x'",
        "temp.n > 1",
        "temp.gone.deep",
        "unknown === 1",
        "lastNode=a",
        "this is not js",
        "",
        "session.seen",
        "temp['n'] == '2'",
    ])
    .prop_map(str::to_owned)
}

fn instruction() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        r#"say #builtin_text {"text":"hi {{event.preview}}"}"#,
        "say #!builtin_text-a",
        "say #!gone",
        "say #builtin_text {",
        "say #gone {}",
        r#"builtin/setVariable {"type":"temp","name":"n","value":2}"#,
        r#"builtin/setVariable {"type":"session","name":"seen","value":"{{event.preview}}"}"#,
        r#"builtin/setVariable {"type":"temp","name":"onErrorFlowTo","value":"sub.flow.json"}"#,
        r#"builtin/setVariable {"type":"user","name":"u","value":"{{temp.n}}"}"#,
        r#"builtin/setVariable {"type":"nowhere","name":"u","value":"1"}"#,
        "builtin/resetSession {}",
        r#"builtin/appendContext {"contexts":"a,b","ttl":"2"}"#,
        r#"basic-skills/choice_parse_answer {"randomId":"r","contentId":"x","keywords":{"k":["x",""]}}"#,
        r#"basic-skills/slot_fill {"slotName":"s","entities":"any","turnExpiry":1}"#,
        r#"basic-skills/call_api {"randomId":"r","url":"http://x","memory":"session","variable":"v"}"#,
        "gone {}",
    ])
    .prop_map(str::to_owned)
}

prop_compose! {
    fn node(name: &'static str)(
        on_enter in prop::collection::vec(instruction(), 0..3),
        on_receive in prop::option::of(prop::collection::vec(instruction(), 0..2)),
        next in prop::collection::vec((condition(), target()), 0..3),
        kind in prop::sample::select(vec!["standard", "standard", "standard", "skill-call", "say_something"]),
        sub_flow in prop::sample::select(vec!["sub.flow.json", "skills/s.flow.json", "gone.flow.json"]),
    ) -> Value {
        let next: Vec<Value> = next
            .into_iter()
            .map(|(condition, node)| Object::new().with("condition", condition).with("node", node).into())
            .collect();
        let content = Object::new()
            .with("contentType", "builtin_text")
            .with("formData", Object::new().with("text$en", "said {{temp.n}}"));
        Object::new()
            .with("name", name)
            .with("type", kind)
            .with("flow", sub_flow)
            .with("content", content)
            .with("onEnter", on_enter)
            .with("onReceive", on_receive.map_or(Value::Null, Value::from))
            .with("next", Value::Array(next))
            .into()
    }
}

fn flow() -> impl Strategy<Value = Value> {
    let nodes = (node("a"), node("b"), node("c"), node("d"));
    let catch_all = prop::collection::vec((condition(), target()), 0..2);
    (nodes, catch_all).prop_map(|((a, b, c, d), catch_all)| {
        let next: Vec<Value> = catch_all
            .into_iter()
            .map(|(condition, node)| Object::new().with("condition", condition).with("node", node).into())
            .collect();
        Object::new()
            .with("version", "0.0.1")
            .with("startNode", "a")
            .with("catchAll", Object::new().with("next", Value::Array(next)))
            .with("nodes", vec![a, b, c, d])
            .into()
    })
}

fn bot() -> impl Strategy<Value = Files> {
    let optional = || prop::option::of(flow());
    (flow(), flow(), flow(), optional(), optional(), optional()).prop_map(
        |(main, sub, skill, error, timeout, conversation_end)| {
            let mut files = Files::new();
            files.insert("bot.config.json".into(), r#"{"defaultLanguage":"en"}"#.into());
            files.insert(
                "content-elements/builtin_text.json".into(),
                r#"[{"id":"builtin_text-a","formData":{"text$en":"A {{session.seen}}","variations$en":["B"]}}]"#.into(),
            );
            let named = [
                ("main", Some(main)),
                ("sub", Some(sub)),
                ("skills/s", Some(skill)),
                ("error", error),
                ("timeout", timeout),
                ("conversation_end", conversation_end),
            ];
            for (name, flow) in named {
                if let Some(flow) = flow {
                    files.insert(format!("flows/{name}.flow.json"), flow.to_json().into());
                }
            }
            files
        },
    )
}

#[derive(Clone, Debug)]
enum Move {
    Say(String),
    Send(String),
    TimeOut,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        6 => prop_oneof![Just("x".to_owned()), Just("{{session.seen}}".to_owned()), ".{0,12}"].prop_map(Move::Say),
        1 => prop::sample::select(vec!["visit", "quick_reply", "timeout"]).prop_map(|kind| Move::Send(kind.to_owned())),
        1 => Just(Move::TimeOut),
    ];
    prop::collection::vec(one, 1..8)
}

/// The turn, done again from its trace as stored, is the same.
fn check(bot: &Bot, before: &Memory, outcome: &Outcome) {
    let text = serde_json::to_string(&outcome.trace).unwrap();
    let trace = serde_json::from_str(&text).unwrap();
    let again = block_on(Turn::again(bot, &Replay::with_fallback(&outcome.trace.effects, Refuse), &trace));
    assert_eq!(serde_json::to_string(&again.trace).unwrap(), text);
    assert_eq!(serde_json::to_string(again.memory()).unwrap(), serde_json::to_string(outcome.memory()).unwrap());
    // What a turn doesn't touch stays: a marker in the user's memory and one in the session, which only
    // resetSession may clear.
    assert_eq!(outcome.memory().user.get("marker"), before.user.get("marker"));
    let reset = outcome.trace.steps.iter().any(
        |step| matches!(step, duologue_dialog::trace::Step::Action { name, .. } if name == "builtin/resetSession"),
    );
    assert!(reset || outcome.memory().session.get("marker") == before.session.get("marker"));
    let messages = outcome.memory().session.get("lastMessages").as_array().unwrap_or_default();
    assert!(messages.len() <= 5);
    // An open conversation waits at a place that exists, or will be led away from one that doesn't.
    assert!(outcome.replies.len() <= 500 && outcome.trace.steps.len() < 200_000);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn turns_end_and_replay_and_keep_memory(files in bot(), moves in moves()) {
        let globals = Globals::load(&Files::new(), |_| {}).0;
        let (bot, _) = Bot::load("b", &files, &globals);
        let host = MemoryHost::default();
        let mut user = Conversation::new(&bot, &host, "u");
        user.memory.user.make_object().set("marker", 1.0);
        user.memory.session.make_object().set("marker", 2.0);
        for step in moves {
            let before = user.memory.clone();
            let outcome = match step {
                Move::Say(text) => user.say(&text),
                Move::Send(kind) => user.send(Incoming::payload("u", Object::new().with("type", kind).into())),
                Move::TimeOut => user.time_out(),
            };
            check(&bot, &before, &outcome);
        }
    }

    #[test]
    fn any_memory_is_survived(context in any_value(), session in any_value(), temp in any_value(), files in bot()) {
        let globals = Globals::load(&Files::new(), |_| {}).0;
        let (bot, _) = Bot::load("b", &files, &globals);
        let host = MemoryHost::default();
        let mut user = Conversation::new(&bot, &host, "u");
        user.memory.context = context;
        user.memory.session = session;
        user.memory.temp = temp;
        user.say("x");
        user.time_out();
        user.say("y");
    }

    #[test]
    fn any_files_load(path in prop::sample::select(vec!["flows/main.flow.json", "qna/q.json", "intents/i.json",
        "entities/e.json", "content-elements/builtin_text.json", "bot.config.json", "config/basic-skills.json"]),
        value in any_value(), text in ".{0,30}")
    {
        let globals = Globals::load(&Files::new(), |_| {}).0;
        for content in [value.to_json(), text] {
            let files = Files::from([(path.to_owned(), content.into())]);
            let (bot, _) = Bot::load("b", &files, &globals);
            Conversation::new(&bot, &MemoryHost::default(), "u").say("x");
        }
    }

    #[test]
    fn templates_never_panic(text in "([a-z. ]|\\{\\{|\\}\\}|[#^/&>!={}]|\n|é){0,40}", value in any_value()) {
        if let Ok(template) = Template::parse(text) {
            let named = [("a", &value)];
            let scope = Scope { own: value.as_object(), named: &named };
            template.render(scope);
        }
    }

    #[test]
    fn inserted_text_is_never_evaluated(inner in "[{}#^/&a-z.]{0,20}") {
        let own = Object::new().with("a", inner.as_str()).with("secret", "SECRET");
        let scope = Scope { own: Some(&own), named: &[] };
        let rendered = Template::parse("<{{{a}}}>").unwrap().render(scope).to_string();
        prop_assert_eq!(rendered, format!("<{inner}>"));
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec![
        "currentFlow",
        "currentNode",
        "queue",
        "instructions",
        "jumpPoints",
        "hasJumped",
        "type",
        "fn",
        "node",
        "data",
        "answers",
        "nodes",
        "version",
        "startNode",
        "lastMessages",
        "nluContexts",
        "slots",
        "a",
        "0",
        "ttl",
        "previousFlow",
        "enabled",
        "name",
        "id",
        "formData",
        "occurrences",
        "synonyms",
        "pattern",
        "next",
        "catchAll",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (-3.0..1e3).prop_map(Value::Number),
        prop::sample::select(vec![
            "main.flow.json",
            "a",
            "wait",
            "transition",
            "on-enter",
            "0.1",
            "list",
            "pattern",
            "(",
            "#"
        ])
        .prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::vec((name.clone(), inner), 0..6).prop_map(|members| members
                .into_iter()
                .map(|(k, v)| (k.into(), v))
                .collect::<Object>()
                .into()),
        ]
    })
}
