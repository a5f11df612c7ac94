//! Connections to checked addresses only.
//!
//! The pool calls [`Connector`] for every new connection. Resolving, checking and connecting happen
//! here, in one place and with one answer of the resolver: there is no instant between the check and
//! the use in which the answer could change.

use std::{
    error::Error as StdError,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};
use tower_service::Service;

use crate::{AllowList, Denial, Error, Proxy, Resolve, is_public};

/// A name's addresses beyond these are not looked at.
const MOST_ADDRESSES: usize = 16;

/// How long a proxy's answer to CONNECT may be, in bytes.
const MOST_PROXY_ANSWER: usize = 8 * 1024;

/// Makes connections for the pool.
#[derive(Clone, Debug)]
pub(crate) struct Connector(pub Arc<Way>);

/// What decides where a connection may go.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub allow: AllowList,
    pub resolver: Arc<dyn Resolve>,
    pub timeout: Duration,
    pub proxy: Option<Proxy>,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = Box<dyn StdError + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let way = self.0.clone();
        Box::pin(async move {
            let stream = way.connect(&uri).await?;
            // Small requests are the rule; a failure here costs only speed.
            let _ = stream.set_nodelay(true);
            Ok(TokioIo::new(stream))
        })
    }
}

impl Way {
    /// The same way for somebody who may go anywhere.
    pub(crate) fn anywhere(&self) -> Way {
        Way { allow: AllowList::everything(), ..self.clone() }
    }

    /// Whether a URL leads to an address that may be reached.
    pub(crate) async fn check(&self, uri: &Uri) -> Result<(), Error> {
        let (host, port) = target(uri);
        self.addresses(host, port).await.map(|_| ())
    }

    async fn connect(&self, uri: &Uri) -> Result<TcpStream, Error> {
        let (host, port) = target(uri);
        self.reach(host, port).await
    }

    /// Connects to a host, without brackets, in lower case.
    pub(crate) async fn reach(&self, host: &str, port: u16) -> Result<TcpStream, Error> {
        let deadline = Instant::now() + self.timeout;
        let connecting = async {
            let addresses = self.addresses(host, port).await?;
            match &self.proxy {
                None => first(host, addresses, deadline).await,
                Some(proxy) => self.through(proxy, addresses[0]).await,
            }
        };
        match tokio::time::timeout_at(deadline, connecting).await {
            Ok(result) => result,
            Err(_) => Err(Error::ConnectTimeout(host.to_owned())),
        }
    }

    /// The addresses of a host that may be reached; at least one.
    async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
        let found = match host.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => self.resolver.resolve(host).await.map_err(|failed| match failed.kind() {
                io::ErrorKind::NotFound => Error::NotFound(host.to_owned()),
                _ => Error::ResolverFailed(host.to_owned()),
            })?,
        };
        let Some(denied) = found.first().copied() else { return Err(Error::NotFound(host.to_owned())) };
        let reachable = |address: &IpAddr| is_public(*address) || self.allow.allows(host, port, *address);
        let addresses: Vec<SocketAddr> = found
            .into_iter()
            .take(MOST_ADDRESSES)
            .filter(reachable)
            .map(|address| SocketAddr::new(address, port))
            .collect();
        if addresses.is_empty() {
            return Err(Denial { host: host.to_owned(), address: denied }.into());
        }
        Ok(addresses)
    }

    /// A tunnel to a checked address: the proxy is told the address, not the name, so that it can't
    /// be led elsewhere by an answer of its own.
    async fn through(&self, proxy: &Proxy, target: SocketAddr) -> Result<TcpStream, Error> {
        let unusable = |failed: io::Error| Error::Proxy(failed.kind().to_string());
        let mut stream = TcpStream::connect((proxy.host.as_str(), proxy.port)).await.map_err(unusable)?;
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some(authorization) = &proxy.authorization {
            request.push_str(&format!("Proxy-Authorization: {authorization}\r\n"));
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await.map_err(unusable)?;
        let mut answer = Vec::new();
        // One byte at a time: nothing of what follows the answer may be taken.
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() == MOST_PROXY_ANSWER {
                return Err(Error::Proxy("too much".to_owned()));
            }
            answer.push(stream.read_u8().await.map_err(unusable)?);
        }
        let status = String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap_or_default().to_owned();
        if status.starts_with('2') { Ok(stream) } else { Err(Error::Proxy(status)) }
    }
}

/// Host, without brackets, and port.
fn target(uri: &Uri) -> (&str, u16) {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    (host, uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 }))
}

/// Connects to the first address that answers; each gets its share of the time.
async fn first(host: &str, addresses: Vec<SocketAddr>, deadline: Instant) -> Result<TcpStream, Error> {
    let mut last = Error::NotFound(host.to_owned());
    let count = addresses.len();
    for (index, address) in addresses.into_iter().enumerate() {
        let left = u32::try_from(count - index).unwrap_or(1);
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        last = match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(failed)) => match failed.kind() {
                io::ErrorKind::ConnectionRefused => Error::Refused(address.to_string()),
                io::ErrorKind::ConnectionReset => Error::Reset,
                io::ErrorKind::TimedOut => Error::ConnectTimeout(address.to_string()),
                _ => Error::Unreachable(address.to_string()),
            },
            Err(_) => Error::ConnectTimeout(address.to_string()),
        };
    }
    Err(last)
}
