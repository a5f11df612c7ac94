//! The way to the server: connections, TLS, proxies, and one request with its repetitions.
//!
//! A client talks to one origin only, so how to reach it is decided once, when the client is built.
//! Called by [`crate::request`]; knows nothing of operations.

use std::{
    error::Error as StdError,
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use duologue_model::{Timestamp, error::causes, id::Generator};
use futures_util::{StreamExt, stream::BoxStream};
use http::{HeaderMap, HeaderValue, Method, Response, Uri, header, uri::Scheme};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    rt::{Read, ReadBufCursor, Write},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::{
        legacy::{
            Client as Pool,
            connect::{Connected, Connection, HttpConnector, proxy::Tunnel},
        },
        proxy::matcher::{Intercept, Matcher},
    },
    rt::{TokioExecutor, TokioIo},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio::net::TcpStream;
use tower_service::Service;

use crate::{
    ApiError, Error, TransportError,
    retry::{self, Failure, Gate, RetryPolicy},
};

/// How long one connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an idle connection is kept. Common servers close theirs after five seconds or more; a
/// POST sent just then would be lost and could not be repeated.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// Pieces of an answer's body, as they arrive.
pub type ByteStream = BoxStream<'static, Result<Bytes, Error>>;

/// What a client's clones share.
#[derive(Debug)]
pub(crate) struct Transport {
    origin: String,
    pool: Connections,
    /// Sent with every request that goes through a forwarding proxy.
    proxy_authorization: Option<HeaderValue>,
    timeout: Duration,
    policy: RetryPolicy,
    gate: Gate,
    /// Source of jitter and idempotency keys.
    pub ids: Generator,
}

/// One request, ready to be sent any number of times.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Arriving twice does no harm.
    pub safe: bool,
}

/// The pool, by the way to the origin.
#[derive(Debug)]
enum Connections {
    Plain(Pool<HttpConnector, Full<Bytes>>),
    Tls(Pool<HttpsConnector<HttpConnector>, Full<Bytes>>),
    TlsThroughProxy(Pool<HttpsConnector<Tunnel<HttpConnector>>, Full<Bytes>>),
    PlainThroughProxy(Pool<ForwardingProxy, Full<Bytes>>),
}

/// How a [`Transport`] is to be made.
pub(crate) struct Way<'a> {
    /// An absolute `http` or `https` URL.
    pub api_url: &'a Uri,
    /// Which proxies to use. Loopback addresses are always reached directly.
    pub proxies: &'a Matcher,
    /// Authorities to trust besides the system's, as PEM.
    pub certificates: &'a [Vec<u8>],
}

impl Transport {
    pub fn new(way: Way<'_>, timeout: Duration, policy: RetryPolicy) -> Result<Self, Error> {
        let api_url = way.api_url;
        let proxy = if is_loopback(api_url) { None } else { way.proxies.intercept(api_url) };
        let mut proxy_authorization = None;
        let pool = match (api_url.scheme() == Some(&Scheme::HTTPS), proxy) {
            (false, None) => Connections::Plain(pool(tcp())),
            (true, None) => Connections::Tls(pool(tls(tcp(), way.certificates)?)),
            (true, Some(proxy)) => Connections::TlsThroughProxy(pool(tls(tunnel(&proxy)?, way.certificates)?)),
            (false, Some(proxy)) => {
                proxy_authorization = proxy.basic_auth().cloned();
                Connections::PlainThroughProxy(pool(ForwardingProxy { address: plain_proxy(&proxy)?, tcp: tcp() }))
            }
        };
        Ok(Transport {
            origin: origin(api_url),
            pool,
            proxy_authorization,
            timeout,
            policy,
            gate: Gate::default(),
            ids: Generator::system(),
        })
    }

    /// Sends, repeating as the policy says; the whole body of a 2xx answer.
    pub async fn send(&self, request: &Outgoing) -> Result<Bytes, Error> {
        self.repeat(request, || async {
            let deadline = tokio::time::Instant::now() + self.timeout;
            let answer = self.attempt(request).await?;
            let body = tokio::time::timeout_at(deadline, answer.into_body().collect()).await;
            match body {
                Ok(Ok(body)) => Ok(body.to_bytes()),
                Ok(Err(broken)) => Err(interrupted(&broken).into()),
                Err(_) => Err(self.timed_out().into()),
            }
        })
        .await
    }

