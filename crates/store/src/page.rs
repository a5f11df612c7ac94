//! Pages of a list: keyset cursors and the one query that reads them.
//!
//! A page holds the rows after a position in a total order of (instant, id). Positions don't move
//! in the order of creation, so such a scan is complete by itself. In the order of last change
//! they do; there a scan reads the order as it stood when it began (see `past_positions` in the
//! schema): every entity that existed throughout is returned exactly once, however often it
//! changes meanwhile.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use duologue_model::{Error as Refusal, Identity, PageSize, Timestamp, id::BotId};

use crate::{
    Result, Store, crypto, params,
    sql::{Param, Row},
    tx::{Script, Tx},
};

/// How long a scan in the order of last change may pause between two pages.
const LEASE_MILLIS: i64 = 15 * 60 * 1000;

/// Where a page begins: after this row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The row's instant in the list's order.
    pub pos: i64,
    /// The row's id, or its text in lists of texts.
    pub id: String,
    /// When the scan began, where that matters.
    pub snapshot: Option<i64>,
}

/// Which page.
#[derive(Clone, Debug, Default)]
pub struct PageRequest {
    /// How many rows.
    pub size: PageSize,
    /// Where it begins; at the start if absent.
    pub after: Option<Cursor>,
}

/// The rows of a page, and where the next one begins if there is one.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Present if there is at least one more row.
    pub next: Option<Cursor>,
}

/// Which instant orders a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortField {
    /// Of creation.
    #[default]
    CreatedAt,
    /// Of the last change.
    UpdatedAt,
}

/// The order of a list: newest first if nothing is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sort {
    /// By which instant.
    pub field: SortField,
    /// Oldest first.
    pub ascending: bool,
}

impl Store {
    /// The token for a cursor. `binding` names the list, its filters and its reader: the token is
    /// good for nothing else.
    pub fn next_token(&self, cursor: &Cursor, binding: &[u8]) -> String {
        let mut bytes = Vec::with_capacity(33 + cursor.id.len());
        bytes.push(1);
        bytes.extend(cursor.pos.to_be_bytes());
        bytes.extend(cursor.snapshot.unwrap_or(-1).to_be_bytes());
        bytes.extend(cursor.id.as_bytes());
        let seal = crypto::seal(&self.key, &[b"cursor", binding, &bytes]);
        bytes.extend(&seal[..16]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The cursor in a token made by [`Store::next_token`] with the same binding.
    pub fn cursor(&self, token: &str, binding: &[u8]) -> Result<Cursor, Refusal> {
        let refuse = || {
            Refusal::invalid_query("nextToken is not a token of this list with these filters; start again without it")
        };
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| refuse())?;
        let (content, seal) = bytes.split_at_checked(bytes.len().saturating_sub(16)).ok_or_else(refuse)?;
        if !crypto::verify(&self.key, &[b"cursor", binding, content], seal) || content.len() < 17 || content[0] != 1 {
            return Err(refuse());
        }
        let int = |at: usize| content[at..at + 8].try_into().map(i64::from_be_bytes).map_err(|_| refuse());
        let snapshot = int(9)?;
        Ok(Cursor {
            pos: int(1)?,
            id: String::from_utf8(content[17..].to_vec()).map_err(|_| refuse())?,
            snapshot: (snapshot >= 0).then_some(snapshot),
        })
    }

    /// Runs a list in the order of last change: the first page is read as the data stands; if there
    /// are more, the scan gets a snapshot first.
    pub(crate) async fn scan<L: Scan>(&self, list: L) -> Result<Page<L::Item>> {
        let mut list = Lister(list);
        if list.0.sort().field == SortField::CreatedAt {
            return self.read(&list).await;
        }
        let bot = list.0.who().bot.clone();
        match list.0.page().after.as_ref().and_then(|cursor| cursor.snapshot) {
            Some(_) => {
                self.lease(&bot).await?;
                self.read(&list).await
            }
            None => {
                let page = self.read(&list).await?;
                if page.next.is_none() {
                    return Ok(page);
                }
                self.lease(&bot).await?;
                let snapshot = self.barrier().await?.millis();
                list.0.set_snapshot(snapshot);
                self.read(&list).await
            }
        }
    }

    /// Has positions remembered for a while. Writes only when the lease runs low.
    async fn lease(&self, bot: &BotId) -> Result<()> {
        struct Held(BotId);
        impl Script for Held {
            type Out = bool;
            async fn run(&self, tx: &mut Tx<'_>) -> Result<bool> {
                let low = tx.now().plus_millis(LEASE_MILLIS / 2);
                let row = tx.query_opt("SELECT scan_until FROM bots WHERE id = ?1", params![&self.0]).await?;
                Ok(row.map(|mut row| row.at()).transpose()?.is_some_and(|until| until > low))
            }
        }
        struct Lease(BotId);
        impl Script for Lease {
            type Out = ();
            async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
                let until = tx.now().plus_millis(LEASE_MILLIS);
                tx.execute(
                    "UPDATE bots SET scan_until = ?2 WHERE id = ?1 AND scan_until < ?2",
                    params![&self.0, until],
                )
                .await?;
                Ok(())
            }
        }
        if self.read(&Held(bot.clone())).await? { Ok(()) } else { self.write(Lease(bot.clone())).await }
    }
}

