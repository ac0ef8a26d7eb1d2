//! The counters behind the limits: one file a kind, integers only, time as an argument.
//!
//! Every rate counter answers the same questions ([`RateCounter`]): when does this amount fit, debit it, correct a
//! debit, how much is left, and how does the state carry over to other terms. `earliest` serves both the decision ("does
//! it fit now?" is `earliest(from) == from`) and `retry_after`, so the two can never disagree. [`Slots`] count what is
//! held instead of what was spent, and so stand beside them.
//!
//! Three rules hold for all kinds:
//!
//! * Rounding is always against the caller: waits are rounded up, what is given back is rounded down.
//! * What a debit gives back never exceeds what the counter would have had without it. A bucket that refilled since has
//!   nothing to give back, and neither has a window that passed: otherwise a refund could be spent a second time.
//! * An amount is at most [`MAX_AMOUNT`](crate::model::MAX_AMOUNT) = 10^12 and a period at most 400 days < 2^55 ns, so
//!   an amount times a period is below 2^95, and so is cluster time times an amount below 2^104: 128 bits hold sums of
//!   millions of them. Debts alone have no bound of their own; where one could pass 2^128 the sum saturates, which
//!   only makes the debt last longer.

use minicbor::{Decode, Encode};

use crate::model::{
    Anchor, ClusterTime, FixedWindow, LeakyBucket, LimitKind, SlidingWindow, Span, Stamp, TokenBucket,
};

mod calendar;
mod calendar_window;
mod dips;
mod first_request_window;
mod leaky_bucket;
mod sliding_window;
mod slots;
mod token_bucket;

use calendar_window::CalendarWindowCounter;
use first_request_window::FirstRequestWindowCounter;
use leaky_bucket::LeakyBucketCounter;
use sliding_window::SlidingWindowCounter;
use token_bucket::TokenBucketCounter;

pub use slots::{HeldBy, Slots};

/// What a counter counts against: the limit's parameters and the resource's dispatch tolerance.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The parameters.
    pub kind: &'a LimitKind,
    /// How long after its grant a call may arrive; windows count it wherever it may arrive.
    pub dispatch_tolerance: Span,
}

/// The most that a limit of this kind could ever grant at once. `None` for concurrency, where each permit takes one slot.
pub fn most(kind: &LimitKind) -> Option<u64> {
    match kind {
        LimitKind::TokenBucket(bucket) => Some(bucket.capacity),
        LimitKind::LeakyBucket(bucket) => Some(bucket.amount),
        LimitKind::FixedWindow(window) => Some(window.amount),
        LimitKind::SlidingWindow(window) => Some(window.amount),
        LimitKind::Concurrency(_) => None,
    }
}

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

/// What one permit took from one counter, so that it can be corrected later.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Debit {
    #[n(0)]
    amount: u64,
    #[n(1)]
    place: Place,
}

impl Debit {
    /// How much it weighs by now.
    pub fn amount(&self) -> u64 {
        self.amount
    }
}

/// Where a debit was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
enum Place {
    /// In a bucket, whose debits are numbered.
    #[n(0)]
    Numbered {
        #[n(0)]
        at: ClusterTime,
        #[n(1)]
        number: u64,
    },
    /// In one or two calendar windows, which are known by the wall time they begin at.
    #[n(1)]
    Calendar {
        #[n(0)]
        first: i64,
        #[n(1)]
        second: Option<i64>,
    },
    /// In the window that was opened at `window`.
    #[n(2)]
    FirstRequest {
        #[n(0)]
        window: ClusterTime,
        #[n(1)]
        at: ClusterTime,
    },
    /// In the `index`th sub-bucket, where sub-buckets are `width_ns` wide.
    #[n(3)]
    Sliding {
        #[n(0)]
        width_ns: u64,
        #[n(1)]
        index: u64,
    },
    /// Nowhere any more: it can still grow, but nothing is given back.
    #[n(4)]
    Settled,
}

/// What each kind implements, on its own parameters. Callers have checked that `amount` is at most [`most`].
trait Counter: Sized {
    type Rules<'a>: Copy;

    fn fresh(rules: Self::Rules<'_>, now: Stamp) -> Self;
    fn earliest(&self, rules: Self::Rules<'_>, amount: u64, from: Stamp) -> Stamp;
    fn debit(&mut self, rules: Self::Rules<'_>, amount: u64, now: Stamp) -> Place;
    /// Takes `surplus` off what was counted at `place`.
    fn give_back(&mut self, rules: Self::Rules<'_>, place: Place, surplus: u64, now: Stamp);
    /// Counts `extra` on top of what was counted at `place`. Returns where the whole is from now on.
    fn owe(&mut self, rules: Self::Rules<'_>, place: Place, extra: u64, now: Stamp) -> Place;
    fn available(&self, rules: Self::Rules<'_>, now: Stamp) -> i128;
    fn used(&self, rules: Self::Rules<'_>, now: Stamp) -> u128;
    fn fresh_in(&self, rules: Self::Rules<'_>, now: Stamp) -> Span;
    fn carry(&self, old: Self::Rules<'_>, new: Self::Rules<'_>, now: Stamp) -> Self;
}

/// A kind of window with the tolerance that its calls are dispatched within.
#[derive(Debug)]
struct Tolerant<'a, Window> {
    window: &'a Window,
    tolerance: Span,
}

impl<Window> Clone for Tolerant<'_, Window> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Window> Copy for Tolerant<'_, Window> {}

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
            (Self::CalendarWindow(counter), Rules::CalendarWindow(old), Rules::FirstRequestWindow(_)) => {
                Self::FirstRequestWindow(FirstRequestWindowCounter::opened(counter.used(old, now), now))
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

/// `value`, or the largest that fits.
fn saturating_u64(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

/// `amount` over a period in units of which a rate of n per period yields n each nanosecond. Below 2^95.
fn scaled(amount: u64, period: Span) -> u128 {
    u128::from(amount) * u128::from(period.as_nanos())
}
