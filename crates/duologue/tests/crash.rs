//! An acknowledged write survives `kill -9`: the server is killed under load, again and again, and
//! after each restart everything that it had acknowledged must be there, once and in order.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use duologue_client::{
    Client, CreateConversation, CreateEvent, CreateMessage, CreateUser, Error, Message, SetState, StateType,
    id::{ConversationId, Generator, IntegrationId, UserId},
};
use serde_json::json;
use support::{Server, duologue};
use tokio::sync::Semaphore;

const ROUNDS: usize = 5;
const CONVERSATIONS: usize = 5;
const CLIENTS: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_writes_survive_on_sqlite() {
    let server = survive(None).await;
    // The same, seen by the engine and by the rules between rows.
    let verify = duologue("verify").args(&[server.data.to_str().unwrap()]).run().success();
    assert!(verify.stdout.contains("is whole"), "{}", verify.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_writes_survive_on_postgres() {
    if let Some(database) = support::postgres().await {
        survive(Some(&database)).await;
    }
}

async fn survive(database: Option<&str>) -> Server {
    let mut server = Server::start_on(database);
    let scene = Scene::build(&server).await;
    let mut ledger = Ledger::default();
    for round in 0..ROUNDS {
        let moment = Duration::from_millis(150 + random(600));
        eprintln!("round {round}: killed after {moment:?}");
        let mut load = tokio::task::JoinSet::new();
        let answered = Arc::new(Semaphore::new(0));
        for client in 0..CLIENTS {
            let name = format!("{round}-{client}");
            load.spawn(work(scene.writer(&server), scene.clone(), name, answered.clone()));
        }
        // However slow the machine is, something is answered before the power goes.
        answered.acquire().await.unwrap().forget();
        tokio::time::sleep(moment).await;
        server.kill();
        let before = ledger.messages.len();
        while let Some(done) = load.join_next().await {
            ledger.add(done.unwrap());
        }
        assert!(ledger.messages.len() > before, "it was killed too early to test anything");
        server.restart();
        ledger.check(&server, &scene).await;
        ledger.retry(&server, &scene).await;
        ledger.check(&server, &scene).await;
    }
    let Ledger { messages, events, states, retried, .. } = &ledger;
    eprintln!("{} messages, {} events, {} states; {retried} repeated", messages.len(), events.len(), states.len());
    assert!(ledger.retried > 0, "no request was under way when the server was killed");
    server
}

fn random(below: u64) -> u64 {
    u64::from_le_bytes(Generator::system().bytes()) % below
}

/// Who speaks, and where.
#[derive(Clone)]
struct Scene {
    integration: IntegrationId,
    conversations: Vec<ConversationId>,
    user: UserId,
}

impl Scene {
    async fn build(server: &Server) -> Self {
        let integration = server.install_integration("crash").await;
        let client = server.client().with_integration(&integration, None).unwrap();
        let user = client.create_user(CreateUser::new()).await.unwrap().id;
        let mut conversations = Vec::new();
        for _ in 0..CONVERSATIONS {
            conversations.push(client.create_conversation(CreateConversation::new("channel")).await.unwrap().id);
        }
        Scene { integration, conversations, user }
    }

    /// An integration's client: what it brings in causes events.
    fn writer(&self, server: &Server) -> Client {
        server.client().with_integration(&self.integration, None).unwrap()
    }

    /// The `n`th message of a client. Its text is unlike any other.
    fn message(&self, name: &str, n: usize) -> (String, CreateMessage) {
        let text = format!("{name}-{n}");
        let conversation = &self.conversations[n % self.conversations.len()];
        (text.clone(), CreateMessage::new(conversation, &self.user, "text", json!({ "text": text })))
    }
}

/// What a client was told, and what it was not told any more.
struct Outcome {
    name: String,
    messages: Vec<(String, Message)>,
    /// Each event's id and number.
    events: Vec<(String, usize)>,
    /// The last number that its state was acknowledged with, and the one it tried then.
    state: (usize, usize),
    /// The message whose answer never came.
    unanswered: Option<usize>,
}

/// Writes until the server is gone. Every request carries a key that it can be repeated with.
async fn work(client: Client, scene: Scene, name: String, answered: Arc<Semaphore>) -> Outcome {
    let mut outcome = Outcome { name, messages: vec![], events: vec![], state: (0, 0), unanswered: None };
    for n in 1.. {
        if let Err(error) = step(&client, &scene, n, &mut outcome).await {
            assert!(matches!(error, Error::Transport(_)), "{error}");
            break;
        }
        answered.add_permits(1);
    }
    outcome
}

async fn step(client: &Client, scene: &Scene, n: usize, outcome: &mut Outcome) -> Result<(), Error> {
    let (text, message) = scene.message(&outcome.name, n);
    outcome.unanswered = Some(n);
    let message = client.with_idempotency_key(&text)?.create_message(message).await?;
    outcome.messages.push((text, message));
    outcome.unanswered = None;

    outcome.state.1 = n;
    let state = SetState::new(json!({ "n": n }));
    client.set_state(StateType::Conversation, &scene.conversations[0], &outcome.name, state).await?;
    outcome.state.0 = n;

    if n.is_multiple_of(3) {
        let event = CreateEvent::new("ping", json!({ "n": n }));
        outcome.events.push((client.create_event(event).await?.id.to_string(), n));
    }
    Ok(())
}

/// What must be there.
#[derive(Default)]
struct Ledger {
    messages: HashMap<String, Message>,
    events: Vec<(String, usize)>,
    states: HashMap<String, (usize, usize)>,
    unanswered: Vec<(String, usize)>,
    retried: usize,
}

impl Ledger {
    fn add(&mut self, outcome: Outcome) {
        self.messages.extend(outcome.messages);
        self.events.extend(outcome.events);
        self.states.insert(outcome.name.clone(), outcome.state);
        self.unanswered.extend(outcome.unanswered.map(|n| (outcome.name, n)));
    }

    /// Repeats what was under way, with its key, and some of what was answered before.
    async fn retry(&mut self, server: &Server, scene: &Scene) {
        let client = scene.writer(server);
        let answered: Vec<(String, usize)> = self
            .messages
            .keys()
            .take(20)
            .map(|text| text.rsplit_once('-').map(|(name, n)| (name.to_owned(), n.parse().unwrap())).unwrap())
            .collect();
        self.retried += self.unanswered.len();
        for (name, n) in answered.into_iter().chain(std::mem::take(&mut self.unanswered)) {
            let (text, message) = scene.message(&name, n);
            let message = client.with_idempotency_key(&text).unwrap().create_message(message).await.unwrap();
            let known = self.messages.insert(text, message.clone());
            assert!(known.is_none_or(|known| known == message), "a repeated request was applied again");
        }
    }

    async fn check(&self, server: &Server, scene: &Scene) {
        let found = self.check_messages(server, scene).await;
        self.check_states(&scene.writer(server), scene).await;
        self.check_events(&server.client(), &found).await;
    }

    /// Every acknowledged message is there as it was answered, each text once, in a strict order.
    async fn check_messages(&self, server: &Server, scene: &Scene) -> HashMap<String, Message> {
        let client = server.client();
        let mut found = HashMap::new();
        for id in &scene.conversations {
            let listed = client.list_messages().conversation(id).page_size(100).all().await.unwrap();
            let newest_first = listed.windows(2).all(|pair| pair[0].created_at > pair[1].created_at);
            assert!(newest_first, "createdAt doesn't increase strictly in {id}");
            let conversation = client.get_conversation(id).await.unwrap();
            assert_eq!(usize::try_from(conversation.message_count).unwrap(), listed.len());
            for message in listed {
                let text = message.payload.value()["text"].as_str().unwrap().to_owned();
                assert!(found.insert(text.clone(), message).is_none(), "{text} is there twice");
            }
        }
        for (text, message) in &self.messages {
            assert_eq!(found.get(text), Some(message), "{text} was acknowledged");
        }
        // What was under way may have been written; nothing else.
        let under_way: HashSet<String> = self.unanswered.iter().map(|(name, n)| format!("{name}-{n}")).collect();
        for text in found.keys() {
            assert!(self.messages.contains_key(text) || under_way.contains(text), "nobody sent {text}");
        }
        found
    }

    /// A state is as it was acknowledged last, or as the request under way wanted it.
    async fn check_states(&self, client: &Client, scene: &Scene) {
        for (name, (acknowledged, tried)) in &self.states {
            let n = match client.get_state(StateType::Conversation, &scene.conversations[0], name).await {
                Ok(state) => state.payload.value()["n"].as_u64().unwrap() as usize,
                Err(error) if error.is_not_found() => 0,
                Err(error) => panic!("{error}"),
            };
            assert!(n == *acknowledged || n == *tried, "the state of {name} is {n}, not {acknowledged}");
        }
    }

    /// Each message has its one event, no event is without its message, and those that were made on
    /// their own are there.
    async fn check_events(&self, client: &Client, messages: &HashMap<String, Message>) {
        let events = client.list_events().page_size(100).all().await.unwrap();
        let about: Vec<&str> = events.iter().filter_map(|event| event.message_id.as_deref()).collect();
        let distinct: HashSet<&str> = about.iter().copied().collect();
        assert_eq!(about.len(), distinct.len(), "a message has two events");
        assert!(distinct == messages.values().map(|message| message.id.as_str()).collect());

        let made: HashMap<&str, usize> = events
            .iter()
            .filter_map(|event| Some((event.id.as_str(), event.payload.value().get("n")?.as_u64()? as usize)))
            .collect();
        for (event, n) in &self.events {
            assert_eq!(made.get(event.as_str()), Some(n), "{event} was acknowledged");
        }
    }
}
