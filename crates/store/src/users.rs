//! Users (`spec/cloud/runtime.md` § 6).

use std::collections::{BTreeMap, HashMap};

use duologue_model::{
    Error as Refusal, ErrorKind, Identity, Json, Tags, Timestamp, User,
    id::{ConversationId, UserId},
    tags::TagPatch,
};

use crate::{
    Error, Result, Store,
    page::{Page, PageRequest, Query, Range, Scan, Sort, SortField, moved},
    params,
    sql::{Row, padded},
    tag_index::{self, Discriminator},
    tx::{Script, Tx},
    v12, webhooks,
};

pub(crate) const COLUMNS: &str =
    "e.owner, e.tags, e.name, e.picture_url, e.properties, e.attributes, e.created_at, e.updated_at";

/// A user as it is stored: with its owner, and tags under stored keys.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) owner: String,
    pub(crate) user: User,
}

/// Reads [`COLUMNS`].
pub(crate) fn stored(id: UserId, row: &mut Row) -> Result<Stored> {
    let owner = row.text()?;
    let (tags, name, picture_url) = (row.tags()?, row.opt_text()?, row.opt_text()?);
    let (properties, attributes) = (row.opt_json()?, row.opt_json()?);
    let (created_at, updated_at) = (row.at()?, row.at()?);
    Ok(Stored { owner, user: User { id, created_at, updated_at, tags, name, picture_url, properties, attributes } })
}

impl Stored {
    pub(crate) fn seen_by(mut self, who: &Identity) -> User {
        self.user.tags = self.user.tags.seen_by(&who.view);
        self.user
    }

    /// Everybody may fetch the bot's own user; integrations otherwise only theirs.
    pub(crate) fn is_visible(&self, who: &Identity) -> bool {
        who.is_bot() || self.owner == who.view.owner() || self.user.id.as_str() == who.bot.as_str()
    }
}

/// The user, if the caller may see it.
pub(crate) async fn find(tx: &mut Tx<'_>, who: &Identity, id: &str, lock: bool) -> Result<Option<Stored>> {
    let sql = if lock {
        "SELECT e.owner, e.tags, e.name, e.picture_url, e.properties, e.attributes, e.created_at, e.updated_at FROM users e WHERE e.id = ?1 AND e.bot_id = ?2 {for_update}"
    } else {
        "SELECT e.owner, e.tags, e.name, e.picture_url, e.properties, e.attributes, e.created_at, e.updated_at FROM users e WHERE e.id = ?1 AND e.bot_id = ?2"
    };
    let Some(mut row) = tx.query_opt(sql, params![id, &who.bot]).await? else { return Ok(None) };
    let user = stored(UserId::new(id), &mut row)?;
    Ok(user.is_visible(who).then_some(user))
}

/// The users with these ids, by id.
pub(crate) async fn by_ids(tx: &mut Tx<'_>, ids: &[String]) -> Result<HashMap<String, User>> {
    let mut found = HashMap::with_capacity(ids.len());
    for chunk in ids.chunks(256) {
        let (names, params) = padded(chunk, 0);
        let sql = format!("SELECT e.id, {COLUMNS} FROM users e WHERE e.id IN ({names})");
        for mut row in tx.query(&sql, &params).await? {
            let id: UserId = row.id()?;
            found.insert(id.as_str().to_owned(), stored(id, &mut row)?.user);
        }
    }
    Ok(found)
}

/// Whether there is such a user for the caller.
pub(crate) async fn exists(tx: &mut Tx<'_>, who: &Identity, id: &str) -> Result<bool> {
    let sql = "SELECT owner FROM users WHERE id = ?1 AND bot_id = ?2";
    let Some(mut row) = tx.query_opt(sql, params![id, &who.bot]).await? else { return Ok(false) };
    Ok(who.is_bot() || row.text()? == who.view.owner() || id == who.bot.as_str())
}

