//! A v12 data folder, read into checked bots.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::Arc,
};

use duologue_dialog::{Globals, Report, bot::report::Position};
use duologue_model::id::BotId;
use duologue_v12::{
    auth::external::ExternalVerifier,
    bot::{BotConfig, Settings},
    config::GlobalConfig,
    installation::{self, Installation},
    report::Verdict,
    source::{Files, Limits, Source},
    workspaces::Workspace,
};
use serde_json::{Value, json};

use crate::{Error, Options};

/// What of a bot's or the global folder `require` can see.
const SCRIPTS: &[&str] = &["actions/", "hooks/", "libraries/", "shared_libs/", "node_modules/", "content-types/"];

/// Everything that is served, immutable. A change of a file makes a new one.
pub struct Installed {
    /// The server's configuration. Its secret is never empty.
    pub config: GlobalConfig,
    /// Workspaces with their roles.
    pub workspaces: Vec<Workspace>,
    /// Verifies external tokens of end users.
    pub external: ExternalVerifier,
    /// Origin, and perhaps path, under which the outside reaches this server; without a slash at its end.
    pub external_url: String,
    /// By id; those that are served only.
    pub bots: HashMap<String, Arc<LiveBot>>,
    pub(crate) globals: Arc<Shared>,
}

/// What all bots share.
pub(crate) struct Shared {
    pub(crate) engine: Arc<Globals>,
    pub(crate) files: Files,
    scripts: Arc<duologue_sandbox::Files>,
}

/// A bot that is served.
pub struct LiveBot {
    /// Its id, the name of its folder.
    pub id: String,
    /// The same as the store has it.
    pub store_id: BotId,
    /// Its own configuration.
    pub config: BotConfig,
    /// What holds for it.
    pub settings: Settings,
    pub(crate) engine: duologue_dialog::Bot,
    pub(crate) files: Files,
    pub(crate) shared: Arc<Shared>,
    scripts: Arc<duologue_sandbox::Files>,
    pub(crate) process: Value,
}

impl std::fmt::Debug for LiveBot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveBot").field("id", &self.id).finish_non_exhaustive()
    }
}

impl LiveBot {
    /// What `require` finds in a script of this bot, or in one that all bots share.
    pub(crate) fn scripts(&self, global: bool) -> &Arc<duologue_sandbox::Files> {
        if global { &self.shared.scripts } else { &self.scripts }
    }

    /// Its configuration as the file says it.
    pub fn config_file(&self) -> &duologue_dialog::Value {
        &self.engine.config.file
    }

    /// Whether a script of this bot finds what it requires.
    pub(crate) fn can_require(&self, script: &str, name: &str) -> bool {
        duologue_sandbox::provides(name) || self.scripts.resolve(script, name).is_some()
    }
}

impl Installed {
    /// The bot of this id, exactly as written.
    pub fn bot(&self, id: &str) -> Option<Arc<LiveBot>> {
        self.bots.get(id).cloned()
    }

