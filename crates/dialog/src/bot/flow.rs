//! Flows: their files checked and linked (`flows.md` § 1, § 2).

use std::collections::HashMap;

use crate::value::{Text, Value};

/// A checked flow.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Path below `flows/`, with `.flow.json`.
    pub name: Text,
    /// Place of the start node; `None` only in bots of one flow.
    pub start: Option<usize>,
    /// Run at every waiting node of the flow.
    pub catch_all_receive: Vec<Text>,
    /// Tried before every node's own transitions.
    pub catch_all_next: Vec<Transition>,
    /// The nodes.
    pub nodes: Vec<Node>,
    by_name: HashMap<Text, usize>,
}

/// A node of a flow.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name; compared exactly.
    pub name: Text,
    /// What sets it apart from a standard node.
    pub kind: NodeKind,
    /// Instructions run on arrival.
    pub on_enter: Vec<Text>,
    /// Instructions run on the next message; `None`: the node doesn't wait.
    pub on_receive: Option<Vec<Text>>,
    /// Transitions in order.
    pub next: Vec<Transition>,
}

/// What sets a node apart.
#[derive(Clone, Debug)]
pub enum NodeKind {
    /// Nothing; also listen, execute, router and the rest.
    Standard,
    /// Runs a sub-flow.
    Skill(Text),
    /// Says content of its own.
    Say(Text, Value),
}

/// A condition and where it leads.
#[derive(Clone, Debug)]
pub struct Transition {
    /// The condition's text.
    pub condition: Text,
    /// The target's text; empty ends the conversation.
    pub target: Text,
}

impl Flow {
    /// Checks a flow's file.
    ///
    /// # Errors
    /// What is wrong with it, for an operator.
    pub fn parse(name: &str, file: &Value, one_flow: bool) -> Result<Flow, String> {
        if !file.str("version").is_some_and(|version| version.starts_with("0.")) {
            return Err("version must be a text that starts with \"0.\"".to_owned());
        }
        let nodes = file.get("nodes").as_array().ok_or("nodes must be a list")?;
        let nodes: Vec<Node> =
            nodes.iter().enumerate().map(|(at, node)| parse_node(at, node)).collect::<Result<_, _>>()?;
        let mut by_name = HashMap::with_capacity(nodes.len());
        for (at, node) in nodes.iter().enumerate() {
            by_name.entry(node.name.clone()).or_insert(at);
        }
        let start_name = file.str("startNode");
        let start = start_name.and_then(|name| by_name.get(name).copied());
        if start.is_none() && !one_flow {
            return Err(match start_name {
                Some(name) => format!("startNode \"{name}\" is not a node of the flow"),
                None => "startNode must be a text".to_owned(),
            });
        }
        let catch_all = file.get("catchAll");
        if catch_all.get("onEnter").truthy() {
            return Err("catchAll must not have onEnter".to_owned());
        }
        Ok(Flow {
            name: name.into(),
            start,
            catch_all_receive: texts(catch_all.get("onReceive")).unwrap_or_default(),
            catch_all_next: transitions(catch_all.get("next")),
            nodes,
            by_name,
        })
    }

    /// The node of this name.
    pub fn node(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Whether it is a generated sub-flow of a skill.
    pub fn is_skill(&self) -> bool {
        is_skill(&self.name)
    }
}

/// Whether a flow of this name is a generated sub-flow of a skill.
pub fn is_skill(flow: &str) -> bool {
    flow.starts_with("skills/")
}

fn parse_node(at: usize, node: &Value) -> Result<Node, String> {
    let name = node.str("name").ok_or_else(|| format!("node {at} has no name"))?;
    let content = node.get("content");
    let kind = match (node.str("type"), content.str("contentType")) {
        (Some("skill-call"), _) => {
            let flow = node.str("flow").ok_or_else(|| format!("skill-call \"{name}\" names no flow"))?;
            NodeKind::Skill(flow.into())
        }
        (Some("say_something"), Some(content_type)) => {
            NodeKind::Say(content_type.into(), content.get("formData").clone())
        }
        _ => NodeKind::Standard,
    };
    Ok(Node {
        name: name.into(),
        kind,
        on_enter: texts(node.get("onEnter")).unwrap_or_default(),
        on_receive: texts(node.get("onReceive")),
        next: transitions(node.get("next")),
    })
}

fn texts(list: &Value) -> Option<Vec<Text>> {
    let texts = list.as_array()?.iter().filter_map(|item| match item {
        Value::String(text) => Some(text.clone()),
        _ => None,
    });
    Some(texts.collect())
}

fn transitions(list: &Value) -> Vec<Transition> {
    let list = list.as_array().unwrap_or_default();
    let transition = |item: &Value| Transition {
        condition: item.str("condition").unwrap_or_default().into(),
        target: item.str("node").unwrap_or_default().into(),
    };
    list.iter().filter(|item| item.as_object().is_some()).map(transition).collect()
}
