//! Sliding window: an amount in any window of a length.
//!
//! **Guarantee:** in *any* interval of length `period`, wherever it begins, at most `amount` arrives, wherever in
//! `[grant, grant + tolerance]` calls arrive.
//!
//! Time is divided into sub-buckets of `period / resolution`, rounded up. The kth, `[k·w, (k+1)·w)`, counts what is granted
//! in it until `(k+1)·w + period + tolerance`. *Proof.* Take any interval `[x, x + period]`, and of the calls that arrive in
//! it the last one granted, at g. It arrived at g or later, so `x ≥ g − period`; every other one arrived at x or later, so
//! it was granted at `g − period − tolerance` or later, in a sub-bucket that ends after that. Hence at g all of them
//! were still counted, and the grant at g made sure that their sum is at most the amount.
//!
//! Sums are kept up as calls come; a sub-bucket that counts no more is dropped by the next debit. Memory is bounded by
//! `1.5 · resolution + 2` sub-buckets of 16 bytes, because the tolerance is less than half of the period.

use std::collections::VecDeque;

use minicbor::{Decode, Encode};

use super::{
    debit::Place,
    kind::{Counter, Tolerant},
};
use crate::model::{ClusterTime, SlidingWindow, Span, Stamp};

/// The state of a sliding window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct SlidingWindowCounter {
    /// Oldest first.
    #[n(0)]
    sub_buckets: VecDeque<SubBucket>,
    /// Over all of them.
    #[n(1)]
    sum: u128,
}

/// What was granted in `[index · width, (index + 1) · width)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
struct SubBucket {
    #[n(0)]
    index: u64,
    /// At most the amount, besides settlements: 18 million of the largest would have to meet here to saturate it.
    #[n(1)]
    used: u64,
}

type Rules<'a> = Tolerant<'a, SlidingWindow>;

impl Rules<'_> {
    fn width_ns(&self) -> u64 {
        self.window.period.as_nanos().div_ceil(u64::from(self.window.resolution))
    }

    fn index_of(&self, at: ClusterTime) -> u64 {
        at.0 / self.width_ns()
    }

    /// The moment from which a sub-bucket counts no more.
    fn counts_until(&self, index: u64) -> ClusterTime {
        let end = ClusterTime(index.saturating_add(1).saturating_mul(self.width_ns()));
        end + self.window.period + self.tolerance
    }
}

impl SlidingWindowCounter {
    fn counted(&self, rules: Rules<'_>, now: ClusterTime) -> u128 {
        let over = self.sub_buckets.iter().take_while(|sub| rules.counts_until(sub.index) <= now);
        self.sum - over.map(|sub| u128::from(sub.used)).sum::<u128>()
    }

    fn drop_passed(&mut self, rules: Rules<'_>, now: ClusterTime) {
        while let Some(oldest) = self.sub_buckets.front().filter(|sub| rules.counts_until(sub.index) <= now) {
            self.sum -= u128::from(oldest.used);
            self.sub_buckets.pop_front();
        }
    }

    /// Counts `amount` in the sub-bucket, or in the youngest if that is younger still.
    fn count(&mut self, index: u64, amount: u64) -> u64 {
        if self.sub_buckets.back().is_none_or(|youngest| youngest.index < index) {
            self.sub_buckets.push_back(SubBucket { index, used: 0 });
        }
        let youngest = self.sub_buckets.len() - 1;
        self.grow(youngest, amount);
        self.sub_buckets[youngest].index
    }

    fn grow(&mut self, position: usize, amount: u64) {
        let sub = &mut self.sub_buckets[position];
        let before = sub.used;
        sub.used = before.saturating_add(amount);
        self.sum += u128::from(sub.used - before);
    }

    fn position(&self, index: u64) -> Option<usize> {
        self.sub_buckets.binary_search_by_key(&index, |sub| sub.index).ok()
    }
}

impl Counter for SlidingWindowCounter {
    type Rules<'a> = Rules<'a>;

    fn fresh(_: Rules<'_>, _: Stamp) -> Self {
        SlidingWindowCounter::default()
    }

    fn earliest(&self, rules: Rules<'_>, amount: u64, from: Stamp) -> Stamp {
        let fits = |counted: u128| counted + u128::from(amount) <= u128::from(rules.window.amount);
        let (mut counted, mut at) = (self.sum, from.cluster);
        for sub in &self.sub_buckets {
            let until = rules.counts_until(sub.index);
            if until > at && fits(counted) {
                break;
            }
            counted -= u128::from(sub.used);
            at = at.max(until);
        }
        from.after(at.since(from.cluster))
    }

    fn debit(&mut self, rules: Rules<'_>, amount: u64, now: Stamp) -> Place {
        self.drop_passed(rules, now.cluster);
        let index = self.count(rules.index_of(now.cluster), amount);
        Place::Sliding { width_ns: rules.width_ns(), index }
    }

    fn give_back(&mut self, rules: Rules<'_>, place: Place, surplus: u64, _: Stamp) {
        let Place::Sliding { width_ns, index } = place else { return };
        // After time was divided anew nobody knows which sub-bucket holds it.
        let Some(position) = self.position(index).filter(|_| width_ns == rules.width_ns()) else { return };
        let sub = &mut self.sub_buckets[position];
        let given = sub.used.min(surplus);
        sub.used -= given;
        self.sum -= u128::from(given);
    }

    fn owe(&mut self, rules: Rules<'_>, place: Place, extra: u64, now: Stamp) -> Place {
        match place {
            Place::Sliding { width_ns, index } if width_ns == rules.width_ns() => {
                if let Some(position) = self.position(index) {
                    self.grow(position, extra);
                }
                place
            }
            _ => self.debit(rules, extra, now),
        }
    }

    fn available(&self, rules: Rules<'_>, now: Stamp) -> i128 {
        i128::from(rules.window.amount) - self.used(rules, now).cast_signed()
    }

    fn used(&self, rules: Rules<'_>, now: Stamp) -> u128 {
        self.counted(rules, now.cluster)
    }

    fn fresh_in(&self, rules: Rules<'_>, now: Stamp) -> Span {
        let youngest = self.sub_buckets.iter().rev().find(|sub| sub.used > 0);
        youngest.map_or(Span::ZERO, |sub| rules.counts_until(sub.index).since(now.cluster))
    }

    /// What is counted stays counted. If time is divided anew, it moves to the sub-bucket of the last moment at which it
    /// can have been granted.
    fn carry(&self, old: Rules<'_>, new: Rules<'_>, now: Stamp) -> Self {
        let mut counted = self.clone();
        counted.drop_passed(old, now.cluster);
        if old.width_ns() == new.width_ns() {
            return counted;
        }
        let mut carried = SlidingWindowCounter::default();
        for sub in counted.sub_buckets {
            let last = sub.index.saturating_add(1).saturating_mul(old.width_ns()) - 1;
            carried.count(new.index_of(ClusterTime(last).min(now.cluster)), sub.used);
        }
        carried
    }
}