    /// All bots that are served, by id.
    pub(crate) fn sorted(&self) -> Vec<Arc<LiveBot>> {
        let mut all: Vec<_> = self.bots.values().cloned().collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    /// The path of the external URL, without a slash at its end: all routes lie below it.
    pub fn base_path(&self) -> &str {
        let rest = self.external_url.split_once("://").map_or("", |(_, rest)| rest);
        rest.find('/').map_or("", |at| rest[at..].trim_end_matches('/'))
    }

    /// Checks and links what was read. Of a bot with a flow that can't be read, the one that was served
    /// `before` is kept; where there is none, the bot works without that flow.
    pub(crate) fn build(found: Installation, options: &Options, secret: &str, before: Option<&Installed>) -> Installed {
        log_report(&found);
        let mut config = found.config;
        if config.tokens.secret.is_empty() {
            config.tokens.secret = secret.to_owned();
        }
        // The first account is a super admin, wherever it was made.
        if let Some(email) = options.env.get("BP_ADMIN_EMAIL").filter(|email| !email.is_empty()) {
            config.super_admins.push((email.clone(), "default".to_owned()));
        }
        let same_globals = before.filter(|before| before.globals.files == found.global);
        let globals = match same_globals {
            Some(before) => before.globals.clone(),
            None => Arc::new(shared(found.global, options)),
        };
        let broken: Vec<&str> = found.report.broken().filter_map(|entry| entry.bot.as_deref()).collect();
        let mut bots = HashMap::new();
        for (id, bot) in &found.bots {
            if !bot.is_listed {
                tracing::warn!(bot = id, "no workspace lists this bot, so it isn't served");
                continue;
            }
            let served = before.and_then(|before| before.bot(id));
            if let Some(same) = served.as_ref().filter(|served| is_same(served, bot, &globals)) {
                bots.insert(id.clone(), same.clone());
                continue;
            }
            let (live, is_whole) = live(id, bot, &globals, options);
            match served {
                Some(served) if !is_whole || broken.contains(&id.as_str()) => {
                    tracing::error!(bot = id, "the last version that was good keeps being served");
                    bots.insert(id.clone(), served);
                }
                _ => {
                    bots.insert(id.clone(), Arc::new(live));
                }
            }
        }
        // Bots that can't be mounted any more.
        for served in before.iter().flat_map(|before| before.bots.values()) {
            if !found.bots.contains_key(&served.id) && broken.contains(&served.id.as_str()) {
                tracing::error!(bot = served.id, "the last version that was good keeps being served");
                bots.insert(served.id.clone(), served.clone());
            }
        }
        Installed {
            external: ExternalVerifier::new(config.external.clone()),
            external_url: globals.engine.settings.external_url.to_string(),
            config,
            workspaces: found.workspaces,
            bots,
            globals,
        }
    }
}

fn is_same(served: &LiveBot, bot: &installation::Bot, globals: &Arc<Shared>) -> bool {
    Arc::ptr_eq(&served.shared, globals) && served.files == bot.files && served.settings == bot.settings
}

/// Reads the data folder; media stay where they are. With it comes the original's database, if there is one.
pub(crate) async fn read(options: &Options) -> Result<(Installation, Option<PathBuf>), Error> {
    let (folder, env) = (options.folder.clone(), options.env.clone());
    let read = tokio::task::spawn_blocking(move || {
        let source = Source::open(&folder, &Limits { media: false, ..Limits::default() })?;
        let database = source.database.clone();
        let found = installation::read(source, None, &|name| env.get(name).cloned())?;
        Ok::<_, duologue_v12::Error>((found, database))
    });
    let read = read.await.map_err(|failed| Error::Invalid(format!("the data folder can't be read: {failed}")))?;
    Ok(read?)
}

fn log_report(found: &Installation) {
    for entry in &found.report.entries {
        match entry.verdict {
            Verdict::Broken => tracing::error!("{entry}"),
            _ => tracing::debug!("{entry}"),
        }
    }
}

pub(crate) fn shared(files: Files, options: &Options) -> Shared {
    let (shared, report) = globals(files, options);
    log_findings("global", &report);
    shared
}

/// What all bots share, and what is wrong with it.
pub(crate) fn globals(files: Files, options: &Options) -> (Shared, Report) {
    let (engine, report) = Globals::load(&files, |settings| {
        if let Some(url) = options.env.get("EXTERNAL_URL").filter(|url| !url.is_empty()) {
            settings.external_url = url.trim_end_matches('/').into();
        }
        if settings.external_url.is_empty() {
            settings.external_url = options.public_url.as_str().into();
        }
        // Spelt as the original did.
        if let Some(least) = options.env.get("BP_DECISION_MIN_CONFIENCE").and_then(|value| value.parse().ok()) {
            settings.min_confidence = least;
        }
        let window = options.env.get("BP_DECISION_MIN_NO_REPEAT");
        if let Some(window) = window.and_then(|value| duologue_v12::units::duration(value)) {
            settings.no_repeat_window = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        }
    });
    let scripts = duologue_sandbox::Files::new(scripts_of(&files));
    (Shared { engine, scripts, files }, report)
}

/// The bot, and whether all its flows could be read.
pub(crate) fn live(id: &str, bot: &installation::Bot, globals: &Arc<Shared>, options: &Options) -> (LiveBot, bool) {
    let (live, report) = checked(id, bot, globals, options);
    log_findings(id, &report);
    let is_whole = !report.skipped.iter().any(|finding| finding.file.ends_with(".flow.json"));
    (live, is_whole)
}

/// The bot, and what is wrong with it.
pub(crate) fn checked(
    id: &str,
    bot: &installation::Bot,
    globals: &Arc<Shared>,
    options: &Options,
) -> (LiveBot, Report) {
    let (engine, report) = duologue_dialog::Bot::load(id, &bot.files, &globals.engine);
    // A bot's own files hide shared ones of the same path.
    let scripts = scripts_of(&globals.files).chain(scripts_of(&bot.files));
    let live = LiveBot {
        id: id.to_owned(),
        store_id: BotId::new(id),
        config: bot.config.clone(),
        settings: bot.settings.clone(),
        engine,
        scripts: duologue_sandbox::Files::new(scripts),
        files: bot.files.clone(),
        shared: globals.clone(),
        process: process(options, &globals.engine.settings.external_url),
    };
    (live, report)
}

fn scripts_of(files: &Files) -> impl Iterator<Item = (String, Arc<str>)> {
    let is_script = |path: &str| {
        SCRIPTS.iter().any(|folder| path.starts_with(folder))
            && [".js", ".json", ".cjs"].iter().any(|ending| path.ends_with(ending))
    };
    files.iter().filter(move |(path, _)| is_script(path)).filter_map(|(path, content)| {
        let text = std::str::from_utf8(content).ok()?;
        Some((path.clone(), Arc::from(text)))
    })
}

/// The `process` that scripts see: of the environment only what is meant for them, and what it says about
/// language and time.
fn process(options: &Options, external_url: &str) -> Value {
    let is_harmless =
        |name: &str| name.starts_with("EXPOSED_") || name.starts_with("LC_") || ["LANG", "TZ"].contains(&name);
    let exposed: BTreeMap<&String, &String> = options.env.iter().filter(|(name, _)| is_harmless(name)).collect();
    let (_, rest) = external_url.split_once("://").unwrap_or(("", external_url));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, ""));
    json!({ "HOST": host, "PORT": port, "EXTERNAL_URL": external_url, "ROOT_PATH": path, "env": exposed })
}

/// Line and column, to be put after a file's name.
pub(crate) fn place(position: &Option<Position>) -> String {
    position.map_or_else(String::new, |position| format!(":{}:{}", position.line, position.column))
}

fn log_findings(bot: &str, report: &Report) {
    for finding in &report.skipped {
        tracing::error!(bot, "{}{}: {}", finding.file, place(&finding.position), finding.message);
    }
    for finding in &report.warnings {
        tracing::warn!(bot, "{}{}: {}", finding.file, place(&finding.position), finding.message);
    }
}
