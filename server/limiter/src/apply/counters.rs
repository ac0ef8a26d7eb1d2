//! What the counters of all resources take together.
//!
//! Idle ones go when others come to the same limit. Where all resources have as many as they may, they go wherever they are.

use super::{Limiter, budget::Standing, request::Demand};
use crate::{
    model::{Acquire, Rejection},
    state::{MAX_COUNTER_BYTES, ResourceState},
};

/// Counters looked at in search of idle ones, or a few more, for one request: it must not stop all others.
const LOOKS: usize = 256;

/// Resources gone through in that search, most of which may have nothing to look at.
const RESOURCES_PASSED: usize = 64;

/// Bytes that all counters take, each as large as it can become. They follow from the resources, and are not encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CounterBytes(u64);

impl CounterBytes {
    pub(super) fn get(self) -> u64 {
        self.0
    }

    /// A resource took `before`, and takes `after`. Copies for estimates have less than their resource.
    pub(super) fn change(&mut self, before: u64, after: u64) {
        self.0 = (self.0 + after).saturating_sub(before);
    }

    pub(super) fn is_full(self) -> bool {
        self.0 >= MAX_COUNTER_BYTES
    }

    /// Whether there is no room for what a new definition makes of a resource.
    pub(super) fn refuses(self, before: u64, after: u64) -> bool {
        after > before && self.0 + after - before > MAX_COUNTER_BYTES
    }
}

pub(super) const TOO_MANY: Rejection = Rejection::TooManyCounters { max_bytes: MAX_COUNTER_BYTES };

impl Limiter {
    /// Sees to it that the grant can have the counters that it needs. A shadow limit that cannot goes without.
    pub(super) fn admit_counters(
        &mut self,
        acquire: &Acquire,
        demands: &mut [Demand],
    ) -> Result<(), Rejection> {
        if !self.counter_bytes.is_full() || !self.lack_counters(acquire, demands).any(|_| true) {
            return Ok(());
        }
        self.sweep_counters();
        if !self.counter_bytes.is_full() {
            return Ok(());
        }
        let lacking: Vec<_> = self.lack_counters(acquire, demands).collect();
        for (demand, is_shadow) in lacking {
            if !is_shadow {
                return Err(TOO_MANY);
            }
            demands[demand].fits = false;
        }
        Ok(())
    }

    pub(super) fn count_counter_bytes(&self) -> CounterBytes {
        CounterBytes(self.resources.iter().map(|state| state.counter_bytes()).sum())
    }

    /// The demands that would add counters, and whether those are of shadow limits.
    fn lack_counters<'a>(
        &'a self,
        acquire: &'a Acquire,
        demands: &'a [Demand],
    ) -> impl Iterator<Item = (usize, bool)> + 'a {
        let state = self.resources.get(&acquire.resource);
        state.into_iter().flat_map(move |state| {
            let own = Standing::of(&state.definition, &acquire.consumer).and_then(|standing| standing.own);
            let fitting = demands.iter().enumerate().filter(|(_, demand)| demand.fits);
            let lacking = fitting.filter(move |(_, demand)| {
                state.lacks_counter(demand.limit, &demand.scope_value, &acquire.consumer, own)
            });
            lacking.map(|(at, demand)| (at, state.definition.limits[demand.limit].shadow))
        })
    }

    /// Looks for idle counters in the next resources, round and round.
    fn sweep_counters(&mut self) {
        let mut looks = 0;
        for _ in 0..RESOURCES_PASSED {
            let next = self.resources.names_after(self.swept.as_ref()).next();
            let Some(name) = next.or_else(|| self.resources.names_after(None).next()).cloned() else {
                return;
            };
            if self.resources.get(&name).is_some_and(ResourceState::has_scoped)
                && let Some(state) = self.resources.get_mut(&name)
            {
                let before = state.counter_bytes();
                looks += state.sweep(self.now);
                self.counter_bytes.change(before, state.counter_bytes());
            }
            self.swept = Some(name);
            if looks >= LOOKS {
                return;
            }
        }
    }
}
