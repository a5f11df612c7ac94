//! Recorded turns, done again with a bot that may have changed.
//!
//! The first turn begins with the memory that it began with when it was recorded, the others with that and
//! what the turn before left differently. The world answers what it answered then
//! ([`duologue_dialog::Replay`]); scripts whose text or input changed run again, but nothing goes out: what the
//! record doesn't know is refused.
//!
//! Called by `duologue replay`. Never writes to the store.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use duologue_dialog::{
    Bot, Host, Memory, Replay, Sdk, Trace, Turn, Value, diff,
    host::{HttpFailure, HttpRequest, HttpResponse, KvsScope, Mail, ScriptCall, ScriptOutcome},
    memory::Change,
    replay::Refuse,
    trace::Step,
};
use duologue_sandbox::Pool;
use duologue_store::v12::traces;
use duologue_v12::{
    installation,
    source::{Files, Limits, Source},
};

use crate::{
    Error, LiveBot, Options, host, install,
    trace::{self, Secrets, Unreadable, clean, said, short},
};

/// What a recorded turn does now.
#[derive(Clone, Debug, PartialEq)]
pub struct Replayed {
    /// Its number in the conversation, from 1.
    pub turn: i64,
    /// How it differs; nothing if it doesn't.
    pub differences: Vec<Difference>,
}

/// A difference between a turn as recorded and as it is now, secrets taken out.
#[derive(Clone, Debug, PartialEq)]
pub enum Difference {
    /// Other nodes are passed: `flow / node`, in order.
    Nodes {
        /// As recorded.
        recorded: Vec<String>,
        /// As it is now.
        now: Vec<String>,
    },
    /// Another reply at this place, from 1; undefined where there is none.
    Reply {
        /// The place.
        at: usize,
        /// As recorded.
        recorded: Value,
        /// As it is now.
        now: Value,
    },
    /// Another value in the memory after the turn; undefined where there is none.
    Memory {
        /// Where.
        path: String,
        /// As recorded.
        recorded: Value,
        /// As it is now.
        now: Value,
    },
}

/// A bot that recorded turns are done again with.
pub struct Rehearsal {
    bot: LiveBot,
    scripts: Pool,
}

impl Rehearsal {
    /// Reads the bot `id` of a data folder or an archive, or a single bot, which gets that id. What bots share
    /// is read from the data folder that the bot's folder lies in; where it lies in none, from that of
    /// `options`, which may be empty.
    ///
    /// # Errors
    /// If it can't be read or has no such bot, or workers can't be started.
    pub async fn load(path: &Path, id: &str, options: &Options) -> Result<Rehearsal, Error> {
        let (path, wanted, given) = (path.to_owned(), id.to_owned(), options.clone());
        let read = tokio::task::spawn_blocking(move || read(&path, &wanted, &given)).await;
        let bot = read.map_err(|failed| Error::Invalid(format!("the bot can't be read: {failed}")))??;
        let scripts = Pool::new(duologue_sandbox::Config::new(options.worker.clone()))?;
        Ok(Rehearsal { bot, scripts })
    }

    /// Does stored turns of one conversation again, oldest first. Where `each` is false, what a turn leaves
    /// differently in the memory is there when the next one begins, unless somebody else wrote there between
    /// the two or the session expired.
    ///
    /// # Errors
    /// If a stored trace can't be read.
    pub async fn replay(&self, turns: &[traces::Turn], each: bool) -> Result<Vec<Replayed>, Unreadable> {
        let mut all = Vec::with_capacity(turns.len());
        let mut last: Option<(i64, Ended)> = None;
        for turn in turns {
            let mut trace = trace::read(turn)?;
            if let Some((_, ended)) = last.take().filter(|(number, _)| !each && number + 1 == turn.turn) {
                ended.carry_over(&mut trace.before);
            }
            let offline = Offline { bot: &self.bot, scripts: &self.scripts };
            let (replayed, ended) = replay(&self.bot.engine, offline, turn.turn, trace).await?;
            last = Some((turn.turn, ended));
            all.push(replayed);
        }
        Ok(all)
    }
}

