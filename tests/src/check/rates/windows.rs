//! Windows, as a vendor counts them: what may arrive in each.

use std::collections::{BTreeMap, VecDeque};

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use tollgate_limiter::{Anchor, ClusterTime, FixedWindow, SlidingWindow, Span, WallTime};

/// Windows that begin with the epoch's periods or at midnight. Counts a permit in every window in which it may arrive:
/// between the grant and the end of the tolerance, by a clock that is off by the skew at most.
#[derive(Default)]
pub(super) struct Aligned {
    // By the window's number: periods or days since the epoch.
    sums: BTreeMap<i64, u64>,
}

impl Aligned {
    pub(super) fn grant(
        &mut self,
        window: &FixedWindow,
        tolerance: Span,
        weight: u64,
        wall: WallTime,
    ) -> Result<(), String> {
        let first = number(window, wall.0.saturating_sub_unsigned(window.max_clock_skew.0));
        let last = number(window, wall.0.saturating_add_unsigned((window.max_clock_skew + tolerance).0));
        self.sums.retain(|number, _| *number >= first);
        let mut result = Ok(());
        for number in first..=last {
            let sum = self.sums.entry(number).or_default();
            *sum += weight;
            if *sum > window.amount && weight > 0 {
                result = Err(format!("{sum} in window {number} of {}", window.amount));
            }
        }
        result
    }

    /// The same windows go on. Where time is divided anew, what was counted is forgotten.
    pub(super) fn change(&mut self, old: &FixedWindow, new: &FixedWindow) {
        if (old.period, &old.anchor) != (new.period, &new.anchor) {
            self.sums.clear();
        }
    }
}

fn number(window: &FixedWindow, wall_ns: i64) -> i64 {
    let Anchor::Midnight(zone) = &window.anchor else {
        return wall_ns.div_euclid(window.period.0.cast_signed());
    };
    let zone = TimeZone::get(zone.as_str()).expect("the name was checked against the same database");
    let moment = Timestamp::from_nanosecond(i128::from(wall_ns)).expect("64 bits of nanoseconds end in 2262");
    let date = zone.to_datetime(moment).date();
    let epoch = Date::constant(1970, 1, 1);
    i64::from((date - epoch).get_days())
}

/// Windows that open with the first request that arrives when none is open; here every call arrives at once.
#[derive(Default)]
pub(super) struct FirstRequest {
    closes_at: ClusterTime,
    sum: u64,
}

impl FirstRequest {
    pub(super) fn grant(
        &mut self,
        window: &FixedWindow,
        weight: u64,
        now: ClusterTime,
    ) -> Result<(), String> {
        if now >= self.closes_at {
            *self = FirstRequest { closes_at: now + window.period, sum: 0 };
        }
        self.sum += weight;
        match self.sum > window.amount && weight > 0 {
            true => Err(format!("{} in the window that closes at {} ns", self.sum, self.closes_at.0)),
            false => Ok(()),
        }
    }

    /// A call that is not sent opens no window, if that is told in time.
    pub(super) fn leave_out(&mut self, window: &FixedWindow, told_at: ClusterTime, now: ClusterTime) {
        let would_close_at = now + window.period;
        if now >= self.closes_at && told_at >= would_close_at {
            *self = FirstRequest { closes_at: would_close_at, sum: 0 };
        }
    }

    /// An open window goes on, unless the vendor's may have closed already under the new period.
    pub(super) fn change(&mut self, old: &FixedWindow, new: &FixedWindow) {
        if old.period != new.period {
            *self = FirstRequest::default();
        }
    }
}

/// Any window of the period, wherever in the tolerance calls arrive.
#[derive(Default)]
pub(super) struct Sliding {
    granted: VecDeque<(ClusterTime, u64)>,
    sum: u64,
}

impl Sliding {
    pub(super) fn grant(
        &mut self,
        window: &SlidingWindow,
        tolerance: Span,
        weight: u64,
        now: ClusterTime,
    ) -> Result<(), String> {
        self.forget_before(window.period + tolerance, now);
        self.granted.push_back((now, weight));
        self.sum += weight;
        match self.sum > window.amount && weight > 0 {
            true => Err(format!("{} within {} of {}", self.sum, window.period + tolerance, window.amount)),
            false => Ok(()),
        }
    }

    /// Forgets what can no more arrive in one window with what is granted now.
    pub(super) fn forget_before(&mut self, reach: Span, now: ClusterTime) {
        while let Some((_, weight)) = self.granted.front().filter(|(at, _)| *at + reach < now) {
            self.sum -= weight;
            self.granted.pop_front();
        }
    }
}
