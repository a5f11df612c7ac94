//! External authentication of end users: the header `X-BP-ExternalAuth`
//! (`auth-config.md` § 6).

use std::{
    future::Future,
    pin::Pin,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;

use super::jwt::{self, Demands, JwtError, Key};
use crate::{
    answer::ApiError,
    json::{Json, Object},
};

/// How long a fetched key set is used, in seconds.
const KEYS_LAST: i64 = 600;

/// How often a key set is fetched at most, in seconds: tokens with unknown keys must not make this
/// server flood another.
const FETCH_PAUSE: i64 = 30;

/// `pro.externalAuth` of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExternalAuth {
    /// Whether the header is looked at.
    pub enabled: bool,
    /// What tokens have to fulfil.
    pub demands: Demands,
    /// A shared secret, or PEM; from the configuration or `end_users_auth.pub`.
    pub public_key: Option<String>,
    /// Where keys are fetched, instead of `public_key`.
    pub jwks: Option<Jwks>,
}

/// `jwksClient` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwks {
    /// The URL of the key set.
    pub uri: String,
    /// The id of the key; without one, the token's header names it.
    pub key_id: Option<String>,
}

/// A key set under way; the error is for humans.
pub type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Bytes, String>> + Send + 'a>>;

/// Fetches key sets.
pub trait FetchKeys: Send + Sync {
    /// The body of a 2xx answer to a GET. Must be bounded in time and size.
    fn fetch<'a>(&'a self, uri: &'a str) -> Fetching<'a>;
}

/// Verifies the header, and keeps what it fetched for that.
#[derive(Debug)]
pub struct ExternalVerifier {
    settings: ExternalAuth,
    /// `None` until it is needed and where the key set is fetched.
    key: Option<Result<Key, JwtError>>,
    fetched: Mutex<Fetched>,
}

#[derive(Debug, Default)]
struct Fetched {
    /// By id.
    keys: Vec<(Option<String>, Key)>,
    /// When, in seconds since 1970.
    at: Option<i64>,
}

impl ExternalVerifier {
    /// Reads the configured key; if it can't be read, every token is refused with the reason.
    pub fn new(settings: ExternalAuth) -> Self {
        let key = match &settings.jwks {
            Some(_) => None,
            None => Some(Key::new(settings.public_key.as_deref().unwrap_or_default())),
        };
        ExternalVerifier { settings, key, fetched: Mutex::default() }
    }

    /// The credentials that a request's header gives: `None` without header or where it isn't
    /// looked at; an empty object where its scheme isn't `bearer`; else the token's claims. `now`
    /// is in seconds since 1970.
    ///
    /// # Errors
    /// 401 `InvalidExternalToken`.
    pub async fn credentials(
        &self,
        header: Option<&str>,
        now: i64,
        keys: &dyn FetchKeys,
    ) -> Result<Option<Object>, ApiError> {
        let Some(header) = header.filter(|header| self.settings.enabled && !header.is_empty()) else {
            return Ok(None);
        };
        let mut words = header.split(' ');
        if !words.next().is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer")) {
            return Ok(Some(Object::new()));
        }
        let token = words.next().unwrap_or_default();
        let claims = self.verify(token, now, keys).await;
        claims.map(Some).map_err(|error| {
            ApiError::typed(401, Some("BP_0401"), "InvalidExternalToken", &format!("Unauthorized: {error}"))
        })
    }

    async fn verify(&self, token: &str, now: i64, keys: &dyn FetchKeys) -> Result<Object, JwtError> {
        let fetched;
        let key = match (&self.key, &self.settings.jwks) {
            (Some(key), _) => key.as_ref().map_err(Clone::clone)?,
            (None, Some(jwks)) if token.split('.').count() == 3 => {
                let id = jwks.key_id.clone().or_else(|| jwt::key_id(token));
                fetched = self.fetched_key(&jwks.uri, id.as_deref(), now, keys).await?;
                &fetched
            }
            // Refused for its form before any key is needed.
            (None, _) => &Key::Secret(Vec::new()),
        };
        jwt::verify(token, key, &self.settings.demands, now)
    }

    async fn fetched_key(&self, uri: &str, id: Option<&str>, now: i64, keys: &dyn FetchKeys) -> Result<Key, JwtError> {
        let missing = || JwtError::KeySet(format!("Unable to find a signing key that matches '{}'", id.unwrap_or("")));
        if let Some(known) = self.known(id, now) {
            return known.ok_or_else(missing);
        }
        let body = keys.fetch(uri).await.map_err(JwtError::KeySet)?;
        let set = Json::parse(&String::from_utf8_lossy(&body)).map_err(|error| JwtError::KeySet(error.0))?;
        let Some(Json::Array(set)) = set.get("keys") else {
            return Err(JwtError::KeySet("The key set has no keys".to_owned()));
        };
        let found = set.iter().filter_map(|jwk| {
            let id = jwk.get("kid").and_then(Json::as_str).map(str::to_owned);
            Some((id, Key::from_jwk(jwk)?))
        });
        let found: Vec<(Option<String>, Key)> = found.collect();
        let key = pick(&found, id);
        *self.fetched.lock().unwrap_or_else(PoisonError::into_inner) = Fetched { keys: found, at: Some(now) };
        key.ok_or_else(missing)
    }

    /// The key, if what was fetched is to be used: `Some(None)` if it lacks the key and it is too
    /// early to fetch again.
    fn known(&self, id: Option<&str>, now: i64) -> Option<Option<Key>> {
        let fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        let age = now.saturating_sub(fetched.at?);
        match pick(&fetched.keys, id) {
            Some(key) if age < KEYS_LAST => Some(Some(key)),
            None if age < FETCH_PAUSE => Some(None),
            _ => None,
        }
    }
}

