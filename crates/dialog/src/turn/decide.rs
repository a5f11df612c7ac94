//! The pipeline of an incoming event, and the choice between suggestions and flows (`flows.md` § 13,
//! `decision-engine.md`).

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Run, Saved, dialog::Lost, iso_date};
use crate::{
    bot::Hook,
    host::Host,
    js,
    trace::{FailureKind, Step},
    value::{Object, Value},
};

/// What the original answers to `BP_LICENSE` when unlicensed (recording 27).
const LICENSE: &str = "**Botpress Pro**\nAvailable: false\nEnabled: undefined\nLicensed: true";

impl<H: Host> Run<'_, H> {
    /// Runs the event; says how much of the state is to be remembered.
    pub(super) async fn pipeline(&mut self) -> Saved {
        self.magic_words().await;
        self.apply_nlu_contexts();
        self.hooks(Hook::BeforeIncomingMiddleware).await;
        self.understand().await;
        self.suggest_answers().await;
        if self.event.get("isPause").truthy() {
            return Saved::Nothing;
        }
        self.builtin_after_incoming();
        self.hooks(Hook::AfterIncomingMiddleware).await;
        self.elect().await;
        match self.winner() {
            Some(winner) => self.answer_with(winner).await,
            None => self.run_flows().await,
        }
    }

    async fn magic_words(&mut self) {
        let answer = match self.event.str("preview") {
            Some("BP_VERSION") => format!("Version: {}", self.bot.globals.settings.version),
            Some("BP_LICENSE") => LICENSE.to_owned(),
            _ => return,
        };
        self.event.make_object().object_mut("flags").set("SKIP_DIALOG_ENGINE", true);
        self.send(Object::new().with("text", answer).with("markdown", true).into()).await;
    }

    // ---- election

    async fn elect(&mut self) {
        let in_flow = self.state("context").get("currentFlow").truthy();
        let mut suggestions = match self.event.make_object().get_mut("suggestions") {
            Some(Value::Array(suggestions)) => std::mem::take(suggestions),
            _ => Vec::new(),
        };
        let repeated = if suggestions.is_empty() { None } else { self.last_source() };
        judge(&mut suggestions, repeated.as_deref(), in_flow, &self.bot.globals.settings);
        self.event.make_object().set("suggestions", Value::Array(suggestions));
        let session = self.session_id();
        self.hooks_with(Hook::BeforeSuggestionsElection, |event| {
            Object::new().with("sessionId", session.as_str()).with("suggestions", event.get("suggestions").clone())
        })
        .await;
    }

    /// What the last reply came from, if it mustn't be repeated yet.
    fn last_source(&mut self) -> Option<String> {
        let settings = &self.bot.globals.settings;
        if !settings.no_repeat {
            return None;
        }
        let window = settings.no_repeat_window;
        let now = self.now();
        let last = self.state("session").get("lastMessages").as_array()?.last()?;
        let date = OffsetDateTime::parse(last.str("replyDate")?, &Rfc3339).ok()?;
        let age = i128::from(now) - date.unix_timestamp_nanos() / 1_000_000;
        (age < i128::from(window)).then(|| last.str("replySource").map(str::to_owned))?
    }

    pub(super) fn session_id(&self) -> String {
        format!("{}::api::{}", self.bot.id, self.target)
    }

    fn winner(&self) -> Option<Value> {
        let suggestions = self.event.get("suggestions").as_array()?;
        suggestions.iter().find(|suggestion| suggestion.get("decision").str("status") == Some("elected")).cloned()
    }

    // ---- with a winner

    async fn answer_with(&mut self, winner: Value) -> Saved {
        self.record_decision(&winner);
        self.event.make_object().set("decision", winner.clone());
        let payloads = winner.get("payloads").as_array().unwrap_or_default();
        let (redirects, sent): (Vec<&Value>, Vec<&Value>) =
            payloads.iter().partition(|payload| payload.str("type") == Some("redirect"));
        for payload in &sent {
            self.send((*payload).clone()).await;
        }
        let preview = sent.iter().find(|payload| payload.get("text").truthy()).map(|payload| (*payload).clone());
        let date = iso_date(self.now());
        let entry = Object::new()
            .with("eventId", self.event.get("id").clone())
            .with("replyDate", date)
            .with("replySource", source_of(&winner))
            .with("incomingPreview", self.event.get("preview").clone())
            .with("replyConfidence", winner.get("confidence").clone())
            .with("replyPreview", preview.unwrap_or_default());
        self.remember_message(entry);
        if self.redirect(&redirects) && !self.has_flag("SKIP_DIALOG_ENGINE") {
            return self.run_dialog().await;
        }
        self.hooks(Hook::AfterEventProcessed).await;
        if self.has_flag("FORCE_PERSIST_STATE") { Saved::All } else { Saved::UserAndSession }
    }

    /// Jumps where a winner's redirect leads, if it is complete and leads somewhere.
    fn redirect(&mut self, redirects: &[&Value]) -> bool {
        let Some(redirect) = redirects.first() else { return false };
        let (flow, node) = (redirect.str("flow").unwrap_or_default(), redirect.str("node").unwrap_or_default());
        if flow.is_empty() || node.is_empty() {
            return false;
        }
        match self.bot.find_flow(flow).filter(|found| found.node(node).is_some()) {
            Some(found) => {
                let name = found.name.clone();
                self.jump_from_code(&name, node);
                true
            }
            None => {
                self.ignore(&format!("a suggestion redirects to {flow}#{node}, which doesn't exist"));
                false
            }
        }
    }

    // ---- without a winner

    async fn run_flows(&mut self) -> Saved {
        if self.has_flag("SKIP_DIALOG_ENGINE") {
            self.hooks(Hook::AfterEventProcessed).await;
            return if self.has_flag("FORCE_PERSIST_STATE") { Saved::All } else { Saved::Nothing };
        }
        let decision = Object::new()
            .with("decision", Object::new().with("reason", "no suggestion matched").with("status", "elected"))
            .with("confidence", 1.0)
            .with("payloads", Value::Array(Vec::new()))
            .with("source", "decisionEngine")
            .with("sourceDetails", "execute default flow");
        let decision = Value::from(decision);
        self.record_decision(&decision);
        self.event.make_object().set("decision", decision);
        self.run_dialog().await
    }

    async fn run_dialog(&mut self) -> Saved {
        let mut saved = Saved::All;
        if let Err(Lost(message)) = self.dialog().await {
            self.error(FailureKind::Lost, &message);
            saved = self.recover().await;
        }
        self.hide_skills_in_trace();
        self.hooks(Hook::AfterEventProcessed).await;
        saved
    }

    /// Goes to the error flow's `entry` from a position that doesn't exist (`flows.md` § 7c). Without one
    /// the position is given up, so that the next message starts anew.
    async fn recover(&mut self) -> Saved {
        let bot = self.bot;
        let lost = self.state("context").as_object().is_some_and(|context| !context.is_empty());
        let error = bot.find_flow("error").filter(|flow| flow.node("entry").is_some());
        if let Some(flow) = error {
            self.jump_from_code(&flow.name, "entry");
            if self.dialog().await.is_ok() {
                return Saved::All;
            }
        }
        self.clear_conversation();
        if lost { Saved::All } else { Saved::Nothing }
    }

    fn record_decision(&mut self, decision: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.step(Step::Decision {
            source: text(decision.get("source")),
            details: text(decision.get("sourceDetails")),
            reason: text(decision.at(&["decision", "reason"])),
        });
    }
}

