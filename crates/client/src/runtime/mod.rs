//! The runtime API, `/v1/chat/*`: what bots and integrations work with (`spec/cloud/runtime.md`).
//!
//! One file a noun; each holds the operations on it and the bodies they take. Operations need
//! [`crate::Builder::bot_id`], unless the token is a bot's own key.

mod actions;
mod conversations;
mod events;
mod import;
mod messages;
mod states;
mod tags;
mod tasks;
mod users;
mod workflows;

use duologue_model::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Error, Request};

pub use crate::body::{AsId, Nullable};
pub use actions::{ActionOutput, CaptureObservation, ConfigureIntegration, RegisterSchedule};
pub use conversations::{CreateConversation, GetOrCreateConversation, UpdateConversation};
pub use events::CreateEvent;
pub use import::{IMPORT_BATCH, ImportRecord, Imported};
pub use messages::{
    CreateMessage, GetOrCreateMessage, ImportMessage, IncomingMessage, InitializeIncomingMessage, Initialized,
    UpdateMessage,
};
pub use states::{GetOrSetState, PatchState, SetState};
pub use tags::{TagValue, Taggable};
pub use tasks::{CreateTask, UpdateTask};
pub use users::{CreateUser, GetOrCreateUser, UpdateUser};
pub use workflows::{CreateWorkflow, GetOrCreateWorkflow, StatusGroup, UpdateWorkflow};

/// What a get-or-create operation found or made.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct GetOrCreate<T> {
    /// The entity.
    pub item: T,
    /// Whether it was made by this call; `None` from servers that don't say.
    pub created: Option<bool>,
}

/// Sends a get-or-create call, whose answer is `{<field>: …, meta: {created}?}`.
async fn get_or_create<T: DeserializeOwned>(request: Request, field: &str) -> Result<GetOrCreate<T>, Error> {
    #[derive(Default, Deserialize)]
    struct Meta {
        created: Option<bool>,
    }
    let mut members: std::collections::HashMap<String, duologue_model::Json> = request.clone().send().await?;
    let item = members.remove(field).ok_or_else(|| request.misunderstood(format!("it has no \"{field}\"")))?;
    let meta: Meta = match members.get("meta") {
        Some(meta) => request.decode(meta.text().as_bytes())?,
        None => Meta::default(),
    };
    Ok(GetOrCreate { item: request.decode(item.text().as_bytes())?, created: meta.created })
}

/// When a message or event is delivered, if not now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Schedule {
    /// At this instant; at once if it has passed.
    DateTime(Timestamp),
    /// So many milliseconds from now.
    Delay(u64),
}
