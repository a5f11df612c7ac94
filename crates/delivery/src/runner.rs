//! Who is called, whatever kind of bot or integration it is: a URL or uploaded code through the bridge,
//! or flows that run here.

use std::{sync::Arc, time::Duration};

use duologue_bots::{Bots, Reaction};
use duologue_bridge::{Address, Bridge, Call, Callee, Code, Failure, Installed, Operation};
use duologue_model::{Event, Json, id::BotId};
use duologue_store::{
    Store,
    outbox::{
        Kind,
        callees::{BotCallee, InstanceCallee},
        read::Content,
    },
};
use futures_util::future::BoxFuture;

/// What is handed over.
pub(crate) struct Parcel {
    pub(crate) kind: Kind,
    pub(crate) content: Content,
}

/// How handing it over went.
pub(crate) enum Ran {
    /// Somebody was called.
    Called {
        /// Of the answer, if there was one.
        status: Option<u16>,
        /// What was answered, or why nothing was.
        response: String,
        result: Result<(), Failure>,
    },
    /// There is nobody to call: why.
    Nobody(String),
}

/// Runs a bot, or an integration in it.
pub(crate) trait Runner: Send + Sync {
    /// Hands a parcel over and waits for the answer.
    fn run<'a>(&'a self, parcel: &'a Parcel) -> BoxFuture<'a, Ran>;
}

/// Code that speaks the bridge protocol.
struct Bridged {
    bridge: Bridge,
    callee: Callee,
}

impl Runner for Bridged {
    fn run<'a>(&'a self, parcel: &'a Parcel) -> BoxFuture<'a, Ran> {
        Box::pin(async move {
            let Some(call) = call(parcel) else { return Ran::Nobody("There is nothing to deliver.".to_owned()) };
            match self.bridge.call(&self.callee, &call).await {
                Ok(answer) => Ran::Called {
                    status: Some(answer.status.as_u16()),
                    response: String::from_utf8_lossy(&answer.body).into_owned(),
                    result: Ok(()),
                },
                Err(failure) => {
                    Ran::Called { status: failure.status(), response: failure.to_string(), result: Err(failure) }
                }
            }
        })
    }
}

/// The call that delivers a parcel.
fn call(parcel: &Parcel) -> Option<Call> {
    match &parcel.content {
        Content::Event { event, .. } => {
            let body = format!("{{\"event\":{}}}", Json::of(event).text());
            Some(Call::event(event.kind.as_str(), body))
        }
        Content::Operation { body, .. } => {
            let operation = match parcel.kind {
                Kind::MessageUpdated => Operation::MessageUpdated,
                Kind::ConversationUpdated => Operation::ConversationUpdated,
                _ => Operation::MessageCreated,
            };
            Some(Call::new(operation, body.text().to_owned()))
        }
        Content::Moot => None,
    }
}

/// A bot made of flows, which run here.
struct Flow {
    bots: Bots,
    bot: BotId,
}

impl Runner for Flow {
    fn run<'a>(&'a self, parcel: &'a Parcel) -> BoxFuture<'a, Ran> {
        Box::pin(async move {
            let Content::Event { event, .. } = &parcel.content else {
                return Ran::Nobody("Flows are run for events only.".to_owned());
            };
            self.turn(event).await
        })
    }
}

impl Flow {
    async fn turn(&self, event: &Event) -> Ran {
        match self.bots.answer(&self.bot, event).await {
            Ok(Reaction::Answered) => Ran::Called { status: None, response: String::new(), result: Ok(()) },
            Ok(Reaction::NotAMessage) => Ran::Nobody("Flows are run for messages only.".to_owned()),
            Ok(Reaction::NotServed) => Ran::Nobody("This server does not serve the bot's flows.".to_owned()),
            Err(refusal) => {
                let text = refusal.to_string();
                Ran::Called { status: None, response: text.clone(), result: Err(Failure::Broken(text)) }
            }
        }
    }
}

/// Nobody who could be called.
struct Nobody(String);

impl Runner for Nobody {
    fn run<'a>(&'a self, _: &'a Parcel) -> BoxFuture<'a, Ran> {
        Box::pin(async move { Ran::Nobody(self.0.clone()) })
    }
}

