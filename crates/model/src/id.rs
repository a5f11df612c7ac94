//! Identifiers (`spec/cloud/auth-and-identity.md` § 6).
//!
//! An id is text of 28 to 36 characters: a UUID, or a prefix, `_` and a ULID. The server makes the
//! second form for what people and bots create and the first where clients insist on it. Ids made
//! elsewhere (imports, other servers) are kept as they are.

use std::{fmt, marker::PhantomData, sync::Mutex};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Error, Timestamp};

/// The kinds of things an id can name.
pub mod kind {
    /// Defines one empty marker type for each kind.
    macro_rules! kinds {
        ($($(#[$doc:meta])* $name:ident $prefix:literal),* $(,)?) => {
            $($(#[$doc])* #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
            pub enum $name {}
            impl super::Kind for $name { const PREFIX: &'static str = $prefix; })*
        };
    }
    kinds! {
        /// A bot.
        Bot "bot",
        /// A version of an integration.
        Integration "intver",
        /// A conversation.
        Conversation "conv",
        /// A user (a chat participant, not an account).
        User "user",
        /// A message.
        Message "msg",
        /// An event.
        Event "evt",
        /// A state.
        State "state",
        /// A workflow.
        Workflow "wrkflow",
        /// A task.
        Task "task",
        /// A personal access token.
        Pat "pat",
        /// A bot API key.
        Bak "bak",
        /// An integration API key.
        Iak "iak",
    }
}

/// What an [`Id`] can name.
pub trait Kind {
    /// What the server puts before the ULID.
    const PREFIX: &'static str;
}

/// The id of a `K`. A `ConversationId` can't be passed for a `UserId`.
pub struct Id<K>(Box<str>, PhantomData<fn() -> K>);

/// The id of a bot; also the id of its user.
pub type BotId = Id<kind::Bot>;
/// The id of an integration version.
pub type IntegrationId = Id<kind::Integration>;
/// The id of a conversation.
pub type ConversationId = Id<kind::Conversation>;
/// The id of a user.
pub type UserId = Id<kind::User>;
/// The id of a message.
pub type MessageId = Id<kind::Message>;
/// The id of an event.
pub type EventId = Id<kind::Event>;
/// The id of a state.
pub type StateId = Id<kind::State>;
/// The id of a workflow.
pub type WorkflowId = Id<kind::Workflow>;
/// The id of a task.
pub type TaskId = Id<kind::Task>;

impl<K> Id<K> {
    /// Takes a text as an id without looking at it: for what the store kept, and for path
    /// segments, where an impossible id simply isn't found.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Id(text.into(), PhantomData)
    }

    /// The least id of this instant.
    pub fn first_at(at: Timestamp) -> Self
    where
        K: Kind,
    {
        ulid(at, 0)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Refuses an id of the wrong length for body field `field` (28 to 36 characters).
    pub fn check(&self, field: &str) -> Result<(), Error> {
        let length = self.0.chars().count();
        if (28..=36).contains(&length) && !self.0.contains('\0') {
            return Ok(());
        }
        Err(Error::invalid_payload(format!("{field} must be an id of 28 to 36 characters, this one has {length}")))
    }
}

impl BotId {
    /// Every bot has a user of the same id (`spec/cloud/auth-and-identity.md` § 5.5).
    pub fn as_user(&self) -> UserId {
        UserId::new(self.0.clone())
    }
}

impl MessageId {
    /// The id of the `message_created` event that is the message itself: the same ULID under the
    /// other prefix. `None` for ids made elsewhere, which have no such event.
    pub fn event(&self) -> Option<EventId> {
        Some(EventId::new(format!("evt_{}", self.0.strip_prefix("msg_")?)))
    }
}

impl EventId {
    /// The id of the message that this event would be, if it is one (see [`MessageId::event`]).
    pub fn message(&self) -> Option<MessageId> {
        Some(MessageId::new(format!("msg_{}", self.0.strip_prefix("evt_")?)))
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        Id(self.0.clone(), PhantomData)
    }
}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}
impl<K> std::hash::Hash for Id<K> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}
impl<K> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl<K> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl<K> From<String> for Id<K> {
    fn from(text: String) -> Self {
        Id::new(text)
    }
}
impl<K> From<&str> for Id<K> {
    fn from(text: &str) -> Self {
        Id::new(text)
    }
}
impl<K> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}
impl<'de, K> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Id::from)
    }
}

/// Makes ids and secrets. Ids of one instant that one generator makes sort in the order of their making,
/// also when others are made between them.
#[derive(Debug)]
pub struct Generator {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rng: Rng,
    /// The random part of the last ULID.
    tail: u128,
}

impl State {
    /// The random part of the next ULID. It rises whatever instants the ids carry: a transaction makes ids
    /// of several in turn. Once in billions of ids it starts over.
    fn next(&mut self) -> u128 {
        let mut step = [0; 8];
        self.rng.fill(&mut step[2..]);
        let next = self.tail + 1 + u128::from(u64::from_be_bytes(step));
        self.tail = if next < 1 << TAIL_BITS { next } else { self.rng.tail() };
        self.tail
    }
}

/// Buffered operating-system randomness, or a fixed sequence for tests. There is one a process, so
/// its size doesn't matter.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
enum Rng {
    System { buffer: [u8; 512], used: usize },
    Fixed(u64),
}

