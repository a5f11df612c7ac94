//! Secrets of bots and integrations, encrypted at rest (`spec/cloud/admin.md` §§ 5.2, 6).
//!
//! A value is sealed before it reaches a transaction and opened only for the code that it is given
//! to: rows, lists, logs, backups and exports hold names and ciphertext. The key is the operator's
//! ([`Store::use_secret_key`]), or the server's own, which the database keeps: the latter protects
//! copies of rows and tables, not a copy of the whole database.
//!
//! XChaCha20-Poly1305; a nonce of 24 random bytes for each value, and the secret's name as
//! associated data, so that no value can be put in another's place.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use duologue_model::{
    Json,
    id::{BotId, Generator},
};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result, Store, crypto, params,
    tx::{Script, Tx},
};

const NONCE: usize = 24;
/// What separates the key for secrets from other uses of the same key material.
const PURPOSE: &[u8] = b"duologue: secrets of bots and integrations";

/// A value that only the server's key opens: the key's fingerprint, then nonce and ciphertext.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed(String, String);

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

struct SecretKey {
    fingerprint: String,
    cipher: XChaCha20Poly1305,
}

impl SecretKey {
    fn new(material: &[u8; 32]) -> Self {
        let key = crypto::seal(material, &[PURPOSE]);
        let fingerprint = crypto::hex(&crypto::seal(&key, &[b"fingerprint"])[..8]);
        SecretKey { fingerprint, cipher: XChaCha20Poly1305::new(&key.into()) }
    }
}

/// Seals and opens values.
pub(crate) struct Vault {
    /// The first seals; all open.
    keys: Vec<SecretKey>,
}

impl Vault {
    /// With the key that the database keeps.
    pub(crate) fn new(server_key: &[u8; 32]) -> Self {
        Vault { keys: vec![SecretKey::new(server_key)] }
    }

    /// Seals with this key from now on, and still opens what others sealed.
    fn prefer(&mut self, text: &str) {
        self.keys.insert(0, SecretKey::new(&crypto::sha256(text.as_bytes())));
    }

    /// Seals a value under its name.
    pub(crate) fn seal(&self, ids: &Generator, name: &str, value: &str) -> Result<Sealed> {
        // There is always the server's own key.
        let key = &self.keys[0];
        let nonce = ids.bytes::<NONCE>();
        let payload = Payload { msg: value.as_bytes(), aad: name.as_bytes() };
        let ciphertext = key.cipher.encrypt(&XNonce::from(nonce), payload);
        let ciphertext = ciphertext.map_err(|_| Error::Setup(format!("the secret {name} can't be encrypted")))?;
        let bytes = [nonce.as_slice(), &ciphertext].concat();
        Ok(Sealed(key.fingerprint.clone(), STANDARD_NO_PAD.encode(bytes)))
    }

    /// Seals what is set of a change; `None` removes.
    pub(crate) fn seal_change(
        &self,
        ids: &Generator,
        change: &BTreeMap<String, Option<String>>,
    ) -> Result<BTreeMap<String, Option<Sealed>>> {
        change
            .iter()
            .map(|(name, value)| {
                let sealed = value.as_ref().map(|value| self.seal(ids, name, value)).transpose()?;
                Ok((name.clone(), sealed))
            })
            .collect()
    }

    /// Whether it was sealed with the key that seals now.
    pub(crate) fn is_current(&self, sealed: &Sealed) -> bool {
        self.keys.first().is_some_and(|key| key.fingerprint == sealed.0)
    }

    /// The value.
    pub(crate) fn open(&self, name: &str, sealed: &Sealed) -> Result<String> {
        let Some(key) = self.keys.iter().find(|key| key.fingerprint == sealed.0) else {
            return Err(Error::Setup(format!(
                "the secret {name} was encrypted with another key: start with the DUOLOGUE_SECRET_KEY of before, or set the secret again"
            )));
        };
        let damaged = || Error::Corrupt(format!("the secret {name}"));
        let bytes = STANDARD_NO_PAD.decode(&sealed.1).map_err(|_| damaged())?;
        let (nonce, ciphertext) = bytes.split_first_chunk::<NONCE>().ok_or_else(damaged)?;
        let payload = Payload { msg: ciphertext, aad: name.as_bytes() };
        let value = key.cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| damaged())?;
        String::from_utf8(value).map_err(|_| damaged())
    }

    pub(crate) fn open_all(&self, sealed: &BTreeMap<String, Sealed>) -> Result<BTreeMap<String, String>> {
        sealed.iter().map(|(name, sealed)| Ok((name.clone(), self.open(name, sealed)?))).collect()
    }
}

/// The tables that hold secrets.
#[derive(Clone, Copy)]
enum Place {
    Bots,
    Integrations,
}

impl Place {
    fn table(self) -> &'static str {
        match self {
            Place::Bots => "bots",
            Place::Integrations => "integrations",
        }
    }
}

struct Load {
    place: Place,
    id: String,
}

