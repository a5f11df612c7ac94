//! Between the task that asked for a run and the slot that has it.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::wire::{Answer, Call};
use crate::{Done, ScriptError};

/// What a slot tells the task.
pub enum Event {
    /// The script calls its host.
    Call(Call),
    /// The run is over.
    Over(Result<Done, Box<ScriptError>>),
}

/// Both ends hold one. The slot is woken through a pipe because it waits for its worker's pipe, too.
#[derive(Default)]
pub struct Link {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    answers: Vec<Answer>,
    cancelled: bool,
    slot: Option<Arc<OwnedFd>>,
}

impl Link {
    /// Slot: takes the run. False if nobody waits for it any more.
    pub fn attach(&self, slot: Arc<OwnedFd>) -> bool {
        let mut inner = self.lock();
        inner.slot = Some(slot);
        !inner.cancelled
    }

    /// Slot: what came since the last time; none if the run is cancelled.
    pub fn take(&self) -> Option<Vec<Answer>> {
        let mut inner = self.lock();
        (!inner.cancelled).then(|| std::mem::take(&mut inner.answers))
    }

    /// Task: answers a call.
    pub fn answer(&self, answer: Answer) {
        let mut inner = self.lock();
        inner.answers.push(answer);
        inner.wake();
    }

    /// Task: nobody waits any more.
    pub fn cancel(&self) {
        let mut inner = self.lock();
        inner.cancelled = true;
        inner.wake();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn wake(&self) {
        if let Some(slot) = &self.slot {
            // A full pipe is as good as one more byte: the slot will wake.
            let _ = rustix::io::write(slot, &[1]);
        }
    }
}
