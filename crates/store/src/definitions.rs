//! What a bot's definitions say about its states, compiled once and remembered.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

use duologue_model::{Error as Refusal, ErrorKind, Json, StateType, id::BotId};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    Result, Store,
    bots::{self, instances, plugins},
    params,
    states::{Key, PayloadCheck},
    tx::{Script, Tx},
};

/// One state definition.
pub(crate) struct StateDefinition {
    kind: String,
    expiry: Option<i64>,
    schema: Option<jsonschema::Validator>,
}

impl StateDefinition {
    /// Refuses data that doesn't satisfy the schema, saying where and why.
    pub(crate) fn check(&self, payload: &Value) -> Result<(), Refusal> {
        let Some(schema) = &self.schema else { return Ok(()) };
        let problems: Vec<Value> = schema
            .iter_errors(payload)
            .take(10)
            .map(|e| serde_json::json!({ "path": e.instance_path().to_string(), "message": e.to_string() }))
            .collect();
        let Some(first) = problems.first() else { return Ok(()) };
        let text = format!(
            "the payload does not satisfy the state's schema: {} at \"{}\"",
            first["message"].as_str().unwrap_or(""),
            first["path"].as_str().unwrap_or("")
        );
        Err(Refusal::new(ErrorKind::InvalidDataFormat, text).with_metadata(serde_json::json!({ "errors": problems })))
    }
}

type States = HashMap<String, Arc<StateDefinition>>;

/// Definitions by bot.
#[derive(Default)]
pub(crate) struct Cache(RwLock<HashMap<BotId, (Arc<States>, Instant)>>);

impl Cache {
    /// Forgets all: a bot was changed.
    pub(crate) fn clear(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

struct Load(BotId);

impl Script for Load {
    type Out = States;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<States> {
        #[derive(Deserialize)]
        struct Body {
            #[serde(default)]
            states: HashMap<String, Definition>,
        }
        #[derive(Deserialize)]
        struct Definition {
            r#type: String,
            expiry: Option<f64>,
            schema: Option<Value>,
        }
        let row = tx.query_opt("SELECT body FROM bots WHERE id = ?1", params![&self.0]).await?;
        let text = row.map_or(Ok("{}".into()), |mut row| row.text())?;
        let Ok(body) = serde_json::from_str::<Body>(&text) else { return Ok(States::new()) };
        // A schema that can't be compiled was refused when the bot was deployed.
        let compiled = |schema: &Value| jsonschema::validator_for(schema).ok();
        let compile = |definition: Definition| StateDefinition {
            kind: definition.r#type,
            expiry: definition.expiry.map(|millis| millis as i64),
            schema: definition.schema.as_ref().and_then(compiled),
        };
        let mut states: States =
            body.states.into_iter().map(|(name, definition)| (name, Arc::new(compile(definition)))).collect();
        let mut plugins = plugins::list(tx, self.0.as_str()).await?;
        if !plugins.is_empty() {
            let instances = instances::list(tx, self.0.as_str()).await?;
            plugins::resolve(tx, &mut plugins, &instances).await?;
            for (name, state) in plugins::merged(&bots::Definition::default(), &plugins).states {
                let schema = compiled(&state.schema.value());
                let compiled = StateDefinition { kind: state.r#type.name().to_owned(), expiry: state.expiry, schema };
                states.insert(name, Arc::new(compiled));
            }
        }
        Ok(states)
    }
}

/// What a definition says about a state that is written.
#[derive(Clone, Default)]
pub struct Defined {
    /// Idle milliseconds of new rows.
    pub expiry: Option<i64>,
    pub(crate) check: Option<Arc<StateDefinition>>,
}

impl Defined {
    /// Refuses a payload that doesn't satisfy the definition's schema.
    pub fn check(&self, payload: &Json) -> Result<(), Refusal> {
        match &self.check {
            Some(definition) if definition.schema.is_some() => definition.check(&payload.value()),
            _ => Ok(()),
        }
    }

    /// The check, to be made inside a transaction.
    pub fn for_later(&self) -> Option<PayloadCheck> {
        self.check.clone().map(PayloadCheck)
    }
}

impl Store {
    /// What the bot's definitions say about this state; nothing for states they don't declare, and
    /// for integrations'. Refuses a state declared for another type.
    pub async fn defined(&self, key: &Key) -> Result<Defined> {
        if !key.who.is_bot() || matches!(key.kind, StateType::Workflow | StateType::Integration) {
            return Ok(Defined::default());
        }
        let states = self.state_definitions(&key.who.bot).await?;
        let Some(definition) = states.get(&key.name) else { return Ok(Defined::default()) };
        if definition.kind != key.kind.name() {
            let text = format!(
                "the state \"{}\" is defined for type \"{}\", not \"{}\"",
                key.name,
                definition.kind,
                key.kind.name()
            );
            return Err(Refusal::invalid_payload(text).into());
        }
        Ok(Defined { expiry: definition.expiry, check: Some(definition.clone()) })
    }

    async fn state_definitions(&self, bot: &BotId) -> Result<Arc<States>> {
        if let Some((states, since)) = self.definitions.0.read().unwrap_or_else(PoisonError::into_inner).get(bot)
            && (!self.is_shared() || since.elapsed() < crate::access::SHARED_TTL)
        {
            return Ok(states.clone());
        }
        let states = Arc::new(self.read(&Load(bot.clone())).await?);
        self.definitions
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(bot.clone(), (states.clone(), Instant::now()));
        Ok(states)
    }
}
