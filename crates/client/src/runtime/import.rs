//! Bringing whole conversations in, ids and times preserved: Duologue's own operation
//! `POST /v1/chat/import`.

use duologue_model::{Conversation, Json, Message, User};
use http::Method;
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{Client, Error};

/// Most records in one request.
pub const IMPORT_BATCH: usize = 500;

/// A request stays below the runtime API's limit of 1 MB (`spec/cloud/errors.md` § 5).
const BATCH_BYTES: usize = 900_000;

/// What is brought in: a conversation with the users it needs, or a message in one.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ImportRecord {
    /// Comes before the messages in it.
    Conversation {
        /// As it was exported.
        conversation: Conversation,
        /// Authors of its messages and its participants.
        users: Vec<User>,
    },
    /// Of a conversation that exists or came before.
    Message {
        /// As it was exported.
        message: Message,
    },
}

impl<'de> Deserialize<'de> for ImportRecord {
    /// By the members that are there. Not derived: a derived untagged enum buffers its input, which
    /// payloads kept as text can't be read from.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Members {
            conversation: Option<Conversation>,
            #[serde(default)]
            users: Vec<User>,
            message: Option<Message>,
        }
        match Members::deserialize(deserializer)? {
            Members { conversation: Some(conversation), users, message: None } => {
                Ok(ImportRecord::Conversation { conversation, users })
            }
            Members { conversation: None, message: Some(message), .. } => Ok(ImportRecord::Message { message }),
            _ => Err(de::Error::custom("a record has either \"conversation\" or \"message\"")),
        }
    }
}

/// What [`Client::import_records`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Entities that are new.
    pub created: u64,
    /// Entities that were there already, and stayed as they were.
    pub skipped: u64,
}

impl Client {
    /// Brings conversations, users and messages in. What exists already is skipped, so an import
    /// that was interrupted can simply be run again. Nothing is delivered.
    ///
    /// Any number of records: they travel in order, in requests of at most [`IMPORT_BATCH`] records
    /// and about 900 kB. Should one fail, those before it have been applied.
    ///
    /// ```no_run
    /// # async fn example(client: duologue_client::Client, lines: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// use duologue_client::ImportRecord;
    ///
    /// let records: Vec<ImportRecord> = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    /// let imported = client.import_records(&records).await?;
    /// println!("{} new, {} known", imported.created, imported.skipped);
    /// # Ok(()) }
    /// ```
    pub async fn import_records(&self, records: &[ImportRecord]) -> Result<Imported, Error> {
        let mut total = Imported::default();
        // One key for several requests would lose all but the first.
        let client = self.without_key();
        for records in batches(records.iter().map(Json::of), BATCH_BYTES) {
            // What exists is skipped, so a repetition does no harm.
            let request = client.request(Method::POST, &["v1", "chat", "import"]).json(&Body { records }).repeatable();
            let imported: Imported = request.send().await?;
            total.created += imported.created;
            total.skipped += imported.skipped;
        }
        Ok(total)
    }
}

/// One request. Not built from a `Value`, which would reorder members and round numbers.
#[derive(Serialize)]
struct Body {
    records: Vec<Json>,
}

/// Cuts records into requests. A record above the limit goes alone.
fn batches(records: impl Iterator<Item = Json>, limit: usize) -> Vec<Vec<Json>> {
    let (mut batches, mut batch, mut bytes) = (vec![], vec![], 0);
    for record in records {
        let size = record.text().len();
        if batch.len() == IMPORT_BATCH || (!batch.is_empty() && bytes + size > limit) {
            batches.push(std::mem::take(&mut batch));
            bytes = 0;
        }
        bytes += size;
        batch.push(record);
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(records: Vec<Json>, limit: usize) -> Vec<usize> {
        batches(records.into_iter(), limit).iter().map(Vec::len).collect()
    }

    #[test]
    fn batches_are_cut_by_number_and_by_size() {
        assert_eq!(sizes(vec![], 10), [0; 0]);
        assert_eq!(sizes(vec![Json::of(&1); 1001], 1_000_000), [500, 500, 1]);
        let text = |n: usize| Json::of(&"x".repeat(n));
        assert_eq!(sizes(vec![text(4), text(4), text(50), text(2)], 14), [2, 1, 1]);
    }

    #[test]
    fn records_have_the_shape_of_exports_and_keep_their_payloads() {
        let times = r#""createdAt":"2026-01-01T00:00:00.000Z","updatedAt":"2026-01-01T00:00:00.000Z""#;
        let conversation = format!(
            r#"{{"conversation":{{"id":"conv_1",{times},"channel":"c","integration":"","tags":{{}},"messageCount":0}},"users":[{{"id":"user_1",{times},"tags":{{}}}}]}}"#
        );
        let message = format!(
            r#"{{"message":{{"id":"msg_1",{times},"type":"text","payload":{{"z":1.10,"a":12345678901234567890123}},"direction":"incoming","userId":"user_1","conversationId":"conv_1","tags":{{}}}}}}"#
        );
        for line in [&conversation, &message] {
            let record: ImportRecord = serde_json::from_str(line).unwrap();
            assert_eq!(&serde_json::to_string(&record).unwrap(), line);
            let body = serde_json::to_string(&Body { records: vec![Json::of(&record)] }).unwrap();
            assert_eq!(body, format!(r#"{{"records":[{line}]}}"#));
        }
        assert!(serde_json::from_str::<ImportRecord>("{}").is_err());
    }
}
