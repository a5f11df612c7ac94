//! Creating, changing and deleting integration versions.

use std::collections::BTreeMap;

use duologue_model::{
    Error as Refusal, ErrorKind, Json,
    admin::Role,
    id::{IntegrationId, Kind},
};
use semver::Version;

use super::{
    Body, Change, Head, Integration, MAX_VERSIONS, Stored, Summary, Visibility, damaged, find, named,
    names::{check_own_name, check_version},
    registration, usage,
};
use crate::{
    Error, Result, Store,
    bots::{instances, parts},
    callees::InstanceCode,
    catalog, params,
    tx::{Script, Tx},
    vault::Sealed,
    workspaces::{Actor, Inside},
};

/// Ids of dev integrations say so.
enum DevIntegration {}

impl Kind for DevIntegration {
    const PREFIX: &'static str = "devint";
}

/// createIntegration, or with `dry` only its checks.
struct Create {
    actor: Actor,
    new: Change,
    dry: bool,
}

impl Script for Create {
    type Out = Integration;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Integration> {
        let inside = self.actor.enter(tx, Role::Developer).await?;
        let (name, version) = self.identity(tx, &inside).await?;
        let (now, dev) = (tx.now(), self.new.dev.unwrap_or(false));
        let id = if dev {
            tx.ids().id::<DevIntegration>(now).to_string()
        } else {
            IntegrationId::to_string(&tx.ids().id(now))
        };
        let earlier = self.earlier(tx, &inside, &name, &version, dev).await?;
        let mut made = Stored {
            head: Head {
                id,
                workspace_id: inside.workspace.clone(),
                name,
                version: version.to_string(),
                dev,
                visibility: self.new.wanted_visibility().unwrap_or_default(),
                created_at: now,
                updated_at: now,
                summary: Summary::default(),
                has_icon: false,
                has_readme: false,
            },
            body: Body { icon: earlier.icon, ..Body::default() },
            url: self.new.url.clone().flatten(),
            signing_secret: tx.ids().secret(""),
            secrets: earlier.secrets,
        };
        self.new.apply(&mut made.body)?;
        if made.body.definition.title.is_empty() {
            made.body.definition.title = made.head.name.chars().take(parts::MAX_TITLE).collect();
        }
        self.new.apply_secrets(&mut made.secrets)?;
        let made = made.with_summary();
        let made = self.new.implement(tx, made).await?;
        if !self.dry {
            insert(tx, &made, self.new.code.as_ref()).await?;
            note_interfaces(tx, &made).await?;
            if let Some(icon) = &self.new.icon {
                share_icon(tx, &made.head, icon).await?;
            }
        }
        Ok(Integration { signing_secret: Some(made.signing_secret.clone()), stored: made, hub: None })
    }
}

/// What a new version takes over from the highest earlier one of its name.
#[derive(Default)]
struct Earlier {
    icon: Option<String>,
    secrets: BTreeMap<String, Sealed>,
}

impl Create {
    /// The name and version, checked.
    async fn identity(&self, tx: &mut Tx<'_>, inside: &Inside) -> Result<(String, Version), Error> {
        let name = self.new.name.clone().ok_or_else(|| Refusal::invalid_payload("name is missing"))?;
        let version = self.new.version.as_deref().ok_or_else(|| Refusal::invalid_payload("version is missing"))?;
        check_own_name(tx, inside, &name).await?;
        Ok((name, check_version(version)?))
    }

