//! Which values a tag has (`spec/cloud/runtime.md` § 9).

use serde::Deserialize;

use crate::{Client, List};

/// What carries tags whose values can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taggable {
    /// Users.
    User,
    /// Conversations.
    Conversation,
    /// Messages.
    Message,
}

/// One value of a tag.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct TagValue {
    /// The text.
    pub value: String,
}

impl Client {
    /// The distinct values of a tag, ascending.
    pub fn list_tag_values(&self, of: Taggable, key: &str) -> List<TagValue> {
        let kind = match of {
            Taggable::User => "user",
            Taggable::Conversation => "conversation",
            Taggable::Message => "message",
        };
        self.list(&["v1", "chat", "tags", key, "values"], "tags").query("type", kind)
    }
}
