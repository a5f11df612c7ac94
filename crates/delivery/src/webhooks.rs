//! Sends webhooks: what the store has for them, when it is due, signed, and again until it is taken.
//!
//! Called by the binary, once a process. Several processes on one database share the work: each claims
//! what it sends (`duologue_store::webhooks::queue`).
//!
//! A receiver that hangs or fails delays only itself: requests under way are bounded for each
//! subscription, more tightly the less room is left in all, and while it fails; all failing ones together
//! leave half of the room to the others. More than 170 may hang at once before others have to wait for a
//! request to be given up. A response other than 2xx, redirects included, is a failure.

mod sign;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use duologue_model::Timestamp;
use duologue_outbound::{Client, Limits, Request, Response};
use duologue_store::{
    Store,
    webhooks::queue::{Attempt, Claimed, Settled, Verdict},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use tokio::{
    sync::watch,
    task::{Id, JoinError, JoinSet},
    time::{Instant, sleep_until},
};

use crate::{Counters, counters::Share};

/// Requests of one subscription under way at once.
const AT_ONCE: usize = 16;
/// The same when half of the room in all is taken.
const AT_ONCE_SCARCE: usize = 4;
/// The same when three quarters are.
const AT_ONCE_LAST: usize = 1;
/// The same while it fails.
const AT_ONCE_FAILING: usize = 2;
/// Requests under way at once in all.
const AT_ONCE_IN_ALL: usize = 512;
/// The largest answer that is taken, in bytes.
const LARGEST_ANSWER: usize = 1 << 20;
/// How much of an answer is kept, in bytes.
const KEPT_ANSWER: usize = 1024;
/// The longest pause that a receiver may ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);
/// How often is looked for what other processes left, where several share the database; and elsewhere, in
/// case the clock was set.
const LOOK_SHARED: Duration = Duration::from_secs(5);
const LOOK_ALONE: Duration = Duration::from_secs(60);
/// The pause after a failure of the store.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// How long requests under way may still take when the server stops.
const FAREWELL: Duration = Duration::from_secs(5);

/// How webhooks are sent.
#[derive(Clone, Debug)]
pub struct Options {
    /// The pauses before the second attempt, the third, and so on; none is left after the last.
    pub schedule: Vec<Duration>,
    /// After so long of nothing but failures a subscription is disabled.
    pub patience: Duration,
    /// How long a request may take.
    pub timeout: Duration,
    /// What is sent is counted here.
    pub counters: Arc<Counters>,
}

impl Default for Options {
    fn default() -> Self {
        const HOUR: u64 = 3600;
        let pauses = [5, 5 * 60, 30 * 60, 2 * HOUR, 5 * HOUR, 10 * HOUR, 10 * HOUR];
        Options {
            schedule: pauses.map(Duration::from_secs).to_vec(),
            patience: Duration::from_secs(5 * 24 * HOUR),
            timeout: Duration::from_secs(15),
            counters: Arc::default(),
        }
    }
}

impl Options {
    /// How long a claim holds: the longest request, and time to note how it ended.
    fn lease(&self) -> i64 {
        millis(self.timeout) + 15_000
    }

    fn limits(&self) -> Limits {
        Limits { timeout: self.timeout, redirects: 0, body: LARGEST_ANSWER }
    }
}

/// Sends what is due until `stop` turns true. `client` decides what may be reached.
pub async fn run(store: Arc<Store>, client: Client, options: Options, mut stop: watch::Receiver<bool>) {
    let sender = Arc::new(Sender { store: store.clone(), client, options });
    let mut desk = Desk::new(sender);
    if let Err(error) = store.free_webhooks().await {
        tracing::error!(%error, "webhooks that were under way have to wait for their leases to lapse");
    }
    let look_every = if store.is_shared() { LOOK_SHARED } else { LOOK_ALONE };
    let mut look_at = Instant::now();
    while !*stop.borrow() {
        let mut pause = match desk.round(look_at <= Instant::now()).await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::error!(%error, "webhooks can't be sent; trying again");
                Some(AFTER_FAILURE)
            }
        };
        if look_at <= Instant::now() {
            look_at = Instant::now() + look_every;
        }
        let until = pause.take().map_or(look_at, |pause| look_at.min(Instant::now() + pause));
        tokio::select! {
            () = sleep_until(until) => {}
            () = store.live().webhooks.woken() => {}
            Some(ended) = desk.requests.join_next_with_id() => desk.ended(ended),
            _ = stop.changed() => {}
        }
    }
    desk.close().await;
}

