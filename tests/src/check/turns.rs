//! S10: nobody goes before one who waits, draws on the same limits and is to go first: of the same consumer's requests
//! those of a higher priority, and of those of the same priority the earlier, whatever either weighs. And who has left is
//! not proposed.
//!
//! Who arrived first is told by the arrivals at one node, in one term of it. Retries are not judged: of their place only
//! so much is promised as the next leader can tell.

use std::{cmp::Ordering, collections::BTreeMap};

use tollgate_limiter::{
    Acquire, Command, DenialReason, Dimension, Label, Outcome, PermitId, Priority, RequestId, ResourceName,
    Span,
};

use super::{
    Verdict,
    replay::{Definitions, Step, steps},
};
use crate::history::{History, Operation};

/// How much longer than another's grant a waiter must have stood there to be certain that it was passed: its denial may have
/// been on its way.
const ON_ITS_WAY: Span = Span::from_secs(2);

/// Requests that draw on the same counters.
type Flow<'a> = (&'a ResourceName, &'a Label, &'a Label, &'a Label, &'a Label, Vec<&'a Dimension>);

/// A request at a node.
struct Arrival<'a> {
    operation: &'a Operation<'a>,
    at: Span,
    priority: Priority,
    granted: Option<Place>,
    /// When the entry with its grant was proposed, where that is known.
    proposed_at: Option<Span>,
}

/// Where a permit was granted.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    index: u64,
    position: usize,
    term: u64,
}

/// See the module.
pub fn check(history: &History, verdict: &mut Verdict) {
    let terms: BTreeMap<_, _> = history.log().map(|entry| (entry.index, entry.term)).collect();
    let mut places = BTreeMap::<PermitId, Place>::new();
    let mut ageing = BTreeMap::<&ResourceName, Span>::new();
    let mut definitions = Definitions::default();
    let mut granted_ids = BTreeMap::<&RequestId, (Place, Step)>::new();
    for step in steps(history) {
        definitions.follow(&step);
        if let Some(resource) = step.defined() {
            let shortest = ageing.entry(&resource.name).or_insert(resource.queueing.ageing);
            *shortest = (*shortest).min(resource.queueing.ageing);
        }
        let Some((_, grant)) = step.fresh_grant() else { continue };
        let (index, position) = step.place;
        let place = Place { index, position, term: terms[&index] };
        places.insert(grant.permit, place);
        if let Some(id) = step.acquire().and_then(|acquire| acquire.request_id.as_ref()) {
            granted_ids.insert(id, (place, step));
        }
    }
    let operations = history.operations();
    for (((resource, ..), _), mut arrivals) in flows(&operations, &places) {
        for arrival in &mut arrivals {
            let entry = arrival.granted.map(|place| (place.index, place.term));
            arrival.proposed_at = entry.and_then(|entry| history.proposed.get(&entry).copied());
        }
        verdict.saw("S10 requests that arrived", arrivals.len() as u64);
        let ageing = ageing.get(resource).copied().unwrap_or_default();
        judge(&arrivals, ageing, verdict);
    }
    who_left_is_not_proposed(history, &operations, &granted_ids, verdict);
}

fn flows<'a>(
    operations: &'a [Operation<'a>],
    places: &BTreeMap<PermitId, Place>,
) -> BTreeMap<(Flow<'a>, u64), Vec<Arrival<'a>>> {
    let mut flows = BTreeMap::<(Flow, u64), Vec<Arrival>>::new();
    for operation in operations {
        let Command::Acquire(acquire) = &operation.call.command else { continue };
        let Some((at, node)) = operation.arrivals.last().copied() else { continue };
        // Who can have several resources stands in several lines.
        if operation.call.attempt > 1 || !acquire.alternatives.is_empty() {
            continue;
        }
        let granted = match operation.answer() {
            Some((_, Ok(Outcome::Granted(grant)))) if grant.replayed => continue,
            Some((_, Ok(Outcome::Granted(grant)))) => places.get(&grant.permit).copied(),
            _ => None,
        };
        let arrival = Arrival { operation, at, priority: acquire.priority, granted, proposed_at: None };
        flows.entry((flow(acquire), node)).or_default().push(arrival);
    }
    flows
}

fn flow(acquire: &Acquire) -> Flow<'_> {
    let weighed = acquire.amounts.iter().filter(|(_, amount)| **amount > 0);
    let dimensions = weighed.map(|(dimension, _)| dimension).collect();
    let Acquire { resource, operation, consumer, subject, key, .. } = acquire;
    (resource, operation, consumer, subject, key, dimensions)
}

fn judge(arrivals: &[Arrival], ageing: Span, verdict: &mut Verdict) {
    for later in arrivals {
        let Some(place) = later.granted else { continue };
        let Some((replied_at, _)) = later.operation.answer() else { continue };
        let is_aged = replied_at.0 - later.at.0 >= ageing.0;
        let passed = arrivals.iter().find(|other| {
            !other.operation.call.max_wait.is_zero()
                && is_before(other, later, is_aged)
                && was_passed(other, place, replied_at)
        });
        if let Some(passed) = passed {
            let what = "a request goes before one that came earlier and is no worse".to_owned();
            let evidence = [passed, later].map(|arrival| format!("{:?}", arrival.operation));
            verdict.accuse("S10", what, evidence.to_vec());
        }
    }
}

/// Whether `other` is to go before `this`, and was there in time.
fn is_before(other: &Arrival, this: &Arrival, is_aged: bool) -> bool {
    match other.priority.cmp(&this.priority) {
        Ordering::Less => false,
        Ordering::Equal => other.at < this.at,
        // Of those that have waited for long, some go whatever their priority.
        Ordering::Greater => !is_aged && other.at < this.proposed_at.unwrap_or(this.at),
    }
}

