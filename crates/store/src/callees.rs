//! Whom the server calls: the code of a bot, or of an integration as installed in a bot, with what
//! calls to it say (`spec/cloud/bridge-protocol.md` §§ 2, 4).
//!
//! Read before every call, so what was found is remembered as in `access`: forgotten at every change
//! of bots and integrations, and after a second where processes share the database.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use duologue_model::{Json, Timestamp, View, id::BotId};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    Error, Result, Store,
    access::SHARED_TTL,
    bots::{Authentication, instances::Settings},
    params,
    sql::Row,
    tx::{Script, Tx},
};

/// Callees remembered at most; beyond that all are forgotten and found anew.
const REMEMBERED: usize = 10_000;

/// What calls are signed with (§ 9). Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Signing {
    /// The secret.
    pub secret: String,
    /// The one before the last rotation, and until when it is good.
    pub previous: Option<(String, Timestamp)>,
}

impl fmt::Debug for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signing")
    }
}

impl Signing {
    fn read(row: &mut Row) -> Result<Signing> {
        let (secret, old, until) = (row.text()?, row.opt_text()?, row.opt_at()?);
        Ok(Signing { secret, previous: old.zip(until) })
    }
}

/// The code of a bot.
#[derive(Clone, Debug, PartialEq)]
pub struct BotCode {
    /// The bot.
    pub id: BotId,
    /// Where it is called; wins over uploaded code.
    pub url: Option<String>,
    /// Whether code was uploaded.
    pub has_code: bool,
    /// Whether the bot may work at all.
    pub blocked: bool,
    /// The values of its configuration.
    pub configuration: Json,
    /// Seconds a call may take, if the bot says so.
    pub max_execution_time: Option<i64>,
    /// Which events it wants; all if absent.
    pub subscriptions: Option<BTreeMap<String, Json>>,
    /// What calls to it are signed with, if it wants them signed.
    pub signing: Option<Signing>,
}

/// The code of an integration, as installed in a bot.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceCode {
    /// The bot.
    pub bot: BotId,
    /// Under which alias.
    pub alias: String,
    /// The integration version.
    pub integration_id: String,
    /// Its name.
    pub integration_name: String,
    /// The webhook of the instance.
    pub webhook_id: String,
    /// Whether it works.
    pub enabled: bool,
    /// What is set for it.
    pub settings: Settings,
    /// Where it is called; wins over uploaded code.
    pub url: Option<String>,
    /// Whether code was uploaded.
    pub has_code: bool,
    /// Seconds a call may take, if the integration says so.
    pub max_execution_time: Option<i64>,
    /// What it can be asked for beyond the usual: `message_updated`, `conversation_updated`.
    pub extra_operations: Vec<String>,
    /// What calls to it are signed with.
    pub signing: Signing,
    /// Whether it is being worked on by a developer, and when it was last deployed if so.
    pub dev_since: Option<Timestamp>,
}

impl InstanceCode {
    /// Whether it wants to be asked for this operation.
    pub fn has_extra(&self, operation: &str) -> bool {
        self.extra_operations.iter().any(|known| known == operation)
    }

    /// How it sees the bot's data.
    pub fn view(&self) -> View {
        View::Integration {
            alias: self.alias.as_str().into(),
            name: self.integration_name.as_str().into(),
            id: self.integration_id.as_str().into(),
        }
    }

    /// Whether messages of this channel pass in either direction.
    pub fn has_channel(&self, channel: &str) -> bool {
        !self.settings.disabled_channels.iter().any(|disabled| disabled == channel)
    }
}

/// What a call of a bot needs.
const BOT_COLUMNS: &str =
    "b.id, b.url, b.blocked, b.signing_secret, b.old_signing_secret, b.old_signing_secret_until, b.body, c.bot_id";
const BOTS: &str = "bots b LEFT JOIN bot_code c ON c.bot_id = b.id";

fn bot(row: &mut Row) -> Result<BotCode> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    #[derive(Default)]
    struct Body {
        configuration: Configuration,
        max_execution_time: Option<i64>,
        subscriptions: Subscriptions,
        authentication: Option<Authentication>,
    }
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Configuration {
        data: Json,
    }
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Subscriptions {
        events: Option<BTreeMap<String, Json>>,
    }
    let (id, url, blocked): (BotId, _, _) = (row.id()?, row.opt_text()?, row.bool()?);
    let signing = Signing::read(row)?;
    let body: Body = parsed("bot", id.as_str(), &row.text()?)?;
    Ok(BotCode {
        id,
        url: url.filter(|url| !url.is_empty()),
        has_code: row.opt_text()?.is_some(),
        blocked,
        configuration: body.configuration.data,
        max_execution_time: body.max_execution_time,
        subscriptions: body.subscriptions.events,
        signing: (body.authentication == Some(Authentication::Signature)).then_some(signing),
    })
}

/// What a call of an instance needs. The code itself can be large and isn't read.
pub(crate) const INSTANCE_COLUMNS: &str = "i.bot_id, i.alias, i.webhook_id, i.enabled, i.body, g.id, g.name, g.url, \
     CASE WHEN g.code IS NULL THEN 0 ELSE 1 END, g.body, g.signing_secret, g.old_signing_secret, g.old_signing_secret_until, \
     g.dev, g.updated_at";

