//! Which option of a choice the user picked.
//!
//! A transcript marks the option at the choice itself, so it has to look at what follows before it
//! writes the choice: at most [`LOOK_AHEAD`] messages, which bounds what a transcript holds back.

use duologue_model::{Direction, Message};

use crate::content::{self, Body, Content, Opt};

/// How many messages after a choice are searched for the answer to it.
pub const LOOK_AHEAD: usize = 20;

/// The index of the option that one of the `following` messages (oldest first) picks: the first
/// incoming message whose value, postback payload or text equals an option's value or label, outer
/// white space and case aside. The search ends at the bot's next choice and after [`LOOK_AHEAD`]
/// messages. `None` when nothing was picked or `prompt` is no choice of the bot.
pub fn picked<'a>(prompt: &Message, following: impl IntoIterator<Item = &'a Message>) -> Option<usize> {
    let prompt = Prompt::of(prompt)?;
    following
        .into_iter()
        .take(LOOK_AHEAD)
        .take_while(|message| !is_prompt(message))
        .find_map(|message| prompt.picked_by(message))
}

/// Whether `message` is a choice of the bot.
pub(crate) fn is_prompt(message: &Message) -> bool {
    message.direction == Direction::Outgoing && content::is_choice(&message.kind)
}

/// The options of a choice that waits for its answer.
#[derive(Debug)]
pub(crate) struct Prompt(Vec<Opt>);

impl Prompt {
    /// The options of `message`, if it is a well-formed choice of the bot that has any.
    pub fn of(message: &Message) -> Option<Self> {
        if !is_prompt(message) {
            return None;
        }
        match Content::parse(&message.kind, message.payload.text()).body {
            Body::Choice(choice) if !choice.options.is_empty() => Some(Prompt(choice.options)),
            _ => None,
        }
    }

    /// The index of the option that `message` picks.
    pub fn picked_by(&self, message: &Message) -> Option<usize> {
        if message.direction != Direction::Incoming {
            return None;
        }
        let answers = content::answers(message.payload.text());
        let find = |matches: fn(&Opt, &str) -> bool| {
            answers.iter().find_map(|answer| self.0.iter().position(|option| matches(option, answer)))
        };
        find(|option, answer| content::same(&option.value, answer))
            .or_else(|| find(|option, answer| content::same(&option.label, answer)))
    }
}
