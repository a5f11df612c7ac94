//! Bots: their definitions, their lists, their keys, what is installed in them, and their end.

use duologue_model::{StateType, WorkflowStatus, id::BotId};
use duologue_store::{
    access::{Headers, Principal},
    bots::{
        Bot, Change, List,
        shareable::{Signer, Target},
    },
    page::{PageRequest, Sort, SortField},
    states, tasks,
    tx::{Script, Tx},
    workflows,
    workspaces::Actor,
};
use serde_json::{Value, json};

use crate::{Bed, contract, of, refusal, tags};

fn view(bot: &Bot) -> Value {
    serde_json::to_value(bot.view("https://x", "https://x", true)).unwrap()
}

fn all(actor: Actor) -> List {
    List {
        actor,
        dev: false,
        tags: Vec::new(),
        integrations: Vec::new(),
        plugins: Vec::new(),
        sort: Sort::default(),
        page: PageRequest::default(),
    }
}

async fn names(bed: &Bed, list: List) -> Vec<String> {
    bed.store.list_bots(list).await.unwrap().items.into_iter().map(|bot| bot.name).collect()
}

contract! {
    async fn everything_has_a_default(bed: Bed) {
        let bot = bed.store.create_bot(bed.actor(), Change::default()).await.unwrap();
        let shown = view(&bot);
        assert!(!bot.stored.name.is_empty());
        assert_eq!(shown["createdBy"], json!(bed.owner));
        assert_eq!((&shown["dev"], &shown["status"], &shown["type"]), (&json!(false), &json!("active"), &json!("adk")));
        for empty in ["integrations", "plugins", "states", "events", "recurringEvents", "actions", "tags"] {
            assert_eq!(shown[empty], json!({}), "{empty}");
        }
        assert_eq!(shown["subscriptions"], json!({ "events": null }));
        assert!(shown["signingSecret"].as_str().unwrap().len() >= 32);
        let read = bed.store.get_bot(bed.actor(), bot.stored.id.as_str().into()).await.unwrap();
        assert_eq!(view(&read), shown);
        let user = bed.store.get_user(duologue_model::Identity::bot(bot.stored.id.clone()), bot.stored.id.as_str().into());
        assert_eq!(user.await.unwrap().name, Some(bot.stored.name));
    }
}

contract! {
    async fn a_change_is_a_patch(bed: Bed) {
        let schema = json!({ "type": "object" });
        let new = json!({
            "name": "first",
            "tags": { "a": "1", "b": "2" },
            "states": { "memory": { "type": "user", "schema": schema }, "gone": { "type": "bot", "schema": schema } },
            "events": { "happened": { "schema": schema, "attributes": { "x": "1", "y": "2" } } },
            "secrets": { "API_KEY": "hidden" },
        });
        let bot = bed.store.create_bot(bed.actor(), of(new)).await.unwrap();
        let id = bot.stored.id.as_str().to_owned();
        let change = json!({
            "tags": { "a": null, "c": "3" },
            "states": { "gone": null, "memory": { "type": "conversation", "schema": schema } },
            "events": { "happened": { "schema": schema, "attributes": { "x": null } } },
            "unknown": { "member": true },
        });
        let after = bed.store.update_bot(bed.actor(), id.clone(), of(change)).await.unwrap();
        let shown = view(&after);
        assert_eq!((&shown["name"], &shown["tags"]), (&json!("first"), &json!({ "b": "2", "c": "3" })));
        assert_eq!(shown["states"], json!({ "memory": { "type": "conversation", "schema": schema } }));
        assert_eq!(shown["events"]["happened"]["attributes"], json!({ "y": "2" }));
        assert_eq!(shown["secrets"], json!(["API_KEY"]), "names only");
        assert!(!shown.to_string().contains("hidden"));
        assert!(after.stored.updated_at > bot.stored.updated_at);
        assert_eq!(after.stored.deployed_at, None, "nothing was deployed yet");
        let code = of(json!({ "code": "x" }));
        assert!(bed.store.update_bot(bed.actor(), id, code).await.unwrap().stored.deployed_at.is_some());
    }
}

