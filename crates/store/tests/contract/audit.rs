//! What members of a workspace did.

use duologue_model::{PageSize, admin::Role};
use duologue_store::{
    audit::{Action, KEEP_RECORDS, Record},
    page::PageRequest,
    tx::{Script, Tx},
    workspaces::Actor,
};
use serde_json::json;

use crate::{Bed, contract, of, refusal};

async fn records(bed: &Bed, workspace: &str) -> Vec<Record> {
    let (mut found, mut page) = (Vec::new(), PageRequest { size: PageSize::new(100), after: None });
    loop {
        let got = bed.store.audit_records(bed.owner.clone(), workspace.into(), page.clone()).await.unwrap();
        found.extend(got.items);
        match got.next {
            Some(next) => page.after = Some(next),
            None => return found,
        }
    }
}

fn actions(records: &[Record]) -> Vec<Action> {
    records.iter().map(|record| record.action).collect()
}

contract! {
    async fn what_members_do_is_recorded(bed: Bed) {
        let store = &bed.store;
        let made = store.create_workspace(bed.owner.clone(), "Second".into()).await.unwrap();
        let there = Actor { account: bed.owner.clone(), workspace: Some(made.id.clone()) };
        let change = of(json!({ "name": "Renamed" }));
        store.update_workspace(bed.owner.clone(), made.id.clone(), change).await.unwrap();
        let member = store.create_member(there.clone(), "ada@example.org".into(), Role::Viewer).await.unwrap();
        store.update_member(there.clone(), member.id.clone(), Some(Role::Developer)).await.unwrap();
        let ada = Actor { account: member.user_id.clone().unwrap(), workspace: Some(made.id.clone()) };
        let bot = store.create_bot(ada.clone(), of(json!({ "name": "b" }))).await.unwrap().stored.id.to_string();
        store.update_bot(ada.clone(), bot.clone(), of(json!({ "name": "c" }))).await.unwrap();
        store.update_bot(ada.clone(), bot.clone(), of(json!({ "url": "http://127.0.0.1:9/" }))).await.unwrap();
        let refused = store.update_bot(ada.clone(), bot.clone(), of(json!({ "name": "" }))).await;
        assert_eq!(refusal(refused), "InvalidPayload");
        store.delete_bot(there.clone(), bot.clone()).await.unwrap();
        store.delete_member(there.clone(), member.id.clone()).await.unwrap();

        let found = records(&bed, &made.id).await;
        use Action::*;
        assert_eq!(
            actions(&found),
            [
                RemoveWorkspaceMember, DeleteBot, DeployBot, UpdateBot, CreateBot, UpdateWorkspaceMember, AddWorkspaceMember,
                UpdateWorkspace, CreateWorkspace
            ]
        );
        let of_bot = &found[3];
        assert_eq!((&of_bot.user_id, of_bot.user_email.as_deref()), (&ada.account, Some("ada@example.org")));
        assert_eq!((of_bot.resource_id.as_deref(), of_bot.resource_name.as_deref()), (Some(bot.as_str()), Some("c")));
        let of_member = &found[5];
        assert_eq!((of_member.resource_id.as_ref(), of_member.value.as_deref()), (Some(&member.id), Some("developer")));
        assert_eq!(of_member.resource_name.as_deref(), Some("ada@example.org"));
        assert!(found.iter().all(|record| record.id.starts_with("audit_")));
        assert!(found.is_sorted_by(|a, b| a.recorded_at >= b.recorded_at));

        store.delete_workspace(bed.owner.clone(), made.id.clone()).await.unwrap();
        assert_eq!(refusal(store.audit_records(bed.owner.clone(), made.id, PageRequest::default()).await), "ResourceNotFound");
        assert_eq!(bed.store.write(Count).await.unwrap(), records(&bed, &bed.workspace).await.len() as i64);
    }
}

/// How many records there are.
struct Count;

impl Script for Count {
    type Out = i64;
    async fn run(&self, tx: &mut Tx<'_>) -> duologue_store::Result<i64> {
        tx.query("SELECT COUNT(*) FROM audit_records", &[]).await?.remove(0).int()
    }
}

contract! {
    async fn transfers_are_recorded_on_both_sides(bed: Bed) {
        let target = bed.store.create_workspace(bed.owner.clone(), "Second".into()).await.unwrap().id;
        let change = of(json!({ "setting": "SELECTED_USERS" }));
        bed.store.update_bot_allowlist(bed.actor(), bed.bot.to_string(), change).await.unwrap();
        bed.store.transfer_bot(bed.actor(), bed.bot.to_string(), target.clone()).await.unwrap();
        let (here, there) = (records(&bed, &bed.workspace).await, records(&bed, &target).await);
        assert_eq!(actions(&here)[..2], [Action::TransferBot, Action::UpdateBot]);
        assert_eq!(actions(&there), [Action::TransferBot, Action::CreateWorkspace]);
        assert_eq!((here[0].value.as_ref(), there[0].value.as_ref()), (Some(&target), Some(&target)));
        assert_eq!(here[1].value.as_deref(), Some("SELECTED_USERS"));
    }
}

contract! {
    async fn only_administrators_see_records(bed: Bed) {
        let manager = bed.member("manager@example.org", Role::Manager).await.account;
        let administrator = bed.member("admin@example.org", Role::Administrator).await.account;
        let stranger = bed.stranger("eve@localhost").await.account;
        let list = |account: String| bed.store.audit_records(account, bed.workspace.clone(), PageRequest::default());
        assert_eq!(refusal(list(manager).await), "Forbidden");
        assert_eq!(refusal(list(stranger).await), "ResourceNotFound");
        assert!(!list(administrator).await.unwrap().items.is_empty());
    }
}

/// Adds many records to the only workspace, or makes all records a year older.
enum Many {
    Add(String, usize),
    Age,
}

impl Script for Many {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> duologue_store::Result<()> {
        match self {
            Many::Add(workspace, count) => {
                for number in 0..*count {
                    let sql = "INSERT INTO audit_records (workspace_id, at, id, account_id, action) VALUES (?1, ?2, ?3, 'a', 'UPDATE_BOT')";
                    let (at, id) = (tx.now(), format!("audit_{number:05}"));
                    tx.execute(sql, duologue_store::params![workspace, at, id]).await?;
                }
            }
            Many::Age => {
                tx.execute("UPDATE audit_records SET at = at - 31536000001", &[]).await?;
            }
        }
        Ok(())
    }
}

contract! {
    async fn records_are_bounded(bed: Bed) {
        bed.store.write(Many::Add(bed.workspace.clone(), KEEP_RECORDS + 50)).await.unwrap();
        bed.pass(1).await;
        bed.store.update_bot(bed.actor(), bed.bot.to_string(), of(json!({ "name": "last" }))).await.unwrap();
        let found = records(&bed, &bed.workspace).await;
        assert_eq!((found.len(), found[0].resource_name.as_deref()), (KEEP_RECORDS, Some("last")));
        bed.store.write(Many::Age).await.unwrap();
        while bed.store.tidy().await.unwrap() > 0 {}
        assert_eq!(bed.store.write(Count).await.unwrap(), 0);
    }
}
