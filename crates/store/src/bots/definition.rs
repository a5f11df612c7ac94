//! What a bot is made of, and a change to it (`spec/cloud/admin.md` §§ 5.1, 5.2).

use duologue_model::{Cron, Error as Refusal, ErrorKind, Json, id::Generator};
use serde::{Deserialize, Serialize};

use super::parts::{
    self, Action, ActionChange, Event, EventChange, MAX_PAYLOAD, MAX_SECRETS, MAX_TAGS, Map, Tags, TagsChange, each,
    limit, merge,
};
use crate::{
    Result,
    vault::{Sealed, Vault},
};

/// Most recurring events of a bot.
pub const MAX_RECURRING_EVENTS: usize = 40;
/// Most states a bot declares.
pub const MAX_STATES: usize = 50;

/// How a bot was made, for its maker's tools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BotType {
    /// In a visual editor.
    Studio,
    /// In code.
    #[default]
    Adk,
    /// For a help desk.
    Desk,
}

impl BotType {
    /// The word on the wire.
    pub fn name(self) -> &'static str {
        match self {
            BotType::Studio => "studio",
            BotType::Adk => "adk",
            BotType::Desk => "desk",
        }
    }
}

/// How a bot's code knows that it is this server that calls (`spec/cloud/bridge-protocol.md` § 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Authentication {
    /// As Cloud's own runners do; here it is kept, without effect.
    #[serde(rename = "iam")]
    Iam,
    /// Calls are signed.
    #[serde(rename = "hmac-sha256")]
    Signature,
}

/// What a bot's state is kept for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StateScope {
    /// A conversation.
    Conversation,
    /// A user.
    User,
    /// The bot.
    Bot,
    /// A task.
    Task,
    /// A workflow.
    Workflow,
}

impl StateScope {
    /// The word on the wire.
    pub fn name(self) -> &'static str {
        match self {
            StateScope::Conversation => "conversation",
            StateScope::User => "user",
            StateScope::Bot => "bot",
            StateScope::Task => "task",
            StateScope::Workflow => "workflow",
        }
    }
}

/// A declared state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// What it is kept for.
    pub r#type: StateScope,
    /// Of its payload.
    pub schema: Json,
    /// Idle milliseconds after which it expires.
    #[serde(default, deserialize_with = "parts::whole", skip_serializing_if = "Option::is_none")]
    pub expiry: Option<i64>,
}

/// When a recurring event happens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Five fields, UTC.
    pub cron: String,
}

/// An event that happens on a schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecurringEvent {
    /// When.
    pub schedule: Schedule,
    /// Of the event.
    pub r#type: String,
    /// Of the event.
    pub payload: Json,
    /// Since the last success.
    #[serde(default)]
    pub failed_attempts: i64,
    /// Of the latest failure since the last success.
    #[serde(default)]
    pub last_failure_reason: Option<String>,
}

/// A new or replaced [`RecurringEvent`].
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct RecurringEventChange {
    schedule: Schedule,
    r#type: String,
    payload: Json,
}

impl RecurringEventChange {
    fn over(&self) -> RecurringEvent {
        RecurringEvent {
            schedule: self.schedule.clone(),
            r#type: self.r#type.clone(),
            payload: self.payload.clone(),
            failed_attempts: 0,
            last_failure_reason: None,
        }
    }

    fn check(&self, at: &str) -> Result<(), Refusal> {
        parts::at_most(&format!("{at}.schedule.cron"), &self.schedule.cron, 200)?;
        if let Err(invalid) = self.schedule.cron.parse::<Cron>() {
            return Err(Refusal::invalid_payload(format!("{at}.schedule.cron: {invalid}")));
        }
        parts::at_most(&format!("{at}.type"), &self.r#type, 200)?;
        parts::object(&format!("{at}.payload"), &self.payload)?;
        match self.payload.text().len() {
            length if length > MAX_PAYLOAD => {
                let text = format!("{at}.payload has at most {MAX_PAYLOAD} bytes of JSON, this one has {length}");
                Err(Refusal::new(ErrorKind::PayloadTooLarge, text))
            }
            _ => Ok(()),
        }
    }
}

/// A bot's configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Configuration {
    /// The values.
    pub data: Json,
    /// What they must look like.
    pub schema: Json,
}

