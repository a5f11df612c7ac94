//! Integrations: their versions, who may see them, what breaks, their keys, and their end.

use duologue_model::admin::Role;
use duologue_store::{
    access::{Headers, Principal},
    integrations::{Asset, Integration, List, Order, Visibility},
    page::PageRequest,
    workspaces::Actor,
};
use serde_json::{Value, json};

use crate::{Bed, contract, of, refusal};

async fn make(bed: &Bed, actor: &Actor, name: &str, version: &str, more: Value) -> Integration {
    bed.store.create_integration(actor.clone(), new(name, version, more)).await.unwrap()
}

/// A definition with this name and version.
fn new<T: serde::de::DeserializeOwned>(name: &str, version: &str, more: Value) -> T {
    let mut fields = json!({ "name": name, "version": version });
    fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    of(fields)
}

fn id(integration: &Integration) -> String {
    integration.head().id.clone()
}

fn view(integration: &Integration) -> Value {
    serde_json::to_value(integration.view("https://x")).unwrap()
}

fn own(bed: &Bed) -> List {
    List { actor: Some(bed.actor()), ..List::default() }
}

/// Names and versions of a list.
async fn listed(bed: &Bed, list: List) -> Vec<String> {
    let page = bed.store.list_integrations(list).await.unwrap();
    let shown = page.items.iter().map(|item| serde_json::to_value(item.view("https://x")).unwrap());
    shown.map(|item| format!("{} {}", item["name"].as_str().unwrap(), item["version"].as_str().unwrap())).collect()
}

async fn install(bed: &Bed, actor: &Actor, bot: &str, integration: &str) {
    let change = json!({ "integrations": { integration: { "enabled": true } } });
    bed.store.update_bot(actor.clone(), bot.into(), of(change)).await.unwrap();
}

contract! {
    async fn versions_are_exact_latest_or_ranges(bed: Bed) {
        for version in ["1.0.0", "1.10.0", "1.9.0", "0.3.1", "2.0.0-beta.1"] {
            make(&bed, &bed.actor(), "test/crm", version, json!({})).await;
        }
        make(&bed, &bed.actor(), "test/crm", "9.0.0", json!({ "dev": true })).await;
        let found = |version: &str| {
            let version = version.to_owned();
            async { bed.store.get_integration_by_name(bed.actor(), "test/crm".into(), version).await }
        };
        for (wanted, version) in [
            ("1.0.0", "1.0.0"),
            ("latest", "1.10.0"),
            ("^1", "1.10.0"),
            ("~1.9", "1.9.0"),
            (">=1.0.0 <1.10.0", "1.9.0"),
            ("0.3.x", "0.3.1"),
            ("0.1.0 - 1.5.0", "1.0.0"),
            ("^7 || ^0.3", "0.3.1"),
            ("2.0.0-beta.1", "2.0.0-beta.1"),
        ] {
            assert_eq!(found(wanted).await.unwrap().head().version, version, "{wanted}");
        }
        for missing in ["1.0.1", "^3", "9.0.0", "nonsense"] {
            assert_eq!(refusal(found(missing).await), "ResourceNotFound", "{missing}");
        }
    }
}

contract! {
    async fn a_name_and_version_are_taken_once(bed: Bed) {
        make(&bed, &bed.actor(), "crm", "1.0.0", json!({})).await;
        let create = |name: &str, version: &str, more: Value| bed.store.create_integration(bed.actor(), new(name, version, more));
        assert_eq!(refusal(create("crm", "1.0.0", json!({})).await), "AlreadyExists");
        create("crm", "1.0.0", json!({ "dev": true })).await.unwrap();
        for (name, version) in [("Crm", "1.0.0"), ("a/b/c", "1.0.0"), ("crm", "one"), ("crm", "1.0"), ("", "1.0.0")] {
            assert_eq!(refusal(create(name, version, json!({})).await), "InvalidPayload", "{name} {version}");
        }
        let stranger = bed.stranger("other@example.org").await;
        make(&bed, &stranger, "crm", "1.0.0", json!({})).await;
        let foreign = bed.store.create_integration(stranger, new("test/crm", "1.0.0", json!({}))).await;
        assert_eq!(refusal(foreign), "InvalidPayload", "a handle belongs to its workspace");
    }
}

