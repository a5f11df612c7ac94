//! The outbox: what waits, what is sent, how deliveries end, who delivers.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use duologue_model::{Event, EventStatus, Identity, Timestamp, WorkflowStatus};
use duologue_store::{
    Location, Store,
    events::{self, Links},
    import::{ImportRecords, Record},
    messages,
    outbox::{
        Kind,
        list::{List, Status},
        read::{Content, Waiting},
        settle::{Done, Outcome, Settle, Settled},
    },
    page::PageRequest,
    states,
    tx::{Script, Tx},
    webhooks::manage::{New as NewWebhook, Path},
    workflows,
};
use serde_json::json;

use crate::{Bed, contract, message, of, refusal, tags};

const CONVERSATION: &str = "conv_01HF7YAT00000000000000000A";
const USER: &str = "user_01HF7YAT00000000000000000A";

/// A conversation of the integration `slack` with a user.
async fn place(bed: &Bed) -> Identity {
    let day = "2026-01-01T00:00:00.000Z";
    let conversation = of(json!({
        "id": CONVERSATION, "createdAt": day, "updatedAt": day, "channel": "dm", "integration": "slack", "tags": {"slack:id": "C"},
    }));
    let user = of(json!({"id": USER, "createdAt": day, "updatedAt": day, "tags": {"slack:id": "U", "own": "x"}}));
    let records = vec![Record::Conversation(conversation, vec![user])];
    bed.store.write(ImportRecords { who: bed.who(), records }).await.unwrap();
    bed.integration("slack")
}

async fn hear(bed: &Bed, who: &Identity, text: &str) -> duologue_model::Message {
    let new = message(&CONVERSATION.into(), &USER.into(), text);
    bed.store.write(messages::Create { who: who.clone(), new }).await.unwrap()
}

async fn waiting(bed: &Bed) -> Vec<Waiting> {
    bed.store.waiting(&bed.bot, None, 100).await.unwrap()
}

/// Each call begins later than the one before.
fn done(row: &Waiting, outcome: Outcome) -> Done {
    static CALLS: AtomicI64 = AtomicI64::new(1_700_000_000_000);
    Done {
        row: row.clone(),
        began_at: Timestamp::from_millis(CALLS.fetch_add(1, Ordering::Relaxed)),
        duration_ms: 7,
        status: Some(200),
        response: "{}".into(),
        outcome,
        workflow: None,
    }
}

async fn settle(bed: &Bed, done: Vec<Done>) -> Settled {
    bed.store.settle_deliveries(Settle { bot: bed.bot.clone(), owner: None, done: done.into() }).await.unwrap()
}

async fn event(bed: &Bed, id: &str) -> Event {
    bed.store.get_event(bed.who(), id.into()).await.unwrap()
}

async fn list(bed: &Bed, status: Option<Status>) -> Vec<(String, Status)> {
    let list = List { actor: bed.actor(), bot: bed.bot.as_str().into(), status, page: PageRequest::default() };
    let page = bed.store.list_deliveries(list).await.unwrap();
    page.items.into_iter().map(|delivery| (delivery.id, delivery.status)).collect()
}

