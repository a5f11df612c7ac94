//! The notations of the configuration for intervals and sizes.

use std::time::Duration;

use crate::json::Json;

/// Milliseconds of each unit of time.
const UNITS: &[(&[&str], f64)] = &[
    (&["", "ms", "msec", "msecs", "millisecond", "milliseconds"], 1.0),
    (&["s", "sec", "secs", "second", "seconds"], 1000.0),
    (&["m", "min", "mins", "minute", "minutes"], 60_000.0),
    (&["h", "hr", "hrs", "hour", "hours"], 3_600_000.0),
    (&["d", "day", "days"], 86_400_000.0),
    (&["w", "week", "weeks"], 604_800_000.0),
    (&["y", "yr", "yrs", "year", "years"], 31_557_600_000.0),
];

/// An interval in the "ms" notation (`auth-config.md` § 2): `1h`, `1.5 hours`, `2 weeks`, `500`.
/// Negative intervals are zero. `None` if it isn't in that notation.
pub fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+'))).unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    let unit = text[end..].trim_start().to_ascii_lowercase();
    let (_, millis) = UNITS.iter().find(|(names, _)| names.contains(&unit.as_str()))?;
    Duration::try_from_secs_f64((number * millis).round().max(0.0) / 1000.0).ok()
}

/// An interval as configured: in the notation, or a number of milliseconds.
pub(crate) fn duration_of(value: &Json) -> Option<Duration> {
    match value {
        Json::String(text) => duration(text),
        Json::Number(millis) => Duration::try_from_secs_f64(millis.max(0.0) / 1000.0).ok(),
        _ => None,
    }
}

/// A size as configured: bytes, or a number with a unit of 1024 each (`10mb`).
pub(crate) fn size_of(value: &Json) -> Option<u64> {
    let (number, factor) = match value {
        Json::Number(bytes) => (*bytes, 1.0),
        Json::String(text) => {
            let text = text.trim().to_ascii_lowercase();
            let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
            let factor = match text[end..].trim() {
                "" | "b" => 1.0,
                "kb" => 1024.0,
                "mb" => 1024.0 * 1024.0,
                "gb" => 1024.0 * 1024.0 * 1024.0,
                _ => return None,
            };
            (text[..end].parse().ok()?, factor)
        }
        _ => return None,
    };
    let bytes = (number * factor).floor();
    (0.0..9e15).contains(&bytes).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals() {
        for (text, millis) in [
            ("1h", 3_600_000),
            ("1.5h", 5_400_000),
            ("2 weeks", 1_209_600_000),
            ("5", 5),
            ("10s", 10_000),
            ("1 Year", 31_557_600_000),
            ("100ms", 100),
            (" 25m ", 1_500_000),
            (".5s", 500),
            ("-1h", 0),
            ("0", 0),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "h", "1 month", "1h30m", "one", "1.2.3s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes() {
        let size = |text: &str| size_of(&Json::String(text.to_owned()));
        assert_eq!(size("10mb"), Some(10 << 20));
        assert_eq!(size("1.5 KB"), Some(1536));
        assert_eq!(size("100"), Some(100));
        assert_eq!(size_of(&Json::Number(7.0)), Some(7));
        assert_eq!(size("10 apples"), None);
    }
}
