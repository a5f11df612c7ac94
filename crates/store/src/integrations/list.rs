//! Lists of integrations: a workspace's own, and the hub (`spec/cloud/admin.md` §§ 6, 8).
//!
//! Filters and orders are many, integrations few: a list reads the short columns of all that its
//! scope holds, filters and orders them here, and reads the definitions of its page only.

use std::collections::{BTreeMap, HashMap};

use duologue_model::{Timestamp, admin::Role};
use semver::Version;
use serde::{Deserialize, Serialize, de::IgnoredAny};

use super::{
    HEAD_COLUMNS, Head, LifecycleStatus, Owner, Usage, VerificationStatus, Visibility, damaged, head, ranges::Wanted,
};
use crate::{
    Error, Result, Store,
    bots::allowlist,
    page::{Cursor, Page, PageRequest, Query},
    params,
    sql::Row,
    tx::{Script, Tx},
    workspaces::Actor,
};

/// What orders a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By creation.
    #[default]
    CreatedAt,
    /// By last change.
    UpdatedAt,
    /// By name.
    Name,
    /// By how many bots have it installed.
    Installs,
}

impl Order {
    /// From the word.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "createdAt" => Order::CreatedAt,
            "updatedAt" => Order::UpdatedAt,
            "name" => Order::Name,
            "popularity" | "installCount" => Order::Installs,
            _ => return None,
        })
    }
}

/// listIntegrations, or without an actor listPublicIntegrations.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// Whose workspace's; the hub's if absent.
    pub actor: Option<Actor>,
    /// Of this name.
    pub name: Option<String>,
    /// Of this version, the latest, or the highest in a range.
    pub version: Option<String>,
    /// That implement this interface, by id or name. None does yet.
    pub interface: Option<String>,
    /// Installed in this bot.
    pub installed_by: Option<String>,
    /// With this verification status.
    pub verification_status: Option<VerificationStatus>,
    /// With this visibility.
    pub visibility: Option<Visibility>,
    /// Only developers' (true) or only the others (false).
    pub dev: Option<bool>,
    /// Whose name, title, description or actions contain this, whatever the case.
    pub search: Option<String>,
    /// The order.
    pub order: Order,
    /// Ascending; if nothing is said, names are and the rest isn't.
    pub ascending: Option<bool>,
    /// Which page.
    pub page: PageRequest,
}

/// Where a search was successful.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MatchedOn {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    name: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    title: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    description: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    interfaces: Vec<String>,
}

/// An integration version in a list.
#[derive(Clone, Debug)]
pub struct Item {
    head: Head,
    owner: Owner,
    usage: Usage,
    matched: Option<MatchedOn>,
    /// The hub says how much it is used.
    is_hub: bool,
}

/// An [`Item`] as the API shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed<'a> {
    id: &'a str,
    name: &'a str,
    version: &'a str,
    created_at: Timestamp,
    updated_at: Timestamp,
    title: &'a str,
    description: &'a str,
    icon_url: String,
    public: bool,
    visibility: Visibility,
    verification_status: VerificationStatus,
    lifecycle_status: LifecycleStatus,
    owner_workspace: &'a Owner,
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    matched_on: Option<&'a MatchedOn>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: &'a BTreeMap<String, String>,
}

impl Item {
    /// The item as the API shows it. `public_url` is the server's origin, without a trailing slash.
    pub fn view(&self, public_url: &str) -> Listed<'_> {
        let head = &self.head;
        Listed {
            id: &head.id,
            name: &head.name,
            version: &head.version,
            created_at: head.created_at,
            updated_at: head.updated_at,
            title: &head.summary.title,
            description: &head.summary.description,
            icon_url: head.icon_url(public_url),
            public: head.visibility == Visibility::Public,
            visibility: head.visibility,
            verification_status: head.summary.verification_status,
            lifecycle_status: head.summary.lifecycle_status,
            owner_workspace: &self.owner,
            meta: self.is_hub.then_some(self.usage),
            matched_on: self.matched.as_ref(),
            attributes: &head.summary.attributes,
        }
    }
}

/// What filters and orders look at.
struct Candidate {
    id: String,
    workspace: String,
    name: String,
    version: Version,
    dev: bool,
    created_at: i64,
    updated_at: i64,
    installs: i64,
    matched: Option<MatchedOn>,
}

