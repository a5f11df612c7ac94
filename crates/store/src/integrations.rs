//! Integrations and their keys (`spec/cloud/admin.md` §§ 6, 8).
//!
//! One row is one version of an integration.
//!
//! * `definition` what an integration is made of, and changes to it; `ranges` which version is
//!   meant; `list` the lists of a workspace and of the hub; `registration` how far the code of
//!   instances knows of them.

pub mod definition;
mod list;
pub(crate) mod ranges;
pub mod registration;
mod verification;

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use definition::Body;
pub use definition::{
    Change, Definition, Entity, Interface, LifecycleStatus, MAX_ASSET, Named, VerificationStatus, Visibility,
};
use duologue_model::{
    Error as Refusal, ErrorKind, Identity, Json, Timestamp, View as CallerView,
    admin::{Key, Role},
    id::{IntegrationId, Kind},
};
pub use list::{Item, List, Listed, Order};
pub(crate) use ranges::Wanted;
use semver::Version;
use serde::{Deserialize, Serialize, de::IgnoredAny};

use crate::{
    Error, Result, Store,
    account::{self, Subject},
    bots::{instances, parts},
    catalog, params,
    sql::Row,
    tx::{Script, Tx},
    vault::Sealed,
    workspaces::{Actor, Inside},
};

/// Most versions of one integration.
pub const MAX_VERSIONS: usize = 50;
/// Characters in a title.
const MAX_TITLE: usize = 64;

/// What lists and installations show of an integration version.
#[derive(Clone, Debug)]
pub struct Head {
    /// Of the version.
    pub id: String,
    /// Whose it is.
    pub workspace_id: String,
    /// Shared by all versions.
    pub name: String,
    /// Semantic version.
    pub version: String,
    /// Whether it is a developer's.
    pub dev: bool,
    /// Which workspaces may use it.
    pub visibility: Visibility,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Out of its definition.
    pub summary: Summary,
    has_icon: bool,
    has_readme: bool,
}

/// The part of a definition that a [`Head`] shows.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Summary {
    /// For people.
    pub title: String,
    /// For people.
    pub description: String,
    /// What a review came to.
    pub verification_status: VerificationStatus,
    /// Whether new installations are welcome.
    pub lifecycle_status: LifecycleStatus,
    /// Texts by name.
    pub attributes: BTreeMap<String, String>,
}

impl Head {
    /// Where its icon is; empty if it has none.
    pub fn icon_url(&self, public_url: &str) -> String {
        self.asset_url(public_url, self.has_icon, Asset::Icon)
    }

    fn readme_url(&self, public_url: &str) -> String {
        self.asset_url(public_url, self.has_readme, Asset::Readme)
    }

    fn asset_url(&self, public_url: &str, present: bool, asset: Asset) -> String {
        if present {
            format!("{public_url}/v1/assets/integrations/{}/{}", self.id, asset.name())
        } else {
            String::new()
        }
    }

    /// Whether bots of this workspace may have it installed.
    pub(crate) fn is_usable_by(&self, workspace: &str) -> bool {
        self.workspace_id == workspace || (!self.dev && self.visibility != Visibility::Private)
    }
}

pub(crate) const HEAD_COLUMNS: &str =
    "g.id, g.workspace_id, g.name, g.version, g.dev, g.visibility, g.created_at, g.updated_at, g.body";

fn damaged(id: &str) -> impl Fn(serde_json::Error) -> Error + '_ {
    move |error| Error::Corrupt(format!("integration {id}: {error}"))
}

/// Reads [`HEAD_COLUMNS`], of the body only what is needed.
pub(crate) fn head(row: &mut Row) -> Result<Head> {
    #[derive(Deserialize)]
    struct Peek {
        definition: Summary,
        icon: Option<IgnoredAny>,
        readme: Option<IgnoredAny>,
    }
    let (head, body) = split(row)?;
    let peek: Peek = serde_json::from_str(&body).map_err(damaged(&head.id))?;
    Ok(Head { summary: peek.definition, has_icon: peek.icon.is_some(), has_readme: peek.readme.is_some(), ..head })
}

/// Reads [`HEAD_COLUMNS`]: the columns, and the body as text.
fn split(row: &mut Row) -> Result<(Head, String)> {
    let head = Head {
        id: row.text()?,
        workspace_id: row.text()?,
        name: row.text()?,
        version: row.text()?,
        dev: row.bool()?,
        visibility: row.word(Visibility::from_name)?,
        created_at: row.at()?,
        updated_at: row.at()?,
        summary: Summary::default(),
        has_icon: false,
        has_readme: false,
    };
    Ok((head, row.text()?))
}