contract! {
    async fn a_message_is_delivered_put_off_given_up_and_replayed(bed: Bed) {
        let slack = place(&bed).await;
        let said = hear(&bed, &slack, "hello").await;
        let rows = waiting(&bed).await;
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].kind, rows[0].lane.as_str(), rows[0].target.as_str()), (Kind::Announced, CONVERSATION, ""));
        let id = rows[0].id.clone();
        let named = vec![(id.clone(), String::new(), Kind::Announced)];
        let contents = bed.store.render_deliveries(&bed.bot, named, HashMap::new()).await.unwrap();
        let Content::Event { event: sent, .. } = &contents[&id] else { panic!("{contents:?}") };
        let payload = sent.payload.value();
        assert_eq!(payload["message"]["id"], said.id.as_str());
        assert_eq!(payload["user"]["tags"], json!({"own": "x", "slack:id": "U"}));
        assert_eq!(payload["conversation"]["integration"], "slack");

        settle(&bed, vec![done(&rows[0], Outcome::Retry(60_000, "busy".into()))]).await;
        let put_off = waiting(&bed).await;
        assert_eq!(put_off[0].attempts, 1);
        assert!(put_off[0].due_at.millis() > bed.store.now().millis() + 50_000);
        assert_eq!(event(&bed, &id).await.status, EventStatus::Pending);
        // Settled once more as it was before, nothing changes.
        let settled = settle(&bed, vec![done(&rows[0], Outcome::Processed)]).await;
        assert_eq!(settled, Settled::Done(vec![Outcome::Moot]));
        assert_eq!(waiting(&bed).await, put_off);

        // What others answer may hold anything.
        let broken = Done { response: "a\0ü".repeat(1000), ..done(&put_off[0], Outcome::Failed("bro\0ken".into())) };
        settle(&bed, vec![broken]).await;
        let failed = event(&bed, &id).await;
        assert_eq!((failed.status, failed.failure_reason.as_deref()), (EventStatus::Failed, Some("bro\u{FFFD}ken")));
        assert_eq!(failed.payload.value()["message"]["id"], said.id.as_str());
        assert!(waiting(&bed).await.is_empty());
        assert_eq!(list(&bed, None).await, [(id.clone(), Status::Failed)]);
        let inspected = bed.store.inspect_delivery(bed.actor(), bed.bot.as_str().into(), id.clone()).await.unwrap();
        let outcomes: Vec<&str> = inspected.tried.iter().map(|attempt| attempt.outcome.as_str()).collect();
        assert_eq!(outcomes, ["retry", "failed"]);
        assert_eq!(inspected.delivery.reason.as_deref(), Some("bro\u{FFFD}ken"));

        let future = bed.store.now().plus_millis(60_000);
        let replay = |since| bed.store.replay_deliveries(bed.actor(), bed.bot.as_str().into(), since);
        assert_eq!(replay(future).await.unwrap(), 0);
        assert_eq!(replay(Timestamp::from_millis(0)).await.unwrap(), 1);
        assert_eq!(event(&bed, &id).await.status, EventStatus::Pending);
        assert_eq!(list(&bed, None).await, [(id.clone(), Status::Pending)]);
        settle(&bed, vec![done(&waiting(&bed).await[0], Outcome::Processed)]).await;
        assert_eq!(event(&bed, &id).await.status, EventStatus::Processed);
        assert_eq!(list(&bed, Some(Status::Processed)).await, [(id.clone(), Status::Processed)]);
        // What was answered is delivered again under the same id.
        let again = bed.store.replay_delivery(bed.actor(), bed.bot.as_str().into(), id.clone()).await.unwrap();
        assert_eq!((again.id.as_str(), again.status), (id.as_str(), Status::Pending));
        assert_eq!(event(&bed, &id).await.status, EventStatus::Pending);
        let nothing = bed.store.replay_delivery(bed.actor(), bed.bot.as_str().into(), "evt_none".into()).await;
        assert_eq!(refusal(nothing), "ResourceNotFound");
        let stranger = bed.stranger("else@localhost").await;
        let foreign = bed.store.replay_delivery(stranger, bed.bot.as_str().into(), id).await;
        assert_eq!(refusal(foreign), "ResourceNotFound");
    }
}

