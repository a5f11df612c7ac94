//! `/v1/chat/conversations` (`spec/cloud/runtime.md` § 4).

use duologue_calls::{Made, Wanted};
use duologue_model::{Conversation, Error as Refusal, Json, tags::TagPatch};
use duologue_store::{
    conversations::{Create, Delete, GetOrCreate, List, NewConversation, Update},
    page::{Range, Sort, SortField},
};
use serde::{Deserialize, Serialize};

use super::creation::{delegated, kept};
use crate::{
    call::{self, Call},
    envelope::Failure,
    query::Query,
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[
    route!(Runtime POST "/v1/chat/conversations" createConversation create),
    route!(Runtime GET "/v1/chat/conversations" listConversations list),
    route!(Runtime POST "/v1/chat/conversations/get-or-create" getOrCreateConversation get_or_create),
    route!(Runtime GET "/v1/chat/conversations/{id}" getConversation get),
    route!(Runtime PUT "/v1/chat/conversations/{id}" updateConversation update),
    route!(Runtime DELETE "/v1/chat/conversations/{id}" deleteConversation delete),
];

#[derive(Serialize)]
struct One {
    conversation: Conversation,
}

/// `meta` of a get-or-create.
#[derive(Serialize)]
pub(crate) struct Created {
    pub(crate) created: bool,
}

#[derive(Serialize)]
struct Found {
    conversation: Conversation,
    meta: Created,
}

/// What a conversation is made of, in bodies.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Body {
    channel: String,
    tags: TagPatch,
    integration_name: Option<String>,
    properties: Option<Json>,
    #[serde(default)]
    pub(crate) discriminate_by_tags: Vec<String>,
}

impl Body {
    pub(crate) fn checked(self) -> Result<(NewConversation, Vec<String>), Refusal> {
        call::name("channel", &self.channel, 200)?;
        call::tag_values(&self.tags)?;
        call::object("properties", self.properties.as_ref())?;
        let integration = self.integration_name.filter(|name| !name.is_empty());
        let new = NewConversation { channel: self.channel, tags: self.tags, properties: self.properties, integration };
        Ok((new, self.discriminate_by_tags))
    }
}

async fn create(call: Call) -> Answer {
    let (new, by) = call.json::<Body>()?.checked()?;
    if let Some(wanted) = delegated(&call, new.integration.as_ref(), made(&new), &new.tags, &by).await? {
        if let Some(kept) = kept(&call).await? {
            return Ok(kept);
        }
        let (script, _) = made_by_integration(&call, new, wanted).await?;
        return call.write(201, script, |conversation| One { conversation }).await;
    }
    call.write(201, Create { who: call.who()?.clone(), new }, |conversation| One { conversation }).await
}

async fn get_or_create(call: Call) -> Answer {
    let (mut new, mut by) = call.json::<Body>()?.checked()?;
    let who = call.who()?.clone();
    let delegated = delegated(&call, new.integration.as_ref(), made(&new), &new.tags, &by).await?;
    if let Some(wanted) = &delegated {
        if let Some(kept) = kept(&call).await? {
            return Ok(kept);
        }
        (new.tags, by) = (wanted.tags.clone(), wanted.by.clone());
    }
    let wanted = GetOrCreate { who, new, by };
    if (delegated.is_some() || !call.is_keyed())
        && let Some(conversation) = call.app.store.find_conversation(&wanted).await?
    {
        return call::ok(&Found { conversation, meta: Created { created: false } });
    }
    if let Some(asked) = delegated {
        let (script, created) = made_by_integration(&call, wanted.new, asked).await?;
        return call.write(200, script, move |conversation| Found { conversation, meta: Created { created } }).await;
    }
    call.write(200, wanted, |(conversation, created)| Found { conversation, meta: Created { created } }).await
}

fn made(new: &NewConversation) -> Made {
    Made::Conversation(new.channel.clone())
}

/// Has an integration make a conversation; answers what remains to be written, and whether the
/// conversation is new.
async fn made_by_integration(call: &Call, new: NewConversation, wanted: Wanted) -> Result<(Update, bool), Failure> {
    let tags = wanted.tags.clone();
    let made = call.app.calls.create(wanted).await?;
    let script =
        Update { who: call.who()?.clone(), id: made.id, tags, current_task_id: None, properties: new.properties };
    Ok((script, made.created))
}

async fn get(call: Call) -> Answer {
    let conversation = call.app.store.get_conversation(call.who()?.clone(), call.param(0)).await?;
    call::ok(&One { conversation })
}

async fn update(call: Call) -> Answer {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        current_task_id: Option<String>,
        #[serde(default)]
        tags: TagPatch,
        properties: Option<Json>,
    }
    let body: Body = call.json()?;
    call::tag_values(&body.tags)?;
    call::object("properties", body.properties.as_ref())?;
    let script = Update {
        who: call.who()?.clone(),
        id: call.param(0),
        tags: body.tags,
        current_task_id: body.current_task_id,
        properties: body.properties,
    };
    call.write(200, script, |conversation| One { conversation }).await
}

async fn delete(call: Call) -> Answer {
    call.app.store.write(Delete { who: call.who()?.clone(), id: call.param(0) }).await?;
    call::empty()
}

/// `sortField` and `sortDirection`.
pub(crate) fn sort(query: &Query) -> Result<Sort, Refusal> {
    let field = query.word("sortField", sort_field, "createdAt, updatedAt")?.unwrap_or_default();
    let direction =
        query.word("sortDirection", |word| matches!(word, "asc" | "desc").then_some(word == "asc"), "asc, desc")?;
    Ok(Sort { field, ascending: direction.unwrap_or(false) })
}

pub(crate) fn sort_field(word: &str) -> Option<SortField> {
    match word {
        "createdAt" => Some(SortField::CreatedAt),
        "updatedAt" => Some(SortField::UpdatedAt),
        _ => None,
    }
}

/// `afterDate` and `beforeDate`.
pub(crate) fn range(query: &Query) -> Result<Range, Refusal> {
    Ok(Range { after: query.at("afterDate")?, before: query.at("beforeDate")? })
}

async fn list(call: Call) -> Answer {
    let query = &call.query;
    let list = List {
        who: call.who()?.clone(),
        tags: call.tag_filters()?,
        participants: query.all("participantIds"),
        integration: query.text("integrationName"),
        channel: query.text("channel"),
        range: range(query)?,
        min_messages: query.int("minMessageCount")?,
        max_messages: query.int("maxMessageCount")?,
        sort: sort(query)?,
        page: call.page()?,
        snapshot: None,
    };
    let page = call.app.store.list_conversations(list).await?;
    call.list("conversations", &page)
}
