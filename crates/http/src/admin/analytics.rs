//! `/v1/admin/bots/{id}/analytics` (`spec/cloud/admin.md` § 5.4).

use std::collections::BTreeMap;

use duologue_model::{Error as Refusal, Timestamp};
use duologue_store::analytics::{Day, Report};
use serde::Serialize;

use super::actor;
use crate::{
    call::{self, Call},
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[route!(Admin GET "/v1/admin/bots/{id}/analytics" getBotAnalytics get)];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    start_date_time_utc: Timestamp,
    end_date_time_utc: Timestamp,
    returning_users: i64,
    new_users: i64,
    sessions: i64,
    /// The same as `user_messages`.
    messages: i64,
    user_messages: i64,
    bot_messages: i64,
    events: i64,
    event_types: BTreeMap<String, i64>,
    custom_events: BTreeMap<String, i64>,
    llm: Llm,
}

/// No language model is called by the server itself.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Llm {
    calls: i64,
    errors: i64,
    input_tokens: i64,
    output_tokens: i64,
    latency: Spread,
    tokens_per_second: Spread,
    cost: Cost,
}

#[derive(Default, Serialize)]
struct Spread {
    mean: i64,
    sd: i64,
    min: i64,
    max: i64,
}

#[derive(Default, Serialize)]
struct Cost {
    sum: i64,
    #[serde(flatten)]
    each: Spread,
}

impl From<Day> for Record {
    fn from(day: Day) -> Self {
        Record {
            start_date_time_utc: day.start(),
            end_date_time_utc: day.end(),
            returning_users: day.returning_users,
            new_users: day.new_users,
            sessions: day.sessions,
            messages: day.user_messages,
            user_messages: day.user_messages,
            bot_messages: day.bot_messages,
            events: day.event_types.values().sum(),
            event_types: day.event_types,
            custom_events: day.custom_events,
            llm: Llm::default(),
        }
    }
}

async fn get(call: Call) -> Answer {
    #[derive(Serialize)]
    struct All {
        records: Vec<Record>,
    }
    let report = Report {
        actor: actor(&call)?,
        bot: call.param(0),
        from: instant(&call, "startDate")?,
        to: instant(&call, "endDate")?,
    };
    let days = call.app.store.bot_analytics(report).await?;
    call::ok(&All { records: days.into_iter().map(Record::from).collect() })
}

/// A day such as 2026-01-31, or an instant of it.
fn instant(call: &Call, name: &str) -> Result<Timestamp, Refusal> {
    let text = call.query.get(name);
    let text = text.ok_or_else(|| Refusal::invalid_query(format!("the query parameter {name} is missing")))?;
    let whole = if text.len() == 10 { format!("{text}T00:00:00.000Z") } else { text.to_owned() };
    whole.parse().map_err(|e| Refusal::invalid_query(format!("the query parameter {name}: {e}")))
}
