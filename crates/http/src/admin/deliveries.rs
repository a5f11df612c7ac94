//! `/v1/admin/bots/{id}/deliveries`: what waits for a bot and its integrations, what was done and what
//! was given up. Our own operations, beside the dialect's.

use duologue_model::{Error as Refusal, Timestamp};
use duologue_store::outbox::list::{Inspected, List, Status};
use serde::{Deserialize, Serialize};

use super::actor;
use crate::{
    call::{self, Call},
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[
    route!(Admin GET "/v1/admin/bots/{id}/deliveries" listDeliveries list),
    route!(Admin POST "/v1/admin/bots/{id}/deliveries/replay" replayDeliveries replay_since),
    route!(Admin GET "/v1/admin/bots/{id}/deliveries/{deliveryId}" getDelivery get),
    route!(Admin POST "/v1/admin/bots/{id}/deliveries/{deliveryId}/replay" replayDelivery replay),
];

#[derive(Serialize)]
struct One<T> {
    delivery: T,
}

async fn list(call: Call) -> Answer {
    let status = match call.query.get("status") {
        None => None,
        Some(text) => Some(
            Status::from_name(text)
                .ok_or_else(|| Refusal::invalid_payload("status must be pending, processed, ignored or failed"))?,
        ),
    };
    let list = List { actor: actor(&call)?, bot: call.param(0), status, page: call.page()? };
    let page = call.app.store.list_deliveries(list).await?;
    call.list("deliveries", &page)
}

async fn get(call: Call) -> Answer {
    let delivery: Inspected = call.app.store.inspect_delivery(actor(&call)?, call.param(0), call.param(1)).await?;
    call::ok(&One { delivery })
}

async fn replay(call: Call) -> Answer {
    let delivery = call.app.store.replay_delivery(actor(&call)?, call.param(0), call.param(1)).await?;
    call::ok(&One { delivery })
}

#[derive(Deserialize)]
struct Since {
    since: Timestamp,
}

#[derive(Serialize)]
struct Replayed {
    replayed: usize,
}

async fn replay_since(call: Call) -> Answer {
    let Since { since } = call.json()?;
    let replayed = call.app.store.replay_deliveries(actor(&call)?, call.param(0), since).await?;
    call::ok(&Replayed { replayed })
}
