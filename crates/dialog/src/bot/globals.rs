//! What all bots of a data folder share: global actions, hooks, content types and configuration.

use std::{collections::HashMap, sync::Arc};

use super::{
    Files, Hook, Script,
    content::{self, ContentType, Renderer},
    load::{self, Source, text_of},
    report::Report,
};
use crate::{
    duration, scan,
    value::{Text, Value},
};

/// The release whose behaviour this is, as it answers `BP_VERSION`.
pub const COMPATIBLE_VERSION: &str = "12.31.10";

/// What all bots share.
#[derive(Debug)]
pub struct Globals {
    /// Settings of the engine.
    pub settings: Settings,
    /// `config/basic-skills.json`.
    pub(super) basic_skills: Value,
    actions: HashMap<Text, Arc<Script>>,
    hooks: HashMap<Hook, Vec<Arc<Script>>>,
    content_types: HashMap<Text, ContentType>,
}

/// Settings of the engine, from `botpress.config.json`; the operator's side may change them.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Prefix of relative media URLs, without a slash at its end.
    pub external_url: Text,
    /// Suggestions below this are dropped (`decision-engine.md` § 2).
    pub min_confidence: f64,
    /// Whether a suggestion may not repeat the last reply.
    pub no_repeat: bool,
    /// For how many milliseconds.
    pub no_repeat_window: u64,
    /// Default of `dialog.timeoutInterval`, in milliseconds.
    pub context_timeout: u64,
    /// Default of `dialog.sessionTimeoutInterval`, in milliseconds.
    pub session_timeout: u64,
    /// Whether entities are extracted: false if the configuration switches the NLU module off.
    pub nlu: bool,
    /// Remote action servers: id and base URL.
    pub action_servers: Vec<(Text, Text)>,
    /// Whether the choice skill takes the number of a choice for an answer. The original meant to, but never
    /// found the choices of elements with languages.
    pub number_answers: bool,
    /// What `BP_VERSION` is answered with.
    pub version: Text,
    /// Properties of content types whose module can't be read without running it: (type, properties).
    pub content_properties: Vec<(Text, Vec<Text>)>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            external_url: "".into(),
            min_confidence: 0.5,
            no_repeat: false,
            no_repeat_window: 20_000,
            context_timeout: 25 * 60_000,
            session_timeout: 30 * 60_000,
            nlu: true,
            action_servers: Vec::new(),
            number_answers: true,
            version: COMPATIBLE_VERSION.into(),
            content_properties: Vec::new(),
        }
    }
}

impl Settings {
    /// Settings from `botpress.config.json`.
    pub fn from_config(config: &Value) -> Settings {
        let defaults = Settings::default();
        let interval = |name: &str, default| duration_of(config.at(&["dialog", name])).unwrap_or(default);
        let modules = config.get("modules").as_array().unwrap_or_default();
        let nlu_off = modules.iter().any(|module| {
            let location = module.str("location").unwrap_or_default();
            location.rsplit('/').next() == Some("nlu") && *module.get("enabled") == Value::Bool(false)
        });
        let servers = config.at(&["actionServers", "remotes"]).as_array().unwrap_or_default();
        Settings {
            external_url: config.get("httpServer").str("externalUrl").unwrap_or_default().trim_end_matches('/').into(),
            no_repeat: config.get("noRepeatPolicy").truthy(),
            context_timeout: interval("timeoutInterval", defaults.context_timeout),
            session_timeout: interval("sessionTimeoutInterval", defaults.session_timeout),
            nlu: !nlu_off,
            action_servers: servers
                .iter()
                .filter_map(|server| Some((server.str("id")?.into(), server.str("baseUrl")?.into())))
                .collect(),
            ..defaults
        }
    }
}

/// A configured duration in milliseconds: a text or a number.
pub(super) fn duration_of(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => duration::parse(text),
        Value::Number(number) => duration::parse(&crate::js::number_to_string(*number)),
        _ => None,
    }
}

impl Globals {
    /// Loads the global folder: `actions/`, `hooks/`, `content-types/`, `config/`, `botpress.config.json`.
    /// `adjust` may change the settings that the configuration gives.
    pub fn load(files: &Files, adjust: impl FnOnce(&mut Settings)) -> (Arc<Globals>, Report) {
        let mut report = Report::default();
        let source = &Source::new(files);
        let config = load::json(source, "botpress.config.json", &mut report).unwrap_or_default();
        let mut settings = Settings::from_config(&config);
        adjust(&mut settings);
        let basic_skills = load::json(source, "config/basic-skills.json", &mut report).unwrap_or_default();
        let actions = load::actions(source, true, &mut report);
        let hooks = load::hooks(source, true, &mut report);
        let mut content_types: HashMap<Text, ContentType> =
            content::builtin().map(|content_type| (content_type.id.clone(), content_type)).collect();
        for content_type in custom_types(files, &settings, &mut report) {
            content_types.insert(content_type.id.clone(), content_type);
        }
        (Arc::new(Globals { settings, basic_skills, actions, hooks, content_types }), report)
    }

    /// The script of a global action.
    pub fn action(&self, name: &str) -> Option<&Arc<Script>> {
        self.actions.get(name)
    }

    /// Global hooks of a kind.
    pub fn hooks(&self, hook: Hook) -> &[Arc<Script>] {
        self.hooks.get(&hook).map(Vec::as_slice).unwrap_or_default()
    }

    /// A content type.
    pub fn content_type(&self, id: &str) -> Option<&ContentType> {
        self.content_types.get(id)
    }
}

/// Content types that came with the original's modules; theirs are built in here.
const BUNDLED_TYPES: &[&str] = &["builtin", "basic-skills", "analytics", "channel-web"];

fn custom_types(files: &Files, settings: &Settings, report: &mut Report) -> Vec<ContentType> {
    let mut types = Vec::new();
    for (path, bytes) in files {
        let Some(below) = path.strip_prefix("content-types/") else { continue };
        let (folder, base) = below.rsplit_once('/').unwrap_or(("", below));
        let Some(stem) = base.strip_suffix(".js").filter(|stem| !stem.starts_with(['_', '.'])) else { continue };
        if BUNDLED_TYPES.contains(&folder.split('/').next().unwrap_or_default()) {
            continue;
        }
        let Some(source) = text_of(path, bytes, report) else { continue };
        let id: Text = scan::exported_id(source).unwrap_or(stem).into();
        let supplied = settings.content_properties.iter().find(|(name, _)| *name == id);
        let script = Script { name: id.clone(), path: path.as_str().into(), source: source.into(), global: true };
        load::check_script(&script, report);
        report.taken.push(path.clone());
        types.push(ContentType {
            id,
            renderer: Renderer::Script {
                script: Arc::new(script),
                properties: supplied.map(|(_, properties)| properties.clone()),
            },
        });
    }
    types
}
