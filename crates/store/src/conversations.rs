//! Conversations (`spec/cloud/runtime.md` § 4).

use std::collections::HashMap;

use duologue_model::{
    Conversation, Error as Refusal, Identity, Json, Tags, Timestamp, View, id::ConversationId, tags::TagPatch,
};

use crate::{
    Error, Result, Store,
    page::{Page, PageRequest, Query, Range, Scan, Sort, moved},
    params,
    sql::{Row, padded},
    tag_index::{self, Discriminator},
    tx::{Script, Tx},
    webhooks,
};

pub(crate) const COLUMNS: &str = "e.id, e.owner, e.channel, e.tags, e.properties, e.current_task_id, e.current_workflow_id, e.message_count, e.created_at, e.updated_at";

/// Reads [`COLUMNS`]; tags stay under stored keys. `integration` is the owner.
pub(crate) fn stored(row: &mut Row) -> Result<Conversation> {
    Ok(Conversation {
        id: row.id()?,
        integration: row.text()?,
        channel: row.text()?,
        tags: row.tags()?,
        properties: row.opt_json()?,
        current_task_id: row.opt_text()?,
        current_workflow_id: row.opt_text()?,
        message_count: row.int()?,
        created_at: row.at()?,
        updated_at: row.at()?,
    })
}

pub(crate) fn seen_by(mut conversation: Conversation, who: &Identity) -> Conversation {
    conversation.tags = conversation.tags.seen_by(&who.view);
    conversation
}

/// The conversation, if the caller may see it.
pub(crate) async fn find(tx: &mut Tx<'_>, who: &Identity, id: &str, lock: bool) -> Result<Option<Conversation>> {
    let lock = if lock { " {for_update}" } else { "" };
    let sql = format!("SELECT {COLUMNS} FROM conversations e WHERE e.id = ?1 AND e.bot_id = ?2{lock}");
    let Some(mut row) = tx.query_opt(&sql, params![id, &who.bot]).await? else { return Ok(None) };
    let conversation = stored(&mut row)?;
    Ok((who.is_bot() || conversation.integration == who.view.owner()).then_some(conversation))
}

/// The conversations with these ids, by id.
pub(crate) async fn by_ids(tx: &mut Tx<'_>, ids: &[String]) -> Result<HashMap<String, Conversation>> {
    let mut found = HashMap::with_capacity(ids.len());
    for chunk in ids.chunks(256) {
        let (names, params) = padded(chunk, 0);
        let sql = format!("SELECT {COLUMNS} FROM conversations e WHERE e.id IN ({names})");
        for mut row in tx.query(&sql, &params).await? {
            let conversation = stored(&mut row)?;
            found.insert(conversation.id.as_str().to_owned(), conversation);
        }
    }
    Ok(found)
}

/// Whether there is such a conversation for the caller.
pub(crate) async fn exists(tx: &mut Tx<'_>, who: &Identity, id: &str) -> Result<bool> {
    let sql = "SELECT owner FROM conversations WHERE id = ?1 AND bot_id = ?2";
    let Some(mut row) = tx.query_opt(sql, params![id, &who.bot]).await? else { return Ok(false) };
    Ok(who.is_bot() || row.text()? == who.view.owner())
}

/// Refuses a conversation that doesn't exist or isn't the caller's, as the path's entity.
pub(crate) async fn named(tx: &mut Tx<'_>, who: &Identity, id: &str, lock: bool) -> Result<Conversation> {
    find(tx, who, id, lock).await?.ok_or_else(|| Error::Refused(Refusal::not_found("conversation", id)))
}

/// Refuses a conversation that doesn't exist or isn't the caller's, as a reference in a body.
pub(crate) async fn referenced(tx: &mut Tx<'_>, who: &Identity, id: &str) -> Result<Conversation> {
    find(tx, who, id, false).await?.ok_or_else(|| Error::Refused(Refusal::reference_not_found("conversation", id)))
}

/// What a new conversation is made of.
#[derive(Clone, Debug, Default)]
pub struct NewConversation {
    /// A channel of the caller's integration, or any name for the bot's own.
    pub channel: String,
    /// In the caller's view.
    pub tags: TagPatch,
    /// Free JSON object.
    pub properties: Option<Json>,
    /// A bot asks this integration instance to create the conversation.
    pub integration: Option<String>,
}

