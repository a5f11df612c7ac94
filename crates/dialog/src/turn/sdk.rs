//! `bp` as scripts see it: the engine's side (`actions-skills.md` § 3).

use super::{
    Run, UserWrite,
    say::{Rendering, named_scope},
};
use crate::{
    bot::instruction::Content,
    duration,
    host::{Host, KvsScope, Sdk},
    js,
    template::{Scope, TemplateValue},
    trace::Step,
    value::{Object, Value},
};

/// How deep a path into a stored value may lead.
const MAX_PATH: usize = 32;

/// A running script's `bp`. While it runs, the event is the script's; what it asks for beyond values is done
/// when it has ended.
pub(crate) struct Bridge<'r, 't, H> {
    pub(super) run: &'r mut Run<'t, H>,
    pub(super) event: &'r Value,
    /// What was called, to be called again in a replay.
    pub(super) calls: Vec<(String, Vec<Value>)>,
}

impl<H: Host> Sdk for Bridge<'_, '_, H> {
    async fn call(&mut self, method: &str, args: Vec<Value>) -> Result<Value, String> {
        let kept = args.iter().map(|arg| if is_event(arg) { Value::Null } else { arg.clone() }).collect();
        self.calls.push((method.to_owned(), kept));
        if let Some(rest) = method.strip_prefix("kvs.") {
            return self.kvs(rest, &args).await;
        }
        if let Some(level) = method.strip_prefix("logger.") {
            self.log(level, &args);
            return Ok(Value::Undefined);
        }
        match method {
            "events.replyToEvent" => {
                match arg(&args, 1) {
                    Value::Array(payloads) => self.run.queued.extend(payloads.iter().cloned()),
                    payload @ Value::Object(_) => self.run.queued.push(payload.clone()),
                    _ => return Err("replyToEvent needs payloads".to_owned()),
                }
                Ok(Value::Undefined)
            }
            "events.sendEvent" => self.send_event(arg(&args, 0)),
            "cms.renderElement" => self.render_element(&args).await,
            "cms.getContentElement" => Ok(self.content_element(&args)),
            "cms.renderTemplate" => self.render_template(&args),
            "dialog.createId" => Ok(self.session_of(arg(&args, 0)).into()),
            "dialog.jumpTo" => self.jump_to(&text(&args, 2), arg(&args, 3).as_str()),
            "dialog.deleteSession" => {
                let session = text(&args, 0);
                if session != self.run.session_id() {
                    self.run.follow_ups.deleted_sessions.push(session);
                }
                Ok(Value::Undefined)
            }
            "users.getOrCreateUser" => {
                let (channel, user) = (text(&args, 0), text(&args, 1));
                let attributes = self.user(&channel, &user).await?;
                let result = Object::new().with("id", user).with("channel", channel).with("attributes", attributes);
                Ok(Object::new().with("result", result).with("created", false).into())
            }
            "users.getAttributes" => self.user(&text(&args, 0), &text(&args, 1)).await,
            "users.setAttributes" | "users.updateAttributes" => {
                self.write_user(&args, method == "users.setAttributes").await
            }
            _ => self.run.host_sdk(method, args).await,
        }
    }
}

impl<H: Host> Bridge<'_, '_, H> {
    fn log(&mut self, level: &str, args: &[Value]) {
        // Bounded: a script in a loop shouldn't fill the trace.
        if self.run.steps.len() < 2_000 {
            let args = if level.starts_with("forBot.") { args.get(1..).unwrap_or_default() } else { args };
            let text: Vec<String> = args.iter().map(js::display).collect();
            let text: String = text.join(" ").chars().take(2_000).collect();
            self.run.step(Step::Log { level: level.trim_start_matches("forBot.").to_owned(), text });
        }
    }

    /// The event a script passed, if it is one; else the one that it was given.
    fn event_or<'a>(&'a self, passed: &'a Value) -> &'a Value {
        if is_event(passed) { passed } else { self.event }
    }

    fn session_of(&self, event: &Value) -> String {
        let event = self.event_or(event);
        let part = |name: &str| js::display(event.get(name));
        match event.get("threadId") {
            thread if thread.truthy() => {
                format!("{}::{}::{}::{}", part("botId"), part("channel"), part("target"), js::display(thread))
            }
            _ => format!("{}::{}::{}", part("botId"), part("channel"), part("target")),
        }
    }

