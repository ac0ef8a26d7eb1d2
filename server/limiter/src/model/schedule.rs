//! Hours of the week on the clocks of a time zone: pure arithmetic on the bundled time zone database.
//!
//! A schedule is open at an instant if the zone's clocks then show a time that lies in its hours. An hour that clocks skip is
//! therefore never open, and one that they repeat is open twice. See `counter/calendar.rs` for the hazard that the database
//! brings.

use std::ops::RangeInclusive;

use jiff::{
    Timestamp, ToSpan,
    civil::{DateTime, Time},
    tz::{AmbiguousTimestamp, TimeZone},
};

use super::{OpenHours, Schedule, Span, WallTime};

const MINUTES_PER_DAY: u16 = 24 * 60;

/// How many days ahead a change is looked for, soon ones first. Each hour comes again within a week, and where clocks skip it,
/// within two.
const DAYS_AHEAD: [i64; 3] = [1, 8, 15];

impl Schedule {
    /// Whether its hours hold this instant.
    pub fn is_open(&self, at: WallTime) -> bool {
        self.shows_open(&self.zone(), instant(at))
    }

    /// How long until it opens; zero while it is open.
    pub fn opens_in(&self, at: WallTime) -> Span {
        if self.is_open(at) {
            return Span::ZERO;
        }
        // Without a change in two weeks the hours are some that the zone skips: ask again then.
        let weeks = Span::from_secs(14 * 24 * 3600);
        self.next_change(at).map_or(weeks, |opens| Span(opens.0.saturating_sub(at.0).cast_unsigned()))
    }

    /// The first instant after `at` at which it opens, if it is closed then, or closes. `None`: it never does.
    pub fn next_change(&self, at: WallTime) -> Option<WallTime> {
        let (zone, now) = (self.zone(), instant(at));
        let open = self.shows_open(&zone, now);
        DAYS_AHEAD.into_iter().find_map(|days| {
            let first = self
                .boundaries(&zone, now, days)
                .into_iter()
                .find(|boundary| self.shows_open(&zone, *boundary) != open)?;
            i64::try_from(first.as_nanosecond()).ok().map(WallTime)
        })
    }

    /// Whether its hours cover the week, so that it never closes.
    pub fn never_closes(&self) -> bool {
        let days =
            |hours: &OpenHours| (0..7).filter(|day| hours.weekdays & (1 << day) != 0).collect::<Vec<_>>();
        self.open.iter().all(|hours| {
            let to_next_day = hours.to <= hours.from || hours.to == MINUTES_PER_DAY;
            days(hours).into_iter().all(|day| {
                let (day, minute) = ((day + u8::from(to_next_day)) % 7, hours.to % MINUTES_PER_DAY);
                self.open.iter().any(|hours| hours.hold(day, minute))
            })
        })
    }

    /// The instants after `now`, in order, at which it may change, up to the end of the day so many days ahead: where hours
    /// begin and end, and where the zone's clocks are put forward or back.
    fn boundaries(&self, zone: &TimeZone, now: Timestamp, days: i64) -> Vec<Timestamp> {
        let today = zone.to_datetime(now).date();
        let midnight =
            |day: i64| today.checked_add(day.days()).ok().map(|date| date.to_datetime(Time::midnight()));
        let Some(horizon) = midnight(days + 1).and_then(|end| instants(zone, end).next()) else {
            return Vec::new();
        };
        let clocks_change =
            zone.following(now).map(|change| change.timestamp()).take_while(|change| *change < horizon);
        let minutes = |day: i64| {
            let minutes = self.open.iter().flat_map(|hours| [hours.from, hours.to]);
            minutes.filter_map(move |minute| midnight(day)?.checked_add(i64::from(minute).minutes()).ok())
        };
        let mut boundaries: Vec<Timestamp> = (-1..=days)
            .flat_map(minutes)
            .flat_map(|shown| instants(zone, shown))
            .chain(clocks_change)
            .filter(|boundary| now < *boundary && *boundary <= horizon)
            .collect();
        boundaries.sort_unstable();
        boundaries
    }

    fn shows_open(&self, zone: &TimeZone, at: Timestamp) -> bool {
        let shown = zone.to_datetime(at);
        let day = shown.weekday().to_monday_zero_offset().cast_unsigned();
        let minute = u16::from(shown.hour().cast_unsigned()) * 60 + u16::from(shown.minute().cast_unsigned());
        self.open.iter().any(|hours| hours.hold(day, minute))
    }

    fn zone(&self) -> TimeZone {
        TimeZone::get(self.time_zone.as_str()).expect("a TimeZoneName is in the bundled database")
    }
}

impl OpenHours {
    /// All days.
    pub const ALL_WEEKDAYS: u8 = 0x7f;
    /// Minutes at which hours can begin.
    pub const FROM: RangeInclusive<u16> = 0..=MINUTES_PER_DAY - 1;
    /// Minutes at which they can end.
    pub const TO: RangeInclusive<u16> = 1..=MINUTES_PER_DAY;

    /// Whether they hold that minute of that day (0 is Monday).
    fn hold(&self, day: u8, minute: u16) -> bool {
        let on = |day: u8| self.weekdays & (1 << day) != 0;
        match self.from < self.to {
            true => on(day) && (self.from..self.to).contains(&minute),
            false => on(day) && minute >= self.from || on((day + 6) % 7) && minute < self.to,
        }
    }
}

