//! Live figures of budgets and consumers.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{Limiter, budget};
use crate::{
    counter::{RateCounter, Terms, following, parts_per_unit},
    model::{
        Budget, BudgetFigures, BudgetShare, BudgetUse, ConsumerFigures, ConsumerUse, Label, LimitKind, Scope,
        Span, Stamp,
    },
    state::{Counters, LimitState, ResourceState, Scoped, Share},
};

/// Consumers told of at most, those that use most first.
const MAX_CONSUMERS: usize = 1_000;

/// By consumer, what it uses of each limit, in the resource's order.
type Uses<'a> = BTreeMap<&'a Label, Vec<u64>>;

impl Limiter {
    /// Each consumer that uses anything, with what it uses of each limit.
    pub(super) fn consumers(&self, state: &ResourceState, now: Stamp) -> Vec<ConsumerFigures> {
        let mut uses = Uses::new();
        for at in 0..state.limits.len() {
            let mut add = |consumer, used: u64| {
                if used > 0 {
                    let sum = &mut uses.entry(consumer).or_insert_with(|| vec![0; state.limits.len()])[at];
                    *sum = sum.saturating_add(used);
                }
            };
            match &state.limits[at].counters {
                Counters::Rate(counters) => each_use(state, at, counters, now, &mut add),
                Counters::Slots(counters) => {
                    let held = counters.iter().flat_map(|(_, slots)| slots.held());
                    let held = held.filter(|(_, held)| now.cluster < held.reclaim_at);
                    let permits = held.filter_map(|(_, held)| self.permits.get(held.permit));
                    permits.for_each(|permit| add(&permit.consumer, 1));
                }
            }
        }
        let mut uses: Vec<_> = uses.into_iter().collect();
        uses.sort_by_key(|(_, used)| Reverse(greatest_share(state, used)));
        uses.truncate(MAX_CONSUMERS);
        uses.into_iter().map(|(consumer, used)| figures_of(state, consumer, &used)).collect()
    }
}

/// What a limit counts of each consumer, where the resource has budgets. One that counts by consumer anyway says so itself.
fn each_use<'a>(
    state: &'a ResourceState,
    at: usize,
    counters: &'a Scoped<RateCounter>,
    now: Stamp,
    add: &mut impl FnMut(&'a Label, u64),
) {
    let terms = state.terms(at);
    for ((scope_value, consumer), counter) in state.limits[at].by_consumer.iter() {
        let counter = following(Some(counter), counters.get(scope_value), terms, now);
        add(consumer, counter.used(terms, now));
    }
    if state.definition.limits[at].scope == Scope::Consumer && !state.definition.budgets.is_empty() {
        counters.iter().for_each(|(consumer, counter)| add(consumer, counter.used(terms, now)));
    }
}

/// The greatest share that is used of any limit, in millionths.
fn greatest_share(state: &ResourceState, used: &[u64]) -> Option<u128> {
    let limits = state.definition.limits.iter().zip(used);
    limits.map(|(limit, used)| u128::from(*used) * 1_000_000 / u128::from(limit.kind.amount().max(1))).max()
}

fn figures_of(state: &ResourceState, consumer: &Label, used: &[u64]) -> ConsumerFigures {
    let limits = state.definition.limits.iter().zip(used).filter(|(_, used)| **used > 0);
    ConsumerFigures {
        consumer: consumer.clone(),
        budget: budget::budget_of(&state.definition, consumer).map(|budget| budget.name.clone()),
        waiting: [0; 3],
        oldest_wait: None,
        uses: limits.map(|(limit, used)| ConsumerUse { limit: limit.name.clone(), used: *used }).collect(),
    }
}

/// Each budget with what it has; counters per limit at most `max`, those with the least left below the ceiling first.
pub(super) fn budgets(
    state: &ResourceState,
    wanted: &impl Fn(&Label) -> bool,
    max: usize,
    now: Stamp,
) -> Vec<BudgetFigures> {
    let figures = |budget: &Budget| {
        let schedule = budget.schedule.as_ref();
        let change = schedule.and_then(|schedule| schedule.next_change(now.wall));
        BudgetFigures {
            budget: budget.name.clone(),
            open: schedule.is_none_or(|schedule| schedule.is_open(now.wall)),
            changes_in: change.map(|change| Span(change.0.saturating_sub(now.wall.0).cast_unsigned())),
            uses: (0..state.limits.len()).flat_map(|at| uses(state, at, budget, wanted, max, now)).collect(),
        }
    };
    state.definition.budgets.iter().map(figures).collect()
}

fn uses(
    state: &ResourceState,
    at: usize,
    budget: &Budget,
    wanted: &impl Fn(&Label) -> bool,
    max: usize,
    now: Stamp,
) -> Vec<BudgetUse> {
    let Some(share) = state.limits[at].shares.iter().find(|share| share.budget == budget.name) else {
        return Vec::new();
    };
    let values: Vec<&Label> = match &share.used {
        Counters::Rate(counters) => counters.iter().map(|(value, _)| value).collect(),
        Counters::Slots(counters) => counters.iter().map(|(value, _)| value).collect(),
    };
    let values = values.into_iter().filter(|value| wanted(value));
    let mut uses: Vec<_> = values.map(|value| use_of(state, at, share, value, now)).collect();
    uses.sort_by_key(|figures| figures.ceiling.saturating_sub(figures.used));
    uses.truncate(max);
    uses
}

fn use_of(state: &ResourceState, at: usize, share: &Share, value: &Label, now: Stamp) -> BudgetUse {
    let limit = &state.definition.limits[at];
    let amount = |percent: fn(&BudgetShare) -> u32| {
        let mut shares = state.definition.shares_of(limit);
        let found = shares.find(|(budget, _)| budget.name == share.budget);
        found.map_or(0, |(_, share)| limit.kind.percent(percent(share)))
    };
    let (reserve_left, used) = match (&share.used, share.ceiling.concurrency()) {
        (Counters::Slots(_), Some(concurrency)) => {
            let used = share.slots(value).map_or(0, |slots| slots.counting(concurrency, now.cluster));
            (amount(|share| share.reserve_percent).saturating_sub(used), used)
        }
        _ => rate_use(state, at, share, value, now),
    };
    BudgetUse {
        limit: limit.name.clone(),
        scope_value: value.clone(),
        reserve: amount(|share| share.reserve_percent),
        reserve_left,
        ceiling: amount(|share| share.ceiling_percent),
        used,
    }
}

fn rate_use(state: &ResourceState, at: usize, share: &Share, value: &Label, now: Stamp) -> (u64, u64) {
    let LimitState { counters: Counters::Rate(counters), .. } = &state.limits[at] else { return (0, 0) };
    let Counters::Rate(used) = &share.used else { return (0, 0) };
    let dispatch_tolerance = state.definition.dispatch_tolerance;
    let whole = counters.get(value);
    let left = |reserve: &LimitKind| {
        let terms = Terms { kind: reserve, dispatch_tolerance };
        let left = following(share.covered.get(value), whole, terms, now).parts_left(terms, now);
        u64::try_from(left / parts_per_unit(reserve)).unwrap_or(0)
    };
    let terms = Terms { kind: &share.ceiling, dispatch_tolerance };
    let used = following(used.get(value), whole, terms, now).used(terms, now);
    (share.reserve.as_ref().map_or(0, left), used)
}
