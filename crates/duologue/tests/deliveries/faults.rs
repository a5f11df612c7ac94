//! Bots that fail in every way, and servers that die.

use super::on_both;

on_both! {
    bots_fail_in_every_way
    what_was_said_while_nothing_was_delivered_is
    a_call_under_way_is_repeated_after_a_power_cut
    ten_thousand_messages_over_power_cuts
    dead_letters_are_looked_at_and_replayed
}

mod case {
    use std::{
        collections::{HashMap, HashSet},
        sync::{
            Arc, Mutex,
            atomic::{AtomicBool, Ordering},
        },
        time::{Duration, Instant},
    };

    use duologue_client::{EventStatus, StreamExt};
    use serde_json::{Value, json};

    use crate::{
        Place,
        bot::{Reply, TestBot},
        support::{Server, duologue},
        text, until,
    };

    pub async fn bots_fail_in_every_way(database: Option<String>) {
        // What is said says what to do; "fails five times" counts over all events.
        let bot = TestBot::serve(move |call, before| async move {
            match call.text() {
                "rubbish" => Reply::Status(200, "<html>"),
                "runtime" => Reply::Status(500, r#"{"code":400,"type":"Runtime","message":"no such order"}"#),
                "refuse" => Reply::Status(404, "nothing here"),
                "hang" => Reply::Hang,
                "die" if before == 0 => Reply::Die,
                "slow" => {
                    tokio::time::sleep(Duration::from_millis(700)).await;
                    Reply::Well
                }
                "often" => Reply::Status(500, ""),
                "busy" if before == 0 => Reply::Status(429, ""),
                _ => Reply::Well,
            }
        })
        .await;
        let place = Place::start(database.as_deref(), &bot, &[]).await;
        place.change_bot(json!({"maxExecutionTime": 3})).await;
        let words = ["rubbish", "runtime", "refuse", "hang", "die", "slow", "often", "busy"];
        let mut conversations = HashMap::new();
        for word in words {
            let (conversation, user) = place.conversation().await;
            place.people.create_message(text(&conversation, &user, word)).await.unwrap();
            place.people.create_message(text(&conversation, &user, &format!("after {word}"))).await.unwrap();
            conversations.insert(word, conversation);
        }
        place.wait_for(EventStatus::Pending, 0).await;
        let events = place.events().await;
        let of = |word: &str| {
            let said = |text: &str| {
                events.iter().find(|event| event.payload.value()["message"]["payload"]["text"] == text).unwrap()
            };
            // Whatever happened, what was said next was delivered, and after it.
            assert_eq!(said(&format!("after {word}")).status, EventStatus::Processed, "{word}");
            let event = said(word);
            (event.status, event.failure_reason.clone().unwrap_or_default())
        };
        let calls = bot.calls();
        let tries = |word: &str| calls.iter().filter(|call| call.text() == word).count();
        for (word, attempts) in [("rubbish", 1), ("slow", 1), ("die", 2), ("busy", 2)] {
            assert_eq!((of(word).0, tries(word)), (EventStatus::Processed, attempts), "{word}");
        }
        for (word, attempts, reason) in
            [("runtime", 1, "no such order"), ("refuse", 1, "404"), ("hang", 1, "did not answer"), ("often", 3, "500")]
        {
            let (status, said) = of(word);
            assert_eq!((status, tries(word)), (EventStatus::Failed, attempts), "{word}");
            assert!(said.contains(reason), "{said}");
        }
        for word in words {
            let told: Vec<&str> = calls
                .iter()
                .filter(|call| call.conversation() == conversations[word].as_str())
                .map(|call| call.text())
                .collect();
            assert!(told.is_sorted_by_key(|text| text.starts_with("after")), "{told:?}");
        }
        let ends = |outcome: &str| {
            let named = format!("duologue_deliveries_total{{to=\"bot\",outcome=\"{outcome}\"}}");
            place.server.metric(&named).unwrap()
        };
        let counted = || (ends("processed"), ends("retry"), ends("failed"), ends("ignored"));
        until(async || counted() == (12, 4, 4, 0)).await;
        for gauge in ["duologue_outbox_rows_in_memory", "duologue_deliveries_in_flight"] {
            until(async || place.server.metric(gauge) == Some(0)).await;
        }
        assert_eq!(place.server.metric("duologue_hosted_processes"), Some(0));
    }

    pub async fn what_was_said_while_nothing_was_delivered_is(database: Option<String>) {
        let bot = TestBot::well().await;
        let mut place = Place::start(database.as_deref(), &bot, &["--deliveries", "off"]).await;
        let (conversation, user) = place.conversation().await;
        for n in 0..20 {
            place.people.create_message(text(&conversation, &user, &n.to_string())).await.unwrap();
        }
        assert_eq!(place.standing().await, HashMap::from([(EventStatus::Pending, 20)]));
        place.server.kill();
        place.server = place.server.another_with(&["--deliveries", "on"]);
        place.bot = place.server.client();
        place.wait_for(EventStatus::Processed, 20).await;
        let said: Vec<usize> = bot.calls().iter().map(|call| call.text().parse().unwrap()).collect();
        assert_eq!(said, (0..20).collect::<Vec<_>>());
    }

    pub async fn a_call_under_way_is_repeated_after_a_power_cut(database: Option<String>) {
        let bot = TestBot::serve(|_, before| async move { if before == 0 { Reply::Hang } else { Reply::Well } }).await;
        let mut place = Place::start(database.as_deref(), &bot, &[]).await;
        let (conversation, user) = place.conversation().await;
        for n in 0..3 {
            place.people.create_message(text(&conversation, &user, &n.to_string())).await.unwrap();
        }
        until(async || bot.count() == 1).await;
        place.server.kill();
        // The lease of whoever died has to lapse; here it does so at once.
        place.server.execute("UPDATE delivery_leases SET until = 0").await;
        place.restart();
        until(async || bot.count() >= 2).await;
        assert_eq!(bot.calls()[1].event()["id"], bot.calls()[0].event()["id"]);
    }

    /// Very many messages while servers are killed; what the bot does is done once.
    pub async fn ten_thousand_messages_over_power_cuts(database: Option<String>) {
        const PLACES: usize = 100;
        const EACH: usize = 100;
        /// How many of each are said through the API; the others are copied, which is sooner done.
        const SAID: usize = 3;
        let effects: Arc<Mutex<HashMap<String, Vec<usize>>>> = Arc::default();
        let done: Arc<Mutex<HashSet<String>>> = Arc::default();
        let bot = TestBot::serve({
            let (effects, done) = (effects.clone(), done.clone());
            move |call, before| {
                let event = call.event()["id"].as_str().unwrap().to_owned();
                let n: usize = call.text().parse().unwrap();
                // As a bot should: the id of an event says whether it was seen to.
                if done.lock().unwrap().insert(event) {
                    effects.lock().unwrap().entry(call.conversation().to_owned()).or_default().push(n);
                }
                // Some fail at first, and some for good.
                async move {
                    match n {
                        57 => Reply::Status(400, r#"{"type":"Runtime","code":400,"message":"never"}"#),
                        31 if before == 0 => Reply::Die,
                        _ => Reply::Well,
                    }
                }
            }
        })
        .await;
        let mut place = Place::start(database.as_deref(), &bot, &["--deliveries", "off"]).await;
        let mut places = Vec::new();
        for _ in 0..PLACES {
            places.push(place.conversation().await);
        }
        let speak = async |n: usize, people: &duologue_client::Client| {
            let say = |(conversation, user): &(_, _)| {
                let message = text(conversation, user, &n.to_string());
                async move { people.create_message(message).await.unwrap() }
            };
            futures_util::stream::iter(&places).map(say).buffer_unordered(16).collect::<Vec<_>>().await;
        };
        // Each in a millisecond of its own: its id is copied, too.
        for (conversation, user) in &places {
            place.people.create_message(text(conversation, user, "0")).await.unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        copy(&place.server, EACH - SAID).await;
        let began = Instant::now();
        place.server.kill();
        place.server = place.server.another_with(&["--deliveries", "on"]);
        let second = database.as_ref().map(|_| place.server.another());
        // Whoever holds the bot is killed while it delivers; where there is another, that takes over.
        until(async || bot.count() > PLACES * EACH / 4).await;
        place.server.kill();
        let mut server = match second {
            Some(second) => second,
            None => place.server.another(),
        };
        server.execute("UPDATE delivery_leases SET until = 0").await;
        speak(EACH - 2, &place.people_at(&server)).await;
        until(async || bot.count() > PLACES * EACH / 2).await;
        server.kill();
        server.execute("UPDATE delivery_leases SET until = 0").await;
        server.restart();
        speak(EACH - 1, &place.people_at(&server)).await;
        until(async || server.number("SELECT COUNT(*) FROM outbox").await == 0).await;
        eprintln!("{} messages in {:?}, {} calls", PLACES * EACH, began.elapsed(), bot.count());

        let expected: Vec<usize> = (0..EACH).collect();
        let effects = effects.lock().unwrap().clone();
        assert_eq!(effects.len(), PLACES);
        assert!(effects.values().all(|order| *order == expected), "not in order, or not once");
        assert_eq!(server.number("SELECT COUNT(*) FROM dead_letters").await, PLACES as i64);
        let failed = server.number("SELECT COUNT(*) FROM events WHERE status = 'failed'").await;
        assert_eq!(failed, PLACES as i64);
        assert!(bot.count() >= PLACES * EACH);
    }

    /// Copies the first message of each conversation, with its delivery, so many times less one, as if
    /// they had been said a millisecond after the other.
    async fn copy(server: &Server, times: usize) {
        // Ids of one instant sort by their random part, whose end is replaced by a number.
        let id = |id: &str| format!("substr({id}, 1, length({id}) - 6) || substr(CAST(1000000 + n.i AS TEXT), 2)");
        let numbers = format!("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {times}) ");
        let first = "m.seq = 1 AND m.direction = 'incoming'";
        let (message, outbox) = (id("m.id"), id("o.id"));
        server.execute("UPDATE outbox SET id = substr(id, 1, length(id) - 6) || '000000'").await;
        server.execute("UPDATE messages SET id = substr(id, 1, length(id) - 6) || '000000'").await;
        for sql in [
            format!(
                "{numbers} INSERT INTO messages (conversation_id, created_at, id, bot_id, seq, type, payload, direction, user_id, \
                 origin, tags, updated_at, announced) SELECT m.conversation_id, m.created_at + n.i, {message}, m.bot_id, \
                 m.seq + n.i, m.type, '{{\"text\":\"' || CAST(n.i AS TEXT) || '\"}}', m.direction, m.user_id, m.origin, m.tags, \
                 m.updated_at, m.announced FROM n CROSS JOIN messages m WHERE {first}"
            ),
            format!(
                "{numbers} INSERT INTO outbox (bot_id, id, target, kind, lane, at, attempts, due_at) \
                 SELECT o.bot_id, {outbox}, o.target, o.kind, o.lane, o.at + n.i, 0, o.due_at FROM n CROSS JOIN outbox o"
            ),
            format!(
                "UPDATE conversations SET last_seq = last_seq + {times}, message_count = message_count + {times}, \
                 last_at = last_at + {times}"
            ),
        ] {
            server.execute(&sql).await;
        }
    }

    pub async fn dead_letters_are_looked_at_and_replayed(database: Option<String>) {
        let works = Arc::new(AtomicBool::new(false));
        let bot = TestBot::serve({
            let works = works.clone();
            move |_, _| {
                let works = works.load(Ordering::SeqCst);
                async move { if works { Reply::Well } else { Reply::Status(400, r#"{"message":"out of order"}"#) } }
            }
        })
        .await;
        let place = Place::start(database.as_deref(), &bot, &[]).await;
        let (conversation, user) = place.conversation().await;
        for n in 0..3 {
            place.people.create_message(text(&conversation, &user, &n.to_string())).await.unwrap();
        }
        place.wait_for(EventStatus::Failed, 3).await;
        let run = |args: &[&str]| {
            let mut command = duologue("deliveries").server(&place.server);
            command = command.args(args);
            command.run().success().stdout
        };
        let dead: Vec<Value> =
            run(&["dead", "--json"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(dead.len(), 3);
        assert_eq!((&dead[0]["status"], &dead[0]["reason"]), (&json!("failed"), &json!("out of order")));
        let id = dead[2]["id"].as_str().unwrap();
        let shown: Value = serde_json::from_str(&run(&["show", id, "--json"])).unwrap();
        assert_eq!(shown["attemptList"][0]["status"], 400);
        assert!(run(&["show", id]).contains("out of order"));
        assert!(run(&["list"]).contains(id));

        works.store(true, Ordering::SeqCst);
        run(&["replay", id]);
        place.wait_for(EventStatus::Processed, 1).await;
        run(&["replay", "--since", "1h"]);
        place.wait_for(EventStatus::Processed, 3).await;
        let texts: Vec<String> = bot.calls().iter().map(|call| call.text().to_owned()).collect();
        assert_eq!(texts, ["0", "1", "2", "0", "1", "2"]);
        // What was answered can be delivered again, too, under the same id.
        run(&["replay", id]);
        until(async || bot.count() == 7).await;
        assert_eq!(bot.calls()[6].event()["id"], bot.calls()[0].event()["id"]);
        place.wait_for(EventStatus::Processed, 3).await;
        assert!(run(&["dead"]).is_empty());
    }
}
