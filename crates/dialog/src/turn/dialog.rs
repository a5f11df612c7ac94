//! The dialog engine: positions, queues of instructions, transitions (`flows.md` § 4 to § 8).

use std::{borrow::Cow, collections::HashMap};

use super::{Failure, Run, Script, VISIT};
use crate::{
    bot::{
        Hook,
        flow::{Flow, Node, NodeKind, Transition, is_skill},
        instruction::Instruction,
        split_flow_target,
    },
    condition::{Condition, Variables, Verdict},
    host::{ErrorClass, Host, ScriptKind},
    trace::{FailureKind, Step},
    value::{Object, Text, Value},
};

/// Where failures lead unless a bot says otherwise.
const ERROR_FLOW: &str = "error.flow.json";
/// A node visited so often in a turn is a loop, at the next transition.
const MAX_VISITS: usize = 3;
/// The same for scripts that jump, which pass no transition.
const MAX_CODE_VISITS: usize = 20;
/// How deep flows may call flows. Beyond this they call each other in a circle.
const MAX_CALLS: usize = 200;

/// Whether the engine goes on at its new position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Next {
    Continue,
    Stop,
}

/// The turn began at a position that the bot doesn't have (`flows.md` § 7c).
#[derive(Debug)]
pub(super) struct Lost(pub String);

/// An instruction in a node's queue.
#[derive(Clone, Debug, PartialEq)]
enum Queued {
    Enter(Text, Option<Value>),
    Receive(Text),
    Wait,
    Transition(Text, Text),
}

impl Queued {
    fn to_value(&self) -> Value {
        let object = match self {
            Queued::Enter(text, None) => Object::new().with("type", "on-enter").with("fn", text),
            Queued::Enter(text, Some(args)) => {
                Object::new().with("type", "on-enter").with("fn", text).with("args", args.clone())
            }
            Queued::Receive(text) => Object::new().with("type", "on-receive").with("fn", text),
            Queued::Wait => Object::new().with("type", "wait"),
            Queued::Transition(condition, target) => {
                Object::new().with("type", "transition").with("fn", condition).with("node", target)
            }
        };
        object.into()
    }

    fn from_value(value: &Value) -> Option<Queued> {
        let text = |name: &str| match value.get(name) {
            Value::String(text) => text.clone(),
            _ => "".into(),
        };
        Some(match value.str("type")? {
            "on-enter" => {
                Queued::Enter(text("fn"), Some(value.get("args").clone()).filter(|args| !args.is_undefined()))
            }
            "on-receive" => Queued::Receive(text("fn")),
            "wait" => Queued::Wait,
            "transition" => Queued::Transition(text("fn"), text("node")),
            _ => return None,
        })
    }
}

impl<'t, H: Host> Run<'t, H> {
    /// Runs the flows from the current position until they wait or end.
    pub(super) async fn dialog(&mut self) -> Result<(), Lost> {
        let mut started = false;
        loop {
            let circles = self.jump_points().len() > MAX_CALLS || self.visited(MAX_CODE_VISITS);
            if circles || !self.may_go_on(VISIT) {
                self.cut_loop();
                break;
            }
            let next = match self.locate() {
                Ok((flow, node)) => self.run_node(flow, node).await,
                Err(failure) if !started => return Err(Lost(failure.message)),
                Err(failure) => self.divert(failure).await,
            };
            started = true;
            if next == Next::Stop {
                break;
            }
        }
        if let Some(jump_points) = self.ending.take()
            && self.jump_points().len() == jump_points
        {
            self.clear_conversation();
        }
        Ok(())
    }

    // ---- positions

    fn locate(&mut self) -> Result<(&'t Flow, &'t Node), Failure> {
        let bot = self.bot;
        if self.context().is_empty() {
            let main = bot.find_flow("main").ok_or_else(|| Failure::jump("there is no main flow"))?;
            let start = main.start.ok_or_else(|| Failure::jump("the main flow has no start node"))?;
            let node = main.nodes[start].name.clone();
            self.push_trace(&main.name, &node);
            self.set_state("context", Object::new().with("currentNode", node).with("currentFlow", &main.name).into());
        }
        let context = self.state("context");
        let flow_name = context.str("currentFlow").unwrap_or_default();
        let node_name = context.str("currentNode").unwrap_or_default();
        let flow = bot.find_flow(flow_name).ok_or_else(|| Failure::jump(format!("there is no flow {flow_name}")))?;
        let node = flow.node(node_name).ok_or_else(|| Failure::jump(format!("{flow_name} has no node {node_name}")))?;
        Ok((flow, &flow.nodes[node]))
    }

