//! What integrations, interfaces and plugins may be called.

use duologue_model::Error as Refusal;
use semver::Version;

use crate::{Result, bots::parts, params, tx::Tx, workspaces::Inside};

/// Refuses malformed names, and such as begin with another workspace's handle. Handles that no
/// workspace here has are let through: what was made elsewhere keeps its name.
pub(crate) async fn check_own_name(tx: &mut Tx<'_>, inside: &Inside, name: &str) -> Result<()> {
    let Some(handle) = check_name(name)? else { return Ok(()) };
    let sql = "SELECT id FROM workspaces WHERE handle = ?1 AND id <> ?2";
    if tx.query_opt(sql, params![handle, &inside.workspace]).await?.is_some() {
        let text = format!("names that begin with \"{handle}/\" belong to the workspace with that handle");
        return Err(Refusal::invalid_payload(text).into());
    }
    Ok(())
}

/// Refuses what isn't a semantic version.
pub(crate) fn check_version(version: &str) -> Result<Version, Refusal> {
    parts::at_most("version", version, 200)?;
    Version::parse(version)
        .map_err(|e| Refusal::invalid_payload(format!("version must be a semantic version such as 1.0.0: {e}")))
}

/// Refuses malformed names; answers the handle in front of the slash.
fn check_name(name: &str) -> Result<Option<&str>, Refusal> {
    let good = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
    };
    let parts: Vec<&str> = name.split('/').collect();
    match parts[..] {
        [bare] if good(bare) && name.len() <= 100 => Ok(None),
        [handle, bare] if good(handle) && good(bare) && name.len() <= 100 => Ok(Some(handle)),
        _ => Err(Refusal::invalid_payload(
            "name has up to 100 lower-case letters, digits, \"-\" and \"_\", and may begin with the workspace's handle and \"/\"",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_carry_a_handle() {
        assert_eq!(check_name("slack").unwrap(), None);
        assert_eq!(check_name("acme/my_crm-2").unwrap(), Some("acme"));
        for bad in ["", "Slack", "a/b/c", "/a", "a/", "a b", "a.b"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
