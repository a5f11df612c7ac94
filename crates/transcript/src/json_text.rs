//! JSON as text: laid out for people or packed onto one line, token by token, so that numbers keep
//! their digits and objects their key order. No recursion: any depth is safe.

/// Beyond this depth a value is shown on one line: indentation would outgrow the content.
const DEEPEST_INDENTED: usize = 32;

/// `json` on several lines, indented by two spaces a level. The input must be valid JSON.
pub(crate) fn pretty(json: &str) -> String {
    if duologue_model::json::depth(json.as_bytes()) > DEEPEST_INDENTED {
        return compact(json);
    }
    let mut out = String::with_capacity(json.len() + json.len() / 4);
    let mut depth = 0usize;
    let mut tokens = Tokens(json).peekable();
    while let Some(token) = tokens.next() {
        match token {
            "{" | "[" => {
                out.push_str(token);
                if !matches!(tokens.peek(), Some(&"}" | &"]")) {
                    depth += 1;
                    new_line(&mut out, depth);
                } else if let Some(close) = tokens.next() {
                    out.push_str(close);
                }
            }
            "}" | "]" => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push_str(token);
            }
            "," => {
                out.push(',');
                new_line(&mut out, depth);
            }
            ":" => out.push_str(": "),
            other => out.push_str(other),
        }
    }
    out
}

/// `json` without white space between its tokens.
pub(crate) fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    out.extend(Tokens(json));
    out
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

/// Splits JSON into brackets, commas, colons, strings (with their quotes) and other words.
struct Tokens<'a>(&'a str);

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.0.trim_start_matches([' ', '\t', '\n', '\r']);
        let length = match rest.as_bytes().first()? {
            b'{' | b'}' | b'[' | b']' | b',' | b':' => 1,
            b'"' => string_length(rest.as_bytes()),
            _ => rest.find(|c| " \t\n\r{}[],:\"".contains(c)).unwrap_or(rest.len()),
        };
        let (token, rest) = rest.split_at(length);
        self.0 = rest;
        Some(token)
    }
}

/// Bytes of the string that `text` begins with, quotes included.
fn string_length(text: &[u8]) -> usize {
    let mut escaped = false;
    for (at, byte) in text.iter().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_and_order_are_kept() {
        assert_eq!(
            pretty(r#"{"b":1.10, "a" : [12345678901234567890123,{},[ ]],"s":"a,{\"b\":1}"}"#),
            "{\n  \"b\": 1.10,\n  \"a\": [\n    12345678901234567890123,\n    {},\n    []\n  ],\n  \"s\": \"a,{\\\"b\\\":1}\"\n}"
        );
        assert_eq!(compact("{\n \"a b\" : [ 1 , \"\\\\\" ] }"), r#"{"a b":[1,"\\"]}"#);
        assert_eq!(pretty("null"), "null");
    }

    #[test]
    fn deep_values_stay_on_one_line() {
        let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        assert_eq!(pretty(&deep), deep);
    }
}
