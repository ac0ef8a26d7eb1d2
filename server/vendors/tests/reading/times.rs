//! Times in all formats, and those that are in another one than the profile says.

use std::time::Duration;

use jiff::Timestamp;
use tollgate_vendors::{Answer, PAST_MAX, Problem, Profile, Reading, TimeFormat, WAIT_MAX};

use crate::{only_problem, read, received_at};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn left(format: TimeFormat, text: &str) -> Option<Duration> {
    read(Reading::RetryAfter(format), text.as_bytes()).retry_after
}

fn problem(format: TimeFormat, text: &str) -> Option<Problem> {
    only_problem(read(Reading::RetryAfter(format), text.as_bytes()))
}

#[test]
fn each_format_is_read() {
    use TimeFormat::*;
    let cases = [
        (Seconds, "0", Duration::ZERO),
        (Seconds, "41", 41 * SECOND),
        (Seconds, " 41 ", 41 * SECOND),
        (Seconds, "007", 7 * SECOND),
        (Seconds, "2.0", 2 * SECOND),
        (Seconds, "0.0125", Duration::from_micros(12_500)),
        (Seconds, "1.0000000009", SECOND),
        (Milliseconds, "1500", Duration::from_millis(1500)),
        (Milliseconds, "0.25", Duration::from_micros(250)),
        (EpochSeconds, "1795341660", MINUTE),
        (EpochMilliseconds, "1795341660000", MINUTE),
        (Length, "12ms", Duration::from_millis(12)),
        (Length, "1s", SECOND),
        (Length, "6m0s", 6 * MINUTE),
        (Length, "1h2m3s", 62 * MINUTE + 3 * SECOND),
        (Length, "6m0.5s", 6 * MINUTE + SECOND / 2),
        (Length, "PT30S", 30 * SECOND),
        (Rfc3339, "2026-11-22T10:01:00Z", MINUTE),
        (Rfc3339, "2026-11-22T10:01:00.250Z", MINUTE + SECOND / 4),
        (Rfc3339, "2026-11-22T12:01:00+02:00", MINUTE),
        (Rfc3339, "2026-11-22 10:01:00Z", MINUTE),
        // Without a zone: UTC.
        (Rfc3339, "2026-11-22T10:01:00", MINUTE),
        (HttpDate, "Sun, 22 Nov 2026 10:01:00 GMT", MINUTE),
        (HttpDate, "Sunday, 22-Nov-26 10:01:00 GMT", MINUTE),
    ];
    for (format, text, expected) in cases {
        assert_eq!(left(format, text), Some(expected), "{format:?} {text:?}");
        // Whoever does not know the format comes to the same, but for lengths and instants in milliseconds that are small.
        if format != Milliseconds {
            assert_eq!(left(Any, text), Some(expected), "{text:?}");
        }
    }
}

#[test]
fn an_instant_that_has_just_passed_is_over() {
    use TimeFormat::*;
    for (format, text) in [
        (EpochSeconds, "1795341599"),
        (EpochMilliseconds, "1795341599999"),
        (Rfc3339, "2026-11-22T09:00:00Z"),
        (HttpDate, "Sun, 22 Nov 2026 09:59:00 GMT"),
    ] {
        assert_eq!(left(format, text), Some(Duration::ZERO), "{format:?} {text:?}");
    }
}

#[test]
fn a_time_in_another_format_is_ignored_instead_of_misread() {
    use TimeFormat::*;
    let cases = [
        // A delta that is read as an instant lies in 1970: the limit would seem free.
        (EpochSeconds, "41", Problem::Implausible),
        (EpochMilliseconds, "60000", Problem::Implausible),
        // An instant that is read as a delta would stop everything for decades.
        (Seconds, "1795341660", Problem::Implausible),
        (Seconds, "1795341660000", Problem::Implausible),
        (Milliseconds, "1795341660000", Problem::Implausible),
        // Seconds for milliseconds, and the other way round.
        (EpochMilliseconds, "1795341660", Problem::Implausible),
        (EpochSeconds, "1795341660000", Problem::Implausible),
        (Any, "Wed, 21 Oct 2015 07:28:00 GMT", Problem::Implausible),
        (Any, "2015-10-21T07:28:00Z", Problem::Implausible),
        (Any, "3026-11-22T10:00:00Z", Problem::Implausible),
        (Any, "999999999", Problem::Implausible),
        (Any, "99999999999999999999999999", Problem::Implausible),
        (Seconds, "18446744073709551616", Problem::Implausible),
        (EpochSeconds, "18446744073", Problem::Implausible),
        (Length, "9600h1s", Problem::Implausible),
        (Seconds, "-1", Problem::Negative),
        (Any, "-30", Problem::Negative),
        (Length, "-6m", Problem::Negative),
    ];
    for (format, text, expected) in cases {
        assert_eq!(problem(format, text), Some(expected), "{format:?} {text:?}");
    }
    for text in [
        "NaN",
        "inf",
        "1e3",
        "0x10",
        "+5",
        "1.",
        ".5",
        "1.5.2",
        "-",
        "१२",
        "soon",
        "Sun, 22 Nov 2026",
        "12 34",
    ] {
        for format in [Seconds, Milliseconds, EpochSeconds, EpochMilliseconds, Length, Rfc3339, HttpDate, Any]
        {
            let problem = problem(format, text);
            assert!(matches!(problem, Some(Problem::Malformed(_))), "{format:?} {text:?}: {problem:?}");
        }
    }
}

#[test]
fn the_bounds_are_where_they_are_said_to_be() {
    let longest = WAIT_MAX.as_secs();
    assert_eq!(left(TimeFormat::Seconds, &longest.to_string()), Some(WAIT_MAX));
    assert_eq!(problem(TimeFormat::Seconds, &(longest + 1).to_string()), Some(Problem::Implausible));

    let now = u64::try_from(received_at().as_second()).unwrap();
    let oldest = now - PAST_MAX.as_secs();
    assert_eq!(left(TimeFormat::EpochSeconds, &oldest.to_string()), Some(Duration::ZERO));
    assert_eq!(problem(TimeFormat::EpochSeconds, &(oldest - 1).to_string()), Some(Problem::Implausible));
}

#[test]
fn times_are_read_at_the_ends_of_time() {
    let headers = [("Retry-After", "Sun, 22 Nov 2026 10:01:00 GMT".as_bytes())];
    let answer = Answer { status: 429, headers: &headers, code: "" };
    for received_at in [Timestamp::MIN, Timestamp::MAX] {
        assert_eq!(only_problem(Profile::default().read(&answer, received_at)), Some(Problem::Implausible));
    }
}
