//! The ends of the waits of dialogs (`spec/v12/flows.md` § 9). [`super::turns`] writes them; the timer looks here.
//!
//! When a wait ends stands beside the memory and changes with each turn. `look_at`, which has the index, is when
//! the timer looks at the conversation: at the end of the wait, or before. Who looks too early puts it off.

use duologue_model::{Timestamp, id::BotId};

use crate::{
    Result, Store, params,
    tx::{Script, Tx},
};

/// A conversation whose dialog has waited long enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The bot.
    pub bot: BotId,
    /// The user's id in the Converse API.
    pub user: String,
}

/// What a look at the dialogs that wait shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// The conversations whose dialog has waited long enough, longest overdue first.
    pub due: Vec<Due>,
    /// When the next of them may be due, if any of them isn't yet.
    pub again: Option<Timestamp>,
}

/// Looks at the conversations whose time it is.
struct Look {
    now: Timestamp,
    most: usize,
}

impl Script for Look {
    /// What is due, whether others were looked at, and when to look at what comes next.
    type Out = (Vec<Due>, bool, Option<Timestamp>);
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Out> {
        let sql = format!(
            "SELECT bot_id, user_id, look_at, context_expires_at FROM v12_conversations WHERE look_at IS NOT NULL \
             ORDER BY look_at LIMIT {}",
            self.most
        );
        let (mut due, mut others) = (Vec::new(), false);
        for mut row in tx.query(&sql, &[]).await? {
            let (bot, user, look_at, ends_at) = (row.id()?, row.text()?, row.at()?, row.opt_at()?);
            if look_at > self.now {
                return Ok((due, others, Some(look_at)));
            }
            match ends_at.is_some_and(|end| end <= self.now) {
                true => due.push(Due { bot, user }),
                false => others = true,
            }
        }
        Ok((due, others, None))
    }
}

/// Notes of the conversations that are looked at too early when it will be time.
struct PutOff {
    now: Timestamp,
    most: usize,
}

impl Script for PutOff {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let sql = format!(
            "SELECT bot_id, user_id FROM v12_conversations WHERE look_at <= ?1 \
             AND (context_expires_at IS NULL OR context_expires_at > ?1) ORDER BY look_at LIMIT {}",
            self.most
        );
        let put_off = "UPDATE v12_conversations SET look_at = context_expires_at WHERE bot_id = ?1 AND user_id = ?2 \
                       AND (context_expires_at IS NULL OR context_expires_at > ?3)";
        for mut row in tx.query(&sql, params![self.now]).await? {
            let (bot, user): (BotId, String) = (row.id()?, row.text()?);
            tx.execute(put_off, params![&bot, &user, self.now]).await?;
        }
        Ok(())
    }
}

struct DropTimeout(Due);

impl Script for DropTimeout {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let sql =
            "UPDATE v12_conversations SET context_expires_at = NULL, look_at = NULL WHERE bot_id = ?1 AND user_id = ?2";
        tx.execute(sql, params![&self.0.bot, &self.0.user]).await?;
        Ok(())
    }
}

impl Store {
    /// Looks at `most` of the conversations whose dialog may have waited long enough.
    pub async fn look_at_v12_timeouts(&self, most: usize) -> Result<Looked> {
        loop {
            let now = self.now();
            let (due, others, again) = self.read(&Look { now, most }).await?;
            if others {
                self.write(PutOff { now, most }).await?;
            }
            // Those put off may have stood before others.
            if !others || !due.is_empty() {
                return Ok(Looked { due, again });
            }
        }
    }

    /// Lets a dialog wait without end: its bot isn't here any more.
    pub async fn drop_v12_timeout(&self, due: Due) -> Result<()> {
        self.write(DropTimeout(due)).await
    }
}