fn nobody(why: &str) -> Arc<dyn Runner> {
    Arc::new(Nobody(why.to_owned()))
}

/// Runs the code of a bot, as it is now.
pub(crate) fn of_bot(bridge: &Bridge, bots: Option<&Bots>, id: &BotId, bot: &BotCallee) -> Arc<dyn Runner> {
    let address = match &bot.url {
        Some(url) => Address::Url(url.clone()),
        None if bot.has_code => Address::Code(Code::Bot(id.as_str().to_owned())),
        None => match bots.filter(|_| bot.flow) {
            Some(bots) => return Arc::new(Flow { bots: bots.clone(), bot: id.clone() }),
            None => return nobody("The bot has neither a URL nor code."),
        },
    };
    bridged(bridge, Callee::bot(id.as_str(), &bot.configuration, address), bot.max_execution_time)
}

/// Runs the code of an integration, as it is installed in a bot now.
pub(crate) fn of_instance(bridge: &Bridge, bot: &BotId, alias: &str, instance: &InstanceCallee) -> Arc<dyn Runner> {
    if !instance.enabled {
        return nobody("The integration is switched off in this bot.");
    }
    let address = match &instance.url {
        Some(url) => Address::Url(url.clone()),
        None if instance.has_code => Address::Code(Code::Integration(instance.integration_id.clone())),
        None => return nobody("The integration has neither a URL nor code."),
    };
    let installed = Installed {
        bot_id: bot.as_str(),
        integration_id: &instance.integration_id,
        alias,
        webhook_id: &instance.webhook_id,
        configuration: &instance.settings.configuration,
        configuration_type: instance.settings.configuration_type.as_deref(),
    };
    bridged(bridge, Callee::integration(installed, address), instance.max_execution_time)
}

fn bridged(
    bridge: &Bridge,
    callee: Result<Callee, duologue_bridge::Invalid>,
    max_execution_time: Option<i64>,
) -> Arc<dyn Runner> {
    let callee = match callee {
        Ok(callee) => callee,
        Err(invalid) => return nobody(&invalid.to_string()),
    };
    let seconds = max_execution_time.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
    let callee = match seconds {
        Some(seconds) => callee.with_timeout(Duration::from_secs(seconds)),
        None => callee,
    };
    Arc::new(Bridged { bridge: bridge.clone(), callee })
}

/// A runner that is good until whoever it runs changes.
pub(crate) struct Known {
    version: Version,
    pub(crate) runner: Arc<dyn Runner>,
    /// Of a bot: which events it hears.
    pub(crate) hears: Option<String>,
    /// Of an integration: channels that are switched off.
    pub(crate) disabled_channels: Vec<String>,
}

/// When bot and integration last changed, as far as they matter.
type Version = (duologue_model::Timestamp, duologue_model::Timestamp);

impl Known {
    /// Whether it is still good.
    pub(crate) fn is_of(&self, version: Version) -> bool {
        self.version == version
    }

    /// Looks up whom deliveries of a bot to `target` go to.
    pub(crate) async fn load(
        store: &Store,
        bridge: &Bridge,
        bots: Option<&Bots>,
        bot: &BotId,
        target: &str,
    ) -> duologue_store::Result<Known> {
        let gone = |runner| Known { version: Version::default(), runner, hears: None, disabled_channels: Vec::new() };
        if target.is_empty() {
            return Ok(match store.bot_callee(bot).await? {
                Some(found) => Known {
                    version: (found.updated_at, found.updated_at),
                    runner: of_bot(bridge, bots, bot, &found),
                    hears: found.hears,
                    disabled_channels: Vec::new(),
                },
                None => gone(nobody("The bot is gone.")),
            });
        }
        Ok(match store.instance_callee(bot, target).await? {
            Some(found) => Known {
                version: found.updated_at,
                runner: of_instance(bridge, bot, target, &found),
                hears: None,
                disabled_channels: found.settings.disabled_channels,
            },
            None => gone(nobody("The integration is not installed any more.")),
        })
    }
}
