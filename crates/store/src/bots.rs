//! Bots (`spec/cloud/admin.md` § 5).
//!
//! * `definition` what a bot is made of, and changes to it; `parts` what its definitions share with
//!   those of integrations; `list` the lists of a workspace;
//!   `instances` the integrations installed in it, `plugins` the plugins;
//!   `versions` what it once was; `shareable` names for others; `allowlist` which members may use it;
//!   `transfer` its move to another workspace.

pub mod allowlist;
pub mod definition;
pub mod instances;
mod list;
pub mod parts;
pub mod plugins;
pub mod shareable;
mod transfer;
pub mod versions;

use std::{collections::BTreeMap, sync::Arc};

pub use definition::{Authentication, BotType, Change, Definition};
use duologue_model::{
    Error as Refusal, Identity, Json, Tags, Timestamp,
    admin::Role,
    id::{BotId, Generator, Kind},
};
pub use instances::{Instance, Step};
pub use list::{List, Summary};
use serde::Serialize;

use crate::{
    Error, Result, Store,
    access::Principal,
    audit::{self, Action},
    params, recurring,
    sql::Row,
    tx::{Script, Tx},
    users,
    vault::Sealed,
    workspaces::{self, Actor, Inside},
};

/// What a new bot is made of.
pub type NewBot = Change;

/// A bot as it is stored.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its id.
    pub id: BotId,
    /// Whose it is.
    pub workspace_id: String,
    /// For people.
    pub name: String,
    /// Whether it is a developer's.
    pub dev: bool,
    /// Whether runtime writes are refused.
    pub blocked: bool,
    /// Of the bot itself.
    pub tags: Tags,
    /// Where its code is called.
    pub url: Option<String>,
    /// What calls to its code are signed with.
    pub signing_secret: String,
    /// Its definitions.
    pub definition: Definition,
    /// Encrypted values by name.
    secrets: BTreeMap<String, Sealed>,
    /// The account that made it.
    pub created_by: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When its code or URL last changed.
    pub deployed_at: Option<Timestamp>,
}

impl Stored {
    /// Its id.
    pub fn id(&self) -> &BotId {
        &self.id
    }
}

const COLUMNS: &str = "workspace_id, name, dev, blocked, tags, url, signing_secret, body, secrets, created_by, created_at, updated_at, deployed_at";

/// Reads [`COLUMNS`].
fn stored(id: BotId, row: &mut Row) -> Result<Stored> {
    let (workspace_id, name) = (row.text()?, row.text()?);
    let (dev, blocked, tags) = (row.bool()?, row.bool()?, row.tags()?);
    let (url, signing_secret) = (row.opt_text()?, row.text()?);
    let damaged = |e: serde_json::Error| Error::Corrupt(format!("bot {id}: {e}"));
    let definition = serde_json::from_str(&row.text()?).map_err(damaged)?;
    let secrets = serde_json::from_str(&row.text()?).map_err(damaged)?;
    let (created_by, created_at, updated_at, deployed_at) = (row.opt_text()?, row.at()?, row.at()?, row.opt_at()?);
    Ok(Stored {
        id,
        workspace_id,
        name,
        dev,
        blocked,
        tags,
        url,
        signing_secret,
        definition,
        secrets,
        created_by,
        created_at,
        updated_at,
        deployed_at,
    })
}

/// The bot of a workspace, as the path's entity, for a member who may use it.
async fn named(tx: &mut Tx<'_>, inside: &Inside, id: &str, lock: bool) -> Result<Stored> {
    let lock = if lock { " {for_update}" } else { "" };
    let usable = allowlist::condition("?3", "?4");
    let sql = format!("SELECT {COLUMNS} FROM bots b WHERE b.id = ?1 AND b.workspace_id = ?2 AND {usable}{lock}");
    let row = tx.query_opt(&sql, params![id, &inside.workspace, inside.sees_all_bots(), &inside.account]).await?;
    stored(BotId::new(id), &mut row.ok_or_else(|| Refusal::not_found("bot", id))?)
}

/// Refuses a bot that isn't the workspace's, or that the member may not use, without reading it.
pub(crate) async fn require(tx: &mut Tx<'_>, inside: &Inside, id: &str) -> Result<()> {
    let usable = allowlist::condition("?3", "?4");
    let sql = format!("SELECT b.id FROM bots b WHERE b.id = ?1 AND b.workspace_id = ?2 AND {usable}");
    let found = tx.query_opt(&sql, params![id, &inside.workspace, inside.sees_all_bots(), &inside.account]).await?;
    found.map(|_| ()).ok_or_else(|| Refusal::not_found("bot", id).into())
}

