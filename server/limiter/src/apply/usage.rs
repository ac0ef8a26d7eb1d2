//! Live figures, for people: read from the state as it is, at a moment that may be later than the last entry.

use super::{Limiter, budget_usage};
use crate::{
    counter::{Slots, Terms},
    model::{
        ClusterTime, CounterFigures, HeldSlot, Label, LimitFigures, ResourceName, ResourceUsage, Span, Stamp,
    },
    state::{Counters, ResourceState, Scoped},
};

impl Limiter {
    /// Live figures at `stamp`: counters per limit at most `max_scope_values` (least available first), held slots at most
    /// `max_held`. With a `scope_value`, of limits with a scope only the counter of that value.
    pub fn usage(
        &self,
        stamp: Stamp,
        name: &ResourceName,
        scope_value: Option<&Label>,
        max_scope_values: usize,
        max_held: usize,
    ) -> Option<ResourceUsage> {
        let now = self.now.max(stamp);
        let state = self.resources.get(name)?;
        let wanted =
            |value: &Label| value.is_empty() || scope_value.is_none_or(|scope_value| scope_value == value);
        let limits =
            (0..state.limits.len()).map(|at| figures(state, at, &wanted, max_scope_values, now)).collect();
        let held = (0..state.limits.len()).flat_map(|at| self.held(state, at, now.cluster));
        let settleable = state.settleable.iter().filter(|(_, ends_at)| now.cluster < **ends_at);
        Some(ResourceUsage {
            stored: state.stored(now.cluster),
            limits,
            held: held.filter(|slot| wanted(&slot.scope_value)).take(max_held).collect(),
            settleable_permits: settleable.count() as u64,
            budgets: budget_usage::budgets(state, &wanted, max_scope_values, now),
            consumers: self.consumers(state, now),
            waiting: 0,
        })
    }

    fn held<'a>(
        &'a self,
        state: &'a ResourceState,
        at: usize,
        now: ClusterTime,
    ) -> impl Iterator<Item = HeldSlot> + 'a {
        let limit = &state.definition.limits[at];
        let id = state.limits[at].id;
        let scoped = match &state.limits[at].counters {
            Counters::Slots(scoped) => Some(scoped),
            Counters::Rate(_) => None,
        };
        let slots = scoped.into_iter().flat_map(Scoped::iter);
        let held =
            slots.flat_map(|(value, slots)| slots.held().map(move |(index, held)| (value, index, held)));
        held.filter(move |(_, _, held)| now < held.reclaim_at).filter_map(move |(value, index, held)| {
            // The record of a permit lasts as long as its slots, unless younger ones that can be settled pushed it out.
            let permit = self.permits.get(held.permit)?;
            let hold = permit.holds.iter().find(|hold| (hold.limit, hold.index) == (id, index))?;
            Some(HeldSlot {
                limit: limit.name.clone(),
                scope_value: value.clone(),
                index,
                generation: held.permit.0,
                permit: held.permit,
                consumer: permit.consumer.clone(),
                subject: permit.subject.clone(),
                operation: permit.operation.clone(),
                held_for: now.since(permit.granted_at),
                lease_left: (held.reclaim_at - hold.kept_for).since(now),
            })
        })
    }
}

fn figures(
    state: &ResourceState,
    at: usize,
    wanted: &impl Fn(&Label) -> bool,
    max: usize,
    now: Stamp,
) -> LimitFigures {
    let limit = &state.definition.limits[at];
    let (terms, told) = (state.terms(at), &state.limits[at].told);
    let (counters, scope_values) = match &state.limits[at].counters {
        Counters::Rate(scoped) => {
            let wanted = scoped.iter().filter(|(value, _)| wanted(value));
            let figures = wanted.map(|(value, counter)| CounterFigures {
                scope_value: value.clone(),
                amount: limit.kind.amount(),
                used: counter.used(terms, now),
                available: counter.available(terms, now),
                full_in: counter.fresh_in(terms, now),
                used_by_others: told.by_others(value, limit.kind.turnover().unwrap_or_default(), now.cluster),
                held_for: told.held_for(value, now.cluster),
                pace: told.pace(value, now.cluster),
            });
            (least_available(figures, max), scoped.len())
        }
        Counters::Slots(scoped) => {
            let wanted = scoped.iter().filter(|(value, _)| wanted(value));
            let figures = wanted.filter_map(|(value, slots)| {
                let held_for = told.held_for(value, now.cluster);
                Some(CounterFigures { held_for, ..slot_figures(terms, value, slots, now.cluster)? })
            });
            (least_available(figures, max), scoped.len())
        }
    };
    LimitFigures { limit: limit.name.clone(), counters, scope_values: scope_values as u64 }
}

fn slot_figures(terms: Terms, value: &Label, slots: &Slots, now: ClusterTime) -> Option<CounterFigures> {
    let concurrency = terms.kind.concurrency()?;
    Some(CounterFigures {
        scope_value: value.clone(),
        amount: terms.kind.amount(),
        used: slots.counting(concurrency, now),
        available: slots.available(concurrency, now),
        full_in: slots.fresh_in(now),
        used_by_others: 0,
        held_for: Span::ZERO,
        pace: None,
    })
}

/// The `max` figures with the least available, without keeping more than twice as many at a time.
fn least_available(figures: impl Iterator<Item = CounterFigures>, max: usize) -> Vec<CounterFigures> {
    let mut least: Vec<CounterFigures> = Vec::new();
    for figure in figures {
        least.push(figure);
        if least.len() >= 2 * max.max(1) {
            sort(&mut least, max);
        }
    }
    sort(&mut least, max);
    least
}

fn sort(figures: &mut Vec<CounterFigures>, max: usize) {
    figures.sort_by(|a, b| (a.available, &a.scope_value).cmp(&(b.available, &b.scope_value)));
    figures.truncate(max);
}
