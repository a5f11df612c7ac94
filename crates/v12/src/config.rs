//! `botpress.config.json`: the server's configuration (`auth-config.md` § 8).
//!
//! Read leniently: what can't be understood keeps its default and is reported; what isn't known is
//! ignored.

use std::time::Duration;

use indexmap::IndexMap;

use crate::{
    auth::{
        external::{ExternalAuth, Jwks},
        jwt::Demands,
        login::BasicOptions,
        password::Policy,
        token::{CookieOptions, TokenSettings},
    },
    json::{Json, Object},
    restrict::Restrictions,
    units,
};

/// The configuration, with defaults where it says nothing.
#[derive(Clone, Debug)]
pub struct GlobalConfig {
    /// The version that wrote the file; empty if it doesn't say.
    pub version: String,
    /// Where and how the server listens.
    pub http: Http,
    /// The block `converse`.
    pub converse: Converse,
    /// The block `dialog`.
    pub dialog: Dialog,
    /// `appSecret` and `jwtToken`. The secret is empty if the file has none: make one.
    pub tokens: TokenSettings,
    /// `jwtToken.cookieOptions`.
    pub cookies: CookieOptions,
    /// E-mail (as written) and strategy of super admins.
    pub super_admins: Vec<(String, String)>,
    /// By id, in the order of the file.
    pub strategies: IndexMap<String, Strategy>,
    /// `pro.collaboratorsAuthStrategies`.
    pub collaborators: Vec<String>,
    /// `pro.externalAuth`; its key may have to be read from `end_users_auth.pub`.
    pub external: ExternalAuth,
    /// `dataRetention.policies`: paths of user attributes, and how long they are kept.
    pub retention: Vec<(String, Duration)>,
    /// `dataRetention.janitorInterval`.
    pub retention_interval: Duration,
    /// `noRepeatPolicy`.
    pub no_repeat: bool,
    /// The names of enabled modules.
    pub modules: Vec<String>,
}

/// The block `httpServer`.
#[derive(Clone, Debug, PartialEq)]
pub struct Http {
    /// `host`
    pub host: String,
    /// `port`
    pub port: u16,
    /// `externalUrl`, or what follows from host and port; without a slash at its end.
    pub external_url: String,
    /// `bodyLimit` in bytes.
    pub body_limit: u64,
    /// `cors`; `None` if it is disabled.
    pub cors: Option<Cors>,
    /// `rateLimit`; `None` if it is disabled.
    pub rate_limit: Option<RateLimit>,
    /// Headers of every answer.
    pub headers: Vec<(String, String)>,
    /// How long an idle connection is kept.
    pub keep_alive: Duration,
}

/// `httpServer.cors`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Which origins are allowed.
    pub origins: Origins,
    /// Whether browsers may send credentials.
    pub credentials: bool,
}

/// Origins that may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// All, answered with `*`.
    Any,
    /// All, answered with the origin itself.
    Mirrored,
    /// This one, answered whatever the origin is.
    Fixed(String),
    /// These.
    List(Vec<String>),
}

/// `httpServer.rateLimit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// `limitWindow`
    pub window: Duration,
    /// Requests of one address in a window.
    pub limit: u64,
}

/// The block `converse`, of the server or of a bot; `None` where it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Converse {
    /// How long a turn may take.
    pub timeout: Option<Duration>,
    /// The longest text, in UTF-16 units.
    pub max_message_length: Option<u64>,
    /// How long to wait for late messages.
    pub buffer_delay: Option<Duration>,
    /// Whether the public route is open.
    pub enable_unsecured_endpoint: Option<bool>,
    /// Who may call, and how often; not in the original.
    pub restrictions: Restrictions,
}

/// The block `dialog`, of the server or of a bot; `None` where it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dialog {
    /// How often the original looks for what expired.
    pub janitor_interval: Option<Duration>,
    /// After how long a context ends.
    pub timeout: Option<Duration>,
    /// After how long a session ends.
    pub session_timeout: Option<Duration>,
}

/// An entry of `authStrategies`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strategy {
    /// `basic`, `saml`, `ldap` or `oauth2`.
    pub kind: String,
    /// For humans.
    pub label: Option<String>,
    /// Whether strangers may register.
    pub allow_self_signup: bool,
    /// Whether login pages leave it out.
    pub hidden: bool,
    /// Of strategies of kind `basic`.
    pub basic: BasicOptions,
}

