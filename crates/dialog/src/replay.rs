//! Doing a recorded turn again.

use std::{collections::VecDeque, sync::Mutex};

use crate::{
    host::{ErrorClass, Host, HttpFailure, HttpRequest, HttpResponse, KvsScope, Mail, ScriptCall, ScriptOutcome, Sdk},
    trace::Effect,
    value::Value,
};

/// A host that answers what the world answered in a recorded turn.
///
/// Answers are matched by what was asked, in the order of the record, so that a changed bot that asks for
/// less or in another order gets along. The clock, chance and ids go on from their last value when the
/// record ends. What the record doesn't know goes to the fallback: [`Refuse`], or a host that runs scripts.
/// Where there is one, only a script whose text, event and variables are those of the record has the recorded
/// outcome; without one, any script of the same name.
#[derive(Debug)]
pub struct Replay<F = Refuse> {
    left: Mutex<VecDeque<Effect>>,
    last: Mutex<(i64, f64, u64)>,
    fallback: F,
    by_name: bool,
}

impl Replay {
    /// Answers from a record only.
    pub fn new(effects: &[Effect]) -> Replay {
        Replay { by_name: true, ..Replay::with_fallback(effects, Refuse) }
    }
}

impl<F> Replay<F> {
    /// Answers from a record, and from `fallback` what isn't in it.
    pub fn with_fallback(effects: &[Effect], fallback: F) -> Replay<F> {
        let now = effects.iter().find_map(|effect| match effect {
            Effect::Now { millis } => Some(*millis),
            _ => None,
        });
        let left = Mutex::new(effects.iter().cloned().collect());
        Replay { left, last: Mutex::new((now.unwrap_or(0), 0.0, 0)), fallback, by_name: false }
    }

    /// Whether every recorded answer was asked for.
    pub fn is_used_up(&self) -> bool {
        self.left.lock().map(|left| left.is_empty()).unwrap_or(false)
    }

    /// Takes the first effect for which `of` gives something.
    fn take<T>(&self, of: impl Fn(&Effect) -> Option<T>) -> Option<T> {
        let mut left = self.left.lock().ok()?;
        let (at, found) = left.iter().enumerate().find_map(|(at, effect)| Some((at, of(effect)?)))?;
        left.remove(at);
        Some(found)
    }
}

impl<F: Host> Host for Replay<F> {
    async fn script<S: Sdk>(&self, call: ScriptCall<'_>, sdk: &mut S) -> ScriptOutcome {
        let print = call.fingerprint();
        let recorded = |same: &dyn Fn(u64) -> bool| {
            self.take(|effect| match effect {
                Effect::Script { kind, name, given, calls, ran }
                    if *kind == call.kind && name == call.name && same(*given) =>
                {
                    Some((calls.clone(), ran.clone()))
                }
                _ => None,
            })
        };
        let mut found = recorded(&|given| given == print);
        if found.is_none() && self.by_name {
            found = recorded(&|_| true);
        }
        let Some((calls, ran)) = found else { return self.fallback.script(call, sdk).await };
        for (method, args) in calls {
            // What it answers now is what it answered then; the script isn't run, so nobody reads it.
            let _ = sdk.call(&method, args).await;
        }
        ran.outcome(call.event)
    }

    async fn http(&self, request: HttpRequest) -> Result<HttpResponse, HttpFailure> {
        let recorded = self.take(|effect| match effect {
            Effect::Http { request: asked, result } if *asked == request => Some(result.clone()),
            _ => None,
        });
        match recorded {
            Some(result) => result,
            None => self.fallback.http(request).await,
        }
    }

    async fn mail(&self, mail: Mail) -> Result<(), String> {
        let recorded = self.take(|effect| match effect {
            Effect::Mail { mail: sent, result } if *sent == mail => Some(result.clone()),
            _ => None,
        });
        match recorded {
            Some(result) => result,
            None => self.fallback.mail(mail).await,
        }
    }

    async fn kvs_get(&self, scope: &KvsScope, key: &str) -> Result<Option<Value>, String> {
        let recorded = self.take(|effect| match effect {
            Effect::KvsGet { scope: whose, key: asked, result } if whose == scope && asked == key => {
                Some(result.clone())
            }
            _ => None,
        });
        match recorded {
            Some(result) => result,
            None => self.fallback.kvs_get(scope, key).await,
        }
    }

