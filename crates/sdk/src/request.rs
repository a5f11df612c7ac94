//! What the platform sends (`spec/cloud/bridge-protocol.md` §§ 2, 3), as Rust types.

use base64::{Engine, engine::general_purpose::STANDARD};
use duologue_client::{Conversation, Event, Json, State, User, Workflow};
use http::HeaderMap;
use serde::Deserialize;

use crate::Incoming;

/// What every request says in its headers.
pub(crate) struct Call {
    pub bot_id: String,
    pub operation: Operation,
    /// JSON text.
    pub configuration: String,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Ping,
    Register,
    Unregister,
    EventReceived,
    ActionTriggered,
}

impl Operation {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "ping" => Operation::Ping,
            "register" => Operation::Register,
            "unregister" => Operation::Unregister,
            "event_received" => Operation::EventReceived,
            "action_triggered" => Operation::ActionTriggered,
            _ => return None,
        })
    }
}

impl Call {
    /// Reads the headers; otherwise says what is wrong with them.
    pub fn read(headers: &HeaderMap) -> Result<Self, String> {
        let bot_id = required(headers, "x-bot-id")?.to_owned();
        let name = required(headers, "x-bp-operation")?;
        let operation =
            Operation::from_name(name).ok_or_else(|| format!("Unknown operation \"{}\"", name.escape_debug()))?;
        required(headers, "x-bp-type")?;
        let configuration = configuration(required(headers, "x-bp-configuration")?)
            .ok_or("The x-bp-configuration header is not base64 of a JSON object")?;
        Ok(Call { bot_id, operation, configuration })
    }
}

fn required<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str, String> {
    let value = headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    value.filter(|value| !value.is_empty()).ok_or_else(|| format!("Missing {name} header"))
}

/// The bot's configuration is JSON text within JSON within base64. One that isn't wrapped twice is taken
/// as it is.
fn configuration(header: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Wrapping {
        payload: String,
    }
    let text = String::from_utf8(STANDARD.decode(header).ok()?).ok()?;
    if let Ok(Wrapping { payload }) = serde_json::from_str(&text) {
        let payload = if payload.trim().is_empty() { "{}".to_owned() } else { payload };
        if let Some(object) = object(payload) {
            return Some(object);
        }
    }
    object(text)
}

fn object(text: String) -> Option<String> {
    let json = Json::parse(text.trim().to_owned()).ok()?;
    json.is_object().then(|| json.text().to_owned())
}

/// Body of `event_received`.
#[derive(Deserialize)]
pub(crate) struct EventReceived {
    pub event: Event,
}

/// Body of `action_triggered`.
#[derive(Deserialize)]
pub(crate) struct ActionTriggered {
    #[serde(rename = "type")]
    pub name: String,
    #[serde(default)]
    pub input: Json,
}

/// Body of `register` and `unregister`. Older platforms send none.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Registration {
    pub bot: Json,
}

/// Payload of `message_created`.
pub(crate) type MessageCreated = Incoming;

/// Payload of `state_expired`.
#[derive(Deserialize)]
pub(crate) struct StateExpired {
    pub state: State,
}

/// Payload of `workflow_update`.
#[derive(Deserialize)]
pub(crate) struct WorkflowUpdate {
    #[serde(rename = "type")]
    pub kind: String,
    pub workflow: Workflow,
    pub conversation: Option<Conversation>,
    pub user: Option<User>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_configuration_is_wrapped_twice() {
        let wrap = |text: &str| STANDARD.encode(text);
        assert_eq!(configuration(&wrap(r#"{"payload":"{\"a\":1}"}"#)).unwrap(), r#"{"a":1}"#);
        assert_eq!(configuration(&wrap(r#"{"payload":""}"#)).unwrap(), "{}");
        assert_eq!(configuration(&wrap("{}")).unwrap(), "{}");
        assert_eq!(configuration(&wrap(r#"{"payload":"x","b":2}"#)).unwrap(), r#"{"payload":"x","b":2}"#);
        for wrong in ["%", &wrap("x"), &wrap("[]"), &wrap("\"{}\""), &wrap("")] {
            assert_eq!(configuration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let all = [
            ("x-bot-id", "bot_1"),
            ("x-bp-operation", "ping"),
            ("x-bp-type", "ping"),
            ("x-bp-configuration", "eyJwYXlsb2FkIjoie30ifQ=="),
        ];
        assert!(Call::read(&headers(&all)).is_ok());
        for missing in 0..all.len() {
            let mut rest = all.to_vec();
            let (name, _) = rest.remove(missing);
            assert_eq!(Call::read(&headers(&rest)).err().unwrap(), format!("Missing {name} header"));
            rest.push((name, " "));
            assert_eq!(Call::read(&headers(&rest)).err().unwrap(), format!("Missing {name} header"));
        }
        let mut other = all;
        other[1].1 = "dance";
        assert_eq!(Call::read(&headers(&other)).err().unwrap(), "Unknown operation \"dance\"");
    }
}
