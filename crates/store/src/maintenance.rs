//! Backup and verification of the embedded engine.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, backup::Backup};

use crate::{Error, Result, migrate};

/// How far a backup has come, in pages of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Copied.
    pub done: i64,
    /// In all.
    pub total: i64,
}

/// What a verification has counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Version of the schema.
    pub version: i64,
    /// Rows by table, in the order of the names.
    pub tables: Vec<(String, i64)>,
    /// What is wrong; empty if nothing is.
    pub problems: Vec<String>,
}

/// Copies the database while it is in use. The copy is of one instant, and is put in place only
/// when it is complete and synced: an interrupted backup leaves no half file under its name.
pub fn backup(database: &Path, copy: &Path, mut progress: impl FnMut(Progress)) -> Result<()> {
    if !database.exists() {
        return Err(Error::Setup(format!("there is no database at {}; is --data right?", database.display())));
    }
    if copy.exists() {
        return Err(Error::Setup(format!("{} exists already; choose another name", copy.display())));
    }
    let io = |what: &str, e: std::io::Error| Error::Setup(format!("can't {what} {}: {e}", copy.display()));
    let part = copy.with_extension("part");
    let _ = std::fs::remove_file(&part);
    let source = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    source.busy_timeout(Duration::from_secs(10))?;
    // One read transaction holds the instant, so that writers don't make the copy start over.
    source.execute_batch("BEGIN; SELECT COUNT(*) FROM settings;")?;
    let mut target = Connection::open(&part)?;
    {
        let run = Backup::new(&source, &mut target)?;
        loop {
            let step = run.step(2048)?;
            let at = run.progress();
            progress(Progress { done: i64::from(at.pagecount - at.remaining), total: i64::from(at.pagecount) });
            match step {
                rusqlite::backup::StepResult::Done => break,
                rusqlite::backup::StepResult::More => {}
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
    source.execute_batch("COMMIT")?;
    // A file of its own, without a log beside it.
    target.pragma_update(None, "journal_mode", "DELETE")?;
    drop(target);
    std::fs::File::open(&part).and_then(|file| file.sync_all()).map_err(|e| io("sync", e))?;
    std::fs::rename(&part, copy).map_err(|e| io("name", e))?;
    if let Some(folder) = copy.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| io("sync the folder of", e))?;
    }
    Ok(())
}

/// Rules that hold between rows, each a query that counts the rows that break it.
const RULES: &[(&str, &str)] = &[
    (
        "conversations whose messageCount is not the number of their messages",
        "SELECT COUNT(*) FROM conversations c WHERE c.message_count <> (SELECT COUNT(*) FROM messages m WHERE m.conversation_id = c.id)",
    ),
    (
        "messages of conversations that don't exist",
        "SELECT COUNT(*) FROM messages m WHERE NOT EXISTS (SELECT 1 FROM conversations c WHERE c.id = m.conversation_id AND c.bot_id = m.bot_id)",
    ),
    (
        "sequence numbers used twice in a conversation",
        "SELECT COUNT(*) FROM (SELECT 1 FROM messages GROUP BY conversation_id, seq HAVING COUNT(*) > 1)",
    ),
    (
        "participants of conversations that don't exist",
        "SELECT COUNT(*) FROM participants p WHERE NOT EXISTS (SELECT 1 FROM conversations c WHERE c.id = p.conversation_id)",
    ),
    (
        "conversations of bots that don't exist",
        "SELECT COUNT(*) FROM conversations c WHERE NOT EXISTS (SELECT 1 FROM bots b WHERE b.id = c.bot_id)",
    ),
    (
        "bots without their user",
        "SELECT COUNT(*) FROM bots b WHERE NOT EXISTS (SELECT 1 FROM users u WHERE u.id = b.id)",
    ),
    (
        "conversations that are missing in the order of last change, or more than once in it",
        "SELECT COUNT(*) FROM conversations c WHERE (SELECT COUNT(*) FROM conversation_order o WHERE o.bot_id = c.bot_id \
         AND o.updated_at = c.updated_at AND o.conversation_id = c.id) <> 1",
    ),
    (
        "entries in the order of last change without their conversation",
        "SELECT COUNT(*) FROM conversation_order o WHERE NOT EXISTS (SELECT 1 FROM conversations c WHERE c.id = o.conversation_id \
         AND c.updated_at = o.updated_at)",
    ),
    (
        "index entries of conversation tags that the conversation doesn't carry",
        "SELECT COUNT(*) FROM entity_tags t WHERE t.kind = 'c' AND NOT EXISTS (SELECT 1 FROM conversations c, json_each(c.tags) j \
         WHERE c.id = t.entity_id AND j.key = t.key AND j.value = t.value)",
    ),
    (
        "tags of conversations that are not in the index",
        "SELECT COUNT(*) FROM conversations c, json_each(c.tags) j WHERE NOT EXISTS (SELECT 1 FROM entity_tags t \
         WHERE t.kind = 'c' AND t.entity_id = c.id AND t.key = j.key AND t.value = j.value)",
    ),
    (
        "pending events without their delivery",
        "SELECT COUNT(*) FROM events e WHERE e.status = 'pending' AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.bot_id = e.bot_id AND o.id = e.id)",
    ),
];

/// Checks a database file: its pages, its indexes, its schema, and the rules between its rows.
/// Reads only; a running server's file can be checked too.
pub fn verify(database: &Path) -> Result<Report> {
    if !database.exists() {
        return Err(Error::Setup(format!("there is no file {}", database.display())));
    }
    let conn = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    conn.busy_timeout(Duration::from_secs(10))?;
    conn.pragma_update(None, "query_only", true)?;
    let mut problems = Vec::new();
    let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == 0 {
        return Err(Error::Setup(format!("{} is not a Duologue database", database.display())));
    }
    migrate::check(version)?;
    conn.execute_batch("BEGIN")?;
    let mut check = conn.prepare("PRAGMA integrity_check(20)")?;
    for line in check.query_map([], |row| row.get::<_, String>(0))? {
        let line = line?;
        if line != "ok" {
            problems.push(line);
        }
    }
    drop(check);
    if problems.is_empty() {
        for (what, sql) in RULES {
            let count: i64 = conn.query_row(sql, [], |row| row.get(0))?;
            if count > 0 {
                problems.push(format!("{count} {what}"));
            }
        }
    }
    let tables = tables(&conn)?;
    conn.execute_batch("COMMIT")?;
    Ok(Report { version, tables, problems })
}

fn tables(conn: &Connection) -> Result<Vec<(String, i64)>> {
    let mut list =
        conn.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name")?;
    let names = list.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    names
        .into_iter()
        .map(|name| {
            let count = conn.query_row(&format!("SELECT COUNT(*) FROM \"{name}\""), [], |row| row.get(0))?;
            Ok((name, count))
        })
        .collect()
}
