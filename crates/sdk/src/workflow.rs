//! Workflows as handlers see them (`spec/cloud/bridge-protocol.md` § 3.5).

use std::{
    marker::PhantomData,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use duologue_client::{Json, UpdateWorkflow, Workflow, WorkflowStatus, id::EventId};

use crate::{BotWorkflow, Context, Error, Result};

/// A delivered change of a workflow: shared by its handlers, so that it is acknowledged once.
pub(crate) struct Update {
    pub workflow: Workflow,
    pub event: EventId,
    pub acknowledged: AtomicBool,
}

/// A workflow at work. Is a [`Workflow`] as it was delivered: `run.tags`, `run.status`.
pub struct Run<W: BotWorkflow> {
    /// What it was started from.
    pub input: W::Input,
    update: Arc<Update>,
    ctx: Context,
    kind: PhantomData<fn() -> W>,
}

impl<W: BotWorkflow> std::fmt::Debug for Run<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("workflow", &self.update.workflow).finish_non_exhaustive()
    }
}

impl<W: BotWorkflow> Deref for Run<W> {
    type Target = Workflow;

    fn deref(&self) -> &Workflow {
        &self.update.workflow
    }
}

impl<W: BotWorkflow> Run<W> {
    pub(crate) fn of(ctx: &Context, update: Arc<Update>) -> Result<Self> {
        let input = serde_json::from_str(update.workflow.input.text())
            .map_err(Error::shape(format!("the input of {}", W::NAME)))?;
        Ok(Run { input, update, ctx: ctx.clone(), kind: PhantomData })
    }

    /// Says that this delivery was taken on: the platform doesn't repeat it, and calls the handler of
    /// its continuation when this one is done. Once is enough; more often does nothing.
    pub async fn acknowledge(&self) -> Result<()> {
        let pending = self.update.workflow.status == WorkflowStatus::Pending;
        if !pending || self.update.acknowledged.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let change = UpdateWorkflow::new().status(WorkflowStatus::InProgress).event_id(self.update.event.clone());
        if let Err(error) = self.update(change).await {
            self.update.acknowledged.store(false, Ordering::SeqCst);
            return Err(error);
        }
        Ok(())
    }

    /// Ends it with a result.
    pub async fn complete(&self, output: &W::Output) -> Result<Workflow> {
        self.update(UpdateWorkflow::new().status(WorkflowStatus::Completed).output(Json::of(output))).await
    }

    /// Ends it for this reason.
    pub async fn fail(&self, reason: impl Into<String>) -> Result<Workflow> {
        self.update(UpdateWorkflow::new().status(WorkflowStatus::Failed).failure_reason(reason)).await
    }

    /// Ends it without a result.
    pub async fn cancel(&self) -> Result<Workflow> {
        self.update(UpdateWorkflow::new().status(WorkflowStatus::Cancelled)).await
    }

    /// Lets it wait until somebody sets it going again, or its time is up.
    pub async fn listen(&self) -> Result<Workflow> {
        self.update(UpdateWorkflow::new().status(WorkflowStatus::Listening)).await
    }

    /// Changes tags, output, timeout or status.
    pub async fn update(&self, change: UpdateWorkflow) -> Result<Workflow> {
        Ok(self.ctx.client().update_workflow(&self.update.workflow.id, change).await?)
    }
}
