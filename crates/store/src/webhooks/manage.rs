//! Subscriptions: who is told, of what, and the secrets that prove it.
//!
//! Secrets are those of Standard Webhooks: `whsec_` and the base64 of 24 to 64 bytes. They are shown when
//! they are made and never again; rows hold them encrypted. After a rotation the old one signs for a day
//! beside the new one.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use duologue_model::{
    Error as Refusal, ErrorKind, Json, Timestamp,
    admin::Role,
    id::{BotId, Id},
};
use serde::Serialize;

use super::{Happening, Rows, TEST};
use crate::{
    Error, Result, Store,
    page::{Page, PageRequest, Query},
    params,
    sql::Row,
    tx::{Script, Tx},
    vault::Sealed,
    workspaces::Actor,
};

/// Most subscriptions of a bot.
pub const MOST: usize = 50;
/// How long the secret before a rotation is valid: a day, in milliseconds.
const OVERLAP_MILLIS: i64 = 24 * 60 * 60 * 1000;
/// What secrets begin with.
const PREFIX: &str = "whsec_";

/// A subscription as the API shows it.
#[derive(Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    /// Its id.
    pub id: String,
    /// The bot that it hears of.
    pub bot_id: BotId,
    /// Where requests go.
    pub url: String,
    /// Types of what it wants.
    pub events: Vec<String>,
    /// For people.
    pub description: String,
    /// Whether anything is sent.
    pub enabled: bool,
    /// Why the server has disabled it, if it was the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled_reason: Option<String>,
    /// Since when it has answered nothing but errors, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Timestamp>,
    /// Until when the secret before the last rotation signs, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_secret_until: Option<Timestamp>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Its secret; only in the answer of what made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

impl std::fmt::Debug for Subscription {
    /// Without the secret, and without the URL, which may be one itself.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").field("id", &self.id).field("enabled", &self.enabled).finish_non_exhaustive()
    }
}

const COLUMNS: &str = "s.id, s.bot_id, s.url, s.types, s.description, s.enabled, s.disabled_reason, s.failing_since, s.previous_until, s.created_at, s.updated_at";

/// Reads [`COLUMNS`].
fn stored(row: &mut Row, now: Timestamp) -> Result<Subscription> {
    let (id, bot_id, url) = (row.text()?, row.id()?, row.text()?);
    let damaged = |e: serde_json::Error| Error::Corrupt(format!("webhook {id}: {e}"));
    let events = serde_json::from_str(&row.text()?).map_err(damaged)?;
    let (description, enabled, disabled_reason) = (row.text()?, row.bool()?, row.opt_text()?);
    let (failing_since, previous_until) = (row.opt_at()?, row.opt_at()?);
    Ok(Subscription {
        id,
        bot_id,
        url,
        events,
        description,
        enabled,
        disabled_reason,
        failing_since,
        previous_secret_until: previous_until.filter(|until| *until > now),
        created_at: row.at()?,
        updated_at: row.at()?,
        secret: None,
    })
}

/// The bytes of a secret.
///
/// # Errors
/// `InvalidPayload` if it is none.
pub fn key(secret: &str) -> Result<Vec<u8>, Refusal> {
    let bytes = secret.strip_prefix(PREFIX).and_then(|text| STANDARD.decode(text).ok());
    bytes.filter(|bytes| (24..=64).contains(&bytes.len())).ok_or_else(|| {
        Refusal::invalid_payload(
            "secret must be whsec_ and the base64 of 24 to 64 random bytes; leave it out to get one",
        )
    })
}

/// The name under which a subscription's secret is sealed.
pub(super) fn sealed_name(id: &str) -> String {
    format!("webhook {id}")
}

/// The subscription of a bot, as the path's entity. Locks the bot's subscriptions for a change.
pub(super) async fn named(tx: &mut Tx<'_>, path: &Path, least: Role) -> Result<Subscription> {
    let inside = path.actor.enter(tx, least).await?;
    crate::bots::require(tx, &inside, &path.bot).await?;
    if least > Role::Viewer {
        lock(tx, &path.bot).await?;
    }
    let sql = format!("SELECT {COLUMNS} FROM webhook_subscriptions s WHERE s.id = ?1 AND s.bot_id = ?2");
    let row = tx.query_opt(&sql, params![&path.id, &path.bot]).await?;
    let now = tx.now();
    row.map(|mut row| stored(&mut row, now)).transpose()?.ok_or_else(|| Refusal::not_found("webhook", &path.id).into())
}

async fn lock(tx: &mut Tx<'_>, bot: &str) -> Result<()> {
    tx.lock(&format!("webhooks {bot}")).await
}