contract! {
    async fn two_who_release_a_version_at_once_do_not_both_do_it(bed: Bed) {
        let releases: Vec<_> = (0..4)
            .map(|_| {
                let (store, actor) = (bed.store.clone(), bed.actor());
                tokio::spawn(async move { store.create_integration(actor, new("crm", "1.0.0", json!({}))).await })
            })
            .collect();
        let mut made = 0;
        for release in releases {
            match release.await.unwrap() {
                Ok(_) => made += 1,
                lost => assert_eq!(refusal(lost), "AlreadyExists"),
            }
        }
        assert_eq!(made, 1);
    }
}

contract! {
    async fn a_change_is_a_patch_and_secrets_stay_hidden(bed: Bed) {
        let schema = json!({ "type": "object" });
        let channel = json!({ "messages": { "text": { "schema": schema } }, "conversation": { "tags": { "id": {} } } });
        let fields = json!({
            "title": "Title",
            "secrets": { "API_KEY": "hidden" },
            "channels": { "dm": channel, "group": { "messages": {} } },
            "actions": { "greet": { "input": { "schema": schema }, "output": { "schema": schema } } },
        });
        let made = make(&bed, &bed.actor(), "crm", "1.0.0", fields).await;
        assert!(view(&made)["signingSecret"].as_str().unwrap().len() >= 32);
        let change = json!({
            "title": "Other",
            "channels": { "group": null, "dm": { "messages": { "image": { "schema": schema } } } },
            "unknown": 1,
        });
        let after = bed.store.update_integration(bed.actor(), id(&made), of(change), false).await.unwrap();
        let shown = view(&after);
        assert_eq!((&shown["title"], &shown["signingSecret"], &shown["secrets"]), (&json!("Other"), &json!(""), &json!(["API_KEY"])));
        assert!(!shown.to_string().contains("hidden"));
        let messages = shown["channels"]["dm"]["messages"].as_object().unwrap();
        assert_eq!(messages.keys().collect::<Vec<_>>(), ["image", "text"]);
        assert_eq!(shown["channels"]["dm"]["conversation"]["tags"], json!({ "id": {} }));
        assert!(shown["channels"].get("group").is_none() && shown["actions"].get("greet").is_some());
        let next = make(&bed, &bed.actor(), "crm", "1.1.0", json!({})).await;
        assert_eq!(view(&next)["secrets"], json!(["API_KEY"]), "a new version inherits them");
    }
}

contract! {
    async fn validation_has_no_effect(bed: Bed) {
        let store = &bed.store;
        store.validate_integration_creation(bed.actor(), new("crm", "1.0.0", json!({}))).await.unwrap();
        assert!(listed(&bed, own(&bed)).await.is_empty());
        let made = make(&bed, &bed.actor(), "crm", "1.0.0", json!({ "title": "Title" })).await;
        let taken = store.validate_integration_creation(bed.actor(), new("crm", "1.0.0", json!({}))).await;
        assert_eq!(refusal(taken), "AlreadyExists");
        store.validate_integration_update(bed.actor(), id(&made), of(json!({ "title": "Other" })), false).await.unwrap();
        let read = store.get_integration(bed.actor(), id(&made)).await.unwrap();
        assert_eq!((view(&read)["title"].as_str(), read.head().updated_at), (Some("Title"), made.head().updated_at));
        let missing = store.validate_integration_update(bed.actor(), bed.bot.as_str().into(), of(json!({})), false).await;
        assert_eq!(refusal(missing), "ResourceNotFound");
    }
}

