//! What the definitions of bots and of integrations are made of, how a change to them is applied,
//! and their limits (`spec/cloud/admin.md` § 5.2, `spec/cloud/errors.md` §§ 2, 5).
//!
//! Schemas and payloads are kept as the text they came in: clients generate code from them and
//! compare them. Members that no operation knows are dropped.

use std::collections::BTreeMap;

use duologue_model::{Error as Refusal, ErrorKind, Json};
use serde::{Deserialize, Deserializer, Serialize};

/// Definitions by name.
pub type Map<T> = BTreeMap<String, T>;

/// Most bytes of one JSON Schema.
pub const MAX_SCHEMA: usize = 102_400;
/// Characters in the title that a thing without one gets out of its name.
pub const MAX_TITLE: usize = 64;
/// Most tags declared for one kind of thing.
pub const MAX_TAGS: usize = 50;
/// Most secrets of a bot or an integration.
pub const MAX_SECRETS: usize = 25;
/// Most bytes of code of a bot or an integration.
pub const MAX_CODE: usize = 52_428_800;
/// Most bytes of a configuration.
pub const MAX_CONFIGURATION: usize = 20_480;
/// Most bytes of the payload of a recurring event.
pub const MAX_PAYLOAD: usize = 131_072;

/// Reads a member that may be absent, `null`, or set.
pub(crate) fn nullable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Reads a whole number that may be written with a fraction of zero.
pub(crate) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.map(|number| number as i64))
}

/// A declared tag.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tag {
    /// At most 64 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// At most 256 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// The tags declared for users, conversations or messages.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tags {
    /// By name.
    pub tags: Map<Tag>,
}

/// A change to [`Tags`]; `None` removes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct TagsChange {
    /// By name.
    pub tags: Map<Option<Tag>>,
}

/// A schema in its wrapping.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// JSON Schema, an object.
    pub schema: Json,
}

/// A declared event.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// At most 64 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// At most 256 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Of its payload.
    pub schema: Json,
    /// Texts by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: Map<String>,
}

/// A new or replaced [`Event`]; attributes are merged.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct EventChange {
    title: Option<String>,
    description: Option<String>,
    schema: Json,
    #[serde(default)]
    attributes: Map<Option<String>>,
}

/// A declared action.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// At most 64 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// At most 256 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// As declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub billable: Option<bool>,
    /// As declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cacheable: Option<bool>,
    /// What it takes.
    pub input: Schema,
    /// What it answers.
    pub output: Schema,
    /// Texts by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: Map<String>,
}

/// A new or replaced [`Action`]; attributes are merged.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ActionChange {
    title: Option<String>,
    description: Option<String>,
    billable: Option<bool>,
    cacheable: Option<bool>,
    input: Schema,
    output: Schema,
    #[serde(default)]
    attributes: Map<Option<String>>,
}

impl EventChange {
    /// The event that replaces `old`.
    pub(crate) fn over(&self, old: Option<&Event>) -> Event {
        let mut attributes = old.map(|old| old.attributes.clone()).unwrap_or_default();
        merge(&mut attributes, &self.attributes, |_, text| text.clone());
        Event {
            title: self.title.clone(),
            description: self.description.clone(),
            schema: self.schema.clone(),
            attributes,
        }
    }

    pub(crate) fn check(&self, at: &str) -> Result<(), Refusal> {
        described(at, self.title.as_ref(), self.description.as_ref())?;
        schema(&format!("{at}.schema"), &self.schema)?;
        attributes(at, &self.attributes)
    }
}

impl ActionChange {
    /// The action that replaces `old`.
    pub(crate) fn over(&self, old: Option<&Action>) -> Action {
        let mut attributes = old.map(|old| old.attributes.clone()).unwrap_or_default();
        merge(&mut attributes, &self.attributes, |_, text| text.clone());
        Action {
            title: self.title.clone(),
            description: self.description.clone(),
            billable: self.billable,
            cacheable: self.cacheable,
            input: self.input.clone(),
            output: self.output.clone(),
            attributes,
        }
    }

    pub(crate) fn check(&self, at: &str) -> Result<(), Refusal> {
        described(at, self.title.as_ref(), self.description.as_ref())?;
        schema(&format!("{at}.input.schema"), &self.input.schema)?;
        schema(&format!("{at}.output.schema"), &self.output.schema)?;
        attributes(at, &self.attributes)
    }
}

impl TagsChange {
    pub(crate) fn apply(&self, to: &mut Tags) {
        merge(&mut to.tags, &self.tags, |_, tag| tag.clone());
    }

    pub(crate) fn check(&self, at: &str) -> Result<(), Refusal> {
        each(at, &self.tags, |at, tag| described(at, tag.title.as_ref(), tag.description.as_ref()))
    }
}

