//! S9: what failed for certain, was refused or was denied takes no effect, then or later. The denial of a retry says so of
//! the tries before it, too.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_limiter::{Command, Outcome, PermitId, RequestId, Span};

use super::{
    Verdict,
    replay::{Step, steps},
};
use crate::history::{History, Operation, Reply};

/// What a client can be sure of: a request that has an id, or the end of a permit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wish<'a> {
    Permit(&'a RequestId),
    End(PermitId),
}

/// See the module. A wish that was tried more than once is judged only if every try failed.
pub fn check(history: &History, verdict: &mut Verdict) {
    let operations = history.operations();
    let mut tries = BTreeMap::<Wish, Vec<&Operation>>::new();
    for operation in &operations {
        if let Some(wish) = wish(&operation.call.command) {
            tries.entry(wish).or_default().push(operation);
        }
    }
    tries.retain(|_, tries| tries.iter().all(|operation| has_failed(operation)));
    verdict.saw("S9 requests that failed", tries.len() as u64);
    let mut accused = BTreeSet::new();
    for step in steps(history).filter(has_effect) {
        let Some(wish) = wish(step.command) else { continue };
        if let Some(tries) = tries.get(&wish).filter(|_| accused.insert(wish.clone())) {
            let evidence = tries.iter().map(|operation| format!("{operation:?}"));
            let what = format!("{wish:?} failed for certain, and took effect");
            verdict.accuse("S9", what, evidence.chain([step.to_string()]).collect());
        }
    }
    denied_retries_are_last(history, &operations, verdict);
}

/// A retry is decided behind the tries that are on their way into the log: once it is denied, none of those that had been
/// proposed when it arrived takes effect any more. Tries that may wait are not judged: they have no place in the log before
/// they are granted.
fn denied_retries_are_last(history: &History, operations: &[Operation], verdict: &mut Verdict) {
    let mut tries = BTreeMap::<&RequestId, Vec<&Operation>>::new();
    for operation in operations {
        if let Command::Acquire(acquire) = &operation.call.command
            && let Some(id) = &acquire.request_id
        {
            tries.entry(id).or_default().push(operation);
        }
    }
    let denied: BTreeMap<_, _> =
        tries.iter().filter_map(|(id, tries)| Some((*id, denied_retry(tries)?))).collect();
    verdict.saw("S9 retries that were denied", denied.len() as u64);
    for step in steps(history) {
        let id = step.fresh_grant().and(step.acquire()).and_then(|acquire| acquire.request_id.as_ref());
        let Some((id, (denied_at, retry))) = id.and_then(|id| denied.get_key_value(id)) else { continue };
        let applied = history.applied.iter().find(|applied| applied.entry.index == step.place.0);
        let Some(applied) = applied else { continue };
        let place = (applied.entry.index, applied.entry.term);
        let arrived_at = retry.arrivals.first().map(|(at, _)| at);
        let was_proposed = history.proposed.get(&place).is_some_and(|at| arrived_at > Some(at));
        if was_proposed && applied.at > *denied_at {
            let what = format!("a retry of request {id} was denied, and then an earlier try was granted");
            verdict.accuse("S9", what, vec![format!("{retry:?}"), step.to_string()]);
        }
    }
}

/// The last try of a request and when it was denied, if that says something of all tries.
fn denied_retry<'a>(tries: &[&'a Operation<'a>]) -> Option<(Span, &'a Operation<'a>)> {
    let (last, earlier) = tries.split_last().filter(|(last, _)| last.call.attempt > 1)?;
    let (denied_at, _) = last.answer().filter(|(_, answer)| matches!(answer, Ok(Outcome::Denied(_))))?;
    let (arrived_at, _) = last.arrivals.first()?;
    let had_arrived =
        |operation: &&Operation| operation.arrivals.last().is_some_and(|(at, _)| at < arrived_at);
    let is_judged = !earlier.is_empty()
        && earlier.iter().all(had_arrived)
        && tries.iter().all(|operation| operation.call.max_wait.is_zero());
    is_judged.then_some((denied_at, *last))
}

fn wish(command: &Command) -> Option<Wish<'_>> {
    match command {
        Command::Acquire(acquire) => acquire.request_id.as_ref().map(Wish::Permit),
        Command::Release(release) => Some(Wish::End(release.permit)),
        _ => None,
    }
}

fn has_failed(operation: &Operation) -> bool {
    match operation.end {
        Some((_, Some(Reply::NotDone | Reply::Answer(Err(_) | Ok(Outcome::Denied(_)))))) => true,
        Some((_, Some(Reply::Answer(Ok(_)) | Reply::Unknown) | None)) | None => false,
    }
}

fn has_effect(step: &Step) -> bool {
    matches!(step.answer, Ok(Outcome::Granted(_) | Outcome::Released(_)))
}

#[cfg(test)]
mod tests {
    use super::{super::story::*, *};
    use crate::history::Call;

    fn run(command: Command, reply: Reply, answer: tollgate_limiter::Answer) -> Story {
        let mut story = Story::of(slots(2));
        story.logged(1, acquire("first"), held(1, 0));
        let op = story.asked(2, Call::new(command.clone()));
        story.answered(3, op, reply);
        story.logged(9, command, answer);
        story
    }

    #[test]
    fn a_denied_retry_is_the_last_word() {
        for (proposed_ms, granted_ms, is_good) in [(2, 4, true), (2, 9, false), (5, 9, true)] {
            let mut story = Story::of(slots(2));
            story.history.propose(Span::from_millis(proposed_ms), 3, 1);
            for (at_ms, attempt) in [(1, 1), (3, 2)] {
                let op = story.asked(at_ms, Call { attempt, ..Call::new(acquire("a")) });
                story.history.arrive(Span::from_millis(at_ms + 1), op, 1);
                if attempt == 2 {
                    story.answered(6, op, Reply::Answer(denied()));
                }
            }
            story.logged(granted_ms, acquire("a"), held(1, 0));
            if is_good { story.passes(check) } else { story.violates("S9", check) }
        }
    }

    #[test]
    fn a_definite_failure_has_no_effect() {
        run(acquire("a"), Reply::NotDone, held(2, 1)).violates("S9", check);
        run(acquire("a"), Reply::Answer(denied()), held(2, 1)).violates("S9", check);
        run(release(1), Reply::NotDone, released()).violates("S9", check);
        run(acquire("a"), Reply::Answer(denied()), denied()).passes(check);
        assert!(run(acquire("a"), Reply::Unknown, held(2, 1)).put_to(check).is_good());
    }
}
