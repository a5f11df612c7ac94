//! The trace of a turn: what it did and what the world answered, enough to see why and to do it again.

use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct};

use crate::{
    bot::Hook,
    host::{HttpFailure, HttpRequest, HttpResponse, KvsScope, Mail, ScriptError, ScriptKind, ScriptOutcome},
    memory::{self, Change, Memory},
    turn::Incoming,
    value::{Text, Value},
};

/// Everything about one turn.
///
/// As JSON, which is how it is stored, it has the memory after the turn as the differences to the one before.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(from = "Stored")]
pub struct Trace {
    /// The bot's id.
    pub bot: String,
    /// What set the turn off.
    pub input: Input,
    /// The memory it began with.
    pub before: Memory,
    /// The memory it ended with; read from its stored form, new members may have another order.
    pub after: Memory,
    /// What happened, in order.
    pub steps: Vec<Step>,
    /// What the world answered, in order; [`crate::Replay`] answers the same again.
    pub effects: Vec<Effect>,
    /// The payloads that were sent.
    pub replies: Vec<Value>,
}

impl Trace {
    /// How the memory it ended with differs from the one it began with.
    pub fn changes(&self) -> Vec<Change> {
        memory::diff(&self.before, &self.after)
    }
}

impl Serialize for Trace {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut after = Vec::new();
        for ((name, before), (_, after_it)) in self.before.parts().into_iter().zip(self.after.parts()) {
            compare(&mut vec![name.into()], before, after_it, &mut after);
        }
        let mut members = serializer.serialize_struct("Trace", 8)?;
        members.serialize_field("bot", &self.bot)?;
        members.serialize_field("input", &self.input)?;
        members.serialize_field("before", &self.before)?;
        members.serialize_field("after", &after)?;
        members.serialize_field("timeouts", &self.after.timeouts)?;
        members.serialize_field("steps", &self.steps)?;
        members.serialize_field("effects", &self.effects)?;
        members.serialize_field("replies", &self.replies)?;
        members.end()
    }
}

/// A trace as it is stored.
#[derive(Deserialize)]
struct Stored {
    bot: String,
    input: Input,
    before: Memory,
    #[serde(default)]
    after: Vec<Patch>,
    #[serde(default)]
    timeouts: u32,
    steps: Vec<Step>,
    effects: Vec<Effect>,
    replies: Vec<Value>,
}

impl From<Stored> for Trace {
    fn from(stored: Stored) -> Trace {
        let Stored { bot, input, before, after: patches, timeouts, steps, effects, replies } = stored;
        let mut after = Memory { timeouts, ..before.clone() };
        for patch in &patches {
            if let Some((name, path)) = patch.path.split_first()
                && let Some(part) = after.part_mut(name)
            {
                patch.apply(path, part);
            }
        }
        Trace { bot, input, before, after, steps, effects, replies }
    }
}

/// What set a turn off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// A message.
    Message(Box<Incoming>),
    /// A conversation's time was up; the user's id.
    Timeout(String),
}

/// One thing that happened in a turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Step {
    /// A node began, or went on after waiting.
    Node { flow: Text, node: Text, resumed: bool },
    /// A condition was evaluated.
    Condition { text: Text, target: Text, value: bool },
    /// Content was rendered.
    Say { content: String, payloads: usize },
    /// An action ran, for so many milliseconds.
    Action { name: String, args: Value, millis: i64, error: Option<String> },
    /// A hook ran, for so many milliseconds.
    Hook { hook: Hook, name: String, millis: i64, error: Option<String> },
    /// A transition or a script moved on.
    Jump { target: String },
    /// A skill's sub-flow was entered.
    Skill { flow: String },
    /// Between suggestions and flows, this was chosen.
    Decision { source: String, details: String, reason: String },
    /// The conversation waits for the user.
    Wait,
    /// The conversation ended.
    End,
    /// A loop was cut; the conversation was reset.
    Loop,
    /// Something failed.
    Error { kind: FailureKind, message: String, flow: String, node: String },
    /// A script logged something.
    Log { level: String, text: String },
}

/// Kinds of failures (`flows.md` § 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// An action threw or doesn't exist.
    Action,
    /// A jump led nowhere.
    Jump,
    /// Content, a template, arguments or a condition was wrong. The original left the conversation stuck
    /// on it; here it goes to the error flow like the others, and where there is none the conversation
    /// is reset.
    Engine,
    /// The position in the memory doesn't exist in the bot.
    Lost,
    /// Something smaller that doesn't change the turn's course.
    Ignored,
}

