//! What scripts may call: the functions that integrations' scripts use, with the names of the language's
//! own library.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Map, Value};
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use crate::Error;

/// A function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    /// In their order.
    pub(crate) parameters: &'static [&'static str],
    /// How many of them must be given.
    pub(crate) required: usize,
    pub(crate) run: fn(&[Value]) -> Result<Value, Error>,
}

pub(crate) fn find(name: &str) -> Option<Function> {
    FUNCTIONS.iter().find(|function| function.name == name).copied()
}

macro_rules! function {
    ($name:literal, $parameters:expr, $required:literal, $run:expr) => {
        Function { name: $name, parameters: $parameters, required: $required, run: $run }
    };
}

const VALUE: &[&str] = &["value"];

const FUNCTIONS: &[Function] = &[
    function!("to_string", VALUE, 1, |a| Ok(match &a[0] {
        Value::Null => "".into(),
        Value::String(text) => text.as_str().into(),
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
    function!("parse_json", &["value", "max_depth", "lossy"], 1, |a| {
        serde_json::from_str(text("parse_json", &a[0])?).map_err(|e| Error::failed(format!("parse_json: {e}")))
    }),
    function!("encode_json", &["value", "pretty"], 1, |a| Ok(a[0].to_string().into())),
    function!("parse_query_string", VALUE, 1, |a| Ok(query(text("parse_query_string", &a[0])?))),
    function!("split", &["value", "pattern", "limit"], 2, |a| {
        let (value, pattern) = (text("split", &a[0])?, text("split", &a[1])?);
        let pieces: Vec<Value> = match a[2].as_u64() {
            Some(limit) => {
                value.splitn(usize::try_from(limit).unwrap_or(usize::MAX), pattern).map(Value::from).collect()
            }
            None => value.split(pattern).map(Value::from).collect(),
        };
        Ok(pieces.into())
    }),
    function!("join", &["value", "separator"], 1, |a| {
        let Value::Array(items) = &a[0] else { return Err(wrong("join", "an array")) };
        let items = items.iter().map(|item| text("join", item)).collect::<Result<Vec<_>, _>>()?;
        Ok(items.join(a[1].as_str().unwrap_or_default()).into())
    }),
    function!("replace", &["value", "pattern", "with", "count"], 3, |a| {
        let (value, pattern, with) = (text("replace", &a[0])?, text("replace", &a[1])?, text("replace", &a[2])?);
        Ok(match a[3].as_u64() {
            Some(count) => value.replacen(pattern, with, usize::try_from(count).unwrap_or(usize::MAX)),
            None => value.replace(pattern, with),
        }
        .into())
    }),
    function!("starts_with", &["value", "substring", "case_sensitive"], 2, |a| {
        let (value, part) = cased("starts_with", a)?;
        Ok(value.starts_with(&part).into())
    }),
    function!("ends_with", &["value", "substring", "case_sensitive"], 2, |a| {
        let (value, part) = cased("ends_with", a)?;
        Ok(value.ends_with(&part).into())
    }),
    function!("contains", &["value", "substring", "case_sensitive"], 2, |a| {
        let (value, part) = cased("contains", a)?;
        Ok(value.contains(&part).into())
    }),
    function!("downcase", VALUE, 1, |a| Ok(text("downcase", &a[0])?.to_lowercase().into())),
    function!("upcase", VALUE, 1, |a| Ok(text("upcase", &a[0])?.to_uppercase().into())),
    function!("strip_whitespace", VALUE, 1, |a| Ok(text("strip_whitespace", &a[0])?.trim().into())),
    function!("length", VALUE, 1, |a| Ok(match &a[0] {
        Value::String(text) => text.len().into(),
        Value::Array(items) => items.len().into(),
        Value::Object(members) => members.len().into(),
        _ => return Err(wrong("length", "a text, an array or an object")),
    })),
    function!("get", &["value", "path"], 2, |a| {
        let Value::Array(path) = &a[1] else { return Err(wrong("get", "a path as an array")) };
        let mut found = &a[0];
        for step in path {
            let next = match (step, found) {
                (Value::String(name), Value::Object(members)) => members.get(name),
                (Value::Number(index), Value::Array(items)) => {
                    index.as_u64().and_then(|index| items.get(usize::try_from(index).ok()?))
                }
                _ => None,
            };
            match next {
                Some(next) => found = next,
                None => return Ok(Value::Null),
            }
        }
        Ok(found.clone())
    }),
    function!("is_nullish", VALUE, 1, |a| Ok(match &a[0] {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty() || text == "-",
        _ => false,
    }
    .into())),
    function!("is_null", VALUE, 1, |a| Ok(a[0].is_null().into())),
    function!("is_string", VALUE, 1, |a| Ok(a[0].is_string().into())),
    function!("is_object", VALUE, 1, |a| Ok(a[0].is_object().into())),
    function!("is_array", VALUE, 1, |a| Ok(a[0].is_array().into())),
    function!("assert", &["condition", "message"], 1, |a| match &a[0] {
        Value::Bool(true) => Ok(true.into()),
        _ => Err(Error::failed(a[1].as_str().unwrap_or("assertion failed"))),
    }),
    function!("assert_eq", &["left", "right", "message"], 2, |a| {
        if a[0] == a[1] { Ok(true.into()) } else { Err(Error::failed(a[2].as_str().unwrap_or("assertion failed"))) }
    }),
    function!("log", &["value", "level", "rate_limit_secs"], 1, |_| Ok(Value::Null)),
    // Bytes that are no text are passed on in a form of their own.
    function!("hmac", &["value", "key", "algorithm"], 2, |a| {
        let (value, key) = (bytes("hmac", &a[0])?, bytes("hmac", &a[1])?);
        let algorithm = a[2].as_str().unwrap_or("SHA-256");
        let mac =
            match algorithm {
                "SHA-224" => Hmac::<Sha224>::new_from_slice(&key)
                    .map(|m| m.chain_update(&value).finalize().into_bytes().to_vec()),
                "SHA-256" => Hmac::<Sha256>::new_from_slice(&key)
                    .map(|m| m.chain_update(&value).finalize().into_bytes().to_vec()),
                "SHA-384" => Hmac::<Sha384>::new_from_slice(&key)
                    .map(|m| m.chain_update(&value).finalize().into_bytes().to_vec()),
                "SHA-512" => Hmac::<Sha512>::new_from_slice(&key)
                    .map(|m| m.chain_update(&value).finalize().into_bytes().to_vec()),
                other => return Err(Error::failed(format!("hmac: there is no algorithm {other} here"))),
            };
        mac.map(|mac| binary(&mac)).map_err(|_| wrong("hmac", "a key"))
    }),
    function!("sha2", &["value", "variant"], 1, |a| {
        let value = bytes("sha2", &a[0])?;
        let digest = match a[1].as_str().unwrap_or("SHA-512/256") {
            "SHA-224" => Sha224::digest(&value).to_vec(),
            "SHA-256" => Sha256::digest(&value).to_vec(),
            "SHA-384" => Sha384::digest(&value).to_vec(),
            "SHA-512" => Sha512::digest(&value).to_vec(),
            other => return Err(Error::failed(format!("sha2: there is no variant {other} here"))),
        };
        Ok(hex(&digest).into())
    }),
    function!("encode_base16", VALUE, 1, |a| Ok(hex(&bytes("encode_base16", &a[0])?).into())),
    function!("decode_base16", VALUE, 1, |a| {
        let digits = text("decode_base16", &a[0])?;
        let wrong = || wrong("decode_base16", "hexadecimal digits");
        if digits.len() % 2 != 0 || !digits.is_ascii() {
            return Err(wrong());
        }
        let pairs = (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16));
        Ok(binary(&pairs.collect::<Result<Vec<u8>, _>>().map_err(|_| wrong())?))
    }),
    function!("encode_base64", &["value", "padding", "charset"], 1, |a| {
        let value = bytes("encode_base64", &a[0])?;
        let engine = match (a[2].as_str(), &a[1]) {
            (Some("url_safe"), Value::Bool(false)) => &URL_SAFE_NO_PAD,
            (Some("url_safe"), _) => &URL_SAFE,
            (_, Value::Bool(false)) => &STANDARD_NO_PAD,
            _ => &STANDARD,
        };
        Ok(engine.encode(value).into())
    }),
    function!("decode_base64", &["value", "charset"], 1, |a| {
        let value = text("decode_base64", &a[0])?.trim_end_matches('=');
        let engine = if a[1] == "url_safe" { &URL_SAFE_NO_PAD } else { &STANDARD_NO_PAD };
        engine.decode(value).map(|bytes| binary(&bytes)).map_err(|_| wrong("decode_base64", "base64"))
    }),
    function!("encode_percent", &["value", "ascii_set"], 1, |a| {
        // What may stand in a query or a path as it is.
        const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
        let value = text("encode_percent", &a[0])?;
        let set = if a[1] == "NON_ALPHANUMERIC" || a[1].is_null() { NON_ALPHANUMERIC } else { KEPT };
        Ok(utf8_percent_encode(value, set).to_string().into())
    }),
    function!("decode_percent", VALUE, 1, |a| {
        Ok(percent_decode_str(text("decode_percent", &a[0])?).decode_utf8_lossy().into_owned().into())
    }),
];

fn wrong(function: &str, what: &str) -> Error {
    Error::failed(format!("{function} takes {what}"))
}

fn text<'v>(function: &str, value: &'v Value) -> Result<&'v str, Error> {
    value.as_str().ok_or_else(|| wrong(function, "a text"))
}

