//! Who belongs to which workspace of a v12 installation, and in which role (`spec/v12/auth-config.md` § 7). What
//! a role may do is written in the installation itself.

use crate::{
    Result, Store, params,
    tx::{Script, Tx},
};

/// A member of a workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The id of the account's strategy.
    pub strategy: String,
    /// The account's, in lower case.
    pub email: String,
    /// The workspace's id.
    pub workspace: String,
    /// The role's id.
    pub role: String,
}

/// Writes the members that aren't known yet.
struct Bring(Vec<Member>);

impl Script for Bring {
    type Out = usize;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<usize> {
        let mut brought = 0;
        for Member { strategy, email, workspace, role } in &self.0 {
            brought += tx
                .execute(
                    "INSERT INTO v12_members (strategy, email, workspace, role) VALUES (?1, ?2, ?3, ?4) \
                     ON CONFLICT (strategy, email, workspace) DO NOTHING",
                    params![strategy, email, workspace, role],
                )
                .await? as usize;
        }
        Ok(brought)
    }
}

/// An account's role in a workspace.
struct RoleOf {
    strategy: String,
    email: String,
    workspace: String,
}

impl Script for RoleOf {
    type Out = Option<String>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<String>> {
        let row = tx
            .query_opt(
                "SELECT role FROM v12_members WHERE strategy = ?1 AND email = ?2 AND workspace = ?3",
                params![&self.strategy, &self.email, &self.workspace],
            )
            .await?;
        row.map(|mut row| row.text()).transpose()
    }
}

impl Store {
    /// Writes those members that aren't known yet; answers how many.
    pub async fn bring_v12_members(&self, members: Vec<Member>) -> Result<usize> {
        self.write(Bring(members)).await
    }

    /// The role of an account (its e-mail in lower case) in a workspace; `None` if it isn't a member.
    pub async fn v12_role(&self, strategy: &str, email: &str, workspace: &str) -> Result<Option<String>> {
        let [strategy, email, workspace] = [strategy, email, workspace].map(str::to_owned);
        self.read(&RoleOf { strategy, email, workspace }).await
    }
}
