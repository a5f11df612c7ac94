//! Where programs come from and their output goes, as far as this crate has to know.

use std::{collections::BTreeMap, time::Duration};

use duologue_bridge::Code;
use futures_util::future::BoxFuture;

/// Knows the code, and keeps the logs. The binary implements it over the store.
pub trait Source: Send + Sync + 'static {
    /// Another number whenever code, secrets or settings may have changed.
    fn generation(&self) -> u64;

    /// How long a version may be believed while [`Source::generation`] stays the same; `None` is forever.
    fn believed_for(&self) -> Option<Duration>;

    /// Which version of the code is deployed: any text that changes with the code, its secrets and its
    /// settings. `None` if there is no code.
    fn version<'a>(&'a self, code: &'a Code) -> BoxFuture<'a, Result<Option<String>, String>>;

    /// The code, for one new process. Its environment holds a token of the process's own.
    fn program<'a>(&'a self, code: &'a Code) -> BoxFuture<'a, Result<Option<Program>, String>>;

    /// The process that got this token is no more.
    fn ended(&self, code: &Code, token_id: String);

    /// A line of output, or about the process. Must not wait.
    fn log(&self, code: &Code, line: Line);
}

/// What a process runs.
#[derive(Clone)]
pub struct Program {
    /// See [`Source::version`].
    pub version: String,
    /// A CommonJS module.
    pub bundle: String,
    /// All that the process's environment holds.
    pub environment: Vec<(String, String)>,
    /// The id of the token in the environment.
    pub token_id: String,
    /// How long a call may take.
    pub timeout: Duration,
    /// Whether it runs on when nobody calls it.
    pub always_alive: bool,
}

impl std::fmt::Debug for Program {
    /// Without what is secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program").field("version", &self.version).finish_non_exhaustive()
    }
}

/// How serious a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For developers.
    Debug,
    /// Ordinary.
    Info,
    /// Unusual.
    Warn,
    /// Wrong.
    Error,
}

/// A problem that code reports to the owner of a bot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Issue {
    /// What kind of problem it is, for programs.
    pub code: String,
    /// What it is about, in a word.
    pub category: String,
    /// For people.
    pub title: String,
    /// For people.
    pub description: String,
    /// What is known of it: each value as it is, and as people like to see it.
    pub data: BTreeMap<String, (String, Option<String>)>,
    /// Names of the data that make another such report the same problem.
    pub group_by: Vec<String>,
}

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How serious it is.
    pub level: Level,
    /// The text.
    pub message: String,
    /// The bot that a line of an integration is about.
    pub bot_id: Option<String>,
    /// The user it is about.
    pub user_id: Option<String>,
    /// The conversation it is about.
    pub conversation_id: Option<String>,
    /// The workflow it is about.
    pub workflow_id: Option<String>,
    /// Of an integration: for the owner of the bot.
    pub for_bot: bool,
    /// Of an integration: for its own owner.
    pub for_integration: bool,
    /// The problem that it reports.
    pub issue: Option<Box<Issue>>,
}

impl Line {
    /// A line about nobody in particular, for the owner of the code.
    pub fn new(level: Level, message: impl Into<String>) -> Self {
        Line {
            level,
            message: message.into(),
            bot_id: None,
            user_id: None,
            conversation_id: None,
            workflow_id: None,
            for_bot: false,
            for_integration: true,
            issue: None,
        }
    }
}