    fn position(&self) -> (Value, Value) {
        let context = self.state("context");
        (context.get("currentFlow").clone(), context.get("currentNode").clone())
    }

    fn push_trace(&mut self, flow: &str, node: &str) {
        let state = self.event.make_object().object_mut("state");
        if !matches!(state.get("__stacktrace"), Some(Value::Array(_))) {
            state.set("__stacktrace", Value::Array(Vec::new()));
        }
        if let Some(Value::Array(trace)) = state.get_mut("__stacktrace") {
            trace.push(Object::new().with("flow", flow).with("node", node).into());
        }
    }

    /// Takes sub-flows of skills out of the trace at the end of the turn (`flows.md` § 5.4b).
    pub(super) fn hide_skills_in_trace(&mut self) {
        if let Some(Value::Array(trace)) = self.event.make_object().object_mut("state").get_mut("__stacktrace") {
            trace.retain(|entry| !entry.str("flow").is_some_and(is_skill));
        }
    }

    fn jump_points(&self) -> &[Value] {
        self.state("context").get("jumpPoints").as_array().unwrap_or_default()
    }

    // ---- nodes

    async fn run_node(&mut self, flow: &'t Flow, node: &'t Node) -> Next {
        let returned = std::mem::take(&mut self.returned);
        if let NodeKind::Skill(sub_flow) = &node.kind
            && !returned
        {
            return match self.enter_skill(flow, node, sub_flow) {
                Ok(()) => Next::Continue,
                Err(failure) => self.divert(failure).await,
            };
        }
        let jumped = self.state("context").get("hasJumped").truthy();
        if jumped {
            self.context().set("hasJumped", false);
        }
        let saved = if jumped { None } else { self.saved_queue() };
        let resumed = saved.is_some();
        self.step(Step::Node { flow: flow.name.clone(), node: node.name.clone(), resumed });
        let queue = saved.unwrap_or_else(|| build_queue(flow, node, jumped));
        self.run_queue(&queue, resumed).await
    }

    fn enter_skill(&mut self, flow: &Flow, node: &Node, sub_flow: &str) -> Result<(), Failure> {
        let bot = self.bot;
        let missing = || Failure::jump(format!("there is no flow {sub_flow}"));
        let sub_flow = bot.find_flow(sub_flow).ok_or_else(missing)?;
        let start = sub_flow.start.ok_or_else(|| Failure::jump(format!("{} has no start node", sub_flow.name)))?;
        self.step(Step::Skill { flow: sub_flow.name.to_string() });
        self.move_to_flow(&sub_flow.name, &sub_flow.nodes[start].name, (&flow.name, &node.name));
        Ok(())
    }

    fn saved_queue(&self) -> Option<Vec<Queued>> {
        let instructions = self.state("context").get("queue").get("instructions").as_array()?;
        Some(instructions.iter().filter_map(Queued::from_value).collect())
    }

    fn save_queue(&mut self, queue: &[Queued]) {
        let instructions = Value::Array(queue.iter().map(Queued::to_value).collect());
        self.context().set("queue", Object::new().with("instructions", instructions));
    }

    /// Drops the queue. Its member keeps its place, as it did in the original.
    fn drop_queue(&mut self) {
        self.context().set("queue", Value::Undefined);
    }

    async fn run_queue(&mut self, queue: &[Queued], resumed: bool) -> Next {
        for (at, instruction) in queue.iter().enumerate() {
            if !self.may_go_on(1) {
                self.cut_loop();
                return Next::Stop;
            }
            // What a script sees as the queue: what the last instruction left, itself included.
            let left = (at > 0 || resumed).then_some(&queue[at..]);
            match instruction {
                Queued::Wait => {
                    self.save_queue(&queue[at + 1..]);
                    self.step(Step::Wait);
                    return Next::Stop;
                }
                Queued::Enter(text, args) => {
                    if let Some(next) = self.run_instruction(text, args.as_ref(), left, &queue[at + 1..]).await {
                        return next;
                    }
                }
                Queued::Receive(text) => {
                    if let Some(next) = self.run_instruction(text, None, left, &queue[at + 1..]).await {
                        return next;
                    }
                }
                Queued::Transition(condition, target) => match self.holds(condition, target, left).await {
                    Ok(false) => {}
                    Ok(true) => {
                        self.drop_queue();
                        self.step(Step::Jump { target: target.to_string() });
                        return match self.follow(target).await {
                            Ok(next) => next,
                            Err(failure) => self.divert(failure).await,
                        };
                    }
                    Err(failure) => return self.divert(failure).await,
                },
            }
        }
        self.drop_queue();
        self.end().await
    }

