//! Issues of bots: what their code, and that of integrations, reports as a problem (`spec/cloud/admin.md`
//! § 5.4, `bridge-protocol.md` § 7).
//!
//! Reports come as lines of logs and are written with them (`logs.rs`). Those with the same code and the same
//! data under the names that they group by are events of one issue. An issue is kept for [`KEEP`] after it was
//! last seen; of an issue the latest [`KEEP_EVENTS`] events are kept, of a bot the [`KEEP_ISSUES`] issues that
//! were seen last.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use duologue_model::{Error as Refusal, Json, Timestamp, admin::Role, id::Kind};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result, Store, bots, crypto,
    page::{Page, PageRequest, Query},
    params,
    sql::{Param, Row, padded},
    tx::{Script, Tx},
    workspaces::Actor,
};

/// How long an issue is kept after it was last seen.
pub const KEEP: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How many events of an issue are kept.
pub const KEEP_EVENTS: usize = 100;
/// How many issues of a bot are kept.
pub const KEEP_ISSUES: usize = 500;
/// Characters of a code, a title or a name of data; the rest is cut off.
const SHORT: usize = 200;
/// Characters of a description or a value; the rest is cut off.
const LONG: usize = 2000;
/// Values of a report; others are left out.
const MOST_DATA: usize = 32;

/// What a report is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// The bot's own code.
    UserCode,
    /// Too much of something.
    Limits,
    /// How something is set up.
    Configuration,
    /// Anything else.
    #[default]
    Other,
}

impl Category {
    fn name(self) -> &'static str {
        match self {
            Category::UserCode => "user_code",
            Category::Limits => "limits",
            Category::Configuration => "configuration",
            Category::Other => "other",
        }
    }

    /// The category of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Category::UserCode, Category::Limits, Category::Configuration, Category::Other]
            .into_iter()
            .find(|category| category.name() == name)
    }
}

/// A value that a report carries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Datum {
    /// As programs see it.
    pub raw: String,
    /// As people like to see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pretty: Option<String>,
}

/// One report of a problem.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What kind of problem it is, for programs.
    pub code: String,
    /// What it is about.
    pub category: Category,
    /// For people.
    pub title: String,
    /// For people.
    pub description: String,
    /// What is known of it.
    pub data: BTreeMap<String, Datum>,
    /// Names of the data that reports of one issue have in common.
    pub group_by: BTreeSet<String>,
}

impl Report {
    /// Cuts everything to its bounds. The databases take no NUL.
    pub(crate) fn bound(&mut self) {
        cut(&mut self.code, SHORT);
        cut(&mut self.title, SHORT);
        cut(&mut self.description, LONG);
        self.data = std::mem::take(&mut self.data)
            .into_iter()
            .filter(|(name, _)| name.len() <= SHORT && !name.contains('\0'))
            .take(MOST_DATA)
            .map(|(name, mut datum)| {
                cut(&mut datum.raw, LONG);
                datum.pretty.iter_mut().for_each(|pretty| cut(pretty, LONG));
                (name, datum)
            })
            .collect();
    }

    /// The data that its issue is grouped by.
    fn grouped(&self) -> BTreeMap<&str, &Datum> {
        let wanted = self.data.iter().filter(|(name, _)| self.group_by.contains(*name));
        wanted.map(|(name, datum)| (name.as_str(), datum)).collect()
    }

    /// What it has in common with other reports of its issue.
    fn fingerprint(&self) -> String {
        let raw: BTreeMap<&str, &str> =
            self.grouped().into_iter().map(|(name, one)| (name, one.raw.as_str())).collect();
        crypto::sha256_hex(Json::of(&(&self.code, raw)).text().as_bytes())
    }
}

fn cut(text: &mut String, most: usize) {
    if let Some((end, _)) = text.char_indices().nth(most) {
        text.truncate(end);
    }
    if text.contains('\0') {
        *text = text.replace('\0', "\u{fffd}");
    }
}