    fn send_event(&mut self, event: &Value) -> Result<Value, String> {
        let own = event.str("target") == Some(&self.run.target)
            && event.str("direction") == Some("outgoing")
            && event.str("channel").is_none_or(|channel| channel == "api");
        if own {
            self.run.queued.push(event.get("payload").clone());
        } else if event.as_object().is_some() {
            self.run.follow_ups.events.push(event.clone());
        } else {
            return Err("sendEvent needs an event".to_owned());
        }
        Ok(Value::Undefined)
    }

    // ---- content

    async fn render_element(&mut self, args: &[Value]) -> Result<Value, String> {
        let content = Content::parse(&text(args, 0));
        let mut own = arg(args, 1).as_object().cloned().unwrap_or_default();
        // Scripts pass the memories along as arguments; they aren't part of a payload.
        let event = if is_event(arg(args, 2)) { arg(args, 2).clone() } else { self.event.clone() };
        own.remove("event");
        let rendering = Rendering { content: &content, args: own, text: None, event: &event, flow: false };
        let payloads = self.run.render(rendering).await.map_err(|failure| failure.message)?;
        Ok(Value::Array(payloads))
    }

    fn content_element(&self, args: &[Value]) -> Value {
        if *arg(args, 0) != Value::from(&self.run.bot.id) {
            return Value::Null;
        }
        let Some(element) = self.run.bot.element(&text(args, 1)) else { return Value::Null };
        let form = match arg(args, 2).as_str() {
            None => element.form(),
            Some(language) => {
                let suffix = format!("${language}");
                let form = element.form();
                let members = form.as_object().map(Object::iter).into_iter().flatten();
                let members =
                    members.filter_map(|(key, value)| Some((key.strip_suffix(&suffix)?.into(), value.clone())));
                members.collect::<Object>().into()
            }
        };
        Object::new().with("id", &element.id).with("contentType", &element.content_type).with("formData", form).into()
    }

    fn render_template(&self, args: &[Value]) -> Result<Value, String> {
        let named = named_scope(self.event, false);
        let context = arg(args, 1).as_object();
        // What the script gives is the whole scope; without it, the memories are.
        let scope = Scope { own: context, named: if context.is_some() { &[] } else { &named } };
        TemplateValue::new(arg(args, 0)).render(scope).map_err(|error| error.to_string())
    }

    // ---- dialog

    fn jump_to(&mut self, flow: &str, node: Option<&str>) -> Result<Value, String> {
        let found = self.run.bot.find_flow(flow).ok_or_else(|| format!("there is no flow {flow}"))?;
        let at = match node.filter(|node| !node.is_empty()) {
            Some(node) => found.node(node).ok_or_else(|| format!("{flow} has no node {node}"))?,
            None => found.start.ok_or_else(|| format!("{flow} has no start node"))?,
        };
        self.run.jumped = Some((found.name.clone(), found.nodes[at].name.clone()));
        Ok(Value::Undefined)
    }

    // ---- users

    fn is_own_user(&self, channel: &str, user: &str) -> bool {
        channel == "api" && user == self.run.target
    }

    async fn user(&mut self, channel: &str, user: &str) -> Result<Value, String> {
        if self.is_own_user(channel, user) {
            let written = self.run.own_user.clone();
            return Ok(written.unwrap_or_else(|| self.event.at(&["state", "user"]).clone()));
        }
        self.run.host_sdk("users.get", vec![channel.into(), user.into()]).await
    }

    async fn write_user(&mut self, args: &[Value], replace: bool) -> Result<Value, String> {
        let (channel, user, attributes) = (text(args, 0), text(args, 1), arg(args, 2).clone());
        let Value::Object(members) = &attributes else { return Err("attributes must be an object".to_owned()) };
        if self.is_own_user(&channel, &user) {
            let mut merged = if replace { Value::object() } else { self.user(&channel, &user).await? };
            for (name, value) in members.iter() {
                merged.make_object().set(name.clone(), value.clone());
            }
            self.run.own_user = Some(merged);
        } else {
            self.run.follow_ups.users.push(UserWrite { channel, user, attributes, replace });
        }
        Ok(Value::Undefined)
    }