pub(crate) async fn insert(tx: &mut Tx<'_>, who: &Identity, new: &NewConversation) -> Result<Conversation> {
    if let Some(alias) = &new.integration {
        crate::integrations::refuse_to_delegate(who, alias)?;
    }
    if let View::Integration { id, name, .. } = &who.view {
        crate::integrations::check_channel(tx, id, name, &new.channel).await?;
    }
    let now = tx.now();
    let conversation = Conversation {
        id: tx.ids().id(now),
        current_task_id: None,
        current_workflow_id: None,
        created_at: now,
        updated_at: now,
        channel: new.channel.clone(),
        integration: who.view.owner().to_owned(),
        tags: Tags::create(&new.tags, &who.view)?,
        message_count: 0,
        properties: new.properties.clone(),
    };
    put(tx, who, &conversation).await?;
    webhooks::conversation_created(tx, who, &conversation).await?;
    Ok(seen_by(conversation, who))
}

/// Moves a conversation in the order of last change.
pub(crate) const MOVE: &str =
    "UPDATE conversation_order SET updated_at = ?4 WHERE bot_id = ?1 AND updated_at = ?2 AND conversation_id = ?3";

/// Writes a conversation whose tags are under stored keys.
pub(crate) async fn put(tx: &mut Tx<'_>, who: &Identity, conversation: &Conversation) -> Result<bool> {
    let tags = conversation.tags.text();
    let written = tx
        .execute(
            "INSERT INTO conversations (id, bot_id, owner, channel, tags, properties, current_task_id, current_workflow_id, \
             message_count, last_seq, last_at, created_at, updated_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, 0, 0, ?9, ?10) ON CONFLICT DO NOTHING",
            params![
                &conversation.id, &who.bot, &conversation.integration, &conversation.channel, &tags,
                conversation.properties.as_ref(), conversation.current_task_id.as_ref(),
                conversation.current_workflow_id.as_ref(), conversation.created_at, conversation.updated_at
            ],
        )
        .await?;
    if written > 0 {
        tx.execute(
            "INSERT INTO conversation_order (bot_id, updated_at, conversation_id) VALUES (?1, ?2, ?3)",
            params![&who.bot, conversation.updated_at, &conversation.id],
        )
        .await?;
        tag_index::update(
            tx,
            &who.bot,
            "c",
            conversation.id.as_str(),
            conversation.created_at,
            &Tags::default(),
            &conversation.tags,
        )
        .await?;
    }
    Ok(written > 0)
}

/// createConversation.
#[derive(Clone, Debug)]
pub struct Create {
    /// The caller.
    pub who: Identity,
    /// What to create.
    pub new: NewConversation,
}

impl Script for Create {
    type Out = Conversation;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Conversation> {
        insert(tx, &self.who, &self.new).await
    }
}

/// getOrCreateConversation. Answers whether it was created.
#[derive(Clone, Debug)]
pub struct GetOrCreate {
    /// The caller.
    pub who: Identity,
    /// What to create.
    pub new: NewConversation,
    /// Which tags count; all if empty.
    pub by: Vec<String>,
}

impl GetOrCreate {
    fn discriminator(&self) -> Discriminator {
        Discriminator { tags: self.new.tags.clone(), by: self.by.clone() }
    }

    async fn find(&self, tx: &mut Tx<'_>, by: &Discriminator) -> Result<Option<Conversation>> {
        let who = &self.who;
        let owner = self.new.integration.as_deref().unwrap_or(who.view.owner());
        let scope = |query: &mut Query| {
            query.and("e.owner =", owner);
            query.and("e.channel =", &self.new.channel);
        };
        let found = by.matches(tx, who, "conversations", "c", COLUMNS, scope, 1).await?;
        found.into_iter().next().map(|mut row| Ok(seen_by(stored(&mut row)?, who))).transpose()
    }
}

impl Script for GetOrCreate {
    type Out = (Conversation, bool);
    async fn run(&self, tx: &mut Tx<'_>) -> Result<(Conversation, bool)> {
        let by = self.discriminator();
        if by.compares() {
            by.lock(tx, &self.who, "c", &self.new.channel).await?;
            if let Some(conversation) = self.find(tx, &by).await? {
                return Ok((conversation, false));
            }
        }
        Ok((insert(tx, &self.who, &self.new).await?, true))
    }
}

struct GetExisting(GetOrCreate);

impl Script for GetExisting {
    type Out = Option<Conversation>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<Conversation>> {
        let by = self.0.discriminator();
        if by.compares() { self.0.find(tx, &by).await } else { Ok(None) }
    }
}

struct Get {
    who: Identity,
    id: String,
}

impl Script for Get {
    type Out = Conversation;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Conversation> {
        Ok(seen_by(named(tx, &self.who, &self.id, false).await?, &self.who))
    }
}

