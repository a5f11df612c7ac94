//! Transaction scripts and the interface they're written over.
//!
//! A script is a value that holds its input and knows how to run against a [`Tx`]. It is written
//! once; on SQLite it runs on the writer's thread (its future never waits), on PostgreSQL it runs
//! on a pooled connection and may be run again when the database asks for it, which is why it
//! borrows itself and changes nothing but the database.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use duologue_model::{Timestamp, id::Generator};

use crate::{
    Error, Result,
    live::Touches,
    sql::{Dialect, Param, Row, Value},
};

/// A transaction, or a read, of the domain.
pub trait Script: Send + Sync + 'static {
    /// What it answers.
    type Out: Send + 'static;

    /// What orders it: scripts of different lanes touch nothing of each other's and may share a
    /// transaction on PostgreSQL. A script of no lane gets one of its own.
    fn lane(&self) -> Option<&str> {
        None
    }

    /// Runs. An error undoes all that it did.
    fn run(&self, tx: &mut Tx<'_>) -> impl Future<Output = Result<Self::Out>> + Send;
}

/// An open transaction (or, for reads, a connection).
pub struct Tx<'a> {
    pub(crate) inner: Inner<'a>,
    pub(crate) now: Timestamp,
    pub(crate) ids: &'a Generator,
    pub(crate) touches: Touches,
    /// Whether a statement that may change something has run.
    pub(crate) wrote: bool,
}

