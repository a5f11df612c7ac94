//! Values that JSON has no form for: bytes that are no text, patterns, and instants. Each is an object with one
//! member, whose name no script writes; they become JSON when the script has ended.

use serde_json::{Map, Value};

use crate::dates;

const BYTES: &str = "\u{0}bytes";
const PATTERN: &str = "\u{0}pattern";
const INSTANT: &str = "\u{0}instant";

fn special(name: &str, value: Value) -> Value {
    Value::Object(Map::from_iter([(name.to_owned(), value)]))
}

/// Bytes as a value: a text if they are one.
pub(crate) fn of_bytes(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => special(BYTES, bytes.iter().map(|byte| Value::from(*byte)).collect()),
    }
}

/// The bytes of a text, or those that are none.
pub(crate) fn bytes(value: &Value) -> Option<Vec<u8>> {
    match (value, value.get(BYTES)) {
        (Value::String(text), _) => Some(text.as_bytes().to_vec()),
        (_, Some(Value::Array(bytes))) => {
            Some(bytes.iter().filter_map(|byte| u8::try_from(byte.as_u64()?).ok()).collect())
        }
        _ => None,
    }
}

/// The pattern that stands in this place of the script's table.
pub(crate) fn of_pattern(place: usize) -> Value {
    special(PATTERN, place.into())
}

/// Its place.
pub(crate) fn pattern(value: &Value) -> Option<usize> {
    value.get(PATTERN)?.as_u64().and_then(|place| usize::try_from(place).ok())
}

/// An instant, in nanoseconds since 1970.
pub(crate) fn of_instant(nanos: i64) -> Value {
    special(INSTANT, nanos.into())
}

/// Nanoseconds since 1970.
pub(crate) fn instant(value: &Value) -> Option<i64> {
    value.get(INSTANT)?.as_i64()
}

/// Whether it only looks like an object.
pub(crate) fn is(value: &Value) -> bool {
    value.as_object().is_some_and(is_one)
}

/// The same of its members.
pub(crate) fn is_one(members: &Map<String, Value>) -> bool {
    [BYTES, PATTERN, INSTANT].iter().any(|name| members.contains_key(*name))
}

/// The value as JSON: bytes and instants as texts; a pattern is none.
pub(crate) fn plain(value: Value) -> Value {
    if let Some(nanos) = instant(&value) {
        return dates::iso(nanos).into();
    }
    if pattern(&value).is_some() {
        return Value::Null;
    }
    match value {
        Value::Object(members) if members.contains_key(BYTES) => {
            String::from_utf8_lossy(&bytes(&Value::Object(members)).unwrap_or_default()).into_owned().into()
        }
        Value::Object(members) => members.into_iter().map(|(name, value)| (name, plain(value))).collect(),
        Value::Array(items) => items.into_iter().map(plain).collect(),
        other => other,
    }
}
