//! callAction: a bot has its integrations act, or itself (`spec/cloud/runtime.md` § 10).

use duologue_bridge::{Callee, Operation};
use duologue_model::{Error as Refusal, ErrorKind, Identity, Json, View, id::BotId};
use duologue_store::{
    actions::NewRun,
    bots::parts::Action,
    logs::{Level, NewLine, Owner},
};
use serde::{Deserialize, Serialize};

use crate::{Calls, Result, callees, invalid, refusal};

#[derive(Serialize)]
struct Asked<'a> {
    r#type: &'a str,
    input: &'a Json,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answered {
    output: Json,
    meta: Option<Meta>,
}

#[derive(Deserialize)]
struct Meta {
    cost: Option<serde_json::Number>,
}

/// What did it, and what it did.
struct Done {
    output: Json,
    cost: Option<String>,
}

fn missing(name: &str) -> Refusal {
    Refusal::new(ErrorKind::ResourceNotFound, format!("No action found with name \"{name}\""))
}

impl Calls {
    /// Has an action done and answers its output. `name` is `alias:action` for an action of an integration
    /// of the bot's, and `action` or `plugin#action` for one of the bot's own; an integration's own
    /// actions need no alias.
    ///
    /// # Errors
    /// `ResourceNotFound` for what isn't there, `InvalidDataFormat` for an input that its schema refuses,
    /// `Runtime` and `OperationTimeout` if the code fails.
    pub async fn act(&self, who: Identity, name: String, input: Json) -> Result<Json> {
        let this = self.clone();
        self.to_the_end(async move {
            match instance(&who, &name)? {
                Some((alias, action)) => this.integration_acts(&who.bot, alias, action, input).await,
                None => this.bot_acts(&who.bot, &name, input).await,
            }
        })
        .await
    }

    async fn integration_acts(&self, bot: &BotId, alias: &str, action: &str, input: Json) -> Result<Json> {
        let code = self.store.instance_code(bot, alias).await?.ok_or_else(|| {
            let text = format!("No integration is installed under the alias \"{alias}\"");
            Refusal::new(ErrorKind::ResourceNotFound, text)
        })?;
        let declared = self.store.instance_action(bot, alias, action).await?;
        let declared = declared.ok_or_else(|| missing(&format!("{alias}:{action}")))?;
        if !code.enabled {
            let text = format!("The integration \"{alias}\" is disabled in this bot");
            return Err(Refusal::new(ErrorKind::Runtime, text).into());
        }
        declared.check_input(&input)?;
        let callee = callees::instance(&code).map_err(|error| invalid(&error))?;
        let (at, started) = (self.store.now(), std::time::Instant::now());
        let result = self.done(bot, &callee, action, &input, Some(&declared)).await;
        let run = NewRun {
            bot: bot.clone(),
            alias: alias.to_owned(),
            action: action.to_owned(),
            at,
            input,
            cost: result.as_ref().ok().and_then(|done| done.cost.clone()),
            millis: started.elapsed().as_millis() as i64,
            result: result.as_ref().map(|done| done.output.clone()).map_err(|refusal| refusal.message.clone()),
        };
        self.store.record_action(run).await?;
        Ok(result?.output)
    }

    async fn bot_acts(&self, bot: &BotId, name: &str, input: Json) -> Result<Json> {
        let declared = self.store.bot_action(bot, name).await?;
        // What a plugin brings along isn't declared by the bot itself.
        if declared.is_none() && !name.contains('#') {
            return Err(missing(name).into());
        }
        if let Some(declared) = &declared {
            declared.check_input(&input)?;
        }
        let code = self.store.bot_code(bot).await?.ok_or_else(|| missing(name))?;
        let callee = callees::bot(&code).map_err(|error| invalid(&error))?;
        Ok(self.done(bot, &callee, name, &input, declared.as_ref()).await?.output)
    }

    async fn done(
        &self,
        bot: &BotId,
        callee: &Callee,
        action: &str,
        input: &Json,
        declared: Option<&Action>,
    ) -> Result<Done, Refusal> {
        let body = Json::of(&Asked { r#type: action, input }).text().to_owned();
        let answer = self.ask(callee, Operation::ActionTriggered, body).await.map_err(|failure| refusal(&failure))?;
        let answered: Answered = answer.json().map_err(|failure| refusal(&failure))?;
        if !answered.output.is_object() {
            let text = format!("The action \"{action}\" answered something that is no object");
            return Err(Refusal::new(ErrorKind::Runtime, text));
        }
        if let Some(declared) = declared
            && let Err(problem) = declared.check_output(&answered.output)
        {
            // The action has happened, so its output is worth more to the caller than a refusal.
            let text = format!("The output of the action \"{action}\" is not what it declares: {}", problem.message);
            self.store.log(NewLine::new(Owner::Bot(bot.as_str().to_owned()), Level::Warn, text));
        }
        let cost = answered.meta.and_then(|meta| meta.cost).map(|cost| cost.to_string());
        Ok(Done { output: answered.output, cost })
    }
}

/// The alias and the bare name of an integration's action; nothing for the bot's own.
fn instance<'a>(who: &'a Identity, name: &'a str) -> Result<Option<(&'a str, &'a str)>, Refusal> {
    match (&who.view, name.split_once(':')) {
        (View::Bot, split) => Ok(split),
        (View::Integration { alias, .. }, None) => Ok(Some((alias, name))),
        (View::Integration { alias, name: own, .. }, Some((given, action))) => {
            if *given == **alias || *given == **own {
                Ok(Some((alias, action)))
            } else {
                Err(missing(name))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_whose_an_action_is() {
        let bot = Identity::bot(BotId::new("bot_1"));
        assert_eq!(instance(&bot, "slack:send"), Ok(Some(("slack", "send"))));
        assert_eq!(instance(&bot, "send"), Ok(None));
        assert_eq!(instance(&bot, "hitl#start"), Ok(None));
        let view = View::Integration { alias: "mine".into(), name: "slack".into(), id: "intver_1".into() };
        let integration = Identity { bot: BotId::new("bot_1"), view };
        for name in ["send", "mine:send", "slack:send"] {
            assert_eq!(instance(&integration, name), Ok(Some(("mine", "send"))), "{name}");
        }
        assert_eq!(instance(&integration, "other:send").unwrap_err().kind, ErrorKind::ResourceNotFound);
    }
}
