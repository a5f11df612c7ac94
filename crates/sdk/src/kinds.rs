//! What a bot names: its states, events, actions and workflows, each a Rust type.
//!
//! Implemented by the bot's author; used by definitions (names and schemas), handlers (what they are
//! given) and the context (what is read and written).

use std::time::Duration;

use duologue_client::StateType;
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

/// What a bot's state is kept for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One for each conversation.
    Conversation,
    /// One for each user.
    User,
    /// One for the bot.
    Bot,
    /// One for each workflow. Not part of what is deployed: servers take them undeclared.
    Workflow,
}

impl Scope {
    /// As the API says it.
    pub fn state_type(self) -> StateType {
        match self {
            Scope::Conversation => StateType::Conversation,
            Scope::User => StateType::User,
            Scope::Bot => StateType::Bot,
            Scope::Workflow => StateType::Workflow,
        }
    }
}

/// A state: the type is what is kept (`spec/cloud/runtime.md` § 8).
///
/// ```
/// use std::time::Duration;
/// use duologue_sdk::{BotState, JsonSchema, Scope};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, JsonSchema)]
/// struct Cart {
///     items: Vec<String>,
/// }
///
/// impl BotState for Cart {
///     const NAME: &str = "cart";
///     const SCOPE: Scope = Scope::User;
///     const EXPIRY: Option<Duration> = Some(Duration::from_secs(3600));
/// }
/// ```
pub trait BotState: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// Its name.
    const NAME: &'static str;
    /// What it is kept for.
    const SCOPE: Scope;
    /// How long it stays when nobody reads or writes it (1 ms to 30 days); `None`: until it is deleted.
    const EXPIRY: Option<Duration> = None;
}

/// An event: the type is its payload (`spec/cloud/runtime.md` § 7). For the bot's own events, and for
/// those of integrations (`slack:reactionAdded`) and plugins (`hitl#assigned`), which aren't added to the
/// definition.
pub trait BotEvent: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// Its type, as the bot sees it.
    const TYPE: &'static str;
    /// For people; at most 64 characters.
    const TITLE: Option<&'static str> = None;
    /// For people; at most 256 characters.
    const DESCRIPTION: Option<&'static str> = None;
}

/// An action: something that can be called and answers (`spec/cloud/runtime.md` § 10). For the bot's
/// own, and for those of integrations (`github:createIssue`), which aren't added to the definition.
pub trait BotAction: Send + Sync + 'static {
    /// What it is called by.
    const NAME: &'static str;
    /// For people; at most 64 characters.
    const TITLE: Option<&'static str> = None;
    /// For people; at most 256 characters.
    const DESCRIPTION: Option<&'static str> = None;
    /// What it takes; a JSON object.
    type Input: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static;
    /// What it answers; a JSON object.
    type Output: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static;
}

/// A workflow: work that goes on until it says that it is done (`spec/cloud/runtime.md` § 12).
pub trait BotWorkflow: Send + Sync + 'static {
    /// Its name.
    const NAME: &'static str;
    /// How long a new one may take before it times out; `None`: what the server says (5 minutes).
    const TIMEOUT: Option<Duration> = None;
    /// What it starts from; a JSON object.
    type Input: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What it results in; a JSON object.
    type Output: Serialize + Send + Sync + 'static;
}