    async fn earlier(
        &self,
        tx: &mut Tx<'_>,
        inside: &Inside,
        name: &str,
        version: &Version,
        dev: bool,
    ) -> Result<Earlier> {
        tx.lock(&format!("integration {} {name}", inside.workspace)).await?;
        let sql = "SELECT g.version, g.id FROM integrations g WHERE g.workspace_id = ?1 AND g.name = ?2 AND g.dev = 0";
        let mut versions: Vec<(Version, String)> = Vec::new();
        for mut row in tx.query(sql, params![&inside.workspace, name]).await? {
            let (text, id) = (row.text()?, row.text()?);
            versions.extend(Version::parse(&text).ok().map(|version| (version, id)));
        }
        if !dev {
            if versions.iter().any(|(other, _)| other == version) {
                let text = format!("the integration \"{name}\" already has a version {version}");
                return Err(Refusal::new(ErrorKind::AlreadyExists, text).into());
            }
            parts::limit("versions of an integration", versions.len() + 1, MAX_VERSIONS)?;
        }
        let Some((_, highest)) = versions.into_iter().max() else { return Ok(Earlier::default()) };
        let highest = find(tx, &highest, false).await?;
        Ok(highest.map(|stored| Earlier { icon: stored.body.icon, secrets: stored.secrets }).unwrap_or_default())
    }
}

impl Change {
    /// Finds the interfaces that are implemented.
    async fn implement(&self, tx: &mut Tx<'_>, mut of: Stored) -> Result<Stored> {
        let workspace = of.head.workspace_id.clone();
        for (key, change) in &self.interfaces {
            let entries = &mut of.body.definition.interfaces;
            let Some(change) = change else {
                entries.remove(key);
                continue;
            };
            let found: Option<catalog::interfaces::Interface> =
                catalog::usable(tx, &workspace, Some(&change.id), "", "").await?;
            let found = found.ok_or_else(|| Refusal::reference_not_found("interface", &change.id))?;
            let new = change.over(entries.get(key), &found.head.name, &found.head.version);
            entries.insert(key.clone(), new);
        }
        Ok(of)
    }
}

/// Notes which interfaces a version implements.
async fn note_interfaces(tx: &mut Tx<'_>, of: &Stored) -> Result<()> {
    let implemented = of.body.definition.interfaces.values().map(|entry| entry.id.clone());
    catalog::note_interfaces(tx, &of.head.id, implemented).await
}

async fn insert(tx: &mut Tx<'_>, new: &Stored, code: Option<&String>) -> Result<()> {
    let head = &new.head;
    tx.execute(
        "INSERT INTO integrations (id, workspace_id, name, version, dev, visibility, url, signing_secret, body, secrets, code, created_at, updated_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        params![
            &head.id, &head.workspace_id, &head.name, &head.version, head.dev, head.visibility.name(), new.url.as_ref(),
            &new.signing_secret, &Json::of(&new.body), &Json::of(&new.secrets), code, head.created_at, head.updated_at
        ],
    )
    .await?;
    Ok(())
}

/// Gives all versions of a name the same icon.
async fn share_icon(tx: &mut Tx<'_>, head: &Head, icon: &str) -> Result<()> {
    let sql = "SELECT id, body FROM integrations WHERE workspace_id = ?1 AND name = ?2 AND id <> ?3";
    for mut row in tx.query(sql, params![&head.workspace_id, &head.name, &head.id]).await? {
        let (id, body) = (row.text()?, row.text()?);
        let mut body: Body = serde_json::from_str(&body).map_err(damaged(&id))?;
        body.icon = Some(icon.to_owned());
        tx.execute("UPDATE integrations SET body = ?2 WHERE id = ?1", params![&id, &Json::of(&body)]).await?;
    }
    Ok(())
}

/// updateIntegration, or with `dry` only its checks.
struct Update {
    actor: Actor,
    id: String,
    change: Change,
    may_break: bool,
    dry: bool,
}

