//! Lanes: the turns of one bot and one user, one after the other in the order in which they came.
//!
//! A lane lives while it has work. Whoever brings the first message of a lane does its turns in passing, as
//! long as he waits for his answer; what is left then is done by a task. Different lanes run side by side.

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
};

use duologue_dialog::Incoming;
use futures_util::FutureExt;
use tokio::{
    runtime::Handle,
    sync::{oneshot, watch},
};

use crate::{
    Answered, Core, LiveBot,
    turn::{self, Input, Origin, Refusal},
};

/// How many messages of one user may wait.
const LONGEST: usize = 100;

type Key = (String, String);

/// All lanes that have work.
#[derive(Default)]
pub(crate) struct Lanes(Mutex<HashMap<Key, Lane>>);

struct Lane {
    waiting: VecDeque<Job>,
    progress: Arc<Progress>,
}

/// What is done in a lane.
pub(crate) enum Job {
    /// A user's message, and who waits for the answer, if somebody does.
    Message { bot: Arc<LiveBot>, incoming: Box<Incoming>, ticket: Option<(Arc<Ticket>, oneshot::Sender<Answer>)> },
    /// A message that is stored already, with the id of its event, and who waits for the end of its turn.
    Stored { bot: Arc<LiveBot>, incoming: Box<Incoming>, event: String, done: oneshot::Sender<Result<(), Refusal>> },
    /// The dialog may have waited long enough.
    Timeout { bot: Arc<LiveBot> },
}

type Answer = Result<Answered, Refusal>;

/// What those who wait for a lane see of it.
pub(crate) struct Progress {
    /// How many instructions of a flow are running, one within the other: while any is, nobody's time
    /// is up.
    executing: watch::Sender<u32>,
}

impl Default for Progress {
    fn default() -> Self {
        Progress { executing: watch::Sender::new(0) }
    }
}

impl Progress {
    /// Notes that an instruction runs until the guard is dropped.
    pub(crate) fn execute(&self) -> Executing<'_> {
        self.executing.send_modify(|running| *running += 1);
        Executing(self)
    }
}

/// See [`Progress::execute`].
pub(crate) struct Executing<'p>(&'p Progress);

impl Drop for Executing<'_> {
    fn drop(&mut self) {
        self.0.executing.send_modify(|running| *running = running.saturating_sub(1));
    }
}

/// Settles between a turn that ends and a caller who gives up, so that each message is handed over
/// exactly once: with this answer, or with the next.
#[derive(Default)]
pub(crate) struct Ticket(AtomicU8);

const OPEN: u8 = 0;
const CLAIMED: u8 = 1;
const LEFT: u8 = 2;

impl Ticket {
    /// The turn is about to be stored: is the caller still there? Then it waits for the end.
    pub(crate) fn claim(&self) -> bool {
        self.0.compare_exchange(OPEN, CLAIMED, Ordering::AcqRel, Ordering::Acquire) != Err(LEFT)
    }

