//! Workspaces and their members (`spec/cloud/admin.md` § 4), and who may do what in them
//! (`spec/cloud/auth-and-identity.md` § 3).
//!
//! Every operation on what a workspace holds begins with [`Actor::enter`], which is where roles
//! are looked at.

use duologue_model::{
    Error as Refusal, ErrorKind, Json, Timestamp,
    admin::{Member, Role, Workspace},
};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result, Store,
    account::{self, Keeper},
    audit::{self, Action},
    bots::allowlist,
    page::{Page, PageRequest, Query},
    params,
    sql::Row,
    tx::{Script, Tx},
};

/// Handles that can't be taken over the API.
const RESERVED_HANDLES: &[&str] = &["botpress"];

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

/// Whether a member with the role `own` may give, change or take the role `other`: managers and
/// administrators those below them, owners all.
fn manages(own: Role, other: Role) -> Result<(), Refusal> {
    if own == Role::Owner || (own >= Role::Manager && other < own) {
        return Ok(());
    }
    Err(Refusal::forbidden(format!(
        "a member with the role {} may not manage members with the role {}",
        own.name(),
        other.name()
    )))
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

fn is_handle_text(handle: &str) -> bool {
    handle.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

fn check_handle(handle: &str) -> Result<(), Refusal> {
    let edges = [handle.bytes().next(), handle.bytes().last()];
    let edges = edges.iter().all(|b| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
    if (3..=64).contains(&handle.len()) && is_handle_text(handle) && edges {
        return Ok(());
    }
    Err(Refusal::invalid_payload(
        "a handle has 3 to 64 lower-case letters, digits, \"-\" and \"_\", and begins and ends with a letter or digit",
    ))
}

async fn handle_owner(tx: &mut Tx<'_>, handle: &str) -> Result<Option<String>> {
    let row = tx.query_opt("SELECT id FROM workspaces WHERE handle = ?1", params![handle]).await?;
    row.map(|mut row| row.text()).transpose()
}

/// Refuses a handle that another workspace than `own` has.
async fn claim_handle(tx: &mut Tx<'_>, handle: &str, own: &str) -> Result<()> {
    tx.lock(&format!("handle {handle}")).await?;
    match handle_owner(tx, handle).await? {
        Some(id) if id != own => Err(handle_taken(handle).into()),
        _ => Ok(()),
    }
}

fn handle_taken(handle: &str) -> Refusal {
    Refusal::new(ErrorKind::AlreadyExists, format!("the handle \"{handle}\" is taken"))
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

/// Whether a handle can be taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HandleAvailability {
    /// It can.
    pub available: bool,
    /// Similar ones that can.
    pub suggestions: Vec<String>,
    /// The workspace that has it, if the asker is a member of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_by: Option<String>,
}

struct CheckHandle {
    account: String,
    handle: String,
}

impl Script for CheckHandle {
    type Out = HandleAvailability;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<HandleAvailability> {
        if !(1..=64).contains(&self.handle.len()) || !is_handle_text(&self.handle) {
            let text = "handle has 1 to 64 lower-case letters, digits, \"-\" and \"_\"";
            return Err(Refusal::invalid_payload(text).into());
        }
        let owner = handle_owner(tx, &self.handle).await?;
        let usable = check_handle(&self.handle).is_ok() && !RESERVED_HANDLES.contains(&self.handle.as_str());
        let mut answer =
            HandleAvailability { available: usable && owner.is_none(), suggestions: Vec::new(), used_by: None };
        if answer.available {
            return Ok(answer);
        }
        if let Some(owner) = owner
            && role(tx, &owner, &self.account).await?.is_some()
        {
            answer.used_by = Some(owner);
        }
        let stem = self.handle.trim_matches(['-', '_']);
        let stem = &stem[..stem.len().min(56)];
        let stem = if stem.is_empty() { "workspace" } else { stem };
        for number in 2..12 {
            let similar = format!("{stem}-{number}");
            if answer.suggestions.len() < 3
                && check_handle(&similar).is_ok()
                && handle_owner(tx, &similar).await?.is_none()
            {
                answer.suggestions.push(similar);
            }
        }
        Ok(answer)
    }
}

/// What strangers may see of a public workspace.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PublicWorkspace {
    /// UUID.
    pub id: String,
    /// For people.
    pub name: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// For people.
    pub about: String,
    /// A URL.
    pub profile_picture: String,
    /// For people.
    pub contact_email: String,
    /// A URL.
    pub website: String,
    /// URLs.
    pub social_accounts: Vec<String>,
    /// Empty if it has none.
    pub handle: String,
}

impl From<Workspace> for PublicWorkspace {
    fn from(w: Workspace) -> Self {
        PublicWorkspace {
            id: w.id,
            name: w.name,
            created_at: w.created_at,
            updated_at: w.updated_at,
            about: w.about,
            profile_picture: w.profile_picture,
            contact_email: w.contact_email,
            website: w.website,
            social_accounts: w.social_accounts,
            handle: w.handle.unwrap_or_default(),
        }
    }
}

struct GetPublic {
    account: String,
    id: String,
}

impl Script for GetPublic {
    type Out = PublicWorkspace;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<PublicWorkspace> {
        let missing = || Refusal::not_found("public workspace", &self.id);
        let workspace = find(tx, &self.id).await?.ok_or_else(missing)?;
        if !workspace.is_public && role(tx, &self.id, &self.account).await?.is_none() {
            return Err(missing().into());
        }
        Ok(workspace.into())
    }
}

/// listPublicWorkspaces.
#[derive(Clone, Debug, Default)]
pub struct ListPublic {
    /// Only these, if any is given.
    pub ids: Vec<String>,
    /// Only those whose name or handle contains this, whatever the case.
    pub search: Option<String>,
    /// Which page.
    pub page: PageRequest,
}

impl Script for ListPublic {
    type Out = Page<PublicWorkspace>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Page<PublicWorkspace>> {
        let mut query =
            Query::new(&format!("SELECT w.created_at, w.id, {COLUMNS} FROM workspaces w WHERE w.is_public = 1"));
        if !self.ids.is_empty() {
            query.and_in("w.id", self.ids.iter().cloned());
        }
        if let Some(search) = &self.search {
            let mut pattern = String::from("%");
            for c in search.to_lowercase().chars() {
                if matches!(c, '%' | '_' | '!') {
                    pattern.push('!');
                }
                pattern.push(c);
            }
            pattern.push('%');
            let pattern = query.bind(pattern);
            query.text.push_str(&format!(
                " AND (LOWER(w.name) LIKE {pattern} ESCAPE '!' OR w.handle LIKE {pattern} ESCAPE '!')"
            ));
        }
        query.after(self.page.after.as_ref(), "w.created_at", "w.id", false);
        query.order("w.created_at", "w.id", false, self.page.size.get() + 1);
        let rows = query.run(tx).await?;
        crate::page::page(rows, self.page.size, |row| Ok(stored(row)?.into()))
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

const MEMBER_COLUMNS: &str = "m.id, a.id, a.email, m.created_at, m.role, a.profile_picture, a.display_name";

/// Reads [`MEMBER_COLUMNS`].
fn member(row: &mut Row) -> Result<Member> {
    Ok(Member {
        id: row.text()?,
        user_id: Some(row.text()?),
        email: row.text()?,
        created_at: row.at()?,
        role: row.word(Role::from_name)?,
        profile_picture: row.opt_text()?,
        display_name: row.opt_text()?,
    })
}

/// The membership that `condition` on `?2` selects.
async fn find_member(tx: &mut Tx<'_>, workspace: &str, condition: &str, value: &str) -> Result<Member> {
    let sql = format!(
        "SELECT {MEMBER_COLUMNS} FROM members m CROSS JOIN accounts a WHERE a.id = m.account_id AND m.workspace_id = ?1 AND {condition} = ?2"
    );
    let row = tx.query_opt(&sql, params![workspace, value]).await?;
    member(&mut row.ok_or_else(|| Refusal::not_found("workspace member", value))?)
}

async fn insert_member(tx: &mut Tx<'_>, workspace: &str, account: &str, role: Role) -> Result<()> {
    tx.execute(
        "INSERT INTO members (workspace_id, account_id, id, role, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![workspace, account, &tx.ids().uuid(), role.name(), tx.now()],
    )
    .await?;
    Ok(())
}

async fn note_workspace(tx: &mut Tx<'_>, account: &str, action: Action, of: &Workspace) -> Result<()> {
    let entry = audit::Entry { workspace: &of.id, account, action, id: &of.id, name: &of.name, value: None };
    audit::note(tx, entry).await
}

async fn note_member(tx: &mut Tx<'_>, inside: &Inside, action: Action, of: &Member) -> Result<()> {
    let (workspace, account) = (&inside.workspace, &inside.account);
    let value = Some(of.role.name());
    audit::note(tx, audit::Entry { workspace, account, action, id: &of.id, name: &of.email, value }).await
}

/// Hands the workspace to its oldest other owner, since this one leaves. Refused if there is none.
pub(crate) async fn release_owner(tx: &mut Tx<'_>, workspace: &str, leaving: &str) -> Result<()> {
    let sql = "SELECT name, owner_id FROM workspaces WHERE id = ?1 {for_update}";
    let Some(mut row) = tx.query_opt(sql, params![workspace]).await? else { return Ok(()) };
    let (name, owner) = (row.text()?, row.text()?);
    let sql = "SELECT account_id FROM members WHERE workspace_id = ?1 AND role = 'owner' AND account_id <> ?2 ORDER BY created_at, id LIMIT 1";
    let Some(mut heir) = tx.query_opt(sql, params![workspace, leaving]).await? else {
        let text = format!(
            "the workspace \"{name}\" would be left without an owner; make another member its owner, or delete it, first"
        );
        return Err(Refusal::new(ErrorKind::RelationConflict, text).into());
    };
    if owner == leaving {
        let heir = heir.text()?;
        tx.execute("UPDATE workspaces SET owner_id = ?2 WHERE id = ?1", params![workspace, &heir]).await?;
    }
    Ok(())
}

struct ListMembers {
    actor: Actor,
    page: PageRequest,
}

impl Script for ListMembers {
    type Out = Page<Member>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Page<Member>> {
        let inside = self.actor.enter(tx, Role::Viewer).await?;
        let mut query = Query::new(&format!(
            "SELECT m.created_at, m.id, {MEMBER_COLUMNS} FROM members m CROSS JOIN accounts a WHERE a.id = m.account_id"
        ));
        query.and("m.workspace_id =", &inside.workspace);
        query.after(self.page.after.as_ref(), "m.created_at", "m.id", true);
        query.order("m.created_at", "m.id", true, self.page.size.get() + 1);
        let rows = query.run(tx).await?;
        crate::page::page(rows, self.page.size, member)
    }
}

struct GetOwnMember(Actor);

impl Script for GetOwnMember {
    type Out = Member;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Member> {
        let inside = self.0.enter(tx, Role::Billing).await?;
        find_member(tx, &inside.workspace, "m.account_id", &self.0.account).await
    }
}

struct CreateMember {
    actor: Actor,
    email: String,
    role: Role,
}

impl Script for CreateMember {
    type Out = Member;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Member> {
        let inside = self.actor.enter(tx, Role::Manager).await?;
        manages(inside.role, self.role)?;
        let (account, _) = account::find_or_insert(tx, &self.email).await?;
        if role(tx, &inside.workspace, &account.id).await?.is_some() {
            let text = format!("{} is already a member of the workspace", account.email);
            return Err(Refusal::new(ErrorKind::AlreadyExists, text).into());
        }
        insert_member(tx, &inside.workspace, &account.id, self.role).await?;
        let member = find_member(tx, &inside.workspace, "m.account_id", &account.id).await?;
        note_member(tx, &inside, Action::AddWorkspaceMember, &member).await?;
        Ok(member)
    }
}

struct UpdateMember {
    actor: Actor,
    id: String,
    role: Option<Role>,
}

impl Script for UpdateMember {
    type Out = Member;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Member> {
        let inside = self.actor.enter(tx, Role::Manager).await?;
        let mut member = find_member(tx, &inside.workspace, "m.id", &self.id).await?;
        let Some(role) = self.role.filter(|role| *role != member.role) else { return Ok(member) };
        manages(inside.role, member.role)?;
        manages(inside.role, role)?;
        if member.role == Role::Owner {
            release_owner(tx, &inside.workspace, member.user_id.as_deref().unwrap_or_default()).await?;
        }
        tx.execute("UPDATE members SET role = ?2 WHERE id = ?1", params![&self.id, role.name()]).await?;
        member.role = role;
        note_member(tx, &inside, Action::UpdateWorkspaceMember, &member).await?;
        Ok(member)
    }
}

/// deleteWorkspaceMember. Everybody may leave; others are removed by those who manage them.
struct DeleteMember {
    actor: Actor,
    id: String,
}

impl Script for DeleteMember {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let inside = self.actor.enter(tx, Role::Billing).await?;
        let member = find_member(tx, &inside.workspace, "m.id", &self.id).await?;
        let account = member.user_id.clone().unwrap_or_default();
        if account != self.actor.account {
            manages(inside.role, member.role)?;
        }
        if member.role == Role::Owner {
            release_owner(tx, &inside.workspace, &account).await?;
        }
        tx.execute("DELETE FROM members WHERE id = ?1", params![&self.id]).await?;
        allowlist::forget_member(tx, &inside.workspace, &account).await?;
        note_member(tx, &inside, Action::RemoveWorkspaceMember, &member).await
    }
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

    /// checkHandleAvailability.
    pub async fn check_handle(&self, account: String, handle: String) -> Result<HandleAvailability> {
        self.read(&CheckHandle { account, handle }).await
    }

    /// getPublicWorkspace.
    pub async fn get_public_workspace(&self, account: String, id: String) -> Result<PublicWorkspace> {
        self.read(&GetPublic { account, id }).await
    }

    /// listPublicWorkspaces, newest first.
    pub async fn list_public_workspaces(&self, list: ListPublic) -> Result<Page<PublicWorkspace>> {
        self.read(&list).await
    }

    /// getWorkspacePreference; `null` if it was never set.
    pub async fn workspace_preference(&self, actor: Actor, key: String) -> Result<Json> {
        self.read(&GetPreference { actor, key }).await
    }

    /// setWorkspacePreference; `null` removes.
    pub async fn set_workspace_preference(&self, actor: Actor, key: String, value: Json) -> Result<()> {
        self.write(SetPreference { actor, key, value }).await
    }

    /// listWorkspaceMembers, oldest first.
    pub async fn list_members(&self, actor: Actor, page: PageRequest) -> Result<Page<Member>> {
        self.read(&ListMembers { actor, page }).await
    }

    /// getWorkspaceMember: the membership of whoever asks.
    pub async fn get_own_member(&self, actor: Actor) -> Result<Member> {
        self.read(&GetOwnMember(actor)).await
    }

    /// createWorkspaceMember. An unknown address gets an account without a token.
    pub async fn create_member(&self, actor: Actor, email: String, role: Role) -> Result<Member> {
        self.write_rights(CreateMember { actor, email, role }).await
    }

    /// updateWorkspaceMember. `id` is the membership's.
    pub async fn update_member(&self, actor: Actor, id: String, role: Option<Role>) -> Result<Member> {
        self.write_rights(UpdateMember { actor, id, role }).await
    }

    /// deleteWorkspaceMember. `id` is the membership's.
    pub async fn delete_member(&self, actor: Actor, id: String) -> Result<()> {
        self.write_rights(DeleteMember { actor, id }).await
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_follow_their_pattern() {
        for good in ["abc", "a-b", "0_9", "acme-corp"] {
            assert!(check_handle(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "ab", "-ab", "ab-", "Abc", "a b", "a/b", &"a".repeat(65)] {
            assert!(check_handle(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn members_manage_those_below_them() {
        use Role::{Administrator, Developer, Manager, Owner, Viewer};
        assert!(manages(Manager, Developer).is_ok());
        assert!(manages(Administrator, Manager).is_ok());
        assert!(manages(Owner, Owner).is_ok());
        for (own, other) in [(Manager, Manager), (Manager, Administrator), (Administrator, Owner), (Developer, Viewer)]
        {
            assert!(manages(own, other).is_err(), "{own:?} {other:?}");
        }
    }
}
