//! `/v1/admin/hub`: integrations, interfaces and plugins that every workspace may use
//! (`spec/cloud/admin.md` § 8). Needs a token, but no workspace.

use duologue_store::catalog::{interfaces::Definition as Interface, plugins::Definition as Plugin};

use super::{
    integrations::{answer, answer_page, wanted},
    plugins,
    products::{get_public, get_public_by_name, list_public},
};
use crate::{
    call::Call,
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[
    route!(Admin GET "/v1/admin/hub/integrations" listPublicIntegrations list),
    route!(Admin GET "/v1/admin/hub/integrations/{id}" getPublicIntegrationById get),
    route!(Admin GET "/v1/admin/hub/integrations/{name}/{version}" getPublicIntegration get_by_name),
    route!(Admin GET "/v1/admin/hub/interfaces" listPublicInterfaces list_public::<Interface>),
    route!(Admin GET "/v1/admin/hub/interfaces/{id}" getPublicInterfaceById get_public::<Interface>),
    route!(Admin GET "/v1/admin/hub/interfaces/{name}/{version}" getPublicInterface get_public_by_name::<Interface>),
    route!(Admin GET "/v1/admin/hub/plugins" listPublicPlugins list_public::<Plugin>),
    route!(Admin GET "/v1/admin/hub/plugins/{id}" getPublicPluginById get_public::<Plugin>),
    route!(Admin GET "/v1/admin/hub/plugins/{id}/code/{platform}" getPublicPluginCode get_plugin_code),
    route!(Admin GET "/v1/admin/hub/plugins/{id}/dereferenced" getDereferencedPublicPluginById get_dereferenced_plugin),
    route!(Admin GET "/v1/admin/hub/plugins/{name}/{version}" getPublicPlugin get_public_by_name::<Plugin>),
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

async fn get_plugin_code(call: Call) -> Answer {
    call.account()?;
    plugins::code(&call, None).await
}

async fn get_dereferenced_plugin(call: Call) -> Answer {
    call.account()?;
    plugins::dereferenced(&call, None).await
}