/// A version with its definition.
pub(crate) struct Found {
    pub(crate) head: Head,
    pub(crate) definition: Definition,
}

impl Found {
    /// Whether bots of this workspace may have it installed.
    pub(crate) fn is_usable_by(&self, workspace: &str) -> bool {
        self.head.is_usable_by(workspace)
    }
}

/// The version with this id, whoever may use it.
pub(crate) async fn find_version(tx: &mut Tx<'_>, id: &str) -> Result<Option<Found>> {
    let found = find(tx, id, false).await?;
    Ok(found.map(|stored| Found { head: stored.head, definition: stored.body.definition }))
}

/// An integration version as it is stored.
#[derive(Clone, Debug)]
struct Stored {
    head: Head,
    body: Body,
    url: Option<String>,
    signing_secret: String,
    secrets: BTreeMap<String, Sealed>,
}

const COLUMNS: &str = "g.id, g.workspace_id, g.name, g.version, g.dev, g.visibility, g.created_at, g.updated_at, g.body, g.url, g.signing_secret, g.secrets";

/// Reads [`COLUMNS`].
fn stored(row: &mut Row) -> Result<Stored> {
    let (head, body) = split(row)?;
    let body: Body = serde_json::from_str(&body).map_err(damaged(&head.id))?;
    let (url, signing_secret, secrets) = (row.opt_text()?, row.text()?, row.text()?);
    let secrets = serde_json::from_str(&secrets).map_err(damaged(&head.id))?;
    Ok(Stored { head, body, url, signing_secret, secrets }.with_summary())
}

impl Stored {
    /// The same, with the head saying what the body says.
    fn with_summary(mut self) -> Self {
        let definition = &self.body.definition;
        self.head.summary = Summary {
            title: definition.title.clone(),
            description: definition.description.clone(),
            verification_status: definition.verification_status,
            lifecycle_status: definition.lifecycle_status,
            attributes: definition.attributes.clone(),
        };
        self.head.has_icon = self.body.icon.is_some();
        self.head.has_readme = self.body.readme.is_some();
        self
    }
}

async fn find(tx: &mut Tx<'_>, id: &str, lock: bool) -> Result<Option<Stored>> {
    let lock = if lock { " {for_update}" } else { "" };
    let sql = format!("SELECT {COLUMNS} FROM integrations g WHERE g.id = ?1{lock}");
    tx.query_opt(&sql, params![id]).await?.map(|mut row| stored(&mut row)).transpose()
}

/// The workspace's own integration version, as the path's entity.
async fn named(tx: &mut Tx<'_>, inside: &Inside, id: &str, lock: bool) -> Result<Stored> {
    let found = find(tx, id, lock).await?.filter(|found| found.head.workspace_id == inside.workspace);
    found.ok_or_else(|| Refusal::not_found("integration", id).into())
}

/// The version that `version` means among those of this name that `condition` admits.
async fn by_name(tx: &mut Tx<'_>, condition: &str, value: &str, name: &str, version: &str) -> Result<Stored> {
    let missing = || {
        Refusal::new(
            ErrorKind::ResourceNotFound,
            format!("No integration found with name \"{name}\" and version \"{version}\""),
        )
    };
    let wanted = Wanted::parse(version).ok_or_else(missing)?;
    let sql = format!(
        "SELECT g.version, g.id FROM integrations g WHERE g.name = ?1 AND g.dev = 0 AND {condition} ORDER BY g.created_at, g.id"
    );
    let rows = tx.query(&sql, params![name, value]).await?;
    let (mut versions, mut ids) = (Vec::new(), Vec::new());
    for mut row in rows {
        if let Ok(version) = Version::parse(&row.text()?) {
            versions.push(version);
            ids.push(row.text()?);
        }
    }
    let chosen = wanted.choose(&versions).ok_or_else(missing)?;
    find(tx, &ids[chosen], false).await?.ok_or_else(|| missing().into())
}

/// Whose an integration is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Owner {
    /// UUID.
    pub id: String,
    /// Of the workspace.
    pub handle: Option<String>,
    /// Of the workspace.
    pub name: String,
}

/// How much an integration is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Bots that have it installed.
    pub installs: i64,
    /// Always 0: nobody counts.
    pub views: i64,
}