impl Script for List {
    type Out = Page<Item>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Page<Item>> {
        let mut found = self.candidates(tx).await?;
        if let Some(version) = &self.version {
            found = of_version(found, version);
        }
        if let Some(search) = &self.search {
            found = searched(tx, found, &search.to_lowercase()).await?;
        }
        let ascending = self.ascending.unwrap_or(self.order == Order::Name);
        let mut keyed: Vec<((i64, String), Candidate)> =
            found.into_iter().map(|candidate| (self.key(&candidate), candidate)).collect();
        keyed.sort_by(|a, b| if ascending { a.0.cmp(&b.0) } else { b.0.cmp(&a.0) });
        if let Some(after) = &self.page.after {
            let after = (after.pos, after.id.clone());
            keyed.retain(|(key, _)| if ascending { *key > after } else { *key < after });
        }
        let more = keyed.len() > self.page.size.get();
        keyed.truncate(self.page.size.get());
        let last = keyed.last().filter(|_| more).map(|(key, _)| key.clone());
        let next = last.map(|(pos, id)| Cursor { pos, id, snapshot: None });
        Ok(Page { items: self.items(tx, keyed.into_iter().map(|(_, candidate)| candidate).collect()).await?, next })
    }
}

impl List {
    /// All in scope that the short columns admit.
    async fn candidates(&self, tx: &mut Tx<'_>) -> Result<Vec<Candidate>> {
        let mut query = Query::new(
            "SELECT g.id, g.workspace_id, g.name, g.version, g.dev, g.created_at, g.updated_at, \
             (SELECT COUNT(*) FROM instances n WHERE n.integration_id = g.id) FROM integrations g WHERE 1 = 1",
        );
        let inside = match &self.actor {
            Some(actor) => Some(actor.enter(tx, Role::Viewer).await?),
            None => None,
        };
        match &inside {
            Some(inside) => {
                query.and("g.workspace_id =", &inside.workspace);
                if let Some(dev) = self.dev {
                    query.and("g.dev =", dev);
                }
            }
            None => query.text.push_str(" AND g.visibility = 'public' AND g.dev = 0"),
        }
        // Nothing is ever under review, or rejected.
        query.text.push_str(match self.verification_status {
            None => "",
            Some(VerificationStatus::Approved) => " AND g.verified = 1",
            Some(VerificationStatus::Unapproved) => " AND g.verified = 0",
            Some(VerificationStatus::Pending | VerificationStatus::Rejected) => " AND 1 = 0",
        });
        if let Some(interface) = &self.interface {
            let interface = query.bind(interface);
            query.text.push_str(&format!(
                " AND EXISTS (SELECT 1 FROM interface_uses u CROSS JOIN interfaces f WHERE f.id = u.interface_id AND u.user_id = g.id \
                 AND (f.id = {interface} OR f.name = {interface}))"
            ));
        }
        if let Some(name) = &self.name {
            query.and("g.name =", name);
        }
        if let Some(visibility) = self.visibility {
            query.and("g.visibility =", visibility.name());
        }
        if let Some(bot) = &self.installed_by {
            let bot = query.bind(bot);
            query.text.push_str(&format!(
                " AND EXISTS (SELECT 1 FROM instances i CROSS JOIN bots b WHERE b.id = i.bot_id AND i.integration_id = g.id AND b.id = {bot}"
            ));
            if let Some(inside) = &inside {
                allowlist::filter(&mut query, inside);
            }
            query.text.push(')');
        }
        query.run(tx).await?.into_iter().map(|mut row| candidate(&mut row)).collect()
    }

    /// What orders a candidate: a number and a text, of which one decides and the other is there to
    /// make every key unique.
    fn key(&self, candidate: &Candidate) -> (i64, String) {
        match self.order {
            Order::CreatedAt => (candidate.created_at, candidate.id.clone()),
            Order::UpdatedAt => (candidate.updated_at, candidate.id.clone()),
            Order::Installs => (candidate.installs, candidate.id.clone()),
            Order::Name => (0, format!("{} {}", candidate.name, candidate.id)),
        }
    }

