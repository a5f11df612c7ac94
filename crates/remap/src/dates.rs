//! Instants as texts, in formats as of `strftime`. There is one time zone, UTC; a text may say how far it is from it.

use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

use crate::Error;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// What may stand behind `%`, longer ones first.
const CODES: [&str; 34] = [
    ".3f", ".6f", ".9f", ".f", "3f", "6f", "9f", ":z", "Y", "y", "m", "B", "b", "h", "d", "e", "j", "A", "a", "H", "k",
    "I", "l", "M", "S", "f", "p", "P", "s", "z", "Z", "n", "t", "%",
];

/// A format that means several others.
fn long_form(code: char) -> Option<&'static str> {
    Some(match code {
        'T' | 'X' => "%H:%M:%S",
        'R' => "%H:%M",
        'r' => "%I:%M:%S %p",
        'D' | 'x' => "%m/%d/%y",
        'F' => "%Y-%m-%d",
        'v' => "%e-%b-%Y",
        'c' => "%a %b %e %T %Y",
        '+' => "%Y-%m-%dT%H:%M:%S%.f%:z",
        _ => return None,
    })
}

/// A piece of a format.
enum Piece<'f> {
    Text(&'f str),
    Code { code: &'static str, padded: bool },
}

/// The pieces of a format.
fn pieces(format: &str) -> Result<Vec<Piece<'_>>, Error> {
    let mut all = Vec::new();
    let mut rest = format;
    while !rest.is_empty() {
        let at = rest.find('%').unwrap_or(rest.len());
        if at > 0 {
            all.push(Piece::Text(&rest[..at]));
            rest = &rest[at..];
            continue;
        }
        rest = &rest[1..];
        if let Some(long) = rest.chars().next().and_then(long_form) {
            all.extend(pieces(long)?);
            rest = &rest[1..];
            continue;
        }
        let bare = rest.strip_prefix('-');
        let after = bare.unwrap_or(rest);
        let code = CODES.into_iter().find(|code| after.starts_with(code));
        let code = code.ok_or_else(|| {
            Error::failed(format!("\"%{}\" is no part of a format here", after.chars().next().unwrap_or_default()))
        })?;
        all.push(Piece::Code { code, padded: bare.is_none() });
        rest = &after[code.len()..];
    }
    Ok(all)
}

fn at(nanos: i64) -> OffsetDateTime {
    // Any number of nanoseconds that an i64 holds lies between the years 1677 and 2262.
    OffsetDateTime::from_unix_timestamp_nanos(nanos.into()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// As JSON has it: `2024-05-01T10:00:00.5Z`, without a fraction if there is none.
pub(crate) fn iso(nanos: i64) -> String {
    let at = at(nanos);
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    let fraction = format!(".{:09}", at.nanosecond());
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}{fraction}Z", at.hour(), at.minute(), at.second())
}

/// An instant in a format.
pub(crate) fn format(nanos: i64, format: &str) -> Result<String, Error> {
    let at = at(nanos);
    let mut out = String::new();
    for piece in pieces(format)? {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Code { code, padded } => written(&mut out, at, nanos, code, padded),
        }
    }
    Ok(out)
}

