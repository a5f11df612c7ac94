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

#[path = "../../sdk/examples/echo.rs"]
#[allow(dead_code)]
mod echo;

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use duologue_client::{
    Client, Conversation, CreateConversation, CreateEvent, CreateMessage, CreateUser, CreateWorkflow, Direction,
    EventStatus, StateType, User, WorkflowStatus,
};
use duologue_sdk::{
    Bot, BotEvent, BotState, Definition, Dependency, Deployed, Deployment, Dev, Error, Scope, deploy, dev,
};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use support::Server;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A server with a bot that listens elsewhere, and somebody who speaks to it through an integration.
struct Scene {
    server: Server,
    client: Client,
    integration: Client,
    ada: User,
    conversation: Conversation,
    /// Where the bot listens.
    url: String,
}

impl Scene {
    async fn new(bot: Bot) -> Self {
        let server = Server::start();
        let client = server.client();
        let integration = client.with_integration(server.install_integration("webchat").await, None).unwrap();
        let ada = integration.create_user(CreateUser::new().name("Ada")).await.unwrap();
        let conversation = integration.create_conversation(CreateConversation::new("channel")).await.unwrap();
        let url = serve(bot, &client).await;
        Scene { server, client, integration, ada, conversation, url }
    }

    fn admin(&self) -> Client {
        self.client.with_workspace(&self.server.workspace).unwrap()
    }

    async fn deploy(&self, definition: &Definition) -> Result<Deployed, Error> {
        let deployment = Deployment::new().url(&self.url).keep_integrations();
        deploy(&self.admin(), self.server.bot.as_str(), definition, deployment).await
    }

    /// Says something to the bot, and gives what it says meanwhile.
    async fn hear(&self, text: &str) -> Vec<String> {
        let message = CreateMessage::new(&self.conversation.id, &self.ada.id, "text", json!({ "text": text }));
        self.during(async { drop(self.integration.create_message(message).await.unwrap()) }).await
    }

    /// Lets a state of the conversation expire as if its time had passed, and gives what the bot says to it.
    async fn expire(&self, name: &str) -> Vec<String> {
        let soon = Duration::from_millis(1);
        self.during(async {
            let id = &self.conversation.id;
            self.client.set_state_expiry(StateType::Conversation, id, name, soon).await.unwrap();
            self.eventually(async || !self.client.list_events().kind("state_expired").all().await.unwrap().is_empty())
                .await;
        })
        .await
    }

    /// What the bot says until everything that came of something is done.
    async fn during(&self, something: impl Future<Output = ()>) -> Vec<String> {
        let before = self.said().await.len();
        something.await;
        let pending = async || self.client.list_events().status(EventStatus::Pending).all().await.unwrap();
        self.eventually(async || pending().await.is_empty()).await;
        self.said().await.split_off(before)
    }

    /// All that the bot has said in the conversation, oldest first.
    async fn said(&self) -> Vec<String> {
        let messages = self.client.list_messages().conversation(&self.conversation.id).all().await.unwrap();
        let of_bot = messages.iter().rev().filter(|message| message.direction == Direction::Outgoing);
        of_bot.map(|message| message.payload.value()["text"].as_str().unwrap_or(&message.kind).to_owned()).collect()
    }

    async fn eventually(&self, mut is_so: impl AsyncFnMut() -> bool) {
        let waiting = async {
            while !is_so().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("waited in vain");
    }

    /// Why the bot didn't take what it is told now.
    async fn refuses(&self, text: &str) -> String {
        let failed = async || self.client.list_events().status(EventStatus::Failed).all().await.unwrap();
        let before = failed().await.len();
        assert_eq!(self.hear(text).await, Vec::<String>::new());
        let after = failed().await;
        assert_eq!(after.len(), before + 1, "{after:?}");
        // The latest come first.
        after.into_iter().next().unwrap().failure_reason.unwrap()
    }

    /// Every event was processed.
    async fn all_is_well(&self) {
        for status in [EventStatus::Failed, EventStatus::Ignored] {
            let events = self.client.list_events().status(status).all().await.unwrap();
            assert!(events.is_empty(), "{events:?}");
        }
    }
}

/// Serves a bot; answers where.
async fn serve(bot: Bot, client: &Client) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(bot.client(client.clone()).service().unwrap().listen(listener, std::future::pending()));
    url
}

