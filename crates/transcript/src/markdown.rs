//! The `markdown` format: CommonMark that content can't restructure.
//!
//! Plain texts are escaped, `markdown` messages stand in block quotes with their raw HTML escaped,
//! JSON in fences longer than any run of backticks in it. Media are links, never embedded: reading a
//! transcript must not fetch anything.

use std::fmt::Write;

use duologue_model::{Conversation, User};

use crate::{
    Error,
    cast::Cast,
    content::{Action, Body, Card, Choice, Content, Location, Media},
    plain,
    render::{Line, Put, Renderer},
    safe,
};

pub(crate) struct Markdown {
    pub title: Option<String>,
}

impl Renderer for Markdown {
    fn begin(&mut self, out: &mut Vec<u8>) {
        if let Some(title) = &self.title {
            out.put(&format!("# {}\n\n", inline(title)));
        }
    }

    fn conversation(
        &mut self,
        conversation: &Conversation,
        _: &[&User],
        cast: &Cast,
        first: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        if !first {
            out.put("---\n\n");
        }
        out.put(&format!("## Conversation {}\n\n", inline(conversation.id.as_str())));
        for (name, value) in plain::facts(conversation, cast) {
            out.put(&format!("- {name}: {}\n", inline(&value)));
        }
        out.put("\n");
        Ok(())
    }

    fn message(&mut self, line: &Line<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        let content = Content::parse(&line.message.kind, line.message.payload.text());
        let mut text = format!("**{}** · {} UTC\n\n", inline(&line.author.name), plain::at(line.message.created_at));
        write_content(&mut text, &content, line.picked);
        out.put(&text);
        Ok(())
    }
}

/// Writes blocks, each followed by an empty line.
fn write_content(out: &mut String, content: &Content, picked: Option<usize>) {
    match &content.body {
        Body::Text(text) => write_paragraphs(out, text),
        Body::Markdown(text) => write_quote(out, text),
        Body::Media(media) => write_media(out, media),
        Body::Location(location) => write_location(out, location),
        Body::Card(card) => write_card(out, card),
        Body::Carousel(cards) => {
            for card in cards {
                write_card(out, card);
            }
        }
        Body::Choice(choice) => write_choice(out, choice, picked),
        Body::Bloc(items) => {
            for item in items {
                write_content(out, item, None);
            }
        }
        Body::Other { kind, json } => {
            let _ = write!(out, "*{}*\n\n", non_empty(inline(kind), "no type"));
            write_fence(out, json);
        }
    }
    if let Some(extras) = &content.extras {
        write_fence(out, extras);
    }
}

/// Escaped text; its line breaks stay, its empty lines part paragraphs.
fn write_paragraphs(out: &mut String, text: &str) {
    let cleaned = safe::clean(text);
    for paragraph in cleaned.split("\n\n").map(|p| p.trim_matches('\n')).filter(|p| !p.trim().is_empty()) {
        let lines = paragraph.split('\n').map(|line| escape(line.trim_end())).filter(|line| !line.is_empty());
        out.push_str(&lines.collect::<Vec<_>>().join("\\\n"));
        out.push_str("\n\n");
    }
}

/// A block quote. Only raw HTML is escaped: it alone could reach beyond the quote.
fn write_quote(out: &mut String, text: &str) {
    let cleaned = safe::clean(text);
    for line in cleaned.split('\n') {
        out.push_str(if line.is_empty() { ">" } else { "> " });
        let mut rest = line;
        while let Some(at) = rest.find('<') {
            let (before, after) = rest.split_at(at);
            out.push_str(before);
            if after[1..].starts_with(|c: char| c.is_ascii_alphabetic() || "/!?".contains(c)) {
                // An odd run of backslashes before it has escaped it already.
                let backslashes = before.len() - before.trim_end_matches('\\').len();
                out.push_str(if backslashes % 2 == 0 { "\\<" } else { "<" });
            } else {
                out.push('<');
            }
            rest = &after[1..];
        }
        out.push_str(rest);
        out.push('\n');
    }
    out.push('\n');
}

