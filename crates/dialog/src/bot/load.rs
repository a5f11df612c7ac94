//! Loading: a bot's files, each checked by itself, then linked.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;

use super::{
    Answer, Bot, BotConfig, Files, Hook, Intent, Qna, Script,
    content::Element,
    flow::{Flow, NodeKind, Transition},
    globals::{Globals, duration_of},
    instruction::{Content, Instruction},
    report::{Position, Report},
};
use crate::{
    actions,
    condition::Condition,
    nlu::Entity,
    scan,
    template::TemplateValue,
    value::{Object, Pool, Text, Value},
};

pub(super) fn load(id: &str, files: &Files, globals: &Arc<Globals>) -> (Bot, Report) {
    let mut report = Report::default();
    let source = &Source::new(files);
    let config_file = json(source, "bot.config.json", &mut report).unwrap_or_default();
    if !files.contains_key("bot.config.json") {
        report.warn("bot.config.json", "the file is missing: defaults apply");
    }
    let age = Age::of(&config_file);
    let config = config(config_file, globals);
    let mut flows = flows(source, &config, &mut report);
    let mut elements = elements(source, globals, age, &mut report);
    if age.before([12, 1, 3]) {
        add_error_flow(&config, &mut flows, &mut elements);
    }
    let mut skills = globals.basic_skills.clone();
    if let Some(Value::Object(own)) = json(source, "config/basic-skills.json", &mut report) {
        for (name, value) in own {
            skills.make_object().set(name, value);
        }
    }
    let on = |name: &str| *skills.get(name) != Value::Bool(false);
    let own_hooks = hooks(source, false, &mut report);
    let bot = Bot {
        id: id.into(),
        flow_names: flows.iter().enumerate().map(|(at, flow)| (flow.name.to_lowercase(), at)).collect(),
        elements,
        qnas: qnas(source, &mut report),
        intents: intents(source, &mut report),
        entities: entities(source, &mut report),
        actions: actions(source, false, &mut report),
        hooks: merge_hooks(globals, own_hooks),
        conditions: conditions(&flows),
        instructions: instructions(&flows),
        match_numbers: on("matchNumbers"),
        match_nlu: on("matchNLU"),
        flows,
        config,
        globals: globals.clone(),
    };
    check(&bot, &mut report);
    (bot, report)
}

/// Files that are being loaded, and the texts that they have in common.
pub(super) struct Source<'a> {
    files: &'a Files,
    pool: Pool,
}

impl<'a> Source<'a> {
    pub(super) fn new(files: &'a Files) -> Self {
        Source { files, pool: Pool::default() }
    }
}

/// The text of a file, without a byte order mark.
pub(super) fn text_of<'a>(path: &str, bytes: &'a Bytes, report: &mut Report) -> Option<&'a str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(error) => {
            report.skip(path, None, format!("not UTF-8 from byte {}", error.valid_up_to()));
            None
        }
    }
}

/// The JSON of a file; `None` if it is missing or broken (reported).
pub(super) fn json(source: &Source<'_>, path: &str, report: &mut Report) -> Option<Value> {
    let text = text_of(path, source.files.get(path)?, report)?;
    match source.pool.parse(text) {
        Ok(value) => {
            report.taken.push(path.to_owned());
            Some(value)
        }
        Err(error) => {
            let position = Position { line: error.line(), column: error.column() };
            report.skip(path, Some(position), format!("not JSON: {error}"));
            None
        }
    }
}

/// The bot's version, as far as old shapes depend on it.
#[derive(Clone, Copy)]
struct Age([u32; 3]);

impl Age {
    fn of(config: &Value) -> Age {
        let mut parts = config.str("version").unwrap_or_default().split(['.', '-']).map(|part| part.parse().ok());
        match (parts.next().flatten(), parts.next().flatten(), parts.next().flatten()) {
            (Some(major), minor, patch) => Age([major, minor.unwrap_or(0), patch.unwrap_or(0)]),
            _ => Age([u32::MAX; 3]),
        }
    }

    fn before(self, version: [u32; 3]) -> bool {
        self.0 < version
    }
}

fn config(file: Value, globals: &Globals) -> BotConfig {
    let interval = |name: &str, default| duration_of(file.at(&["dialog", name])).unwrap_or(default);
    BotConfig {
        default_language: file.str("defaultLanguage").unwrap_or("en").into(),
        context_timeout: interval("timeoutInterval", globals.settings.context_timeout),
        session_timeout: interval("sessionTimeoutInterval", globals.settings.session_timeout),
        qna_disabled: file.get("qna").get("disabled").truthy(),
        file,
    }
}

