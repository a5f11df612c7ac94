//! The code of an integration, or of a bot: a small HTTP server in this process.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
};

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

#[derive(Clone, Debug)]
pub struct Asked {
    pub operation: String,
    pub headers: HeaderMap,
    pub body: Value,
    pub bytes: Bytes,
}

impl Asked {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The signature that it comes with, and the one by these secrets.
    pub fn signatures(&self, secrets: &[&str]) -> (&str, String) {
        let signature = self.header("x-bp-signature");
        let (at, _) = signature.strip_prefix("t=").unwrap().split_once(',').unwrap();
        let mut expected = format!("t={at}");
        for secret in secrets {
            let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
            let mac = mac.chain_update(format!("{at}.")).chain_update(&self.bytes).finalize().into_bytes();
            expected.push_str(",v1=");
            expected.extend(mac.iter().map(|byte| format!("{byte:02x}")));
        }
        (signature, expected)
    }

    pub fn configuration(&self) -> Value {
        serde_json::from_slice(&STANDARD.decode(self.header("x-bp-configuration")).unwrap()).unwrap()
    }
}

/// What it answers.
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, &'static str)>,
    pub body: Vec<u8>,
}

pub fn says(body: Value) -> Reply {
    Reply { status: 200, headers: Vec::new(), body: body.to_string().into_bytes() }
}

pub fn fails(message: &str) -> Reply {
    let body = json!({"id": "x", "code": 400, "type": "Runtime", "message": message});
    Reply { status: 400, ..says(body) }
}

pub type Behaviour = Box<dyn Fn(Asked) -> Pin<Box<dyn Future<Output = Reply> + Send>> + Send + Sync>;

/// The code of a bot or an integration.
#[derive(Clone)]
pub struct Code {
    pub url: String,
    pub asked: Arc<Mutex<Vec<Asked>>>,
    pub behaviour: Arc<Mutex<Arc<Behaviour>>>,
}

impl Code {
    pub async fn serve() -> Code {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let code = Code {
            url: format!("http://{}/some/path", listener.local_addr().unwrap()),
            asked: Arc::default(),
            behaviour: Arc::new(Mutex::new(Arc::new(Box::new(|_| Box::pin(async { says(json!({})) }))))),
        };
        let this = code.clone();
        let app = axum::Router::new()
            .fallback(move |headers: HeaderMap, body: Bytes| this.clone().answer(headers, body))
            .layer(axum::extract::DefaultBodyLimit::disable());
        tokio::spawn(async move { axum::serve(listener, app).await });
        code
    }

    pub async fn answer(self, headers: HeaderMap, body: Bytes) -> Response {
        let operation = headers["x-bp-operation"].to_str().unwrap().to_owned();
        let asked = Asked { operation, headers, body: serde_json::from_slice(&body).unwrap(), bytes: body };
        self.asked.lock().unwrap().push(asked.clone());
        let behaviour = self.behaviour.lock().unwrap().clone();
        let reply = behaviour(asked).await;
        let mut response = (StatusCode::from_u16(reply.status).unwrap(), reply.body).into_response();
        response.headers_mut().remove("content-type");
        for (name, value) in reply.headers {
            response.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        response
    }

    pub fn behaves<F: Future<Output = Reply> + Send + 'static>(
        &self,
        behaviour: impl Fn(Asked) -> F + Send + Sync + 'static,
    ) {
        *self.behaviour.lock().unwrap() = Arc::new(Box::new(move |asked| Box::pin(behaviour(asked))));
    }

    /// What it was asked since the last time.
    pub fn heard(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    pub fn operations(&self) -> Vec<String> {
        self.heard().into_iter().map(|asked| asked.operation).collect()
    }
}
