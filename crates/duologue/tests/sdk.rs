//! Bots in Rust against the server: deployed, spoken to, and the guide of `docs/sdk-rust.md` step by step.

#![allow(clippy::unwrap_used)]

mod support;

/// The guide's bot, as it stands in the documents.
#[path = "../../../docs/examples/sdk.rs"]
#[allow(dead_code)]
mod guide;

#[path = "../../sdk/examples/appointment.rs"]
#[allow(dead_code)]
mod appointment;

#[path = "../../sdk/examples/daily_report.rs"]
#[allow(dead_code)]
mod daily_report;

use std::{collections::HashSet, fs, path::Path, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use duologue_client::{
    Client, Conversation, CreateConversation, CreateMessage, CreateUser, Direction, Event, EventStatus, StateType, User,
};
use duologue_sdk::{Bot, BotState, Definition, Dependency, Deployment, Dev, Scope, Service, deploy, dev};
use serde_json::{Value, json};
use support::Server;

/// A server with a deployed bot, and somebody who speaks to it through an integration.
struct Scene {
    server: Server,
    client: Client,
    integration: Client,
    service: Service,
    ada: User,
    conversation: Conversation,
    delivered: HashSet<String>,
}

impl Scene {
    async fn new(bot: Bot) -> Self {
        let server = Server::start();
        let client = server.client();
        let integration = client.with_integration(server.install_integration("webchat").await, None).unwrap();
        let ada = integration.create_user(CreateUser::new().name("Ada")).await.unwrap();
        let conversation = integration.create_conversation(CreateConversation::new("channel")).await.unwrap();
        let service = bot.client(client.clone()).service().unwrap();
        Scene { server, client, integration, service, ada, conversation, delivered: HashSet::new() }
    }

    fn admin(&self) -> Client {
        self.client.with_workspace(&self.server.workspace).unwrap()
    }

    /// Says something to the bot, and gives what it says meanwhile.
    async fn hear(&mut self, text: &str) -> Vec<String> {
        let before = self.said().await.len();
        let message = CreateMessage::new(&self.conversation.id, &self.ada.id, "text", json!({ "text": text }));
        self.integration.create_message(message).await.unwrap();
        self.settle().await;
        self.said().await.split_off(before)
    }

    /// Lets a state of the conversation expire as if its time had passed, and gives what the bot says to it.
    async fn expire(&mut self, name: &str) -> Vec<String> {
        let before = self.said().await.len();
        let (conversation, soon) = (&self.conversation.id, Duration::from_millis(1));
        self.client.set_state_expiry(StateType::Conversation, conversation, name, soon).await.unwrap();
        while self.client.list_events().kind("state_expired").all().await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.settle().await;
        self.said().await.split_off(before)
    }

    /// All that the bot has said in the conversation, oldest first.
    async fn said(&self) -> Vec<String> {
        let messages = self.client.list_messages().conversation(&self.conversation.id).all().await.unwrap();
        let of_bot = messages.iter().rev().filter(|message| message.direction == Direction::Outgoing);
        of_bot.map(|message| message.payload.value()["text"].as_str().unwrap_or(&message.kind).to_owned()).collect()
    }

    /// Has every event delivered that is waiting, and what comes of it.
    async fn settle(&mut self) {
        loop {
            let events = self.client.list_events().all().await.unwrap();
            let waiting = events.into_iter().rev().filter(|event| event.status == EventStatus::Pending);
            let waiting: Vec<Event> = waiting.filter(|event| self.delivered.insert(event.id.to_string())).collect();
            if waiting.is_empty() {
                return;
            }
            for event in waiting {
                let answer = self.call("event_received", &event.kind, &json!({ "event": event })).await;
                assert_eq!(answer, (200, json!({})), "{}", event.kind);
            }
        }
    }

    /// An operation as the platform asks for it.
    async fn call(&self, operation: &str, kind: &str, body: &Value) -> (u16, Value) {
        let bot = self.admin().get_bot(self.server.bot.as_str()).await.unwrap();
        let data = bot.json().value()["configuration"]["data"].to_string();
        let request = http::Request::post("/")
            .header("x-bot-id", &self.server.bot)
            .header("x-bp-operation", operation)
            .header("x-bp-type", kind)
            .header("x-bp-configuration", STANDARD.encode(json!({ "payload": data }).to_string()))
            .body(body.to_string().into())
            .unwrap();
        let response = self.service.call(request).await;
        (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guide_step_by_step() {
    let mut scene = Scene::new(guide::bot()).await;
    let admin = scene.admin();
    let deployed = guide::deploy(&admin, &scene.server.bot, "http://127.0.0.1:1").await.unwrap();
    assert_eq!(deployed.failed, []);
    let bot = deployed.bot.json().value();
    assert_eq!(bot["states"]["basket"]["expiry"], 900_000);
    assert_eq!(bot["recurringEvents"]["everyMorning"]["schedule"]["cron"], "0 8 * * *");
    assert_eq!(bot["integrations"]["webchat"]["name"], "webchat");
    assert_eq!(scene.call("register", "register", &json!({ "bot": bot })).await, (200, json!({})));

    // Conversations
    assert_eq!(scene.hear("hello").await, ["Good day, Ada"]);
    assert_eq!(scene.hear("choose").await, ["Tea or coffee?", "image", "rating"]);
    assert_eq!(scene.hear("conversations").await, ["0 about orders"]);
    assert_eq!(scene.hear("topic").await, ["This is about orders"]);
    assert_eq!(scene.hear("conversations").await, ["1 about orders"]);
    assert_eq!(scene.hear("participants").await, ["2 take part"]);
    let messages = scene.client.list_messages().conversation(&scene.conversation.id).all().await.unwrap();
    assert_eq!(scene.hear("transcript").await, [format!("{} so far", messages.len() + 1)]);
    assert_eq!(messages.iter().find(|m| m.kind == "text").unwrap().tags.0["intent"], "reply", "the hook's tag");
    assert_eq!(scene.hear("remind").await, Vec::<String>::new());
    let scheduled = "SELECT count(*) FROM scheduled_messages";
    assert_eq!(scene.server.number(scheduled).await, 1);

    // Users
    assert_eq!(scene.hear("users").await, ["0 with gold"]);
    assert_eq!(scene.hear("promote").await, ["Ada of the Gold has gold"]);
    assert_eq!(scene.hear("users").await, ["1 with gold"]);
    assert_eq!(scene.hear("tiers").await, ["Tiers: gold"]);

    // States
    assert_eq!(scene.hear("states").await, ["1 visits, 0 orders"]);
    assert_eq!(scene.hear("states").await, ["2 visits, 0 orders"]);
    assert_eq!(scene.hear("patch").await, ["fr after 2 visits"]);
    assert_eq!(scene.hear("states of others").await, ["Ada of the Gold speaks fr"]);
    assert_eq!(scene.hear("list states").await, ["Kept: profile"]);
    let conversation = scene.conversation.id.to_string();
    let state = scene.client.get_state(StateType::Conversation, &conversation, "basket").await.unwrap();
    assert_eq!((state.expiry, state.payload.text()), (Some(900_000), r#"{"items":["tea"]}"#));
    assert_eq!(scene.hear("expiry").await, ["It stays 60000 ms"]);
    assert_eq!(scene.expire("basket").await, ["Your basket with coffee is gone"]);
    assert_eq!(scene.hear("forget").await, ["Forgotten"]);
    assert_eq!(scene.hear("forget").await, ["Forgotten"]);
    assert_eq!(scene.hear("list states").await, ["Kept: "]);

    // Events
    assert_eq!(scene.hear("order").await, ["Order 1 is placed"]);
    assert_eq!(scene.hear("order").await, ["Order 2 is placed"]);
    assert_eq!(scene.hear("later").await, ["orderPlaced is scheduled"]);
    assert_eq!(scene.hear("cancel").await, ["2 cancelled"]);

    // Actions
    let asked = json!({"type": "price", "input": {"item": "tea"}});
    let (_, answer) = scene.call("action_triggered", "action_triggered", &asked).await;
    assert_eq!(answer, json!({"output": {"cents": 250}}));

    // Deletion
    assert_eq!(scene.hear("states").await, ["1 visits, 2 orders"]);
    scene.hear("erase me").await;
    assert!(scene.client.get_user(&scene.ada.id).await.unwrap_err().is_not_found());
    let user = scene.ada.id.to_string();
    assert!(scene.client.get_state(StateType::User, user, "profile").await.unwrap_err().is_not_found());
}

#[tokio::test(flavor = "multi_thread")]
async fn appointments_are_made_and_forgotten() {
    let mut scene = Scene::new(appointment::bot()).await;
    let (admin, bot) = (scene.admin(), scene.server.bot.clone());
    let deployment = Deployment::new().url("http://127.0.0.1:1").keep_integrations();
    deploy(&admin, bot.as_str(), appointment::bot().definition(), deployment).await.unwrap();
    let ask = "Let's make an appointment. On which day?";
    assert_eq!(scene.hear("Hello").await, [ask]);
    assert_eq!(scene.hear("Monday").await, ["When?"]);
    assert_eq!(scene.hear("morning").await, ["Monday, morning: it's a date. Your appointments so far: 1."]);
    let conversation = scene.client.get_conversation(&scene.conversation.id).await.unwrap();
    assert_eq!(conversation.tags.0["appointment"], "Monday, morning");
    assert_eq!(scene.hear("Once more").await, [ask]);
    assert_eq!(scene.hear("Tuesday").await, ["When?"]);
    let gone = "We had begun to make one on Tuesday; I have let it go. Say hello to begin again.";
    assert_eq!(scene.expire("appointment").await, [gone]);
    assert_eq!(scene.hear("Hello").await, [ask]);
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_go_to_their_subscribers() {
    let mut scene = Scene::new(daily_report::bot()).await;
    let (admin, bot) = (scene.admin(), scene.server.bot.clone());
    let deployment = Deployment::new().url("http://127.0.0.1:1").keep_integrations();
    let deployed = deploy(&admin, bot.as_str(), daily_report::bot().definition(), deployment).await.unwrap();
    let recurring = &deployed.bot.json().value()["recurringEvents"]["everyMorning"];
    assert_eq!((&recurring["type"], &recurring["payload"]), (&json!("reportDue"), &json!({"hours": 24})));
    assert_eq!(scene.hear("subscribe").await, ["You will have a report here every morning."]);
    // What was counted includes the question and the answer.
    let report = "The last 24 hours: 1 conversations, 4 messages.";
    assert_eq!(scene.hear("now").await, ["A report is on its way.", report]);
    assert_eq!(scene.hear("unsubscribe").await, ["No more reports here."]);
    assert_eq!(scene.hear("now").await, ["A report is on its way."]);
    let asked = json!({"type": "makeReport", "input": {"hours": 1}});
    let (_, answer) = scene.call("action_triggered", "action_triggered", &asked).await;
    assert_eq!(answer, json!({"output": {"conversations": 1, "messages": 9}}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dev_bot_is_made_once_and_kept_up_to_date() {
    let server = Server::start();
    let admin = server.client().with_workspace(&server.workspace).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let address = support::free_address();
    let port = address.rsplit(':').next().unwrap().parse().unwrap();
    let options = || Dev::new().port(port).cache(folder.path().join("dev.json"));
    // Runs until the server has the bot as it should be.
    let run = async |definition: Definition, done: &dyn Fn(&Value) -> bool| {
        let bot = Bot::new(definition);
        let running = tokio::spawn({
            let (admin, options) = (admin.clone(), options());
            async move { dev(bot, &admin, options).await }
        });
        let found = loop {
            assert!(!running.is_finished(), "it ended: {:?}", running.await);
            let bots = admin.list_bots().dev().all().await.unwrap();
            if let [summary] = &bots[..] {
                let bot = admin.get_bot(&summary.id).await.unwrap();
                if done(&bot.json().value()) {
                    break bot;
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert_eq!(found.url.as_deref(), Some(format!("http://127.0.0.1:{port}").as_str()));
        let health = async {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
            stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        assert!(health.await.ends_with("ok"));
        running.abort();
        let _ = running.await;
        while tokio::net::TcpStream::connect(&address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        found
    };
    let first = run(Definition::new(), &|bot| bot["url"].is_string()).await;
    assert!(first.dev);
    let second = run(Definition::new().state::<Kept>(), &|bot| bot["states"]["kept"].is_object()).await;
    assert_eq!(first.id, second.id);
    // One that is gone is made again.
    admin.delete_bot(&first.id).await.unwrap();
    let third = run(Definition::new(), &|bot| bot["url"].is_string()).await;
    assert_ne!(first.id, third.id);
}

#[derive(serde::Serialize, serde::Deserialize, duologue_sdk::JsonSchema)]
struct Kept {
    n: u8,
}
impl BotState for Kept {
    const NAME: &'static str = "kept";
    const SCOPE: Scope = Scope::Bot;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_replaces_what_was_there_and_nothing_else() {
    let server = Server::start();
    let integration = server.install_integration("webchat").await;
    let admin = server.client().with_workspace(&server.workspace).unwrap();
    let bot = server.bot.as_str();
    let by_hand = json!({
        "name": "Concierge",
        "configuration": {"data": {"greeting": "Hi"}},
        "states": {"old": {"type": "bot", "schema": {}}},
        "user": {"tags": {"old": {}}},
        "tags": {"team": "a"},
    });
    admin.update_bot(bot, by_hand).await.unwrap();

    let first = deploy(&admin, bot, &guide::definition(), Deployment::new().keep_integrations()).await.unwrap();
    let whole = first.bot.json().value();
    assert_eq!(first.bot.name, "Concierge");
    assert_eq!(whole["configuration"]["data"], json!({"greeting": "Hi"}));
    let names = |whole: &Value, map: &str| -> Vec<String> { whole[map].as_object().unwrap().keys().cloned().collect() };
    assert_eq!(names(&whole, "states"), ["basket", "counter", "profile"]);
    assert_eq!(names(&whole["user"], "tags"), ["tier"]);
    assert_eq!(whole["integrations"]["webchat"]["id"], integration.as_str());
    assert_eq!((&whole["tags"], &whole["url"]), (&json!({}), &Value::Null));
    // Schemas arrive as they were made.
    let schema = duologue_sdk::schema_of::<guide::Basket>().value();
    assert_eq!(whole["states"]["basket"]["schema"], schema);
    assert!(first.signing_secret.is_some());

    // By id, with settings; and nothing else is left.
    let settings = json!({"color": "red"});
    let dependency = Dependency::id(integration.as_str()).configuration(&settings).enabled(false);
    let smaller = Definition::new().state::<Kept>().integration("chat", dependency);
    let second = deploy(&admin, bot, &smaller, Deployment::new().url("http://127.0.0.1:9/x")).await.unwrap();
    let whole = second.bot.json().value();
    assert_eq!(names(&whole, "states"), ["kept"]);
    for map in ["events", "actions", "recurringEvents"] {
        assert_eq!(whole[map], json!({}), "{map}");
    }
    assert_eq!(second.bot.url.as_deref(), Some("http://127.0.0.1:9/x"));
    assert_eq!(names(&whole, "integrations"), ["chat"]);
    assert_eq!(
        (&whole["integrations"]["chat"]["enabled"], &whole["integrations"]["chat"]["configuration"]),
        (&json!(false), &settings)
    );

    let missing = Definition::new().integration("slack", Dependency::named("slack", "latest"));
    assert!(
        matches!(deploy(&admin, bot, &missing, Deployment::new()).await, Err(duologue_sdk::Error::Client(e)) if e.is_not_found())
    );
}

#[test]
fn every_sample_in_rust_is_in_the_example() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let example = fs::read_to_string(docs.join("examples/sdk.rs")).unwrap();
    let guide = fs::read_to_string(docs.join("sdk-rust.md")).unwrap();
    let mut samples = 0;
    for block in guide.split("```rust\n").skip(1) {
        let block = block.split("```").next().unwrap();
        assert!(example.contains(block), "docs/examples/sdk.rs has no such part:\n{block}");
        samples += 1;
    }
    assert!(samples > 20, "{samples}");
}
