//! What processes on one database tell each other: that something waits for a bot that another of them
//! delivers for. A hint only: what isn't heard is found a few seconds later.

use std::{future::poll_fn, sync::Arc, time::Duration};

use duologue_model::{error::causes, id::BotId};
use tokio::sync::watch;
use tokio_postgres::AsyncMessage;

use super::{Engine, tls::Target};
use crate::{Result, live::Live};

const CHANNEL: &str = "duologue_outbox";
/// The pause before a lost connection is made again.
const AFTER_FAILURE: Duration = Duration::from_secs(2);

impl Engine {
    /// Tells the other processes that something waits for this bot.
    pub(crate) async fn tell(&self, bot: &BotId) -> Result<()> {
        let client = self.core.pool.get().await?;
        let statement = client.prepare_cached("SELECT pg_notify($1, $2)").await?;
        client.execute(&statement, &[&CHANNEL, &bot.as_str()]).await?;
        Ok(())
    }

    /// Hears what the other processes tell until `stop` turns true.
    pub(crate) async fn listen(&self, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            tokio::select! {
                () = connected(&self.target, &self.core.live) => {}
                _ = stop.changed() => return,
            }
            tokio::select! {
                () = tokio::time::sleep(AFTER_FAILURE) => {}
                _ = stop.changed() => {}
            }
        }
    }
}

/// Hears until the connection ends.
async fn connected(target: &Target, live: &Arc<Live>) {
    let (client, mut connection) = match target.config.connect(target.tls.clone()).await {
        Ok(connected) => connected,
        Err(error) => {
            tracing::warn!(
                error = causes(&error),
                "can't hear what other processes tell; looking every few seconds instead"
            );
            return;
        }
    };
    let messages = async {
        while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
            match message {
                Ok(AsyncMessage::Notification(told)) => live.outbox.wake(vec![BotId::new(told.payload())], true),
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "the connection over which other processes are heard broke");
                    return;
                }
            }
        }
    };
    let listening = async {
        if let Err(error) = client.batch_execute(&format!("LISTEN {CHANNEL}")).await {
            tracing::warn!(%error, "this database doesn't notify; looking every few seconds instead");
        }
        // The client lives as long as the connection.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = messages => {}
        () = listening => {}
    }
}
