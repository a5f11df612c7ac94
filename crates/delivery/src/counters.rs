//! What this process has delivered since it started, and what it has at hand: numbers for its operator.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use duologue_store::{outbox::settle::Outcome, webhooks::queue::Verdict};

const TO: [&str; 2] = ["bot", "integration"];
const OUTCOMES: [&str; 6] = ["processed", "ignored", "retry", "failed", "moot", "wait"];
const VERDICTS: [&str; 4] = ["delivered", "retry", "failed", "gone"];

/// The numbers.
#[derive(Debug, Default)]
pub struct Counters {
    rows: AtomicU64,
    calls: AtomicU64,
    requests: AtomicU64,
    settled: [[AtomicU64; OUTCOMES.len()]; TO.len()],
    attempts: [AtomicU64; VERDICTS.len()],
    disabled: AtomicU64,
}

impl Counters {
    /// Rows of the outbox that are in memory.
    pub fn rows(&self) -> u64 {
        self.rows.load(Relaxed)
    }

    /// Calls of bots and integrations under way.
    pub fn calls(&self) -> u64 {
        self.calls.load(Relaxed)
    }

    /// Requests to webhooks under way. What is for one user is one after the other, and counts as one.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Deliveries that were settled: to whom (`bot`, `integration`), how, and how many. `retry`: tried in vain,
    /// to be tried again; `wait`: the code doesn't run yet; `failed`: became a dead letter; `ignored`: nobody wanted
    /// it; `moot`: nothing was left to deliver.
    pub fn settled(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let of = |(to, counts)| named(OUTCOMES, counts).map(move |(outcome, count)| (to, outcome, count));
        TO.into_iter().zip(&self.settled).flat_map(of)
    }

    /// Requests to webhooks that ended: how, and how many. `retry`: in vain, to be sent again; `failed`: given up;
    /// `gone`: given up with the whole webhook.
    pub fn attempts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        named(VERDICTS, &self.attempts)
    }

    /// Webhooks that were disabled because they failed.
    pub fn disabled(&self) -> u64 {
        self.disabled.load(Relaxed)
    }

    pub(crate) fn settle(&self, to_bot: bool, outcome: &Outcome) {
        let outcome = match outcome {
            Outcome::Processed => 0,
            Outcome::Ignored(_) => 1,
            Outcome::Retry(..) => 2,
            Outcome::Failed(_) => 3,
            Outcome::Moot => 4,
            Outcome::Wait(_) => 5,
        };
        self.settled[usize::from(!to_bot)][outcome].fetch_add(1, Relaxed);
    }

    pub(crate) fn attempt(&self, verdict: Verdict) {
        let verdict = match verdict {
            Verdict::Delivered => 0,
            Verdict::Retry(_) => 1,
            Verdict::Failed => 2,
            Verdict::Gone => 3,
        };
        self.attempts[verdict].fetch_add(1, Relaxed);
    }

    pub(crate) fn disable(&self) {
        self.disabled.fetch_add(1, Relaxed);
    }
}

fn named<const N: usize>(
    names: [&'static str; N],
    counts: &[AtomicU64; N],
) -> impl Iterator<Item = (&'static str, u64)> {
    names.into_iter().zip(counts).map(|(name, count)| (name, count.load(Relaxed)))
}

/// Somebody's part of a number that goes up and down. It goes with whoever holds it, however that ends.
pub(crate) struct Share {
    counters: Arc<Counters>,
    of: fn(&Counters) -> &AtomicU64,
    held: u64,
}

impl Share {
    /// Of the rows in memory, none yet.
    pub(crate) fn of_rows(counters: &Arc<Counters>) -> Self {
        Share { counters: counters.clone(), of: |counters| &counters.rows, held: 0 }
    }

    /// One call under way.
    pub(crate) fn call(counters: &Arc<Counters>) -> Self {
        Share::one(counters, |counters| &counters.calls)
    }

    /// One request under way.
    pub(crate) fn request(counters: &Arc<Counters>) -> Self {
        Share::one(counters, |counters| &counters.requests)
    }

    fn one(counters: &Arc<Counters>, of: fn(&Counters) -> &AtomicU64) -> Self {
        let mut share = Share { counters: counters.clone(), of, held: 0 };
        share.set(1);
        share
    }

    pub(crate) fn set(&mut self, held: usize) {
        let held = held as u64;
        // Wraps around for less than before.
        (self.of)(&self.counters).fetch_add(held.wrapping_sub(self.held), Relaxed);
        self.held = held;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_go_with_their_holders() {
        let counters = Arc::new(Counters::default());
        let (mut a, mut b) = (Share::of_rows(&counters), Share::of_rows(&counters));
        a.set(5);
        b.set(7);
        a.set(2);
        assert_eq!(counters.rows(), 9);
        drop(b);
        assert_eq!(counters.rows(), 2);
        let call = Share::call(&counters);
        assert_eq!((counters.calls(), counters.requests()), (1, 0));
        drop((a, call));
        assert_eq!((counters.rows(), counters.calls()), (0, 0));
    }

    #[test]
    fn ends_are_counted_under_their_names() {
        let counters = Counters::default();
        let outcomes = [
            Outcome::Processed,
            Outcome::Ignored(String::new()),
            Outcome::Retry(1, String::new()),
            Outcome::Failed(String::new()),
            Outcome::Moot,
            Outcome::Wait(1),
        ];
        for (number, outcome) in outcomes.iter().enumerate() {
            for _ in 0..=number {
                counters.settle(false, outcome);
            }
        }
        let settled: Vec<_> = counters.settled().filter(|(.., count)| *count > 0).collect();
        let names: Vec<_> = settled.iter().map(|(to, outcome, _)| (*to, *outcome)).collect();
        assert_eq!(names, OUTCOMES.map(|outcome| ("integration", outcome)));
        assert_eq!(settled.iter().map(|(.., count)| *count).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
        counters.attempt(Verdict::Gone);
        assert_eq!(counters.attempts().find(|(_, count)| *count == 1), Some(("gone", 1)));
    }
}
