//! The world of a turn: scripts in the sandbox, requests through the outbound client, the store, the
//! clock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use duologue_dialog::{
    Host, Object, Sdk, Value,
    host::{
        ErrorClass, HttpFailure, HttpRequest, HttpResponse, KvsScope, Mail, ScriptCall, ScriptError, ScriptKind,
        ScriptOutcome,
    },
};
use duologue_outbound::{Limits, MailServer, Request};
use duologue_sandbox::{Calls, Class, Kind, Level, Log, Pool, Run};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};
use sha2::Sha256;

use crate::{Core, LiveBot, lanes::Progress};

/// The longest request of a script or a flow.
const LONGEST_REQUEST: Duration = Duration::from_secs(60);

/// The module whose settings have the mail server.
const SKILLS: &str = "basic-skills";
/// The setting that is the mail server's URL.
const MAIL_SERVER: &str = "transportConnectionString";

/// See the module.
pub(crate) struct TurnHost<'t> {
    pub(crate) core: &'t Arc<Core>,
    pub(crate) bot: &'t Arc<LiveBot>,
    pub(crate) progress: &'t Progress,
}

impl Host for TurnHost<'_> {
    async fn script<S: Sdk>(&self, call: ScriptCall<'_>, sdk: &mut S) -> ScriptOutcome {
        // Time in hooks counts for whoever waits; time in instructions doesn't.
        let _executing =
            (!matches!(call.kind, ScriptKind::Hook(_) | ScriptKind::Pattern)).then(|| self.progress.execute());
        script(&self.core.scripts, self.bot, call, sdk).await
    }

    async fn http(&self, request: HttpRequest) -> Result<HttpResponse, HttpFailure> {
        let _executing = self.progress.execute();
        let failure = |code: &str, message: String| HttpFailure { code: code.to_owned(), message };
        let method = Method::from_bytes(request.method.as_bytes())
            .map_err(|_| failure("ERR_INVALID_ARG_VALUE", format!("{} is no method", request.method)))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &request.headers {
            let header = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(value).ok());
            let (name, value) =
                header.ok_or_else(|| failure("ERR_INVALID_CHAR", format!("the header {name} can't be sent")))?;
            headers.append(name, value);
        }
        let limits = self.limits(request.timeout, request.redirects);
        let body = request.body.map(Bytes::from).unwrap_or_default();
        let sent = Request { method, url: request.url, headers, body, limits: Some(limits) };
        match self.core.outbound.send(sent).await {
            Ok(answer) => Ok(HttpResponse {
                status: answer.status.as_u16(),
                body: String::from_utf8_lossy(&answer.body).into_owned(),
            }),
            Err(error) => Err(failure(error.code(), error.to_string())),
        }
    }

    async fn mail(&self, mail: Mail) -> Result<(), String> {
        let _executing = self.progress.execute();
        let (server, anywhere) = self.mail_server()?;
        let server = MailServer::parse(&server).map_err(|error| error.to_string())?;
        let Mail { from, to, cc, bcc, subject, text } = &mail;
        let mail = duologue_outbound::Mail { from, to, cc, bcc, subject, text };
        self.core.outbound.mail(&server, anywhere, mail).await.map_err(|error| error.to_string())
    }

    async fn kvs_get(&self, scope: &KvsScope, key: &str) -> Result<Option<Value>, String> {
        let bot = match scope {
            KvsScope::Bot(id) => Some(id.as_str()),
            KvsScope::Global => None,
        };
        let stored = self.core.store.v12_value(bot, key).await.map_err(|error| error.to_string())?;
        Ok(stored.and_then(|json| Value::parse(json.text()).ok()))
    }

    async fn sdk(&self, method: &str, args: &[Value]) -> Result<Value, String> {
        let text = |at: usize| args.get(at).and_then(Value::as_str).unwrap_or_default();
        match method {
            "users.get" => {
                let stored = self.core.store.v12_attributes(text(0), text(1)).await;
                let stored = stored.map_err(|error| error.to_string())?;
                Ok(stored.and_then(|json| Value::parse(json.text()).ok()).unwrap_or_else(Value::object))
            }
            "actions.token" => self.own_token().map(Value::from),
            "http.getAxiosConfigForBot" => {
                let base = format!("{}/api/v1/bots/{}", self.core.installed().external_url, text(0));
                let authorization = format!("bearer {}", self.own_token()?);
                let headers = Object::new().with("Authorization", authorization);
                Ok(Object::new().with("baseURL", base).with("headers", headers).into())
            }
            "http.request" => self.request(args.first().unwrap_or(&Value::Undefined)).await,
            "bots.getBotById" => {
                let bot = self.core.installed().bot(text(0));
                Ok(bot.map_or(Value::Undefined, |bot| bot.engine.config.file.clone()))
            }
            "bots.getBots" => {
                let installed = self.core.installed();
                let mut all: Vec<_> = installed.bots.values().collect();
                all.sort_by(|a, b| a.id.cmp(&b.id));
                let all = all.into_iter().map(|bot| (bot.id.as_str().into(), bot.engine.config.file.clone()));
                Ok(all.collect::<Object>().into())
            }
            "config.getModuleConfig" => Ok(self.module_settings(text(0), None)),
            "config.getModuleConfigForBot" => Ok(self.module_settings(text(0), Some(text(1)))),
            "security.getMessageSignature" => {
                let installed = self.core.installed();
                // HMAC takes keys of any length.
                let mac = Hmac::<Sha256>::new_from_slice(installed.config.tokens.secret.as_bytes());
                let mac = mac.map_err(|error| error.to_string())?.chain_update(text(0)).finalize().into_bytes();
                Ok(mac.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
            }
            _ => match method.strip_prefix("ghost.") {
                Some(method) => self.ghost(method, args),
                None => Err(format!("bp.{method} isn't supported by this server")),
            },
        }
    }

    async fn predict(&self, _: &Value) -> Result<Option<Value>, String> {
        // Nothing is trained: intents and slots aren't predicted.
        Ok(None)
    }

    async fn sleep(&self, millis: u64) {
        let _executing = self.progress.execute();
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }

    fn now(&self) -> i64 {
        millis_now()
    }

    fn random(&self) -> f64 {
        let bytes = self.core.store.ids().bytes::<8>();
        (u64::from_be_bytes(bytes) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn event_id(&self) -> String {
        // Digits that grow with time: milliseconds, then a counter.
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let count = COUNTER.fetch_add(1, Ordering::Relaxed) % 1_000_000;
        format!("{}{count:06}", millis_now())
    }
}

fn millis_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Runs a script in the sandbox.
pub(crate) async fn script<S: Sdk>(pool: &Pool, bot: &LiveBot, call: ScriptCall<'_>, sdk: &mut S) -> ScriptOutcome {
    let run = sandboxed(bot, &call);
    let mut calls = Bridge(sdk);
    let done = pool.run(run, &mut calls).await;
    let (result, variables, flags, logs) = match done {
        Ok(done) => (Ok(value_of(done.result)), done.variables, Some(done.flags), done.logs),
        Err(error) => {
            let failed = ScriptError { class: class_of(&error.class), message: message_of(&error) };
            (Err(failed), error.variables, None, error.logs)
        }
    };
    for Log { level, text } in logs {
        let method = match level {
            Level::Debug => "logger.debug",
            Level::Info => "logger.info",
            Level::Warn => "logger.warn",
            Level::Error => "logger.error",
        };
        // Nothing can go wrong in a log.
        let _ = sdk.call(method, vec![text.into()]).await;
    }
    let mut variables = variables.unwrap_or_default();
    let suggestions = call.variables.get("suggestions").and_then(|before| {
        let after = value_of(variables.remove("suggestions")?);
        (after != *before).then_some(after)
    });
    ScriptOutcome { result, event: changed_event(call.event, variables.remove("event"), flags), suggestions }
}

/// The sandbox's form of a script.
fn sandboxed(bot: &LiveBot, call: &ScriptCall<'_>) -> Run {
    let argument = |name: &str| json_of(call.variables.get(name).unwrap_or(&Value::Undefined));
    let pattern;
    let (kind, source) = match call.kind {
        ScriptKind::Condition => (Kind::Condition, call.source),
        ScriptKind::Action => (Kind::Action, call.source),
        ScriptKind::Hook(_) => (Kind::Hook, call.source),
        ScriptKind::Content => {
            let args = vec![argument("data"), Json::from("api")];
            (Kind::Module { function: Some("renderElement".to_owned()), args }, call.source)
        }
        ScriptKind::Pattern => {
            pattern = format!("return ({}\n)", call.source);
            (Kind::Action, pattern.as_str())
        }
    };
    let name = if call.path.is_empty() { call.name } else { call.path };
    let mut run = Run::new(kind, call.bot, name, source);
    run.files = bot.scripts(call.global).clone();
    run.process = bot.process.clone();
    if call.kind == ScriptKind::Content || call.kind == ScriptKind::Pattern {
        return run;
    }
    run.flags = flags_of(call.event);
    run.variables = variables(call);
    run
}

impl TurnHost<'_> {
    fn limits(&self, millis: Option<u64>, redirects: u32) -> Limits {
        let own = self.core.outbound.limits();
        let timeout = millis.filter(|millis| *millis > 0).map_or(own.timeout, Duration::from_millis);
        Limits { timeout: timeout.min(LONGEST_REQUEST), redirects: redirects.min(20), ..own }
    }

    /// A token of five minutes under the server's own name.
    fn own_token(&self) -> Result<String, String> {
        let issued = self.core.installed().config.tokens.issue_to_self(millis_now() / 1000);
        issued.map(|issued| issued.jwt).map_err(|error| error.to_string())
    }

    /// The URL of the SMTP server, and whether the operator named it, who may name any.
    fn mail_server(&self) -> Result<(String, bool), String> {
        let said = |bot| {
            let settings = self.module_settings(SKILLS, bot);
            settings.str(MAIL_SERVER).filter(|url| !url.is_empty()).map(str::to_owned)
        };
        let (all, own) = (said(None), said(Some(self.bot.id.as_str())));
        let anywhere = own == all;
        let missing = || format!("no SMTP server is named: set {MAIL_SERVER} in global/config/{SKILLS}.json");
        Ok((own.ok_or_else(missing)?, anywhere))
    }

    fn module_settings(&self, module: &str, bot: Option<&str>) -> Value {
        let installed = self.core.installed();
        let path = format!("config/{module}.json");
        let bot = bot.and_then(|id| installed.bot(id));
        let own = bot.as_ref().and_then(|bot| bot.files.get(&path));
        let global = self.bot.shared.files.get(&path);
        let env = &self.core.options.env;
        let settings = duologue_v12::config::module_settings(
            module,
            if module == SKILLS { &[MAIL_SERVER] } else { &[] },
            global.map(|content| &content[..]),
            own.map(|content| &content[..]),
            &|name| env.get(name).cloned(),
        );
        Value::parse(&duologue_v12::json::Json::Object(settings).to_string()).unwrap_or_default()
    }

    /// Files of a bot or of the global folder, as they were read; scripts can't change them.
    fn ghost(&self, method: &str, args: &[Value]) -> Result<Value, String> {
        let text = |at: usize| args.get(at).and_then(Value::as_str).unwrap_or_default();
        let installed = self.core.installed();
        let bot;
        let files = match args.first().and_then(Value::as_str) {
            None => &self.bot.shared.files,
            Some(id) => {
                bot = installed.bot(id).ok_or_else(|| format!("there is no bot {id}"))?;
                &bot.files
            }
        };
        let folder = text(1).trim_matches('/').trim_start_matches("./").to_owned();
        let path = match (folder.as_str(), text(2).trim_start_matches('/')) {
            ("" | ".", file) => file.to_owned(),
            (folder, file) => format!("{folder}/{file}"),
        };
        let read = || files.get(&path).ok_or_else(|| format!("there is no file {path}"));
        match method {
            "readFileAsString" => Ok(String::from_utf8_lossy(read()?).into_owned().into()),
            "readFileAsBuffer" => Ok(STANDARD.encode(read()?).into()),
            "fileExists" => Ok(files.contains_key(&path).into()),
            "directoryListing" => {
                let below = if folder.is_empty() || folder == "." { String::new() } else { format!("{folder}/") };
                let pattern = Some(text(2)).filter(|pattern| !pattern.is_empty()).unwrap_or("**/*");
                let listed = files.keys().filter_map(|path| path.strip_prefix(below.as_str()));
                let listed: Vec<&str> = listed.filter(|path| matches(pattern, path)).collect();
                Ok(listed.into())
            }
            other => Err(format!("bp.ghost.{other} isn't supported: a bot's files are changed on disk only")),
        }
    }

    /// `axios` in a script: any answer is one, and a failure is described.
    async fn request(&self, asked: &Value) -> Result<Value, String> {
        let failure = |code: &str, message: String| {
            Object::new().with("error", Object::new().with("code", code).with("message", message)).into()
        };
        let method = asked.str("method").unwrap_or("GET").to_ascii_uppercase();
        let Ok(method) = Method::from_bytes(method.as_bytes()) else {
            return Ok(failure("ERR_INVALID_ARG_VALUE", format!("{method} is no method")));
        };
        let mut headers = HeaderMap::new();
        for (name, value) in asked.get("headers").as_object().map(Object::iter).into_iter().flatten() {
            let text = value.as_str().map_or_else(|| value.to_json(), str::to_owned);
            let header = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(&text).ok());
            let Some((name, value)) = header else {
                return Ok(failure("ERR_INVALID_CHAR", format!("Invalid character in header content [\"{name}\"]")));
            };
            headers.append(name, value);
        }
        let data = asked.str("data").unwrap_or_default();
        let body = match asked.get("base64").truthy() {
            true => Bytes::from(STANDARD.decode(data).map_err(|error| error.to_string())?),
            false => Bytes::copy_from_slice(data.as_bytes()),
        };
        let number = |name: &str| asked.get(name).as_f64().filter(|number| *number >= 0.0);
        let redirects = number("maxRedirects").map_or(5, |number| number as u32);
        let mut limits = self.limits(number("timeout").map(|millis| millis as u64), redirects);
        if let Some(most) = number("maxContentLength") {
            limits.body = limits.body.min(most as usize);
        }
        let url = asked.str("url").unwrap_or_default().to_owned();
        let answer = self.core.outbound.send(Request { method, url, headers, body, limits: Some(limits) }).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return Ok(failure(error.code(), error.to_string())),
        };
        let mut headers = Object::new();
        for name in answer.headers.keys() {
            let values: Vec<String> = answer
                .headers
                .get_all(name)
                .iter()
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                .collect();
            let value: Value = if name == http::header::SET_COOKIE { values.into() } else { values.join(", ").into() };
            headers.set(name.as_str(), value);
        }
        let binary = asked.get("binary").truthy();
        let data = match binary {
            true => STANDARD.encode(&answer.body),
            false => String::from_utf8_lossy(&answer.body).into_owned(),
        };
        Ok(Object::new()
            .with("status", f64::from(answer.status.as_u16()))
            .with("statusText", answer.status.canonical_reason().unwrap_or_default())
            .with("headers", headers)
            .with("data", data)
            .with("base64", binary)
            .into())
    }
}

