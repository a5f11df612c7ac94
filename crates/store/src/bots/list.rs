//! Lists of bots (`spec/cloud/admin.md` § 5).

use duologue_model::{Tags, Timestamp, admin::Role, id::BotId};
use serde::Serialize;

use super::{BotType, allowlist};
use crate::{
    Error, Result, Store,
    page::{Page, PageRequest, Query, Sort, SortField},
    sql::Row,
    tx::{Script, Tx},
    workspaces::Actor,
};

/// A bot in a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Its id.
    pub id: BotId,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// For people.
    pub name: String,
    /// When its code or URL last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployed_at: Option<Timestamp>,
    /// Of the bot itself.
    pub tags: Tags,
    /// How it was made.
    pub r#type: BotType,
}

/// listBots.
#[derive(Clone, Debug)]
pub struct List {
    /// Who asks, about which workspace.
    pub actor: Actor,
    /// Only developers' bots; otherwise only production bots.
    pub dev: bool,
    /// Those that carry all of these.
    pub tags: Vec<(String, String)>,
    /// Those that have any of these integrations installed, if any is given.
    pub integrations: Vec<String>,
    /// Those that have any of these plugins installed, if any is given.
    pub plugins: Vec<String>,
    /// The order.
    pub sort: Sort,
    /// Which page.
    pub page: PageRequest,
}

impl Script for List {
    type Out = Page<Summary>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Page<Summary>> {
        let inside = self.actor.enter(tx, Role::Viewer).await?;
        let order = if self.sort.field == SortField::UpdatedAt { "b.updated_at" } else { "b.created_at" };
        let mut query = Query::new(&format!(
            "SELECT {order}, b.id, b.id, b.created_at, b.updated_at, b.name, b.deployed_at, b.tags, b.body FROM bots b WHERE 1 = 1"
        ));
        query.and("b.workspace_id =", &inside.workspace);
        query.and("b.dev =", self.dev);
        allowlist::filter(&mut query, &inside);
        for (key, value) in &self.tags {
            self.tagged(&mut query, key, value);
        }
        if !self.integrations.is_empty() {
            query.text.push_str(
                " AND EXISTS (SELECT 1 FROM instances i CROSS JOIN integrations g WHERE g.id = i.integration_id AND i.bot_id = b.id",
            );
            query.and_in("g.name", self.integrations.iter().cloned());
            query.text.push(')');
        }
        if !self.plugins.is_empty() {
            query.text.push_str(
                " AND EXISTS (SELECT 1 FROM bot_plugins p CROSS JOIN plugins g WHERE g.id = p.plugin_id AND p.bot_id = b.id",
            );
            query.and_in("g.name", self.plugins.iter().cloned());
            query.text.push(')');
        }
        query.after(self.page.after.as_ref(), order, "b.id", self.sort.ascending);
        query.order(order, "b.id", self.sort.ascending, self.page.size.get() + 1);
        let rows = query.run(tx).await?;
        crate::page::page(rows, self.page.size, summary)
    }
}

impl List {
    /// Bots of a workspace are few and have no index of tags: this looks for the pair in the text
    /// of the tags, where it begins after `{` or `,` and nothing else looks like it.
    fn tagged(&self, query: &mut Query, key: &str, value: &str) {
        let pair = Tags([(key.to_owned(), value.to_owned())].into()).text();
        let pair = &pair[1..pair.len() - 1];
        let (first, later) = (query.bind(format!("{{{pair}")), query.bind(format!(",{pair}")));
        query.text.push_str(&format!(" AND REPLACE(REPLACE(b.tags, {first}, ''), {later}, '') <> b.tags"));
    }
}

fn summary(row: &mut Row) -> Result<Summary> {
    #[derive(serde::Deserialize)]
    struct Typed {
        #[serde(default)]
        r#type: BotType,
    }
    let id: BotId = row.id()?;
    let (created_at, updated_at, name) = (row.at()?, row.at()?, row.text()?);
    let (deployed_at, tags) = (row.opt_at()?, row.tags()?);
    let typed: Typed = serde_json::from_str(&row.text()?).map_err(|e| Error::Corrupt(format!("bot {id}: {e}")))?;
    Ok(Summary { id, created_at, updated_at, name, deployed_at, tags, r#type: typed.r#type })
}

impl Store {
    /// listBots.
    pub async fn list_bots(&self, list: List) -> Result<Page<Summary>> {
        self.read(&list).await
    }
}
