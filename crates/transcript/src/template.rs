//! Users' own formats: [minijinja](https://docs.rs/minijinja) templates, rendered once for each
//! conversation, one after the other into the same output.
//!
//! # What a template sees
//!
//! | name | what |
//! |---|---|
//! | `conversation` | the conversation as the API shows it: `id`, `createdAt`, `channel`, `tags`, … |
//! | `users` | its participants as the API shows them, each with `displayName` and `isBot` |
//! | `messages` | oldest first; a list, so `messages[0]`, `messages\|length` and slices work |
//! | `index` | 1 for the first conversation of the output, 2 for the second, … |
//! | `title` | the title of the transcript, if one was given |
//!
//! and of each message:
//!
//! | name | what |
//! |---|---|
//! | `id`, `type`, `direction`, `tags` | as the API shows them; `direction` is `incoming` or `outgoing` |
//! | `createdAt` | `2026-11-21T12:00:03.123Z` |
//! | `author` | `name` (one line, never empty), `id`, `isBot` |
//! | `text` | readable text of any type, without control characters; a picked option is marked |
//! | `payload` | the payload; what nests too deep or has a number out of range is text in it |
//! | `picked` | of a choice: the picked option's `label` and `value`, else `none` |
//!
//! Missing names are empty. Templates named `….html`, `….htm` or `….xml` (also with `.j2` after it)
//! escape what they print, those named `….json` print JSON; others print as is. The filter
//! `safe_url` gives back a URL that is `http` or `https`, and nothing for any other: in HTML use it
//! for every link.
//!
//! # Limits
//!
//! A template needs the whole conversation: one whose messages exceed
//! [`Options::template_bytes`](crate::Options::template_bytes) is refused. Each conversation has
//! fuel for a million steps and a thousand more a message. Templates can't include files.

use std::{collections::BTreeMap, sync::Arc};

use duologue_model::{Conversation, Message, Tags, User};
use minijinja::{
    Environment, context,
    value::{Enumerator, Object, ObjectRepr, Value},
};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    Error,
    cast::Cast,
    content::{Body, Content},
    plain,
    render::{Line, Renderer},
    safe,
};

const FUEL: u64 = 1_000_000;
const FUEL_PER_MESSAGE: u64 = 1_000;
/// What a message is taken to need beside its payload, in bytes.
const MESSAGE_OVERHEAD: usize = 512;

/// A template, compiled.
#[derive(Clone, Debug)]
pub struct Template {
    environment: Environment<'static>,
    name: String,
}

impl Template {
    /// Compiles `source`. The ending of `name` decides what is escaped: pass the file's name.
    pub fn compile(name: &str, source: &str) -> Result<Self, Error> {
        let mut environment = Environment::new();
        environment
            .add_filter("safe_url", |url: &str| if safe::is_web_url(url) { url.to_owned() } else { String::new() });
        environment.add_template_owned(name.to_owned(), source.to_owned())?;
        Ok(Template { environment, name: name.to_owned() })
    }
}

/// The format a template makes.
pub(crate) struct Templated {
    template: Template,
    title: Option<String>,
    limit: usize,
    index: u64,
    conversation: Value,
    users: Value,
    messages: Vec<Entry>,
    bytes: usize,
}

impl Templated {
    pub fn new(template: Template, title: Option<String>, limit: usize) -> Self {
        Templated {
            template,
            title,
            limit,
            index: 0,
            conversation: Value::UNDEFINED,
            users: Value::UNDEFINED,
            messages: Vec::new(),
            bytes: 0,
        }
    }
}

impl Renderer for Templated {
    fn conversation(
        &mut self,
        conversation: &Conversation,
        users: &[&User],
        cast: &Cast,
        _: bool,
        _: &mut Vec<u8>,
    ) -> Result<(), Error> {
        self.index += 1;
        self.conversation = value_of(conversation)?;
        self.users = users.iter().map(|user| user_value(user, cast)).collect::<Result<Vec<_>, _>>()?.into();
        self.messages.clear();
        self.bytes = 0;
        Ok(())
    }

