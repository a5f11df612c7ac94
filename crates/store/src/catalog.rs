//! Interfaces and plugins: what integrations and bots are built from (`spec/cloud/admin.md` §§ 7, 8).
//!
//! One row is one version. Both kinds have names, versions, visibility, icons and readmes, lists and
//! a place in the hub; all of that is written once, over [`Product`]: here what there is, in `list` the lists, in
//! `write` creating, changing and deleting. What differs is in `interfaces` and `plugins`.

pub mod interfaces;
mod list;
pub mod plugins;
mod write;

use std::{fmt::Debug, marker::PhantomData};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use duologue_model::{Error as Refusal, ErrorKind, Timestamp, admin::Role, id::Generator};
pub use list::List;
use semver::Version;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    Error, Result, Store,
    bots::parts,
    integrations::{self, Asset, LifecycleStatus, Visibility, Wanted},
    params,
    sql::Row,
    tx::{Script, Tx},
    workspaces::{Actor, Inside},
};

/// A kind of thing in the catalog: what it is made of.
pub trait Product: Serialize + DeserializeOwned + Clone + Debug + Default + Send + Sync + 'static {
    /// Its table.
    const TABLE: &'static str;
    /// What it is called in errors.
    const NOUN: &'static str;
    /// In addresses of its files.
    const PLURAL: &'static str;

    /// Counts what relies on the version `?1`.
    const USES: &'static str;
    /// Removes what is kept beside the version `?1`.
    const PARTS: &'static [&'static str];
    /// Whether the API shows visibility and lifecycle.
    const IS_OFFERED: bool;
    /// A change to it, or what a new one is made of.
    type Change: Revision<Self>;

    /// A new id.
    fn new_id(ids: &Generator, now: Timestamp) -> String;
    /// For people.
    fn title(&self) -> &str;
    /// The same, to be set.
    fn title_mut(&mut self) -> &mut String;
    /// For people.
    fn description(&self) -> &str;
    /// All declared names that others may rely on.
    fn names(&self) -> Vec<String>;
    /// Why a version that `uses` others rely on isn't deleted.
    fn in_use(uses: i64) -> String;
}

/// A change to a [`Product`], or what a new one is made of.
pub trait Revision<D: Product>: DeserializeOwned + Send + Sync + 'static {
    /// Name, version, visibility and files.
    fn label(&self) -> &Label;

    /// Refuses what could never be stored. Looks at nothing but the change.
    fn check(&self, is_new: bool) -> Result<(), Refusal>;

    /// Applies it; what it refers to is looked for from this workspace.
    fn apply(&self, tx: &mut Tx<'_>, workspace: &str, to: &mut D) -> impl Future<Output = Result<()>> + Send;

    /// Writes what is kept beside the version.
    fn written(&self, tx: &mut Tx<'_>, version: &Stored<D>) -> impl Future<Output = Result<()>> + Send;
}

/// What every product has.
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
    /// Which workspaces may use it.
    pub visibility: Visibility,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Head {
    /// Whether it may be used from this workspace.
    pub(crate) fn is_usable_by(&self, workspace: &str) -> bool {
        self.workspace_id == workspace || self.visibility != Visibility::Private
    }
}

/// A definition and what is kept with it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Body<D> {
    definition: D,
    #[serde(skip_serializing_if = "Option::is_none")]
    sdk_version: Option<String>,
    /// SVG in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    icon: Option<String>,
    /// Markdown in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    readme: Option<String>,
}

/// One version of a product.
#[derive(Clone, Debug)]
pub struct Stored<D> {
    pub(crate) head: Head,
    body: Body<D>,
}

impl<D: Product> Stored<D> {
    /// What every product has.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// What it is made of.
    pub fn definition(&self) -> &D {
        &self.body.definition
    }

    fn asset_url(&self, public_url: &str, asset: Asset) -> String {
        let present = match asset {
            Asset::Icon => self.body.icon.is_some(),
            Asset::Readme => self.body.readme.is_some(),
        };
        if present {
            format!("{public_url}/v1/assets/{}/{}/{}", D::PLURAL, self.head.id, asset.name())
        } else {
            String::new()
        }
    }

    /// Where its icon and its readme are; empty if it has none.
    pub(crate) fn asset_urls(&self, public_url: &str) -> (String, String) {
        (self.asset_url(public_url, Asset::Icon), self.asset_url(public_url, Asset::Readme))
    }

    fn offered(&self) -> Option<Offered> {
        let visibility = self.head.visibility;
        D::IS_OFFERED.then_some(Offered { visibility, lifecycle_status: LifecycleStatus::default() })
    }