async fn owner(tx: &mut Tx<'_>, workspace: &str) -> Result<Owner> {
    let row = tx.query_opt("SELECT id, handle, name FROM workspaces WHERE id = ?1", params![workspace]).await?;
    let mut row = row.ok_or_else(|| Error::Corrupt(format!("workspace {workspace} of an integration is gone")))?;
    Ok(Owner { id: row.text()?, handle: row.opt_text()?, name: row.text()? })
}

async fn usage(tx: &mut Tx<'_>, integration: &str) -> Result<Usage> {
    let row = tx.query_opt("SELECT COUNT(*) FROM instances WHERE integration_id = ?1", params![integration]).await?;
    Ok(Usage { installs: row.map_or(Ok(0), |mut row| row.int())?, views: 0 })
}

/// An integration version with its definition.
#[derive(Clone, Debug)]
pub struct Integration {
    stored: Stored,
    /// Shown in the answer that creates it, and only there.
    signing_secret: Option<String>,
    /// What the hub says beside.
    hub: Option<(Owner, Usage)>,
}

impl From<Stored> for Integration {
    fn from(stored: Stored) -> Self {
        Integration { stored, signing_secret: None, hub: None }
    }
}

/// An integration as the API shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View<'a> {
    id: &'a str,
    created_at: Timestamp,
    updated_at: Timestamp,
    url: &'a str,
    name: &'a str,
    version: &'a str,
    dev: bool,
    #[serde(flatten)]
    definition: &'a Definition,
    icon_url: String,
    readme_url: String,
    public: bool,
    visibility: Visibility,
    secrets: Vec<&'a str>,
    signing_secret: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner_workspace: Option<&'a Owner>,
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<Usage>,
}

impl Integration {
    /// Its head.
    pub fn head(&self) -> &Head {
        &self.stored.head
    }

    /// The integration as the API shows it. `public_url` is the server's origin, without a trailing
    /// slash.
    pub fn view(&self, public_url: &str) -> View<'_> {
        let Stored { head, body, url, secrets, .. } = &self.stored;
        View {
            id: &head.id,
            created_at: head.created_at,
            updated_at: head.updated_at,
            url: url.as_deref().unwrap_or_default(),
            name: &head.name,
            version: &head.version,
            dev: head.dev,
            definition: &body.definition,
            icon_url: head.icon_url(public_url),
            readme_url: head.readme_url(public_url),
            public: head.visibility == Visibility::Public,
            visibility: head.visibility,
            secrets: secrets.keys().map(String::as_str).collect(),
            signing_secret: self.signing_secret.as_deref().unwrap_or_default(),
            owner_workspace: self.hub.as_ref().map(|(owner, _)| owner),
            meta: self.hub.as_ref().map(|(_, usage)| *usage),
        }
    }
}

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
            made.body.definition.title = made.head.name.chars().take(MAX_TITLE).collect();
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

/// Refuses malformed names, and such as begin with another workspace's handle. Handles that no
/// workspace here has are let through: what was made elsewhere keeps its name.
pub(crate) async fn check_own_name(tx: &mut Tx<'_>, inside: &Inside, name: &str) -> Result<()> {
    let Some(handle) = check_name(name)? else { return Ok(()) };
    let sql = "SELECT id FROM workspaces WHERE handle = ?1 AND id <> ?2";
    if tx.query_opt(sql, params![handle, &inside.workspace]).await?.is_some() {
        let text = format!("names that begin with \"{handle}/\" belong to the workspace with that handle");
        return Err(Refusal::invalid_payload(text).into());
    }
    Ok(())
}

/// Refuses what isn't a semantic version.
pub(crate) fn check_version(version: &str) -> Result<Version, Refusal> {
    parts::at_most("version", version, 200)?;
    Version::parse(version)
        .map_err(|e| Refusal::invalid_payload(format!("version must be a semantic version such as 1.0.0: {e}")))
}

/// One that a workspace may depend on: by id, else the best of a name, its own first.
pub(crate) async fn usable(
    tx: &mut Tx<'_>,
    workspace: &str,
    id: Option<&str>,
    name: &str,
    version: &str,
) -> Result<Option<Head>> {
    let found = match id {
        Some(id) => find(tx, id, false).await?,
        None => {
            let mut found = None;
            for (condition, value) in [("g.workspace_id = ?2", workspace), ("g.visibility <> ?2", "private")] {
                match by_name(tx, condition, value, name, version).await {
                    Ok(best) => {
                        found = Some(best);
                        break;
                    }
                    Err(error) if error.refused().is_some() => {}
                    Err(error) => return Err(error),
                }
            }
            found
        }
    };
    Ok(found.map(|found| found.head).filter(|head| head.is_usable_by(workspace)))
}