enum IssueKind {}

impl Kind for IssueKind {
    const PREFIX: &'static str = "iss";
}

enum EventKind {}

impl Kind for EventKind {
    const PREFIX: &'static str = "issevt";
}

/// A report in its place: whose it is, and when it came.
pub(crate) struct Placed<'a> {
    pub(crate) bot: &'a str,
    pub(crate) at: i64,
    pub(crate) report: &'a Report,
}

/// Adds reports, in the order in which they came, to their issues.
pub(crate) async fn record(tx: &mut Tx<'_>, reports: Vec<Placed<'_>>) -> Result<()> {
    // In a fixed order, so that processes that do this at once wait for each other instead of for ever.
    let mut groups: BTreeMap<(&str, String), Vec<Placed<'_>>> = BTreeMap::new();
    for one in reports {
        groups.entry((one.bot, one.report.fingerprint())).or_default().push(one);
    }
    let mut grown = BTreeSet::new();
    for ((bot, fingerprint), group) in &groups {
        if add(tx, bot, fingerprint, group).await? {
            grown.insert(*bot);
        }
    }
    for bot in grown {
        trim(tx, bot).await?;
    }
    Ok(())
}

/// Adds events to an issue; answers whether it is a new one.
async fn add(tx: &mut Tx<'_>, bot: &str, fingerprint: &str, group: &[Placed<'_>]) -> Result<bool> {
    let (Some(first), Some(last)) = (group.first(), group.last()) else { return Ok(false) };
    let id = tx.ids().id::<IssueKind>(Timestamp::from_millis(first.at));
    let report = last.report;
    let rows = tx
        .query(
            "INSERT INTO issues (id, bot_id, fingerprint, code, category, title, description, grouped_data, events_count, created_at, last_seen_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT (bot_id, fingerprint) DO UPDATE SET \
             category = excluded.category, title = excluded.title, description = excluded.description, grouped_data = excluded.grouped_data, \
             events_count = issues.events_count + excluded.events_count, \
             last_seen_at = CASE WHEN issues.last_seen_at > excluded.last_seen_at THEN issues.last_seen_at ELSE excluded.last_seen_at END \
             RETURNING id, events_count",
            params![
                &id, bot, fingerprint, &report.code, report.category.name(), &report.title, &report.description,
                &Json::of(&report.grouped()), group.len() as i64, first.at, last.at
            ],
        )
        .await?;
    let mut row = rows.into_iter().next().ok_or_else(|| Error::Corrupt("an issue just written is gone".into()))?;
    let (issue, count) = (row.text()?, row.int()?);
    let mut events: Vec<Param<'_>> = Vec::new();
    for one in &group[group.len().saturating_sub(KEEP_EVENTS)..] {
        let id = tx.ids().id::<EventKind>(Timestamp::from_millis(one.at)).to_string();
        events.extend([
            Param::owned(issue.clone()),
            one.at.into(),
            id.into(),
            Param::owned(Json::of(&one.report.data).text().to_owned()),
        ]);
    }
    tx.insert_many("INSERT INTO issue_events (issue_id, at, id, data)", 4, &events, "").await?;
    if count > KEEP_EVENTS as i64 {
        let sql = format!(
            "DELETE FROM issue_events WHERE issue_id = ?1 AND (at, id) <= \
             (SELECT at, id FROM issue_events WHERE issue_id = ?1 ORDER BY at DESC, id DESC LIMIT 1 OFFSET {KEEP_EVENTS})"
        );
        tx.execute(&sql, params![&issue]).await?;
    }
    Ok(count == group.len() as i64)
}

/// Removes the issues of a bot that are too many.
async fn trim(tx: &mut Tx<'_>, bot: &str) -> Result<()> {
    let sql = format!(
        "SELECT id FROM issues WHERE bot_id = ?1 ORDER BY last_seen_at DESC, id DESC LIMIT 1000 OFFSET {KEEP_ISSUES}"
    );
    let rows = tx.query(&sql, params![bot]).await?;
    remove(tx, rows).await.map(|_| ())
}

