//! Lists: one page at a time, all pages, or all items, as streams (`spec/cloud/runtime.md` § 3).

use std::{
    collections::{HashMap, HashSet},
    fmt::Display,
    marker::PhantomData,
};

use duologue_model::{Json, Meta, Timestamp};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use http::Method;
use serde::de::DeserializeOwned;

use crate::{Client, Error, Request};

/// One page of a list.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Page<T> {
    /// In the list's order; may be empty.
    pub items: Vec<T>,
    /// Leads to the next page ([`List::next_token`]); absent on the last.
    pub next_token: Option<String>,
}

/// Which way a list is sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Oldest first.
    CreatedAscending,
    /// Newest first: what the server does when nothing is said.
    CreatedDescending,
    /// Least recently changed first.
    UpdatedAscending,
    /// Most recently changed first. For conversations: latest activity.
    UpdatedDescending,
}

/// A list of `T`s under construction. `F` says which filters it has.
///
/// ```no_run
/// # async fn example(client: duologue_client::Client) -> Result<(), duologue_client::Error> {
/// use duologue_client::TryStreamExt;
///
/// let mut conversations = client.list_conversations().channel("webchat").tag("topic", "sales").page_size(100).items();
/// while let Some(conversation) = conversations.try_next().await? {
///     println!("{}", conversation.id);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use]
pub struct List<T, F = ()> {
    request: Request,
    field: &'static str,
    next_token: Option<String>,
    kind: PhantomData<fn() -> (T, F)>,
}

impl<T, F> Clone for List<T, F> {
    fn clone(&self) -> Self {
        List {
            request: self.request.clone(),
            field: self.field,
            next_token: self.next_token.clone(),
            kind: PhantomData,
        }
    }
}

impl Client {
    /// A list operation this crate has no function for. `field` is the member of the answer that
    /// holds the items.
    pub fn list<T, F>(&self, segments: &[&str], field: &'static str) -> List<T, F> {
        List { request: self.request(Method::GET, segments), field, next_token: None, kind: PhantomData }
    }
}

impl<T, F> List<T, F> {
    /// At most this many items a page: 1 to 100; servers clamp larger values, and give 20 when
    /// nothing is said.
    pub fn page_size(self, size: u32) -> Self {
        self.query("pageSize", size)
    }

    /// Starts at the page this token leads to. It is only valid with the same filters and order.
    pub fn next_token(mut self, token: impl Into<String>) -> Self {
        self.next_token = Some(token.into());
        self
    }

    /// A filter this crate has no function for.
    pub fn query(mut self, name: &str, value: impl Display) -> Self {
        self.request = self.request.query(name, value);
        self
    }
}

impl<T: DeserializeOwned + Send + 'static, F> List<T, F> {
    /// One page.
    pub async fn send(self) -> Result<Page<T>, Error> {
        page(&self.request, self.field, self.next_token.as_deref()).await
    }

    /// All pages from here on. Ends with an error when the server leads in a circle.
    pub fn pages(self) -> impl Stream<Item = Result<Page<T>, Error>> + Send + Unpin + use<T, F> {
        let List { request, field, next_token, .. } = self;
        let seen: HashSet<String> = next_token.iter().cloned().collect();
        let start = Some((next_token, seen));
        stream::try_unfold((request, start), move |(request, position)| async move {
            let Some((token, mut seen)) = position else { return Ok(None) };
            let page = page::<T>(&request, field, token.as_deref()).await?;
            let next = match &page.next_token {
                None => None,
                Some(token) if seen.insert(token.clone()) => Some((Some(token.clone()), seen)),
                Some(_) => return Err(request.misunderstood("it leads back to an earlier page of the list".into())),
            };
            Ok(Some((page, (request, next))))
        })
        .boxed()
    }

    /// All items from here on.
    pub fn items(self) -> impl Stream<Item = Result<T, Error>> + Send + Unpin + use<T, F> {
        self.pages().map_ok(|page| stream::iter(page.items.into_iter().map(Ok))).try_flatten()
    }

    /// All items from here on, collected. For lists known to be short.
    pub async fn all(self) -> Result<Vec<T>, Error> {
        self.items().try_collect().await
    }
}

/// Fetches one page: `{<field>: […], meta: {nextToken?}}`. Logs have their token beside the items;
/// some lists have none.
async fn page<T: DeserializeOwned>(request: &Request, field: &str, token: Option<&str>) -> Result<Page<T>, Error> {
    let request = match token {
        Some(token) => request.clone().query("nextToken", token),
        None => request.clone(),
    };
    let body = request.send_raw().await?;
    let members: HashMap<String, Json> = request.decode(&body)?;
    let items = members.get(field).ok_or_else(|| request.misunderstood(format!("it has no \"{field}\"")))?;
    let next_token = match (members.get("meta"), members.get("nextToken")) {
        (Some(meta), _) => request.decode::<Meta>(meta.text().as_bytes())?.next_token,
        (None, Some(token)) => request.decode(token.text().as_bytes())?,
        (None, None) => None,
    };
    Ok(Page { items: request.decode(items.text().as_bytes())?, next_token: next_token.filter(|t| !t.is_empty()) })
}

/// Which list has which filters. Not for use elsewhere.
pub mod filters {
    /// Has [`super::List::tag`].
    pub trait Tagged {}
    /// Has [`super::List::after`] and [`super::List::before`].
    pub trait Dated {}
    /// Has [`super::List::sort`].
    pub trait Sorted {}

    /// Defines the markers and what they have.
    macro_rules! markers {
        ($($(#[$doc:meta])* $name:ident: $($has:ident)*;)*) => {$(
            $(#[$doc])*
            #[derive(Debug)]
            pub enum $name {}
            $(impl $has for $name {})*
        )*};
    }

    markers! {
        /// Of conversations.
        Conversations: Tagged Dated Sorted;
        /// Of messages.
        Messages: Tagged Dated;
        /// Of users.
        Users: Tagged Dated Sorted;
        /// Of events.
        Events:;
        /// Of states.
        States:;
        /// Of workflows.
        Workflows: Tagged;
        /// Of tasks.
        Tasks: Tagged;
        /// Of workspaces.
        Workspaces:;
        /// Of bots.
        Bots: Tagged Sorted;
        /// Of integrations.
        Integrations:;
        /// Of log lines.
        Logs:;
    }
}

impl<T, F: filters::Tagged> List<T, F> {
    /// Only those with this tag. Several tags: those with all of them. An empty value: those
    /// without the tag.
    pub fn tag(self, key: &str, value: &str) -> Self {
        self.query(&format!("tags.{key}"), value)
    }
}

impl<T, F: filters::Dated> List<T, F> {
    /// Only those created at this instant or later.
    pub fn after(self, at: Timestamp) -> Self {
        self.query("afterDate", at)
    }

    /// Only those created at this instant or earlier.
    pub fn before(self, at: Timestamp) -> Self {
        self.query("beforeDate", at)
    }
}

impl<T, F: filters::Sorted> List<T, F> {
    /// The order; newest first by default.
    pub fn sort(self, sort: Sort) -> Self {
        let (field, direction) = match sort {
            Sort::CreatedAscending => ("createdAt", "asc"),
            Sort::CreatedDescending => ("createdAt", "desc"),
            Sort::UpdatedAscending => ("updatedAt", "asc"),
            Sort::UpdatedDescending => ("updatedAt", "desc"),
        };
        self.query("sortField", field).query("sortDirection", direction)
    }
}
