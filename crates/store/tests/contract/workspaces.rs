//! Workspaces, their members, and what roles allow.

use duologue_model::{PageSize, admin::Role};
use duologue_store::{
    page::PageRequest,
    workspaces::{Actor, Change, ListPublic},
};
use serde_json::json;

use crate::{contract, json, of, refusal};

fn renamed(handle: &str) -> Change {
    Change { handle: Some(handle.into()), ..Change::default() }
}

contract! {
    async fn a_workspace_is_its_members(bed: Bed) {
        let made = bed.store.create_workspace(bed.owner.clone(), "Second".into()).await.unwrap();
        assert_eq!((made.name.as_str(), made.bot_count, &made.owner_id, &made.handle), ("Second", 0, &bed.owner, &None));
        assert_eq!((made.plan.as_str(), made.billing_version.as_str(), made.is_public), ("enterprise", "v4", false));
        let stranger = bed.stranger("other@example.org").await;
        for result in [
            bed.store.get_workspace(stranger.account.clone(), made.id.clone()).await,
            bed.store.update_workspace(stranger.account.clone(), made.id.clone(), renamed("mine")).await,
            bed.store.get_workspace(bed.owner.clone(), "nothing".into()).await,
        ] {
            assert_eq!(refusal(result), "ResourceNotFound");
        }
        assert_eq!(refusal(bed.store.delete_workspace(stranger.account, made.id.clone()).await), "ResourceNotFound");
        let all = bed.store.list_workspaces(bed.owner.clone(), None, PageRequest::default()).await.unwrap().items;
        let mut ids: Vec<&str> = all.iter().map(|w| w.id.as_str()).collect();
        let mut expected = [made.id.as_str(), bed.workspace.as_str()];
        ids.sort_unstable();
        expected.sort_unstable();
        assert_eq!(ids, expected);
        bed.store.delete_workspace(bed.owner.clone(), made.id.clone()).await.unwrap();
        assert_eq!(refusal(bed.store.get_workspace(bed.owner.clone(), made.id).await), "ResourceNotFound");
    }
}

