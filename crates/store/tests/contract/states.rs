//! States: what is written, what expires, and who owns it.

use duologue_model::{EventStatus, Json, StateType};
use duologue_store::{
    events::{Links, List as Events},
    page::PageRequest,
    states::{Delete, Expiry, GetOrSet, Key, Patch, Set, SetExpiry},
};

use crate::{Bed, contract, json, refusal};

fn key(bed: &Bed, name: &str) -> Key {
    Key { who: bed.who(), kind: StateType::Bot, scope: bed.bot.as_str().into(), name: name.into() }
}

fn set(key: Key, value: serde_json::Value, expiry: Expiry) -> Set {
    Set { key, payload: Some(json(value)), expiry, default_expiry: None }
}

fn expired(bed: &Bed) -> Events {
    Events {
        who: bed.who(),
        kind: Some("state_expired".into()),
        status: Some(EventStatus::Pending),
        links: Links::default(),
        page: PageRequest::default(),
    }
}

contract! {
    async fn a_state_is_set_replaced_patched_and_deleted(bed: Bed) {
        let key = key(&bed, "hitl#queue/ä x");
        let missing = bed.store.get_state(key.clone()).await;
        assert!(missing.as_ref().unwrap_err().to_string().contains("No State found"));
        assert_eq!(refusal(missing), "ResourceNotFound");
        let first = bed.store.write(set(key.clone(), serde_json::json!({"a": 1, "b": 2}), Expiry::Keep)).await.unwrap();
        let patch = Patch {
            key: key.clone(),
            payload: serde_json::from_str(r#"{"b":null,"c":3}"#).unwrap(),
            expiry: Expiry::Keep,
            limit: 1000,
            check: None,
        };
        let patched = bed.store.write(patch.clone()).await.unwrap();
        assert_eq!(patched.payload.value(), serde_json::json!({"a": 1, "b": null, "c": 3}));
        assert_eq!((patched.id, patched.created_at), (first.id, first.created_at));
        assert_eq!(refusal(bed.store.write(Patch { limit: 10, ..patch.clone() }).await), "PayloadTooLarge");
        let deleted = bed.store.write(Set { payload: None, ..set(key.clone(), serde_json::json!({}), Expiry::Keep) }).await.unwrap();
        assert_eq!(deleted.payload, Json::empty_object());
        assert_eq!(refusal(bed.store.write(patch).await), "ResourceNotFound");
        assert_eq!(refusal(bed.store.write(Delete { key }).await), "ResourceNotFound");
    }
}

contract! {
    async fn one_get_or_set_of_many_wins(bed: Bed) {
        let mut calls = tokio::task::JoinSet::new();
        for index in 0..12 {
            let (store, key) = (bed.store.clone(), key(&bed, "once"));
            let payload = json(serde_json::json!({ "index": index }));
            calls.spawn(async move {
                store.write(GetOrSet { key, payload, expiry: Expiry::Keep, default_expiry: None }).await.unwrap().payload.text().to_owned()
            });
        }
        let mut seen = std::collections::HashSet::new();
        while let Some(done) = calls.join_next().await {
            seen.insert(done.unwrap());
        }
        assert_eq!(seen.len(), 1);
    }
}

contract! {
    async fn expired_states_are_missing_at_once_and_told_once(bed: Bed) {
        let mut bed = bed;
        let gone = key(&bed, "gone");
        bed.store.write(set(gone.clone(), serde_json::json!({"last": "words"}), Expiry::After(60))).await.unwrap();
        let stays = key(&bed, "stays");
        bed.store.write(set(stays.clone(), serde_json::json!({}), Expiry::After(60_000))).await.unwrap();
        bed.restart().await;
        bed.pass(90).await;
        // Nobody has swept yet.
        assert_eq!(refusal(bed.store.get_state(gone.clone()).await), "ResourceNotFound");
        let listed = bed.store.list_states(gone.clone(), None, PageRequest::default()).await.unwrap().items;
        assert_eq!(listed.len(), 1);
        assert_eq!(bed.store.settle_due().await.unwrap().0.states, 1);
        assert_eq!(bed.store.settle_due().await.unwrap().0.states, 0);
        let events = bed.store.list_events(expired(&bed)).await.unwrap().items;
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].payload.value()["state"]["payload"]["last"], "words");
        assert_eq!(events[0].payload.value()["state"]["name"], "gone");
        assert!(bed.store.get_state(stays).await.is_ok());
    }
}

