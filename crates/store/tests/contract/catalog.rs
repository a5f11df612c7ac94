//! Interfaces and plugins: versions, visibility, what integrations implement, and what plugins add to
//! bots.

use duologue_model::StateType;
use duologue_store::{
    bots::Bot,
    catalog::{
        List, Which,
        interfaces::{self, Interface},
        plugins::{self, Platform, Plugin},
    },
    states,
    workspaces::Actor,
};
use serde_json::{Value, json};

use crate::{Bed, contract, of, refusal};

fn reference(entity: &str) -> Value {
    json!({ "type": "object", "properties": { "item": { "$ref": format!("interface:store/entities/{entity}") } } })
}

async fn interface(bed: &Bed, version: &str, public: bool) -> Interface {
    let schema = json!({ "type": "object", "properties": { "id": { "type": "string" } } });
    let new = json!({
        "name": "creatable", "version": version, "public": public,
        "entities": { "item": { "schema": schema } },
        "events": { "created": { "schema": { "type": "object", "properties": { "item": { "$ref": "item" } } } } },
    });
    bed.store.create_product::<interfaces::Definition>(bed.actor(), of(new)).await.unwrap()
}

fn item(color: &str) -> Value {
    json!({ "type": "object", "properties": { "id": { "type": "string" }, color: { "type": "string" } } })
}

/// An integration whose `thing` is the interface's `item`.
async fn integration(bed: &Bed, interface: &Interface) -> String {
    let new = json!({
        "name": "shop", "version": "1.0.0",
        "entities": { "thing": { "schema": item("color") } },
        "interfaces": { "creatable<thing>": {
            "id": interface.head().id, "entities": { "item": { "name": "thing", "schema": {} } },
            "events": { "created": { "name": "thingCreated" } }, "actions": {}, "channels": {}, "definition": { "junk": 1 },
        } },
    });
    bed.store.create_integration(bed.actor(), of(new)).await.unwrap().head().id.clone()
}

async fn plugin(bed: &Bed) -> Plugin {
    let new = json!({
        "name": "collector", "version": "0.1.0", "visibility": "public",
        "code": { "node": "module.exports = 1", "browser": "" },
        "dependencies": { "interfaces": { "store": { "name": "creatable", "version": "^1.0.0", "entities": {} } } },
        "configuration": { "schema": { "type": "object", "properties": { "limit": { "type": "number" } } } },
        "actions": { "collect": { "input": { "schema": reference("item") }, "output": { "schema": {} } } },
        "events": { "collected": { "schema": reference("other") } },
        "states": { "last": { "type": "bot", "schema": reference("item") } },
        "user": { "tags": { "collector": {} } },
    });
    bed.store.create_product::<plugins::Definition>(bed.actor(), of(new)).await.unwrap()
}

async fn install(bed: &Bed, plugins: Value) -> Bot {
    bed.store.update_bot(bed.actor(), bed.bot.to_string(), of(json!({ "plugins": plugins }))).await.unwrap()
}

fn shown(bot: &Bot) -> Value {
    serde_json::to_value(bot.view("https://x", "https://x", true)).unwrap()
}

