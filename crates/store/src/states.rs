//! States (`spec/cloud/runtime.md` § 8).
//!
//! A row's key is its bot, type, scope, owner and name. An expired row counts as missing from the
//! instant it expires; the timers remove it and tell the bot.

use duologue_model::{Error as Refusal, ErrorKind, Identity, Json, State, StateType, Timestamp, View, id::BotId};

use crate::{
    Error, Result, Store, conversations,
    events::{self, Pending},
    page::{Page, PageRequest, Query},
    params,
    sql::{Dialect, Row},
    tasks,
    tx::{Script, Tx},
    users, workflows,
};

/// The longest idle time, in milliseconds: 30 days.
pub const MAX_EXPIRY: i64 = 2_592_000_000;

/// Which state.
#[derive(Clone, Debug)]
pub struct Key {
    /// The caller.
    pub who: Identity,
    /// What it is kept for.
    pub kind: StateType,
    /// Of which one; for integrations the version's id, the alias or the bot's id.
    pub scope: String,
    /// Its name.
    pub name: String,
}

/// What a write says about expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// As it was, or as the definition says.
    Keep,
    /// Never.
    Never,
    /// After this many idle milliseconds.
    After(i64),
}

impl Expiry {
    fn resolve(self, previous: Option<Option<i64>>, default: Option<i64>) -> Option<i64> {
        match self {
            Expiry::Keep => previous.unwrap_or(default),
            Expiry::Never => None,
            Expiry::After(millis) => Some(millis),
        }
    }
}

const COLUMNS: &str = "e.id, e.type, e.scope_id, e.name, e.payload, e.expiry, e.expires_at, e.created_at, e.updated_at";

fn stored(bot: &BotId, row: &mut Row) -> Result<State> {
    let id = row.id()?;
    let kind = row.word(StateType::from_name)?;
    let scope = row.text()?;
    Ok(State {
        id,
        bot_id: bot.clone(),
        conversation_id: (kind == StateType::Conversation).then(|| scope.clone()),
        user_id: (kind == StateType::User).then_some(scope),
        kind,
        name: row.text()?,
        payload: row.json()?,
        expiry: row.opt_int()?,
        expires_at: row.opt_at()?,
        created_at: row.at()?,
        updated_at: row.at()?,
    })
}

impl Key {
    /// The scope as rows name it. Refuses one that doesn't exist or isn't the caller's.
    async fn scope(&self, tx: &mut Tx<'_>) -> Result<String> {
        let (who, id) = (&self.who, &self.scope);
        if !who.is_bot() && !matches!(self.kind, StateType::Conversation | StateType::User | StateType::Integration) {
            return Err(
                Refusal::forbidden(format!("an integration has no states of type \"{}\"", self.kind.name())).into()
            );
        }
        let exists = match self.kind {
            StateType::Conversation => conversations::exists(tx, who, id).await?,
            StateType::User => users::exists(tx, who, id).await?,
            StateType::Workflow => workflows::find(tx, who, id, false).await?.is_some(),
            StateType::Task => tasks::find(tx, who, id).await?.is_some(),
            StateType::Bot => id == who.bot.as_str(),
            StateType::Integration => return self.instance(tx).await,
        };
        if exists { Ok(id.clone()) } else { Err(Refusal::not_found(self.kind.name(), id).into()) }
    }

    /// States of an integration belong to the instance, whichever version of it runs.
    async fn instance(&self, tx: &mut Tx<'_>) -> Result<String> {
        let (who, id) = (&self.who, &self.scope);
        let own = match &who.view {
            View::Integration { alias, id: version, .. } => {
                let known = [&**alias, &**version, who.bot.as_str()].contains(&id.as_str());
                known.then(|| alias.to_string())
            }
            View::Bot if id == who.bot.as_str() => Some(id.clone()),
            View::Bot => {
                let sql = "SELECT alias FROM instances WHERE bot_id = ?1 AND (alias = ?2 OR integration_id = ?2) ORDER BY created_at LIMIT 1";
                tx.query_opt(sql, params![&who.bot, id]).await?.map(|mut row| row.text()).transpose()?
            }
        };
        own.ok_or_else(|| Error::Refused(Refusal::not_found("integration", id)))
    }

    async fn find(&self, tx: &mut Tx<'_>, scope: &str, lock: bool) -> Result<Option<State>> {
        let lock = if lock && tx.dialect() == Dialect::Postgres { " {for_update}" } else { "" };
        let sql = format!(
            "SELECT {COLUMNS} FROM states e WHERE e.bot_id = ?1 AND e.type = ?2 AND e.scope_id = ?3 AND e.owner = ?4 AND e.name = ?5{lock}"
        );
        let row = tx
            .query_opt(&sql, params![&self.who.bot, self.kind.name(), scope, self.who.view.owner(), &self.name])
            .await?;
        row.map(|mut row| stored(&self.who.bot, &mut row)).transpose()
    }

