//! Deploying a bot: its definition and its URL, through the admin API (`spec/cloud/cli-protocol.md` § 4).
//!
//! A deployment is a patch: what the definition has is set, what the server has beyond that is removed
//! with `null`, and nothing else is touched.

use duologue_client::{Bot as StoredBot, Client, Json};
use duologue_model::id::BotId;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    Definition, Error,
    definition::{Dependency, Reference},
};

/// How a bot is deployed.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Deployment {
    url: Option<String>,
    configuration: Option<Json>,
    keep_integrations: bool,
    signed: bool,
}

impl Deployment {
    /// The definition alone.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where the server reaches the bot: any URL that leads to [`crate::Bot::serve`].
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    /// The bot's configuration: any JSON object. When not called, it stays.
    pub fn configuration(mut self, data: impl Serialize) -> Self {
        self.configuration = Some(Json::of(&data));
        self
    }

    /// Leaves integrations installed that the definition doesn't have. Otherwise they are removed, as
    /// everything else is.
    pub fn keep_integrations(mut self) -> Self {
        self.keep_integrations = true;
        self
    }

    /// Has the server sign what it sends, with [`Deployed::signing_secret`].
    pub fn signed(mut self) -> Self {
        self.signed = true;
        self
    }
}

/// A bot that was deployed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Deployed {
    /// As the server has it now.
    pub bot: StoredBot,
    /// What the server signs with, if it signs; for [`crate::Bot::signing_secret`].
    pub signing_secret: Option<String>,
    /// Integrations that don't want to work as they are configured.
    pub failed: Vec<RegistrationFailed>,
}

/// An integration that refused to be registered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegistrationFailed {
    /// Under which alias it is installed.
    pub alias: String,
    /// What it says.
    pub reason: String,
}

/// Deploys a bot. `admin` is a client with a personal access token, and with a workspace if the account
/// has several.
///
/// ```no_run
/// # async fn example(definition: duologue_sdk::Definition) -> Result<(), duologue_sdk::Error> {
/// use duologue_sdk::{Client, Deployment, deploy};
///
/// let admin = Client::from_env()?;
/// let deployment = Deployment::new().url("http://10.0.0.7:8072");
/// deploy(&admin, "bot_01J00000000000000000000000", &definition, deployment).await?;
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// [`Error::Client`]: the server's refusal says what is wrong with the definition; an integration that
/// isn't there is `ResourceNotFound`.
pub async fn deploy(
    admin: &Client,
    bot: impl Into<BotId>,
    definition: &Definition,
    deployment: Deployment,
) -> Result<Deployed, Error> {
    let bot = bot.into();
    let current = admin.get_bot(&bot).await?.json().value();
    let patch = patch(admin, &current, definition, &deployment).await?;
    apply(admin, &bot, &patch).await
}

pub(crate) async fn apply(admin: &Client, bot: &BotId, patch: &Value) -> Result<Deployed, Error> {
    let bot = admin.update_bot(bot, patch).await?;
    let whole = bot.json().value();
    let secret = whole["signingSecret"].as_str().filter(|secret| !secret.is_empty()).map(str::to_owned);
    let installed = whole["integrations"].as_object().cloned().unwrap_or_default();
    let failed = installed.into_iter().filter(|(_, instance)| instance["status"] == "registration_failed");
    let failed = failed.map(|(alias, instance)| {
        let reason = instance["statusReason"].as_str().unwrap_or("it didn't say why").to_owned();
        RegistrationFailed { alias, reason }
    });
    Ok(Deployed { failed: failed.collect(), signing_secret: secret, bot })
}

/// What turns the bot `current` into what the definition says.
pub(crate) async fn patch(
    admin: &Client,
    current: &Value,
    definition: &Definition,
    deployment: &Deployment,
) -> Result<Value, Error> {
    let mut patch = definition.members();
    let installed = current["integrations"].as_object().cloned().unwrap_or_default();
    let mut integrations = Map::new();
    for (alias, dependency) in definition.integrations() {
        integrations.insert(alias.clone(), instance(admin, installed.get(alias), dependency).await?);
    }
    patch.insert("integrations".into(), Value::Object(integrations));
    let mut patch = Value::Object(patch);
    for path in REPLACED {
        if deployment.keep_integrations && path == &["integrations"] {
            continue;
        }
        remove_rest(&mut patch, current, path);
    }
    for map in ["events", "actions"] {
        let kept = patch[map].as_object().into_iter().flatten().filter(|(_, definition)| !definition.is_null());
        let names: Vec<String> = kept.map(|(name, _)| name.clone()).collect();
        for name in names {
            remove_rest(&mut patch, current, &[map, &name, "attributes"]);
        }
    }
    if let Some(url) = &deployment.url {
        patch["url"] = json!(url);
    }
    if let Some(data) = &deployment.configuration {
        patch["configuration"]["data"] = data.value();
    }
    if deployment.signed {
        patch["authentication"] = json!("hmac-sha256");
    }
    Ok(patch)
}

