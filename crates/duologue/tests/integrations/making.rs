//! Conversations and users that a bot has an integration make: `create_conversation`, `create_user`.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    As, Bed,
    code::{fails, says},
    support,
};

fn creatable() -> Value {
    let creation = json!({"enabled": true, "requiredTags": ["id"]});
    let tags = json!({"id": {}, "phone": {}});
    json!({
        "user": {"tags": tags, "creation": creation},
        "channels": {
            "dm": {"messages": {}, "conversation": {"tags": tags, "creation": creation}},
            "closed": {"messages": {}},
        },
    })
}

async fn bots_have_integrations_make_things(database: Option<&str>) {
    let bed = Arc::new(Bed::on(database, creatable()).await);
    bed.install(json!({})).await;
    bed.code.heard();
    let weak = Arc::downgrade(&bed);
    bed.code.behaves(move |asked| {
        let bed = weak.upgrade().unwrap();
        async move {
            if asked.operation == "create_user" {
                let body = json!({"tags": asked.body["tags"], "discriminateByTags": ["id"]});
                let got = bed.call(As::Integration, "POST /v1/chat/users/get-or-create", body).await.ok();
                return says(json!({"user": {"id": got["user"]["id"]}}));
            }
            let body = json!({"channel": asked.body["channel"], "tags": asked.body["tags"]});
            let got = bed.call(As::Integration, "POST /v1/chat/conversations", body).await.ok();
            // As an HTTP answer with the text of its body.
            says(json!({"status": 200, "body": json!({"conversation": {"id": got["conversation"]["id"]}}).to_string()}))
        }
    });
    let body = json!({"integrationName": "mine", "name": "Ada", "tags": {"mine:id": "u1", "phone": "5", "vip": "yes"}});
    let user = bed.call(As::Bot, "POST /v1/chat/users", body.clone()).await;
    assert_eq!(user.status, 201);
    let user = user.ok()["user"].take();
    assert_eq!(user["tags"], json!({"mine:id": "u1", "mine:phone": "5", "vip": "yes"}));
    assert_eq!(user["name"], "Ada");
    let asked = bed.code.heard().pop().unwrap();
    assert_eq!((asked.operation.as_str(), &asked.body), ("create_user", &json!({"tags": {"id": "u1", "phone": "5"}})));
    let path = format!("GET /v1/chat/users/{}", user["id"].as_str().unwrap());
    let theirs = bed.call(As::Integration, &path, json!({})).await.ok();
    assert_eq!(theirs["user"]["tags"], json!({"id": "u1", "phone": "5"}));

    // What is there isn't asked for again.
    let found = bed.call(As::Bot, "POST /v1/chat/users/get-or-create", body).await.ok();
    assert_eq!((&found["user"]["id"], &found["meta"]["created"]), (&user["id"], &json!(false)));
    assert_eq!(bed.code.operations(), Vec::<String>::new());
    let body = json!({"integrationName": "mine", "tags": {"id": "u2"}});
    let made = bed.call(As::Bot, "POST /v1/chat/users/get-or-create", body).await.ok();
    assert_eq!(made["meta"]["created"], true);

    let body = json!({"integrationName": "mine", "channel": "dm", "tags": {"tester:id": "c1", "topic": "t"}});
    let got = bed.call(As::Bot, "POST /v1/chat/conversations", body.clone()).await;
    assert_eq!(got.status, 201);
    let conversation = got.ok()["conversation"].take();
    assert_eq!((&conversation["integration"], &conversation["channel"]), (&json!("mine"), &json!("dm")));
    assert_eq!(conversation["tags"], json!({"mine:id": "c1", "topic": "t"}));
    let asked = bed.code.heard().pop().unwrap();
    assert_eq!(asked.operation, "create_conversation");
    assert_eq!(asked.body, json!({"channel": "dm", "tags": {"id": "c1"}}));
    let found = bed.call(As::Bot, "POST /v1/chat/conversations/get-or-create", body.clone()).await.ok();
    assert_eq!((&found["conversation"]["id"], &found["meta"]["created"]), (&conversation["id"], &json!(false)));

    for (body, kind) in [
        (json!({"integrationName": "mine", "channel": "dm", "tags": {"topic": "t"}}), "InvalidPayload"),
        (json!({"integrationName": "mine", "channel": "closed", "tags": {"id": "1"}}), "InvalidPayload"),
        (json!({"integrationName": "mine", "channel": "none", "tags": {"id": "1"}}), "InvalidPayload"),
        (json!({"integrationName": "theirs", "channel": "dm", "tags": {"id": "1"}}), "ReferenceNotFound"),
    ] {
        bed.call(As::Bot, "POST /v1/chat/conversations", body).await.refused(kind);
    }
    assert_eq!(bed.code.operations(), Vec::<String>::new());

    // Answers that are of no use.
    let new = |id: &str| json!({"integrationName": "mine", "tags": {"id": id}});
    bed.code.behaves(|_| async { fails("no such number") });
    assert_eq!(bed.call(As::Bot, "POST /v1/chat/users", new("x")).await.refused("Runtime"), "no such number");
    let bot = bed.server.bot.clone();
    bed.code.behaves(move |_| {
        let bot = bot.clone();
        async move { says(json!({"user": {"id": bot}})) }
    });
    bed.call(As::Bot, "POST /v1/chat/users", new("x")).await.refused("Runtime");
    bed.code.behaves(|_| async { says(json!({})) });
    bed.call(As::Bot, "POST /v1/chat/users", new("x")).await.refused("Runtime");
}

#[tokio::test(flavor = "multi_thread")]
async fn bots_have_integrations_make_things_on_sqlite() {
    bots_have_integrations_make_things(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bots_have_integrations_make_things_on_postgres() {
    if let Some(database) = support::postgres().await {
        bots_have_integrations_make_things(Some(&database)).await;
    }
}
