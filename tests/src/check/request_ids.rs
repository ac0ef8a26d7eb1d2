//! S5: the same request id and body give the same permit, for the stated retention, and debit nothing again; the same id
//! with another body is refused.

use std::collections::BTreeMap;

use tollgate_limiter::{Acquire, ClusterTime, Command, Grant, Outcome, PermitId, Rejection, RequestId, Span};

use super::{
    Verdict,
    intervals::millionths,
    replay::{Step, steps},
};
use crate::history::{History, Operation};

/// How long the public API says that granted request ids are remembered. (The number that it also states, a million, is
/// beyond every run.)
const RETENTION: Span = Span::from_secs(600);

/// See the module.
pub fn check(history: &History, verdict: &mut Verdict) {
    in_the_log(history, verdict);
    between_clients(history, verdict);
}

struct Granted<'a> {
    acquire: &'a Acquire,
    grant: &'a Grant,
    at: ClusterTime,
    step: Step<'a>,
}

fn in_the_log(history: &History, verdict: &mut Verdict) {
    let mut granted = BTreeMap::<&RequestId, Granted>::new();
    let mut ids = BTreeMap::<PermitId, &RequestId>::new();
    for step in steps(history) {
        if let Some(permit) = step.ended().filter(|_| step.was_not_sent()) {
            // The retry of a call that was never sent is decided anew.
            if let Some(id) = ids.remove(&permit) {
                granted.remove(id);
            }
        }
        let Some((acquire, id)) = step.acquire().and_then(|a| Some((a, a.request_id.as_ref()?))) else {
            continue;
        };
        let now = step.now.cluster;
        let known = granted.get(id).filter(|known| now < known.at + RETENTION);
        let is_right = match (known, step.answer) {
            (Some(known), answer) if known.acquire == acquire => {
                verdict.saw("S5 replays in the log", 1);
                matches!(answer, Ok(Outcome::Granted(grant))
                    if grant.replayed && grant.permit == known.grant.permit && grant.slots == known.grant.slots)
            }
            (Some(_), answer) => {
                verdict.saw("S5 ids with another body in the log", 1);
                *answer == Err(Rejection::RequestIdReused)
            }
            (None, Ok(Outcome::Granted(grant))) => !grant.replayed,
            (None, answer) => *answer != Err(Rejection::RequestIdReused),
        };
        if !is_right {
            let before = known.map(|known| known.step.to_string());
            let what = format!("request id {id} is not answered as it was before");
            verdict.accuse("S5", what, before.into_iter().chain([step.to_string()]).collect());
        }
        if let Some((_, grant)) = step.fresh_grant() {
            ids.insert(grant.permit, id);
            granted.insert(id, Granted { acquire, grant, at: now, step });
        }
    }
}

/// Tries of one request id whose grants their clients received. Where one of them was given up, or a permit was released
/// as not sent, the id may have been granted anew.
fn between_clients(history: &History, verdict: &mut Verdict) {
    let operations = history.operations();
    let mut tries = BTreeMap::<&RequestId, Vec<(&Acquire, &Operation)>>::new();
    for operation in &operations {
        if let Command::Acquire(acquire) = &operation.call.command
            && let Some(id) = &acquire.request_id
        {
            tries.entry(id).or_default().push((acquire, operation));
        }
    }
    let not_sent: Vec<_> = operations.iter().filter_map(|operation| not_sent(operation)).collect();
    let retention = Span(RETENTION.0 - millionths(RETENTION.0, history.drift_ppm));
    for (id, tries) in tries {
        // Whoever does not receive a grant gives it back.
        if tries.iter().any(|(_, operation)| operation.answer().is_none()) {
            continue;
        }
        let granted: Vec<_> =
            tries.iter().filter_map(|(acquire, op)| Some((acquire, op, grant_of(op)?))).collect();
        for (nth, (body, first, (_, permit))) in granted.iter().enumerate() {
            for (other_body, other, (replied_at, other_permit)) in &granted[nth + 1..] {
                verdict.saw("S5 tries of one id", 1);
                let is_recent = replied_at.0 < first.invoked_at.0 + retention.0;
                let differs = permit != other_permit || body != other_body;
                if is_recent && differs && !not_sent.contains(permit) && !not_sent.contains(other_permit) {
                    let what = format!("request id {id} was granted twice");
                    verdict.accuse("S5", what, vec![format!("{first:?}"), format!("{other:?}")]);
                }
            }
        }
    }
}

fn grant_of(operation: &Operation) -> Option<(Span, PermitId)> {
    match operation.answer() {
        Some((at, Ok(Outcome::Granted(grant)))) => Some((at, grant.permit)),
        _ => None,
    }
}

fn not_sent(operation: &Operation) -> Option<PermitId> {
    match &operation.call.command {
        Command::Release(release) if release.outcome == tollgate_limiter::CallOutcome::NotSent => {
            Some(release.permit)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tollgate_limiter::CallOutcome;

    use super::{super::story::*, *};

    #[test]
    fn replays_are_replays() {
        let mut story = Story::of(slots(9));
        story.done(0, 1, acquire("a"), held(1, 0));
        story.done(2, 3, acquire("a"), replayed(held(1, 0)));
        story.done(4, 5, acquire_cost("a", 2), Err(Rejection::RequestIdReused));
        story.logged(6, release_as(1, CallOutcome::NotSent, None), released());
        story.logged(7, acquire("a"), held(2, 0));
        story.logged(700_000, acquire("a"), held(3, 0));
        story.passes(check);
    }

    #[test]
    fn an_id_is_granted_once() {
        for (later, answer) in [
            (acquire("a"), held(2, 1)),
            (acquire("a"), replayed(held(2, 1))),
            (acquire_cost("a", 2), held(2, 1)),
            (acquire("b"), replayed(held(1, 0))),
            (acquire("b"), Err(Rejection::RequestIdReused)),
        ] {
            let mut story = Story::of(slots(9));
            story.logged(0, acquire("a"), held(1, 0));
            story.logged(2, later, answer);
            story.violates("S5", check);
        }
    }

    #[test]
    fn clients_see_it_without_the_log() {
        let run = |second: Answer| {
            let mut story = Story::of(slots(9));
            story.seen(0, 1, acquire("a"), held(1, 0));
            story.seen(2, 3, acquire("a"), second);
            story
        };
        run(replayed(held(1, 0))).passes(check);
        run(held(2, 1)).violates("S5", check);
    }

    use tollgate_limiter::Answer;
}
