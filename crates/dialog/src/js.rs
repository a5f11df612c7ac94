//! JavaScript's conversions and comparisons on values that aren't objects with code.
//!
//! Pure functions after ECMA-262 § 7.1 and § 7.2, used by the native conditions and by templates. What
//! would need an object's own methods (`valueOf`, `toString`) isn't decided here: such functions return
//! `None` and the caller asks the script engine.

use std::{cmp::Ordering, fmt::Write};

use crate::value::Value;

/// `Boolean(value)`.
pub fn truthy(value: &Value) -> bool {
    match value {
        Value::Undefined | Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => !(*number == 0.0 || number.is_nan()),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

/// `Number(value)`; `None` for objects and lists.
pub fn to_number(value: &Value) -> Option<f64> {
    Some(match value {
        Value::Undefined => f64::NAN,
        Value::Null => 0.0,
        Value::Bool(value) => f64::from(u8::from(*value)),
        Value::Number(number) => *number,
        Value::String(text) => string_to_number(text),
        Value::Array(_) | Value::Object(_) => return None,
    })
}

/// `String(value)` for everything: lists join their items with commas, objects give `[object Object]`.
pub fn display(value: &Value) -> String {
    match value {
        Value::Undefined => "undefined".to_owned(),
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number_to_string(*number),
        Value::String(text) => text.to_string(),
        Value::Array(items) => {
            let texts: Vec<_> =
                items.iter().map(|item| if item.is_nullish() { String::new() } else { display(item) }).collect();
            texts.join(",")
        }
        Value::Object(_) => "[object Object]".to_owned(),
    }
}

/// `String(value)`; `None` for objects and lists, whose `toString` a script may have changed.
pub fn primitive_to_string(value: &Value) -> Option<String> {
    match value {
        Value::Array(_) | Value::Object(_) => None,
        other => Some(display(other)),
    }
}

/// `a === b`; `None` for two objects, of which only the engine knows the identity.
pub fn strict_equal(a: &Value, b: &Value) -> Option<bool> {
    Some(match (a, b) {
        (Value::Array(_) | Value::Object(_), Value::Array(_) | Value::Object(_)) => return None,
        (Value::Undefined, Value::Undefined) | (Value::Null, Value::Null) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Number(a), Value::Number(b)) => a == b,
        (Value::String(a), Value::String(b)) => a == b,
        _ => false,
    })
}

/// `a == b`; `None` where an object would have to be converted.
pub fn loose_equal(a: &Value, b: &Value) -> Option<bool> {
    if a.is_nullish() || b.is_nullish() {
        return Some(a.is_nullish() && b.is_nullish());
    }
    match (a, b) {
        (Value::Array(_) | Value::Object(_), _) | (_, Value::Array(_) | Value::Object(_)) => None,
        (Value::String(a), Value::String(b)) => Some(a == b),
        _ => Some(to_number(a)? == to_number(b)?),
    }
}

/// How `a` and `b` compare with `<`: `Some(None)` if a number is NaN, `None` for objects.
pub fn compare(a: &Value, b: &Value) -> Option<Option<Ordering>> {
    if let (Value::String(a), Value::String(b)) = (a, b) {
        return Some(Some(a.encode_utf16().cmp(b.encode_utf16())));
    }
    Some(to_number(a)?.partial_cmp(&to_number(b)?))
}

/// `typeof value`.
pub fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Undefined => "undefined",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Null | Value::Array(_) | Value::Object(_) => "object",
    }
}

/// Whether JavaScript takes `c` for white space or a line end (`trim`, numbers in texts).
pub fn is_space(c: char) -> bool {
    c == '\u{feff}' || (c != '\u{85}' && c.is_whitespace())
}

/// `text.length`: UTF-16 code units.
pub fn length(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.encode_utf16().count() }
}

