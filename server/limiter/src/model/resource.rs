//! A resource as its owner defines it. [`Resource::validate`] holds all rules that go beyond a single field's type.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use super::{
    Budget, CircuitBreaker, Description, Dimension, FeedbackRules, Label, LimitName, Queueing, ResourceName,
    Span, TimeZoneName,
};

/// One vendor account that is protected.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Resource {
    /// Never changes.
    #[n(0)]
    pub name: ResourceName,
    /// 1 to [`Resource::MAX_LIMITS`], names distinct. A request must fit in all that apply to it.
    #[n(1)]
    pub limits: Vec<Limit>,
    /// Names of the credentials that the vendor limits separately, distinct, not empty. Of those with the
    /// same headroom the first is taken.
    #[n(2)]
    pub keys: Vec<Label>,
    /// How long after the grant a call may arrive at the vendor; windows count it wherever it may arrive.
    #[n(3)]
    pub dispatch_tolerance: Span,
    /// How long a permit without slots is remembered for refund and settlement.
    #[n(4)]
    pub settle_within: Span,
    /// For people.
    #[n(5)]
    pub description: Description,
    /// Names distinct; a consumer belongs to the first that it matches.
    #[cbor(n(6), default)]
    pub budgets: Vec<Budget>,
    /// How requests wait.
    #[cbor(n(7), default)]
    pub queueing: Queueing,
    /// When a failing vendor is left alone.
    #[n(8)]
    pub circuit_breaker: Option<Box<CircuitBreaker>>,
    /// How what the vendor answers is heeded.
    #[cbor(n(9), default)]
    pub feedback: Box<FeedbackRules>,
    /// What calls cost that do not say it: by the first whose pattern matches the operation, else 1. At most
    /// [`Resource::MAX_OPERATION_COSTS`].
    #[cbor(n(10), default)]
    pub operation_costs: Vec<OperationCost>,
}

/// What a call of an operation costs.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct OperationCost {
    /// A pattern, as in [`Limit::operations`]; not empty.
    #[n(0)]
    pub operation: Label,
    /// 1 to [`super::MAX_AMOUNT`].
    #[n(1)]
    pub cost: u64,
}

/// One constraint of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Limit {
    /// State is carried over changes of the resource by this name.
    #[n(0)]
    pub name: LimitName,
    /// Patterns of the operations it applies to (see [`super::super::apply`]); none: all operations.
    #[n(1)]
    pub operations: Vec<Label>,
    /// What it counts: the cost, or the amounts of a dimension.
    #[n(2)]
    pub dimension: Option<Dimension>,
    /// What it has one counter for.
    #[n(3)]
    pub scope: Scope,
    /// Counters at a time, for scoped limits.
    #[n(4)]
    pub max_scope_values: u32,
    /// Evaluated and reported, never enforced.
    #[n(5)]
    pub shadow: bool,
    /// The algorithm and its parameters.
    #[n(6)]
    pub kind: LimitKind,
}

/// What a limit has one counter for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Scope {
    /// The resource.
    #[n(0)]
    Resource,
    /// Each key.
    #[n(1)]
    Key,
    /// Each consumer.
    #[n(2)]
    Consumer,
    /// Each subject.
    #[n(3)]
    Subject,
}

