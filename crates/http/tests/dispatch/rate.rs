//! The limit on a token's requests, and what it tells clients.

use std::time::{Duration, Instant};

use duologue_http::Limits;
use serde_json::json;

use crate::Bed;

/// Clients that sleep on these headers read whole seconds.
const HEADERS: [&str; 3] = ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"];

/// What was asked without being held up by the machine.
async fn in_time<T>(ask: impl AsyncFn() -> Option<T>) -> T {
    for _ in 0..50 {
        if let Some(answers) = ask().await {
            return answers;
        }
    }
    panic!("this machine is too slow");
}

#[tokio::test]
async fn without_a_limit_nothing_is_said_of_one() {
    let bed = Bed::new().await;
    for _ in 0..50 {
        let answer = bed.get("/v1/chat/users").await;
        assert_eq!(answer.status, 200);
        assert!(HEADERS.iter().all(|name| answer.header(name).is_none()));
    }
}

#[tokio::test]
async fn a_token_that_asks_too_much_is_told_how_long_to_wait() {
    let ask = async || {
        let bed = Bed::with(Limits::default(), 2).await;
        let began = Instant::now();
        let first = bed.get("/v1/chat/users").await;
        let key = bed.post("/v1/admin/bots/baks", json!({ "botId": bed.bot, "note": "other" })).await;
        let refused = bed.get("/v1/chat/users").await;
        // After half a second it may ask once more.
        (began.elapsed() < Duration::from_millis(500)).then_some((bed, first, key, refused))
    };
    let (bed, first, key, refused) = in_time(ask).await;
    assert_eq!(first.status, 200);
    assert_eq!(HEADERS.map(|name| first.header(name).unwrap()), ["2", "1", "1"]);
    assert_eq!(key.status, 200);
    refused.assert_refused("RateLimited", 429);
    assert_eq!(HEADERS.map(|name| refused.header(name).unwrap()), ["2", "0", "1"]);
    assert_eq!(refused.header("retry-after"), Some("1"));
    let other = Bed { token: key.json()["value"].as_str().unwrap().into(), ..bed };
    assert_eq!(other.get("/v1/chat/users").await.status, 200, "another token has its own limit");
    assert_eq!(other.get("/health").await.status, 200);
}

#[tokio::test]
async fn what_was_refused_had_no_effect() {
    let ask = async || {
        let bed = Bed::with(Limits::default(), 1).await;
        let began = Instant::now();
        let first = bed.post("/v1/chat/users", json!({ "tags": {} })).await;
        let second = bed.post("/v1/chat/users", json!({ "tags": {} })).await;
        (began.elapsed() < Duration::from_secs(1)).then_some((bed, first, second))
    };
    let (bed, first, second) = in_time(ask).await;
    assert_eq!(first.status, 201);
    second.assert_refused("RateLimited", 429);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let users = bed.get("/v1/chat/users").await;
    assert_eq!(users.status, 200, "after what the header said, the token is served again");
    assert_eq!(users.json()["users"].as_array().unwrap().len(), 2, "the bot, and the one user");
}