contract! {
    async fn definitions_are_checked(bed: Bed) {
        let schema = json!({ "type": "object" });
        let create = |change: Value| bed.store.create_bot(bed.actor(), of(change));
        for (kind, bad) in [
            ("InvalidIdentifier", json!({ "states": { "a:b": { "type": "user", "schema": schema } } })),
            ("InvalidJsonSchema", json!({ "events": { "e": { "schema": { "type": 5 } } } })),
            ("ReferenceNotFound", json!({ "integrations": { "intver_01HF7YAT00000000000000000A": {} } })),
            ("ReferenceNotFound", json!({ "plugins": { "p": { "id": "plugver_01HF7YAT00000000000000000A" } } })),
            ("InvalidPayload", json!({ "name": "" })),
        ] {
            assert_eq!(refusal(create(bad.clone()).await), kind, "{bad}");
        }
        let many: serde_json::Map<String, Value> =
            (0..51).map(|n| (format!("s{n}"), json!({ "type": "user", "schema": schema }))).collect();
        assert_eq!(refusal(create(json!({ "states": many })).await), "LimitExceeded");
        assert_eq!(names(&bed, all(bed.actor())).await, ["tested"], "nothing of what was refused is left");
    }
}

contract! {
    async fn bots_are_listed_by_what_they_are(bed: Bed) {
        let store = &bed.store;
        let new = json!({ "name": "slack", "version": "1.0.0" });
        let integration = store.create_integration(bed.actor(), of(new)).await.unwrap().head().id.clone();
        let make = |value: Value| async { store.create_bot(bed.actor(), of(value)).await.unwrap().stored.id };
        make(json!({ "name": "one", "tags": { "team": "a,\"b\"", "x": "1" } })).await;
        make(json!({ "name": "two", "integrations": { integration: {} } })).await;
        make(json!({ "name": "dev", "dev": true })).await;
        assert_eq!(names(&bed, all(bed.actor())).await, ["two", "one", "tested"]);
        assert_eq!(names(&bed, List { dev: true, ..all(bed.actor()) }).await, ["dev"]);
        let tagged = |pairs: &[(&str, &str)]| List {
            tags: pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            ..all(bed.actor())
        };
        assert_eq!(names(&bed, tagged(&[("team", "a,\"b\""), ("x", "1")])).await, ["one"]);
        assert!(names(&bed, tagged(&[("x", "12")])).await.is_empty());
        assert!(names(&bed, tagged(&[("b", "1")])).await.is_empty());
        let with = |name: &str| List { integrations: vec![name.into(), "other".into()], ..all(bed.actor()) };
        assert_eq!(names(&bed, with("slack")).await, ["two"]);
        assert!(names(&bed, with("teams")).await.is_empty());
        assert!(names(&bed, List { plugins: vec!["p".into()], ..all(bed.actor()) }).await.is_empty());
        bed.pass(2).await;
        store.update_bot(bed.actor(), bed.bot.as_str().into(), of(json!({ "name": "touched" }))).await.unwrap();
        let recent = List { sort: Sort { field: SortField::UpdatedAt, ascending: false }, ..all(bed.actor()) };
        assert_eq!(names(&bed, recent).await, ["touched", "two", "one"]);
    }
}

contract! {
    async fn bots_of_others_are_not_there(bed: Bed) {
        let stranger = bed.stranger("other@example.org").await;
        let id = bed.bot.as_str().to_owned();
        assert_eq!(refusal(bed.store.get_bot(stranger.clone(), id.clone()).await), "ResourceNotFound");
        assert_eq!(refusal(bed.store.update_bot(stranger.clone(), id.clone(), Change::default()).await), "ResourceNotFound");
        assert_eq!(refusal(bed.store.delete_bot(stranger.clone(), id.clone()).await), "ResourceNotFound");
        assert_eq!(refusal(bed.store.list_bot_keys(stranger.clone(), id.clone()).await), "ResourceNotFound");
        assert!(names(&bed, all(stranger.clone())).await.is_empty());
        let principal = Principal::Account(stranger.account);
        assert_eq!(refusal(bed.store.introspect(principal, id).await), "Forbidden");
    }
}

