//! `/v1/admin/workspaces` (`spec/cloud/admin.md` § 4). Workspaces are answered unwrapped.

use duologue_model::Json;
use duologue_store::workspaces::{Change, ListPublic};
use serde::Deserialize;

use super::{Preference, actor};
use crate::{
    call::{self, Call},
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[
    route!(Admin POST "/v1/admin/workspaces" createWorkspace create),
    route!(Admin GET "/v1/admin/workspaces" listWorkspaces list),
    route!(Admin PUT "/v1/admin/workspaces/handle-availability" checkHandleAvailability check_handle),
    route!(Admin POST "/v1/admin/workspaces/preferences/{key}" setWorkspacePreference set_preference),
    route!(Admin GET "/v1/admin/workspaces/preferences/{key}" getWorkspacePreference get_preference),
    route!(Admin GET "/v1/admin/workspaces/public" listPublicWorkspaces list_public),
    route!(Admin GET "/v1/admin/workspaces/{id}" getWorkspace get),
    route!(Admin PUT "/v1/admin/workspaces/{id}" updateWorkspace update),
    route!(Admin DELETE "/v1/admin/workspaces/{id}" deleteWorkspace delete),
    route!(Admin GET "/v1/admin/workspaces/{id}/public" getPublicWorkspace get_public),
    route!(Admin GET "/v1/admin/workspaces/{id}/audit-records" getAuditRecords list_audit_records),
];

async fn create(call: Call) -> Answer {
    #[derive(Deserialize)]
    struct Body {
        name: String,
    }
    let account = call.account()?.to_owned();
    let body: Body = call.json()?;
    let workspace = call.app.store.create_workspace(account, body.name).await?;
    call::ok(&workspace)
}

async fn list(call: Call) -> Answer {
    let (account, handle) = (call.account()?.to_owned(), call.query.text("handle"));
    let page = call.app.store.list_workspaces(account, handle, call.page()?).await?;
    call.list("workspaces", &page)
}

async fn get(call: Call) -> Answer {
    let workspace = call.app.store.get_workspace(call.account()?.to_owned(), call.param(0)).await?;
    call::ok(&workspace)
}

async fn update(call: Call) -> Answer {
    let account = call.account()?.to_owned();
    let change: Change = call.json()?;
    let workspace = call.app.store.update_workspace(account, call.param(0), change).await?;
    call::ok(&workspace)
}

async fn delete(call: Call) -> Answer {
    call.app.store.delete_workspace(call.account()?.to_owned(), call.param(0)).await?;
    call::empty()
}

async fn check_handle(call: Call) -> Answer {
    #[derive(Deserialize)]
    struct Body {
        handle: String,
    }
    let account = call.account()?.to_owned();
    let body: Body = call.json()?;
    let availability = call.app.store.check_handle(account, body.handle).await?;
    call::ok(&availability)
}

async fn get_public(call: Call) -> Answer {
    let workspace = call.app.store.get_public_workspace(call.account()?.to_owned(), call.param(0)).await?;
    call::ok(&workspace)
}

async fn list_public(call: Call) -> Answer {
    call.account()?;
    let list =
        ListPublic { ids: call.query.all("workspaceIds"), search: call.query.text("search"), page: call.page()? };
    let page = call.app.store.list_public_workspaces(list).await?;
    call.list("workspaces", &page)
}

async fn get_preference(call: Call) -> Answer {
    let value = call.app.store.workspace_preference(actor(&call)?, call.param(0)).await?;
    call::ok(&Preference { value: Some(value) })
}

async fn set_preference(call: Call) -> Answer {
    let actor = actor(&call)?;
    let body: Preference = call.json()?;
    let value = body.value.unwrap_or_else(|| Json::of(&()));
    call.app.store.set_workspace_preference(actor, call.param(0), value).await?;
    call::empty()
}

async fn list_audit_records(call: Call) -> Answer {
    let account = call.account()?.to_owned();
    let page = call.app.store.audit_records(account, call.param(0), call.page()?).await?;
    call.list("records", &page)
}
