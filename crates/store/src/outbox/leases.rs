//! Who of several processes on a database delivers for a bot.
//!
//! A lease is a row that is renewed while its owner lives. Whoever settles a delivery shows it
//! ([`super::settle`]), so that a process that was taken for dead changes nothing any more. The embedded
//! database has one process, which needs none of this.

use std::collections::HashSet;

use duologue_model::id::BotId;

use crate::{
    Result, Store, params,
    tx::{Script, Tx},
};

/// How long a lease lasts unless it is renewed, in milliseconds.
pub const LEASE_MILLIS: i64 = 15_000;

struct Take {
    bot: BotId,
    owner: String,
}

impl Script for Take {
    type Out = bool;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool> {
        let now = tx.now();
        let taken = tx
            .query_opt(
                "INSERT INTO delivery_leases (bot_id, owner, until) VALUES (?1, ?2, ?3) ON CONFLICT (bot_id) DO UPDATE \
                 SET owner = excluded.owner, until = excluded.until \
                 WHERE delivery_leases.until <= ?4 OR delivery_leases.owner = excluded.owner RETURNING bot_id",
                params![&self.bot, &self.owner, now.plus_millis(LEASE_MILLIS), now],
            )
            .await?;
        Ok(taken.is_some())
    }
}

struct Renew(String);

impl Script for Renew {
    type Out = HashSet<BotId>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<HashSet<BotId>> {
        let until = tx.now().plus_millis(LEASE_MILLIS);
        let sql = "UPDATE delivery_leases SET until = ?2 WHERE owner = ?1 RETURNING bot_id";
        tx.query(sql, params![&self.0, until]).await?.into_iter().map(|mut row| row.id()).collect()
    }
}

struct Release {
    owner: String,
    /// All of the owner's if absent.
    bot: Option<BotId>,
}

impl Script for Release {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        match &self.bot {
            Some(bot) => {
                tx.execute("DELETE FROM delivery_leases WHERE bot_id = ?1 AND owner = ?2", params![bot, &self.owner])
                    .await?
            }
            None => tx.execute("DELETE FROM delivery_leases WHERE owner = ?1", params![&self.owner]).await?,
        };
        Ok(())
    }
}

/// Whether `owner` still holds the lease; it is kept until the transaction ends.
pub(super) async fn is_held(tx: &mut Tx<'_>, bot: &BotId, owner: &str) -> Result<bool> {
    let sql = "SELECT owner FROM delivery_leases WHERE bot_id = ?1 {for_update}";
    Ok(match tx.query_opt(sql, params![bot]).await? {
        Some(mut row) => row.text()? == owner,
        None => false,
    })
}

impl Store {
    /// Takes the lease of a bot; false if another owner holds it.
    pub async fn take_lease(&self, bot: &BotId, owner: &str) -> Result<bool> {
        self.write(Take { bot: bot.clone(), owner: owner.to_owned() }).await
    }

    /// Renews all leases of an owner; answers which bots it holds.
    pub async fn renew_leases(&self, owner: &str) -> Result<HashSet<BotId>> {
        self.write(Renew(owner.to_owned())).await
    }

    /// Gives a lease back, or all of them.
    pub async fn release_leases(&self, owner: &str, bot: Option<BotId>) -> Result<()> {
        self.write(Release { owner: owner.to_owned(), bot }).await
    }
}
