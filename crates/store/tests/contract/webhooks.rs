//! Webhooks: what is written for them, who sends it, what comes of it.

use std::sync::Arc;

use duologue_model::{Timestamp, admin::Role, id::ConversationId};
use duologue_store::{
    Location, Result, Store, conversations as store_conversations,
    events::{self, Links, Schedule},
    page::PageRequest,
    states::{self, Key},
    tx::{Script, Tx},
    v12::turns::{Commit, Elsewhere},
    webhooks::{
        history::{Message, Status},
        manage::{Change, MOST, New, Path, Subscription, key},
        queue::{Attempt, Claimed, Settled, Verdict},
    },
};
use serde_json::Value;

use crate::{
    Bed, contract, json, refusal,
    v12::{said, texts, turn},
};

const LEASE: i64 = 60_000;
const PATIENCE: i64 = 5 * 24 * 3_600_000;

impl Bed {
    fn path(&self, id: &str) -> Path {
        Path { actor: self.actor(), bot: self.bot.to_string(), id: id.to_owned() }
    }

    async fn webhook(&self, events: &[&str]) -> Subscription {
        let events = events.iter().map(|kind| (*kind).to_owned()).collect();
        let new = New { url: "https://example.com/hook".into(), events, enabled: true, ..New::default() };
        self.store.create_webhook(self.path(""), new).await.unwrap()
    }

    async fn messages(&self, webhook: &Subscription) -> Vec<Message> {
        self.store.list_webhook_messages(self.path(&webhook.id), None, PageRequest::default()).await.unwrap().items
    }

    async fn claim(&self, webhook: &Subscription) -> Vec<Claimed> {
        claim(&self.store, &webhook.id, LEASE).await
    }
}

async fn claim(store: &Store, id: &str, lease: i64) -> Vec<Claimed> {
    let portions = store.claim_webhooks(vec![(id.to_owned(), 100)], lease).await.unwrap();
    portions.into_iter().flat_map(|portion| portion.claimed).collect()
}

async fn settle(store: &Store, claimed: &Claimed, status: u16, verdict: Verdict, patience: i64) -> Settled {
    let error = (status >= 300).then(|| format!("the receiver answered {status}"));
    let attempt = Attempt { at: store.now(), duration: 7, status: Some(status), error, response: "so".into() };
    store.settle_webhook(claimed, attempt, verdict, patience).await.unwrap()
}

fn body(claimed: &Claimed) -> Value {
    claimed.body.value()
}

contract! {
    async fn a_webhook_has_a_secret_that_is_shown_once(bed: Bed) {
        let made = bed.webhook(&["message_created", "*"]).await;
        let secret = made.secret.clone().unwrap();
        assert_eq!(key(&secret).unwrap().len(), 32);
        let read = bed.store.get_webhook(bed.path(&made.id)).await.unwrap();
        assert_eq!(read, Subscription { secret: None, ..made.clone() });
        let page = bed.store.list_webhooks(bed.path(""), PageRequest::default()).await.unwrap();
        assert_eq!(page.items, [read]);
        // A chosen one is checked.
        for bad in ["", "whsec_", "whsec_c2hvcnQ=", "secret", "whsec_%%%"] {
            let new = New { url: "https://example.com".into(), secret: Some(bad.into()), ..New::default() };
            assert_eq!(refusal(bed.store.create_webhook(bed.path(""), new).await), "InvalidPayload");
        }
        let rotated = bed.store.rotate_webhook_secret(bed.path(&made.id), None).await.unwrap();
        assert_ne!(rotated.secret, Some(secret.clone()));
        let until = rotated.previous_secret_until.unwrap();
        assert!((until.millis() - bed.store.now().millis() - 24 * 3_600_000).abs() < 60_000);
        // Both sign, the newest first.
        bed.store.test_webhook(bed.path(&made.id)).await.unwrap();
        let claimed = bed.claim(&made).await;
        let keys = [rotated.secret.unwrap(), secret].map(|secret| key(&secret).unwrap());
        assert_eq!(claimed[0].destination.keys, keys);
    }
}

