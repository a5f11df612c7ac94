//! A bot: its definition and what it does, added one handler at a time.
//!
//! Built by the bot's author; served by [`crate::Service`], deployed by [`crate::deploy`].

use std::{fmt, sync::Arc, time::Duration};

use duologue_client::{Client, CreateMessage, Event, Json, Message, State};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    BotAction, BotEvent, BotState, BotWorkflow, Definition, Error, Expired, Failure, Incoming, Result, Run,
    handler::{Handler, Table, keep, keep_for},
    workflow::Update,
};

/// What a call of an action carries through hooks: the action's name and its input.
#[derive(Clone, Debug, PartialEq)]
pub struct ActionCall {
    /// The action: `github:createIssue` for an integration's, `book` for the bot's own.
    pub name: String,
    /// Its input; a JSON object.
    pub input: Json,
}

/// What an answer of an action carries through hooks.
#[derive(Clone, Debug, PartialEq)]
pub struct ActionAnswer {
    /// The action that answered.
    pub name: String,
    /// Its output; a JSON object.
    pub output: Json,
}

/// A bot.
///
/// ```no_run
/// use duologue_sdk::{Bot, Definition, Error};
///
/// #[tokio::main]
/// async fn main() -> Result<(), Error> {
///     let bot = Bot::new(Definition::new()).on_message("text", |ctx, message| async move {
///         ctx.say(format!("You said: {}", message.text().unwrap_or_default())).await?;
///         Ok(())
///     });
///     bot.serve("0.0.0.0:8072").await
/// }
/// ```
///
/// Several handlers for the same run one after the other, in the order in which they were added; the
/// first to fail ends it. Hooks are handlers that are given something on its way and return it, changed
/// or not; a hook before that returns `None` ends its way there.
#[must_use]
pub struct Bot {
    pub(crate) definition: Definition,
    pub(crate) handlers: Handlers,
    pub(crate) client: Option<Client>,
    pub(crate) signing_secrets: Vec<String>,
    pub(crate) patience: Option<Duration>,
}

/// All that a bot does.
#[derive(Default)]
pub(crate) struct Handlers {
    pub messages: Table<Incoming>,
    pub events: Table<Event>,
    pub expired: Table<State>,
    pub started: Table<Arc<Update>>,
    pub continued: Table<Arc<Update>>,
    pub timed_out: Table<Arc<Update>>,
    pub actions: Table<Json, Json>,
    pub register: Table<Json>,
    pub unregister: Table<Json>,
    pub before_incoming_message: Table<Incoming, Option<Incoming>>,
    pub after_incoming_message: Table<Incoming, Option<Incoming>>,
    pub before_incoming_event: Table<Event, Option<Event>>,
    pub after_incoming_event: Table<Event, Option<Event>>,
    pub before_incoming_action: Table<ActionCall, Option<ActionCall>>,
    pub after_incoming_action: Table<ActionAnswer, Option<ActionAnswer>>,
    pub before_outgoing_message: Table<CreateMessage, Option<CreateMessage>>,
    pub after_outgoing_message: Table<Message, Option<Message>>,
    pub before_outgoing_action: Table<ActionCall, Option<ActionCall>>,
    pub after_outgoing_action: Table<ActionAnswer, Option<ActionAnswer>>,
}

impl fmt::Debug for Bot {
    /// Never shows the signing secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bot").field("definition", &self.definition).finish_non_exhaustive()
    }
}

fn read<T: DeserializeOwned>(what: &str, json: &Json) -> Result<T> {
    serde_json::from_str(json.text()).map_err(|e| Error::shape(what)(e).into())
}

fn write(value: &impl Serialize) -> Result<Json> {
    let text = serde_json::to_string(value).map_err(Error::shape("what the handler returned"))?;
    Json::parse(text).map_err(Failure::from)
}

impl Bot {
    /// A bot that does nothing yet.
    pub fn new(definition: Definition) -> Self {
        Bot { definition, handlers: Handlers::default(), client: None, signing_secrets: vec![], patience: None }
    }

    /// What it is made of.
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// Talks to the server through this client instead of one of the environment
    /// ([`Client::from_env`]: `BP_API_URL`, `BP_TOKEN`). Which bot it is about, each request says.
    pub fn client(mut self, client: Client) -> Self {
        self.client = Some(client);
        self
    }

    /// Refuses requests that aren't signed with this secret. Called several times: with any of them, as
    /// during a rotation.
    pub fn signing_secret(mut self, secret: impl Into<String>) -> Self {
        self.signing_secrets.push(secret.into());
        self
    }

