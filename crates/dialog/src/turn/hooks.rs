//! Hooks: the user's scripts around a turn, and those that the original's modules brought along
//! (`flows.md` § 13).

use super::{Run, Script};
use crate::{
    bot::Hook,
    host::{Host, ScriptKind},
    trace::{FailureKind, Step},
    value::{Object, Value},
};

/// Types of events that no flow ever sees (`flows.md` § 13, step 7).
const DISCARDED: &[&str] = &["session_reset", "typing", "visit", "session_reference"];

impl<H: Host> Run<'_, H> {
    /// Runs the scripts of a hook, one after the other. One that throws is recorded and passed over.
    pub(super) async fn hooks(&mut self, hook: Hook) {
        self.hooks_with(hook, |_| Object::new()).await;
    }

    /// The same, with variables made anew for each script.
    pub(super) async fn hooks_with(&mut self, hook: Hook, variables: impl Fn(&Value) -> Object) {
        let bot = self.bot;
        for script in bot.hooks(hook) {
            let started = self.now();
            let given = variables(&self.event);
            let outcome = self.script(Script::of(ScriptKind::Hook(hook), script), &given).await;
            if let Some(suggestions) = outcome.suggestions {
                self.event.make_object().set("suggestions", suggestions);
            }
            self.send_queued().await;
            let millis = self.now() - started;
            let error = outcome.result.err().map(|error| error.to_string());
            self.step(Step::Hook { hook, name: script.name.to_string(), millis, error });
        }
    }

    /// Contexts of the session replace those of the request (`qna-nlu.md` § 3).
    pub(super) fn apply_nlu_contexts(&mut self) {
        let contexts = self.state("session").get("nluContexts").as_array().unwrap_or_default();
        let names: Vec<Value> = contexts.iter().map(|context| context.get("context").clone()).collect();
        if !names.is_empty() {
            self.event.make_object().object_mut("nlu").set("includedContexts", Value::Array(names));
        }
    }

    /// What the modules' own hooks did after the incoming middlewares.
    pub(super) fn builtin_after_incoming(&mut self) {
        if self.event.str("type").is_some_and(|kind| DISCARDED.contains(&kind)) {
            self.event.make_object().object_mut("flags").set("SKIP_DIALOG_ENGINE", true);
        }
        if !self.event.get("nlu").get("errored").truthy() {
            self.age_nlu_contexts();
        }
        self.slot_hook();
    }

    fn age_nlu_contexts(&mut self) {
        let Some(Value::Array(contexts)) = self.state_mut("session").get_mut("nluContexts") else { return };
        for context in contexts.iter_mut() {
            let ttl = crate::js::to_number(context.get("ttl")).unwrap_or(f64::NAN) - 1.0;
            context.make_object().set("ttl", ttl);
        }
        contexts.retain(|context| context.get("ttl").as_f64().is_some_and(|ttl| ttl > 0.0));
    }

    /// Records something that went wrong without changing the turn's course.
    pub(super) fn ignore(&mut self, message: &str) {
        self.error(FailureKind::Ignored, message);
    }
}