    /// Sends, repeating as the policy says until a 2xx answer begins; then its body as it arrives.
    /// The timeout applies to the beginning and to each pause.
    pub async fn stream(&self, request: &Outgoing) -> Result<ByteStream, Error> {
        let answer = self.repeat(request, || self.attempt(request)).await?;
        let timeout = self.timeout;
        let pieces = futures_util::stream::try_unfold(answer.into_body(), move |mut body| async move {
            loop {
                let frame = tokio::time::timeout(timeout, body.frame()).await;
                match frame.map_err(|_| Error::Transport(TransportError::Timeout(timeout)))? {
                    None => return Ok(None),
                    Some(Err(broken)) => return Err(interrupted(&broken)),
                    // Trailers carry nothing for us.
                    Some(Ok(frame)) => {
                        if let Ok(data) = frame.into_data() {
                            return Ok(Some((data, body)));
                        }
                    }
                }
            }
        });
        Ok(pieces.boxed())
    }

    /// Runs `attempt` until it succeeds or the policy gives up.
    async fn repeat<T, F>(&self, request: &Outgoing, mut attempt: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let mut attempts = 0;
        loop {
            self.gate.pass().await;
            let failure = match attempt().await {
                Ok(success) => return Ok(success),
                Err(failure) => failure,
            };
            let random = u64::from_ne_bytes(self.ids.bytes());
            let Some(delay) = self.policy.delay(attempts, request.safe, &failure, random) else {
                return Err(failure.error);
            };
            tokio::time::sleep(delay).await;
            attempts += 1;
        }
    }

    /// Sends once; the beginning of a 2xx answer.
    async fn attempt(&self, request: &Outgoing) -> Result<Response<Incoming>, Failure> {
        let deadline = tokio::time::Instant::now() + self.timeout;
        let answer = match tokio::time::timeout_at(deadline, self.pool.send(self.render(request))).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(failed)) => return Err(self.unsent(&failed).into()),
            Err(_) => return Err(self.timed_out().into()),
        };
        let (status, now) = (answer.status(), now());
        self.gate.observe(status, answer.headers(), now, self.policy.bound());
        if status.is_success() {
            return Ok(answer);
        }
        let headers = answer.headers().clone();
        // Should the rest of a refusal not arrive, its status still counts.
        let body = tokio::time::timeout_at(deadline, answer.into_body().collect()).await;
        let body = body.ok().and_then(Result::ok).map(|body| body.to_bytes()).unwrap_or_default();
        let asked = retry::asked_delay(&headers, now);
        Err(Failure { error: ApiError::read(status, &headers, &body).into(), asked })
    }

    fn render(&self, request: &Outgoing) -> http::Request<Full<Bytes>> {
        let mut rendered = http::Request::new(Full::new(request.body.clone()));
        *rendered.method_mut() = request.method.clone();
        *rendered.uri_mut() = request.uri.clone();
        *rendered.headers_mut() = request.headers.clone();
        if let Some(authorization) = &self.proxy_authorization {
            rendered.headers_mut().insert(header::PROXY_AUTHORIZATION, authorization.clone());
        }
        rendered
    }

    fn timed_out(&self) -> Error {
        TransportError::Timeout(self.timeout).into()
    }

    fn unsent(&self, failed: &hyper_util::client::legacy::Error) -> Error {
        if failed.is_connect() {
            return TransportError::Connect { origin: self.origin.clone(), reason: causes(failed) }.into();
        }
        interrupted(failed)
    }
}

