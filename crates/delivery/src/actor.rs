//! The deliveries of one bot: reads what waits, calls, settles, and ends when nothing has waited for a
//! while.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use duologue_model::{Timestamp, id::BotId};
use duologue_store::{
    logs::{Level, NewLine, Owner},
    outbox::{
        read::{Content, Waiting, WorkflowUpdate},
        settle::{Done, Outcome, Settle, Settled},
    },
};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};

use crate::{
    Deliveries,
    counters::Share,
    outcome::outcome,
    runner::{Code, Known, Parcel, Ran, Runner},
    window::{Offered, Window},
};

/// How long an actor stays when nothing waits: what comes next finds the bot known and the lease held.
const IDLE: Duration = Duration::from_secs(5);
/// The pause after the store failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// Rows read at a time.
const PAGE: i64 = 512;
/// Rows looked at before those that fit are called.
const LOOKED_AT: i64 = 16 * 1024;
/// How often all rows are looked at while some lane is too long to be in memory.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Most deliveries settled in one transaction.
const SETTLED: usize = 256;

/// The deliveries of one bot.
pub(crate) struct Actor {
    core: Arc<Deliveries>,
    bot: BotId,
    /// Who holds the bot's lease, where there are leases.
    owner: Option<String>,
    wake: Arc<Notify>,
    window: Window,
    /// Its rows, as they are counted.
    rows: Share,
    /// Whether there may be rows that aren't in memory.
    more: bool,
    /// Lanes of which only the first rows are in memory: targets and lanes.
    long_lanes: HashSet<(String, String)>,
    read_at: Option<Instant>,
    /// Something broke that must not: everything is done anew.
    is_broken: bool,
    known: HashMap<String, Known>,
    calls: JoinSet<Done>,
    ended: Vec<Done>,
    settling: JoinSet<(Arc<[Done]>, duologue_store::Result<Settled>)>,
}

/// Why an actor ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing waits, or it was told to stop.
    Idle,
    /// Another process delivers for the bot.
    Elsewhere,
}

impl Actor {
    pub(crate) fn new(core: Arc<Deliveries>, bot: BotId, owner: Option<String>, wake: Arc<Notify>) -> Self {
        let rows = Share::of_rows(&core.counters);
        Actor {
            core,
            bot,
            owner,
            wake,
            window: Window::default(),
            rows,
            more: true,
            long_lanes: HashSet::new(),
            read_at: None,
            is_broken: false,
            known: HashMap::new(),
            calls: JoinSet::new(),
            ended: Vec::new(),
            settling: JoinSet::new(),
        }
    }

