//! The client itself and how it is built: where the server is, who is calling, how patient to be.

use std::{fmt, sync::Arc, time::Duration};

use duologue_model::id::kind;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use hyper_util::client::proxy::matcher::Matcher;

use crate::{
    Error, RetryPolicy,
    body::AsId,
    transport::{Transport, Way},
};

const BOT_ID: HeaderName = HeaderName::from_static("x-bot-id");
const INTEGRATION_ID: HeaderName = HeaderName::from_static("x-integration-id");
const INTEGRATION_ALIAS: HeaderName = HeaderName::from_static("x-integration-alias");
const WORKSPACE_ID: HeaderName = HeaderName::from_static("x-workspace-id");
const MULTIPLE_INTEGRATIONS: HeaderName = HeaderName::from_static("x-multiple-integrations");

/// A client of one server. Clones are cheap and share connections and the rate limit.
///
/// ```no_run
/// # async fn example() -> Result<(), duologue_client::Error> {
/// let client = duologue_client::Client::builder()
///     .api_url("https://chat.example.com")
///     .token("bp_pat_…")
///     .bot_id("bot_01J00000000000000000000000")
///     .build()?;
/// let conversation = client.get_conversation("conv_01J00000000000000000000000").await?;
/// println!("{} messages", conversation.message_count);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Client {
    transport: Arc<Transport>,
    /// The API's URL without a slash at its end.
    base: Arc<str>,
    /// Sent with every request: credential and identity.
    headers: Arc<HeaderMap>,
    idempotency: bool,
    /// For the next POST.
    key: Option<HeaderValue>,
}

impl fmt::Debug for Client {
    /// Never shows the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("api_url", &self.base).field("headers", &self.headers).finish_non_exhaustive()
    }
}

/// Collects the settings of a [`Client`].
#[derive(Clone)]
#[must_use]
pub struct Builder {
    api_url: Option<String>,
    token: Option<String>,
    identity: Vec<(HeaderName, String)>,
    user_agent: String,
    timeout: Duration,
    policy: RetryPolicy,
    idempotency: bool,
    proxies: Proxies,
    certificates: Vec<Vec<u8>>,
}

#[derive(Clone)]
enum Proxies {
    None,
    Environment,
    One(String),
}

