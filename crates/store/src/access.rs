//! Tokens and who they are (`spec/cloud/auth-and-identity.md` §§ 2–5).
//!
//! Every request asks; so what was found is remembered. With one process, what changes is
//! forgotten at once; with several on one database, the others notice within [`SHARED_TTL`].

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use duologue_model::{Error as Refusal, ErrorKind, Identity, View, admin::Role, id::BotId};

use crate::{
    Result, Store,
    bots::allowlist,
    crypto, params,
    tx::{Script, Tx},
};

/// How long another process may go on accepting what this one has just revoked.
pub const SHARED_TTL: Duration = Duration::from_secs(1);

/// Callers remembered at most; beyond that all are forgotten and found anew.
const REMEMBERED: usize = 20_000;

/// Whom a token stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// A person: a personal access token.
    Account(String),
    /// A bot: a bot API key.
    Bot(BotId),
    /// An integration version in whichever bot it is installed: an integration API key.
    Integration(String),
}

/// A token that was recognised.
#[derive(Clone, Debug)]
pub struct Token {
    /// Its id, for rate limits, idempotency and logs.
    pub id: String,
    /// Whom it stands for.
    pub principal: Principal,
}

/// A caller of the runtime API.
#[derive(Debug)]
pub struct Caller {
    /// Its token.
    pub token: Token,
    /// Whose data it works on, seen how.
    pub identity: Identity,
    /// Whether it may write: not a viewer, and the bot isn't blocked.
    pub writes: Result<(), Refusal>,
}

/// What a runtime request's headers say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'h> {
    /// `x-bot-id`.
    pub bot: Option<&'h str>,
    /// `x-integration-id`.
    pub integration: Option<&'h str>,
    /// `x-integration-alias`.
    pub alias: Option<&'h str>,
}

/// What was found, and when, by a digest of what was asked.
type Found<T> = RwLock<HashMap<[u8; 32], (T, Instant)>>;

/// Callers by a digest of their token and headers.
pub(crate) struct Cache {
    callers: Found<Arc<Caller>>,
    tokens: Found<Token>,
    generation: AtomicU64,
    ttl: Option<Duration>,
}

impl Cache {
    pub(crate) fn new(shared: bool) -> Self {
        Cache {
            callers: RwLock::default(),
            tokens: RwLock::default(),
            generation: AtomicU64::new(0),
            ttl: shared.then_some(SHARED_TTL),
        }
    }

    /// Forgets everybody: somebody's rights have changed.
    pub(crate) fn clear(&self) {
        // First the generation, so that whoever is being looked up right now isn't remembered.
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.callers.write().unwrap_or_else(PoisonError::into_inner).clear();
        self.tokens.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Another number after every change of rights.
    pub(crate) fn generation(&self) -> &AtomicU64 {
        &self.generation
    }

    fn get<T: Clone>(&self, map: &Found<T>, key: &[u8; 32]) -> Option<T> {
        let map = map.read().unwrap_or_else(PoisonError::into_inner);
        let (value, since) = map.get(key)?;
        self.ttl.is_none_or(|ttl| since.elapsed() < ttl).then(|| value.clone())
    }

    fn put<T>(&self, map: &Found<T>, key: [u8; 32], value: T, generation: u64) {
        let mut map = map.write().unwrap_or_else(PoisonError::into_inner);
        if self.generation.load(Ordering::Acquire) == generation {
            if map.len() >= REMEMBERED {
                map.clear();
            }
            map.insert(key, (value, Instant::now()));
        }
    }
}

fn unauthorized() -> Refusal {
    Refusal::new(
        ErrorKind::Unauthorized,
        "The token is unknown or has been revoked. Send a valid one as \"Authorization: Bearer <token>\".",
    )
}

struct FindToken(String);

impl Script for FindToken {
    type Out = Token;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Token> {
        let sql = "SELECT id, kind, account_id, bot_id, integration_id FROM tokens WHERE hash = ?1";
        let mut row = tx.query_opt(sql, params![&self.0]).await?.ok_or_else(unauthorized)?;
        let (id, kind) = (row.text()?, row.text()?);
        let (account, bot, integration) = (row.opt_text()?, row.opt_text()?, row.opt_text()?);
        let principal = match (kind.as_str(), account, bot, integration) {
            ("pat", Some(account), ..) => Principal::Account(account),
            ("bak", _, Some(bot), _) => Principal::Bot(BotId::new(bot)),
            ("iak", _, _, Some(integration)) => Principal::Integration(integration),
            _ => return Err(unauthorized().into()),
        };
        Ok(Token { id, principal })
    }
}

/// Checks a runtime request's headers in the order of `auth-and-identity.md` § 4.
struct FindCaller {
    token: Token,
    bot: Option<String>,
    integration: Option<String>,
    alias: Option<String>,
}

impl Script for FindCaller {
    type Out = Caller;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Caller> {
        let bot = self.bot()?;
        let missing = || Refusal::not_found("bot", bot.as_str());
        let sql = "SELECT workspace_id, blocked FROM bots WHERE id = ?1";
        let mut row = tx.query_opt(sql, params![&bot]).await?.ok_or_else(missing)?;
        let (workspace, blocked) = (row.text()?, row.bool()?);
        let mut writes = if blocked { Err(Refusal::forbidden("this bot is blocked")) } else { Ok(()) };
        if let Principal::Account(account) = &self.token.principal {
            match crate::workspaces::role(tx, &workspace, account).await? {
                None | Some(Role::Billing) => {
                    return Err(Refusal::forbidden("this token's account may not use this bot: it is no member of its workspace, or for billing only").into());
                }
                Some(role) if !allowlist::admits(tx, bot.as_str(), account, role).await? => {
                    let text = "this bot is restricted to selected members of its workspace, and this token's account is none of them";
                    return Err(Refusal::forbidden(text).into());
                }
                Some(Role::Viewer) => writes = Err(Refusal::forbidden("a viewer of the workspace may read, not write")),
                Some(_) => {}
            }
        }
        let view = self.view(tx, &bot).await?;
        Ok(Caller { token: self.token.clone(), identity: Identity { bot, view }, writes })
    }
}

impl FindCaller {
    fn bot(&self) -> Result<BotId, Refusal> {
        match (&self.bot, &self.token.principal) {
            (None, Principal::Bot(own)) => Ok(own.clone()),
            (None, _) => {
                Err(Refusal::invalid_payload("the header x-bot-id is missing: send the id of the bot this is about"))
            }
            (Some(given), _) if given.is_empty() || given.len() > 36 => {
                Err(Refusal::invalid_payload("the header x-bot-id is not the id of a bot"))
            }
            (Some(given), Principal::Bot(own)) if given != own.as_str() => {
                Err(Refusal::forbidden("this key belongs to another bot than x-bot-id names"))
            }
            (Some(given), _) => Ok(BotId::new(given.as_str())),
        }
    }