/// Writes anew who of a bot's subscriptions wants what. The caller has locked them.
async fn refresh(tx: &mut Tx<'_>, bot: &str) -> Result<()> {
    let sql = "SELECT id, types FROM webhook_subscriptions WHERE bot_id = ?1 AND enabled = 1 ORDER BY created_at, id";
    let mut hooks: Vec<(String, Json)> = Vec::new();
    for mut row in tx.query(sql, params![bot]).await? {
        hooks.push((row.text()?, row.json()?));
    }
    if hooks.is_empty() {
        tx.execute("DELETE FROM webhook_bots WHERE bot_id = ?1", params![bot]).await?;
        return Ok(());
    }
    let sql = "INSERT INTO webhook_bots (bot_id, hooks) VALUES (?1, ?2) ON CONFLICT (bot_id) DO UPDATE SET hooks = excluded.hooks";
    tx.execute(sql, params![bot, &Json::of(&hooks)]).await?;
    Ok(())
}

/// Disables a subscription for the server's own reasons.
pub(super) async fn disable(tx: &mut Tx<'_>, id: &str, reason: &str) -> Result<()> {
    let Some(mut row) = tx.query_opt("SELECT bot_id FROM webhook_subscriptions WHERE id = ?1", params![id]).await?
    else {
        return Ok(());
    };
    let bot = row.text()?;
    lock(tx, &bot).await?;
    let sql = "UPDATE webhook_subscriptions SET enabled = 0, disabled_reason = ?2, updated_at = ?3 WHERE id = ?1 AND enabled = 1";
    tx.execute(sql, params![id, reason, tx.now()]).await?;
    refresh(tx, &bot).await
}

/// Where a subscription is named: who asks, about which bot, and which one.
#[derive(Clone, Debug)]
pub struct Path {
    /// Who asks, about which workspace.
    pub actor: Actor,
    /// The bot.
    pub bot: String,
    /// The subscription; empty where there is none yet.
    pub id: String,
}

/// What a new subscription is made of.
#[derive(Clone, Default)]
pub struct New {
    /// Where requests go.
    pub url: String,
    /// Types of what it wants.
    pub events: Vec<String>,
    /// For people.
    pub description: String,
    /// Whether anything is sent.
    pub enabled: bool,
    /// A secret that both sides know already; made if absent.
    pub secret: Option<String>,
}

struct Create {
    path: Path,
    new: New,
    sealed: Sealed,
}

impl Script for Create {
    type Out = Subscription;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Subscription> {
        let (path, new, now) = (&self.path, &self.new, tx.now());
        let inside = path.actor.enter(tx, Role::Developer).await?;
        crate::bots::require(tx, &inside, &path.bot).await?;
        lock(tx, &path.bot).await?;
        let row =
            tx.query_opt("SELECT COUNT(*) FROM webhook_subscriptions WHERE bot_id = ?1", params![&path.bot]).await?;
        if row.map_or(Ok(0), |mut row| row.int())? >= MOST as i64 {
            let text = format!("a bot has at most {MOST} webhooks; delete one first");
            return Err(Refusal::new(ErrorKind::LimitExceeded, text).into());
        }
        tx.execute(
            "INSERT INTO webhook_subscriptions (id, bot_id, url, types, description, enabled, secret, created_at, updated_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)",
            params![
                &path.id, &path.bot, &new.url, &Json::of(&new.events), &new.description, new.enabled,
                &Json::of(&self.sealed), now
            ],
        )
        .await?;
        refresh(tx, &path.bot).await?;
        Ok(Subscription {
            id: path.id.clone(),
            bot_id: BotId::new(path.bot.as_str()),
            url: new.url.clone(),
            events: new.events.clone(),
            description: new.description.clone(),
            enabled: new.enabled,
            disabled_reason: None,
            failing_since: None,
            previous_secret_until: None,
            created_at: now,
            updated_at: now,
            secret: None,
        })
    }
}

struct Get(Path);

impl Script for Get {
    type Out = Subscription;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Subscription> {
        named(tx, &self.0, Role::Viewer).await
    }
}

struct List {
    path: Path,
    page: PageRequest,
}

impl Script for List {
    type Out = Page<Subscription>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Page<Subscription>> {
        let inside = self.path.actor.enter(tx, Role::Viewer).await?;
        crate::bots::require(tx, &inside, &self.path.bot).await?;
        let mut query =
            Query::new(&format!("SELECT s.created_at, s.id, {COLUMNS} FROM webhook_subscriptions s WHERE 1 = 1"));
        query.and("s.bot_id =", &self.path.bot);
        query.after(self.page.after.as_ref(), "s.created_at", "s.id", true);
        query.order("s.created_at", "s.id", true, self.page.size.get() + 1);
        let (rows, now) = (query.run(tx).await?, tx.now());
        crate::page::page(rows, self.page.size, |row| stored(row, now))
    }
}