/// What a new user is made of.
#[derive(Clone, Debug, Default)]
pub struct NewUser {
    /// In the caller's view.
    pub tags: TagPatch,
    /// Up to 200 characters.
    pub name: Option<String>,
    /// Up to 40,000 characters.
    pub picture_url: Option<String>,
    /// Free JSON object.
    pub properties: Option<Json>,
    /// Texts by name.
    pub attributes: BTreeMap<String, Option<String>>,
    /// A bot asks this integration instance to create the user.
    pub integration: Option<String>,
}

fn attributes(given: &BTreeMap<String, Option<String>>, old: Option<&Json>) -> Option<Json> {
    let mut all: BTreeMap<String, String> =
        old.map(|old| serde_json::from_str(old.text()).unwrap_or_default()).unwrap_or_default();
    for (key, value) in given {
        match value {
            Some(value) => all.insert(key.clone(), value.clone()),
            None => all.remove(key),
        };
    }
    (old.is_some() || !all.is_empty()).then(|| Json::of(&all))
}

pub(crate) async fn insert(tx: &mut Tx<'_>, who: &Identity, new: &NewUser) -> Result<User> {
    if let Some(alias) = &new.integration {
        crate::integrations::refuse_to_delegate(who, alias)?;
    }
    let now = tx.now();
    let user = User {
        id: tx.ids().id(now),
        created_at: now,
        updated_at: now,
        tags: Tags::create(&new.tags, &who.view)?,
        name: new.name.clone(),
        picture_url: new.picture_url.clone(),
        properties: new.properties.clone(),
        attributes: attributes(&new.attributes, None),
    };
    put(tx, who, who.view.owner(), &user).await?;
    webhooks::user_created(tx, who, &user).await?;
    Ok(Stored { owner: String::new(), user }.seen_by(who))
}

/// Writes a user whose tags are under stored keys.
pub(crate) async fn put(tx: &mut Tx<'_>, who: &Identity, owner: &str, user: &User) -> Result<bool> {
    let tags = user.tags.text();
    let written = tx
        .execute(
            "INSERT INTO users (id, bot_id, owner, name, picture_url, tags, properties, attributes, created_at, updated_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING",
            params![
                &user.id, &who.bot, owner, user.name.as_ref(), user.picture_url.as_ref(), &tags, user.properties.as_ref(),
                user.attributes.as_ref(), user.created_at, user.updated_at
            ],
        )
        .await?;
    if written > 0 {
        tag_index::update(tx, &who.bot, "u", user.id.as_str(), user.created_at, &Tags::default(), &user.tags).await?;
    }
    Ok(written > 0)
}

/// createUser.
#[derive(Clone, Debug)]
pub struct Create {
    /// The caller.
    pub who: Identity,
    /// What to create.
    pub new: NewUser,
}

impl Script for Create {
    type Out = User;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<User> {
        insert(tx, &self.who, &self.new).await
    }
}

/// getOrCreateUser. Answers whether it was created.
#[derive(Clone, Debug)]
pub struct GetOrCreate {
    /// The caller.
    pub who: Identity,
    /// What to create.
    pub new: NewUser,
    /// Which tags count; all if empty.
    pub by: Vec<String>,
}

impl GetOrCreate {
    fn discriminator(&self) -> Discriminator {
        Discriminator { tags: self.new.tags.clone(), by: self.by.clone() }
    }

    async fn find(&self, tx: &mut Tx<'_>, by: &Discriminator) -> Result<Option<User>> {
        let who = &self.who;
        let owner = |query: &mut Query| {
            if !who.is_bot() {
                query.and("e.owner =", who.view.owner());
            } else if let Some(alias) = &self.new.integration {
                query.and("e.owner =", alias);
            }
        };
        let columns = format!("e.id, {COLUMNS}");
        let found = by.matches(tx, who, "users", "u", &columns, owner, 1).await?;
        found.into_iter().next().map(|mut row| Ok(stored(row.id()?, &mut row)?.seen_by(who))).transpose()
    }
}

