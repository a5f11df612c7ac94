//! The bot of `docs/sdk-rust.md`: each step of the guide is a handler or a function here. As a program:
//!
//! ```sh
//! cargo run -p duologue-sdk --example guide -- dev
//! ```
//!
//! In a conversation, say the name of a step.

use std::{process::ExitCode, time::Duration};

use duologue_sdk::{
    Bot, BotAction, BotEvent, BotState, BotWorkflow, Content, Context, Definition, Dependency, Deployed, Deployment,
    Error, Expired, Failure, Incoming, JsonSchema, Result, Run, Scope,
    client::{
        Client, CreateEvent, CreateMessage, Event, EventStatus, Schedule, Sort, State, StateType, Taggable,
        TryStreamExt, UpdateConversation, UpdateUser,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What is in somebody's basket.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct Basket {
    /// Names of things.
    pub items: Vec<String>,
}

impl BotState for Basket {
    const NAME: &str = "basket";
    const SCOPE: Scope = Scope::Conversation;
    const EXPIRY: Option<Duration> = Some(Duration::from_secs(15 * 60));
}

#[derive(Serialize, Deserialize, JsonSchema)]
pub struct Profile {
    pub language: String,
    pub visits: u32,
}

impl BotState for Profile {
    const NAME: &str = "profile";
    const SCOPE: Scope = Scope::User;
}

#[derive(Serialize, Deserialize, JsonSchema)]
pub struct Counter {
    pub orders: u64,
}

impl BotState for Counter {
    const NAME: &str = "counter";
    const SCOPE: Scope = Scope::Bot;
}

#[derive(Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    pub done: u32,
}

impl BotState for Progress {
    const NAME: &str = "progress";
    const SCOPE: Scope = Scope::Workflow;
}

#[derive(Serialize, Deserialize, JsonSchema)]
pub struct OrderPlaced {
    pub order: u64,
}

impl BotEvent for OrderPlaced {
    const TYPE: &str = "orderPlaced";
    const TITLE: Option<&str> = Some("Order placed");
}

#[derive(Serialize, Deserialize, JsonSchema)]
pub struct DailyReport {
    pub topics: Vec<String>,
}

impl BotEvent for DailyReport {
    const TYPE: &str = "dailyReport";
}

pub struct Price;

#[derive(Serialize, Deserialize, JsonSchema)]
pub struct PriceOf {
    pub item: String,
}

#[derive(Serialize, Deserialize, JsonSchema)]
pub struct Amount {
    pub cents: u32,
}

impl BotAction for Price {
    const NAME: &str = "price";
    const TITLE: Option<&str> = Some("Price of an item");
    type Input = PriceOf;
    type Output = Amount;
}

pub struct Delivery;

#[derive(Serialize, Deserialize)]
pub struct Parcels {
    pub parcels: u32,
}

impl BotWorkflow for Delivery {
    const NAME: &str = "delivery";
    const TIMEOUT: Option<Duration> = Some(Duration::from_secs(60 * 60));
    type Input = Parcels;
    type Output = Parcels;
}

#[derive(Deserialize, JsonSchema)]
pub struct Settings {
    /// What the bot says to newcomers.
    pub greeting: String,
}

pub fn definition() -> Definition {
    Definition::new()
        .configuration::<Settings>()
        .state::<Basket>()
        .state::<Profile>()
        .state::<Counter>()
        .event::<OrderPlaced>()
        .event::<DailyReport>()
        .recurring("everyMorning", "0 8 * * *", &DailyReport { topics: vec!["orders".into()] })
        .action::<Price>()
        .user_tag("tier", "How much they buy")
        .conversation_tag("topic", "What it is about")
        .message_tag("intent", "What it asks for")
}

pub fn with_integration(definition: Definition) -> Definition {
    definition.integration("webchat", Dependency::named("webchat", "latest"))
}

