//! Times, in all the ways that vendors write them, as what is left from when the answer came.

use std::time::{Duration, UNIX_EPOCH};

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};

use crate::Problem;

/// The longest wait that makes sense: the longest period of a limit.
pub const WAIT_MAX: Duration = Duration::from_secs(400 * 24 * 3600);

/// How long ago an instant may lie that is meant to be ahead: the vendor's clock and ours differ, and some vendors move a
/// reset only with the next call. It is over then. What lies further back is written in another format.
pub const PAST_MAX: Duration = Duration::from_secs(3600);

/// Numbers from here on are seconds since 1970 (this one is in 2001): as a delta they would be 31 years.
const EPOCH_SECONDS_MIN: u64 = 1_000_000_000;

/// Numbers from here on are milliseconds since 1970 (this one is in 1973): as seconds they would be in the year 5138.
const EPOCH_MILLISECONDS_MIN: u64 = 100_000_000_000;

/// How a time is written. Numbers are decimal and may have a fraction; zones default to UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    /// Seconds from now.
    Seconds,
    /// Milliseconds from now.
    Milliseconds,
    /// Seconds since 1970.
    EpochSeconds,
    /// Milliseconds since 1970.
    EpochMilliseconds,
    /// A length with units: `6m0s`, `12ms`, `1h30m`, or `PT30S` as in ISO 8601.
    Length,
    /// An instant as in RFC 3339 or ISO 8601: `2026-11-22T10:15:00Z`.
    Rfc3339,
    /// An instant as in HTTP's own headers: `Wed, 21 Oct 2026 07:28:00 GMT`.
    HttpDate,
    /// Any of these, told apart by their form, and numbers by their size.
    Any,
}

/// What is left of it; zero if it is over.
pub fn time_left(format: TimeFormat, text: &str, received_at: Timestamp) -> Result<Duration, Problem> {
    match format {
        TimeFormat::Seconds => plausible(number(text, Unit::Second)?),
        TimeFormat::Milliseconds => plausible(number(text, Unit::Millisecond)?),
        TimeFormat::EpochSeconds => until(since_epoch(number(text, Unit::Second)?)?, received_at),
        TimeFormat::EpochMilliseconds => until(since_epoch(number(text, Unit::Millisecond)?)?, received_at),
        TimeFormat::Length => length(text),
        TimeFormat::Rfc3339 => until(instant(text)?, received_at),
        TimeFormat::HttpDate => until(http_date(text)?, received_at),
        TimeFormat::Any => time_left(form_of(text)?, text, received_at),
    }
}

/// Which format a text is in.
fn form_of(text: &str) -> Result<TimeFormat, Problem> {
    if number(text, Unit::Second) != Err(NOT_A_NUMBER) {
        let whole = text.split('.').next().unwrap_or(text).parse().unwrap_or(0);
        return Ok(match whole {
            0..EPOCH_SECONDS_MIN => TimeFormat::Seconds,
            EPOCH_SECONDS_MIN..EPOCH_MILLISECONDS_MIN => TimeFormat::EpochSeconds,
            EPOCH_MILLISECONDS_MIN.. => TimeFormat::EpochMilliseconds,
        });
    }
    if http_date(text).is_ok() {
        return Ok(TimeFormat::HttpDate);
    }
    if instant(text).is_ok() {
        return Ok(TimeFormat::Rfc3339);
    }
    match length(text) {
        Err(Problem::Malformed(_)) => Err(Problem::Malformed("a time")),
        _ => Ok(TimeFormat::Length),
    }
}

/// What a number counts.
#[derive(Clone, Copy)]
enum Unit {
    Second,
    Millisecond,
}

impl Unit {
    /// In nanoseconds, as a power of ten.
    const fn digits(self) -> usize {
        match self {
            Unit::Second => 9,
            Unit::Millisecond => 6,
        }
    }
}

const NOT_A_NUMBER: Problem = Problem::Malformed("a number");

/// A decimal number of units, with or without a fraction; what is finer than a nanosecond is left out.
fn number(text: &str, unit: Unit) -> Result<Duration, Problem> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return Err(NOT_A_NUMBER);
    }
    if negative {
        return Err(Problem::Negative);
    }
    let digits = unit.digits();
    let fraction = format!("{:0<digits$}", &fraction[..fraction.len().min(digits)]);
    // Of digits alone, only too many do not parse.
    let nanos = format!("{whole}{fraction}").parse::<u64>().map_err(|_| Problem::Implausible)?;
    Ok(Duration::from_nanos(nanos))
}

fn length(text: &str) -> Result<Duration, Problem> {
    let length: SignedDuration =
        text.parse().map_err(|_| Problem::Malformed("a length of time such as 6m0s"))?;
    plausible(Duration::try_from(length).map_err(|_| Problem::Negative)?)
}

fn instant(text: &str) -> Result<Timestamp, Problem> {
    let without_zone = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok();
    let parsed = text.parse().ok().or_else(|| without_zone().map(|zoned| zoned.timestamp()));
    parsed.ok_or(Problem::Malformed("a date such as 2026-11-22T10:15:00Z"))
}

fn http_date(text: &str) -> Result<Timestamp, Problem> {
    let date = httpdate::parse_http_date(text);
    let date = date.map_err(|_| Problem::Malformed("a date such as Sun, 22 Nov 2026 10:15:00 GMT"))?;
    since_epoch(date.duration_since(UNIX_EPOCH).map_err(|_| Problem::Implausible)?)
}

fn since_epoch(length: Duration) -> Result<Timestamp, Problem> {
    let length = SignedDuration::try_from(length).map_err(|_| Problem::Implausible)?;
    Timestamp::from_duration(length).map_err(|_| Problem::Implausible)
}

fn until(instant: Timestamp, received_at: Timestamp) -> Result<Duration, Problem> {
    let ahead = instant.duration_since(received_at);
    if ahead.is_negative() {
        return if ahead.unsigned_abs() <= PAST_MAX { Ok(Duration::ZERO) } else { Err(Problem::Implausible) };
    }
    plausible(ahead.unsigned_abs())
}

fn plausible(wait: Duration) -> Result<Duration, Problem> {
    if wait <= WAIT_MAX { Ok(wait) } else { Err(Problem::Implausible) }
}
