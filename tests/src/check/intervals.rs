//! S1, in real time and without the log: in no interval is more granted than the limit allows for its length.
//!
//! Only grants that lie wholly inside an interval, from the invocation to the reply, count in it; the cluster's clock may
//! run fast by the drift. Only resources that had one definition all through the run are judged, and of the limits those
//! whose guarantee needs no wall clock.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_limiter::{Command, Label, Limit, LimitKind, LimitName, Outcome, Resource, ResourceName, Span};

use super::{
    Verdict,
    terms::{Settlements, Target},
};
use crate::history::{History, Operation, Reply};

/// Beginnings of intervals that are tried for each counter, at most: each takes time in proportion to its grants.
const BEGINNINGS_MAX: usize = 1_000;

/// In any interval of `length`, or of any length where it is absent, `burst` and what flows in.
struct Guarantee {
    length: Option<Span>,
    burst: u64,
    per_period: u64,
    period: Span,
}

struct Granted<'a> {
    weight: u64,
    operation: &'a Operation<'a>,
    replied_at: Span,
}

type Counters<'a> = BTreeMap<(&'a ResourceName, &'a LimitName, Label), (&'a Limit, Vec<Granted<'a>>)>;

/// See the module.
pub fn check(history: &History, verdict: &mut Verdict) {
    let operations = history.operations();
    let definitions = sole_definitions(&operations);
    let settlements = settlements(&operations);
    for ((resource, name, value), (limit, mut grants)) in counters(&operations, &definitions, &settlements) {
        let longest = grants.iter().map(|grant| grant.weight).max().unwrap_or_default();
        let Some(guarantee) = guarantee(&limit.kind, longest, history.drift_ppm) else { continue };
        verdict.saw("S1 grants in real time", grants.len() as u64);
        grants.sort_by_key(|grant| grant.replied_at);
        if let Some((granted, allowed, inside)) = worst(&guarantee, &grants, history.drift_ppm) {
            let what =
                format!("limit {name} of {resource} {value}: {granted} granted where {allowed} may be");
            let evidence = inside.iter().map(|grant| format!("{:?}", grant.operation)).collect();
            verdict.accuse("S1", what, evidence);
        }
    }
}

/// The definitions of resources that were created once and never changed nor deleted, as far as clients asked.
pub(super) fn sole_definitions<'a>(operations: &[Operation<'a>]) -> BTreeMap<&'a ResourceName, &'a Resource> {
    let mut sole = BTreeMap::new();
    let mut changed = BTreeSet::new();
    for operation in operations {
        match &operation.call.command {
            Command::CreateResource(resource) => match sole.get(&resource.name) {
                Some(known) if *known != resource => drop(changed.insert(&resource.name)),
                _ => drop(sole.insert(&resource.name, resource)),
            },
            Command::UpdateResource(update) => drop(changed.insert(&update.resource.name)),
            Command::DeleteResource(delete) => drop(changed.insert(&delete.name)),
            _ => {}
        }
    }
    sole.retain(|name, _| !changed.contains(name));
    sole
}

/// Releases count whether or not they succeeded, unless they certainly did not.
fn settlements<'a>(operations: &[Operation<'a>]) -> Settlements<'a> {
    let mut settlements = Settlements::default();
    for operation in operations {
        let failed = matches!(operation.end, Some((_, Some(Reply::NotDone | Reply::Answer(Err(_))))));
        if let Command::Release(release) = &operation.call.command
            && !failed
        {
            settlements.release(release);
        }
    }
    settlements
}

fn counters<'a>(
    operations: &'a [Operation<'a>],
    definitions: &BTreeMap<&'a ResourceName, &'a Resource>,
    settlements: &Settlements<'a>,
) -> Counters<'a> {
    let mut counters = Counters::new();
    for operation in operations {
        let (Command::Acquire(acquire), Some((replied_at, Ok(Outcome::Granted(grant))))) =
            (&operation.call.command, operation.answer())
        else {
            continue;
        };
        let target = Target::of(acquire, grant);
        let Some(resource) = definitions.get(target.resource).filter(|_| !grant.replayed) else { continue };
        for limit in resource.limits.iter().filter(|limit| !limit.shadow) {
            let Some(value) = target.counter(limit) else { continue };
            let Some(weight) = settlements.final_weight(grant.permit, limit, target.weight(limit)) else {
                continue;
            };
            let counter = counters.entry((&resource.name, &limit.name, value));
            let (_, grants) = counter.or_insert_with(|| (limit, Vec::new()));
            grants.push(Granted { weight, operation, replied_at });
        }
    }
    counters
}

