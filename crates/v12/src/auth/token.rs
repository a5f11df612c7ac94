//! Tokens of collaborators: issued at login, presented in a header or a cookie
//! (`auth-config.md` § 2, 3 and 5).

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::jwt::{self, Demands, Key};
use crate::{
    answer::ApiError,
    json::{Json, quoted},
};

/// The identity of tokens that the server issues to itself; exempt from the version check.
pub const SERVER_EMAIL: &str = "server::modules";

/// Audience of those who work on bots.
pub const COLLABORATORS: &str = "collaborators";

/// Audience of those who talk to bots.
pub const CHAT_USERS: &str = "chat_users";

/// How tokens are made and presented: `appSecret` and `jwtToken` of the configuration.
#[derive(Clone)]
pub struct TokenSettings {
    /// `appSecret`, the key of all signatures.
    pub secret: String,
    /// `jwtToken.duration`.
    pub duration: Duration,
    /// `jwtToken.allowRefresh`.
    pub allow_refresh: bool,
    /// `jwtToken.useCookieStorage`: the cookie `jwtToken` and the header `CSRF-Token` instead of
    /// `Authorization`.
    pub cookie: bool,
}

impl std::fmt::Debug for TokenSettings {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenSettings")
            .field("duration", &self.duration)
            .field("allow_refresh", &self.allow_refresh)
            .field("cookie", &self.cookie)
            .finish_non_exhaustive()
    }
}

/// Who a token is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Lower case.
    pub email: String,
    /// The id of the strategy that knows this e-mail.
    pub strategy: String,
    /// The account's version; raised to make all earlier tokens invalid.
    pub token_version: i64,
    /// Whether the configuration's `superAdmins` names this account.
    pub is_super_admin: bool,
    /// [`COLLABORATORS`] or [`CHAT_USERS`].
    pub audience: &'static str,
}

/// A new token.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    /// The token.
    pub jwt: String,
    /// How long it lasts.
    pub lasts: Duration,
    /// In cookie mode: what the header `CSRF-Token` has to say.
    pub csrf: Option<String>,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").field("lasts", &self.lasts).finish_non_exhaustive()
    }
}

impl Issued {
    /// What the login answers as `payload`. In cookie mode the token itself isn't in it.
    pub fn payload(&self) -> String {
        let exp = self.lasts.as_millis();
        match &self.csrf {
            Some(csrf) => format!("{{\"csrf\":{},\"exp\":{exp}}}", quoted(csrf)),
            None => format!("{{\"jwt\":{},\"exp\":{exp}}}", quoted(&self.jwt)),
        }
    }

    /// The value of `Set-Cookie` in cookie mode.
    pub fn cookie(&self, options: &CookieOptions) -> String {
        let mut cookie = format!("jwtToken={}; Max-Age={}", self.jwt, self.lasts.as_secs());
        if let Some(domain) = &options.domain {
            cookie.push_str(&format!("; Domain={domain}"));
        }
        cookie.push_str(&format!("; Path={}; HttpOnly", options.path.as_deref().unwrap_or("/")));
        if options.secure {
            cookie.push_str("; Secure");
        }
        if let Some(same_site) = &options.same_site {
            cookie.push_str(&format!("; SameSite={same_site}"));
        }
        cookie
    }
}

/// `jwtToken.cookieOptions`. `HttpOnly` and `Max-Age` can't be changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CookieOptions {
    /// `Domain`
    pub domain: Option<String>,
    /// `Path`; default `/`.
    pub path: Option<String>,
    /// `Secure`
    pub secure: bool,
    /// `Strict`, `Lax` or `None`.
    pub same_site: Option<String>,
}

/// What a valid token says.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims {
    /// Who; lower case.
    pub email: String,
    /// Where that e-mail is known.
    pub strategy: String,
    /// The account's version when the token was issued.
    pub token_version: Option<f64>,
    /// As it was when the token was issued.
    pub is_super_admin: bool,
    csrf: Option<String>,
}

/// How a request presents a token.
#[derive(Clone, Copy, Debug, Default)]
pub struct Presented<'a> {
    /// The header `Authorization`.
    pub authorization: Option<&'a str>,
    /// The cookie `jwtToken`.
    pub cookie: Option<&'a str>,
    /// The header `CSRF-Token`.
    pub csrf: Option<&'a str>,
}

impl TokenSettings {
    /// Issues a token. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// Only if the operating system has no randomness (cookie mode).
    pub fn issue(&self, identity: &Identity, now: i64) -> Result<Issued, crate::Error> {
        self.issue_for(identity, self.duration, now)
    }

    /// A token of five minutes for the server itself, to be presented as `Authorization`.
    ///
    /// # Errors
    /// As [`TokenSettings::issue`].
    pub fn issue_to_self(&self, now: i64) -> Result<Issued, crate::Error> {
        let identity = Identity {
            email: SERVER_EMAIL.to_owned(),
            strategy: "default".to_owned(),
            token_version: 1,
            is_super_admin: true,
            audience: COLLABORATORS,
        };
        self.issue_for(&identity, Duration::from_secs(300), now)
    }

