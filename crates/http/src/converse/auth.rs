//! Who may use a collaborator's route: the token check (`spec/v12/auth-config.md` § 2).

use duologue_store::Store;
use duologue_v12::{
    ApiError,
    auth::token::{CHAT_USERS, COLLABORATORS, Claims, Presented, SERVER_EMAIL, TokenSettings},
};
use http::{HeaderMap, header};

/// Checks the token that a request presents, its version against the account's too.
///
/// # Errors
/// 401 as the dialect words it; 500 if the store fails.
pub(crate) async fn collaborator(
    store: &Store,
    tokens: &TokenSettings,
    headers: &HeaderMap,
) -> Result<Claims, ApiError> {
    checked(store, tokens, headers, COLLABORATORS).await
}

/// The same for whoever has logged in, chat users too.
///
/// # Errors
/// As [`collaborator`].
pub(crate) async fn anybody(store: &Store, tokens: &TokenSettings, headers: &HeaderMap) -> Result<Claims, ApiError> {
    match checked(store, tokens, headers, COLLABORATORS).await {
        Err(refused) if refused.status == 401 => checked(store, tokens, headers, CHAT_USERS).await,
        settled => settled,
    }
}

async fn checked(
    store: &Store,
    tokens: &TokenSettings,
    headers: &HeaderMap,
    audience: &str,
) -> Result<Claims, ApiError> {
    let cookie = cookie(headers, "jwtToken");
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let presented = Presented {
        authorization: text(header::AUTHORIZATION.as_str()),
        cookie: cookie.as_deref(),
        csrf: text("csrf-token"),
    };
    let claims = tokens.authenticate_as(audience, presented, store.now().millis() / 1000)?;
    let stored = if claims.email == SERVER_EMAIL {
        None
    } else {
        let account = store.v12_account(&claims.strategy, &claims.email).await.map_err(failed)?;
        account.map(|account| account.token_version)
    };
    claims.check_version(stored)?;
    Ok(claims)
}

/// What a failure of the server is to a client: details stay in the log.
pub(crate) fn failed(error: duologue_store::Error) -> ApiError {
    tracing::error!(%error, "a Converse request failed");
    ApiError::plain(500, "Error", "The server failed to process this request.")
}

pub(crate) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let all = headers.get_all(header::COOKIE);
    let pairs = all.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
    pairs.filter_map(|pair| pair.trim().split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| {
        let value = value.trim_matches('"');
        percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned()
    })
}