/// Remembers that `id` leaves position `from` for `to` in the order of last change, if somebody is
/// scanning that order.
pub(crate) async fn moved(
    tx: &mut Tx<'_>,
    bot: &BotId,
    kind: &str,
    id: &str,
    from: i64,
    to: i64,
    scan_until: i64,
) -> Result<()> {
    if scan_until > tx.now().millis() && from != to {
        tx.execute(
            "INSERT INTO past_positions (bot_id, kind, pos, id, until) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
            params![bot, kind, from, id, to],
        )
        .await?;
    }
    Ok(())
}

/// A list of conversations or users, which can be read in either order.
pub(crate) trait Scan: Send + Sync + 'static {
    /// A row's value.
    type Item: Send + 'static;
    /// The table, and the kind in `past_positions` and `entity_tags`.
    const TABLE: &'static str;
    /// See [`Scan::TABLE`].
    const KIND: &'static str;
    /// The table that keeps the order of last change, and its column of ids, if the entities' own
    /// table has no index for it.
    const ORDER: Option<(&'static str, &'static str)> = None;
    /// Columns of the table, read by [`Scan::item`] after the position and the id.
    const COLUMNS: &'static str;

    fn who(&self) -> &Identity;
    fn sort(&self) -> Sort;
    fn page(&self) -> &PageRequest;
    /// Sets the instant whose order is read.
    fn set_snapshot(&mut self, at: i64);
    fn snapshot(&self) -> Option<i64>;
    /// Adds the list's own filters over `e`.
    fn filter(&self, query: &mut Query);
    /// Tag filters: stored key and value; an empty value means absent.
    fn tags(&self) -> &[(String, String)];
    /// The user whose conversations are listed, if that drives the list.
    fn participant(&self) -> Option<&str> {
        None
    }
    fn item(&self, row: &mut Row) -> Result<Self::Item>;
}

struct Lister<L>(L);

impl<L: Scan> Script for Lister<L> {
    type Out = Page<L::Item>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Page<L::Item>> {
        let list = &self.0;
        let (sort, size) = (list.sort(), list.page().size.get());
        let drive = Drive::choose(tx, list).await?;
        let mut query = Query::default();
        match sort.field {
            SortField::CreatedAt => {
                query.text.push_str("SELECT ");
                query.text.push_str(&format!("{}, e.id, {}", drive.created(), L::COLUMNS));
                self.body(&mut query, &drive);
                query.after(list.page().after.as_ref(), drive.created(), drive.id(), sort.ascending);
                query.order(drive.created(), drive.id(), sort.ascending, size + 1);
            }
            SortField::UpdatedAt => self.by_update(&mut query, &drive, size + 1),
        }
        let mut rows = query.run(tx).await?;
        let more = rows.len() > size;
        rows.truncate(size);
        let mut page = Page { items: Vec::with_capacity(rows.len()), next: None };
        let last = rows.len().saturating_sub(1);
        for (index, row) in rows.iter_mut().enumerate() {
            let (pos, id) = (row.int()?, row.text()?);
            if more && index == last {
                page.next = Some(Cursor { pos, id, snapshot: list.snapshot() });
            }
            page.items.push(list.item(row)?);
        }
        Ok(page)
    }
}

