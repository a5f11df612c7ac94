//! The baselines: axum over an engine and nothing else.
//!
//! `POST /insert` takes a message as createMessage does, gives it an id and an instant, puts the same
//! row into the same table (columns, key and indexes of `messages`) and answers with it when it is
//! durable: on SQLite through a writer thread that commits whatever waits, on PostgreSQL with one
//! statement on a pooled connection. No authentication, no check, no event, no outbox, no
//! conversation that moves. `GET /read/{key}` reads a row of a table of keys and texts;
//! `POST /upsert/{key}` overwrites one.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::SystemTime,
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use duologue_model::{
    Json, Timestamp,
    id::{Generator, MessageId},
};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::Error;

/// What a baseline runs on.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Address to listen on.
    #[arg(long)]
    pub listen: String,
    /// SQLite file.
    #[arg(long)]
    pub file: Option<PathBuf>,
    /// PostgreSQL URL.
    #[arg(long)]
    pub database: Option<String>,
    /// Connections to PostgreSQL.
    #[arg(long, default_value_t = 20)]
    pub connections: usize,
}

/// Serves until it is killed.
pub async fn run(args: Args) -> Result<(), Error> {
    let listener = tokio::net::TcpListener::bind(&args.listen).await.map_err(|e| Error::Io("listen", e))?;
    let router = match (args.file, args.database) {
        (Some(file), _) => sqlite(file)?,
        (None, Some(url)) => postgres(&url, args.connections).await?,
        (None, None) => return Err(Error::Unexpected("give --file or --database".into())),
    };
    axum::serve(listener, router).await.map_err(|e| Error::Io("serve", e))
}

fn unexpected(error: impl std::fmt::Display) -> Error {
    Error::Unexpected(error.to_string())
}

/// The table of messages, its key and its indexes, as in the store.
const MESSAGES: &str = "CREATE TABLE messages (conversation_id TEXT NOT NULL, created_at BIGINT NOT NULL, id TEXT NOT NULL, \
     bot_id TEXT NOT NULL, seq BIGINT NOT NULL, type TEXT NOT NULL, payload TEXT NOT NULL, direction TEXT NOT NULL, \
     user_id TEXT NOT NULL, origin TEXT, tags TEXT NOT NULL, announced BIGINT NOT NULL, updated_at BIGINT NOT NULL, \
     PRIMARY KEY (conversation_id, created_at, id)); \
     CREATE UNIQUE INDEX messages_id ON messages (id); \
     CREATE INDEX messages_bot ON messages (bot_id, created_at, id)";
const INSERT: &str = "INSERT INTO messages (conversation_id, created_at, id, bot_id, seq, type, payload, direction, user_id, \
     origin, tags, announced, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, 'incoming', $8, NULL, '{}', 1, $2)";
const BOT: &str = "00000000-0000-4000-8000-000000000000";

/// What a caller sends.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewMessage {
    conversation_id: String,
    user_id: String,
    #[serde(rename = "type")]
    kind: String,
    payload: Json,
}

/// What goes into the table, and back.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    id: String,
    conversation_id: String,
    user_id: String,
    #[serde(rename = "type")]
    kind: String,
    payload: Json,
    created_at: Timestamp,
    #[serde(skip)]
    seq: i64,
}

/// Numbers and stamps messages.
struct Maker {
    ids: Generator,
    count: AtomicI64,
}

impl Maker {
    fn new() -> Self {
        Maker { ids: Generator::system(), count: AtomicI64::new(0) }
    }

    fn make(&self, body: &[u8]) -> Option<Message> {
        let new: NewMessage = serde_json::from_slice(body).ok()?;
        let millis = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?.as_millis() as i64;
        let created_at = Timestamp::from_millis(millis);
        let id: MessageId = self.ids.id(created_at);
        Some(Message {
            id: id.to_string(),
            conversation_id: new.conversation_id,
            user_id: new.user_id,
            kind: new.kind,
            payload: new.payload,
            created_at,
            seq: self.count.fetch_add(1, Ordering::Relaxed),
        })
    }
}

enum Write {
    Message(Message),
    Row(String, Bytes),
}

struct Insert {
    write: Write,
    done: oneshot::Sender<Option<Message>>,
}

struct Sqlite {
    queue: mpsc::Sender<Insert>,
    file: PathBuf,
    readers: std::sync::Mutex<Vec<Connection>>,
    maker: Maker,
}

fn connect(file: &PathBuf) -> rusqlite::Result<Connection> {
    let conn = Connection::open(file)?;
    conn.busy_timeout(std::time::Duration::from_secs(5))?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    Ok(conn)
}

