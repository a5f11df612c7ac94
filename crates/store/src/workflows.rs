//! Workflows (`spec/cloud/runtime.md` § 12): their rows and the rules of their status.

use std::collections::HashMap;

use duologue_model::{
    Error as Refusal, Event, EventStatus, Identity, Json, Tags, Timestamp, Workflow, WorkflowStatus, id::BotId,
    tags::TagPatch,
};

use crate::{
    Error, Result, Store, conversations, events,
    outbox::{
        Kind,
        read::WorkflowUpdate,
        settle::{Done, Outcome},
    },
    page::{Latest, Page, PageRequest, Query},
    params,
    sql::{Row, padded},
    tag_index::{self, Discriminator},
    tx::{Script, Tx},
    users,
};

/// How long a workflow may run when nothing is said: 5 minutes.
const DEFAULT_TIMEOUT_MILLIS: i64 = 5 * 60 * 1000;

/// The kind of update that lets a bot begin a workflow.
pub(crate) const STARTED: &str = "workflow_started";
/// The kind of update that lets a bot go on with it.
pub(crate) const CONTINUED: &str = "workflow_continued";

/// How many deliveries in a row a bot may leave unacknowledged.
const UNACKNOWLEDGED: i64 = 3;
/// The first pause before a workflow is continued, which doubles each time, in milliseconds.
const FIRST_PAUSE: i64 = 100;
/// The longest.
const LONGEST_PAUSE: i64 = 5_000;

const COLUMNS: &str = "e.id, e.name, e.status, e.input, e.output, e.parent_workflow_id, e.conversation_id, e.user_id, \
                       e.failure_reason, e.tags, e.timeout_at, e.completed_at, e.created_at, e.updated_at";

fn stored(row: &mut Row) -> Result<Workflow> {
    Ok(Workflow {
        id: row.id()?,
        name: row.text()?,
        status: row.word(WorkflowStatus::from_name)?,
        input: row.json()?,
        output: row.json()?,
        parent_workflow_id: row.opt_text()?,
        conversation_id: row.opt_text()?,
        user_id: row.opt_text()?,
        failure_reason: row.opt_text()?,
        tags: row.tags()?,
        timeout_at: row.at()?,
        completed_at: row.opt_at()?,
        created_at: row.at()?,
        updated_at: row.at()?,
    })
}

fn for_bots(who: &Identity) -> Result<(), Refusal> {
    if who.is_bot() { Ok(()) } else { Err(Refusal::forbidden("workflows are for the bot only, not for integrations")) }
}

pub(crate) async fn find(tx: &mut Tx<'_>, who: &Identity, id: &str, lock: bool) -> Result<Option<Workflow>> {
    let lock = if lock { " {for_update}" } else { "" };
    let sql = format!("SELECT {COLUMNS} FROM workflows e WHERE e.id = ?1 AND e.bot_id = ?2{lock}");
    tx.query_opt(&sql, params![id, &who.bot]).await?.map(|mut row| stored(&mut row)).transpose()
}

async fn named(tx: &mut Tx<'_>, who: &Identity, id: &str, lock: bool) -> Result<Workflow> {
    for_bots(who)?;
    find(tx, who, id, lock).await?.ok_or_else(|| Error::Refused(Refusal::not_found("workflow", id)))
}

pub(crate) async fn referenced(tx: &mut Tx<'_>, who: &Identity, id: &str) -> Result<()> {
    find(tx, who, id, false).await?.ok_or_else(|| Error::Refused(Refusal::reference_not_found("workflow", id)))?;
    Ok(())
}

/// The event a workflow is acknowledged by must be the bot's and still open.
async fn acknowledged(tx: &mut Tx<'_>, who: &Identity, event: Option<&str>) -> Result<String> {
    let event = event.ok_or_else(|| {
        Refusal::invalid_payload("status \"in_progress\" needs eventId, the id of the event being handled")
    })?;
    let refuse =
        || Refusal::invalid_payload(format!("eventId \"{event}\" is not the id of an event that is being handled"));
    match crate::events::standing(tx, &who.bot, event).await? {
        Some(EventStatus::Pending) => Ok(event.to_owned()),
        _ => Err(refuse().into()),
    }
}

