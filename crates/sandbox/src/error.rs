//! What can go wrong, and where.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Log;

/// Why the pool could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// No command, or no workers asked for.
    #[error("the pool's configuration is wrong: {0}")]
    Config(&'static str),
    /// The worker's command didn't start or didn't answer as a worker.
    #[error("can't start a script worker ({command}): {source}")]
    Start {
        /// The command.
        command: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// What kind of error ended a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Class {
    /// E.g. a member of undefined was read. Makes a condition false (flows.md 6).
    TypeError,
    /// An unknown variable.
    ReferenceError,
    /// The text isn't JavaScript.
    SyntaxError,
    /// E.g. the recursion is too deep.
    RangeError,
    /// Any other error, by its `name`.
    Other(String),
    /// Something was thrown that isn't an error object; the message is its text.
    Thrown,
    /// The run used up its time.
    Timeout,
    /// The run used up its memory. Also when `null` was thrown: the engine does that when no memory
    /// is left for an error object, and the two can't be told apart.
    Memory,
    /// A limit other than time and memory was passed: host calls, output.
    Limit,
    /// The script waits for a promise that nothing can resolve any more.
    Unfinished,
    /// The worker process ended in the middle of the run, or had to be ended.
    Killed,
    /// The queue was full or the run waited too long in it: the script was not started.
    Busy,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TypeError => "TypeError",
            Self::ReferenceError => "ReferenceError",
            Self::SyntaxError => "SyntaxError",
            Self::RangeError => "RangeError",
            Self::Other(name) => name,
            Self::Thrown => "thrown",
            Self::Timeout => "time limit",
            Self::Memory => "memory limit",
            Self::Limit => "limit",
            Self::Unfinished => "unfinished",
            Self::Killed => "killed",
            Self::Busy => "busy",
        })
    }
}

/// Why a run did not end well. The script's effects up to there are kept: host calls that were
/// answered, and its variables if they can still be read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{class}: {message}")]
pub struct ScriptError {
    /// What kind.
    pub class: Class,
    /// What the script, or the limit, said.
    pub message: String,
    /// The stack as the engine prints it, with the user's own files and lines.
    pub stack: Option<String>,
    /// The user's file in which it happened.
    pub file: Option<String>,
    /// Line in that file, from 1.
    pub line: Option<u32>,
    /// Column in that line, from 1.
    pub column: Option<u32>,
    /// The variables as they were left, if they changed and can be known.
    pub variables: Option<Map<String, Value>>,
    /// What was logged before.
    pub logs: Vec<Log>,
}

impl ScriptError {
    pub(crate) fn boxed(class: Class, message: impl Into<String>) -> Box<Self> {
        Box::new(Self::new(class, message))
    }

    pub(crate) fn new(class: Class, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
            stack: None,
            file: None,
            line: None,
            column: None,
            variables: None,
            logs: Vec::new(),
        }
    }
}
