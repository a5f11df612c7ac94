//! The original's SQLite database, `storage/core.sqlite`, read-only (`migration-data.md` § 5).
//!
//! This is a foreign format: its tables were made by the original, and nothing here is ever written
//! to it. The SQL of this server's own store is in the crate `store`; this module is the one
//! exception, and it stays in this file.
//!
//! Tables that an older version didn't have are read as empty. Large tables are handed over row by
//! row.

use std::path::Path;

use bytes::Bytes;
use rusqlite::{Connection, OpenFlags, Row, types::ValueRef};
use time::{OffsetDateTime, PrimitiveDateTime, format_description::well_known::Rfc3339, macros::format_description};

use crate::{
    Error,
    auth::{login::Account, password::StoredPassword},
    json::{Json, Object},
    source::Files,
};

/// An opened database.
#[derive(Debug)]
pub struct Database {
    connection: Connection,
}

/// A member of a workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// As stored.
    pub email: String,
    /// The id of the strategy.
    pub strategy: String,
    /// The id of the workspace.
    pub workspace: String,
    /// The id of the role.
    pub role: String,
}

/// What is remembered of a user, by all bots.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelUser {
    /// Lower case; `api` for the Converse API.
    pub channel: String,
    /// The user's id in the channel.
    pub user: String,
    /// The user memory.
    pub attributes: Object,
    /// Milliseconds since 1970.
    pub created_at: Option<i64>,
}

/// The state of a conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct DialogSession {
    /// The bot.
    pub bot: String,
    /// `api` for the Converse API.
    pub channel: String,
    /// The user.
    pub user: String,
    /// Of channels that have threads.
    pub thread: Option<String>,
    /// The position in the dialog.
    pub context: Json,
    /// The memory of the context.
    pub temp: Json,
    /// The memory of the session.
    pub session: Json,
    /// When the context ends, in milliseconds since 1970.
    pub context_expiry: Option<i64>,
    /// When the session ends, in milliseconds since 1970.
    pub session_expiry: Option<i64>,
}

/// An entry of the key-value store.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyValue {
    /// `None` is the store that all bots share.
    pub bot: Option<String>,
    /// The key.
    pub key: String,
    /// The value.
    pub value: Json,
    /// When it ends, in milliseconds since 1970.
    pub expires_at: Option<i64>,
}

