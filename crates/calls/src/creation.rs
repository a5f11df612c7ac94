//! A bot has an integration make a user or a conversation (`spec/cloud/bridge-protocol.md` § 4.7).

use std::collections::BTreeMap;

use duologue_bridge::{Answer, Failure, Operation};
use duologue_model::{Error as Refusal, ErrorKind, id::BotId, tags::TagPatch};
use duologue_store::actions::{Creation, Made};
use serde::{Deserialize, Serialize};

use crate::{Calls, Result, callees, invalid, refusal};

/// What is made, and how it is asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The bot.
    pub bot: BotId,
    /// Whose it will be.
    pub alias: String,
    /// What it is.
    pub made: Made,
    /// Its tags, as the bot names them.
    pub tags: TagPatch,
    /// Names of the tags by which it is recognised, as the bot names them.
    pub by: Vec<String>,
}

/// What an integration has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByIntegration {
    /// Its id.
    pub id: String,
    /// Whether it wasn't there before.
    pub created: bool,
}

#[derive(Serialize)]
struct Asked<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    tags: BTreeMap<&'a str, &'a str>,
}

impl Calls {
    /// Refuses what the integration doesn't make, and gives the tags the names under which the bot will
    /// see them: those that the integration declares are the integration's, with or without its alias.
    pub async fn check_creation(&self, mut wanted: Wanted) -> Result<Wanted> {
        let alias = &wanted.alias;
        let missing = || Refusal::reference_not_found("integration", alias);
        let code = self.store.instance_code(&wanted.bot, alias).await?.ok_or_else(missing)?;
        let declared = self.store.creation(&wanted.bot, alias, wanted.made.clone()).await?;
        let declared = declared.unwrap_or_default();
        let what = match &wanted.made {
            Made::User => "users".to_owned(),
            Made::Conversation(channel) => format!("conversations in a channel \"{channel}\""),
        };
        if !declared.enabled {
            let text = format!("The integration \"{alias}\" does not let bots create {what}");
            return Err(Refusal::invalid_payload(text).into());
        }
        if !code.enabled {
            let text = format!("The integration \"{alias}\" is disabled in this bot");
            return Err(Refusal::new(ErrorKind::Runtime, text).into());
        }
        let stored = |key: String| stored_name(alias, &code.integration_name, &declared, key);
        wanted.tags = wanted.tags.into_iter().map(|(key, value)| (stored(key), value)).collect();
        wanted.by = wanted.by.into_iter().map(stored).collect();
        let given = own_tags(alias, &wanted.tags);
        let lacking: Vec<&str> =
            declared.required.iter().map(String::as_str).filter(|name| !given.contains_key(name)).collect();
        if !lacking.is_empty() {
            let text =
                format!("The integration \"{alias}\" creates {what} with these tags only: {}", lacking.join(", "));
            return Err(Refusal::invalid_payload(text).into());
        }
        Ok(wanted)
    }

    /// Has the integration make what [`Calls::check_creation`] has checked.
    ///
    /// # Errors
    /// `Runtime` and `OperationTimeout` if its code fails, or answers the id of nothing it has made.
    pub async fn create(&self, wanted: Wanted) -> Result<ByIntegration> {
        let this = self.clone();
        self.to_the_end(async move {
            let Wanted { bot, alias, made, tags, by: _ } = wanted;
            let missing = || Refusal::reference_not_found("integration", &alias);
            let code = this.store.instance_code(&bot, &alias).await?.ok_or_else(missing)?;
            let callee = callees::instance(&code).map_err(|error| invalid(&error))?;
            let (operation, channel) = match &made {
                Made::User => (Operation::CreateUser, None),
                Made::Conversation(channel) => (Operation::CreateConversation, Some(channel.as_str())),
            };
            let asked = Asked { channel, tags: own_tags(&alias, &tags) };
            let body = serde_json::to_string(&asked).unwrap_or_else(|_| "{}".to_owned());
            let started = this.store.now();
            let answer = this.ask(&callee, operation, body).await.map_err(|failure| refusal(&failure))?;
            let id = answered_id(&answer, &made).map_err(|failure| refusal(&failure))?;
            let created_at = this.store.was_made(&bot, &alias, made, &id).await?.ok_or_else(|| {
                let text = format!("The integration \"{alias}\" answered the id of something it has not created");
                Refusal::new(ErrorKind::Runtime, text)
            })?;
            Ok(ByIntegration { id, created: created_at >= started })
        })
        .await
    }
}

