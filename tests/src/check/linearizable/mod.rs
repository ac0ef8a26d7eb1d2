//! S7 without the log: there is an order of all operations, each at some moment between its invocation and its reply,
//! that explains every answer by a plain model of one resource with slots.
//!
//! Judged are resources with one plain limit on slots and one definition. A lease ends, or does not, at any moment after
//! the one that its holder reckons with. What was answered `Unknown`, or whose client was gone, may have been done at any
//! moment after its invocation, or never; and a grant that reached nobody may be given back. Denials are not judged here: they skip the log, so a
//! leader that does not know yet that it was deposed may give one that is out of date.

mod search;

use std::collections::{BTreeMap, BTreeSet};

use tollgate_limiter::{Command, Grant, Outcome, PermitId, Rejection, RequestId, ResourceName, Span};

use self::search::{Effect, Interval, Search};
use super::{
    Verdict,
    intervals::{millionths, sole_definitions},
    occupancy::sole_slots,
    terms::Target,
};
use crate::history::{History, Operation, Reply};

/// See the module.
pub fn check(history: &History, verdict: &mut Verdict) {
    let operations = history.operations();
    for (name, resource) in sole_definitions(&operations) {
        let Some((_, terms)) = sole_slots(resource) else { continue };
        let of_it = touching(name, &operations);
        let replayed = by_replay(&of_it);
        let mut intervals: Vec<_> =
            of_it.iter().flat_map(|operation| intervals(operation, &replayed)).collect();
        intervals.extend(expirations(&of_it, history.drift_ppm));
        if intervals.is_empty() {
            continue;
        }
        match Search::new(terms.slots, intervals).run() {
            search::Found::Order => verdict.saw("S7 histories explained by an order", 1),
            search::Found::GaveUp => verdict.saw("S7 histories too large to search", 1),
            search::Found::Nothing { furthest } => {
                let what = format!("no order of the operations on {name} explains the answers");
                let evidence = furthest.iter().filter_map(|op| of_it.iter().find(|o| o.op == *op));
                let evidence = evidence.map(|operation| format!("cannot be next: {operation:?}")).collect();
                verdict.accuse("S7", what, evidence);
            }
        }
    }
}

/// The operations on a resource and on its permits.
fn touching<'a>(name: &ResourceName, operations: &'a [Operation<'a>]) -> Vec<&'a Operation<'a>> {
    let of_it = |operation: &Operation| match &operation.call.command {
        Command::Acquire(acquire) => match grant(operation) {
            Some(grant) => Target::of(acquire, grant).resource == name,
            None => acquire.resource == *name || acquire.alternatives.iter().any(|a| a.resource == *name),
        },
        _ => false,
    };
    let granted = operations.iter().filter(|operation| of_it(operation)).filter_map(grant);
    let permits: BTreeMap<_, _> = granted.map(|grant| (grant.permit, ())).collect();
    let touches = |operation: &&Operation| match &operation.call.command {
        Command::Renew(renew) => permits.contains_key(&renew.permit),
        Command::Release(release) => permits.contains_key(&release.permit),
        _ => of_it(operation),
    };
    operations.iter().filter(touches).collect()
}

fn grant<'a>(operation: &Operation<'a>) -> Option<&'a Grant> {
    match operation.answer() {
        Some((_, Ok(Outcome::Granted(grant)))) => Some(grant),
        _ => None,
    }
}

/// The ends of leases that nobody was told to have ended otherwise: from when on they may have come.
fn expirations(operations: &[&Operation], drift_ppm: u64) -> Vec<Interval> {
    let mut ends = BTreeMap::<PermitId, Interval>::new();
    for operation in operations {
        let told = match (&operation.call.command, operation.answer()) {
            // Of a permit that has ended a replay says that nothing is left.
            (_, Some((_, Ok(Outcome::Granted(grant))))) => {
                grant.lease.filter(|lease| !lease.is_zero()).map(|lease| (grant.permit, lease))
            }
            (Command::Renew(renew), Some((_, Ok(Outcome::Renewed(lease))))) => Some((renew.permit, *lease)),
            _ => None,
        };
        let Some((permit, lease)) = told else { continue };
        let from = operation.invoked_at.0 + lease.0 - millionths(lease.0, drift_ppm);
        let effect = Effect::Free(permit.0);
        let end = ends.entry(permit).or_insert(Interval { op: operation.op, from, to: None, effect });
        end.from = end.from.max(from);
    }
    for operation in operations {
        if let (Command::Release(release), Some((_, Ok(_)))) = (&operation.call.command, operation.answer()) {
            ends.remove(&release.permit);
        }
    }
    ends.into_values().collect()
}

