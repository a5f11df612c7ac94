//! Messages as documents: text, Markdown, HTML, CSV, JSON, JSON Lines and users' own templates.
//!
//! A [`Transcript`] takes conversations and their messages one by one and appends the document to a
//! buffer that the caller drains, so a transcript of any length needs little memory. Every message
//! type reads well in every format, and no content can break a document: see the module of each
//! format for how. [`jsonl`] is the lossless form that exports are written in and imports read;
//! [`readable`] gives a single message as text.
//!
//! Called by `http` (transcripts), the command line (`export`, `import`) and the dashboard. Does no
//! I/O, starts no thread, reads no clock.

mod cast;
mod content;
mod csv;
mod html;
mod json;
mod json_text;
pub mod jsonl;
mod markdown;
mod picks;
mod plain;
mod render;
mod safe;
pub mod template;
mod transcript;

#[cfg(test)]
mod tests;

pub use picks::{LOOK_AHEAD, picked};
pub use plain::{readable, readable_picked};
pub use template::Template;
pub use transcript::{Options, Transcript};

/// The built-in formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// For terminals and mails: a line a message, more for what needs more.
    Text,
    /// CommonMark with task lists.
    Markdown,
    /// A self-contained page.
    Html,
    /// RFC 4180, a row a message.
    Csv,
    /// One JSON document with everything.
    Json,
    /// One JSON record a line with everything; what `import` reads.
    JsonLines,
}

impl Format {
    /// All formats.
    pub const ALL: [Format; 6] =
        [Format::Text, Format::Markdown, Format::Html, Format::Csv, Format::Json, Format::JsonLines];

    /// From its name or its file ending: `text`/`txt`, `markdown`/`md`, `html`, `csv`, `json`,
    /// `jsonl`/`ndjson`.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "text" | "txt" => Format::Text,
            "markdown" | "md" => Format::Markdown,
            "html" => Format::Html,
            "csv" => Format::Csv,
            "json" => Format::Json,
            "jsonl" | "ndjson" => Format::JsonLines,
            _ => return None,
        })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Format::Text => "text",
            Format::Markdown => "markdown",
            Format::Html => "html",
            Format::Csv => "csv",
            Format::Json => "json",
            Format::JsonLines => "jsonl",
        }
    }

    /// The ending of a file's name, without a dot.
    pub fn extension(self) -> &'static str {
        match self {
            Format::Text => "txt",
            Format::Markdown => "md",
            other => other.name(),
        }
    }

    /// The media type for HTTP.
    pub fn media_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; charset=utf-8",
            Format::Markdown => "text/markdown; charset=utf-8",
            Format::Html => "text/html; charset=utf-8",
            Format::Csv => "text/csv; charset=utf-8; header=present",
            Format::Json => "application/json",
            Format::JsonLines => "application/x-ndjson",
        }
    }
}

/// Why a transcript can't be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A message came before its conversation: a mistake of the caller.
    #[error("a message came before its conversation")]
    NoConversation,
    /// The conversation is too large for a template.
    #[error(
        "the messages of conversation {conversation} exceed the {limit} bytes a template may hold in memory; \
         use a built-in format or raise the limit"
    )]
    TooLarge {
        /// The conversation.
        conversation: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// The template doesn't compile, fails or runs too long.
    #[error("the template failed: {}", duologue_model::error::causes(.0))]
    Template(#[from] minijinja::Error),
    /// An entity has no JSON form.
    #[error("a record can't be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}
