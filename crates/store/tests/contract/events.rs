//! Events: their status, their links, and those that follow from messages.

use duologue_model::{EventStatus, Identity, PageSize};
use duologue_store::{
    events::{Cancel, Create, Links, List, Schedule},
    page::PageRequest,
};

use crate::{Bed, contract, json, message, refusal};

fn create(bed: &Bed, schedule: Option<Schedule>) -> Create {
    Create {
        who: bed.who(),
        kind: "ping".into(),
        payload: json(serde_json::json!({"n": 1})),
        schedule,
        links: Links::default(),
    }
}

fn list(who: Identity) -> List {
    List { who, kind: None, status: None, links: Links::default(), page: PageRequest::default() }
}

contract! {
    async fn scheduled_events_fire_once_over_a_restart(bed: Bed) {
        let mut bed = bed;
        let later = bed.store.write(create(&bed, Some(Schedule::Delay(100)))).await.unwrap();
        assert_eq!(later.status, EventStatus::Scheduled);
        let past = bed.store.write(create(&bed, Some(Schedule::At(duologue_model::Timestamp::from_millis(5))))).await.unwrap();
        assert_eq!(past.status, EventStatus::Pending);
        bed.restart().await;
        bed.pass(150).await;
        let due = bed.store.next_due().await.unwrap();
        assert!(due.is_some_and(|due| due <= bed.store.now()));
        assert_eq!(bed.store.settle_due().await.unwrap().0.events, 1);
        assert_eq!(bed.store.settle_due().await.unwrap().0.events, 0);
        assert_eq!(bed.store.get_event(bed.who(), later.id.as_str().into()).await.unwrap().status, EventStatus::Pending);
        assert!(bed.store.next_due().await.unwrap().is_none());
    }
}

contract! {
    async fn only_scheduled_events_are_cancelled(bed: Bed) {
        let later = bed.store.write(create(&bed, Some(Schedule::Delay(60_000)))).await.unwrap();
        let cancel = Cancel { who: bed.who(), id: later.id.as_str().into() };
        bed.store.write(cancel.clone()).await.unwrap();
        assert_eq!(refusal(bed.store.write(cancel).await), "ResourceNotFound");
        let found = bed.store.get_event(bed.who(), later.id.as_str().into()).await.unwrap();
        assert_eq!((found.status, found.failure_reason), (EventStatus::Canceled, None));
        let now = bed.store.write(create(&bed, None)).await.unwrap();
        assert_eq!(refusal(bed.store.write(Cancel { who: bed.who(), id: now.id.as_str().into() }).await), "ResourceNotFound");
        let canceled = List { status: Some(EventStatus::Canceled), ..list(bed.who()) };
        assert_eq!(bed.store.list_events(canceled).await.unwrap().items.len(), 1);
    }
}

contract! {
    async fn links_must_exist(bed: Bed) {
        let nowhere = Some("conv_01HF7YAT000000000000000000".to_owned());
        for links in [
            Links { conversation: nowhere.clone(), ..Links::default() },
            Links { user: nowhere.clone(), ..Links::default() },
            Links { message: nowhere.clone(), ..Links::default() },
            Links { workflow: nowhere, ..Links::default() },
        ] {
            assert_eq!(refusal(bed.store.write(Create { links, ..create(&bed, None) }).await), "ReferenceNotFound");
        }
    }
}

contract! {
    async fn an_incoming_message_makes_its_event(bed: Bed) {
        let record = duologue_store::import::Record::Conversation(
            serde_json::from_value(serde_json::json!({
                "id": "conv_01HF7YAT00000000000000000A", "createdAt": "2026-01-01T00:00:00.000Z",
                "updatedAt": "2026-01-01T00:00:00.000Z", "channel": "dm", "integration": "slack", "tags": {"slack:id": "C"}
            })).unwrap(),
            vec![serde_json::from_value(serde_json::json!({
                "id": "user_01HF7YAT00000000000000000A", "createdAt": "2026-01-01T00:00:00.000Z",
                "updatedAt": "2026-01-01T00:00:00.000Z", "tags": {"slack:id": "U"}
            })).unwrap()],
        );
        bed.store.write(duologue_store::import::ImportRecords { who: bed.who(), records: vec![record] }).await.unwrap();
        let slack = bed.integration("slack");
        let new = message(&"conv_01HF7YAT00000000000000000A".into(), &"user_01HF7YAT00000000000000000A".into(), "hi");
        let said = bed.store.write(duologue_store::messages::Create { who: slack.clone(), new }).await.unwrap();
        assert_eq!(said.direction.name(), "incoming");
        let events = bed.store.list_events(list(bed.who())).await.unwrap().items;
        assert_eq!(events.len(), 1);
        let event = &events[0];
        assert_eq!((event.kind.as_str(), event.status), ("message_created", EventStatus::Pending));
        assert_eq!(event.message_id.as_deref(), Some(said.id.as_str()));
        let payload = event.payload.value();
        assert_eq!(payload["message"]["payload"]["text"], "hi");
        assert_eq!(payload["user"]["tags"]["slack:id"], "U");
        assert_eq!(payload["conversation"]["integration"], "slack");
        for links in [
            Links { conversation: event.conversation_id.clone(), ..Links::default() },
            Links { user: event.user_id.clone(), ..Links::default() },
            Links { message: event.message_id.clone(), ..Links::default() },
        ] {
            assert_eq!(bed.store.list_events(List { links, ..list(bed.who()) }).await.unwrap().items.len(), 1);
        }
        // An integration sees the events it made.
        assert_eq!(bed.store.list_events(list(slack)).await.unwrap().items.len(), 1);
        assert!(bed.store.list_events(list(bed.integration("other"))).await.unwrap().items.is_empty());
    }
}

