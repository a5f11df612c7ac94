//! `/v1/admin/workspace-members` (`spec/cloud/admin.md` § 4). Members are answered unwrapped.

use duologue_model::admin::Role;
use serde::Deserialize;

use super::actor;
use crate::{
    call::{self, Call},
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[
    route!(Admin GET "/v1/admin/workspace-members" listWorkspaceMembers list),
    route!(Admin POST "/v1/admin/workspace-members" createWorkspaceMember create),
    route!(Admin GET "/v1/admin/workspace-members/me" getWorkspaceMember get_own),
    route!(Admin PUT "/v1/admin/workspace-members/{id}" updateWorkspaceMember update),
    route!(Admin DELETE "/v1/admin/workspace-members/{id}" deleteWorkspaceMember delete),
];

async fn list(call: Call) -> Answer {
    let page = call.app.store.list_members(actor(&call)?, call.page()?).await?;
    call.list("members", &page)
}

async fn create(call: Call) -> Answer {
    #[derive(Deserialize)]
    struct Body {
        email: String,
        role: Role,
    }
    let actor = actor(&call)?;
    let body: Body = call.json()?;
    let member = call.app.store.create_member(actor, body.email, body.role).await?;
    call::ok(&member)
}

async fn get_own(call: Call) -> Answer {
    let member = call.app.store.get_own_member(actor(&call)?).await?;
    call::ok(&member)
}

async fn update(call: Call) -> Answer {
    #[derive(Deserialize)]
    struct Body {
        role: Option<Role>,
    }
    let actor = actor(&call)?;
    let body: Body = call.json()?;
    let member = call.app.store.update_member(actor, call.param(0), body.role).await?;
    call::ok(&member)
}

async fn delete(call: Call) -> Answer {
    call.app.store.delete_member(actor(&call)?, call.param(0)).await?;
    call::empty()
}
