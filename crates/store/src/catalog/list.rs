//! Lists of interfaces and of plugins: a workspace's own, and the hub (`spec/cloud/admin.md` §§ 7, 8).
//!
//! Names and ranges of versions are compared here, not in SQL: a list reads the short columns of all that its scope
//! holds, and the definitions of its page only.

use std::{collections::HashMap, marker::PhantomData};

use duologue_model::admin::Role;
use semver::Version;

use super::{COLUMNS, Product, Stored, stored};
use crate::{
    Result, Store,
    integrations::{Visibility, Wanted},
    page::{Cursor, Page, PageRequest, Query},
    tx::{Script, Tx},
    workspaces::Actor,
};

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

impl Store {
    /// Interfaces or plugins of a workspace, or without an actor of the hub.
    pub async fn list_products<D: Product>(&self, list: List) -> Result<Page<Stored<D>>> {
        self.read(&Listing(list, PhantomData)).await
    }
}
