//! `action_triggered`, of integrations and of bots.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{
    As, Bed,
    code::{Code, Reply, fails, says},
    support,
};

/// One action, `greet`, which greets by name.
pub fn actions() -> Value {
    let input = json!({"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]});
    json!({"greet": {"input": {"schema": input}, "output": {"schema": {"type": "object"}}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn bots_have_integrations_act() {
    let bed = Bed::new(json!({"actions": actions(), "maxExecutionTime": 1})).await;
    bed.install(json!({})).await;
    bed.code.heard();
    bed.code.behaves(|asked| async move {
        let text = format!("Hello, {}", asked.body["input"]["name"].as_str().unwrap());
        says(json!({"output": {"text": text}, "meta": {"cost": 0.25}}))
    });
    let done = bed.act(As::Bot, "mine:greet", json!({"name": "Ada"})).await.ok();
    assert_eq!(done, json!({"output": {"text": "Hello, Ada"}, "meta": {"cached": false}}));
    let asked = bed.code.heard().pop().unwrap();
    assert_eq!((asked.operation.as_str(), asked.header("x-bp-type")), ("action_triggered", "action_triggered"));
    assert_eq!(asked.body, json!({"type": "greet", "input": {"name": "Ada"}}));
    // Its own, by either name.
    for name in ["greet", "mine:greet", "tester:greet"] {
        let done = bed.act(As::Integration, name, json!({"name": "Bob"})).await.ok();
        assert_eq!(done["output"]["text"], "Hello, Bob");
    }
    bed.code.heard();

    bed.act(As::Bot, "mine:greet", json!({"name": 5})).await.refused("InvalidDataFormat");
    bed.act(As::Bot, "mine:greet", json!([])).await.refused("InvalidPayload");
    bed.act(As::Bot, "mine:other", json!({})).await.refused("ResourceNotFound");
    bed.act(As::Bot, "theirs:greet", json!({})).await.refused("ResourceNotFound");
    bed.act(As::Bot, "greet", json!({})).await.refused("ResourceNotFound");
    bed.act(As::Integration, "theirs:greet", json!({})).await.refused("ResourceNotFound");
    assert_eq!(bed.code.operations(), Vec::<String>::new());

    bed.code.behaves(|_| async { fails("Ada isn't here") });
    assert_eq!(bed.act(As::Bot, "mine:greet", json!({"name": "Ada"})).await.refused("Runtime"), "Ada isn't here");
    bed.code.behaves(|_| async { Reply { status: 500, ..fails("Ada isn't here either") } });
    let message = bed.act(As::Bot, "mine:greet", json!({"name": "Ada"})).await.refused("Runtime");
    assert_eq!(message, "Ada isn't here either");
    bed.code.behaves(|_| async { says(json!({"output": "text"})) });
    bed.act(As::Bot, "mine:greet", json!({"name": "Ada"})).await.refused("Runtime");
    bed.code.behaves(|_| async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        says(json!({}))
    });
    let got = bed.act(As::Bot, "mine:greet", json!({"name": "Ada"})).await;
    assert_eq!(got.status, 504);
    got.refused("OperationTimeout");

    let path = format!("GET /v1/admin/bots/{}/action-runs?integrationName=mine&pageSize=3", bed.server.bot);
    let page = bed.call(As::Owner, &path, json!({})).await.ok();
    let shown: Vec<&Value> = page["data"].as_array().unwrap().iter().map(|run| &run["status"]).collect();
    assert_eq!(shown, ["FAILURE", "FAILURE", "FAILURE"]);
    assert_eq!(page["data"][2]["errorMessage"], "Ada isn't here either");
    let next = page["meta"]["nextToken"].as_str().unwrap();
    let rest = bed.call(As::Owner, &format!("{path}&nextToken={next}"), json!({})).await.ok();
    let oldest = &rest["data"].as_array().unwrap()[1..];
    assert_eq!(oldest.len(), 2, "{rest}");
    assert_eq!(oldest[1]["status"], "SUCCESS");
    bed.call(As::Owner, &path.replace("integrationName=mine", "x=y"), json!({})).await.refused("InvalidPayload");

    bed.code.behaves(|_| async { says(json!({})) });
    bed.install(json!({"enabled": false})).await;
    bed.act(As::Bot, "mine:greet", json!({"name": "Ada"})).await.refused("Runtime");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_breaks_its_schema_is_answered_and_logged() {
    let output = json!({"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]});
    let actions = json!({"greet": {"input": {"schema": {"type": "object"}}, "output": {"schema": output}}});
    let bed = Bed::new(json!({"actions": actions})).await;
    bed.install(json!({})).await;
    // The action has happened: its caller gets what came of it.
    bed.code.behaves(|_| async { says(json!({"output": {"text": 5}})) });
    let done = bed.act(As::Bot, "mine:greet", json!({})).await.ok();
    assert_eq!(done["output"], json!({"text": 5}));
    let logs = format!("GET /v1/admin/bots/{}/logs?timeStart=2020-01-01T00:00:00.000Z&level=warn", bed.server.bot);
    let started = Instant::now();
    let line = loop {
        let mut page = bed.call(As::Owner, &logs, json!({})).await.ok();
        if page["logs"][0].is_object() {
            break page["logs"][0]["message"].take();
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{page}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let begin = r#"The output of the action "greet" is not what it declares: "#;
    assert!(line.as_str().unwrap().starts_with(begin), "{line}");

    // What can't be an output at all is the dialect's error, for actions of the bot itself, too.
    let code = Code::serve().await;
    bed.update(json!({"url": code.url, "actions": {"own": {"input": {"schema": {}}, "output": {"schema": {}}}}})).await;
    for rubbish in [json!([]), json!({"output": []}), json!({"output": "text"}), json!({"output": null}), json!(7)] {
        for (code, name) in [(&bed.code, "mine:greet"), (&code, "own")] {
            let body = rubbish.clone();
            code.behaves(move |_| {
                let body = body.clone();
                async move { says(body) }
            });
            let message = bed.act(As::Bot, name, json!({})).await.refused("Runtime");
            assert!(message.contains("answered something"), "{rubbish}: {message}");
        }
    }
    let path = format!("GET /v1/admin/bots/{}/action-runs?integrationName=mine", bed.server.bot);
    let page = bed.call(As::Owner, &path, json!({})).await.ok();
    let runs: Vec<&str> = page["data"].as_array().unwrap().iter().map(|run| run["status"].as_str().unwrap()).collect();
    assert_eq!(runs, ["FAILURE", "FAILURE", "FAILURE", "FAILURE", "FAILURE", "SUCCESS"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_is_ended_without_its_caller() {
    let bed = Bed::new(json!({"actions": actions()})).await;
    bed.install(json!({})).await;
    bed.code.heard();
    bed.code.behaves(|_| async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        says(json!({"output": {}}))
    });
    // Who calls leaves when the code has begun.
    let begun = async {
        while bed.code.asked.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = bed.act(As::Bot, "mine:greet", json!({"name": "Ada"})) => panic!("it was answered before it had begun"),
        () = begun => {}
    }
    let path = format!("GET /v1/admin/bots/{}/action-runs?integrationName=mine", bed.server.bot);
    bed.eventually(&path, |page| page["data"][0]["status"] == "SUCCESS").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bots_act_themselves_and_are_told_of_their_deployment() {
    let bed = Bed::new(json!({})).await;
    let code = Code::serve().await;
    let configuration = json!({"data": {"a": 1}, "schema": {}});
    let change = json!({"url": code.url, "actions": actions(), "configuration": configuration});
    bed.update(change).await;
    let waiting = code.clone();
    tokio::task::spawn_blocking(move || support::eventually(|| !waiting.asked.lock().unwrap().is_empty()))
        .await
        .unwrap();
    let asked = code.heard().pop().unwrap();
    assert_eq!((asked.operation.as_str(), asked.header("x-bp-type")), ("register", "register"));
    assert_eq!(asked.body["bot"]["id"], bed.server.bot);
    assert_eq!(asked.configuration(), json!({"payload": r#"{"a":1}"#}));

    code.behaves(|asked| async move { says(json!({"output": {"type": asked.body["type"]}})) });
    let done = bed.act(As::Bot, "greet", json!({"name": "Ada"})).await.ok();
    assert_eq!(done["output"]["type"], "greet");
    let done = bed.act(As::Bot, "hitl#start", json!({})).await.ok();
    assert_eq!(done["output"]["type"], "hitl#start");
    bed.act(As::Bot, "greet", json!({})).await.refused("InvalidDataFormat");
    code.heard();

    bed.install(json!({})).await;
    bed.call(As::Owner, &format!("DELETE /v1/admin/bots/{}", bed.server.bot), json!({})).await.ok();
    let (bot, integration) = (code.clone(), bed.code.clone());
    let both = move || {
        let told = |code: &Code| code.asked.lock().unwrap().iter().any(|asked| asked.operation == "unregister");
        told(&bot) && told(&integration)
    };
    tokio::task::spawn_blocking(move || support::eventually(both)).await.unwrap();
}
