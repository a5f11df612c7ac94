//! The bridge protocol from the side of who is called (`spec/cloud/bridge-protocol.md`), over real HTTP.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use duologue_sdk::{
    ActionAnswer, Bot, BotAction, BotEvent, BotState, BotWorkflow, Content, Context, Definition, Failure, JsonSchema,
    Result, Scope, client::CreateUser,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use support::{Api, BOT, Running, configuration, event, headers, message, workflow};
use tokio::sync::Notify;

/// What handlers saw, in order.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn note(&self, text: impl Into<String>) {
        self.0.lock().unwrap().push(text.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[derive(Serialize, Deserialize, JsonSchema, Clone)]
struct Numbers {
    a: i64,
    b: i64,
}
impl BotEvent for Numbers {
    const TYPE: &'static str = "numbers";
}
impl BotState for Numbers {
    const NAME: &'static str = "numbers";
    const SCOPE: Scope = Scope::Conversation;
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Total {
    sum: i64,
}

struct Sum;
impl BotAction for Sum {
    const NAME: &'static str = "sum";
    type Input = Numbers;
    type Output = Total;
}
impl BotWorkflow for Sum {
    const NAME: &'static str = "sum";
    type Input = Numbers;
    type Output = Total;
}

/// An action `fault` that goes wrong in whichever way it is asked to.
struct Fault;
impl BotAction for Fault {
    const NAME: &'static str = "fault";
    type Input = Value;
    type Output = Value;
}

async fn fault(ctx: Context, input: Value) -> Result<Value> {
    match input["how"].as_str().unwrap() {
        "told" => Err(Failure::new("No seats left").with_metadata(json!({"seats": 0}))),
        "untold" => Err(std::io::Error::other("the password is hunter2").into()),
        "temporary" => Err(Failure::temporary("Come back later")),
        "panic" => panic!("on purpose"),
        "refused" => Ok(json!(ctx.state::<Numbers>().patch(&json!({})).await?)),
        "slow" => std::future::pending().await,
        _ => Ok(json!({})),
    }
}

async fn bot() -> (Bot, Api) {
    let api = Api::usual().await;
    (Bot::new(Definition::new()).client(api.client()), api)
}

#[tokio::test]
async fn health_is_ok_and_requests_without_the_headers_are_refused() {
    let bot = Running::start(bot().await.0).await;
    let health = bot.send("GET", "/health", &[], b"").await;
    assert_eq!((health.status, health.body.as_str()), (200, "ok"));

    let configuration = configuration("{}");
    let all = headers("ping", "ping", &configuration);
    bot.send("POST", "/", &all, b"{}").await.done();
    // Neither method nor path mean anything.
    bot.send("PUT", "/a/b?c", &all, b"").await.done();
    for missing in 1..all.len() {
        let rest: Vec<_> = all.iter().copied().filter(|(name, _)| *name != all[missing].0).collect();
        let refused = bot.send("POST", "/", &rest, b"{}").await;
        assert_eq!(refused.status, 500);
        assert_eq!(refused.json(), json!({"error": format!("Missing {} header", all[missing].0)}));
    }
    let unknown = bot.call("message_created", "x", &json!({})).await;
    assert_eq!(
        (unknown.status, unknown.json()["error"].as_str()),
        (500, Some("Unknown operation \"message_created\""))
    );
    let wrong = bot.send("POST", "/", &headers("ping", "ping", "%%%"), b"{}").await;
    assert!(wrong.status == 500 && wrong.json()["error"].as_str().unwrap().contains("x-bp-configuration"), "{wrong:?}");
}

#[tokio::test]
async fn messages_reach_their_handlers_in_order_and_replies_the_server() {
    let (bot, api) = bot().await;
    let seen = Seen::default();
    let [one, two, three] = [seen.clone(), seen.clone(), seen.clone()];
    #[derive(Deserialize)]
    struct Settings {
        greeting: String,
    }
    let bot = bot
        .on_message("text", move |ctx, message| {
            let seen = one.clone();
            async move {
                seen.note(format!("text {} {:?}", message.text().unwrap(), message.user.name));
                assert_eq!(ctx.bot_id().as_str(), BOT);
                assert_eq!(ctx.conversation_id(), Some(&message.conversation_id));
                assert_eq!(ctx.user().unwrap().name.as_deref(), Some("Ada"));
                assert_eq!(ctx.conversation().unwrap().integration, "slack");
                let settings: Settings = ctx.configuration()?;
                ctx.say(settings.greeting).await?;
                ctx.say(Content::choice("Well?", [("Yes", "y")])).await?;
                Ok(())
            }
        })
        .on_any_message(move |_, message| {
            two.note(format!("any {}", message.kind));
            async { Ok(()) }
        })
        .on_message("image", move |_, message| {
            three.note(format!("image {}", message.payload_as::<Value>().unwrap()["imageUrl"]));
            async { Ok(()) }
        });
    let bot = Running::start(bot).await;
    let settings = configuration(r#"{"greeting":"Hullo"}"#);
    let body = json!({"event": message("text", json!({"text": "Hi"}))}).to_string();
    bot.send("POST", "/", &headers("event_received", "message_created", &settings), body.as_bytes()).await.done();
    assert_eq!(seen.take(), ["text Hi Some(\"Ada\")", "any text"]);
    bot.event(&message("image", json!({"imageUrl": "x"}))).await.done();
    assert_eq!(seen.take(), ["any image", "image \"x\""]);

    let sent = api.bodies("POST /v1/chat/messages");
    assert_eq!(sent[0]["payload"], json!({"text": "Hullo"}));
    assert_eq!((&sent[0]["type"], &sent[0]["userId"]), (&json!("text"), &json!(BOT)));
    assert_eq!(sent[0]["conversationId"], "conv_01J00000000000000000000000");
    assert_eq!(sent[1]["payload"]["options"], json!([{"label": "Yes", "value": "y"}]));
    let got = &api.got()[0];
    assert_eq!(got.headers["x-bot-id"], BOT);
    assert_eq!(got.headers["authorization"], "Bearer bp_bak_test");
}

#[tokio::test]
async fn events_reach_typed_named_and_general_handlers() {
    let (bot, _) = bot().await;
    let seen = Seen::default();
    let [typed, named, any, expired, whole] = [(); 5].map(|()| seen.clone());
    let bot = bot
        .on_event::<Numbers>(move |ctx, numbers| {
            typed.note(format!("{} of {}", numbers.a + numbers.b, ctx.event().unwrap().id));
            async { Ok(()) }
        })
        .on_event_named("slack:reactionAdded", move |_, event| {
            named.note(event.payload.text().to_owned());
            async { Ok(()) }
        })
        .on_any_event(move |ctx, event| {
            any.note(format!("any {} {}", event.kind, ctx.conversation().is_none()));
            async { Ok(()) }
        })
        .on_state_expired::<Numbers>(move |ctx, gone| {
            expired.note(format!("{} of {} until {}", gone.value.a, ctx.user_id().unwrap(), gone.state.updated_at));
            async { Ok(()) }
        })
        .on_any_state_expired(move |_, state| {
            whole.note(format!("any {}", state.name));
            async { Ok(()) }
        });
    let bot = Running::start(bot).await;
    bot.event(&event("numbers", json!({"a": 1, "b": 2}))).await.done();
    assert_eq!(seen.take(), ["3 of evt_01J00000000000000000000000", "any numbers true"]);
    bot.event(&event("slack:reactionAdded", json!({"x": 1}))).await.done();
    assert_eq!(seen.take(), ["{\"x\":1}", "any slack:reactionAdded true"]);
    bot.event(&event("nobody", json!({}))).await.done();
    assert_eq!(seen.take(), ["any nobody true"]);

    let at = "2026-01-01T00:00:00.000Z";
    let state = |name: &str, payload: Value| {
        let state = json!({
            "id": "state_1", "createdAt": at, "updatedAt": at, "botId": BOT, "name": name, "type": "user",
            "userId": "user_1", "payload": payload,
        });
        let mut event = event("state_expired", json!({ "state": state }));
        event["userId"] = json!(null);
        event
    };
    bot.event(&state("numbers", json!({"a": 7, "b": 8}))).await.done();
    assert_eq!(seen.take(), [format!("7 of user_1 until {at}"), "any numbers".to_owned()]);
    bot.event(&state("other", json!({}))).await.done();
    assert_eq!(seen.take(), ["any other"]);
    // A payload that isn't what the type says is an error of the bot's, and no other handler runs.
    let refused = bot.event(&event("numbers", json!({"a": "x"}))).await.refused();
    assert_eq!((refused.0, refused.1.as_str()), (500, "Runtime"));
    assert_eq!(seen.take(), Vec::<String>::new());
}

#[tokio::test]
async fn workflows_are_acknowledged_once_and_ended() {
    let (bot, api) = bot().await;
    let bot = bot
        .on_workflow_start::<Sum>(|ctx, run| async move {
            assert_eq!(ctx.workflow_id(), Some(&run.id));
            run.acknowledge().await?;
            run.acknowledge().await
        })
        .on_workflow_start::<Sum>(|_, run| async move { run.acknowledge().await })
        .on_workflow_continue::<Sum>(|_, run| async move {
            run.acknowledge().await?;
            run.complete(&Total { sum: run.input.a + run.input.b }).await?;
            Ok(())
        })
        .on_workflow_timeout::<Sum>(|_, run| async move {
            run.acknowledge().await?;
            run.fail("too late").await?;
            Ok(())
        });
    let bot = Running::start(bot).await;
    let update =
        |kind: &str, status: &str| event("workflow_update", json!({"type": kind, "workflow": workflow(status)}));
    let acknowledged = json!({"status": "in_progress", "eventId": "evt_01J00000000000000000000000"});
    bot.event(&update("workflow_started", "pending")).await.done();
    assert_eq!(api.bodies("PUT /v1/chat/workflows/wrkflow_1"), std::slice::from_ref(&acknowledged));
    bot.event(&update("workflow_continued", "pending")).await.done();
    bot.event(&update("workflow_timedout", "timedout")).await.done();
    let completed = json!({"status": "completed", "output": {"sum": 3}});
    let failed = json!({"status": "failed", "failureReason": "too late"});
    let expected = [acknowledged.clone(), acknowledged, completed, failed];
    assert_eq!(api.bodies("PUT /v1/chat/workflows/wrkflow_1"), expected);
    // Of children nothing is asked.
    bot.event(&update("child_workflow_finished", "pending")).await.done();
    assert_eq!(api.got().len(), 4);
}

#[tokio::test]
async fn actions_answer_or_say_why_not() {
    let (bot, _) = bot().await;
    let bot = bot
        .on_action::<Sum>(|_, numbers| async move { Ok(Total { sum: numbers.a + numbers.b }) })
        .on_action::<Fault>(fault)
        .handler_timeout(Duration::from_millis(1500));
    let bot = Running::start(bot).await;
    let answer = bot.action("sum", json!({"a": 1, "b": 2})).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"output": {"sum": 3}})));

    let refused = bot.action("sum", json!({"a": 1})).await.refused();
    assert!(refused.0 == 400 && refused.1 == "Runtime" && refused.2.contains("missing field `b`"), "{refused:?}");
    let refused = bot.action("divide", json!({})).await.refused();
    assert_eq!(refused, (400, "Runtime".into(), "The bot has no action \"divide\".".into()));

    let told = bot.action("fault", json!({"how": "told"})).await;
    assert_eq!(told.refused(), (400, "Runtime".into(), "No seats left".into()));
    assert_eq!(told.json()["metadata"], json!({"seats": 0}));
    for how in ["untold", "panic"] {
        let answer = bot.action("fault", json!({ "how": how })).await;
        let (status, kind, text) = answer.refused();
        assert!(status == 500 && kind == "Runtime" && !text.contains("hunter2"), "{answer:?}");
        assert_eq!(answer.json()["code"], 400);
    }
    let busy = bot.action("fault", json!({"how": "temporary"})).await;
    assert_eq!(busy.refused(), (503, "Internal".into(), "Come back later".into()));
    assert!(busy.head.contains("retry-after: 1"), "{busy:?}");
    let slow = bot.action("fault", json!({"how": "slow"})).await.refused();
    assert_eq!(slow, (400, "Runtime".into(), "The handler took longer than 1.5 s.".into()));
    // An action is about no conversation, so its state is nobody's.
    assert_eq!(bot.action("fault", json!({"how": "refused"})).await.status, 500);
    // It lives on.
    assert_eq!(bot.action("sum", json!({"a": 40, "b": 2})).await.json(), json!({"output": {"sum": 42}}));
}