impl Script for Update {
    type Out = Integration;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Integration> {
        let inside = self.actor.enter(tx, Role::Developer).await?;
        let mut stored = named(tx, &inside, &self.id, true).await?;
        let before = stored.body.definition.clone();
        self.change.apply(&mut stored.body)?;
        self.change.apply_secrets(&mut stored.secrets)?;
        let shared = !stored.head.dev && stored.head.visibility != Visibility::Private;
        if shared && !self.may_break && usage(tx, &self.id).await?.installs > 0 {
            before.refuse_to_break(&stored.body.definition)?;
        }
        if let Some(visibility) = self.change.wanted_visibility() {
            stored.head.visibility = visibility;
        }
        if let Some(url) = &self.change.url {
            stored.url.clone_from(url);
        }
        stored.head.updated_at = tx.now().max(stored.head.updated_at.plus_millis(1));
        let stored = self.change.implement(tx, stored.with_summary()).await?;
        if self.dry {
            return Ok(stored.into());
        }
        note_interfaces(tx, &stored).await?;
        let head = &stored.head;
        tx.execute(
            "UPDATE integrations SET visibility = ?2, url = ?3, body = ?4, secrets = ?5, code = COALESCE(?6, code), updated_at = ?7 WHERE id = ?1",
            params![
                &head.id, head.visibility.name(), stored.url.as_ref(), &Json::of(&stored.body), &Json::of(&stored.secrets),
                self.change.code.as_ref(), head.updated_at
            ],
        )
        .await?;
        if let Some(icon) = &self.change.icon {
            share_icon(tx, head, icon).await?;
        }
        if self.change.code.is_some() || self.change.url.is_some() {
            registration::redeployed(tx, &head.id).await?;
        }
        Ok(stored.into())
    }
}

/// deleteIntegration: one version, with its keys. Dev ones are removed from bots, others refused
/// while installed.
struct Delete {
    actor: Actor,
    id: String,
}

impl Script for Delete {
    type Out = Vec<InstanceCode>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<InstanceCode>> {
        let inside = self.actor.enter(tx, Role::Developer).await?;
        let stored = named(tx, &inside, &self.id, true).await?;
        let removed = if stored.head.dev {
            instances::remove_all(tx, &self.id).await?
        } else {
            instances::refuse_if_installed(tx, &self.id).await?;
            Vec::new()
        };
        for sql in [
            "DELETE FROM tokens WHERE integration_id = ?1",
            "DELETE FROM logs WHERE owner = ?1",
            "DELETE FROM interface_uses WHERE user_id = ?1",
            "DELETE FROM integrations WHERE id = ?1",
        ] {
            tx.execute(sql, params![&self.id]).await?;
        }
        Ok(removed)
    }
}

impl Store {
    /// createIntegration. The answer carries the signing secret.
    pub async fn create_integration(&self, actor: Actor, new: Change) -> Result<Integration> {
        new.check()?;
        let new = new.seal(&self.vault, &self.ids)?;
        self.write_rights(Create { actor, new, dry: false }).await
    }

    /// validateIntegrationCreation: refuses what [`Store::create_integration`] would refuse.
    pub async fn validate_integration_creation(&self, actor: Actor, new: Change) -> Result<()> {
        new.check()?;
        let new = new.seal(&self.vault, &self.ids)?;
        self.write(Create { actor, new, dry: true }).await.map(|_| ())
    }

    /// updateIntegration. With `may_break`, removals that bots may feel are let through.
    pub async fn update_integration(
        &self,
        actor: Actor,
        id: String,
        change: Change,
        may_break: bool,
    ) -> Result<Integration> {
        change.check()?;
        let change = change.seal(&self.vault, &self.ids)?;
        self.write_rights(Update { actor, id, change, may_break, dry: false }).await
    }

    /// validateIntegrationUpdate: refuses what [`Store::update_integration`] would refuse.
    pub async fn validate_integration_update(
        &self,
        actor: Actor,
        id: String,
        change: Change,
        may_break: bool,
    ) -> Result<()> {
        change.check()?;
        let change = change.seal(&self.vault, &self.ids)?;
        self.write(Update { actor, id, change, may_break, dry: true }).await.map(|_| ())
    }

    /// deleteIntegration. Answers whose code knew of an instance that is gone by that.
    pub async fn delete_integration(&self, actor: Actor, id: String) -> Result<Vec<InstanceCode>> {
        self.write_rights(Delete { actor, id }).await
    }
}
