//! The terms that work is carried out on: the resource's own, without what is counted elsewhere or stops nobody, and with
//! limits that are as many times longer and larger as it takes to have no more than [`CHUNKS`] windows in the work.
//!
//! A window that is k times as large and k times as long lets the same through in the long run; so does a bucket that is
//! as large as a chunk. Over the whole work the difference is one such window at most. But where several limits hold the calls
//! up by turns, it matters in what pieces the one lets through what the other counts: a sliding window counts what came together
//! for longer, and a window that ends just after the next call may begin delays each. Limits that have many windows in the work are
//! therefore lengthened together; what is left of the difference is several percent.

use super::{CHUNKS, HORIZON, lane::Lane};
use crate::{
    apply::{budget::budget_of, operations},
    counter::most,
    model::{Acquire, Anchor, Limit, LimitKind, LimitName, MAX_AMOUNT, Resource, Scope, Span},
};

/// Windows that the work has at least of a limit that is lengthened for the sake of others: so one of them is half a hundredth
/// at most.
const WINDOWS_MIN: u128 = 200;

/// The terms for these lanes, whose chunks are set so that they fit.
pub(super) fn terms(definition: &Resource, lanes: &mut [Lane]) -> Resource {
    let mut terms = definition.clone();
    terms.settle_within = Span::ZERO;
    // Nobody can tell how long a vendor fails, nor how its probes will end: it is taken to be well.
    terms.circuit_breaker = None;
    terms.limits.retain(is_carried_out);
    lengthen(&mut terms, lanes);
    let together = lanes.len() as u64;
    for lane in lanes.iter_mut() {
        let fit = terms.limits.iter().filter(|limit| !matches!(limit.kind, LimitKind::TokenBucket(_)));
        let fit =
            fit.filter_map(|limit| Some(obtainable(&terms, limit, &lane.call) / weight(limit, &lane.call)?));
        lane.chunk = fit
            .chain([lane.most_together(), (lane.calls * together).div_ceil(CHUNKS)])
            .min()
            .map_or(1, |chunk| chunk.max(1));
    }
    enlarge(&mut terms, lanes);
    terms
}

/// Makes buckets so large that each consumer's part of them holds a chunk.
fn enlarge(terms: &mut Resource, lanes: &[Lane]) {
    let capacity = |limit: &Limit| {
        let whole = limit.kind.amount();
        let needed = lanes.iter().filter_map(|lane| {
            let chunk = u128::from(weight(limit, &lane.call)? * lane.chunk);
            let part = u128::from(obtainable(terms, limit, &lane.call));
            u64::try_from((chunk * u128::from(whole)).div_ceil(part)).ok()
        });
        needed.max().unwrap_or_default().clamp(whole, MAX_AMOUNT.max(whole))
    };
    let capacities: Vec<u64> = terms.limits.iter().map(capacity).collect();
    for (limit, capacity) in terms.limits.iter_mut().zip(capacities) {
        if let LimitKind::TokenBucket(bucket) = &mut limit.kind {
            bucket.capacity = capacity;
        }
    }
}

/// What the caller can have of a limit at once while all others keep what is reserved for them.
fn obtainable(resource: &Resource, limit: &Limit, call: &Acquire) -> u64 {
    let whole = limit.kind.amount();
    let own = budget_of(resource, &call.consumer);
    let (mut left, mut ceiling) = (whole, whole);
    for (budget, share) in resource.shares_of(limit) {
        if own.is_some_and(|own| own.name == budget.name) {
            ceiling = limit.kind.percent(share.ceiling_percent);
        } else {
            left -= limit.kind.percent(share.reserve_percent).min(left);
        }
    }
    left.min(ceiling).max(1)
}

/// The first limit that never grants as much at once.
pub(super) fn too_small<'a>(definition: &'a Resource, call: &Acquire) -> Option<&'a LimitName> {
    let enforced = definition.limits.iter().filter(|limit| !limit.shadow);
    let exceeds = |limit: &&Limit| {
        let most = most(&limit.kind).map(|_| obtainable(definition, limit, call));
        most.zip(weight(limit, call)).is_some_and(|(most, weight)| weight > most)
    };
    let mut too_small = enforced.filter(exceeds);
    too_small.next().map(|limit| &limit.name)
}

