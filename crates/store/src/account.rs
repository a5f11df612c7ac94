//! Accounts, their personal access tokens and preferences (`spec/cloud/admin.md` § 3), and how
//! tokens of all kinds are kept: as a hash of their secret, nothing else.

use std::collections::BTreeMap;

use duologue_model::{
    Error as Refusal, ErrorKind, Json,
    admin::{Account, Key, Role},
    id::kind,
};

use crate::{
    Error, Result, Store, crypto, params,
    sql::Row,
    tx::{Script, Tx},
    workspaces::{self},
};

/// Most characters of a display name.
pub const MAX_DISPLAY_NAME: usize = 100;
/// Most bytes of one preference's JSON.
pub const MAX_PREFERENCE: usize = 128 * 1024;
/// Most preferences of one account or workspace.
pub const MAX_PREFERENCES: usize = 200;

const COLUMNS: &str = "id, email, created_at, display_name, profile_picture";

/// Reads [`COLUMNS`].
fn stored(row: &mut Row) -> Result<Account> {
    Ok(Account {
        id: row.text()?,
        email: row.text()?,
        email_verified: true,
        created_at: row.at()?,
        display_name: row.opt_text()?,
        profile_picture: row.opt_text()?,
    })
}

/// The address in the form in which it is unique: trimmed, in lower case.
fn address(email: &str) -> Result<String, Refusal> {
    let email = email.trim().to_lowercase();
    let well_formed = match email.split_once('@') {
        Some((name, host)) => !name.is_empty() && !host.is_empty() && !host.contains('@'),
        None => false,
    };
    if !well_formed || email.chars().count() > 320 || email.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(Refusal::invalid_payload("email must be an e-mail address such as ada@example.org"));
    }
    Ok(email)
}

async fn by_email(tx: &mut Tx<'_>, email: &str) -> Result<Option<Account>> {
    let sql = format!("SELECT {COLUMNS} FROM accounts WHERE email = ?1");
    tx.query_opt(&sql, params![email]).await?.map(|mut row| stored(&mut row)).transpose()
}

async fn find(tx: &mut Tx<'_>, id: &str) -> Result<Account> {
    let sql = format!("SELECT {COLUMNS} FROM accounts WHERE id = ?1");
    let row = tx.query_opt(&sql, params![id]).await?;
    stored(&mut row.ok_or_else(|| Refusal::not_found("account", id))?)
}

/// A new account, without tokens. Refuses an address that already has one.
pub(crate) async fn insert(tx: &mut Tx<'_>, email: &str) -> Result<Account> {
    match find_or_insert(tx, email).await? {
        (account, true) => Ok(account),
        (account, false) => {
            let text = format!("there already is an account with the address {}", account.email);
            Err(Refusal::new(ErrorKind::AlreadyExists, text).into())
        }
    }
}

/// The account with this address, made if there is none; answers whether it was made.
pub(crate) async fn find_or_insert(tx: &mut Tx<'_>, email: &str) -> Result<(Account, bool)> {
    let email = address(email)?;
    tx.lock(&format!("account {email}")).await?;
    if let Some(account) = by_email(tx, &email).await? {
        return Ok((account, false));
    }
    let account = Account {
        id: tx.ids().uuid(),
        email,
        email_verified: true,
        created_at: tx.now(),
        display_name: None,
        profile_picture: None,
    };
    tx.execute(
        "INSERT INTO accounts (id, email, display_name, profile_picture, preferences, created_at) VALUES (?1, ?2, NULL, NULL, '{}', ?3)",
        params![&account.id, &account.email, account.created_at],
    )
    .await?;
    Ok((account, true))
}

