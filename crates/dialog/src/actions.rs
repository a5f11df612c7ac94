//! Names of the actions that the engine runs itself (`actions-skills.md` § 2, § 5 to § 8).

/// Actions that came with the original's modules and are native here. A script of the same name is never
/// run.
pub const NATIVE: &[&str] = &[
    "builtin/setVariable",
    "builtin/removeVariable",
    "builtin/setGlobalVariable",
    "builtin/getGlobalVariable",
    "builtin/resetGlobalVariable",
    "builtin/incrementNumberOfConversations",
    "builtin/getNumberOfConversations",
    "builtin/appendContext",
    "builtin/removeContext",
    "builtin/resetContext",
    "builtin/resetSession",
    "builtin/switchLanguage",
    "builtin/wait",
    "builtin/sendFeedback",
    "builtin/storeFileLocally",
    "basic-skills/choice_parse_answer",
    "basic-skills/choice_invalid_answer",
    "basic-skills/call_api",
    "basic-skills/slot_update_contexts",
    "basic-skills/slot_fill",
    "basic-skills/slot_not_found",
    "basic-skills/slot_reset",
    "basic-skills/send_email",
];

/// Whether the engine runs this action itself.
pub fn is_native(name: &str) -> bool {
    NATIVE.contains(&name)
}
