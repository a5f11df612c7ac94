//! Key-value stores of v12 bots, and attributes of users (`spec/v12/migration-data.md` § 5).

use duologue_model::{Json, Timestamp};

use crate::{
    Result, Store, params,
    tx::{Script, Tx},
};

/// A change of a key-value store.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// The bot; `None` for the store that all share.
    pub bot: Option<String>,
    /// What is done.
    pub change: Change,
}

/// What is done to a key-value store.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Stores a value; it expires after so many milliseconds, or never.
    Set {
        /// The key.
        key: String,
        /// The value.
        value: Json,
        /// Milliseconds from the commit.
        expires_in: Option<u64>,
    },
    /// Deletes a key.
    Delete(String),
    /// Deletes all keys that start so, literally.
    DeletePrefix(String),
}

/// The instant so many milliseconds from now.
pub(super) fn later(now: Timestamp, millis: u64) -> Timestamp {
    // A duration beyond the calendar means never, as far as anybody will see.
    now.plus_millis(i64::try_from(millis).unwrap_or(i64::MAX).min(1 << 52))
}

pub(super) async fn apply(tx: &mut Tx<'_>, write: &Write) -> Result<()> {
    let bot = write.bot.as_deref().unwrap_or_default();
    match &write.change {
        Change::Set { key, value, expires_in } => {
            let expires_at = expires_in.map(|millis| later(tx.now(), millis));
            tx.execute(
                "INSERT INTO v12_kvs (bot_id, key, value, expires_at) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT (bot_id, key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at",
                params![bot, key, value, expires_at],
            )
            .await?
        }
        Change::Delete(key) => {
            tx.execute("DELETE FROM v12_kvs WHERE bot_id = ?1 AND key = ?2", params![bot, key]).await?
        }
        Change::DeletePrefix(prefix) => {
            let length = i64::try_from(prefix.chars().count()).unwrap_or(i64::MAX);
            let sql = "DELETE FROM v12_kvs WHERE bot_id = ?1 AND key >= ?2 AND substr(key, 1, ?3) = ?2";
            tx.execute(sql, params![bot, prefix, length]).await?
        }
    };
    Ok(())
}

/// Writes several changes at once.
struct Apply(Vec<Write>);

impl Script for Apply {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        for write in &self.0 {
            apply(tx, write).await?;
        }
        Ok(())
    }
}

struct Get {
    bot: String,
    key: String,
    now: Timestamp,
}

impl Script for Get {
    type Out = Option<Json>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<Json>> {
        let sql = "SELECT value FROM v12_kvs WHERE bot_id = ?1 AND key = ?2 \
                   AND (expires_at IS NULL OR expires_at > ?3)";
        let row = tx.query_opt(sql, params![&self.bot, &self.key, self.now]).await?;
        row.map(|mut row| row.json()).transpose()
    }
}

/// A write to a user's attributes.
#[derive(Clone, Debug, PartialEq)]
pub struct UserWrite {
    /// `api` for users of the Converse API.
    pub channel: String,
    /// The user's id there.
    pub user: String,
    /// JSON object.
    pub attributes: Json,
    /// Whether the attributes replace the old ones rather than being merged at the top. Members that
    /// are null are removed.
    pub replace: bool,
}

pub(super) async fn attributes(tx: &mut Tx<'_>, channel: &str, user: &str) -> Result<Option<Json>> {
    let sql = "SELECT attributes FROM v12_users WHERE channel = ?1 AND user_id = ?2";
    tx.query_opt(sql, params![channel, user]).await?.map(|mut row| row.json()).transpose()
}

pub(super) async fn write_user(tx: &mut Tx<'_>, write: &UserWrite) -> Result<()> {
    let object = |json: &Json| -> serde_json::Map<String, serde_json::Value> {
        serde_json::from_str(json.text()).unwrap_or_default()
    };
    let mut merged = match attributes(tx, &write.channel, &write.user).await? {
        Some(old) if !write.replace => object(&old),
        _ => serde_json::Map::new(),
    };
    merged.extend(object(&write.attributes));
    merged.retain(|_, value| !value.is_null());
    put_user(tx, &write.channel, &write.user, &Json::of(&merged)).await
}

pub(super) async fn put_user(tx: &mut Tx<'_>, channel: &str, user: &str, attributes: &Json) -> Result<()> {
    tx.execute(
        "INSERT INTO v12_users (channel, user_id, attributes, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?4) \
         ON CONFLICT (channel, user_id) DO UPDATE SET attributes = excluded.attributes, updated_at = excluded.updated_at",
        params![channel, user, attributes, tx.now()],
    )
    .await?;
    Ok(())
}

/// Writes the attributes of users of whom nothing is known yet: channel, user, attributes.
struct BringUsers(Vec<(String, String, Json)>);

impl Script for BringUsers {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let now = tx.now();
        let rows: Vec<_> = self
            .0
            .iter()
            .flat_map(|(channel, user, attributes)| {
                [channel.into(), user.into(), attributes.into(), now.into(), now.into()]
            })
            .collect();
        let head = "INSERT INTO v12_users (channel, user_id, attributes, created_at, updated_at)";
        tx.insert_many(head, 5, &rows, "ON CONFLICT DO NOTHING").await
    }
}

struct Attributes {
    channel: String,
    user: String,
}

impl Script for Attributes {
    type Out = Option<Json>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<Json>> {
        attributes(tx, &self.channel, &self.user).await
    }
}

/// Removes values that have expired, a bounded number.
pub(crate) async fn tidy(tx: &mut Tx<'_>) -> Result<u64> {
    let now = tx.now().millis();
    tx.execute(
        "DELETE FROM v12_kvs WHERE (bot_id, key) IN \
         (SELECT bot_id, key FROM v12_kvs WHERE expires_at IS NOT NULL AND expires_at <= ?1 LIMIT 1000)",
        params![now],
    )
    .await
}

impl Store {
    /// A stored value that hasn't expired; of the store that all bots share without a bot.
    pub async fn v12_value(&self, bot: Option<&str>, key: &str) -> Result<Option<Json>> {
        let bot = bot.unwrap_or_default().to_owned();
        self.read(&Get { bot, key: key.to_owned(), now: self.now() }).await
    }

    /// Changes key-value stores, all at once.
    pub async fn write_v12_values(&self, writes: Vec<Write>) -> Result<()> {
        self.write(Apply(writes)).await
    }

    /// Writes the attributes of users of whom nothing is known yet: channel, user, attributes.
    pub async fn bring_v12_users(&self, users: Vec<(String, String, Json)>) -> Result<()> {
        self.write(BringUsers(users)).await
    }

    /// The attributes of a user, if anything is known of it.
    pub async fn v12_attributes(&self, channel: &str, user: &str) -> Result<Option<Json>> {
        self.read(&Attributes { channel: channel.to_owned(), user: user.to_owned() }).await
    }
}
