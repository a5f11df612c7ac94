//! Hosted code: which version is deployed, and the tokens of its processes.

use duologue_store::{
    Result,
    access::Principal,
    hosted::Target,
    params,
    tx::{Script, Tx},
};
use serde_json::json;

use crate::{Bed, contract, of, refusal};

async fn update(bed: &Bed, change: serde_json::Value) {
    bed.store.update_bot(bed.actor(), bed.bot.to_string(), of(change)).await.unwrap();
}

contract! {
    async fn a_version_changes_with_code_and_secrets_only(bed: Bed) {
        let target = || Target::Bot(bed.bot.to_string());
        let version = async || bed.store.hosted_version(target()).await.unwrap();
        assert_eq!(version().await, None);
        assert!(bed.store.hosted_program(target(), "here".into()).await.unwrap().is_none());
        let generation = bed.store.rights_generation();
        update(&bed, json!({ "code": "first", "secrets": { "COLOR": "blue" }, "alwaysAlive": true, "maxExecutionTime": 7 })).await;
        assert_ne!(bed.store.rights_generation(), generation);
        let first = version().await.unwrap();
        update(&bed, json!({ "name": "renamed" })).await;
        assert_eq!(version().await.unwrap(), first);
        update(&bed, json!({ "secrets": { "COLOR": "red" } })).await;
        let second = version().await.unwrap();
        assert_ne!(second, first);
        let program = bed.store.hosted_program(target(), "here".into()).await.unwrap().unwrap();
        assert_eq!((program.code.as_str(), program.version.as_str()), ("first", second.as_str()));
        assert_eq!(program.secrets["COLOR"], "red");
        assert_eq!(program.workspace_id, bed.workspace);
        assert_eq!((program.always_alive, program.max_execution_time), (true, Some(7)));
        update(&bed, json!({ "code": "second" })).await;
        assert_ne!(version().await.unwrap(), second);
    }
}

contract! {
    async fn integrations_have_code_too(bed: Bed) {
        let new = of(json!({ "name": "mail", "version": "1.0.0", "code": "its code", "secrets": { "KEY": "hush" }, "maxExecutionTime": 9 }));
        let id = bed.store.create_integration(bed.actor(), new).await.unwrap().head().id.clone();
        let target = Target::Integration(id.clone());
        let program = bed.store.hosted_program(target.clone(), "here".into()).await.unwrap().unwrap();
        assert_eq!((program.code.as_str(), program.max_execution_time), ("its code", Some(9)));
        assert_eq!(program.secrets["KEY"], "hush");
        assert_eq!(bed.store.hosted_version(target).await.unwrap().unwrap(), program.version);
        let token = bed.store.token(&program.token).await.unwrap();
        assert_eq!(token.principal, Principal::Integration(id.clone()));
        assert!(bed.store.list_integration_keys(bed.actor(), id).await.unwrap().is_empty());
    }
}

/// Makes a holder's time run out.
struct Lapse(&'static str);

impl Script for Lapse {
    type Out = u64;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<u64> {
        tx.execute("UPDATE hosted_tokens SET until = 1 WHERE holder = ?1", params![self.0]).await
    }
}

contract! {
    async fn tokens_end_with_their_processes(bed: Bed) {
        update(&bed, json!({ "code": "code" })).await;
        let target = || Target::Bot(bed.bot.to_string());
        let take = async |holder: &str| bed.store.hosted_program(target(), holder.to_owned()).await.unwrap().unwrap();
        let (first, second, third) = (take("here").await, take("here").await, take("there").await);
        for program in [&first, &second, &third] {
            let token = bed.store.token(&program.token).await.unwrap();
            assert_eq!(token.principal, Principal::Bot(bed.bot.clone()));
        }
        assert!(bed.store.list_bot_keys(bed.actor(), bed.bot.to_string()).await.unwrap().is_empty());
        bed.store.end_hosted_token(first.token_id).await.unwrap();
        assert_eq!(refusal(bed.store.token(&first.token).await), "Unauthorized");
        assert!(bed.store.token(&second.token).await.is_ok());
        // Whoever still runs holds on to its tokens; those of the others end.
        bed.store.write(Lapse("here")).await.unwrap();
        bed.store.write(Lapse("there")).await.unwrap();
        bed.store.renew_hosted_tokens("here".into()).await.unwrap();
        bed.store.tidy().await.unwrap();
        assert!(bed.store.token(&second.token).await.is_ok());
        assert_eq!(refusal(bed.store.token(&third.token).await), "Unauthorized");
        bed.store.end_hosted_tokens(Some("here".into())).await.unwrap();
        assert_eq!(refusal(bed.store.token(&second.token).await), "Unauthorized");
        let fourth = take("here").await;
        assert_eq!(bed.store.end_hosted_tokens(None).await.unwrap(), 1);
        assert_eq!(refusal(bed.store.token(&fourth.token).await), "Unauthorized");
    }
}
