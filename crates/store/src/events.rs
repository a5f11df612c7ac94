//! Events (`spec/cloud/runtime.md` § 7).
//!
//! An event's id carries its instant of creation, so the order of ids is the order of creation. A
//! `message_created` event keeps no payload: message, user and conversation are put in when it is
//! read, as they are then. Most of them aren't even rows: see [`announced`].

pub(crate) mod announced;

use std::collections::{BTreeSet, HashMap};

use duologue_model::{
    Conversation, Error as Refusal, ErrorKind, Event, EventStatus, Identity, Json, Message, Timestamp, User,
    id::{BotId, EventId},
};
use serde::Serialize;

use crate::{
    Result, Store, conversations, messages,
    outbox::{self, Kind},
    page::{Page, PageRequest, Query},
    params,
    sql::{Param, Row, padded},
    tx::{Script, Tx},
    users,
    webhooks::{self, OfEvent},
    workflows,
};

pub(crate) const INSERT: &str = "INSERT INTO events (bot_id, id, owner, type, payload, status, failure_reason, conversation_id, user_id, message_id, workflow_id, due_at, created_at) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, NULL, ?7, ?8, ?9, ?10, ?11, ?12)";

const COLUMNS: &str =
    "e.id, e.type, e.payload, e.status, e.failure_reason, e.conversation_id, e.user_id, e.message_id, e.created_at";

/// When something is to happen: at an instant, or after a delay in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// At this instant; a past one means now.
    At(Timestamp),
    /// This many milliseconds from now.
    Delay(i64),
}

impl Schedule {
    pub(crate) fn due(self, now: Timestamp) -> Timestamp {
        match self {
            Schedule::At(at) => at,
            Schedule::Delay(millis) => now.plus_millis(millis),
        }
    }
}

/// What an event is about.
#[derive(Clone, Debug, Default)]
pub struct Links {
    /// A conversation.
    pub conversation: Option<String>,
    /// A user.
    pub user: Option<String>,
    /// A message.
    pub message: Option<String>,
    /// A workflow.
    pub workflow: Option<String>,
}

impl Links {
    async fn check(&self, tx: &mut Tx<'_>, who: &Identity) -> Result<()> {
        if let Some(id) = &self.conversation {
            conversations::referenced(tx, who, id).await?;
        }
        if let Some(id) = &self.user {
            users::referenced(tx, who, id).await?;
        }
        if let Some(id) = &self.message {
            messages::referenced(tx, who, id).await?;
        }
        if let Some(id) = &self.workflow {
            workflows::referenced(tx, who, id).await?;
        }
        Ok(())
    }
}

/// createEvent.
#[derive(Clone, Debug)]
pub struct Create {
    /// The caller.
    pub who: Identity,
    /// Name in the caller's view.
    pub kind: String,
    /// JSON object.
    pub payload: Json,
    /// Later.
    pub schedule: Option<Schedule>,
    /// What it is about.
    pub links: Links,
}

impl Script for Create {
    type Out = Event;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Event> {
        self.links.check(tx, &self.who).await?;
        let now = tx.now();
        let due = self.schedule.map(|schedule| schedule.due(now)).filter(|due| *due > now);
        let event = Event {
            id: tx.ids().id(now),
            created_at: now,
            kind: self.who.view.stored_event(&self.kind),
            payload: self.payload.clone(),
            conversation_id: self.links.conversation.clone(),
            user_id: self.links.user.clone(),
            message_id: self.links.message.clone(),
            status: if due.is_some() { EventStatus::Scheduled } else { EventStatus::Pending },
            failure_reason: None,
        };
        let event = insert(tx, &self.who, event, self.links.workflow.as_deref(), due, Kind::Event).await?;
        Ok(seen_by(event, &self.who))
    }
}

/// Writes an event for the bot, and its delivery unless it is for later. One that the bot doesn't hear
/// is ignored. Answers the event as it was written.
pub(crate) async fn insert(
    tx: &mut Tx<'_>,
    who: &Identity,
    mut event: Event,
    workflow: Option<&str>,
    due: Option<Timestamp>,
    delivery: Kind,
) -> Result<Event> {
    event.status = match due {
        Some(_) => EventStatus::Scheduled,
        None if delivery == Kind::Recurring || outbox::is_heard(tx, &who.bot, &event.kind).await? => {
            EventStatus::Pending
        }
        None => EventStatus::Ignored,
    };
    let row = params![
        &who.bot,
        &event.id,
        who.view.owner(),
        &event.kind,
        &event.payload,
        event.status.name(),
        event.conversation_id.as_ref(),
        event.user_id.as_ref(),
        event.message_id.as_ref(),
        workflow,
        due,
        event.created_at
    ];
    if event.status == EventStatus::Pending {
        let lane = event.conversation_id.as_deref().unwrap_or(event.id.as_str());
        let waiting = params![&event.id, &who.bot, "", delivery.name(), lane, event.created_at];
        tx.execute_all(&[(INSERT, row), (outbox::INSERT, waiting)]).await?;
        tx.touches().outbox(&who.bot);
    } else {
        tx.execute(INSERT, row).await?;
    }
    match due {
        Some(due) => tx.touches().due(due),
        None => webhooks::events_happened(tx, &[(who.bot.as_str(), told(&event))]).await?,
    }
    Ok(event)
}

