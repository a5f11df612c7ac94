//! `bot.config.json`, and what it and the server's configuration together mean for a bot
//! (`auth-config.md` § 8 and 9).

use std::time::Duration;

use crate::{
    answer::{Answer, ApiError},
    config::{Block, Converse, Dialog, GlobalConfig, parse_json},
    json::Json,
    restrict::Rules,
};

/// A bot's own configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BotConfig {
    /// As the file says; the folder's name wins.
    pub id: String,
    /// For humans.
    pub name: String,
    /// For humans.
    pub description: String,
    /// The version that last migrated the bot; empty if the file doesn't say.
    pub version: String,
    /// All routes answer 404.
    pub disabled: bool,
    /// All routes need a collaborator's token.
    pub private: bool,
    /// The content can't be changed.
    pub locked: bool,
    /// Among `languages`.
    pub default_language: String,
    /// At least the default.
    pub languages: Vec<String>,
    /// Overrides of the server's block.
    pub converse: Converse,
    /// Overrides of the server's block.
    pub dialog: Dialog,
    /// `qna.disabled`: no suggestions from questions and answers.
    pub qna_disabled: bool,
    /// `oneflow`: flows may lack a start node.
    pub one_flow: bool,
    /// `nluSeed`
    pub nlu_seed: Option<u64>,
}

impl BotConfig {
    /// Reads the file. Members that can't be understood are added to `problems` and keep their
    /// default.
    ///
    /// # Errors
    /// If it isn't an object, or the default language isn't among the languages: such a bot can't
    /// be mounted.
    pub fn read(content: &[u8], problems: &mut Vec<String>) -> Result<BotConfig, String> {
        let root = parse_json(content)?;
        if root.as_object().is_none() {
            return Err("it isn't an object".to_owned());
        }
        let mut block = Block { value: Some(&root), path: String::new(), problems };
        let id = block.text("id").unwrap_or_default();
        let default_language = block.text("defaultLanguage").unwrap_or_else(|| "en".to_owned());
        let languages = block.texts("languages").unwrap_or_else(|| vec![default_language.clone()]);
        if !languages.contains(&default_language) {
            return Err(format!("the default language \"{default_language}\" isn't among the languages"));
        }
        Ok(BotConfig {
            name: block.text("name").unwrap_or_else(|| id.clone()),
            description: block.text("description").unwrap_or_default(),
            version: block.text("version").unwrap_or_default(),
            disabled: block.get("disabled").is_some_and(Json::is_truthy),
            private: block.get("private").is_some_and(Json::is_truthy),
            locked: block.get("locked").is_some_and(Json::is_truthy),
            converse: Converse::read(&mut block.block("converse")),
            dialog: Dialog::read(&mut block.block("dialog")),
            qna_disabled: block.block("qna").get("disabled").is_some_and(Json::is_truthy),
            one_flow: block.get("oneflow").is_some_and(Json::is_truthy),
            nlu_seed: block.whole("nluSeed"),
            id,
            default_language,
            languages,
        })
    }
}

/// What holds for a bot: its own configuration before the server's before the defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether all routes answer 404.
    pub disabled: bool,
    /// Whether all routes need a collaborator's token.
    pub private: bool,
    /// How long a turn may take. Default 5 s.
    pub timeout: Duration,
    /// The longest text, in UTF-16 units. Default 360.
    pub max_message_length: u64,
    /// The longest wait for late messages. `None` where neither file says anything (the original
    /// waits 250 ms then).
    pub buffer_delay: Option<Duration>,
    /// Whether the public route is open.
    pub public_route: PublicRoute,
    /// After how long a context ends. Default 25 min.
    pub context_timeout: Duration,
    /// After how long a session ends. Default 30 min.
    pub session_timeout: Duration,
    /// The language of users whose own isn't known.
    pub default_language: String,
    /// All languages.
    pub languages: Vec<String>,
    /// Whether questions and answers make suggestions.
    pub qna: bool,
    /// Who may call, and how often.
    pub rules: Rules,
}

/// Whether the public route is open, and if not, who closed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicRoute {
    /// Open.
    Open,
    /// The bot's configuration.
    ClosedForBot,
    /// The server's configuration.
    ClosedForAll,
}

