//! A line of a bundle's output, understood (`spec/cloud/bridge-protocol.md` § 7).

use serde::Deserialize;
use serde_json::Value;

use crate::source::{Level, Line};

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
        return issue(&written);
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
    })
}

/// A problem that the code reports to the owner of the bot.
fn issue(written: &Written) -> Option<Line> {
    let title = written.title.as_ref().or(written.code.as_ref())?;
    let message = match &written.description {
        Some(description) => format!("{title}: {description}"),
        None => title.clone(),
    };
    Some(Line { bot_id: written.bot_id.clone(), for_bot: true, ..Line::new(Level::Error, message) })
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