impl<L: Scan> Lister<L> {
    /// FROM and WHERE of the entities that match.
    fn body(&self, query: &mut Query, drive: &Drive) {
        let list = &self.0;
        drive.from::<L>(query, &list.who().bot);
        self.filters(query, drive);
    }

    fn filters(&self, query: &mut Query, drive: &Drive) {
        let list = &self.0;
        let bot = query.bind(list.who().bot.as_str());
        query.text.push_str(&format!(" AND e.bot_id = {bot}"));
        if !list.who().is_bot() {
            let owner = query.bind(list.who().view.owner());
            query.text.push_str(&format!(" AND e.owner = {owner}"));
        }
        for (index, (key, value)) in list.tags().iter().enumerate() {
            if !matches!(drive, Drive::Tag(driving, ..) if *driving == index) {
                query.tagged(L::KIND, list.who().bot.as_str(), key, value);
            }
        }
        list.filter(query);
    }

    /// Entities where they stood at the snapshot: those that haven't moved since, and those that
    /// have, at the position they left.
    fn by_update(&self, query: &mut Query, drive: &Drive, limit: usize) {
        let (list, sort) = (&self.0, self.0.sort());
        let after = list.page().after.as_ref();
        let columns = format!("e.id AS eid, {}", L::COLUMNS);
        let ordered = Drive::Order;
        let (drive, pos, id) = match (drive, L::ORDER) {
            (Drive::None, Some((_, id))) => (&ordered, "d.updated_at", format!("d.{id}")),
            _ => (drive, "e.updated_at", "e.id".to_owned()),
        };
        query.text.push_str(&format!("SELECT * FROM (SELECT {pos} AS pos, {columns}"));
        self.body(query, drive);
        query.after(after, pos, &id, sort.ascending);
        if let Some(snapshot) = list.snapshot() {
            let at = query.bind(snapshot);
            query.text.push_str(&format!(" AND {pos} <= {at}"));
            query.order(pos, &id, sort.ascending, limit);
            query.text.push_str(&format!(") a UNION ALL SELECT * FROM (SELECT p.pos AS pos, {columns} FROM past_positions p CROSS JOIN {} e WHERE e.id = p.id", L::TABLE));
            let (bot, kind) = (query.bind(list.who().bot.as_str()), query.bind(L::KIND));
            query
                .text
                .push_str(&format!(" AND p.bot_id = {bot} AND p.kind = {kind} AND p.pos <= {at} AND p.until > {at}"));
            self.filters(query, &Drive::None);
            if let Some(user) = list.participant() {
                query.takes_part(user);
            }
            query.after(after, "p.pos", "p.id", sort.ascending);
            query.order("p.pos", "p.id", sort.ascending, limit);
        } else {
            query.order(pos, &id, sort.ascending, limit);
        }
        query.text.push_str(") b");
        query.order("pos", "eid", sort.ascending, limit);
    }
}

/// What a list is driven by: the index that finds its rows in order.
enum Drive {
    None,
    /// The table of the order of last change.
    Order,
    /// The index of this tag filter.
    Tag(usize, String, String),
    /// The index of a user's conversations.
    Participant(String),
}

/// A tag this rare may drive a list in the order of last change, whose matches are then sorted.
const RARE: i64 = 1000;

impl Drive {
    async fn choose<L: Scan>(tx: &mut Tx<'_>, list: &L) -> Result<Drive> {
        let updated = list.sort().field == SortField::UpdatedAt;
        let mut best: Option<(i64, usize)> = None;
        let present: Vec<usize> = (0..list.tags().len()).filter(|index| !list.tags()[*index].1.is_empty()).collect();
        for &index in &present {
            let count = if present.len() == 1 && !updated {
                0
            } else {
                let (key, value) = &list.tags()[index];
                let sql = format!(
                    "SELECT COUNT(*) FROM (SELECT 1 AS one FROM entity_tags WHERE bot_id = ?1 AND kind = ?2 AND key = ?3 AND value = ?4 LIMIT {RARE}) AS found"
                );
                let found = tx.query_opt(&sql, params![&list.who().bot, L::KIND, key, value]).await?;
                found.map_or(Ok(0), |mut row| row.int())?
            };
            if best.is_none_or(|(least, _)| count < least) {
                best = Some((count, index));
            }
        }
        Ok(match (best, list.participant()) {
            (Some((count, index)), _) if !updated || count < RARE => {
                Drive::Tag(index, list.tags()[index].0.clone(), list.tags()[index].1.clone())
            }
            (_, Some(user)) => Drive::Participant(user.to_owned()),
            _ => Drive::None,
        })
    }

