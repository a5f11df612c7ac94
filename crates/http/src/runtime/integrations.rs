//! `/v1/chat/integrations` (`spec/cloud/runtime.md` § 11). Routing by identifier comes with the
//! delivery of webhooks; until then the answer is the dialect's own.

use duologue_model::{Error as Refusal, ErrorKind};

use super::messages::for_integrations;
use crate::{
    body::Nothing,
    call::Call,
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] =
    &[route!(Runtime POST "/v1/chat/integrations/configure" configureIntegration configure)];

async fn configure(call: Call) -> Answer {
    for_integrations(&call)?;
    call.json::<Nothing>()?;
    let text = "The integration could not be configured: this server does not run integrations yet.";
    Err(Refusal::new(ErrorKind::Runtime, text).into())
}