    fn missing(&self) -> Error {
        let text = format!(
            "No State found with type \"{}\", id \"{}\" and name \"{}\"",
            self.kind.name(),
            self.scope,
            self.name
        );
        Error::Refused(Refusal::new(ErrorKind::ResourceNotFound, text))
    }
}

fn is_live(state: &State, now: Timestamp) -> bool {
    state.expires_at.is_none_or(|at| at > now)
}

/// Removes an expired row that a write has come upon, telling the bot as the timers would.
async fn expire(tx: &mut Tx<'_>, key: &Key, state: State, scope: &str) -> Result<()> {
    remove(tx, key, scope).await?;
    if key.who.is_bot() {
        events::insert_pending(tx, "state_expired", &[expired_event(state)]).await?;
    }
    Ok(())
}

fn expired_event(state: State) -> Pending {
    #[derive(serde::Serialize)]
    struct Payload<'s> {
        state: &'s State,
    }
    Pending {
        bot: state.bot_id.as_str().to_owned(),
        payload: Json::of(&Payload { state: &state }),
        conversation: state.conversation_id,
        user: state.user_id,
    }
}

async fn remove(tx: &mut Tx<'_>, key: &Key, scope: &str) -> Result<()> {
    tx.execute(
        "DELETE FROM states WHERE bot_id = ?1 AND type = ?2 AND scope_id = ?3 AND owner = ?4 AND name = ?5",
        params![&key.who.bot, key.kind.name(), scope, key.who.view.owner(), &key.name],
    )
    .await?;
    Ok(())
}

/// Inserts or overwrites the row.
async fn put(tx: &mut Tx<'_>, key: &Key, scope: &str, state: &State) -> Result<()> {
    tx.execute(
        "INSERT INTO states (bot_id, type, scope_id, owner, name, id, payload, expiry, expires_at, created_at, updated_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) \
         ON CONFLICT (bot_id, type, scope_id, owner, name) DO UPDATE SET \
         payload = excluded.payload, expiry = excluded.expiry, expires_at = excluded.expires_at, updated_at = excluded.updated_at",
        params![
            &key.who.bot, key.kind.name(), scope, key.who.view.owner(), &key.name, &state.id, &state.payload, state.expiry,
            state.expires_at, state.created_at, state.updated_at
        ],
    )
    .await?;
    if let Some(at) = state.expires_at {
        tx.touches().due(at);
    }
    Ok(())
}

fn fresh(tx: &Tx<'_>, key: &Key, scope: &str, payload: &Json, expiry: Option<i64>) -> State {
    let now = tx.now();
    State {
        id: tx.ids().id(now),
        created_at: now,
        updated_at: now,
        bot_id: key.who.bot.clone(),
        conversation_id: (key.kind == StateType::Conversation).then(|| scope.to_owned()),
        user_id: (key.kind == StateType::User).then(|| scope.to_owned()),
        name: key.name.clone(),
        kind: key.kind,
        payload: payload.clone(),
        expiry,
        expires_at: expiry.map(|millis| now.plus_millis(millis)),
    }
}

/// The live row under this key, for writing. An expired one is removed on the way.
async fn live(tx: &mut Tx<'_>, key: &Key, scope: &str) -> Result<Option<State>> {
    // Two writers of a row that isn't there yet must not both create it.
    if tx.dialect() == Dialect::Postgres {
        tx.lock(&format!("state:{}:{}:{scope}:{}:{}", key.who.bot, key.kind.name(), key.who.view.owner(), key.name))
            .await?;
    }
    match key.find(tx, scope, true).await? {
        Some(state) if is_live(&state, tx.now()) => Ok(Some(state)),
        Some(expired) => expire(tx, key, expired, scope).await.map(|()| None),
        None => Ok(None),
    }
}

/// setState. `payload: null` deletes.
#[derive(Clone, Debug)]
pub struct Set {
    /// Which state.
    pub key: Key,
    /// JSON object, or `None` to delete.
    pub payload: Option<Json>,
    /// What becomes of its expiry.
    pub expiry: Expiry,
    /// Expiry of new rows, from the definition.
    pub default_expiry: Option<i64>,
}

