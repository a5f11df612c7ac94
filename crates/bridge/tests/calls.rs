//! Calls to a real HTTP server: what arrives there, and what its answers mean.

#![allow(clippy::unwrap_used)]

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, response::IntoResponse};
use base64::{Engine, engine::general_purpose::STANDARD};
use duologue_bridge::{Address, Bridge, Call, Callee, Code, Failure, Installed, NoHosting, Operation};
use duologue_model::Json;
use duologue_outbound::{AllowList, Client, Settings};
use http::StatusCode;

type Seen = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

#[derive(Clone)]
struct Bot {
    seen: Seen,
    status: u16,
    body: &'static str,
    pause: Duration,
}

async fn answer(State(bot): State<Bot>, headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    bot.seen.lock().unwrap().push((headers, body));
    tokio::time::sleep(bot.pause).await;
    (StatusCode::from_u16(bot.status).unwrap(), bot.body)
}

async fn serve(status: u16, body: &'static str, pause: Duration) -> (SocketAddr, Seen) {
    let seen = Seen::default();
    let app = Router::new().fallback(answer).with_state(Bot { seen: seen.clone(), status, body, pause });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, seen)
}

fn bridge(allow: &str) -> Bridge {
    let client =
        |allow: &str| Client::new(Settings { allow: allow.parse::<AllowList>().unwrap(), ..Settings::default() });
    Bridge::new(client(allow).unwrap(), client("127.0.0.0/8").unwrap(), Arc::new(NoHosting))
}

fn bot(address: SocketAddr) -> Callee {
    let configuration = Json::parse(r#"{"key":"ü"}"#.to_owned()).unwrap();
    Callee::bot("bot_1", &configuration, Address::Url(format!("http://{address}/any/path"))).unwrap()
}

#[tokio::test]
async fn a_bot_hears_who_it_is_and_what_happened() {
    let (address, seen) = serve(200, "", Duration::ZERO).await;
    let answer = bridge("*").call(&bot(address), &Call::event("slack:reactionAdded", r#"{"event":{}}"#)).await.unwrap();
    assert_eq!(answer.status, 200);
    let (headers, body) = seen.lock().unwrap().pop().unwrap();
    assert_eq!(headers["x-bot-id"], "bot_1");
    assert_eq!(headers["x-bp-operation"], "event_received");
    assert_eq!(headers["x-bp-type"], "slack:reactionAdded");
    assert_eq!(headers["content-type"], "application/json");
    assert!(!headers.contains_key("x-bp-signature"));
    assert_eq!(&body[..], br#"{"event":{}}"#);
    let outer: serde_json::Value =
        serde_json::from_slice(&STANDARD.decode(headers["x-bp-configuration"].as_bytes()).unwrap()).unwrap();
    assert_eq!(outer, serde_json::json!({ "payload": r#"{"key":"ü"}"# }));
}

#[tokio::test]
async fn an_integration_hears_for_whom_it_works() {
    let (address, seen) = serve(200, r#"{"user":{"id":"u"}}"#, Duration::ZERO).await;
    let configuration = Json::parse(r#"{"token":"t"}"#.to_owned()).unwrap();
    let installed = Installed {
        bot_id: "bot_1",
        integration_id: "intver_1",
        alias: "acme/crm",
        webhook_id: "w",
        configuration: &configuration,
        configuration_type: Some("manual"),
    };
    let callee = Callee::integration(installed, Address::Url(format!("http://{address}"))).unwrap();
    let answer = bridge("*").call(&callee, &Call::new(Operation::CreateUser, "{}")).await.unwrap();
    assert_eq!(answer.json::<serde_json::Value>().unwrap()["user"]["id"], "u");
    let (headers, _) = seen.lock().unwrap().pop().unwrap();
    for (name, value) in [
        ("x-bot-id", "bot_1"),
        ("x-bot-user-id", "bot_1"),
        ("x-integration-id", "intver_1"),
        ("x-integration-alias", "acme/crm"),
        ("x-webhook-id", "w"),
        ("x-bp-operation", "create_user"),
        ("x-bp-configuration-type", "manual"),
    ] {
        assert_eq!(headers[name], value, "{name}");
    }
    assert_eq!(STANDARD.decode(headers["x-bp-configuration"].as_bytes()).unwrap(), br#"{"token":"t"}"#);
}

#[tokio::test]
async fn what_is_slow_nowhere_or_forbidden_is_told_apart() {
    let (slow, _) = serve(200, "", Duration::from_secs(30)).await;
    let callee = bot(slow).with_timeout(Duration::from_millis(50));
    let failure = bridge("*").call(&callee, &Call::new(Operation::Ping, "{}")).await.unwrap_err();
    assert_eq!(failure, Failure::Timeout(Duration::from_millis(50)));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = bot(listener.local_addr().unwrap());
    drop(listener);
    let failure = bridge("*").call(&nobody, &Call::new(Operation::Ping, "{}")).await.unwrap_err();
    assert!(matches!(failure, Failure::Unreachable(_)), "{failure:?}");

    let failure = bridge("").call(&bot(slow), &Call::new(Operation::Ping, "{}")).await.unwrap_err();
    assert!(matches!(failure, Failure::NotCallable(_)), "{failure:?}");

    let hosted = Callee::bot("bot_1", &Json::empty_object(), Address::Code(Code::Bot("bot_1".to_owned()))).unwrap();
    let failure = bridge("*").call(&hosted, &Call::new(Operation::Ping, "{}")).await.unwrap_err();
    assert!(matches!(failure, Failure::NotCallable(_)), "{failure:?}");
}
