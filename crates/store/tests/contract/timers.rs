//! Several processes on one database: what is due fires once.

use duologue_store::{
    Location, Store,
    events::{Create, Links, Schedule},
};

use crate::{contract, json};

contract! {
    async fn two_processes_share_what_is_due(bed: Bed) {
        // SQLite has one process; the case is then about one that sweeps twice at a time.
        let second = match &bed.location {
            Location::Postgres { .. } => std::sync::Arc::new(Store::open(&bed.location).await.unwrap()),
            Location::Sqlite(_) => bed.store.clone(),
        };
        for _ in 0..400 {
            let schedule = Some(Schedule::Delay(1));
            let script = Create { who: bed.who(), kind: "tick".into(), payload: json(serde_json::json!({})), schedule, links: Links::default() };
            bed.store.write(script).await.unwrap();
        }
        bed.pass(20).await;
        let sweep = |store: std::sync::Arc<Store>| async move {
            let mut total = 0;
            for _ in 0..6 {
                total += store.settle_due().await.unwrap().0.events;
            }
            total
        };
        let (a, b) = tokio::join!(tokio::spawn(sweep(bed.store.clone())), tokio::spawn(sweep(second)));
        assert_eq!(a.unwrap() + b.unwrap(), 400);
    }
}

contract! {
    async fn old_rows_go(bed: Bed) {
        // Nothing is old in a fresh database, and tidying it breaks nothing.
        bed.conversation(&[("a", "b")]).await;
        assert_eq!(bed.store.tidy().await.unwrap(), 0);
    }
}