/// Takes off the call what only limits count that are not carried out.
pub(super) fn strip(definition: &Resource, call: &mut Acquire) {
    call.amounts.retain(|dimension, _| {
        let mut carried_out = definition.limits.iter().filter(|limit| is_carried_out(limit));
        carried_out.any(|limit| limit.dimension.as_ref() == Some(dimension))
    });
}

fn is_carried_out(limit: &Limit) -> bool {
    !limit.shadow && limit.scope != Scope::Subject && limit.kind.concurrency().is_none()
}

/// What a call weighs on a limit; none if the limit does not apply to it.
fn weight(limit: &Limit, call: &Acquire) -> Option<u64> {
    let weight = limit.weight(call.cost, &call.amounts);
    (weight > 0 && operations::applies(&limit.operations, &call.operation)).then_some(weight)
}

fn lengthen(terms: &mut Resource, lanes: &[Lane]) {
    let factors = factors(terms, lanes);
    let windows = terms.limits.iter().zip(&factors).filter(|(limit, _)| limit.kind.is_window());
    // A call that may arrive in two windows counts in both: the part of the windows in which calls may stays the same.
    let tolerance_factor = windows.map(|(_, factor)| *factor).min().unwrap_or(1);
    let tolerance = terms.dispatch_tolerance.0;
    terms.dispatch_tolerance.0 *= tolerance_factor;
    for (limit, factor) in terms.limits.iter_mut().zip(factors) {
        // These windows are longer by the tolerance than their period.
        let beyond = tolerance * (factor - tolerance_factor.min(factor));
        match &mut limit.kind {
            LimitKind::TokenBucket(_) | LimitKind::Concurrency(_) => {}
            LimitKind::LeakyBucket(bucket) => {
                bucket.amount *= factor;
                bucket.period.0 *= factor;
            }
            LimitKind::FixedWindow(window) => {
                window.amount *= factor;
                window.period.0 *= factor;
                window.max_clock_skew.0 *= factor;
                if window.anchor == Anchor::FirstRequest {
                    window.period.0 += beyond;
                }
            }
            LimitKind::SlidingWindow(window) => {
                window.amount *= factor;
                window.period.0 = window.period.0 * factor + beyond;
            }
        }
    }
}

/// How many times longer each limit becomes: no more than it takes for itself, unless another takes more. Limits that are about
/// equally tight let as much through together as they do only if all become longer alike; a bucket does by being enlarged.
fn factors(terms: &Resource, lanes: &[Lane]) -> Vec<u64> {
    let windows: Vec<u128> = terms.limits.iter().map(|limit| windows(terms, limit, lanes)).collect();
    let needed = |windows: u128| u64::try_from(windows.div_ceil(u128::from(CHUNKS))).unwrap_or(u64::MAX);
    let limits = || terms.limits.iter().zip(&windows);
    let own = limits().map(|(limit, windows)| match limit.kind {
        LimitKind::TokenBucket(_) => needed(*windows),
        _ => needed(*windows).clamp(1, longest(&limit.kind)),
    });
    let most = u128::from(own.max().unwrap_or(1));
    let alike = |windows: u128| u64::try_from(most.min(windows / WINDOWS_MIN)).unwrap_or(u64::MAX);
    let factor = |limit: &Limit, windows| alike(windows).max(needed(windows)).clamp(1, longest(&limit.kind));
    limits().map(|(limit, windows)| factor(limit, *windows)).collect()
}

/// How many windows of the limit the work takes.
fn windows(terms: &Resource, limit: &Limit, lanes: &[Lane]) -> u128 {
    let weighs = |lane: &Lane| Some(u128::from(weight(limit, &lane.call)?) * u128::from(lane.calls));
    let work: u128 = lanes.iter().filter_map(weighs).sum();
    let part = lanes.iter().map(|lane| obtainable(terms, limit, &lane.call)).min();
    work / u128::from(part.unwrap_or(1))
}

/// How many times longer it can become at most. Days stay days; and what is longer than the horizon needs not be told apart.
fn longest(kind: &LimitKind) -> u64 {
    let period = match kind {
        LimitKind::LeakyBucket(bucket) => bucket.period,
        LimitKind::FixedWindow(window) if matches!(window.anchor, Anchor::Midnight(_)) => return 1,
        LimitKind::FixedWindow(window) => window.period,
        LimitKind::SlidingWindow(window) => window.period,
        LimitKind::TokenBucket(_) | LimitKind::Concurrency(_) => return 1,
    };
    (HORIZON.0 / period.0.max(1)).min(MAX_AMOUNT / kind.amount().max(1)).max(1)
}
