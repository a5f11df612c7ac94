//! What a payload says: the standard shapes of `spec/cloud/runtime.md` § 5 "Message payloads", and
//! readable JSON for everything else.
//!
//! Payloads come from strangers. A payload that doesn't have the shape its type promises becomes
//! [`Body::Other`] as a whole, so nothing it holds is lost and nothing here can fail. Keys a shape
//! doesn't know are kept in [`Content::extras`].

use std::{borrow::Cow, fmt};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::json_text;

/// How deep a `bloc` may nest before it is shown as JSON.
const DEEPEST_BLOC: usize = 4;

/// A payload, understood.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Content {
    pub body: Body,
    /// Keys beyond the shape's, as a JSON object on one line. Flags, empty values and `metadata`
    /// are for programs and left out.
    pub extras: Option<String>,
}

/// What is shown.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Body {
    Text(String),
    Markdown(String),
    Media(Media),
    Location(Location),
    Card(Card),
    Carousel(Vec<Card>),
    Choice(Choice),
    Bloc(Vec<Content>),
    /// Any other type, or a malformed payload: the type and the indented JSON.
    Other {
        kind: String,
        json: String,
    },
}

/// An image, audio, video or file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Media {
    pub kind: MediaKind,
    pub url: String,
    pub title: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MediaKind {
    Image,
    Audio,
    Video,
    File,
}

impl MediaKind {
    pub fn name(self) -> &'static str {
        match self {
            MediaKind::Image => "image",
            MediaKind::Audio => "audio",
            MediaKind::Video => "video",
            MediaKind::File => "file",
        }
    }
}

/// A place. The coordinates keep the digits they came with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Location {
    pub latitude: String,
    pub longitude: String,
    pub title: Option<String>,
    pub address: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Card {
    pub title: String,
    pub subtitle: Option<String>,
    pub image: Option<String>,
    pub actions: Vec<Action>,
    pub extras: Option<String>,
}

/// A card's button. `kind` is `postback`, `url`, `say` or what the sender invented.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Action {
    pub kind: String,
    pub label: String,
    pub value: Option<String>,
}

/// A question with options: `choice`, `dropdown`, or the `single-choice` of v12.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Choice {
    pub text: String,
    pub options: Vec<Opt>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Opt {
    pub label: String,
    pub value: String,
}

impl Opt {
    /// The value, where it tells more than the label.
    pub fn distinct_value(&self) -> Option<&str> {
        (!same(&self.label, &self.value)).then_some(self.value.as_str())
    }
}

/// Whether two texts are the same choice to a person: outer white space and case aside.
pub(crate) fn same(a: &str, b: &str) -> bool {
    a.trim().to_lowercase() == b.trim().to_lowercase()
}

/// Whether messages of this type ask to pick an option.
pub(crate) fn is_choice(kind: &str) -> bool {
    matches!(kind, "choice" | "dropdown" | "single-choice")
}

impl Content {
    /// Understands `payload`, a valid JSON text, as a message of type `kind`.
    pub fn parse(kind: &str, payload: &str) -> Self {
        parse(kind, payload, 0).unwrap_or_else(|Odd| Content {
            body: Body::Other { kind: kind.to_owned(), json: json_text::pretty(payload) },
            extras: None,
        })
    }
}

/// The payload doesn't have the shape its type promises.
struct Odd;

fn parse(kind: &str, payload: &str, depth: usize) -> Result<Content, Odd> {
    let mut fields = Fields::parse(payload)?;
    let body = match kind {
        "text" => Body::Text(fields.required(&["text"])?),
        "markdown" => Body::Markdown(fields.required(&["markdown"])?),
        "image" => media(&mut fields, MediaKind::Image, &["imageUrl", "image"])?,
        "audio" => media(&mut fields, MediaKind::Audio, &["audioUrl", "audio"])?,
        "video" => media(&mut fields, MediaKind::Video, &["videoUrl", "video"])?,
        "file" => media(&mut fields, MediaKind::File, &["fileUrl", "file"])?,
        "location" => location(&mut fields)?,
        "card" => {
            let card = card(&mut fields)?;
            return Ok(Content { body: Body::Card(card), extras: fields.extras() });
        }
        "carousel" => {
            Body::Carousel(fields.list(&["items"])?.ok_or(Odd)?.into_iter().map(item_card).collect::<Result<_, _>>()?)
        }
        kind if is_choice(kind) => choice(&mut fields)?,
        "bloc" => {
            let items = fields.list(&["items"])?.ok_or(Odd)?;
            Body::Bloc(items.into_iter().map(|item| bloc_item(item, depth)).collect::<Result<_, _>>()?)
        }
        _ => return Err(Odd),
    };
    Ok(Content { body, extras: fields.extras() })
}

fn media(fields: &mut Fields<'_>, kind: MediaKind, keys: &[&str]) -> Result<Body, Odd> {
    Ok(Body::Media(Media { kind, url: fields.required(keys)?, title: fields.optional(&["title"])? }))
}

