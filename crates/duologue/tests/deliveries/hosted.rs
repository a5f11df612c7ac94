//! Bots whose code this server runs itself. Needs Node in `PATH`.

use super::on_both;

on_both! {
    uploaded_code_answers_and_its_log_can_be_followed
    code_that_crashes_at_its_start_is_waited_for
    a_new_deployment_takes_over_between_two_messages
    an_integration_that_is_hosted_speaks_to_both_owners
    a_stopped_server_leaves_nothing
    processes_end_with_a_killed_server
    without_node_the_rest_works
}

mod case {
    use std::{
        io::{BufRead, BufReader},
        path::Path,
        process::Stdio,
    };

    use duologue_client::{EventStatus, LogLine, Timestamp, id::ConversationId};
    use serde_json::{Value, json};

    use crate::{
        Place,
        support::{Server, duologue, eventually},
        text, until,
    };

    /// Answers each message through the API, as code of the SDK does, with a word of its own.
    fn bundle(word: &str) -> String {
        format!(
            r#"
            const {{ BP_API_URL, BP_TOKEN, BP_BOT_ID, SECRET_COLOR }} = process.env
            const headers = {{ authorization: `Bearer ${{BP_TOKEN}}`, 'x-bot-id': BP_BOT_ID, 'content-type': 'application/json' }}
            exports.handler = async (request) => {{
              if (request.headers['x-bp-operation'] !== 'event_received') return
              const {{ message }} = JSON.parse(request.body).event.payload
              const {{ text }} = message.payload
              const options = {{ conversationId: message.conversationId }}
              console.log(JSON.stringify({{ msg: `heard ${{text}}`, level: 'debug', options }}))
              if (text === 'loop') for (;;) {{}}
              const answer = text === 'pid' ? String(process.pid) : `{word} ${{SECRET_COLOR}} ${{text}}`
              const body = {{ conversationId: message.conversationId, userId: BP_BOT_ID, type: 'text', payload: {{ text: answer }}, tags: {{}} }}
              const said = await fetch(BP_API_URL + '/v1/chat/messages', {{ method: 'POST', headers, body: JSON.stringify(body) }})
              if (!said.ok) throw new Error(await said.text())
            }}"#
        )
    }

    async fn place(database: Option<&str>, options: &[&str]) -> Place {
        let place = Place::of(Server::prepare(database, &[]).with(options).serve()).await;
        place.change_bot(json!({ "code": bundle("first"), "secrets": { "COLOR": "blue" } })).await;
        place
    }

    impl Place {
        /// What the bot has answered, oldest first.
        async fn answers(&self, conversation: &ConversationId) -> Vec<String> {
            let mut all = self.bot.list_messages().conversation(conversation).all().await.unwrap();
            all.reverse();
            let of_bot = all.into_iter().filter(|message| message.user_id.as_str() == self.server.bot);
            of_bot.map(|message| message.payload.value()["text"].as_str().unwrap().to_owned()).collect()
        }

        async fn wait_for_answers(&self, conversation: &ConversationId, count: usize) -> Vec<String> {
            until(async || self.answers(conversation).await.len() == count).await;
            self.answers(conversation).await
        }

        async fn log(&self) -> Vec<LogLine> {
            let admin = self.server.client().with_workspace(&self.server.workspace).unwrap();
            admin.get_bot_logs(self.server.bot.as_str(), Timestamp::from_millis(0)).all().await.unwrap()
        }
    }

    fn is_running(pid: &str) -> bool {
        std::fs::read_link(Path::new("/proc").join(pid).join("exe")).is_ok()
    }

    pub async fn uploaded_code_answers_and_its_log_can_be_followed(database: Option<String>) {
        let place = place(database.as_deref(), &[]).await;
        let (conversation, user) = place.conversation().await;
        place.people.create_message(text(&conversation, &user, "hello")).await.unwrap();
        assert_eq!(place.wait_for_answers(&conversation, 1).await, ["first blue hello"]);
        place.wait_for(EventStatus::Processed, 1).await;
        until(async || !place.log().await.is_empty()).await;
        let line = place.log().await.remove(0);
        assert_eq!((line.message.as_str(), line.level.as_str()), ("heard hello", "debug"));
        assert_eq!(line.conversation_id.as_deref(), Some(conversation.as_str()));
        // The command follows what comes.
        let run = duologue("logs").args(&[&place.server.bot]).server(&place.server).run().success();
        assert!(run.stdout.ends_with(" DEBUG heard hello\n"), "{}", run.stdout);
        let mut following = duologue("logs").args(&["--follow", "--json"]).server(&place.server).piped(Stdio::piped());
        let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
        let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap()["message"].clone();
        assert_eq!(next(), "heard hello");
        place.people.create_message(text(&conversation, &user, "again")).await.unwrap();
        assert_eq!(next(), "heard again");
        following.kill().unwrap();
        following.wait().unwrap();
        // The token that the code uses is shown to nobody.
        assert_eq!(place.server.number("SELECT COUNT(*) FROM hosted_tokens").await, 1);
        let admin = place.server.client().with_workspace(&place.server.workspace).unwrap();
        assert!(admin.list_bot_api_keys(place.server.bot.as_str()).await.unwrap().is_empty());
    }

