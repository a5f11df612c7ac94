//! Bots that were made for Botpress v12.

use duologue_model::{Conversation, Identity, Json, id::BotId};
use duologue_store::v12::{
    accounts::Account,
    kvs,
    members::Member,
    timeouts::{Due, Looked},
    traces::Latest,
    turns::{Commit, Committed, Elsewhere, Memory, Said},
};
use duologue_store::{
    conversations, messages,
    page::{PageRequest, Range, Sort},
    users,
};

use crate::{Bed, contract, json};

fn account(strategy: &str, email: &str) -> Account {
    Account {
        strategy: strategy.into(),
        email: email.into(),
        password: "hash".into(),
        salt: "salt".into(),
        token_version: 1,
        attributes: Json::of(&serde_json::json!({"firstname": "Ada"})),
        is_super_admin: true,
    }
}

contract! {
    async fn members_have_a_role_in_a_workspace(bed: Bed) {
        let member = |workspace: &str, role: &str| Member {
            strategy: "default".into(),
            email: "ada@example.org".into(),
            workspace: workspace.into(),
            role: role.into(),
        };
        let brought = bed.store.bring_v12_members(vec![member("one", "dev"), member("two", "admin")]).await.unwrap();
        assert_eq!(brought, 2);
        assert_eq!(bed.store.bring_v12_members(vec![member("one", "admin")]).await.unwrap(), 0, "what is here wins");
        let role = async |strategy: &str, email: &str, workspace: &str| {
            bed.store.v12_role(strategy, email, workspace).await.unwrap()
        };
        assert_eq!(role("default", "ada@example.org", "one").await.as_deref(), Some("dev"));
        assert_eq!(role("default", "ada@example.org", "two").await.as_deref(), Some("admin"));
        for (strategy, email, workspace) in [
            ("ldap", "ada@example.org", "one"),
            ("default", "bob@example.org", "one"),
            ("default", "ada@example.org", "three"),
        ] {
            assert_eq!(role(strategy, email, workspace).await, None);
        }
    }
}

contract! {
    async fn accounts_are_kept_by_strategy_and_address(bed: Bed) {
        let store = &bed.store;
        assert!(!store.has_v12_accounts().await.unwrap());
        let ada = account("default", "ada@example.org");
        assert!(store.put_first_v12_account(ada.clone()).await.unwrap());
        assert!(!store.put_first_v12_account(account("default", "eve@example.org")).await.unwrap());
        assert_eq!(store.v12_account("default", "ada@example.org").await.unwrap().as_ref(), Some(&ada));
        assert_eq!(store.v12_account("other", "ada@example.org").await.unwrap(), None);
        assert_eq!(store.v12_account("default", "eve@example.org").await.unwrap(), None);

        assert_eq!(store.bump_v12_token_version("default", "ada@example.org").await.unwrap(), Some(2));
        assert_eq!(store.bump_v12_token_version("default", "eve@example.org").await.unwrap(), None);
        let mut changed = store.v12_account("default", "ada@example.org").await.unwrap().unwrap();
        assert_eq!(changed.token_version, 2);
        changed.attributes = json(serde_json::json!({"locked_out": true}));
        store.put_v12_account(changed.clone()).await.unwrap();
        // A decision about an account that has changed meanwhile isn't written.
        let logged_in = Account { password: "new".into(), salt: String::new(), ..changed.clone() };
        assert!(store.replace_v12_account(changed.clone(), logged_in.clone()).await.unwrap());
        assert!(!store.replace_v12_account(changed.clone(), changed).await.unwrap());
        let changed = logged_in;
        // What is here already wins over what is brought.
        let brought = store.bring_v12_accounts(vec![ada, account("ldap", "bob@example.org")]).await.unwrap();
        assert_eq!(brought, 1);
        assert_eq!(store.v12_account("default", "ada@example.org").await.unwrap(), Some(changed));
        assert!(store.v12_account("ldap", "bob@example.org").await.unwrap().is_some());
        assert!(store.has_v12_accounts().await.unwrap());
    }
}

