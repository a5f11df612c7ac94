//! Instants: whole milliseconds since the Unix epoch, written as the dialects write them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// An instant in milliseconds since 1970-01-01T00:00:00Z.
///
/// On the wire: ISO 8601 in UTC with milliseconds and `Z`, 24 characters
/// (`spec/cloud/runtime.md` § 1). Range: years 1970 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The last representable instant, 9999-12-31T23:59:59.999Z.
    pub const MAX: Timestamp = Timestamp(253_402_300_799_999);

    /// The instant `millis` milliseconds after the epoch, clamped to the representable range.
    pub fn from_millis(millis: i64) -> Self {
        Timestamp(millis.clamp(0, Self::MAX.0))
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// This instant, `millis` later, clamped to the representable range.
    pub fn plus_millis(self, millis: i64) -> Self {
        Self::from_millis(self.0.saturating_add(millis))
    }

    /// Writes the 24 characters of the wire form.
    pub fn write(self, out: &mut String) {
        let mut buf = [0u8; 24];
        self.render(&mut buf);
        // `render` writes ASCII only.
        out.push_str(std::str::from_utf8(&buf).unwrap_or_default());
    }

    fn render(self, buf: &mut [u8; 24]) {
        let (days, ms) = (self.0.div_euclid(86_400_000), self.0.rem_euclid(86_400_000));
        let (y, m, d) = civil_from_days(days);
        let s = ms / 1000;
        buf.copy_from_slice(b"0000-00-00T00:00:00.000Z");
        put(&mut buf[0..4], y);
        put(&mut buf[5..7], m);
        put(&mut buf[8..10], d);
        put(&mut buf[11..13], s / 3600);
        put(&mut buf[14..16], s / 60 % 60);
        put(&mut buf[17..19], s % 60);
        put(&mut buf[20..23], ms % 1000);
    }
}

fn put(slot: &mut [u8], mut n: i64) {
    for digit in slot.iter_mut().rev() {
        *digit = b'0' + (n % 10) as u8;
        n /= 10;
    }
}

/// Year, month and day of a day number (days since 1970-01-01) in the proleptic Gregorian
/// calendar, counting in eras of 400 years that begin on 1 March.
pub(crate) fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(24);
        self.write(&mut text);
        f.write_str(&text)
    }
}

/// Why a text is not a [`Timestamp`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidTimestamp;

impl fmt::Display for InvalidTimestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected an ISO 8601 date-time such as 2026-01-31T12:00:00.000Z, from year 1970 on")
    }
}

impl std::error::Error for InvalidTimestamp {}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    /// Accepts RFC 3339 with any offset, and a bare date (midnight UTC).
    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        let parsed = if text.len() == 10 {
            OffsetDateTime::parse(&format!("{text}T00:00:00Z"), &Rfc3339)
        } else {
            OffsetDateTime::parse(text, &Rfc3339)
        };
        let nanos = parsed.map_err(|_| InvalidTimestamp)?.unix_timestamp_nanos();
        let millis = i64::try_from(nanos.div_euclid(1_000_000)).map_err(|_| InvalidTimestamp)?;
        if !(0..=Self::MAX.0).contains(&millis) {
            return Err(InvalidTimestamp);
        }
        Ok(Timestamp(millis))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut buf = [0u8; 24];
        self.render(&mut buf);
        serializer.serialize_str(std::str::from_utf8(&buf).unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_instants() {
        assert_eq!(Timestamp::from_millis(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::from_millis(951_782_400_123).to_string(), "2000-02-29T00:00:00.123Z");
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn offsets_and_bare_dates_are_understood() {
        assert_eq!("2026-01-01T01:00:00+01:00".parse::<Timestamp>().unwrap().to_string(), "2026-01-01T00:00:00.000Z");
        assert_eq!("2026-01-01".parse::<Timestamp>().unwrap().to_string(), "2026-01-01T00:00:00.000Z");
        for bad in ["", "yesterday", "1969-12-31T23:59:59Z", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00"] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn text_round_trips(millis in 0..=Timestamp::MAX.0) {
            let at = Timestamp::from_millis(millis);
            prop_assert_eq!(at.to_string().parse::<Timestamp>().unwrap(), at);
        }
    }
}
