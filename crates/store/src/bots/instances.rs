//! Integrations installed in a bot: one instance an alias (`spec/cloud/admin.md` § 5.2).
//!
//! A change is planned, which checks it, and then written. In between, its caller tells the code of what
//! goes away; afterwards it tells the code of whatever is [`Instance::is_due`] and records how that went
//! (`integrations/registration.rs`).

use std::collections::BTreeMap;

use duologue_model::{Error as Refusal, ErrorKind, Json, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    Stored,
    parts::{self, Map, limit},
};
use crate::{
    Error, Result,
    callees::{self, INSTANCE_COLUMNS, InstanceCode},
    integrations::{
        self, Head, LifecycleStatus, VerificationStatus, Visibility, definition::ConfigurationIdentifier, registration,
    },
    params,
    tx::Tx,
};

/// Most integrations installed in one bot.
pub const MAX_INSTANCES: usize = 30;
/// Most characters of an alias.
pub const MAX_ALIAS: usize = 100;

/// What is set for an instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// Which of the integration's configurations; the default one if absent.
    pub configuration_type: Option<String>,
    /// Its values, in clear.
    pub configuration: Json,
    /// Channels that are switched off.
    pub disabled_channels: Vec<String>,
}

/// How far the code of an instance knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It is to be told.
    RegistrationPending,
    /// It knows.
    Registered,
    /// It was told, and failed.
    RegistrationFailed,
    /// It doesn't know.
    Unregistered,
    /// It was told that the instance is disabled, and failed.
    UnregistrationFailed,
}

impl Status {
    /// The word on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Status::RegistrationPending => "registration_pending",
            Status::Registered => "registered",
            Status::RegistrationFailed => "registration_failed",
            Status::Unregistered => "unregistered",
            Status::UnregistrationFailed => "unregistration_failed",
        }
    }

    /// From the word.
    pub fn from_name(name: &str) -> Option<Self> {
        use Status::{Registered, RegistrationFailed, RegistrationPending, Unregistered, UnregistrationFailed};
        [RegistrationPending, Registered, RegistrationFailed, Unregistered, UnregistrationFailed]
            .into_iter()
            .find(|status| status.name() == name)
    }
}

/// An installed integration.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Unique in the bot.
    pub alias: String,
    /// Made once, stable.
    pub webhook_id: String,
    /// Whether it works.
    pub enabled: bool,
    /// What is set for it.
    pub settings: Settings,
    /// How far its code knows of it.
    pub status: Status,
    /// Why, if that failed.
    pub status_reason: Option<String>,
    /// What the outside world calls it.
    pub identifier: Option<String>,
    /// When its code is to be told of it.
    pub register_at: Option<Timestamp>,
    /// When it was installed.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// What is installed.
    pub integration: Head,
}

impl Instance {
    /// Whether its code is to be told of it. One that needs an identifier first isn't.
    pub fn is_due(&self) -> bool {
        self.status == Status::RegistrationPending && self.register_at.is_some()
    }

    /// Whether its code knows of it, so that it must hear when it goes away. That of one that is due has
    /// been deployed anew.
    pub fn is_known(&self) -> bool {
        self.enabled && (self.status == Status::Registered || self.is_due())
    }
}

/// What a change does to one instance.
#[derive(Clone, Debug)]
pub struct Step {
    /// What is there before.
    pub old: Option<Instance>,
    /// What is there afterwards.
    pub new: Option<Instance>,
}

impl Step {
    /// The instance whose code is to be told that it goes away, or that it changes.
    pub fn unregisters(&self) -> Option<&Instance> {
        let old = self.old.as_ref().filter(|old| old.is_known())?;
        self.new.as_ref().is_none_or(|new| new.status != Status::Registered).then_some(old)
    }
}

