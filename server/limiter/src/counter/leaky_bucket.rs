//! Leaky bucket: evenly paced, no bursts.
//!
//! **Guarantee:** after a grant of c nothing is granted for `c · period / amount`.
//!
//! The virtual scheduling form of the generic cell rate algorithm (ITU-T I.371, annex A) with a burst tolerance of zero:
//! only the time is kept at which the last grant is paid for, in units of `1 / amount` ns, so that
//! `c · period / amount` needs no division and rounds nowhere. A grant at t needs `t · amount ≥ next`, and then
//! `next = t · amount + c · period`; hence two grants are at least that far apart.
//!
//! A grant can come only when all earlier ones are paid for. So only the youngest debit has anything to give back:
//! without it, `next` would be what it was before.

use minicbor::{Decode, Encode};

use super::{
    debit::Place,
    kind::Counter,
    scale::{rescale_up, saturating_u64, scaled},
};
use crate::model::{ClusterTime, LeakyBucket, Span, Stamp};

/// The state of a leaky bucket.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LeakyBucketCounter {
    /// When the next grant may come, in `1 / amount` ns of cluster time.
    #[n(0)]
    next: u128,
    /// Debits of before it were another counter's, which was dropped when it was idle.
    #[n(1)]
    born: ClusterTime,
    /// Debits so far: the number of the next.
    #[n(2)]
    debits: u64,
}

impl LeakyBucketCounter {
    /// What is still to be paid for, in amounts times the period.
    fn owed(&self, rules: &LeakyBucket, now: ClusterTime) -> u128 {
        self.next.saturating_sub(paid_by(rules, now))
    }

    fn spend(&mut self, rules: &LeakyBucket, amount: u64, now: ClusterTime) -> u64 {
        let number = self.debits;
        self.next = self.next.max(paid_by(rules, now)).saturating_add(scaled(amount, rules.period));
        self.debits += 1;
        number
    }
}

impl Counter for LeakyBucketCounter {
    type Rules<'a> = &'a LeakyBucket;

    fn fresh(_: &LeakyBucket, now: Stamp) -> Self {
        LeakyBucketCounter { next: 0, born: now.cluster, debits: 0 }
    }

    fn earliest(&self, rules: &LeakyBucket, _: u64, from: Stamp) -> Stamp {
        from.after(self.fresh_in(rules, from))
    }

    fn debit(&mut self, rules: &LeakyBucket, amount: u64, now: Stamp) -> Place {
        let number = self.spend(rules, amount, now.cluster);
        Place::Numbered { at: now.cluster, number }
    }

    fn give_back(&mut self, rules: &LeakyBucket, place: Place, surplus: u64, _: Stamp) {
        let Place::Numbered { at, number } = place else { return };
        if at >= self.born && number + 1 == self.debits {
            self.next = self.next.saturating_sub(scaled(surplus, rules.period));
        }
    }

    fn owe(&mut self, rules: &LeakyBucket, _: Place, extra: u64, now: Stamp) -> Place {
        self.spend(rules, extra, now.cluster);
        Place::Settled
    }

    /// All or nothing: while a grant is being paid for there is nothing to be had, and a debt of more than the amount
    /// shows below zero.
    fn available(&self, rules: &LeakyBucket, now: Stamp) -> i128 {
        let amount = i128::from(rules.amount);
        match self.used(rules, now) {
            0 => amount,
            used => (amount - i128::try_from(used).unwrap_or(i128::MAX)).min(0),
        }
    }

    fn used(&self, rules: &LeakyBucket, now: Stamp) -> u128 {
        self.owed(rules, now.cluster).div_ceil(u128::from(rules.period.as_nanos()))
    }

    fn fresh_in(&self, rules: &LeakyBucket, now: Stamp) -> Span {
        Span(saturating_u64(self.owed(rules, now.cluster).div_ceil(u128::from(rules.amount))))
    }

    /// Keeps the amount that is still to be paid for; from now on it is paid at the new pace.
    fn carry(&self, old: &LeakyBucket, new: &LeakyBucket, now: Stamp) -> Self {
        let owed = rescale_up(self.owed(old, now.cluster), new.period.as_nanos(), old.period.as_nanos());
        LeakyBucketCounter { next: paid_by(new, now.cluster).saturating_add(owed), ..*self }
    }
}

/// What the pace has paid for since the beginning of cluster time. Below 2^104.
fn paid_by(rules: &LeakyBucket, now: ClusterTime) -> u128 {
    u128::from(now.0) * u128::from(rules.amount)
}
