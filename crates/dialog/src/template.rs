//! Templates: Mustache as the original rendered it (`flows.md` § 11).
//!
//! A text is parsed once, when its bot is loaded, and rendered in **one pass**. The original rendered up to
//! three times, so that a user who typed `{{session.secret}}` had it evaluated (recording 10). Here what a
//! tag inserts is text and stays text: a deliberate difference, and with it the repetition goes, because
//! nothing but inserted values made it do anything. The other rules are the original's: the escape table,
//! indexes by dot, `{{arr[0]}}` empty, partials empty, and the guard that leaves a text alone whose first
//! `}}` stands before its first `{{`.
//!
//! Rendering never fails. A text can only be wrong when it is parsed: an unclosed tag or section.

use std::{borrow::Cow, fmt::Write};

use crate::{
    js,
    value::{Object, Text, Value},
};

/// How many tags and pieces of text one rendering may visit. Nested lists multiply; beyond this the rest
/// is left out.
const MAX_STEPS: usize = 200_000;
/// How many bytes one rendering may give. Beyond this the rest is left out.
const MAX_OUTPUT: usize = 1 << 20;
/// How deep sections may nest.
const MAX_NESTING: usize = 64;

/// Why a text isn't a template. Using it is an engine error (`flows.md` § 7b).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A tag isn't closed.
    #[error("unclosed tag at {at}")]
    UnclosedTag {
        /// Byte offset in the text.
        at: usize,
    },
    /// A section isn't closed.
    #[error("unclosed section \"{name}\"")]
    UnclosedSection {
        /// Its name.
        name: String,
    },
    /// A section is closed that isn't the innermost open one.
    #[error("unopened section \"{name}\" at {at}")]
    UnopenedSection {
        /// The closing tag's name.
        name: String,
        /// Byte offset in the text.
        at: usize,
    },
    /// `{{=…=}}` doesn't name two delimiters.
    #[error("invalid delimiters at {at}")]
    Delimiters {
        /// Byte offset in the text.
        at: usize,
    },
    /// Sections nest too deeply.
    #[error("sections nest deeper than 64")]
    TooDeep,
}

/// A parsed text.
#[derive(Clone, Debug)]
pub struct Template {
    source: Text,
    /// `None`: there is nothing to render.
    parts: Option<Vec<Part>>,
}

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Variable { name: Name, escape: bool },
    Section { name: Name, inverted: bool, inner: Vec<Part> },
}

#[derive(Clone, Debug)]
struct Name(Vec<Box<str>>);

impl Name {
    fn new(name: &str) -> Self {
        if name == "." { Name(Vec::new()) } else { Name(name.split('.').map(Into::into).collect()) }
    }
}

/// What names in a template mean: the named values first, then the members of `own`.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// An instruction's or action's own arguments.
    pub own: Option<&'a Object>,
    /// `event`, `user`, …
    pub named: &'a [(&'static str, &'a Value)],
}

impl Template {
    /// Parses a text.
    ///
    /// # Errors
    /// Unclosed tags and sections. A text that the guard leaves alone is never wrong.
    pub fn parse(source: impl Into<Text>) -> Result<Template, TemplateError> {
        let source = source.into();
        let guarded = match (source.find("{{"), source.find("}}")) {
            (Some(open), Some(close)) => open < close,
            _ => false,
        };
        let parts = if guarded { Some(Parser::new(&source).parse()?) } else { None };
        Ok(Template { source, parts })
    }

    /// Whether rendering gives anything but the text itself.
    pub fn is_static(&self) -> bool {
        self.parts.is_none()
    }

    /// The text as it was written.
    pub fn source(&self) -> &Text {
        &self.source
    }

    /// The text with its tags replaced.
    pub fn render(&self, scope: Scope<'_>) -> Text {
        let Some(parts) = &self.parts else { return self.source.clone() };
        let mut renderer = Renderer { scope, stack: Vec::new(), out: String::new(), steps: 0 };
        renderer.parts(parts);
        renderer.out.into()
    }
}

/// A value of which every text is a template (`flows.md` § 11, last paragraph).
#[derive(Clone, Debug)]
pub enum TemplateValue {
    /// No text in it is a template.
    Static(Value),
    /// A text.
    Text(Template),
    /// A text that isn't a template; using it is an engine error.
    Broken(Text, TemplateError),
    /// A list.
    Array(Vec<TemplateValue>),
    /// An object.
    Object(Vec<(Text, TemplateValue)>),
}

