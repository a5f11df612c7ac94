//! What a bot says without being asked: `GET …/converse/{userId}/events`, as server-sent events or by long
//! polling.
//!
//! Both read the bot's messages of the conversation after a position (`duologue_store::v12::listen`),
//! whoever said them. An event's id is its message's position, so `Last-Event-ID` resumes where a
//! connection broke. [`Listeners`] wakes whoever waits; a wake carries nothing, the table is read.
//!
//! A message counts as handed over when the connection took it; whoever has it from here doesn't get it
//! with his next answer.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use duologue_model::{
    Timestamp,
    id::{BotId, ConversationId},
};
use duologue_store::{
    Store,
    live::Live,
    v12::listen::{Heard, News},
};
use duologue_v12::ApiError;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use tokio::{
    sync::{broadcast, watch},
    time::{Instant, timeout_at},
};

use super::auth::failed;
use crate::query::Query;

/// The longest silence on a stream.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a stream lives; then its client connects again, and is checked again.
const LIFE: Duration = Duration::from_secs(600);
/// The longest wait of a poll.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How often is looked for messages that other processes stored.
const LOOK: Duration = Duration::from_secs(1);
/// Messages read at once.
const AT_ONCE: i64 = 100;
/// Milliseconds after which a client is to connect again.
const RETRY: u32 = 1000;

/// How somebody wants to listen, and from which position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// As server-sent events.
    Stream(Option<Timestamp>),
    /// One answer, after a message or this wait.
    Poll(Option<Timestamp>, Duration),
}

impl Wanted {
    /// Reads a request. `Last-Event-ID` wins over `after`: a browser that connects again sends both. It is
    /// a poll if there is `wait`, in seconds, or if JSON is asked for.
    ///
    /// # Errors
    /// 400 if a position or wait is none.
    pub(super) fn read(query: &str, headers: &HeaderMap) -> Result<Wanted, ApiError> {
        let query = Query::parse(query).map_err(|refusal| ApiError::bad_request(&refusal.message))?;
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let last = text("last-event-id").filter(|id| !id.is_empty());
        let after = last.or_else(|| query.get("after").filter(|after| !after.is_empty())).map(position).transpose()?;
        match query.get("wait") {
            Some(wait) => Ok(Wanted::Poll(after, seconds(wait)?)),
            None if text("accept").is_some_and(|accept| accept.contains("application/json")) => {
                Ok(Wanted::Poll(after, Duration::ZERO))
            }
            None => Ok(Wanted::Stream(after)),
        }
    }
}

fn position(text: &str) -> Result<Timestamp, ApiError> {
    let digits = (1..=15).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let millis = text.parse().ok().filter(|_| digits);
    millis.map(Timestamp::from_millis).ok_or_else(|| ApiError::bad_request("\"after\" is not the id of an event"))
}

fn seconds(text: &str) -> Result<Duration, ApiError> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    let seconds = seconds.ok_or_else(|| ApiError::bad_request("\"wait\" is not a number of seconds"))?;
    Ok(Duration::from_secs_f64(seconds.min(LONGEST_WAIT.as_secs_f64())))
}

/// Why somebody can't listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unheard {
    /// Too many listen already: 429.
    TooMany,
    /// In the envelope.
    Error(ApiError),
}

/// Lets somebody listen to what the bot says to a user. Who may was checked before.
///
/// # Errors
/// [`Unheard::TooMany`] if too many do, or the server is about to stop; 500 if the store fails.
pub(super) async fn listen(
    store: &Arc<Store>,
    listeners: &Listeners,
    (bot, user): (&BotId, &str),
    wanted: Wanted,
) -> Result<Response<Body>, Unheard> {
    let failed = |error| Unheard::Error(failed(error));
    let place = store.open_v12_conversation(bot, user).await.map_err(failed)?;
    let seat = listeners.enter(store.live(), &place.conversation).ok_or(Unheard::TooMany)?;
    let (Wanted::Stream(after) | Wanted::Poll(after, _)) = wanted;
    let listener = Listener {
        store: store.clone(),
        seat,
        position: after.unwrap_or(place.delivered_at),
        delivered_at: place.delivered_at,
        ends_at: Instant::now() + LIFE,
        has_begun: false,
    };
    match wanted {
        Wanted::Stream(_) => Ok(stream(listener)),
        Wanted::Poll(_, wait) => poll(listener, wait).await.map_err(failed),
    }
}

