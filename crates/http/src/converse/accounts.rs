//! Logging in and out, and who one is: `/api/v1/auth/**` and the few admin routes that clients of the
//! original ask (`spec/v12/auth-config.md` § 1 to 5).
//!
//! The same routes stand under `/api/v1/auth`, `/api/v1/admin/auth` and `/api/v2/admin/auth`. What is
//! right and what is refused is decided by the crate `v12`; accounts are kept by the store.

use std::{sync::OnceLock, time::Duration};

use duologue_store::{
    Store,
    v12::{
        accounts::Account as Stored,
        kvs::{Change, Write},
    },
};
use duologue_v12::{
    Answer, ApiError,
    auth::{
        login::{self, Account, Login},
        password::StoredPassword,
        token::{COLLABORATORS, Claims, Identity, Issued, bearer},
    },
    config::GlobalConfig,
    json::{Json, Object, quoted},
};
use http::{HeaderMap, Method, header};
use tokio::sync::Semaphore;

use super::{
    auth::{self, failed},
    decoded,
};

/// Passwords hashed at once: each takes a core and 19 MiB.
static HASHING: Semaphore = Semaphore::const_new(2);

/// How often a login is decided anew because the account changed meanwhile.
const ATTEMPTS: usize = 5;

/// One of these routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `POST …/login/basic/{strategy}`
    Login(String),
    /// `POST …/register/basic/{strategy}`
    Register(String),
    /// `GET …/config`
    Config,
    /// `GET …/refresh`
    Refresh,
    /// `GET …/logout`
    Logout,
    /// `GET …/getToken`
    GetToken,
    /// `POST …/me/chatAuth`
    ChatAuth,
    /// `GET /api/v1/admin/ping`
    Ping,
    /// `GET /api/v2/admin/user/profile`
    Profile,
    /// `GET /version`
    Version,
    /// `GET /status`
    Status,
}

impl Route {
    /// The route of a path, given as its parts as they were sent, without empty ones. Literal parts may be in
    /// any case.
    pub(crate) fn find(method: &Method, path: &[&str]) -> Option<Route> {
        let lower: Vec<String> = path.iter().map(|part| part.to_ascii_lowercase()).collect();
        let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
        let below = match lower[..] {
            ["api", "v1", "auth", ..] => 3,
            ["api", "v1" | "v2", "admin", "auth", ..] => 4,
            ["api", "v1" | "v2", "admin", "ping"] if method == Method::GET => return Some(Route::Ping),
            ["api", "v1" | "v2", "admin", "user", "profile"] if method == Method::GET => return Some(Route::Profile),
            ["version"] if method == Method::GET => return Some(Route::Version),
            ["status"] if method == Method::GET => return Some(Route::Status),
            _ => return None,
        };
        match (method, &lower[below..]) {
            (&Method::POST, ["login", "basic", _]) => Some(Route::Login(path[below + 2].to_owned())),
            (&Method::POST, ["register", "basic", _]) => Some(Route::Register(path[below + 2].to_owned())),
            (&Method::GET, ["config"]) => Some(Route::Config),
            (&Method::GET, ["refresh"]) => Some(Route::Refresh),
            (&Method::GET, ["logout"]) => Some(Route::Logout),
            (&Method::GET, ["gettoken"]) => Some(Route::GetToken),
            (&Method::POST, ["me", "chatauth"]) => Some(Route::ChatAuth),
            _ => None,
        }
    }
}

/// An answer, with a cookie where tokens are kept in one.
#[derive(Debug)]
pub(crate) struct Reply {
    /// Status and body.
    pub(crate) answer: Answer,
    /// The header `Set-Cookie`.
    pub(crate) cookie: Option<String>,
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Reply { answer, cookie: None }
    }
}

