//! Accounts, their personal access tokens and their preferences.

use duologue_model::admin::Role;
use duologue_store::{access::Principal, account::Update};
use serde_json::json;

use crate::{contract, json, refusal};

contract! {
    async fn an_account_changes_what_is_given(bed: Bed) {
        let before = bed.store.get_account(bed.owner.clone()).await.unwrap();
        assert_eq!((before.email.as_str(), before.email_verified, &before.display_name), ("owner@localhost", true, &None));
        let update = |display_name: Option<&str>, picture: Option<&str>| Update {
            account: bed.owner.clone(),
            display_name: display_name.map(str::to_owned),
            profile_picture: picture.map(str::to_owned),
        };
        bed.store.update_account(update(Some("Ada"), None)).await.unwrap();
        let after = bed.store.update_account(update(None, Some("https://x/p.png"))).await.unwrap();
        assert_eq!(after.display_name.as_deref(), Some("Ada"));
        assert_eq!(after.profile_picture.as_deref(), Some("https://x/p.png"));
        assert_eq!(after.created_at, before.created_at);
        let long = update(Some(&"é".repeat(101)), None);
        assert_eq!(refusal(bed.store.update_account(long).await), "InvalidPayload");
        assert_eq!(refusal(bed.store.get_account("nobody".into()).await), "ResourceNotFound");
    }
}

contract! {
    async fn a_token_shows_its_value_once_and_dies_at_once(bed: Bed) {
        let made = bed.store.create_pat(bed.owner.clone(), "laptop".into()).await.unwrap();
        let value = made.value.clone().unwrap();
        assert!(value.starts_with("bp_pat_") && made.id.starts_with("pat_"), "{made:?}");
        let token = bed.store.token(&value).await.unwrap();
        assert_eq!(token.id, made.id);
        assert!(matches!(&token.principal, Principal::Account(id) if *id == bed.owner));
        let listed = bed.store.list_pats(bed.owner.clone()).await.unwrap();
        assert_eq!(listed[0].id, made.id, "newest first");
        assert!(listed.len() == 2 && listed.iter().all(|key| key.value.is_none()));
        bed.store.delete_pat(bed.owner.clone(), made.id.clone()).await.unwrap();
        assert_eq!(refusal(bed.store.token(&value).await), "Unauthorized");
        assert_eq!(refusal(bed.store.delete_pat(bed.owner.clone(), made.id).await), "ResourceNotFound");
        assert_eq!(refusal(bed.store.token(&value.to_uppercase()).await), "Unauthorized");
        bed.store.token(&bed.token).await.unwrap();
    }
}

contract! {
    async fn tokens_belong_to_their_account(bed: Bed) {
        let other = bed.member("ada@example.org", Role::Developer).await;
        assert!(bed.store.list_pats(other.account.clone()).await.unwrap().is_empty(), "an account by address has no token");
        let own = bed.store.list_pats(bed.owner.clone()).await.unwrap();
        assert_eq!(refusal(bed.store.delete_pat(other.account.clone(), own[0].id.clone()).await), "ResourceNotFound");
        let handed = bed.store.hand_out_pat(" Ada@Example.org ".into(), "first".into()).await.unwrap();
        let token = bed.store.token(&handed.value.unwrap()).await.unwrap();
        assert!(matches!(&token.principal, Principal::Account(id) if *id == other.account));
        assert_eq!(refusal(bed.store.hand_out_pat("nobody@example.org".into(), String::new()).await), "ResourceNotFound");
    }
}

contract! {
    async fn preferences_are_any_json_by_key(bed: Bed) {
        let (store, owner) = (&bed.store, bed.owner.clone());
        assert_eq!(store.account_preference(owner.clone(), "theme".into()).await.unwrap().text(), "null");
        let value = json(json!({ "dark": [true, 1.5, "ä"] }));
        store.set_account_preference(owner.clone(), "theme".into(), value.clone()).await.unwrap();
        store.set_account_preference(owner.clone(), "other".into(), json(json!(0))).await.unwrap();
        assert_eq!(store.account_preference(owner.clone(), "theme".into()).await.unwrap(), value);
        store.set_account_preference(owner.clone(), "theme".into(), json(json!(null))).await.unwrap();
        assert_eq!(store.account_preference(owner.clone(), "theme".into()).await.unwrap().text(), "null");
        assert_eq!(store.account_preference(owner.clone(), "other".into()).await.unwrap().text(), "0");
        let large = json(json!("x".repeat(128 * 1024)));
        assert_eq!(refusal(store.set_account_preference(owner.clone(), "l".into(), large).await), "PayloadTooLarge");
        assert_eq!(refusal(store.set_account_preference(owner, String::new(), json(json!(1))).await), "InvalidPayload");
    }
}

contract! {
    async fn preferences_are_not_endless(bed: Bed) {
        let actor = bed.actor();
        for number in 0..200 {
            bed.store.set_workspace_preference(actor.clone(), format!("k{number}"), json(json!(number))).await.unwrap();
        }
        let more = bed.store.set_workspace_preference(actor.clone(), "more".into(), json(json!(1))).await;
        assert_eq!(refusal(more), "LimitExceeded");
        bed.store.set_workspace_preference(actor.clone(), "k0".into(), json(json!(null))).await.unwrap();
        bed.store.set_workspace_preference(actor, "more".into(), json(json!(1))).await.unwrap();
    }
}

contract! {
    async fn a_deleted_account_leaves_its_keys_to_the_bots(bed: Bed) {
        assert_eq!(refusal(bed.store.delete_account(bed.owner.clone()).await), "RelationConflict");
        let heir = bed.member("heir@example.org", Role::Owner).await;
        let bot = bed.bot.as_str().to_owned();
        let key = bed.store.create_bot_key(bed.actor(), bot.clone(), "k".into()).await.unwrap();
        bed.store.delete_account(bed.owner.clone()).await.unwrap();
        assert_eq!(refusal(bed.store.get_account(bed.owner.clone()).await), "ResourceNotFound");
        assert_eq!(refusal(bed.store.token(&bed.token).await), "Unauthorized");
        assert_eq!(refusal(bed.store.hand_out_pat("owner@localhost".into(), "gone".into()).await), "ResourceNotFound");
        assert_eq!(refusal(bed.store.delete_account(heir.account.clone()).await), "RelationConflict");
        let workspace = bed.store.get_workspace(heir.account.clone(), bed.workspace.clone()).await.unwrap();
        assert_eq!(workspace.owner_id, heir.account);
        let members = bed.store.list_members(heir.clone(), Default::default()).await.unwrap().items;
        assert_eq!(members.len(), 1);
        bed.store.token(&key.value.unwrap()).await.unwrap();
        bed.store.delete_bot_key(heir, key.id).await.unwrap();
    }
}