contract! {
    async fn a_key_is_its_bot_and_no_other(bed: Bed) {
        let store = &bed.store;
        let id = bed.bot.as_str().to_owned();
        let other = store.create_bot(bed.actor(), Change::default()).await.unwrap().stored.id;
        let key = store.create_bot_key(bed.actor(), id.clone(), "ci".into()).await.unwrap();
        let value = key.value.clone().unwrap();
        assert!(value.starts_with("bp_bak_") && key.id.starts_with("bak_"));
        let listed = store.list_bot_keys(bed.actor(), id.clone()).await.unwrap();
        assert_eq!(listed.iter().map(|k| (k.id.as_str(), k.note.as_str(), k.value.is_none())).collect::<Vec<_>>(), [(key.id.as_str(), "ci", true)]);
        let caller = store.caller(&value, Headers::default()).await.unwrap();
        assert_eq!(caller.identity.bot, bed.bot);
        let foreign = Headers { bot: Some(other.as_str()), ..Headers::default() };
        assert_eq!(refusal(store.caller(&value, foreign).await), "Forbidden");
        let principal = store.token(&value).await.unwrap().principal;
        assert_eq!(store.introspect(principal.clone(), id.clone()).await.unwrap().user_id, id);
        assert_eq!(refusal(store.introspect(principal, other.as_str().into()).await), "Forbidden");
        store.delete_bot_key(bed.actor(), key.id.clone()).await.unwrap();
        assert_eq!(refusal(store.caller(&value, Headers::default()).await), "Unauthorized");
        assert_eq!(refusal(store.delete_bot_key(bed.actor(), key.id).await), "ResourceNotFound");
    }
}

contract! {
    async fn a_blocked_bot_reads_only(bed: Bed) {
        let block = |blocked: bool| bed.store.update_bot(bed.actor(), bed.bot.as_str().into(), of(json!({ "blocked": blocked })));
        let headers = || Headers { bot: Some(bed.bot.as_str()), ..Headers::default() };
        assert!(bed.store.caller(&bed.token, headers()).await.unwrap().writes.is_ok());
        block(true).await.unwrap();
        assert!(bed.store.caller(&bed.token, headers()).await.unwrap().writes.is_err());
        block(false).await.unwrap();
        assert!(bed.store.caller(&bed.token, headers()).await.unwrap().writes.is_ok());
    }
}

/// The tables that have a column `bot_id`, with how many rows name this bot.
struct Traces(BotId);