contract! {
    async fn an_interface_has_versions_and_a_place_in_the_hub(bed: Bed) {
        let first = interface(&bed, "1.0.0", false).await;
        // Within a millisecond they would be in the order of their ids, which are random.
        bed.pass(1).await;
        let second = interface(&bed, "1.1.0", true).await;
        let view = serde_json::to_value(second.view("https://x")).unwrap();
        assert_eq!((&view["title"], &view["public"], &view["actions"]), (&json!("creatable"), &json!(true), &json!({})));
        assert_eq!(view["events"]["created"]["schema"]["properties"]["item"], json!({ "$ref": "item" }), "verbatim");
        assert_eq!(first.head().id.len(), 36, "a UUID");
        let own = |version: &str| bed.store.get_product(Some(bed.actor()), Which::Name("creatable".into(), version.into()));
        let found: Interface = own("latest").await.unwrap();
        assert_eq!(found.head().id, second.head().id);
        let found: Interface = own("<1.1.0").await.unwrap();
        assert_eq!(found.head().id, first.head().id);
        let hub = |which| bed.store.get_product::<interfaces::Definition>(None, which);
        assert_eq!(refusal(hub(Which::Id(first.head().id.clone())).await), "ResourceNotFound");
        assert_eq!(hub(Which::Name("creatable".into(), "1.x".into())).await.unwrap().head().version, "1.1.0");
        let list = |actor: Option<Actor>, version: Option<&str>| {
            let list = List { actor, version: version.map(str::to_owned), ..List::default() };
            async {
                let page = bed.store.list_products::<interfaces::Definition>(list).await.unwrap();
                page.items.iter().map(|item| item.head().version.clone()).collect::<Vec<_>>()
            }
        };
        assert_eq!(list(Some(bed.actor()), None).await, ["1.1.0", "1.0.0"]);
        assert_eq!(list(Some(bed.actor()), Some("1.0.0")).await, ["1.0.0"]);
        assert_eq!(list(None, None).await, ["1.1.0"]);
        let again = bed.store.create_product::<interfaces::Definition>(bed.actor(), of(json!({ "name": "creatable", "version": "1.0.0" }))).await;
        assert_eq!(refusal(again), "AlreadyExists");
        let stranger = bed.stranger("other@example.org").await;
        let foreign: Result<Interface, _> = bed.store.get_product(Some(stranger), Which::Id(second.head().id.clone())).await;
        assert_eq!(refusal(foreign), "ResourceNotFound");
    }
}

contract! {
    async fn an_interface_in_use_stays_as_it_is(bed: Bed) {
        let used = interface(&bed, "1.0.0", true).await;
        let id = used.head().id.clone();
        let shop = integration(&bed, &used).await;
        let entry = serde_json::to_value(bed.store.get_integration(bed.actor(), shop.clone()).await.unwrap().view("https://x")).unwrap()
            ["interfaces"]["creatable<thing>"].clone();
        assert_eq!(entry, json!({
            "id": id, "name": "creatable", "version": "1.0.0",
            "entities": { "item": { "name": "thing" } }, "actions": {}, "events": { "created": { "name": "thingCreated" } }, "channels": {},
        }));
        assert_eq!(refusal(bed.store.delete_product::<interfaces::Definition>(bed.actor(), id.clone()).await), "ReferenceConstraint");
        let change = || of(json!({ "entities": { "item": null } }));
        assert_eq!(refusal(bed.store.update_product::<interfaces::Definition>(bed.actor(), id.clone(), change(), false).await), "BreakingChanges");
        bed.store.update_product::<interfaces::Definition>(bed.actor(), id.clone(), of(json!({ "title": "Other" })), false).await.unwrap();
        bed.store.update_product::<interfaces::Definition>(bed.actor(), id.clone(), change(), true).await.unwrap();
        let unknown = json!({ "name": "bad", "version": "1.0.0", "interfaces": { "x": { "id": "00000000-0000-4000-8000-000000000000" } } });
        assert_eq!(refusal(bed.store.create_integration(bed.actor(), of(unknown)).await), "ReferenceNotFound");
        bed.store.update_integration(bed.actor(), shop, of(json!({ "interfaces": { "creatable<thing>": null } })), false).await.unwrap();
        bed.store.delete_product::<interfaces::Definition>(bed.actor(), id).await.unwrap();
    }
}

