//! `/v1/admin/interfaces` (`spec/cloud/admin.md` § 7).

use duologue_model::{Error as Refusal, Json};
use duologue_store::{
    catalog::{
        List, Which,
        interfaces::{Change, Definition, Interface, View},
    },
    page::Page,
    workspaces::Actor,
};
use serde::Serialize;

use super::{actor, may_break};
use crate::{
    call::{self, Call},
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[
    route!(Admin POST "/v1/admin/interfaces" createInterface create),
    route!(Admin GET "/v1/admin/interfaces" listInterfaces list),
    route!(Admin GET "/v1/admin/interfaces/{id}" getInterface get),
    route!(Admin PUT "/v1/admin/interfaces/{id}" updateInterface update),
    route!(Admin DELETE "/v1/admin/interfaces/{id}" deleteInterface delete),
    route!(Admin GET "/v1/admin/interfaces/{name}/{version}" getInterfaceByName get_by_name),
];

fn answer(call: &Call, interface: &Interface) -> Answer {
    #[derive(Serialize)]
    struct One<'a> {
        interface: View<'a>,
    }
    call::ok(&One { interface: interface.view(&call.app.public_url) })
}

/// What a list of products is asked for; the hub's has no actor.
pub(super) fn wanted(call: &Call, actor: Option<Actor>) -> Result<List, Refusal> {
    Ok(List { actor, name: call.query.text("name"), version: call.query.text("version"), page: call.page()? })
}

/// Answers one of a workspace, or of the hub.
pub(super) async fn one(call: &Call, actor: Option<Actor>, which: Which) -> Answer {
    let interface: Interface = call.app.store.get_product(actor, which).await?;
    answer(call, &interface)
}

/// Answers a page of a workspace, or of the hub.
pub(super) async fn page(call: &Call, actor: Option<Actor>) -> Answer {
    let page = call.app.store.list_products::<Definition>(wanted(call, actor)?).await?;
    let items = page.items.iter().map(|item| Json::of(&item.line(&call.app.public_url))).collect();
    call.list("interfaces", &Page { items, next: page.next })
}

async fn create(call: Call) -> Answer {
    let actor = actor(&call)?;
    let new: Change = call.json()?;
    answer(&call, &call.app.store.create_interface(actor, new).await?)
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

async fn update(call: Call) -> Answer {
    let actor = actor(&call)?;
    let change: Change = call.json()?;
    answer(&call, &call.app.store.update_interface(actor, call.param(0), change, may_break(&call)).await?)
}

async fn delete(call: Call) -> Answer {
    call.app.store.delete_interface(actor(&call)?, call.param(0)).await?;
    call::empty()
}
