//! Counters a bot keeps (`spec/cloud/runtime.md` § 14).

use duologue_model::{Identity, id::BotId};

use crate::{
    Result, Store, params,
    tx::{Script, Tx},
};

/// trackAnalytics: adds to today's counter.
#[derive(Clone, Debug)]
pub struct Track {
    /// The caller.
    pub who: Identity,
    /// Which counter.
    pub name: String,
    /// At least 1.
    pub count: i64,
}

impl Script for Track {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let day = tx.now().to_string();
        tx.execute(
            "INSERT INTO analytics (bot_id, day, name, count) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (bot_id, day, name) DO UPDATE SET count = analytics.count + excluded.count",
            params![&self.who.bot, &day[..10], &self.name, self.count],
        )
        .await?;
        Ok(())
    }
}

struct Counted {
    bot: BotId,
    name: String,
}

impl Script for Counted {
    type Out = i64;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<i64> {
        let mut total = 0;
        for mut row in tx
            .query("SELECT count FROM analytics WHERE bot_id = ?1 AND name = ?2", params![&self.bot, &self.name])
            .await?
        {
            total += row.int()?;
        }
        Ok(total)
    }
}

impl Store {
    /// How much a counter has counted, over all days.
    pub async fn counted(&self, bot: BotId, name: String) -> Result<i64> {
        self.read(&Counted { bot, name }).await
    }
}
