//! One tunnel: the WebSocket that a developer's tool holds open.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use sha1::{Digest, Sha1};
use tokio::{sync::watch, time::timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{CloseFrame, Role, WebSocketConfig},
    },
};

use crate::{
    frame::Said,
    refusal,
    registry::{Place, Registry, Taken},
};

/// The protocol's own close codes.
const INVALID_ID: u16 = 4000;
const ID_IN_USE: u16 = 4001;
const TOO_MANY: u16 = 4002;
/// Of WebSocket: this server goes away; the client was silent or spoke nonsense.
const GOING_AWAY: u16 = 1001;
const POLICY: u16 = 1008;

/// Shortest id: nobody guesses 16 random characters.
const MIN_ID: usize = 16;
const MAX_ID: usize = 128;
/// How long the other side may take to take a frame.
const WRITE: Duration = Duration::from_secs(30);

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Answers the request that opens a tunnel and runs the tunnel behind it.
pub(crate) fn open(
    registry: Arc<Registry>,
    stopped: watch::Receiver<bool>,
    id: String,
    mut request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY).cloned() else {
        return refusal(StatusCode::BAD_REQUEST, "sec-websocket-key is missing");
    };
    let Ok(accept) = HeaderValue::from_str(&accept_key(key.as_bytes())) else {
        return refusal(StatusCode::BAD_REQUEST, "sec-websocket-key is malformed");
    };
    // Before the client hears that the tunnel is open: whoever comes from then on finds it, and the first
    // of two with one id has it.
    let place = enter(&registry, &id);
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        // A client that is gone before the upgrade needs no tunnel.
        let Ok(upgraded) = upgrade.await else { return };
        let most = registry.limits.bytes;
        let config = WebSocketConfig::default().max_message_size(Some(most)).max_frame_size(Some(most));
        let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
        run(stopped, place, socket).await;
    });
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    response
}

/// RFC 6455 § 4.2.2.
fn accept_key(key: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(hash.finalize())
}

fn is_id(id: &str) -> bool {
    (MIN_ID..=MAX_ID).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'|' | b'-'))
}

/// A close code and what it means.
type Farewell = (u16, &'static str);

fn enter(registry: &Arc<Registry>, id: &str) -> Result<Place, Farewell> {
    if !is_id(id) {
        return Err((INVALID_ID, "an id has 16 to 128 letters, digits, \"_\", \"|\" and \"-\""));
    }
    registry.enter(id).map_err(|taken| match taken {
        Taken::InUse => (ID_IN_USE, "this id is in use"),
        Taken::Full => (TOO_MANY, "too many tunnels are open"),
    })
}

async fn run(stopped: watch::Receiver<bool>, place: Result<Place, Farewell>, mut socket: Socket) {
    let (code, reason) = match place {
        Ok(mut place) => {
            tracing::info!("a tunnel was opened");
            let farewell = carry(stopped, &mut place, &mut socket).await;
            // The id is free before its client hears the end.
            drop(place);
            tracing::info!(reason = farewell.1, "a tunnel was closed");
            farewell
        }
        Err(refused) => refused,
    };
    close(&mut socket, code, reason).await;
}

/// Carries frames both ways until one side has enough; says why.
async fn carry(mut stopped: watch::Receiver<bool>, place: &mut Place, socket: &mut Socket) -> Farewell {
    let Place { registry, tunnel, frames, .. } = place;
    let (mut sink, mut stream) = socket.split();
    let writing = async {
        while let Some(frame) = frames.recv().await {
            match timeout(WRITE, sink.send(Message::text(frame))).await {
                Ok(Ok(())) => {}
                _ => break,
            }
        }
        (GOING_AWAY, "the client takes nothing")
    };
    let reading = async {
        loop {
            let message = match timeout(registry.limits.silence, stream.next()).await {
                Err(_) => return (POLICY, "the client was silent"),
                Ok(None | Some(Err(_))) => return (GOING_AWAY, "the client is gone"),
                Ok(Some(Ok(message))) => message,
            };
            match message {
                Message::Text(text) => match serde_json::from_str(text.as_str()) {
                    Ok(Said::Response(answered)) => tunnel.settle(answered),
                    Ok(Said::Hello | Said::Unknown) => {}
                    Err(_) => return (POLICY, "the client sent something that is no frame"),
                },
                Message::Close(_) => return (GOING_AWAY, "the client has ended"),
                // Pings are answered below; binary frames don't belong here, but harm nobody.
                _ => {}
            }
        }
    };
    tokio::select! {
        why = writing => why,
        why = reading => why,
        _ = stopped.wait_for(|stopped| *stopped) => (GOING_AWAY, "the server stops"),
    }
}

/// Says goodbye; whether it is heard doesn't matter.
async fn close(socket: &mut Socket, code: u16, reason: &'static str) {
    let frame = CloseFrame { code: code.into(), reason: reason.into() };
    let farewell = async {
        if socket.close(Some(frame)).await.is_ok() {
            // Until the other side has said goodbye, too.
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    let _ = timeout(Duration::from_secs(2), farewell).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_accepted_as_the_standard_says() {
        assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn ids_must_not_be_guessable() {
        assert!(is_id("15af585b-0926-4b49-8bc6-fc7689a7f5b2") && is_id("a|b_c-0123456789"));
        assert!(!is_id("short") && !is_id("15af585b-0926-4b49-8bc6/x") && !is_id(&"a".repeat(129)));
    }
}
