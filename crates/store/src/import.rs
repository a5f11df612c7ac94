//! Putting an export back: conversations, users and messages with their ids and instants (our
//! superset). What exists already is left alone, so an import can be repeated.

use duologue_model::{Conversation, Error as Refusal, Identity, Message, User};

use crate::{
    Result, conversations, messages, params, participants,
    tx::{Script, Tx},
    users,
};

/// One record of an export.
#[derive(Clone, Debug)]
pub enum Record {
    /// A conversation and who takes part in it.
    Conversation(Conversation, Vec<User>),
    /// A message of a conversation imported before.
    Message(Message),
}

/// Imports records in order, in one transaction. Answers how many were new, and how many known.
#[derive(Clone, Debug)]
pub struct ImportRecords {
    /// The caller, a bot.
    pub who: Identity,
    /// In the order of the export.
    pub records: Vec<Record>,
}

impl Script for ImportRecords {
    type Out = (usize, usize);

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(usize, usize)> {
        if !self.who.is_bot() {
            return Err(Refusal::forbidden("imports are for the bot only, not for integrations").into());
        }
        let mut created = 0;
        for record in &self.records {
            created += usize::from(match record {
                Record::Conversation(conversation, users) => self.conversation(tx, conversation, users).await?,
                Record::Message(message) => self.message(tx, message).await?,
            });
        }
        Ok((created, self.records.len() - created))
    }
}

impl ImportRecords {
    async fn conversation(&self, tx: &mut Tx<'_>, conversation: &Conversation, participants: &[User]) -> Result<bool> {
        let who = &self.who;
        let new = conversations::put(tx, who, conversation).await?;
        if !new {
            // Known already, or another bot's: then it isn't ours to add to.
            let known = conversations::find(tx, who, conversation.id.as_str(), false).await?;
            known.ok_or_else(|| taken("conversation", conversation.id.as_str()))?;
        }
        for user in participants {
            if user.id.as_str() == who.bot.as_str() {
                users::adopt_bot_user(tx, who, user).await?;
            } else {
                users::put(tx, who, &conversation.integration, user).await?;
            }
            let known =
                users::find(tx, who, user.id.as_str(), false).await?.ok_or_else(|| taken("user", user.id.as_str()))?;
            participants::enter(tx, who, conversation, &known.user, true).await?;
        }
        Ok(new)
    }

    async fn message(&self, tx: &mut Tx<'_>, message: &Message) -> Result<bool> {
        let who = &self.who;
        let id = message.conversation_id.as_str();
        let sql = "SELECT last_seq, updated_at FROM conversations WHERE id = ?1 AND bot_id = ?2 {for_update}";
        let mut row = tx
            .query_opt(sql, params![id, &who.bot])
            .await?
            .ok_or_else(|| Refusal::reference_not_found("conversation", id))?;
        let seq = row.int()? + 1;
        messages::record(tx, who, &message.conversation_id, seq, message).await
    }
}

fn taken(what: &str, id: &str) -> Refusal {
    Refusal::new(
        duologue_model::ErrorKind::AlreadyExists,
        format!("the {what} id \"{id}\" is taken by another bot of this server"),
    )
}
