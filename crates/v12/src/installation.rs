//! What a folder or archive is, and which of its files are used (`migration-data.md` § 1 to 3).

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{
    Error,
    bot::{BotConfig, Settings, is_bot_id},
    config::{Env, GlobalConfig, parse_json},
    migrate::{self, Age},
    report::{Report, Verdict},
    source::{Files, Limits, Source},
    workspaces::{self, Workspace},
};

/// What stands for a bot's id in exported archives.
const PLACEHOLDER: &str = "/bots/BOT_ID_PLACEHOLDER/";

/// Packages that a bot's scripts require.
const PACKAGES: &str = "libraries/node_modules.tgz";

/// Modules of the original: what they copied into the global folder comes with this server.
const MODULES: &[&str] = &[
    "analytics",
    "basic-skills",
    "bot-improvement",
    "broadcast",
    "builtin",
    "channel-messenger",
    "channel-slack",
    "channel-smooch",
    "channel-teams",
    "channel-telegram",
    "channel-twilio",
    "channel-vonage",
    "channel-web",
    "code-editor",
    "examples",
    "extensions",
    "google-speech",
    "hitl",
    "hitlnext",
    "libraries",
    "misunderstood",
    "ndu",
    "nlu",
    "nlu-extras",
    "nlu-testing",
    "qna",
    "testing",
    "tester",
    "uipath",
];

/// What was brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The folder of one bot.
    BotFolder,
    /// A whole data folder.
    DataFolder,
    /// One bot, exported.
    BotArchive,
    /// A whole server, exported.
    ServerArchive,
}

/// Everything that could be read.
#[derive(Clone, Debug)]
pub struct Installation {
    /// What it was.
    pub kind: Kind,
    /// The bots, by id.
    pub bots: BTreeMap<String, Bot>,
    /// What all bots share: the files below `global`, those of the original's modules left out.
    pub global: Files,
    /// The server's configuration; defaults if there is none.
    pub config: GlobalConfig,
    /// The workspaces; empty if there are none.
    pub workspaces: Vec<Workspace>,
    /// What was taken and what not.
    pub report: Report,
}

/// A bot.
#[derive(Clone, Debug)]
pub struct Bot {
    /// Its files, by paths below its folder: what is used, and what is kept for a later export.
    pub files: Files,
    /// Its own configuration; its id and name are those that it has here.
    pub config: BotConfig,
    /// What holds for it.
    pub settings: Settings,
    /// Whether a workspace lists it, or there are no workspaces. The original doesn't mount others.
    pub is_listed: bool,
}

/// Reads what was brought. A single bot may get another id; `env` are the variables that the
/// configuration may refer to.
///
/// # Errors
/// [`Error::NotAnInstallation`] if no bot and no configuration is in it, if an archive has several
/// bots side by side, or if the id for a single bot can't be one.
pub fn read(source: Source, new_id: Option<&str>, env: Env<'_>) -> Result<Installation, Error> {
    let found = find(&source, new_id)?;
    let mut report = Report::default();
    for (path, reason) in &source.passed_over {
        pass_over(&found, path, reason, &mut report);
    }
    let (mut global, mut bots) = (Files::new(), BTreeMap::<String, Files>::new());
    for (path, content) in source.files {
        if let Some(rest) = found.global.as_ref().and_then(|prefix| path.strip_prefix(prefix.as_str())) {
            global.insert(rest.to_owned(), content);
        } else if let Some((id, rest)) = found.bot_of(&path) {
            bots.entry(id.to_owned()).or_default().insert(rest.to_owned(), content);
        }
    }
    let mut config = read_config(&global, env, &mut report);
    let workspaces = read_workspaces(&global, &mut report);
    if config.external.public_key.is_none() {
        let key = global.get("end_users_auth.pub");
        config.external.public_key = key.map(|key| String::from_utf8_lossy(key).into_owned());
    }
    let global = sort_global(global, &mut report);
    let bots = bots
        .into_iter()
        .filter_map(|(id, files)| {
            let bot = read_bot(&id, files, &config, &workspaces, new_id.is_some(), &mut report)?;
            Some((id, bot))
        })
        .collect();
    report.entries.sort();
    Ok(Installation { kind: found.kind, bots, global, config, workspaces, report })
}