/// Who is sent to, and when somebody is looked at next.
struct Desk {
    sender: Arc<Sender>,
    /// When a subscription has something due.
    due: HashMap<String, Timestamp>,
    /// Requests under way.
    busy: HashMap<String, usize>,
    failing: HashSet<String>,
    requests: JoinSet<Ended>,
    /// Whose they are.
    whose: HashMap<Id, String>,
}

/// A request that ended.
struct Ended {
    has_failed: bool,
    settled: Settled,
}

impl Desk {
    fn new(sender: Arc<Sender>) -> Self {
        Desk {
            sender,
            due: HashMap::new(),
            busy: HashMap::new(),
            failing: HashSet::new(),
            requests: JoinSet::new(),
            whose: HashMap::new(),
        }
    }

    /// Begins what is due and has room; answers how long nothing else will be due. `look`: at all
    /// subscriptions, whoever wrote for them.
    async fn round(&mut self, look: bool) -> Result<Option<Duration>, duologue_store::Error> {
        let store = self.sender.store.clone();
        while let Some(ended) = self.requests.try_join_next_with_id() {
            self.ended(ended);
        }
        let woken = store.live().webhooks.take();
        if look {
            for (subscription, at) in store.webhooks_due().await? {
                self.note(subscription, at);
            }
        }
        let now = store.now();
        for subscription in woken {
            self.note(subscription, now);
        }
        let wanted = self.wanted(now);
        if !wanted.is_empty() {
            let named: Vec<String> = wanted.iter().map(|(subscription, _)| subscription.clone()).collect();
            let portions = store.claim_webhooks(wanted, self.sender.options.lease()).await?;
            for subscription in named {
                self.due.remove(&subscription);
            }
            for portion in portions {
                if let Some(next) = portion.next {
                    // Nothing to send although something is due: another process is about to, or the
                    // database's clock is behind.
                    let early = if portion.claimed.is_empty() { store.now().plus_millis(20) } else { next };
                    self.note(portion.subscription, next.max(early));
                }
                for chain in chains(portion.claimed) {
                    self.begin(chain);
                }
            }
        }
        let now = store.now();
        let has_room = |subscription: &str| self.room(subscription, self.requests.len()) > 0;
        let next = self.due.iter().filter(|(subscription, _)| has_room(subscription)).map(|(_, at)| *at).min();
        Ok(next.map(|at| Duration::from_millis(u64::try_from(at.millis() - now.millis()).unwrap_or(0))))
    }

    fn note(&mut self, subscription: String, at: Timestamp) {
        let due = self.due.entry(subscription).or_insert(at);
        *due = at.min(*due);
    }

    /// How many more requests a subscription may have under way, when there are `under_way` in all.
    fn room(&self, subscription: &str, under_way: usize) -> usize {
        room(self.busy.get(subscription).copied().unwrap_or(0), self.failing.contains(subscription), under_way)
    }

    /// The subscriptions that have something due and room for it; the longest overdue get theirs first.
    fn wanted(&self, now: Timestamp) -> Vec<(String, usize)> {
        let mut due: Vec<(&Timestamp, &String)> =
            self.due.iter().filter(|(_, at)| **at <= now).map(|(subscription, at)| (at, subscription)).collect();
        due.sort();
        let mut under_way = self.requests.len();
        let mut wanted = Vec::new();
        for (_, subscription) in due {
            let room = self.room(subscription, under_way);
            if room > 0 {
                under_way += room;
                wanted.push((subscription.clone(), room));
            }
        }
        wanted
    }

