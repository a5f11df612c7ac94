//! What a handler is given besides what it handles: who it is about, a client, states, replies.

use std::{ops::Deref, sync::Arc};

use duologue_client::{
    Client, Conversation, CreateEvent, CreateMessage, CreateWorkflow, Event, Json, Message, Timestamp, User,
    WorkflowStatus,
    id::{BotId, ConversationId, UserId, WorkflowId},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    ActionAnswer, ActionCall, BotAction, BotEvent, BotState, BotWorkflow, Content, Error, Failure, Result, Scope,
    StateOf, bot::Handlers,
};

/// What is being handled, and all that a handler can do about it. Clones are cheap.
#[derive(Clone)]
pub struct Context {
    inner: Arc<Inner>,
    /// Whether what the bot sends passes through its hooks. Not so within hooks.
    hooked: bool,
}

pub(crate) struct Inner {
    pub handlers: Arc<Handlers>,
    pub client: Client,
    pub bot_id: BotId,
    /// JSON text.
    pub configuration: String,
    pub subject: Subject,
}

/// Whom and what an operation is about.
#[derive(Default)]
pub(crate) struct Subject {
    pub event: Option<Event>,
    pub conversation_id: Option<ConversationId>,
    pub user_id: Option<UserId>,
    pub workflow_id: Option<WorkflowId>,
    pub conversation: Option<Conversation>,
    pub user: Option<User>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let subject = &self.inner.subject;
        f.debug_struct("Context")
            .field("bot_id", &self.inner.bot_id)
            .field("event_id", &subject.event.as_ref().map(|event| &event.id))
            .field("conversation_id", &subject.conversation_id)
            .field("user_id", &subject.user_id)
            .finish_non_exhaustive()
    }
}

/// A message to the bot, with its author and its conversation. Is a [`Message`]: `message.kind`,
/// `message.payload`, `message.tags`.
#[derive(Clone, Debug, PartialEq, Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Incoming {
    /// The message.
    pub message: Message,
    /// Who wrote it.
    pub user: User,
    /// Where.
    pub conversation: Conversation,
}

impl Deref for Incoming {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

impl Incoming {
    /// The text of a message of type `text`, and of others that have one.
    pub fn text(&self) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct Payload {
            text: String,
        }
        serde_json::from_str::<Payload>(self.message.payload.text()).ok().map(|payload| payload.text)
    }

    /// The payload as a Rust type.
    pub fn payload_as<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_str(self.message.payload.text()).map_err(Error::shape("the message's payload"))
    }
}

impl Context {
    pub(crate) fn new(inner: Inner) -> Self {
        Context { inner: Arc::new(inner), hooked: true }
    }

    pub(crate) fn without_hooks(&self) -> Self {
        Context { inner: self.inner.clone(), hooked: false }
    }

    pub(crate) fn handlers(&self) -> &Handlers {
        &self.inner.handlers
    }

    /// The bot; its user has the same id.
    pub fn bot_id(&self) -> &BotId {
        &self.inner.bot_id
    }

    /// The event that is being handled; absent in actions and registration. A repeated delivery has the
    /// same id.
    pub fn event(&self) -> Option<&Event> {
        self.inner.subject.event.as_ref()
    }

    /// The conversation it is about, by id.
    pub fn conversation_id(&self) -> Option<&ConversationId> {
        self.inner.subject.conversation_id.as_ref()
    }

    /// The user it is about, by id.
    pub fn user_id(&self) -> Option<&UserId> {
        self.inner.subject.user_id.as_ref()
    }

    /// The workflow it is about, by id.
    pub fn workflow_id(&self) -> Option<&WorkflowId> {
        self.inner.subject.workflow_id.as_ref()
    }

    /// The conversation it is about, if it came with it: with messages, and with workflows that have one.
    pub fn conversation(&self) -> Option<&Conversation> {
        self.inner.subject.conversation.as_ref()
    }

    /// The user it is about, if it came with it: with messages, and with workflows that have one.
    pub fn user(&self) -> Option<&User> {
        self.inner.subject.user.as_ref()
    }

