//! Where Duologue deliberately answers otherwise than the original did.

/// One step of a recording, and what is right here.
pub struct Difference {
    /// The number that the recording's name begins with.
    pub recording: &'static str,
    /// The step, from 0.
    pub step: usize,
    /// The difference as the first cell of its row in `docs/compatibility.md` says it; the row has the reason.
    pub what: &'static str,
    /// The status.
    pub status: u16,
    /// Headers; `None` for one that mustn't be there.
    pub headers: &'static [(&'static str, Option<&'static str>)],
    /// Members that the body has; empty if it doesn't matter.
    pub body: &'static str,
}

/// The difference at a step.
pub fn of(recording: &str, step: usize) -> Option<&'static Difference> {
    ALL.iter().find(|difference| recording.starts_with(difference.recording) && difference.step == step)
}

/// An answer of status 200 with these members.
const fn answers(recording: &'static str, step: usize, what: &'static str, body: &'static str) -> Difference {
    Difference { recording, step, what, status: 200, headers: &[], body }
}

/// An error in the dialect's envelope.
const fn refuses(
    recording: &'static str,
    step: usize,
    what: &'static str,
    status: u16,
    body: &'static str,
) -> Difference {
    Difference { recording, step, what, status, headers: &[], body }
}

const NUMBERS: &str = "Choices can be answered by number";
const TEMPLATES: &str = "What a user typed isn't evaluated";
const ENGINE_ERRORS: &str = "Errors of the engine end in the error flow";
const ALL_BOTS: &str = "The bot `___` doesn't exist";
const UNKNOWN_STRATEGY: &str = "An unknown login strategy is called one";
const HOME: &str = "There is no page at `/`";
const MISSING_QNA: &str = "A missing QnA entry is passed over";

const ASKS_COLOR: &str = r#"{"responses":[{"type":"single-choice","skill":"choice","workflow":{},"text":"Which color?",
    "choices":[{"title":"Red","value":"red"},{"title":"Blue","value":"blue"}],"markdown":true,"typing":true}]}"#;
const PICKED_RED: &str = r#"{"responses":[{"type":"text","workflow":{},"text":"You picked red","typing":true}]}"#;
const PICKED_BLUE: &str = r#"{"responses":[{"type":"text","workflow":{},"text":"You picked blue","typing":true}]}"#;

const FAILED: &str = r#"{"responses":[{"type":"text","workflow":{},"text":"Oops, an error flow answer.","typing":true},
    {"type":"text","workflow":{},"text":"conversation_end flow ran","typing":true}],"state":{"context":{}}}"#;
const FAILED_CONDITION: &str = r#"{"responses":[
    {"type":"text","workflow":{},"text":"before bad condition","typing":true},
    {"type":"text","workflow":{},"text":"Oops, an error flow answer.","typing":true},
    {"type":"text","workflow":{},"text":"conversation_end flow ran","typing":true}],"state":{"context":{}}}"#;
const FAILED_SYNTAX: &str = r#"{"responses":[
    {"type":"text","workflow":{},"text":"before syntax error","typing":true},
    {"type":"text","workflow":{},"text":"Oops, an error flow answer.","typing":true},
    {"type":"text","workflow":{},"text":"conversation_end flow ran","typing":true}],"state":{"context":{}}}"#;
const BEGINS_ANEW: &str =
    r#"{"responses":[{"type":"text","workflow":{},"text":"Welcome to golden bot.","typing":true}]}"#;
const GOES_ON: &str = r#"{"responses":[{"type":"text","workflow":{},"text":"pong","typing":true}]}"#;

/// All of them, in the order of the recordings.
pub const ALL: &[Difference] = &[
    answers("03", 8, NUMBERS, PICKED_RED),
    answers("03", 9, NUMBERS, ASKS_COLOR),
    answers("03", 10, NUMBERS, PICKED_BLUE),
    answers("03", 12, NUMBERS, PICKED_BLUE),
    answers("03", 13, NUMBERS, ASKS_COLOR),
    answers("03", 14, NUMBERS, PICKED_RED),
    answers(
        "10",
        2,
        TEMPLATES,
        r#"{"responses":[{"type":"text","workflow":{},"text":"esc=tpl {{event.target}} raw=tpl {{event.target}} prev=tpl {{event.target}} user= sess= temp= bot= missing=[] ch=api tgt=tpl no-nick","typing":true}]}"#,
    ),
    answers(
        "10",
        3,
        TEMPLATES,
        r#"{"responses":[{"type":"text","workflow":{},"text":"esc=tpl {{{event.botId}}} {{nothing}} raw=tpl {{{event.botId}}} {{nothing}} prev=tpl {{{event.botId}}} {{nothing}} user= sess= temp= bot= missing=[] ch=api tgt=tpl no-nick","typing":true}]}"#,
    ),
    answers("15", 1, ENGINE_ERRORS, FAILED),
    answers("15", 2, ENGINE_ERRORS, BEGINS_ANEW),
    answers("15", 3, ENGINE_ERRORS, GOES_ON),
    answers("15", 5, ENGINE_ERRORS, FAILED),
    answers("15", 6, ENGINE_ERRORS, BEGINS_ANEW),
    answers("15", 7, ENGINE_ERRORS, GOES_ON),
    answers("15", 9, ENGINE_ERRORS, FAILED),
    answers("15", 10, ENGINE_ERRORS, BEGINS_ANEW),
    answers("15", 11, ENGINE_ERRORS, GOES_ON),
    answers("15", 13, ENGINE_ERRORS, FAILED),
    answers("15", 14, ENGINE_ERRORS, BEGINS_ANEW),
    answers("15", 15, ENGINE_ERRORS, GOES_ON),
    answers("15", 17, ENGINE_ERRORS, FAILED_CONDITION),
    answers("15", 18, ENGINE_ERRORS, BEGINS_ANEW),
    answers("15", 19, ENGINE_ERRORS, GOES_ON),
    answers("15", 21, ENGINE_ERRORS, FAILED_SYNTAX),
    answers("15", 22, ENGINE_ERRORS, BEGINS_ANEW),
    answers("15", 23, ENGINE_ERRORS, GOES_ON),
    refuses("24", 6, ALL_BOTS, 404, r#"{"errorCode":"BP_0044","message":"Not Found: Invalid Bot ID"}"#),
    refuses(
        "32",
        7,
        UNKNOWN_STRATEGY,
        400,
        r#"{"statusCode":400,"type":"Error","message":"There is no login strategy \"nope\" with passwords"}"#,
    ),
    refuses("33", 21, HOME, 405, r#"{"type":"MethodNotFound"}"#),
    answers(
        "36",
        15,
        MISSING_QNA,
        r#"{"responses":[{"type":"text","collectFeedback":true,"text":"Answer of hours for qna:missing","typing":true,"markdown":true}],"suggestions":[{"confidence":0.6,"payloads":[{"type":"text","collectFeedback":true,"text":"Answer of hours for qna:missing","typing":true,"markdown":true}],"source":"qna","sourceDetails":"__qna__hours","decision":{"status":"elected","reason":"best remaining suggestion available"}}]}"#,
    ),
    answers(
        "36",
        17,
        MISSING_QNA,
        r#"{"responses":[{"type":"text","workflow":{},"text":"Sorry, I did not get: qna:missing","typing":true}]}"#,
    ),
];
