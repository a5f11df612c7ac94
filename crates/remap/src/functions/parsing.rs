//! Texts that have a form, and values as texts.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use url::Url;

use super::{Function, Run, VALUE, text, wrong};
use crate::{Error, special};

pub(super) const ALL: &[Function] = &[
    function!("parse_json", &["value", "max_depth", "lossy"], 1, |a| {
        serde_json::from_str(text("parse_json", &a[0])?).map_err(|e| Error::failed(format!("parse_json: {e}")))
    }),
    function!("encode_json", &["value", "pretty"], 1, |a| {
        let value = special::plain(a[0].clone());
        let pretty = if a[1] == Value::Bool(true) { format!("{value:#}") } else { value.to_string() };
        Ok(pretty.into())
    }),
    function!("parse_query_string", VALUE, 1, |a| Ok(query(text("parse_query_string", &a[0])?))),
    function!("parse_url", &["value", "default_known_ports"], 1, |a| {
        let url = Url::parse(text("parse_url", &a[0])?).map_err(|e| Error::failed(format!("parse_url: {e}")))?;
        let port = if a[1] == Value::Bool(true) { url.port_or_known_default() } else { url.port() };
        Ok(Value::Object(Map::from_iter([
            ("scheme".to_owned(), url.scheme().into()),
            ("username".to_owned(), url.username().into()),
            ("password".to_owned(), url.password().unwrap_or_default().into()),
            ("host".to_owned(), url.host_str().map_or(Value::Null, Value::from)),
            ("port".to_owned(), port.map_or(Value::Null, Value::from)),
            ("path".to_owned(), url.path().into()),
            ("query".to_owned(), query(url.query().unwrap_or_default())),
            ("fragment".to_owned(), url.fragment().map_or(Value::Null, Value::from)),
        ])))
    }),
    function!(
        "parse_key_value",
        &["value", "key_value_delimiter", "field_delimiter", "whitespace", "accept_standalone_key"],
        1,
        |a| {
            let value = text("parse_key_value", &a[0])?;
            let (between, behind) = (a[1].as_str().unwrap_or("="), a[2].as_str().unwrap_or(" "));
            if between.is_empty() || behind.is_empty() {
                return Err(wrong("parse_key_value", "delimiters that aren't empty"));
            }
            pairs(value, between, behind, a[4] != Value::Bool(false))
        }
    ),
];

/// `a=1 b="two words" c`: names and texts. A name alone is true, if that is accepted; one that is repeated has an array.
fn pairs(text: &str, between: &str, behind: &str, alone: bool) -> Result<Value, Error> {
    let mut object = Map::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (name, after) = word(rest, &[between, behind]);
        let (value, after) = match after.trim_start_matches(' ').strip_prefix(between) {
            Some(after) => {
                let (value, after) = word(after.trim_start_matches(' '), &[behind]);
                (Value::from(value), after)
            }
            None if alone => (true.into(), after),
            None => return Err(Error::failed(format!("parse_key_value: \"{name}\" has no value"))),
        };
        if !name.is_empty() {
            add(&mut object, name, value);
        }
        let after = after.trim_start();
        let delimiter = behind.trim();
        let after = after.strip_prefix(delimiter).unwrap_or(after).trim_start();
        if after.len() >= rest.len() {
            return Err(Error::failed("parse_key_value: a name is missing"));
        }
        rest = after;
    }
    Ok(object.into())
}

/// A word up to one of these ends, or one in quotes; and what follows.
fn word<'t>(text: &'t str, ends: &[&str]) -> (String, &'t str) {
    if let Some(quote @ ('"' | '\'')) = text.chars().next() {
        let mut out = String::new();
        let mut chars = text.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                c if c == quote => return (out, &text[at + 1..]),
                '\\' => out.extend(chars.next().map(|(_, c)| c)),
                c => out.push(c),
            }
        }
    }
    let end = ends.iter().filter_map(|end| text.find(end)).min().unwrap_or(text.len());
    (text[..end].trim().to_owned(), &text[end..])
}

/// Adds a value; a name that is repeated has an array.
fn add(object: &mut Map<String, Value>, name: String, value: Value) {
    match object.get_mut(&name) {
        Some(Value::Array(items)) => items.push(value),
        Some(first) => *first = Value::Array(vec![first.take(), value]),
        None => {
            object.insert(name, value);
        }
    }
}

/// A query string.
fn query(text: &str) -> Value {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let mut object = Map::new();
    for part in text.trim_start_matches('?').split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        add(&mut object, decode(name), decode(value).into());
    }
    Value::Object(object)
}