    /// Runs an instruction; says how to go on if the position isn't the same any more.
    async fn run_instruction(
        &mut self,
        text: &Text,
        args: Option<&Value>,
        left: Option<&[Queued]>,
        rest: &[Queued],
    ) -> Option<Next> {
        let bot = self.bot;
        let instruction = bot.instruction(text).map_or_else(|| Cow::Owned(Instruction::parse(text)), Cow::Borrowed);
        let result = match &*instruction {
            Instruction::Broken(message) => Err(Failure::engine(message.clone())),
            Instruction::Say(say) => self.say(say, args).await,
            Instruction::Action(action) if action.server.is_none() && crate::actions::is_native(&action.name) => {
                self.action(action).await
            }
            Instruction::Action(action) => {
                if let Some(left) = left {
                    self.save_queue(left);
                }
                let before = self.position();
                match self.action(action).await {
                    Ok(()) if self.state("context").get("hasJumped").truthy() => return Some(Next::Continue),
                    Ok(()) => {
                        self.save_queue(rest);
                        if self.position() != before {
                            return Some(Next::Continue);
                        }
                        Ok(())
                    }
                    failed => failed,
                }
            }
        };
        match result {
            Ok(()) => None,
            Err(failure) => Some(self.divert(failure).await),
        }
    }

    // ---- conditions

    async fn holds(&mut self, text: &Text, target: &Text, left: Option<&[Queued]>) -> Result<bool, Failure> {
        let bot = self.bot;
        let condition = bot.condition(text).map_or_else(|| Cow::Owned(Condition::compile(text)), Cow::Borrowed);
        let verdict = match &*condition {
            Condition::Constant(value) => Verdict::Is(*value),
            Condition::LastNode(name) => {
                Verdict::Is(name.as_deref().is_some_and(|name| self.last_node() == Some(name)))
            }
            Condition::Native(expression) => {
                let state = self.event.get("state");
                expression.evaluate(Variables {
                    event: &self.event,
                    user: state.get("user"),
                    session: state.get("session"),
                    temp: state.get("temp"),
                    bot: state.get("bot"),
                })
            }
            Condition::Script => Verdict::Ask,
        };
        let value = match verdict {
            Verdict::Is(value) => value,
            Verdict::ReferenceError(name) => {
                return Err(Failure::engine(format!("condition {text}: {name} is not defined")));
            }
            Verdict::Ask => self.ask(text, left).await?,
        };
        self.step(Step::Condition { text: text.clone(), target: target.clone(), value });
        Ok(value)
    }

    async fn ask(&mut self, text: &Text, left: Option<&[Queued]>) -> Result<bool, Failure> {
        if let Some(left) = left {
            self.save_queue(left);
        }
        let script = Script { kind: ScriptKind::Condition, name: text, path: "", global: false, source: text };
        match self.script(script, &Object::new()).await.result {
            Ok(value) => Ok(value.truthy()),
            Err(error) if error.class == ErrorClass::Type => Ok(false),
            Err(error) => Err(Failure::engine(format!("condition {text}: {error}"))),
        }
    }

    /// The node before the current one in this event's trace.
    fn last_node(&self) -> Option<&str> {
        let trace = self.state("__stacktrace").as_array()?;
        trace[trace.len().saturating_sub(2)..].first()?.str("node")
    }

    // ---- jumps