    /// Code that crashes as often as said when it is started.
    fn crashing(times: usize, crashes: &Path, code: &str) -> String {
        let file = json!(crashes);
        format!(
            "const fs = require('node:fs')\n\
             fs.appendFileSync({file}, 'x')\n\
             if (fs.readFileSync({file}, 'utf8').length <= {times}) throw new Error('not today')\n{code}"
        )
    }

    pub async fn code_that_crashes_at_its_start_is_waited_for(database: Option<String>) {
        let folder = tempfile::tempdir().unwrap();
        let (of_bot, of_integration) = (folder.path().join("bot"), folder.path().join("integration"));
        // Node keeps confined code from counting in a file.
        let place = place(database.as_deref(), &["--hosted-confined", "false"]).await;
        let admin = place.server.client().with_workspace(&place.server.workspace).unwrap();
        let carrying = "exports.handler = async (request) => {\
            if (request.headers['x-bp-operation'] !== 'message_created') return\n\
            console.log('carried ' + JSON.parse(request.body).payload.text) }";
        place.change_bot(json!({ "code": crashing(5, &of_bot, &bundle("steady")) })).await;
        let carrying = crashing(4, &of_integration, carrying);
        admin.update_integration(&place.integration, json!({ "code": carrying })).await.unwrap();
        if database.is_some() {
            // Whoever shares a database may go on with what it knew for a second.
            tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
        }

        let mut conversations = Vec::new();
        for _ in 0..3 {
            conversations.push(place.conversation().await);
        }
        for number in 0..4 {
            for (conversation, user) in &conversations {
                place.people.create_message(text(conversation, user, &number.to_string())).await.unwrap();
            }
        }
        for (conversation, _) in &conversations {
            let answers = place.wait_for_answers(conversation, 4).await;
            assert_eq!(answers, ["steady blue 0", "steady blue 1", "steady blue 2", "steady blue 3"]);
        }
        place.wait_for(EventStatus::Processed, 12).await;
        assert_eq!(std::fs::read_to_string(&of_bot).unwrap().len(), 6, "five times in vain");
        // Waiting was no attempt; neither was it for the messages that its integration carried.
        until(async || place.server.number("SELECT COUNT(*) FROM outbox").await == 0).await;
        let carried = async || {
            let own = admin.get_integration_logs(&place.integration, Timestamp::from_millis(0)).all().await.unwrap();
            own.into_iter().filter(|line| line.message.starts_with("carried")).count()
        };
        until(async || carried().await == 12).await;
        assert!(std::fs::read_to_string(&of_integration).unwrap().len() >= 5);
        let attempts = "SELECT COUNT(*) FROM delivery_attempts WHERE attempt > 1 OR outcome <> 'processed'";
        assert_eq!(place.server.number(attempts).await, 0);
        assert_eq!(place.server.number("SELECT COUNT(*) FROM dead_letters").await, 0);
        let complaint = "The process did not start: ";
        let lines = place.log().await;
        assert_eq!(lines.iter().filter(|line| line.message.starts_with(complaint)).count(), 5, "{lines:?}");
    }

    pub async fn a_new_deployment_takes_over_between_two_messages(database: Option<String>) {
        let place = place(database.as_deref(), &[]).await;
        let (conversation, user) = place.conversation().await;
        for number in 0..30 {
            place.people.create_message(text(&conversation, &user, &number.to_string())).await.unwrap();
            if number == 9 {
                place.wait_for_answers(&conversation, 10).await;
                place.change_bot(json!({ "code": bundle("second") })).await;
            }
            if number == 19 {
                place.wait_for_answers(&conversation, 20).await;
                place.change_bot(json!({ "secrets": { "COLOR": "red" } })).await;
            }
        }
        let answers = place.wait_for_answers(&conversation, 30).await;
        let expected = (0..30).map(|number| match number {
            // Whoever shares a database may go on with what it knew for a second.
            0..10 => format!("first blue {number}"),
            10..20 => format!("second blue {number}"),
            _ => format!("second red {number}"),
        });
        let expected: Vec<String> = expected.collect();
        if database.is_none() {
            assert_eq!(answers, expected);
        } else {
            let numbers = |all: &[String]| {
                all.iter().map(|text| text.split(' ').next_back().unwrap().to_owned()).collect::<Vec<_>>()
            };
            assert_eq!(numbers(&answers), numbers(&expected));
        }
        let processes = async || place.server.number("SELECT COUNT(*) FROM hosted_tokens").await;
        until(async || processes().await == 1).await;
    }

