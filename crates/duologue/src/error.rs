//! Why the server can't start.

use crate::config;

/// Why the server doesn't run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] duologue_store::Error),
    /// The address.
    #[error("can't listen on {0}: {1}. Choose another address with --listen.")]
    Listen(std::net::SocketAddr, std::io::Error),
    /// The address of tunnels.
    #[error("can't listen for tunnels on {0}: {1}. Choose another address with --tunnel-listen.")]
    ListenForTunnels(std::net::SocketAddr, std::io::Error),
    /// The v12 bots.
    #[error(transparent)]
    Bots(#[from] duologue_bots::Error),
    /// The way to the code of bots and integrations.
    #[error(transparent)]
    Outbound(#[from] duologue_outbound::Error),
    /// The host of uploaded code.
    #[error(transparent)]
    Hosted(#[from] duologue_hosted::Error),
    /// The log filter.
    #[error("--log is not valid: {0}")]
    Log(String),
}
