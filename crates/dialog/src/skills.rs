//! Generators of skills: the sub-flow and the node that calls it, as an editor would make them
//! (`actions-skills.md` § 4 to § 8).
//!
//! Used to write bots for tests and by importers. At run time nothing here matters.

use crate::value::{Object, Value};

/// A generated skill.
#[derive(Clone, Debug, PartialEq)]
pub struct Skill {
    /// Name of the sub-flow: `skills/<id>-<name>.flow.json`.
    pub flow_name: String,
    /// The sub-flow's file.
    pub flow: Value,
    /// The node that calls it. Its transitions lead nowhere until their `node` is filled in.
    pub node: Value,
}

impl Skill {
    /// Fills in the targets of the node's transitions, in order; those left over stay unconnected.
    #[must_use]
    pub fn leading_to(mut self, targets: &[&str]) -> Skill {
        if let Some(Value::Array(next)) = self.node.make_object().get_mut("next") {
            for (transition, target) in next.iter_mut().zip(targets) {
                transition.make_object().set("node", *target);
            }
        }
        self
    }
}

/// A choice: `keywords` maps each result to what picks it.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Distinguishes its variables.
    pub random_id: String,
    /// The single-choice element to ask with.
    pub content_id: String,
    /// What is said after a wrong answer; less than three characters: nothing.
    pub invalid_content_id: String,
    /// Results with their keywords.
    pub keywords: Vec<(String, Vec<String>)>,
    /// Wrong answers that are forgiven, at most 10.
    pub max_retries: u32,
    /// Whether the question is asked again after a wrong answer.
    pub repeat_question: bool,
    /// Replaces the random id, if not empty.
    pub variable_name: String,
}

/// Generates a choice.
pub fn choice(name: &str, data: &Choice) -> Skill {
    let keywords: Object =
        data.keywords.iter().map(|(key, words)| (key.as_str().into(), words.clone().into())).collect();
    let config = Object::new()
        .with("nbMaxRetries", data.max_retries)
        .with("repeatChoicesOnInvalid", data.repeat_question)
        .with("variableName", data.variable_name.as_str());
    let skill_data = Object::new()
        .with("randomId", data.random_id.as_str())
        .with("contentId", data.content_id.as_str())
        .with("invalidContentId", data.invalid_content_id.as_str())
        .with("keywords", keywords)
        .with("config", config);
    let id = if data.variable_name.is_empty() { &data.random_id } else { &data.variable_name };
    let suffix = if id.is_empty() { String::new() } else { format!("-{id}") };
    let variable = |name: &str| format!("skill-choice-{name}{suffix}");
    let ask = say(&data.content_id, Object::new().with("skill", "choice"));
    let forget = |name: &str, value: Value| set_temp(&variable(name), value);
    let mut parsed = skill_data.clone();
    parsed.set("randomId", id.as_str());
    let entry = vec![
        forget("invalid-count", 0.0.into()),
        forget("valid", Value::Null),
        forget("ret", Value::Null),
        ask.clone(),
    ];
    let retries = data.max_retries.min(10);
    let invalid = instruction("basic-skills/choice_invalid_answer", Object::new().with("randomId", id.as_str()));
    let mut sorry = Vec::new();
    if data.invalid_content_id.len() >= 3 {
        sorry.push(say(&data.invalid_content_id, Object::new()));
    }
    if data.repeat_question {
        sorry.push(ask);
    }
    let exhausted = format!("Number(temp['{}']) > Number({retries})", variable("invalid-count"));
    let valid = format!("temp['{}'] === true", variable("valid"));
    let parse = instruction("basic-skills/choice_parse_answer", parsed);
    let nodes = vec![
        node(name, "entry", entry, None, &[("true", "parse")]),
        node(name, "parse", Vec::new(), Some(vec![parse]), &[(&valid, "#"), ("true", "invalid")]),
        node(name, "invalid", vec![invalid], None, &[(&exhausted, "#"), ("true", "sorry")]),
        node(name, "sorry", sorry, None, &[("true", "parse")]),
    ];
    let picked = data.keywords.iter().map(|(key, _)| {
        let short =
            if key.chars().count() > 8 { key.chars().take(7).chain("...".chars()).collect() } else { key.clone() };
        let key = Value::text(key.as_str());
        (format!("User picked [{short}]"), format!("temp['{}'] == {key}", variable("ret")))
    });
    let failure = ("On failure".to_owned(), "true".to_owned());
    let transitions: Vec<_> = picked.chain([failure]).collect();
    skill("choice", name, skill_data, nodes, None, &transitions)
}

