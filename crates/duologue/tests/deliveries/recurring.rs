//! Events that recur, over restarts and clocks that jump.

use super::on_both;

on_both! { ticks_happen_once_each scheduled_events_are_delivered_over_a_restart }

mod case {
    use std::time::Duration;

    use duologue_client::{CreateEvent, EventStatus, Schedule};
    use serde_json::json;

    use crate::{
        Place,
        bot::{Reply, TestBot},
        until,
    };

    pub async fn ticks_happen_once_each(database: Option<String>) {
        let bot = TestBot::serve(|call, _| async move {
            match call.header("x-bp-type") {
                "bad" => Reply::Status(400, r#"{"message":"not today"}"#),
                _ => Reply::Well,
            }
        })
        .await;
        let mut place = Place::start(database.as_deref(), &bot, &[]).await;
        let recurring = |cron: &str, kind: &str| json!({"type": kind, "payload": {"n": 7}, "schedule": {"cron": cron}});
        // Far enough away for the test to say when they tick.
        let definition = json!({"report": recurring("0 0 1 1 *", "daily"), "broken": recurring("0 0 1 1 *", "bad")});
        place.change_bot(json!({ "recurringEvents": definition })).await;
        // The clock jumps ahead, over many ticks: one event comes of it.
        let jump = "UPDATE recurring_events SET due_at = 1000";
        assert_eq!(place.server.execute(jump).await, 2);
        place.restart();
        until(async || bot.count() == 2).await;
        place.wait_for(EventStatus::Processed, 1).await;
        let call = bot.calls().into_iter().find(|call| call.header("x-bp-type") == "daily").unwrap();
        assert_eq!(call.event()["payload"], json!({"n": 7}));

        let shown = async |place: &Place| {
            let admin = place.server.client().with_workspace(&place.server.workspace).unwrap();
            let bot = admin.get_bot(place.server.bot.as_str()).await.unwrap();
            serde_json::to_value(bot).unwrap()["recurringEvents"].clone()
        };
        until(async || shown(&place).await["broken"]["failedAttempts"] == 1).await;
        let recurring = shown(&place).await;
        assert_eq!(recurring["broken"]["lastFailureReason"], "not today");
        assert_eq!(
            (&recurring["report"]["failedAttempts"], &recurring["report"]["lastFailureReason"]),
            (&json!(0), &json!(null))
        );
        // The next tick is ahead, and a deployment of the same doesn't change it.
        let ahead = "SELECT COUNT(*) FROM recurring_events WHERE due_at > 1700000000000";
        assert_eq!(place.server.number(ahead).await, 2);
        place.change_bot(json!({ "recurringEvents": definition })).await;
        assert_eq!(shown(&place).await["broken"]["failedAttempts"], 1);
        // Nothing happens again after a restart.
        place.restart();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(bot.count(), 2);
        place.change_bot(json!({"recurringEvents": {"broken": null}})).await;
        assert_eq!(place.server.number(ahead).await, 1);
    }

    pub async fn scheduled_events_are_delivered_over_a_restart(database: Option<String>) {
        let bot = TestBot::well().await;
        let mut place = Place::start(database.as_deref(), &bot, &[]).await;
        for n in 0..10 {
            let event = CreateEvent::new("later", json!({ "n": n })).schedule(Schedule::Delay(3_600_000));
            place.bot.create_event(event).await.unwrap();
        }
        place.server.kill();
        // Their hour passes.
        assert_eq!(place.server.execute("UPDATE events SET due_at = 1000 WHERE due_at IS NOT NULL").await, 10);
        assert_eq!(bot.count(), 0);
        place.restart();
        place.wait_for(EventStatus::Processed, 10).await;
        let mut told: Vec<u64> =
            bot.calls().iter().map(|call| call.event()["payload"]["n"].as_u64().unwrap()).collect();
        told.sort_unstable();
        assert_eq!(told, (0..10).collect::<Vec<_>>());
    }
}
