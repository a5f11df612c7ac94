//! Workspaces (`spec/cloud/admin.md` § 4), and who may do what in them (`spec/cloud/auth-and-identity.md` § 3).
//!
//! * `members` who belongs to one; `handles` their names; `public` what strangers see.
//!
//! Every operation on what a workspace holds begins with [`Actor::enter`], which is where roles
//! are looked at.

mod handles;
mod members;
mod public;

use duologue_model::{
    Error as Refusal, ErrorKind, Json,
    admin::{Role, Workspace},
};
pub use handles::HandleAvailability;
use handles::{RESERVED_HANDLES, check_handle, claim_handle, handle_taken};
use members::insert_member;
pub(crate) use members::release_owner;
pub use public::{ListPublic, PublicWorkspace};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result, Store,
    account::{self, Keeper},
    audit::{self, Action},
    page::{Page, PageRequest, Query},
    params,
    sql::Row,
    tx::{Script, Tx},
};

/// Who makes an admin request, about which workspace.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The account whose token it is.
    pub account: String,
    /// `x-workspace-id`; without it the account's only workspace is meant.
    pub workspace: Option<String>,
}

/// An [`Actor`] whose membership was checked.
#[derive(Clone, Debug)]
pub(crate) struct Inside {
    /// The account.
    pub(crate) account: String,
    /// The workspace.
    pub(crate) workspace: String,
    /// What the account may do in it.
    pub(crate) role: Role,
}

impl Inside {
    /// Refuses whoever may do less than `least`.
    pub(crate) fn require(&self, least: Role) -> Result<(), Refusal> {
        if self.role >= least {
            return Ok(());
        }
        let text = format!(
            "this needs the role {} or a higher one in the workspace, yours is {}",
            least.name(),
            self.role.name()
        );
        Err(Refusal::forbidden(text))
    }
}

impl Actor {
    /// Refuses whoever isn't a member of the workspace, or may do less than `least`.
    pub(crate) async fn enter(&self, tx: &mut Tx<'_>, least: Role) -> Result<Inside> {
        let workspace = match &self.workspace {
            Some(given) => given.clone(),
            None => only_workspace(tx, &self.account).await?,
        };
        let role = role(tx, &workspace, &self.account).await?;
        let role = role.ok_or_else(|| {
            Refusal::forbidden("this account is no member of the workspace that x-workspace-id names")
        })?;
        let inside = Inside { account: self.account.clone(), workspace, role };
        inside.require(least)?;
        Ok(inside)
    }
}

async fn only_workspace(tx: &mut Tx<'_>, account: &str) -> Result<String> {
    let rows = tx.query("SELECT workspace_id FROM members WHERE account_id = ?1 LIMIT 2", params![account]).await?;
    let mut rows = rows.into_iter();
    match (rows.next(), rows.next()) {
        (Some(mut row), None) => row.text(),
        _ => Err(Refusal::invalid_payload(
            "the header x-workspace-id is missing: send the id of the workspace this is about",
        )
        .into()),
    }
}

/// What an account may do in a workspace; `None` for strangers.
pub(crate) async fn role(tx: &mut Tx<'_>, workspace: &str, account: &str) -> Result<Option<Role>> {
    let sql = "SELECT role FROM members WHERE workspace_id = ?1 AND account_id = ?2";
    let row = tx.query_opt(sql, params![workspace, account]).await?;
    row.map(|mut row| row.word(Role::from_name)).transpose()
}

/// What people say about their workspace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Details {
    about: String,
    profile_picture: String,
    contact_email: String,
    website: String,
    social_accounts: Vec<String>,
}

const COLUMNS: &str = "w.id, w.name, w.owner_id, w.created_at, w.updated_at, w.details, w.is_public, w.handle, \
     (SELECT COUNT(*) FROM bots b WHERE b.workspace_id = w.id)";