impl Script for GetOrCreate {
    type Out = (User, bool);
    async fn run(&self, tx: &mut Tx<'_>) -> Result<(User, bool)> {
        let by = self.discriminator();
        if by.compares() {
            by.lock(tx, &self.who, "u", "").await?;
            if let Some(user) = self.find(tx, &by).await? {
                return Ok((user, false));
            }
        }
        Ok((insert(tx, &self.who, &self.new).await?, true))
    }
}

/// The same, as far as reading goes: most calls find what they ask for.
struct GetExisting(GetOrCreate);

impl Script for GetExisting {
    type Out = Option<User>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<User>> {
        let by = self.0.discriminator();
        if by.compares() { self.0.find(tx, &by).await } else { Ok(None) }
    }
}

struct Get {
    who: Identity,
    id: String,
}

impl Script for Get {
    type Out = User;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<User> {
        let found = find(tx, &self.who, &self.id, false).await?;
        Ok(found.ok_or_else(|| Refusal::not_found("user", &self.id))?.seen_by(&self.who))
    }
}

/// updateUser. Absent fields stay; `Some(None)` clears.
#[derive(Clone, Debug)]
pub struct Update {
    /// The caller.
    pub who: Identity,
    /// Which user.
    pub id: String,
    /// Merged.
    pub tags: TagPatch,
    /// Replaced or cleared.
    pub name: Option<Option<String>>,
    /// Replaced or cleared.
    pub picture_url: Option<Option<String>>,
    /// Replaced as a whole.
    pub properties: Option<Json>,
    /// Merged; `None` removes.
    pub attributes: BTreeMap<String, Option<String>>,
}

impl Script for Update {
    type Out = User;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<User> {
        let mut found =
            find(tx, &self.who, &self.id, true).await?.ok_or_else(|| Refusal::not_found("user", &self.id))?;
        let before = found.user.clone();
        let user = &mut found.user;
        user.tags.merge(&self.tags, &self.who.view)?;
        if let Some(name) = &self.name {
            user.name.clone_from(name);
        }
        if let Some(picture) = &self.picture_url {
            user.picture_url.clone_from(picture);
        }
        if let Some(properties) = &self.properties {
            user.properties = Some(properties.clone());
        }
        if !self.attributes.is_empty() {
            user.attributes = attributes(&self.attributes, user.attributes.as_ref());
        }
        if *user != before {
            user.updated_at = tx.now().max(before.updated_at.plus_millis(1));
            let tags = user.tags.text();
            tx.execute(
                "UPDATE users SET tags = ?2, name = ?3, picture_url = ?4, properties = ?5, attributes = ?6, updated_at = ?7 WHERE id = ?1",
                params![
                    &user.id, &tags, user.name.as_ref(), user.picture_url.as_ref(), user.properties.as_ref(),
                    user.attributes.as_ref(), user.updated_at
                ],
            )
            .await?;
            tag_index::update(tx, &self.who.bot, "u", user.id.as_str(), user.created_at, &before.tags, &user.tags)
                .await?;
            let scan = crate::bots::scan_until(tx, &self.who.bot).await?;
            moved(tx, &self.who.bot, "u", &self.id, before.updated_at.millis(), user.updated_at.millis(), scan).await?;
        }
        Ok(found.seen_by(&self.who))
    }
}

/// deleteUser: its states and participations go, and what was recorded about it outside of conversations and
/// workflows; its messages stay readable.
#[derive(Clone, Debug)]
pub struct Delete {
    /// The caller.
    pub who: Identity,
    /// Which user.
    pub id: String,
}

