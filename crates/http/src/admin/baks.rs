//! `/v1/admin/bots/baks`: keys of bots (`spec/cloud/admin.md` § 3).

use duologue_model::{Error as Refusal, admin::Key};
use serde::{Deserialize, Serialize};

use super::{actor, note};
use crate::{
    call::{self, Call},
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[
    route!(Admin GET "/v1/admin/bots/baks" listBotApiKeys list),
    route!(Admin POST "/v1/admin/bots/baks" createBotApiKey create),
    route!(Admin DELETE "/v1/admin/bots/baks/{id}" deleteBotApiKey delete),
];

async fn list(call: Call) -> Answer {
    #[derive(Serialize)]
    struct Baks {
        baks: Vec<Key>,
    }
    let bot =
        call.query.text("botId").ok_or_else(|| Refusal::invalid_payload("the query parameter botId is missing"))?;
    let baks = call.app.store.list_bot_keys(actor(&call)?, bot).await?;
    call::ok(&Baks { baks })
}

async fn create(call: Call) -> Answer {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        bot_id: String,
        #[serde(default)]
        note: String,
    }
    let actor = actor(&call)?;
    let body: Body = call.json()?;
    call::name("botId", &body.bot_id, 36)?;
    note(&body.note)?;
    let key = call.app.store.create_bot_key(actor, body.bot_id, body.note).await?;
    call::ok(&key)
}

async fn delete(call: Call) -> Answer {
    call.app.store.delete_bot_key(actor(&call)?, call.param(0)).await?;
    call::empty()
}
