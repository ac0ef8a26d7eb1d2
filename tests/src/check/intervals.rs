//! S1, in real time and without the log: in no interval is more granted than the limit allows for its length.
//!
//! Only grants that lie wholly inside an interval, from the invocation to the reply, count in it; the cluster's clock may
//! run fast by the drift. Only resources that had one definition all through the run are judged, and of the limits those
//! whose guarantee needs no wall clock.
//!
//! That no limit is exceeded is no wonder where none is reached: denials by the limits that are judged are counted, too.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_limiter::{
    Acquire, Command, Denial, DenialReason, Label, Limit, LimitKind, LimitName, Outcome, Resource,
    ResourceName, Span,
};

use super::{
    Verdict,
    terms::{Settlements, Target},
};
use crate::history::{History, Operation, Reply};

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

type Definitions<'a> = BTreeMap<&'a ResourceName, &'a Resource>;

type Counters<'a> = BTreeMap<(&'a ResourceName, &'a LimitName, Label), (&'a Limit, Vec<Granted<'a>>)>;

/// See the module.
pub fn check(history: &History, verdict: &mut Verdict) {
    let operations = history.operations();
    let definitions = sole_definitions(&operations);
    let settlements = settlements(&operations);
    count_denials(&operations, &definitions, verdict);
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
pub(super) fn sole_definitions<'a>(operations: &[Operation<'a>]) -> Definitions<'a> {
    let mut sole = Definitions::new();
    let mut changed = BTreeSet::new();
    for operation in operations {
        match &operation.call.command {
            Command::CreateResource(resource) => match sole.get(&resource.name) {
                Some(known) if **known != **resource => drop(changed.insert(&resource.name)),
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

fn count_denials(operations: &[Operation], definitions: &Definitions, verdict: &mut Verdict) {
    for operation in operations {
        let (Command::Acquire(acquire), Some((_, Ok(Outcome::Denied(denial))))) =
            (&operation.call.command, operation.answer())
        else {
            continue;
        };
        match exhausted(acquire, denial, definitions).map(|limit| &limit.kind) {
            Some(LimitKind::TokenBucket(_) | LimitKind::LeakyBucket(_)) => {
                verdict.saw("S1 denials by judged buckets", 1);
            }
            Some(LimitKind::SlidingWindow(_)) => verdict.saw("S1 denials by judged windows", 1),
            _ => {}
        }
    }
}

/// The limit without room that is the reason for a denial, if it has had one definition.
fn exhausted<'a>(acquire: &Acquire, denial: &Denial, definitions: &Definitions<'a>) -> Option<&'a Limit> {
    let resource = match (denial.alternative as usize).checked_sub(1) {
        None => &acquire.resource,
        Some(at) => &acquire.alternatives.get(at)?.resource,
    };
    let name = denial.limit.as_ref().filter(|_| denial.reason == DenialReason::LimitExhausted)?;
    let limits = &definitions.get(resource)?.limits;
    limits.iter().find(|limit| limit.name == *name && !limit.shadow)
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
    definitions: &Definitions<'a>,
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

/// An interval with more than is allowed, if there is one. `grants` are in the order of their replies; the worst intervals
/// begin with an invocation and end with a reply, so each of these is tried.
fn worst<'g, 'a>(
    guarantee: &Guarantee,
    grants: &'g [Granted<'a>],
    drift_ppm: u64,
) -> Option<(u128, u128, Vec<&'g Granted<'a>>)> {
    for first in grants {
        let from = first.operation.invoked_at;
        // What was answered before was asked before, too.
        let answered_later = &grants[grants.partition_point(|grant| grant.replied_at < from)..];
        let asked_later = || answered_later.iter().filter(|grant| grant.operation.invoked_at >= from);
        let mut granted = 0;
        for grant in asked_later() {
            let elapsed = grant.replied_at.0 - from.0;
            if guarantee.length.is_some_and(|length| elapsed > length.0) {
                break;
            }
            granted += u128::from(grant.weight);
            let elapsed = u128::from(elapsed + millionths(elapsed, drift_ppm));
            let period = u128::from(guarantee.period.0);
            // In amounts times the period, so that nothing is rounded.
            let allowed = u128::from(guarantee.burst) * period + elapsed * u128::from(guarantee.per_period);
            if granted * period > allowed {
                let inside = asked_later().take_while(|other| other.replied_at <= grant.replied_at);
                return Some((granted, allowed / period, inside.collect()));
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
    fn no_beginning_of_an_interval_is_left_out() {
        // A long and calm run, but for one grant that comes too soon after the one before it.
        let calm: Vec<_> = (0..2_000).map(|grant| (grant * 2_000 + 10, grant * 2_000 + 20)).collect();
        let mut grants = calm.clone();
        grants.insert(1_001, (2_000_100, 2_000_110));
        let window = SlidingWindow { amount: 1, period: Span::from_millis(900), resolution: 1 };
        for kind in [bucket(), LimitKind::SlidingWindow(window)] {
            run(kind.clone(), &calm).passes(check);
            run(kind, &grants).violates("S1", check);
        }
    }

    #[test]
    fn denials_by_limits_that_are_judged_are_counted() {
        let seen = |kind, answer| {
            let mut story = run(kind, &[]);
            story.seen(5, 10, acquire("a"), answer);
            story.put_to(check).seen.into_keys().collect::<Vec<_>>()
        };
        let window = SlidingWindow { amount: 1, period: Span::from_secs(1), resolution: 1 };
        assert_eq!(seen(bucket(), denied()), ["S1 denials by judged buckets"]);
        assert_eq!(seen(LimitKind::SlidingWindow(window), denied()), ["S1 denials by judged windows"]);
        assert_eq!(seen(slots(1).limits.remove(0).kind, denied()), [""; 0]);
        let Ok(Outcome::Denied(denial)) = denied() else { panic!("a denial is one") };
        let others_wait = Denial { reason: DenialReason::OthersWait, ..denial };
        assert_eq!(seen(bucket(), Ok(Outcome::Denied(others_wait))), [""; 0]);
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
