//! The worker's end of the pipes.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{Write, stdin, stdout};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use super::Error;
use crate::wire::{self, Answer, Inbox, Next, to_worker};

const CHUNK: usize = 64 << 10;

/// Frames in and out. Answers that come while something else is waited for are kept.
#[derive(Default)]
pub struct Channel {
    inbox: RefCell<Inbox>,
    answers: RefCell<VecDeque<Answer>>,
}

impl Channel {
    /// Writes a frame.
    pub fn send(&self, letter: u8, body: &impl Serialize) -> Result<(), Error> {
        let mut bytes = Vec::new();
        wire::append(&mut bytes, letter, body)?;
        let mut out = stdout().lock();
        out.write_all(&bytes)?;
        out.flush()?;
        Ok(())
    }

    /// Waits for a frame with this letter. Answers are kept for [`Channel::answer`], or for nobody.
    pub fn expect(&self, letter: u8) -> Result<Vec<u8>, Error> {
        loop {
            let (got, body) = self.frame(None)?.ok_or(Error::Closed)?;
            if got == letter {
                return Ok(body);
            }
            self.keep(got, &body)?;
        }
    }

    /// The next answer; none when `until` has come.
    pub fn answer(&self, until: Instant) -> Result<Option<Answer>, Error> {
        loop {
            if let Some(answer) = self.answers.borrow_mut().pop_front() {
                return Ok(Some(answer));
            }
            let Some((letter, body)) = self.frame(Some(until))? else { return Ok(None) };
            self.keep(letter, &body)?;
        }
    }

    /// Drops the answers that a run did not wait for.
    pub fn forget_answers(&self) {
        self.answers.borrow_mut().clear();
    }

    fn keep(&self, letter: u8, body: &[u8]) -> Result<(), Error> {
        if letter == to_worker::ANSWER {
            self.answers.borrow_mut().push_back(serde_json::from_slice(body)?);
        }
        Ok(())
    }

    fn frame(&self, until: Option<Instant>) -> Result<Option<(u8, Vec<u8>)>, Error> {
        let mut inbox = self.inbox.borrow_mut();
        let mut chunk = [0; CHUNK];
        loop {
            match inbox.next() {
                Next::Frame(letter, body) => return Ok(Some((letter, body))),
                Next::Malformed => return Err(Error::Closed),
                Next::Incomplete => {}
            }
            if let Some(until) = until
                && !readable(until)?
            {
                return Ok(None);
            }
            // Raw reads: what std buffers would be invisible to `poll`.
            match rustix::io::read(stdin(), &mut chunk) {
                Ok(0) => return Err(Error::Closed),
                Ok(count) => inbox.push(&chunk[..count]),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(std::io::Error::from(error).into()),
            }
        }
    }
}

fn readable(until: Instant) -> Result<bool, Error> {
    loop {
        let left = until.checked_duration_since(Instant::now()).unwrap_or(Duration::ZERO);
        let timeout = Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos() as _ };
        let stdin = stdin();
        let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) if Instant::now() >= until => return Ok(false),
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(std::io::Error::from(error).into()),
        }
    }
}
