//! The client against a server that answers from a script: what is sent, what is repeated, how long
//! it waits, and whether lists are complete.

// Test code that runs outside `#[test]` functions.
#![allow(clippy::unwrap_used)]

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use duologue_client::{
    Client, CreateMessage, CreateUser, Error, ErrorKind, GetOrCreateConversation, ImportRecord, IncomingMessage,
    InitializeIncomingMessage, Json, Method, PatchState, RetryPolicy, Schedule, SetState, Sort, StateType,
    TransportError, TryStreamExt, UpdateUser,
};
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;

/// What the server does with one request.
#[derive(Clone, Debug)]
enum Step {
    Answer {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: String,
    },
    /// Accepts the request and never answers.
    Hang,
    /// Accepts the request and closes the connection.
    Break,
    /// Answers with these pieces, a pause after each.
    Pieces(Vec<&'static str>, Duration),
}

fn answer(status: u16, body: impl ToString) -> Step {
    Step::Answer { status, headers: vec![], body: body.to_string() }
}

fn refusal(status: u16, kind: &str) -> Step {
    answer(status, json!({"id": "err_1", "code": status, "type": kind, "message": "no"}))
}

impl Step {
    fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        if let Step::Answer { headers, .. } = &mut self {
            headers.push((name, value.to_string()));
        }
        self
    }
}

/// What the server received.
#[derive(Clone, Debug)]
struct Received {
    method: Method,
    target: String,
    headers: HeaderMap,
    body: String,
    at: Instant,
}

/// Answers requests with the steps of a script, in order; the last one is repeated.
struct Server {
    url: String,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Server {
    async fn start(script: Vec<Step>) -> Self {
        Self::start_with(script, None).await
    }

    /// With TLS when there is an acceptor.
    async fn start_with(script: Vec<Step>, tls: Option<TlsAcceptor>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://localhost:{}", listener.local_addr().unwrap().port());
        let received = Arc::new(Mutex::new(vec![]));
        let script = Arc::new(Mutex::new(VecDeque::from(script)));
        let log = received.clone();
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (log, script) = (log.clone(), script.clone());
                let service = service_fn(move |request| serve(request, log.clone(), script.clone()));
                let http = hyper::server::conn::http1::Builder::new();
                match &tls {
                    None => drop(tokio::spawn(http.serve_connection(TokioIo::new(socket), service))),
                    Some(tls) => {
                        let handshake = tls.accept(socket);
                        tokio::spawn(async move {
                            // A client that doesn't trust the certificate hangs up.
                            if let Ok(socket) = handshake.await {
                                let _ = http.serve_connection(TokioIo::new(socket), service).await;
                            }
                        });
                    }
                }
            }
        });
        Server { url, received }
    }

    fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    fn client(&self) -> Client {
        self.builder().build().unwrap()
    }

    /// Retries at once, unless the server asks for a delay.
    fn builder(&self) -> duologue_client::Builder {
        Client::builder()
            .api_url(&self.url)
            .token("secret")
            .bot_id("bot_1")
            .retry(RetryPolicy::default().base_delay(Duration::from_millis(1)))
    }
}

type Body = BoxBody<Bytes, Infallible>;

async fn serve(
    request: Request<Incoming>,
    log: Arc<Mutex<Vec<Received>>>,
    script: Arc<Mutex<VecDeque<Step>>>,
) -> Result<Response<Body>, std::io::Error> {
    let (head, body) = request.into_parts();
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    log.lock().unwrap().push(Received {
        method: head.method,
        target: head.uri.to_string(),
        headers: head.headers,
        body,
        at: Instant::now(),
    });
    let step = {
        let mut script = script.lock().unwrap();
        if script.len() > 1 { script.pop_front().unwrap() } else { script[0].clone() }
    };
    match step {
        Step::Hang => std::future::pending().await,
        Step::Break => Err(std::io::Error::other("as scripted")),
        Step::Answer { status, headers, body } => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            Ok(response.body(http_body_util::Full::new(Bytes::from(body)).boxed()).unwrap())
        }
        Step::Pieces(pieces, pause) => {
            let frames = stream::iter(pieces).then(move |piece| async move {
                tokio::time::sleep(pause).await;
                Ok(Frame::data(Bytes::from_static(piece.as_bytes())))
            });
            Ok(Response::new(BodyExt::boxed(StreamBody::new(frames.boxed().into_sync()))))
        }
    }
}

