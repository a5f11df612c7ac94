//! A request, its redirects, and its answer.

use std::{error::Error as StdError, io, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::Client as Pool,
    rt::{TokioExecutor, TokioTimer},
};
use percent_encoding::percent_decode_str;
use rustls::{
    CertificateError, ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use url::Url;

use crate::{
    AllowList, Error, Resolve, SystemResolver, body,
    connect::{Connector, Way},
};

/// How long an idle connection is kept: shorter than common servers keep theirs, since a POST sent
/// on a connection that is being closed would be lost.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// The longest URL, in bytes.
const LONGEST_URL: usize = 16 * 1024;

/// How many bytes the headers of an answer may have.
const LARGEST_HEAD: usize = 128 * 1024;

/// Belong to one connection or are set by the client itself, so callers can't set them.
const NOT_THE_CALLERS: &[HeaderName] = &[
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The client. Clones share connections and settings.
#[derive(Clone, Debug)]
pub struct Client {
    pool: Pool<HttpsConnector<Connector>, Full<Bytes>>,
    pub(crate) way: Arc<Way>,
    pub(crate) tls: Arc<ClientConfig>,
    limits: Limits,
}

/// How a client is made. [`Settings::default`] reaches the public Internet only, directly.
#[derive(Debug)]
pub struct Settings {
    /// What may be reached besides the public Internet.
    pub allow: AllowList,
    /// Bounds of requests that don't bring their own.
    pub limits: Limits,
    /// How long making a connection may take, resolving and redirects' connections each included.
    /// Default 10 s.
    pub connect_timeout: Duration,
    /// A proxy for all requests. Default none; the environment is not looked at.
    pub proxy: Option<Proxy>,
    /// Authorities to trust besides the system's, as PEM.
    pub certificates: Vec<Vec<u8>>,
    /// How names are resolved.
    pub resolver: Arc<dyn Resolve>,
}

/// The bounds of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the start to the last byte of the answer, redirects included. Default 30 s.
    pub timeout: Duration,
    /// How many redirects are followed; 0 returns the redirect itself. Default 5.
    pub redirects: u32,
    /// The largest body of an answer, decoded, in bytes. Default 10 MiB.
    pub body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { timeout: Duration::from_secs(30), redirects: 5, body: 10 << 20 }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            allow: AllowList::none(),
            limits: Limits::default(),
            connect_timeout: Duration::from_secs(10),
            proxy: None,
            certificates: Vec::new(),
            resolver: Arc::new(SystemResolver),
        }
    }
}

/// A proxy spoken to in plain HTTP. Every request goes through a tunnel (CONNECT) to the address
/// that was checked here, so names must be resolvable here.
#[derive(Clone, Debug)]
pub struct Proxy {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) authorization: Option<String>,
}

impl Proxy {
    /// Reads `http://[user:password@]host[:port]`; the port is 80 if missing.
    ///
    /// # Errors
    /// [`Error::Settings`] for anything else.
    pub fn new(url: &str) -> Result<Self, Error> {
        let unusable = || Error::Settings("a proxy is given as http://[user:password@]host[:port]".to_owned());
        let url = Url::parse(url).map_err(|_| unusable())?;
        let (Some(host), Some(port), "http") = (url.host_str(), url.port_or_known_default(), url.scheme()) else {
            return Err(unusable());
        };
        Ok(Proxy { host: host.trim_matches(['[', ']']).to_owned(), port, authorization: basic(&url) })
    }
}

/// What to send.
#[derive(Clone)]
pub struct Request {
    /// Any method but CONNECT.
    pub method: Method,
    /// An absolute `http` or `https` URL as it was written. Credentials in it become basic
    /// authentication and win over an `Authorization` header.
    pub url: String,
    /// Headers. Those that belong to the connection (`Connection`, `Content-Length`,
    /// `Transfer-Encoding`…) are left out.
    pub headers: HeaderMap,
    /// The body; empty for none.
    pub body: Bytes,
    /// Bounds of this request instead of the client's.
    pub limits: Option<Limits>,
}

impl std::fmt::Debug for Request {
    /// Without what may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").field("method", &self.method).field("body", &self.body.len()).finish_non_exhaustive()
    }
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Request { method, url: url.into(), headers: HeaderMap::new(), body: Bytes::new(), limits: None }
    }
}

/// An answer, of whatever status.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status after redirects.
    pub status: StatusCode,
    /// All headers. `Content-Encoding` and `Content-Length` are gone if the body was decoded.
    pub headers: HeaderMap,
    /// The body, decoded from gzip or deflate.
    pub body: Bytes,
    /// The URL that answered, without credentials and fragment.
    pub url: String,
    /// How many redirects led there.
    pub redirects: u32,
}