/// Paths below `folder/` that end with `suffix`, with what stands between.
fn below<'a>(files: &'a Files, folder: &'a str, suffix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let paths = files.range(folder.to_owned()..).map(|(path, _)| path.as_str());
    paths.take_while(move |path| path.starts_with(folder)).filter_map(move |path| {
        let name = path[folder.len()..].strip_suffix(suffix)?;
        Some((path, name))
    })
}

fn base_name(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

// ---- flows

fn flows(source: &Source<'_>, config: &BotConfig, report: &mut Report) -> Vec<Flow> {
    let one_flow = config.file.get("oneflow").truthy();
    let mut flows: Vec<Flow> = Vec::new();
    let mut names = HashSet::new();
    for (path, name) in below(source.files, "flows/", ".flow.json") {
        let Some(file) = json(source, path, report) else { continue };
        match Flow::parse(&format!("{name}.flow.json"), &file, one_flow) {
            Ok(flow) if names.insert(flow.name.to_lowercase()) => flows.push(flow),
            Ok(_) => report.skip(path, None, "another flow has this name in other case"),
            Err(message) => {
                report.taken.pop();
                report.skip(path, None, message);
            }
        }
    }
    flows
}

/// Bots from before 12.1.3 had no error flow; the original added this one (`migration-data.md` § 4).
fn add_error_flow(config: &BotConfig, flows: &mut Vec<Flow>, elements: &mut HashMap<Text, Element>) {
    if flows.iter().any(|flow| flow.name.eq_ignore_ascii_case("error.flow.json")) {
        return;
    }
    let element = format!("text${}", config.default_language);
    let form = Object::new().with(element, "Oops, something went wrong. Please try again later.");
    let id: Text = "builtin_text-error".into();
    elements.entry(id.clone()).or_insert_with(|| new_element(id, "builtin_text".into(), form.into()));
    let node = Object::new()
        .with("name", "entry")
        .with("onEnter", vec!["say #!builtin_text-error"])
        .with("next", Value::Array(Vec::new()));
    let file = Object::new().with("version", "0.0.1").with("startNode", "entry").with("nodes", vec![Value::from(node)]);
    flows.extend(Flow::parse("error.flow.json", &file.into(), false).ok());
}

fn all_transitions(flow: &Flow) -> impl Iterator<Item = &Transition> {
    flow.catch_all_next.iter().chain(flow.nodes.iter().flat_map(|node| &node.next))
}

fn all_instructions(flow: &Flow) -> impl Iterator<Item = &Text> {
    let own = flow.nodes.iter().flat_map(|node| node.on_enter.iter().chain(node.on_receive.iter().flatten()));
    flow.catch_all_receive.iter().chain(own)
}

fn conditions(flows: &[Flow]) -> HashMap<Text, Condition> {
    let mut conditions = HashMap::new();
    for transition in flows.iter().flat_map(all_transitions) {
        let text = &transition.condition;
        conditions.entry(text.clone()).or_insert_with(|| Condition::compile(text));
    }
    conditions
}

fn instructions(flows: &[Flow]) -> HashMap<Text, Instruction> {
    let mut instructions = HashMap::new();
    for text in flows.iter().flat_map(all_instructions) {
        instructions.entry(text.clone()).or_insert_with(|| Instruction::parse(text));
    }
    instructions
}

// ---- content

fn new_element(id: Text, content_type: Text, form: Value) -> Element {
    Element { id, content_type, templates: TemplateValue::new(&form) }
}

fn elements(source: &Source<'_>, globals: &Globals, age: Age, report: &mut Report) -> HashMap<Text, Element> {
    let mut elements: HashMap<Text, Element> = HashMap::new();
    for (path, name) in below(source.files, "content-elements/", ".json") {
        let kind = base_name(name);
        if kind == "library" {
            continue;
        }
        let Some(file) = json(source, path, report) else { continue };
        let Some(list) = file.as_array() else {
            report.skip(path, None, "content elements must be a list");
            continue;
        };
        if globals.content_type(kind).is_none() {
            report.warn(path, format!("no content type is called \"{kind}\": its elements can't be said"));
        }
        for (at, item) in list.iter().enumerate() {
            let (Some(id), Value::Object(form)) = (item.str("id"), item.get("formData")) else {
                report.skip(path, None, format!("element {at} has no id or no formData"));
                continue;
            };
            let mut form = form.clone();
            if age.before([12, 5, 0]) {
                add_markdown(&mut form);
            }
            if elements.contains_key(id) {
                report.skip(path, None, format!("element \"{id}\" exists already"));
                continue;
            }
            let element = new_element(id.into(), kind.into(), form.into());
            report_templates(path, id, &element.templates, report);
            elements.insert(element.id.clone(), element);
        }
    }
    elements
}

/// Before 12.5.0 every text was Markdown (`migration-data.md` § 4).
fn add_markdown(form: &mut Object) {
    let languages: Vec<String> =
        form.iter().filter_map(|(key, _)| key.strip_prefix("text$").map(str::to_owned)).collect();
    for language in languages {
        let key = format!("markdown${language}");
        if !form.has(&key) {
            form.set(key, true);
        }
    }
}

fn report_templates(path: &str, of: &str, value: &TemplateValue, report: &mut Report) {
    match value {
        TemplateValue::Broken(_, error) => report.warn(path, format!("{of}: {error}")),
        TemplateValue::Array(items) => items.iter().for_each(|item| report_templates(path, of, item, report)),
        TemplateValue::Object(members) => {
            members.iter().for_each(|(_, member)| report_templates(path, of, member, report));
        }
        TemplateValue::Text(template) => {
            for tag in template.source().split("{{").skip(1).filter_map(|tag| tag.split("}}").next()) {
                if tag.contains('[') || tag.trim_start_matches(['{', '&', '#', '^', ' ']).starts_with("state.") {
                    report
                        .warn(path, format!("{of}: {{{{{tag}}}}} gives nothing: write paths with dots, without state"));
                }
            }
        }
        TemplateValue::Static(_) => {}
    }
}

// ---- questions, intents, entities

fn qnas(source: &Source<'_>, report: &mut Report) -> HashMap<Text, Qna> {
    let mut qnas = HashMap::new();
    for (path, name) in below(source.files, "qna/", ".json") {
        let Some(file) = json(source, path, report) else { continue };
        let id: Text = base_name(name).into();
        match qna(id.clone(), file.get("data")) {
            Some(qna) => {
                for (_, answers) in &qna.answers {
                    for answer in answers {
                        if let Answer::Text(template) = answer {
                            report_templates(path, &id, template, report);
                        }
                    }
                }
                qnas.insert(id, qna);
            }
            None => {
                report.taken.pop();
                report.skip(path, None, "data must be an object with answers");
            }
        }
    }
    qnas
}

fn qna(id: Text, data: &Value) -> Option<Qna> {
    let data = data.as_object().map(|_| data)?;
    let contexts = match (data.get("contexts"), data.str("category")) {
        (Value::Array(names), _) => names.iter().filter_map(|name| name.as_str().map(Into::into)).collect(),
        (_, Some(category)) => vec![category.into()],
        _ => vec!["global".into()],
    };
    let answers = [data.get("answers"), data.get("answer")].into_iter().find_map(Value::as_object);
    let answers = answers.into_iter().flat_map(Object::iter).map(|(language, texts)| {
        let texts = match texts {
            Value::Array(texts) => texts.clone(),
            Value::String(_) => vec![texts.clone()],
            _ => Vec::new(),
        };
        (language.clone(), texts.iter().filter_map(answer).collect())
    });
    Some(Qna {
        id,
        enabled: data.get("enabled").truthy(),
        action: data.str("action").unwrap_or("text").into(),
        contexts,
        answers: answers.collect(),
        questions: data.get("questions").clone(),
        redirect_flow: data.str("redirectFlow").unwrap_or_default().into(),
        redirect_node: data.str("redirectNode").unwrap_or_default().into(),
    })
}

fn answer(text: &Value) -> Option<Answer> {
    Some(match text.as_str()?.strip_prefix("#!") {
        Some(id) => Answer::Element(id.into()),
        None => Answer::Text(TemplateValue::new(text)),
    })
}

fn intents(source: &Source<'_>, report: &mut Report) -> HashMap<Text, Intent> {
    let mut intents = HashMap::new();
    for (path, name) in below(source.files, "intents/", ".json") {
        // Generated from questions, which are the authority.
        if base_name(name).starts_with("__qna__") {
            continue;
        }
        let Some(mut file) = json(source, path, report) else { continue };
        rename_numeral(&mut file);
        let name: Text = file.str("name").unwrap_or(base_name(name)).into();
        let contexts: Vec<Text> = match file.get("contexts") {
            Value::Array(names) => names.iter().filter_map(|name| name.as_str().map(Into::into)).collect(),
            _ => vec!["global".into()],
        };
        intents.insert(name.clone(), Intent { name, contexts, file });
    }
    intents
}

/// The entity `number` was once called `numeral` (`migration-data.md` § 4).
fn rename_numeral(intent: &mut Value) {
    let Some(Value::Array(slots)) = intent.as_object_mut().and_then(|intent| intent.get_mut("slots")) else { return };
    for slot in slots {
        let Some(Value::Array(entities)) = slot.as_object_mut().and_then(|slot| slot.get_mut("entities")) else {
            continue;
        };
        for entity in entities.iter_mut().filter(|entity| entity.as_str() == Some("numeral")) {
            *entity = "number".into();
        }
    }
}

fn entities(source: &Source<'_>, report: &mut Report) -> Vec<Entity> {
    let mut entities: Vec<Entity> = Vec::new();
    for (path, _) in below(source.files, "entities/", ".json") {
        let Some(file) = json(source, path, report) else { continue };
        match Entity::parse(&file) {
            Ok(Some(entity)) if entities.iter().any(|other| other.name == entity.name) => {
                report.skip(path, None, format!("entity \"{}\" exists already", entity.name));
            }
            Ok(Some(entity)) => entities.push(entity),
            // System entities exist by themselves.
            Ok(None) => {}
            Err(message) => {
                report.taken.pop();
                report.skip(path, None, message);
            }
        }
    }
    entities
}

// ---- scripts

/// Folders whose actions came with the original's modules; theirs are native here or not there.
const BUNDLED: &[&str] = &["builtin", "basic-skills", "analytics"];

pub(super) fn actions(source: &Source<'_>, global: bool, report: &mut Report) -> HashMap<Text, Arc<Script>> {
    let mut actions = HashMap::new();
    for (path, name) in below(source.files, "actions/", ".js") {
        let hidden = base_name(name).starts_with('.') || name.split('/').any(|part| part == "node_modules");
        let bundled = name.split_once('/').is_some_and(|(folder, _)| BUNDLED.contains(&folder));
        if hidden || bundled {
            continue;
        }
        let Some(text) = text_of(path, &source.files[path], report) else { continue };
        let name: Text = name.strip_suffix(".http").unwrap_or(name).into();
        let script = Script { name: name.clone(), path: path.into(), source: text.into(), global };
        check_script(&script, report);
        report.taken.push(path.to_owned());
        actions.insert(name, Arc::new(script));
    }
    actions
}

pub(super) fn hooks(source: &Source<'_>, global: bool, report: &mut Report) -> HashMap<Hook, Vec<Arc<Script>>> {
    let mut hooks: HashMap<Hook, Vec<Arc<Script>>> = HashMap::new();
    for hook in Hook::ALL {
        let folder = format!("hooks/{}/", hook.name());
        for (path, name) in below(source.files, &folder, ".js") {
            let bundled = global && name.split_once('/').is_some_and(|(folder, _)| BUNDLED.contains(&folder));
            if base_name(name).starts_with('.') || bundled {
                continue;
            }
            let Some(text) = text_of(path, &source.files[path], report) else { continue };
            let script = Script { name: base_name(name).into(), path: path.into(), source: text.into(), global };
            check_script(&script, report);
            report.taken.push(path.to_owned());
            hooks.entry(hook).or_default().push(Arc::new(script));
        }
    }
    hooks
}

/// The server's and the bot's hooks of each kind, by base name.
fn merge_hooks(globals: &Globals, mut own: HashMap<Hook, Vec<Arc<Script>>>) -> HashMap<Hook, Vec<Arc<Script>>> {
    let mut merged = HashMap::new();
    for hook in Hook::ALL {
        let mut scripts = globals.hooks(hook).to_vec();
        // The server's start is no bot's business.
        if hook != Hook::AfterServerStart {
            scripts.extend(own.remove(&hook).unwrap_or_default());
        }
        scripts.sort_by(|a, b| a.name.cmp(&b.name));
        if !scripts.is_empty() {
            merged.insert(hook, scripts);
        }
    }
    merged
}

pub(super) fn check_script(script: &Script, report: &mut Report) {
    for name in scan::required(&script.source) {
        report.requires.push((script.path.to_string(), name.to_owned()));
    }
    for member in scan::unsupported(&script.source) {
        report.warn(&script.path, format!("{member} isn't supported"));
    }
}

// ---- links

fn check(bot: &Bot, report: &mut Report) {
    if bot.find_flow("main").is_none() {
        report.warn("flows/main.flow.json", "there is no main flow: the bot can't answer");
    }
    check_languages(bot, report);
    let mut node_names: BTreeMap<&str, ()> = BTreeMap::new();
    for flow in &bot.flows {
        node_names.extend(flow.nodes.iter().map(|node| (&*node.name, ())));
    }
    for flow in &bot.flows {
        let file = format!("flows/{}", flow.name);
        for transition in all_transitions(flow) {
            if let Err(message) = check_target(bot, flow, &transition.target, &node_names) {
                report.warn(&file, message);
            }
            if let Some(Condition::Native(expression)) = bot.condition(&transition.condition) {
                for name in expression.unknown_names() {
                    report.warn(&file, format!("condition {}: {name} doesn't exist here", transition.condition));
                }
            }
        }
        for node in &flow.nodes {
            match &node.kind {
                NodeKind::Skill(name) if bot.find_flow(name).is_none() => {
                    report.warn(&file, format!("{}: the sub-flow {name} is missing", node.name));
                }
                NodeKind::Say(kind, _) if bot.content_type(kind).is_none() => {
                    report.warn(&file, format!("{}: no content type is called {kind}", node.name));
                }
                _ => {}
            }
        }
        for text in all_instructions(flow) {
            if let Some(Err(message)) = bot.instruction(text).map(|parsed| check_instruction(bot, parsed)) {
                report.warn(&file, message);
            }
        }
    }
}

/// Elements without a word in the bot's own language render nearly empty.
fn check_languages(bot: &Bot, report: &mut Report) {
    let language = &bot.config.default_language;
    let suffix = format!("${language}");
    let mut lacking: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for element in bot.elements.values() {
        let form = element.form();
        let members = form.as_object().map(Object::iter).into_iter().flatten();
        let has = members.filter(|(key, value)| key.ends_with(&suffix) || value.get(language).truthy()).count() > 0;
        if !has {
            lacking.entry(&element.content_type).or_default().push(&element.id);
        }
    }
    for (kind, mut ids) in lacking {
        ids.sort_unstable();
        let file = format!("content-elements/{kind}.json");
        report.warn(&file, format!("nothing in the default language {language}: {}", ids.join(", ")));
    }
}

fn check_target(bot: &Bot, flow: &Flow, target: &str, nodes: &BTreeMap<&str, ()>) -> Result<(), String> {
    if let Some((name, node)) = split_flow_target(target) {
        let to = bot.find_flow(name).ok_or_else(|| format!("a transition leads to the missing flow {name}"))?;
        return match node {
            Some(node) if to.node(node).is_none() => {
                Err(format!("a transition leads to the node {node}, which {name} lacks"))
            }
            _ => Ok(()),
        };
    }
    let returned = target.trim_start_matches('#');
    match target {
        "" | "END" => Ok(()),
        _ if target.starts_with('#') && (returned.is_empty() || nodes.contains_key(returned)) => Ok(()),
        _ if target.starts_with('#') => Err(format!("a return leads to the node {returned}, which no flow has")),
        _ if flow.node(target).is_some() => Ok(()),
        _ => Err(format!("a transition leads to the missing node {target}")),
    }
}

/// A target that names a flow, in its parts (`flows.md` § 5.1).
pub(crate) fn split_flow_target(target: &str) -> Option<(&str, Option<&str>)> {
    if !target.contains(".flow.json") {
        return None;
    }
    Some(match target.split_once('#') {
        Some((flow, node)) => (flow, Some(node).filter(|node| !node.is_empty())),
        None => (target, None),
    })
}

fn check_instruction(bot: &Bot, instruction: &Instruction) -> Result<(), String> {
    match instruction {
        Instruction::Broken(message) => Err(message.clone()),
        Instruction::Say(say) => {
            if let Some(TemplateValue::Broken(_, error)) = &say.text {
                return Err(format!("{}: {error}", say.reference));
            }
            match &say.content {
                Content::Element(id) if bot.element(id).is_none() => {
                    Err(format!("the content element {id} is missing"))
                }
                Content::Inline(kind) | Content::Node(kind) if bot.content_type(kind).is_none() => {
                    Err(format!("no content type is called {kind}"))
                }
                _ => Ok(()),
            }
        }
        Instruction::Action(action) => {
            if let Some((_, TemplateValue::Broken(_, error))) =
                action.args.iter().find(|(_, value)| matches!(value, TemplateValue::Broken(..)))
            {
                return Err(format!("{}: {error}", action.name));
            }
            match &action.server {
                Some(server) if !bot.globals.settings.action_servers.iter().any(|(id, _)| id == server) => {
                    Err(format!("the action server {server} is unknown"))
                }
                None if !actions::is_native(&action.name) && bot.action(&action.name).is_none() => {
                    Err(format!("the action {} is missing", action.name))
                }
                _ => Ok(()),
            }
        }
    }
}
