//! The runs that wait for a slot: bounded, and fair between owners.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use crate::Run;
use crate::link::{Event, Link};

/// A run that waits or is in a slot.
pub struct Job {
    pub run: Run,
    pub link: Arc<Link>,
    pub events: UnboundedSender<Event>,
    pub queued: Instant,
}

impl Job {
    /// Tells the task. A task that is gone has cancelled the link.
    pub fn tell(&self, event: Event) {
        let _ = self.events.send(event);
    }
}

/// Bounds of the queue and of the number of slots.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Slots that stay, and runs that compute at one time.
    pub workers: usize,
    /// Slots at most; those beyond `workers` exist while others wait for host calls.
    pub max_workers: usize,
    /// Slots that one owner may hold at one time.
    pub per_owner: usize,
    /// Runs that may wait.
    pub queue: usize,
    /// How long a slot beyond `workers` stays without work.
    pub idle: Duration,
}

/// Waiting runs and the count of slots.
pub struct Queue {
    bounds: Bounds,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lanes: HashMap<Arc<str>, Lane>,
    /// Owners with waiting runs, in the order of their turn.
    ring: VecDeque<Arc<str>>,
    queued: usize,
    slots: usize,
    free: usize,
    computing: usize,
    closed: bool,
}

#[derive(Default)]
struct Lane {
    waiting: VecDeque<Job>,
    running: usize,
}

/// Numbers at one instant: waiting runs, slots, runs that compute.
pub struct Numbers {
    pub queued: usize,
    pub slots: usize,
    pub computing: usize,
}

/// Whether the caller should start one more slot, already counted.
#[must_use]
pub struct Grow(pub bool);

impl Queue {
    pub fn new(bounds: Bounds) -> Self {
        let state = State { slots: bounds.workers, ..State::default() };
        Self { bounds, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Puts a run in line; none when the queue is full or closed.
    pub fn push(&self, job: Job) -> Option<Grow> {
        self.enter(&mut self.lock(), job)
    }

    fn enter(&self, state: &mut State, job: Job) -> Option<Grow> {
        if state.closed || state.queued >= self.bounds.queue {
            return None;
        }
        let owner = job.run.owner.clone();
        let lane = state.lanes.entry(owner.clone()).or_default();
        let first = lane.waiting.is_empty();
        lane.waiting.push_back(job);
        if first {
            state.ring.push_back(owner);
        }
        state.queued += 1;
        self.changed.notify_one();
        Some(self.grow(state))
    }

    /// The next run for a free slot. None when the slot should end.
    pub fn take(&self) -> Option<Job> {
        let mut state = self.lock();
        state.free += 1;
        let mut idle = false;
        let job = loop {
            if state.closed {
                break None;
            }
            // Also at the end of the wait: a run that came at that instant counted on this slot.
            if let Some(job) = self.next(&mut state) {
                state.computing += 1;
                break Some(job);
            }
            if idle && state.slots > self.bounds.workers {
                break None;
            }
            let (again, waited) =
                self.changed.wait_timeout(state, self.bounds.idle).unwrap_or_else(PoisonError::into_inner);
            (state, idle) = (again, waited.timed_out());
        };
        state.free -= 1;
        if job.is_none() {
            state.slots -= 1;
        }
        job
    }

    /// The run of a slot begins to wait for its host (`false`) or goes on computing (`true`).
    pub fn computing(&self, computing: bool) -> Grow {
        let mut state = self.lock();
        if computing {
            state.computing += 1;
            return Grow(false);
        }
        state.computing -= 1;
        self.changed.notify_one();
        self.grow(&mut state)
    }

    /// The run of a slot is over; `computing` as last told.
    pub fn over(&self, owner: &Arc<str>, computing: bool) {
        let mut state = self.lock();
        state.computing -= usize::from(computing);
        if let Some(lane) = state.lanes.get_mut(owner) {
            lane.running -= 1;
            if lane.running == 0 && lane.waiting.is_empty() {
                state.lanes.remove(owner);
            }
        }
        self.changed.notify_one();
    }

    /// Ends all slots once their runs are over, and hands back what waits.
    pub fn close(&self) -> Vec<Job> {
        let mut state = self.lock();
        state.closed = true;
        state.ring.clear();
        state.queued = 0;
        self.changed.notify_all();
        state.lanes.values_mut().flat_map(|lane| lane.waiting.drain(..)).collect()
    }

    /// Whether the pool is gone.
    pub fn closed(&self) -> bool {
        self.lock().closed
    }

    pub fn numbers(&self) -> Numbers {
        let state = self.lock();
        Numbers { queued: state.queued, slots: state.slots, computing: state.computing }
    }

    /// The first run of the first owner in turn that may have one more slot.
    fn next(&self, state: &mut State) -> Option<Job> {
        let place = self.eligible(state)?;
        let owner = state.ring.remove(place)?;
        let lane = state.lanes.get_mut(&owner)?;
        let job = lane.waiting.pop_front()?;
        lane.running += 1;
        if !lane.waiting.is_empty() {
            state.ring.push_back(owner);
        }
        state.queued -= 1;
        Some(job)
    }

    fn eligible(&self, state: &State) -> Option<usize> {
        if state.computing >= self.bounds.workers {
            return None;
        }
        let below = |owner: &Arc<str>| state.lanes.get(owner).is_some_and(|lane| lane.running < self.bounds.per_owner);
        state.ring.iter().position(below)
    }

    fn grow(&self, state: &mut State) -> Grow {
        let grow = state.free == 0 && state.slots < self.bounds.max_workers && self.eligible(state).is_some();
        state.slots += usize::from(grow);
        Grow(grow)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    const IDLE: Duration = Duration::from_millis(20);

    fn queue() -> Queue {
        Queue::new(Bounds { workers: 1, max_workers: 2, per_owner: 2, queue: 10, idle: IDLE })
    }

    fn job() -> Job {
        Job {
            run: Run::new(Kind::Condition, "owner", "name", "true"),
            link: Arc::default(),
            events: tokio::sync::mpsc::unbounded_channel().0,
            queued: Instant::now(),
        }
    }

    #[test]
    fn a_run_that_comes_as_a_slot_is_about_to_end_is_taken() {
        let queue = queue();
        // `None`: the slot ended before this thread saw it wait.
        let attempt = || {
            // One slot's run waits for its host; a surplus slot has nothing to do.
            queue.lock().slots = 2;
            std::thread::scope(|scope| {
                let surplus = scope.spawn(|| queue.take());
                let mut state = loop {
                    let state = queue.lock();
                    if state.free == 1 {
                        break state;
                    }
                    drop(state);
                    if surplus.is_finished() {
                        return None;
                    }
                };
                // Its time is up now, but it can't look before the run is in line.
                std::thread::sleep(IDLE * 4);
                let grow = queue.enter(&mut state, job());
                assert!(grow.is_some_and(|Grow(more)| !more), "there is a free slot");
                drop(state);
                Some(surplus.join().unwrap())
            })
        };
        let taken = std::iter::repeat_with(attempt).flatten().next().unwrap();
        assert!(taken.is_some());
    }

    #[test]
    fn a_surplus_slot_without_work_ends() {
        let queue = queue();
        queue.lock().slots = 2;
        assert!(queue.take().is_none());
        assert_eq!((queue.numbers().slots, queue.lock().free), (1, 0));
    }
}