contract! {
    async fn visibility_decides_who_finds_it(bed: Bed) {
        let store = &bed.store;
        let stranger = bed.stranger("other@example.org").await;
        let bot = store.create_bot(stranger.clone(), Default::default()).await.unwrap().stored.id;
        for (name, visibility) in [("seen", "public"), ("known", "unlisted"), ("own", "private")] {
            make(&bed, &bed.actor(), name, "1.0.0", json!({ "visibility": visibility })).await;
        }
        let dev = make(&bed, &bed.actor(), "seen", "1.1.0", json!({ "visibility": "public", "dev": true })).await;
        assert_eq!(listed(&bed, List::default()).await, ["seen 1.0.0"], "the hub lists public releases");
        assert!(listed(&bed, List { actor: Some(stranger.clone()), ..List::default() }).await.is_empty());
        for (name, is_found) in [("seen", true), ("known", true), ("own", false)] {
            let private = store.get_integration_by_name(bed.actor(), name.into(), "latest".into()).await.unwrap();
            let public = store.get_public_integration_by_name(name.into(), "^1".into()).await;
            assert_eq!(public.is_ok(), is_found, "{name} by name");
            assert_eq!(store.get_public_integration(id(&private)).await.is_ok(), is_found, "{name} by id");
            let foreign = store.get_integration(stranger.clone(), id(&private)).await;
            assert_eq!(refusal(foreign), "ResourceNotFound");
            let change = json!({ "integrations": { id(&private): {} } });
            let installed = store.update_bot(stranger.clone(), bot.as_str().into(), of(change)).await;
            assert_eq!(installed.is_ok(), is_found, "{name} installed elsewhere");
        }
        assert_eq!(refusal(store.get_public_integration(id(&dev)).await), "ResourceNotFound");
        let hub = store.get_public_integration_by_name("seen".into(), "1.0.0".into()).await.unwrap();
        assert_eq!(view(&hub)["ownerWorkspace"], json!({ "id": bed.workspace, "handle": "test", "name": "Test" }));
        assert_eq!(view(&hub)["meta"], json!({ "installs": 1, "views": 0 }));
        assert_eq!(refusal(store.update_integration(stranger.clone(), id(&hub), of(json!({})), false).await), "ResourceNotFound");
        assert_eq!(refusal(store.delete_integration(stranger, id(&hub)).await), "ResourceNotFound");
    }
}

contract! {
    async fn integrations_are_listed_by_what_they_are(bed: Bed) {
        let schema = json!({ "type": "object" });
        let greet = json!({ "greetAll": { "input": { "schema": schema }, "output": { "schema": schema } } });
        make(&bed, &bed.actor(), "b", "1.0.0", json!({ "title": "Über uns" })).await;
        make(&bed, &bed.actor(), "b", "1.1.0", json!({ "visibility": "public" })).await;
        make(&bed, &bed.actor(), "a", "2.0.0", json!({ "actions": greet })).await;
        // Its id has another prefix: within a millisecond it would not be the last.
        bed.pass(2).await;
        make(&bed, &bed.actor(), "b", "1.2.0", json!({ "dev": true })).await;
        let installed = bed.store.get_integration_by_name(bed.actor(), "b".into(), "1.0.0".into()).await.unwrap();
        install(&bed, &bed.actor(), bed.bot.as_str(), &id(&installed)).await;
        let text = |value: &str| Some(value.to_owned());
        for (list, expected) in [
            (own(&bed), vec!["b 1.2.0", "a 2.0.0", "b 1.1.0", "b 1.0.0"]),
            (List { dev: Some(true), ..own(&bed) }, vec!["b 1.2.0"]),
            (List { dev: Some(false), name: text("b"), ..own(&bed) }, vec!["b 1.1.0", "b 1.0.0"]),
            (List { version: text("latest"), ..own(&bed) }, vec!["a 2.0.0", "b 1.1.0"]),
            (List { version: text("^1.0"), ..own(&bed) }, vec!["b 1.1.0"]),
            (List { version: text("1.0.0"), ..own(&bed) }, vec!["b 1.0.0"]),
            (List { visibility: Some(Visibility::Public), ..own(&bed) }, vec!["b 1.1.0"]),
            (List { installed_by: text(bed.bot.as_str()), ..own(&bed) }, vec!["b 1.0.0"]),
            (List { search: text("ÜBER"), ..own(&bed) }, vec!["b 1.0.0"]),
            (List { search: text("greetall"), ..own(&bed) }, vec!["a 2.0.0"]),
            (List { search: text("nothing"), ..own(&bed) }, vec![]),
            (List { interface: text("hitl"), ..own(&bed) }, vec![]),
            (List { order: Order::Name, dev: Some(false), ..own(&bed) }, vec!["a 2.0.0", "b 1.0.0", "b 1.1.0"]),
            (List { order: Order::Installs, name: text("b"), dev: Some(false), ..own(&bed) }, vec!["b 1.0.0", "b 1.1.0"]),
            (List { ascending: Some(true), dev: Some(false), ..own(&bed) }, vec!["b 1.0.0", "b 1.1.0", "a 2.0.0"]),
        ] {
            assert_eq!(listed(&bed, list.clone()).await, expected, "{list:?}");
        }
    }
}

