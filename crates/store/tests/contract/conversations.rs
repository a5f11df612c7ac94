//! Conversations: their tags, their deletion, and who sees them.

use duologue_store::{
    conversations::{Delete, GetOrCreate, List, NewConversation, Update},
    page::{PageRequest, Range, Sort},
};

use crate::{Bed, contract, json, message, refusal, tags};

fn everything(bed: &Bed) -> List {
    List {
        who: bed.who(),
        tags: Vec::new(),
        participants: Vec::new(),
        integration: None,
        channel: None,
        range: Range::default(),
        min_messages: None,
        max_messages: None,
        sort: Sort::default(),
        page: PageRequest::default(),
        snapshot: None,
    }
}

contract! {
    async fn tags_merge_without_losing_concurrent_updates(bed: Bed) {
        let id = bed.conversation(&[("keep", "1"), ("drop", "1")]).await;
        let mut updates = tokio::task::JoinSet::new();
        for index in 0..20 {
            let (store, who, id) = (bed.store.clone(), bed.who(), id.as_str().to_owned());
            updates.spawn(async move {
                let mut patch = tags(&[(&format!("k{index}"), "v")]);
                patch.insert("drop".into(), None);
                store.write(Update { who, id, tags: patch, current_task_id: None, properties: None }).await.unwrap();
            });
        }
        while let Some(done) = updates.join_next().await {
            done.unwrap();
        }
        let found = bed.store.get_conversation(bed.who(), id.as_str().into()).await.unwrap();
        assert_eq!(found.tags.0.len(), 21);
        assert_eq!(found.tags.0["keep"], "1");
        // The index agrees.
        let list = List { tags: vec![("k7".into(), "v".into())], ..everything(&bed) };
        assert_eq!(bed.store.list_conversations(list).await.unwrap().items.len(), 1);
        let list = List { tags: vec![("drop".into(), "1".into())], ..everything(&bed) };
        assert_eq!(bed.store.list_conversations(list).await.unwrap().items.len(), 0);
    }
}

contract! {
    async fn one_get_or_create_of_many_creates(bed: Bed) {
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..16 {
            let (store, who) = (bed.store.clone(), bed.who());
            let new = NewConversation { channel: "c".into(), tags: tags(&[("id", "42")]), ..Default::default() };
            calls.spawn(async move { store.write(GetOrCreate { who, new, by: vec![] }).await.unwrap() });
        }
        let mut ids = std::collections::HashSet::new();
        let mut created = 0;
        while let Some(done) = calls.join_next().await {
            let (conversation, new) = done.unwrap();
            ids.insert(conversation.id);
            created += usize::from(new);
        }
        assert_eq!((ids.len(), created), (1, 1));
    }
}

contract! {
    async fn an_extra_tag_prevents_a_match_unless_told_which_count(bed: Bed) {
        let first = bed.conversation(&[("id", "1"), ("extra", "x")]).await;
        let wanted = |by: Vec<String>| GetOrCreate {
            who: bed.who(),
            new: NewConversation { channel: "test".into(), tags: tags(&[("id", "1")]), ..Default::default() },
            by,
        };
        let (same, created) = bed.store.write(wanted(vec!["id".into()])).await.unwrap();
        assert_eq!((same.id, created), (first, false));
        assert!(bed.store.write(wanted(vec![])).await.unwrap().1);
        // Nothing to compare: always created.
        let bare = GetOrCreate { who: bed.who(), new: NewConversation { channel: "test".into(), ..Default::default() }, by: vec![] };
        assert!(bed.store.write(bare.clone()).await.unwrap().1);
        assert!(bed.store.write(bare).await.unwrap().1);
    }
}

contract! {
    async fn deleting_takes_all_that_hangs_on_it(bed: Bed) {
        let (id, user) = (bed.conversation(&[("a", "b")]).await, bed.user(&[]).await);
        let said = bed.say(&id, &user, "hello").await;
        let key = duologue_store::states::Key {
            who: bed.who(),
            kind: duologue_model::StateType::Conversation,
            scope: id.as_str().into(),
            name: "s".into(),
        };
        bed.store
            .write(duologue_store::states::Set {
                key: key.clone(),
                payload: Some(json(serde_json::json!({}))),
                expiry: duologue_store::states::Expiry::Keep,
                default_expiry: None,
            })
            .await
            .unwrap();
        bed.store.write(Delete { who: bed.who(), id: id.as_str().into() }).await.unwrap();
        assert_eq!(refusal(bed.store.get_conversation(bed.who(), id.as_str().into()).await), "ResourceNotFound");
        assert_eq!(refusal(bed.store.get_message(bed.who(), said.id.as_str().into()).await), "ResourceNotFound");
        assert_eq!(refusal(bed.store.get_state(key).await), "ResourceNotFound");
        assert_eq!(refusal(bed.store.write(Delete { who: bed.who(), id: id.as_str().into() }).await), "ResourceNotFound");
        let new = message(&id, &user, "too late");
        assert_eq!(refusal(bed.store.write(duologue_store::messages::Create { who: bed.who(), new }).await), "ReferenceNotFound");
        assert!(bed.store.list_conversations(everything(&bed)).await.unwrap().items.is_empty());
    }
}

