//! A line of a bundle's output, understood (`spec/cloud/bridge-protocol.md` § 7).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::source::{Issue, Level, Line};

/// What the SDK's logger writes. Everything is optional: a line that lacks `msg` isn't one of its.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Written {
    msg: Option<Value>,
    level: Option<Value>,
    bot_id: Option<String>,
    options: Links,
    #[serde(rename = "visible_to_bot_owner")]
    visible_to_bot_owner: bool,
    #[serde(rename = "hidden_to_integration_owner")]
    hidden_to_integration_owner: bool,
    r#type: Option<String>,
    code: Option<String>,
    title: Option<String>,
    description: Option<String>,
    category: Option<Value>,
    data: Value,
    group_by: Value,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Links {
    user_id: Option<String>,
    conversation_id: Option<String>,
    workflow_id: Option<String>,
}

/// Reads a line; `plain` is the level of one that is no JSON of the SDK's logger.
pub fn parse(text: &str, plain: Level) -> Line {
    written(text).unwrap_or_else(|| Line::new(plain, text))
}

fn written(text: &str) -> Option<Line> {
    if !text.starts_with('{') {
        return None;
    }
    let written: Written = serde_json::from_str(text).ok()?;
    if written.r#type.as_deref() == Some("issue") {
        return issue(written);
    }
    let message = match written.msg? {
        Value::String(text) => text,
        other => other.to_string(),
    };
    Some(Line {
        level: level(written.level.as_ref()),
        message,
        bot_id: written.bot_id,
        user_id: written.options.user_id,
        conversation_id: written.options.conversation_id,
        workflow_id: written.options.workflow_id,
        for_bot: written.visible_to_bot_owner,
        for_integration: !written.hidden_to_integration_owner,
        issue: None,
    })
}

/// A problem that the code reports to the owner of the bot.
fn issue(written: Written) -> Option<Line> {
    let (title, code) = match (written.title, written.code) {
        (Some(title), Some(code)) => (title, code),
        (Some(one), None) | (None, Some(one)) => (one.clone(), one),
        (None, None) => return None,
    };
    let message = match &written.description {
        Some(description) => format!("{title}: {description}"),
        None => title.clone(),
    };
    let group_by = written.group_by.as_array().map_or(&[][..], Vec::as_slice);
    let issue = Issue {
        code,
        category: written.category.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned(),
        title,
        description: written.description.unwrap_or_default(),
        group_by: group_by.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        data: data(written.data),
    };
    let issue = Some(Box::new(issue));
    Some(Line { bot_id: written.bot_id, for_bot: true, issue, ..Line::new(Level::Error, message) })
}

/// Values are `{raw, pretty}`; anything else is taken as it is.
fn data(data: Value) -> BTreeMap<String, (String, Option<String>)> {
    let Value::Object(members) = data else { return BTreeMap::new() };
    let text = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    let value = |mut value: Value| match value.get_mut("raw").map(Value::take) {
        Some(raw) => (text(raw), value.get_mut("pretty").map(Value::take).filter(|one| !one.is_null()).map(text)),
        None => (text(value), None),
    };
    members.into_iter().map(|(name, one)| (name, value(one))).collect()
}

fn level(value: Option<&Value>) -> Level {
    match value.and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase().as_str() {
        "debug" | "trace" => Level::Debug,
        "warn" | "warning" => Level::Warn,
        "error" | "fatal" => Level::Error,
        _ => Level::Info,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_bot_carry_what_they_are_about() {
        let line = parse(
            r#"{"msg":"hello","level":"warn","options":{"userId":"user_1","conversationId":"conv_1","workflowId":"wrkflow_1","eventId":"evt_1"}}"#,
            Level::Info,
        );
        assert_eq!((line.level, line.message.as_str()), (Level::Warn, "hello"));
        assert_eq!(line.user_id.as_deref(), Some("user_1"));
        assert_eq!(line.conversation_id.as_deref(), Some("conv_1"));
        assert_eq!(line.workflow_id.as_deref(), Some("wrkflow_1"));
    }

    #[test]
    fn lines_of_an_integration_say_for_whom_they_are() {
        let line = parse(
            r#"{"msg":"for both","botId":"bot_1","visible_to_bot_owner":true,"hidden_to_integration_owner":false,"options":{"traceId":"t"}}"#,
            Level::Info,
        );
        assert_eq!((line.bot_id.as_deref(), line.for_bot, line.for_integration), (Some("bot_1"), true, true));
        let line = parse(r#"{"msg":"secret","hidden_to_integration_owner":true}"#, Level::Info);
        assert_eq!((line.for_bot, line.for_integration), (false, false));
    }

    #[test]
    fn an_issue_is_an_error_for_the_owner_of_the_bot() {
        let line = parse(
            r#"{"type":"issue","code":"LIMIT","category":"user","title":"Too much","description":"The limit is 3.","data":{},"groupBy":[]}"#,
            Level::Info,
        );
        assert_eq!((line.level, line.message.as_str()), (Level::Error, "Too much: The limit is 3."));
        assert!(line.for_bot);
        let issue = line.issue.unwrap();
        assert_eq!((issue.code.as_str(), issue.category.as_str(), issue.title.as_str()), ("LIMIT", "user", "Too much"));
    }

    #[test]
    fn an_issue_carries_values_of_any_form() {
        let text = r#"{"type":"issue","code":"C","data":{"a":{"raw":"1","pretty":"one"},"b":{"raw":2},"c":"text","d":[3],"e":null},"groupBy":["a",7,"b"]}"#;
        let issue = parse(text, Level::Info).issue.unwrap();
        let owned = |raw: &str, pretty: Option<&str>| (raw.to_owned(), pretty.map(str::to_owned));
        let expected = [
            ("a", owned("1", Some("one"))),
            ("b", owned("2", None)),
            ("c", owned("text", None)),
            ("d", owned("[3]", None)),
            ("e", owned("null", None)),
        ];
        assert_eq!(issue.data, expected.map(|(name, value)| (name.to_owned(), value)).into());
        assert_eq!((issue.group_by, issue.title.as_str()), (vec!["a".to_owned(), "b".to_owned()], "C"));
        for odd in
            [r#"{"type":"issue","code":"C","data":7,"groupBy":"a","category":1}"#, r#"{"type":"issue","title":"C"}"#]
        {
            let issue = parse(odd, Level::Info).issue.unwrap();
            assert_eq!((issue.code.as_str(), issue.data.len(), issue.group_by.len()), ("C", 0, 0), "{odd}");
        }
    }

    #[test]
    fn anything_else_is_text() {
        for text in ["hello", "{not json", r#"{"answer":42}"#, "[1]", ""] {
            assert_eq!(parse(text, Level::Info), Line::new(Level::Info, text));
        }
        assert_eq!(parse("Error: no", Level::Error).level, Level::Error);
    }

    #[test]
    fn a_message_need_not_be_text() {
        assert_eq!(parse(r#"{"msg":{"a":1},"level":"nonsense"}"#, Level::Error), Line::new(Level::Info, r#"{"a":1}"#));
    }
}
