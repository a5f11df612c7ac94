//! Schedules of recurring events: five fields, UTC (`spec/cloud/bridge-protocol.md` § 3.4).
//!
//! Minute, hour, day of the month, month, day of the week; each a list of numbers, names, ranges and
//! steps. As everywhere, a day that both day fields restrict is one that either of them names.

use std::str::FromStr;

use crate::Timestamp;

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;
/// How far ahead a tick is looked for: 29 February comes at least every eight years.
const HORIZON_DAYS: i64 = 366 * 9;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// A schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether both day fields restrict.
    either_day: bool,
}

/// Why a text is no schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidCron(String);

impl std::fmt::Display for InvalidCron {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidCron {}

impl FromStr for Cron {
    type Err = InvalidCron;

    fn from_str(text: &str) -> Result<Self, InvalidCron> {
        let text = match text.trim() {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            fields => fields,
        };
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            let text = "a schedule has five fields: minute, hour, day of the month, month, day of the week";
            return Err(InvalidCron(text.to_owned()));
        };
        let weekday_bits = field(weekdays, 0, 7, &DAYS, 0)?;
        let cron = Cron {
            minutes: field(minutes, 0, 59, &[], 0)?,
            hours: field(hours, 0, 23, &[], 0)?,
            days: field(days, 1, 31, &[], 0)?,
            months: field(months, 1, 12, &MONTHS, 1)?,
            // 7 is Sunday too.
            weekdays: (weekday_bits | weekday_bits >> 7) & 0x7f,
            either_day: !days.starts_with(['*', '?']) && !weekdays.starts_with(['*', '?']),
        };
        if cron.next(Timestamp::default()).is_none() {
            return Err(InvalidCron(format!("\"{text}\" never comes")));
        }
        Ok(cron)
    }
}

/// The numbers that a field names, as bits.
fn field(text: &str, least: u32, most: u32, names: &[&str], first_name: u32) -> Result<u64, InvalidCron> {
    let invalid = || InvalidCron(format!("\"{text}\" is no field of a schedule with numbers from {least} to {most}"));
    let number = |text: &str| -> Result<u32, InvalidCron> {
        let lower = text.to_ascii_lowercase();
        let named = names.iter().zip(first_name..).find(|(name, _)| **name == lower).map(|(_, number)| number);
        let number = match named {
            Some(number) => number,
            None => text.parse().map_err(|_| invalid())?,
        };
        if (least..=most).contains(&number) { Ok(number) } else { Err(invalid()) }
    };
    let mut bits = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => {
                (range, Some(step.parse::<u32>().ok().filter(|step| *step > 0).ok_or_else(invalid)?))
            }
            None => (part, None),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" || range == "?" => (least, most),
            Some((from, to)) => (number(from)?, number(to)?),
            None if step.is_some() => (number(range)?, most),
            None => (number(range)?, number(range)?),
        };
        if from > to {
            return Err(invalid());
        }
        (from..=to).step_by(step.unwrap_or(1) as usize).for_each(|number| bits |= 1 << number);
    }
    Ok(bits)
}

impl Cron {
    /// The first tick after an instant; `None` if there is none for years.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let first = after.millis().div_euclid(MINUTE) + 1;
        let (first_day, first_minute) = ((first * MINUTE).div_euclid(DAY), first.rem_euclid(DAY / MINUTE));
        for day in first_day..first_day + HORIZON_DAYS {
            if self.names_day(day)
                && let Some(minute) = self.minute_of_day(if day == first_day { first_minute } else { 0 })
            {
                return Some(Timestamp::from_millis(day * DAY + minute * MINUTE));
            }
        }
        None
    }

    /// Whether something may happen on this day, counted since 1970-01-01, a Thursday.
    fn names_day(&self, day: i64) -> bool {
        let (_, month, day_of_month) = crate::timestamp::civil_from_days(day);
        if self.months >> month & 1 == 0 {
            return false;
        }
        let by_date = self.days >> day_of_month & 1 == 1;
        let by_weekday = self.weekdays >> (day + 4).rem_euclid(7) & 1 == 1;
        if self.either_day { by_date || by_weekday } else { by_date && by_weekday }
    }

    /// The first tick of a day from this minute on, in minutes.
    fn minute_of_day(&self, from: i64) -> Option<i64> {
        let fits = |minute: &i64| self.hours >> (minute / 60) & 1 == 1 && self.minutes >> (minute % 60) & 1 == 1;
        (from..DAY / MINUTE).find(fits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn ticks(cron: &str, after: &str, expected: &[&str]) {
        let cron: Cron = cron.parse().unwrap();
        let mut at: Timestamp = after.parse().unwrap();
        for expected in expected {
            at = cron.next(at).unwrap();
            assert_eq!(at.to_string(), format!("{expected}:00.000Z"));
        }
    }

    #[test]
    fn ticks_come_strictly_after() {
        ticks("* * * * *", "2026-01-31T23:59:00Z", &["2026-02-01T00:00", "2026-02-01T00:01"]);
        ticks("*/20 8-9 * * *", "2026-03-01T08:30:59Z", &["2026-03-01T08:40", "2026-03-01T09:00"]);
        ticks("5/25 0 * * *", "2026-03-01T00:05:00Z", &["2026-03-01T00:30", "2026-03-01T00:55", "2026-03-02T00:05"]);
        ticks("0 9 * * mon-fri", "2026-11-20T09:00:00Z", &["2026-11-23T09:00", "2026-11-24T09:00"]);
        ticks("0 0 29 2 *", "2026-01-01T00:00:00Z", &["2028-02-29T00:00", "2032-02-29T00:00"]);
        ticks("0 0 1 JAN,jul ?", "2026-01-01T00:00:00Z", &["2026-07-01T00:00", "2027-01-01T00:00"]);
        ticks("@weekly", "2026-11-21T12:00:00Z", &["2026-11-22T00:00"]);
    }

    #[test]
    fn both_day_fields_mean_either() {
        ticks("0 0 13 * 5", "2026-11-01T00:00:00Z", &["2026-11-06T00:00", "2026-11-13T00:00", "2026-11-20T00:00"]);
        ticks("0 0 * * 7", "2026-11-21T00:00:00Z", &["2026-11-22T00:00"]);
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for text in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "a * * * *",
            "5-1 * * * *",
            "*/0 * * * *",
            "0 0 31 2 *",
        ] {
            assert!(text.parse::<Cron>().is_err(), "{text}");
        }
    }
}
