//! S10: nobody goes before one who waits, draws on the same limits and is to go first: of the same consumer's requests
//! those of a higher priority, and of those of the same priority the earlier, whatever either weighs. And who has left is
//! not proposed.
//!
//! Who arrived first is told by the arrivals at one node, in one term of it. Retries are not judged: of their place only
//! so much is promised as the next leader can tell.

use std::{cmp::Ordering, collections::BTreeMap};

use tollgate_limiter::{
    Acquire, Answer, Command, DenialReason, Dimension, Label, Outcome, PermitId, RequestId, ResourceName,
    Span,
};
use tollgate_server::raft::members::NodeId;

use super::{
    Verdict,
    intervals::millionths,
    replay::{Step, steps},
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
    acquire: &'a Acquire,
    node: NodeId,
    at: Span,
    /// When it began to wait, here or elsewhere, as far as that is believed.
    began: Span,
    granted: Option<Place>,
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
    let mut granted_ids = BTreeMap::<&RequestId, (Place, Step)>::new();
    for step in steps(history) {
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
    let turns = Turns::of(history);
    for (((resource, ..), _), arrivals) in flows(&operations, &places) {
        verdict.saw("S10 requests that arrived", arrivals.len() as u64);
        turns.judge(&arrivals, ageing.get(resource).copied().unwrap_or_default(), verdict);
    }
    who_left_is_not_proposed(history, &operations, &granted_ids, verdict);
}

fn flows<'a>(
    operations: &'a [Operation<'a>],
    places: &BTreeMap<PermitId, Place>,
) -> BTreeMap<(Flow<'a>, NodeId), Vec<Arrival<'a>>> {
    let mut flows = BTreeMap::<(Flow, NodeId), Vec<Arrival>>::new();
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
        let began = at.saturating_sub(operation.call.waited_before());
        let arrival = Arrival { operation, acquire, node, at, began, granted };
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

/// What leaders proposed, and when.
struct Turns<'a> {
    history: &'a History,
    /// By index: the entries into which a leader packs what it has taken in, each with its term.
    packed: BTreeMap<u64, (u64, Span)>,
}

impl<'a> Turns<'a> {
    fn of(history: &'a History) -> Turns<'a> {
        let stamped = history.log().filter(|entry| entry.stamp.is_some());
        let packed = stamped.filter_map(|entry| {
            let proposed_at = history.proposed.get(&(entry.index, entry.term))?;
            Some((entry.index, (entry.term, *proposed_at)))
        });
        Turns { history, packed: packed.collect() }
    }

    fn judge(&self, arrivals: &[Arrival], ageing: Span, verdict: &mut Verdict) {
        for later in arrivals {
            let Some(place) = later.granted else { continue };
            let Some((replied_at, _)) = later.operation.answer() else { continue };
            // The node has counted by its own clock.
            let waited = replied_at.0 - later.began.0;
            let is_aged = waited + millionths(waited, self.history.drift_ppm) >= ageing.0;
            let passed = arrivals.iter().find(|other| {
                !other.operation.call.max_wait.is_zero()
                    && self.is_before(other, later, is_aged)
                    && was_passed(other, place, replied_at)
                    && self.waited(other, later, place)
            });
            if let Some(passed) = passed {
                let what = "a request goes before one that came earlier and is no worse".to_owned();
                let evidence = [passed, later].map(|arrival| format!("{:?}", arrival.operation));
                verdict.accuse("S10", what, evidence.to_vec());
            }
        }
    }

    /// Whether `other` is to go before `this`, if both wait.
    fn is_before(&self, other: &Arrival, this: &Arrival, is_aged: bool) -> bool {
        match other.acquire.priority.cmp(&this.acquire.priority) {
            Ordering::Less => false,
            Ordering::Equal => {
                // The node has counted the time between their arrivals by its own clock.
                let apart = other.at.0.abs_diff(this.at.0);
                other.began.0 + millionths(apart, self.history.drift_ppm) < this.began.0
            }
            // Of those that have waited for long, some go whatever their priority.
            Ordering::Greater => !is_aged,
        }
    }

    /// Whether `other` stood in the queue when `this` was proposed for the entry at `place`.
    ///
    /// What arrives at a leader is looked at in the order of arrival, when the next entry is packed. Who arrived first has
    /// been looked at by then. Of others that is certain if one more entry was packed before this one. And a request for
    /// which there seemed to be room does not wait: it is on its way itself, until it is denied.
    fn waited(&self, other: &Arrival, this: &Arrival, place: Place) -> bool {
        let Some((_, proposed_at)) = self.packed.get(&place.index) else { return other.at < this.at };
        let before = self.packed.range(..place.index).next_back();
        let was_packed = before.is_some_and(|(_, (term, at))| *term == place.term && *at > other.at);
        (other.at < this.at || was_packed) && !self.was_on_its_way(other, *proposed_at)
    }

    /// Whether the request was proposed at that moment, in an entry whose application denied it.
    fn was_on_its_way(&self, arrival: &Arrival, at: Span) -> bool {
        let denied = self.history.applied.iter().filter(|applied| {
            let entry = &applied.entry;
            let outcomes = || entry.commands.iter().zip(&entry.answers);
            applied.node == arrival.node
                && applied.at >= at
                && outcomes().any(|(command, answer)| denies(command, answer, arrival.acquire))
        });
        denied.into_iter().any(|applied| {
            let proposed = (applied.entry.index, applied.entry.term);
            self.history.proposed.get(&proposed).is_some_and(|proposed_at| *proposed_at <= at)
        })
    }
}

fn denies(command: &Command, answer: &Answer, request: &Acquire) -> bool {
    matches!((command, answer), (Command::Acquire(acquire), Ok(Outcome::Denied(_))) if **acquire == *request)
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
        if let Command::Acquire(acquire) = &operation.call.command
            && let Some(id) = &acquire.request_id
        {
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
mod tests;
