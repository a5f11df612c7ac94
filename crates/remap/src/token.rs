//! The words of a script.

use crate::Error;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    /// A name or a keyword.
    Word(String),
    Int(i64),
    Float(f64),
    /// A text, with its templates still in it: `{{ name }}`.
    Template(String),
    /// A text as it is.
    Raw(String),
    /// A pattern.
    Pattern(String),
    /// An operator or a bracket.
    Sign(&'static str),
    /// The end of an expression, unless it goes on.
    Line,
    End,
}

/// A token, the line on which it stands, and whether a blank precedes it.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) token: Token,
    pub(crate) line: usize,
    pub(crate) spaced: bool,
}

/// Longer ones first.
const SIGNS: [&str; 30] = [
    "??=", "??", "&&", "||", "==", "!=", "<=", ">=", "|=", "->", "(", ")", "[", "]", "{", "}", ",", ":", "=", "<", ">",
    "+", "-", "*", "/", "%", "!", "|", ".", ";",
];

pub(crate) fn tokens(script: &str) -> Result<Vec<Placed>, Error> {
    let mut all = Vec::new();
    let (mut rest, mut line, mut spaced) = (script, 1, true);
    while let Some(first) = rest.chars().next() {
        let before = rest;
        let token = match first {
            '\n' => {
                rest = &rest[1..];
                Some(Token::Line)
            }
            ' ' | '\t' | '\r' => {
                rest = &rest[1..];
                None
            }
            '#' => {
                rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
                None
            }
            '"' => {
                let (text, after) = quoted(&rest[1..], '"', line)?;
                rest = after;
                Some(Token::Template(text))
            }
            'r' if rest[1..].starts_with('\'') => {
                let (text, after) = pattern(&rest[2..], line)?;
                rest = after;
                Some(Token::Pattern(text))
            }
            's' if rest[1..].starts_with('\'') => {
                let end = rest[2..].find('\'').ok_or_else(|| unclosed(line))?;
                let text = rest[2..2 + end].to_owned();
                rest = &rest[end + 3..];
                Some(Token::Raw(text))
            }
            '0'..='9' => Some(number(&mut rest, line)?),
            c if c.is_ascii_alphabetic() || c == '_' || c == '@' => {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '@').unwrap_or(rest.len());
                let word = rest[..end].to_owned();
                rest = &rest[end..];
                Some(Token::Word(word))
            }
            other => {
                let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign));
                let sign = sign.ok_or_else(|| Error::Syntax { line, text: format!("\"{other}\" is not expected") })?;
                rest = &rest[sign.len()..];
                Some(Token::Sign(sign))
            }
        };
        let taken = &before[..before.len() - rest.len()];
        let Some(token) = token else {
            spaced = true;
            continue;
        };
        all.push(Placed { token, line, spaced });
        spaced = false;
        line += taken.matches('\n').count();
    }
    all.push(Placed { token: Token::Line, line, spaced });
    all.push(Placed { token: Token::End, line, spaced });
    Ok(all)
}

fn unclosed(line: usize) -> Error {
    Error::Syntax { line, text: "a text is not closed".to_owned() }
}

/// A text up to `end`, its escapes resolved; and what follows.
fn quoted(text: &str, end: char, line: usize) -> Result<(String, &str), Error> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == end => return Ok((out, &text[at + 1..])),
            '\\' => match chars.next().ok_or_else(|| unclosed(line))?.1 {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                'r' => out.push('\r'),
                '0' => out.push('\0'),
                // Braces that aren't a template's.
                '{' => out.push('\u{1}'),
                '}' => out.push('\u{2}'),
                '\n' => {}
                other => out.push(other),
            },
            c => out.push(c),
        }
    }
    Err(unclosed(line))
}

/// A pattern up to its quote, its own escapes kept; and what follows.
fn pattern(text: &str, line: usize) -> Result<(String, &str), Error> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => return Ok((out, &text[at + 1..])),
            '\\' => match chars.next().ok_or_else(|| unclosed(line))?.1 {
                '\'' => out.push('\''),
                other => out.extend(['\\', other]),
            },
            c => out.push(c),
        }
    }
    Err(unclosed(line))
}

fn number(rest: &mut &str, line: usize) -> Result<Token, Error> {
    let mut end = rest.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(rest.len());
    let mut is_float = false;
    let fraction = &rest[end..];
    if fraction.starts_with('.') && fraction[1..].starts_with(|c: char| c.is_ascii_digit()) {
        is_float = true;
        end += 1 + fraction[1..].find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(fraction.len() - 1);
    }
    let digits = rest[..end].replace('_', "");
    *rest = &rest[end..];
    let wrong = || Error::Syntax { line, text: format!("{digits} is no number") };
    if is_float {
        digits.parse().map(Token::Float).map_err(|_| wrong())
    } else {
        digits.parse().map(Token::Int).map_err(|_| wrong())
    }
}