/// Makes a stream that is only ever polled by one task shareable, as a boxed body must be.
trait IntoSync: Sized {
    fn into_sync(self) -> SyncStream<Self> {
        SyncStream(Mutex::new(self))
    }
}
impl<S: stream::Stream + Unpin> IntoSync for S {}

struct SyncStream<S>(Mutex<S>);

impl<S: stream::Stream + Unpin> stream::Stream for SyncStream<S> {
    type Item = S::Item;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.get_mut().0.get_mut().unwrap().poll_next_unpin(cx)
    }
}

const TIME: &str = "2026-01-31T12:00:00.000Z";

fn user(id: &str) -> Value {
    json!({"id": id, "createdAt": TIME, "updatedAt": TIME, "tags": {}})
}

fn conversation(id: &str) -> Value {
    json!({"id": id, "createdAt": TIME, "updatedAt": TIME, "channel": "c", "integration": "", "tags": {}})
}

fn message(id: &str) -> Value {
    json!({
        "id": id, "createdAt": TIME, "updatedAt": TIME, "type": "text", "payload": {"text": "hi"},
        "direction": "incoming", "userId": "user_1", "conversationId": "conv_1", "tags": {},
    })
}

fn state() -> Step {
    let state = json!({
        "id": "state_1", "createdAt": TIME, "updatedAt": TIME, "botId": "bot_1", "name": "n", "type": "bot",
        "payload": {},
    });
    answer(200, json!({"state": state, "meta": {"cached": false}}))
}

fn page(ids: &[&str], next: Option<&str>) -> Step {
    let users: Vec<Value> = ids.iter().map(|id| user(id)).collect();
    answer(200, json!({"users": users, "meta": {"nextToken": next}}))
}

// What is sent.

#[tokio::test]
async fn identity_travels_with_every_request() {
    let server = Server::start(vec![answer(200, json!({"user": user("user_1")}))]).await;
    let client = server.client().with_integration("intver_1", Some("slack")).unwrap();
    assert_eq!(client.get_user("user_1").await.unwrap().id.as_str(), "user_1");
    let received = &server.received()[0];
    assert_eq!((received.method.as_str(), received.target.as_str()), ("GET", "/v1/chat/users/user_1"));
    let expected = [
        ("authorization", "Bearer secret"),
        ("x-bot-id", "bot_1"),
        ("x-integration-id", "intver_1"),
        ("x-integration-alias", "slack"),
    ];
    for (name, value) in expected {
        assert_eq!(received.headers[name], value);
    }
    assert_eq!(received.body, "");
}