/// The memories after a turn.
struct Ended {
    recorded: Memory,
    now: Memory,
}

impl Ended {
    /// Puts into a recorded memory what is different now.
    fn carry_over(self, before: &mut Memory) {
        let Ended { recorded, now } = self;
        let parts = [
            (&mut before.user, recorded.user, now.user),
            (&mut before.session, recorded.session, now.session),
            (&mut before.context, recorded.context, now.context),
            (&mut before.temp, recorded.temp, now.temp),
        ];
        for (part, recorded, now) in parts {
            if *part == recorded {
                *part = now;
            }
        }
    }
}

fn read(path: &Path, id: &str, options: &Options) -> Result<LiveBot, Error> {
    let limits = Limits { media: false, ..Limits::default() };
    let mut source = Source::open(path, &limits)?;
    if !source.is_archive && source.files.contains_key("bot.config.json") {
        let below = |prefix: &str, files: Files| {
            files.into_iter().map(move |(path, file)| (format!("{prefix}{path}"), file)).collect::<Files>()
        };
        source.files = below(&format!("bots/{id}/"), source.files);
        if let Some(global) = global_of(path, &options.folder) {
            source.files.extend(below("global/", Source::open(&global, &limits)?.files));
        }
    }
    let mut found = installation::read(source, None, &|name| options.env.get(name).cloned())?;
    let bot = match found.bots.remove(id) {
        Some(bot) => bot,
        None => match found.bots.pop_first() {
            Some((_, only)) if found.bots.is_empty() => only,
            _ => return Err(Error::Invalid(format!("there is no bot {id} in {}", path.display()))),
        },
    };
    let globals = Arc::new(install::shared(found.global, options));
    Ok(install::live(id, &bot, &globals, options).0)
}

/// The global folder beside a bot's folder, or in a data folder.
fn global_of(bot: &Path, data: &Path) -> Option<PathBuf> {
    let bot = bot.canonicalize().ok()?;
    let bots = bot.parent().filter(|parent| parent.file_name().is_some_and(|name| name == "bots"));
    let beside = bots.and_then(Path::parent).map(|data| data.join("global"));
    let given = [data.join("global"), data.join("data").join("global")];
    let given = given.into_iter().filter(|_| !data.as_os_str().is_empty());
    beside.into_iter().chain(given).find(|folder| folder.is_dir())
}

/// Runs scripts, and refuses everything else.
struct Offline<'r> {
    bot: &'r LiveBot,
    scripts: &'r Pool,
}

impl Host for Offline<'_> {
    async fn script<S: Sdk>(&self, call: ScriptCall<'_>, sdk: &mut S) -> ScriptOutcome {
        host::script(self.scripts, self.bot, call, sdk).await
    }

    async fn http(&self, request: HttpRequest) -> Result<HttpResponse, HttpFailure> {
        Refuse.http(request).await
    }

    async fn mail(&self, mail: Mail) -> Result<(), String> {
        Refuse.mail(mail).await
    }

    async fn kvs_get(&self, scope: &KvsScope, key: &str) -> Result<Option<Value>, String> {
        Refuse.kvs_get(scope, key).await
    }

    async fn sdk(&self, method: &str, args: &[Value]) -> Result<Value, String> {
        Refuse.sdk(method, args).await
    }

    async fn predict(&self, request: &Value) -> Result<Option<Value>, String> {
        Refuse.predict(request).await
    }

    async fn sleep(&self, _: u64) {}

    fn now(&self) -> i64 {
        Refuse.now()
    }

    fn random(&self) -> f64 {
        Refuse.random()
    }

    fn event_id(&self) -> String {
        Refuse.event_id()
    }
}