fn object(text: &str) -> Json {
    Json::of(&serde_json::from_str::<serde_json::Value>(text).unwrap())
}

pub(crate) fn said(text: &str) -> Said {
    Said { kind: "text".into(), payload: json(serde_json::json!({"type": "text", "text": text})) }
}

pub(crate) fn turn(bed: &Bed, user: &str, before: i64, incoming: Option<&str>, replies: &[&str]) -> Commit {
    Commit {
        bot: bed.bot.clone(),
        user: user.into(),
        turns_before: before,
        incoming: incoming.map(said),
        answers: None,
        replies: replies.iter().map(|text| said(text)).collect(),
        delivered: true,
        memory: Memory {
            user: Some(object(r#"{"name":"Ada"}"#)),
            session: object(r#"{"lastMessages":[]}"#),
            context: object(r#"{"currentNode":"ask"}"#),
            temp: object(r#"{"n":1}"#),
            timeouts: 0,
            context_expires_in: Some(60_000),
            session_expires_in: 120_000,
        },
        kvs: Vec::new(),
        users: Vec::new(),
        deleted_sessions: Vec::new(),
        elsewhere: Vec::new(),
        trace: Some(object(r#"{"steps":[]}"#)),
    }
}

pub(crate) fn texts(committed: &Committed) -> Vec<String> {
    let Committed::Done(late) = committed else { panic!("stale") };
    late.iter().map(|said| said.payload.text().to_owned()).collect()
}

async fn conversations_of(bed: &Bed, bot: &BotId) -> Vec<Conversation> {
    let list = conversations::List {
        who: Identity::bot(bot.clone()),
        tags: Vec::new(),
        participants: Vec::new(),
        integration: None,
        channel: None,
        range: Range::default(),
        min_messages: None,
        max_messages: None,
        sort: Sort::default(),
        page: PageRequest::default(),
        snapshot: None,
    };
    bed.store.list_conversations(list).await.unwrap().items
}

contract! {
    async fn a_turn_is_stored_as_one(bed: Bed) {
        let store = &bed.store;
        let blank = store.recall(&bed.bot, "u/1").await.unwrap();
        assert_eq!((blank.turns, &blank.session, &blank.user, blank.context.text()), (0, &None, &None, "{}"));
        let mut first = turn(&bed, "u/1", 0, Some("hi"), &["hello", "who are you?"]);
        first.kvs = vec![kvs::Write {
            bot: Some(bed.bot.to_string()),
            change: kvs::Change::Set { key: "global".into(), value: object(r#"{"seen":1}"#), expires_in: None },
        }];
        assert!(texts(&store.write(first).await.unwrap()).is_empty());

        let now = store.recall(&bed.bot, "u/1").await.unwrap();
        assert_eq!(now.turns, 1);
        assert_eq!(now.context.text(), r#"{"currentNode":"ask"}"#);
        assert_eq!(now.user.unwrap().text(), r#"{"name":"Ada"}"#);
        assert_eq!(now.bot.unwrap().text(), r#"{"seen":1}"#);
        assert!(now.context_expires_at.unwrap() > store.now());
        // The user is one to all bots, the rest isn't.
        let elsewhere = store.recall(&"another-bot".into(), "u/1").await.unwrap();
        assert!(elsewhere.user.is_some() && elsewhere.session.is_none() && elsewhere.bot.is_none());

        let [conversation] = &conversations_of(&bed, &bed.bot).await[..] else { panic!() };
        assert_eq!((conversation.channel.as_str(), conversation.message_count), ("api", 3));
        assert_eq!(conversation.tags.0["userId"], "u/1");
        let list = messages::List {
            who: bed.who(),
            conversation: Some(conversation.id.to_string()),
            tags: Vec::new(),
            range: Range::default(),
            ascending: false,
            page: PageRequest::default(),
        };
        let messages = store.list_messages(list).await.unwrap().items;
        let mut seen: Vec<(&str, &str)> =
            messages.iter().map(|m| (m.direction.name(), m.payload.text())).collect();
        seen.reverse();
        assert_eq!(seen[0], ("incoming", r#"{"type":"text","text":"hi"}"#));
        assert_eq!((seen[1].0, seen[2].0, seen.len()), ("outgoing", "outgoing", 3));
        assert!(messages.windows(2).all(|pair| pair[0].created_at > pair[1].created_at));
        assert_eq!(store.v12_turns(&bed.bot, "u/1").await.unwrap().len(), 1);
    }
}

contract! {
    async fn a_turn_on_an_old_memory_is_refused(bed: Bed) {
        let store = &bed.store;
        store.write(turn(&bed, "u1", 0, Some("a"), &["b"])).await.unwrap();
        let stale = store.write(turn(&bed, "u1", 0, Some("a"), &["c"])).await.unwrap();
        assert_eq!(stale, Committed::Stale);
        assert_eq!(conversations_of(&bed, &bed.bot).await[0].message_count, 2);
        assert!(matches!(store.write(turn(&bed, "u1", 1, Some("a"), &["c"])).await.unwrap(), Committed::Done(_)));
    }
}

contract! {
    async fn messages_nobody_took_come_with_the_next_turn_once(bed: Bed) {
        let store = &bed.store;
        store.write(turn(&bed, "u1", 0, Some("a"), &["b"])).await.unwrap();
        let unheard = Commit { delivered: false, ..turn(&bed, "u1", 1, None, &["late one"]) };
        assert!(texts(&store.write(unheard).await.unwrap()).is_empty());
        let mut other = turn(&bed, "u2", 0, Some("x"), &[]);
        other.elsewhere = vec![Elsewhere { user: "u1".into(), said: said("late two") }];
        store.write(other).await.unwrap();
        // What the bot says through another API is late, too.
        let conversation = conversations_of(&bed, &bed.bot).await.into_iter().find(|c| c.tags.0["userId"] == "u1").unwrap();
        bed.say(&conversation.id, &bed.bot.as_user(), "late three").await;

        let next = store.write(turn(&bed, "u1", 2, Some("c"), &["d"])).await.unwrap();
        let late = texts(&next);
        assert!(late.len() == 3 && late[0].contains("late one") && late[1].contains("late two") && late[2].contains("late three"), "{late:?}");
        assert!(texts(&store.write(turn(&bed, "u1", 3, Some("e"), &["f"])).await.unwrap()).is_empty());
        assert!(store.take_late(&bed.bot, "u1").await.unwrap().is_empty());
    }
}

contract! {
    /// Later turns put a timeout off without a word to the timer, which sees that when it looks.
    async fn a_dialog_that_goes_on_is_not_due(bed: Bed) {
        let store = &bed.store;
        let waits = |user: &str, turns, millis| {
            let mut commit = turn(&bed, user, turns, Some("a"), &[]);
            commit.memory.context_expires_in = millis;
            commit
        };
        for (user, then) in [("goes on", Some(3_600_000)), ("is done", None), ("stays", Some(0))] {
            store.write(waits(user, 0, Some(0))).await.unwrap();
            store.write(waits(user, 1, then)).await.unwrap();
        }
        let Looked { due, again } = store.look_at_v12_timeouts(10).await.unwrap();
        assert_eq!(due, [Due { bot: bed.bot.clone(), user: "stays".into() }]);
        assert_eq!(again, None, "all were looked at");
        store.drop_v12_timeout(due[0].clone()).await.unwrap();
        let Looked { due, again } = store.look_at_v12_timeouts(10).await.unwrap();
        let later = store.recall(&bed.bot, "goes on").await.unwrap().context_expires_at;
        assert_eq!((due.len(), again), (0, later), "put off, one for an hour and one for good");

        // Sooner than before: the timer has to know.
        store.write(waits("goes on", 2, Some(0))).await.unwrap();
        assert_eq!(store.look_at_v12_timeouts(10).await.unwrap().due.len(), 1);
        // However many there are to put off, what is due is found.
        for turns in 0..2 {
            for user in ["p", "q", "r"] {
                store.write(waits(user, turns, (turns == 0).then_some(0))).await.unwrap();
            }
        }
        store.write(waits("goes on", 3, Some(1))).await.unwrap();
        while store.now() <= store.recall(&bed.bot, "goes on").await.unwrap().context_expires_at.unwrap() {}
        assert_eq!(store.look_at_v12_timeouts(1).await.unwrap().due.len(), 1);
    }
}

contract! {
    async fn sessions_end_and_contexts_fall_due(bed: Bed) {
        let store = &bed.store;
        let mut brief = turn(&bed, "u1", 0, Some("a"), &[]);
        brief.memory.context_expires_in = Some(0);
        store.write(brief).await.unwrap();
        let due = Due { bot: bed.bot.clone(), user: "u1".into() };
        assert_eq!(store.look_at_v12_timeouts(10).await.unwrap(), Looked { due: vec![due.clone()], again: None });
        store.drop_v12_timeout(due).await.unwrap();
        assert_eq!(store.look_at_v12_timeouts(10).await.unwrap(), Looked::default());

        let mut over = turn(&bed, "u1", 1, Some("a"), &[]);
        over.memory.session_expires_in = 0;
        store.write(over).await.unwrap();
        let left = store.recall(&bed.bot, "u1").await.unwrap();
        assert_eq!((left.session, left.context.text(), left.turns), (None, "{}", 2));
        assert!(left.user.is_some());

        store.write(turn(&bed, "u2", 0, Some("a"), &[])).await.unwrap();
        let deleting = Commit { deleted_sessions: vec!["u2".into()], ..turn(&bed, "u1", 2, Some("a"), &[]) };
        store.write(deleting).await.unwrap();
        assert_eq!(store.recall(&bed.bot, "u2").await.unwrap().session, None);
    }
}

contract! {
    async fn values_and_attributes_are_written_and_expire(bed: Bed) {
        let store = &bed.store;
        let set = |bot: Option<&str>, key: &str, expires_in| kvs::Write {
            bot: bot.map(str::to_owned),
            change: kvs::Change::Set { key: key.into(), value: json(serde_json::json!([1])), expires_in },
        };
        let writes = vec![set(Some("b"), "a/1", None), set(Some("b"), "a/2", Some(0)), set(None, "a/1", None), set(Some("b"), "a%", None)];
        store.write_v12_values(writes).await.unwrap();
        let value = async |bot, key| store.v12_value(bot, key).await.unwrap().is_some();
        assert!(value(Some("b"), "a/1").await && !value(Some("b"), "a/2").await && value(None, "a/1").await);
        assert!(store.tidy().await.unwrap() >= 1);
        let prefix = kvs::Write { bot: Some("b".into()), change: kvs::Change::DeletePrefix("a/".into()) };
        let delete = kvs::Write { bot: None, change: kvs::Change::Delete("a/1".into()) };
        store.write_v12_values(vec![prefix, delete]).await.unwrap();
        assert!(!value(Some("b"), "a/1").await && !value(None, "a/1").await && value(Some("b"), "a%").await);

        let write = |text: &str, replace| kvs::UserWrite { channel: "web".into(), user: "u".into(), attributes: object(text), replace };
        let mut all = turn(&bed, "u1", 0, Some("a"), &[]);
        all.users = vec![write(r#"{"a":1,"b":2}"#, true), write(r#"{"b":null,"c":3}"#, false)];
        store.write(all).await.unwrap();
        assert_eq!(store.v12_attributes("web", "u").await.unwrap().unwrap().text(), r#"{"a":1,"c":3}"#);
    }
}

contract! {
    async fn a_bot_gets_its_row_once(bed: Bed) {
        let store = &bed.store;
        assert!(store.mount_v12_bot("my-bot".into(), "Mine".into()).await.unwrap());
        assert!(store.mount_v12_bot("my-bot".into(), "Yours".into()).await.unwrap());
        let mut commit = turn(&bed, "u1", 0, Some("a"), &["b"]);
        commit.bot = "my-bot".into();
        store.write(commit).await.unwrap();
        let listed = conversations_of(&bed, &"my-bot".into()).await;
        let [conversation] = &listed[..] else { panic!("{listed:?}") };
        let delete = conversations::Delete {
            who: Identity::bot("my-bot".into()),
            id: conversation.id.to_string(),
        };
        store.write(delete).await.unwrap();
        // Erased, memory and all; the bot goes on.
        assert_eq!(store.recall(&"my-bot".into(), "u1").await.unwrap().session, None);
        assert_eq!(store.v12_secret().await.unwrap(), store.v12_secret().await.unwrap());
    }
}

contract! {
    async fn a_deleted_user_is_not_remembered(bed: Bed) {
        let store = &bed.store;
        let bots: [BotId; 2] = ["one-bot".into(), "two-bot".into()];
        for bot in &bots {
            store.mount_v12_bot(bot.clone(), bot.to_string()).await.unwrap();
            store.write(Commit { bot: bot.clone(), ..turn(&bed, "somebody", 0, Some("a"), &["b"]) }).await.unwrap();
        }
        for (bot, attributes_stay) in bots.iter().zip([true, false]) {
            let listed = conversations_of(&bed, bot).await;
            let who = Identity::bot(bot.clone());
            let conversation = listed[0].id.to_string();
            let members = store.list_participants(who.clone(), conversation, PageRequest::default()).await.unwrap().items;
            let user = members.iter().find(|user| user.id != bot.as_user()).unwrap();
            store.write(users::Delete { who, id: user.id.to_string() }).await.unwrap();
            let left = store.recall(bot, "somebody").await.unwrap();
            assert_eq!((left.session, left.turns, left.user.is_some()), (None, 0, attributes_stay));
            assert!(store.v12_turns(bot, "somebody").await.unwrap().is_empty());
        }
        // Talks on as a stranger.
        store.write(Commit { bot: bots[0].clone(), ..turn(&bed, "somebody", 0, Some("a"), &["b"]) }).await.unwrap();
        assert_eq!(conversations_of(&bed, &bots[0]).await.len(), 2);
    }
}

contract! {
    async fn listeners_hear_everything_of_the_bot_from_a_position(bed: Bed) {
        let store = &bed.store;
        let place = store.open_v12_conversation(&bed.bot, "u1").await.unwrap();
        assert_eq!(store.open_v12_conversation(&bed.bot, "u1").await.unwrap(), place, "made once");
        let news = async |after| {
            let news = store.v12_news(&place.conversation, after, 100).await.unwrap().unwrap();
            let texts: Vec<String> = news.heard.iter().map(|heard| heard.payload.text().to_owned()).collect();
            (texts, news.heard.last().map(|heard| heard.at), news.delivered_at)
        };
        assert!(news(place.delivered_at).await.0.is_empty());

        // Somebody speaks to him before he says anything.
        bed.say(&place.conversation, &bed.bot.as_user(), "proactive").await;
        let (texts, first, _) = news(place.delivered_at).await;
        assert!(texts.len() == 1 && texts[0].contains("proactive"), "{texts:?}");
        // Handed over, it doesn't come with the next answer.
        store.hand_over_v12(&place.conversation, first.unwrap()).await.unwrap();
        let Committed::Done(late) = store.write(turn(&bed, "u1", 0, Some("a"), &["b", "c"])).await.unwrap() else { panic!() };
        assert!(late.is_empty(), "{late:?}");
        // Answers are heard, too; what the user said isn't.
        let (texts, last, delivered_at) = news(first.unwrap()).await;
        assert!(texts.len() == 2 && texts[0].contains("\"b\"") && texts[1].contains("\"c\""), "{texts:?}");
        assert_eq!(last.unwrap(), delivered_at);
        // An older position takes nothing back, and one that isn't reached yet takes nothing away.
        store.hand_over_v12(&place.conversation, first.unwrap()).await.unwrap();
        store.hand_over_v12(&place.conversation, delivered_at.plus_millis(1)).await.unwrap();
        assert_eq!(news(first.unwrap()).await.2, delivered_at);
        assert_eq!(store.v12_news(&place.conversation, place.delivered_at, 2).await.unwrap().unwrap().heard.len(), 2);

        let delete = conversations::Delete { who: Identity::bot(bed.bot.clone()), id: place.conversation.to_string() };
        store.write(delete).await.unwrap();
        assert_eq!(store.v12_news(&place.conversation, place.delivered_at, 2).await.unwrap(), None);
    }
}

contract! {
    async fn traces_are_read_newest_first(bed: Bed) {
        let store = &bed.store;
        for n in 0..4 {
            store.write(turn(&bed, "u1", n, Some("a"), &["b"])).await.unwrap();
        }
        store.write(turn(&bed, "u2", 0, Some("a"), &["b"])).await.unwrap();
        let latest = async |user: &str, before, limit| {
            let latest = Latest { bot: bed.bot.clone(), user: user.into(), before, limit };
            let turns = store.latest_v12_turns(latest).await.unwrap();
            turns.into_iter().map(|turn| turn.turn).collect::<Vec<_>>()
        };
        assert_eq!(latest("u1", None, 50).await, [4, 3, 2, 1]);
        assert_eq!(latest("u1", None, 2).await, [4, 3]);
        assert_eq!(latest("u1", Some(3), 50).await, [2, 1]);
        assert!(latest("u3", None, 50).await.is_empty());
        for conversation in conversations_of(&bed, &bed.bot).await {
            let user = conversation.tags.0["userId"].clone();
            assert_eq!(store.v12_user_of(conversation.id).await.unwrap(), Some((bed.bot.clone(), user)));
        }
        let unknown = store.v12_user_of(duologue_model::id::ConversationId::new("gone")).await.unwrap();
        assert_eq!(unknown, None);
    }
}

contract! {
    /// A message that is stored already is answered by one turn, however often it is delivered.
    async fn an_event_is_answered_once(bed: Bed) {
        let conversation = bed.conversation(&[]).await;
        let user = bed.user(&[]).await;
        let adopt = || bed.store.adopt_v12_conversation(&bed.bot, conversation.clone(), user.clone());
        let target = adopt().await.unwrap();
        assert_eq!((target.as_str(), adopt().await.unwrap().as_str()), (conversation.as_str(), conversation.as_str()));
        let links = duologue_store::events::Links { conversation: Some(conversation.as_str().into()), ..Default::default() };
        let event = duologue_store::events::Create {
            who: bed.who(), kind: "said".into(), payload: json(serde_json::json!({})), schedule: None, links,
        };
        let event = bed.store.write(event).await.unwrap();
        let answers = Some(event.id.as_str().to_owned());
        let first = Commit { answers: answers.clone(), ..turn(&bed, &target, 0, None, &["hello"]) };
        assert!(matches!(bed.store.write(first).await.unwrap(), Committed::Done(_)));
        let second = Commit { answers, ..turn(&bed, &target, 1, None, &["hello again"]) };
        assert_eq!(bed.store.write(second).await.unwrap(), Committed::Answered);
        let said = bed.store.get_conversation(bed.who(), conversation.as_str().into()).await.unwrap();
        assert_eq!(said.message_count, 1);
    }
}
