//! Installing, configuring and removing: `register` and `unregister`.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{
    As, Bed,
    actions::actions,
    code::{Reply, fails, says},
    path_of, support,
    wire::send,
};

#[tokio::test(flavor = "multi_thread")]
async fn installing_tells_the_code_and_says_how_that_went() {
    let schema = json!({"type": "object", "properties": {"key": {"type": "string"}}});
    let named = json!({"oauth": {"schema": {"type": "object"}}});
    let bed = Bed::new(json!({"configuration": {"schema": schema}, "configurations": named})).await;
    let instance = bed.install(json!({"configuration": {"key": "ü"}})).await;
    assert_eq!((&instance["status"], &instance["statusReason"]), (&json!("registered"), &Value::Null));
    let webhook = instance["webhookId"].as_str().unwrap();
    assert_eq!(instance["webhookUrl"], format!("http://hooks.test/{webhook}"));
    let heard = bed.code.heard();
    assert_eq!(heard.len(), 1);
    let asked = &heard[0];
    for (name, value) in [
        ("x-bp-operation", "register"),
        ("x-bp-type", "register"),
        ("x-bot-id", &bed.server.bot),
        ("x-bot-user-id", &bed.server.bot),
        ("x-integration-id", &bed.integration),
        ("x-integration-alias", "mine"),
        ("x-webhook-id", webhook),
        ("content-type", "application/json"),
    ] {
        assert_eq!(asked.header(name), value, "{name}");
    }
    assert!(!asked.headers.contains_key("x-bp-configuration-type"));
    assert_eq!(asked.configuration(), json!({"key": "ü"}));
    assert_eq!(asked.body, json!({"webhookUrl": instance["webhookUrl"]}));

    // What doesn't change isn't told again.
    bed.install(json!({"configuration": {"key": "ü"}})).await;
    bed.update(json!({"name": "renamed"})).await;
    assert_eq!(bed.code.operations(), Vec::<String>::new());

    // What changes is taken back as it was, and told as it is.
    bed.install(json!({"configuration": {}, "configurationType": "oauth"})).await;
    let heard = bed.code.heard();
    assert_eq!(heard.iter().map(|asked| asked.operation.as_str()).collect::<Vec<_>>(), ["unregister", "register"]);
    assert_eq!(heard[0].configuration(), json!({"key": "ü"}));
    assert_eq!((heard[1].configuration(), heard[1].header("x-bp-configuration-type")), (json!({}), "oauth"));

    // A failure is said, and doesn't undo anything; the next change tries again.
    bed.code.behaves(|_| async { fails("the token is wrong") });
    let instance = bed.install(json!({"configuration": {"a": 1}})).await;
    assert_eq!(instance["status"], "registration_failed");
    assert_eq!(instance["statusReason"], "the token is wrong");
    assert_eq!(instance["configuration"], json!({"a": 1}));
    // The bot's log has it, too, after what the code said to being told goodbye.
    let logs = format!("GET /v1/admin/bots/{}/logs?timeStart=2020-01-01T00:00:00.000Z", bed.server.bot);
    let complaint = "The integration mine did not register: the token is wrong";
    bed.eventually(&logs, |page| page["logs"][1]["message"] == complaint).await;
    bed.code.heard();
    bed.code.behaves(|_| async { says(json!({})) });
    assert_eq!(bed.install(json!({})).await["status"], "registered");
    assert_eq!(bed.code.operations(), ["register"]);

    assert_eq!(bed.install(json!({"enabled": false})).await["status"], "unregistered");
    assert_eq!(bed.code.operations(), ["unregister"]);
    assert_eq!(bed.install(json!({})).await["status"], "registered");
    assert_eq!(bed.code.operations(), ["register"]);
    bed.code.behaves(|_| async { fails("no") });
    let instance = bed.install(json!({"enabled": false})).await;
    assert_eq!((&instance["status"], &instance["statusReason"]), (&json!("unregistration_failed"), &json!("no")));
    bed.install(json!({})).await;
    bed.code.behaves(|_| async { says(json!({})) });
    bed.install(json!({})).await;
    bed.code.heard();
    let gone = bed.update(json!({"integrations": {"mine": null}})).await;
    assert_eq!(gone["integrations"], json!({}));
    assert_eq!(bed.code.operations(), ["unregister"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn integrations_are_called_with_a_signature() {
    let bed = Bed::new(json!({})).await;
    let new = json!({"name": "signer", "version": "1.0.0", "url": bed.code.url, "actions": actions()});
    let made = bed.call(As::Owner, "POST /v1/admin/integrations", new).await.ok()["integration"].take();
    let (id, old) = (made["id"].as_str().unwrap(), made["signingSecret"].as_str().unwrap());
    bed.update(json!({"integrations": {"mine": {"integrationId": id, "enabled": true}}})).await;
    let webhook = path_of(&bed.instance().await["webhookUrl"]);
    bed.code.behaves(|_| async { says(json!({"output": {"text": "Hi"}})) });
    let operations = async || {
        bed.act(As::Bot, "mine:greet", json!({"name": "Ada"})).await.ok();
        send(&bed.server, &format!("POST {webhook}"), b"hello").await;
        bed.code.heard()
    };
    let heard = operations().await;
    let named: Vec<&str> = heard.iter().map(|asked| asked.operation.as_str()).collect();
    assert_eq!(named, ["register", "action_triggered", "webhook_received"]);
    for asked in heard {
        let (signature, expected) = asked.signatures(&[old]);
        assert_eq!(signature, expected, "{}", asked.operation);
    }

    let rotate = format!("POST /v1/admin/integrations/{id}/signing-secrets/rotate");
    let rotated = bed.call(As::Owner, &rotate, json!({})).await.ok();
    let new = rotated["newSigningSecret"].as_str().unwrap();
    for asked in operations().await {
        let (signature, expected) = asked.signatures(&[new, old]);
        assert_eq!(signature, expected, "{}", asked.operation);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_developers_integration_is_told_when_its_code_is_there_and_when_it_is_gone() {
    let bed = Bed::new(json!({})).await;
    let new = json!({"name": "dev-one", "version": "0.1.0", "dev": true, "url": format!("http://{}", support::free_address())});
    let made = bed.call(As::Owner, "POST /v1/admin/integrations", new).await.ok();
    let id = made["integration"]["id"].as_str().unwrap();
    let bot = bed.call(As::Owner, "POST /v1/admin/bots", json!({"dev": true})).await.ok()["bot"]["id"].take();
    let bot = format!("/v1/admin/bots/{}", bot.as_str().unwrap());
    let install = json!({"integrations": {"mine": {"integrationId": id, "enabled": true, "configuration": {"a": 1}}}});
    let updated = bed.call(As::Owner, &format!("PUT {bot}"), install).await.ok();
    let instance = &updated["bot"]["integrations"]["mine"];
    assert_eq!(instance["status"], "registration_pending", "with bp dev, its code is being started: {instance}");
    assert!(instance["statusReason"].is_string(), "{instance}");

    // It answers like a tunnel without code at first.
    let attempts = Arc::new(Mutex::new(0));
    bed.code.behaves(move |_| {
        let mut attempts = attempts.lock().unwrap();
        *attempts += 1;
        let status = [404, 500, 502].get(*attempts - 1).copied();
        async move { status.map_or_else(|| says(json!({})), |status| Reply { status, ..says(json!("nobody")) }) }
    });
    bed.call(As::Owner, &format!("PUT /v1/admin/integrations/{id}"), json!({"url": bed.code.url})).await.ok();
    let settled = async || {
        let started = Instant::now();
        loop {
            let instance =
                bed.call(As::Owner, &format!("GET {bot}"), json!({})).await.ok()["bot"]["integrations"]["mine"].take();
            if instance["status"] != "registration_pending" {
                return instance;
            }
            assert!(started.elapsed() < Duration::from_secs(30), "{instance}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let registered = settled().await;
    assert_eq!((&registered["status"], &registered["statusReason"]), (&json!("registered"), &Value::Null));
    assert_eq!(bed.code.operations(), ["register"; 4]);

    // What the code itself says is final, also of one that was just deployed.
    let deploy = async || {
        bed.call(As::Owner, &format!("PUT /v1/admin/integrations/{id}"), json!({"url": bed.code.url})).await.ok()
    };
    bed.code.behaves(|_| async { Reply { status: 500, ..says(json!({"error": "thrown"})) } });
    deploy().await;
    let failed = settled().await;
    assert_eq!((&failed["status"], &failed["statusReason"]), (&json!("registration_failed"), &json!("thrown")));
    bed.code.behaves(|_| async { says(json!({})) });
    deploy().await;
    assert_eq!(settled().await["status"], "registered");
    bed.code.heard();

    // Deleted, it is forced out of bots; nobody waits for its code, which hears of it all the same.
    bed.code.behaves(|_| async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        says(json!({}))
    });
    let started = Instant::now();
    bed.call(As::Owner, &format!("DELETE /v1/admin/integrations/{id}"), json!({})).await.ok();
    assert!(started.elapsed() < Duration::from_secs(15));
    let got = bed.call(As::Owner, &format!("GET {bot}"), json!({})).await.ok();
    assert_eq!(got["bot"]["integrations"], json!({}));
    let code = bed.code.clone();
    tokio::task::spawn_blocking(move || support::eventually(|| !code.asked.lock().unwrap().is_empty())).await.unwrap();
    let heard = bed.code.heard().pop().unwrap();
    assert_eq!((heard.operation.as_str(), heard.header("x-integration-alias")), ("unregister", "mine"));
    assert_eq!((heard.header("x-integration-id"), heard.configuration()), (id, json!({"a": 1})));
    let webhook = registered["webhookUrl"].as_str().unwrap();
    assert_eq!(heard.body, json!({"webhookUrl": webhook}));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_removed_hears_of_it_but_nothing_waits_for_it_for_long() {
    let bed = Bed::new(json!({"maxExecutionTime": 60})).await;
    // It was deployed anew and hasn't been told of it again yet: it is registered all the same.
    bed.install(json!({})).await;
    bed.code.behaves(|asked| async move {
        if asked.operation == "register" {
            return Reply { status: 503, ..says(json!({})) };
        }
        tokio::time::sleep(Duration::from_secs(30)).await;
        says(json!({}))
    });
    let sql = "UPDATE instances SET status = 'registration_pending', register_at = 9999999999999";
    assert_eq!(bed.server.execute(sql).await, 1);
    bed.code.heard();
    let started = Instant::now();
    let gone = bed.update(json!({"integrations": {"mine": null}})).await;
    assert_eq!(gone["integrations"], json!({}));
    assert!((9..20).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    assert_eq!(bed.code.operations(), ["unregister"]);
    let logs = format!("GET /v1/admin/bots/{}/logs?timeStart=2020-01-01T00:00:00.000Z", bed.server.bot);
    let started = Instant::now();
    loop {
        let page = bed.call(As::Owner, &logs, json!({})).await.ok();
        let message = page["logs"].as_array().and_then(|lines| lines.last()).map(|line| line["message"].clone());
        if message == Some(json!("The integration mine did not unregister: It did not answer within 10 s")) {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{page}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn code_that_is_slow_or_broken_is_waited_for_a_while() {
    let bed = Bed::new(json!({"maxExecutionTime": 3})).await;
    bed.code.behaves(|_| async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        says(json!({}))
    });
    let started = Instant::now();
    let instance = bed.install(json!({})).await;
    assert_eq!(instance["status"], "registration_failed");
    assert!(instance["statusReason"].as_str().unwrap().contains("did not answer within 3 s"), "{instance}");
    assert!(started.elapsed() < Duration::from_secs(30));
    bed.code.heard();

    // What may pass is tried once more.
    bed.code.behaves(|_| async { Reply { status: 503, ..says(json!({"error": "busy"})) } });
    assert_eq!(bed.install(json!({})).await["statusReason"], "busy");
    assert_eq!(bed.code.operations(), ["register", "register"]);

    // Nobody there.
    let nowhere = support::free_address();
    let path = format!("PUT /v1/admin/integrations/{}", bed.integration);
    bed.call(As::Owner, &path, json!({"url": format!("http://{nowhere}")})).await.ok();
    assert_eq!(bed.install(json!({})).await["status"], "registration_failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn code_works_while_it_is_told() {
    let bed = Arc::new(Bed::new(json!({})).await);
    let weak = Arc::downgrade(&bed);
    bed.code.behaves(move |asked| {
        let bed = weak.upgrade();
        async move {
            let Some(bed) = bed.filter(|_| asked.operation == "register") else { return says(json!({})) };
            let configured = bed
                .call(As::Integration, "POST /v1/chat/integrations/configure", json!({"identifier": "team-1"}))
                .await;
            assert_eq!(configured.ok(), json!({}));
            let state = format!("POST /v1/chat/states/integration/{}/token", bed.integration);
            bed.call(As::Integration, &state, json!({"payload": {"value": "t"}})).await.ok();
            says(json!({}))
        }
    });
    let started = Instant::now();
    let instance = bed.install(json!({})).await;
    assert_eq!((&instance["status"], &instance["identifier"]), (&json!("registered"), &json!("team-1")));
    assert!(started.elapsed() < Duration::from_secs(10));

    let words = ["never", ""];
    for word in words {
        let body = json!({"scheduleRegisterCall": word});
        bed.call(As::Integration, "POST /v1/chat/integrations/configure", body).await.refused("InvalidPayload");
    }
    bed.call(As::Bot, "POST /v1/chat/integrations/configure", json!({"identifier": "x"})).await.refused("Forbidden");
    for identifier in [json!(""), json!(null)] {
        let body = json!({"identifier": "again"});
        bed.call(As::Integration, "POST /v1/chat/integrations/configure", body).await.ok();
        assert_eq!(bed.instance().await["identifier"], "again");
        let body = json!({"identifier": identifier, "scheduleRegisterCall": "daily"});
        bed.call(As::Integration, "POST /v1/chat/integrations/configure", body).await.ok();
        assert_eq!(bed.instance().await.get("identifier"), None);
    }
    assert_eq!(bed.instance().await["status"], "registered");
    // A day later it is told again.
    bed.code.heard();
    let moved = bed.server.execute("UPDATE instances SET register_at = 1 WHERE register_at IS NOT NULL").await;
    assert_eq!(moved, 1);
    bed.call(As::Integration, "POST /v1/chat/integrations/configure", json!({"identifier": "wake"})).await.ok();
    let body = json!({"code": "exports.default = {}"});
    bed.call(As::Owner, &format!("PUT /v1/admin/integrations/{}", bed.integration), body).await.ok();
    let code = bed.code.clone();
    tokio::task::spawn_blocking(move || support::eventually(|| !code.asked.lock().unwrap().is_empty())).await.unwrap();
    assert_eq!(bed.code.operations()[0], "register");
    bed.eventually_status("registered").await;
    let next = bed.server.number("SELECT COALESCE(MIN(register_at), 0) FROM instances").await;
    assert!(next > 1_000_000, "it is told again a day later: {next}");
}

async fn changes_of_a_bot_wait_for_each_other(database: Option<&str>) {
    let bed = Arc::new(Bed::on(database, json!({})).await);
    let second = database.map(|_| bed.server.another());
    let running = Arc::new(Mutex::new((0, 0)));
    let counted = running.clone();
    bed.code.behaves(move |_| {
        let counted = counted.clone();
        async move {
            {
                let mut counted = counted.lock().unwrap();
                counted.0 += 1;
                counted.1 = counted.1.max(counted.0);
            }
            tokio::time::sleep(Duration::from_millis(150)).await;
            counted.lock().unwrap().0 -= 1;
            says(json!({}))
        }
    });
    let path = format!("PUT /v1/admin/bots/{}", bed.server.bot);
    let change = |n: usize| {
        let entry = json!({"integrationId": bed.integration, "enabled": true, "configuration": {"n": n}});
        json!({"integrations": {"mine": entry}}).to_string()
    };
    let head = format!(
        "{path}\nauthorization: Bearer {}\ncontent-type: application/json\nx-workspace-id: {}\nx-multiple-integrations: true\n",
        bed.server.token, bed.server.workspace
    );
    let all = (0..6).map(|n| {
        let server = if n % 2 == 1 { second.as_ref().unwrap_or(&bed.server) } else { &bed.server };
        let (head, body) = (head.clone(), change(n));
        async move { send(server, &head, body.as_bytes()).await.ok() }
    });
    for updated in futures_util::future::join_all(all).await {
        assert_eq!(updated["bot"]["integrations"]["mine"]["status"], "registered");
    }
    assert_eq!(running.lock().unwrap().1, 1, "two changes told code at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_a_bot_wait_for_each_other_on_sqlite() {
    changes_of_a_bot_wait_for_each_other(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_a_bot_wait_for_each_other_on_postgres() {
    if let Some(database) = support::postgres().await {
        changes_of_a_bot_wait_for_each_other(Some(&database)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_interrupted_is_told_after_a_restart() {
    let mut bed = Bed::new(json!({})).await;
    bed.code.behaves(|_| async {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        says(json!({}))
    });
    let entry = json!({"integrationId": bed.integration, "enabled": true});
    let body = json!({"integrations": {"mine": entry}}).to_string();
    let head = format!(
        "PUT /v1/admin/bots/{}\nauthorization: Bearer {}\ncontent-type: application/json\nx-workspace-id: {}\nx-multiple-integrations: true\ncontent-length: {}\n",
        bed.server.bot,
        bed.server.token,
        bed.server.workspace,
        body.len()
    );
    let address = bed.server.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (line, rest) = head.split_once('\n').unwrap();
    let request = format!("{line} HTTP/1.1\r\nhost: x\r\n{}\r\n{body}", rest.replace('\n', "\r\n"));
    stream.write_all(request.as_bytes()).await.unwrap();
    let code = bed.code.clone();
    tokio::task::spawn_blocking(move || support::eventually(|| !code.asked.lock().unwrap().is_empty())).await.unwrap();
    bed.code.behaves(|_| async { says(json!({})) });
    assert_eq!(bed.instance().await["status"], "registration_pending");
    bed.server.restart();
    bed.eventually_status("registered").await;
    assert_eq!(bed.code.operations(), ["register", "register"]);
}
