//! Whether a request fits in all limits that apply, or when it would.

use super::{budget::Standing, request::Demand};
use crate::{
    counter::RateCounter,
    model::{BudgetCause, Denial, DenialReason, ExhaustedLimit, Label, Span, Stamp},
    state::{Counters, Gate, ResourceState},
};

/// Rounds in which the limits may push the retry further. Each round ends at a moment before which nothing fits, so the
/// bound can make an answer early, never late; two or three rounds settle everything but windows that alternate.
const RETRY_ROUNDS_MAX: usize = 256;

/// More than a limit ever has: it was tightened, until an operator says otherwise.
const NEVER: Span = Span::MAX;

/// Marks which demands fit now; the denial if an enforced one does not, if the consumer's budget is closed, or if the gate is
/// not open.
pub(super) fn evaluate(
    state: &ResourceState,
    demands: &mut [Demand],
    standing: Option<&Standing>,
    gate: Gate,
    now: Stamp,
) -> Result<(), Denial> {
    let closed = standing.map(|standing| standing.opens_in(now)).filter(|opens_in| !opens_in.is_zero());
    let mut exhausted = Vec::new();
    for demand in demands.iter_mut() {
        let room_in = wait(state, demand, now);
        let budget = standing.and_then(|standing| standing.wait(state, demand, now));
        demand.fits = room_in.is_zero() && budget.is_none();
        let budget = match closed {
            Some(opens_in) => {
                let allowed_in = budget.map_or(Span::ZERO, |(allowed_in, _)| allowed_in);
                Some((opens_in.max(allowed_in), BudgetCause::Schedule))
            }
            None => budget,
        };
        if (!demand.fits || budget.is_some()) && !state.definition.limits[demand.limit].shadow {
            exhausted.push(describe(state, demand, (room_in, budget), now));
        }
    }
    let binding = longest_wait(&exhausted).map(|binding| &exhausted[binding]);
    let by_budget = closed.is_some() || binding.is_some_and(|binding| binding.budget.is_some());
    let limit = binding.map(|binding| binding.limit.clone());
    let retry_after =
        |opens_in| Some(retry_after(state, demands, standing, opens_in, now)).filter(|wait| *wait < NEVER);
    let (limit, retry_after, reason) = match gate {
        Gate::Open if limit.is_none() && !by_budget => return Ok(()),
        Gate::Open if by_budget => {
            let budget = standing.and_then(|standing| standing.own).map(|budget| budget.name.clone());
            (limit, retry_after(Span::ZERO), DenialReason::BudgetExhausted { budget })
        }
        Gate::Open => (limit, retry_after(Span::ZERO), reason(state, binding, now)),
        Gate::Shut { reason, opens_in } => (None, opens_in.and_then(retry_after), reason),
    };
    Err(Denial { limit, exhausted, retry_after, reason, alternative: 0 })
}

/// Whether the limit that binds comes back from being held, or has no room.
fn reason(state: &ResourceState, binding: Option<&ExhaustedLimit>, now: Stamp) -> DenialReason {
    let paced = binding.and_then(|binding| {
        let mut limits = state.definition.limits.iter().zip(&state.limits);
        let (_, limit) = limits.find(|(limit, _)| limit.name == binding.limit)?;
        let pace = limit.told.pace(&binding.scope_value, now.cluster)?;
        (pace.next_in == binding.retry_after).then(|| Box::new(pace))
    });
    let of_no_key = |pace| DenialReason::Paced { key: Label::default(), pace };
    paced.map_or(DenialReason::LimitExhausted, of_no_key)
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
    let terms = state.terms(demand.limit);
    let held = state.limits[demand.limit].told.wait(&demand.scope_value, at.cluster);
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
    earliest.map_or(NEVER, |earliest| earliest.since(at.cluster)).max(held)
}

/// The first moment, once the gate and the consumer's budget are open, at which all enforced limits have room together, and
/// budgets let it be taken. The one that frees last may come too late for another (a window that has closed meanwhile, hours
/// that are over), so the question is put again from there until all agree. Every answer of a limit is the earliest, so
/// nothing is missed in between and the result is exact; what budgets answer may be early.
fn retry_after(
    state: &ResourceState,
    demands: &[Demand],
    standing: Option<&Standing>,
    opens_in: Span,
    now: Stamp,
) -> Span {
    let enforced = |demand: &&Demand| !state.definition.limits[demand.limit].shadow;
    let mut after = opens_in;
    for _ in 0..RETRY_ROUNDS_MAX {
        let at = now.after(after);
        let room_in = demands.iter().filter(enforced).map(|demand| wait(state, demand, at)).max();
        let allowed_in = standing.map(|standing| {
            let budgets =
                demands.iter().filter(enforced).filter_map(|demand| standing.wait(state, demand, at));
            budgets.map(|(wait, _)| wait).fold(standing.opens_in(at), Span::max)
        });
        let more = room_in.max(allowed_in).unwrap_or_default();
        if more.is_zero() {
            break;
        }
        after = after + more;
        if after == NEVER {
            break;
        }
    }
    after
}

/// With how long it is until the limit has room, and until budgets let it be taken.
fn describe(
    state: &ResourceState,
    demand: &Demand,
    (room_in, budget): (Span, Option<(Span, BudgetCause)>),
    now: Stamp,
) -> ExhaustedLimit {
    let limit = &state.definition.limits[demand.limit];
    let (allowed_in, cause) = budget.unzip();
    ExhaustedLimit {
        limit: limit.name.clone(),
        scope_value: demand.scope_value.clone(),
        amount: limit.kind.amount(),
        available: available(state, demand, now),
        requested: demand.amount,
        retry_after: room_in.max(allowed_in.unwrap_or_default()),
        budget: cause.filter(|cause| room_in.is_zero() || *cause == BudgetCause::Schedule),
    }
}

/// The one that frees last; of several the first.
fn longest_wait(exhausted: &[ExhaustedLimit]) -> Option<usize> {
    (0..exhausted.len()).rev().max_by_key(|&index| exhausted[index].retry_after)
}
