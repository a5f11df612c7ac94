//! Where deliveries are measured: a server, and a bot and an integration that run in this process, so that they
//! share the machine with what is measured, as a remote bot on the same machine does.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, extract::State, http::StatusCode};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::{
    Args, Error,
    child::{self, Access, Server},
    load::{self, Client, Figures, request},
    scenarios::{authorization, borrowed, called, scratch, text},
};

pub(crate) type Headers = Vec<(String, String)>;

/// What the servers of this process have seen.
#[derive(Default)]
pub(crate) struct Seen {
    /// Told when the integration hears the bot in a conversation.
    heard: Mutex<HashMap<String, mpsc::UnboundedSender<Instant>>>,
    /// From the message to the reply's being stored.
    spoken: Mutex<HashMap<String, Instant>>,
    stored: Mutex<Vec<u32>>,
    pub(crate) events: AtomicUsize,
    pub(crate) failures: AtomicUsize,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The bot: answers each message with one.
#[derive(Clone)]
struct Bot {
    seen: Arc<Seen>,
    address: Arc<Mutex<String>>,
    headers: Arc<Mutex<Headers>>,
    own: Arc<Mutex<String>>,
    clients: Arc<Mutex<Vec<Client>>>,
}

#[derive(Deserialize)]
struct EventBody {
    event: EventHead,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventHead {
    r#type: String,
    conversation_id: Option<String>,
}

async fn bot(State(bot): State<Bot>, body: Bytes) -> (StatusCode, &'static str) {
    match bot.answer(&body).await {
        Ok(()) => (StatusCode::OK, "{}"),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, ""),
    }
}

impl Bot {
    async fn answer(&self, body: &[u8]) -> Result<(), Error> {
        let body: EventBody = serde_json::from_slice(body).map_err(|e| Error::Unexpected(e.to_string()))?;
        self.seen.events.fetch_add(1, Ordering::Relaxed);
        let (Some(conversation), "message_created") = (body.event.conversation_id, body.event.r#type.as_str()) else {
            return Ok(());
        };
        let own = lock(&self.own).clone();
        let reply = format!(
            r#"{{"conversationId":"{conversation}","userId":"{own}","type":"text","payload":{{"text":"pong"}},"tags":{{}}}}"#
        );
        let request = request("POST", "/v1/chat/messages", &borrowed(&lock(&self.headers)), &reply);
        let pooled = lock(&self.clients).pop();
        let address = lock(&self.address).clone();
        let mut client = match pooled {
            Some(client) => client,
            None => Client::connect(&address).await?,
        };
        client.call(&request).await?;
        lock(&self.clients).push(client);
        if let Some(began) = lock(&self.seen.spoken).get(&conversation) {
            lock(&self.seen.stored).push(began.elapsed().as_micros() as u32);
        }
        Ok(())
    }
}

/// The integration: notes what the bot says.
async fn outside(State(seen): State<Arc<Seen>>, body: Bytes) -> &'static str {
    #[derive(Deserialize)]
    struct Operation {
        conversation: Conversation,
    }
    #[derive(Deserialize)]
    struct Conversation {
        id: String,
    }
    if let Ok(operation) = serde_json::from_slice::<Operation>(&body)
        && let Some(waiting) = lock(&seen.heard).get(&operation.conversation.id)
    {
        // An error means that the run is over.
        let _ = waiting.send(Instant::now());
    }
    "{}"
}

pub(crate) async fn serve(router: Router) -> Result<String, Error> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.map_err(|e| Error::Io("listen", e))?;
    let address = listener.local_addr().map_err(|e| Error::Io("listen", e))?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(format!("http://{address}/"))
}

/// A server with a bot and an integration that run here.
pub(crate) struct Stage {
    pub(crate) server: Server,
    pub(crate) seen: Arc<Seen>,
    pub(crate) access: Access,
    pub(crate) integration: String,
    pub(crate) bot_url: String,
    pub(crate) folder: TempDir,
}

