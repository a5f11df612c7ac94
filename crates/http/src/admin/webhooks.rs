//! `/v1/admin/bots/{id}/webhooks`: URLs that are told what happens in a bot (`docs/webhooks.md`). Ours; the
//! dialect has nothing like it.

use std::time::Duration;

use duologue_model::{Error as Refusal, Timestamp};
use duologue_outbound::Error as Unreachable;
use duologue_store::webhooks::{
    history::{Attempt, Message, Status},
    manage::{Change, New, Path, Subscription},
};
use serde::{Deserialize, Serialize};

use super::actor;
use crate::{
    call::{self, Call},
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[
    route!(Admin POST "/v1/admin/bots/{id}/webhooks" createWebhook create),
    route!(Admin GET "/v1/admin/bots/{id}/webhooks" listWebhooks list),
    route!(Admin GET "/v1/admin/bots/{id}/webhooks/{webhookId}" getWebhook get),
    route!(Admin PUT "/v1/admin/bots/{id}/webhooks/{webhookId}" updateWebhook update),
    route!(Admin DELETE "/v1/admin/bots/{id}/webhooks/{webhookId}" deleteWebhook delete),
    route!(Admin POST "/v1/admin/bots/{id}/webhooks/{webhookId}/rotate-secret" rotateWebhookSecret rotate),
    route!(Admin POST "/v1/admin/bots/{id}/webhooks/{webhookId}/test" testWebhook test),
    route!(Admin POST "/v1/admin/bots/{id}/webhooks/{webhookId}/replay" replayWebhook replay),
    route!(Admin GET "/v1/admin/bots/{id}/webhooks/{webhookId}/attempts" listWebhookAttempts attempts),
    route!(Admin GET "/v1/admin/bots/{id}/webhooks/{webhookId}/messages" listWebhookMessages messages),
    route!(Admin GET "/v1/admin/bots/{id}/webhooks/{webhookId}/messages/{messageId}" getWebhookMessage message),
    route!(Admin POST "/v1/admin/bots/{id}/webhooks/{webhookId}/messages/{messageId}/replay" replayWebhookMessage replay_message),
];

/// The longest URL, in characters.
const LONGEST_URL: usize = 2048;
/// The longest type of an event, in characters.
const LONGEST_TYPE: usize = 200;
/// Most types that one webhook names.
const MOST_TYPES: usize = 100;
/// How long is waited for a name to resolve.
const PATIENCE: Duration = Duration::from_secs(5);

fn path(call: &Call) -> Result<Path, Refusal> {
    Ok(Path { actor: actor(call)?, bot: call.param(0), id: call.param(1) })
}

#[derive(Serialize)]
struct One {
    webhook: Subscription,
}

fn answer(webhook: Subscription) -> Answer {
    call::ok(&One { webhook })
}

/// Refuses a URL that can't be sent to. One whose name doesn't resolve now may do so later.
async fn check_url(call: &Call, url: &str) -> Result<(), Refusal> {
    call::name("url", url, LONGEST_URL)?;
    let Some((scheme, rest)) = url.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https")) else {
        return Err(Refusal::invalid_payload("url must begin with https:// or http://"));
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(Refusal::invalid_payload(format!(
            "url holds a user name or password: leave it out ({scheme}://host/…) and verify signatures instead"
        )));
    }
    match tokio::time::timeout(PATIENCE, call.app.webhooks.check(url)).await {
        Ok(Err(Unreachable::Denied(denial))) => Err(Refusal::invalid_payload(format!(
            "url leads to {} ({}), which is not on the public Internet: this server sends nothing there unless its \
             operator allows it (--allow-outbound)",
            denial.host, denial.address
        ))),
        Ok(Err(error @ (Unreachable::InvalidUrl(_) | Unreachable::Protocol(_)))) => {
            Err(Refusal::invalid_payload(format!("url can't be used: {error}")))
        }
        _ => Ok(()),
    }
}