    async fn view(&self, tx: &mut Tx<'_>, bot: &BotId) -> Result<View> {
        let key = match &self.token.principal {
            Principal::Integration(id) => Some(id),
            _ => None,
        };
        let wanted = self.integration.as_ref().or(key);
        if let (Some(given), Some(own)) = (&self.integration, key)
            && given != own
        {
            return Err(
                Refusal::forbidden("this key belongs to another integration than x-integration-id names").into()
            );
        }
        if wanted.is_none() && self.alias.is_none() {
            return Ok(View::Bot);
        }
        let rows = tx
            .query(
                "SELECT i.alias, i.integration_id, g.name FROM instances i CROSS JOIN integrations g \
                 WHERE g.id = i.integration_id AND i.bot_id = ?1 ORDER BY i.created_at, i.alias",
                params![bot],
            )
            .await?;
        let mut found: Option<(bool, View)> = None;
        for mut row in rows {
            let (alias, id, name) = (row.text()?, row.text()?, row.text()?);
            let matches = match (&self.alias, wanted) {
                (Some(given), Some(id_given)) => *given == alias && *id_given == id,
                (Some(given), None) => *given == alias,
                (None, Some(id_given)) => *id_given == id,
                (None, None) => false,
            };
            // Of several the one whose alias is the integration's name, else the oldest.
            let named = alias == name;
            if matches && found.as_ref().is_none_or(|(best_named, _)| named && !best_named) {
                found = Some((named, View::Integration { alias: alias.into(), name: name.into(), id: id.into() }));
            }
        }
        let missing = || {
            Refusal::forbidden(
                "the integration that x-integration-id or x-integration-alias names is not installed in this bot",
            )
        };
        Ok(found.ok_or_else(missing)?.1)
    }
}

impl Store {
    /// Whom a token stands for. Refuses unknown and revoked ones.
    pub async fn token(&self, secret: &str) -> Result<Token> {
        let digest = crypto::sha256(secret.as_bytes());
        if let Some(token) = self.access.get(&self.access.tokens, &digest) {
            return Ok(token);
        }
        let generation = self.access.generation.load(Ordering::Acquire);
        let token = self.read(&FindToken(crypto::hex(&digest))).await?;
        self.access.put(&self.access.tokens, digest, token.clone(), generation);
        Ok(token)
    }

    /// Who calls the runtime API with this token and these headers.
    pub async fn caller(&self, secret: &str, headers: Headers<'_>) -> Result<Arc<Caller>> {
        let mut key = Vec::with_capacity(192);
        for part in [Some(secret), headers.bot, headers.integration, headers.alias] {
            key.extend((part.map_or(u32::MAX, |part| part.len() as u32)).to_be_bytes());
            key.extend(part.unwrap_or_default().as_bytes());
        }
        let digest = crypto::sha256(&key);
        if let Some(caller) = self.access.get(&self.access.callers, &digest) {
            return Ok(caller);
        }
        let generation = self.access.generation.load(Ordering::Acquire);
        let token = self.token(secret).await?;
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let script = FindCaller {
            token,
            bot: owned(headers.bot),
            integration: owned(headers.integration),
            alias: owned(headers.alias),
        };
        let caller = Arc::new(self.read(&script).await?);
        self.access.put(&self.access.callers, digest, caller.clone(), generation);
        Ok(caller)
    }
}
