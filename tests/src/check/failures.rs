//! S9: what failed for certain, was refused or was denied takes no effect, then or later.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_limiter::{Command, Outcome, PermitId, RequestId};

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
    fn a_definite_failure_has_no_effect() {
        run(acquire("a"), Reply::NotDone, held(2, 1)).violates("S9", check);
        run(acquire("a"), Reply::Answer(denied()), held(2, 1)).violates("S9", check);
        run(release(1), Reply::NotDone, released()).violates("S9", check);
        run(acquire("a"), Reply::Answer(denied()), denied()).passes(check);
        assert!(run(acquire("a"), Reply::Unknown, held(2, 1)).put_to(check).is_good());
    }
}
