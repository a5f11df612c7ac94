//! The rules of a Converse request's body and query (`converse-api.md` § 3 and 4).

use crate::{
    answer::{Answer, ApiError},
    json::{Json, Object},
};

/// Checks the body of the public route.
///
/// # Errors
/// 400 `Invalid payload: …` with the first reason in the order of the fields; unknown members all
/// together, last.
pub fn check_public(body: &Json) -> Result<(), ApiError> {
    match reason(body) {
        None => Ok(()),
        Some(reason) => Err(ApiError::typed(400, None, "StandardError", &format!("Invalid payload: {reason}"))),
    }
}

fn reason(body: &Json) -> Option<String> {
    let Json::Object(members) = body else { return Some("\"value\" must be an object".to_owned()) };
    for (name, check) in FIELDS {
        if let Some(reason) = check(members.get(*name)) {
            return Some(format!("child \"{name}\" fails because [\"{name}\" {reason}]"));
        }
    }
    let unknown: Vec<String> = members
        .keys()
        .filter(|name| FIELDS.iter().all(|(known, _)| known != name))
        .map(|name| format!("\"{name}\" is not allowed"))
        .collect();
    (!unknown.is_empty()).then(|| unknown.join(". "))
}

type Check = fn(Option<&Json>) -> Option<String>;

const FIELDS: &[(&str, Check)] =
    &[("type", kind), ("text", text), ("includedContexts", contexts), ("metadata", metadata)];

fn kind(value: Option<&Json>) -> Option<String> {
    match value? {
        Json::String(kind) if kind == "text" => None,
        Json::String(kind) if kind.is_empty() => Some("is not allowed to be empty".to_owned()),
        Json::String(_) => Some("must be one of [text]".to_owned()),
        _ => Some("must be a string".to_owned()),
    }
}

fn text(value: Option<&Json>) -> Option<String> {
    match value {
        None => Some("is required".to_owned()),
        Some(value) => no_text(value).map(str::to_owned),
    }
}

fn no_text(value: &Json) -> Option<&'static str> {
    match value {
        Json::String(text) if text.is_empty() => Some("is not allowed to be empty"),
        Json::String(_) => None,
        _ => Some("must be a string"),
    }
}

fn contexts(value: Option<&Json>) -> Option<String> {
    let parsed;
    let items = match value? {
        Json::Array(items) => items,
        // JSON in a string passes.
        Json::String(text) => match Json::parse(text) {
            Ok(Json::Array(items)) => {
                parsed = items;
                &parsed
            }
            _ => return Some("must be an array".to_owned()),
        },
        _ => return Some("must be an array".to_owned()),
    };
    let (position, wrong) = items.iter().enumerate().find_map(|(position, item)| Some((position, no_text(item)?)))?;
    Some(format!("at position {position} fails because [\"{position}\" {wrong}]"))
}

fn metadata(value: Option<&Json>) -> Option<String> {
    let fits = match value? {
        Json::Object(_) => true,
        Json::String(text) => matches!(Json::parse(text), Ok(Json::Object(_))),
        _ => false,
    };
    (!fits).then(|| "must be an object".to_owned())
}

/// A turn's input, from a body that passed the checks of its route.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// The body's `type`, as it came; `"text"` if it was missing.
    pub kind: Json,
    /// The event's payload: the body without `includedContexts`, with `type`.
    pub payload: Object,
    /// The body's `includedContexts`, unchecked; missing or falsy means `["global"]`.
    pub included_contexts: Json,
}

impl Input {
    /// Reads a body, on either route. `longest` is `maxMessageLength`, in UTF-16 units.
    ///
    /// # Errors
    /// 400 `VError` if the type is (or became) `text` and `text` isn't a non-empty string of at most
    /// `longest`.
    pub fn new(body: Json, longest: u64) -> Result<Input, ApiError> {
        // Of an array nothing is usable; it fails like an empty object.
        let Json::Object(mut payload) = body else { return Err(text_rule(longest)) };
        let included_contexts = payload.shift_remove("includedContexts").filter(Json::is_truthy);
        let included_contexts =
            included_contexts.unwrap_or_else(|| Json::Array(vec![Json::String("global".to_owned())]));
        let kind = match payload.get("type") {
            Some(kind) if kind.is_truthy() => kind.clone(),
            _ => Json::String("text".to_owned()),
        };
        payload.insert("type".to_owned(), kind.clone());
        if kind.as_str() == Some("text") {
            let text = payload.get("text").and_then(Json::as_str).unwrap_or_default();
            let length = text.encode_utf16().count() as u64;
            if length == 0 || length > longest {
                return Err(text_rule(longest));
            }
        }
        Ok(Input { kind, payload, included_contexts })
    }

