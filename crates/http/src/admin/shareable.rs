//! Shareable ids of instances, and rotation of signing secrets (`spec/cloud/admin.md` §§ 5.3, 6).

use duologue_model::Error as Refusal;
use duologue_store::bots::shareable::{Signer, Target};
use serde::Serialize;

use super::actor;
use crate::{
    body::Nothing,
    call::{self, Call},
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[
    route!(Admin POST "/v1/admin/bots/{botId}/integrations/{integrationId}/shareable-id" createIntegrationShareableId create),
    route!(Admin GET "/v1/admin/bots/{botId}/integrations/{integrationId}/shareable-id" getIntegrationShareableId get),
    route!(Admin DELETE "/v1/admin/bots/{botId}/integrations/{integrationId}/shareable-id" deleteIntegrationShareableId delete),
    route!(Admin DELETE "/v1/admin/bots/{botId}/integrations/{integrationId}/sandboxed-conversations" unlinkSandboxedConversations unlink),
    route!(Admin POST "/v1/admin/bots/{id}/signing-secrets/rotate" rotateBotSigningSecrets rotate_bot),
    route!(Admin POST "/v1/admin/integrations/{id}/signing-secrets/rotate" rotateIntegrationSigningSecrets rotate_integration),
];

fn target(call: &Call) -> Result<Target, Refusal> {
    let alias = call.query.text("integrationInstanceAlias");
    Ok(Target { actor: actor(call)?, bot: call.param(0), integration: call.param(1), alias })
}

async fn create(call: Call) -> Answer {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Created {
        shareable_id: String,
    }
    let target = target(&call)?;
    call.json::<Nothing>()?;
    let shareable_id = call.app.store.create_shareable_id(target).await?;
    call::ok(&Created { shareable_id })
}

async fn get(call: Call) -> Answer {
    call::ok(&call.app.store.shareable_id(target(&call)?).await?)
}

async fn delete(call: Call) -> Answer {
    call.app.store.delete_shareable_id(target(&call)?).await?;
    call::empty()
}

async fn unlink(call: Call) -> Answer {
    call.app.store.unlink_sandboxed_conversations(target(&call)?).await?;
    call::empty()
}

async fn rotate_bot(call: Call) -> Answer {
    rotate(&call, Signer::Bot).await
}

async fn rotate_integration(call: Call) -> Answer {
    rotate(&call, Signer::Integration).await
}

async fn rotate(call: &Call, whose: Signer) -> Answer {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Rotated {
        new_signing_secret: String,
    }
    let actor = actor(call)?;
    call.json::<Nothing>()?;
    let new_signing_secret = call.app.store.rotate_signing_secret(actor, call.param(0), whose).await?;
    call::ok(&Rotated { new_signing_secret })
}
