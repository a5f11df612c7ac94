//! Slots: the skill's actions and its hook (`actions-skills.md` § 7).

use super::{Failure, Run};
use crate::{
    host::Host,
    js,
    value::{Object, Text, Value},
};

impl<H: Host> Run<'_, H> {
    /// Runs for every event: slots grow older and expire, slots of the NLU are taken over.
    pub(super) fn slot_hook(&mut self) {
        let now = self.slot_time();
        let found = self.event.get("nlu").get("slots").as_object().cloned().unwrap_or_default();
        let slots = self.state_mut("session").object_mut("slots");
        let names: Vec<Text> = slots.iter().map(|(name, _)| name.clone()).collect();
        for name in names {
            let Some(Value::Object(slot)) = slots.get_mut(&name) else { continue };
            let turns = slot.get("turns").and_then(js::to_number).unwrap_or(f64::NAN) + 1.0;
            slot.set("turns", turns);
            let expires = slot.get("expiresAfterTurns").and_then(Value::as_f64);
            if expires.is_some_and(|after| after > -1.0 && turns >= after) {
                slots.remove(&name);
            }
        }
        for (name, slot) in found.iter().filter(|(_, slot)| slot.truthy()) {
            let kept = slots.get(name).is_some_and(|old| *old.get("overwritable") == Value::Bool(false));
            if kept {
                continue;
            }
            let mut slot = slot.clone();
            let members = slot.make_object();
            members.set("timestamp", now as f64);
            members.set("turns", 0.0);
            members.set("overwritable", true);
            members.set("expiresAfterTurns", false);
            slots.set(name.clone(), slot);
            slots.set("notFound", 0.0);
        }
    }

    /// The time for new slots; asked for only if there may be some.
    fn slot_time(&mut self) -> i64 {
        let any = self.event.get("nlu").get("slots").as_object().is_some_and(|slots| !slots.is_empty());
        if any { self.now() } else { 0 }
    }

    pub(super) fn slot_update_contexts(&mut self, args: &Object) -> Result<(), Failure> {
        let bot = self.bot;
        let name = args.get("intentName").and_then(Value::as_str).unwrap_or_default();
        let intent = bot.intent(name).ok_or_else(|| Failure::action(format!("there is no intent {name}")))?;
        let context = |name: &Text| Value::from(Object::new().with("context", name).with("ttl", 1000.0));
        let contexts: Vec<Value> = intent.contexts.iter().map(context).collect();
        self.state_mut("session").set("nluContexts", Value::Array(contexts));
        let temp = self.state_mut("temp");
        temp.set("tryFillSlotCount", 1.0);
        for name in ["extracted", "notExtracted", "alreadyExtracted"] {
            temp.set(name, false);
        }
        temp.set("valid", Value::Undefined);
        Ok(())
    }

    pub(super) fn slot_fill(&mut self, args: &Object) {
        let name = args.get("slotName").map(js::display).unwrap_or_default();
        let wanted = args.get("entities").map(js::display).unwrap_or_default();
        let wanted: Vec<&str> = wanted.split(',').map(str::trim).collect();
        let found = self.event.get("nlu").get("entities").as_array().unwrap_or_default().to_vec();
        if !found.is_empty() {
            for entity in found.iter().filter(|entity| entity.str("name").is_some_and(|name| wanted.contains(&name))) {
                let value = entity.at(&["data", "value"]).clone();
                self.fill(&name, value, entity.clone(), Value::Undefined);
            }
        } else if wanted.contains(&"any") {
            let text = self.event.get("preview").clone();
            let length = text.as_str().map_or(0, js::length) as f64;
            let entity = Object::new()
                .with("name", "any")
                .with("type", "any")
                .with("meta", Object::new().with("start", 0.0).with("end", length))
                .with("data", Object::new().with("extras", Object::new()).with("value", text.clone()));
            let expiry = args.get("turnExpiry").cloned().unwrap_or_default();
            self.fill(&name, text, entity.into(), expiry);
        }
    }

    fn fill(&mut self, name: &str, value: Value, entity: Value, expires_after: Value) {
        if self.state_mut("session").object_mut("slots").get(name).is_some_and(Value::truthy) {
            return;
        }
        let now = self.now();
        let slot = Object::new()
            .with("name", name)
            .with("value", value)
            .with("entity", entity)
            .with("timestamp", now as f64)
            .with("turns", 0.0)
            .with("overwritable", true)
            .with("expiresAfterTurns", expires_after);
        let slots = self.state_mut("session").object_mut("slots");
        slots.set(name, slot);
        slots.set("notFound", 0.0);
    }

    pub(super) fn slot_not_found(&mut self, args: &Object) {
        let slots = self.state_mut("session").object_mut("slots");
        if !slots.get("notFound").is_some_and(Value::truthy) {
            slots.set("notFound", 1.0);
        }
        let attempts = args.get("retryAttempts").and_then(js::to_number).unwrap_or(f64::NAN).min(10.0);
        let temp = self.state_mut("temp");
        let count = temp.get("tryFillSlotCount").and_then(js::to_number).unwrap_or(f64::NAN);
        if count < attempts {
            temp.set("tryFillSlotCount", count + 1.0);
        } else {
            temp.set("notExtracted", "true");
        }
    }

    pub(super) fn slot_reset(&mut self, args: &Object) {
        let name = args.get("slotName").map(js::display).unwrap_or_default();
        self.state_mut("session").object_mut("slots").set(name, Value::Undefined);
    }
}
