//! Which members of a workspace may use a bot (`spec/cloud/auth-and-identity.md` § 3).
//!
//! A bot is open to all members, each within their role, or restricted: then administrators and owners
//! use it, and of the others those who are listed. To anybody else it isn't there, in getters, lists and
//! everything below `/v1/admin/bots/{id}`; the runtime API refuses them.

use std::collections::BTreeMap;

use duologue_model::{Error as Refusal, admin::Role};
use serde::{Deserialize, Serialize};

use super::{named, note, require};
use crate::{
    Result, Store,
    audit::Action,
    page::Query,
    params,
    tx::{Script, Tx},
    workspaces::{Actor, Inside},
};

/// Most accounts that one change names.
const MAX_NAMED: usize = 500;

/// The condition under which somebody may use a bot `b`. `all` and `account` are the parameters with their
/// [`Inside::sees_all_bots`] and account.
pub(crate) fn condition(all: &str, account: &str) -> String {
    format!(
        "(b.restricted = 0 OR {all} = 1 OR EXISTS \
         (SELECT 1 FROM bot_allowlist a WHERE a.bot_id = b.id AND a.account_id = {account}))"
    )
}

/// Only bots `b` that the caller may use.
pub(crate) fn filter(query: &mut Query, inside: &Inside) {
    let (all, account) = (query.bind(inside.sees_all_bots()), query.bind(&inside.account));
    query.text.push_str(&format!(" AND {}", condition(&all, &account)));
}

/// Whether somebody with this role in the bot's workspace may use it.
pub(crate) async fn admits(tx: &mut Tx<'_>, bot: &str, account: &str, role: Role) -> Result<bool> {
    let sql = format!("SELECT b.id FROM bots b WHERE b.id = ?1 AND {}", condition("?2", "?3"));
    Ok(tx.query_opt(&sql, params![bot, sees_all(role), account]).await?.is_some())
}

fn sees_all(role: Role) -> bool {
    role >= Role::Administrator
}

impl Inside {
    /// Whether no list of members restricts this one.
    pub(crate) fn sees_all_bots(&self) -> bool {
        sees_all(self.role)
    }
}

/// Takes members of no use off a bot's list: all who aren't members of this workspace.
pub(crate) async fn keep_members(tx: &mut Tx<'_>, bot: &str, workspace: &str) -> Result<()> {
    let sql = "DELETE FROM bot_allowlist WHERE bot_id = ?1 AND account_id NOT IN (SELECT account_id FROM members WHERE workspace_id = ?2)";
    tx.execute(sql, params![bot, workspace]).await?;
    Ok(())
}

/// Takes somebody who leaves a workspace off the lists of its bots.
pub(crate) async fn forget_member(tx: &mut Tx<'_>, workspace: &str, account: &str) -> Result<()> {
    let sql =
        "DELETE FROM bot_allowlist WHERE account_id = ?1 AND bot_id IN (SELECT id FROM bots WHERE workspace_id = ?2)";
    tx.execute(sql, params![account, workspace]).await?;
    Ok(())
}

/// To whom a bot is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Setting {
    /// All members.
    AllWorkspaceUsers,
    /// Those listed, administrators and owners.
    SelectedUsers,
}

impl Setting {
    /// The word on the wire.
    fn name(self) -> &'static str {
        match self {
            Setting::AllWorkspaceUsers => "ALL_WORKSPACE_USERS",
            Setting::SelectedUsers => "SELECTED_USERS",
        }
    }
}

/// Somebody who is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The account.
    pub id: String,
}

/// Who may use a bot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Allowlist {
    /// To whom it is open.
    pub setting: Setting,
    /// Who is listed, whether that matters or not.
    pub users: Vec<Listed>,
}

struct Get {
    actor: Actor,
    bot: String,
}

impl Script for Get {
    type Out = Allowlist;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Allowlist> {
        let inside = self.actor.enter(tx, Role::Viewer).await?;
        require(tx, &inside, &self.bot).await?;
        let row = tx.query_opt("SELECT restricted FROM bots WHERE id = ?1", params![&self.bot]).await?;
        let restricted = row.ok_or_else(|| Refusal::not_found("bot", &self.bot))?.bool()?;
        let sql = "SELECT account_id FROM bot_allowlist WHERE bot_id = ?1 ORDER BY account_id";
        let rows = tx.query(sql, params![&self.bot]).await?;
        let users = rows.into_iter().map(|mut row| Ok(Listed { id: row.text()? })).collect::<Result<_>>()?;
        Ok(Allowlist { setting: if restricted { Setting::SelectedUsers } else { Setting::AllWorkspaceUsers }, users })
    }
}

/// updateBotAllowlist. What is absent stays.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Change {
    /// To whom the bot is open.
    pub setting: Option<Setting>,
    /// Who is listed from now on, and who no longer, by account.
    pub users: BTreeMap<String, bool>,
}

struct Update {
    actor: Actor,
    bot: String,
    change: Change,
}

impl Script for Update {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let inside = self.actor.enter(tx, Role::Manager).await?;
        let bot = named(tx, &inside, &self.bot, true).await?;
        let (added, removed): (Vec<_>, Vec<_>) = self.change.users.iter().partition(|(_, listed)| **listed);
        self.refuse_strangers(tx, &inside, &added).await?;
        let rows = added.iter().flat_map(|(account, _)| params![&self.bot, *account].to_vec()).collect::<Vec<_>>();
        tx.insert_many("INSERT INTO bot_allowlist (bot_id, account_id)", 2, &rows, "ON CONFLICT DO NOTHING").await?;
        for (account, _) in removed {
            let sql = "DELETE FROM bot_allowlist WHERE bot_id = ?1 AND account_id = ?2";
            tx.execute(sql, params![&self.bot, account]).await?;
        }
        if let Some(setting) = self.change.setting {
            let restricted = setting == Setting::SelectedUsers;
            tx.execute("UPDATE bots SET restricted = ?2 WHERE id = ?1", params![&self.bot, restricted]).await?;
        }
        note(tx, &inside, Action::UpdateBot, &bot, self.change.setting.map(Setting::name)).await
    }
}

impl Update {
    /// Only members can be listed.
    async fn refuse_strangers(&self, tx: &mut Tx<'_>, inside: &Inside, added: &[(&String, &bool)]) -> Result<()> {
        if added.is_empty() {
            return Ok(());
        }
        let mut query = Query::new("SELECT account_id FROM members WHERE 1 = 1");
        query.and("workspace_id =", &inside.workspace);
        query.and_in("account_id", added.iter().map(|(account, _)| (*account).clone()));
        let members = query.run(tx).await?.into_iter().map(|mut row| row.text()).collect::<Result<Vec<_>>>()?;
        match added.iter().find(|(account, _)| !members.contains(account)) {
            Some((account, _)) => {
                Err(Refusal::reference_not_found("workspace member with the account", account).into())
            }
            None => Ok(()),
        }
    }
}

impl Store {
    /// getBotAllowlist.
    pub async fn bot_allowlist(&self, actor: Actor, bot: String) -> Result<Allowlist> {
        self.read(&Get { actor, bot }).await
    }

    /// updateBotAllowlist.
    pub async fn update_bot_allowlist(&self, actor: Actor, bot: String, change: Change) -> Result<()> {
        if change.users.len() > MAX_NAMED {
            return Err(Refusal::invalid_payload(format!("users names at most {MAX_NAMED} accounts at once")).into());
        }
        self.write_rights(Update { actor, bot, change }).await
    }
}
