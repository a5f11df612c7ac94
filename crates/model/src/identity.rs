//! Who is calling, and how names look from there (`spec/cloud/auth-and-identity.md` §§ 3–5).

use crate::id::BotId;

/// The two views of one bot's data.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum View {
    /// The bot's: sees everything, names carry their owner's prefix.
    Bot,
    /// An integration instance's: sees its own, names are bare.
    Integration {
        /// Under which alias it is installed in this bot.
        alias: Box<str>,
        /// The integration's name.
        name: Box<str>,
        /// The integration version's id.
        id: Box<str>,
    },
}

impl View {
    /// The owner that entities created in this view get: the alias, or `""` for the bot.
    pub fn owner(&self) -> &str {
        match self {
            View::Bot => "",
            View::Integration { alias, .. } => alias,
        }
    }

    /// The stored key of a tag that this view calls `key`. From an integration `key`,
    /// `<alias>:key` and `<name>:key` are the same tag.
    pub fn stored_key(&self, key: &str) -> String {
        match self {
            View::Bot => key.to_owned(),
            View::Integration { alias, name, .. } => {
                let bare =
                    [alias, name].iter().find_map(|own| key.strip_prefix(&***own)?.strip_prefix(':')).unwrap_or(key);
                format!("{alias}:{bare}")
            }
        }
    }

    /// The stored name of an event that this view calls `name`: an integration's events carry its
    /// alias.
    pub fn stored_event(&self, name: &str) -> String {
        self.stored_key(name)
    }

    /// How this view names a stored event type.
    pub fn seen_event<'n>(&self, stored: &'n str) -> &'n str {
        match self {
            View::Bot => stored,
            View::Integration { alias, .. } => {
                stored.strip_prefix(&**alias).and_then(|rest| rest.strip_prefix(':')).unwrap_or(stored)
            }
        }
    }
}

/// A caller of the runtime API: which bot's data, seen how.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Whose data.
    pub bot: BotId,
    /// Seen how.
    pub view: View,
}

impl Identity {
    /// The bot itself.
    pub fn bot(bot: BotId) -> Self {
        Identity { bot, view: View::Bot }
    }

    /// Whether this is the bot's view.
    pub fn is_bot(&self) -> bool {
        self.view == View::Bot
    }
}
