//! Logs: pages, filters, and waiting for what isn't there yet.

use std::time::{Duration, Instant};

use duologue_store::logs::{Level, NewLine, Owner};
use serde_json::Value;
use tokio::{sync::watch, task::JoinHandle};

use crate::Bed;

/// Says something in the bot's log.
fn say(bed: &Bed, level: Level, text: &str) {
    bed.store.log(NewLine::new(Owner::Bot(bed.bot.clone()), level, text));
}

/// Has lines stored until it is dropped.
struct Keeper(watch::Sender<bool>, #[allow(dead_code)] JoinHandle<()>);

impl Keeper {
    fn of(bed: &Bed) -> Self {
        let (stop, stopped) = watch::channel(false);
        let store = bed.store.clone();
        Keeper(stop, tokio::spawn(async move { store.keep_logs(stopped).await }))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.0.send(true);
    }
}

fn path(bed: &Bed, query: &str) -> String {
    format!("/v1/admin/bots/{}/logs?timeStart=2020-01-01T00:00:00.000Z{query}", bed.bot)
}

fn messages(answer: &Value) -> Vec<&str> {
    answer["logs"].as_array().unwrap().iter().map(|line| line["message"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn who_waits_gets_lines_as_they_come() {
    let bed = Bed::new().await;
    let _keeper = Keeper::of(&bed);
    say(&bed, Level::Info, "first");
    let first = bed.get(&path(&bed, "&wait=10")).await.json();
    assert_eq!(messages(&first), ["first"]);
    // From there on there is nothing yet.
    let token = first["nextToken"].as_str().unwrap();
    let more = path(&bed, &format!("&wait=10&nextToken={token}"));
    let since = Instant::now();
    let (second, ()) = tokio::join!(bed.get(&more), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        say(&bed, Level::Error, "second");
    });
    let second = second.json();
    assert_eq!(messages(&second), ["second"]);
    assert_eq!(second["logs"][0]["level"], "error");
    assert!((Duration::from_millis(300)..Duration::from_secs(9)).contains(&since.elapsed()));
    // Whoever waits in vain goes on from where it was.
    let token = second["nextToken"].as_str().unwrap();
    let nothing = bed.get(&path(&bed, &format!("&wait=1&nextToken={token}"))).await;
    // The token belongs to another wait, that is, to another list.
    nothing.assert_refused("InvalidQuery", 400);
    let nothing = bed.get(&path(&bed, "&wait=0&level=debug")).await.json();
    assert_eq!(messages(&nothing), [""; 0]);
    say(&bed, Level::Debug, "third");
    let token = nothing["nextToken"].as_str().unwrap();
    let third = loop {
        let third = bed.get(&path(&bed, &format!("&wait=0&level=debug&nextToken={token}"))).await.json();
        if !messages(&third).is_empty() {
            break third;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(messages(&third), ["third"]);
}

#[tokio::test]
async fn pages_have_their_token_beside_the_lines() {
    let bed = Bed::new().await;
    let _keeper = Keeper::of(&bed);
    let woken = bed.store.live().logs.notified();
    for number in 0..3 {
        say(&bed, Level::Info, &number.to_string());
    }
    tokio::time::timeout(Duration::from_secs(10), woken).await.unwrap();
    let first = bed.get(&path(&bed, "&limit=2")).await.json();
    assert_eq!(messages(&first), ["0", "1"]);
    let token = first["nextToken"].as_str().unwrap();
    let last = bed.get(&path(&bed, &format!("&limit=2&nextToken={token}"))).await.json();
    assert_eq!(messages(&last), ["2"]);
    assert_eq!(last.get("nextToken"), None);
    assert_eq!(last.get("meta"), None);
}

#[tokio::test]
async fn what_can_not_be_understood_is_refused() {
    let bed = Bed::new().await;
    bed.get(&format!("/v1/admin/bots/{}/logs", bed.bot)).await.assert_refused("InvalidQuery", 400);
    bed.get(&path(&bed, "&level=loud")).await.assert_refused("InvalidQuery", 400);
    let elsewhere = "/v1/admin/bots/bot_01H00000000000000000000000/logs?timeStart=2020-01-01T00:00:00.000Z";
    bed.get(elsewhere).await.assert_refused("ResourceNotFound", 404);
    let integration = "/v1/admin/integrations/intver_none/logs?timeStart=2020-01-01T00:00:00.000Z";
    bed.get(integration).await.assert_refused("ResourceNotFound", 404);
}
