//! Order in a conversation, conversations side by side.

use super::on_both;

on_both! { what_is_said_arrives_in_order_and_conversations_side_by_side nobody_hears_what_nobody_can }

mod case {
    use std::{
        collections::HashMap,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use duologue_client::{CreateEvent, EventStatus};
    use serde_json::json;

    use crate::{
        Place,
        bot::{Reply, TestBot},
        support::Server,
        text, until,
    };

    const PLACES: usize = 8;
    const EACH: usize = 12;

    pub async fn what_is_said_arrives_in_order_and_conversations_side_by_side(database: Option<String>) {
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let bot = TestBot::serve({
            let most = most.clone();
            move |_, _| {
                let (running, most) = (running.clone(), most.clone());
                async move {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    running.fetch_sub(1, Ordering::SeqCst);
                    Reply::Well
                }
            }
        })
        .await;
        let place = Place::start(database.as_deref(), &bot, &[]).await;
        let mut places = Vec::new();
        for _ in 0..PLACES {
            places.push(place.conversation().await);
        }
        let speak = |(conversation, user): &(_, _)| {
            let (people, conversation, user) = (place.people.clone(), Clone::clone(conversation), Clone::clone(user));
            async move {
                for n in 0..EACH {
                    people.create_message(text(&conversation, &user, &n.to_string())).await.unwrap();
                }
            }
        };
        futures_util::future::join_all(places.iter().map(speak)).await;
        until(async || bot.count() == PLACES * EACH).await;
        place.wait_for(EventStatus::Processed, PLACES * EACH).await;

        let mut said: HashMap<String, Vec<usize>> = HashMap::new();
        let mut last: HashMap<String, std::time::Instant> = HashMap::new();
        for call in bot.calls() {
            let conversation = call.conversation().to_owned();
            said.entry(conversation.clone()).or_default().push(call.text().parse().unwrap());
            let before = last.insert(conversation, call.ended.unwrap());
            assert!(before.is_none_or(|ended| ended <= call.began), "two at a time in a conversation");
        }
        let expected: Vec<usize> = (0..EACH).collect();
        assert!(said.values().all(|said| *said == expected), "{said:?}");
        assert_eq!(said.len(), PLACES);
        assert!(most.load(Ordering::SeqCst) > 1, "conversations wait for each other");

        let call = &bot.calls()[0];
        assert_eq!((call.header("x-bp-operation"), call.header("x-bp-type")), ("event_received", "message_created"));
        assert_eq!(call.header("x-bot-id"), place.server.bot);
        let event = call.event();
        assert_eq!((&event["status"], &event["failureReason"]), (&json!("pending"), &json!(null)));
        assert_eq!(event["payload"]["conversation"]["integration"], "people");
        assert_eq!(event["payload"]["user"]["id"], event["userId"]);
        assert_eq!(event["messageId"], event["payload"]["message"]["id"]);
    }

    pub async fn nobody_hears_what_nobody_can(database: Option<String>) {
        let place = Place::of(Server::start_on(database.as_deref())).await;
        let (conversation, user) = place.conversation().await;
        place.people.create_message(text(&conversation, &user, "hello?")).await.unwrap();
        let event = place.bot.create_event(CreateEvent::new("ping", json!({}))).await.unwrap();
        assert_eq!(event.status, EventStatus::Ignored);
        assert_eq!(place.standing().await, HashMap::from([(EventStatus::Ignored, 2)]));
        assert_eq!(place.server.number("SELECT COUNT(*) FROM outbox").await, 0);
        // A bot gets what it subscribed to, and messages in any case.
        let bot = TestBot::well().await;
        place.change_bot(json!({"url": bot.url, "subscriptions": {"events": {"pong": {}}}})).await;
        place.people.create_message(text(&conversation, &user, "hello")).await.unwrap();
        for kind in ["ping", "pong"] {
            place.bot.create_event(CreateEvent::new(kind, json!({}))).await.unwrap();
        }
        place.wait_for(EventStatus::Processed, 2).await;
        assert_eq!(place.standing().await[&EventStatus::Ignored], 3);
        let mut kinds: Vec<String> = bot.calls().iter().map(|call| call.header("x-bp-type").to_owned()).collect();
        kinds.sort();
        assert_eq!(kinds, ["message_created", "pong"]);
        // Nor does anything reach a bot that was blocked, or whose URL was taken away.
        place.change_bot(json!({"url": null})).await;
        place.people.create_message(text(&conversation, &user, "bye")).await.unwrap();
        place.wait_for(EventStatus::Ignored, 4).await;
    }
}