    fn created(&self) -> &'static str {
        match self {
            Drive::None | Drive::Order => "e.created_at",
            Drive::Tag(..) => "d.created_at",
            Drive::Participant(_) => "d.conversation_created_at",
        }
    }

    fn id(&self) -> &'static str {
        match self {
            Drive::None | Drive::Order => "e.id",
            Drive::Tag(..) => "d.entity_id",
            Drive::Participant(_) => "d.conversation_id",
        }
    }

    fn from<L: Scan>(&self, query: &mut Query, bot: &BotId) {
        let (table, kind) = (L::TABLE, L::KIND);
        match self {
            Drive::Order => {
                let (order, id) = L::ORDER.unwrap_or_default();
                let bot = query.bind(bot.as_str());
                query.text.push_str(&format!(
                    " FROM {order} d CROSS JOIN {table} e WHERE e.id = d.{id} AND d.bot_id = {bot}"
                ));
            }
            Drive::None => query.text.push_str(&format!(" FROM {table} e WHERE 1 = 1")),
            Drive::Tag(_, key, value) => {
                let (bot, kind) = (query.bind(bot.as_str()), query.bind(kind));
                let (key, value) = (query.bind(key.as_str()), query.bind(value.as_str()));
                query.text.push_str(&format!(
                    " FROM entity_tags d CROSS JOIN {table} e WHERE e.id = d.entity_id AND d.bot_id = {bot} AND d.kind = {kind} AND d.key = {key} AND d.value = {value}"
                ));
            }
            Drive::Participant(user) => {
                let user = query.bind(user.as_str());
                query.text.push_str(&format!(
                    " FROM participants d CROSS JOIN {table} e WHERE e.id = d.conversation_id AND d.user_id = {user} AND d.active = 1"
                ));
            }
        }
    }
}

/// A statement in the making.
#[derive(Debug, Default)]
pub(crate) struct Query {
    pub(crate) text: String,
    params: Vec<Param<'static>>,
}

impl Query {
    /// Starts with a text.
    pub(crate) fn new(text: &str) -> Self {
        Query { text: text.to_owned(), params: Vec::new() }
    }

    /// Adds a parameter; answers its name in the statement.
    pub(crate) fn bind<'p>(&mut self, param: impl Into<Param<'p>>) -> String {
        self.params.push(param.into().into_owned());
        format!("?{}", self.params.len())
    }

    /// Adds `AND column op value`.
    pub(crate) fn and<'p>(&mut self, column_and_operator: &str, value: impl Into<Param<'p>>) {
        let value = self.bind(value);
        self.text.push_str(&format!(" AND {column_and_operator} {value}"));
    }

    /// Adds `AND column IN (…)`.
    pub(crate) fn and_in(&mut self, column: &str, values: impl IntoIterator<Item = String>) {
        let names: Vec<String> = values.into_iter().map(|value| self.bind(value)).collect();
        self.text.push_str(&format!(" AND {column} IN ({})", names.join(", ")));
    }

    /// Only entities `e` that carry the tag; with an empty value, that don't.
    pub(crate) fn tagged(&mut self, kind: &str, bot: &str, key: &str, value: &str) {
        let (bot, kind, key) = (self.bind(bot), self.bind(kind), self.bind(key));
        let not = if value.is_empty() { "NOT " } else { "" };
        self.text.push_str(&format!(
            " AND {not}EXISTS (SELECT 1 FROM entity_tags x WHERE x.entity_id = e.id AND x.bot_id = {bot} AND x.kind = {kind} AND x.key = {key}"
        ));
        if !value.is_empty() {
            let value = self.bind(value);
            self.text.push_str(&format!(" AND x.value = {value}"));
        }
        self.text.push(')');
    }

    /// Only conversations `e` that the user takes part in.
    pub(crate) fn takes_part(&mut self, user: &str) {
        let user = self.bind(user);
        self.text.push_str(&format!(
            " AND EXISTS (SELECT 1 FROM participants y WHERE y.conversation_id = e.id AND y.user_id = {user} AND y.active = 1)"
        ));
    }

    /// Only rows after the cursor.
    pub(crate) fn after(&mut self, cursor: Option<&Cursor>, pos: &str, id: &str, ascending: bool) {
        if let Some(cursor) = cursor {
            let (p, i) = (self.bind(cursor.pos), self.bind(cursor.id.as_str()));
            let than = if ascending { '>' } else { '<' };
            self.text.push_str(&format!(" AND ({pos}, {id}) {than} ({p}, {i})"));
        }
    }

    /// Orders and bounds. The bound stands in the text: SQLite prepares a statement anew whenever
    /// a parameter of its LIMIT is bound.
    pub(crate) fn order(&mut self, pos: &str, id: &str, ascending: bool, limit: usize) {
        let way = if ascending { "ASC" } else { "DESC" };
        self.text.push_str(&format!(" ORDER BY {pos} {way}, {id} {way} LIMIT {limit}"));
    }

    /// Runs it.
    pub(crate) async fn run(self, tx: &mut Tx<'_>) -> Result<Vec<Row>> {
        tx.query(&self.text, &self.params).await
    }
}

