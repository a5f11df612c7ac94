//! States as Rust types: read, written, changed, left to expire (`spec/cloud/runtime.md` § 8).

use std::{marker::PhantomData, time::Duration};

use duologue_client::{Client, GetOrSetState, Json, PatchState, SetState, State};
use serde::Serialize;

use crate::{BotState, Error};

/// One state of one conversation, user, workflow or bot. Made by [`crate::Context::state`].
///
/// ```no_run
/// # use duologue_sdk::{BotState, Context, JsonSchema, Result, Scope};
/// # use std::time::Duration;
/// # #[derive(serde::Serialize, serde::Deserialize, JsonSchema)]
/// # struct Cart { items: Vec<String> }
/// # impl BotState for Cart { const NAME: &str = "cart"; const SCOPE: Scope = Scope::User; }
/// # async fn example(ctx: Context) -> Result {
/// let mut cart = ctx.state::<Cart>().get_or_set(&Cart { items: vec![] }).await?;
/// cart.items.push("tea".into());
/// ctx.state::<Cart>().expiring(Duration::from_secs(600)).set(&cart).await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use]
pub struct StateOf<S> {
    client: Client,
    /// Of whom; or why that isn't known, to be said when it is used.
    id: Result<String, Error>,
    /// `None`: as before, or as the definition says.
    expiry: Option<Option<Duration>>,
    state: PhantomData<fn() -> S>,
}

/// A state that has expired, for [`crate::Bot::on_state_expired`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Expired<S> {
    /// What was kept.
    pub value: S,
    /// The state as the server had it: of whom, since when.
    pub state: State,
}

impl<S: BotState> StateOf<S> {
    pub(crate) fn new(client: Client, id: Result<String, Error>) -> Self {
        // Declared with the state itself, so that it counts on servers that never saw the definition.
        let expiry = S::EXPIRY.map(Some);
        StateOf { client, id, expiry, state: PhantomData }
    }

    /// Writes with this expiry instead of the type's: after so much idle time (1 ms to 30 days), or
    /// `None` for never. For [`StateOf::set`] and [`StateOf::get_or_set`].
    pub fn expiring(mut self, idle: impl Into<Option<Duration>>) -> Self {
        self.expiry = Some(idle.into());
        self
    }

    /// What is kept; `None` when nothing is, or it has expired. Reading counts as use: the idle time
    /// begins anew.
    pub async fn get(self) -> Result<Option<S>, Error> {
        self.get_whole().await?.map(|state| read(&state)).transpose()
    }

    /// The same with all that the server says about it: when it was written, when it expires.
    pub async fn get_whole(self) -> Result<Option<State>, Error> {
        match self.client.get_state(S::SCOPE.state_type(), self.id?, S::NAME).await {
            Ok(state) => Ok(Some(state)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps this instead of what was kept.
    pub async fn set(self, value: &S) -> Result<(), Error> {
        let mut body = SetState::new(value);
        if let Some(expiry) = self.expiry {
            body = body.expiry(expiry);
        }
        self.client.set_state(S::SCOPE.state_type(), self.id?, S::NAME, body).await?;
        Ok(())
    }

    /// What is kept; if nothing is, this from now on. Of several at the same time one wins, and all get
    /// the winner's.
    pub async fn get_or_set(self, value: &S) -> Result<S, Error> {
        let mut body = GetOrSetState::new(value);
        if let Some(expiry) = self.expiry {
            body = body.expiry(expiry);
        }
        read(&self.client.get_or_set_state(S::SCOPE.state_type(), self.id?, S::NAME, body).await?)
    }

    /// Replaces some of its members: those of this JSON object. Gives the whole.
    ///
    /// # Errors
    ///
    /// [`Error::Client`] with `ResourceNotFound` when nothing is kept; [`Error::Shape`] when what came of
    /// it is no `S`.
    pub async fn patch(self, members: &(impl Serialize + Sync + ?Sized)) -> Result<S, Error> {
        // No expiry: not all servers take one here, and the state has its own.
        let body = PatchState::new(members);
        read(&self.client.patch_state(S::SCOPE.state_type(), self.id?, S::NAME, body).await?)
    }

    /// Sets after how much idle time it expires; `None` for never.
    pub async fn set_expiry(self, idle: impl Into<Option<Duration>>) -> Result<State, Error> {
        Ok(self.client.set_state_expiry(S::SCOPE.state_type(), self.id?, S::NAME, idle).await?)
    }

    /// Keeps nothing any more. No event comes of it.
    pub async fn delete(self) -> Result<(), Error> {
        // `null` deletes, on every server; the operation to delete is Duologue's own.
        let body = SetState::new(Option::<()>::None);
        match self.client.set_state(S::SCOPE.state_type(), self.id?, S::NAME, body).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn read<S: BotState>(state: &State) -> Result<S, Error> {
    parse(&state.payload)
}

fn parse<S: BotState>(payload: &Json) -> Result<S, Error> {
    serde_json::from_str(payload.text()).map_err(Error::shape(format!("the state {}", S::NAME)))
}