/// Somebody who listens.
struct Listener {
    store: Arc<Store>,
    seat: Seat,
    /// The last message that he has.
    position: Timestamp,
    /// Up to where is noted that messages were handed over.
    delivered_at: Timestamp,
    ends_at: Instant,
    has_begun: bool,
}

/// Why a wait is over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Woken {
    News,
    Silence,
    Closed,
}

impl Listener {
    /// What is new; `None` if the conversation was deleted.
    async fn news(&mut self) -> Result<Option<Vec<Heard>>, duologue_store::Error> {
        // Seen before the table is read, so that what comes meanwhile wakes again.
        self.seat.woken.borrow_and_update();
        let news = self.store.v12_news(&self.seat.conversation, self.position, AT_ONCE).await?;
        let Some(News { heard, delivered_at }) = news else { return Ok(None) };
        self.delivered_at = delivered_at;
        Ok(Some(heard))
    }

    /// Notes what was handed over, unless that is known.
    async fn hand_over(&mut self) -> Result<(), duologue_store::Error> {
        if self.position > self.delivered_at {
            self.store.hand_over_v12(&self.seat.conversation, self.position).await?;
            self.delivered_at = self.position;
        }
        Ok(())
    }

    async fn wait(&mut self, until: Instant) -> Woken {
        let look = if self.store.is_shared() { until.min(Instant::now() + LOOK) } else { until };
        match timeout_at(look, self.seat.woken.changed()).await {
            Ok(Ok(())) => Woken::News,
            Ok(Err(_)) => Woken::Closed,
            Err(_) if look < until => Woken::News,
            Err(_) => Woken::Silence,
        }
    }

    /// The next piece of the stream; `None` at its end.
    async fn piece(&mut self) -> Result<Option<String>, duologue_store::Error> {
        if !self.has_begun {
            self.has_begun = true;
            // An id without data: whoever loses the connection before the first message resumes here.
            return Ok(Some(format!("retry: {RETRY}\nid: {}\n\n", self.position.millis())));
        }
        // The piece before has left.
        self.hand_over().await?;
        let silence = Instant::now() + HEARTBEAT;
        loop {
            let Some(heard) = self.news().await? else { return Ok(None) };
            if let Some(last) = heard.last() {
                self.position = last.at;
                return Ok(Some(heard.iter().fold(String::new(), event)));
            }
            if Instant::now() >= self.ends_at {
                return Ok(None);
            }
            match self.wait(silence.min(self.ends_at)).await {
                Woken::News => {}
                Woken::Silence => return Ok(Some(": \n\n".to_owned())),
                Woken::Closed => return Ok(None),
            }
        }
    }
}

