//! Verification of integration versions (`spec/cloud/admin.md` §§ 2, 6): whoever runs the server has the
//! last word on what runs on it, so a request for a review is its approval.

use duologue_model::{Json, admin::Role};

use super::{VerificationStatus, named};
use crate::{
    Result, Store, params,
    tx::{Script, Tx},
    workspaces::Actor,
};

struct Approve {
    actor: Actor,
    id: String,
}

impl Script for Approve {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let inside = self.actor.enter(tx, Role::Developer).await?;
        let mut stored = named(tx, &inside, &self.id, true).await?;
        stored.body.definition.verification_status = VerificationStatus::Approved;
        let sql = "UPDATE integrations SET body = ?2, verified = 1 WHERE id = ?1";
        tx.execute(sql, params![&self.id, &Json::of(&stored.body)]).await?;
        Ok(())
    }
}

impl Store {
    /// requestIntegrationVerification: the version is approved from now on.
    pub async fn approve_integration(&self, actor: Actor, id: String) -> Result<()> {
        self.write(Approve { actor, id }).await
    }
}
