//! One rate limit's counter, whichever kind it is: pairs the state with its rules and hands both to the kind.

use minicbor::{Decode, Encode};

use super::{
    Terms,
    calendar_window::CalendarWindowCounter,
    debit::{Debit, Place},
    first_request_window::FirstRequestWindowCounter,
    kind::{Counter, Tolerant},
    leaky_bucket::LeakyBucketCounter,
    most,
    scale::saturating_u64,
    sliding_window::SlidingWindowCounter,
    token_bucket::TokenBucketCounter,
};
use crate::model::{Anchor, FixedWindow, LeakyBucket, LimitKind, SlidingWindow, Span, Stamp, TokenBucket};

/// The state of one rate limit for one scope value. Stamps must not go backwards from call to call, and the terms must be
/// those that the counter was made for or carried to.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum RateCounter {
    /// Of a token bucket.
    #[n(0)]
    TokenBucket(#[n(0)] TokenBucketCounter),
    /// Of a leaky bucket.
    #[n(1)]
    LeakyBucket(#[n(0)] LeakyBucketCounter),
    /// Of a fixed window that begins with the epoch or at midnight.
    #[n(2)]
    CalendarWindow(#[n(0)] CalendarWindowCounter),
    /// Of a fixed window that begins with the first request.
    #[n(3)]
    FirstRequestWindow(#[n(0)] FirstRequestWindowCounter),
    /// Of a sliding window.
    #[n(4)]
    SlidingWindow(#[n(0)] SlidingWindowCounter),
}

/// Evaluates the body on whichever counter it is, together with the rules of its kind.
macro_rules! with_rules {
    ($self:expr, $terms:expr, |$counter:ident, $rules:ident| $body:expr) => {
        match ($self, Rules::of($terms)) {
            (RateCounter::TokenBucket($counter), Rules::TokenBucket($rules)) => $body,
            (RateCounter::LeakyBucket($counter), Rules::LeakyBucket($rules)) => $body,
            (RateCounter::CalendarWindow($counter), Rules::CalendarWindow($rules)) => $body,
            (RateCounter::FirstRequestWindow($counter), Rules::FirstRequestWindow($rules)) => $body,
            (RateCounter::SlidingWindow($counter), Rules::SlidingWindow($rules)) => $body,
            _ => unreachable!("a limit never changes its kind, and a changed anchor goes through `carry`"),
        }
    };
}

impl RateCounter {
    /// A counter that has not been used. The kind must not be concurrency.
    pub fn fresh(terms: Terms, now: Stamp) -> RateCounter {
        match Rules::of(terms) {
            Rules::TokenBucket(rules) => RateCounter::TokenBucket(Counter::fresh(rules, now)),
            Rules::LeakyBucket(rules) => RateCounter::LeakyBucket(Counter::fresh(rules, now)),
            Rules::CalendarWindow(rules) => RateCounter::CalendarWindow(Counter::fresh(rules, now)),
            Rules::FirstRequestWindow(rules) => RateCounter::FirstRequestWindow(Counter::fresh(rules, now)),
            Rules::SlidingWindow(rules) => RateCounter::SlidingWindow(Counter::fresh(rules, now)),
            Rules::Slots => unreachable!("concurrency is counted by Slots"),
        }
    }

    /// The first moment from `from` on at which `amount` fits if nothing else changes: `from` itself when it fits now.
    /// `None` when it could never fit. A moment more than 584 years away counts as 584 years away.
    pub fn earliest(&self, terms: Terms, amount: u64, from: Stamp) -> Option<Stamp> {
        if most(terms.kind).is_some_and(|most| amount > most) {
            return None;
        }
        Some(with_rules!(self, terms, |counter, rules| counter.earliest(rules, amount, from)))
    }

    /// Counts `amount`, whether or not it fits: ask [`earliest`](Self::earliest) first.
    pub fn debit(&mut self, terms: Terms, amount: u64, now: Stamp) -> Debit {
        let place = with_rules!(self, terms, |counter, rules| counter.debit(rules, amount, now));
        Debit { amount, place }
    }

    /// The call was made and truly weighed `amount`. A surplus is given back as far as it still counts; what was missing
    /// is counted now, even into debt.
    pub fn correct(&mut self, terms: Terms, debit: &mut Debit, amount: u64, now: Stamp) {
        if amount < debit.amount {
            let surplus = debit.amount - amount;
            with_rules!(self, terms, |counter, rules| counter.give_back(rules, debit.place, surplus, now));
        } else if amount > debit.amount {
            let extra = amount - debit.amount;
            debit.place =
                with_rules!(self, terms, |counter, rules| counter.owe(rules, debit.place, extra, now));
        }
        debit.amount = amount;
    }

    /// The call was never made: gives everything back as far as it still counts. Beyond [`correct`](Self::correct) to
    /// nothing, a window that was opened by the call is known not to have opened at the vendor. At most once a debit.
    pub fn refund(&mut self, terms: Terms, debit: &mut Debit, now: Stamp) {
        self.correct(terms, debit, 0, now);
        if let RateCounter::FirstRequestWindow(counter) = self {
            counter.withdraw(debit.place);
        }
        debit.place = Place::Settled;
    }

    /// How much could be granted now; negative in debt.
    pub fn available(&self, terms: Terms, now: Stamp) -> i64 {
        let available = with_rules!(self, terms, |counter, rules| counter.available(rules, now));
        i64::try_from(available).unwrap_or(if available < 0 { i64::MIN } else { i64::MAX })
    }

    /// How much is in use: spent and not refilled, or counted in the window.
    pub fn used(&self, terms: Terms, now: Stamp) -> u64 {
        let used = with_rules!(self, terms, |counter, rules| counter.used(rules, now));
        saturating_u64(used)
    }

    /// Whether a call that was granted `then` certainly arrived in the window of now, so that what was said of it is not about an
    /// earlier one. Windows that slide, and buckets, have no such boundary.
    pub fn is_of_this_window(&self, terms: Terms, then: Stamp, now: Stamp) -> bool {
        match (self, Rules::of(terms)) {
            (Self::CalendarWindow(counter), Rules::CalendarWindow(rules)) => {
                counter.began_before(rules, then.wall, now.wall)
            }
            (Self::FirstRequestWindow(counter), Rules::FirstRequestWindow(rules)) => {
                counter.holds(rules, then.cluster, now.cluster)
            }
            _ => true,
        }
    }

    /// How long it is not worth asking a vendor that counts alike and has just said that nothing is left: until a fixed window is over;
    /// for a tenth of one that slides, since nobody knows when others used it; until a bucket holds one more.
    pub fn exhausted_for(&self, terms: Terms, now: Stamp) -> Span {
        let one_of = |amount: u64, period: Span| Span(period.0.div_ceil(amount.max(1)));
        match (self, Rules::of(terms)) {
            (Self::CalendarWindow(counter), Rules::CalendarWindow(rules)) => counter.ends_in(rules, now.wall),
            (Self::SlidingWindow(_), Rules::SlidingWindow(rules)) => Span(rules.window.period.0 / 10),
            (Self::TokenBucket(_), Rules::TokenBucket(bucket)) => {
                one_of(bucket.refill_amount, bucket.refill_period)
            }
            (Self::LeakyBucket(_), Rules::LeakyBucket(bucket)) => one_of(bucket.amount, bucket.period),
            _ => self.fresh_in(terms, now),
        }
    }

    /// How long until the counter is as good as fresh, provided that nothing is debited. Zero if and only if it cannot be
    /// told from a fresh one.
    pub fn fresh_in(&self, terms: Terms, now: Stamp) -> Span {
        with_rules!(self, terms, |counter, rules| counter.fresh_in(rules, now))
    }

    /// The same use under new terms of the same kind; the anchor of a fixed window may change too. Nothing is refilled:
    /// what was used stays used, what was left is capped to the new amount. The guarantee under the new terms holds for
    /// what is granted under them.
    pub fn carry(&self, old: Terms, new: Terms, now: Stamp) -> RateCounter {
        match (self, Rules::of(old), Rules::of(new)) {
            (Self::TokenBucket(counter), Rules::TokenBucket(old), Rules::TokenBucket(new)) => {
                Self::TokenBucket(counter.carry(old, new, now))
            }
            (Self::LeakyBucket(counter), Rules::LeakyBucket(old), Rules::LeakyBucket(new)) => {
                Self::LeakyBucket(counter.carry(old, new, now))
            }
            (Self::CalendarWindow(counter), Rules::CalendarWindow(old), Rules::CalendarWindow(new)) => {
                Self::CalendarWindow(counter.carry(old, new, now))
            }
            (Self::CalendarWindow(counter), Rules::CalendarWindow(old), Rules::FirstRequestWindow(new)) => {
                let used = counter.used(old, now);
                Self::FirstRequestWindow(FirstRequestWindowCounter::afloat(used, old.tolerance, new, now))
            }
            (
                Self::FirstRequestWindow(counter),
                Rules::FirstRequestWindow(old),
                Rules::FirstRequestWindow(new),
            ) => Self::FirstRequestWindow(counter.carry(old, new, now)),
            (
                Self::FirstRequestWindow(counter),
                Rules::FirstRequestWindow(old),
                Rules::CalendarWindow(new),
            ) => Self::CalendarWindow(CalendarWindowCounter::with_use(counter.used(old, now), new, now)),
            (Self::SlidingWindow(counter), Rules::SlidingWindow(old), Rules::SlidingWindow(new)) => {
                Self::SlidingWindow(counter.carry(old, new, now))
            }
            _ => unreachable!("a limit never changes its kind: an update that tries is refused"),
        }
    }
}

/// The terms, sorted by the counter that goes with them.
enum Rules<'a> {
    TokenBucket(&'a TokenBucket),
    LeakyBucket(&'a LeakyBucket),
    CalendarWindow(Tolerant<'a, FixedWindow>),
    FirstRequestWindow(Tolerant<'a, FixedWindow>),
    SlidingWindow(Tolerant<'a, SlidingWindow>),
    Slots,
}

impl<'a> Rules<'a> {
    fn of(terms: Terms<'a>) -> Rules<'a> {
        let tolerance = terms.dispatch_tolerance;
        match terms.kind {
            LimitKind::TokenBucket(bucket) => Rules::TokenBucket(bucket),
            LimitKind::LeakyBucket(bucket) => Rules::LeakyBucket(bucket),
            LimitKind::FixedWindow(window) => match window.anchor {
                Anchor::Epoch | Anchor::Midnight(_) => Rules::CalendarWindow(Tolerant { window, tolerance }),
                Anchor::FirstRequest => Rules::FirstRequestWindow(Tolerant { window, tolerance }),
            },
            LimitKind::SlidingWindow(window) => Rules::SlidingWindow(Tolerant { window, tolerance }),
            LimitKind::Concurrency(_) => Rules::Slots,
        }
    }
}
