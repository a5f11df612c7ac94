//! Deliveries: from a message of the outside to the bot's reply, stored and heard outside again.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{Router, extract::State, http::StatusCode};

use crate::{
    Args, Error,
    child::Server,
    hosted,
    load::Client,
    scenarios::{authorization, called, text},
    stage::{Seen, Stage, admin, said, serve},
    table,
};

/// Bots that fail beside the one that is measured.
const FAILING: usize = 1_000;
/// Messages for each of them: tried three times each, they keep failing for as long as is measured.
const MESSAGES_EACH: usize = 4;
/// States that expire in one second.
const STATES: usize = 100_000;

async fn failing(State(seen): State<Arc<Seen>>) -> StatusCode {
    seen.failures.fetch_add(1, Ordering::Relaxed);
    StatusCode::INTERNAL_SERVER_ERROR
}

/// All of it.
pub(crate) async fn delivery(args: &Args) -> Result<(), Error> {
    table::title("delivery: message in, remote bot on this machine, reply stored and heard by the integration");
    let stage = Stage::start(args).await?;
    let (stored, heard) = stage.round_trips(1, args.seconds).await?;
    table::side("one conversation: until it is stored", &stored);
    table::side("one conversation: until it is heard", &heard);
    table::goal("one conversation: stored, p50 (ms)", millis(stored.p50), 5.0, false);
    table::goal("one conversation: heard, p50 (ms)", millis(heard.p50), 5.0, false);
    let (stored, heard) = stage.round_trips(args.connections, args.seconds).await?;
    table::side(&format!("{} conversations: until it is stored", args.connections), &stored);
    table::side(&format!("{} conversations: until it is heard", args.connections), &heard);
    table::goal("round trips a second", heard.per_second, 2_500.0, true);
    println!();
    stage.server.stop().await;
    match &args.hosted {
        Some(bundle) => hosted::hosted(args, bundle).await?,
        None => println!("delivery, hosted bot: skipped; `cargo xtask bundle FILE`, then --hosted FILE\n"),
    }
    beside_failing(args).await?;
    expiring(args).await
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// A healthy bot beside many that fail.
async fn beside_failing(args: &Args) -> Result<(), Error> {
    table::title(&format!("delivery: one healthy bot beside {FAILING} that always fail"));
    let stage = Stage::start(args).await?;
    let url = serve(Router::new().fallback(failing).with_state(stage.seen.clone())).await?;
    let mut client = Client::connect(&stage.server.address).await?;
    let mut messages = Vec::with_capacity(FAILING);
    for _ in 0..FAILING {
        let definition = format!(r#"{{"url":"{url}"}}"#);
        let made = called(&mut client, "POST", "/v1/admin/bots", &admin(&stage.access), &definition).await?;
        let bot = text(&made["bot"]["id"]);
        let install =
            format!(r#"{{"integrations":{{"bench":{{"integrationId":"{}","enabled":true}}}}}}"#, stage.integration);
        called(&mut client, "PUT", &format!("/v1/admin/bots/{bot}"), &admin(&stage.access), &install).await?;
        let headers = stage.headers(&bot);
        let (conversation, user) = stage.place(&mut client, &headers).await?;
        messages.push(said(&conversation, &user, &headers));
    }
    let (_, alone) = stage.round_trips(1, args.seconds).await?;
    for message in &messages {
        for _ in 0..MESSAGES_EACH {
            client.call(message).await?;
        }
    }
    let before = stage.seen.failures.load(Ordering::Relaxed);
    let (_, beside) = stage.round_trips(1, args.seconds).await?;
    let failures = stage.seen.failures.load(Ordering::Relaxed) - before;
    table::side("alone", &alone);
    table::side("beside them", &beside);
    table::figure("failures meanwhile", &failures.to_string());
    table::goal("p99 as a multiple of alone", beside.p99.as_secs_f64() / alone.p99.as_secs_f64(), 1.5, false);
    println!();
    stage.server.stop().await;
    Ok(())
}

/// Very many states that expire within a second, and how long their events take.
async fn expiring(args: &Args) -> Result<(), Error> {
    table::title(&format!("delivery: {STATES} states that expire within a second"));
    let stage = Stage::start(args).await?;
    let mut client = Client::connect(&stage.server.address).await?;
    let headers = vec![authorization(&stage.access), ("x-bot-id".into(), stage.access.bot.clone())];
    let path = format!("/v1/chat/states/bot/{}/s", stage.access.bot);
    called(&mut client, "POST", &path, &headers, r#"{"payload":{"n":1},"expiry":3600000}"#).await?;
    let Stage { server, seen, folder, bot_url, .. } = stage;
    server.stop().await;
    let due = multiply_states(&folder.path().join("duologue.db"))?;
    let server = Server::duologue(folder.path(), None).await?;
    let mut peak = 0;
    while seen.events.load(Ordering::Relaxed) < STATES + 1 {
        if due.elapsed().is_ok_and(|since| since > Duration::from_secs(300)) {
            return Err(Error::Unexpected(format!("events of states don't arrive at {bot_url}")));
        }
        peak = peak.max(server.resident());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = due.elapsed().unwrap_or_default();
    table::goal("from the first expiry to the last delivery (s)", took.as_secs_f64(), 60.0, false);
    table::figure("resident memory at most", &format!("{:.0} MB", peak as f64 / 1e6));
    println!();
    server.stop().await;
    Ok(())
}

/// Makes very many of the one state that is there; answers when the first expires.
fn multiply_states(file: &std::path::Path) -> Result<std::time::SystemTime, Error> {
    let due = std::time::SystemTime::now() + Duration::from_secs(5);
    let millis = due.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    let multiply = || -> rusqlite::Result<()> {
        let connection = rusqlite::Connection::open(file)?;
        connection.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) \
             INSERT INTO states (bot_id, type, scope_id, owner, name, id, payload, expiry, expires_at, created_at, updated_at) \
             SELECT bot_id, type, scope_id, owner, 's' || CAST(i AS TEXT), \
               substr(id, 1, length(id) - 6) || substr(CAST(1000000 + i AS TEXT), 2), \
               payload, expiry, expires_at, created_at, updated_at \
             FROM n CROSS JOIN states WHERE name = 's'",
            [STATES as i64],
        )?;
        let spread =
            "UPDATE states SET expires_at = ?1 + CAST(substr(id, length(id) - 5) AS INTEGER) % 1000 WHERE name <> 's'";
        connection.execute(spread, [millis])?;
        connection.execute("UPDATE states SET expires_at = ?1 WHERE name = 's'", [millis])?;
        Ok(())
    };
    multiply().map_err(|e| Error::Unexpected(format!("can't fill the database: {e}")))?;
    Ok(due)
}
