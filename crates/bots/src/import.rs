//! Brings v12 bots, and what the original's database remembers, to this server.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use duologue_model::{Json, id::BotId};
use duologue_store::{
    Store,
    v12::{
        accounts::Account,
        kvs,
        members::Member,
        turns::{Commit, Memory},
    },
};
use duologue_v12::{
    auth::password::StoredPassword,
    database::{ChannelUser, Database, DialogSession, KeyValue},
    installation::{self, Installation},
    json::Json as V12Json,
    report::Report,
    source::{Limits, Source},
};
use serde_json::{Value, json};

use crate::{Error, Options, install};

/// What an import did.
#[derive(Debug)]
pub struct Imported {
    /// Bots that were written, in order.
    pub bots: Vec<String>,
    /// Bots that are there already and were left as they are.
    pub present: Vec<String>,
    /// Shared files that are there already with another content, and were left as they are.
    pub kept: Vec<String>,
    /// What was taken, what not, and why.
    pub report: Report,
    /// What of the bots won't work as it is written, by file.
    pub findings: Vec<Finding>,
    /// Whether the original's database was copied; its contents are taken at the next start.
    pub database: bool,
}

/// Something in a bot that won't work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, below the data folder, and the place in it if that is known.
    pub place: String,
    /// What is wrong.
    pub message: String,
}

/// Puts a bot's folder, a data folder or an archive into a data folder, which is made if there is none. A
/// single bot may get another id. Bots that are there already stay as they are unless `replace`.
///
/// # Errors
/// If it can't be read or isn't of v12, or the folder can't be written.
pub fn import(path: &Path, folder: &Path, new_id: Option<&str>, replace: bool) -> Result<Imported, Error> {
    let source = Source::open(path, &Limits::default())?;
    let database = source.database.clone();
    let found = installation::read(source, new_id, &|name| std::env::var(name).ok())?;
    let mut imported = Imported {
        bots: Vec::new(),
        present: Vec::new(),
        kept: Vec::new(),
        report: found.report.clone(),
        findings: Vec::new(),
        database: false,
    };
    for (id, bot) in &found.bots {
        let target = folder.join("bots").join(id);
        if target.exists() {
            if !replace {
                imported.present.push(id.clone());
                continue;
            }
            fs::remove_dir_all(&target).map_err(|error| Error::Write(target.clone(), error))?;
        }
        for (path, content) in &bot.files {
            write(&target.join(path), content)?;
        }
        imported.bots.push(id.clone());
    }
    write_global(&found, folder, &mut imported)?;
    list(&imported.bots, folder)?;
    let target = folder.join("storage").join("core.sqlite");
    if let Some(database) = database
        && !target.exists()
    {
        make_folder(&target)?;
        fs::copy(&database, &target).map_err(|error| Error::Write(target.clone(), error))?;
        imported.database = true;
    }
    imported.findings = findings(folder, &imported)?;
    Ok(imported)
}

/// Checks the bots that were written, with what all bots of the folder share.
fn findings(folder: &Path, imported: &Imported) -> Result<Vec<Finding>, Error> {
    let options = Options {
        folder: folder.to_owned(),
        public_url: String::new(),
        worker: Vec::new(),
        allow: duologue_outbound::AllowList::none(),
        env: std::collections::BTreeMap::new(),
    };
    let source = Source::open(folder, &Limits { media: false, ..Limits::default() })?;
    let found = installation::read(source, None, &|name| std::env::var(name).ok())?;
    let (globals, shared) = install::globals(found.global, &options);
    let globals = Arc::new(globals);
    let mut findings = in_files("global", &shared);
    for (id, bot) in found.bots.iter().filter(|(id, _)| imported.bots.contains(id)) {
        let (live, report) = install::checked(id, bot, &globals, &options);
        findings.extend(in_files(&format!("bots/{id}"), &report));
        for (script, package) in &report.requires {
            if !live.can_require(script, package) {
                let place = format!("bots/{id}/{script}");
                let message = format!(
                    "requires {package}, which isn't there; packages can be put, as pure JavaScript, into libraries/node_modules/"
                );
                findings.push(Finding { place, message });
            }
        }
    }
    // What can't be read at all is in the report already.
    let broken: Vec<String> = imported.report.broken().map(|entry| entry.place()).collect();
    findings.retain(|finding| !broken.iter().any(|broken| finding.place.split(':').next() == Some(broken)));
    Ok(findings)
}

