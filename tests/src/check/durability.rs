//! S4: what was acknowledged is in the log as it was known last, and, unless it has ended since, in the final state. S3: a
//! permit is granted once, whatever crashes; whoever is told of a permit asked for it.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_limiter::{Command, Outcome, PermitId, ResourceName, Span};

use super::{
    Verdict,
    intervals::millionths,
    replay::{Step, order, steps},
    terms::Target,
};
use crate::history::{Ending, EventKind, History, Operation};

/// What the log says that was done.
#[derive(Default)]
struct Done<'a> {
    granted: BTreeMap<PermitId, Step<'a>>,
    ended: BTreeSet<PermitId>,
    renewals: BTreeMap<PermitId, u64>,
    orders: BTreeMap<Order, u64>,
}

/// What was ordered about a resource, in words, and the generation that it has had since; none once it is gone. A pause or a
/// key's state changes no generation, and equal orders may be given again: they are counted.
type Order = (String, Option<u64>);

/// See the module.
pub fn check(history: &History, verdict: &mut Verdict) {
    let operations = history.operations();
    if !history.applied.is_empty() {
        let done = done(history, verdict);
        acknowledged_is_in_the_log(&operations, &done, verdict);
    }
    if let Some(ending) = &history.ending {
        acknowledged_is_in_the_state(history, &operations, ending, verdict);
    }
}

fn done<'a>(history: &'a History, verdict: &mut Verdict) -> Done<'a> {
    let mut done = Done::default();
    for step in steps(history) {
        if let Some((_, grant)) = step.fresh_grant()
            && let Some(before) = done.granted.insert(grant.permit, step)
        {
            let what = format!("{:?} was granted twice", grant.permit);
            verdict.accuse("S3", what, vec![before.to_string(), step.to_string()]);
        }
        done.ended.extend(step.ended());
        match (step.command, step.answer) {
            (Command::Renew(renew), Ok(Outcome::Renewed(_))) => {
                *done.renewals.entry(renew.permit).or_default() += 1;
            }
            (command, Ok(outcome)) => {
                if let Some(order) = ordered(command, outcome) {
                    *done.orders.entry(order).or_default() += 1;
                }
            }
            (_, Err(_)) => {}
        }
    }
    done
}

fn ordered(command: &Command, outcome: &Outcome) -> Option<Order> {
    let generation = match outcome {
        Outcome::Stored(stored) => Some(stored.generation),
        Outcome::Deleted => None,
        _ => return None,
    };
    Some((order(command)?, generation))
}

fn acknowledged_is_in_the_log(operations: &[Operation], done: &Done, verdict: &mut Verdict) {
    let mut renewals = BTreeMap::<PermitId, u64>::new();
    let mut orders = BTreeMap::<Order, u64>::new();
    for operation in operations {
        let Some((_, Ok(outcome))) = operation.answer() else { continue };
        let is_there = match (&operation.call.command, outcome) {
            (_, Outcome::Granted(grant)) => done.granted.contains_key(&grant.permit),
            (Command::Release(release), Outcome::Released(_)) => done.ended.contains(&release.permit),
            (Command::Renew(renew), Outcome::Renewed(_)) => {
                let acknowledged = renewals.entry(renew.permit).or_default();
                *acknowledged += 1;
                done.renewals.get(&renew.permit).is_some_and(|renewals| renewals >= acknowledged)
            }
            (command, outcome) => {
                let Some(order) = ordered(command, outcome) else { continue };
                let done = done.orders.get(&order).copied().unwrap_or_default();
                let acknowledged = orders.entry(order).or_default();
                *acknowledged += 1;
                done >= *acknowledged
            }
        };
        verdict.saw("S4 acknowledgements", 1);
        if !is_there {
            let what = "acknowledged, and not in the log".to_owned();
            verdict.accuse("S4", what, vec![format!("{operation:?}")]);
        }
    }
}

fn acknowledged_is_in_the_state(
    history: &History,
    operations: &[Operation],
    ending: &Ending,
    verdict: &mut Verdict,
) {
    let released = |acknowledged: bool| -> BTreeSet<PermitId> {
        let releases = operations.iter().filter_map(|operation| match &operation.call.command {
            Command::Release(release) if !acknowledged || is_released(operation) => Some(release.permit),
            _ => None,
        });
        releases.collect()
    };
    // Without a leader nobody has said what is held.
    let Some(held) = &ending.held else { return };
    let held: BTreeSet<_> = held.iter().map(|held| held.permit).collect();
    let asked_to_release = released(false);
    for (permit, (lives_until, operation)) in lives(history, operations) {
        if asked_to_release.contains(&permit)
            || lives_until <= ending.at
            || may_be_deleted(history, operation)
        {
            continue;
        }
        verdict.saw("S4 permits in the final state", 1);
        if !held.contains(&permit) {
            let what =
                format!("{permit:?} was acknowledged and has not ended, and is not in the final state");
            verdict.accuse("S4", what, vec![format!("{operation:?}")]);
        }
    }
    for permit in released(true).intersection(&held) {
        let what = format!("the release of {permit:?} was acknowledged, and it is in the final state");
        verdict.accuse("S4", what, vec![]);
    }
}

fn is_released(operation: &Operation) -> bool {
    matches!(operation.answer(), Some((_, Ok(Outcome::Released(_)))))
}

