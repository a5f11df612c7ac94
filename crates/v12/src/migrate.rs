//! Bots of older versions, brought to the forms of the last one (`migration-data.md` § 4).
//!
//! What is of an old form for sure is changed whatever the bot's version says; what depends on the
//! version only if the version is known to be older.

use bytes::Bytes;

use crate::{
    json::{Json, Object},
    source::Files,
};

/// Said when an action fails, in bots that have no error flow of their own.
const ERROR_TEXT: &str = "Sorry, something went wrong on our side.";

/// A bot's version, and what else its files' forms depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Age<'a> {
    /// As in `bot.config.json`; empty if unknown.
    pub version: &'a str,
    pub default_language: &'a str,
}

impl Age<'_> {
    /// Whether the version is known and older than this.
    fn is_before(&self, version: (u32, u32, u32)) -> bool {
        let mut parts = self.version.split(['.', '-']).map(|part| part.parse::<u32>().ok());
        let mut part = || parts.next().flatten();
        let Some(major) = part() else { return false };
        (major, part().unwrap_or(0), part().unwrap_or(0)) < version
    }
}

/// The new content of a file and what changed in it, if it is of an old form.
pub(crate) fn file(path: &str, content: &Json, age: Age<'_>) -> Option<(Json, &'static str)> {
    let mut new = content.clone();
    let what = match path.split('/').next()? {
        "entities" => entity(&mut new),
        "intents" => intent(&mut new),
        "qna" => question(&mut new, age),
        "content-elements" if age.is_before((12, 5, 0)) => elements(&mut new),
        _ => return None,
    }?;
    Some((new, what))
}

/// Adds an error flow to a bot from before bots had one; the paths that were added.
pub(crate) fn add_error_flow(files: &mut Files, age: Age<'_>) -> Vec<&'static str> {
    const FLOW: &str = "flows/error.flow.json";
    const ELEMENTS: &str = "content-elements/builtin_text.json";
    if !age.is_before((12, 1, 3)) || files.keys().any(|path| path.eq_ignore_ascii_case(FLOW)) {
        return Vec::new();
    }
    let mut elements = match files.get(ELEMENTS).map(|content| crate::config::parse_json(content)) {
        Some(Ok(Json::Array(elements))) => elements,
        None => Vec::new(),
        // Nothing can be added to what can't be read.
        Some(_) => return Vec::new(),
    };
    if !elements.iter().any(|element| element.get("id").and_then(Json::as_str) == Some("builtin_text-error")) {
        let form = Object::from([(format!("text${}", age.default_language), Json::String(ERROR_TEXT.to_owned()))]);
        elements.push(Json::Object(Object::from([
            ("id".to_owned(), Json::String("builtin_text-error".to_owned())),
            ("formData".to_owned(), Json::Object(form)),
        ])));
        files.insert(ELEMENTS.to_owned(), Json::Array(elements).to_string().into());
    }
    let flow = "{\"version\":\"0.0.1\",\"startNode\":\"entry\",\"nodes\":[{\"id\":\"error-entry\",\"name\":\"entry\",\
                \"onEnter\":[\"say #!builtin_text-error\"],\"onReceive\":null,\
                \"next\":[{\"condition\":\"true\",\"node\":\"END\"}]}]}";
    files.insert(FLOW.to_owned(), Bytes::from_static(flow.as_bytes()));
    files.insert("flows/error.ui.json".to_owned(), Bytes::from_static(b"{\"nodes\":[],\"links\":[]}"));
    vec![FLOW, ELEMENTS]
}

fn entity(content: &mut Json) -> Option<&'static str> {
    let Json::Object(members) = content else { return None };
    let mut changed = None;
    if let Some(at) = members.get_index_of("occurences") {
        let misspelled = members.shift_remove_index(at)?.1;
        if !members.contains_key("occurrences") {
            members.shift_insert(at, "occurrences".to_owned(), misspelled);
        }
        changed = Some("the member \"occurences\" is spelled \"occurrences\" now");
    }
    if let Some(Json::Bool(fuzzy)) = members.get("fuzzy") {
        let tolerance = Json::Number(if *fuzzy { 0.8 } else { 1.0 });
        members.insert("fuzzy".to_owned(), tolerance);
        changed = Some("the tolerance is a number now");
    }
    if members.get("type").and_then(Json::as_str) == Some("pattern") {
        for (name, value) in [("matchCase", Json::Bool(false)), ("examples", Json::Array(Vec::new()))] {
            if !members.contains_key(name) {
                members.insert(name.to_owned(), value);
                changed = changed.or(Some("missing members of a pattern are added"));
            }
        }
    }
    changed
}

fn intent(content: &mut Json) -> Option<&'static str> {
    let Json::Object(members) = content else { return None };
    let Json::Array(slots) = members.get_mut("slots")? else { return None };
    let mut changed = None;
    let mut rename = |name: &mut Json| {
        if name.as_str() == Some("numeral") {
            *name = Json::String("number".to_owned());
            changed = Some("the entity \"numeral\" is called \"number\" now");
        }
    };
    for slot in slots {
        let Json::Object(slot) = slot else { continue };
        if let Some(entity) = slot.get_mut("entity") {
            rename(entity);
        }
        if let Some(Json::Array(entities)) = slot.get_mut("entities") {
            entities.iter_mut().for_each(&mut rename);
        }
    }
    changed
}