contract! {
    async fn an_integration_gets_its_own_view(bed: Bed) {
        let slack = place(&bed).await;
        let new = messages::NewMessage { tags: tags(&[("slack:ts", "1"), ("mood", "good")]), ..message(&CONVERSATION.into(), &bed.bot.as_user(), "hi") };
        let said = bed.store.write(messages::Create { who: bed.who(), new }).await.unwrap();
        let rows = waiting(&bed).await;
        assert_eq!((rows[0].kind, rows[0].target.as_str(), rows[0].id.as_str()), (Kind::Message, "slack", said.id.as_str()));
        let render = |views| {
            let named = vec![(said.id.as_str().to_owned(), "slack".to_owned(), Kind::Message)];
            let (store, bot) = (bed.store.clone(), bed.bot.clone());
            async move { store.render_deliveries(&bot, named, views).await.unwrap().remove(said.id.as_str()).unwrap() }
        };
        let views = HashMap::from([("slack".to_owned(), slack.view.clone())]);
        let content = render.clone()(views).await;
        let Content::Operation { body, channel } = content else { panic!("{content:?}") };
        let body = body.value();
        assert_eq!((channel.as_str(), &body["message"]["tags"]), ("dm", &json!({"ts": "1"})));
        assert_eq!((&body["conversation"]["tags"], &body["user"]["id"]), (&json!({"id": "C"}), &json!(bed.bot.as_str())));
    }
}

contract! {
    async fn what_goes_away_is_not_delivered(bed: Bed) {
        let slack = place(&bed).await;
        let (first, second) = (hear(&bed, &slack, "a").await, hear(&bed, &slack, "b").await);
        let rows = waiting(&bed).await;
        assert!(rows[0].id < rows[1].id, "in the order in which they were said");
        settle(&bed, vec![done(&rows[1], Outcome::Failed("x".into()))]).await;
        bed.store.write(messages::Delete { who: bed.who(), id: first.id.as_str().into() }).await.unwrap();
        bed.store.write(messages::Delete { who: bed.who(), id: second.id.as_str().into() }).await.unwrap();
        assert!(waiting(&bed).await.is_empty());
        assert!(list(&bed, None).await.is_empty());
        // Its delivery had begun.
        let named = vec![(rows[0].id.clone(), String::new(), Kind::Announced)];
        let contents = bed.store.render_deliveries(&bed.bot, named, HashMap::new()).await.unwrap();
        assert!(matches!(contents[&rows[0].id], Content::Moot));
        settle(&bed, vec![done(&rows[0], Outcome::Moot)]).await;

        hear(&bed, &slack, "c").await;
        let row = waiting(&bed).await.remove(0);
        settle(&bed, vec![done(&row, Outcome::Ignored("nobody there".into()))]).await;
        assert_eq!(event(&bed, &row.id).await.status, EventStatus::Ignored);
        assert_eq!(list(&bed, Some(Status::Ignored)).await.len(), 1);
        bed.store.write(duologue_store::conversations::Delete { who: bed.who(), id: CONVERSATION.into() }).await.unwrap();
        assert!(list(&bed, None).await.is_empty());
    }
}

contract! {
    async fn events_of_a_bot_that_cannot_hear_are_ignored(bed: Bed) {
        let slack = place(&bed).await;
        let change = async |change: serde_json::Value| {
            bed.store.update_bot(bed.actor(), bed.bot.as_str().into(), of(change)).await.unwrap();
        };
        let create = |schedule| events::Create {
            who: bed.who(), kind: "ping".into(), payload: crate::json(json!({})), schedule, links: Links::default(),
        };
        let later = bed.store.write(create(Some(events::Schedule::Delay(1)))).await.unwrap();
        let key = states::Key { who: bed.who(), kind: duologue_model::StateType::Bot, scope: bed.bot.as_str().into(), name: "s".into() };
        let set = states::Set { key, payload: Some(crate::json(json!({}))), expiry: states::Expiry::After(1), default_expiry: None };
        bed.store.write(set).await.unwrap();
        change(json!({"blocked": true})).await;
        let said = hear(&bed, &slack, "anybody?").await;
        assert_eq!(event(&bed, said.id.event().unwrap().as_str()).await.status, EventStatus::Ignored);
        assert_eq!(bed.store.write(create(None)).await.unwrap().status, EventStatus::Ignored);
        bed.pass(10).await;
        bed.store.settle_due().await.unwrap();
        assert_eq!(event(&bed, later.id.as_str()).await.status, EventStatus::Ignored);
        let ignored = events::List {
            who: bed.who(), kind: None, status: Some(EventStatus::Ignored), links: Links::default(), page: PageRequest::default(),
        };
        assert_eq!(bed.store.list_events(ignored).await.unwrap().items.len(), 4);
        assert!(waiting(&bed).await.is_empty());

        change(json!({"blocked": false, "subscriptions": {"events": {"pong": {}}}})).await;
        assert_eq!(bed.store.write(create(None)).await.unwrap().status, EventStatus::Ignored);
        hear(&bed, &slack, "there you are").await;
        assert_eq!(waiting(&bed).await.len(), 1, "messages need no subscription");
        change(json!({"subscriptions": {"events": null}})).await;
        assert_eq!(bed.store.write(create(None)).await.unwrap().status, EventStatus::Pending);
    }
}

