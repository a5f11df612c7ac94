//! Logging in with e-mail and password: lockout, expiry, change of the password
//! (`auth-config.md` § 1 and 4).
//!
//! A pure decision: what to answer, and what to store. The caller delays the answer by 15 to 80 ms
//! at random, stores the change, and issues the token.

use std::time::Duration;

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    password::{Policy, StoredPassword},
    token::{CHAT_USERS, COLLABORATORS, Identity, SERVER_EMAIL},
};
use crate::{
    answer::ApiError,
    json::{Json, Object},
};

/// The body of a login.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Lower case.
    pub email: String,
    /// The current password; empty if missing.
    pub password: String,
    /// The password to change to.
    pub new_password: Option<String>,
    /// With a new password: whether earlier tokens end.
    pub invalidate_sessions: bool,
    /// Channel and user, when a chat user logs in.
    pub chat_user: Option<(String, String)>,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("email", &self.email).finish_non_exhaustive()
    }
}

impl Login {
    /// Reads the body.
    ///
    /// # Errors
    /// 400 `TypeError`, in the engine's words, if the e-mail is missing or no text.
    pub fn parse(body: &Json) -> Result<Login, ApiError> {
        let failed = |message: &str| Err(ApiError::plain(400, "TypeError", message));
        let text = |name: &str| body.get(name).and_then(Json::as_str).map(str::to_owned);
        let email = match body.get("email") {
            Some(Json::String(email)) => email.to_lowercase(),
            None => return failed("Cannot read property 'toLowerCase' of undefined"),
            Some(Json::Null) => return failed("Cannot read property 'toLowerCase' of null"),
            Some(_) => return failed("email.toLowerCase is not a function"),
        };
        Ok(Login {
            email,
            password: text("password").unwrap_or_default(),
            new_password: text("newPassword").filter(|password| !password.is_empty()),
            invalidate_sessions: body.get("invalidateActiveSessions") != Some(&Json::Bool(false)),
            chat_user: text("channel")
                .zip(text("target"))
                .filter(|(channel, target)| !channel.is_empty() && !target.is_empty()),
        })
    }
}

/// `options` of a strategy of type `basic`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BasicOptions {
    /// Wrong passwords that are tolerated; 0 for any number.
    pub max_login_attempt: u64,
    /// After how long a locked account is looked at again; `None` for never.
    pub lockout_duration: Option<Duration>,
    /// Demands on new passwords.
    pub policy: Policy,
    /// After how long a new password expires; `None` for never.
    pub password_expiry: Option<Duration>,
}

/// What the strategy knows of an account.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    /// Lower case.
    pub email: String,
    /// The id of the strategy.
    pub strategy: String,
    /// The password.
    pub password: StoredPassword,
    /// The account's attributes, the counters of logins among them.
    pub attributes: Object,
    /// The version of valid tokens.
    pub token_version: i64,
}

/// What a login leads to.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Whether it succeeded, or what to answer.
    pub verdict: Result<(), ApiError>,
    /// The account as it is to be stored, if it changed.
    pub account: Option<Account>,
}

/// Decides about a login. `account` is the one with the login's e-mail in the strategy, if there is
/// one; `now` is in milliseconds since 1970. Takes tens of milliseconds.
///
/// # Errors
/// Only if a new password can't be hashed; refusals are in the outcome.
pub fn decide(
    login: &Login,
    account: Option<&Account>,
    options: &BasicOptions,
    now: i64,
) -> Result<Outcome, crate::Error> {
    let refused = |error: ApiError| Ok(Outcome { verdict: Err(error), account: None });
    let Some(account) = account.filter(|_| login.email != SERVER_EMAIL) else {
        // As slow as for an account that exists.
        let _ = StoredPassword::new(&login.password)?;
        return refused(invalid_credentials());
    };
    if is_locked(account, options, now) {
        return refused(error("BP_0011", "LockedOutError", "Account locked out"));
    }
    let mut account = account.clone();
    if !account.password.is(&login.password) {
        count_failure(&mut account.attributes, options, now);
        return Ok(Outcome { verdict: Err(invalid_credentials()), account: Some(account) });
    }
    let change = match &login.new_password {
        None if is_expired(&account.attributes, now) => {
            return refused(error("BP_0010", "PasswordExpiredError", "Password Expired"));
        }
        None => None,
        Some(new) if account.password.is(new) => {
            return refused(weak(" New password should not match old password"));
        }
        Some(new) if !options.policy.accepts(new) => return refused(weak("")),
        Some(new) => Some(new),
    };
    match change {
        Some(new) => change_password(&mut account, new, login.invalidate_sessions, options, now)?,
        // The original's form is replaced as soon as the password is known.
        None if account.password.is_from_v12() => account.password = StoredPassword::new(&login.password)?,
        None => {}
    }
    count_success(&mut account.attributes, now);
    Ok(Outcome { verdict: Ok(()), account: Some(account) })
}

