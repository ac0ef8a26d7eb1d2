//! A rate that rises evenly to the full one, and is over when it is there.
//!
//! It serves two ends. After a pause it is the *ramp*: whoever waited comes back one by one instead of all at once; of a key, or of
//! one limit that was held (`told.rs`). After refusals it is the *pace*: it begins at half of what it was and rises slowly, so that the fleet finds the rate that the
//! vendor really allows (additive increase, multiplicative decrease; Chiu and Jain, 1989, "Analysis of the increase and
//! decrease algorithms for congestion avoidance in computer networks").
//!
//! A rate that rises from r to f within D has allowed N(t) = t · (r + (f − r) · t / 2D) by the time t. A request goes when
//! what went before it was allowed, whatever it costs itself: one that is large is not kept out for ever, those after it wait
//! longer. What was allowed and not used is kept for a second, so that a quiet hour is not followed by a burst.
//!
//! Rates are millionths of a unit a second, amounts are millionths of a unit. Rates are below 2^64 and times below 2^47 ns
//! (a day): products fit in 128 bits.

use minicbor::{Decode, Encode};

use crate::model::{ClusterTime, NANOS_PER_SECOND, PaceCause, PaceStatus, Span};

/// Millionths.
pub(crate) const MICROS: u64 = 1_000_000;

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Pace {
    #[n(0)]
    began: ClusterTime,
    #[n(1)]
    from: u64,
    #[n(2)]
    full: u64,
    /// From the one to the other.
    #[n(3)]
    lasts: Span,
    /// What was granted, and what was allowed and is lost.
    #[n(4)]
    spent: u128,
    /// For people. `None`: it began before this was kept.
    #[n(5)]
    cause: Option<PaceCause>,
}

impl Pace {
    /// Begins at a moment, which may be yet to come.
    pub(crate) fn rising(began: ClusterTime, from: u64, full: u64, lasts: Span) -> Pace {
        Pace { began, from: from.min(full), full, lasts, spent: 0, cause: None }
    }

    pub(crate) fn because(self, cause: PaceCause) -> Pace {
        Pace { cause: Some(cause), ..self }
    }

    /// Rises on from where it is now, but not before `until`; one that begins later anyway stays as it is. What it has let go
    /// beyond its rate is made up for meanwhile, as far as that goes.
    pub(crate) fn postpone(&mut self, until: ClusterTime, now: ClusterTime) {
        if self.began < until {
            let lasts = Span(self.lasts.0 - self.time(now));
            let spent = self.debt(until);
            let cause = self.cause;
            *self = Pace { spent, cause, ..Pace::rising(until, self.rate(now), self.full, lasts) };
        }
    }

    /// This one instead of one that is in force: it begins and ends no sooner, and what that has let go beyond its rate is still
    /// to be made up for.
    pub(crate) fn no_sooner_than(self, before: &Pace, now: ClusterTime) -> Pace {
        let began = self.began.max(before.began);
        let lasts = self.lasts.max(before.ends_at().since(began));
        let (spent, cause) = (before.debt(now), self.cause);
        Pace { spent, cause, ..Pace::rising(began, self.from, self.full, lasts) }
    }

    pub(crate) fn full_rate(&self) -> u64 {
        self.full
    }

    /// Whether it slows nothing down any more.
    pub(crate) fn is_over(&self, now: ClusterTime) -> bool {
        self.ends_at() <= now
    }

    /// From then on it slows nothing down any more.
    pub(crate) fn ends_at(&self) -> ClusterTime {
        self.began + self.lasts
    }

    /// The rate of this moment.
    pub(crate) fn rate(&self, now: ClusterTime) -> u64 {
        let gain =
            u128::from(self.full - self.from) * u128::from(self.time(now)) / u128::from(self.lasts.0.max(1));
        // No more than the difference, which fits.
        self.from + gain as u64
    }

    /// How long until the next request can go, exactly.
    pub(crate) fn wait(&self, now: ClusterTime) -> Span {
        let is_allowed = |at: ClusterTime| self.is_over(at) || self.allowed(at) >= self.spent;
        if is_allowed(now) {
            return Span::ZERO;
        }
        // Once allowed, it stays so: the first such moment is found by halving, and lies no later than the end.
        let (mut before, mut by) = (now.0, self.ends_at().0);
        while by - before > 1 {
            let middle = before + (by - before) / 2;
            match is_allowed(ClusterTime(middle)) {
                true => by = middle,
                false => before = middle,
            }
        }
        ClusterTime(by).since(now)
    }

    /// A request went.
    pub(crate) fn spend(&mut self, cost: u64, now: ClusterTime) {
        let kept = u128::from(self.rate(now));
        let lost = self.allowed(now).saturating_sub(kept);
        self.spent = self.spent.max(lost) + u128::from(cost) * u128::from(MICROS);
    }

    pub(crate) fn status(&self, now: ClusterTime) -> Option<PaceStatus> {
        (!self.is_over(now)).then(|| PaceStatus {
            rate: self.rate(now),
            full_rate: self.full,
            full_in: self.ends_at().since(now),
            next_in: self.wait(now),
            cause: self.cause,
        })
    }

