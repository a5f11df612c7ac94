//! Reading what turns left to be looked at: their traces, newest first, and whose they are.
//!
//! Written by [`super::turns::Commit`]; read by those who ask why a bot said what it said. Never changes
//! anything.

use duologue_model::{
    Json, Timestamp,
    id::{BotId, ConversationId},
};

use super::turns::KEPT_TURNS;
use crate::{
    Result, Store, params,
    tx::{Script, Tx},
};

/// The trace of a turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// Its number in the conversation, from 1.
    pub turn: i64,
    /// When it ended.
    pub at: Timestamp,
    /// What happened.
    pub trace: Json,
}

/// Which traces to read.
#[derive(Clone, Debug)]
pub struct Latest {
    /// The bot.
    pub bot: BotId,
    /// The user's id in the Converse API.
    pub user: String,
    /// Only turns before this one.
    pub before: Option<i64>,
    /// How many at most.
    pub limit: u32,
}

impl Script for Latest {
    type Out = Vec<Turn>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Turn>> {
        let sql = format!(
            "SELECT t.turn, t.at, t.trace FROM v12_conversations v JOIN v12_turns t ON t.conversation_id = v.conversation_id \
             WHERE v.bot_id = ?1 AND v.user_id = ?2 AND t.turn < ?3 AND t.turn > v.turns - ?4 \
             ORDER BY t.turn DESC LIMIT {}",
            self.limit
        );
        let before = self.before.unwrap_or(i64::MAX);
        let rows = tx.query(&sql, params![&self.bot, &self.user, before, KEPT_TURNS]).await?;
        rows.into_iter().map(|mut row| Ok(Turn { turn: row.int()?, at: row.at()?, trace: row.json()? })).collect()
    }
}

struct Turns {
    bot: BotId,
    user: String,
}

impl Script for Turns {
    type Out = Vec<Turn>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Turn>> {
        let rows = tx
            .query(
                "SELECT t.turn, t.at, t.trace FROM v12_conversations v JOIN v12_turns t ON t.conversation_id = v.conversation_id \
                 WHERE v.bot_id = ?1 AND v.user_id = ?2 AND t.turn > v.turns - ?3 ORDER BY t.turn",
                params![&self.bot, &self.user, KEPT_TURNS],
            )
            .await?;
        rows.into_iter().map(|mut row| Ok(Turn { turn: row.int()?, at: row.at()?, trace: row.json()? })).collect()
    }
}

struct Whose(ConversationId);

impl Script for Whose {
    type Out = Option<(BotId, String)>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Out> {
        let sql = "SELECT bot_id, user_id FROM v12_conversations WHERE conversation_id = ?1";
        let row = tx.query_opt(sql, params![&self.0]).await?;
        row.map(|mut row| Ok((row.id()?, row.text()?))).transpose()
    }
}

impl Store {
    /// The traces of a conversation's latest turns, oldest first.
    pub async fn v12_turns(&self, bot: &BotId, user: &str) -> Result<Vec<Turn>> {
        self.read(&Turns { bot: bot.clone(), user: user.to_owned() }).await
    }

    /// The traces of a conversation's latest turns, newest first. Of each conversation the latest 50 turns
    /// are kept, save those whose trace was too large.
    pub async fn latest_v12_turns(&self, latest: Latest) -> Result<Vec<Turn>> {
        self.read(&latest).await
    }

    /// The bot and the Converse API's user of a conversation; `None` if it isn't one of that API.
    pub async fn v12_user_of(&self, conversation: ConversationId) -> Result<Option<(BotId, String)>> {
        self.read(&Whose(conversation)).await
    }
}