fn stream(listener: Listener) -> Response<Body> {
    let pieces = futures_util::stream::unfold(listener, |mut listener| async move {
        let piece = listener.piece().await.unwrap_or_else(|error| {
            tracing::error!(%error, "a listener is left alone");
            None
        });
        piece.map(|piece| (Ok::<_, std::convert::Infallible>(Bytes::from(piece)), listener))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies hold back what they buffer.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

async fn poll(mut listener: Listener, wait: Duration) -> Result<Response<Body>, duologue_store::Error> {
    let until = Instant::now() + wait;
    let heard = loop {
        let heard = listener.news().await?.unwrap_or_default();
        if !heard.is_empty() || Instant::now() >= until || listener.wait(until).await == Woken::Closed {
            break heard;
        }
    };
    if let Some(last) = heard.last() {
        listener.position = last.at;
    }
    listener.hand_over().await?;
    let heard: Vec<String> = heard.iter().map(payload).collect();
    let body = format!("{{\"responses\":[{}],\"after\":\"{}\"}}", heard.join(","), listener.position.millis());
    Ok(crate::envelope::raw_json(200, body))
}

/// Appends a message as an event.
fn event(mut out: String, heard: &Heard) -> String {
    // Writing to a String can't fail.
    let _ = write!(out, "id: {}\nevent: message\n", heard.at.millis());
    // A payload is kept as it came, which may be in several lines.
    for line in payload(heard).split(['\n', '\r']) {
        let _ = writeln!(out, "data: {line}");
    }
    out.push('\n');
    out
}

/// A message as it stands in `responses`: its payload, with the type.
fn payload(heard: &Heard) -> String {
    let text = heard.payload.text().trim();
    let members: Option<HashMap<std::borrow::Cow<'_, str>, serde::de::IgnoredAny>> = serde_json::from_str(text).ok();
    match (members, text.strip_prefix('{')) {
        (Some(members), Some(rest)) if !members.contains_key("type") => {
            let kind = serde_json::Value::from(heard.kind.as_str());
            let comma = if members.is_empty() { "" } else { "," };
            format!("{{\"type\":{kind}{comma}{}", rest.trim_start())
        }
        _ => text.to_owned(),
    }
}

// ---- who is woken

/// Everybody who listens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Listeners {
    hub: Arc<Hub>,
}

#[derive(Debug)]
struct Hub {
    /// Most listeners.
    most: usize,
    /// Most listeners to one conversation.
    most_of_one: usize,
    rooms: Mutex<Rooms>,
}

#[derive(Debug, Default)]
struct Rooms {
    by_conversation: HashMap<ConversationId, watch::Sender<()>>,
    listeners: usize,
    is_waking: bool,
    is_closed: bool,
}

impl Default for Listeners {
    fn default() -> Self {
        Listeners::new(10_000, 16)
    }
}

impl Listeners {
    /// At most so many, and so many of one conversation.
    pub fn new(most: usize, most_of_one: usize) -> Self {
        Listeners { hub: Arc::new(Hub { most, most_of_one, rooms: Mutex::default() }) }
    }

    /// Ends all streams and waits, and lets nobody in any more: for the server's stop.
    pub fn close(&self) {
        let mut rooms = self.hub.rooms();
        rooms.is_closed = true;
        rooms.by_conversation.clear();
    }

    /// A seat, if there is room.
    fn enter(&self, live: &Live, conversation: &ConversationId) -> Option<Seat> {
        let mut rooms = self.hub.rooms();
        if rooms.is_closed || rooms.listeners >= self.hub.most {
            return None;
        }
        let woken = match rooms.by_conversation.entry(conversation.clone()) {
            Entry::Occupied(room) if room.get().receiver_count() >= self.hub.most_of_one => return None,
            Entry::Occupied(room) => room.get().subscribe(),
            Entry::Vacant(room) => room.insert(watch::Sender::new(())).subscribe(),
        };
        rooms.listeners += 1;
        if !rooms.is_waking {
            rooms.is_waking = true;
            tokio::spawn(wake(self.hub.clone(), live.subscribe()));
        }
        Some(Seat { hub: self.hub.clone(), conversation: conversation.clone(), woken })
    }
}

impl Hub {
    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A listener's place; left when dropped.
struct Seat {
    hub: Arc<Hub>,
    conversation: ConversationId,
    woken: watch::Receiver<()>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut rooms = self.hub.rooms();
        rooms.listeners -= 1;
        // This seat's own receiver still counts.
        if rooms.by_conversation.get(&self.conversation).is_some_and(|room| room.receiver_count() <= 1) {
            rooms.by_conversation.remove(&self.conversation);
        }
    }
}

/// Wakes listeners as their conversations move, until nobody listens.
async fn wake(hub: Arc<Hub>, mut feed: broadcast::Receiver<Arc<[(ConversationId, Timestamp)]>>) {
    loop {
        let moved = feed.recv().await;
        let mut rooms = hub.rooms();
        if rooms.by_conversation.is_empty() {
            rooms.is_waking = false;
            return;
        }
        match moved {
            Ok(moved) => {
                let moved = moved.iter().filter_map(|(id, _)| rooms.by_conversation.get(id));
                moved.for_each(|room| drop(room.send_replace(())));
            }
            // Who missed something looks himself.
            Err(broadcast::error::RecvError::Lagged(_)) => {
                rooms.by_conversation.values().for_each(|room| drop(room.send_replace(())));
            }
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}
