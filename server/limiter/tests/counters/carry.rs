//! Changing a limit never refills it.

use std::ops::RangeInclusive;

use proptest::prelude::*;
use tollgate_limiter::counter::most;
use tollgate_limiter::*;

use crate::script::*;

fn actions() -> impl Strategy<Value = Action> {
    prop_oneof![5 => acquires(), 1 => forces(), 1 => refunds(), 1 => settlements()]
}

/// Old and new terms of one kind.
fn changes() -> impl Strategy<Value = (Rules, Rules)> {
    prop_oneof![
        (token_buckets(), token_buckets()),
        (leaky_buckets(), leaky_buckets()),
        (fixed_windows(), fixed_windows()),
        (sliding_windows(), sliding_windows()),
    ]
}

/// Skew, tolerance and amount differ.
fn epoch_windows_of_one_period() -> impl Strategy<Value = (Rules, Rules)> {
    (4..60u64).prop_flat_map(|period| (epoch_windows_of(period), epoch_windows_of(period)))
}

fn fixed_windows() -> impl Strategy<Value = Rules> {
    prop_oneof![epoch_windows(), first_request_windows()]
}

/// The same period, and a tolerance that is not smaller.
fn first_request_windows_that_go_on() -> impl Strategy<Value = (Rules, Rules)> {
    (first_request_windows(), first_request_windows()).prop_map(|(old, mut new)| {
        if let (LimitKind::FixedWindow(old), LimitKind::FixedWindow(new)) = (&old.kind, &mut new.kind) {
            new.period = old.period;
        }
        new.tolerance = new.tolerance.max(old.tolerance);
        (old, new)
    })
}

/// Whether it is known over the change which calls open the vendor's windows, and until when these are open.
fn windows_go_on(old: &Rules, new: &Rules) -> bool {
    let period = |rules: &Rules| match &rules.kind {
        LimitKind::FixedWindow(window) if window.anchor == Anchor::FirstRequest => Some(window.period),
        _ => None,
    };
    period(old).is_some() && period(old) == period(new) && old.tolerance <= new.tolerance
}

fn carried(history: &History, to: &Rules) -> History {
    let counter = history.counter.carry(history.rules.terms(), to.terms(), history.now);
    History { counter, rules: to.clone(), ..history.clone() }
}

/// Under a shorter period, what is older than that is legitimately over.
fn period(rules: &Rules) -> Span {
    match &rules.kind {
        LimitKind::SlidingWindow(window) => window.period + rules.tolerance,
        LimitKind::FixedWindow(window) if window.anchor == Anchor::FirstRequest => {
            window.period + rules.tolerance
        }
        _ => Span::ZERO,
    }
}

/// Where the vendor's clock is closer to ours, a window that may still have been open is over.
fn skew(rules: &Rules) -> Span {
    match &rules.kind {
        LimitKind::FixedWindow(window) => window.max_clock_skew,
        _ => Span::ZERO,
    }
}

