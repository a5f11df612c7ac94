//! States: named JSON kept for a bot, user, conversation, integration, task or workflow
//! (`spec/cloud/runtime.md` § 8).
//!
//! The id that a state is kept for is any text or id here: its kind depends on the state's type.

use std::{fmt::Display, time::Duration};

use duologue_model::{Json, State, StateType};
use http::Method;
use serde::{Serialize, Serializer};

use crate::{Client, Error, List, Request, filters};

/// Idle time until a state expires: milliseconds on the wire, `null` for never.
#[derive(Clone, Copy, Debug)]
struct Expiry(Option<Duration>);

impl Serialize for Expiry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(idle) => serializer.serialize_u64(u64::try_from(idle.as_millis()).unwrap_or(u64::MAX)),
            None => serializer.serialize_none(),
        }
    }
}

/// Defines the bodies, which differ in what they are for only.
macro_rules! state_bodies {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Serialize)]
        #[must_use]
        pub struct $name {
            payload: Json,
            #[serde(skip_serializing_if = "Option::is_none")]
            expiry: Option<Expiry>,
        }

        impl $name {
            /// With any JSON object.
            pub fn new(payload: impl Serialize) -> Self {
                $name { payload: Json::of(&payload), expiry: None }
            }

            /// Expires after so much idle time (1 ms to 30 days), or never. When not called: as
            /// before, or as the state's definition says.
            pub fn expiry(mut self, idle: impl Into<Option<Duration>>) -> Self {
                self.expiry = Some(Expiry(idle.into()));
                self
            }
        }
    )*};
}

state_bodies! {
    /// Body of [`Client::set_state`].
    SetState;
    /// Body of [`Client::patch_state`].
    PatchState;
    /// Body of [`Client::get_or_set_state`].
    GetOrSetState;
}

impl Client {
    /// A state.
    ///
    /// # Errors
    ///
    /// [`Error::is_not_found`] when there is none, or it has expired.
    pub async fn get_state(&self, kind: StateType, id: impl Display + Send, name: &str) -> Result<State, Error> {
        self.state(Method::GET, kind, id, name, &[]).field("state").await
    }

    /// Creates or replaces a state.
    ///
    /// ```no_run
    /// # async fn example(client: duologue_client::Client) -> Result<(), duologue_client::Error> {
    /// use duologue_client::{SetState, StateType};
    /// use serde_json::json;
    /// use std::{fmt::Display, time::Duration};
    ///
    /// let cart = SetState::new(json!({"items": []})).expiry(Duration::from_secs(3600));
    /// client.set_state(StateType::User, "user_01J00000000000000000000000", "cart", cart).await?;
    /// # Ok(()) }
    /// ```
    pub async fn set_state(
        &self,
        kind: StateType,
        id: impl Display + Send,
        name: &str,
        body: SetState,
    ) -> Result<State, Error> {
        self.state(Method::POST, kind, id, name, &[]).json(&body).field("state").await
    }

    /// The state as it is, or else a new one with this payload. Atomic.
    pub async fn get_or_set_state(
        &self,
        kind: StateType,
        id: impl Display + Send,
        name: &str,
        body: GetOrSetState,
    ) -> Result<State, Error> {
        self.state(Method::POST, kind, id, name, &["get-or-set"]).json(&body).field("state").await
    }

    /// Replaces the given top-level members of a state's payload.
    pub async fn patch_state(
        &self,
        kind: StateType,
        id: impl Display + Send,
        name: &str,
        body: PatchState,
    ) -> Result<State, Error> {
        self.state(Method::PATCH, kind, id, name, &[]).json(&body).field("state").await
    }

    /// Sets the idle time (1 ms to 30 days) until a state expires; `None` for never.
    pub async fn set_state_expiry(
        &self,
        kind: StateType,
        id: impl Display + Send,
        name: &str,
        idle: impl Into<Option<Duration>>,
    ) -> Result<State, Error> {
        let body = serde_json::json!({ "expiry": Expiry(idle.into()) });
        self.state(Method::POST, kind, id, name, &["expiry"]).json(&body).field("state").await
    }

    /// The states kept for something, newest first. Duologue's own operation.
    pub fn list_states(&self, kind: StateType, id: impl Display + Send) -> List<State, filters::States> {
        self.list(&["v1", "chat", "states"], "states").query("type", kind.name()).query("id", id)
    }

    /// Removes a state, without the event that its expiry would cause. Duologue's own operation.
    pub async fn delete_state(&self, kind: StateType, id: impl Display + Send, name: &str) -> Result<(), Error> {
        self.state(Method::DELETE, kind, id, name, &[]).done().await
    }

    fn state(&self, method: Method, kind: StateType, id: impl Display + Send, name: &str, more: &[&str]) -> Request {
        let id = id.to_string();
        let path = ["v1", "chat", "states", kind.name(), &id, name];
        self.request(method, &[&path, more].concat())
    }
}

impl List<State, filters::States> {
    /// Only those with this name.
    pub fn name(self, name: &str) -> Self {
        self.query("name", name)
    }
}
