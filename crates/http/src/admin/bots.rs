//! `/v1/admin/bots` (`spec/cloud/admin.md` § 5).

use duologue_model::Error as Refusal;
use duologue_store::{
    actions,
    bots::{Bot, Change, List, View},
    page::Range,
};
use serde::Serialize;

use super::actor;
use crate::{
    call::{self, Call},
    route::{Answer, Route},
    runtime::conversations::sort,
};

pub(crate) const ROUTES: &[Route] = &[
    route!(Admin POST "/v1/admin/bots" createBot create),
    route!(Admin GET "/v1/admin/bots" listBots list),
    route!(Admin GET "/v1/admin/bots/{id}" getBot get),
    route!(Admin PUT "/v1/admin/bots/{id}" updateBot update),
    route!(Admin DELETE "/v1/admin/bots/{id}" deleteBot delete),
    route!(Admin GET "/v1/admin/bots/{id}/action-runs" listActionRuns list_action_runs),
];

#[derive(Serialize)]
struct One<'a> {
    bot: View<'a>,
}

/// Whether integrations are keyed by alias.
fn by_alias(call: &Call) -> bool {
    call.header("x-multiple-integrations").is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

fn answer(call: &Call, bot: &Bot) -> Answer {
    call::ok(&One { bot: bot.view(&call.app.public_url, call.app.calls.webhook_url(), by_alias(call)) })
}

fn change(call: &Call) -> Result<Change, duologue_model::Error> {
    let mut change: Change = call.json()?;
    change.by_alias = by_alias(call);
    Ok(change)
}

async fn create(call: Call) -> Answer {
    let actor = actor(&call)?;
    let bot = call.app.calls.create_bot(actor, change(&call)?).await?;
    answer(&call, &bot)
}

async fn get(call: Call) -> Answer {
    let bot = call.app.store.get_bot(actor(&call)?, call.param(0)).await?;
    answer(&call, &bot)
}

async fn update(call: Call) -> Answer {
    let actor = actor(&call)?;
    let bot = call.app.calls.update_bot(actor, call.param(0), change(&call)?).await?;
    answer(&call, &bot)
}

async fn delete(call: Call) -> Answer {
    call.app.calls.delete_bot(actor(&call)?, call.param(0)).await?;
    call::empty()
}

async fn list(call: Call) -> Answer {
    let query = &call.query;
    let list = List {
        actor: actor(&call)?,
        dev: query.bool("dev")?.unwrap_or(false),
        tags: query.object("tags"),
        integrations: query.all("integrationNames"),
        plugins: query.all("pluginNames"),
        sort: sort(query)?,
        page: call.page()?,
    };
    let page = call.app.store.list_bots(list).await?;
    call.list("bots", &page)
}

async fn list_action_runs(call: Call) -> Answer {
    let query = &call.query;
    let missing = || Refusal::invalid_payload("the query parameter integrationName is missing");
    let list = actions::List {
        actor: actor(&call)?,
        bot: call.param(0),
        alias: query.text("integrationName").ok_or_else(missing)?,
        range: Range { after: query.at("timestampFrom")?, before: query.at("timestampUntil")? },
        page: call.page()?,
    };
    let page = call.app.store.list_action_runs(list).await?;
    call.list("data", &page)
}