/// What a new workflow is made of.
#[derive(Clone, Debug)]
pub struct NewWorkflow {
    /// Any name.
    pub name: String,
    /// `pending`, `in_progress` or `listening`.
    pub status: WorkflowStatus,
    /// JSON object.
    pub input: Json,
    /// The workflow that starts it.
    pub parent: Option<String>,
    /// What it is about.
    pub conversation: Option<String>,
    /// Whom it is about.
    pub user: Option<String>,
    /// 5 minutes from now if absent.
    pub timeout_at: Option<Timestamp>,
    /// Always the bot's.
    pub tags: TagPatch,
    /// The event being handled, for `in_progress`.
    pub event: Option<String>,
}

async fn insert(tx: &mut Tx<'_>, who: &Identity, new: &NewWorkflow) -> Result<Workflow> {
    if let Some(id) = &new.parent {
        referenced(tx, who, id).await?;
    }
    if let Some(id) = &new.conversation {
        conversations::referenced(tx, who, id).await?;
    }
    if let Some(id) = &new.user {
        users::referenced(tx, who, id).await?;
    }
    let event = match new.status {
        WorkflowStatus::InProgress => Some(acknowledged(tx, who, new.event.as_deref()).await?),
        _ => None,
    };
    let now = tx.now();
    let workflow = Workflow {
        id: tx.ids().id(now),
        name: new.name.clone(),
        status: new.status,
        input: new.input.clone(),
        output: Json::empty_object(),
        parent_workflow_id: new.parent.clone(),
        conversation_id: new.conversation.clone(),
        user_id: new.user.clone(),
        created_at: now,
        updated_at: now,
        completed_at: None,
        failure_reason: None,
        timeout_at: new.timeout_at.unwrap_or(now.plus_millis(DEFAULT_TIMEOUT_MILLIS)),
        tags: Tags::create(&new.tags, &who.view)?,
    };
    let tags = workflow.tags.text();
    tx.execute(
        "INSERT INTO workflows (id, bot_id, name, status, input, output, parent_workflow_id, conversation_id, user_id, event_id, \
         failure_reason, tags, timeout_at, completed_at, created_at, updated_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, NULL, ?11, ?12, NULL, ?13, ?13)",
        params![
            &workflow.id, &who.bot, &workflow.name, workflow.status.name(), &workflow.input, &workflow.output,
            workflow.parent_workflow_id.as_ref(), workflow.conversation_id.as_ref(), workflow.user_id.as_ref(),
            event.as_ref(), &tags, workflow.timeout_at, now
        ],
    )
    .await?;
    tag_index::update(tx, &who.bot, "w", workflow.id.as_str(), now, &Tags::default(), &workflow.tags).await?;
    tx.touches().due(workflow.timeout_at);
    current(tx, &workflow).await?;
    if workflow.status == WorkflowStatus::Pending {
        announce(tx, who, STARTED, &workflow, None, None).await?;
    }
    Ok(workflow)
}

/// `currentWorkflowId` of the conversation: the latest active one; cleared when it ends.
async fn current(tx: &mut Tx<'_>, workflow: &Workflow) -> Result<()> {
    let Some(conversation) = &workflow.conversation_id else { return Ok(()) };
    let sql = match workflow.status {
        WorkflowStatus::Pending | WorkflowStatus::InProgress | WorkflowStatus::Listening => {
            "UPDATE conversations SET current_workflow_id = ?2 WHERE id = ?1"
        }
        WorkflowStatus::Paused => return Ok(()),
        _ => "UPDATE conversations SET current_workflow_id = NULL WHERE id = ?1 AND current_workflow_id = ?2",
    };
    tx.execute(sql, params![conversation, &workflow.id]).await?;
    Ok(())
}

