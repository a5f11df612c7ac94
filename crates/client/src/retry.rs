//! When a request is repeated, and how long to wait before (`spec/cloud/errors.md` § 4).
//!
//! Only decides; [`crate::transport`] does the waiting and the sending. Randomness and the clock
//! are passed in, so every rule is tested as a pure function.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use duologue_model::Timestamp;
use http::{HeaderMap, Method, StatusCode};
use time::{OffsetDateTime, format_description::well_known::Rfc2822};
use tokio::time::Instant;

use crate::{Error, TransportError};

/// A `X-RateLimit-Reset` above this (September 2001) is an instant in seconds since the epoch, as
/// some servers send it, and not a number of seconds from now.
const EPOCH_FROM: f64 = 1e9;

/// How often and how patiently a failed request is repeated.
///
/// What is repeated:
///
/// | failure | GET, PUT, DELETE, keyed POST | POST, PATCH |
/// |---|---|---|
/// | no connection (nothing was sent) | yes | yes |
/// | connection broke, timeout | yes | no |
/// | 429, 502, 503 | yes | yes |
/// | other 5xx | yes | no |
/// | anything else | no | no |
///
/// The delay is what the server asks for (`RateLimit-Reset`, else `X-RateLimit-Reset`, else
/// `Retry-After`) plus up to a tenth, or else a random time up to `base · 2ⁿ`; both bounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    retries: u32,
    base: Duration,
    max_delay: Duration,
}

impl Default for RetryPolicy {
    /// Three retries, from half a second on, never waiting more than 30 seconds.
    fn default() -> Self {
        RetryPolicy { retries: 3, base: Duration::from_millis(500), max_delay: Duration::from_secs(30) }
    }
}

impl RetryPolicy {
    /// Never repeats.
    pub fn none() -> Self {
        RetryPolicy { retries: 0, ..Self::default() }
    }

    /// At most this many repetitions after the first attempt.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// The longest first delay when the server asks for none; doubles with every attempt.
    pub fn base_delay(mut self, base: Duration) -> Self {
        self.base = base;
        self
    }

    /// The longest delay of all, also when the server asks for a longer one.
    pub fn max_delay(mut self, max_delay: Duration) -> Self {
        self.max_delay = max_delay;
        self
    }

    pub(crate) fn bound(&self) -> Duration {
        self.max_delay
    }

    /// How long to wait before repeating after `failure`, the `attempt`th (from 0); `None` to give up.
    pub(crate) fn delay(&self, attempt: u32, safe: bool, failure: &Failure, random: u64) -> Option<Duration> {
        if attempt >= self.retries || !worth_repeating(&failure.error, safe) {
            return None;
        }
        let fraction = random as f64 / u64::MAX as f64;
        let delay = match failure.asked {
            Some(asked) => asked.saturating_add(asked.mul_f64(fraction / 10.0)),
            None => self.base.saturating_mul(1 << attempt.min(20)).min(self.max_delay).mul_f64(fraction),
        };
        Some(delay.min(self.max_delay))
    }
}

/// A failed attempt.
#[derive(Debug)]
pub(crate) struct Failure {
    pub error: Error,
    /// The delay the server asked for.
    pub asked: Option<Duration>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure { error, asked: None }
    }
}

/// Whether a request with this method has the same effect when it arrives twice.
pub(crate) fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::PUT | Method::DELETE)
}

/// `safe`: arriving twice does no harm.
fn worth_repeating(error: &Error, safe: bool) -> bool {
    match error {
        Error::Transport(TransportError::Connect { .. }) => true,
        Error::Transport(_) => safe,
        Error::Api(refusal) => match refusal.status {
            429 | 502 | 503 => true,
            500..=599 => safe,
            _ => false,
        },
        Error::Decode { .. } | Error::Config(_) => false,
    }
}

/// The delay a server asks for in its headers.
pub(crate) fn asked_delay(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    reset(headers, now).or_else(|| retry_after(text(headers, "retry-after")?, now))
}

/// When the window of the rate limit ends.
fn reset(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    ["ratelimit-reset", "x-ratelimit-reset"].iter().find_map(|name| {
        let seconds = number(text(headers, name)?)?;
        let from_now = if seconds > EPOCH_FROM { seconds - now.millis() as f64 / 1000.0 } else { seconds };
        Duration::try_from_secs_f64(from_now.max(0.0)).ok()
    })
}

/// Seconds, or an HTTP date.
fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    if let Some(seconds) = number(value) {
        return Duration::try_from_secs_f64(seconds.max(0.0)).ok();
    }
    let due = OffsetDateTime::parse(value.trim(), &Rfc2822).ok()?.unix_timestamp();
    let millis = due.saturating_mul(1000).saturating_sub(now.millis());
    Some(Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// The number a header begins with; parameters after it (`;w=60`) are ignored.
fn number(value: &str) -> Option<f64> {
    let number: f64 = value.split([';', ',']).next()?.trim().parse().ok()?;
    number.is_finite().then_some(number)
}

/// Holds requests back while the server's rate limit is used up. Shared by all clones of a client.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    closed_until: Mutex<Option<Instant>>,
}

