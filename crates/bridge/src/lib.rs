//! The platform's side of the bridge protocol (`spec/cloud/bridge-protocol.md`): how the code of bots
//! and integrations is called, and what its answers mean.
//!
//! A [`Callee`] is a bot, or an integration as installed in a bot, with everything that its headers
//! say; it is made once and used for many calls. A [`Bridge`] sends a [`Call`] to it: one POST to its
//! URL, or, for code that was uploaded, to wherever its [`Hosting`] runs it.
//!
//! Called by `delivery` (events, messages) and `http` (whatever a request waits for). It never retries,
//! never touches the store, and holds nothing while it waits but its own request.

mod answer;
mod callee;
mod hosting;
mod sign;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use duologue_outbound::{Client, Limits, Request};
use http::{HeaderName, HeaderValue, Method};

pub use answer::{Answer, Failure};
pub use callee::{Address, Callee, Code, Installed, Invalid};
pub use hosting::{Ended, Hosting, Lease, NoHosting, NotHosted};
pub use sign::Secrets;

/// How long a call may take unless the definition says otherwise (§ 5).
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// The largest answer, in bytes.
pub const LARGEST_ANSWER: usize = 10 << 20;

/// What the callee is asked to do (§§ 2, 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Whether anybody is there.
    Ping,
    /// It was deployed or installed.
    Register,
    /// It is being removed.
    Unregister,
    /// An event, to a bot.
    EventReceived,
    /// An action, to either.
    ActionTriggered,
    /// A request of the outside world, to an integration.
    WebhookReceived,
    /// A message to carry outside, to an integration.
    MessageCreated,
    /// A message was changed, to an integration that wants to know.
    MessageUpdated,
    /// A conversation was changed, to an integration that wants to know.
    ConversationUpdated,
    /// Make a user, to an integration.
    CreateUser,
    /// Make a conversation, to an integration.
    CreateConversation,
}

impl Operation {
    /// Its name in the header `x-bp-operation`.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Ping => "ping",
            Operation::Register => "register",
            Operation::Unregister => "unregister",
            Operation::EventReceived => "event_received",
            Operation::ActionTriggered => "action_triggered",
            Operation::WebhookReceived => "webhook_received",
            Operation::MessageCreated => "message_created",
            Operation::MessageUpdated => "message_updated",
            Operation::ConversationUpdated => "conversation_updated",
            Operation::CreateUser => "create_user",
            Operation::CreateConversation => "create_conversation",
        }
    }
}

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    /// What to do.
    pub operation: Operation,
    /// For an event: its type as the bot knows it (`message_created`, `slack:reactionAdded`). Otherwise
    /// empty.
    pub event_type: String,
    /// The JSON text of the operation's body.
    pub body: Bytes,
    /// W3C trace context to pass on, if the request that led here had one.
    pub traceparent: Option<HeaderValue>,
}

impl Call {
    /// A call of an operation other than `event_received`.
    pub fn new(operation: Operation, body: impl Into<Bytes>) -> Self {
        Call { operation, event_type: String::new(), body: body.into(), traceparent: None }
    }

    /// An event of this type; `body` is `{"event": …}`.
    pub fn event(event_type: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Call { event_type: event_type.into(), ..Call::new(Operation::EventReceived, body) }
    }

    /// What `x-bp-type` says. It must never be empty (§ 2).
    fn kind(&self) -> &str {
        if self.event_type.is_empty() { self.operation.name() } else { &self.event_type }
    }
}

const OPERATION: HeaderName = HeaderName::from_static("x-bp-operation");
const TYPE: HeaderName = HeaderName::from_static("x-bp-type");
const SIGNATURE: HeaderName = HeaderName::from_static("x-bp-signature");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Calls bots and integrations. Clones share connections.
#[derive(Clone)]
pub struct Bridge {
    /// For URLs that developers gave.
    remote: Client,
    /// For code that runs here.
    local: Client,
    hosting: Arc<dyn Hosting>,
}

impl std::fmt::Debug for Bridge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bridge").finish_non_exhaustive()
    }
}

impl Bridge {
    /// `remote` decides which addresses a developer's URL may lead to; `local` reaches loopback, and is
    /// used for nothing but what `hosting` names.
    pub fn new(remote: Client, local: Client, hosting: Arc<dyn Hosting>) -> Self {
        Bridge { remote, local, hosting }
    }

    /// Calls, and reads the answer as success or failure (§ 5).
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn call(&self, callee: &Callee, call: &Call) -> Result<Answer, Failure> {
        answer::interpret(self.exchange(callee, call).await?)
    }

    /// Calls, and returns whatever HTTP answer comes: for what is passed through (§ 6.2).
    ///
    /// # Errors
    /// See [`Failure`]; of its kinds those that mean that there is no answer.
    pub async fn exchange(&self, callee: &Callee, call: &Call) -> Result<Answer, Failure> {
        match callee.address() {
            Address::Url(url) => {
                let request = request(callee, call, url.clone())?;
                self.remote.send(request).await.map(Answer::from).map_err(Failure::from)
            }
            Address::Code(code) => self.hosted(callee, call, code).await,
            Address::None => Err(Failure::NotCallable("It has neither a URL nor code.".to_owned())),
        }
    }

    async fn hosted(&self, callee: &Callee, call: &Call, code: &Code) -> Result<Answer, Failure> {
        let lease = self.hosting.lease(code).await.map_err(Failure::from)?;
        let mut request = request(callee, call, lease.url().to_owned())?;
        request.headers.extend(lease.headers());
        let result = self.local.send(request).await.map(Answer::from).map_err(Failure::from);
        lease.end(match &result {
            Ok(_) => Ended::Answered,
            Err(Failure::Timeout(_)) => Ended::TimedOut,
            Err(_) => Ended::Broke,
        });
        result
    }
}

fn request(callee: &Callee, call: &Call, url: String) -> Result<Request, Failure> {
    let mut headers = callee.headers().clone();
    headers.insert(OPERATION, HeaderValue::from_static(call.operation.name()));
    let kind = HeaderValue::from_str(call.kind())
        .map_err(|_| Failure::NotCallable("The type of the event can't be written into a header.".to_owned()))?;
    headers.insert(TYPE, kind);
    if let Some(traceparent) = &call.traceparent {
        headers.insert(TRACEPARENT, traceparent.clone());
    }
    if let Some(signature) = callee.secrets().map(|secrets| secrets.sign(SystemTime::now(), &call.body)) {
        headers.insert(SIGNATURE, signature);
    }
    let limits = Limits { timeout: callee.timeout(), redirects: 0, body: LARGEST_ANSWER };
    Ok(Request { method: Method::POST, url, headers, body: call.body.clone(), limits: Some(limits) })
}
