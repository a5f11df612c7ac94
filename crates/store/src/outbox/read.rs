//! The rows that wait, and what is sent for each of them.

use std::collections::{BTreeSet, HashMap};

use duologue_model::{
    Conversation, Event, EventStatus, Identity, Json, Message, Timestamp, User, View, WorkflowStatus,
    id::{BotId, EventId, MessageId},
};
use serde::Serialize;
use serde_json::Value;

use super::{Changed, Kind, MESSAGE_CREATED};
use crate::{
    Result, Store, conversations,
    events::{self, MessageCreated},
    messages, params,
    tx::{Script, Tx},
    users, workflows,
};

/// A row of the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Of the event or message; unique in the bot.
    pub id: String,
    /// Who is called: empty for the bot, or the alias of an integration.
    pub target: String,
    /// What it is.
    pub kind: Kind,
    /// Rows of one target and lane are delivered one after the other.
    pub lane: String,
    /// When it was written.
    pub at: Timestamp,
    /// How often it was tried.
    pub attempts: i64,
    /// Not before.
    pub due_at: Timestamp,
}

struct Read {
    bot: BotId,
    after: Option<String>,
    limit: i64,
}

impl Script for Read {
    type Out = Vec<Waiting>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Waiting>> {
        // SQLite prepares a statement anew whose limit is bound.
        let sql = format!(
            "SELECT id, target, kind, lane, at, attempts, due_at FROM outbox WHERE bot_id = ?1 AND id > ?2 \
             ORDER BY id LIMIT {}",
            self.limit
        );
        let after = self.after.as_deref().unwrap_or_default();
        let rows = tx.query(&sql, params![&self.bot, after]).await?;
        rows.into_iter()
            .map(|mut row| {
                Ok(Waiting {
                    id: row.text()?,
                    target: row.text()?,
                    kind: row.word(Kind::from_name)?,
                    lane: row.text()?,
                    at: row.at()?,
                    attempts: row.int()?,
                    due_at: row.at()?,
                })
            })
            .collect()
    }
}

/// Bots for which something waits and that nobody holds: from one bot in the outbox to the next, however many
/// rows each has, and however many bots have none.
const BOTS: &str = "WITH RECURSIVE waiting (bot_id) AS ( \
                      SELECT MIN(bot_id) FROM outbox \
                      UNION ALL \
                      SELECT (SELECT MIN(o.bot_id) FROM outbox o WHERE o.bot_id > w.bot_id) FROM waiting w WHERE w.bot_id IS NOT NULL \
                    ) \
                    SELECT w.bot_id FROM waiting w WHERE w.bot_id IS NOT NULL \
                    AND NOT EXISTS (SELECT 1 FROM delivery_leases l WHERE l.bot_id = w.bot_id AND l.until > ?1)";

struct Bots {
    now: Timestamp,
}

impl Script for Bots {
    type Out = Vec<BotId>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<BotId>> {
        tx.query(BOTS, params![self.now]).await?.into_iter().map(|mut row| row.id()).collect()
    }
}

/// What is sent for a row.
#[derive(Clone, Debug)]
pub enum Content {
    /// An event, for the bot.
    Event {
        /// In the bot's view, `pending`.
        event: Box<Event>,
        /// The workflow whose fate depends on the bot's answer.
        workflow: Option<WorkflowUpdate>,
    },
    /// The body of an operation of an integration, and the channel that it concerns.
    Operation {
        /// JSON object, in the integration's view.
        body: Json,
        /// Of the conversation.
        channel: String,
    },
    /// What it was about is gone, or doesn't matter any more.
    Moot,
}

/// A `workflow_update` that the bot has to acknowledge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkflowUpdate {
    /// The workflow.
    pub id: String,
    /// `workflow_started` or `workflow_continued`.
    pub what: String,
}

struct Render {
    bot: BotId,
    /// Ids, targets and kinds.
    rows: Vec<(String, String, Kind)>,
    /// The views of the integrations that are called, by alias.
    views: HashMap<String, View>,
}