    // ---- key-value stores

    async fn kvs(&mut self, method: &str, args: &[Value]) -> Result<Value, String> {
        let key = |kind: &str, of: usize, name: usize| {
            Ok(Value::from(format!("storage/{kind}/{}/{}", text(args, of), text(args, name))))
        };
        match method {
            "getUserStorageKey" => return key("users", 0, 1),
            "getConversationStorageKey" => return key("conversation", 0, 1),
            "getGlobalStorageKey" => return Ok(format!("storage/global/{}", text(args, 0)).into()),
            _ => {}
        }
        if let Some(method) = method.strip_prefix("forBot.") {
            let scope = KvsScope::Bot(text(args, 0));
            self.kvs_on(&scope, method, args.get(1..).unwrap_or_default()).await
        } else if let Some(method) = method.strip_prefix("global.") {
            self.kvs_on(&KvsScope::Global, method, args).await
        } else {
            Err(format!("bp.kvs.{method} isn't supported"))
        }
    }

    async fn kvs_on(&mut self, scope: &KvsScope, method: &str, args: &[Value]) -> Result<Value, String> {
        let key = text(args, 0);
        let path = |at: usize| arg(args, at).as_str().filter(|path| !path.is_empty()).map(str::to_owned);
        match method {
            "get" => {
                let stored = self.run.kvs_get(scope, &key).await?.unwrap_or_default();
                Ok(path(1).map_or(stored.clone(), |path| at_path(&stored, &path).clone()))
            }
            "exists" => {
                let stored = self.run.kvs_get(scope, &key).await?.unwrap_or_default();
                Ok(path(1).map_or(stored.truthy(), |path| at_path(&stored, &path).truthy()).into())
            }
            "set" => {
                let expires_in = match arg(args, 3) {
                    expiry if expiry.truthy() => {
                        let text = js::display(expiry);
                        Some(duration::parse(&text).ok_or_else(|| format!("{text} isn't a duration"))?)
                    }
                    _ => None,
                };
                let value = match path(2) {
                    None => arg(args, 1).clone(),
                    Some(path) if path.split('.').count() > MAX_PATH => return Err("the path is too long".to_owned()),
                    Some(path) => {
                        let mut stored = self.run.kvs_get(scope, &key).await?.unwrap_or_default();
                        set_at_path(&mut stored, &path, arg(args, 1).clone());
                        stored
                    }
                };
                self.run.kvs_set(scope, &key, value, expires_in);
                Ok(Value::Undefined)
            }
            "delete" => {
                self.run.kvs_delete(scope, &key);
                Ok(Value::Undefined)
            }
            "setStorageWithExpiry" => {
                let boxed =
                    self.run.boxed(arg(args, 1).clone(), Some(arg(args, 2))).map_err(|failure| failure.message)?;
                self.run.kvs_set(scope, &key, boxed, None);
                Ok(Value::Undefined)
            }
            "getStorageWithExpiry" => self.run.unboxed(scope, &key).await,
            "removeStorageKeysStartingWith" => {
                self.run.kvs_delete_prefix(scope, &key);
                Ok(Value::Undefined)
            }
            other => Err(format!("bp.kvs has no {other}")),
        }
    }
}

fn arg(args: &[Value], at: usize) -> &Value {
    args.get(at).unwrap_or(&Value::Undefined)
}

fn text(args: &[Value], at: usize) -> String {
    match arg(args, at) {
        Value::Undefined | Value::Null => String::new(),
        value => js::display(value),
    }
}

/// Whether a value is an event with its state.
fn is_event(value: &Value) -> bool {
    value.get("state").as_object().is_some() && value.get("target").as_str().is_some()
}

fn at_path<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(value, |value, name| match value {
        Value::Array(items) => name.parse().ok().and_then(|at: usize| items.get(at)).unwrap_or(&Value::Undefined),
        value => value.get(name),
    })
}

fn set_at_path(value: &mut Value, path: &str, to: Value) {
    match path.split_once('.') {
        None => value.make_object().set(path, to),
        Some((name, rest)) => {
            let members = value.make_object();
            if !members.has(name) {
                members.set(name, Object::new());
            }
            if let Some(member) = members.get_mut(name) {
                set_at_path(member, rest, to);
            }
        }
    }
}
