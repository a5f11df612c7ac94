//! Runs the turns of bots: one at a time in a conversation, conversations side by side.
//!
//! * [`Bots`] is what the server holds: the installation that is served, and the way into a
//!   conversation, [`Bots::converse`].
//! * `install` reads a v12 data folder into checked bots; `watch` reads it again when a file changes and
//!   swaps what became of it, or keeps the last that was good.
//! * `lanes` keeps the turns of a conversation in order; `turn` does one: memory is read once, the dialog
//!   engine runs over `host`, and one transaction writes everything.
//! * [`trace`] shows what turns did, and [`replay`] does them again with a changed bot.
//! * `timeouts` ends the waiting of dialogs whose user stays away.
//!
//! Called by the dialects and by the binary. What a turn means is the crate `dialog`'s business; here
//! are its scripts, its network, its store and its clock. No HTTP is served here and no SQL written.

mod host;
mod import;
mod install;
mod lanes;
mod parallel;
mod recent;
pub mod replay;
mod timeouts;
pub mod trace;
mod turn;
mod watch;

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf, sync::Arc, time::Duration};

use duologue_dialog::{Hook, Incoming, Object, Outcome, Value};
use duologue_model::{
    Event,
    id::{BotId, ConversationId, UserId},
};
use duologue_outbound::{AllowList, Client};
use duologue_sandbox::Pool;
use duologue_store::Store;
pub use import::{Finding, Imported, import};
pub use install::{Installed, LiveBot};
use lanes::Lanes;
use parallel::Answering;
pub use turn::{Input, Refusal};