    /// Delivers until nothing waits or `stop` turns true.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) -> End {
        let mut idle_since = Instant::now();
        while !*stop.borrow() {
            if self.is_broken {
                return End::Idle;
            }
            let pause = match self.advance().await {
                Ok(()) => self.pause(idle_since),
                Err(error) => {
                    tracing::error!(bot = %self.bot, %error, "deliveries failed; trying again");
                    Some(AFTER_FAILURE)
                }
            };
            let Some(pause) = pause else { return End::Idle };
            tokio::select! {
                Some(done) = self.calls.join_next() => self.take_in(done),
                Some(settled) = self.settling.join_next() => match settled {
                    Ok((done, Ok(Settled::Done(outcomes)))) => self.settled(&done, outcomes),
                    Ok((_, Ok(Settled::NotOurs))) => return End::Elsewhere,
                    Ok((done, Err(error))) => {
                        tracing::error!(bot = %self.bot, %error, "deliveries can't be settled; trying again");
                        self.ended.extend(done.iter().cloned());
                        tokio::time::sleep(AFTER_FAILURE).await;
                    }
                    Err(error) => tracing::error!(bot = %self.bot, %error, "settling broke off"),
                },
                () = self.wake.notified() => self.more = true,
                () = tokio::time::sleep(pause) => {}
                _ = stop.changed() => {}
            }
            if !self.is_idle() {
                idle_since = Instant::now();
            }
        }
        self.finish().await
    }

    fn is_idle(&self) -> bool {
        self.window.is_empty()
            && !self.more
            && self.long_lanes.is_empty()
            && self.calls.is_empty()
            && self.ended.is_empty()
            && self.settling.is_empty()
    }

    /// How long to wait at most for something to happen; `None` if nothing has for long.
    fn pause(&self, idle_since: Instant) -> Option<Duration> {
        if self.is_idle() {
            return IDLE.checked_sub(idle_since.elapsed());
        }
        if self.more && !self.long_lanes.is_empty() {
            return Some(LOOK_EVERY);
        }
        let now = self.core.store.now().millis();
        let due = self.window.next_due().map_or(IDLE.as_millis() as i64, |due| due.millis() - now);
        Some(Duration::from_millis(u64::try_from(due).unwrap_or(0).max(1)).min(IDLE))
    }

    /// Does whatever can be done without waiting for a call.
    async fn advance(&mut self) -> duologue_store::Result<()> {
        while let Some(ended) = self.calls.try_join_next() {
            self.take_in(ended);
        }
        self.settle();
        if self.is_to_read() {
            self.read().await.inspect_err(|_| self.more = true)?;
        }
        self.rows.set(self.window.len());
        let ready = self.window.take(self.core.store.now(), self.core.in_flight);
        if !ready.is_empty() {
            self.start(ready).await?;
        }
        Ok(())
    }

    /// Whether to look for rows that aren't in memory. Where some can't be for want of room, not at every
    /// opportunity.
    fn is_to_read(&self) -> bool {
        if !self.window.is_roomy() {
            return false;
        }
        if self.long_lanes.is_empty() {
            return self.more;
        }
        let is_wanted =
            self.more || self.long_lanes.iter().any(|(target, lane)| self.window.is_lane_roomy(target, lane));
        is_wanted && (self.window.is_low() || self.read_at.is_none_or(|at| at.elapsed() >= LOOK_EVERY))
    }

    /// Takes in rows that wait, from the oldest.
    async fn read(&mut self) -> duologue_store::Result<()> {
        self.more = false;
        self.long_lanes.clear();
        self.read_at = Some(Instant::now());
        let mut after = None;
        let mut looked_at = 0;
        loop {
            let page = self.core.store.waiting(&self.bot, after, PAGE).await?;
            looked_at += page.len() as i64;
            let is_last = (page.len() as i64) < PAGE;
            after = page.last().map(|row| row.id.clone());
            for row in page {
                let lane = (row.target.clone(), row.lane.clone());
                if self.long_lanes.contains(&lane) {
                    continue;
                }
                match self.window.offer(row) {
                    Offered::Taken => {}
                    Offered::LaneFull => {
                        self.long_lanes.insert(lane);
                    }
                    Offered::Full => {
                        self.more = true;
                        return Ok(());
                    }
                }
            }
            if is_last || looked_at >= LOOKED_AT {
                self.more |= !is_last;
                return Ok(());
            }
        }
    }

    /// Calls for rows that may go out.
    async fn start(&mut self, ready: Vec<Waiting>) -> duologue_store::Result<()> {
        let mut contents = match self.prepare(&ready).await {
            Ok(contents) => contents,
            Err(error) => {
                for row in &ready {
                    self.window.end(row);
                }
                // They are read again.
                self.more = true;
                return Err(error);
            }
        };
        for row in ready {
            let parcel = Parcel { kind: row.kind, content: contents.remove(&row.id).unwrap_or(Content::Moot) };
            let Some(known) = self.known.get(&row.target) else { continue };
            let outcome = match (&parcel.content, known.refuses(&parcel)) {
                (Content::Moot, _) => Some(Outcome::Moot),
                (_, refused) => refused.map(Outcome::Ignored),
            };
            match outcome {
                Some(outcome) => self.ended.push(not_called(row, outcome, self.core.store.now())),
                None => self.call(row, parcel, known.runner.clone()),
            }
        }
        self.settle();
        Ok(())
    }

    /// What is sent for rows, with whoever gets it known.
    async fn prepare(&mut self, rows: &[Waiting]) -> duologue_store::Result<HashMap<String, Content>> {
        let targets: BTreeSet<&String> = rows.iter().map(|row| &row.target).collect();
        let mut views = HashMap::new();
        for target in targets {
            let core = &self.core;
            let code = Code::find(&core.store, &self.bot, target).await?;
            if let Code::Instance(instance) = &code {
                views.insert(target.clone(), instance.view());
            }
            if self.known.get(target).is_none_or(|known| known.code != code) {
                self.known.insert(target.clone(), Known::new(&core.bridge, core.bots.as_ref(), code));
            }
        }
        let named = rows.iter().map(|row| (row.id.clone(), row.target.clone(), row.kind)).collect();
        self.core.store.render_deliveries(&self.bot, named, views).await
    }

    fn call(&mut self, row: Waiting, parcel: Parcel, runner: Arc<dyn Runner>) {
        let store = self.core.store.clone();
        let under_way = Share::call(&self.core.counters);
        self.calls.spawn(async move {
            let _under_way = under_way;
            let began_at = store.now();
            let began = Instant::now();
            let ran = runner.run(&parcel).await;
            let duration_ms = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
            let workflow = match parcel.content {
                Content::Event { workflow, .. } => workflow,
                _ => None,
            };
            let jitter = f64::from(store.ids().bytes::<1>()[0]) / 255.0;
            let age = Duration::from_millis(u64::try_from(began_at.millis() - row.at.millis()).unwrap_or(0));
            done(Attempt { row, age, began_at, duration_ms, jitter }, ran, workflow)
        });
    }

    fn take_in(&mut self, ended: Result<Done, tokio::task::JoinError>) {
        match ended {
            Ok(done) => self.ended.push(done),
            Err(error) => {
                tracing::error!(bot = %self.bot, %error, "a call broke off");
                self.is_broken = true;
            }
        }
    }

    /// Settles what ended, all together, unless that is being done: then the next time.
    fn settle(&mut self) {
        if self.ended.is_empty() || !self.settling.is_empty() {
            return;
        }
        let rest = self.ended.split_off(self.ended.len().min(SETTLED));
        let done: Arc<[Done]> = std::mem::replace(&mut self.ended, rest).into();
        let (store, bot, owner) = (self.core.store.clone(), self.bot.clone(), self.owner.clone());
        self.settling.spawn(async move {
            let settled = store.settle_deliveries(Settle { bot, owner, done: done.clone() }).await;
            (done, settled)
        });
    }

    /// `outcomes`: how each ended in the end.
    fn settled(&mut self, done: &[Done], outcomes: Vec<Outcome>) {
        let now = self.core.store.now();
        for (Done { row, outcome: ran, .. }, outcome) in done.iter().zip(outcomes) {
            self.core.counters.settle(row.target.is_empty(), &outcome);
            // Somebody else changed it meanwhile: what is there now is read again.
            self.more |= outcome == Outcome::Moot && *ran != Outcome::Moot;
            match outcome {
                Outcome::Retry(after, _) => self.window.put_off(row, now.plus_millis(after), 1),
                Outcome::Wait(after) => self.window.put_off(row, now.plus_millis(after), 0),
                Outcome::Failed(reason) => {
                    self.give_up(row, &reason);
                    self.window.end(row);
                }
                _ => self.window.end(row),
            }
        }
    }

    fn give_up(&self, row: &Waiting, reason: &str) {
        tracing::warn!(
            bot = %self.bot, id = row.id, kind = row.kind.name(), integration = row.target, reason,
            "a delivery was given up"
        );
        self.core.store.log(log_line(&self.bot, row, reason));
    }

    /// Lets calls under way end, for a while, and settles them.
    async fn finish(mut self) -> End {
        let deadline = tokio::time::Instant::now() + self.core.patience;
        while let Ok(Some(ended)) = tokio::time::timeout_at(deadline, self.calls.join_next()).await {
            self.take_in(ended);
        }
        // The rest is delivered again.
        self.calls.abort_all();
        while let Some(settled) = self.settling.join_next().await {
            match settled {
                Ok((_, Ok(Settled::NotOurs))) => return End::Elsewhere,
                Ok((done, Ok(Settled::Done(outcomes)))) => self.settled(&done, outcomes),
                _ => {}
            }
        }
        while !self.ended.is_empty() {
            self.settle();
            match self.settling.join_next().await {
                Some(Ok((done, Ok(Settled::Done(outcomes))))) => self.settled(&done, outcomes),
                Some(Ok((_, Err(error)))) => {
                    tracing::error!(bot = %self.bot, %error, "the last deliveries can't be settled; they are repeated");
                }
                _ => {}
            }
        }
        End::Idle
    }
}

