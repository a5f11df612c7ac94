//! A slot: a thread that owns a worker process, gives it one run after the other, and ends it when a
//! run overruns. The thread lives as long as its worker because the system ends a worker whose
//! starting thread is gone.

use std::borrow::Cow;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::error::Class;
use crate::link::Event;
use crate::pool::Shared;
use crate::process::{Process, Woken};
use crate::queue::Job;
use crate::wire::{self, to_parent, to_worker};
use crate::{Done, Kind, Run, ScriptError};

/// Runs after which a worker is replaced, whatever they were.
const WORN: u32 = 20_000;
/// Pause after a worker that could not be started.
const PAUSE: Duration = Duration::from_millis(200);

/// A slot's life.
pub fn live(shared: &Arc<Shared>, first: Option<Process>) {
    let Ok((wake_read, wake_write)) = wake_pipe() else { return };
    let mut slot = Slot { shared, process: first, wake_read, wake_write: Arc::new(wake_write) };
    slot.ensure();
    while let Some(job) = shared.queue.take() {
        slot.serve(job);
        slot.ensure();
    }
}

fn wake_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::pipe::{PipeFlags, pipe_with};
    Ok(pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?)
}

struct Slot<'a> {
    shared: &'a Arc<Shared>,
    process: Option<Process>,
    wake_read: OwnedFd,
    wake_write: Arc<OwnedFd>,
}

/// How a run ended, and whether the worker can be used again.
struct Ending {
    outcome: Result<Done, Box<ScriptError>>,
    worn: bool,
}

impl Slot<'_> {
    /// Has a worker, unless none can be started.
    fn ensure(&mut self) {
        if self.process.is_some() || self.shared.queue.closed() {
            return;
        }
        match Process::start(&self.shared.recipe) {
            Ok(process) => self.process = Some(process),
            Err(error) => {
                tracing::error!(%error, "can't start a script worker");
                std::thread::sleep(PAUSE);
            }
        }
    }

    fn serve(&mut self, job: Job) {
        let mut clock = Clock::new(self.shared, &job.run);
        if !job.link.attach(self.wake_write.clone()) {
            clock.over(&job.run.owner);
            return;
        }
        let outcome = if job.queued.elapsed() > self.shared.patience {
            Err(ScriptError::boxed(Class::Busy, "the script waited too long for a worker"))
        } else {
            self.run(&job, &mut clock)
        };
        clock.over(&job.run.owner);
        job.tell(Event::Over(outcome));
    }

    fn run(&mut self, job: &Job, clock: &mut Clock<'_>) -> Result<Done, Box<ScriptError>> {
        self.process.take_if(Process::has_ended);
        self.ensure();
        let Some(mut process) = self.process.take() else {
            return Err(ScriptError::boxed(Class::Killed, "no script worker can be started; see the server's log"));
        };
        clock.restart();
        process.runs += 1;
        let ending = self.converse(&mut process, job, clock);
        match ending {
            Ok(Ending { outcome, worn }) => {
                if !worn && process.runs < WORN {
                    self.process = Some(process);
                }
                outcome
            }
            Err(error) => {
                let ended = process.end();
                tracing::warn!(script = job.run.name, owner = %job.run.owner, %error, ?ended, "a script worker is gone");
                Err(ScriptError::boxed(Class::Killed, "the script's worker process ended in the middle of the run"))
            }
        }
    }

    fn converse(&self, process: &mut Process, job: &Job, clock: &mut Clock<'_>) -> io::Result<Ending> {
        send_run(process, &job.run)?;
        let mut calls = 0;
        loop {
            match process.wait(Some(self.wake_read.as_fd()), clock.deadline())? {
                Woken::Frame(to_parent::CALL, body) => {
                    calls += 1;
                    if calls > job.run.limits.calls {
                        return Ok(killed(ScriptError::boxed(Class::Limit, "too many host calls")));
                    }
                    job.tell(Event::Call(serde_json::from_slice(&body)?));
                }
                Woken::Frame(to_parent::FILE, body) => {
                    let asked: wire::FileRequest = serde_json::from_slice(&body)?;
                    let found = job.run.files.resolve(&asked.from, &asked.request);
                    let found = found.as_ref().map(|file| (Cow::from(&*file.path), Cow::from(&*file.source)));
                    process.send(to_worker::FILE, &wire::FileAnswer { found })?;
                }
                Woken::Frame(to_parent::IDLE, body) => {
                    let idle: wire::Idle = serde_json::from_slice(&body)?;
                    clock.idle(idle.timer.map(Duration::from_millis));
                }
                Woken::Frame(to_parent::DONE, body) => {
                    let frame: wire::DoneFrame = serde_json::from_slice(&body)?;
                    process.cpu_before = frame.cpu;
                    return Ok(Ending { worn: frame.worn, outcome: outcome(frame) });
                }
                Woken::Frame(..) | Woken::Gone => return Err(io::ErrorKind::UnexpectedEof.into()),
                Woken::ByTask => {
                    let mut bytes = [0; 64];
                    let _ = rustix::io::read(&self.wake_read, &mut bytes);
                    let Some(answers) = job.link.take() else {
                        return Ok(killed(ScriptError::boxed(Class::Killed, "the run was cancelled")));
                    };
                    for answer in answers {
                        process.send(to_worker::ANSWER, &answer)?;
                        clock.resume();
                    }
                }
                Woken::Late => {
                    if !clock.timer() && !clock.spare(process.cpu_of_run()) {
                        return Ok(killed(clock.overrun()));
                    }
                }
            }
        }
    }
}

