//! The Call API skill's action (`actions-skills.md` § 6), and remote action servers (§ 1.4).

use super::{Failure, Run, say::named_scope};
use crate::{
    bot::instruction::Action,
    host::{Host, HttpRequest},
    js,
    template::{Scope, TemplateValue},
    value::{Object, Value},
};

/// Headers that every request has, unless the bot sets them: the first of all, and the last.
const ACCEPT: (&str, &str) = ("Accept", "application/json, text/plain, */*");
const USER_AGENT: (&str, &str) = ("User-Agent", "axios/0.21.1");

impl<H: Host> Run<'_, H> {
    pub(super) async fn call_api(&mut self, args: &Object) -> Result<(), Failure> {
        let text = |name: &str| args.get(name).map(js::display).unwrap_or_default();
        let request = self.api_request(args, &text("method"), text("url"))?;
        let (stored, success) = match self.http(request).await {
            // Below 400 is a success, as published; the original took 200 to 299 only.
            Ok(response) if (200..400).contains(&response.status) => {
                let body = Value::parse(&response.body).unwrap_or_else(|_| Value::text(response.body));
                (Object::new().with("body", body).with("status", f64::from(response.status)), true)
            }
            Ok(response) => (Object::new().with("status", f64::from(response.status)), false),
            Err(failure) => (Object::new().with("status", failure.code), false),
        };
        let variable = args.get("variable").map(js::display).unwrap_or_else(|| "response".to_owned());
        let memory = args.get("memory").map(js::display).unwrap_or_else(|| "temp".to_owned());
        let known = matches!(memory.as_str(), "temp" | "session" | "user" | "bot");
        if !known || !matches!(self.state(&memory), Value::Object(_)) {
            return Err(Failure::action(format!("Call API: there is no memory {memory} to store the answer in")));
        }
        self.state_mut(&memory).set(variable, stored);
        let flag = match args.get("randomId").map(js::display).filter(|id| !id.is_empty()) {
            Some(id) => format!("valid_{id}"),
            None => "valid".to_owned(),
        };
        self.state_mut("temp").set(flag, success);
        Ok(())
    }

    fn api_request(&self, args: &Object, method: &str, url: String) -> Result<HttpRequest, Failure> {
        let method = if method.is_empty() { "GET".to_owned() } else { method.to_uppercase() };
        let mut headers: Vec<(String, String)> = Vec::new();
        // Headers see the bot's memory, too: the published contract, which the original missed.
        let named = named_scope(&self.event, true);
        let scope = Scope { own: None, named: &named };
        if let Some(Value::Object(given)) = args.get("headers") {
            for (name, value) in given.iter().filter(|(_, value)| !value.is_nullish()) {
                let value = TemplateValue::new(value).render(scope);
                let value = value.map_err(|error| Failure::action(format!("Call API: header {name}: {error}")))?;
                headers.push((name.to_string(), js::display(&value)));
            }
        }
        let (body, content_type) = match args.get("body") {
            None | Some(Value::Null) => (None, ""),
            Some(Value::String(text)) => (Some(text.to_string()), "application/x-www-form-urlencoded"),
            Some(other) => (Some(other.to_json()), "application/json;charset=utf-8"),
        };
        if body.is_none() {
            headers.retain(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
        }
        let default = |headers: &mut Vec<(String, String)>, at: usize, (name, value): (&str, &str)| {
            if !headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name)) {
                headers.insert(at, (name.to_owned(), value.to_owned()));
            }
        };
        if body.is_some() && matches!(method.as_str(), "POST" | "PUT" | "PATCH") {
            default(&mut headers, 0, ("Content-Type", content_type));
        }
        default(&mut headers, 0, ACCEPT);
        let end = headers.len();
        default(&mut headers, end, USER_AGENT);
        Ok(HttpRequest { method, url, headers, body, timeout: None, redirects: 5 })
    }

    /// Runs an action on a remote server.
    pub(super) async fn remote_action(&mut self, action: &Action, server: &str, args: Object) -> Result<(), Failure> {
        let servers = &self.bot.globals.settings.action_servers;
        let Some((_, base)) = servers.iter().find(|(id, _)| &**id == server) else {
            self.ignore(&format!("the action server {server} is unknown: the instruction is skipped"));
            return Ok(());
        };
        let url = format!("{}/action/run", base.trim_end_matches('/'));
        let token = self.host_sdk("actions.token", vec![Value::from(&self.bot.id)]).await.map_err(Failure::action)?;
        let body = Object::new()
            .with("token", token)
            .with("botId", &self.bot.id)
            .with("actionName", &action.name)
            .with("actionArgs", args)
            .with("incomingEvent", self.event.clone());
        let request = HttpRequest {
            method: "POST".to_owned(),
            url,
            headers: vec![("Content-Type".to_owned(), "application/json".to_owned())],
            body: Some(Value::from(body).to_json()),
            timeout: Some(5_000),
            redirects: 0,
        };
        let response = self.http(request).await.map_err(|failure| Failure::action(failure.to_string()))?;
        if response.status != 200 {
            self.ignore(&format!("{}: the action server answered {}", action.name, response.status));
            return Ok(());
        }
        let answer = Value::parse(&response.body).unwrap_or_default();
        let state = answer.at(&["event", "state"]);
        let memories = ["temp", "user", "session"].map(|name| (name, state.get(name)));
        if !memories.iter().all(|(_, memory)| memory.as_object().is_some()) {
            return Err(Failure::action(format!("{}: the action server's answer has no state", action.name)));
        }
        for (name, memory) in memories {
            self.event.make_object().object_mut("state").set(name, memory.clone());
        }
        self.state_mut("temp").set("responseStatusCode", f64::from(response.status));
        Ok(())
    }
}
