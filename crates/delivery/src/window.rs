//! The rows of one bot that are in memory, in their lanes: what may go out now, and when the next may.
//!
//! Pure bookkeeping: no clock, no store. What a row is and how calls end is decided elsewhere.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use duologue_model::Timestamp;
use duologue_store::outbox::read::Waiting;

/// Most rows in memory.
const ROWS: usize = 1024;
/// Most rows of one lane in memory, so that long ones leave room for others.
const ROWS_OF_LANE: usize = 32;
/// Rows that are soon called for.
const FEW: usize = 64;

type Key = (String, String);

/// What is in memory.
#[derive(Default)]
pub(crate) struct Window {
    lanes: HashMap<Key, Lane>,
    targets: HashMap<String, Target>,
    /// Lanes whose first row is to wait, by when it may go out.
    delayed: BTreeSet<(Timestamp, Key)>,
    rows: usize,
}

#[derive(Default)]
struct Lane {
    rows: BTreeMap<String, Waiting>,
    is_running: bool,
}

/// Whoever is called: the bot, or an integration.
#[derive(Default)]
struct Target {
    running: usize,
    /// The first rows of lanes that may go out, oldest first, with their lane.
    ready: BTreeSet<(String, String)>,
}

/// Whether a row was taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// It is in memory now, or was already.
    Taken,
    /// Its lane is long enough; nor may later rows of this lane be offered before it.
    LaneFull,
    /// There is no room at all.
    Full,
}

fn key(row: &Waiting) -> Key {
    (row.target.clone(), row.lane.clone())
}

impl Window {
    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is room for many more rows.
    pub(crate) fn is_roomy(&self) -> bool {
        self.rows <= ROWS / 2
    }

    /// Whether there is soon nothing left to do.
    pub(crate) fn is_low(&self) -> bool {
        self.rows <= FEW
    }

    /// Whether a lane has room for many more rows.
    pub(crate) fn is_lane_roomy(&self, target: &str, lane: &str) -> bool {
        let found = self.lanes.get(&(target.to_owned(), lane.to_owned()));
        found.is_none_or(|lane| lane.rows.len() <= ROWS_OF_LANE / 2)
    }

    /// Whether there is nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Takes a row in, unless it is there or there is no room. Rows are offered in the order of their
    /// ids, from the oldest.
    pub(crate) fn offer(&mut self, row: Waiting) -> Offered {
        let key = key(&row);
        if let Some(lane) = self.lanes.get(&key) {
            if lane.rows.contains_key(&row.id) {
                return Offered::Taken;
            }
            if lane.rows.len() >= ROWS_OF_LANE {
                return Offered::LaneFull;
            }
        }
        if self.rows >= ROWS {
            return Offered::Full;
        }
        self.unlist(&key);
        self.lanes.entry(key.clone()).or_default().rows.insert(row.id.clone(), row);
        self.rows += 1;
        self.list(&key);
        Offered::Taken
    }

    /// The rows that may go out now: at most `most` of each target are out at a time. They count as out
    /// until [`Window::end`] or [`Window::put_off`].
    pub(crate) fn take(&mut self, now: Timestamp, most: usize) -> Vec<Waiting> {
        while let Some((due, key)) = self.delayed.first().cloned()
            && due <= now
        {
            self.delayed.remove(&(due, key.clone()));
            if let Some(first) = self.lanes.get(&key).and_then(|lane| lane.rows.keys().next()) {
                self.targets.entry(key.0).or_default().ready.insert((first.clone(), key.1));
            }
        }
        let mut taken = Vec::new();
        for (name, target) in &mut self.targets {
            while target.running < most
                && let Some((_, lane)) = target.ready.pop_first()
            {
                let Some(lane) = self.lanes.get_mut(&(name.clone(), lane)) else { continue };
                let Some(row) = lane.rows.values().next() else { continue };
                taken.push(row.clone());
                lane.is_running = true;
                target.running += 1;
            }
        }
        taken
    }

