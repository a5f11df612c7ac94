//! Wakes an actor for each bot for which something waits.
//!
//! Where several processes share a database, one of them delivers for a bot: the one that holds its
//! lease. The others tell it what they wrote. Should it die, its leases lapse, and whoever looks next
//! takes over.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use duologue_model::id::BotId;
use tokio::{
    sync::{Notify, watch},
    task::{AbortHandle, Id, JoinSet},
};

use crate::{
    Deliveries,
    actor::{Actor, End},
};

/// How often leases are renewed, and bots looked for whose lease has lapsed.
const LOOK: Duration = Duration::from_secs(5);
/// The same where there are no leases: nothing should be found then.
const LOOK_ALONE: Duration = Duration::from_secs(60);
/// How long another process is believed to deliver for a bot before its lease is looked at again.
const ELSEWHERE: Duration = Duration::from_secs(2);

struct Dispatcher {
    core: Arc<Deliveries>,
    /// This process among those that share the database.
    owner: Option<String>,
    stop: watch::Receiver<bool>,
    actors: HashMap<BotId, Running>,
    tasks: JoinSet<(BotId, End)>,
    /// Bots that others deliver for, since when.
    elsewhere: HashMap<BotId, Instant>,
    tells: JoinSet<()>,
}

struct Running {
    wake: Arc<Notify>,
    task: AbortHandle,
    since: Instant,
}

/// Delivers until `stop` turns true.
pub(crate) async fn run(core: Arc<Deliveries>, stop: watch::Receiver<bool>) {
    core.store.live().outbox.open();
    let is_shared = core.store.is_shared();
    let hearing = tokio::spawn({
        let (store, stop) = (core.store.clone(), stop.clone());
        async move { store.hear_others(stop).await }
    });
    let mut dispatcher = Dispatcher {
        owner: is_shared.then(|| core.store.ids().uuid()),
        core,
        stop,
        actors: HashMap::new(),
        tasks: JoinSet::new(),
        elsewhere: HashMap::new(),
        tells: JoinSet::new(),
    };
    dispatcher.work(if is_shared { LOOK } else { LOOK_ALONE }).await;
    dispatcher.finish().await;
    // It ends with the stop.
    let _ = hearing.await;
}

impl Dispatcher {
    async fn work(&mut self, every: Duration) {
        let store = self.core.store.clone();
        let mut stop = self.stop.clone();
        let mut look = tokio::time::interval(every);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !*stop.borrow() {
            tokio::select! {
                woken = store.live().outbox.next() => {
                    for (bot, heard) in woken {
                        self.wake(bot, heard);
                    }
                }
                Some(ended) = self.tasks.join_next_with_id() => match ended {
                    Ok((_, (bot, end))) => self.ended(bot, end).await,
                    Err(error) => {
                        if !error.is_cancelled() {
                            tracing::error!(%error, "the deliveries of a bot broke off");
                        }
                        self.broke(error.id());
                    }
                },
                Some(_) = self.tells.join_next() => {}
                _ = look.tick() => self.look().await,
                _ = stop.changed() => {}
            }
        }
    }

    /// Something waits for a bot. `heard`: another process says so.
    fn wake(&mut self, bot: BotId, heard: bool) {
        if let Some(running) = self.actors.get(&bot) {
            running.wake.notify_one();
            return;
        }
        let is_elsewhere = self.elsewhere.get(&bot).is_some_and(|since| since.elapsed() < ELSEWHERE);
        match is_elsewhere {
            true if heard => {}
            true => self.tell(bot),
            false => self.start(bot, heard),
        }
    }

    fn start(&mut self, bot: BotId, heard: bool) {
        self.elsewhere.remove(&bot);
        let wake = Arc::new(Notify::new());
        let actor = Actor::new(self.core.clone(), bot.clone(), self.owner.clone(), wake.clone());
        let (core, owner, stop) = (self.core.clone(), self.owner.clone(), self.stop.clone());
        let name = bot.clone();
        let task = self.tasks.spawn(async move {
            let Some(owner) = owner else { return (name, actor.run(stop).await) };
            match core.store.take_lease(&name, &owner).await {
                Ok(true) => {}
                Ok(false) => {
                    if !heard {
                        tell(&core, &name).await;
                    }
                    return (name, End::Elsewhere);
                }
                Err(error) => {
                    tracing::error!(bot = %name, %error, "the lease of a bot can't be taken; trying again");
                    return (name, End::Idle);
                }
            }
            let end = actor.run(stop).await;
            if end == End::Idle
                && let Err(error) = core.store.release_leases(&owner, Some(name.clone())).await
            {
                tracing::error!(bot = %name, %error, "a lease can't be given back; it lapses");
            }
            (name, end)
        });
        self.actors.insert(bot, Running { wake, task, since: Instant::now() });
    }

    /// An actor ended. What came while it did so may have been missed.
    async fn ended(&mut self, bot: BotId, end: End) {
        self.actors.remove(&bot);
        if end == End::Elsewhere {
            self.elsewhere.insert(bot, Instant::now());
            return;
        }
        match self.core.store.waiting(&bot, None, 1).await {
            Ok(waiting) if waiting.is_empty() => {}
            Ok(_) => self.start(bot, true),
            // The next look finds it.
            Err(error) => tracing::error!(%bot, %error, "the outbox can't be read"),
        }
    }

    fn broke(&mut self, task: Id) {
        self.actors.retain(|_, running| running.task.id() != task);
    }

    fn tell(&mut self, bot: BotId) {
        let core = self.core.clone();
        // Whoever is told reads all that waits, so a few at a time are enough.
        if self.tells.len() < 64 {
            self.tells.spawn(async move { tell(&core, &bot).await });
        }
    }

    /// Renews leases, and finds bots that nobody delivers for.
    async fn look(&mut self) {
        if let Some(owner) = self.owner.clone() {
            match self.core.store.renew_leases(&owner).await {
                Ok(held) => {
                    // One that has only just started may hold no lease yet.
                    let lost =
                        |(bot, running): &(&BotId, &Running)| !held.contains(*bot) && running.since.elapsed() >= LOOK;
                    for (bot, running) in self.actors.iter().filter(lost) {
                        tracing::warn!(%bot, "another process has taken over the deliveries of a bot");
                        running.task.abort();
                    }
                }
                Err(error) => tracing::error!(%error, "leases can't be renewed; trying again"),
            }
        }
        self.elsewhere.retain(|_, since| since.elapsed() < ELSEWHERE);
        match self.core.store.bots_waiting().await {
            Ok(bots) => bots.into_iter().for_each(|bot| self.wake(bot, true)),
            Err(error) => tracing::error!(%error, "the outbox can't be read; trying again"),
        }
    }

    /// Lets the actors end and gives everything back.
    async fn finish(&mut self) {
        while self.tasks.join_next().await.is_some() {}
        self.tells.abort_all();
        if let Some(owner) = &self.owner
            && let Err(error) = self.core.store.release_leases(owner, None).await
        {
            tracing::error!(%error, "leases can't be given back; they lapse");
        }
    }
}

async fn tell(core: &Deliveries, bot: &BotId) {
    if let Err(error) = core.store.tell_others(bot).await {
        tracing::warn!(%bot, %error, "another process can't be told of deliveries; it finds them later");
    }
}