/// Looks up a variable of the environment.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Leaves that variables may set although the file doesn't name them.
const KNOWN_LEAVES: &[&str] = &[
    "appSecret",
    "httpServer.host",
    "httpServer.port",
    "httpServer.externalUrl",
    "httpServer.bodyLimit",
    "httpServer.cors.enabled",
    "httpServer.cors.origin",
    "httpServer.cors.credentials",
    "httpServer.rateLimit.enabled",
    "httpServer.rateLimit.limitWindow",
    "httpServer.rateLimit.limit",
    "converse.timeout",
    "converse.maxMessageLength",
    "converse.bufferDelayMs",
    "converse.enableUnsecuredEndpoint",
    "converse.enabled",
    "converse.apiKeys",
    "converse.allowedOrigins",
    "converse.throttle.perBot.limit",
    "converse.throttle.perBot.window",
    "converse.throttle.perUser.limit",
    "converse.throttle.perUser.window",
    "converse.throttle.perAddress.limit",
    "converse.throttle.perAddress.window",
    "converse.parallelRequests",
    "dialog.janitorInterval",
    "dialog.timeoutInterval",
    "dialog.sessionTimeoutInterval",
    "jwtToken.duration",
    "jwtToken.allowRefresh",
    "jwtToken.useCookieStorage",
    "superAdmins",
    "pro.collaboratorsAuthStrategies",
    "pro.externalAuth.enabled",
    "pro.externalAuth.algorithms",
    "pro.externalAuth.publicKey",
    "pro.externalAuth.audience",
    "pro.externalAuth.issuer",
    "noRepeatPolicy",
];

impl GlobalConfig {
    /// Reads the file; `None` gives the defaults. Variables `BP_CONFIG_…` and `EXTERNAL_URL` win
    /// over it, `%NAME%` in it is replaced. What can't be understood is added to `problems`.
    pub fn read(content: Option<&[u8]>, env: Env<'_>, problems: &mut Vec<String>) -> GlobalConfig {
        let mut root = match content.map(|content| parse_json(substitute(content, env).as_bytes())) {
            Some(Ok(json @ Json::Object(_))) => json,
            Some(Ok(_)) => {
                problems.push("it isn't an object".to_owned());
                Json::Object(Object::new())
            }
            Some(Err(reason)) => {
                problems.push(reason);
                Json::Object(Object::new())
            }
            None => Json::Object(Object::new()),
        };
        override_leaves(&mut root, env);
        let mut block = Block { value: Some(&root), path: String::new(), problems };
        GlobalConfig {
            version: block.text("version").unwrap_or_default(),
            http: http(&mut block.block("httpServer"), env),
            converse: Converse::read(&mut block.block("converse")),
            dialog: Dialog::read(&mut block.block("dialog")),
            tokens: tokens(&mut block),
            cookies: cookies(&mut block.block("jwtToken").block("cookieOptions")),
            super_admins: super_admins(&block),
            strategies: strategies(&mut block),
            collaborators: block.block("pro").texts("collaboratorsAuthStrategies").unwrap_or_else(default_only),
            external: external(&mut block.block("pro").block("externalAuth")),
            retention: retention(&mut block.block("dataRetention").block("policies")),
            retention_interval: block.block("dataRetention").duration("janitorInterval").unwrap_or(minutes(10)),
            no_repeat: block.bool("noRepeatPolicy").unwrap_or(false),
            modules: modules(&block),
        }
    }

    /// Whether an account is a super admin.
    pub fn is_super_admin(&self, email: &str, strategy: &str) -> bool {
        let email = email.to_lowercase();
        self.super_admins.iter().any(|(admin, of)| of == strategy && admin.to_lowercase() == email)
    }

    /// The payload of the route `auth/config`: JSON text. `is_first_user` while there is no account.
    pub fn auth_payload(&self, is_first_user: bool) -> String {
        use crate::json::quoted;
        let listed = self.strategies.iter().filter(|(id, _)| self.collaborators.contains(id)).map(|(id, strategy)| {
            let (kind, id) = (&strategy.kind, id.as_str());
            let mut entry = format!("{{\"strategyType\":{},\"strategyId\":{}", quoted(kind), quoted(id));
            if let Some(label) = &strategy.label {
                entry.push_str(&format!(",\"label\":{}", quoted(label)));
            }
            if strategy.hidden {
                entry.push_str(",\"hidden\":true");
            }
            let (login, register) = (format!("/login/{kind}/{id}"), format!("/register/{kind}/{id}"));
            entry.push_str(&format!(",\"loginUrl\":{},\"registerUrl\":{}}}", quoted(&login), quoted(&register)));
            entry
        });
        let listed: Vec<String> = listed.collect();
        format!("{{\"strategies\":[{}],\"isFirstUser\":{is_first_user}}}", listed.join(","))
    }
}