    pub async fn an_integration_that_is_hosted_speaks_to_both_owners(database: Option<String>) {
        let place = Place::of(Server::prepare(database.as_deref(), &[]).serve()).await;
        let admin = place.server.client().with_workspace(&place.server.workspace).unwrap();
        let code = r#"
            const say = (more) => console.log(JSON.stringify({ level: 'info', options: {}, ...more }))
            exports.handler = async (request) => {
              if (request.headers['x-bp-operation'] !== 'message_created') return
              const botId = request.headers['x-bot-id']
              const { payload } = JSON.parse(request.body)
              const who = process.env.BP_INTEGRATION_ID === request.headers['x-integration-id'] && !process.env.BP_BOT_ID
              say({ msg: `both ${payload.text} ${who}`, botId, visible_to_bot_owner: true, hidden_to_integration_owner: false })
              say({ msg: 'own', botId, visible_to_bot_owner: false, hidden_to_integration_owner: false })
              say({ msg: 'bot', botId, visible_to_bot_owner: true, hidden_to_integration_owner: true })
              await new Promise((done) => setTimeout(done, 5))
              say({ msg: 'unnamed', visible_to_bot_owner: true, hidden_to_integration_owner: true })
              say({ msg: 'forged', botId: 'bot_01H00000000000000000000000', visible_to_bot_owner: true, hidden_to_integration_owner: true })
            }"#;
        admin.update_integration(&place.integration, json!({ "code": code })).await.unwrap();
        let (conversation, _) = place.conversation().await;
        let bot = place.server.bot.as_str().into();
        place.bot.create_message(text(&conversation, &bot, "carried")).await.unwrap();
        until(async || place.log().await.len() == 3).await;
        let messages = |lines: Vec<LogLine>| lines.into_iter().map(|line| line.message).collect::<Vec<_>>();
        assert_eq!(messages(place.log().await), ["both carried true", "bot", "unnamed"]);
        let own = admin.get_integration_logs(&place.integration, Timestamp::from_millis(0)).all().await.unwrap();
        assert_eq!(messages(own), ["both carried true", "own"]);
        assert_eq!(place.server.number("SELECT COUNT(*) FROM logs").await, 5);
    }

    pub async fn a_stopped_server_leaves_nothing(database: Option<String>) {
        let mut place = place(database.as_deref(), &[]).await;
        let (conversation, user) = place.conversation().await;
        place.people.create_message(text(&conversation, &user, "pid")).await.unwrap();
        let pid = place.wait_for_answers(&conversation, 1).await.remove(0);
        assert!(is_running(&pid));
        place.server.stop();
        eventually(|| !is_running(&pid));
        assert_eq!(place.server.number("SELECT COUNT(*) FROM hosted_tokens").await, 0);
        let left: Vec<_> = std::fs::read_dir(place.server.data.join("hosted")).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    pub async fn processes_end_with_a_killed_server(database: Option<String>) {
        let mut place = place(database.as_deref(), &[]).await;
        let (conversation, user) = place.conversation().await;
        place.people.create_message(text(&conversation, &user, "pid")).await.unwrap();
        let pid = place.wait_for_answers(&conversation, 1).await.remove(0);
        assert!(is_running(&pid));
        // It doesn't even look at its connection to the server.
        place.people.create_message(text(&conversation, &user, "loop")).await.unwrap();
        until(async || place.log().await.iter().any(|line| line.message == "heard loop")).await;
        place.server.kill();
        eventually(|| !is_running(&pid));
    }

    pub async fn without_node_the_rest_works(database: Option<String>) {
        let place = place(database.as_deref(), &["--node", "/nowhere/node"]).await;
        let (conversation, user) = place.conversation().await;
        place.people.create_message(text(&conversation, &user, "hello")).await.unwrap();
        place.wait_for(EventStatus::Failed, 1).await;
        let reason = place.events().await.remove(0).failure_reason.unwrap();
        assert!(
            reason.contains("/nowhere/node was not found. Install Node 18 or later, or name it with --node."),
            "{reason}"
        );
        until(async || place.log().await.iter().any(|line| line.message.contains("Install Node 18"))).await;
        assert_eq!(place.bot.list_messages().conversation(&conversation).all().await.unwrap().len(), 1);
    }
}