/// Whether a path is like a pattern of `*` (within a name), `**` (any folders) and `?`.
fn matches(pattern: &str, path: &str) -> bool {
    fn like(pattern: &[u8], path: &[u8]) -> bool {
        match pattern {
            [] => path.is_empty(),
            [b'*', b'*', b'/', rest @ ..] => {
                like(rest, path) || (0..path.len()).any(|at| path[at] == b'/' && like(rest, &path[at + 1..]))
            }
            [b'*', b'*'] => true,
            [b'*', rest @ ..] => {
                let name = path.iter().position(|byte| *byte == b'/').unwrap_or(path.len());
                (0..=name).any(|at| like(rest, &path[at..]))
            }
            [b'?', rest @ ..] => matches!(path, [first, ..] if *first != b'/') && like(rest, &path[1..]),
            [first, rest @ ..] => path.first() == Some(first) && like(rest, &path[1..]),
        }
    }
    pattern.len() <= 256 && pattern.matches("**").count() <= 3 && like(pattern.as_bytes(), path.as_bytes())
}

// ---- values

fn json_of(value: &Value) -> Json {
    serde_json::to_value(value).unwrap_or(Json::Null)
}

/// `null` stays null, save that a script's missing result is one.
fn value_of(json: Json) -> Value {
    Value::deserialize(json).unwrap_or_default()
}

