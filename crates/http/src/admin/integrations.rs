//! `/v1/admin/integrations` (`spec/cloud/admin.md` § 6).

use duologue_store::{
    integrations::{Change, Integration, Item, List, Order, VerificationStatus, View, Visibility},
    page::Page,
    workspaces::Actor,
};
use serde::{Deserialize, Serialize};

use super::{actor, may_break};
use crate::{
    call::{self, Call},
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[
    route!(Admin POST "/v1/admin/integrations" createIntegration create),
    route!(Admin GET "/v1/admin/integrations" listIntegrations list),
    route!(Admin POST "/v1/admin/integrations/validate" validateIntegrationCreation validate_creation),
    route!(Admin POST "/v1/admin/integrations/request-verification" requestIntegrationVerification request_verification),
    route!(Admin GET "/v1/admin/integrations/{id}" getIntegration get),
    route!(Admin PUT "/v1/admin/integrations/{id}" updateIntegration update),
    route!(Admin DELETE "/v1/admin/integrations/{id}" deleteIntegration delete),
    route!(Admin PUT "/v1/admin/integrations/{id}/validate" validateIntegrationUpdate validate_update),
    route!(Admin GET "/v1/admin/integrations/{name}/{version}" getIntegrationByName get_by_name),
];

#[derive(Serialize)]
struct One<'a> {
    integration: View<'a>,
}

pub(super) fn answer(call: &Call, integration: &Integration) -> Answer {
    call::ok(&One { integration: integration.view(&call.app.public_url) })
}

pub(super) fn answer_page(call: &Call, page: &Page<Item>) -> Answer {
    let items = page.items.iter().map(|item| item.view(&call.app.public_url)).collect();
    call.list("integrations", &Page { items, next: page.next.clone() })
}

/// What a list is asked for; the hub's has no actor.
pub(super) fn wanted(call: &Call, actor: Option<Actor>) -> Result<List, duologue_model::Error> {
    let query = &call.query;
    let direction =
        query.word("direction", |word| matches!(word, "asc" | "desc").then_some(word == "asc"), "asc, desc")?;
    let order = query.word("sortBy", Order::from_name, "popularity, name, createdAt, updatedAt, installCount")?;
    let statuses = "unapproved, pending, approved, rejected";
    Ok(List {
        actor,
        name: query.text("name"),
        version: query.text("version"),
        interface: query.text("interfaceId").or_else(|| query.text("interfaceName")),
        installed_by: query.text("installedByBotId"),
        verification_status: query.word("verificationStatus", VerificationStatus::from_name, statuses)?,
        visibility: query.word("visibility", Visibility::from_name, "public, private, unlisted")?,
        dev: query.bool("dev")?,
        search: query.text("search"),
        order: order.unwrap_or_default(),
        ascending: direction,
        page: call.page()?,
    })
}

async fn create(call: Call) -> Answer {
    let actor = actor(&call)?;
    let new: Change = call.json()?;
    let integration = call.app.store.create_integration(actor, new).await?;
    answer(&call, &integration)
}

async fn validate_creation(call: Call) -> Answer {
    let actor = actor(&call)?;
    let new: Change = call.json()?;
    call.app.store.validate_integration_creation(actor, new).await?;
    call::empty()
}

async fn request_verification(call: Call) -> Answer {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        integration_id: String,
    }
    let body: Body = call.json()?;
    call.app.store.approve_integration(actor(&call)?, body.integration_id).await?;
    call::empty()
}

async fn list(call: Call) -> Answer {
    let list = wanted(&call, Some(actor(&call)?))?;
    let page = call.app.store.list_integrations(list).await?;
    answer_page(&call, &page)
}

async fn get(call: Call) -> Answer {
    let integration = call.app.store.get_integration(actor(&call)?, call.param(0)).await?;
    answer(&call, &integration)
}

async fn get_by_name(call: Call) -> Answer {
    let integration = call.app.store.get_integration_by_name(actor(&call)?, call.param(0), call.param(1)).await?;
    answer(&call, &integration)
}

async fn update(call: Call) -> Answer {
    let actor = actor(&call)?;
    let change: Change = call.json()?;
    let integration = call.app.store.update_integration(actor, call.param(0), change, may_break(&call)).await?;
    answer(&call, &integration)
}

async fn validate_update(call: Call) -> Answer {
    let actor = actor(&call)?;
    let change: Change = call.json()?;
    call.app.store.validate_integration_update(actor, call.param(0), change, may_break(&call)).await?;
    call::empty()
}

async fn delete(call: Call) -> Answer {
    call.app.calls.delete_integration(actor(&call)?, call.param(0)).await?;
    call::empty()
}