contract! {
    async fn an_integration_sees_its_own_only(bed: Bed) {
        let slack = bed.integration("slack");
        // Put there as an import would: channels are checked against definitions otherwise.
        let record = duologue_store::import::Record::Conversation(
            serde_json::from_value(serde_json::json!({
                "id": "conv_01HF7YAT00000000000000SLCK", "createdAt": "2026-01-01T00:00:00.000Z",
                "updatedAt": "2026-01-01T00:00:00.000Z", "channel": "dm", "integration": "slack",
                "tags": { "slack:id": "C1", "topic": "sales" }
            }))
            .unwrap(),
            vec![],
        );
        let script = duologue_store::import::ImportRecords { who: bed.who(), records: vec![record] };
        assert_eq!(bed.store.write(script.clone()).await.unwrap(), (1, 0));
        assert_eq!(bed.store.write(script).await.unwrap(), (0, 1));
        let id = "conv_01HF7YAT00000000000000SLCK".to_owned();
        let seen = bed.store.get_conversation(slack.clone(), id.clone()).await.unwrap();
        assert_eq!(seen.tags.text(), r#"{"id":"C1"}"#);
        assert_eq!(refusal(bed.store.get_conversation(bed.integration("other"), id.clone()).await), "ResourceNotFound");
        let own = bed.conversation(&[]).await;
        assert_eq!(refusal(bed.store.get_conversation(slack.clone(), own.as_str().into()).await), "ResourceNotFound");
        let list = List { who: slack, ..everything(&bed) };
        assert_eq!(bed.store.list_conversations(list).await.unwrap().items.len(), 1);
        assert_eq!(bed.store.list_conversations(everything(&bed)).await.unwrap().items.len(), 2);
    }
}

contract! {
    async fn filters_combine(bed: Bed) {
        let user = bed.user(&[]).await;
        let other = bed.user(&[]).await;
        for index in 0..6 {
            let id = bed.conversation(&[("parity", if index % 2 == 0 { "even" } else { "odd" }), ("n", &index.to_string())]).await;
            for _ in 0..index {
                bed.say(&id, &user, "x").await;
            }
            if index == 4 {
                bed.say(&id, &other, "y").await;
            }
        }
        let count = |list: List| {
            let store = bed.store.clone();
            async move { store.list_conversations(list).await.unwrap().items.len() }
        };
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(count(List { tags: vec![pair("parity", "even")], ..everything(&bed) }).await, 3);
        assert_eq!(count(List { tags: vec![pair("parity", "even"), pair("n", "2")], ..everything(&bed) }).await, 1);
        assert_eq!(count(List { tags: vec![pair("parity", "even"), pair("n", "1")], ..everything(&bed) }).await, 0);
        assert_eq!(count(List { tags: vec![pair("absent", "")], ..everything(&bed) }).await, 6);
        assert_eq!(count(List { tags: vec![pair("n", "")], ..everything(&bed) }).await, 0);
        assert_eq!(count(List { participants: vec![user.as_str().into()], ..everything(&bed) }).await, 5);
        let both = vec![user.as_str().to_owned(), other.as_str().to_owned()];
        assert_eq!(count(List { participants: both, ..everything(&bed) }).await, 1);
        assert_eq!(count(List { min_messages: Some(2), max_messages: Some(3), ..everything(&bed) }).await, 2);
        assert_eq!(count(List { channel: Some("other".into()), ..everything(&bed) }).await, 0);
        assert_eq!(count(List { integration: Some("slack".into()), ..everything(&bed) }).await, 0);
        let updated = Sort { field: duologue_store::page::SortField::UpdatedAt, ascending: true };
        assert_eq!(count(List { sort: updated, tags: vec![pair("parity", "odd")], participants: vec![user.as_str().into()], ..everything(&bed) }).await, 3);
    }
}
