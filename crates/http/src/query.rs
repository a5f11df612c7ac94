//! Query strings in every spelling that clients send (`spec/cloud/runtime.md` § 2).

use std::borrow::Cow;

use duologue_model::{Error as Refusal, PageSize, Timestamp};
use percent_encoding::percent_decode_str;

/// A query string, decoded.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Decodes a raw query string; `+` is a space.
    pub(crate) fn parse(raw: &str) -> Result<Query, Refusal> {
        let decode = |text: &str| -> Result<String, Refusal> {
            let text: Cow<'_, str> = if text.contains('+') { text.replace('+', " ").into() } else { text.into() };
            match percent_decode_str(&text).decode_utf8() {
                Ok(decoded) if !decoded.contains('\0') => Ok(decoded.into_owned()),
                _ => Err(Refusal::invalid_payload("the query string is not percent-encoded UTF-8 text")),
            }
        };
        let mut pairs = Vec::new();
        for part in raw.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            pairs.push((decode(name)?, decode(value)?));
        }
        Ok(Query(pairs))
    }

    /// The value of `name`; an empty one counts as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// The same, owned.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    /// The values of a repeated name: `name=a&name=b`, `name[]=a`, `name[0]=a`.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        let is_item = |key: &str| {
            key == name
                || key
                    .strip_prefix(name)
                    .and_then(|rest| rest.strip_prefix('[')?.strip_suffix(']'))
                    .is_some_and(|index| index.bytes().all(|byte| byte.is_ascii_digit()))
        };
        self.0.iter().filter(|(key, value)| is_item(key) && !value.is_empty()).map(|(_, value)| value.clone()).collect()
    }

    /// The entries of an object: `name.key=value`, `name[key]=value`. Values may be empty.
    pub(crate) fn object(&self, name: &str) -> Vec<(String, String)> {
        self.0
            .iter()
            .filter_map(|(key, value)| {
                let rest = key.strip_prefix(name)?;
                let key = rest.strip_prefix('.').or_else(|| rest.strip_prefix('[')?.strip_suffix(']'))?;
                (!key.is_empty()).then(|| (key.to_owned(), value.clone()))
            })
            .collect()
    }

    /// A whole number.
    pub(crate) fn int(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let parse = |text: &str| text.parse::<f64>().ok().filter(|n| n.is_finite()).map(|n| n as i64);
        self.get(name)
            .map(|text| {
                parse(text)
                    .ok_or_else(|| Refusal::invalid_payload(format!("the query parameter {name} must be a number")))
            })
            .transpose()
    }

    /// `true` or `false`.
    pub(crate) fn bool(&self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(Refusal::invalid_payload(format!("the query parameter {name} must be true or false"))),
        }
    }

    /// An instant.
    pub(crate) fn at(&self, name: &str) -> Result<Option<Timestamp>, Refusal> {
        self.get(name)
            .map(|text| text.parse().map_err(|e| Refusal::invalid_query(format!("the query parameter {name}: {e}"))))
            .transpose()
    }

    /// One of an enum's words.
    pub(crate) fn word<T>(
        &self,
        name: &str,
        from_name: impl Fn(&str) -> Option<T>,
        words: &str,
    ) -> Result<Option<T>, Refusal> {
        self.get(name)
            .map(|text| {
                from_name(text)
                    .ok_or_else(|| Refusal::invalid_query(format!("the query parameter {name} must be one of {words}")))
            })
            .transpose()
    }

    /// Several of an enum's words.
    pub(crate) fn words<T>(
        &self,
        name: &str,
        from_name: impl Fn(&str) -> Option<T>,
        words: &str,
    ) -> Result<Vec<T>, Refusal> {
        let refuse = || Refusal::invalid_query(format!("the query parameter {name} must be among {words}"));
        self.all(name).iter().map(|text| from_name(text).ok_or_else(refuse)).collect()
    }

    /// `pageSize`, or `limit`.
    pub(crate) fn page_size(&self) -> Result<PageSize, Refusal> {
        Ok(self.int("pageSize")?.or(self.int("limit")?).map_or_else(PageSize::default, PageSize::new))
    }

    /// What a page token is bound to: all parameters but the token and the size, sorted.
    pub(crate) fn fingerprint(&self) -> Vec<u8> {
        let mut pairs: Vec<&(String, String)> =
            self.0.iter().filter(|(key, _)| !matches!(key.as_str(), "nextToken" | "pageSize" | "limit")).collect();
        pairs.sort();
        let mut bytes = Vec::new();
        for (key, value) in pairs {
            for part in [key, value] {
                bytes.extend((part.len() as u32).to_be_bytes());
                bytes.extend(part.as_bytes());
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_understood() {
        let query = Query::parse(
            "tags.webchat%3Aid=a%20b%26c&tags[foo]=bar&tags.x.y=z&participantIds=u1&participantIds[]=u2&participantIds[1]=u3&q=a+b&limit=7",
        )
        .unwrap();
        assert_eq!(
            query.object("tags"),
            [("webchat:id", "a b&c"), ("foo", "bar"), ("x.y", "z")].map(|(k, v)| (k.to_owned(), v.to_owned()))
        );
        assert_eq!(query.all("participantIds"), ["u1", "u2", "u3"]);
        assert_eq!(query.get("q"), Some("a b"));
        assert_eq!(query.page_size().unwrap().get(), 7);
    }

    #[test]
    fn the_fingerprint_ignores_order_and_paging() {
        let print = |raw: &str| Query::parse(raw).unwrap().fingerprint();
        assert_eq!(print("a=1&b=2&nextToken=x"), print("b=2&pageSize=5&a=1"));
        assert_ne!(print("a=1&b=2"), print("a=1b&=2"));
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(Query::parse("a=%ff").is_err());
        assert!(Query::parse("a=%00").is_err());
        assert!(Query::parse("pageSize=ten").unwrap().page_size().is_err());
        assert!(Query::parse("x=maybe").unwrap().bool("x").is_err());
    }
}