    async fn sdk(&self, method: &str, args: &[Value]) -> Result<Value, String> {
        let recorded = self.take(|effect| match effect {
            Effect::Sdk { method: asked, result, .. } if asked == method => Some(result.clone()),
            _ => None,
        });
        match recorded {
            Some(result) => result,
            None => self.fallback.sdk(method, args).await,
        }
    }

    async fn predict(&self, request: &Value) -> Result<Option<Value>, String> {
        let recorded = self.take(|effect| match effect {
            Effect::Predict { result } => Some(result.clone()),
            _ => None,
        });
        match recorded {
            Some(result) => result,
            None => self.fallback.predict(request).await,
        }
    }

    async fn sleep(&self, _: u64) {}

    fn now(&self) -> i64 {
        let recorded = self.take(|effect| match effect {
            Effect::Now { millis } => Some(*millis),
            _ => None,
        });
        let Ok(mut last) = self.last.lock() else { return 0 };
        last.0 = recorded.unwrap_or(last.0);
        last.0
    }

    fn random(&self) -> f64 {
        let recorded = self.take(|effect| match effect {
            Effect::Random { value } => Some(*value),
            _ => None,
        });
        recorded.unwrap_or(0.0)
    }

    fn event_id(&self) -> String {
        let recorded = self.take(|effect| match effect {
            Effect::EventId { id } => Some(id.clone()),
            _ => None,
        });
        recorded.unwrap_or_else(|| {
            let Ok(mut last) = self.last.lock() else { return "0".to_owned() };
            last.2 += 1;
            last.2.to_string()
        })
    }
}

/// A host that does nothing: scripts, requests and writes fail, stores are empty, time stands still.
#[derive(Clone, Copy, Debug, Default)]
pub struct Refuse;

const REFUSED: &str = "not in the record";

impl Host for Refuse {
    async fn script<S: Sdk>(&self, call: ScriptCall<'_>, _: &mut S) -> ScriptOutcome {
        ScriptOutcome::failed(ErrorClass::Other, format!("{}: {REFUSED}", call.name))
    }

    async fn http(&self, _: HttpRequest) -> Result<HttpResponse, HttpFailure> {
        Err(HttpFailure { code: "ECONNREFUSED".to_owned(), message: REFUSED.to_owned() })
    }

    async fn mail(&self, _: Mail) -> Result<(), String> {
        Err(REFUSED.to_owned())
    }

    async fn kvs_get(&self, _: &KvsScope, _: &str) -> Result<Option<Value>, String> {
        Ok(None)
    }

    async fn sdk(&self, method: &str, _: &[Value]) -> Result<Value, String> {
        Err(format!("bp.{method}: {REFUSED}"))
    }

    async fn predict(&self, _: &Value) -> Result<Option<Value>, String> {
        Ok(None)
    }

    async fn sleep(&self, _: u64) {}

    fn now(&self) -> i64 {
        0
    }

    fn random(&self) -> f64 {
        0.0
    }

    fn event_id(&self) -> String {
        "0".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{host::NoSdk, host::ScriptKind, testing::block_on, trace::Ran, value::Object};

    #[test]
    fn only_what_is_the_same_has_the_recorded_outcome() {
        let (event, other) = (Value::parse(r#"{"a":1}"#).unwrap(), Value::parse(r#"{"a":2}"#).unwrap());
        let variables = Object::new();
        let call = |source, event| ScriptCall {
            kind: ScriptKind::Action,
            name: "greet",
            path: "greet.js",
            global: false,
            source,
            bot: "b",
            event,
            variables: &variables,
        };
        let given = call("1", &event).fingerprint();
        let ran = Ran::of(&ScriptOutcome::value(7.0), &event);
        let effects =
            [Effect::Script { kind: ScriptKind::Action, name: "greet".into(), given, calls: Vec::new(), ran }];
        let strict = |call| block_on(Replay::with_fallback(&effects, Refuse).script(call, &mut NoSdk)).result;
        assert_eq!(strict(call("1", &event)), Ok(Value::from(7.0)));
        assert!(strict(call("2", &event)).is_err());
        assert!(strict(call("1", &other)).is_err());
        let by_name = |call| block_on(Replay::new(&effects).script(call, &mut NoSdk)).result;
        assert_eq!(by_name(call("2", &other)), Ok(Value::from(7.0)));
    }
}
