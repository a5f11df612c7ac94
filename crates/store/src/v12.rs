//! Bots that were made for Botpress v12.
//!
//! Their conversations, users and messages are rows like those of all bots; what only they have is
//! here:
//!
//! * [`accounts`] of those who log in, [`members`] of workspaces and their roles.
//! * [`turns`] what a conversation remembers, and the one transaction that ends a turn.
//! * [`timeouts`] when dialogs have waited long enough.
//! * [`listen`] what users hear of the bot without asking.
//! * [`traces`] of the latest turns, to be read.
//! * [`kvs`] key-value stores, and attributes of users.
//!
//! Called by the crate that runs these bots and by the Converse dialect. What memories and traces mean
//! is the dialog engine's business: here they are JSON.

pub mod accounts;
pub mod kvs;
pub mod listen;
pub mod members;
pub mod timeouts;
pub mod traces;
pub mod turns;

use duologue_model::id::BotId;

use crate::{
    Result, Store, bots, crypto, params,
    tx::{Script, Tx},
};

/// The channel of all conversations of the Converse API.
pub const CHANNEL: &str = "api";

/// The tag of a conversation and of its user that holds the user's id in the Converse API.
pub const USER_TAG: &str = "userId";

/// Forgets what dialogs of the bot remember of a user who is being deleted, and the user's attributes unless
/// another bot has a conversation with the same user of the Converse API.
pub(crate) async fn forget_user(tx: &mut Tx<'_>, bot: &BotId, user: &str) -> Result<()> {
    const TALKS: &str = "FROM participants p JOIN v12_conversations v ON v.conversation_id = p.conversation_id \
         WHERE p.user_id = ?2 AND v.chat_user_id = ?2 AND v.bot_id = ?1";
    // Attributes first: by what else is removed it is known whose.
    for sql in [
        format!(
            "DELETE FROM v12_users WHERE channel = 'api' AND user_id IN (SELECT v.user_id {TALKS}) AND NOT EXISTS (\
             SELECT 1 FROM bots b JOIN v12_conversations o ON o.bot_id = b.id AND o.user_id = v12_users.user_id \
             WHERE b.flow = 1 AND b.id <> ?1)"
        ),
        format!("DELETE FROM v12_turns WHERE conversation_id IN (SELECT v.conversation_id {TALKS})"),
        format!("DELETE FROM v12_conversations WHERE bot_id = ?1 AND user_id IN (SELECT v.user_id {TALKS})"),
    ] {
        tx.execute(&sql, params![bot, user]).await?;
    }
    tx.touches().erased();
    Ok(())
}

/// Gives a bot its row if it has none, in the oldest workspace; keeps its name up to date.
struct Mount {
    id: BotId,
    name: String,
}

impl Script for Mount {
    type Out = bool;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool> {
        tx.lock(&format!("v12 bot {}", self.id)).await?;
        let flow =
            "UPDATE bots SET flow = 1, hears = CASE WHEN blocked = 0 THEN COALESCE(hears, '*') END WHERE id = ?1";
        if let Some(mut row) = tx.query_opt("SELECT name FROM bots WHERE id = ?1", params![&self.id]).await? {
            tx.execute(flow, params![&self.id]).await?;
            if row.text()? != self.name {
                let sql = "UPDATE bots SET name = ?2, updated_at = ?3 WHERE id = ?1";
                tx.execute(sql, params![&self.id, &self.name, tx.now()]).await?;
            }
            return Ok(true);
        }
        let oldest = "SELECT id FROM workspaces ORDER BY created_at, id LIMIT 1";
        let Some(mut row) = tx.query_opt(oldest, &[]).await? else { return Ok(false) };
        let new = bots::NewBot { name: Some(self.name.clone()), ..bots::NewBot::default() };
        let made = bots::insert(tx, &row.text()?, None, &new).await?;
        let id = params![&self.id, made.id()];
        tx.execute_all(&[
            ("UPDATE bots SET id = ?1 WHERE id = ?2", id),
            ("UPDATE users SET id = ?1, bot_id = ?1 WHERE id = ?2", id),
        ])
        .await?;
        tx.execute(flow, params![&self.id]).await?;
        Ok(true)
    }
}

/// The key that tokens are signed with where the installation brings none: made once.
struct Secret;

impl Script for Secret {
    type Out = String;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<String> {
        let made = crypto::hex(&tx.ids().bytes::<32>());
        tx.execute(
            "INSERT INTO settings (key, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            params!["v12_secret", &made],
        )
        .await?;
        let row = tx.query_opt("SELECT value FROM settings WHERE key = ?1", params!["v12_secret"]).await?;
        row.map_or(Ok(made), |mut row| row.text())
    }
}

/// Whether a database of the original was brought, by its path.
struct Brought {
    key: String,
    note: bool,
}

impl Script for Brought {
    type Out = bool;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool> {
        if self.note {
            let sql = "INSERT INTO settings (key, value) VALUES (?1, 'yes') ON CONFLICT DO NOTHING";
            tx.execute(sql, params![&self.key]).await?;
            return Ok(true);
        }
        Ok(tx.query_opt("SELECT value FROM settings WHERE key = ?1", params![&self.key]).await?.is_some())
    }
}

impl Store {
    /// Whether a database of the original, at this path, was brought already.
    pub async fn was_v12_brought(&self, path: &str) -> Result<bool> {
        self.read(&Brought { key: format!("v12_brought {path}"), note: false }).await
    }

    /// Notes that it was.
    pub async fn note_v12_brought(&self, path: &str) -> Result<()> {
        self.write(Brought { key: format!("v12_brought {path}"), note: true }).await.map(|_| ())
    }

    /// Makes a v12 bot a bot like any other, under its own id; false if there is no workspace yet.
    pub async fn mount_v12_bot(&self, id: BotId, name: String) -> Result<bool> {
        self.write(Mount { id, name }).await
    }

    /// A secret of this database to sign tokens with.
    pub async fn v12_secret(&self) -> Result<String> {
        self.write(Secret).await
    }
}
