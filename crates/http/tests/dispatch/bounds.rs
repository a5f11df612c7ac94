//! Lengths, sizes, depths and times.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use duologue_http::Limits;
use futures_util::{StreamExt, stream};
use http::Method;
use serde_json::json;

use crate::Bed;

#[tokio::test]
async fn the_line_of_a_request_is_bounded() {
    let bed = Bed::new().await;
    let users = |length: usize| format!("/v1/chat/users?x={}", "a".repeat(length - "/v1/chat/users?x=".len()));
    assert_eq!(bed.get(&users(16 * 1024)).await.status, 200);
    bed.get(&users(16 * 1024 + 1)).await.assert_refused("InvalidPayload", 400);
    let unknown = bed.get(&format!("/{}", "a".repeat(20_000))).await;
    unknown.assert_refused("InvalidPayload", 400);
    assert!(unknown.body.len() < 400, "a long path is not repeated");
}

#[tokio::test]
async fn headers_are_bounded() {
    let bed = Bed::new().await;
    let with = |length: usize| {
        bed.request(Method::GET, "/v1/chat/users").header("x-padding", "a".repeat(length)).body(Body::empty()).unwrap()
    };
    assert_eq!(bed.send(with(30_000)).await.status, 200);
    bed.send(with(33_000)).await.assert_refused("InvalidPayload", 400);
}

#[tokio::test]
async fn bodies_are_bounded() {
    let bed =
        Bed::with(Limits { body_bytes: 1000, admin_body_bytes: 5000, json_depth: 8, ..Limits::default() }, 0).await;
    let tags = |length: usize| json!({ "tags": { "a": "x".repeat(length) } });
    assert_eq!(bed.post("/v1/chat/users", tags(400)).await.status, 201);
    bed.post("/v1/chat/users", tags(1000)).await.assert_refused("PayloadTooLarge", 413);
    let bot = |length: usize| json!({ "name": "b", "code": "x".repeat(length) });
    assert_eq!(bed.post("/v1/admin/bots", bot(4000)).await.status, 200);
    bed.post("/v1/admin/bots", bot(5000)).await.assert_refused("PayloadTooLarge", 413);
    let deep = json!({ "type": "t", "payload": { "a": [[[[[[[[1]]]]]]]] } });
    bed.post("/v1/chat/events", deep).await.assert_refused("InvalidPayload", 400);
}

#[tokio::test]
async fn a_body_without_a_length_is_bounded_too() {
    let bed = Bed::with(Limits { body_bytes: 1000, ..Limits::default() }, 0).await;
    let pieces = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 100])));
    let request = bed.request(Method::POST, "/v1/chat/users").header("content-type", "application/json");
    let request = request.header("transfer-encoding", "chunked").body(Body::from_stream(pieces)).unwrap();
    bed.send(request).await.assert_refused("PayloadTooLarge", 413);
}

#[tokio::test]
async fn a_body_that_takes_too_long_is_given_up() {
    let bed = Bed::with(Limits { body_seconds: 1, ..Limits::default() }, 0).await;
    let drops = stream::repeat(()).then(|()| async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok::<_, std::io::Error>(Bytes::from_static(b" "))
    });
    let request = bed.request(Method::POST, "/v1/chat/users").header("content-type", "application/json");
    let request = request.header("transfer-encoding", "chunked").body(Body::from_stream(drops)).unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(10), bed.send(request)).await.unwrap();
    answer.assert_refused("InvalidPayload", 400);
}
