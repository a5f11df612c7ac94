//! Whose message is being answered, for bots that refuse a second one meanwhile (`parallelRequests`).

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

/// A bot's id and a user's.
type Key = (String, String);

/// Users who wait for an answer of a bot that refuses parallel messages.
#[derive(Default)]
pub(crate) struct Answering(Mutex<HashSet<Key>>);

/// Held while a user waits for his answer.
pub(crate) struct Alone<'a> {
    answering: &'a Answering,
    key: Key,
}

impl Answering {
    /// `None` if the user waits for an answer already.
    pub(crate) fn enter(&self, bot: &str, user: &str) -> Option<Alone<'_>> {
        let key = (bot.to_owned(), user.to_owned());
        let is_new = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        is_new.then_some(Alone { answering: self, key })
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.answering.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_waits_for_one_answer_of_a_bot() {
        let answering = Answering::default();
        let first = answering.enter("shop", "ada");
        assert!(first.is_some() && answering.enter("shop", "ada").is_none());
        assert!(answering.enter("shop", "bob").is_some() && answering.enter("bank", "ada").is_some());
        drop(first);
        assert!(answering.enter("shop", "ada").is_some());
    }
}
