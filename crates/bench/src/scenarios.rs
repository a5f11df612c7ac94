//! What is measured, one function each.

use std::{
    collections::HashSet,
    path::PathBuf,
    time::{Duration, Instant},
};

use duologue_model::{
    Conversation, Direction, Identity, Json, Message, Tags, Timestamp,
    id::{BotId, Generator},
};
use duologue_store::{
    Location, Store,
    import::{ImportRecords, Record},
};
use tempfile::TempDir;

use crate::{
    Args, Error, Scenario,
    child::{self, Access, Server},
    load::{self, Client, Figures, Requests, request},
    table,
};

const TEXT: &str = "A message of ordinary length, as people and bots send them to each other all day long.";
/// Rows put in by one transaction while filling.
const BATCH: usize = 2_000;
/// The sides' states and users.
const KEYS: usize = 1_000;

pub(crate) fn scratch(args: &Args) -> Result<TempDir, Error> {
    let made = match &args.scratch {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir(),
    };
    made.map_err(|e| Error::Io("make a scratch folder", e))
}

// ---- start ----

/// Start-up time and idle memory.
pub(crate) async fn start(args: &Args) -> Result<(), Error> {
    table::title("start: `duologue serve` on an existing data folder, until /ready answers");
    let folder = scratch(args)?;
    child::init(folder.path(), None).await?;
    let mut times = Vec::new();
    let mut resident = 0;
    for _ in 0..args.runs.max(3) {
        let server = Server::duologue(folder.path(), None).await?;
        times.push(server.started_in);
        tokio::time::sleep(Duration::from_secs(2)).await;
        resident = resident.max(server.resident());
        server.stop().await;
    }
    times.sort();
    table::goal("start, median (s)", times[times.len() / 2].as_secs_f64(), 0.3, false);
    table::goal("resident memory after 2 s (MB)", resident as f64 / 1e6, 40.0, false);
    println!();
    Ok(())
}

// ---- messages ----

/// A server with an integration that speaks, and what it needs to.
pub(crate) struct Speaking {
    pub(crate) server: Server,
    headers: Vec<(String, String)>,
    bot_headers: Vec<(String, String)>,
    places: Vec<(String, String)>,
    _folder: TempDir,
}

pub(crate) fn authorization(access: &Access) -> (String, String) {
    ("authorization".into(), format!("Bearer {}", access.token))
}

pub(crate) fn borrowed(headers: &[(String, String)]) -> Vec<(&str, &str)> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

pub(crate) async fn called(
    client: &mut Client,
    method: &str,
    path: &str,
    headers: &[(String, String)],
    body: &str,
) -> Result<serde_json::Value, Error> {
    let answer = client.call(&request(method, path, &borrowed(headers), body)).await?;
    serde_json::from_slice(answer).map_err(|e| Error::Unexpected(format!("{method} {path} answered {e}")))
}

