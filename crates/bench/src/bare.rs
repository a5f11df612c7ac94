//! The baselines: axum over an engine and nothing else.
//!
//! `POST /insert` puts the body into a row of one table and answers when it is durable: on SQLite
//! through a writer thread that commits whatever waits, on PostgreSQL with one statement on a pooled
//! connection. `GET /read/{key}` reads a row by its key; `POST /upsert/{key}` overwrites one.

use std::{path::PathBuf, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use rusqlite::Connection;
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

struct Insert {
    key: Option<String>,
    body: Bytes,
    done: oneshot::Sender<()>,
}

struct Sqlite {
    queue: mpsc::Sender<Insert>,
    file: PathBuf,
    readers: std::sync::Mutex<Vec<Connection>>,
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
    conn.execute_batch("CREATE TABLE rows (id TEXT PRIMARY KEY, at BIGINT NOT NULL, body TEXT NOT NULL) WITHOUT ROWID")
        .map_err(unexpected)?;
    let (queue, mut waiting) = mpsc::channel::<Insert>(4096);
    std::thread::spawn(move || {
        let mut count = 0u64;
        let mut group = Vec::with_capacity(256);
        while let Some(first) = waiting.blocking_recv() {
            group.push(first);
            while group.len() < 256
                && let Ok(next) = waiting.try_recv()
            {
                group.push(next);
            }
            let run = |conn: &mut Connection, count: &mut u64| -> rusqlite::Result<()> {
                let tx = conn.transaction()?;
                for insert in &group {
                    *count += 1;
                    let key = insert.key.clone().unwrap_or_else(|| format!("row_{count:026}"));
                    let body = std::str::from_utf8(&insert.body).unwrap_or_default();
                    tx.prepare_cached("INSERT INTO rows (id, at, body) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO UPDATE SET body = excluded.body")?
                        .execute(rusqlite::params![key, *count as i64, body])?;
                }
                tx.commit()
            };
            if run(&mut conn, &mut count).is_err() {
                group.clear();
                continue;
            }
            for insert in group.drain(..) {
                let _ = insert.done.send(());
            }
        }
    });
    let state = Arc::new(Sqlite { queue, file, readers: std::sync::Mutex::default() });
    Ok(Router::new()
        .route(
            "/insert",
            post(|State(state): State<Arc<Sqlite>>, body: Bytes| async move { write(&state, None, body).await }),
        )
        .route(
            "/upsert/{key}",
            post(|State(state): State<Arc<Sqlite>>, Path(key): Path<String>, body: Bytes| async move {
                write(&state, Some(key), body).await
            }),
        )
        .route(
            "/read/{key}",
            get(|State(state): State<Arc<Sqlite>>, Path(key): Path<String>| async move { read(&state, &key) }),
        )
        .with_state(state))
}

async fn write(state: &Sqlite, key: Option<String>, body: Bytes) -> Response {
    let (done, answer) = oneshot::channel();
    let kept = body.clone();
    if state.queue.send(Insert { key, body, done }).await.is_err() || answer.await.is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    json(kept)
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

async fn postgres(url: &str, connections: usize) -> Result<Router, Error> {
    let config = url.parse::<tokio_postgres::Config>().map_err(unexpected)?;
    let manager = deadpool_postgres::Manager::new(config, tokio_postgres::NoTls);
    let pool = deadpool_postgres::Pool::builder(manager).max_size(connections).build().map_err(unexpected)?;
    let client = pool.get().await.map_err(unexpected)?;
    client
        .batch_execute("DROP TABLE IF EXISTS bare_rows; CREATE TABLE bare_rows (id TEXT PRIMARY KEY, at BIGINT NOT NULL, body TEXT NOT NULL)")
        .await
        .map_err(unexpected)?;
    drop(client);
    let counter = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let insert = move |body: Bytes| {
        let (pool, counter) = (pool.clone(), counter.clone());
        async move {
            let count = counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let run = async {
                let client = pool.get().await.map_err(unexpected)?;
                let statement = client
                    .prepare_cached("INSERT INTO bare_rows (id, at, body) VALUES ($1, $2, $3)")
                    .await
                    .map_err(unexpected)?;
                let text = std::str::from_utf8(&body).map_err(unexpected)?;
                client
                    .execute(&statement, &[&format!("row_{count:026}"), &(count as i64), &text])
                    .await
                    .map_err(unexpected)
            };
            match run.await {
                Ok(_) => json(body),
                Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            }
        }
    };
    Ok(Router::new().route("/insert", post(insert)))
}
