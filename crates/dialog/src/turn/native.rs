//! Actions: scripts, remote ones, and those that came with the original and are native here
//! (`actions-skills.md` § 1, § 2).

use super::{Failure, Run, Script, iso_date};
use crate::{
    actions,
    bot::instruction::{Action, Content},
    duration,
    host::{Host, KvsScope, Mail, ScriptKind},
    js,
    template::Scope,
    trace::Step,
    value::{Object, Value},
};

/// Members of `session` and `temp` that `builtin/resetSession` leaves.
const KEPT_ON_RESET: &[&str] = &["lastMessages", "nluContexts", "workflows"];
/// How long `builtin/wait` may block a turn, in milliseconds.
const LONGEST_WAIT: f64 = 60_000.0;

impl<H: Host> Run<'_, H> {
    pub(super) async fn action(&mut self, action: &Action) -> Result<(), Failure> {
        let args = self.arguments(action)?;
        let started = self.now();
        let result = match &action.server {
            Some(server) => self.remote_action(action, server, args.clone()).await,
            None if actions::is_native(&action.name) => self.native(&action.name, &args).await,
            None => self.script_action(&action.name, &args).await,
        };
        let millis = self.now() - started;
        let error = result.as_ref().err().map(|failure| failure.message.clone());
        self.step(Step::Action { name: action.name.to_string(), args: args.into(), millis, error });
        self.send_queued().await;
        result
    }

    /// The arguments, top-level texts rendered.
    fn arguments(&self, action: &Action) -> Result<Object, Failure> {
        if action.args.is_empty() {
            return Ok(Object::new());
        }
        let own: Object = action.args.iter().map(|(name, value)| (name.clone(), value.raw())).collect();
        let named = super::say::named_scope(&self.event, true);
        let scope = Scope { own: Some(&own), named: &named };
        let mut args = Object::new();
        for (name, value) in &action.args {
            let failed = |error| Failure::engine(format!("argument {name} of {}: {error}", action.name));
            args.set(name.clone(), value.render(scope).map_err(failed)?);
        }
        Ok(args)
    }

    async fn script_action(&mut self, name: &str, args: &Object) -> Result<(), Failure> {
        let bot = self.bot;
        let script = bot.action(name).ok_or_else(|| Failure::action(format!("there is no action {name}")))?;
        let variables = Object::new().with("args", args.clone());
        let outcome = self.script(Script::of(ScriptKind::Action, script), &variables).await;
        outcome.result.map(|_| ()).map_err(|error| Failure::action(error.to_string()))
    }

    async fn native(&mut self, name: &str, args: &Object) -> Result<(), Failure> {
        match name {
            "builtin/setVariable" => {
                let value = args.get("value").cloned().unwrap_or_default();
                return self.set_variable(args, value).await;
            }
            "builtin/removeVariable" => return self.set_variable(args, "null".into()).await,
            "builtin/setGlobalVariable" => return self.set_global_variable(args),
            "builtin/getGlobalVariable" => return self.get_global_variable(args).await,
            "builtin/resetGlobalVariable" => {
                let scope = self.own_store();
                self.kvs_delete_prefix(&scope, &format!("storage/global/{}", text(args, "name")));
            }
            "builtin/incrementNumberOfConversations" => return self.count_conversations(args, true).await,
            "builtin/getNumberOfConversations" => return self.count_conversations(args, false).await,
            "builtin/appendContext" => self.append_context(args),
            "builtin/removeContext" => {
                let names = text(args, "contexts");
                let names: Vec<&str> = names.split(',').collect();
                if let Some(Value::Array(contexts)) = self.state_mut("session").get_mut("nluContexts") {
                    contexts.retain(|context| !context.str("context").is_some_and(|name| names.contains(&name)));
                }
            }
            "builtin/resetContext" => self.state_mut("session").set("nluContexts", Value::Array(Vec::new())),
            "builtin/resetSession" => {
                for memory in ["temp", "session"] {
                    self.state_mut(memory).retain(|name, _| KEPT_ON_RESET.contains(&name));
                }
            }
            "builtin/switchLanguage" => {
                let language = text(args, "lang").to_lowercase();
                self.state_mut("user").set("language", language);
            }
            "builtin/wait" => {
                let delay = args.get("delay").and_then(js::to_number).filter(|delay| *delay > 0.0);
                let delay = delay.unwrap_or(if args.has("delay") { 0.0 } else { 1000.0 });
                // Bounded above and not negative, so the cast is exact enough.
                self.host.sleep(delay.min(LONGEST_WAIT) as u64).await;
            }
            "builtin/sendFeedback" => return self.send_feedback(args),
            "builtin/storeFileLocally" => return self.store_file().await,
            "basic-skills/choice_parse_answer" => self.choice_parse_answer(args),
            "basic-skills/choice_invalid_answer" => self.choice_invalid_answer(args),
            "basic-skills/call_api" => return self.call_api(args).await,
            "basic-skills/slot_update_contexts" => return self.slot_update_contexts(args),
            "basic-skills/slot_fill" => self.slot_fill(args),
            "basic-skills/slot_not_found" => self.slot_not_found(args),
            "basic-skills/slot_reset" => self.slot_reset(args),
            "basic-skills/send_email" => return self.send_email(args).await,
            _ => return Err(Failure::action(format!("there is no action {name}"))),
        }
        Ok(())
    }

    fn own_store(&self) -> KvsScope {
        KvsScope::Bot(self.bot.id.to_string())
    }

    // ---- variables

    async fn set_variable(&mut self, args: &Object, value: Value) -> Result<(), Failure> {
        let (memory, name) = (text(args, "type"), text(args, "name"));
        match memory.as_str() {
            "temp" | "session" | "user" => {
                let delete = value.is_undefined() || matches!(value.as_str(), Some("" | "null"));
                let memory = self.state_mut(&memory);
                if delete {
                    memory.remove(&name);
                } else {
                    memory.set(name, value);
                }
            }
            "bot" => {
                let scope = self.own_store();
                let mut stored = self.kvs_get(&scope, "global").await.map_err(Failure::action)?.unwrap_or_default();
                stored.make_object().set(name, value);
                self.kvs_set(&scope, "global", stored, None);
            }
            other => return Err(Failure::action(format!("there is no memory {other}"))),
        }
        Ok(())
    }

    fn set_global_variable(&mut self, args: &Object) -> Result<(), Failure> {
        let value = args.get("value").cloned().unwrap_or_default();
        let key = format!("storage/global/{}", text(args, "name"));
        let boxed = self.boxed(value.clone(), args.get("expiry"))?;
        let scope = self.own_store();
        self.kvs_set(&scope, &key, boxed, None);
        if let Some(output) = args.get("output").map(js::display).filter(|output| !output.is_empty()) {
            self.state_mut("temp").set(output, value);
        }
        Ok(())
    }

    async fn get_global_variable(&mut self, args: &Object) -> Result<(), Failure> {
        let key = format!("storage/global/{}", text(args, "name"));
        let scope = self.own_store();
        let value = self.unboxed(&scope, &key).await.map_err(Failure::action)?;
        self.state_mut("temp").set(text(args, "output"), value);
        Ok(())
    }

    async fn count_conversations(&mut self, args: &Object, increment: bool) -> Result<(), Failure> {
        let key = format!("storage/users/{}/numberOfConversations", self.target);
        let scope = self.own_store();
        let mut count = self.unboxed(&scope, &key).await.map_err(Failure::action)?;
        if increment {
            // The first conversation counts as none.
            count = Value::Number(count.as_f64().map_or(0.0, |count| count + 1.0));
            let boxed = self.boxed(count.clone(), None)?;
            self.kvs_set(&scope, &key, boxed, None);
        }
        if let Some(output) = args.get("output").map(js::display).filter(|output| !output.is_empty()) {
            self.state_mut("temp").set(output, count);
        }
        Ok(())
    }

    /// A value with its expiry, as `setStorageWithExpiry` stores it (`migration-data.md` § 6).
    pub(super) fn boxed(&mut self, value: Value, expiry: Option<&Value>) -> Result<Value, Failure> {
        let expiry = match expiry.filter(|expiry| expiry.truthy()).map(js::display) {
            None => "never".to_owned(),
            Some(text) => {
                let unknown = || Failure::action(format!("{text} isn't a duration"));
                let millis = duration::parse(&text).ok_or_else(unknown)?;
                iso_date(self.now().saturating_add_unsigned(millis))
            }
        };
        Ok(Object::new().with("value", value).with("expiry", expiry).into())
    }

    /// A value stored with an expiry; undefined if absent or past.
    pub(super) async fn unboxed(&mut self, scope: &KvsScope, key: &str) -> Result<Value, String> {
        let Some(stored) = self.kvs_get(scope, key).await? else { return Ok(Value::Undefined) };
        match stored.str("expiry") {
            None | Some("never") => Ok(stored.get("value").clone()),
            // ISO dates of one form compare as texts.
            Some(expiry) if *expiry > *iso_date(self.now()) => Ok(stored.get("value").clone()),
            Some(_) => Ok(Value::Undefined),
        }
    }

    // ---- the rest

    fn append_context(&mut self, args: &Object) {
        let ttl = args.get("ttl").and_then(js::to_number).filter(|ttl| !ttl.is_nan()).unwrap_or(1000.0);
        let session = self.state_mut("session");
        if !matches!(session.get("nluContexts"), Some(Value::Array(_))) {
            session.set("nluContexts", Value::Array(Vec::new()));
        }
        let Some(Value::Array(contexts)) = session.get_mut("nluContexts") else { return };
        for name in text(args, "contexts").split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match contexts.iter_mut().find(|context| context.str("context") == Some(name)) {
                Some(context) => {
                    let longer = context.get("ttl").as_f64().is_none_or(|old| old < ttl);
                    if longer {
                        context.make_object().set("ttl", ttl);
                    }
                }
                None => contexts.push(Object::new().with("context", name).with("ttl", ttl).into()),
            }
        }
    }

    fn send_feedback(&mut self, args: &Object) -> Result<(), Failure> {
        let value = match text(args, "value").as_str() {
            "1" => 1,
            "-1" => -1,
            other => return Err(Failure::action(format!("feedback is 1 or -1, not {other}"))),
        };
        let event = js::display(self.state("temp").get("eventId"));
        self.follow_ups.feedback.push((event, value));
        Ok(())
    }

    async fn store_file(&mut self) -> Result<(), Failure> {
        let payload = self.event.get("payload");
        let Some((name, url)) =
            ["file", "image", "audio", "video"].into_iter().find_map(|name| Some((name, payload.get(name).as_str()?)))
        else {
            return Ok(());
        };
        let stored = self.host_sdk("media.store", vec![Value::from(&self.bot.id), url.into()]).await;
        let stored = stored.map_err(Failure::action)?;
        self.event.make_object().object_mut("payload").set(name, stored);
        Ok(())
    }

    async fn send_email(&mut self, args: &Object) -> Result<(), Failure> {
        let subject = self.mail_text(&text(args, "subjectElement")).await?;
        let content = self.mail_text(&text(args, "contentElement")).await?;
        let mail = Mail {
            from: text(args, "fromAddress"),
            to: text(args, "toAddress"),
            cc: text(args, "ccAddress"),
            bcc: text(args, "bccAddress"),
            subject,
            text: content,
        };
        let result = self.mail(mail).await;
        let temp = self.state_mut("temp");
        temp.set("success", result.is_ok());
        result.map_err(|error| {
            temp.set("onErrorFlowTo", "#");
            Failure::action(error)
        })
    }

    /// The text of an element's first text payload, without what looks like `Word: `.
    async fn mail_text(&mut self, id: &str) -> Result<String, Failure> {
        let content = Content::Element(id.trim_start_matches(['#', '!']).into());
        let event = std::mem::take(&mut self.event);
        let rendering =
            super::say::Rendering { content: &content, args: Object::new(), text: None, event: &event, flow: true };
        let payloads = self.render(rendering).await;
        self.event = event;
        let payloads = payloads.map_err(|failure| Failure::action(failure.message))?;
        let text = payloads.iter().find_map(|payload| payload.str("text")).unwrap_or_default();
        Ok(without_labels(text))
    }
}

fn text(args: &Object, name: &str) -> String {
    args.get(name).map(js::display).unwrap_or_default()
}

/// A text without `Word: ` wherever it stands.
fn without_labels(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(": ") {
        let word = rest[..at]
            .rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .map_or(0, |before| before + rest[before..].chars().next().map_or(0, char::len_utf8));
        let kept = if word < at { &rest[..word] } else { &rest[..at + 2] };
        out.push_str(kept);
        rest = &rest[at + 2..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    #[test]
    fn labels_are_taken_out() {
        assert_eq!(super::without_labels("Text: hello: world"), "world");
        assert_eq!(super::without_labels("a, Subject: x :y: z"), "a, x :z");
        assert_eq!(super::without_labels("no label here"), "no label here");
    }
}