impl Script for Set {
    type Out = State;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<State> {
        let key = &self.key;
        let scope = key.scope(tx).await?;
        let before = live(tx, key, &scope).await?;
        let Some(payload) = &self.payload else {
            let mut last = before.ok_or_else(|| key.missing())?;
            remove(tx, key, &scope).await?;
            last.payload = Json::empty_object();
            return Ok(last);
        };
        let expiry = self.expiry.resolve(before.as_ref().map(|state| state.expiry), self.default_expiry);
        let mut state = fresh(tx, key, &scope, payload, expiry);
        if let Some(before) = before {
            (state.id, state.created_at) = (before.id, before.created_at);
            state.updated_at = tx.now().max(before.updated_at);
        }
        put(tx, key, &scope, &state).await?;
        Ok(state)
    }
}

/// getOrSetState: an existing row stays as it is.
#[derive(Clone, Debug)]
pub struct GetOrSet {
    /// Which state.
    pub key: Key,
    /// JSON object.
    pub payload: Json,
    /// For a new row.
    pub expiry: Expiry,
    /// Expiry of new rows, from the definition.
    pub default_expiry: Option<i64>,
}

impl Script for GetOrSet {
    type Out = State;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<State> {
        let key = &self.key;
        let scope = key.scope(tx).await?;
        if let Some(mut state) = live(tx, key, &scope).await? {
            touch(tx, key, &scope, &mut state).await?;
            return Ok(state);
        }
        let state = fresh(tx, key, &scope, &self.payload, self.expiry.resolve(None, self.default_expiry));
        put(tx, key, &scope, &state).await?;
        Ok(state)
    }
}

/// patchState: a shallow merge; `null` is stored as `null`.
#[derive(Clone, Debug)]
pub struct Patch {
    /// Which state.
    pub key: Key,
    /// JSON object.
    pub payload: serde_json::Map<String, serde_json::Value>,
    /// What becomes of its expiry.
    pub expiry: Expiry,
    /// Most bytes that the merged payload may have.
    pub limit: usize,
    /// Checks the merged payload.
    pub check: Option<PayloadCheck>,
}

/// A check of a payload against its definition.
#[derive(Clone)]
pub struct PayloadCheck(pub(crate) std::sync::Arc<crate::definitions::StateDefinition>);

impl std::fmt::Debug for PayloadCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PayloadCheck")
    }
}

impl Script for Patch {
    type Out = State;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<State> {
        let key = &self.key;
        let scope = key.scope(tx).await?;
        let mut state = live(tx, key, &scope).await?.ok_or_else(|| key.missing())?;
        let mut payload: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(state.payload.text()).unwrap_or_default();
        payload.extend(self.payload.clone());
        let payload = serde_json::Value::Object(payload);
        if let Some(check) = &self.check {
            check.0.check(&payload)?;
        }
        state.payload = Json::of(&payload);
        if state.payload.text().len() > self.limit {
            return Err(too_large(self.limit, state.payload.text().len()).into());
        }
        state.expiry = self.expiry.resolve(Some(state.expiry), None);
        renew(tx, &mut state);
        put(tx, key, &scope, &state).await?;
        Ok(state)
    }
}

/// A payload beyond its limit.
pub fn too_large(limit: usize, length: usize) -> Refusal {
    Refusal::new(ErrorKind::PayloadTooLarge, format!("the payload has {length} bytes, at most {limit} are allowed"))
}

fn renew(tx: &Tx<'_>, state: &mut State) {
    state.updated_at = tx.now().max(state.updated_at);
    state.expires_at = state.expiry.map(|millis| tx.now().plus_millis(millis));
}

/// setStateExpiry.
#[derive(Clone, Debug)]
pub struct SetExpiry {
    /// Which state.
    pub key: Key,
    /// Idle milliseconds, or never.
    pub expiry: Option<i64>,
}

impl Script for SetExpiry {
    type Out = State;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<State> {
        let scope = self.key.scope(tx).await?;
        let mut state = live(tx, &self.key, &scope).await?.ok_or_else(|| self.key.missing())?;
        state.expiry = self.expiry;
        renew(tx, &mut state);
        put(tx, &self.key, &scope, &state).await?;
        Ok(state)
    }
}

/// deleteState. No event.
#[derive(Clone, Debug)]
pub struct Delete {
    /// Which state.
    pub key: Key,
}

impl Script for Delete {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let scope = self.key.scope(tx).await?;
        live(tx, &self.key, &scope).await?.ok_or_else(|| self.key.missing())?;
        remove(tx, &self.key, &scope).await
    }
}

struct Get(Key);

