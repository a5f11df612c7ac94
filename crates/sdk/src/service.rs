//! Requests of the platform, answered: which handlers run, and what their outcome is on the wire
//! (`spec/cloud/bridge-protocol.md` §§ 1–3, 5).
//!
//! Whatever a handler does, the bot lives on: it runs in a task of its own, is ended when its time is
//! up, and its panic is an answer. It goes on when the platform hangs up meanwhile.

use std::{
    any::Any,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use duologue_client::{
    Client, ErrorKind, Event, Json,
    id::{BotId, ConversationId, UserId},
};
use duologue_model::id::Generator;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    ActionAnswer, ActionCall, Bot, Context, Definition, Error, Failure, Result,
    bot::Handlers,
    context::{Inner, Subject},
    error::Told,
    handler::Table,
    request::{
        ActionTriggered, Call, EventReceived, MessageCreated, Operation, Registration, StateExpired, WorkflowUpdate,
    },
    signature,
    workflow::Update,
};

/// A bot that answers requests, over whatever HTTP server: [`Service::listen`] has one. Clones share
/// everything.
#[derive(Clone)]
pub struct Service {
    shared: Arc<Shared>,
}

struct Shared {
    definition: Definition,
    handlers: Arc<Handlers>,
    client: Client,
    signing_secrets: Vec<String>,
    patience: Duration,
    ids: Generator,
    watcher: Option<Watcher>,
}

