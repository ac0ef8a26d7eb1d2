use super::{super::story::*, *};
use crate::history::{Call, OpId, Reply};
use tollgate_limiter::Priority;

/// A request that waits for up to ten seconds.
fn patient(id: &str, priority: Priority) -> Call {
    let Command::Acquire(acquire) = acquire(id) else { unreachable!("it is one") };
    let command = Command::from(Acquire { priority, ..Acquire::clone(&acquire) });
    Call { max_wait: Span::from_secs(10), ..Call::new(command) }
}

fn arrives(story: &mut Story, at_ms: u64, call: Call) -> OpId {
    let op = story.asked(at_ms, call);
    story.history.arrive(Span::from_millis(at_ms), op, 1);
    op
}

/// Proposes the entry that is logged next and logs it.
fn logs(story: &mut Story, proposed_ms: u64, applied_ms: u64, command: Command, answer: Answer) {
    let index = story.history.log().last().map_or(1, |entry| entry.index) + 1;
    story.history.propose(Span::from_millis(proposed_ms), index, 1);
    story.logged(applied_ms, command, answer);
}

/// Two requests that arrive one after the other; the second is granted first.
fn overtaking(first: (Priority, bool), second: Priority) -> Story {
    let mut story = Story::of(slots(2));
    let max_wait = if first.1 { Span::from_secs(1) } else { Span::ZERO };
    let (a, b) = (patient("a", first.0), patient("b", second));
    let one = arrives(&mut story, 1, Call { max_wait, ..a.clone() });
    let other = arrives(&mut story, 11, Call { max_wait: Span::ZERO, ..b.clone() });
    story.logged(20, b.command, held(1, 0));
    story.logged(30, a.command, held(2, 1));
    story.answered(25, other, Reply::Answer(held(1, 0)));
    story.answered(35, one, Reply::Answer(held(2, 1)));
    story
}

#[test]
fn nobody_overtakes_who_waits_and_is_no_worse() {
    overtaking((Priority::Medium, true), Priority::Medium).violates("S10", check);
    overtaking((Priority::High, true), Priority::Medium).violates("S10", check);
    overtaking((Priority::Low, true), Priority::Medium).passes(check);
    overtaking((Priority::Medium, false), Priority::Medium).passes(check);
}

#[test]
fn who_comes_later_and_is_better_goes_first_once_it_was_looked_at() {
    for (packed_ms, is_good) in [(9, true), (11, false)] {
        let mut story = Story::of(slots(2));
        let (a, b) = (patient("a", Priority::Low), patient("b", Priority::High));
        let low = arrives(&mut story, 5, a.clone());
        let high = arrives(&mut story, 10, b.clone());
        logs(&mut story, packed_ms, 12, release(9), released());
        logs(&mut story, 13, 20, a.command, held(1, 0));
        logs(&mut story, 26, 30, b.command, held(2, 1));
        story.answered(25, low, Reply::Answer(held(1, 0)));
        story.answered(35, high, Reply::Answer(held(2, 1)));
        if is_good { story.passes(check) } else { story.violates("S10", check) }
    }
}

#[test]
fn who_has_waited_elsewhere_keeps_its_turn() {
    for (waited_ms, is_good) in [(0, false), (100, true)] {
        let mut story = Story::of(slots(2));
        let (a, b) = (patient("a", Priority::Medium), patient("b", Priority::Medium));
        let waited_for = Span::from_millis(waited_ms);
        let first = arrives(&mut story, 200, a.clone());
        let returned = arrives(&mut story, 210, Call { waited_for, ..b.clone() });
        logs(&mut story, 220, 221, b.command, held(1, 0));
        logs(&mut story, 230, 231, a.command, held(2, 1));
        story.answered(225, returned, Reply::Answer(held(1, 0)));
        story.answered(235, first, Reply::Answer(held(2, 1)));
        if is_good { story.passes(check) } else { story.violates("S10", check) }
    }
}

#[test]
fn what_is_on_its_way_itself_does_not_wait() {
    for (proposed_ms, is_good) in [(12, true), (21, false)] {
        let mut story = Story::of(slots(2));
        let (a, b) = (patient("a", Priority::Medium), patient("b", Priority::Medium));
        let large = arrives(&mut story, 5, a.clone());
        let small = arrives(&mut story, 10, b.clone());
        logs(&mut story, 11, 20, a.command.clone(), denied());
        logs(&mut story, proposed_ms, 22, b.command, held(1, 0));
        logs(&mut story, 26, 30, a.command, held(2, 1));
        story.answered(25, small, Reply::Answer(held(1, 0)));
        story.answered(35, large, Reply::Answer(held(2, 1)));
        if is_good { story.passes(check) } else { story.violates("S10", check) }
    }
}

#[test]
fn who_waited_in_vain_was_passed() {
    for (denied_ms, is_good) in [(9_000, false), (1_000, true)] {
        let mut story = Story::of(slots(2));
        let max_wait = Span::from_millis(denied_ms - 100);
        let op = arrives(&mut story, 0, Call { max_wait, ..patient("a", Priority::Medium) });
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
        let op = story.asked(0, patient("a", Priority::Medium));
        story.history.leave(Span::from_millis(left_ms), op, 1);
        story.history.propose(Span::from_millis(10), 3, 1);
        story.logged(10, acquire("a"), held(1, 0));
        if is_good { story.passes(check) } else { story.violates("S10", check) }
    }
}