/// Applies a change by key: `None` removes, `Some` is made into what replaces the old entry. Keys
/// with `#` stand for what plugins bring along, which is never stored.
pub(crate) fn merge<T, C>(old: &mut Map<T>, change: &Map<Option<C>>, over: impl Fn(Option<&T>, &C) -> T) {
    for (key, change) in change {
        match change {
            _ if key.contains('#') => {}
            None => {
                old.remove(key);
            }
            Some(change) => {
                let new = over(old.get(key), change);
                old.insert(key.clone(), new);
            }
        }
    }
}

/// Checks the name and the content of each entry that is set.
pub(crate) fn each<C>(
    at: &str,
    change: &Map<Option<C>>,
    check: impl Fn(&str, &C) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    for (key, change) in change {
        if let (Some(change), false) = (change, key.contains('#')) {
            identifier(at, key)?;
            check(&format!("{at}.{key}"), change)?;
        }
    }
    Ok(())
}

/// Refuses a malformed name of a definition.
pub(crate) fn identifier(at: &str, name: &str) -> Result<(), Refusal> {
    let bad = |c: char| c.is_control() || c.is_whitespace() || matches!(c, ':' | '#' | '/');
    if (1..=200).contains(&name.chars().count()) && !name.contains(bad) {
        return Ok(());
    }
    let text = format!(
        "\"{name}\" is no name for an entry of {at}: use 1 to 200 characters without blanks, \":\", \"#\" and \"/\""
    );
    Err(Refusal::new(ErrorKind::InvalidIdentifier, text))
}

/// Refuses a name of a secret that can't be a name of an environment variable.
pub(crate) fn secret_name(name: &str) -> Result<(), Refusal> {
    let starts = name.bytes().next().is_some_and(|b| b.is_ascii_uppercase());
    if starts && name.len() <= 100 && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_') {
        return Ok(());
    }
    let text = format!(
        "\"{name}\" is no name for a secret: use up to 100 of A to Z, digits and \"_\", starting with a letter"
    );
    Err(Refusal::new(ErrorKind::InvalidIdentifier, text))
}

/// Refuses a text of more than `most` characters, or with a NUL, which PostgreSQL doesn't store.
pub(crate) fn at_most(at: &str, text: &str, most: usize) -> Result<(), Refusal> {
    if text.contains('\0') {
        return Err(Refusal::invalid_payload(format!("{at} contains a NUL character")));
    }
    match text.chars().count() {
        length if length > most => {
            Err(Refusal::invalid_payload(format!("{at} has at most {most} characters, this one has {length}")))
        }
        _ => Ok(()),
    }
}

pub(crate) fn described(at: &str, title: Option<&String>, description: Option<&String>) -> Result<(), Refusal> {
    at_most(&format!("{at}.title"), title.map_or("", String::as_str), 64)?;
    at_most(&format!("{at}.description"), description.map_or("", String::as_str), 256)
}

pub(crate) fn attributes(at: &str, given: &Map<Option<String>>) -> Result<(), Refusal> {
    given.iter().try_for_each(|(key, text)| {
        at_most(&format!("{at}.attributes.{key}"), text.as_deref().unwrap_or_default(), 200)
    })
}

/// Refuses what isn't an object.
pub(crate) fn object(at: &str, json: &Json) -> Result<(), Refusal> {
    if json.is_object() { Ok(()) } else { Err(Refusal::invalid_payload(format!("{at} must be an object"))) }
}

/// Refuses what isn't usable JSON Schema. Schemas that refer to other documents are taken as they
/// are: what they refer to is put in their place later.
pub(crate) fn schema(at: &str, schema: &Json) -> Result<(), Refusal> {
    if !schema.is_object() {
        return Err(Refusal::new(
            ErrorKind::InvalidJsonSchema,
            format!("{at} must be a JSON Schema, that is an object"),
        ));
    }
    let length = schema.text().len();
    if length > MAX_SCHEMA {
        let text = format!("{at} has {length} bytes; a schema has at most {MAX_SCHEMA}");
        return Err(Refusal::new(ErrorKind::LimitExceeded, text));
    }
    let value = schema.value();
    match jsonschema::validator_for(&value) {
        Err(error) if !refers_elsewhere(&value) => {
            Err(Refusal::new(ErrorKind::InvalidJsonSchema, format!("{at} is not usable JSON Schema: {error}")))
        }
        _ => Ok(()),
    }
}

fn refers_elsewhere(schema: &serde_json::Value) -> bool {
    use serde_json::Value;
    match schema {
        Value::Object(members) => members.iter().any(|(key, value)| match value {
            Value::String(target) if key == "$ref" => !target.starts_with('#'),
            value => refers_elsewhere(value),
        }),
        Value::Array(items) => items.iter().any(refers_elsewhere),
        _ => false,
    }
}

/// Refuses a configuration that doesn't satisfy its schema, saying where and why.
pub(crate) fn configured(at: &str, schema: &Json, configuration: &Json) -> Result<(), Refusal> {
    let Ok(validator) = jsonschema::validator_for(&schema.value()) else { return Ok(()) };
    let value = configuration.value();
    let problems: Vec<serde_json::Value> = validator
        .iter_errors(&value)
        .take(10)
        .map(|error| serde_json::json!({ "path": error.instance_path().to_string(), "message": error.to_string() }))
        .collect();
    let Some(first) = problems.first() else { return Ok(()) };
    let text = format!(
        "{at} does not satisfy its schema: {} at \"{}\"",
        first["message"].as_str().unwrap_or_default(),
        first["path"].as_str().unwrap_or_default()
    );
    Err(Refusal::new(ErrorKind::InvalidDataFormat, text).with_metadata(serde_json::json!({ "errors": problems })))
}