/// A change; absent fields stay.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Where requests go.
    pub url: Option<String>,
    /// Types of what it wants.
    pub events: Option<Vec<String>>,
    /// For people.
    pub description: Option<String>,
    /// Whether anything is sent. Enabling forgets why it was disabled and since when it failed.
    pub enabled: Option<bool>,
}

struct Update {
    path: Path,
    change: Change,
}

impl Script for Update {
    type Out = Subscription;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Subscription> {
        let mut subscription = named(tx, &self.path, Role::Developer).await?;
        let change = &self.change;
        if let Some(url) = &change.url {
            subscription.url.clone_from(url);
        }
        if let Some(events) = &change.events {
            subscription.events.clone_from(events);
        }
        if let Some(description) = &change.description {
            subscription.description.clone_from(description);
        }
        if let Some(enabled) = change.enabled {
            subscription.enabled = enabled;
            subscription.disabled_reason = None;
            subscription.failing_since = None;
        }
        subscription.updated_at = tx.now();
        let s = &subscription;
        tx.execute(
            "UPDATE webhook_subscriptions SET url = ?2, types = ?3, description = ?4, enabled = ?5, disabled_reason = ?6, \
             failing_since = ?7, updated_at = ?8 WHERE id = ?1",
            params![
                &s.id, &s.url, &Json::of(&s.events), &s.description, s.enabled, s.disabled_reason.as_ref(), s.failing_since,
                s.updated_at
            ],
        )
        .await?;
        refresh(tx, &self.path.bot).await?;
        // What waited while it was disabled goes on.
        tx.touches().webhook(&self.path.id);
        Ok(subscription)
    }
}

struct Delete(Path);

impl Script for Delete {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        named(tx, &self.0, Role::Developer).await?;
        for sql in [
            "DELETE FROM webhook_attempts WHERE subscription_id = ?1",
            "DELETE FROM webhook_messages WHERE subscription_id = ?1",
            "DELETE FROM webhook_subscriptions WHERE id = ?1",
        ] {
            tx.execute(sql, params![&self.0.id]).await?;
        }
        refresh(tx, &self.0.bot).await
    }
}

/// What goes with a bot that is deleted.
pub(crate) async fn forget_bot(tx: &mut Tx<'_>, bot: &BotId) -> Result<()> {
    lock(tx, bot.as_str()).await?;
    for sql in [
        "DELETE FROM webhook_attempts WHERE subscription_id IN (SELECT id FROM webhook_subscriptions WHERE bot_id = ?1)",
        "DELETE FROM webhook_messages WHERE bot_id = ?1",
        "DELETE FROM webhook_subscriptions WHERE bot_id = ?1",
        "DELETE FROM webhook_bots WHERE bot_id = ?1",
    ] {
        tx.execute(sql, params![bot]).await?;
    }
    Ok(())
}

struct Rotate {
    path: Path,
    sealed: Sealed,
}

impl Script for Rotate {
    type Out = Subscription;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Subscription> {
        let mut subscription = named(tx, &self.path, Role::Developer).await?;
        subscription.updated_at = tx.now();
        subscription.previous_secret_until = Some(tx.now().plus_millis(OVERLAP_MILLIS));
        tx.execute(
            "UPDATE webhook_subscriptions SET previous_secret = secret, previous_until = ?2, secret = ?3, updated_at = ?4 WHERE id = ?1",
            params![&subscription.id, subscription.previous_secret_until, &Json::of(&self.sealed), subscription.updated_at],
        )
        .await?;
        Ok(subscription)
    }
}

/// Sends something to a subscription, whatever it wants.
struct Test(Path);

impl Script for Test {
    type Out = String;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<String> {
        let subscription = named(tx, &self.0, Role::Developer).await?;
        if !subscription.enabled {
            return Err(Refusal::invalid_payload("the webhook is disabled: enable it first").into());
        }
        let what =
            Happening { bot: &self.0.bot, kind: TEST, at: tx.now(), conversation: None, subject: None, position: None };
        let mut rows = Rows::default();
        let body = serde_json::json!({
            "type": TEST, "timestamp": tx.now(), "botId": self.0.bot,
            "data": { "webhookId": subscription.id, "text": "It works." },
        });
        let id = rows.row(tx, &subscription.id, what, &body.to_string());
        rows.write(tx).await?;
        Ok(id.as_str().to_owned())
    }
}

/// Subscriptions whose secrets another key sealed.
struct SealedAll;