pub(crate) fn text(value: &serde_json::Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Speaking {
    pub(crate) async fn start(args: &Args, database: Option<(&str, usize)>) -> Result<Speaking, Error> {
        let folder = scratch(args)?;
        let access = child::init(folder.path(), database.map(|(url, _)| url)).await?;
        // What is for the bot is written and kept: calls to it are measured elsewhere.
        let server = Server::duologue_with(folder.path(), database, &["--deliveries", "off"]).await?;
        let mut client = Client::connect(&server.address).await?;
        let admin = vec![authorization(&access), ("x-workspace-id".into(), access.workspace.clone())];
        let definition =
            r#"{"name":"bench","version":"1.0.0","channels":{"test":{"messages":{"text":{"schema":{}}}}}}"#;
        let made = called(&mut client, "POST", "/v1/admin/integrations", &admin, definition).await?;
        let integration = text(&made["integration"]["id"]);
        let install = format!(
            r#"{{"url":"http://127.0.0.1:9/","integrations":{{"bench":{{"integrationId":"{integration}","enabled":true}}}}}}"#
        );
        called(&mut client, "PUT", &format!("/v1/admin/bots/{}", access.bot), &admin, &install).await?;
        let bot_headers = vec![authorization(&access), ("x-bot-id".into(), access.bot.clone())];
        let mut headers = bot_headers.clone();
        headers.extend([("x-integration-id".into(), integration), ("x-integration-alias".into(), "bench".into())]);
        let mut places = Vec::new();
        for _ in 0..args.connections {
            let conversation =
                called(&mut client, "POST", "/v1/chat/conversations", &headers, r#"{"channel":"test","tags":{}}"#)
                    .await?;
            let user = called(&mut client, "POST", "/v1/chat/users", &headers, r#"{"tags":{}}"#).await?;
            places.push((text(&conversation["conversation"]["id"]), text(&user["user"]["id"])));
        }
        Ok(Speaking { server, headers, bot_headers, places, _folder: folder })
    }

    fn bodies(&self) -> impl Iterator<Item = String> + '_ {
        self.places.iter().map(|(conversation, user)| {
            format!(r#"{{"conversationId":"{conversation}","userId":"{user}","type":"text","payload":{{"text":"{TEXT}"}},"tags":{{}}}}"#)
        })
    }

    /// The same message again and again, a conversation a connection.
    pub(crate) fn messages(&self) -> Requests {
        self.bodies().map(|body| vec![request("POST", "/v1/chat/messages", &borrowed(&self.headers), &body)]).collect()
    }

    /// The same bodies for the baseline.
    fn inserts(&self) -> Requests {
        self.bodies().map(|body| vec![request("POST", "/insert", &[], &body)]).collect()
    }
}

/// Runs both sides in turn, so that a change of the machine's mood meets both.
async fn compare(args: &Args, ours: (&str, Requests), bare: (&str, Requests)) -> Result<(Figures, Figures), Error> {
    let (mut mine, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..args.runs {
        theirs.push(load::run(bare.0, args.connections, args.seconds, bare.1.clone()).await?);
        mine.push(load::run(ours.0, args.connections, args.seconds, ours.1.clone()).await?);
    }
    Ok((load::median(mine), load::median(theirs)))
}

fn compared(name: &str, ours: &Figures, bare: &Figures, goal: f64) {
    table::side(&format!("{name}: duologue"), ours);
    table::side(&format!("{name}: bare"), bare);
    table::goal(&format!("{name}: share of the bare rate"), ours.per_second / bare.per_second, goal, true);
}

/// createMessage with authentication, event and outbox, against a bare insert.
pub(crate) async fn messages(args: &Args) -> Result<(), Error> {
    table::title(&format!("messages: durable createMessage by an integration, {} connections", args.connections));
    let ours = Speaking::start(args, None).await?;
    let folder = scratch(args)?;
    let file = folder.path().join("bare.db").display().to_string();
    let bare = Server::bare(&["--file", &file]).await?;
    let (mine, theirs) =
        compare(args, (&ours.server.address, ours.messages()), (&bare.address, ours.inserts())).await?;
    compared("createMessage", &mine, &theirs, 0.6);
    table::goal(
        "createMessage: p99 as a multiple of bare",
        mine.p99.as_secs_f64() / theirs.p99.as_secs_f64(),
        4.0,
        false,
    );
    println!();
    ours.server.stop().await;
    bare.stop().await;
    Ok(())
}

/// createMessage on PostgreSQL, against a bare insert over as many connections.
pub(crate) async fn postgres(args: &Args, url: &str) -> Result<(), Error> {
    const POOL: usize = 20;
    table::title(&format!("postgres: durable createMessage, {} connections, a pool of {POOL}", args.connections));
    let (base, parameters) =
        url.split_once('?').map_or((url, String::new()), |(base, rest)| (base, format!("?{rest}")));
    let (server, _) =
        base.rsplit_once('/').ok_or_else(|| Error::Unexpected("--database needs a database's name".into()))?;
    let name = format!("duologue_bench_{}", std::process::id());
    administer(url, &format!("CREATE DATABASE {name}")).await?;
    let fresh = format!("{server}/{name}{parameters}");
    let result = postgres_sides(args, &fresh, POOL).await;
    administer(url, &format!("DROP DATABASE {name} WITH (FORCE)")).await?;
    result
}

async fn postgres_sides(args: &Args, url: &str, pool: usize) -> Result<(), Error> {
    let ours = Speaking::start(args, Some((url, pool))).await?;
    let bare = Server::bare(&["--database", url, "--connections", &pool.to_string()]).await?;
    let (mine, theirs) =
        compare(args, (&ours.server.address, ours.messages()), (&bare.address, ours.inserts())).await?;
    compared("createMessage", &mine, &theirs, 0.6);
    println!();
    ours.server.stop().await;
    bare.stop().await;
    Ok(())
}

async fn administer(url: &str, sql: &str) -> Result<(), Error> {
    let unexpected = |e: tokio_postgres::Error| Error::Unexpected(format!("{e}: {sql}"));
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.map_err(unexpected)?;
    let connection = tokio::spawn(connection);
    client.batch_execute(sql).await.map_err(unexpected)?;
    drop(client);
    // Its end is the end of the client.
    let _ = connection.await;
    Ok(())
}

// ---- points ----

/// getOrCreateUser of a user who exists, getState and setState, against bare reads and upserts.
pub(crate) async fn points(args: &Args) -> Result<(), Error> {
    table::title(&format!("points: one row read or written, {KEYS} keys, {} connections", args.connections));
    let ours = Speaking::start(args, None).await?;
    let folder = scratch(args)?;
    let file = folder.path().join("bare.db").display().to_string();
    let bare = Server::bare(&["--file", &file]).await?;
    let bot = borrowed(&ours.bot_headers);
    let integration = borrowed(&ours.headers);
    let known = |n: usize| {
        request(
            "POST",
            "/v1/chat/users/get-or-create",
            &integration,
            &format!(r#"{{"tags":{{"id":"person-{n}"}},"discriminateByTags":["id"]}}"#),
        )
    };
    let state = format!(r#"{{"payload":{{"note":"{TEXT}","count":1}}}}"#);
    let path = |n: usize| format!("/v1/chat/states/user/{}/note", ours.places[n % ours.places.len()].1);
    let set = |n: usize| request("POST", &path(n), &bot, &state);
    let get = |n: usize| request("GET", &path(n), &bot, "");
    let upsert = |n: usize| request("POST", &format!("/upsert/key-{}", n % ours.places.len()), &[], &state);
    let person = |n: usize| request("POST", &format!("/upsert/person-{n}"), &[], &state);
    let read = |n: usize| request("GET", &format!("/read/key-{}", n % ours.places.len()), &[], "");
    let read_person = |n: usize| request("GET", &format!("/read/person-{n}"), &[], "");
    let spread = |make: &dyn Fn(usize) -> Vec<u8>| -> Requests {
        (0..args.connections).map(|c| (0..KEYS).map(|n| make((n * 7 + c) % KEYS)).collect()).collect()
    };
    let (mut our_client, mut bare_client) =
        (Client::connect(&ours.server.address).await?, Client::connect(&bare.address).await?);
    for n in 0..KEYS {
        our_client.call(&known(n)).await?;
        our_client.call(&set(n)).await?;
        bare_client.call(&upsert(n)).await?;
        bare_client.call(&person(n)).await?;
    }
    let sides: [(&str, Requests, Requests); 3] = [
        ("getOrCreateUser", spread(&known), spread(&read_person)),
        ("getState", spread(&get), spread(&read)),
        ("setState", spread(&set), spread(&upsert)),
    ];
    for (name, mine, theirs) in sides {
        let (mine, theirs) = compare(args, (&ours.server.address, mine), (&bare.address, theirs)).await?;
        compared(name, &mine, &theirs, 0.5);
    }
    println!();
    ours.server.stop().await;
    bare.stop().await;
    Ok(())
}

// ---- many rows ----

/// A data folder with many rows, as an import makes them.
struct Filled {
    folder: TempDir,
    access: Access,
    /// The conversation with as many messages as there are conversations.
    deep: String,
}

fn conversation(ids: &Generator, at: Timestamp) -> Conversation {
    Conversation {
        id: ids.id(at),
        current_task_id: None,
        current_workflow_id: None,
        created_at: at,
        updated_at: at,
        channel: "test".into(),
        integration: String::new(),
        tags: Tags::default(),
        message_count: 0,
        properties: None,
    }
}

impl Filled {
    /// `rows` messages in one conversation, and `conversations` more of them.
    async fn make(args: &Args, conversations: usize) -> Result<Filled, Error> {
        let folder = scratch(args)?;
        let access = child::init(folder.path(), None).await?;
        let store = Store::open(&Location::Sqlite(folder.path().join("duologue.db"))).await?;
        let ids = Generator::system();
        let who = Identity::bot(BotId::from(access.bot.as_str()));
        // All in the past, so that what happens later is newer.
        let start = store.now().plus_millis(-((args.rows + conversations + 1_000) as i64) * 2);
        let deep = conversation(&ids, start);
        let mut filler = Filler { store, who, waiting: Vec::new() };
        filler.add(Record::Conversation(deep.clone(), Vec::new())).await?;
        let payload = Json::parse(format!(r#"{{"text":"{TEXT}"}}"#)).map_err(|e| Error::Unexpected(e.to_string()))?;
        for n in 1..=args.rows {
            let at = start.plus_millis(n as i64);
            let message = Message {
                id: ids.id(at),
                created_at: at,
                updated_at: at,
                kind: "text".into(),
                payload: payload.clone(),
                direction: Direction::Outgoing,
                user_id: access.bot.as_str().into(),
                conversation_id: deep.id.clone(),
                tags: Tags::default(),
                origin: None,
            };
            filler.add(Record::Message(message)).await?;
        }
        for n in 1..=conversations {
            filler
                .add(Record::Conversation(conversation(&ids, start.plus_millis((args.rows + n) as i64)), Vec::new()))
                .await?;
        }
        filler.flush().await?;
        filler.store.close();
        Ok(Filled { folder, access, deep: deep.id.as_str().to_owned() })
    }
}

struct Filler {
    store: Store,
    who: Identity,
    waiting: Vec<Record>,
}

impl Filler {
    async fn add(&mut self, record: Record) -> Result<(), Error> {
        self.waiting.push(record);
        if self.waiting.len() == BATCH { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), Error> {
        let records = std::mem::take(&mut self.waiting);
        self.store.write(ImportRecords { who: self.who.clone(), records }).await?;
        Ok(())
    }
}

/// Pages at depth against the first page, complete under writes.
pub(crate) async fn pages(args: &Args) -> Result<(), Error> {
    table::title(&format!(
        "pages: lists of {} rows, pages of 20, depth against the first page, while 200 writes/s go on",
        args.rows
    ));
    let filled = Filled::make(args, args.rows).await?;
    let server = Server::duologue(filled.folder.path(), None).await?;
    let headers = vec![authorization(&filled.access), ("x-bot-id".into(), filled.access.bot.clone())];
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writer = tokio::spawn(disturb(server.address.clone(), headers.clone(), filled.deep.clone(), stop.clone()));
    for (name, path) in [
        ("listMessages", format!("/v1/chat/messages?conversationId={}", filled.deep)),
        ("listConversations", "/v1/chat/conversations?".to_owned()),
        ("listConversations by updatedAt", "/v1/chat/conversations?sortField=updatedAt".to_owned()),
    ] {
        list(args, &server.address, &headers, name, &path).await?;
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let written = writer.await.map_err(|e| Error::Unexpected(e.to_string()))??;
    table::figure("written meanwhile", &written.to_string());
    println!();
    server.stop().await;
    Ok(())
}

/// 200 writes a second: messages into the long conversation, and new conversations.
async fn disturb(
    address: String,
    headers: Vec<(String, String)>,
    deep: String,
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
) -> Result<usize, Error> {
    let mut client = Client::connect(&address).await?;
    let bot = headers.iter().find(|(name, _)| name == "x-bot-id").map(|(_, value)| value.clone()).unwrap_or_default();
    let message = format!(
        r#"{{"conversationId":"{deep}","userId":"{bot}","type":"text","payload":{{"text":"new"}},"tags":{{}}}}"#
    );
    let message = request("POST", "/v1/chat/messages", &borrowed(&headers), &message);
    let conversation =
        request("POST", "/v1/chat/conversations", &borrowed(&headers), r#"{"channel":"test","tags":{}}"#);
    let mut written = 0;
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        tick.tick().await;
        client.call(if written % 2 == 0 { &message } else { &conversation }).await?;
        written += 1;
    }
    Ok(written)
}

/// Follows a list to its end; then times its first and its last full page.
async fn list(args: &Args, address: &str, headers: &[(String, String)], name: &str, path: &str) -> Result<(), Error> {
    let mut client = Client::connect(address).await?;
    let mut token = String::new();
    let mut deepest = String::new();
    let mut seen: HashSet<u128> = HashSet::new();
    let mut twice = 0usize;
    loop {
        let page = request(
            "GET",
            &format!("{path}&pageSize=100&nextToken={token}").replace("&nextToken=&", "&"),
            &borrowed(headers),
            "",
        );
        let page = if token.is_empty() {
            request("GET", &format!("{path}&pageSize=100"), &borrowed(headers), "")
        } else {
            page
        };
        let answer = client.call(&page).await?;
        let parsed: serde_json::Value = serde_json::from_slice(answer).map_err(|e| Error::Unexpected(e.to_string()))?;
        let rows = parsed.get("messages").or_else(|| parsed.get("conversations")).and_then(|rows| rows.as_array());
        for row in rows.into_iter().flatten() {
            twice += usize::from(!seen.insert(digest(row["id"].as_str().unwrap_or_default())));
        }
        match parsed["meta"]["nextToken"].as_str() {
            Some(next) => {
                deepest = std::mem::replace(&mut token, next.to_owned());
            }
            None => break,
        }
    }
    // The token before the last leads to a full page.
    let first = request("GET", &format!("{path}&pageSize=100"), &borrowed(headers), "");
    let deep = request("GET", &format!("{path}&pageSize=100&nextToken={deepest}"), &borrowed(headers), "");
    let (near, far) = alternate(&mut client, &first, &deep, args.runs * 300).await?;
    table::figure(&format!("{name}: first page, median"), &table::millis(near));
    table::figure(&format!("{name}: page at the end, median"), &table::millis(far));
    table::goal(&format!("{name}: end over first"), far.as_secs_f64() / near.as_secs_f64(), 1.5, false);
    let complete = seen.len().min(args.rows) as f64 / args.rows as f64;
    table::goal(&format!("{name}: share of rows seen"), complete, 1.0, true);
    table::goal(&format!("{name}: rows seen twice"), twice as f64, 0.0, false);
    Ok(())
}

/// Enough of an id to tell it from a million others.
fn digest(id: &str) -> u128 {
    id.bytes().fold(0xcbf2_9ce4_8422_2325_u128, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0100_0000_01b3_0000_0000_013b)
    })
}

/// Medians of two requests made in turn.
async fn alternate(client: &mut Client, one: &[u8], other: &[u8], times: usize) -> Result<(Duration, Duration), Error> {
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..times {
        for (side, request) in [one, other].into_iter().enumerate() {
            let began = Instant::now();
            client.call(request).await?;
            took[side].push(began.elapsed());
        }
    }
    let [mut near, mut far] = took;
    near.sort();
    far.sort();
    Ok((near[near.len() / 2], far[far.len() / 2]))
}

// ---- export ----

/// Export of many messages: speed and memory.
pub(crate) async fn export(args: &Args) -> Result<(), Error> {
    table::title(&format!("export: `duologue export --format jsonl --data DIR` of {} messages", args.rows));
    let filled = Filled::make(args, 0).await?;
    let out: PathBuf = filled.folder.path().join("out.jsonl");
    let command: Vec<String> = [
        "export",
        "--format",
        "jsonl",
        "--quiet",
        "--data",
        &filled.folder.path().display().to_string(),
        "--bot-id",
        &filled.access.bot,
        "--out",
        &out.display().to_string(),
    ]
    .map(str::to_owned)
    .into();
    let mut times = Vec::new();
    let mut peak = 0;
    for _ in 0..args.runs {
        // It isn't there the first time.
        let _ = std::fs::remove_file(&out);
        let (took, memory) = child::run_to_end(&command).await?;
        times.push(took);
        peak = peak.max(memory);
    }
    times.sort();
    let lines =
        std::fs::read(&out).map_err(|e| Error::Io("read the export", e))?.iter().filter(|b| **b == b'\n').count();
    if lines != args.rows + 2 {
        return Err(Error::Unexpected(format!("the export has {lines} lines for {} messages", args.rows)));
    }
    let rate = args.rows as f64 / times[times.len() / 2].as_secs_f64();
    table::goal("messages a second", rate, 50_000.0, true);
    table::goal("greatest resident memory (MB)", peak as f64 / 1e6, 64.0, false);
    println!();
    Ok(())
}

/// Everything that can run without being given anything.
pub(crate) const ALL: [Scenario; 9] = [
    Scenario::Converse,
    Scenario::Delivery,
    Scenario::Engine,
    Scenario::Start,
    Scenario::Messages,
    Scenario::Points,
    Scenario::Pages,
    Scenario::Export,
    Scenario::Postgres,
];