/// Refuses malformed names; answers the handle in front of the slash.
fn check_name(name: &str) -> Result<Option<&str>, Refusal> {
    let good = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
    };
    let parts: Vec<&str> = name.split('/').collect();
    match parts[..] {
        [bare] if good(bare) && name.len() <= 100 => Ok(None),
        [handle, bare] if good(handle) && good(bare) && name.len() <= 100 => Ok(Some(handle)),
        _ => Err(Refusal::invalid_payload(
            "name has up to 100 lower-case letters, digits, \"-\" and \"_\", and may begin with the workspace's handle and \"/\"",
        )),
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

struct Get {
    actor: Actor,
    id: String,
}

impl Script for Get {
    type Out = Integration;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Integration> {
        let inside = self.actor.enter(tx, Role::Viewer).await?;
        Ok(named(tx, &inside, &self.id, false).await?.into())
    }
}

struct GetByName {
    actor: Actor,
    name: String,
    version: String,
}

impl Script for GetByName {
    type Out = Integration;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Integration> {
        let inside = self.actor.enter(tx, Role::Viewer).await?;
        Ok(by_name(tx, "g.workspace_id = ?2", &inside.workspace, &self.name, &self.version).await?.into())
    }
}

/// An integration of the hub, by id or by name and version.
enum GetPublic {
    ById(String),
    ByName(String, String),
}

impl Script for GetPublic {
    type Out = Integration;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Integration> {
        let stored = match self {
            GetPublic::ById(id) => {
                let found = find(tx, id, false).await?;
                let found = found.filter(|found| !found.head.dev && found.head.visibility != Visibility::Private);
                found.ok_or_else(|| Refusal::not_found("public integration", id))?
            }
            GetPublic::ByName(name, version) => {
                by_name(tx, "g.visibility <> ?2", Visibility::Private.name(), name, version).await?
            }
        };
        let hub = (owner(tx, &stored.head.workspace_id).await?, usage(tx, &stored.head.id).await?);
        Ok(Integration { hub: Some(hub), ..stored.into() })
    }
}

/// deleteIntegration: one version, with its keys. Dev ones are removed from bots, others refused
/// while installed.
struct Delete {
    actor: Actor,
    id: String,
}

impl Script for Delete {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let inside = self.actor.enter(tx, Role::Developer).await?;
        let stored = named(tx, &inside, &self.id, true).await?;
        if stored.head.dev {
            tx.execute("DELETE FROM instances WHERE integration_id = ?1", params![&self.id]).await?;
        } else {
            instances::refuse_if_installed(tx, &self.id).await?;
        }
        for sql in [
            "DELETE FROM tokens WHERE integration_id = ?1",
            "DELETE FROM logs WHERE owner = ?1",
            "DELETE FROM interface_uses WHERE user_id = ?1",
            "DELETE FROM integrations WHERE id = ?1",
        ] {
            tx.execute(sql, params![&self.id]).await?;
        }
        Ok(())
    }
}

struct ListKeys {
    actor: Actor,
    integration: String,
}

impl Script for ListKeys {
    type Out = Vec<Key>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Key>> {
        let inside = self.actor.enter(tx, Role::Viewer).await?;
        named(tx, &inside, &self.integration, false).await?;
        account::list_tokens(
            tx,
            "integration_id = ?1 AND id NOT IN (SELECT token_id FROM hosted_tokens)",
            &self.integration,
        )
        .await
    }
}

struct CreateKey {
    actor: Actor,
    integration: String,
    note: String,
}

impl Script for CreateKey {
    type Out = Key;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Key> {
        let inside = self.actor.enter(tx, Role::Developer).await?;
        named(tx, &inside, &self.integration, true).await?;
        account::insert_token(tx, Subject::Integration(&self.integration, &self.actor.account), &self.note, None).await
    }
}

struct DeleteKey {
    actor: Actor,
    id: String,
}

impl Script for DeleteKey {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let inside = self.actor.enter(tx, Role::Developer).await?;
        let sql = "SELECT t.account_id FROM tokens t CROSS JOIN integrations g WHERE g.id = t.integration_id AND t.id = ?1 AND g.workspace_id = ?2";
        account::delete_key(tx, &inside, &self.actor.account, sql, &self.id, "integration key").await
    }
}

/// A file that comes with an integration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asset {
    /// SVG.
    Icon,
    /// Markdown.
    Readme,
}