impl Rng {
    /// The random part of a ULID. One bit stays clear, so that counting up has room.
    fn tail(&mut self) -> u128 {
        let mut bytes = [0; 16];
        self.fill(&mut bytes[6..]);
        u128::from_be_bytes(bytes) & ((1 << (TAIL_BITS - 1)) - 1)
    }

    fn fill(&mut self, out: &mut [u8]) {
        match self {
            Rng::System { buffer, used } => {
                if *used + out.len() > buffer.len() {
                    // Without randomness no secret is safe; there is nothing better than to stop.
                    getrandom::fill(buffer).unwrap_or_else(|e| panic!("the operating system gives no randomness: {e}"));
                    *used = 0;
                }
                out.copy_from_slice(&buffer[*used..*used + out.len()]);
                // What was handed out is never kept.
                buffer[*used..*used + out.len()].fill(0);
                *used += out.len();
            }
            Rng::Fixed(seed) => {
                for byte in out {
                    // SplitMix64.
                    *seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
                    let mut z = *seed;
                    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                    *byte = (z ^ (z >> 31)) as u8;
                }
            }
        }
    }
}

fn ulid<K: Kind>(at: Timestamp, tail: u128) -> Id<K> {
    let mut text = String::with_capacity(K::PREFIX.len() + 27);
    text.push_str(K::PREFIX);
    text.push('_');
    let bits = ((at.millis() as u128) << TAIL_BITS) | tail;
    for position in (0..26).rev() {
        text.push(char::from(CROCKFORD[(bits >> (position * 5)) as usize & 31]));
    }
    Id::new(text)
}

const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const TAIL_BITS: u32 = 80;

impl Generator {
    /// A generator over the operating system's randomness.
    pub fn system() -> Self {
        Self::over(Rng::System { buffer: [0; 512], used: 512 })
    }

    /// A generator whose ids follow from `seed`: for reproducible tests, never for secrets.
    pub fn seeded(seed: u64) -> Self {
        Self::over(Rng::Fixed(seed))
    }

    fn over(mut rng: Rng) -> Self {
        let tail = rng.tail();
        Generator { state: Mutex::new(State { rng, tail }) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // A panic while holding the lock leaves the state usable: every field is always valid.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A new id of kind `K`, whose ULID carries `at`.
    pub fn id<K: Kind>(&self, at: Timestamp) -> Id<K> {
        let tail = self.lock().next();
        ulid(at, tail)
    }

    /// A random (version 4) UUID.
    pub fn uuid(&self) -> String {
        let mut b = [0u8; 16];
        self.lock().rng.fill(&mut b);
        b[6] = b[6] & 0x0f | 0x40;
        b[8] = b[8] & 0x3f | 0x80;
        let hex: String = b.iter().map(|b| format!("{b:02x}")).collect();
        format!("{}-{}-{}-{}-{}", &hex[0..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..32])
    }

    /// A secret of 256 random bits, written in letters and digits, after `prefix`.
    pub fn secret(&self, prefix: &str) -> String {
        const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let mut text = String::with_capacity(prefix.len() + 43);
        text.push_str(prefix);
        let mut state = self.lock();
        while text.len() < prefix.len() + 43 {
            let mut byte = [0];
            state.rng.fill(&mut byte);
            // 248 = 4 · 62: larger values would favour some letters.
            if byte[0] < 248 {
                text.push(char::from(LETTERS[usize::from(byte[0]) % 62]));
            }
        }
        text
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.lock().rng.fill(&mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_their_prefix_their_length_and_their_order() {
        let ids = Generator::seeded(1);
        let at = Timestamp::from_millis(1_700_000_000_000);
        let made: Vec<ConversationId> = (0..1000).map(|_| ids.id(at)).collect();
        assert!(made.is_sorted());
        assert!(made[0].as_str().starts_with("conv_01HF7YAT00"));
        assert_eq!(made[0].as_str().len(), 31);
        assert!(made[0].check("id").is_ok());
        assert!(ConversationId::new("conv_1").check("id").is_err());
        let later: ConversationId = ids.id(at.plus_millis(1));
        assert!(later > made[999]);
    }

    #[test]
    fn a_message_and_its_event_share_a_ulid() {
        let message: MessageId = Generator::seeded(1).id(Timestamp::from_millis(1_700_000_000_000));
        let event = message.event().unwrap();
        assert!(event.as_str().starts_with("evt_01HF7YAT00"));
        assert_eq!(event.message().unwrap(), message);
        assert_eq!(MessageId::new("imported").event(), None);
    }

    #[test]
    fn ids_of_an_instant_keep_their_order_whatever_comes_between() {
        let generator = Generator::seeded(7);
        let (past, now) = (Timestamp::from_millis(1_000), Timestamp::from_millis(2_000));
        let (earlier, later): (Vec<MessageId>, Vec<MessageId>) =
            (0..50).map(|_| (generator.id(past), generator.id(now))).unzip();
        for made in [earlier, later] {
            assert!(made.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }

    #[test]
    fn a_tail_that_has_no_room_starts_over() {
        let mut state = State { rng: Rng::Fixed(3), tail: (1 << TAIL_BITS) - 1 };
        assert!(state.next() < 1 << (TAIL_BITS - 1));
    }

    #[test]
    fn system_ids_differ() {
        let ids = Generator::system();
        let made: std::collections::HashSet<String> = (0..1000).map(|_| ids.uuid()).collect();
        assert_eq!(made.len(), 1000);
        assert_eq!(ids.secret("bp_pat_").len(), 50);
        assert_ne!(ids.secret(""), ids.secret(""));
    }
}
