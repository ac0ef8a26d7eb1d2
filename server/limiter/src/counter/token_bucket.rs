//! Token bucket: bursts up to a capacity, refilled evenly.
//!
//! **Guarantee:** in any interval T it grants at most `capacity + T · refill_amount / refill_period`.
//!
//! What is kept is not the level but what is missing from it, in units of which one token is `refill_period` (in ns) and
//! each nanosecond refills `refill_amount`: no division, so no rounding, ever. A grant of c needs
//! `spent + c · P ≤ capacity · P`.
//!
//! *Proof.* Let c₁…cₙ be granted at t₁ ≤ … ≤ tₙ. Between grants `spent` falls by at most `refill_amount` a nanosecond
//! and never below zero, so just after the last grant `spent ≥ Σ cᵢ · P − (tₙ − t₁) · refill_amount`; and it is at most
//! `capacity · P`, because the last grant was let through. What is given back never takes `spent` below what it would
//! be without that debit (see `dips.rs`), so the same holds of the grants that remain.

use minicbor::{Decode, Encode};

use super::{
    debit::Place,
    dips::Dips,
    kind::Counter,
    scale::{div_floor, rescale_down, rescale_up, saturating_u64, scaled},
};
use crate::model::{ClusterTime, Span, Stamp, TokenBucket};

/// The state of a token bucket.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TokenBucketCounter {
    /// Missing from the capacity at `at`; above the capacity when in debt.
    #[n(0)]
    spent: u128,
    #[n(1)]
    at: ClusterTime,
    /// Debits of before it were another counter's, which was dropped when it was full.
    #[n(2)]
    born: ClusterTime,
    /// Debits so far: the number of the next.
    #[n(3)]
    debits: u64,
    #[n(4)]
    dips: Dips,
}

impl TokenBucketCounter {
    fn spent_at(&self, rules: &TokenBucket, now: ClusterTime) -> u128 {
        let elapsed = u128::from(now.since(self.at).as_nanos());
        self.spent.saturating_sub(elapsed * u128::from(rules.refill_amount))
    }

    /// What is left, in parts: units of which one token is the refill period (in ns). Negative in debt.
    pub(super) fn parts_left(&self, rules: &TokenBucket, now: ClusterTime) -> i128 {
        let capacity = scaled(rules.capacity, rules.refill_period).cast_signed();
        capacity - i128::try_from(self.spent_at(rules, now)).unwrap_or(i128::MAX)
    }

    /// Spends so many parts.
    pub(super) fn spend(&mut self, rules: &TokenBucket, parts: u128, now: ClusterTime) -> Place {
        let number = self.debits;
        let spent = self.spent_at(rules, now);
        self.dips.record(number, spent);
        self.spent = spent.saturating_add(parts);
        self.at = now;
        self.debits += 1;
        Place::Numbered { at: now, number }
    }

    /// Takes so many parts off what was spent, as far as they were not refilled since.
    pub(super) fn unspend(&mut self, rules: &TokenBucket, place: Place, parts: u128, now: ClusterTime) {
        let Place::Numbered { at, number } = place else { return };
        if at < self.born {
            return;
        }
        let given = self.dips.give_back(number, parts);
        self.spent = self.spent_at(rules, now).saturating_sub(given);
        self.at = now;
    }
}

impl Counter for TokenBucketCounter {
    type Rules<'a> = &'a TokenBucket;

    fn fresh(_: &TokenBucket, now: Stamp) -> Self {
        TokenBucketCounter { spent: 0, at: now.cluster, born: now.cluster, debits: 0, dips: Dips::default() }
    }

    fn earliest(&self, rules: &TokenBucket, amount: u64, from: Stamp) -> Stamp {
        let room = scaled(rules.capacity - amount, rules.refill_period);
        let excess = self.spent_at(rules, from.cluster).saturating_sub(room);
        if excess == 0 {
            return from;
        }
        from.after(refill_time(rules, excess))
    }

    fn debit(&mut self, rules: &TokenBucket, amount: u64, now: Stamp) -> Place {
        self.spend(rules, scaled(amount, rules.refill_period), now.cluster)
    }

    fn give_back(&mut self, rules: &TokenBucket, place: Place, surplus: u64, now: Stamp) {
        self.unspend(rules, place, scaled(surplus, rules.refill_period), now.cluster);
    }

    fn owe(&mut self, rules: &TokenBucket, _: Place, extra: u64, now: Stamp) -> Place {
        self.spend(rules, scaled(extra, rules.refill_period), now.cluster);
        Place::Settled
    }

    fn available(&self, rules: &TokenBucket, now: Stamp) -> i128 {
        div_floor(self.parts_left(rules, now.cluster), rules.refill_period.as_nanos())
    }

    fn used(&self, rules: &TokenBucket, now: Stamp) -> u128 {
        self.spent_at(rules, now.cluster).div_ceil(u128::from(rules.refill_period.as_nanos()))
    }

    fn fresh_in(&self, rules: &TokenBucket, now: Stamp) -> Span {
        refill_time(rules, self.spent_at(rules, now.cluster))
    }

    /// Keeps what is left, at most the new capacity: of a larger capacity the difference counts as spent.
    fn carry(&self, old: &TokenBucket, new: &TokenBucket, now: Stamp) -> Self {
        let (old_period, new_period) = (old.refill_period.as_nanos(), new.refill_period.as_nanos());
        let before = self.spent_at(old, now.cluster);
        let spent = rescale_up(before, new_period, old_period)
            .saturating_add(scaled(new.capacity, new.refill_period))
            .saturating_sub(scaled(old.capacity, new.refill_period));
        let mut dips = self.dips.rescaled(|spent| rescale_down(spent, new_period, old_period));
        dips.record(self.debits, spent.min(rescale_down(before, new_period, old_period)));
        TokenBucketCounter { spent, at: now.cluster, dips, ..*self }
    }
}

/// How long it takes to refill `spent`, rounded up.
fn refill_time(rules: &TokenBucket, spent: u128) -> Span {
    Span(saturating_u64(spent.div_ceil(u128::from(rules.refill_amount))))
}