#[tokio::test]
async fn refusals_of_the_server_are_passed_on() {
    let (bot, api) = bot().await;
    let bot = bot.on_any_message(|ctx, _| async move {
        assert!(ctx.state::<Numbers>().get().await?.is_none());
        ctx.state::<Numbers>().patch(&json!({"a": 1})).await?;
        Ok(())
    });
    let bot = Running::start(bot).await;
    let refused = bot.event(&message("text", json!({}))).await.refused();
    assert_eq!(refused, (404, "ResourceNotFound".into(), "No State found".into()));
    let lines: Vec<String> = api.got().into_iter().map(|got| got.line).collect();
    let state = "/v1/chat/states/conversation/conv_01J00000000000000000000000/numbers";
    assert_eq!(lines, [format!("GET {state}"), format!("PATCH {state}")]);
}

#[tokio::test]
async fn rubbish_is_refused_and_the_bot_lives_on() {
    let bot = Running::start(bot().await.0).await;
    let configuration = configuration("{}");
    for (operation, kind, body) in [
        ("event_received", "message_created", "rubbish"),
        ("event_received", "message_created", ""),
        ("event_received", "message_created", "{}"),
        ("event_received", "message_created", "[]"),
        ("action_triggered", "action_triggered", "{\"input\":{}}"),
        ("register", "register", "{"),
    ] {
        let refused = bot.send("POST", "/", &headers(operation, kind, &configuration), body.as_bytes()).await;
        let (status, kind, text) = refused.refused();
        assert!(status == 400 && kind == "Runtime" && text.contains("body"), "{body}: {refused:?}");
    }
    let refused = bot.event(&event("message_created", json!({"message": {}}))).await.refused();
    assert!(refused.2.contains("payload of message_created"), "{refused:?}");
    let large = vec![b' '; (4 << 20) + 1];
    let refused = bot.send("POST", "/", &headers("ping", "ping", &configuration), &large).await;
    assert_eq!(refused.status, 413);
    bot.call("ping", "ping", &json!({})).await.done();
}