/// The name under which the bot sees a tag.
fn stored_name(alias: &str, name: &str, declared: &Creation, key: String) -> String {
    match key.split_once(':') {
        Some((prefix, bare)) if prefix == name => format!("{alias}:{bare}"),
        None if declared.tags.contains(&key) || declared.required.contains(&key) => format!("{alias}:{key}"),
        _ => key,
    }
}

/// The integration's tags, as it names them.
fn own_tags<'t>(alias: &str, tags: &'t TagPatch) -> BTreeMap<&'t str, &'t str> {
    tags.iter()
        .filter_map(|(key, value)| {
            let value = value.as_deref().filter(|value| !value.is_empty())?;
            Some((key.strip_prefix(alias)?.strip_prefix(':')?, value))
        })
        .collect()
}

/// The id in an answer, which is the object itself or an HTTP answer with its text.
fn answered_id(answer: &Answer, made: &Made) -> Result<String, Failure> {
    #[derive(Deserialize)]
    struct Answered {
        user: Option<Entity>,
        conversation: Option<Entity>,
        body: Option<String>,
    }
    #[derive(Deserialize)]
    struct Entity {
        id: String,
    }
    let id = |answered: Answered| match made {
        Made::User => answered.user.map(|user| user.id),
        Made::Conversation(_) => answered.conversation.map(|conversation| conversation.id),
    };
    let mut answered: Answered = answer.json()?;
    let inner = answered.body.take().and_then(|text| serde_json::from_str(&text).ok());
    id(answered).or_else(|| inner.and_then(id)).ok_or_else(|| Failure::Rubbish {
        status: answer.status.as_u16(),
        reason: "It answered without the id of what it has created".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::*;

    #[test]
    fn declared_tags_are_the_integrations() {
        let declared = Creation { enabled: true, required: vec!["id".to_owned()], tags: ["phone".to_owned()].into() };
        let given = ["id", "phone", "topic", "slack:x", "mine:y", "o:z"];
        let stored: Vec<String> =
            given.iter().map(|key| stored_name("mine", "slack", &declared, (*key).to_owned())).collect();
        assert_eq!(stored, ["mine:id", "mine:phone", "topic", "mine:x", "mine:y", "o:z"]);
        let stored = stored.into_iter().map(|key| (key.clone(), Some(key))).collect();
        let own = own_tags("mine", &stored);
        assert_eq!(
            own.into_iter().collect::<Vec<_>>(),
            [("id", "mine:id"), ("phone", "mine:phone"), ("x", "mine:x"), ("y", "mine:y")]
        );
    }

    #[test]
    fn the_id_is_found_in_both_forms() {
        let id = |body: &str, made| {
            let body = bytes::Bytes::copy_from_slice(body.as_bytes());
            answered_id(&Answer { status: StatusCode::OK, headers: HeaderMap::new(), body }, &made)
        };
        assert_eq!(id(r#"{"user":{"id":"u"}}"#, Made::User).unwrap(), "u");
        let channel = || Made::Conversation("dm".to_owned());
        assert_eq!(id(r#"{"status":200,"body":"{\"conversation\":{\"id\":\"c\"}}"}"#, channel()).unwrap(), "c");
        assert!(id("{}", Made::User).is_err());
        assert!(id(r#"{"user":{"id":"u"}}"#, channel()).is_err());
    }
}
