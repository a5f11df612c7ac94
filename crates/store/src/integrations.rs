//! Integrations (`spec/cloud/admin.md` §§ 6, 8).
//!
//! One row is one version of an integration.
//!
//! * `definition` what an integration is made of; `change` a change to that, and `write` the transactions that
//!   create, change and delete versions; `names` what they may be called; `ranges` which version is meant; `list` the
//!   lists of a workspace and of the hub; `registration` how far the code of instances knows of them.

pub mod change;
pub mod definition;
mod list;
mod names;
pub(crate) mod ranges;
pub mod registration;
mod verification;
mod write;

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
pub use change::Change;
use definition::Body;
pub use definition::{
    Definition, Entity, Interface, LifecycleStatus, MAX_ASSET, Named, VerificationStatus, Visibility,
};
use duologue_model::{Error as Refusal, ErrorKind, Identity, Timestamp, View as CallerView, admin::Role};
pub use list::{Item, List, Listed, Order};
pub(crate) use names::{check_own_name, check_version};
pub(crate) use ranges::Wanted;
use semver::Version;
use serde::{Deserialize, Serialize, de::IgnoredAny};

use crate::{
    Error, Result, Store, params,
    sql::Row,
    tx::{Script, Tx},
    vault::Sealed,
    workspaces::{Actor, Inside},
};

/// Most versions of one integration.
pub const MAX_VERSIONS: usize = 50;

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
    /// getIntegration, of the workspace's own.
    pub async fn get_integration(&self, actor: Actor, id: String) -> Result<Integration> {
        self.read(&Get { actor, id }).await
    }

    /// getIntegrationByName, of the workspace's own: an exact version, `latest`, or a range.
    pub async fn get_integration_by_name(&self, actor: Actor, name: String, version: String) -> Result<Integration> {
        self.read(&GetByName { actor, name, version }).await
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
}
