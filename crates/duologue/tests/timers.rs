//! What is due happens once: whatever restarts, however much is due at a time, and however many
//! processes share the database.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use duologue_client::{
    Client, CreateConversation, CreateEvent, CreateMessage, CreateUser, Event, EventStatus, Message, Schedule,
    SetState, StateType, StreamExt, Timestamp, id::ConversationId,
};
use serde_json::json;
use support::{Server, until};

/// How many states expire at once.
const MANY: usize = 100_000;

#[tokio::test(flavor = "multi_thread")]
async fn very_many_states_expire_at_once_on_sqlite() {
    expire_very_many(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn very_many_states_expire_at_once_on_postgres() {
    if let Some(database) = support::postgres().await {
        expire_very_many(Some(&database)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_fire_over_a_restart_on_sqlite() {
    schedule_over_a_restart(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_fire_over_a_restart_on_postgres() {
    if let Some(database) = support::postgres().await {
        schedule_over_a_restart(Some(&database)).await;
    }
}

/// A server with a bot that could be called but isn't, so that what is for it stays where it is.
async fn start(database: Option<&str>) -> Server {
    let server = Server::prepare(database, &[]).with(&["--deliveries", "off"]).serve();
    let admin = server.client().with_workspace(&server.workspace).unwrap();
    admin.update_bot(server.bot.as_str(), json!({"url": "http://127.0.0.1:9/"})).await.unwrap();
    server
}

async fn expire_very_many(database: Option<&str>) {
    let mut server = start(database).await;
    let bot = server.bot.clone();
    let state = |n: usize| SetState::new(json!({ "n": n })).expiry(Duration::from_secs(3600));
    server.client().set_state(StateType::Bot, &bot, "s", state(0)).await.unwrap();
    server.client().set_state(StateType::Bot, &bot, "stays", SetState::new(json!({}))).await.unwrap();
    // As many clients would have set them, only sooner.
    let copied = server
        .execute(&format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY}) \
             INSERT INTO states (bot_id, type, scope_id, owner, name, id, payload, expiry, expires_at, created_at, updated_at) \
             SELECT bot_id, type, scope_id, owner, 's' || CAST(i AS TEXT), \
               substr(id, 1, length(id) - 6) || substr(CAST(1000000 + i AS TEXT), 2), \
               payload, expiry, expires_at, created_at, updated_at \
             FROM n CROSS JOIN states WHERE name = 's'"
        ))
        .await;
    assert_eq!(copied, MANY as u64);
    let client = server.client();
    for n in [1, MANY / 2, MANY] {
        let name = format!("s{n}");
        assert_eq!(client.list_states(StateType::Bot, &bot).name(&name).all().await.unwrap().len(), 1);
    }
    client.delete_state(StateType::Bot, &bot, "s").await.unwrap();

    // From one instant on all of them are missing, long before the last is swept.
    let instant = now().millis();
    server.execute(&format!("UPDATE states SET expires_at = {instant} WHERE expires_at IS NOT NULL")).await;
    assert_missing(&server).await;
    for share in [4, 2] {
        let unswept = MANY - MANY / share;
        while left(&server).await > unswept {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_missing(&server).await;
        server.kill();
        assert!(left(&server).await > 0, "it was killed too late to test anything");
        server.restart();
        assert_missing(&server).await;
    }
    let started = Instant::now();
    while left(&server).await > 0 {
        assert!(started.elapsed() < Duration::from_secs(60), "the sweep doesn't end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_missing(&server).await;

    let events = server.client().list_events().kind("state_expired").page_size(100).all().await.unwrap();
    let names: HashSet<String> =
        events.iter().map(|event| event.payload.value()["state"]["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!((events.len(), names.len()), (MANY, MANY));
    assert!(events.iter().all(|event| event.status == EventStatus::Pending));
    assert_eq!(server.number("SELECT COUNT(*) FROM outbox").await, MANY as i64);
}

/// How many states wait to be swept.
async fn left(server: &Server) -> usize {
    server.number("SELECT COUNT(*) FROM states WHERE expires_at IS NOT NULL").await as usize
}

/// No state is shown but the one that never expires.
async fn assert_missing(server: &Server) {
    let client = server.client();
    for n in [1, MANY / 3, MANY - 1, MANY] {
        let got = client.get_state(StateType::Bot, &server.bot, &format!("s{n}")).await;
        assert!(got.unwrap_err().is_not_found());
    }
    let listed = client.list_states(StateType::Bot, &server.bot).all().await.unwrap();
    assert_eq!(listed.iter().map(|state| state.name.as_str()).collect::<Vec<_>>(), ["stays"]);
}

async fn schedule_over_a_restart(database: Option<&str>) {
    const EACH: usize = 60;
    // Milliseconds.
    const HOUR: u64 = 3_600_000;
    const LATE: i64 = 4_000;
    let mut server = start(database).await;
    let client = server.client();
    let user = client.create_user(CreateUser::new()).await.unwrap().id;
    let conversation = client.create_conversation(CreateConversation::new("channel")).await.unwrap().id;
    let event = |kind: &str, n: usize| {
        client.create_event(CreateEvent::new(kind, json!({ "n": n })).schedule(Schedule::Delay(HOUR)))
    };
    let create = |n: usize| {
        let (client, early, late, cancelled) = (&client, event("early", n), event("late", n), event("cancelled", n));
        let message = CreateMessage::new(&conversation, &user, "text", json!({ "text": n.to_string() }));
        async move {
            early.await.unwrap();
            late.await.unwrap();
            client.create_message(message.schedule(Schedule::Delay(HOUR))).await.unwrap();
            if n.is_multiple_of(10) { Some(cancelled.await.unwrap().id) } else { None }
        }
    };
    let created: Vec<_> = futures_util::stream::iter(0..EACH).map(create).buffer_unordered(16).collect().await;
    let cancelled: Vec<_> = created.into_iter().flatten().collect();
    for id in &cancelled {
        client.cancel_scheduled_event(id).await.unwrap();
    }
    let counts = count(&client).await;
    let scheduled = EventStatus::Scheduled;
    assert_eq!((counts[&("early".into(), scheduled)], counts[&("late".into(), scheduled)]), (EACH, EACH));
    server.kill();
    // The server is gone when the first are due, and back when the last are.
    assert_eq!(server.execute("UPDATE scheduled_messages SET due_at = 1000").await, EACH as u64);
    let due_first = "UPDATE events SET due_at = 1000 WHERE due_at IS NOT NULL AND type <> 'late'";
    assert_eq!(server.execute(due_first).await, EACH as u64);
    let late = now().plus_millis(LATE);
    let due_last = format!("UPDATE events SET due_at = {} WHERE type = 'late'", late.millis());
    assert_eq!(server.execute(&due_last).await, EACH as u64);
    server.restart();

    let client = server.client();
    let fired =
        |counts: &Counts, kind: &str| counts.get(&(kind.to_owned(), EventStatus::Pending)).copied().unwrap_or(0);
    until(async || fired(&count(&client).await, "early") == EACH).await;
    let counts = count(&client).await;
    if now() < late {
        assert_eq!(fired(&counts, "late"), 0, "some fired early");
    }
    until(async || fired(&count(&client).await, "late") == EACH).await;
    assert!(now() >= late);
    until(async || {
        client.list_messages().conversation(&conversation).page_size(100).all().await.unwrap().len() == EACH
    })
    .await;
    // Nothing happens again.
    server.restart();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let client = server.client();
    let counts = count(&client).await;
    assert_eq!((fired(&counts, "early"), fired(&counts, "late"), fired(&counts, "cancelled")), (EACH, EACH, 0));
    assert_eq!(counts[&("cancelled".to_owned(), EventStatus::Canceled)], cancelled.len());
    let said = client.list_messages().conversation(&conversation).page_size(100).all().await.unwrap();
    let texts: HashSet<String> = said.iter().map(text).collect();
    assert_eq!((said.len(), texts.len()), (EACH, EACH));
    assert_in_order(&said);
    assert_eq!(server.number("SELECT COUNT(*) FROM outbox WHERE kind = 'event'").await, 2 * EACH as i64);
}

type Counts = HashMap<(String, EventStatus), usize>;

async fn count(client: &Client) -> Counts {
    let mut counts = Counts::new();
    for event in client.list_events().page_size(100).all().await.unwrap() {
        *counts.entry((event.kind, event.status)).or_default() += 1;
    }
    counts
}

fn now() -> Timestamp {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap())
}

fn text(message: &Message) -> String {
    message.payload.value()["text"].as_str().unwrap().to_owned()
}

/// As listed: newest first.
#[track_caller]
fn assert_in_order(listed: &[Message]) {
    assert!(
        listed.windows(2).all(|pair| pair[0].created_at > pair[1].created_at),
        "createdAt doesn't increase strictly"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_fires_once_in_three_processes() {
    const EACH: usize = 300;
    let Some(database) = support::postgres().await else { return };
    let servers = three(&database).await;
    let bot = servers[0].bot.as_str();
    // All at one instant, for which the three processes then compete.
    let due = now().plus_millis(6_000);
    let create = |n: usize| {
        let client = servers[n % 3].client();
        async move {
            let tick = CreateEvent::new("tick", json!({ "n": n })).schedule(Schedule::DateTime(due));
            client.create_event(tick).await.unwrap();
            let state = SetState::new(json!({})).expiry(Duration::from_secs(3600));
            client.set_state(StateType::Bot, bot, &format!("s{n}"), state).await.unwrap();
        }
    };
    futures_util::stream::iter(0..EACH).map(create).buffer_unordered(12).collect::<()>().await;
    servers[0].execute(&format!("UPDATE states SET expires_at = {}", due.millis())).await;

    let client = servers[1].client();
    let pending = || async {
        let events = client.list_events().status(EventStatus::Pending).page_size(100).all().await.unwrap();
        let of = |kind: &str| events.iter().filter(|event| event.kind == kind).cloned().collect::<Vec<Event>>();
        (of("tick"), of("state_expired"))
    };
    until(async || {
        let (ticks, expired) = pending().await;
        ticks.len() == EACH && expired.len() >= EACH
    })
    .await;
    // Whoever comes late finds nothing to do.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (ticks, expired) = pending().await;
    let numbers: HashSet<u64> = ticks.iter().map(|event| event.payload.value()["n"].as_u64().unwrap()).collect();
    assert_eq!((ticks.len(), numbers.len()), (EACH, EACH));
    let names: HashSet<String> =
        expired.iter().map(|event| event.payload.value()["state"]["name"].to_string()).collect();
    assert_eq!((expired.len(), names.len()), (EACH, EACH));
    let outbox = servers[0].number("SELECT COUNT(*) FROM outbox WHERE kind = 'event'").await;
    assert_eq!(outbox, 2 * EACH as i64);
    for server in &servers {
        assert!(server.client().list_states(StateType::Bot, bot).all().await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_processes_keep_one_order() {
    const CLIENTS: usize = 12;
    const EACH: usize = 50;
    let Some(database) = support::postgres().await else { return };
    let servers = three(&database).await;
    let client = servers[0].client();
    let user = client.create_user(CreateUser::new()).await.unwrap().id;
    let mut conversations = Vec::new();
    for _ in 0..3 {
        conversations.push(client.create_conversation(CreateConversation::new("channel")).await.unwrap().id);
    }
    let said = Arc::new(std::sync::Mutex::new(HashMap::<ConversationId, HashSet<String>>::new()));
    let (stop, scans) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut readers = tokio::task::JoinSet::new();
    for server in &servers {
        readers.spawn(scan(server.client(), conversations.clone(), said.clone(), stop.clone(), scans.clone()));
    }
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..CLIENTS {
        let (client, user, said) = (servers[writer % 3].client(), user.clone(), said.clone());
        let conversations = conversations.clone();
        writers.spawn(async move {
            for n in 0..EACH {
                let id = &conversations[n % conversations.len()];
                let text = format!("{writer:02}-{n:02}");
                let message = CreateMessage::new(id, &user, "text", json!({ "text": text }));
                client.create_message(message).await.unwrap();
                said.lock().unwrap().entry(id.clone()).or_default().insert(text);
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(done) = readers.join_next().await {
        done.unwrap();
    }
    assert!(scans.load(Ordering::Relaxed) > 3);

    let said = said.lock().unwrap().clone();
    for id in &conversations {
        let lists = futures_util::future::join_all(servers.iter().map(|server| {
            let client = server.client();
            async move { client.list_messages().conversation(id).page_size(100).all().await.unwrap() }
        }))
        .await;
        assert!(lists.iter().all(|list| *list == lists[0]), "the processes don't agree");
        assert_in_order(&lists[0]);
        assert_eq!(lists[0].len(), said[id].len());
        assert_eq!(lists[0].iter().map(text).collect::<HashSet<_>>(), said[id]);
        // Whoever was answered before speaking again comes before.
        for writer in 0..CLIENTS {
            let prefix = format!("{writer:02}-");
            let own: Vec<String> = lists[0].iter().rev().map(text).filter(|text| text.starts_with(&prefix)).collect();
            assert!(own.is_sorted(), "{own:?}");
        }
        let conversation = client.get_conversation(id).await.unwrap();
        assert_eq!(conversation.message_count as usize, lists[0].len());
    }
}

/// Lists while others write: whatever was acknowledged before a scan began is in it, once.
async fn scan(
    client: Client,
    conversations: Vec<ConversationId>,
    said: Arc<std::sync::Mutex<HashMap<ConversationId, HashSet<String>>>>,
    stop: Arc<AtomicBool>,
    scans: Arc<AtomicUsize>,
) {
    while !stop.load(Ordering::Relaxed) {
        for id in &conversations {
            let before = said.lock().unwrap().get(id).cloned().unwrap_or_default();
            let listed = client.list_messages().conversation(id).page_size(7).all().await.unwrap();
            assert_in_order(&listed);
            let texts: HashSet<String> = listed.iter().map(text).collect();
            assert_eq!(texts.len(), listed.len());
            assert!(before.is_subset(&texts), "a scan misses {:?}", before.difference(&texts).collect::<Vec<_>>());
            scans.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Three processes on one database.
async fn three(database: &str) -> Vec<Server> {
    let first = start(Some(database)).await;
    let others = [first.another(), first.another()];
    std::iter::once(first).chain(others).collect()
}