    fn message(&mut self, line: &Line<'_>, _: &mut Vec<u8>) -> Result<(), Error> {
        let message = line.message;
        let tags: usize = message.tags.0.iter().map(|(key, value)| key.len() + value.len()).sum();
        self.bytes += message.payload.text().len() + tags + MESSAGE_OVERHEAD;
        if self.bytes > self.limit {
            return Err(Error::TooLarge { conversation: message.conversation_id.to_string(), limit: self.limit });
        }
        self.messages.push(Entry {
            message: message.clone(),
            author: line.author.name.clone().into_owned(),
            is_bot: line.author.is_bot,
            picked: line.picked,
        });
        Ok(())
    }

    fn end_conversation(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let messages = std::mem::take(&mut self.messages);
        let fuel = FUEL + FUEL_PER_MESSAGE * u64::try_from(messages.len()).unwrap_or(u64::from(u32::MAX));
        self.template.environment.set_fuel(Some(fuel));
        let context = context! {
            conversation => std::mem::take(&mut self.conversation),
            users => std::mem::take(&mut self.users),
            messages => Value::from_object(Messages(messages)),
            index => self.index,
            title => self.title.as_deref().map_or(Value::UNDEFINED, Value::from),
        };
        let template = self.template.environment.get_template(&self.template.name)?;
        template.render_captured_to(context, out)?;
        Ok(())
    }
}

/// A message kept until its conversation ends.
#[derive(Debug)]
struct Entry {
    message: Message,
    author: String,
    is_bot: bool,
    picked: Option<usize>,
}

/// The messages as a list whose items are made when a template asks for them.
#[derive(Debug)]
struct Messages(Vec<Entry>);

impl Object for Messages {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.get(key.as_usize()?).map(Entry::value)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.0.len())
    }
}

impl Entry {
    fn value(&self) -> Value {
        let message = &self.message;
        context! {
            id => message.id.as_str(),
            createdAt => message.created_at.to_string(),
            direction => message.direction.name(),
            author => context! { name => self.author.as_str(), id => message.user_id.as_str(), isBot => self.is_bot },
            type => message.kind.as_str(),
            text => plain::readable_picked(message, self.picked),
            payload => json_value(message.payload.text()),
            tags => tags_value(&message.tags),
            picked => self.picked_value(),
        }
    }

    fn picked_value(&self) -> Value {
        let Some(at) = self.picked else { return Value::from(()) };
        match Content::parse(&self.message.kind, self.message.payload.text()).body {
            Body::Choice(choice) => match choice.options.into_iter().nth(at) {
                Some(option) => context! { label => option.label, value => option.value },
                None => Value::from(()),
            },
            _ => Value::from(()),
        }
    }
}

fn user_value(user: &User, cast: &Cast) -> Result<Value, Error> {
    let own = value_of(user)?;
    let more = context! { displayName => cast.listed(&user.id), isBot => cast.is_bot(&user.id) };
    Ok(context! { ..more, ..own })
}

/// An entity as the API shows it. Goes through its text, as kept JSON has no other way.
fn value_of(entity: &impl Serialize) -> Result<Value, Error> {
    Ok(json_value(&serde_json::to_string(entity)?))
}

/// A JSON text as a value. Of an object that can't be held as a whole, only what can't be held is
/// text.
fn json_value(json: &str) -> Value {
    if let Ok(value) = serde_json::from_str(json) {
        return value;
    }
    match serde_json::from_str::<BTreeMap<String, &RawValue>>(json) {
        Ok(fields) => {
            fields.into_iter().map(|(key, value)| (key, part(value.get()))).collect::<BTreeMap<_, _>>().into()
        }
        Err(_) => Value::from(json),
    }
}

fn part(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|_| Value::from(json))
}

fn tags_value(tags: &Tags) -> Value {
    tags.0.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect::<BTreeMap<_, _>>().into()
}
