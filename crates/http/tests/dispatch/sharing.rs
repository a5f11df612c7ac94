//! What members reach of a bot that is restricted to some of them.

use axum::body::Body;
use duologue_model::admin::Role;
use duologue_store::workspaces::Actor;
use http::{Method, Request};
use serde_json::json;

use crate::{Answer, Bed};

const EVERYWHERE: &[&str] = &[
    "/v1/admin/bots/{bot}",
    "/v1/admin/bots/{bot}/allowlist",
    "/v1/admin/bots/{bot}/logs?timeStart=2026-01-01T00:00:00Z",
    "/v1/admin/bots/{bot}/versions",
    "/v1/admin/bots/{bot}/deliveries",
    "/v1/admin/bots/{bot}/webhooks",
    "/v1/admin/bots/{bot}/action-runs?integrationName=x",
    "/v1/admin/bots/baks?botId={bot}",
    "/v1/chat/conversations",
];

/// Reads something with this token.
async fn read(bed: &Bed, token: &str, path: &str) -> Answer {
    let request = Request::builder().method(Method::GET).uri(path.replace("{bot}", &bed.bot));
    let request = request.header("authorization", format!("Bearer {token}")).header("x-bot-id", &bed.bot);
    bed.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_restricted_bot_is_nowhere_for_those_who_are_not_listed() {
    let bed = Bed::new().await;
    let introspection = bed.post("/v1/admin/introspect", json!({ "botId": bed.bot })).await.json();
    let text = |name: &str| introspection[name].as_str().unwrap().to_owned();
    let owner = Actor { account: text("userId"), workspace: Some(text("workspaceId")) };
    bed.store.create_member(owner, "manager@example.org".into(), Role::Manager).await.unwrap();
    let token = bed.store.hand_out_pat("manager@example.org".into(), String::new()).await.unwrap().value.unwrap();
    for path in EVERYWHERE {
        assert_eq!(read(&bed, &token, path).await.status, 200, "{path}");
    }
    let restrict = |setting: &str| {
        let request = bed.request(Method::PUT, &format!("/v1/admin/bots/{}/allowlist", bed.bot));
        let body = Body::from(json!({ "setting": setting }).to_string());
        bed.send(request.header("content-type", "application/json").body(body).unwrap())
    };
    assert_eq!(restrict("SELECTED_USERS").await.status, 200);
    for path in EVERYWHERE {
        let (kind, status) = if path.starts_with("/v1/chat") { ("Forbidden", 403) } else { ("ResourceNotFound", 404) };
        read(&bed, &token, path).await.assert_refused(kind, status);
        assert_eq!(bed.get(&path.replace("{bot}", &bed.bot)).await.status, 200, "the owner: {path}");
    }
    assert_eq!(read(&bed, &token, "/v1/admin/bots").await.json()["bots"], json!([]));
    assert_eq!(restrict("ALL_WORKSPACE_USERS").await.status, 200);
    assert_eq!(read(&bed, &token, "/v1/chat/conversations").await.status, 200);
}
