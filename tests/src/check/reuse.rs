//! L6: once nothing fails any more, nobody is denied a slot that is free: a crashed holder's can be had again when its
//! grace is over, and 250 ms. L3: nobody waits beside a free slot for long, at the successor of a leader that was asked to go
//! neither. From when that one is asked until the next one serves, nobody is let go: so much is left out, and no more.
//!
//! Judged are resources with one plain limit on slots and one definition, which nobody paused.

use std::collections::BTreeMap;

use tollgate_limiter::{Command, DenialReason, Outcome, Resource, ResourceName, Span};

use super::{
    Verdict,
    intervals::sole_definitions,
    occupancy::{Occupancy, sole_slots},
};
use crate::history::{History, Interregnum, Operation};

/// How long after healing a leader is there again and clients have found it.
const RECOVERY: Span = Span::from_secs(5);

/// For how long a slot may lie free beside a waiter: 100 ms, and what messages, disks and the record take. Where nothing is lost,
/// that is far less; but what is lost is sent again a heartbeat or two later, and may be lost again.
const WAKE_UP: Span = Span::from_millis(1_000);

/// See the module.
pub fn check(history: &History, verdict: &mut Verdict) {
    let Some(healed_at) = history.ending.as_ref().and_then(|ending| ending.healed_at) else { return };
    if history.applied.is_empty() {
        // Without the log nobody knows what is taken.
        return;
    }
    let calm = healed_at + RECOVERY;
    let operations = history.operations();
    for (resource, operations) in judged(&operations) {
        let Some((_, terms)) = sole_slots(resource) else { continue };
        let occupancy = Occupancy::of(history, resource, terms);
        for operation in operations {
            nobody_is_denied_what_is_free(operation, calm, &occupancy, verdict);
            nobody_waits_beside_a_free_slot(operation, calm, &occupancy, &history.interregna, verdict);
        }
    }
}

fn judged<'a>(operations: &'a [Operation<'a>]) -> Vec<(&'a Resource, Vec<&'a Operation<'a>>)> {
    let mut by_name = BTreeMap::<&ResourceName, Vec<&Operation>>::new();
    let mut definitions = sole_definitions(operations);
    for operation in operations {
        match &operation.call.command {
            // Who can have several resources waits for none of them alone.
            Command::Acquire(acquire) if !acquire.alternatives.is_empty() => {}
            Command::Acquire(acquire) => by_name.entry(&acquire.resource).or_default().push(operation),
            Command::PauseResource(order) => drop(definitions.remove(&order.resource)),
            Command::SetKeyState(order) => drop(definitions.remove(&order.resource)),
            _ => {}
        }
    }
    let plain = definitions.into_values().filter(|resource| resource.budgets.is_empty());
    plain.filter_map(|resource| Some((resource, by_name.remove(&resource.name)?))).collect()
}

fn nobody_is_denied_what_is_free(
    operation: &Operation,
    calm: Span,
    occupancy: &Occupancy,
    verdict: &mut Verdict,
) {
    let Some((denied_at, Ok(Outcome::Denied(denial)))) = operation.answer() else { return };
    let judged = operation.call.max_wait.is_zero() && denial.reason == DenialReason::LimitExhausted;
    if operation.invoked_at < calm || !judged {
        return;
    }
    verdict.saw("L6 denials after healing", 1);
    if !occupancy.may_be_full(operation.invoked_at, denied_at) {
        let what = format!("denied while not all of {} slots are taken", occupancy.slots);
        verdict.accuse("L6", what, vec![format!("{operation:?}")]);
    }
}

fn nobody_waits_beside_a_free_slot(
    operation: &Operation,
    calm: Span,
    occupancy: &Occupancy,
    interregna: &[Interregnum],
    verdict: &mut Verdict,
) {
    let Some((arrived_at, _)) = operation.arrivals.last().copied() else { return };
    // One that was not there any more when it was given up was answered, and the answer was lost.
    let replied_at = operation.end.and_then(|(at, reply)| reply.map(|_| at));
    let Some(until) = operation.left.map(|(at, _)| at).or(replied_at) else { return };
    let until = until.min(operation.invoked_at + operation.call.patience());
    let from = arrived_at.max(calm);
    if operation.call.max_wait.is_zero() || until <= from {
        return;
    }
    verdict.saw("L3 waits after healing", 1);
    let asked_first_at = operation.invoked_at.saturating_sub(operation.call.waited_for);
    let is_outlasted = |gap: &&Interregnum| asked_first_at < gap.began_at && gap.ended_at <= arrived_at;
    verdict.saw("L3 waits across a handover", interregna.iter().filter(is_outlasted).count() as u64);
    let mut served = served(from, until, interregna).into_iter();
    let free = served.find_map(|(from, until)| occupancy.free_stretch(from, until, WAKE_UP));
    if let Some((begin, end)) = free {
        let what = format!("waits from {} to {} ns while a slot is free", begin.0, end.0);
        verdict.accuse("L3", what, vec![format!("{operation:?}")]);
    }
}

