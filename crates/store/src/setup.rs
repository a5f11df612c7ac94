//! The first start: the server's key, a workspace with its owner, and a bot to try.

use duologue_model::{
    admin::{Key, Workspace},
    id::BotId,
};

use crate::{
    Result, Store, account, bots, crypto, params,
    tx::{Script, Tx},
    workspaces,
};

/// The key that cursors are sealed with: made once, shared by all processes on a database.
pub(crate) struct ServerKey;

impl Script for ServerKey {
    type Out = [u8; 32];
    async fn run(&self, tx: &mut Tx<'_>) -> Result<[u8; 32]> {
        let made = crypto::hex(&tx.ids().bytes::<32>());
        tx.execute(
            "INSERT INTO settings (key, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            params!["server_key", &made],
        )
        .await?;
        let row = tx.query_opt("SELECT value FROM settings WHERE key = ?1", params!["server_key"]).await?;
        let text = row.map_or(Ok(made), |mut row| row.text())?;
        Ok(crypto::sha256(text.as_bytes()))
    }
}

/// Id of the first workspace: one of those that the official CLI asks for no handle in
/// (`spec/cloud/cli-protocol.md` § 10).
const WORKSPACE: &str = "11111111-1111-1111-aaaa-111111111111";

/// What a first start is asked to make.
#[derive(Clone, Debug)]
pub struct Plan {
    /// E-mail address of the owner's account.
    pub email: String,
    /// Name of the workspace.
    pub workspace: String,
    /// Its handle.
    pub handle: String,
    /// Name of the bot.
    pub bot: String,
    /// Id of the bot; made if absent.
    pub bot_id: Option<String>,
    /// The owner's token; made if absent.
    pub token: Option<String>,
}

/// What a first start has made.
#[derive(Clone, Debug)]
pub struct Made {
    /// The workspace.
    pub workspace: Workspace,
    /// The bot.
    pub bot: BotId,
    /// The owner's token, with its secret.
    pub token: Key,
}

struct FirstStart(Plan);

impl Script for FirstStart {
    type Out = Option<Made>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<Made>> {
        let plan = &self.0;
        tx.lock("first start").await?;
        if tx.query_opt("SELECT id FROM accounts LIMIT 1", &[]).await?.is_some() {
            return Ok(None);
        }
        let account = account::insert(tx, &plan.email).await?;
        let mut workspace = workspaces::insert(tx, &account.id, &plan.workspace, Some(&plan.handle)).await?;
        let id = params![WORKSPACE, &workspace.id];
        tx.execute_all(&[
            ("UPDATE workspaces SET id = ?1 WHERE id = ?2", id),
            ("UPDATE members SET workspace_id = ?1 WHERE workspace_id = ?2", id),
        ])
        .await?;
        workspace.id = WORKSPACE.to_owned();
        let token = account::insert_pat(tx, &account.id, "first token of the owner", plan.token.as_deref()).await?;
        let new = bots::NewBot { name: Some(plan.bot.clone()), ..bots::NewBot::default() };
        let mut bot = bots::insert(tx, &workspace.id, Some(&account.id), &new).await?.id().clone();
        workspace.bot_count = 1;
        if let Some(given) = &plan.bot_id {
            let wanted = BotId::new(given.as_str());
            wanted.check("the bot's id")?;
            let id = params![&wanted, &bot];
            tx.execute_all(&[
                ("UPDATE bots SET id = ?1 WHERE id = ?2", id),
                ("UPDATE users SET id = ?1, bot_id = ?1 WHERE id = ?2", id),
            ])
            .await?;
            bot = wanted;
        }
        Ok(Some(Made { workspace, bot, token }))
    }
}

impl Store {
    /// Makes the owner, the workspace and a bot if the database is empty; `None` if it isn't.
    pub async fn first_start(&self, plan: Plan) -> Result<Option<Made>> {
        self.write(FirstStart(plan)).await
    }
}
