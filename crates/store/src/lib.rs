//! Transactions over SQLite or PostgreSQL: one SQL text, two drivers.
//!
//! SQL is written here and nowhere else. A dialect's handler calls one operation of [`Store`];
//! it is one transaction, and when it answers, what it did is durable.
//!
//! # How to add an operation
//!
//! Write a [`tx::Script`]: a struct that holds the input, and `run`, which reads and writes through
//! [`Tx`](tx::Tx) in SQL that both engines accept (`sql.rs` lists the few words that differ). Give
//! [`Store`] a method that runs it with [`Store::write`] or [`Store::read`]. Add a case to
//! `tests/contract`, which runs on both engines.
//!
//! # The rooms
//!
//! * `tx` the interface scripts are written over; `sqlite`, `postgres` the two engines;
//!   `sql` parameters, rows, differences; `migrate` versions of the schema.
//! * `live` what a commit wakes. `page` cursors and keyset pages.
//! * `conversations`, `participants`, `messages`, `users`, `events`, `states`, `workflows`,
//!   `tasks`, `tag_index`, `analytics`, `import`: the runtime data.
//! * `vault` secrets of bots and integrations, encrypted.
//! * `access` tokens and who they are; `account`, `workspaces`, `bots`, `integrations`, `catalog`:
//!   the admin data; `audit` who changed it; `keys` of bots and integrations; `callees` whom the server calls for
//!   them. `setup` the first start.
//! * `logs` of bots and integrations, `issues` that they report; `hosted` the code that the server runs, and its tokens.
//! * `actions` what bots have bots and integrations do.
//! * `v12` bots made for Botpress v12: accounts, memories, key-value stores, turns.
//! * `outbox` what must be delivered, and how deliveries ended; `recurring` events of a schedule.
//! * `webhooks` what is sent to the URLs that operators subscribed.
//! * `timers` what becomes due; `idempotency` answers kept for repeated requests.
//! * `maintenance` backup and verification of the embedded engine.

pub mod access;
pub mod account;
pub mod actions;
pub mod analytics;
pub mod audit;
pub mod bots;
pub mod callees;
pub mod catalog;
pub mod conversations;
pub mod crypto;
pub mod definitions;
mod error;
pub mod events;
pub mod hosted;
pub mod idempotency;
pub mod import;
pub mod integrations;
pub mod issues;
mod keys;
pub mod live;
pub mod logs;
pub mod maintenance;
pub mod messages;
mod migrate;
pub mod outbox;
pub mod page;
pub mod participants;
mod postgres;
mod recurring;
pub mod setup;
pub mod sql;
mod sqlite;
pub mod states;
pub mod tag_index;
pub mod tasks;
pub mod timers;
pub mod tx;
pub mod users;
pub mod v12;
mod vault;
pub mod webhooks;
pub mod workflows;
pub mod workspaces;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use duologue_model::{Timestamp, id::Generator};
pub use error::{Error, Result};
use live::Live;
use tokio::sync::Semaphore;
use tx::{Script, Tx};

/// Where the data is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A file of the embedded engine.
    Sqlite(PathBuf),
    /// A PostgreSQL URL, and how many connections to keep.
    Postgres {
        /// `postgres://user:password@host/database`.
        url: String,
        /// Most connections at once.
        connections: usize,
    },
}

/// The open store.
pub struct Store {
    engine: Engine,
    ids: Arc<Generator>,
    live: Arc<Live>,
    key: [u8; 32],
    vault: vault::Vault,
    definitions: definitions::Cache,
    access: access::Cache,
    callees: callees::Cache,
    sink: logs::Sink,
    /// Held for as long as the embedded database is open: one server a folder.
    _lock: Option<std::fs::File>,
}

enum Engine {
    Sqlite(sqlite::Engine),
    Postgres(postgres::Engine),
}

impl Store {
    /// Opens the database, creating and migrating it as needed.
    pub async fn open(location: &Location) -> Result<Self> {
        Self::open_with(location, Generator::system()).await
    }

    /// The same with a chosen generator of ids.
    pub async fn open_with(location: &Location, ids: Generator) -> Result<Self> {
        let (ids, live) = (Arc::new(ids), Arc::new(Live::default()));
        let (engine, lock) = match location {
            Location::Sqlite(path) => {
                let lock = lock_folder(path)?;
                (Engine::Sqlite(sqlite::Engine::open(path, live.clone(), ids.clone())?), Some(lock))
            }
            Location::Postgres { url, connections } => {
                (Engine::Postgres(postgres::Engine::open(url, *connections, live.clone(), ids.clone()).await?), None)
            }
        };
        let shared = matches!(engine, Engine::Postgres(_));
        let mut store = Store {
            engine,
            ids,
            live,
            key: [0; 32],
            vault: vault::Vault::new(&[0; 32]),
            definitions: definitions::Cache::default(),
            access: access::Cache::new(shared),
            callees: callees::Cache::default(),
            sink: logs::Sink::default(),
            _lock: lock,
        };
        store.key = store.write(setup::ServerKey).await?;
        store.vault = vault::Vault::new(&store.key);
        store.seal_again(false).await?;
        Ok(store)
    }