/// Whom a new token is for.
pub(crate) enum Subject<'a> {
    /// A personal access token of this account.
    Account(&'a str),
    /// A key of this bot, made by that account.
    Bot(&'a str, &'a str),
    /// A key of this integration version, made by that account.
    Integration(&'a str, &'a str),
    /// A key for a process of this bot's code.
    HostedBot(&'a str),
    /// A key for a process of this integration version's code.
    HostedIntegration(&'a str),
}

/// A new token. Without a given `secret` one is made; [`Key::value`] is the only place where it
/// can ever be read.
pub(crate) async fn insert_token(
    tx: &mut Tx<'_>,
    subject: Subject<'_>,
    note: &str,
    secret: Option<&str>,
) -> Result<Key> {
    let now = tx.now();
    let (kind, id, prefix) = match subject {
        Subject::Account(_) => ("pat", tx.ids().id::<kind::Pat>(now).to_string(), "bp_pat_"),
        Subject::Bot(..) | Subject::HostedBot(_) => ("bak", tx.ids().id::<kind::Bak>(now).to_string(), "bp_bak_"),
        Subject::Integration(..) | Subject::HostedIntegration(_) => {
            ("iak", tx.ids().id::<kind::Iak>(now).to_string(), "bp_iak_")
        }
    };
    let (account, bot, integration) = match subject {
        Subject::Account(account) => (Some(account), None, None),
        Subject::Bot(bot, account) => (Some(account), Some(bot), None),
        Subject::Integration(integration, account) => (Some(account), None, Some(integration)),
        Subject::HostedBot(bot) => (None, Some(bot), None),
        Subject::HostedIntegration(integration) => (None, None, Some(integration)),
    };
    let secret = secret.map_or_else(|| tx.ids().secret(prefix), str::to_owned);
    let hash = crypto::sha256_hex(secret.as_bytes());
    tx.execute(
        "INSERT INTO tokens (hash, id, kind, account_id, bot_id, integration_id, note, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![&hash, &id, kind, account, bot, integration, note, now],
    )
    .await?;
    Ok(Key { id, created_at: now, note: note.to_owned(), value: Some(secret) })
}

/// The tokens that a condition on `?1` selects, newest first, without their values.
pub(crate) async fn list_tokens(tx: &mut Tx<'_>, condition: &str, value: &str) -> Result<Vec<Key>> {
    let sql = format!("SELECT id, created_at, note FROM tokens WHERE {condition} ORDER BY created_at DESC, id DESC");
    let rows = tx.query(&sql, params![value]).await?;
    rows.into_iter()
        .map(|mut row| Ok(Key { id: row.text()?, created_at: row.at()?, note: row.text()?, value: None }))
        .collect()
}

/// A new personal access token. Without a given `secret` one is made.
pub(crate) async fn insert_pat(tx: &mut Tx<'_>, account: &str, note: &str, secret: Option<&str>) -> Result<Key> {
    insert_token(tx, Subject::Account(account), note, secret).await
}

/// Who keeps preferences.
#[derive(Clone, Copy)]
pub(crate) enum Keeper<'a> {
    /// An account.
    Account(&'a str),
    /// A workspace.
    Workspace(&'a str),
}

impl Keeper<'_> {
    fn parts(&self) -> (&'static str, &str) {
        match self {
            Keeper::Account(id) => ("accounts", id),
            Keeper::Workspace(id) => ("workspaces", id),
        }
    }
}

/// All preferences by key.
async fn preferences(tx: &mut Tx<'_>, keeper: Keeper<'_>, lock: bool) -> Result<BTreeMap<String, Json>> {
    let (table, id) = keeper.parts();
    let lock = if lock { " {for_update}" } else { "" };
    let row = tx.query_opt(&format!("SELECT preferences FROM {table} WHERE id = ?1{lock}"), params![id]).await?;
    let text = row.map_or_else(|| Ok("{}".to_owned()), |mut row| row.text())?;
    serde_json::from_str(&text).map_err(|e| Error::Corrupt(format!("preferences of {id}: {e}")))
}

/// One preference; `null` if it was never set.
pub(crate) async fn preference(tx: &mut Tx<'_>, keeper: Keeper<'_>, key: &str) -> Result<Json> {
    let found = preferences(tx, keeper, false).await?.remove(key);
    Ok(found.unwrap_or_else(|| Json::of(&())))
}

/// Sets one preference; `null` removes it.
pub(crate) async fn set_preference(tx: &mut Tx<'_>, keeper: Keeper<'_>, key: &str, value: &Json) -> Result<()> {
    let mut all = preferences(tx, keeper, true).await?;
    if value.is_null() {
        all.remove(key);
    } else {
        all.insert(key.to_owned(), value.clone());
    }
    if all.len() > MAX_PREFERENCES {
        let text = format!("at most {MAX_PREFERENCES} preferences are kept; set one to null first");
        return Err(Refusal::new(ErrorKind::LimitExceeded, text).into());
    }
    let (table, id) = keeper.parts();
    tx.execute(&format!("UPDATE {table} SET preferences = ?2 WHERE id = ?1"), params![id, &Json::of(&all)]).await?;
    Ok(())
}

/// Refuses keys and values of preferences that are too large to keep.
pub(crate) fn check_preference(key: &str, value: &Json) -> Result<(), Refusal> {
    if key.is_empty() || key.chars().count() > 200 {
        return Err(Refusal::invalid_payload("the key of a preference has 1 to 200 characters"));
    }
    if value.text().len() > MAX_PREFERENCE {
        let text =
            format!("a preference has at most {MAX_PREFERENCE} bytes of JSON, this one has {}", value.text().len());
        return Err(Refusal::new(ErrorKind::PayloadTooLarge, text));
    }
    Ok(())
}

struct Get(String);

impl Script for Get {
    type Out = Account;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Account> {
        find(tx, &self.0).await
    }
}

/// updateAccount. Absent fields stay.
#[derive(Clone, Debug)]
pub struct Update {
    /// Whose.
    pub account: String,
    /// At most [`MAX_DISPLAY_NAME`] characters.
    pub display_name: Option<String>,
    /// A URL.
    pub profile_picture: Option<String>,
}

impl Script for Update {
    type Out = Account;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Account> {
        if self.display_name.as_ref().is_some_and(|name| name.chars().count() > MAX_DISPLAY_NAME) {
            return Err(
                Refusal::invalid_payload(format!("displayName has at most {MAX_DISPLAY_NAME} characters")).into()
            );
        }
        tx.execute(
            "UPDATE accounts SET display_name = COALESCE(?2, display_name), profile_picture = COALESCE(?3, profile_picture) WHERE id = ?1",
            params![&self.account, self.display_name.as_ref(), self.profile_picture.as_ref()],
        )
        .await?;
        find(tx, &self.account).await
    }
}

/// deleteAccount: with its tokens and memberships. Refused while a workspace has no other owner.
struct Delete(String);

impl Script for Delete {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let id = &self.0;
        let rows = tx
            .query("SELECT workspace_id, role FROM members WHERE account_id = ?1 ORDER BY workspace_id", params![id])
            .await?;
        for mut row in rows {
            let (workspace, role) = (row.text()?, row.word(Role::from_name)?);
            if role == Role::Owner {
                workspaces::release_owner(tx, &workspace, id).await?;
            }
        }
        for sql in [
            "DELETE FROM members WHERE account_id = ?1",
            "DELETE FROM bot_allowlist WHERE account_id = ?1",
            "DELETE FROM tokens WHERE account_id = ?1 AND kind = 'pat'",
            "UPDATE tokens SET account_id = NULL WHERE account_id = ?1",
            "DELETE FROM accounts WHERE id = ?1",
        ] {
            tx.execute(sql, params![id]).await?;
        }
        Ok(())
    }
}

struct ListPats(String);

impl Script for ListPats {
    type Out = Vec<Key>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Key>> {
        list_tokens(tx, "kind = 'pat' AND account_id = ?1", &self.0).await
    }
}

struct CreatePat {
    account: String,
    note: String,
}

impl Script for CreatePat {
    type Out = Key;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Key> {
        insert_pat(tx, &self.account, &self.note, None).await
    }
}

struct HandOutPat {
    email: String,
    note: String,
}

impl Script for HandOutPat {
    type Out = Key;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Key> {
        let email = address(&self.email)?;
        let account = by_email(tx, &email).await?.ok_or_else(|| Refusal::not_found("account", &email))?;
        insert_pat(tx, &account.id, &self.note, None).await
    }
}

struct DeletePat {
    account: String,
    id: String,
}

impl Script for DeletePat {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let sql = "DELETE FROM tokens WHERE id = ?1 AND account_id = ?2 AND kind = 'pat'";
        match tx.execute(sql, params![&self.id, &self.account]).await? {
            0 => Err(Refusal::not_found("personal access token", &self.id).into()),
            _ => Ok(()),
        }
    }
}