/// The maps of which nothing stays that the definition doesn't have.
const REPLACED: &[&[&str]] = &[
    &["states"],
    &["events"],
    &["actions"],
    &["recurringEvents"],
    &["tags"],
    &["user", "tags"],
    &["conversation", "tags"],
    &["message", "tags"],
    &["integrations"],
];

/// Adds a `null` to the map at `path` for each key that the server has beyond it. Keys with a `#` are of
/// plugins: the server derives them.
fn remove_rest(patch: &mut Value, current: &Value, path: &[&str]) {
    let Some(current) = path.iter().try_fold(current, |value, name| value.get(name)).and_then(Value::as_object) else {
        return;
    };
    let rest: Vec<&String> = current.keys().filter(|key| !key.contains('#')).collect();
    if rest.is_empty() {
        return;
    }
    let mut map = patch;
    for name in path {
        map = &mut map[*name];
    }
    for key in rest {
        if map.get(key).is_none() {
            map[key.as_str()] = Value::Null;
        }
    }
}

/// How an integration is installed, or what changes about it.
async fn instance(admin: &Client, installed: Option<&Value>, dependency: &Dependency) -> Result<Value, Error> {
    let id = match &dependency.reference {
        Reference::Id(id) => id.clone(),
        Reference::Name { name, version } => {
            let found = match admin.get_integration_by_name(name, version).await {
                Err(error) if error.is_not_found() => admin.get_public_integration(name, version).await,
                found => found,
            };
            found?.id.to_string()
        }
    };
    let mut entry = json!({ "integrationId": id });
    if let Some(on) = dependency.enabled.or(installed.is_none().then_some(true)) {
        entry["enabled"] = json!(on);
    }
    if let Some(data) = &dependency.configuration {
        entry["configuration"] = data.value();
        entry["configurationType"] = json!(dependency.configuration_type);
    }
    if let Some(channels) = &dependency.disabled_channels {
        entry["disabledChannels"] = json!(channels);
    }
    Ok(entry)
}

/// The members of a patch that would change something, by name.
pub(crate) fn changes<'p>(patch: &'p Value, current: &Value) -> Vec<&'p str> {
    let members = patch.as_object().into_iter().flatten();
    let differs = |name: &str, value: &Value| {
        // The settings of an integration are replaced as a whole; the bot's have a schema beside them.
        let whole: &[&str] = if name == "integrations" { &["configuration"] } else { &["schema", "payload", "data"] };
        !is_so(value, current.get(name).unwrap_or(&Value::Null), whole)
    };
    members.filter(|(name, value)| differs(name, value)).map(|(name, _)| name.as_str()).collect()
}

/// Whether `current` is already what the patch says. Members named in `whole` are replaced as a whole; of
/// the others the server may have more.
fn is_so(patch: &Value, current: &Value, whole: &[&str]) -> bool {
    let Value::Object(members) = patch else { return patch == current };
    members.iter().all(|(name, value)| {
        // An installed integration says in another place which version it is.
        let there = current.get(if name == "integrationId" { "id" } else { name }).unwrap_or(&Value::Null);
        if whole.contains(&name.as_str()) { value == there } else { is_so(value, there, whole) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_definition_lacks_is_removed_and_nothing_else() {
        let current = json!({
            "states": {"old": {"type": "bot"}, "kept": {"type": "bot"}, "hitl#queue": {"type": "bot"}},
            "user": {"tags": {"tier": {}}},
        });
        let mut patch = json!({"states": {"kept": {"type": "bot"}, "new": {"type": "user"}}, "user": {"tags": {}}});
        for path in REPLACED {
            remove_rest(&mut patch, &current, path);
        }
        let states = json!({"kept": {"type": "bot"}, "new": {"type": "user"}, "old": null});
        assert_eq!(patch, json!({"states": states, "user": {"tags": {"tier": null}}}));
    }

    #[test]
    fn only_what_differs_is_a_change() {
        let current = json!({
            "states": {"s": {"type": "bot", "schema": {"type": "object", "properties": {"a": {}}}}},
            "recurringEvents": {"r": {"type": "t", "payload": {}, "schedule": {"cron": "* * * * *"}, "failedAttempts": 0}},
            "integrations": {"slack": {"id": "intver_1", "enabled": true, "configuration": {"a": 1}}},
            "url": "http://a",
        });
        let same = json!({
            "states": {"s": {"type": "bot", "schema": {"type": "object", "properties": {"a": {}}}}, "gone": null},
            "recurringEvents": {"r": {"type": "t", "payload": {}, "schedule": {"cron": "* * * * *"}}},
            "integrations": {"slack": {"integrationId": "intver_1"}},
            "url": "http://a",
            "events": {},
        });
        assert_eq!(changes(&same, &current), Vec::<&str>::new());
        let other = json!({
            "states": {"s": {"type": "bot", "schema": {"type": "object"}}},
            "recurringEvents": {"r": null},
            "integrations": {"slack": {"integrationId": "intver_1", "configuration": {}}},
            "url": "http://b",
            "events": {"e": {}},
        });
        // An event with nothing in it is what the server has of it, too: not there.
        assert_eq!(changes(&other, &current), ["states", "recurringEvents", "integrations", "url"]);
    }
}
