//! What scripts may call: the functions that integrations' scripts use, with the names of the language's
//! own library. None reaches outside: no file, no variable of the environment, no network.
//!
//! * `kinds` of values, and from one to another; `texts`; `patterns`; `collections` arrays and objects; `numbers`;
//!   `instants`; `codes` encodings and digests; `parsing` texts with a form.

macro_rules! function {
    ($name:literal, $parameters:expr, $required:literal, $run:expr) => {
        Function { name: $name, parameters: $parameters, required: $required, run: Run::Pure($run) }
    };
}

/// A function that needs what belongs to the run.
macro_rules! bound {
    ($name:literal, $parameters:expr, $required:literal, $run:expr) => {
        Function { name: $name, parameters: $parameters, required: $required, run: Run::Bound($run) }
    };
}

mod codes;
mod collections;
mod instants;
mod kinds;
mod numbers;
mod parsing;
mod patterns;
mod texts;

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{Error, pattern::Pattern, special};

/// A function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    /// In their order.
    pub(crate) parameters: &'static [&'static str],
    /// How many of them must be given.
    pub(crate) required: usize,
    pub(crate) run: Run,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Run {
    /// Of its arguments alone.
    Pure(fn(&[Value]) -> Result<Value, Error>),
    /// Of the run as well.
    Bound(fn(&mut Context<'_>, &[Value]) -> Result<Value, Error>),
}

/// What functions need of the run.
pub(crate) struct Context<'p> {
    /// The instant at which it began, in nanoseconds since 1970.
    pub(crate) now: i64,
    patterns: &'p [Pattern],
    /// How much may still be looked at.
    matching: usize,
    until: Instant,
}

/// How much patterns may look at: bytes, times the size of the pattern in KiB.
const MOST_MATCHING: usize = 16 << 20;
/// How long a script may take.
const LONGEST: Duration = Duration::from_secs(2);
/// Most bytes of a text that a function makes.
const MOST_TEXT: usize = 4 << 20;

impl<'p> Context<'p> {
    pub(crate) fn new(now: i64, patterns: &'p [Pattern]) -> Self {
        Context { now, patterns, matching: MOST_MATCHING, until: Instant::now() + LONGEST }
    }

    /// Refuses to go on when time is over.
    pub(crate) fn check_time(&self) -> Result<(), Error> {
        if Instant::now() > self.until { Err(Error::TooMuch) } else { Ok(()) }
    }

    /// The pattern, and what it costs to have it look at this text.
    fn pattern(&mut self, function: &str, pattern: &Value, text: &str) -> Result<&'p Pattern, Error> {
        let pattern = special::pattern(pattern).and_then(|place| self.patterns.get(place));
        let pattern = pattern.ok_or_else(|| wrong(function, "a pattern"))?;
        let cost = pattern.cost.saturating_mul(text.len() + 64);
        self.matching = self.matching.checked_sub(cost).ok_or(Error::TooMuch)?;
        Ok(pattern)
    }
}

pub(crate) fn find(name: &str) -> Option<Function> {
    let all = [
        kinds::ALL,
        texts::ALL,
        patterns::ALL,
        collections::ALL,
        numbers::ALL,
        instants::ALL,
        codes::ALL,
        parsing::ALL,
    ];
    all.into_iter().flatten().find(|function| function.name == name).copied()
}

const VALUE: &[&str] = &["value"];

fn wrong(function: &str, what: &str) -> Error {
    Error::failed(format!("{function} takes {what}"))
}

fn text<'v>(function: &str, value: &'v Value) -> Result<&'v str, Error> {
    value.as_str().ok_or_else(|| wrong(function, "a text"))
}

fn bytes(function: &str, value: &Value) -> Result<Vec<u8>, Error> {
    special::bytes(value).ok_or_else(|| wrong(function, "a text"))
}

fn items<'v>(function: &str, value: &'v Value) -> Result<&'v Vec<Value>, Error> {
    value.as_array().ok_or_else(|| wrong(function, "an array"))
}

/// An object that is one.
fn members<'v>(function: &str, value: &'v Value) -> Result<&'v serde_json::Map<String, Value>, Error> {
    value.as_object().filter(|_| !special::is(value)).ok_or_else(|| wrong(function, "an object"))
}

/// A text that isn't too long.
fn bounded(text: String) -> Result<String, Error> {
    if text.len() > MOST_TEXT { Err(Error::TooMuch) } else { Ok(text) }
}
