//! Secrets of bots and integrations: encrypted in the rows, in clear for their code only.

use duologue_store::{
    Result, Store,
    tx::{Script, Tx},
};
use serde_json::json;

use crate::{Bed, contract, of};

/// The rows of both tables as they are stored.
struct Rows;

impl Script for Rows {
    type Out = String;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<String> {
        let mut all = String::new();
        for sql in ["SELECT secrets FROM bots", "SELECT secrets FROM integrations"] {
            for mut row in tx.query(sql, &[]).await? {
                all.push_str(&row.text()?);
            }
        }
        Ok(all)
    }
}

/// A row as it was written before secrets were encrypted.
struct InClear;

impl Script for InClear {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        tx.execute(r#"UPDATE bots SET secrets = '{"OLD":"in clear"}'"#, &[]).await?;
        Ok(())
    }
}

pub(crate) async fn reopened(bed: &mut Bed, key: Option<&str>) {
    bed.restart().await;
    if let Some(key) = key {
        bed.store.close();
        let store = Store::open(&other_handle(bed).await).await.unwrap();
        bed.store = store.use_secret_key(key).await.unwrap().into();
    }
}

/// The location once nobody holds it.
async fn other_handle(bed: &mut Bed) -> duologue_store::Location {
    let location = bed.location.clone();
    let folder = tempfile::tempdir().unwrap();
    let idle = Store::open(&duologue_store::Location::Sqlite(folder.path().join("idle.db"))).await.unwrap();
    drop(std::mem::replace(&mut bed.store, idle.into()));
    location
}

contract! {
    async fn only_their_code_sees_them(bed: Bed) {
        let change = of(json!({ "secrets": { "API_KEY": "hush-1", "OTHER": "hush-2" } }));
        bed.store.update_bot(bed.actor(), bed.bot.to_string(), change).await.unwrap();
        let change = of(json!({ "secrets": { "OTHER": null } }));
        let bot = bed.store.update_bot(bed.actor(), bed.bot.to_string(), change).await.unwrap();
        let new = of(json!({ "name": "crm", "version": "1.0.0", "secrets": { "TOKEN": "hush-3" } }));
        let integration = bed.store.create_integration(bed.actor(), new).await.unwrap();
        let shown = json!([bot.view("https://x", "https://x", true), integration.view("https://x")]).to_string();
        assert!(shown.contains("API_KEY") && shown.contains("TOKEN") && !shown.contains("hush"), "{shown}");
        let rows = bed.store.read(&Rows).await.unwrap();
        assert!(rows.contains("API_KEY") && !rows.contains("hush"), "{rows}");
        assert!(!format!("{bot:?}{integration:?}").contains("hush"));
        let secrets = bed.store.bot_secrets(&bed.bot).await.unwrap();
        assert_eq!(secrets.into_iter().collect::<Vec<_>>(), [("API_KEY".to_owned(), "hush-1".to_owned())]);
        let id = integration.head().id.clone();
        assert_eq!(bed.store.integration_secrets(&id).await.unwrap()["TOKEN"], "hush-3");
        // A new version takes over what it isn't given.
        let new = of(json!({ "name": "crm", "version": "1.1.0", "secrets": { "MORE": "hush-4" } }));
        let next = bed.store.create_integration(bed.actor(), new).await.unwrap().head().id.clone();
        let secrets = bed.store.integration_secrets(&next).await.unwrap();
        assert_eq!((secrets["TOKEN"].as_str(), secrets["MORE"].as_str()), ("hush-3", "hush-4"));
    }
}

contract! {
    async fn a_key_of_the_operator_takes_over(bed: Bed) {
        let mut bed = bed;
        bed.store.write(InClear).await.unwrap();
        reopened(&mut bed, None).await;
        let rows = bed.store.read(&Rows).await.unwrap();
        assert!(rows.contains("OLD") && !rows.contains("in clear"), "{rows}");
        assert_eq!(bed.store.bot_secrets(&bed.bot).await.unwrap()["OLD"], "in clear");
        reopened(&mut bed, Some("a key that only the operator has")).await;
        assert_ne!(bed.store.read(&Rows).await.unwrap(), rows, "they are encrypted again");
        assert_eq!(bed.store.bot_secrets(&bed.bot).await.unwrap()["OLD"], "in clear");
        reopened(&mut bed, None).await;
        let refused = bed.store.bot_secrets(&bed.bot).await.unwrap_err().to_string();
        assert!(refused.contains("DUOLOGUE_SECRET_KEY"), "{refused}");
        assert_eq!(bed.store.get_bot(bed.actor(), bed.bot.to_string()).await.unwrap().stored.id, bed.bot);
    }
}
