//! Rendering content (`content.md` § 4).

use std::borrow::Cow;

use super::{Failure, Run, Script, iso_date};
use crate::{
    bot::{
        content::{ContentType, Renderer, localized},
        instruction::{Content, Say},
    },
    host::{Host, NoSdk, ScriptCall, ScriptKind},
    template::{Scope, TemplateValue},
    trace::{Effect, Ran, Step},
    value::{Object, Value},
};

/// Names that a builtin renderer takes out of its arguments.
const HIDDEN: &[&str] = &["event", "temp", "user", "session", "bot", "BOT_URL"];

/// What is rendered, and where its templates look.
pub(super) struct Rendering<'a> {
    pub content: &'a Content,
    /// Arguments of the instruction, QnA or script.
    pub args: Object,
    /// `args.text` parsed, if it is known already.
    pub text: Option<&'a TemplateValue>,
    /// The event whose memories the templates see.
    pub event: &'a Value,
    /// Whether this comes from a flow: its payloads have a `workflow`, its templates see `bot`.
    pub flow: bool,
}

impl<H: Host> Run<'_, H> {
    pub(super) async fn say(&mut self, say: &Say, node_args: Option<&Value>) -> Result<(), Failure> {
        let date = iso_date(self.now());
        let entry = Object::new()
            .with("eventId", self.event.get("id").clone())
            .with("incomingPreview", self.event.get("preview").clone())
            .with("replyConfidence", 1.0)
            .with("replySource", "dialogManager")
            .with("replyDate", date)
            .with("replyPreview", &say.reference);
        self.remember_message(entry);
        let mut args = say.args.clone();
        for (name, value) in node_args.and_then(Value::as_object).map(Object::iter).into_iter().flatten() {
            args.set(name.clone(), value.clone());
        }
        let text = say.text.as_ref().filter(|_| node_args.is_none());
        let event = std::mem::take(&mut self.event);
        let rendering = Rendering { content: &say.content, args, text, event: &event, flow: true };
        let payloads = self.render(rendering).await;
        self.event = event;
        let payloads = payloads?;
        self.step(Step::Say { content: say.reference.to_string(), payloads: payloads.len() });
        for payload in payloads {
            self.send(payload).await;
        }
        self.send_queued().await;
        Ok(())
    }

    /// Renders content to payloads.
    pub(super) async fn render(&mut self, rendering: Rendering<'_>) -> Result<Vec<Value>, Failure> {
        let Rendering { content, mut args, text, event, flow } = rendering;
        let bot = self.bot;
        let named = named_scope(event, flow);
        let state = event.get("state");
        let language = state.get("user").str("language");
        let content_type =
            |id: &str| bot.content_type(id).ok_or_else(|| Failure::engine(format!("there is no content type {id}")));
        let own = args.clone();
        if flow {
            args.set("workflow", Object::new());
        }
        let scope = Scope { own: Some(&own), named: &named };
        let kind = match content {
            Content::Element(id) => {
                let missing = || Failure::engine(format!("there is no content element {id}"));
                let element = bot.element(id).ok_or_else(missing)?;
                let kind = content_type(&element.content_type)?;
                let mut resolved = self.resolve(kind, &element.templates, language, Some(scope))?;
                self.pick_text(&mut resolved);
                for (name, value) in resolved {
                    args.set(name, value);
                }
                kind
            }
            Content::Inline(id) => {
                let kind = content_type(id)?;
                let parsed = match text {
                    Some(text) => Cow::Borrowed(text),
                    None => Cow::Owned(TemplateValue::new(args.get("text").unwrap_or(&Value::Undefined))),
                };
                render_text(&mut args, &parsed, scope)?;
                kind
            }
            Content::Node(id) => {
                let kind = content_type(id)?;
                let form = TemplateValue::new(&Value::Object(own.clone()));
                let resolved = self.resolve(kind, &form, language, None)?;
                for (name, value) in resolved {
                    args.set(name, value);
                }
                let merged = args.clone();
                let parsed = TemplateValue::new(merged.get("text").unwrap_or(&Value::Undefined));
                render_text(&mut args, &parsed, Scope { own: Some(&merged), named: &named })?;
                kind
            }
        };
        self.payloads(kind, args, event).await
    }

    /// Every property of the content type in the user's language, rendered if there is a scope.
    fn resolve(
        &mut self,
        kind: &ContentType,
        form: &TemplateValue,
        language: Option<&str>,
        scope: Option<Scope<'_>>,
    ) -> Result<Object, Failure> {
        let default = &self.bot.config.default_language;
        let mut resolved = Object::new();
        for name in kind.properties(form) {
            let value = match (localized(form, &name, language, default), scope) {
                (None, _) => Value::Undefined,
                (Some(value), None) => value.raw(),
                (Some(value), Some(scope)) => {
                    let mut value = value.render(scope).map_err(|error| Failure::engine(format!("{name}: {error}")))?;
                    empty_nested_nulls(&mut value);
                    value
                }
            };
            resolved.set(name, value);
        }
        Ok(resolved)
    }

    /// Draws one of the text and its variations.
    fn pick_text(&mut self, resolved: &mut Object) {
        let variations = resolved.get("variations").and_then(Value::as_array).unwrap_or_default();
        if variations.is_empty() {
            return;
        }
        let pool: Vec<Value> = resolved.get("text").cloned().into_iter().chain(variations.iter().cloned()).collect();
        let drawn = (self.random() * pool.len() as f64) as usize;
        if let Some(text) = pool.into_iter().nth(drawn) {
            resolved.set("text", text);
        }
    }

    async fn payloads(&mut self, kind: &ContentType, args: Object, event: &Value) -> Result<Vec<Value>, Failure> {
        match &kind.renderer {
            Renderer::Builtin { payload: None, .. } => Ok(Vec::new()),
            Renderer::Builtin { payload: Some(name), .. } => {
                let mut payload = Object::new().with("type", *name);
                for (name, value) in args {
                    if !HIDDEN.contains(&&*name) {
                        payload.set(name, value);
                    }
                }
                Ok(vec![payload.into()])
            }
            Renderer::Script { script, .. } => {
                let url = self.bot.globals.settings.external_url.clone();
                let mut data = Object::new().with("BOT_URL", url);
                for (name, value) in args {
                    data.set(name, value);
                }
                let state = event.get("state");
                data.set("event", event.clone());
                for name in ["user", "session", "temp", "bot"] {
                    data.set(name, state.get(name).clone());
                }
                self.run_renderer(Script::of(ScriptKind::Content, script), event, data).await
            }
        }
    }

    async fn run_renderer(&mut self, script: Script<'_>, event: &Value, data: Object) -> Result<Vec<Value>, Failure> {
        let variables = Object::new().with("data", data);
        let call = ScriptCall {
            kind: script.kind,
            name: script.name,
            path: script.path,
            global: script.global,
            source: script.source,
            bot: &self.bot.id,
            event,
            variables: &variables,
        };
        let given = call.fingerprint();
        let outcome = self.host.script(call, &mut NoSdk).await;
        self.effects.push(Effect::Script {
            kind: script.kind,
            name: script.name.to_owned(),
            given,
            calls: Vec::new(),
            ran: Ran::of(&outcome, event),
        });
        match outcome.result.map_err(|error| Failure::engine(format!("content type {}: {error}", script.name)))? {
            Value::Array(payloads) => Ok(payloads),
            Value::Undefined | Value::Null => Ok(Vec::new()),
            payload => Ok(vec![payload]),
        }
    }
}

/// The memories that templates see: all of them in a flow, not the bot's in QnA and scripts' requests.
pub(super) fn named_scope(event: &Value, flow: bool) -> Vec<(&'static str, &Value)> {
    let state = event.get("state");
    let mut named = vec![
        ("event", event),
        ("user", state.get("user")),
        ("session", state.get("session")),
        ("temp", state.get("temp")),
    ];
    if flow {
        named.push(("bot", state.get("bot")));
    }
    named
}

fn render_text(args: &mut Object, text: &TemplateValue, scope: Scope<'_>) -> Result<(), Failure> {
    if matches!(args.get("text"), Some(Value::String(_))) {
        let text = text.render(scope).map_err(|error| Failure::engine(format!("text: {error}")))?;
        args.set("text", text);
    }
    Ok(())
}

/// A null within a list or an object becomes an empty object, as the original's template pass had it.
fn empty_nested_nulls(value: &mut Value) {
    let inner: Vec<&mut Value> = match value {
        Value::Array(items) => items.iter_mut().collect(),
        Value::Object(object) => object.iter_mut().map(|(_, member)| member).collect(),
        _ => return,
    };
    for member in inner {
        match member {
            Value::Null => *member = Value::object(),
            member => empty_nested_nulls(member),
        }
    }
}
