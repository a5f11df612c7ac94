//! Content types and elements (`content.md`).

use std::sync::Arc;

use super::Script;
use crate::{
    template::TemplateValue,
    value::{Object, Text, Value},
};

/// A content type: which properties it has and how it is rendered.
#[derive(Clone, Debug)]
pub struct ContentType {
    /// Its id, as elements' files are called.
    pub id: Text,
    /// What renders it.
    pub renderer: Renderer,
}

/// What renders a content type.
#[derive(Clone, Debug)]
pub enum Renderer {
    /// One payload of this `type`, members in the order of the schema.
    Builtin {
        /// The payload's `type`; `None` renders to nothing.
        payload: Option<&'static str>,
        /// The schema's properties in order.
        properties: &'static [&'static str],
    },
    /// A module of the server's `content-types` folder.
    Script {
        /// The module.
        script: Arc<Script>,
        /// The schema's properties in order, if the operator's side supplied them. Without them, the
        /// properties of an element are those that its own data names.
        properties: Option<Vec<Text>>,
    },
}

/// The builtin content types (`content.md` § 5): id, payload type, properties in schema order.
const BUILTIN: &[(&str, Option<&str>, &[&str])] = &[
    ("builtin_text", Some("text"), &["text", "variations", "markdown", "typing"]),
    (
        "builtin_single-choice",
        Some("single-choice"),
        &[
            "text",
            "isDropdown",
            "dropdownPlaceholder",
            "choices",
            "markdown",
            "disableFreeText",
            "displayInMessage",
            "typing",
        ],
    ),
    (
        "dropdown",
        Some("dropdown"),
        &[
            "message",
            "buttonText",
            "placeholderText",
            "options",
            "width",
            "displayInKeyboard",
            "allowCreation",
            "allowMultiple",
            "markdown",
            "typing",
        ],
    ),
    ("builtin_image", Some("image"), &["image", "title", "typing"]),
    ("builtin_audio", Some("audio"), &["audio", "title", "typing"]),
    ("builtin_video", Some("video"), &["video", "title", "typing"]),
    ("builtin_file", Some("file"), &["file", "title", "typing"]),
    ("builtin_location", Some("location"), &["latitude", "longitude", "address", "title", "typing"]),
    ("builtin_card", Some("card"), &["title", "subtitle", "image", "actions", "markdown"]),
    ("builtin_carousel", Some("carousel"), &["items", "typing"]),
    ("builtin_action-button", None, &["title", "action", "text", "url", "payload"]),
];

/// The builtin content types.
pub fn builtin() -> impl Iterator<Item = ContentType> {
    BUILTIN.iter().map(|&(id, payload, properties)| ContentType {
        id: id.into(),
        renderer: Renderer::Builtin { payload, properties },
    })
}

/// A stored content element.
#[derive(Clone, Debug)]
pub struct Element {
    /// Its id.
    pub id: Text,
    /// The content type's id: the name of its file.
    pub content_type: Text,
    /// The stored data, every text a parsed template.
    pub templates: TemplateValue,
}

impl Element {
    /// The stored data, as written.
    pub fn form(&self) -> Value {
        self.templates.raw()
    }
}

impl ContentType {
    /// The properties of an element of this type, in order.
    pub fn properties(&self, form: &TemplateValue) -> Vec<Text> {
        match &self.renderer {
            Renderer::Builtin { properties, .. } => properties.iter().map(|&name| name.into()).collect(),
            Renderer::Script { properties: Some(properties), .. } => properties.clone(),
            Renderer::Script { properties: None, .. } => {
                let mut names: Vec<Text> = Vec::new();
                let form = form.raw();
                for (key, _) in form.as_object().map(Object::iter).into_iter().flatten() {
                    let name: Text = key.split_once('$').map_or(&**key, |(name, _)| name).into();
                    if !names.contains(&name) {
                        names.push(name);
                    }
                }
                names
            }
        }
    }
}

/// The value of property `name` in the user's language, else the bot's (`content.md` § 3). Falsy values
/// count as missing.
pub fn localized<'a>(
    form: &'a TemplateValue,
    name: &str,
    language: Option<&str>,
    default: &str,
) -> Option<std::borrow::Cow<'a, TemplateValue>> {
    let languages = || language.into_iter().chain([default]);
    let suffixed = languages().filter_map(|language| form.get(&format!("{name}${language}")));
    let suffixed = suffixed.into_iter().find(|value| value.truthy());
    suffixed.or_else(|| {
        let nested = form.get(name)?.into_owned();
        let found = languages().filter_map(|language| nested.get(language)).find(|value| value.truthy());
        found.map(|value| std::borrow::Cow::Owned(value.into_owned()))
    })
}