fn source_of(suggestion: &Value) -> String {
    format!("{} {}", js::display(suggestion.get("source")), js::display(suggestion.get("sourceDetails")))
}

/// Gives each suggestion its decision (`decision-engine.md` § 2).
fn judge(suggestions: &mut [Value], repeated: Option<&str>, in_flow: bool, settings: &crate::bot::globals::Settings) {
    let confidence = |suggestion: &Value| js::to_number(suggestion.get("confidence")).unwrap_or(f64::NAN);
    let mut order: Vec<usize> = (0..suggestions.len()).collect();
    order.sort_by(|&a, &b| {
        confidence(&suggestions[b]).partial_cmp(&confidence(&suggestions[a])).unwrap_or(std::cmp::Ordering::Equal)
    });
    let mut elected = false;
    for at in order {
        let suggestion = &mut suggestions[at];
        let (status, reason) = if confidence(suggestion) < settings.min_confidence {
            ("dropped", format!("confidence lower than {}", js::number_to_string(settings.min_confidence)))
        } else if repeated.is_some_and(|source| source == source_of(suggestion)) {
            ("dropped", format!("bot would repeat itself (within {}ms)", settings.no_repeat_window))
        } else if elected {
            ("dropped", "best suggestion already elected".to_owned())
        } else {
            elected = true;
            if in_flow {
                ("dropped", "would have been elected, but already in the middle of a flow".to_owned())
            } else {
                ("elected", "best remaining suggestion available".to_owned())
            }
        };
        if let Value::Object(members) = suggestion {
            members.set("decision", Object::new().with("status", status).with("reason", reason));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons(confidences: &[f64], repeated: Option<&str>, in_flow: bool) -> Vec<String> {
        let suggestion = |confidence: &f64| -> Value {
            Object::new()
                .with("confidence", *confidence)
                .with("source", "qna")
                .with("sourceDetails", js::number_to_string(*confidence))
                .into()
        };
        let mut suggestions: Vec<Value> = confidences.iter().map(suggestion).collect();
        judge(&mut suggestions, repeated, in_flow, &Default::default());
        suggestions.iter().map(|s| s.at(&["decision", "reason"]).as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_best_is_elected() {
        assert_eq!(
            reasons(&[0.6, 0.8, 0.2, 0.5], None, false),
            [
                "best suggestion already elected",
                "best remaining suggestion available",
                "confidence lower than 0.5",
                "best suggestion already elected",
            ]
        );
        assert_eq!(reasons(&[0.5], None, true), ["would have been elected, but already in the middle of a flow"]);
        assert_eq!(
            reasons(&[0.9, 0.7], Some("qna 0.9"), false),
            ["bot would repeat itself (within 20000ms)", "best remaining suggestion available"]
        );
    }
}