/// Until when positions in the order of last change are remembered; 0 for never
/// (milliseconds since the epoch).
pub(crate) async fn scan_until(tx: &mut Tx<'_>, bot: &BotId) -> Result<i64> {
    let row = tx.query_opt("SELECT scan_until FROM bots WHERE id = ?1", params![bot]).await?;
    row.map_or(Ok(0), |mut row| row.int())
}

/// A new bot with its user. The caller has called [`Change::check`] on what it was given.
pub(crate) async fn insert(tx: &mut Tx<'_>, workspace: &str, created_by: Option<&str>, new: &NewBot) -> Result<Stored> {
    // A workspace isn't deleted while a bot enters it.
    tx.query("SELECT id FROM workspaces WHERE id = ?1 {for_update}", params![workspace]).await?;
    let now = tx.now();
    let dev = new.dev.unwrap_or(false);
    let mut bot = Stored {
        id: if dev { BotId::new(tx.ids().id::<DevBot>(now).as_str()) } else { tx.ids().id(now) },
        workspace_id: workspace.to_owned(),
        name: invented_name(tx.ids()),
        dev,
        blocked: false,
        tags: Tags::default(),
        url: None,
        signing_secret: tx.ids().secret(""),
        definition: Definition::default(),
        secrets: BTreeMap::new(),
        created_by: created_by.map(str::to_owned),
        created_at: now,
        updated_at: now,
        deployed_at: None,
    };
    apply(now, &mut bot, new)?;
    tx.execute(
        "INSERT INTO bots (id, workspace_id, name, dev, blocked, tags, url, signing_secret, body, secrets, scan_until, created_by, created_at, updated_at, deployed_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 0, ?11, ?12, ?13, ?14)",
        params![
            &bot.id, &bot.workspace_id, &bot.name, bot.dev, bot.blocked, &bot.tags.text(), bot.url.as_ref(), &bot.signing_secret,
            &Json::of(&bot.definition), &Json::of(&bot.secrets), bot.created_by.as_ref(), bot.created_at, bot.updated_at,
            bot.deployed_at
        ],
    )
    .await?;
    users::insert_bot_user(tx, &Identity::bot(bot.id.clone()), &bot.name, now).await?;
    rest(tx, &bot, new).await?;
    note_hearing(tx, &bot).await?;
    Ok(bot)
}

/// Ids of dev bots say so.
enum DevBot {}

impl Kind for DevBot {
    const PREFIX: &'static str = "devbot";
}

/// A name for a bot that came without one.
fn invented_name(ids: &Generator) -> String {
    const MANNERS: [&str; 16] = [
        "amber", "brisk", "calm", "clever", "curious", "eager", "gentle", "golden", "humble", "lively", "lucid",
        "nimble", "patient", "quiet", "sunny", "witty",
    ];
    const BIRDS: [&str; 16] = [
        "avocet", "bunting", "crane", "dipper", "egret", "finch", "goshawk", "heron", "ibis", "jackdaw", "kestrel",
        "lapwing", "martin", "nuthatch", "osprey", "plover",
    ];
    let [manner, bird, high, low] = ids.bytes::<4>();
    let number = u16::from_be_bytes([high, low]);
    format!("{}-{}-{number:05}", MANNERS[usize::from(manner) % 16], BIRDS[usize::from(bird) % 16])
}

/// Applies all of a change that is kept in the bot's row.
fn apply(now: Timestamp, bot: &mut Stored, change: &Change) -> Result<(), Refusal> {
    if let Some(name) = &change.name {
        bot.name.clone_from(name);
    }
    if let Some(blocked) = change.blocked {
        bot.blocked = blocked;
    }
    for (key, value) in &change.tags {
        match value {
            Some(value) => bot.tags.0.insert(key.clone(), value.clone()),
            None => bot.tags.0.remove(key),
        };
    }
    parts::limit("tags of a bot", bot.tags.0.len(), parts::MAX_TAGS)?;
    if let Some(url) = &change.url {
        bot.url.clone_from(url);
    }
    if change.code.is_some() || change.url.is_some() {
        bot.deployed_at = Some(now);
    }
    change.apply(&mut bot.definition)?;
    change.apply_secrets(&mut bot.secrets)
}

