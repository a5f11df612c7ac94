//! Webhooks are sent: over real sockets, with the schedule and the patience of the test.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{body::Bytes, extract::State, response::IntoResponse};
use duologue_delivery::webhooks::{self, Options};
use duologue_model::{Identity, id::BotId};
use duologue_outbound::{Client, Settings};
use duologue_store::{
    Location, Store,
    page::PageRequest,
    setup::Plan,
    users,
    webhooks::{
        history::{Message, Status},
        manage::{Change, New, Path, Subscription},
    },
    workspaces::Actor,
};
use http::HeaderMap;
use tokio::{net::TcpListener, sync::watch, time::Instant};

/// A request as it came.
#[derive(Clone)]
struct Got {
    at: Instant,
    id: String,
    path: String,
}

/// What a receiver answers: status, Retry-After, and after which pause. The last one stays.
type Script = Vec<(u16, Option<&'static str>, Duration)>;

#[derive(Clone, Default)]
struct Receiver {
    got: Arc<Mutex<Vec<Got>>>,
    scripts: Arc<Mutex<HashMap<String, Script>>>,
}

impl Receiver {
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = axum::Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    fn script(&self, path: &str, script: Script) {
        self.scripts.lock().unwrap().insert(path.to_owned(), script);
    }

    fn got(&self, path: &str) -> Vec<Got> {
        self.got.lock().unwrap().iter().filter(|got| got.path == path).cloned().collect()
    }
}

async fn answer(State(receiver): State<Receiver>, uri: http::Uri, headers: HeaderMap, _: Bytes) -> impl IntoResponse {
    let path = uri.path().to_owned();
    let id = headers["webhook-id"].to_str().unwrap().to_owned();
    receiver.got.lock().unwrap().push(Got { at: Instant::now(), id, path: path.clone() });
    let (status, retry_after, pause) = {
        let mut scripts = receiver.scripts.lock().unwrap();
        match scripts.get_mut(&path) {
            Some(script) if script.len() > 1 => script.remove(0),
            Some(script) => script[0],
            None => (200, None, Duration::ZERO),
        }
    };
    tokio::time::sleep(pause).await;
    let mut answer = HeaderMap::new();
    if let Some(text) = retry_after {
        answer.insert("retry-after", text.parse().unwrap());
    }
    answer.insert("location", "/elsewhere".parse().unwrap());
    (http::StatusCode::from_u16(status).unwrap(), answer, "as you say")
}

/// A store with a bot, a receiver, and a loop that sends.
struct Bed {
    store: Arc<Store>,
    bot: BotId,
    actor: Actor,
    receiver: Receiver,
    url: String,
    stop: watch::Sender<bool>,
    sending: Option<tokio::task::JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

fn quick() -> Options {
    Options { schedule: vec![Duration::from_millis(30); 3], ..Options::default() }
}

impl Bed {
    async fn new(options: Options) -> Bed {
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
        let receiver = Receiver::default();
        let url = receiver.start().await;
        let (stop, stopped) = watch::channel(false);
        let store = Arc::new(store);
        let client = Client::new(Settings { allow: "127.0.0.1".parse().unwrap(), ..Settings::default() }).unwrap();
        let sending = tokio::spawn(webhooks::run(store.clone(), client, options, stopped));
        let actor = Actor { account: made.workspace.owner_id, workspace: Some(made.workspace.id) };
        Bed { store, bot: made.bot, actor, receiver, url, stop, sending: Some(sending), _folder: folder }
    }

    fn path(&self, id: &str) -> Path {
        Path { actor: self.actor.clone(), bot: self.bot.to_string(), id: id.into() }
    }

    async fn subscribe(&self, path: &str) -> Subscription {
        let new = New {
            url: format!("{}{path}", self.url),
            events: vec!["user_created".into()],
            enabled: true,
            ..New::default()
        };
        self.store.create_webhook(self.path(""), new).await.unwrap()
    }

    async fn happen(&self, times: usize) {
        for _ in 0..times {
            let who = Identity::bot(self.bot.clone());
            self.store.write(users::Create { who, new: users::NewUser::default() }).await.unwrap();
        }
    }

    async fn messages(&self, webhook: &Subscription) -> Vec<Message> {
        self.store.list_webhook_messages(self.path(&webhook.id), None, PageRequest::default()).await.unwrap().items
    }

    /// Waits until everything is in this status.
    async fn until(&self, webhook: &Subscription, status: Status) -> Vec<Message> {
        let started = Instant::now();
        loop {
            let messages = self.messages(webhook).await;
            if messages.iter().all(|message| message.status == status) {
                return messages;
            }
            assert!(started.elapsed() < Duration::from_secs(20), "{messages:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_is_sent_at_once() {
    let bed = Bed::new(Options::default()).await;
    let webhook = bed.subscribe("/a").await;
    let started = Instant::now();
    bed.happen(20).await;
    let messages = bed.until(&webhook, Status::Delivered).await;
    // It looks by itself once a minute.
    assert!(started.elapsed() < Duration::from_secs(20));
    let sent: BTreeSet<String> = bed.receiver.got("/a").into_iter().map(|got| got.id).collect();
    let stored: BTreeSet<String> = messages.into_iter().map(|message| message.id).collect();
    assert_eq!((sent.len(), &sent), (20, &stored));
    assert_eq!(bed.receiver.got("/a").len(), 20, "each once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_are_tried_again_under_the_same_id_until_the_schedule_ends() {
    let bed = Bed::new(quick()).await;
    let (well, never) = (bed.subscribe("/well").await, bed.subscribe("/never").await);
    bed.receiver
        .script("/well", vec![(500, None, Duration::ZERO), (302, None, Duration::ZERO), (200, None, Duration::ZERO)]);
    bed.receiver.script("/never", vec![(400, None, Duration::ZERO)]);
    bed.happen(1).await;
    let done = bed.until(&well, Status::Delivered).await;
    let given_up = bed.until(&never, Status::Failed).await;
    let (tries, all) = (bed.receiver.got("/well"), bed.receiver.got("/never"));
    assert_eq!((tries.len(), all.len(), given_up[0].attempts), (3, 4, 4));
    assert!(tries.iter().all(|got| got.id == done[0].id));
    assert!(tries.windows(2).all(|pair| pair[1].at - pair[0].at >= Duration::from_millis(27)));
    assert!(bed.receiver.got("/elsewhere").is_empty(), "redirects aren't followed");
    let (_, attempts) = bed.store.get_webhook_message(bed.path(&well.id), done[0].id.clone()).await.unwrap();
    let statuses: Vec<_> = attempts.iter().map(|attempt| attempt.status).collect();
    assert_eq!(statuses, [Some(500), Some(302), Some(200)]);
    assert_eq!(attempts[2].response, "as you say");
    // Asked for again, it goes through the schedule again.
    bed.store.replay_webhook_message(bed.path(&never.id), given_up[0].id.clone()).await.unwrap();
    bed.until(&never, Status::Failed).await;
    assert_eq!(bed.messages(&never).await[0].attempts, 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_may_say_when_to_come_back() {
    let bed = Bed::new(quick()).await;
    let webhook = bed.subscribe("/busy").await;
    bed.receiver.script("/busy", vec![(429, Some("1"), Duration::ZERO), (200, None, Duration::ZERO)]);
    bed.happen(1).await;
    bed.until(&webhook, Status::Delivered).await;
    let got = bed.receiver.got("/busy");
    assert!(got[1].at - got[0].at >= Duration::from_millis(990));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_gone_or_fails_for_days_is_left_alone() {
    let bed = Bed::new(Options { patience: Duration::from_millis(20), ..quick() }).await;
    let (gone, failing) = (bed.subscribe("/gone").await, bed.subscribe("/failing").await);
    bed.receiver.script("/gone", vec![(410, None, Duration::ZERO)]);
    bed.receiver.script("/failing", vec![(500, None, Duration::ZERO)]);
    bed.happen(1).await;
    bed.until(&gone, Status::Failed).await;
    let started = Instant::now();
    while bed.store.get_webhook(bed.path(&failing.id)).await.unwrap().enabled {
        assert!(started.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let sent = bed.receiver.got("/failing").len();
    bed.happen(3).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((bed.receiver.got("/gone").len(), bed.receiver.got("/failing").len()), (1, sent));
    // Enabled again, what waited goes on.
    bed.receiver.script("/failing", vec![(200, None, Duration::ZERO)]);
    let change = Change { enabled: Some(true), ..Change::default() };
    bed.store.update_webhook(bed.path(&failing.id), change).await.unwrap();
    bed.until(&failing, Status::Delivered).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_hangs_delays_only_itself() {
    // Longer than the wait below.
    let timeout = Duration::from_secs(120);
    let bed = Bed::new(Options { timeout, ..quick() }).await;
    let mut hanging = Vec::new();
    for n in 0..40 {
        hanging.push(bed.subscribe(&format!("/hangs/{n}")).await);
        bed.receiver.script(&format!("/hangs/{n}"), vec![(200, None, 2 * timeout)]);
    }
    bed.happen(30).await;
    // Each has as many under way as it gets.
    let under_way = async || {
        let mut sum = 0;
        for n in 0..40 {
            sum += bed.receiver.got(&format!("/hangs/{n}")).len();
        }
        sum
    };
    let mut before = 0;
    while before == 0 || before != under_way().await {
        before = under_way().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let healthy = bed.subscribe("/healthy").await;
    bed.happen(20).await;
    bed.until(&healthy, Status::Delivered).await;
    // Not even one of those that hang was given up.
    for webhook in hanging {
        assert!(bed.messages(&webhook).await.iter().all(|message| message.attempts == 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_not_be_reached_is_not_reached() {
    let bed = Bed::new(Options { schedule: Vec::new(), ..Options::default() }).await;
    let new = New { url: "http://[::1]:9/".into(), events: vec!["*".into()], enabled: true, ..New::default() };
    let webhook = bed.store.create_webhook(bed.path(""), new).await.unwrap();
    bed.happen(1).await;
    let failed = bed.until(&webhook, Status::Failed).await;
    let (_, attempts) = bed.store.get_webhook_message(bed.path(&webhook.id), failed[0].id.clone()).await.unwrap();
    assert!(
        attempts[0].status.is_none() && attempts[0].error.as_ref().unwrap().contains("not allowed"),
        "{attempts:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_lets_requests_end() {
    let mut bed = Bed::new(Options::default()).await;
    let webhook = bed.subscribe("/slow").await;
    bed.receiver.script("/slow", vec![(200, None, Duration::from_millis(500))]);
    bed.happen(1).await;
    while bed.receiver.got("/slow").is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bed.stop.send(true).unwrap();
    bed.sending.take().unwrap().await.unwrap();
    assert_eq!(bed.messages(&webhook).await[0].status, Status::Delivered);
}
