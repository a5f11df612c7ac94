//! Actions, the integration's own settings, counters and observations
//! (`spec/cloud/runtime.md` §§ 10, 11, 14).

use duologue_model::{
    Json,
    id::{ConversationId, EventId, MessageId, UserId},
};
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    Client, Error,
    body::{Nullable, body},
};

/// What an action answered.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ActionOutput {
    /// What the handler returned.
    pub output: Json,
    /// Whether it is the answer to an earlier equal call.
    pub cached: bool,
}

/// How often an integration is asked to register again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum RegisterSchedule {
    Hourly,
    Daily,
    Weekly,
    BiWeekly,
    Monthly,
    BiMonthly,
    Quarterly,
    Yearly,
}

body! {
    /// Body of [`Client::configure_integration`]. What isn't set stays as it is.
    ConfigureIntegration {
        always {}
        optional {
            /// What shared webhooks name this instance by; `None` for nothing.
            identifier: Nullable<String>,
            /// How often the integration is asked to register again.
            schedule_register_call: RegisterSchedule,
        }
        optional_json {
            /// Kept by the server, without effect.
            sandbox_identifiers,
        }
    }
}

body! {
    /// Body of [`Client::capture_observation`].
    CaptureObservation {
        always {
            name: String,
            data: Json,
        }
        optional {
            /// Its id, to write it again.
            id: String,
            /// The message it is about.
            message_id: MessageId,
            /// The event it is about.
            event_id: EventId,
            /// The conversation it is about.
            conversation_id: ConversationId,
            /// The user it is about.
            user_id: UserId,
            /// The error it is about.
            error_id: String,
            /// The trace it is about.
            trace_id: String,
        }
    }
}

impl ConfigureIntegration {
    /// Changes nothing yet.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self::of()
    }
}

impl CaptureObservation {
    /// An observation with any JSON object.
    pub fn new(name: impl Into<String>, data: impl Serialize) -> Self {
        Self::of(name.into(), Json::of(&data))
    }
}

impl Client {
    /// Calls an action and waits for its answer. For bots, `kind` is `alias:action` for an
    /// integration's, `action` for its own.
    ///
    /// ```no_run
    /// # async fn example(client: duologue_client::Client) -> Result<(), duologue_client::Error> {
    /// let issue = client.call_action("github:createIssue", serde_json::json!({"title": "It rains"})).await?;
    /// println!("{}", issue.output.text());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`crate::ErrorKind::Runtime`] with the handler's own message when the handler failed.
    pub async fn call_action(&self, kind: &str, input: impl Serialize + Send) -> Result<ActionOutput, Error> {
        #[derive(Deserialize)]
        struct Answer {
            output: Json,
            #[serde(default)]
            meta: Meta,
        }
        #[derive(Default, Deserialize)]
        struct Meta {
            #[serde(default)]
            cached: bool,
        }
        #[derive(Serialize)]
        struct Body<'a> {
            r#type: &'a str,
            input: Json,
        }
        let body = Body { r#type: kind, input: Json::of(&input) };
        let answer: Answer = self.request(Method::POST, &["v1", "chat", "actions"]).json(&body).send().await?;
        Ok(ActionOutput { output: answer.output, cached: answer.meta.cached })
    }

    /// For integrations: changes settings of the calling instance.
    pub async fn configure_integration(&self, body: ConfigureIntegration) -> Result<(), Error> {
        self.request(Method::POST, &["v1", "chat", "integrations", "configure"]).json(&body).done().await
    }

    /// Adds to today's counter `name`.
    pub async fn track_analytics(&self, name: &str, count: u32) -> Result<(), Error> {
        let body = json!({ "name": name, "count": count });
        self.request(Method::POST, &["v1", "chat", "analytics"]).json(&body).done().await
    }

    /// Records an observation.
    pub async fn capture_observation(&self, body: CaptureObservation) -> Result<(), Error> {
        self.request(Method::POST, &["v1", "chat", "observations"]).json(&body).done().await
    }
}
