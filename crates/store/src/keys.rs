//! Keys of bots and of integrations (`spec/cloud/admin.md` §§ 5, 6): tokens with which their code calls. Those of
//! processes that the server itself runs are made elsewhere and not listed.

use duologue_model::{
    Error as Refusal,
    admin::{Key, Role},
};

use crate::{
    Error, Result, Store,
    account::{self, Subject},
    bots, params,
    tx::{Script, Tx},
    workspaces::{Actor, Inside},
};

/// What has keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holder {
    Bot,
    Integration,
}

impl Holder {
    fn noun(self) -> &'static str {
        match self {
            Holder::Bot => "bot",
            Holder::Integration => "integration",
        }
    }

    /// The table of holders, and the column of tokens that refers to it.
    fn place(self) -> (&'static str, &'static str) {
        match self {
            Holder::Bot => ("bots", "bot_id"),
            Holder::Integration => ("integrations", "integration_id"),
        }
    }

    /// Refuses what isn't the workspace's, or isn't for this member.
    async fn require(self, tx: &mut Tx<'_>, inside: &Inside, id: &str, lock: &str) -> Result<()> {
        if self == Holder::Bot {
            bots::require(tx, inside, id).await?;
        }
        let sql = format!("SELECT id FROM {} WHERE id = ?1 AND workspace_id = ?2{lock}", self.place().0);
        let found = tx.query_opt(&sql, params![id, &inside.workspace]).await?;
        found.map(|_| ()).ok_or_else(|| Refusal::not_found(self.noun(), id).into())
    }
}

struct List {
    actor: Actor,
    of: Holder,
    id: String,
}

impl Script for List {
    type Out = Vec<Key>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Key>> {
        let inside = self.actor.enter(tx, Role::Viewer).await?;
        self.of.require(tx, &inside, &self.id, "").await?;
        let column = self.of.place().1;
        let condition = format!("{column} = ?1 AND id NOT IN (SELECT token_id FROM hosted_tokens)");
        account::list_tokens(tx, &condition, &self.id).await
    }
}

struct Create {
    actor: Actor,
    of: Holder,
    id: String,
    note: String,
}

impl Script for Create {
    type Out = Key;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Key> {
        let inside = self.actor.enter(tx, Role::Developer).await?;
        self.of.require(tx, &inside, &self.id, " {for_update}").await?;
        let subject = match self.of {
            Holder::Bot => Subject::Bot(&self.id, &self.actor.account),
            Holder::Integration => Subject::Integration(&self.id, &self.actor.account),
        };
        account::insert_token(tx, subject, &self.note, None).await
    }
}

/// Members delete their own keys; those that others have made are for administrators.
struct Delete {
    actor: Actor,
    of: Holder,
    key: String,
}

impl Script for Delete {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let inside = self.actor.enter(tx, Role::Developer).await?;
        let (table, column) = self.of.place();
        let sql = format!(
            "SELECT t.account_id, h.id FROM tokens t CROSS JOIN {table} h WHERE h.id = t.{column} AND t.id = ?1 \
             AND h.workspace_id = ?2"
        );
        let row = tx.query_opt(&sql, params![&self.key, &inside.workspace]).await?;
        let missing = || Refusal::not_found(&format!("{} key", self.of.noun()), &self.key);
        let mut row = row.ok_or_else(missing)?;
        let (maker, holder) = (row.opt_text()?, row.text()?);
        match self.of.require(tx, &inside, &holder, "").await {
            Err(Error::Refused(_)) => return Err(missing().into()),
            other => other?,
        }
        if maker.as_deref() != Some(&self.actor.account) {
            inside.require(Role::Administrator)?;
        }
        tx.execute("DELETE FROM tokens WHERE id = ?1", params![&self.key]).await?;
        Ok(())
    }
}

impl Store {
    /// listBotApiKeys, newest first.
    pub async fn list_bot_keys(&self, actor: Actor, bot: String) -> Result<Vec<Key>> {
        self.read(&List { actor, of: Holder::Bot, id: bot }).await
    }

    /// createBotApiKey.
    pub async fn create_bot_key(&self, actor: Actor, bot: String, note: String) -> Result<Key> {
        self.write_rights(Create { actor, of: Holder::Bot, id: bot, note }).await
    }

    /// deleteBotApiKey.
    pub async fn delete_bot_key(&self, actor: Actor, id: String) -> Result<()> {
        self.write_rights(Delete { actor, of: Holder::Bot, key: id }).await
    }

    /// listIntegrationApiKeys, newest first.
    pub async fn list_integration_keys(&self, actor: Actor, integration: String) -> Result<Vec<Key>> {
        self.read(&List { actor, of: Holder::Integration, id: integration }).await
    }

    /// createIntegrationApiKey.
    pub async fn create_integration_key(&self, actor: Actor, integration: String, note: String) -> Result<Key> {
        self.write_rights(Create { actor, of: Holder::Integration, id: integration, note }).await
    }

    /// deleteIntegrationApiKey.
    pub async fn delete_integration_key(&self, actor: Actor, id: String) -> Result<()> {
        self.write_rights(Delete { actor, of: Holder::Integration, key: id }).await
    }
}
