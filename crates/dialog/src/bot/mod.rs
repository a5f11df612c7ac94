//! A bot: its files checked, linked and compiled into structures that never change.
//!
//! [`Bot::load`] takes the files of a bot's folder from memory and reports on each; whoever serves bots swaps
//! the whole [`Bot`] when a file changes. No file is read in a turn, and nothing here does I/O.

pub mod content;
pub mod flow;
pub mod globals;
pub mod instruction;
mod load;

pub mod report;

pub(crate) use self::load::split_flow_target;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bytes::Bytes;

use self::{
    content::{ContentType, Element},
    flow::Flow,
    globals::Globals,
    instruction::Instruction,
    report::Report,
};
use crate::{
    condition::Condition,
    nlu::Entity,
    value::{Text, Value},
};

/// The files of a folder: path below it, with `/` between names, and content.
pub type Files = BTreeMap<String, Bytes>;

/// A checked, linked, compiled bot.
#[derive(Debug)]
pub struct Bot {
    /// Its id.
    pub id: Text,
    /// Its configuration.
    pub config: BotConfig,
    /// What it shares with the server's other bots.
    pub globals: Arc<Globals>,
    flows: Vec<Flow>,
    flow_names: HashMap<String, usize>,
    elements: HashMap<Text, Element>,
    qnas: HashMap<Text, Qna>,
    intents: HashMap<Text, Intent>,
    entities: Vec<Entity>,
    actions: HashMap<Text, Arc<Script>>,
    hooks: HashMap<Hook, Vec<Arc<Script>>>,
    conditions: HashMap<Text, Condition>,
    instructions: HashMap<Text, Instruction>,
    match_numbers: bool,
    match_nlu: bool,
}

/// `bot.config.json` (`auth-config.md` § 9), as far as a turn needs it.
#[derive(Clone, Debug)]
pub struct BotConfig {
    /// The language of content that the user's language lacks.
    pub default_language: Text,
    /// How long a waiting conversation keeps its position, in milliseconds.
    pub context_timeout: u64,
    /// How long the session is kept, in milliseconds.
    pub session_timeout: u64,
    /// Whether QnA makes no suggestions.
    pub qna_disabled: bool,
    /// The whole file, for what isn't the engine's.
    pub file: Value,
}

/// A piece of JavaScript, whole.
#[derive(Debug, PartialEq)]
pub struct Script {
    /// An action's name or a hook's base name.
    pub name: Text,
    /// Path in its folder.
    pub path: Text,
    /// The text.
    pub source: Text,
    /// Whether it lies in the server's global folder.
    pub global: bool,
}

/// Points at which hooks run (`flows.md` § 13.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hook {
    /// Before the incoming middlewares.
    BeforeIncomingMiddleware,
    /// After them.
    AfterIncomingMiddleware,
    /// Before a suggestion is chosen.
    BeforeSuggestionsElection,
    /// When the event has been processed.
    AfterEventProcessed,
    /// Before an outgoing event leaves.
    BeforeOutgoingMiddleware,
    /// Before a conversation ends.
    BeforeConversationEnd,
    /// Before a waiting conversation times out.
    BeforeSessionTimeout,
    /// When the server has started; of the server's hooks only. Not a part of turns, as those below.
    AfterServerStart,
    /// When a bot is served, for the first time or after a change.
    AfterBotMount,
    /// When a bot isn't served any more, or a changed one takes its place.
    AfterBotUnmount,
}

impl Hook {
    /// All of them.
    pub const ALL: [Hook; 10] = [
        Hook::BeforeIncomingMiddleware,
        Hook::AfterIncomingMiddleware,
        Hook::BeforeSuggestionsElection,
        Hook::AfterEventProcessed,
        Hook::BeforeOutgoingMiddleware,
        Hook::BeforeConversationEnd,
        Hook::BeforeSessionTimeout,
        Hook::AfterServerStart,
        Hook::AfterBotMount,
        Hook::AfterBotUnmount,
    ];

