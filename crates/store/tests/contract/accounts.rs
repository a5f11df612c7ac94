//! Accounts, and who may leave.

use duologue_model::{ErrorKind, admin::Role};
use duologue_store::{Error, access::Principal, workspaces::Actor};

use crate::{Bed, contract};

/// A token of the account with this address, and the account's id.
async fn token(bed: &Bed, email: &str) -> (String, String) {
    let secret = bed.store.hand_out_pat(email.into(), "test".into()).await.unwrap().value.unwrap();
    match bed.store.token(&secret).await.unwrap().principal {
        Principal::Account(id) => (secret, id),
        other => panic!("not an account's: {other:?}"),
    }
}

fn kind<T>(result: Result<T, Error>) -> Option<ErrorKind> {
    match result {
        Err(Error::Refused(refusal)) => Some(refusal.kind),
        _ => None,
    }
}

contract! {
    async fn an_account_leaves_with_its_tokens_but_no_workspace_without_an_owner(bed: Bed) {
        let (first_token, first) = token(&bed, "owner@localhost").await;
        assert_eq!(kind(bed.store.delete_account(first.clone()).await), Some(ErrorKind::RelationConflict));

        let actor = Actor { account: first.clone(), workspace: None };
        bed.store.create_member(actor, "second@localhost".into(), Role::Owner).await.unwrap();
        let (second_token, second) = token(&bed, "second@localhost").await;
        bed.store.delete_account(first.clone()).await.unwrap();
        assert_eq!(kind(bed.store.token(&first_token).await), Some(ErrorKind::Unauthorized));
        assert_eq!(kind(bed.store.hand_out_pat("owner@localhost".into(), "gone".into()).await), Some(ErrorKind::ResourceNotFound));

        let actor = Actor { account: second.clone(), workspace: None };
        assert_eq!(bed.store.get_own_member(actor).await.unwrap().role, Role::Owner);
        assert!(bed.store.token(&second_token).await.is_ok());
        assert_eq!(kind(bed.store.delete_account(second).await), Some(ErrorKind::RelationConflict));
    }
}
