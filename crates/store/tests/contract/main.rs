//! The contract of the store: every case runs on both engines.
//!
//! SQLite gets a fresh file, PostgreSQL a fresh database on the server that
//! `DUOLOGUE_TEST_POSTGRES` names (a URL of a user who may create databases). Without the variable
//! the PostgreSQL half says that it was skipped.

#![allow(clippy::unwrap_used)]

mod accounts;
mod allowlist;
mod analytics;
mod audit;
mod bots;
mod catalog;
mod conversations;
mod events;
mod groups;
mod hosted;
mod idempotency;
mod integrations;
mod issues;
mod logs;
mod messages;
mod outbox;
mod scans;
mod secrets;
mod states;
mod tags;
mod timers;
mod tls;
mod transfer;
mod users;
mod v12;
mod webhooks;
mod workflows;
mod workspaces;

use std::{collections::BTreeMap, sync::Arc};

use duologue_model::{
    Identity, Json, View,
    admin::Role,
    id::{BotId, ConversationId, UserId},
    tags::TagPatch,
};
use duologue_store::{
    Location, Store, conversations as store_conversations, messages as store_messages, setup::Plan,
    users as store_users, workspaces::Actor,
};

/// A fresh store with one bot.
pub struct Bed {
    pub store: Arc<Store>,
    pub bot: BotId,
    /// The workspace of the first start, its owner's account, and the owner's token.
    pub workspace: String,
    pub owner: String,
    pub token: String,
    pub location: Location,
    _folder: Option<tempfile::TempDir>,
}

