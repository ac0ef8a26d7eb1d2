//! What the counters of all resources take of memory, so that together they stay within what a node can hold.

use super::{Counters, LimitState, ResourceState, Scoped, Share, terms_of};
use crate::{
    counter::{RateCounter, Terms},
    model::{Budget, Label, LimitKind, Scope, Stamp},
};

/// Bytes that counters take at most, over all resources, each taken to be as large as it can become. The public API states
/// it.
pub(crate) const MAX_COUNTER_BYTES: u64 = if cfg!(test) { 16 << 20 } else { 3 << 30 };

/// What one takes beside what it holds, with its scope value and its place in a map that is half full.
const COUNTER_BYTES: u64 = 512;

/// Counters of a limit that are looked at in one search for idle ones.
const SWEPT: usize = 64;

/// What a bucket remembers of debits that follow each other without a refill in between.
const DIPS_BYTES: u64 = 2 << 10;

/// What one counter of that kind takes at most. Slots that are held are counted as leases.
fn counter_bytes(kind: &LimitKind) -> u64 {
    match kind {
        LimitKind::TokenBucket(_) => COUNTER_BYTES + DIPS_BYTES,
        LimitKind::SlidingWindow(window) => {
            let sub_buckets = u64::from(window.resolution) * 3 / 2 + 2;
            COUNTER_BYTES + 16 * sub_buckets.next_power_of_two()
        }
        _ => COUNTER_BYTES,
    }
}

impl ResourceState {
    /// What its counters take, those of budgets included.
    pub(crate) fn counter_bytes(&self) -> u64 {
        let limits = self.definition.limits.iter().zip(&self.limits);
        limits.map(|(limit, state)| counter_bytes(&limit.kind) * state.counters() as u64).sum()
    }

    /// Whether a grant to a consumer whose budget is `own` could add a counter to the limit.
    pub(crate) fn lacks_counter(
        &self,
        limit: usize,
        value: &Label,
        consumer: &Label,
        own: Option<&Budget>,
    ) -> bool {
        let LimitState { counters, shares, by_consumer, .. } = &self.limits[limit];
        let own = own.and_then(|own| shares.iter().find(|share| share.budget == own.name));
        let has_consumer = || {
            self.definition.budgets.is_empty()
                || by_consumer.get(&(value.clone(), consumer.clone())).is_some()
        };
        !counters.contains(value) || own.is_some_and(|own| !own.used.contains(value)) || !has_consumer()
    }

    /// Drops idle ones among some of its counters, those of budgets and consumers included. Returns how many it looked at.
    pub(crate) fn sweep(&mut self, now: Stamp) -> usize {
        let ResourceState { definition, limits, .. } = self;
        let limits = definition.limits.iter().zip(limits);
        limits.map(|(limit, state)| state.sweep(limit.scope, terms_of(definition, limit), now)).sum()
    }

    /// Whether any of its counters could be dropped.
    pub(crate) fn has_scoped(&self) -> bool {
        let mut limits = self.definition.limits.iter().zip(&self.limits);
        limits.any(|(limit, state)| match limit.scope {
            Scope::Resource => state.by_consumer.len() > 0,
            _ => state.counters() > 0,
        })
    }
}

impl LimitState {
    fn counters(&self) -> usize {
        let of_share = |share: &Share| share.covered.len() + share.used.len();
        self.counters.len() + self.shares.iter().map(of_share).sum::<usize>() + self.by_consumer.len()
    }

    fn sweep(&mut self, scope: Scope, terms: Terms, now: Stamp) -> usize {
        let LimitState { counters, shares, by_consumer, .. } = self;
        let mut looks = by_consumer.get_mut().map_or(0, |by_consumer| by_consumer.sweep_rates(terms, now));
        // Those of a limit of the whole resource stay.
        if scope != Scope::Resource {
            looks += counters.sweep(terms, now);
            for Share { reserve, covered, ceiling, used, .. } in shares {
                looks += used.sweep(Terms { kind: ceiling, ..terms }, now);
                let reserve = reserve.iter().map(|reserve| Terms { kind: reserve, ..terms });
                looks += reserve.map(|terms| covered.sweep_rates(terms, now)).sum::<usize>();
            }
        }
        looks
    }
}

impl Counters {
    pub(crate) fn len(&self) -> usize {
        match self {
            Counters::Rate(counters) => counters.len(),
            Counters::Slots(counters) => counters.len(),
        }
    }

    fn contains(&self, value: &Label) -> bool {
        match self {
            Counters::Rate(counters) => counters.get(value).is_some(),
            Counters::Slots(counters) => counters.get(value).is_some(),
        }
    }

    fn sweep(&mut self, terms: Terms, now: Stamp) -> usize {
        match self {
            Counters::Rate(counters) => counters.sweep_rates(terms, now),
            Counters::Slots(counters) => counters.sweep(SWEPT, |slots| slots.fresh_in(now.cluster).is_zero()),
        }
    }
}

impl<K: Ord + Clone + Default> Scoped<RateCounter, K> {
    fn sweep_rates(&mut self, terms: Terms, now: Stamp) -> usize {
        self.sweep(SWEPT, |counter| counter.fresh_in(terms, now).is_zero())
    }
}