    /// The folder's name below `hooks/`.
    pub fn name(self) -> &'static str {
        match self {
            Hook::BeforeIncomingMiddleware => "before_incoming_middleware",
            Hook::AfterIncomingMiddleware => "after_incoming_middleware",
            Hook::BeforeSuggestionsElection => "before_suggestions_election",
            Hook::AfterEventProcessed => "after_event_processed",
            Hook::BeforeOutgoingMiddleware => "before_outgoing_middleware",
            Hook::BeforeConversationEnd => "before_conversation_end",
            Hook::BeforeSessionTimeout => "before_session_timeout",
            Hook::AfterServerStart => "after_server_start",
            Hook::AfterBotMount => "after_bot_mount",
            Hook::AfterBotUnmount => "after_bot_unmount",
        }
    }
}

/// A question with its answers (`qna-nlu.md` § 7).
#[derive(Clone, Debug)]
pub struct Qna {
    /// Its id, the file's name.
    pub id: Text,
    /// Whether it answers.
    pub enabled: bool,
    /// What it does, tested for `text` and `redirect`.
    pub action: Text,
    /// Contexts of its intent.
    pub contexts: Vec<Text>,
    /// Answers by language.
    pub answers: Vec<(Text, Vec<Answer>)>,
    /// Questions by language: an object of lists.
    pub questions: Value,
    /// Flow to go to.
    pub redirect_flow: Text,
    /// Node to go to.
    pub redirect_node: Text,
}

/// One answer of a question.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A text, a template.
    Text(crate::template::TemplateValue),
    /// `#!id`: a stored element.
    Element(Text),
}

/// An intent's definition (`qna-nlu.md` § 1).
#[derive(Clone, Debug)]
pub struct Intent {
    /// Its name.
    pub name: Text,
    /// Its contexts.
    pub contexts: Vec<Text>,
    /// The file, for training.
    pub file: Value,
}

impl Bot {
    /// Loads a bot from the files of its folder. Nothing is fatal: what can't be used is reported and left
    /// out, also a missing `bot.config.json` (defaults apply).
    pub fn load(id: &str, files: &Files, globals: &Arc<Globals>) -> (Bot, Report) {
        load::load(id, files, globals)
    }

    /// Finds a flow; `.flow.json` is added if absent and case doesn't matter.
    pub fn find_flow(&self, name: &str) -> Option<&Flow> {
        let mut key = name.to_lowercase();
        if !key.ends_with(".flow.json") {
            key.push_str(".flow.json");
        }
        self.flow_names.get(&key).map(|&at| &self.flows[at])
    }

    /// All flows.
    pub fn flows(&self) -> &[Flow] {
        &self.flows
    }

    /// The stored content element of this id.
    pub fn element(&self, id: &str) -> Option<&Element> {
        self.elements.get(id)
    }

    /// The content type of this id: the server's own first, then builtin ones.
    pub fn content_type(&self, id: &str) -> Option<&ContentType> {
        self.globals.content_type(id)
    }

    /// The question of this id.
    pub fn qna(&self, id: &str) -> Option<&Qna> {
        self.qnas.get(id)
    }

    /// All questions, in no order.
    pub fn qnas(&self) -> impl Iterator<Item = &Qna> {
        self.qnas.values()
    }

    /// The intent of this name.
    pub fn intent(&self, name: &str) -> Option<&Intent> {
        self.intents.get(name)
    }

    /// All intents, in no order.
    pub fn intents(&self) -> impl Iterator<Item = &Intent> {
        self.intents.values()
    }

    /// Custom entities, by name.
    pub fn entities(&self) -> &[Entity] {
        &self.entities
    }

    /// The action's script: the server's, else the bot's.
    pub fn action(&self, name: &str) -> Option<&Arc<Script>> {
        self.globals.action(name).or_else(|| self.actions.get(name))
    }

    /// Hooks of a kind, the server's and the bot's, in order.
    pub fn hooks(&self, hook: Hook) -> &[Arc<Script>] {
        self.hooks.get(&hook).map(Vec::as_slice).unwrap_or_default()
    }

    /// A condition's compiled form, if the bot's flows hold it.
    pub fn condition(&self, text: &str) -> Option<&Condition> {
        self.conditions.get(text)
    }

    /// An instruction's parsed form, if the bot's flows hold it.
    pub fn instruction(&self, text: &str) -> Option<&Instruction> {
        self.instructions.get(text)
    }

    /// Whether the choice skill takes numbers for answers.
    pub fn choice_matches_numbers(&self) -> bool {
        self.match_numbers
    }

    /// Whether the choice skill takes intents for answers.
    pub fn choice_matches_intents(&self) -> bool {
        self.match_nlu
    }
}
