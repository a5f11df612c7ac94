//! Memories of the conversations that went on last, as their turns left them, so that the next turn needn't
//! read and parse what was just written. Only [`crate::turn`] asks for them.
//!
//! Kept only where this process alone writes to the store; where others share it, nothing is. What is kept is
//! what a reader of the store would find: whatever changes a memory from outside its own turns says so here
//! before its caller hears of it ([`Recent::user_changed`], [`Recent::values_changed`],
//! [`duologue_store::live::Live::erasures`]). Besides, a turn is refused by the store if the conversation went on
//! without it.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use duologue_dialog::{Memory, Object, Value};
use duologue_model::Timestamp;

/// Bytes of JSON of all that is kept, at most twice that in the moment before half of it goes.
const ROOM: usize = 8 * 1024 * 1024;
/// Bytes of JSON of a memory that is kept.
const LARGEST: usize = 32 * 1024;
/// What a user costs beside his memories.
const USER: usize = 256;

/// What a turn left.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    /// How many turns there were.
    pub turns: i64,
    /// What is remembered.
    pub memory: Memory,
    /// When the session is over.
    pub session_ends: Timestamp,
    /// Bytes of it as JSON.
    pub size: usize,
}

/// What was true when a turn began. What it leaves is kept if it still is when the turn ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    user: u64,
    values: u64,
    erasures: u64,
}

/// The memories of the last turns.
pub(crate) struct Recent(Option<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// Users heard of since `old` was what this is.
    young: HashMap<String, User>,
    /// Those before; who isn't heard of until `young` is full is forgotten.
    old: HashMap<String, User>,
    /// Bytes in `young`.
    size: usize,
    /// How often the values of a bot changed.
    values: HashMap<String, u64>,
    erasures: u64,
    /// Counts up; no two states of a user have the same number.
    clock: u64,
}

#[derive(Default)]
struct User {
    /// Which state of the user's attributes this is.
    version: u64,
    /// By bot. Few: a user talks to one bot, mostly.
    memories: Vec<(String, Kept, Ticket)>,
}

impl Recent {
    /// Keeps memories, or nothing if others write to the store, too.
    pub(crate) fn new(is_shared: bool) -> Recent {
        Recent((!is_shared).then(Mutex::default))
    }

    fn inner(&self) -> Option<MutexGuard<'_, Inner>> {
        self.0.as_ref().map(|inner| inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Before a turn: what its last one left, if that is known.
    pub(crate) fn begin(&self, bot: &str, user: &str, erasures: u64, now: Timestamp) -> (Option<Kept>, Option<Ticket>) {
        let Some(mut inner) = self.inner() else { return (None, None) };
        inner.forget_before(erasures);
        let values = inner.values.get(bot).copied().unwrap_or(0);
        let state = inner.user(user);
        let ticket = Ticket { user: state.version, values, erasures };
        let kept = state.memories.iter().find(|(of, _, then)| of == bot && *then == ticket).map(|(_, kept, _)| kept);
        (kept.filter(|kept| kept.session_ends > now).cloned(), Some(ticket))
    }

    /// After a turn: what it left, if that can be kept, and nothing else changed meanwhile. What was known of the
    /// conversation before isn't true any more; if the turn changed the user, what others of his remember neither.
    pub(crate) fn keep(&self, bot: &str, user: &str, ticket: Option<Ticket>, left: Option<Kept>, user_changed: bool) {
        let Some(mut inner) = self.inner() else { return };
        let inner = &mut *inner;
        inner.clock += 1;
        let (values, erasures, next) = (inner.values.get(bot).copied().unwrap_or(0), inner.erasures, inner.clock);
        let state = inner.user(user);
        let is_true = ticket == Some(Ticket { user: state.version, values, erasures });
        state.memories.retain(|(of, ..)| of != bot && !user_changed);
        if user_changed {
            state.version = next;
        }
        let ticket = Ticket { user: state.version, values, erasures };
        if let Some(kept) = left.filter(|kept| is_true && kept.size <= LARGEST) {
            let size = kept.size;
            state.memories.push((bot.to_owned(), kept, ticket));
            inner.grow(size);
        }
    }

    /// The attributes of a user changed: what other conversations of his remember isn't true any more.
    pub(crate) fn user_changed(&self, user: &str) {
        if let Some(mut inner) = self.inner() {
            inner.clock += 1;
            let version = inner.clock;
            *inner.user(user) = User { version, memories: Vec::new() };
        }
    }

    /// The values of a bot changed.
    pub(crate) fn values_changed(&self, bot: &str) {
        if let Some(mut inner) = self.inner() {
            *inner.values.entry(bot.to_owned()).or_default() += 1;
        }
    }
}

impl Inner {
    /// Forgets everything if something was erased since.
    fn forget_before(&mut self, erasures: u64) {
        if self.erasures != erasures {
            (self.young, self.old, self.size) = (HashMap::new(), HashMap::new(), 0);
            self.erasures = erasures;
        }
    }

    /// The state of a user, made if there is none.
    fn user(&mut self, user: &str) -> &mut User {
        if !self.young.contains_key(user) {
            let state = self.old.remove(user).unwrap_or_else(|| {
                self.clock += 1;
                User { version: self.clock, memories: Vec::new() }
            });
            let size = state.memories.iter().map(|(_, kept, _)| kept.size).sum::<usize>();
            self.grow(size + USER);
            self.young.insert(user.to_owned(), state);
        }
        self.young.entry(user.to_owned()).or_default()
    }