/// Whether a bot answers there.
async fn is_healthy(address: &str) -> bool {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: bot\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.ends_with("\r\n\r\nok")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guide_step_by_step() {
    let scene = Scene::new(guide::bot()).await;
    let deployed = guide::deploy(&scene.admin(), &scene.server.bot, &scene.url).await.unwrap();
    assert_eq!(deployed.failed, []);
    let bot = deployed.bot.json().value();
    assert_eq!(bot["states"]["basket"]["expiry"], 900_000);
    assert_eq!(bot["recurringEvents"]["everyMorning"]["schedule"]["cron"], "0 8 * * *");
    assert_eq!(bot["integrations"]["webchat"]["name"], "webchat");
    // It was told of its registration.
    let counter = async || scene.client.get_state(StateType::Bot, &scene.server.bot, "counter").await;
    scene.eventually(async || counter().await.is_ok()).await;
    assert_eq!(counter().await.unwrap().payload.value(), json!({"orders": 0}));

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

    let opened = CreateEvent::new("opened", json!({"page": 1})).conversation_id(scene.conversation.id.clone());
    let said = scene.during(async { drop(scene.integration.create_event(opened).await.unwrap()) }).await;
    assert_eq!(said, [r#"Opened with {"page":1}"#]);
    let due = CreateEvent::new("dailyReport", json!({"topics": ["orders", "returns"]}));
    let said = scene.during(async { drop(scene.client.create_event(due).await.unwrap()) }).await;
    assert_eq!(said, ["Report on orders, returns"]);

    // Actions
    assert_eq!(scene.hear("ask price").await, ["250 cents"]);
    let refused = scene.client.call_action("price", json!({"item": "gold"})).await.unwrap_err();
    assert!(refused.to_string().contains("Runtime: We have no gold."), "{refused}");

    // Workflows
    let before = scene.said().await.len();
    scene.hear("start delivery").await;
    let workflows = async |status| scene.client.list_workflows().status(status).all().await.unwrap();
    scene.eventually(async || workflows(WorkflowStatus::Completed).await.len() == 1).await;
    assert_eq!(scene.said().await[before..], ["delivery is pending", "Parcel 1 of 2", "Parcel 2 of 2"]);
    let done = workflows(WorkflowStatus::Completed).await.remove(0);
    assert_eq!(done.output.value(), json!({"parcels": 2}));
    let progress = scene.client.get_state(StateType::Workflow, &done.id, "progress").await.unwrap();
    assert_eq!(progress.payload.value(), json!({"done": 2}));
    let late = CreateWorkflow::new("delivery", WorkflowStatus::Listening)
        .input(json!({"parcels": 1}))
        .conversation_id(scene.conversation.id.clone())
        .timeout_at(duologue_sdk::now().plus_millis(50));
    let said = scene
        .during(async {
            scene.client.create_workflow(late).await.unwrap();
            scene.eventually(async || workflows(WorkflowStatus::Failed).await.len() == 1).await;
        })
        .await;
    assert_eq!(said, ["Your parcels are back at the depot"]);

    // Deletion
    assert_eq!(scene.hear("states").await, ["1 visits, 2 orders"]);
    scene.hear("erase me").await;
    assert!(scene.client.get_user(&scene.ada.id).await.unwrap_err().is_not_found());
    let user = scene.ada.id.to_string();
    assert!(scene.client.get_state(StateType::User, user, "profile").await.unwrap_err().is_not_found());
    scene.all_is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn appointments_are_made_and_forgotten() {
    let scene = Scene::new(appointment::bot()).await;
    scene.deploy(appointment::bot().definition()).await.unwrap();
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
    scene.all_is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_go_to_their_subscribers() {
    let scene = Scene::new(daily_report::bot()).await;
    let deployed = scene.deploy(daily_report::bot().definition()).await.unwrap();
    let recurring = &deployed.bot.json().value()["recurringEvents"]["everyMorning"];
    assert_eq!((&recurring["type"], &recurring["payload"]), (&json!("reportDue"), &json!({"hours": 24})));
    assert_eq!(scene.hear("subscribe").await, ["You will have a report here every morning."]);
    // What was counted includes the question and the answer.
    let report = "The last 24 hours: 1 conversations, 4 messages.";
    assert_eq!(scene.hear("now").await, ["A report is on its way.", report]);
    assert_eq!(scene.hear("unsubscribe").await, ["No more reports here."]);
    assert_eq!(scene.hear("now").await, ["A report is on its way."]);
    let answer = scene.client.call_action("makeReport", json!({"hours": 1})).await.unwrap();
    assert_eq!(answer.output.value(), json!({"conversations": 1, "messages": 9}));
    scene.all_is_well().await;
}

/// A minute has begun: the smallest unit of schedules.
#[derive(serde::Serialize, serde::Deserialize, duologue_sdk::JsonSchema)]
struct MinuteBegan {
    answer: u8,
}
impl BotEvent for MinuteBegan {
    const TYPE: &'static str = "minuteBegan";
}

/// Takes up to a minute, beside the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_recurring_event_comes_by_itself() {
    let (heard, mut hearing) = tokio::sync::mpsc::unbounded_channel();
    let definition =
        Definition::new().event::<MinuteBegan>().recurring("everyMinute", "* * * * *", &MinuteBegan { answer: 42 });
    let bot = Bot::new(definition.clone()).on_event(move |_, began: MinuteBegan| {
        let heard = heard.clone();
        async move {
            heard.send((SystemTime::now(), began.answer)).unwrap();
            Ok(())
        }
    });
    let scene = Scene::new(bot).await;
    let deployed = scene.deploy(&definition).await.unwrap();
    assert_eq!(deployed.bot.json().value()["recurringEvents"]["everyMinute"]["schedule"], json!({"cron": "* * * * *"}));
    let (at, answer) =
        tokio::time::timeout(Duration::from_secs(75), hearing.recv()).await.expect("a minute has begun").unwrap();
    assert_eq!(answer, 42);
    let into_minute = at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() % 60_000;
    assert!(into_minute < 10_000, "it came {into_minute} ms after the minute began");
    let processed = async || scene.client.list_events().status(EventStatus::Processed).all().await.unwrap();
    scene.eventually(async || !processed().await.is_empty()).await;
    let event = processed().await.remove(0);
    assert_eq!((event.kind.as_str(), event.payload.value()), ("minuteBegan", json!({"answer": 42})));
    scene.all_is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_calls_are_taken_and_others_refused() {
    let scene = Scene::new(echo::bot()).await;
    let (admin, bot) = (scene.admin(), scene.server.bot.as_str());
    let deployed = |url: &str, signed: bool| {
        let deployment = Deployment::new().url(url).keep_integrations();
        let deployment = if signed { deployment.signed() } else { deployment };
        let admin = admin.clone();
        async move { deploy(&admin, bot, echo::bot().definition(), deployment).await.unwrap() }
    };
    let first = deployed(&scene.url, true).await;
    assert_eq!(first.bot.json().value()["authentication"], "hmac-sha256");
    assert_eq!(scene.hear("I don't look").await, ["I don't look"]);
    let old = first.signing_secret.unwrap();

    let with = async |secret: &str| serve(echo::bot().signing_secret(secret), &scene.client).await;
    let by_old = with(&old).await;
    deployed(&by_old, true).await;
    assert_eq!(scene.hear("signed").await, ["signed"]);
    let wrong = "the signature is not by the bot's signing secret";
    deployed(&with("another secret").await, true).await;
    assert_eq!(scene.refuses("for others").await, wrong);

    // While it is being rotated both secrets are good.
    let new = admin.rotate_bot_signing_secrets(bot).await.unwrap();
    assert_ne!(new, old);
    let by_new = with(&new).await;
    for url in [&by_new, &by_old] {
        let again = deployed(url, true).await;
        assert_eq!(again.signing_secret.as_ref(), Some(&new));
        assert_eq!(scene.hear("both").await, ["both"]);
    }
    // A day later the old one isn't.
    let elapsed = "UPDATE bots SET old_signing_secret_until = old_signing_secret_until - 86400000";
    assert!(scene.server.execute(elapsed).await > 0);
    deployed(&by_old, true).await;
    assert_eq!(scene.refuses("a day later").await, wrong);
    deployed(&by_new, true).await;
    assert_eq!(scene.hear("the new one").await, ["the new one"]);

    // A change that says nothing of it keeps it; `null` ends it.
    deployed(&by_new, false).await;
    assert_eq!(scene.hear("still signed").await, ["still signed"]);
    admin.update_bot(bot, json!({"authentication": null})).await.unwrap();
    assert_eq!(scene.refuses("signed no more").await, "the request isn't signed");
    let refused = admin.update_bot(bot, json!({"authentication": "md5"})).await.unwrap_err();
    assert!(refused.to_string().contains("InvalidPayload"), "{refused}");
    admin.update_bot(bot, json!({"authentication": "iam"})).await.unwrap();
    assert_eq!(scene.refuses("iam").await, "the request isn't signed");
}

/// What the server sends: the head of the request, and its body.
async fn recorded(listener: &TcpListener) -> (String, Vec<u8>) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await.unwrap();
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        if body.len() == length.parse::<usize>().unwrap() {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}").await.unwrap();
            return (head.to_owned(), body.as_bytes().to_vec());
        }
    }
}

/// Sends a request to a bot as it was recorded; answers the status.
async fn replayed(url: &str, head: &str, body: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
    let mut request = format!("{head}\r\nconnection: close\r\n\r\n").into_bytes();
    request.extend_from_slice(body);
    stream.write_all(&request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_signed_counts_for_its_body_and_its_time() {
    let scene = Scene::new(echo::bot()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (admin, change) = (scene.admin(), json!({"url": url, "authentication": "hmac-sha256"}));
    let (updated, (head, body)) =
        tokio::join!(admin.update_bot(scene.server.bot.as_str(), change), recorded(&listener));
    assert!(head.contains("x-bp-operation: register"), "{head}");
    let secret = updated.unwrap().json().value()["signingSecret"].as_str().unwrap().to_owned();
    let signature = head.lines().find_map(|line| line.strip_prefix("x-bp-signature: ")).unwrap();
    let (at, _) = signature.strip_prefix("t=").unwrap().split_once(',').unwrap();
    let sent: u64 = at.parse().unwrap();
    let signed_at = |at: u64| {
        let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        let mac = mac.chain_update(format!("{at}.")).chain_update(&body).finalize().into_bytes();
        let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("t={at},v1={hex}")
    };
    assert_eq!(signature, signed_at(sent));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert!(now.abs_diff(sent) < 60);

    let bot = serve(echo::bot().signing_secret(&secret), &scene.client).await;
    assert_eq!(replayed(&bot, &head, &body).await, 200);
    let other = String::from_utf8(body.clone()).unwrap().replacen("\"bot\"", "\"toB\"", 1);
    assert_eq!(replayed(&bot, &head, other.as_bytes()).await, 401);
    // Of this moment with the signature of another; by the right secret, but of an hour ago.
    let later = head.replace(&format!("t={sent}"), &format!("t={}", sent + 1));
    assert_eq!(replayed(&bot, &later, &body).await, 401);
    let hour_ago = head.replace(signature, &signed_at(now - 3600));
    assert_eq!(replayed(&bot, &hour_ago, &body).await, 401);
    assert_eq!(replayed(&bot, &head.replace(signature, &signed_at(now - 60)), &body).await, 200);
    let unsigned = head.replace("x-bp-signature", "x-other");
    assert_eq!(replayed(&bot, &unsigned, &body).await, 401);
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
        assert!(is_healthy(&address).await);
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