fn location(fields: &mut Fields<'_>) -> Result<Body, Odd> {
    Ok(Body::Location(Location {
        latitude: fields.required(&["latitude"])?,
        longitude: fields.required(&["longitude"])?,
        title: fields.optional(&["title"])?,
        address: fields.optional(&["address"])?,
    }))
}

fn item_card(item: &RawValue) -> Result<Card, Odd> {
    let mut fields = Fields::parse(item.get())?;
    let mut card = card(&mut fields)?;
    card.extras = fields.extras();
    Ok(card)
}

fn card(fields: &mut Fields<'_>) -> Result<Card, Odd> {
    Ok(Card {
        title: fields.required(&["title"])?,
        subtitle: fields.optional(&["subtitle"])?,
        image: fields.optional(&["imageUrl", "image"])?,
        actions: fields.list(&["actions"])?.unwrap_or_default().into_iter().map(action).collect::<Result<_, _>>()?,
        extras: None,
    })
}

fn action(item: &RawValue) -> Result<Action, Odd> {
    let mut fields = Fields::parse(item.get())?;
    let action = Action {
        kind: fields.required(&["action"])?,
        label: fields.required(&["label", "title"])?,
        value: fields.optional(&["value", "payload", "url", "text"])?,
    };
    fields.nothing_left()?;
    Ok(action)
}

fn choice(fields: &mut Fields<'_>) -> Result<Body, Odd> {
    let text = fields.optional(&["text"])?;
    let options = fields.list(&["options", "choices"])?;
    if text.is_none() && options.is_none() {
        return Err(Odd);
    }
    Ok(Body::Choice(Choice {
        text: text.unwrap_or_default(),
        options: options.unwrap_or_default().into_iter().map(option).collect::<Result<_, _>>()?,
    }))
}

fn option(item: &RawValue) -> Result<Opt, Odd> {
    let mut fields = Fields::parse(item.get())?;
    let label = fields.optional(&["label", "title"])?;
    let value = fields.optional(&["value"])?;
    fields.nothing_left()?;
    match (label, value) {
        (Some(label), Some(value)) => Ok(Opt { label, value }),
        (Some(only), None) | (None, Some(only)) => Ok(Opt { label: only.clone(), value: only }),
        (None, None) => Err(Odd),
    }
}

fn bloc_item(item: &RawValue, depth: usize) -> Result<Content, Odd> {
    if depth >= DEEPEST_BLOC {
        return Err(Odd);
    }
    let mut fields = Fields::parse(item.get())?;
    let kind = fields.required(&["type"])?;
    let payload = fields.take(&["payload"]).ok_or(Odd)?;
    fields.nothing_left()?;
    Ok(parse(&kind, payload.get(), depth + 1).unwrap_or_else(|Odd| Content {
        body: Body::Other { kind, json: json_text::pretty(payload.get()) },
        extras: None,
    }))
}

/// What a user's message may pick an option with, the most telling first: the value behind a
/// button, then what was written.
pub(crate) fn answers(payload: &str) -> Vec<String> {
    let mut found = Vec::new();
    collect_answers(payload, 0, &mut found);
    found
}

fn collect_answers(payload: &str, depth: usize, found: &mut Vec<String>) {
    let Ok(mut fields) = Fields::parse(payload) else { return };
    for key in ["value", "payload", "postback", "text", "label"] {
        let Some(raw) = fields.take(&[key]) else { continue };
        match scalar(raw) {
            Ok(Some(text)) => found.push(text.into_owned()),
            // A postback's payload may be an object of the same kind.
            Err(Odd) if depth == 0 && matches!(key, "payload" | "postback") => collect_answers(raw.get(), 1, found),
            _ => {}
        }
    }
}

/// The keys and values of a JSON object, values unparsed. Of a repeated key the last one counts.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Fields<'a> {
    fn parse(json: &'a str) -> Result<Self, Odd> {
        serde_json::from_str(json).map_err(|_| Odd)
    }

    /// Takes the first of `keys` that is there and not `null`.
    fn take(&mut self, keys: &[&str]) -> Option<&'a RawValue> {
        keys.iter().find_map(|key| {
            let at = self.0.iter().rposition(|(name, value)| name == key && value.get() != "null")?;
            Some(self.0.remove(at).1)
        })
    }

    /// Takes a text, number or boolean as text; `None` when absent, `null` or empty.
    fn optional(&mut self, keys: &[&str]) -> Result<Option<String>, Odd> {
        let Some(raw) = self.take(keys) else { return Ok(None) };
        Ok(scalar(raw)?.map(Cow::into_owned).filter(|text| !text.is_empty()))
    }

    /// Takes a text, number or boolean as text, which may be empty.
    fn required(&mut self, keys: &[&str]) -> Result<String, Odd> {
        scalar(self.take(keys).ok_or(Odd)?)?.map(Cow::into_owned).ok_or(Odd)
    }

    /// Takes an array; `None` when absent or `null`.
    fn list(&mut self, keys: &[&str]) -> Result<Option<Vec<&'a RawValue>>, Odd> {
        let Some(raw) = self.take(keys) else { return Ok(None) };
        serde_json::from_str(raw.get()).map(Some).map_err(|_| Odd)
    }

    /// Refuses what is left and says something.
    fn nothing_left(self) -> Result<(), Odd> {
        if self.extras().is_none() { Ok(()) } else { Err(Odd) }
    }

    /// What is left and says something, as an object on one line.
    fn extras(self) -> Option<String> {
        let mut json = String::new();
        for (key, value) in &self.0 {
            if matches!(key.as_str(), "type" | "metadata") || says_nothing(value.get()) {
                continue;
            }
            json.push(if json.is_empty() { '{' } else { ',' });
            json.push_str(&serde_json::to_string(key).ok()?);
            json.push(':');
            json.push_str(&json_text::compact(value.get()));
        }
        (!json.is_empty()).then(|| json + "}")
    }
}

