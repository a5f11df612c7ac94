//! Tasks (`spec/cloud/runtime.md` § 13): kept for older clients.

use duologue_model::{Error as Refusal, Identity, Json, Tags, Task, TaskStatus, Timestamp, tags::TagPatch};

use crate::{
    Error, Result, Store, conversations,
    page::{Latest, Page, PageRequest},
    params,
    sql::Row,
    tag_index,
    tx::{Script, Tx},
    users,
};

/// How long a task may take when nothing is said: a day.
const DEFAULT_TIMEOUT_MILLIS: i64 = 24 * 60 * 60 * 1000;

const COLUMNS: &str = "e.id, e.title, e.description, e.type, e.data, e.status, e.parent_task_id, e.conversation_id, e.user_id, \
                       e.failure_reason, e.tags, e.timeout_at, e.created_at, e.updated_at";

fn stored(row: &mut Row) -> Result<Task> {
    Ok(Task {
        id: row.id()?,
        title: row.text()?,
        description: row.text()?,
        kind: row.text()?,
        data: row.json()?,
        status: row.word(TaskStatus::from_name)?,
        parent_task_id: row.opt_text()?,
        conversation_id: row.opt_text()?,
        user_id: row.opt_text()?,
        failure_reason: row.opt_text()?,
        tags: row.tags()?,
        timeout_at: row.at()?,
        created_at: row.at()?,
        updated_at: row.at()?,
    })
}

fn has_ended(status: TaskStatus) -> bool {
    matches!(status, TaskStatus::Completed | TaskStatus::Failed | TaskStatus::Timeout | TaskStatus::Cancelled)
}

fn for_bots(who: &Identity) -> Result<(), Refusal> {
    if who.is_bot() { Ok(()) } else { Err(Refusal::forbidden("tasks are for the bot only, not for integrations")) }
}

pub(crate) async fn find(tx: &mut Tx<'_>, who: &Identity, id: &str) -> Result<Option<Task>> {
    let sql = format!("SELECT {COLUMNS} FROM tasks e WHERE e.id = ?1 AND e.bot_id = ?2");
    tx.query_opt(&sql, params![id, &who.bot]).await?.map(|mut row| stored(&mut row)).transpose()
}

async fn named(tx: &mut Tx<'_>, who: &Identity, id: &str) -> Result<Task> {
    for_bots(who)?;
    find(tx, who, id).await?.ok_or_else(|| Error::Refused(Refusal::not_found("task", id)))
}

pub(crate) async fn referenced(tx: &mut Tx<'_>, who: &Identity, id: &str) -> Result<()> {
    find(tx, who, id).await?.ok_or_else(|| Error::Refused(Refusal::reference_not_found("task", id)))?;
    Ok(())
}

/// createTask.
#[derive(Clone, Debug)]
pub struct Create {
    /// The caller.
    pub who: Identity,
    /// For people.
    pub title: String,
    /// For people.
    pub description: String,
    /// Any name.
    pub kind: String,
    /// JSON object.
    pub data: Json,
    /// The task it is part of.
    pub parent: Option<String>,
    /// What it is about.
    pub conversation: String,
    /// Whom it is about.
    pub user: Option<String>,
    /// A day from now if absent.
    pub timeout_at: Option<Timestamp>,
    /// Always the bot's.
    pub tags: TagPatch,
}

impl Script for Create {
    type Out = Task;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Task> {
        let who = &self.who;
        for_bots(who)?;
        conversations::referenced(tx, who, &self.conversation).await?;
        if let Some(id) = &self.parent {
            referenced(tx, who, id).await?;
        }
        if let Some(id) = &self.user {
            users::referenced(tx, who, id).await?;
        }
        let now = tx.now();
        let task = Task {
            id: tx.ids().id(now),
            title: self.title.clone(),
            description: self.description.clone(),
            kind: self.kind.clone(),
            data: self.data.clone(),
            status: TaskStatus::Pending,
            parent_task_id: self.parent.clone(),
            conversation_id: Some(self.conversation.clone()),
            user_id: self.user.clone(),
            timeout_at: self.timeout_at.unwrap_or(now.plus_millis(DEFAULT_TIMEOUT_MILLIS)),
            created_at: now,
            updated_at: now,
            failure_reason: None,
            tags: Tags::create(&self.tags, &who.view)?,
        };
        let tags = task.tags.text();
        tx.execute(
            "INSERT INTO tasks (id, bot_id, title, description, type, data, status, parent_task_id, conversation_id, user_id, \
             failure_reason, tags, timeout_at, ended, created_at, updated_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, NULL, ?11, ?12, 0, ?13, ?13)",
            params![
                &task.id, &who.bot, &task.title, &task.description, &task.kind, &task.data, task.status.name(),
                task.parent_task_id.as_ref(), task.conversation_id.as_ref(), task.user_id.as_ref(), &tags, task.timeout_at, now
            ],
        )
        .await?;
        tag_index::update(tx, &who.bot, "t", task.id.as_str(), now, &Tags::default(), &task.tags).await?;
        tx.touches().due(task.timeout_at);
        Ok(task)
    }
}