/// Serves one of the routes. `body` is the parsed body of the request.
///
/// # Errors
/// As the dialect words them; 500 if the store fails.
pub(crate) async fn serve(
    store: &Store,
    config: &GlobalConfig,
    route: &Route,
    headers: &HeaderMap,
    body: &Json,
) -> Result<Reply, ApiError> {
    match route {
        Route::Login(strategy) => log_in(store, config, &decoded(strategy)?, body).await,
        Route::Register(strategy) => register(store, config, &decoded(strategy)?, body).await,
        Route::Config => {
            let is_first = !store.has_v12_accounts().await.map_err(failed)?;
            Ok(Answer::success("Auth Config", &config.auth_payload(is_first)).into())
        }
        Route::Refresh => refresh(store, config, headers).await,
        Route::Logout => log_out(store, config, headers).await,
        Route::GetToken => {
            auth::collaborator(store, &config.tokens, headers).await?;
            Ok(if config.tokens.cookie {
                Answer::text(200, presented(config, headers)?)
            } else {
                plain(201, "Created")
            }
            .into())
        }
        Route::ChatAuth => chat_auth(store, config, headers, body).await,
        Route::Ping => {
            auth::collaborator(store, &config.tokens, headers).await?;
            Ok(Answer::success("Pong", &format!("{{\"serverId\":{}}}", quoted(server_id(store)))).into())
        }
        Route::Profile => profile(store, config, headers).await,
        Route::Version => Ok(Answer::text(200, version(config)).into()),
        Route::Status => {
            let database = if store.ping().await.is_ok() { "up" } else { "down" };
            let body =
                format!("{{\"botpress\":\"up\",\"database\":\"{database}\",\"messaging\":\"up\",\"nlu\":\"down\"}}");
            Ok(Answer::json(200, body).into())
        }
    }
}

async fn log_in(store: &Store, config: &GlobalConfig, strategy: &str, body: &Json) -> Result<Reply, ApiError> {
    let login = Login::parse(body)?;
    let random = u64::from_be_bytes(store.ids().bytes());
    // Answers say nothing by their time.
    tokio::time::sleep(Duration::from_millis(15 + random % 66)).await;
    let Some(options) = config.strategies.get(strategy).filter(|strategy| strategy.kind == "basic") else {
        return Err(unknown_strategy(strategy));
    };
    for _ in 0..ATTEMPTS {
        let before = store.v12_account(strategy, &login.email).await.map_err(failed)?;
        let known = before.as_ref().map(account).transpose()?;
        let (login_, options, now) = (login.clone(), options.basic.clone(), store.now().millis());
        let (outcome, known) = hashing(move || {
            let outcome = login::decide(&login_, known.as_ref(), &options, now)?;
            Ok((outcome, known))
        })
        .await?;
        let now_stored = match (before, &outcome.account) {
            (Some(before), Some(after)) => {
                let after = stored(after, before.is_super_admin);
                let is_super_admin = before.is_super_admin;
                if !store.replace_v12_account(before, after).await.map_err(failed)? {
                    continue;
                }
                is_super_admin
            }
            (before, _) => before.is_some_and(|before| before.is_super_admin),
        };
        outcome.verdict?;
        // A login that succeeded has an account.
        let Some(account) = outcome.account.or(known) else { break };
        let is_super_admin = now_stored || config.is_super_admin(&account.email, strategy);
        let identity = login::identity(&login, &account, &config.collaborators, is_super_admin);
        remember_chat_user(store, config, &login, &identity).await?;
        return welcome(config, store, &identity, "Login successful");
    }
    Err(ApiError::plain(400, "Error", "The account is being changed by others. Try again."))
}

/// Bots find out by the shared store whom a chat user logged in as, for as long as the token lasts.
async fn remember_chat_user(
    store: &Store,
    config: &GlobalConfig,
    login: &Login,
    identity: &Identity,
) -> Result<(), ApiError> {
    let Some((channel, target)) = &login.chat_user else { return Ok(()) };
    let whom = (identity.email.as_str(), identity.strategy.as_str());
    remember_pair(store, config, &format!("{channel}::{target}"), whom).await
}

