//! `duologue serve`: opens the store, listens, and stops gracefully.

use std::{io::IsTerminal, path::PathBuf, sync::Arc, time::Duration};

use duologue_bots::{Bots, Options};
use duologue_bridge::Bridge;
use duologue_calls::Calls;
use duologue_delivery::{Counters, Deliveries, webhooks};
use duologue_door as door;
use duologue_http::{App, Listeners, Metrics, RateLimit, Throttle};
use duologue_outbound::{AllowList, Client, Settings};
use duologue_store::{Store, setup::Made};
use tokio::{net::TcpListener, sync::watch};

use crate::{
    accept::accept,
    calls,
    config::{Config, Flags, LogFormat, Switch},
    error::Error,
    hosting::Host,
    init, metrics,
};

/// How long calls to bots may go on after the signal to stop.
const LONGEST_PATIENCE: Duration = Duration::from_secs(5);

/// Serves until SIGTERM or Ctrl-C.
pub async fn run(flags: Flags) -> Result<(), Error> {
    let config = flags.resolve()?;
    start_logging(&config)?;
    let listener = door::listen(config.listen).map_err(|e| Error::Listen(config.listen, e))?;
    let address = listener.local_addr().map_err(|e| Error::Listen(config.listen, e))?;
    let tunnel = match config.tunnel_listen {
        Some(wanted) => Some(door::listen(wanted).map_err(|e| Error::ListenForTunnels(wanted, e))?),
        None => None,
    };
    let mut store = Store::open(&config.location()).await?;
    if let Some(key) = &config.secret_key {
        store = store.use_secret_key(key).await?;
    }
    let store = Arc::new(store);
    let [public_url, webhook_url] = [&config.public_url, &config.webhook_url]
        .map(|url| url.replace(&config.listen.to_string(), &address.to_string()));
    if let Some(made) = store.first_start(init::plan(config.initial_token.clone())).await? {
        welcome(&public_url, &config, &made);
    }
    let bots = open_bots(&config, &store, &public_url).await?;
    let (stop, stopped) = watch::channel(false);
    let host = Host::open(&config, &store, address, &webhook_url, stopped.clone()).await?;
    let bridge = calls::bridge(&config, host.hosting())?;
    // It ends last, so that nothing that is said while the server stops is lost.
    let (stop_logs, logs_stopped) = watch::channel(false);
    let logs = tokio::spawn({
        let store = store.clone();
        async move { store.keep_logs(logs_stopped).await }
    });
    let listeners = Listeners::limited(config.listeners, config.listeners_per_user);
    let calls = Calls::new(store.clone(), bridge.clone(), &webhook_url);
    let settings = Settings { allow: config.allow_list()?, ..Settings::default() };
    let outbound = Client::new(settings)?;
    let counters = Arc::<Counters>::default();
    let app = Arc::new(App {
        store: store.clone(),
        limits: config.limits(),
        rate: RateLimit::new(config.rate_limit),
        metrics: Metrics::with({
            let (counters, hosted) = (counters.clone(), host.hosted());
            move || metrics::families(&counters, hosted.as_ref())
        }),
        public_url: public_url.clone(),
        calls: calls.clone(),
        bots: bots.clone(),
        throttle: Throttle::new(is_set("REVERSE_PROXY")),
        listeners: listeners.clone(),
        webhooks: outbound.clone(),
    });
    let days = u64::from(config.delivery_retention);
    let keep_attempts = Duration::from_secs(days * 24 * 60 * 60);
    let timers = tokio::spawn(duologue_delivery::timers(store.clone(), keep_attempts, stopped.clone()));
    let (closing, close) = watch::channel(false);
    let deliveries = deliver(&config, &store, bots.clone(), bridge, &counters);
    let delivering = tokio::spawn(deliver_until(door::stop_requested(), deliveries, closing));
    let tunnels = tunnel.map(|listener| open_tunnels(listener, stopped.clone()));
    let registrations = tokio::spawn(calls.registrations(stopped.clone()));
    let sending = webhooks::Options { counters, ..webhooks::Options::default() };
    let hooks = webhooks::run(store.clone(), outbound, sending, stopped.clone());
    let hooks = (config.deliveries == Switch::On).then(|| tokio::spawn(hooks));
    let watching = tokio::spawn(async move {
        if let Some(bots) = bots {
            bots.run(stopped).await;
        }
    });
    tracing::info!(url = public_url, version = env!("CARGO_PKG_VERSION"), "serving");
    accept(listener, duologue_http::router(app), &config, &listeners, close).await;
    // It has ended before: that is why connections are closed.
    let _ = delivering.await;
    // These end before the store does. An error means that they are gone already.
    let _ = stop.send(true);
    let _ = timers.await;
    let _ = registrations.await;
    let _ = watching.await;
    if let Some(hooks) = hooks {
        let _ = hooks.await;
    }
    if let Some(tunnels) = tunnels {
        let _ = tunnels.await;
    }
    host.close().await;
    let _ = stop_logs.send(true);
    let _ = logs.await;
    store.close();
    tracing::info!("stopped");
    Ok(())
}