struct Get {
    who: Identity,
    id: String,
}

impl Script for Get {
    type Out = Task;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Task> {
        named(tx, &self.who, &self.id).await
    }
}

/// updateTask. Absent fields stay.
#[derive(Clone, Debug)]
pub struct Update {
    /// The caller.
    pub who: Identity,
    /// Which task.
    pub id: String,
    /// For people.
    pub title: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// Replaced.
    pub data: Option<Json>,
    /// Replaced.
    pub timeout_at: Option<Timestamp>,
    /// Any status.
    pub status: Option<TaskStatus>,
    /// Merged.
    pub tags: TagPatch,
}

impl Script for Update {
    type Out = Task;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Task> {
        named(tx, &self.who, &self.id).await?;
        tx.lock(&format!("task:{}", self.id)).await?;
        let before = named(tx, &self.who, &self.id).await?;
        let mut after = before.clone();
        if let Some(title) = &self.title {
            after.title.clone_from(title);
        }
        if let Some(description) = &self.description {
            after.description.clone_from(description);
        }
        if let Some(data) = &self.data {
            after.data = data.clone();
        }
        after.timeout_at = self.timeout_at.unwrap_or(after.timeout_at);
        after.status = self.status.unwrap_or(after.status);
        after.tags.merge(&self.tags, &self.who.view)?;
        if after == before {
            return Ok(after);
        }
        after.updated_at = tx.now().max(before.updated_at.plus_millis(1));
        let tags = after.tags.text();
        tx.execute(
            "UPDATE tasks SET title = ?2, description = ?3, data = ?4, status = ?5, tags = ?6, timeout_at = ?7, ended = ?8, updated_at = ?9 WHERE id = ?1",
            params![
                &self.id, &after.title, &after.description, &after.data, after.status.name(), &tags, after.timeout_at,
                has_ended(after.status), after.updated_at
            ],
        )
        .await?;
        tag_index::update(tx, &self.who.bot, "t", &self.id, after.created_at, &before.tags, &after.tags).await?;
        tx.touches().due(after.timeout_at);
        Ok(after)
    }
}

/// deleteTask.
#[derive(Clone, Debug)]
pub struct Delete {
    /// The caller.
    pub who: Identity,
    /// Which task.
    pub id: String,
}

impl Script for Delete {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        named(tx, &self.who, &self.id).await?;
        tx.execute("DELETE FROM tasks WHERE id = ?1", params![&self.id]).await?;
        tx.execute(
            "DELETE FROM states WHERE bot_id = ?1 AND type = 'task' AND scope_id = ?2",
            params![&self.who.bot, &self.id],
        )
        .await?;
        tag_index::forget(tx, &self.id).await
    }
}

/// listTasks.
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
    /// Only parts of this task.
    pub parent: Option<String>,
    /// Only in these.
    pub statuses: Vec<TaskStatus>,
    /// Only of this type.
    pub kind: Option<String>,
    /// Which page.
    pub page: PageRequest,
}

impl Script for List {
    type Out = Page<Task>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Page<Task>> {
        for_bots(&self.who)?;
        let latest = Latest {
            table: "tasks",
            columns: COLUMNS,
            kind: "t",
            bot: self.who.bot.as_str(),
            equal: &[
                ("conversation_id", &self.conversation),
                ("user_id", &self.user),
                ("parent_task_id", &self.parent),
                ("type", &self.kind),
            ],
            statuses: self.statuses.iter().map(|status| status.name()).collect(),
            tags: &self.tags,
        };
        latest.page(tx, &self.page, stored).await
    }
}

/// Times out the tasks whose time has passed; answers how many. Nobody is told.
pub(crate) async fn time_out_due(tx: &mut Tx<'_>, limit: i64) -> Result<usize> {
    let sql = format!(
        "UPDATE tasks SET status = 'timeout', ended = 1, updated_at = ?1 WHERE ended = 0 AND id IN \
         (SELECT id FROM tasks WHERE ended = 0 AND timeout_at <= ?1 ORDER BY timeout_at LIMIT {limit})"
    );
    Ok(tx.execute(&sql, params![tx.now()]).await? as usize)
}

impl Store {
    /// getTask.
    pub async fn get_task(&self, who: Identity, id: String) -> Result<Task> {
        self.read(&Get { who, id }).await
    }

    /// listTasks.
    pub async fn list_tasks(&self, list: List) -> Result<Page<Task>> {
        self.read(&list).await
    }
}
