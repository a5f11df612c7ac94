//! What became of a bot's files: taken, skipped, and what will go wrong when it runs.

use serde::Serialize;

/// What [`super::Bot::load`] found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Files that were taken, by their path in the bot's folder.
    pub taken: Vec<String>,
    /// Files, or elements of a file, that couldn't be used. The rest of the bot works without them.
    pub skipped: Vec<Finding>,
    /// What was taken but won't work as written: missing targets, unknown actions, missing elements.
    pub warnings: Vec<Finding>,
    /// Packages and files that scripts require, with the script: (file, what it requires).
    pub requires: Vec<(String, String)>,
}

/// One thing found, and where.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// The path in the bot's folder.
    pub file: String,
    /// Where in the file, if that is known.
    pub position: Option<Position>,
    /// What is wrong, for an operator.
    pub message: String,
}

/// A place in a text, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column, in bytes.
    pub column: usize,
}

impl Report {
    pub(super) fn skip(&mut self, file: &str, position: Option<Position>, message: impl Into<String>) {
        self.skipped.push(Finding { file: file.to_owned(), position, message: message.into() });
    }

    pub(super) fn warn(&mut self, file: &str, message: impl Into<String>) {
        self.warnings.push(Finding { file: file.to_owned(), position: None, message: message.into() });
    }

    /// Whether every file was taken and nothing will go wrong.
    pub fn is_clean(&self) -> bool {
        self.skipped.is_empty() && self.warnings.is_empty()
    }
}
