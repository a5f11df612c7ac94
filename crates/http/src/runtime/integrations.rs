//! `/v1/chat/integrations` (`spec/cloud/runtime.md` § 11).

use duologue_model::{Error as Refusal, Json};
use duologue_store::integrations::registration::{Configure, Period};
use serde::Deserialize;

use super::messages::for_integrations;
use crate::{
    body::nullable,
    call::{self, Call},
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] =
    &[route!(Runtime POST "/v1/chat/integrations/configure" configureIntegration configure)];

const MOST_IDENTIFIER: usize = 200;

async fn configure(call: Call) -> Answer {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        #[serde(default, deserialize_with = "nullable")]
        identifier: Option<Option<String>>,
        schedule_register_call: Option<String>,
        #[serde(default, deserialize_with = "nullable")]
        sandbox_identifiers: Option<Option<Json>>,
    }
    for_integrations(&call)?;
    let body: Body = call.json()?;
    call::text("identifier", body.identifier.iter().flatten().next().map_or("", String::as_str), MOST_IDENTIFIER)?;
    call::object("sandboxIdentifiers", body.sandbox_identifiers.iter().flatten().next())?;
    let unknown = |word: &String| {
        Refusal::invalid_payload(format!(
            "scheduleRegisterCall must be one of hourly, daily, weekly, bi-weekly, monthly, bi-monthly, quarterly, yearly; this is \"{word}\""
        ))
    };
    let period = body.schedule_register_call.as_ref().map(|word| Period::from_name(word).ok_or_else(|| unknown(word)));
    let script = Configure {
        who: call.who()?.clone(),
        // An empty one is none.
        identifier: body.identifier.map(|identifier| identifier.filter(|text| !text.is_empty())),
        period: period.transpose()?,
        sandbox_identifiers: body.sandbox_identifiers,
    };
    call.app.store.write(script).await?;
    call::empty()
}