/// Does a turn again. `fallback` runs the scripts that the record doesn't know.
async fn replay<H: Host>(bot: &Bot, fallback: H, turn: i64, trace: Trace) -> Result<(Replayed, Ended), Unreadable> {
    let host = Replay::with_fallback(&trace.effects, fallback);
    let outcome = Turn::again(bot, &host, &trace).await;
    // As they would come back from the store, like the recorded ones.
    let stored = serde_json::to_string(outcome.memory()).and_then(|text| serde_json::from_str(&text));
    let now = stored.map_err(|error| Unreadable { turn, error })?;
    let stored = serde_json::to_string(&outcome.trace).and_then(|text| serde_json::from_str(&text));
    let again: Trace = stored.map_err(|error| Unreadable { turn, error })?;
    let ended = Ended { recorded: trace.after.clone(), now };
    let differences = differences(&trace, &again, diff(&ended.recorded, &ended.now));
    Ok((Replayed { turn, differences }, ended))
}

fn differences(recorded: &Trace, now: &Trace, memory: Vec<Change>) -> Vec<Difference> {
    let (a, b) = (Secrets::of(recorded), Secrets::of(now));
    let shown = |value: &Value| b.redact(&a.redact(value));
    let mut found = Vec::new();
    let (nodes, nodes_now) = (nodes(recorded), nodes(now));
    if nodes != nodes_now {
        found.push(Difference::Nodes { recorded: nodes, now: nodes_now });
    }
    for at in 0..recorded.replies.len().max(now.replies.len()) {
        let reply = |trace: &Trace| trace.replies.get(at).cloned().unwrap_or_default();
        let (recorded, now) = (reply(recorded), reply(now));
        if recorded != now {
            found.push(Difference::Reply { at: at + 1, recorded: shown(&recorded), now: shown(&now) });
        }
    }
    for Change { path, before, after } in memory {
        let value = |value: &Value| b.member(&path, &a.member(&path, value));
        let (recorded, now) = (value(&before), value(&after));
        found.push(Difference::Memory { path, recorded, now });
    }
    found
}

fn nodes(trace: &Trace) -> Vec<String> {
    let nodes = trace.steps.iter().filter_map(|step| match step {
        Step::Node { flow, node, .. } => Some(format!("{flow} / {node}")),
        _ => None,
    });
    nodes.collect()
}

impl fmt::Display for Difference {
    /// Lines for people, the last one ended.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &Value, shown: fn(&Value) -> String| match value.is_undefined() {
            true => "(nothing)".to_owned(),
            false => shown(value),
        };
        match self {
            Difference::Nodes { recorded, now } => {
                let line = |nodes: &[String]| match nodes {
                    [] => "(none)".to_owned(),
                    nodes => clean(&nodes.join(" → ")),
                };
                writeln!(f, "  nodes\n    - {}\n    + {}", line(recorded), line(now))
            }
            Difference::Reply { at, recorded, now } => {
                // Where the texts are the same, the difference is in the rest.
                let same = said(recorded) == said(now);
                let shown = if same { short } else { said };
                writeln!(f, "  reply {at}\n    - {}\n    + {}", text(recorded, shown), text(now, shown))
            }
            Difference::Memory { path, recorded, now } => {
                writeln!(f, "  memory {}\n    - {}\n    + {}", clean(path), text(recorded, short), text(now, short))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(temp: &str) -> Memory {
        Memory { temp: Value::parse(temp).unwrap(), ..Memory::default() }
    }

    #[test]
    fn only_what_nobody_else_wrote_is_carried_over() {
        let ended = Ended { recorded: memory("{\"n\":1}"), now: memory("{\"n\":2}") };
        let mut next = Memory { user: Value::parse("{\"by\":\"other\"}").unwrap(), ..memory("{\"n\":1}") };
        let user = next.user.clone();
        ended.carry_over(&mut next);
        assert_eq!((next.user, next.temp.to_json()), (user, "{\"n\":2}".to_owned()));
        let ended = Ended { recorded: memory("{\"n\":1}"), now: memory("{\"n\":2}") };
        let mut expired = Memory::default();
        ended.carry_over(&mut expired);
        assert_eq!(expired, Memory::default());
    }
}
