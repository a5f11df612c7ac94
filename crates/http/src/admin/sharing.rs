//! Who may use a bot, and whose it is: allowlists and transfers (`spec/cloud/admin.md` § 5.3); and what would
//! show it to the world.

use duologue_model::{Error as Refusal, ErrorKind};
use duologue_store::bots::allowlist::Change;
use serde::Deserialize;

use super::actor;
use crate::{
    call::{self, Call},
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[
    route!(Admin GET "/v1/admin/bots/{botId}/allowlist" getBotAllowlist get_allowlist),
    route!(Admin PUT "/v1/admin/bots/{botId}/allowlist" updateBotAllowlist update_allowlist),
    route!(Admin POST "/v1/admin/bots/{id}/transfer" transferBot transfer),
    route!(Admin GET "/v1/admin/bots/{id}/webchat" getBotWebchat get_webchat),
];

async fn get_allowlist(call: Call) -> Answer {
    call::ok(&call.app.store.bot_allowlist(actor(&call)?, call.param(0)).await?)
}

async fn update_allowlist(call: Call) -> Answer {
    let change: Change = call.json()?;
    call.app.store.update_bot_allowlist(actor(&call)?, call.param(0), change).await?;
    call::empty()
}

async fn transfer(call: Call) -> Answer {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        target_workspace_id: String,
    }
    let body: Body = call.json()?;
    call.app.store.transfer_bot(actor(&call)?, call.param(0), body.target_workspace_id).await?;
    call::empty()
}

/// No web chat comes with this server, so no bot has one.
async fn get_webchat(call: Call) -> Answer {
    const KINDS: [&str; 4] = ["preconfigured", "configurable", "fullscreen", "sharableUrl"];
    let known = |name: &str| KINDS.contains(&name).then_some(());
    let kind = call.query.word("type", known, &KINDS.join(", "))?;
    kind.ok_or_else(|| Refusal::invalid_query("the query parameter type is missing"))?;
    call.app.store.get_bot(actor(&call)?, call.param(0)).await?;
    Err(Refusal::new(ErrorKind::ResourceNotFound, "this bot has no web chat").into())
}
