//! Repeated requests.

use duologue_store::{
    conversations::{Create, List, NewConversation},
    idempotency::{Keyed, Rendered, RequestKey},
    page::{PageRequest, Range, Sort},
};

use crate::{contract, refusal};

contract! {
    async fn a_repeated_request_has_one_effect_and_one_answer(bed: Bed) {
        let request = |body: &str, channel: &str| Keyed {
            script: Create { who: bed.who(), new: NewConversation { channel: channel.into(), ..Default::default() } },
            render: |conversation: duologue_model::Conversation| Rendered { status: 201, body: conversation.id.as_str().into() },
            key: RequestKey { scope: "token/path/key".into(), body_hash: body.into() },
        };
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (store, request) = (bed.store.clone(), request("a", "x"));
            calls.spawn(async move { store.write(request).await.unwrap() });
        }
        let mut answers = std::collections::HashSet::new();
        while let Some(done) = calls.join_next().await {
            let answer = done.unwrap();
            assert_eq!(answer.status, 201);
            answers.insert(answer.body);
        }
        assert_eq!(answers.len(), 1);
        assert_eq!(refusal(bed.store.write(request("b", "x")).await), "InvalidPayload");
        let list = List {
            who: bed.who(), tags: vec![], participants: vec![], integration: None, channel: None, range: Range::default(),
            min_messages: None, max_messages: None, sort: Sort::default(), page: PageRequest::default(), snapshot: None,
        };
        assert_eq!(bed.store.list_conversations(list).await.unwrap().items.len(), 1);
    }
}
