//! `httpServer.rateLimit`: requests of one address in a window of time. Beside it stand the counters of
//! bots' own limits.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use duologue_v12::config::RateLimit;
use http::HeaderMap;

use super::restrict::Buckets;
use crate::Peer;

/// Addresses that are remembered; beyond that those whose window is over are forgotten.
const MOST: usize = 100_000;

/// Counts requests by address. Nothing is kept while no limit is configured.
#[derive(Debug)]
pub struct Throttle {
    windows: Mutex<HashMap<IpAddr, (Instant, u64)>>,
    /// Whether `X-Forwarded-For` is to be believed.
    behind_proxy: bool,
    pub(super) buckets: Buckets,
}

impl Throttle {
    /// `behind_proxy`: whether `X-Forwarded-For` is set by a proxy that can be trusted.
    pub fn new(behind_proxy: bool) -> Self {
        Throttle { windows: Mutex::default(), behind_proxy, buckets: Buckets::default() }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// If it is one too many: in how many seconds the window is over.
    pub(super) fn count(&self, limit: Option<RateLimit>, peer: Option<Peer>, headers: &HeaderMap) -> Result<(), u64> {
        let Some((limit, address)) = limit.zip(self.address(peer, headers)) else { return Ok(()) };
        let now = Instant::now();
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= MOST {
            windows.retain(|_, (since, _)| now.duration_since(*since) < limit.window);
        }
        let (since, count) = windows.entry(address).or_insert((now, 0));
        if now.duration_since(*since) >= limit.window {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        if *count <= limit.limit {
            return Ok(());
        }
        let left = limit.window.saturating_sub(now.duration_since(*since));
        Err(left.as_secs_f64().ceil().max(1.0) as u64)
    }

    /// Where a request comes from, if that is known.
    pub(super) fn address(&self, peer: Option<Peer>, headers: &HeaderMap) -> Option<IpAddr> {
        let forwarded = headers.get("x-forwarded-for").filter(|_| self.behind_proxy);
        let first = forwarded.and_then(|value| value.to_str().ok()?.split(',').next()?.trim().parse().ok());
        first.or(peer.map(|peer| peer.0.ip()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_address_has_its_window() {
        let throttle = Throttle::new(false);
        let limit = Some(RateLimit { window: Duration::from_secs(60), limit: 2 });
        let from = |text: &str| Some(Peer(text.parse().unwrap()));
        let count = |peer| throttle.count(limit, peer, &HeaderMap::new());
        assert_eq!([0; 3].map(|_| count(from("10.0.0.1:1"))), [Ok(()), Ok(()), Err(60)]);
        assert_eq!(count(from("10.0.0.2:1")), Ok(()));
        assert_eq!(throttle.count(None, from("10.0.0.1:1"), &HeaderMap::new()), Ok(()));
    }
}
