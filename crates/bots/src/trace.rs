//! Turns as they are shown: read from the store, secrets taken out, printed for people.
//!
//! Called by the Converse dialect (`GET …/turns`) and by `duologue trace`. What is shown is never what is
//! stored: a stored trace has everything that a replay needs, tokens included, and stays where it is.
//!
//! Taken out are the credentials of the caller, the headers of requests, what bots got as tokens, members
//! whose names say that they are secret, user names and passwords in URLs; and wherever such a value turns up
//! again, in a reply, an error, a memory, it is taken out there, too.

use std::{
    collections::BTreeSet,
    fmt::{self, Write},
};

use duologue_dialog::{
    Object, Trace, Value,
    host::HttpRequest,
    memory::Change,
    trace::{Effect, Input, Step},
};
use duologue_model::Timestamp;
use duologue_store::v12::traces::Turn;
use serde::Serialize;

/// What stands for a secret.
pub const REDACTED: &str = "[redacted]";
/// Names of members, in lower case and without separators, that hold secrets if they contain one of these.
const SECRET_NAMES: &[&str] = &[
    "authorization",
    "password",
    "passwd",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "credential",
    "cookie",
    "signature",
];
/// Headers whose values are no secrets.
const PLAIN_HEADERS: &[&str] = &["accept", "content-type", "user-agent"];
/// Shorter values are taken out only where they stand: they would be found in every other word.
const SHORTEST_SECRET: usize = 6;
/// Characters of a value in a line for people.
const LONGEST_VALUE: usize = 200;

/// A turn as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shown {
    /// Its number in the conversation, from 1.
    pub turn: i64,
    /// When it ended.
    pub at: Timestamp,
    /// What set it off.
    pub input: ShownInput,
    /// What happened, in order: nodes passed, conditions with their value, actions and hooks with their
    /// duration in milliseconds and error, failures.
    pub steps: Vec<Step>,
    /// Requests that the turn sent, in order.
    pub requests: Vec<ShownRequest>,
    /// The payloads that were sent.
    pub replies: Vec<Value>,
    /// How the memory differs from the one that the turn began with.
    pub changes: Vec<Change>,
}

/// What set a turn off.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum ShownInput {
    /// A message of the user.
    Message { payload: Value },
    /// The dialog had waited long enough.
    Timeout,
}

/// A request of a flow: what was asked, and the status or why there is none.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct ShownRequest {
    pub method: String,
    pub url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A stored trace can't be read.
#[derive(Debug, thiserror::Error)]
#[error("the trace of turn {turn} can't be read: {error}")]
pub struct Unreadable {
    /// Which.
    pub turn: i64,
    /// Why.
    pub error: serde_json::Error,
}

/// A stored trace with everything in it.
///
/// # Errors
/// If another version wrote something that this one doesn't know.
pub fn read(turn: &Turn) -> Result<Trace, Unreadable> {
    serde_json::from_str(turn.trace.text()).map_err(|error| Unreadable { turn: turn.turn, error })
}

/// A stored turn as it may be shown.
///
/// # Errors
/// As [`read`].
pub fn show(turn: &Turn) -> Result<Shown, Unreadable> {
    let trace = read(turn)?;
    let (secrets, changes) = (Secrets::of(&trace), trace.changes());
    let input = match &trace.input {
        Input::Message(incoming) => ShownInput::Message { payload: secrets.redact(&incoming.payload) },
        Input::Timeout(_) => ShownInput::Timeout,
    };
    let requests = trace.effects.iter().filter_map(|effect| match effect {
        Effect::Http { request, result } => Some(ShownRequest {
            method: request.method.clone(),
            url: secrets.text(&request.url),
            status: result.as_ref().ok().map(|response| response.status),
            error: result.as_ref().err().map(|failure| secrets.text(&failure.to_string())),
        }),
        _ => None,
    });
    Ok(Shown {
        turn: turn.turn,
        at: turn.at,
        input,
        requests: requests.collect(),
        steps: trace.steps.iter().map(|step| secrets.step(step)).collect(),
        replies: trace.replies.iter().map(|reply| secrets.redact(reply)).collect(),
        changes: changes.iter().map(|change| secrets.change(change)).collect(),
    })
}

// ---- secrets