fn in_files(folder: &str, report: &duologue_dialog::Report) -> Vec<Finding> {
    let all = report.skipped.iter().chain(&report.warnings);
    all.map(|finding| Finding {
        place: format!("{folder}/{}{}", finding.file, install::place(&finding.position)),
        message: finding.message.clone(),
    })
    .collect()
}

fn write_global(found: &Installation, folder: &Path, imported: &mut Imported) -> Result<(), Error> {
    for (path, content) in &found.global {
        let target = folder.join("global").join(path);
        match fs::read(&target) {
            Ok(present) if present == content[..] => {}
            // The list of bots grows below.
            Ok(_) if path == "workspaces.json" => {}
            Ok(_) => imported.kept.push(path.clone()),
            Err(_) => write(&target, content)?,
        }
    }
    Ok(())
}

/// Adds bots to the first workspace of the folder's list, if it has one: unlisted bots aren't served.
fn list(bots: &[String], folder: &Path) -> Result<(), Error> {
    let path = folder.join("global").join("workspaces.json");
    let Ok(text) = fs::read_to_string(&path) else { return Ok(()) };
    let Ok(Value::Array(mut workspaces)) = serde_json::from_str::<Value>(&text) else { return Ok(()) };
    let is_listed = |workspaces: &[Value], id: &str| {
        let lists = workspaces.iter().filter_map(|workspace| workspace.get("bots")?.as_array());
        lists.flatten().any(|listed| listed == id)
    };
    let missing: Vec<Value> = bots.iter().filter(|id| !is_listed(&workspaces, id)).map(|id| json!(id)).collect();
    let Some(Value::Object(first)) = workspaces.first_mut() else { return Ok(()) };
    if missing.is_empty() {
        return Ok(());
    }
    if let Value::Array(listed) = first.entry("bots").or_insert_with(|| json!([])) {
        listed.extend(missing);
    }
    let text = serde_json::to_string_pretty(&workspaces).unwrap_or(text);
    write(&path, text.as_bytes())
}

fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    make_folder(path)?;
    fs::write(path, content).map_err(|error| Error::Write(path.to_owned(), error))
}

fn make_folder(path: &Path) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(|error| Error::Write(folder.to_owned(), error))
}

// ---- the original's database

/// Everything of the original's database that is kept.
#[derive(Default)]
struct Remembered {
    accounts: Vec<Account>,
    members: Vec<Member>,
    users: Vec<ChannelUser>,
    values: Vec<KeyValue>,
    sessions: Vec<DialogSession>,
}

/// Brings accounts, users, values and conversations of the original's database, once; and the first
/// account that the environment names, if there is none.
pub(crate) async fn bring(store: &Arc<Store>, database: Option<PathBuf>, options: &Options) -> Result<(), Error> {
    if let Some(path) = database {
        let name = path.display().to_string();
        if !store.was_v12_brought(&name).await? {
            let now = store.now().millis();
            let read = tokio::task::spawn_blocking(move || remembered(&path, now)).await;
            let found = read.map_err(|failed| Error::Invalid(format!("the database can't be read: {failed}")))??;
            bring_all(store, found, now).await?;
            store.note_v12_brought(&name).await?;
        }
    }
    first_account(store, options).await
}

fn remembered(path: &Path, now: i64) -> Result<Remembered, duologue_v12::Error> {
    let database = Database::open(path)?;
    let mut found = Remembered::default();
    for account in database.accounts()? {
        found.accounts.push(Account {
            strategy: account.strategy,
            email: account.email,
            password: account.password.hash,
            salt: account.password.salt,
            token_version: account.token_version,
            attributes: stored(&V12Json::Object(account.attributes)),
            is_super_admin: false,
        });
    }
    for member in database.memberships()? {
        found.members.push(Member {
            strategy: member.strategy,
            email: member.email.to_lowercase(),
            workspace: member.workspace,
            role: member.role,
        });
    }
    database.users(|user| {
        found.users.push(user);
        Ok(())
    })?;
    database.key_values(now, |value| {
        found.values.push(value);
        Ok(())
    })?;
    database.sessions(now, |session| {
        found.sessions.push(session);
        Ok(())
    })?;
    Ok(found)
}