fn check_events(events: &[String]) -> Result<(), Refusal> {
    if events.is_empty() || events.len() > MOST_TYPES {
        return Err(Refusal::invalid_payload(format!(
            "events must name 1 to {MOST_TYPES} types, such as message_created, or * for all"
        )));
    }
    events.iter().try_for_each(|kind| call::name("events", kind, LONGEST_TYPE))
}

async fn create(call: Call) -> Answer {
    #[derive(Deserialize)]
    struct Body {
        url: String,
        events: Vec<String>,
        #[serde(default)]
        description: String,
        #[serde(default = "yes")]
        enabled: bool,
        secret: Option<String>,
    }
    fn yes() -> bool {
        true
    }
    let path = path(&call)?;
    let Body { url, events, description, enabled, secret } = call.json()?;
    call::text("description", &description, 1000)?;
    check_events(&events)?;
    check_url(&call, &url).await?;
    answer(call.app.store.create_webhook(path, New { url, events, description, enabled, secret }).await?)
}

async fn list(call: Call) -> Answer {
    let page = call.app.store.list_webhooks(path(&call)?, call.page()?).await?;
    call.list("webhooks", &page)
}

async fn get(call: Call) -> Answer {
    answer(call.app.store.get_webhook(path(&call)?).await?)
}

async fn update(call: Call) -> Answer {
    #[derive(Deserialize)]
    struct Body {
        url: Option<String>,
        events: Option<Vec<String>>,
        description: Option<String>,
        enabled: Option<bool>,
    }
    let path = path(&call)?;
    let Body { url, events, description, enabled } = call.json()?;
    if let Some(description) = &description {
        call::text("description", description, 1000)?;
    }
    if let Some(events) = &events {
        check_events(events)?;
    }
    if let Some(url) = &url {
        check_url(&call, url).await?;
    }
    answer(call.app.store.update_webhook(path, Change { url, events, description, enabled }).await?)
}

async fn delete(call: Call) -> Answer {
    call.app.store.delete_webhook(path(&call)?).await?;
    call::empty()
}

async fn rotate(call: Call) -> Answer {
    #[derive(Deserialize)]
    struct Body {
        secret: Option<String>,
    }
    let path = path(&call)?;
    let Body { secret } = call.json()?;
    answer(call.app.store.rotate_webhook_secret(path, secret).await?)
}

async fn test(call: Call) -> Answer {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Sent {
        message_id: String,
    }
    call::ok(&Sent { message_id: call.app.store.test_webhook(path(&call)?).await? })
}

async fn replay(call: Call) -> Answer {
    #[derive(Deserialize)]
    struct Body {
        since: Timestamp,
        #[serde(default)]
        all: bool,
    }
    #[derive(Serialize)]
    struct Replayed {
        replayed: u64,
    }
    let path = path(&call)?;
    let Body { since, all } = call.json()?;
    call::ok(&Replayed { replayed: call.app.store.replay_webhook(path, since, all).await? })
}

async fn attempts(call: Call) -> Answer {
    let page = call.app.store.list_webhook_attempts(path(&call)?, call.page()?).await?;
    call.list("attempts", &page)
}

async fn messages(call: Call) -> Answer {
    let status = call.query.word("status", Status::from_name, "waiting, delivered, failed, superseded")?;
    let page = call.app.store.list_webhook_messages(path(&call)?, status, call.page()?).await?;
    call.list("messages", &page)
}

async fn message(call: Call) -> Answer {
    #[derive(Serialize)]
    struct Whole {
        message: Message,
        attempts: Vec<Attempt>,
    }
    let (message, attempts) = call.app.store.get_webhook_message(path(&call)?, call.param(2)).await?;
    call::ok(&Whole { message, attempts })
}

async fn replay_message(call: Call) -> Answer {
    #[derive(Serialize)]
    struct Replayed {
        message: Message,
    }
    let message = call.app.store.replay_webhook_message(path(&call)?, call.param(2)).await?;
    call::ok(&Replayed { message })
}
