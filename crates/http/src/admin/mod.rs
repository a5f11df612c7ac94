//! The admin API, `/v1/admin/*` (`spec/cloud/admin.md`). One file a resource.
//!
//! Who may do what is decided in the store; here a request's account and workspace are read.

mod account;
mod analytics;
mod assets;
mod baks;
mod bots;
mod deliveries;
mod helper;
mod hub;
mod iaks;
mod integrations;
mod interfaces;
mod introspect;
mod issues;
mod logs;
mod plugins;
mod products;
mod shareable;
mod sharing;
mod versions;
mod webhooks;
mod workspace_members;
mod workspaces;

use duologue_model::{Error as Refusal, Json};
use duologue_store::workspaces::Actor;
use serde::{Deserialize, Serialize};

use crate::{
    call::{self, Call},
    route::Route,
};

pub(crate) const ROUTES: &[&[Route]] = &[
    account::ROUTES,
    analytics::ROUTES,
    assets::ROUTES,
    baks::ROUTES,
    bots::ROUTES,
    deliveries::ROUTES,
    helper::ROUTES,
    hub::ROUTES,
    iaks::ROUTES,
    integrations::ROUTES,
    interfaces::ROUTES,
    introspect::ROUTES,
    issues::ROUTES,
    logs::ROUTES,
    plugins::ROUTES,
    shareable::ROUTES,
    sharing::ROUTES,
    versions::ROUTES,
    webhooks::ROUTES,
    workspace_members::ROUTES,
    workspaces::ROUTES,
];

/// Who calls, about which workspace.
fn actor(call: &Call) -> Result<Actor, Refusal> {
    let workspace = call.header("x-workspace-id").filter(|id| !id.is_empty()).map(str::to_owned);
    Ok(Actor { account: call.account()?.to_owned(), workspace })
}

/// Whether the caller takes the blame for what others will miss.
fn may_break(call: &Call) -> bool {
    call.header("x-bypass-breaking-changes-detection").is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// A kept value, as it travels both ways.
#[derive(Deserialize, Serialize)]
struct Preference {
    value: Option<Json>,
}

/// What a token is for.
fn note(text: &str) -> Result<(), Refusal> {
    call::text("note", text, 1000)
}
