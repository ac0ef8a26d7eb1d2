use tollgate_limiter::*;

use super::check;
use crate::check::story::*;

fn bucket(capacity: u64, refill_amount: u64) -> LimitKind {
    LimitKind::TokenBucket(TokenBucket { capacity, refill_amount, refill_period: Span::from_secs(1) })
}

/// Two in a second.
fn window(anchor: Anchor, skew_ms: u64) -> LimitKind {
    let (period, max_clock_skew) = (Span::from_secs(1), Span::from_millis(skew_ms));
    LimitKind::FixedWindow(FixedWindow { amount: 2, period, anchor, max_clock_skew })
}

fn update(kind: LimitKind) -> (Command, Answer) {
    let resource = resource(kind);
    let update = UpdateResource { resource: resource.clone(), generation: 1 };
    (Command::from(update), Ok(Outcome::Stored(StoredResource::new(resource, 2))))
}

/// Grants of these costs at these moments.
fn run(kind: LimitKind, grants: &[(u64, u64)]) -> Story {
    let mut story = Story::of(resource(kind));
    for (permit, (at_ms, cost)) in (1..).zip(grants) {
        story.logged(*at_ms, acquire_cost(&permit.to_string(), *cost), granted(permit));
    }
    story
}

#[test]
fn a_bucket_gives_what_it_holds() {
    run(bucket(5, 2), &[(0, 5), (500, 1), (1_000, 1), (3_000, 4)]).passes(check);
    run(bucket(5, 2), &[(0, 5), (499, 1)]).violates("S1", check);
    run(bucket(5, 2), &[(0, 5), (2_400, 5)]).violates("S1", check);
}

#[test]
fn what_was_not_sent_does_not_count() {
    let back = [(CallOutcome::NotSent, None, "gone"), (CallOutcome::Ok, Some(0), "free")];
    for (outcome, cost, id) in back {
        let mut story = run(bucket(1, 1), &[(0, 1)]);
        story.logged(10, release_as(1, outcome, cost), released());
        story.logged(20, acquire(id), granted(2));
        story.passes(check);
    }
    let mut story = run(bucket(1, 1), &[(0, 1)]);
    story.logged(10, release(1), released());
    story.logged(20, acquire("2"), granted(2));
    story.violates("S1", check);
}

#[test]
fn a_change_does_not_refill() {
    let changed = |capacity, second| {
        let mut story = run(bucket(5, 1), &[(0, 5)]);
        let (command, answer) = update(bucket(capacity, 1));
        story.logged(1_000, command, answer);
        story.logged(1_000, acquire_cost("later", second), granted(9));
        story
    };
    changed(50, 1).passes(check);
    changed(50, 2).violates("S1", check);
    changed(1, 1).passes(check);
}

#[test]
fn a_pace_is_kept() {
    let pace = LimitKind::LeakyBucket(LeakyBucket { amount: 2, period: Span::from_secs(1) });
    run(pace.clone(), &[(0, 1), (500, 2), (1_500, 1)]).passes(check);
    run(pace, &[(0, 1), (500, 2), (1_499, 1)]).violates("S1", check);
}

#[test]
fn any_window_counts() {
    let window = SlidingWindow { amount: 3, period: Span::from_secs(1), resolution: 10 };
    let window = LimitKind::SlidingWindow(window);
    run(window.clone(), &[(0, 1), (900, 2), (1_001, 1), (1_901, 2)]).passes(check);
    run(window, &[(0, 1), (900, 2), (1_001, 1), (1_900, 2)]).violates("S1", check);
}

#[test]
fn aligned_windows_count_arrivals() {
    run(window(Anchor::Epoch, 0), &[(900, 2), (1_000, 2)]).passes(check);
    run(window(Anchor::Epoch, 0), &[(900, 2), (999, 1)]).violates("S1", check);
    run(window(Anchor::Epoch, 50), &[(970, 2), (1_020, 1)]).violates("S1", check);
    run(window(Anchor::FirstRequest, 0), &[(900, 2), (1_900, 2)]).passes(check);
    run(window(Anchor::FirstRequest, 0), &[(900, 1), (1_000, 1), (1_899, 1)]).violates("S1", check);
}

