//! Transactions that many scripts share: appends to different conversations.
//!
//! What waits is taken as a group, one script a lane, and run over one connection in one
//! transaction. The scripts' statements go out together (the protocol pipelines them), and one
//! commit makes all of them durable. They take their locks in the order of their lanes, so that
//! groups, in this process and in others, never wait for each other in a circle.
//!
//! When one of them fails after it has changed something, the group is rolled back and each script
//! gets a transaction of its own.

use std::{pin::Pin, sync::Arc};

use deadpool_postgres::Client;
use duologue_model::{Timestamp, id::Generator};
use futures_util::future::join_all;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::{Core, Rollback, begin};
use crate::{
    Error, Result,
    live::Touches,
    tx::{Inner, Script, Tx, settled},
};

/// Groups under way at once: while one waits for its commit, another runs.
const WORKERS: usize = 2;
/// Most scripts in one transaction.
const GROUP: usize = 128;
/// Scripts that may wait before callers are made to wait for room.
const QUEUE: usize = 4096;

type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where scripts with a lane wait.
pub(super) struct Queue {
    sender: mpsc::Sender<Box<dyn Job>>,
}

/// A script in a group.
trait Job: Send {
    fn lane(&self) -> &str;
    /// Runs in the group's transaction; says whether the transaction can still be committed.
    fn run<'a>(&'a mut self, client: &'a Client, now: Timestamp, ids: &'a Generator) -> Pending<'a, bool>;
    /// What the commit must wake, once.
    fn touches(&mut self) -> Touches;
    /// Answers the caller with the script's result, or with why the commit failed.
    fn finish(self: Box<Self>, failure: Option<String>);
    /// Runs in a transaction of its own and answers the caller.
    fn alone<'a>(self: Box<Self>, core: &'a Core) -> Pending<'a, ()>;
}

struct ScriptJob<S: Script> {
    script: S,
    result: Option<Result<S::Out>>,
    touches: Touches,
    reply: oneshot::Sender<Result<S::Out>>,
}

impl<S: Script> Job for ScriptJob<S> {
    fn lane(&self) -> &str {
        self.script.lane().unwrap_or_default()
    }

    fn run<'a>(&'a mut self, client: &'a Client, now: Timestamp, ids: &'a Generator) -> Pending<'a, bool> {
        Box::pin(async move {
            let mut tx = Tx::new(Inner::Postgres(client), now, ids);
            let result = self.script.run(&mut tx).await;
            // The database refuses whatever follows an error of its own.
            let usable = match &result {
                Ok(_) => true,
                Err(Error::Refused(_)) => !tx.wrote,
                Err(_) => false,
            };
            if result.is_ok() {
                self.touches = std::mem::take(&mut tx.touches);
            }
            self.result = Some(result);
            usable
        })
    }

    fn touches(&mut self) -> Touches {
        std::mem::take(&mut self.touches)
    }

    fn finish(self: Box<Self>, failure: Option<String>) {
        // An error means that the caller has gone; its effect stands.
        let _ = self.reply.send(settled(self.result, failure));
    }

    fn alone<'a>(self: Box<Self>, core: &'a Core) -> Pending<'a, ()> {
        Box::pin(async move {
            let result = core.write(&self.script).await;
            let _ = self.reply.send(result);
        })
    }
}

impl Queue {
    pub(super) fn start(core: &Arc<Core>) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..WORKERS {
            tokio::spawn(Worker { core: core.clone(), queue: receiver.clone(), held: Vec::new() }.run());
        }
        Queue { sender }
    }

    pub(super) async fn write<S: Script>(&self, script: S) -> Result<S::Out> {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(ScriptJob { script, result: None, touches: Touches::default(), reply });
        self.sender.send(job).await.map_err(|_| Error::Closed)?;
        answer.await.unwrap_or(Err(Error::Closed))
    }
}

/// Takes groups from the queue until it is closed.
struct Worker {
    core: Arc<Core>,
    queue: Arc<Mutex<mpsc::Receiver<Box<dyn Job>>>>,
    /// Their lanes were in the last group already.
    held: Vec<Box<dyn Job>>,
}

impl Worker {
    async fn run(mut self) {
        while let Some(group) = self.next().await {
            self.core.run_group(group).await;
        }
    }

    /// The next group, one job a lane, in the order of lanes.
    async fn next(&mut self) -> Option<Vec<Box<dyn Job>>> {
        let mut waiting = std::mem::take(&mut self.held);
        if waiting.is_empty() {
            let mut queue = self.queue.lock().await;
            if queue.recv_many(&mut waiting, GROUP).await == 0 {
                return None;
            }
        } else if let Ok(mut queue) = self.queue.try_lock() {
            while waiting.len() < GROUP
                && let Ok(job) = queue.try_recv()
            {
                waiting.push(job);
            }
        }
        // Stable, so that jobs of one lane stay in their order.
        waiting.sort_by(|a, b| a.lane().cmp(b.lane()));
        let mut group: Vec<Box<dyn Job>> = Vec::with_capacity(waiting.len());
        for job in waiting {
            match group.last() {
                Some(last) if last.lane() == job.lane() => self.held.push(job),
                _ => group.push(job),
            }
        }
        Some(group)
    }
}

impl Core {
    async fn run_group(&self, mut group: Vec<Box<dyn Job>>) {
        let (committed, failure) = match self.try_group(&mut group).await {
            Ok(true) => (true, None),
            Ok(false) => (false, None),
            Err(error) => (true, Some(error.to_string())),
        };
        if !committed {
            for job in group {
                job.alone(self).await;
            }
            return;
        }
        let mut touches = Touches::default();
        for mut job in group {
            if failure.is_none() {
                touches.merge(job.touches());
            }
            job.finish(failure.clone());
        }
        self.live.publish(touches);
    }

    /// Whether the group was committed; false if it was rolled back and each has to run alone. An
    /// error means that nobody knows.
    async fn try_group(&self, group: &mut [Box<dyn Job>]) -> Result<bool> {
        let Ok(client) = self.pool.get().await else { return Ok(false) };
        let guard = Rollback::new(&client);
        let Ok(now) = begin(&client).await else { return Ok(false) };
        let usable = join_all(group.iter_mut().map(|job| job.run(&client, now, &self.ids))).await;
        if usable.into_iter().all(|usable| usable) {
            client.batch_execute("COMMIT").await?;
            guard.done();
            return Ok(true);
        }
        client.batch_execute("ROLLBACK").await?;
        guard.done();
        Ok(false)
    }
}