    fn grow(&mut self, by: usize) {
        self.size += by;
        if self.size > ROOM {
            self.old = std::mem::take(&mut self.young);
            self.size = 0;
        }
    }
}

/// A value as it is read again once it was written: without members that are undefined, with `null` for other
/// values that JSON doesn't have. Shares what is the same.
pub(crate) fn written(value: &Value) -> Value {
    match value {
        Value::Undefined => Value::Null,
        Value::Number(number) if !number.is_finite() => Value::Null,
        // There is one zero.
        Value::Number(number) if *number == 0.0 => Value::Number(0.0),
        Value::Array(items) => Value::Array(items.iter().map(written).collect()),
        Value::Object(object) if object.iter().all(|(_, value)| is_written(value)) => value.clone(),
        Value::Object(object) => {
            let members = object.iter().filter(|(_, value)| !value.is_undefined());
            Value::Object(members.map(|(name, value)| (name.clone(), written(value))).collect::<Object>())
        }
        _ => value.clone(),
    }
}

/// Whether a value is read again as it is.
fn is_written(value: &Value) -> bool {
    match value {
        Value::Undefined => false,
        Value::Number(number) => number.is_finite() && (*number != 0.0 || number.is_sign_positive()),
        Value::Array(items) => items.iter().all(is_written),
        Value::Object(object) => object.iter().all(|(_, value)| is_written(value)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(turns: i64, size: usize) -> Kept {
        Kept { turns, memory: Memory::default(), session_ends: Timestamp::from_millis(1_000), size }
    }

    fn turns(recent: &Recent, bot: &str, user: &str) -> Option<i64> {
        recent.begin(bot, user, 0, Timestamp::default()).0.map(|kept| kept.turns)
    }

    fn turn(recent: &Recent, bot: &str, user: &str, kept: Kept) {
        let (_, ticket) = recent.begin(bot, user, 0, Timestamp::default());
        recent.keep(bot, user, ticket, Some(kept), false);
    }

    #[test]
    fn a_memory_is_kept_until_it_is_changed_from_outside() {
        let recent = Recent::new(false);
        assert_eq!(turns(&recent, "b", "u"), None);
        turn(&recent, "b", "u", kept(1, 10));
        turn(&recent, "c", "u", kept(7, 10));
        assert_eq!((turns(&recent, "b", "u"), turns(&recent, "b", "v")), (Some(1), None));

        recent.values_changed("b");
        assert_eq!((turns(&recent, "b", "u"), turns(&recent, "c", "u")), (None, Some(7)));
        turn(&recent, "b", "u", kept(2, 10));
        recent.user_changed("u");
        assert_eq!((turns(&recent, "b", "u"), turns(&recent, "c", "u")), (None, None));
        turn(&recent, "c", "u", kept(8, 10));
        let (_, ticket) = recent.begin("b", "u", 0, Timestamp::default());
        recent.keep("b", "u", ticket, Some(kept(3, 10)), true);
        assert_eq!((turns(&recent, "b", "u"), turns(&recent, "c", "u")), (Some(3), None), "the turn changed the user");
        recent.keep("b", "u", None, None, false);
        assert_eq!(turns(&recent, "b", "u"), None, "a turn left what isn't known");
        turn(&recent, "b", "u", kept(3, 10));
        assert_eq!(recent.begin("b", "u", 1, Timestamp::default()).0.map(|kept| kept.turns), None, "erased");
    }

    #[test]
    fn what_changed_during_a_turn_is_not_kept() {
        let recent = Recent::new(false);
        let changes: [fn(&Recent); 3] = [
            |recent| recent.user_changed("u"),
            |recent| recent.values_changed("b"),
            |recent| drop(recent.begin("x", "y", 5, Timestamp::default())),
        ];
        for change in changes {
            let (_, ticket) = recent.begin("b", "u", 0, Timestamp::default());
            change(&recent);
            recent.keep("b", "u", ticket, Some(kept(1, 10)), false);
            assert_eq!(turns(&recent, "b", "u"), None);
        }
    }

    #[test]
    fn sessions_end_and_large_memories_are_read() {
        let recent = Recent::new(false);
        turn(&recent, "b", "u", kept(1, 10));
        assert!(recent.begin("b", "u", 0, Timestamp::from_millis(1_000)).0.is_none(), "the session is over");
        turn(&recent, "b", "u", kept(2, LARGEST + 1));
        assert_eq!(turns(&recent, "b", "u"), None, "and the older one is gone, too");
    }

    #[test]
    fn only_so_much_is_kept() {
        let recent = Recent::new(false);
        for user in 0..3 * ROOM / LARGEST {
            turn(&recent, "b", &user.to_string(), kept(1, LARGEST));
            assert!(turns(&recent, "b", "0").is_some(), "heard of all the time");
        }
        assert_eq!(turns(&recent, "b", "1"), None);
        let inner = recent.inner().unwrap();
        assert!(inner.young.len() + inner.old.len() <= 2 * ROOM / LARGEST);
    }

    #[test]
    fn nothing_is_kept_of_a_store_that_others_write_to() {
        let recent = Recent::new(true);
        turn(&recent, "b", "u", kept(1, 10));
        assert_eq!(turns(&recent, "b", "u"), None);
    }

    #[test]
    fn written_is_what_is_read() {
        let object = Object::new()
            .with("a", Value::Undefined)
            .with("b", Object::new().with("c", Value::Undefined).with("d", f64::NAN).with("z", -0.0))
            .with("l", vec![Value::Undefined, Value::from(1.5)]);
        let value = Value::from(object);
        let written = written(&value);
        assert_eq!(written.to_json(), value.to_json());
        assert_eq!(written, Value::parse(&value.to_json()).unwrap());
        assert!(super::written(&written).as_object().unwrap().is_shared_with(written.as_object().unwrap()));
    }
}