async fn bring_all(store: &Arc<Store>, found: Remembered, now: i64) -> Result<(), Error> {
    let accounts = store.bring_v12_accounts(found.accounts).await?;
    let members = store.bring_v12_members(found.members).await?;
    let users: Vec<(String, String, Json)> = found
        .users
        .into_iter()
        .map(|user| (user.channel, user.user, stored(&V12Json::Object(user.attributes))))
        .collect();
    let (users, values, sessions) = (users, found.values, found.sessions);
    tracing::info!(
        accounts,
        members,
        users = users.len(),
        values = values.len(),
        sessions = sessions.len(),
        "brought from the original's database"
    );
    for chunk in users.chunks(500) {
        store.bring_v12_users(chunk.to_vec()).await?;
    }
    let values: Vec<kvs::Write> = values.into_iter().map(|value| value_write(value, now)).collect();
    for chunk in values.chunks(500) {
        store.write_v12_values(chunk.to_vec()).await?;
    }
    for session in sessions.into_iter().filter(|session| session.channel == "api" && session.thread.is_none()) {
        // Stale: the conversation has gone on here already.
        store.write(conversation(session, now)).await?;
    }
    Ok(())
}

fn value_write(value: KeyValue, now: i64) -> kvs::Write {
    let expires_in = value.expires_at.map(|at| u64::try_from(at - now).unwrap_or(0));
    kvs::Write { bot: value.bot, change: kvs::Change::Set { key: value.key, value: stored(&value.value), expires_in } }
}

/// A conversation that goes on where it was.
fn conversation(session: DialogSession, now: i64) -> Commit {
    let left = |at: Option<i64>| at.map(|at| u64::try_from(at - now).unwrap_or(0));
    let is_open = session.context.as_object().is_some_and(|context| !context.is_empty());
    Commit {
        bot: BotId::new(session.bot),
        user: session.user,
        turns_before: 0,
        incoming: None,
        answers: None,
        replies: Vec::new(),
        delivered: false,
        memory: Memory {
            user: None,
            session: object(&session.session),
            context: object(&session.context),
            temp: object(&session.temp),
            timeouts: 0,
            context_expires_in: left(session.context_expiry).filter(|_| is_open),
            session_expires_in: left(session.session_expiry).unwrap_or(30 * 60 * 1000),
        },
        kvs: Vec::new(),
        users: Vec::new(),
        deleted_sessions: Vec::new(),
        elsewhere: Vec::new(),
        trace: None,
    }
}

fn object(value: &V12Json) -> Json {
    if value.as_object().is_some() { stored(value) } else { Json::of(&json!({})) }
}

fn stored(value: &V12Json) -> Json {
    Json::trusted(value.to_string())
}

/// `BP_ADMIN_EMAIL` and `BP_ADMIN_PASSWORD`, while there is no account (`auth-config.md` § 3).
async fn first_account(store: &Arc<Store>, options: &Options) -> Result<(), Error> {
    let variable = |name: &str| options.env.get(name).filter(|text| !text.is_empty());
    let (Some(email), Some(password)) = (variable("BP_ADMIN_EMAIL"), variable("BP_ADMIN_PASSWORD")) else {
        return Ok(());
    };
    if store.has_v12_accounts().await? {
        return Ok(());
    }
    let (email, password) = (email.to_lowercase(), password.clone());
    let hashed = tokio::task::spawn_blocking(move || StoredPassword::new(&password)).await;
    let hashed = hashed.map_err(|failed| Error::Invalid(format!("the password can't be hashed: {failed}")))??;
    let account = Account {
        strategy: "default".to_owned(),
        email,
        password: hashed.hash,
        salt: hashed.salt,
        token_version: 1,
        attributes: Json::of(&json!({})),
        is_super_admin: true,
    };
    if store.put_first_v12_account(account).await? {
        tracing::info!("the first account was made, as BP_ADMIN_EMAIL says");
    }
    Ok(())
}
