//! Scripts of integrations: finding an instance by a request to a shared webhook, answering if there is
//! none (`spec/cloud/bridge-protocol.md` § 6.3); and scripts that developers try (`admin.md` § 9).
//!
//! A script is pure and bounded; it runs on a thread for blocking work all the same.

use duologue_bridge::Answer;
use duologue_model::{Error as Refusal, ErrorKind};
use duologue_store::integrations::registration::Scripts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{Calls, Incoming, Result};

impl Calls {
    /// Whether bots have an integration of this name installed.
    pub async fn has_global(&self, name: &str) -> Result<bool> {
        Ok(!self.store.identifier_scripts(name).await?.is_empty())
    }

    /// Passes a request to the shared webhook of an integration on to the instance that its script finds.
    ///
    /// # Errors
    /// `ResourceNotFound` if there is no such instance and no script that answers instead; otherwise as
    /// [`Calls::webhook`].
    pub async fn global(&self, name: &str, incoming: Incoming) -> Result<Answer> {
        let all = self.store.identifier_scripts(name).await?;
        for scripts in &all {
            let Some(script) = &scripts.extract else { continue };
            // A script that fails finds nothing.
            let found = ran(script, seen(&incoming, scripts)).await;
            let Ok((Value::String(identifier), _)) = found else { continue };
            if let Some(code) = self.store.identified(name, &identifier).await? {
                return self.pass(code.into(), incoming).await;
            }
        }
        let fallback = all.iter().find_map(|scripts| Some((scripts.fallback.as_ref()?, scripts)));
        let missing = || Refusal::not_found("instance of the integration", name);
        let (script, scripts) = fallback.ok_or_else(missing)?;
        let (result, _) = ran(script, seen(&incoming, scripts)).await.map_err(|error| {
            tracing::debug!(integration = name, %error, "the script that answers failed");
            missing()
        })?;
        Ok(answer(result))
    }

    /// runVrl: answers the result, and what became of the data.
    ///
    /// # Errors
    /// `Runtime` if the script is none, or fails.
    pub async fn run_script(&self, script: &str, data: Value) -> Result<(Value, Value)> {
        let failed = |error: duologue_remap::Error| Refusal::new(ErrorKind::Runtime, error.to_string());
        Ok(ran(script, data).await.map_err(failed)?)
    }
}

async fn ran(script: &str, data: Value) -> Result<(Value, Value), duologue_remap::Error> {
    let script = script.to_owned();
    let run = tokio::task::spawn_blocking(move || duologue_remap::run(&script, data));
    // It ends early only when the server does.
    run.await.unwrap_or(Err(duologue_remap::Error::Aborted))
}

/// What a script sees of a request.
fn seen(incoming: &Incoming, scripts: &Scripts) -> Value {
    json!({
        "path": incoming.path,
        "method": incoming.method,
        "query": incoming.query,
        "headers": incoming.headers,
        "body": incoming.body.as_deref().unwrap_or_default(),
        "secrets": scripts.secrets,
    })
}

/// The answer that a script describes: 200 without a body, unless it says otherwise.
fn answer(described: Value) -> Answer {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Described {
        status: Option<u16>,
        headers: Map<String, Value>,
        body: Value,
    }
    let described: Described = serde_json::from_value(described).unwrap_or_default();
    let mut headers = HeaderMap::new();
    for (name, value) in &described.headers {
        let pair = (name.parse::<HeaderName>(), value.as_str().and_then(|text| HeaderValue::from_str(text).ok()));
        if let (Ok(name), Some(value)) = pair {
            headers.insert(name, value);
        }
    }
    crate::own_headers(&mut headers);
    let body = match described.body {
        Value::Null => String::new(),
        Value::String(text) => text,
        other => other.to_string(),
    };
    let status = described.status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::OK);
    Answer { status, headers, body: body.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_have_defaults() {
        let plain = answer(Value::Null);
        assert_eq!((plain.status.as_u16(), plain.body.len()), (200, 0));
        let described =
            answer(json!({"status": 202, "headers": {"x-a": "1", "connection": "close"}, "body": {"a": 1}}));
        assert_eq!((described.status.as_u16(), &described.body[..]), (202, br#"{"a":1}"#.as_slice()));
        assert_eq!((described.headers.len(), &described.headers["x-a"]), (1, &HeaderValue::from_static("1")));
    }
}