/// A change to an instance, or a new one. Absent members stay.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Change {
    /// Whether it works; yes if nothing is said.
    pub enabled: Option<bool>,
    /// The integration version.
    pub integration_id: Option<String>,
    /// Which of the integration's configurations; `null` for the default one.
    #[serde(deserialize_with = "parts::nullable")]
    pub configuration_type: Option<Option<String>>,
    /// Replaced as a whole.
    pub configuration: Option<Json>,
    /// Replaced as a whole.
    pub disabled_channels: Option<Vec<String>>,
}

impl Change {
    /// Refuses what could never be stored.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        match &self.configuration {
            Some(configuration) => parts::configuration("configuration of an integration", configuration),
            None => Ok(()),
        }
    }

    fn over(&self, mut settings: Settings) -> Settings {
        if let Some(kind) = &self.configuration_type {
            settings.configuration_type.clone_from(kind);
        }
        if let Some(configuration) = &self.configuration {
            settings.configuration = configuration.clone();
        }
        if let Some(channels) = &self.disabled_channels {
            settings.disabled_channels.clone_from(channels);
        }
        settings
    }
}

pub(crate) fn check_alias(alias: &str) -> Result<(), Refusal> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'-');
    if (1..=MAX_ALIAS).contains(&alias.len()) && alias.bytes().all(good) {
        return Ok(());
    }
    let text = format!("\"{alias}\" is no alias: use 1 to {MAX_ALIAS} letters, digits, \"/\", \"_\" and \"-\"");
    Err(Refusal::invalid_payload(text))
}

/// The instances of a bot, oldest first.
pub(crate) async fn list(tx: &mut Tx<'_>, bot: &str) -> Result<Vec<Instance>> {
    let sql = format!(
        "SELECT i.alias, i.webhook_id, i.enabled, i.body, i.status, i.status_reason, i.identifier, i.register_at, \
         i.created_at, i.updated_at, {} FROM instances i CROSS JOIN integrations g \
         WHERE g.id = i.integration_id AND i.bot_id = ?1 ORDER BY i.created_at, i.alias",
        integrations::HEAD_COLUMNS
    );
    let rows = tx.query(&sql, params![bot]).await?;
    rows.into_iter()
        .map(|mut row| {
            let (alias, webhook_id, enabled, body) = (row.text()?, row.text()?, row.bool()?, row.text()?);
            let settings =
                serde_json::from_str(&body).map_err(|e| Error::Corrupt(format!("instance {alias} of {bot}: {e}")))?;
            let (status, status_reason) = (row.word(Status::from_name)?, row.opt_text()?);
            let (identifier, register_at) = (row.opt_text()?, row.opt_at()?);
            let (created_at, updated_at) = (row.at()?, row.at()?);
            Ok(Instance {
                alias,
                webhook_id,
                enabled,
                settings,
                status,
                status_reason,
                identifier,
                register_at,
                created_at,
                updated_at,
                integration: integrations::head(&mut row)?,
            })
        })
        .collect()
}

/// What a change does, in the order in which it is done: first what is removed, then what is added or
/// changed. Refuses what can't be done; writes nothing.
pub(crate) async fn plan(
    tx: &mut Tx<'_>,
    bot: &Stored,
    change: &Map<Option<Change>>,
    by_alias: bool,
) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    if change.is_empty() {
        return Ok(steps);
    }
    let mut installed = list(tx, bot.id.as_str()).await?;
    for key in change.iter().filter(|(_, change)| change.is_none()).map(|(key, _)| key) {
        let found = if by_alias { installed.iter().position(|i| i.alias == *key) } else { by_version(&installed, key) };
        if let Some(found) = found {
            steps.push(Step { old: Some(installed.remove(found)), new: None });
        }
    }
    for (key, change) in change.iter().filter_map(|(key, change)| Some((key, change.as_ref()?))) {
        let (alias, old) = if by_alias {
            (Some(key.clone()), installed.iter().find(|i| i.alias == *key).cloned())
        } else {
            (None, by_version(&installed, key).map(|found| installed[found].clone()))
        };
        let step = put(tx, bot, &installed, key, alias, old, change).await?;
        if let Some(new) = &step.new {
            installed.retain(|i| i.alias != new.alias);
            installed.push(new.clone());
        }
        steps.push(step);
    }
    limit("integrations installed in a bot", installed.len(), MAX_INSTANCES)?;
    Ok(steps)
}

