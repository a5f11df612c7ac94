//! Bots that move to another workspace.

use duologue_model::admin::Role;
use duologue_store::{
    access::Headers,
    integrations::{self, VerificationStatus},
    page::PageRequest,
    workspaces::Actor,
};
use serde_json::{Value, json};

use crate::{Bed, contract, of, refusal};

async fn transfer(bed: &Bed, actor: &Actor, target: &str) -> duologue_store::Result<()> {
    bed.store.transfer_bot(actor.clone(), bed.bot.to_string(), target.into()).await
}

/// Another workspace of the owner's.
async fn elsewhere(bed: &Bed) -> Actor {
    let made = bed.store.create_workspace(bed.owner.clone(), "Elsewhere".into()).await.unwrap();
    Actor { account: bed.owner.clone(), workspace: Some(made.id) }
}

contract! {
    async fn a_bot_moves_with_all_it_has(bed: Bed) {
        let there = elsewhere(&bed).await;
        let target = there.workspace.clone().unwrap();
        let conversation = bed.conversation(&[]).await;
        let key = bed.store.create_bot_key(bed.actor(), bed.bot.to_string(), "n".into()).await.unwrap().value.unwrap();
        let manager = bed.member("manager@example.org", Role::Manager).await;
        let users = json!({ bed.owner.clone(): true, manager.account: true });
        let change = of(json!({ "setting": "SELECTED_USERS", "users": users }));
        bed.store.update_bot_allowlist(bed.actor(), bed.bot.to_string(), change).await.unwrap();
        let before = bed.store.get_bot(bed.actor(), bed.bot.to_string()).await.unwrap().stored;

        transfer(&bed, &bed.actor(), &target).await.unwrap();
        assert_eq!(refusal(bed.store.get_bot(bed.actor(), bed.bot.to_string()).await), "ResourceNotFound");
        let after = bed.store.get_bot(there.clone(), bed.bot.to_string()).await.unwrap().stored;
        assert_eq!((after.workspace_id.as_str(), &after.name), (target.as_str(), &before.name));
        assert!(after.updated_at > before.updated_at);
        let headers = Headers { bot: Some(bed.bot.as_str()), ..Headers::default() };
        bed.store.caller(&key, headers).await.unwrap();
        bed.store.get_conversation(bed.who(), conversation.to_string()).await.unwrap();
        let list = bed.store.bot_allowlist(there, bed.bot.to_string()).await.unwrap();
        assert_eq!(list.users.len(), 1, "only members of the target stay listed");
    }
}

contract! {
    async fn rights_are_needed_on_both_sides(bed: Bed) {
        let there = elsewhere(&bed).await;
        let target = there.workspace.clone().unwrap();
        let developer = bed.member("developer@example.org", Role::Developer).await;
        let manager = bed.member("manager@example.org", Role::Manager).await;
        assert_eq!(refusal(transfer(&bed, &developer, &target).await), "Forbidden");
        assert_eq!(refusal(transfer(&bed, &manager, &target).await), "ReferenceNotFound", "no member there");
        assert_eq!(refusal(transfer(&bed, &bed.actor(), "00000000-0000-4000-8000-000000000000").await), "ReferenceNotFound");
        let member = bed.store.create_member(there.clone(), "manager@example.org".into(), Role::Viewer).await.unwrap();
        assert_eq!(refusal(transfer(&bed, &manager, &target).await), "Forbidden");
        bed.store.update_member(there.clone(), member.id, Some(Role::Developer)).await.unwrap();
        transfer(&bed, &manager, &bed.workspace).await.unwrap();
        assert!(bed.store.get_bot(bed.actor(), bed.bot.to_string()).await.is_ok(), "where it is already");
        transfer(&bed, &manager, &target).await.unwrap();
        assert!(bed.store.get_bot(there, bed.bot.to_string()).await.is_ok());
    }
}

contract! {
    async fn what_is_private_stays_behind(bed: Bed) {
        let target = elsewhere(&bed).await.workspace.unwrap();
        let new = json!({ "name": "own", "version": "1.0.0" });
        let integration = bed.store.create_integration(bed.actor(), of(new)).await.unwrap().head().id.clone();
        let install = of(json!({ "integrations": { integration.clone(): {} } }));
        bed.store.update_bot(bed.actor(), bed.bot.to_string(), install).await.unwrap();
        assert_eq!(refusal(transfer(&bed, &bed.actor(), &target).await), "RelationConflict");
        let public = of(json!({ "visibility": "unlisted" }));
        bed.store.update_integration(bed.actor(), integration, public, false).await.unwrap();
        transfer(&bed, &bed.actor(), &target).await.unwrap();
    }
}

contract! {
    async fn a_version_is_approved_when_that_is_asked_for(bed: Bed) {
        let make = |version: &str| of(json!({ "name": "own", "version": version }));
        let mut ids = Vec::new();
        for version in ["1.0.0", "2.0.0"] {
            ids.push(bed.store.create_integration(bed.actor(), make(version)).await.unwrap().head().id.clone());
        }
        let viewer = bed.member("viewer@example.org", Role::Viewer).await;
        let stranger = bed.stranger("other@example.org").await;
        assert_eq!(refusal(bed.store.approve_integration(viewer, ids[0].clone()).await), "Forbidden");
        assert_eq!(refusal(bed.store.approve_integration(stranger, ids[0].clone()).await), "ResourceNotFound");
        bed.store.approve_integration(bed.actor(), ids[0].clone()).await.unwrap();
        let change = of(json!({ "title": "Changed" }));
        let changed = bed.store.update_integration(bed.actor(), ids[0].clone(), change, false).await.unwrap();
        let shown: Value = serde_json::to_value(changed.view("https://x")).unwrap();
        assert_eq!(shown["verificationStatus"], "approved");
        use VerificationStatus::{Approved, Pending, Rejected, Unapproved};
        for (status, expected) in [(Approved, vec![&ids[0]]), (Unapproved, vec![&ids[1]]), (Pending, vec![]), (Rejected, vec![])] {
            let list = integrations::List {
                actor: Some(bed.actor()),
                verification_status: Some(status),
                page: PageRequest::default(),
                ..integrations::List::default()
            };
            let found = bed.store.list_integrations(list).await.unwrap().items;
            let found: Vec<Value> = found.iter().map(|item| serde_json::to_value(item.view("https://x")).unwrap()).collect();
            let ids: Vec<&str> = found.iter().map(|item| item["id"].as_str().unwrap()).collect();
            assert_eq!(ids, expected, "{status:?}");
        }
    }
}