/// Reads [`COLUMNS`].
fn stored(row: &mut Row) -> Result<Workspace> {
    let (id, name, owner_id) = (row.text()?, row.text()?, row.text()?);
    let (created_at, updated_at) = (row.at()?, row.at()?);
    let details: Details =
        serde_json::from_str(&row.text()?).map_err(|e| Error::Corrupt(format!("details of workspace {id}: {e}")))?;
    let (is_public, handle, bot_count) = (row.bool()?, row.opt_text()?, row.int()?);
    Ok(Workspace {
        id,
        name,
        owner_id,
        created_at,
        updated_at,
        bot_count,
        billing_version: "v4".into(),
        plan: "enterprise".into(),
        blocked: false,
        spending_limit: 0.0,
        about: details.about,
        profile_picture: details.profile_picture,
        contact_email: details.contact_email,
        website: details.website,
        social_accounts: details.social_accounts,
        is_public,
        handle,
        active_trial_id: None,
    })
}

async fn find(tx: &mut Tx<'_>, id: &str) -> Result<Option<Workspace>> {
    let sql = format!("SELECT {COLUMNS} FROM workspaces w WHERE w.id = ?1");
    tx.query_opt(&sql, params![id]).await?.map(|mut row| stored(&mut row)).transpose()
}

/// The workspace, for one of its members.
pub(crate) async fn named(tx: &mut Tx<'_>, account: &str, id: &str) -> Result<(Workspace, Inside)> {
    let missing = || Refusal::not_found("workspace", id);
    let role = role(tx, id, account).await?.ok_or_else(missing)?;
    let workspace = find(tx, id).await?.ok_or_else(missing)?;
    Ok((workspace, Inside { account: account.to_owned(), workspace: id.to_owned(), role }))
}

/// A new workspace with its owner as its only member.
pub(crate) async fn insert(tx: &mut Tx<'_>, owner: &str, name: &str, handle: Option<&str>) -> Result<Workspace> {
    check_name(name)?;
    if let Some(handle) = handle {
        check_handle(handle)?;
        claim_handle(tx, handle, "").await?;
    }
    let id = tx.ids().uuid();
    let now = tx.now();
    tx.execute(
        "INSERT INTO workspaces (id, name, handle, owner_id, is_public, details, preferences, created_at, updated_at) \
         VALUES (?1, ?2, ?3, ?4, 0, ?5, '{}', ?6, ?6)",
        params![&id, name, handle, owner, &Json::of(&Details::default()), now],
    )
    .await?;
    insert_member(tx, &id, owner, Role::Owner).await?;
    find(tx, &id).await?.ok_or_else(|| Error::Corrupt("a workspace just made is gone".into()))
}

fn check_name(name: &str) -> Result<(), Refusal> {
    match name.chars().count() {
        1..=64 => Ok(()),
        length => Err(Refusal::invalid_payload(format!(
            "the name of a workspace has 1 to 64 characters, this one has {length}"
        ))),
    }
}

struct Get {
    account: String,
    id: String,
}

impl Script for Get {
    type Out = Workspace;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Workspace> {
        Ok(named(tx, &self.account, &self.id).await?.0)
    }
}

struct Create {
    account: String,
    name: String,
}

impl Script for Create {
    type Out = Workspace;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Workspace> {
        let made = insert(tx, &self.account, &self.name, None).await?;
        note_workspace(tx, &self.account, Action::CreateWorkspace, &made).await?;
        Ok(made)
    }
}

/// updateWorkspace. Absent fields stay.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Change {
    /// 1 to 64 characters.
    pub name: Option<String>,
    /// For people.
    pub about: Option<String>,
    /// A URL.
    pub profile_picture: Option<String>,
    /// For people.
    pub contact_email: Option<String>,
    /// A URL.
    pub website: Option<String>,
    /// At most five URLs.
    pub social_accounts: Option<Vec<String>>,
    /// Whether strangers may see it.
    pub is_public: Option<bool>,
    /// Unique on the server.
    pub handle: Option<String>,
}