/// Writes what was planned. The caller has locked the bot.
pub(crate) async fn write(tx: &mut Tx<'_>, bot: &Stored, steps: &[Step]) -> Result<()> {
    for step in steps {
        match (&step.old, &step.new) {
            (_, Some(new)) => write_one(tx, bot, new).await?,
            (Some(old), None) => {
                let sql = "DELETE FROM instances WHERE bot_id = ?1 AND alias = ?2";
                tx.execute(sql, params![&bot.id, &old.alias]).await?;
                let sql = "DELETE FROM action_runs WHERE bot_id = ?1 AND alias = ?2";
                tx.execute(sql, params![&bot.id, &old.alias]).await?;
            }
            (None, None) => {}
        }
    }
    Ok(())
}

/// Removes an integration version from all bots. Answers the instances whose code knew of them.
pub(crate) async fn remove_all(tx: &mut Tx<'_>, integration: &str) -> Result<Vec<InstanceCode>> {
    let sql = format!(
        "SELECT {INSTANCE_COLUMNS} FROM instances i CROSS JOIN integrations g WHERE g.id = i.integration_id \
         AND i.integration_id = ?1 AND i.enabled = 1 AND (i.status = ?2 OR (i.status = ?3 AND i.register_at IS NOT NULL))"
    );
    let known = [Status::Registered.name(), Status::RegistrationPending.name()];
    let rows = tx.query(&sql, params![integration, known[0], known[1]]).await?;
    let removed = rows.into_iter().map(|mut row| callees::instance(&mut row)).collect::<Result<_>>()?;
    let sql = "DELETE FROM action_runs WHERE EXISTS (SELECT 1 FROM instances i WHERE i.integration_id = ?1 \
               AND i.bot_id = action_runs.bot_id AND i.alias = action_runs.alias)";
    tx.execute(sql, params![integration]).await?;
    tx.execute("DELETE FROM instances WHERE integration_id = ?1", params![integration]).await?;
    Ok(removed)
}

/// Of the instances of this version the one named like the integration, else the oldest.
pub(crate) fn by_version(installed: &[Instance], version: &str) -> Option<usize> {
    let of = |i: &&(usize, &Instance)| i.1.integration.id == version;
    let all: Vec<(usize, &Instance)> = installed.iter().enumerate().collect();
    let named = all.iter().filter(of).find(|(_, i)| i.alias == i.integration.name);
    named.or_else(|| all.iter().find(of)).map(|(index, _)| *index)
}

