//! Scans are complete: every item that exists throughout is returned exactly once, whatever happens
//! meanwhile, in either order and direction.

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::{AtomicBool, Ordering},
};

use duologue_model::{PageSize, id::ConversationId};
use duologue_store::{
    conversations::{Delete, List, Update},
    page::{PageRequest, Range, Sort, SortField},
};

use crate::{Bed, contract, tags};

fn list(bed: &Bed, sort: Sort, size: i64) -> List {
    List {
        who: bed.who(),
        tags: vec![],
        participants: vec![],
        integration: None,
        channel: None,
        range: Range::default(),
        min_messages: None,
        max_messages: None,
        sort,
        page: PageRequest { size: PageSize::new(size), after: None },
        snapshot: None,
    }
}

async fn scan(bed: &Bed, mut list: List) -> HashMap<ConversationId, usize> {
    let mut seen = HashMap::new();
    loop {
        let page = bed.store.list_conversations(list.clone()).await.unwrap();
        assert!(page.next.is_none() || !page.items.is_empty(), "a token on an empty page");
        for item in page.items {
            *seen.entry(item.id).or_insert(0) += 1;
        }
        match page.next {
            Some(next) => list.page.after = Some(next),
            None => return seen,
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

/// Bumps, adds and deletes conversations, at random but reproducibly, until told to stop.
async fn disturb(bed: &Bed, stay: &[ConversationId], go: Vec<ConversationId>, stop: &AtomicBool) {
    let user = bed.user(&[]).await;
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as usize
    };
    let mut go = go.into_iter();
    let mut round = 0;
    let mut added = 0;
    while !stop.load(Ordering::Relaxed) {
        let id = &stay[next() % stay.len()];
        round += 1;
        match next() % 8 {
            // A list that grew without end would make every later scan longer than the one before.
            0 if added < 300 => {
                bed.conversation(&[("lang", "en")]).await;
                added += 1;
            }
            1 => {
                if let Some(id) = go.next() {
                    bed.store.write(Delete { who: bed.who(), id: id.as_str().into() }).await.unwrap();
                }
            }
            2 | 3 => {
                let patch = tags(&[("round", &round.to_string())]);
                bed.store
                    .write(Update {
                        who: bed.who(),
                        id: id.as_str().into(),
                        tags: patch,
                        current_task_id: None,
                        properties: None,
                    })
                    .await
                    .unwrap();
            }
            _ => drop(bed.say(id, &user, "bump").await),
        }
    }
}

contract! {
    async fn every_order_is_complete_under_writes(bed: Bed) {
        let mut stay = Vec::new();
        let mut go = Vec::new();
        for index in 0..90 {
            let id = bed.conversation(&[("lang", if index % 3 == 0 { "de" } else { "en" })]).await;
            if index % 9 == 4 { go.push(id) } else { stay.push(id) }
        }
        let stop = AtomicBool::new(false);
        let scans = async {
            for field in [SortField::UpdatedAt, SortField::CreatedAt] {
                for ascending in [true, false] {
                    for size in [1, 7, 40] {
                        for tag in [None, Some("en")] {
                            let sort = Sort { field, ascending };
                            let mut list = list(&bed, sort, size);
                            list.tags = tag.map(|lang| ("lang".to_owned(), lang.to_owned())).into_iter().collect();
                            let wanted: HashSet<&ConversationId> = match tag {
                                None => stay.iter().collect(),
                                Some(_) => stay.iter().enumerate().filter(|(index, _)| is_english(*index)).map(|(_, id)| id).collect(),
                            };
                            let seen = scan(&bed, list).await;
                            for id in wanted {
                                assert_eq!(seen.get(id), Some(&1), "{field:?} ascending={ascending} size={size} tag={tag:?}");
                            }
                            assert!(seen.values().all(|count| *count == 1));
                        }
                    }
                }
            }
            stop.store(true, Ordering::Relaxed);
        };
        tokio::join!(scans, disturb(&bed, &stay, go, &stop));
    }
}

/// Whether the conversation at this place among those that stay speaks English.
fn is_english(place: usize) -> bool {
    (0..90).filter(|index| index % 9 != 4).nth(place).is_some_and(|index| index % 3 != 0)
}

contract! {
    async fn tokens_are_bound_and_sealed(bed: Bed) {
        for _ in 0..3 {
            bed.conversation(&[]).await;
        }
        let page = bed.store.list_conversations(list(&bed, Sort::default(), 1)).await.unwrap();
        let cursor = page.next.unwrap();
        let token = bed.store.next_token(&cursor, b"this list");
        assert_eq!(bed.store.cursor(&token, b"this list").unwrap(), cursor);
        assert_eq!(bed.store.cursor(&token, b"that list").unwrap_err().kind.name(), "InvalidQuery");
        for place in 0..token.len() {
            let mut forged = token.clone().into_bytes();
            forged[place] = if forged[place] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            assert!(forged == token || bed.store.cursor(&forged, b"this list").is_err(), "{place}");
        }
        for nonsense in ["", "x", "AAAA", "%%%", &"A".repeat(500)] {
            assert!(bed.store.cursor(nonsense, b"this list").is_err());
        }
    }
}

contract! {
    async fn pages_are_in_order_and_end_without_a_token(bed: Bed) {
        let user = bed.user(&[]).await;
        let mut ids = Vec::new();
        for _ in 0..5 {
            ids.push(bed.conversation(&[]).await);
        }
        // Two changes in one millisecond are in the order of their ids.
        bed.pass(2).await;
        bed.say(&ids[1], &user, "latest").await;
        let order = |sort: Sort| {
            let list = list(&bed, sort, 100);
            let store = bed.store.clone();
            async move {
                let page = store.list_conversations(list).await.unwrap();
                assert!(page.next.is_none());
                page.items.into_iter().map(|c| c.id).collect::<Vec<_>>()
            }
        };
        let newest = order(Sort::default()).await;
        assert_eq!(newest, ids.iter().rev().cloned().collect::<Vec<_>>());
        let latest = order(Sort { field: SortField::UpdatedAt, ascending: false }).await;
        assert_eq!(latest[0], ids[1]);
        let oldest = order(Sort { field: SortField::UpdatedAt, ascending: true }).await;
        assert_eq!(oldest[4], ids[1]);
    }
}