impl Script for Load {
    type Out = BTreeMap<String, Sealed>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Out> {
        let sql = format!("SELECT secrets FROM {} WHERE id = ?1", self.place.table());
        let row = tx.query_opt(&sql, params![&self.id]).await?;
        let Some(mut row) = row else { return Ok(BTreeMap::new()) };
        serde_json::from_str(&row.text()?).map_err(|e| Error::Corrupt(format!("secrets of {}: {e}", self.id)))
    }
}

/// All rows with secrets.
struct LoadAll(Place);

impl Script for LoadAll {
    type Out = Vec<(String, String)>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Out> {
        let sql = format!("SELECT id, secrets FROM {} WHERE secrets <> '{{}}'", self.0.table());
        tx.query(&sql, &[]).await?.into_iter().map(|mut row| Ok((row.text()?, row.text()?))).collect()
    }
}

/// Replaces the secrets of a row if they are still what was read.
struct Replace {
    place: Place,
    id: String,
    old: String,
    new: Json,
}

impl Script for Replace {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let sql = format!("UPDATE {} SET secrets = ?3 WHERE id = ?1 AND secrets = ?2", self.place.table());
        tx.execute(&sql, params![&self.id, &self.old, &self.new]).await?;
        Ok(())
    }
}

/// A value as rows may hold it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Held {
    Sealed(Sealed),
    /// As versions before encryption wrote it.
    Plain(String),
}

impl Store {
    /// Seals secrets with this key from now on, and those that are already there as well. Several
    /// processes on one database are given the same key.
    pub async fn use_secret_key(mut self, key: &str) -> Result<Self> {
        self.vault.prefer(key);
        self.seal_again(true).await?;
        self.seal_webhooks_again().await?;
        Ok(self)
    }

    /// Seals what is in clear, and with `all` also what another key sealed.
    pub(crate) async fn seal_again(&self, all: bool) -> Result<()> {
        for place in [Place::Bots, Place::Integrations] {
            for (id, old) in self.read(&LoadAll(place)).await? {
                let held: BTreeMap<String, Held> =
                    serde_json::from_str(&old).map_err(|e| Error::Corrupt(format!("secrets of {id}: {e}")))?;
                let is_due = |held: &Held| match held {
                    Held::Plain(_) => true,
                    Held::Sealed(sealed) => all && sealed.0 != self.vault.keys[0].fingerprint,
                };
                if !held.values().any(is_due) {
                    continue;
                }
                let mut sealed = BTreeMap::new();
                for (name, held) in held {
                    let value = match &held {
                        Held::Plain(value) => value.clone(),
                        Held::Sealed(sealed) => self.vault.open(&name, sealed)?,
                    };
                    let new = self.vault.seal(&self.ids, &name, &value)?;
                    sealed.insert(name, new);
                }
                self.write(Replace { place, id, old, new: Json::of(&sealed) }).await?;
            }
        }
        Ok(())
    }

    /// The secrets of a bot in clear, for the code that they are given to, as `SECRET_<NAME>`.
    pub async fn bot_secrets(&self, bot: &BotId) -> Result<BTreeMap<String, String>> {
        let sealed = self.read(&Load { place: Place::Bots, id: bot.to_string() }).await?;
        self.vault.open_all(&sealed)
    }

    /// The secrets of an integration version in clear, for the code that they are given to.
    pub async fn integration_secrets(&self, integration: &str) -> Result<BTreeMap<String, String>> {
        let sealed = self.read(&Load { place: Place::Integrations, id: integration.to_owned() }).await?;
        self.vault.open_all(&sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_opens_under_its_name_and_key_only() {
        let (ids, mut vault) = (Generator::system(), Vault::new(&[1; 32]));
        let sealed = vault.seal(&ids, "TOKEN", "hush").unwrap();
        assert!(!format!("{sealed:?} {}", serde_json::to_string(&sealed).unwrap()).contains("hush"));
        assert_ne!(sealed, vault.seal(&ids, "TOKEN", "hush").unwrap(), "a nonce of its own each time");
        assert_eq!(vault.open("TOKEN", &sealed).unwrap(), "hush");
        assert!(matches!(vault.open("OTHER", &sealed), Err(Error::Corrupt(_))));
        assert!(matches!(Vault::new(&[2; 32]).open("TOKEN", &sealed), Err(Error::Setup(_))));
        vault.prefer("the operator's key");
        assert_eq!(vault.open("TOKEN", &sealed).unwrap(), "hush", "what the first key sealed still opens");
        let newer = vault.seal(&ids, "TOKEN", "hush").unwrap();
        assert!(Vault::new(&[1; 32]).open("TOKEN", &newer).is_err());
    }

    #[test]
    fn a_damaged_value_is_refused() {
        let (ids, vault) = (Generator::system(), Vault::new(&[1; 32]));
        let mut sealed = vault.seal(&ids, "TOKEN", "hush").unwrap();
        let flipped = if sealed.1.starts_with('A') { "B" } else { "A" };
        sealed.1.replace_range(..1, flipped);
        assert!(matches!(vault.open("TOKEN", &sealed), Err(Error::Corrupt(_))));
        sealed.1 = "AA".into();
        assert!(matches!(vault.open("TOKEN", &sealed), Err(Error::Corrupt(_))));
    }
}
