//! Accounts of those who work on v12 bots (`spec/v12/auth-config.md` § 4), by strategy and e-mail.

use duologue_model::Json;

use crate::{
    Result, Store, params,
    sql::Row,
    tx::{Script, Tx},
};

/// An account as it is stored.
#[derive(Clone, PartialEq)]
pub struct Account {
    /// The id of the strategy.
    pub strategy: String,
    /// Lower case.
    pub email: String,
    /// The hash of the password.
    pub password: String,
    /// The hash's salt; empty if the hash has its own.
    pub salt: String,
    /// The version of valid tokens; from 1.
    pub token_version: i64,
    /// JSON object.
    pub attributes: Json,
    /// Whether it may do everything, whatever the configuration says.
    pub is_super_admin: bool,
}

impl std::fmt::Debug for Account {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("strategy", &self.strategy).field("email", &self.email).finish_non_exhaustive()
    }
}

const COLUMNS: &str = "strategy, email, password, salt, token_version, attributes, is_super_admin";

/// Reads [`COLUMNS`].
fn stored(row: &mut Row) -> Result<Account> {
    Ok(Account {
        strategy: row.text()?,
        email: row.text()?,
        password: row.text()?,
        salt: row.text()?,
        token_version: row.int()?,
        attributes: row.json()?,
        is_super_admin: row.bool()?,
    })
}

async fn find(tx: &mut Tx<'_>, strategy: &str, email: &str) -> Result<Option<Account>> {
    let sql = format!("SELECT {COLUMNS} FROM v12_accounts WHERE strategy = ?1 AND email = ?2");
    tx.query_opt(&sql, params![strategy, email]).await?.map(|mut row| stored(&mut row)).transpose()
}

struct Get {
    strategy: String,
    email: String,
}

impl Script for Get {
    type Out = Option<Account>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<Account>> {
        find(tx, &self.strategy, &self.email).await
    }
}

/// Writes an account, over an older one if there is one.
struct Put(Account);

impl Script for Put {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        put(tx, &self.0, true).await.map(|_| ())
    }
}

/// Writes an account, if it still is as it was read.
struct Replace {
    before: Account,
    after: Account,
}

impl Script for Replace {
    type Out = bool;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool> {
        let Replace { before, after } = self;
        let written = tx
            .execute(
                "UPDATE v12_accounts SET password = ?3, salt = ?4, token_version = ?5, attributes = ?6, updated_at = ?7 \
                 WHERE strategy = ?1 AND email = ?2 AND password = ?8 AND token_version = ?9 AND attributes = ?10",
                params![
                    &before.strategy,
                    &before.email,
                    &after.password,
                    &after.salt,
                    after.token_version,
                    &after.attributes,
                    tx.now(),
                    &before.password,
                    before.token_version,
                    &before.attributes
                ],
            )
            .await?;
        Ok(written > 0)
    }
}

async fn put(tx: &mut Tx<'_>, account: &Account, replace: bool) -> Result<bool> {
    let tail = if replace {
        "DO UPDATE SET password = excluded.password, salt = excluded.salt, token_version = excluded.token_version, \
         attributes = excluded.attributes, is_super_admin = excluded.is_super_admin, updated_at = excluded.updated_at"
    } else {
        "DO NOTHING"
    };
    let sql = format!(
        "INSERT INTO v12_accounts (strategy, email, password, salt, token_version, attributes, \
         is_super_admin, created_at, updated_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8) ON CONFLICT (strategy, email) {tail}"
    );
    let written = tx
        .execute(
            &sql,
            params![
                &account.strategy,
                &account.email,
                &account.password,
                &account.salt,
                account.token_version,
                &account.attributes,
                account.is_super_admin,
                tx.now()
            ],
        )
        .await?;
    Ok(written > 0)
}

/// Writes the accounts that aren't known yet.
struct Bring(Vec<Account>);

impl Script for Bring {
    type Out = usize;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<usize> {
        let mut brought = 0;
        for account in &self.0 {
            brought += usize::from(put(tx, account, false).await?);
        }
        Ok(brought)
    }
}

/// Writes the account if there is none at all.
struct PutFirst(Account);

impl Script for PutFirst {
    type Out = bool;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool> {
        tx.lock("first v12 account").await?;
        if tx.query_opt("SELECT email FROM v12_accounts LIMIT 1", &[]).await?.is_some() {
            return Ok(false);
        }
        put(tx, &self.0, false).await
    }
}

struct BumpTokenVersion {
    strategy: String,
    email: String,
}

impl Script for BumpTokenVersion {
    type Out = Option<i64>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<i64>> {
        let row = tx
            .query_opt(
                "UPDATE v12_accounts SET token_version = token_version + 1, updated_at = ?3 \
                 WHERE strategy = ?1 AND email = ?2 RETURNING token_version",
                params![&self.strategy, &self.email, tx.now()],
            )
            .await?;
        row.map(|mut row| row.int()).transpose()
    }
}

struct AnyAccount;

impl Script for AnyAccount {
    type Out = bool;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool> {
        Ok(tx.query_opt("SELECT email FROM v12_accounts LIMIT 1", &[]).await?.is_some())
    }
}

impl Store {
    /// The account with this e-mail (lower case) in a strategy.
    pub async fn v12_account(&self, strategy: &str, email: &str) -> Result<Option<Account>> {
        self.read(&Get { strategy: strategy.to_owned(), email: email.to_owned() }).await
    }

    /// Writes an account, over an older one if there is one.
    pub async fn put_v12_account(&self, account: Account) -> Result<()> {
        self.write(Put(account)).await
    }

    /// Writes `after` over the account that was read as `before`; answers `false`, and writes nothing, if
    /// it has changed since.
    pub async fn replace_v12_account(&self, before: Account, after: Account) -> Result<bool> {
        self.write(Replace { before, after }).await
    }

    /// Writes an account if there is none in any strategy; answers whether it did.
    pub async fn put_first_v12_account(&self, account: Account) -> Result<bool> {
        self.write(PutFirst(account)).await
    }

    /// Writes those accounts that aren't known yet; answers how many.
    pub async fn bring_v12_accounts(&self, accounts: Vec<Account>) -> Result<usize> {
        self.write(Bring(accounts)).await
    }

    /// Makes all earlier tokens of an account invalid; answers the new version, `None` if there is no
    /// such account.
    pub async fn bump_v12_token_version(&self, strategy: &str, email: &str) -> Result<Option<i64>> {
        self.write(BumpTokenVersion { strategy: strategy.to_owned(), email: email.to_owned() }).await
    }

    /// Whether there is an account in any strategy.
    pub async fn has_v12_accounts(&self) -> Result<bool> {
        self.read(&AnyAccount).await
    }
}