/// Keeps under the name of a channel's user whom he logged in as.
async fn remember_pair(
    store: &Store,
    config: &GlobalConfig,
    pair: &str,
    (email, strategy): (&str, &str),
) -> Result<(), ApiError> {
    let value = serde_json::json!({ "email": email, "strategy": strategy });
    let change = Change::Set {
        key: pair.to_owned(),
        value: duologue_model::Json::of(&value),
        expires_in: u64::try_from(config.tokens.duration.as_millis()).ok(),
    };
    store.write_v12_values(vec![Write { bot: None, change }]).await.map_err(failed)
}

/// Somebody who has a token says which session of a bot is his; the bot signed it for him.
async fn chat_auth(store: &Store, config: &GlobalConfig, headers: &HeaderMap, body: &Json) -> Result<Reply, ApiError> {
    let claims = auth::anybody(store, &config.tokens, headers).await?;
    let text = |name: &str| body.get(name).and_then(Json::as_str).unwrap_or_default();
    let (bot, session) = (text("botId"), text("sessionId"));
    if !config.tokens.is_chat_signature(bot, session, text("signature")) {
        return Err(ApiError::bad_request("The signature doesn't belong to this session"));
    }
    let pair = session.strip_prefix(bot).and_then(|rest| rest.strip_prefix("::")).unwrap_or(session);
    remember_pair(store, config, pair, (&claims.email, &claims.strategy)).await?;
    Ok(Answer::success("Authenticated", "{}").into())
}

async fn register(store: &Store, config: &GlobalConfig, strategy: &str, body: &Json) -> Result<Reply, ApiError> {
    if store.has_v12_accounts().await.map_err(failed)? {
        return Ok(Answer::registration_is_disabled().into());
    }
    if config.strategies.get(strategy).is_none_or(|strategy| strategy.kind != "basic") {
        return Err(unknown_strategy(strategy));
    }
    let text = |name: &str| body.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
    let (email, password) = (text("email"), text("password"));
    login::check_registration(&email, &password)?;
    let password = hashing(move || StoredPassword::new(&password)).await?;
    let account = Account {
        email: email.to_lowercase(),
        strategy: strategy.to_owned(),
        password,
        attributes: Object::new(),
        token_version: 1,
    };
    if !store.put_first_v12_account(stored(&account, true)).await.map_err(failed)? {
        return Ok(Answer::registration_is_disabled().into());
    }
    let identity = Identity {
        email: account.email,
        strategy: account.strategy,
        token_version: 1,
        is_super_admin: true,
        audience: COLLABORATORS,
    };
    welcome(config, store, &identity, "Registration successful")
}

async fn refresh(store: &Store, config: &GlobalConfig, headers: &HeaderMap) -> Result<Reply, ApiError> {
    let claims = auth::collaborator(store, &config.tokens, headers).await?;
    let old = presented(config, headers)?;
    let identity = Identity {
        is_super_admin: is_super_admin(store, config, &claims).await?,
        token_version: claims.token_version.map_or(1, |version| version as i64),
        email: claims.email,
        strategy: claims.strategy,
        audience: COLLABORATORS,
    };
    let (answer, issued) = config.tokens.refresh(&old, &identity, seconds(store)).map_err(unhashable)?;
    let cookie = issued.as_ref().and_then(|issued| cookie(config, issued));
    Ok(Reply { answer, cookie })
}

async fn log_out(store: &Store, config: &GlobalConfig, headers: &HeaderMap) -> Result<Reply, ApiError> {
    let claims = auth::collaborator(store, &config.tokens, headers).await?;
    store.bump_v12_token_version(&claims.strategy, &claims.email).await.map_err(failed)?;
    let nothing = Issued { jwt: String::new(), lasts: Duration::ZERO, csrf: None };
    Ok(Reply { answer: plain(200, "OK"), cookie: cookie(config, &nothing) })
}

