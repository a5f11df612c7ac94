//! Parameters, rows, and the few places where the engines' SQL differs.
//!
//! Scripts write SQL that both engines accept, with numbered parameters `?1, ?2, …` and these
//! words in braces: `{for_update}` locks the selected rows where several writers exist, and
//! `{clustered}` (in migrations) keeps a table in the order of its key, `{roomy}` leaves room beside
//! rows that change often. Nothing else differs.

use std::{borrow::Cow, error::Error as StdError};

use bytes::BytesMut;
use duologue_model::{Json, Tags, Timestamp, id::Id};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use crate::{Error, Result};

/// One parameter of a statement.
#[derive(Clone, Debug)]
pub enum Param<'a> {
    /// Text, also for JSON and ids.
    Text(Cow<'a, str>),
    /// Whole numbers, instants (milliseconds) and booleans (0, 1).
    Int(i64),
    /// NULL.
    Null,
}

impl<'a> Param<'a> {
    /// A text that the parameter owns.
    pub fn owned(text: String) -> Param<'static> {
        Param::Text(Cow::Owned(text))
    }

    /// The same parameter without its borrow.
    pub fn into_owned(self) -> Param<'static> {
        match self {
            Param::Text(text) => Param::Text(Cow::Owned(text.into_owned())),
            Param::Int(int) => Param::Int(int),
            Param::Null => Param::Null,
        }
    }
}

impl<'a> From<&'a str> for Param<'a> {
    fn from(text: &'a str) -> Self {
        Param::Text(Cow::Borrowed(text))
    }
}
impl<'a> From<&'a String> for Param<'a> {
    fn from(text: &'a String) -> Self {
        Param::Text(Cow::Borrowed(text))
    }
}
impl From<String> for Param<'_> {
    fn from(text: String) -> Self {
        Param::Text(Cow::Owned(text))
    }
}
impl<'a, K> From<&'a Id<K>> for Param<'a> {
    fn from(id: &'a Id<K>) -> Self {
        Param::Text(Cow::Borrowed(id.as_str()))
    }
}
impl<'a> From<&'a Json> for Param<'a> {
    fn from(json: &'a Json) -> Self {
        Param::Text(Cow::Borrowed(json.text()))
    }
}
impl From<i64> for Param<'_> {
    fn from(int: i64) -> Self {
        Param::Int(int)
    }
}
impl From<bool> for Param<'_> {
    fn from(yes: bool) -> Self {
        Param::Int(i64::from(yes))
    }
}
impl From<Timestamp> for Param<'_> {
    fn from(at: Timestamp) -> Self {
        Param::Int(at.millis())
    }
}
impl<'a, T: Into<Param<'a>>> From<Option<T>> for Param<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Param::Null, Into::into)
    }
}

/// Parameters of a statement, in the order of their numbers.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::sql::Param::from($value)),*][..] };
}

impl rusqlite::ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        use rusqlite::types::{ToSqlOutput, Value, ValueRef};
        Ok(match self {
            Param::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Param::Int(int) => ToSqlOutput::Owned(Value::Integer(*int)),
            Param::Null => ToSqlOutput::Owned(Value::Null),
        })
    }
}

impl ToSql for Param<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match self {
            Param::Null => Ok(IsNull::Yes),
            Param::Int(int) if *ty == Type::INT4 => i32::try_from(*int)?.to_sql(ty, out),
            Param::Int(int) if *ty == Type::INT8 => int.to_sql(ty, out),
            Param::Text(text) if *ty != Type::INT4 && *ty != Type::INT8 => text.as_ref().to_sql(ty, out),
            other => Err(format!("parameter {other:?} given where {ty} is expected").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// One column of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// A whole number.
    Int(i64),
    /// A text.
    Text(String),
}

/// One row, read column by column in the order of the SELECT.
#[derive(Debug)]
pub struct Row(std::vec::IntoIter<Value>);

impl Row {
    /// A row of these columns.
    pub(crate) fn new(values: Vec<Value>) -> Self {
        Row(values.into_iter())
    }

    /// Position and id, of a row that starts with them and hasn't been read yet.
    pub(crate) fn position(&self) -> (i64, &str) {
        match self.0.as_slice() {
            [Value::Int(at), Value::Text(id), ..] => (*at, id),
            _ => (0, ""),
        }
    }

    /// The next column, text or NULL.
    pub fn opt_text(&mut self) -> Result<Option<String>> {
        match self.0.next() {
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(Value::Null) => Ok(None),
            other => Err(Error::Corrupt(format!("expected text, found {other:?}"))),
        }
    }

    /// The next column, text.
    pub fn text(&mut self) -> Result<String> {
        self.opt_text()?.ok_or_else(|| Error::Corrupt("expected text, found NULL".into()))
    }

    /// The next column, a number or NULL.
    pub fn opt_int(&mut self) -> Result<Option<i64>> {
        match self.0.next() {
            Some(Value::Int(int)) => Ok(Some(int)),
            Some(Value::Null) => Ok(None),
            other => Err(Error::Corrupt(format!("expected a number, found {other:?}"))),
        }
    }

