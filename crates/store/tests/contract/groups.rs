//! Transactions that share a commit: what fails undoes itself and nothing else.

use std::sync::Arc;

use duologue_model::{Error as Refusal, PageSize, id::ConversationId};
use duologue_store::{
    Error, Result,
    messages::{Create, List},
    page::{PageRequest, Range},
    tx::{Script, Tx},
    users,
};

use crate::{Bed, contract, message};

/// Creates a user, then says no.
struct FailsLate(users::Create);

impl Script for FailsLate {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        self.0.run(tx).await?;
        Err(Refusal::invalid_payload("too late").into())
    }
}

/// Says something, then says no: in the lane of its conversation, as an append is.
struct AppendFailsLate(Create);

impl Script for AppendFailsLate {
    type Out = ();

    fn lane(&self) -> Option<&str> {
        self.0.lane()
    }

    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        self.0.run(tx).await?;
        Err(Refusal::invalid_payload("too late").into())
    }
}

async fn texts(bed: &Bed, conversation: &ConversationId) -> Vec<String> {
    let list = List {
        who: bed.who(),
        conversation: Some(conversation.as_str().into()),
        tags: vec![],
        range: Range::default(),
        ascending: true,
        page: PageRequest { size: PageSize::new(100), after: None },
    };
    let page = bed.store.list_messages(list).await.unwrap();
    page.items.iter().map(|message| message.payload.text().to_owned()).collect()
}

contract! {
    async fn a_late_failure_undoes_itself_only(bed: Bed) {
        let bed = Arc::new(bed);
        let speaker = bed.user(&[]).await;
        let mut places = Vec::new();
        for _ in 0..8 {
            places.push(bed.conversation(&[]).await);
        }
        let before = bed.store.list_users(crate::users::everybody(&bed)).await.unwrap().items.len();
        let mut running = tokio::task::JoinSet::new();
        for round in 0..30 {
            for (index, place) in places.iter().enumerate() {
                let (bed, place, speaker) = (bed.clone(), place.clone(), speaker.clone());
                running.spawn(async move {
                    let create = Create { who: bed.who(), new: message(&place, &speaker, &format!("{round}")) };
                    match (round + index) % 5 {
                        0 => {
                            let outcome = bed.store.write(AppendFailsLate(create)).await;
                            assert!(matches!(outcome, Err(Error::Refused(_))));
                        }
                        1 => {
                            let user = users::Create { who: bed.who(), new: users::NewUser::default() };
                            assert!(matches!(bed.store.write(FailsLate(user)).await, Err(Error::Refused(_))));
                        }
                        _ => drop(bed.store.write(create).await.unwrap()),
                    }
                });
            }
        }
        while let Some(done) = running.join_next().await {
            done.unwrap();
        }
        for place in &places {
            assert_eq!(texts(&bed, place).await.len(), 18);
        }
        assert_eq!(bed.store.list_users(crate::users::everybody(&bed)).await.unwrap().items.len(), before);
    }
}
