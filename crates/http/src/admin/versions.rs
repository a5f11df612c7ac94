//! `/v1/admin/bots/{id}/versions` and the bot as one document (`spec/cloud/admin.md` § 5.3).

use duologue_model::{Error as Refusal, Json};
use duologue_store::bots::versions::Version;
use serde::{Deserialize, Serialize};

use super::actor;
use crate::{
    call::{self, Call},
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[
    route!(Admin GET "/v1/admin/bots/{id}/versions" listBotVersions list),
    route!(Admin POST "/v1/admin/bots/{id}/versions" createBotVersion create),
    route!(Admin POST "/v1/admin/bots/{id}/versions/deploy" deployBotVersion deploy),
    route!(Admin GET "/v1/admin/bots/{id}/versions/{versionId}" getBotVersion get),
    route!(Admin GET "/v1/admin/bots/{id}/bot-json" getBotJson get_json),
    route!(Admin POST "/v1/admin/bots/{id}/publish-from-bot-json" publishFromBotJson publish_json),
    route!(Public GET "/v1/assets/bot-versions/{id}/{ticket}" downloadBotVersion download),
];

async fn list(call: Call) -> Answer {
    #[derive(Serialize)]
    struct Versions {
        versions: Vec<Version>,
    }
    let versions = call.app.store.list_bot_versions(actor(&call)?, call.param(0)).await?;
    call::ok(&Versions { versions })
}

async fn create(call: Call) -> Answer {
    #[derive(Deserialize)]
    struct Body {
        name: String,
        description: Option<String>,
    }
    #[derive(Serialize)]
    struct One {
        version: Version,
    }
    let actor = actor(&call)?;
    let body: Body = call.json()?;
    call::name("name", &body.name, 200)?;
    call::text("description", body.description.as_deref().unwrap_or_default(), 2000)?;
    let version = call.app.store.create_bot_version(actor, call.param(0), body.name, body.description).await?;
    call::ok(&One { version })
}

async fn get(call: Call) -> Answer {
    #[derive(Serialize)]
    struct Link {
        url: String,
    }
    let link = call.app.store.link_bot_version(actor(&call)?, call.param(0), call.param(1)).await?;
    call::ok(&Link { url: format!("{}/v1/assets/bot-versions/{link}", call.app.public_url) })
}

async fn download(call: Call) -> Answer {
    let content = call.app.store.linked_bot_version(call.param(0), &call.param(1)).await?;
    call::ok(&content)
}

async fn deploy(call: Call) -> Answer {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        version_id: String,
    }
    let actor = actor(&call)?;
    let body: Body = call.json()?;
    let change = call.app.store.bot_version_change(actor.clone(), call.param(0), body.version_id).await?;
    call.app.calls.update_bot(actor, call.param(0), change).await?;
    call::empty()
}

async fn get_json(call: Call) -> Answer {
    call::ok(&call.app.store.bot_json(actor(&call)?, call.param(0)).await?)
}

async fn publish_json(call: Call) -> Answer {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        bot_json: Json,
    }
    let actor = actor(&call)?;
    let body: Body = call.json()?;
    if !body.bot_json.is_object() {
        return Err(Refusal::invalid_payload("botJson must be an object").into());
    }
    let change = call.app.store.bot_json_change(actor.clone(), call.param(0), body.bot_json).await?;
    call.app.calls.update_bot(actor, call.param(0), change).await?;
    call::empty()
}