/// Why the bots can't be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data folder.
    #[error("{0}")]
    Installation(#[from] duologue_v12::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] duologue_store::Error),
    /// The script workers.
    #[error(transparent)]
    Scripts(#[from] duologue_sandbox::PoolError),
    /// The outbound client.
    #[error("requests of bots can't be sent: {0}")]
    Outbound(#[from] duologue_outbound::Error),
    /// A file can't be written.
    #[error("can't write {0}: {1}")]
    Write(PathBuf, std::io::Error),
    /// A stored trace.
    #[error(transparent)]
    Trace(#[from] trace::Unreadable),
    /// What is asked for can't be.
    #[error("{0}")]
    Invalid(String),
}

/// What the bots need to be served.
#[derive(Clone, Debug)]
pub struct Options {
    /// The v12 data folder.
    pub folder: PathBuf,
    /// Origin under which the outside reaches this server, without a trailing slash: for URLs of media
    /// where the installation doesn't say another.
    pub public_url: String,
    /// Program and arguments that end in [`duologue_sandbox::worker_main`].
    pub worker: Vec<OsString>,
    /// What requests of bots may reach besides the public Internet.
    pub allow: AllowList,
    /// Variables of the environment that the installation may refer to.
    pub env: BTreeMap<String, String>,
}

/// The bots that are served. Cheap to clone.
#[derive(Clone)]
pub struct Bots {
    core: Arc<Core>,
}

/// What all turns share.
struct Core {
    options: Options,
    store: Arc<Store>,
    scripts: Pool,
    outbound: Client,
    installed: std::sync::RwLock<Arc<Installed>>,
    lanes: Lanes,
    answering: Answering,
    alarm: timeouts::Alarm,
    recent: recent::Recent,
}

/// What a caller gets for a message.
#[derive(Debug)]
pub struct Answered {
    /// Messages that nobody was there to take before, oldest first.
    pub late: Vec<duologue_dialog::Value>,
    /// The turn.
    pub outcome: Outcome,
}

/// How long an answer waits at most when neither bot nor server says: not at all.
const NO_DELAY: Duration = Duration::ZERO;

impl Bots {
    /// Reads the data folder, gives its bots their rows, brings its accounts, and starts the workers.
    ///
    /// # Errors
    /// If there is no such folder, or workers can't be started.
    pub async fn open(options: Options, store: Arc<Store>) -> Result<Bots, Error> {
        let scripts = Pool::new(duologue_sandbox::Config::new(options.worker.clone()))?;
        let settings = duologue_outbound::Settings { allow: options.allow.clone(), ..Default::default() };
        let outbound = Client::new(settings)?;
        let secret = store.v12_secret().await?;
        let (found, database) = install::read(&options).await?;
        let installed = Installed::build(found, &options, &secret, None);
        import::bring(&store, database, &options).await?;
        let core = Core {
            options,
            scripts,
            outbound,
            installed: std::sync::RwLock::new(Arc::new(installed)),
            lanes: Lanes::default(),
            answering: Answering::default(),
            alarm: timeouts::Alarm::default(),
            recent: recent::Recent::new(store.is_shared()),
            store,
        };
        let bots = Bots { core: Arc::new(core) };
        bots.core.mount().await?;
        Ok(bots)
    }

    /// Watches the folder and the clock until `stop` turns true.
    pub async fn run(&self, stop: tokio::sync::watch::Receiver<bool>) {
        let watching = watch::watch(&self.core, stop.clone());
        tokio::join!(self.core.started(), watching, timeouts::timeouts(&self.core, stop));
    }

    /// What is served now.
    pub fn installed(&self) -> Arc<Installed> {
        self.core.installed()
    }

    /// The folder of a bot's files.
    pub fn folder_of(&self, bot: &LiveBot) -> PathBuf {
        let folder = &self.core.options.folder;
        let data = folder.join("data");
        let root = if data.join("global").is_dir() || data.join("bots").is_dir() { data } else { folder.clone() };
        [root.join("bots").join(&bot.id), root.join(&bot.id)].into_iter().find(|path| path.is_dir()).unwrap_or(root)
    }

    /// The store that conversations are kept in.
    pub fn store(&self) -> &Arc<Store> {
        &self.core.store
    }

    /// The client for requests to URLs that bots or their operators supply.
    pub fn outbound(&self) -> &Client {
        &self.core.outbound
    }

    /// Runs the turn of a user's message, after those that came before it, and answers when it is stored.
    ///
    /// # Errors
    /// [`Refusal::TimedOut`] if it takes longer than the bot's `converse.timeout`, in which case the turn
    /// goes on and its messages come with the user's next turn; [`Refusal::Busy`] if too many messages of
    /// this user wait; [`Refusal::Parallel`] if another is being answered and the bot refuses those;
    /// [`Refusal::Failed`] if the store fails.
    pub async fn converse(&self, bot: Arc<LiveBot>, input: Input) -> Result<Answered, Refusal> {
        let user = input.user.clone();
        let _alone = match bot.settings.rules.refuses_parallel {
            true => Some(self.core.answering.enter(&bot.id, &user).ok_or(Refusal::Parallel)?),
            false => None,
        };
        let delay = bot.settings.buffer_delay.unwrap_or(NO_DELAY);
        let mut answered = lanes::converse(&self.core, bot.clone(), input).await?;
        // A silent turn may be answered by somebody else in a moment.
        if answered.outcome.replies.is_empty() && answered.late.is_empty() && !delay.is_zero() {
            answered.late = turn::wait_for_late(&self.core, &bot.store_id, &user, delay).await;
        }
        Ok(answered)
    }
}

/// What a bot did with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Its turn is over, and stored.
    Answered,
    /// Bots of flows hear of messages only.
    NotAMessage,
    /// No such bot is served here.
    NotServed,
}

impl Bots {
    /// Runs the turn of a message that somebody said in a conversation of the Cloud API. The event is
    /// answered once, however often it is delivered.
    ///
    /// # Errors
    /// [`Refusal::Busy`] if too many messages of this conversation wait; [`Refusal::Failed`] if the store
    /// fails.
    pub async fn answer(&self, bot: &BotId, event: &Event) -> Result<Reaction, Refusal> {
        let Some(bot) = self.installed().bot(bot.as_str()) else { return Ok(Reaction::NotServed) };
        let (Some(conversation), Some(user)) = (&event.conversation_id, &event.user_id) else {
            return Ok(Reaction::NotAMessage);
        };
        let payload = Value::parse(event.payload.text()).unwrap_or_default();
        let message = payload.get("message");
        if event.kind != "message_created" || !matches!(message, Value::Object(_)) {
            return Ok(Reaction::NotAMessage);
        }
        let said = typed(message.str("type").unwrap_or("text"), message.get("payload"));
        let (conversation, user) = (ConversationId::new(conversation.as_str()), UserId::new(user.as_str()));
        let target = self.core.store.adopt_v12_conversation(&bot.store_id, conversation, user).await;
        let target = target.map_err(|error| turn::failed(&bot, &error))?;
        let incoming = Incoming::payload(&target, said);
        lanes::stored(&self.core, bot, incoming, event.id.as_str().to_owned()).await?;
        Ok(Reaction::Answered)
    }
}

/// A message's payload as that of an event, which has its type beside it.
fn typed(kind: &str, payload: &Value) -> Value {
    let mut typed = Object::new().with("type", kind);
    if let Value::Object(members) = payload {
        members.iter().for_each(|(name, value)| typed.set(name.clone(), value.clone()));
    }
    typed.into()
}

impl Core {
    fn installed(&self) -> Arc<Installed> {
        self.installed.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    fn swap(&self, installed: Installed) {
        *self.installed.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(installed);
    }

    /// Runs the hooks of the server's start.
    async fn started(self: &Arc<Self>) {
        let bots = self.installed().sorted();
        // Those of the server see no bot; one is needed to run them.
        if let Some(any) = bots.first() {
            turn::hook(self, any, Hook::AfterServerStart).await;
        }
        for bot in &bots {
            turn::hook(self, bot, Hook::AfterBotMount).await;
        }
    }

    /// Runs the hooks of bots that took another's place, or came, or went.
    async fn changed(self: &Arc<Self>, before: &Installed) {
        let now = self.installed();
        let is_same = |bot: &Arc<LiveBot>, other: &Installed| {
            other.bots.get(&bot.id).is_some_and(|other| Arc::ptr_eq(bot, other))
        };
        for bot in before.sorted().iter().filter(|bot| !is_same(bot, &now)) {
            turn::hook(self, bot, Hook::AfterBotUnmount).await;
        }
        for bot in now.sorted().iter().filter(|bot| !is_same(bot, before)) {
            turn::hook(self, bot, Hook::AfterBotMount).await;
        }
    }

    /// Gives every bot its row.
    async fn mount(&self) -> Result<(), Error> {
        for bot in self.installed().bots.values() {
            let mounted = self.store.mount_v12_bot(bot.store_id.clone(), bot.config.name.clone()).await?;
            if !mounted {
                return Err(Error::Invalid("there is no workspace yet that bots could belong to".to_owned()));
            }
        }
        Ok(())
    }
}