fn guarantee(kind: &LimitKind, heaviest: u64, drift_ppm: u64) -> Option<Guarantee> {
    match kind {
        LimitKind::TokenBucket(bucket) => Some(Guarantee {
            length: None,
            burst: bucket.capacity,
            per_period: bucket.refill_amount,
            period: bucket.refill_period,
        }),
        // The last of an interval is paid for after it.
        LimitKind::LeakyBucket(bucket) => Some(Guarantee {
            length: None,
            burst: heaviest,
            per_period: bucket.amount,
            period: bucket.period,
        }),
        LimitKind::SlidingWindow(window) => {
            let shortest = window.period.0 - millionths(window.period.0, drift_ppm);
            Some(Guarantee {
                length: Some(Span(shortest)),
                burst: window.amount,
                per_period: 0,
                period: window.period,
            })
        }
        LimitKind::FixedWindow(_) | LimitKind::Concurrency(_) => None,
    }
}

/// So many millionths, rounded up.
pub(super) fn millionths(span: u64, ppm: u64) -> u64 {
    u64::try_from((u128::from(span) * u128::from(ppm)).div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// An interval with more than is allowed, if there is one. `grants` are in the order of their replies.
fn worst<'g, 'a>(
    guarantee: &Guarantee,
    grants: &'g [Granted<'a>],
    drift_ppm: u64,
) -> Option<(u128, u128, Vec<&'g Granted<'a>>)> {
    let every = grants.len().div_ceil(BEGINNINGS_MAX).max(1);
    for first in grants.iter().step_by(every) {
        let from = first.operation.invoked_at;
        let mut inside = Vec::new();
        let mut granted = 0;
        for grant in grants.iter().filter(|grant| grant.operation.invoked_at >= from) {
            let elapsed = grant.replied_at.0 - from.0;
            if guarantee.length.is_some_and(|length| elapsed > length.0) {
                break;
            }
            inside.push(grant);
            granted += u128::from(grant.weight);
            let elapsed = u128::from(elapsed + millionths(elapsed, drift_ppm));
            let period = u128::from(guarantee.period.0);
            // In amounts times the period, so that nothing is rounded.
            let allowed = u128::from(guarantee.burst) * period + elapsed * u128::from(guarantee.per_period);
            if granted * period > allowed {
                return Some((granted, allowed / period, inside));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use tollgate_limiter::{CallOutcome, LeakyBucket, SlidingWindow, TokenBucket};

    use super::*;
    use crate::{check::story::*, history::Call};

    /// Grants of one, each asked for and answered at these moments.
    fn run(kind: LimitKind, grants: &[(u64, u64)]) -> Story {
        let mut story = Story::of(resource(kind));
        for (permit, (from_ms, to_ms)) in (1..).zip(grants) {
            story.seen(*from_ms, *to_ms, acquire(&permit.to_string()), granted(permit));
        }
        story
    }

    fn bucket() -> LimitKind {
        LimitKind::TokenBucket(TokenBucket {
            capacity: 1,
            refill_amount: 1,
            refill_period: Span::from_secs(1),
        })
    }

    #[test]
    fn only_grants_wholly_inside_an_interval_count() {
        run(bucket(), &[(5, 10), (20, 30)]).violates("S1", check);
        run(bucket(), &[(5, 10), (6, 1_020)]).passes(check);
        let pace = LeakyBucket { amount: 1, period: Span::from_secs(1) };
        run(LimitKind::LeakyBucket(pace), &[(5, 10), (900, 910)]).violates("S1", check);
        run(LimitKind::LeakyBucket(pace), &[(5, 10), (900, 1_010)]).passes(check);
        let window = SlidingWindow { amount: 1, period: Span::from_secs(1), resolution: 1 };
        run(LimitKind::SlidingWindow(window), &[(5, 10), (900, 910)]).violates("S1", check);
        run(LimitKind::SlidingWindow(window), &[(5, 10), (900, 1_006)]).passes(check);
    }

    #[test]
    fn what_was_not_sent_does_not_count() {
        let mut story = run(bucket(), &[(5, 10), (20, 30)]);
        story.seen(11, 12, release_as(1, CallOutcome::NotSent, None), released());
        // Nobody knows what became of this one.
        story.asked(40, Call::new(release(1)));
        story.passes(check);
    }
}
