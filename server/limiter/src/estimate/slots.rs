//! The slots of a concurrency limit, as far as the work can have them: when each comes free.
//!
//! Slots are not carried out on the copy, where each call would be a command. A call that takes as long as all others keeps
//! its slot for just that long, so all there is to know is how many slots come free when. Calls of a chunk that is larger
//! than there are slots go one after another in the same slot.

use std::collections::BTreeMap;

use crate::{
    apply::budget::budget_of,
    model::{ClusterTime, Concurrency, Label, LimitName, Scope, Span},
    state::{Counters, Gate, ResourceState},
};

/// Slots by when they are free.
pub(super) struct SlotPool {
    pub limit: LimitName,
    /// Which of the resource's limits.
    pub position: usize,
    /// Whose counter: a consumer, a key, or empty for the whole resource and for all keys together.
    pub value: Label,
    pub slots: u64,
    /// A call counts only once it has lasted for so long.
    counts_after: Span,
    free: BTreeMap<ClusterTime, u64>,
}

impl SlotPool {
    /// The slots that the consumer can have of a limit, now and as leases end. With several keys all those that are in use
    /// are one pool: calls go to whichever has room.
    pub fn new(
        state: &ResourceState,
        position: usize,
        value: Label,
        consumer: &Label,
        now: ClusterTime,
    ) -> Option<SlotPool> {
        let limit = &state.definition.limits[position];
        let concurrency = limit.kind.concurrency()?;
        let values = match limit.scope {
            Scope::Key if value.is_empty() => state.definition.keys.clone(),
            _ => vec![value.clone()],
        };
        let mut pool = SlotPool {
            limit: limit.name.clone(),
            position,
            value,
            slots: 0,
            counts_after: concurrency.counts_after,
            free: BTreeMap::new(),
        };
        for value in values {
            let key = if limit.scope == Scope::Key { &value } else { &Label::default() };
            let Some(opens) = opens(state, key, now) else { continue };
            for (when, slots) in Part::of(state, position, &value, consumer, now).when_free(concurrency, now)
            {
                *pool.free.entry(when.max(opens)).or_default() += slots;
                pool.slots += slots;
            }
        }
        Some(pool)
    }

    /// How long a slot is taken by calls that follow each other and last for so long each.
    fn taken_for(&self, call_duration: Span, in_a_row: u64) -> Span {
        let counted = Span(call_duration.0.saturating_sub(self.counts_after.0));
        Span(counted.0.saturating_mul(in_a_row))
    }

    /// The first moment from `at` on at which so many slots are free; none if there are not so many.
    pub fn earliest(&self, slots: u64, call_duration: Span, at: ClusterTime) -> Option<ClusterTime> {
        if self.taken_for(call_duration, 1).is_zero() {
            return Some(at);
        }
        let mut free = 0;
        let when = self.free.iter().find(|(_, more)| {
            free += **more;
            free >= slots
        });
        when.map(|(when, _)| at.max(*when))
    }

    /// Takes so many slots that are free at `at`.
    pub fn take(&mut self, slots: u64, call_duration: Span, in_a_row: u64, at: ClusterTime) {
        let taken_for = self.taken_for(call_duration, in_a_row);
        if taken_for.is_zero() {
            return;
        }
        let mut left = slots;
        while let Some(mut first) = self.free.first_entry().filter(|first| left > 0 && *first.key() <= at) {
            let taken = left.min(*first.get());
            *first.get_mut() -= taken;
            left -= taken;
            if *first.get() == 0 {
                first.remove();
            }
        }
        *self.free.entry(at + taken_for).or_default() += slots - left;
    }
}

/// From when on the key can be used; none if only an order changes that. What is paused as a whole is up to the limiter.
fn opens(state: &ResourceState, key: &Label, now: ClusterTime) -> Option<ClusterTime> {
    if key.is_empty() {
        return Some(now);
    }
    match state.availability.gate(key, now) {
        Gate::Open => Some(now),
        Gate::Shut { opens_in, .. } => opens_in.map(|opens_in| now + opens_in),
    }
}

/// Who holds the slots of one counter, as far as it matters to one consumer. Ends of leases, in order.
struct Part {
    all: Vec<ClusterTime>,
    /// Those of its own budget, and the most that it gets.
    own: Option<(Vec<ClusterTime>, u64)>,
    /// Those of each other budget, and what is reserved for it.
    others: Vec<(Vec<ClusterTime>, u64)>,
}

impl Part {
    fn of(state: &ResourceState, position: usize, value: &Label, consumer: &Label, now: ClusterTime) -> Part {
        let ends = |counters: &Counters| {
            let held = match counters {
                Counters::Slots(slots) => slots.get(value).map(|slots| slots.held()),
                Counters::Rate(_) => None,
            };
            let mut ends: Vec<_> = held.into_iter().flatten().map(|(_, held)| held.reclaim_at).collect();
            ends.retain(|end| *end > now);
            ends.sort_unstable();
            ends
        };
        let (definition, limit) = (&state.definition, &state.limits[position]);
        let mut part = Part { all: ends(&limit.counters), own: None, others: Vec::new() };
        let own = budget_of(definition, consumer);
        let kind = &definition.limits[position].kind;
        let shares = definition.shares_of(&definition.limits[position]).zip(&limit.shares);
        for ((budget, share), used) in shares {
            let ends = ends(&used.used);
            match own.is_some_and(|own| own.name == budget.name) {
                true => part.own = Some((ends, kind.percent(share.ceiling_percent))),
                false => part.others.push((ends, kind.percent(share.reserve_percent))),
            }
        }
        part
    }

    /// How many slots come free when. Of more holders than there are slots, those that end first make nobody room, and what
    /// is reserved for others is not to be had, whether or not they use it.
    fn when_free(&self, concurrency: &Concurrency, now: ClusterTime) -> Vec<(ClusterTime, u64)> {
        let held = |ends: &[ClusterTime], at| (ends.len() - ends.partition_point(|end| *end <= at)) as u64;
        let free = |at| {
            let kept = self.others.iter().map(|(ends, reserve)| reserve.saturating_sub(held(ends, at)));
            let left = u64::from(concurrency.slots).saturating_sub(held(&self.all, at) + kept.sum::<u64>());
            let own = self.own.as_ref().map(|(ends, ceiling)| ceiling.saturating_sub(held(ends, at)));
            own.map_or(left, |own| own.min(left))
        };
        let mut moments = vec![now];
        moments.extend_from_slice(&self.all);
        moments.dedup();
        let mut had = 0;
        let more = moments.into_iter().map(|at| {
            let more = free(at).saturating_sub(had);
            had += more;
            (at, more)
        });
        more.filter(|(_, slots)| *slots > 0).collect()
    }
}
