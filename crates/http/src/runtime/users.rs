//! `/v1/chat/users` (`spec/cloud/runtime.md` § 6).

use std::collections::BTreeMap;

use duologue_calls::{Made, Wanted};
use duologue_model::{Error as Refusal, Json, User, tags::TagPatch};
use duologue_store::users::{Create, Delete, GetOrCreate, List, NewUser, Update};
use serde::{Deserialize, Serialize};

use super::{
    conversations::{Created, range, sort, sort_field},
    creation::{delegated, kept},
};
use crate::{
    body::nullable,
    call::{self, Call},
    envelope::Failure,
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[
    route!(Runtime POST "/v1/chat/users" createUser create),
    route!(Runtime GET "/v1/chat/users" listUsers list),
    route!(Runtime POST "/v1/chat/users/get-or-create" getOrCreateUser get_or_create),
    route!(Runtime GET "/v1/chat/users/{id}" getUser get),
    route!(Runtime PUT "/v1/chat/users/{id}" updateUser update),
    route!(Runtime DELETE "/v1/chat/users/{id}" deleteUser delete),
];

const MOST_NAME: usize = 200;
const MOST_PICTURE: usize = 40_000;

#[derive(Serialize)]
struct One {
    user: User,
}

#[derive(Serialize)]
struct Found {
    user: User,
    meta: Created,
}

/// What a user is made of, in bodies.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Body {
    tags: TagPatch,
    integration_name: Option<String>,
    name: Option<String>,
    picture_url: Option<String>,
    properties: Option<Json>,
    #[serde(default)]
    attributes: BTreeMap<String, Option<String>>,
    #[serde(default)]
    discriminate_by_tags: Vec<String>,
}

impl Body {
    pub(crate) fn checked(self) -> Result<(NewUser, Vec<String>), Refusal> {
        call::tag_values(&self.tags)?;
        call::text("name", self.name.as_deref().unwrap_or_default(), MOST_NAME)?;
        call::text("pictureUrl", self.picture_url.as_deref().unwrap_or_default(), MOST_PICTURE)?;
        call::object("properties", self.properties.as_ref())?;
        let new = NewUser {
            tags: self.tags,
            name: self.name,
            picture_url: self.picture_url,
            properties: self.properties,
            attributes: self.attributes,
            integration: self.integration_name.filter(|name| !name.is_empty()),
        };
        Ok((new, self.discriminate_by_tags))
    }
}

async fn create(call: Call) -> Answer {
    let (new, by) = call.json::<Body>()?.checked()?;
    if let Some(wanted) = delegated(&call, new.integration.as_ref(), Made::User, &new.tags, &by).await? {
        if let Some(kept) = kept(&call).await? {
            return Ok(kept);
        }
        let (script, _) = made_by_integration(&call, new, wanted).await?;
        return call.write(201, script, |user| One { user }).await;
    }
    call.write(201, Create { who: call.who()?.clone(), new }, |user| One { user }).await
}

async fn get_or_create(call: Call) -> Answer {
    let (mut new, mut by) = call.json::<Body>()?.checked()?;
    let who = call.who()?.clone();
    let delegated = delegated(&call, new.integration.as_ref(), Made::User, &new.tags, &by).await?;
    if let Some(wanted) = &delegated {
        if let Some(kept) = kept(&call).await? {
            return Ok(kept);
        }
        (new.tags, by) = (wanted.tags.clone(), wanted.by.clone());
    }
    let wanted = GetOrCreate { who, new, by };
    if (delegated.is_some() || !call.is_keyed())
        && let Some(user) = call.app.store.find_user(&wanted).await?
    {
        return call::ok(&Found { user, meta: Created { created: false } });
    }
    if let Some(asked) = delegated {
        let (script, created) = made_by_integration(&call, wanted.new, asked).await?;
        return call.write(200, script, move |user| Found { user, meta: Created { created } }).await;
    }
    call.write(200, wanted, |(user, created)| Found { user, meta: Created { created } }).await
}

/// Has an integration make a user; answers what remains to be written, and whether the user is new.
async fn made_by_integration(call: &Call, new: NewUser, wanted: Wanted) -> Result<(Update, bool), Failure> {
    let tags = wanted.tags.clone();
    let made = call.app.calls.create(wanted).await?;
    let script = Update {
        who: call.who()?.clone(),
        id: made.id,
        tags,
        name: new.name.map(Some),
        picture_url: new.picture_url.map(Some),
        properties: new.properties,
        attributes: new.attributes,
    };
    Ok((script, made.created))
}

async fn get(call: Call) -> Answer {
    let user = call.app.store.get_user(call.who()?.clone(), call.param(0)).await?;
    call::ok(&One { user })
}

async fn update(call: Call) -> Answer {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        #[serde(default)]
        tags: TagPatch,
        #[serde(default, deserialize_with = "nullable")]
        name: Option<Option<String>>,
        #[serde(default, deserialize_with = "nullable")]
        picture_url: Option<Option<String>>,
        properties: Option<Json>,
        #[serde(default)]
        attributes: BTreeMap<String, Option<String>>,
    }
    let body: Body = call.json()?;
    call::tag_values(&body.tags)?;
    call::text("name", body.name.iter().flatten().next().map_or("", String::as_str), MOST_NAME)?;
    call::text("pictureUrl", body.picture_url.iter().flatten().next().map_or("", String::as_str), MOST_PICTURE)?;
    call::object("properties", body.properties.as_ref())?;
    let script = Update {
        who: call.who()?.clone(),
        id: call.param(0),
        tags: body.tags,
        name: body.name,
        picture_url: body.picture_url,
        properties: body.properties,
        attributes: body.attributes,
    };
    call.write(200, script, |user| One { user }).await
}

async fn delete(call: Call) -> Answer {
    call.app.store.write(Delete { who: call.who()?.clone(), id: call.param(0) }).await?;
    call::empty()
}

async fn list(call: Call) -> Answer {
    let query = &call.query;
    let list = List {
        who: call.who()?.clone(),
        conversation: query.text("conversationId"),
        tags: call.tag_filters()?,
        range: range(query)?,
        range_field: query.word("rangeField", sort_field, "createdAt, updatedAt")?.unwrap_or_default(),
        sort: sort(query)?,
        page: call.page()?,
        snapshot: None,
    };
    let page = call.app.store.list_users(list).await?;
    call.list("users", &page)
}