/// Removes issues, whose ids these are, with their events.
async fn remove(tx: &mut Tx<'_>, rows: Vec<Row>) -> Result<u64> {
    if rows.is_empty() {
        return Ok(0);
    }
    let ids = rows.into_iter().map(|mut row| row.text()).collect::<Result<Vec<_>>>()?;
    let (names, params) = padded(&ids, 0);
    tx.execute(&format!("DELETE FROM issue_events WHERE issue_id IN ({names})"), &params).await?;
    tx.execute(&format!("DELETE FROM issues WHERE id IN ({names})"), &params).await
}

/// Removes issues that were kept long enough, a bounded number at a time.
pub(crate) async fn tidy(tx: &mut Tx<'_>) -> Result<u64> {
    let until = tx.now().millis() - KEEP.as_millis() as i64;
    let rows = tx.query("SELECT id FROM issues WHERE last_seen_at <= ?1 LIMIT 500", params![until]).await?;
    remove(tx, rows).await
}

/// An issue as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Issue {
    /// Its id.
    pub id: String,
    /// What kind of problem it is.
    pub code: String,
    /// When it was first seen.
    pub created_at: Timestamp,
    /// When it was last seen.
    pub last_seen_at: Timestamp,
    /// For people.
    pub title: String,
    /// For people.
    pub description: String,
    /// What its events have in common.
    pub grouped_data: Json,
    /// How many there were, kept or not.
    pub events_count: i64,
    /// What it is about.
    pub category: Category,
    /// Never: no page here tells what to do.
    pub resolution_link: Option<String>,
}

const COLUMNS: &str =
    "e.id, e.code, e.created_at, e.last_seen_at, e.title, e.description, e.grouped_data, e.events_count, e.category";

/// Reads [`COLUMNS`].
fn issue(row: &mut Row) -> Result<Issue> {
    Ok(Issue {
        id: row.text()?,
        code: row.text()?,
        created_at: row.at()?,
        last_seen_at: row.at()?,
        title: row.text()?,
        description: row.text()?,
        grouped_data: row.json()?,
        events_count: row.int()?,
        category: row.word(Category::from_name)?,
        resolution_link: None,
    })
}

/// An event of an issue.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Its id.
    pub id: String,
    /// When it was seen.
    pub created_at: Timestamp,
    /// What is known of it.
    pub data: Json,
}

/// Whose issue.
#[derive(Clone, Debug)]
pub struct Path {
    /// Who asks, about which workspace.
    pub actor: Actor,
    /// The bot.
    pub bot: String,
    /// The issue.
    pub id: String,
}

impl Path {
    async fn find(&self, tx: &mut Tx<'_>, least: Role) -> Result<Issue> {
        let inside = self.actor.enter(tx, least).await?;
        bots::require(tx, &inside, &self.bot).await?;
        let sql = format!("SELECT {COLUMNS} FROM issues e WHERE e.id = ?1 AND e.bot_id = ?2");
        let row = tx.query_opt(&sql, params![&self.id, &self.bot]).await?;
        issue(&mut row.ok_or_else(|| Refusal::not_found("issue", &self.id))?)
    }
}

struct List {
    actor: Actor,
    bot: String,
    page: PageRequest,
}

impl Script for List {
    type Out = Page<Issue>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Page<Issue>> {
        let inside = self.actor.enter(tx, Role::Viewer).await?;
        bots::require(tx, &inside, &self.bot).await?;
        let mut query = Query::new(&format!("SELECT e.created_at, e.id, {COLUMNS} FROM issues e WHERE 1 = 1"));
        query.and("e.bot_id =", &self.bot);
        query.after(self.page.after.as_ref(), "e.created_at", "e.id", false);
        query.order("e.created_at", "e.id", false, self.page.size.get() + 1);
        let rows = query.run(tx).await?;
        crate::page::page(rows, self.page.size, issue)
    }
}