/// Told of each request that was answered.
pub(crate) type Watcher = Box<dyn Fn(&Seen<'_>) + Send + Sync>;

/// A request that was answered.
pub(crate) struct Seen<'s> {
    /// The operation, as the header says it.
    pub operation: &'s str,
    /// The type, as the header says it.
    pub kind: &'s str,
    /// JSON text, as it came.
    pub body: &'s [u8],
    pub took: Duration,
    pub status: StatusCode,
    /// JSON text, as it went.
    pub answer: &'s [u8],
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

impl Bot {
    /// Makes it ready to answer.
    ///
    /// # Errors
    ///
    /// [`Error::Client`] when it was given no client and the environment describes none.
    pub fn service(self) -> Result<Service, Error> {
        self.watched_service(None)
    }

    pub(crate) fn watched_service(self, watcher: Option<Watcher>) -> Result<Service, Error> {
        let client = match self.client {
            Some(client) => client,
            None => Client::from_env()?,
        };
        let patience = self.patience.unwrap_or(Duration::from_secs(self.definition.execution_seconds()));
        Ok(Service {
            shared: Arc::new(Shared {
                definition: self.definition,
                handlers: Arc::new(self.handlers),
                client,
                signing_secrets: self.signing_secrets,
                patience,
                ids: Generator::system(),
                watcher,
            }),
        })
    }
}

impl Service {
    /// What the bot is made of.
    pub fn definition(&self) -> &Definition {
        &self.shared.definition
    }

    /// Answers a request. Paths mean nothing but `GET /health`.
    pub async fn call(&self, request: Request<Bytes>) -> Response<Bytes> {
        if request.method() == Method::GET && request.uri().path() == "/health" {
            return Response::new(Bytes::from_static(b"ok"));
        }
        let started = Instant::now();
        let response = self.answer(&request).await;
        if let Some(watcher) = &self.shared.watcher {
            let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
            watcher(&Seen {
                operation: text("x-bp-operation"),
                kind: text("x-bp-type"),
                body: request.body(),
                took: started.elapsed(),
                status: response.status(),
                answer: response.body(),
            });
        }
        response
    }

    async fn answer(&self, request: &Request<Bytes>) -> Response<Bytes> {
        // Before anything is said about the request itself.
        if let Err(why) = self.check_signature(request) {
            return self.envelope(&Told { status: 401, kind: ErrorKind::Unauthorized, message: why, metadata: None });
        }
        let call = match Call::read(request.headers()) {
            Ok(call) => call,
            Err(wrong) => {
                tracing::warn!(reason = wrong, "refused a request");
                return json_answer(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "error": wrong }));
            }
        };
        match self.perform(call, request.body().clone()).await {
            // Nothing to say is said without a content type.
            Ok(None) => Response::new(Bytes::from_static(b"{}")),
            Ok(Some(answer)) => json_answer(StatusCode::OK, &answer),
            Err(failure) => {
                let response = self.envelope(&failure.told());
                tracing::error!(%failure, status = response.status().as_u16(), answer = ?response.body(), "a handler failed");
                response
            }
        }
    }

    fn check_signature(&self, request: &Request<Bytes>) -> Result<(), &'static str> {
        let secrets = &self.shared.signing_secrets;
        if secrets.is_empty() {
            return Ok(());
        }
        let header = request.headers().get("x-bp-signature").and_then(|value| value.to_str().ok());
        let header = header.ok_or("the request isn't signed")?;
        signature::verify(secrets, header, request.body(), SystemTime::now())
    }

    /// Runs the handlers in a task of their own.
    async fn perform(&self, call: Call, body: Bytes) -> Result<Option<Value>> {
        let this = self.clone();
        let patience = self.shared.patience;
        let task = tokio::spawn(async move {
            tokio::time::timeout(patience, this.dispatch(call, &body)).await.unwrap_or_else(|_| {
                Err(Failure::new(format!("The handler took longer than {} s.", patience.as_secs_f64())))
            })
        });
        task.await.unwrap_or_else(|ended| match ended.try_into_panic() {
            Ok(panic) => Err(Failure::untold(format!("a handler panicked: {}", said(&*panic)))),
            Err(cancelled) => Err(Failure::untold(cancelled)),
        })
    }

    async fn dispatch(&self, call: Call, body: &[u8]) -> Result<Option<Value>> {
        match call.operation {
            Operation::Ping => Ok(None),
            Operation::Register | Operation::Unregister => {
                let registration: Registration =
                    if body.is_empty() { Registration::default() } else { read_body(body)? };
                let ctx = self.context(&call, Subject::default())?;
                let handlers = ctx.handlers();
                let table =
                    if call.operation == Operation::Register { &handlers.register } else { &handlers.unregister };
                run_all(table, "*", &ctx, registration.bot).await?;
                Ok(None)
            }
            Operation::EventReceived => {
                let EventReceived { event } = read_body(body)?;
                self.event(&call, event).await?;
                Ok(None)
            }
            Operation::ActionTriggered => {
                let ActionTriggered { name, input } = read_body(body)?;
                let output = self.action(&call, name, input).await?;
                Ok(Some(json!({ "output": output })))
            }
        }
    }

    async fn event(&self, call: &Call, event: Event) -> Result<()> {
        let subject = Subject {
            conversation_id: event.conversation_id.clone().map(ConversationId::from),
            user_id: event.user_id.clone().map(UserId::from),
            ..Subject::default()
        };
        match event.kind.as_str() {
            "message_created" => self.message(call, event, subject).await,
            "state_expired" => self.expired(call, event, subject).await,
            "workflow_update" => self.workflow(call, event, subject).await,
            _ => {
                let ctx = self.context(call, Subject { event: Some(event.clone()), ..subject })?;
                let handlers = ctx.handlers();
                let kind = event.kind.clone();
                let Some(event) = handlers.before_incoming_event.pass(&kind, &ctx, event).await? else { return Ok(()) };
                run_all(&handlers.events, &kind, &ctx, event.clone()).await?;
                handlers.after_incoming_event.pass(&kind, &ctx, event).await.map(drop)
            }
        }
    }

    async fn message(&self, call: &Call, event: Event, subject: Subject) -> Result<()> {
        let incoming: MessageCreated = read_payload(&event)?;
        let ctx = self.context(
            call,
            Subject {
                conversation_id: Some(incoming.conversation.id.clone()),
                user_id: Some(incoming.user.id.clone()),
                conversation: Some(incoming.conversation.clone()),
                user: Some(incoming.user.clone()),
                event: Some(event),
                ..subject
            },
        )?;
        let handlers = ctx.handlers();
        let kind = incoming.message.kind.clone();
        let Some(incoming) = handlers.before_incoming_message.pass(&kind, &ctx, incoming).await? else {
            return Ok(());
        };
        run_all(&handlers.messages, &kind, &ctx, incoming.clone()).await?;
        handlers.after_incoming_message.pass(&kind, &ctx, incoming).await.map(drop)
    }

    async fn expired(&self, call: &Call, event: Event, mut subject: Subject) -> Result<()> {
        let StateExpired { state } = read_payload(&event)?;
        subject.conversation_id =
            subject.conversation_id.or_else(|| state.conversation_id.clone().map(ConversationId::from));
        subject.user_id = subject.user_id.or_else(|| state.user_id.clone().map(UserId::from));
        let ctx = self.context(call, Subject { event: Some(event), ..subject })?;
        run_all(&ctx.handlers().expired, &state.name.clone(), &ctx, state).await
    }

    async fn workflow(&self, call: &Call, event: Event, subject: Subject) -> Result<()> {
        let update: WorkflowUpdate = read_payload(&event)?;
        let workflow = update.workflow;
        let ctx = self.context(
            call,
            Subject {
                conversation_id: subject
                    .conversation_id
                    .or_else(|| workflow.conversation_id.clone().map(ConversationId::from)),
                user_id: subject.user_id.or_else(|| workflow.user_id.clone().map(UserId::from)),
                workflow_id: Some(workflow.id.clone()),
                conversation: update.conversation,
                user: update.user,
                event: Some(event.clone()),
            },
        )?;
        let handlers = ctx.handlers();
        let table = match update.kind.as_str() {
            "workflow_started" => &handlers.started,
            "workflow_continued" => &handlers.continued,
            "workflow_timedout" => &handlers.timed_out,
            // Of children, which tell their end themselves.
            other => {
                tracing::debug!(kind = other, "passed over a change of a workflow");
                return Ok(());
            }
        };
        let name = workflow.name.clone();
        let update = Arc::new(Update { workflow, event: event.id, acknowledged: false.into() });
        run_all(table, &name, &ctx, update).await
    }

    async fn action(&self, call: &Call, name: String, input: Json) -> Result<Json> {
        let ctx = self.context(call, Subject::default())?;
        let handlers = ctx.handlers();
        let asked = ActionCall { name: name.clone(), input };
        let Some(asked) = handlers.before_incoming_action.pass(&name, &ctx, asked).await? else {
            return Err(Failure::new(format!("The action \"{name}\" was stopped by the bot.")));
        };
        let handler = handlers
            .actions
            .last(&asked.name)
            .ok_or_else(|| Failure::new(format!("The bot has no action \"{}\".", asked.name)))?;
        let output = handler(ctx.clone(), asked.input).await?;
        let answer = ActionAnswer { name: asked.name, output };
        let answer = handlers.after_incoming_action.pass(&name, &ctx, answer).await?;
        answer
            .map(|answer| answer.output)
            .ok_or_else(|| Failure::new(format!("The answer of the action \"{name}\" was stopped by the bot.")))
    }

    fn context(&self, call: &Call, subject: Subject) -> Result<Context> {
        let client = &self.shared.client;
        let client = match client.bot_id() {
            Some(id) if id == call.bot_id => client.clone(),
            _ => client.with_bot(call.bot_id.as_str())?,
        };
        Ok(Context::new(Inner {
            handlers: self.shared.handlers.clone(),
            client,
            bot_id: BotId::from(call.bot_id.as_str()),
            configuration: call.configuration.clone(),
            subject,
        }))
    }

    /// The dialect's error envelope (`spec/cloud/errors.md` § 1).
    fn envelope(&self, told: &Told<'_>) -> Response<Bytes> {
        #[derive(Serialize)]
        struct Envelope<'e> {
            id: String,
            code: u16,
            r#type: &'e str,
            message: &'e str,
            #[serde(skip_serializing_if = "Option::is_none")]
            metadata: Option<&'e Value>,
        }
        let digits: String = crate::now().to_string().chars().filter(char::is_ascii_digit).take(14).collect();
        let tail = u32::from_be_bytes(self.shared.ids.bytes::<4>());
        let envelope = Envelope {
            id: format!("err_{digits}x{tail:08X}"),
            code: told.kind.code(),
            r#type: told.kind.name(),
            message: told.message,
            metadata: told.metadata,
        };
        let status = StatusCode::from_u16(told.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = json_answer(status, &envelope);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// Runs the handlers for a name one after the other; the first failure ends it.
async fn run_all<A: Clone>(table: &Table<A>, name: &str, ctx: &Context, argument: A) -> Result<()> {
    for handler in table.find(name) {
        handler(ctx.clone(), argument.clone()).await?;
    }
    Ok(())
}

/// Rubbish is the platform's mistake: it is told what is wrong.
fn read_body<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|e| Failure::new(format!("The request's body isn't as expected: {e}")))
}

fn read_payload<T: DeserializeOwned>(event: &Event) -> Result<T> {
    serde_json::from_str(event.payload.text())
        .map_err(|e| Failure::new(format!("The payload of {} isn't as expected: {e}", event.kind)))
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("it didn't say why")
}

pub(crate) fn json_answer(status: StatusCode, body: &impl Serialize) -> Response<Bytes> {
    // Values of this crate's own types always have a JSON form.
    let mut response = Response::new(Bytes::from(serde_json::to_vec(body).unwrap_or_default()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
