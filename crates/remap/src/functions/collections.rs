//! Arrays and objects.

use serde_json::{Map, Value};

use super::{Function, Run, VALUE, items, members, wrong};
use crate::special;

pub(super) const ALL: &[Function] = &[
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
    function!("keys", VALUE, 1, |a| Ok(members("keys", &a[0])?
        .keys()
        .map(|name| Value::from(name.as_str()))
        .collect())),
    function!("values", VALUE, 1, |a| Ok(members("values", &a[0])?.values().cloned().collect())),
    function!("merge", &["to", "from", "deep"], 2, |a| {
        let (mut to, from) = (members("merge", &a[0])?.clone(), members("merge", &a[1])?.clone());
        merge(&mut to, from, a[2] == Value::Bool(true));
        Ok(to.into())
    }),
    function!("push", &["value", "item"], 2, |a| {
        let mut all = items("push", &a[0])?.clone();
        all.push(a[1].clone());
        Ok(all.into())
    }),
    function!("append", &["value", "items"], 2, |a| {
        Ok(items("append", &a[0])?.iter().chain(items("append", &a[1])?).cloned().collect())
    }),
    function!("includes", &["value", "item"], 2, |a| Ok(items("includes", &a[0])?.contains(&a[1]).into())),
    function!("unique", VALUE, 1, |a| {
        let mut seen = std::collections::HashSet::new();
        let items = items("unique", &a[0])?;
        Ok(Value::Array(items.iter().filter(|item| seen.insert(item.to_string())).cloned().collect()))
    }),
    function!("flatten", &["value", "separator"], 1, |a| match &a[0] {
        Value::Array(items) => {
            let mut out = Vec::new();
            flat_items(items, &mut out);
            Ok(out.into())
        }
        value => {
            let mut out = Map::new();
            flat_members(members("flatten", value)?, "", a[1].as_str().unwrap_or("."), &mut out);
            Ok(out.into())
        }
    }),
    function!("compact", VALUE, 1, |a| match &a[0] {
        Value::Array(_) | Value::Object(_) => Ok(compact(a[0].clone())),
        _ => Err(wrong("compact", "an array or an object")),
    }),
    function!("slice", &["value", "start", "end"], 2, |a| {
        let length = match &a[0] {
            Value::Array(items) => items.len(),
            Value::String(text) => text.len(),
            _ => return Err(wrong("slice", "a text or an array")),
        };
        let place = |value: &Value| {
            let at = value.as_i64().ok_or_else(|| wrong("slice", "whole numbers"))?;
            let at = if at < 0 { at.saturating_add(length as i64) } else { at };
            usize::try_from(at).ok().filter(|at| *at <= length).ok_or_else(|| wrong("slice", "places in the value"))
        };
        let start = place(&a[1])?;
        let end = if a[2].is_null() { length } else { place(&a[2])? };
        let nothing = || wrong("slice", "a start that is no later than the end");
        match &a[0] {
            Value::Array(items) => items.get(start..end).map(|items| items.to_vec().into()).ok_or_else(nothing),
            Value::String(text) => text.get(start..end).map(Value::from).ok_or_else(nothing),
            _ => Err(nothing()),
        }
    }),
];

fn merge(to: &mut Map<String, Value>, from: Map<String, Value>, deep: bool) {
    for (name, value) in from {
        match (to.get_mut(&name), value) {
            (Some(Value::Object(to)), Value::Object(from)) if deep => merge(to, from, true),
            (_, value) => {
                to.insert(name, value);
            }
        }
    }
}

fn flat_items(items: &[Value], out: &mut Vec<Value>) {
    for item in items {
        match item {
            Value::Array(inner) => flat_items(inner, out),
            other => out.push(other.clone()),
        }
    }
}

fn flat_members(members: &Map<String, Value>, before: &str, separator: &str, out: &mut Map<String, Value>) {
    for (name, value) in members {
        let name = if before.is_empty() { name.clone() } else { format!("{before}{separator}{name}") };
        match value {
            Value::Object(inner) if !special::is(value) => flat_members(inner, &name, separator, out),
            other => {
                out.insert(name, other.clone());
            }
        }
    }
}

/// Without what is nothing: null, empty texts, arrays and objects.
fn compact(value: Value) -> Value {
    let is_something = |value: &Value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        _ => true,
    };
    match value {
        Value::Array(items) => items.into_iter().map(compact).filter(is_something).collect(),
        Value::Object(members) => {
            let members = members.into_iter().map(|(name, value)| (name, compact(value)));
            Value::Object(members.filter(|(_, value)| is_something(value)).collect())
        }
        other => other,
    }
}
