//! Actions of bots and integrations: what is declared, and what was done (`spec/cloud/runtime.md` § 10,
//! `admin.md` § 5.4); and what bots may have integrations make (`bridge-protocol.md` § 4.7).

use std::collections::{BTreeMap, BTreeSet};

use duologue_model::{
    Error as Refusal, Json, Timestamp,
    admin::Role,
    id::{BotId, Kind},
};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result, Store,
    bots::{self, parts::Action},
    integrations::definition::Creatable,
    page::{Page, PageRequest, Query, Range},
    params,
    sql::Row,
    tx::{Script, Tx},
    workspaces::Actor,
};

/// Most bytes of an input or output that are kept.
const MOST_KEPT: usize = 190_000;
/// How long runs are kept: 7 days.
const KEEP_MILLIS: i64 = 7 * 24 * 60 * 60 * 1000;

/// Whose action.
#[derive(Clone, Debug)]
enum Whose {
    Bot,
    Instance(String),
}

struct FindAction {
    bot: BotId,
    whose: Whose,
    name: String,
}

impl Script for FindAction {
    type Out = Option<Action>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<Action>> {
        #[derive(Deserialize)]
        struct Integration {
            definition: Declared,
        }
        #[derive(Deserialize)]
        struct Declared {
            #[serde(default)]
            actions: BTreeMap<String, Action>,
        }
        let (row, damaged) = match &self.whose {
            Whose::Bot => {
                let row = tx.query_opt("SELECT body FROM bots WHERE id = ?1", params![&self.bot]).await?;
                (row, format!("bot {}", self.bot))
            }
            Whose::Instance(alias) => {
                let row = installed(tx, &self.bot, alias).await?;
                (row, format!("the integration under {alias}"))
            }
        };
        let Some(mut row) = row else { return Ok(None) };
        let (text, damaged) = (row.text()?, |e: serde_json::Error| Error::Corrupt(format!("{damaged}: {e}")));
        let mut declared: Declared = match &self.whose {
            Whose::Bot => serde_json::from_str(&text).map_err(damaged)?,
            Whose::Instance(_) => serde_json::from_str::<Integration>(&text).map_err(damaged)?.definition,
        };
        Ok(declared.actions.remove(&self.name))
    }
}

/// The stored definition of what is installed under an alias.
async fn installed(tx: &mut Tx<'_>, bot: &BotId, alias: &str) -> Result<Option<Row>> {
    let sql = "SELECT g.body FROM instances i CROSS JOIN integrations g WHERE g.id = i.integration_id AND i.bot_id = ?1 AND i.alias = ?2";
    tx.query_opt(sql, params![bot, alias]).await
}

/// What a bot has an integration make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// A user.
    User,
    /// A conversation in this channel.
    Conversation(String),
}

/// What an integration says about that.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Creation {
    /// Whether bots may have it made.
    pub enabled: bool,
    /// Names of tags that they must give.
    pub required: Vec<String>,
    /// Names of tags that are the integration's.
    pub tags: BTreeSet<String>,
}

struct FindCreation {
    bot: BotId,
    alias: String,
    made: Made,
}

impl Script for FindCreation {
    type Out = Option<Creation>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<Creation>> {
        #[derive(Deserialize)]
        struct Body {
            definition: Declared,
        }
        #[derive(Deserialize)]
        struct Declared {
            user: Creatable,
            channels: BTreeMap<String, Channel>,
        }
        #[derive(Deserialize)]
        struct Channel {
            conversation: Creatable,
        }
        let Some(mut row) = installed(tx, &self.bot, &self.alias).await? else { return Ok(None) };
        let body: Body = serde_json::from_str(&row.text()?)
            .map_err(|e| Error::Corrupt(format!("the integration under {}: {e}", self.alias)))?;
        let mut declared = body.definition;
        let creatable = match &self.made {
            Made::User => Some(declared.user),
            Made::Conversation(channel) => declared.channels.remove(channel).map(|channel| channel.conversation),
        };
        Ok(creatable.map(|creatable| Creation {
            enabled: creatable.creation.enabled,
            required: creatable.creation.required_tags,
            tags: creatable.tags.into_keys().collect(),
        }))
    }
}