/// What a change makes of one instance.
async fn put(
    tx: &mut Tx<'_>,
    bot: &Stored,
    installed: &[Instance],
    key: &str,
    alias: Option<String>,
    old: Option<Instance>,
    change: &Change,
) -> Result<Step> {
    let wanted = change.integration_id.as_deref().or(old.as_ref().map(|old| old.integration.id.as_str()));
    let wanted = match (wanted, &alias) {
        (Some(wanted), _) => wanted,
        (None, None) => key,
        (None, Some(alias)) => {
            let text = format!(
                "integrations.{alias}: integrationId is missing, and nothing is installed under this alias yet"
            );
            return Err(Refusal::invalid_payload(text).into());
        }
    };
    let upgraded = old.as_ref().is_none_or(|old| old.integration.id != wanted);
    let found = integrations::find_version(tx, wanted).await?;
    let found = found.filter(|found| !upgraded || found.is_usable_by(&bot.workspace_id));
    let found = found.ok_or_else(|| Refusal::reference_not_found("integration", wanted))?;
    if found.head.dev && !bot.dev {
        let text = format!("the integration \"{wanted}\" is a developer's and can be installed in dev bots only");
        return Err(Refusal::invalid_payload(text).into());
    }
    // Keyed by version id, an upgrade finds what it replaces by the integration's name.
    let old = old.or_else(|| {
        let same = |i: &&Instance| i.integration.name == found.head.name;
        let named = installed.iter().filter(same).find(|i| i.alias == i.integration.name);
        if alias.is_none() { named.or_else(|| installed.iter().find(same)).cloned() } else { None }
    });
    let now = tx.now();
    let mut new = match &old {
        Some(old) => Instance {
            enabled: change.enabled.unwrap_or(old.enabled),
            settings: change.over(old.settings.clone()),
            updated_at: now.max(old.updated_at.plus_millis(1)),
            integration: found.head,
            ..old.clone()
        },
        None => Instance {
            alias: alias.unwrap_or_else(|| found.head.name.clone()),
            webhook_id: tx.ids().uuid(),
            enabled: change.enabled.unwrap_or(true),
            settings: change.over(Settings::default()),
            status: Status::Unregistered,
            status_reason: None,
            identifier: None,
            register_at: None,
            created_at: now,
            updated_at: now,
            integration: found.head,
        },
    };
    check_alias(&new.alias)?;
    let identifier = check_configuration(&new, &found.definition)?;
    if !new.enabled {
        (new.status, new.status_reason, new.register_at) = (Status::Unregistered, None, None);
    } else if old.as_ref().is_none_or(|old| !old.enabled || is_news(old, &new)) {
        (new.status, new.status_reason) = (Status::RegistrationPending, None);
        let awaits_identifier = identifier.required && new.identifier.is_none();
        new.register_at = (!awaits_identifier).then(|| now.plus_millis(registration::GIVEN_UP_MILLIS));
    }
    Ok(Step { old, new: Some(new) })
}

/// Whether the code must be told of what became of `old`.
fn is_news(old: &Instance, new: &Instance) -> bool {
    let settings = |i: &Instance| (i.settings.configuration_type.clone(), i.settings.configuration.value());
    old.status != Status::Registered || old.integration.id != new.integration.id || settings(old) != settings(new)
}

async fn write_one(tx: &mut Tx<'_>, bot: &Stored, new: &Instance) -> Result<()> {
    tx.execute(
        "INSERT INTO instances (bot_id, alias, integration_id, webhook_id, enabled, body, status, status_reason, register_at, \
         created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) \
         ON CONFLICT (bot_id, alias) DO UPDATE SET integration_id = excluded.integration_id, enabled = excluded.enabled, \
         body = excluded.body, status = excluded.status, status_reason = excluded.status_reason, \
         register_at = excluded.register_at, updated_at = excluded.updated_at",
        params![
            &bot.id, &new.alias, &new.integration.id, &new.webhook_id, new.enabled, &Json::of(&new.settings),
            new.status.name(), new.status_reason.as_ref(), new.register_at, new.created_at, new.updated_at
        ],
    )
    .await?;
    Ok(())
}

/// The configuration of a working instance satisfies its schema; a disabled one may be incomplete.
/// Answers how such an instance gets its identifier.
fn check_configuration<'d>(
    instance: &Instance,
    definition: &'d integrations::Definition,
) -> Result<&'d ConfigurationIdentifier, Refusal> {
    let configuration = match &instance.settings.configuration_type {
        None => &definition.configuration,
        Some(kind) => match definition.configurations.get(kind) {
            Some(configuration) => configuration,
            None => {
                let text = format!("integrations.{}: the integration has no configuration \"{kind}\"", instance.alias);
                return Err(Refusal::invalid_payload(text));
            }
        },
    };
    if instance.enabled {
        let at = format!("integrations.{}.configuration", instance.alias);
        parts::configured(&at, &configuration.schema, &instance.settings.configuration)?;
    }
    Ok(&configuration.identifier)
}