impl TemplateValue {
    /// Parses every text in `value`, deeply.
    pub fn new(value: &Value) -> TemplateValue {
        match value {
            Value::String(text) => match Template::parse(text.clone()) {
                Ok(template) if template.is_static() => TemplateValue::Static(value.clone()),
                Ok(template) => TemplateValue::Text(template),
                Err(error) => TemplateValue::Broken(text.clone(), error),
            },
            Value::Array(items) => {
                let items: Vec<_> = items.iter().map(TemplateValue::new).collect();
                let fixed = items.iter().all(TemplateValue::is_static);
                if fixed { TemplateValue::Static(value.clone()) } else { TemplateValue::Array(items) }
            }
            Value::Object(object) => {
                let members: Vec<_> = object.iter().map(|(name, v)| (name.clone(), TemplateValue::new(v))).collect();
                let fixed = members.iter().all(|(_, member)| member.is_static());
                if fixed { TemplateValue::Static(value.clone()) } else { TemplateValue::Object(members) }
            }
            other => TemplateValue::Static(other.clone()),
        }
    }

    fn is_static(&self) -> bool {
        matches!(self, TemplateValue::Static(_))
    }

    /// JavaScript's truthiness of the value as it was written.
    pub fn truthy(&self) -> bool {
        match self {
            TemplateValue::Static(value) => value.truthy(),
            TemplateValue::Text(_) | TemplateValue::Array(_) | TemplateValue::Object(_) => true,
            TemplateValue::Broken(text, _) => !text.is_empty(),
        }
    }

    /// The member `name`, if this is an object that has it.
    pub fn get(&self, name: &str) -> Option<Cow<'_, TemplateValue>> {
        match self {
            TemplateValue::Object(members) => {
                members.iter().find(|(key, _)| &**key == name).map(|(_, value)| Cow::Borrowed(value))
            }
            TemplateValue::Static(Value::Object(object)) => {
                object.get(name).map(|value| Cow::Owned(TemplateValue::Static(value.clone())))
            }
            _ => None,
        }
    }

    /// The value as it was written.
    pub fn raw(&self) -> Value {
        match self {
            TemplateValue::Static(value) => value.clone(),
            TemplateValue::Text(template) => Value::String(template.source().clone()),
            TemplateValue::Broken(text, _) => Value::String(text.clone()),
            TemplateValue::Array(items) => Value::Array(items.iter().map(TemplateValue::raw).collect()),
            TemplateValue::Object(members) => {
                members.iter().map(|(name, value)| (name.clone(), value.raw())).collect::<Object>().into()
            }
        }
    }

    /// The value with every text rendered.
    ///
    /// # Errors
    /// If one of its texts isn't a template.
    pub fn render(&self, scope: Scope<'_>) -> Result<Value, TemplateError> {
        Ok(match self {
            TemplateValue::Static(value) => value.clone(),
            TemplateValue::Text(template) => Value::String(template.render(scope)),
            TemplateValue::Broken(_, error) => return Err(error.clone()),
            TemplateValue::Array(items) => {
                Value::Array(items.iter().map(|item| item.render(scope)).collect::<Result<_, _>>()?)
            }
            TemplateValue::Object(members) => {
                let mut object = Object::new();
                for (name, value) in members {
                    object.set(name.clone(), value.render(scope)?);
                }
                object.into()
            }
        })
    }
}

struct Renderer<'a> {
    scope: Scope<'a>,
    stack: Vec<Cow<'a, Value>>,
    out: String,
    steps: usize,
}

impl<'a> Renderer<'a> {
    fn parts(&mut self, parts: &[Part]) {
        for part in parts {
            self.steps += 1;
            if self.steps > MAX_STEPS || self.out.len() > MAX_OUTPUT {
                return;
            }
            match part {
                Part::Text(text) => self.out.push_str(text),
                Part::Variable { name, escape } => {
                    let value = self.lookup(name);
                    self.insert(&value, *escape);
                }
                Part::Section { name, inverted, inner } => self.section(name, *inverted, inner),
            }
        }
    }

