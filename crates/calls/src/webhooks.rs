//! Requests of the outside world to integrations (`spec/cloud/bridge-protocol.md` § 6).

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use duologue_bridge::{Answer, Call, Operation};
use duologue_model::{Error as Refusal, ErrorKind};
use duologue_store::callees::InstanceCode;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Calls, Result, callees, invalid, refusal};

/// Most requests to one instance at once.
const MOST_AT_ONCE: usize = 64;

const IDENTIFIER: HeaderName = HeaderName::from_static("x-bp-integration-identifier");
const NO_INTERSTITIAL: HeaderName = HeaderName::from_static("x-bp-disable-interstitial");

/// Most characters of an identifier.
const LONGEST_IDENTIFIER: usize = 200;

/// A request as an integration gets it (§ 6.2).
#[derive(Clone, Debug, Serialize)]
pub struct Incoming {
    /// Upper case.
    pub method: String,
    /// Begins with `/`; what follows the webhook's id.
    pub path: String,
    /// Without `?`, as it was sent.
    pub query: String,
    /// By names in lower case.
    pub headers: BTreeMap<String, String>,
    /// As it was sent; absent if it is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// What a person who connects an integration gets to see (§ 6.4).
#[derive(Debug)]
pub enum Oauth {
    /// What the integration answers.
    Answer(Answer),
    /// A page that says whether it worked: below 400 it did.
    Page {
        /// What the integration answered.
        status: StatusCode,
    },
}

/// Bounds how many requests one instance gets at once.
#[derive(Default)]
pub(crate) struct Gates(Mutex<HashMap<String, Weak<Semaphore>>>);

impl Gates {
    fn enter(&self, webhook: &str) -> Result<OwnedSemaphorePermit, Refusal> {
        let gate = self.of(webhook);
        gate.try_acquire_owned().map_err(|_| {
            let text = format!("{MOST_AT_ONCE} requests to this webhook are being answered. Try again later.");
            Refusal::new(ErrorKind::RateLimited, text)
        })
    }

    fn of(&self, webhook: &str) -> Arc<Semaphore> {
        let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = gates.get(webhook).and_then(Weak::upgrade) {
            return gate;
        }
        gates.retain(|_, gate| gate.strong_count() > 0);
        let gate = Arc::new(Semaphore::new(MOST_AT_ONCE));
        gates.insert(webhook.to_owned(), Arc::downgrade(&gate));
        gate
    }
}

fn unknown(webhook: &str) -> Refusal {
    Refusal::not_found("webhook", webhook)
}

impl Calls {
    /// Waits for a place to hold a large body.
    pub async fn place_for_large(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        self.large.clone().acquire_owned().await.ok()
    }

    /// Whether somebody answers requests to this webhook. Refuses others.
    pub async fn check_webhook(&self, webhook: &str) -> Result<()> {
        self.open(webhook).await.map(|_| ())
    }

    /// Passes a request on and answers what the integration answers, whatever it is.
    ///
    /// # Errors
    /// `ResourceNotFound` if there is no such instance or it is disabled, `RateLimited` if it has enough to
    /// do, `OperationTimeout` if its code takes too long, `Runtime` if that can't be reached.
    pub async fn webhook(&self, webhook: &str, incoming: Incoming) -> Result<Answer> {
        let code = self.open(webhook).await?;
        self.pass(code, incoming).await
    }

    /// The same for the page where somebody connects an integration; `state` is the id of the webhook.
    ///
    /// # Errors
    /// As [`Calls::webhook`].
    pub async fn oauth(&self, state: &str, incoming: Incoming) -> Result<Oauth> {
        let code = self.open(state).await?;
        let mut answer = self.pass(code.clone(), incoming).await?;
        let identifier = answer.headers.remove(&IDENTIFIER);
        let identifier = identifier.as_ref().and_then(|value| value.to_str().ok()).map(str::to_owned);
        let identifier = identifier.filter(|text| !text.is_empty() && text.chars().count() <= LONGEST_IDENTIFIER);
        let success = answer.status.as_u16() < 400;
        if success {
            self.store.connected(code.bot.clone(), code.alias.clone(), identifier).await?;
        }
        let wants_itself = is_true(answer.headers.remove(&NO_INTERSTITIAL).as_ref());
        if wants_itself || answer.status.is_redirection() {
            return Ok(Oauth::Answer(answer));
        }
        Ok(Oauth::Page { status: answer.status })
    }

    async fn open(&self, webhook: &str) -> Result<Arc<InstanceCode>> {
        let code = self.store.webhook_code(webhook).await?.filter(|code| code.enabled);
        Ok(code.ok_or_else(|| unknown(webhook))?)
    }

    pub(crate) async fn pass(&self, code: Arc<InstanceCode>, incoming: Incoming) -> Result<Answer> {
        #[derive(Serialize)]
        struct Received {
            req: Incoming,
        }
        let gate = self.gates.enter(&code.webhook_id)?;
        let this = self.clone();
        self.to_the_end(async move {
            let callee = callees::instance(&code).map_err(|error| invalid(&error))?;
            let body = serde_json::to_string(&Received { req: incoming }).unwrap_or_else(|_| "{}".to_owned());
            let call = Call::new(Operation::WebhookReceived, body);
            let result = match this.bridge.exchange(&callee, &call).await {
                Err(duologue_bridge::Failure::Unreachable(_)) => this.bridge.exchange(&callee, &call).await,
                result => result,
            };
            drop(gate);
            let mut answer = result.map_err(|failure| refusal(&failure))?;
            own_headers(&mut answer.headers);
            Ok(answer)
        })
        .await
    }
}

fn is_true(value: Option<&HeaderValue>) -> bool {
    value.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
}

/// Leaves the headers that are about the content, not about the connection it came over.
pub fn own_headers(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(http::header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(*name);
    }
}

const HOP_BY_HOP: &[&str] = &[
    "connection",
    "content-length",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_connection_stay_behind() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
            ("content-type", "text/plain"),
            ("set-cookie", "a=b"),
            ("set-cookie", "c=d"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        own_headers(&mut headers);
        assert_eq!(headers.len(), 3);
        assert_eq!(headers.get_all("set-cookie").iter().count(), 2);
    }

    #[test]
    fn an_instance_gets_no_more_than_it_can_do() {
        let gates = Gates::default();
        let inside: Vec<_> = (0..MOST_AT_ONCE).map(|_| gates.enter("w").unwrap()).collect();
        assert_eq!(gates.enter("w").unwrap_err().kind, ErrorKind::RateLimited);
        assert!(gates.enter("other").is_ok());
        drop(inside);
        assert!(gates.enter("w").is_ok());
    }
}
