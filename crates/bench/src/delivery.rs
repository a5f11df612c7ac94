//! Deliveries: from a message of the outside to the bot's reply, stored and heard outside again.
//!
//! Bot and integration are small servers in this process, so they share the machine with what is
//! measured, as a remote bot on the same machine does.

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
    hosted,
    load::{self, Client, Figures, request},
    scenarios::{authorization, borrowed, called, scratch, text},
    table,
};

/// Bots that fail beside the one that is measured.
const FAILING: usize = 1_000;
/// Messages for each of them: tried three times each, they keep failing for as long as is measured.
const MESSAGES_EACH: usize = 4;
/// States that expire in one second.
const STATES: usize = 100_000;

pub(crate) type Headers = Vec<(String, String)>;

/// What the servers of this process have seen.
#[derive(Default)]
struct Seen {
    /// Told when the integration hears the bot in a conversation.
    heard: Mutex<HashMap<String, mpsc::UnboundedSender<Instant>>>,
    /// From the message to the reply's being stored.
    spoken: Mutex<HashMap<String, Instant>>,
    stored: Mutex<Vec<u32>>,
    events: AtomicUsize,
    failures: AtomicUsize,
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

async fn failing(State(seen): State<Arc<Seen>>) -> StatusCode {
    seen.failures.fetch_add(1, Ordering::Relaxed);
    StatusCode::INTERNAL_SERVER_ERROR
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
    seen: Arc<Seen>,
    pub(crate) access: Access,
    integration: String,
    bot_url: String,
    folder: TempDir,
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

/// All of it.
pub(crate) async fn delivery(args: &Args) -> Result<(), Error> {
    table::title("delivery: message in, remote bot on this machine, reply stored and heard by the integration");
    let stage = Stage::start(args).await?;
    let (stored, heard) = stage.round_trips(1, args.seconds).await?;
    table::side("one conversation: until it is stored", &stored);
    table::side("one conversation: until it is heard", &heard);
    table::goal("one conversation: stored, p50 (ms)", millis(stored.p50), 5.0, false);
    table::goal("one conversation: heard, p50 (ms)", millis(heard.p50), 5.0, false);
    let (stored, heard) = stage.round_trips(args.connections, args.seconds).await?;
    table::side(&format!("{} conversations: until it is stored", args.connections), &stored);
    table::side(&format!("{} conversations: until it is heard", args.connections), &heard);
    table::goal("round trips a second", heard.per_second, 2_500.0, true);
    println!();
    stage.server.stop().await;
    match &args.hosted {
        Some(bundle) => hosted::hosted(args, bundle).await?,
        None => println!("delivery, hosted bot: skipped; `cargo xtask bundle FILE`, then --hosted FILE\n"),
    }
    beside_failing(args).await?;
    expiring(args).await
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// A healthy bot beside many that fail.
async fn beside_failing(args: &Args) -> Result<(), Error> {
    table::title(&format!("delivery: one healthy bot beside {FAILING} that always fail"));
    let stage = Stage::start(args).await?;
    let url = serve(Router::new().fallback(failing).with_state(stage.seen.clone())).await?;
    let mut client = Client::connect(&stage.server.address).await?;
    let mut messages = Vec::with_capacity(FAILING);
    for _ in 0..FAILING {
        let definition = format!(r#"{{"url":"{url}"}}"#);
        let made = called(&mut client, "POST", "/v1/admin/bots", &admin(&stage.access), &definition).await?;
        let bot = text(&made["bot"]["id"]);
        let install =
            format!(r#"{{"integrations":{{"bench":{{"integrationId":"{}","enabled":true}}}}}}"#, stage.integration);
        called(&mut client, "PUT", &format!("/v1/admin/bots/{bot}"), &admin(&stage.access), &install).await?;
        let headers = stage.headers(&bot);
        let (conversation, user) = stage.place(&mut client, &headers).await?;
        messages.push(said(&conversation, &user, &headers));
    }
    let (_, alone) = stage.round_trips(1, args.seconds).await?;
    for message in &messages {
        for _ in 0..MESSAGES_EACH {
            client.call(message).await?;
        }
    }
    let before = stage.seen.failures.load(Ordering::Relaxed);
    let (_, beside) = stage.round_trips(1, args.seconds).await?;
    let failures = stage.seen.failures.load(Ordering::Relaxed) - before;
    table::side("alone", &alone);
    table::side("beside them", &beside);
    table::figure("failures meanwhile", &failures.to_string());
    table::goal("p99 as a multiple of alone", beside.p99.as_secs_f64() / alone.p99.as_secs_f64(), 1.5, false);
    println!();
    stage.server.stop().await;
    Ok(())
}

/// Very many states that expire within a second, and how long their events take.
async fn expiring(args: &Args) -> Result<(), Error> {
    table::title(&format!("delivery: {STATES} states that expire within a second"));
    let stage = Stage::start(args).await?;
    let mut client = Client::connect(&stage.server.address).await?;
    let headers = vec![authorization(&stage.access), ("x-bot-id".into(), stage.access.bot.clone())];
    let path = format!("/v1/chat/states/bot/{}/s", stage.access.bot);
    called(&mut client, "POST", &path, &headers, r#"{"payload":{"n":1},"expiry":3600000}"#).await?;
    let Stage { server, seen, folder, bot_url, .. } = stage;
    server.stop().await;
    let due = multiply_states(&folder.path().join("duologue.db"))?;
    let server = Server::duologue(folder.path(), None).await?;
    let mut peak = 0;
    while seen.events.load(Ordering::Relaxed) < STATES + 1 {
        if due.elapsed().is_ok_and(|since| since > Duration::from_secs(300)) {
            return Err(Error::Unexpected(format!("events of states don't arrive at {bot_url}")));
        }
        peak = peak.max(server.resident());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = due.elapsed().unwrap_or_default();
    table::goal("from the first expiry to the last delivery (s)", took.as_secs_f64(), 60.0, false);
    table::figure("resident memory at most", &format!("{:.0} MB", peak as f64 / 1e6));
    println!();
    server.stop().await;
    Ok(())
}

/// Makes very many of the one state that is there; answers when the first expires.
fn multiply_states(file: &std::path::Path) -> Result<std::time::SystemTime, Error> {
    let due = std::time::SystemTime::now() + Duration::from_secs(5);
    let millis = due.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    let multiply = || -> rusqlite::Result<()> {
        let connection = rusqlite::Connection::open(file)?;
        connection.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) \
             INSERT INTO states (bot_id, type, scope_id, owner, name, id, payload, expiry, expires_at, created_at, updated_at) \
             SELECT bot_id, type, scope_id, owner, 's' || CAST(i AS TEXT), \
               substr(id, 1, length(id) - 6) || substr(CAST(1000000 + i AS TEXT), 2), \
               payload, expiry, expires_at, created_at, updated_at \
             FROM n CROSS JOIN states WHERE name = 's'",
            [STATES as i64],
        )?;
        let spread =
            "UPDATE states SET expires_at = ?1 + CAST(substr(id, length(id) - 5) AS INTEGER) % 1000 WHERE name <> 's'";
        connection.execute(spread, [millis])?;
        connection.execute("UPDATE states SET expires_at = ?1 WHERE name = 's'", [millis])?;
        Ok(())
    };
    multiply().map_err(|e| Error::Unexpected(format!("can't fill the database: {e}")))?;
    Ok(due)
}