/// Where things are.
struct Found {
    kind: Kind,
    /// The prefix of global files, with a slash at its end.
    global: Option<String>,
    /// Prefixes of bots' folders, empty or with a slash at their end, and ids.
    bots: Vec<(String, String)>,
}

impl Found {
    fn bot_of<'a>(&self, path: &'a str) -> Option<(&str, &'a str)> {
        self.bots.iter().find_map(|(prefix, id)| Some((id.as_str(), path.strip_prefix(prefix.as_str())?)))
    }
}

fn find(source: &Source, new_id: Option<&str>) -> Result<Found, Error> {
    let refused = |reason: &str| Err(Error::NotAnInstallation(reason.to_owned()));
    let roots: Vec<&str> =
        source.files.keys().filter_map(|path| path.strip_suffix("bot.config.json")).filter(is_folder).collect();
    let below_bots = |root: &&str| {
        let parts: Vec<&str> = root.trim_end_matches('/').split('/').collect();
        parts.len() >= 2 && parts[parts.len() - 2] == "bots"
    };
    let has_global = source.files.keys().find_map(|path| {
        let at =
            path.strip_suffix("global/botpress.config.json").or_else(|| path.strip_suffix("global/workspaces.json"))?;
        is_folder(&at).then(|| at.to_owned())
    });
    // A folder of bots, given by itself.
    let side_by_side = !source.is_archive && roots.len() > 1 && roots.iter().all(|root| root.matches('/').count() == 1);
    if has_global.is_some() || side_by_side || roots.iter().any(below_bots) {
        if new_id.is_some() && roots.len() > 1 {
            return refused("there are several bots, so none can get another id");
        }
        let kind = if source.is_archive { Kind::ServerArchive } else { Kind::DataFolder };
        let bots = roots.iter().filter(|root| side_by_side || below_bots(root)).map(|root| {
            let folder = root.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
            ((*root).to_owned(), new_id.unwrap_or(folder).to_owned())
        });
        let bots: Vec<(String, String)> = bots.filter(|(_, id)| is_bot_id(id)).collect();
        // Next to the bots, if nothing else says where.
        let base = has_global.or_else(|| bots.first()?.0.rsplit_once("bots/").map(|(base, _)| base.to_owned()));
        return Ok(Found { kind, global: base.map(|base| format!("{base}global/")), bots });
    }
    let [root] = roots[..] else {
        return match roots.len() {
            0 => refused("there is no bot.config.json in it, and no data folder"),
            _ => refused("there is more than one bot.config.json in it"),
        };
    };
    let own_id = || {
        let config = parse_json(source.files.get(&format!("{root}bot.config.json"))?).ok()?;
        Some(config.get("id")?.as_str()?.to_owned())
    };
    let Some(id) = new_id.map(str::to_owned).or_else(own_id) else {
        return refused("its bot.config.json says no id; give one");
    };
    if !is_bot_id(&id) {
        return refused(&format!("\"{id}\" can't be the id of a bot"));
    }
    let kind = if source.is_archive { Kind::BotArchive } else { Kind::BotFolder };
    Ok(Found { kind, global: None, bots: vec![(root.to_owned(), id)] })
}

/// Whether a prefix ends where a folder's name does.
fn is_folder(prefix: &&str) -> bool {
    prefix.is_empty() || prefix.ends_with('/')
}

fn pass_over(found: &Found, path: &str, reason: &str, report: &mut Report) {
    if let Some(rest) = found.global.as_ref().and_then(|prefix| path.strip_prefix(prefix.as_str())) {
        report.add(None, rest, Verdict::Left, reason);
    } else if let Some((id, rest)) = found.bot_of(path) {
        report.add(Some(id), rest, Verdict::Left, reason);
    }
}

fn read_config(global: &Files, env: Env<'_>, report: &mut Report) -> GlobalConfig {
    let content = global.get("botpress.config.json");
    let mut problems = Vec::new();
    let config = GlobalConfig::read(content.map(|content| &content[..]), env, &mut problems);
    if content.is_some() {
        let verdict = if problems.is_empty() { Verdict::Taken } else { Verdict::Broken };
        report.add(None, "botpress.config.json", verdict, problems.join("; "));
    }
    config
}

