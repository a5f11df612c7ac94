//! Answers kept for requests that may be repeated (`Idempotency-Key`).
//!
//! The answer is stored in the transaction whose effect it reports, so there is no instant at which
//! one exists without the other. Refusals are not stored: the repeated request is simply tried
//! again.

use duologue_model::{Error as Refusal, Timestamp};

use crate::{
    Result, Store, params,
    tx::{Script, Tx},
};

/// How long answers are kept: 24 hours.
pub(crate) const KEEP_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// Which request.
#[derive(Clone, Debug)]
pub struct RequestKey {
    /// Digest of the token, the path and the key.
    pub scope: String,
    /// Digest of the body.
    pub body_hash: String,
}

/// An answer, as it goes over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// HTTP status.
    pub status: u16,
    /// JSON.
    pub body: String,
}

/// A script whose answer is kept under a key.
pub struct Keyed<S, R> {
    /// What to do, once.
    pub script: S,
    /// How to put the result into words.
    pub render: R,
    /// Which request this is.
    pub key: RequestKey,
}

impl<S, R> Script for Keyed<S, R>
where
    S: Script,
    R: Fn(S::Out) -> Rendered + Send + Sync + 'static,
{
    type Out = Rendered;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Rendered> {
        let key = &self.key;
        tx.lock(&key.scope).await?;
        if let Some(kept) = find(tx, key).await? {
            return Ok(kept);
        }
        let rendered = (self.render)(self.script.run(tx).await?);
        tx.execute(
            "INSERT INTO idempotency (scope, body_hash, status, response, created_at) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (scope) DO UPDATE SET body_hash = excluded.body_hash, status = excluded.status, \
             response = excluded.response, created_at = excluded.created_at",
            params![&key.scope, &key.body_hash, i64::from(rendered.status), &rendered.body, tx.now()],
        )
        .await?;
        Ok(rendered)
    }
}

/// The answer that is kept under a key; refuses a key that was used for another request.
async fn find(tx: &mut Tx<'_>, key: &RequestKey) -> Result<Option<Rendered>> {
    let sql = "SELECT body_hash, status, response FROM idempotency WHERE scope = ?1 AND created_at > ?2";
    let oldest = Timestamp::from_millis(tx.now().millis() - KEEP_MILLIS);
    let Some(mut row) = tx.query_opt(sql, params![&key.scope, oldest]).await? else { return Ok(None) };
    if row.text()? != key.body_hash {
        return Err(Refusal::invalid_payload(
            "this Idempotency-Key was used with a different body in the last 24 hours; use a new key for a new request",
        )
        .into());
    }
    let status = u16::try_from(row.int()?).unwrap_or(200);
    Ok(Some(Rendered { status, body: row.text()? }))
}

struct Kept(RequestKey);

impl Script for Kept {
    type Out = Option<Rendered>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<Rendered>> {
        find(tx, &self.0).await
    }
}

impl Store {
    /// The answer that is kept for a request, for those whose effect isn't one transaction.
    pub async fn kept_answer(&self, key: RequestKey) -> Result<Option<Rendered>> {
        self.read(&Kept(key)).await
    }
}
