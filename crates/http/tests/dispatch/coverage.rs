//! What is served, and what the rest answers.

use axum::body::Body;
use http::Method;
use serde_json::{Value, json};

use crate::Bed;

const DIALECT: [&str; 2] = [
    include_str!("../../../../spec/cloud/runtime.openapi.json"),
    include_str!("../../../../spec/cloud/admin.openapi.json"),
];

/// Method, path and name of every operation of a description.
fn operations(document: &Value) -> Vec<(Method, String, String)> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if let Some(id) = operation["operationId"].as_str() {
                all.push((method.to_uppercase().parse().unwrap(), path.clone(), id.to_owned()));
            }
        }
    }
    all
}

fn dialect() -> Vec<(Method, String, String)> {
    DIALECT.iter().flat_map(|text| operations(&serde_json::from_str(text).unwrap())).collect()
}

/// The path with something in the place of its parameters.
fn filled(path: &str) -> String {
    let fill = |segment: &str| if segment.starts_with('{') { "something".to_owned() } else { segment.to_owned() };
    path.split('/').map(fill).collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn what_is_not_served_is_no_operation() {
    let bed = Bed::new().await;
    let served = operations(&bed.get("/openapi.json").await.json());
    let is_served = |id: &str| served.iter().any(|(_, _, other)| other == id);
    let mut refused = 0;
    for (method, path, id) in dialect() {
        if is_served(&id) {
            continue;
        }
        let request = bed.request(method, &filled(&path)).header("content-type", "application/json");
        let answer = bed.send(request.body(Body::from("{}")).unwrap()).await;
        assert_eq!(answer.status, 405, "{id} {path}");
        answer.assert_refused("MethodNotFound", 405);
        refused += 1;
    }
    assert!(refused > 0);
    for path in ["/v1/files", "/v1/tables", "/v1/files/knowledge-bases", "/v1/other", "/"] {
        bed.get(path).await.assert_refused("MethodNotFound", 405);
    }
}

/// The operations whose resources are served as a whole.
#[tokio::test]
async fn covered_resources_are_complete() {
    let bed = Bed::new().await;
    let served = operations(&bed.get("/openapi.json").await.json());
    let whole = ["/v1/chat/", "/v1/admin/account/", "/v1/admin/workspace-members", "/v1/admin/hub/integrations"];
    let named = [
        "createBot",
        "getBot",
        "listBots",
        "updateBot",
        "deleteBot",
        "createBotApiKey",
        "listBotApiKeys",
        "deleteBotApiKey",
        "createIntegration",
        "getIntegration",
        "getIntegrationByName",
        "listIntegrations",
        "updateIntegration",
        "deleteIntegration",
        "validateIntegrationCreation",
        "validateIntegrationUpdate",
        "createIntegrationApiKey",
        "listIntegrationApiKeys",
        "deleteIntegrationApiKey",
        "createWorkspace",
        "getWorkspace",
        "listWorkspaces",
        "updateWorkspace",
        "deleteWorkspace",
        "checkHandleAvailability",
        "getPublicWorkspace",
        "listPublicWorkspaces",
        "getWorkspacePreference",
        "setWorkspacePreference",
        "introspect",
    ];
    let mut found = 0;
    for (_, path, id) in dialect() {
        if whole.iter().any(|prefix| path.starts_with(prefix)) || named.contains(&id.as_str()) {
            assert!(served.iter().any(|(_, _, other)| *other == id), "{id} is not served");
            found += 1;
        }
    }
    assert!(found > named.len() + 50, "{found}");
}

#[tokio::test]
async fn what_calls_code_says_that_there_is_none() {
    let bed = Bed::new().await;
    let call = bed.post("/v1/chat/actions", json!({ "type": "slack:send", "input": {} })).await;
    call.assert_refused("ResourceNotFound", 404);
    let configure = bed.post("/v1/chat/integrations/configure", json!({ "identifier": "x" })).await;
    configure.assert_refused("Forbidden", 403);
}

/// The guide says of every admin operation whether it is served, and says it right.
#[tokio::test]
async fn the_guide_knows_what_is_served() {
    let bed = Bed::new().await;
    let served = operations(&bed.get("/openapi.json").await.json());
    let guide = include_str!("../../../../docs/compatibility.md");
    let section = |heading: &str| {
        let (_, rest) = guide.split_once(heading).unwrap();
        rest.split("\n#").next().unwrap()
    };
    let (yes, no) = (section("### Served\n"), section("### Not served yet\n"));
    for (_, _, id) in dialect().iter().filter(|(_, path, _)| path.starts_with("/v1/admin/")) {
        let is_served = served.iter().any(|(_, _, other)| other == id);
        let name = format!("`{id}`");
        assert_eq!((yes.contains(&name), no.contains(&name)), (is_served, !is_served), "{id}");
    }
    let ours: Value = serde_json::from_str(include_str!("../../../../spec/duologue.openapi.json")).unwrap();
    for (_, path, id) in operations(&ours).iter().filter(|(_, path, _)| path.starts_with("/v1/chat/")) {
        assert!(section("## What Duologue adds\n").contains(&format!("`{id}`")), "{id} {path}");
    }
}