/// A call of an API.
#[derive(Clone, Debug, Default)]
pub struct CallApi {
    /// Distinguishes its flag; empty in bots of older versions.
    pub random_id: String,
    /// `get`, `post`, `put`, `delete`.
    pub method: String,
    /// A template.
    pub url: String,
    /// Headers, templates; undefined if there are none.
    pub headers: Value,
    /// A template.
    pub body: Option<String>,
    /// `temp`, `session`, `user` or `bot`.
    pub memory: String,
    /// Where in it.
    pub variable: String,
}

/// Generates a call of an API.
pub fn call_api(name: &str, data: &CallApi) -> Skill {
    let body = data.body.as_deref().map_or(Value::Undefined, Value::from);
    let id = if data.random_id.is_empty() { Value::Undefined } else { data.random_id.as_str().into() };
    let args = Object::new()
        .with("randomId", id)
        .with("url", data.url.as_str())
        .with("method", data.method.as_str())
        .with("body", body)
        .with("headers", data.headers.clone())
        .with("memory", data.memory.as_str())
        .with("variable", data.variable.as_str());
    let skill_data = args.clone().with("invalidJson", false);
    let flag =
        if data.random_id.is_empty() { "temp.valid".to_owned() } else { format!("temp.valid_{}", data.random_id) };
    let call = instruction("basic-skills/call_api", args);
    let nodes = vec![node(name, "entry", vec![call], None, &[("true", "#")])];
    let transitions = [("On success".to_owned(), flag.clone()), ("On failure".to_owned(), format!("!{flag}"))];
    skill("CallAPI", name, skill_data, nodes, None, &transitions)
}

/// The filling of a slot.
#[derive(Clone, Debug, Default)]
pub struct Slot {
    /// How often an answer may be missed.
    pub retry_attempts: u32,
    /// The question.
    pub content_element: String,
    /// What is said when the answer has no value.
    pub not_found_element: String,
    /// After how many turns the value is forgotten; -1: never.
    pub turn_expiry: i32,
    /// An action that sets `temp.valid` to `"true"` or `"false"`.
    pub validation_action: Option<String>,
    /// The intent that has the slot.
    pub intent: String,
    /// The slot.
    pub slot_name: String,
    /// Entities that fill it.
    pub entities: Vec<String>,
}

/// Generates the filling of a slot.
pub fn slot(name: &str, data: &Slot) -> Skill {
    let skill_data = Object::new()
        .with("retryAttempts", data.retry_attempts)
        .with("contentElement", data.content_element.as_str())
        .with("notFoundElement", data.not_found_element.as_str())
        .with("turnExpiry", f64::from(data.turn_expiry))
        .with("validationAction", data.validation_action.as_deref().map_or(Value::Undefined, Value::from))
        .with("intent", data.intent.as_str())
        .with("slotName", data.slot_name.as_str())
        .with("entities", data.entities.clone());
    let fill = Object::new()
        .with("slotName", data.slot_name.as_str())
        .with("entities", data.entities.join(","))
        .with("turnExpiry", f64::from(data.turn_expiry));
    let validate = || data.validation_action.iter().map(|action| instruction(action, Object::new()));
    let receive: Vec<String> = [instruction("basic-skills/slot_fill", fill)].into_iter().chain(validate()).collect();
    let quoted = data.slot_name.replace('\\', "\\\\").replace('\'', "\\'");
    let valid = "(temp.valid === undefined || temp.valid == \"true\")";
    let filled = format!("session.slots['{quoted}'] && {valid}");
    let known = format!("session.slots['{quoted}'] !== undefined");
    let flag = |name: &str| set_temp(name, "true".into());
    let attempts = Object::new().with("retryAttempts", data.retry_attempts.to_string());
    let contexts = Object::new().with("intentName", data.intent.as_str());
    let missed = vec![
        instruction("basic-skills/slot_not_found", attempts),
        say(&data.not_found_element, Object::new()),
        flag("valid"),
    ];
    let already: Vec<String> = [flag("alreadyExtracted"), flag("valid")].into_iter().chain(validate()).collect();
    let nodes = vec![
        node(
            name,
            "slot-extract",
            vec![say(&data.content_element, Object::new())],
            Some(receive.clone()),
            &[(&filled, "extracted"), ("true", "not-extracted")],
        ),
        node(name, "extracted", vec![flag("extracted")], None, &[("true", "#")]),
        node(
            name,
            "not-extracted",
            missed,
            Some(receive),
            &[(&filled, "extracted"), ("temp.notExtracted == \"true\"", "#"), ("true", "not-extracted")],
        ),
        node(
            name,
            "check-if-extracted",
            vec![instruction("basic-skills/slot_update_contexts", contexts)],
            None,
            &[(&known, "already-extracted"), ("true", "slot-extract")],
        ),
        node(name, "already-extracted", already, None, &[(valid, "#"), ("true", "slot-extract")]),
    ];
    let transitions = [
        ("On extracted".to_owned(), "temp.extracted == \"true\"".to_owned()),
        ("On not found".to_owned(), "temp.notExtracted == \"true\"".to_owned()),
        ("On already extracted".to_owned(), "temp.alreadyExtracted == \"true\"".to_owned()),
    ];
    skill("Slot", name, skill_data, nodes, Some("check-if-extracted"), &transitions)
}

