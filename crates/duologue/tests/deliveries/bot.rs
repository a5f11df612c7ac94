//! A bot, or an integration, of the tests: a real HTTP server that notes what it is asked and answers as
//! it is told to.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use futures_util::future::BoxFuture;
use serde_json::Value;

/// How a call is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    Well,
    Status(u16, &'static str),
    /// Never.
    Hang,
    /// The connection ends in the middle of the answer.
    Die,
}

/// A call that arrived.
#[derive(Clone, Debug)]
pub struct Call {
    pub headers: HeaderMap,
    pub body: Value,
    pub began: Instant,
    /// None while it is under way.
    pub ended: Option<Instant>,
}

impl Call {
    pub fn event(&self) -> &Value {
        &self.body["event"]
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Which conversation it is about.
    pub fn conversation(&self) -> &str {
        self.event()["conversationId"].as_str().unwrap_or_default()
    }

    /// The text of the message that it is about.
    pub fn text(&self) -> &str {
        self.event()["payload"]["message"]["payload"]["text"].as_str().unwrap_or_default()
    }
}

type Behaviour = Arc<dyn Fn(Call, usize) -> BoxFuture<'static, Reply> + Send + Sync>;

#[derive(Clone)]
pub struct TestBot {
    pub url: String,
    calls: Arc<Mutex<Vec<Call>>>,
    behaviour: Behaviour,
}

impl TestBot {
    /// Serves. `behave` gets each call, and how many with the same event or message there were before.
    pub async fn serve<F, R>(behave: F) -> TestBot
    where
        F: Fn(Call, usize) -> R + Send + Sync + 'static,
        R: Future<Output = Reply> + Send + 'static,
    {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let behaviour: Behaviour = Arc::new(move |call, before| Box::pin(behave(call, before)));
        let bot = TestBot { url, calls: Arc::default(), behaviour };
        let app = Router::new().fallback(answer).with_state((bot.clone(), Arc::new(Mutex::new(HashMap::new()))));
        tokio::spawn(async move { axum::serve(listener, app).await });
        bot
    }

    pub async fn well() -> TestBot {
        TestBot::serve(|_, _| async { Reply::Well }).await
    }

    /// What arrived, in the order of arrival.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.calls.lock().unwrap().len()
    }
}

type Counts = Arc<Mutex<HashMap<String, usize>>>;

async fn answer(State((bot, counts)): State<(TestBot, Counts)>, headers: HeaderMap, body: Bytes) -> Response {
    // Deployments and installations are others' tests.
    if headers.get("x-bp-operation").is_some_and(|operation| operation == "register" || operation == "unregister") {
        return (StatusCode::OK, "{}").into_response();
    }
    let body: Value = serde_json::from_slice(&body).unwrap();
    let call = Call { headers, body, began: Instant::now(), ended: None };
    let id = call.event()["id"].as_str().or(call.body["message"]["id"].as_str()).unwrap_or_default().to_owned();
    let before = {
        let mut counts = counts.lock().unwrap();
        let count = counts.entry(id).or_insert(0);
        *count += 1;
        *count - 1
    };
    let number = {
        let mut calls = bot.calls.lock().unwrap();
        calls.push(call.clone());
        calls.len() - 1
    };
    let reply = (bot.behaviour)(call, before).await;
    bot.calls.lock().unwrap()[number].ended = Some(Instant::now());
    match reply {
        Reply::Well => (StatusCode::OK, "{}").into_response(),
        Reply::Status(status, body) => (StatusCode::from_u16(status).unwrap(), body).into_response(),
        Reply::Hang => {
            tokio::time::sleep(Duration::from_secs(600)).await;
            StatusCode::OK.into_response()
        }
        Reply::Die => {
            let broken = futures_util::stream::iter([Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("dead"))]);
            Body::from_stream(broken).into_response()
        }
    }
}