contract! {
    async fn secrets_are_encrypted_with_the_operators_key(bed: Bed) {
        let mut bed = bed;
        let made = bed.webhook(&["*"]).await;
        let secret = made.secret.clone().unwrap();
        let held = bed.store.read(&Secrets).await.unwrap();
        crate::secrets::reopened(&mut bed, Some("the operator's key")).await;
        let again = bed.store.read(&Secrets).await.unwrap();
        assert!(held != again && !held.contains(&secret[6..]) && !again.contains(&secret[6..]));
        bed.store.test_webhook(bed.path(&made.id)).await.unwrap();
        let claimed = bed.claim(&made).await;
        assert_eq!(claimed[0].destination.keys, [key(&secret).unwrap()]);
    }
}

/// Secrets as they are stored.
struct Secrets;

impl Script for Secrets {
    type Out = String;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<String> {
        let mut all = String::new();
        for mut row in tx.query("SELECT secret FROM webhook_subscriptions", &[]).await? {
            all.push_str(&row.text()?);
        }
        Ok(all)
    }
}

contract! {
    async fn only_those_who_may_change_bots_change_webhooks(bed: Bed) {
        let made = bed.webhook(&["*"]).await;
        let viewer = bed.member("viewer@localhost", Role::Viewer).await;
        let stranger = bed.stranger("stranger@localhost").await;
        let path = |actor: &duologue_store::workspaces::Actor| Path { actor: actor.clone(), ..bed.path(&made.id) };
        bed.store.get_webhook(path(&viewer)).await.unwrap();
        assert_eq!(refusal(bed.store.update_webhook(path(&viewer), Change::default()).await), "Forbidden");
        assert_eq!(refusal(bed.store.delete_webhook(path(&viewer)).await), "Forbidden");
        assert_eq!(refusal(bed.store.rotate_webhook_secret(path(&viewer), None).await), "Forbidden");
        assert_eq!(refusal(bed.store.test_webhook(path(&viewer)).await), "Forbidden");
        assert_eq!(refusal(bed.store.replay_webhook(path(&viewer), Timestamp::default(), true).await), "Forbidden");
        for result in [bed.store.get_webhook(path(&stranger)).await, bed.store.get_webhook(bed.path("hook_x")).await] {
            assert_eq!(refusal(result), "ResourceNotFound");
        }
        for _ in 1..MOST {
            bed.webhook(&["*"]).await;
        }
        let new = New { url: "https://example.com".into(), ..New::default() };
        assert_eq!(refusal(bed.store.create_webhook(bed.path(""), new).await), "LimitExceeded");
    }
}

contract! {
    async fn what_happens_is_written_for_who_wants_it(bed: Bed) {
        let conversation = bed.conversation(&[]).await;
        let (all, users, none) =
            (bed.webhook(&["*"]).await, bed.webhook(&["user_created"]).await, bed.webhook(&["other"]).await);
        let user = bed.user(&[("a", "b")]).await;
        let other = bed.conversation(&[("topic", "hello")]).await;
        bed.say(&conversation, &bed.bot.as_user(), "hello").await;
        assert_eq!(bed.messages(&none).await, []);
        assert_eq!(bed.messages(&users).await.len(), 1);
        let claimed = bed.claim(&all).await;
        let bodies: Vec<Value> = claimed.iter().map(body).collect();
        let types: Vec<&str> = bodies.iter().map(|body| body["type"].as_str().unwrap()).collect();
        assert_eq!(types, ["user_created", "conversation_created", "message_created"]);
        assert!(bodies.iter().all(|body| body["botId"] == bed.bot.as_str() && body["timestamp"].is_string()));
        assert_eq!(bodies[0]["data"]["user"]["id"], user.as_str());
        assert_eq!(bodies[0]["data"]["user"]["tags"]["a"], "b");
        assert_eq!(bodies[1]["data"]["conversation"]["id"], other.as_str());
        assert_eq!(bodies[2]["data"]["message"]["payload"]["text"], "hello");
        assert_eq!(bodies[2]["data"]["message"]["direction"], "outgoing");
    }
}