/// An event as webhooks are told of it.
fn told(event: &Event) -> OfEvent<'_> {
    OfEvent {
        id: event.id.as_str(),
        created_at: event.created_at,
        r#type: &event.kind,
        payload: &event.payload,
        conversation_id: event.conversation_id.as_deref(),
        user_id: event.user_id.as_deref(),
        message_id: event.message_id.as_deref(),
    }
}

fn seen_by(mut event: Event, who: &Identity) -> Event {
    event.kind = who.view.seen_event(&event.kind).to_owned();
    event
}

fn stored(row: &mut Row) -> Result<(Event, bool)> {
    let (id, kind, payload) = (row.id()?, row.text()?, row.opt_json()?);
    let by_reference = payload.is_none();
    let event = Event {
        id,
        kind,
        payload: payload.unwrap_or_default(),
        status: row.word(EventStatus::from_name)?,
        failure_reason: row.opt_text()?,
        conversation_id: row.opt_text()?,
        user_id: row.opt_text()?,
        message_id: row.opt_text()?,
        created_at: row.at()?,
    };
    Ok((event, by_reference))
}

/// The payload of `message_created`, in the bot's view (`bridge-protocol.md` § 3.1).
#[derive(Serialize)]
pub(crate) struct MessageCreated<'m> {
    pub(crate) message: Option<&'m Message>,
    pub(crate) user: Option<&'m User>,
    pub(crate) conversation: Option<&'m Conversation>,
}

/// Fills in the payloads kept by reference: three queries, however many events.
async fn render(tx: &mut Tx<'_>, who: &Identity, events: Vec<(Event, bool)>) -> Result<Vec<Event>> {
    let wanted = |pick: fn(&Event) -> &Option<String>| -> Vec<String> {
        let ids: BTreeSet<&String> =
            events.iter().filter(|(_, refers)| *refers).filter_map(|(event, _)| pick(event).as_ref()).collect();
        ids.into_iter().cloned().collect()
    };
    let (message_ids, user_ids, conversation_ids) =
        (wanted(|e| &e.message_id), wanted(|e| &e.user_id), wanted(|e| &e.conversation_id));
    let messages: HashMap<String, Message> =
        messages::by_ids(tx, &message_ids).await?.into_iter().map(|m| (m.id.as_str().to_owned(), m)).collect();
    let users = users::by_ids(tx, &user_ids).await?;
    let conversations = conversations::by_ids(tx, &conversation_ids).await?;
    Ok(events
        .into_iter()
        .map(|(mut event, refers)| {
            if refers {
                event.payload = Json::of(&MessageCreated {
                    message: event.message_id.as_ref().and_then(|id| messages.get(id)),
                    user: event.user_id.as_ref().and_then(|id| users.get(id)),
                    conversation: event.conversation_id.as_ref().and_then(|id| conversations.get(id)),
                });
            }
            seen_by(event, who)
        })
        .collect())
}

/// An event with whether its payload is kept by reference, and its workflow.
pub(crate) type Found = ((Event, bool), Option<String>);

/// The events of a bot with these ids.
pub(crate) async fn by_ids(tx: &mut Tx<'_>, bot: &BotId, ids: &[String]) -> Result<Vec<Found>> {
    let mut found = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(256) {
        let (names, mut params) = padded(chunk, 1);
        params.insert(0, bot.into());
        let sql = format!("SELECT e.workflow_id, {COLUMNS} FROM events e WHERE e.bot_id = ?1 AND e.id IN ({names})");
        for mut row in tx.query(&sql, &params).await? {
            let workflow = row.opt_text()?;
            found.push((stored(&mut row)?, workflow));
        }
    }
    Ok(found)
}

