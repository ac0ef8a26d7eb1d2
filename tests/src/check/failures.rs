//! S9: what failed for certain, was refused or was denied takes no effect, then or later. The denial of a retry says so of
//! the tries before it, too.

use std::collections::BTreeMap;

use tollgate_limiter::{Command, Outcome, PermitId, RequestId, Span};

use super::{
    Verdict,
    replay::{Step, order, steps},
};
use crate::history::{History, Operation, Reply};

/// What a client wants. What it wants again is the same wish, and nobody can tell by the log which of its tries an effect is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wish<'a> {
    /// A request that has an id.
    Permit(&'a RequestId),
    /// The end of a permit.
    End(PermitId),
    /// More of a lease.
    Renewal(PermitId),
    /// What an operator orders about a resource, in words.
    Order(String),
}

impl Wish<'_> {
    /// Whether each try has an effect of its own, and one at most: where there is a log to look at, clients ask nodes
    /// directly, and nobody else tries again for them. Permits and ends have one effect for all of their tries.
    fn counts(&self) -> bool {
        matches!(self, Wish::Renewal(_) | Wish::Order(_))
    }
}

/// See the module. Requests and ends that were tried more than once are judged only if every try failed; renewals and
/// orders by their number: no more of them take effect than were tried and have not failed.
pub fn check(history: &History, verdict: &mut Verdict) {
    let operations = history.operations();
    let mut tries = BTreeMap::<Wish, Vec<&Operation>>::new();
    for operation in &operations {
        if let Some(wish) = wish(&operation.call.command) {
            tries.entry(wish).or_default().push(operation);
        }
    }
    tries.retain(|wish, tries| match wish.counts() {
        true => tries.iter().any(|operation| has_failed(operation)),
        false => tries.iter().all(|operation| has_failed(operation)),
    });
    let counted = tries.keys().filter(|wish| wish.counts()).count() as u64;
    verdict.saw("S9 requests that failed", tries.len() as u64 - counted);
    verdict.saw("S9 renewals and orders that failed", counted);
    let mut effects = BTreeMap::<Wish, usize>::new();
    for step in steps(history).filter(has_effect) {
        let Some(wish) = wish(step.command) else { continue };
        let Some(tries) = tries.get(&wish) else { continue };
        let possible = tries.iter().filter(|operation| !has_failed(operation)).count();
        let effects = effects.entry(wish.clone()).or_default();
        *effects += 1;
        if *effects == possible + 1 {
            let evidence = tries.iter().map(|operation| format!("{operation:?}"));
            let what = match possible {
                0 => format!("{wish:?} failed for certain, and took effect"),
                _ => format!("{wish:?} took effect more often than the {possible} times that did not fail"),
            };
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
        Command::Renew(renew) => Some(Wish::Renewal(renew.permit)),
        command => order(command).map(Wish::Order),
    }
}

fn has_failed(operation: &Operation) -> bool {
    match operation.end {
        Some((_, Some(Reply::NotDone | Reply::Answer(Err(_) | Ok(Outcome::Denied(_)))))) => true,
        Some((_, Some(Reply::Answer(Ok(_)) | Reply::Unknown) | None)) | None => false,
    }
}

fn has_effect(step: &Step) -> bool {
    matches!(
        step.answer,
        Ok(Outcome::Granted(_)
            | Outcome::Released(_)
            | Outcome::Renewed(_)
            | Outcome::Stored(_)
            | Outcome::Deleted)
    )
}

#[cfg(test)]
mod tests {
    use tollgate_limiter::{Answer, KeyState, Rejection};

    use super::{super::story::*, *};
    use crate::history::Call;

    fn run(command: Command, reply: Reply, answer: Answer) -> Story {
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

    /// A renewal and all orders, each with what it is answered when it takes effect.
    fn renewal_and_orders() -> [(Command, Answer); 7] {
        [
            (renew(1), renewed()),
            (Command::from(slots(3)), stored(2)),
            (update(slots(3), 1), stored(2)),
            (delete(), Ok(Outcome::Deleted)),
            (pause(5_000), stored(1)),
            (resume(), stored(1)),
            (key(KeyState::Disabled), stored(1)),
        ]
    }

    #[test]
    fn a_failed_renewal_or_order_has_no_effect() {
        for (command, effect) in renewal_and_orders() {
            let rejected = Reply::Answer(Err(Rejection::PermitEnded));
            for failure in [Reply::NotDone, rejected.clone()] {
                run(command.clone(), failure, effect.clone()).violates("S9", check);
            }
            run(command.clone(), rejected, Err(Rejection::PermitEnded)).passes(check);
            assert!(run(command, Reply::Unknown, effect).put_to(check).is_good());
        }
    }

    #[test]
    fn what_failed_is_not_hidden_by_a_try_that_did_not() {
        for (command, effect) in renewal_and_orders() {
            let mut story = run(command.clone(), Reply::NotDone, effect.clone());
            // One effect more than tries that may have had one.
            story.done(20, 21, command, effect);
            story.violates("S9", check);
        }
    }

    #[test]
    fn each_try_that_has_not_failed_may_have_its_effect() {
        for (command, effect) in renewal_and_orders() {
            // Not answered in time, tried again in vain, and again; the first one comes late.
            let mut story = run(command.clone(), Reply::NotDone, effect.clone());
            let given_up = story.asked(0, Call::new(command.clone()));
            story.history.gone(Span::from_millis(1), given_up);
            story.done(20, 21, command.clone(), effect.clone());
            // Another client, which nobody has answered yet, wants the same.
            story.asked(22, Call { attempt: 2, ..Call::new(command.clone()) });
            story.logged(30, command, effect);
            story.passes(check);
        }
    }

    #[test]
    fn the_failure_of_one_order_says_nothing_of_others() {
        let mut story = run(pause(5_000), Reply::NotDone, Err(Rejection::ResourceNotFound));
        story.logged(30, pause(6_000), stored(1));
        story.logged(31, key(KeyState::Active), stored(1));
        story.logged(32, renew(1), renewed());
        story.passes(check);
    }
}