/// updateConversation. Absent fields stay.
#[derive(Clone, Debug)]
pub struct Update {
    /// The caller.
    pub who: Identity,
    /// Which conversation.
    pub id: String,
    /// Merged.
    pub tags: TagPatch,
    /// Replaced; the empty text clears.
    pub current_task_id: Option<String>,
    /// Replaced as a whole.
    pub properties: Option<Json>,
}

impl Script for Update {
    type Out = Conversation;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Conversation> {
        let before = named(tx, &self.who, &self.id, true).await?;
        let mut after = before.clone();
        after.tags.merge(&self.tags, &self.who.view)?;
        if let Some(task) = &self.current_task_id {
            if !task.is_empty() {
                crate::tasks::referenced(tx, &self.who, task).await?;
            }
            after.current_task_id = (!task.is_empty()).then(|| task.clone());
        }
        if let Some(properties) = &self.properties {
            after.properties = Some(properties.clone());
        }
        if after != before {
            after.updated_at = tx.now().max(before.updated_at.plus_millis(1));
            let tags = after.tags.text();
            tx.execute_all(&[
                (
                    "UPDATE conversations SET tags = ?2, current_task_id = ?3, properties = ?4, updated_at = ?5 WHERE id = ?1",
                    params![&self.id, &tags, after.current_task_id.as_ref(), after.properties.as_ref(), after.updated_at],
                ),
                (MOVE, params![&self.who.bot, before.updated_at, &self.id, after.updated_at]),
            ])
            .await?;
            tag_index::update(tx, &self.who.bot, "c", &self.id, after.created_at, &before.tags, &after.tags).await?;
            let scan = crate::bots::scan_until(tx, &self.who.bot).await?;
            moved(tx, &self.who.bot, "c", &self.id, before.updated_at.millis(), after.updated_at.millis(), scan)
                .await?;
            crate::outbox::conversation_updated(tx, &self.who, &before, &after).await?;
        }
        Ok(seen_by(after, &self.who))
    }
}

/// Enters a change into a conversation's feed, at the next instant of its clock. The caller has
/// locked the conversation.
pub(crate) async fn feed(tx: &mut Tx<'_>, id: &ConversationId, kind: &str, subject: &str) -> Result<Timestamp> {
    let row = tx.query_opt("SELECT last_at FROM conversations WHERE id = ?1", params![id]).await?;
    let last = row.map_or(Ok(Timestamp::default()), |mut row| row.at())?;
    let at = tx.now().max(last.plus_millis(1));
    tx.execute_all(&[
        ("UPDATE conversations SET last_at = ?2 WHERE id = ?1", params![id, at]),
        (
            "INSERT INTO feed (conversation_id, at, kind, subject) VALUES (?1, ?2, ?3, ?4)",
            params![id, at, kind, subject],
        ),
    ])
    .await?;
    tx.touches().conversation(id, at);
    Ok(at)
}

/// deleteConversation: with all that hangs on it; workflows keep their link.
#[derive(Clone, Debug)]
pub struct Delete {
    /// The caller.
    pub who: Identity,
    /// Which conversation.
    pub id: String,
}