contract! {
    async fn a_claim_is_held_until_it_is_settled_or_lapses(bed: Bed) {
        let webhook = bed.webhook(&["user_created"]).await;
        let other = match &bed.location {
            Location::Postgres { .. } => Arc::new(Store::open(&bed.location).await.unwrap()),
            Location::Sqlite(_) => bed.store.clone(),
        };
        for _ in 0..40 {
            bed.user(&[]).await;
        }
        // Two at once share the rows.
        let (a, b) = tokio::join!(claim(&bed.store, &webhook.id, LEASE), claim(&other, &webhook.id, LEASE));
        assert_eq!(a.len() + b.len(), 40);
        assert_eq!(bed.claim(&webhook).await.len(), 0);
        for claimed in a.iter().chain(&b) {
            assert_eq!(settle(&bed.store, claimed, 200, Verdict::Delivered, PATIENCE).await, Settled::default());
        }
        assert!(bed.messages(&webhook).await.iter().all(|message| message.status == Status::Delivered && message.attempts == 1));
        // A lease that lapses gives the row to somebody else, and the late end counts for nothing.
        bed.user(&[]).await;
        let late = claim(&bed.store, &webhook.id, 1).await;
        bed.pass(20).await;
        let again = bed.claim(&webhook).await;
        assert_eq!((late[0].id.as_str(), again.len()), (again[0].id.as_str(), 1));
        settle(&bed.store, &late[0], 500, Verdict::Failed, PATIENCE).await;
        assert_eq!(bed.messages(&webhook).await[0].status, Status::Waiting);
        settle(&bed.store, &again[0], 200, Verdict::Delivered, PATIENCE).await;
        assert_eq!(bed.messages(&webhook).await[0].status, Status::Delivered);
    }
}

contract! {
    async fn a_new_process_frees_what_the_last_one_was_sending(bed: Bed) {
        let webhook = bed.webhook(&["user_created"]).await;
        bed.user(&[]).await;
        let before = bed.claim(&webhook).await;
        let freed = bed.store.free_webhooks().await.unwrap();
        let again = bed.claim(&webhook).await;
        if bed.store.is_shared() {
            assert_eq!((freed, again.len()), (0, 0), "another process may be sending it");
        } else {
            assert_eq!((freed, again[0].id.as_str()), (1, before[0].id.as_str()));
        }
    }
}

contract! {
    async fn failures_are_tried_again_and_noted(bed: Bed) {
        let webhook = bed.webhook(&["user_created"]).await;
        bed.user(&[]).await;
        let claimed = bed.claim(&webhook).await;
        let settled = settle(&bed.store, &claimed[0], 503, Verdict::Retry(1500), PATIENCE).await;
        let due = bed.store.webhooks_due().await.unwrap();
        assert_eq!(due, [(webhook.id.clone(), settled.next.unwrap())]);
        assert_eq!(bed.claim(&webhook).await.len(), 0, "not before its time");
        assert!(bed.store.get_webhook(bed.path(&webhook.id)).await.unwrap().failing_since.is_some());
        bed.pass(1550).await;
        let claimed = bed.claim(&webhook).await;
        assert_eq!((claimed[0].attempts, claimed[0].tries), (1, 1));
        assert!(claimed[0].destination.is_failing);
        settle(&bed.store, &claimed[0], 200, Verdict::Delivered, PATIENCE).await;
        let read = bed.store.get_webhook(bed.path(&webhook.id)).await.unwrap();
        assert!(read.enabled && read.failing_since.is_none());
        let (message, attempts) = bed.store.get_webhook_message(bed.path(&webhook.id), claimed[0].id.clone()).await.unwrap();
        assert_eq!((message.status, message.attempts, message.next_attempt_at), (Status::Delivered, 2, None));
        assert_eq!(message.payload.unwrap().value(), body(&claimed[0]));
        let seen: Vec<_> = attempts.iter().map(|attempt| (attempt.attempt, attempt.status, attempt.error.is_some())).collect();
        assert_eq!(seen, [(1, Some(503), true), (2, Some(200), false)]);
        let listed = bed.store.list_webhook_attempts(bed.path(&webhook.id), PageRequest::default()).await.unwrap();
        assert_eq!(listed.items.len(), 2);
        assert_eq!(bed.store.webhooks_due().await.unwrap(), []);
    }
}