    /// When the next row may go out that has to wait now.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.delayed.first().map(|(due, _)| *due)
    }

    /// A row that was out is settled: the next one of its lane may go out.
    pub(crate) fn end(&mut self, row: &Waiting) {
        let key = key(row);
        self.stop(&key);
        if let Some(lane) = self.lanes.get_mut(&key) {
            self.rows -= usize::from(lane.rows.remove(&row.id).is_some());
        }
        self.list(&key);
    }

    /// A row that was out is to be tried again at `due`, after so many `attempts` more; the rest of its lane
    /// waits for it.
    pub(crate) fn put_off(&mut self, row: &Waiting, due: Timestamp, attempts: i64) {
        let key = key(row);
        self.stop(&key);
        if let Some(row) = self.lanes.get_mut(&key).and_then(|lane| lane.rows.get_mut(&row.id)) {
            row.attempts += attempts;
            row.due_at = due;
        }
        self.list(&key);
    }

    fn stop(&mut self, key: &Key) {
        if let Some(lane) = self.lanes.get_mut(key).filter(|lane| lane.is_running) {
            lane.is_running = false;
            if let Some(target) = self.targets.get_mut(&key.0) {
                target.running -= 1;
            }
        }
    }

    /// Takes a lane off the lists of those whose first row may go out.
    fn unlist(&mut self, key: &Key) {
        let Some(first) = self.lanes.get(key).and_then(|lane| lane.rows.values().next()) else { return };
        self.delayed.remove(&(first.due_at, key.clone()));
        if let Some(target) = self.targets.get_mut(&key.0) {
            target.ready.remove(&(first.id.clone(), key.1.clone()));
        }
    }

    /// Puts a lane on the right list: its first row, once due, is the next to go out.
    fn list(&mut self, key: &Key) {
        let Some(lane) = self.lanes.get(key) else { return };
        match lane.rows.values().next() {
            _ if lane.is_running => {}
            Some(first) => {
                self.delayed.insert((first.due_at, key.clone()));
            }
            None => {
                self.lanes.remove(key);
                if self.targets.get(&key.0).is_some_and(|target| target.running == 0 && target.ready.is_empty()) {
                    self.targets.remove(&key.0);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use duologue_store::outbox::Kind;

    use super::*;

    fn row(id: &str, target: &str, lane: &str) -> Waiting {
        let at = Timestamp::from_millis(10);
        let (id, target, lane) = (id.to_owned(), target.to_owned(), lane.to_owned());
        Waiting { id, target, kind: Kind::Event, lane, at, attempts: 0, due_at: at }
    }

    fn ids(rows: &[Waiting]) -> Vec<&str> {
        rows.iter().map(|row| row.id.as_str()).collect()
    }

    const NOW: Timestamp = Timestamp::MAX;

    #[test]
    fn a_lane_goes_out_one_by_one_and_others_beside_it() {
        let mut window = Window::default();
        for (id, lane) in [("1", "a"), ("2", "a"), ("3", "b")] {
            assert_eq!(window.offer(row(id, "", lane)), Offered::Taken);
        }
        let out = window.take(NOW, 64);
        assert_eq!(ids(&out), ["1", "3"]);
        assert!(window.take(NOW, 64).is_empty());
        assert_eq!(window.offer(row("1", "", "a")), Offered::Taken, "it is there already");
        window.end(&out[0]);
        assert_eq!(ids(&window.take(NOW, 64)), ["2"]);
        window.end(&row("2", "", "a"));
        window.end(&row("3", "", "b"));
        assert!(window.is_empty() && window.lanes.is_empty() && window.targets.is_empty() && window.delayed.is_empty());
    }

    #[test]
    fn what_is_put_off_holds_up_its_lane_only() {
        let mut window = Window::default();
        for (id, lane) in [("1", "a"), ("2", "a"), ("3", "b")] {
            window.offer(row(id, "", lane));
        }
        let now = Timestamp::from_millis(100);
        let out = window.take(now, 64);
        window.put_off(&out[0], Timestamp::from_millis(1100), 1);
        window.end(&out[1]);
        assert!(window.take(now, 64).is_empty());
        assert_eq!(window.next_due(), Some(Timestamp::from_millis(1100)));
        let again = window.take(Timestamp::from_millis(1100), 64);
        assert_eq!((again[0].id.as_str(), again[0].attempts), ("1", 1));
    }

    #[test]
    fn each_target_has_its_own_bound() {
        let mut window = Window::default();
        for n in 0..5 {
            window.offer(row(&format!("e{n}"), "", &format!("{n}")));
            window.offer(row(&format!("m{n}"), "slack", &format!("{n}")));
        }
        let out = window.take(NOW, 2);
        assert_eq!(out.len(), 4);
        assert_eq!(out.iter().filter(|row| row.target == "slack").count(), 2);
        window.end(out.iter().find(|row| row.target.is_empty()).unwrap());
        assert_eq!(ids(&window.take(NOW, 2)), ["e2"]);
    }

    #[test]
    fn an_earlier_row_that_comes_late_goes_first() {
        let mut window = Window::default();
        window.offer(row("5", "", "a"));
        window.offer(row("4", "", "a"));
        let out = window.take(NOW, 64);
        assert_eq!(ids(&out), ["4"]);
        window.offer(row("3", "", "a"));
        assert!(window.take(NOW, 64).is_empty(), "one of the lane is out");
        window.end(&out[0]);
        assert_eq!(ids(&window.take(NOW, 64)), ["3"]);
    }

    #[test]
    fn room_is_bounded_for_a_lane_and_for_all() {
        let mut window = Window::default();
        for n in 0..ROWS_OF_LANE {
            assert_eq!(window.offer(row(&format!("{n:05}"), "", "long")), Offered::Taken);
        }
        assert_eq!(window.offer(row("99999", "", "long")), Offered::LaneFull);
        for n in ROWS_OF_LANE..ROWS {
            assert_eq!(window.offer(row(&format!("{n:05}"), "", &n.to_string())), Offered::Taken);
        }
        assert_eq!(window.offer(row("99999", "", "other")), Offered::Full);
        assert!(!window.is_roomy());
    }
}
