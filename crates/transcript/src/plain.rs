//! Content as plain text, and the `text` format.

use std::{borrow::Cow, fmt::Write};

use duologue_model::{Conversation, Message, Timestamp, User};

use crate::{
    Error,
    cast::Cast,
    content::{Action, Body, Card, Choice, Content, Location, Media},
    render::{Line, Put, Renderer},
    safe,
};

/// `message`'s content as plain text without control characters, on one or more lines joined by
/// `\n`, with no line end at the end. What has no better form is shown as JSON behind its type.
///
/// A choice shows its options unmarked; [`readable_picked`] marks one.
pub fn readable(message: &Message) -> String {
    readable_picked(message, None)
}

/// [`readable`], with the option at index `picked` marked when the message is a choice.
pub fn readable_picked(message: &Message, picked: Option<usize>) -> String {
    let content = Content::parse(&message.kind, message.payload.text());
    let mut raw = String::new();
    write_content(&mut raw, &content, picked);
    let mut text = match safe::clean(&raw) {
        Cow::Borrowed(_) => raw,
        Cow::Owned(cleaned) => cleaned,
    };
    text.truncate(text.trim_end_matches('\n').len());
    text
}

fn write_content(out: &mut String, content: &Content, picked: Option<usize>) {
    match &content.body {
        Body::Text(text) | Body::Markdown(text) => out.push_str(text),
        Body::Media(media) => write_media(out, media),
        Body::Location(location) => write_location(out, location),
        Body::Card(card) => {
            out.push_str("[card] ");
            write_card(out, card);
        }
        Body::Carousel(cards) => {
            out.push_str("[carousel]");
            for (number, card) in (1..).zip(cards) {
                let mut text = String::new();
                write_card(&mut text, card);
                write_item(out, &format!("{number}. "), &text);
            }
        }
        Body::Choice(choice) => write_choice(out, choice, picked),
        Body::Bloc(items) => {
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push('\n');
                }
                write_content(out, item, None);
            }
        }
        Body::Other { kind, json } => {
            let _ = write!(out, "[{}] {json}", safe::one_line(kind));
        }
    }
    if let Some(extras) = &content.extras {
        write_item(out, "+ ", extras);
    }
}

fn write_media(out: &mut String, media: &Media) {
    let _ = write!(out, "[{}] ", media.kind.name());
    if let Some(title) = &media.title {
        let _ = write!(out, "{title} — ");
    }
    out.push_str(&safe::short_url(&media.url));
}

fn write_location(out: &mut String, location: &Location) {
    out.push_str("[location] ");
    for part in [&location.title, &location.address].into_iter().flatten() {
        let _ = write!(out, "{part}, ");
    }
    let _ = write!(out, "{}, {}", location.latitude, location.longitude);
}

fn write_card(out: &mut String, card: &Card) {
    out.push_str(&card.title);
    if let Some(subtitle) = &card.subtitle {
        write_item(out, "", subtitle);
    }
    if let Some(image) = &card.image {
        write_item(out, "image: ", &safe::short_url(image));
    }
    for action in &card.actions {
        write_item(out, "- ", &action_text(action));
    }
    if let Some(extras) = &card.extras {
        write_item(out, "+ ", extras);
    }
}

/// A button: its label, what it does and with what.
pub(crate) fn action_text(action: &Action) -> String {
    match &action.value {
        Some(value) => format!("{} ({}: {})", action.label, action.kind, safe::short_url(value)),
        None => format!("{} ({})", action.label, action.kind),
    }
}

fn write_choice(out: &mut String, choice: &Choice, picked: Option<usize>) {
    out.push_str(&choice.text);
    for (at, option) in choice.options.iter().enumerate() {
        let mut text = option.label.clone();
        if let Some(value) = option.distinct_value() {
            let _ = write!(text, " = {value}");
        }
        if picked == Some(at) {
            text.push_str(" (picked)");
        }
        write_item(out, if picked == Some(at) { "[x] " } else { "[ ] " }, &text);
    }
}

/// Writes `mark` and `text` on new lines, the text's further lines indented below its first.
fn write_item(out: &mut String, mark: &str, text: &str) {
    if !out.is_empty() {
        out.push('\n');
    }
    out.push_str(mark);
    push_indented(out, &safe::clean(text), mark.chars().count());
}

/// Appends `text`, its second and further lines indented by `indent` spaces.
fn push_indented(out: &mut String, text: &str, indent: usize) {
    for (at, line) in text.split('\n').enumerate() {
        if at > 0 {
            out.push('\n');
            if !line.is_empty() {
                out.extend(std::iter::repeat_n(' ', indent));
            }
        }
        out.push_str(line);
    }
}

/// An instant for people: `2026-11-21 12:00:03`, UTC.
pub(crate) fn at(timestamp: Timestamp) -> String {
    let mut text = String::with_capacity(24);
    timestamp.write(&mut text);
    text.truncate(19);
    text.replace('T', " ")
}

/// What is worth knowing about a conversation, as headings and values; values are clean single
/// lines.
pub(crate) fn facts(conversation: &Conversation, cast: &Cast) -> Vec<(&'static str, String)> {
    let mut facts = vec![("Created", format!("{} UTC", at(conversation.created_at)))];
    let channel = safe::one_line(&conversation.channel);
    let integration = safe::one_line(&conversation.integration);
    if !channel.is_empty() {
        facts.push(("Channel", channel));
    }
    if !integration.is_empty() {
        facts.push(("Integration", integration));
    }
    if !cast.names().is_empty() {
        facts.push(("Participants", cast.names().join(", ")));
    }
    if !conversation.tags.is_empty() {
        let tags: Vec<String> = conversation.tags.0.iter().map(|(key, value)| format!("{key}={value}")).collect();
        facts.push(("Tags", safe::one_line(&tags.join(", "))));
    }
    facts
}

/// The `text` format: one paragraph a message, times in UTC. Lines a message goes on with are
/// indented, so that none can pass for a message of its own.
pub(crate) struct Text;

/// Width of the time before the author.
const INDENT: usize = 21;

impl Renderer for Text {
    fn conversation(
        &mut self,
        line: &Conversation,
        _: &[&User],
        cast: &Cast,
        first: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        if !first {
            out.put("\n");
        }
        out.put(&format!("Conversation {}\n", safe::one_line(line.id.as_str())));
        for (name, value) in facts(line, cast) {
            out.put(&format!("  {name}: {value}\n"));
        }
        out.put("\n");
        Ok(())
    }

    fn message(&mut self, line: &Line<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        let mut text = at(line.message.created_at);
        text.push_str("  ");
        text.push_str(&line.author.name);
        text.push_str(": ");
        push_indented(&mut text, &readable_picked(line.message, line.picked), INDENT);
        text.push('\n');
        out.put(&text);
        Ok(())
    }
}