contract! {
    async fn only_who_holds_the_lease_settles(bed: Bed) {
        let slack = place(&bed).await;
        hear(&bed, &slack, "hello").await;
        let row = waiting(&bed).await.remove(0);
        let settle = |owner: &str| bed.store.settle_deliveries(Settle {
            bot: bed.bot.clone(), owner: Some(owner.into()), done: [done(&row, Outcome::Processed)].into(),
        });
        assert_eq!(bed.store.bots_waiting().await.unwrap(), std::slice::from_ref(&bed.bot));
        assert!(bed.store.take_lease(&bed.bot, "a").await.unwrap());
        assert!(bed.store.take_lease(&bed.bot, "a").await.unwrap());
        assert!(!bed.store.take_lease(&bed.bot, "b").await.unwrap());
        assert!(bed.store.bots_waiting().await.unwrap().is_empty());
        assert_eq!(settle("b").await.unwrap(), Settled::NotOurs);
        assert_eq!(waiting(&bed).await.len(), 1);
        assert!(bed.store.renew_leases("b").await.unwrap().is_empty());
        assert!(bed.store.renew_leases("a").await.unwrap().contains(&bed.bot));
        bed.store.release_leases("a", Some(bed.bot.clone())).await.unwrap();
        assert!(bed.store.take_lease(&bed.bot, "b").await.unwrap());
        assert_eq!(settle("a").await.unwrap(), Settled::NotOurs);
        assert_eq!(settle("b").await.unwrap(), Settled::Done(vec![Outcome::Processed]));
        assert!(waiting(&bed).await.is_empty());
    }
}

contract! {
    async fn bots_that_wait_are_found_once_each(bed: Bed) {
        let new = json!({"url": "http://127.0.0.1:9/"});
        let mut bots = Vec::new();
        for _ in 0..3 {
            bots.push(bed.store.create_bot(bed.actor(), of(new.clone())).await.unwrap().stored.id);
        }
        assert!(bed.store.bots_waiting().await.unwrap().is_empty());
        // The second of them has nothing to wait for.
        for bot in [&bots[0], &bots[2], &bots[2], &bed.bot, &bots[0]] {
            about(&bed, &Identity::bot(bot.clone()), Links::default()).await;
        }
        let mut wanted = vec![bots[0].clone(), bots[2].clone(), bed.bot.clone()];
        wanted.sort();
        assert_eq!(bed.store.bots_waiting().await.unwrap(), wanted);
        assert!(bed.store.take_lease(&wanted[1], "a").await.unwrap());
        assert_eq!(bed.store.bots_waiting().await.unwrap(), [wanted[0].clone(), wanted[2].clone()]);
    }
}

async fn about(bed: &Bed, who: &Identity, links: Links) -> String {
    let payload = duologue_model::Json::of(&json!({"secret": "of somebody"}));
    let event = events::Create { who: who.clone(), kind: "placed".into(), payload, schedule: None, links };
    bed.store.write(event).await.unwrap().id.as_str().to_owned()
}

