//! What the next commands need of memory, asked for together.
//!
//! Of many resources each command is for another one, of which nothing is in the processor's caches: it would wait for its bucket,
//! then for its state, then for the definition and the counters. A processor waits for many reads at a time, as long as none
//! depends on another. So before some commands are carried out, one after the other, what they will read is read step by step
//! for all of them. Nothing is done with it.

use std::{hint::black_box, mem::discriminant};

use super::{Counters, Place, ResourceState, Resources};
use crate::model::{Label, ResourceName};

/// Commands at a time: enough to wait together, few enough that what was read for them is still there when they come.
pub(crate) const AHEAD: usize = 64;

/// As many resources as stay in the caches by themselves, so that to read them beforehand would only take time.
const CACHED: usize = if cfg!(test) { 8 } else { 512 };

impl Resources {
    /// Reads what commands will read of these resources.
    pub(crate) fn fetch<'a>(&self, names: impl Iterator<Item = &'a ResourceName>) {
        if self.len() <= CACHED {
            return;
        }
        let mut places = [Place::default(); AHEAD];
        let mut found = 0;
        for (place, near) in places.iter_mut().zip(names.filter_map(|name| self.near(name))) {
            *place = near;
            found += 1;
        }
        let states = || places[..found].iter().map(|place| self.at(*place));
        states().for_each(ResourceState::read_own);
        states().for_each(ResourceState::read_parts);
        states().for_each(ResourceState::read_names);
    }
}

impl ResourceState {
    fn read_own(&self) {
        black_box((self.generation, self.spoken_after, self.limits.len()));
        for limit in &self.limits {
            black_box((limit.id, limit.shares.len()));
        }
    }

    fn read_parts(&self) {
        let definition = &self.definition;
        black_box((definition.settle_within, definition.keys.len(), definition.operation_costs.len()));
        let whole = Label::default();
        black_box(self.conditions.is_paced(&whole));
        for limit in &self.limits {
            if let Counters::Rate(counters) = &limit.counters {
                black_box(counters.get(&whole).map(discriminant));
            }
        }
    }

    fn read_names(&self) {
        let first = |name: &str| black_box(name.as_bytes().first().copied());
        first(self.definition.name.as_str());
        for limit in &self.definition.limits {
            black_box((limit.shadow, limit.kind.amount()));
            first(limit.name.as_str());
        }
    }
}