/// An event, and whether its payload is kept by reference.
async fn find(tx: &mut Tx<'_>, who: &Identity, id: &str) -> Result<Option<(Event, bool)>> {
    let mut query = Query::new(&format!("SELECT {COLUMNS} FROM events e WHERE 1 = 1"));
    query.and("e.bot_id =", &who.bot);
    query.and("e.id =", id);
    if !who.is_bot() {
        query.and("e.owner =", who.view.owner());
    }
    let row = match query.run(tx).await?.into_iter().next() {
        Some(row) => Some(row),
        None => announced::find(tx, who, id).await?,
    };
    row.map(|mut row| stored(&mut row)).transpose()
}

/// The status of a bot's event.
pub(crate) async fn standing(tx: &mut Tx<'_>, bot: &BotId, id: &str) -> Result<Option<EventStatus>> {
    let event = find(tx, &Identity::bot(bot.clone()), id).await?;
    Ok(event.map(|(event, _)| event.status))
}

struct Get {
    who: Identity,
    id: String,
}

impl Script for Get {
    type Out = Event;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Event> {
        let missing = || Refusal::not_found("event", &self.id);
        let found = find(tx, &self.who, &self.id).await?.ok_or_else(missing)?;
        let event = render(tx, &self.who, vec![found]).await?.pop();
        Ok(event.ok_or_else(missing)?)
    }
}

/// listEvents.
#[derive(Clone, Debug)]
pub struct List {
    /// The caller.
    pub who: Identity,
    /// Name in the caller's view.
    pub kind: Option<String>,
    /// Only in this status.
    pub status: Option<EventStatus>,
    /// Only about these.
    pub links: Links,
    /// Which page.
    pub page: PageRequest,
}

impl Script for List {
    type Out = Page<Event>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Page<Event>> {
        let mut query = Query::new(&format!("SELECT e.created_at, e.id, {COLUMNS} FROM events e WHERE 1 = 1"));
        query.and("e.bot_id =", &self.who.bot);
        if !self.who.is_bot() {
            query.and("e.owner =", self.who.view.owner());
        }
        if let Some(kind) = &self.kind {
            query.and("e.type =", self.who.view.stored_event(kind));
        }
        if let Some(status) = self.status {
            query.and("e.status =", status.name());
        }
        let links = [
            ("e.conversation_id =", &self.links.conversation),
            ("e.user_id =", &self.links.user),
            ("e.message_id =", &self.links.message),
            ("e.workflow_id =", &self.links.workflow),
        ];
        for (column, id) in links {
            if let Some(id) = id {
                query.and(column, id);
            }
        }
        if let Some(cursor) = &self.page.after {
            query.and("e.id <", &cursor.id);
        }
        query.text.push_str(&format!(" ORDER BY e.id DESC LIMIT {}", self.page.size.get() + 1));
        let mut rows = query.run(tx).await?;
        if announced::concern(self) {
            rows.extend(announced::page(tx, self).await?);
            rows.sort_by(|a, b| b.position().cmp(&a.position()));
        }
        let page = crate::page::page(rows, self.page.size, stored)?;
        Ok(Page { items: render(tx, &self.who, page.items).await?, next: page.next })
    }
}

/// cancelScheduledEvent: only from `scheduled`.
#[derive(Clone, Debug)]
pub struct Cancel {
    /// The caller.
    pub who: Identity,
    /// Which event.
    pub id: String,
}

impl Script for Cancel {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let mut query = Query::new("UPDATE events SET status = 'canceled', due_at = NULL WHERE status = 'scheduled'");
        query.and("bot_id =", &self.who.bot);
        query.and("id =", &self.id);
        if !self.who.is_bot() {
            query.and("owner =", self.who.view.owner());
        }
        query.text.push_str(" RETURNING id");
        if query.run(tx).await?.is_empty() {
            return Err(Refusal::new(
                ErrorKind::ResourceNotFound,
                format!("No scheduled event found with id \"{}\"", self.id),
            )
            .into());
        }
        Ok(())
    }
}

