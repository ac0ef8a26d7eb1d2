//! S2, as clients see it and without the log: at no instant do more of them believe that they hold a slot than there are.
//!
//! A client believes so from the reply on, until it releases, or until the lease that it was told of is over by a clock
//! that it started when it asked and that may run slow. S3, too: no two clients are given the same permit, no place is
//! believed to be two clients', and of two holders of a place the later has the greater generation.

use std::collections::BTreeMap;

use tollgate_limiter::{Command, Grant, LimitName, Outcome, PermitId, Resource, ResourceName, Scope, Span};

use super::{
    Verdict,
    intervals::{millionths, sole_definitions},
    terms::Target,
};
use crate::history::{History, Operation};

/// When a client believes that it holds a permit.
struct Belief<'a> {
    operation: &'a Operation<'a>,
    grant: &'a Grant,
    spans: Vec<(Span, Span)>,
}

/// See the module.
pub fn check(history: &History, verdict: &mut Verdict) {
    let operations = history.operations();
    let beliefs = beliefs(history, &operations, verdict);
    let definitions = sole_definitions(&operations);
    let mut by_resource = BTreeMap::<&ResourceName, Vec<&Belief>>::new();
    for belief in beliefs.values() {
        if let Command::Acquire(acquire) = &belief.operation.call.command {
            by_resource.entry(Target::of(acquire, belief.grant).resource).or_default().push(belief);
        }
    }
    for (name, beliefs) in by_resource {
        let Some(resource) = definitions.get(name) else { continue };
        verdict.saw("S2 beliefs of clients", beliefs.len() as u64);
        for (limit, slots) in judged_limits(resource) {
            sweep(resource, limit, slots, &beliefs, verdict);
        }
    }
}

/// Limits of the whole resource whose slots count at once.
fn judged_limits(resource: &Resource) -> impl Iterator<Item = (&LimitName, u32)> {
    let enforced = resource.limits.iter().filter(|limit| !limit.shadow && limit.scope == Scope::Resource);
    enforced.filter_map(|limit| {
        let terms = limit.kind.concurrency().filter(|terms| terms.counts_after.is_zero())?;
        Some((&limit.name, terms.slots))
    })
}

fn beliefs<'a>(
    history: &History,
    operations: &'a [Operation<'a>],
    verdict: &mut Verdict,
) -> BTreeMap<PermitId, Belief<'a>> {
    let until =
        |asked_at: Span, lease: Span| Span(asked_at.0 + lease.0 - millionths(lease.0, history.drift_ppm));
    let mut beliefs = BTreeMap::<PermitId, Belief>::new();
    for operation in operations {
        let Some((replied_at, Ok(Outcome::Granted(grant)))) = operation.answer() else { continue };
        let span = (replied_at, until(operation.invoked_at, grant.lease.unwrap_or_default()));
        match beliefs.get_mut(&grant.permit) {
            None => {
                beliefs.insert(grant.permit, Belief { operation, grant, spans: vec![span] });
            }
            Some(known) if grant.replayed || known.grant.replayed => known.spans.push(span),
            Some(known) => {
                let evidence = vec![format!("{:?}", known.operation), format!("{operation:?}")];
                verdict.accuse("S3", format!("{:?} was granted twice", grant.permit), evidence);
            }
        }
    }
    for operation in operations {
        if let (Command::Renew(renew), Some((replied_at, Ok(Outcome::Renewed(lease))))) =
            (&operation.call.command, operation.answer())
            && let Some(belief) = beliefs.get_mut(&renew.permit)
        {
            belief.spans.push((replied_at, until(operation.invoked_at, *lease)));
        }
    }
    // Also where a renewal is asked for once more after the release, and gets there before it.
    for operation in operations {
        if let Command::Release(release) = &operation.call.command
            && let Some(belief) = beliefs.get_mut(&release.permit)
        {
            let end = |(from, to): &(Span, Span)| (*from, (*to).min(operation.invoked_at));
            belief.spans = belief.spans.iter().map(end).collect();
        }
    }
    beliefs.values_mut().for_each(|belief| belief.spans = merged(std::mem::take(&mut belief.spans)));
    beliefs
}