fn read_workspaces(global: &Files, report: &mut Report) -> Vec<Workspace> {
    let Some(content) = global.get("workspaces.json") else { return Vec::new() };
    match workspaces::parse(content) {
        Ok(workspaces) => {
            report.add(None, "workspaces.json", Verdict::Taken, "");
            workspaces
        }
        Err(reason) => {
            report.add(None, "workspaces.json", Verdict::Broken, reason);
            Vec::new()
        }
    }
}

fn read_bot(
    id: &str,
    files: Files,
    global: &GlobalConfig,
    workspaces: &[Workspace],
    renamed: bool,
    report: &mut Report,
) -> Option<Bot> {
    let mut problems = Vec::new();
    let content = files.get("bot.config.json")?;
    let mut config = match BotConfig::read(content, &mut problems) {
        Ok(config) => config,
        Err(reason) => {
            report.add(Some(id), "bot.config.json", Verdict::Broken, format!("the bot can't be used: {reason}"));
            return None;
        }
    };
    if config.id != id {
        if renamed {
            config.name = format!("{} ({id})", config.name);
        } else {
            problems.push(format!("its id is \"{}\", but its folder's name counts", config.id));
        }
        id.clone_into(&mut config.id);
    }
    let is_listed =
        workspaces.is_empty() || workspaces.iter().any(|workspace| workspace.bots.iter().any(|bot| bot == id));
    if !is_listed {
        problems.push("no workspace lists this bot".to_owned());
    }
    report.add(Some(id), "bot.config.json", Verdict::Taken, problems.join("; "));
    let settings = Settings::resolve(&config, global);
    let age = Age { version: &config.version, default_language: &config.default_language };
    let mut files = sort_bot(id, files, age, report);
    unpack_packages(id, &mut files, report);
    for added in migrate::add_error_flow(&mut files, age) {
        report.add(Some(id), added, Verdict::Taken, "changed: bots of this version got an error flow later");
    }
    Some(Bot { files, config, settings, is_listed })
}

/// Puts the packages of `libraries/node_modules.tgz` where they would be if it were unpacked.
fn unpack_packages(id: &str, files: &mut Files, report: &mut Report) {
    let Some(archive) = files.get(PACKAGES) else { return };
    let limits = Limits { file: 8 << 20, total: 64 << 20, ..Limits::default() };
    let unpacked = match Source::unpack_below("libraries/node_modules/", archive, &limits) {
        Ok(source) => source.files,
        Err(error) => return report.add(Some(id), PACKAGES, Verdict::Broken, error.to_string()),
    };
    let reason = format!("unpacked; {} scripts of packages", unpacked.len());
    report.add(Some(id), PACKAGES, Verdict::Taken, reason);
    for (path, content) in unpacked {
        // The archive may hold the folder, or what is in it.
        let path = path.replacen("node_modules/node_modules/", "node_modules/", 1);
        files.entry(path).or_insert(content);
    }
}

/// Drops what isn't to be taken, puts the id for the placeholder, brings old forms up to date, and
/// reports on each file.
fn sort_bot(id: &str, files: Files, age: Age<'_>, report: &mut Report) -> Files {
    let own = format!("/bots/{id}/");
    let mut kept = Files::new();
    for (path, content) in files {
        // Reported elsewhere.
        if path == "bot.config.json" || path == PACKAGES {
            kept.insert(path, content);
            continue;
        }
        let mut content = if path.ends_with(".json") { replace(content, &own) } else { content };
        let (verdict, mut reason) = judge(&path, &content);
        if verdict == Verdict::Taken && path.ends_with(".json") {
            let migrated = parse_json(&content).ok().and_then(|json| migrate::file(&path, &json, age));
            if let Some((new, what)) = migrated {
                content = new.to_string().into();
                reason = format!("changed: {what}");
            }
        }
        report.add(Some(id), &path, verdict, reason);
        // What is broken is kept, so that it can be reported again where it is used.
        if verdict != Verdict::Left {
            kept.insert(path, content);
        }
    }
    kept
}