contract! {
    async fn who_is_gone_or_fails_for_days_is_disabled(bed: Bed) {
        let (gone, failing) = (bed.webhook(&["user_created"]).await, bed.webhook(&["user_created"]).await);
        bed.user(&[]).await;
        bed.user(&[]).await;
        let claimed = bed.claim(&gone).await;
        let settled = settle(&bed.store, &claimed[0], 410, Verdict::Gone, PATIENCE).await;
        assert!(settled.disabled.unwrap().contains("410"));
        // What else was to be sent waits, and nothing new is written.
        bed.user(&[]).await;
        assert_eq!(bed.messages(&gone).await.len(), 2);
        assert_eq!(bed.messages(&failing).await.len(), 3);
        let claimed = bed.claim(&failing).await;
        assert_eq!(settle(&bed.store, &claimed[0], 500, Verdict::Retry(1), 0).await.disabled, None, "the first failure only begins it");
        let reason = settle(&bed.store, &claimed[1], 500, Verdict::Failed, 0).await.disabled.unwrap();
        assert!(reason.contains("nothing but failures since 20"), "{reason}");
        let read = bed.store.get_webhook(bed.path(&failing.id)).await.unwrap();
        assert_eq!((read.enabled, read.disabled_reason), (false, Some(reason)));
        assert_eq!(refusal(bed.store.test_webhook(bed.path(&failing.id)).await), "InvalidPayload");
        assert_eq!(bed.store.webhooks_due().await.unwrap(), []);
        // Enabled again, it goes on.
        let change = Change { enabled: Some(true), ..Change::default() };
        let read = bed.store.update_webhook(bed.path(&gone.id), change).await.unwrap();
        assert!(read.enabled && read.disabled_reason.is_none() && read.failing_since.is_none());
        settle(&bed.store, &claimed[2], 200, Verdict::Delivered, PATIENCE).await;
        let waiting = bed.store.webhooks_due().await.unwrap();
        assert_eq!(waiting.len(), 1, "the claim of before lapses: {waiting:?}");
        bed.user(&[]).await;
        assert_eq!(bed.messages(&gone).await.len(), 3);
    }
}

contract! {
    async fn what_was_sent_can_be_sent_again(bed: Bed) {
        let webhook = bed.webhook(&["user_created"]).await;
        for _ in 0..3 {
            bed.user(&[]).await;
        }
        let claimed = bed.claim(&webhook).await;
        settle(&bed.store, &claimed[0], 200, Verdict::Delivered, PATIENCE).await;
        settle(&bed.store, &claimed[1], 500, Verdict::Failed, PATIENCE).await;
        settle(&bed.store, &claimed[2], 500, Verdict::Failed, PATIENCE).await;
        let path = || bed.path(&webhook.id);
        let one = bed.store.replay_webhook_message(path(), claimed[1].id.clone()).await.unwrap();
        assert_eq!((one.status, one.attempts), (Status::Waiting, 1));
        let again = bed.claim(&webhook).await;
        assert_eq!((again[0].id.as_str(), again[0].attempts, again[0].tries), (claimed[1].id.as_str(), 1, 0));
        settle(&bed.store, &again[0], 200, Verdict::Delivered, PATIENCE).await;
        let first = bed.messages(&webhook).await.last().unwrap().created_at;
        assert_eq!(bed.store.replay_webhook(path(), first, false).await.unwrap(), 1, "what failed");
    }
}

contract! {
    async fn everything_since_an_instant_can_be_sent_again(bed: Bed) {
        let webhook = bed.webhook(&["user_created"]).await;
        for _ in 0..3 {
            bed.user(&[]).await;
            bed.pass(3).await;
        }
        for claimed in bed.claim(&webhook).await {
            settle(&bed.store, &claimed, 200, Verdict::Delivered, PATIENCE).await;
        }
        let newest_first = bed.messages(&webhook).await;
        let path = || bed.path(&webhook.id);
        assert_eq!(bed.store.replay_webhook(path(), newest_first[1].created_at, false).await.unwrap(), 0, "nothing failed");
        assert_eq!(bed.store.replay_webhook(path(), newest_first[1].created_at, true).await.unwrap(), 2);
        assert_eq!(bed.store.replay_webhook(path(), newest_first[1].created_at, true).await.unwrap(), 0, "they wait already");
        let again = bed.claim(&webhook).await;
        let ids: Vec<&str> = again.iter().map(|claimed| claimed.id.as_str()).collect();
        assert_eq!(ids, [newest_first[1].id.as_str(), newest_first[0].id.as_str()]);
        let missing = bed.store.replay_webhook_message(path(), "hookmsg_x".into()).await;
        assert_eq!(refusal(missing), "ResourceNotFound");
    }
}