    fn begin(&mut self, chain: Vec<Claimed>) {
        let Some(first) = chain.first() else { return };
        let subscription = first.destination.id.clone();
        if first.destination.is_failing {
            self.failing.insert(subscription.clone());
        }
        *self.busy.entry(subscription.clone()).or_default() += 1;
        let sender = self.sender.clone();
        let under_way = Share::request(&sender.options.counters);
        let request = self.requests.spawn(async move {
            let _under_way = under_way;
            sender.send_all(chain).await
        });
        self.whose.insert(request.id(), subscription);
    }

    fn ended(&mut self, ended: Result<(Id, Ended), JoinError>) {
        let (id, ended) = match ended {
            Ok((id, ended)) => (id, ended),
            Err(error) => {
                // Its row is due again when its lease lapses.
                tracing::error!(%error, "a webhook's request was lost");
                (error.id(), Ended { has_failed: true, settled: Settled::default() })
            }
        };
        let Ended { has_failed, settled } = ended;
        let Some(subscription) = self.whose.remove(&id) else { return };
        if let Some(busy) = self.busy.get_mut(&subscription) {
            *busy = busy.saturating_sub(1);
            if *busy == 0 {
                self.busy.remove(&subscription);
            }
        }
        match has_failed {
            true => self.failing.insert(subscription.clone()),
            false => self.failing.remove(&subscription),
        };
        if let Some(at) = settled.next {
            self.note(subscription, at);
        }
    }

    /// Lets requests under way end, for a while; what doesn't is sent again by whoever comes next.
    async fn close(mut self) {
        let all = async { while self.requests.join_next().await.is_some() {} };
        if tokio::time::timeout(FAREWELL, all).await.is_err() {
            tracing::info!("some webhooks are sent again after the next start");
        }
    }
}

/// How many more requests a subscription may have under way that has `busy`, when there are `under_way` in all.
fn room(busy: usize, is_failing: bool, under_way: usize) -> usize {
    let free = AT_ONCE_IN_ALL.saturating_sub(under_way);
    let own = match free {
        0 => 0,
        _ if is_failing && free <= AT_ONCE_IN_ALL / 2 => 0,
        _ if is_failing => AT_ONCE_FAILING,
        _ if free > AT_ONCE_IN_ALL / 2 => AT_ONCE,
        _ if free > AT_ONCE_IN_ALL / 4 => AT_ONCE_SCARCE,
        _ => AT_ONCE_LAST,
    };
    own.saturating_sub(busy)
}

/// What is for one user of the Converse API is sent one after the other, everything else by itself.
fn chains(claimed: Vec<Claimed>) -> Vec<Vec<Claimed>> {
    let mut chains: Vec<Vec<Claimed>> = Vec::with_capacity(claimed.len());
    let mut places: HashMap<String, usize> = HashMap::new();
    for claimed in claimed {
        match claimed.conversation.clone() {
            None => chains.push(vec![claimed]),
            Some(conversation) => match places.get(&conversation) {
                Some(place) => chains[*place].push(claimed),
                None => {
                    places.insert(conversation, chains.len());
                    chains.push(vec![claimed]);
                }
            },
        }
    }
    chains
}

struct Sender {
    store: Arc<Store>,
    client: Client,
    options: Options,
}

impl Sender {
    async fn send_all(&self, chain: Vec<Claimed>) -> Ended {
        let mut all = Ended { has_failed: false, settled: Settled::default() };
        for (place, claimed) in chain.into_iter().enumerate() {
            // Whatever can't be sent within its lease is claimed again when that lapses.
            if place > 0 && self.store.now().plus_millis(millis(self.options.timeout)) >= claimed.lease {
                break;
            }
            let ended = self.send(claimed).await;
            all.has_failed |= ended.has_failed;
            let next = [all.settled.next, ended.settled.next].into_iter().flatten().min();
            all.settled = Settled { next, disabled: ended.settled.disabled };
        }
        all
    }

