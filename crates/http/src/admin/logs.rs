//! Logs of bots and integrations (`spec/cloud/admin.md` § 5.4).
//!
//! Of our own is `wait`: a list that has come to its end answers with the next lines as soon as there are
//! some, which is how a log is followed.

use std::time::Duration;

use duologue_model::{Error as Refusal, PageSize, Timestamp};
use duologue_store::{
    logs::{Level, Line, List, Owner},
    page::{Cursor, Page, PageRequest},
};
use serde::Serialize;
use tokio::time::Instant;

use super::actor;
use crate::{
    call::{self, Call},
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[
    route!(Admin GET "/v1/admin/bots/{id}/logs" getBotLogs of_bot),
    route!(Admin GET "/v1/admin/integrations/{id}/logs" getIntegrationLogs of_integration),
];

/// Lines in a page unless it says otherwise.
const PAGE: i64 = 100;
/// The longest that a request waits for lines.
const LONGEST_WAIT: i64 = 30;
/// Other servers on the database don't wake this one, and lines of theirs come a little late.
const SHARED_LAG: Duration = Duration::from_secs(2);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Logs<'a> {
    logs: &'a [Line],
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

async fn of_bot(call: Call) -> Answer {
    let owner = Owner::Bot(call.param(0));
    list(call, owner).await
}

async fn of_integration(call: Call) -> Answer {
    let owner = Owner::Integration(call.param(0));
    list(call, owner).await
}

async fn list(call: Call, owner: Owner) -> Answer {
    let mut list = wanted(&call, owner)?;
    let Some(wait) = wait(&call)? else {
        let page = call.app.store.list_logs(&list).await?;
        return answer(&call, &page, page.next.as_ref());
    };
    let page = follow(&call, &mut list, Instant::now() + wait).await?;
    // Where the next request goes on, also from here.
    let here = page.items.last().map(Line::cursor).or(list.page.after);
    answer(&call, &page, Some(&here.unwrap_or(Cursor { pos: list.from.millis(), id: String::new(), snapshot: None })))
}

fn answer(call: &Call, page: &Page<Line>, next: Option<&Cursor>) -> Answer {
    call::ok(&Logs { logs: &page.items, next_token: call.meta(next).next_token })
}

/// The page, as soon as there is something in it.
async fn follow(call: &Call, list: &mut List, until: Instant) -> duologue_store::Result<Page<Line>> {
    let store = &call.app.store;
    let end = list.to;
    loop {
        let added = store.live().logs.notified();
        if store.is_shared() {
            let settled = store.now().plus_millis(-(SHARED_LAG.as_millis() as i64));
            list.to = Some(end.map_or(settled, |end| end.min(settled)));
        }
        let page = store.list_logs(list).await?;
        let now = Instant::now();
        if !page.items.is_empty() || now >= until {
            return Ok(page);
        }
        let look = if store.is_shared() { until.min(now + SHARED_LAG / 2) } else { until };
        // Woken or not, the table says what there is.
        let _ = tokio::time::timeout_at(look, added).await;
    }
}

fn wait(call: &Call) -> Result<Option<Duration>, Refusal> {
    let seconds = call.query.int("wait")?;
    Ok(seconds.map(|seconds| Duration::from_secs(seconds.clamp(0, LONGEST_WAIT).unsigned_abs())))
}

fn wanted(call: &Call, owner: Owner) -> Result<List, Refusal> {
    let query = &call.query;
    let from: Option<Timestamp> = query.at("timeStart")?;
    let size = match (query.get("pageSize"), query.get("limit")) {
        (None, None) => PageSize::new(PAGE),
        _ => query.page_size()?,
    };
    Ok(List {
        actor: actor(call)?,
        owner,
        from: from.ok_or_else(|| Refusal::invalid_query("the query parameter timeStart is missing"))?,
        to: query.at("timeEnd")?,
        level: query.word("level", Level::from_name, "debug, info, warn, error")?,
        user_id: query.text("userId"),
        conversation_id: query.text("conversationId"),
        workflow_id: query.text("workflowId"),
        contains: query.text("messageContains"),
        page: PageRequest { size, ..call.page()? },
    })
}
