//! Understanding the message: entities, prediction, suggestions of QnA (`qna-nlu.md` § 4, § 8).

use super::{Run, Script, say::Rendering};
use crate::{
    bot::{Answer, Qna, instruction::Content},
    host::{Host, ScriptKind},
    nlu::{self, Entity, Found},
    template::TemplateValue,
    trace::Effect,
    value::{Object, Value},
};

/// Types of events that aren't understood (`qna-nlu.md` § 4).
const NOT_UNDERSTOOD: &[&str] = &["session_reference", "session_reset", "bp_dialog_timeout", "visit", "say_something"];

impl<H: Host> Run<'_, H> {
    pub(super) async fn understand(&mut self) {
        let skipped = self.has_flag("SKIP_NATIVE_NLU")
            || !self.bot.globals.settings.nlu
            || self.event.str("type").is_some_and(|kind| NOT_UNDERSTOOD.contains(&kind));
        let Some(text) = self.event.str("preview").filter(|text| !text.is_empty() && !skipped) else { return };
        let text = text.to_owned();
        let mut entities = Vec::new();
        for entity in self.bot.entities() {
            let found = match nlu::extract(entity, &text) {
                Some(found) => found,
                None => self.extract_by_script(entity, &text).await,
            };
            entities.extend(found.iter().map(|found| found.to_value(entity, &text)));
        }
        self.predict(&text, &entities).await;
        if !entities.is_empty() {
            let members = self.event.make_object().object_mut("nlu");
            if let Some(Value::Array(predicted)) = members.get_mut("entities") {
                entities.append(predicted);
            }
            members.set("entities", Value::Array(entities));
        }
    }

    async fn predict(&mut self, text: &str, entities: &[Value]) {
        let request = Object::new()
            .with("text", text)
            .with("entities", Value::Array(entities.to_vec()))
            .with("includedContexts", self.event.at(&["nlu", "includedContexts"]).clone())
            .with("language", self.state("user").get("language").clone())
            .with("defaultLanguage", &self.bot.config.default_language);
        let result = self.host.predict(&request.into()).await;
        self.effects.push(Effect::Predict { result: result.clone() });
        match result {
            Ok(None) => {}
            Ok(Some(prediction)) => {
                if let Some(nlu) = self.event.make_object().get_mut("nlu") {
                    nlu::merge(nlu, prediction);
                }
            }
            Err(message) => {
                self.event.make_object().object_mut("nlu").set("errored", true);
                self.ignore(&format!("prediction: {message}"));
            }
        }
    }

    /// Asks the script engine for the matches of a pattern that isn't translated.
    async fn extract_by_script(&mut self, entity: &Entity, text: &str) -> Vec<Found> {
        let nlu::EntityKind::Pattern { source, flags, .. } = &entity.kind else { return Vec::new() };
        let (source, subject) = (Value::from(source), Value::text(text));
        let expression = format!(
            "[...{subject}.matchAll(new RegExp({source}, \"g{flags}\"))].map(m => [m.index, m.index + m[0].length])"
        );
        let script =
            Script { kind: ScriptKind::Pattern, name: &entity.name, path: "", global: false, source: &expression };
        let matches = match self.script(script, &Object::new()).await.result {
            Ok(matches) => matches,
            Err(error) => {
                self.ignore(&format!("entity {}: {error}", entity.name));
                return Vec::new();
            }
        };
        let ranges = matches.as_array().unwrap_or_default().iter().filter_map(|range| {
            let [Value::Number(start), Value::Number(end)] = range.as_array()? else { return None };
            let (start, end) = (byte_offset(text, *start)?, byte_offset(text, *end)?);
            (start < end).then(|| Found { confidence: 1.0, start, end, value: text[start..end].into() })
        });
        ranges.collect()
    }

    /// Suggestions for every predicted question.
    pub(super) async fn suggest_answers(&mut self) {
        if self.bot.config.qna_disabled || self.has_flag("SKIP_QNA_PROCESSING") {
            return;
        }
        let bot = self.bot;
        let intents = self.event.at(&["nlu", "intents"]).as_array().unwrap_or_default().to_vec();
        for intent in &intents {
            let Some(name) = intent.str("name") else { continue };
            let Some(id) = name.strip_prefix("__qna__") else { continue };
            match bot.qna(id) {
                None => self.ignore(&format!("the predicted question {id} doesn't exist")),
                Some(qna) if qna.enabled => {
                    let payloads = self.answer(qna).await;
                    let suggestion = Object::new()
                        .with("confidence", intent.get("confidence").clone())
                        .with("payloads", Value::Array(payloads))
                        .with("source", "qna")
                        .with("sourceDetails", name);
                    self.add_suggestion(suggestion.into());
                }
                Some(_) => {}
            }
        }
    }

    fn add_suggestion(&mut self, suggestion: Value) {
        let event = self.event.make_object();
        if !matches!(event.get("suggestions"), Some(Value::Array(_))) {
            event.set("suggestions", Value::Array(Vec::new()));
        }
        if let Some(Value::Array(suggestions)) = event.get_mut("suggestions") {
            suggestions.push(suggestion);
        }
    }

    async fn answer(&mut self, qna: &Qna) -> Vec<Value> {
        let mut payloads = Vec::new();
        if qna.action.contains("text") {
            payloads.extend(self.text_answer(qna).await);
        }
        if qna.action.contains("redirect") {
            let redirect = Object::new()
                .with("type", "redirect")
                .with("flow", &qna.redirect_flow)
                .with("node", &qna.redirect_node);
            payloads.push(redirect.into());
        }
        payloads
    }

    async fn text_answer(&mut self, qna: &Qna) -> Vec<Value> {
        let language = self.state("user").str("language").map(str::to_owned);
        let in_language = |language: &str| qna.answers.iter().find(|(name, _)| &**name == language);
        let answers = language.as_deref().and_then(in_language).or(in_language(&self.bot.config.default_language));
        let Some((_, answers)) = answers else {
            self.ignore(&format!("the question {} has no answers in the bot's language", qna.id));
            return Vec::new();
        };
        let drawn = match answers.len() {
            0 | 1 => 0,
            count => (self.random() * count as f64) as usize,
        };
        let mut args = Object::new().with("collectFeedback", true);
        let (content, text): (Content, Option<&TemplateValue>) = match answers.get(drawn) {
            Some(Answer::Element(id)) => (Content::Element(id.clone()), None),
            Some(Answer::Text(text)) => {
                args = args.with("text", text.raw()).with("typing", true).with("markdown", true);
                (Content::Inline("builtin_text".into()), Some(text))
            }
            None => {
                args = args.with("typing", true).with("markdown", true);
                (Content::Inline("builtin_text".into()), None)
            }
        };
        let event = std::mem::take(&mut self.event);
        let rendering = Rendering { content: &content, args, text, event: &event, flow: false };
        let payloads = self.render(rendering).await;
        self.event = event;
        payloads.unwrap_or_else(|failure| {
            self.ignore(&format!("answer to {}: {}", qna.id, failure.message));
            Vec::new()
        })
    }
}

/// The byte at which UTF-16 unit `units` of a text begins.
fn byte_offset(text: &str, units: f64) -> Option<usize> {
    let mut count = 0.0;
    let mut ends = text.char_indices().map(|(at, c)| (at, c.len_utf16())).chain([(text.len(), 0)]);
    ends.find_map(|(at, length)| {
        let here = count == units;
        count += length as f64;
        here.then_some(at)
    })
}
