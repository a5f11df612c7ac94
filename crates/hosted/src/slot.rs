//! What is known of one bot's or integration's code: the process that takes its calls, and how often it
//! has failed.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

use duologue_bridge::Code;
use futures_util::future::{BoxFuture, FutureExt, Shared};
use tokio::time::Instant;

use crate::{
    Error, Inner,
    process::{self, Process},
    source::{Level, Line, Program},
};

/// A process that ran this long before it failed is started again at once.
const STABLE: Duration = Duration::from_secs(60);
/// The first pause after a repeated failure; it doubles with every further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A call waits for the end of a pause this short.
const SHORT: Duration = Duration::from_secs(3);

type Ready = Shared<BoxFuture<'static, Result<Arc<Process>, Error>>>;

pub struct Slot {
    pub code: Code,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    current: Option<Current>,
    /// Somebody looks whether the current process is still right, or starts another; since which generation.
    renewing: Option<(u64, Ready)>,
    failures: u32,
    /// What failed, why, and until when it isn't started again.
    failure: Option<Failure>,
}

struct Current {
    process: Arc<Process>,
    version: String,
    /// When its version was last found to be the deployed one, as generation and instant.
    checked: (u64, Instant),
}

struct Failure {
    version: String,
    reason: String,
    until: Instant,
}

