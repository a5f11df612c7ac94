//! What messages say: the shapes that all integrations understand (`spec/cloud/runtime.md` § 5).

use duologue_model::Json;
use serde::Serialize;
use serde_json::{Value, json};

/// Type and payload of a message. A text is one, too: `ctx.say("Hello")`.
///
/// ```
/// # use duologue_sdk::Content;
/// let question = Content::choice("Tea or coffee?", [("Tea", "tea"), ("Coffee", "coffee")]);
/// assert_eq!(question.kind, "choice");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Content {
    /// `text`, `image`, `choice`, … or an integration's own.
    pub kind: String,
    /// What the type says.
    pub payload: Json,
}

impl Content {
    /// Any type with any JSON object.
    pub fn new(kind: impl Into<String>, payload: impl Serialize) -> Self {
        Content { kind: kind.into(), payload: Json::of(&payload) }
    }

    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new("text", json!({ "text": text.into() }))
    }

    /// An image by URL.
    pub fn image(url: impl Into<String>) -> Self {
        Self::new("image", json!({ "imageUrl": url.into() }))
    }

    /// A sound by URL.
    pub fn audio(url: impl Into<String>) -> Self {
        Self::new("audio", json!({ "audioUrl": url.into() }))
    }

    /// A video by URL.
    pub fn video(url: impl Into<String>) -> Self {
        Self::new("video", json!({ "videoUrl": url.into() }))
    }

    /// A file by URL.
    pub fn file(url: impl Into<String>, title: impl Into<String>) -> Self {
        Self::new("file", json!({ "fileUrl": url.into(), "title": title.into() }))
    }

    /// A place, in degrees.
    pub fn location(latitude: f64, longitude: f64) -> Self {
        Self::new("location", json!({ "latitude": latitude, "longitude": longitude }))
    }

    /// A question with answers to choose from: what is shown, and what is sent when chosen.
    pub fn choice<L: Into<String>, V: Into<String>>(
        text: impl Into<String>,
        options: impl IntoIterator<Item = (L, V)>,
    ) -> Self {
        Self::new("choice", json!({ "text": text.into(), "options": labelled(options) }))
    }

    /// The same as a list to pull down.
    pub fn dropdown<L: Into<String>, V: Into<String>>(
        text: impl Into<String>,
        options: impl IntoIterator<Item = (L, V)>,
    ) -> Self {
        Self::new("dropdown", json!({ "text": text.into(), "options": labelled(options) }))
    }

    /// Cards side by side: the payloads of messages of type `card`.
    pub fn carousel(cards: impl IntoIterator<Item = Content>) -> Self {
        let items: Vec<Json> = cards.into_iter().map(|card| card.payload).collect();
        Self::new("carousel", json!({ "items": items }))
    }
}

fn labelled<L: Into<String>, V: Into<String>>(options: impl IntoIterator<Item = (L, V)>) -> Vec<Value> {
    options.into_iter().map(|(label, value)| json!({ "label": label.into(), "value": value.into() })).collect()
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Content::text(text)
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Content::text(text)
    }
}

impl From<&String> for Content {
    fn from(text: &String) -> Self {
        Content::text(text)
    }
}
