//! S6: a permit that was released, or whose lease has run out, never revives: to renew or to release it is refused, and a
//! replay promises nothing of it.

use std::collections::BTreeMap;

use tollgate_limiter::{
    ClusterTime, Command, Grant, Label, LimitName, Outcome, PermitId, Rejection, Resource, ResourceName, Span,
};

use super::{
    Verdict,
    intervals::sole_definitions,
    replay::{Step, steps},
    terms::Target,
};
use crate::history::{History, Operation};

/// See the module.
pub fn check(history: &History, verdict: &mut Verdict) {
    in_the_log(history, verdict);
    let operations = history.operations();
    after_releases(&operations, verdict);
    after_successors(&operations, verdict);
}

/// A permit as the log has it.
struct Life<'a> {
    resource: &'a ResourceName,
    /// Absent for permits without slots: they can be released for a while.
    lease_ends: Option<ClusterTime>,
    /// Where it was released, or its resource deleted.
    ended: Option<Step<'a>>,
}

impl Life<'_> {
    fn has_ended(&self, now: ClusterTime) -> bool {
        self.ended.is_some() || self.lease_ends.is_some_and(|end| end <= now)
    }

    fn lease_left(&self, now: ClusterTime) -> Span {
        match self.has_ended(now) {
            true => Span::ZERO,
            false => self.lease_ends.map_or(Span::ZERO, |end| end.since(now)),
        }
    }
}

fn in_the_log(history: &History, verdict: &mut Verdict) {
    let mut lives = BTreeMap::<PermitId, Life>::new();
    for step in steps(history) {
        let now = step.now.cluster;
        if let Some((target, grant)) = step.fresh_grant() {
            let lease_ends = grant.lease.map(|lease| now + lease);
            lives.insert(grant.permit, Life { resource: target.resource, lease_ends, ended: None });
            continue;
        }
        if let Some(name) = step.deleted() {
            let of_it = lives.values_mut().filter(|life| life.resource == name && life.ended.is_none());
            of_it.for_each(|life| life.ended = Some(step));
        }
        let Some(permit) = touched(&step) else { continue };
        match lives.get_mut(&permit) {
            None if step.answer.is_ok() => {
                accuse(verdict, format!("{permit:?} was never granted"), None, step);
            }
            None => {}
            Some(life) if life.has_ended(now) => {
                verdict.saw("S6 touches of ended permits", 1);
                if revives(&step) {
                    accuse(verdict, format!("{permit:?} has ended, and revives"), life.ended, step);
                }
            }
            Some(life) => {
                if *step.answer == Err(Rejection::PermitEnded) && life.lease_ends.is_some() {
                    accuse(verdict, format!("{permit:?} has not ended, and is refused"), None, step);
                }
                follow(life, step, verdict);
            }
        }
    }
}

/// The permit that a step renews, releases, gives back or tells of once more.
fn touched(step: &Step) -> Option<PermitId> {
    match (step.command, step.answer) {
        (Command::Renew(renew), _) => Some(renew.permit),
        (Command::Release(release), _) => Some(release.permit),
        (Command::GiveBack(permit), _) => Some(*permit),
        (_, Ok(Outcome::Granted(grant))) if grant.replayed => Some(grant.permit),
        _ => None,
    }
}

/// Whether a step makes anything of a permit that has ended. Its kept grant is nothing.
fn revives(step: &Step) -> bool {
    match step.answer {
        Ok(Outcome::Renewed(_) | Outcome::Released(_)) => true,
        Ok(Outcome::Granted(grant)) => grant.lease.is_some_and(|lease| !lease.is_zero()),
        _ => false,
    }
}

fn follow<'a>(life: &mut Life<'a>, step: Step<'a>, verdict: &mut Verdict) {
    let now = step.now.cluster;
    match step.answer {
        Ok(Outcome::Released(_)) => life.ended = Some(step),
        Ok(Outcome::Renewed(lease)) => life.lease_ends = life.lease_ends.map(|end| end.max(now + *lease)),
        Ok(Outcome::Granted(grant)) if grant.lease.unwrap_or_default() > life.lease_left(now) => {
            accuse(verdict, "a replay promises more of the lease than is left".to_owned(), None, step);
        }
        _ => {}
    }
}

fn accuse(verdict: &mut Verdict, what: String, before: Option<Step>, step: Step) {
    let evidence = before.map(|before| before.to_string()).into_iter().chain([step.to_string()]);
    verdict.accuse("S6", what, evidence.collect());
}

/// After the answer to a release nothing that is asked of the permit succeeds.
fn after_releases(operations: &[Operation], verdict: &mut Verdict) {
    let mut released = BTreeMap::<PermitId, (Span, &Operation)>::new();
    for operation in operations {
        if let (Command::Release(release), Some((at, Ok(Outcome::Released(_))))) =
            (&operation.call.command, operation.answer())
        {
            let (earliest, by) = released.entry(release.permit).or_insert((at, operation));
            if by.op != operation.op {
                let what = format!("{:?} was released twice", release.permit);
                verdict.accuse("S6", what, vec![format!("{by:?}"), format!("{operation:?}")]);
            }
            *earliest = at.min(*earliest);
        }
    }
    for operation in operations {
        let (Command::Renew(renew), Some((_, answer))) = (&operation.call.command, operation.answer()) else {
            continue;
        };
        let Some((ended_at, by)) = released.get(&renew.permit) else { continue };
        if *ended_at < operation.invoked_at {
            verdict.saw("S6 renewals after a release", 1);
            if answer.is_ok() {
                let what = format!("{:?} is renewed after its release", renew.permit);
                verdict.accuse("S6", what, vec![format!("{by:?}"), format!("{operation:?}")]);
            }
        }
    }
}