/// Reads [`INSTANCE_COLUMNS`].
pub(crate) fn instance(row: &mut Row) -> Result<InstanceCode> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        definition: Definition,
        #[serde(default)]
        extra_operations: BTreeMap<String, Enabled>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Definition {
        max_execution_time: Option<i64>,
    }
    #[derive(Deserialize)]
    struct Enabled {
        enabled: bool,
    }
    let (bot, alias, webhook_id): (BotId, _, _) = (row.id()?, row.text()?, row.text()?);
    let (enabled, settings) = (row.bool()?, row.text()?);
    let settings = parsed("instance", &alias, &settings)?;
    let (integration_id, integration_name) = (row.text()?, row.text()?);
    let (url, has_code) = (row.opt_text()?, row.bool()?);
    let body: Body = parsed("integration", &integration_id, &row.text()?)?;
    let extra = body.extra_operations.into_iter().filter(|(_, operation)| operation.enabled);
    Ok(InstanceCode {
        bot,
        alias,
        integration_id,
        integration_name,
        webhook_id,
        enabled,
        settings,
        url: url.filter(|url| !url.is_empty()),
        has_code,
        max_execution_time: body.definition.max_execution_time,
        extra_operations: extra.map(|(name, _)| name).collect(),
        signing: Signing::read(row)?,
        dev_since: {
            let (dev, updated_at) = (row.bool()?, row.at()?);
            dev.then_some(updated_at)
        },
    })
}

fn parsed<T: DeserializeOwned>(what: &str, id: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| Error::Corrupt(format!("{what} {id}: {error}")))
}

/// Which callee.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Which {
    /// The code of this bot.
    Bot(BotId),
    /// The instance under this alias in this bot.
    Alias(BotId, String),
    /// The instance with this webhook.
    Webhook(String),
}

#[derive(Clone)]
enum Found {
    Bot(Arc<BotCode>),
    Instance(Arc<InstanceCode>),
}

struct Find(Which);

impl Script for Find {
    type Out = Option<Found>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<Found>> {
        let instances = format!(
            "SELECT {INSTANCE_COLUMNS} FROM instances i CROSS JOIN integrations g WHERE g.id = i.integration_id"
        );
        let row = match &self.0 {
            Which::Bot(id) => {
                let sql = format!("SELECT {BOT_COLUMNS} FROM {BOTS} WHERE b.id = ?1");
                let row = tx.query_opt(&sql, params![id]).await?;
                return row.map(|mut row| Ok(Found::Bot(Arc::new(bot(&mut row)?)))).transpose();
            }
            Which::Alias(id, alias) => {
                tx.query_opt(&format!("{instances} AND i.bot_id = ?1 AND i.alias = ?2"), params![id, alias]).await?
            }
            Which::Webhook(id) => tx.query_opt(&format!("{instances} AND i.webhook_id = ?1"), params![id]).await?,
        };
        row.map(|mut row| Ok(Found::Instance(Arc::new(instance(&mut row)?)))).transpose()
    }
}

/// Callees that were found, and when.
#[derive(Default)]
pub(crate) struct Cache {
    found: RwLock<HashMap<Which, (Found, Instant)>>,
    generation: AtomicU64,
}

impl Cache {
    /// Forgets all: a bot or an integration has changed.
    pub(crate) fn clear(&self) {
        // First the generation, so that what is being looked up right now isn't remembered.
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.found.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn get(&self, which: &Which, shared: bool) -> Option<Found> {
        let found = self.found.read().unwrap_or_else(PoisonError::into_inner);
        let (callee, since) = found.get(which)?;
        (!shared || since.elapsed() < SHARED_TTL).then(|| callee.clone())
    }

    fn put(&self, which: Which, callee: Found, generation: u64) {
        let mut found = self.found.write().unwrap_or_else(PoisonError::into_inner);
        if self.generation.load(Ordering::Acquire) == generation {
            if found.len() >= REMEMBERED {
                found.clear();
            }
            found.insert(which, (callee, Instant::now()));
        }
    }
}

impl Store {
    async fn callee(&self, which: Which) -> Result<Option<Found>> {
        if let Some(found) = self.callees.get(&which, self.is_shared()) {
            return Ok(Some(found));
        }
        let generation = self.callees.generation.load(Ordering::Acquire);
        let find = Find(which);
        let found = self.read(&find).await?;
        if let Some(found) = &found {
            self.callees.put(find.0, found.clone(), generation);
        }
        Ok(found)
    }

    async fn instance(&self, which: Which) -> Result<Option<Arc<InstanceCode>>> {
        Ok(self.callee(which).await?.and_then(|found| match found {
            Found::Instance(instance) => Some(instance),
            Found::Bot(_) => None,
        }))
    }

    /// The code of a bot.
    pub async fn bot_code(&self, id: &BotId) -> Result<Option<Arc<BotCode>>> {
        Ok(self.callee(Which::Bot(id.clone())).await?.and_then(|found| match found {
            Found::Bot(bot) => Some(bot),
            Found::Instance(_) => None,
        }))
    }

    /// The code of what is installed in a bot under this alias.
    pub async fn instance_code(&self, bot: &BotId, alias: &str) -> Result<Option<Arc<InstanceCode>>> {
        self.instance(Which::Alias(bot.clone(), alias.to_owned())).await
    }

    /// The code of the instance with this webhook.
    pub async fn webhook_code(&self, webhook: &str) -> Result<Option<Arc<InstanceCode>>> {
        self.instance(Which::Webhook(webhook.to_owned())).await
    }
}
