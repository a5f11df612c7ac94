//! `/v1/admin/integrations/iaks`: keys of integrations (`spec/cloud/admin.md` § 3).

use duologue_model::{Error as Refusal, admin::Key};
use serde::{Deserialize, Serialize};

use super::{actor, note};
use crate::{
    call::{self, Call},
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[
    route!(Admin GET "/v1/admin/integrations/iaks" listIntegrationApiKeys list),
    route!(Admin POST "/v1/admin/integrations/iaks" createIntegrationApiKey create),
    route!(Admin DELETE "/v1/admin/integrations/iaks/{id}" deleteIntegrationApiKey delete),
];

async fn list(call: Call) -> Answer {
    #[derive(Serialize)]
    struct Iaks {
        iaks: Vec<Key>,
    }
    let missing = || Refusal::invalid_payload("the query parameter integrationId is missing");
    let integration = call.query.text("integrationId").ok_or_else(missing)?;
    let iaks = call.app.store.list_integration_keys(actor(&call)?, integration).await?;
    call::ok(&Iaks { iaks })
}

async fn create(call: Call) -> Answer {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        integration_id: String,
        #[serde(default)]
        note: String,
    }
    let actor = actor(&call)?;
    let body: Body = call.json()?;
    call::name("integrationId", &body.integration_id, 36)?;
    note(&body.note)?;
    let key = call.app.store.create_integration_key(actor, body.integration_id, body.note).await?;
    call::ok(&key)
}

async fn delete(call: Call) -> Answer {
    call.app.store.delete_integration_key(actor(&call)?, call.param(0)).await?;
    call::empty()
}
