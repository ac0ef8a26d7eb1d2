//! Days that are not 24 hours long.

use jiff::{Timestamp, tz::TimeZone};
use proptest::prelude::*;
use tollgate_limiter::counter::{RateCounter, Terms};
use tollgate_limiter::*;

use crate::script::fixed_window;

fn midnight_in(zone: &str) -> LimitKind {
    let zone = TimeZoneName::new(zone).unwrap();
    fixed_window(1, 86_400 * NANOS_PER_SECOND, Anchor::Midnight(zone), 0)
}

fn stamp(at: &str) -> Stamp {
    stamp_at(at.parse().unwrap())
}

fn stamp_at(at: Timestamp) -> Stamp {
    Stamp { cluster: ClusterTime(77), wall: WallTime(i64::try_from(at.as_nanosecond()).unwrap()) }
}

/// The end of the day that holds `at`: spend it all, and see when there is more.
fn end_of_day(zone: &str, at: Stamp) -> Stamp {
    let kind = midnight_in(zone);
    let terms = Terms { kind: &kind, dispatch_tolerance: Span::ZERO };
    let mut counter = RateCounter::fresh(terms, at);
    counter.debit(terms, 1, at);
    counter.earliest(terms, 1, at).unwrap()
}

fn assert_day(zone: &str, start: &str, end: &str) {
    let (start, end) = (stamp(start), stamp(end));
    assert_eq!(end_of_day(zone, start).wall, end.wall, "{zone}");
    let before = Stamp { wall: WallTime(start.wall.0 - 1), ..start };
    assert_eq!(end_of_day(zone, before).wall, start.wall, "{zone}");
    let last = Stamp { wall: WallTime(end.wall.0 - 1), ..start };
    assert_eq!(end_of_day(zone, last).wall, end.wall, "{zone}");
}

#[test]
fn days_of_23_and_25_hours() {
    assert_day("America/New_York", "2025-03-09T05:00:00Z", "2025-03-10T04:00:00Z");
    assert_day("America/New_York", "2025-11-02T04:00:00Z", "2025-11-03T05:00:00Z");
    assert_day("UTC", "2025-03-09T00:00:00Z", "2025-03-10T00:00:00Z");
}

#[test]
fn midnight_that_is_skipped() {
    // Clocks went from 00:00 to 01:00, so the day began at 01:00.
    assert_day("America/Sao_Paulo", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z");
    assert_day("Africa/Cairo", "2023-04-27T22:00:00Z", "2023-04-28T21:00:00Z");
    // From 23:30 to 00:30: the day began at 00:30.
    assert_day("America/Toronto", "1919-03-31T04:30:00Z", "1919-04-01T04:00:00Z");
}

#[test]
fn midnight_that_comes_twice() {
    // Back from 00:01 to 23:01 of the day before: the day begins at the first midnight, and is an hour longer.
    assert_day("America/St_Johns", "2006-10-29T02:30:00Z", "2006-10-30T03:30:00Z");
    // Back from 00:00 to 23:00: the clocks never showed the first midnight.
    assert_day("America/Sao_Paulo", "2019-02-16T02:00:00Z", "2019-02-17T03:00:00Z");
}

#[test]
fn a_date_that_never_was() {
    // Samoa went from the 29th straight to the 31st of December.
    assert_day("Pacific/Apia", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z");
    assert_day("Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z");
}

#[test]
fn half_hours() {
    assert_day("Asia/Kolkata", "2025-06-01T18:30:00Z", "2025-06-02T18:30:00Z");
    assert_day("Australia/Lord_Howe", "2025-04-05T13:00:00Z", "2025-04-06T13:30:00Z");
    assert_day("Asia/Kathmandu", "2025-06-01T18:15:00Z", "2025-06-02T18:15:00Z");
}

/// A call shortly before midnight may arrive after it: it counts in both days, and both are given back.
#[test]
fn around_midnight_a_call_counts_in_both_days() {
    let zone = TimeZoneName::new("America/New_York").unwrap();
    let kind = LimitKind::FixedWindow(FixedWindow {
        amount: 2,
        period: Span::from_secs(86_400),
        anchor: Anchor::Midnight(zone),
        max_clock_skew: Span::from_secs(1),
    });
    let terms = Terms { kind: &kind, dispatch_tolerance: Span::from_secs(2) };
    let midnight = stamp("2025-03-10T04:00:00Z").wall.0;
    let at = |seconds: i64| Stamp {
        cluster: ClusterTime((seconds + 100).cast_unsigned() * NANOS_PER_SECOND),
        wall: WallTime(midnight + seconds * NANOS_PER_SECOND.cast_signed()),
    };
    let mut counter = RateCounter::fresh(terms, at(-60));
    let mut inside = counter.debit(terms, 1, at(-4));
    let mut across = counter.debit(terms, 1, at(-3));
    // The day opens for new calls when every clock is past midnight, and one call of it is spent.
    assert_eq!(counter.earliest(terms, 1, at(-3)), Some(at(1)));
    assert_eq!(counter.available(terms, at(1)), 1);
    assert_eq!(counter.earliest(terms, 2, at(-3)).unwrap().wall.0, stamp("2025-03-11T04:00:01Z").wall.0);
    counter.refund(terms, &mut inside, at(2));
    assert_eq!(counter.available(terms, at(2)), 1);
    counter.refund(terms, &mut across, at(2));
    assert_eq!(counter.available(terms, at(2)), 2);
}

proptest! {
    /// The reference reads the clocks minute by minute until they show a later date than ever before.
    #[test]
    fn a_day_ends_when_clocks_first_show_a_later_date(
        zone in prop::sample::select(vec![
            "America/New_York", "America/Sao_Paulo", "America/St_Johns", "Africa/Cairo", "Asia/Beirut", "Asia/Gaza",
            "Europe/Dublin", "Pacific/Apia", "Pacific/Kwajalein", "Australia/Lord_Howe", "Antarctica/Troll",
            "America/Havana", "Asia/Tehran", "America/Asuncion",
        ]),
        minute in 2_700_000..34_000_000i64,
    ) {
        let clocks = TimeZone::get(zone).unwrap();
        let date_at = |minute: i64| clocks.to_datetime(Timestamp::from_second(minute * 60).unwrap()).date();
        let two_days = 2 * 24 * 60;
        let latest = (minute - two_days..=minute).map(date_at).max().unwrap();
        let ends = (minute..).find(|minute| date_at(*minute) > latest).unwrap();
        let end = end_of_day(zone, stamp_at(Timestamp::from_second(minute * 60).unwrap()));
        prop_assert_eq!(end.wall.0, ends * 60 * NANOS_PER_SECOND.cast_signed());
    }
}
