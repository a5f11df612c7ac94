//! JSON as the original's engine has it: members in the engine's order, and its texts for what
//! can't be parsed.
//!
//! Member order, duplicates and error texts are visible to clients, so bodies are parsed here and
//! not by serde. Values convert to `serde_json` for everything else.

use std::fmt::Write;

use indexmap::IndexMap;

/// The members of an object: in the order written, but array indexes first and ascending; of
/// members with one name the last value at the first place.
pub type Object = IndexMap<String, Json>;

/// How deep arrays and objects may nest.
pub const DEEPEST: usize = 120;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A double, as all numbers are in JavaScript.
    Number(f64),
    /// A string; lone surrogates are replaced by U+FFFD.
    String(String),
    /// An array.
    Array(Vec<Json>),
    /// An object.
    Object(Object),
}

/// What the engine says of a text that isn't JSON, such as
/// `Unexpected token n in JSON at position 1`. Positions count UTF-16 units.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SyntaxError(pub String);

impl Json {
    /// Parses a whole text. A byte order mark must have been taken away.
    ///
    /// # Errors
    /// With the engine's text; nesting deeper than [`DEEPEST`] is an error too.
    pub fn parse(text: &str) -> Result<Json, SyntaxError> {
        let mut parser = Parser { text, at: 0 };
        let value = parser.value(0)?;
        parser.space();
        if parser.at < text.len() {
            return Err(parser.unexpected());
        }
        Ok(value)
    }