    /// What went beyond what is allowed by that moment.
    fn debt(&self, at: ClusterTime) -> u128 {
        if self.is_over(at) { 0 } else { self.spent.saturating_sub(self.allowed(at)) }
    }

    /// What was allowed since the beginning.
    fn allowed(&self, now: ClusterTime) -> u128 {
        let average = u128::from(self.from) + u128::from(self.rate(now) - self.from) / 2;
        average * u128::from(self.time(now)) / u128::from(NANOS_PER_SECOND)
    }

    fn time(&self, now: ClusterTime) -> u64 {
        now.since(self.began).min(self.lasts).0
    }
}

/// What is granted, by the ten seconds: the rate that is halved when the vendor refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Throughput {
    /// Which ten seconds, counted from the birth of the cluster.
    #[n(0)]
    number: u64,
    #[n(1)]
    granted: u64,
    /// In those before.
    #[n(2)]
    before: u64,
}

impl Throughput {
    const SECONDS: u64 = 10;

    pub(crate) fn count(&mut self, cost: u64, now: ClusterTime) {
        *self = self.at(now);
        self.granted = self.granted.saturating_add(cost);
    }

    /// The higher of the last two rates; zero if nothing was granted.
    pub(crate) fn rate(self, now: ClusterTime) -> u64 {
        let this = self.at(now);
        this.granted.max(this.before).saturating_mul(MICROS) / Self::SECONDS
    }

    fn at(self, now: ClusterTime) -> Throughput {
        let number = now.0 / (Self::SECONDS * NANOS_PER_SECOND);
        match number - self.number.min(number) {
            0 => self,
            1 => Throughput { number, granted: 0, before: self.granted },
            _ => Throughput { number, ..Throughput::default() },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_more_goes_than_the_rate_allows_and_no_later(
            (full, percent) in (1u64..2_000_000_000, 1u64..=100),
            lasts in 1u64..100_000_000_000,
            calls in prop::collection::vec((0u64..3_000_000_000, 1u64..50), 1..30),
        ) {
            let began = ClusterTime(7);
            let from = (full * percent / 100).max(1);
            let mut pace = Pace::rising(began, from, full, Span(lasts));
            let (mut now, mut granted, mut last) = (began, 0u128, 0u128);
            for (after, cost) in calls {
                now = now + Span(after);
                let wait = pace.wait(now);
                if !wait.is_zero() {
                    prop_assert!(!pace.wait(now + Span(wait.0 - 1)).is_zero(), "too late");
                    now = now + wait;
                }
                prop_assert!(pace.wait(now).is_zero());
                if pace.is_over(now) {
                    break;
                }
                // The trapezoid under the rate, with all that it is divided by on the other side.
                let t = u128::from(now.since(began).0);
                let (from, full, lasts) = (u128::from(from), u128::from(full), u128::from(lasts));
                let allowed = (2 * from * lasts + (full - from) * t) * t;
                prop_assert!((granted - last) * 2 * lasts * 1_000_000_000 <= allowed, "{granted}");
                last = u128::from(cost) * u128::from(MICROS);
                pace.spend(cost, now);
                granted += last;
            }
        }

        #[test]
        fn the_extremes_do_not_overflow(
            from: u64, full: u64, lasts: u64, spent in 0u64..u64::MAX, at: u64, until: u64,
        ) {
            let mut pace = Pace::rising(ClusterTime(at / 2), from, full, Span(lasts));
            pace.spend(spent, ClusterTime(at));
            let wait = pace.wait(ClusterTime(at));
            prop_assert!(ClusterTime(at) + wait <= ClusterTime(at).max(ClusterTime(at / 2) + Span(lasts)));
            pace.postpone(ClusterTime(until), ClusterTime(at));
            prop_assert!(pace.rate(ClusterTime(at)) <= full);
        }
    }

    #[test]
    fn a_pace_from_before_its_cause_was_kept_is_read() {
        let pace = Pace::rising(ClusterTime(7), 1, 2, Span(3));
        let before = minicbor::to_vec((ClusterTime(7), 1u64, 2u64, Span(3), 0u128)).unwrap();
        assert_eq!(minicbor::decode::<Pace>(&before).unwrap(), pace);
        let known = pace.because(PaceCause::Outage);
        assert_eq!(minicbor::decode::<Pace>(&minicbor::to_vec(&known).unwrap()).unwrap(), known);
    }

    #[test]
    fn what_was_not_used_is_kept_for_a_second() {
        let mut pace = Pace::rising(ClusterTime(0), 10 * MICROS, 10 * MICROS, Span::from_secs(100));
        let now = ClusterTime(50 * NANOS_PER_SECOND);
        let mut gone = 0;
        while pace.wait(now).is_zero() {
            pace.spend(1, now);
            gone += 1;
        }
        // Ten of the last second, and the one that finds nothing spent beyond.
        assert_eq!(gone, 11);
    }
}