impl Change {
    fn check(&self) -> Result<(), Refusal> {
        if let Some(name) = &self.name {
            check_name(name)?;
        }
        if let Some(handle) = &self.handle {
            check_handle(handle)?;
            if RESERVED_HANDLES.contains(&handle.as_str()) {
                return Err(handle_taken(handle));
            }
        }
        for (field, text) in [
            ("about", &self.about),
            ("profilePicture", &self.profile_picture),
            ("contactEmail", &self.contact_email),
            ("website", &self.website),
        ] {
            if text.as_ref().is_some_and(|text| text.chars().count() > 2000) {
                return Err(Refusal::invalid_payload(format!("{field} has at most 2000 characters")));
            }
        }
        match &self.social_accounts {
            Some(accounts) if accounts.len() > 5 => {
                Err(Refusal::invalid_payload("socialAccounts has at most 5 entries"))
            }
            Some(accounts) if accounts.iter().any(|account| account.chars().count() > 2000) => {
                Err(Refusal::invalid_payload("an entry of socialAccounts has at most 2000 characters"))
            }
            _ => Ok(()),
        }
    }

    fn apply(&self, workspace: &mut Workspace) {
        fn set<T: Clone>(given: &Option<T>, field: &mut T) {
            if let Some(given) = given {
                field.clone_from(given);
            }
        }
        set(&self.name, &mut workspace.name);
        set(&self.about, &mut workspace.about);
        set(&self.profile_picture, &mut workspace.profile_picture);
        set(&self.contact_email, &mut workspace.contact_email);
        set(&self.website, &mut workspace.website);
        set(&self.social_accounts, &mut workspace.social_accounts);
        set(&self.is_public, &mut workspace.is_public);
        if self.handle.is_some() {
            workspace.handle.clone_from(&self.handle);
        }
    }
}

struct Update {
    account: String,
    id: String,
    change: Change,
}

impl Script for Update {
    type Out = Workspace;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Workspace> {
        tx.query("SELECT id FROM workspaces WHERE id = ?1 {for_update}", params![&self.id]).await?;
        let (before, inside) = named(tx, &self.account, &self.id).await?;
        inside.require(Role::Administrator)?;
        let mut after = before.clone();
        self.change.apply(&mut after);
        if after == before {
            return Ok(before);
        }
        if let (Some(handle), true) = (&after.handle, after.handle != before.handle) {
            claim_handle(tx, handle, &self.id).await?;
        }
        after.updated_at = tx.now().max(before.updated_at.plus_millis(1));
        let details = Details {
            about: after.about.clone(),
            profile_picture: after.profile_picture.clone(),
            contact_email: after.contact_email.clone(),
            website: after.website.clone(),
            social_accounts: after.social_accounts.clone(),
        };
        tx.execute(
            "UPDATE workspaces SET name = ?2, handle = ?3, is_public = ?4, details = ?5, updated_at = ?6 WHERE id = ?1",
            params![
                &self.id,
                &after.name,
                after.handle.as_ref(),
                after.is_public,
                &Json::of(&details),
                after.updated_at
            ],
        )
        .await?;
        note_workspace(tx, &self.account, Action::UpdateWorkspace, &after).await?;
        Ok(after)
    }
}

/// deleteWorkspace: with its members and integrations. Refused while it has bots, or somebody else
/// uses its integrations.
struct Delete {
    account: String,
    id: String,
}

impl Script for Delete {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let id = &self.id;
        tx.query("SELECT id FROM workspaces WHERE id = ?1 {for_update}", params![id]).await?;
        let (workspace, inside) = named(tx, &self.account, id).await?;
        inside.require(Role::Owner)?;
        let refuse = |text: &str| Error::Refused(Refusal::new(ErrorKind::ReferenceConstraint, text));
        if workspace.bot_count > 0 {
            return Err(refuse("the workspace still has bots; delete or transfer them first"));
        }
        let used = "SELECT i.alias FROM integrations g CROSS JOIN instances i WHERE i.integration_id = g.id AND g.workspace_id = ?1 LIMIT 1";
        if tx.query_opt(used, params![id]).await?.is_some() {
            return Err(refuse("integrations of the workspace are still installed in bots of other workspaces"));
        }
        for sql in [
            "DELETE FROM tokens WHERE integration_id IN (SELECT id FROM integrations WHERE workspace_id = ?1)",
            "DELETE FROM integrations WHERE workspace_id = ?1",
            "DELETE FROM members WHERE workspace_id = ?1",
            "DELETE FROM audit_records WHERE workspace_id = ?1",
            "DELETE FROM workspaces WHERE id = ?1",
        ] {
            tx.execute(sql, params![id]).await?;
        }
        Ok(())
    }
}