/// Which events a bot wants.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Subscriptions {
    /// By type; all if absent.
    pub events: Option<Map<Json>>,
}

/// A file that shows the bot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Media {
    /// Where it is.
    pub url: String,
    /// Its name.
    pub name: String,
}

/// What a bot is made of. All members are always present, as the API shows them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Definition {
    /// Tags of users.
    pub user: Tags,
    /// Tags of conversations.
    pub conversation: Tags,
    /// Tags of messages.
    pub message: Tags,
    /// By name.
    pub states: Map<State>,
    /// The bot's own.
    pub configuration: Configuration,
    /// By name.
    pub events: Map<Event>,
    /// By name.
    pub recurring_events: Map<RecurringEvent>,
    /// Which events it wants.
    pub subscriptions: Subscriptions,
    /// By name.
    pub actions: Map<Action>,
    /// For people; at most 2000 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_execution_time: Option<i64>,
    /// As set.
    pub always_alive: bool,
    /// Files that show the bot.
    pub medias: Vec<Media>,
    /// How it was made.
    pub r#type: BotType,
    /// How its code knows who calls. No part of its versions: it belongs to whoever serves the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
}

/// A change to a bot, or what a new one is made of. Absent members stay; in maps, entries are
/// replaced one by one and `null` removes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Change {
    /// Whether keys of `integrations` are aliases (`x-multiple-integrations`), not version ids.
    #[serde(skip)]
    pub by_alias: bool,
    /// What the definition becomes as a whole: that of a version.
    #[serde(skip)]
    pub(crate) whole: Option<Box<Definition>>,
    /// At least one character. A new bot without one is given one.
    pub name: Option<String>,
    /// Whether a new bot is a developer's. Never changes.
    pub dev: Option<bool>,
    /// At most 2000 characters.
    pub description: Option<String>,
    /// Where its code is called; `null` removes.
    #[serde(deserialize_with = "parts::nullable")]
    pub url: Option<Option<String>>,
    /// Its code.
    pub code: Option<String>,
    /// Of the bot itself; at most 500 characters each.
    pub tags: Map<Option<String>>,
    /// Whether runtime writes are refused.
    pub blocked: Option<bool>,
    /// Seconds.
    #[serde(deserialize_with = "parts::whole")]
    pub max_execution_time: Option<i64>,
    /// As set.
    pub always_alive: Option<bool>,
    /// Tags of users.
    pub user: TagsChange,
    /// Tags of conversations.
    pub conversation: TagsChange,
    /// Tags of messages.
    pub message: TagsChange,
    /// By name.
    pub states: Map<Option<State>>,
    /// Each of its members is replaced as a whole.
    pub configuration: ConfigurationChange,
    /// By name.
    pub events: Map<Option<EventChange>>,
    /// By name.
    pub recurring_events: Map<Option<RecurringEventChange>>,
    /// Which events it wants.
    pub subscriptions: Option<SubscriptionsChange>,
    /// By name.
    pub actions: Map<Option<ActionChange>>,
    /// Installed integrations.
    pub integrations: Map<Option<super::instances::Change>>,
    /// Installed plugins.
    pub plugins: Map<Option<super::plugins::Change>>,
    /// Replaced as a whole.
    pub medias: Option<Vec<Media>>,
    /// Values by name; never shown.
    pub secrets: Map<Option<String>>,
    /// The same, encrypted: what is stored.
    #[serde(skip)]
    pub(crate) sealed: Map<Option<Sealed>>,
    /// How it was made.
    pub r#type: Option<BotType>,
    /// How its code knows who calls; `null` removes.
    #[serde(deserialize_with = "parts::nullable")]
    pub authentication: Option<Option<Authentication>>,
}