impl Script for Delete {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        named(tx, &self.who, &self.id, true).await?;
        let (id, bot) = (&self.id, &self.who.bot);
        for (sql, params) in [
            (
                "DELETE FROM outbox WHERE bot_id = ?1 AND id IN (SELECT id FROM events WHERE conversation_id = ?2)",
                params![bot, id],
            ),
            (
                "DELETE FROM outbox WHERE bot_id = ?1 AND id IN (SELECT id FROM messages WHERE conversation_id = ?2)",
                params![bot, id],
            ),
            (
                "DELETE FROM outbox WHERE bot_id = ?1 AND id IN \
                 (SELECT 'evt' || substr(id, 4) FROM messages WHERE conversation_id = ?2 AND announced = 1)",
                params![bot, id],
            ),
            (
                "DELETE FROM outbox WHERE bot_id = ?1 AND kind IN ('message_updated', 'conversation_updated') AND lane = ?2",
                params![bot, id],
            ),
            ("DELETE FROM dead_letters WHERE bot_id = ?1 AND lane = ?2", params![bot, id]),
            (
                "DELETE FROM delivery_attempts WHERE bot_id = ?1 AND id IN (SELECT id FROM events WHERE conversation_id = ?2)",
                params![bot, id],
            ),
            (
                "DELETE FROM delivery_attempts WHERE bot_id = ?1 AND id IN (SELECT id FROM messages WHERE conversation_id = ?2)",
                params![bot, id],
            ),
            (
                "DELETE FROM delivery_attempts WHERE bot_id = ?1 AND id IN \
                 (SELECT 'evt' || substr(id, 4) FROM messages WHERE conversation_id = ?2 AND announced > 0)",
                params![bot, id],
            ),
            ("DELETE FROM events WHERE conversation_id = ?1", params![id]),
            (
                "DELETE FROM entity_tags WHERE kind = 'm' AND entity_id IN (SELECT id FROM messages WHERE conversation_id = ?1)",
                params![id],
            ),
            (
                "DELETE FROM entity_tags WHERE entity_id IN (SELECT id FROM scheduled_messages WHERE conversation_id = ?1)",
                params![id],
            ),
            ("DELETE FROM messages WHERE conversation_id = ?1", params![id]),
            ("DELETE FROM scheduled_messages WHERE conversation_id = ?1", params![id]),
            ("DELETE FROM participants WHERE conversation_id = ?1", params![id]),
            ("DELETE FROM feed WHERE conversation_id = ?1", params![id]),
            ("DELETE FROM states WHERE bot_id = ?1 AND type = 'conversation' AND scope_id = ?2", params![bot, id]),
            ("DELETE FROM past_positions WHERE bot_id = ?1 AND kind = 'c' AND id = ?2", params![bot, id]),
            (
                "DELETE FROM conversation_order WHERE bot_id = ?1 AND conversation_id = ?2 \
                 AND updated_at = (SELECT updated_at FROM conversations WHERE id = ?2)",
                params![bot, id],
            ),
            ("DELETE FROM conversations WHERE id = ?1", params![id]),
            ("DELETE FROM v12_turns WHERE conversation_id = ?1", params![id]),
            ("DELETE FROM v12_conversations WHERE conversation_id = ?1", params![id]),
            // A conversation of the Cloud API is its own user to a bot of v12.
            ("DELETE FROM v12_users WHERE channel = 'api' AND user_id = ?1", params![id]),
        ] {
            tx.execute(sql, params).await?;
        }
        let at = tx.now();
        tx.touches().conversation(&ConversationId::new(id.as_str()), at);
        tx.touches().erased();
        webhooks::forget_conversation(tx, id).await?;
        tag_index::forget(tx, id).await
    }
}

/// listConversations.
#[derive(Clone, Debug)]
pub struct List {
    /// The caller.
    pub who: Identity,
    /// Stored keys and values; an empty value means absent.
    pub tags: Vec<(String, String)>,
    /// All of these take part.
    pub participants: Vec<String>,
    /// Owned by this instance.
    pub integration: Option<String>,
    /// On this channel.
    pub channel: Option<String>,
    /// Bounds on creation.
    pub range: Range,
    /// At least this many messages.
    pub min_messages: Option<i64>,
    /// At most this many messages.
    pub max_messages: Option<i64>,
    /// The order.
    pub sort: Sort,
    /// Which page.
    pub page: PageRequest,
    /// Where the scan began, if that matters.
    pub snapshot: Option<i64>,
}

impl Scan for List {
    type Item = Conversation;
    const TABLE: &'static str = "conversations";
    const KIND: &'static str = "c";
    const ORDER: Option<(&'static str, &'static str)> = Some(("conversation_order", "conversation_id"));
    const COLUMNS: &'static str = COLUMNS;

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
    fn participant(&self) -> Option<&str> {
        self.participants.first().map(String::as_str)
    }
    fn filter(&self, query: &mut Query) {
        for user in &self.participants {
            query.takes_part(user);
        }
        if let Some(alias) = &self.integration {
            query.and("e.owner =", alias);
        }
        if let Some(channel) = &self.channel {
            query.and("e.channel =", channel);
        }
        if let Some(least) = self.min_messages {
            query.and("e.message_count >=", least);
        }
        if let Some(most) = self.max_messages {
            query.and("e.message_count <=", most);
        }
        self.range.apply(query, "e.created_at");
    }
    fn item(&self, row: &mut Row) -> Result<Conversation> {
        Ok(seen_by(stored(row)?, &self.who))
    }
}

impl Store {
    /// getConversation.
    pub async fn get_conversation(&self, who: Identity, id: String) -> Result<Conversation> {
        self.read(&Get { who, id }).await
    }

    /// The conversation that a getOrCreateConversation would find.
    pub async fn find_conversation(&self, wanted: &GetOrCreate) -> Result<Option<Conversation>> {
        self.read(&GetExisting(wanted.clone())).await
    }

    /// listConversations.
    pub async fn list_conversations(&self, list: List) -> Result<Page<Conversation>> {
        self.scan(list).await
    }
}