/// `Number(text)`.
pub fn string_to_number(text: &str) -> f64 {
    let text = text.trim_matches(is_space);
    if text.is_empty() {
        return 0.0;
    }
    for (prefix, radix) in [("0x", 16), ("0X", 16), ("0o", 8), ("0O", 8), ("0b", 2), ("0B", 2)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            return digits_to_number(digits, radix);
        }
    }
    match text.strip_prefix(['+', '-']).unwrap_or(text) {
        "Infinity" => return if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY },
        digits if is_decimal(digits) => {}
        _ => return f64::NAN,
    }
    text.parse().unwrap_or(f64::NAN)
}

fn digits_to_number(digits: &str, radix: u32) -> f64 {
    if digits.is_empty() {
        return f64::NAN;
    }
    let mut number = 0.0;
    for c in digits.chars() {
        match c.to_digit(radix) {
            Some(digit) => number = number * f64::from(radix) + f64::from(digit),
            None => return f64::NAN,
        }
    }
    number
}

/// Whether `text` is digits with an optional point and exponent, as in `1`, `.5`, `2.` and `1e-3`.
fn is_decimal(text: &str) -> bool {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let whole = match mantissa.split_once('.') {
        Some((a, b)) => (a.is_empty() || digits(a)) && (b.is_empty() || digits(b)) && mantissa.len() > 1,
        None => digits(mantissa),
    };
    whole && exponent.is_none_or(|e| digits(e.strip_prefix(['+', '-']).unwrap_or(e)))
}

/// `String(number)`: the shortest digits that read back, laid out as ECMA-262 § 6.1.6.1.20 says.
pub fn number_to_string(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number == 0.0 {
        return "0".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let shortest = format!("{:e}", number.abs());
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    // `point` digits stand before the decimal point.
    let point = exponent.parse::<i32>().unwrap_or(0) + 1;
    let count = digits.len() as i32;
    let mut text = String::with_capacity(digits.len() + 8);
    if number < 0.0 {
        text.push('-');
    }
    if count <= point && point <= 21 {
        text.push_str(&digits);
        text.extend(std::iter::repeat_n('0', (point - count) as usize));
    } else if 0 < point && point <= 21 {
        text.push_str(&digits[..point as usize]);
        text.push('.');
        text.push_str(&digits[point as usize..]);
    } else if -6 < point && point <= 0 {
        text.push_str("0.");
        text.extend(std::iter::repeat_n('0', (-point) as usize));
        text.push_str(&digits);
    } else {
        text.push_str(&digits[..1]);
        if count > 1 {
            text.push('.');
            text.push_str(&digits[1..]);
        }
        let exponent = point - 1;
        // Writing to a String doesn't fail.
        let _ = write!(text, "e{}{}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_print_as_in_javascript() {
        for (number, text) in [
            (1.0, "1"),
            (-1.5, "-1.5"),
            (123456789012.0, "123456789012"),
            (1e21, "1e+21"),
            (1e20, "100000000000000000000"),
            (1.5e-7, "1.5e-7"),
            (0.000001, "0.000001"),
            (0.1, "0.1"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(number_to_string(number), text);
        }
    }

    #[test]
    fn texts_become_numbers_as_in_javascript() {
        for (text, number) in
            [("", 0.0), (" 12 ", 12.0), (".5", 0.5), ("2.", 2.0), ("0x1F", 31.0), ("-Infinity", f64::NEG_INFINITY)]
        {
            assert_eq!(string_to_number(text), number, "{text:?}");
        }
        for text in ["1 2", "abc", ".", "1e", "inf", "nan", "0x", "-0x1", "1_000", "--1"] {
            assert!(string_to_number(text).is_nan(), "{text:?}");
        }
    }

    #[test]
    fn loose_equality_converts() {
        let equal = |a: &str, b: &str| loose_equal(&Value::parse(a).unwrap(), &Value::parse(b).unwrap());
        assert_eq!(equal("1", "\"1\""), Some(true));
        assert_eq!(equal("true", "\"1\""), Some(true));
        assert_eq!(equal("null", "0"), Some(false));
        assert_eq!(equal("\"\"", "0"), Some(true));
        assert_eq!(equal("[]", "\"\""), None);
        assert_eq!(equal("{}", "null"), Some(false));
    }
}
