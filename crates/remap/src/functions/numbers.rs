//! Numbers.

use serde_json::{Number, Value};

use super::{Function, Run, VALUE, text, wrong};
use crate::Error;

pub(super) const ALL: &[Function] = &[
    function!("floor", &["value", "precision"], 1, |a| rounded("floor", a, f64::floor)),
    function!("ceil", &["value", "precision"], 1, |a| rounded("ceil", a, f64::ceil)),
    function!("round", &["value", "precision"], 1, |a| rounded("round", a, f64::round)),
    function!("abs", VALUE, 1, |a| match a[0].as_i64() {
        Some(whole) => Ok(whole.saturating_abs().into()),
        None => fraction("abs", a[0].as_f64().map(f64::abs)),
    }),
    function!("mod", &["value", "modulus"], 2, |a| match (a[0].as_i64(), a[1].as_i64()) {
        (Some(value), Some(modulus)) => {
            value.checked_rem(modulus).map(Value::from).ok_or_else(|| wrong("mod", "a modulus other than 0"))
        }
        _ => fraction("mod", a[0].as_f64().zip(a[1].as_f64()).map(|(value, modulus)| value % modulus)),
    }),
    function!("parse_int", &["value", "base"], 1, |a| {
        let value = text("parse_int", &a[0])?;
        let (digits, base) = match (value.get(..2), a[1].as_u64()) {
            (_, Some(base @ 2..=36)) => (value, base),
            (_, Some(_)) => return Err(wrong("parse_int", "a base from 2 to 36")),
            (Some("0x"), None) => (&value[2..], 16),
            (Some("0o"), None) => (&value[2..], 8),
            (Some("0b"), None) => (&value[2..], 2),
            _ => (value, 10),
        };
        // A base has two digits at most.
        i64::from_str_radix(digits, base as u32).map(Value::from).map_err(|_| wrong("parse_int", "a whole number"))
    }),
    function!("parse_float", VALUE, 1, |a| fraction("parse_float", text("parse_float", &a[0])?.trim().parse().ok())),
];

fn fraction(function: &str, number: Option<f64>) -> Result<Value, Error> {
    number.and_then(Number::from_f64).map(Value::Number).ok_or_else(|| wrong(function, "a number"))
}

/// Rounded to so many digits behind the point.
fn rounded(function: &str, a: &[Value], to: fn(f64) -> f64) -> Result<Value, Error> {
    if a[0].is_i64() {
        return Ok(a[0].clone());
    }
    let number = a[0].as_f64().ok_or_else(|| wrong(function, "a number"))?;
    let precision = a[1].as_i64().unwrap_or(0).clamp(-300, 300);
    let scale = 10f64.powi(precision as i32);
    match to(number * scale) / scale {
        whole if precision <= 0 && whole.abs() < 9e15 => Ok((whole as i64).into()),
        number => fraction(function, Some(number)),
    }
}