impl Slot {
    pub fn new(code: Code) -> Self {
        Slot { code, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process, with a call counted in.
    pub async fn enter(self: &Arc<Self>, inner: &Arc<Inner>) -> Result<Arc<Process>, Error> {
        let asked = inner.source.generation();
        let mut closed = 0;
        // The one that was made ready may be closed again at once: by the next deployment, say.
        while closed < 3 {
            if let Some(process) = self.believed(inner) {
                return Ok(process);
            }
            let (since, ready) = self.renewed(inner);
            let result = ready.await;
            if since < asked {
                // It began before the deployment that this call comes after, and may have missed it.
                continue;
            }
            let process = result?;
            if process.enter() {
                return Ok(process);
            }
            closed += 1;
        }
        Err(Error::Start("it ends as soon as it listens".to_owned()))
    }

    /// The current process if it takes calls and its version needs no look.
    fn believed(&self, inner: &Inner) -> Option<Arc<Process>> {
        let state = self.state();
        let current = state.current.as_ref()?;
        let (generation, at) = current.checked;
        let fresh = inner.source.generation() == generation
            && inner.source.believed_for().is_none_or(|time| at.elapsed() < time);
        (fresh && current.process.enter()).then(|| current.process.clone())
    }

    /// One task at a time does the work, whoever gives up waiting for it.
    fn renewed(self: &Arc<Self>, inner: &Arc<Inner>) -> (u64, Ready) {
        let mut state = self.state();
        if let Some(renewing) = &state.renewing {
            return renewing.clone();
        }
        let since = inner.source.generation();
        let (slot, inner) = (self.clone(), inner.clone());
        let work = tokio::spawn(async move {
            let renewing = Renewing(slot);
            renewing.0.renew(&inner).await
        });
        let ready: Ready = work.map(|joined| joined.unwrap_or_else(|_| Err(Error::Stopping))).boxed().shared();
        state.renewing = Some((since, ready.clone()));
        (since, ready)
    }

    async fn renew(self: &Arc<Self>, inner: &Arc<Inner>) -> Result<Arc<Process>, Error> {
        if inner.is_stopping() {
            return Err(Error::Stopping);
        }
        if let Some(process) = self.process() {
            process.settled().await;
        }
        // First the generation: what changes while the version is read is looked at again.
        let checked = (inner.source.generation(), Instant::now());
        let version = inner.source.version(&self.code).await.map_err(Error::Source)?;
        let Some(version) = version else {
            self.retire();
            return Err(Error::NoCode(inner.name(&self.code)));
        };
        if let Some(current) = &mut self.state().current
            && current.version == version
            && current.process.is_open()
        {
            current.checked = checked;
            return Ok(current.process.clone());
        }
        self.pause(&version).await?;
        let (process, version) = self.start(inner).await?;
        self.state().current = Some(Current { process: process.clone(), version, checked });
        if inner.is_stopping() {
            self.retire();
            return Err(Error::Stopping);
        }
        Ok(process)
    }

    /// Waits out the pause after a failure of this version, if it is short.
    async fn pause(&self, version: &str) -> Result<(), Error> {
        let until = {
            let mut state = self.state();
            match &state.failure {
                Some(failure) if failure.version == version => {
                    let left = failure.until.saturating_duration_since(Instant::now());
                    if left > SHORT {
                        let seconds = left.as_secs() + 1;
                        return Err(Error::Waiting { seconds, reason: failure.reason.clone() });
                    }
                    failure.until
                }
                // Another version deserves a chance of its own.
                _ => {
                    state.failures = 0;
                    state.failure = None;
                    return Ok(());
                }
            }
        };
        tokio::time::sleep_until(until).await;
        Ok(())
    }

    async fn start(self: &Arc<Self>, inner: &Arc<Inner>) -> Result<(Arc<Process>, String), Error> {
        let node = inner.node.find().await?;
        let old = self.state().current.as_ref().map(|current| current.process.clone());
        let program = inner.source.program(&self.code).await.map_err(Error::Source)?;
        let Some(program) = program else { return Err(Error::NoCode(inner.name(&self.code))) };
        let result = self.start_program(inner, &node, &program, old.as_deref()).await;
        if let Err(error) = &result {
            inner.source.ended(&self.code, program.token_id.clone());
            if let Error::Start(reason) = error {
                inner.failed.fetch_add(1, Ordering::Relaxed);
                inner.source.log(&self.code, Line::new(Level::Error, format!("The process did not start: {reason}")));
                self.failed(&program.version, reason.clone(), Duration::ZERO);
            }
        }
        Ok((result?, program.version))
    }

    async fn start_program(
        self: &Arc<Self>,
        inner: &Arc<Inner>,
        node: &crate::node::Node,
        program: &Program,
        old: Option<&Process>,
    ) -> Result<Arc<Process>, Error> {
        let home = inner.folder.home(&self.code, &program.bundle).map_err(|error| Error::Start(error.to_string()))?;
        let command = node.command(&inner.folder.runner(), &home, inner.settings.memory, inner.settings.confined);
        // The calls that come now wait for the new process; those under way end in the old one.
        let place = match old.and_then(Process::hand_over) {
            Some(place) => place,
            None => inner.place().await?,
        };
        process::start(inner, self, program, command, home, place).await.map_err(Error::Start)
    }

    /// It failed after it had run for this long.
    pub fn failed(&self, version: &str, reason: String, uptime: Duration) {
        let mut state = self.state();
        let same = state.failure.as_ref().is_some_and(|failure| failure.version == version);
        state.failures = if uptime >= STABLE || !same { 1 } else { state.failures.saturating_add(1) };
        let until = Instant::now() + pause_after(state.failures, crate::random_unit());
        state.failure = Some(Failure { version: version.to_owned(), reason, until });
    }

    /// Its process, if it has one.
    pub fn process(&self) -> Option<Arc<Process>> {
        self.state().current.as_ref().map(|current| current.process.clone())
    }

    /// Lets its process finish what it does.
    pub fn retire(&self) {
        if let Some(current) = self.state().current.take() {
            current.process.retire();
        }
    }
}

/// Ends the renewal, also when it panics.
struct Renewing(Arc<Slot>);

impl Drop for Renewing {
    fn drop(&mut self) {
        self.0.state().renewing = None;
    }
}

/// How long after so many failures in a row; `random` is in 0..1.
fn pause_after(failures: u32, random: f64) -> Duration {
    if failures <= 1 {
        return Duration::ZERO;
    }
    let full = FIRST_PAUSE.saturating_mul(1 << (failures - 2).min(16)).min(LONGEST_PAUSE);
    full.mul_f64(0.5 + random / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_bounded() {
        let pauses: Vec<u64> = (1..12).map(|failures| pause_after(failures, 1.0).as_secs()).collect();
        assert_eq!(pauses, [0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
        assert_eq!(pause_after(4, 0.0), Duration::from_secs(2));
        assert!(pause_after(u32::MAX, 0.5) < LONGEST_PAUSE);
    }
}
