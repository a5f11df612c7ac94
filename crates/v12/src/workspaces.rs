//! `workspaces.json`: which bots exist, and what roles may do (`auth-config.md` § 7).

use crate::json::Json;

/// A workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workspace {
    /// `default` on most servers.
    pub id: String,
    /// For humans.
    pub name: String,
    /// The ids of its bots.
    pub bots: Vec<String>,
    /// What its members may do.
    pub roles: Vec<Role>,
    /// The role of new members.
    pub default_role: String,
    /// The role of its administrators.
    pub admin_role: String,
    /// Put before the ids of new bots, with `__` between.
    pub bot_prefix: Option<String>,
}

/// A role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// `admin`, `dev`, `editor`, or the operator's own.
    pub id: String,
    /// In the order in which they are evaluated.
    pub rules: Vec<Rule>,
}

/// A rule of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The pattern of resources that it is about: `*`, `bot.flows`, `admin.*`.
    pub resource: String,
    /// What it changes: `+r`, `-w`, `+r-w`, `+rw`.
    pub operation: String,
}

/// What is done with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Looked at.
    Read,
    /// Changed.
    Write,
}

impl Role {
    /// Whether this role may do that: the last rule that applies decides; without one, no.
    pub fn allows(&self, operation: Operation, resource: &str) -> bool {
        let rules = self.rules.iter().filter(|rule| matches(&rule.resource, resource));
        rules.filter_map(|rule| rule.sign(operation)).next_back().unwrap_or(false)
    }

    /// What chat users may do who logged in.
    pub fn chat_user() -> Role {
        let rule = Rule { resource: "user.bots".to_owned(), operation: "+r".to_owned() };
        Role { id: "chatuser".to_owned(), rules: vec![rule] }
    }
}

impl Rule {
    /// What the rule says about an operation, if anything. A sign holds for all letters up to the
    /// next.
    fn sign(&self, operation: Operation) -> Option<bool> {
        let letter = if operation == Operation::Read { 'r' } else { 'w' };
        let mut sign = None;
        let mut found = None;
        for character in self.operation.chars() {
            match character {
                '+' => sign = Some(true),
                '-' => sign = Some(false),
                other if other == letter => found = sign,
                _ => {}
            }
        }
        found
    }
}

/// Whether a pattern is about a resource: compared part by part, `*` is any part; what the resource
/// has more is ignored.
fn matches(pattern: &str, resource: &str) -> bool {
    let parts = |text: &str| text.to_lowercase().split(['.', '/']).map(str::to_owned).collect::<Vec<_>>();
    let resource = parts(resource);
    parts(pattern).iter().enumerate().all(|(index, part)| part == "*" || Some(part) == resource.get(index))
}

/// Reads `workspaces.json`.
///
/// # Errors
/// What is wrong with it.
pub fn parse(content: &[u8]) -> Result<Vec<Workspace>, String> {
    let Json::Array(list) = crate::config::parse_json(content)? else { return Err("it isn't an array".to_owned()) };
    list.iter().map(workspace).collect()
}

fn workspace(value: &Json) -> Result<Workspace, String> {
    let text = |name: &str| value.get(name).and_then(Json::as_str).map(str::to_owned);
    let id = text("id").ok_or("a workspace has no id")?;
    let items = |name: &str| match value.get(name) {
        Some(Json::Array(items)) => items.as_slice(),
        _ => &[],
    };
    Ok(Workspace {
        name: text("name").unwrap_or_else(|| id.clone()),
        bots: items("bots").iter().filter_map(Json::as_str).map(str::to_owned).collect(),
        roles: items("roles").iter().filter_map(role).collect(),
        default_role: text("defaultRole").unwrap_or_else(|| "dev".to_owned()),
        admin_role: text("adminRole").unwrap_or_else(|| "admin".to_owned()),
        bot_prefix: text("botPrefix").filter(|prefix| !prefix.is_empty()),
        id,
    })
}

fn role(value: &Json) -> Option<Role> {
    let rules = match value.get("rules") {
        Some(Json::Array(rules)) => rules.as_slice(),
        _ => &[],
    };
    let rules = rules.iter().filter_map(|rule| {
        let text = |name: &str| rule.get(name).and_then(Json::as_str).map(str::to_owned);
        Some(Rule { resource: text("res")?, operation: text("op")? })
    });
    Some(Role { id: value.get("id")?.as_str()?.to_owned(), rules: rules.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(rules: &[(&str, &str)], operation: Operation, resource: &str) -> bool {
        let rules = rules
            .iter()
            .map(|(resource, operation)| Rule { resource: (*resource).to_owned(), operation: (*operation).to_owned() });
        Role { id: "x".to_owned(), rules: rules.collect() }.allows(operation, resource)
    }

    #[test]
    fn the_last_applicable_rule_decides() {
        use Operation::{Read, Write};
        let dev: &[(&str, &str)] = &[("*", "+r+w"), ("admin.*", "+r-w"), ("admin.collaborators.*", "-r")];
        assert!(allows(dev, Write, "bot.flows"));
        assert!(allows(dev, Read, "admin.logs") && !allows(dev, Write, "admin.logs"));
        assert!(!allows(dev, Read, "admin.collaborators.list"));
        // Only what a rule names is touched.
        assert!(!allows(dev, Write, "Admin/Collaborators/list"));
        assert!(!allows(&[], Read, "bot"));
        assert!(
            allows(&[("bot.flows", "+rw")], Write, "bot.flows")
                && allows(&[("bot.flows", "+rw")], Read, "bot.flows.x.y")
        );
        assert!(!allows(&[("bot.flows", "+rw")], Read, "bot.flow") && !allows(&[("bot.flows", "+rw")], Read, "bot"));
        assert!(!allows(&[("*", "+rw"), ("bot", "-rw")], Write, "bot.content"));
        assert!(Role::chat_user().allows(Read, "user.bots") && !Role::chat_user().allows(Write, "user.bots"));
    }
}