/// The key with this id; without an id, the only one.
fn pick(keys: &[(Option<String>, Key)], id: Option<&str>) -> Option<Key> {
    match (keys, id) {
        ([(_, only)], None) => Some(only.clone()),
        (_, None) => None,
        (keys, id) => keys.iter().find(|(there, _)| there.as_deref() == id).map(|(_, key)| key.clone()),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        task::{Context, Poll, Waker},
    };

    use super::*;

    struct Keys(Result<String, String>, AtomicUsize);

    impl FetchKeys for Keys {
        fn fetch<'a>(&'a self, _: &'a str) -> Fetching<'a> {
            self.1.fetch_add(1, Ordering::Relaxed);
            Box::pin(async { self.0.clone().map(Bytes::from) })
        }
    }

    /// Nothing here waits.
    fn now<T>(future: impl Future<Output = T>) -> T {
        match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("pending"),
        }
    }

    fn error(verifier: &ExternalVerifier, header: &str, at: i64, keys: &Keys) -> String {
        now(verifier.credentials(Some(header), at, keys)).unwrap_err().message
    }

    fn none() -> Keys {
        Keys(Err("unreachable".to_owned()), AtomicUsize::new(0))
    }

    #[test]
    fn off_means_not_looked_at() {
        let off = ExternalVerifier::new(ExternalAuth::default());
        assert_eq!(now(off.credentials(Some("Bearer garbage"), 0, &none())), Ok(None));
        let unusable = ExternalVerifier::new(ExternalAuth { enabled: true, ..ExternalAuth::default() });
        assert_eq!(now(unusable.credentials(None, 0, &none())), Ok(None));
        assert_eq!(error(&unusable, "Bearer a.b.c", 0, &none()), "Unauthorized: secret or public key must be provided");
    }

    #[test]
    fn key_sets_are_fetched_once() {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        use rcgen::{KeyPair, PublicKeyData, SigningKey};
        let pair = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let token = |kid: &str| {
            let header = URL_SAFE_NO_PAD.encode(format!("{{\"alg\":\"EdDSA\",\"kid\":\"{kid}\"}}"));
            let text = format!("{header}.{}", URL_SAFE_NO_PAD.encode("{\"sub\":\"u\"}"));
            let signature = URL_SAFE_NO_PAD.encode(pair.sign(text.as_bytes()).unwrap());
            format!("Bearer {text}.{signature}")
        };
        let x = URL_SAFE_NO_PAD.encode(pair.der_bytes());
        let set = format!("{{\"keys\":[{{\"kty\":\"OKP\",\"kid\":\"a\",\"x\":\"{x}\"}},{{\"kty\":\"oct\"}}]}}");
        let verifier = ExternalVerifier::new(ExternalAuth {
            enabled: true,
            demands: Demands { algorithms: vec!["EdDSA".to_owned()], ..Demands::default() },
            public_key: None,
            jwks: Some(Jwks { uri: "https://keys.example/set".to_owned(), key_id: None }),
        });
        let keys = Keys(Ok(set), AtomicUsize::new(0));
        let fetched = || keys.1.load(Ordering::Relaxed);
        assert_eq!(error(&verifier, "Bearer garbage", 0, &keys), "Unauthorized: jwt malformed");
        assert_eq!(fetched(), 0);
        for at in [1000, 1010, 1599] {
            let credentials = now(verifier.credentials(Some(&token("a")), at, &keys)).unwrap().unwrap();
            assert_eq!(credentials["sub"].as_str(), Some("u"));
        }
        assert_eq!(fetched(), 1);
        now(verifier.credentials(Some(&token("a")), 1600, &keys)).unwrap();
        assert_eq!(fetched(), 2);
        // An unknown key is looked for, but not with every request.
        for _ in 0..3 {
            assert!(error(&verifier, &token("b"), 1601, &keys).contains("matches 'b'"));
        }
        assert_eq!(fetched(), 2);
        assert!(error(&verifier, &token("b"), 1631, &keys).contains("matches 'b'"));
        assert_eq!(fetched(), 3);
        assert_eq!(error(&verifier, &token("b"), 1700, &none()), "Unauthorized: unreachable");
    }
}