/// Who the token of a login is for. `collaborators` are the strategies in
/// `pro.collaboratorsAuthStrategies`; `is_super_admin` is what the configuration says.
pub fn identity(login: &Login, account: &Account, collaborators: &[String], is_super_admin: bool) -> Identity {
    let (email, strategy) = (account.email.clone(), account.strategy.clone());
    if login.chat_user.is_some() {
        return Identity { email, strategy, token_version: 1, is_super_admin: false, audience: CHAT_USERS };
    }
    let audience = if collaborators.contains(&strategy) { COLLABORATORS } else { CHAT_USERS };
    Identity { email, strategy, token_version: account.token_version, is_super_admin, audience }
}

/// Checks the body of a registration.
///
/// # Errors
/// 400 if e-mail or password have fewer than four characters.
pub fn check_registration(email: &str, password: &str) -> Result<(), ApiError> {
    if email.encode_utf16().count() < 4 || password.encode_utf16().count() < 4 {
        return Err(ApiError::bad_request("Email or password is too short."));
    }
    Ok(())
}

fn invalid_credentials() -> ApiError {
    error("BP_0009", "InvalidCredentialsError", "Invalid credentials")
}

fn weak(reason: &str) -> ApiError {
    error("BP_0012", "WeakPasswordError", &format!("Password doesn't match policy{reason}"))
}

fn error(code: &'static str, kind: &'static str, message: &str) -> ApiError {
    ApiError::typed(400, Some(code), kind, message)
}

fn is_locked(account: &Account, options: &BasicOptions, now: i64) -> bool {
    if !account.attributes.get("locked_out").is_some_and(Json::is_truthy) {
        return false;
    }
    let since = account.attributes.get("last_login_attempt").and_then(instant);
    match (options.lockout_duration, since) {
        (Some(duration), Some(since)) => now <= since.saturating_add(millis(duration)),
        // Nothing says when it began: it is over.
        (Some(_), None) => false,
        (None, _) => true,
    }
}

fn count_failure(attributes: &mut Object, options: &BasicOptions, now: i64) {
    let before = if let Some(Json::Number(count)) = attributes.get("unsuccessful_logins") { *count } else { 0.0 };
    let count = before + 1.0;
    attributes.insert("unsuccessful_logins".to_owned(), Json::Number(count));
    attributes.insert("last_login_attempt".to_owned(), date(now));
    if options.max_login_attempt > 0 && count > options.max_login_attempt as f64 {
        attributes.insert("locked_out".to_owned(), Json::Bool(true));
    }
}

fn count_success(attributes: &mut Object, now: i64) {
    attributes.insert("last_logon".to_owned(), date(now));
    attributes.insert("unsuccessful_logins".to_owned(), Json::Number(0.0));
    attributes.insert("locked_out".to_owned(), Json::Bool(false));
}

fn is_expired(attributes: &Object, now: i64) -> bool {
    attributes.get("password_expired").is_some_and(Json::is_truthy)
        || attributes.get("password_expiry_date").and_then(instant).is_some_and(|until| until < now)
}