/// What is known of whoever asks.
async fn profile(store: &Store, config: &GlobalConfig, headers: &HeaderMap) -> Result<Reply, ApiError> {
    let claims = auth::collaborator(store, &config.tokens, headers).await?;
    if !headers.contains_key("x-bp-workspace") {
        return Err(ApiError::workspace_missing());
    }
    let account = store.v12_account(&claims.strategy, &claims.email).await.map_err(failed)?;
    let attributes = match &account {
        Some(stored) => self::account(stored)?.attributes,
        None => Object::new(),
    };
    let is_super_admin = is_super_admin(store, config, &claims).await?;
    let text = |value: &str| Json::String(value.to_owned());
    let mut profile = Object::new();
    for name in ["firstname", "lastname", "picture_url"] {
        if let Some(value) = attributes.get(name) {
            profile.insert(name.to_owned(), value.clone());
        }
    }
    profile.insert("email".to_owned(), text(&claims.email));
    profile.insert("strategy".to_owned(), text(&claims.strategy));
    profile.insert("isSuperAdmin".to_owned(), Json::Bool(is_super_admin));
    Ok(Answer::success("Profile", &Json::Object(profile).to_string()).into())
}

/// The version that clients are told: that of the configuration, for they look at it.
fn version(config: &GlobalConfig) -> &str {
    if config.version.is_empty() { "12.31.10" } else { &config.version }
}

/// Whether an account is one now, whatever its token says.
pub(super) async fn is_super_admin(store: &Store, config: &GlobalConfig, claims: &Claims) -> Result<bool, ApiError> {
    let account = store.v12_account(&claims.strategy, &claims.email).await.map_err(failed)?;
    Ok(config.is_super_admin(&claims.email, &claims.strategy) || account.is_some_and(|account| account.is_super_admin))
}

fn welcome(config: &GlobalConfig, store: &Store, identity: &Identity, message: &str) -> Result<Reply, ApiError> {
    let issued = config.tokens.issue(identity, seconds(store)).map_err(unhashable)?;
    Ok(Reply { answer: Answer::success(message, &issued.payload()), cookie: cookie(config, &issued) })
}

fn cookie(config: &GlobalConfig, issued: &Issued) -> Option<String> {
    config.tokens.cookie.then(|| issued.cookie(&config.cookies))
}

/// The token that a request was authenticated by.
fn presented(config: &GlobalConfig, headers: &HeaderMap) -> Result<String, ApiError> {
    if config.tokens.cookie {
        return Ok(auth::cookie(headers, "jwtToken").unwrap_or_default());
    }
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    bearer(authorization).map(str::to_owned)
}

/// Runs what hashes passwords where it may block, few at a time.
async fn hashing<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, duologue_v12::Error> + Send + 'static,
) -> Result<T, ApiError> {
    // The semaphore is never closed.
    let _turn = HASHING.acquire().await;
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(unhashable),
        Err(error) => Err(broken(&error)),
    }
}

fn unhashable(error: duologue_v12::Error) -> ApiError {
    broken(&error)
}

fn broken(error: &dyn std::fmt::Display) -> ApiError {
    tracing::error!(%error, "a login failed");
    ApiError::plain(500, "Error", "The server failed to process this request.")
}

/// The original answers with its database's complaint about a missing table.
fn unknown_strategy(strategy: &str) -> ApiError {
    ApiError::plain(400, "Error", format!("There is no login strategy \"{strategy}\" with passwords"))
}

fn plain(status: u16, text: &str) -> Answer {
    Answer { status, content_type: "text/plain; charset=utf-8", body: text.to_owned() }
}

fn account(stored: &Stored) -> Result<Account, ApiError> {
    let Ok(Json::Object(attributes)) = Json::parse(stored.attributes.text()) else {
        return Err(broken(&"the attributes of an account aren't an object"));
    };
    Ok(Account {
        email: stored.email.clone(),
        strategy: stored.strategy.clone(),
        password: StoredPassword { hash: stored.password.clone(), salt: stored.salt.clone() },
        attributes,
        token_version: stored.token_version,
    })
}

fn stored(account: &Account, is_super_admin: bool) -> Stored {
    Stored {
        strategy: account.strategy.clone(),
        email: account.email.clone(),
        password: account.password.hash.clone(),
        salt: account.password.salt.clone(),
        token_version: account.token_version,
        attributes: duologue_model::Json::of(&serde_json::Value::from(Json::Object(account.attributes.clone()))),
        is_super_admin,
    }
}