/// Runs a case on both engines.
#[macro_export]
macro_rules! contract {
    ($(#[$doc:meta])* async fn $name:ident($bed:ident: Bed) $body:block) => {
        $(#[$doc])*
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            async fn case($bed: $crate::Bed) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                case($crate::Bed::sqlite().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                match $crate::Bed::postgres().await {
                    Some(bed) => case(bed).await,
                    None => eprintln!("skipped: DUOLOGUE_TEST_POSTGRES is not set"),
                }
            }
        }
    };
}

/// The URL of a new database of its own, if there is a PostgreSQL to test with.
pub async fn database() -> Option<String> {
    let base = std::env::var("DUOLOGUE_TEST_POSTGRES").ok()?;
    let name = format!("t_{}", duologue_model::id::Generator::system().uuid().replace('-', ""));
    let (client, connection) = tokio_postgres::connect(&base, tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    client.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
    drop(client);
    connection.await.unwrap().unwrap();
    let mut url = base.clone();
    let path = url.rfind('/').unwrap();
    let tail = url.split_off(path);
    let parameters = tail.find('?').map_or(String::new(), |at| tail[at..].to_owned());
    Some(format!("{url}/{name}{parameters}"))
}

impl Bed {
    pub async fn sqlite() -> Bed {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::Sqlite(folder.path().join("duologue.db"));
        Self::open(location, Some(folder)).await
    }

    pub async fn postgres() -> Option<Bed> {
        let url = database().await?;
        Some(Self::open(Location::Postgres { url, connections: 4 }, None).await)
    }

    async fn open(location: Location, folder: Option<tempfile::TempDir>) -> Bed {
        let store = Arc::new(Store::open(&location).await.unwrap());
        let plan = Plan {
            email: "owner@localhost".into(),
            workspace: "Test".into(),
            handle: "test".into(),
            bot: "tested".into(),
            bot_id: None,
            token: None,
        };
        let made = store.first_start(plan).await.unwrap().unwrap();
        // Somebody who can be called: of others events are ignored.
        let actor = Actor { account: made.workspace.owner_id.clone(), workspace: Some(made.workspace.id.clone()) };
        let change = of(serde_json::json!({"url": "http://127.0.0.1:9/"}));
        store.update_bot(actor, made.bot.as_str().into(), change).await.unwrap();
        Bed {
            store,
            bot: made.bot,
            owner: made.workspace.owner_id,
            workspace: made.workspace.id,
            token: made.token.value.unwrap(),
            location,
            _folder: folder,
        }
    }

    /// Closes the store and opens it again, as a restart does.
    pub async fn restart(&mut self) {
        self.store.close();
        let closed = std::mem::replace(&mut self.store, Arc::new(placeholder().await));
        drop(closed);
        self.store = Arc::new(Store::open(&self.location).await.unwrap());
    }

    /// Waits until the clock of the store has gone on by so many milliseconds.
    pub async fn pass(&self, millis: i64) {
        let until = self.store.now().plus_millis(millis);
        while self.store.now() < until {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    /// The owner, about the first workspace.
    pub fn actor(&self) -> Actor {
        Actor { account: self.owner.clone(), workspace: Some(self.workspace.clone()) }
    }

    /// Somebody else, who becomes a member of the first workspace.
    pub async fn member(&self, email: &str, role: Role) -> Actor {
        let member = self.store.create_member(self.actor(), email.into(), role).await.unwrap();
        Actor { account: member.user_id.unwrap(), workspace: Some(self.workspace.clone()) }
    }

    /// Somebody else, with a workspace of their own.
    pub async fn stranger(&self, email: &str) -> Actor {
        let member = self.store.create_member(self.actor(), email.into(), Role::Viewer).await.unwrap();
        let account = member.user_id.unwrap();
        self.store.delete_member(self.actor(), member.id).await.unwrap();
        let workspace = self.store.create_workspace(account.clone(), "Elsewhere".into()).await.unwrap();
        Actor { account, workspace: Some(workspace.id) }
    }

    /// The bot's own view.
    pub fn who(&self) -> Identity {
        Identity::bot(self.bot.clone())
    }

    /// The view of an integration instance.
    pub fn integration(&self, alias: &str) -> Identity {
        Identity {
            bot: self.bot.clone(),
            view: View::Integration {
                alias: alias.into(),
                name: alias.into(),
                id: "intver_00000000000000000000000000".into(),
            },
        }
    }

    pub async fn conversation(&self, pairs: &[(&str, &str)]) -> ConversationId {
        let new =
            store_conversations::NewConversation { channel: "test".into(), tags: tags(pairs), ..Default::default() };
        self.store.write(store_conversations::Create { who: self.who(), new }).await.unwrap().id
    }

    pub async fn user(&self, pairs: &[(&str, &str)]) -> UserId {
        let new = store_users::NewUser { tags: tags(pairs), ..Default::default() };
        self.store.write(store_users::Create { who: self.who(), new }).await.unwrap().id
    }

    pub async fn say(&self, conversation: &ConversationId, user: &UserId, text: &str) -> duologue_model::Message {
        let new = message(conversation, user, text);
        self.store.write(store_messages::Create { who: self.who(), new }).await.unwrap()
    }
}

async fn placeholder() -> Store {
    let folder = tempfile::tempdir().unwrap();
    Store::open(&Location::Sqlite(folder.path().join("duologue.db"))).await.unwrap()
}

pub fn tags(pairs: &[(&str, &str)]) -> TagPatch {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), Some((*value).to_owned()))).collect::<BTreeMap<_, _>>()
}

pub fn json(value: serde_json::Value) -> Json {
    Json::of(&value)
}

pub fn message(conversation: &ConversationId, user: &UserId, text: &str) -> store_messages::NewMessage {
    store_messages::NewMessage {
        conversation: conversation.clone(),
        user: user.clone(),
        kind: "text".into(),
        payload: json(serde_json::json!({ "text": text })),
        tags: TagPatch::new(),
        origin: None,
        schedule: None,
    }
}

/// A value of the API's JSON.
pub fn of<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// The type of a refusal; panics on anything else.
pub fn refusal<T: std::fmt::Debug>(result: duologue_store::Result<T>) -> &'static str {
    match result {
        Err(duologue_store::Error::Refused(refusal)) => refusal.kind.name(),
        other => panic!("expected a refusal, got {other:?}"),
    }
}
