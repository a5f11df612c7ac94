//! Text made harmless for every reader: terminals, spreadsheets, editors, browsers.

use std::borrow::Cow;

/// `text` with one kind of line end and no control characters other than tab: `CR LF`, `CR`, NEL
/// and the Unicode line and paragraph separators become `LF`, other control characters (terminal
/// escape sequences begin with them) their visible pictures.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unclean) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' => {
                chars.next_if_eq(&'\n');
                out.push('\n');
            }
            '\u{85}' | '\u{2028}' | '\u{2029}' => out.push('\n'),
            c if is_unclean(c) => out.push(picture(c)),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// `text` cleaned and on one line, without what changes the writing direction of its surroundings:
/// for names and headings.
pub(crate) fn one_line(text: &str) -> String {
    let cleaned = clean(text);
    let visible = cleaned.chars().filter(|c| !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'));
    let mut out = String::with_capacity(cleaned.len());
    for c in visible {
        let c = if c.is_whitespace() { ' ' } else { c };
        if c != ' ' || !(out.is_empty() || out.ends_with(' ')) {
            out.push(c);
        }
    }
    out.truncate(out.trim_end().len());
    out
}

/// A URL for people: a data URL is cut to its beginning and its length.
pub(crate) fn short_url(url: &str) -> Cow<'_, str> {
    if !starts_with_ignore_case(url, "data:") || url.len() <= 120 {
        return Cow::Borrowed(url);
    }
    let beginning: String = url.chars().take(40).collect();
    Cow::Owned(format!("{beginning}… ({} characters)", url.chars().count()))
}

/// Whether a link to `url` can be offered: `http` or `https`, and nothing a browser would skip.
pub(crate) fn is_web_url(url: &str) -> bool {
    (starts_with_ignore_case(url, "http://") || starts_with_ignore_case(url, "https://"))
        && !url.chars().any(|c| c.is_whitespace() || c.is_control())
}

/// Whether `url` can be shown as an image: [`is_web_url`], or an image as a data URL.
pub(crate) fn is_image_url(url: &str) -> bool {
    is_web_url(url) || starts_with_ignore_case(url, "data:image/")
}

fn starts_with_ignore_case(text: &str, start: &str) -> bool {
    text.as_bytes().get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start.as_bytes()))
}

fn is_unclean(c: char) -> bool {
    c != '\n' && c != '\t' && (c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'))
}

/// A visible stand-in for a control character.
fn picture(c: char) -> char {
    match u32::from(c) {
        code @ 0..0x20 => char::from_u32(0x2400 + code).unwrap_or(char::REPLACEMENT_CHARACTER),
        0x7f => '\u{2421}',
        _ => char::REPLACEMENT_CHARACTER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_become_visible() {
        assert_eq!(clean("a\x1b[2Jb\u{9b}31m\0\x7f"), "a␛[2Jb\u{fffd}31m␀␡");
        assert_eq!(clean("a\r\nb\rc\u{2028}d\u{85}e\tf\n"), "a\nb\nc\nd\ne\tf\n");
        assert!(matches!(clean("plain ünïcode 🙂"), Cow::Borrowed(_)));
    }

    #[test]
    fn names_stay_on_one_line() {
        assert_eq!(one_line("  Ada\r\n \u{202e}Love\tlace "), "Ada Love lace");
    }

    #[test]
    fn only_web_and_image_urls_are_offered() {
        assert!(is_web_url("HTTPS://example.com/a?b=c"));
        for bad in ["javascript:alert(1)", " https://x", "https://x\n", "data:image/png,x", "//x", "http:/x", ""] {
            assert!(!is_web_url(bad), "{bad}");
        }
        assert!(is_image_url("data:image/png;base64,AA=="));
        assert!(!is_image_url("data:text/html,x"));
    }

    #[test]
    fn long_data_urls_are_cut() {
        let url = format!("data:image/png;base64,{}", "é".repeat(200));
        assert!(short_url(&url).ends_with("… (222 characters)"));
        assert_eq!(short_url("https://x"), "https://x");
    }
}