fn replace(content: Bytes, own: &str) -> Bytes {
    match std::str::from_utf8(&content) {
        Ok(text) if text.contains(PLACEHOLDER) => text.replace(PLACEHOLDER, own).into(),
        _ => content,
    }
}

/// What a bot's file is used for.
fn judge(path: &str, content: &[u8]) -> (Verdict, String) {
    let (folder, name) = path.split_once('/').unwrap_or(("", path));
    let kept = |reason: &str| (Verdict::Kept, reason.to_owned());
    let left = |reason: &str| (Verdict::Left, reason.to_owned());
    match folder {
        "flows" if name.ends_with(".flow.json") => json(content),
        "flows" if name.ends_with(".ui.json") => kept("for an editor"),
        "intents" if name.starts_with("__qna__") => left("made anew from questions and answers"),
        "content-elements" | "qna" | "intents" | "entities" if name.ends_with(".json") => json(content),
        "actions" | "hooks" if name.ends_with(".js") => script(content),
        "libraries" => (Verdict::Taken, String::new()),
        "media" => (Verdict::Taken, String::new()),
        "config" if name == "basic-skills.json" => json(content),
        "config" => kept("settings of a module that isn't here"),
        "" if name == "revisions.json" => left("the original's bookkeeping"),
        _ => kept("nothing uses it"),
    }
}

fn sort_global(files: Files, report: &mut Report) -> Files {
    let mut kept = Files::new();
    for (path, content) in files {
        if matches!(path.as_str(), "botpress.config.json" | "workspaces.json") {
            kept.insert(path, content);
            continue;
        }
        let (verdict, reason) = judge_global(&path, &content);
        report.add(None, &path, verdict, reason);
        if verdict != Verdict::Left {
            kept.insert(path, content);
        }
    }
    kept
}

/// What a shared file is used for.
fn judge_global(path: &str, content: &[u8]) -> (Verdict, String) {
    let (folder, name) = path.split_once('/').unwrap_or(("", path));
    let of_module = name.split('/').rev().skip(1).any(|part| MODULES.contains(&part));
    match folder {
        "actions" | "hooks" | "content-types" if of_module => {
            (Verdict::Left, "belongs to a module of the original".to_owned())
        }
        "actions" | "hooks" | "content-types" if name.ends_with(".js") => script(content),
        "media" => (Verdict::Taken, String::new()),
        "" if name == "end_users_auth.pub" => (Verdict::Taken, String::new()),
        "config" if name == "basic-skills.json" => json(content),
        "config" => (Verdict::Kept, "settings of a module that isn't here".to_owned()),
        "" if name == "debug.json" => (Verdict::Left, "the original's logging".to_owned()),
        _ => (Verdict::Kept, "nothing uses it".to_owned()),
    }
}

fn json(content: &[u8]) -> (Verdict, String) {
    match parse_json(content) {
        Ok(_) => (Verdict::Taken, String::new()),
        Err(reason) => (Verdict::Broken, reason),
    }
}

/// A script is taken; what it requires is named.
fn script(content: &[u8]) -> (Verdict, String) {
    let Ok(text) = std::str::from_utf8(content) else { return (Verdict::Broken, "it isn't UTF-8".to_owned()) };
    let required = required(text);
    let reason = if required.is_empty() { String::new() } else { format!("requires {}", required.join(", ")) };
    (Verdict::Taken, reason)
}