    /// How long a request may be worked on. By default as long as the server waits:
    /// [`Definition::max_execution_time`], or 60 s.
    pub fn handler_timeout(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    /// On messages of this type (`text`, `image`, …); `*` for any.
    pub fn on_message(mut self, kind: &str, handler: impl Handler<Incoming>) -> Self {
        self.handlers.messages.add(kind, keep(handler));
        self
    }

    /// On every message.
    pub fn on_any_message(self, handler: impl Handler<Incoming>) -> Self {
        self.on_message("*", handler)
    }

    /// On events of this type: the bot's own, an integration's, recurring or not.
    pub fn on_event<E: BotEvent>(mut self, handler: impl Handler<E>) -> Self {
        let convert = |_: &_, event: Event| read("the event's payload", &event.payload);
        self.handlers.events.add(E::TYPE, keep_for(handler, convert));
        self
    }

    /// On events of a type that has no Rust type (`slack:reactionAdded`); `*` for any.
    pub fn on_event_named(mut self, kind: &str, handler: impl Handler<Event>) -> Self {
        self.handlers.events.add(kind, keep(handler));
        self
    }

    /// On every event. Messages, expired states and workflows aren't events to handlers.
    pub fn on_any_event(self, handler: impl Handler<Event>) -> Self {
        self.on_event_named("*", handler)
    }

    /// When a state has expired: with what was kept in it.
    pub fn on_state_expired<S: BotState>(mut self, handler: impl Handler<Expired<S>>) -> Self {
        let convert = |_: &_, state: State| {
            let value = read("the state", &state.payload)?;
            Ok(Expired { value, state })
        };
        self.handlers.expired.add(S::NAME, keep_for(handler, convert));
        self
    }

    /// When any state has expired.
    pub fn on_any_state_expired(mut self, handler: impl Handler<State>) -> Self {
        self.handlers.expired.add("*", keep(handler));
        self
    }

    /// When a workflow has begun. Call [`Run::acknowledge`], or end it: otherwise the platform delivers
    /// the same again, and gives up after the third time.
    pub fn on_workflow_start<W: BotWorkflow>(mut self, handler: impl Handler<Run<W>>) -> Self {
        self.handlers.started.add(W::NAME, keep_for(handler, Run::of));
        self
    }

    /// When a workflow that was acknowledged and hasn't ended goes on. To be acknowledged as well.
    pub fn on_workflow_continue<W: BotWorkflow>(mut self, handler: impl Handler<Run<W>>) -> Self {
        self.handlers.continued.add(W::NAME, keep_for(handler, Run::of));
        self
    }

    /// When a workflow's time is up. It may still be ended as failed or completed.
    pub fn on_workflow_timeout<W: BotWorkflow>(mut self, handler: impl Handler<Run<W>>) -> Self {
        self.handlers.timed_out.add(W::NAME, keep_for(handler, Run::of));
        self
    }

    /// When an action of the bot is called. The last handler added for it answers.
    pub fn on_action<A: BotAction>(mut self, handler: impl Handler<A::Input, A::Output>) -> Self {
        let handler = keep(handler);
        let answer = move |ctx, input: Json| {
            let handler = handler.clone();
            async move {
                let input = read::<A::Input>("the input", &input).map_err(|e| Failure::new(e.to_string()))?;
                write(&handler(ctx, input).await?)
            }
        };
        self.handlers.actions.add(A::NAME, keep(answer));
        self
    }

    /// After the bot was deployed: with the bot as the server has it. Failures are only logged there.
    pub fn on_register(mut self, handler: impl Handler<Json>) -> Self {
        self.handlers.register.add("*", keep(handler));
        self
    }

    /// Before the bot is deleted. Not every server tells.
    pub fn on_unregister(mut self, handler: impl Handler<Json>) -> Self {
        self.handlers.unregister.add("*", keep(handler));
        self
    }
}

/// Defines the hooks, which differ in when they run and in what they are given.
macro_rules! hooks {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)*) => {
        /// Hooks. The name says which: a message's or event's type, an action's name, `*` for any.
        impl Bot {
            $(
                $(#[$doc])*
                pub fn $name(mut self, name: &str, hook: impl Handler<$type, Option<$type>>) -> Self {
                    self.handlers.$name.add(name, keep(hook));
                    self
                }
            )*
        }
    };
}

hooks! {
    /// Before handlers see a message. `None`: they don't.
    before_incoming_message: Incoming;
    /// After all handlers of a message succeeded.
    after_incoming_message: Incoming;
    /// Before handlers see an event. `None`: they don't.
    before_incoming_event: Event;
    /// After all handlers of an event succeeded.
    after_incoming_event: Event;
    /// Before the handler of an action is called. `None`: it isn't, and the caller is told so.
    before_incoming_action: ActionCall;
    /// After the handler of an action answered; what the hook returns is the answer.
    after_incoming_action: ActionAnswer;
    /// Before the bot's message is sent. `None`: it isn't, and the sender gets [`Error::Stopped`].
    before_outgoing_message: CreateMessage;
    /// After the bot's message was sent.
    after_outgoing_message: Message;
    /// Before the bot calls an action. `None`: it doesn't, and the caller gets [`Error::Stopped`].
    before_outgoing_action: ActionCall;
    /// After an action answered the bot; what the hook returns is the answer.
    after_outgoing_action: ActionAnswer;
}
