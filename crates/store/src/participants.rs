//! Who takes part in a conversation (`spec/cloud/runtime.md` § 4, Participants).

use duologue_model::{Conversation, Error as Refusal, ErrorKind, Identity, User};

use crate::{
    Result, Store, conversations,
    page::{Page, PageRequest, Query},
    params,
    tx::{Script, Tx},
    users,
};

/// Refuses a user of another integration than the conversation's. The bot and the bot's own users
/// are welcome everywhere, and everybody is in the bot's own conversations.
pub(crate) fn acceptable(who: &Identity, conversation_owner: &str, user: &users::Stored) -> Result<(), Refusal> {
    let is_bot = user.user.id.as_str() == who.bot.as_str();
    if is_bot || user.owner.is_empty() || conversation_owner.is_empty() || user.owner == conversation_owner {
        return Ok(());
    }
    Err(Refusal::new(
        ErrorKind::RelationConflict,
        format!("the user belongs to integration \"{}\", the conversation to \"{conversation_owner}\"", user.owner),
    ))
}

/// Notes that a user takes part.
pub(crate) async fn enter(
    tx: &mut Tx<'_>,
    who: &Identity,
    conversation: &Conversation,
    user: &User,
    active: bool,
) -> Result<()> {
    let tail = if active {
        "ON CONFLICT (conversation_id, user_id) DO UPDATE SET active = 1"
    } else {
        "ON CONFLICT (conversation_id, user_id) DO NOTHING"
    };
    let sql = format!(
        "INSERT INTO participants (conversation_id, user_id, bot_id, active, conversation_created_at, user_created_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) {tail}"
    );
    tx.execute(&sql, params![&conversation.id, &user.id, &who.bot, active, conversation.created_at, user.created_at])
        .await?;
    Ok(())
}

async fn is_active(tx: &mut Tx<'_>, conversation: &str, user: &str) -> Result<bool> {
    let sql = "SELECT active FROM participants WHERE conversation_id = ?1 AND user_id = ?2";
    tx.query_opt(sql, params![conversation, user]).await?.map_or(Ok(false), |mut row| row.bool())
}

/// addParticipant. Adding somebody twice changes nothing.
#[derive(Clone, Debug)]
pub struct Add {
    /// The caller.
    pub who: Identity,
    /// Which conversation.
    pub conversation: String,
    /// Whom.
    pub user: String,
}

impl Script for Add {
    type Out = User;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<User> {
        let conversation = conversations::named(tx, &self.who, &self.conversation, true).await?;
        let user = users::referenced(tx, &self.who, &self.user).await?;
        acceptable(&self.who, &conversation.integration, &user)?;
        if !is_active(tx, &self.conversation, &self.user).await? {
            enter(tx, &self.who, &conversation, &user.user, true).await?;
            conversations::feed(tx, &conversation.id, "participant_added", &self.user).await?;
        }
        Ok(user.seen_by(&self.who))
    }
}

/// removeParticipant.
#[derive(Clone, Debug)]
pub struct Remove {
    /// The caller.
    pub who: Identity,
    /// Which conversation.
    pub conversation: String,
    /// Whom.
    pub user: String,
}

impl Script for Remove {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let conversation = conversations::named(tx, &self.who, &self.conversation, true).await?;
        let left = tx
            .execute(
                "UPDATE participants SET active = 0 WHERE conversation_id = ?1 AND user_id = ?2 AND active = 1",
                params![&self.conversation, &self.user],
            )
            .await?;
        if left == 0 {
            return Err(absent(&self.user).into());
        }
        conversations::feed(tx, &conversation.id, "participant_removed", &self.user).await?;
        Ok(())
    }
}

fn absent(user: &str) -> Refusal {
    Refusal::new(ErrorKind::ResourceNotFound, format!("User \"{user}\" does not take part in this conversation"))
}

struct Get {
    who: Identity,
    conversation: String,
    user: String,
}

impl Script for Get {
    type Out = User;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<User> {
        conversations::named(tx, &self.who, &self.conversation, false).await?;
        if is_active(tx, &self.conversation, &self.user).await? {
            let sql = format!("SELECT {} FROM users e WHERE e.id = ?1", users::COLUMNS);
            if let Some(mut row) = tx.query_opt(&sql, params![&self.user]).await? {
                return Ok(users::stored(self.user.as_str().into(), &mut row)?.seen_by(&self.who));
            }
        }
        Err(absent(&self.user).into())
    }
}

struct List {
    who: Identity,
    conversation: String,
    page: PageRequest,
}

impl Script for List {
    type Out = Page<User>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Page<User>> {
        conversations::named(tx, &self.who, &self.conversation, false).await?;
        let mut query = Query::new(&format!(
            "SELECT d.user_created_at, d.user_id, e.id, {} FROM participants d CROSS JOIN users e WHERE e.id = d.user_id AND d.active = 1",
            users::COLUMNS
        ));
        query.and("d.conversation_id =", &self.conversation);
        query.after(self.page.after.as_ref(), "d.user_created_at", "d.user_id", false);
        query.order("d.user_created_at", "d.user_id", false, self.page.size.get() + 1);
        let rows = query.run(tx).await?;
        crate::page::page(rows, self.page.size, |row| {
            let id = row.id()?;
            Ok(users::stored(id, row)?.seen_by(&self.who))
        })
    }
}

impl Store {
    /// getParticipant.
    pub async fn get_participant(&self, who: Identity, conversation: String, user: String) -> Result<User> {
        self.read(&Get { who, conversation, user }).await
    }

    /// listParticipants.
    pub async fn list_participants(
        &self,
        who: Identity,
        conversation: String,
        page: PageRequest,
    ) -> Result<Page<User>> {
        self.read(&List { who, conversation, page }).await
    }
}