#[derive(Serialize)]
struct MessageOperation<'m> {
    r#type: &'m str,
    payload: &'m Json,
    conversation: &'m Conversation,
    message: &'m Message,
    user: Option<&'m User>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageUpdatedOperation<'m> {
    r#type: &'m str,
    payload: &'m Json,
    conversation: &'m Conversation,
    user: Option<&'m User>,
    current_message: &'m Message,
    previous_message: &'m Message,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConversationUpdatedOperation<'m> {
    current_conversation: &'m Conversation,
    previous_conversation: &'m Conversation,
}

/// What rows refer to, read with one query a table.
#[derive(Default)]
struct Referred {
    messages: HashMap<String, Message>,
    users: HashMap<String, User>,
    conversations: HashMap<String, Conversation>,
}

impl Script for Render {
    type Out = HashMap<String, Content>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<HashMap<String, Content>> {
        let changed = self.changed(tx).await?;
        let stored = self.events(tx).await?;
        let referred = self.referred(tx, &stored, &changed).await?;
        let workflows = self.workflows(tx, &stored).await?;
        let content = |(id, target, kind): &(String, String, Kind)| match kind {
            Kind::Announced => announced(id, &referred),
            Kind::Event | Kind::Recurring => stored.get(id).and_then(|(event, ..)| plain(event, &referred)),
            Kind::Workflow => stored.get(id).and_then(|(event, of)| update(event, of.as_deref(), &workflows)),
            _ => self.views.get(target).and_then(|view| operation(id, *kind, view, &referred, &changed)),
        };
        Ok(self.rows.iter().map(|row| (row.0.clone(), content(row).unwrap_or(Content::Moot))).collect())
    }
}

/// Changed messages and conversations by the rows' ids.
#[derive(Default)]
struct Changes {
    messages: HashMap<String, Changed<Message>>,
    conversations: HashMap<String, Changed<Conversation>>,
}

type Stored = HashMap<String, ((Event, bool), Option<String>)>;

impl Render {
    fn ids(&self, wanted: impl Fn(Kind) -> bool) -> Vec<String> {
        self.rows.iter().filter(|(.., kind)| wanted(*kind)).map(|(id, ..)| id.clone()).collect()
    }

    async fn changed(&self, tx: &mut Tx<'_>) -> Result<Changes> {
        let mut changes = Changes::default();
        let ids = self.ids(|kind| matches!(kind, Kind::MessageUpdated | Kind::ConversationUpdated));
        for id in ids {
            let sql = "SELECT kind, body FROM outbox WHERE bot_id = ?1 AND id = ?2";
            let Some(mut row) = tx.query_opt(sql, params![&self.bot, &id]).await? else { continue };
            let (kind, body) = (row.text()?, row.opt_text()?.unwrap_or_default());
            // What can't be read is moot.
            if kind == Kind::MessageUpdated.name() {
                if let Ok(changed) = serde_json::from_str(&body) {
                    changes.messages.insert(id, changed);
                }
            } else if let Ok(changed) = serde_json::from_str(&body) {
                changes.conversations.insert(id, changed);
            }
        }
        Ok(changes)
    }

    async fn events(&self, tx: &mut Tx<'_>) -> Result<Stored> {
        let ids = self.ids(|kind| matches!(kind, Kind::Event | Kind::Recurring | Kind::Workflow));
        let found = events::by_ids(tx, &self.bot, &ids).await?;
        Ok(found.into_iter().map(|found| (found.0.0.id.as_str().to_owned(), found)).collect())
    }

    async fn referred(&self, tx: &mut Tx<'_>, stored: &Stored, changes: &Changes) -> Result<Referred> {
        let mut ids: BTreeSet<String> = self.ids(|kind| kind == Kind::Message).into_iter().collect();
        let announced = self.ids(|kind| kind == Kind::Announced);
        ids.extend(announced.iter().filter_map(|id| message_of(id)).map(|id| id.to_string()));
        let by_reference = stored.values().filter(|((_, refers), _)| *refers);
        ids.extend(by_reference.filter_map(|((event, _), _)| event.message_id.clone()));
        let ids: Vec<String> = ids.into_iter().collect();
        let mut referred = Referred::default();
        for message in messages::by_ids(tx, &ids).await? {
            referred.messages.insert(message.id.as_str().to_owned(), message);
        }
        let about = || referred.messages.values().chain(changes.messages.values().map(|changed| &changed.current));
        let user_ids: BTreeSet<String> = about().map(|message| message.user_id.as_str().to_owned()).collect();
        let place_ids: BTreeSet<String> = about().map(|message| message.conversation_id.as_str().to_owned()).collect();
        let (user_ids, place_ids) = (Vec::from_iter(user_ids), Vec::from_iter(place_ids));
        referred.users = users::by_ids(tx, &user_ids).await?;
        referred.conversations = conversations::by_ids(tx, &place_ids).await?;
        Ok(referred)
    }

    async fn workflows(&self, tx: &mut Tx<'_>, stored: &Stored) -> Result<HashMap<String, duologue_model::Workflow>> {
        let ids: BTreeSet<String> = stored.values().filter_map(|(_, workflow)| workflow.clone()).collect();
        workflows::by_ids(tx, &self.bot, &Vec::from_iter(ids)).await
    }
}

fn message_of(event: &str) -> Option<MessageId> {
    EventId::new(event).message()
}

/// The event that is its message.
fn announced(id: &str, referred: &Referred) -> Option<Content> {
    let message = referred.messages.get(message_of(id)?.as_str())?;
    let event = Event {
        id: EventId::new(id),
        created_at: message.created_at,
        kind: MESSAGE_CREATED.to_owned(),
        payload: Json::empty_object(),
        conversation_id: Some(message.conversation_id.as_str().to_owned()),
        user_id: Some(message.user_id.as_str().to_owned()),
        message_id: Some(message.id.as_str().to_owned()),
        status: EventStatus::Pending,
        failure_reason: None,
    };
    plain(&(event, true), referred)
}

/// An event as it is, with its message put in if it is about one.
fn plain((event, refers): &(Event, bool), referred: &Referred) -> Option<Content> {
    let mut event = event.clone();
    if *refers {
        let message = event.message_id.as_ref().and_then(|id| referred.messages.get(id))?;
        event.payload = Json::of(&MessageCreated {
            message: Some(message),
            user: referred.users.get(message.user_id.as_str()),
            conversation: referred.conversations.get(message.conversation_id.as_str()),
        });
    }
    event.status = EventStatus::Pending;
    event.failure_reason = None;
    Some(Content::Event { event: Box::new(event), workflow: None })
}

/// An event about a workflow: those that have to be acknowledged are moot unless it still waits, and
/// carry it as it is now.
fn update(
    (event, _): &(Event, bool),
    of: Option<&str>,
    workflows: &HashMap<String, duologue_model::Workflow>,
) -> Option<Content> {
    let mut event = event.clone();
    let mut payload = event.payload.value();
    let what = payload["type"].as_str().unwrap_or_default().to_owned();
    let mut workflow = None;
    if matches!(what.as_str(), workflows::STARTED | workflows::CONTINUED)
        && let Some(id) = of
    {
        let current = workflows.get(id).filter(|workflow| workflow.status == WorkflowStatus::Pending)?;
        payload["workflow"] = serde_json::to_value(current).unwrap_or(Value::Null);
        event.payload = Json::of(&payload);
        workflow = Some(WorkflowUpdate { id: id.to_owned(), what });
    }
    event.status = EventStatus::Pending;
    Some(Content::Event { event: Box::new(event), workflow })
}

/// What an integration is told.
fn operation(id: &str, kind: Kind, view: &View, referred: &Referred, changes: &Changes) -> Option<Content> {
    let seen = |conversation: &Conversation| -> Conversation {
        let mut conversation = conversation.clone();
        conversation.tags = conversation.tags.seen_by(view);
        conversation
    };
    let seen_message = |message: &Message| -> Message {
        let mut message = message.clone();
        message.tags = message.tags.seen_by(view);
        message
    };
    let seen_user = |id: &str| {
        referred.users.get(id).cloned().map(|mut user| {
            user.tags = user.tags.seen_by(view);
            user
        })
    };
    let place = |message: &Message| referred.conversations.get(message.conversation_id.as_str()).map(&seen);
    match kind {
        Kind::Message => {
            let message = seen_message(referred.messages.get(id)?);
            let (conversation, user) = (place(&message)?, seen_user(message.user_id.as_str()));
            let body = Json::of(&MessageOperation {
                r#type: &message.kind,
                payload: &message.payload,
                conversation: &conversation,
                message: &message,
                user: user.as_ref(),
            });
            Some(Content::Operation { body, channel: conversation.channel })
        }
        Kind::MessageUpdated => {
            let changed = changes.messages.get(id)?;
            let (previous, current) = (seen_message(&changed.previous), seen_message(&changed.current));
            let (conversation, user) = (place(&current)?, seen_user(current.user_id.as_str()));
            let body = Json::of(&MessageUpdatedOperation {
                r#type: &current.kind,
                payload: &current.payload,
                conversation: &conversation,
                user: user.as_ref(),
                current_message: &current,
                previous_message: &previous,
            });
            Some(Content::Operation { body, channel: conversation.channel })
        }
        _ => {
            let changed = changes.conversations.get(id)?;
            let (previous, current) = (seen(&changed.previous), seen(&changed.current));
            let body = Json::of(&ConversationUpdatedOperation {
                current_conversation: &current,
                previous_conversation: &previous,
            });
            Some(Content::Operation { body, channel: current.channel })
        }
    }
}

impl Store {
    /// Rows that wait, in the order of their ids, after one of them: at most `limit`.
    pub async fn waiting(&self, bot: &BotId, after: Option<String>, limit: i64) -> Result<Vec<Waiting>> {
        self.read(&Read { bot: bot.clone(), after, limit }).await
    }

    /// Bots for which something waits and that no process holds.
    pub async fn bots_waiting(&self) -> Result<Vec<BotId>> {
        self.read(&Bots { now: self.now() }).await
    }

    /// What is sent for these rows (ids, targets and kinds), by their ids. `views` are those of the
    /// integrations that are called, by alias.
    pub async fn render_deliveries(
        &self,
        bot: &BotId,
        rows: Vec<(String, String, Kind)>,
        views: HashMap<String, View>,
    ) -> Result<HashMap<String, Content>> {
        self.read(&Render { bot: bot.clone(), rows, views }).await
    }
}

/// The bot's own identity, for what deliveries write.
pub(super) fn identity(bot: &BotId) -> Identity {
    Identity::bot(bot.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Location;

    /// How SQLite finds the bots.
    struct Plan;

    impl Script for Plan {
        type Out = Vec<String>;
        async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<String>> {
            let rows = tx.query(&format!("EXPLAIN QUERY PLAN {BOTS}"), params![Timestamp::MAX]).await?;
            let step = |mut row: crate::sql::Row| {
                let _ids = (row.int()?, row.int()?, row.int()?);
                row.text()
            };
            rows.into_iter().map(step).collect()
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn bots_are_found_without_looking_at_each() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Location::Sqlite(folder.path().join("duologue.db"))).await.unwrap();
        let plan = store.read(&Plan).await.unwrap();
        let scanned: Vec<&String> = plan.iter().filter(|step| step.starts_with("SCAN") && *step != "SCAN w").collect();
        assert!(scanned.is_empty() && plan.iter().any(|step| step.starts_with("SEARCH o ")), "{plan:#?}");
    }
}