impl fmt::Debug for Builder {
    /// Never shows the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("api_url", &self.api_url)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Starts with no settings but the defaults: 60 s timeout, [`RetryPolicy::default`], proxies of
    /// the environment.
    pub fn builder() -> Builder {
        Builder {
            api_url: None,
            token: None,
            identity: vec![],
            user_agent: concat!("duologue-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            timeout: Duration::from_secs(60),
            policy: RetryPolicy::default(),
            idempotency: false,
            proxies: Proxies::Environment,
            certificates: vec![],
        }
    }

    /// A client as the environment describes it: [`Builder::env`], then [`Builder::build`].
    pub fn from_env() -> Result<Self, Error> {
        Self::builder().env().build()
    }

    /// The same client, speaking about another bot.
    pub fn with_bot(&self, id: impl AsId<kind::Bot>) -> Result<Self, Error> {
        self.with_identity(&[(BOT_ID, id.as_id())])
    }

    /// The same client, acting as an integration installed in its bot. `alias` is needed when the
    /// integration is installed more than once.
    pub fn with_integration(&self, id: impl AsId<kind::Integration>, alias: Option<&str>) -> Result<Self, Error> {
        let mut client = self.with_identity(&[(INTEGRATION_ID, id.as_id())])?;
        let headers = Arc::make_mut(&mut client.headers);
        match alias {
            Some(alias) => drop(headers.insert(INTEGRATION_ALIAS, identity_value(&INTEGRATION_ALIAS, alias)?)),
            None => drop(headers.remove(INTEGRATION_ALIAS)),
        }
        Ok(client)
    }

    /// The same client, administrating another workspace.
    pub fn with_workspace(&self, id: impl AsRef<str>) -> Result<Self, Error> {
        self.with_identity(&[(WORKSPACE_ID, id.as_ref())])
    }

    /// The same client for **one** POST, sent with this `Idempotency-Key` and repeated accordingly:
    /// a server that honours the header applies it once, however often it arrives. Choose the key
    /// from what causes the call, such as the id of the event being handled.
    ///
    /// ```no_run
    /// # async fn example(client: duologue_client::Client, event_id: &str) -> Result<(), duologue_client::Error> {
    /// use duologue_client::CreateUser;
    /// client.with_idempotency_key(event_id)?.create_user(CreateUser::new().name("Ada")).await?;
    /// # Ok(()) }
    /// ```
    pub fn with_idempotency_key(&self, key: impl AsRef<str>) -> Result<Self, Error> {
        let key = HeaderValue::from_str(key.as_ref())
            .map_err(|_| Error::config("an idempotency key can't hold control characters"))?;
        Ok(Client { key: Some(key), ..self.clone() })
    }

    /// The URL requests go to, without a slash at its end.
    pub fn api_url(&self) -> &str {
        &self.base
    }

    /// The bot this client speaks about.
    pub fn bot_id(&self) -> Option<&str> {
        self.headers.get(BOT_ID)?.to_str().ok()
    }

    /// The workspace this client administrates.
    pub fn workspace_id(&self) -> Option<&str> {
        self.headers.get(WORKSPACE_ID)?.to_str().ok()
    }

    /// The same client without a key for the next POST.
    pub(crate) fn without_key(&self) -> Self {
        Client { key: None, ..self.clone() }
    }

    fn with_identity(&self, identity: &[(HeaderName, &str)]) -> Result<Self, Error> {
        let mut client = self.clone();
        let headers = Arc::make_mut(&mut client.headers);
        for (name, value) in identity {
            headers.insert(name, identity_value(name, value)?);
        }
        Ok(client)
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The idempotency key for a request, when it gets one.
    pub(crate) fn new_key(&self, method: &Method) -> Option<HeaderValue> {
        if method != Method::POST {
            return None;
        }
        let made = || HeaderValue::try_from(self.transport.ids.uuid()).ok();
        self.key.clone().or_else(|| self.idempotency.then(made).flatten())
    }
}

impl Builder {
    /// Where the API is: `http` or `https`, host, port, and a path if the API is mounted below one.
    /// Required.
    pub fn api_url(mut self, url: impl Into<String>) -> Self {
        self.api_url = Some(url.into());
        self
    }

    /// The bearer token: personal access token, bot key or integration key.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// The bot that runtime operations are about.
    pub fn bot_id(self, id: impl AsId<kind::Bot>) -> Self {
        self.identity(BOT_ID, id.as_id().to_owned())
    }

    /// Act as this integration, installed in the bot.
    pub fn integration_id(self, id: impl AsId<kind::Integration>) -> Self {
        self.identity(INTEGRATION_ID, id.as_id().to_owned())
    }

    /// Which instance of the integration, when it is installed more than once.
    pub fn integration_alias(self, alias: impl Into<String>) -> Self {
        self.identity(INTEGRATION_ALIAS, alias.into())
    }

    /// The workspace that admin operations are about.
    pub fn workspace_id(self, id: impl Into<String>) -> Self {
        self.identity(WORKSPACE_ID, id.into())
    }

    /// How long one attempt may take from its beginning to the last byte of its answer; 60 s by
    /// default. For streamed answers: to the first byte, and between bytes.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How often and how patiently failed requests are repeated.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Sends a fresh `Idempotency-Key` with every POST, which makes POSTs as repeatable as GETs. For
    /// servers that honour the header, as Duologue does; others ignore it and might apply a
    /// repeated request twice. Off by default.
    pub fn idempotency(mut self, on: bool) -> Self {
        self.idempotency = on;
        self
    }

    /// Goes through this proxy (`http://[user:password@]host:port`) instead of those that
    /// `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` name. Loopback addresses are always
    /// reached directly.
    pub fn proxy(mut self, url: impl Into<String>) -> Self {
        self.proxies = Proxies::One(url.into());
        self
    }

    /// Uses no proxy, whatever the environment names.
    pub fn no_proxy(mut self) -> Self {
        self.proxies = Proxies::None;
        self
    }

    /// Trusts this authority, too, when the server shows its certificate: one or more PEM sections.
    /// For servers with a certificate of one's own making.
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.certificates.push(pem.into());
        self
    }

    /// What to send as `User-Agent`.
    pub fn user_agent(mut self, name: impl Into<String>) -> Self {
        self.user_agent = name.into();
        self
    }

    /// Fills in what wasn't set from the environment: `BP_API_URL`, `BP_TOKEN`, `BP_BOT_ID`,
    /// `BP_INTEGRATION_ID`, `BP_WORKSPACE_ID` (`spec/cloud/auth-and-identity.md` § 1).
    pub fn env(self) -> Self {
        self.variables(|name| std::env::var(name).ok())
    }

    fn variables(mut self, get: impl Fn(&str) -> Option<String>) -> Self {
        let get = |name| get(name).filter(|value| !value.trim().is_empty());
        self.api_url = self.api_url.or_else(|| get("BP_API_URL"));
        self.token = self.token.or_else(|| get("BP_TOKEN"));
        let identity =
            [(BOT_ID, "BP_BOT_ID"), (INTEGRATION_ID, "BP_INTEGRATION_ID"), (WORKSPACE_ID, "BP_WORKSPACE_ID")];
        for (header, variable) in identity {
            if !self.identity.iter().any(|(set, _)| *set == header)
                && let Some(value) = get(variable)
            {
                self.identity.push((header, value));
            }
        }
        self
    }

    /// The client.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] when the URL is missing or unusable, or a setting can't be a header.
    pub fn build(self) -> Result<Client, Error> {
        let url = self.api_url.as_deref().ok_or_else(|| {
            Error::config("no API URL given: set BP_API_URL or call api_url(), e.g. http://127.0.0.1:3000")
        })?;
        let url = parse_url(url)?;
        let headers = self.headers()?;
        let proxies = match &self.proxies {
            Proxies::None => Matcher::builder().build(),
            Proxies::Environment => Matcher::from_env(),
            Proxies::One(url) => Matcher::builder().all(url.as_str()).build(),
        };
        let way = Way { api_url: &url, proxies: &proxies, certificates: &self.certificates };
        let transport = Transport::new(way, self.timeout, self.policy)?;
        Ok(Client {
            transport: Arc::new(transport),
            base: url.to_string().trim_end_matches('/').into(),
            headers: Arc::new(headers),
            idempotency: self.idempotency,
            key: None,
        })
    }

    fn identity(mut self, header: HeaderName, value: String) -> Self {
        self.identity.retain(|(set, _)| *set != header);
        self.identity.push((header, value));
        self
    }

    fn headers(&self) -> Result<HeaderMap, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(header::USER_AGENT, identity_value(&header::USER_AGENT, &self.user_agent)?);
        // Without it, admin answers would key a bot's integrations by id instead of alias.
        headers.insert(MULTIPLE_INTEGRATIONS, HeaderValue::from_static("true"));
        if let Some(token) = &self.token {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.trim()))
                .map_err(|_| Error::config("the token (BP_TOKEN) holds characters that no token has"))?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        for (name, value) in &self.identity {
            headers.insert(name, identity_value(name, value)?);
        }
        Ok(headers)
    }
}