#[tokio::test]
async fn registration_gives_the_bot() {
    let (bot, _) = bot().await;
    let seen = Seen::default();
    let [one, two] = [seen.clone(), seen.clone()];
    let bot = bot
        .on_register(move |_, bot| {
            one.note(format!("register {}", bot.text()));
            async { Ok(()) }
        })
        .on_unregister(move |_, bot| {
            two.note(format!("unregister {}", bot.text()));
            async { Err(Failure::new("I stay")) }
        });
    let bot = Running::start(bot).await;
    bot.call("register", "register", &json!({"bot": {"id": BOT}})).await.done();
    bot.call("register", "register", &json!({})).await.done();
    assert_eq!(bot.call("unregister", "unregister", &json!({"bot": {}})).await.refused().2, "I stay");
    assert_eq!(seen.take(), [format!("register {{\"id\":\"{BOT}\"}}"), "register {}".into(), "unregister {}".into()]);
}

#[tokio::test]
async fn hooks_change_stop_and_look() {
    let (bot, api) = bot().await;
    let seen = Seen::default();
    let [handled, after, sent, answered] = [(); 4].map(|()| seen.clone());
    let bot = bot
        .before_incoming_message("text", |_, mut message| async move {
            let text = message.text().unwrap_or_default();
            message.message.payload = duologue_sdk::Json::of(&json!({"text": text.to_lowercase()}));
            Ok(if text == "STOP" { None } else { Some(message) })
        })
        .on_message("text", move |ctx, message| {
            handled.note(format!("handled {}", message.text().unwrap()));
            async move {
                match ctx.say(message.text().unwrap()).await {
                    Ok(_) => Ok(()),
                    Err(stopped) => Err(Failure::new(stopped.to_string())),
                }
            }
        })
        .after_incoming_message("*", move |_, message| {
            after.note("after");
            async { Ok(Some(message)) }
        })
        .before_outgoing_message("*", |ctx, mut message| async move {
            // What a hook says passes through no hooks: this would never end.
            ctx.say("From the hook").await?;
            message.tags.insert("seen".into(), Some("yes".into()));
            Ok(if message.payload.text().contains("secret") { None } else { Some(message) })
        })
        .after_outgoing_message("text", move |_, message| {
            sent.note(format!("sent {}", message.payload.text()));
            async { Ok(Some(message)) }
        })
        .before_incoming_event("numbers", |_, event| async move {
            Ok(Some(event).filter(|e| !e.payload.text().contains('9')))
        })
        .on_event::<Numbers>(|ctx, numbers| async move {
            let output = ctx.client().call_action("calc:double", &numbers).await?;
            Err(Failure::new(output.text()))
        })
        .before_outgoing_action("calc:double", |_, mut call| async move {
            call.name = "calc:triple".into();
            Ok(Some(call))
        })
        .after_outgoing_action("*", move |_, answer| {
            answered.note(format!("answered {}", answer.name));
            async { Ok(Some(ActionAnswer { output: duologue_sdk::Json::of(&json!({"x": 1})), ..answer })) }
        })
        .on_action::<Sum>(|_, numbers| async move { Ok(Total { sum: numbers.a + numbers.b }) })
        .before_incoming_action("sum", |_, mut call| async move {
            if call.input.text().contains("100") {
                return Ok(None);
            }
            call.input = duologue_sdk::Json::of(&json!({"a": 20, "b": 22}));
            Ok(Some(call))
        })
        .after_incoming_action("sum", |_, mut answer| async move {
            answer.output = duologue_sdk::Json::of(&json!({"all": answer.output}));
            Ok(Some(answer))
        });
    let bot = Running::start(bot).await;
    bot.event(&message("text", json!({"text": "LOUD"}))).await.done();
    assert_eq!(seen.take(), ["handled loud", "sent {\"text\":\"loud\"}", "after"]);
    let sent = api.bodies("POST /v1/chat/messages");
    assert_eq!((&sent[0]["payload"]["text"], &sent[0]["tags"]), (&json!("From the hook"), &json!({})));
    assert_eq!((&sent[1]["payload"]["text"], &sent[1]["tags"]["seen"]), (&json!("loud"), &json!("yes")));
    bot.event(&message("text", json!({"text": "STOP"}))).await.done();
    assert_eq!(seen.take(), Vec::<String>::new());
    let stopped = bot.event(&message("text", json!({"text": "A SECRET"}))).await.refused();
    assert_eq!(stopped.2, "a hook stopped the message");
    assert_eq!(seen.take(), ["handled a secret"]);

    let refused = bot.event(&event("numbers", json!({"a": 1, "b": 2}))).await.refused();
    assert_eq!(refused.2, "{\"x\":1}");
    assert_eq!(api.bodies("POST /v1/chat/actions")[0]["type"], "calc:triple");
    assert_eq!(seen.take(), ["answered calc:triple"]);
    bot.event(&event("numbers", json!({"a": 9, "b": 2}))).await.done();

    assert_eq!(bot.action("sum", json!({"a": 1, "b": 1})).await.json(), json!({"output": {"all": {"sum": 42}}}));
    assert!(bot.action("sum", json!({"a": 100, "b": 1})).await.refused().2.contains("stopped"));
}

