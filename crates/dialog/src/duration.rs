//! Durations as v12 configuration writes them: `5m`, `25 minutes`, `1 week`, `1500`.

/// A duration text in milliseconds; a bare number is milliseconds. `None` if it isn't a duration, is
/// negative, or is longer than a thousand years.
pub fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    let unit = match text[end..].trim().to_ascii_lowercase().as_str() {
        "" | "ms" | "msec" | "msecs" | "millisecond" | "milliseconds" => 1.0,
        "s" | "sec" | "secs" | "second" | "seconds" => 1e3,
        "m" | "min" | "mins" | "minute" | "minutes" => 60e3,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3600e3,
        "d" | "day" | "days" => 86_400e3,
        "w" | "week" | "weeks" => 604_800e3,
        "y" | "yr" | "yrs" | "year" | "years" => 31_557_600e3,
        _ => return None,
    };
    let millis = number * unit;
    // Within the range checked, the cast is exact enough: whole milliseconds below 2⁵³.
    (millis.is_finite() && millis <= 1000.0 * 31_557_600e3).then_some(millis as u64)
}

#[cfg(test)]
mod tests {
    #[test]
    fn units() {
        for (text, millis) in
            [("5m", 300_000), ("25 minutes", 1_500_000), ("1.5s", 1500), ("7", 7), ("1 week", 604_800_000)]
        {
            assert_eq!(super::parse(text), Some(millis), "{text}");
        }
        for text in ["", "m", "5 parsecs", "-1s", "1e9 y"] {
            assert_eq!(super::parse(text), None, "{text}");
        }
    }
}
