//! Instructions of nodes, parsed from their texts (`flows.md` § 3).

use crate::{
    template::TemplateValue,
    value::{Object, Text, Value},
};

/// A parsed instruction.
#[derive(Clone, Debug)]
pub enum Instruction {
    /// `say …`
    Say(Say),
    /// `action {json}`
    Action(Action),
    /// Can't be executed; an engine error when its turn comes (`flows.md` § 7b).
    Broken(String),
}

/// `say #…`: render content and send it.
#[derive(Clone, Debug)]
pub struct Say {
    /// The reference as written, for `lastMessages`.
    pub reference: Text,
    /// What to render.
    pub content: Content,
    /// The instruction's own arguments.
    pub args: Object,
    /// `args.text`, parsed; only that argument is a template.
    pub text: Option<TemplateValue>,
}

/// The three forms in which content is named (`content.md` § 4).
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// `#!id`: a stored element.
    Element(Text),
    /// `#type`: a content type with inline data.
    Inline(Text),
    /// `@type`: a `say_something` node's data.
    Node(Text),
}

/// Run an action.
#[derive(Clone, Debug)]
pub struct Action {
    /// The remote action server, `None` for an action of the bot or the server.
    pub server: Option<Text>,
    /// Its name, verbatim.
    pub name: Text,
    /// Arguments; top-level texts are templates.
    pub args: Vec<(Text, TemplateValue)>,
}

impl Content {
    /// Parses a reference, with or without its leading `#`.
    pub fn parse(reference: &str) -> Content {
        let name = reference.strip_prefix('#').unwrap_or(reference);
        match (name.strip_prefix('!'), name.strip_prefix('@')) {
            (Some(id), _) => Content::Element(id.into()),
            (_, Some(kind)) => Content::Node(kind.into()),
            _ => Content::Inline(name.into()),
        }
    }
}

impl Instruction {
    /// Parses an instruction's text.
    pub fn parse(text: &str) -> Instruction {
        match text.strip_prefix("say ") {
            Some(rest) => say(rest),
            None => action(text),
        }
    }
}

fn say(rest: &str) -> Instruction {
    let (reference, json) = rest.split_once(' ').unwrap_or((rest, ""));
    if reference.is_empty() {
        return Instruction::Broken("say names no content".to_owned());
    }
    match arguments(json) {
        Ok(args) => Instruction::Say(Say::new(reference, args)),
        Err(error) => Instruction::Broken(format!("arguments of say {reference} aren't JSON: {error}")),
    }
}

impl Say {
    /// A say with parsed arguments.
    pub fn new(reference: &str, args: Object) -> Say {
        let text = args.get("text").map(TemplateValue::new);
        Say { reference: reference.into(), content: Content::parse(reference), args, text }
    }
}

fn action(text: &str) -> Instruction {
    let (name, json) = text.split_once(' ').unwrap_or((text, ""));
    let args = match arguments(json) {
        Ok(args) => args,
        Err(error) => return Instruction::Broken(format!("arguments of {name} aren't JSON: {error}")),
    };
    let args = args.into_iter().map(|(name, value)| {
        let value = match value {
            Value::String(_) => TemplateValue::new(&value),
            other => TemplateValue::Static(other),
        };
        (name, value)
    });
    let (server, name) = match name.split_once(':') {
        Some((server, name)) => (Some(server.into()), name),
        None => (None, name),
    };
    Instruction::Action(Action { server, name: name.into(), args: args.collect() })
}

fn arguments(json: &str) -> Result<Object, serde_json::Error> {
    if json.trim().is_empty() {
        return Ok(Object::new());
    }
    Ok(match Value::parse(json)? {
        Value::Object(object) => object,
        // Spreading anything else into an object gives nothing that a bot could use.
        _ => Object::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let Instruction::Say(say) = Instruction::parse("say #!builtin_text-a {\"x\":1}") else { panic!() };
        assert_eq!((say.content, &*say.reference), (Content::Element("builtin_text-a".into()), "#!builtin_text-a"));
        let Instruction::Action(action) = Instruction::parse("srv:do/it {\"a\":\"{{x}} y\"}") else { panic!() };
        assert_eq!((action.server.as_deref(), &*action.name, action.args.len()), (Some("srv"), "do/it", 1));
        for text in ["say #builtin_text not json", "custom {not json}", "say "] {
            assert!(matches!(Instruction::parse(text), Instruction::Broken(_)), "{text}");
        }
        // Not a say: another case, or no space.
        assert!(matches!(Instruction::parse("Say x"), Instruction::Broken(_)));
        assert!(matches!(Instruction::parse("say"), Instruction::Action(_)));
    }
}