fn instant(at: WallTime) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(at.0)).expect("64 bits of ns lie in 1677 to 2262")
}

/// The instants at which the zone's clocks may show this: two where they are put back, and two that lie around it where they
/// are put forward over it.
fn instants(zone: &TimeZone, shown: DateTime) -> impl Iterator<Item = Timestamp> {
    let ambiguous: AmbiguousTimestamp = zone.to_ambiguous_timestamp(shown);
    [ambiguous.earlier(), ambiguous.later()].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::TimeZoneName;

    fn at(text: &str) -> WallTime {
        let timestamp: Timestamp = text.parse().unwrap();
        WallTime(i64::try_from(timestamp.as_nanosecond()).unwrap())
    }

    fn schedule(zone: &str, open: &[(u8, u16, u16)]) -> Schedule {
        let hours = |&(weekdays, from, to): &(u8, u16, u16)| OpenHours { weekdays, from, to };
        Schedule { time_zone: TimeZoneName::new(zone).unwrap(), open: open.iter().map(hours).collect() }
    }

    #[test]
    fn hours_follow_the_clocks_of_their_zone() {
        let office = schedule("Europe/Berlin", &[(0b001_1111, 8 * 60, 18 * 60)]);
        for (from, change) in [
            // Friday evening to Monday morning, over the night in which clocks are put forward.
            ("2026-03-27T17:30:00Z", "2026-03-30T06:00:00Z"),
            ("2026-03-27T06:59:59Z", "2026-03-27T07:00:00Z"),
            ("2026-03-27T07:00:00Z", "2026-03-27T17:00:00Z"),
            // And back.
            ("2026-10-23T16:00:00Z", "2026-10-26T07:00:00Z"),
        ] {
            assert_eq!(office.next_change(at(from)), Some(at(change)), "{from}");
        }
        assert_eq!(office.opens_in(at("2026-03-30T05:59:00Z")), Span::from_secs(60));
        assert!(office.opens_in(at("2026-03-30T06:00:00Z")).is_zero());
    }

    #[test]
    fn hours_that_clocks_skip_wait_for_the_next_and_those_they_repeat_come_twice() {
        let night = schedule("Europe/Berlin", &[(OpenHours::ALL_WEEKDAYS, 2 * 60, 3 * 60)]);
        assert_eq!(night.next_change(at("2026-03-28T12:00:00Z")), Some(at("2026-03-30T00:00:00Z")));
        assert_eq!(night.next_change(at("2026-10-24T12:00:00Z")), Some(at("2026-10-25T00:00:00Z")));
        assert_eq!(night.next_change(at("2026-10-25T00:00:00Z")), Some(at("2026-10-25T02:00:00Z")));
        // Half past two begins with the repetition's end, and once before it.
        let half = schedule("Europe/Berlin", &[(OpenHours::ALL_WEEKDAYS, 150, 180)]);
        assert_eq!(half.next_change(at("2026-10-25T00:30:00Z")), Some(at("2026-10-25T01:00:00Z")));
        assert_eq!(half.next_change(at("2026-10-25T01:00:00Z")), Some(at("2026-10-25T01:30:00Z")));
        // Of hours that begin in what is skipped, the rest is open.
        let early = schedule("Europe/Berlin", &[(OpenHours::ALL_WEEKDAYS, 150, 240)]);
        assert_eq!(early.next_change(at("2026-03-28T12:00:00Z")), Some(at("2026-03-29T01:00:00Z")));
    }

    #[test]
    fn what_covers_the_week_never_closes() {
        let all = OpenHours::ALL_WEEKDAYS;
        for (open, covered) in [
            (&[(all, 0, 1440)][..], true),
            (&[(all, 600, 600)][..], true),
            (&[(all, 0, 720), (all, 700, 1440)][..], true),
            (&[(all, 0, 720), (all, 721, 1440)][..], false),
            (&[(0b011_1111, 0, 1440)][..], false),
            (&[(all, 1, 1440)][..], false),
        ] {
            let schedule = schedule("UTC", open);
            assert_eq!(schedule.never_closes(), covered, "{open:?}");
            assert_eq!(schedule.next_change(at("2026-03-03T03:03:00Z")).is_none(), covered, "{open:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_next_change_is_the_first(
            open in prop::collection::vec((1u8..=0x7f, OpenHours::FROM, OpenHours::TO), 1..4),
            zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
            minutes in 0i64..366 * 1440,
        ) {
            let schedule = schedule(zone, &open);
            let minute = |minutes: i64| WallTime(at("2026-01-01T00:00:00Z").0 + minutes * 60_000_000_000);
            let now = schedule.is_open(minute(minutes));
            // Offsets are whole minutes, and so are hours: a change falls on one.
            let first = (1..10 * 1440).map(|later| minute(minutes + later)).find(|later| schedule.is_open(*later) != now);
            let told = schedule.next_change(minute(minutes));
            prop_assert!(first == told || first.is_none() && told > Some(minute(minutes + 10 * 1440 - 1)) || schedule.never_closes());
        }
    }
}