contract! {
    async fn the_list_of_workspaces_comes_in_pages(bed: Bed) {
        for number in 0..6 {
            bed.store.create_workspace(bed.owner.clone(), format!("W{number}")).await.unwrap();
        }
        let whole = bed.store.list_workspaces(bed.owner.clone(), None, PageRequest::default()).await.unwrap().items;
        let whole: Vec<String> = whole.into_iter().map(|w| w.name).collect();
        let (mut after, mut names) = (None, Vec::new());
        loop {
            let page = PageRequest { size: PageSize::new(2), after };
            let page = bed.store.list_workspaces(bed.owner.clone(), None, page).await.unwrap();
            names.extend(page.items.into_iter().map(|w| w.name));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(names, whole);
        // Those of one millisecond come in any order.
        names.sort();
        assert_eq!(names, ["Test", "W0", "W1", "W2", "W3", "W4", "W5"]);
    }
}

contract! {
    async fn details_change_one_by_one(bed: Bed) {
        let update = |change: Change| bed.store.update_workspace(bed.owner.clone(), bed.workspace.clone(), change);
        let change = of(json!({ "about": "us", "website": "https://x", "socialAccounts": ["https://a", "https://b"] }));
        let first = update(change).await.unwrap();
        let second = update(of(json!({ "name": "New", "isPublic": true }))).await.unwrap();
        assert_eq!((second.name.as_str(), second.about.as_str(), second.is_public), ("New", "us", true));
        assert_eq!(second.social_accounts, first.social_accounts);
        assert!(second.updated_at > first.updated_at);
        assert_eq!(update(Change::default()).await.unwrap().updated_at, second.updated_at);
        for bad in [
            json!({ "name": "" }),
            json!({ "name": "x".repeat(65) }),
            json!({ "handle": "No" }),
            json!({ "socialAccounts": ["a", "b", "c", "d", "e", "f"] }),
        ] {
            assert_eq!(refusal(update(of(bad)).await), "InvalidPayload");
        }
    }
}

contract! {
    async fn a_handle_has_one_workspace(bed: Bed) {
        let stranger = bed.stranger("other@example.org").await;
        let other = stranger.workspace.clone().unwrap();
        let claim = |handle: &str| bed.store.update_workspace(stranger.account.clone(), other.clone(), renamed(handle));
        assert_eq!(refusal(claim("test").await), "AlreadyExists");
        assert_eq!(refusal(claim("botpress").await), "AlreadyExists");
        assert_eq!(claim("free").await.unwrap().handle.as_deref(), Some("free"));
        assert_eq!(claim("free").await.unwrap().handle.as_deref(), Some("free"), "one's own is no conflict");
        let own = bed.store.check_handle(stranger.account.clone(), "free".into()).await.unwrap();
        assert_eq!((own.available, own.used_by), (false, Some(other)));
        let foreign = bed.store.check_handle(stranger.account.clone(), "test".into()).await.unwrap();
        assert_eq!((foreign.available, foreign.used_by), (false, None), "nothing is said of others' workspaces");
        assert_eq!(foreign.suggestions, ["test-2", "test-3", "test-4"]);
        let unused = bed.store.check_handle(stranger.account.clone(), "unused".into()).await.unwrap();
        assert!(unused.available && unused.suggestions.is_empty());
        assert_eq!(refusal(bed.store.check_handle(stranger.account.clone(), "A b".into()).await), "InvalidPayload");
        let found = bed.store.list_workspaces(stranger.account, Some("test".into()), PageRequest::default()).await.unwrap();
        assert!(found.items.is_empty());
    }
}

contract! {
    async fn two_who_claim_a_handle_at_once_do_not_both_get_it(bed: Bed) {
        let mut claims = Vec::new();
        for number in 0..4 {
            let id = bed.store.create_workspace(bed.owner.clone(), format!("W{number}")).await.unwrap().id;
            let (store, owner) = (bed.store.clone(), bed.owner.clone());
            claims.push(tokio::spawn(async move { store.update_workspace(owner, id, renamed("wanted")).await }));
        }
        let mut won = 0;
        for claim in claims {
            match claim.await.unwrap() {
                Ok(_) => won += 1,
                lost => assert_eq!(refusal(lost), "AlreadyExists"),
            }
        }
        assert_eq!(won, 1);
    }
}

contract! {
    async fn only_public_workspaces_are_shown_to_others(bed: Bed) {
        let stranger = bed.stranger("other@example.org").await.account;
        let get = |account: &str| bed.store.get_public_workspace(account.into(), bed.workspace.clone());
        let list = |search: Option<&str>, ids: &[&str]| {
            let list = ListPublic {
                ids: ids.iter().map(|id| (*id).to_owned()).collect(),
                search: search.map(str::to_owned),
                page: PageRequest::default(),
            };
            async { bed.store.list_public_workspaces(list).await.unwrap().items.into_iter().map(|w| w.id).collect::<Vec<_>>() }
        };
        assert_eq!(refusal(get(&stranger).await), "ResourceNotFound");
        assert_eq!(get(&bed.owner).await.unwrap().handle, "test", "members see theirs");
        assert!(list(None, &[]).await.is_empty());
        let change = of(json!({ "isPublic": true, "name": "Acme 100% Corp", "about": "us" }));
        bed.store.update_workspace(bed.owner.clone(), bed.workspace.clone(), change).await.unwrap();
        assert_eq!(get(&stranger).await.unwrap().about, "us");
        for (search, expected) in [(None, 1), (Some("aCME"), 1), (Some("TES"), 1), (Some("0% c"), 1), (Some("_"), 0), (Some("z"), 0)] {
            assert_eq!(list(search, &[]).await.len(), expected, "{search:?}");
        }
        assert_eq!(list(None, &[&bed.workspace, "x"]).await, [bed.workspace.as_str()]);
        assert!(list(None, &["x"]).await.is_empty());
    }
}

contract! {
    async fn preferences_of_a_workspace_are_for_administrators_to_set(bed: Bed) {
        let viewer = bed.member("viewer@example.org", Role::Viewer).await;
        let set = |actor: &Actor| bed.store.set_workspace_preference(actor.clone(), "k".into(), json(json!([1])));
        assert_eq!(refusal(set(&viewer).await), "Forbidden");
        set(&bed.actor()).await.unwrap();
        assert_eq!(bed.store.workspace_preference(viewer, "k".into()).await.unwrap().text(), "[1]");
        let stranger = bed.stranger("other@example.org").await;
        let foreign = Actor { workspace: Some(bed.workspace.clone()), ..stranger.clone() };
        assert_eq!(refusal(bed.store.workspace_preference(foreign, "k".into()).await), "Forbidden");
        assert_eq!(bed.store.workspace_preference(stranger, "k".into()).await.unwrap().text(), "null");
    }
}

contract! {
    async fn a_missing_workspace_means_the_only_one(bed: Bed) {
        let nowhere = Actor { account: bed.owner.clone(), workspace: None };
        assert_eq!(bed.store.get_own_member(nowhere.clone()).await.unwrap().role, Role::Owner);
        bed.store.create_workspace(bed.owner.clone(), "Second".into()).await.unwrap();
        assert_eq!(refusal(bed.store.get_own_member(nowhere).await), "InvalidPayload");
    }
}

contract! {
    async fn members_are_added_by_address(bed: Bed) {
        let store = &bed.store;
        let made = store.create_member(bed.actor(), " Ada@Example.org".into(), Role::Viewer).await.unwrap();
        assert_eq!((made.email.as_str(), made.role), ("ada@example.org", Role::Viewer));
        let again = store.create_member(bed.actor(), "ADA@example.org".into(), Role::Developer).await;
        assert_eq!(refusal(again), "AlreadyExists");
        assert_eq!(refusal(store.create_member(bed.actor(), "ada".into(), Role::Viewer).await), "InvalidPayload");
        let listed = store.list_members(bed.actor(), PageRequest::default()).await.unwrap().items;
        let mut emails: Vec<&str> = listed.iter().map(|m| m.email.as_str()).collect();
        emails.sort_unstable();
        assert_eq!(emails, ["ada@example.org", "owner@localhost"]);
        let changed = store.update_member(bed.actor(), made.id.clone(), Some(Role::Manager)).await.unwrap();
        assert_eq!(changed.role, Role::Manager);
        assert_eq!(store.update_member(bed.actor(), made.id.clone(), None).await.unwrap().role, Role::Manager);
        store.delete_member(bed.actor(), made.id.clone()).await.unwrap();
        assert_eq!(refusal(store.delete_member(bed.actor(), made.id.clone()).await), "ResourceNotFound");
        assert_eq!(refusal(store.update_member(bed.actor(), made.id, Some(Role::Viewer)).await), "ResourceNotFound");
        let back = store.create_member(bed.actor(), "ada@example.org".into(), Role::Viewer).await.unwrap();
        assert_eq!(back.user_id, made.user_id, "the account stayed");
    }
}

contract! {
    async fn the_last_owner_stays(bed: Bed) {
        let own = bed.store.get_own_member(bed.actor()).await.unwrap();
        assert_eq!(refusal(bed.store.delete_member(bed.actor(), own.id.clone()).await), "RelationConflict");
        let demoted = bed.store.update_member(bed.actor(), own.id.clone(), Some(Role::Administrator)).await;
        assert_eq!(refusal(demoted), "RelationConflict");
        let second = bed.member("second@example.org", Role::Owner).await;
        bed.store.delete_member(bed.actor(), own.id).await.unwrap();
        let workspace = bed.store.get_workspace(second.account.clone(), bed.workspace.clone()).await.unwrap();
        assert_eq!(workspace.owner_id, second.account);
        assert_eq!(refusal(bed.store.get_own_member(bed.actor()).await), "Forbidden");
    }
}

contract! {
    async fn members_manage_only_those_below_them(bed: Bed) {
        let store = &bed.store;
        let manager = bed.member("manager@example.org", Role::Manager).await;
        let developer = bed.member("developer@example.org", Role::Developer).await;
        let id = |actor: &Actor| {
            let actor = actor.clone();
            async { store.get_own_member(actor).await.unwrap().id }
        };
        let (owner_id, developer_id) = (id(&bed.actor()).await, id(&developer).await);
        let add = |actor: &Actor, role| store.create_member(actor.clone(), "new@example.org".into(), role);
        assert_eq!(refusal(add(&developer, Role::Viewer).await), "Forbidden");
        assert_eq!(refusal(add(&manager, Role::Manager).await), "Forbidden");
        assert_eq!(refusal(store.update_member(manager.clone(), developer_id.clone(), Some(Role::Administrator)).await), "Forbidden");
        assert_eq!(refusal(store.delete_member(manager.clone(), owner_id.clone()).await), "Forbidden");
        assert_eq!(refusal(store.delete_member(developer.clone(), owner_id).await), "Forbidden");
        add(&manager, Role::Developer).await.unwrap();
        store.update_member(manager.clone(), developer_id.clone(), Some(Role::Viewer)).await.unwrap();
        store.delete_member(developer, developer_id).await.unwrap();
    }
}

contract! {
    async fn every_role_does_what_it_may_and_no_more(bed: Bed) {
        let store = &bed.store;
        let bot = bed.bot.as_str().to_owned();
        let roles = [Role::Billing, Role::Viewer, Role::Developer, Role::Manager, Role::Administrator];
        for (rank, role) in roles.into_iter().enumerate() {
            let actor = bed.member(&format!("{}@example.org", role.name()), role).await;
            let check = |what: &str, least: usize, allowed: bool| assert_eq!(allowed, rank >= least, "{what} as {}", role.name());
            store.get_workspace(actor.account.clone(), bed.workspace.clone()).await.unwrap();
            check("read a bot", 1, store.get_bot(actor.clone(), bot.clone()).await.is_ok());
            check("see members", 1, store.list_members(actor.clone(), PageRequest::default()).await.is_ok());
            let made = store.create_bot(actor.clone(), Default::default()).await;
            check("make a bot", 2, made.is_ok());
            let key = store.create_bot_key(actor.clone(), bot.clone(), String::new()).await;
            check("make a key", 2, key.is_ok());
            let integration = of(json!({ "name": format!("by-{}", role.name()), "version": "1.0.0" }));
            check("make an integration", 2, store.create_integration(actor.clone(), integration).await.is_ok());
            let spare = store.create_bot(bed.actor(), Default::default()).await.unwrap().stored.id;
            check("delete a bot", 3, store.delete_bot(actor.clone(), spare.as_str().into()).await.is_ok());
            let foreign = store.create_bot_key(bed.actor(), bot.clone(), String::new()).await.unwrap().id;
            check("delete another's key", 4, store.delete_bot_key(actor.clone(), foreign).await.is_ok());
            let change = of(json!({ "about": role.name() }));
            let changed = store.update_workspace(actor.account.clone(), bed.workspace.clone(), change).await;
            check("change the workspace", 4, changed.is_ok());
            assert_eq!(refusal(store.delete_workspace(actor.account, bed.workspace.clone()).await), "Forbidden");
        }
    }
}

contract! {
    async fn a_workspace_goes_with_what_hangs_on_it(bed: Bed) {
        let store = &bed.store;
        assert_eq!(refusal(store.delete_workspace(bed.owner.clone(), bed.workspace.clone()).await), "ReferenceConstraint");
        let stranger = bed.stranger("other@example.org").await;
        let (account, workspace) = (stranger.account.clone(), stranger.workspace.clone().unwrap());
        let new = of(json!({ "name": "shared", "version": "1.0.0", "public": true }));
        let integration = store.create_integration(stranger.clone(), new).await.unwrap().head().id.clone();
        let key = store.create_integration_key(stranger.clone(), integration.clone(), "k".into()).await.unwrap();
        let bot = bed.bot.as_str().to_owned();
        let install = json!({ "integrations": { integration.as_str(): { "enabled": true } } });
        store.update_bot(bed.actor(), bot.clone(), of(install)).await.unwrap();
        let used = store.delete_workspace(account.clone(), workspace.clone()).await;
        assert_eq!(refusal(used), "ReferenceConstraint", "somebody else uses its integration");
        let remove = json!({ "integrations": { integration.as_str(): null } });
        store.update_bot(bed.actor(), bot, of(remove)).await.unwrap();
        store.delete_workspace(account.clone(), workspace.clone()).await.unwrap();
        assert_eq!(refusal(store.get_public_integration(integration).await), "ResourceNotFound");
        assert_eq!(refusal(store.token(&key.value.unwrap()).await), "Unauthorized");
        assert_eq!(refusal(store.list_members(stranger, PageRequest::default()).await), "Forbidden");
        store.get_account(account).await.unwrap();
    }
}
