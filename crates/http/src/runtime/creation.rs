//! Users and conversations that a bot has an integration make (`spec/cloud/bridge-protocol.md` § 4.7).
//!
//! They are made by the integration while its code is called; what the bot said beside is merged into
//! them afterwards, in one transaction.

use axum::body::Body;
use duologue_calls::{Made, Wanted};
use duologue_model::tags::TagPatch;
use http::Response;

use crate::{call::Call, envelope, envelope::Failure};

/// What an integration is to make; nothing if the caller makes it itself.
pub(crate) async fn delegated(
    call: &Call,
    integration: Option<&String>,
    made: Made,
    tags: &TagPatch,
    by: &[String],
) -> Result<Option<Wanted>, Failure> {
    let who = call.who()?;
    let Some(alias) = integration.filter(|_| who.is_bot()) else { return Ok(None) };
    let wanted = Wanted { bot: who.bot.clone(), alias: alias.clone(), made, tags: tags.clone(), by: by.to_vec() };
    Ok(Some(call.app.calls.check_creation(wanted).await?))
}

/// The answer that an earlier such request with the same `Idempotency-Key` got.
pub(crate) async fn kept(call: &Call) -> Result<Option<Response<Body>>, Failure> {
    let Some(key) = call.request_key()? else { return Ok(None) };
    let kept = call.app.store.kept_answer(key).await?;
    Ok(kept.map(|kept| envelope::raw_json(kept.status, kept.body)))
}
