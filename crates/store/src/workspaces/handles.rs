//! Handles: names of workspaces that are unique on the server (`spec/cloud/admin.md` § 4).

use duologue_model::{Error as Refusal, ErrorKind};
use serde::Serialize;

use super::role;
use crate::{
    Result, Store, params,
    tx::{Script, Tx},
};

/// Handles that can't be taken over the API.
pub(super) const RESERVED_HANDLES: &[&str] = &["botpress"];

fn is_handle_text(handle: &str) -> bool {
    handle.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

pub(super) fn check_handle(handle: &str) -> Result<(), Refusal> {
    let edges = [handle.bytes().next(), handle.bytes().last()];
    let edges = edges.iter().all(|b| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
    if (3..=64).contains(&handle.len()) && is_handle_text(handle) && edges {
        return Ok(());
    }
    Err(Refusal::invalid_payload(
        "a handle has 3 to 64 lower-case letters, digits, \"-\" and \"_\", and begins and ends with a letter or digit",
    ))
}

pub(super) async fn handle_owner(tx: &mut Tx<'_>, handle: &str) -> Result<Option<String>> {
    let row = tx.query_opt("SELECT id FROM workspaces WHERE handle = ?1", params![handle]).await?;
    row.map(|mut row| row.text()).transpose()
}

/// Refuses a handle that another workspace than `own` has.
pub(super) async fn claim_handle(tx: &mut Tx<'_>, handle: &str, own: &str) -> Result<()> {
    tx.lock(&format!("handle {handle}")).await?;
    match handle_owner(tx, handle).await? {
        Some(id) if id != own => Err(handle_taken(handle).into()),
        _ => Ok(()),
    }
}

pub(super) fn handle_taken(handle: &str) -> Refusal {
    Refusal::new(ErrorKind::AlreadyExists, format!("the handle \"{handle}\" is taken"))
}

/// Whether a handle can be taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HandleAvailability {
    /// It can.
    pub available: bool,
    /// Similar ones that can.
    pub suggestions: Vec<String>,
    /// The workspace that has it, if the asker is a member of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_by: Option<String>,
}

struct CheckHandle {
    account: String,
    handle: String,
}

impl Script for CheckHandle {
    type Out = HandleAvailability;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<HandleAvailability> {
        if !(1..=64).contains(&self.handle.len()) || !is_handle_text(&self.handle) {
            let text = "handle has 1 to 64 lower-case letters, digits, \"-\" and \"_\"";
            return Err(Refusal::invalid_payload(text).into());
        }
        let owner = handle_owner(tx, &self.handle).await?;
        let usable = check_handle(&self.handle).is_ok() && !RESERVED_HANDLES.contains(&self.handle.as_str());
        let mut answer =
            HandleAvailability { available: usable && owner.is_none(), suggestions: Vec::new(), used_by: None };
        if answer.available {
            return Ok(answer);
        }
        if let Some(owner) = owner
            && role(tx, &owner, &self.account).await?.is_some()
        {
            answer.used_by = Some(owner);
        }
        let stem = self.handle.trim_matches(['-', '_']);
        let stem = &stem[..stem.len().min(56)];
        let stem = if stem.is_empty() { "workspace" } else { stem };
        for number in 2..12 {
            let similar = format!("{stem}-{number}");
            if answer.suggestions.len() < 3
                && check_handle(&similar).is_ok()
                && handle_owner(tx, &similar).await?.is_none()
            {
                answer.suggestions.push(similar);
            }
        }
        Ok(answer)
    }
}

impl Store {
    /// checkHandleAvailability.
    pub async fn check_handle(&self, account: String, handle: String) -> Result<HandleAvailability> {
        self.read(&CheckHandle { account, handle }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_follow_their_pattern() {
        for good in ["abc", "a-b", "0_9", "acme-corp"] {
            assert!(check_handle(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "ab", "-ab", "ab-", "Abc", "a b", "a/b", &"a".repeat(65)] {
            assert!(check_handle(bad).is_err(), "{bad}");
        }
    }
}