impl Script for Delete {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        if self.id == self.who.bot.as_str() {
            return Err(
                Refusal::new(ErrorKind::ReferenceConstraint, "the bot's own user goes only with the bot").into()
            );
        }
        find(tx, &self.who, &self.id, true).await?.ok_or_else(|| Refusal::not_found("user", &self.id))?;
        let id = &self.id;
        v12::forget_user(tx, &self.who.bot, id).await?;
        tx.execute_all(&[
            ("DELETE FROM users WHERE id = ?1", params![id]),
            ("DELETE FROM participants WHERE user_id = ?1", params![id]),
            ("DELETE FROM states WHERE bot_id = ?1 AND type = 'user' AND scope_id = ?2", params![&self.who.bot, id]),
            ("DELETE FROM past_positions WHERE bot_id = ?1 AND kind = 'u' AND id = ?2", params![&self.who.bot, id]),
        ])
        .await?;
        const EVENTS: &str = "FROM events WHERE user_id = ?1 AND (status = 'scheduled' OR conversation_id IS NULL AND workflow_id IS NULL)";
        for table in ["outbox", "dead_letters", "delivery_attempts"] {
            let sql = format!("DELETE FROM {table} WHERE bot_id = ?2 AND id IN (SELECT id {EVENTS})");
            tx.execute(&sql, params![id, &self.who.bot]).await?;
        }
        tx.execute(&format!("DELETE {EVENTS}"), params![id]).await?;
        webhooks::forget_subject(tx, id).await?;
        tag_index::forget(tx, id).await
    }
}

/// listUsers.
#[derive(Clone, Debug)]
pub struct List {
    /// The caller.
    pub who: Identity,
    /// Only who took part in this conversation, or wrote in it.
    pub conversation: Option<String>,
    /// Stored keys and values; an empty value means absent.
    pub tags: Vec<(String, String)>,
    /// Bounds.
    pub range: Range,
    /// Which instant the bounds are on.
    pub range_field: SortField,
    /// The order.
    pub sort: Sort,
    /// Which page.
    pub page: PageRequest,
    /// Where the scan began, if that matters.
    pub snapshot: Option<i64>,
}

impl Scan for List {
    type Item = User;
    const TABLE: &'static str = "users";
    const KIND: &'static str = "u";
    const COLUMNS: &'static str = COLUMNS_WITH_ID;

    fn who(&self) -> &Identity {
        &self.who
    }
    fn sort(&self) -> Sort {
        self.sort
    }
    fn page(&self) -> &PageRequest {
        &self.page
    }
    fn set_snapshot(&mut self, at: i64) {
        self.snapshot = Some(at);
    }
    fn snapshot(&self) -> Option<i64> {
        self.snapshot.or_else(|| self.page.after.as_ref().and_then(|cursor| cursor.snapshot))
    }
    fn tags(&self) -> &[(String, String)] {
        &self.tags
    }
    fn filter(&self, query: &mut Query) {
        if !self.who.is_bot() {
            query.and("e.id <>", &self.who.bot);
        }
        if let Some(conversation) = &self.conversation {
            let id = query.bind(conversation);
            query.text.push_str(&format!(
                " AND EXISTS (SELECT 1 FROM participants y WHERE y.conversation_id = {id} AND y.user_id = e.id)"
            ));
        }
        self.range.apply(query, if self.range_field == SortField::UpdatedAt { "e.updated_at" } else { "e.created_at" });
    }
    fn item(&self, row: &mut Row) -> Result<User> {
        let id = row.id()?;
        Ok(stored(id, row)?.seen_by(&self.who))
    }
}

const COLUMNS_WITH_ID: &str =
    "e.id, e.owner, e.tags, e.name, e.picture_url, e.properties, e.attributes, e.created_at, e.updated_at";

/// Users of one conversation in the order of their creation: few of many, so the participants'
/// own index drives.
struct ListOfConversation(List, ConversationId);

