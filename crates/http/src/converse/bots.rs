//! What bots are: `GET /api/v1/bots/{botId}` and `GET /api/v1/admin/workspace/bots`. Bots are changed on
//! disk, not here.

use duologue_v12::{Answer, ApiError};

use super::{Call, Outcome, answer, auth, bot, decoded, rights};

/// `GET /api/v1/bots/{botId}`: its configuration, for members of its workspace.
pub(super) async fn show(call: &Call, bot_id: &str) -> Outcome {
    let bot = bot(call, &decoded(bot_id)?).await?;
    let claims = auth::collaborator(&call.app.store, &call.installed.config.tokens, &call.headers).await?;
    rights::may_read(call, &claims, rights::workspace_of(call, &bot.id), "bot.information").await?;
    let body = Answer::json(200, bot.config_file().to_json());
    Ok(answer::whole(body, answer::accepts_gzip(&call.headers)))
}

/// `GET /api/v1/admin/workspace/bots`: the configurations of a workspace's bots.
pub(super) async fn list(call: &Call) -> Outcome {
    let claims = auth::collaborator(&call.app.store, &call.installed.config.tokens, &call.headers).await?;
    let workspace = call.header("x-bp-workspace").ok_or_else(ApiError::workspace_missing)?;
    if let Err(refusal) = rights::may_read(call, &claims, workspace, "user.bots").await {
        let hidden = || ApiError::forbidden("No permission to view bots");
        return Err(if refusal.status == 403 { hidden() } else { refusal }.into());
    }
    let found = call.installed.workspaces.iter().find(|found| found.id == workspace);
    let ids = found.map(|found| &found.bots[..]).unwrap_or_default();
    let bots = ids.iter().filter_map(|id| call.installed.bot(id));
    let bots: Vec<String> = bots.map(|bot| bot.config_file().to_json()).collect();
    let body = Answer::success("Bots", &format!("{{\"bots\":[{}]}}", bots.join(",")));
    Ok(answer::whole(body, answer::accepts_gzip(&call.headers)))
}
