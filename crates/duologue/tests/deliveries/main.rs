//! What is written reaches the bot, or the integration, it is meant for: in order, and whatever dies.

#![allow(clippy::unwrap_used)]

mod bot;
mod faults;
mod hosted;
mod order;
mod recurring;
#[path = "../support/mod.rs"]
mod support;
mod targets;
mod workflows;

use std::collections::HashMap;

use bot::TestBot;
use duologue_client::{
    Client, CreateConversation, CreateMessage, CreateUser, Event, EventStatus,
    id::{ConversationId, IntegrationId, UserId},
};
use serde_json::json;
use support::{Server, until};

/// Runs a case on SQLite, and on PostgreSQL if there is one.
macro_rules! on_both {
    ($($case:ident)*) => { $(
        mod $case {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                super::case::$case(None).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                if let Some(database) = $crate::support::postgres().await {
                    super::case::$case(Some(database)).await;
                }
            }
        }
    )* };
}
pub(crate) use on_both;

/// A server with a bot, and an integration through which people speak to it.
pub struct Place {
    pub server: Server,
    pub people: Client,
    pub bot: Client,
    integration: IntegrationId,
}

impl Place {
    /// The bot is at `url`; more of its definition may be given.
    pub async fn start(database: Option<&str>, bot: &TestBot, options: &[&str]) -> Place {
        let place = Place::of(Server::prepare(database, &[]).with(options).serve()).await;
        place.change_bot(json!({ "url": bot.url })).await;
        place
    }

    /// With a bot that can't be called.
    pub async fn of(server: Server) -> Place {
        let integration = server.install_integration("people").await;
        let people = server.client().with_integration(&integration, Some("people")).unwrap();
        Place { bot: server.client(), people, server, integration }
    }

    pub async fn change_bot(&self, change: serde_json::Value) {
        let admin = self.server.client().with_workspace(&self.server.workspace).unwrap();
        admin.update_bot(self.server.bot.as_str(), change).await.unwrap();
    }

    /// Clients of the server as it is now, after a restart.
    pub fn restart(&mut self) {
        self.server.restart();
        self.bot = self.server.client();
        self.people = self.people_at(&self.server);
    }

    /// The integration's client for another server on the same database.
    pub fn people_at(&self, server: &Server) -> Client {
        server.client().with_integration(&self.integration, Some("people")).unwrap()
    }

    pub async fn conversation(&self) -> (ConversationId, UserId) {
        let conversation = self.people.create_conversation(CreateConversation::new("channel")).await.unwrap().id;
        (conversation, self.people.create_user(CreateUser::new()).await.unwrap().id)
    }

    pub async fn events(&self) -> Vec<Event> {
        self.bot.list_events().page_size(100).all().await.unwrap()
    }

    /// How many events are in which state.
    pub async fn standing(&self) -> HashMap<EventStatus, usize> {
        let mut counts = HashMap::new();
        for event in self.events().await {
            *counts.entry(event.status).or_default() += 1;
        }
        counts
    }

    /// Waits until this many events are in a state.
    pub async fn wait_for(&self, status: EventStatus, count: usize) {
        until(async || self.standing().await.get(&status).copied().unwrap_or(0) == count).await;
    }
}

pub fn text(conversation: &ConversationId, user: &UserId, text: &str) -> CreateMessage {
    CreateMessage::new(conversation, user, "text", json!({ "text": text }))
}