/// An e-mail.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct SendEmail {
    pub from_address: String,
    pub to_address: String,
    pub cc_address: String,
    pub bcc_address: String,
    /// Id of the element whose text is the subject.
    pub subject_element: String,
    /// Id of the element whose text is the mail.
    pub content_element: String,
}

/// Generates the sending of an e-mail.
pub fn send_email(name: &str, data: &SendEmail) -> Skill {
    let args = Object::new()
        .with("fromAddress", data.from_address.as_str())
        .with("toAddress", data.to_address.as_str())
        .with("ccAddress", data.cc_address.as_str())
        .with("bccAddress", data.bcc_address.as_str())
        .with("subjectElement", data.subject_element.as_str())
        .with("contentElement", data.content_element.as_str());
    let send = instruction("basic-skills/send_email", args.clone());
    let nodes = vec![node(name, "entry", vec![send], None, &[("true", "#")])];
    let transitions =
        [("On success".to_owned(), "temp.success".to_owned()), ("On failure".to_owned(), "!temp.success".to_owned())];
    skill("SendEmail", name, args, nodes, None, &transitions)
}

fn skill(
    kind: &str,
    name: &str,
    skill_data: Object,
    nodes: Vec<Value>,
    start: Option<&str>,
    transitions: &[(String, String)],
) -> Skill {
    let flow_name = format!("skills/{kind}-{name}.flow.json");
    let flow = Object::new()
        .with("version", "0.0")
        .with("name", flow_name.as_str())
        .with("location", flow_name.as_str())
        .with("startNode", start.unwrap_or("entry"))
        .with("catchAll", Object::new().with("next", Value::Array(Vec::new())))
        .with("skillData", skill_data)
        .with("nodes", Value::Array(nodes));
    let next = transitions.iter().map(|(caption, condition)| {
        Object::new().with("caption", caption.as_str()).with("condition", condition.as_str()).with("node", "").into()
    });
    let node = Object::new()
        .with("id", format!("skill-{}", six_digits(kind, name)))
        .with("type", "skill-call")
        .with("skill", kind)
        .with("name", format!("{kind}-{name}"))
        .with("flow", flow_name.as_str())
        .with("next", Value::Array(next.collect()))
        .with("onEnter", Value::Null)
        .with("onReceive", Value::Null);
    Skill { flow_name, flow: flow.into(), node: node.into() }
}

fn node(
    skill: &str,
    name: &str,
    on_enter: Vec<String>,
    on_receive: Option<Vec<String>>,
    next: &[(&str, &str)],
) -> Value {
    let next = next.iter().map(|(condition, to)| Object::new().with("condition", *condition).with("node", *to).into());
    Object::new()
        .with("id", six_digits(skill, name))
        .with("name", name)
        .with("onEnter", on_enter)
        .with("onReceive", on_receive.map_or(Value::Undefined, Value::from))
        .with("next", Value::Array(next.collect()))
        .into()
}

fn instruction(action: &str, args: Object) -> String {
    format!("{action} {}", Value::from(args))
}

fn say(element: &str, args: Object) -> String {
    format!("say #!{element} {}", Value::from(args))
}

fn set_temp(name: &str, value: Value) -> String {
    instruction("builtin/setVariable", Object::new().with("type", "temp").with("name", name).with("value", value))
}

/// Six digits from two names, always the same.
fn six_digits(a: &str, b: &str) -> String {
    let hash = a.bytes().chain([0]).chain(b.bytes());
    let hash =
        hash.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{:06}", hash % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_has_its_transitions() {
        let data = Choice {
            random_id: "abc".to_owned(),
            content_id: "builtin_single-choice-x".to_owned(),
            keywords: vec![("yes".to_owned(), vec!["y".to_owned()]), ("certainly".to_owned(), vec![])],
            max_retries: 12,
            ..Choice::default()
        };
        let skill = choice("q", &data).leading_to(&["a"]);
        let next = skill.node.get("next").as_array().unwrap();
        assert_eq!(
            next[0].to_json(),
            r#"{"caption":"User picked [yes]","condition":"temp['skill-choice-ret-abc'] == \"yes\"","node":"a"}"#
        );
        assert_eq!(next[1].str("caption"), Some("User picked [certain...]"));
        assert_eq!(next[2].str("condition"), Some("true"));
        assert!(skill.flow.to_json().contains("Number(temp['skill-choice-invalid-count-abc']) > Number(10)"));
    }
}
