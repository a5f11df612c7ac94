//! PostgreSQL and what speaks its protocol: a pool of connections, a transaction a script, except
//! for scripts that name a lane: those share one (see [`groups`]).
//!
//! Every writing transaction holds a shared advisory lock and takes its instant from the
//! database's clock after it got the lock. [`Engine::barrier`] takes the lock alone, so that it
//! knows an instant before which everything has committed.

mod groups;
mod notify;
mod tls;

use std::{sync::Arc, time::Duration};

use deadpool_postgres::{Client, Hook, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use duologue_model::{Timestamp, error::causes, id::Generator};

use self::tls::Target;
use crate::{
    Error, Result,
    live::Live,
    migrate,
    sql::Dialect,
    tx::{Inner, Script, Tx},
};

/// Advisory lock that writers share and barriers take alone.
const WRITERS: i64 = 0x6475_6f6c_6f67_7565;
/// Advisory lock of whoever migrates.
const MIGRATION: i64 = WRITERS + 1;
/// How often a transaction is run again before its caller hears of the conflict.
const ATTEMPTS: usize = 8;

const BEGIN: &str = "BEGIN";
const INSTANT: &str = "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::BIGINT FROM (SELECT pg_advisory_xact_lock_shared($1)) AS held";
const INSTANT_ALONE: &str =
    "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::BIGINT FROM (SELECT pg_advisory_xact_lock($1)) AS held";

/// A pool of connections to one database.
pub(crate) struct Engine {
    core: Arc<Core>,
    groups: groups::Queue,
    target: Target,
}

/// What transactions need.
struct Core {
    pool: Pool,
    live: Arc<Live>,
    ids: Arc<Generator>,
}

impl Engine {
    /// Connects and migrates.
    pub(crate) async fn open(url: &str, connections: usize, live: Arc<Live>, ids: Arc<Generator>) -> Result<Self> {
        let target = Target::of(url)?;
        let mut config = target.config.clone();
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(10));
        }
        let manager =
            Manager::from_config(config, target.tls.clone(), ManagerConfig { recycling_method: RecyclingMethod::Fast });
        let pool = Pool::builder(manager)
            .max_size(connections)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(Duration::from_secs(30)))
            .post_create(Hook::async_fn(|client, _| {
                Box::pin(async move {
                    // Our statements look rows up by their keys, so a plan is as good for any value.
                    // An engine that doesn't know this setting plans as it likes.
                    let _ = client.batch_execute("SET plan_cache_mode = force_generic_plan").await;
                    Ok(())
                })
            }))
            .build()
            .map_err(|e| Error::Setup(e.to_string()))?;
        let core = Arc::new(Core { pool, live, ids });
        core.migrate().await?;
        let groups = groups::Queue::start(&core);
        Ok(Engine { core, groups, target })
    }

    /// Runs a script in a transaction; answers after it is durable.
    pub(crate) async fn write<S: Script>(&self, script: S) -> Result<S::Out> {
        match script.lane() {
            Some(_) => self.groups.write(script).await,
            None => self.core.write(&script).await,
        }
    }

    /// Runs a reading script on one snapshot.
    pub(crate) async fn read<S: Script>(&self, script: &S) -> Result<S::Out> {
        let client = self.core.pool.get().await?;
        let now = Timestamp::from_millis(crate::sqlite::system_millis());
        script.run(&mut Tx::new(Inner::Postgres(&client), now, &self.core.ids)).await
    }

    /// An instant that every transaction so far precedes or equals, and every later one exceeds.
    pub(crate) async fn barrier(&self) -> Result<Timestamp> {
        let client = self.core.pool.get().await?;
        let guard = Rollback::new(&client);
        client.batch_execute(BEGIN).await?;
        let instant = client.prepare_cached(INSTANT_ALONE).await?;
        let now: i64 = client.query_one(&instant, &[&WRITERS]).await?.try_get(0)?;
        // Writers read the clock after this lock is released: at least a millisecond later.
        tokio::time::sleep(Duration::from_millis(2)).await;
        client.batch_execute("COMMIT").await?;
        guard.done();
        Ok(Timestamp::from_millis(now))
    }

    /// The present instant.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_millis(crate::sqlite::system_millis())
    }

    /// Closes the pool.
    pub(crate) fn close(&self) {
        self.core.pool.close();
    }
}

impl Core {
    async fn migrate(&self) -> Result<()> {
        let mut client = self.pool.get().await.map_err(|e| {
            Error::Setup(format!("can't reach the PostgreSQL database: {}. Check the URL, and that the server runs and lets this user in.", causes(&e)))
        })?;
        let tx = client.transaction().await?;
        tx.execute("SELECT pg_advisory_xact_lock($1)", &[&MIGRATION]).await?;
        tx.batch_execute("CREATE TABLE IF NOT EXISTS duologue_schema (version BIGINT NOT NULL)").await?;
        let version =
            tx.query_opt("SELECT version FROM duologue_schema", &[]).await?.map_or(0, |row| row.get::<_, i64>(0));
        migrate::check(version)?;
        for (name, sql) in &migrate::MIGRATIONS[version as usize..] {
            tracing::debug!(migration = name, "migrating");
            tx.batch_execute(&Dialect::Postgres.migration(sql)).await?;
        }
        if version < migrate::VERSION {
            tx.execute("DELETE FROM duologue_schema", &[]).await?;
            tx.execute("INSERT INTO duologue_schema (version) VALUES ($1)", &[&migrate::VERSION]).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Runs a script in a transaction of its own; answers after it is durable.
    async fn write<S: Script>(&self, script: &S) -> Result<S::Out> {
        let client = self.pool.get().await?;
        let mut attempt = 1;
        loop {
            match self.attempt(&client, script).await {
                Err(Error::Again) if attempt < ATTEMPTS => {
                    let pause = u64::from(self.ids.bytes::<1>()[0]) % (4 << attempt.min(6));
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    async fn attempt<S: Script>(&self, client: &Client, script: &S) -> Result<S::Out> {
        let guard = Rollback::new(client);
        let now = begin(client).await?;
        let mut tx = Tx::new(Inner::Postgres(client), now, &self.ids);
        let result = script.run(&mut tx).await;
        let touches = std::mem::take(&mut tx.touches);
        match result {
            Ok(out) => {
                client.batch_execute("COMMIT").await?;
                guard.done();
                self.live.publish(touches);
                Ok(out)
            }
            Err(error) => {
                client.batch_execute("ROLLBACK").await?;
                guard.done();
                Err(error)
            }
        }
    }
}

/// Begins a writing transaction, in one round trip; answers its instant.
async fn begin(client: &Client) -> Result<Timestamp> {
    let instant = client.prepare_cached(INSTANT).await?;
    let (begun, now) =
        futures_util::future::join(client.batch_execute(BEGIN), client.query_one(&instant, &[&WRITERS])).await;
    begun?;
    Ok(Timestamp::from_millis(now?.try_get(0)?))
}

/// Should the future be dropped in the middle of a transaction (a caller that hung up), the
/// connection must not go back to the pool with the transaction open.
struct Rollback<'c> {
    client: &'c Client,
    armed: bool,
}

impl<'c> Rollback<'c> {
    fn new(client: &'c Client) -> Self {
        Rollback { client, armed: true }
    }

    fn done(mut self) {
        self.armed = false;
    }
}

impl Drop for Rollback<'_> {
    fn drop(&mut self) {
        if self.armed {
            // Queues the statement without waiting for it: whoever gets the connection next has
            // its statements run after this one.
            use futures_util::FutureExt;
            let _ = self.client.batch_execute("ROLLBACK").now_or_never();
        }
    }
}