    fn insert(&mut self, value: &Value, escape: bool) {
        match value {
            Value::Undefined | Value::Null => {}
            Value::String(text) if escape => escape_into(text, &mut self.out),
            Value::String(text) => self.out.push_str(text),
            other if escape && !matches!(other, Value::Number(_)) => escape_into(&js::display(other), &mut self.out),
            other => self.out.push_str(&js::display(other)),
        }
    }

    fn section(&mut self, name: &Name, inverted: bool, inner: &[Part]) {
        let value = self.lookup(name);
        let empty = matches!(&*value, Value::Array(items) if items.is_empty());
        if inverted {
            if !value.truthy() || empty {
                self.parts(inner);
            }
            return;
        }
        if !value.truthy() || empty {
            return;
        }
        match value {
            Cow::Borrowed(Value::Array(items)) => {
                for item in items {
                    self.within(Cow::Borrowed(item), inner);
                }
            }
            Cow::Owned(Value::Array(items)) => {
                for item in items {
                    self.within(Cow::Owned(item), inner);
                }
            }
            value if matches!(&*value, Value::Bool(_)) => self.parts(inner),
            value => self.within(value, inner),
        }
    }

    fn within(&mut self, context: Cow<'a, Value>, inner: &[Part]) {
        self.stack.push(context);
        self.parts(inner);
        self.stack.pop();
    }

    fn lookup(&self, name: &Name) -> Cow<'a, Value> {
        let Some((first, rest)) = name.0.split_first() else {
            return self.stack.last().cloned().unwrap_or_else(|| Cow::Owned(Value::object()));
        };
        for context in self.stack.iter().rev() {
            let hit = match context {
                Cow::Borrowed(value) => walk(value, &name.0),
                Cow::Owned(value) => walk(value, &name.0).map(|found| Cow::Owned(found.into_owned())),
            };
            if let Some(found) = hit {
                // A lone name isn't looked for in texts and numbers.
                if !rest.is_empty() || matches!(&**context, Value::Object(_) | Value::Array(_)) {
                    return found;
                }
            }
        }
        let named = self.scope.named.iter().find(|(key, _)| *key == &**first).map(|(_, value)| *value);
        let own = || self.scope.own.and_then(|own| own.get(first));
        let Some(root) = named.or_else(own) else { return Cow::Owned(Value::Undefined) };
        if rest.is_empty() { Cow::Borrowed(root) } else { walk(root, rest).unwrap_or(Cow::Owned(Value::Undefined)) }
    }
}

/// The value at `path` below `value`; `None` if the last name isn't a member.
fn walk<'a>(value: &'a Value, path: &[Box<str>]) -> Option<Cow<'a, Value>> {
    let mut value = value;
    for (at, name) in path.iter().enumerate() {
        let last = at + 1 == path.len();
        value = match value {
            Value::Object(object) if last && !object.has(name) => return None,
            Value::Object(object) => object.get(name)?,
            Value::Array(items) if last && &**name == "length" => {
                return Some(Cow::Owned(Value::Number(items.len() as f64)));
            }
            Value::Array(items) => items.get(name.parse::<usize>().ok()?)?,
            Value::String(text) if last && &**name == "length" => {
                return Some(Cow::Owned(Value::Number(js::length(text) as f64)));
            }
            _ => return None,
        };
    }
    Some(Cow::Borrowed(value))
}

fn escape_into(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '/' => out.push_str("&#x2F;"),
            '`' => out.push_str("&#x60;"),
            '=' => out.push_str("&#x3D;"),
            other => out.push(other),
        }
    }
}

/// One line's bookkeeping: a line that holds nothing but white space and tags without output is dropped.
#[derive(Default)]
struct Line {
    /// Places of white space in the list being built, as (depth, index).
    spaces: Vec<(usize, usize)>,
    has_tag: bool,
    has_content: bool,
}

struct Parser<'a> {
    source: &'a str,
    at: usize,
    open: String,
    close: String,
    /// The lists of the open sections, outermost first, with what opened them.
    lists: Vec<Vec<Part>>,
    sections: Vec<(String, bool)>,
    line: Line,
}

impl<'a> Parser<'a> {
    fn new(source: &'a str) -> Self {
        Parser {
            source,
            at: 0,
            open: "{{".to_owned(),
            close: "}}".to_owned(),
            lists: vec![Vec::new()],
            sections: Vec::new(),
            line: Line::default(),
        }
    }

