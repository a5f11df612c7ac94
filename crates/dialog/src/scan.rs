//! Looks into scripts without running them: what they require, which `bp` members they use.
//!
//! A scan of the text, good enough for a report; strings and comments aren't told apart from code.

/// Members of `bp` that the engine and its host provide (`actions-skills.md` § 3).
const SUPPORTED: &[&str] = &[
    "IO",
    "ButtonAction",
    "LogLevel",
    "LoggerLevel",
    "NodeActionType",
    "RealTimePayload",
    "version",
    "logger",
    "events.replyToEvent",
    "events.sendEvent",
    "cms.renderElement",
    "cms.getContentElement",
    "cms.renderTemplate",
    "kvs",
    "users",
    "dialog.createId",
    "dialog.jumpTo",
    "dialog.deleteSession",
    "http.getAxiosConfigForBot",
    "ghost",
    "bots.getBotById",
    "config.getModuleConfigForBot",
    "security.getMessageSignature",
];

/// What a script requires by literal name, each once.
pub fn required(source: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut rest = source;
    while let Some(at) = rest.find("require(") {
        rest = rest[at + "require(".len()..].trim_start();
        let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"' | '`'));
        let name = quote.and_then(|quote| rest[1..].split_once(quote)).map(|(name, _)| name);
        if let Some(name) = name.filter(|name| !name.is_empty() && !name.contains('\n') && !names.contains(name)) {
            names.push(name);
        }
    }
    names
}

/// `bp` members that a script uses and that aren't there, each once, e.g. `bp.database`.
pub fn unsupported(source: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut rest = source;
    while let Some(at) = rest.find("bp.") {
        let alone = !rest[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '.' | '@' | '/'));
        rest = &rest[at + 3..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '.')).unwrap_or(rest.len());
        let path = rest[..end].trim_end_matches('.');
        let supported = SUPPORTED.iter().any(|member| {
            path == *member
                || path.strip_prefix(member).is_some_and(|more| more.starts_with('.'))
                || member.strip_prefix(path).is_some_and(|more| more.starts_with('.'))
        });
        let name = format!("bp.{}", path.split('.').take(2).collect::<Vec<_>>().join("."));
        if alone && !path.is_empty() && !supported && !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

/// The id that a content type's module exports, if it is written as a literal: `id: 'my_type'`.
pub fn exported_id(source: &str) -> Option<&str> {
    let mut rest = source;
    while let Some(at) = rest.find("id:") {
        let alone = !rest[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '.'));
        rest = &rest[at + 3..];
        let value = rest.trim_start();
        let quote = value.chars().next().filter(|c| matches!(c, '\'' | '"'));
        if let Some((id, _)) = quote.filter(|_| alone).and_then(|quote| value[1..].split_once(quote)) {
            return (!id.is_empty()).then_some(id);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_looked_into() {
        let source = "const axios = require('axios'); require( \"./x\" )\nbp.database('t'); await bp.kvs.forBot(b).get(k)\n\
                      bp.logger.info(1); const e = bp.events; bp.dialog.processEvent(a); require('axios')";
        assert_eq!(required(source), ["axios", "./x"]);
        assert_eq!(unsupported(source), ["bp.database", "bp.dialog.processEvent"]);
        assert_eq!(exported_id("module.exports = { uuid: 'n', id: 'my_type', title: 'x' }"), Some("my_type"));
    }
}
