//! Shares of a limit: a part of its amount, counted by a counter of the limit's own kind beside the limit's.
//!
//! A share in percent has the limit's terms, scaled: of a token bucket the capacity *and* the refill, of a window the amount,
//! of slots their number. Rates are scaled exactly, by a longer period; amounts are rounded down.
//!
//! A *reserve* is a share that is debited only by what it covers: by as much of a debit as is left of it. What its budget
//! takes beyond it comes from the part that all share, and costs the reserve nothing. Whether a debit leaves what is reserved
//! for others is a comparison of what is left of the limit with what is left of reserves, and those of token buckets have
//! fractions; so it is made in *parts*, of which each kind has so many a unit that there are no fractions
//! ([`parts_per_unit`]). Parts of a limit are at most 2^95, those of its shares a hundred times as small: 128 bits hold the
//! sums.
//!
//! A window that begins with the first request begins with the first of *anybody*: counters of its shares follow the
//! limit's own ([`following`]) and know nothing but what was used in it.

use std::borrow::Cow;

use minicbor::{Decode, Encode};

use super::{Debit, RateCounter, Terms, debit::Place};
use crate::model::{
    Concurrency, FixedWindow, LeakyBucket, LimitKind, SlidingWindow, Span, Stamp, TokenBucket, WallTime,
    percent_of,
};

/// The period of a share's rate, in those of its limit's: a percentage of the amount in a hundred of them is exact. At most
/// 40,000 days, which 64 bits of ns hold.
const SHARE_PERIODS: u64 = 100;

/// What a reserve covered of one debit, so that it can be given back.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Covered {
    #[n(0)]
    parts: u128,
    #[n(1)]
    place: Place,
}

impl LimitKind {
    /// A share of so many percent, up to 100.
    pub(crate) fn share(&self, percent: u32) -> LimitKind {
        let rate = |amount: u64, period: Span| (amount * u64::from(percent), Span(period.0 * SHARE_PERIODS));
        match self {
            LimitKind::TokenBucket(bucket) => {
                let (refill_amount, refill_period) = rate(bucket.refill_amount, bucket.refill_period);
                let capacity = percent_of(bucket.capacity, percent);
                LimitKind::TokenBucket(TokenBucket { capacity, refill_amount, refill_period })
            }
            LimitKind::LeakyBucket(bucket) => {
                let (amount, period) = rate(bucket.amount, bucket.period);
                LimitKind::LeakyBucket(LeakyBucket { amount, period })
            }
            LimitKind::FixedWindow(window) => {
                let amount = percent_of(window.amount, percent);
                LimitKind::FixedWindow(FixedWindow { amount, ..window.clone() })
            }
            LimitKind::SlidingWindow(window) => {
                let amount = percent_of(window.amount, percent);
                LimitKind::SlidingWindow(SlidingWindow { amount, ..*window })
            }
            LimitKind::Concurrency(concurrency) => {
                // Rounded down, it is no more than the slots.
                let slots = percent_of(concurrency.slots.into(), percent) as u32;
                LimitKind::Concurrency(Concurrency { slots, ..*concurrency })
            }
        }
    }
}

impl LimitKind {
    /// These terms, but with a bucket's capacity under others: of what was used, carried to those, a larger capacity then
    /// makes no more.
    pub(crate) fn with_capacity_of(&self, other: &LimitKind) -> LimitKind {
        match (self, other) {
            (LimitKind::TokenBucket(bucket), LimitKind::TokenBucket(TokenBucket { capacity, .. })) => {
                LimitKind::TokenBucket(TokenBucket { capacity: *capacity, ..*bucket })
            }
            _ => self.clone(),
        }
    }
}

/// How many parts make one unit: as many as a bucket's refill needs to be whole in each nanosecond.
pub(crate) fn parts_per_unit(kind: &LimitKind) -> i128 {
    match kind {
        LimitKind::TokenBucket(bucket) => i128::from(bucket.refill_period.as_nanos()),
        _ => 1,
    }
}