    /// Follows a transition's target (`flows.md` § 5).
    async fn follow(&mut self, target: &str) -> Result<Next, Failure> {
        if target.is_empty() {
            return Ok(self.end().await);
        }
        if self.visited(MAX_VISITS) {
            self.cut_loop();
            return Ok(Next::Stop);
        }
        self.forget_used_jump_points();
        if let Some((flow, node)) = split_flow_target(target) {
            return self.go_to_flow(flow, node).map(|()| Next::Continue);
        }
        if target.starts_with('#') {
            return self.go_back(target).await;
        }
        if target == "END" {
            return Ok(self.end().await);
        }
        let flow = self.state("context").str("currentFlow").unwrap_or_default().to_owned();
        let previous = self.state("context").get("currentNode").clone();
        self.push_trace(&flow, target);
        let context = self.context();
        context.set("currentNode", target);
        if !is_skill(&flow) {
            context.set("previousNode", previous);
        }
        Ok(Next::Continue)
    }

    /// Whether some node occurs so many times in this event's trace (`flows.md` § 5.5).
    fn visited(&self, times: usize) -> bool {
        let trace = self.state("__stacktrace").as_array().unwrap_or_default();
        let mut visits = HashMap::new();
        trace.iter().any(|entry| {
            let count = visits.entry((entry.str("flow"), entry.str("node"))).or_insert(0_usize);
            *count += 1;
            *count >= times
        })
    }

    fn cut_loop(&mut self) {
        self.step(Step::Loop);
        self.ending = None;
        self.clear_conversation();
    }

    fn forget_used_jump_points(&mut self) {
        if let Some(Value::Array(points)) = self.context().get_mut("jumpPoints") {
            points.retain(|point| !point.get("used").truthy());
        }
    }

    fn go_to_flow(&mut self, name: &str, node: Option<&str>) -> Result<(), Failure> {
        let bot = self.bot;
        let flow = bot.find_flow(name).ok_or_else(|| Failure::jump(format!("there is no flow {name}")))?;
        let at = match node {
            Some(node) => flow.node(node).ok_or_else(|| Failure::jump(format!("{name} has no node {node}")))?,
            None => flow.start.ok_or_else(|| Failure::jump(format!("{name} has no start node")))?,
        };
        let node = &flow.nodes[at].name;
        let (from_flow, from_node) = self.position();
        self.push_trace(&flow.name, node);
        let from = (from_flow.as_str().unwrap_or_default(), from_node.as_str().unwrap_or_default());
        self.move_to_flow(&flow.name, node, from);
        Ok(())
    }

    /// The context in a flow that was called from `from`: exactly these members.
    fn move_to_flow(&mut self, flow: &str, node: &str, from: (&str, &str)) {
        let mut points = self.jump_points().to_vec();
        points.retain(|point| !point.get("used").truthy());
        points.push(Object::new().with("flow", from.0).with("node", from.1).into());
        let context = Object::new()
            .with("currentFlow", flow)
            .with("currentNode", node)
            .with("previousFlow", from.0)
            .with("previousNode", from.1)
            .with("jumpPoints", Value::Array(points));
        self.set_state("context", context.into());
    }

    /// Returns to the calling flow (`flows.md` § 5.2).
    async fn go_back(&mut self, target: &str) -> Result<Next, Failure> {
        let bot = self.bot;
        let (execute, name) = match target.strip_prefix("##") {
            Some(name) => (true, name),
            None => (false, &target[1..]),
        };
        let points = self.jump_points();
        let Some(at) = points.iter().rposition(|point| !point.get("used").truthy()) else {
            self.error(FailureKind::Ignored, "a return without a caller: the conversation ends");
            return Ok(self.end().await);
        };
        let flow_name = points[at].str("flow").unwrap_or_default().to_owned();
        let caller = points[at].str("node").unwrap_or_default().to_owned();
        let node_name = if name.is_empty() { caller.as_str() } else { name };
        let flow = bot.find_flow(&flow_name).ok_or_else(|| Failure::jump(format!("there is no flow {flow_name}")))?;
        let node = flow.node(node_name).ok_or_else(|| Failure::jump(format!("{flow_name} has no node {node_name}")))?;
        let node = &flow.nodes[node];
        self.push_trace(&flow.name, &node.name);
        let context = self.context();
        context.set("currentFlow", &flow.name);
        context.set("currentNode", &node.name);
        if let Some(Value::Array(points)) = context.get_mut("jumpPoints")
            && let Some(Value::Object(point)) = points.get_mut(at)
        {
            if execute {
                point.set("executeNode", true);
            }
            point.set("used", true);
        }
        if execute {
            self.drop_queue();
        } else {
            self.save_queue(&transitions(flow, node));
            self.returned = node_name == caller;
        }
        Ok(Next::Continue)
    }