/// An instance as the API shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View<'a> {
    enabled: bool,
    name: &'a str,
    version: &'a str,
    webhook_url: String,
    webhook_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    identifier: Option<&'a str>,
    configuration_type: Option<&'a str>,
    configuration: &'a Json,
    status: Status,
    status_reason: Option<&'a str>,
    disabled_channels: &'a [String],
    id: &'a str,
    created_at: Timestamp,
    updated_at: Timestamp,
    title: &'a str,
    description: &'a str,
    icon_url: String,
    public: bool,
    visibility: Visibility,
    verification_status: VerificationStatus,
    lifecycle_status: LifecycleStatus,
}

impl Instance {
    fn view<'a>(&'a self, public_url: &str, webhook_url: &str) -> View<'a> {
        let head = &self.integration;
        View {
            enabled: self.enabled,
            name: &head.name,
            version: if head.dev { "dev" } else { &head.version },
            webhook_url: format!("{webhook_url}/{}", self.webhook_id),
            webhook_id: &self.webhook_id,
            identifier: self.identifier.as_deref(),
            configuration_type: self.settings.configuration_type.as_deref(),
            configuration: &self.settings.configuration,
            status: self.status,
            status_reason: self.status_reason.as_deref(),
            disabled_channels: &self.settings.disabled_channels,
            id: &head.id,
            created_at: self.created_at,
            updated_at: self.updated_at,
            title: &head.summary.title,
            description: &head.summary.description,
            icon_url: head.icon_url(public_url),
            public: head.visibility == Visibility::Public,
            visibility: head.visibility,
            verification_status: head.summary.verification_status,
            lifecycle_status: head.summary.lifecycle_status,
        }
    }
}

/// Instances by alias, or by version id; of several of one version the one that a request with
/// that id would mean.
pub(crate) fn views<'a>(
    instances: &'a [Instance],
    public_url: &str,
    webhook_url: &str,
    by_alias: bool,
) -> BTreeMap<&'a str, View<'a>> {
    let mut views = BTreeMap::new();
    for instance in instances {
        if by_alias {
            views.insert(instance.alias.as_str(), instance.view(public_url, webhook_url));
        } else if by_version(instances, &instance.integration.id)
            .is_some_and(|found| instances[found].alias == instance.alias)
        {
            views.insert(instance.integration.id.as_str(), instance.view(public_url, webhook_url));
        }
    }
    views
}

/// Refuses to forget an integration that bots still use.
pub(crate) async fn refuse_if_installed(tx: &mut Tx<'_>, integration: &str) -> Result<()> {
    let row = tx.query_opt("SELECT COUNT(*) FROM instances WHERE integration_id = ?1", params![integration]).await?;
    match row.map_or(Ok(0), |mut row| row.int())? {
        0 => Ok(()),
        bots => {
            let text = format!("the integration is still installed {bots} times; remove it from those bots first");
            Err(Refusal::new(ErrorKind::ReferenceConstraint, text).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_follow_their_pattern() {
        for good in ["a", "acme/crm", "my_crm-2"] {
            assert!(check_alias(good).is_ok(), "{good}");
        }
        for bad in ["", "a:b", "a#b", "a b", "ä", &"a".repeat(101)] {
            assert!(check_alias(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn absent_settings_stay() {
        let old = Settings {
            configuration_type: Some("oauth".into()),
            disabled_channels: vec!["dm".into()],
            ..Settings::default()
        };
        let change: Change = serde_json::from_str(r#"{"configurationType":null,"configuration":{"a":1}}"#).unwrap();
        let new = change.over(old);
        assert_eq!(new.configuration_type, None);
        assert_eq!(new.configuration.text(), r#"{"a":1}"#);
        assert_eq!(new.disabled_channels, ["dm"]);
    }
}
