//! Members of workspaces and who manages them (`spec/cloud/admin.md` § 4).

use duologue_model::{
    Error as Refusal, ErrorKind,
    admin::{Member, Role},
};

use super::{Actor, Inside, role};
use crate::{
    Result, Store, account,
    audit::{self, Action},
    bots::allowlist,
    page::{Page, PageRequest, Query},
    params,
    sql::Row,
    tx::{Script, Tx},
};

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

pub(super) async fn insert_member(tx: &mut Tx<'_>, workspace: &str, account: &str, role: Role) -> Result<()> {
    tx.execute(
        "INSERT INTO members (workspace_id, account_id, id, role, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![workspace, account, &tx.ids().uuid(), role.name(), tx.now()],
    )
    .await?;
    Ok(())
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

/// Notes what a member did to another.
async fn note(tx: &mut Tx<'_>, inside: &Inside, action: Action, of: &Member) -> Result<()> {
    let (workspace, account) = (&inside.workspace, &inside.account);
    let value = Some(of.role.name());
    audit::note(tx, audit::Entry { workspace, account, action, id: &of.id, name: &of.email, value }).await
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
        note(tx, &inside, Action::AddWorkspaceMember, &member).await?;
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
        note(tx, &inside, Action::UpdateWorkspaceMember, &member).await?;
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
        note(tx, &inside, Action::RemoveWorkspaceMember, &member).await
    }
}

impl Store {
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

#[cfg(test)]
mod tests {
    use super::*;

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