/// A change to [`Configuration`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ConfigurationChange {
    /// The values.
    pub data: Option<Json>,
    /// What they must look like.
    pub schema: Option<Json>,
}

/// A change to [`Subscriptions`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct SubscriptionsChange {
    /// By type; `null` as a whole means all.
    #[serde(deserialize_with = "parts::nullable")]
    pub events: Option<Option<Map<Option<Json>>>>,
}

impl Change {
    /// Refuses what could never be stored. Looks at nothing but the change.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        if self.name.as_ref().is_some_and(String::is_empty) {
            return Err(Refusal::invalid_payload("name must not be empty"));
        }
        parts::at_most("name", self.name.as_deref().unwrap_or_default(), 200)?;
        parts::at_most("url", self.url.as_ref().and_then(Option::as_deref).unwrap_or_default(), 2000)?;
        parts::at_most("description", self.description.as_deref().unwrap_or_default(), 2000)?;
        for (key, value) in &self.tags {
            parts::at_most(&format!("tags.{key}"), value.as_deref().unwrap_or_default(), 500)?;
        }
        if let Some(code) = &self.code {
            parts::code(code)?;
        }
        if let Some(data) = &self.configuration.data {
            parts::configuration("configuration.data", data)?;
        }
        if let Some(schema) = &self.configuration.schema {
            parts::schema("configuration.schema", schema)?;
        }
        self.user.check("user.tags")?;
        self.conversation.check("conversation.tags")?;
        self.message.check("message.tags")?;
        each("states", &self.states, |at, state| {
            if state.expiry.is_some_and(|expiry| expiry < 1) {
                return Err(Refusal::invalid_payload(format!("{at}.expiry is a number of milliseconds, at least 1")));
            }
            parts::schema(&format!("{at}.schema"), &state.schema)
        })?;
        each("events", &self.events, |at, event| event.check(at))?;
        each("actions", &self.actions, |at, action| action.check(at))?;
        each("recurringEvents", &self.recurring_events, |at, event| event.check(at))?;
        parts::secrets(&self.secrets)?;
        for change in self.integrations.values().flatten() {
            change.check()?;
        }
        for (alias, change) in &self.plugins {
            change.as_ref().map_or(Ok(()), |change| change.check(alias))?;
        }
        Ok(())
    }

    /// Applies what concerns the definition itself, and checks the result.
    pub(crate) fn apply(&self, to: &mut Definition) -> Result<(), Refusal> {
        if let Some(whole) = &self.whole {
            let authentication = to.authentication;
            to.clone_from(whole);
            to.authentication = authentication;
        }
        self.user.apply(&mut to.user);
        self.conversation.apply(&mut to.conversation);
        self.message.apply(&mut to.message);
        merge(&mut to.states, &self.states, |_, state| state.clone());
        merge(&mut to.events, &self.events, |old, event| event.over(old));
        merge(&mut to.actions, &self.actions, |old, action| action.over(old));
        merge(&mut to.recurring_events, &self.recurring_events, |_, event| event.over());
        match self.subscriptions.as_ref().and_then(|subscriptions| subscriptions.events.as_ref()) {
            None => {}
            Some(None) => to.subscriptions.events = None,
            Some(Some(events)) => {
                let wanted = to.subscriptions.events.get_or_insert_default();
                for (key, value) in events {
                    match value {
                        Some(value) => wanted.insert(key.clone(), value.clone()),
                        None => wanted.remove(key),
                    };
                }
            }
        }
        fn set<T: Clone>(given: &Option<T>, field: &mut T) {
            if let Some(given) = given {
                field.clone_from(given);
            }
        }
        set(&self.configuration.schema, &mut to.configuration.schema);
        set(&self.configuration.data, &mut to.configuration.data);
        set(&self.always_alive, &mut to.always_alive);
        set(&self.medias, &mut to.medias);
        set(&self.r#type, &mut to.r#type);
        set(&self.authentication, &mut to.authentication);
        if self.description.is_some() {
            to.description.clone_from(&self.description);
        }
        if self.max_execution_time.is_some() {
            to.max_execution_time = self.max_execution_time;
        }
        if self.configuration.data.is_some() {
            parts::configured("configuration.data", &to.configuration.schema, &to.configuration.data)?;
        }
        to.check_counts()
    }

    /// Encrypts its secrets; they are in clear no longer.
    pub(crate) fn seal(mut self, vault: &Vault, ids: &Generator) -> Result<Self> {
        self.sealed = vault.seal_change(ids, &std::mem::take(&mut self.secrets))?;
        Ok(self)
    }

    /// Applies the change of secrets.
    pub(crate) fn apply_secrets(&self, secrets: &mut Map<Sealed>) -> Result<(), Refusal> {
        merge(secrets, &self.sealed, |_, value| value.clone());
        limit("secrets of a bot", secrets.len(), MAX_SECRETS)
    }
}