fn variables(call: &ScriptCall<'_>) -> Map<String, Json> {
    let mut event = json_of(call.event);
    // Scripts see flags as symbols; they travel by name.
    if let Some(flags) = event.get_mut("flags") {
        *flags = json!({});
    }
    let mut variables = Map::new();
    variables.insert("event".to_owned(), event);
    for (name, value) in call.variables.iter() {
        variables.insert(name.to_string(), json_of(value));
    }
    variables
}

fn flags_of(event: &Value) -> Vec<String> {
    let flags = event.get("flags").as_object().map(Object::iter).into_iter().flatten();
    flags.filter(|(_, on)| on.truthy()).map(|(name, _)| name.to_string()).collect()
}

/// The event as a script left it, flags by name; `None` if it is as before.
fn changed_event(before: &Value, after: Option<Json>, flags: Option<Vec<String>>) -> Option<Value> {
    let had = flags_of(before);
    let mut has = flags.unwrap_or_else(|| had.clone());
    has.dedup();
    if after.is_none() && has == had {
        return None;
    }
    let mut event = after.map_or_else(|| before.clone(), value_of);
    if let Value::Object(members) = &mut event {
        let flags: Object = has.into_iter().map(|name| (name.into(), Value::Bool(true))).collect();
        members.set("flags", flags);
    }
    Some(event)
}

