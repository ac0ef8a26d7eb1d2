//! S7: what was answered before something else was asked comes before it in the log.
//!
//! Judged are operations whose place in the log their answer gives away: grants and ends of permits, which happen once,
//! and definitions, which are numbered.

use std::collections::BTreeMap;

use tollgate_limiter::{Command, Outcome, PermitId, Span};

use super::{Verdict, replay::steps};
use crate::history::{History, Operation};

/// What happens at most once in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    Grant(PermitId),
    End(PermitId),
    Definition(u64),
}

/// See the module.
pub fn check(history: &History, verdict: &mut Verdict) {
    let mut indexes = BTreeMap::new();
    for step in steps(history) {
        if let Some(deed) = deed(step.command, step.answer.as_ref().ok()) {
            indexes.entry(deed).or_insert(step.place.0);
        }
    }
    let operations = history.operations();
    let mut placed: Vec<_> = operations.iter().filter_map(|operation| placed(operation, &indexes)).collect();
    verdict.saw("S7 operations in the log", placed.len() as u64);
    // In the order of the invocations; before each, all that were answered earlier are taken into account.
    let mut answered = placed.clone();
    answered.sort_by_key(|(_, replied_at, _)| *replied_at);
    placed.sort_by_key(|(operation, ..)| operation.invoked_at);
    let mut answered = answered.into_iter().peekable();
    let mut latest: Option<(&Operation, u64)> = None;
    for (operation, _, index) in placed {
        while let Some((earlier, _, earlier_index)) =
            answered.next_if(|(_, replied_at, _)| *replied_at < operation.invoked_at)
        {
            if latest.is_none_or(|(_, latest)| latest < earlier_index) {
                latest = Some((earlier, earlier_index));
            }
        }
        if let Some((earlier, earlier_index)) = latest.filter(|(_, latest)| *latest >= index) {
            let what = format!("entry {earlier_index} was answered before entry {index} was asked for");
            verdict.accuse("S7", what, vec![format!("{earlier:?}"), format!("{operation:?}")]);
        }
    }
}

fn placed<'a>(
    operation: &'a Operation<'a>,
    indexes: &BTreeMap<Deed, u64>,
) -> Option<(&'a Operation<'a>, Span, u64)> {
    let (replied_at, answer) = operation.answer()?;
    let deed = deed(&operation.call.command, answer.as_ref().ok())?;
    Some((operation, replied_at, *indexes.get(&deed)?))
}

fn deed(command: &Command, outcome: Option<&Outcome>) -> Option<Deed> {
    match (command, outcome?) {
        (_, Outcome::Granted(grant)) if !grant.replayed => Some(Deed::Grant(grant.permit)),
        (Command::Release(release), Outcome::Released(_)) => Some(Deed::End(release.permit)),
        (Command::CreateResource(_), Outcome::Stored(stored)) => Some(Deed::Definition(stored.generation)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::story::*, check};

    #[test]
    fn the_log_has_the_order_that_clients_saw() {
        let run = |asked_ms| {
            let mut story = Story::of(slots(2));
            story.logged(0, acquire("b"), held(1, 0));
            story.logged(1, acquire("a"), held(2, 1));
            story.seen(2, 5, acquire("a"), held(2, 1));
            story.seen(asked_ms, 9, acquire("b"), held(1, 0));
            story
        };
        run(4).passes(check);
        run(6).violates("S7", check);
    }
}
