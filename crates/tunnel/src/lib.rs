//! Tunnels to code on developers' machines (`spec/cloud/bridge-protocol.md` § 8).
//!
//! `bp dev` runs a bot or an integration on the developer's machine and gives this server a URL to
//! call it at: `<tunnel origin>/<tunnel id>`. It holds a WebSocket open under the same path, and
//! whatever is asked of that URL travels through it and back. The tunnel is an HTTP server on a
//! listening port of its own, because the protocol has no prefix to mount it below; the binary
//! composes it, and nothing else calls it.
//!
//! # Who may use it
//!
//! The protocol has no token: who knows an id may call through its tunnel, and who comes first with
//! an id has it. So ids must be long (the CLI's are random UUIDs), are never listed or logged, the
//! port is bound to this machine unless an operator says otherwise, and browsers are refused, so that no
//! web page reaches it. Everything is bounded: tunnels, requests under way, bytes, and time.
//!
//! * [`serve`] takes connections; `forward` makes of a request a frame and of the answer's frame a
//!   response; `socket` is one open tunnel; `registry` knows the open ones; `frame` is what travels.
//!
//! It looks into no request, stores nothing, and never opens a connection itself.

mod forward;
mod frame;
mod registry;
mod socket;

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use registry::Registry;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};

/// Bounds of the tunnel server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Tunnels open at once.
    pub tunnels: usize,
    /// Requests under way in one tunnel.
    pub requests: usize,
    /// Bytes of one request's or answer's body, and of one frame.
    pub bytes: usize,
    /// TCP connections at once: tunnels, and requests into them.
    pub connections: usize,
    /// How long code may take to answer.
    pub answer: Duration,
    /// After how long without a sign of life a tunnel is closed. Clients say hello every 5 s.
    pub silence: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            tunnels: 64,
            requests: 256,
            bytes: 16 * 1024 * 1024,
            connections: 1024,
            answer: Duration::from_secs(180),
            silence: Duration::from_secs(30),
        }
    }
}

/// How long a client may take to send a request's headers, and its body.
const PATIENCE: Duration = Duration::from_secs(30);

/// Serves until `stopped` says so; closes all tunnels then.
pub async fn serve(listener: TcpListener, limits: Limits, mut stopped: watch::Receiver<bool>) {
    let registry = Arc::new(Registry::new(limits));
    let room = Arc::new(Semaphore::new(limits.connections));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    loop {
        let Ok(place) = room.clone().acquire_owned().await else { break };
        let (stream, _) = tokio::select! {
            connection = duologue_door::accept(&listener) => connection,
            _ = stopped.wait_for(|stopped| *stopped) => break,
        };
        let (registry, mut ended, stopped) = (registry.clone(), stopped.clone(), stopped.clone());
        let service = service_fn(move |request| answer(registry.clone(), stopped.clone(), request));
        let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
        tokio::spawn(async move {
            tokio::select! {
                // Clients that go away in the middle are their own affair.
                _ = connection => {}
                _ = ended.wait_for(|ended| *ended) => {}
            }
            drop(place);
        });
    }
}

async fn answer(
    registry: Arc<Registry>,
    stopped: watch::Receiver<bool>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let Some((id, rest)) = split(request.uri().path()) else {
        return Ok(refusal(StatusCode::NOT_FOUND, "there is no tunnel at this path"));
    };
    let (id, rest) = (id.to_owned(), rest.to_owned());
    // Browsers say where a page comes from; the tools that use tunnels don't.
    if request.headers().contains_key(header::ORIGIN) {
        return Ok(refusal(StatusCode::FORBIDDEN, "web pages can't use tunnels"));
    }
    if is_upgrade(request.method(), request.headers()) {
        return Ok(socket::open(registry, stopped, id, request));
    }
    Ok(forward::through(&registry, &id, &rest, request).await)
}

/// The tunnel's id, and the path behind it.
fn split(path: &str) -> Option<(&str, &str)> {
    let path = path.strip_prefix('/')?;
    let end = path.find('/').unwrap_or(path.len());
    let (id, rest) = path.split_at(end);
    (!id.is_empty()).then_some((id, if rest.is_empty() { "/" } else { rest }))
}

fn is_upgrade(method: &Method, headers: &HeaderMap) -> bool {
    let says = |name, word: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word)))
    };
    *method == Method::GET && says(header::CONNECTION, "upgrade") && says(header::UPGRADE, "websocket")
}

/// An answer of the tunnel itself.
fn refusal(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(format!("{text}\n"))));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_segment_is_the_id() {
        assert_eq!(split("/abc"), Some(("abc", "/")));
        assert_eq!(split("/abc/"), Some(("abc", "/")));
        assert_eq!(split("/abc/health/x"), Some(("abc", "/health/x")));
        assert_eq!(split("/"), None);
        assert_eq!(split("//x"), None);
    }
}
