//! Creating, changing and deleting versions of interfaces and plugins (`spec/cloud/admin.md` § 7).

use std::marker::PhantomData;

use duologue_model::{Error as Refusal, ErrorKind, Json, admin::Role};

use super::{Body, Head, Label, Product, Revision, Stored, named};
use crate::{
    Result, Store,
    bots::parts,
    integrations::{self, MAX_VERSIONS, Visibility},
    params,
    tx::{Script, Tx},
    workspaces::{Actor, Inside},
};

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

struct Create<D: Product> {
    actor: Actor,
    new: D::Change,
}

impl<D: Product> Script for Create<D> {
    type Out = Stored<D>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Stored<D>> {
        let inside = self.actor.enter(tx, Role::Developer).await?;
        let mut made: Stored<D> = drafted(tx, &inside, self.new.label()).await?;
        let definition = &mut made.body.definition;
        self.new.apply(tx, &inside.workspace, definition).await?;
        if definition.title().is_empty() {
            *definition.title_mut() = made.head.name.chars().take(parts::MAX_TITLE).collect();
        }
        insert(tx, &made).await?;
        self.new.written(tx, &made).await?;
        Ok(made)
    }
}

struct Update<D: Product> {
    actor: Actor,
    id: String,
    change: D::Change,
    may_break: bool,
}

impl<D: Product> Script for Update<D> {
    type Out = Stored<D>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Stored<D>> {
        let inside = self.actor.enter(tx, Role::Developer).await?;
        let mut stored: Stored<D> = named(tx, &inside, &self.id, true).await?;
        let before = stored.definition().names();
        self.change.apply(tx, &inside.workspace, &mut stored.body.definition).await?;
        let shared = stored.head.visibility != Visibility::Private;
        if shared && !self.may_break && uses::<D>(tx, &self.id).await? > 0 {
            parts::refuse_to_break(&before, &stored.definition().names(), D::NOUN)?;
        }
        update(tx, &mut stored, self.change.label()).await?;
        self.change.written(tx, &stored).await?;
        Ok(stored)
    }
}

/// How many others rely on a version.
async fn uses<D: Product>(tx: &mut Tx<'_>, id: &str) -> Result<i64> {
    let row = tx.query_opt(D::USES, params![id]).await?;
    row.map_or(Ok(0), |mut row| row.int())
}

/// Refused while others rely on the version.
struct Delete<D> {
    actor: Actor,
    id: String,
    of: PhantomData<fn() -> D>,
}

impl<D: Product> Script for Delete<D> {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let inside = self.actor.enter(tx, Role::Developer).await?;
        let _: Stored<D> = named(tx, &inside, &self.id, true).await?;
        let uses = uses::<D>(tx, &self.id).await?;
        if uses > 0 {
            return Err(Refusal::new(ErrorKind::ReferenceConstraint, D::in_use(uses)).into());
        }
        for sql in D::PARTS {
            tx.execute(sql, params![&self.id]).await?;
        }
        tx.execute(&format!("DELETE FROM {} WHERE id = ?1", D::TABLE), params![&self.id]).await?;
        Ok(())
    }
}

impl Store {
    /// createInterface and createPlugin.
    pub async fn create_product<D: Product>(&self, actor: Actor, new: D::Change) -> Result<Stored<D>> {
        new.check(true)?;
        self.write(Create { actor, new }).await
    }

    /// updateInterface and updatePlugin. With `may_break`, removals that others may feel are let through.
    pub async fn update_product<D: Product>(
        &self,
        actor: Actor,
        id: String,
        change: D::Change,
        may_break: bool,
    ) -> Result<Stored<D>> {
        change.check(false)?;
        self.write_rights(Update { actor, id, change, may_break }).await
    }

    /// deleteInterface and deletePlugin.
    pub async fn delete_product<D: Product>(&self, actor: Actor, id: String) -> Result<()> {
        self.write(Delete::<D> { actor, id, of: PhantomData }).await
    }
}