pub fn bot() -> Bot {
    Bot::new(definition())
        .on_message("text", on_text)
        .on_event(on_order_placed)
        .on_event(on_daily_report)
        .on_event_named("webchat:opened", on_opened)
        .on_state_expired(on_basket_expired)
        .on_action::<Price>(price)
        .on_workflow_start::<Delivery>(deliver)
        .on_workflow_continue::<Delivery>(deliver)
        .on_workflow_timeout::<Delivery>(give_up)
        .before_outgoing_message("text", sign)
        .on_register(|ctx, _| async move {
            ctx.state::<Counter>().get_or_set(&Counter { orders: 0 }).await?;
            Ok(())
        })
}

async fn on_text(ctx: Context, message: Incoming) -> Result {
    let text = message.text().unwrap_or_default();
    match text.as_str() {
        "hello" => greet(&ctx, &message).await,
        "choose" => choose(&ctx).await,
        "conversations" => conversations(&ctx).await,
        "topic" => topic(&ctx, &message).await,
        "participants" => participants(&ctx, &message).await,
        "transcript" => transcript(&ctx, &message).await,
        "remind" => remind(&ctx, &message).await,
        "users" => users(&ctx).await,
        "promote" => promote(&ctx, &message).await,
        "tiers" => tiers(&ctx).await,
        "states" => states(&ctx).await,
        "patch" => patch(&ctx).await,
        "states of others" => states_of_others(&ctx, &message).await,
        "expiry" => expiry(&ctx).await,
        "list states" => list_states(&ctx, &message).await,
        "forget" => forget(&ctx).await,
        "order" => order(&ctx).await,
        "later" => later(&ctx, &message).await,
        "cancel" => cancel(&ctx).await,
        "ask price" => ask_price(&ctx).await,
        "start delivery" => start_delivery(&ctx).await,
        "clean up" => clean_up(&ctx, &message).await,
        "erase me" => erase(&ctx, &message).await,
        _ => Err(Failure::new(format!("I don't know how to {text}."))),
    }
}

// Conversations

async fn greet(ctx: &Context, message: &Incoming) -> Result {
    let settings: Settings = ctx.configuration()?;
    let name = message.user.name.as_deref().unwrap_or("stranger");
    ctx.say(format!("{}, {name}", settings.greeting)).await?;
    Ok(())
}

async fn choose(ctx: &Context) -> Result {
    ctx.say(Content::choice("Tea or coffee?", [("Tea", "tea"), ("Coffee", "coffee")])).await?;
    ctx.say(Content::image("https://example.com/cups.png")).await?;
    ctx.say(Content::new("rating", json!({ "stars": 5 }))).await?;
    Ok(())
}

async fn conversations(ctx: &Context) -> Result {
    let mut open = ctx.client().list_conversations().tag("topic", "orders").sort(Sort::UpdatedDescending).items();
    let mut count = 0;
    while let Some(conversation) = open.try_next().await? {
        println!("{} {} messages", conversation.id, conversation.message_count);
        count += 1;
    }
    ctx.say(format!("{count} about orders")).await?;
    Ok(())
}

async fn topic(ctx: &Context, message: &Incoming) -> Result {
    let change = UpdateConversation::new().tag("topic", "orders").remove_tag("draft");
    let conversation = ctx.client().update_conversation(&message.conversation_id, change).await?;
    ctx.say(format!("This is about {}", conversation.tags.0["topic"])).await?;
    Ok(())
}

async fn participants(ctx: &Context, message: &Incoming) -> Result {
    let users = ctx.client().list_participants(&message.conversation_id).all().await?;
    ctx.say(format!("{} take part", users.len())).await?;
    Ok(())
}

async fn transcript(ctx: &Context, message: &Incoming) -> Result {
    // newest first
    let messages = ctx.client().list_messages().conversation(&message.conversation_id).page_size(100).all().await?;
    for message in messages.iter().rev() {
        println!("{} {:?} {}", message.created_at, message.direction, message.payload.text());
    }
    ctx.say(format!("{} so far", messages.len())).await?;
    Ok(())
}

async fn remind(ctx: &Context, message: &Incoming) -> Result {
    let bot = ctx.bot_id().as_user();
    let reminder = CreateMessage::new(&message.conversation_id, bot, "text", json!({ "text": "Still there?" }));
    ctx.client().create_message(reminder.tag("intent", "reminder").schedule(Schedule::Delay(3_600_000))).await?;
    Ok(())
}

