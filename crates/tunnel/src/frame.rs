//! What travels in a tunnel: JSON, one object a WebSocket message.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// From this server to the code.
#[derive(Debug, Serialize)]
pub(crate) struct Asked<'a> {
    /// Always `request`.
    pub(crate) r#type: &'static str,
    /// What the answer will name.
    pub(crate) id: &'a str,
    pub(crate) method: &'a str,
    /// Behind the tunnel's id; at least `/`.
    pub(crate) path: &'a str,
    /// Without the question mark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) query: Option<&'a str>,
    pub(crate) headers: BTreeMap<&'a str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<&'a str>,
}

/// From the code to this server.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Said {
    /// Still there.
    Hello,
    /// The answer to a request.
    Response(Answered),
    /// Something of a later version of the protocol.
    #[serde(other)]
    Unknown,
}

/// An answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answered {
    pub(crate) request_id: String,
    pub(crate) status: u16,
    #[serde(default)]
    pub(crate) headers: Option<BTreeMap<String, HeaderText>>,
    #[serde(default)]
    pub(crate) body: Option<String>,
}

/// A header's value; some clients send several as a list.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum HeaderText {
    One(String),
    Many(Vec<String>),
    Number(serde_json::Number),
}

impl HeaderText {
    /// Each value.
    pub(crate) fn values(self) -> Vec<String> {
        match self {
            HeaderText::One(text) => vec![text],
            HeaderText::Many(texts) => texts,
            HeaderText::Number(number) => vec![number.to_string()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_leniently() {
        let said =
            r#"{"type":"response","requestId":"1","status":200,"headers":{"a":"b","n":1,"l":["x","y"]},"body":null}"#;
        let Ok(Said::Response(answered)) = serde_json::from_str(said) else { panic!("no response") };
        assert_eq!((answered.request_id.as_str(), answered.status, answered.body), ("1", 200, None));
        let headers: Vec<Vec<String>> =
            answered.headers.unwrap_or_default().into_values().map(HeaderText::values).collect();
        assert_eq!(headers, [vec!["b"], vec!["x", "y"], vec!["1"]]);
        assert!(matches!(serde_json::from_str(r#"{"type":"hello"}"#), Ok(Said::Hello)));
        assert!(matches!(serde_json::from_str(r#"{"type":"goodbye","why":1}"#), Ok(Said::Unknown)));
    }
}