contract! {
    async fn names_follow_the_view(bed: Bed) {
        let slack = bed.integration("slack");
        for kind in ["reaction", "slack:reaction"] {
            let made = bed.store.write(Create { who: slack.clone(), kind: kind.into(), ..create(&bed, None) }).await.unwrap();
            assert_eq!(made.kind, "reaction");
            assert_eq!(bed.store.get_event(bed.who(), made.id.as_str().into()).await.unwrap().kind, "slack:reaction");
        }
        let listed = List { kind: Some("slack:reaction".into()), ..list(bed.who()) };
        assert_eq!(bed.store.list_events(listed).await.unwrap().items.len(), 2);
        let own = bed.store.write(create(&bed, None)).await.unwrap();
        assert_eq!(refusal(bed.store.get_event(slack, own.id.as_str().into()).await), "ResourceNotFound");
    }
}

/// Ids of all events of a list, page by page.
async fn all(bed: &Bed, list: List, size: i64) -> Vec<String> {
    let mut list = List { page: PageRequest { size: PageSize::new(size), after: None }, ..list };
    let mut ids = Vec::new();
    loop {
        let page = bed.store.list_events(list.clone()).await.unwrap();
        assert!(page.next.is_none() || !page.items.is_empty(), "a token on an empty page");
        ids.extend(page.items.iter().map(|event| event.id.as_str().to_owned()));
        match page.next {
            Some(next) => list.page.after = Some(next),
            None => return ids,
        }
    }
}

contract! {
    /// Messages that are events and events that are rows are one list, whatever the filter.
    async fn both_kinds_of_events_are_one_list(bed: Bed) {
        let conversation = |n: usize| format!("conv_01HF7YAT0000000000000000{n:02}");
        let user = |n: usize| format!("user_01HF7YAT0000000000000000{n:02}");
        let day = "2026-01-01T00:00:00.000Z";
        let records = (0..3).map(|n| duologue_store::import::Record::Conversation(
            serde_json::from_value(serde_json::json!({
                "id": conversation(n), "createdAt": day, "updatedAt": day, "channel": "dm", "integration": "slack", "tags": {}
            })).unwrap(),
            vec![serde_json::from_value(serde_json::json!({"id": user(n % 2), "createdAt": day, "updatedAt": day, "tags": {}})).unwrap()],
        )).collect();
        bed.store.write(duologue_store::import::ImportRecords { who: bed.who(), records }).await.unwrap();
        let slack = bed.integration("slack");
        let mut made: Vec<(String, usize, bool)> = Vec::new();
        for turn in 0..24 {
            let place = turn % 3;
            if turn % 4 == 3 {
                let links = Links { conversation: Some(conversation(place)), user: Some(user(place % 2)), ..Links::default() };
                let event = bed.store.write(Create { links, ..create(&bed, None) }).await.unwrap();
                made.push((event.id.as_str().into(), place, false));
            } else {
                let new = message(&conversation(place).as_str().into(), &user(place % 2).as_str().into(), "hi");
                let said = bed.store.write(duologue_store::messages::Create { who: slack.clone(), new }).await.unwrap();
                made.push((said.id.event().unwrap().as_str().into(), place, true));
            }
            bed.pass(2).await;
        }
        made.reverse();
        let wanted = |keep: &dyn Fn(&(String, usize, bool)) -> bool| -> Vec<String> {
            made.iter().filter(|event| keep(event)).map(|event| event.0.clone()).collect()
        };
        let place = Links { conversation: Some(conversation(1)), ..Links::default() };
        let person = Links { user: Some(user(0)), ..Links::default() };
        let pending = Some(EventStatus::Pending);
        for size in [1, 2, 5, 100] {
            assert_eq!(all(&bed, list(bed.who()), size).await, wanted(&|_| true), "{size}");
            assert_eq!(all(&bed, List { status: pending, ..list(bed.who()) }, size).await, wanted(&|_| true));
            let of_place = List { links: place.clone(), ..list(bed.who()) };
            assert_eq!(all(&bed, of_place.clone(), size).await, wanted(&|event| event.1 == 1));
            assert_eq!(all(&bed, List { status: pending, ..of_place }, size).await, wanted(&|event| event.1 == 1));
            let of_person = List { links: person.clone(), ..list(bed.who()) };
            assert_eq!(all(&bed, of_person.clone(), size).await, wanted(&|event| event.1 != 1));
            let of_kind = List { kind: Some("message_created".into()), ..of_person };
            assert_eq!(all(&bed, of_kind, size).await, wanted(&|event| event.1 != 1 && event.2));
            assert_eq!(all(&bed, list(slack.clone()), size).await, wanted(&|event| event.2));
        }
        assert!(all(&bed, List { status: Some(EventStatus::Processed), ..list(bed.who()) }, 10).await.is_empty());
        let (event, ..) = made.iter().find(|event| event.2).unwrap();
        let said = duologue_model::id::EventId::new(event.as_str()).message().unwrap();
        bed.store.write(duologue_store::messages::Delete { who: bed.who(), id: said.as_str().into() }).await.unwrap();
        assert_eq!(refusal(bed.store.get_event(bed.who(), event.clone()).await), "ResourceNotFound");
        assert_eq!(all(&bed, list(bed.who()), 7).await.len(), 23);
        bed.store.write(duologue_store::conversations::Delete { who: bed.who(), id: conversation(0) }).await.unwrap();
        let left = all(&bed, list(bed.who()), 7).await.len();
        assert_eq!(left, made.iter().filter(|(id, place, _)| *place != 0 && id != event).count());
    }
}