/// The five kinds.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum LimitKind {
    /// Bursts up to a capacity, refilled evenly.
    #[n(0)]
    TokenBucket(#[n(0)] TokenBucket),
    /// Evenly paced, no bursts.
    #[n(1)]
    LeakyBucket(#[n(0)] LeakyBucket),
    /// An amount per aligned window.
    #[n(2)]
    FixedWindow(#[n(0)] FixedWindow),
    /// An amount in any window of a length.
    #[n(3)]
    SlidingWindow(#[n(0)] SlidingWindow),
    /// Slots held under leases.
    #[n(4)]
    Concurrency(#[n(0)] Concurrency),
}

impl LimitKind {
    /// What the limit allows, as defined: capacity, amount per period or window, or slots.
    pub fn amount(&self) -> u64 {
        match self {
            LimitKind::TokenBucket(bucket) => bucket.capacity,
            LimitKind::LeakyBucket(bucket) => bucket.amount,
            LimitKind::FixedWindow(window) => window.amount,
            LimitKind::SlidingWindow(window) => window.amount,
            LimitKind::Concurrency(concurrency) => u64::from(concurrency.slots),
        }
    }

    /// As [`amount`](Self::amount), but of a token bucket what is refilled in a period: what vendors call its limit.
    pub fn amount_per_period(&self) -> u64 {
        match self {
            LimitKind::TokenBucket(bucket) => bucket.refill_amount,
            other => other.amount(),
        }
    }

    /// The same with at most so much in a period; at least 1. A bucket that saves up more than it is refilled in a period saves up
    /// less in proportion.
    pub(crate) fn at_most(&self, amount: u64) -> LimitKind {
        let amount = amount.max(1);
        let mut kind = self.clone();
        match &mut kind {
            LimitKind::TokenBucket(bucket) => {
                let refill = bucket.refill_amount.min(amount);
                let in_proportion = u128::from(bucket.capacity) * u128::from(refill);
                let in_proportion = in_proportion.div_ceil(u128::from(bucket.refill_amount.max(1)));
                // No more than the capacity, which fits.
                bucket.capacity = bucket.capacity.min(amount.max(in_proportion as u64));
                bucket.refill_amount = refill;
            }
            LimitKind::LeakyBucket(bucket) => bucket.amount = bucket.amount.min(amount),
            LimitKind::FixedWindow(window) => window.amount = window.amount.min(amount),
            LimitKind::SlidingWindow(window) => window.amount = window.amount.min(amount),
            LimitKind::Concurrency(slots) => {
                slots.slots = slots.slots.min(u32::try_from(amount).unwrap_or(u32::MAX));
            }
        }
        kind
    }

    /// In which [`amount_per_period`](Self::amount_per_period) is granted; of slots there is none.
    pub(crate) fn period(&self) -> Option<Span> {
        match self {
            LimitKind::TokenBucket(bucket) => Some(bucket.refill_period),
            LimitKind::LeakyBucket(bucket) => Some(bucket.period),
            LimitKind::FixedWindow(window) => Some(window.period),
            LimitKind::SlidingWindow(window) => Some(window.period),
            LimitKind::Concurrency(_) => None,
        }
    }

    /// How long it takes until all of [`amount`](Self::amount) can be had again; of slots nobody knows.
    pub(crate) fn turnover(&self) -> Option<Span> {
        let LimitKind::TokenBucket(TokenBucket { capacity, refill_amount, refill_period }) = self else {
            return self.period();
        };
        let nanos = u128::from(*capacity) * u128::from(refill_period.0);
        Some(Span(u64::try_from(nanos.div_ceil(u128::from(*refill_amount).max(1))).unwrap_or(u64::MAX)))
    }

    /// So many percent of [`amount`](Self::amount), rounded down.
    pub fn percent(&self, percent: u32) -> u64 {
        percent_of(self.amount(), percent)
    }

    /// The field of the public API that holds it.
    pub fn field(&self) -> &'static str {
        match self {
            LimitKind::TokenBucket(_) => "token_bucket",
            LimitKind::LeakyBucket(_) => "leaky_bucket",
            LimitKind::FixedWindow(_) => "fixed_window",
            LimitKind::SlidingWindow(_) => "sliding_window",
            LimitKind::Concurrency(_) => "concurrency",
        }
    }

    /// Whether it counts in windows, so that it matters when a call arrives.
    pub fn is_window(&self) -> bool {
        matches!(self, LimitKind::FixedWindow(_) | LimitKind::SlidingWindow(_))
    }

    /// The slots, if it is about slots.
    pub fn concurrency(&self) -> Option<&Concurrency> {
        match self {
            LimitKind::Concurrency(concurrency) => Some(concurrency),
            _ => None,
        }
    }
}

/// An amount is at most 2^64, and a percentage 100: their product fits in 128 bits, and the quotient in 64.
pub(crate) fn percent_of(amount: u64, percent: u32) -> u64 {
    (u128::from(amount) * u128::from(percent.min(100)) / 100) as u64
}

/// In any interval T it grants at most `capacity + T · refill_amount / refill_period`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TokenBucket {
    /// The most that can be saved up.
    #[n(0)]
    pub capacity: u64,
    /// Added per period, evenly.
    #[n(1)]
    pub refill_amount: u64,
    /// The period.
    #[n(2)]
    pub refill_period: Span,
}

/// Grants are at least `cost · period / amount` apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LeakyBucket {
    /// Per period.
    #[n(0)]
    pub amount: u64,
    /// The period.
    #[n(1)]
    pub period: Span,
}

/// At most `amount` in each window.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct FixedWindow {
    /// Per window.
    #[n(0)]
    pub amount: u64,
    /// The length; 24 h for midnight anchors, whose days may be 23 or 25 h long.
    #[n(1)]
    pub period: Span,
    /// Where windows begin.
    #[n(2)]
    pub anchor: Anchor,
    /// How far the cluster's wall clock and the vendor's may be apart; zero for [`Anchor::FirstRequest`].
    #[n(3)]
    pub max_clock_skew: Span,
}

/// Where fixed windows begin.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Anchor {
    /// At multiples of the period since the Unix epoch.
    #[n(0)]
    Epoch,
    /// At midnight in an IANA time zone.
    #[n(1)]
    Midnight(#[n(0)] TimeZoneName),
    /// With the first call after the last window closed.
    #[n(2)]
    FirstRequest,
}

/// At most `amount` in any window of length `period`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SlidingWindow {
    /// In any window.
    #[n(0)]
    pub amount: u64,
    /// The length.
    #[n(1)]
    pub period: Span,
    /// Sub-buckets of the period.
    #[n(2)]
    pub resolution: u32,
}

/// At most `slots` held at any instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Concurrency {
    /// How many.
    #[n(0)]
    pub slots: u32,
    /// The lease of who asks for none.
    #[n(1)]
    pub lease_default: Span,
    /// The longest lease.
    #[n(2)]
    pub lease_max: Span,
    /// How long a slot is kept after its lease ran out, for holders whose clock runs slow.
    #[n(3)]
    pub grace: Span,
    /// A held slot counts only once it was held for this long.
    #[n(4)]
    pub counts_after: Span,
    /// How much longer an expired (not a released) slot is kept, because its call may still run.
    #[n(5)]
    pub quarantine: Span,
}

impl Limit {
    /// What a call weighs here: one slot, its cost, or its amount of the limit's dimension. 0: the limit does not apply.
    pub fn weight(&self, cost: u64, amounts: &BTreeMap<Dimension, u64>) -> u64 {
        match (&self.kind, &self.dimension) {
            (LimitKind::Concurrency(_), _) => 1,
            (_, None) => cost,
            (_, Some(dimension)) => amounts.get(dimension).copied().unwrap_or(0),
        }
    }
}

/// One rule of [`Resource::validate`] that does not hold: which field, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Encode, Decode)]
#[error("{field}: {problem}")]
pub struct Violation {
    /// The path in the public API, such as `limits[2].token_bucket.capacity`.
    #[n(0)]
    pub field: String,
    /// What is wrong, and what is allowed.
    #[n(1)]
    pub problem: String,
}

impl Violation {
    /// Of that field.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Violation {
        Violation { field: field.into(), problem: problem.into() }
    }
}
