//! The index of tags, and what is found by it: matches for get-or-create, and the values of a tag
//! (`spec/cloud/runtime.md` § 9).

use duologue_model::{Error as Refusal, Identity, Tags, Timestamp, View, id::BotId, tags::TagPatch};

use crate::{
    Result, Store,
    page::{Cursor, Page, PageRequest, Query},
    params,
    sql::{Param, Row},
    tx::{Script, Tx},
};

/// Brings the index from `old` to `new`.
pub(crate) async fn update(
    tx: &mut Tx<'_>,
    bot: &BotId,
    kind: &str,
    id: &str,
    created_at: Timestamp,
    old: &Tags,
    new: &Tags,
) -> Result<()> {
    for (key, value) in &old.0 {
        if new.0.get(key) != Some(value) {
            tx.execute(
                "DELETE FROM entity_tags WHERE bot_id = ?1 AND kind = ?2 AND key = ?3 AND value = ?4 AND created_at = ?5 AND entity_id = ?6",
                params![bot, kind, key, value, created_at, id],
            )
            .await?;
        }
    }
    let mut added: Vec<Param<'_>> = Vec::new();
    for (key, value) in &new.0 {
        if old.0.get(key) != Some(value) {
            added.extend([bot.into(), kind.into(), key.into(), value.into(), created_at.into(), id.into()]);
        }
    }
    if !added.is_empty() {
        tx.insert_many(
            "INSERT INTO entity_tags (bot_id, kind, key, value, created_at, entity_id)",
            6,
            &added,
            "ON CONFLICT DO NOTHING",
        )
        .await?;
    }
    Ok(())
}

/// Removes all of an entity's tags from the index.
pub(crate) async fn forget(tx: &mut Tx<'_>, id: &str) -> Result<()> {
    tx.execute("DELETE FROM entity_tags WHERE entity_id = ?1", params![id]).await?;
    Ok(())
}

/// What a get-or-create compares by.
#[derive(Clone, Debug, Default)]
pub struct Discriminator {
    /// The tags of the request.
    pub tags: TagPatch,
    /// Only these names count; all of the caller's view if empty.
    pub by: Vec<String>,
}

impl Discriminator {
    /// Whether anything is left to compare; otherwise an entity is always created.
    pub fn compares(&self) -> bool {
        let set = |value: &Option<String>| value.as_deref().is_some_and(|value| !value.is_empty());
        if self.by.is_empty() {
            self.tags.values().any(set)
        } else {
            self.by.iter().any(|name| self.tags.get(name).is_some_and(set))
        }
    }

    /// Names what is compared, for locks.
    fn fingerprint(&self, view: &View) -> String {
        let mut text = String::new();
        let names: Vec<&String> =
            if self.by.is_empty() { self.tags.keys().collect() } else { self.by.iter().collect() };
        let mut pairs: Vec<(String, &str)> = names
            .into_iter()
            .map(|name| (view.stored_key(name), self.tags.get(name).and_then(|value| value.as_deref()).unwrap_or("")))
            .collect();
        pairs.sort();
        for (key, value) in pairs {
            text.push_str(&format!("{key:?}={value:?};"));
        }
        text
    }

    /// Holds back concurrent get-or-creates of the same.
    pub(crate) async fn lock(&self, tx: &mut Tx<'_>, who: &Identity, kind: &str, scope: &str) -> Result<()> {
        // Whoever compares by some tags and whoever compares by all must meet: the lock is on the
        // first compared pair only, which both name.
        let print = self.fingerprint(&who.view);
        let first = print.split_inclusive(';').next().unwrap_or("");
        tx.lock(&format!("tags:{}:{}:{kind}:{scope}:{first}", who.bot, who.view.owner())).await
    }

