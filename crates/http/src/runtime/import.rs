//! `/v1/chat/import`: an export put back, with ids and instants (our superset).

use duologue_model::{Conversation, Error as Refusal, Message, User};
use duologue_store::import::{ImportRecords, Record};
use serde::{Deserialize, Serialize};

use crate::{
    call::Call,
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[route!(Runtime POST "/v1/chat/import" importRecords import)];

/// Most records in a request.
const MOST: usize = 500;

#[derive(Deserialize)]
struct Body {
    records: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    conversation: Option<Conversation>,
    #[serde(default)]
    users: Vec<User>,
    message: Option<Message>,
}

#[derive(Serialize)]
struct Imported {
    created: usize,
    skipped: usize,
}

async fn import(call: Call) -> Answer {
    let body: Body = call.json()?;
    if body.records.len() > MOST {
        return Err(Refusal::invalid_payload(format!("at most {MOST} records are imported in a request")).into());
    }
    let mut records = Vec::with_capacity(body.records.len());
    for (index, item) in body.records.into_iter().enumerate() {
        records.push(match (item.conversation, item.message) {
            (Some(conversation), None) => {
                conversation.id.check(&format!("records[{index}].conversation.id"))?;
                for user in &item.users {
                    call.check_user(&format!("records[{index}].users.id"), &user.id)?;
                }
                Record::Conversation(conversation, item.users)
            }
            (None, Some(message)) => {
                message.id.check(&format!("records[{index}].message.id"))?;
                call.payload(&format!("records[{index}].message.payload"), &message.payload)?;
                Record::Message(message)
            }
            _ => {
                return Err(Refusal::invalid_payload(format!(
                    "records[{index}] must have either conversation or message"
                ))
                .into());
            }
        });
    }
    let script = ImportRecords { who: call.who()?.clone(), records };
    call.write(200, script, |(created, skipped)| Imported { created, skipped }).await
}