#[tokio::test]
async fn bodies_have_the_shape_of_the_specification() {
    let script = vec![
        answer(201, json!({"message": message("msg_1")})),
        answer(200, json!({"user": user("user_1")})),
        state(),
        answer(
            200,
            json!({"user": user("user_1"), "conversation": conversation("conv_1"), "message": message("msg_1")}),
        ),
        state(),
    ];
    let server = Server::start(script).await;
    let client = server.client();

    let body = CreateMessage::new("conv_1", "user_1", "text", json!({"text": "hi"})).tag("a:b", "c");
    client.create_message(body.schedule(Schedule::Delay(5))).await.unwrap();
    let change = UpdateUser::new().name(None).picture_url("data:,").remove_tag("old").attributes(json!({"a": "b"}));
    client.update_user("user_1", change).await.unwrap();
    let kept = SetState::new(json!({"x": 1})).expiry(Duration::from_secs(2));
    client.set_state(StateType::Bot, "bot_1", "s#x y", kept).await.unwrap();
    let place = GetOrCreateConversation::new("dm").tag("id", "D1").discriminate_by(["id"]);
    let incoming = InitializeIncomingMessage::new(duologue_client::GetOrCreateUser::new(), place)
        .user_id("user_1")
        .message(IncomingMessage::new("text", json!({"text": "hi"})));
    assert!(client.initialize_incoming_message(incoming).await.unwrap().message.is_some());
    client.patch_state(StateType::Bot, "bot_1", "n", PatchState::new(json!({})).expiry(None)).await.unwrap();

    let sent: Vec<(String, Value)> = server
        .received()
        .iter()
        .map(|r| (format!("{} {}", r.method, r.target), serde_json::from_str(&r.body).unwrap()))
        .collect();
    let expected = [
        (
            "POST /v1/chat/messages",
            json!({"conversationId": "conv_1", "userId": "user_1", "type": "text", "payload": {"text": "hi"},
                   "tags": {"a:b": "c"}, "schedule": {"delay": 5}}),
        ),
        (
            "PUT /v1/chat/users/user_1",
            json!({"name": null, "pictureUrl": "data:,", "tags": {"old": null}, "attributes": {"a": "b"}}),
        ),
        ("POST /v1/chat/states/bot/bot_1/s%23x%20y", json!({"payload": {"x": 1}, "expiry": 2000})),
        (
            "POST /v1/chat/initialize-incoming-message",
            json!({"userId": "user_1",
                   "conversation": {"channel": "dm", "tags": {"id": "D1"}, "discriminateByTags": ["id"]},
                   "message": {"type": "text", "payload": {"text": "hi"}, "tags": {}, "discriminateByTags": []}}),
        ),
        ("PATCH /v1/chat/states/bot/bot_1/n", json!({"payload": {}, "expiry": null})),
    ];
    assert_eq!(sent.len(), expected.len());
    for ((target, body), (expected_target, expected_body)) in sent.iter().zip(expected) {
        assert_eq!(target, expected_target);
        assert_eq!(*body, expected_body, "{target}");
    }
}

#[tokio::test]
async fn lists_send_their_filters() {
    let server = Server::start(vec![answer(200, json!({"conversations": [], "meta": {}}))]).await;
    let list = server.client().list_conversations().channel("web chat").tag("x.y", "1").participant("u1");
    let list = list.participant("u2").sort(Sort::UpdatedDescending).after(TIME.parse().unwrap()).page_size(100);
    assert_eq!(list.all().await.unwrap(), []);
    assert_eq!(
        server.received()[0].target,
        "/v1/chat/conversations?channel=web%20chat&tags.x.y=1&participantIds=u1&participantIds=u2\
         &sortField=updatedAt&sortDirection=desc&afterDate=2026-01-31T12%3A00%3A00.000Z&pageSize=100"
    );
}

#[tokio::test]
async fn get_or_create_says_what_it_did_when_the_server_does() {
    let script = vec![
        answer(200, json!({"conversation": conversation("conv_1"), "meta": {"created": true}})),
        answer(200, json!({"conversation": conversation("conv_1")})),
    ];
    let server = Server::start(script).await;
    let client = server.client();
    for created in [Some(true), None] {
        let found = client.get_or_create_conversation(GetOrCreateConversation::new("c")).await.unwrap();
        assert_eq!((found.item.id.as_str(), found.created), ("conv_1", created));
    }
}

