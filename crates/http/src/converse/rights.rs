//! What collaborators may do: their role in the workspace of a bot (`spec/v12/auth-config.md` § 7).

use duologue_v12::{
    ApiError,
    auth::token::Claims,
    workspaces::{Operation, Workspace},
};

use super::{Call, accounts::is_super_admin, auth::failed};

/// The workspace of bots that no workspace lists, and of accounts that name none.
const DEFAULT: &str = "default";

/// The workspace that a bot belongs to.
pub(super) fn workspace_of<'c>(call: &'c Call, bot: &str) -> &'c str {
    let lists = |workspace: &&Workspace| workspace.bots.iter().any(|listed| listed == bot);
    call.installed.workspaces.iter().find(lists).map_or(DEFAULT, |workspace| &workspace.id)
}

/// Checks that somebody may read a resource of a workspace. Super admins may read everything.
///
/// # Errors
/// 403 if he isn't a member, or his role doesn't allow it; 500 if the store fails.
pub(super) async fn may_read(call: &Call, claims: &Claims, workspace: &str, resource: &str) -> Result<(), ApiError> {
    // A token that doesn't say so isn't a super admin's.
    if claims.is_super_admin && is_super_admin(&call.app.store, &call.installed.config, claims).await? {
        return Ok(());
    }
    let role = call.app.store.v12_role(&claims.strategy, &claims.email, workspace).await.map_err(failed)?;
    let Some(role) = role else {
        let reason = format!("User \"{}\" doesn't have access to workspace \"{workspace}\"", claims.email);
        return Err(ApiError::forbidden(&reason));
    };
    let roles = call.installed.workspaces.iter().filter(|found| found.id == workspace).flat_map(|found| &found.roles);
    let mut same = roles.filter(|found| found.id == role);
    if same.any(|role| role.allows(Operation::Read, resource)) {
        return Ok(());
    }
    let reason = format!("user does not have sufficient permissions to \"read\" on resource \"{resource}\"");
    Err(ApiError::forbidden(&reason))
}