fn says_nothing(json: &str) -> bool {
    let inside = json.trim_matches(['{', '}', '[', ']', ' ', '\t', '\n', '\r']);
    matches!(inside, "" | "null" | "true" | "false" | "\"\"")
}

/// A text decoded; a number or boolean as it is written; `None` for `null`; odd for the rest.
fn scalar(raw: &RawValue) -> Result<Option<Cow<'_, str>>, Odd> {
    match raw.get().as_bytes().first() {
        Some(b'"') => serde_json::from_str::<String>(raw.get()).map(|text| Some(Cow::Owned(text))).map_err(|_| Odd),
        Some(b'n') => Ok(None),
        Some(b'{' | b'[') | None => Err(Odd),
        Some(_) => Ok(Some(Cow::Borrowed(raw.get()))),
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Vec<(String, &'de RawValue)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::with_capacity(map.size_hint().unwrap_or(4));
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Object).map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(kind: &str, payload: &str) -> Body {
        Content::parse(kind, payload).body
    }

    #[test]
    fn a_wrong_shape_becomes_json_as_a_whole() {
        for (kind, payload) in [
            ("text", r#"{"text":{"a":1}}"#),
            ("text", r#"{"markdown":"x"}"#),
            ("text", r#""bare""#),
            ("text", r#"{"text":"\ud800"}"#),
            ("image", r#"{"title":"no url"}"#),
            ("choice", r#"{"text":"q","options":{"a":1}}"#),
            ("choice", r#"{"text":"q","options":[{"label":[]}]}"#),
            ("choice", r#"{"text":"q","options":[{"label":"a","price":{"eur":4}}]}"#),
            ("card", r#"{"title":"t","actions":[{"label":"l"}]}"#),
            ("carousel", r#"{"items":[{"subtitle":"untitled"}]}"#),
            ("bloc", r#"{"items":[{"payload":{}}]}"#),
            ("location", r#"{"latitude":1}"#),
            ("sticker", r#"{"text":"t"}"#),
        ] {
            assert_eq!(
                body(kind, payload),
                Body::Other { kind: kind.into(), json: json_text::pretty(payload) },
                "{kind} {payload}"
            );
        }
    }

    #[test]
    fn numbers_keep_their_digits() {
        let Body::Location(place) = body("location", r#"{"latitude":45.50,"longitude":"-73.6"}"#) else { panic!() };
        assert_eq!((place.latitude.as_str(), place.longitude.as_str()), ("45.50", "-73.6"));
    }

    #[test]
    fn extras_keep_what_says_something() {
        let content = Content::parse(
            "text",
            r#"{"type":"text","text":"a","text":"b","markdown":true,"metadata":{"x":1},"workflow":{ },"lang" : "en"}"#,
        );
        assert_eq!(content.body, Body::Text("b".into()));
        assert_eq!(content.extras.as_deref(), Some(r#"{"text":"a","lang":"en"}"#));
    }

    #[test]
    fn v12_choices_and_buttons_are_understood() {
        let Body::Choice(choice) = body("single-choice", r#"{"text":"q","choices":[{"title":"A","value":"a1"}]}"#)
        else {
            panic!()
        };
        assert_eq!(choice.options, [Opt { label: "A".into(), value: "a1".into() }]);
        let Body::Card(card) =
            body("card", r#"{"title":"t","actions":[{"action":"Postback","title":"B","payload":"p"}]}"#)
        else {
            panic!()
        };
        assert_eq!(card.actions[0].value.as_deref(), Some("p"));
    }

    #[test]
    fn answers_come_value_first() {
        assert_eq!(answers(r#"{"text":"Yes","payload":"YES"}"#), ["YES", "Yes"]);
        assert_eq!(answers(r#"{"text":"Yes","payload":{"value":1}}"#), ["1", "Yes"]);
        assert!(answers(r#"[1]"#).is_empty());
    }

    #[test]
    fn deep_blocs_end_in_json() {
        let mut payload = r#"{"text":"deep"}"#.to_owned();
        let mut kind = "text";
        for _ in 0..200 {
            payload = format!(r#"{{"items":[{{"type":"{kind}","payload":{payload}}}]}}"#);
            kind = "bloc";
        }
        let mut content = Content::parse("bloc", &payload);
        while let Body::Bloc(mut items) = content.body {
            content = items.remove(0);
        }
        let Body::Other { json, .. } = content.body else { panic!() };
        assert!(json.contains(r#"{"text":"deep"}"#));
    }
}