/// The page in rows that start with their position and id, one more than asked if there are more.
pub(crate) fn page<T>(
    mut rows: Vec<Row>,
    size: PageSize,
    mut item: impl FnMut(&mut Row) -> Result<T>,
) -> Result<Page<T>> {
    let more = rows.len() > size.get();
    rows.truncate(size.get());
    let mut page = Page { items: Vec::with_capacity(rows.len()), next: None };
    let last = rows.len().saturating_sub(1);
    for (index, row) in rows.iter_mut().enumerate() {
        let (pos, id) = (row.int()?, row.text()?);
        if more && index == last {
            page.next = Some(Cursor { pos, id, snapshot: None });
        }
        page.items.push(item(row)?);
    }
    Ok(page)
}

/// Which of a bot's entities are listed, the latest first.
pub(crate) struct Latest<'a> {
    pub(crate) table: &'a str,
    pub(crate) columns: &'a str,
    /// Their kind in the index of tags.
    pub(crate) kind: &'a str,
    pub(crate) bot: &'a str,
    /// Columns with the values that they must have, if any.
    pub(crate) equal: &'a [(&'a str, &'a Option<String>)],
    /// One of these; any if there is none.
    pub(crate) statuses: Vec<&'static str>,
    /// Keys and values; an empty value means absent.
    pub(crate) tags: &'a [(String, String)],
}

impl Latest<'_> {
    pub(crate) async fn page<T>(
        self,
        tx: &mut Tx<'_>,
        wanted: &PageRequest,
        item: impl FnMut(&mut Row) -> Result<T>,
    ) -> Result<Page<T>> {
        let Latest { table, columns, .. } = self;
        let mut query = Query::new(&format!("SELECT e.created_at, e.id, {columns} FROM {table} e WHERE 1 = 1"));
        query.and("e.bot_id =", self.bot);
        for (column, value) in self.equal {
            if let Some(value) = value {
                query.and(&format!("e.{column} ="), value);
            }
        }
        if !self.statuses.is_empty() {
            query.and_in("e.status", self.statuses.into_iter().map(str::to_owned));
        }
        for (key, value) in self.tags {
            query.tagged(self.kind, self.bot, key, value);
        }
        query.after(wanted.after.as_ref(), "e.created_at", "e.id", false);
        query.order("e.created_at", "e.id", false, wanted.size.get() + 1);
        page(query.run(tx).await?, wanted.size, item)
    }
}

/// Bounds on the instant of creation, inclusive.
#[derive(Clone, Copy, Debug, Default)]
pub struct Range {
    /// Not before.
    pub after: Option<Timestamp>,
    /// Not after.
    pub before: Option<Timestamp>,
}

impl Range {
    pub(crate) fn apply(&self, query: &mut Query, column: &str) {
        if let Some(after) = self.after {
            query.and(&format!("{column} >="), after);
        }
        if let Some(before) = self.before {
            query.and(&format!("{column} <="), before);
        }
    }
}
