//! `/v1/chat/actions` (`spec/cloud/runtime.md` § 10). This server runs no code of bots or
//! integrations yet; the answer is the dialect's own for what isn't there to be called.

use duologue_model::{Error as Refusal, ErrorKind, Json};
use serde::Deserialize;

use crate::{
    call::{self, Call},
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] = &[route!(Runtime POST "/v1/chat/actions" callAction call_action)];

async fn call_action(call: Call) -> Answer {
    #[derive(Deserialize)]
    struct Body {
        r#type: String,
        input: Json,
    }
    let body: Body = call.json()?;
    call::name("type", &body.r#type, 200)?;
    call.payload("input", &body.input)?;
    let who = call.who()?;
    let text = match body.r#type.split_once(':') {
        Some((alias, _)) if call.app.store.has_instance(who.bot.clone(), alias.to_owned()).await? => {
            let text = format!(
                "The action \"{}\" could not be called: this server does not run integrations yet.",
                body.r#type
            );
            return Err(Refusal::new(ErrorKind::Runtime, text).into());
        }
        Some((alias, _)) => format!("No integration is installed under the alias \"{alias}\""),
        None => format!("No action found with name \"{}\"", body.r#type),
    };
    Err(Refusal::new(ErrorKind::ResourceNotFound, text).into())
}