/// Makes the scheduled events whose time has come pending, or ignored; answers how many.
pub(crate) async fn release_due(tx: &mut Tx<'_>, limit: i64) -> Result<usize> {
    let sql = format!(
        "UPDATE events SET status = 'pending', due_at = NULL WHERE status = 'scheduled' AND (bot_id, id) IN \
         (SELECT bot_id, id FROM events WHERE due_at <= ?1 ORDER BY due_at, id LIMIT {limit}) \
         RETURNING bot_id, id, type, conversation_id, workflow_id, payload, user_id, message_id, created_at"
    );
    let rows = tx.query(&sql, params![tx.now()]).await?;
    let mut due = Vec::with_capacity(rows.len());
    for mut row in rows {
        due.push(Due {
            bot: row.text()?,
            id: row.text()?,
            kind: row.text()?,
            conversation: row.opt_text()?,
            of_workflow: row.opt_text()?.is_some(),
            payload: row.opt_json()?.unwrap_or_default(),
            user: row.opt_text()?,
            message: row.opt_text()?,
            created_at: row.at()?,
        });
    }
    let bots: BTreeSet<String> = due.iter().map(|due| due.bot.clone()).collect();
    let heard = outbox::heard(tx, &Vec::from_iter(bots)).await?;
    let hears = |due: &&Due| outbox::hears(heard.get(&due.bot).and_then(Option::as_deref), &due.kind);
    let (wanted, unheard): (Vec<&Due>, Vec<&Due>) = due.iter().partition(hears);
    let rows: Vec<outbox::New<'_>> = wanted
        .iter()
        .map(|due| outbox::New {
            id: &due.id,
            bot: &due.bot,
            kind: if due.of_workflow && due.kind == "workflow_update" { Kind::Workflow } else { Kind::Event },
            lane: due.conversation.as_deref().unwrap_or(&due.id),
        })
        .collect();
    outbox::insert_many(tx, &rows).await?;
    let told: Vec<(&str, OfEvent<'_>)> = due.iter().map(|due| (due.bot.as_str(), due.told())).collect();
    webhooks::events_happened(tx, &told).await?;
    for due in unheard {
        let sql = "UPDATE events SET status = 'ignored' WHERE bot_id = ?1 AND id = ?2";
        tx.execute(sql, params![&due.bot, &due.id]).await?;
    }
    Ok(due.len())
}

/// A scheduled event whose time has come.
struct Due {
    bot: String,
    id: String,
    kind: String,
    conversation: Option<String>,
    of_workflow: bool,
    payload: Json,
    user: Option<String>,
    message: Option<String>,
    created_at: Timestamp,
}

impl Due {
    fn told(&self) -> OfEvent<'_> {
        OfEvent {
            id: &self.id,
            created_at: self.created_at,
            r#type: &self.kind,
            payload: &self.payload,
            conversation_id: self.conversation.as_deref(),
            user_id: self.user.as_deref(),
            message_id: self.message.as_deref(),
        }
    }
}

/// Many events of one kind for many bots at once, with their deliveries.
pub(crate) async fn insert_pending(tx: &mut Tx<'_>, kind: &str, about: &[Pending]) -> Result<()> {
    if about.is_empty() {
        return Ok(());
    }
    let now = tx.now();
    let ids: Vec<EventId> = about.iter().map(|_| tx.ids().id(now)).collect();
    let bots: BTreeSet<String> = about.iter().map(|event| event.bot.clone()).collect();
    let heard = outbox::heard(tx, &Vec::from_iter(bots)).await?;
    let mut events: Vec<Param<'_>> = Vec::new();
    let mut waiting = Vec::new();
    for (id, event) in ids.iter().zip(about) {
        let hears = outbox::hears(heard.get(&event.bot).and_then(Option::as_deref), kind);
        events.extend([
            (&event.bot).into(),
            id.into(),
            "".into(),
            kind.into(),
            (&event.payload).into(),
            if hears { "pending" } else { "ignored" }.into(),
            event.conversation.as_ref().into(),
            event.user.as_ref().into(),
            now.into(),
        ]);
        if hears {
            let lane = event.conversation.as_deref().unwrap_or(id.as_str());
            waiting.push(outbox::New { id: id.as_str(), bot: &event.bot, kind: Kind::Event, lane });
        }
    }
    tx.insert_many(
        "INSERT INTO events (bot_id, id, owner, type, payload, status, conversation_id, user_id, created_at)",
        9,
        &events,
        "",
    )
    .await?;
    outbox::insert_many(tx, &waiting).await?;
    let told: Vec<(&str, OfEvent<'_>)> = ids
        .iter()
        .zip(about)
        .map(|(id, event)| {
            let told = OfEvent {
                id: id.as_str(),
                created_at: now,
                r#type: kind,
                payload: &event.payload,
                conversation_id: event.conversation.as_deref(),
                user_id: event.user.as_deref(),
                message_id: None,
            };
            (event.bot.as_str(), told)
        })
        .collect();
    webhooks::events_happened(tx, &told).await
}

/// One event of [`insert_pending`].
pub(crate) struct Pending {
    pub(crate) bot: String,
    pub(crate) payload: Json,
    pub(crate) conversation: Option<String>,
    pub(crate) user: Option<String>,
}

impl Store {
    /// getEvent.
    pub async fn get_event(&self, who: Identity, id: String) -> Result<Event> {
        self.read(&Get { who, id }).await
    }

    /// listEvents.
    pub async fn list_events(&self, list: List) -> Result<Page<Event>> {
        self.read(&list).await
    }
}