/// What the bot's log says of a delivery that was given up.
fn log_line(bot: &BotId, row: &Waiting, reason: &str) -> NewLine {
    let to = if row.target.is_empty() { "the bot" } else { &row.target };
    let text = format!("Delivery of {} ({}) to {to} was given up: {reason}", row.id, row.kind.name());
    let conversation_id = (row.lane != row.id).then(|| row.lane.clone());
    NewLine { conversation_id, ..NewLine::new(Owner::Bot(bot.as_str().to_owned()), Level::Error, text) }
}

fn not_called(row: Waiting, outcome: Outcome, now: Timestamp) -> Done {
    let response = match &outcome {
        Outcome::Ignored(why) => why.clone(),
        _ => String::new(),
    };
    Done { row, began_at: now, duration_ms: 0, status: None, response, outcome, workflow: None }
}

/// A row that went out.
struct Attempt {
    row: Waiting,
    age: Duration,
    began_at: Timestamp,
    duration_ms: i64,
    jitter: f64,
}

fn done(attempt: Attempt, ran: Ran, workflow: Option<WorkflowUpdate>) -> Done {
    let Attempt { row, age, began_at, duration_ms, jitter } = attempt;
    match ran {
        Ran::Nobody(why) => not_called(row, Outcome::Ignored(why), began_at),
        Ran::Called { status, response, result } => {
            let outcome = outcome(row.kind, row.attempts, age, &result, jitter);
            Done { row, began_at, duration_ms, status, response, outcome, workflow }
        }
    }
}
