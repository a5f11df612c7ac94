//! The scripts with which integrations find their instances in requests, and make addresses
//! (`spec/cloud/bridge-protocol.md` § 6.3): the part of the Vector Remap Language that they use.
//!
//! * `token` and `parse` make a program of a text; `run` runs it on a value; `functions` are what it may
//!   call.
//!
//! Pure: no I/O, no clock. A program has no loops, and its steps and the size of what it makes are
//! bounded, so it ends soon.
//!
//! ```
//! use duologue_remap::run;
//! use serde_json::json;
//! let script = "body = parse_json!(.body)\nto_string!(body.team.id)";
//! let (result, _) = run(script, json!({"body": "{\"team\":{\"id\":\"T1\"}}"})).unwrap();
//! assert_eq!(result, json!("T1"));
//! ```

mod functions;
mod parse;
mod run;
mod token;

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
    run::run(&program, data)
}
