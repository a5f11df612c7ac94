//! Telling code that it was deployed, installed or configured, and that it goes away
//! (`spec/cloud/bridge-protocol.md` § 4.1).
//!
//! A change of a bot waits for its integrations; whatever they answer, it succeeds and says so in their
//! status. Everything else is told in the background, by [`Calls::registrations`].

use std::{sync::Arc, time::Duration};

use duologue_bridge::{Address, Callee, Failure, Operation};
use duologue_model::{Timestamp, id::BotId};
use duologue_store::{
    bots::{Bot, Change, Instance, NewBot, instances::Status},
    callees::InstanceCode,
    integrations::registration::{Due, Outcome},
    logs::{Level, NewLine, Owner},
    workspaces::Actor,
};
use futures_util::{StreamExt, future::join_all, stream};
use serde::Serialize;
use tokio::{sync::watch, task::JoinSet};

use crate::{Calls, Result, callees};

/// The longest that telling may take, whatever the definition says.
const LONGEST: Duration = Duration::from_secs(300);
/// The pause before the second attempt.
const BEFORE_SECOND: Duration = Duration::from_secs(1);
/// The longest that the removal of an instance waits for its code.
const LONGEST_GOODBYE: Duration = Duration::from_secs(10);
/// How long after its deployment the code of a developer's integration may be on its way, and how often it
/// is looked for.
const STARTING_MILLIS: i64 = 60_000;
const BETWEEN_LOOKS_MILLIS: i64 = 2000;
/// How many are told at once in the background.
const MOST_AT_ONCE: usize = 16;
/// The longest sleep: another process on the same database may have made something due.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// The pause after a failure of the store.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// The body of `register` and `unregister` for integrations.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    webhook_url: String,
}

impl Calls {
    /// createBot, and tells code.
    pub async fn create_bot(&self, actor: Actor, new: NewBot) -> Result<Bot> {
        let this = self.clone();
        self.to_the_end(async move {
            let is_deployed = deploys(&new);
            let bot = this.store.create_bot(actor.clone(), new).await?;
            this.settle(actor, bot, Vec::new(), is_deployed).await
        })
        .await
    }

    /// updateBot, and tells code. One at a time a bot: whoever waits longer than a minute is refused.
    pub async fn update_bot(&self, actor: Actor, id: String, change: Change) -> Result<Bot> {
        let this = self.clone();
        self.to_the_end(async move {
            let (is_deployed, change) = (deploys(&change), Arc::new(change));
            // First of all, so that nobody waits in vain, or for a bot that isn't theirs.
            this.store.plan_update_bot(actor.clone(), id.clone(), change.clone()).await?;
            let bot = BotId::new(id.as_str());
            let _held = this.lock(&bot).await?;
            let steps = this.store.plan_update_bot(actor.clone(), id.clone(), change.clone()).await?;
            let leaving = steps.iter().filter_map(|step| Some((step.unregisters()?, step.new.is_none())));
            let left = join_all(leaving.map(|(instance, gone)| this.unregister(&bot, instance, gone))).await;
            let updated = this.store.update_planned_bot(actor.clone(), id, change).await?;
            // Of those that are gone or registered anew nothing is recorded.
            let failed: Vec<Outcome> = left.into_iter().flatten().collect();
            this.settle(actor, updated, failed, is_deployed).await
        })
        .await
    }

    /// deleteBot. Code is told afterwards, as far as it can be reached.
    pub async fn delete_bot(&self, actor: Actor, id: String) -> Result<()> {
        let this = self.clone();
        self.to_the_end(async move {
            this.store.plan_delete_bot(actor.clone(), id.clone()).await?;
            let bot = BotId::new(id.as_str());
            let _held = this.lock(&bot).await?;
            let planned = this.store.plan_delete_bot(actor.clone(), id.clone()).await?;
            let mut goodbyes = Vec::new();
            for instance in planned.instances.iter().filter(|instance| instance.is_known()) {
                if let Some(code) = this.store.instance_code(&bot, &instance.alias).await? {
                    goodbyes.extend(this.goodbye(&code));
                }
            }
            let own = this.store.bot_code(&bot).await?.and_then(|code| callees::bot(&code).ok());
            // Its uploaded code is gone with it.
            let own = own.filter(|callee| matches!(callee.address(), Address::Url(_)));
            goodbyes.extend(own.map(|callee| (callee, this.about(&planned))));
            this.store.delete_bot(actor, id).await?;
            this.say(goodbyes);
            Ok(())
        })
        .await
    }

    /// deleteIntegration. The code of what was installed in bots by that is told afterwards, as far as it
    /// can be reached.
    pub async fn delete_integration(&self, actor: Actor, id: String) -> Result<()> {
        let this = self.clone();
        self.to_the_end(async move {
            let removed = this.store.delete_integration(actor, id).await?;
            let goodbyes = removed.iter().filter_map(|code| this.goodbye(code));
            // Uploaded code is gone with the integration.
            this.say(goodbyes.filter(|(callee, _)| matches!(callee.address(), Address::Url(_))).collect());
            Ok(())
        })
        .await
    }

