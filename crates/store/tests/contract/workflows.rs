//! Workflows: their status, their time, their parents; and tasks.

use duologue_model::{Timestamp, WorkflowStatus};
use duologue_store::{
    events::{Links, List as Events},
    page::PageRequest,
    workflows::{Create, Delete, GetOrCreate, NewWorkflow, Update},
};

use crate::{Bed, contract, json, refusal, tags};

fn new(status: WorkflowStatus) -> NewWorkflow {
    NewWorkflow {
        name: "order".into(),
        status,
        input: json(serde_json::json!({"n": 1})),
        parent: None,
        conversation: None,
        user: None,
        timeout_at: None,
        tags: tags(&[]),
        event: None,
    }
}

fn update(bed: &Bed, id: &str, status: WorkflowStatus) -> Update {
    Update {
        who: bed.who(),
        id: id.into(),
        status: Some(status),
        output: None,
        timeout_at: None,
        failure_reason: None,
        tags: tags(&[]),
        user: None,
        event: None,
    }
}

async fn updates_told(bed: &Bed) -> Vec<String> {
    let list = Events {
        who: bed.who(),
        kind: Some("workflow_update".into()),
        status: None,
        links: Links::default(),
        page: PageRequest::default(),
    };
    let mut told: Vec<String> = bed
        .store
        .list_events(list)
        .await
        .unwrap()
        .items
        .iter()
        .map(|event| event.payload.value()["type"].as_str().unwrap().to_owned())
        .collect();
    told.reverse();
    told
}

contract! {
    async fn a_workflow_runs_and_finishes(bed: Bed) {
        let conversation = bed.conversation(&[]).await;
        let of = |workflow| NewWorkflow { conversation: Some(conversation.as_str().into()), ..workflow };
        let workflow = bed.store.write(Create { who: bed.who(), new: of(new(WorkflowStatus::Pending)) }).await.unwrap();
        let id = workflow.id.as_str();
        let current = || async { bed.store.get_conversation(bed.who(), conversation.as_str().into()).await.unwrap().current_workflow_id };
        assert_eq!(current().await.as_deref(), Some(id));
        assert_eq!(updates_told(&bed).await, ["workflow_started"]);
        // Acknowledging needs the event that is being handled.
        assert_eq!(refusal(bed.store.write(update(&bed, id, WorkflowStatus::InProgress)).await), "InvalidPayload");
        let events = bed.store.list_events(Events {
            who: bed.who(), kind: None, status: None,
            links: Links { workflow: Some(id.into()), ..Links::default() }, page: PageRequest::default(),
        }).await.unwrap().items;
        let ack = Update { event: Some(events[0].id.as_str().into()), ..update(&bed, id, WorkflowStatus::InProgress) };
        bed.store.write(ack.clone()).await.unwrap();
        assert_eq!(bed.store.write(ack).await.unwrap().status, WorkflowStatus::InProgress);
        let done = Update { output: Some(json(serde_json::json!({"ok": true}))), ..update(&bed, id, WorkflowStatus::Completed) };
        let done = bed.store.write(done).await.unwrap();
        assert!(done.completed_at.is_some());
        assert_eq!(done.output.text(), r#"{"ok":true}"#);
        assert_eq!(current().await, None);
        assert_eq!(refusal(bed.store.write(update(&bed, id, WorkflowStatus::Listening)).await), "InvalidPayload");
        bed.store.write(Delete { who: bed.who(), id: id.into() }).await.unwrap();
        assert_eq!(refusal(bed.store.get_workflow(bed.who(), id.into()).await), "ResourceNotFound");
    }
}

contract! {
    async fn time_runs_out_and_parents_hear_of_it(bed: Bed) {
        let parent = bed.store.write(Create { who: bed.who(), new: new(WorkflowStatus::Listening) }).await.unwrap();
        let child = NewWorkflow {
            parent: Some(parent.id.as_str().into()),
            timeout_at: Some(Timestamp::from_millis(bed.store.now().millis() + 30)),
            ..new(WorkflowStatus::Listening)
        };
        let child = bed.store.write(Create { who: bed.who(), new: child }).await.unwrap();
        bed.pass(60).await;
        assert_eq!(bed.store.settle_due().await.unwrap().0.workflows, 1);
        assert_eq!(bed.store.settle_due().await.unwrap().0.workflows, 0);
        assert_eq!(updates_told(&bed).await, ["workflow_timedout", "child_workflow_finished"]);
        let found = bed.store.get_workflow(bed.who(), child.id.as_str().into()).await.unwrap();
        assert_eq!(found.status, WorkflowStatus::Timedout);
        let failed = Update { failure_reason: Some("late".into()), ..update(&bed, child.id.as_str(), WorkflowStatus::Failed) };
        assert_eq!(bed.store.write(failed).await.unwrap().failure_reason.as_deref(), Some("late"));
    }
}

contract! {
    async fn get_or_create_looks_at_name_tags_and_group(bed: Bed) {
        let wanted = |active| GetOrCreate {
            who: bed.who(),
            new: NewWorkflow { tags: tags(&[("k", "v")]), ..new(WorkflowStatus::Listening) },
            by: vec![],
            active,
        };
        let (first, created) = bed.store.write(wanted(Some(true))).await.unwrap();
        assert!(created);
        assert!(!bed.store.write(wanted(Some(true))).await.unwrap().1);
        bed.store.write(update(&bed, first.id.as_str(), WorkflowStatus::Cancelled)).await.unwrap();
        assert!(!bed.store.write(wanted(Some(false))).await.unwrap().1);
        assert!(bed.store.write(wanted(Some(true))).await.unwrap().1);
        assert_eq!(refusal(bed.store.get_workflow(bed.integration("x"), first.id.as_str().into()).await), "Forbidden");
    }
}

contract! {
    async fn tasks_are_kept_and_time_out(bed: Bed) {
        let conversation = bed.conversation(&[]).await;
        let task = duologue_store::tasks::Create {
            who: bed.who(),
            title: String::new(),
            description: String::new(),
            kind: "call".into(),
            data: json(serde_json::json!({})),
            parent: None,
            conversation: conversation.as_str().into(),
            user: None,
            timeout_at: Some(Timestamp::from_millis(1)),
            tags: tags(&[]),
        };
        let task = bed.store.write(task).await.unwrap();
        assert_eq!(bed.store.settle_due().await.unwrap().0.tasks, 1);
        let found = bed.store.get_task(bed.who(), task.id.as_str().into()).await.unwrap();
        assert_eq!(found.status.name(), "timeout");
    }
}