/// The settings of a module: `config/<module>.json` of the global folder, then
/// `BP_MODULE_<MODULE>_<OPTION>` for the named options, then the bot's file; later members win as a
/// whole. Files that can't be read count as empty.
pub fn module_settings(
    module: &str,
    options: &[&str],
    global: Option<&[u8]>,
    bot: Option<&[u8]>,
    env: Env<'_>,
) -> Object {
    let members = |content: Option<&[u8]>| match content.map(parse_json) {
        Some(Ok(Json::Object(members))) => members,
        _ => Object::new(),
    };
    let mut merged = members(global);
    for option in options {
        let name = format!("BP_MODULE_{module}_{option}").to_uppercase().replace('-', "_");
        if let Some(value) = env(&name) {
            merged.insert((*option).to_owned(), Json::parse(&value).unwrap_or(Json::String(value)));
        }
    }
    merged.extend(members(bot));
    merged
}

impl Converse {
    pub(crate) fn read(block: &mut Block<'_, '_>) -> Self {
        Converse {
            timeout: block.duration("timeout"),
            max_message_length: block.whole("maxMessageLength"),
            buffer_delay: block.duration("bufferDelayMs"),
            enable_unsecured_endpoint: block.bool("enableUnsecuredEndpoint"),
            restrictions: Restrictions::read(block),
        }
    }
}

impl Dialog {
    pub(crate) fn read(block: &mut Block<'_, '_>) -> Self {
        Dialog {
            janitor_interval: block.duration("janitorInterval"),
            timeout: block.duration("timeoutInterval"),
            session_timeout: block.duration("sessionTimeoutInterval"),
        }
    }
}

/// Parses a file; errors name line and column.
pub(crate) fn parse_json(content: &[u8]) -> Result<Json, String> {
    let text = std::str::from_utf8(content).map_err(|_| "it isn't UTF-8".to_owned())?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    Json::parse(text).map_err(|error| match serde_json::from_str::<serde_json::Value>(text) {
        Err(located) => located.to_string(),
        Ok(_) => error.0,
    })
}

/// Replaces the placeholders in the file's text: the production flags, and `%NAME%` by variables
/// that are set.
fn substitute(content: &[u8], env: Env<'_>) -> String {
    let production = env("BP_PRODUCTION").is_some_and(|value| value == "true" || value == "1");
    let text = String::from_utf8_lossy(content)
        .replacen("\"$isProduction\"", if production { "true" } else { "false" }, 1)
        .replacen("\"$isDevelopment\"", if production { "false" } else { "true" }, 1);
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(start) = rest.find('%') {
        let after = &rest[start + 1..];
        let end = after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(after.len());
        let value = if end > 0 && after[end..].starts_with('%') { env(&after[..end]) } else { None };
        match value {
            Some(value) => {
                out.push_str(&rest[..start]);
                out.push_str(&value);
                rest = &after[end + 1..];
            }
            None => {
                out.push_str(&rest[..=start]);
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// Applies `BP_CONFIG_…` to the leaves of the file, and to those known.
fn override_leaves(root: &mut Json, env: Env<'_>) {
    let mut paths: Vec<String> = KNOWN_LEAVES.iter().map(|path| (*path).to_owned()).collect();
    collect_leaves(root, "", &mut paths);
    for path in paths {
        let name = format!("BP_CONFIG_{}", path.to_uppercase().replace('.', "_"));
        if let Some(value) = env(&name) {
            let value = Json::parse(&value).unwrap_or(Json::String(value));
            set(root, &path, value);
        }
    }
}

fn collect_leaves(value: &Json, prefix: &str, paths: &mut Vec<String>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Json::Object(members) if !members.is_empty() => collect_leaves(value, &path, paths),
            _ => paths.push(path),
        }
    }
}

fn set(value: &mut Json, path: &str, new: Json) {
    let Json::Object(members) = value else { return };
    match path.split_once('.') {
        None => {
            members.insert(path.to_owned(), new);
        }
        Some((name, rest)) => {
            let inner = members.entry(name.to_owned()).or_insert(Json::Null);
            if inner.as_object().is_none() {
                *inner = Json::Object(Object::new());
            }
            set(inner, rest, new);
        }
    }
}

/// A block of a configuration; reads members and notes what can't be understood.
pub(crate) struct Block<'a, 'p> {
    pub value: Option<&'a Json>,
    pub path: String,
    pub problems: &'p mut Vec<String>,
}

impl<'a> Block<'a, '_> {
    pub fn block(&mut self, name: &str) -> Block<'a, '_> {
        Block { value: self.get(name), path: format!("{}{name}.", self.path), problems: self.problems }
    }

    pub fn get(&self, name: &str) -> Option<&'a Json> {
        self.value?.get(name).filter(|value| **value != Json::Null)
    }

    fn read<T>(&mut self, name: &str, wanted: &str, read: impl Fn(&Json) -> Option<T>) -> Option<T> {
        let value = self.get(name)?;
        let read = read(value);
        if read.is_none() {
            self.problems.push(format!("{}{name} isn't {wanted}", self.path));
        }
        read
    }

    pub fn text(&mut self, name: &str) -> Option<String> {
        self.read(name, "a text", |value| value.as_str().map(str::to_owned))
    }

    pub fn bool(&mut self, name: &str) -> Option<bool> {
        self.read(name, "true or false", |value| if let Json::Bool(value) = value { Some(*value) } else { None })
    }

    pub fn duration(&mut self, name: &str) -> Option<Duration> {
        self.read(name, "an interval", units::duration_of)
    }

    pub fn size(&mut self, name: &str) -> Option<u64> {
        self.read(name, "a size", units::size_of)
    }

    pub fn whole(&mut self, name: &str) -> Option<u64> {
        self.read(name, "a whole number", |value| match value {
            Json::Number(number) if (0.0..9e15).contains(number) => Some(*number as u64),
            _ => None,
        })
    }

    /// A text, or an array of texts.
    pub fn texts(&mut self, name: &str) -> Option<Vec<String>> {
        self.read(name, "a list of texts", |value| match value {
            Json::String(text) => Some(vec![text.clone()]),
            Json::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
            _ => None,
        })
    }
}

