//! The counters of one limit, by scope value; or by more than that.

use minicbor::{Decode, Encode};

use super::ByValue;
use crate::model::Label;

/// Counters looked at with each new one, in search of idle ones: more than one, so that sweeping outruns growth.
const SWEPT_PER_INSERTION: usize = 2;

/// Counters looked at when there is no room for a new one. A bound, because one request must not stop all others for a
/// walk over a million counters; the next request goes on where this one stopped.
const SWEPT_WHEN_FULL: usize = 256;

/// One counter for each scope value that is not idle; for a limit of the whole resource the only value is empty.
///
/// Idle counters, those that are indistinguishable from fresh ones, go when others come: a value without a counter
/// is treated as having a fresh one.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Scoped<C: Clone, K: Ord + Clone + Default = Label> {
    #[n(0)]
    counters: ByValue<K, C>,
    /// The value up to which idle counters were looked for.
    #[n(1)]
    swept: K,
}

impl<C: Clone, K: Ord + Clone + Default> Default for Scoped<C, K> {
    fn default() -> Self {
        Scoped::with(None)
    }
}

impl<C: Clone, K: Ord + Clone + Default> Scoped<C, K> {
    /// With one counter, of the empty value, or with none.
    pub(crate) fn with(counter: Option<C>) -> Self {
        let counters = counter.map(|counter| (K::default(), counter)).into_iter().collect();
        Scoped { counters, swept: K::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.counters.len()
    }

    pub(crate) fn get(&self, value: &K) -> Option<&C> {
        self.counters.get(value)
    }

    pub(crate) fn get_mut(&mut self, value: &K) -> Option<&mut C> {
        self.counters.get_mut(value)
    }

    pub(crate) fn get_or_insert(&mut self, value: &K, fresh: impl FnOnce() -> C) -> &mut C {
        self.counters.get_or_insert(value, fresh)
    }

    pub(crate) fn insert(&mut self, value: K, counter: C) {
        self.counters.insert(value, counter);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &C)> {
        self.counters.iter()
    }

    /// The same values, each with what becomes of its counter.
    pub(crate) fn map_each(&self, mut change: impl FnMut(&K, &C) -> C) -> Self {
        let counters =
            self.counters.iter().map(|(value, counter)| (value.clone(), change(value, counter))).collect();
        Scoped { counters, swept: self.swept.clone() }
    }

    /// Whether the value has a counter or there is room for one, after idle ones have gone.
    pub(crate) fn admits(&mut self, value: &K, max: u32, idle: impl Fn(&C) -> bool) -> bool {
        if self.counters.contains_key(value) {
            return true;
        }
        let max = max as usize;
        self.sweep(SWEPT_PER_INSERTION, &idle);
        if self.counters.len() >= max {
            self.sweep(SWEPT_WHEN_FULL, &idle);
        }
        self.counters.len() < max
    }

    /// Looks at the next counters, round and round, and drops those that are idle. Returns how many it looked at.
    pub(crate) fn sweep(&mut self, looks: usize, idle: impl Fn(&C) -> bool) -> usize {
        let next: Vec<_> = self
            .counters
            .iter_after(&self.swept)
            .chain(self.counters.iter().take_while(|(value, _)| **value <= self.swept))
            .take(looks)
            .map(|(value, counter)| (value.clone(), idle(counter)))
            .collect();
        let looked = next.len();
        for (value, idle) in next {
            if idle {
                self.counters.remove(&value);
            }
            self.swept = value;
        }
        looked
    }
}