fn written(out: &mut String, at: OffsetDateTime, nanos: i64, code: &str, padded: bool) {
    let number = |number: i64, width: usize, pad: char| match (padded, pad) {
        (false, _) => number.to_string(),
        (true, ' ') => format!("{number:>width$}"),
        (true, _) => format!("{number:0width$}"),
    };
    let month = usize::from(u8::from(at.month())) - 1;
    let day = usize::from(at.weekday().number_days_from_monday());
    let half = if at.hour().is_multiple_of(12) { 12 } else { i64::from(at.hour() % 12) };
    let fraction = format!("{:09}", at.nanosecond());
    let text = match code {
        "Y" => number(at.year().into(), 4, '0'),
        "y" => number((at.year() % 100).into(), 2, '0'),
        "m" => number(u8::from(at.month()).into(), 2, '0'),
        "B" => MONTHS[month].into(),
        "b" | "h" => MONTHS[month][..3].into(),
        "d" => number(at.day().into(), 2, '0'),
        "e" => number(at.day().into(), 2, ' '),
        "j" => number(at.ordinal().into(), 3, '0'),
        "A" => DAYS[day].into(),
        "a" => DAYS[day][..3].into(),
        "H" => number(at.hour().into(), 2, '0'),
        "k" => number(at.hour().into(), 2, ' '),
        "I" => number(half, 2, '0'),
        "l" => number(half, 2, ' '),
        "M" => number(at.minute().into(), 2, '0'),
        "S" => number(at.second().into(), 2, '0'),
        "f" | "9f" => fraction,
        "3f" => fraction[..3].into(),
        "6f" => fraction[..6].into(),
        ".3f" => format!(".{}", &fraction[..3]),
        ".6f" => format!(".{}", &fraction[..6]),
        ".9f" => format!(".{fraction}"),
        ".f" => match fraction.trim_end_matches('0') {
            "" => String::new(),
            digits => format!(".{digits}"),
        },
        "p" => if at.hour() < 12 { "AM" } else { "PM" }.into(),
        "P" => if at.hour() < 12 { "am" } else { "pm" }.into(),
        "s" => nanos.div_euclid(1_000_000_000).to_string(),
        "z" => "+0000".into(),
        ":z" => "+00:00".into(),
        "Z" => "UTC".into(),
        "n" => "\n".into(),
        "t" => "\t".into(),
        other => other.into(),
    };
    out.push_str(&text);
}

/// What a text says of an instant.
#[derive(Default)]
struct Said {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    ordinal: Option<i64>,
    hour: Option<i64>,
    half: Option<i64>,
    is_afternoon: bool,
    minute: i64,
    second: i64,
    nanos: i64,
    /// Seconds east of UTC.
    offset: i64,
    unix: Option<i64>,
}

/// The instant that a text in a format names, in nanoseconds since 1970. Without a time it is midnight; without an
/// offset it is UTC.
pub(crate) fn parse(text: &str, format: &str) -> Result<i64, Error> {
    let wrong = || Error::failed(format!("\"{text}\" is no time in the format \"{format}\""));
    let mut said = Said::default();
    let mut rest = text;
    for piece in pieces(format)? {
        rest = match piece {
            Piece::Text(expected) => literal(rest, expected),
            Piece::Code { code, .. } => read(rest, code, &mut said),
        }
        .ok_or_else(wrong)?;
    }
    if !rest.is_empty() {
        return Err(wrong());
    }
    instant(&said).ok_or_else(wrong)
}

/// A text of a format; a blank in it stands for any number of blanks.
fn literal<'t>(mut text: &'t str, expected: &str) -> Option<&'t str> {
    for c in expected.chars() {
        text = if c.is_whitespace() { text.trim_start() } else { text.strip_prefix(c)? };
    }
    Some(text)
}

fn digits(text: &str, most: usize) -> Option<(i64, &str)> {
    let end = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    Some((text[..end].parse().ok()?, &text[end..]))
}

fn name<'t>(text: &'t str, names: &[&str]) -> Option<(i64, &'t str)> {
    let starts = |name: &str| text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    let place = |length: Option<usize>| {
        names.iter().enumerate().find_map(|(at, name)| {
            let name = length.and_then(|length| name.get(..length)).unwrap_or(name);
            starts(name).then(|| (at as i64, &text[name.len()..]))
        })
    };
    place(None).or_else(|| place(Some(3)))
}

