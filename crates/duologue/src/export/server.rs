//! Which server, as whom: the options that `export` and `import` share.

use std::time::Duration;

use duologue_client::{Builder, Client, Method, RetryPolicy};
use serde::Deserialize;

use super::Error;

/// How often a failed request is repeated, and how long the pauses may become: an export may run for
/// hours, and servers with tight rate limits ask for a minute or so.
const RETRIES: u32 = 8;
const LONGEST_PAUSE: Duration = Duration::from_secs(120);
/// The first request of all fails soon, as its cause is mostly a wrong address.
const FIRST_RETRIES: u32 = 2;

/// Options that name the server and the caller. Without them, the variables of the official client
/// are used.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Server")]
pub struct Server {
    /// Where the API is: a Duologue's address, or that of any Cloud-compatible API.
    #[arg(long, env = "BP_API_URL", value_name = "URL")]
    api_url: Option<String>,

    /// A personal access token, or the key of a bot or integration.
    #[arg(long, env = "BP_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,

    /// The bot whose conversations it is about. Not needed with a bot's own key.
    #[arg(long, env = "BP_BOT_ID", value_name = "ID")]
    bot_id: Option<String>,

    /// The workspace. Only some Cloud-compatible servers ask for it.
    #[arg(long, env = "BP_WORKSPACE_ID", value_name = "ID")]
    workspace_id: Option<String>,

    /// Act as this integration: see only what it sees.
    #[arg(long, env = "BP_INTEGRATION_ID", value_name = "ID")]
    integration_id: Option<String>,
}

impl Server {
    /// The bot, if one was named.
    pub(crate) fn bot_id(&self) -> Option<&str> {
        self.bot_id.as_deref().map(str::trim).filter(|id| !id.is_empty())
    }

    /// The integration to act as, if one was named.
    pub(crate) fn integration_id(&self) -> Option<&str> {
        self.integration_id.as_deref().map(str::trim).filter(|id| !id.is_empty())
    }

    /// A patient client for this server.
    pub(crate) fn client(&self) -> Result<Client, Error> {
        self.build(RetryPolicy::default().retries(RETRIES).base_delay(Duration::from_secs(1)).max_delay(LONGEST_PAUSE))
    }

    /// Asks the server whether it is a Duologue, which has a few operations more. Fails soon if the
    /// server can't be reached at all.
    pub(crate) async fn is_duologue(&self) -> Result<bool, Error> {
        #[derive(Deserialize)]
        struct Health {
            name: String,
        }
        let client =
            self.build(RetryPolicy::default().retries(FIRST_RETRIES).base_delay(Duration::from_millis(300)))?;
        match client.request(Method::GET, &["health"]).send::<Health>().await {
            Ok(health) => Ok(health.name == "duologue"),
            Err(duologue_client::Error::Api(_) | duologue_client::Error::Decode { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn build(&self, policy: RetryPolicy) -> Result<Client, Error> {
        let Some(url) = &self.api_url else {
            return Err(Error::Usage(
                "which server? Give --api-url (BP_API_URL), e.g. --api-url http://127.0.0.1:3000".to_owned(),
            ));
        };
        let settings = [
            (&self.token, Builder::token as fn(Builder, String) -> Builder),
            (&self.bot_id, Builder::bot_id),
            (&self.workspace_id, Builder::workspace_id),
            (&self.integration_id, Builder::integration_id),
        ];
        let mut builder = Client::builder()
            .api_url(url.as_str())
            .user_agent(concat!("duologue/", env!("CARGO_PKG_VERSION")))
            .retry(policy);
        for (value, set) in settings {
            if let Some(value) = value.as_deref().map(str::trim).filter(|value| !value.is_empty()) {
                builder = set(builder, value.to_owned());
            }
        }
        Ok(builder.build()?)
    }
}