    /// Opens an embedded database for reading only, also beside the server that writes it. Page
    /// tokens of this store are good for this store only.
    pub fn open_reader(path: &Path) -> Result<Self> {
        let (ids, live) = (Arc::new(Generator::system()), Arc::new(Live::default()));
        let key = ids.bytes();
        Ok(Store {
            engine: Engine::Sqlite(sqlite::Engine::open_reader(path, ids.clone())?),
            ids,
            live,
            key,
            vault: vault::Vault::new(&key),
            definitions: definitions::Cache::default(),
            access: access::Cache::new(true),
            callees: callees::Cache::default(),
            sink: logs::Sink::default(),
            _lock: None,
        })
    }

    /// Runs a transaction. When it answers, what it did is durable.
    pub async fn write<S: Script>(&self, script: S) -> Result<S::Out> {
        match &self.engine {
            Engine::Sqlite(engine) => engine.write(script).await,
            Engine::Postgres(engine) => engine.write(script).await,
        }
    }

    /// Runs a script that only reads. On SQLite this happens on the calling thread: scripts read a
    /// page, not a table.
    pub async fn read<S: Script>(&self, script: &S) -> Result<S::Out> {
        match &self.engine {
            Engine::Sqlite(engine) => engine.read(script),
            Engine::Postgres(engine) => engine.read(script).await,
        }
    }

    /// The same for a script that reads far more than a page: few at a time, and on SQLite on a thread of its
    /// own, where it holds up nobody else. It has its turn until it ends, also if its caller leaves.
    pub(crate) async fn read_aside<S: Script>(self: &Arc<Self>, script: S) -> Result<S::Out> {
        static TURNS: Semaphore = Semaphore::const_new(2);
        let turn = TURNS.acquire().await.map_err(|_| Error::Closed)?;
        let (store, runtime) = (self.clone(), tokio::runtime::Handle::current());
        let read = async move {
            let _turn = turn;
            store.read(&script).await
        };
        let read = match &self.engine {
            Engine::Postgres(_) => tokio::spawn(read),
            Engine::Sqlite(_) => tokio::task::spawn_blocking(move || runtime.block_on(read)),
        };
        read.await.map_err(|error| Error::Database(format!("a long read ended: {error}")))?
    }

    /// What commits wake.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// Makes ids and secrets.
    pub fn ids(&self) -> &Generator {
        &self.ids
    }

    /// The present instant, as transactions see it.
    pub fn now(&self) -> Timestamp {
        match &self.engine {
            Engine::Sqlite(engine) => engine.now(),
            Engine::Postgres(engine) => engine.now(),
        }
    }

    /// Whether several processes may share this database.
    pub fn is_shared(&self) -> bool {
        matches!(self.engine, Engine::Postgres(_))
    }

    /// Tells the other processes on this database that something waits for this bot.
    pub async fn tell_others(&self, bot: &duologue_model::id::BotId) -> Result<()> {
        match &self.engine {
            Engine::Sqlite(_) => Ok(()),
            Engine::Postgres(engine) => engine.tell(bot).await,
        }
    }

    /// Hears what other processes on this database tell, as wakes, until `stop` turns true.
    pub async fn hear_others(&self, stop: tokio::sync::watch::Receiver<bool>) {
        if let Engine::Postgres(engine) = &self.engine {
            engine.listen(stop).await;
        }
    }

    /// Answers if the database can be read and written.
    pub async fn ping(&self) -> Result<()> {
        struct Ping;
        impl Script for Ping {
            type Out = ();
            async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
                tx.query("SELECT value FROM settings WHERE key = ?1", params!["server_key"]).await?;
                Ok(())
            }
        }
        self.write(Ping).await
    }

    /// Finishes what waits and closes the database. Later calls answer [`Error::Closed`].
    pub fn close(&self) {
        match &self.engine {
            Engine::Sqlite(engine) => engine.close(),
            Engine::Postgres(engine) => engine.close(),
        }
    }

    async fn barrier(&self) -> Result<Timestamp> {
        match &self.engine {
            Engine::Sqlite(engine) => engine.barrier().await,
            Engine::Postgres(engine) => engine.barrier().await,
        }
    }
}

fn lock_folder(database: &Path) -> Result<std::fs::File> {
    if let Some(folder) = database.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|e| Error::Setup(format!("can't create the data folder {}: {e}", folder.display())))?;
    }
    let path = database.with_extension("lock");
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|e| Error::Setup(format!("can't write {}: {e}", path.display())))?;
    file.try_lock().map_err(|_| {
        Error::Setup(format!(
            "another Duologue uses {}. Stop it first, choose another --data folder, or share a PostgreSQL database with --database.",
            database.display()
        ))
    })?;
    Ok(file)
}
