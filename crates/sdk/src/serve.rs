//! The HTTP server of a bot: HTTP/1.1, bounded in every direction, ends when its work is done.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use bytes::Bytes;
use duologue_door as door;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use serde_json::json;
use tokio::{net::TcpListener, sync::Semaphore};

use crate::{Bot, Error, Service, service::json_answer};

/// Most connections at a time; more wait.
const CONNECTIONS: usize = 512;
/// The largest request, in bytes: platforms take 1 MB themselves, and payloads of 128 KiB.
const LARGEST_BODY: usize = 4 << 20;
/// How long a request's headers, and then its body, may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(30);
/// How long requests may go on after the bot was told to stop.
const GRACE: Duration = Duration::from_secs(60);

impl Bot {
    /// Serves the bot at this address (`0.0.0.0:8072`) until Ctrl-C or SIGTERM, then lets what is being
    /// handled finish.
    ///
    /// # Errors
    ///
    /// When the address can't be listened on, or there is no client (see [`Bot::client`]).
    pub async fn serve(self, address: &str) -> Result<(), Error> {
        let service = self.service()?;
        let listener = bind(address).await?;
        let stop_requested = door::stop_requested();
        tracing::info!(%address, "the bot listens");
        service.listen(listener, stop_requested).await;
        Ok(())
    }
}

/// Listens at an address.
pub(crate) async fn bind(address: &str) -> Result<TcpListener, Error> {
    listen(address).await.map_err(Error::io(format!("listening on {address}")))
}

/// At the first of its addresses that is free.
async fn listen(address: &str) -> io::Result<TcpListener> {
    let mut failed = io::ErrorKind::AddrNotAvailable.into();
    for address in tokio::net::lookup_host(address).await? {
        match door::listen(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

impl Service {
    /// Serves until `stop` resolves, then lets what is being handled finish: for 60 s at most.
    pub async fn listen(self, listener: TcpListener, stop: impl Future<Output = ()>) {
        let graceful = GracefulShutdown::new();
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        let mut stop = std::pin::pin!(stop);
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(ARRIVAL);
        loop {
            let place = tokio::select! {
                place = room.clone().acquire_owned() => place,
                () = &mut stop => break,
            };
            // The semaphore is never closed.
            let Ok(place) = place else { break };
            let (stream, _) = tokio::select! {
                connection = door::accept(&listener) => connection,
                () = &mut stop => break,
            };
            let service = self.clone();
            let service = hyper::service::service_fn(move |request| {
                let service = service.clone();
                async move { Ok::<_, Infallible>(answer(&service, request).await) }
            });
            let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
            tokio::spawn(async move {
                // A platform that goes away in the middle delivers again.
                let _ = connection.await;
                drop(place);
            });
        }
        drop(listener);
        if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
            tracing::warn!("some requests did not finish in time");
        }
    }
}

async fn answer(service: &Service, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = match tokio::time::timeout(ARRIVAL, Limited::new(body, LARGEST_BODY).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return refused(StatusCode::PAYLOAD_TOO_LARGE, "The request is too large");
        }
        Ok(Err(_)) => return refused(StatusCode::BAD_REQUEST, "The request broke off"),
        Err(_) => return refused(StatusCode::REQUEST_TIMEOUT, "The request took too long to arrive"),
    };
    service.call(Request::from_parts(head, body)).await.map(Full::new)
}

fn refused(status: StatusCode, why: &str) -> Response<Full<Bytes>> {
    json_answer(status, &json!({ "error": why })).map(Full::new)
}