/// Notes which events the bot hears of, and when those recur that do.
async fn note_hearing(tx: &mut Tx<'_>, bot: &Stored) -> Result<()> {
    let wanted = match &bot.definition.subscriptions.events {
        None => "*".to_owned(),
        Some(events) => Json::of(&events.keys().collect::<Vec<_>>()).text().to_owned(),
    };
    let wanted = if bot.blocked { None } else { Some(wanted) };
    tx.execute(
        "UPDATE bots SET hears = CASE WHEN url IS NOT NULL OR flow = 1 OR EXISTS (SELECT 1 FROM bot_code c WHERE c.bot_id = bots.id) \
         THEN ?2 END WHERE id = ?1",
        params![&bot.id, wanted.as_ref()],
    )
    .await?;
    recurring::sync(tx, &bot.id, &bot.definition).await
}

/// Writes all of a changed bot that is kept in its row.
async fn save(tx: &mut Tx<'_>, bot: &Stored) -> Result<()> {
    tx.execute(
        "UPDATE bots SET name = ?2, blocked = ?3, tags = ?4, url = ?5, body = ?6, secrets = ?7, updated_at = ?8, deployed_at = ?9 WHERE id = ?1",
        params![
            &bot.id, &bot.name, bot.blocked, &bot.tags.text(), bot.url.as_ref(), &Json::of(&bot.definition), &Json::of(&bot.secrets),
            bot.updated_at, bot.deployed_at
        ],
    )
    .await?;
    Ok(())
}

/// Applies what is kept beside the bot's row. Answers what that does to what is installed.
async fn rest(tx: &mut Tx<'_>, bot: &Stored, change: &Change) -> Result<Vec<Step>> {
    if let Some(code) = &change.code {
        tx.execute(
            "INSERT INTO bot_code (bot_id, code) VALUES (?1, ?2) ON CONFLICT (bot_id) DO UPDATE SET code = excluded.code",
            params![&bot.id, code],
        )
        .await?;
    }
    plugins::apply(tx, bot, &change.plugins).await?;
    let steps = instances::plan(tx, bot, &change.integrations, change.by_alias).await?;
    instances::write(tx, bot, &steps).await?;
    Ok(steps)
}

/// A bot with what is installed in it.
#[derive(Clone, Debug)]
pub struct Bot {
    /// The bot.
    pub stored: Stored,
    /// What is installed, oldest first.
    pub instances: Vec<Instance>,
    /// The installed plugins, by alias.
    pub plugins: Vec<plugins::Installed>,
    /// Its definition together with what its plugins bring along.
    pub definition: Definition,
}

/// A bot as the API shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View<'a> {
    id: &'a BotId,
    created_at: Timestamp,
    updated_at: Timestamp,
    signing_secret: &'a str,
    integrations: BTreeMap<&'a str, instances::View<'a>>,
    plugins: BTreeMap<&'a str, plugins::View<'a>>,
    #[serde(flatten)]
    definition: &'a Definition,
    tags: &'a Tags,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deployed_at: Option<Timestamp>,
    dev: bool,
    blocked: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<&'a str>,
    status: &'static str,
    secrets: Vec<&'a str>,
}

impl Bot {
    /// The bot as the API shows it. `public_url` and `webhook_url` are the origins of this server
    /// and of its webhooks, without a trailing slash; `by_alias` whether integrations are keyed by alias (`x-multiple-integrations`) rather than by
    /// version id.
    pub fn view(&self, public_url: &str, webhook_url: &str, by_alias: bool) -> View<'_> {
        let bot = &self.stored;
        View {
            id: &bot.id,
            created_at: bot.created_at,
            updated_at: bot.updated_at,
            signing_secret: &bot.signing_secret,
            integrations: instances::views(&self.instances, public_url, webhook_url, by_alias),
            plugins: self.plugins.iter().map(|one| (one.alias.as_str(), one.view(public_url))).collect(),
            definition: &self.definition,
            tags: &bot.tags,
            name: &bot.name,
            url: bot.url.as_deref(),
            deployed_at: bot.deployed_at,
            dev: bot.dev,
            blocked: bot.blocked,
            created_by: bot.created_by.as_deref(),
            status: "active",
            secrets: bot.secrets.keys().map(String::as_str).collect(),
        }
    }
}

async fn with_instances(tx: &mut Tx<'_>, mut stored: Stored) -> Result<Bot> {
    recurring::overlay(tx, &stored.id, &mut stored.definition).await?;
    let instances = instances::list(tx, stored.id.as_str()).await?;
    let mut plugins = plugins::list(tx, stored.id.as_str()).await?;
    plugins::resolve(tx, &mut plugins, &instances).await?;
    let definition = plugins::merged(&stored.definition, &plugins);
    Ok(Bot { stored, instances, plugins, definition })
}

struct Create {
    actor: Actor,
    new: NewBot,
}