fn write_media(out: &mut String, media: &Media) {
    let title = media.title.as_deref().map(inline).filter(|title| !title.is_empty());
    let kind = media.kind.name();
    let label = title.map_or_else(|| kind.to_owned(), |title| format!("{kind}: {title}"));
    write_link(out, &label, &media.url);
    out.push_str("\n\n");
}

fn write_location(out: &mut String, location: &Location) {
    let parts = [&location.title, &location.address].into_iter().flatten().map(|part| inline(part));
    let place = format!("{}, {}", inline(&location.latitude), inline(&location.longitude));
    let _ = write!(out, "location: {}\n\n", parts.chain([place]).collect::<Vec<_>>().join(", "));
}

fn write_card(out: &mut String, card: &Card) {
    let _ = write!(out, "**{}**\n\n", non_empty(inline(&card.title), "card"));
    if let Some(subtitle) = &card.subtitle {
        write_paragraphs(out, subtitle);
    }
    if let Some(image) = &card.image {
        write_link(out, "image", image);
        out.push_str("\n\n");
    }
    for action in &card.actions {
        out.push_str("- ");
        write_action(out, action);
        out.push('\n');
    }
    if !card.actions.is_empty() {
        // Without the comment two cards' lists could become one.
        out.push_str("\n<!-- -->\n\n");
    }
    if let Some(extras) = &card.extras {
        write_fence(out, extras);
    }
}

fn write_action(out: &mut String, action: &Action) {
    match &action.value {
        Some(url) if safe::is_web_url(url) => write_link(out, &non_empty(inline(&action.label), "link"), url),
        _ => out.push_str(&inline(&plain::action_text(action))),
    }
}

fn write_choice(out: &mut String, choice: &Choice, picked: Option<usize>) {
    write_paragraphs(out, &choice.text);
    for (at, option) in choice.options.iter().enumerate() {
        let is_picked = picked == Some(at);
        out.push_str(if is_picked { "- [x] **" } else { "- [ ] " });
        out.push_str(&non_empty(inline(&option.label), "(empty)"));
        if is_picked {
            out.push_str("**");
        }
        if let Some(value) = option.distinct_value() {
            let _ = write!(out, " = {}", inline(value));
        }
        out.push_str(if is_picked { " (picked)\n" } else { "\n" });
    }
    if !choice.options.is_empty() {
        out.push_str("\n<!-- -->\n\n");
    }
}

/// A link labelled with escaped text; what can't be a link is shown as text.
fn write_link(out: &mut String, label: &str, url: &str) {
    if !safe::is_web_url(url) {
        let _ = write!(out, "{label}: {}", inline(&safe::short_url(url)));
        return;
    }
    let _ = write!(out, "[{label}](<");
    for c in url.chars() {
        match c {
            '<' => out.push_str("%3C"),
            '>' => out.push_str("%3E"),
            '\\' => out.push_str("%5C"),
            c => out.push(c),
        }
    }
    out.push_str(">)");
}

/// A code block no content can close.
fn write_fence(out: &mut String, json: &str) {
    let json = safe::clean(json);
    let longest = json.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let _ = write!(out, "{fence}json\n{json}\n{fence}\n\n");
}

/// `text` on one line, escaped.
fn inline(text: &str) -> String {
    escape(&safe::one_line(text))
}

fn non_empty(text: String, otherwise: &str) -> String {
    if text.is_empty() { otherwise.to_owned() } else { text }
}

/// Escapes one clean line so that it is read as text wherever a line may stand.
fn escape(line: &str) -> String {
    let mut out = String::with_capacity(line.len() + 8);
    let body = line.trim_start_matches([' ', '\t']);
    // Indentation could make code of it; no-break spaces look the same and mean nothing.
    out.extend(std::iter::repeat_n('\u{a0}', line.len() - body.len()));
    let digits = body.len() - body.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    for (at, c) in body.char_indices() {
        let anywhere = "\\`*_[]<>&|~${}^".contains(c);
        let at_start = at == 0 && "#+-=:%".contains(c);
        let after_number = at == digits && digits > 0 && ".)".contains(c);
        if anywhere || at_start || after_number {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