impl Script for SealedAll {
    type Out = Vec<(String, Json, Option<Json>)>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Out> {
        let sql = "SELECT id, secret, previous_secret FROM webhook_subscriptions";
        let rows = tx.query(sql, &[]).await?;
        rows.into_iter().map(|mut row| Ok((row.text()?, row.json()?, row.opt_json()?))).collect()
    }
}

/// Replaces secrets if they are still what was read.
struct Reseal {
    id: String,
    old: Json,
    secret: Json,
    previous: Option<Json>,
}

impl Script for Reseal {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let sql = "UPDATE webhook_subscriptions SET secret = ?3, previous_secret = ?4 WHERE id = ?1 AND secret = ?2";
        tx.execute(sql, params![&self.id, &self.old, &self.secret, self.previous.as_ref()]).await?;
        Ok(())
    }
}

impl Store {
    /// Makes a subscription. The answer has its secret, for the only time.
    ///
    /// # Errors
    /// `InvalidPayload` for a secret that is none, `LimitExceeded` beyond [`MOST`].
    pub async fn create_webhook(&self, mut path: Path, new: New) -> Result<Subscription> {
        let id: Id<super::Webhook> = self.ids.id(self.now());
        path.id = id.as_str().to_owned();
        let (secret, sealed) = self.webhook_secret(&path.id, new.secret.clone())?;
        let made = self.write(Create { path, new, sealed }).await?;
        Ok(Subscription { secret: Some(secret), ..made })
    }

    /// One of them.
    pub async fn get_webhook(&self, path: Path) -> Result<Subscription> {
        self.read(&Get(path)).await
    }

    /// A bot's, oldest first.
    pub async fn list_webhooks(&self, path: Path, page: PageRequest) -> Result<Page<Subscription>> {
        self.read(&List { path, page }).await
    }

    /// Changes one.
    pub async fn update_webhook(&self, path: Path, change: Change) -> Result<Subscription> {
        self.write(Update { path, change }).await
    }

    /// Removes one, with all that was and is to be sent to it.
    pub async fn delete_webhook(&self, path: Path) -> Result<()> {
        self.write(Delete(path)).await
    }

    /// Gives it another secret; the one before signs for a day longer. The answer has the new one, for the
    /// only time.
    pub async fn rotate_webhook_secret(&self, path: Path, secret: Option<String>) -> Result<Subscription> {
        let (secret, sealed) = self.webhook_secret(&path.id, secret)?;
        let changed = self.write(Rotate { path, sealed }).await?;
        Ok(Subscription { secret: Some(secret), ..changed })
    }

    /// Has something sent to it; answers what was sent, by its id.
    pub async fn test_webhook(&self, path: Path) -> Result<String> {
        self.write(Test(path)).await
    }

    fn webhook_secret(&self, id: &str, given: Option<String>) -> Result<(String, Sealed)> {
        let secret = given.unwrap_or_else(|| format!("{PREFIX}{}", STANDARD.encode(self.ids.bytes::<32>())));
        key(&secret)?;
        let sealed = self.vault.seal(&self.ids, &sealed_name(id), &secret)?;
        Ok((secret, sealed))
    }

    /// The bytes of a sealed secret.
    pub(super) fn open_webhook_secret(&self, id: &str, sealed: &Json) -> Result<Vec<u8>> {
        let damaged = |reason: String| Error::Corrupt(format!("the secret of webhook {id}: {reason}"));
        let sealed: Sealed = serde_json::from_str(sealed.text()).map_err(|e| damaged(e.to_string()))?;
        let secret = self.vault.open(&sealed_name(id), &sealed)?;
        key(&secret).map_err(|refusal| damaged(refusal.message))
    }

    /// Seals the secrets of webhooks with the key that seals now.
    pub(crate) async fn seal_webhooks_again(&self) -> Result<()> {
        for (id, old, previous) in self.read(&SealedAll).await? {
            let (secret, previous) = (
                self.sealed_again(&id, &old)?,
                match &previous {
                    Some(previous) => Some(self.sealed_again(&id, previous)?),
                    None => None,
                },
            );
            if secret != old {
                self.write(Reseal { id, old, secret, previous }).await?;
            }
        }
        Ok(())
    }

    fn sealed_again(&self, id: &str, old: &Json) -> Result<Json> {
        let damaged = |e: serde_json::Error| Error::Corrupt(format!("the secret of webhook {id}: {e}"));
        let sealed: Sealed = serde_json::from_str(old.text()).map_err(damaged)?;
        if self.vault.is_current(&sealed) {
            return Ok(old.clone());
        }
        let name = sealed_name(id);
        let secret = self.vault.open(&name, &sealed)?;
        Ok(Json::of(&self.vault.seal(&self.ids, &name, &secret)?))
    }
}
