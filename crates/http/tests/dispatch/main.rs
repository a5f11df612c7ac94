//! Requests through the real router, over a real store, without a socket.

#![allow(clippy::unwrap_used)]

mod bounds;
mod coverage;
mod logs;
mod rate;
mod security;
mod sharing;

use std::sync::Arc;

use axum::{Router, body::Body};
use duologue_bridge::{Bridge, NoHosting};
use duologue_calls::Calls;
use duologue_http::{App, Limits, Listeners, Metrics, RateLimit, Throttle};
use duologue_outbound::{Client, Settings};
use duologue_store::{Location, Store, setup::Plan};
use http::{HeaderMap, Method, Request, request::Builder};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

/// A router over a fresh store, and who may use it.
struct Bed {
    router: Router,
    store: Arc<Store>,
    bot: String,
    token: String,
    _folder: tempfile::TempDir,
}

/// An answer, read to its end.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Bed {
    async fn new() -> Bed {
        Self::with(Limits::default(), 0).await
    }

    async fn with(limits: Limits, per_second: u32) -> Bed {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Location::Sqlite(folder.path().join("duologue.db"))).await.unwrap();
        let plan = Plan {
            email: "owner@localhost".into(),
            workspace: "Test".into(),
            handle: "test".into(),
            bot: "tested".into(),
            bot_id: None,
            token: None,
        };
        let made = store.first_start(plan).await.unwrap().unwrap();
        let store = Arc::new(store);
        let client = || Client::new(Settings { allow: "127.0.0.0/8".parse().unwrap(), ..Settings::default() }).unwrap();
        let app = App {
            calls: Calls::new(store.clone(), Bridge::new(client(), client(), Arc::new(NoHosting)), "http://localhost"),
            store: store.clone(),
            limits,
            rate: RateLimit::new(per_second),
            metrics: Metrics::default(),
            public_url: "http://localhost".into(),
            bots: None,
            throttle: Throttle::new(false),
            listeners: Listeners::default(),
            webhooks: duologue_outbound::Client::new(duologue_outbound::Settings::default()).unwrap(),
        };
        Bed {
            router: duologue_http::router(Arc::new(app)),
            store,
            bot: made.bot.as_str().into(),
            token: made.token.value.unwrap(),
            _folder: folder,
        }
    }

    /// A request of the owner, about the bot.
    fn request(&self, method: Method, uri: &str) -> Builder {
        let builder = Request::builder().method(method).uri(uri);
        builder.header("authorization", format!("Bearer {}", self.token)).header("x-bot-id", &self.bot)
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes().to_vec(),
        }
    }

    async fn get(&self, uri: &str) -> Answer {
        self.send(self.request(Method::GET, uri).body(Body::empty()).unwrap()).await
    }

    async fn post(&self, uri: &str, body: Value) -> Answer {
        let request = self.request(Method::POST, uri).header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether it is this error, in the dialect's whole envelope.
    #[track_caller]
    fn assert_refused(&self, kind: &str, status: u16) {
        let body = self.json();
        assert_eq!((self.status, body["type"].as_str()), (status, Some(kind)), "{body}");
        assert_eq!(body["code"], status);
        assert_eq!(self.header("content-type"), Some("application/json"));
        for field in ["id", "message"] {
            assert!(body[field].as_str().is_some_and(|text| !text.is_empty()), "{field} in {body}");
        }
    }
}