/// What the world answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Effect {
    Now {
        millis: i64,
    },
    Random {
        value: f64,
    },
    EventId {
        id: String,
    },
    Script {
        kind: ScriptKind,
        name: String,
        /// [`ScriptCall::fingerprint`] of what ran.
        #[serde(default)]
        given: u64,
        calls: Vec<(String, Vec<Value>)>,
        ran: Ran,
    },
    Http {
        request: HttpRequest,
        result: Result<HttpResponse, HttpFailure>,
    },
    Mail {
        mail: Mail,
        result: Result<(), String>,
    },
    KvsGet {
        scope: KvsScope,
        key: String,
        result: Result<Option<Value>, String>,
    },
    Sdk {
        method: String,
        args: Vec<Value>,
        result: Result<Value, String>,
    },
    Predict {
        result: Result<Option<Value>, String>,
    },
}

/// What a script left behind, the event as its differences to the one that the script was given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ran {
    /// Its value, or what it threw.
    pub result: Result<Value, ScriptError>,
    /// What it changed in the event.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub event: Vec<Patch>,
    /// The suggestions, if it changed that variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggestions: Option<Value>,
}

/// A member that was set or removed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Patch {
    /// Names of members from the outermost value down; empty: that value itself.
    pub path: Vec<Text>,
    /// A list lost so many items at its start and gained those of `value` at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slide: Option<usize>,
    /// The new value; absent if the member was removed.
    #[serde(default, skip_serializing_if = "Value::is_undefined")]
    pub value: Value,
}

impl Ran {
    /// Condenses what a script left behind, given `event`.
    pub(crate) fn of(outcome: &ScriptOutcome, event: &Value) -> Ran {
        let mut patches = Vec::new();
        if let Some(changed) = &outcome.event {
            compare(&mut Vec::new(), event, changed, &mut patches);
            let mut again = event.clone();
            patches.iter().for_each(|patch| patch.apply(&patch.path, &mut again));
            // Where members have another order now, the differences don't tell the whole story.
            if !same(&again, changed) {
                patches = vec![Patch { path: Vec::new(), slide: None, value: changed.clone() }];
            }
        }
        Ran { result: outcome.result.clone(), event: patches, suggestions: outcome.suggestions.clone() }
    }

    /// What the script left behind, given `event`.
    pub(crate) fn outcome(&self, event: &Value) -> ScriptOutcome {
        let mut changed = None;
        for patch in &self.event {
            patch.apply(&patch.path, changed.get_or_insert_with(|| event.clone()));
        }
        ScriptOutcome { result: self.result.clone(), event: changed, suggestions: self.suggestions.clone() }
    }
}

impl Patch {
    /// Does this to what lies at `path`, the patch's own or what is left of it, below `value`.
    fn apply(&self, path: &[Text], value: &mut Value) {
        let Some((name, path)) = path.split_last() else {
            self.put(value);
            return;
        };
        let mut place = value;
        for name in path {
            let members = place.make_object();
            if !members.has(name) {
                members.set(name.clone(), Value::object());
            }
            match members.get_mut(name) {
                Some(member) => place = member,
                None => return,
            }
        }
        let members = place.make_object();
        match members.get_mut(name) {
            _ if self.value.is_undefined() => {
                members.remove(name);
            }
            Some(member) => self.put(member),
            None => members.set(name.clone(), self.value.clone()),
        }
    }

    fn put(&self, place: &mut Value) {
        match (self.slide, &mut *place, &self.value) {
            (Some(gone), Value::Array(items), Value::Array(new)) => {
                items.drain(..gone.min(items.len()));
                items.extend_from_slice(new);
            }
            (_, place, value) => *place = value.clone(),
        }
    }
}

/// Items at a list's start that may be gone without the whole list being written anew.
const LONGEST_SLIDE: usize = 8;

fn compare(path: &mut Vec<Text>, before: &Value, after: &Value, patches: &mut Vec<Patch>) {
    match (before, after) {
        (Value::Object(a), Value::Object(b)) if a.is_shared_with(b) => {}
        (Value::Object(a), Value::Object(b)) => {
            for (name, value) in a.iter() {
                path.push(name.clone());
                compare(path, value, b.get(name).unwrap_or(&Value::Undefined), patches);
                path.pop();
            }
            for (name, value) in b.iter().filter(|(name, _)| !a.has(name)) {
                path.push(name.clone());
                compare(path, &Value::Undefined, value, patches);
                path.pop();
            }
        }
        (before, after) if same(before, after) => {}
        (before, after) => {
            let slide = slide(before, after);
            let value = match (slide, after) {
                (Some((_, kept)), Value::Array(items)) => Value::Array(items[kept..].to_vec()),
                _ => after.clone(),
            };
            patches.push(Patch { path: path.clone(), slide: slide.map(|(gone, _)| gone), value });
        }
    }
}