    /// The page, with definitions and owners.
    async fn items(&self, tx: &mut Tx<'_>, page: Vec<Candidate>) -> Result<Vec<Item>> {
        let mut heads: HashMap<String, Head> = HashMap::new();
        let mut owners: HashMap<String, Owner> = HashMap::new();
        if !page.is_empty() {
            let mut query = Query::new(&format!("SELECT {HEAD_COLUMNS} FROM integrations g WHERE 1 = 1"));
            query.and_in("g.id", page.iter().map(|candidate| candidate.id.clone()));
            for mut row in query.run(tx).await? {
                let head = head(&mut row)?;
                heads.insert(head.id.clone(), head);
            }
        }
        let mut items = Vec::with_capacity(page.len());
        for candidate in page {
            if !owners.contains_key(&candidate.workspace) {
                let owner = super::owner(tx, &candidate.workspace).await?;
                owners.insert(candidate.workspace.clone(), owner);
            }
            if let (Some(head), Some(owner)) = (heads.remove(&candidate.id), owners.get(&candidate.workspace)) {
                items.push(Item {
                    head,
                    owner: owner.clone(),
                    usage: Usage { installs: candidate.installs, views: 0 },
                    matched: candidate.matched,
                    is_hub: self.actor.is_none(),
                });
            }
        }
        Ok(items)
    }
}

fn candidate(row: &mut Row) -> Result<Candidate> {
    let (id, workspace, name, version) = (row.text()?, row.text()?, row.text()?, row.text()?);
    let version = Version::parse(&version).map_err(|e| Error::Corrupt(format!("version of integration {id}: {e}")))?;
    Ok(Candidate {
        id,
        workspace,
        name,
        version,
        dev: row.bool()?,
        created_at: row.int()?,
        updated_at: row.int()?,
        installs: row.int()?,
        matched: None,
    })
}

/// Of each name the version that is asked for. Several dev versions may be the same.
fn of_version(found: Vec<Candidate>, version: &str) -> Vec<Candidate> {
    let Some(wanted) = Wanted::parse(version) else { return Vec::new() };
    if let Wanted::Exact(version) = &wanted {
        return found.into_iter().filter(|candidate| candidate.version == *version).collect();
    }
    let mut groups: BTreeMap<(String, String), Vec<Candidate>> = BTreeMap::new();
    for candidate in found.into_iter().filter(|candidate| !candidate.dev) {
        groups.entry((candidate.workspace.clone(), candidate.name.clone())).or_default().push(candidate);
    }
    let choose = |mut group: Vec<Candidate>| {
        let versions: Vec<Version> = group.iter().map(|candidate| candidate.version.clone()).collect();
        wanted.choose(&versions).map(|chosen| group.swap_remove(chosen))
    };
    groups.into_values().filter_map(choose).collect()
}

/// Those in which the text, in lower case, is found.
async fn searched(tx: &mut Tx<'_>, found: Vec<Candidate>, text: &str) -> Result<Vec<Candidate>> {
    #[derive(Deserialize)]
    struct Peek {
        definition: Searched,
    }
    #[derive(Deserialize)]
    #[serde(default)]
    #[derive(Default)]
    struct Searched {
        title: String,
        description: String,
        actions: BTreeMap<String, IgnoredAny>,
        interfaces: BTreeMap<String, super::Interface>,
    }
    let has = |place: &str| place.to_lowercase().contains(text);
    let mut matching = Vec::new();
    for mut candidate in found {
        let row = tx.query_opt("SELECT body FROM integrations WHERE id = ?1", params![&candidate.id]).await?;
        let Some(mut row) = row else { continue };
        let peek: Peek = serde_json::from_str(&row.text()?).map_err(damaged(&candidate.id))?;
        let matched = MatchedOn {
            name: has(&candidate.name),
            title: has(&peek.definition.title),
            description: has(&peek.definition.description),
            actions: peek.definition.actions.into_keys().filter(|action| has(action)).collect(),
            interfaces: peek.definition.interfaces.into_values().map(|one| one.name).filter(|name| has(name)).collect(),
        };
        if matched != MatchedOn::default() {
            candidate.matched = Some(matched);
            matching.push(candidate);
        }
    }
    Ok(matching)
}

impl Store {
    /// listIntegrations and listPublicIntegrations.
    pub async fn list_integrations(&self, list: List) -> Result<Page<Item>> {
        self.read(&list).await
    }
}
