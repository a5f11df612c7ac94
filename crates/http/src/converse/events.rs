//! What a bot says without being asked: `GET …/converse/{userId}/events`, as server-sent events or by long
//! polling.
//!
//! Both read the bot's messages of the conversation after a position (`duologue_store::v12::listen`),
//! whoever said them. An event's id is its message's position, so `Last-Event-ID` resumes where a
//! connection broke. [`Listeners`] wakes whoever waits; a wake carries nothing, the table is read.
//!
//! A message counts as handed over before it is written to a connection, so that whoever has it from here
//! doesn't get it with his next answer, too. Whoever loses it on its way resumes from his position.

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
    v12::listen::{self, Heard, News},
};
use duologue_v12::ApiError;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use tokio::{
    sync::{broadcast, watch},
    time::{Instant, timeout_at},
};

use super::{Call, Outcome, Refused, admit, auth::failed, bot, decoded, message::user_id};
use crate::query::Query;

const HEARTBEAT: Duration = Duration::from_secs(15);
const LIFE: Duration = Duration::from_secs(600);
/// The longest wait of a poll.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How often is looked for messages that other processes stored.
const LOOK: Duration = Duration::from_secs(1);
/// Messages read at once.
const AT_ONCE: i64 = 100;
/// Seconds after which somebody for whom there was no room may try again.
const TOO_MANY_SECONDS: u64 = 5;
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

