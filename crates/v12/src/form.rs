//! Forms with nested names: `a[b]=c`, `a[]=b`, `a[0]=b`, repeated names.

use indexmap::IndexMap;
use percent_encoding::percent_decode_str;

use crate::{
    answer::ApiError,
    json::{DEEPEST, Json, Object, indexes_first},
};

/// More fields than this are refused.
const MOST_FIELDS: usize = 1000;

/// Indexes beyond this make an object, not an array.
const LARGEST_INDEX: usize = 1000;

/// The object that a form describes.
///
/// # Errors
/// 413 `parameters.too.many`.
pub(crate) fn parse(text: &str) -> Result<Json, ApiError> {
    if text.split('&').count() > MOST_FIELDS {
        return Err(ApiError::plain(413, "parameters.too.many", "too many parameters"));
    }
    let mut root = Node::Object(IndexMap::new());
    for field in text.split('&').filter(|field| !field.is_empty()) {
        let (name, value) = split(field);
        let path = steps(&decode(name));
        if path.first().is_some_and(|first| !matches!(first, Step::Name(name) if name == "__proto__")) {
            root = root.with(&path, decode(value));
        }
    }
    Ok(root.finish())
}

/// A field's name and value. An equals sign within brackets belongs to the name.
fn split(field: &str) -> (&str, &str) {
    let Some(plain) = field.find('=') else { return (field, "") };
    let bracketed = field.find("]=").filter(|_| decode(&field[..plain]).contains('[')).map(|at| at + 1);
    let at = bracketed.unwrap_or(plain);
    (&field[..at], &field[at + 1..])
}

fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Name(String),
    Index(usize),
    /// `[]`
    Next,
}

/// `a[b][0][]` as steps. What stands between brackets' pairs is ignored.
fn steps(name: &str) -> Vec<Step> {
    let mut found = Vec::new();
    let mut rest = name;
    let mut parent = name;
    while let Some((start, end)) = bracket(rest) {
        if found.is_empty() {
            parent = &name[..start];
        }
        let inner = &rest[start + 1..end];
        found.push(match inner.parse::<usize>() {
            _ if inner.is_empty() => Step::Next,
            Ok(index) if index <= LARGEST_INDEX && index.to_string() == inner => Step::Index(index),
            _ => Step::Name(inner.to_owned()),
        });
        rest = &rest[end + 1..];
        if found.len() == DEEPEST - 1 {
            break;
        }
    }
    if !parent.is_empty() {
        found.insert(0, Step::Name(parent.to_owned()));
    }
    found
}

/// The first pair of brackets with no bracket within.
fn bracket(text: &str) -> Option<(usize, usize)> {
    let end = text.match_indices(']').find(|(end, _)| text[..*end].contains('['))?.0;
    Some((text[..end].rfind('[')?, end))
}

enum Node {
    Leaf(String),
    Array(Vec<(usize, Node)>),
    Object(IndexMap<String, Node>),
}

impl Node {
    fn new(path: &[Step], value: String) -> Node {
        match path.split_first() {
            None => Node::Leaf(value),
            Some((Step::Next, rest)) => Node::Array(vec![(0, Node::new(rest, value))]),
            Some((Step::Index(index), rest)) => Node::Array(vec![(*index, Node::new(rest, value))]),
            Some((Step::Name(name), rest)) => Node::Object(IndexMap::from([(name.clone(), Node::new(rest, value))])),
        }
    }

