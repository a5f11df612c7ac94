//! `/v1/admin/bots/{id}/issues` (`spec/cloud/admin.md` § 5.4).

use duologue_model::Error as Refusal;
use duologue_store::issues::{Event, Issue, Path};
use serde::Serialize;

use super::actor;
use crate::{
    call::{self, Call},
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[
    route!(Admin GET "/v1/admin/bots/{id}/issues" listBotIssues list),
    route!(Admin GET "/v1/admin/bots/{id}/issues/{issueId}" getBotIssue get),
    route!(Admin DELETE "/v1/admin/bots/{id}/issues/{issueId}" deleteBotIssue delete),
    route!(Admin GET "/v1/admin/bots/{id}/issues/{issueId}/events" listBotIssueEvents list_events),
];

fn path(call: &Call) -> Result<Path, Refusal> {
    Ok(Path { actor: actor(call)?, bot: call.param(0), id: call.param(1) })
}

async fn list(call: Call) -> Answer {
    let page = call.app.store.list_issues(actor(&call)?, call.param(0), call.page()?).await?;
    call.list("issues", &page)
}

async fn get(call: Call) -> Answer {
    #[derive(Serialize)]
    struct One {
        issue: Issue,
    }
    call::ok(&One { issue: call.app.store.issue(path(&call)?).await? })
}

async fn delete(call: Call) -> Answer {
    call.app.store.delete_issue(path(&call)?).await?;
    call::empty()
}

async fn list_events(call: Call) -> Answer {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct All {
        issue_events: Vec<Event>,
    }
    call::ok(&All { issue_events: call.app.store.list_issue_events(path(&call)?).await? })
}
