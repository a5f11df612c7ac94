//! Issues: reports of the same problem, together, bounded, and seen by the workspace only.

use std::collections::BTreeMap;

use duologue_model::PageSize;
use duologue_store::{
    Result,
    issues::{Category, Datum, Issue, KEEP_EVENTS, KEEP_ISSUES, Path, Report},
    logs::{Level, NewLine, Owner},
    page::PageRequest,
    tx::{Script, Tx},
};
use serde_json::json;

use crate::{Bed, contract, logs::Keeper, of, refusal};

fn report(code: &str, data: &[(&str, &str)]) -> Report {
    let datum = |raw: &str| Datum { raw: raw.to_owned(), pretty: Some(format!("<{raw}>")) };
    Report {
        code: code.into(),
        category: Category::Limits,
        title: "Too much".into(),
        description: "Less, please".into(),
        data: data.iter().map(|(name, raw)| ((*name).to_owned(), datum(raw))).collect::<BTreeMap<_, _>>(),
        group_by: ["what".to_owned()].into(),
    }
}

fn tell(bed: &Bed, report: Report) {
    let line = NewLine::new(Owner::Bot(bed.bot.to_string()), Level::Error, "an issue");
    bed.store.log(NewLine { report: Some(Box::new(report)), ..line });
}

async fn all(bed: &Bed) -> Vec<Issue> {
    let (mut found, mut page) = (Vec::new(), PageRequest { size: PageSize::new(100), after: None });
    loop {
        let got = bed.store.list_issues(bed.actor(), bed.bot.to_string(), page.clone()).await.unwrap();
        found.extend(got.items);
        match got.next {
            Some(next) => page.after = Some(next),
            None => return found,
        }
    }
}

fn path(bed: &Bed, id: &str) -> Path {
    Path { actor: bed.actor(), bot: bed.bot.to_string(), id: id.into() }
}

contract! {
    async fn reports_of_the_same_problem_are_one_issue(bed: Bed) {
        let keeper = Keeper::of(&bed.store);
        tell(&bed, report("RATE", &[("what", "mail"), ("count", "1")]));
        tell(&bed, report("RATE", &[("what", "chat"), ("count", "2")]));
        tell(&bed, Report { title: "Far too much".into(), ..report("RATE", &[("what", "mail"), ("count", "3")]) });
        tell(&bed, report("OTHER", &[("what", "mail")]));
        keeper.close().await;
        let mut found = all(&bed).await;
        found.sort_by_key(|issue| std::cmp::Reverse(issue.events_count));
        assert_eq!(found.iter().map(|issue| issue.events_count).collect::<Vec<_>>(), [2, 1, 1]);
        let issue = &found[0];
        assert_eq!((issue.code.as_str(), issue.category, issue.title.as_str()), ("RATE", Category::Limits, "Far too much"));
        assert_eq!(issue.grouped_data.value(), json!({ "what": { "raw": "mail", "pretty": "<mail>" } }));
        assert!(issue.id.starts_with("iss_") && issue.last_seen_at >= issue.created_at);
        assert_eq!(bed.store.issue(path(&bed, &issue.id)).await.unwrap(), *issue);
        let events = bed.store.list_issue_events(path(&bed, &issue.id)).await.unwrap();
        let counts: Vec<_> = events.iter().map(|event| event.data.value()["count"]["raw"].clone()).collect();
        assert_eq!(counts, ["3", "1"], "latest first");
        assert!(events[0].id.starts_with("issevt_"));

        bed.store.delete_issue(path(&bed, &issue.id)).await.unwrap();
        assert_eq!(refusal(bed.store.issue(path(&bed, &issue.id)).await), "ResourceNotFound");
        assert_eq!(refusal(bed.store.list_issue_events(path(&bed, &issue.id)).await), "ResourceNotFound");
        assert_eq!(all(&bed).await.len(), 2);
    }
}

