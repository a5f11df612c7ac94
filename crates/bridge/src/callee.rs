//! Who is called, and what every call to it says in its headers.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use duologue_model::Json;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{Secrets, TIMEOUT};

/// Where the code is (§ 7: a URL wins over uploaded code).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Anywhere that an HTTP URL reaches.
    Url(String),
    /// Uploaded; run by whoever hosts it.
    Code(Code),
    /// Nowhere: it can't be called.
    None,
}

/// Uploaded code.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The code of the bot with this id.
    Bot(String),
    /// The code of the integration version with this id, shared by all bots that installed it.
    Integration(String),
}

/// A value that can't be sent in a header: it has a line break, say.
#[derive(Debug, thiserror::Error)]
#[error("{0} can't be written into a header")]
pub struct Invalid(&'static str);

/// An integration as installed in a bot.
#[derive(Clone, Copy, Debug)]
pub struct Installed<'a> {
    /// The bot.
    pub bot_id: &'a str,
    /// The integration version.
    pub integration_id: &'a str,
    /// Under which alias.
    pub alias: &'a str,
    /// The webhook of the instance.
    pub webhook_id: &'a str,
    /// The values of its configuration, an object.
    pub configuration: &'a Json,
    /// Which of the integration's configurations; none for the default one.
    pub configuration_type: Option<&'a str>,
}

/// Whoever is called. Cheap to keep: the headers are rendered once.
#[derive(Clone, Debug)]
pub struct Callee {
    address: Address,
    headers: HeaderMap,
    timeout: Duration,
    secrets: Option<Secrets>,
}

impl Callee {
    /// A bot. `configuration` are the values of its configuration, an object.
    ///
    /// # Errors
    /// [`Invalid`] if the id can't be written into a header.
    pub fn bot(bot_id: &str, configuration: &Json, address: Address) -> Result<Self, Invalid> {
        // Encoded twice: the values as JSON text, in an object, as base64 (§ 2).
        let wrapped = serde_json::json!({ "payload": configuration.text() }).to_string();
        let mut callee = Callee::new(address, &wrapped);
        callee.header(HeaderName::from_static("x-bot-id"), bot_id, "The id of the bot")?;
        Ok(callee)
    }

    /// An integration.
    ///
    /// # Errors
    /// [`Invalid`] if something of it can't be written into a header.
    pub fn integration(installed: Installed<'_>, address: Address) -> Result<Self, Invalid> {
        let mut callee = Callee::new(address, installed.configuration.text());
        let named = [
            (HeaderName::from_static("x-bot-id"), installed.bot_id, "The id of the bot"),
            (HeaderName::from_static("x-bot-user-id"), installed.bot_id, "The id of the bot"),
            (HeaderName::from_static("x-integration-id"), installed.integration_id, "The id of the integration"),
            (HeaderName::from_static("x-integration-alias"), installed.alias, "The alias"),
            (HeaderName::from_static("x-webhook-id"), installed.webhook_id, "The id of the webhook"),
        ];
        for (name, value, what) in named {
            callee.header(name, value, what)?;
        }
        if let Some(kind) = installed.configuration_type {
            let name = HeaderName::from_static("x-bp-configuration-type");
            callee.header(name, kind, "The name of the configuration")?;
        }
        Ok(callee)
    }

    fn new(address: Address, configuration: &str) -> Self {
        let mut headers = HeaderMap::with_capacity(12);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // Base64 is always fit for a header.
        if let Ok(value) = HeaderValue::from_str(&STANDARD.encode(configuration)) {
            headers.insert(HeaderName::from_static("x-bp-configuration"), value);
        }
        Callee { address, headers, timeout: TIMEOUT, secrets: None }
    }

    fn header(&mut self, name: HeaderName, value: &str, what: &'static str) -> Result<(), Invalid> {
        self.headers.insert(name, HeaderValue::from_str(value).map_err(|_| Invalid(what))?);
        Ok(())
    }

    /// With another timeout than [`TIMEOUT`] (`maxExecutionTime`).
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Every call is signed with these (§ 9).
    #[must_use]
    pub fn with_secrets(mut self, secrets: Option<Secrets>) -> Self {
        self.secrets = secrets;
        self
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Whether it can be called at all.
    pub fn is_callable(&self) -> bool {
        self.address != Address::None
    }

    /// How long one call may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub(crate) fn secrets(&self) -> Option<&Secrets> {
        self.secrets.as_ref()
    }
}
