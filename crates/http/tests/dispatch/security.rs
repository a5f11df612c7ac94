//! Headers that protect whoever opens an answer in a browser.

use axum::body::Body;
use http::Request;
use serde_json::json;

use crate::Bed;

#[tokio::test]
async fn every_answer_is_private_and_what_it_says_it_is() {
    let bed = Bed::new().await;
    let stranger = Request::builder().uri("/v1/chat/users").body(Body::empty()).unwrap();
    let answers = [
        bed.get("/v1/chat/users").await,
        bed.get("/v1/nothing").await,
        bed.get("/health").await,
        bed.send(stranger).await,
    ];
    for answer in answers {
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert!(answer.header("x-request-id").is_some());
    }
}

#[tokio::test]
async fn files_that_others_made_run_nothing() {
    let bed = Bed::new().await;
    let made = bed
        .post(
            "/v1/admin/integrations",
            json!({ "name": "drawn", "version": "1.0.0", "icon": "PHN2Zy8+", "readme": "IyBIaQ==" }),
        )
        .await;
    assert_eq!(made.status, 200, "{}", made.json());
    let integration = &made.json()["integration"];
    for field in ["iconUrl", "readmeUrl"] {
        let asset = bed.get(integration[field].as_str().unwrap().trim_start_matches("http://localhost")).await;
        assert_eq!(asset.status, 200);
        assert!(asset.header("content-security-policy").unwrap().contains("sandbox"));
        assert_eq!(asset.header("cache-control"), Some("public, max-age=300"));
        assert_eq!(asset.header("x-content-type-options"), Some("nosniff"));
    }
}

#[tokio::test]
async fn a_transcript_runs_nothing_either() {
    let bed = Bed::new().await;
    let made = bed.post("/v1/chat/conversations", json!({ "channel": "c", "tags": {} })).await.json();
    let id = made["conversation"]["id"].as_str().unwrap();
    let page = bed.get(&format!("/v1/chat/conversations/{id}/transcript?format=html")).await;
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("script-src"), "{policy}");
    assert_eq!(page.header("cache-control"), Some("no-store"));
}