contract! {
    async fn what_is_deleted_is_not_sent(bed: Bed) {
        let webhook = bed.webhook(&["*"]).await;
        let (conversation, user) = (bed.conversation(&[]).await, bed.user(&[]).await);
        bed.say(&conversation, &bed.bot.as_user(), "hello").await;
        assert_eq!(bed.messages(&webhook).await.len(), 3);
        delete_conversation(&bed, conversation).await;
        assert_eq!(bed.messages(&webhook).await.len(), 1);
        let script = duologue_store::users::Delete { who: bed.who(), id: user.to_string() };
        bed.store.write(script).await.unwrap();
        assert_eq!(bed.messages(&webhook).await.len(), 0);
        bed.store.delete_webhook(bed.path(&webhook.id)).await.unwrap();
        bed.user(&[]).await;
        assert_eq!(refusal(bed.store.get_webhook(bed.path(&webhook.id)).await), "ResourceNotFound");
        bed.webhook(&["*"]).await;
        bed.store.delete_bot(bed.actor(), bed.bot.to_string()).await.unwrap();
    }
}

async fn delete_conversation(bed: &Bed, id: ConversationId) {
    bed.store.write(store_conversations::Delete { who: bed.who(), id: id.to_string() }).await.unwrap();
}

contract! {
    async fn events_are_told_when_they_happen(bed: Bed) {
        let webhook = bed.webhook(&["orderPaid", "slack:joined", "state_expired", "workflow_update"]).await;
        let create = |who, kind: &str, schedule| events::Create {
            who, kind: kind.into(), payload: json(serde_json::json!({ "n": 1 })), schedule, links: Links::default(),
        };
        bed.store.write(create(bed.who(), "orderPaid", None)).await.unwrap();
        bed.store.write(create(bed.who(), "other", None)).await.unwrap();
        bed.store.write(create(bed.integration("slack"), "joined", None)).await.unwrap();
        bed.store.write(create(bed.who(), "orderPaid", Some(Schedule::Delay(1)))).await.unwrap();
        bed.store.write(create(bed.who(), "orderPaid", Some(Schedule::Delay(3_600_000)))).await.unwrap();
        let user = bed.user(&[]).await;
        let key = Key {
            who: bed.who(), kind: duologue_model::state::StateType::User, scope: user.to_string(), name: "cart".into(),
        };
        let payload = Some(json(serde_json::json!({ "full": true })));
        let set = states::Set { key, payload, expiry: states::Expiry::After(1), default_expiry: None };
        bed.store.write(set).await.unwrap();
        bed.pass(20).await;
        bed.store.settle_due().await.unwrap();
        let mut told: Vec<(String, Value)> =
            bed.claim(&webhook).await.iter().map(|claimed| (claimed.kind.clone(), body(claimed)["data"]["event"].clone())).collect();
        told.sort_by(|a, b| a.0.cmp(&b.0));
        let types: Vec<&str> = told.iter().map(|(kind, _)| kind.as_str()).collect();
        assert_eq!(types, ["orderPaid", "orderPaid", "slack:joined", "state_expired"]);
        assert!(told.iter().all(|(kind, event)| event["type"] == kind.as_str() && event["id"].is_string()));
        assert_eq!(told[0].1["payload"]["n"], 1);
        assert_eq!(told[3].1["payload"]["state"]["name"], "cart");
        assert_eq!(told[3].1["userId"], user.as_str());
    }
}