/// Names this process to those who ask whether it was restarted.
fn server_id(store: &Store) -> &'static str {
    static ID: OnceLock<String> = OnceLock::new();
    ID.get_or_init(|| store.ids().uuid())
}

fn seconds(store: &Store) -> i64 {
    store.now().millis() / 1000
}

#[cfg(test)]
mod tests {
    use duologue_store::Location;
    use http::HeaderValue;

    use super::*;

    /// A server without bots, and whoever asks it.
    struct Scene {
        store: Store,
        config: GlobalConfig,
        _folder: tempfile::TempDir,
    }

    impl Scene {
        async fn new(config: &str) -> Scene {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(&Location::Sqlite(folder.path().join("duologue.db"))).await.unwrap();
            let config = GlobalConfig::read(Some(config.as_bytes()), &|_| None, &mut Vec::new());
            Scene { store, config, _folder: folder }
        }

        /// An account as the original stored it: `secret-pass` (`auth-config.md` § 4).
        async fn bring(&self) {
            let hash = "c2415da0cd2767ca3e5f29b64f24548b846a87c0d7dcc62cf0e2bf15915978ee7dd3bda5d69c1482556fd5b7aa656325\
                        ad5c0b88c329d805cae5c989d8c534d1";
            let account = Account {
                email: "ada@example.com".to_owned(),
                strategy: "default".to_owned(),
                password: StoredPassword { hash: hash.to_owned(), salt: "0123456789abcdef".to_owned() },
                attributes: Object::new(),
                token_version: 1,
            };
            assert_eq!(self.store.bring_v12_accounts(vec![stored(&account, false)]).await.unwrap(), 1);
        }

