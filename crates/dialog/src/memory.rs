//! What a conversation remembers, and how two memories differ (`flows.md` § 10).

use serde::{Deserialize, Serialize};

use crate::value::{Object, Value};

/// The memory of one user's conversation with one bot, as read before a turn and written after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// The user's attributes.
    pub user: Value,
    /// The session: survives the end of a conversation.
    pub session: Value,
    /// The position in the flows; `{}` when no conversation is open.
    pub context: Value,
    /// Variables of the conversation.
    pub temp: Value,
    /// The bot's variables: key `global` of its key-value store. Undefined if none was ever stored; never
    /// changed by a turn (writes are [`crate::KvsWrite`]s).
    #[serde(default, skip_serializing_if = "Value::is_undefined")]
    pub bot: Value,
    /// Timeouts since the last message.
    #[serde(default)]
    pub timeouts: u32,
}

impl Memory {
    /// The memories by their names.
    pub(crate) fn parts(&self) -> [(&'static str, &Value); 5] {
        let Memory { user, session, context, temp, bot, timeouts: _ } = self;
        [("user", user), ("session", session), ("context", context), ("temp", temp), ("bot", bot)]
    }

    /// A memory by its name.
    pub(crate) fn part_mut(&mut self, name: &str) -> Option<&mut Value> {
        Some(match name {
            "user" => &mut self.user,
            "session" => &mut self.session,
            "context" => &mut self.context,
            "temp" => &mut self.temp,
            "bot" => &mut self.bot,
            _ => return None,
        })
    }
}

impl Default for Memory {
    fn default() -> Self {
        Memory {
            user: Value::object(),
            session: initial_session(),
            context: Value::object(),
            temp: Value::object(),
            bot: Value::Undefined,
            timeouts: 0,
        }
    }
}

/// A new session (`flows.md` § 10.3).
pub fn initial_session() -> Value {
    Object::new().with("lastMessages", Value::Array(Vec::new())).with("workflows", Object::new()).into()
}

/// One difference between two memories.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Where: `temp.response.status`; members of lists by number.
    pub path: String,
    /// What stood there; absent if nothing.
    #[serde(default, skip_serializing_if = "Value::is_undefined")]
    pub before: Value,
    /// What stands there now; absent if nothing.
    #[serde(default, skip_serializing_if = "Value::is_undefined")]
    pub after: Value,
}

/// How `after` differs from `before`, deepest differing members only, in the order of the members.
pub fn diff(before: &Memory, after: &Memory) -> Vec<Change> {
    let mut changes = Vec::new();
    for ((name, before), (_, after)) in before.parts().into_iter().zip(after.parts()) {
        compare(name, before, after, &mut changes);
    }
    changes
}

fn compare(path: &str, before: &Value, after: &Value, changes: &mut Vec<Change>) {
    let changed =
        |before: &Value, after: &Value| Change { path: path.to_owned(), before: before.clone(), after: after.clone() };
    match (before, after) {
        (Value::Object(a), Value::Object(b)) => {
            for (name, value) in a.iter() {
                compare(&format!("{path}.{name}"), value, b.get(name).unwrap_or(&Value::Undefined), changes);
            }
            for (name, value) in b.iter().filter(|(name, _)| !a.has(name)) {
                compare(&format!("{path}.{name}"), &Value::Undefined, value, changes);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (at, (a, b)) in a.iter().zip(b).enumerate() {
                compare(&format!("{path}.{at}"), a, b, changes);
            }
        }
        (before, after) if before == after => {}
        (before, after) => changes.push(changed(before, after)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_deep() {
        let before = Memory { temp: Value::parse(r#"{"a":{"b":1,"c":2},"l":[1,2]}"#).unwrap(), ..Memory::default() };
        let after =
            Memory { temp: Value::parse(r#"{"a":{"b":1,"c":3},"l":[1,2,3],"n":true}"#).unwrap(), ..before.clone() };
        let paths: Vec<_> = diff(&before, &after).into_iter().map(|change| change.path).collect();
        assert_eq!(paths, ["temp.a.c", "temp.l", "temp.n"]);
        assert_eq!(diff(&after, &after), []);
    }
}