impl Script for Get {
    type Out = Option<State>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<State>> {
        let scope = self.0.scope(tx).await?;
        let found = self.0.find(tx, &scope, false).await?;
        Ok(found.filter(|state| is_live(state, tx.now())))
    }
}

/// Whether a read must restart the idle clock: kept to once per hundredth of the idle time.
fn is_stale(state: &State, now: Timestamp) -> bool {
    match (state.expiry, state.expires_at) {
        (Some(expiry), Some(at)) => now.plus_millis(expiry).millis() - at.millis() > expiry / 100,
        _ => false,
    }
}

async fn touch(tx: &mut Tx<'_>, key: &Key, scope: &str, state: &mut State) -> Result<()> {
    if let Some(expiry) = state.expiry.filter(|_| is_stale(state, tx.now())) {
        let at = tx.now().plus_millis(expiry);
        tx.execute(
            "UPDATE states SET expires_at = ?6 WHERE bot_id = ?1 AND type = ?2 AND scope_id = ?3 AND owner = ?4 AND name = ?5",
            params![&key.who.bot, key.kind.name(), scope, key.who.view.owner(), &key.name, at],
        )
        .await?;
        state.expires_at = Some(at);
        tx.touches().due(at);
    }
    Ok(())
}

/// A read that restarts the idle clock.
struct GetAndTouch(Key);

impl Script for GetAndTouch {
    type Out = State;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<State> {
        let scope = self.0.scope(tx).await?;
        let mut state = live(tx, &self.0, &scope).await?.ok_or_else(|| self.0.missing())?;
        touch(tx, &self.0, &scope, &mut state).await?;
        Ok(state)
    }
}

/// listStates (our superset).
struct List {
    key: Key,
    name: Option<String>,
    page: PageRequest,
}

impl Script for List {
    type Out = Page<State>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Page<State>> {
        let key = &self.key;
        let scope = match key.scope(tx).await {
            Ok(scope) => scope,
            // Unknown ids in filters yield an empty list.
            Err(Error::Refused(refusal)) if refusal.kind == ErrorKind::ResourceNotFound => {
                return Ok(Page { items: Vec::new(), next: None });
            }
            Err(error) => return Err(error),
        };
        let mut query = Query::new(&format!("SELECT e.created_at, e.id, {COLUMNS} FROM states e WHERE 1 = 1"));
        query.and("e.bot_id =", &key.who.bot);
        query.and("e.type =", key.kind.name());
        query.and("e.scope_id =", &scope);
        query.and("e.owner =", key.who.view.owner());
        if let Some(name) = &self.name {
            query.and("e.name =", name);
        }
        let now = query.bind(tx.now());
        query.text.push_str(&format!(" AND (e.expires_at IS NULL OR e.expires_at > {now})"));
        query.after(self.page.after.as_ref(), "e.created_at", "e.id", false);
        query.order("e.created_at", "e.id", false, self.page.size.get() + 1);
        let rows = query.run(tx).await?;
        crate::page::page(rows, self.page.size, |row| stored(&key.who.bot, row))
    }
}

/// Removes states whose time has come and tells their bots; answers how many.
pub(crate) async fn expire_due(tx: &mut Tx<'_>, limit: i64) -> Result<usize> {
    let sql = format!(
        "DELETE FROM states WHERE expires_at <= ?1 AND (bot_id, type, scope_id, owner, name) IN \
         (SELECT bot_id, type, scope_id, owner, name FROM states WHERE expires_at <= ?1 ORDER BY expires_at LIMIT {limit}) \
         RETURNING bot_id, owner, id, type, scope_id, name, payload, expiry, expires_at, created_at, updated_at"
    );
    let rows = tx.query(&sql, params![tx.now()]).await?;
    let count = rows.len();
    let mut told = Vec::with_capacity(count);
    for mut row in rows {
        let (bot, owner) = (row.id()?, row.text()?);
        let state = stored(&bot, &mut row)?;
        // Integrations are not told.
        if owner.is_empty() {
            told.push(expired_event(state));
        }
    }
    events::insert_pending(tx, "state_expired", &told).await?;
    Ok(count)
}

impl Store {
    /// getState: restarts the idle clock.
    pub async fn get_state(&self, key: Key) -> Result<State> {
        let script = Get(key);
        match self.read(&script).await? {
            Some(state) if is_stale(&state, self.now()) => self.write(GetAndTouch(script.0)).await,
            Some(state) => Ok(state),
            None => Err(script.0.missing()),
        }
    }

    /// listStates.
    pub async fn list_states(&self, key: Key, name: Option<String>, page: PageRequest) -> Result<Page<State>> {
        self.read(&List { key, name, page }).await
    }
}