    /// `bp.dialog.jumpTo` (`flows.md` § 5.6); flow and node are known to exist.
    pub(super) fn jump_from_code(&mut self, flow: &str, node: &str) {
        self.step(Step::Jump { target: format!("{flow}#{node}") });
        self.push_trace(flow, node);
        let context = self.context();
        context.set("currentFlow", flow);
        context.set("currentNode", node);
        context.remove("queue");
        context.set("hasJumped", true);
    }

    // ---- failures

    /// Goes to the error flow (`flows.md` § 7a, and here also 7b).
    pub(super) async fn divert(&mut self, failure: Failure) -> Next {
        self.record(&failure);
        self.drop_queue();
        let engine = failure.kind == FailureKind::Engine;
        let current = self.state("context").str("currentFlow").unwrap_or_default();
        if engine && current.eq_ignore_ascii_case(ERROR_FLOW) {
            self.clear_conversation();
            return Next::Stop;
        }
        let target = self.state("temp").str("onErrorFlowTo").filter(|target| !target.is_empty());
        let target = target.unwrap_or(ERROR_FLOW).to_owned();
        let mut next = self.follow(&target).await;
        if let Err(second) = &next
            && target != ERROR_FLOW
        {
            self.record(second);
            next = self.follow(ERROR_FLOW).await;
        }
        next.unwrap_or_else(|second| {
            self.record(&second);
            if engine {
                self.clear_conversation();
            }
            Next::Stop
        })
    }

    // ---- the end

    /// Ends the conversation (`flows.md` § 8).
    async fn end(&mut self) -> Next {
        let bot = self.bot;
        let current = self.state("context").str("currentFlow").unwrap_or_default().to_lowercase();
        if current == "timeout.flow.json" {
            self.clear_conversation();
            self.step(Step::End);
            return Next::Stop;
        }
        if current == "conversation_end.flow.json" {
            if self.ending.is_none() {
                self.clear_conversation();
            }
            self.step(Step::End);
            return Next::Stop;
        }
        self.hooks(Hook::BeforeConversationEnd).await;
        if self.state("context").get("hasJumped").truthy() {
            return Next::Continue;
        }
        self.step(Step::End);
        let end = bot.find_flow("conversation_end").and_then(|flow| Some((flow, &flow.nodes[flow.start?])));
        let Some((flow, node)) = end else {
            self.clear_conversation();
            return Next::Stop;
        };
        let (previous_flow, previous_node) = self.position();
        let mut points = self.jump_points().to_vec();
        points.push(Object::new().with("flow", previous_flow.clone()).with("node", previous_node.clone()).into());
        self.ending = Some(points.len());
        let context = self.context();
        context.set("currentFlow", &flow.name);
        context.set("currentNode", &node.name);
        context.set("previousFlow", previous_flow);
        context.set("previousNode", previous_node);
        context.set("jumpPoints", Value::Array(points));
        context.set("queue", Value::Undefined);
        context.set("hasJumped", true);
        Next::Continue
    }
}

/// A node's queue (`flows.md` § 4.1).
fn build_queue(flow: &Flow, node: &Node, jumped: bool) -> Vec<Queued> {
    let mut queue = Vec::new();
    if jumped {
        queue.extend(flow.catch_all_next.iter().map(queued));
    }
    queue.extend(node.on_enter.iter().map(|text| Queued::Enter(text.clone(), None)));
    if let Some(on_receive) = &node.on_receive {
        queue.push(Queued::Wait);
        queue.extend(flow.catch_all_receive.iter().chain(on_receive).map(|text| Queued::Receive(text.clone())));
    }
    if let NodeKind::Say(content_type, form) = &node.kind {
        queue.push(Queued::Enter(format!("say @{content_type}").into(), Some(form.clone())));
    }
    queue.extend(transitions(flow, node));
    queue
}

/// A node's transitions: the flow's, but for those to the node itself, and its own.
fn transitions(flow: &Flow, node: &Node) -> Vec<Queued> {
    let all = flow.catch_all_next.iter().filter(|transition| transition.target != node.name);
    all.chain(&node.next).map(queued).collect()
}

fn queued(transition: &Transition) -> Queued {
    Queued::Transition(transition.condition.clone(), transition.target.clone())
}
