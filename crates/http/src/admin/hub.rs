//! `/v1/admin/hub`: integrations that every workspace may use (`spec/cloud/admin.md` § 8). Needs a
//! token, but no workspace.

use super::integrations::{answer, answer_page, wanted};
use crate::{
    call::Call,
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[
    route!(Admin GET "/v1/admin/hub/integrations" listPublicIntegrations list),
    route!(Admin GET "/v1/admin/hub/integrations/{id}" getPublicIntegrationById get),
    route!(Admin GET "/v1/admin/hub/integrations/{name}/{version}" getPublicIntegration get_by_name),
];

async fn list(call: Call) -> Answer {
    call.account()?;
    let page = call.app.store.list_integrations(wanted(&call, None)?).await?;
    answer_page(&call, &page)
}

async fn get(call: Call) -> Answer {
    call.account()?;
    let integration = call.app.store.get_public_integration(call.param(0)).await?;
    answer(&call, &integration)
}

async fn get_by_name(call: Call) -> Answer {
    call.account()?;
    let integration = call.app.store.get_public_integration_by_name(call.param(0), call.param(1)).await?;
    answer(&call, &integration)
}
