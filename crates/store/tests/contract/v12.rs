//! Bots that were made for Botpress v12.

use duologue_model::Json;
use duologue_store::v12::accounts::Account;

use crate::{contract, json};

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