fn sqlite(file: PathBuf) -> Result<Router, Error> {
    let mut conn = connect(&file).map_err(unexpected)?;
    conn.execute_batch(MESSAGES).map_err(unexpected)?;
    conn.execute_batch("CREATE TABLE rows (id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID")
        .map_err(unexpected)?;
    let (queue, mut waiting) = mpsc::channel::<Insert>(4096);
    std::thread::spawn(move || {
        let mut group = Vec::with_capacity(256);
        while let Some(first) = waiting.blocking_recv() {
            group.push(first);
            while group.len() < 256
                && let Ok(next) = waiting.try_recv()
            {
                group.push(next);
            }
            if commit(&mut conn, &group).is_err() {
                group.clear();
            }
            for Insert { write, done } in group.drain(..) {
                // Whoever waited may have gone.
                let _ = done.send(match write {
                    Write::Message(message) => Some(message),
                    Write::Row(..) => None,
                });
            }
        }
    });
    let state = Arc::new(Sqlite { queue, file, readers: std::sync::Mutex::default(), maker: Maker::new() });
    Ok(Router::new()
        .route(
            "/insert",
            post(|State(state): State<Arc<Sqlite>>, body: Bytes| async move { insert(&state, &body).await }),
        )
        .route(
            "/upsert/{key}",
            post(|State(state): State<Arc<Sqlite>>, Path(key): Path<String>, body: Bytes| async move {
                upsert(&state, key, body).await
            }),
        )
        .route(
            "/read/{key}",
            get(|State(state): State<Arc<Sqlite>>, Path(key): Path<String>| async move { read(&state, &key) }),
        )
        .with_state(state))
}

/// One durable commit of a group.
fn commit(conn: &mut Connection, group: &[Insert]) -> rusqlite::Result<()> {
    let tx = conn.transaction()?;
    for insert in group {
        match &insert.write {
            Write::Message(m) => tx.prepare_cached(INSERT)?.execute(rusqlite::params![
                m.conversation_id,
                m.created_at.millis(),
                m.id,
                BOT,
                m.seq,
                m.kind,
                m.payload.text(),
                m.user_id
            ])?,
            Write::Row(key, body) => tx
                .prepare_cached(
                    "INSERT INTO rows (id, body) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET body = excluded.body",
                )?
                .execute(rusqlite::params![key, std::str::from_utf8(body).unwrap_or_default()])?,
        };
    }
    tx.commit()
}

async fn insert(state: &Sqlite, body: &[u8]) -> Response {
    let Some(message) = state.maker.make(body) else { return StatusCode::BAD_REQUEST.into_response() };
    match written(state, Write::Message(message)).await {
        Some(Some(message)) => answer(&message),
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn upsert(state: &Sqlite, key: String, body: Bytes) -> Response {
    match written(state, Write::Row(key, body.clone())).await {
        Some(_) => json(body),
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn written(state: &Sqlite, write: Write) -> Option<Option<Message>> {
    let (done, answer) = oneshot::channel();
    state.queue.send(Insert { write, done }).await.ok()?;
    answer.await.ok()
}

fn answer(message: &Message) -> Response {
    serde_json::to_vec(message).map_or(StatusCode::INTERNAL_SERVER_ERROR.into_response(), json)
}

fn json(body: impl Into<axum::body::Body>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body.into()).into_response()
}

fn read(state: &Sqlite, key: &str) -> Response {
    let pooled = state.readers.lock().ok().and_then(|mut readers| readers.pop());
    let Some(conn) = pooled.or_else(|| connect(&state.file).ok()) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let found = conn
        .prepare_cached("SELECT body FROM rows WHERE id = ?1")
        .and_then(|mut statement| statement.query_row([key], |row| row.get::<_, String>(0)));
    if let Ok(mut readers) = state.readers.lock() {
        readers.push(conn);
    }
    match found {
        Ok(body) => json(body),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

struct Postgres {
    pool: deadpool_postgres::Pool,
    maker: Maker,
}

async fn postgres(url: &str, connections: usize) -> Result<Router, Error> {
    let config = url.parse::<tokio_postgres::Config>().map_err(unexpected)?;
    let manager = deadpool_postgres::Manager::new(config, tokio_postgres::NoTls);
    let pool = deadpool_postgres::Pool::builder(manager).max_size(connections).build().map_err(unexpected)?;
    let client = pool.get().await.map_err(unexpected)?;
    client
        .batch_execute(&format!(
            "DROP SCHEMA IF EXISTS bare CASCADE; CREATE SCHEMA bare; SET search_path TO bare; {MESSAGES}"
        ))
        .await
        .map_err(unexpected)?;
    drop(client);
    let state = Arc::new(Postgres { pool, maker: Maker::new() });
    let insert = |State(state): State<Arc<Postgres>>, body: Bytes| async move {
        let Some(message) = state.maker.make(&body) else { return StatusCode::BAD_REQUEST.into_response() };
        match state.insert(&message).await {
            Ok(_) => answer(&message),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    };
    Ok(Router::new().route("/insert", post(insert)).with_state(state))
}

impl Postgres {
    async fn insert(&self, m: &Message) -> Result<u64, Error> {
        let client = self.pool.get().await.map_err(unexpected)?;
        let statement =
            client.prepare_cached(&INSERT.replace("messages", "bare.messages")).await.map_err(unexpected)?;
        let at = m.created_at.millis();
        client
            .execute(
                &statement,
                &[&m.conversation_id, &at, &m.id, &BOT, &m.seq, &m.kind, &m.payload.text(), &m.user_id],
            )
            .await
            .map_err(unexpected)
    }
}
