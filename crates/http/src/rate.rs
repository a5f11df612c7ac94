//! Requests a token may make in a second. Off by default.
//!
//! A bucket a token: it holds as many requests as the limit and refills steadily. The headers say
//! in whole seconds what the official SDK sleeps on (`spec/cloud/errors.md` § 4).

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Tokens remembered at most; beyond that full buckets are forgotten.
const REMEMBERED: usize = 100_000;

/// A limit on each token's requests.
#[derive(Debug)]
pub struct RateLimit {
    per_second: u32,
    buckets: Mutex<HashMap<String, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

/// Where a token stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) allowed: bool,
    limit: u32,
    remaining: u32,
    reset_seconds: u64,
}

impl RateLimit {
    /// At most this many requests a second from one token; 0 means no limit.
    pub fn new(per_second: u32) -> Self {
        RateLimit { per_second, buckets: Mutex::default() }
    }

    /// Takes one request from the token's bucket. `None` if there is no limit.
    pub(crate) fn take(&self, token: &str, now: Instant) -> Option<Standing> {
        if self.per_second == 0 {
            return None;
        }
        let rate = f64::from(self.per_second);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= REMEMBERED {
            buckets.retain(|_, bucket| bucket.left + now.duration_since(bucket.at).as_secs_f64() * rate < rate);
        }
        let bucket = match buckets.get_mut(token) {
            Some(bucket) => bucket,
            None => buckets.entry(token.to_owned()).or_insert(Bucket { left: rate, at: now }),
        };
        bucket.left = (bucket.left + now.duration_since(bucket.at).as_secs_f64() * rate).min(rate);
        bucket.at = now;
        let allowed = bucket.left >= 1.0;
        if allowed {
            bucket.left -= 1.0;
        }
        let missing = if allowed { rate - bucket.left } else { 1.0 - bucket.left };
        Some(Standing {
            allowed,
            limit: self.per_second,
            remaining: bucket.left as u32,
            reset_seconds: (missing / rate).ceil().max(1.0) as u64,
        })
    }
}

impl Standing {
    /// Tells the client where it stands.
    pub(crate) fn write(self, headers: &mut HeaderMap) {
        headers.insert(HeaderName::from_static("ratelimit-limit"), HeaderValue::from(self.limit));
        headers.insert(HeaderName::from_static("ratelimit-remaining"), HeaderValue::from(self.remaining));
        headers.insert(HeaderName::from_static("ratelimit-reset"), HeaderValue::from(self.reset_seconds));
        if !self.allowed {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(self.reset_seconds));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_bucket_empties_and_refills() {
        let limit = RateLimit::new(10);
        let start = Instant::now();
        for left in (0..10).rev() {
            let standing = limit.take("a", start).unwrap();
            assert!(standing.allowed);
            assert_eq!(standing.remaining, left);
        }
        let refused = limit.take("a", start).unwrap();
        assert!(!refused.allowed);
        assert_eq!(refused.reset_seconds, 1);
        assert!(limit.take("b", start).unwrap().allowed);
        assert!(limit.take("a", start + Duration::from_millis(150)).unwrap().allowed);
        assert!(RateLimit::new(0).take("a", start).is_none());
    }
}