/// The secrets of one turn, longest first.
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    pub(crate) fn of(trace: &Trace) -> Secrets {
        let mut found = BTreeSet::new();
        if let Input::Message(incoming) = &trace.input {
            texts(&incoming.credentials, &mut found);
            named(&incoming.payload, &mut found);
        }
        let before = &trace.before;
        for memory in [&before.user, &before.session, &before.context, &before.temp, &before.bot] {
            named(memory, &mut found);
        }
        for change in &trace.changes() {
            let is_secret = is_secret_path(&change.path);
            for value in [&change.before, &change.after] {
                if is_secret { texts(value, &mut found) } else { named(value, &mut found) }
            }
        }
        for step in &trace.steps {
            if let Step::Action { args, .. } = step {
                named(args, &mut found);
            }
        }
        for effect in &trace.effects {
            match effect {
                Effect::Http { request, .. } => headers(request, &mut found),
                Effect::Sdk { method, result: Ok(value), .. } if method == "actions.token" => texts(value, &mut found),
                Effect::Sdk { method, args, result } => {
                    args.iter().for_each(|value| named(value, &mut found));
                    // Settings and signatures are the operator's business.
                    if let Ok(value) = result
                        && method != "http.request"
                    {
                        named(value, &mut found);
                    }
                }
                _ => {}
            }
        }
        let mut secrets: Vec<String> = found.into_iter().filter(|text| text.len() >= SHORTEST_SECRET).collect();
        secrets.sort_by_key(|text| std::cmp::Reverse(text.len()));
        Secrets(secrets)
    }

    fn text(&self, text: &str) -> String {
        let mut text = without_user(text);
        for secret in &self.0 {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), REDACTED);
            }
        }
        text
    }

    pub(crate) fn redact(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.text(text).into(),
            Value::Array(items) => Value::Array(items.iter().map(|item| self.redact(item)).collect()),
            Value::Object(members) => {
                let redacted = |(name, value): (&_, &Value)| {
                    let name: &duologue_dialog::Text = name;
                    let hidden = hides(name) && !value.is_nullish();
                    (name.clone(), if hidden { REDACTED.into() } else { self.redact(value) })
                };
                members.iter().map(redacted).collect::<Object>().into()
            }
            other => other.clone(),
        }
    }

    fn change(&self, change: &Change) -> Change {
        let value = |value: &Value| self.member(&change.path, value);
        Change { path: change.path.clone(), before: value(&change.before), after: value(&change.after) }
    }

    /// The value at a path of the memory.
    pub(crate) fn member(&self, path: &str, value: &Value) -> Value {
        match is_secret_path(path) && !value.is_nullish() {
            true => REDACTED.into(),
            false => self.redact(value),
        }
    }

    fn step(&self, step: &Step) -> Step {
        let mut step = step.clone();
        match &mut step {
            Step::Action { args, error, .. } => {
                *args = self.redact(args);
                *error = error.as_deref().map(|error| self.text(error));
            }
            Step::Hook { error, .. } => *error = error.as_deref().map(|error| self.text(error)),
            Step::Condition { text, .. } => *text = self.text(text).into(),
            Step::Error { message: text, .. } | Step::Log { text, .. } => *text = self.text(text),
            _ => {}
        }
        step
    }
}

/// All texts in a value.
fn texts(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            found.insert(text.to_string());
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(members) => members.iter().for_each(|(_, value)| texts(value, found)),
        _ => {}
    }
}

/// All texts in members whose names say that they are secret.
fn named(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        // An instruction that waits in the memory has its arguments as text.
        Value::String(text) => {
            let arguments = text.find('{').and_then(|at| Value::parse(&text[at..]).ok());
            arguments.iter().for_each(|arguments| named(arguments, found));
        }
        Value::Array(items) => items.iter().for_each(|item| named(item, found)),
        Value::Object(members) => {
            for (name, value) in members.iter() {
                // Of headers only some are secrets that would turn up elsewhere.
                match (&**name, value) {
                    (name, Value::Object(given)) if name.eq_ignore_ascii_case("headers") => {
                        let secret = given.iter().filter(|(name, _)| !is_plain_header(name));
                        secret.for_each(|(_, value)| header_value(value.as_str().unwrap_or_default(), found));
                    }
                    (name, value) if is_secret(name) => texts(value, found),
                    (_, value) => named(value, found),
                }
            }
        }
        _ => {}
    }
}

fn headers(request: &HttpRequest, found: &mut BTreeSet<String>) {
    let secret = request.headers.iter().filter(|(name, _)| !is_plain_header(name));
    secret.for_each(|(_, value)| header_value(value, found));
}

/// A header's value, and what follows its scheme.
fn header_value(value: &str, found: &mut BTreeSet<String>) {
    found.insert(value.to_owned());
    if let Some((_, rest)) = value.split_once(' ') {
        found.insert(rest.trim().to_owned());
    }
}

fn is_plain_header(name: &str) -> bool {
    PLAIN_HEADERS.iter().any(|plain| name.eq_ignore_ascii_case(plain))
}

fn hides(name: &str) -> bool {
    is_secret(name) || name.eq_ignore_ascii_case("headers")
}

fn is_secret(name: &str) -> bool {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    SECRET_NAMES.iter().any(|secret| plain.contains(secret))
}