impl Gate {
    /// Looks at the headers of an answer: closes until the reset when nothing remains, or when the
    /// server refused because nothing remained.
    pub fn observe(&self, status: StatusCode, headers: &HeaderMap, now: Timestamp, bound: Duration) {
        let remaining =
            ["ratelimit-remaining", "x-ratelimit-remaining"].iter().find_map(|name| number(text(headers, name)?));
        if status != StatusCode::TOO_MANY_REQUESTS && !remaining.is_some_and(|n| n <= 0.0) {
            return;
        }
        if let Some(delay) = reset(headers, now) {
            let until = Instant::now() + delay.min(bound);
            let mut closed = self.closed_until.lock().unwrap_or_else(PoisonError::into_inner);
            *closed = (*closed).max(Some(until));
        }
    }

    /// Waits until requests may be sent.
    pub async fn pass(&self) {
        while let Some(until) = self.closed() {
            tokio::time::sleep_until(until).await;
        }
    }

    fn closed(&self) -> Option<Instant> {
        let mut closed = self.closed_until.lock().unwrap_or_else(PoisonError::into_inner);
        *closed = closed.filter(|until| *until > Instant::now());
        *closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ApiError;

    const NOON: &str = "2026-01-31T12:00:00.000Z";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn asked(pairs: &[(&'static str, &str)]) -> Option<u64> {
        asked_delay(&headers(pairs), NOON.parse().unwrap()).map(|delay| delay.as_millis() as u64)
    }

    fn refusal(status: u16) -> Failure {
        let status = StatusCode::from_u16(status).unwrap();
        Error::from(ApiError::read(status, &HeaderMap::new(), b"")).into()
    }

    #[test]
    fn the_server_is_asked_in_this_order() {
        assert_eq!(asked(&[]), None);
        assert_eq!(asked(&[("retry-after", "3")]), Some(3000));
        assert_eq!(asked(&[("retry-after", "3"), ("x-ratelimit-reset", "2")]), Some(2000));
        assert_eq!(
            asked(&[("retry-after", "3"), ("x-ratelimit-reset", "2"), ("ratelimit-reset", "0.5;w=1")]),
            Some(500)
        );
        // What can't be read is as if absent.
        assert_eq!(asked(&[("ratelimit-reset", "soon"), ("retry-after", "1")]), Some(1000));
        assert_eq!(asked(&[("retry-after", "NaN")]), None);
        assert_eq!(asked(&[("retry-after", "-5")]), Some(0));
    }

    #[test]
    fn dates_and_epochs_count_from_now() {
        assert_eq!(asked(&[("retry-after", "Sat, 31 Jan 2026 12:00:07 GMT")]), Some(7000));
        assert_eq!(asked(&[("retry-after", "Sat, 31 Jan 2026 11:00:00 GMT")]), Some(0));
        assert_eq!(asked(&[("x-ratelimit-reset", "1769860809")]), Some(9000));
    }

    #[test]
    fn what_is_repeated() {
        let policy = RetryPolicy::default();
        let repeated = |failure: &Failure, safe| policy.delay(0, safe, failure, 1).is_some();
        for status in [429, 502, 503] {
            assert!(repeated(&refusal(status), true) && repeated(&refusal(status), false), "{status}");
        }
        for status in [500, 504] {
            assert!(repeated(&refusal(status), true) && !repeated(&refusal(status), false), "{status}");
        }
        for status in [301, 400, 404, 408, 409] {
            assert!(!repeated(&refusal(status), true), "{status}");
        }
        let broken = Error::Transport(TransportError::Interrupted("reset".into())).into();
        assert!(repeated(&broken, true) && !repeated(&broken, false));
        let unreachable = TransportError::Connect { origin: "http://x".into(), reason: "refused".into() };
        assert!(repeated(&Error::Transport(unreachable).into(), false));
        assert!(policy.delay(3, true, &refusal(503), 1).is_none());
        assert!(RetryPolicy::none().delay(0, true, &refusal(503), 1).is_none());
    }

    #[test]
    fn delays_grow_vary_and_are_bounded() {
        let policy = RetryPolicy::default().retries(100);
        let at = |attempt, random| policy.delay(attempt, true, &refusal(503), random).unwrap();
        assert_eq!(at(0, 0), Duration::ZERO);
        assert_eq!(at(0, u64::MAX), Duration::from_millis(500));
        assert_eq!(at(2, u64::MAX), Duration::from_secs(2));
        assert_eq!(at(99, u64::MAX), Duration::from_secs(30));
        assert!((at(2, u64::MAX / 2).as_secs_f64() - 1.0).abs() < 0.001);

        let told = |seconds| Failure { asked: Some(Duration::from_secs(seconds)), ..refusal(429) };
        assert_eq!(policy.delay(0, false, &told(10), 0), Some(Duration::from_secs(10)));
        assert_eq!(policy.delay(0, false, &told(10), u64::MAX), Some(Duration::from_secs(11)));
        assert_eq!(policy.delay(0, false, &told(3600), 0), Some(Duration::from_secs(30)));
        assert_eq!(policy.delay(0, false, &told(u64::MAX), u64::MAX), Some(Duration::from_secs(30)));
    }
}
