//! Workflows go on as long as the bot acknowledges them.

use super::on_both;

on_both! { acknowledged_workflows_continue_and_others_fail the_bot_hears_what_becomes_of_children }

mod case {
    use std::{
        collections::HashSet,
        sync::{Arc, OnceLock},
        time::Duration,
    };

    use duologue_client::{Client, CreateWorkflow, EventStatus, UpdateWorkflow, WorkflowStatus};
    use serde_json::{Value, json};

    use crate::{
        Place,
        bot::{Reply, TestBot},
        until,
    };

    pub async fn acknowledged_workflows_continue_and_others_fail(database: Option<String>) {
        let api: Arc<OnceLock<Client>> = Arc::default();
        let bot = TestBot::serve({
            let api = api.clone();
            move |call, _| {
                let api = api.get().cloned();
                async move {
                    let (event, payload) = (call.event()["id"].as_str().unwrap(), &call.event()["payload"]);
                    let (id, name) = (&payload["workflow"]["id"], &payload["workflow"]["name"]);
                    let id = id.as_str().unwrap();
                    let api = api.unwrap();
                    match (name.as_str().unwrap(), payload["type"].as_str().unwrap()) {
                        ("twice", "workflow_continued") => {
                            let done = UpdateWorkflow::new().status(WorkflowStatus::Completed);
                            api.update_workflow(id, done).await.unwrap();
                        }
                        ("twice" | "forever", "workflow_started" | "workflow_continued") => {
                            assert_eq!(payload["workflow"]["status"], "pending");
                            let ack = UpdateWorkflow::new().status(WorkflowStatus::InProgress).event_id(event);
                            api.update_workflow(id, ack).await.unwrap();
                            // Acknowledged is acknowledged, whatever the answer.
                            if name == "forever" {
                                return Reply::Status(500, "");
                            }
                        }
                        _ => {}
                    }
                    Reply::Well
                }
            }
        })
        .await;
        let place = Place::start(database.as_deref(), &bot, &[]).await;
        api.set(place.bot.clone()).unwrap();
        let start = async |name: &str| {
            place.bot.create_workflow(CreateWorkflow::new(name, WorkflowStatus::Pending)).await.unwrap().id
        };
        let (twice, never, forever) = (start("twice").await, start("never").await, start("forever").await);
        let kinds = |name: &str| -> Vec<String> {
            let calls = bot.calls();
            let of = calls.iter().filter(|call| call.event()["payload"]["workflow"]["name"] == name);
            of.map(|call| call.event()["payload"]["type"].as_str().unwrap().to_owned()).collect()
        };
        let status = async |id| place.bot.get_workflow(id).await.unwrap().status;
        until(async || status(&twice).await == WorkflowStatus::Completed).await;
        assert_eq!(kinds("twice"), ["workflow_started", "workflow_continued"]);
        until(async || status(&never).await == WorkflowStatus::Failed).await;
        assert_eq!(kinds("never"), ["workflow_started"; 3]);
        let failed = place.bot.get_workflow(&never).await.unwrap();
        assert!(failed.failure_reason.unwrap().contains("acknowledge"));
        until(async || kinds("forever").len() >= 6).await;
        assert_eq!(kinds("forever")[..2], ["workflow_started", "workflow_continued"]);
        // Each is an event of its own, called once although it is answered badly; the pauses between them grow.
        let calls: Vec<_> =
            bot.calls().into_iter().filter(|call| call.event()["payload"]["workflow"]["name"] == "forever").collect();
        let events: HashSet<_> = calls.iter().map(|call| call.event()["id"].as_str().unwrap()).collect();
        assert_eq!(events.len(), calls.len());
        for (pair, pause) in calls.windows(2).zip([100, 200, 400]) {
            assert!(pair[1].began - pair[0].began >= Duration::from_millis(pause), "{pause}");
        }
        let cancel = UpdateWorkflow::new().status(WorkflowStatus::Cancelled);
        place.bot.update_workflow(&forever, cancel).await.unwrap();
    }