    /// What an instance's code is told when nobody waits for it.
    fn goodbye(&self, code: &InstanceCode) -> Option<(Callee, String)> {
        self.callee(code).map(|callee| (callee, self.told(&code.webhook_id)))
    }

    /// Tells code in the background that what it knew of is gone.
    fn say(&self, goodbyes: Vec<(Callee, String)>) {
        if goodbyes.is_empty() {
            return;
        }
        let this = self.clone();
        tokio::spawn(async move {
            let told = stream::iter(goodbyes).map(async |(callee, body)| {
                if let Err(failure) = this.ask(&callee, Operation::Unregister, body).await {
                    tracing::debug!(%failure, "code did not hear that what it knew of is gone");
                }
            });
            told.buffer_unordered(MOST_AT_ONCE).collect::<()>().await;
        });
    }

    /// Tells the code of what is due in the bot, and of the bot itself, and records that and earlier
    /// `outcomes`; answers the bot as it is then.
    async fn settle(&self, actor: Actor, bot: Bot, mut outcomes: Vec<Outcome>, is_deployed: bool) -> Result<Bot> {
        let id = bot.stored.id.clone();
        let due = bot.instances.iter().filter(|instance| instance.is_due());
        let told = due.map(|instance| self.register_installed(&id, &instance.alias, instance.updated_at));
        for outcome in join_all(told).await {
            outcomes.extend(outcome?);
        }
        let bot = if outcomes.is_empty() {
            bot
        } else {
            self.store.record_registrations(id.clone(), outcomes).await?;
            self.store.get_bot(actor, id.to_string()).await?
        };
        if is_deployed {
            self.register_bot(&bot);
        }
        Ok(bot)
    }

    /// Tells a bot's code in the background: with `bp dev` it isn't up before the bot was updated.
    fn register_bot(&self, bot: &Bot) {
        let (this, id, body) = (self.clone(), bot.stored.id.clone(), self.about(bot));
        tokio::spawn(async move {
            let Ok(Some(code)) = this.store.bot_code(&id).await else { return };
            let Some(callee) = callees::bot(&code).ok().filter(Callee::is_callable) else { return };
            match this.told_twice(&callee, Operation::Register, &body).await {
                Ok(()) => tracing::debug!(bot = %id, "registered a bot"),
                Err(failure) => this.note(&id, format!("The bot did not register: {failure}")),
            }
        });
    }

    /// `{"bot": …}`.
    fn about(&self, bot: &Bot) -> String {
        #[derive(Serialize)]
        struct About<T: Serialize> {
            bot: T,
        }
        // Addresses of icons are of no use to a bot's code.
        let view = bot.view("", &self.webhook_url, true);
        serde_json::to_string(&About { bot: view }).unwrap_or_else(|_| "{}".to_owned())
    }

    fn told(&self, webhook_id: &str) -> String {
        let told = Told { webhook_url: format!("{}/{webhook_id}", self.webhook_url) };
        serde_json::to_string(&told).unwrap_or_else(|_| "{}".to_owned())
    }

    /// The code, if it can be called at all.
    fn callee(&self, code: &InstanceCode) -> Option<Callee> {
        let callee = callees::instance(code).ok()?;
        let timeout = callee.timeout().min(LONGEST);
        Some(callee.with_timeout(timeout)).filter(Callee::is_callable)
    }

    async fn register_installed(&self, bot: &BotId, alias: &str, updated_at: Timestamp) -> Result<Option<Outcome>> {
        let Some(code) = self.store.instance_code(bot, alias).await? else { return Ok(None) };
        Ok(Some(self.register(&code, updated_at).await))
    }

    /// Tells an integration of its instance.
    async fn register(&self, code: &InstanceCode, updated_at: Timestamp) -> Outcome {
        let result = match self.callee(code) {
            Some(callee) => self.told_twice(&callee, Operation::Register, &self.told(&code.webhook_id)).await,
            // Without code there is nobody to tell.
            None => Ok(()),
        };
        if let Some(outcome) = result.as_ref().err().and_then(|failure| self.awaited(code, updated_at, failure)) {
            return outcome;
        }
        let reason = result.err().map(|failure| failure.to_string());
        if let Some(reason) = &reason {
            self.note(&code.bot, format!("The integration {} did not register: {reason}", code.alias));
        }
        let status = if reason.is_none() { Status::Registered } else { Status::RegistrationFailed };
        tracing::debug!(bot = %code.bot, alias = code.alias, status = status.name(), "told an integration of its instance");
        Outcome { alias: code.alias.clone(), updated_at: Some(updated_at), status, reason, again: None }
    }

