//! Messages: their order, their authors, their schedule.

use duologue_model::{Direction, Origin, PageSize, Timestamp};
use duologue_store::{
    events::Schedule,
    messages::{Create, Delete, GetOrCreate, Import, Imported, List, NewMessage, Update},
    page::{PageRequest, Range},
};

use crate::{Bed, contract, json, message, refusal, tags};

fn of(bed: &Bed, conversation: &str) -> List {
    List {
        who: bed.who(),
        conversation: Some(conversation.into()),
        tags: vec![],
        range: Range::default(),
        ascending: true,
        page: PageRequest { size: PageSize::new(100), after: None },
    }
}

contract! {
    async fn instants_increase_strictly_whoever_writes(bed: Bed) {
        let (id, user) = (bed.conversation(&[]).await, bed.user(&[]).await);
        let mut writers = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (store, who, new) = (bed.store.clone(), bed.who(), message(&id, &user, "x"));
            writers.spawn(async move {
                for _ in 0..10 {
                    store.write(Create { who: who.clone(), new: new.clone() }).await.unwrap();
                }
            });
        }
        while let Some(done) = writers.join_next().await {
            done.unwrap();
        }
        let all = bed.store.list_messages(of(&bed, id.as_str())).await.unwrap().items;
        assert_eq!(all.len(), 80);
        assert!(all.windows(2).all(|pair| pair[0].created_at < pair[1].created_at));
        let conversation = bed.store.get_conversation(bed.who(), id.as_str().into()).await.unwrap();
        assert_eq!(conversation.message_count, 80);
        assert!(conversation.updated_at >= all[79].created_at);
    }
}

contract! {
    async fn authors_take_part_and_must_exist(bed: Bed) {
        let (id, user) = (bed.conversation(&[]).await, bed.user(&[]).await);
        bed.say(&id, &user, "x").await;
        let participants = bed.store.list_participants(bed.who(), id.as_str().into(), PageRequest::default()).await.unwrap();
        assert_eq!(participants.items[0].id, user);
        let nobody = "user_01HF7YAT000000000000000000".into();
        let new = message(&id, &nobody, "x");
        assert_eq!(refusal(bed.store.write(Create { who: bed.who(), new }).await), "ReferenceNotFound");
        let nowhere = "conv_01HF7YAT000000000000000000".into();
        let new = message(&nowhere, &user, "x");
        assert_eq!(refusal(bed.store.write(Create { who: bed.who(), new }).await), "ReferenceNotFound");
    }
}

contract! {
    async fn directions_follow_the_caller_and_recordings_the_author(bed: Bed) {
        let (id, user, bot) = (bed.conversation(&[]).await, bed.user(&[]).await, bed.bot.as_user());
        assert_eq!(bed.say(&id, &user, "x").await.direction, Direction::Outgoing);
        for (author, direction) in [(&user, Direction::Incoming), (&bot, Direction::Outgoing)] {
            let new = NewMessage { origin: Some(Origin::Synthetic), ..message(&id, author, "x") };
            let recorded = bed.store.write(Create { who: bed.who(), new }).await.unwrap();
            assert_eq!((recorded.direction, recorded.origin), (direction, Some(Origin::Synthetic)));
        }
    }
}