    /// What stands for the message in lists and templates: the first truthy of `__preview`,
    /// `preview`, `text`.
    pub fn preview(&self) -> Option<&Json> {
        ["__preview", "preview", "text"]
            .iter()
            .find_map(|name| self.payload.get(*name).filter(|value| value.is_truthy()))
    }
}

fn text_rule(longest: u64) -> ApiError {
    ApiError::plain(400, "VError", format!("Text must be a valid string of less than {longest} chars"))
}

/// What a request asks for besides `responses`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Include {
    /// The NLU result.
    pub nlu: bool,
    /// All suggestions.
    pub suggestions: bool,
    /// The decoded token of external authentication.
    pub credentials: bool,
    /// The dialog's state.
    pub state: bool,
    /// The elected suggestion.
    pub decision: bool,
}

impl Include {
    /// Reads a comma-separated list: without trimming, in any case, unknown names ignored.
    pub fn parse(list: &str) -> Include {
        let list = list.to_lowercase();
        let has = |name: &str| list.split(',').any(|item| item == name);
        Include {
            nlu: has("nlu"),
            suggestions: has("suggestions"),
            credentials: has("credentials"),
            state: has("state"),
            decision: has("decision"),
        }
    }

    /// Checks a list on the public route.
    ///
    /// # Errors
    /// 403 unless it is empty or `responses`, in any case.
    pub fn check_public(list: &str) -> Result<(), Answer> {
        if list.is_empty() || list.eq_ignore_ascii_case("responses") {
            return Ok(());
        }
        Err(Answer::text(403, "Unauthenticated converse API can only return \"responses\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason_of(body: &str) -> String {
        reason(&Json::parse(body).unwrap()).unwrap_or_default()
    }

    #[test]
    fn reasons_that_no_recording_shows() {
        for (body, reason) in [
            (r#"{"text":"a","x":1,"y":2}"#, r#""x" is not allowed. "y" is not allowed"#),
            (r#"{"text":"a","type":""}"#, r#"child "type" fails because ["type" is not allowed to be empty]"#),
            (r#"{"text":"","x":1}"#, r#"child "text" fails because ["text" is not allowed to be empty]"#),
            (
                r#"{"text":"a","includedContexts":["a",""]}"#,
                r#"child "includedContexts" fails because ["includedContexts" at position 1 fails because ["1" is not allowed to be empty]]"#,
            ),
            (r#"{"text":"a","metadata":null}"#, r#"child "metadata" fails because ["metadata" must be an object]"#),
            (r#"{"text":"a","includedContexts":"[\"a\"]","metadata":"{}"}"#, ""),
        ] {
            assert_eq!(reason_of(body), reason, "{body}");
        }
    }

    #[test]
    fn text_is_measured_in_utf_16() {
        let body = |text: &str| Json::Object(Object::from([("text".to_owned(), Json::String(text.to_owned()))]));
        assert!(Input::new(body(&"😀".repeat(180)), 360).is_ok());
        assert_eq!(
            Input::new(body(&"😀".repeat(181)), 360).unwrap_err().message,
            "Text must be a valid string of less than 360 chars"
        );
        let input =
            Input::new(Json::parse(r#"{"type":"custom","preview":"","text":"t","includedContexts":"c"}"#).unwrap(), 9);
        let input = input.unwrap();
        assert_eq!(input.preview(), Some(&Json::String("t".to_owned())));
        assert_eq!(input.included_contexts.as_str(), Some("c"));
        assert!(!input.payload.contains_key("includedContexts"));
    }

    #[test]
    fn include_is_not_trimmed() {
        assert_eq!(Include::parse("NLU, state,foo"), Include { nlu: true, ..Include::default() });
        assert!(Include::check_public("Responses").is_ok() && Include::check_public("").is_ok());
        assert_eq!(Include::check_public("responses,nlu").unwrap_err().status, 403);
    }
}
