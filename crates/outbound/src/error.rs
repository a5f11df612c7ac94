//! Why a request got no answer, with the codes that scripts and stored results know.

use std::{net::IpAddr, time::Duration};

/// Why there is no answer. Messages name the host at most: never a path, a header or credentials.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The client's settings can't work. Never the result of a request.
    #[error("{0}")]
    Settings(String),
    /// The text is no URL, or its request can't be expressed in HTTP.
    #[error("Invalid URL: {0}")]
    InvalidUrl(String),
    /// Neither `http` nor `https`.
    #[error("Unsupported protocol {0}:")]
    Protocol(String),
    /// The address may not be reached.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// The name doesn't resolve.
    #[error("getaddrinfo ENOTFOUND {0}")]
    NotFound(String),
    /// The name can't be resolved now.
    #[error("getaddrinfo EAI_AGAIN {0}")]
    ResolverFailed(String),
    /// Nobody listens there.
    #[error("connect ECONNREFUSED {0}")]
    Refused(String),
    /// No way leads there.
    #[error("connect EHOSTUNREACH {0}")]
    Unreachable(String),
    /// The connection was not made in time.
    #[error("connect ETIMEDOUT {0}")]
    ConnectTimeout(String),
    /// The answer was not complete in time.
    #[error("timeout of {}ms exceeded", .0.as_millis())]
    Timeout(Duration),
    /// The connection broke before the answer was complete.
    #[error("socket hang up")]
    Reset,
    /// TLS could not be agreed on, or the certificate doesn't prove the name.
    #[error("{reason}")]
    Tls {
        /// The code of the reason.
        code: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// What came is not HTTP.
    #[error("Parse Error: {0}")]
    NotHttp(String),
    /// More redirects than the limit.
    #[error("Maximum number of redirects exceeded")]
    TooManyRedirects,
    /// The (decoded) body is larger than the limit, in bytes.
    #[error("maxContentLength size of {0} exceeded")]
    TooLarge(usize),
    /// The body's compression is broken.
    #[error("incorrect header check")]
    Encoding,
    /// The proxy refused.
    #[error("the proxy answered {0}")]
    Proxy(String),
}

/// An address that isn't public and isn't allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("connect EACCES {address}: requests to {host} are not allowed by this server")]
pub struct Denial {
    /// The host that the URL names.
    pub host: String,
    /// Where it leads.
    pub address: IpAddr,
}

impl Error {
    /// The code under which scripts know this error: `ECONNREFUSED`, `ENOTFOUND`, `ECONNABORTED`…
    /// (`actions-skills.md` § 6.3).
    pub fn code(&self) -> &'static str {
        match self {
            Error::Settings(_) | Error::InvalidUrl(_) => "ERR_INVALID_URL",
            Error::Protocol(_) => "ERR_INVALID_PROTOCOL",
            Error::Denied(_) => "EACCES",
            Error::NotFound(_) => "ENOTFOUND",
            Error::ResolverFailed(_) => "EAI_AGAIN",
            Error::Refused(_) => "ECONNREFUSED",
            Error::Unreachable(_) => "EHOSTUNREACH",
            Error::ConnectTimeout(_) => "ETIMEDOUT",
            Error::Timeout(_) => "ECONNABORTED",
            Error::Reset => "ECONNRESET",
            Error::Tls { code, .. } => code,
            Error::NotHttp(_) => "HPE_INVALID_CONSTANT",
            Error::TooManyRedirects => "ERR_FR_TOO_MANY_REDIRECTS",
            Error::TooLarge(_) => "ERR_BAD_RESPONSE",
            Error::Encoding => "Z_DATA_ERROR",
            Error::Proxy(_) => "ECONNREFUSED",
        }
    }
}
