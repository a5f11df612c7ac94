//! Counters a bot keeps (`spec/cloud/runtime.md` § 14), and what its stored data says about its days
//! (`spec/cloud/admin.md` § 5.4).

use std::{collections::BTreeMap, sync::Arc};

use duologue_model::{
    Error as Refusal, Identity, Timestamp,
    admin::Role,
    id::{BotId, EventId},
};

use crate::{
    Result, Store, bots,
    events::announced,
    params,
    sql::Row,
    tx::{Script, Tx},
    workspaces::Actor,
};

/// trackAnalytics: adds to today's counter.
#[derive(Clone, Debug)]
pub struct Track {
    /// The caller.
    pub who: Identity,
    /// Which counter.
    pub name: String,
    /// At least 1.
    pub count: i64,
}

impl Script for Track {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let day = day_name(tx.now());
        tx.execute(
            "INSERT INTO analytics (bot_id, day, name, count) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (bot_id, day, name) DO UPDATE SET count = analytics.count + excluded.count",
            params![&self.who.bot, &day, &self.name, self.count],
        )
        .await?;
        Ok(())
    }
}

struct Counted {
    bot: BotId,
    name: String,
}

impl Script for Counted {
    type Out = i64;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<i64> {
        let mut total = 0;
        for mut row in tx
            .query("SELECT count FROM analytics WHERE bot_id = ?1 AND name = ?2", params![&self.bot, &self.name])
            .await?
        {
            total += row.int()?;
        }
        Ok(total)
    }
}

/// Most days of a report.
pub const MAX_DAYS: i64 = 92;
/// Most numbers of one kind in a report: types of events, or counters, of each day.
const MAX_NUMBERS: usize = 20_000;
const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;
/// Ids of events may be a little older than the events.
const SLACK_MILLIS: i64 = 60 * 1000;

/// What happened in a bot in one day of UTC, as far as it is still stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Day {
    /// Days since 1970-01-01.
    pub number: i64,
    /// Users who wrote, and had been there on an earlier day.
    pub returning_users: i64,
    /// Users made.
    pub new_users: i64,
    /// Conversations in which users wrote.
    pub sessions: i64,
    /// Messages of users.
    pub user_messages: i64,
    /// Messages of the bot.
    pub bot_messages: i64,
    /// Events by their type in the bot's view.
    pub event_types: BTreeMap<String, i64>,
    /// Counters, see [`Track`].
    pub custom_events: BTreeMap<String, i64>,
}

impl Day {
    /// Its first instant.
    pub fn start(&self) -> Timestamp {
        Timestamp::from_millis(self.number * DAY_MILLIS)
    }

    /// Its last instant.
    pub fn end(&self) -> Timestamp {
        Timestamp::from_millis((self.number + 1) * DAY_MILLIS - 1)
    }
}

/// getBotAnalytics: a [`Day`] for each day between two, both included.
#[derive(Clone, Debug)]
pub struct Report {
    /// Who asks, about which workspace.
    pub actor: Actor,
    /// The bot.
    pub bot: String,
    /// Any instant of the first day.
    pub from: Timestamp,
    /// Any instant of the last day.
    pub to: Timestamp,
}

impl Report {
    /// The first day and the last.
    fn days(&self) -> Result<(i64, i64), Refusal> {
        let (first, last) = (self.from.millis() / DAY_MILLIS, self.to.millis() / DAY_MILLIS);
        if last < first {
            return Err(Refusal::invalid_query("endDate is before startDate"));
        }
        if last - first >= MAX_DAYS {
            return Err(Refusal::invalid_query(format!("startDate and endDate are at most {MAX_DAYS} days apart")));
        }
        Ok((first, last))
    }
}

impl Script for Report {
    type Out = Vec<Day>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Day>> {
        let inside = self.actor.enter(tx, Role::Viewer).await?;
        bots::require(tx, &inside, &self.bot).await?;
        let (first, last) = self.days()?;
        let days = (first..=last).map(|number| Day { number, ..Day::default() }).collect();
        let mut counting = Counting { bot: &self.bot, first, days };
        counting.users(tx).await?;
        counting.messages(tx).await?;
        counting.events(tx).await?;
        counting.counters(tx).await?;
        Ok(counting.days)
    }
}

/// A report in the making: one query a table, whatever the number of days.
struct Counting<'a> {
    bot: &'a str,
    first: i64,
    days: Vec<Day>,
}

