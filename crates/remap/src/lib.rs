//! The scripts with which integrations find their instances in requests, and make addresses
//! (`spec/cloud/bridge-protocol.md` § 6.3): the part of the Vector Remap Language that they use.
//!
//! * `token` and `parse` make a program of a text; `run` runs it on a value; `functions` are what it may
//!   call; `pattern` and `dates` what some of these work with; `special` values that JSON has no form for.
//!
//! No I/O; of the outside a script sees the time only. Its steps, the size and depth of what it makes, what its
//! patterns look at and the time it takes are bounded, so it ends soon.
//!
//! ```
//! use duologue_remap::run;
//! use serde_json::json;
//! let script = "body = parse_json!(.body)\nto_string!(body.team.id)";
//! let (result, _) = run(script, json!({"body": "{\"team\":{\"id\":\"T1\"}}"})).unwrap();
//! assert_eq!(result, json!("T1"));
//! ```

mod dates;
mod functions;
mod parse;
mod pattern;
mod run;
mod special;
mod token;

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

/// Most bytes of a script.
pub const LONGEST: usize = 64 * 1024;

/// Why there is no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is no script of this language, or of the part of it that is there.
    #[error("line {line}: {text}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        text: String,
    },
    /// It failed.
    #[error("{0}")]
    Failed(String),
    /// It ended itself with `abort`.
    #[error("aborted")]
    Aborted,
    /// It did too much.
    #[error("the script takes too long, or makes too much")]
    TooMuch,
}

impl Error {
    fn failed(text: impl Into<String>) -> Self {
        Error::Failed(text.into())
    }
}

/// Runs a script on a value. Answers its result, which is the value of its last expression, and what it
/// made of the value it was given.
///
/// # Errors
/// See [`Error`].
pub fn run(script: &str, data: Value) -> Result<(Value, Value), Error> {
    if script.len() > LONGEST {
        return Err(Error::failed(format!("a script has at most {LONGEST} bytes")));
    }
    let program = parse::parse(script)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    run::run(&program, data, i64::try_from(now).unwrap_or(i64::MAX))
}
