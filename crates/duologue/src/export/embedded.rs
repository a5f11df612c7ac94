//! Reading straight from a data folder, also while a server works with it.

use std::collections::VecDeque;

use duologue_model::{
    Conversation, Identity, Message, PageSize, Timestamp, User,
    id::{BotId, ConversationId, MessageId},
};
use duologue_store::{
    Store,
    conversations::List,
    page::{Cursor, PageRequest, Range, Sort, SortField},
};

use super::{
    Error,
    filter::{Filters, Position},
    source::{Entry, Source},
};

/// How many messages are read at once.
const MESSAGES: usize = 500;

/// Conversations of a bot in a data folder.
pub(crate) struct Embedded {
    store: Store,
    bot: BotId,
    filters: Filters,
    page: VecDeque<Conversation>,
    /// Where the next page begins.
    after: Option<Cursor>,
    ended: bool,
    current: Option<Reading>,
}

/// A conversation whose messages are being read.
struct Reading {
    id: ConversationId,
    after: Option<(Timestamp, MessageId)>,
    ended: bool,
}

impl Embedded {
    /// The conversations of `bot` that match `filters` and come after `after`.
    pub async fn new(store: Store, bot: BotId, filters: &Filters, after: Option<Position>) -> Result<Self, Error> {
        let mut source = Embedded {
            store,
            bot,
            filters: filters.clone(),
            page: VecDeque::new(),
            after: after.as_ref().map(cursor),
            ended: false,
            current: None,
        };
        if !filters.conversations.is_empty() {
            source.page = source.named(after).await?;
            source.ended = true;
        }
        Ok(source)
    }

    async fn named(&self, after: Option<Position>) -> Result<VecDeque<Conversation>, Error> {
        let mut found = Vec::with_capacity(self.filters.conversations.len());
        for id in &self.filters.conversations {
            found.push(self.store.get_conversation(self.who(), id.clone()).await?);
        }
        found.sort_by_cached_key(Position::of);
        found.dedup_by(|a, b| a.id == b.id);
        found.retain(|conversation| after.as_ref().is_none_or(|after| Position::of(conversation) > *after));
        Ok(found.into())
    }

    fn who(&self) -> Identity {
        Identity::bot(self.bot.clone())
    }

    async fn list(&mut self) -> Result<(), Error> {
        let filters = &self.filters;
        let list = List {
            who: self.who(),
            tags: filters.tags.clone(),
            participants: filters.users.clone(),
            integration: filters.integration.clone(),
            channel: filters.channel.clone(),
            range: Range { after: filters.since, before: filters.until },
            min_messages: None,
            max_messages: None,
            sort: Sort { field: SortField::CreatedAt, ascending: true },
            page: PageRequest { size: PageSize::new(i64::from(PageSize::MAX)), after: self.after.take() },
            snapshot: None,
        };
        let page = self.store.list_conversations(list).await?;
        self.page = page.items.into();
        self.ended = page.next.is_none();
        self.after = page.next;
        Ok(())
    }

    async fn participants(&self, conversation: &Conversation) -> Result<Vec<User>, Error> {
        let mut users = Vec::new();
        let mut after = None;
        loop {
            let page = PageRequest { size: PageSize::new(i64::from(PageSize::MAX)), after };
            let page = self.store.list_participants(self.who(), conversation.id.to_string(), page).await?;
            users.extend(page.items);
            match page.next {
                None => return Ok(users),
                next => after = next,
            }
        }
    }
}

impl Source for Embedded {
    async fn next(&mut self) -> Result<Option<Entry>, Error> {
        self.current = None;
        while let Some(conversation) = self.peek().await? {
            let users = match self.participants(&conversation).await {
                Ok(users) => users,
                // Deleted since it was listed.
                Err(Error::Store(error)) if error.refused().is_some() => continue,
                Err(error) => return Err(error),
            };
            self.current = Some(Reading { id: conversation.id.clone(), after: None, ended: false });
            return Ok(Some(Entry { conversation, users }));
        }
        Ok(None)
    }

    async fn messages(&mut self) -> Result<Vec<Message>, Error> {
        let who = self.who();
        let Some(current) = self.current.as_mut().filter(|current| !current.ended) else { return Ok(Vec::new()) };
        let after = current.after.take();
        let messages = self.store.export_messages(who, current.id.clone(), after, MESSAGES).await?;
        current.ended = messages.len() < MESSAGES;
        current.after = messages.last().map(|last| (last.created_at, last.id.clone()));
        Ok(messages)
    }

    async fn peek(&mut self) -> Result<Option<Conversation>, Error> {
        loop {
            if let Some(conversation) = self.page.pop_front() {
                return Ok(Some(conversation));
            }
            if self.ended {
                return Ok(None);
            }
            self.list().await?;
        }
    }
}

fn cursor(position: &Position) -> Cursor {
    Cursor { pos: position.created_at.millis(), id: position.id.to_string(), snapshot: None }
}
