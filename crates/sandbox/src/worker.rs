//! The worker process: reads runs from stdin, computes, writes what comes of them to stdout. It
//! locks itself in before it sees a script.

mod bytecode;
mod channel;
mod condition;
mod engine;
mod failure;
mod lockdown;
mod native;

use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::error::Class;
use crate::wire::{self, DoneFrame, Failure, RunFrame, to_parent, to_worker};
use crate::{Kind, Limits};
pub use bytecode::provides;
use channel::Channel;

/// The whole life of a worker process; the hidden subcommand of a binary calls this and nothing else.
/// Ends when stdin does.
pub fn worker_main() -> ExitCode {
    let channel = Rc::new(Channel::default());
    match serve(&channel) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("script worker: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(channel: &Rc<Channel>) -> Result<(), Error> {
    let hello: wire::Hello = serde_json::from_slice(&channel.expect(to_worker::HELLO)?)?;
    let welcome = lockdown::lock(hello.address_space);
    channel.send(to_parent::WELCOME, &welcome)?;
    let mut conditions = condition::Conditions::new(hello.contexts);
    let mut ready = Some(engine::Engine::new(channel)?);
    loop {
        let Ok(body) = channel.expect(to_worker::RUN) else { return Ok(()) };
        let frame: RunFrame = serde_json::from_slice(&body)?;
        lockdown::allow_cpu(frame.limits.compute);
        if *frame.kind == Kind::Condition {
            let done = conditions.run(&frame);
            channel.send(to_parent::DONE, &DoneFrame { cpu: lockdown::cpu(), ..done })?;
            continue;
        }
        let engine = match ready.take() {
            Some(engine) => engine,
            None => engine::Engine::new(channel)?,
        };
        let done = engine.run(&frame)?;
        channel.send(to_parent::DONE, &DoneFrame { cpu: lockdown::cpu(), ..done })?;
        channel.forget_answers();
        // Everything of the run is gone before the next one's engine is made, ahead of its need.
        drop(engine);
        ready = Some(engine::Engine::new(channel)?);
    }
}

/// Why a worker gives up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the parent is gone")]
    Closed,
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("a frame can't be read: {0}")]
    Frame(#[from] serde_json::Error),
    #[error("the script engine: {0}")]
    Engine(#[from] rquickjs::Error),
}

/// When a run must stop computing. Computing is processor time: a busy machine makes no script fail,
/// and waiting for the host doesn't count.
#[derive(Clone, Copy)]
struct Budget {
    started: Instant,
    cpu_end: Duration,
    total_end: Instant,
}

impl Budget {
    fn of(limits: &Limits) -> Self {
        let now = Instant::now();
        Self { started: now, cpu_end: lockdown::cpu() + limits.compute, total_end: now + limits.total }
    }

    fn over(&self) -> bool {
        Instant::now() >= self.total_end || lockdown::cpu() >= self.cpu_end
    }

    /// What to say once it is over.
    fn failure(&self, limits: &Limits) -> Failure {
        let message = if Instant::now() >= self.total_end {
            format!("the script took longer than {:?} in all and was stopped", limits.total)
        } else {
            format!("the script computed longer than {:?} and was stopped", limits.compute)
        };
        failure::plain(Class::Timeout, message)
    }
}

fn failed(failure: Failure) -> DoneFrame {
    DoneFrame { failure: Some(failure), ..DoneFrame::default() }
}
