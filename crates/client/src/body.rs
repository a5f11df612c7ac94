//! How request bodies and their arguments are written down: ids, optional members, tags.

use std::borrow::Cow;

use duologue_model::id::Id;
use serde::{Serialize, Serializer};

/// An id of a `K`, or text that is taken for one: `&str`, `String`, `Id<K>` and references to them.
/// The id of another kind is refused by the compiler.
pub trait AsId<K>: Send {
    /// The text.
    fn as_id(&self) -> &str;
}

/// Implements [`AsId`] where `as_str`-like access is all it takes.
macro_rules! as_id {
    ($($type:ty),*) => {$(
        impl<K> AsId<K> for $type {
            fn as_id(&self) -> &str {
                self
            }
        }
    )*};
}
as_id!(&str, String, &String, Cow<'_, str>);

impl<K> AsId<K> for Id<K> {
    fn as_id(&self) -> &str {
        self.as_str()
    }
}

impl<K> AsId<K> for &Id<K> {
    fn as_id(&self) -> &str {
        self.as_str()
    }
}

/// The [`Id`] with this text.
pub(crate) fn id<K>(text: impl AsId<K>) -> Id<K> {
    Id::new(text.as_id())
}

/// A value to set, or `null` to clear what is set: `name("Ada")`, `name(None)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Nullable<T>(pub Option<T>);

impl<T> From<Option<T>> for Nullable<T> {
    fn from(value: Option<T>) -> Self {
        Nullable(value)
    }
}

impl From<&str> for Nullable<String> {
    fn from(value: &str) -> Self {
        Nullable(Some(value.to_owned()))
    }
}

impl From<String> for Nullable<String> {
    fn from(value: String) -> Self {
        Nullable(Some(value))
    }
}

impl<T: Serialize> Serialize for Nullable<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// Defines a request body: members that are always sent, members that are sent once set, and
/// members of free JSON that are sent once set. The setters of the latter two carry their docs.
/// `of` takes what is always sent; each body's own `new` begins with it.
macro_rules! body {
    ($(#[$doc:meta])* $name:ident {
        always { $($(#[$attr:meta])* $field:ident: $type:ty,)* }
        $(optional { $($(#[$odoc:meta])* $option:ident: $otype:ty,)* })?
        $(optional_json { $($(#[$jdoc:meta])* $json:ident,)* })?
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, serde::Serialize)]
        #[serde(rename_all = "camelCase")]
        #[must_use]
        pub struct $name {
            $($(#[$attr])* $field: $type,)*
            $($(#[serde(skip_serializing_if = "Option::is_none")] $option: Option<$otype>,)*)?
            $($(#[serde(skip_serializing_if = "Option::is_none")] $json: Option<duologue_model::Json>,)*)?
        }

        impl $name {
            #[allow(clippy::too_many_arguments)]
            fn of($($field: $type),*) -> Self {
                $name { $($field,)* $($($option: None,)*)? $($($json: None,)*)? }
            }
            $($(
                $(#[$odoc])*
                pub fn $option(mut self, value: impl Into<$otype>) -> Self {
                    self.$option = Some(value.into());
                    self
                }
            )*)?
            $($(
                $(#[$jdoc])*
                pub fn $json(mut self, value: impl serde::Serialize) -> Self {
                    self.$json = Some(duologue_model::Json::of(&value));
                    self
                }
            )*)?
        }
    };
}

/// Setters for a member `tags` that is a patch: some also take tags away, some are compared by tag.
macro_rules! tags {
    ($($name:ident)*) => {$(
        impl $name {
            /// Sets a tag. Keys are named as the caller sees them: `slack:id` for a bot, `id` for
            /// the integration itself. Values have at most 500 characters.
            pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
                self.tags.insert(key.into(), Some(value.into()));
                self
            }

            /// Sets several tags.
            pub fn tags<K: Into<String>, V: Into<String>>(mut self, tags: impl IntoIterator<Item = (K, V)>) -> Self {
                self.tags.extend(tags.into_iter().map(|(key, value)| (key.into(), Some(value.into()))));
                self
            }
        }
    )*};
    (removable: $($name:ident)*) => {$(
        $crate::body::tags!($name);
        impl $name {
            /// Takes a tag away.
            pub fn remove_tag(mut self, key: impl Into<String>) -> Self {
                self.tags.insert(key.into(), None);
                self
            }
        }
    )*};
    (discriminating: $($name:ident)*) => {$(
        $crate::body::tags!($name);
        impl $name {
            /// Compares by these tags only. Without it all tags must be equal to match.
            pub fn discriminate_by<K: Into<String>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
                self.discriminate_by_tags.extend(keys.into_iter().map(Into::into));
                self
            }
        }
    )*};
}

pub(crate) use {body, tags};

#[cfg(test)]
mod tests {
    use duologue_model::id::{ConversationId, kind};

    use super::*;

    #[test]
    fn text_and_ids_of_the_right_kind_are_ids() {
        fn text(id: impl AsId<kind::Conversation>) -> String {
            id.as_id().to_owned()
        }
        let id = ConversationId::new("conv_1");
        assert_eq!([text("conv_1"), text("conv_1".to_owned()), text(&id), text(id.clone())], ["conv_1"; 4]);
    }
}
