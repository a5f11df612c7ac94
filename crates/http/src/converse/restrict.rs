//! Who may use a bot's public routes, and how often: applies the rules of [`duologue_v12::restrict`].
//!
//! [`check`] is asked once a request, before the bot is. Counters are of this process; nothing is kept
//! of what isn't limited.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use duologue_v12::{Answer, ApiError, config::RateLimit, restrict::Rules};
use http::{HeaderMap, HeaderValue, header};

/// Counters in a generation; two generations are kept.
const GENERATION: usize = 50_000;

/// The header for those who need `Authorization` for something else.
const API_KEY: &str = "x-api-key";

/// Why a request isn't let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Restricted {
    /// 403, as text.
    Closed(Answer),
    /// 401, in the envelope.
    NoKey(ApiError),
    /// 429, with the seconds for `Retry-After`.
    Throttled(u64),
}

/// What is known of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'r> {
    pub(super) bot: &'r str,
    pub(super) user: &'r str,
    /// Where it comes from, if that is known.
    pub(super) address: Option<IpAddr>,
    pub(super) headers: &'r HeaderMap,
    /// Whether a key is needed where the bot has keys.
    pub(super) needs_key: bool,
}

/// Checks switch, origin, address, key, and at last what the bot and the user may get: a stranger
/// without a key uses up nobody's share but his address's.
///
/// # Errors
/// The first thing that is wrong.
pub(super) fn check(rules: &Rules, buckets: &Buckets, asked: &Asked<'_>, now: Instant) -> Result<(), Restricted> {
    rules.check_open(asked.bot).map_err(Restricted::Closed)?;
    check_origin(rules, asked.headers)?;
    let bot = asked.bot;
    let address = rules.per_address.zip(asked.address);
    let address = address.map(|(limit, address)| (format!("a {bot} {}", network(address)), limit));
    buckets.take(address, now)?;
    if asked.needs_key && !rules.accepts_key(keys(asked.headers)) {
        return Err(Restricted::NoKey(ApiError::unauthorized("An API key is needed")));
    }
    let of_bot = rules.per_bot.map(|limit| (format!("b {bot}"), limit));
    let of_user = rules.per_user.map(|limit| (format!("u {bot} {}", asked.user), limit));
    buckets.take(of_bot.into_iter().chain(of_user), now)
}

fn check_origin(rules: &Rules, headers: &HeaderMap) -> Result<(), Restricted> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    if origin.to_str().is_ok_and(|origin| rules.allows_origin(origin)) || rules.allowed_origins.is_none() {
        return Ok(());
    }
    Err(Restricted::Closed(Answer::text(403, "This origin is not allowed")))
}

/// The keys that a request presents.
fn keys(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text(header::AUTHORIZATION.as_str()).and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    bearer.into_iter().chain(text(API_KEY))
}

/// Whoever has an address of version 6 has a whole network of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address => address,
    }
}