/// Whether a change lies in a member that hides what it holds.
fn is_secret_path(path: &str) -> bool {
    path.split('.').any(hides)
}

/// A text without what stands before `@` in the authority of its URLs, and without secrets in their queries.
fn without_user(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        out.push_str(head);
        let url_end =
            tail.find(|c: char| c.is_whitespace() || matches!(c, '"' | '<' | '>' | '`')).unwrap_or(tail.len());
        let (url, after) = tail.split_at(url_end);
        let authority_end = url.find(['/', '?', '#']).unwrap_or(url.len());
        let (authority, path) = url.split_at(authority_end);
        match authority.rsplit_once('@') {
            Some((_, host)) => {
                let _ = write!(out, "{REDACTED}@{host}");
            }
            None => out.push_str(authority),
        }
        out.push_str(&without_secret_parameters(path));
        rest = after;
    }
    out.push_str(rest);
    out
}

fn without_secret_parameters(path: &str) -> String {
    let Some((path, query)) = path.split_once('?') else { return path.to_owned() };
    let pairs: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) if !value.is_empty() && (is_secret(name) || name.eq_ignore_ascii_case("key")) => {
                format!("{name}={REDACTED}")
            }
            _ => pair.to_owned(),
        })
        .collect();
    format!("{path}?{}", pairs.join("&"))
}

// ---- for people

impl fmt::Display for Shown {
    /// Several lines, the last one ended.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Turn {} · {}", self.turn, self.at)?;
        match &self.input {
            ShownInput::Message { payload } => writeln!(f, "  user  {}", said(payload))?,
            ShownInput::Timeout => writeln!(f, "  (the dialog had waited long enough)")?,
        }
        for step in &self.steps {
            write_step(f, step)?;
        }
        for request in &self.requests {
            let outcome = request
                .status
                .map_or_else(|| clean(request.error.as_deref().unwrap_or("no answer")), |status| status.to_string());
            writeln!(f, "    {} {} → {outcome}", clean(&request.method), clean(&request.url))?;
        }
        for reply in &self.replies {
            writeln!(f, "  bot   {}", said(reply))?;
        }
        for Change { path, before, after } in &self.changes {
            let path = clean(path);
            match (before.is_undefined(), after.is_undefined()) {
                (true, _) => writeln!(f, "  + {path} = {}", short(after))?,
                (false, true) => writeln!(f, "  - {path} = {}", short(before))?,
                (false, false) => match (before, after) {
                    (Value::Array(before), Value::Array(after)) => {
                        let gone = before.iter().filter(|item| !after.contains(item));
                        gone.into_iter().try_for_each(|item| writeln!(f, "  - {path}[] = {}", short(item)))?;
                        let new = after.iter().filter(|item| !before.contains(item));
                        new.into_iter().try_for_each(|item| writeln!(f, "  + {path}[] = {}", short(item)))?;
                    }
                    (before, after) => writeln!(f, "  ~ {path}: {} → {}", short(before), short(after))?,
                },
            }
        }
        Ok(())
    }
}

fn write_step(f: &mut fmt::Formatter<'_>, step: &Step) -> fmt::Result {
    let ended = |error: &Option<String>| match error {
        None => "✓".to_owned(),
        Some(error) => format!("✗ {}", clean(error)),
    };
    match step {
        Step::Node { flow, node, resumed } => {
            writeln!(f, "  → {} / {}{}", clean(flow), clean(node), if *resumed { " (goes on)" } else { "" })
        }
        Step::Condition { text, target, value } => {
            writeln!(f, "    {} {} → {}", if *value { "✓" } else { "✗" }, clean(text), clean(target))
        }
        Step::Say { content, payloads } => writeln!(f, "    say {} ({payloads})", clean(content)),
        Step::Action { name, args, millis, error } => {
            writeln!(f, "    action {} {} {millis} ms {}", clean(name), short(args), ended(error))
        }
        Step::Hook { hook, name, millis, error } => {
            writeln!(f, "    hook {}/{} {millis} ms {}", hook.name(), clean(name), ended(error))
        }
        Step::Jump { target } => writeln!(f, "    jump to {}", clean(target)),
        Step::Skill { flow } => writeln!(f, "    skill {}", clean(flow)),
        Step::Decision { source, details, reason } => {
            writeln!(f, "    decision {} {}: {}", clean(source), clean(details), clean(reason))
        }
        Step::Wait => writeln!(f, "    waits for the user"),
        Step::End => writeln!(f, "    the conversation ends"),
        Step::Loop => writeln!(f, "    ✗ a loop was cut; the conversation starts over"),
        Step::Error { message, flow, node, .. } => {
            writeln!(f, "    ✗ {} ({} / {})", clean(message), clean(flow), clean(node))
        }
        Step::Log { level, text } => writeln!(f, "    log {}: {}", clean(level), clean(text)),
    }
}