async fn clean_up(ctx: &Context, message: &Incoming) -> Result {
    ctx.client().delete_conversation(&message.conversation_id).await?;
    Ok(())
}

// Users

async fn users(ctx: &Context) -> Result {
    let gold = ctx.client().list_users().tag("tier", "gold").all().await?;
    ctx.say(format!("{} with gold", gold.len())).await?;
    Ok(())
}

async fn promote(ctx: &Context, message: &Incoming) -> Result {
    let change = UpdateUser::new().tag("tier", "gold").name("Ada of the Gold");
    let user = ctx.client().update_user(&message.user_id, change).await?;
    ctx.say(format!("{} has gold", user.name.unwrap_or_default())).await?;
    Ok(())
}

async fn tiers(ctx: &Context) -> Result {
    let values = ctx.client().list_tag_values(Taggable::User, "tier").all().await?;
    let values: Vec<String> = values.into_iter().map(|tag| tag.value).collect();
    ctx.say(format!("Tiers: {}", values.join(", "))).await?;
    Ok(())
}

async fn erase(ctx: &Context, message: &Incoming) -> Result {
    ctx.client().delete_user(&message.user_id).await?;
    Ok(())
}

// States

async fn states(ctx: &Context) -> Result {
    // of this conversation
    ctx.state::<Basket>().set(&Basket { items: vec!["tea".into()] }).await?;
    // of this user
    let mut profile = ctx.state::<Profile>().get_or_set(&Profile { language: "en".into(), visits: 0 }).await?;
    profile.visits += 1;
    ctx.state::<Profile>().set(&profile).await?;
    // of the bot
    let orders = match ctx.state::<Counter>().get().await? {
        Some(counter) => counter.orders,
        None => 0,
    };
    ctx.say(format!("{} visits, {orders} orders", profile.visits)).await?;
    Ok(())
}

async fn patch(ctx: &Context) -> Result {
    let profile = ctx.state::<Profile>().patch(&json!({ "language": "fr" })).await?;
    ctx.say(format!("{} after {} visits", profile.language, profile.visits)).await?;
    Ok(())
}

async fn states_of_others(ctx: &Context, message: &Incoming) -> Result {
    for user in ctx.client().list_users().conversation(&message.conversation_id).all().await? {
        if let Some(profile) = ctx.state_of::<Profile>(&user.id).get().await? {
            ctx.say(format!("{} speaks {}", user.name.unwrap_or_default(), profile.language)).await?;
        }
    }
    Ok(())
}

async fn expiry(ctx: &Context) -> Result {
    let basket = Basket { items: vec!["coffee".into()] };
    // after ten minutes without use, instead of the fifteen of its definition
    ctx.state::<Basket>().expiring(Duration::from_secs(600)).set(&basket).await?;
    // never
    ctx.state::<Basket>().set_expiry(None).await?;
    // after one minute
    let state = ctx.state::<Basket>().set_expiry(Duration::from_secs(60)).await?;
    ctx.say(format!("It stays {} ms", state.expiry.unwrap_or_default())).await?;
    Ok(())
}

async fn on_basket_expired(ctx: Context, basket: Expired<Basket>) -> Result {
    ctx.say(format!("Your basket with {} is gone", basket.value.items.join(", "))).await?;
    Ok(())
}

async fn list_states(ctx: &Context, message: &Incoming) -> Result {
    let states: Vec<State> = ctx.client().list_states(StateType::User, &message.user_id).all().await?;
    let names: Vec<&str> = states.iter().map(|state| state.name.as_str()).collect();
    ctx.say(format!("Kept: {}", names.join(", "))).await?;
    Ok(())
}

async fn forget(ctx: &Context) -> Result {
    ctx.state::<Profile>().delete().await?;
    let forgotten = ctx.state::<Profile>().get().await?.is_none();
    ctx.say(if forgotten { "Forgotten" } else { "I can't forget" }).await?;
    Ok(())
}

// Events

