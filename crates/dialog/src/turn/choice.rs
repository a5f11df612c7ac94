//! The choice skill's actions (`actions-skills.md` § 5).

use super::Run;
use crate::{
    bot::content::localized,
    host::Host,
    js,
    value::{Object, Value},
};

/// `name-ID`, or the bare name in bots from before there was an id.
fn variable(name: &str, args: &Object) -> String {
    let own = args.get("config").map(|config| config.get("variableName")).and_then(Value::as_str);
    let id = own.filter(|id| !id.is_empty()).or(args.get("randomId").and_then(Value::as_str));
    match id.filter(|id| !id.is_empty()) {
        Some(id) => format!("{name}-{id}"),
        None => name.to_owned(),
    }
}

impl<H: Host> Run<'_, H> {
    pub(super) fn choice_parse_answer(&mut self, args: &Object) {
        let choice = self.matching_choice(args);
        let temp = self.state_mut("temp");
        temp.set(variable("skill-choice-valid", args), choice.is_some());
        if let Some(choice) = choice {
            temp.set(variable("skill-choice-ret", args), choice);
        }
    }

    pub(super) fn choice_invalid_answer(&mut self, args: &Object) {
        let name = variable("skill-choice-invalid-count", args);
        let temp = self.state_mut("temp");
        let count = temp.get(&name).filter(|count| count.truthy()).and_then(js::to_number).unwrap_or(0.0);
        temp.set(name, count + 1.0);
    }

    /// The key that the answer picks (§ 5.1).
    fn matching_choice(&self, args: &Object) -> Option<Value> {
        let lower = |value: &Value| value.as_str().map(str::to_lowercase).unwrap_or_default();
        let payload = self.event.get("payload");
        let preview = lower(self.event.get("preview"));
        let answers = [preview.clone(), lower(payload.get("text")), lower(payload.get("payload"))];
        let none = Object::new();
        let keywords = args.get("keywords").and_then(Value::as_object).unwrap_or(&none);
        let words = |value: &Value| -> Vec<String> {
            value.as_array().unwrap_or_default().iter().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let first = |matches: &dyn Fn(&str) -> bool| {
            let hit = keywords.iter().find(|(_, value)| words(value).iter().any(|word| matches(word)));
            hit.map(|(key, _)| Value::from(key))
        };
        self.numbered_choice(&preview, args)
            .or_else(|| {
                let intent = self.event.at(&["nlu", "intent", "name"]).as_str()?;
                let matches = |word: &str| {
                    let prefix =
                        word.get(.."intent:".len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case("intent:"));
                    prefix && &word["intent:".len()..] == intent
                };
                if self.bot.choice_matches_intents() { first(&matches) } else { None }
            })
            .or_else(|| first(&|word| answers.contains(&word.to_lowercase())))
            .or_else(|| first(&|word| answers.iter().any(|answer| answer.contains(&word.to_lowercase()))))
    }

    /// The choice of a number such as `2`, `#2` or `2)`. The original looked only into unsuffixed stored
    /// choices, which no editor writes; with `number_answers` the choices in the user's language count.
    fn numbered_choice(&self, preview: &str, args: &Object) -> Option<Value> {
        if !self.bot.choice_matches_numbers() {
            return None;
        }
        let mark = |c| matches!(c, '#' | ')' | '.' | '!');
        let digits = preview.strip_prefix(mark).unwrap_or(preview);
        let digits = digits.strip_suffix(mark).unwrap_or(digits);
        if !matches!(digits.len(), 1 | 2) || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let index = digits.parse::<usize>().ok()?.checked_sub(1)?;
        let element = self.bot.element(args.get("contentId")?.as_str()?)?;
        let mut choices = element.form().get("choices").clone();
        if choices.is_undefined() && self.bot.globals.settings.number_answers {
            let language = self.state("user").str("language");
            let default = &self.bot.config.default_language;
            choices = localized(&element.templates, "choices", language, default)?.raw();
        }
        let value = choices.as_array()?.get(index)?.get("value").clone();
        value.truthy().then_some(value)
    }
}