#[tokio::test]
async fn definitions_keep_what_is_not_typed() {
    let bot = r#"{"bot":{"name":"B","id":"bot_1","createdAt":"2026-01-31T12:00:00.000Z","updatedAt":"2026-01-31T12:00:00.000Z","future":[1.50]}}"#;
    let server = Server::start(vec![answer(200, bot)]).await;
    let bot = server.client().get_bot("bot_1").await.unwrap();
    assert_eq!((bot.id.as_str(), bot.name.as_str()), ("bot_1", "B"));
    assert!(bot.json().text().contains(r#""future":[1.50]"#));
}

#[tokio::test]
async fn imports_are_cut_into_requests_and_added_up() {
    let server = Server::start(vec![refusal(500, "Internal"), answer(200, json!({"created": 3, "skipped": 2}))]).await;
    let record: ImportRecord = serde_json::from_str(&json!({"message": message("msg_1")}).to_string()).unwrap();
    let imported = server.client().import_records(&vec![record; 501]).await.unwrap();
    assert_eq!((imported.created, imported.skipped), (6, 4));
    let sizes: Vec<usize> = server
        .received()
        .iter()
        .map(|r| serde_json::from_str::<Value>(&r.body).unwrap()["records"].as_array().unwrap().len())
        .collect();
    // The first request was answered 500: what is imported already is skipped, so it is repeated.
    assert_eq!(sizes, [500, 500, 1]);
}

#[tokio::test]
async fn imports_never_share_a_key() {
    let server = Server::start(vec![answer(200, json!({"created": 0, "skipped": 0}))]).await;
    let record = || serde_json::from_str(&json!({"message": message("msg_1")}).to_string()).unwrap();
    let records: Vec<ImportRecord> = (0..501).map(|_| record()).collect();
    server.client().with_idempotency_key("k").unwrap().import_records(&records).await.unwrap();
    assert!(server.received().iter().all(|r| !r.headers.contains_key("idempotency-key")));
}

/// Calls can be spawned, and clients shared.
#[tokio::test]
async fn calls_are_send() {
    let server = Server::start(vec![state(), page(&["u1"], None)]).await;
    let client = server.client();
    let id = duologue_client::id::BotId::new("bot_1");
    let other = client.clone();
    tokio::spawn(async move { other.get_state(StateType::Bot, &id, "n").await.map(drop) }).await.unwrap().unwrap();
    let users = tokio::spawn(async move { client.list_users().items().try_collect::<Vec<_>>().await }).await.unwrap();
    assert_eq!(users.unwrap().len(), 1);
}

// Refusals.

#[tokio::test]
async fn refusals_carry_the_dialects_type() {
    let server = Server::start(vec![refusal(404, "ResourceNotFound")]).await;
    let error = server.client().get_user("user_1").await.unwrap_err();
    assert!(error.is_not_found());
    assert_eq!((error.kind(), error.status()), (Some(ErrorKind::ResourceNotFound), Some(404)));
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn answers_of_another_kind_are_said_to_be() {
    let server = Server::start(vec![answer(200, "<html>welcome</html>"), answer(200, ""), answer(200, "{}")]).await;
    let client = server.client();
    for expected in ["<html>welcome</html>", "empty", "\"user\""] {
        let error = client.get_user("user_1").await.unwrap_err();
        assert!(matches!(error, Error::Decode { .. }) && error.to_string().contains(expected), "{error}");
    }
    // Where nothing is expected, nothing is read.
    client.delete_user("user_1").await.unwrap();
}

// Repetitions.

#[tokio::test]
async fn idempotent_requests_are_repeated_until_they_succeed() {
    let script =
        vec![refusal(500, "Internal"), Step::Break, answer(503, ""), answer(200, json!({"user": user("user_1")}))];
    let server = Server::start(script).await;
    server.client().get_user("user_1").await.unwrap();
    assert_eq!(server.received().len(), 4);
}

#[tokio::test]
async fn repetitions_end() {
    let server = Server::start(vec![refusal(500, "Internal")]).await;
    let error = server.client().get_user("user_1").await.unwrap_err();
    assert_eq!(error.status(), Some(500));
    assert_eq!(server.received().len(), 4);
}

#[tokio::test]
async fn posts_are_repeated_only_when_nothing_was_applied() {
    for (step, requests) in [
        (refusal(500, "Internal"), 1),
        (refusal(504, "OperationTimeout"), 1),
        (Step::Break, 1),
        (answer(502, ""), 2),
        (answer(503, ""), 2),
        (refusal(429, "RateLimited"), 2),
    ] {
        let server = Server::start(vec![step.clone(), answer(201, json!({"user": user("user_1")}))]).await;
        let result = server.client().create_user(CreateUser::new()).await;
        assert_eq!(server.received().len(), requests, "{step:?}");
        assert_eq!(result.is_ok(), requests == 2, "{step:?}");
    }
}

#[tokio::test]
async fn keyed_posts_are_repeated_with_the_same_key() {
    let script = || vec![refusal(500, "Internal"), Step::Break, answer(201, json!({"user": user("user_1")}))];
    let server = Server::start(script()).await;
    server.builder().idempotency(true).build().unwrap().create_user(CreateUser::new()).await.unwrap();
    let keys: Vec<_> = server.received().iter().map(|r| r.headers["idempotency-key"].clone()).collect();
    assert_eq!(keys.len(), 3);
    assert!(keys.iter().all(|key| *key == keys[0]));

    let server = Server::start(script()).await;
    server.client().with_idempotency_key("evt_1").unwrap().create_user(CreateUser::new()).await.unwrap();
    assert!(server.received().iter().all(|r| r.headers["idempotency-key"] == "evt_1"));
}

#[tokio::test]
async fn an_unreachable_server_is_named() {
    // A port that was just free.
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let client = Client::builder().api_url(format!("http://127.0.0.1:{port}")).retry(RetryPolicy::none());
    let error = client.build().unwrap().create_user(CreateUser::new()).await.unwrap_err();
    assert!(matches!(error, Error::Transport(TransportError::Connect { .. })));
    assert!(!error.may_have_been_applied());
    assert!(error.to_string().contains(&port.to_string()), "{error}");
}

#[tokio::test]
async fn timeouts_cover_the_whole_answer() {
    for step in [Step::Hang, Step::Pieces(vec!["{", "\"user\"", ":"], Duration::from_millis(900))] {
        let server = Server::start(vec![step]).await;
        let client = server.builder().timeout(Duration::from_secs(2)).retry(RetryPolicy::none()).build().unwrap();
        let start = Instant::now();
        let error = client.get_user("user_1").await.unwrap_err();
        assert!(error.is_timeout() && error.may_have_been_applied(), "{error}");
        assert!(start.elapsed() < Duration::from_secs(20));
    }
}

#[tokio::test]
async fn timeouts_are_repeated_for_gets_and_not_for_posts() {
    let script = vec![Step::Hang, answer(200, json!({"user": user("user_1")}))];
    let server = Server::start(script.clone()).await;
    let client = server.builder().timeout(Duration::from_secs(2)).build().unwrap();
    client.get_user("user_1").await.unwrap();
    assert_eq!(server.received().len(), 2);

    let server = Server::start(script).await;
    let client = server.builder().timeout(Duration::from_secs(2)).build().unwrap();
    assert!(client.create_user(CreateUser::new()).await.unwrap_err().is_timeout());
    assert_eq!(server.received().len(), 1);
}

// Rate limits.

#[tokio::test]
async fn the_delay_the_server_asks_for_is_waited() {
    for (header, value) in [("retry-after", "0.3"), ("x-ratelimit-reset", "0.3"), ("ratelimit-reset", "0.3")] {
        let script =
            vec![refusal(429, "RateLimited").header(header, value), answer(201, json!({"user": user("user_1")}))];
        let server = Server::start(script).await;
        server.client().create_user(CreateUser::new()).await.unwrap();
        let received = server.received();
        let waited = received[1].at - received[0].at;
        assert!(waited >= Duration::from_millis(300), "{header}: {waited:?}");
    }
}

#[tokio::test]
async fn a_delay_beyond_the_bound_is_cut() {
    let script =
        vec![refusal(429, "RateLimited").header("ratelimit-reset", 3600), answer(201, json!({"user": user("user_1")}))];
    let server = Server::start(script).await;
    let client = server.builder().retry(RetryPolicy::default().max_delay(Duration::from_millis(50))).build().unwrap();
    let start = Instant::now();
    client.create_user(CreateUser::new()).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn clones_wait_for_the_reset_when_nothing_remains() {
    let used_up = answer(200, json!({"user": user("user_1")})).header("ratelimit-remaining", 0);
    let script = vec![used_up.header("ratelimit-reset", "0.4"), answer(200, json!({"user": user("user_1")}))];
    let server = Server::start(script).await;
    let client = server.client();
    client.get_user("user_1").await.unwrap();
    let other = client.with_bot("bot_2").unwrap();
    let (one, two) = tokio::join!(client.get_user("user_1"), other.get_user("user_1"));
    one.unwrap();
    two.unwrap();
    let received = server.received();
    assert_eq!(received.len(), 3);
    for later in &received[1..] {
        // The reset counts from when the answer arrived, a little after the server saw the request.
        assert!(later.at - received[0].at >= Duration::from_millis(400), "{:?}", later.at - received[0].at);
    }
}

#[tokio::test]
async fn a_limit_that_is_not_used_up_delays_nothing() {
    let plenty = answer(200, json!({"user": user("user_1")})).header("ratelimit-remaining", 1);
    let server = Server::start(vec![plenty.header("ratelimit-reset", 20)]).await;
    let client = server.client();
    let start = Instant::now();
    client.get_user("user_1").await.unwrap();
    client.get_user("user_1").await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(5));
}

// Lists.

#[tokio::test]
async fn item_streams_are_complete_and_lazy() {
    let script = vec![
        page(&["u1", "u2"], Some("a/b+c")),
        answer(502, ""),
        page(&[], Some("t2")),
        page(&["u3"], None),
        refusal(500, "Internal"),
    ];
    let server = Server::start(script).await;
    let mut users = server.client().list_users().tag("k", "v").items();
    assert_eq!(server.received().len(), 0);
    assert_eq!(users.try_next().await.unwrap().unwrap().id.as_str(), "u1");
    assert_eq!(server.received().len(), 1);
    let rest: Vec<String> = users.map_ok(|user| user.id.to_string()).try_collect().await.unwrap();
    assert_eq!(rest, ["u2", "u3"]);
    let targets: Vec<String> = server.received().iter().map(|r| r.target.clone()).collect();
    // Filters are sent again with every token.
    let second = "/v1/chat/users?tags.k=v&nextToken=a%2Fb%2Bc";
    assert_eq!(targets, ["/v1/chat/users?tags.k=v", second, second, "/v1/chat/users?tags.k=v&nextToken=t2"]);
}

#[tokio::test]
async fn pages_can_be_taken_one_by_one() {
    let server = Server::start(vec![page(&["u1"], Some("t")), page(&["u2"], None)]).await;
    let client = server.client();
    let first = client.list_users().send().await.unwrap();
    assert_eq!((first.items.len(), first.next_token.as_deref()), (1, Some("t")));
    let second = client.list_users().next_token("t").send().await.unwrap();
    assert_eq!((second.items[0].id.as_str(), second.next_token), ("u2", None));
    assert_eq!(server.received()[1].target, "/v1/chat/users?nextToken=t");
}

#[tokio::test]
async fn a_list_that_goes_in_circles_ends_with_an_error() {
    let server =
        Server::start(vec![page(&["u1"], Some("a")), page(&["u2"], Some("b")), page(&["u3"], Some("a"))]).await;
    let mut users = server.client().list_users().items();
    let mut seen = vec![];
    let error = loop {
        assert!(seen.len() <= 3, "it goes on: {seen:?}");
        match users.try_next().await {
            Ok(user) => seen.push(user.unwrap().id.to_string()),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Decode { .. }), "{error}");
    assert_eq!(server.received().len(), 3);
    assert!(users.try_next().await.unwrap().is_none());
}

#[tokio::test]
async fn logs_have_their_token_beside_the_lines() {
    let line = json!({"timestamp": TIME, "level": "info", "message": "m"});
    let script = vec![
        answer(200, json!({"logs": [line], "nextToken": "t"})),
        answer(200, json!({"logs": [line], "nextToken": null})),
    ];
    let server = Server::start(script).await;
    let lines = server.client().get_bot_logs("bot_1", TIME.parse().unwrap()).level("info").all().await.unwrap();
    assert_eq!(lines.len(), 2);
    assert!(server.received()[1].target.ends_with("&level=info&nextToken=t"));
}

// Documents.

#[tokio::test]
async fn transcripts_arrive_in_pieces_however_long_they_take() {
    let server = Server::start(vec![Step::Pieces(vec!["one ", "two ", "three"], Duration::from_millis(1200))]).await;
    let client = server.builder().timeout(Duration::from_secs(3)).build().unwrap();
    let pieces = client.transcript("conv_1", "text").await.unwrap();
    let text: Vec<Bytes> = pieces.try_collect().await.unwrap();
    assert_eq!(text.concat(), b"one two three");
    assert_eq!(server.received()[0].target, "/v1/chat/conversations/conv_1/transcript?format=text");
}

#[tokio::test]
async fn a_transcript_that_is_refused_is_an_error() {
    let server = Server::start(vec![refusal(404, "ResourceNotFound")]).await;
    let refused = server.client().transcript("conv_1", "text").await;
    assert!(refused.err().unwrap().is_not_found());
}

#[tokio::test]
async fn operations_without_a_function_can_be_called() {
    let server = Server::start(vec![answer(200, json!({"plugins": [{"id": "p"}]}))]).await;
    let request = server.client().request(Method::GET, &["v1", "admin", "plugins"]).query("name", "a/b");
    let plugins: Vec<Json> = request.field("plugins").await.unwrap();
    assert_eq!(plugins[0].text(), r#"{"id":"p"}"#);
    assert_eq!(server.received()[0].target, "/v1/admin/plugins?name=a%2Fb");
}

// The way to the server.

/// A certificate for `host`, as PEM, and a server's half of TLS with it.
fn certificate(host: &str) -> (String, TlsAcceptor) {
    let made = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
    let key = tokio_rustls::rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = tokio_rustls::rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (made.cert.pem(), TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test]
async fn https_works_for_trusted_certificates_only() {
    let (pem, tls) = certificate("localhost");
    let server = Server::start_with(vec![answer(200, json!({"user": user("user_1")}))], Some(tls)).await;
    let client = server.builder().root_certificate(pem).build().unwrap();
    client.get_user("user_1").await.unwrap();

    let stranger = server.builder().retry(RetryPolicy::none()).build().unwrap();
    let error = stranger.get_user("user_1").await.unwrap_err();
    assert!(matches!(error, Error::Transport(TransportError::Connect { .. })), "{error}");
    assert!(error.to_string().contains("certificate"), "{error}");
    assert_eq!(server.received().len(), 1);

    let refused = server.builder().root_certificate("not PEM").build().unwrap_err();
    assert!(matches!(refused, Error::Config(_)), "{refused}");
}

#[tokio::test]
async fn a_proxy_is_given_the_whole_url() {
    let proxy = Server::start(vec![answer(200, json!({"user": user("user_1")}))]).await;
    let address = proxy.url.replace("http://", "http://me:word@");
    let client = Client::builder().api_url("http://far.example/prefix").proxy(address).build().unwrap();
    client.get_user("user_1").await.unwrap();
    let received = &proxy.received()[0];
    assert_eq!(received.target, "http://far.example/prefix/v1/chat/users/user_1");
    assert_eq!(received.headers["proxy-authorization"], "Basic bWU6d29yZA==");
    assert_eq!(received.headers["host"], "far.example");
}

/// A proxy that connects whoever asks to `target`, whatever they name; returns its address and what
/// was asked.
async fn tunnelling_proxy(target: String) -> (String, Arc<Mutex<Vec<String>>>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://me:word@{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(vec![]));
    let log = asked.clone();
    tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut head = vec![];
        while !head.ends_with(b"\r\n\r\n") {
            head.push(near.read_u8().await.unwrap());
        }
        log.lock().unwrap().push(String::from_utf8(head).unwrap().to_ascii_lowercase());
        let mut far = tokio::net::TcpStream::connect(target).await.unwrap();
        near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    });
    (address, asked)
}

#[tokio::test]
async fn https_goes_through_a_tunnel() {
    let (pem, tls) = certificate("far.example");
    let server = Server::start_with(vec![answer(200, json!({"user": user("user_1")}))], Some(tls)).await;
    let (proxy, asked) = tunnelling_proxy(server.url.replace("https://", "")).await;
    let client = Client::builder().api_url("https://far.example").proxy(proxy).root_certificate(pem).token("secret");
    client.build().unwrap().get_user("user_1").await.unwrap();
    let asked = asked.lock().unwrap().clone();
    assert!(asked[0].starts_with("connect far.example:443 http/1.1\r\n"), "{asked:?}");
    assert!(asked[0].contains("proxy-authorization: basic bwu6d29yza=="), "{asked:?}");
    assert!(!asked[0].contains("secret"), "{asked:?}");
    assert_eq!(server.received()[0].target, "/v1/chat/users/user_1");
}