    /// The matching entities of `table`, oldest first, at most `limit`. Selects `columns` of `e`
    /// after the entity's tags.
    #[allow(clippy::too_many_arguments)]
    pub(crate) async fn matches(
        &self,
        tx: &mut Tx<'_>,
        who: &Identity,
        table: &str,
        kind: &str,
        columns: &str,
        extra: impl Fn(&mut Query),
        limit: usize,
    ) -> Result<Vec<Row>> {
        let wanted = Tags::create(&self.tags, &who.view)?;
        let compared: Vec<(String, String)> = if self.by.is_empty() {
            wanted.0.clone().into_iter().collect()
        } else {
            self.by
                .iter()
                .map(|name| who.view.stored_key(name))
                .map(|key| (key.clone(), wanted.0.get(&key).cloned().unwrap_or_default()))
                .collect()
        };
        let Some(driver) = compared.iter().position(|(_, value)| !value.is_empty()) else {
            return Ok(Vec::new());
        };
        let mut after: Option<(i64, String)> = None;
        let mut found = Vec::new();
        loop {
            const CHUNK: usize = 50;
            let mut query = Query::new(&format!(
                "SELECT d.created_at, d.entity_id, e.tags, {columns} FROM entity_tags d CROSS JOIN {table} e WHERE e.id = d.entity_id"
            ));
            query.and("d.bot_id =", &who.bot);
            query.and("d.kind =", kind);
            query.and("d.key =", &compared[driver].0);
            query.and("d.value =", &compared[driver].1);
            for (index, (key, value)) in compared.iter().enumerate() {
                if index != driver {
                    query.tagged(kind, who.bot.as_str(), key, value);
                }
            }
            if self.by.is_empty() && who.is_bot() {
                query.and("e.tags =", wanted.text());
            }
            extra(&mut query);
            let cursor = after.take().map(|(pos, id)| Cursor { pos, id, snapshot: None });
            query.after(cursor.as_ref(), "d.created_at", "d.entity_id", true);
            query.order("d.created_at", "d.entity_id", true, CHUNK);
            let rows = query.run(tx).await?;
            let full = rows.len() == CHUNK;
            for mut row in rows {
                let at = (row.int()?, row.text()?);
                let tags = row.tags()?;
                after = Some(at);
                let equal = !self.by.is_empty() || tags.seen_by(&who.view) == wanted.seen_by(&who.view);
                if equal {
                    found.push(row);
                    if found.len() == limit {
                        return Ok(found);
                    }
                }
            }
            if !full {
                return Ok(found);
            }
        }
    }
}

/// The kinds whose values can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tagged {
    /// Users.
    User,
    /// Conversations.
    Conversation,
    /// Messages.
    Message,
}

impl Tagged {
    /// From the word on the wire.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "user" => Some(Tagged::User),
            "conversation" => Some(Tagged::Conversation),
            "message" => Some(Tagged::Message),
            _ => None,
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Tagged::User => "u",
            Tagged::Conversation => "c",
            Tagged::Message => "m",
        }
    }
}

struct Values {
    who: Identity,
    kind: Tagged,
    key: String,
    page: PageRequest,
}

impl Script for Values {
    type Out = Page<String>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Page<String>> {
        let kind = self.kind.kind();
        let mut previous = self.page.after.as_ref().map(|cursor| cursor.id.clone()).unwrap_or_default();
        let mut items = Vec::new();
        let mut next = None;
        // One step of the index a value, however many entities carry it.
        while let Some(mut row) = tx
            .query_opt(
                "SELECT value FROM entity_tags WHERE bot_id = ?1 AND kind = ?2 AND key = ?3 AND value > ?4 ORDER BY value LIMIT 1",
                params![&self.who.bot, kind, &self.key, &previous],
            )
            .await?
        {
            if items.len() == self.page.size.get() {
                next = Some(Cursor { pos: 0, id: previous, snapshot: None });
                break;
            }
            previous = row.text()?;
            items.push(previous.clone());
        }
        Ok(Page { items, next })
    }
}

impl Store {
    /// The distinct values of a tag, ascending.
    pub async fn list_tag_values(
        &self,
        who: Identity,
        kind: Tagged,
        key: String,
        page: PageRequest,
    ) -> Result<Page<String>> {
        if !who.is_bot() {
            return Err(Refusal::forbidden("tag values are for the bot only, not for integrations").into());
        }
        self.read(&Values { who, kind, key, page }).await
    }
}