fn change_password(
    account: &mut Account,
    new: &str,
    invalidate_sessions: bool,
    options: &BasicOptions,
    now: i64,
) -> Result<(), crate::Error> {
    account.password = StoredPassword::new(new)?;
    account.attributes.insert("password_expired".to_owned(), Json::Bool(false));
    match options.password_expiry {
        Some(expiry) => {
            account.attributes.insert("password_expiry_date".to_owned(), date(now.saturating_add(millis(expiry))));
        }
        None => {
            account.attributes.shift_remove("password_expiry_date");
        }
    }
    if invalidate_sessions {
        account.token_version += 1;
    }
    Ok(())
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// An instant in an attribute: a date's text, or milliseconds.
fn instant(value: &Json) -> Option<i64> {
    match value {
        Json::Number(millis) => Some(*millis as i64),
        Json::String(text) => {
            let date = OffsetDateTime::parse(text, &Rfc3339).ok()?;
            i64::try_from(date.unix_timestamp_nanos() / 1_000_000).ok()
        }
        _ => None,
    }
}

fn date(millis: i64) -> Json {
    let date = OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).ok();
    // What lies outside the calendar isn't written.
    date.and_then(|date| date.format(&Rfc3339).ok()).map_or(Json::Null, Json::String)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vector of `auth-config.md` § 4.
    fn account() -> Account {
        let hash = "c2415da0cd2767ca3e5f29b64f24548b846a87c0d7dcc62cf0e2bf15915978ee7dd3bda5d69c1482556fd5b7aa656325\
                    ad5c0b88c329d805cae5c989d8c534d1";
        Account {
            email: "ada@example.com".to_owned(),
            strategy: "default".to_owned(),
            password: StoredPassword { hash: hash.to_owned(), salt: "0123456789abcdef".to_owned() },
            attributes: Object::new(),
            token_version: 1,
        }
    }

    fn login(body: &str) -> Login {
        let Json::Object(mut body) = Json::parse(body).unwrap() else { panic!() };
        body.insert("email".to_owned(), Json::String("Ada@example.com".to_owned()));
        Login::parse(&Json::Object(body)).unwrap()
    }

    fn with(password: &str) -> Login {
        login(&format!("{{\"password\":\"{password}\"}}"))
    }

    fn message(outcome: &Outcome) -> &str {
        outcome.verdict.as_ref().map_or_else(|error| error.message.as_str(), |()| "ok")
    }

    #[test]
    fn the_fourth_failure_locks_three() {
        let options = BasicOptions {
            max_login_attempt: 3,
            lockout_duration: Some(Duration::from_secs(60)),
            ..BasicOptions::default()
        };
        let mut account = account();
        for attempt in 1..=4 {
            let outcome = decide(&with("wrong"), Some(&account), &options, attempt).unwrap();
            assert_eq!(message(&outcome), "Invalid credentials");
            account = outcome.account.unwrap();
            assert_eq!(account.attributes.get("locked_out").is_some_and(Json::is_truthy), attempt == 4);
        }
        // Locked: the password isn't looked at, nothing is counted.
        let outcome = decide(&with("secret-pass"), Some(&account), &options, 60_000).unwrap();
        assert_eq!((message(&outcome), &outcome.account), ("Account locked out", &None));
        let forever = BasicOptions { lockout_duration: None, ..options.clone() };
        let outcome = decide(&with("secret-pass"), Some(&account), &forever, i64::MAX / 2).unwrap();
        assert_eq!(message(&outcome), "Account locked out");
        // After the lockout a success resets everything.
        let outcome = decide(&with("secret-pass"), Some(&account), &options, 60_005).unwrap();
        assert_eq!(message(&outcome), "ok");
        let attributes = outcome.account.unwrap().attributes;
        assert_eq!(attributes["unsuccessful_logins"], Json::Number(0.0));
        assert_eq!(attributes["locked_out"], Json::Bool(false));
        assert_eq!(attributes["last_logon"].as_str(), Some("1970-01-01T00:01:00.005Z"));
    }

    #[test]
    fn a_login_replaces_the_original_s_hash() {
        let outcome = decide(&with("secret-pass"), Some(&account()), &BasicOptions::default(), 0).unwrap();
        let stored = outcome.account.unwrap();
        assert!(!stored.password.is_from_v12() && stored.password.is("secret-pass"));
        assert_eq!(stored.token_version, 1);
    }

    #[test]
    fn passwords_expire_and_change() {
        let options = BasicOptions {
            policy: Policy { min_length: 6, complex: false },
            password_expiry: Some(Duration::from_secs(10)),
            ..BasicOptions::default()
        };
        let mut expired = account();
        expired.attributes.insert("password_expired".to_owned(), Json::Bool(true));
        let refused = |login: &Login| decide(login, Some(&expired), &options, 1000).unwrap();
        let change = |new: &str| login(&format!("{{\"password\":\"secret-pass\",\"newPassword\":\"{new}\"}}"));
        assert_eq!(message(&refused(&with("secret-pass"))), "Password Expired");
        assert_eq!(
            message(&refused(&change("secret-pass"))),
            "Password doesn't match policy New password should not match old password"
        );
        assert_eq!(message(&refused(&change("short"))), "Password doesn't match policy");
        let changed = refused(&change("longer")).account.unwrap();
        assert!(changed.password.is("longer"));
        assert_eq!(changed.token_version, 2);
        assert_eq!(changed.attributes["password_expiry_date"].as_str(), Some("1970-01-01T00:00:11Z"));
        let later = decide(&with("longer"), Some(&changed), &options, 11_001).unwrap();
        assert_eq!(message(&later), "Password Expired");
        let keep = login(r#"{"password":"secret-pass","newPassword":"longer","invalidateActiveSessions":false}"#);
        assert_eq!(refused(&keep).account.unwrap().token_version, 1);
    }

    #[test]
    fn strangers_and_the_server_itself() {
        let mut server = account();
        server.email = SERVER_EMAIL.to_owned();
        let body = Json::parse(r#"{"email":"server::modules","password":"secret-pass"}"#).unwrap();
        let outcome = decide(&Login::parse(&body).unwrap(), Some(&server), &BasicOptions::default(), 0).unwrap();
        assert_eq!(message(&outcome), "Invalid credentials");
        let outcome = decide(&with("x"), None, &BasicOptions::default(), 0).unwrap();
        assert_eq!((message(&outcome), &outcome.account), ("Invalid credentials", &None));
        assert_eq!(
            Login::parse(&Json::parse("{\"email\":1}").unwrap()).unwrap_err().message,
            "email.toLowerCase is not a function"
        );
        assert!(check_registration("a@b", "abcd").is_err() && check_registration("a@b.c", "abcd").is_ok());
    }

    #[test]
    fn audiences() {
        let collaborators = ["default".to_owned()];
        let chat = login(r#"{"password":"x","channel":"api","target":"u1"}"#);
        let identity_of = |login: &Login, strategies: &[String]| identity(login, &account(), strategies, true);
        assert_eq!(identity_of(&chat, &collaborators).audience, CHAT_USERS);
        assert!(!identity_of(&chat, &collaborators).is_super_admin);
        assert_eq!(identity_of(&with("x"), &collaborators).audience, COLLABORATORS);
        assert_eq!(identity_of(&with("x"), &[]).audience, CHAT_USERS);
    }
}
