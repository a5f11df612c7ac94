//! Who speaks: names for the authors of a conversation's messages.

use std::{borrow::Cow, collections::HashMap};

use duologue_model::{
    Direction, Message, User,
    id::{BotId, UserId},
};

use crate::safe;

/// An author as a transcript shows it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Author<'a> {
    /// One line, never empty, unique among the listed users of the conversation.
    pub name: Cow<'a, str>,
    pub is_bot: bool,
}

/// The authors of one conversation.
#[derive(Debug, Default)]
pub(crate) struct Cast {
    bot: Option<BotId>,
    bot_name: Option<String>,
    listed: HashMap<UserId, String>,
    /// Names of the listed users in their order.
    names: Vec<String>,
}

impl Cast {
    /// The cast of a conversation with these users. `bot_name` goes before the bot user's own name.
    pub fn new(bot: Option<&BotId>, bot_name: Option<&str>, users: &[&User]) -> Self {
        let bot_name = bot_name.map(safe::one_line).filter(|name| !name.is_empty());
        let mut cast = Cast { bot: bot.cloned(), bot_name, listed: HashMap::new(), names: Vec::new() };
        let shown: Vec<String> = users.iter().map(|user| cast.name_of(user)).collect();
        let mut uses: HashMap<String, usize> = HashMap::new();
        for name in &shown {
            *uses.entry(name.to_lowercase()).or_default() += 1;
        }
        let bot_shown = cast.bot_name.clone().unwrap_or_else(|| "Bot".to_owned()).to_lowercase();
        for (user, name) in users.iter().zip(shown) {
            let key = name.to_lowercase();
            let ambiguous = uses.get(&key).is_some_and(|n| *n > 1) || key == bot_shown;
            let name = if ambiguous && !cast.is_bot(&user.id) {
                format!("{name} ({})", short_id(user.id.as_str()))
            } else {
                name
            };
            cast.names.push(name.clone());
            cast.listed.insert(user.id.clone(), name);
        }
        cast
    }

    /// The listed users' names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Who wrote `message`. Users who aren't listed, deleted ones usually, are named by the
    /// direction of their message and the end of their id.
    pub fn author(&self, message: &Message) -> Author<'_> {
        let is_bot = self.is_bot(&message.user_id);
        if let Some(name) = self.listed.get(&message.user_id) {
            return Author { name: Cow::Borrowed(name), is_bot };
        }
        if is_bot {
            return Author { name: Cow::Borrowed(self.bot_name.as_deref().unwrap_or("Bot")), is_bot };
        }
        let id = short_id(message.user_id.as_str());
        match message.direction {
            Direction::Incoming => Author { name: Cow::Owned(format!("User {id}")), is_bot },
            Direction::Outgoing => Author { name: Cow::Owned(format!("Bot {id}")), is_bot: true },
        }
    }

    /// The listed user's name.
    pub fn listed(&self, id: &UserId) -> Option<&str> {
        self.listed.get(id).map(String::as_str)
    }

    /// Whether this is the bot's own user.
    pub fn is_bot(&self, id: &UserId) -> bool {
        self.bot.as_ref().is_some_and(|bot| bot.as_str() == id.as_str())
    }

    fn name_of(&self, user: &User) -> String {
        let is_bot = self.is_bot(&user.id);
        if is_bot && let Some(name) = &self.bot_name {
            return name.clone();
        }
        match user.name.as_deref().map(safe::one_line).filter(|name| !name.is_empty()) {
            Some(name) => name,
            None if is_bot => "Bot".to_owned(),
            None => format!("User {}", short_id(user.id.as_str())),
        }
    }
}

/// The end of an id: six characters, enough to tell the users of a conversation apart.
fn short_id(id: &str) -> String {
    let skip = id.chars().count().saturating_sub(6);
    safe::one_line(&id.chars().skip(skip).collect::<String>())
}