#[tokio::test]
async fn unsigned_requests_are_refused_once_there_is_a_secret() {
    use hmac::{Hmac, KeyInit, Mac};
    let (bot, _) = bot().await;
    let bot = Running::start(bot.signing_secret("new").signing_secret("old")).await;
    let configuration = configuration("{}");
    let all = headers("ping", "ping", &configuration);
    let sign = |secret: &str, at: u64, body: &str| {
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(format!("{at}.{body}").as_bytes());
        let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("t={at},v1={hex}")
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let send = async |signature: Option<&str>| {
        let mut headers = all.to_vec();
        headers.extend(signature.map(|signature| ("x-bp-signature", signature)));
        bot.send("POST", "/", &headers, b"{}").await
    };
    send(Some(&sign("new", now, "{}"))).await.done();
    send(Some(&sign("old", now, "{}"))).await.done();
    for wrong in [
        None,
        Some("rubbish".into()),
        Some(sign("other", now, "{}")),
        Some(sign("new", now, "{ }")),
        Some(sign("new", now - 600, "{}")),
    ] {
        let (status, kind, _) = send(wrong.as_deref()).await.refused();
        assert_eq!((status, kind.as_str()), (401, "Unauthorized"), "{wrong:?}");
    }
    assert_eq!(bot.send("GET", "/health", &[], b"").await.body, "ok");
}

#[tokio::test]
async fn what_is_being_handled_is_finished_before_the_end() {
    let (bot, api) = bot().await;
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begin, wait) = (begun.clone(), go_on.clone());
    let bot = bot.on_any_message(move |ctx, _| {
        let (begin, wait) = (begin.clone(), wait.clone());
        async move {
            begin.notify_one();
            wait.notified().await;
            ctx.say("done").await?;
            Ok(())
        }
    });
    let mut bot = Running::start(bot).await;
    let hello = message("text", json!({"text": "Hi"}));
    {
        let answer = bot.event(&hello);
        tokio::pin!(answer);
        tokio::select! {
            () = begun.notified() => {}
            answer = &mut answer => panic!("answered too early: {answer:?}"),
        }
        // Also when whoever asked goes away meanwhile.
        let configuration = configuration("{}");
        let body = json!({"event": hello}).to_string();
        let headers = headers("event_received", "message_created", &configuration);
        let gone = bot.begin("POST", "/", &headers, body.as_bytes()).await;
        begun.notified().await;
        drop(gone);
        go_on.notify_waiters();
        answer.await.done();
    }
    let mut looks = 0;
    while api.bodies("POST /v1/chat/messages").len() < 2 {
        looks += 1;
        assert!(looks < 3000, "the handler ended with its connection");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    let answer = {
        let configuration = configuration("{}");
        let body = json!({"event": hello}).to_string();
        let headers = headers("event_received", "message_created", &configuration);
        let stream = bot.begin("POST", "/", &headers, body.as_bytes()).await;
        begun.notified().await;
        bot.stop();
        stream
    };
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut bot.served).await.is_err(), "it ended too early");
    assert!(tokio::net::TcpStream::connect(&bot.address).await.is_err(), "it still takes connections");
    go_on.notify_waiters();
    let mut answer = answer;
    let mut text = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut answer, &mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    tokio::time::timeout(Duration::from_secs(30), &mut bot.served).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_must_happen_once_carries_the_events_id() {
    let (bot, api) = bot().await;
    let bot = bot.on_any_message(|ctx, _| async move {
        ctx.once("guest")?.create_user(CreateUser::new()).await?;
        Ok(())
    });
    let bot = Running::start(bot).await;
    bot.event(&message("text", json!({}))).await;
    assert_eq!(api.got()[0].headers["idempotency-key"], "evt_01J00000000000000000000000:guest");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_callers_than_there_is_room_for_wait_their_turn() {
    let (bot, _) = bot().await;
    let bot = bot.on_action::<Sum>(|_, numbers| async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(Total { sum: numbers.a + numbers.b })
    });
    let bot = Arc::new(Running::start(bot).await);
    let mut calls = tokio::task::JoinSet::new();
    for a in 0..700 {
        let bot = bot.clone();
        calls.spawn(async move { (a, bot.action("sum", json!({"a": a, "b": 1})).await) });
    }
    while let Some(call) = calls.join_next().await {
        let (a, answer) = call.unwrap();
        assert_eq!(answer.json(), json!({"output": {"sum": a + 1}}));
    }
}
