//! Who is called, whatever kind of bot or integration it is: a URL or uploaded code through the bridge,
//! or flows that run here.

use std::sync::Arc;

use duologue_bots::{Bots, Reaction};
use duologue_bridge::{Bridge, Call, Callee, Failure, Invalid, Operation};
use duologue_calls::callees;
use duologue_model::{Event, Json, id::BotId};
use duologue_store::{
    Store,
    callees::{BotCode, InstanceCode},
    outbox::{self, Kind, read::Content},
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
fn of_bot(bridge: &Bridge, bots: Option<&Bots>, code: &BotCode) -> Arc<dyn Runner> {
    if code.url.is_none()
        && !code.has_code
        && let Some(bots) = bots.filter(|bots| bots.installed().bot(code.id.as_str()).is_some())
    {
        return Arc::new(Flow { bots: bots.clone(), bot: code.id.clone() });
    }
    bridged(bridge, callees::bot(code), "The bot has neither a URL nor code.")
}

/// Runs the code of an integration, as it is installed in a bot now.
fn of_instance(bridge: &Bridge, code: &InstanceCode) -> Arc<dyn Runner> {
    if !code.enabled {
        return nobody("The integration is switched off in this bot.");
    }
    bridged(bridge, callees::instance(code), "The integration has neither a URL nor code.")
}

fn bridged(bridge: &Bridge, callee: Result<Callee, Invalid>, if_nowhere: &str) -> Arc<dyn Runner> {
    match callee {
        Ok(callee) if callee.is_callable() => Arc::new(Bridged { bridge: bridge.clone(), callee }),
        Ok(_) => nobody(if_nowhere),
        Err(invalid) => nobody(&invalid.to_string()),
    }
}

/// Who is called, as it was when the runner was made.
#[derive(Clone, PartialEq)]
pub(crate) enum Code {
    Bot(Arc<BotCode>),
    Instance(Arc<InstanceCode>),
    /// Gone, or never there.
    Missing,
}

impl Code {
    /// Whom deliveries of a bot to `target` go to now.
    pub(crate) async fn find(store: &Store, bot: &BotId, target: &str) -> duologue_store::Result<Code> {
        Ok(match target.is_empty() {
            true => store.bot_code(bot).await?.map_or(Code::Missing, Code::Bot),
            false => store.instance_code(bot, target).await?.map_or(Code::Missing, Code::Instance),
        })
    }
}

/// A runner that is good until whoever it runs changes.
pub(crate) struct Known {
    pub(crate) code: Code,
    pub(crate) runner: Arc<dyn Runner>,
}

impl Known {
    pub(crate) fn new(bridge: &Bridge, bots: Option<&Bots>, code: Code) -> Known {
        let runner = match &code {
            Code::Bot(bot) => of_bot(bridge, bots, bot),
            Code::Instance(instance) => of_instance(bridge, instance),
            Code::Missing => nobody("It is gone."),
        };
        Known { code, runner }
    }

    /// Why this parcel isn't to be handed over, if it isn't.
    pub(crate) fn refuses(&self, parcel: &Parcel) -> Option<String> {
        match (&self.code, &parcel.content) {
            (Code::Bot(bot), Content::Event { event, .. }) => {
                // Whoever made the schedule wants its events.
                let wanted = if parcel.kind == Kind::Recurring { outbox::MESSAGE_CREATED } else { &event.kind };
                (!outbox::wants(bot, wanted)).then(|| "The bot doesn't hear of such events.".to_owned())
            }
            (Code::Instance(instance), Content::Operation { channel, .. }) => {
                (!instance.has_channel(channel)).then(|| "The channel is switched off.".to_owned())
            }
            _ => None,
        }
    }
}
