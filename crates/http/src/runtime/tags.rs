//! `/v1/chat/tags` (`spec/cloud/runtime.md` § 9).

use duologue_model::Error as Refusal;
use duologue_store::{page::Page, tag_index::Tagged};
use serde::Serialize;

use crate::{
    call::Call,
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[route!(Runtime GET "/v1/chat/tags/{key}/values" listTagValues list)];

#[derive(Serialize)]
struct Value {
    value: String,
}

async fn list(call: Call) -> Answer {
    let words = "user, conversation, message";
    let kind = call.query.word("type", Tagged::from_name, words)?;
    let kind = kind.ok_or_else(|| Refusal::invalid_payload("the query parameter type is missing"))?;
    let page = call.app.store.list_tag_values(call.who()?.clone(), kind, call.param(0), call.page()?).await?;
    let items = page.items.into_iter().map(|value| Value { value }).collect();
    call.list("tags", &Page { items, next: page.next })
}