impl Stage {
    pub(crate) async fn start(args: &Args) -> Result<Stage, Error> {
        let seen = Arc::new(Seen::default());
        let bot_state = Bot {
            seen: seen.clone(),
            address: Arc::default(),
            headers: Arc::default(),
            own: Arc::default(),
            clients: Arc::default(),
        };
        let bot_url = serve(Router::new().fallback(bot).with_state(bot_state.clone())).await?;
        let outside_url = serve(Router::new().fallback(outside).with_state(seen.clone())).await?;
        let folder = scratch(args)?;
        let access = child::init(folder.path(), None).await?;
        let server = Server::duologue(folder.path(), None).await?;
        let mut client = Client::connect(&server.address).await?;
        let admin = admin(&access);
        let definition = format!(
            r#"{{"name":"bench","version":"1.0.0","url":"{outside_url}","channels":{{"test":{{"messages":{{"text":{{"schema":{{}}}}}}}}}}}}"#
        );
        let made = called(&mut client, "POST", "/v1/admin/integrations", &admin, &definition).await?;
        let integration = text(&made["integration"]["id"]);
        let install = format!(
            r#"{{"url":"{bot_url}","integrations":{{"bench":{{"integrationId":"{integration}","enabled":true}}}}}}"#
        );
        called(&mut client, "PUT", &format!("/v1/admin/bots/{}", access.bot), &admin, &install).await?;
        *lock(&bot_state.address) = server.address.clone();
        *lock(&bot_state.headers) = vec![authorization(&access), ("x-bot-id".into(), access.bot.clone())];
        *lock(&bot_state.own) = access.bot.clone();
        Ok(Stage { server, seen, access, integration, bot_url, folder })
    }

    pub(crate) fn headers(&self, bot: &str) -> Headers {
        let integration = ("x-integration-id".into(), self.integration.clone());
        vec![authorization(&self.access), ("x-bot-id".into(), bot.to_owned()), integration]
    }

    /// A conversation and somebody to speak in it.
    pub(crate) async fn place(&self, client: &mut Client, headers: &Headers) -> Result<(String, String), Error> {
        let body = r#"{"channel":"test","tags":{}}"#;
        let conversation = called(client, "POST", "/v1/chat/conversations", headers, body).await?;
        let user = called(client, "POST", "/v1/chat/users", headers, r#"{"tags":{}}"#).await?;
        Ok((text(&conversation["conversation"]["id"]), text(&user["user"]["id"])))
    }

    /// Round trips in so many conversations at once: until the reply is stored, and until it is heard.
    pub(crate) async fn round_trips(&self, conversations: usize, seconds: u64) -> Result<(Figures, Figures), Error> {
        let headers = self.headers(&self.access.bot);
        let start = Instant::now() + Duration::from_secs(1);
        let end = start + Duration::from_secs(seconds);
        let mut running = tokio::task::JoinSet::new();
        for _ in 0..conversations {
            let mut client = Client::connect(&self.server.address).await?;
            let (conversation, user) = self.place(&mut client, &headers).await?;
            let (sender, mut heard) = mpsc::unbounded_channel();
            lock(&self.seen.heard).insert(conversation.clone(), sender);
            let message = said(&conversation, &user, &headers);
            let seen = self.seen.clone();
            running.spawn(async move {
                let mut took = Vec::with_capacity(50_000);
                loop {
                    let began = Instant::now();
                    if began >= end {
                        return Ok::<_, Error>(took);
                    }
                    lock(&seen.spoken).insert(conversation.clone(), began);
                    client.call(&message).await?;
                    let waited = tokio::time::timeout(Duration::from_secs(30), heard.recv()).await;
                    let at = waited.ok().flatten().ok_or_else(|| Error::Unexpected("a reply wasn't heard".into()))?;
                    if began >= start {
                        took.push((at - began).as_micros() as u32);
                    }
                }
            });
        }
        tokio::time::sleep_until(start.into()).await;
        lock(&self.seen.stored).clear();
        let mut heard: Vec<u32> = Vec::new();
        while let Some(done) = running.join_next().await {
            heard.extend(done.map_err(|e| Error::Unexpected(e.to_string()))??);
        }
        let stored = std::mem::take(&mut *lock(&self.seen.stored));
        Ok((load::figures(stored, seconds), load::figures(heard, seconds)))
    }
}

pub(crate) fn admin(access: &Access) -> Headers {
    vec![authorization(access), ("x-workspace-id".into(), access.workspace.clone())]
}

pub(crate) fn said(conversation: &str, user: &str, headers: &Headers) -> Vec<u8> {
    let body = format!(
        r#"{{"conversationId":"{conversation}","userId":"{user}","type":"text","payload":{{"text":"ping"}},"tags":{{}}}}"#
    );
    request("POST", "/v1/chat/messages", &borrowed(headers), &body)
}
