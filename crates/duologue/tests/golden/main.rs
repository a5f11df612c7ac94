//! The original's recorded conversations, replayed against the real server over HTTP, on both engines.
//!
//! Each answer is compared to the status, the headers that clients look at, and the body with its members in
//! their order; ids, dates and tokens' instants aside. Where Duologue deliberately differs, [`differences`]
//! says how and why, and that is asserted instead.
//!
//! The recordings aren't part of this repository: they lie in the folder that `DUOLOGUE_GOLDEN` names, else in
//! `../shared/golden` beside the workspace. Where they are missing, the tests say so and pass.

#![allow(clippy::unwrap_used)]

mod differences;
mod exchange;
mod recording;
mod stub;
#[path = "../support/mod.rs"]
mod support;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Duration,
};

use differences::Difference;
use duologue_v12::json::Json;
use exchange::{Answer, exchange};
use recording::{Step, comparable};
use support::Server;

/// Headers that are compared wherever the original sent them.
const HEADERS: &[&str] = &[
    "content-type",
    "content-encoding",
    "location",
    "x-powered-by",
    "access-control-allow-origin",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "content-security-policy",
    "x-content-type-options",
];

/// The recording whose steps wait for sessions to expire.
const WAITS: &str = "29";

/// How much shorter than recorded the time-outs of its bots are here.
const FASTER: u64 = 2;
/// A bot whose recorded session outlived a pause by a hair: here it lasts as long as the original's.
const PATIENT: &str = "\"id\": \"golden-timeout-noflow\"";

/// How long a step waits, by a part of its path and a part of its text. A time-out of 1.5 s is seen to within a
/// second, and begins a session of 4.5 s (of the other bot 9 s) anew: 12.5 s after the message the recorded session
/// of one bot had just ended, and that of the other not yet. There is more than a second to spare on either side.
const WAITING: &[(&str, &str, Duration)] = &[
    ("", "after 5.5 s", Duration::from_secs(4)),
    ("/golden-timeout/", "after 12.5 s", Duration::from_secs(10)),
    ("/golden-timeout-noflow/", "after 12.5 s", Duration::from_secs(5)),
    ("/golden-timeout/", "after 25 s", Duration::from_secs(10)),
    ("/golden-timeout-noflow/", "after 25 s", Duration::from_secs(15)),
];