    /// It as the API shows it. `public_url` is the server's origin, without a trailing slash.
    pub fn view(&self, public_url: &str) -> View<'_, D> {
        View { shown: self.shown(public_url), offered: self.offered(), definition: self.definition() }
    }

    /// Its line in a list.
    pub fn line(&self, public_url: &str) -> Listed<'_> {
        let definition = self.definition();
        Listed {
            shown: self.shown(public_url),
            title: definition.title(),
            description: definition.description(),
            offered: self.offered(),
        }
    }

    fn shown(&self, public_url: &str) -> Shown<'_> {
        let head = &self.head;
        Shown {
            id: &head.id,
            created_at: head.created_at,
            updated_at: head.updated_at,
            name: &head.name,
            version: &head.version,
            icon_url: self.asset_url(public_url, Asset::Icon),
            readme_url: self.asset_url(public_url, Asset::Readme),
            public: head.visibility == Visibility::Public,
        }
    }
}

/// What the API shows of every product.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    id: &'a str,
    created_at: Timestamp,
    updated_at: Timestamp,
    name: &'a str,
    version: &'a str,
    icon_url: String,
    readme_url: String,
    public: bool,
}

/// What only plugins show beside.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Offered {
    visibility: Visibility,
    lifecycle_status: LifecycleStatus,
}

/// A product as the API shows it.
#[derive(Debug, Serialize)]
pub struct View<'a, D> {
    #[serde(flatten)]
    shown: Shown<'a>,
    #[serde(flatten)]
    offered: Option<Offered>,
    #[serde(flatten)]
    definition: &'a D,
}

/// A product in a list.
#[derive(Debug, Serialize)]
pub struct Listed<'a> {
    #[serde(flatten)]
    shown: Shown<'a>,
    title: &'a str,
    description: &'a str,
    #[serde(flatten)]
    offered: Option<Offered>,
}

/// What a new version is given beside its definition, and a change to it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Label {
    /// Of a new one: lower-case letters, digits, `-`, `_`, after an optional `handle/`. Never changes.
    pub name: Option<String>,
    /// Of a new one: semantic version. Never changes.
    pub version: Option<String>,
    /// The same as `visibility` public or private.
    pub public: Option<bool>,
    /// Which workspaces may use it; interfaces have `public` only.
    pub visibility: Option<Visibility>,
    /// At most 200 characters.
    pub sdk_version: Option<String>,
    /// SVG in base64.
    pub icon: Option<String>,
    /// Markdown in base64.
    pub readme: Option<String>,
}

impl Label {
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        parts::at_most("sdkVersion", self.sdk_version.as_deref().unwrap_or_default(), 200)?;
        for (what, asset) in [("icon", &self.icon), ("readme", &self.readme)] {
            let length = asset.as_ref().map_or(0, String::len);
            parts::limit(&format!("bytes of the {what}"), length, integrations::MAX_ASSET)?;
        }
        Ok(())
    }

    fn wanted_visibility(&self) -> Option<Visibility> {
        let by_flag = self.public.map(|public| if public { Visibility::Public } else { Visibility::Private });
        self.visibility.or(by_flag)
    }

    fn apply<D>(&self, body: &mut Body<D>) {
        for (given, kept) in
            [(&self.sdk_version, &mut body.sdk_version), (&self.icon, &mut body.icon), (&self.readme, &mut body.readme)]
        {
            if given.is_some() {
                kept.clone_from(given);
            }
        }
    }
}

const COLUMNS: &str = "g.id, g.workspace_id, g.name, g.version, g.visibility, g.created_at, g.updated_at, g.body";

/// Reads [`COLUMNS`].
fn stored<D: Product>(row: &mut Row) -> Result<Stored<D>> {
    let head = Head {
        id: row.text()?,
        workspace_id: row.text()?,
        name: row.text()?,
        version: row.text()?,
        visibility: row.word(Visibility::from_name)?,
        created_at: row.at()?,
        updated_at: row.at()?,
    };
    let body = serde_json::from_str(&row.text()?)
        .map_err(|error| Error::Corrupt(format!("{} {}: {error}", D::NOUN, head.id)))?;
    Ok(Stored { head, body })
}

/// The version with this id, whoever may use it.
pub(crate) async fn find<D: Product>(tx: &mut Tx<'_>, id: &str, lock: bool) -> Result<Option<Stored<D>>> {
    let lock = if lock { " {for_update}" } else { "" };
    let sql = format!("SELECT {COLUMNS} FROM {} g WHERE g.id = ?1{lock}", D::TABLE);
    tx.query_opt(&sql, params![id]).await?.map(|mut row| stored(&mut row)).transpose()
}

/// The workspace's own, as the path's entity.
async fn named<D: Product>(tx: &mut Tx<'_>, inside: &Inside, id: &str, lock: bool) -> Result<Stored<D>> {
    let found = find(tx, id, lock).await?.filter(|found: &Stored<D>| found.head.workspace_id == inside.workspace);
    found.ok_or_else(|| Refusal::not_found(D::NOUN, id).into())
}

