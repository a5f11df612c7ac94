//! Logs: in order, found by their filters, seen by the workspace only, and not kept for ever.

use std::{sync::Arc, time::Duration};

use duologue_model::{PageSize, Timestamp};
use duologue_store::{
    Result, Store,
    logs::{Level, List, NewLine, Owner},
    page::PageRequest,
    tx::{Script, Tx},
};
use serde_json::json;
use tokio::{sync::watch, task::JoinHandle};

use crate::{Bed, contract, of, refusal};

/// Writes lines until it is closed.
pub struct Keeper {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Keeper {
    pub fn of(store: &Arc<Store>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let store = store.clone();
        Keeper { stop, task: tokio::spawn(async move { store.keep_logs(stopped).await }) }
    }

    pub async fn close(self) {
        self.stop.send(true).unwrap();
        self.task.await.unwrap();
    }
}

fn all(bed: &Bed) -> List {
    List {
        actor: bed.actor(),
        owner: Owner::Bot(bed.bot.to_string()),
        from: Timestamp::from_millis(0),
        to: None,
        level: None,
        user_id: None,
        conversation_id: None,
        workflow_id: None,
        contains: None,
        page: PageRequest::default(),
    }
}

async fn messages(bed: &Bed, list: List) -> Vec<String> {
    bed.store.list_logs(&list).await.unwrap().items.into_iter().map(|line| line.message).collect()
}

fn line(bed: &Bed, level: Level, text: &str) -> NewLine {
    NewLine::new(Owner::Bot(bed.bot.to_string()), level, text)
}

contract! {
    async fn lines_are_found_in_order_by_their_filters(bed: Bed) {
        let keeper = Keeper::of(&bed.store);
        bed.store.log(line(&bed, Level::Info, "first"));
        bed.store.log(NewLine { user_id: Some("user_1".into()), ..line(&bed, Level::Warn, "50% Done_") });
        bed.store.log(NewLine { conversation_id: Some("conv_1".into()), ..line(&bed, Level::Error, "third") });
        bed.store.log(NewLine { workflow_id: Some("wrkflow_1".into()), ..line(&bed, Level::Debug, "fourth") });
        bed.store.log(NewLine::new(Owner::Bot("bot_other".into()), Level::Info, "another's"));
        keeper.close().await;
        assert_eq!(messages(&bed, all(&bed)).await, ["first", "50% Done_", "third", "fourth"]);
        let one = |change: fn(&mut List)| {
            let mut list = all(&bed);
            change(&mut list);
            messages(&bed, list)
        };
        assert_eq!(one(|list| list.level = Some(Level::Error)).await, ["third"]);
        assert_eq!(one(|list| list.user_id = Some("user_1".into())).await, ["50% Done_"]);
        assert_eq!(one(|list| list.conversation_id = Some("conv_1".into())).await, ["third"]);
        assert_eq!(one(|list| list.workflow_id = Some("wrkflow_1".into())).await, ["fourth"]);
        assert_eq!(one(|list| list.contains = Some("% DONE_".into())).await, ["50% Done_"]);
        assert_eq!(one(|list| list.contains = Some("fir_t".into())).await, [""; 0]);
        assert_eq!(one(|list| list.to = Some(Timestamp::from_millis(1))).await, [""; 0]);
        assert_eq!(one(|list| list.from = Timestamp::MAX).await, [""; 0]);
        // Page by page, each line once.
        let (mut list, mut found) = (all(&bed), Vec::new());
        list.page.size = PageSize::new(1);
        loop {
            let page = bed.store.list_logs(&list).await.unwrap();
            found.extend(page.items.into_iter().map(|line| line.message));
            match page.next {
                Some(next) => list.page.after = Some(next),
                None => break,
            }
        }
        assert_eq!(found, ["first", "50% Done_", "third", "fourth"]);
    }
}

contract! {
    async fn only_the_workspace_sees_them(bed: Bed) {
        let stranger = bed.stranger("eve@localhost").await;
        assert_eq!(refusal(bed.store.list_logs(&List { actor: stranger.clone(), ..all(&bed) }).await), "ResourceNotFound");
        let list = List { owner: Owner::Integration("intver_none".into()), ..all(&bed) };
        assert_eq!(refusal(bed.store.list_logs(&list).await), "ResourceNotFound");
    }
}

contract! {
    async fn installed_integrations_write_into_the_bots_log(bed: Bed) {
        let new = of(json!({ "name": "mail", "version": "1.0.0" }));
        let id = bed.store.create_integration(bed.actor(), new).await.unwrap().head().id.clone();
        let change = of(json!({ "integrations": { &id: { "enabled": true } } }));
        bed.store.update_bot(bed.actor(), bed.bot.to_string(), change).await.unwrap();
        let keeper = Keeper::of(&bed.store);
        bed.store.log(NewLine { installed: Some(id.clone()), ..line(&bed, Level::Info, "installed") });
        bed.store.log(NewLine { installed: Some("intver_other".into()), ..line(&bed, Level::Info, "forged") });
        bed.store.log(NewLine::new(Owner::Integration(id.clone()), Level::Info, "its own"));
        keeper.close().await;
        assert_eq!(messages(&bed, all(&bed)).await, ["installed"]);
        let list = List { owner: Owner::Integration(id.clone()), ..all(&bed) };
        assert_eq!(messages(&bed, list.clone()).await, ["its own"]);
        bed.store.update_bot(bed.actor(), bed.bot.to_string(), of(json!({ "integrations": { &id: null } }))).await.unwrap();
        bed.store.delete_integration(bed.actor(), id).await.unwrap();
        assert_eq!(refusal(bed.store.list_logs(&list).await), "ResourceNotFound");
    }
}

/// Makes all lines a week older.
struct Age;

impl Script for Age {
    type Out = u64;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<u64> {
        tx.execute("UPDATE logs SET at = at - 604800001", &[]).await
    }
}

contract! {
    async fn lines_and_readers_meet_and_old_lines_go(bed: Bed) {
        let keeper = Keeper::of(&bed.store);
        // Who waits is woken, and what was said is there.
        let added = bed.store.live().logs.notified();
        for number in 0..1200 {
            bed.store.log(line(&bed, Level::Info, &format!("line {number}\0 of many")));
        }
        tokio::time::timeout(Duration::from_secs(10), added).await.unwrap();
        assert!(!messages(&bed, all(&bed)).await.is_empty());
        keeper.close().await;
        let (mut list, mut count) = (all(&bed), 0);
        list.page.size = PageSize::new(100);
        loop {
            let page = bed.store.list_logs(&list).await.unwrap();
            for line in &page.items {
                assert_eq!(line.message, format!("line {count}\u{fffd} of many"));
                count += 1;
            }
            match page.next {
                Some(next) => list.page.after = Some(next),
                None => break,
            }
        }
        assert_eq!(count, 1200);
        assert_eq!(bed.store.write(Age).await.unwrap(), 1200);
        while bed.store.tidy().await.unwrap() > 0 {}
        assert_eq!(messages(&bed, all(&bed)).await, [""; 0]);
    }
}
