//! Messages to integrations, changes that they want to know of, and bots made of flows.

use super::on_both;

on_both! { integrations_carry_messages_outside }

mod case {
    use duologue_client::{CreateConversation, CreateUser, UpdateConversation, UpdateMessage};
    use serde_json::json;

    use crate::{
        bot::{Reply, TestBot},
        support::Server,
        text, until,
    };

    pub async fn integrations_carry_messages_outside(database: Option<String>) {
        let outside = TestBot::serve(|call, _| async move {
            match call.body["payload"]["text"].as_str() {
                Some("broken") => Reply::Status(500, ""),
                _ => Reply::Well,
            }
        })
        .await;
        let server = Server::start_on(database.as_deref());
        let admin = server.client().with_workspace(&server.workspace).unwrap();
        let enabled = json!({ "enabled": true });
        let integration = admin
            .create_integration(json!({
                "name": "chat", "version": "1.0.0", "title": "Chat", "description": "Of a test", "url": outside.url,
                "configuration": {"schema": {}},
                "channels": {"channel": {"messages": {"text": {"schema": {}}}}, "closed": {"messages": {}}},
                "extraOperations": {"message_updated": enabled, "conversation_updated": enabled},
            }))
            .await
            .unwrap();
        let install = json!({"integrations": {"chat": {
            "integrationId": integration.id, "enabled": true, "configuration": {"key": "k"}, "disabledChannels": ["closed"],
        }}});
        admin.update_bot(server.bot.as_str(), install).await.unwrap();
        let chat = server.client().with_integration(&integration.id, None).unwrap();
        let tagged = CreateConversation::new("channel").tag("id", "C1");
        let conversation = chat.create_conversation(tagged).await.unwrap().id;
        let closed = chat.create_conversation(CreateConversation::new("closed")).await.unwrap().id;
        chat.create_user(CreateUser::new()).await.unwrap();
        let bot = server.client();
        let own: duologue_client::id::UserId = server.bot.as_str().into();
        bot.create_message(text(&closed, &own, "unheard")).await.unwrap();
        bot.create_message(text(&conversation, &own, "broken")).await.unwrap();
        let said = bot.create_message(text(&conversation, &own, "hello").tag("mood", "good")).await.unwrap();
        until(async || outside.count() == 2).await;
        let call = &outside.calls()[1];
        assert_eq!((call.header("x-bp-operation"), call.header("x-integration-alias")), ("message_created", "chat"));
        assert_eq!(call.header("x-integration-id"), integration.id.as_str());
        assert_eq!(call.body["payload"]["text"], "hello");
        assert_eq!(call.body["conversation"]["tags"], json!({"id": "C1"}));
        assert_eq!(call.body["message"]["tags"], json!({}));
        assert_eq!((&call.body["user"]["id"], &call.body["type"]), (&json!(server.bot), &json!("text")));

        bot.update_message(&said.id, UpdateMessage::new().payload(json!({"text": "goodbye"}))).await.unwrap();
        bot.update_conversation(&conversation, UpdateConversation::new().tag("chat:id", "C2")).await.unwrap();
        until(async || outside.count() == 4).await;
        let calls = outside.calls();
        assert_eq!(calls[2].header("x-bp-operation"), "message_updated");
        assert_eq!(calls[2].body["previousMessage"]["payload"]["text"], "hello");
        assert_eq!(calls[2].body["currentMessage"]["payload"]["text"], "goodbye");
        assert_eq!(calls[3].header("x-bp-operation"), "conversation_updated");
        assert_eq!(calls[3].body["previousConversation"]["tags"], json!({"id": "C1"}));
        assert_eq!(calls[3].body["currentConversation"]["tags"], json!({"id": "C2"}));
        until(async || server.number("SELECT COUNT(*) FROM outbox").await == 0).await;
        // Somebody outside would rather miss a message than get it twice.
        assert_eq!(server.number("SELECT COUNT(*) FROM dead_letters").await, 1);
        // What the integration itself changes it isn't told of.
        chat.update_message(&said.id, UpdateMessage::new().tag("id", "M1")).await.unwrap();
        assert_eq!(server.number("SELECT COUNT(*) FROM outbox").await, 0);
    }
}
