//! Outgoing events: hooks, media URLs, replies (`flows.md` § 13, `content.md` § 8).

use super::{MAX_REPLIES, Reply, Run, Script};
use crate::{
    bot::Hook,
    host::{Host, ScriptKind},
    trace::{FailureKind, Step},
    value::{Object, Value},
};

impl<H: Host> Run<'_, H> {
    /// Sends a payload to the user.
    pub(super) async fn send(&mut self, payload: Value) {
        if self.replies.len() >= MAX_REPLIES {
            self.error(FailureKind::Ignored, "too many messages in one turn: this one is dropped");
            return;
        }
        let incoming_event = self.event_text("id");
        let mut payload = payload;
        let mut kind = payload.str("type").filter(|kind| !kind.is_empty()).unwrap_or("text").to_owned();
        if !self.bot.hooks(Hook::BeforeOutgoingMiddleware).is_empty() {
            let outgoing = Object::new()
                .with("type", kind.as_str())
                .with("channel", "api")
                .with("direction", "outgoing")
                .with("target", self.target.as_str())
                .with("botId", &self.bot.id)
                .with("payload", payload)
                .with("incomingEventId", incoming_event.as_str())
                .with("flags", Object::new());
            let event = self.outgoing_hooks(outgoing.into()).await;
            payload = event.get("payload").clone();
            kind = event.str("type").unwrap_or("text").to_owned();
        }
        prefix_media(&mut payload, &self.bot.globals.settings.external_url);
        self.replies.push(Reply { payload, kind, incoming_event });
    }

    /// Sends what scripts queued.
    pub(super) async fn send_queued(&mut self) {
        let mut rounds = 0;
        while !self.queued.is_empty() && rounds < 10 {
            rounds += 1;
            for payload in std::mem::take(&mut self.queued) {
                self.send(payload).await;
            }
        }
    }

    /// Runs the hooks with the outgoing event in place of the incoming one.
    async fn outgoing_hooks(&mut self, outgoing: Value) -> Value {
        let bot = self.bot;
        let incoming = std::mem::replace(&mut self.event, outgoing);
        for hook in bot.hooks(Hook::BeforeOutgoingMiddleware) {
            let started = self.now();
            let script = Script::of(ScriptKind::Hook(Hook::BeforeOutgoingMiddleware), hook);
            let outcome = self.script(script, &Object::new()).await;
            let millis = self.now() - started;
            let error = outcome.result.err().map(|error| error.to_string());
            self.step(Step::Hook { hook: Hook::BeforeOutgoingMiddleware, name: hook.name.to_string(), millis, error });
        }
        let outgoing = std::mem::replace(&mut self.event, incoming);
        self.do_jump();
        outgoing
    }
}

/// Prefixes relative media URLs with the server's address, at any depth.
fn prefix_media(value: &mut Value, external_url: &str) {
    match value {
        Value::String(text) => {
            let media = text.starts_with("/api/")
                && text.find("/bots/").is_some_and(|at| text[at + "/bots/".len()..].contains("/media/"));
            if media {
                *text = format!("{external_url}{text}").into();
            } else if text.contains("BOT_URL") {
                *text = text.replacen("BOT_URL", external_url, 1).into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| prefix_media(item, external_url)),
        Value::Object(object) => object.iter_mut().for_each(|(_, member)| prefix_media(member, external_url)),
        _ => {}
    }
}