/// Tells the bot what became of a workflow (`bridge-protocol.md` § 3.5).
async fn announce(
    tx: &mut Tx<'_>,
    who: &Identity,
    what: &str,
    workflow: &Workflow,
    child: Option<&Workflow>,
    due: Option<Timestamp>,
) -> Result<()> {
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Payload<'p> {
        r#type: &'p str,
        workflow: &'p Workflow,
        #[serde(skip_serializing_if = "Option::is_none")]
        conversation: Option<duologue_model::Conversation>,
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<duologue_model::User>,
        #[serde(skip_serializing_if = "Option::is_none")]
        child_workflow: Option<&'p Workflow>,
    }
    let conversation = match &workflow.conversation_id {
        Some(id) => conversations::find(tx, who, id, false).await?,
        None => None,
    };
    let user = match &workflow.user_id {
        Some(id) => users::find(tx, who, id, false).await?.map(|user| user.user),
        None => None,
    };
    let payload = Json::of(&Payload { r#type: what, workflow, conversation, user, child_workflow: child });
    let event = Event {
        id: tx.ids().id(tx.now()),
        created_at: tx.now(),
        kind: "workflow_update".into(),
        payload,
        conversation_id: workflow.conversation_id.clone(),
        user_id: workflow.user_id.clone(),
        message_id: None,
        status: EventStatus::Pending,
        failure_reason: None,
    };
    events::insert(tx, who, event, Some(workflow.id.as_str()), due, Kind::Workflow).await?;
    Ok(())
}

/// The workflows of a bot with these ids, by id.
pub(crate) async fn by_ids(tx: &mut Tx<'_>, bot: &BotId, ids: &[String]) -> Result<HashMap<String, Workflow>> {
    let mut found = HashMap::with_capacity(ids.len());
    for chunk in ids.chunks(256) {
        let (names, mut params) = padded(chunk, 1);
        params.insert(0, bot.into());
        let sql = format!("SELECT {COLUMNS} FROM workflows e WHERE e.bot_id = ?1 AND e.id IN ({names})");
        for mut row in tx.query(&sql, &params).await? {
            let workflow = stored(&mut row)?;
            found.insert(workflow.id.as_str().to_owned(), workflow);
        }
    }
    Ok(found)
}

/// What becomes of workflows now that these events were answered (`bridge-protocol.md` § 3.5): one that
/// the bot acknowledged and left in progress is continued after a pause; one that it didn't acknowledge
/// is delivered again, until it has failed. An acknowledged event isn't delivered again whatever the
/// answer.
pub(crate) async fn settle(tx: &mut Tx<'_>, who: &Identity, done: &mut [Done]) -> Result<()> {
    let events: Vec<String> = done
        .iter()
        .filter(|done| done.row.kind.is_event())
        .filter(|done| done.row.kind == Kind::Workflow || !matches!(done.outcome, Outcome::Retry(..)))
        .map(|done| done.row.id.clone())
        .collect();
    let mut acknowledged: HashMap<String, Vec<(Workflow, i64)>> = HashMap::new();
    for chunk in events.chunks(256) {
        let (names, params) = padded(chunk, 0);
        let sql = format!(
            "SELECT e.event_id, e.continued, {COLUMNS} FROM workflows e WHERE e.status = 'in_progress' AND e.event_id IN ({names}) \
             {{for_update}}"
        );
        for mut row in tx.query(&sql, &params).await? {
            let (event, continued) = (row.text()?, row.int()?);
            acknowledged.entry(event).or_default().push((stored(&mut row)?, continued));
        }
    }
    for done in done {
        let ours = acknowledged.remove(&done.row.id).unwrap_or_default();
        let update = done.workflow.clone();
        let is_acknowledged =
            update.as_ref().is_some_and(|update| ours.iter().any(|(workflow, _)| workflow.id.as_str() == update.id));
        for (workflow, continued) in ours {
            go_on(tx, who, &workflow, continued).await?;
        }
        match update {
            Some(_) if is_acknowledged => {
                if let Outcome::Retry(_, reason) = &done.outcome {
                    done.outcome = Outcome::Failed(reason.clone());
                }
            }
            Some(update) => unacknowledged(tx, who, &update, done).await?,
            None => {}
        }
    }
    Ok(())
}

/// The next delivery of a workflow that is in progress.
async fn go_on(tx: &mut Tx<'_>, who: &Identity, before: &Workflow, continued: i64) -> Result<()> {
    let mut after = before.clone();
    after.status = WorkflowStatus::Pending;
    after.updated_at = tx.now().max(before.updated_at.plus_millis(1));
    save(tx, who, before, &after, None).await?;
    let sql = "UPDATE workflows SET unacknowledged = 0, continued = continued + 1 WHERE id = ?1";
    tx.execute(sql, params![&after.id]).await?;
    announce(tx, who, CONTINUED, &after, None, Some(pause(tx, continued))).await
}

fn pause(tx: &Tx<'_>, times: i64) -> Timestamp {
    let pause = FIRST_PAUSE.checked_shl(times.clamp(0, 10) as u32).unwrap_or(LONGEST_PAUSE);
    tx.now().plus_millis(pause.min(LONGEST_PAUSE))
}

/// Counts a delivery that wasn't acknowledged, if the workflow still waits for it.
async fn unacknowledged(tx: &mut Tx<'_>, who: &Identity, update: &WorkflowUpdate, done: &mut Done) -> Result<()> {
    if matches!(done.outcome, Outcome::Ignored(_) | Outcome::Moot) {
        return Ok(());
    }
    let Some(before) = find(tx, who, &update.id, true).await? else { return Ok(()) };
    if before.status != WorkflowStatus::Pending {
        return Ok(());
    }
    let sql = "UPDATE workflows SET unacknowledged = unacknowledged + 1 WHERE id = ?1 RETURNING unacknowledged";
    let row = tx.query_opt(sql, params![&before.id]).await?;
    let count = row.map_or(Ok(UNACKNOWLEDGED), |mut row| row.int())?;
    if count < UNACKNOWLEDGED {
        // What is tried again anyway needs no further event.
        return match done.outcome {
            Outcome::Retry(..) => Ok(()),
            _ => announce(tx, who, &update.what, &before, None, Some(pause(tx, count))).await,
        };
    }
    if let Outcome::Retry(_, reason) = &done.outcome {
        done.outcome = Outcome::Failed(reason.clone());
    }
    let mut after = before.clone();
    after.status = WorkflowStatus::Failed;
    after.failure_reason = Some(format!("The bot did not acknowledge the workflow in {UNACKNOWLEDGED} deliveries"));
    after.completed_at = Some(tx.now());
    after.updated_at = tx.now().max(before.updated_at.plus_millis(1));
    save(tx, who, &before, &after, None).await?;
    finished(tx, who, &after).await
}

/// What follows from a workflow having finished: its parent hears of it.
async fn finished(tx: &mut Tx<'_>, who: &Identity, workflow: &Workflow) -> Result<()> {
    if let Some(parent) = &workflow.parent_workflow_id
        && let Some(parent) = find(tx, who, parent, false).await?
    {
        announce(tx, who, "child_workflow_finished", &parent, Some(workflow), None).await?;
    }
    Ok(())
}

/// createWorkflow.
#[derive(Clone, Debug)]
pub struct Create {
    /// The caller.
    pub who: Identity,
    /// What to create.
    pub new: NewWorkflow,
}

impl Script for Create {
    type Out = Workflow;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Workflow> {
        for_bots(&self.who)?;
        insert(tx, &self.who, &self.new).await
    }
}

/// getOrCreateWorkflow. Answers whether it was created.
#[derive(Clone, Debug)]
pub struct GetOrCreate {
    /// The caller.
    pub who: Identity,
    /// What to create.
    pub new: NewWorkflow,
    /// Which tags count; all if empty.
    pub by: Vec<String>,
    /// Only active ones count (`Some(true)`), or finished ones.
    pub active: Option<bool>,
}

impl Script for GetOrCreate {
    type Out = (Workflow, bool);
    async fn run(&self, tx: &mut Tx<'_>) -> Result<(Workflow, bool)> {
        for_bots(&self.who)?;
        let by = Discriminator { tags: self.new.tags.clone(), by: self.by.clone() };
        if by.compares() {
            by.lock(tx, &self.who, "w", &self.new.name).await?;
            let scope = |query: &mut Query| {
                query.and("e.name =", &self.new.name);
                match self.active {
                    Some(true) => query.text.push_str(" AND e.completed_at IS NULL"),
                    Some(false) => query.text.push_str(" AND e.completed_at IS NOT NULL"),
                    None => {}
                }
            };
            if let Some(mut row) =
                by.matches(tx, &self.who, "workflows", "w", COLUMNS, scope, 1).await?.into_iter().next()
            {
                return Ok((stored(&mut row)?, false));
            }
        }
        Ok((insert(tx, &self.who, &self.new).await?, true))
    }
}

struct Get {
    who: Identity,
    id: String,
}

impl Script for Get {
    type Out = Workflow;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Workflow> {
        named(tx, &self.who, &self.id, false).await
    }
}

/// updateWorkflow. Absent fields stay.
#[derive(Clone, Debug)]
pub struct Update {
    /// The caller.
    pub who: Identity,
    /// Which workflow.
    pub id: String,
    /// `in_progress`, `listening`, `paused`, `completed`, `failed` or `cancelled`.
    pub status: Option<WorkflowStatus>,
    /// Replaced; discarded with `cancelled`.
    pub output: Option<Json>,
    /// Replaced.
    pub timeout_at: Option<Timestamp>,
    /// With `failed`.
    pub failure_reason: Option<String>,
    /// Merged.
    pub tags: TagPatch,
    /// Replaced.
    pub user: Option<String>,
    /// The event being handled, for `in_progress`.
    pub event: Option<String>,
}

impl Script for Update {
    type Out = Workflow;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Workflow> {
        let who = &self.who;
        let before = named(tx, who, &self.id, true).await?;
        let mut after = before.clone();
        let mut event = None;
        if let Some(status) = self.status {
            allowed(&before, status)?;
            if status == WorkflowStatus::InProgress {
                event = Some(acknowledged(tx, who, self.event.as_deref()).await?);
            }
            after.status = status;
        }
        if let Some(output) = &self.output
            && after.status != WorkflowStatus::Cancelled
        {
            after.output = output.clone();
        }
        if let Some(user) = &self.user {
            users::referenced(tx, who, user).await?;
            after.user_id = Some(user.clone());
        }
        if let Some(at) = self.timeout_at {
            after.timeout_at = at;
        }
        if after.status == WorkflowStatus::Failed && self.failure_reason.is_some() {
            after.failure_reason.clone_from(&self.failure_reason);
        }
        after.tags.merge(&self.tags, &who.view)?;
        let ends = before.status.is_active() && !after.status.is_active();
        if ends {
            after.completed_at = Some(tx.now());
        }
        if after == before && event.is_none() {
            return Ok(after);
        }
        after.updated_at = tx.now().max(before.updated_at.plus_millis(1));
        save(tx, who, &before, &after, event.as_deref()).await?;
        if ends {
            finished(tx, who, &after).await?;
        }
        Ok(after)
    }
}

fn allowed(before: &Workflow, to: WorkflowStatus) -> Result<(), Refusal> {
    let ok = match before.status {
        _ if matches!(to, WorkflowStatus::Pending | WorkflowStatus::Timedout) => false,
        WorkflowStatus::Timedout => matches!(to, WorkflowStatus::Failed | WorkflowStatus::Completed),
        status => status.is_active(),
    };
    if ok {
        return Ok(());
    }
    Err(Refusal::invalid_payload(format!(
        "a workflow that is \"{}\" can't become \"{}\"",
        before.status.name(),
        to.name()
    )))
}

async fn save(tx: &mut Tx<'_>, who: &Identity, before: &Workflow, after: &Workflow, event: Option<&str>) -> Result<()> {
    let tags = after.tags.text();
    tx.execute(
        "UPDATE workflows SET status = ?2, output = ?3, user_id = ?4, failure_reason = ?5, tags = ?6, timeout_at = ?7, \
         completed_at = ?8, updated_at = ?9, event_id = COALESCE(?10, event_id) WHERE id = ?1",
        params![
            &after.id,
            after.status.name(),
            &after.output,
            after.user_id.as_ref(),
            after.failure_reason.as_ref(),
            &tags,
            after.timeout_at,
            after.completed_at,
            after.updated_at,
            event
        ],
    )
    .await?;
    tag_index::update(tx, &who.bot, "w", after.id.as_str(), after.created_at, &before.tags, &after.tags).await?;
    if before.status != after.status {
        current(tx, after).await?;
    }
    tx.touches().due(after.timeout_at);
    Ok(())
}

/// deleteWorkflow. Its children's deletion is told to the bot.
#[derive(Clone, Debug)]
pub struct Delete {
    /// The caller.
    pub who: Identity,
    /// Which workflow.
    pub id: String,
}

impl Script for Delete {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let workflow = named(tx, &self.who, &self.id, true).await?;
        tx.execute("DELETE FROM workflows WHERE id = ?1", params![&self.id]).await?;
        tx.execute(
            "DELETE FROM states WHERE bot_id = ?1 AND type = 'workflow' AND scope_id = ?2",
            params![&self.who.bot, &self.id],
        )
        .await?;
        tx.execute(
            "UPDATE conversations SET current_workflow_id = NULL WHERE id = ?1 AND current_workflow_id = ?2",
            params![workflow.conversation_id.as_ref(), &self.id],
        )
        .await?;
        tag_index::forget(tx, &self.id).await?;
        if let Some(parent) = &workflow.parent_workflow_id
            && let Some(parent) = find(tx, &self.who, parent, false).await?
        {
            announce(tx, &self.who, "child_workflow_deleted", &parent, Some(&workflow), None).await?;
        }
        Ok(())
    }
}

