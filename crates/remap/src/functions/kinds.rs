//! Kinds of values, and from one to another.

use serde_json::Value;

use super::{Function, Run, VALUE, text, wrong};
use crate::{Error, dates, special};

pub(super) const ALL: &[Function] = &[
    function!("to_string", VALUE, 1, |a| Ok(match &a[0] {
        Value::Null => "".into(),
        Value::String(text) => text.as_str().into(),
        value if special::instant(value).is_some() => dates::iso(special::instant(value).unwrap_or_default()).into(),
        Value::Array(_) | Value::Object(_) => return Err(wrong("to_string", "no array and no object")),
        other => other.to_string().into(),
    })),
    function!("string", VALUE, 1, |a| Ok(text("string", &a[0])?.into())),
    function!("to_int", VALUE, 1, |a| Ok(match &a[0] {
        Value::Null => 0.into(),
        Value::Bool(yes) => i64::from(*yes).into(),
        Value::Number(number) => number.as_i64().unwrap_or(number.as_f64().unwrap_or_default() as i64).into(),
        Value::String(text) => text.parse::<i64>().map_err(|_| wrong("to_int", "a whole number"))?.into(),
        _ => return Err(wrong("to_int", "a number or a text")),
    })),
    function!("to_bool", VALUE, 1, |a| Ok(match &a[0] {
        Value::Null => false.into(),
        Value::Bool(yes) => (*yes).into(),
        Value::Number(number) => (number.as_f64() != Some(0.0)).into(),
        Value::String(text) => match text.to_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "1" => true.into(),
            "false" | "f" | "no" | "n" | "0" => false.into(),
            _ => return Err(wrong("to_bool", "a word for true or false")),
        },
        _ => return Err(wrong("to_bool", "a word for true or false")),
    })),
    function!("is_nullish", VALUE, 1, |a| Ok(match &a[0] {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty() || text == "-",
        _ => false,
    }
    .into())),
    function!("is_null", VALUE, 1, |a| Ok(a[0].is_null().into())),
    function!("is_string", VALUE, 1, |a| Ok(a[0].is_string().into())),
    function!("is_object", VALUE, 1, |a| Ok((a[0].is_object() && !special::is(&a[0])).into())),
    function!("is_array", VALUE, 1, |a| Ok(a[0].is_array().into())),
    function!("assert", &["condition", "message"], 1, |a| match &a[0] {
        Value::Bool(true) => Ok(true.into()),
        _ => Err(Error::failed(a[1].as_str().unwrap_or("assertion failed"))),
    }),
    function!("assert_eq", &["left", "right", "message"], 2, |a| {
        if a[0] == a[1] { Ok(true.into()) } else { Err(Error::failed(a[2].as_str().unwrap_or("assertion failed"))) }
    }),
    function!("log", &["value", "level", "rate_limit_secs"], 1, |_| Ok(Value::Null)),
    function!("is_integer", VALUE, 1, |a| Ok(a[0].is_i64().into())),
    function!("is_float", VALUE, 1, |a| Ok(a[0].is_f64().into())),
    function!("is_boolean", VALUE, 1, |a| Ok(a[0].is_boolean().into())),
    function!("is_timestamp", VALUE, 1, |a| Ok(special::instant(&a[0]).is_some().into())),
    function!("is_regex", VALUE, 1, |a| Ok(special::pattern(&a[0]).is_some().into())),
    function!("is_empty", VALUE, 1, |a| Ok(match &a[0] {
        Value::String(text) => text.is_empty().into(),
        Value::Array(items) => items.is_empty().into(),
        Value::Object(members) => members.is_empty().into(),
        _ => return Err(wrong("is_empty", "a text, an array or an object")),
    })),
    function!("to_float", VALUE, 1, |a| {
        let number = match &a[0] {
            Value::Null => 0.0,
            Value::Bool(yes) => f64::from(u8::from(*yes)),
            Value::Number(number) => number.as_f64().unwrap_or_default(),
            Value::String(text) => text.trim().parse().map_err(|_| wrong("to_float", "a number"))?,
            _ => return Err(wrong("to_float", "a number or a text")),
        };
        serde_json::Number::from_f64(number).map(Value::Number).ok_or_else(|| wrong("to_float", "a number"))
    }),
    function!("int", VALUE, 1, |a| only("int", "a whole number", a, Value::is_i64)),
    function!("float", VALUE, 1, |a| only("float", "a fraction", a, Value::is_f64)),
    function!("bool", VALUE, 1, |a| only("bool", "true or false", a, Value::is_boolean)),
    function!("array", VALUE, 1, |a| only("array", "an array", a, Value::is_array)),
    function!("object", VALUE, 1, |a| only("object", "an object", a, |value| value.is_object() && !special::is(value))),
    function!("timestamp", VALUE, 1, |a| {
        only("timestamp", "an instant", a, |value| special::instant(value).is_some())
    }),
];

/// The value, if it is of this kind.
fn only(function: &str, what: &str, a: &[Value], is: fn(&Value) -> bool) -> Result<Value, Error> {
    if is(&a[0]) { Ok(a[0].clone()) } else { Err(wrong(function, what)) }
}