    /// Sends something once and notes how it ended.
    async fn send(&self, claimed: Claimed) -> Ended {
        let (attempt, retry_after) = self.attempt(&claimed).await;
        let verdict = self.verdict(&attempt, claimed.tries, retry_after);
        let has_failed = attempt.error.is_some();
        let (status, error) = (attempt.status, attempt.error.clone().unwrap_or_default());
        let subscription = claimed.destination.id.clone();
        let (bot, id) = (claimed.destination.bot.as_str(), claimed.id.as_str());
        let settled = self.store.settle_webhook(&claimed, attempt, verdict, millis(self.options.patience)).await;
        let settled = settled.unwrap_or_else(|error| {
            tracing::error!(%error, webhook = subscription, id, "it couldn't be noted how a webhook ended; it is sent again");
            Settled::default()
        });
        self.options.counters.attempt(verdict);
        match verdict {
            Verdict::Delivered => tracing::debug!(bot, webhook = subscription, id, "webhook delivered"),
            Verdict::Retry(wait) => {
                tracing::info!(bot, webhook = subscription, id, status, error, wait, "webhook failed; trying again");
            }
            Verdict::Failed | Verdict::Gone => {
                tracing::warn!(bot, webhook = subscription, id, status, error, "webhook failed for good");
            }
        }
        if let Some(reason) = &settled.disabled {
            self.options.counters.disable();
            tracing::warn!(bot, webhook = subscription, reason, "webhook disabled");
        }
        Ended { has_failed, settled }
    }

    async fn attempt(&self, claimed: &Claimed) -> (Attempt, Option<Duration>) {
        let (at, started) = (self.store.now(), Instant::now());
        let body = Bytes::from(claimed.body.text().to_owned());
        let mut request = Request::new(Method::POST, claimed.destination.url.as_str());
        request.headers = headers(claimed, SystemTime::now(), &body);
        request.body = body;
        request.limits = Some(self.options.limits());
        let result = self.client.send(request).await;
        let duration = millis(started.elapsed());
        let none = Attempt { at, duration, status: None, error: None, response: String::new() };
        match result {
            Ok(response) => {
                let retry_after = retry_after(&response.headers, SystemTime::now());
                (answered(none, &response), retry_after)
            }
            Err(error) => (Attempt { error: Some(error.to_string()), ..none }, None),
        }
    }

    fn verdict(&self, attempt: &Attempt, tries: i64, retry_after: Option<Duration>) -> Verdict {
        if attempt.error.is_none() {
            return Verdict::Delivered;
        }
        if attempt.status == Some(410) {
            return Verdict::Gone;
        }
        let pause = usize::try_from(tries).ok().and_then(|tries| self.options.schedule.get(tries));
        let Some(pause) = pause else { return Verdict::Failed };
        // A tenth more or less, so that what failed together doesn't come back together.
        let [chance] = self.store.ids().bytes::<1>();
        let pause = pause.mul_f64(0.9 + f64::from(chance) / 255.0 * 0.2);
        Verdict::Retry(millis(retry_after.map_or(pause, |asked| pause.max(asked.min(LONGEST_RETRY_AFTER)))))
    }
}

fn headers(claimed: &Claimed, at: SystemTime, body: &[u8]) -> HeaderMap {
    let seconds = at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let signatures = sign::signatures(&claimed.destination.keys, &claimed.id, seconds, body);
    // Letters, digits and punctuation of ASCII only.
    let value = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
    HeaderMap::from_iter([
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::USER_AGENT, HeaderValue::from_static(concat!("Duologue/", env!("CARGO_PKG_VERSION")))),
        (HeaderName::from_static("webhook-id"), value(&claimed.id)),
        (HeaderName::from_static("webhook-timestamp"), value(&seconds.to_string())),
        (HeaderName::from_static("webhook-signature"), value(&signatures)),
    ])
}