contract! {
    async fn updates_replace_the_payload_and_merge_tags(bed: Bed) {
        let (id, user) = (bed.conversation(&[]).await, bed.user(&[]).await);
        let new = NewMessage { tags: tags(&[("a", "1"), ("b", "2")]), ..message(&id, &user, "x") };
        let said = bed.store.write(Create { who: bed.who(), new }).await.unwrap();
        let mut patch = tags(&[("c", "3")]);
        patch.insert("a".into(), None);
        let script = Update { who: bed.who(), id: said.id.as_str().into(), tags: patch, payload: Some(json(serde_json::json!({"text": "y"}))) };
        let updated = bed.store.write(script).await.unwrap();
        assert_eq!(updated.payload.text(), r#"{"text":"y"}"#);
        assert_eq!(updated.tags.text(), r#"{"b":"2","c":"3"}"#);
        assert!(updated.updated_at > said.updated_at);
        assert_eq!(updated.created_at, said.created_at);
        assert_eq!(bed.store.get_message(bed.who(), said.id.as_str().into()).await.unwrap(), updated);
        bed.store.write(Delete { who: bed.who(), id: said.id.as_str().into() }).await.unwrap();
        assert_eq!(refusal(bed.store.write(Delete { who: bed.who(), id: said.id.as_str().into() }).await), "ResourceNotFound");
        assert_eq!(bed.store.get_conversation(bed.who(), id.as_str().into()).await.unwrap().message_count, 0);
    }
}

contract! {
    async fn get_or_create_prefers_the_conversation_asked_for(bed: Bed) {
        let (here, there, user) = (bed.conversation(&[]).await, bed.conversation(&[]).await, bed.user(&[]).await);
        let wanted = |at: &duologue_model::id::ConversationId| GetOrCreate {
            who: bed.who(),
            new: NewMessage { tags: tags(&[("ts", "1")]), ..message(at, &user, "x") },
            by: vec!["ts".into()],
        };
        let (first, created) = bed.store.write(wanted(&here)).await.unwrap();
        assert!(created);
        let (again, created) = bed.store.write(wanted(&here)).await.unwrap();
        assert_eq!((again.id, created), (first.id, false));
        let refused = bed.store.write(wanted(&there)).await;
        assert!(refused.as_ref().unwrap_err().to_string().contains("already exists for a different conversation"));
        assert_eq!(refusal(refused), "AlreadyExists");
    }
}

contract! {
    async fn imports_keep_their_instants_and_order(bed: Bed) {
        let (id, user) = (bed.conversation(&[]).await, bed.user(&[]).await);
        let at = |second: i64| Timestamp::from_millis(1_600_000_000_000 + second * 1000);
        let item = |second: i64, by: Vec<String>| Imported {
            new: NewMessage { tags: tags(&[("ext", &second.to_string())]), ..message(&id, &user, "old") },
            created_at: at(second),
            by,
        };
        let messages = vec![item(3, vec![]), item(1, vec!["ext".into()]), item(1, vec!["ext".into()]), item(3, vec![])];
        let made = bed.store.write(Import { who: bed.who(), messages }).await.unwrap();
        assert_eq!(made.iter().map(|m| m.created_at).collect::<Vec<_>>(), [at(3), at(1), at(1), at(3)]);
        assert_eq!(made[1].id, made[2].id);
        assert_ne!(made[0].id, made[3].id);
        bed.say(&id, &user, "new").await;
        let all = bed.store.list_messages(of(&bed, id.as_str())).await.unwrap().items;
        assert_eq!(all.len(), 4);
        assert_eq!(all[0].created_at, at(1));
        assert!(all[3].payload.text().contains("new"));
    }
}

contract! {
    async fn scheduled_messages_have_an_id_and_wait(bed: Bed) {
        let mut bed = bed;
        let (id, user) = (bed.conversation(&[]).await, bed.user(&[]).await);
        let new = NewMessage { schedule: Some(Schedule::Delay(1500)), tags: tags(&[("k", "v")]), ..message(&id, &user, "later") };
        let promised = bed.store.write(Create { who: bed.who(), new }).await.unwrap();
        assert!(bed.store.list_messages(of(&bed, id.as_str())).await.unwrap().items.is_empty());
        assert_eq!(bed.store.get_message(bed.who(), promised.id.as_str().into()).await.unwrap().id, promised.id);
        bed.store.settle_due().await.unwrap();
        assert!(bed.store.list_messages(of(&bed, id.as_str())).await.unwrap().items.is_empty());
        bed.restart().await;
        bed.pass(1550).await;
        bed.store.settle_due().await.unwrap();
        bed.store.settle_due().await.unwrap();
        let all = bed.store.list_messages(of(&bed, id.as_str())).await.unwrap().items;
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].id, promised.id);
        let tagged = List { conversation: None, tags: vec![("k".into(), "v".into())], ..of(&bed, "") };
        assert_eq!(bed.store.list_messages(tagged).await.unwrap().items.len(), 1);
    }
}
