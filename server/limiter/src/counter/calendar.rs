//! Where the windows of a calendar lie on wall time: pure arithmetic on the epoch and on the bundled time zone database.
//!
//! Windows are half-open, `[start, end)`, and leave no gaps. A window of the epoch begins at a multiple of its period. A
//! day begins at the first instant of its date: where midnight is skipped by a change of the zone's offset, the day
//! begins with that change; where midnight comes twice, at the first of the two. Days are therefore 23, 24 or 25 h
//! long, and other lengths where history had them; a date that a zone skipped altogether has no window.
//!
//! **Hazard:** the database is part of the binary. While nodes of two releases run together, a zone whose rules the newer
//! release changed has two midnights, and the nodes diverge if one is passed; so a release that brings a new database
//! has to say so.

use jiff::{
    Timestamp,
    civil::{Date, Time},
    tz::{AmbiguousOffset, TimeZone},
};

use crate::model::{Anchor, FixedWindow, Span, TimeZoneName};

/// The window that holds the instant `at` (nanoseconds of wall time): its first instant, and that of the next window.
pub(super) fn window_at(window: &FixedWindow, at: i64) -> (i64, i64) {
    match &window.anchor {
        Anchor::Midnight(zone) => day_at(zone, at),
        Anchor::Epoch | Anchor::FirstRequest => multiple_at(window.period, at),
    }
}

fn multiple_at(period: Span, at: i64) -> (i64, i64) {
    // A period is at most 400 days, far below 2^63 ns.
    let period = period.as_nanos().cast_signed();
    let start = at - at.rem_euclid(period);
    (start, start.saturating_add(period))
}

fn day_at(zone: &TimeZoneName, at: i64) -> (i64, i64) {
    let zone = TimeZone::get(zone.as_str()).expect("a TimeZoneName is in the bundled database");
    let instant = Timestamp::from_nanosecond(i128::from(at)).expect("64 bits of ns lie in 1677 to 2262");
    let mut start = i64::MIN;
    let mut date = zone.to_datetime(instant).date();
    let mut end = first_instant(&zone, date);
    // Once on most days, twice where clocks that went back repeat the end of the day before. The last day that 64 bits
    // of ns can express, in 2262, never ends.
    while end <= at && end < i64::MAX {
        start = end;
        date = date.tomorrow().expect("64 bits of ns end in 2262, dates in 9999");
        end = first_instant(&zone, date);
    }
    (start, end)
}

/// The first instant at which the zone's clocks show the date, or a later one.
fn first_instant(zone: &TimeZone, date: Date) -> i64 {
    let midnight = zone.to_ambiguous_timestamp(date.to_datetime(Time::midnight()));
    let skipped = matches!(midnight.offset(), AmbiguousOffset::Gap { .. });
    // In a gap this counts on with the clock from before the change, and so lies at or after the change.
    let compatible = midnight.compatible().expect("64 bits of ns lie far inside the range of timestamps");
    let just_after = compatible.as_nanosecond() + 1;
    let change = Timestamp::from_nanosecond(just_after)
        .ok()
        .filter(|_| skipped)
        .and_then(|just_after| zone.preceding(just_after).next())
        .map(|change| change.timestamp());
    let first = change.unwrap_or(compatible).as_nanosecond();
    i64::try_from(first).unwrap_or(if first < 0 { i64::MIN } else { i64::MAX })
}