impl Settings {
    /// Resolves. Of `converse`, a bot's `0` or empty value counts as unset; the server's doesn't.
    pub fn resolve(bot: &BotConfig, global: &GlobalConfig) -> Settings {
        let (own, all) = (&bot.converse, &global.converse);
        let truthy = |duration: &Option<Duration>| duration.filter(|duration| !duration.is_zero());
        Settings {
            disabled: bot.disabled,
            private: bot.private,
            timeout: truthy(&own.timeout).or(all.timeout).unwrap_or(Duration::from_secs(5)),
            max_message_length: own.max_message_length.filter(|n| *n > 0).or(all.max_message_length).unwrap_or(360),
            buffer_delay: truthy(&own.buffer_delay).or(all.buffer_delay),
            public_route: match (own.enable_unsecured_endpoint, all.enable_unsecured_endpoint) {
                (Some(false), _) => PublicRoute::ClosedForBot,
                (_, Some(false)) => PublicRoute::ClosedForAll,
                _ => PublicRoute::Open,
            },
            context_timeout: bot.dialog.timeout.or(global.dialog.timeout).unwrap_or(Duration::from_secs(25 * 60)),
            session_timeout: bot
                .dialog
                .session_timeout
                .or(global.dialog.session_timeout)
                .unwrap_or(Duration::from_secs(30 * 60)),
            default_language: bot.default_language.clone(),
            languages: bot.languages.clone(),
            qna: !bot.qna_disabled,
            rules: Rules::resolve(&own.restrictions, &all.restrictions),
        }
    }

    /// Checks that the bot answers at all.
    ///
    /// # Errors
    /// 404 if it is disabled.
    pub fn check_enabled(&self) -> Result<(), ApiError> {
        if self.disabled { Err(ApiError::disabled_bot()) } else { Ok(()) }
    }

    /// Checks that the public route is open.
    ///
    /// # Errors
    /// 403, as text.
    pub fn check_public_route(&self, bot: &str) -> Result<(), Answer> {
        let whom = match self.public_route {
            PublicRoute::Open => return Ok(()),
            PublicRoute::ClosedForBot => bot,
            PublicRoute::ClosedForAll => "all bots",
        };
        Err(Answer::text(403, format!("Unauthenticated Converse API is disabled for {whom}")))
    }
}

/// Whether a bot may have this id: letters, digits, `_` and `-`, a letter or digit at both ends, 3 to
/// 50 characters. Folders with other names aren't bots.
pub fn is_bot_id(id: &str) -> bool {
    let bytes = id.as_bytes();
    let plain = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    (3..=50).contains(&bytes.len())
        && plain(bytes.first())
        && plain(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(bot: &str, global: &str) -> Settings {
        let mut problems = Vec::new();
        let bot = BotConfig::read(bot.as_bytes(), &mut problems).unwrap();
        let global = GlobalConfig::read(Some(global.as_bytes()), &|_| None, &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        Settings::resolve(&bot, &global)
    }

    #[test]
    fn a_bot_s_zero_is_unset_the_server_s_is_not() {
        let seconds = Duration::from_secs;
        let zero = r#"{"id":"bot","converse":{"timeout":0,"maxMessageLength":0,"bufferDelayMs":0}}"#;
        let settings_of = settings(zero, "{}");
        assert_eq!(
            (settings_of.timeout, settings_of.max_message_length, settings_of.buffer_delay),
            (seconds(5), 360, None)
        );
        let server =
            r#"{"converse":{"timeout":"9s","maxMessageLength":0,"bufferDelayMs":0},"dialog":{"timeoutInterval":"1m"}}"#;
        let settings_of = settings(zero, server);
        assert_eq!((settings_of.timeout, settings_of.max_message_length), (seconds(9), 0));
        assert_eq!(settings_of.buffer_delay, Some(Duration::ZERO));
        assert_eq!((settings_of.context_timeout, settings_of.session_timeout), (seconds(60), seconds(1800)));
        let own =
            r#"{"id":"bot","converse":{"timeout":"1s","bufferDelayMs":1},"dialog":{"sessionTimeoutInterval":"5m"}}"#;
        let settings_of = settings(own, server);
        assert_eq!((settings_of.timeout, settings_of.session_timeout), (seconds(1), seconds(300)));
        assert_eq!(settings_of.buffer_delay, Some(Duration::from_millis(1)));
    }

    #[test]
    fn who_closed_the_route() {
        let closed = r#"{"id":"bot","converse":{"enableUnsecuredEndpoint":false}}"#;
        let text = |settings: Settings| settings.check_public_route("bot").map_err(|answer| answer.body);
        assert_eq!(text(settings(closed, closed)).unwrap_err(), "Unauthenticated Converse API is disabled for bot");
        assert_eq!(text(settings("{}", closed)).unwrap_err(), "Unauthenticated Converse API is disabled for all bots");
        assert_eq!(text(settings("{}", "{}")), Ok(()));
    }

    #[test]
    fn languages_and_ids() {
        let read = |text: &str| BotConfig::read(text.as_bytes(), &mut Vec::new());
        assert!(read(r#"{"defaultLanguage":"fr","languages":["en"]}"#).is_err());
        assert_eq!(read(r#"{"defaultLanguage":"fr"}"#).unwrap().languages, ["fr"]);
        for good in ["bot", "my-bot_2", "A1b"] {
            assert!(is_bot_id(good), "{good}");
        }
        for bad in ["", "___", "ab", "-bot", "bot-", "a b", "a.b.c", "..", &"x".repeat(51)] {
            assert!(!is_bot_id(bad), "{bad}");
        }
    }
}
