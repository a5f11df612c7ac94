//! How this server reaches the code of bots and integrations: the one [`Bridge`] of the process.

use std::sync::Arc;

use duologue_bridge::{Bridge, Hosting};
use duologue_outbound::{AllowList, Client, Settings};

use crate::{config::Config, error::Error};

/// What `hosting` runs listens here.
const LOOPBACK: &str = "127.0.0.0/8, ::1";

/// The bridge, as it is configured. Connections to hosted code and to developers' URLs are apart.
pub fn bridge(config: &Config, hosting: Arc<dyn Hosting>) -> Result<Bridge, Error> {
    Ok(Bridge::new(client(config.reachable_bots()?)?, client(LOOPBACK.parse()?)?, hosting))
}

fn client(allow: AllowList) -> Result<Client, duologue_outbound::Error> {
    Client::new(Settings { allow, ..Settings::default() })
}