/// Whether a list slid on: how many items are gone at its start, and how many of the old ones are left.
fn slide(before: &Value, after: &Value) -> Option<(usize, usize)> {
    let (before, after) = (before.as_array()?, after.as_array()?);
    (0..before.len().min(LONGEST_SLIDE)).map(|gone| (gone, &before[gone..])).find_map(|(gone, left)| {
        let new = after.get(..left.len())?;
        left.iter().zip(new).all(|(a, b)| same(a, b)).then_some((gone, left.len()))
    })
}

/// Whether two values are written the same, order of members included.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) if a.is_shared_with(b) => true,
        (Value::Object(a), Value::Object(b)) => {
            let written = |(_, value): &(&Text, &Value)| !value.is_undefined();
            let (mut a, mut b) = (a.iter().filter(written), b.iter().filter(written));
            loop {
                match (a.next(), b.next()) {
                    (None, None) => return true,
                    (Some((n, a)), Some((m, b))) if n == m && same(a, b) => {}
                    _ => return false,
                }
            }
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_kept_as_differences() {
        let event = Value::parse(r#"{"a":1,"state":{"temp":{"x":1,"y":{"z":2}},"user":{}},"l":[1,2]}"#).unwrap();
        for changed in [
            r#"{"a":1,"state":{"temp":{"x":1,"y":{"z":3}},"user":{"n":null}},"l":[1,2]}"#,
            r#"{"a":1,"state":{"temp":{},"user":{}},"l":[]}"#,
            r#"{"state":{"temp":{"x":1,"y":{"z":2}},"user":{}},"l":[1,2],"a":1}"#,
            r#"{"a":1,"state":5}"#,
            r#"{"a":1,"state":{"temp":{"x":1,"y":{"z":2}},"user":{}},"l":[2,3,4]}"#,
        ] {
            let outcome = ScriptOutcome::changed(Value::parse(changed).unwrap());
            let ran = Ran::of(&outcome, &event);
            let stored: Ran = serde_json::from_str(&serde_json::to_string(&ran).unwrap()).unwrap();
            assert_eq!(stored.outcome(&event).event.unwrap().to_json(), changed);
        }
        let ran = Ran::of(&ScriptOutcome::changed(event.clone()), &event);
        assert_eq!(ran.event, []);
    }

    fn trace(before: &str, after: &str) -> Trace {
        let memory =
            |session: &str, timeouts| Memory { session: Value::parse(session).unwrap(), timeouts, ..Memory::default() };
        let (before, after) = (memory(before, 0), memory(after, 1));
        let input = Input::Timeout("u".to_owned());
        Trace { bot: "b".to_owned(), input, before, after, steps: vec![], effects: vec![], replies: vec![] }
    }

    #[test]
    fn memories_are_kept_as_differences() {
        for (before, after) in [
            ("{}", r#"{"a":1}"#),
            (r#"{"a":{"b":[1,{"c":2}],"d":3}}"#, r#"{"a":{"b":[1,{"c":4}]},"e":{"f":1}}"#),
            (r#"{"a.b":1,"a":{"c":1}}"#, r#"{"a.b":2,"a":{"c":{"d":1}}}"#),
            (r#"{"a":[1]}"#, r#"{"a":[]}"#),
            (r#"{"a":[1,2,3]}"#, r#"{"a":[2,3,4]}"#),
            (r#"{"a":[1,2,3]}"#, r#"{"a":[1,2,3,4]}"#),
            (r#"{"a":[1,2,3]}"#, r#"{"a":[3]}"#),
            (r#"{"a":[1,1,1]}"#, r#"{"a":[1,1]}"#),
            (r#"{"a":[1,2,3]}"#, r#"{"a":[3,2,1]}"#),
            (r#"{"a":1}"#, "{}"),
            ("5", "[]"),
        ] {
            let trace = trace(before, after);
            let text = serde_json::to_string(&trace).unwrap();
            assert_eq!(serde_json::from_str::<Trace>(&text).unwrap(), trace, "{text}");
        }
    }

    #[test]
    fn a_list_that_slides_is_not_written_anew() {
        let text = serde_json::to_string(&trace(r#"{"l":["first","second"]}"#, r#"{"l":["second","third"]}"#)).unwrap();
        assert!(text.contains(r#""after":[{"path":["session","l"],"slide":1,"value":["third"]}]"#), "{text}");
    }
}
