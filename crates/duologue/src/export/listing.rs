//! An API's list of conversations, oldest first.
//!
//! Servers are asked to sort. One that doesn't is noticed before its first conversation is handed
//! out; its list is then read to the end, noted in a temporary file, and sorted here. Should the
//! order break later, the export stops rather than leave a hole.

use std::{
    cmp::Ordering,
    collections::VecDeque,
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
};

use duologue_client::{Client, Sort, StreamExt, TryStreamExt};
use duologue_model::{Conversation, Timestamp, id::ConversationId};
use futures_util::stream::{self, BoxStream};

use super::{
    Error,
    filter::{Filters, Position},
};

/// As many as servers give at once.
pub(crate) const PAGE: u32 = 100;

type Conversations = BoxStream<'static, Result<Conversation, Error>>;
type Pages = BoxStream<'static, Result<Vec<Conversation>, Error>>;

/// The conversations that match `filters` and come after `after`. `collect`: read the whole list
/// before the first is given.
pub(crate) fn conversations(
    client: &Client,
    filters: &Filters,
    after: Option<Position>,
    collect: bool,
) -> Conversations {
    if !filters.conversations.is_empty() {
        return named(client.clone(), filters.conversations.clone(), after);
    }
    let listing = Listing {
        pages: pages(client, filters, after.as_ref()),
        filters: filters.clone(),
        after,
        sorted: if collect { Sorted::No } else { Sorted::Unknown },
        run: Vec::new(),
        ready: VecDeque::new(),
        index: None,
    };
    stream::try_unfold(listing, |mut listing| async move {
        Ok(listing.next().await?.map(|conversation| (conversation, listing)))
    })
    .boxed()
}

/// The conversations with these ids, in order.
fn named(client: Client, ids: Vec<String>, after: Option<Position>) -> Conversations {
    let found = async move {
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            found.push(client.get_conversation(id).await?);
        }
        sort(&mut found);
        found.retain(|conversation| after.as_ref().is_none_or(|after| Position::of(conversation) > *after));
        Ok::<_, Error>(stream::iter(found.into_iter().map(Ok)))
    };
    stream::once(found).try_flatten().boxed()
}

fn pages(client: &Client, filters: &Filters, after: Option<&Position>) -> Pages {
    let mut list = client.list_conversations().page_size(PAGE).sort(Sort::CreatedAscending);
    for (key, value) in &filters.tags {
        list = list.tag(key, value);
    }
    for user in &filters.users {
        list = list.participant(user);
    }
    if let Some(alias) = &filters.integration {
        list = list.integration(alias);
    }
    if let Some(channel) = &filters.channel {
        list = list.channel(channel);
    }
    if let Some(since) = after.map(|after| after.created_at).max(filters.since) {
        list = list.after(since);
    }
    if let Some(until) = filters.until {
        list = list.before(until);
    }
    list.pages().map_ok(|page| page.items).err_into().boxed()
}

/// What is known about the server's order.
#[derive(Clone, Copy, PartialEq)]
enum Sorted {
    /// Nothing was handed out yet.
    Unknown,
    Yes,
    No,
}

struct Listing {
    pages: Pages,
    filters: Filters,
    after: Option<Position>,
    sorted: Sorted,
    /// Conversations of the same instant, whose order by id isn't sure yet.
    run: Vec<Conversation>,
    ready: VecDeque<Conversation>,
    index: Option<Index>,
}

impl Listing {
    async fn next(&mut self) -> Result<Option<Conversation>, Error> {
        loop {
            if let Some(conversation) = self.ready.pop_front() {
                self.sorted = Sorted::Yes;
                return Ok(Some(conversation));
            }
            if let Some(index) = &mut self.index {
                return index.pop();
            }
            match self.pages.next().await {
                Some(page) if self.sorted == Sorted::No => self.collect(page?).await?,
                Some(page) => self.take(page?).await?,
                None if self.run.is_empty() => return Ok(None),
                None => self.end_run(),
            }
        }
    }

    /// Takes a page of a list that was in order so far.
    async fn take(&mut self, page: Vec<Conversation>) -> Result<(), Error> {
        let instants = self.run.iter().take(1).chain(&page).map(|conversation| conversation.created_at);
        if self.sorted == Sorted::Unknown && !instants.is_sorted() {
            return self.collect(page).await;
        }
        for conversation in page {
            let instant = self.run.first().map_or(conversation.created_at, |first| first.created_at);
            match instant.cmp(&conversation.created_at) {
                Ordering::Greater => return Err(Error::Order(conversation.id.to_string())),
                Ordering::Less => self.end_run(),
                Ordering::Equal => {}
            }
            if self.wanted(&conversation) {
                self.run.push(conversation);
            }
        }
        Ok(())
    }

    fn end_run(&mut self) {
        sort(&mut self.run);
        self.ready.extend(self.run.drain(..));
    }