contract! {
    async fn a_users_deliveries_go_with_the_user(bed: Bed) {
        let new = NewWebhook { url: "https://example.com".into(), events: vec!["placed".into()], enabled: true, ..Default::default() };
        let path = |id: &str| Path { actor: bed.actor(), bot: bed.bot.to_string(), id: id.to_owned() };
        let webhook = bed.store.create_webhook(path(""), new).await.unwrap().id;
        let (gone, other, conversation) = (bed.user(&[]).await, bed.user(&[]).await, bed.conversation(&[]).await);
        let of = |user: &duologue_model::id::UserId, conversation: Option<&duologue_model::id::ConversationId>| Links {
            user: Some(user.as_str().into()),
            conversation: conversation.map(|id| id.as_str().into()),
            ..Links::default()
        };
        let mut ids = Vec::new();
        for links in [of(&gone, None), of(&gone, None), of(&gone, None), of(&gone, Some(&conversation)), of(&other, None)] {
            ids.push(about(&bed, &bed.who(), links).await);
        }
        // One was delivered, one given up, one waits; so do those that stay.
        let rows = waiting(&bed).await;
        let answered = Done { response: "their secret".into(), ..done(&rows[0], Outcome::Processed) };
        settle(&bed, vec![answered, done(&rows[1], Outcome::Failed("their secret".into()))]).await;
        assert_eq!(list(&bed, None).await.len(), 5);
        assert_eq!(bed.store.list_webhook_messages(path(&webhook), None, PageRequest::default()).await.unwrap().items.len(), 5);

        let delete = duologue_store::users::Delete { who: bed.who(), id: gone.as_str().into() };
        bed.store.write(delete).await.unwrap();
        assert_eq!(waiting(&bed).await, rows[3..]);
        let left = list(&bed, None).await;
        assert_eq!(left.iter().map(|(id, _)| id).collect::<Vec<_>>(), [&ids[4], &ids[3]]);
        for id in &ids[..3] {
            assert_eq!(refusal(bed.store.get_event(bed.who(), id.clone()).await), "ResourceNotFound");
            let inspected = bed.store.inspect_delivery(bed.actor(), bed.bot.as_str().into(), id.clone()).await;
            assert_eq!(refusal(inspected), "ResourceNotFound");
        }
        let kept = bed.store.list_webhook_messages(path(&webhook), None, PageRequest::default()).await.unwrap().items;
        assert_eq!(kept.len(), 2);
        assert!(kept.iter().any(|message| message.conversation_id.as_deref() == Some(conversation.as_str())));
        for table in ["dead_letters", "delivery_attempts"] {
            assert_eq!(bed.store.read(&Count(table)).await.unwrap(), 0, "{table}");
        }
    }
}

