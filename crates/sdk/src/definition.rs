//! What a bot is made of, apart from its code: the Rust counterpart of `bot.definition.ts`.
//!
//! Built by the bot's author; `deploy` compares it with what the server has and sends the difference.

use std::collections::BTreeMap;

use duologue_model::Json;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{BotAction, BotEvent, BotState, Scope, schema_of};

/// States, events, actions, tags and integrations of a bot.
///
/// ```
/// # use duologue_sdk::{BotState, Definition, JsonSchema, Scope};
/// # #[derive(serde::Serialize, serde::Deserialize, JsonSchema)]
/// # struct Cart { items: Vec<String> }
/// # impl BotState for Cart { const NAME: &str = "cart"; const SCOPE: Scope = Scope::User; }
/// let definition = Definition::new()
///     .state::<Cart>()
///     .user_tag("tier", "How much they buy")
///     .conversation_tag("topic", "What it is about");
/// assert!(definition.json().text().contains("cart"));
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Definition {
    description: Option<String>,
    max_execution_time: Option<u64>,
    configuration: Option<Json>,
    attributes: BTreeMap<String, String>,
    user_tags: Map<String, Value>,
    conversation_tags: Map<String, Value>,
    message_tags: Map<String, Value>,
    states: Map<String, Value>,
    events: Map<String, Value>,
    actions: Map<String, Value>,
    recurring: Map<String, Value>,
    integrations: BTreeMap<String, Dependency>,
}

/// An integration that the bot depends on.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Dependency {
    pub(crate) reference: Reference,
    pub(crate) enabled: Option<bool>,
    pub(crate) configuration: Option<Json>,
    pub(crate) configuration_type: Option<String>,
    pub(crate) disabled_channels: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reference {
    Id(String),
    Name { name: String, version: String },
}

impl Dependency {
    /// The integration of this name: an exact version, `latest`, or a range (`>=1.0.0 <2.0.0`). The
    /// workspace's own is preferred to a public one.
    pub fn named(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self::of(Reference::Name { name: name.into(), version: version.into() })
    }

    /// The version with this id.
    pub fn id(id: impl Into<String>) -> Self {
        Self::of(Reference::Id(id.into()))
    }

    fn of(reference: Reference) -> Self {
        Dependency { reference, enabled: None, configuration: None, configuration_type: None, disabled_channels: None }
    }

    /// Switched on or off. When not called: one that is installed stays as it is, a new one is on.
    pub fn enabled(mut self, on: bool) -> Self {
        self.enabled = Some(on);
        self
    }

    /// Its settings: any JSON object. When not called, those of an installed one stay.
    pub fn configuration(mut self, data: impl Serialize) -> Self {
        self.configuration = Some(Json::of(&data));
        self
    }

    /// Which of its named configurations the settings are for.
    pub fn configuration_type(mut self, name: impl Into<String>) -> Self {
        self.configuration_type = Some(name.into());
        self
    }

    /// Channels in which nothing is delivered.
    pub fn disabled_channels<C: Into<String>>(mut self, channels: impl IntoIterator<Item = C>) -> Self {
        self.disabled_channels = Some(channels.into_iter().map(Into::into).collect());
        self
    }
}