/// Where the bot has a list of origins, lets only their pages read the answer, whatever the server lets.
pub(super) fn limit_origins(rules: &Rules, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
    if rules.allowed_origins.is_none() {
        return;
    }
    headers.remove(header::ACCESS_CONTROL_ALLOW_ORIGIN);
    if !headers.get_all(header::VARY).iter().any(|vary| vary.as_bytes().eq_ignore_ascii_case(b"origin")) {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    match origin.filter(|origin| origin.to_str().is_ok_and(|origin| rules.allows_origin(origin))) {
        Some(origin) => {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.append(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Retry-After"));
        }
        None => {
            headers.remove(header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
        }
    }
}

/// Counters of requests: each holds as many as its limit and refills steadily over its window.
///
/// What wasn't used for a generation is forgotten, so that callers who invent users fill no memory.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    generations: Mutex<[HashMap<String, Bucket>; 2]>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Buckets {
    /// Takes a request from each of these, or from none.
    fn take(&self, wanted: impl IntoIterator<Item = (String, RateLimit)>, now: Instant) -> Result<(), Restricted> {
        let mut wanted = wanted.into_iter().peekable();
        if wanted.peek().is_none() {
            return Ok(());
        }
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let filled: Vec<(String, Bucket, RateLimit)> = wanted
            .map(|(name, limit)| {
                let bucket = bucket(&generations, &name, limit, now);
                (name, bucket, limit)
            })
            .collect();
        let longest = filled.iter().filter_map(|(_, bucket, limit)| bucket.wait(*limit)).max();
        for (name, mut bucket, _) in filled {
            if longest.is_none() {
                bucket.left -= 1.0;
            }
            keep(&mut generations, name, bucket);
        }
        longest.map_or(Ok(()), |wait| Err(Restricted::Throttled(wait.as_secs_f64().ceil().max(1.0) as u64)))
    }
}

fn bucket([young, old]: &[HashMap<String, Bucket>; 2], name: &str, limit: RateLimit, now: Instant) -> Bucket {
    let most = limit.limit as f64;
    let Some(known) = young.get(name).or_else(|| old.get(name)) else { return Bucket { left: most, at: now } };
    let refilled = now.saturating_duration_since(known.at).as_secs_f64() * most / limit.window.as_secs_f64();
    Bucket { left: (known.left + refilled).min(most), at: now }
}

fn keep(generations: &mut [HashMap<String, Bucket>; 2], name: String, bucket: Bucket) {
    if generations[0].len() >= GENERATION {
        generations[1] = std::mem::take(&mut generations[0]);
    }
    generations[0].insert(name, bucket);
}

impl Bucket {
    /// How long until there is a request in it; `None` if there is one.
    fn wait(&self, limit: RateLimit) -> Option<Duration> {
        let missing = 1.0 - self.left;
        // A hair's breadth is the arithmetic's.
        (missing > 1e-9).then(|| limit.window.mul_f64(missing / limit.limit as f64))
    }
}

#[cfg(test)]
mod tests {
    use duologue_v12::restrict::{ApiKey, Closed};

    use super::*;

    fn limit(limit: u64, seconds: u64) -> Option<RateLimit> {
        Some(RateLimit { window: Duration::from_secs(seconds), limit })
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| ((*name).try_into().unwrap(), value.parse().unwrap())).collect()
    }

    fn asked<'r>(user: &'r str, address: &str, headers: &'r HeaderMap) -> Asked<'r> {
        Asked { bot: "shop", user, address: Some(address.parse().unwrap()), headers, needs_key: true }
    }

    #[test]
    fn a_limit_refills_over_its_window() {
        let (rules, buckets) = (Rules { per_user: limit(2, 10), ..Rules::default() }, Buckets::default());
        let (none, start) = (HeaderMap::new(), Instant::now());
        let ask = |user, millis| {
            check(&rules, &buckets, &asked(user, "10.0.0.1", &none), start + Duration::from_millis(millis))
        };
        assert_eq!((ask("a", 0), ask("a", 0)), (Ok(()), Ok(())));
        assert_eq!(ask("a", 0), Err(Restricted::Throttled(5)));
        assert_eq!(ask("b", 0), Ok(()), "each user has his own");
        assert_eq!(ask("a", 4_500), Err(Restricted::Throttled(1)));
        assert_eq!((ask("a", 5_000), ask("a", 5_000)), (Ok(()), Err(Restricted::Throttled(5))));
        assert_eq!(
            (ask("a", 60_000), ask("a", 60_000), ask("a", 60_000)),
            (Ok(()), Ok(()), Err(Restricted::Throttled(5)))
        );
    }

    #[test]
    fn who_is_refused_takes_nothing() {
        let rules = Rules { per_bot: limit(3, 60), per_user: limit(1, 60), ..Rules::default() };
        let (buckets, none, now) = (Buckets::default(), HeaderMap::new(), Instant::now());
        let ask = |user| check(&rules, &buckets, &asked(user, "10.0.0.1", &none), now);
        assert_eq!(ask("a"), Ok(()));
        for _ in 0..5 {
            assert_eq!(ask("a"), Err(Restricted::Throttled(60)));
        }
        assert_eq!((ask("b"), ask("c")), (Ok(()), Ok(())));
        assert_eq!(ask("d"), Err(Restricted::Throttled(20)), "the bot's are used up");
    }

    #[test]
    fn strangers_use_up_their_address_only() {
        let rules = Rules {
            api_keys: Some(vec![ApiKey::of("secret")]),
            per_bot: limit(2, 60),
            per_address: limit(2, 60),
            ..Rules::default()
        };
        let (buckets, now) = (Buckets::default(), Instant::now());
        let ask = |address, headers: &HeaderMap| check(&rules, &buckets, &asked("a", address, headers), now);
        let wrong = headers(&[("authorization", "Bearer wrong"), ("x-api-key", "also wrong")]);
        for _ in 0..2 {
            let Err(Restricted::NoKey(error)) = ask("2001:db8::1", &wrong) else { panic!() };
            assert_eq!((error.status, error.message.as_str()), (401, "Unauthorized: An API key is needed"));
        }
        // The same network, and the same address in its other form.
        assert_eq!(ask("2001:db8::2", &wrong), Err(Restricted::Throttled(30)));
        assert_eq!(ask("10.0.0.1", &headers(&[("authorization", "bearer  secret")])), Ok(()));
        assert_eq!(
            ask("::ffff:10.0.0.1", &headers(&[("authorization", "Bearer token"), ("x-api-key", "secret")])),
            Ok(())
        );
        assert_eq!(ask("10.0.0.1", &wrong), Err(Restricted::Throttled(30)));
        let secured = Asked { needs_key: false, ..asked("a", "10.0.0.2", &wrong) };
        let none_left = check(&rules, &buckets, &secured, now);
        assert_eq!(none_left, Err(Restricted::Throttled(30)), "the bot's are used up, for all of its routes");
    }

    #[test]
    fn origins_and_the_switch() {
        let rules = Rules { allowed_origins: Some(vec!["https://a.example".into()]), ..Rules::default() };
        let check = |rules: &Rules, headers: &HeaderMap| {
            check(rules, &Buckets::default(), &asked("a", "10.0.0.1", headers), Instant::now())
        };
        let (good, bad) = (headers(&[("origin", "https://a.example")]), headers(&[("origin", "https://b.example")]));
        assert_eq!((check(&rules, &good), check(&rules, &HeaderMap::new())), (Ok(()), Ok(())));
        assert_eq!(check(&rules, &bad), Err(Restricted::Closed(Answer::text(403, "This origin is not allowed"))));
        assert_eq!(check(&Rules::default(), &bad), Ok(()));
        let closed = Rules { closed: Some(Closed::ForBot), ..Rules::default() };
        assert!(matches!(check(&closed, &good), Err(Restricted::Closed(answer)) if answer.status == 403));

        let answered = |origin: &HeaderMap| {
            let mut answer =
                headers(&[("access-control-allow-origin", "*"), ("access-control-allow-credentials", "true")]);
            limit_origins(&rules, origin.get("origin"), &mut answer);
            answer
        };
        let allowed = answered(&good);
        assert_eq!(allowed["access-control-allow-origin"], "https://a.example");
        assert_eq!(
            (&allowed["access-control-allow-credentials"], &allowed["vary"]),
            (&HeaderValue::from_static("true"), &HeaderValue::from_static("Origin"))
        );
        for refused in [answered(&bad), answered(&HeaderMap::new())] {
            assert!(
                !refused.contains_key("access-control-allow-origin")
                    && !refused.contains_key("access-control-allow-credentials")
            );
        }
    }

    #[test]
    fn invented_users_fill_no_memory() {
        let rules = Rules { per_user: limit(1, 60), per_bot: limit(1_000_000, 1), ..Rules::default() };
        let (buckets, none, now) = (Buckets::default(), HeaderMap::new(), Instant::now());
        for user in 0..3 * GENERATION {
            check(&rules, &buckets, &asked(&user.to_string(), "10.0.0.1", &none), now).unwrap();
        }
        let generations = buckets.generations.lock().unwrap();
        assert!(generations.iter().all(|generation| generation.len() <= GENERATION + 1));
        let left = bucket(&generations, "b shop", rules.per_bot.unwrap(), now).left;
        assert_eq!(left, (1_000_000 - 3 * GENERATION) as f64, "what is used is remembered");
    }
}