#[test]
fn days_change_at_midnight_in_their_zone() {
    let zone = TimeZoneName::new("Europe/Berlin").unwrap();
    let (period, max_clock_skew) = (Span::from_secs(24 * 3600), Span::ZERO);
    let window = FixedWindow { amount: 1, period, anchor: Anchor::Midnight(zone), max_clock_skew };
    const HOUR_MS: u64 = 3_600_000;
    run(LimitKind::FixedWindow(window.clone()), &[(22 * HOUR_MS, 1), (23 * HOUR_MS, 1)]).passes(check);
    run(LimitKind::FixedWindow(window), &[(23 * HOUR_MS, 1), (25 * HOUR_MS, 1)]).violates("S1", check);
}

#[test]
fn a_bucket_holds_what_it_tells() {
    for (available, is_good) in [(2, true), (1, false)] {
        let mut story = run(bucket(5, 1), &[(0, 3)]);
        let Ok(Outcome::Granted(grant)) = granted(2) else { unreachable!("it is one") };
        let limit = LimitName::new("slots").unwrap();
        let usage = vec![LimitUsage { limit, amount: 5, available, shadow: false, would_deny: false }];
        story.logged(1_000, acquire("later"), Ok(Outcome::Granted(Grant { usage: usage.into(), ..grant })));
        if is_good { story.passes(check) } else { story.violates("S1", check) }
    }
}

#[test]
fn windows_that_begin_otherwise_are_other_windows() {
    let changed = |after: &[(u64, u64)]| {
        let mut story = run(window(Anchor::Epoch, 0), &[(1, 1)]);
        let (command, answer) = update(window(Anchor::FirstRequest, 0));
        story.logged(100, command, answer);
        for (permit, (at_ms, cost)) in (7..).zip(after) {
            story.logged(*at_ms, acquire_cost(&permit.to_string(), *cost), granted(permit));
        }
        story
    };
    // From the first request on, not from each full second.
    changed(&[(900, 2), (1_900, 2)]).passes(check);
    changed(&[(900, 1), (1_000, 1), (1_899, 1)]).violates("S1", check);
}

#[test]
fn a_window_that_no_sent_call_opened_is_none_if_that_is_told_in_time() {
    for (told_ms, is_good) in [(950, false), (1_050, true)] {
        let mut story = run(window(Anchor::FirstRequest, 0), &[(0, 1), (900, 1)]);
        let unsent = release_as(1, CallOutcome::NotSent, None);
        let grant = |story: &mut Story| story.logged(1_000, acquire_cost("next", 2), granted(7));
        if told_ms > 1_000 {
            grant(&mut story);
        }
        story.logged(told_ms, unsent, released());
        if told_ms < 1_000 {
            grant(&mut story);
        }
        if is_good { story.passes(check) } else { story.violates("S1", check) }
    }
}

#[test]
fn a_bucket_that_was_full_before_it_grew_may_hold_less() {
    let mut story = Story::of(resource(bucket(5, 1)));
    let (command, answer) = update(bucket(9, 1));
    story.logged(100, command, answer);
    let Ok(Outcome::Granted(grant)) = granted(1) else { unreachable!("it is one") };
    let limit = LimitName::new("slots").unwrap();
    let usage = vec![LimitUsage { limit, amount: 9, available: 4, shadow: false, would_deny: false }];
    story.logged(100, acquire("first"), Ok(Outcome::Granted(Grant { usage: usage.into(), ..grant })));
    story.passes(check);
}

#[test]
fn only_what_a_larger_bucket_did_not_lack_before_is_new() {
    for (before, later, is_good) in [(0, 9, true), (1, 9, false), (1, 4, true)] {
        let mut story = run(bucket(5, 1), &[(0, 1), (3_000, before)]);
        let (command, answer) = update(bucket(9, 1));
        story.logged(3_000, command, answer);
        story.logged(3_000, acquire_cost("later", later), granted(9));
        if is_good { story.passes(check) } else { story.violates("S1", check) }
    }
}