impl Asset {
    /// The last segment of its address.
    pub fn name(self) -> &'static str {
        match self {
            Asset::Icon => "icon",
            Asset::Readme => "readme",
        }
    }
}

struct GetAsset {
    id: String,
    asset: Asset,
}

impl Script for GetAsset {
    type Out = Vec<u8>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<u8>> {
        let missing = || Refusal::not_found(self.asset.name(), &self.id);
        let body = find(tx, &self.id, false).await?.ok_or_else(missing)?.body;
        let encoded = match self.asset {
            Asset::Icon => body.icon,
            Asset::Readme => body.readme,
        };
        STANDARD.decode(encoded.ok_or_else(missing)?.trim()).map_err(|_| missing().into())
    }
}

/// Refuses an integration that would make something for another. One that names itself is simply at
/// work; bots have integrations make things outside of transactions, through their code.
pub(crate) fn refuse_to_delegate(who: &Identity, alias: &str) -> Result<(), Refusal> {
    if let CallerView::Integration { alias: own, name, .. } = &who.view
        && (**own == *alias || **name == *alias)
    {
        return Ok(());
    }
    Err(Refusal::invalid_payload(format!("the integration \"{alias}\" can't be asked by anybody but a bot")))
}

/// Refuses a channel that the integration version `integration_id`, called `name`, doesn't declare.
pub(crate) async fn check_channel(tx: &mut Tx<'_>, integration_id: &str, name: &str, channel: &str) -> Result<()> {
    #[derive(Deserialize)]
    struct Peek {
        definition: Channels,
    }
    #[derive(Deserialize)]
    struct Channels {
        channels: BTreeMap<String, IgnoredAny>,
    }
    let row = tx.query_opt("SELECT body FROM integrations WHERE id = ?1", params![integration_id]).await?;
    let mut row = row.ok_or_else(|| Refusal::reference_not_found("integration", integration_id))?;
    let peek: Peek = serde_json::from_str(&row.text()?).map_err(damaged(integration_id))?;
    let channels = peek.definition.channels;
    if channels.contains_key(channel) {
        return Ok(());
    }
    let known: Vec<&str> = channels.keys().map(String::as_str).collect();
    let known = if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
    Err(Refusal::invalid_payload(format!("the integration \"{name}\" has no channel \"{channel}\": {known}")).into())
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

    /// getIntegration, of the workspace's own.
    pub async fn get_integration(&self, actor: Actor, id: String) -> Result<Integration> {
        self.read(&Get { actor, id }).await
    }

    /// getIntegrationByName, of the workspace's own: an exact version, `latest`, or a range.
    pub async fn get_integration_by_name(&self, actor: Actor, name: String, version: String) -> Result<Integration> {
        self.read(&GetByName { actor, name, version }).await
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

    /// deleteIntegration.
    pub async fn delete_integration(&self, actor: Actor, id: String) -> Result<()> {
        self.write_rights(Delete { actor, id }).await
    }

    /// getPublicIntegrationById: public or unlisted, of any workspace.
    pub async fn get_public_integration(&self, id: String) -> Result<Integration> {
        self.read(&GetPublic::ById(id)).await
    }

    /// getPublicIntegration: public or unlisted, of any workspace.
    pub async fn get_public_integration_by_name(&self, name: String, version: String) -> Result<Integration> {
        self.read(&GetPublic::ByName(name, version)).await
    }

    /// The icon or readme of an integration.
    pub async fn integration_asset(&self, id: String, asset: Asset) -> Result<Vec<u8>> {
        self.read(&GetAsset { id, asset }).await
    }

    /// listIntegrationApiKeys, newest first.
    pub async fn list_integration_keys(&self, actor: Actor, integration: String) -> Result<Vec<Key>> {
        self.read(&ListKeys { actor, integration }).await
    }

    /// createIntegrationApiKey.
    pub async fn create_integration_key(&self, actor: Actor, integration: String, note: String) -> Result<Key> {
        self.write_rights(CreateKey { actor, integration, note }).await
    }

    /// deleteIntegrationApiKey.
    pub async fn delete_integration_key(&self, actor: Actor, id: String) -> Result<()> {
        self.write_rights(DeleteKey { actor, id }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_carry_a_handle() {
        assert_eq!(check_name("slack").unwrap(), None);
        assert_eq!(check_name("acme/my_crm-2").unwrap(), Some("acme"));
        for bad in ["", "Slack", "a/b/c", "/a", "a/", "a b", "a.b"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