    fn issue_for(&self, identity: &Identity, lasts: Duration, now: i64) -> Result<Issued, crate::Error> {
        let csrf = if self.cookie { Some(uuid()?) } else { None };
        let csrf_claim = csrf.as_ref().map(|csrf| format!("\"csrfToken\":{},", quoted(csrf))).unwrap_or_default();
        let until = now.saturating_add(i64::try_from(lasts.as_secs()).unwrap_or(i64::MAX));
        let claims = format!(
            "{{\"email\":{},\"strategy\":{},\"tokenVersion\":{},{csrf_claim}\"isSuperAdmin\":{},\"iat\":{now},\
             \"exp\":{until},\"aud\":{}}}",
            quoted(&identity.email),
            quoted(&identity.strategy),
            identity.token_version,
            identity.is_super_admin,
            quoted(identity.audience),
        );
        Ok(Issued { jwt: jwt::sign(&claims, self.secret.as_bytes()), lasts, csrf })
    }

    /// Checks what a request presents on a collaborators' route. Whether the token is still current
    /// is the caller's next question: [`Claims::check_version`].
    ///
    /// # Errors
    /// 401, `converse-api.md` § 6.2.
    pub fn authenticate(&self, presented: Presented<'_>, now: i64) -> Result<Claims, ApiError> {
        self.authenticate_as(COLLABORATORS, presented, now)
    }

    /// The same on a route for this audience.
    ///
    /// # Errors
    /// As [`TokenSettings::authenticate`].
    pub fn authenticate_as(&self, audience: &str, presented: Presented<'_>, now: i64) -> Result<Claims, ApiError> {
        if self.cookie {
            let Some(cookie) = presented.cookie.filter(|cookie| !cookie.is_empty()) else {
                return Err(ApiError::unauthorized("jwtToken cookie is missing"));
            };
            let claims = self.verify(cookie, audience, now)?;
            let proven = presented.csrf.is_some_and(|csrf| Some(csrf) == claims.csrf.as_deref());
            return if proven { Ok(claims) } else { Err(invalid()) };
        }
        self.verify(bearer(presented.authorization)?, audience, now)
    }

    /// Checks a token.
    ///
    /// # Errors
    /// 401 `Invalid authentication token`, whatever is wrong with it.
    pub fn verify(&self, token: &str, audience: &str, now: i64) -> Result<Claims, ApiError> {
        let demands = Demands {
            algorithms: ["HS256", "HS384", "HS512"].map(str::to_owned).to_vec(),
            audience: vec![audience.to_owned()],
            issuer: Vec::new(),
        };
        let key = Key::Secret(self.secret.as_bytes().to_vec());
        let claims = jwt::verify(token, &key, &demands, now).map_err(|_| invalid())?;
        let text = |name: &str| claims.get(name).and_then(Json::as_str).map(str::to_owned);
        Ok(Claims {
            email: text("email").ok_or_else(invalid)?,
            strategy: text("strategy").ok_or_else(invalid)?,
            token_version: if let Some(Json::Number(version)) = claims.get("tokenVersion") {
                Some(*version)
            } else {
                None
            },
            is_super_admin: claims.get("isSuperAdmin").is_some_and(Json::is_truthy),
            csrf: text("csrfToken"),
        })
    }

    /// What the refresh route answers: a new token, or where that isn't allowed the old one.
    ///
    /// # Errors
    /// As [`TokenSettings::issue`].
    pub fn refresh(
        &self,
        old: &str,
        identity: &Identity,
        now: i64,
    ) -> Result<(crate::Answer, Option<Issued>), crate::Error> {
        if !self.allow_refresh {
            let payload = format!("{{\"newToken\":{}}}", quoted(old));
            return Ok((crate::Answer::success("Token not refreshed, sending back original", &payload), None));
        }
        let issued = self.issue(identity, now)?;
        let payload = format!("{{\"newToken\":{}}}", issued.payload());
        Ok((crate::Answer::success("Token refreshed successfully", &payload), Some(issued)))
    }

    /// Whether a signature of the route `chatAuth` proves that a chat user owns a session.
    pub fn is_chat_signature(&self, bot: &str, session: &str, signature: &str) -> bool {
        let signed = format!("{{\"botId\":{},\"sessionId\":{}}}", quoted(bot), quoted(session));
        // HMAC takes keys of any length.
        let Ok(mac) = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()) else { return false };
        let expected = mac.chain_update(signed.as_bytes()).finalize().into_bytes();
        let expected: String = expected.iter().map(|byte| format!("{byte:02x}")).collect();
        // Compared without an early end.
        expected.len() == signature.len()
            && expected.bytes().zip(signature.bytes()).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    }
}

