//! Integrations whose code is a small HTTP server in this process: every operation that the server asks
//! it for while somebody waits, what it hears, and what becomes of its answers.

#![allow(clippy::unwrap_used)]

mod actions;
mod code;
mod making;
mod registration;
#[path = "../support/mod.rs"]
mod support;
mod webhooks;
mod wire;

use std::time::{Duration, Instant};

use code::Code;
use serde_json::{Value, json};
use support::Server;
use wire::{Got, send};

/// The server, and an integration installed in its bot.
struct Bed {
    server: Server,
    code: Code,
    integration: String,
}

/// Who calls the API.
#[derive(Clone, Copy)]
enum As {
    Owner,
    Bot,
    Integration,
}

impl Bed {
    async fn new(definition: Value) -> Bed {
        Self::on(None, definition).await
    }

    /// An integration `tester` of this definition whose code is served here, not installed yet.
    async fn on(database: Option<&str>, definition: Value) -> Bed {
        let server = Server::prepare(database, &[]).with(&["--webhook-url", "http://hooks.test"]).serve();
        let code = Code::serve().await;
        let mut new = json!({"name": "tester", "version": "1.0.0", "url": code.url});
        new.as_object_mut().unwrap().extend(definition.as_object().unwrap().clone());
        let mut bed = Bed { server, code, integration: String::new() };
        let made = bed.call(As::Owner, "POST /v1/admin/integrations", new).await.ok();
        bed.integration = made["integration"]["id"].as_str().unwrap().to_owned();
        bed
    }

    async fn call(&self, who: As, line: &str, body: Value) -> Got {
        let mut head = format!("{line}\nauthorization: Bearer {}\ncontent-type: application/json\n", self.server.token);
        match who {
            As::Owner => {
                head.push_str(&format!("x-workspace-id: {}\nx-multiple-integrations: true\n", self.server.workspace));
            }
            As::Bot => head.push_str(&format!("x-bot-id: {}\n", self.server.bot)),
            As::Integration => head.push_str(&format!(
                "x-bot-id: {}\nx-integration-id: {}\nx-integration-alias: mine\n",
                self.server.bot, self.integration
            )),
        }
        send(&self.server, &head, body.to_string().as_bytes()).await
    }

    async fn update(&self, change: Value) -> Value {
        let got = self.call(As::Owner, &format!("PUT /v1/admin/bots/{}", self.server.bot), change).await;
        got.ok()["bot"].take()
    }

    /// Installs the integration under the alias `mine`, or changes that.
    async fn install(&self, change: Value) -> Value {
        let mut entry = json!({"integrationId": self.integration, "enabled": true});
        entry.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        self.update(json!({"integrations": {"mine": entry}})).await["integrations"]["mine"].take()
    }

    async fn instance(&self) -> Value {
        let got = self.call(As::Owner, &format!("GET /v1/admin/bots/{}", self.server.bot), json!({})).await;
        got.ok()["bot"]["integrations"]["mine"].take()
    }

    async fn eventually_status(&self, status: &str) -> Value {
        let line = format!("GET /v1/admin/bots/{}", self.server.bot);
        let mut body = self.eventually(&line, |body| body["bot"]["integrations"]["mine"]["status"] == status).await;
        body["bot"]["integrations"]["mine"].take()
    }

    /// What the owner reads, once this holds for it.
    async fn eventually(&self, line: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let body = self.call(As::Owner, line, json!({})).await.ok();
            if holds(&body) {
                return body;
            }
            assert!(started.elapsed() < Duration::from_secs(30), "waited in vain: {body}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn act(&self, who: As, name: &str, input: Value) -> Got {
        self.call(who, "POST /v1/chat/actions", json!({"type": name, "input": input})).await
    }
}

fn path_of(webhook_url: &Value) -> String {
    webhook_url.as_str().unwrap().strip_prefix("http://hooks.test").unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_may_forbid_private_addresses() {
    let server = Server::prepare(None, &[]).with(&["--bot-urls", "public"]).serve();
    let code = Code::serve().await;
    let mut bed = Bed { server, code, integration: String::new() };
    let new = json!({"name": "tester", "version": "1.0.0", "url": bed.code.url});
    let made = bed.call(As::Owner, "POST /v1/admin/integrations", new).await.ok();
    bed.integration = made["integration"]["id"].as_str().unwrap().to_owned();
    let instance = bed.install(json!({})).await;
    assert_eq!(instance["status"], "registration_failed");
    assert_eq!(bed.code.operations(), Vec::<String>::new());
}