/// Whether an integration's instance has made what it says.
struct WasMade {
    bot: BotId,
    alias: String,
    made: Made,
    id: String,
}

impl Script for WasMade {
    type Out = Option<Timestamp>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<Timestamp>> {
        let sql = match &self.made {
            Made::User => "SELECT created_at FROM users WHERE id = ?1 AND bot_id = ?2 AND owner = ?3",
            Made::Conversation(_) => {
                "SELECT created_at FROM conversations WHERE id = ?1 AND bot_id = ?2 AND owner = ?3"
            }
        };
        let row = tx.query_opt(sql, params![&self.id, &self.bot, &self.alias]).await?;
        row.map(|mut row| row.at()).transpose()
    }
}

/// An action that an integration was asked to do.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// The bot.
    pub bot: BotId,
    /// Which instance.
    pub alias: String,
    /// The action's own name.
    pub action: String,
    /// When it was asked.
    pub at: Timestamp,
    /// What it was given.
    pub input: Json,
    /// What came of it: the output, or why there is none.
    pub result: Result<Json, String>,
    /// What it cost, as the integration says, in US dollars.
    pub cost: Option<String>,
    /// How long it took.
    pub millis: i64,
}

enum ActionRun {}

impl Kind for ActionRun {
    const PREFIX: &'static str = "actrun";
}

struct Record(NewRun);

impl Script for Record {
    type Out = ();
    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let run = &self.0;
        let (input, input_truncated) = kept(&run.input);
        let (output, output_truncated) = match &run.result {
            Ok(output) => {
                let (output, truncated) = kept(output);
                (Some(output), truncated)
            }
            Err(_) => (None, false),
        };
        let error: Option<String> =
            run.result.as_ref().err().map(|reason| reason.chars().filter(|c| *c != '\0').take(2000).collect());
        let id = tx.ids().id::<ActionRun>(run.at);
        tx.execute(
            "INSERT INTO action_runs (bot_id, alias, at, id, type, input, input_truncated, output, output_truncated, error, cost, duration_ms) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            params![
                &run.bot, &run.alias, run.at, &id, &run.action, &input, input_truncated, output.as_ref(), output_truncated,
                error, run.cost.as_ref(), run.millis
            ],
        )
        .await?;
        Ok(())
    }
}

/// As much of an object as is kept: members are left out from the end. Answers whether any was.
fn kept(json: &Json) -> (Json, bool) {
    if json.text().len() <= MOST_KEPT {
        return (json.clone(), false);
    }
    let serde_json::Value::Object(members) = json.value() else { return (Json::empty_object(), true) };
    let mut kept = serde_json::Map::new();
    let mut length = 2;
    for (name, value) in members {
        length += name.len() + value.to_string().len() + 8;
        if length > MOST_KEPT {
            break;
        }
        kept.insert(name, value);
    }
    (Json::of(&kept), true)
}

/// An action run as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// When it was asked.
    pub timestamp: Timestamp,
    /// Under which alias.
    pub integration_name: String,
    /// The action's own name.
    pub action_type: String,
    /// What it was given.
    pub input: Json,
    /// Whether that was more.
    pub input_truncated: bool,
    /// What it answered.
    pub output: Option<Json>,
    /// Whether that was more.
    pub output_truncated: bool,
    /// `SUCCESS` or `FAILURE`.
    pub status: &'static str,
    /// How long it took.
    pub duration_ms: i64,
    /// Never: answers aren't kept to be given again.
    pub cached: bool,
    /// Why it failed.
    pub error_message: Option<String>,
}

/// listActionRuns, newest first.
#[derive(Clone, Debug)]
pub struct List {
    /// Who asks, about which workspace.
    pub actor: Actor,
    /// Which bot.
    pub bot: String,
    /// Which instance.
    pub alias: String,
    /// When.
    pub range: Range,
    /// Which page.
    pub page: PageRequest,
}