    /// What to record of a developer's integration that was deployed a moment ago: with `bp dev`, its code
    /// is being started then, and is told when it is there.
    fn awaited(&self, code: &InstanceCode, updated_at: Timestamp, failure: &Failure) -> Option<Outcome> {
        let now = self.store.now();
        let is_starting = code.dev_since? > now.plus_millis(-STARTING_MILLIS) && failure.is_from_nobody();
        is_starting.then(|| Outcome {
            alias: code.alias.clone(),
            updated_at: Some(updated_at),
            status: Status::RegistrationPending,
            reason: Some(failure.to_string()),
            again: Some(now.plus_millis(BETWEEN_LOOKS_MILLIS)),
        })
    }

    /// Tells an integration that its instance goes away, or changes. Answers what to record if that fails.
    /// What is removed altogether isn't waited for longer than [`LONGEST_GOODBYE`]; its code may take its
    /// time, but finds less and less of what it knew.
    async fn unregister(&self, bot: &BotId, instance: &Instance, is_removed: bool) -> Option<Outcome> {
        let code = self.store.instance_code(bot, &instance.alias).await.ok()??;
        let (callee, body) = self.goodbye(&code)?;
        let this = self.clone();
        let told = tokio::spawn(async move { this.ask(&callee, Operation::Unregister, body).await });
        let patience = if is_removed { LONGEST_GOODBYE } else { LONGEST };
        let failure = match tokio::time::timeout(patience, told).await {
            Ok(Ok(result)) => result.err()?,
            Ok(Err(_)) => return None,
            Err(_) => Failure::Timeout(patience),
        };
        self.note(bot, format!("The integration {} did not unregister: {failure}", instance.alias));
        Some(Outcome {
            alias: instance.alias.clone(),
            updated_at: None,
            status: Status::UnregistrationFailed,
            reason: Some(failure.to_string()),
            again: None,
        })
    }

    /// Writes into the log of a bot.
    fn note(&self, bot: &BotId, text: String) {
        self.store.log(NewLine::new(Owner::Bot(bot.as_str().to_owned()), Level::Error, text));
    }

    /// Once more if it may succeed then.
    async fn told_twice(&self, callee: &Callee, operation: Operation, body: &str) -> Result<(), Failure> {
        let call = duologue_bridge::Call::new(operation, body.to_owned());
        match self.bridge.call(callee, &call).await {
            Err(failure) if failure.is_transient() => {}
            result => return result.map(|_| ()),
        }
        tokio::time::sleep(BEFORE_SECOND).await;
        self.bridge.call(callee, &call).await.map(|_| ())
    }

    /// Tells the code of instances of them whenever that is due, until `stop` turns true: integrations that
    /// were deployed again, that wish for it regularly, whose user has connected them.
    pub async fn registrations(self, mut stop: watch::Receiver<bool>) {
        if !self.store.is_shared()
            && let Err(error) = self.store.resume_registrations().await
        {
            tracing::error!(%error, "registrations could not be resumed");
        }
        let mut running = JoinSet::new();
        while !*stop.borrow() {
            let pause = match self.round(&mut running).await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::error!(%error, "registrations failed; trying again");
                    AFTER_FAILURE
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.store.live().registrations.notified() => {}
                Some(_) = running.join_next() => {}
                _ = stop.changed() => {}
            }
        }
    }

    /// Starts to tell what is due, as far as there is room; answers how long to sleep.
    async fn round(&self, running: &mut JoinSet<()>) -> duologue_store::Result<Duration> {
        let room = MOST_AT_ONCE.saturating_sub(running.len());
        let next = self.store.next_registration().await?;
        let now = self.store.now();
        if room == 0 || next.is_none_or(|next| next > now) {
            let until = next.map_or(LONGEST_SLEEP, |next| millis(next.millis() - now.millis()));
            return Ok(if room == 0 { LONGEST_SLEEP } else { until.min(LONGEST_SLEEP) });
        }
        let claimed = self.store.claim_registrations(room).await?;
        let pause = if claimed.is_empty() { AFTER_FAILURE } else { Duration::ZERO };
        for due in claimed {
            let this = self.clone();
            running.spawn(async move {
                if let Err(error) = this.register_due(due).await {
                    tracing::warn!(%error, "an instance could not be registered; trying again later");
                }
            });
        }
        Ok(pause)
    }

    async fn register_due(&self, due: Due) -> Result<()> {
        let bot = due.code.bot.clone();
        let _held = self.lock(&bot).await?;
        let outcome = self.register(&due.code, due.updated_at).await;
        Ok(self.store.record_registrations(bot, vec![outcome]).await?)
    }
}

/// Whether a change brings code.
fn deploys(change: &Change) -> bool {
    change.code.is_some() || change.url.as_ref().is_some_and(Option::is_some)
}

fn millis(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0).max(1))
}