fn question(content: &mut Json, age: Age<'_>) -> Option<&'static str> {
    let Json::Object(members) = content else { return None };
    let Json::Object(data) = members.get_mut("data")? else { return None };
    let mut changed = None;
    if !data.contains_key("contexts")
        && let Some(category @ Json::String(_)) = data.shift_remove("category")
    {
        data.insert("contexts".to_owned(), Json::Array(vec![category]));
        changed = Some("its category is a context now");
    }
    if !data.contains_key("answers")
        && let Some(answer @ Json::String(_)) = data.shift_remove("answer")
    {
        let answers = Object::from([(age.default_language.to_owned(), Json::Array(vec![answer]))]);
        data.insert("answers".to_owned(), Json::Object(answers));
        changed = Some("its answer is a list by language now");
    }
    changed
}

fn elements(content: &mut Json) -> Option<&'static str> {
    let Json::Array(elements) = content else { return None };
    let mut changed = None;
    for element in elements {
        let Json::Object(element) = element else { continue };
        let Some(Json::Object(form)) = element.get_mut("formData") else { continue };
        let languages = form.keys().filter_map(|name| name.strip_prefix("text$").map(str::to_owned));
        for language in languages.collect::<Vec<_>>() {
            let name = format!("markdown${language}");
            if !form.contains_key(&name) {
                form.insert(name, Json::Bool(true));
                changed = Some("texts are Markdown, as they were for this version");
            }
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn migrated(path: &str, content: &str, version: &str) -> String {
        let age = Age { version, default_language: "fr" };
        let content = Json::parse(content).unwrap();
        file(path, &content, age).map_or_else(|| "unchanged".to_owned(), |(new, _)| new.to_string())
    }

    #[test]
    fn old_forms_become_new_ones() {
        for (path, old, new) in [
            (
                "entities/a.json",
                r#"{"type":"list","fuzzy":true,"occurences":[],"x":1}"#,
                r#"{"type":"list","fuzzy":0.8,"occurrences":[],"x":1}"#,
            ),
            (
                "entities/a.json",
                r#"{"type":"pattern","fuzzy":1}"#,
                r#"{"type":"pattern","fuzzy":1,"matchCase":false,"examples":[]}"#,
            ),
            ("entities/a.json", r#"{"type":"list","fuzzy":0.65}"#, "unchanged"),
            (
                "intents/a.json",
                r#"{"slots":[{"entity":"numeral","entities":["numeral","any"]}]}"#,
                r#"{"slots":[{"entity":"number","entities":["number","any"]}]}"#,
            ),
            ("intents/a.json", r#"{"slots":[]}"#, "unchanged"),
            (
                "qna/a.json",
                r#"{"id":"a","data":{"category":"c","answer":"x"}}"#,
                r#"{"id":"a","data":{"contexts":["c"],"answers":{"fr":["x"]}}}"#,
            ),
            ("qna/a.json", r#"{"id":"a","data":{"contexts":[],"category":"c"}}"#, "unchanged"),
            ("flows/a.json", r#"{"occurences":[]}"#, "unchanged"),
        ] {
            assert_eq!(migrated(path, old, ""), new, "{old}");
        }
    }

    #[test]
    fn texts_were_markdown_once() {
        let elements = r#"[{"id":"a","formData":{"text$en":"x","markdown$fr":false,"text$fr":"y"}}]"#;
        let path = "content-elements/builtin_text.json";
        let new = r#"[{"id":"a","formData":{"text$en":"x","markdown$fr":false,"text$fr":"y","markdown$en":true}}]"#;
        assert_eq!(migrated(path, elements, "12.4.9"), new);
        for version in ["12.5.0", "12.31.10", "", "13"] {
            assert_eq!(migrated(path, elements, version), "unchanged", "{version}");
        }
    }

    #[test]
    fn old_bots_get_an_error_flow() {
        let age = |version| Age { version, default_language: "en" };
        let mut files = Files::from([(
            "content-elements/builtin_text.json".to_owned(),
            Bytes::from_static(br#"[{"id":"builtin_text-a","formData":{}}]"#),
        )]);
        assert!(add_error_flow(&mut files.clone(), age("12.1.3")).is_empty());
        assert!(add_error_flow(&mut files.clone(), age("")).is_empty());
        assert_eq!(add_error_flow(&mut files, age("11.9.5")).len(), 2);
        let elements = Json::parse(std::str::from_utf8(&files["content-elements/builtin_text.json"]).unwrap()).unwrap();
        let Json::Array(elements) = elements else { panic!() };
        assert_eq!(elements.len(), 2);
        assert_eq!(elements[1].get("formData").unwrap().get("text$en").unwrap().as_str(), Some(ERROR_TEXT));
        Json::parse(std::str::from_utf8(&files["flows/error.flow.json"]).unwrap()).unwrap();
        assert!(add_error_flow(&mut files, age("12.0.0")).is_empty());
    }
}