impl Script for Create {
    type Out = Bot;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Bot> {
        let inside = self.actor.enter(tx, Role::Developer).await?;
        let bot = insert(tx, &inside.workspace, Some(&self.actor.account), &self.new).await?;
        note(tx, &inside, Action::CreateBot, &bot, None).await?;
        with_instances(tx, bot).await
    }
}

struct Get {
    actor: Actor,
    id: String,
}

impl Script for Get {
    type Out = Bot;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Bot> {
        let inside = self.actor.enter(tx, Role::Viewer).await?;
        let bot = named(tx, &inside, &self.id, false).await?;
        with_instances(tx, bot).await
    }
}

/// What updateBot will do to what is installed, if it isn't refused.
struct PlanUpdate {
    actor: Actor,
    id: String,
    change: Arc<Change>,
}

impl Script for PlanUpdate {
    type Out = Vec<Step>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Step>> {
        let inside = self.actor.enter(tx, Role::Developer).await?;
        let mut bot = named(tx, &inside, &self.id, false).await?;
        apply(tx.now(), &mut bot, &self.change)?;
        instances::plan(tx, &bot, &self.change.integrations, self.change.by_alias).await
    }
}

/// The parts of a deletion that its caller must know beforehand: what is installed.
struct PlanDelete {
    actor: Actor,
    id: String,
}

impl Script for PlanDelete {
    type Out = Bot;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Bot> {
        let inside = self.actor.enter(tx, Role::Manager).await?;
        let bot = named(tx, &inside, &self.id, false).await?;
        with_instances(tx, bot).await
    }
}

struct Update {
    actor: Actor,
    id: String,
    change: Change,
}

impl Script for Update {
    type Out = Bot;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Bot> {
        let inside = self.actor.enter(tx, Role::Developer).await?;
        let mut bot = named(tx, &inside, &self.id, true).await?;
        let now = tx.now().max(bot.updated_at.plus_millis(1));
        apply(now, &mut bot, &self.change)?;
        bot.updated_at = now;
        save(tx, &bot).await?;
        rest(tx, &bot, &self.change).await?;
        note_hearing(tx, &bot).await?;
        let deployed = self.change.code.is_some() || self.change.url.is_some();
        note(tx, &inside, if deployed { Action::DeployBot } else { Action::UpdateBot }, &bot, None).await?;
        with_instances(tx, bot).await
    }
}

/// deleteBot: with its keys and all its runtime data.
struct Delete {
    actor: Actor,
    id: String,
}

impl Script for Delete {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let inside = self.actor.enter(tx, Role::Manager).await?;
        let bot = named(tx, &inside, &self.id, true).await?;
        for sql in [
            "DELETE FROM tokens WHERE bot_id = ?1",
            "DELETE FROM logs WHERE owner = ?1",
            "DELETE FROM issue_events WHERE issue_id IN (SELECT id FROM issues WHERE bot_id = ?1)",
            "DELETE FROM issues WHERE bot_id = ?1",
            "DELETE FROM bot_allowlist WHERE bot_id = ?1",
            "DELETE FROM bot_code WHERE bot_id = ?1",
            "DELETE FROM instances WHERE bot_id = ?1",
            "DELETE FROM bot_plugins WHERE bot_id = ?1",
            "DELETE FROM bot_versions WHERE bot_id = ?1",
            "DELETE FROM shareable_ids WHERE bot_id = ?1",
            "DELETE FROM bot_locks WHERE bot_id = ?1",
            "DELETE FROM action_runs WHERE bot_id = ?1",
            "DELETE FROM outbox WHERE bot_id = ?1",
            "DELETE FROM dead_letters WHERE bot_id = ?1",
            "DELETE FROM delivery_attempts WHERE bot_id = ?1",
            "DELETE FROM delivery_leases WHERE bot_id = ?1",
            "DELETE FROM recurring_events WHERE bot_id = ?1",
            "DELETE FROM events WHERE bot_id = ?1",
            "DELETE FROM entity_tags WHERE bot_id = ?1",
            "DELETE FROM feed WHERE conversation_id IN (SELECT id FROM conversations WHERE bot_id = ?1)",
            "DELETE FROM participants WHERE conversation_id IN (SELECT id FROM conversations WHERE bot_id = ?1)",
            "DELETE FROM messages WHERE bot_id = ?1",
            "DELETE FROM scheduled_messages WHERE bot_id = ?1",
            "DELETE FROM states WHERE bot_id = ?1",
            "DELETE FROM workflows WHERE bot_id = ?1",
            "DELETE FROM tasks WHERE bot_id = ?1",
            "DELETE FROM analytics WHERE bot_id = ?1",
            "DELETE FROM past_positions WHERE bot_id = ?1",
            "DELETE FROM conversation_order WHERE bot_id = ?1",
            "DELETE FROM conversations WHERE bot_id = ?1",
            "DELETE FROM v12_turns WHERE conversation_id IN (SELECT conversation_id FROM v12_conversations WHERE bot_id = ?1)",
            "DELETE FROM v12_conversations WHERE bot_id = ?1",
            "DELETE FROM v12_kvs WHERE bot_id = ?1",
            "DELETE FROM users WHERE bot_id = ?1",
            "DELETE FROM bots WHERE id = ?1",
        ] {
            tx.execute(sql, params![&bot.id]).await?;
        }
        tx.touches().erased();
        crate::webhooks::manage::forget_bot(tx, &bot.id).await?;
        note(tx, &inside, Action::DeleteBot, &bot, None).await
    }
}