fn send_run(process: &mut Process, run: &Run) -> io::Result<()> {
    let frame = wire::RunFrame {
        kind: Cow::Borrowed(&run.kind),
        owner: Cow::Borrowed(&run.owner),
        name: Cow::Borrowed(&run.name),
        source: Cow::Borrowed(&run.source),
        has_files: !run.files.is_empty(),
        variables: Cow::Owned(wire::raw(&run.variables)?),
        flags: run.flags.clone(),
        process: if run.kind == Kind::Condition { Value::Null } else { run.process.clone() },
        limits: run.limits.clone(),
    };
    process.send(to_worker::RUN, &frame)
}

fn killed(error: Box<ScriptError>) -> Ending {
    Ending { outcome: Err(error), worn: true }
}

/// The frame as the caller sees it. A script can make JSON that nests deeper than a parser follows.
fn outcome(frame: wire::DoneFrame) -> Result<Done, Box<ScriptError>> {
    let deep = |error: serde_json::Error| {
        ScriptError::boxed(Class::Limit, format!("what the script left can't be read as JSON: {error}"))
    };
    let variables = frame.variables.map(|raw| serde_json::from_str(raw.get())).transpose().map_err(deep)?;
    if let Some(failure) = frame.failure {
        return Err(Box::new(ScriptError {
            class: failure.class,
            message: failure.message,
            stack: failure.stack,
            file: failure.file,
            line: failure.line,
            column: failure.column,
            variables,
            logs: frame.logs,
        }));
    }
    let result = frame.result.map(|raw| serde_json::from_str(raw.get())).transpose().map_err(deep)?;
    let result = result.unwrap_or(Value::Null);
    Ok(Done { result, promise: frame.promise, variables, flags: frame.flags, logs: frame.logs })
}

/// A run's time: what it may still compute, and when it ends in any case.
struct Clock<'a> {
    shared: &'a Arc<Shared>,
    end: Instant,
    compute: Duration,
    left: Duration,
    total: Duration,
    /// Since when it computes; none while it waits.
    since: Option<Instant>,
    /// When a timer of the script makes it compute again.
    timer: Option<Instant>,
}

impl<'a> Clock<'a> {
    fn new(shared: &'a Arc<Shared>, run: &Run) -> Self {
        let now = Instant::now();
        let (compute, total) = (run.limits.compute, run.limits.total);
        Self { shared, end: now + total, compute, left: compute, total, since: Some(now), timer: None }
    }

    /// The worker is there: from now on it counts.
    fn restart(&mut self) {
        let now = Instant::now();
        self.end = now + self.total;
        self.since = Some(now);
    }

    /// When to look after the run. The worker stops a run by itself, so the parent waits a little longer.
    fn deadline(&self) -> Instant {
        let next = match (self.since, self.timer) {
            (Some(since), _) => since + self.left,
            (None, Some(timer)) => return timer.min(self.end + self.shared.grace),
            (None, None) => self.end,
        };
        next.min(self.end) + self.shared.grace
    }

    fn idle(&mut self, timer: Option<Duration>) {
        let now = Instant::now();
        if let Some(since) = self.since.take() {
            self.left = self.left.saturating_sub(now - since);
            self.shared.computing(false);
        }
        self.timer = timer.and_then(|after| now.checked_add(after));
    }

    fn resume(&mut self) {
        if self.since.is_none() {
            self.since = Some(Instant::now());
            self.timer = None;
            self.shared.computing(true);
        }
    }

    /// Whether it was a timer of the script that is due.
    fn timer(&mut self) -> bool {
        let now = Instant::now();
        let due = self.since.is_none() && self.timer.is_some_and(|timer| timer <= now) && now < self.end;
        if due {
            self.resume();
        }
        due
    }

    /// Whether a run that seems to compute too long was only waiting for a processor.
    fn spare(&mut self, used: Option<Duration>) -> bool {
        let now = Instant::now();
        let left = used.map_or(Duration::ZERO, |used| self.compute.saturating_sub(used));
        if self.since.is_none() || now >= self.end || left.is_zero() {
            return false;
        }
        self.since = Some(now);
        self.left = left;
        true
    }

    fn overrun(&self) -> Box<ScriptError> {
        let message = if Instant::now() >= self.end {
            format!("the script took longer than {:?} in all and was ended", self.total)
        } else {
            format!("the script computed longer than {:?} and was ended", self.compute)
        };
        ScriptError::boxed(Class::Timeout, message)
    }

    fn over(&mut self, owner: &Arc<str>) {
        self.shared.queue.over(owner, self.since.is_some());
    }
}