contract! {
    async fn only_the_workspace_sees_issues(bed: Bed) {
        let keeper = Keeper::of(&bed.store);
        tell(&bed, report("RATE", &[]));
        let line = NewLine::new(Owner::Integration("intver_any".into()), Level::Error, "nobody's");
        bed.store.log(NewLine { report: Some(Box::new(report("RATE", &[]))), ..line });
        let line = NewLine::new(Owner::Bot(bed.bot.to_string()), Level::Error, "forged");
        let forged = NewLine { installed: Some("intver_other".into()), report: Some(Box::new(report("FORGED", &[]))), ..line };
        bed.store.log(forged);
        keeper.close().await;
        let found = all(&bed).await;
        assert_eq!((found.len(), found[0].events_count), (1, 1));
        let stranger = bed.stranger("eve@localhost").await;
        let theirs = Path { actor: stranger.clone(), ..path(&bed, &found[0].id) };
        assert_eq!(refusal(bed.store.issue(theirs.clone()).await), "ResourceNotFound");
        assert_eq!(refusal(bed.store.delete_issue(theirs).await), "ResourceNotFound");
        let list = bed.store.list_issues(stranger, bed.bot.to_string(), PageRequest::default()).await;
        assert_eq!(refusal(list), "ResourceNotFound");
        let other = bed.store.create_bot(bed.actor(), of(json!({ "name": "other" }))).await.unwrap();
        let elsewhere = Path { bot: other.stored.id.to_string(), ..path(&bed, &found[0].id) };
        assert_eq!(refusal(bed.store.issue(elsewhere).await), "ResourceNotFound");
        let viewer = bed.member("viewer@example.org", duologue_model::admin::Role::Viewer).await;
        assert_eq!(refusal(bed.store.delete_issue(Path { actor: viewer, ..path(&bed, &found[0].id) }).await), "Forbidden");
        bed.store.delete_bot(bed.actor(), bed.bot.to_string()).await.unwrap();
        assert_eq!(bed.store.write(Count).await.unwrap(), (0, 0));
    }
}

/// How many issues and events there are.
struct Count;

impl Script for Count {
    type Out = (i64, i64);
    async fn run(&self, tx: &mut Tx<'_>) -> Result<(i64, i64)> {
        let mut counts = Vec::new();
        for sql in ["SELECT COUNT(*) FROM issues", "SELECT COUNT(*) FROM issue_events"] {
            counts.push(tx.query(sql, &[]).await?.remove(0).int()?);
        }
        Ok((counts[0], counts[1]))
    }
}

/// Makes all issues 30 days older.
struct Age;

impl Script for Age {
    type Out = u64;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<u64> {
        tx.execute("UPDATE issues SET last_seen_at = last_seen_at - 2592000001", &[]).await
    }
}

contract! {
    async fn what_is_kept_is_bounded(bed: Bed) {
        let keeper = Keeper::of(&bed.store);
        for number in 0..KEEP_ISSUES + 20 {
            tell(&bed, report("RARE", &[("what", &number.to_string())]));
        }
        for number in 0..3 * KEEP_EVENTS {
            tell(&bed, report("OFTEN", &[("count", &number.to_string())]));
        }
        keeper.close().await;
        let found = all(&bed).await;
        assert_eq!(found.len(), KEEP_ISSUES);
        let often = found.iter().find(|issue| issue.code == "OFTEN").unwrap();
        assert_eq!(often.events_count, 3 * KEEP_EVENTS as i64);
        let events = bed.store.list_issue_events(path(&bed, &often.id)).await.unwrap();
        assert_eq!(events.len(), KEEP_EVENTS);
        assert_eq!(events[0].data.value()["count"]["raw"], (3 * KEEP_EVENTS - 1).to_string());
        assert_eq!(bed.store.write(Count).await.unwrap(), (KEEP_ISSUES as i64, (KEEP_ISSUES - 1 + KEEP_EVENTS) as i64));
        assert_eq!(bed.store.write(Age).await.unwrap(), KEEP_ISSUES as u64);
        while bed.store.tidy().await.unwrap() > 0 {}
        assert_eq!(bed.store.write(Count).await.unwrap(), (0, 0));
    }
}