impl Definition {
    fn check_counts(&self) -> Result<(), Refusal> {
        limit("states of a bot", self.states.len(), MAX_STATES)?;
        limit("recurring events of a bot", self.recurring_events.len(), MAX_RECURRING_EVENTS)?;
        for (what, tags) in [("user", &self.user), ("conversation", &self.conversation), ("message", &self.message)] {
            limit(&format!("tags declared for a {what}"), tags.tags.len(), MAX_TAGS)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(text: &str) -> Change {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn an_empty_definition_has_every_member() {
        let text = serde_json::to_string(&Definition::default()).unwrap();
        assert_eq!(
            text,
            r#"{"user":{"tags":{}},"conversation":{"tags":{}},"message":{"tags":{}},"states":{},"configuration":{"data":{},"schema":{}},"events":{},"recurringEvents":{},"subscriptions":{"events":null},"actions":{},"alwaysAlive":false,"medias":[],"type":"adk"}"#
        );
    }

    #[test]
    fn subscriptions_are_merged_and_reset() {
        let mut bot = Definition::default();
        change(r#"{"subscriptions":{"events":{"a":{},"b":{}}}}"#).apply(&mut bot).unwrap();
        change(r#"{"subscriptions":{"events":{"a":null,"c":{}}}}"#).apply(&mut bot).unwrap();
        assert_eq!(bot.subscriptions.events.as_ref().unwrap().keys().collect::<Vec<_>>(), ["b", "c"]);
        change("{}").apply(&mut bot).unwrap();
        assert!(bot.subscriptions.events.is_some());
        change(r#"{"subscriptions":{"events":null}}"#).apply(&mut bot).unwrap();
        assert_eq!(bot.subscriptions.events, None);
    }

    #[test]
    fn limits_are_the_ones_of_the_specification() {
        let many: Vec<String> = (0..41)
            .map(|n| format!(r#""e{n}":{{"schedule":{{"cron":"* * * * *"}},"type":"t","payload":{{}}}}"#))
            .collect();
        let change = change(&format!(r#"{{"recurringEvents":{{{}}}}}"#, many.join(",")));
        change.check().unwrap();
        assert_eq!(change.apply(&mut Definition::default()).unwrap_err().kind, ErrorKind::LimitExceeded);
    }

    #[test]
    fn data_given_is_held_against_the_schema() {
        let mut bot = Definition::default();
        let strict = change(r#"{"configuration":{"schema":{"type":"object","required":["key"]}}}"#);
        strict.apply(&mut bot).unwrap();
        let refusal = change(r#"{"configuration":{"data":{"other":1}}}"#).apply(&mut bot).unwrap_err();
        assert_eq!(refusal.kind, ErrorKind::InvalidDataFormat);
        change(r#"{"configuration":{"data":{"key":1}}}"#).apply(&mut bot).unwrap();
    }
}