/// Rows of a table.
struct Count(&'static str);

impl Script for Count {
    type Out = i64;
    async fn run(&self, tx: &mut Tx<'_>) -> duologue_store::Result<i64> {
        let row = tx.query_opt(&format!("SELECT COUNT(*) FROM {}", self.0), &[]).await?;
        row.map_or(Ok(0), |mut row| row.int())
    }
}

contract! {
    async fn processes_hear_of_each_other(bed: Bed) {
        let Location::Postgres { .. } = &bed.location else { return };
        let second = Arc::new(Store::open(&bed.location).await.unwrap());
        second.live().outbox.open();
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let hearing = tokio::spawn({
            let second = second.clone();
            async move { second.hear_others(stopped).await }
        });
        // It takes a moment until it listens.
        let woken = tokio::time::timeout(std::time::Duration::from_secs(20), async {
            loop {
                bed.store.tell_others(&bed.bot).await.unwrap();
                tokio::select! {
                    woken = second.live().outbox.next() => return woken,
                    () = tokio::time::sleep(std::time::Duration::from_millis(100)) => {}
                }
            }
        });
        assert_eq!(woken.await.unwrap(), [(bed.bot.clone(), true)]);
        stop.send(true).unwrap();
        hearing.await.unwrap();
    }
}

contract! {
    async fn ticks_are_events_and_count_their_failures(bed: Bed) {
        let change = json!({"recurringEvents": {"often": {"type": "tick", "payload": {"n": 1}, "schedule": {"cron": "* * * * *"}}}});
        bed.store.update_bot(bed.actor(), bed.bot.as_str().into(), of(change)).await.unwrap();
        let due = bed.store.next_due().await.unwrap().unwrap();
        assert!(due > bed.store.now() && due.millis() % 60_000 == 0);
        let bad = json!({"recurringEvents": {"bad": {"type": "tick", "payload": {}, "schedule": {"cron": "never"}}}});
        let refused = bed.store.update_bot(bed.actor(), bed.bot.as_str().into(), of(bad)).await;
        assert_eq!(refusal(refused), "InvalidPayload");
    }
}

contract! {
    async fn workflows_go_on_or_fail_by_how_deliveries_end(bed: Bed) {
        let new = workflows::NewWorkflow {
            name: "order".into(), status: WorkflowStatus::Pending, input: crate::json(json!({})), parent: None, conversation: None,
            user: None, timeout_at: None, tags: tags(&[]), event: None,
        };
        let workflow = bed.store.write(workflows::Create { who: bed.who(), new: new.clone() }).await.unwrap();
        let id = workflow.id.as_str().to_owned();
        // Delivers what waits next, with this outcome; answers what it was.
        let deliver = async |outcome: Outcome| -> String {
            let row = loop {
                bed.store.settle_due().await.unwrap();
                match waiting(&bed).await.into_iter().next() {
                    Some(row) => break row,
                    None => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
                }
            };
            let named = vec![(row.id.clone(), String::new(), row.kind)];
            let mut contents = bed.store.render_deliveries(&bed.bot, named, HashMap::new()).await.unwrap();
            let Some(Content::Event { event, workflow }) = contents.remove(&row.id) else { panic!("moot") };
            let what = event.payload.value()["type"].as_str().unwrap().to_owned();
            settle(&bed, vec![Done { workflow, ..done(&row, outcome) }]).await;
            what
        };
        let status = async || bed.store.get_workflow(bed.who(), id.clone()).await.unwrap().status;
        let row = waiting(&bed).await.remove(0);
        let update = |status| workflows::Update {
            who: bed.who(), id: id.clone(), status: Some(status), output: None, timeout_at: None, failure_reason: None,
            tags: tags(&[]), user: None, event: Some(row.id.clone()),
        };
        bed.store.write(update(WorkflowStatus::InProgress)).await.unwrap();
        // Acknowledged, so an error doesn't repeat it.
        let moot = bed.store.render_deliveries(&bed.bot, vec![(row.id.clone(), String::new(), row.kind)], HashMap::new()).await.unwrap();
        assert!(matches!(moot[&row.id], Content::Moot), "it is in progress");
        let workflow_update = duologue_store::outbox::read::WorkflowUpdate { id: id.clone(), what: "workflow_started".into() };
        let failing = Done { workflow: Some(workflow_update), ..done(&row, Outcome::Retry(1, "broke".into())) };
        assert_eq!(settle(&bed, vec![failing]).await, Settled::Done(vec![Outcome::Failed("broke".into())]));
        assert_eq!(event(&bed, &row.id).await.status, EventStatus::Failed);
        assert_eq!(status().await, WorkflowStatus::Pending);
        // Never acknowledged again: three deliveries, then it has failed.
        for _ in 0..2 {
            assert_eq!(deliver(Outcome::Processed).await, "workflow_continued");
            assert_eq!(status().await, WorkflowStatus::Pending);
        }
        assert_eq!(deliver(Outcome::Processed).await, "workflow_continued");
        assert_eq!(status().await, WorkflowStatus::Failed);
    }
}
