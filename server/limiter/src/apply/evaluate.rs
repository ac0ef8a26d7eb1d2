//! Whether a request fits in all limits that apply, or when it would.

use super::request::Demand;
use crate::{
    counter::RateCounter,
    model::{Denial, DenialReason, ExhaustedLimit, Span, Stamp},
    state::{Counters, Gate, ResourceState},
};

/// Rounds in which the limits may push the retry further. Each round ends at a moment before which nothing fits, so the
/// bound can make an answer early, never late; two or three rounds settle everything but windows that alternate.
const RETRY_ROUNDS_MAX: usize = 256;

/// Marks which demands fit now; the denial if an enforced one does not, or if the gate is not open.
pub(super) fn evaluate(
    state: &ResourceState,
    demands: &mut [Demand],
    gate: Gate,
    now: Stamp,
) -> Result<(), Denial> {
    let mut exhausted = Vec::new();
    for demand in demands.iter_mut() {
        let wait = wait(state, demand, now);
        demand.fits = wait.is_zero();
        if !demand.fits && !state.definition.limits[demand.limit].shadow {
            exhausted.push(describe(state, demand, wait, now));
        }
    }
    let binding = longest_wait(&exhausted).map(|binding| exhausted[binding].limit.clone());
    let retry_after = |opens_in| Some(retry_after(state, demands, opens_in, now));
    let (limit, retry_after, reason) = match gate {
        Gate::Open if binding.is_none() => return Ok(()),
        Gate::Open => (binding, retry_after(Span::ZERO), DenialReason::LimitExhausted),
        Gate::Paused { key, pause } => {
            (None, pause.left.and_then(retry_after), DenialReason::Paused { key, pause })
        }
        Gate::Unavailable => (None, None, DenialReason::KeyUnavailable),
    };
    Err(Denial { limit, exhausted, retry_after, reason, alternative: 0 })
}

/// How much of the limit's counter is left now.
pub(super) fn available(state: &ResourceState, demand: &Demand, now: Stamp) -> i64 {
    let terms = state.terms(demand.limit);
    match &state.limits[demand.limit].counters {
        Counters::Rate(counters) => match counters.get(&demand.scope_value) {
            Some(counter) => counter.available(terms, now),
            None => RateCounter::fresh(terms, now).available(terms, now),
        },
        Counters::Slots(counters) => match (terms.kind.concurrency(), counters.get(&demand.scope_value)) {
            (Some(concurrency), Some(slots)) => slots.available(concurrency, now.cluster),
            _ => terms.kind.amount().cast_signed(),
        },
    }
}

/// How long from `at` until one limit has room, if nothing else changes.
fn wait(state: &ResourceState, demand: &Demand, at: Stamp) -> Span {
    const NEVER: Span = Span(u64::MAX);
    let terms = state.terms(demand.limit);
    let earliest = match &state.limits[demand.limit].counters {
        Counters::Rate(counters) => match counters.get(&demand.scope_value) {
            Some(counter) => counter.earliest(terms, demand.amount, at),
            None => RateCounter::fresh(terms, at).earliest(terms, demand.amount, at),
        }
        .map(|stamp| stamp.cluster),
        Counters::Slots(counters) => match (terms.kind.concurrency(), counters.get(&demand.scope_value)) {
            (Some(concurrency), Some(slots)) => slots.earliest(concurrency, at.cluster),
            _ => Some(at.cluster),
        },
    };
    earliest.map_or(NEVER, |earliest| earliest.since(at.cluster))
}

/// The first moment, once the gate is open, at which all enforced limits have room together. The one that frees last may
/// come too late for another (a window that has closed meanwhile), so the question is put again from there until all
/// agree. Every answer is the earliest for its limit, so nothing is missed in between: the result is exact.
fn retry_after(state: &ResourceState, demands: &[Demand], opens_in: Span, now: Stamp) -> Span {
    let enforced = |demand: &&Demand| !state.definition.limits[demand.limit].shadow;
    let mut after = opens_in;
    for _ in 0..RETRY_ROUNDS_MAX {
        let at = now.after(after);
        let more =
            demands.iter().filter(enforced).map(|demand| wait(state, demand, at)).max().unwrap_or_default();
        if more.is_zero() {
            break;
        }
        after = after + more;
    }
    after
}

fn describe(state: &ResourceState, demand: &Demand, wait: Span, now: Stamp) -> ExhaustedLimit {
    let limit = &state.definition.limits[demand.limit];
    ExhaustedLimit {
        limit: limit.name.clone(),
        scope_value: demand.scope_value.clone(),
        amount: limit.kind.amount(),
        available: available(state, demand, now),
        requested: demand.amount,
        retry_after: wait,
        budget: None,
    }
}

/// The one that frees last; of several the first.
fn longest_wait(exhausted: &[ExhaustedLimit]) -> Option<usize> {
    (0..exhausted.len()).rev().max_by_key(|&index| exhausted[index].retry_after)
}
