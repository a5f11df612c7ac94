//! Names of instances that people can type, and rotation of signing secrets (`spec/cloud/admin.md`
//! § 5.3, `spec/cloud/bridge-protocol.md` § 9).

use duologue_model::{Error as Refusal, admin::Role};
use serde::Serialize;

use super::{instances, named};
use crate::{
    Result, Store, params,
    tx::{Script, Tx},
    workspaces::{Actor, Inside},
};

/// How long a name is good.
const NAME_MILLIS: i64 = 24 * 60 * 60 * 1000;
/// How long an old signing secret is good.
const OLD_SECRET_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// Which instance is meant.
#[derive(Clone, Debug)]
pub struct Target {
    /// Who asks.
    pub actor: Actor,
    /// The bot.
    pub bot: String,
    /// The integration version; the alias wins.
    pub integration: String,
    /// The instance's alias.
    pub alias: Option<String>,
}

impl Target {
    /// The alias of the instance.
    async fn find(&self, tx: &mut Tx<'_>, inside: &Inside) -> Result<String> {
        let bot = named(tx, inside, &self.bot, false).await?;
        let installed = instances::list(tx, bot.id.as_str()).await?;
        let found = match &self.alias {
            Some(alias) => installed.iter().find(|instance| instance.alias == *alias),
            None => instances::by_version(&installed, &self.integration).map(|index| &installed[index]),
        };
        let wanted = self.alias.as_deref().unwrap_or(&self.integration);
        Ok(found.ok_or_else(|| Refusal::not_found("installed integration", wanted))?.alias.clone())
    }
}

/// A name, and whether it is still good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shareable {
    /// The name.
    pub shareable_id: String,
    /// Whether it is too old.
    pub is_expired: bool,
}

struct Create(Target);

impl Script for Create {
    type Out = String;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<String> {
        let inside = self.0.actor.enter(tx, Role::Developer).await?;
        let alias = self.0.find(tx, &inside).await?;
        tx.execute("DELETE FROM shareable_ids WHERE bot_id = ?1 AND alias = ?2", params![&self.0.bot, &alias]).await?;
        let name = super::invented_name(tx.ids());
        // Nobody guesses another's by counting.
        let name = format!("{name}-{}", &crate::crypto::hex(&tx.ids().bytes::<4>()));
        let until = tx.now().plus_millis(NAME_MILLIS);
        tx.execute(
            "INSERT INTO shareable_ids (shareable_id, bot_id, alias, expires_at) VALUES (?1, ?2, ?3, ?4)",
            params![&name, &self.0.bot, &alias, until],
        )
        .await?;
        Ok(name)
    }
}

struct Get(Target);

impl Script for Get {
    type Out = Shareable;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Shareable> {
        let inside = self.0.actor.enter(tx, Role::Viewer).await?;
        let alias = self.0.find(tx, &inside).await?;
        let sql = "SELECT shareable_id, expires_at FROM shareable_ids WHERE bot_id = ?1 AND alias = ?2";
        let row = tx.query_opt(sql, params![&self.0.bot, &alias]).await?;
        let mut row = row.ok_or_else(|| Refusal::not_found("shareable id of", &alias))?;
        Ok(Shareable { shareable_id: row.text()?, is_expired: row.at()? < tx.now() })
    }
}

struct Delete(Target);

impl Script for Delete {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let inside = self.0.actor.enter(tx, Role::Developer).await?;
        let alias = self.0.find(tx, &inside).await?;
        let sql = "DELETE FROM shareable_ids WHERE bot_id = ?1 AND alias = ?2";
        if tx.execute(sql, params![&self.0.bot, &alias]).await? == 0 {
            return Err(Refusal::not_found("shareable id of", &alias).into());
        }
        Ok(())
    }
}

/// Conversations get linked to an instance by messages that hold its shareable id. Nothing here looks for
/// one in messages, so there is none to unlink.
struct Unlink(Target);

impl Script for Unlink {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let inside = self.0.actor.enter(tx, Role::Developer).await?;
        self.0.find(tx, &inside).await.map(|_| ())
    }
}

/// Whose signing secret is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signer {
    /// A bot's.
    Bot,
    /// An integration version's.
    Integration,
}

struct Rotate {
    actor: Actor,
    id: String,
    whose: Signer,
}

impl Script for Rotate {
    type Out = String;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<String> {
        let inside = self.actor.enter(tx, Role::Developer).await?;
        let (table, noun) = match self.whose {
            Signer::Bot => ("bots", "bot"),
            Signer::Integration => ("integrations", "integration"),
        };
        if self.whose == Signer::Bot {
            super::require(tx, &inside, &self.id).await?;
        }
        let new = tx.ids().secret("");
        let until = tx.now().plus_millis(OLD_SECRET_MILLIS);
        let sql = format!(
            "UPDATE {table} SET old_signing_secret = signing_secret, old_signing_secret_until = ?4, signing_secret = ?3 \
             WHERE id = ?1 AND workspace_id = ?2"
        );
        match tx.execute(&sql, params![&self.id, &inside.workspace, &new, until]).await? {
            0 => Err(Refusal::not_found(noun, &self.id).into()),
            _ => Ok(new),
        }
    }
}

impl Store {
    /// createIntegrationShareableId: a new name, in the place of an old one.
    pub async fn create_shareable_id(&self, target: Target) -> Result<String> {
        self.write(Create(target)).await
    }

    /// getIntegrationShareableId.
    pub async fn shareable_id(&self, target: Target) -> Result<Shareable> {
        self.read(&Get(target)).await
    }

    /// deleteIntegrationShareableId.
    pub async fn delete_shareable_id(&self, target: Target) -> Result<()> {
        self.write(Delete(target)).await
    }

    /// unlinkSandboxedConversations.
    pub async fn unlink_sandboxed_conversations(&self, target: Target) -> Result<()> {
        self.read(&Unlink(target)).await
    }

    /// rotateBotSigningSecrets and rotateIntegrationSigningSecrets: the new secret. The old one stays
    /// good for a day.
    pub async fn rotate_signing_secret(&self, actor: Actor, id: String, whose: Signer) -> Result<String> {
        self.write_rights(Rotate { actor, id, whose }).await
    }
}