async fn order(ctx: &Context) -> Result {
    let mut counter = ctx.state::<Counter>().get_or_set(&Counter { orders: 0 }).await?;
    counter.orders += 1;
    ctx.state::<Counter>().set(&counter).await?;
    ctx.emit(&OrderPlaced { order: counter.orders }).await?;
    Ok(())
}

async fn on_order_placed(ctx: Context, placed: OrderPlaced) -> Result {
    ctx.say(format!("Order {} is placed", placed.order)).await?;
    Ok(())
}

async fn later(ctx: &Context, message: &Incoming) -> Result {
    ctx.emit_later(&OrderPlaced { order: 1000 }, Duration::from_secs(3600)).await?;
    // the same in full, at an instant
    let event = CreateEvent::new("orderPlaced", OrderPlaced { order: 1001 })
        .conversation_id(message.conversation_id.clone())
        .schedule(Schedule::DateTime("2100-01-01T08:00:00.000Z".parse()?));
    let event: Event = ctx.client().create_event(event).await?;
    ctx.say(format!("{} is {}", event.kind, event.status.name())).await?;
    Ok(())
}

async fn cancel(ctx: &Context) -> Result {
    let scheduled = ctx.client().list_events().kind("orderPlaced").status(EventStatus::Scheduled).all().await?;
    for event in &scheduled {
        ctx.client().cancel_scheduled_event(&event.id).await?;
    }
    ctx.say(format!("{} cancelled", scheduled.len())).await?;
    Ok(())
}

async fn on_opened(ctx: Context, event: Event) -> Result {
    ctx.say(format!("Opened with {}", event.payload.text())).await?;
    Ok(())
}

async fn on_daily_report(ctx: Context, report: DailyReport) -> Result {
    for conversation in ctx.client().list_conversations().tag("topic", "orders").all().await? {
        ctx.say_in(&conversation.id, format!("Report on {}", report.topics.join(", "))).await?;
    }
    Ok(())
}

// Actions

async fn price(_: Context, input: PriceOf) -> Result<Amount> {
    match input.item.as_str() {
        "tea" => Ok(Amount { cents: 250 }),
        other => Err(Failure::new(format!("We have no {other}."))),
    }
}

async fn ask_price(ctx: &Context) -> Result {
    let amount = ctx.call::<Price>(&PriceOf { item: "tea".into() }).await?;
    ctx.say(format!("{} cents", amount.cents)).await?;
    Ok(())
}

// Workflows

async fn start_delivery(ctx: &Context) -> Result {
    let workflow = ctx.start::<Delivery>(&Parcels { parcels: 2 }).await?;
    ctx.say(format!("{} is {}", workflow.name, workflow.status.name())).await?;
    Ok(())
}

async fn deliver(ctx: Context, run: Run<Delivery>) -> Result {
    run.acknowledge().await?;
    let mut progress = ctx.state::<Progress>().get_or_set(&Progress { done: 0 }).await?;
    progress.done += 1;
    ctx.state::<Progress>().set(&progress).await?;
    ctx.say(format!("Parcel {} of {}", progress.done, run.input.parcels)).await?;
    if progress.done == run.input.parcels {
        run.complete(&Parcels { parcels: progress.done }).await?;
    }
    Ok(())
}

async fn give_up(ctx: Context, run: Run<Delivery>) -> Result {
    run.fail("nobody was at home").await?;
    ctx.say("Your parcels are back at the depot").await?;
    Ok(())
}

// Hooks

async fn sign(_: Context, mut message: CreateMessage) -> Result<Option<CreateMessage>> {
    message.tags.insert("intent".into(), Some("reply".into()));
    Ok(Some(message))
}

// Deployment

pub async fn deploy(admin: &Client, bot: &str, url: &str) -> Result<Deployed, Error> {
    let deployment = Deployment::new().url(url).configuration(json!({ "greeting": "Good day" }));
    duologue_sdk::deploy(admin, bot, &with_integration(definition()), deployment).await
}

#[tokio::main]
async fn main() -> ExitCode {
    duologue_sdk::run(bot()).await
}