contract! {
    async fn a_v12_bot_is_heard_outside_its_answers(bed: Bed) {
        let webhook = bed.webhook(&["converse_message"]).await;
        let store = &bed.store;
        store.write(turn(&bed, "u1", 0, Some("a"), &["an answer"])).await.unwrap();
        assert_eq!(bed.messages(&webhook).await, [], "answers aren't told");
        store.write(Commit { delivered: false, ..turn(&bed, "u1", 1, None, &["one"]) }).await.unwrap();
        let mut other = turn(&bed, "u2", 0, Some("x"), &["an answer"]);
        other.elsewhere = vec![Elsewhere { user: "u1".into(), said: said("two") }];
        store.write(other).await.unwrap();
        let place = store.open_v12_conversation(&bed.bot, "u1").await.unwrap();
        bed.say(&place.conversation, &bed.bot.as_user(), "three").await;
        let claimed = bed.claim(&webhook).await;
        let heard: Vec<Value> = claimed.iter().map(|claimed| body(claimed)["data"].clone()).collect();
        let texts_of: Vec<&str> = heard.iter().map(|data| data["data"]["text"].as_str().unwrap()).collect();
        assert_eq!(texts_of, ["one", "two", "three"]);
        let news = store.v12_news(&place.conversation, place.delivered_at, 10).await.unwrap().unwrap();
        for (data, news) in heard.iter().zip(&news.heard) {
            assert_eq!(data["userId"], "u1");
            assert_eq!(data["botId"], bed.bot.as_str());
            assert_eq!(data["event"], "message");
            assert_eq!(data["id"], news.at.millis().to_string());
            assert_eq!(data["data"]["type"], "text");
        }
        // What was taken isn't late any more, also while an earlier one still is.
        settle(store, &claimed[1], 204, Verdict::Delivered, PATIENCE).await;
        let before = store.open_v12_conversation(&bed.bot, "u1").await.unwrap();
        assert_eq!(before.delivered_at, place.delivered_at);
        settle(store, &claimed[0], 500, Verdict::Retry(0), PATIENCE).await;
        let late = texts(&store.write(turn(&bed, "u1", 2, Some("b"), &["another answer"])).await.unwrap());
        assert!(late.len() == 2 && late[0].contains("one") && late[1].contains("three"), "{late:?}");
        // Now the user has them all: nothing is sent again.
        settle(store, &claimed[2], 500, Verdict::Retry(0), PATIENCE).await;
        assert_eq!(bed.claim(&webhook).await.len(), 0);
        let ends: Vec<Status> = bed.messages(&webhook).await.iter().map(|message| message.status).collect();
        assert_eq!(ends, [Status::Superseded, Status::Delivered, Status::Superseded]);
        // Asked for again, it is.
        store.replay_webhook_message(bed.path(&webhook.id), claimed[0].id.clone()).await.unwrap();
        assert_eq!(bed.claim(&webhook).await[0].id, claimed[0].id);
    }
}

contract! {
    async fn what_a_webhook_took_was_handed_over(bed: Bed) {
        let webhook = bed.webhook(&["*"]).await;
        let store = &bed.store;
        store.write(turn(&bed, "u1", 0, Some("a"), &["an answer"])).await.unwrap();
        store.write(Commit { delivered: false, ..turn(&bed, "u1", 1, None, &["one", "two"]) }).await.unwrap();
        let claimed = bed.claim(&webhook).await;
        let kinds: Vec<&str> = claimed.iter().map(|claimed| claimed.kind.as_str()).collect();
        let converse = kinds.iter().filter(|kind| **kind == "converse_message").count();
        assert_eq!((kinds.len(), converse), (8, 2), "{kinds:?}");
        for claimed in claimed.iter().filter(|claimed| claimed.kind == "message_created") {
            settle(store, claimed, 200, Verdict::Delivered, PATIENCE).await;
        }
        let place = store.open_v12_conversation(&bed.bot, "u1").await.unwrap();
        let news = store.v12_news(&place.conversation, place.delivered_at, 10).await.unwrap().unwrap();
        assert_eq!(news.heard.len(), 2, "only converse_message hands over");
        for claimed in claimed.iter().filter(|claimed| claimed.kind == "converse_message") {
            settle(store, claimed, 200, Verdict::Delivered, PATIENCE).await;
        }
        let place = store.open_v12_conversation(&bed.bot, "u1").await.unwrap();
        assert_eq!(place.delivered_at, news.heard[1].at);
        assert!(texts(&store.write(turn(&bed, "u1", 2, Some("b"), &[])).await.unwrap()).is_empty());
    }
}
