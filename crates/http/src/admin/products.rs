//! What interfaces and plugins answer alike (`spec/cloud/admin.md` §§ 7, 8): under `/v1/admin/…` for a workspace, under
//! `/v1/admin/hub/…` for everybody with a token.

use std::collections::BTreeMap;

use duologue_model::Json;
use duologue_store::{
    catalog::{List, Product, Stored, Which},
    page::Page,
    workspaces::Actor,
};

use super::{actor, may_break};
use crate::{
    call::{self, Call},
    route::Answer,
};

/// Answers one.
pub(super) fn answer<D: Product>(call: &Call, product: &Stored<D>) -> Answer {
    call::ok(&BTreeMap::from([(D::NOUN, product.view(&call.app.public_url))]))
}

async fn one<D: Product>(call: &Call, actor: Option<Actor>, which: Which) -> Answer {
    answer::<D>(call, &call.app.store.get_product(actor, which).await?)
}

async fn page<D: Product>(call: &Call, actor: Option<Actor>) -> Answer {
    let list = List { actor, name: call.query.text("name"), version: call.query.text("version"), page: call.page()? };
    let page = call.app.store.list_products::<D>(list).await?;
    let items = page.items.iter().map(|item| Json::of(&item.line(&call.app.public_url))).collect();
    call.list(D::PLURAL, &Page { items, next: page.next })
}

pub(super) async fn create<D: Product>(call: Call) -> Answer {
    let actor = actor(&call)?;
    let new: D::Change = call.json()?;
    answer::<D>(&call, &call.app.store.create_product(actor, new).await?)
}

pub(super) async fn list<D: Product>(call: Call) -> Answer {
    let actor = actor(&call)?;
    page::<D>(&call, Some(actor)).await
}

pub(super) async fn get<D: Product>(call: Call) -> Answer {
    let actor = actor(&call)?;
    one::<D>(&call, Some(actor), Which::Id(call.param(0))).await
}

pub(super) async fn get_by_name<D: Product>(call: Call) -> Answer {
    let actor = actor(&call)?;
    one::<D>(&call, Some(actor), Which::Name(call.param(0), call.param(1))).await
}

pub(super) async fn update<D: Product>(call: Call) -> Answer {
    let actor = actor(&call)?;
    let change: D::Change = call.json()?;
    answer::<D>(&call, &call.app.store.update_product(actor, call.param(0), change, may_break(&call)).await?)
}

pub(super) async fn delete<D: Product>(call: Call) -> Answer {
    call.app.store.delete_product::<D>(actor(&call)?, call.param(0)).await?;
    call::empty()
}

pub(super) async fn list_public<D: Product>(call: Call) -> Answer {
    call.account()?;
    page::<D>(&call, None).await
}

pub(super) async fn get_public<D: Product>(call: Call) -> Answer {
    call.account()?;
    one::<D>(&call, None, Which::Id(call.param(0))).await
}

pub(super) async fn get_public_by_name<D: Product>(call: Call) -> Answer {
    call.account()?;
    one::<D>(&call, None, Which::Name(call.param(0), call.param(1))).await
}