fn read<'t>(text: &'t str, code: &str, said: &mut Said) -> Option<&'t str> {
    let (value, rest) = match code {
        "Y" => digits(text, 4)?,
        "y" | "m" | "d" | "H" | "I" | "M" | "S" => digits(text, 2)?,
        "e" | "k" | "l" => digits(text.trim_start(), 2)?,
        "j" => digits(text, 3)?,
        "B" | "b" | "h" => name(text, &MONTHS)?,
        "A" | "a" => name(text, &DAYS)?,
        "p" | "P" => name(text, &["AM", "PM"])?,
        "s" => match text.strip_prefix('-') {
            Some(text) => digits(text, 18).map(|(value, rest)| (-value, rest))?,
            None => digits(text, 18)?,
        },
        "f" => digits(text, 9)?,
        "3f" | "6f" | "9f" => fraction(text, code[..1].parse().ok())?,
        ".3f" | ".6f" | ".9f" => fraction(text.strip_prefix('.')?, code[1..2].parse().ok())?,
        ".f" => match text.strip_prefix('.') {
            Some(text) => fraction(text, None)?,
            None => (0, text),
        },
        "z" | ":z" => offset(text)?,
        "Z" => (0, text.trim_start_matches(|c: char| c.is_ascii_alphabetic())),
        "n" | "t" => (0, text.trim_start()),
        other => (0, text.strip_prefix(other)?),
    };
    match code {
        "Y" => said.year = Some(value),
        "y" => said.year = Some(if value < 70 { 2000 + value } else { 1900 + value }),
        "m" => said.month = Some(value),
        "B" | "b" | "h" => said.month = Some(value + 1),
        "d" | "e" => said.day = Some(value),
        "j" => said.ordinal = Some(value),
        "H" | "k" => said.hour = Some(value),
        "I" | "l" => said.half = Some(value),
        "M" => said.minute = value,
        // A second that was put in counts as the one before it.
        "S" => said.second = if value == 60 { 59 } else { value },
        "p" | "P" => said.is_afternoon = value == 1,
        "s" => said.unix = Some(value),
        "z" | ":z" => said.offset = value,
        "f" | "3f" | "6f" | "9f" | ".3f" | ".6f" | ".9f" | ".f" => said.nanos = value,
        _ => {}
    }
    Some(rest)
}

/// A fraction of a second as nanoseconds: of so many digits, or as many as there are.
fn fraction(text: &str, exactly: Option<usize>) -> Option<(i64, &str)> {
    let count = text.bytes().take_while(u8::is_ascii_digit).count();
    let count = match exactly {
        Some(exactly) if count < exactly => return None,
        Some(exactly) => exactly,
        None => count,
    };
    let kept = &text[..count.min(9)];
    Some((format!("{kept:0<9}").parse().ok()?, &text[count..]))
}

/// `Z`, `+0200` or `+02:00` as seconds.
fn offset(text: &str) -> Option<(i64, &str)> {
    if let Some(rest) = text.strip_prefix(['Z', 'z']) {
        return Some((0, rest));
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let (hours, rest) = digits(text.strip_prefix(['+', '-'])?, 2)?;
    let (minutes, rest) = digits(rest.strip_prefix(':').unwrap_or(rest), 2)?;
    Some((sign * (hours * 3600 + minutes * 60), rest))
}

fn instant(said: &Said) -> Option<i64> {
    if let Some(unix) = said.unix {
        return unix.checked_mul(1_000_000_000)?.checked_add(said.nanos);
    }
    let small = |value: i64| u8::try_from(value).ok();
    let year = i32::try_from(said.year?).ok()?;
    let date = match said.ordinal {
        Some(ordinal) => Date::from_ordinal_date(year, u16::try_from(ordinal).ok()?).ok()?,
        None => Date::from_calendar_date(year, Month::try_from(small(said.month?)?).ok()?, small(said.day?)?).ok()?,
    };
    let hour = match (said.hour, said.half) {
        (Some(hour), _) => hour,
        (None, Some(half @ 1..=12)) => half % 12 + if said.is_afternoon { 12 } else { 0 },
        (None, Some(_)) => return None,
        (None, None) => 0,
    };
    let nanos = u32::try_from(said.nanos).ok()?;
    let time = Time::from_hms_nano(small(hour)?, small(said.minute)?, small(said.second)?, nanos).ok()?;
    let offset = UtcOffset::from_whole_seconds(i32::try_from(said.offset).ok()?).ok()?;
    let at = PrimitiveDateTime::new(date, time).assume_offset(offset);
    i64::try_from(at.unix_timestamp_nanos()).ok()
}
