//! What members of a workspace did to it and its bots (`spec/cloud/admin.md` § 10).
//!
//! A script that changes something notes it in its own transaction ([`note`]), so there is a record of a
//! change exactly if it happened. A workspace keeps its latest [`KEEP_RECORDS`], for [`KEEP`]. They go with it.

use std::time::Duration;

use duologue_model::{Timestamp, admin::Role, id::Kind};
use serde::Serialize;

use crate::{
    Result, Store,
    page::{Page, PageRequest, Query},
    params,
    sql::Row,
    tx::{Script, Tx},
    workspaces,
};

/// How long records are kept.
pub const KEEP: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// How many records of a workspace are kept.
pub const KEEP_RECORDS: usize = 2000;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Action {
    /// The workspace was made.
    CreateWorkspace,
    /// Its name, handle or details were changed.
    UpdateWorkspace,
    /// Somebody became a member.
    AddWorkspaceMember,
    /// Somebody's role was changed.
    UpdateWorkspaceMember,
    /// Somebody left, or was removed.
    RemoveWorkspaceMember,
    /// A bot was made.
    CreateBot,
    /// A bot was changed, but for its code.
    UpdateBot,
    /// A bot got other code, or another URL.
    DeployBot,
    /// A bot came from another workspace, or left for one.
    TransferBot,
    /// A bot was deleted.
    DeleteBot,
}

impl Action {
    const ALL: [Action; 10] = [
        Action::CreateWorkspace,
        Action::UpdateWorkspace,
        Action::AddWorkspaceMember,
        Action::UpdateWorkspaceMember,
        Action::RemoveWorkspaceMember,
        Action::CreateBot,
        Action::UpdateBot,
        Action::DeployBot,
        Action::TransferBot,
        Action::DeleteBot,
    ];

    fn name(self) -> &'static str {
        match self {
            Action::CreateWorkspace => "CREATE_WORKSPACE",
            Action::UpdateWorkspace => "UPDATE_WORKSPACE",
            Action::AddWorkspaceMember => "ADD_WORKSPACE_MEMBER",
            Action::UpdateWorkspaceMember => "UPDATE_WORKSPACE_MEMBER",
            Action::RemoveWorkspaceMember => "REMOVE_WORKSPACE_MEMBER",
            Action::CreateBot => "CREATE_BOT",
            Action::UpdateBot => "UPDATE_BOT",
            Action::DeployBot => "DEPLOY_BOT",
            Action::TransferBot => "TRANSFER_BOT",
            Action::DeleteBot => "DELETE_BOT",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Action::ALL.into_iter().find(|action| action.name() == name)
    }
}

/// What is noted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    /// The workspace.
    pub(crate) workspace: &'a str,
    /// Who did it.
    pub(crate) account: &'a str,
    /// What was done.
    pub(crate) action: Action,
    /// To what: the id of a bot, a membership or the workspace.
    pub(crate) id: &'a str,
    /// The name of that, or the address of a member.
    pub(crate) name: &'a str,
    /// What it was changed to, in a word.
    pub(crate) value: Option<&'a str>,
}

enum RecordKind {}

impl Kind for RecordKind {
    const PREFIX: &'static str = "audit";
}

/// Notes what the transaction does.
pub(crate) async fn note(tx: &mut Tx<'_>, entry: Entry<'_>) -> Result<()> {
    let at = tx.now();
    let id = tx.ids().id::<RecordKind>(at);
    tx.execute(
        "INSERT INTO audit_records (workspace_id, at, id, account_id, action, resource_id, resource_name, value) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![entry.workspace, at, &id, entry.account, entry.action.name(), entry.id, entry.name, entry.value],
    )
    .await?;
    let sql = format!(
        "DELETE FROM audit_records WHERE workspace_id = ?1 AND (at, id) <= \
         (SELECT at, id FROM audit_records WHERE workspace_id = ?1 ORDER BY at DESC, id DESC LIMIT 1 OFFSET {KEEP_RECORDS})"
    );
    tx.execute(&sql, params![entry.workspace]).await?;
    Ok(())
}

/// Removes records that were kept long enough, a bounded number at a time.
pub(crate) async fn tidy(tx: &mut Tx<'_>) -> Result<u64> {
    let until = tx.now().millis() - KEEP.as_millis() as i64;
    let sql = "DELETE FROM audit_records WHERE (workspace_id, at, id) IN \
               (SELECT workspace_id, at, id FROM audit_records WHERE at <= ?1 LIMIT 1000)";
    tx.execute(sql, params![until]).await
}

/// A record as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Its id.
    pub id: String,
    /// When it was done.
    pub recorded_at: Timestamp,
    /// The account of whoever did it.
    pub user_id: String,
    /// Their address, if the account is still there.
    pub user_email: Option<String>,
    /// What it was done to.
    pub resource_id: Option<String>,
    /// Its name then.
    pub resource_name: Option<String>,
    /// What it was changed to.
    pub value: Option<String>,
    /// What was done.
    pub action: Action,
}

fn record(row: &mut Row) -> Result<Record> {
    Ok(Record {
        id: row.text()?,
        recorded_at: row.at()?,
        user_id: row.text()?,
        user_email: row.opt_text()?,
        resource_id: row.opt_text()?,
        resource_name: row.opt_text()?,
        value: row.opt_text()?,
        action: row.word(Action::from_name)?,
    })
}

struct List {
    account: String,
    workspace: String,
    page: PageRequest,
}

impl Script for List {
    type Out = Page<Record>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Page<Record>> {
        let (_, inside) = workspaces::named(tx, &self.account, &self.workspace).await?;
        inside.require(Role::Administrator)?;
        let mut query = Query::new(
            "SELECT r.at, r.id, r.id, r.at, r.account_id, a.email, r.resource_id, r.resource_name, r.value, r.action \
             FROM audit_records r LEFT JOIN accounts a ON a.id = r.account_id WHERE 1 = 1",
        );
        query.and("r.workspace_id =", &self.workspace);
        query.after(self.page.after.as_ref(), "r.at", "r.id", false);
        query.order("r.at", "r.id", false, self.page.size.get() + 1);
        let rows = query.run(tx).await?;
        crate::page::page(rows, self.page.size, record)
    }
}

impl Store {
    /// getAuditRecords, latest first: for administrators and owners.
    pub async fn audit_records(&self, account: String, workspace: String, page: PageRequest) -> Result<Page<Record>> {
        self.read(&List { account, workspace, page }).await
    }
}
