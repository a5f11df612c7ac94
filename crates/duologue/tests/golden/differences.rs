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

const TEMPLATES: &str = "What a user typed isn't evaluated";
const ENGINE_ERRORS: &str = "Errors of the engine end in the error flow";
const NUMBERS: &str = "Choices can be answered by number";
const ALL_BOTS: &str = "The bot `___` doesn't exist";
const MISSING_QNA: &str = "A missing QnA entry is passed over";

/// All of them, in the order of the recordings.
pub const ALL: &[Difference] = &[];
