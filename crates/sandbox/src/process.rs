//! A worker process as its slot sees it: start, frames, end.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use crate::wire::{self, Inbox, Next, to_parent, to_worker};

/// How long a worker may take to lock itself in.
const START: Duration = Duration::from_secs(10);
/// Bytes read at one time.
const CHUNK: usize = 64 << 10;

/// How to start a worker.
#[derive(Clone, Debug)]
pub struct Recipe {
    pub command: Vec<OsString>,
    pub time_zone: Option<String>,
    pub address_space: u64,
    pub contexts: usize,
}

/// A running worker.
pub struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    inbox: Inbox,
    outbox: Vec<u8>,
    written: usize,
    /// Runs so far.
    pub runs: u32,
    /// The protections that the system refused.
    pub missing: Vec<String>,
    /// Processor time that it had used when its last run ended.
    pub cpu_before: Duration,
}

/// Why waiting ended.
pub enum Woken {
    /// A frame came.
    Frame(u8, Vec<u8>),
    /// The wake pipe was written to.
    ByTask,
    /// The instant has come.
    Late,
    /// The worker ended, or sends nonsense.
    Gone,
}

impl Process {
    /// Starts a worker and waits until it has locked itself in.
    pub fn start(recipe: &Recipe) -> io::Result<Self> {
        let (program, args) = recipe.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command.args(args).env_clear().current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(zone) = &recipe.time_zone {
            command.env("TZ", zone);
        }
        let mut child = command.spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        rustix::io::ioctl_fionbio(&stdin, true)?;
        rustix::io::ioctl_fionbio(&stdout, true)?;
        let mut process = Self {
            child,
            stdin,
            stdout,
            inbox: Inbox::default(),
            outbox: Vec::new(),
            written: 0,
            runs: 0,
            missing: Vec::new(),
            cpu_before: Duration::ZERO,
        };
        process.greet(recipe)?;
        Ok(process)
    }

    fn greet(&mut self, recipe: &Recipe) -> io::Result<()> {
        let hello = wire::Hello { address_space: recipe.address_space, contexts: recipe.contexts };
        self.send(to_worker::HELLO, &hello)?;
        match self.wait(None, Instant::now() + START)? {
            Woken::Frame(to_parent::WELCOME, body) => {
                let welcome: wire::Welcome = serde_json::from_slice(&body)?;
                self.missing = welcome.missing;
                self.cpu_before = welcome.cpu;
                Ok(())
            }
            Woken::Late => Err(io::Error::new(io::ErrorKind::TimedOut, "it said nothing")),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "it ended, or isn't a script worker")),
        }
    }

    /// Puts a frame into the outbox; [`Process::wait`] writes it.
    pub fn send(&mut self, letter: u8, body: &impl Serialize) -> io::Result<()> {
        wire::append(&mut self.outbox, letter, body)?;
        self.flush()
    }

    /// Waits for a frame, a byte in `wake`, or an instant.
    pub fn wait(&mut self, wake: Option<BorrowedFd<'_>>, until: Instant) -> io::Result<Woken> {
        loop {
            match self.inbox.next() {
                Next::Frame(letter, body) => return Ok(Woken::Frame(letter, body)),
                Next::Malformed => return Ok(Woken::Gone),
                Next::Incomplete => {}
            }
            let Some(left) = until.checked_duration_since(Instant::now()) else { return Ok(Woken::Late) };
            let (readable, woken, writable) = self.poll(wake, left)?;
            if writable {
                self.flush()?;
            }
            if readable && !self.fill()? {
                return Ok(Woken::Gone);
            }
            if woken {
                return Ok(Woken::ByTask);
            }
        }
    }

    fn poll(&self, wake: Option<BorrowedFd<'_>>, left: Duration) -> io::Result<(bool, bool, bool)> {
        let timeout = Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos() as _ };
        let nothing = self.stdout.as_fd();
        let mut fds = [
            PollFd::from_borrowed_fd(self.stdout.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(wake.unwrap_or(nothing), PollFlags::IN),
            PollFd::new(&self.stdin, PollFlags::OUT),
        ];
        let count = if self.written < self.outbox.len() { 3 } else { 2 };
        match poll(&mut fds[..count], Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = |at: usize| at < count && !fds[at].revents().is_empty();
        Ok((ready(0), wake.is_some() && ready(1), ready(2)))
    }

    /// Reads what is there; false at the end.
    fn fill(&mut self) -> io::Result<bool> {
        let mut chunk = [0; CHUNK];
        match rustix::io::read(&self.stdout, &mut chunk) {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.inbox.push(&chunk[..count]);
                Ok(true)
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes what fits.
    fn flush(&mut self) -> io::Result<()> {
        while self.written < self.outbox.len() {
            match rustix::io::write(&self.stdin, &self.outbox[self.written..]) {
                Ok(count) => self.written += count,
                Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.outbox.clear();
        self.outbox.shrink_to(1 << 20);
        self.written = 0;
        Ok(())
    }

    /// Processor time that the present run has used, to a hundredth of a second; none where the system doesn't tell.
    pub fn cpu_of_run(&self) -> Option<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        // The name before the last parenthesis may hold anything. After it come the state, …, utime, stime.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse::<f64>().ok();
        let used = (ticks()? + ticks()?) / rustix::param::clock_ticks_per_second() as f64;
        Some(Duration::from_secs_f64(used).saturating_sub(self.cpu_before))
    }

    /// Whether it ended while nobody looked.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it if it still runs, and reaps it.
    pub fn end(mut self) -> Option<ExitStatus> {
        let _ = self.child.kill();
        self.child.wait().ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