impl Counting<'_> {
    fn day(&mut self, number: i64) -> Option<&mut Day> {
        usize::try_from(number - self.first).ok().and_then(|index| self.days.get_mut(index))
    }

    /// The first instant, and the one after the last (milliseconds since the epoch).
    fn range(&self) -> (i64, i64) {
        (self.first * DAY_MILLIS, (self.first + self.days.len() as i64) * DAY_MILLIS)
    }

    async fn users(&mut self, tx: &mut Tx<'_>) -> Result<()> {
        let (from, to) = self.range();
        let sql = format!(
            "SELECT created_at / {DAY_MILLIS}, COUNT(*) FROM users \
             WHERE bot_id = ?1 AND created_at >= ?2 AND created_at < ?3 AND id <> ?1 GROUP BY 1"
        );
        for mut row in tx.query(&sql, params![self.bot, from, to]).await? {
            let (number, count) = (row.int()?, row.int()?);
            if let Some(day) = self.day(number) {
                day.new_users = count;
            }
        }
        Ok(())
    }

    /// Messages, who wrote them where, and the events that they are themselves.
    async fn messages(&mut self, tx: &mut Tx<'_>) -> Result<()> {
        let (from, to) = self.range();
        let sql = format!(
            "SELECT g.day, CAST(SUM(g.incoming) AS BIGINT), CAST(SUM(g.outgoing) AS BIGINT), CAST(SUM(g.announced) AS BIGINT), \
             COUNT(DISTINCT CASE WHEN g.incoming > 0 THEN g.conversation_id END), \
             COUNT(DISTINCT CASE WHEN g.incoming > 0 AND u.created_at < g.day * {DAY_MILLIS} THEN g.user_id END) \
             FROM (SELECT created_at / {DAY_MILLIS} AS day, conversation_id, user_id, \
                   COUNT(CASE WHEN direction = 'incoming' THEN 1 END) AS incoming, \
                   COUNT(CASE WHEN direction = 'outgoing' THEN 1 END) AS outgoing, \
                   COUNT(CASE WHEN announced > 0 THEN 1 END) AS announced FROM messages \
                   WHERE bot_id = ?1 AND created_at >= ?2 AND created_at < ?3 GROUP BY 1, 2, 3) g \
             LEFT JOIN users u ON u.id = g.user_id GROUP BY g.day"
        );
        for mut row in tx.query(&sql, params![self.bot, from, to]).await? {
            let (number, incoming, outgoing, announced) = (row.int()?, row.int()?, row.int()?, row.int()?);
            let (sessions, returning) = (row.int()?, row.int()?);
            let Some(day) = self.day(number) else { continue };
            (day.user_messages, day.bot_messages) = (incoming, outgoing);
            (day.sessions, day.returning_users) = (sessions, returning);
            if announced > 0 {
                day.event_types.insert(announced::KIND.to_owned(), announced);
            }
        }
        Ok(())
    }

    /// Events that have rows of their own, but for those that stand in for a message's.
    async fn events(&mut self, tx: &mut Tx<'_>) -> Result<()> {
        let (from, to) = self.range();
        let least = |millis: i64| EventId::first_at(Timestamp::from_millis(millis));
        let (after, before) = (least(from - SLACK_MILLIS), least(to + SLACK_MILLIS));
        let sql = format!(
            "SELECT e.created_at / {DAY_MILLIS}, e.type, COUNT(*) FROM events e \
             WHERE e.bot_id = ?1 AND e.id >= ?4 AND e.id < ?5 AND e.created_at >= ?2 AND e.created_at < ?3 \
             AND NOT (e.type = '{}' AND EXISTS (SELECT 1 FROM messages m WHERE m.id = 'msg' || substr(e.id, 4) AND m.announced > 0)) \
             GROUP BY 1, 2 LIMIT {}",
            announced::KIND,
            MAX_NUMBERS + 1
        );
        let rows = tx.query(&sql, params![self.bot, from, to, &after, &before]).await?;
        for mut row in bounded(rows, "types of events")? {
            let (number, kind, count) = (row.int()?, row.text()?, row.int()?);
            if let Some(day) = self.day(number) {
                *day.event_types.entry(kind).or_default() += count;
            }
        }
        Ok(())
    }

    async fn counters(&mut self, tx: &mut Tx<'_>) -> Result<()> {
        let names: Vec<String> = self.days.iter().map(|day| day_name(day.start())).collect();
        let (Some(from), Some(to)) = (names.first(), names.last()) else { return Ok(()) };
        let sql = format!(
            "SELECT day, name, count FROM analytics WHERE bot_id = ?1 AND day >= ?2 AND day <= ?3 LIMIT {}",
            MAX_NUMBERS + 1
        );
        let rows = tx.query(&sql, params![self.bot, from, to]).await?;
        for mut row in bounded(rows, "counters")? {
            let (day, name, count) = (row.text()?, row.text()?, row.int()?);
            if let Ok(index) = names.binary_search(&day) {
                self.days[index].custom_events.insert(name, count);
            }
        }
        Ok(())
    }
}

fn bounded(rows: Vec<Row>, what: &str) -> Result<Vec<Row>, Refusal> {
    if rows.len() > MAX_NUMBERS {
        return Err(Refusal::invalid_query(format!("there are too many {what} in so many days; ask for fewer")));
    }
    Ok(rows)
}

/// `2026-01-31`.
fn day_name(at: Timestamp) -> String {
    let mut text = at.to_string();
    text.truncate(10);
    text
}

impl Store {
    /// How much a counter has counted, over all days.
    pub async fn counted(&self, bot: BotId, name: String) -> Result<i64> {
        self.read(&Counted { bot, name }).await
    }

    /// getBotAnalytics. A few are made at a time; others wait.
    pub async fn bot_analytics(self: &Arc<Self>, report: Report) -> Result<Vec<Day>> {
        report.days()?;
        self.read_aside(report).await
    }
}