contract! {
    async fn a_plugin_becomes_part_of_its_bots(bed: Bed) {
        let creatable = interface(&bed, "1.2.0", true).await;
        let shop = integration(&bed, &creatable).await;
        let plugin = plugin(&bed).await;
        let needed = &plugin.definition().dependencies.interfaces["store"];
        assert_eq!((&needed.id, needed.version.as_str()), (&creatable.head().id, "1.2.0"));
        let id = plugin.head().id.clone();
        let backing = json!({ "store": { "integrationId": shop, "integrationAlias": "shop", "integrationInterfaceAlias": "creatable<thing>" } });
        let junk = json!({ "type": "bot", "implementation": [1, 2, 3] });
        let mut entry = json!({ "id": id, "configuration": { "limit": 1 }, "interfaces": backing });
        entry.as_object_mut().unwrap().extend(junk.as_object().unwrap().clone());
        let bot = install(&bed, json!({ "my-plugin": entry })).await;
        let view = shown(&bot);
        let resolved = &view["actions"]["my-plugin#collect"]["input"]["schema"]["properties"]["item"];
        assert_eq!(*resolved, item("color"), "what the integration means by the entity");
        assert_eq!(view["events"]["my-plugin#collected"]["schema"], reference("other"), "nobody knows it");
        assert!(view["user"]["tags"]["my-plugin#collector"].is_object());
        let installed = &view["plugins"]["my-plugin"];
        assert_eq!((&installed["enabled"], &installed["id"], &installed["name"]), (&json!(true), &json!(id), &json!("collector")));
        assert_eq!(installed["interfaces"]["store"]["interfaceId"], json!(creatable.head().id));
        // The CLI asks for derived keys to be removed at the next deploy; they stay.
        let change = json!({ "actions": { "my-plugin#collect": null, "own": { "input": { "schema": {} }, "output": { "schema": {} } } },
            "states": { "my-plugin#last": null }, "plugins": { "my-plugin": { "id": id } } });
        let after = bed.store.update_bot(bed.actor(), bed.bot.to_string(), of(change)).await.unwrap();
        assert_eq!(shown(&after)["actions"].as_object().unwrap().keys().collect::<Vec<_>>(), ["my-plugin#collect", "own"]);
        // Its states are held against their resolved schema.
        let key = states::Key { who: bed.who(), kind: StateType::Bot, scope: bed.bot.to_string(), name: "my-plugin#last".into() };
        let defined = bed.store.defined(&key).await.unwrap();
        defined.check(&crate::json(json!({ "item": { "id": "1" } }))).unwrap();
        assert!(defined.check(&crate::json(json!({ "item": { "id": 1 } }))).is_err());
        // Switched off or removed, it brings nothing.
        let off = install(&bed, json!({ "my-plugin": { "id": id, "enabled": false } })).await;
        assert_eq!(shown(&off)["actions"].as_object().unwrap().len(), 1);
        assert_eq!(shown(&off)["plugins"]["my-plugin"]["configuration"], json!({ "limit": 1 }), "the rest stays");
        assert_eq!(refusal(bed.store.delete_product::<plugins::Definition>(bed.actor(), id.clone()).await), "ReferenceConstraint");
        install(&bed, json!({ "my-plugin": null })).await;
        bed.store.delete_product::<plugins::Definition>(bed.actor(), id.clone()).await.unwrap();
        let bad = bed.store.update_bot(bed.actor(), bed.bot.to_string(), of(json!({ "plugins": { "p": { "id": id } } }))).await;
        assert_eq!(refusal(bad), "ReferenceNotFound");
    }
}

contract! {
    async fn a_plugins_code_is_for_those_who_may_see_it(bed: Bed) {
        let creatable = interface(&bed, "1.0.0", true).await;
        let shop = integration(&bed, &creatable).await;
        let plugin = plugin(&bed).await;
        let id = plugin.head().id.clone();
        assert!(!serde_json::to_string(&plugin.view("https://x")).unwrap().contains("module.exports"));
        let code = |actor| bed.store.plugin_code(actor, id.clone(), Platform::Node);
        assert_eq!(code(Some(bed.actor())).await.unwrap(), "module.exports = 1");
        assert_eq!(code(None).await.unwrap(), "module.exports = 1", "it is public");
        let change: plugins::Change = of(json!({ "visibility": "private", "code": { "node": "2" }, "states": { "last": null } }));
        bed.store.update_product::<plugins::Definition>(bed.actor(), id.clone(), change, false).await.unwrap();
        assert_eq!(refusal(code(None).await), "ResourceNotFound");
        assert_eq!(code(Some(bed.actor())).await.unwrap(), "2");
        let pairs = vec![("store".to_owned(), shop)];
        let resolved = bed.store.dereferenced_plugin(Some(bed.actor()), id.clone(), pairs).await.unwrap();
        let view = serde_json::to_value(resolved.view("https://x")).unwrap();
        assert_eq!(view["actions"]["collect"]["input"]["schema"]["properties"]["item"], item("color"));
        assert_eq!(view["states"], json!({}));
        let unknown = bed.store.dereferenced_plugin(Some(bed.actor()), id, vec![("x".into(), "y".into())]).await;
        assert_eq!(refusal(unknown), "InvalidPayload");
    }
}
