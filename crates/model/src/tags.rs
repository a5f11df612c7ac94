//! Tags: short named texts on conversations, users, messages and workflows.
//!
//! A stored key carries its owner as the bot sees it: `topic` is the bot's, `slack:id` belongs to
//! the integration instance with alias `slack`, `hitl#id` to a plugin instance. The bot's view is
//! therefore the stored one; an integration's view strips its own prefix and hides the rest
//! (`spec/cloud/auth-and-identity.md` § 5.2).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Error, identity::View};

/// Most tags an entity may carry.
pub const MAX_TAGS: usize = 50;
/// Most characters in a tag's value.
pub const MAX_VALUE: usize = 500;

/// Tags by key, in key order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tags(pub BTreeMap<String, String>);

/// Tags as a request gives them: `null` and `""` mean "no such tag".
pub type TagPatch = BTreeMap<String, Option<String>>;

impl Tags {
    /// Parses what [`Tags::text`] wrote.
    pub fn stored(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// The JSON text.
    pub fn text(&self) -> String {
        serde_json::to_string(&self.0).unwrap_or_else(|_| "{}".into())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tags for a new entity: keys made stored keys, empty values dropped, limits checked.
    pub fn create(patch: &TagPatch, view: &View) -> Result<Self, Error> {
        let mut tags = Tags::default();
        tags.merge(patch, view)?;
        Ok(tags)
    }

    /// Sets the listed keys, removes those given as `null` or `""`, keeps the others
    /// (`spec/cloud/runtime.md` § 9).
    pub fn merge(&mut self, patch: &TagPatch, view: &View) -> Result<(), Error> {
        for (key, value) in patch {
            let key = view.stored_key(key);
            match value.as_deref() {
                None | Some("") => {
                    self.0.remove(&key);
                }
                Some(value) => {
                    check_tag(&key, value)?;
                    self.0.insert(key, value.to_owned());
                }
            }
        }
        if self.0.len() > MAX_TAGS {
            return Err(Error::invalid_payload(format!(
                "an entity has at most {MAX_TAGS} tags, these would be {}",
                self.0.len()
            )));
        }
        Ok(())
    }

    /// These tags as `view` names them.
    pub fn seen_by(&self, view: &View) -> Tags {
        match view {
            View::Bot => self.clone(),
            View::Integration { alias, .. } => Tags(
                self.0
                    .iter()
                    .filter_map(|(key, value)| Some((own_name(key, alias)?.to_owned(), value.clone())))
                    .collect(),
            ),
        }
    }
}

/// The bare name of `key`, if it belongs to the instance `alias`.
fn own_name<'k>(key: &'k str, alias: &str) -> Option<&'k str> {
    key.strip_prefix(alias)?.strip_prefix(':')
}

fn check_tag(key: &str, value: &str) -> Result<(), Error> {
    if key.is_empty() || key.chars().count() > 200 || key.contains('\0') {
        return Err(Error::invalid_payload("a tag's key has 1 to 200 characters and no NUL"));
    }
    if value.contains('\0') {
        return Err(Error::invalid_payload(format!("the value of tag \"{key}\" contains a NUL character")));
    }
    let length = value.chars().count();
    if length > MAX_VALUE {
        return Err(Error::invalid_payload(format!(
            "the value of tag \"{key}\" has {length} characters, at most {MAX_VALUE} are allowed"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slack() -> View {
        View::Integration { alias: "slack".into(), name: "acme/slack".into(), id: "intver_1".into() }
    }

    fn patch(pairs: &[(&str, Option<&str>)]) -> TagPatch {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), v.map(str::to_owned))).collect()
    }

    #[test]
    fn an_integration_sees_its_own_tags_bare_and_no_others() {
        let mut tags = Tags::create(
            &patch(&[("id", Some("U1")), ("slack:team", Some("T")), ("acme/slack:x", Some("1"))]),
            &slack(),
        )
        .unwrap();
        tags.merge(&patch(&[("topic", Some("sales")), ("hitl#a", Some("b"))]), &View::Bot).unwrap();
        assert_eq!(tags.text(), r##"{"hitl#a":"b","slack:id":"U1","slack:team":"T","slack:x":"1","topic":"sales"}"##);
        assert_eq!(tags.seen_by(&slack()).text(), r#"{"id":"U1","team":"T","x":"1"}"#);
    }

    #[test]
    fn merge_sets_keeps_and_removes() {
        let mut tags =
            Tags::create(&patch(&[("a", Some("1")), ("b", Some("2")), ("c", Some(""))]), &View::Bot).unwrap();
        tags.merge(&patch(&[("a", None), ("d", Some("4"))]), &View::Bot).unwrap();
        assert_eq!(tags.text(), r#"{"b":"2","d":"4"}"#);
    }

    #[test]
    fn limits_are_refused() {
        let long = "x".repeat(501);
        assert!(Tags::create(&patch(&[("a", Some(&long))]), &View::Bot).is_err());
        let many: TagPatch = (0..51).map(|i| (format!("k{i}"), Some("v".into()))).collect();
        assert!(Tags::create(&many, &View::Bot).is_err());
        assert!(Tags::create(&patch(&[("a", Some("x\0"))]), &View::Bot).is_err());
    }

    proptest! {
        /// Merging patches one by one equals merging them as one, later keys winning.
        #[test]
        fn merges_compose(patches in proptest::collection::vec(
            proptest::collection::btree_map("[a-e]", proptest::option::of("[x-z]{0,2}"), 0..5), 0..6)) {
            let mut stepwise = Tags::default();
            let mut all = TagPatch::new();
            for patch in &patches {
                stepwise.merge(patch, &View::Bot).unwrap();
                all.extend(patch.clone());
            }
            prop_assert_eq!(stepwise, Tags::create(&all, &View::Bot).unwrap());
        }
    }
}
