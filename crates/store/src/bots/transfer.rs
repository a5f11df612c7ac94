//! A bot moves to another workspace, with all its data and keys (`spec/cloud/admin.md` § 5.3).

use duologue_model::{Error as Refusal, ErrorKind, admin::Role};

use super::{allowlist, instances, named, note, plugins};
use crate::{
    Result, Store,
    audit::Action,
    params,
    tx::{Script, Tx},
    workspaces::{self, Actor, Inside},
};

struct Transfer {
    actor: Actor,
    bot: String,
    target: String,
}

impl Script for Transfer {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let inside = self.actor.enter(tx, Role::Manager).await?;
        // The target isn't deleted while a bot enters it.
        tx.query("SELECT id FROM workspaces WHERE id = ?1 {for_update}", params![&self.target]).await?;
        let bot = named(tx, &inside, &self.bot, true).await?;
        self.check_target(tx).await?;
        if self.target == inside.workspace {
            return Ok(());
        }
        self.refuse_private_parts(tx).await?;
        let now = tx.now().max(bot.updated_at.plus_millis(1));
        let sql = "UPDATE bots SET workspace_id = ?2, updated_at = ?3 WHERE id = ?1";
        tx.execute(sql, params![&bot.id, &self.target, now]).await?;
        allowlist::keep_members(tx, &self.bot, &self.target).await?;
        let there = Inside { workspace: self.target.clone(), ..inside.clone() };
        for side in [&inside, &there] {
            note(tx, side, Action::TransferBot, &bot, Some(&self.target)).await?;
        }
        Ok(())
    }
}

impl Transfer {
    /// Whoever brings a bot might as well create one there.
    async fn check_target(&self, tx: &mut Tx<'_>) -> Result<()> {
        match workspaces::role(tx, &self.target, &self.actor.account).await? {
            None => Err(Refusal::reference_not_found("workspace", &self.target).into()),
            Some(role) if role < Role::Developer => {
                let text =
                    format!("this needs the role developer or a higher one in the target, yours is {}", role.name());
                Err(Refusal::forbidden(text).into())
            }
            Some(_) => Ok(()),
        }
    }

    /// What the target may not use can't come along.
    async fn refuse_private_parts(&self, tx: &mut Tx<'_>) -> Result<()> {
        let integrations = instances::list(tx, &self.bot).await?.into_iter();
        let foreign = integrations.filter(|one| !one.integration.is_usable_by(&self.target)).map(|one| one.alias);
        let plugins = plugins::list(tx, &self.bot).await?.into_iter();
        let plugins = plugins.filter(|one| !one.plugin.head().is_usable_by(&self.target)).map(|one| one.alias);
        let foreign: Vec<String> = foreign.chain(plugins).collect();
        if foreign.is_empty() {
            return Ok(());
        }
        let text = format!(
            "the target workspace may not use what is installed under {}: make it public, or remove it from the bot, first",
            foreign.join(", ")
        );
        Err(Refusal::new(ErrorKind::RelationConflict, text).into())
    }
}

impl Store {
    /// transferBot. Needs the right to delete the bot here and to create one there.
    pub async fn transfer_bot(&self, actor: Actor, bot: String, target: String) -> Result<()> {
        self.write_rights(Transfer { actor, bot, target }).await
    }
}