/// The permits that clients know by replays alone, for the tries of these requests whose grants were lost. A request whose
/// call was not sent may be granted anew under its id: it has several.
fn by_replay<'a>(operations: &[&Operation<'a>]) -> BTreeMap<&'a RequestId, BTreeSet<PermitId>> {
    let received = operations.iter().filter_map(|operation| grant(operation)).filter(|grant| !grant.replayed);
    let received: BTreeSet<_> = received.map(|grant| grant.permit).collect();
    let mut replays = BTreeMap::<_, BTreeSet<_>>::new();
    for operation in operations {
        if let Command::Acquire(acquire) = &operation.call.command
            && let Some(id) = &acquire.request_id
            && let Some(grant) = grant(operation).filter(|grant| !received.contains(&grant.permit))
        {
            replays.entry(id).or_default().insert(grant.permit);
        }
    }
    replays
}

/// What an operation may have done, and when. A lost grant that nobody ever hears of explains nothing, and is left out.
fn intervals(operation: &Operation, replayed: &BTreeMap<&RequestId, BTreeSet<PermitId>>) -> Vec<Interval> {
    let from = operation.invoked_at.0;
    let certain = |to: Span, effect| vec![Interval { op: operation.op, from, to: Some(to.0), effect }];
    let lost = |effect| Interval { op: operation.op, from, to: None, effect };
    match (&operation.call.command, operation.end) {
        (_, Some((_, Some(Reply::NotDone)))) => vec![],
        (command, Some((at, Some(Reply::Answer(answer))))) => match (command, answer) {
            (Command::Acquire(_), Ok(Outcome::Granted(grant))) if grant.replayed => {
                certain(at, Effect::Known(grant.permit.0))
            }
            (Command::Acquire(_), Ok(Outcome::Granted(grant))) => certain(at, Effect::Take(grant.permit.0)),
            (Command::Release(release), Ok(_)) => certain(at, Effect::Free(release.permit.0)),
            (Command::Release(release), Err(Rejection::PermitEnded)) => {
                certain(at, Effect::IsFree(release.permit.0))
            }
            (Command::Renew(renew), Ok(_)) => certain(at, Effect::IsHeld(renew.permit.0)),
            (Command::Renew(renew), Err(Rejection::PermitEnded)) => {
                certain(at, Effect::IsFree(renew.permit.0))
            }
            _ => vec![],
        },
        (Command::Acquire(acquire), _) => {
            let permits = acquire.request_id.as_ref().and_then(|id| replayed.get(id));
            let effects = |permit: &PermitId| [lost(Effect::Take(permit.0)), lost(Effect::Free(permit.0))];
            permits.into_iter().flatten().flat_map(effects).collect()
        }
        (Command::Release(release), _) => vec![lost(Effect::Free(release.permit.0))],
        _ => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::{super::story::*, *};
    use crate::history::Call;

    #[test]
    fn answers_that_an_order_explains_are_good() {
        let mut story = Story::of(slots(1));
        story.seen(0, 9, acquire("a"), held(2, 0));
        story.seen(0, 9, acquire("b"), held(1, 0));
        story.seen(5, 8, release(1), released());
        story.passes(check);
    }

    #[test]
    fn a_slot_held_by_two_is_not_explained() {
        let mut story = Story::of(slots(1));
        story.seen(0, 1, acquire("a"), held(1, 0));
        story.seen(2, 3, acquire("b"), held(2, 0));
        story.violates("S7", check);
    }

    #[test]
    fn a_lease_may_end_when_its_holder_reckons_with_it() {
        for (again_ms, is_good) in [(9_000, false), (9_999, true)] {
            let mut story = Story::of(slots(1));
            story.seen(0, 1, acquire("a"), held(1, 0));
            story.seen(again_ms - 1, again_ms, acquire("b"), held(2, 0));
            if is_good { story.passes(check) } else { story.violates("S7", check) }
        }
    }

    #[test]
    fn a_request_that_was_not_sent_may_be_granted_anew() {
        let mut story = Story::of(slots(1));
        let op = story.asked(0, Call::new(acquire("a")));
        story.answered(2, op, Reply::Unknown);
        story.seen(3, 4, acquire("a"), replayed(held(1, 0)));
        story.seen(5, 6, release(1), released());
        story.seen(7, 8, acquire("a"), held(2, 0));
        story.seen(9, 10, acquire("a"), replayed(held(2, 0)));
        story.passes(check);
    }

    #[test]
    fn a_replay_of_what_has_ended_keeps_no_slot() {
        let mut story = Story::of(slots(1));
        story.seen(0, 1, acquire("a"), held(1, 0));
        story.seen(11_000, 11_001, release(1), Err(Rejection::PermitEnded));
        let Ok(Outcome::Granted(grant)) = replayed(held(1, 0)) else { unreachable!("it is one") };
        let ended = Grant { lease: Some(Span::ZERO), ..grant };
        story.seen(12_000, 12_001, acquire("a"), Ok(Outcome::Granted(ended)));
        story.passes(check);
    }

    #[test]
    fn a_lost_grant_may_come_to_light_by_a_replay() {
        let run = |is_lost| {
            let mut story = Story::of(slots(1));
            if is_lost {
                let op = story.asked(0, Call::new(acquire("a")));
                story.answered(2, op, Reply::Unknown);
            }
            story.seen(3, 4, acquire("a"), replayed(held(1, 0)));
            story
        };
        run(true).passes(check);
        run(false).violates("S7", check);
    }
}