proptest! {
    #[test]
    fn nothing_is_refilled((old, new) in changes(), steps in steps(actions())) {
        let history = History::run(old.clone(), &steps);
        let after = carried(&history, &new);
        let grown = most(&new.kind).unwrap().saturating_sub(most(&old.kind).unwrap());
        if matches!(old.kind, LimitKind::TokenBucket(_)) {
            prop_assert!(after.available() <= history.available());
        } else if !matches!(old.kind, LimitKind::LeakyBucket(_))
            && period(&new) >= period(&old)
            && skew(&new) >= skew(&old)
        {
            let most = history.available().max(0) + i64::try_from(grown).unwrap();
            let used = |history: &History| history.counter.used(history.rules.terms(), history.now);
            prop_assert!(used(&after) >= used(&history));
            // Where the old window took no calls any more, there is what was not used of it.
            let left = most_left(&new, used(&history));
            prop_assert!(after.available() <= most.max(left));
        }
        prop_assert!(after.available() <= i64::try_from(most(&new.kind).unwrap()).unwrap());
    }

    #[test]
    fn the_same_terms_change_nothing(rules in all_kinds(), steps in steps(actions()), amount in 1..12u64) {
        let history = History::run(rules.clone(), &steps);
        let after = carried(&history, &rules);
        prop_assert_eq!(after.available(), history.available());
        prop_assert_eq!(after.earliest(amount, after.now), history.earliest(amount, history.now));
    }

    #[test]
    fn there_and_back_gains_nothing((old, new) in changes(), steps in steps(actions())) {
        let history = History::run(old.clone(), &steps);
        let back = carried(&carried(&history, &new), &old);
        let takes_calls = history.earliest(0, history.now) == Some(history.now);
        if matches!(old.kind, LimitKind::TokenBucket(_)) {
            prop_assert!(back.available() <= history.available());
        } else if takes_calls && period(&new) >= period(&old) {
            prop_assert!(back.available() <= history.available());
        }
    }

    #[test]
    fn debits_of_before_give_back_no_more_than_they_took(
        (old, new) in changes(),
        steps in steps(actions()),
        more in steps(prop_oneof![2 => acquires(), 3 => refunds(), 1 => settlements()]),
    ) {
        let mut history = carried(&History::run(old, &steps), &new);
        for step in &more {
            history.take(step);
            let granted = history.available() <= i64::try_from(most(&new.kind).unwrap()).unwrap();
            prop_assert!(granted);
        }
    }

    #[test]
    fn what_is_granted_after_a_change_keeps_to_the_new_window(
        (old, new) in (sliding_windows(), sliding_windows()),
        steps_before in steps(actions()),
        steps_after in steps(prop_oneof![4 => acquires(), 2 => refunds(), 1 => settlements()]),
    ) {
        let LimitKind::SlidingWindow(window) = new.kind.clone() else { unreachable!() };
        let mut history = carried(&History::run(old, &steps_before), &new);
        let before = history.calls.len();
        steps_after.iter().for_each(|step| history.take(step));
        let calls: Vec<_> = history.calls[before..].iter().filter(|call| call.sent).collect();
        for (i, first) in calls.iter().enumerate() {
            let inside = calls[i..].iter().take_while(|call| call.at.cluster <= first.at.cluster + window.period);
            prop_assert!(inside.map(|call| call.amount).sum::<u64>() <= window.amount);
        }
    }

    #[test]
    fn what_is_granted_after_a_change_keeps_to_the_windows_that_its_requests_open(
        (old, new) in (fixed_windows(), first_request_windows()),
        steps_before in steps(actions()),
        steps_after in steps(prop_oneof![6 => acquires(), 1 => refunds(), 1 => settlements()]),
    ) {
        let LimitKind::FixedWindow(window) = new.kind.clone() else { unreachable!() };
        // There the calls from before open windows, too: see the next property.
        prop_assume!(!windows_go_on(&old, &new));
        let mut history = carried(&History::run(old, &steps_before), &new);
        let before = history.calls.len();
        steps_after.iter().for_each(|step| history.take(step));
        let (mut closes, mut sum) = (ClusterTime::default(), 0);
        for call in history.calls[before..].iter().filter(|call| call.sent) {
            if call.at.cluster >= closes {
                (closes, sum) = (call.at.cluster + window.period, 0);
            }
            sum += call.amount;
            prop_assert!(sum <= window.amount, "{sum} in the window that closes at {closes:?}");
        }
    }

    #[test]
    fn where_windows_go_on_over_a_change_each_has_what_was_in_force_when_it_was_opened_or_is_now(
        (old, new) in first_request_windows_that_go_on(),
        steps_before in steps(prop_oneof![6 => acquires(), 1 => refunds(), 1 => settlements()]),
        // News that a call of before was not sent would come when its window is over, by the tolerance of then.
        steps_after in steps(prop_oneof![6 => acquires(), 1 => settlements()]),
    ) {
        prop_assert!(windows_go_on(&old, &new));
        let (before, after) = (most(&old.kind).unwrap(), most(&new.kind).unwrap());
        let LimitKind::FixedWindow(window) = new.kind.clone() else { unreachable!() };
        let mut history = carried(&History::run(old, &steps_before), &new);
        let changed = history.calls.len();
        steps_after.iter().for_each(|step| history.take(step));
        let (mut closes, mut sum, mut most) = (ClusterTime::default(), 0, 0);
        for (index, call) in history.calls.iter().enumerate().filter(|(_, call)| call.sent) {
            if call.at.cluster >= closes {
                let was_opened_before = index < changed;
                (closes, sum) = (call.at.cluster + window.period, 0);
                most = if was_opened_before { before.max(after) } else { after };
            }
            sum += call.amount;
            prop_assert!(sum <= most, "{sum} in the window that closes at {closes:?}");
        }
    }

    #[test]
    fn what_is_granted_after_a_change_keeps_to_windows_that_stay(
        (old, new) in epoch_windows_of_one_period(),
        steps_before in steps(actions()),
        steps_after in steps(prop_oneof![6 => acquires(), 1 => refunds(), 1 => settlements(), 1 => debts()]),
    ) {
        let mut history = carried(&History::run(old.clone(), &steps_before), &new);
        let before = history.calls.len();
        for step in &steps_after {
            let calls = history.calls.len();
            history.take(step);
            let Some(granted) = history.calls.get(calls) else { continue };
            for window in windows_touched(&new, granted.at.wall) {
                let inside = history.calls.iter().enumerate().filter(|(number, call)| {
                    let rules = if *number < before { &old } else { &new };
                    windows_touched(rules, call.at.wall).contains(&window)
                });
                let sum = inside.map(|(_, call)| call.amount).sum::<u64>();
                prop_assert!(sum <= most(&new.kind).unwrap(), "{sum} in window {window}");
            }
        }
    }
}