    /// Reads the list to its end and sorts it.
    async fn collect(&mut self, page: Vec<Conversation>) -> Result<(), Error> {
        let mut index = Index::new()?;
        let held = std::mem::take(&mut self.run);
        for conversation in held.iter().chain(&page).filter(|conversation| self.wanted(conversation)) {
            index.push(conversation)?;
        }
        while let Some(page) = self.pages.next().await {
            for conversation in page?.iter().filter(|conversation| self.wanted(conversation)) {
                index.push(conversation)?;
            }
        }
        index.sort();
        self.index = Some(index);
        Ok(())
    }

    fn wanted(&self, conversation: &Conversation) -> bool {
        self.filters.in_time(conversation)
            && self.after.as_ref().is_none_or(|after| Position::of(conversation) > *after)
    }
}

fn sort(conversations: &mut Vec<Conversation>) {
    conversations.sort_by_cached_key(Position::of);
    conversations.dedup_by(|a, b| a.id == b.id);
}

/// Conversations in a temporary file, and their order in memory: about 100 bytes each.
struct Index {
    file: File,
    end: u64,
    /// Position, offset, length; last first once sorted.
    entries: Vec<(Timestamp, ConversationId, u64, usize)>,
}

impl Index {
    fn new() -> Result<Self, Error> {
        let file = tempfile::tempfile().map_err(Error::io("can't make a temporary file"))?;
        Ok(Index { file, end: 0, entries: Vec::new() })
    }

    fn push(&mut self, conversation: &Conversation) -> Result<(), Error> {
        let text = serde_json::to_vec(conversation).map_err(duologue_transcript::Error::from)?;
        self.file.write_all(&text).map_err(Error::io("can't write a temporary file"))?;
        self.entries.push((conversation.created_at, conversation.id.clone(), self.end, text.len()));
        self.end += text.len() as u64;
        Ok(())
    }

    fn sort(&mut self) {
        self.entries.sort_unstable_by(|a, b| (b.0, &b.1).cmp(&(a.0, &a.1)));
        self.entries.dedup_by(|a, b| a.1 == b.1);
    }

    fn pop(&mut self) -> Result<Option<Conversation>, Error> {
        let Some((_, _, offset, length)) = self.entries.pop() else { return Ok(None) };
        let mut text = vec![0; length];
        self.file
            .seek(SeekFrom::Start(offset))
            .and_then(|_| self.file.read_exact(&mut text))
            .map_err(Error::io("can't read a temporary file"))?;
        Ok(Some(serde_json::from_slice(&text).map_err(duologue_transcript::Error::from)?))
    }
}

#[cfg(test)]
mod tests {
    use duologue_client::TryStreamExt;

    use super::*;

    fn conversation(at: i64, id: &str) -> Conversation {
        let at = Timestamp::from_millis(at);
        serde_json::from_value(serde_json::json!({
            "id": id, "createdAt": at, "updatedAt": at, "channel": "c", "integration": "", "tags": {},
        }))
        .unwrap()
    }

    /// Lists `pages` of (instant, id).
    fn list(pages: &[&[(i64, &str)]], after: Option<(i64, &str)>) -> Result<Vec<String>, Error> {
        let page = |page: &&[(i64, &str)]| Ok(page.iter().map(|(at, id)| conversation(*at, id)).collect());
        let pages: Vec<Result<Vec<Conversation>, Error>> = pages.iter().map(page).collect();
        let listing = Listing {
            pages: stream::iter(pages).boxed(),
            filters: Filters::default(),
            after: after.map(|(at, id)| Position { created_at: Timestamp::from_millis(at), id: id.into() }),
            sorted: Sorted::Unknown,
            run: Vec::new(),
            ready: VecDeque::new(),
            index: None,
        };
        let all = stream::try_unfold(listing, |mut listing| async move {
            Ok::<_, Error>(listing.next().await?.map(|found| (found.id.to_string(), listing)))
        });
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(all.try_collect())
    }

    #[test]
    fn sorted_lists_stream_and_ties_are_put_in_order() {
        let pages: &[&[_]] = &[&[(1, "b"), (1, "a"), (2, "d")], &[(2, "c"), (3, "e")], &[]];
        assert_eq!(list(pages, None).unwrap(), ["a", "b", "c", "d", "e"]);
        assert_eq!(list(pages, Some((2, "c"))).unwrap(), ["d", "e"]);
    }

    #[test]
    fn servers_that_overlook_the_order_are_sorted_here() {
        assert_eq!(list(&[&[(3, "c"), (2, "b")], &[(1, "a")]], None).unwrap(), ["a", "b", "c"]);
        assert_eq!(list(&[&[(3, "c")], &[(1, "a")], &[(3, "c")]], None).unwrap(), ["a", "c"]);
        assert_eq!(list(&[&[(3, "c"), (2, "b"), (1, "a")]], Some((2, "b"))).unwrap(), ["c"]);
    }

    #[test]
    fn late_disorder_is_an_error_not_a_hole() {
        let listed = list(&[&[(1, "a"), (5, "e"), (6, "f")], &[(2, "b")]], None);
        assert!(matches!(listed, Err(Error::Order(id)) if id == "b"));
    }
}