impl Script for List {
    type Out = Page<Run>;
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Page<Run>> {
        let inside = self.actor.enter(tx, Role::Viewer).await?;
        bots::require(tx, &inside, &self.bot).await?;
        let mut query = Query::new(
            "SELECT at, id, at, type, input, input_truncated, output, output_truncated, error, duration_ms FROM action_runs WHERE 1 = 1",
        );
        query.and("bot_id =", &self.bot);
        query.and("alias =", &self.alias);
        self.range.apply(&mut query, "at");
        query.after(self.page.after.as_ref(), "at", "id", false);
        query.order("at", "id", false, self.page.size.get() + 1);
        let rows = query.run(tx).await?;
        crate::page::page(rows, self.page.size, |row| {
            let (timestamp, action_type) = (row.at()?, row.text()?);
            let (input, input_truncated) = (Json::trusted(row.text()?), row.bool()?);
            let (output, output_truncated) = (row.opt_json()?, row.bool()?);
            let error_message = row.opt_text()?;
            Ok(Run {
                timestamp,
                integration_name: self.alias.clone(),
                action_type,
                input,
                input_truncated,
                output,
                output_truncated,
                status: if error_message.is_none() { "SUCCESS" } else { "FAILURE" },
                duration_ms: row.int()?,
                cached: false,
                error_message,
            })
        })
    }
}

/// Removes runs that were kept long enough, a bounded number at a time.
pub(crate) async fn tidy(tx: &mut Tx<'_>) -> Result<u64> {
    tx.execute(
        "DELETE FROM action_runs WHERE (bot_id, alias, at, id) IN \
         (SELECT bot_id, alias, at, id FROM action_runs WHERE at <= ?1 LIMIT 1000)",
        params![tx.now().plus_millis(-KEEP_MILLIS)],
    )
    .await
}

impl Action {
    /// Refuses an input that doesn't satisfy its schema.
    pub fn check_input(&self, input: &Json) -> Result<(), Refusal> {
        bots::parts::configured("input", &self.input.schema, input)
    }

    /// Refuses an output that doesn't satisfy its schema.
    pub fn check_output(&self, output: &Json) -> Result<(), Refusal> {
        bots::parts::configured("output", &self.output.schema, output)
    }
}

impl Store {
    /// The action of a bot's own with this name.
    pub async fn bot_action(&self, bot: &BotId, name: &str) -> Result<Option<Action>> {
        self.read(&FindAction { bot: bot.clone(), whose: Whose::Bot, name: name.to_owned() }).await
    }

    /// The action with this name of what is installed under the alias.
    pub async fn instance_action(&self, bot: &BotId, alias: &str, name: &str) -> Result<Option<Action>> {
        let whose = Whose::Instance(alias.to_owned());
        self.read(&FindAction { bot: bot.clone(), whose, name: name.to_owned() }).await
    }

    /// What the integration under this alias says about having something made; nothing if it has no
    /// such channel, or isn't there.
    pub async fn creation(&self, bot: &BotId, alias: &str, made: Made) -> Result<Option<Creation>> {
        self.read(&FindCreation { bot: bot.clone(), alias: alias.to_owned(), made }).await
    }

    /// When the instance under this alias made the user or conversation with this id; nothing if it
    /// has none.
    pub async fn was_made(&self, bot: &BotId, alias: &str, made: Made, id: &str) -> Result<Option<Timestamp>> {
        self.read(&WasMade { bot: bot.clone(), alias: alias.to_owned(), made, id: id.to_owned() }).await
    }

    /// Keeps what came of an action, for a week.
    pub async fn record_action(&self, run: NewRun) -> Result<()> {
        self.write(Record(run)).await
    }

    /// listActionRuns.
    pub async fn list_action_runs(&self, list: List) -> Result<Page<Run>> {
        self.read(&list).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_loses_members_from_the_end() {
        let long = "x".repeat(MOST_KEPT);
        let json = Json::of(&serde_json::json!({ "a": 1, "b": long, "c": 2 }));
        let (cut, truncated) = kept(&json);
        assert_eq!((cut.text(), truncated), (r#"{"a":1}"#, true));
        assert_eq!(kept(&Json::parse(r#"{"a": 1}"#.into()).unwrap()).0.text(), r#"{"a": 1}"#);
    }
}
