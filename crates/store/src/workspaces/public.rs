//! What strangers see of workspaces (`spec/cloud/admin.md` § 4).

use duologue_model::{Error as Refusal, Timestamp, admin::Workspace};
use serde::Serialize;

use super::{COLUMNS, find, role, stored};
use crate::{
    Result, Store,
    page::{Page, PageRequest, Query},
    tx::{Script, Tx},
};

/// What strangers may see of a public workspace.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PublicWorkspace {
    /// UUID.
    pub id: String,
    /// For people.
    pub name: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// For people.
    pub about: String,
    /// A URL.
    pub profile_picture: String,
    /// For people.
    pub contact_email: String,
    /// A URL.
    pub website: String,
    /// URLs.
    pub social_accounts: Vec<String>,
    /// Empty if it has none.
    pub handle: String,
}

impl From<Workspace> for PublicWorkspace {
    fn from(w: Workspace) -> Self {
        PublicWorkspace {
            id: w.id,
            name: w.name,
            created_at: w.created_at,
            updated_at: w.updated_at,
            about: w.about,
            profile_picture: w.profile_picture,
            contact_email: w.contact_email,
            website: w.website,
            social_accounts: w.social_accounts,
            handle: w.handle.unwrap_or_default(),
        }
    }
}

struct GetPublic {
    account: String,
    id: String,
}

impl Script for GetPublic {
    type Out = PublicWorkspace;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<PublicWorkspace> {
        let missing = || Refusal::not_found("public workspace", &self.id);
        let workspace = find(tx, &self.id).await?.ok_or_else(missing)?;
        if !workspace.is_public && role(tx, &self.id, &self.account).await?.is_none() {
            return Err(missing().into());
        }
        Ok(workspace.into())
    }
}

/// listPublicWorkspaces.
#[derive(Clone, Debug, Default)]
pub struct ListPublic {
    /// Only these, if any is given.
    pub ids: Vec<String>,
    /// Only those whose name or handle contains this, whatever the case.
    pub search: Option<String>,
    /// Which page.
    pub page: PageRequest,
}

impl Script for ListPublic {
    type Out = Page<PublicWorkspace>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Page<PublicWorkspace>> {
        let mut query =
            Query::new(&format!("SELECT w.created_at, w.id, {COLUMNS} FROM workspaces w WHERE w.is_public = 1"));
        if !self.ids.is_empty() {
            query.and_in("w.id", self.ids.iter().cloned());
        }
        if let Some(search) = &self.search {
            let mut pattern = String::from("%");
            for c in search.to_lowercase().chars() {
                if matches!(c, '%' | '_' | '!') {
                    pattern.push('!');
                }
                pattern.push(c);
            }
            pattern.push('%');
            let pattern = query.bind(pattern);
            query.text.push_str(&format!(
                " AND (LOWER(w.name) LIKE {pattern} ESCAPE '!' OR w.handle LIKE {pattern} ESCAPE '!')"
            ));
        }
        query.after(self.page.after.as_ref(), "w.created_at", "w.id", false);
        query.order("w.created_at", "w.id", false, self.page.size.get() + 1);
        let rows = query.run(tx).await?;
        crate::page::page(rows, self.page.size, |row| Ok(stored(row)?.into()))
    }
}

impl Store {
    /// getPublicWorkspace.
    pub async fn get_public_workspace(&self, account: String, id: String) -> Result<PublicWorkspace> {
        self.read(&GetPublic { account, id }).await
    }

    /// listPublicWorkspaces, newest first.
    pub async fn list_public_workspaces(&self, list: ListPublic) -> Result<Page<PublicWorkspace>> {
        self.read(&list).await
    }
}