/// Of the versions of a name that `condition` admits the one that `version` means.
async fn by_name<D: Product>(
    tx: &mut Tx<'_>,
    condition: &str,
    value: &str,
    name: &str,
    version: &str,
) -> Result<Option<Stored<D>>> {
    let Some(wanted) = Wanted::parse(version) else { return Ok(None) };
    let sql = format!(
        "SELECT g.version, g.id FROM {} g WHERE g.name = ?1 AND {condition} ORDER BY g.created_at, g.id",
        D::TABLE
    );
    let (mut versions, mut ids) = (Vec::new(), Vec::new());
    for mut row in tx.query(&sql, params![name, value]).await? {
        if let Ok(version) = Version::parse(&row.text()?) {
            versions.push(version);
            ids.push(row.text()?);
        }
    }
    match wanted.choose(&versions) {
        Some(chosen) => find(tx, &ids[chosen], false).await,
        None => Ok(None),
    }
}

/// One that a workspace may depend on: by id, else the best of a name, its own first.
pub(crate) async fn usable<D: Product>(
    tx: &mut Tx<'_>,
    workspace: &str,
    id: Option<&str>,
    name: &str,
    version: &str,
) -> Result<Option<Stored<D>>> {
    if let Some(id) = id {
        return Ok(find(tx, id, false).await?.filter(|found: &Stored<D>| found.head.is_usable_by(workspace)));
    }
    if let Some(own) = by_name(tx, "g.workspace_id = ?2", workspace, name, version).await? {
        return Ok(Some(own));
    }
    by_name(tx, "g.visibility <> ?2", Visibility::Private.name(), name, version).await
}

/// Notes which interfaces a version implements or needs.
pub(crate) async fn note_interfaces(
    tx: &mut Tx<'_>,
    user: &str,
    interfaces: impl Iterator<Item = String>,
) -> Result<()> {
    tx.execute("DELETE FROM interface_uses WHERE user_id = ?1", params![user]).await?;
    let mut interfaces: Vec<String> = interfaces.collect();
    interfaces.sort_unstable();
    interfaces.dedup();
    for interface in interfaces {
        let sql = "INSERT INTO interface_uses (user_id, interface_id) VALUES (?1, ?2)";
        tx.execute(sql, params![user, &interface]).await?;
    }
    Ok(())
}

/// Which one is asked for.
#[derive(Clone, Debug)]
pub enum Which {
    /// By id.
    Id(String),
    /// By name and version, `latest` or a range.
    Name(String, String),
}

/// Reads one: of a workspace, or of the hub if nobody's workspace is named.
struct Get<D> {
    actor: Option<Actor>,
    which: Which,
    of: PhantomData<fn() -> D>,
}

impl<D: Product> Script for Get<D> {
    type Out = Stored<D>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Stored<D>> {
        let inside = match &self.actor {
            Some(actor) => Some(actor.enter(tx, Role::Viewer).await?),
            None => None,
        };
        match (&self.which, inside) {
            (Which::Id(id), Some(inside)) => named(tx, &inside, id, false).await,
            (Which::Id(id), None) => {
                let found = find(tx, id, false).await?;
                let found = found.filter(|found: &Stored<D>| found.head.visibility != Visibility::Private);
                found.ok_or_else(|| Refusal::not_found(&format!("public {}", D::NOUN), id).into())
            }
            (Which::Name(name, version), inside) => {
                let found = match &inside {
                    Some(inside) => by_name(tx, "g.workspace_id = ?2", &inside.workspace, name, version).await?,
                    None => by_name(tx, "g.visibility <> ?2", Visibility::Private.name(), name, version).await?,
                };
                let text = format!("No {} found with name \"{name}\" and version \"{version}\"", D::NOUN);
                found.ok_or_else(|| Refusal::new(ErrorKind::ResourceNotFound, text).into())
            }
        }
    }
}

struct GetAsset<D> {
    id: String,
    asset: Asset,
    of: PhantomData<fn() -> D>,
}

impl<D: Product> Script for GetAsset<D> {
    type Out = Vec<u8>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<u8>> {
        let missing = || Refusal::not_found(self.asset.name(), &self.id);
        let found: Stored<D> = find(tx, &self.id, false).await?.ok_or_else(missing)?;
        let encoded = match self.asset {
            Asset::Icon => found.body.icon,
            Asset::Readme => found.body.readme,
        };
        STANDARD.decode(encoded.ok_or_else(missing)?.trim()).map_err(|_| missing().into())
    }
}

impl Store {
    /// One interface or plugin: the workspace's own, or without an actor one of the hub.
    pub async fn get_product<D: Product>(&self, actor: Option<Actor>, which: Which) -> Result<Stored<D>> {
        self.read(&Get { actor, which, of: PhantomData }).await
    }

    /// The icon or readme of an interface or a plugin.
    pub async fn product_asset<D: Product>(&self, id: String, asset: Asset) -> Result<Vec<u8>> {
        self.read(&GetAsset::<D> { id, asset, of: PhantomData }).await
    }
}