fn answered(none: Attempt, response: &Response) -> Attempt {
    let status = response.status.as_u16();
    let error = match status {
        200..=299 => None,
        300..=399 => Some(format!("the receiver answered {status}; redirects are not followed")),
        _ => Some(format!("the receiver answered {status}")),
    };
    Attempt { status: Some(status), error, response: beginning(&response.body), ..none }
}

/// The beginning of an answer as text that any database takes.
fn beginning(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(KEPT_ANSWER)]);
    text.trim_end_matches(char::REPLACEMENT_CHARACTER).replace('\0', "")
}

/// How long a receiver asks to be left alone: seconds, or until a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).ok(),
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(text: &'static str) -> Option<Duration> {
        let now = httpdate::parse_http_date("Sat, 21 Nov 2026 12:00:00 GMT").unwrap();
        retry_after(&HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_static(text))]), now)
    }

    #[test]
    fn a_receiver_says_when_to_come_back_in_seconds_or_by_date() {
        assert_eq!(after("120"), Some(Duration::from_secs(120)));
        assert_eq!(after("Sat, 21 Nov 2026 12:01:00 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(after("Sat, 21 Nov 2026 11:00:00 GMT"), None);
        assert_eq!(after("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new(), SystemTime::now()), None);
    }

    #[test]
    fn what_is_for_one_user_is_sent_in_order() {
        let destination = Arc::new(duologue_store::webhooks::queue::Destination {
            id: "hook".into(),
            bot: "bot".into(),
            url: String::new(),
            keys: Vec::new(),
            is_failing: false,
        });
        let claimed = |id: &str, conversation: Option<&str>| Claimed {
            id: id.into(),
            destination: destination.clone(),
            kind: "x".into(),
            body: duologue_model::Json::empty_object(),
            attempts: 0,
            tries: 0,
            lease: Timestamp::default(),
            conversation: conversation.map(str::to_owned),
        };
        let all = [("1", Some("a")), ("2", None), ("3", Some("b")), ("4", Some("a")), ("5", None)];
        let chains = chains(all.map(|(id, conversation)| claimed(id, conversation)).into());
        let ids: Vec<Vec<&str>> =
            chains.iter().map(|chain| chain.iter().map(|claimed| claimed.id.as_str()).collect()).collect();
        assert_eq!(ids, [vec!["1", "4"], vec!["2"], vec!["3"], vec!["5"]]);
    }

    #[test]
    fn when_many_hang_there_is_room_for_others() {
        for hanging in [1, 16, 17, 40, 100, 175] {
            let (mut busy, mut under_way) = (vec![0; hanging], 0);
            // Each takes what it gets until nobody gets any more.
            loop {
                let before = under_way;
                for busy in &mut busy {
                    let room = room(*busy, false, under_way);
                    *busy += room;
                    under_way += room;
                }
                if under_way == before {
                    break;
                }
            }
            assert!(under_way < AT_ONCE_IN_ALL, "{hanging}: {under_way}");
            assert!(busy.iter().all(|busy| (1..=AT_ONCE).contains(busy)), "{hanging}: {busy:?}");
            assert!(room(0, false, under_way) > 0, "{hanging}");
        }
        assert_eq!((room(0, false, 0), room(1, true, 0), room(2, true, 0)), (AT_ONCE, 1, 0));
        assert_eq!((room(0, true, AT_ONCE_IN_ALL / 2), room(0, false, AT_ONCE_IN_ALL)), (0, 0));
    }

    #[test]
    fn of_an_answer_the_beginning_is_kept() {
        assert_eq!(beginning(b"fine\0"), "fine");
        let long = "ä".repeat(KEPT_ANSWER);
        let kept = beginning(&[b"x", long.as_bytes()].concat());
        assert!(kept.len() <= KEPT_ANSWER && kept.ends_with('ä'), "cut between characters");
    }

    #[test]
    fn the_schedule_takes_more_than_a_day() {
        let options = Options::default();
        assert_eq!(options.schedule.len(), 7);
        assert!(options.schedule.iter().sum::<Duration>() > Duration::from_secs(27 * 3600));
        assert!(options.lease() > millis(options.timeout));
    }
}