/// The names that a script requires or imports, in the order of the text; files of the bot's own
/// left out. Comments aren't told from code.
fn required(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (word, opening) in [("require", true), ("from", false)] {
        for (at, _) in text.match_indices(word) {
            let rest = text[at + word.len()..].trim_start();
            let rest = if opening { rest.strip_prefix('(').map(str::trim_start) } else { Some(rest) };
            let Some(rest) = rest else { continue };
            let Some(quote) = rest.chars().next().filter(|c| matches!(c, '\'' | '"' | '`')) else { continue };
            let Some((name, _)) = rest[1..].split_once(quote) else { continue };
            let plain = !name.is_empty() && !name.starts_with('.') && !name.contains(char::is_whitespace);
            if plain && !found.iter().any(|known| known == name) {
                found.push(name.to_owned());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(is_archive: bool, files: &[(&str, &str)]) -> Source {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), Bytes::from((*text).to_owned()))).collect();
        Source { files, is_archive, ..Source::default() }
    }

    fn read_all(source: Source, id: Option<&str>) -> Result<Installation, Error> {
        read(source, id, &|_| None)
    }

    fn ids(installation: &Installation) -> Vec<&str> {
        installation.bots.keys().map(String::as_str).collect()
    }

    const BOT: &str = r#"{"id":"my-bot","name":"Mine","defaultLanguage":"en","languages":["en"]}"#;

    #[test]
    fn every_form_is_recognised() {
        let bot = read_all(source(false, &[("bot.config.json", BOT), ("flows/main.flow.json", "{}")]), None).unwrap();
        assert_eq!((bot.kind, ids(&bot)), (Kind::BotFolder, vec!["my-bot"]));
        assert_eq!(bot.bots["my-bot"].files.keys().collect::<Vec<_>>(), ["bot.config.json", "flows/main.flow.json"]);

        let zipped = read_all(source(true, &[("top/bot.config.json", BOT), ("top/qna/a.json", "{}")]), None).unwrap();
        assert_eq!((zipped.kind, ids(&zipped)), (Kind::BotArchive, vec!["my-bot"]));
        assert!(zipped.bots["my-bot"].files.contains_key("qna/a.json"));

        for prefix in ["", "data/", "x/data/"] {
            let files = [
                (format!("{prefix}global/botpress.config.json"), r#"{"appSecret":"s"}"#),
                (format!("{prefix}global/workspaces.json"), r#"[{"id":"default","bots":["one"]}]"#),
                (format!("{prefix}global/actions/a.js"), ""),
                (format!("{prefix}bots/one/bot.config.json"), BOT),
                (format!("{prefix}bots/two/bot.config.json"), BOT),
                (format!("{prefix}bots/two/flows/sub/a.flow.json"), "{}"),
            ];
            let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
            let server = read_all(source(true, &files), None).unwrap();
            assert_eq!((server.kind, ids(&server)), (Kind::ServerArchive, vec!["one", "two"]), "{prefix}");
            assert_eq!(server.config.tokens.secret, "s");
            assert!(server.bots["one"].is_listed && !server.bots["two"].is_listed);
            assert!(server.bots["two"].files.contains_key("flows/sub/a.flow.json"));
            assert!(server.global.contains_key("actions/a.js"));
            assert!(read_all(source(true, &files), Some("new")).is_err());
        }
        let folder = source(false, &[("one/bot.config.json", BOT), ("two/bot.config.json", BOT)]);
        assert_eq!(ids(&read_all(folder, None).unwrap()), ["one", "two"]);
    }

    #[test]
    fn what_is_none_is_refused() {
        let refused =
            |files: &[(&str, &str)], id| matches!(read_all(source(true, files), id), Err(Error::NotAnInstallation(_)));
        assert!(refused(&[("readme.md", "")], None));
        assert!(refused(&[("a/bot.config.json", BOT), ("b/bot.config.json", BOT)], None));
        assert!(refused(&[("bot.config.json", "{}")], None));
        assert!(refused(&[("bot.config.json", BOT)], Some("../x")));
        assert!(refused(&[("not-a-bot.config.json", BOT)], None));
    }

    #[test]
    fn an_export_gets_its_new_id() {
        let element = r#"{"image":"/api/v1/bots/BOT_ID_PLACEHOLDER/media/x.png"}"#;
        let files = [("bot.config.json", BOT), ("content-elements/a.json", element), ("revisions.json", "[]")];
        let renamed = read_all(source(true, &files), Some("other")).unwrap();
        let bot = &renamed.bots["other"];
        assert_eq!((bot.config.id.as_str(), bot.config.name.as_str()), ("other", "Mine (other)"));
        assert_eq!(bot.files["content-elements/a.json"], r#"{"image":"/api/v1/bots/other/media/x.png"}"#);
        assert!(!bot.files.contains_key("revisions.json"));
        let same = read_all(source(true, &files), None).unwrap();
        assert_eq!(same.bots["my-bot"].config.name, "Mine");
    }

    #[test]
    fn old_bots_are_brought_up_to_date() {
        let config = r#"{"id":"my-bot","version":"11.9.0"}"#;
        let files = [("bot.config.json", config), ("entities/e.json", r#"{"type":"list","fuzzy":false}"#)];
        let old = read_all(source(true, &files), None).unwrap();
        assert_eq!(old.bots["my-bot"].files["entities/e.json"], r#"{"type":"list","fuzzy":1}"#);
        assert!(old.bots["my-bot"].files.contains_key("flows/error.flow.json"));
        let changed = old.report.entries.iter().filter(|entry| entry.reason.starts_with("changed: ")).count();
        assert_eq!(changed, 3);
    }

    #[test]
    fn packed_packages_are_unpacked() {
        for folder in ["", "node_modules/"] {
            let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
            for (path, content) in [("pad/index.js", "js"), ("pad/models/a.json", "{}"), ("pad/x.node", "binary")] {
                let mut header = tar::Header::new_gnu();
                header.set_size(content.len() as u64);
                builder.append_data(&mut header, format!("{folder}{path}"), content.as_bytes()).unwrap();
            }
            let mut source = source(true, &[("bot.config.json", BOT)]);
            source.files.insert(PACKAGES.to_owned(), builder.into_inner().unwrap().finish().unwrap().into());
            let installation = read_all(source, None).unwrap();
            let files = &installation.bots["my-bot"].files;
            assert_eq!(
                files.keys().filter(|path| path.contains("pad")).collect::<Vec<_>>(),
                ["libraries/node_modules/pad/index.js", "libraries/node_modules/pad/models/a.json"]
            );
        }
    }

    #[test]
    fn the_report_says_why() {
        let files = [
            ("global/botpress.config.json", r#"{"dialog":{"timeoutInterval":"never"}}"#),
            ("global/actions/builtin/getGlobalVariable.js", ""),
            ("global/hooks/after_incoming_middleware/basic-skills/slots.js", ""),
            (
                "global/hooks/after_server_start/mine.js",
                "const _ = require( 'lodash' )\nimport x from \"axios\"\nrequire('./own')",
            ),
            ("bots/my-bot/bot.config.json", BOT),
            ("bots/my-bot/flows/main.flow.json", "{\n  broken"),
            ("bots/my-bot/flows/main.ui.json", "{}"),
            ("bots/my-bot/intents/__qna__x.json", "{}"),
            ("bots/my-bot/libraries/node_modules.tgz", ""),
            ("bots/bad/bot.config.json", r#"{"languages":["en"],"defaultLanguage":"fr"}"#),
        ];
        let mut source = source(false, &files);
        source.passed_over.insert("bots/my-bot/models".to_owned(), "trained");
        let installation = read_all(source, None).unwrap();
        assert_eq!(ids(&installation), ["my-bot"]);
        let lines: Vec<String> = installation.report.entries.iter().map(ToString::to_string).collect();
        let has = |text: &str| assert!(lines.iter().any(|line| line.starts_with(text)), "{text}: {lines:#?}");
        has("broken global/botpress.config.json: dialog.timeoutInterval isn't an interval");
        has("left   global/actions/builtin/getGlobalVariable.js: belongs to a module");
        has("left   global/hooks/after_incoming_middleware/basic-skills/slots.js");
        has("taken  global/hooks/after_server_start/mine.js: requires lodash, axios");
        has("broken bots/my-bot/flows/main.flow.json: key must be a string at line 2 column 3");
        has("kept   bots/my-bot/flows/main.ui.json: for an editor");
        has("left   bots/my-bot/intents/__qna__x.json");
        has("broken bots/my-bot/libraries/node_modules.tgz: the archive can't be read");
        has("left   bots/my-bot/models: trained");
        has("broken bots/bad/bot.config.json: the bot can't be used: the default language");
        assert!(!installation.global.contains_key("actions/builtin/getGlobalVariable.js"));
        assert_eq!(installation.report.broken().count(), 4);
        assert!(installation.report.to_string().ends_with("2 files taken, 1 kept unused, 4 left, 4 broken"));
    }
}
