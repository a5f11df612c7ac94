//! Patterns and what they find. Where a pattern may stand, so may a text, which means itself.

use regex::{Captures, Regex};
use serde_json::{Map, Value};

use super::{Function, MOST_TEXT, Run, bounded, items, text};
use crate::Error;

pub(super) const ALL: &[Function] = &[
    bound!("match", &["value", "pattern"], 2, |context, a| {
        let value = text("match", &a[0])?;
        Ok(context.pattern("match", &a[1], value)?.regex.is_match(value).into())
    }),
    bound!("match_any", &["value", "patterns"], 2, |context, a| {
        let value = text("match_any", &a[0])?;
        for pattern in items("match_any", &a[1])? {
            if context.pattern("match_any", pattern, value)?.regex.is_match(value) {
                return Ok(true.into());
            }
        }
        Ok(false.into())
    }),
    bound!("parse_regex", &["value", "pattern", "numeric_groups"], 2, |context, a| {
        let value = text("parse_regex", &a[0])?;
        let regex = &context.pattern("parse_regex", &a[1], value)?.regex;
        let found = regex.captures(value).ok_or_else(|| Error::failed("parse_regex: the pattern finds nothing"))?;
        Ok(groups(regex, &found, a[2] == Value::Bool(true)))
    }),
    bound!("parse_regex_all", &["value", "pattern", "numeric_groups"], 2, |context, a| {
        let value = text("parse_regex_all", &a[0])?;
        let regex = &context.pattern("parse_regex_all", &a[1], value)?.regex;
        let mut all = Vec::new();
        for found in regex.captures_iter(value) {
            context.check_time()?;
            all.push(groups(regex, &found, a[2] == Value::Bool(true)));
        }
        Ok(all.into())
    }),
    bound!("find", &["value", "pattern", "from"], 2, |context, a| {
        let value = text("find", &a[0])?;
        let from = a[2].as_u64().and_then(|from| usize::try_from(from).ok()).unwrap_or(0);
        let Some(rest) = value.get(from..) else { return Ok((-1).into()) };
        let found = match &a[1] {
            Value::String(part) => rest.find(part.as_str()),
            pattern => context.pattern("find", pattern, rest)?.regex.find(rest).map(|found| found.start()),
        };
        Ok(found.map_or((-1).into(), |found| (from + found).into()))
    }),
    bound!("split", &["value", "pattern", "limit"], 2, |context, a| {
        let value = text("split", &a[0])?;
        let limit = a[2].as_u64().map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let mut pieces: Vec<Value> = Vec::new();
        match &a[1] {
            Value::String(part) => pieces.extend(value.splitn(limit, part.as_str()).map(Value::from)),
            pattern => {
                for piece in context.pattern("split", pattern, value)?.regex.splitn(value, limit) {
                    context.check_time()?;
                    pieces.push(piece.into());
                }
            }
        }
        Ok(pieces.into())
    }),
    bound!("replace", &["value", "pattern", "with", "count"], 3, |context, a| {
        let (value, with) = (text("replace", &a[0])?, text("replace", &a[2])?);
        let most = a[3].as_u64().map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX));
        if let Value::String(part) = &a[1] {
            let times = value.matches(part.as_str()).take(most).count();
            if times.saturating_mul(with.len()).saturating_add(value.len()) > MOST_TEXT {
                return Err(Error::TooMuch);
            }
            return Ok(value.replacen(part.as_str(), with, most).into());
        }
        let regex = &context.pattern("replace", &a[1], value)?.regex;
        let (mut out, mut done) = (String::new(), 0);
        for found in regex.captures_iter(value).take(most) {
            context.check_time()?;
            let Some(whole) = found.get(0) else { continue };
            out.push_str(&value[done..whole.start()]);
            expand(&found, with, &mut out)?;
            out = bounded(out)?;
            done = whole.end();
        }
        out.push_str(&value[done..]);
        bounded(out).map(Value::from)
    }),
];

/// Puts what groups found in the place of `$1` and `${name}`.
fn expand(found: &Captures<'_>, with: &str, out: &mut String) -> Result<(), Error> {
    // Each reference grows to no more than the whole of what was found.
    let references = with.matches('$').count();
    let longest = found.get(0).map_or(0, |whole| whole.len());
    if references.saturating_mul(longest).saturating_add(with.len()) > MOST_TEXT {
        return Err(Error::TooMuch);
    }
    found.expand(with, out);
    Ok(())
}

/// What the groups found, by their names and, if that is wanted, by their numbers.
fn groups(regex: &Regex, found: &Captures<'_>, numbered: bool) -> Value {
    let mut object = Map::new();
    for (number, name) in regex.capture_names().enumerate() {
        let value = found.get(number).map_or(Value::Null, |group| group.as_str().into());
        if numbered {
            object.insert(number.to_string(), value.clone());
        }
        if let Some(name) = name {
            object.insert(name.to_owned(), value);
        }
    }
    Value::Object(object)
}