struct List {
    account: String,
    handle: Option<String>,
    page: PageRequest,
}

impl Script for List {
    type Out = Page<Workspace>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Page<Workspace>> {
        let mut query = Query::new(&format!(
            "SELECT w.created_at, w.id, {COLUMNS} FROM members m CROSS JOIN workspaces w WHERE w.id = m.workspace_id"
        ));
        query.and("m.account_id =", &self.account);
        if let Some(handle) = &self.handle {
            query.and("w.handle =", handle);
        }
        query.after(self.page.after.as_ref(), "w.created_at", "w.id", false);
        query.order("w.created_at", "w.id", false, self.page.size.get() + 1);
        let rows = query.run(tx).await?;
        crate::page::page(rows, self.page.size, stored)
    }
}

struct GetPreference {
    actor: Actor,
    key: String,
}

impl Script for GetPreference {
    type Out = Json;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Json> {
        let inside = self.actor.enter(tx, Role::Billing).await?;
        account::preference(tx, Keeper::Workspace(&inside.workspace), &self.key).await
    }
}

struct SetPreference {
    actor: Actor,
    key: String,
    value: Json,
}

impl Script for SetPreference {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        account::check_preference(&self.key, &self.value)?;
        let inside = self.actor.enter(tx, Role::Administrator).await?;
        account::set_preference(tx, Keeper::Workspace(&inside.workspace), &self.key, &self.value).await
    }
}

/// Notes what a member did to the workspace.
async fn note_workspace(tx: &mut Tx<'_>, account: &str, action: Action, of: &Workspace) -> Result<()> {
    let entry = audit::Entry { workspace: &of.id, account, action, id: &of.id, name: &of.name, value: None };
    audit::note(tx, entry).await
}

impl Store {
    /// getWorkspace.
    pub async fn get_workspace(&self, account: String, id: String) -> Result<Workspace> {
        self.read(&Get { account, id }).await
    }

    /// createWorkspace. The account becomes its owner.
    pub async fn create_workspace(&self, account: String, name: String) -> Result<Workspace> {
        self.write_rights(Create { account, name }).await
    }

    /// updateWorkspace.
    pub async fn update_workspace(&self, account: String, id: String, change: Change) -> Result<Workspace> {
        change.check()?;
        self.write(Update { account, id, change }).await
    }

    /// deleteWorkspace.
    pub async fn delete_workspace(&self, account: String, id: String) -> Result<()> {
        self.write_rights(Delete { account, id }).await
    }

    /// listWorkspaces: those of which the account is a member, newest first.
    pub async fn list_workspaces(
        &self,
        account: String,
        handle: Option<String>,
        page: PageRequest,
    ) -> Result<Page<Workspace>> {
        self.read(&List { account, handle, page }).await
    }

    /// getWorkspacePreference; `null` if it was never set.
    pub async fn workspace_preference(&self, actor: Actor, key: String) -> Result<Json> {
        self.read(&GetPreference { actor, key }).await
    }

    /// setWorkspacePreference; `null` removes.
    pub async fn set_workspace_preference(&self, actor: Actor, key: String, value: Json) -> Result<()> {
        self.write(SetPreference { actor, key, value }).await
    }
}

/// Whether somebody may do this much in a workspace.
struct Enter {
    actor: Actor,
    least: Role,
}

impl Script for Enter {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        self.actor.enter(tx, self.least).await.map(|_| ())
    }
}

impl Store {
    /// Refuses whoever isn't a member of the workspace, or may do less than `least`: for operations that
    /// touch none of its data.
    pub async fn enter_workspace(&self, actor: Actor, least: Role) -> Result<()> {
        self.read(&Enter { actor, least }).await
    }
}