/// Refuses more than `most` of something.
pub(crate) fn limit(what: &str, count: usize, most: usize) -> Result<(), Refusal> {
    if count <= most {
        return Ok(());
    }
    Err(Refusal::new(ErrorKind::LimitExceeded, format!("{what}: at most {most}, these would be {count}")))
}

/// Refuses a configuration of too many bytes, or one that isn't an object.
pub(crate) fn configuration(at: &str, json: &Json) -> Result<(), Refusal> {
    object(at, json)?;
    limit(&format!("bytes of {at}"), json.text().len(), MAX_CONFIGURATION)
}

/// Refuses code that is too large or can't be stored.
pub(crate) fn code(code: &str) -> Result<(), Refusal> {
    limit("bytes of code", code.len(), MAX_CODE)?;
    at_most("code", code, MAX_CODE)
}

/// Refuses secrets with malformed names or overlong values.
pub(crate) fn secrets(given: &Map<Option<String>>) -> Result<(), Refusal> {
    given.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))).try_for_each(|(name, value)| {
        secret_name(name)?;
        at_most(&format!("secrets.{name}"), value, 20_000)
    })
}

/// Refuses that the names `before` become `after`, if that takes away what others may rely on.
pub(crate) fn refuse_to_break(before: &[String], after: &[String], noun: &str) -> Result<(), Refusal> {
    let gone: Vec<&str> = before.iter().filter(|name| !after.contains(name)).map(String::as_str).collect();
    if gone.is_empty() {
        return Ok(());
    }
    let text = format!(
        "others use this {noun} and may rely on what this would remove: {}. Release a new version instead",
        gone.join(", ")
    );
    Err(Refusal::new(ErrorKind::BreakingChanges, text).with_metadata(serde_json::json!({ "removed": gone })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        Json::parse(text.into()).unwrap()
    }

    #[test]
    fn a_change_replaces_removes_and_keeps() {
        let mut events: Map<Event> = serde_json::from_str(
            r#"{"kept":{"schema":{}},"gone":{"schema":{}},"new":{"title":"old","schema":{},"attributes":{"a":"1","b":"2"}}}"#,
        )
        .unwrap();
        let change: Map<Option<EventChange>> = serde_json::from_str(
            r#"{"gone":null,"never":null,"p#x":null,"p#y":{"schema":{}},"new":{"schema":{"b":1,"a":2},"attributes":{"a":null,"c":"3"}}}"#,
        )
        .unwrap();
        merge(&mut events, &change, |old, change| change.over(old));
        let text = serde_json::to_string(&events).unwrap();
        assert_eq!(text, r#"{"kept":{"schema":{}},"new":{"schema":{"b":1,"a":2},"attributes":{"b":"2","c":"3"}}}"#);
    }

    #[test]
    fn schemas_must_be_usable() {
        assert!(schema("s", &json(r#"{"type":"object","x-zui":{}}"#)).is_ok());
        assert!(schema("s", &json(r#"{"properties":{"i":{"$ref":"interface:x/entities/y"}}}"#)).is_ok());
        assert_eq!(schema("s", &json("true")).unwrap_err().kind, ErrorKind::InvalidJsonSchema);
        assert_eq!(schema("s", &json(r#"{"type":"objekt"}"#)).unwrap_err().kind, ErrorKind::InvalidJsonSchema);
        let long = format!(r#"{{"title":"{}"}}"#, "x".repeat(MAX_SCHEMA));
        assert_eq!(schema("s", &json(&long)).unwrap_err().kind, ErrorKind::LimitExceeded);
    }

    #[test]
    fn configurations_are_held_against_their_schema() {
        let wanted = json(r#"{"type":"object","properties":{"token":{"type":"string"}},"required":["token"]}"#);
        assert!(configured("c", &wanted, &json(r#"{"token":"t"}"#)).is_ok());
        let refusal = configured("c", &wanted, &json(r#"{"token":1}"#)).unwrap_err();
        assert_eq!(refusal.kind, ErrorKind::InvalidDataFormat);
        assert_eq!(refusal.metadata.unwrap()["errors"][0]["path"], "/token");
    }

    #[test]
    fn names_are_checked_leniently() {
        for good in ["a", "ticketCreated", "Zürich", "a.b-c_d"] {
            assert!(identifier("events", good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a:b", "a/b", "a\n", &"a".repeat(201)] {
            assert!(identifier("events", bad).is_err(), "{bad}");
        }
        assert!(secret_name("API_KEY2").is_ok());
        assert!(secret_name("apiKey").is_err() && secret_name("2A").is_err());
    }
}
