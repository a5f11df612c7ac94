//! Users: their fields, their deletion.

use duologue_model::PageSize;
use duologue_store::{
    page::{PageRequest, Range, Sort, SortField},
    users::{Create, Delete, GetOrCreate, List, NewUser, Update},
};

use crate::{Bed, contract, refusal, tags};

fn update(bed: &Bed, id: &str) -> Update {
    Update {
        who: bed.who(),
        id: id.into(),
        tags: tags(&[]),
        name: None,
        picture_url: None,
        properties: None,
        attributes: Default::default(),
    }
}

pub fn everybody(bed: &Bed) -> List {
    List {
        who: bed.who(),
        conversation: None,
        tags: vec![],
        range: Range::default(),
        range_field: SortField::CreatedAt,
        sort: Sort::default(),
        page: PageRequest { size: PageSize::new(100), after: None },
        snapshot: None,
    }
}

contract! {
    async fn absent_stays_and_null_clears(bed: Bed) {
        let new = NewUser { name: Some("Ada".into()), picture_url: Some("data:,x".into()), ..Default::default() };
        let user = bed.store.write(Create { who: bed.who(), new }).await.unwrap();
        let id = user.id.as_str();
        let after = bed.store.write(Update { picture_url: Some(None), ..update(&bed, id) }).await.unwrap();
        assert_eq!((after.name.as_deref(), after.picture_url), (Some("Ada"), None));
        assert!(after.updated_at > user.updated_at);
        // What changes nothing leaves the instant alone.
        assert_eq!(bed.store.write(update(&bed, id)).await.unwrap().updated_at, after.updated_at);
        let attributes = [("a".to_owned(), Some("1".to_owned())), ("b".to_owned(), Some("2".to_owned()))].into();
        bed.store.write(Update { attributes, ..update(&bed, id) }).await.unwrap();
        let attributes = [("a".to_owned(), None)].into();
        let after = bed.store.write(Update { attributes, ..update(&bed, id) }).await.unwrap();
        assert_eq!(after.attributes.unwrap().text(), r#"{"b":"2"}"#);
    }
}

contract! {
    async fn existing_users_come_back_unmodified(bed: Bed) {
        let wanted = |name: &str| GetOrCreate {
            who: bed.who(),
            new: NewUser { tags: tags(&[("id", "7")]), name: Some(name.into()), ..Default::default() },
            by: vec![],
        };
        assert!(bed.store.find_user(&wanted("a")).await.unwrap().is_none());
        let (first, created) = bed.store.write(wanted("a")).await.unwrap();
        assert!(created);
        let found = bed.store.find_user(&wanted("b")).await.unwrap().unwrap();
        assert_eq!((found.id, found.name.as_deref()), (first.id, Some("a")));
    }
}

contract! {
    async fn deleting_keeps_what_was_said(bed: Bed) {
        let (id, user) = (bed.conversation(&[]).await, bed.user(&[("a", "b")]).await);
        let said = bed.say(&id, &user, "x").await;
        bed.store.write(Delete { who: bed.who(), id: user.as_str().into() }).await.unwrap();
        assert_eq!(refusal(bed.store.get_user(bed.who(), user.as_str().into()).await), "ResourceNotFound");
        assert_eq!(bed.store.get_message(bed.who(), said.id.as_str().into()).await.unwrap().user_id, user);
        let left = bed.store.list_participants(bed.who(), id.as_str().into(), PageRequest::default()).await.unwrap();
        assert!(left.items.is_empty());
        let tagged = List { tags: vec![("a".into(), "b".into())], ..everybody(&bed) };
        assert!(bed.store.list_users(tagged).await.unwrap().items.is_empty());
        let bot = bed.bot.as_str().to_owned();
        assert_eq!(refusal(bed.store.write(Delete { who: bed.who(), id: bot.clone() }).await), "ReferenceConstraint");
        assert_eq!(bed.store.get_user(bed.integration("x"), bot.clone()).await.unwrap().id.as_str(), bot);
    }
}

contract! {
    async fn users_of_a_conversation_are_those_who_took_part(bed: Bed) {
        let id = bed.conversation(&[]).await;
        let (stays, leaves, never) = (bed.user(&[]).await, bed.user(&[]).await, bed.user(&[]).await);
        bed.say(&id, &stays, "x").await;
        bed.say(&id, &leaves, "x").await;
        let script = duologue_store::participants::Remove { who: bed.who(), conversation: id.as_str().into(), user: leaves.as_str().into() };
        bed.store.write(script.clone()).await.unwrap();
        assert_eq!(refusal(bed.store.write(script).await), "ResourceNotFound");
        let took_part = bed.store.list_users(List { conversation: Some(id.as_str().into()), ..everybody(&bed) }).await.unwrap().items;
        assert_eq!(took_part.len(), 2);
        assert!(took_part.iter().all(|user| user.id != never));
        let by_update = Sort { field: SortField::UpdatedAt, ascending: true };
        let again = List { conversation: Some(id.as_str().into()), sort: by_update, ..everybody(&bed) };
        assert_eq!(bed.store.list_users(again).await.unwrap().items.len(), 2);
        let now = bed.store.list_participants(bed.who(), id.as_str().into(), PageRequest::default()).await.unwrap().items;
        assert_eq!(now.iter().map(|user| &user.id).collect::<Vec<_>>(), [&stays]);
    }
}

contract! {
    async fn users_of_other_integrations_are_not_acceptable(bed: Bed) {
        let record = |id: &str, owner: &str, user: &str| duologue_store::import::Record::Conversation(
            serde_json::from_value(serde_json::json!({
                "id": id, "createdAt": "2026-01-01T00:00:00.000Z", "updatedAt": "2026-01-01T00:00:00.000Z",
                "channel": "dm", "integration": owner, "tags": {}
            })).unwrap(),
            vec![serde_json::from_value(serde_json::json!({
                "id": user, "createdAt": "2026-01-01T00:00:00.000Z", "updatedAt": "2026-01-01T00:00:00.000Z", "tags": {}
            })).unwrap()],
        );
        let records = vec![
            record("conv_01HF7YAT00000000000000000A", "slack", "user_01HF7YAT00000000000000000A"),
            record("conv_01HF7YAT00000000000000000B", "teams", "user_01HF7YAT00000000000000000B"),
        ];
        bed.store.write(duologue_store::import::ImportRecords { who: bed.who(), records }).await.unwrap();
        let add = |user: &str| duologue_store::participants::Add {
            who: bed.who(),
            conversation: "conv_01HF7YAT00000000000000000A".into(),
            user: user.into(),
        };
        assert_eq!(refusal(bed.store.write(add("user_01HF7YAT00000000000000000B")).await), "RelationConflict");
        assert_eq!(refusal(bed.store.write(add("user_01HF7YAT00000000000000000C")).await), "ReferenceNotFound");
        bed.store.write(add(bed.bot.as_str())).await.unwrap();
    }
}

contract! {
    async fn an_import_restores_the_bots_own_user_until_it_has_a_history(bed: Bed) {
        let record = |id: &str, name: &str, at: &str| duologue_store::import::Record::Conversation(
            serde_json::from_value(serde_json::json!({
                "id": id, "createdAt": at, "updatedAt": at, "channel": "dm", "integration": "", "tags": {}
            })).unwrap(),
            vec![serde_json::from_value(serde_json::json!({
                "id": bed.bot, "createdAt": at, "updatedAt": at, "tags": {"kept": name}, "name": name
            })).unwrap()],
        );
        let import = |record| duologue_store::import::ImportRecords { who: bed.who(), records: vec![record] };
        let before = bed.store.get_user(bed.who(), bed.bot.to_string()).await.unwrap();
        bed.store.write(import(record("conv_01HF7YAT00000000000000000A", "old", "2020-01-01T00:00:00.000Z"))).await.unwrap();
        let adopted = bed.store.get_user(bed.who(), bed.bot.to_string()).await.unwrap();
        assert!(adopted.created_at < before.created_at);
        assert_eq!(adopted.name.as_deref(), Some("old"));
        let tagged = List { tags: vec![("kept".into(), "old".into())], ..everybody(&bed) };
        assert_eq!(bed.store.list_users(tagged).await.unwrap().items, std::slice::from_ref(&adopted));
        // From here on it takes part in a conversation, and is left alone.
        bed.store.write(import(record("conv_01HF7YAT00000000000000000B", "new", "2021-01-01T00:00:00.000Z"))).await.unwrap();
        assert_eq!(bed.store.get_user(bed.who(), bed.bot.to_string()).await.unwrap(), adopted);
    }
}