/// Serves tunnels, and says how to use them.
fn open_tunnels(listener: TcpListener, stopped: watch::Receiver<bool>) -> tokio::task::JoinHandle<()> {
    if let Ok(address) = listener.local_addr() {
        tracing::info!(url = format!("http://{address}"), "serving tunnels: bp dev --tunnel-url http://{address}");
        if !address.ip().is_loopback() {
            tracing::warn!("tunnels need no token: whoever reaches {address} may open one");
        }
    }
    tokio::spawn(duologue_tunnel::serve(listener, duologue_tunnel::Limits::default(), stopped))
}

/// What delivers, if it is switched on.
fn deliver(
    config: &Config,
    store: &Arc<Store>,
    bots: Option<Bots>,
    bridge: Bridge,
    counters: &Arc<Counters>,
) -> Option<Deliveries> {
    let deliveries = Deliveries {
        store: store.clone(),
        bridge,
        bots,
        in_flight: config.deliveries_in_flight,
        counters: counters.clone(),
        patience: Duration::from_secs(config.shutdown_timeout).min(LONGEST_PATIENCE),
    };
    (config.deliveries == Switch::On).then_some(deliveries)
}

/// Delivers until the server is told to stop, lets calls under way end, and only then has it close:
/// bots that are being called need it.
async fn deliver_until(
    stop_requested: impl Future<Output = ()>,
    deliveries: Option<Deliveries>,
    closing: watch::Sender<bool>,
) {
    let (stop, stopped) = watch::channel(false);
    let delivering = async {
        if let Some(deliveries) = deliveries {
            duologue_delivery::deliver(deliveries, stopped).await;
        }
    };
    let stopping = async {
        stop_requested.await;
        let _ = stop.send(true);
    };
    tokio::join!(delivering, stopping);
    let _ = closing.send(true);
}

/// The bots of the v12 data folder, if one is to be served.
async fn open_bots(config: &Config, store: &Arc<Store>, public_url: &str) -> Result<Option<Bots>, Error> {
    let Some(folder) = config.v12_data.clone() else { return Ok(None) };
    let options = bot_options(folder, public_url.to_owned(), config.allow_list()?)?;
    let bots = Bots::open(options, store.clone()).await?;
    let mut ids: Vec<String> = bots.installed().bots.keys().cloned().collect();
    ids.sort_unstable();
    tracing::info!(bots = ids.join(", "), "serving v12 bots");
    Ok(Some(bots))
}

/// What bots need: this binary runs their scripts, and they may refer to its environment.
pub fn bot_options(folder: PathBuf, public_url: String, allow: AllowList) -> Result<Options, duologue_bots::Error> {
    let binary = std::env::current_exe()
        .map_err(|error| duologue_bots::Error::Invalid(format!("this binary can't be found: {error}")))?;
    Ok(Options {
        folder,
        public_url,
        worker: vec![binary.into(), crate::SCRIPT_WORKER.into()],
        allow,
        // Variables that aren't text can't be referred to.
        env: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
    })
}

/// Whether a variable of the environment is set to more than nothing.
fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "false")
}

fn start_logging(config: &Config) -> Result<(), Error> {
    let filter = tracing_subscriber::EnvFilter::try_new(&config.log).map_err(|e| Error::Log(e.to_string()))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Pretty => builder.with_ansi(std::io::stderr().is_terminal()).with_target(false).init(),
    }
    Ok(())
}

/// What a newcomer needs, once.
fn welcome(url: &str, config: &Config, made: &Made) {
    let (bot, token) = (made.bot.as_str(), made.token.value.as_deref().unwrap_or_default());
    let place = match &config.database {
        Some(_) => "the PostgreSQL database".to_owned(),
        None => config.data.display().to_string(),
    };
    println!(
        "\
Duologue {version} is set up in {place}.

  URL        {url}
  workspace  {workspace} ({handle})
  bot        {bot}
  token      {token}
             (the owner's; it is shown only now, so keep it)

Try it. Start a conversation:

  curl -s {url}/v1/chat/conversations -H 'authorization: Bearer {token}' \\
    -H 'x-bot-id: {bot}' -H 'content-type: application/json' \\
    -d '{{\"channel\":\"terminal\",\"tags\":{{\"topic\":\"hello\"}}}}'

Speak in it with the official client (npm install @botpress/client):

  BP_API_URL={url} BP_TOKEN={token} BP_BOT_ID={bot} node -e '
    const {{ Client }} = require(\"@botpress/client\");
    (async () => {{
      const client = new Client({{ apiUrl: process.env.BP_API_URL, token: process.env.BP_TOKEN, botId: process.env.BP_BOT_ID }});
      const {{ conversations }} = await client.listConversations({{}});
      await client.createMessage({{ conversationId: conversations[0].id, userId: process.env.BP_BOT_ID,
        type: \"text\", payload: {{ text: \"Hello from your own server\" }}, tags: {{}} }});
    }})()'

Read it:

  BP_API_URL={url} BP_TOKEN={token} BP_BOT_ID={bot} {program} export --format text
",
        // As it was called: `cargo run` leaves it outside the path.
        program = std::env::args().next().unwrap_or_else(|| "duologue".into()),
        version = env!("CARGO_PKG_VERSION"),
        workspace = made.workspace.id,
        handle = made.workspace.handle.as_deref().unwrap_or_default(),
    );
}