/// How many parts of a share make one of its limit: as much longer is the period of its terms.
pub(crate) fn share_parts(kind: &LimitKind) -> i128 {
    match kind {
        LimitKind::TokenBucket(_) => SHARE_PERIODS.into(),
        _ => 1,
    }
}

/// The counter of a share (a fresh one if there is none), in the window that the limit's own counter is in.
pub(crate) fn following<'a>(
    share: Option<&'a RateCounter>,
    whole: Option<&RateCounter>,
    terms: Terms,
    now: Stamp,
) -> Cow<'a, RateCounter> {
    match (share, whole) {
        (Some(RateCounter::FirstRequestWindow(share)), Some(RateCounter::FirstRequestWindow(whole))) => {
            Cow::Owned(RateCounter::FirstRequestWindow(whole.with_use_of(share)))
        }
        (Some(RateCounter::FirstRequestWindow(_)), _) | (None, _) => {
            Cow::Owned(RateCounter::fresh(terms, now))
        }
        (Some(share), _) => Cow::Borrowed(share),
    }
}

impl RateCounter {
    /// Moves a share's counter to the window that the limit's own counter is in.
    pub(crate) fn follow(&mut self, whole: &RateCounter) {
        if let (RateCounter::FirstRequestWindow(share), RateCounter::FirstRequestWindow(whole)) =
            (self, whole)
        {
            *share = whole.with_use_of(share);
        }
    }

    /// What is left, in parts; negative in debt.
    pub(crate) fn parts_left(&self, terms: Terms, now: Stamp) -> i128 {
        match (self, terms.kind) {
            (RateCounter::TokenBucket(counter), LimitKind::TokenBucket(bucket)) => {
                counter.parts_left(bucket, now.cluster)
            }
            _ => i128::from(self.available(terms, now)),
        }
    }

    /// Debits as much of `amount` as is left.
    pub(crate) fn cover(&mut self, terms: Terms, amount: u64, now: Stamp) -> Option<Covered> {
        let wanted = i128::from(amount) * parts_per_unit(terms.kind);
        let parts = self.parts_left(terms, now).min(wanted).cast_unsigned();
        if parts.cast_signed() <= 0 {
            return None;
        }
        let place = match (&mut *self, terms.kind) {
            (RateCounter::TokenBucket(counter), LimitKind::TokenBucket(bucket)) => {
                counter.spend(bucket, parts, now.cluster)
            }
            // A part of these is a unit, and no more than the amount is covered.
            _ => self.debit(terms, parts as u64, now).place,
        };
        Some(Covered { parts, place })
    }

    /// The debit turned out to weigh `amount`: gives back what was covered beyond it, but no more than `given` parts, what
    /// the limit itself got back.
    pub(crate) fn uncover(&mut self, terms: Terms, covered: &Covered, amount: u64, given: i128, now: Stamp) {
        let kept = i128::from(amount) * parts_per_unit(terms.kind);
        let surplus = (covered.parts.cast_signed() - kept).min(given);
        if surplus <= 0 {
            return;
        }
        match (&mut *self, terms.kind) {
            (RateCounter::TokenBucket(counter), LimitKind::TokenBucket(bucket)) => {
                counter.unspend(bucket, covered.place, surplus.cast_unsigned(), now.cluster);
            }
            _ => {
                let parts = covered.parts as u64;
                let mut debit = Debit { amount: parts, place: covered.place };
                self.correct(terms, &mut debit, parts - surplus as u64, now);
            }
        }
    }

    /// When everything that a grant is counted in now is over: of calendar windows, whose ends are known.
    pub(crate) fn counts_until(&self, terms: Terms, now: Stamp) -> Option<WallTime> {
        match (self, terms.kind) {
            (RateCounter::CalendarWindow(counter), LimitKind::FixedWindow(window)) => {
                Some(counter.counts_until(window, terms.dispatch_tolerance, now.wall))
            }
            _ => None,
        }
    }
}