/// Until when permits with slots live at least if nobody ends them, by what their holders were told.
fn lives<'a>(
    history: &History,
    operations: &'a [Operation<'a>],
) -> BTreeMap<PermitId, (Span, &'a Operation<'a>)> {
    let mut lives = BTreeMap::new();
    for operation in operations {
        let (permit, lease) = match (&operation.call.command, operation.answer()) {
            (_, Some((_, Ok(Outcome::Granted(grant))))) => (grant.permit, grant.lease),
            (Command::Renew(renew), Some((_, Ok(Outcome::Renewed(lease))))) => (renew.permit, Some(*lease)),
            _ => continue,
        };
        let Some(lease) = lease else { continue };
        let until = Span(operation.invoked_at.0 + lease.0 - millionths(lease.0, history.drift_ppm));
        let (lives_until, _) = lives.entry(permit).or_insert((until, operation));
        *lives_until = until.max(*lives_until);
    }
    lives
}

/// Whether anybody asked to delete the resource, or to change it so that its slots may be gone.
fn may_be_deleted(history: &History, operation: &Operation) -> bool {
    let Some(name) = granted_of(operation) else { return true };
    history.events.iter().any(|event| match &event.kind {
        EventKind::Invoke { call, .. } => match &call.command {
            Command::DeleteResource(delete) => delete.name == *name,
            Command::UpdateResource(update) => {
                let limits = &update.resource.limits;
                update.resource.name == *name
                    && !limits.iter().any(|limit| !limit.shadow && limit.kind.concurrency().is_some())
            }
            _ => false,
        },
        _ => false,
    })
}

/// The resource whose permit the operation was granted.
fn granted_of<'a>(operation: &Operation<'a>) -> Option<&'a ResourceName> {
    match (&operation.call.command, operation.answer()) {
        (Command::Acquire(acquire), Some((_, Ok(Outcome::Granted(grant))))) => {
            Some(Target::of(acquire, grant).resource)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tollgate_limiter::{KeyState, Outcome};

    use super::{super::story::*, check};

    #[test]
    fn an_order_that_no_log_knows_is_lost() {
        for (order, answer) in [
            (update(slots(3), 1), stored(2)),
            (pause(5_000), stored(1)),
            (resume(), stored(1)),
            (key(KeyState::Draining), stored(1)),
            (delete(), Ok(Outcome::Deleted)),
        ] {
            let mut story = Story::of(slots(2));
            // In the log are others, of the same generation.
            story.done(2, 3, pause(6_000), stored(1));
            story.done(4, 5, key(KeyState::Active), stored(1));
            story.seen(6, 7, order.clone(), answer.clone());
            story.violates("S4", check);

            // The same order once more, which the log has once.
            let mut story = Story::of(slots(2));
            story.done(2, 3, order.clone(), answer.clone());
            story.seen(6, 7, order, answer);
            story.violates("S4", check);
        }
    }

    #[test]
    fn orders_that_were_repeated_are_in_the_log_as_often_as_they_were_acknowledged() {
        let mut story = Story::of(slots(2));
        story.done(2, 3, pause(5_000), stored(1));
        story.done(4, 5, pause(5_000), stored(1));
        // Nobody was told of this one.
        story.logged(6, pause(5_000), stored(1));
        story.done(7, 8, key(KeyState::Disabled), stored(1));
        story.done(9, 10, delete(), Ok(Outcome::Deleted));
        story.passes(check);
    }

    #[test]
    fn what_was_acknowledged_is_in_log_and_state() {
        let mut story = Story::of(slots(2));
        story.done(0, 5, acquire("a"), held(1, 0));
        story.done(6, 7, acquire("b"), held(2, 1));
        story.done(8, 9, release(2), released());
        story.ended(1_000, 100, &[1]);
        story.passes(check);
    }

    #[test]
    fn a_grant_that_no_log_knows_is_lost() {
        let mut story = Story::of(slots(2));
        story.seen(0, 5, acquire("a"), held(1, 0));
        story.violates("S4", check);
        let mut story = Story::of(slots(2));
        story.done(0, 5, acquire("a"), held(1, 0));
        story.seen(6, 7, release(1), released());
        story.violates("S4", check);
    }

    #[test]
    fn the_final_state_has_what_has_not_ended() {
        let run = || {
            let mut story = Story::of(slots(2));
            story.done(0, 5, acquire("a"), held(1, 0));
            story
        };
        let mut lost = run();
        lost.ended(1_000, 100, &[]);
        lost.violates("S4", check);
        let mut leaderless = run();
        leaderless.ended(1_000, 100, &[]);
        leaderless.history.ending.as_mut().unwrap().held = None;
        leaderless.passes(check);
        let mut expired = run();
        expired.ended(10_000, 100, &[]);
        expired.passes(check);
        let mut still_there = run();
        still_there.done(10, 11, release(1), released());
        still_there.ended(1_000, 100, &[1]);
        still_there.violates("S4", check);
    }

    #[test]
    fn a_permit_is_granted_once() {
        let mut story = Story::of(slots(2));
        story.logged(0, acquire("a"), held(1, 0));
        story.logged(1, acquire("b"), held(1, 1));
        story.violates("S3", check);
    }
}