/// listWorkflows.
#[derive(Clone, Debug)]
pub struct List {
    /// The caller.
    pub who: Identity,
    /// Keys and values; an empty value means absent.
    pub tags: Vec<(String, String)>,
    /// Only about this conversation.
    pub conversation: Option<String>,
    /// Only about this user.
    pub user: Option<String>,
    /// Only started by this workflow.
    pub parent: Option<String>,
    /// Only in these.
    pub statuses: Vec<WorkflowStatus>,
    /// Only of this name.
    pub name: Option<String>,
    /// Which page.
    pub page: PageRequest,
}

impl Script for List {
    type Out = Page<Workflow>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Page<Workflow>> {
        for_bots(&self.who)?;
        let latest = Latest {
            table: "workflows",
            columns: COLUMNS,
            kind: "w",
            bot: self.who.bot.as_str(),
            equal: &[
                ("conversation_id", &self.conversation),
                ("user_id", &self.user),
                ("parent_workflow_id", &self.parent),
                ("name", &self.name),
            ],
            statuses: self.statuses.iter().map(|status| status.name()).collect(),
            tags: &self.tags,
        };
        latest.page(tx, &self.page, stored).await
    }
}

/// Times out the workflows whose time has passed; answers how many. A paused one's clock stands
/// still.
pub(crate) async fn time_out_due(tx: &mut Tx<'_>, limit: i64) -> Result<usize> {
    let sql = format!(
        "SELECT e.bot_id, {COLUMNS} FROM workflows e WHERE e.completed_at IS NULL AND e.status <> 'paused' AND e.timeout_at <= ?1 \
         ORDER BY e.timeout_at LIMIT {limit} {{for_update}}"
    );
    let rows = tx.query(&sql, params![tx.now()]).await?;
    let count = rows.len();
    for mut row in rows {
        let who = Identity::bot(row.id()?);
        let before = stored(&mut row)?;
        let mut after = before.clone();
        after.status = WorkflowStatus::Timedout;
        after.completed_at = Some(tx.now());
        after.updated_at = tx.now();
        save(tx, &who, &before, &after, None).await?;
        announce(tx, &who, "workflow_timedout", &after, None, None).await?;
        finished(tx, &who, &after).await?;
    }
    Ok(count)
}

impl Store {
    /// getWorkflow.
    pub async fn get_workflow(&self, who: Identity, id: String) -> Result<Workflow> {
        self.read(&Get { who, id }).await
    }

    /// listWorkflows.
    pub async fn list_workflows(&self, list: List) -> Result<Page<Workflow>> {
        self.read(&list).await
    }
}
