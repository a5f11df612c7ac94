//! Workflows go on as long as the bot acknowledges them.

use super::on_both;

on_both! { acknowledged_workflows_continue_and_others_fail }

mod case {
    use std::sync::{Arc, OnceLock};

    use duologue_client::{Client, CreateWorkflow, UpdateWorkflow, WorkflowStatus};

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
        until(async || kinds("forever").len() >= 4).await;
        assert_eq!(kinds("forever")[..2], ["workflow_started", "workflow_continued"]);
        // Each is an event of its own; the pauses between them grow.
        let calls: Vec<_> =
            bot.calls().into_iter().filter(|call| call.event()["payload"]["workflow"]["name"] == "forever").collect();
        let gaps: Vec<_> = calls.windows(2).map(|pair| pair[1].began - pair[0].began).collect();
        assert!(gaps[2] > gaps[0], "{gaps:?}");
        let cancel = UpdateWorkflow::new().status(WorkflowStatus::Cancelled);
        place.bot.update_workflow(&forever, cancel).await.unwrap();
    }
}