    /// This and one value more.
    fn with(self, path: &[Step], value: String) -> Node {
        match (self, path.split_first()) {
            (Node::Array(mut items), None) => {
                push(&mut items, Node::Leaf(value));
                Node::Array(items)
            }
            (Node::Array(mut items), Some((Step::Next, []))) => {
                push(&mut items, Node::Leaf(value));
                Node::Array(items)
            }
            // Objects in arrays without indexes gather their members.
            (Node::Array(items), Some((Step::Next, rest))) => at(items, 0, rest, value),
            (Node::Array(items), Some((Step::Index(index), rest))) => at(items, *index, rest, value),
            (Node::Array(items), Some((Step::Name(_), _))) => {
                let members = items.into_iter().map(|(index, item)| (index.to_string(), item)).collect();
                Node::Object(members).with(path, value)
            }
            (Node::Object(mut members), None) => {
                members.insert(value, Node::Leaf("true".to_owned()));
                Node::Object(members)
            }
            (Node::Object(mut members), Some((step, rest))) => {
                let name = match step {
                    Step::Name(name) => name.clone(),
                    Step::Index(index) => index.to_string(),
                    Step::Next => members.len().to_string(),
                };
                let node = match members.shift_remove_full(&name) {
                    Some((place, _, node)) => {
                        let node = node.with(rest, value);
                        members.shift_insert(place, name, node);
                        return Node::Object(members);
                    }
                    None => Node::new(rest, value),
                };
                members.insert(name, node);
                Node::Object(members)
            }
            (leaf @ Node::Leaf(_), _) => {
                let next = match Node::new(path, value) {
                    Node::Array(items) => items.into_iter().map(|(_, item)| item).collect(),
                    other => vec![other],
                };
                Node::Array(std::iter::once(leaf).chain(next).enumerate().collect())
            }
        }
    }

    fn finish(self) -> Json {
        match self {
            Node::Leaf(text) => Json::String(text),
            Node::Array(mut items) => {
                items.sort_by_key(|(index, _)| *index);
                Json::Array(items.into_iter().map(|(_, item)| item.finish()).collect())
            }
            Node::Object(members) => {
                let mut members: Object = members.into_iter().map(|(name, node)| (name, node.finish())).collect();
                indexes_first(&mut members);
                Json::Object(members)
            }
        }
    }
}

fn push(items: &mut Vec<(usize, Node)>, item: Node) {
    let next = items.iter().map(|(index, _)| index + 1).max().unwrap_or(0);
    items.push((next, item));
}

/// Adds below an index of an array.
fn at(mut items: Vec<(usize, Node)>, index: usize, rest: &[Step], value: String) -> Node {
    match items.iter().position(|(there, _)| *there == index) {
        None => items.push((index, Node::new(rest, value))),
        Some(place) => {
            let (_, node) = items.remove(place);
            items.insert(place, (index, node.with(rest, value)));
        }
    }
    Node::Array(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_nest() {
        for (form, expected) in [
            (
                "type=text&text=ping&includedContexts[]=a&metadata[k]=v",
                r#"{"type":"text","text":"ping","includedContexts":["a"],"metadata":{"k":"v"}}"#,
            ),
            ("a=1&a=2&b&c=", r#"{"a":["1","2"],"b":"","c":""}"#),
            ("a%5Bb%5D%5Bc%5D=x+y%21&a[b][d]=%C3%A9", r#"{"a":{"b":{"c":"x y!","d":"é"}}}"#),
            ("a[1]=x&a[0]=y", r#"{"a":["y","x"]}"#),
            ("a[0]=x&a[k]=y", r#"{"a":{"0":"x","k":"y"}}"#),
            ("a[99999]=x", r#"{"a":{"99999":"x"}}"#),
            ("a[][b]=1&a[][c]=2", r#"{"a":[{"b":"1","c":"2"}]}"#),
            ("a=1&a[b]=2", r#"{"a":["1",{"b":"2"}]}"#),
            ("a[b=1&a]b=2", r#"{"a[b":"1","a]b":"2"}"#),
            ("[x]=1", r#"{"x":"1"}"#),
            ("q=%zz&__proto__[x]=1", r#"{"q":"%zz"}"#),
            ("text=a]=b&a%5Bk%5D=v", r#"{"text":"a]=b","a":{"k":"v"}}"#),
            ("a[b=c]=d", r#"{"a":{"b=c":"d"}}"#),
        ] {
            assert_eq!(parse(form).unwrap().to_string(), expected, "{form}");
        }
    }

    #[test]
    fn forms_are_bounded() {
        assert_eq!(parse(&"a&".repeat(1001)).unwrap_err().status, 413);
        parse(&format!("a{}=1", "[b]".repeat(100_000))).unwrap();
    }

    proptest::proptest! {
        #[test]
        fn never_panics(form in "[a-c\\[\\]=&0-9%+]{0,40}") {
            let _ = parse(&form);
        }
    }
}