    /// The bot's configuration.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] when it isn't a `T`.
    pub fn configuration<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_str(&self.inner.configuration).map_err(Error::shape("the bot's configuration"))
    }

    /// All operations of the server, as the bot: see [`Client`]. Messages and calls of actions pass
    /// through the bot's hooks.
    pub fn client(&self) -> BotClient {
        BotClient { ctx: self.clone() }
    }

    /// The server's operations for **one** POST that must not happen twice: should the same event be
    /// delivered again, the call with the same `step` has no further effect and answers what it answered
    /// then. The call must be the same each time. On servers that honour `Idempotency-Key`, as Duologue
    /// does. Passes through no hooks.
    ///
    /// ```no_run
    /// # use duologue_sdk::{Context, Result, client::CreateUser};
    /// # async fn example(ctx: Context) -> Result {
    /// let user = ctx.once("guest")?.create_user(CreateUser::new().name("Guest")).await?;
    /// # Ok(()) }
    /// ```
    pub fn once(&self, step: &str) -> Result<Client, Error> {
        let event = self.event().ok_or_else(|| Error::Absent("only events can be delivered twice".into()))?;
        Ok(self.inner.client.with_idempotency_key(format!("{}:{step}", event.id))?)
    }

    /// Says something in the conversation it is about.
    ///
    /// # Errors
    ///
    /// [`Error::Absent`] when it is about none: then use [`Context::say_in`].
    pub async fn say(&self, content: impl Into<Content>) -> Result<Message> {
        let conversation = self.needed(self.conversation_id(), "conversation", "say_in")?;
        self.say_in(conversation, content).await
    }

    /// Says something in a conversation.
    pub async fn say_in(&self, conversation: &ConversationId, content: impl Into<Content>) -> Result<Message> {
        let Content { kind, payload } = content.into();
        let author = self.bot_id().as_user();
        self.client().create_message(CreateMessage::new(conversation, author, kind, payload)).await
    }

    /// A state of what this is about: of its conversation, its user, its workflow, or of the bot, as
    /// [`BotState::SCOPE`] says.
    pub fn state<S: BotState>(&self) -> StateOf<S> {
        let needed = |id: Option<String>, what| {
            let id = self.needed(id, what, "state_of");
            StateOf::new(self.inner.client.clone(), id)
        };
        match S::SCOPE {
            Scope::Bot => StateOf::new(self.inner.client.clone(), Ok(self.bot_id().to_string())),
            Scope::Conversation => needed(self.conversation_id().map(ToString::to_string), "conversation"),
            Scope::User => needed(self.user_id().map(ToString::to_string), "user"),
            Scope::Workflow => needed(self.workflow_id().map(ToString::to_string), "workflow"),
        }
    }

    /// A state of the conversation, user, workflow or bot with this id.
    pub fn state_of<S: BotState>(&self, id: impl ToString) -> StateOf<S> {
        StateOf::new(self.inner.client.clone(), Ok(id.to_string()))
    }

    /// Makes an event for the bot itself, about what this is about.
    pub async fn emit<E: BotEvent>(&self, payload: &E) -> Result<Event> {
        Ok(self.client().create_event(self.event_of(payload)).await?)
    }

    /// The same, to be delivered later.
    pub async fn emit_later<E: BotEvent>(&self, payload: &E, after: std::time::Duration) -> Result<Event> {
        let delay = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        let event = self.event_of(payload).schedule(duologue_client::Schedule::Delay(delay));
        Ok(self.client().create_event(event).await?)
    }

    fn event_of<E: BotEvent>(&self, payload: &E) -> CreateEvent {
        let mut event = CreateEvent::new(E::TYPE, payload);
        if let Some(id) = self.conversation_id() {
            event = event.conversation_id(id.clone());
        }
        if let Some(id) = self.user_id() {
            event = event.user_id(id.clone());
        }
        event
    }

    /// Calls an action and waits for its answer.
    pub async fn call<A: BotAction>(&self, input: &A::Input) -> Result<A::Output> {
        let output = self.client().call_action(A::NAME, input).await?;
        serde_json::from_str(output.text()).map_err(|e| Error::shape(format!("the output of {}", A::NAME))(e).into())
    }

    /// Starts a workflow about what this is about.
    pub async fn start<W: BotWorkflow>(&self, input: &W::Input) -> Result<duologue_client::Workflow> {
        let mut workflow = CreateWorkflow::new(W::NAME, WorkflowStatus::Pending).input(input);
        if let Some(timeout) = W::TIMEOUT {
            let after = i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX / 2);
            workflow = workflow.timeout_at(crate::now().plus_millis(after));
        }
        if let Some(id) = self.conversation_id() {
            workflow = workflow.conversation_id(id.clone());
        }
        if let Some(id) = self.user_id() {
            workflow = workflow.user_id(id.clone());
        }
        if let Some(id) = self.workflow_id() {
            workflow = workflow.parent_workflow_id(id.clone());
        }
        Ok(self.client().create_workflow(workflow).await?)
    }

    fn needed<T>(&self, id: Option<T>, what: &str, instead: &str) -> Result<T, Error> {
        let about = || {
            let kind = self.event().map_or("this", |event| event.kind.as_str());
            Error::Absent(format!("{kind} is about no {what}: name one, with Context::{instead}"))
        };
        id.ok_or_else(about)
    }
}

/// A [`Client`] that is the bot: what it sends and calls passes through the bot's hooks.
#[derive(Clone, Debug)]
pub struct BotClient {
    ctx: Context,
}

impl Deref for BotClient {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.ctx.inner.client
    }
}

impl BotClient {
    /// [`Client::create_message`], through the hooks.
    pub async fn create_message(&self, message: CreateMessage) -> Result<Message> {
        let client = &self.ctx.inner.client;
        if !self.ctx.hooked {
            return Ok(client.create_message(message).await?);
        }
        let hooks = self.ctx.handlers();
        let kind = message.kind.clone();
        let message = hooks.before_outgoing_message.pass(&kind, &self.ctx, message).await?;
        let message = message.ok_or(Error::Stopped("the message"))?;
        let sent = client.create_message(message).await?;
        if hooks.after_outgoing_message.is_empty() {
            return Ok(sent);
        }
        Ok(hooks.after_outgoing_message.pass(&kind, &self.ctx, sent.clone()).await?.unwrap_or(sent))
    }

    /// [`Client::call_action`], through the hooks.
    pub async fn call_action(&self, name: &str, input: impl Serialize + Send) -> Result<Json> {
        let client = &self.ctx.inner.client;
        if !self.ctx.hooked {
            return Ok(client.call_action(name, input).await?.output);
        }
        let hooks = self.ctx.handlers();
        let call = ActionCall { name: name.to_owned(), input: Json::of(&input) };
        let call = hooks.before_outgoing_action.pass(name, &self.ctx, call).await?;
        let call = call.ok_or(Error::Stopped("the call of an action"))?;
        let output = client.call_action(&call.name, &call.input).await?.output;
        let answer = ActionAnswer { name: call.name, output };
        let answer = hooks.after_outgoing_action.pass(name, &self.ctx, answer).await?;
        answer.map(|answer| answer.output).ok_or_else(|| Failure::from(Error::Stopped("the answer of an action")))
    }
}

/// The time, as the API writes it.
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
