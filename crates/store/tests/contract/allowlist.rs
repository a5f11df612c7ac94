//! Bots that only some members of a workspace may use.

use duologue_model::{ErrorKind, admin::Role};
use duologue_store::{
    access::{Headers, Principal},
    bots::{List, allowlist::Setting},
    page::{PageRequest, Sort},
    workspaces::Actor,
};
use serde_json::{Value, json};

use crate::{Bed, contract, of, refusal};

async fn update(bed: &Bed, actor: &Actor, change: Value) -> duologue_store::Result<()> {
    bed.store.update_bot_allowlist(actor.clone(), bed.bot.to_string(), of(change)).await
}

async fn listed(bed: &Bed) -> (Setting, Vec<String>) {
    let list = bed.store.bot_allowlist(bed.actor(), bed.bot.to_string()).await.unwrap();
    (list.setting, list.users.into_iter().map(|user| user.id).collect())
}

/// Whether somebody sees the bot, in a list as by its id, over the admin API as over the runtime's.
async fn sees(bed: &Bed, actor: &Actor) -> bool {
    let list = List {
        actor: actor.clone(),
        dev: false,
        tags: Vec::new(),
        integrations: Vec::new(),
        plugins: Vec::new(),
        sort: Sort::default(),
        page: PageRequest::default(),
    };
    let (store, bot) = (&bed.store, bed.bot.to_string());
    let token = store.create_pat(actor.account.clone(), String::new()).await.unwrap().value.unwrap();
    let headers = Headers { bot: Some(&bot), ..Headers::default() };
    let answers = [
        store.list_bots(list).await.unwrap().items.iter().any(|one| one.id == bed.bot),
        store.get_bot(actor.clone(), bot.clone()).await.is_ok(),
        store.bot_allowlist(actor.clone(), bot.clone()).await.is_ok(),
        store.list_bot_keys(actor.clone(), bot.clone()).await.is_ok(),
        store.introspect(Principal::Account(actor.account.clone()), bot.clone()).await.is_ok(),
        store.caller(&token, headers).await.is_ok(),
    ];
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    answers[0]
}

contract! {
    async fn a_restricted_bot_is_for_those_listed_and_administrators(bed: Bed) {
        let administrator = bed.member("admin@example.org", Role::Administrator).await;
        let manager = bed.member("manager@example.org", Role::Manager).await;
        let developer = bed.member("developer@example.org", Role::Developer).await;
        assert_eq!(listed(&bed).await, (Setting::AllWorkspaceUsers, vec![]));
        assert!(sees(&bed, &developer).await);

        let change = json!({ "setting": "SELECTED_USERS", "users": { developer.account.clone(): true } });
        assert_eq!(refusal(update(&bed, &developer, change.clone()).await), "Forbidden");
        update(&bed, &manager, change).await.unwrap();
        assert_eq!(listed(&bed).await, (Setting::SelectedUsers, vec![developer.account.clone()]));
        for (actor, expected) in [(bed.actor(), true), (administrator, true), (manager.clone(), false), (developer.clone(), true)] {
            assert_eq!(sees(&bed, &actor).await, expected, "{actor:?}");
        }
        // To whoever isn't listed, it isn't there.
        let missing = bed.store.update_bot(manager.clone(), bed.bot.to_string(), of(json!({ "name": "x" }))).await;
        assert_eq!(refusal(missing), "ResourceNotFound");
        assert_eq!(refusal(update(&bed, &manager, json!({ "setting": "ALL_WORKSPACE_USERS" })).await), "ResourceNotFound");

        update(&bed, &bed.actor(), json!({ "users": { manager.account.clone(): true, developer.account.clone(): false } })).await.unwrap();
        assert_eq!(listed(&bed).await, (Setting::SelectedUsers, vec![manager.account.clone()]));
        assert!(sees(&bed, &manager).await && !sees(&bed, &developer).await);
        update(&bed, &manager, json!({ "setting": "ALL_WORKSPACE_USERS" })).await.unwrap();
        assert!(sees(&bed, &developer).await, "the list stays, and doesn't matter");
        assert_eq!(listed(&bed).await, (Setting::AllWorkspaceUsers, vec![manager.account]));
    }
}

contract! {
    async fn only_members_are_listed(bed: Bed) {
        let stranger = bed.stranger("other@example.org").await.account;
        assert_eq!(refusal(update(&bed, &bed.actor(), json!({ "users": { stranger.clone(): true } })).await), "ReferenceNotFound");
        update(&bed, &bed.actor(), json!({ "users": { stranger: false } })).await.unwrap();
        assert_eq!(listed(&bed).await, (Setting::AllWorkspaceUsers, vec![]));
        let many: Value = (0..501).map(|n| (format!("a{n}"), Value::Bool(true))).collect::<serde_json::Map<_, _>>().into();
        assert_eq!(refusal(update(&bed, &bed.actor(), json!({ "users": many })).await), "InvalidPayload");

        let developer = bed.member("developer@example.org", Role::Developer).await;
        let users = json!({ developer.account.clone(): true });
        update(&bed, &bed.actor(), json!({ "setting": "SELECTED_USERS", "users": users })).await.unwrap();
        let member = bed.store.get_own_member(developer.clone()).await.unwrap();
        bed.store.delete_member(bed.actor(), member.id).await.unwrap();
        assert_eq!(listed(&bed).await, (Setting::SelectedUsers, vec![]), "who left is off the list");
        bed.member("developer@example.org", Role::Developer).await;
        assert!(!sees(&bed, &developer).await, "who comes back isn't on it again");
    }
}

contract! {
    async fn keys_and_secrets_of_a_restricted_bot_are_out_of_reach(bed: Bed) {
        use duologue_store::bots::shareable::Signer;
        let manager = bed.member("manager@example.org", Role::Manager).await;
        let bot = bed.bot.to_string();
        let key = bed.store.create_bot_key(manager.clone(), bot.clone(), String::new()).await.unwrap();
        update(&bed, &bed.actor(), json!({ "setting": "SELECTED_USERS" })).await.unwrap();
        let delete = bed.store.delete_bot_key(manager.clone(), key.id.clone()).await;
        assert_eq!(refusal(delete), "ResourceNotFound");
        assert_eq!(refusal(bed.store.delete_bot_key(manager.clone(), "bak_none".into()).await), "ResourceNotFound");
        assert_eq!(refusal(bed.store.rotate_signing_secret(manager.clone(), bot.clone(), Signer::Bot).await), "ResourceNotFound");
        assert_eq!(refusal(bed.store.create_bot_key(manager.clone(), bot.clone(), String::new()).await), "ResourceNotFound");
        assert_eq!(refusal(bed.store.delete_bot(manager.clone(), bot.clone()).await), "ResourceNotFound");
        let headers = Headers { bot: Some(&bot), ..Headers::default() };
        let token = bed.store.create_pat(manager.account, String::new()).await.unwrap().value.unwrap();
        let refused = bed.store.caller(&token, headers).await.unwrap_err();
        assert_eq!(refused.refused().unwrap().kind, ErrorKind::Forbidden);
        bed.store.caller(&key.value.unwrap(), headers).await.unwrap();
        bed.store.delete_bot_key(bed.actor(), key.id).await.unwrap();
    }
}