impl Definition {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// For people; at most 2000 characters.
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = Some(text.into());
        self
    }

    /// How many seconds the server waits for a handler; 60 by default.
    pub fn max_execution_time(mut self, seconds: u64) -> Self {
        self.max_execution_time = Some(seconds);
        self
    }

    /// What the bot's configuration must look like; handlers read it with
    /// [`crate::Context::configuration`].
    pub fn configuration<T: JsonSchema>(mut self) -> Self {
        self.configuration = Some(schema_of::<T>());
        self
    }

    /// A tag of the bot itself; at most 500 characters.
    pub fn attribute(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.insert(key.into(), value.into());
        self
    }

    /// A tag that users may have, and what it means (at most 256 characters).
    pub fn user_tag(mut self, key: impl Into<String>, meaning: impl Into<String>) -> Self {
        self.user_tags.insert(key.into(), tag(meaning));
        self
    }

    /// A tag that conversations may have, and what it means (at most 256 characters).
    pub fn conversation_tag(mut self, key: impl Into<String>, meaning: impl Into<String>) -> Self {
        self.conversation_tags.insert(key.into(), tag(meaning));
        self
    }

    /// A tag that messages may have, and what it means (at most 256 characters).
    pub fn message_tag(mut self, key: impl Into<String>, meaning: impl Into<String>) -> Self {
        self.message_tags.insert(key.into(), tag(meaning));
        self
    }

    /// A state. Those of workflows need not be declared and aren't sent.
    pub fn state<S: BotState>(mut self) -> Self {
        if S::SCOPE != Scope::Workflow {
            let mut state = json!({ "type": S::SCOPE.state_type().name(), "schema": schema_of::<S>() });
            if let Some(expiry) = S::EXPIRY {
                state["expiry"] = json!(u64::try_from(expiry.as_millis()).unwrap_or(u64::MAX).max(1));
            }
            self.states.insert(S::NAME.to_owned(), state);
        }
        self
    }

    /// An event of the bot's own.
    pub fn event<E: BotEvent>(mut self) -> Self {
        let mut event = json!({ "schema": schema_of::<E>() });
        describe(&mut event, E::TITLE, E::DESCRIPTION);
        self.events.insert(E::TYPE.to_owned(), event);
        self
    }

    /// An event that happens by itself: `cron` has five fields (minute, hour, day, month, weekday), in
    /// UTC. `name` is the schedule's own; an event can have several.
    ///
    /// ```
    /// # use duologue_sdk::{BotEvent, Definition, JsonSchema};
    /// #[derive(serde::Serialize, serde::Deserialize, JsonSchema)]
    /// struct Report {
    ///     top: u8,
    /// }
    /// impl BotEvent for Report {
    ///     const TYPE: &str = "report";
    /// }
    /// let definition = Definition::new().event::<Report>().recurring("everyMorning", "0 8 * * *", &Report { top: 3 });
    /// ```
    pub fn recurring<E: BotEvent>(mut self, name: impl Into<String>, cron: impl Into<String>, payload: &E) -> Self {
        let event = json!({ "type": E::TYPE, "schedule": { "cron": cron.into() }, "payload": Json::of(payload) });
        self.recurring.insert(name.into(), event);
        self
    }

    /// An action of the bot's own.
    pub fn action<A: BotAction>(mut self) -> Self {
        let mut action = json!({
            "input": { "schema": schema_of::<A::Input>() },
            "output": { "schema": schema_of::<A::Output>() },
        });
        describe(&mut action, A::TITLE, A::DESCRIPTION);
        self.actions.insert(A::NAME.to_owned(), action);
        self
    }

    /// An integration that the bot needs, under the alias that the bot knows it by.
    pub fn integration(mut self, alias: impl Into<String>, dependency: Dependency) -> Self {
        self.integrations.insert(alias.into(), dependency);
        self
    }

    pub(crate) fn integrations(&self) -> &BTreeMap<String, Dependency> {
        &self.integrations
    }

    /// How long a handler may take.
    pub(crate) fn execution_seconds(&self) -> u64 {
        self.max_execution_time.unwrap_or(60)
    }

    /// All of it as `updateBot` takes it, integrations aside: which these are, only the server knows.
    pub fn json(&self) -> Json {
        Json::of(&self.members())
    }

    pub(crate) fn members(&self) -> Map<String, Value> {
        let mut members = Map::new();
        if let Some(text) = &self.description {
            members.insert("description".into(), json!(text));
        }
        if let Some(seconds) = self.max_execution_time {
            members.insert("maxExecutionTime".into(), json!(seconds));
        }
        let schema = self.configuration.as_ref().map_or_else(|| json!({}), Json::value);
        members.insert("configuration".into(), json!({ "schema": schema }));
        members.insert("tags".into(), json!(self.attributes));
        members.insert("user".into(), json!({ "tags": self.user_tags }));
        members.insert("conversation".into(), json!({ "tags": self.conversation_tags }));
        members.insert("message".into(), json!({ "tags": self.message_tags }));
        for (name, map) in [
            ("states", &self.states),
            ("events", &self.events),
            ("actions", &self.actions),
            ("recurringEvents", &self.recurring),
        ] {
            members.insert(name.into(), Value::Object(map.clone()));
        }
        members
    }
}

fn tag(meaning: impl Into<String>) -> Value {
    json!({ "description": meaning.into() })
}

fn describe(value: &mut Value, title: Option<&str>, description: Option<&str>) {
    if let Some(title) = title {
        value["title"] = json!(title);
    }
    if let Some(description) = description {
        value["description"] = json!(description);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde::Deserialize;

    use super::*;

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Note {
        text: String,
    }
    impl BotState for Note {
        const NAME: &'static str = "note";
        const SCOPE: Scope = Scope::Conversation;
        const EXPIRY: Option<Duration> = Some(Duration::from_secs(2));
    }
    impl BotEvent for Note {
        const TYPE: &'static str = "noted";
        const TITLE: Option<&'static str> = Some("Noted");
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Step {
        at: u8,
    }
    impl BotState for Step {
        const NAME: &'static str = "step";
        const SCOPE: Scope = Scope::Workflow;
    }

    #[test]
    fn a_definition_says_what_update_bot_takes() {
        let definition = Definition::new()
            .state::<Note>()
            .state::<Step>()
            .event::<Note>()
            .recurring("often", "* * * * *", &Note { text: "x".into() })
            .user_tag("tier", "Gold or not");
        let json = definition.json().value();
        assert_eq!(json["states"]["note"]["expiry"], 2000);
        assert_eq!(json["states"]["note"]["type"], "conversation");
        assert!(json["states"].get("step").is_none(), "states of workflows are not deployed");
        assert_eq!(json["events"]["noted"]["title"], "Noted");
        assert_eq!(
            json["recurringEvents"]["often"],
            json!({"type": "noted", "schedule": {"cron": "* * * * *"}, "payload": {"text": "x"}})
        );
        assert_eq!(json["user"]["tags"]["tier"]["description"], "Gold or not");
        assert_eq!(json["configuration"], json!({"schema": {}}));
    }
}
