//! S2, at every entry of the log: never more slots than there are, counted until their grace is over, and of those never
//! more than budgets leave; and S3: no place is given to two, and its generation rises with each holder.

use std::collections::BTreeMap;

use tollgate_limiter::{
    ClusterTime, Command, Concurrency, Grant, Label, LimitName, Outcome, PermitId, ResourceName, Slot, Span,
};

use super::{
    Verdict, budgets,
    replay::{Definitions, Step, steps},
};
use crate::history::History;

struct Holder<'a> {
    permit: PermitId,
    consumer: &'a Label,
    granted_at: ClusterTime,
    kept_until: ClusterTime,
    /// After the end of the lease.
    kept_for: Span,
    granted: Step<'a>,
}

#[derive(Default)]
struct Places<'a> {
    held: BTreeMap<u32, Holder<'a>>,
    generations: BTreeMap<u32, u64>,
}

type Limits<'a> = BTreeMap<(&'a ResourceName, &'a LimitName, Label), Places<'a>>;

/// See the module.
pub fn check(history: &History, verdict: &mut Verdict) {
    let mut definitions = Definitions::default();
    let mut limits = Limits::new();
    for step in steps(history) {
        definitions.follow(&step);
        forget_what_is_gone(&mut limits, &step);
        if let Some((target, grant)) = step.fresh_grant() {
            let Some(resource) = definitions.get(target.resource) else { continue };
            for slot in &grant.slots {
                let Some(limit) = resource.limits.iter().find(|limit| limit.name == slot.limit) else {
                    continue;
                };
                let (Some(terms), Some(value)) = (limit.kind.concurrency(), target.counter(limit)) else {
                    continue;
                };
                verdict.saw("S2 slots in the log", 1);
                let places = limits.entry((&resource.name, &limit.name, value)).or_default();
                let name = format!("{} of {}", limit.name, resource.name);
                let consumer = target.consumer;
                places.take(&name, terms, slot, grant, (consumer, step), verdict);
                let others = places.held.values().filter(|holder| holder.permit != grant.permit);
                let counting =
                    others.filter(|holder| holder.granted_at + terms.counts_after <= step.now.cluster);
                let holders: Vec<_> = counting.map(|holder| holder.consumer).collect();
                verdict.saw("S2 slots beside budgets", u64::from(!resource.budgets.is_empty()));
                if let Err(wrong) = budgets::leave_a_slot(resource, limit, terms.slots, &holders, consumer) {
                    verdict.accuse("S2", format!("limit {name}: {wrong}"), vec![step.to_string()]);
                }
            }
        } else if let Some(permit) = step.ended() {
            limits.values_mut().for_each(|places| places.held.retain(|_, holder| holder.permit != permit));
        } else if let (Command::Renew(renew), Ok(Outcome::Renewed(lease))) = (step.command, step.answer) {
            let holders = limits.values_mut().flat_map(|places| places.held.values_mut());
            for holder in holders.filter(|holder| holder.permit == renew.permit) {
                holder.kept_until = holder.kept_until.max(step.now.cluster + *lease + holder.kept_for);
            }
        }
    }
}

fn forget_what_is_gone(limits: &mut Limits, step: &Step) {
    if let Some(name) = step.deleted() {
        limits.retain(|(resource, ..), _| *resource != name);
    }
    if let Some(new) = step.defined() {
        let stays = |name: &LimitName| new.limits.iter().any(|limit| limit.name == *name && !limit.shadow);
        limits.retain(|(resource, limit, _), _| **resource != new.name || stays(limit));
    }
}

impl<'a> Places<'a> {
    fn take(
        &mut self,
        name: &str,
        terms: &Concurrency,
        slot: &Slot,
        grant: &Grant,
        (consumer, step): (&'a Label, Step<'a>),
        verdict: &mut Verdict,
    ) {
        let now = step.now.cluster;
        self.held.retain(|_, holder| now < holder.kept_until);
        let counting: Vec<_> =
            self.held.values().filter(|holder| holder.granted_at + terms.counts_after <= now).collect();
        if counting.len() >= terms.slots as usize {
            let what = format!("limit {name}: a slot is granted while {} count", counting.len());
            let holders = counting.iter().map(|holder| holder.granted.to_string());
            verdict.accuse("S2", what, holders.chain([step.to_string()]).collect());
        }
        if let Some(holder) = self.held.get(&slot.index) {
            let what = format!("limit {name}: place {} is granted while it is held", slot.index);
            verdict.accuse("S2", what, vec![holder.granted.to_string(), step.to_string()]);
        }
        let before = self.generations.insert(slot.index, slot.generation);
        verdict.saw("S3 generations compared", u64::from(before.is_some()));
        if before.is_some_and(|before| before >= slot.generation) {
            let what = format!("limit {name}: the generation of place {} does not rise", slot.index);
            verdict.accuse("S3", what, vec![format!("before: {before:?}"), step.to_string()]);
        }
        let kept_for = terms.grace + terms.quarantine;
        let kept_until = now + grant.lease.unwrap_or_default() + kept_for;
        let permit = grant.permit;
        let holder = Holder { permit, consumer, granted_at: now, kept_until, kept_for, granted: step };
        self.held.insert(slot.index, holder);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::story::*, check};

    #[test]
    fn a_slot_counts_until_its_grace_is_over() {
        for (again_ms, index, is_good) in [(11_000, 0, true), (10_500, 0, false), (10_500, 1, false)] {
            let mut story = Story::of(slots(1));
            story.logged(0, acquire("a"), held(1, 0));
            story.logged(again_ms, acquire("b"), held(2, index));
            if is_good { story.passes(check) } else { story.violates("S2", check) }
        }
    }

    #[test]
    fn released_slots_are_free_and_renewed_ones_are_not() {
        let mut story = Story::of(slots(1));
        story.logged(0, acquire("a"), held(1, 0));
        story.logged(10, release(1), released());
        story.logged(20, acquire("b"), held(2, 0));
        story.passes(check);

        let mut story = Story::of(slots(1));
        story.logged(0, acquire("a"), held(1, 0));
        story.logged(9_000, renew(1), renewed());
        story.logged(11_500, acquire("b"), held(2, 0));
        story.violates("S2", check);
    }

    #[test]
    fn places_are_not_shared_and_generations_rise() {
        let mut story = Story::of(slots(2));
        story.logged(0, acquire("a"), held(1, 0));
        story.logged(1, acquire("b"), held(2, 0));
        story.violates("S2", check);

        let mut story = Story::of(slots(2));
        story.logged(0, acquire("a"), held(7, 0));
        story.logged(1, release(7), released());
        story.logged(2, acquire("b"), held(6, 0));
        story.violates("S3", check);
    }
}