impl Database {
    /// Opens a file. A server that still runs on it isn't disturbed.
    ///
    /// # Errors
    /// [`Error::Database`] if it is no database or can't be opened.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        // Views and triggers of a foreign file are not trusted.
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "query_only", true)?;
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(Database { connection })
    }

    /// The accounts of all strategies.
    ///
    /// # Errors
    /// [`Error::Database`]
    pub fn accounts(&self) -> Result<Vec<Account>, Error> {
        let mut accounts = Vec::new();
        for table in self.tables("strategy\\_%")? {
            let id = table.trim_start_matches("strategy_").to_owned();
            self.rows(&table, |row| {
                accounts.push(Account {
                    email: text(row, "email").unwrap_or_default().to_lowercase(),
                    strategy: text(row, "strategy").unwrap_or_else(|| id.clone()),
                    password: StoredPassword {
                        hash: text(row, "password").unwrap_or_default(),
                        salt: text(row, "salt").unwrap_or_default(),
                    },
                    attributes: object(row, "attributes"),
                    token_version: row.get("tokenVersion").unwrap_or(1),
                });
                Ok(())
            })?;
        }
        Ok(accounts)
    }

    /// Who belongs to which workspace.
    ///
    /// # Errors
    /// [`Error::Database`]
    pub fn memberships(&self) -> Result<Vec<Membership>, Error> {
        let mut memberships = Vec::new();
        self.rows("workspace_users", |row| {
            memberships.push(Membership {
                email: text(row, "email").unwrap_or_default(),
                strategy: text(row, "strategy").unwrap_or_default(),
                workspace: text(row, "workspace").unwrap_or_default(),
                role: text(row, "role").unwrap_or_default(),
            });
            Ok(())
        })?;
        Ok(memberships)
    }

    /// Hands over every user; ends with the first error of `take`.
    ///
    /// # Errors
    /// [`Error::Database`], and those of `take`.
    pub fn users(&self, mut take: impl FnMut(ChannelUser) -> Result<(), Error>) -> Result<(), Error> {
        self.rows("srv_channel_users", |row| {
            take(ChannelUser {
                channel: text(row, "channel").unwrap_or_default(),
                user: text(row, "user_id").unwrap_or_default(),
                attributes: object(row, "attributes"),
                created_at: instant(row, "created_at"),
            })
        })
    }

    /// Hands over every session that hasn't ended at `now` (milliseconds since 1970).
    ///
    /// # Errors
    /// [`Error::Database`], and those of `take`.
    pub fn sessions(&self, now: i64, mut take: impl FnMut(DialogSession) -> Result<(), Error>) -> Result<(), Error> {
        self.rows("dialog_sessions", |row| {
            let session_expiry = instant(row, "session_expiry");
            let id = text(row, "id").unwrap_or_default();
            let mut parts = id.splitn(4, "::").map(str::to_owned);
            let (Some(bot), Some(channel), Some(user)) = (parts.next(), parts.next(), parts.next()) else {
                return Ok(());
            };
            if session_expiry.is_some_and(|expiry| expiry <= now) {
                return Ok(());
            }
            take(DialogSession {
                bot,
                channel,
                user,
                thread: parts.next(),
                context: json(row, "context"),
                temp: json(row, "temp_data"),
                session: json(row, "session_data"),
                context_expiry: instant(row, "context_expiry"),
                session_expiry,
            })
        })
    }

    /// Hands over every entry of the key-value store that hasn't ended at `now` (milliseconds since
    /// 1970). The memory `bot` of a bot is its key `global`.
    ///
    /// # Errors
    /// [`Error::Database`], and those of `take`.
    pub fn key_values(&self, now: i64, mut take: impl FnMut(KeyValue) -> Result<(), Error>) -> Result<(), Error> {
        self.rows("srv_kvs", |row| {
            let expires_at = instant(row, "expireOn");
            if expires_at.is_some_and(|expiry| expiry <= now) {
                return Ok(());
            }
            take(KeyValue {
                bot: text(row, "botId").filter(|bot| bot != "__global__"),
                key: text(row, "key").unwrap_or_default(),
                value: json(row, "value"),
                expires_at,
            })
        })
    }

    /// The files of an installation that keeps them in the database; they win over the disk's.
    /// Paths are below the data folder.
    ///
    /// # Errors
    /// [`Error::Database`]
    pub fn files(&self) -> Result<Files, Error> {
        let mut files = Files::new();
        self.rows("srv_ghost_files", |row| {
            let path = text(row, "file_path").unwrap_or_default().replace('\\', "/");
            let path = path.trim_start_matches("./").trim_start_matches("data/");
            let deleted = row.get_ref("deleted").ok().is_some_and(|deleted| match deleted {
                ValueRef::Integer(deleted) => deleted != 0,
                ValueRef::Text(deleted) => deleted == b"true",
                _ => false,
            });
            let leads_out = path.is_empty() || path.starts_with('/') || path.split('/').any(|part| part == "..");
            if !deleted && !leads_out {
                let content = match row.get_ref("content") {
                    Ok(ValueRef::Blob(content) | ValueRef::Text(content)) => Bytes::copy_from_slice(content),
                    _ => Bytes::new(),
                };
                files.insert(path.to_owned(), content);
            }
            Ok(())
        })?;
        Ok(files)
    }

    /// The names of tables like a pattern.
    fn tables(&self, pattern: &str) -> Result<Vec<String>, Error> {
        let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE ?1 ESCAPE '\\' ORDER BY name";
        let mut statement = self.connection.prepare(sql)?;
        let names = statement.query_map([pattern], |row| row.get(0))?;
        Ok(names.collect::<Result<_, _>>()?)
    }

    /// Hands over the rows of a table, if there is one of this name.
    fn rows(&self, table: &str, mut take: impl FnMut(&Row<'_>) -> Result<(), Error>) -> Result<(), Error> {
        let pattern = table.replace('_', "\\_");
        if !self.tables(&pattern)?.iter().any(|name| name == table) {
            return Ok(());
        }
        let mut statement = self.connection.prepare(&format!("SELECT * FROM \"{}\"", table.replace('"', "\"\"")))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            take(row)?;
        }
        Ok(())
    }
}

