//! `/v1/admin/plugins` (`spec/cloud/admin.md` § 7).

use duologue_model::Error as Refusal;
use duologue_store::{
    catalog::plugins::{Definition, Platform},
    workspaces::Actor,
};
use serde::Serialize;

use super::{
    actor,
    products::{answer, create, delete, get, get_by_name, list, update},
};
use crate::{
    call::{self, Call},
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[
    route!(Admin POST "/v1/admin/plugins" createPlugin create::<Definition>),
    route!(Admin GET "/v1/admin/plugins" listPlugins list::<Definition>),
    route!(Admin GET "/v1/admin/plugins/{id}" getPlugin get::<Definition>),
    route!(Admin PUT "/v1/admin/plugins/{id}" updatePlugin update::<Definition>),
    route!(Admin DELETE "/v1/admin/plugins/{id}" deletePlugin delete::<Definition>),
    route!(Admin GET "/v1/admin/plugins/{id}/code/{platform}" getPluginCode get_code),
    route!(Admin GET "/v1/admin/plugins/{id}/dereferenced" getDereferencedPlugin get_dereferenced),
    route!(Admin GET "/v1/admin/plugins/{name}/{version}" getPluginByName get_by_name::<Definition>),
];

/// Answers code of one of a workspace, or of the hub.
pub(super) async fn code(call: &Call, actor: Option<Actor>) -> Answer {
    #[derive(Serialize)]
    struct Code {
        code: String,
    }
    let platform = Platform::from_name(&call.param(1));
    let platform = platform.ok_or_else(|| Refusal::invalid_payload("the platform is node or browser"))?;
    let code = call.app.store.plugin_code(actor, call.param(0), platform).await?;
    call::ok(&Code { code })
}

/// Answers one with schemas of integrations in the place of references.
pub(super) async fn dereferenced(call: &Call, actor: Option<Actor>) -> Answer {
    let integrations = call.query.object("interfaces");
    answer(call, &call.app.store.dereferenced_plugin(actor, call.param(0), integrations).await?)
}

async fn get_code(call: Call) -> Answer {
    let actor = actor(&call)?;
    code(&call, Some(actor)).await
}

async fn get_dereferenced(call: Call) -> Answer {
    let actor = actor(&call)?;
    dereferenced(&call, Some(actor)).await
}