/// A payload's text, or all of it.
pub(crate) fn said(payload: &Value) -> String {
    match (payload.str("type"), payload.str("text")) {
        (None | Some("text"), Some(text)) => clean(text),
        _ => short(payload),
    }
}

/// A value in one line of bounded length.
pub(crate) fn short(value: &Value) -> String {
    let text = clean(&value.to_json());
    match text.char_indices().nth(LONGEST_VALUE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// A text that can't do anything to a terminal, in one line.
pub(crate) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            // Control characters, and those that change the direction of what follows.
            c if c.is_control()
                || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use duologue_model::Json;

    use super::*;

    fn value(text: &str) -> Value {
        Value::parse(text).unwrap()
    }

    fn stored() -> Turn {
        let trace = serde_json::json!({
            "bot": "b",
            "input": {"message": {"target": "u", "payload": {"type": "text", "text": "hi\u{1b}[2J"}, "credentials": {"sub": "claim-of-ada"}}},
            "before": {"user": {}, "session": {"list": [1, 2]}, "context": {}, "temp": {"n": 1}},
            "after": [
                {"path": ["temp", "n"], "value": 2},
                {"path": ["user", "apiToken"], "value": "tok-0123456789"},
                {"path": ["temp", "copy"], "value": "it is s3cr3t-header"},
                {"path": ["session", "list"], "slide": 1, "value": [3, 4]},
                {"path": ["context", "queue"], "value": {"instructions": [{"fn": "own {\"password\":\"waiting-secret\"}"}]}},
            ],
            "steps": [
                {"step": "node", "flow": "main.flow.json", "node": "entry", "resumed": false},
                {"step": "condition", "text": "temp.n > 1", "target": "b", "value": false},
                {"step": "action", "name": "basic-skills/call_api", "millis": 12, "error": null,
                 "args": {"url": "https://ada:pw@x.example/?api_key=k1&q=1", "headers": {"X-Own": "s3cr3t-header"}}},
                {"step": "error", "kind": "action", "message": "no claim-of-ada at all", "flow": "main.flow.json", "node": "entry"},
                {"step": "wait"},
            ],
            "effects": [
                {"effect": "http", "result": {"Ok": {"status": 200, "body": "{}"}}, "request": {
                    "method": "GET", "url": "https://x.example/", "headers": [["Authorization", "Bearer abcdefgh"], ["Accept", "*/*"]],
                    "body": null, "timeout": null, "redirects": 5}},
            ],
            "replies": [{"type": "text", "text": "your key is abcdefgh or tok-0123456789"}],
        });
        Turn { turn: 3, at: Timestamp::default(), trace: Json::of(&trace) }
    }

    #[test]
    fn secrets_are_nowhere() {
        let shown = show(&stored()).unwrap();
        let everything = format!("{}{shown}", serde_json::to_string(&shown).unwrap());
        for secret in ["claim-of-ada", "tok-0123456789", "s3cr3t-header", "abcdefgh", "ada:pw", "k1", "waiting-secret"]
        {
            assert!(!everything.contains(secret), "{secret}: {everything}");
        }
        assert_eq!(
            shown.changes.iter().find(|change| change.path == "temp.copy").unwrap().after,
            "it is [redacted]".into()
        );
        assert_eq!((shown.requests[0].status, shown.replies.len()), (Some(200), 1));
    }

    #[test]
    fn turns_are_readable() {
        let text = show(&stored()).unwrap().to_string();
        for line in [
            "  user  hi\\u{1b}[2J\n",
            "  → main.flow.json / entry\n",
            "    ✗ temp.n > 1 → b\n",
            r#"    action basic-skills/call_api {"url":"https://[redacted]@x.example/?api_key=[redacted]&q=1","headers":"[redacted]"} 12 ms ✓"#,
            "    GET https://x.example/ → 200\n",
            "  ~ temp.n: 1 → 2\n",
            "  - session.list[] = 1\n  + session.list[] = 3\n  + session.list[] = 4\n",
            "  + user.apiToken = \"[redacted]\"\n",
            "    waits for the user\n",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn what_is_no_trace_is_said_to_be_none() {
        let turn = Turn { turn: 9, at: Timestamp::default(), trace: Json::of(&serde_json::json!({"bot": 1})) };
        assert!(show(&turn).unwrap_err().to_string().contains("turn 9"));
    }

    #[test]
    fn long_values_are_cut() {
        let long = short(&value(&format!("\"{}\"", "é".repeat(500))));
        assert_eq!(long.chars().count(), LONGEST_VALUE + 1);
    }
}
