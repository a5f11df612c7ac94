//! JavaScript's regular expressions, as far as they mean the same to a linear-time engine.
//!
//! A pattern is translated construct by construct; look-around, back references and everything not
//! listed is refused. Subjects must be ASCII: there the two agree on case, classes and what one character
//! is. Both refusals are the script engine's to decide.

use regex::bytes::{Regex, RegexBuilder};

/// A translated regular expression.
#[derive(Clone, Debug)]
pub struct Regexp(Regex);

impl Regexp {
    /// Translates a pattern. Flags other than `i` and `g` (which a fresh literal's `test` ignores) are refused.
    pub fn compile(source: &str, flags: &str) -> Option<Regexp> {
        let once = flags.chars().all(|c| "ig".contains(c) && flags.matches(c).count() == 1);
        if !once || !source.is_ascii() || source.is_empty() {
            return None;
        }
        let pattern = Translator { source: source.as_bytes(), at: 0, out: String::new() }.translate()?;
        RegexBuilder::new(&pattern)
            .unicode(false)
            .case_insensitive(flags.contains('i'))
            .size_limit(1 << 18)
            .build()
            .ok()
            .map(Regexp)
    }

    /// Whether the subject matches; `None` if it isn't ASCII.
    pub fn test(&self, subject: &str) -> Option<bool> {
        subject.is_ascii().then(|| self.0.is_match(subject.as_bytes()))
    }

    /// The leftmost match from byte `from` on; the outer `None` if the subject isn't ASCII.
    pub fn find(&self, subject: &str) -> Option<Option<(usize, usize)>> {
        subject.is_ascii().then(|| self.0.find(subject.as_bytes()).map(|m| (m.start(), m.end())))
    }
}

struct Translator<'a> {
    source: &'a [u8],
    at: usize,
    out: String,
}

