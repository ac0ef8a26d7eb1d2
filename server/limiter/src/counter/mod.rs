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
//!   millions of them. Debts alone have no bound of their own: they stop at 2^128, which the fastest refill repays
//!   in ten thousand million years.

use crate::model::{LimitKind, Span};

mod calendar;
mod calendar_window;
mod debit;
mod dips;
mod first_request_window;
mod kind;
mod leaky_bucket;
mod rate;
mod scale;
mod share;
mod sliding_window;
mod slots;
mod token_bucket;

pub use debit::Debit;
pub use rate::RateCounter;
pub use share::Covered;
pub(crate) use share::{following, parts_per_unit, share_parts};
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