/// The parts of a stretch in which somebody serves, as far as leaders were asked to go.
fn served(from: Span, until: Span, interregna: &[Interregnum]) -> Vec<(Span, Span)> {
    let mut begin = from;
    let mut parts = Vec::new();
    for gap in interregna.iter().filter(|gap| gap.began_at < until && from < gap.ended_at) {
        parts.push((begin, gap.began_at));
        begin = begin.max(gap.ended_at);
    }
    parts.push((begin, until));
    parts.retain(|(begin, end)| begin < end);
    parts
}

#[cfg(test)]
mod tests {
    use super::{super::story::*, *};
    use crate::history::{Call, Reply};

    fn crashed_holder() -> Story {
        let mut story = Story::of(slots(1));
        story.done(0, 5, acquire("a"), held(1, 0));
        story.ended(60_000, 1_000, &[]);
        story
    }

    #[test]
    fn a_crashed_holders_slot_is_free_after_its_grace() {
        for (asked_ms, is_good) in [(11_200, true), (11_400, false)] {
            let mut story = crashed_holder();
            story.seen(asked_ms, asked_ms + 5, acquire("b"), denied());
            if is_good { story.passes(check) } else { story.violates("L6", check) }
        }
    }

    #[test]
    fn nobody_waits_beside_a_free_slot() {
        for (granted_ms, is_good) in [(11_500, true), (15_000, false)] {
            let mut story = crashed_holder();
            let call = Call { max_wait: Span::from_secs(30), ..Call::new(acquire("b")) };
            let op = story.asked(7_000, call);
            story.history.arrive(Span::from_millis(7_001), op, 1);
            story.logged(granted_ms, acquire("b"), held(2, 0));
            story.answered(granted_ms, op, Reply::Answer(held(2, 0)));
            if is_good { story.passes(check) } else { story.violates("L3", check) }
        }
    }

    /// One waits for the slot of a crashed holder, which is free at 11.25 s, and has it at 15 s.
    fn served_late(interregna: &[(u64, u64)]) -> Story {
        let mut story = crashed_holder();
        let op = story.asked(7_000, Call { max_wait: Span::from_secs(30), ..Call::new(acquire("b")) });
        story.history.arrive(Span::from_millis(7_001), op, 1);
        story.logged(15_000, acquire("b"), held(2, 0));
        story.answered(15_000, op, Reply::Answer(held(2, 0)));
        story.history.interregna = interregna
            .iter()
            .map(|(began, ended)| Interregnum {
                began_at: Span::from_millis(*began),
                ended_at: Span::from_millis(*ended),
            })
            .collect();
        story
    }

    #[test]
    fn nobody_is_let_go_until_the_successor_serves() {
        served_late(&[(11_500, 14_200)]).passes(check);
        served_late(&[(11_500, 12_500), (12_400, 14_200)]).passes(check);
        served_late(&[(1_000, 20_000)]).passes(check);
    }

    #[test]
    fn a_successor_lets_nobody_wait_beside_a_free_slot() {
        served_late(&[(11_500, 13_900)]).violates("L3", check);
        served_late(&[(12_300, 14_200)]).violates("L3", check);
        served_late(&[(1_000, 6_500), (16_000, 17_000)]).violates("L3", check);
    }

    #[test]
    fn who_comes_again_at_the_successor_is_counted() {
        for (waited_ms, count) in [(1_000, 1), (0, 0)] {
            let mut story = crashed_holder();
            let (max_wait, waited_for) = (Span::from_secs(30), Span::from_millis(waited_ms));
            let op = story.asked(7_500, Call { max_wait, waited_for, ..Call::new(acquire("b")) });
            story.history.arrive(Span::from_millis(7_501), op, 1);
            story.answered(8_000, op, Reply::NotDone);
            let [began_at, ended_at] = [7_000, 7_400].map(Span::from_millis);
            story.history.interregna.push(Interregnum { began_at, ended_at });
            assert_eq!(story.put_to(check).seen["L3 waits across a handover"], count);
        }
    }

    #[test]
    fn whose_answer_was_lost_does_not_wait() {
        for (leaves, is_good) in [(false, true), (true, false)] {
            let mut story = crashed_holder();
            let op = story.asked(7_000, Call { max_wait: Span::from_secs(30), ..Call::new(acquire("b")) });
            story.history.arrive(Span::from_millis(7_001), op, 1);
            story.history.gone(Span::from_millis(20_000), op);
            if leaves {
                story.history.leave(Span::from_millis(20_001), op, 1);
            }
            assert_eq!(story.put_to(check).is_good(), is_good);
        }
    }
}