impl Translator<'_> {
    fn translate(mut self) -> Option<String> {
        self.alternatives(0)?;
        (self.at == self.source.len()).then_some(self.out)
    }

    fn peek(&self) -> Option<u8> {
        self.source.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    /// Translates up to a closing parenthesis or the end. Gives whether it can match nothing.
    fn alternatives(&mut self, depth: usize) -> Option<bool> {
        if depth > 20 {
            return None;
        }
        let mut nullable = self.sequence(depth)?;
        while self.peek() == Some(b'|') {
            self.at += 1;
            self.out.push('|');
            nullable |= self.sequence(depth)?;
        }
        Some(nullable)
    }

    fn sequence(&mut self, depth: usize) -> Option<bool> {
        let mut nullable = true;
        while let Some(byte) = self.peek() {
            if matches!(byte, b'|' | b')') {
                break;
            }
            let (can_be_empty, repeatable) = self.atom(depth)?;
            let optional = self.quantifier(can_be_empty, repeatable)?;
            nullable &= can_be_empty || optional;
        }
        Some(nullable)
    }

    /// One atom: whether it can match nothing, whether it may be repeated.
    fn atom(&mut self, depth: usize) -> Option<(bool, bool)> {
        match self.next()? {
            b'^' => {
                self.out.push_str("\\A");
                Some((true, false))
            }
            b'$' => {
                self.out.push_str("\\z");
                Some((true, false))
            }
            b'.' => {
                self.out.push_str("[^\\n\\r]");
                Some((false, true))
            }
            b'(' => {
                if self.peek() == Some(b'?') {
                    self.at += 1;
                    if self.next()? != b':' {
                        return None;
                    }
                }
                self.out.push_str("(?:");
                let nullable = self.alternatives(depth + 1)?;
                if self.next()? != b')' {
                    return None;
                }
                self.out.push(')');
                Some((nullable, true))
            }
            b'[' => {
                self.class()?;
                Some((false, true))
            }
            b'\\' => match self.next()? {
                class @ (b'd' | b'D' | b'w' | b'W' | b's' | b'S') => {
                    self.out.push('\\');
                    self.out.push(char::from(class));
                    Some((false, true))
                }
                boundary @ (b'b' | b'B') => {
                    self.out.push('\\');
                    self.out.push(char::from(boundary));
                    Some((true, false))
                }
                escape => {
                    let literal = literal_escape(escape)?;
                    self.literal(literal);
                    Some((false, true))
                }
            },
            b'*' | b'+' | b'?' | b'{' | b'}' | b']' => None,
            literal => {
                self.literal(literal);
                Some((false, true))
            }
        }
    }

    fn literal(&mut self, byte: u8) {
        self.out.push_str(&regex::escape(char::from(byte).encode_utf8(&mut [0; 4])));
    }

    /// A quantifier, if one follows. Gives whether it allows nothing.
    fn quantifier(&mut self, can_be_empty: bool, repeatable: bool) -> Option<bool> {
        let optional = match self.peek() {
            Some(byte @ (b'*' | b'+' | b'?')) => {
                self.at += 1;
                self.out.push(char::from(byte));
                byte != b'+'
            }
            Some(b'{') => {
                let end = self.source[self.at..].iter().position(|&byte| byte == b'}')? + self.at;
                let counts = std::str::from_utf8(&self.source[self.at + 1..end]).ok()?;
                let (low, high) = counts.split_once(',').unwrap_or((counts, counts));
                let low: u32 = low.parse().ok().filter(|&low| low <= 1000)?;
                if !high.is_empty() {
                    high.parse::<u32>().ok().filter(|&high| (low..=1000).contains(&high))?;
                }
                self.out.push_str(&format!("{{{counts}}}"));
                self.at = end + 1;
                low == 0
            }
            _ => return Some(false),
        };
        // The two engines end loops over nothing differently, and assertions can't be repeated here.
        if !repeatable || can_be_empty {
            return None;
        }
        if self.peek() == Some(b'?') {
            self.at += 1;
            self.out.push('?');
        }
        Some(optional)
    }

    fn class(&mut self) -> Option<()> {
        self.out.push('[');
        if self.peek() == Some(b'^') {
            self.at += 1;
            self.out.push('^');
        }
        if self.peek() == Some(b']') {
            return None;
        }
        loop {
            let first = match self.next()? {
                b']' => break,
                b'\\' => match self.next()? {
                    class @ (b'd' | b'w' | b's') => {
                        self.out.push('\\');
                        self.out.push(char::from(class));
                        // `\d-x` means a dash in one and an error in the other.
                        if self.peek() == Some(b'-') && self.source.get(self.at + 1) != Some(&b']') {
                            return None;
                        }
                        continue;
                    }
                    b'b' => 8,
                    escape => literal_escape(escape)?,
                },
                byte => byte,
            };
            self.class_literal(first);
            if self.peek() == Some(b'-') && self.source.get(self.at + 1).is_some_and(|&byte| byte != b']') {
                self.at += 1;
                let last = match self.next()? {
                    b'\\' => literal_escape(self.next()?)?,
                    byte => byte,
                };
                if last < first {
                    return None;
                }
                self.out.push('-');
                self.class_literal(last);
            }
        }
        self.out.push(']');
        Some(())
    }

    fn class_literal(&mut self, byte: u8) {
        self.out.push_str(&format!("\\x{byte:02X}"));
    }
}

/// The character that an escape stands for: controls, and punctuation for itself.
fn literal_escape(byte: u8) -> Option<u8> {
    Some(match byte {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'f' => 0x0c,
        b'v' => 0x0b,
        byte if byte.is_ascii_punctuation() => byte,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_part_is_translated() {
        for (source, flags, subject, expected) in [
            ("^\\d{3}-[a-z_]+$", "i", "123-ABC_", true),
            ("^\\d{3}$", "", "123\n", false),
            ("a.c", "", "a\rc", false),
            ("^(yes|no)\\b", "", "yes!", true),
            ("[^\\s,.]+", "", " ,.", false),
            ("[.*+?^${}()|[\\]\\\\]", "", "a]b", true),
            ("\\$\\d+\\.\\d\\d", "g", "costs $5.00", true),
            ("(?:ab)+?c", "", "xababc", true),
        ] {
            assert_eq!(
                Regexp::compile(source, flags).unwrap().test(subject),
                Some(expected),
                "{source} on {subject:?}"
            );
        }
        assert_eq!(Regexp::compile("k", "i").unwrap().test("\u{212a}"), None);
    }

    #[test]
    fn the_rest_is_refused() {
        for source in
            ["(?=a)", "(a)\\1", "\\u0041", "a{,3}", "(a*)*", "[\\D]", "é", "a**", "(", "(?<n>a)", "\\cA", "^*"]
        {
            assert!(Regexp::compile(source, "").is_none(), "{source}");
        }
        assert!(Regexp::compile("a", "u").is_none());
    }
}