/// A place among the slots of a counter.
type Place<'a> = (&'a ResourceName, &'a LimitName, Label, u32);

/// Once another client knows that it has a permit's place, with a later generation, the permit has ended, released or not:
/// nothing that is asked of it then succeeds. This judges the ends of leases without any clock.
fn after_successors(operations: &[Operation], verdict: &mut Verdict) {
    let definitions = sole_definitions(operations);
    // Who had a place, by generation, and since when that is known.
    let mut holders = BTreeMap::<Place, BTreeMap<u64, (Span, &Operation)>>::new();
    let mut places = BTreeMap::<PermitId, Vec<(Place, u64)>>::new();
    for operation in operations {
        let (Command::Acquire(acquire), Some((known_at, Ok(Outcome::Granted(grant))))) =
            (&operation.call.command, operation.answer())
        else {
            continue;
        };
        let target = Target::of(acquire, grant);
        let Some(resource) = definitions.get(target.resource) else { continue };
        for (place, generation) in places_of(resource, &target, grant) {
            let known = holders.entry(place.clone()).or_default().entry(generation);
            let first = known.or_insert((known_at, operation));
            first.0 = first.0.min(known_at);
            places.entry(grant.permit).or_default().push((place, generation));
        }
    }
    for operation in operations {
        let permit = match &operation.call.command {
            Command::Renew(renew) => renew.permit,
            Command::Release(release) => release.permit,
            _ => continue,
        };
        let Some((_, answer)) = operation.answer() else { continue };
        let successor = places.get(&permit).into_iter().flatten().find_map(|(place, generation)| {
            let mut later = holders[place].range(generation + 1..).map(|(_, known)| known);
            later.find(|(known_at, _)| *known_at < operation.invoked_at)
        });
        let Some((_, by)) = successor else { continue };
        verdict.saw("S6 touches after the slot went to another", 1);
        if answer.is_ok() {
            let what = format!("{permit:?} lives, though its slot has gone to another");
            verdict.accuse("S6", what, vec![format!("{by:?}"), format!("{operation:?}")]);
        }
    }
}

/// The places of a grant, with their generations, at limits whose slots are held from the grant on.
fn places_of<'a>(
    resource: &'a Resource,
    target: &Target,
    grant: &Grant,
) -> impl Iterator<Item = (Place<'a>, u64)> {
    grant.slots.iter().filter_map(move |slot| {
        let limit = resource.limits.iter().find(|limit| limit.name == slot.limit && !limit.shadow)?;
        limit.kind.concurrency().filter(|terms| terms.counts_after.is_zero())?;
        Some(((&resource.name, &limit.name, target.counter(limit)?, slot.index), slot.generation))
    })
}

#[cfg(test)]
mod tests {
    use tollgate_limiter::Answer;

    use super::{super::story::*, *};

    #[test]
    fn what_has_ended_is_refused() {
        let mut story = Story::of(slots(2));
        story.logged(0, acquire("a"), held(1, 0));
        story.logged(10_000, renew(1), Err(Rejection::PermitEnded));
        story.logged(10_001, release(1), Err(Rejection::PermitEnded));
        story.passes(check);
    }

    #[test]
    fn the_expired_and_the_released_do_not_revive() {
        for (at_ms, command, answer) in [
            (10_000, renew(1), renewed()),
            (10_000, release(1), released()),
            (10_000, acquire("a"), replayed(held(1, 0))),
        ] {
            let mut story = Story::of(slots(2));
            story.logged(0, acquire("a"), held(1, 0));
            story.logged(at_ms, command, answer);
            story.violates("S6", check);
        }
        let mut story = Story::of(slots(2));
        story.logged(0, acquire("a"), held(1, 0));
        story.logged(1, release(1), released());
        story.logged(2, release(1), released());
        story.violates("S6", check);
    }

    #[test]
    fn the_living_are_not_refused_and_strangers_are() {
        let mut story = Story::of(slots(2));
        story.logged(0, acquire("a"), held(1, 0));
        story.logged(9_999, renew(1), Err(Rejection::PermitEnded));
        story.violates("S6", check);
        let mut story = Story::of(slots(2));
        story.logged(9, renew(5), renewed());
        story.violates("S6", check);
    }

    #[test]
    fn clients_see_it_without_the_log() {
        let run = |asked_ms| {
            let mut story = Story::of(slots(2));
            story.seen(0, 1, acquire("a"), held(1, 0));
            story.seen(2, 5, release(1), released());
            story.seen(asked_ms, 9, renew(1), renewed());
            story
        };
        run(6).violates("S6", check);
        assert!(run(4).put_to(check).is_good());
    }

    #[test]
    fn who_has_lost_its_slot_to_another_does_not_revive() {
        // Nobody looks into the log here, and nobody reads a clock: leases of 10 s may have been cut short.
        let run = |index, asked_ms, command: Command, answer: Answer| {
            let mut story = Story::of(slots(2));
            story.seen(0, 1, acquire("a"), held(1, 0));
            story.seen(2, 5, acquire("b"), held(2, index));
            story.seen(asked_ms, 9, command, answer);
            story
        };
        run(0, 6, renew(1), renewed()).violates("S6", check);
        run(0, 6, release(1), released()).violates("S6", check);
        run(0, 6, renew(1), Err(Rejection::PermitEnded)).passes(check);
        // It may have been renewed before the other was granted the slot, and the slot may be another one.
        assert!(run(0, 4, renew(1), renewed()).put_to(check).is_good());
        assert!(run(1, 6, renew(1), renewed()).put_to(check).is_good());
        // The later holder of the place is the one that has it.
        assert!(run(0, 6, renew(2), renewed()).put_to(check).is_good());
    }
}
