//! Texts.

use serde_json::Value;

use super::{Function, Run, VALUE, text, wrong};
use crate::Error;

pub(super) const ALL: &[Function] = &[
    function!("join", &["value", "separator"], 1, |a| {
        let Value::Array(items) = &a[0] else { return Err(wrong("join", "an array")) };
        let items = items.iter().map(|item| text("join", item)).collect::<Result<Vec<_>, _>>()?;
        let separator = a[1].as_str().unwrap_or_default();
        let length = items.iter().map(|item| item.len() + separator.len()).sum::<usize>();
        if length > super::MOST_TEXT { Err(Error::TooMuch) } else { Ok(items.join(separator).into()) }
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
    function!("strlen", VALUE, 1, |a| Ok(text("strlen", &a[0])?.chars().count().into())),
    function!("truncate", &["value", "limit", "suffix"], 2, |a| {
        let value = text("truncate", &a[0])?;
        let limit = a[1].as_u64().ok_or_else(|| wrong("truncate", "a limit that is no less than 0"))?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let Some((end, _)) = value.char_indices().nth(limit) else { return Ok(value.into()) };
        Ok(format!("{}{}", &value[..end], a[2].as_str().unwrap_or_default()).into())
    }),
    function!("contains_all", &["value", "substrings", "case_sensitive"], 2, |a| {
        let parts = super::items("contains_all", &a[1])?;
        for part in parts {
            let (value, part) = cased("contains_all", &[a[0].clone(), part.clone(), a[2].clone()])?;
            if !value.contains(&part) {
                return Ok(false.into());
            }
        }
        Ok(true.into())
    }),
];

/// Value and part, in lower case if case doesn't matter.
fn cased(function: &str, a: &[Value]) -> Result<(String, String), Error> {
    let (value, part) = (text(function, &a[0])?, text(function, &a[1])?);
    Ok(if a[2] == Value::Bool(false) {
        (value.to_lowercase(), part.to_lowercase())
    } else {
        (value.to_owned(), part.to_owned())
    })
}
