//! Timeouts of waiting conversations (`flows.md` § 9).

use super::{Run, dialog::Lost};
use crate::{
    bot::{
        Hook,
        flow::{Flow, is_skill},
    },
    host::Host,
    trace::FailureKind,
    value::{Object, Value},
};

/// After so many timeouts without a message the conversation is given up.
const MOST_TIMEOUTS: u32 = 5;

impl<'t, H: Host> Run<'t, H> {
    pub(super) fn timeout_event(&mut self) -> Value {
        let mut event = self.new_event("timeout".into(), "internal");
        event.set("payload", "");
        event.set("preview", "\"timeout\" event on channel api");
        event.set("nlu", crate::nlu::unknown(vec!["global"].into()));
        event.into()
    }

    pub(super) async fn time_out(&mut self, timeouts: u32) {
        self.context().remove("queue");
        if timeouts > MOST_TIMEOUTS {
            self.clear_conversation();
            return;
        }
        self.hooks(Hook::BeforeSessionTimeout).await;
        let target = self.timeout_target();
        let jumped = self.state("context").get("hasJumped").truthy();
        if let Some((flow, node)) = target {
            self.enter_timeout(flow, node);
        }
        if (target.is_some() || jumped)
            && let Err(Lost(message)) = self.dialog().await
        {
            self.error(FailureKind::Lost, &message);
        }
        self.hide_skills_in_trace();
        let waiting = self.state("context").get("queue").get("instructions").as_array();
        if waiting.is_none_or(<[Value]>::is_empty) {
            self.clear_conversation();
        }
    }

    /// A node called `timeout` in the current flow (the caller's, within a skill), else the timeout flow.
    fn timeout_target(&self) -> Option<(&'t Flow, usize)> {
        let bot = self.bot;
        let context = self.state("context");
        let current = context.str("currentFlow").unwrap_or_default();
        let flow = if is_skill(current) { context.str("previousFlow").unwrap_or_default() } else { current };
        let own = bot.find_flow(flow).and_then(|flow| Some((flow, flow.node("timeout")?)));
        own.or_else(|| bot.find_flow("timeout").and_then(|flow| Some((flow, flow.start?))))
    }

    fn enter_timeout(&mut self, flow: &Flow, node: usize) {
        let context = self.context();
        let from = |name: &str| context.get(name).cloned().unwrap_or_default();
        let (previous_flow, previous_node) = (from("currentFlow"), from("currentNode"));
        let mut points = context.get("jumpPoints").and_then(Value::as_array).unwrap_or_default().to_vec();
        points.push(Object::new().with("flow", previous_flow.clone()).with("node", previous_node.clone()).into());
        context.set("currentFlow", &flow.name);
        context.set("currentNode", &flow.nodes[node].name);
        context.set("previousFlow", previous_flow);
        context.set("previousNode", previous_node);
        context.set("jumpPoints", Value::Array(points));
        context.set("hasJumped", true);
    }
}