/// Value and part, in lower case if case doesn't matter.
fn cased(function: &str, a: &[Value]) -> Result<(String, String), Error> {
    let (value, part) = (text(function, &a[0])?, text(function, &a[1])?);
    Ok(if a[2] == Value::Bool(false) {
        (value.to_lowercase(), part.to_lowercase())
    } else {
        (value.to_owned(), part.to_owned())
    })
}

/// The name under which an object holds bytes, as numbers.
const BYTES: &str = "\u{0}bytes";

/// Bytes as a value: a text if they are one.
fn binary(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => {
            let bytes: Vec<Value> = bytes.iter().map(|byte| Value::from(*byte)).collect();
            Value::Object(Map::from_iter([(BYTES.to_owned(), Value::Array(bytes))]))
        }
    }
}

fn bytes(function: &str, value: &Value) -> Result<Vec<u8>, Error> {
    if let Some(Value::Array(bytes)) = value.get(BYTES) {
        return Ok(bytes.iter().filter_map(|byte| u8::try_from(byte.as_u64()?).ok()).collect());
    }
    Ok(text(function, value)?.as_bytes().to_vec())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A query string; a name that is repeated has an array.
fn query(text: &str) -> Value {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let mut object = Map::new();
    for part in text.trim_start_matches('?').split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let value = Value::from(decode(value));
        match object.get_mut(&decode(name)) {
            Some(Value::Array(items)) => items.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
            None => {
                object.insert(decode(name), value);
            }
        }
    }
    Value::Object(object)
}