impl Client {
    /// # Errors
    /// [`Error::Settings`] if a certificate to trust can't be read or TLS isn't available.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let way = Arc::new(Way {
            allow: settings.allow,
            resolver: settings.resolver,
            timeout: settings.connect_timeout,
            proxy: settings.proxy,
        });
        let tls = tls(&settings.certificates)?;
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls.clone())
            .https_or_http()
            .enable_http1()
            .wrap_connector(Connector(way.clone()));
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .http1_max_buf_size(LARGEST_HEAD)
            .build(connector);
        Ok(Client { pool, way, tls: Arc::new(tls), limits: settings.limits })
    }

    /// The bounds of requests that don't bring their own.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// What may be reached besides the public Internet.
    pub fn allow_list(&self) -> &AllowList {
        &self.way.allow
    }

    /// Whether a URL could be requested: it is one, and leads to an address that may be reached. Sends
    /// nothing; a request checks anew.
    ///
    /// # Errors
    /// What [`send`](Client::send) would answer as far as can be told without a connection.
    pub async fn check(&self, url: &str) -> Result<(), Error> {
        let hop = Hop::new(Request::new(Method::GET, url))?;
        let request = hop.render()?;
        match tokio::time::timeout(self.way.timeout, self.way.check(request.uri())).await {
            Ok(result) => result,
            Err(_) => Err(Error::ResolverFailed(request.uri().host().unwrap_or_default().to_owned())),
        }
    }

    /// Sends, follows redirects, and reads the answer.
    ///
    /// # Errors
    /// Only when there is no answer: a status of 400 and above is an answer. See [`Error::code`].
    pub async fn send(&self, request: Request) -> Result<Response, Error> {
        let limits = request.limits.unwrap_or(self.limits);
        match tokio::time::timeout(limits.timeout, self.follow(request, limits)).await {
            Ok(result) => result,
            Err(_) => Err(Error::Timeout(limits.timeout)),
        }
    }

    async fn follow(&self, request: Request, limits: Limits) -> Result<Response, Error> {
        let mut hop = Hop::new(request)?;
        let mut redirects = 0;
        loop {
            let answer = self.pool.request(hop.render()?).await.map_err(|failed| broken(&failed))?;
            let Some(next) = hop.redirected(answer.status(), answer.headers()) else {
                return finish(answer, &hop, redirects, limits).await;
            };
            if limits.redirects == 0 {
                return finish(answer, &hop, redirects, limits).await;
            }
            if redirects == limits.redirects {
                return Err(Error::TooManyRedirects);
            }
            redirects += 1;
            hop = next?;
        }
    }
}

async fn finish(
    answer: http::Response<Incoming>,
    hop: &Hop,
    redirects: u32,
    limits: Limits,
) -> Result<Response, Error> {
    let (mut head, incoming) = answer.into_parts();
    let body = body::read(incoming, &head.headers, limits.body).await?;
    let decoded = head.headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| {
        ["gzip", "x-gzip", "deflate"].iter().any(|known| encoding.as_bytes().eq_ignore_ascii_case(known.as_bytes()))
    });
    if decoded {
        head.headers.remove(header::CONTENT_ENCODING);
        head.headers.remove(header::CONTENT_LENGTH);
    }
    Ok(Response { status: head.status, headers: head.headers, body, url: hop.url.to_string(), redirects })
}

/// One request on the way to the answer.
struct Hop {
    method: Method,
    /// Without credentials and fragment.
    url: Url,
    /// The basic authentication that the URL carried.
    authorization: Option<HeaderValue>,
    headers: HeaderMap,
    body: Bytes,
}

impl Hop {
    fn new(request: Request) -> Result<Self, Error> {
        if request.method == Method::CONNECT {
            return Err(Error::InvalidUrl("CONNECT is not a method for requests".to_owned()));
        }
        if request.url.len() > LONGEST_URL {
            return Err(Error::InvalidUrl("too long".to_owned()));
        }
        let url = Url::parse(&request.url).map_err(|reason| Error::InvalidUrl(reason.to_string()))?;
        let mut headers = request.headers;
        for name in NOT_THE_CALLERS {
            headers.remove(name);
        }
        Hop::to(url, request.method, headers, request.body)
    }

