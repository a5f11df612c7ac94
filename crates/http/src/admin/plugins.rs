//! `/v1/admin/plugins` (`spec/cloud/admin.md` § 7).

use duologue_model::{Error as Refusal, Json};
use duologue_store::{
    catalog::{
        Which,
        plugins::{Change, Definition, Platform, Plugin, View},
    },
    page::Page,
    workspaces::Actor,
};
use serde::Serialize;

use super::{actor, interfaces::wanted, may_break};
use crate::{
    call::{self, Call},
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[
    route!(Admin POST "/v1/admin/plugins" createPlugin create),
    route!(Admin GET "/v1/admin/plugins" listPlugins list),
    route!(Admin GET "/v1/admin/plugins/{id}" getPlugin get),
    route!(Admin PUT "/v1/admin/plugins/{id}" updatePlugin update),
    route!(Admin DELETE "/v1/admin/plugins/{id}" deletePlugin delete),
    route!(Admin GET "/v1/admin/plugins/{id}/code/{platform}" getPluginCode get_code),
    route!(Admin GET "/v1/admin/plugins/{id}/dereferenced" getDereferencedPlugin get_dereferenced),
    route!(Admin GET "/v1/admin/plugins/{name}/{version}" getPluginByName get_by_name),
];

fn answer(call: &Call, plugin: &Plugin) -> Answer {
    #[derive(Serialize)]
    struct One<'a> {
        plugin: View<'a>,
    }
    call::ok(&One { plugin: plugin.view(&call.app.public_url) })
}

/// Answers one of a workspace, or of the hub.
pub(super) async fn one(call: &Call, actor: Option<Actor>, which: Which) -> Answer {
    let plugin: Plugin = call.app.store.get_product(actor, which).await?;
    answer(call, &plugin)
}

/// Answers a page of a workspace, or of the hub.
pub(super) async fn page(call: &Call, actor: Option<Actor>) -> Answer {
    let page = call.app.store.list_products::<Definition>(wanted(call, actor)?).await?;
    let items = page.items.iter().map(|item| Json::of(&item.line(&call.app.public_url))).collect();
    call.list("plugins", &Page { items, next: page.next })
}

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

async fn create(call: Call) -> Answer {
    let actor = actor(&call)?;
    let new: Change = call.json()?;
    answer(&call, &call.app.store.create_plugin(actor, new).await?)
}

async fn list(call: Call) -> Answer {
    let actor = actor(&call)?;
    page(&call, Some(actor)).await
}

async fn get(call: Call) -> Answer {
    let actor = actor(&call)?;
    one(&call, Some(actor), Which::Id(call.param(0))).await
}

async fn get_by_name(call: Call) -> Answer {
    let actor = actor(&call)?;
    one(&call, Some(actor), Which::Name(call.param(0), call.param(1))).await
}

async fn get_code(call: Call) -> Answer {
    let actor = actor(&call)?;
    code(&call, Some(actor)).await
}

async fn get_dereferenced(call: Call) -> Answer {
    let actor = actor(&call)?;
    dereferenced(&call, Some(actor)).await
}

async fn update(call: Call) -> Answer {
    let actor = actor(&call)?;
    let change: Change = call.json()?;
    answer(&call, &call.app.store.update_plugin(actor, call.param(0), change, may_break(&call)).await?)
}

async fn delete(call: Call) -> Answer {
    call.app.store.delete_plugin(actor(&call)?, call.param(0)).await?;
    call::empty()
}