#[test]
fn recordings_on_sqlite() {
    if let Some(golden) = recording::golden() {
        replay_all(&golden, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn recordings_on_postgres() {
    let Some(golden) = recording::golden() else { return };
    if let Some(database) = support::postgres().await {
        tokio::task::spawn_blocking(move || replay_all(&golden, Some(&database))).await.unwrap();
    }
}

/// Every deliberate difference is in the guide, in the words of the table.
#[test]
fn differences_are_in_the_guide() {
    let guide = include_str!("../../../../docs/compatibility.md");
    for difference in differences::ALL {
        assert!(guide.contains(difference.what), "docs/compatibility.md doesn't say: {}", difference.what);
    }
}

fn replay_all(golden: &Path, database: Option<&str>) {
    let scene = Scene::start(golden, database);
    let recordings = recording::all(golden);
    let compared: usize = recordings.iter().map(|(_, steps)| steps.len()).sum();
    let failures: Vec<String> = std::thread::scope(|threads| {
        let (waiting, others): (Vec<_>, Vec<_>) = recordings.iter().partition(|(name, _)| name.starts_with(WAITS));
        // Users of different bots wait side by side, while all other recordings are replayed in order.
        let groups =
            waiting.into_iter().flat_map(|(name, steps)| by_bot(steps).into_iter().map(move |group| (name, group)));
        let waiting: Vec<_> = groups.map(|(name, group)| threads.spawn(|| scene.replay(name, group))).collect();
        let in_order =
            others.into_iter().flat_map(|(name, steps)| scene.replay(name, steps.iter().enumerate().collect()));
        let mut failures: Vec<String> = in_order.collect();
        failures.extend(waiting.into_iter().flat_map(|replay| replay.join().unwrap()));
        failures
    });
    for difference in differences::ALL {
        let steps = recordings.iter().find(|(name, _)| name.starts_with(difference.recording)).map(|(_, steps)| steps);
        assert!(steps.is_some_and(|steps| difference.step < steps.len()), "no such step: {}", difference.what);
    }
    assert!(compared > 400, "only {compared} steps were found");
    assert!(failures.is_empty(), "{} of {compared} steps differ:\n\n{}", failures.len(), failures.join("\n\n"));
}

fn by_bot(steps: &[Step]) -> Vec<Vec<(usize, &Step)>> {
    let mut groups: Vec<(String, Vec<(usize, &Step)>)> = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        let bot = step.path.split('/').nth(4).unwrap_or_default();
        match groups.iter_mut().find(|(name, _)| name == bot) {
            Some((_, group)) => group.push((at, step)),
            None => groups.push((bot.to_owned(), vec![(at, step)])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// A server on a copy of the recorded data, and whoever calls it.
struct Scene {
    address: String,
    tokens: HashMap<&'static str, String>,
    _server: Server,
    _folder: tempfile::TempDir,
}

impl Scene {
    fn start(golden: &Path, database: Option<&str>) -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let data = copy(golden, folder.path(), stub::start());
        // Media were recorded under the original's own address.
        let public = ["--public-url", "http://127.0.0.1:3901"];
        let arguments = ["--v12-data", data.to_str().unwrap(), "--allow-outbound", "127.0.0.1"];
        let server = Server::prepare(database, &[]).with(&arguments).with(&public).serve();
        let address = server.url.trim_start_matches("http://").to_owned();
        let config = std::fs::read_to_string(data.join("global/botpress.config.json")).unwrap();
        let admin = log_in(&address);
        let tokens = recording::tokens(&Json::parse(&config).unwrap(), admin);
        Scene { address, tokens, _server: server, _folder: folder }
    }

    /// Answers what differs.
    fn replay(&self, name: &str, steps: Vec<(usize, &Step)>) -> Vec<String> {
        let mut failures = Vec::new();
        for (at, step) in steps {
            wait_as_the_text_says(step);
            let headers = step.headers_with(&self.tokens);
            let body = step.bytes();
            let answer = exchange(&self.address, &step.method, &step.path, &headers, body.as_deref());
            let difference = differences::of(name, at);
            let verdict = match difference {
                Some(difference) => difference.check(&answer),
                None => compare(step, &answer),
            };
            if let Err(reason) = verdict {
                let asked = step.body.as_deref().unwrap_or_default();
                let asked: String = asked.chars().take(200).collect();
                let why =
                    difference.map(|difference| format!(" (deliberate: {})", difference.what)).unwrap_or_default();
                failures.push(format!("{name}, step {at}{why}: {} {} {asked}\n{reason}", step.method, step.path));
            }
        }
        failures
    }
}

fn wait_as_the_text_says(step: &Step) {
    let body = step.body.as_deref().unwrap_or_default();
    if let Some((_, _, time)) = WAITING.iter().find(|(path, text, _)| step.path.contains(path) && body.contains(text)) {
        std::thread::sleep(*time);
    }
}

/// Copies the recorded data, with a port that is free in the flows' URLs and shorter time-outs, and adds the
/// original's database with the accounts.
fn copy(golden: &Path, folder: &Path, port: u16) -> PathBuf {
    let data = folder.join("v12");
    let adjust = |text: String| {
        let session = if text.contains(PATIENT) { 9000 } else { 9000 / FASTER };
        text.replace("http://127.0.0.1:3999/", &format!("http://127.0.0.1:{port}/"))
            .replace("\"timeoutInterval\": \"3s\"", &format!("\"timeoutInterval\": \"{}ms\"", 3000 / FASTER))
            .replace("\"sessionTimeoutInterval\": \"9s\"", &format!("\"sessionTimeoutInterval\": \"{session}ms\""))
    };
    copy_folder(&golden.join("data"), &data, &adjust);
    std::fs::create_dir_all(data.join("storage")).unwrap();
    let database = rusqlite::Connection::open(data.join("storage/core.sqlite")).unwrap();
    database.execute_batch(ACCOUNTS).unwrap();
    data
}

fn copy_folder(from: &Path, to: &Path, adjust: &impl Fn(String) -> String) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (entry, place) = (entry.as_ref().unwrap().path(), to.join(entry.as_ref().unwrap().file_name()));
        if entry.is_dir() {
            copy_folder(&entry, &place, adjust);
        } else {
            std::fs::write(place, adjust(std::fs::read_to_string(entry).unwrap())).unwrap();
        }
    }
}

/// The original's table of accounts: `adminpass123` as it hashed passwords, and an account whose password
/// nobody needs.
const ACCOUNTS: &str = "
    CREATE TABLE strategy_default (id INTEGER PRIMARY KEY, email TEXT, password TEXT, salt TEXT, strategy TEXT,
        attributes TEXT, tokenVersion INTEGER DEFAULT 1, created_at TEXT, updated_at TEXT);
    INSERT INTO strategy_default (email, password, salt, strategy, attributes) VALUES
        ('admin@example.com', 'ff56be93cdd9d9453b9078a0b8d43617107714d8c3a17d7ae23eba324f68631f'
            || 'b187edaef5b1422469053bd2ce61eb1a452c482a2751e6fc34ec5ac793fbd945', '0123456789abcdef', 'default', '{}'),
        ('limited@example.com', 'none', 'none', 'default', '{}');
";

/// The first login is with the original's hash.
fn log_in(address: &str) -> String {
    let body = r#"{"email":"admin@example.com","password":"adminpass123"}"#;
    let headers = [("content-type".to_owned(), "application/json".to_owned())];
    let answer = exchange(address, "POST", "/api/v1/auth/login/basic/default", &headers, Some(body.as_bytes()));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let json = Json::parse(&answer.text()).unwrap();
    json.get("payload").and_then(|payload| payload.get("jwt")?.as_str()).unwrap().to_owned()
}

fn compare(step: &Step, answer: &Answer) -> Result<(), String> {
    let Some(status) = step.status else {
        return Err("the original never answered: what is right must be in the table of differences".to_owned());
    };
    if answer.status != status {
        return Err(format!("status {} instead of {status}: {}", answer.status, answer.text()));
    }
    for name in HEADERS {
        let recorded = step.recorded_header(name);
        if recorded.is_some() && answer.header(name) != recorded {
            return Err(format!("{name}: {:?} instead of {recorded:?}", answer.header(name)));
        }
    }
    for part in step.recorded_headers.iter().filter(|(name, _)| name == "Vary").flat_map(|(_, value)| value.split(", "))
    {
        if !answer.headers_called("vary").any(|value| value.split(", ").any(|given| given == part)) {
            return Err(format!("vary: {part} is missing"));
        }
    }
    check_etag(step, answer)?;
    match &step.recorded_body {
        Some(recorded) => same("the body", &comparable(&answer.text()), &comparable(recorded)),
        None => check_compressed(&answer.body),
    }
}

/// The original's, if nothing of the body is from this run; a weak one in any case.
fn check_etag(step: &Step, answer: &Answer) -> Result<(), String> {
    let (Some(recorded), given) = (step.recorded_header("etag"), answer.header("etag")) else { return Ok(()) };
    let is_same_body = step.recorded_body.as_deref() == Some(&answer.text());
    let is_right = given.is_some_and(|tag| if is_same_body { tag == recorded } else { tag.starts_with("W/\"") });
    if is_right { Ok(()) } else { Err(format!("etag: {given:?} instead of {recorded}")) }
}

/// A recorded body that is compressed isn't legible; here at least it is what it should be.
fn check_compressed(body: &[u8]) -> Result<(), String> {
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(body), &mut text).map_err(|e| e.to_string())?;
    let json = Json::parse(&text).map_err(|e| e.to_string())?;
    let members: Vec<&str> = json.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    same("its members", &members.join(","), "responses,nlu,suggestions,state,decision")
}

/// Shows where two texts part.
fn same(what: &str, actual: &str, expected: &str) -> Result<(), String> {
    if actual == expected {
        return Ok(());
    }
    let parts = actual.bytes().zip(expected.bytes()).take_while(|(a, b)| a == b).count();
    let around = |text: &str| {
        let from = parts.saturating_sub(80);
        String::from_utf8_lossy(&text.as_bytes()[from.min(text.len())..(parts + 200).min(text.len())]).into_owned()
    };
    Err(format!("{what} differs at byte {parts}:\n  is      …{}\n  should  …{}", around(actual), around(expected)))
}

impl Difference {
    /// Asserts the difference itself: the status, the content of the headers and members that it names.
    fn check(&self, answer: &Answer) -> Result<(), String> {
        if answer.status != self.status {
            return Err(format!("status {} instead of {}: {}", answer.status, self.status, answer.text()));
        }
        for (name, value) in self.headers {
            if answer.header(name) != *value {
                return Err(format!("{name}: {:?} instead of {value:?}", answer.header(name)));
            }
        }
        if self.body.is_empty() {
            return Ok(());
        }
        let text = answer.text();
        let actual = Json::parse(&comparable(&text)).map_err(|e| format!("{}: {text}", e.0))?;
        contains(&actual, &Json::parse(self.body).unwrap(), "body")
    }
}

/// Whether every member that is expected is there and equal. Lists are compared whole.
fn contains(actual: &Json, expected: &Json, path: &str) -> Result<(), String> {
    match (actual, expected) {
        (Json::Object(actual), Json::Object(expected)) if !expected.is_empty() => {
            expected.iter().try_for_each(|(name, value)| match actual.get(name) {
                Some(found) => contains(found, value, &format!("{path}.{name}")),
                None => Err(format!("{path}.{name} is missing")),
            })
        }
        _ => same(path, &actual.to_string(), &expected.to_string()),
    }
}