/// The numbers of the vendor's windows in which a call may arrive that is granted then.
fn windows_touched(rules: &Rules, granted: WallTime) -> RangeInclusive<i64> {
    let LimitKind::FixedWindow(window) = &rules.kind else { unreachable!("only windows are asked for") };
    let number = |wall: i64| wall.div_euclid(window.period.0.cast_signed());
    let first = number(granted.0.saturating_sub_unsigned(window.max_clock_skew.0));
    first..=number(granted.0.saturating_add_unsigned((window.max_clock_skew + rules.tolerance).0))
}

fn most_left(rules: &Rules, used: u64) -> i64 {
    i64::try_from(most(&rules.kind).unwrap()).unwrap() - i64::try_from(used).unwrap()
}

#[test]
fn a_token_bucket_keeps_its_tokens_and_its_debt() {
    let bucket = |capacity, refill_amount, period| Rules {
        kind: LimitKind::TokenBucket(TokenBucket { capacity, refill_amount, refill_period: Span(period) }),
        tolerance: Span::ZERO,
    };
    let mut history = History::new(bucket(10, 1, 7));
    history.debit(4);
    assert_eq!(carried(&history, &bucket(20, 3, 11)).available(), 6);
    assert_eq!(carried(&history, &bucket(5, 1, 1)).available(), 5);
    history.debit(9);
    assert_eq!(carried(&history, &bucket(20, 3, 11)).available(), -3);
    assert_eq!(carried(&history, &bucket(5, 1, 1_000_000)).available(), -3);
}

#[test]
fn an_hour_that_becomes_a_day_is_still_used() {
    let window = |period| Rules { kind: fixed_window(10, period, Anchor::Epoch, 0), tolerance: Span(0) };
    let mut history = History::new(window(100));
    history.debit(7);
    assert_eq!(carried(&history, &window(10_000)).available(), 3);
    let first_request = Rules { kind: fixed_window(12, 50, Anchor::FirstRequest, 0), tolerance: Span(0) };
    let after = carried(&history, &first_request);
    assert_eq!(after.available(), 5);
    assert_eq!(after.earliest(6, after.now), Some(after.now.after(Span(50))));
    assert_eq!(carried(&after, &window(100)).available(), 3);
}

/// The vendor's window may open with the first call after the change: then what is left of ours and the next are one.
#[test]
fn a_window_that_is_carried_over_closes_a_period_after_its_youngest_call() {
    let window = |period, anchor| Rules { kind: fixed_window(10, period, anchor, 0), tolerance: Span(0) };
    let new = window(50, Anchor::FirstRequest);
    for old in
        [window(200, Anchor::Epoch), window(200, Anchor::FirstRequest), window(40, Anchor::FirstRequest)]
    {
        let mut history = History::new(old);
        history.debit(1);
        let mut history = carried(&history, &new);
        history.now = history.now.after(Span(39));
        history.debit(9);
        assert_eq!(history.earliest(1, history.now), Some(history.now.after(Span(50))));
    }
}

/// What was refilled before the capacity grew was refilled for good: the larger capacity is no room for a refund.
#[test]
fn a_larger_bucket_does_not_take_back_what_was_refilled() {
    let bucket = |capacity| Rules {
        kind: LimitKind::TokenBucket(TokenBucket { capacity, refill_amount: 1, refill_period: Span(1) }),
        tolerance: Span::ZERO,
    };
    let mut history = History::new(bucket(10));
    history.debit(5);
    history.now = history.now.after(Span(5));
    let (mut larger, terms) = (carried(&history, &bucket(20)), bucket(20));
    larger.counter.refund(terms.terms(), &mut history.calls[0].debit, larger.now);
    assert_eq!(larger.available(), 10);
}

fn sliding(period: u64, resolution: u32) -> Rules {
    let kind = LimitKind::SlidingWindow(SlidingWindow { amount: 9, period: Span(period), resolution });
    Rules { kind, tolerance: Span::ZERO }
}

/// Sub-buckets 1 ns wide become 2 ns wide, and the numbers of old ones come round again for new calls.
#[test]
fn a_debit_of_an_older_division_of_time_takes_nothing_from_newer_calls() {
    let (narrow, wide) = (sliding(400, 400), sliding(400, 200));
    let mut history = History::new(narrow);
    history.debit(4);
    let mut history = carried(&history, &wide);
    history.now = history.now.after(Span(1_000));
    history.debit(6);
    history.counter.refund(wide.terms(), &mut history.calls[0].debit, history.now);
    assert_eq!(history.available(), 3);
}

#[test]
fn what_was_granted_does_not_move_into_the_future() {
    let (wide, narrow) = (sliding(100, 1), sliding(100, 10));
    let mut history = History::new(wide.clone());
    history.debit(4);
    assert_eq!(history.counter.fresh_in(wide.terms(), history.now), Span(200));
    let after = carried(&history, &narrow);
    assert_eq!(after.counter.fresh_in(narrow.terms(), after.now), Span(110));
}