contract! {
    async fn every_order_of_the_list_pages_completely(bed: Bed) {
        for number in 0..7 {
            make(&bed, &bed.actor(), &format!("i{}", number % 3), &format!("1.0.{number}"), json!({})).await;
        }
        for order in [Order::CreatedAt, Order::UpdatedAt, Order::Name, Order::Installs] {
            for ascending in [true, false] {
                let whole = List { order, ascending: Some(ascending), ..own(&bed) };
                let expected = listed(&bed, whole.clone()).await;
                let (mut after, mut found) = (None, Vec::new());
                loop {
                    let page = PageRequest { size: duologue_model::PageSize::new(2), after };
                    let list = List { page, ..whole.clone() };
                    found.extend(listed(&bed, list.clone()).await);
                    after = bed.store.list_integrations(list).await.unwrap().next;
                    if after.is_none() {
                        break;
                    }
                }
                assert_eq!((found.len(), &found), (7, &expected), "{order:?} {ascending}");
            }
        }
    }
}

contract! {
    async fn what_bots_use_is_not_broken(bed: Bed) {
        let store = &bed.store;
        let schema = json!({ "type": "object" });
        let events = json!({ "visibility": "public", "events": { "happened": { "schema": schema } } });
        let made = make(&bed, &bed.actor(), "crm", "1.0.0", events).await;
        let remove = || of(json!({ "events": { "happened": null } }));
        store.validate_integration_update(bed.actor(), id(&made), remove(), false).await.unwrap();
        install(&bed, &bed.actor(), bed.bot.as_str(), &id(&made)).await;
        let broken = store.update_integration(bed.actor(), id(&made), remove(), false).await;
        assert_eq!(refusal(broken), "BreakingChanges");
        let read = store.get_integration(bed.actor(), id(&made)).await.unwrap();
        assert!(view(&read)["events"].get("happened").is_some());
        let more = of(json!({ "events": { "more": { "schema": schema } } }));
        store.update_integration(bed.actor(), id(&made), more, false).await.unwrap();
        store.update_integration(bed.actor(), id(&made), remove(), true).await.unwrap();
    }
}

contract! {
    async fn an_icon_is_shared_and_a_readme_is_not(bed: Bed) {
        let one = make(&bed, &bed.actor(), "crm", "1.0.0", json!({ "icon": "PGE+", "readme": "MQ==" })).await;
        let two = make(&bed, &bed.actor(), "crm", "2.0.0", json!({ "icon": "PGI+" })).await;
        let asset = |integration: &Integration, asset| bed.store.integration_asset(id(integration), asset);
        for integration in [&one, &two] {
            assert_eq!(asset(integration, Asset::Icon).await.unwrap(), b"<b>");
        }
        assert_eq!(asset(&one, Asset::Readme).await.unwrap(), b"1");
        assert_eq!(refusal(asset(&two, Asset::Readme).await), "ResourceNotFound");
        assert_eq!(view(&two)["readmeUrl"], json!(""));
        assert_eq!(view(&one)["iconUrl"], json!(format!("https://x/v1/assets/integrations/{}/icon", id(&one))));
    }
}