    pub async fn the_bot_hears_what_becomes_of_children(database: Option<String>) {
        let bot = TestBot::serve(|call, _| async move {
            // Once each, whatever the answer.
            match call.event()["payload"]["childWorkflow"]["name"].as_str() {
                Some("refused") => Reply::Status(400, r#"{"message":"no"}"#),
                _ => Reply::Well,
            }
        })
        .await;
        let place = Place::start(database.as_deref(), &bot, &[]).await;
        let (conversation, user) = place.conversation().await;
        let make = async |new: CreateWorkflow| place.bot.create_workflow(new).await.unwrap();
        let parent = CreateWorkflow::new("parent", WorkflowStatus::Listening)
            .conversation_id(conversation.clone())
            .user_id(user.clone());
        let parent = make(parent).await;
        let child = async |name: &str| {
            make(CreateWorkflow::new(name, WorkflowStatus::Listening).parent_workflow_id(parent.id.clone())).await
        };
        let told = async |count: usize| -> Value {
            until(async || bot.count() == count).await;
            bot.calls()[count - 1].event().clone()
        };
        let end = async |id, update: UpdateWorkflow| place.bot.update_workflow(id, update).await.unwrap();

        let done = child("done").await;
        let output = UpdateWorkflow::new().status(WorkflowStatus::Completed).output(json!({"n": 3}));
        end(&done.id, output).await;
        let event = told(1).await;
        assert_eq!((&event["type"], &event["status"]), (&json!("workflow_update"), &json!("pending")));
        assert_eq!(bot.calls()[0].header("x-bp-type"), "workflow_update");
        let payload = &event["payload"];
        assert_eq!(payload["type"], "child_workflow_finished");
        assert_eq!(
            (&payload["workflow"]["id"], &payload["workflow"]["status"]),
            (&json!(parent.id), &json!("listening"))
        );
        let theirs = &payload["childWorkflow"];
        assert_eq!((&theirs["id"], &theirs["parentWorkflowId"]), (&json!(done.id), &json!(parent.id)));
        assert_eq!((&theirs["status"], &theirs["output"]), (&json!("completed"), &json!({"n": 3})));
        assert_eq!(payload["conversation"]["id"], conversation.as_str());
        assert_eq!(payload["user"]["id"], user.as_str());

        let failed = child("refused").await;
        end(&failed.id, UpdateWorkflow::new().status(WorkflowStatus::Failed).failure_reason("no luck")).await;
        let payload = told(2).await["payload"].take();
        assert_eq!(payload["type"], "child_workflow_finished");
        let reason = &payload["childWorkflow"]["failureReason"];
        assert_eq!((&payload["childWorkflow"]["status"], reason), (&json!("failed"), &json!("no luck")));

        // The bot hears of a time-out as of the child's own, and as of the parent's child.
        let late = CreateWorkflow::new("late", WorkflowStatus::Listening).parent_workflow_id(parent.id.clone());
        make(late.timeout_at(duologue_sdk::now().plus_millis(50))).await;
        until(async || bot.count() == 4).await;
        let mut kinds: Vec<String> =
            bot.calls()[2..].iter().map(|call| call.event()["payload"]["type"].as_str().unwrap().to_owned()).collect();
        kinds.sort();
        assert_eq!(kinds, ["child_workflow_finished", "workflow_timedout"]);

        let gone = child("gone").await;
        place.bot.delete_workflow(&gone.id).await.unwrap();
        let payload = told(5).await["payload"].take();
        assert_eq!(
            (&payload["type"], &payload["childWorkflow"]["id"]),
            (&json!("child_workflow_deleted"), &json!(gone.id))
        );
        assert_eq!(payload["workflow"]["id"], json!(parent.id));

        // Nothing of that was to be acknowledged: no event comes again, and the parent is as it was.
        place.wait_for(EventStatus::Processed, 4).await;
        place.wait_for(EventStatus::Failed, 1).await;
        assert_eq!(bot.count(), 5);
        assert_eq!(place.bot.get_workflow(&parent.id).await.unwrap().status, WorkflowStatus::Listening);
        // Without a parent nobody hears of it.
        place.bot.delete_workflow(&parent.id).await.unwrap();
        let alone = child_of_nobody(&place.bot).await;
        place.bot.delete_workflow(&alone).await.unwrap();
        assert_eq!(place.events().await.len(), 5);
    }

    async fn child_of_nobody(client: &Client) -> duologue_client::id::WorkflowId {
        client.create_workflow(CreateWorkflow::new("alone", WorkflowStatus::Listening)).await.unwrap().id
    }
}