/// Notes what a member did to a bot.
async fn note(tx: &mut Tx<'_>, inside: &Inside, action: Action, bot: &Stored, value: Option<&str>) -> Result<()> {
    let (workspace, account) = (&inside.workspace, &inside.account);
    audit::note(tx, audit::Entry { workspace, account, action, id: bot.id.as_str(), name: &bot.name, value }).await
}

/// Who a caller is to a bot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Introspection {
    /// The bot's workspace.
    pub workspace_id: String,
    /// The bot.
    pub bot_id: String,
    /// The account, or the bot itself when its key was used.
    pub user_id: String,
}

struct Introspect {
    principal: Principal,
    bot: String,
}

impl Script for Introspect {
    type Out = Introspection;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Introspection> {
        let row = tx.query_opt("SELECT workspace_id FROM bots WHERE id = ?1", params![&self.bot]).await?;
        let workspace_id = row.ok_or_else(|| Refusal::not_found("bot", &self.bot))?.text()?;
        let user_id = match &self.principal {
            Principal::Account(account) => match workspaces::role(tx, &workspace_id, account).await? {
                Some(role) if role >= Role::Viewer && allowlist::admits(tx, &self.bot, account, role).await? => {
                    account.clone()
                }
                _ => return Err(Refusal::forbidden("this token's account may not use this bot").into()),
            },
            Principal::Bot(own) if own.as_str() == self.bot => self.bot.clone(),
            Principal::Bot(_) => return Err(Refusal::forbidden("this key belongs to another bot").into()),
            Principal::Integration(_) => {
                return Err(Refusal::forbidden("keys of integrations can't be used here").into());
            }
        };
        Ok(Introspection { workspace_id, bot_id: self.bot.clone(), user_id })
    }
}

impl Store {
    /// createBot.
    pub async fn create_bot(&self, actor: Actor, new: NewBot) -> Result<Bot> {
        new.check()?;
        let new = new.seal(&self.vault, &self.ids)?;
        self.write_rights(Create { actor, new }).await
    }

    /// getBot.
    pub async fn get_bot(&self, actor: Actor, id: String) -> Result<Bot> {
        self.read(&Get { actor, id }).await
    }

    /// What updateBot will do to what is installed; refuses what it would refuse.
    pub async fn plan_update_bot(&self, actor: Actor, id: String, change: Arc<Change>) -> Result<Vec<Step>> {
        change.check()?;
        self.read(&PlanUpdate { actor, id, change }).await
    }

    /// The bot that deleteBot will delete; refuses what it would refuse.
    pub async fn plan_delete_bot(&self, actor: Actor, id: String) -> Result<Bot> {
        self.read(&PlanDelete { actor, id }).await
    }

    /// updateBot. Code of integrations is told of it later, by whoever looks for what is due.
    pub async fn update_bot(&self, actor: Actor, id: String, change: Change) -> Result<Bot> {
        self.update_planned_bot(actor, id, Arc::new(change)).await
    }

    /// The same, after [`Store::plan_update_bot`], for a caller that tells the code itself.
    pub async fn update_planned_bot(&self, actor: Actor, id: String, change: Arc<Change>) -> Result<Bot> {
        change.check()?;
        let change = Arc::unwrap_or_clone(change).seal(&self.vault, &self.ids)?;
        self.write_rights(Update { actor, id, change }).await
    }

    /// deleteBot.
    pub async fn delete_bot(&self, actor: Actor, id: String) -> Result<()> {
        self.write_rights(Delete { actor, id }).await
    }

    /// introspect.
    pub async fn introspect(&self, principal: Principal, bot: String) -> Result<Introspection> {
        self.read(&Introspect { principal, bot }).await
    }
}