contract! {
    async fn an_integration_key_works_where_it_is_installed(bed: Bed) {
        let store = &bed.store;
        let made = make(&bed, &bed.actor(), "crm", "1.0.0", json!({})).await;
        let key = store.create_integration_key(bed.actor(), id(&made), "n".into()).await.unwrap();
        let value = key.value.clone().unwrap();
        assert!(value.starts_with("bp_iak_") && key.id.starts_with("iak_"));
        assert!(matches!(store.token(&value).await.unwrap().principal, Principal::Integration(of) if of == id(&made)));
        let bot = || Headers { bot: Some(bed.bot.as_str()), ..Headers::default() };
        assert_eq!(refusal(store.caller(&value, bot()).await), "Forbidden");
        install(&bed, &bed.actor(), bed.bot.as_str(), &id(&made)).await;
        let caller = store.caller(&value, bot()).await.unwrap();
        assert_eq!(caller.identity.view.owner(), "crm");
        let principal = Principal::Integration(id(&made));
        assert_eq!(refusal(store.introspect(principal, bed.bot.as_str().into()).await), "Forbidden");
        let listed = store.list_integration_keys(bed.actor(), id(&made)).await.unwrap();
        assert_eq!((listed.len(), &listed[0].id, &listed[0].value), (1, &key.id, &None));
        let developer = bed.member("developer@example.org", Role::Developer).await;
        assert_eq!(refusal(store.delete_integration_key(developer, key.id.clone()).await), "Forbidden");
        store.delete_integration_key(bed.actor(), key.id).await.unwrap();
        assert_eq!(refusal(store.caller(&value, bot()).await), "Unauthorized");
    }
}

contract! {
    async fn an_installed_version_stays_until_it_is_removed(bed: Bed) {
        let store = &bed.store;
        let one = make(&bed, &bed.actor(), "crm", "1.0.0", json!({})).await;
        let two = make(&bed, &bed.actor(), "crm", "2.0.0", json!({})).await;
        let key = store.create_integration_key(bed.actor(), id(&one), "n".into()).await.unwrap();
        install(&bed, &bed.actor(), bed.bot.as_str(), &id(&one)).await;
        assert_eq!(refusal(store.delete_integration(bed.actor(), id(&one)).await), "ReferenceConstraint");
        let before = store.get_bot(bed.actor(), bed.bot.as_str().into()).await.unwrap().instances;
        install(&bed, &bed.actor(), bed.bot.as_str(), &id(&two)).await;
        let after = store.get_bot(bed.actor(), bed.bot.as_str().into()).await.unwrap().instances;
        assert_eq!(after.len(), 1, "the new version takes the old one's place");
        assert_eq!((&after[0].alias, &after[0].webhook_id), (&before[0].alias, &before[0].webhook_id));
        store.delete_integration(bed.actor(), id(&one)).await.unwrap();
        assert_eq!(refusal(store.token(&key.value.unwrap()).await), "Unauthorized");
        assert_eq!(refusal(store.get_integration(bed.actor(), id(&one)).await), "ResourceNotFound");
        assert_eq!(listed(&bed, own(&bed)).await, ["crm 2.0.0"]);
    }
}

contract! {
    async fn a_developers_integration_is_for_developers_bots(bed: Bed) {
        let store = &bed.store;
        let made = make(&bed, &bed.actor(), "crm", "1.0.0", json!({ "dev": true })).await;
        assert!(id(&made).starts_with("devint_"));
        let change = json!({ "integrations": { id(&made): {} } });
        let refused = store.update_bot(bed.actor(), bed.bot.as_str().into(), of(change)).await;
        assert_eq!(refusal(refused), "InvalidPayload");
        let bot = store.create_bot(bed.actor(), of(json!({ "dev": true }))).await.unwrap().stored.id;
        install(&bed, &bed.actor(), bot.as_str(), &id(&made)).await;
        store.delete_integration(bed.actor(), id(&made)).await.unwrap();
        assert!(store.get_bot(bed.actor(), bot.as_str().into()).await.unwrap().instances.is_empty());
    }
}