    fn parse(mut self) -> Result<Vec<Part>, TemplateError> {
        while self.at < self.source.len() {
            let rest = &self.source[self.at..];
            let text = rest.find(&self.open).map_or(rest, |end| &rest[..end]);
            self.text(text);
            self.at += text.len();
            if self.at < self.source.len() {
                self.tag()?;
            }
        }
        self.end_line();
        if let Some((name, _)) = self.sections.pop() {
            return Err(TemplateError::UnclosedSection { name });
        }
        Ok(self.lists.pop().map(join).unwrap_or_default())
    }

    fn push(&mut self, part: Part) {
        if let Some(list) = self.lists.last_mut() {
            list.push(part);
        }
    }

    fn text(&mut self, text: &str) {
        let mut run = String::new();
        for c in text.chars() {
            if js::is_space(c) {
                if !run.is_empty() {
                    self.push(Part::Text(std::mem::take(&mut run)));
                }
                let list = self.lists.len() - 1;
                self.line.spaces.push((list, self.lists[list].len()));
                self.push(Part::Text(c.to_string()));
            } else {
                self.line.has_content = true;
                run.push(c);
            }
            if c == '\n' {
                self.end_line();
            }
        }
        if !run.is_empty() {
            self.push(Part::Text(run));
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if line.has_tag && !line.has_content {
            for (list, index) in line.spaces {
                if let Some(part) = self.lists.get_mut(list).and_then(|list| list.get_mut(index)) {
                    *part = Part::Text(String::new());
                }
            }
        }
    }

    fn tag(&mut self) -> Result<(), TemplateError> {
        let start = self.at;
        let unclosed = TemplateError::UnclosedTag { at: start };
        let mut rest = self.source[start + self.open.len()..].trim_start_matches(js::is_space);
        let kind = rest.chars().next().filter(|c| "#^/>{&=!".contains(*c));
        if kind.is_some() {
            rest = rest[1..].trim_start_matches(js::is_space);
        }
        let end = match kind {
            Some('=') => rest.find('=').ok_or(unclosed.clone())?,
            Some('{') => rest.find(&format!("}}{}", self.close)).ok_or(unclosed.clone())?,
            _ => rest.find(&self.close).ok_or(unclosed.clone())?,
        };
        let name = rest[..end].trim_end_matches(js::is_space);
        let close = rest[end..].find(&self.close).ok_or(unclosed)? + end;
        // `}}}` closes a raw tag: the brace belongs to it.
        let extra = usize::from(kind == Some('{') && rest[close..].starts_with(&format!("}}{}", self.close)));
        self.at = self.source.len() - rest.len() + close + extra + self.close.len();
        self.line.has_tag = true;
        match kind {
            Some('#' | '^') => self.open_section(name, kind == Some('^')),
            Some('/') => self.close_section(name, start),
            Some('=') => self.delimiters(name, start),
            Some('!' | '>') => Ok(()),
            _ => {
                self.line.has_content = true;
                let escape = kind.is_none();
                self.push(Part::Variable { name: Name::new(name), escape });
                Ok(())
            }
        }
    }

    fn open_section(&mut self, name: &str, inverted: bool) -> Result<(), TemplateError> {
        if self.sections.len() >= MAX_NESTING {
            return Err(TemplateError::TooDeep);
        }
        self.sections.push((name.to_owned(), inverted));
        self.lists.push(Vec::new());
        Ok(())
    }

    fn close_section(&mut self, name: &str, at: usize) -> Result<(), TemplateError> {
        match self.sections.pop() {
            Some((open, inverted)) if open == name => {
                let inner = self.lists.pop().unwrap_or_default();
                let list = self.lists.len();
                let (inside, outside): (Vec<_>, Vec<_>) = self.line.spaces.drain(..).partition(|(l, _)| *l == list);
                self.line.spaces = outside;
                let inner = self.drop_line_end(inner, &inside);
                self.push(Part::Section { name: Name::new(name), inverted, inner });
                Ok(())
            }
            _ => Err(TemplateError::UnopenedSection { name: name.to_owned(), at }),
        }
    }

    /// White space before a closing tag on its own line belongs to that line. Whether the line has content
    /// after the tag is seen by looking ahead.
    fn drop_line_end(&self, mut inner: Vec<Part>, spaces: &[(usize, usize)]) -> Vec<Part> {
        let rest = &self.source[self.at..];
        let line = rest.find('\n').map_or(rest, |end| &rest[..end]);
        if !self.line.has_content && line.chars().all(js::is_space) {
            for (_, index) in spaces {
                if let Some(part) = inner.get_mut(*index) {
                    *part = Part::Text(String::new());
                }
            }
        }
        join(inner)
    }

    fn delimiters(&mut self, names: &str, at: usize) -> Result<(), TemplateError> {
        match names.split_whitespace().collect::<Vec<_>>()[..] {
            [open, close] => {
                self.open = open.to_owned();
                self.close = close.to_owned();
                Ok(())
            }
            _ => Err(TemplateError::Delimiters { at }),
        }
    }
}

/// Joins neighbouring texts.
fn join(parts: Vec<Part>) -> Vec<Part> {
    let mut joined: Vec<Part> = Vec::with_capacity(parts.len());
    for part in parts {
        match (joined.last_mut(), part) {
            (_, Part::Text(text)) if text.is_empty() => {}
            (Some(Part::Text(before)), Part::Text(text)) => {
                // Writing to a String doesn't fail.
                let _ = before.write_str(&text);
            }
            (_, part) => joined.push(part),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(template: &str, scope: &str) -> String {
        let scope = Value::parse(scope).unwrap();
        let scope = Scope { own: scope.as_object(), named: &[] };
        Template::parse(template).unwrap().render(scope).to_string()
    }

    #[test]
    fn variables() {
        let scope = r#"{"a":{"b":"<'x'/=`\"&>"},"n":0,"f":false,"nil":null,"l":[1,[2,null],"z"],"o":{}}"#;
        assert_eq!(render("{{a.b}}", scope), "&lt;&#39;x&#39;&#x2F;&#x3D;&#x60;&quot;&amp;&gt;");
        assert_eq!(render("{{{a.b}}}{{& a.b }}", scope), "<'x'/=`\"&><'x'/=`\"&>");
        assert_eq!(render("{{ n }}{{f}}{{nil}}{{gone.x}}|{{l}}|{{o}}", scope), "0false|1,2,,z|[object Object]");
        assert_eq!(render("{{l.0}}{{l[0]}}{{l.1.0}}{{l.length}}{{a.b.length}}", scope), "12310");
        assert_eq!(render("{{! note }}{{> partial}}x", scope), "x");
        assert_eq!(render("{{=<% %>=}}<% n %>{{n}}", scope), "0{{n}}");
    }

    #[test]
    fn sections() {
        let scope = r#"{"l":[{"n":1},{"n":2}],"s":["a","b"],"yes":true,"none":[],"o":{"x":"in"},"n":"out"}"#;
        assert_eq!(render("{{#l}}{{n}},{{/l}}{{#s}}{{.}}{{/s}}", scope), "1,2,ab");
        assert_eq!(render("{{#yes}}{{n}}{{/yes}}{{^none}}empty{{/none}}{{#none}}x{{/none}}", scope), "outempty");
        assert_eq!(render("{{#o}}{{x}} {{n}}{{/o}}", scope), "in out");
        assert_eq!(render("a\n{{#yes}}\nb\n{{/yes}}\nc", scope), "a\nb\nc");
        assert_eq!(render("a\n  {{! alone }}  \nc", scope), "a\nc");
    }

    #[test]
    fn the_guard_leaves_texts_alone() {
        for text in ["{{a", "}} {{a}}", "{{#broken", "x }} {{", "no tags"] {
            assert_eq!(render(text, r#"{"a":1}"#), text);
        }
    }

    #[test]
    fn inserted_values_are_not_rendered() {
        assert_eq!(render("{{a}}", r#"{"a":"{{b}}","b":"secret"}"#), "{{b}}");
    }

    #[test]
    fn errors() {
        for text in ["{{#a}}x", "{{a}}{{/b}}", "{{#a}}{{/b}}", "{{a}} {{b", "{{=x=}}"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_multiplying_template_ends() {
        let list = format!("[{}1]", "1,".repeat(99));
        let nest = format!("{}x{}", "{{#l}}".repeat(8), "{{/l}}".repeat(8));
        assert!(render(&nest, &format!(r#"{{"l":{list}}}"#)).len() <= MAX_STEPS);
    }
}