    /// The caller gives up; false if it is too late for that.
    fn leave(&self) -> bool {
        self.0.compare_exchange(OPEN, LEFT, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// Gives up when the caller's connection is gone.
struct Leaving(Arc<Ticket>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// Runs a message's turn in its lane and waits for it.
pub(crate) async fn converse(core: &Arc<Core>, bot: Arc<LiveBot>, input: Input) -> Answer {
    let timeout = bot.settings.timeout;
    let key = (bot.id.clone(), input.user.clone());
    let ticket = Arc::new(Ticket::default());
    let (sender, answer) = oneshot::channel();
    let job = Job::Message { bot, incoming: Box::new(input.into_incoming()), ticket: Some((ticket.clone(), sender)) };
    let (progress, work) = enqueue(core, key, job).ok_or(Refusal::Busy)?;
    let mut answer = Awaited { answer, work };
    // Leaves before the work goes on without him.
    let _leaving = Leaving(ticket.clone());
    let mut executing = progress.executing.subscribe();
    loop {
        tokio::select! {
            answered = &mut answer => return answered,
            () = tokio::time::sleep(timeout) => {}
        }
        // While an instruction runs the time doesn't count; after it, it begins anew.
        if *executing.borrow_and_update() > 0 {
            tokio::select! {
                answered = &mut answer => return answered,
                _ = executing.wait_for(|running| *running == 0) => continue,
            }
        }
        if ticket.leave() {
            return Err(Refusal::TimedOut);
        }
        return answer.await;
    }
}

/// What a lane has to do.
type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An answer that is waited for, and the lane's work if it is done meanwhile. Dropped, it leaves the rest of
/// the work to a task.
struct Awaited {
    answer: oneshot::Receiver<Answer>,
    work: Option<Work>,
}

impl Future for Awaited {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        if let Some(work) = &mut self.work
            && work.as_mut().poll(cx).is_ready()
        {
            self.work = None;
        }
        Pin::new(&mut self.answer).poll(cx).map(|answered| answered.unwrap_or(Err(Refusal::Failed)))
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        // Without a runtime the server is gone.
        if let (Some(work), Ok(runtime)) = (self.work.take(), Handle::try_current()) {
            runtime.spawn(work);
        }
    }
}

/// Lets a turn run for which nobody waits. A lane that is full doesn't take it.
pub(crate) fn post(core: &Arc<Core>, user: &str, bot: Arc<LiveBot>, incoming: Incoming) -> bool {
    let key = (bot.id.clone(), user.to_owned());
    go(enqueue(core, key, Job::Message { bot, incoming: Box::new(incoming), ticket: None }))
}

/// Runs the turn of a message that is stored already, in its lane, and waits for its end.
pub(crate) async fn stored(
    core: &Arc<Core>,
    bot: Arc<LiveBot>,
    incoming: Incoming,
    event: String,
) -> Result<(), Refusal> {
    let key = (bot.id.clone(), incoming.target.clone());
    let (done, ended) = oneshot::channel();
    let job = Job::Stored { bot, incoming: Box::new(incoming), event, done };
    if !go(enqueue(core, key, job)) {
        return Err(Refusal::Busy);
    }
    ended.await.unwrap_or(Err(Refusal::Failed))
}

/// Lets a timeout run unless the lane has something to do, which renews the time anyway.
pub(crate) fn post_timeout(core: &Arc<Core>, user: &str, bot: Arc<LiveBot>) {
    let key = (bot.id.clone(), user.to_owned());
    let busy = core.lanes.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&key);
    if !busy {
        go(enqueue(core, key, Job::Timeout { bot }));
    }
}

/// Lets a task do the work of a lane; says whether the lane took the job.
fn go(enqueued: Option<(Arc<Progress>, Option<Work>)>) -> bool {
    let taken = enqueued.is_some();
    if let Some((_, Some(work))) = enqueued {
        tokio::spawn(work);
    }
    taken
}

/// Puts a job into its lane; `None` if too many wait there. The work of a new lane is the caller's to do.
fn enqueue(core: &Arc<Core>, key: Key, job: Job) -> Option<(Arc<Progress>, Option<Work>)> {
    let mut lanes = core.lanes.0.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(lane) = lanes.get_mut(&key) {
        if lane.waiting.len() >= LONGEST {
            return None;
        }
        lane.waiting.push_back(job);
        return Some((lane.progress.clone(), None));
    }
    let progress = Arc::new(Progress::default());
    lanes.insert(key.clone(), Lane { waiting: VecDeque::from([job]), progress: progress.clone() });
    drop(lanes);
    let work = work(core.clone(), key, progress.clone());
    Some((progress, Some(Box::pin(work))))
}

/// Does a lane's work and removes the lane when there is none left.
async fn work(core: Arc<Core>, key: Key, progress: Arc<Progress>) {
    loop {
        let job = {
            let mut lanes = core.lanes.0.lock().unwrap_or_else(PoisonError::into_inner);
            match lanes.get_mut(&key).and_then(|lane| lane.waiting.pop_front()) {
                Some(job) => job,
                None => {
                    lanes.remove(&key);
                    return;
                }
            }
        };
        // The lane outlives whatever happens in the turn.
        if AssertUnwindSafe(run(&core, &key, &progress, job)).catch_unwind().await.is_err() {
            tracing::error!(bot = key.0, "a turn broke off");
        }
    }
}

async fn run(core: &Arc<Core>, key: &Key, progress: &Progress, job: Job) {
    match job {
        Job::Message { bot, incoming, ticket: Some((ticket, sender)) } => {
            let answer = turn::message(core, &bot, progress, *incoming, Origin::Caller(&ticket)).await;
            // Whoever left gets the messages with the next answer.
            let _ = sender.send(answer);
        }
        Job::Message { bot, incoming, ticket: None } => {
            let _ = turn::message(core, &bot, progress, *incoming, Origin::Nobody).await;
        }
        Job::Stored { bot, incoming, event, done } => {
            let answer = turn::message(core, &bot, progress, *incoming, Origin::Stored(&event)).await;
            // Whoever gave up delivers it again, and finds it done.
            let _ = done.send(answer.map(|_| ()));
        }
        Job::Timeout { bot } => turn::timeout(core, &bot, progress, &key.1).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_handed_over_once() {
        let waiting = Ticket::default();
        assert!(waiting.claim() && waiting.claim(), "claimed again when the turn is done again");
        assert!(!waiting.leave(), "too late");
        let gone = Arc::new(Ticket::default());
        drop(Leaving(gone.clone()));
        assert!(!gone.claim() && !gone.claim());
    }

    fn awaited(work: impl Future<Output = ()> + Send + 'static) -> (oneshot::Sender<Answer>, Awaited) {
        let (sender, answer) = oneshot::channel();
        (sender, Awaited { answer, work: Some(Box::pin(work)) })
    }

    #[tokio::test]
    async fn who_waits_does_the_work() {
        let (done, mut is_done) = oneshot::channel();
        let (sender, awaited) = awaited(async { done.send(()).unwrap_or_default() });
        drop(sender);
        assert!(matches!(awaited.await, Err(Refusal::Failed)), "nobody answers");
        assert!(is_done.try_recv().is_ok());
    }

    #[tokio::test]
    async fn who_leaves_leaves_the_work_to_a_task() {
        let (go_on, may_go_on) = oneshot::channel::<()>();
        let (done, is_done) = oneshot::channel();
        let (_sender, mut awaited) = awaited(async {
            may_go_on.await.unwrap_or_default();
            done.send(()).unwrap_or_default();
        });
        assert!((&mut awaited).now_or_never().is_none());
        drop(awaited);
        go_on.send(()).unwrap();
        is_done.await.unwrap();
    }

    #[test]
    fn instructions_run_within_instructions() {
        let progress = Progress::default();
        let outer = progress.execute();
        drop(progress.execute());
        assert_eq!(*progress.executing.borrow(), 1);
        drop(outer);
        assert_eq!(*progress.executing.borrow(), 0);
    }
}
