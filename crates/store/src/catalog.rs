//! Interfaces and plugins: what integrations and bots are built from (`spec/cloud/admin.md` §§ 7, 8).
//!
//! One row is one version. Both kinds have names, versions, visibility, icons and readmes, lists and
//! a place in the hub; all of that is written here once, over [`Product`]. What differs is in
//! `interfaces` and `plugins`.

pub mod interfaces;
pub mod plugins;

use std::{collections::HashMap, fmt::Debug, marker::PhantomData};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use duologue_model::{Error as Refusal, ErrorKind, Json, Timestamp, admin::Role, id::Generator};
use semver::Version;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    Error, Result, Store,
    bots::parts,
    integrations::{self, Asset, LifecycleStatus, MAX_VERSIONS, Visibility, Wanted},
    page::{Cursor, Page, PageRequest, Query},
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

    /// A new id.
    fn new_id(ids: &Generator, now: Timestamp) -> String;
    /// For people.
    fn title(&self) -> &str;
    /// For people.
    fn description(&self) -> &str;
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

    /// What is shown of it beside its definition. `public_url` is the server's origin, without a
    /// trailing slash.
    pub(crate) fn shown(&self, public_url: &str) -> Shown<'_> {
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
pub(crate) struct Shown<'a> {
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
pub(crate) struct Offered {
    pub(crate) visibility: Visibility,
    pub(crate) lifecycle_status: LifecycleStatus,
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

/// A new version, not yet written: its name is free and its own.
async fn drafted<D: Product>(tx: &mut Tx<'_>, inside: &Inside, label: &Label) -> Result<Stored<D>> {
    let name = label.name.clone().ok_or_else(|| Refusal::invalid_payload("name is missing"))?;
    let version = label.version.as_deref().ok_or_else(|| Refusal::invalid_payload("version is missing"))?;
    integrations::check_own_name(tx, inside, &name).await?;
    let version = integrations::check_version(version)?;
    tx.lock(&format!("{} {} {name}", D::NOUN, inside.workspace)).await?;
    let sql = format!("SELECT g.version FROM {} g WHERE g.workspace_id = ?1 AND g.name = ?2", D::TABLE);
    let mut versions = 1;
    for mut row in tx.query(&sql, params![&inside.workspace, &name]).await? {
        versions += 1;
        if row.text()? == version.to_string() {
            let text = format!("the {} \"{name}\" already has a version {version}", D::NOUN);
            return Err(Refusal::new(ErrorKind::AlreadyExists, text).into());
        }
    }
    parts::limit(&format!("versions of one {}", D::NOUN), versions, MAX_VERSIONS)?;
    let now = tx.now();
    let head = Head {
        id: D::new_id(tx.ids(), now),
        workspace_id: inside.workspace.clone(),
        name,
        version: version.to_string(),
        visibility: label.wanted_visibility().unwrap_or_default(),
        created_at: now,
        updated_at: now,
    };
    let mut body = Body::default();
    label.apply(&mut body);
    Ok(Stored { head, body })
}

async fn insert<D: Product>(tx: &mut Tx<'_>, new: &Stored<D>) -> Result<()> {
    let head = &new.head;
    let sql = format!(
        "INSERT INTO {} (id, workspace_id, name, version, visibility, body, created_at, updated_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        D::TABLE
    );
    tx.execute(
        &sql,
        params![
            &head.id,
            &head.workspace_id,
            &head.name,
            &head.version,
            head.visibility.name(),
            &Json::of(&new.body),
            head.created_at,
            head.updated_at
        ],
    )
    .await?;
    Ok(())
}

/// Writes a changed version with what its label says.
async fn update<D: Product>(tx: &mut Tx<'_>, changed: &mut Stored<D>, label: &Label) -> Result<()> {
    label.apply(&mut changed.body);
    if let Some(visibility) = label.wanted_visibility() {
        changed.head.visibility = visibility;
    }
    let head = &mut changed.head;
    head.updated_at = tx.now().max(head.updated_at.plus_millis(1));
    let sql = format!("UPDATE {} SET visibility = ?2, body = ?3, updated_at = ?4 WHERE id = ?1", D::TABLE);
    tx.execute(&sql, params![&head.id, head.visibility.name(), &Json::of(&changed.body), head.updated_at]).await?;
    Ok(())
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

/// A list: of a workspace, or of the hub if nobody's workspace is named. Newest first.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// Who asks; the hub needs nobody.
    pub actor: Option<Actor>,
    /// Exactly this name.
    pub name: Option<String>,
    /// Of each name this version, `latest` or the best of a range.
    pub version: Option<String>,
    /// Which page.
    pub page: PageRequest,
}

struct Listing<D>(List, PhantomData<fn() -> D>);

impl<D: Product> Script for Listing<D> {
    type Out = Page<Stored<D>>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Page<Stored<D>>> {
        let list = &self.0;
        let mut found = self.candidates(tx).await?;
        if let Some(version) = &list.version {
            found = of_version(found, version);
        }
        found.sort_by(|a, b| b.position().cmp(&a.position()));
        if let Some(after) = &list.page.after {
            found.retain(|candidate| candidate.position() < (after.pos, after.id.as_str()));
        }
        let more = found.len() > list.page.size.get();
        found.truncate(list.page.size.get());
        let last = found.last().filter(|_| more);
        let next = last.map(|last| Cursor { pos: last.created_at, id: last.id.clone(), snapshot: None });
        Ok(Page { items: read_all(tx, found.into_iter().map(|candidate| candidate.id).collect()).await?, next })
    }
}

/// What filters and the order look at.
struct Candidate {
    id: String,
    workspace: String,
    name: String,
    version: String,
    created_at: i64,
}

impl Candidate {
    fn position(&self) -> (i64, &str) {
        (self.created_at, &self.id)
    }
}

impl<D: Product> Listing<D> {
    async fn candidates(&self, tx: &mut Tx<'_>) -> Result<Vec<Candidate>> {
        let sql =
            format!("SELECT g.id, g.workspace_id, g.name, g.version, g.created_at FROM {} g WHERE 1 = 1", D::TABLE);
        let mut query = Query::new(&sql);
        match &self.0.actor {
            Some(actor) => {
                let inside = actor.enter(tx, Role::Viewer).await?;
                query.and("g.workspace_id =", &inside.workspace);
            }
            None => query.and("g.visibility =", Visibility::Public.name()),
        }
        if let Some(name) = &self.0.name {
            query.and("g.name =", name);
        }
        let rows = query.run(tx).await?;
        rows.into_iter()
            .map(|mut row| {
                let (id, workspace, name, version) = (row.text()?, row.text()?, row.text()?, row.text()?);
                Ok(Candidate { id, workspace, name, version, created_at: row.int()? })
            })
            .collect()
    }
}

/// Of each name the version that is asked for.
fn of_version(found: Vec<Candidate>, version: &str) -> Vec<Candidate> {
    let Some(wanted) = Wanted::parse(version) else { return Vec::new() };
    let mut groups: HashMap<(String, String), Vec<(Version, Candidate)>> = HashMap::new();
    for candidate in found {
        if let Ok(version) = Version::parse(&candidate.version) {
            let key = (candidate.workspace.clone(), candidate.name.clone());
            groups.entry(key).or_default().push((version, candidate));
        }
    }
    let choose = |group: Vec<(Version, Candidate)>| {
        let (versions, mut candidates): (Vec<Version>, Vec<Candidate>) = group.into_iter().unzip();
        wanted.choose(&versions).map(|chosen| candidates.swap_remove(chosen))
    };
    groups.into_values().filter_map(choose).collect()
}

/// Those with these ids, in this order.
async fn read_all<D: Product>(tx: &mut Tx<'_>, ids: Vec<String>) -> Result<Vec<Stored<D>>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = Query::new(&format!("SELECT {COLUMNS} FROM {} g WHERE 1 = 1", D::TABLE));
    query.and_in("g.id", ids.iter().cloned());
    let mut read: HashMap<String, Stored<D>> = HashMap::new();
    for mut row in query.run(tx).await? {
        let one: Stored<D> = stored(&mut row)?;
        read.insert(one.head.id.clone(), one);
    }
    Ok(ids.iter().filter_map(|id| read.remove(id)).collect())
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

impl<D: Product> Stored<D> {
    /// Its line in a list.
    pub(crate) fn listed(&self, public_url: &str, offered: Option<Offered>) -> Listed<'_> {
        Listed {
            shown: self.shown(public_url),
            title: self.body.definition.title(),
            description: self.body.definition.description(),
            offered,
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

    /// Interfaces or plugins of a workspace, or without an actor of the hub.
    pub async fn list_products<D: Product>(&self, list: List) -> Result<Page<Stored<D>>> {
        self.read(&Listing(list, PhantomData)).await
    }

    /// The icon or readme of an interface or a plugin.
    pub async fn product_asset<D: Product>(&self, id: String, asset: Asset) -> Result<Vec<u8>> {
        self.read(&GetAsset::<D> { id, asset, of: PhantomData }).await
    }
}

/// Refuses to become `after` if that takes away what others may rely on.
fn refuse_to_break(before: &[String], after: &[String], noun: &str) -> Result<(), Refusal> {
    let gone: Vec<&str> = before.iter().filter(|name| !after.contains(name)).map(String::as_str).collect();
    if gone.is_empty() {
        return Ok(());
    }
    let text = format!(
        "others use this {noun} and may rely on what this would remove: {}. Release a new version instead",
        gone.join(", ")
    );
    Err(Refusal::new(ErrorKind::BreakingChanges, text).with_metadata(serde_json::json!({ "removed": gone })))
}
