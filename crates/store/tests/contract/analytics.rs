//! What stored data says about a bot's days.

use std::collections::BTreeMap;

use duologue_model::{
    Identity, Json, Message, Timestamp, View,
    id::{ConversationId, UserId},
};
use duologue_store::{
    analytics::{Day, Report, Track},
    conversations, events, messages, params,
    tx::{Script, Tx},
    users,
};
use serde_json::json;

use crate::{Bed, contract, message, of, refusal};

const DAY: i64 = 24 * 60 * 60 * 1000;

fn report(bed: &Bed, from: Timestamp, to: Timestamp) -> Report {
    Report { actor: bed.actor(), bot: bed.bot.to_string(), from, to }
}

/// The day of the present instant and so many days before it.
async fn days(bed: &Bed, before: i64) -> Vec<Day> {
    let now = bed.store.now();
    bed.store.bot_analytics(report(bed, now.plus_millis(-before * DAY), now)).await.unwrap()
}

fn types(pairs: &[(&str, i64)]) -> BTreeMap<String, i64> {
    pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

/// Makes all that is stored so many days older.
struct Age(i64);

impl Script for Age {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> duologue_store::Result<()> {
        for table in ["users", "messages"] {
            tx.execute(&format!("UPDATE {table} SET created_at = created_at - ?1"), params![self.0 * DAY]).await?;
        }
        let day = Timestamp::from_millis(tx.now().millis() - self.0 * DAY).to_string();
        tx.execute("UPDATE analytics SET day = ?1", params![&day[..10]]).await?;
        Ok(())
    }
}

async fn track(bed: &Bed, name: &str, count: i64) {
    bed.store.write(Track { who: bed.who(), name: name.into(), count }).await.unwrap();
}

async fn happen(bed: &Bed, kind: &str) {
    let create = events::Create {
        who: bed.who(),
        kind: kind.into(),
        payload: Json::empty_object(),
        schedule: None,
        links: events::Links::default(),
    };
    bed.store.write(create).await.unwrap();
}

/// The view of an integration that is installed.
async fn mail(bed: &Bed) -> Identity {
    let channels = json!({ "test": { "messages": { "text": { "schema": {} } } } });
    let new = of(json!({ "name": "mail", "version": "1.0.0", "channels": channels }));
    let id = bed.store.create_integration(bed.actor(), new).await.unwrap().head().id.clone();
    let install = of(json!({ "integrations": { &id: {} } }));
    bed.store.update_bot(bed.actor(), bed.bot.to_string(), install).await.unwrap();
    let view = View::Integration { alias: "mail".into(), name: "mail".into(), id: id.as_str().into() };
    Identity { bot: bed.bot.clone(), view }
}

async fn talk(bed: &Bed, who: &Identity) -> ConversationId {
    let new = conversations::NewConversation { channel: "test".into(), ..Default::default() };
    bed.store.write(conversations::Create { who: who.clone(), new }).await.unwrap().id
}

async fn person(bed: &Bed, who: &Identity) -> UserId {
    let new = users::NewUser::default();
    bed.store.write(users::Create { who: who.clone(), new }).await.unwrap().id
}

async fn say(bed: &Bed, who: Identity, conversation: &ConversationId, user: &UserId) -> Message {
    bed.store.write(messages::Create { who, new: message(conversation, user, "hello") }).await.unwrap()
}

contract! {
    async fn a_day_is_counted(bed: Bed) {
        let mail = mail(&bed).await;
        let (one, two) = (talk(&bed, &mail).await, talk(&bed, &mail).await);
        let (ada, _silent) = (person(&bed, &mail).await, person(&bed, &mail).await);
        track(&bed, "clicks", 2).await;
        say(&bed, mail.clone(), &one, &ada).await;
        bed.store.write(Age(2)).await.unwrap();
        say(&bed, mail.clone(), &one, &ada).await;
        say(&bed, mail.clone(), &one, &ada).await;
        let new = person(&bed, &mail).await;
        say(&bed, mail.clone(), &two, &new).await;
        say(&bed, bed.who(), &two, &bed.bot.as_user()).await;
        happen(&bed, "placed").await;
        happen(&bed, "placed").await;
        track(&bed, "clicks", 3).await;
        track(&bed, "views", 1).await;

        let found = days(&bed, 3).await;
        let seen: Vec<_> = found.iter().map(|day| (day.new_users, day.returning_users, day.sessions, day.user_messages, day.bot_messages)).collect();
        assert_eq!(seen, [(0, 0, 0, 0, 0), (2, 0, 1, 1, 0), (0, 0, 0, 0, 0), (1, 1, 2, 3, 1)]);
        assert_eq!(found[1].event_types, types(&[("message_created", 1)]));
        assert_eq!(found[3].event_types, types(&[("message_created", 3), ("placed", 2)]));
        assert_eq!((&found[1].custom_events, &found[2].custom_events), (&types(&[("clicks", 2)]), &types(&[])));
        assert_eq!(found[3].custom_events, types(&[("clicks", 3), ("views", 1)]));
        let now = bed.store.now();
        assert!(found[3].start() <= now && now <= found[3].end());
        assert_eq!(found[3].end().millis() - found[3].start().millis(), DAY - 1);
    }
}

/// Writes the row that stands in for the event of a message that couldn't be delivered.
struct Fail {
    bot: String,
    message: String,
}

impl Script for Fail {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> duologue_store::Result<()> {
        let sql = "INSERT INTO events (bot_id, id, owner, type, status, message_id, created_at) \
                   VALUES (?1, ?2, '', 'message_created', 'failed', ?3, ?4)";
        let event = format!("evt{}", &self.message[3..]);
        tx.execute(sql, params![&self.bot, event, &self.message, tx.now()]).await?;
        Ok(())
    }
}

contract! {
    async fn an_event_that_failed_is_counted_once(bed: Bed) {
        let mail = mail(&bed).await;
        let (conversation, user) = (talk(&bed, &mail).await, person(&bed, &mail).await);
        let said = say(&bed, mail, &conversation, &user).await;
        bed.store.write(Fail { bot: bed.bot.to_string(), message: said.id.to_string() }).await.unwrap();
        assert_eq!(days(&bed, 0).await[0].event_types, types(&[("message_created", 1)]));
    }
}

contract! {
    async fn a_report_is_bounded_and_for_the_workspace(bed: Bed) {
        let now = bed.store.now();
        assert_eq!(days(&bed, 91).await.len(), 92);
        let long = report(&bed, now.plus_millis(-92 * DAY), now);
        assert_eq!(refusal(bed.store.bot_analytics(long).await), "InvalidQuery");
        assert_eq!(refusal(bed.store.bot_analytics(report(&bed, now, now.plus_millis(-DAY))).await), "InvalidQuery");
        let stranger = bed.stranger("eve@localhost").await;
        let theirs = Report { actor: stranger, ..report(&bed, now, now) };
        assert_eq!(refusal(bed.store.bot_analytics(theirs).await), "ResourceNotFound");
        let first = bed.store.bot_analytics(report(&bed, Timestamp::from_millis(0), Timestamp::from_millis(DAY))).await;
        assert_eq!(first.unwrap()[0].start().to_string(), "1970-01-01T00:00:00.000Z");
    }
}