/// Whether the waiter stood there when another was granted at `place`, whose client knew at `replied_at`.
fn was_passed(waiter: &Arrival, place: Place, replied_at: Span) -> bool {
    match (waiter.granted, waiter.operation.answer()) {
        // In one entry both are granted at once: nobody is kept waiting.
        (Some(own), _) => own.term == place.term && own.index > place.index,
        (None, Some((denied_at, Ok(Outcome::Denied(denial))))) => {
            let by_limits = matches!(denial.reason, DenialReason::LimitExhausted | DenialReason::OthersWait);
            by_limits && denied_at > replied_at + ON_ITS_WAY
        }
        _ => false,
    }
}

fn who_left_is_not_proposed(
    history: &History,
    operations: &[Operation],
    granted_ids: &BTreeMap<&RequestId, (Place, Step)>,
    verdict: &mut Verdict,
) {
    let mut tries = BTreeMap::<&RequestId, u64>::new();
    let id = |operation: &'_ Operation| match &operation.call.command {
        Command::Acquire(acquire) => acquire.request_id.clone(),
        _ => None,
    };
    for operation in operations {
        if let Command::Acquire(Acquire { request_id: Some(id), .. }) = &operation.call.command {
            *tries.entry(id).or_default() += 1;
        }
    }
    for operation in operations {
        let (Some((left_at, _)), Some(id)) = (operation.left, id(operation)) else { continue };
        if tries.get(&id) != Some(&1) {
            continue;
        }
        verdict.saw("S10 requests that left", 1);
        let Some((place, step)) = granted_ids.get(&id) else { continue };
        if history.proposed.get(&(place.index, place.term)).is_some_and(|proposed_at| *proposed_at > left_at)
        {
            let what = format!("request {id} had left, and is proposed");
            verdict.accuse("S10", what, vec![format!("{operation:?}"), step.to_string()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::story::*, *};
    use crate::history::{Call, Reply};

    /// Two requests that arrive one after the other; the second is granted first.
    fn overtaking(first: (Priority, u64), second: Priority) -> Story {
        let mut story = Story::of(slots(2));
        let ask = |story: &mut Story, at_ms, id, priority, max_wait_ms| {
            let Command::Acquire(acquire) = acquire(id) else { unreachable!("it is one") };
            let command = Command::Acquire(Acquire { priority, ..acquire });
            let call =
                Call { command: command.clone(), attempt: 1, max_wait: Span::from_millis(max_wait_ms) };
            let op = story.asked(at_ms, call);
            story.history.arrive(Span::from_millis(at_ms + 1), op, 1);
            (op, command)
        };
        let (one, first_command) = ask(&mut story, 0, "a", first.0, first.1);
        let (other, second_command) = ask(&mut story, 10, "b", second, 0);
        story.logged(20, second_command, held(1, 0));
        story.logged(30, first_command, held(2, 1));
        story.answered(25, other, Reply::Answer(held(1, 0)));
        story.answered(35, one, Reply::Answer(held(2, 1)));
        story
    }

    #[test]
    fn nobody_overtakes_who_waits_and_is_no_worse() {
        overtaking((Priority::Medium, 1_000), Priority::Medium).violates("S10", check);
        overtaking((Priority::High, 1_000), Priority::Medium).violates("S10", check);
        overtaking((Priority::Low, 1_000), Priority::Medium).passes(check);
        overtaking((Priority::Medium, 0), Priority::Medium).passes(check);
    }

    #[test]
    fn who_comes_later_and_is_better_goes_first() {
        for (proposed_ms, is_good) in [(9, true), (12, false)] {
            let mut story = Story::of(slots(2));
            let mut ask = |at_ms, id, priority| {
                let Command::Acquire(acquire) = acquire(id) else { unreachable!("it is one") };
                let command = Command::Acquire(Acquire { priority, ..acquire });
                let op = story.asked(at_ms, Call { command, attempt: 1, max_wait: Span::from_secs(1) });
                story.history.arrive(Span::from_millis(at_ms), op, 1);
                op
            };
            let (low, high) = (ask(5, "a", Priority::Low), ask(10, "b", Priority::High));
            story.history.propose(Span::from_millis(proposed_ms), 3, 1);
            story.logged(20, acquire("a"), held(1, 0));
            story.logged(30, acquire("b"), held(2, 1));
            story.answered(25, low, Reply::Answer(held(1, 0)));
            story.answered(35, high, Reply::Answer(held(2, 1)));
            if is_good { story.passes(check) } else { story.violates("S10", check) }
        }
    }

    #[test]
    fn who_waited_in_vain_was_passed() {
        for (denied_ms, is_good) in [(9_000, false), (1_000, true)] {
            let mut story = Story::of(slots(2));
            let call =
                Call { command: acquire("a"), attempt: 1, max_wait: Span::from_millis(denied_ms - 100) };
            let op = story.asked(0, call);
            story.history.arrive(Span(1), op, 1);
            let other = story.done(10, 12, acquire("b"), held(1, 0));
            story.history.arrive(Span::from_millis(11), other, 1);
            story.answered(denied_ms, op, Reply::Answer(denied()));
            if is_good { story.passes(check) } else { story.violates("S10", check) }
        }
    }

    #[test]
    fn who_left_is_not_proposed() {
        for (left_ms, is_good) in [(5, false), (15, true)] {
            let mut story = Story::of(slots(2));
            let call = Call { command: acquire("a"), attempt: 1, max_wait: Span::from_secs(9) };
            let op = story.asked(0, call);
            story.history.leave(Span::from_millis(left_ms), op, 1);
            story.history.propose(Span::from_millis(10), 3, 1);
            story.logged(10, acquire("a"), held(1, 0));
            if is_good { story.passes(check) } else { story.violates("S10", check) }
        }
    }
}