impl Script for ListOfConversation {
    type Out = Page<User>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Page<User>> {
        let list = &self.0;
        let mut query = Query::new(&format!(
            "SELECT d.user_created_at, d.user_id, e.id, {COLUMNS} FROM participants d CROSS JOIN users e WHERE e.id = d.user_id"
        ));
        query.and("d.conversation_id =", &self.1);
        query.and("d.bot_id =", &list.who.bot);
        if !list.who.is_bot() {
            query.and("e.owner =", list.who.view.owner());
        }
        for (key, value) in &list.tags {
            query.tagged("u", list.who.bot.as_str(), key, value);
        }
        list.range
            .apply(&mut query, if list.range_field == SortField::UpdatedAt { "e.updated_at" } else { "e.created_at" });
        query.after(list.page.after.as_ref(), "d.user_created_at", "d.user_id", list.sort.ascending);
        query.order("d.user_created_at", "d.user_id", list.sort.ascending, list.page.size.get() + 1);
        let rows = query.run(tx).await?;
        crate::page::page(rows, list.page.size, |row| list.item(row))
    }
}

impl Store {
    /// getUser.
    pub async fn get_user(&self, who: Identity, id: String) -> Result<User> {
        self.read(&Get { who, id }).await
    }

    /// The user that a getOrCreateUser would find.
    pub async fn find_user(&self, wanted: &GetOrCreate) -> Result<Option<User>> {
        self.read(&GetExisting(wanted.clone())).await
    }

    /// listUsers.
    pub async fn list_users(&self, list: List) -> Result<Page<User>> {
        match &list.conversation {
            Some(id) if list.sort.field == SortField::CreatedAt => {
                let id = ConversationId::new(id.as_str());
                self.read(&ListOfConversation(list, id)).await
            }
            _ => self.scan(list).await,
        }
    }
}

/// Refuses a user that doesn't exist or isn't the caller's, as a reference in a body.
pub(crate) async fn referenced(tx: &mut Tx<'_>, who: &Identity, id: &str) -> Result<Stored> {
    find(tx, who, id, false).await?.ok_or_else(|| Error::Refused(Refusal::reference_not_found("user", id)))
}

/// The bot's own user, made with the bot.
pub(crate) async fn insert_bot_user(tx: &mut Tx<'_>, who: &Identity, name: &str, at: Timestamp) -> Result<()> {
    let user = User {
        id: who.bot.as_user(),
        created_at: at,
        updated_at: at,
        tags: Tags::default(),
        name: Some(name.chars().take(200).collect()),
        picture_url: None,
        properties: None,
        attributes: None,
    };
    put(tx, who, "", &user).await?;
    Ok(())
}

/// Gives the bot's own user the instants and properties it had where an export is from. Only while it
/// takes part in no conversation: from then on it has a history here.
pub(crate) async fn adopt_bot_user(tx: &mut Tx<'_>, who: &Identity, exported: &User) -> Result<()> {
    let sql = "SELECT conversation_id FROM participants WHERE user_id = ?1 LIMIT 1";
    if tx.query_opt(sql, params![&exported.id]).await?.is_some() {
        return Ok(());
    }
    let Some(Stored { user: before, .. }) = find(tx, who, exported.id.as_str(), true).await? else { return Ok(()) };
    let tags = exported.tags.text();
    tx.execute(
        "UPDATE users SET tags = ?2, name = ?3, picture_url = ?4, properties = ?5, attributes = ?6, created_at = ?7, updated_at = ?8 \
         WHERE id = ?1",
        params![
            &exported.id, &tags, exported.name.as_ref(), exported.picture_url.as_ref(), exported.properties.as_ref(),
            exported.attributes.as_ref(), exported.created_at, exported.updated_at
        ],
    )
    .await?;
    // The index of tags holds the instant of creation, too.
    let (id, none) = (exported.id.as_str(), Tags::default());
    tag_index::update(tx, &who.bot, "u", id, before.created_at, &before.tags, &none).await?;
    tag_index::update(tx, &who.bot, "u", id, exported.created_at, &none, &exported.tags).await?;
    let scan = crate::bots::scan_until(tx, &who.bot).await?;
    moved(tx, &who.bot, "u", id, before.updated_at.millis(), exported.updated_at.millis(), scan).await
}