impl Script for Traces {
    type Out = Vec<(&'static str, i64)>;
    async fn run(&self, tx: &mut Tx<'_>) -> duologue_store::Result<Self::Out> {
        let mut found = Vec::new();
        for table in [
            "tokens",
            "bot_code",
            "instances",
            "users",
            "conversations",
            "participants",
            "messages",
            "scheduled_messages",
            "entity_tags",
            "events",
            "outbox",
            "states",
            "workflows",
            "tasks",
            "analytics",
            "past_positions",
        ] {
            let sql = format!("SELECT COUNT(*) FROM {table} WHERE bot_id = ?1");
            let mut row = tx.query_opt(&sql, duologue_store::params![&self.0]).await?.unwrap();
            found.push((table, row.int()?));
        }
        Ok(found)
    }
}

/// Gives the bot one of each thing that a conversation isn't needed for.
async fn fill(bed: &Bed, conversation: &str) {
    let (who, empty) = (bed.who(), crate::json(json!({})));
    let key =
        states::Key { who: who.clone(), kind: StateType::Bot, scope: bed.bot.as_str().into(), name: "memory".into() };
    let set = states::Set { key, payload: Some(empty.clone()), expiry: states::Expiry::Keep, default_expiry: None };
    bed.store.write(set).await.unwrap();
    let new = workflows::NewWorkflow {
        name: "order".into(),
        status: WorkflowStatus::Listening,
        input: empty.clone(),
        parent: None,
        conversation: None,
        user: None,
        timeout_at: None,
        tags: tags(&[]),
        event: None,
    };
    bed.store.write(workflows::Create { who: who.clone(), new }).await.unwrap();
    let task = tasks::Create {
        who: who.clone(),
        title: String::new(),
        description: String::new(),
        kind: "call".into(),
        data: empty,
        parent: None,
        conversation: conversation.into(),
        user: None,
        timeout_at: None,
        tags: tags(&[]),
    };
    bed.store.write(task).await.unwrap();
    let event = duologue_store::events::Create {
        who: who.clone(),
        kind: "ping".into(),
        payload: crate::json(json!({})),
        schedule: None,
        links: Default::default(),
    };
    bed.store.write(event).await.unwrap();
    let counted = duologue_store::analytics::Track { who, name: "greeted".into(), count: 1 };
    bed.store.write(counted).await.unwrap();
}

contract! {
    async fn a_bot_goes_with_everything_it_has(bed: Bed) {
        let store = &bed.store;
        let id = bed.bot.as_str().to_owned();
        let new = json!({ "name": "slack", "version": "1.0.0" });
        let integration = store.create_integration(bed.actor(), of(new)).await.unwrap().head().id.clone();
        let change = json!({ "code": "x", "integrations": { integration.as_str(): {} } });
        store.update_bot(bed.actor(), id.clone(), of(change)).await.unwrap();
        store.create_bot_key(bed.actor(), id.clone(), "k".into()).await.unwrap();
        let (conversation, user) = (bed.conversation(&[("a", "b")]).await, bed.user(&[("c", "d")]).await);
        bed.say(&conversation, &user, "x").await;
        let mut later = crate::message(&conversation, &user, "later");
        later.schedule = Some(duologue_store::events::Schedule::Delay(3_600_000));
        store.write(duologue_store::messages::Create { who: bed.who(), new: later }).await.unwrap();
        fill(&bed, conversation.as_str()).await;
        let other = store.create_bot(bed.actor(), Change::default()).await.unwrap().stored.id;
        let before = store.read(&Traces(bed.bot.clone())).await.unwrap();
        for (table, rows) in &before {
            // Only a scan under way fills this one.
            assert!(*rows > 0 || *table == "past_positions", "the case leaves {table} empty");
        }
        store.delete_bot(bed.actor(), id.clone()).await.unwrap();
        for (table, rows) in store.read(&Traces(bed.bot.clone())).await.unwrap() {
            assert_eq!(rows, 0, "{table}");
        }
        assert_eq!(refusal(store.get_bot(bed.actor(), id.clone()).await), "ResourceNotFound");
        assert_eq!(refusal(store.delete_bot(bed.actor(), id).await), "ResourceNotFound");
        store.get_bot(bed.actor(), other.as_str().into()).await.unwrap();
        store.delete_integration(bed.actor(), integration).await.unwrap();
    }
}

contract! {
    async fn a_version_is_the_bot_as_it_was(bed: Bed) {
        let schema = json!({ "type": "object" });
        let id = bed.bot.to_string();
        let update = |change: serde_json::Value| bed.store.update_bot(bed.actor(), id.clone(), of(change));
        update(json!({ "code": "first", "states": { "old": { "type": "user", "schema": schema } }, "secrets": { "KEY": "hush" } })).await.unwrap();
        let version = bed.store.create_bot_version(bed.actor(), id.clone(), "v1".into(), None).await.unwrap();
        update(json!({ "code": "second", "states": { "old": null, "new": { "type": "user", "schema": schema } } })).await.unwrap();
        let newer = bed.store.create_bot_version(bed.actor(), id.clone(), "v2".into(), None).await.unwrap();
        let listed = bed.store.list_bot_versions(bed.actor(), id.clone()).await.unwrap();
        assert_eq!(listed, [newer, version.clone()], "newest first");
        let link = bed.store.link_bot_version(bed.actor(), id.clone(), version.id.clone()).await.unwrap();
        let (of_version, ticket) = link.split_once('/').unwrap();
        let content = bed.store.linked_bot_version(of_version.into(), ticket).await.unwrap();
        assert!(content.text().contains("first") && !content.text().contains("hush"));
        assert_eq!(refusal(bed.store.linked_bot_version(of_version.into(), "0.AAAA").await), "ResourceNotFound");
        let back = bed.store.bot_version_change(bed.actor(), id.clone(), version.id.clone()).await.unwrap();
        bed.store.update_bot(bed.actor(), id.clone(), back).await.unwrap();
        let after = view(&bed.store.get_bot(bed.actor(), id.clone()).await.unwrap());
        assert_eq!(after["states"].as_object().unwrap().keys().collect::<Vec<_>>(), ["old"]);
        assert_eq!(after["secrets"], json!(["KEY"]));
        assert!(bed.store.bot_json(bed.actor(), id.clone()).await.unwrap().text().contains("first"));
        let stranger = bed.stranger("other@example.org").await;
        assert_eq!(refusal(bed.store.bot_version_change(stranger.clone(), id.clone(), version.id).await), "ResourceNotFound");
        assert_eq!(refusal(bed.store.bot_json(stranger, id).await), "ResourceNotFound");
    }
}

contract! {
    async fn an_instance_has_a_name_for_people(bed: Bed) {
        let new = of(json!({ "name": "crm", "version": "1.0.0" }));
        let integration = bed.store.create_integration(bed.actor(), new).await.unwrap().head().id.clone();
        let change = json!({ "integrations": { integration.clone(): {} } });
        bed.store.update_bot(bed.actor(), bed.bot.to_string(), of(change)).await.unwrap();
        let target = || Target { actor: bed.actor(), bot: bed.bot.to_string(), integration: integration.clone(), alias: None };
        assert_eq!(refusal(bed.store.shareable_id(target()).await), "ResourceNotFound");
        let first = bed.store.create_shareable_id(target()).await.unwrap();
        let second = bed.store.create_shareable_id(Target { alias: Some("crm".into()), ..target() }).await.unwrap();
        assert_ne!(first, second);
        let found = bed.store.shareable_id(target()).await.unwrap();
        assert_eq!((found.shareable_id, found.is_expired), (second, false));
        bed.store.delete_shareable_id(target()).await.unwrap();
        assert_eq!(refusal(bed.store.delete_shareable_id(target()).await), "ResourceNotFound");
        let missing = Target { alias: Some("other".into()), ..target() };
        assert_eq!(refusal(bed.store.create_shareable_id(missing).await), "ResourceNotFound");
    }
}

contract! {
    async fn calls_are_signed_if_the_bot_asks_for_it(bed: Bed) {
        let (store, id) = (&bed.store, bed.bot.to_string());
        let secret = || async { store.get_bot(bed.actor(), id.clone()).await.unwrap().stored.signing_secret };
        let signing = || async { store.bot_code(&bed.bot).await.unwrap().unwrap().signing.clone() };
        let version = store.create_bot_version(bed.actor(), id.clone(), "v1".into(), None).await.unwrap();
        assert_eq!(signing().await, None);
        let update = |change: Value| store.update_bot(bed.actor(), id.clone(), of(change));
        let bot = update(json!({ "authentication": "hmac-sha256" })).await.unwrap();
        assert_eq!(view(&bot)["authentication"], "hmac-sha256");
        let first = secret().await;
        assert_eq!(signing().await.map(|signing| (signing.secret, signing.previous)), Some((first.clone(), None)));

        let before = store.now();
        let second = store.rotate_signing_secret(bed.actor(), id.clone(), Signer::Bot).await.unwrap();
        assert_eq!(secret().await, second);
        let now = signing().await.unwrap();
        assert!(!format!("{now:?}").contains(&second));
        let (old, until) = now.previous.unwrap();
        assert_eq!((now.secret, old), (second, first));
        assert!((before.millis()..before.millis() + 60_000).contains(&(until.millis() - 24 * 3_600_000)), "{until}");

        // It is the bot's, not its version's.
        let back = store.bot_version_change(bed.actor(), id.clone(), version.id).await.unwrap();
        store.update_bot(bed.actor(), id.clone(), back).await.unwrap();
        assert!(signing().await.is_some());
        let json = store.bot_json(bed.actor(), id.clone()).await.unwrap();
        assert!(!json.text().contains("authentication"));
        update(json!({ "authentication": null })).await.unwrap();
        assert_eq!(signing().await, None);
        assert!(serde_json::from_value::<Change>(json!({ "authentication": "md5" })).is_err());
    }
}