fn http(block: &mut Block<'_, '_>, env: Env<'_>) -> Http {
    let host = block.text("host").unwrap_or_else(|| "localhost".to_owned());
    let port = block.whole("port").and_then(|port| u16::try_from(port).ok()).unwrap_or(3000);
    let external = env("EXTERNAL_URL").or_else(|| block.text("externalUrl")).filter(|url| !url.is_empty());
    let external_url = external.unwrap_or_else(|| format!("http://{host}:{port}"));
    Http {
        external_url: external_url.trim_end_matches('/').to_owned(),
        body_limit: block.size("bodyLimit").unwrap_or(10 << 20),
        cors: cors(&mut block.block("cors")),
        rate_limit: rate_limit(&mut block.block("rateLimit")),
        headers: headers(block.get("headers")),
        keep_alive: block.duration("keepAliveTimeout").unwrap_or(Duration::from_secs(5)),
        host,
        port,
    }
}

impl Http {
    /// The path below which everything is served: empty, or with a slash at its start only.
    pub fn base_path(&self) -> &str {
        let rest = self.external_url.split_once("://").map_or("", |(_, rest)| rest);
        rest.find('/').map_or("", |slash| &rest[slash..])
    }
}

fn headers(value: Option<&Json>) -> Vec<(String, String)> {
    let default = || vec![("X-Powered-By".to_owned(), "Botpress".to_owned())];
    let Some(Json::Object(headers)) = value else { return default() };
    headers.iter().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

fn cors(block: &mut Block<'_, '_>) -> Option<Cors> {
    if block.bool("enabled") == Some(false) {
        return None;
    }
    let origins = match block.get("origin") {
        None => Origins::Any,
        Some(Json::Bool(true)) => Origins::Mirrored,
        Some(Json::Bool(false)) => return None,
        Some(Json::String(origin)) if origin == "*" => Origins::Any,
        Some(Json::String(origin)) => Origins::Fixed(origin.clone()),
        Some(_) => Origins::List(block.texts("origin").unwrap_or_default()),
    };
    Some(Cors { origins, credentials: block.bool("credentials").unwrap_or(false) })
}

fn rate_limit(block: &mut Block<'_, '_>) -> Option<RateLimit> {
    let limit = RateLimit {
        window: block.duration("limitWindow").unwrap_or(Duration::from_secs(30)),
        limit: block.whole("limit").unwrap_or(600),
    };
    block.bool("enabled").unwrap_or(false).then_some(limit)
}

fn tokens(block: &mut Block<'_, '_>) -> TokenSettings {
    let secret = block.text("appSecret").unwrap_or_default();
    let mut block = block.block("jwtToken");
    let duration = match block.get("duration").and_then(Json::as_str) {
        Some("") => Some(minutes(120)),
        _ => block.duration("duration"),
    };
    TokenSettings {
        secret,
        duration: duration.unwrap_or(minutes(60)),
        allow_refresh: block.bool("allowRefresh").unwrap_or(true),
        cookie: block.bool("useCookieStorage").unwrap_or(false),
    }
}

fn cookies(block: &mut Block<'_, '_>) -> CookieOptions {
    let same_site = match block.get("sameSite") {
        Some(Json::Bool(true)) => Some("Strict".to_owned()),
        Some(Json::Bool(false)) => None,
        _ => block.text("sameSite"),
    };
    CookieOptions {
        domain: block.text("domain"),
        path: block.text("path"),
        secure: block.bool("secure").unwrap_or(false),
        same_site: same_site.and_then(|text| {
            ["Strict", "Lax", "None"]
                .iter()
                .find(|known| known.eq_ignore_ascii_case(&text))
                .map(|known| (*known).to_owned())
        }),
    }
}

fn super_admins(block: &Block<'_, '_>) -> Vec<(String, String)> {
    let Some(Json::Array(admins)) = block.get("superAdmins") else { return Vec::new() };
    let text = |admin: &Json, name: &str| admin.get(name).and_then(Json::as_str).map(str::to_owned);
    admins.iter().filter_map(|admin| Some((text(admin, "email")?, text(admin, "strategy")?))).collect()
}

fn strategies(block: &mut Block<'_, '_>) -> IndexMap<String, Strategy> {
    let mut block = block.block("authStrategies");
    let Some(members) = block.value.and_then(Json::as_object) else {
        let default = Strategy { kind: "basic".to_owned(), ..Strategy::default() };
        return IndexMap::from([("default".to_owned(), default)]);
    };
    let ids: Vec<String> = members.keys().cloned().collect();
    ids.into_iter().map(|id| (id.clone(), strategy(&mut block.block(&id)))).collect()
}

fn strategy(block: &mut Block<'_, '_>) -> Strategy {
    Strategy {
        kind: block.text("type").unwrap_or_else(|| "basic".to_owned()),
        label: block.text("label"),
        allow_self_signup: block.bool("allowSelfSignup").unwrap_or(false),
        hidden: block.bool("hidden").unwrap_or(false),
        basic: basic_options(&mut block.block("options")),
    }
}

fn basic_options(block: &mut Block<'_, '_>) -> BasicOptions {
    BasicOptions {
        max_login_attempt: block.whole("maxLoginAttempt").unwrap_or(0),
        lockout_duration: block.duration("lockoutDuration"),
        policy: Policy {
            min_length: block.whole("passwordMinLength").and_then(|length| usize::try_from(length).ok()).unwrap_or(0),
            complex: block.bool("requireComplexPassword").unwrap_or(false),
        },
        password_expiry: block.duration("passwordExpiryDelay"),
    }
}

fn external(block: &mut Block<'_, '_>) -> ExternalAuth {
    let jwks = jwks(&mut block.block("jwksClient"));
    ExternalAuth {
        enabled: block.bool("enabled").unwrap_or(false),
        demands: Demands {
            algorithms: block.texts("algorithms").unwrap_or_else(|| vec!["HS256".to_owned()]),
            audience: block.texts("audience").unwrap_or_default(),
            issuer: block.texts("issuer").unwrap_or_default(),
        },
        // The original looks for the file if what is configured can't be a key.
        public_key: block.text("publicKey").filter(|key| key.len() >= 128),
        jwks,
    }
}

fn jwks(block: &mut Block<'_, '_>) -> Option<Jwks> {
    let uri = block.text("jwksUri").filter(|uri| !uri.is_empty())?;
    Some(Jwks { uri, key_id: block.text("keyId").filter(|id| !id.is_empty()) })
}

fn retention(block: &mut Block<'_, '_>) -> Vec<(String, Duration)> {
    let paths: Vec<String> =
        block.value.and_then(Json::as_object).into_iter().flatten().map(|(path, _)| path.clone()).collect();
    paths.into_iter().filter_map(|path| Some((path.clone(), block.duration(&path)?))).collect()
}

fn modules(block: &Block<'_, '_>) -> Vec<String> {
    let Some(Json::Array(modules)) = block.get("modules") else { return Vec::new() };
    let enabled = modules.iter().filter(|module| module.get("enabled").is_some_and(Json::is_truthy));
    enabled.filter_map(|module| module.get("location")?.as_str()?.rsplit('/').next().map(str::to_owned)).collect()
}

fn default_only() -> Vec<String> {
    vec!["default".to_owned()]
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &str, env: &[(&str, &str)]) -> (GlobalConfig, Vec<String>) {
        let mut problems = Vec::new();
        let env = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        (GlobalConfig::read(Some(content.as_bytes()), &env, &mut problems), problems)
    }

    #[test]
    fn nothing_gives_the_defaults() {
        let (config, problems) = read("\u{feff}{}", &[]);
        assert!(problems.is_empty());
        assert_eq!(config.http.external_url, "http://localhost:3000");
        assert_eq!(config.http.cors, Some(Cors { origins: Origins::Any, credentials: false }));
        assert_eq!((config.http.rate_limit, config.http.body_limit), (None, 10 << 20));
        assert_eq!(config.tokens.duration, minutes(60));
        assert_eq!(config.strategies["default"].kind, "basic");
        assert_eq!(config.collaborators, ["default"]);
        assert!(!config.external.enabled);
    }

    #[test]
    fn variables_win() {
        let text = r#"{"httpServer":{"port":3000,"externalUrl":"https://%HOST%/bp/"},"pro":{"enabled":"$isProduction"},
                       "a":"100%","custom":{"deep":{"x":1}}}"#;
        let (config, problems) = read(
            text,
            &[
                ("HOST", "h.example"),
                ("BP_CONFIG_HTTPSERVER_PORT", "4000"),
                ("BP_CONFIG_CONVERSE_TIMEOUT", "7s"),
                ("BP_CONFIG_SUPERADMINS", r#"[{"email":"Ada@x","strategy":"default"}]"#),
            ],
        );
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!((config.http.port, config.http.external_url.as_str()), (4000, "https://h.example/bp"));
        assert_eq!(config.http.base_path(), "/bp");
        assert_eq!(config.converse.timeout, Some(Duration::from_secs(7)));
        assert!(config.is_super_admin("ADA@X", "default") && !config.is_super_admin("ada@x", "other"));
        let (config, _) = read(text, &[("EXTERNAL_URL", "https://e.example")]);
        assert_eq!((config.http.external_url.as_str(), config.http.base_path()), ("https://e.example", ""));
    }

    #[test]
    fn what_cannot_be_understood_is_reported() {
        let (config, problems) =
            read(r#"{"converse":{"timeout":"soon","maxMessageLength":9},"jwtToken":{"duration":""}}"#, &[]);
        assert_eq!(problems, ["converse.timeout isn't an interval"]);
        assert_eq!((config.converse.timeout, config.converse.max_message_length), (None, Some(9)));
        assert_eq!(config.tokens.duration, minutes(120));
        let (_, problems) = read("{\n \"a\": nope}", &[]);
        assert!(problems[0].contains("line 2"), "{problems:?}");
    }

    #[test]
    fn modules_are_set_in_three_places() {
        let env = |name: &str| (name == "BP_MODULE_BASIC_SKILLS_MATCHNLU").then(|| "false".to_owned());
        let merged = module_settings(
            "basic-skills",
            &["matchNLU", "matchNumbers"],
            Some(br#"{"matchNLU":true,"matchNumbers":true,"a":1}"#),
            Some(br#"{"matchNumbers":false}"#),
            &env,
        );
        assert_eq!(Json::Object(merged).to_string(), r#"{"matchNLU":false,"matchNumbers":false,"a":1}"#);
    }

    #[test]
    fn origins() {
        let cors = |text: &str| read(&format!("{{\"httpServer\":{{\"cors\":{text}}}}}"), &[]).0.http.cors;
        assert_eq!(cors(r#"{"enabled":false}"#), None);
        assert_eq!(cors(r#"{"enabled":true,"origin":false}"#), None);
        assert_eq!(cors(r#"{"origin":true}"#).unwrap().origins, Origins::Mirrored);
        assert_eq!(cors(r#"{"origin":"https://a"}"#).unwrap().origins, Origins::Fixed("https://a".to_owned()));
        let list = cors(r#"{"origin":["https://a","https://b"],"credentials":true}"#).unwrap();
        assert_eq!(list.origins, Origins::List(vec!["https://a".to_owned(), "https://b".to_owned()]));
        assert!(list.credentials);
    }
}
