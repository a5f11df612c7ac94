//! Health, readiness, metrics and the description of what is served: for operators, without a
//! token and without any of the data.

use duologue_model::{Error as Refusal, ErrorKind};
use serde_json::json;

use crate::{
    call::{self, Call},
    openapi,
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[
    route!(Public GET "/health" health health),
    route!(Public GET "/ready" ready ready),
    route!(Public GET "/metrics" metrics metrics),
    route!(Public GET "/openapi.json" openapi describe),
];

/// The process is alive.
async fn health(_: Call) -> Answer {
    call::ok(&json!({ "status": "ok", "name": "duologue", "version": env!("CARGO_PKG_VERSION") }))
}

/// The database answers and takes writes.
async fn ready(call: Call) -> Answer {
    match call.app.store.ping().await {
        Ok(()) => call::ok(&json!({ "status": "ready" })),
        Err(error) => {
            tracing::error!(%error, "not ready");
            let mut response =
                crate::envelope::Failure(Refusal::new(ErrorKind::Internal, "The database does not answer."))
                    .render(call.app.store.ids(), call.app.store.now());
            *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
            response.headers_mut().insert(http::header::RETRY_AFTER, http::HeaderValue::from_static("1"));
            Ok(response)
        }
    }
}

async fn metrics(call: Call) -> Answer {
    call::plain("text/plain; version=0.0.4; charset=utf-8", call.app.metrics.render())
}

async fn describe(_: Call) -> Answer {
    Ok(crate::envelope::raw_json(200, openapi::document()))
}
