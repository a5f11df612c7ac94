//! Lists of messages, and whole conversations for transcripts and exports.

use duologue_model::{
    Identity, Message, Timestamp,
    id::{ConversationId, MessageId},
};

use super::{COLUMNS, seen_by, stored, visible};
use crate::{
    Result, Store, conversations,
    page::{Page, PageRequest, Query, Range},
    tx::{Script, Tx},
};

/// listMessages: newest first, or oldest first for transcripts.
#[derive(Clone, Debug)]
pub struct List {
    /// The caller.
    pub who: Identity,
    /// Only of this conversation.
    pub conversation: Option<String>,
    /// Stored keys and values; an empty value means absent.
    pub tags: Vec<(String, String)>,
    /// Bounds on creation.
    pub range: Range,
    /// Oldest first.
    pub ascending: bool,
    /// Which page.
    pub page: PageRequest,
}

impl Script for List {
    type Out = Page<Message>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Page<Message>> {
        // A conversation's own index drives, or else a tag's, or else the bot's.
        let driving =
            if self.conversation.is_none() { self.tags.iter().position(|(_, value)| !value.is_empty()) } else { None };
        let (pos, id) = if driving.is_some() { ("d.created_at", "d.entity_id") } else { ("e.created_at", "e.id") };
        let from = if driving.is_some() {
            "entity_tags d CROSS JOIN messages e WHERE e.id = d.entity_id"
        } else {
            "messages e WHERE 1 = 1"
        };
        let mut query = Query::new(&format!("SELECT {pos}, {id}, {COLUMNS} FROM {from}"));
        if let Some(conversation) = &self.conversation {
            // Seen as a whole or not at all: the rows themselves need no further check.
            if conversations::find(tx, &self.who, conversation, false).await?.is_none() {
                return Ok(Page { items: Vec::new(), next: None });
            }
            query.and("e.conversation_id =", conversation);
        } else {
            visible(&mut query, &self.who);
        }
        for (index, (key, value)) in self.tags.iter().enumerate() {
            if driving == Some(index) {
                query.and("d.bot_id =", &self.who.bot);
                query.and("d.kind =", "m");
                query.and("d.key =", key);
                query.and("d.value =", value);
            } else {
                query.tagged("m", self.who.bot.as_str(), key, value);
            }
        }
        self.range.apply(&mut query, pos);
        query.after(self.page.after.as_ref(), pos, id, self.ascending);
        query.order(pos, id, self.ascending, self.page.size.get() + 1);
        let rows = query.run(tx).await?;
        crate::page::page(rows, self.page.size, |row| Ok(seen_by(stored(row)?, &self.who)))
    }
}

/// Messages of a conversation, oldest first, for transcripts and exports: larger pages than the
/// dialect's.
struct Export {
    who: Identity,
    conversation: ConversationId,
    after: Option<(Timestamp, MessageId)>,
    limit: usize,
}

impl Script for Export {
    type Out = Vec<Message>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Message>> {
        let mut query = Query::new(&format!("SELECT {COLUMNS} FROM messages e WHERE 1 = 1"));
        query.and("e.conversation_id =", &self.conversation);
        if let Some((at, id)) = &self.after {
            let (at, id) = (query.bind(*at), query.bind(id));
            query.text.push_str(&format!(" AND (e.created_at, e.id) > ({at}, {id})"));
        }
        query.order("e.created_at", "e.id", true, self.limit);
        let rows = query.run(tx).await?;
        rows.into_iter().map(|mut row| Ok(seen_by(stored(&mut row)?, &self.who))).collect()
    }
}

impl Store {
    /// listMessages.
    pub async fn list_messages(&self, list: List) -> Result<Page<Message>> {
        self.read(&list).await
    }

    /// At most `limit` messages of a conversation that the caller has been shown to see, oldest
    /// first, after a position.
    pub async fn export_messages(
        &self,
        who: Identity,
        conversation: ConversationId,
        after: Option<(Timestamp, MessageId)>,
        limit: usize,
    ) -> Result<Vec<Message>> {
        self.read(&Export { who, conversation, after, limit }).await
    }
}