impl Connections {
    fn send(&self, request: http::Request<Full<Bytes>>) -> hyper_util::client::legacy::ResponseFuture {
        match self {
            Connections::Plain(pool) => pool.request(request),
            Connections::Tls(pool) => pool.request(request),
            Connections::TlsThroughProxy(pool) => pool.request(request),
            Connections::PlainThroughProxy(pool) => pool.request(request),
        }
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn interrupted(broken: &dyn StdError) -> Error {
    TransportError::Interrupted(causes(broken)).into()
}

fn pool<C>(connector: C) -> Pool<C, Full<Bytes>>
where
    C: hyper_util::client::legacy::connect::Connect + Clone,
{
    Pool::builder(TokioExecutor::new())
        .pool_timer(hyper_util::rt::TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .build(connector)
}

fn tcp() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector
}

/// TLS that trusts what the operating system trusts, and these authorities.
fn tls<C>(connector: C, certificates: &[Vec<u8>]) -> Result<HttpsConnector<C>, Error> {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::config(format!("TLS is not available: {e}")))?
        .with_root_certificates(authorities(certificates)?)
        .with_no_client_auth();
    Ok(HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1().wrap_connector(connector))
}

/// The operating system's authorities (`SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured), or the
/// public ones where the system has no list; and the given ones.
fn authorities(certificates: &[Vec<u8>]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    for pem in certificates {
        let unusable = |e: &dyn std::fmt::Display| Error::config(format!("a certificate to trust is unusable: {e}"));
        let before = roots.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate.map_err(|e| unusable(&e))?).map_err(|e| unusable(&e))?;
        }
        if roots.len() == before {
            return Err(unusable(&"no PEM section CERTIFICATE in it"));
        }
    }
    Ok(roots)
}

fn origin(url: &Uri) -> String {
    let authority = url.authority().map(|authority| authority.as_str());
    format!("{}://{}", url.scheme_str().unwrap_or_default(), authority.unwrap_or_default())
}

fn is_loopback(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn tunnel(proxy: &Intercept) -> Result<Tunnel<HttpConnector>, Error> {
    let tunnel = Tunnel::new(plain_proxy(proxy)?, tcp());
    Ok(match proxy.basic_auth() {
        Some(authorization) => tunnel.with_auth(authorization.clone()),
        None => tunnel,
    })
}

/// The address of a proxy that is spoken to in plain HTTP, the only kind supported.
fn plain_proxy(proxy: &Intercept) -> Result<Uri, Error> {
    match proxy.uri().scheme_str() {
        Some("http") => Ok(proxy.uri().clone()),
        other => Err(Error::config(format!(
            "a proxy of kind \"{}\" is set; only http proxies are supported",
            other.unwrap_or_default()
        ))),
    }
}

/// Connects to a proxy that forwards plain HTTP requests.
#[derive(Clone, Debug)]
struct ForwardingProxy {
    address: Uri,
    tcp: HttpConnector,
}

impl Service<Uri> for ForwardingProxy {
    type Response = Forwarded;
    type Error = Box<dyn StdError + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Forwarded, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connecting = self.tcp.call(self.address.clone());
        Box::pin(async move { Ok(Forwarded(connecting.await?)) })
    }
}

/// A connection to a forwarding proxy: requests on it name the whole URL.
struct Forwarded(TokioIo<TcpStream>);

impl Connection for Forwarded {
    fn connected(&self) -> Connected {
        self.0.connected().proxy(true)
    }
}

impl Read for Forwarded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for Forwarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transport(url: &str) -> Result<Transport, Error> {
        let proxies = Matcher::builder().all("http://user:secret@proxy.example:3128").no("direct.example").build();
        through(url, &proxies)
    }

    fn through(url: &str, proxies: &Matcher) -> Result<Transport, Error> {
        let way = Way { api_url: &url.parse().unwrap(), proxies, certificates: &[] };
        Transport::new(way, Duration::from_secs(1), RetryPolicy::none())
    }

    #[test]
    fn the_way_is_chosen_once() {
        assert!(matches!(transport("http://direct.example").unwrap().pool, Connections::Plain(_)));
        assert!(matches!(transport("https://direct.example").unwrap().pool, Connections::Tls(_)));
        assert!(matches!(transport("https://far.example").unwrap().pool, Connections::TlsThroughProxy(_)));
        let forwarded = transport("http://far.example").unwrap();
        assert!(matches!(forwarded.pool, Connections::PlainThroughProxy(_)));
        assert!(forwarded.proxy_authorization.is_some());
    }

    #[test]
    fn this_machine_is_reached_directly() {
        for url in ["http://127.0.0.1:3000", "http://localhost:3000/prefix", "http://[::1]:3000"] {
            assert!(matches!(transport(url).unwrap().pool, Connections::Plain(_)), "{url}");
        }
    }

    #[test]
    fn a_socks_proxy_is_refused_with_a_reason() {
        let proxies = Matcher::builder().all("socks5://proxy.example:1080").build();
        assert!(through("https://far.example", &proxies).unwrap_err().to_string().contains("socks5"));
    }
}