    /// The next column, a number.
    pub fn int(&mut self) -> Result<i64> {
        self.opt_int()?.ok_or_else(|| Error::Corrupt("expected a number, found NULL".into()))
    }

    /// The next column, a boolean.
    pub fn bool(&mut self) -> Result<bool> {
        Ok(self.int()? != 0)
    }

    /// The next column, an instant.
    pub fn at(&mut self) -> Result<Timestamp> {
        Ok(Timestamp::from_millis(self.int()?))
    }

    /// The next column, an instant or NULL.
    pub fn opt_at(&mut self) -> Result<Option<Timestamp>> {
        Ok(self.opt_int()?.map(Timestamp::from_millis))
    }

    /// The next column, an id.
    pub fn id<K>(&mut self) -> Result<Id<K>> {
        Ok(Id::new(self.text()?))
    }

    /// The next column, JSON.
    pub fn json(&mut self) -> Result<Json> {
        Ok(Json::trusted(self.text()?))
    }

    /// The next column, JSON or NULL.
    pub fn opt_json(&mut self) -> Result<Option<Json>> {
        Ok(self.opt_text()?.map(Json::trusted))
    }

    /// The next column, tags.
    pub fn tags(&mut self) -> Result<Tags> {
        Ok(Tags::stored(&self.text()?))
    }

    /// The next column, one of an enum's words.
    pub fn word<T>(&mut self, from_name: impl Fn(&str) -> Option<T>) -> Result<T> {
        let text = self.text()?;
        from_name(&text).ok_or_else(|| Error::Corrupt(format!("unknown word \"{text}\"")))
    }
}

/// What stands between the parentheses of `IN (…)`, and its parameters, which come after `before` others.
/// The list is filled up to a power of two with its last value, so that few statements do for lists of
/// any length. An empty one matches nothing.
pub(crate) fn padded<'a, T>(values: &'a [T], before: usize) -> (String, Vec<Param<'a>>)
where
    Param<'a>: From<&'a T>,
{
    let count = values.len().next_power_of_two();
    let names: Vec<String> = (before + 1..=before + count).map(|number| format!("?{number}")).collect();
    let mut params: Vec<Param<'a>> = values.iter().map(Param::from).collect();
    let last = params.last().cloned().unwrap_or(Param::Null);
    params.resize(count, last);
    (names.join(", "), params)
}

/// Which database is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The embedded engine.
    Sqlite,
    /// PostgreSQL and what speaks its protocol.
    Postgres,
}

impl Dialect {
    /// The statement as this engine wants it.
    pub fn statement(self, sql: &str) -> Cow<'_, str> {
        match self {
            Dialect::Sqlite if !sql.contains('{') => Cow::Borrowed(sql),
            Dialect::Sqlite => Cow::Owned(
                sql.replace("{for_update}", "").replace("{clustered}", "WITHOUT ROWID").replace("{roomy}", ""),
            ),
            // `?` stands for nothing but parameters in our statements.
            Dialect::Postgres => Cow::Owned(
                sql.replace('?', "$")
                    .replace("{for_update}", "FOR UPDATE")
                    .replace("{clustered}", "")
                    .replace("{roomy}", "WITH (fillfactor = 50)"),
            ),
        }
    }

    /// A migration as this engine wants it: PostgreSQL compares texts byte by byte, as SQLite does,
    /// so that cursors mean the same everywhere.
    pub fn migration(self, sql: &str) -> String {
        match self {
            Dialect::Sqlite => self.statement(sql).into_owned(),
            Dialect::Postgres => self.statement(sql).replace(" TEXT", " TEXT COLLATE \"C\""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_written_once_and_read_twice() {
        let sql = "SELECT a FROM t WHERE b = ?1 AND c > ?12 {for_update}";
        assert_eq!(Dialect::Postgres.statement(sql), "SELECT a FROM t WHERE b = $1 AND c > $12 FOR UPDATE");
        assert_eq!(Dialect::Sqlite.statement(sql), "SELECT a FROM t WHERE b = ?1 AND c > ?12 ");
    }

    #[test]
    fn lists_are_filled_up_to_few_lengths() {
        let ids: Vec<String> = ["a", "b", "c"].map(String::from).into();
        let (names, params) = padded(&ids, 2);
        assert_eq!((names.as_str(), params.len()), ("?3, ?4, ?5, ?6", 4));
        assert!(matches!(&params[3], Param::Text(text) if text == "c"));
        assert!(matches!(padded(&ids[..0], 0).1[..], [Param::Null]));
    }

    #[test]
    fn columns_are_read_in_order_and_checked() {
        let mut row = Row::new(vec![Value::Text("a".into()), Value::Int(1), Value::Null, Value::Int(2)]);
        assert_eq!(row.text().unwrap(), "a");
        assert!(row.bool().unwrap());
        assert_eq!(row.opt_text().unwrap(), None);
        assert!(row.text().is_err());
    }
}
