//! Messages to integrations, changes that they want to know of, and bots made of flows.

use super::on_both;

on_both! { integrations_carry_messages_outside bots_of_flows_answer_in_conversations_of_the_cloud_api }

mod case {
    use std::{fs, path::Path};

    use duologue_client::{CreateConversation, CreateUser, EventStatus, UpdateConversation, UpdateMessage};
    use serde_json::{Value, json};

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

    pub async fn bots_of_flows_answer_in_conversations_of_the_cloud_api(database: Option<String>) {
        let outside = TestBot::well().await;
        let folder = tempfile::tempdir().unwrap();
        write_echo(folder.path());
        let server =
            Server::prepare(database.as_deref(), &[]).with(&["--v12-data", folder.path().to_str().unwrap()]).serve();
        let admin = server.client().with_workspace(&server.workspace).unwrap();
        let integration = admin
            .create_integration(json!({
                "name": "chat", "version": "1.0.0", "title": "Chat", "description": "Of a test", "url": outside.url,
                "channels": {"channel": {"messages": {"text": {"schema": {}}}}},
            }))
            .await
            .unwrap();
        let install = json!({"integrations": {"chat": {"integrationId": integration.id, "enabled": true}}});
        admin.update_bot("shop", install).await.unwrap();
        let bot = server.client().with_bot("shop").unwrap();
        let people = bot.with_integration(&integration.id, None).unwrap();
        let conversation = people.create_conversation(CreateConversation::new("channel")).await.unwrap().id;
        let user = people.create_user(CreateUser::new()).await.unwrap().id;
        for word in ["one", "two"] {
            people.create_message(text(&conversation, &user, word)).await.unwrap();
        }
        until(async || outside.count() == 2).await;
        let heard: Vec<_> = outside.calls().iter().map(|call| call.body["payload"]["text"].clone()).collect();
        assert_eq!(heard, ["You said one", "You said two"]);
        until(async || server.number("SELECT COUNT(*) FROM outbox").await == 0).await;
        let events = bot.list_events().page_size(100).all().await.unwrap();
        assert!(events.len() == 2 && events.iter().all(|event| event.status == EventStatus::Processed));
        let said = bot.list_messages().conversation(&conversation).page_size(100).all().await.unwrap();
        assert_eq!(said.len(), 4);
    }

    /// The bot `shop`, which repeats what it is told.
    fn write_echo(folder: &Path) {
        let write = |path: &str, content: Value| {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content.to_string()).unwrap();
        };
        write("global/botpress.config.json", json!({"version": "12.31.10", "appSecret": "a secret of the tests"}));
        write("global/workspaces.json", json!([{"id": "default", "name": "Default", "bots": ["shop"]}]));
        let config = json!({
            "id": "shop", "name": "The shop", "version": "12.31.10", "defaultLanguage": "en", "languages": ["en"],
        });
        write("bots/shop/bot.config.json", config);
        let echo = json!({
            "id": "builtin_text-echo", "formData": {"text$en": "You said {{event.preview}}", "typing$en": false},
        });
        write("bots/shop/content-elements/builtin_text.json", json!([echo]));
        let node = json!({
            "id": "entry", "name": "entry", "onEnter": ["say #!builtin_text-echo"], "onReceive": null,
            "next": [{"condition": "true", "node": "END"}],
        });
        let flow = json!({"version": "0.0.1", "catchAll": {}, "startNode": "entry", "nodes": [node]});
        write("bots/shop/flows/main.flow.json", flow);
    }
}