        async fn ask(&self, method: Method, path: &str, headers: &[(&'static str, &str)], body: &str) -> Reply {
            let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
            let route = Route::find(&method, &parts).unwrap();
            let headers: HeaderMap = headers
                .iter()
                .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
                .collect();
            let body = Json::parse(body).unwrap();
            let answered = serve(&self.store, &self.config, &route, &headers, &body).await;
            answered.unwrap_or_else(|error| error.answer().into())
        }

        async fn log_in(&self, password: &str) -> Reply {
            let body = format!("{{\"email\":\"Ada@example.com\",\"password\":\"{password}\"}}");
            self.ask(Method::POST, "/API/v1/Auth/login/basic/default/", &[], &body).await
        }
    }

    fn member(reply: &Reply, name: &str) -> String {
        let json = Json::parse(&reply.answer.body).unwrap();
        json.get("payload").and_then(|payload| payload.get(name)?.as_str()).unwrap().to_owned()
    }

    const CONFIG: &str = r#"{"appSecret":"app"}"#;

    #[tokio::test]
    async fn the_first_to_register_is_super_admin() {
        let scene = Scene::new(CONFIG).await;
        let config = scene.ask(Method::GET, "/api/v2/admin/auth/config", &[], "{}").await;
        assert!(config.answer.body.ends_with("\"isFirstUser\":true}}"), "{}", config.answer.body);
        let body = r#"{"email":"Eve@example.com","password":"1234"}"#;
        let path = "/api/v1/auth/register/basic/default";
        // Two at once: one is the first.
        let (one, two) =
            tokio::join!(scene.ask(Method::POST, path, &[], body), scene.ask(Method::POST, path, &[], body));
        let (first, second) = if one.answer.status == 200 { (one, two) } else { (two, one) };
        assert_eq!((first.answer.status, second.answer.status), (200, 403));
        let token = format!("Bearer {}", member(&first, "jwt"));
        let headers = [("authorization", token.as_str()), ("x-bp-workspace", "default")];
        let profile = scene.ask(Method::GET, "/api/v2/admin/user/profile", &headers, "{}").await;
        assert_eq!(
            profile.answer.body,
            r#"{"status":"success","message":"Profile","payload":{"email":"eve@example.com","strategy":"default","isSuperAdmin":true}}"#
        );
        let without = scene.ask(Method::GET, "/api/v2/admin/user/profile", &headers[..1], "{}").await;
        assert_eq!(without.answer.status, 400);
        let short = r#"{"email":"a@b","password":"1234"}"#;
        assert_eq!(Scene::new(CONFIG).await.ask(Method::POST, path, &[], short).await.answer.status, 400);
    }

    #[tokio::test]
    async fn a_login_replaces_the_hash_and_a_logout_ends_its_tokens() {
        let scene = Scene::new(CONFIG).await;
        scene.bring().await;
        let reply = scene.log_in("secret-pass").await;
        assert_eq!(reply.answer.status, 200, "{}", reply.answer.body);
        let account = scene.store.v12_account("default", "ada@example.com").await.unwrap().unwrap();
        assert!(account.password.starts_with("$argon2id$") && account.salt.is_empty());
        let chat = r#"{"email":"ada@example.com","password":"secret-pass","channel":"api","target":"u1"}"#;
        let chat = scene.ask(Method::POST, "/api/v1/auth/login/basic/default", &[], chat).await;
        assert_eq!(chat.answer.status, 200);
        let kept = scene.store.v12_value(None, "api::u1").await.unwrap().unwrap();
        assert_eq!(kept.text(), r#"{"email":"ada@example.com","strategy":"default"}"#);

        let token = format!("Bearer {}", member(&reply, "jwt"));
        let headers = [("authorization", token.as_str())];
        let ask = |path: &'static str| scene.ask(Method::GET, path, &headers, "{}");
        assert!(ask("/api/v1/admin/ping").await.answer.body.contains("\"Pong\""));
        assert_eq!(ask("/api/v1/auth/getToken").await.answer.status, 201);
        assert_eq!(ask("/api/v1/auth/refresh").await.answer.status, 200);
        assert_eq!(ask("/api/v1/auth/logout").await.answer, plain(200, "OK"));
        for path in ["/api/v1/admin/ping", "/api/v1/auth/refresh", "/api/v1/auth/logout"] {
            assert_eq!(ask(path).await.answer.status, 401, "{path}");
        }
    }

    #[tokio::test]
    async fn wrong_passwords_lock_an_account_even_side_by_side() {
        let options = r#"{"appSecret":"app","authStrategies":{"default":{"type":"basic","options":{"maxLoginAttempt":2}},"ldap":{"type":"ldap"}}}"#;
        let scene = Scene::new(options).await;
        scene.bring().await;
        let (one, two, three) = tokio::join!(scene.log_in("x"), scene.log_in("y"), scene.log_in("z"));
        for reply in [one, two, three] {
            assert!(reply.answer.body.contains("\"BP_0009\""), "{}", reply.answer.body);
        }
        let locked = scene.log_in("secret-pass").await;
        assert!(locked.answer.body.contains("\"BP_0011\""), "{}", locked.answer.body);
        let body = r#"{"email":"ada@example.com","password":"secret-pass"}"#;
        let other = scene.ask(Method::POST, "/api/v1/auth/login/basic/ldap", &[], body).await;
        assert_eq!(other.answer.status, 400);
        assert!(Route::find(&Method::POST, &["api", "v1", "auth", "login", "ldap", "default"]).is_none());
        assert!(Route::find(&Method::POST, &["api", "v1", "auth", "config"]).is_none());
    }

    #[tokio::test]
    async fn cookies_carry_the_token_where_they_are_wanted() {
        let scene = Scene::new(r#"{"appSecret":"app","jwtToken":{"useCookieStorage":true}}"#).await;
        scene.bring().await;
        let reply = scene.log_in("secret-pass").await;
        let csrf = member(&reply, "csrf");
        let cookie = reply.cookie.unwrap();
        assert!(cookie.contains("; HttpOnly"), "{cookie}");
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let ask = |headers: Vec<(&'static str, String)>| {
            let scene = &scene;
            async move {
                let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
                scene.ask(Method::GET, "/api/v1/auth/getToken", &headers, "{}").await
            }
        };
        assert_eq!(ask(vec![("cookie", cookie.clone())]).await.answer.status, 401);
        let both = ask(vec![("cookie", format!("a=b; {cookie}")), ("csrf-token", csrf)]).await;
        assert_eq!(format!("jwtToken={}", both.answer.body), cookie);
    }
}