struct Get(Path);

impl Script for Get {
    type Out = Issue;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Issue> {
        self.0.find(tx, Role::Viewer).await
    }
}

struct Delete(Path);

impl Script for Delete {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let issue = self.0.find(tx, Role::Developer).await?;
        tx.execute("DELETE FROM issue_events WHERE issue_id = ?1", params![&issue.id]).await?;
        tx.execute("DELETE FROM issues WHERE id = ?1", params![&issue.id]).await?;
        Ok(())
    }
}

struct ListEvents(Path);

impl Script for ListEvents {
    type Out = Vec<Event>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Event>> {
        let issue = self.0.find(tx, Role::Viewer).await?;
        let sql = format!(
            "SELECT id, at, data FROM issue_events WHERE issue_id = ?1 ORDER BY at DESC, id DESC LIMIT {KEEP_EVENTS}"
        );
        let rows = tx.query(&sql, params![&issue.id]).await?;
        let event = |mut row: Row| Ok(Event { id: row.text()?, created_at: row.at()?, data: row.json()? });
        rows.into_iter().map(event).collect()
    }
}

impl Store {
    /// listBotIssues, those first seen last first.
    pub async fn list_issues(&self, actor: Actor, bot: String, page: PageRequest) -> Result<Page<Issue>> {
        self.read(&List { actor, bot, page }).await
    }

    /// getBotIssue.
    pub async fn issue(&self, path: Path) -> Result<Issue> {
        self.read(&Get(path)).await
    }

    /// deleteBotIssue. Should it be seen again, it is a new one.
    pub async fn delete_issue(&self, path: Path) -> Result<()> {
        self.write(Delete(path)).await
    }

    /// listBotIssueEvents, latest first: those that are kept.
    pub async fn list_issue_events(&self, path: Path) -> Result<Vec<Event>> {
        self.read(&ListEvents(path)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(data: &[(&str, &str)], group_by: &[&str]) -> Report {
        let datum = |raw: &str| Datum { raw: raw.to_owned(), pretty: None };
        Report {
            code: "LIMIT".into(),
            data: data.iter().map(|(name, raw)| ((*name).to_owned(), datum(raw))).collect(),
            group_by: group_by.iter().map(|name| (*name).to_owned()).collect(),
            ..Report::default()
        }
    }

    #[test]
    fn reports_are_of_one_issue_if_what_they_group_by_is_the_same() {
        let one = report(&[("a", "1"), ("b", "2")], &["a"]).fingerprint();
        assert_eq!(report(&[("a", "1"), ("b", "3")], &["a", "missing"]).fingerprint(), one);
        assert_ne!(report(&[("a", "2"), ("b", "2")], &["a"]).fingerprint(), one);
        assert_ne!(report(&[("a", "1"), ("b", "2")], &["b"]).fingerprint(), one);
        assert_ne!(report(&[("a", "1"), ("b", "2")], &[]).fingerprint(), one);
        let other = Report { code: "OTHER".into(), ..report(&[("a", "1"), ("b", "2")], &["a"]) };
        assert_ne!(other.fingerprint(), one);
    }

    #[test]
    fn reports_are_cut_to_their_bounds() {
        let many: Vec<(String, String)> = (0..100).map(|n| (format!("k{n:03}"), "ä\0".repeat(LONG))).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|(name, raw)| (name.as_str(), raw.as_str())).collect();
        let mut report = report(&many, &[]);
        report.title = "t".repeat(SHORT + 1);
        report.bound();
        assert_eq!((report.title.len(), report.data.len()), (SHORT, MOST_DATA));
        let raw = &report.data["k000"].raw;
        assert!(raw.starts_with("ä\u{fffd}ä") && raw.chars().count() == LONG);
    }
}