struct GetPreference {
    account: String,
    key: String,
}

impl Script for GetPreference {
    type Out = Json;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Json> {
        preference(tx, Keeper::Account(&self.account), &self.key).await
    }
}

struct SetPreference {
    account: String,
    key: String,
    value: Json,
}

impl Script for SetPreference {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        check_preference(&self.key, &self.value)?;
        set_preference(tx, Keeper::Account(&self.account), &self.key, &self.value).await
    }
}

impl Store {
    /// Runs a transaction after which somebody may do more or less, or definitions read otherwise,
    /// and forgets what was remembered of both.
    pub(crate) async fn write_rights<S: Script>(&self, script: S) -> Result<S::Out> {
        let out = self.write(script).await;
        self.forget_rights();
        out
    }

    /// Somebody may do more or less from now on.
    pub(crate) fn forget_rights(&self) {
        self.access.clear();
        self.definitions.clear();
        self.callees.clear();
    }

    /// getAccount.
    pub async fn get_account(&self, account: String) -> Result<Account> {
        self.read(&Get(account)).await
    }

    /// updateAccount.
    pub async fn update_account(&self, update: Update) -> Result<Account> {
        self.write(update).await
    }

    /// deleteAccount. `RelationConflict` while it is the only owner of a workspace.
    pub async fn delete_account(&self, account: String) -> Result<()> {
        self.write_rights(Delete(account)).await
    }

    /// listPersonalAccessTokens, newest first.
    pub async fn list_pats(&self, account: String) -> Result<Vec<Key>> {
        self.read(&ListPats(account)).await
    }

    /// createPersonalAccessToken.
    pub async fn create_pat(&self, account: String, note: String) -> Result<Key> {
        self.write_rights(CreatePat { account, note }).await
    }

    /// A token for the account with this address, handed out by the operator: how a member who was
    /// added by address gets in.
    pub async fn hand_out_pat(&self, email: String, note: String) -> Result<Key> {
        self.write_rights(HandOutPat { email, note }).await
    }

    /// deletePersonalAccessToken. Takes effect at once, also for the token in use.
    pub async fn delete_pat(&self, account: String, id: String) -> Result<()> {
        self.write_rights(DeletePat { account, id }).await
    }

    /// getAccountPreference; `null` if it was never set.
    pub async fn account_preference(&self, account: String, key: String) -> Result<Json> {
        self.read(&GetPreference { account, key }).await
    }

    /// setAccountPreference; `null` removes.
    pub async fn set_account_preference(&self, account: String, key: String, value: Json) -> Result<()> {
        self.write(SetPreference { account, key, value }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_compared_in_one_form() {
        assert_eq!(address(" Ada@Example.org ").unwrap(), "ada@example.org");
        for bad in ["", "ada", "@example.org", "ada@", "a@b@c", "a b@example.org"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