fn class_of(class: &Class) -> ErrorClass {
    match class {
        Class::TypeError => ErrorClass::Type,
        Class::ReferenceError => ErrorClass::Reference,
        Class::SyntaxError => ErrorClass::Syntax,
        Class::Timeout | Class::Memory | Class::Limit | Class::Unfinished | Class::Killed | Class::Busy => {
            ErrorClass::Limit
        }
        _ => ErrorClass::Other,
    }
}

/// The message, with the place if it is known.
fn message_of(error: &duologue_sandbox::ScriptError) -> String {
    match (&error.file, error.line) {
        (Some(file), Some(line)) => format!("{} ({file}:{line})", error.message),
        _ => error.message.clone(),
    }
}

/// Host calls of a script, under the engine's names.
struct Bridge<'s, S>(&'s mut S);

impl<S: Sdk> Calls for Bridge<'_, S> {
    async fn call(&mut self, method: &str, args: Vec<Json>) -> Result<Json, String> {
        let mut args: Vec<Value> = args.into_iter().map(value_of).collect();
        let renamed;
        let method = match method.strip_prefix("kvs.") {
            // Whose store comes first; null is the one that all share.
            Some(rest) if matches!(args.first(), Some(Value::Null)) => {
                args.remove(0);
                renamed = format!("kvs.global.{rest}");
                &renamed
            }
            Some(rest) => {
                renamed = format!("kvs.forBot.{rest}");
                &renamed
            }
            None => method,
        };
        self.0.call(method, args).await.map(|value| json_of(&value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_listings() {
        for (pattern, path, expected) in [
            ("*.json", "a.json", true),
            ("*.json", "b/a.json", false),
            ("**/*.json", "b/c/a.json", true),
            ("**/*", "a", true),
            ("a?.js", "ab.js", true),
            ("a?.js", "a/.js", false),
            ("**", "a/b", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn flags_travel_by_name() {
        let before = Value::parse(r#"{"id":"1","flags":{"A":true},"state":{}}"#).unwrap();
        assert_eq!(changed_event(&before, None, Some(vec!["A".into()])), None);
        let changed = changed_event(&before, None, Some(vec!["A".into(), "B".into()])).unwrap();
        assert_eq!(changed.to_json(), r#"{"id":"1","flags":{"A":true,"B":true},"state":{}}"#);
    }
}
