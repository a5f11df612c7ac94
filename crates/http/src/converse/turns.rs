//! What the turns of a conversation did, and why: `GET …/converse/{userId}/turns`. The original had no such
//! route; who may ask is who may ask on the secured one.

use duologue_bots::trace::{self, Shown};
use duologue_store::v12::traces::Latest;
use duologue_v12::{Answer, ApiError};
use serde::Serialize;

use super::{Call, Outcome, admit, answer, auth, bot, decoded, message::user_id, query};

/// Turns in an answer if nothing else is asked for.
const DEFAULT_LIMIT: u32 = 20;
/// Turns in an answer at most.
const MAX_LIMIT: u32 = 50;

/// Turns, newest first.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    turns: Vec<Shown>,
    /// What to give as `before` to get those before these; absent if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_before: Option<i64>,
}

/// `GET …/converse/{userId}/turns?limit=&before=`.
pub(super) async fn list(call: &Call, bot_id: &str, user: &str) -> Outcome {
    let (bot_id, user) = (decoded(bot_id)?, user_id(user)?);
    let bot = bot(call, &bot_id).await?;
    auth::collaborator(&call.app.store, &call.installed.config.tokens, &call.headers).await?;
    admit(call, &bot, &user, false)?;
    let limit = number(&call.query, "limit", i64::from(MAX_LIMIT))?.map_or(DEFAULT_LIMIT, |n| n as u32);
    let before = number(&call.query, "before", i64::MAX)?;
    // One more tells whether there are more.
    let latest = Latest { bot: bot.store_id.clone(), user, before, limit: limit + 1 };
    let mut stored = call.app.store.latest_v12_turns(latest).await.map_err(auth::failed)?;
    let has_more = stored.len() > limit as usize;
    stored.truncate(limit as usize);
    let next_before = stored.last().filter(|_| has_more).map(|turn| turn.turn);
    let shown = stored.iter().filter_map(|turn| {
        trace::show(turn).inspect_err(|error| tracing::warn!(bot = bot_id, %error, "a turn can't be shown")).ok()
    });
    let page = Page { turns: shown.collect(), next_before };
    let body = serde_json::to_string(&page).map_err(|error| {
        tracing::error!(%error, "turns can't be written");
        ApiError::plain(500, "Error", "The server failed to process this request.")
    })?;
    Ok(answer::whole(Answer::json(200, body), answer::accepts_gzip(&call.headers)))
}

/// A parameter from 1 to `most`.
fn number(query: &str, name: &str, most: i64) -> Result<Option<i64>, ApiError> {
    let Some(text) = query::last(query, name) else { return Ok(None) };
    match text.parse() {
        Ok(number) if (1..=most).contains(&number) => Ok(Some(number)),
        _ => Err(ApiError::bad_request(&format!("{name} must be a whole number from 1 to {most}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_bounds() {
        assert_eq!(number("", "limit", 50).ok(), Some(None));
        assert_eq!(number("a=1&limit=50", "limit", 50).ok(), Some(Some(50)));
        for query in ["limit=0", "limit=51", "limit=", "limit=-1", "limit=x"] {
            assert!(number(query, "limit", 50).is_err(), "{query}");
        }
    }
}