pub(crate) enum Inner<'a> {
    Sqlite(&'a mut rusqlite::Connection),
    Postgres(&'a deadpool_postgres::Client),
}

impl<'a> Tx<'a> {
    pub(crate) fn new(inner: Inner<'a>, now: Timestamp, ids: &'a Generator) -> Self {
        Tx { inner, now, ids, touches: Touches::default(), wrote: false }
    }

    /// The instant of this transaction. Later transactions never see an earlier one, on
    /// PostgreSQL across processes, because the database's clock gives it.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Makes ids.
    pub fn ids(&self) -> &'a Generator {
        self.ids
    }

    /// What the commit must wake.
    pub fn touches(&mut self) -> &mut Touches {
        &mut self.touches
    }

    /// Which engine runs this.
    pub fn dialect(&self) -> Dialect {
        match self.inner {
            Inner::Sqlite(_) => Dialect::Sqlite,
            Inner::Postgres(_) => Dialect::Postgres,
        }
    }

    /// All rows.
    pub async fn query(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>> {
        self.wrote |= !sql.starts_with("SELECT");
        match &mut self.inner {
            Inner::Sqlite(conn) => sqlite_query(conn, sql, params),
            Inner::Postgres(client) => postgres_query(client, sql, params).await,
        }
    }

    /// The first row, if there is one.
    pub async fn query_opt(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Option<Row>> {
        Ok(self.query(sql, params).await?.into_iter().next())
    }

    /// Runs a statement; says how many rows it changed.
    pub async fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64> {
        self.wrote = true;
        match &mut self.inner {
            Inner::Sqlite(conn) => sqlite_execute(conn, sql, params),
            Inner::Postgres(client) => postgres_execute(client, sql, params).await,
        }
    }

    /// Runs several statements that neither depend on each other's results nor change the same
    /// row. PostgreSQL gets them as one.
    pub async fn execute_all(&mut self, statements: &[(&str, &[Param<'_>])]) -> Result<()> {
        self.wrote = true;
        match &mut self.inner {
            Inner::Sqlite(conn) => {
                for (sql, params) in statements {
                    sqlite_execute(conn, sql, params)?;
                }
            }
            Inner::Postgres(client) => {
                let params: Vec<_> = statements.iter().flat_map(|(_, params)| borrowed(params)).collect();
                let statement = client.prepare_cached(&merged(statements)).await?;
                client.execute(&statement, &params).await?;
            }
        }
        Ok(())
    }

    /// Inserts many rows of `columns` columns each, a few hundred a statement. `head` is the
    /// statement up to VALUES.
    pub async fn insert_many(&mut self, head: &str, columns: usize, params: &[Param<'_>], tail: &str) -> Result<()> {
        for chunk in params.chunks((900 / columns).max(1) * columns) {
            let mut sql = String::with_capacity(head.len() + chunk.len() * 5);
            sql.push_str(head);
            for row in 0..chunk.len() / columns {
                sql.push_str(if row == 0 { " VALUES (" } else { "), (" });
                for column in 0..columns {
                    if column > 0 {
                        sql.push(',');
                    }
                    sql.push('?');
                    sql.push_str(&(row * columns + column + 1).to_string());
                }
            }
            sql.push_str(") ");
            sql.push_str(tail);
            self.execute(&sql, chunk).await?;
        }
        Ok(())
    }

    /// Waits until no other transaction holds `key`, and holds it to the end of this one. On
    /// SQLite transactions never overlap.
    pub async fn lock(&mut self, key: &str) -> Result<()> {
        if let Inner::Postgres(client) = &self.inner {
            let hash = i64::from_be_bytes(crate::crypto::sha256(key.as_bytes())[..8].try_into().unwrap_or_default());
            postgres_execute(client, "SELECT pg_advisory_xact_lock(?1)", &[Param::Int(hash)]).await?;
        }
        Ok(())
    }
}

fn sqlite_query(conn: &rusqlite::Connection, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>> {
    let mut statement = conn.prepare_cached(&Dialect::Sqlite.statement(sql))?;
    let columns = statement.column_count();
    let mut rows = statement.query(rusqlite::params_from_iter(params))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let mut values = Vec::with_capacity(columns);
        for column in 0..columns {
            use rusqlite::types::ValueRef;
            values.push(match row.get_ref(column)? {
                ValueRef::Null => Value::Null,
                ValueRef::Integer(int) => Value::Int(int),
                ValueRef::Text(text) => Value::Text(
                    String::from_utf8(text.to_vec()).map_err(|_| Error::Corrupt("text that is not UTF-8".into()))?,
                ),
                other => return Err(Error::Corrupt(format!("unexpected column type {:?}", other.data_type()))),
            });
        }
        found.push(Row::new(values));
    }
    Ok(found)
}

fn sqlite_execute(conn: &rusqlite::Connection, sql: &str, params: &[Param<'_>]) -> Result<u64> {
    let mut statement = conn.prepare_cached(&Dialect::Sqlite.statement(sql))?;
    Ok(statement.execute(rusqlite::params_from_iter(params))? as u64)
}

async fn postgres_query(client: &deadpool_postgres::Client, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>> {
    use tokio_postgres::types::Type;
    let statement = client.prepare_cached(&Dialect::Postgres.statement(sql)).await?;
    let rows = client.query(&statement, &borrowed(params)).await?;
    rows.iter()
        .map(|row| {
            let mut values = Vec::with_capacity(row.len());
            for (column, described) in row.columns().iter().enumerate() {
                let value = match *described.type_() {
                    Type::INT8 => row.try_get::<_, Option<i64>>(column)?.map(Value::Int),
                    Type::INT4 => row.try_get::<_, Option<i32>>(column)?.map(|int| Value::Int(i64::from(int))),
                    _ => row.try_get::<_, Option<String>>(column)?.map(Value::Text),
                };
                values.push(value.unwrap_or(Value::Null));
            }
            Ok(Row::new(values))
        })
        .collect()
}

async fn postgres_execute(client: &deadpool_postgres::Client, sql: &str, params: &[Param<'_>]) -> Result<u64> {
    let statement = client.prepare_cached(&Dialect::Postgres.statement(sql)).await?;
    Ok(client.execute(&statement, &borrowed(params)).await?)
}

/// All statements as one: the last, with the others as its common table expressions. Parameters are
/// numbered through.
fn merged(statements: &[(&str, &[Param<'_>])]) -> String {
    let mut sql = String::with_capacity(statements.iter().map(|(text, _)| text.len() + 16).sum());
    let mut before = 0;
    for (index, (text, params)) in statements.iter().enumerate() {
        let is_last = index + 1 == statements.len();
        if !is_last {
            sql.push_str(&format!("{}s{index} AS (", if index == 0 { "WITH " } else { ", " }));
        } else {
            sql.push(' ');
        }
        renumber(&Dialect::Postgres.statement(text), before, &mut sql);
        if !is_last {
            sql.push(')');
        }
        before += params.len();
    }
    sql
}

/// Writes a statement with `more` added to the number of each parameter.
fn renumber(text: &str, more: usize, out: &mut String) {
    let mut pieces = text.split('$');
    out.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let digits = piece.bytes().take_while(u8::is_ascii_digit).count();
        let number: usize = piece[..digits].parse().unwrap_or_default();
        out.push('$');
        out.push_str(&(number + more).to_string());
        out.push_str(&piece[digits..]);
    }
}

fn borrowed<'p>(params: &'p [Param<'_>]) -> Vec<&'p (dyn tokio_postgres::types::ToSql + Sync)> {
    params.iter().map(|param| param as _).collect()
}

/// What the caller of a script in a group hears: the script's own result, or why the group could not
/// be committed.
pub(crate) fn settled<T>(result: Option<Result<T>>, failure: Option<String>) -> Result<T> {
    match (failure, result) {
        (None, Some(result)) => result,
        (Some(reason), Some(Ok(_))) => Err(Error::Database(reason)),
        (Some(_), Some(refused)) => refused,
        (_, None) => Err(Error::Closed),
    }
}

/// Runs a script's future that never waits, as every script's does on SQLite.
pub(crate) fn run_ready<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => {
            Err(Error::Database("a transaction script waited for something outside its transaction".into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_become_one_with_parameters_numbered_through() {
        let (a, b) = (Param::Int(1), Param::Int(2));
        let first: &[Param<'_>] = &[a, b];
        let second: &[Param<'_>] = &[Param::Int(3)];
        let sql = merged(&[("UPDATE t SET a = ?1 WHERE b = ?2", first), ("DELETE FROM u WHERE c IN (?1, ?1)", second)]);
        assert_eq!(sql, "WITH s0 AS (UPDATE t SET a = $1 WHERE b = $2) DELETE FROM u WHERE c IN ($3, $3)");
        assert_eq!(merged(&[("DELETE FROM u WHERE c = ?1", second)]), " DELETE FROM u WHERE c = $1");
    }
}