    fn to(mut url: Url, method: Method, headers: HeaderMap, body: Bytes) -> Result<Self, Error> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Error::Protocol(url.scheme().to_owned()));
        }
        let authorization = basic(&url).and_then(|text| HeaderValue::from_str(&text).ok()).map(|mut value| {
            value.set_sensitive(true);
            value
        });
        // Of http and https URLs these can always be taken away.
        let _ = (url.set_username(""), url.set_password(None));
        url.set_fragment(None);
        Ok(Hop { method, url, authorization, headers, body })
    }

    fn render(&self) -> Result<http::Request<Full<Bytes>>, Error> {
        let uri: Uri = self.url.as_str().parse().map_err(|_| Error::InvalidUrl("unusable in HTTP".to_owned()))?;
        let mut request = http::Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers.clone();
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(header::AUTHORIZATION, authorization.clone());
        }
        Ok(request)
    }

    /// The next hop, if the answer sends elsewhere; an error if it sends somewhere impossible.
    fn redirected(&self, status: StatusCode, headers: &HeaderMap) -> Option<Result<Hop, Error>> {
        if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return None;
        }
        let location = headers.get(header::LOCATION)?;
        let url = std::str::from_utf8(location.as_bytes())
            .ok()
            .filter(|location| location.len() <= LONGEST_URL)
            .and_then(|location| self.url.join(location).ok());
        Some(match url {
            Some(url) => self.follow_to(url, status),
            None => Err(Error::InvalidUrl("the redirect's Location is no URL".to_owned())),
        })
    }

    fn follow_to(&self, url: Url, status: StatusCode) -> Result<Hop, Error> {
        let mut headers = self.headers.clone();
        headers.remove(header::HOST);
        let mut authorization = None;
        if url.origin() == self.url.origin() {
            authorization.clone_from(&self.authorization);
        } else {
            headers.remove(header::AUTHORIZATION);
            headers.remove(header::COOKIE);
        }
        let becomes_get = match status.as_u16() {
            301 | 302 => self.method == Method::POST,
            303 => self.method != Method::GET && self.method != Method::HEAD,
            _ => false,
        };
        let mut hop = if becomes_get {
            let content: Vec<HeaderName> =
                headers.keys().filter(|name| name.as_str().starts_with("content-")).cloned().collect();
            for name in content {
                headers.remove(name);
            }
            Hop::to(url, Method::GET, headers, Bytes::new())?
        } else {
            Hop::to(url, self.method.clone(), headers, self.body.clone())?
        };
        hop.authorization = hop.authorization.or(authorization);
        Ok(hop)
    }
}

/// Basic authentication from the credentials in a URL.
fn basic(url: &Url) -> Option<String> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut pair: Vec<u8> = percent_decode_str(url.username()).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(url.password().unwrap_or_default()));
    Some(format!("Basic {}", STANDARD.encode(pair)))
}

/// TLS that trusts what the operating system trusts (the public authorities where it has no list),
/// and these authorities.
fn tls(certificates: &[Vec<u8>]) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let unusable = |e: &dyn std::fmt::Display| Error::Settings(format!("a certificate to trust is unusable: {e}"));
    for pem in certificates {
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate.map_err(|e| unusable(&e))?).map_err(|e| unusable(&e))?;
        }
    }
    Ok(ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::Settings(format!("TLS is not available: {e}")))?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// What a failure below means, from its chain of causes.
pub(crate) fn broken(failed: &(dyn StdError + 'static)) -> Error {
    let mut cause = Some(failed);
    while let Some(error) = cause {
        if let Some(ours) = error.downcast_ref::<Error>() {
            return again(ours);
        }
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Error::Tls { code: tls_code(tls), reason: tls.to_string() };
        }
        if let Some(http) = error.downcast_ref::<hyper::Error>()
            && http.is_parse()
        {
            return Error::NotHttp(http.to_string());
        }
        // An error in an error of I/O is not its source.
        cause = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    Error::Reset
}

/// An error of the connector, which the pool returns only by reference.
fn again(error: &Error) -> Error {
    match error {
        Error::Denied(denial) => Error::Denied(denial.clone()),
        Error::NotFound(host) => Error::NotFound(host.clone()),
        Error::ResolverFailed(host) => Error::ResolverFailed(host.clone()),
        Error::Refused(address) => Error::Refused(address.clone()),
        Error::Unreachable(address) => Error::Unreachable(address.clone()),
        Error::ConnectTimeout(host) => Error::ConnectTimeout(host.clone()),
        Error::Proxy(reason) => Error::Proxy(reason.clone()),
        _ => Error::Reset,
    }
}

fn tls_code(error: &rustls::Error) -> &'static str {
    use rustls::Error::InvalidCertificate;
    match error {
        InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => "CERT_HAS_EXPIRED",
        InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            "CERT_NOT_YET_VALID"
        }
        InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) => {
            "ERR_TLS_CERT_ALTNAME_INVALID"
        }
        InvalidCertificate(_) => "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
        _ => "EPROTO",
    }
}
