//! Instants.

use serde_json::Value;

use super::{Function, Run, text, wrong};
use crate::{Error, dates, special};

pub(super) const ALL: &[Function] = &[
    bound!("now", &[], 0, |context, _| Ok(special::of_instant(context.now))),
    function!("parse_timestamp", &["value", "format", "timezone"], 2, |a| {
        utc("parse_timestamp", &a[2])?;
        if special::instant(&a[0]).is_some() {
            return Ok(a[0].clone());
        }
        let (value, format) = (text("parse_timestamp", &a[0])?, text("parse_timestamp", &a[1])?);
        dates::parse(value, format).map(special::of_instant)
    }),
    function!("format_timestamp", &["value", "format", "timezone"], 2, |a| {
        utc("format_timestamp", &a[2])?;
        Ok(dates::format(instant("format_timestamp", &a[0])?, text("format_timestamp", &a[1])?)?.into())
    }),
    function!("to_unix_timestamp", &["value", "unit"], 1, |a| {
        Ok(instant("to_unix_timestamp", &a[0])?.div_euclid(nanos("to_unix_timestamp", &a[1])?).into())
    }),
    function!("from_unix_timestamp", &["value", "unit"], 1, |a| {
        let value = a[0].as_i64().ok_or_else(|| wrong("from_unix_timestamp", "a whole number"))?;
        let nanos = value.checked_mul(nanos("from_unix_timestamp", &a[1])?);
        nanos.map(special::of_instant).ok_or_else(|| wrong("from_unix_timestamp", "a year from 1678 to 2261"))
    }),
];

fn instant(function: &str, value: &Value) -> Result<i64, Error> {
    special::instant(value).ok_or_else(|| wrong(function, "an instant"))
}

/// Nanoseconds of a unit.
fn nanos(function: &str, unit: &Value) -> Result<i64, Error> {
    match unit.as_str().unwrap_or("seconds") {
        "seconds" => Ok(1_000_000_000),
        "milliseconds" => Ok(1_000_000),
        "microseconds" => Ok(1_000),
        "nanoseconds" => Ok(1),
        _ => Err(wrong(function, "seconds, milliseconds, microseconds or nanoseconds")),
    }
}

/// Refuses time zones: nothing is known of them here.
fn utc(function: &str, zone: &Value) -> Result<(), Error> {
    match zone.as_str() {
        None | Some("UTC" | "Etc/UTC" | "GMT") => Ok(()),
        Some(_) => Err(wrong(function, "no time zone but UTC")),
    }
}