/// A column as text; `None` if it is missing or null.
fn text(row: &Row<'_>, name: &str) -> Option<String> {
    match row.get_ref(name).ok()? {
        ValueRef::Text(text) | ValueRef::Blob(text) => Some(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Null => None,
    }
}

/// A column of JSON text; null if it can't be read.
fn json(row: &Row<'_>, name: &str) -> Json {
    text(row, name).and_then(|text| Json::parse(&text).ok()).unwrap_or(Json::Null)
}

/// A column of JSON text that holds an object. Old rows hold the text of an object.
fn object(row: &Row<'_>, name: &str) -> Object {
    let value = match json(row, name) {
        Json::String(text) => Json::parse(&text).unwrap_or(Json::Null),
        other => other,
    };
    if let Json::Object(members) = value { members } else { Object::new() }
}

/// A column that holds a date: UTC without a zone, ISO, or milliseconds.
fn instant(row: &Row<'_>, name: &str) -> Option<i64> {
    let text = match row.get_ref(name).ok()? {
        ValueRef::Integer(millis) => return Some(millis),
        ValueRef::Text(text) => std::str::from_utf8(text).ok()?,
        _ => return None,
    };
    let plain = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let date = OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| PrimitiveDateTime::parse(text, plain).map(PrimitiveDateTime::assume_utc))
        .ok()?;
    i64::try_from(date.unix_timestamp_nanos() / 1_000_000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tables as the original makes them, with a few rows.
    fn database() -> (tempfile::TempDir, Database) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("core.sqlite");
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch(
                r#"
                CREATE TABLE strategy_default (id INTEGER PRIMARY KEY, email TEXT, password TEXT, salt TEXT,
                    strategy TEXT, attributes TEXT, tokenVersion INTEGER DEFAULT 1, created_at TEXT, updated_at TEXT);
                INSERT INTO strategy_default (email, password, salt, strategy, attributes, tokenVersion)
                    VALUES ('Ada@example.com', 'ff', 's', 'default', '{"firstname":"Ada"}', 3);
                CREATE TABLE strategy_other (email TEXT, password TEXT, salt TEXT);
                INSERT INTO strategy_other VALUES ('bob@example.com', 'ff', 's');
                CREATE TABLE workspace_users (email TEXT, strategy TEXT, workspace TEXT, role TEXT);
                INSERT INTO workspace_users VALUES ('ada@example.com', 'default', 'w', 'dev');
                CREATE TABLE srv_channel_users (id INTEGER, channel TEXT, user_id TEXT, attributes TEXT, created_at TEXT);
                INSERT INTO srv_channel_users VALUES (1, 'api', 'u1', '{"b":1,"a":2}', '2024-01-02 03:04:05'),
                    (2, 'api', 'u2', '"{}"', NULL);
                CREATE TABLE dialog_sessions (id TEXT, context TEXT, temp_data TEXT, session_data TEXT,
                    context_expiry TEXT, session_expiry TEXT);
                INSERT INTO dialog_sessions VALUES
                    ('bot::api::u1', '{"currentFlow":"main.flow.json"}', '{}', '{"lastMessages":[]}',
                        '2024-01-01T00:00:00.000Z', '2024-01-01 00:30:00'),
                    ('bot::web::u1::t1', '{}', '{}', '{}', NULL, NULL),
                    ('odd', '{}', '{}', '{}', NULL, NULL);
                CREATE TABLE srv_kvs (key TEXT, value TEXT, botId TEXT, expireOn TEXT, modified_on TEXT);
                INSERT INTO srv_kvs VALUES ('global', '{"x":1}', 'bot', NULL, NULL),
                    ('k', '5', '__global__', '2024-01-01 00:00:00', NULL);
                CREATE TABLE srv_ghost_files (file_path TEXT, content BLOB, deleted BOOLEAN, modified_on TEXT);
                INSERT INTO srv_ghost_files VALUES ('data/bots/x/flows/main.flow.json', X'7B7D', 0, NULL),
                    ('data/bots/x/gone.json', X'', 1, NULL), ('data/../../etc/passwd', X'', 0, NULL);
                "#,
            )
            .unwrap();
        drop(connection);
        let database = Database::open(&path).unwrap();
        (folder, database)
    }

    #[test]
    fn accounts_of_all_strategies() {
        let (_folder, database) = database();
        let accounts = database.accounts().unwrap();
        assert_eq!(accounts.len(), 2);
        assert_eq!((accounts[0].email.as_str(), accounts[0].token_version), ("ada@example.com", 3));
        assert_eq!(accounts[0].attributes["firstname"].as_str(), Some("Ada"));
        assert_eq!((accounts[1].strategy.as_str(), accounts[1].token_version), ("other", 1));
        assert_eq!(database.memberships().unwrap()[0].role, "dev");
    }

    #[test]
    fn conversations() {
        let (_folder, database) = database();
        let mut users = Vec::new();
        database
            .users(|user| {
                users.push(user);
                Ok(())
            })
            .unwrap();
        assert_eq!(Json::Object(users[0].attributes.clone()).to_string(), r#"{"b":1,"a":2}"#);
        assert_eq!((users[0].created_at, users[1].created_at), (Some(1_704_164_645_000), None));

        let sessions = |now| {
            let mut sessions = Vec::new();
            database
                .sessions(now, |session| {
                    sessions.push(session);
                    Ok(())
                })
                .unwrap();
            sessions
        };
        let before = 1_704_067_200_000;
        assert_eq!(sessions(before).len(), 2);
        assert_eq!(sessions(before)[0].context_expiry, Some(before));
        let after = sessions(before + 1_800_000);
        assert_eq!(after.len(), 1);
        assert_eq!((after[0].channel.as_str(), after[0].thread.as_deref()), ("web", Some("t1")));

        let mut values = Vec::new();
        database
            .key_values(before - 1, |value| {
                values.push(value);
                Ok(())
            })
            .unwrap();
        assert_eq!((values[0].bot.as_deref(), &values[1].value), (Some("bot"), &Json::Number(5.0)));
        values.clear();
        database
            .key_values(before, |value| {
                values.push(value);
                Ok(())
            })
            .unwrap();
        assert_eq!(values.len(), 1);
    }

    #[test]
    fn files_in_the_database() {
        let (_folder, database) = database();
        let files = database.files().unwrap();
        assert_eq!(files.keys().collect::<Vec<_>>(), ["bots/x/flows/main.flow.json"]);
        assert_eq!(files["bots/x/flows/main.flow.json"], "{}");
    }

    #[test]
    fn other_files_are_refused_and_missing_tables_are_empty() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.sqlite");
        std::fs::write(&path, "this is not a database, whatever its name says").unwrap();
        assert!(matches!(Database::open(&path), Err(Error::Database(_))));
        let empty = folder.path().join("empty.sqlite");
        std::fs::write(&empty, "").unwrap();
        let database = Database::open(&empty).unwrap();
        assert!(database.accounts().unwrap().is_empty() && database.files().unwrap().is_empty());
        assert!(Database::open(&folder.path().join("missing.sqlite")).is_err());
    }
}