/// `GET …/converse/{userId}/events`: what the bot says to the user.
pub(super) async fn serve(call: &Call, bot_id: &str, user: &str) -> Outcome {
    let (bot_id, user) = (decoded(bot_id)?, user_id(user)?);
    let bot = bot(call, &bot_id).await?;
    admit(call, &bot, &user, true)?;
    let wanted = Wanted::read(&call.query, &call.headers)?;
    let heard = listen(&call.app.store, &call.app.listeners, (&bot.store_id, &user), wanted).await;
    heard.map_err(|unheard| match unheard {
        Unheard::TooMany => Refused::Throttled(TOO_MANY_SECONDS),
        Unheard::Error(error) => Refused::Error(error),
    })
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
        ends_at: Instant::now() + listeners.hub.life,
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
        // What he says that he has.
        self.hand_over().await?;
        let silence = Instant::now() + self.seat.hub.heartbeat;
        loop {
            let Some(heard) = self.news().await? else { return Ok(None) };
            if let Some(last) = heard.last() {
                self.position = last.at;
                self.hand_over().await?;
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

/// A message as it stands in `responses`.
fn payload(heard: &Heard) -> String {
    listen::response(&heard.kind, &heard.payload)
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
    /// The longest silence on a stream.
    heartbeat: Duration,
    /// How long a stream lives; then its client connects again, and is checked again.
    life: Duration,
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
        Listeners::limited(10_000, 16)
    }
}

impl Listeners {
    /// At most so many on this server, and so many to one conversation.
    pub fn limited(most: usize, most_of_one: usize) -> Self {
        Listeners::new(most, most_of_one, HEARTBEAT, LIFE)
    }

    fn new(most: usize, most_of_one: usize, heartbeat: Duration, life: Duration) -> Self {
        Listeners { hub: Arc::new(Hub { most, most_of_one, heartbeat, life, rooms: Mutex::default() }) }
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
                moved.for_each(|room| room.send_replace(()));
            }
            // Who missed something looks himself.
            Err(broadcast::error::RecvError::Lagged(_)) => {
                rooms.by_conversation.values().for_each(|room| room.send_replace(()));
            }
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use duologue_model::Json;
    use duologue_store::{
        Location,
        setup::Plan,
        v12::turns::{Commit, Committed, Memory, Said},
    };
    use http_body_util::BodyExt;

    use super::*;

    const USER: &str = "u/1";

    struct Bed {
        store: Arc<Store>,
        listeners: Listeners,
        bot: BotId,
        _folder: tempfile::TempDir,
    }

    impl Bed {
        async fn new() -> Bed {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(&Location::Sqlite(folder.path().join("duologue.db"))).await.unwrap();
            let plan = Plan {
                email: "owner@localhost".into(),
                workspace: "Test".into(),
                handle: "test".into(),
                bot: "tested".into(),
                bot_id: None,
                token: None,
            };
            let made = store.first_start(plan).await.unwrap().unwrap();
            let listeners = Listeners::new(3, 2, HEARTBEAT, LIFE);
            Bed { store: Arc::new(store), listeners, bot: made.bot, _folder: folder }
        }

        async fn listen(&self, user: &str, wanted: Wanted) -> Result<Response<Body>, Unheard> {
            listen(&self.store, &self.listeners, (&self.bot, user), wanted).await
        }

        async fn stream(&self, after: Option<i64>) -> Stream {
            let answer = self.listen(USER, Wanted::Stream(after.map(Timestamp::from_millis))).await.unwrap();
            assert_eq!(answer.headers()["content-type"], "text/event-stream; charset=utf-8");
            let mut stream = Stream(answer.into_body());
            assert!(stream.piece().await.unwrap().starts_with("retry: 1000\nid: "));
            stream
        }

        async fn poll(&self, after: Option<i64>, seconds: u64) -> (Vec<String>, i64) {
            let wanted = Wanted::Poll(after.map(Timestamp::from_millis), Duration::from_secs(seconds));
            let body = self.listen(USER, wanted).await.unwrap().into_body().collect().await.unwrap().to_bytes();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let responses = body["responses"].as_array().unwrap();
            let texts = responses.iter().map(|response| response["text"].as_str().unwrap().to_owned()).collect();
            (texts, body["after"].as_str().unwrap().parse().unwrap())
        }

        /// A turn of the user, and what it was handed that was late.
        async fn turn(&self, replies: &[&str], delivered: bool) -> Vec<String> {
            let turns_before = self.store.recall(&self.bot, USER).await.unwrap().turns;
            let empty = || json("{}");
            let commit = Commit {
                bot: self.bot.clone(),
                user: USER.into(),
                turns_before,
                incoming: Some(said("from the user")),
                answers: None,
                replies: replies.iter().map(|text| said(text)).collect(),
                delivered,
                memory: Memory {
                    user: None,
                    session: empty(),
                    context: empty(),
                    temp: empty(),
                    timeouts: 0,
                    context_expires_in: None,
                    session_expires_in: 60_000,
                },
                kvs: Vec::new(),
                users: Vec::new(),
                deleted_sessions: Vec::new(),
                elsewhere: Vec::new(),
                trace: None,
            };
            let Committed::Done(late) = self.store.write(commit).await.unwrap() else { panic!("stale") };
            late.iter().map(|said| said.payload.text().to_owned()).collect()
        }
    }

    fn json(text: &str) -> Json {
        Json::of(&serde_json::from_str::<serde_json::Value>(text).unwrap())
    }

    fn said(text: &str) -> Said {
        Said { kind: "text".into(), payload: Json::of(&serde_json::json!({ "text": text })) }
    }

    struct Stream(Body);

    impl Stream {
        /// The next piece; `None` at the end.
        async fn piece(&mut self) -> Option<String> {
            let frame =
                tokio::time::timeout(Duration::from_secs(20), self.0.frame()).await.expect("a stream in silence");
            frame.map(|frame| String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap())
        }

        /// Ids and texts of the next events.
        async fn events(&mut self) -> Vec<(i64, String)> {
            let piece = self.piece().await.unwrap();
            let events = piece.split_terminator("\n\n").map(|event| {
                let (id, data) = event.split_once("\nevent: message\ndata: ").unwrap_or_else(|| panic!("{piece:?}"));
                let data: serde_json::Value = serde_json::from_str(data).unwrap();
                assert_eq!(data["type"], "text");
                (id.strip_prefix("id: ").unwrap().parse().unwrap(), data["text"].as_str().unwrap().to_owned())
            });
            events.collect()
        }
    }

    fn texts(events: &[(i64, String)]) -> Vec<&str> {
        events.iter().map(|(_, text)| text.as_str()).collect()
    }

    #[tokio::test]
    async fn nothing_is_lost_between_connections() {
        let bed = Bed::new().await;
        bed.turn(&["late"], false).await;
        let mut stream = bed.stream(None).await;
        assert_eq!(texts(&stream.events().await), ["late"]);
        let waiting = tokio::spawn(async move {
            let events = stream.events().await;
            (stream, events)
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        bed.turn(&["one", "two"], false).await;
        let (stream, events) = waiting.await.unwrap();
        assert_eq!(texts(&events), ["one", "two"]);
        drop(stream);

        bed.turn(&["three"], false).await;
        bed.turn(&["four"], true).await;
        // The connection broke after the first of the two.
        let mut stream = bed.stream(Some(events[0].0)).await;
        let events = stream.events().await;
        assert_eq!(texts(&events), ["two", "three", "four"]);
        let mut other = bed.stream(Some(events[1].0)).await;
        assert_eq!(texts(&other.events().await), ["four"], "each listener has his own position");
    }

    #[tokio::test]
    async fn what_was_heard_is_not_late() {
        let bed = Bed::new().await;
        let mut stream = bed.stream(None).await;
        bed.turn(&["heard"], false).await;
        assert_eq!(texts(&stream.events().await), ["heard"]);
        assert_eq!(bed.turn(&["a"], true).await, [""; 0]);
        assert_eq!(texts(&stream.events().await), ["a"]);
        drop(stream);
        // Nobody listens any more.
        bed.turn(&["unheard"], false).await;
        assert_eq!(bed.turn(&[], true).await, [r#"{"text":"unheard"}"#]);
    }

    #[tokio::test]
    async fn polls_wait_for_messages_or_their_time() {
        let bed = Bed::new().await;
        let (nothing, start) = bed.poll(None, 0).await;
        assert_eq!((nothing, start), (Vec::new(), 0));
        let began = Instant::now();
        let (heard, ()) = tokio::join!(bed.poll(Some(start), 30), async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            bed.turn(&["one"], false).await;
        });
        assert_eq!(heard.0, ["one"]);
        assert!(began.elapsed() < Duration::from_secs(10));
        assert_eq!(bed.poll(Some(heard.1), 1).await, (Vec::new(), heard.1));
        assert_eq!(bed.poll(Some(start), 1).await.0, ["one"], "the same position, the same messages");
        assert_eq!(bed.turn(&[], true).await, [""; 0], "it was handed over");
    }

    #[tokio::test]
    async fn there_is_room_for_so_many() {
        let bed = Bed::new().await;
        let stream = || bed.listen(USER, Wanted::Stream(None));
        let (first, second) = (stream().await.unwrap(), stream().await.unwrap());
        assert_eq!(stream().await.err(), Some(Unheard::TooMany), "of one conversation");
        let third = bed.listen("u2", Wanted::Stream(None)).await.unwrap();
        assert_eq!(bed.listen("u3", Wanted::Stream(None)).await.err(), Some(Unheard::TooMany));
        drop((first, third));
        assert!(bed.listen("u3", Wanted::Stream(None)).await.is_ok());
        assert_eq!(bed.listeners.hub.rooms().by_conversation.len(), 1, "rooms are left");
        // The server stops.
        let mut second = Stream(second.into_body());
        second.piece().await.unwrap();
        let ending = tokio::spawn(async move { second.piece().await });
        tokio::time::sleep(Duration::from_millis(50)).await;
        bed.listeners.close();
        assert_eq!(ending.await.unwrap(), None);
        assert_eq!(stream().await.err(), Some(Unheard::TooMany));
    }

    #[tokio::test]
    async fn silence_is_broken() {
        let mut bed = Bed::new().await;
        bed.listeners = Listeners::new(3, 2, Duration::from_millis(100), Duration::from_secs(2));
        let mut stream = bed.stream(None).await;
        let began = Instant::now();
        for _ in 0..2 {
            assert_eq!(stream.piece().await.unwrap(), ": \n\n");
        }
        assert!(began.elapsed() >= Duration::from_millis(200));
        while let Some(piece) = stream.piece().await {
            assert_eq!(piece, ": \n\n");
        }
        assert!(began.elapsed() >= Duration::from_millis(1900), "a connection doesn't live for ever");
    }

    #[test]
    fn payloads_are_one_event_with_a_type() {
        let heard = |payload: &str| Heard {
            at: Timestamp::from_millis(7),
            kind: "te\"xt".into(),
            payload: Json::trusted(payload.to_owned()),
        };
        for (given, expected) in [
            (r#"{"type":"a","x":1}"#, r#"{"type":"a","x":1}"#),
            (r#"{ "x": 1.0 }"#, r#"{"type":"te\"xt","x": 1.0 }"#),
            ("{}", r#"{"type":"te\"xt"}"#),
            (r#"{"\u0074ype":null}"#, r#"{"\u0074ype":null}"#),
        ] {
            assert_eq!(payload(&heard(given)), expected);
        }
        let event = event(String::new(), &heard("{\"type\":1,\r\n\"x\":2}"));
        assert_eq!(event, "id: 7\nevent: message\ndata: {\"type\":1,\ndata: \ndata: \"x\":2}\n\n");
    }

    #[test]
    fn what_is_wanted() {
        let read = |query: &str, headers: &[(&'static str, &'static str)]| {
            let headers: HeaderMap =
                headers.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect();
            Wanted::read(query, &headers).map_err(|error| error.message)
        };
        let at = |millis| Some(Timestamp::from_millis(millis));
        assert_eq!(read("", &[]), Ok(Wanted::Stream(None)));
        assert_eq!(read("after=5", &[("last-event-id", "9")]), Ok(Wanted::Stream(at(9))));
        assert_eq!(read("after=5", &[("accept", "application/json")]), Ok(Wanted::Poll(at(5), Duration::ZERO)));
        assert_eq!(
            read("after=&wait=0.5", &[("last-event-id", "")]),
            Ok(Wanted::Poll(None, Duration::from_millis(500)))
        );
        assert_eq!(read("wait=1e9", &[]), Ok(Wanted::Poll(None, LONGEST_WAIT)));
        for wrong in ["after=x", "after=-1", "after=1e3", "after=9999999999999999"] {
            assert_eq!(read(wrong, &[]), Err("Bad Request: \"after\" is not the id of an event".to_owned()), "{wrong}");
        }
        for wrong in ["wait=-1", "wait=NaN", "wait=soon"] {
            assert_eq!(read(wrong, &[]), Err("Bad Request: \"wait\" is not a number of seconds".to_owned()), "{wrong}");
        }
    }
}