fn identity_value(name: &HeaderName, value: &str) -> Result<HeaderValue, Error> {
    match HeaderValue::from_str(value.trim()) {
        Ok(value) if !value.is_empty() => Ok(value),
        _ => Err(Error::config(format!("\"{}\" can't be sent as {name}", value.escape_debug()))),
    }
}

fn parse_url(text: &str) -> Result<Uri, Error> {
    let unusable = |why: &str| Error::config(format!("the API URL (BP_API_URL) \"{text}\" can't be used: {why}"));
    let url: Uri = text.trim().parse().map_err(|_| unusable("it is not a URL"))?;
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err(unusable("it must begin with http:// or https://"));
    }
    if url.host().unwrap_or_default().is_empty() {
        return Err(unusable("it names no host"));
    }
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(Error::config(
            "the API URL (BP_API_URL) can't be used: it holds a user name; give the token apart",
        ));
    }
    if url.query().is_some() {
        return Err(unusable("it must end before the question mark"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        Client::builder().api_url(url).build().unwrap_err().to_string()
    }

    #[test]
    fn a_missing_url_is_named() {
        let message = Client::builder().variables(|_| None).build().unwrap_err().to_string();
        assert!(message.contains("BP_API_URL"), "{message}");
        // Present and blank is missing too.
        let message = Client::builder().variables(|_| Some(" ".into())).build().unwrap_err().to_string();
        assert!(message.contains("BP_API_URL"), "{message}");
    }

    #[test]
    fn unusable_urls_are_refused_with_the_reason() {
        assert!(refused("localhost:3000").contains("http://"));
        assert!(refused("ftp://host").contains("http://"));
        assert!(refused("https://host/?a=b").contains("question mark"));
        let message = refused("https://me:hunter2@host/");
        assert!(message.contains("user name") && !message.contains("hunter2"), "{message}");
    }

    #[test]
    fn the_environment_fills_in_what_was_not_set() {
        let environment = |name: &str| match name {
            "BP_API_URL" => Some("http://from-env.example/".to_owned()),
            "BP_TOKEN" => Some("t0ken".to_owned()),
            "BP_BOT_ID" => Some("bot_env".to_owned()),
            "BP_WORKSPACE_ID" => Some("ws".to_owned()),
            _ => None,
        };
        let client = Client::builder().bot_id("bot_mine").variables(environment).build().unwrap();
        assert_eq!(client.api_url(), "http://from-env.example");
        assert_eq!((client.bot_id(), client.workspace_id()), (Some("bot_mine"), Some("ws")));
        assert_eq!(client.headers()[header::AUTHORIZATION], "Bearer t0ken");
        assert!(!client.headers().contains_key(INTEGRATION_ID));
    }

    #[test]
    fn debug_output_hides_the_token() {
        let builder = Client::builder().api_url("http://localhost").token("hunter2");
        assert!(!format!("{builder:?}").contains("hunter2"));
        assert!(!format!("{:?}", builder.build().unwrap()).contains("hunter2"));
    }

    #[test]
    fn clones_with_another_identity_leave_the_original_alone() {
        let client = Client::builder().api_url("http://localhost").bot_id("a").build().unwrap();
        let other = client.with_bot("b").unwrap().with_integration("int", Some("slack")).unwrap();
        assert_eq!((client.bot_id(), other.bot_id()), (Some("a"), Some("b")));
        assert_eq!(other.headers()[INTEGRATION_ALIAS], "slack");
        assert!(!other.with_integration("int", None).unwrap().headers().contains_key(INTEGRATION_ALIAS));
        assert!(client.with_bot("").is_err());
    }
}