/// Without overlaps and without those that are empty.
fn merged(mut spans: Vec<(Span, Span)>) -> Vec<(Span, Span)> {
    spans.retain(|(from, to)| from < to);
    spans.sort_unstable();
    let mut merged = Vec::<(Span, Span)>::new();
    for (from, to) in spans {
        match merged.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    merged
}

fn sweep(resource: &Resource, limit: &LimitName, slots: u32, beliefs: &[&Belief], verdict: &mut Verdict) {
    let mut turns = Vec::new();
    for belief in beliefs {
        let Some(slot) = belief.grant.slots.iter().find(|slot| slot.limit == *limit) else { continue };
        for (from, to) in &belief.spans {
            // Ends come before beginnings: a span does not contain its end.
            turns.push((*from, true, slot, *belief));
            turns.push((*to, false, slot, *belief));
        }
    }
    turns.sort_by_key(|(at, begins, slot, _)| (*at, *begins, slot.generation));
    let mut held = BTreeMap::<u64, (u32, &Belief)>::new();
    for (at, begins, slot, belief) in turns {
        if !begins {
            held.remove(&slot.generation);
            continue;
        }
        let others = held.values().filter(|(index, _)| *index == slot.index);
        let same_place: Vec<_> = others.map(|(_, other)| format!("{:?}", other.operation)).collect();
        held.insert(slot.generation, (slot.index, belief));
        let name = format!("limit {limit} of {} at {} ns", resource.name, at.0);
        let this = format!("{:?}", belief.operation);
        if !same_place.is_empty() {
            let what = format!("{name}: two clients believe that they hold place {}", slot.index);
            verdict.accuse("S2", what, same_place.into_iter().chain([this]).collect());
        } else if held.len() > slots as usize {
            let what = format!("{name}: {} clients believe that they hold one of {slots} slots", held.len());
            let holders = held.values().map(|(_, holder)| format!("{:?}", holder.operation));
            verdict.accuse("S2", what, holders.collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::story::*, check};

    #[test]
    fn beliefs_end_with_the_lease_or_a_release() {
        let mut story = Story::of(slots(1));
        story.seen(0, 5, acquire("a"), held(1, 0));
        story.seen(2_000, 2_005, release(1), released());
        story.seen(2_000, 2_006, acquire("b"), held(2, 0));
        story.seen(11_000, 12_000, acquire("c"), held(3, 0));
        story.passes(check);
    }

    #[test]
    fn two_cannot_believe_in_one_slot() {
        for index in [0, 1] {
            let mut story = Story::of(slots(1));
            story.seen(0, 5, acquire("a"), held(1, 0));
            story.seen(9_000, 9_900, acquire("b"), held(2, index));
            story.violates("S2", check);
        }
        let mut story = Story::of(slots(1));
        story.seen(0, 5, acquire("a"), held(1, 0));
        story.seen(9_000, 9_005, renew(1), renewed());
        story.seen(12_000, 12_005, acquire("b"), held(2, 0));
        story.violates("S2", check);
    }

    #[test]
    fn who_has_released_believes_in_no_late_renewal() {
        let mut story = Story::of(slots(1));
        story.seen(0, 5, acquire("a"), held(1, 0));
        story.seen(9_000, 9_010, release(1), released());
        story.seen(9_002, 9_008, renew(1), renewed());
        story.seen(9_100, 9_105, acquire("b"), held(2, 0));
        story.passes(check);
    }

    #[test]
    fn a_permit_is_granted_to_one() {
        let mut story = Story::of(slots(2));
        story.seen(0, 5, acquire("a"), held(1, 0));
        story.seen(6, 7, acquire("b"), held(1, 0));
        story.violates("S3", check);
    }
}