    /// The member of an object.
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.as_object()?.get(name)
    }

    /// The members, if this is an object.
    pub fn as_object(&self) -> Option<&Object> {
        if let Json::Object(members) = self { Some(members) } else { None }
    }

    /// The text, if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        if let Json::String(text) = self { Some(text) } else { None }
    }

    /// What JavaScript takes for true.
    pub fn is_truthy(&self) -> bool {
        match self {
            Json::Null => false,
            Json::Bool(value) => *value,
            Json::Number(value) => *value != 0.0 && !value.is_nan(),
            Json::String(text) => !text.is_empty(),
            Json::Array(_) | Json::Object(_) => true,
        }
    }

    fn write(&self, out: &mut String) {
        match self {
            Json::Null => out.push_str("null"),
            Json::Bool(true) => out.push_str("true"),
            Json::Bool(false) => out.push_str("false"),
            Json::Number(value) => write_number(*value, out),
            Json::String(text) => write_string(text, out),
            Json::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Json::Object(members) => {
                out.push('{');
                for (index, (name, value)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write_string(name, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

/// As `JSON.stringify` writes it.
impl std::fmt::Display for Json {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = String::new();
        self.write(&mut out);
        f.write_str(&out)
    }
}

impl From<Json> for serde_json::Value {
    fn from(value: Json) -> Self {
        match value {
            Json::Null => serde_json::Value::Null,
            Json::Bool(value) => value.into(),
            // Within ±2^53 the conversion to an integer is exact.
            Json::Number(value) if value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0 => {
                serde_json::Value::from(value as i64)
            }
            Json::Number(value) => value.into(),
            Json::String(text) => text.into(),
            Json::Array(items) => items.into_iter().map(serde_json::Value::from).collect(),
            Json::Object(members) => {
                serde_json::Value::Object(members.into_iter().map(|(name, value)| (name, value.into())).collect())
            }
        }
    }
}

/// A string between quotes, escaped where JSON demands it.
pub(crate) fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            control if control < ' ' => {
                // Writing to a string doesn't fail.
                let _ = write!(out, "\\u{:04x}", control as u32);
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

/// A text as a JSON string, quotes included.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    write_string(text, &mut out);
    out
}

/// As JavaScript writes numbers; what isn't finite is null.
fn write_number(value: f64, out: &mut String) {
    if !value.is_finite() {
        return out.push_str("null");
    }
    if value == 0.0 {
        return out.push('0');
    }
    let scientific = format!("{value:e}");
    // `{:e}` always writes an exponent.
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-6..21).contains(&exponent) {
        let _ = write!(out, "{value}");
    } else {
        let sign = if exponent > 0 { "+" } else { "" };
        let _ = write!(out, "{mantissa}e{sign}{exponent}");
    }
}

struct Parser<'a> {
    text: &'a str,
    /// A byte position, always at a character.
    at: usize,
}

impl Parser<'_> {
    fn value(&mut self, depth: usize) -> Result<Json, SyntaxError> {
        if depth > DEEPEST {
            return Err(SyntaxError("Maximum call stack size exceeded".to_owned()));
        }
        self.space();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Json::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true", Json::Bool(true)),
            Some(b'f') => self.literal("false", Json::Bool(false)),
            Some(b'n') => self.literal("null", Json::Null),
            _ => Err(self.unexpected()),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, SyntaxError> {
        self.at += 1;
        let mut members = Object::new();
        self.space();
        if self.take(b'}') {
            return Ok(Json::Object(members));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.unexpected());
            }
            let name = self.string()?;
            self.space();
            if !self.take(b':') {
                return Err(self.unexpected());
            }
            let value = self.value(depth + 1)?;
            members.insert(name, value);
            self.space();
            if self.take(b'}') {
                indexes_first(&mut members);
                return Ok(Json::Object(members));
            }
            if !self.take(b',') {
                return Err(self.unexpected());
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Json, SyntaxError> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.take(b']') {
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.space();
            if self.take(b']') {
                return Ok(Json::Array(items));
            }
            if !self.take(b',') {
                return Err(self.unexpected());
            }
        }
    }

    fn string(&mut self) -> Result<String, SyntaxError> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let Some(stop) = rest.find(|c: char| c == '"' || c == '\\' || c < ' ') else {
                self.at = self.text.len();
                return Err(self.unexpected());
            };
            out.push_str(&rest[..stop]);
            self.at += stop;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => self.escape(&mut out)?,
                _ => return Err(self.unexpected()),
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> Result<(), SyntaxError> {
        self.at += 1;
        let character = match self.peek() {
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(plain @ (b'"' | b'\\' | b'/')) => char::from(plain),
            Some(b'u') => {
                self.at += 1;
                let unit = self.hex()?;
                out.push(self.complete(unit)?);
                return Ok(());
            }
            _ => return Err(self.unexpected()),
        };
        self.at += 1;
        out.push(character);
        Ok(())
    }

    /// The character of a UTF-16 unit, with its second half if that follows.
    fn complete(&mut self, unit: u32) -> Result<char, SyntaxError> {
        if (0xd800..0xdc00).contains(&unit) && self.text[self.at..].starts_with("\\u") {
            let before = self.at;
            self.at += 2;
            let second = self.hex()?;
            if (0xdc00..0xe000).contains(&second) {
                let code = 0x10000 + ((unit - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = before;
        }
        Ok(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex(&mut self) -> Result<u32, SyntaxError> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            let Some(digit) = digit else { return Err(self.unexpected()) };
            unit = unit * 16 + digit;
            self.at += 1;
        }
        Ok(unit)
    }

    fn number(&mut self) -> Result<Json, SyntaxError> {
        let start = self.at;
        self.take(b'-');
        if self.take(b'0') {
            if matches!(self.peek(), Some(b'0'..=b'9')) {
                return Err(self.unexpected());
            }
        } else {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            if !self.take(b'+') {
                self.take(b'-');
            }
            self.digits()?;
        }
        // What was read has the form of a Rust number as well.
        Ok(Json::Number(self.text[start..self.at].parse().unwrap_or(f64::NAN)))
    }

    fn digits(&mut self) -> Result<(), SyntaxError> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.unexpected());
        }
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        Ok(())
    }

    fn literal(&mut self, word: &str, value: Json) -> Result<Json, SyntaxError> {
        for byte in word.bytes() {
            if !self.take(byte) {
                return Err(self.unexpected());
            }
        }
        Ok(value)
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// The engine's words for what stands at the current position.
    fn unexpected(&self) -> SyntaxError {
        let Some(character) = self.text[self.at..].chars().next() else {
            return SyntaxError("Unexpected end of JSON input".to_owned());
        };
        let position = self.text[..self.at].encode_utf16().count();
        SyntaxError(match character {
            '0'..='9' | '-' => format!("Unexpected number in JSON at position {position}"),
            '"' => format!("Unexpected string in JSON at position {position}"),
            other => unexpected_token(other, position),
        })
    }
}

/// The engine's words for a character; of one beyond the basic plane it shows half, which becomes
/// U+FFFD on the wire.
pub(crate) fn unexpected_token(character: char, position: usize) -> String {
    let shown = if character.len_utf16() == 2 { char::REPLACEMENT_CHARACTER } else { character };
    format!("Unexpected token {shown} in JSON at position {position}")
}

/// Puts array indexes first, ascending, as objects of the engine enumerate them.
pub(crate) fn indexes_first(members: &mut Object) {
    if members.keys().any(|name| index(name).is_some()) {
        members.sort_by_cached_key(|name, _| index(name).map_or((1, 0), |index| (0, index)));
    }
}

/// The number of an array index: canonical, below 2^32 - 1.
fn index(name: &str) -> Option<u32> {
    let index: u32 = name.parse().ok()?;
    (index != u32::MAX && (name == "0" || !name.starts_with(['0', '+']))).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Json::parse(text).unwrap_err().0
    }

    #[test]
    fn errors_are_worded_as_the_engine_words_them() {
        for (text, expected) in [
            ("{not json", "Unexpected token n in JSON at position 1"),
            ("", "Unexpected end of JSON input"),
            ("{", "Unexpected end of JSON input"),
            ("{\"a\":", "Unexpected end of JSON input"),
            ("\"abc", "Unexpected end of JSON input"),
            ("nul", "Unexpected end of JSON input"),
            ("[1,]", "Unexpected token ] in JSON at position 3"),
            ("{\"a\":1,}", "Unexpected token } in JSON at position 7"),
            ("{\"a\" \"b\"}", "Unexpected string in JSON at position 5"),
            ("[1 2]", "Unexpected number in JSON at position 3"),
            ("{1:2}", "Unexpected number in JSON at position 1"),
            ("[01]", "Unexpected number in JSON at position 2"),
            ("[1.]", "Unexpected token ] in JSON at position 3"),
            ("[-]", "Unexpected token ] in JSON at position 2"),
            ("[trux]", "Unexpected token x in JSON at position 4"),
            ("[\"\\x\"]", "Unexpected token x in JSON at position 3"),
            ("[\"\\u12g4\"]", "Unexpected token g in JSON at position 6"),
            ("[\"a\nb\"]", "Unexpected token \n in JSON at position 3"),
            ("{\"é😀\": x}", "Unexpected token x in JSON at position 8"),
            ("[😀]", "Unexpected token \u{fffd} in JSON at position 1"),
            ("{'a':1}", "Unexpected token ' in JSON at position 1"),
            ("{\"type\":\"text\",\"text\":\"ping\"} trailing", "Unexpected token t in JSON at position 30"),
            ("undefined", "Unexpected token u in JSON at position 0"),
        ] {
            assert_eq!(error(text), expected, "{text}");
        }
        assert!(error(&"[".repeat(100_000)).contains("call stack"));
    }

    #[test]
    fn values_are_written_as_the_engine_writes_them() {
        for (text, expected) in [
            (" { \"b\" : 1 , \"a\" : [ true , null ] } ", "{\"b\":1,\"a\":[true,null]}"),
            ("{\"b\":1,\"2\":0,\"a\":1,\"10\":0,\"01\":0}", "{\"2\":0,\"10\":0,\"b\":1,\"a\":1,\"01\":0}"),
            ("{\"a\":1,\"b\":2,\"a\":3}", "{\"a\":3,\"b\":2}"),
            (
                "[1.0,-0,1e3,1e21,1.5e-7,0.000001,123456789012345680000,1e999]",
                "[1,0,1000,1e+21,1.5e-7,0.000001,123456789012345680000,null]",
            ),
            ("\"\\u00e9\\ud83d\\ude00\\/\\u001f\\b\"", "\"é😀/\\u001f\\b\""),
            ("\"\\ud800x\\udc00\\ud800\\u0041\"", "\"\u{fffd}x\u{fffd}\u{fffd}A\""),
        ] {
            assert_eq!(Json::parse(text).unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn converts_to_serde() {
        let value = Json::parse("{\"a\":[1,1.5,9007199254740993,\"x\",null,true]}").unwrap();
        let expected = serde_json::json!({"a": [1, 1.5, 9_007_199_254_740_992_i64, "x", null, true]});
        assert_eq!(serde_json::Value::from(value), expected);
    }

    proptest::proptest! {
        #[test]
        fn accepts_what_serde_accepts(text in "[\\[\\]{}:,\"\\\\ue0-9.+\\-truefalsn \\n]{0,24}") {
            let ours = Json::parse(&text);
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            // Only serde refuses numbers out of range and lone surrogates.
            if theirs.is_ok() {
                proptest::prop_assert!(ours.is_ok(), "{}", text);
            }
            if let Ok(value) = ours {
                let again = value.to_string();
                proptest::prop_assert_eq!(Json::parse(&again).unwrap().to_string(), again);
            }
        }
    }
}