impl Claims {
    /// Checks the version against the account's; `None` is an account that doesn't exist.
    ///
    /// # Errors
    /// 401 `Invalid authentication token`.
    pub fn check_version(&self, stored: Option<i64>) -> Result<(), ApiError> {
        let is_current = stored.is_some_and(|stored| self.token_version == Some(stored as f64));
        if self.email == SERVER_EMAIL || is_current { Ok(()) } else { Err(invalid()) }
    }
}

fn invalid() -> ApiError {
    ApiError::unauthorized("Invalid authentication token")
}

/// The token in an `Authorization` header.
///
/// # Errors
/// 401: missing or empty header, another scheme, no token.
pub fn bearer(authorization: Option<&str>) -> Result<&str, ApiError> {
    let Some(header) = authorization.filter(|header| !header.is_empty()) else {
        return Err(ApiError::unauthorized("Authorization header is missing"));
    };
    let mut words = header.split(' ');
    let scheme = words.next().unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(ApiError::unauthorized(&format!("Unknown scheme \"{scheme}\"")));
    }
    match words.next().filter(|token| !token.is_empty()) {
        Some(token) => Ok(token),
        None => Err(ApiError::unauthorized("Authentication token is missing")),
    }
}

/// A random UUID.
fn uuid() -> Result<String, crate::Error> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|failed| crate::Error::Hash(failed.to_string()))?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(cookie: bool) -> TokenSettings {
        TokenSettings { secret: "app".to_owned(), duration: Duration::from_secs(3600), allow_refresh: true, cookie }
    }

    fn ada() -> Identity {
        Identity {
            email: "ada@example.com".to_owned(),
            strategy: "default".to_owned(),
            token_version: 3,
            is_super_admin: false,
            audience: COLLABORATORS,
        }
    }

    #[test]
    fn versions_end_tokens() {
        let token = settings(false).issue(&ada(), 1000).unwrap();
        let header = format!("BEARER {}", token.jwt);
        let presented = Presented { authorization: Some(&header), ..Presented::default() };
        let claims = settings(false).authenticate(presented, 4599).unwrap();
        assert!(claims.check_version(Some(3)).is_ok());
        assert!(claims.check_version(Some(4)).is_err() && claims.check_version(None).is_err());
        assert!(settings(false).authenticate(presented, 4600).is_err());
        let own = settings(false).issue_to_self(0).unwrap();
        assert!(settings(false).verify(&own.jwt, COLLABORATORS, 299).unwrap().check_version(None).is_ok());
    }

    #[test]
    fn cookies_need_the_csrf_token() {
        let settings = settings(true);
        let token = settings.issue(&ada(), 0).unwrap();
        let csrf = token.csrf.clone().unwrap();
        assert_eq!(token.payload(), format!("{{\"csrf\":\"{csrf}\",\"exp\":3600000}}"));
        assert_eq!(csrf.len(), 36);
        let presented = |cookie, csrf| Presented { authorization: Some("Bearer x"), cookie, csrf };
        let error = |cookie, csrf| settings.authenticate(presented(cookie, csrf), 1).unwrap_err().message;
        assert!(settings.authenticate(presented(Some(&token.jwt), Some(&csrf)), 1).is_ok());
        assert_eq!(error(Some(&token.jwt), None), "Unauthorized: Invalid authentication token");
        assert_eq!(error(Some(&token.jwt), Some("x")), "Unauthorized: Invalid authentication token");
        assert_eq!(error(None, Some(&csrf)), "Unauthorized: jwtToken cookie is missing");
        let options = CookieOptions { secure: true, same_site: Some("Lax".to_owned()), ..CookieOptions::default() };
        let cookie = format!("jwtToken={}; Max-Age=3600; Path=/; HttpOnly; Secure; SameSite=Lax", token.jwt);
        assert_eq!(token.cookie(&options), cookie);
    }

    #[test]
    fn refresh_may_be_off() {
        let closed = TokenSettings { allow_refresh: false, ..settings(false) };
        let (answer, issued) = closed.refresh("a.b.c", &ada(), 0).unwrap();
        assert!(issued.is_none());
        assert_eq!(
            answer.body,
            "{\"status\":\"success\",\"message\":\"Token not refreshed, sending back original\",\
             \"payload\":{\"newToken\":\"a.b.c\"}}"
        );
    }

    #[test]
    fn chat_signatures() {
        let mac =
            Hmac::<Sha256>::new_from_slice(b"app").unwrap().chain_update(b"{\"botId\":\"b\",\"sessionId\":\"s\"}");
        let good: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(settings(false).is_chat_signature("b", "s", &good));
        assert!(
            !settings(false).is_chat_signature("b", "t", &good) && !settings(false).is_chat_signature("b", "s", "")
        );
    }
}