contract! {
    async fn a_write_over_an_expired_state_starts_anew(bed: Bed) {
        let key = key(&bed, "again");
        let first = bed.store.write(set(key.clone(), serde_json::json!({"n": 1}), Expiry::After(30))).await.unwrap();
        bed.pass(50).await;
        let second = bed.store.write(set(key.clone(), serde_json::json!({"n": 2}), Expiry::Keep)).await.unwrap();
        assert_ne!(first.id, second.id);
        assert_eq!(second.expires_at, None);
        assert_eq!(bed.store.settle_due().await.unwrap().0.states, 0);
        assert_eq!(bed.store.list_events(expired(&bed)).await.unwrap().items.len(), 1);
    }
}

contract! {
    async fn touching_restarts_the_idle_clock(bed: Bed) {
        let key = key(&bed, "idle");
        let first = bed.store.write(set(key.clone(), serde_json::json!({}), Expiry::After(2000))).await.unwrap();
        bed.pass(1100).await;
        let read = bed.store.get_state(key.clone()).await.unwrap();
        assert!(read.expires_at > first.expires_at);
        bed.pass(1100).await;
        assert!(bed.store.get_state(key.clone()).await.is_ok());
        let never = bed.store.write(SetExpiry { key: key.clone(), expiry: None }).await.unwrap();
        assert_eq!((never.expiry, never.expires_at), (None, None));
        // A write that says nothing keeps what was.
        assert_eq!(bed.store.write(set(key.clone(), serde_json::json!({}), Expiry::Keep)).await.unwrap().expiry, None);
        bed.store.write(SetExpiry { key: key.clone(), expiry: Some(5000) }).await.unwrap();
        assert_eq!(bed.store.write(set(key.clone(), serde_json::json!({}), Expiry::Keep)).await.unwrap().expiry, Some(5000));
        assert_eq!(bed.store.write(set(key, serde_json::json!({}), Expiry::Never)).await.unwrap().expiry, None);
    }
}

contract! {
    async fn many_expire_at_once_each_with_one_event(bed: Bed) {
        for index in 0..600 {
            bed.store.write(set(key(&bed, &format!("s{index}")), serde_json::json!({}), Expiry::After(1))).await.unwrap();
        }
        bed.pass(20).await;
        let mut sweepers = tokio::task::JoinSet::new();
        for _ in 0..3 {
            let store = bed.store.clone();
            sweepers.spawn(async move {
                let mut total = 0;
                loop {
                    let (settled, more) = store.settle_due().await.unwrap();
                    total += settled.states;
                    if !more {
                        return total;
                    }
                }
            });
        }
        let mut total = 0;
        while let Some(done) = sweepers.join_next().await {
            total += done.unwrap();
        }
        while bed.store.settle_due().await.unwrap().0.states > 0 {
            total += 1;
        }
        assert_eq!(total, 600);
        let mut list = expired(&bed);
        let mut names = std::collections::HashSet::new();
        let mut count = 0;
        loop {
            let page = bed.store.list_events(list.clone()).await.unwrap();
            for event in page.items {
                count += 1;
                names.insert(event.payload.value()["state"]["name"].as_str().unwrap().to_owned());
            }
            match page.next {
                Some(next) => list.page.after = Some(next),
                None => break,
            }
        }
        assert_eq!((count, names.len()), (600, 600));
    }
}

contract! {
    async fn owners_don_t_share_rows_and_scopes_must_exist(bed: Bed) {
        let conversation = bed.conversation(&[]).await;
        let key = |who, kind, scope: &str| Key { who, kind, scope: scope.into(), name: "n".into() };
        let own = key(bed.who(), StateType::Conversation, conversation.as_str());
        bed.store.write(set(own.clone(), serde_json::json!({"of": "bot"}), Expiry::Keep)).await.unwrap();
        // The conversation is the bot's own, so an integration doesn't see it.
        let theirs = key(bed.integration("slack"), StateType::Conversation, conversation.as_str());
        assert_eq!(refusal(bed.store.get_state(theirs).await), "ResourceNotFound");
        let instance = key(bed.integration("slack"), StateType::Integration, "slack");
        bed.store.write(set(instance.clone(), serde_json::json!({"of": "slack"}), Expiry::Keep)).await.unwrap();
        let by_version = Key { scope: "intver_00000000000000000000000000".into(), ..instance.clone() };
        assert_eq!(bed.store.get_state(by_version).await.unwrap().payload.value()["of"], "slack");
        assert_eq!(refusal(bed.store.get_state(key(bed.integration("teams"), StateType::Integration, "teams")).await), "ResourceNotFound");
        let wrong = key(bed.who(), StateType::User, "user_01HF7YAT000000000000000000");
        assert_eq!(refusal(bed.store.write(set(wrong, serde_json::json!({}), Expiry::Keep)).await), "ResourceNotFound");
        let forbidden = key(bed.integration("slack"), StateType::Bot, bed.bot.as_str());
        assert_eq!(refusal(bed.store.get_state(forbidden).await), "Forbidden");
    }
}
